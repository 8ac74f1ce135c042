"""From linked pairs to clusters, each the records of one person: never bare connected components.

Connected components let one wrong link join two people and all their records. Here links are taken from the strongest
to the weakest, and a link joins two clusters only where nothing in *either whole cluster* speaks against it: no two
different NHS or shared numbers, no two records of a partner that vouches for its file, no pair that was parted before,
and enough of the pairs across the two clusters that are links themselves.
"""

from dataclasses import dataclass, field

import polars as pl
from pydantic import Field

from linkage.match import RECORD_COLUMNS, Links
from protocol.model import Frozen


class ClusterPolicy(Frozen):
    """How clusters are formed. Stored with every linkage run."""

    least_support: float = Field(0.25, ge=0, le=1)
    """Share of the pairs across two clusters that must be links before the two become one. A single record joins by
    one link into a cluster of up to ``1 / least_support``; a stray link between two full clusters does not."""
    large_cluster: int = Field(14, ge=2)
    """Clusters with more records than this are alarmed."""


@dataclass(frozen=True)
class Clusters:
    """What clustering made.

    - ``members``: ``partner_id``, ``person_ref``, ``cluster`` (UInt32; the lowest place of its records), sorted.
    - ``alarms``: ``alarm`` (``large_cluster``, ``bridge``, ``conflict``, ``decision_conflict``), ``cluster``,
      ``records``. A bridge is a cluster that one link holds together: both halves have two records or more. A conflict
      is a cluster to which a link was refused because of a veto, a decision conflict one to which people decided that
      a record belongs and something forbids it.
    - ``refused_links``: how many accepted pairs did not join clusters, by reason.
    """

    members: pl.DataFrame
    alarms: pl.DataFrame
    refused_links: dict[str, int]

    def __repr__(self) -> str:
        return f"Clusters({self.members.height} records, {self.members['cluster'].n_unique()} clusters)"


@dataclass
class _Cluster:
    """State of one cluster while it grows."""

    records: list[int]
    partners: set[str] = field(default_factory=set)
    """Those that vouch for their file."""
    marks: dict[str, set[str]] = field(default_factory=dict)
    apart: set[int] = field(default_factory=set)
    """Records that must stay out."""


def cluster_records(
    links: Links,
    policy: ClusterPolicy | None = None,
    *,
    apart: pl.DataFrame | None = None,
    together: pl.DataFrame | None = None,
) -> Clusters:
    """Clusters of the records of ``links``. Every record is in one; one that nothing links is alone.

    ``apart`` (``partner_id``, ``person_ref``, ``other_partner_id``, ``other_person_ref``) lists pairs of records that
    were separated before: they do not meet again by themselves. ``together`` (the same columns) lists pairs that people
    decided to be one person: they are joined before any link, and where something forbids it they are not, and the
    alarm ``decision_conflict`` is given. Deterministic: ties are settled by the records' order.
    """
    policy = policy or ClusterPolicy()
    edges = links.pairs.filter("accepted").sort(["weight", "left", "right"], descending=[True, False, False])
    clusters = _single_clusters(links, apart)
    home = list(range(links.records.height))
    refused = {"veto": 0, "same_partner": 0, "kept_apart": 0, "little_support": 0, "decision_conflict": 0}
    contradicted: set[int] = set()
    for left, right in _place_pairs(links, together):
        a, b = home[left], home[right]
        if a == b:
            continue
        if _forbids(clusters[a], clusters[b]):
            refused["decision_conflict"] += 1
            contradicted.update((left, right))
            continue
        _merge(clusters, home, *sorted((a, b), key=lambda place: (len(clusters[place].records), -place)))
    neighbours: dict[int, set[int]] = {}
    for left, right in zip(edges["left"], edges["right"], strict=True):
        neighbours.setdefault(left, set()).add(right)
        neighbours.setdefault(right, set()).add(left)

    conflicts: set[int] = set()
    bridges: set[int] = set()
    waiting = list(zip(edges["left"].to_list(), edges["right"].to_list(), strict=True))
    progress = True
    while progress and waiting:
        # A link that lacked support may gain it once its clusters have grown, so the rest is gone through again.
        progress, again = False, []
        for left, right in waiting:
            a, b = home[left], home[right]
            if a == b:
                continue
            reason = _forbids(clusters[a], clusters[b])
            if reason:
                refused[reason] += 1
                conflicts.update((left, right))
                continue
            small, large = sorted((a, b), key=lambda place: (len(clusters[place].records), -place))
            inside = set(clusters[large].records)
            support = sum(len(neighbours[record] & inside) for record in clusters[small].records)
            across = len(clusters[small].records) * len(inside)
            if support < policy.least_support * across:
                again.append((left, right))
                continue
            if support == 1 and len(clusters[small].records) > 1:
                bridges.add(left)
            _merge(clusters, home, small, large)
            progress = True
        waiting = again
    refused["little_support"] = sum(home[left] != home[right] for left, right in waiting)
    return _tell(links, home, conflicts, bridges, contradicted, policy, refused)


