"""Groups of records that pairs hold together, directly or over others: the connected components of the pairs."""

import polars as pl

from linkage.comparisons import RECORD


def group_records(pairs: pl.DataFrame) -> pl.DataFrame:
    """The groups that ``pairs`` (``left``, ``right``) make: ``record`` and ``group`` (its lowest record), sorted by
    record. Records of no pair are not there."""
    home: dict[int, int] = {}

    def root(record: int) -> int:
        above = home.setdefault(record, record)
        while above != home[above]:
            home[above] = home[home[above]]
            above = home[above]
        home[record] = above
        return above

    for left, right in zip(pairs["left"].to_list(), pairs["right"].to_list(), strict=True):
        one, other = root(left), root(right)
        if one != other:
            home[max(one, other)] = min(one, other)
    records = sorted(home)
    return pl.DataFrame(
        {RECORD: records, "group": [root(record) for record in records]},
        schema={RECORD: pl.UInt32, "group": pl.UInt32},
    )
