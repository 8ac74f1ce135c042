"""The published locked key files, locked by Linkarms and worked out again from the RFCs and the standard library."""

import base64
import hashlib
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pseudonymise.locked import lock_text, unlock_text
from tests.spec.vectors.test_envelopes import seal_chunk

VECTORS = json.loads(
    (Path(__file__).parents[3] / "pseudonymise" / "vectors" / "lockedkeys1" / "locked.json").read_text("utf-8")
)
CASES = {entry["name"]: entry for entry in VECTORS}


def lock_by_the_book(entry: dict[str, Any]) -> str:
    n, r, p = entry["n"], entry["r"], entry["p"]
    head = (
        f"LINKARMS-LOCKED-KEYS-1\nkdf=scrypt n={n} r={r} p={p} salt={entry['salt']}\n"
        f"cipher=chacha20-poly1305 nonce={entry['nonce']}\n"
    )
    passphrase = unicodedata.normalize("NFC", entry["passphrase"]).encode()
    key = hashlib.scrypt(passphrase, salt=bytes.fromhex(entry["salt"]), n=n, r=r, p=p, maxmem=1 << 30, dklen=32)
    sealed = seal_chunk(key, bytes.fromhex(entry["nonce"]), entry["text"].encode(), head.encode())
    body = base64.b64encode(sealed).decode()
    return head + "".join(body[start : start + 64] + "\n" for start in range(0, len(body), 64))


def in_turn(*answers: bytes) -> Callable[[int], bytes]:
    left = list(answers)
    return lambda size: left.pop(0)


def test_chacha20_poly1305_of_this_test_is_that_of_the_standard() -> None:
    # RFC 8439, section 2.8.2.
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would "
        b"be it."
    )
    key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
    sealed = seal_chunk(key, nonce, plain, bytes.fromhex("50515253c0c1c2c3c4c5c6c7"))
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"


@pytest.mark.parametrize("name", CASES)
def test_published_file_is_what_the_rfcs_give(name: str) -> None:
    assert lock_by_the_book(CASES[name]) == CASES[name]["file"]


@pytest.mark.parametrize("name", CASES)
def test_text_is_locked_to_the_published_file_and_unlocked_again(name: str) -> None:
    entry = CASES[name]
    assert unlock_text(entry["file"], entry["passphrase"], "the vector") == entry["text"]
    if (entry["r"], entry["p"]) == (8, 1):  # what Linkarms writes
        random_bytes = in_turn(bytes.fromhex(entry["salt"]), bytes.fromhex(entry["nonce"]))
        assert lock_text(entry["text"], entry["passphrase"], random_bytes, n=entry["n"]) == entry["file"]
