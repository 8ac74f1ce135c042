"""What the levels of the comparisons are worth: several kinds of pairs that are one person, and of pairs that are not.

Fellegi and Sunter's model knows two classes of pairs and takes agreements to be independent within each. Candidate
pairs that are two people are not like that: namesakes agree on both names and on nothing else, members of a household
on surname, postcode and telephone, twins on the date of birth as well. In a model of two classes each of these looks
like half a match. Here each side is a mixture of such kinds, within which agreements are independent: a latent class
model, fitted by expectation maximisation without labels (Larsen and Rubin 2001 link records by mixtures of more than
two classes; the formulas are those of Goodman 1974).

Two things hold the fit in place. Pairs that *cannot* be one person (two records of a file that is free of duplicates;
two different NHS numbers) are known to be on the other side. And a reference model counts as a few hundred pairs
beside the data, so that small partnerships get sensible weights and large ones their own.

The fit runs over distinct patterns of codes and their counts: its cost hardly grows with the number of pairs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from linkage.comparisons import COMPARISONS, UNKNOWN

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Table = tuple[tuple[float, ...], ...]
"""For each class the probabilities of a comparison's codes."""

REFERENCE_FILE = Path(__file__).parent / "reference_model.json"

REFERENCE_PAIRS = 300.0
"""As many pairs as the reference model counts for beside the data."""
LEAST_THRESHOLD = 0.45
"""Where there is little to tell pairs apart by, the best F1 comes of linking much. To join two people does more harm
than to leave one apart, so pairs that are clearly likelier two people are not linked even then."""
NEAR_NAME = 4
"""Code of names within one letter; higher ones are closer."""
_SMALLEST = 1e-9
_MOST_ROUNDS = 300
_CLOSE = 1e-6
"""The fit ends when a round gains less than this for each pair."""


@dataclass(frozen=True)
class ClassModel:
    """A fitted model. Frozen: a run stores it, and another run may score with it."""

    matches: tuple[bool, ...]
    """For each class, whether its pairs are one person."""
    shares: tuple[float, ...]
    """Share of the candidate pairs in each class."""
    levels: Mapping[str, Table]
    """Comparison -> for each class, the probability of each code from 1 up, given that the comparison says anything."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "matches": list(self.matches),
            "shares": list(self.shares),
            "levels": {name: [list(row) for row in rows] for name, rows in self.levels.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What :meth:`as_dict` gave. Raises ValueError where the comparisons are not those of this software."""
        levels = {name: tuple(tuple(row) for row in rows) for name, rows in content["levels"].items()}
        if {name: len(rows[0]) for name, rows in levels.items()} != {c.name: len(c.levels) for c in COMPARISONS}:
            raise ValueError("the model was fitted for other comparisons")
        return cls(tuple(content["matches"]), tuple(content["shares"]), levels)

    def probabilities(self, patterns: Codes) -> Floats:
        """For each pattern (a row of codes in the order of ``COMPARISONS``) the probability of being one person."""
        weights = self.log_weights(patterns)
        spread = np.exp(weights - weights.max(axis=1, keepdims=True))
        return spread[:, list(self.matches)].sum(axis=1) / spread.sum(axis=1)

    def log_weights(self, patterns: Codes) -> Floats:
        """For each pattern and class the logarithm of the joint probability."""
        weights = np.tile(np.log(np.maximum(self.shares, _SMALLEST)), (len(patterns), 1))
        for place, comparison in enumerate(COMPARISONS):
            weights += _log_table(np.array(self.levels[comparison.name]))[:, patterns[:, place]].T
        return weights


def _log_table(table: Floats) -> Floats:
    """Logarithms with a column of zeros in front: what is not known weighs nothing."""
    return np.concatenate([np.zeros((len(table), 1)), np.log(np.maximum(table, _SMALLEST))], axis=1)


@cache
def reference_model() -> ClassModel:
    """The model that ships: fitted on a simulation that shares neither names nor errors with the synthetic partnership
    (``python -m benchmarks.linkage.reference_model``)."""
    return ClassModel.from_dict(json.loads(REFERENCE_FILE.read_text(encoding="utf-8")))


