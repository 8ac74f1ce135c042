"""Every NHS number through every construction that can be guessed.

The attacker holds published ids, pseudonyms of the pool, match keys and encodings, has no key, and supposes that some
of them are a hash of the NHS number: plain, under a key that anybody would try, in another spelling or cut short. There
are nine digits and a check digit (modulus 11), some 909 million numbers in all, so all can be tried.
Of the pool's pseudonyms the worst is supposed: that a partner's own client numbers *are* NHS numbers.

A construction's value counts as found where its first 64 bits are those of a stored value, in either order of bytes;
that covers everything that is cut short from its end. By chance one such match in 10^5 whole runs is to be expected.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import polars_hash

from benchmarks.attacks.people import MOMENT, Stored
from protocol.loading import default_agreement_folder, load_agreement
from pseudonymise.encoding import TOKEN_SETS, encode_persons
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import build_match_keys
from pseudonymise.normalise import NORMAL_FIELDS
from pseudonymise.output import derive_person_refs, derive_row_keys
from pseudonymise.tokens import frame_text

BLOCK = 1_000_000
"""Numbers of nine digits that are tried at a time."""
BLOCKS = range(1000)
"""Every block: the first three digits of the numbers in it."""
TEST_BLOCK = 999
"""The block that the NHS keeps for tests, from which the made-up people have their numbers: one in a thousand."""

_HEAD = 16
"""Hexadecimal digits that are compared."""

SPELLINGS: Mapping[str, pl.Expr] = {
    "ten digits": pl.col("number"),
    "3 3 4 digits": pl.concat_str(
        *(pl.col("number").str.slice(*part) for part in ((0, 3), (3, 3), (6, 4))), separator=" "
    ),
    "3-3-4 digits": pl.concat_str(
        *(pl.col("number").str.slice(*part) for part in ((0, 3), (3, 3), (6, 4))), separator="-"
    ),
    "with its length": frame_text(pl.col("number")),
    "with its field": pl.concat_str(frame_text(pl.lit("nhs_number")), frame_text(pl.col("number"))),
}
"""How a number may be written before it is hashed; the last two are Linkarms's own way, which is no secret."""

GUESSED_KEYS = ("", "key", "secret", "password", "nhs", "linkarms", "0" * 64)


@dataclass(frozen=True)
class Construction:
    """What an attacker takes a stored value to be."""

    name: str
    digest: Callable[[pl.DataFrame], pl.Series]
    """From a frame with ``number`` to hexadecimal digits, at least 16."""


def _by_polars(spelling: pl.Expr, method: str, **options: str) -> Callable[[pl.DataFrame], pl.Series]:
    def digest(numbers: pl.DataFrame) -> pl.Series:
        hashed = getattr(polars_hash.col("text").chash, method)(**options)
        return numbers.select(text=spelling).select(hashed).to_series()

    return digest


def _by_hashlib(name: str) -> Callable[[pl.DataFrame], pl.Series]:
    make = getattr(hashlib, name)

    def digest(numbers: pl.DataFrame) -> pl.Series:
        return pl.Series([make(number.encode()).hexdigest() for number in numbers["number"]], dtype=pl.String)

    return digest


def _hashed_twice(numbers: pl.DataFrame) -> pl.Series:
    once = _by_polars(pl.col("number"), "sha2_256")(numbers)
    return _by_polars(pl.col("number"), "sha2_256")(once.alias("number").to_frame())


def _two_layers_without_keys(numbers: pl.DataFrame) -> pl.Series:
    once = _by_polars(SPELLINGS["with its length"], "hmac_sha256", key="")(numbers)
    return _by_polars(pl.col("number"), "hmac_sha256", key="")(once.alias("number").to_frame())


USUAL: tuple[Construction, ...] = (
    Construction("SHA-256", _by_polars(pl.col("number"), "sha2_256")),
    Construction("HMAC-SHA-256, empty key", _by_polars(pl.col("number"), "hmac_sha256", key="")),
    Construction(
        "HMAC-SHA-256, empty key, with its length", _by_polars(SPELLINGS["with its length"], "hmac_sha256", key="")
    ),
)
"""What is tried on the whole space."""

CONSTRUCTIONS: tuple[Construction, ...] = (
    *(
        Construction(f"{name}, {spelling}", _by_polars(text, method))
        for spelling, text in SPELLINGS.items()
        for name, method in (("SHA-256", "sha2_256"), ("SHA-512", "sha2_512"))
    ),
    Construction("SHA3-256", _by_polars(pl.col("number"), "sha3_256")),
    Construction("BLAKE3", _by_polars(pl.col("number"), "blake3")),
    *(Construction(name.upper(), _by_hashlib(name)) for name in ("md5", "sha1", "blake2b", "blake2s")),
    Construction("SHA-256 of SHA-256", _hashed_twice),
    *(
        Construction(
            f"HMAC-SHA-256, key {key[:8]!r}, {spelling}", _by_polars(SPELLINGS[spelling], "hmac_sha256", key=key)
        )
        for key in GUESSED_KEYS
        for spelling in ("ten digits", "with its length")
    ),
    Construction("HMAC-SHA-256 of HMAC-SHA-256, empty keys", _two_layers_without_keys),
)
"""What is tried on a sample."""


