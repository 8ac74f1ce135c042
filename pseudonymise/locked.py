"""Keys in a file that a passphrase unlocks. There are vectors in ``pseudonymise/vectors/lockedkeys1``.

Version 1 of its form has lines of ASCII, each ended by a line feed::

    LINKARMS-LOCKED-KEYS-1
    kdf=scrypt n=131072 r=8 p=1 salt=<32 hexadecimal digits>
    cipher=chacha20-poly1305 nonce=<24 hexadecimal digits>
    <base64 of the sealed text, 64 characters a line>

The key is scrypt (RFC 7914) of the passphrase (UTF-8, Unicode form NFC) with that salt, 32 bytes. The text is sealed by
ChaCha20-Poly1305 (RFC 8439); its further data are the first three lines as they stand, line feeds included, so that no
parameter can be changed unseen.

The parameters are read before anything can be proved about them, so they are bounded: a file that asks for more than
:data:`MOST_MEMORY` is refused before any of it is taken
(``tests/unit/pseudonymise/test_locked.py::test_a_header_that_asks_for_too_much_is_refused_before_memory_is_taken``).
"""

import base64
import re
import secrets
import unicodedata
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from protocol.errors import KeyUnavailable

HEADER = "LINKARMS-LOCKED-KEYS-1"

MOST_MEMORY = 256 << 20
"""Bytes that unlocking takes at most; scrypt needs 128 * n * r."""
_MOST_LANES = 16
_LEAST_N = 1 << 14
_N, _R, _P = 1 << 17, 8, 1
"""What new files are locked with: 128 MiB, about half a second; the first of OWASP's recommended settings."""

LEAST_CHARACTERS = 12
"""Of a passphrase."""

_SALT, _NONCE, _LINE = 16, 12, 64
_PARAMETERS = re.compile(r"kdf=scrypt n=([1-9]\d{0,9}) r=([1-9]\d{0,9}) p=([1-9]\d{0,9}) salt=([0-9a-f]{32})")
_CIPHER = re.compile(r"cipher=chacha20-poly1305 nonce=([0-9a-f]{24})")

RandomBytes = Callable[[int], bytes]


def is_locked(text: str) -> bool:
    """Whether a text is one of these files."""
    return text.lstrip().startswith(HEADER)


def lock_text(text: str, passphrase: str, random_bytes: RandomBytes = secrets.token_bytes, *, n: int = _N) -> str:
    """The file for a text. ``n`` is scrypt's cost, a power of two.

    Raises KeyUnavailable where the passphrase has fewer than :data:`LEAST_CHARACTERS` characters.
    """
    if len(passphrase) < LEAST_CHARACTERS:
        raise KeyUnavailable(f"a passphrase has at least {LEAST_CHARACTERS} characters; several words do well")
    salt, nonce = random_bytes(_SALT), random_bytes(_NONCE)
    head = f"{HEADER}\nkdf=scrypt n={n} r={_R} p={_P} salt={salt.hex()}\ncipher=chacha20-poly1305 nonce={nonce.hex()}\n"
    sealed = _cipher(passphrase, salt, n, _R, _P).encrypt(nonce, text.encode(), head.encode())
    body = base64.b64encode(sealed).decode()
    return head + "".join(f"{body[start : start + _LINE]}\n" for start in range(0, len(body), _LINE))


def unlock_text(file: str, passphrase: str, where: str) -> str:
    """The text of such a file; ``where`` are words for messages. Lines may be parted by semicolons instead.

    Raises KeyUnavailable, which shows neither the passphrase nor any of the text.
    """
    lines = [line.strip() for line in file.strip().replace(";", "\n").splitlines()]
    parameters = _PARAMETERS.fullmatch(lines[1]) if len(lines) > 3 and lines[0] == HEADER else None
    cipher = _CIPHER.fullmatch(lines[2]) if parameters else None
    if parameters is None or cipher is None:
        raise KeyUnavailable(f"{where} is damaged: it does not have the head of a locked key file")
    n, r, p = (int(parameters[number]) for number in (1, 2, 3))
    if n < _LEAST_N or n & (n - 1) or 128 * n * r > MOST_MEMORY or p > _MOST_LANES:
        raise KeyUnavailable(f"{where} asks for other work than Linkarms does to unlock keys; it was not made by it")
    head = "".join(f"{line}\n" for line in lines[:3])
    try:
        sealed = base64.b64decode("".join(lines[3:]), validate=True)
        unlocked = _cipher(passphrase, bytes.fromhex(parameters[4]), n, r, p)
        return unlocked.decrypt(bytes.fromhex(cipher[1]), sealed, head.encode()).decode()
    except (InvalidTag, ValueError):
        raise KeyUnavailable(f"{where} cannot be unlocked: the passphrase is another, or the file is damaged") from None


def _cipher(passphrase: str, salt: bytes, n: int, r: int, p: int) -> ChaCha20Poly1305:
    scrypt = Scrypt(salt=salt, length=32, n=n, r=r, p=p)
    return ChaCha20Poly1305(scrypt.derive(unicodedata.normalize("NFC", passphrase).encode()))
