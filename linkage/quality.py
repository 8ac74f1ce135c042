"""How well clusters match a known truth: for synthetic partnerships and benchmarks, where there is one.

All figures are exact, from the contingency of clusters and true persons; no pair is listed.
"""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class LinkageQuality:
    """Agreement of clusters with the truth; every share is between 0 and 1 and 1.0 where there is nothing to find."""

    records: int
    true_people: int
    people_found: int
    true_pairs: int
    pairs_found: int
    pairs_right: int
    precision: float
    """Share of the linked pairs of records that are the same person."""
    recall: float
    """Share of the pairs of one person that are linked."""
    f1: float
    """Harmonic mean of precision and recall."""
    bcubed_precision: float
    """Mean over records of the share of its cluster that is its person (Bagga and Baldwin 1998)."""
    bcubed_recall: float
    """Mean over records of the share of its person that is in its cluster."""
    bcubed_f1: float
    people_exactly_right: float
    """Share of the true people all of whose records, and no others, are one cluster."""

    def as_dict(self) -> dict[str, Any]:
        """All figures by name."""
        return asdict(self)


def _f1(precision: float, recall: float) -> float:
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _pairs(sizes: pl.Series) -> int:
    return int((sizes.cast(pl.Int64) * (sizes.cast(pl.Int64) - 1) // 2).sum())


def measure_quality(found: pl.DataFrame, truth: pl.DataFrame, *, on: tuple[str, ...], cluster: str) -> LinkageQuality:
    """Compares clusters with the truth.

    ``found`` has the columns ``on`` (a record) and ``cluster``; ``truth`` has ``on`` and ``truth_person``. Records of
    the truth that are not in ``found``, or have a null cluster, count as clusters of their own: what a linkage leaves
    out costs it recall. Records that only ``found`` has are passed over. Raises ValueError where a record of either
    frame is there twice.
    """
    for name, frame in (("found", found), ("truth", truth)):
        if frame.select(on).is_duplicated().any():
            raise ValueError(f"{name} has a record twice")
    alone = pl.concat_str(pl.lit("alone:"), pl.int_range(pl.len()))
    records = (
        truth.select(*on, "truth_person")
        .join(found.select(*on, found=pl.col(cluster).cast(pl.String)), on=on, how="left")
        .with_columns(found=pl.coalesce(pl.concat_str(pl.lit("c:"), "found"), alone))
    )
    cells = records.group_by("truth_person", "found").agg(both=pl.len().cast(pl.Int64))
    cells = cells.with_columns(
        person_size=pl.col("both").sum().over("truth_person"), cluster_size=pl.col("both").sum().over("found")
    )
    person_sizes = records.group_by("truth_person").agg(pl.len())["len"]
    cluster_sizes = records.group_by("found").agg(pl.len())["len"]
    true_pairs, pairs_found, pairs_right = _pairs(person_sizes), _pairs(cluster_sizes), _pairs(cells["both"])
    precision = pairs_right / pairs_found if pairs_found else 1.0
    recall = pairs_right / true_pairs if true_pairs else 1.0
    squared = pl.col("both") ** 2
    b_precision, b_recall, exact = cells.select(
        precision=(squared / pl.col("cluster_size")).sum(),
        recall=(squared / pl.col("person_size")).sum(),
        exact=((pl.col("both") == pl.col("person_size")) & (pl.col("both") == pl.col("cluster_size"))).sum(),
    ).row(0)
    n = records.height
    b_precision, b_recall = (b_precision / n, b_recall / n) if n else (1.0, 1.0)
    return LinkageQuality(
        records=n,
        true_people=person_sizes.len(),
        people_found=cluster_sizes.len(),
        true_pairs=true_pairs,
        pairs_found=pairs_found,
        pairs_right=pairs_right,
        precision=precision,
        recall=recall,
        f1=_f1(precision, recall),
        bcubed_precision=b_precision,
        bcubed_recall=b_recall,
        bcubed_f1=_f1(b_precision, b_recall),
        people_exactly_right=exact / person_sizes.len() if person_sizes.len() else 1.0,
    )