def count_patterns(codes: pl.DataFrame) -> tuple[Codes, Floats, npt.NDArray[np.bool_]]:
    """Distinct patterns of ``codes`` (a column for each comparison, and ``forbidden``: null, or why the two cannot be
    one person), how often each occurs, and whether its pairs are impossible."""
    names = [comparison.name for comparison in COMPARISONS]
    counted = (
        codes.select(*names, impossible=pl.col("forbidden").is_not_null())
        .group_by(*names, "impossible")
        .agg(pairs=pl.len())
    )
    counted = counted.sort(*names, "impossible")
    return (
        counted.select(names).to_numpy().astype(np.int64),
        counted["pairs"].to_numpy().astype(np.float64),
        counted["impossible"].to_numpy().astype(np.bool_),
    )


@dataclass(frozen=True)
class Coincidences:
    """How many of the candidate pairs that agree on much can be two people at most. Without such bounds a fit cannot
    tell a file full of replaced forenames from one full of twins, nor one full of wrong dates of birth from one full of
    fathers and sons of one name."""

    on_one_day: float
    """Of the pairs that agree on the date of birth."""
    of_one_name_at_one_postcode: float
    """Of the pairs that agree on both names but for a letter and on the postcode, and not on the date of birth."""

    def bounds(self, patterns: Codes) -> list[tuple[npt.NDArray[np.bool_], float]]:
        """Which patterns each bound is about, and the bound. No pattern is in two."""
        codes = {comparison.name: patterns[:, place] for place, comparison in enumerate(COMPARISONS)}
        full = {comparison.name: len(comparison.levels) for comparison in COMPARISONS}
        day = codes["date_of_birth"] == full["date_of_birth"]
        names = [codes[name] >= NEAR_NAME for name in ("forename", "surname")]
        home = codes["postcode"] == full["postcode"]
        other_day = ~day & (codes["date_of_birth"] != UNKNOWN)
        return [(day, self.on_one_day), (names[0] & names[1] & home & other_day, self.of_one_name_at_one_postcode)]


def fit_classes(
    patterns: Codes,
    pairs: Floats,
    impossible: npt.NDArray[np.bool_],
    *,
    one_file: float | None = None,
    coincidences: Coincidences | None = None,
    start: ClassModel | None = None,
    reference_pairs: float = REFERENCE_PAIRS,
) -> ClassModel:
    """The model of most posterior probability for these patterns, from ``start`` (the reference model) on.

    ``patterns``, ``pairs`` and ``impossible`` are those of :func:`count_patterns`; impossible ones are never in a class
    of one person. ``one_file`` is the share of pairs of strangers that are in one partner's file: it is known and not
    estimated. ``coincidences`` bounds how many pairs that agree on much can be two people. Each round raises the
    objective: the log likelihood, the logarithm of the prior (Dirichlet, ``reference_pairs`` strong, around ``start``),
    and what the bounds cost. Deterministic.
    """
    model = start or reference_model()
    sides = np.array(model.matches)
    prior_shares = np.array(model.shares) * reference_pairs
    prior = {c.name: prior_shares[:, None] * np.array(model.levels[c.name]) + _SMALLEST for c in COMPARISONS}
    if one_file is not None:
        known = tuple((1 - one_file, one_file) for _ in sides)
        model = replace(model, levels={**model.levels, "one_file": _choose(sides, model.levels["one_file"], known)})
    bounds = [] if coincidences is None else coincidences.bounds(patterns)
    bounds = [(bounded & ~impossible, most) for bounded, most in bounds]
    last = -np.inf
    for _ in range(_MOST_ROUNDS):
        weights = model.log_weights(patterns)
        weights[np.ix_(impossible, sides)] = -np.inf
        objective = _log_prior(model, prior_shares, prior)
        for bounded, most in bounds:
            excess = _excess(weights[bounded], pairs[bounded], sides, most)
            weights[np.ix_(bounded, ~sides)] -= excess
            objective += excess * most
        sums = np.logaddexp.reduce(weights, axis=1, keepdims=True)
        objective += float(pairs @ sums[:, 0])
        if objective - last < _CLOSE * (pairs.sum() + reference_pairs):
            break
        last = objective
        members = np.exp(weights - sums) * pairs[:, None]
        counts = members.sum(axis=0) + prior_shares
        levels = {}
        for place, comparison in enumerate(COMPARISONS):
            seen = _count_levels(patterns[:, place], members, len(comparison.levels)) + prior[comparison.name]
            levels[comparison.name] = _rows(seen / seen.sum(axis=1, keepdims=True))
        if one_file is not None:
            levels["one_file"] = _choose(sides, levels["one_file"], known)
        model = ClassModel(model.matches, tuple((counts / counts.sum()).tolist()), levels)
    return model


