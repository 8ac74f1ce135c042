"""Pattern mining on filters: bits that are set together against letter pairs that stand together.

The attacker holds Bloom filters of a name and no key, and knows how many bits a letter pair sets and how often names
occur, among other people or among half of the very persons. After Christen, Ranbaduge, Vatsalan and Schnell (2018),
who take bits that are often set together for a frequent letter pair:

1. The commonest filters are laid beside the commonest names by how often each occurs and by which filters share bits
   and which names share letter pairs (:mod:`benchmarks.attacks.aligning`). The paper finds its first letter pairs by
   frequency alone. Tried here, that got hardly any right, since no made-up name is as frequent as Smith; this way the
   control falls.
2. Which bits each letter pair sets is learnt from all filters and the names they have got so far, by least squares.
3. Each filter gets the name that explains its bits best; and so on from 2 until nothing changes.

The answer is a name for every filter. What it is worth is how many are right beyond the commonest name's share.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.attacks.aligning import align, dice
from pseudonymise.tokens import derive_inner

Bits = npt.NDArray[np.bool_]

COMMONEST = 400
"""Filters and names that are laid side by side first."""
_ROUNDS = 12
_RIDGE = 3.0
_SURE = 0.02
"""No bit is taken to be more certain than this to be set or not."""

FILTER_SETS: Sequence[tuple[str, str]] = (
    ("forename_filter_date", "forename"),
    ("surname_filter_date", "surname"),
    ("forename_filter_postcode", "forename"),
    ("surname_filter_postcode", "surname"),
)
"""The encoding's filters and what is in them."""


@dataclass(frozen=True)
class Recovered:
    """What came out."""

    filters: int
    recovered: float
    """Share of filters whose name is right."""
    guessed: float
    """Share that always guessing the commonest name gets right."""


def letter_pairs(text: str) -> tuple[str, ...]:
    """Neighbouring letters, with the beginning and the end marked, each once."""
    marked = f"_{text}_"
    return tuple(dict.fromkeys(marked[place : place + 2] for place in range(len(marked) - 1)))


def filter_bits(encodings: pl.DataFrame, name: str) -> tuple[npt.NDArray[np.int64], Bits]:
    """The rows that have a filter of this set, and its bits."""
    halves = [encodings[f"{name}_{half}"] for half in ("low", "high")]
    rows = np.flatnonzero(halves[0].is_not_null().to_numpy())
    packed = np.stack([half.drop_nulls().to_numpy() for half in halves], axis=1).astype("<i8")
    return rows, np.unpackbits(packed.view(np.uint8), axis=1, bitorder="little").astype(np.bool_)


def attack(bits: Bits, truth: pl.Series, known: pl.Series) -> Recovered:
    """Names for filters. ``truth`` is for the figures alone; ``known`` are names of people, one each."""
    counted = known.drop_nulls().value_counts(name="times").sort("times", known.name, descending=[True, False])
    names, times = counted[known.name].to_list(), counted["times"].to_numpy().astype(np.float64)
    pairs = sorted({pair for name in names for pair in letter_pairs(name)})
    at = {pair: place for place, pair in enumerate(pairs)}
    holds = np.zeros((len(names), len(pairs)), dtype=np.bool_)
    for row, name in enumerate(names):
        holds[row, [at[pair] for pair in letter_pairs(name)]] = True
    distinct, place, counts = np.unique(bits, axis=0, return_inverse=True, return_counts=True)
    guesses = _learn(distinct, counts, holds, times / times.sum())[place.ravel()]
    right = truth.to_numpy() == np.array(names, dtype=object)[guesses]
    return Recovered(len(bits), float(right.mean()), float((truth == names[0]).mean()))


def _learn(
    filters: Bits, counts: npt.NDArray[np.int64], holds: Bits, shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """The place of a name for each distinct filter."""
    common = np.argsort(-counts, kind="stable")[:COMMONEST]
    first, second = filters[common], holds[:COMMONEST]
    marks = [
        np.stack([np.log(often), sets.sum(axis=1)], axis=1)
        for often, sets in ((counts[common], first), (shares[:COMMONEST], second))
    ]
    chosen, mutual = align(dice(first), dice(second), (marks[0], marks[1]))
    rows, guesses = common[mutual], chosen[mutual]
    sets = np.hstack([holds, np.ones((len(holds), 1))]).astype(np.float32)
    bits = filters.astype(np.float32)
    found = np.zeros(len(filters), dtype=np.int64)
    for turn in range(_ROUNDS):
        weight = counts[rows].astype(np.float32)[:, None]
        with_pair = sets[guesses]
        square = with_pair.T @ (with_pair * weight) + _RIDGE * np.eye(sets.shape[1], dtype=np.float32)
        learnt = np.linalg.solve(square, with_pair.T @ (bits[rows] * weight))
        expected = np.clip(sets @ learnt, _SURE, 1 - _SURE)
        odds, none = np.log(expected / (1 - expected)), np.log1p(-expected).sum(axis=1)
        again = (bits @ odds.T + none + np.log(shares)).argmax(axis=1)
        if turn and (again == found).all():
            break
        found, rows, guesses = again, np.arange(len(filters)), again
    return found


def unsalted_filters(names: pl.Series, *, bits: int, hashes: int, key: str) -> Bits:
    """The control: filters of names under one key without a salt, each letter pair setting the same bits everywhere."""
    pairs = sorted({pair for name in names.unique() for pair in letter_pairs(name)})
    digests = [bytes.fromhex(digest) for digest in derive_inner(pl.Series(pairs), key)]
    places = {
        pair: np.frombuffer(digest, dtype=">u2")[:hashes].astype(np.int64) % bits
        for pair, digest in zip(pairs, digests, strict=True)
    }
    made = np.zeros((len(names), bits), dtype=np.bool_)
    for row, name in enumerate(names):
        made[row, np.concatenate([places[pair] for pair in letter_pairs(name)])] = True
    return made
