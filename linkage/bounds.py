"""How much hangs on pairs in doubt: every record's person as it would be if all of them were one person, or none.

A count of people rests on where linkage drew the line. Two other partitions of the same records say how far it moves:

- *joined*: besides what is linked, every pair of the review band or above is one person, wherever nothing forbids it.
  That takes in the pairs which average linkage refused because the records around them are unlike.
- *parted*: only what is likelier than the whole review band is linked.

Both keep what forbids a link, what was parted before and what people decided, so that a custodian's answers bring the
two closer. *joined* never parts records that are linked, and *parted* never joins any that are not: the different
people behind any set of records are at least those of *joined* and at most those of *parted*
(``tests/unit/linkage/test_bounds.py``). A count of people by how many partners know them moves either way between them.

These are bounds of sensitivity to the pairs that are in doubt, and no confidence interval: nothing is said of how
likely the truth is between them. They leave out pairs under the band that are one person all the same (records with too
little in common to come up, or wrong in what they have), and pairs above it that are two. To set out how results move
with the threshold of linkage is what Harron and others call for (2017, "A guide to evaluating linkage quality for the
analysis of linked data", International Journal of Epidemiology); these two partitions are our own way of doing it.
"""

import polars as pl

from linkage.candidates import RECORD_COLUMNS, place_pairs
from linkage.cluster import ClusterPolicy, Clusters, cluster_records
from linkage.comparisons import RECORD
from linkage.review import REVIEW_BELOW, REVIEW_FROM
from linkage.scoring import Scored

BOUNDS_SCHEMA = {
    "partner_id": pl.String(),
    "person_ref": pl.String(),
    "if_joined": pl.Int64(),
    "if_parted": pl.Int64(),
}


def find_bounds(
    scored: Scored,
    clusters: Clusters,
    policy: ClusterPolicy | None = None,
    *,
    apart: pl.DataFrame | None = None,
    together: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The records whose person is another in either partition: columns of :data:`BOUNDS_SCHEMA`, sorted.

    ``clusters`` are those that :func:`linkage.cluster.cluster_records` made of ``scored``; the other arguments are the
    ones that it was given. ``if_joined`` and ``if_parted`` number the clusters of the two partitions. Where one of a
    cluster's records is listed, all are; the person of a record that is not listed is the same in both. Deterministic.
    """
    placed = scored.records.join(clusters.members, on=list(RECORD_COLUMNS)).select(RECORD, *RECORD_COLUMNS, "cluster")
    sure = cluster_records(scored, policy, threshold=REVIEW_BELOW, apart=apart, together=together)
    placed = placed.join(sure.members.rename({"cluster": "sure"}), on=list(RECORD_COLUMNS))
    joined = _join_in_doubt(scored, placed, apart)
    placed = placed.with_columns(
        if_joined=pl.col("cluster").replace_strict(joined, default=pl.col("cluster"), return_dtype=pl.Int64),
        # Average linkage at a higher threshold only parts what it joins at a lower; with both named, it cannot else.
        if_parted=pl.col(RECORD).min().over("cluster", "sure").cast(pl.Int64),
    )
    moved = (pl.col("if_joined") != pl.col("cluster")) | (pl.col("if_parted") != pl.col("cluster"))
    return placed.filter(moved.any().over("if_joined")).select(*BOUNDS_SCHEMA).sort(*RECORD_COLUMNS)


def _join_in_doubt(scored: Scored, placed: pl.DataFrame, apart: pl.DataFrame | None) -> dict[int, int]:
    """For clusters that pairs of the band or above join to others: the lowest of those that become one.

    The likeliest pair is joined first, and no two clusters that anything between them forbids.
    """
    home = placed.select(RECORD, "cluster")

    def between(pairs: pl.DataFrame) -> pl.DataFrame:
        found = pairs.join(home, left_on="left", right_on=RECORD).join(
            home, left_on="right", right_on=RECORD, suffix="_other"
        )
        return found.filter(pl.col("cluster") != pl.col("cluster_other"))

    likely = between(scored.pairs.filter(pl.col("probability") >= REVIEW_FROM, pl.col("forbidden").is_null()))
    touched = pl.concat([likely["cluster"], likely["cluster_other"]]).unique().implode()
    against = pl.concat(
        [
            between(scored.pairs.filter(pl.col("forbidden").is_not_null()).select("left", "right")),
            between(place_pairs(scored.records, apart).select("left", "right")),
        ]
    ).filter(pl.col("cluster").is_in(touched), pl.col("cluster_other").is_in(touched))
    enemies: dict[int, set[int]] = {}
    for one, other in against.select("cluster", "cluster_other").iter_rows():
        enemies.setdefault(one, set()).add(other)
        enemies.setdefault(other, set()).add(one)
    root = {cluster: cluster for cluster in touched.explode()}

    def find(cluster: int) -> int:
        while root[cluster] != cluster:
            root[cluster] = root[root[cluster]]
            cluster = root[cluster]
        return cluster

    ordered = likely.sort("probability", "left", "right", descending=[True, False, False])
    for left, right in ordered.select("cluster", "cluster_other").iter_rows():
        one, other = sorted((find(left), find(right)))
        if one == other or other in enemies.get(one, ()):
            continue
        root[other] = one
        for enemy in enemies.pop(other, ()):  # whoever could not be with the other cannot be with both
            enemies[enemy].discard(other)
            enemies[enemy].add(one)
            enemies.setdefault(one, set()).add(enemy)
    return {cluster: find(cluster) for cluster in root}
