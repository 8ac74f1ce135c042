"""Groups of records that pairs hold together, directly or over others: the connected components of the pairs."""

import numpy as np
import polars as pl

from linkage.comparisons import RECORD


def group_records(pairs: pl.DataFrame) -> pl.DataFrame:
    """The groups that ``pairs`` (``left``, ``right``) make: ``record`` and ``group`` (its lowest record), sorted by
    record. Records of no pair are not there."""
    # Every group's root takes on the lowest root that a pair leads to, until no pair leads out of its group.
    records = pl.concat([pairs["left"], pairs["right"]]).unique().sort()
    left, right = (np.searchsorted(records.to_numpy(), pairs[side].to_numpy()) for side in ("left", "right"))
    home = np.arange(len(records))
    while True:
        one, other = home[left], home[right]
        apart = one != other
        if not apart.any():
            break
        one, other = one[apart], other[apart]
        np.minimum.at(home, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(above := home[home], home):
            home = above
    return pl.DataFrame(
        {RECORD: records, "group": records.gather(home)}, schema={RECORD: pl.UInt32, "group": pl.UInt32}
    )
