"""The published encodings, worked out again person by person: HMAC by the standard library, all else by hand."""

import hashlib
import hmac
import json
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pseudonymise.encoding import (
    BLOCK,
    INITIALS_OF_SALTS,
    PURPOSE,
    TOKEN_SETS,
    encode_further,
    encode_inner,
    encode_outer,
    encode_persons,
)
from pseudonymise.keys import KeyRing
from pseudonymise.normalise import NORMAL_FIELDS
from tests.spec.vectors.test_scheme1 import K1, K2, hkdf

K2_ADDED = bytes(range(64, 96))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATH = Path(__file__).parents[3] / "pseudonymise" / "vectors" / "scheme1" / "encoding.json"
VECTORS = json.loads(PATH.read_text("utf-8"))
PERSONS = {person["name"]: person for person in VECTORS["persons"]}
Set = dict[str, Any]


# --- AES-256, FIPS 197 ------------------------------------------------------------------------------------------------


def times(a: int, b: int) -> int:
    """The product in GF(2^8)."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def substitute(byte: int) -> int:
    inverse = next((other for other in range(256) if times(byte, other) == 1), 0)
    turned = [(inverse << by | inverse >> (8 - by)) & 0xFF for by in range(5)]
    return turned[0] ^ turned[1] ^ turned[2] ^ turned[3] ^ turned[4] ^ 0x63


BOX = bytes(map(substitute, range(256)))
TWICE = bytes(times(byte, 2) for byte in range(256))


@cache
def round_keys(key: bytes) -> tuple[bytes, ...]:
    words = [key[start : start + 4] for start in range(0, 32, 4)]
    constant = 1
    for number in range(8, 60):
        word = words[-1]
        if number % 8 == 0:
            word = (word[1:] + word[:1]).translate(BOX)
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = times(constant, 2)
        elif number % 8 == 4:
            word = word.translate(BOX)
        words.append(xor(words[number - 8], word))
    return tuple(b"".join(words[start : start + 4]) for start in range(0, 60, 4))


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def mix(column: bytes) -> bytes:
    every = column[0] ^ column[1] ^ column[2] ^ column[3]
    return bytes(column[i] ^ every ^ TWICE[column[i] ^ column[(i + 1) % 4]] for i in range(4))


def aes(key: bytes, block: bytes) -> bytes:
    first, *middle, last = round_keys(key)
    state = xor(block, first)
    for number, round_key in enumerate([*middle, last]):
        shifted = bytes(state.translate(BOX)[(place + 4 * (place % 4)) % 16] for place in range(16))
        if number < len(middle):
            shifted = b"".join(mix(shifted[start : start + 4]) for start in range(0, 16, 4))
        state = xor(shifted, round_key)
    return state


def test_aes_of_this_test_is_that_of_the_standard() -> None:
    # FIPS 197, appendix C.3.
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert aes(bytes(range(32)), plain).hex() == "8ea2b7ca516745bfeafc49904b496089"


# --- the encoding by the book -----------------------------------------------------------------------------------------


def framed(*texts: str) -> bytes:
    return b"".join(b"%d:%s," % (len(text.encode()), text.encode()) for text in texts)


def first_half(field: str, message: bytes) -> bytes:
    key = hkdf(K1, "subkey", "1", "K1", "encoding", field).hex().encode()
    return hmac.new(key, message, hashlib.sha256).digest()[:16]


def variants(value: str, tokens: Set) -> list[str]:
    if tokens["variants"] == "letter_pairs":
        marked = f"_{value}_"
        return list({marked[place : place + 2]: None for place in range(len(marked) - 1)})
    made = {value: None}
    if tokens["variants"] == "deletions":
        cut = value[:11]
        made = {cut: None} | {cut[:place] + cut[place + 1 :]: None for place in range(len(cut))}
    if tokens["variants"] == "masks":
        made = {value[:place] + "*" + value[place + 1 :]: None for place in range(len(value)) if value[place] != "-"}
    return [*made, *(f"{value}#{number}" for number in range(tokens["each"] - len(made)))]


def inner_blocks(normal: dict[str, str], tokens: Set) -> list[bytes]:
    parts = normal | ({"surname_initial": normal["surname"][0]} if "surname" in normal else {})
    key = hkdf(K1, "subkey", "1", "K1", "encoding", "block")
    made = set()
    for salt in tokens["salts"]:
        if any(name not in parts for name in salt):
            continue
        named = [("initial" if name == "surname_initial" else name, parts[name]) for name in salt]
        salted = first_half("salt", b"".join(framed(*pair) for pair in named) or b"none")
        for value in tokens["values"]:
            for text in variants(normal[value], tokens) if value in normal else ():
                made.add(aes(key, xor(first_half("value", framed(tokens["domain"], text)), salted)))
    return sorted(made, key=unsigned)


def unsigned(block: bytes) -> int:
    return int.from_bytes(block[:8], "little")


def signed(block: bytes) -> int:
    return int.from_bytes(block[:8], "little", signed=True)


def fold(blocks: list[bytes], key: bytes) -> bytes:
    blocks = sorted(blocks, key=unsigned)
    places: set[int] = set()
    while True:
        for number in range(16):
            for block in blocks:
                places.add(block[number] % 128)
                if len(places) == 32:
                    return sum(1 << place for place in places).to_bytes(16, "little")
        blocks = [aes(key, block) for block in blocks]


def permuted(filter_: bytes, key: bytes) -> bytes:
    order = sorted(range(128), key=lambda bit: unsigned(aes(key, bit.to_bytes(8, "little") + b"\x01" + bytes(7))))
    bits = int.from_bytes(filter_, "little")
    return sum((bits >> old & 1) << new for new, old in enumerate(order)).to_bytes(16, "little")


def by_the_book(normal: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Of each set that is not empty its inner blocks, what is stored, and what is stored after K2_ADDED came on top."""
    first, added = (hkdf(key, "subkey", "1", "K2", "encoding", "block") for key in (K2, K2_ADDED))
    made: dict[str, dict[str, Any]] = {}
    for tokens in VECTORS["sets"]:
        inner = inner_blocks(normal, tokens)
        if not inner:
            continue
        closed = [aes(first, block) for block in inner]
        stored: str | list[str]
        renewed: str | list[str]
        if tokens["variants"] == "letter_pairs":
            bits = fold(closed, first)
            stored, renewed = bits.hex(), permuted(bits, added).hex()
        else:
            kept = [block[:8] for block in closed]
            stored = [block.hex() for block in sorted(kept, key=signed)]
            again = [aes(added, block + bytes(8))[:8] for block in kept]
            renewed = [block.hex() for block in sorted(again, key=signed)]
        made[tokens["name"]] = {"inner": [block.hex() for block in inner], "stored": stored, "renewed": renewed}
    return made


