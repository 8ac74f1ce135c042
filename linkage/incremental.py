"""Comparing only what is new: what an earlier run compared is not compared again.

How two records compare follows from their tokens and from whose files they are in, and from nothing else: no other
record, no model and no policy has a part in it. So a run leaves behind what each pair compared as, under digests of
both records' tokens, and the next run looks there first. All that does depend on everybody (which pairs are looked at,
how far a key is followed, numbers that a crowd holds, what levels are worth, groups, clusters) is worked out anew from
all records. A linkage of what is new against what was there therefore *is* the full one, less nearly all comparisons
(``tests/unit/linkage/test_incremental.py``).

A record that came, or whose tokens changed, has a digest that no earlier pair has; that of one that went is asked for
no more. Tokens under other keys, other conditions, and another version of Polars (which makes the digests) do the same
to all records at once: then everything is compared, once.
"""

import hashlib

import polars as pl

from linkage.comparisons import COMPARISONS, FILE, RECORD, token_schema
from linkage.vectors import CODES, Engine, compare_pairs

COMPARED = {"one": pl.UInt64, "other": pl.UInt64, **CODES}
"""What pairs compare as: the digests of both records, the lower first, and a code for each comparison. It names no
record, and nothing leads from a digest to a token."""

_CONDITIONS = int.from_bytes(hashlib.sha256(repr(COMPARISONS).encode()).digest()[:8], "big")


def digest_records(tokens: pl.DataFrame) -> pl.DataFrame:
    """``record`` and ``digest`` (UInt64) of everything that is compared of a record: the same for two records of one
    partner with the same tokens, in whatever order.

    Of a list the sum is taken: tokens are as good as random, so that two lists have one sum by chance alone, once in
    2^64.
    """
    parts = [
        pl.col(name).list.sum() if isinstance(kind, pl.List) else pl.col(name) for name, kind in token_schema().items()
    ]
    return tokens.select(RECORD, digest=pl.struct(FILE, *parts).hash(_CONDITIONS))


class Comparer:
    """Compares pairs of records, but for those that ``earlier`` (columns of :data:`COMPARED`) has the answer to.

    ``tokens`` and ``engine`` are as for :func:`linkage.vectors.compare_pairs`.
    """

    def __init__(self, tokens: pl.DataFrame, engine: Engine, earlier: pl.DataFrame | None = None) -> None:
        self.anew = 0
        """How many pairs were compared."""
        self._tokens = tokens
        self._engine = engine
        self._digests = digest_records(tokens)
        self._earlier = pl.DataFrame(schema=COMPARED) if earlier is None else earlier
        self._told: list[pl.DataFrame] = []

    def compare(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """What :func:`linkage.vectors.compare_pairs` says of the pairs. Both records of each have tokens."""
        named = self._name(pairs).join(self._earlier, on=["one", "other"], how="left", maintain_order="left")
        known = pl.col(next(iter(CODES))).is_not_null()
        new = named.filter(~known).select("left", "right")
        self.anew += new.height
        answers = [named.filter(known)]
        if new.height:
            answers.append(self._name(compare_pairs(self._tokens, new, self._engine)).select(named.columns))
        told = pl.concat(answers).sort("left", "right")
        self._told.append(told.select(*COMPARED))
        return told.select("left", "right", *CODES)

    def _name(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """With ``one`` and ``other``, the digests of both records."""
        for side in ("left", "right"):
            pairs = pairs.join(
                self._digests.rename({RECORD: side, "digest": f"{side}_digest"}), on=side, maintain_order="left"
            )
        both = ("left_digest", "right_digest")
        return pairs.with_columns(one=pl.min_horizontal(both), other=pl.max_horizontal(both)).drop(both)

    @property
    def compared(self) -> pl.DataFrame:
        """All that was asked for, for the next run; each pair of digests once, sorted."""
        told = pl.concat([pl.DataFrame(schema=COMPARED), *self._told])
        return told.unique(["one", "other"]).sort("one", "other")
