"""What can be counted without a key: tokens in a list, match keys of a kind, bits of a filter, and what is missing.

The attacker holds match keys and encodings of single records. In bits of a person's identity:

- what the number of tokens in a set, or of bits in a filter, tells of the length of the name in it: mutual information,
  less what the same numbers tell when they are shuffled (so that chance counts as nothing);
- what is told by which kinds are missing, and by all numbers of tokens together: the entropy over all records, an upper
  bound of what anybody can learn from it, and the share of records of which no other has the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.attacks.patterns import filter_bits
from benchmarks.attacks.people import People, Stored
from pseudonymise.encoding import TOKEN_SETS, TokenSet
from pseudonymise.match_keys import MATCH_KEYS

SHUFFLES = 20


@dataclass(frozen=True)
class Told:
    """What a pattern tells."""

    bits: float
    """Entropy over all records."""
    most: float
    """Of a uniform draw among as many records: the logarithm of their number."""
    unique: float
    """Share of records of which no other has the same."""


def counts_of_tokens(people: People, stored: Stored) -> pl.DataFrame:
    """How many tokens each record has in every set and how many match keys of every kind; of a filter, the number of
    bits that are set. A column each, a row for each of ``people``; 0 where there is none."""
    refs = people.records.select("person_ref")
    keyed = stored.match_keys.group_by("person_ref", "key_name").len().pivot("key_name", index="person_ref")
    joined = refs.join(keyed, on="person_ref", how="left", maintain_order="left")
    columns = {
        f"key {key.name}": joined[key.name] if key.name in joined.columns else pl.Series([0] * refs.height)
        for key in MATCH_KEYS
    }
    for tokens in TOKEN_SETS:
        columns[tokens.name] = pl.Series(_sizes(stored.encodings, tokens))
    return pl.DataFrame({name: column.cast(pl.Int64).fill_null(0) for name, column in columns.items()})


def _sizes(encodings: pl.DataFrame, tokens: TokenSet) -> npt.NDArray[np.int64]:
    if not tokens.is_filter:
        return encodings[tokens.name].list.len().fill_null(0).cast(pl.Int64).to_numpy()
    made = np.zeros(encodings.height, dtype=np.int64)
    rows, bits = filter_bits(encodings, tokens.name)
    made[rows] = bits.sum(axis=1)
    return made


def attack_lengths(people: People, stored: Stored, seed: int = 1) -> Mapping[str, float]:
    """For each set of tokens, the bits that the number of tokens of a record that has any tells of the length of the
    first of the set's values."""
    counts = counts_of_tokens(people, stored)
    told = {}
    for tokens in TOKEN_SETS:
        length = people.normal[tokens.values[0]].str.len_chars()
        there = ((counts[tokens.name] > 0) & length.is_not_null()).to_numpy()
        told[tokens.name] = _information(
            counts[tokens.name].to_numpy()[there], length.fill_null(0).to_numpy()[there].astype(np.int64), seed
        )
    return told


def attack_missing(people: People, stored: Stored) -> Told:
    """What is told by which kinds of tokens a record has."""
    return _told(counts_of_tokens(people, stored).select(pl.all() > 0))


def attack_counts(people: People, stored: Stored) -> Told:
    """What is told by how many a record has of all kinds."""
    return _told(counts_of_tokens(people, stored))


def control_lengths(people: People, column: str, seed: int = 1) -> float:
    """The control: what the weight of an unsalted filter of a name tells of its length."""
    from benchmarks.attacks.patterns import unsalted_filters

    names = people.normal[column].drop_nulls()
    bits = unsalted_filters(names, bits=1024, hashes=10, key="00")
    return _information(bits.sum(axis=1), names.str.len_chars().to_numpy().astype(np.int64), seed)


def _told(patterns: pl.DataFrame) -> Told:
    counts = patterns.group_by(pl.all()).len()["len"].to_numpy()
    shares = counts / counts.sum()
    return Told(
        bits=float(-(shares * np.log2(shares)).sum()),
        most=float(np.log2(counts.sum())),
        unique=float(counts[counts == 1].sum() / counts.sum()),
    )


def _information(seen: npt.NDArray[np.int64], secret: npt.NDArray[np.int64], seed: int) -> float:
    """Mutual information in bits, less its mean over shuffled pairs; not below 0."""
    if len(seen) == 0:
        return 0.0
    rng = np.random.default_rng(seed)
    chance = np.mean([_mutual(seen, rng.permutation(secret)) for _ in range(SHUFFLES)])
    return float(max(0.0, _mutual(seen, secret) - chance))


def _mutual(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> float:
    _, one = np.unique(first, return_inverse=True)
    _, two = np.unique(second, return_inverse=True)
    table = np.zeros((one.max() + 1, two.max() + 1))
    np.add.at(table, (one, two), 1)
    table /= table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0))
    there = table > 0
    return float((table[there] * np.log2(table[there] / expected[there])).sum())
