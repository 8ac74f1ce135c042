"""What a model says that each level of each comparison is worth, for a person to read.

A level's m is the probability that a pair of which the comparison says anything stands at it, where the two are one
person; u the same where they are two people; its match weight is log2(m / u), in bits (Fellegi and Sunter 1969). Of a
mixture they are the margins over the classes of a side, by the classes' shares. Within a side agreements go together,
so that a pair's probability is not the sum of these weights: :meth:`linkage.classes.ClassModel.probabilities` is.
"""

from collections import Counter
from dataclasses import dataclass
from math import log2

import numpy as np
import polars as pl

from linkage.classes import ClassModel
from linkage.comparisons import COMPARISONS, TOLD

_SMALLEST = 1e-9
"""As in the model: a probability of nothing weighs no more than this."""


@dataclass(frozen=True)
class LevelWeight:
    """One level of a comparison."""

    comparison: str
    code: int
    words: str
    m: float
    u: float
    pairs: int
    """How many of the pairs that were counted stand at it."""

    @property
    def bits(self) -> float:
        """The match weight."""
        return log2(max(self.m, _SMALLEST) / max(self.u, _SMALLEST))


def tell_weights(model: ClassModel, patterns: pl.DataFrame) -> tuple[LevelWeight, ...]:
    """Every level of every comparison, each comparison's highest level first.

    ``patterns`` are counted pairs: ``levels`` (a digit for each comparison, as :func:`linkage.review.write_levels`
    writes them) and ``pairs``.
    """
    seen: Counter[tuple[str, int]] = Counter()
    for levels, pairs in patterns.select("levels", "pairs").iter_rows():
        for comparison, code in zip(COMPARISONS, levels, strict=True):
            seen[comparison.name, int(code)] += pairs
    one = np.array(model.matches)
    shares = np.array(model.shares)
    told = []
    for comparison in COMPARISONS:
        table = np.array(model.levels[comparison.name])
        m, u = (shares[side] @ table[side] / shares[side].sum() for side in (one, ~one))
        for place, level in enumerate(comparison.levels):
            code = len(comparison.levels) - place
            words = level.words if level.agrees or comparison not in TOLD else f"{level.words} differs"
            told.append(
                LevelWeight(
                    comparison.name,
                    code,
                    words,
                    float(m[code - 1]),
                    float(u[code - 1]),
                    seen[comparison.name, code],
                )
            )
    return tuple(told)


def share_of_one_person(model: ClassModel) -> float:
    """The share of the candidate pairs that the model takes to be one person."""
    return float(np.array(model.shares)[list(model.matches)].sum() / sum(model.shares))