@pytest.mark.parametrize("name", PERSONS)
def test_published_encoding_is_what_the_standards_give(name: str) -> None:
    assert by_the_book(PERSONS[name]["normal"]) == PERSONS[name]["encoding"]


# --- the encoding by Linkarms -----------------------------------------------------------------------------------------


def as_published(encodings: pl.DataFrame) -> dict[str, str | list[str]]:
    """The first row of what is stored, in the form of the vectors."""
    told: dict[str, str | list[str]] = {}
    for tokens in TOKEN_SETS:
        if tokens.is_filter:
            halves = [encodings[f"{tokens.name}_{half}"][0] for half in ("low", "high")]
            if halves[0] is not None:
                told[tokens.name] = b"".join(half.to_bytes(8, "little", signed=True) for half in halves).hex()
        elif encodings[tokens.name][0] is not None:
            told[tokens.name] = [one.to_bytes(8, "little", signed=True).hex() for one in encodings[tokens.name][0]]
    return told


@pytest.mark.parametrize("name", PERSONS)
def test_persons_are_encoded_as_published(name: str) -> None:
    row = {field: PERSONS[name]["normal"].get(field) for field in NORMAL_FIELDS}
    normal = pl.DataFrame([row], schema=dict.fromkeys(NORMAL_FIELDS, pl.String))
    refs, ring = pl.Series("person_ref", ["r"]), KeyRing(K1, K2, NOW)
    published = {
        stage: {tokens: found[stage] for tokens, found in PERSONS[name]["encoding"].items()}
        for stage in ("inner", "stored", "renewed")
    }
    inner = encode_inner(normal, refs, ring)
    cells = {tokens.name: inner[tokens.name].to_list()[0] for tokens in TOKEN_SETS}
    told = {tokens: [block.hex() for block in cell] for tokens, cell in cells.items() if cell is not None}
    assert told == published["inner"]
    stored = encode_persons(normal, refs, ring)
    assert as_published(stored) == as_published(encode_outer(inner, ring)) == published["stored"]
    longer = ring.with_new("K2", NOW, lambda size: K2_ADDED).with_next_outer()
    added = longer.outer_subkeys(purpose=PURPOSE, field=BLOCK, above=ring.key_id)
    renewed = encode_further(stored, added)
    assert as_published(renewed) == as_published(encode_persons(normal, refs, longer)) == published["renewed"]


def test_the_published_sets_are_those_of_linkarms() -> None:
    assert VECTORS["sets"] == json.loads(
        json.dumps([asdict(tokens) | {"domain": tokens.domain or tokens.name} for tokens in TOKEN_SETS])
    )
    assert dict.fromkeys(("initial", "surname_initial"), "initial") == INITIALS_OF_SALTS


def test_the_vectors_reach_every_set_every_variant_and_an_empty_record() -> None:
    reached = {name for person in PERSONS.values() for name in person["encoding"]}
    assert reached == {tokens["name"] for tokens in VECTORS["sets"]}
    assert any(not person["encoding"] for person in PERSONS.values())
    assert all(person["origin"] for person in PERSONS.values())
    names = [person["normal"].get("surname", "") for person in PERSONS.values()]
    assert max(map(len, names)) > 12
    assert any(len(name) == 2 for name in names)