def _count_levels(codes: Codes, members: Floats, levels: int) -> Floats:
    """For each class, how many of its pairs have each code from 1 up."""
    counted = [np.bincount(codes, column, levels + 1)[1:] for column in members.T]
    return np.stack(counted).astype(np.float64)


def _rows(table: Floats) -> Table:
    return tuple(map(tuple, table.tolist()))


def _choose(sides: npt.NDArray[np.bool_], matches: Table, others: Table) -> Table:
    """The rows of ``matches`` for the classes of one person, those of ``others`` for the rest."""
    return tuple(one if match else other for match, one, other in zip(sides, matches, others, strict=True))


def _log_prior(model: ClassModel, prior_shares: Floats, prior: Mapping[str, Floats]) -> float:
    levels = sum(float((prior[name] * _log_table(np.array(rows))[:, 1:]).sum()) for name, rows in model.levels.items())
    return float(prior_shares @ np.log(np.maximum(model.shares, _SMALLEST))) + levels


def _excess(weights: Floats, pairs: Floats, sides: npt.NDArray[np.bool_], most: float) -> float:
    """By how much the weights of pairs that are two people have to go down so that there are at most ``most`` of them
    (the projection of posterior regularisation: Ganchev and others 2010)."""
    one = np.logaddexp.reduce(weights[:, sides], axis=1)
    two = np.logaddexp.reduce(weights[:, ~sides], axis=1)

    def expected(excess: float) -> float:
        return float(pairs @ (1 / (1 + np.exp(np.clip(one - two + excess, -700, 700)))))

    low, high = 0.0, 50.0
    if expected(low) <= most:
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) > most else (low, middle)
    return high


def choose_threshold(probabilities: Floats) -> float:
    """The probability from which on a pair is linked: half of the greatest F1 that is to be expected if the
    probabilities are right, where F1 is greatest (Lipton, Elkan and Naryanaswamy 2014). No truth is needed: of the
    pairs above a threshold their sum is right, and the sum over all pairs is what there is to find.

    It is never over one half, nor under :data:`LEAST_THRESHOLD`.
    """
    ordered = np.sort(probabilities)[::-1]
    right = np.cumsum(ordered)
    if not len(ordered) or right[-1] <= 0:
        return 0.5
    greatest = np.max(2 * right / (np.arange(1, len(ordered) + 1) + right[-1]))
    return float(max(greatest / 2, LEAST_THRESHOLD))


def start_model(patterns: Codes, pairs: Floats, likely: Floats, kinds: Sequence[bool], seed: int) -> ClassModel:
    """A model to begin with where there is no reference: classes drawn at random around a first guess ``likely`` of
    each pattern's probability. For making the reference model."""
    draw = np.random.default_rng(seed)
    sides = np.array(kinds)
    members = np.empty((len(patterns), len(kinds)))
    members[:, sides] = likely[:, None] * draw.dirichlet(np.ones(sides.sum()), len(patterns))
    members[:, ~sides] = (1 - likely)[:, None] * draw.dirichlet(np.ones((~sides).sum()), len(patterns))
    members *= pairs[:, None]
    levels = {}
    for place, comparison in enumerate(COMPARISONS):
        seen = _count_levels(patterns[:, place], members, len(comparison.levels))
        overall = seen.sum(axis=0) + 1.0
        seen += overall / overall.sum()
        levels[comparison.name] = _rows(seen / seen.sum(axis=1, keepdims=True))
    shares = members.sum(axis=0) / members.sum()
    return ClassModel(tuple(bool(kind) for kind in kinds), tuple(shares.tolist()), levels)


assert UNKNOWN == 0, "_log_table puts what is not known in front"
