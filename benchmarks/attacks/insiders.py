"""What K1 alone gives, and what whoever can have guesses tokenised gets.

Every partner that pseudonymises at its own site holds K1, so take it to be known. The attacker has it, the scheme, and
a list of NHS numbers that may be on file (here: all that are).

- Against what the hub stores: match keys and encodings of the list under K1 and a guessed K2. Nothing comes out.
- Against inner tokens, as they travel: every number on the list comes out. That is why they travel and rest sealed.
- Whoever can submit rows *and* read what is stored needs no key: the hub makes the tokens of the guesses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from benchmarks.attacks.people import MOMENT, People, Stored
from pseudonymise.encoding import encode_inner, encode_outer
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import build_inner_match_keys, close_match_keys
from pseudonymise.normalise import NORMAL_FIELDS

GUESSED_K2 = (bytes(32), b"\1" * 32, b"\xff" * 32, bytes(range(32)), bytes(range(32, 64)))


@dataclass(frozen=True)
class Guessed:
    """Shares of the NHS numbers on file that the attacker finds."""

    in_stored: float
    """With K1 and guesses of K2."""
    in_inner: float
    """With K1, in inner tokens."""
    by_submitting: float
    """Without a key, by rows that the hub takes in."""


def attack(held: People, stored: Stored, k1: bytes, k2: bytes) -> Guessed:
    """``k2`` is what the hub has; the attacker gets what it made and not the key."""
    numbers = held.normal["nhs_number"].drop_nulls().unique()
    # In K2's place K1 read backwards, too: somebody may have made one key from the other.
    guesses = [KeyRing(k1, guess, MOMENT) for guess in (*GUESSED_K2, k1[::-1])]
    hub = KeyRing(k1, k2, MOMENT)
    refs = held.records["person_ref"]
    sent = Stored(build_inner_match_keys(held.normal, refs, hub), encode_inner(held.normal, refs, hub))
    inner = _inner(numbers, hub)
    return Guessed(
        in_stored=_found([_closed(inner, ring) for ring in guesses], stored, numbers),
        in_inner=_found([inner], sent, numbers),
        by_submitting=_found([_closed(inner, hub)], stored, numbers),
    )


def _inner(numbers: pl.Series, key_ring: KeyRing) -> Stored:
    """Inner tokens of records of nothing but a number, which is their reference as well."""
    blank = dict.fromkeys(NORMAL_FIELDS, pl.lit(None, dtype=pl.String)) | {"nhs_number": pl.col("nhs_number")}
    listed, refs = numbers.alias("nhs_number").to_frame().select(**blank), numbers.alias("person_ref")
    return Stored(build_inner_match_keys(listed, refs, key_ring), encode_inner(listed, refs, key_ring))


def _closed(inner: Stored, key_ring: KeyRing) -> Stored:
    return Stored(close_match_keys(inner.match_keys, key_ring), encode_outer(inner.encodings, key_ring))


def _found(guesses: Sequence[Stored], tokens: Stored, numbers: pl.Series) -> float:
    """The share of the numbers of which a match key or a token of the encoding is among ``tokens``."""
    found: set[str] = set()
    for guess in guesses:
        found |= set(guess.match_keys.join(tokens.match_keys, on="token", how="semi")["person_ref"])
        theirs = tokens.encodings["nhs_number"].drop_nulls().explode().drop_nulls().unique()
        mine = guess.encodings.select("person_ref", "nhs_number").drop_nulls().explode("nhs_number")
        found |= set(mine.filter(pl.col("nhs_number").is_in(theirs.implode()))["person_ref"])
    return len(found) / len(numbers)
