"""Error rates by subgroup, from the same contingency of clusters and true persons as :mod:`linkage.quality`.

A pair of records has two sides, and each side belongs to the groups of its record. For a group,

- the *missed-match rate* is the share of the sides of true pairs whose pair was not linked;
- the *false-match rate* is the share of the sides of linked pairs whose pair is two people.

Both are counted over sides, so that the groups of one attribute add up to the whole. A linkage that fails one group
biases every figure about it, so the gap between the best and the worst group is reported beside the rates.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from benchmarks.linkage.data import NUMBERS, RECORD, Data

FEWEST_SIDES = 300
"""A group with fewer sides of true pairs (or of linked ones) has a rate, but does not count for the gap: one error
more or less would move its rate by a third of a per cent or more."""

AGE_BANDS = ((0, 18), (18, 25), (25, 35), (35, 45), (45, 55), (55, 200))
AS_OF_YEAR = 2026

OF_THE_PERSON = ("sex", "age band", "name origin", "name-dense community", "twin", "household")
OF_THE_RECORD = ("date of birth", "postcode", "any number", "telephone or e-mail")
"""Whether the record holds it."""


@dataclass(frozen=True)
class GroupRates:
    """One group of one attribute."""

    attribute: str
    group: str
    records: int
    true_sides: int
    missed_sides: int
    linked_sides: int
    false_sides: int

    @property
    def missed_rate(self) -> float:
        """Share of its true pairs that were missed."""
        return self.missed_sides / self.true_sides if self.true_sides else 0.0

    @property
    def false_rate(self) -> float:
        """Share of its linked pairs that are two people."""
        return self.false_sides / self.linked_sides if self.linked_sides else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "attribute": self.attribute,
            "group": self.group,
            "records": self.records,
            "true_sides": self.true_sides,
            "missed_sides": self.missed_sides,
            "missed_rate": round(self.missed_rate, 5),
            "linked_sides": self.linked_sides,
            "false_sides": self.false_sides,
            "false_rate": round(self.false_rate, 5),
        }


@dataclass(frozen=True)
class Gap:
    """Best and worst group of one attribute."""

    attribute: str
    missed: float
    worst_missed: str
    false: float
    worst_false: str

    def line(self, ceiling: float) -> str:
        """The gap in words, and whether it is under the ceiling."""
        verdict = "under" if max(self.missed, self.false) <= ceiling else "OVER"
        return (
            f"{self.attribute:22} missed-match gap {self.missed:7.4f} (worst: {self.worst_missed}), "
            f"false-match gap {self.false:7.4f} (worst: {self.worst_false}): {verdict} the ceiling of {ceiling}"
        )


def group_columns(data: Data) -> pl.DataFrame:
    """``partner_id``, ``person_ref`` and one text column for each attribute that the set knows something of."""
    rows = data.rows
    age = AS_OF_YEAR - pl.col("truth_birth_year")
    band = pl.coalesce(
        pl.when(age.is_between(low, high, closed="left")).then(
            pl.lit(f"{low} to {high - 1}" if high < 200 else f"{low} and over")
        )
        for low, high in AGE_BANDS
    )
    yes_no = {True: "yes", False: "no"}

    def held(*names: str) -> pl.Expr:
        present = [pl.col(name).is_not_null() for name in names if name in rows.columns]
        some = pl.any_horizontal(present) if present else pl.lit(False)
        return pl.when(some).then(pl.lit("held")).otherwise(pl.lit("missing"))

    made = rows.select(
        *RECORD,
        pl.col("truth_sex").alias("sex"),
        band.alias("age band"),
        pl.col("truth_origin").alias("name origin"),
        pl.col("truth_name_dense").replace_strict(yes_no, return_dtype=pl.String).alias("name-dense community"),
        pl.col("truth_twin").replace_strict(yes_no, return_dtype=pl.String).alias("twin"),
        pl.when(pl.col("truth_household").is_not_null())
        .then(
            pl.when(pl.col("truth_person").n_unique().over("truth_household") > 1)
            .then(pl.lit("shared"))
            .otherwise(pl.lit("alone"))
        )
        .alias("household"),
        held("date_of_birth").alias("date of birth"),
        held("postcode").alias("postcode"),
        held(*NUMBERS).alias("any number"),
        held("phone", "email").alias("telephone or e-mail"),
    )
    attributes = [*OF_THE_PERSON, *OF_THE_RECORD]
    return made.select(*RECORD, *(name for name in attributes if made[name].drop_nulls().n_unique() > 1))


def rates_by_group(found: pl.DataFrame, data: Data) -> list[GroupRates]:
    """The rates of every group. ``found`` has ``partner_id``, ``person_ref`` and ``cluster``; a record that is not
    there, or whose cluster is null, is alone."""
    alone = pl.concat_str(pl.lit("alone:"), pl.int_range(pl.len()))
    sides = (
        data.truth.select(*RECORD, "truth_person")
        .join(found.select(*RECORD, found=pl.col("cluster").cast(pl.String)), on=RECORD, how="left")
        .with_columns(found=pl.coalesce(pl.concat_str(pl.lit("c:"), "found"), alone))
        .with_columns(
            true=pl.len().over("truth_person").cast(pl.Int64) - 1,
            linked=pl.len().over("found").cast(pl.Int64) - 1,
            right=pl.len().over("truth_person", "found").cast(pl.Int64) - 1,
        )
    )
    groups = group_columns(data).join(sides.select(*RECORD, "true", "linked", "right"), on=RECORD)
    out: list[GroupRates] = []
    for attribute in groups.columns[2:-3]:
        counted = (
            groups.drop_nulls(attribute)
            .group_by(attribute)
            .agg(
                records=pl.len(), true=pl.col("true").sum(), linked=pl.col("linked").sum(), right=pl.col("right").sum()
            )
            .sort(attribute)
        )
        out += [
            GroupRates(
                attribute,
                row[attribute],
                row["records"],
                row["true"],
                row["true"] - row["right"],
                row["linked"],
                row["linked"] - row["right"],
            )
            for row in counted.iter_rows(named=True)
        ]
    return out


def gaps(rates: list[GroupRates]) -> list[Gap]:
    """The gap of each attribute that has two groups or more of :data:`FEWEST_SIDES`."""
    out: list[Gap] = []
    for attribute in dict.fromkeys(rate.attribute for rate in rates):
        mine = [rate for rate in rates if rate.attribute == attribute]
        true = [rate for rate in mine if rate.true_sides >= FEWEST_SIDES]
        linked = [rate for rate in mine if rate.linked_sides >= FEWEST_SIDES]
        if len(true) < 2:
            continue
        worst_missed = max(true, key=lambda rate: rate.missed_rate)
        missed = worst_missed.missed_rate - min(rate.missed_rate for rate in true)
        # Where a linkage links none of a group, the others still tell of false matches, and the group of missed ones.
        worst_false = max(linked, key=lambda rate: rate.false_rate, default=worst_missed)
        false = worst_false.false_rate - min((rate.false_rate for rate in linked), default=0.0)
        out.append(Gap(attribute, missed, worst_missed.group, false, worst_false.group))
    return out
