"""From the truth to the figures that a faultless link and the agreement's definitions would find."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

PERSON = ["partner_id", "local_person_id"]


@dataclass(frozen=True)
class PlantedFacts:
    """Headline figures of a synthetic partnership, by its truth. People are counted over all extracts."""

    people: int
    """Different people."""
    sum_of_partner_counts: int
    """Each partner's own count of people, added up."""
    records: int
    """Different client numbers; more than the sum where a partner has a person twice."""
    people_by_partner: dict[str, int]
    people_by_pair: dict[str, int]
    """``a+b`` (ids in order of the alphabet) -> people known to both."""
    people_by_number_of_partners: dict[str, int]
    assessments: int
    repeats: int
    """See :func:`mark_assessments`."""
    reviews: int
    referrals_by_direction_and_status: dict[str, int]
    """``sent accepted`` -> rows, as each row stands in the latest extract that has it."""
    stage_events: int
    outcomes: int

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain values, for JSON."""
        return asdict(self)


def count_people(truth: pl.DataFrame) -> int:
    """Different people of a truth (``partner_id, local_person_id, truth_person``)."""
    return truth["truth_person"].n_unique()


def count_people_by_partner(truth: pl.DataFrame) -> dict[str, int]:
    """Partner -> different people it knows."""
    counted = truth.group_by("partner_id").agg(pl.col("truth_person").n_unique().alias("people")).sort("partner_id")
    return dict(counted.iter_rows())


def count_overlap(truth: pl.DataFrame) -> pl.DataFrame:
    """People known to both of two partners: ``partner_a, partner_b, people``, each pair once, a before b."""
    known = truth.select("partner_id", "truth_person").unique()
    return (
        known.join(known, on="truth_person", suffix="_b")
        .filter(pl.col("partner_id") < pl.col("partner_id_b"))
        .group_by(pl.col("partner_id").alias("partner_a"), pl.col("partner_id_b").alias("partner_b"))
        .agg(pl.len().cast(pl.Int64).alias("people"))
        .sort("partner_a", "partner_b")
    )


def count_by_number_of_partners(truth: pl.DataFrame) -> dict[int, int]:
    """Number of partners -> people known to so many."""
    counted = (
        truth.group_by("truth_person")
        .agg(pl.col("partner_id").n_unique().cast(pl.Int64).alias("partners"))
        .group_by("partners")
        .agg(pl.len().cast(pl.Int64).alias("people"))
        .sort("partners")
    )
    return dict(counted.iter_rows())


def gather_rows(extracts: Mapping[tuple[str, str], Mapping[str, pl.DataFrame]], table: str, key: str) -> pl.DataFrame:
    """All rows of a table, with ``partner_id`` in front; of one partner's key the row of the latest period."""
    frames = [
        tables[table].select(pl.lit(partner).alias("partner_id"), pl.lit(period).alias("_period"), pl.all())
        for (partner, period), tables in extracts.items()
        if table in tables
    ]
    if not frames:
        return pl.DataFrame()
    rows = pl.concat(frames).with_row_index("_at")
    return rows.unique(["partner_id", key], keep="last", maintain_order=True).drop("_at", "_period")


def mark_assessments(assessments: pl.DataFrame, truth: pl.DataFrame, *, window_days: int) -> pl.DataFrame:
    """What each assessment is, by the truth: ``partner_id, assessment_number, mark``.

    ``repeat``: there is an earlier assessment of the same true person in the same domain by *another* partner, at most
    ``window_days`` days before and still valid on the day. Else ``review``: there is such an earlier one by the same
    partner. Else ``of_record``. Days are compared, and one of the same day is not earlier.

    :param assessments: ``partner_id, assessment_number, local_person_id, domain, assessed_on, valid_to`` as ISO text.
    """
    rows = assessments.join(truth, on=PERSON).select(
        "partner_id",
        "assessment_number",
        "truth_person",
        "domain",
        pl.col("assessed_on").str.to_date("%Y-%m-%d").alias("day"),
        pl.col("valid_to").str.to_date("%Y-%m-%d").alias("valid_to"),
    )
    pairs = (
        rows.join(rows, on=["truth_person", "domain"], suffix="_before")
        .filter(
            (pl.col("day_before") < pl.col("day"))
            & ((pl.col("day") - pl.col("day_before")).dt.total_days() <= window_days)
            & (pl.col("valid_to_before").is_null() | (pl.col("valid_to_before") >= pl.col("day")))
        )
        .group_by("partner_id", "assessment_number")
        .agg((pl.col("partner_id_before") != pl.col("partner_id")).any().alias("by_another"))
    )
    mark = (
        pl.when(pl.col("by_another"))
        .then(pl.lit("repeat"))
        .when(pl.col("by_another").is_not_null())
        .then(pl.lit("review"))
        .otherwise(pl.lit("of_record"))
    )
    return (
        rows.join(pairs, on=["partner_id", "assessment_number"], how="left", maintain_order="left")
        .select("partner_id", "assessment_number", mark.alias("mark"))
        .sort("partner_id", "assessment_number")
    )


def count_facts(
    extracts: Mapping[tuple[str, str], Mapping[str, pl.DataFrame]], truth: pl.DataFrame, *, repeat_window_days: int
) -> PlantedFacts:
    """The planted facts of some extracts, counted from their rows and the truth."""
    by_partner = count_people_by_partner(truth)
    assessments = gather_rows(extracts, "assessment", "assessment_number")
    marks: dict[str, int] = {}
    if assessments.width:
        marked = mark_assessments(assessments, truth, window_days=repeat_window_days)
        marks = dict(marked.group_by("mark").len().iter_rows())
    referrals = gather_rows(extracts, "referral", "referral_number")
    statuses: dict[str, int] = {}
    if referrals.width:
        counted = referrals.group_by("direction", "status").len().sort("direction", "status")
        statuses = {f"{direction} {status}": count for direction, status, count in counted.iter_rows()}
    return PlantedFacts(
        people=count_people(truth),
        sum_of_partner_counts=sum(by_partner.values()),
        records=len(truth),
        people_by_partner=by_partner,
        people_by_pair={f"{a}+{b}": people for a, b, people in count_overlap(truth).iter_rows()},
        people_by_number_of_partners={str(n): people for n, people in count_by_number_of_partners(truth).items()},
        assessments=len(assessments),
        repeats=marks.get("repeat", 0),
        reviews=marks.get("review", 0),
        referrals_by_direction_and_status=statuses,
        stage_events=len(gather_rows(extracts, "stage_event", "stage_event_number")),
        outcomes=len(gather_rows(extracts, "outcome", "outcome_number")),
    )