def _single_clusters(links: Links, apart: pl.DataFrame | None) -> dict[int, _Cluster]:
    vouching = set(links.duplicate_free)
    clusters = {
        record: _Cluster([record], {partner} if partner in vouching else set())
        for record, partner in zip(links.records["record"], links.records["partner_id"], strict=True)
    }
    for record, mark, token in links.marks.select("record", "mark", "token").iter_rows():
        clusters[record].marks.setdefault(mark, set()).add(token)
    for record, other in _place_pairs(links, apart):
        clusters[record].apart.add(other)
        clusters[other].apart.add(record)
    return clusters


def _place_pairs(links: Links, pairs: pl.DataFrame | None) -> list[tuple[int, int]]:
    """Both places of each pair of records, in the pairs' order; pairs with a record that is not there are left out."""
    if pairs is None or pairs.is_empty():
        return []
    places = links.records.select("record", *RECORD_COLUMNS)
    found = pairs.join(places, on=RECORD_COLUMNS, maintain_order="left").join(
        places.rename({"record": "other", "partner_id": "other_partner_id", "person_ref": "other_person_ref"}),
        on=["other_partner_id", "other_person_ref"],
        maintain_order="left",
    )
    return list(found.select("record", "other").iter_rows())


def _forbids(a: _Cluster, b: _Cluster) -> str | None:
    """Why two clusters cannot be one person; None where they can."""
    for mark, tokens in a.marks.items():
        others = b.marks.get(mark)
        if others and tokens.isdisjoint(others):
            return "veto"
    if not a.partners.isdisjoint(b.partners):
        return "same_partner"
    if not a.apart.isdisjoint(b.records) or not b.apart.isdisjoint(a.records):
        return "kept_apart"
    return None


def _merge(clusters: dict[int, _Cluster], home: list[int], small: int, large: int) -> None:
    gone, kept = clusters.pop(small), clusters[large]
    for record in gone.records:
        home[record] = large
    kept.records += gone.records
    kept.partners |= gone.partners
    kept.apart |= gone.apart
    for mark, tokens in gone.marks.items():
        kept.marks.setdefault(mark, set()).update(tokens)


def _tell(
    links: Links,
    home: list[int],
    conflicts: set[int],
    bridges: set[int],
    contradicted: set[int],
    policy: ClusterPolicy,
    refused: dict[str, int],
) -> Clusters:
    placed = links.records.select("record", *RECORD_COLUMNS).with_columns(home=pl.Series(home, dtype=pl.UInt32))
    placed = placed.with_columns(cluster=pl.col("record").min().over("home"), records=pl.len().over("home"))
    kinds = [
        placed.filter(pl.col("records") > policy.large_cluster).with_columns(alarm=pl.lit("large_cluster")),
        placed.filter(pl.col("record").is_in(list(bridges))).with_columns(alarm=pl.lit("bridge")),
        placed.filter(pl.col("record").is_in(list(conflicts))).with_columns(alarm=pl.lit("conflict")),
        placed.filter(pl.col("record").is_in(list(contradicted))).with_columns(alarm=pl.lit("decision_conflict")),
    ]
    alarms = pl.concat(kinds).select("alarm", "cluster", pl.col("records").cast(pl.Int64)).unique()
    return Clusters(
        members=placed.select(*RECORD_COLUMNS, "cluster").sort(RECORD_COLUMNS),
        alarms=alarms.sort("alarm", "cluster"),
        refused_links=refused,
    )
