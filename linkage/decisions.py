"""What people decided about pairs of records, as orders for clustering: which pairs belong together, which apart.

The log is about records and not about persons, since a record keeps its pseudonym through later runs, resubmissions and
merges of persons. It is resolved anew by every run. All functions are pure; their answers do not depend on the order of
rows (kept by ``tests/unit/linkage/test_decisions.py``).
"""

from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from linkage.candidates import RECORD_COLUMNS

OTHER_COLUMNS = ("other_partner_id", "other_person_ref")
PAIR_COLUMNS = (*RECORD_COLUMNS, *OTHER_COLUMNS)
SAME, DIFFERENT, UNDECIDED = "same", "different", "undecided"

Record = tuple[str, str]


@dataclass(frozen=True)
class Decided:
    """The decisions in force, without contradiction. All frames have the four columns of a pair, in canonical order.

    - ``together``: pairs decided to be one person, the latest decision first.
    - ``apart``: pairs decided to be two persons; none of them is one person by ``together``, not even over others.
    - ``contradicted``: pairs decided to be one person that are left out of ``together``, because with later decisions
      they would join two records that are decided to be two persons.
    - ``answered``: all pairs with an answer in force, contradicted ones too.
    - ``taken_back``: pairs whose latest answer is ``undecided``, with ``after_run`` (order number of the latest linkage
      run at that time).
    """

    together: pl.DataFrame
    apart: pl.DataFrame
    contradicted: pl.DataFrame
    answered: pl.DataFrame
    taken_back: pl.DataFrame

    def __repr__(self) -> str:
        return (
            f"Decided({self.together.height} together, {self.apart.height} apart, "
            f"{self.contradicted.height} contradicted)"
        )


def canonical(pairs: pl.DataFrame) -> pl.DataFrame:
    """The same pairs with the lower record (by partner, then reference) first; other columns stay."""
    turned = (pl.col("partner_id") > pl.col("other_partner_id")) | (
        (pl.col("partner_id") == pl.col("other_partner_id")) & (pl.col("person_ref") > pl.col("other_person_ref"))
    )
    swapped = dict(zip(PAIR_COLUMNS, (*OTHER_COLUMNS, *RECORD_COLUMNS), strict=True))
    return pairs.with_columns(
        pl.when(turned).then(pl.col(source)).otherwise(pl.col(name)).alias(name) for name, source in swapped.items()
    )


def resolve_decisions(log: pl.DataFrame) -> Decided:
    """The decisions in force.

    ``log`` has ``decision_id``, the four columns of a pair (in either order), ``answer`` and ``after_run``. Of several
    decisions on one pair the one with the highest ``decision_id`` holds; ``undecided`` takes an earlier one back.

    Being one person passes on: A with B and B with C is A with C, also where B's record is no longer there. Where that
    meets a pair decided to be different, the difference holds, since joining two people does more harm than leaving
    one apart; of the pairs that would join them, the later decisions are kept.
    """
    latest = (
        canonical(log)
        .sort("decision_id")
        .unique(list(PAIR_COLUMNS), keep="last", maintain_order=True)
        .sort("decision_id", descending=True)
    )
    apart = latest.filter(pl.col("answer") == DIFFERENT).select(PAIR_COLUMNS)
    group = _Groups([_records(row) for row in apart.iter_rows()])
    kept: list[tuple[str, ...]] = []
    contradicted: list[tuple[str, ...]] = []
    for row in latest.filter(pl.col("answer") == SAME).select(PAIR_COLUMNS).iter_rows():
        (kept if group.join(*_records(row)) else contradicted).append(row)
    schema = dict.fromkeys(PAIR_COLUMNS, pl.String)
    return Decided(
        together=pl.DataFrame(kept, schema=schema, orient="row"),
        apart=apart,
        contradicted=pl.DataFrame(contradicted, schema=schema, orient="row"),
        answered=latest.filter(pl.col("answer") != UNDECIDED).select(PAIR_COLUMNS),
        taken_back=latest.filter(pl.col("answer") == UNDECIDED).select(*PAIR_COLUMNS, "after_run"),
    )


def join_present(together: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """The pairs of ``together`` that hold together those records that are there (``partner_id``, ``person_ref``).

    Where a record in the middle is gone, those on its two sides are paired directly, so that what was decided goes on
    without it. The pairs are in order of their first record; they join the same records as ``together`` does.
    """
    group = _Groups([])
    for row in together.select(PAIR_COLUMNS).iter_rows():
        group.join(*_records(row))
    present = set(records.select(RECORD_COLUMNS).iter_rows())
    pairs = []
    for members in group.members():
        there = sorted(members & present)
        pairs += [(*one, *other) for one, other in pairwise(there)]
    return pl.DataFrame(sorted(pairs), schema=dict.fromkeys(PAIR_COLUMNS, pl.String), orient="row")


def lift_splits(splits: pl.DataFrame, decided: Decided, membership: pl.DataFrame) -> pl.DataFrame:
    """The splits of persons that still stand: those that no person took back.

    ``splits`` has ``person_id``, ``other_person_id`` and ``run_seq`` (order number of the run that parted them),
    ``membership`` has ``partner_id``, ``person_ref``, ``person_id``. Linkage keeps parted persons apart by itself until
    somebody decides otherwise: that a record of the one and a record of the other are the same, or that an answer about
    two of their records is taken back after the split (what the answer did is taken back with it).
    """
    of = membership.select(*RECORD_COLUMNS, "person_id")
    others = of.rename(dict(zip((*RECORD_COLUMNS, "person_id"), (*OTHER_COLUMNS, "other_person_id"), strict=True)))
    always = splits["run_seq"].max() if splits.height else 0
    said = pl.concat(
        [
            join_present(decided.together, of).with_columns(after_run=pl.lit(always, dtype=pl.Int64)),
            decided.taken_back.select(*PAIR_COLUMNS, pl.col("after_run").cast(pl.Int64)),
        ]
    )
    pairs = said.join(of, on=list(RECORD_COLUMNS)).join(others, on=list(OTHER_COLUMNS))
    lifted = pl.concat(
        [
            pairs.select("person_id", "other_person_id", "after_run"),
            pairs.select(person_id="other_person_id", other_person_id="person_id", after_run="after_run"),
        ]
    )
    lifted = lifted.group_by("person_id", "other_person_id").agg(pl.col("after_run").max())
    return (
        splits.join(lifted, on=["person_id", "other_person_id"], how="left", maintain_order="left")
        .filter(pl.col("after_run").is_null() | (pl.col("after_run") < pl.col("run_seq")))
        .drop("after_run")
    )


def _records(row: tuple[str, ...]) -> tuple[Record, Record]:
    return (row[0], row[1]), (row[2], row[3])


class _Groups:
    """Records that are one person by decision, and which of them must not meet."""

    def __init__(self, apart: list[tuple[Record, Record]]) -> None:
        self._group: dict[Record, set[Record]] = {}
        self._apart: dict[Record, set[Record]] = {}
        for one, other in apart:
            self._apart.setdefault(one, set()).add(other)
            self._apart.setdefault(other, set()).add(one)

    def join(self, one: Record, other: Record) -> bool:
        """Make the two one person; False, and nothing happens, where two of their records must stay apart."""
        a, b = self._group.setdefault(one, {one}), self._group.setdefault(other, {other})
        if a is b:
            return True
        if any(not self._apart.get(record, set()).isdisjoint(b) for record in a):
            return False
        a |= b
        for record in b:
            self._group[record] = a
        return True

    def members(self) -> list[set[Record]]:
        """The groups, each once."""
        return list({id(group): group for group in self._group.values()}.values())