def valid_numbers(block: int) -> pl.Series:
    """The NHS numbers of a block, ``number``: ten digits whose last is the check digit (modulus 11, weights 10 to 2).

    A remainder of 10 has no check digit, so one in eleven is no number.
    """
    digits = np.arange(1000)
    hundreds, tens, ones = digits // 100, digits // 10 % 10, digits % 10
    first = 10 * (block // 100) + 9 * (block // 10 % 10) + 8 * (block % 10)
    middle, last = 7 * hundreds + 6 * tens + 5 * ones, 4 * hundreds + 3 * tens + 2 * ones
    check = (11 - (first + middle[:, None] + last[None, :]).ravel() % 11) % 11
    nine = block * BLOCK + np.arange(BLOCK)
    there = check != 10
    return pl.Series("number", nine[there] * 10 + check[there]).cast(pl.String).str.zfill(10)


@dataclass(frozen=True)
class Targets:
    """The first 64 bits, as 16 hexadecimal digits, of stored values by what they are."""

    heads: pl.DataFrame
    """``target``, ``head``."""

    @classmethod
    def of(cls, hexadecimal: Mapping[str, pl.Series], stored: Stored | None = None) -> "Targets":
        """Of columns of hexadecimal digits, and of match keys and encodings."""
        named = dict(hexadecimal)
        frames = []
        if stored is not None:
            named["match keys"] = stored.match_keys["token"]
            for tokens in TOKEN_SETS:
                names = [f"{tokens.name}_low", f"{tokens.name}_high"] if tokens.is_filter else [tokens.name]
                for name in names:
                    column = stored.encodings[name].drop_nulls()
                    flat = (column if tokens.is_filter else column.explode().drop_nulls()).to_numpy()
                    for order in ("<i8", ">i8"):
                        raw = flat.astype(order).tobytes()
                        frames.append(_heads("encodings", [raw[at : at + 8].hex() for at in range(0, len(raw), 8)]))
        frames += [_heads(name, column.drop_nulls().str.head(_HEAD)) for name, column in named.items()]
        return cls(pl.concat(frames).unique())

    def __len__(self) -> int:
        return self.heads.height


def _heads(target: str, heads: Iterable[str]) -> pl.DataFrame:
    column = pl.Series("head", heads, dtype=pl.String)
    return column.to_frame().select(pl.repeat(target, pl.len(), dtype=pl.String).alias("target"), "head")


@dataclass(frozen=True)
class Found:
    """What trying gave."""

    numbers: int
    """NHS numbers that were tried."""
    constructions: int
    hits: Mapping[str, int]
    """Numbers found, by target and construction: ``<target>: <construction>``."""
    seconds: float

    @property
    def total(self) -> int:
        """All numbers found."""
        return sum(self.hits.values())


def attack(targets: Targets, numbers: Iterable[pl.Series], constructions: Sequence[Construction]) -> Found:
    """Tries every construction on all numbers; memory is bounded by the largest of the series."""
    started, tried, hits = time.monotonic(), 0, dict[str, int]()
    for series in numbers:
        frame = series.alias("number").to_frame()
        tried += frame.height
        for construction in constructions:
            heads = frame.select(number="number", head=construction.digest(frame).str.head(_HEAD))
            # Few or none are there: the join gives rows to those alone.
            for (target,), rows in heads.join(targets.heads, on="head", how="inner").group_by("target"):
                name = f"{target}: {construction.name}"
                hits[name] = hits.get(name, 0) + rows["number"].n_unique()
    return Found(tried, len(constructions), hits, time.monotonic() - started)


def pool_of(numbers: pl.Series, partner_id: str, key_ring: KeyRing) -> dict[str, pl.Series]:
    """The pool's pseudonyms of a partner whose own client numbers these are: of persons, and of rows about them."""
    table = load_agreement(default_agreement_folder()).contract.table("person")
    rows = pl.DataFrame(dict.fromkeys(table.key, numbers))
    return {
        "persons of the pool": derive_person_refs(numbers, partner_id, key_ring),
        "rows of the pool": derive_row_keys(rows, table, partner_id, key_ring),
    }


def attack_whole_scheme(targets: Targets, numbers: pl.Series, partner_id: str, rings: Sequence[KeyRing]) -> int:
    """The scheme itself under key rings that can be guessed: how many stored values come out."""
    blank = dict.fromkeys(NORMAL_FIELDS, pl.lit(None, dtype=pl.String)) | {"nhs_number": pl.col("number")}
    normal = numbers.alias("number").to_frame().select(**blank)
    refs = pl.Series("person_ref", [str(place) for place in range(normal.height)])
    found = 0
    for ring in rings:
        made = Stored(build_match_keys(normal, refs, ring), encode_persons(normal, refs, ring))
        guessed = Targets.of(pool_of(numbers, partner_id, ring), made)
        found += guessed.heads.join(targets.heads, on="head", how="semi").height
    return found


def guessable_rings() -> list[KeyRing]:
    """Keys that somebody might have left in: zeros, ones, counting."""
    pairs = ((bytes(32), b"\1" * 32), (bytes(32), b"\xff" * 32), (bytes(range(32)), bytes(range(32, 64))))
    return [KeyRing(k1, k2, MOMENT) for k1, k2 in pairs]
