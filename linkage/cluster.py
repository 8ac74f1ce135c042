"""From scored pairs to clusters, each the records of one person: never bare connected components.

Connected components let one wrong link join two people and all their records. Here a group of records that links hold
together is built up from the closest records (agglomeration by average linkage): the two clusters with the highest mean
probability over *all* pairs across become one, as long as that mean is at the threshold or over it, and nothing in
either whole cluster speaks against it: no two different NHS or shared numbers, no two records of a partner that vouches
for its file, no pair that was parted before.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from linkage.candidates import RECORD_COLUMNS, place_pairs
from linkage.comparisons import RECORD
from linkage.groups import group_records
from linkage.scoring import Scored
from protocol.model import Frozen


class ClusterPolicy(Frozen):
    """How clusters are formed. Stored with every linkage run."""

    large_cluster: int = Field(14, ge=2)
    """Clusters with more records than this are alarmed."""


@dataclass(frozen=True)
class Clusters:
    """What clustering made.

    - ``members``: ``partner_id``, ``person_ref``, ``cluster`` (UInt32; the lowest place of its records), sorted.
    - ``alarms``: ``alarm`` (``large_cluster``, ``bridge``, ``conflict``, ``decision_conflict``), ``cluster``,
      ``records``. A bridge is a cluster that one link holds together: both halves have two records or more. A conflict
      is a cluster that would have become one with another but for what forbids it; a decision conflict one to which
      people decided that a record belongs and something forbids it.
    - ``refused_links``: how many pairs at the threshold or over it did not join clusters, by reason: ``veto`` (numbers
      of one person alone differ), ``same_partner``, ``kept_apart``, ``little_support`` (the others around them are
      unlike), and ``decision_conflict`` (pairs that people decided to be one person).
    """

    members: pl.DataFrame
    alarms: pl.DataFrame
    refused_links: dict[str, int]

    def __repr__(self) -> str:
        return f"Clusters({self.members.height} records, {self.members['cluster'].n_unique()} clusters)"


_REASONS = {"nhs_number": "veto", "shared_person_number": "veto", "one_file": "same_partner", "apart": "kept_apart"}


def cluster_records(
    scored: Scored,
    policy: ClusterPolicy | None = None,
    *,
    threshold: float | None = None,
    apart: pl.DataFrame | None = None,
    together: pl.DataFrame | None = None,
) -> Clusters:
    """Clusters of the records of ``scored``. Every record is in one; one that nothing links is alone.

    ``threshold`` is that of ``scored`` where it is not given; one below the policy's ``lax`` meets groups that were not
    compared whole. ``apart`` (``partner_id``, ``person_ref``, ``other_partner_id``, ``other_person_ref``) lists pairs of
    records that were separated before: they do not meet again by themselves. ``together`` (the same columns) lists pairs
    that people decided to be one person: they are joined before any link, and where something forbids it they are not,
    and the alarm ``decision_conflict`` is given. Deterministic: ties are settled by the records' order.
    """
    policy = policy or ClusterPolicy()
    least = scored.threshold if threshold is None else threshold
    joined = place_pairs(scored.records, together)
    parted = place_pairs(scored.records, apart)
    pairs = _with_orders(scored.pairs, joined, parted)
    groups = group_records(pairs.filter((pl.col("probability") >= least) | pl.col("ordered")))
    inside = (
        pairs.join(groups, left_on="left", right_on=RECORD)
        .join(groups, left_on="right", right_on=RECORD, suffix="_other")
        .filter(pl.col("group") == pl.col("group_other"))
    )
    plain = (pl.col("probability") >= least) & pl.col("forbidden").is_null() & ~pl.col("ordered")
    state = inside.group_by("group").agg(plain=plain.all(), pairs=pl.len())
    sizes = groups.group_by("group").agg(records=pl.len())
    whole = state.join(sizes, on="group").filter(
        pl.col("plain") & (pl.col("pairs") == pl.col("records") * (pl.col("records") - 1) // 2)
    )
    # Where every pair of a group is a link and nothing forbids any, average linkage makes one cluster of it.
    homes = dict(groups.join(whole, on="group", how="semi").select(RECORD, "group").iter_rows())
    told = _Told()
    rest = inside.join(whole, on="group", how="anti").sort("group", "left", "right")
    members = dict(
        groups.join(whole, on="group", how="anti")
        .group_by("group")
        .agg(pl.col(RECORD).sort())
        .sort("group")
        .iter_rows()
    )
    for (group,), some in rest.group_by("group", maintain_order=True):
        _agglomerate(members[group], some, least, homes, told)
    return _tell(scored, homes, told, policy)


def _with_orders(pairs: pl.DataFrame, joined: pl.DataFrame, parted: pl.DataFrame) -> pl.DataFrame:
    """``left``, ``right``, ``probability``, ``forbidden``, and ``ordered`` and ``rank`` of pairs that people joined.
    Pairs that were decided or parted and not scored are there too."""
    orders = joined.join(
        parted.select("left", "right", parted=pl.lit(value=True)), on=["left", "right"], how="full", coalesce=True
    )
    return (
        pairs.select("left", "right", "probability", "forbidden")
        .join(orders, on=["left", "right"], how="full", coalesce=True)
        .select(
            "left",
            "right",
            pl.col("probability").fill_null(0.0),
            pl.when(pl.col("parted").fill_null(value=False) & pl.col("forbidden").is_null())
            .then(pl.lit("apart"))
            .otherwise(pl.col("forbidden"))
            .alias("forbidden"),
            "rank",
            ordered=pl.col("rank").is_not_null(),
        )
        .sort("left", "right")
    )


class _Told:
    """What clustering says besides the clusters."""

    def __init__(self) -> None:
        self.refused = dict.fromkeys(("veto", "same_partner", "kept_apart", "little_support", "decision_conflict"), 0)
        self.bridges: set[int] = set()
        self.conflicts: set[int] = set()
        self.contradicted: set[int] = set()


Matrix = npt.NDArray[np.float64]


def _agglomerate(records: list[int], pairs: pl.DataFrame, least: float, homes: dict[int, int], told: _Told) -> None:
    """Builds up one group; the clusters go into ``homes``."""
    n = len(records)
    place = {record: number for number, record in enumerate(records)}
    left = [place[record] for record in pairs["left"]]
    right = [place[record] for record in pairs["right"]]
    chance = np.zeros((n, n))
    chance[left, right] = chance[right, left] = pairs["probability"].to_numpy()
    barred = np.zeros((n, n), dtype=np.bool_)
    against = pairs["forbidden"].is_not_null().to_numpy()
    barred[left, right] = barred[right, left] = against
    home = np.arange(n)
    total, links, bar, size = chance.copy(), (chance >= least).astype(np.int64), barred.copy(), np.ones(n)
    alive = np.ones(n, dtype=np.bool_)

    def merge(one: int, other: int) -> None:
        for table in (total, links):
            table[one] += table[other]
            table[:, one] += table[:, other]
        bar[one] |= bar[other]
        bar[:, one] |= bar[:, other]
        size[one] += size[other]
        alive[other] = False
        home[home == other] = one

    decided = pairs.filter("ordered").sort("rank")
    for a, b in zip(decided["left"].to_list(), decided["right"].to_list(), strict=True):
        one, other = sorted((int(home[place[a]]), int(home[place[b]])))
        if one == other:
            continue
        if bar[one, other]:
            told.refused["decision_conflict"] += 1
            told.contradicted.update((a, b))
            continue
        merge(one, other)
    upper = np.triu(np.ones((n, n), dtype=np.bool_), 1)
    while True:
        open_pairs = upper & alive[:, None] & alive[None, :]
        mean = np.where(open_pairs, total / np.outer(size, size), -1.0)
        told.conflicts.update(
            records[number] for pair in np.argwhere((mean >= least) & bar) for number in (int(pair[0]), int(pair[1]))
        )
        mean[bar] = -1.0
        best = int(np.argmax(mean))
        one, other = divmod(best, n)
        if mean[one, other] < least:
            break
        if links[one, other] == 1 and size[one] > 1 and size[other] > 1:
            told.bridges.add(records[one])
        merge(one, other)
    for number, record in enumerate(records):
        homes[record] = records[int(home[number])]
    _count_refused(pairs, home, left, right, bar, least, told)


def _count_refused(
    pairs: pl.DataFrame,
    home: npt.NDArray[np.int64],
    left: list[int],
    right: list[int],
    bar: npt.NDArray[np.bool_],
    least: float,
    told: _Told,
) -> None:
    reasons = pairs["forbidden"].to_list()
    barred_by: Mapping[tuple[int, int], str] = {
        tuple(sorted((int(home[a]), int(home[b])))): _REASONS[reason]  # type: ignore[misc]
        for a, b, reason in zip(left, right, reasons, strict=True)
        if reason is not None
    }
    for a, b, probability in zip(left, right, pairs["probability"].to_list(), strict=True):
        one, other = sorted((int(home[a]), int(home[b])))
        if one != other and probability >= least:
            told.refused[barred_by.get((one, other), "little_support") if bar[one, other] else "little_support"] += 1


def _tell(scored: Scored, homes: Mapping[int, int], told: _Told, policy: ClusterPolicy) -> Clusters:
    records = scored.records
    placed = records.select(
        RECORD,
        *RECORD_COLUMNS,
        home=pl.Series([homes.get(record, record) for record in records[RECORD].to_list()], dtype=pl.UInt32),
    )
    placed = placed.with_columns(cluster=pl.col(RECORD).min().over("home"), records=pl.len().over("home"))
    kinds = [
        placed.filter(pl.col("records") > policy.large_cluster).with_columns(alarm=pl.lit("large_cluster")),
        *(
            placed.filter(pl.col(RECORD).is_in(list(found))).with_columns(alarm=pl.lit(name))
            for name, found in (
                ("bridge", told.bridges),
                ("conflict", told.conflicts),
                ("decision_conflict", told.contradicted),
            )
        ),
    ]
    alarms = pl.concat(kinds).select("alarm", "cluster", pl.col("records").cast(pl.Int64)).unique()
    return Clusters(
        members=placed.select(*RECORD_COLUMNS, "cluster").sort(RECORD_COLUMNS),
        alarms=alarms.sort("alarm", "cluster"),
        refused_links=told.refused,
    )
