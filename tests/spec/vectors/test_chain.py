"""The published values under a chain of outer keys, worked out again with Python's standard library."""

import csv
import hashlib
import hmac
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from pseudonymise.keys import KeyRing
from pseudonymise.tokens import derive_tokens, renew
from tests.spec.vectors.test_scheme1 import K1, K2, hkdf

K2_ADDED = bytes(range(64, 96))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATH = Path(__file__).parents[3] / "pseudonymise" / "vectors" / "chain1" / "chain.csv"
VECTORS = list(csv.DictReader(PATH.read_text("utf-8").splitlines()))


def mac(key: bytes, layer: str, purpose: str, field: str, message: str) -> str:
    subkey = hkdf(key, "subkey", "1", layer, purpose, field).hex().encode()
    return hmac.new(subkey, message.encode(), hashlib.sha256).hexdigest()


def by_hand(vector: dict[str, str]) -> tuple[str, str]:
    """The stored value before and after K2_ADDED came on top."""
    purpose, field, digits = vector["purpose"], vector["field"], int(vector["digits"])
    before = mac(K2, "K2", purpose, field, mac(K1, "K1", purpose, field, vector["message"]))[:digits]
    return before, mac(K2_ADDED, "K2", purpose, field, before)[:digits]


def rings() -> tuple[KeyRing, KeyRing]:
    before = KeyRing(K1, K2, NOW)
    return before, before.with_new("K2", NOW, lambda size: K2_ADDED).with_next_outer()


def test_published_values_are_what_the_standard_library_gives() -> None:
    assert {vector["purpose"] for vector in VECTORS} == {"match key", "person reference", "row key", "local number"}
    for vector in VECTORS:
        assert by_hand(vector) == (vector["before"], vector["after"]), vector["message"]


def test_stored_values_are_renewed_to_the_published_ones_and_new_ones_are_made_like_them() -> None:
    before, after = rings()
    for vector in VECTORS:
        domain = {"purpose": vector["purpose"], "field": vector["field"]}
        stored = pl.Series([vector["before"]])
        assert renew(stored, after.outer_subkeys(**domain, above=before.key_id)).to_list() == [vector["after"]]
        made = derive_tokens(
            pl.Series([vector["message"]]),
            after.inner_subkey(**domain),
            after.outer_subkeys(**domain),
            int(vector["digits"]),
        )
        assert made.to_list() == [vector["after"]]


def test_id_of_a_chain_is_the_published_one() -> None:
    before, after = rings()
    ids = [hkdf(key, "key id", "K2").hex()[:16] for key in (K2, K2_ADDED)]
    parts = b"".join(len(part).to_bytes(2, "big") + part.encode() for part in ("linkarms", "key chain", *ids))
    assert after.key_id == f"{before.key_id.partition('-')[0]}-k2.{hashlib.sha256(parts).hexdigest()[:16]}"
    assert after.key_id == "k1.1b6bbfed8a3961ad-k2.77f7b73708587178"
