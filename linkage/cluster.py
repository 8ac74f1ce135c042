"""From scored pairs to clusters, each the records of one person: never bare connected components.

Connected components let one wrong link join two people and all their records. Here a group of records that links hold
together is built up from the closest records (agglomeration by average linkage): the two clusters with the highest mean
probability over *all* pairs across become one, as long as that mean is at the threshold or over it, and nothing in
either whole cluster speaks against it: no two different NHS or shared numbers, no two records of a partner that vouches
for its file, no pair that was parted before.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

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

    ``threshold`` (above 0) is that of ``scored`` where it is not given; one below the policy's ``lax`` meets groups
    that were not compared whole. ``apart`` (``partner_id``, ``person_ref``, ``other_partner_id``, ``other_person_ref``)
    lists pairs of records that were separated before: they do not meet again by themselves. ``together`` (the same
    columns) lists pairs that people decided to be one person: they are joined before any link, and where something
    forbids it they are not, and the alarm ``decision_conflict`` is given. Deterministic: ties are settled by the
    records' order.
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


@dataclass
class _Across:
    """What is between two clusters: the sum of the probabilities of the pairs across, how many of them are links, and
    what forbids that the two become one."""

    total: float
    links: int
    forbidden: str | None


def _agglomerate(records: list[int], pairs: pl.DataFrame, least: float, homes: dict[int, int], told: _Told) -> None:
    """Builds up one group; the clusters, each named by its lowest record, go into ``homes``.

    A pair that is not listed has probability 0, so only clusters with a listed pair between them are looked at, and the
    cost grows with the pairs and not with the cube of the records.
    """
    members = {record: [record] for record in records}
    across: dict[int, dict[int, _Across]] = {record: {} for record in records}
    listed = list(pairs.select("left", "right", "probability", "forbidden", "rank").iter_rows())
    for left, right, probability, forbidden, _ in listed:
        across[left][right] = across[right][left] = _Across(probability, int(probability >= least), forbidden)

    def merge(one: int, other: int) -> None:
        members[one] += members.pop(other)
        del across[one][other]
        for third, more in across.pop(other).items():
            if third == one:
                continue
            del across[third][other]
            known = across[one].setdefault(third, more)
            if known is more:
                across[third][one] = more
                continue
            known.total += more.total
            known.links += more.links
            known.forbidden = known.forbidden or more.forbidden

    home = {record: record for record in records}
    for _, a, b in sorted((rank, left, right) for left, right, _, _, rank in listed if rank is not None):
        one, other = sorted((home[a], home[b]))
        if one == other:
            continue
        if across[one][other].forbidden is not None:
            told.refused["decision_conflict"] += 1
            told.contradicted.update((a, b))
            continue
        home.update(dict.fromkeys(members[other], one))
        merge(one, other)

    # The closest clusters come first, of equally close ones those of the lowest records. Entries that a merge has made
    # stale are told by the sizes that they were made for.
    waiting: list[tuple[float, int, int, int, int]] = []

    def put(one: int, other: int) -> None:
        sizes = len(members[one]), len(members[other])
        mean = across[one][other].total / (sizes[0] * sizes[1])
        if mean < least:
            return
        if across[one][other].forbidden is not None:
            told.conflicts.update((one, other))
        else:
            heapq.heappush(waiting, (-mean, one, other, *sizes))

    for one in sorted(members):
        for other in across[one]:
            if one < other:
                put(one, other)
    while waiting:
        _, one, other, *sizes = heapq.heappop(waiting)
        if one not in members or other not in members or [len(members[one]), len(members[other])] != sizes:
            continue
        if across[one][other].links == 1 and min(sizes) > 1:
            told.bridges.add(one)
        merge(one, other)
        for third in across[one]:
            put(*sorted((one, third)))
    final = {record: one for one, those in members.items() for record in those}
    homes.update(final)
    for left, right, probability, *_ in listed:
        if probability >= least and final[left] != final[right]:
            forbidden = across[final[left]][final[right]].forbidden
            told.refused["little_support" if forbidden is None else _REASONS[forbidden]] += 1


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
