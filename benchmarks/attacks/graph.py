"""Graph matching: who is like whom among encodings against who is like whom among clear records.

The attacker holds match keys and encodings without a key and has clear records of people: at the worst the very records
that were encoded, as a partner has its own, or those of half of the persons among as many others. The way of encoding
is no secret, so the attacker encodes the clear records under keys of its own: what is equal and alike among them is so
among the stored ones. After Culnane and others (2017), Vidanage and others (2020) and Schaefer and others (2024).

- ``filters``: Dice's coefficient between the filters of two records, all sets of filters together.
- ``tokens``: how many tokens and match keys two records share, beside how many each has of every kind. Equal tokens of
  one person or household are what linkage lives on, so this is what remains, and it is measured rather than denied.

A match is right where the clear record is of the person whose encoding it is. The attacker's records are shuffled, so
that where several look alike it is chance that decides.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.attacks.aligning import Matrix, align, dice
from benchmarks.attacks.patterns import FILTER_SETS, filter_bits, unsalted_filters
from benchmarks.attacks.people import People, Stored, make_keys, shuffled, store
from benchmarks.attacks.sizes import counts_of_tokens
from pseudonymise.encoding import token_names

ATTACKERS_SEED = 999_983


@dataclass(frozen=True)
class Matched:
    """What matching gave."""

    records: int
    right: float
    """Share of the encodings whose person the attacker has a clear record of and that were given one."""
    by_chance: float
    """The same for records drawn at random."""
    claimed: int
    """Encodings and clear records that choose one another: those that an attacker would believe in."""
    right_of_claimed: float


def attack_filters(held: People, stored: Stored, known: People) -> Matched:
    """By the likeness of the encoding's filters alone."""
    known = shuffled(known, ATTACKERS_SEED)
    theirs = store(known, make_keys(ATTACKERS_SEED))
    mine_rows, mine = _filters(stored)
    known_rows, others = _filters(theirs)
    marks = mine.sum(axis=1)[:, None].astype(np.float32), others.sum(axis=1)[:, None].astype(np.float32)
    chosen, mutual = align(dice(mine), dice(others), marks)
    return _judge(held.take(mine_rows), known.take(known_rows), chosen, mutual)


def attack_tokens(held: People, stored: Stored, known: People) -> Matched:
    """By shared tokens, and by how many there are of every kind."""
    known = shuffled(known, ATTACKERS_SEED)
    theirs = store(known, make_keys(ATTACKERS_SEED))
    marks = _numbers_of_tokens(held, stored), _numbers_of_tokens(known, theirs)
    chosen, mutual = align(_shared(held, stored), _shared(known, theirs), marks, blend=1.0)
    return _judge(held, known, chosen, mutual)


def attack_sizes(held: People, stored: Stored, known: People) -> Matched:
    """By how many tokens there are of every kind, and by nothing else."""
    known = shuffled(known, ATTACKERS_SEED)
    marks = _numbers_of_tokens(held, stored), _numbers_of_tokens(known, store(known, make_keys(ATTACKERS_SEED)))
    nobody = [np.zeros((len(mark), len(mark)), dtype=np.float32) for mark in marks]
    chosen, mutual = align(nobody[0], nobody[1], marks, blend=1.0)
    return _judge(held, known, chosen, mutual)


def attack_control(held: People, known: People) -> Matched:
    """The control: one unsalted filter a record, of names and date of birth (1,024 bits, 10 a letter pair)."""
    known = shuffled(known, ATTACKERS_SEED)
    mine, others = _plain(held, "00"), _plain(known, "11")
    marks = mine.sum(axis=1)[:, None].astype(np.float32), others.sum(axis=1)[:, None].astype(np.float32)
    chosen, mutual = align(dice(mine), dice(others), marks)
    return _judge(held, known, chosen, mutual)


def _numbers_of_tokens(people: People, stored: Stored) -> Matrix:
    return counts_of_tokens(people, stored).to_numpy().astype(np.float32)


def _filters(stored: Stored) -> tuple[np.ndarray, np.ndarray]:
    """Rows that have any filter, and the bits of all their filters."""
    made = np.zeros((stored.encodings.height, len(FILTER_SETS), 128), dtype=np.bool_)
    for place, (name, _) in enumerate(FILTER_SETS):
        rows, bits = filter_bits(stored.encodings, name)
        made[rows, place] = bits
    flat = made.reshape(len(made), -1)
    there = np.flatnonzero(flat.any(axis=1))
    return there, flat[there]


def _plain(people: People, key: str) -> np.ndarray:
    made = [
        unsalted_filters(people.normal[column].fill_null(""), bits=1024, hashes=10, key=key)
        for column in ("forename", "surname", "date_of_birth")
    ]
    return made[0] | made[1] | made[2]


def _shared(people: People, stored: Stored) -> Matrix:
    """How many tokens each two records share, by the share of the tokens that they have."""
    rows = people.records.select("person_ref").with_row_index("row")
    keyed = stored.match_keys.join(rows, on="person_ref").select("row", token=pl.col("token").str.head(16))
    coded = [
        stored.encodings.with_row_index("row")
        .select("row", token=pl.col(name))
        .drop_nulls()
        .explode("token")
        .select("row", token=pl.format("{} {}", pl.lit(name), "token"))
        for name in token_names()
    ]
    tokens = pl.concat([keyed, *coded]).unique()
    shared = tokens.filter(pl.len().over("token") > 1)
    pairs = shared.join(shared, on="token").group_by("row", "row_right").agg(pl.len())
    likeness = np.zeros((people.height, people.height), dtype=np.float32)
    likeness[pairs["row"].to_numpy(), pairs["row_right"].to_numpy()] = pairs["len"].to_numpy()
    has = tokens.group_by("row").agg(pl.len())
    number = np.ones(people.height, dtype=np.float32)
    number[has["row"].to_numpy()] = has["len"].to_numpy()
    np.fill_diagonal(likeness, number)
    return likeness / np.sqrt(np.outer(number, number))


def _judge(held: People, known: People, chosen: np.ndarray, mutual: np.ndarray) -> Matched:
    owners, others = held.records["person"].to_numpy(), known.records["person"].to_numpy()
    right = others[chosen] == owners
    there = np.isin(owners, others)
    numbers = known.records["person"].value_counts().rename({"count": "records"})
    chance = held.records.select("person").join(numbers, on="person")["records"].sum() / len(others) / there.sum()
    return Matched(
        records=held.height,
        right=float(right[there].mean()),
        by_chance=float(chance),
        claimed=int(mutual.sum()),
        right_of_claimed=float(right[mutual].mean()) if mutual.any() else 0.0,
    )
