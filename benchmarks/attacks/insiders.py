"""What K1 alone gives. Every partner that pseudonymises at its own site holds it, so take it to be known.

The attacker has K1, the scheme, and a list of NHS numbers that may be on file (here: all that are). What the hub stores
is under K2 as well and gives nothing; inner tokens, as they travel, give every number on the list. That is why they
travel and rest sealed.
"""

from dataclasses import dataclass

import polars as pl

from benchmarks.attacks.people import MOMENT, People, Stored
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import build_inner_match_keys, build_match_keys
from pseudonymise.normalise import NORMAL_FIELDS


@dataclass(frozen=True)
class Guessed:
    """Shares of the NHS numbers on file that the attacker finds."""

    in_stored: float
    in_inner: float


def attack(held: People, stored: Stored, key_ring: KeyRing) -> Guessed:
    """Of ``key_ring`` the attacker has K1; in K2's place it tries K1 itself, zeros and nothing at all."""
    numbers = held.normal["nhs_number"].drop_nulls().unique()
    blank = dict.fromkeys(NORMAL_FIELDS, pl.lit(None, dtype=pl.String)) | {"nhs_number": pl.col("nhs_number")}
    listed = numbers.to_frame().select(**blank)
    refs = numbers.alias("person_ref")
    inner = build_inner_match_keys(listed, refs, key_ring)
    sent = build_inner_match_keys(held.normal, held.records["person_ref"], key_ring)
    k1 = bytes.fromhex(key_ring.inner_subkey(purpose="guess", field="guess"))
    tried = [inner, *(build_match_keys(listed, refs, KeyRing(k1, k2, MOMENT)) for k2 in (k1[::-1], bytes(32)))]
    return Guessed(_found(pl.concat(tried), stored.match_keys, refs), _found(inner, sent, refs))


def _found(guesses: pl.DataFrame, tokens: pl.DataFrame, numbers: pl.Series) -> float:
    return guesses.join(tokens, on="token", how="semi")["person_ref"].n_unique() / len(numbers)
