"""The published envelopes, sealed by Linkarms and worked out again from the RFCs without any library."""

import hashlib
import hmac
import json
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pseudonymise.sealing import PublicKey, SealingKeys, open_bytes, seal_bytes

VECTORS = json.loads(
    (Path(__file__).parents[3] / "pseudonymise" / "vectors" / "envelope1" / "envelopes.json").read_text("utf-8")
)
PRIVATE = bytes.fromhex(VECTORS["recipient_private_key"])
PUBLIC = bytes.fromhex(VECTORS["recipient_public_key"])
CASES = {entry["content_bytes"]: entry for entry in VECTORS["envelopes"]}
SMALL = [size for size, entry in CASES.items() if "envelope" in entry]
P = 2**255 - 19


def content(size: int) -> bytes:
    return bytes(number % 251 for number in range(size))


def x25519(scalar: bytes, point: bytes) -> bytes:
    """RFC 7748, section 5."""
    k = int.from_bytes(scalar, "little") & ~7 & ((1 << 255) - 1) | (1 << 254)
    u = int.from_bytes(point, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = (k >> t) & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, 32 bytes."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\1", "sha256")


def chacha20_block(key: bytes, nonce: bytes, counter: int) -> bytes:
    """RFC 8439, section 2.3."""
    start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter]
    start += struct.unpack("<3I", nonce)
    s = list(start)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            mixed = s[z] ^ s[x]
            s[z] = ((mixed << turn) | (mixed >> (32 - turn))) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((x + y) & 0xFFFFFFFF for x, y in zip(s, start, strict=True)))


def seal_chunk(key: bytes, nonce: bytes, plain: bytes, further: bytes = b"") -> bytes:
    """RFC 8439, section 2.8."""
    stream = b"".join(chacha20_block(key, nonce, 1 + number) for number in range(-(-len(plain) // 64)))
    sealed = bytes(x ^ y for x, y in zip(plain, stream, strict=False))
    one_time = chacha20_block(key, nonce, 0)
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    message = further + bytes(-len(further) % 16) + sealed + bytes(-len(sealed) % 16)
    message += struct.pack("<QQ", len(further), len(sealed))
    total = 0
    for start in range(0, len(message), 16):
        total = (total + int.from_bytes(message[start : start + 16], "little") + (1 << 128)) * r % (2**130 - 5)
    tag = (total + int.from_bytes(one_time[16:32], "little")) % (1 << 128)
    return sealed + tag.to_bytes(16, "little")


def seal_by_the_book(plain: bytes, ephemeral: bytes) -> bytes:
    key_id = hashlib.sha256(b"linkarms sealing key 1" + PUBLIC).digest()[:8]
    header = b"LINKARMS-SEALED-1\n" + key_id + x25519(ephemeral, (9).to_bytes(32, "little"))
    key = hkdf(x25519(ephemeral, PUBLIC), b"linkarms envelope 1" + header + PUBLIC)
    chunks = [plain[start : start + 65536] for start in range(0, len(plain), 65536)] or [b""]
    sealed = [
        seal_chunk(key, number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk)
        for number, chunk in enumerate(chunks)
    ]
    return header + b"".join(sealed)


def test_key_of_the_vectors_has_its_published_id_and_line() -> None:
    assert x25519(PRIVATE, (9).to_bytes(32, "little")) == PUBLIC
    assert PublicKey(PUBLIC).id == VECTORS["key_id"]
    assert PublicKey(PUBLIC).line == VECTORS["public_key_line"]


@pytest.mark.parametrize("size", CASES)
def test_content_is_sealed_to_the_published_envelope_and_opened_again(size: int) -> None:
    ephemeral = bytes.fromhex(CASES[size]["ephemeral_private_key"])
    envelope = seal_bytes(content(size), PublicKey(PUBLIC), lambda _: ephemeral)
    assert len(envelope) == CASES[size]["envelope_bytes"]
    assert hashlib.sha256(envelope).hexdigest() == CASES[size]["envelope_sha256"]
    keys = SealingKeys([(datetime(2026, 1, 1, tzinfo=UTC), PRIVATE)])
    assert open_bytes(envelope, keys) == content(size)


@pytest.mark.parametrize("size", [*SMALL, 65537])
def test_published_envelope_is_what_the_rfcs_give(size: int) -> None:
    envelope = seal_by_the_book(content(size), bytes.fromhex(CASES[size]["ephemeral_private_key"]))
    assert hashlib.sha256(envelope).hexdigest() == CASES[size]["envelope_sha256"]
    assert CASES[size].get("envelope", envelope.hex()) == envelope.hex()
