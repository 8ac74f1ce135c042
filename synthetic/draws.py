"""Random draws that are the same everywhere: from one seed, by name, with nothing but uniform numbers underneath.

numpy promises a fixed stream for its bit generators but not for the distributions built on them, so everything here
is made from uniform doubles by arithmetic that does not round differently from one release to the next. A stream has
a name, and a table drawn later never shifts a table drawn before.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]
"""Text cells; a missing one is None."""

EPOCH = np.datetime64("1970-01-01", "D")


class Draws:
    """A named stream of random numbers. The same seed and name give the same numbers on every platform."""

    def __init__(self, seed: int, *name: str) -> None:
        digest = hashlib.sha256("/".join((str(seed), *name)).encode()).digest()
        self._bits = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))

    def uniform(self, n: int) -> Floats:
        """``n`` numbers in [0, 1)."""
        return self._bits.random(n)

    def chance(self, probability: float | Floats, n: int) -> Flags:
        """``n`` flags, each true with its probability."""
        return self.uniform(n) < probability

    def integers(self, low: int | Integers, high: int | Integers, n: int) -> Integers:
        """``n`` whole numbers from ``low`` to ``high``, both included; where ``high`` is below ``low``, ``low``."""
        span = np.maximum(np.asarray(high, dtype=np.int64) - np.asarray(low, dtype=np.int64) + 1, 1)
        return (np.floor(self.uniform(n) * span) + np.asarray(low)).astype(np.int64)

    def bell(self, n: int) -> Floats:
        """``n`` numbers of mean 0 and variance 1, nearly normal (the sum of twelve uniform numbers)."""
        total = np.zeros(n)
        for _ in range(12):
            total += self.uniform(n)
        return total - 6.0

    def positions(self, weights: Sequence[float] | Floats, n: int) -> Integers:
        """``n`` positions in ``weights``, each drawn by its weight."""
        edges = np.cumsum(np.asarray(weights, dtype=np.float64))
        found = np.searchsorted(edges, self.uniform(n) * edges[-1], side="right")
        return np.minimum(found, len(edges) - 1).astype(np.int64)

    def choose(self, options: Mapping[str, float], n: int) -> Texts:
        """``n`` of the options, each drawn by its weight."""
        names = np.array(list(options), dtype=object)
        return names[self.positions(list(options.values()), n)]

    def pick(self, options: Sequence[str] | Texts, n: int) -> Texts:
        """``n`` of the options, all equally likely."""
        pool = np.asarray(options, dtype=object)
        return pool[self.integers(0, len(pool) - 1, n)]

    def shuffle(self, n: int) -> Integers:
        """The numbers 0 to ``n - 1`` in random order."""
        return np.argsort(self.uniform(n), kind="stable").astype(np.int64)

    def pick_columns(self, weights: Floats, counts: Integers) -> Flags:
        """For each row, ``counts`` different columns, drawn one after the other by their weights.

        :param weights: rows by columns; a column of weight 0 is never drawn.
        :returns: flags of the same shape; fewer than ``counts`` are set where a row has fewer columns to give.
        """
        left = weights.astype(np.float64).copy()
        taken = np.zeros(left.shape, dtype=np.bool_)
        rows = np.arange(len(left))
        for turn in range(int(np.max(counts, initial=0))):
            edges = np.cumsum(left, axis=1)
            point = self.uniform(len(left)) * edges[:, -1]
            column = np.minimum((edges <= point[:, None]).sum(axis=1), left.shape[1] - 1)
            open_rows = (counts > turn) & (edges[:, -1] > 0) & (left[rows, column] > 0)
            taken[rows[open_rows], column[open_rows]] = True
            left[rows[open_rows], column[open_rows]] = 0.0
        return taken


def as_day(day: np.datetime64 | object) -> int:
    """A date as whole days since 1970-01-01, the form in which all dates are drawn."""
    return int((np.datetime64(str(day), "D") - EPOCH).astype(np.int64))


def as_text(days: Integers, present: Flags | None = None) -> Texts:
    """Days since 1970-01-01 as ISO dates; None where ``present`` is false."""
    text = np.datetime_as_string(days.astype("datetime64[D]")).astype(object)
    if present is not None:
        text[~present] = None
    return text


def blank(values: Texts, missing: Flags) -> Texts:
    """The values with None where ``missing`` is true."""
    out = values.copy()
    out[missing] = None
    return out
