"""Envelopes that only the hub can open: what a partner drops, and identifiable rows between two steps.

An envelope holds any bytes. Version 1 of its form, for those who write it in another language (test vectors are in
``pseudonymise/vectors/envelope1``):

- Header, 58 bytes: the ASCII text ``LINKARMS-SEALED-1`` and a line feed; 8 bytes, the id of the key that it is sealed
  to; 32 bytes, an X25519 public key made for this envelope alone.
- Content key: HKDF-SHA-256 of the X25519 secret of that key and the hub's, no salt, 32 bytes, with an info made of the
  ASCII text ``linkarms envelope 1``, the 58 bytes of the header and the hub's public key.
- Body: the content in chunks of 65,536 bytes, the last one shorter or as long (empty only where there is no content).
  Each is sealed by ChaCha20-Poly1305 without further data. The nonce is the chunk's number from 0 in 11 bytes,
  big-endian, and one byte that is 1 for the last chunk and else 0 (the STREAM construction).

So a chunk that is changed, left out, repeated, moved or added, and an end that is missing, are all noticed. An
envelope does not say who sealed it: the channel does, to which only the partner has access.

Needs ``cryptography`` and nothing else beside the base, since data officers seal.
"""

import hashlib
import io
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import KeyUnavailable, LinkarmsError
from pseudonymise.key_files import create_key_file, read_key_text

CHUNK = 1 << 16
_TAG = 16
_KEY = 32
_ID = 8
_NAME = b"LINKARMS-SEALED-"
_MAGIC = _NAME + b"1\n"
HEADER = len(_MAGIC) + _ID + _KEY
_INFO = b"linkarms envelope 1"
_PUBLIC_WORD = "linkarms-sealing-1"
_KEYS_HEADER = "LINKARMS-SEALING-KEYS-1"
_SECRET_PREFIX = "LINKARMS-SEALING-SECRET-"  # noqa: S105 - a prefix, not a secret

RandomBytes = Callable[[int], bytes]


class EnvelopeFault(StrEnum):
    """Why an envelope is refused."""

    NOT_ONE = "not_one"
    """It does not begin like an envelope."""
    VERSION = "version"
    """It has a form that this version does not know."""
    OTHER_KEY = "other_key"
    """It is sealed to a key that is not held here."""
    CUT_SHORT = "cut_short"
    """Its end is missing."""
    DAMAGED = "damaged"
    """It is not as it was when it was sealed."""
    TOO_LARGE = "too_large"
    """It holds more than the caller takes."""


_TEXTS = {
    EnvelopeFault.NOT_ONE: "This file is not a sealed envelope. Seal the extract with `linkarms seal`.",
    EnvelopeFault.VERSION: "This envelope was sealed by another version of Linkarms. Update both sides and seal again.",
    EnvelopeFault.OTHER_KEY: "This envelope is sealed to a key that is not held here. Seal the extract again to the "
    "hub's present public key, which the coordinator gives out.",
    EnvelopeFault.CUT_SHORT: "The end of this envelope is missing. Send it again, and wait until the copy is complete.",
    EnvelopeFault.DAMAGED: "This envelope was changed after it was sealed. Seal the extract again and send it again.",
    EnvelopeFault.TOO_LARGE: "This envelope holds more than may be taken in.",
}


class EnvelopeRefused(LinkarmsError):
    """An envelope cannot be opened, or is not as it was sealed; nothing of its content has been given out."""

    exit_code = 3

    def __init__(self, fault: EnvelopeFault) -> None:
        super().__init__(_TEXTS[fault])
        self.fault = fault


# --- keys -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PublicKey:
    """What one seals to: no secret, and published by the hub."""

    raw: bytes

    @property
    def id(self) -> str:
        """16 hexadecimal digits, worked out from the key."""
        return hashlib.sha256(b"linkarms sealing key 1" + self.raw).digest()[:_ID].hex()

    @property
    def line(self) -> str:
        """The key as one line of text, ``linkarms-sealing-1 <id> <64 hexadecimal digits>``."""
        return f"{_PUBLIC_WORD} {self.id} {self.raw.hex()}"

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """The key of a text that has its line; lines that begin with ``#`` are passed over.

        Raises KeyUnavailable where there is no such line, more than one, or one that was mistyped.
        """
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if len(lines) != 1 or not lines[0].startswith(f"{_PUBLIC_WORD} "):
            raise KeyUnavailable(
                f"the hub's public key is one line that begins with {_PUBLIC_WORD}; ask the coordinator for it"
            )
        try:
            _, key_id, digits = lines[0].split()
            key = cls(bytes.fromhex(digits))
        except ValueError:
            key_id, key = "", cls(b"")
        if len(key.raw) != _KEY or key.id != key_id:
            raise KeyUnavailable("the hub's public key was mistyped or cut off; copy the whole line again")
        return key


class SealingKeys:
    """The hub's private keys by id; the last one made is the one to seal to. Made by :func:`open_sealing_keys`.

    Shows ids and nothing else, and cannot be pickled or copied
    (``tests/unit/pseudonymise/test_sealing.py::test_a_private_key_is_in_no_repr_error_or_pickle``).
    """

    __slots__ = ("__secrets", "created")

    def __init__(self, pairs: Sequence[tuple[datetime, bytes]]) -> None:
        if not pairs or any(len(raw) != _KEY for _, raw in pairs):
            raise KeyUnavailable("a sealing key does not have 32 bytes")
        self.__secrets = {_public(raw).id: raw for _, raw in pairs}
        self.created = {_public(raw).id: made for made, raw in pairs}

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all keys, the oldest first."""
        return tuple(self.__secrets)

    @property
    def public(self) -> PublicKey:
        """The public part of the key made last."""
        return _public(self.__secrets[self.ids[-1]])

    def private(self, key_id: str) -> X25519PrivateKey | None:
        """The private key of that id, or None where it is not held. For this module only."""
        raw = self.__secrets.get(key_id)
        return None if raw is None else X25519PrivateKey.from_private_bytes(raw)

    def with_new(self, now: datetime, random_bytes: RandomBytes = secrets.token_bytes) -> "SealingKeys":
        """These keys and a new one, to which is sealed from now on; the others still open what was sealed to them."""
        return SealingKeys([*self._pairs(), (now, random_bytes(_KEY))])

    def without(self, key_id: str) -> "SealingKeys":
        """These keys without one that is retired: nothing that was sealed to it can be opened any more."""
        if key_id not in self.__secrets:
            raise KeyUnavailable("there is no sealing key of that id; `linkarms keys sealing-public` lists them")
        if len(self.__secrets) == 1:
            raise KeyUnavailable("this is the only sealing key; make a new one before this one is retired")
        return SealingKeys([(made, raw) for made, raw in self._pairs() if _public(raw).id != key_id])

    def __repr__(self) -> str:
        return f"SealingKeys({', '.join(self.ids)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("sealing keys are not pickled or copied: pass where they are kept, and open them there")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()

    def _pairs(self) -> list[tuple[datetime, bytes]]:
        return [(self.created[key_id], raw) for key_id, raw in self.__secrets.items()]

    def _text(self) -> str:
        lines = [
            f"id={_public(raw).id} created={made.isoformat()} secret={_SECRET_PREFIX}{raw.hex()}"
            for made, raw in self._pairs()
        ]
        return "\n".join([_KEYS_HEADER, *lines, ""])


def _public(raw: bytes) -> PublicKey:
    return PublicKey(X25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw())


def open_sealing_keys(
    source: str,
    *,
    now: datetime,
    resolve_secret: Callable[[str], str | None] | None = None,
    environ: Mapping[str, str] | None = None,
    create: bool = False,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> SealingKeys:
    """Opens the hub's sealing keys; ``source`` and ``create`` are as for :func:`pseudonymise.keys.open_key_ring`.

    Raises KeyUnavailable, which never shows more than the source's name.
    """
    kind, _, name = source.partition(":")
    if kind == "file" and name and create and not Path(name).exists():
        create_key_file(Path(name), SealingKeys([(now, random_bytes(_KEY))])._text())
    text, where = read_key_text(
        source, made_by="linkarms keys sealing-create", resolve_secret=resolve_secret, environ=environ
    )
    return _parse_keys(text, where)


def write_sealing_keys(source: str, keys: SealingKeys) -> None:
    """Replaces a key file after :meth:`SealingKeys.with_new` or :meth:`SealingKeys.without`, whole or not at all.

    Raises KeyUnavailable where the source is not a file: what a secrets backend holds is changed there.
    """
    kind, _, name = source.partition(":")
    if kind != "file" or not name:
        raise KeyUnavailable("only a key file can be changed from here; change the variable or secret where it is kept")
    create_key_file(Path(name), keys._text(), replace=True)


def _parse_keys(text: str, where: str) -> SealingKeys:
    """Reads the text form: the header, then one entry a key, parted by line ends or semicolons."""
    lines = [line.strip() for line in text.replace(";", "\n").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or lines[0] != _KEYS_HEADER:
        raise KeyUnavailable(f"{where} does not hold sealing keys: it does not begin with {_KEYS_HEADER}")
    pairs = []
    try:
        for line in lines[1:]:
            entry = dict(item.split("=", 1) for item in line.split())
            if not entry["secret"].startswith(_SECRET_PREFIX):
                raise ValueError
            raw = bytes.fromhex(entry["secret"].removeprefix(_SECRET_PREFIX))
            if _public(raw).id != entry["id"]:
                raise ValueError
            pairs.append((datetime.fromisoformat(entry["created"]), raw))
        return SealingKeys(pairs)
    except (KeyError, ValueError, KeyUnavailable):
        raise KeyUnavailable(f"{where} is damaged: one entry with its own id for each key is expected") from None


# --- sealing ----------------------------------------------------------------------------------------------------------


class Sealer(io.RawIOBase):
    """A file to write to: what is written arrives sealed in ``sink``, in memory that does not grow with it.

    Leaving a ``with`` block by an exception leaves the envelope without its end, so that nobody can open it; ``sink``
    is not closed either way.
    """

    def __init__(self, sink: BinaryIO, recipient: PublicKey, random_bytes: RandomBytes = secrets.token_bytes) -> None:
        super().__init__()
        ephemeral = X25519PrivateKey.from_private_bytes(random_bytes(_KEY))
        header = _MAGIC + bytes.fromhex(recipient.id) + ephemeral.public_key().public_bytes_raw()
        self._cipher = _cipher(ephemeral, recipient, recipient, header)
        self._sink = sink
        self._number = 0
        self._waiting = bytearray()
        self._finished = False
        sink.write(header)

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: object) -> int:
        """Seal and pass on every whole chunk but the last, which may be the last of all."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        for start in range(0, len(view), CHUNK):
            self._waiting += view[start : start + CHUNK]
            while len(self._waiting) > CHUNK:
                self._put(CHUNK, last=False)
        return len(view)

    def finish(self) -> None:
        """Seal what is left as the last chunk. Doing it again does nothing."""
        if not self._finished:
            self._finished = True
            self._put(CHUNK, last=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        super().__exit__(kind, error, trace)

    def _put(self, size: int, *, last: bool) -> None:
        self._sink.write(self._cipher.encrypt(_nonce(self._number, last=last), bytes(self._waiting[:size]), None))
        del self._waiting[:size]
        self._number += 1


def seal_bytes(content: bytes, recipient: PublicKey, random_bytes: RandomBytes = secrets.token_bytes) -> bytes:
    """An envelope with this content."""
    sink = io.BytesIO()
    with Sealer(sink, recipient, random_bytes) as sealer:
        sealer.write(content)
    return sink.getvalue()


# --- opening ----------------------------------------------------------------------------------------------------------


def open_file(envelope: Path, target: Path, keys: SealingKeys, *, most: int | None = None) -> None:
    """Opens an envelope into ``target`` (mode 0600), which is there only when all of it was found to be authentic.

    Streams through a temporary file beside the target. ``most``: bytes of content that are taken at most. Raises
    :class:`EnvelopeRefused`, and OSError as the files do.
    """
    draft = target.with_name(f"{target.name}.part")
    try:
        with envelope.open("rb") as source:
            if most is not None and content_size(envelope.stat().st_size) > most:
                raise EnvelopeRefused(EnvelopeFault.TOO_LARGE)
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600, exist_ok=False)
            with draft.open("wb") as sink:
                for chunk in _opened(source, keys):
                    sink.write(chunk)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def open_bytes(envelope: bytes, keys: SealingKeys) -> bytes:
    """The content of an envelope. Raises :class:`EnvelopeRefused`."""
    return b"".join(_opened(io.BytesIO(envelope), keys))


def key_id_of(envelope: Path) -> str | None:
    """Id of the key that an envelope says it is sealed to; None where it does not begin like one."""
    with envelope.open("rb") as source:
        header = _read(source, HEADER)
    return (
        header[len(_MAGIC) : len(_MAGIC) + _ID].hex() if header.startswith(_MAGIC) and len(header) == HEADER else None
    )


def content_size(envelope_size: int) -> int:
    """How many bytes an envelope of this size holds, if it is one."""
    body = max(0, envelope_size - HEADER)
    chunks = max(1, -(-body // (CHUNK + _TAG)))
    return max(0, body - chunks * _TAG)


def _opened(source: BinaryIO, keys: SealingKeys) -> Iterator[bytes]:
    """The chunks, each authentic by itself; only when the iterator has ended are they known to be all."""
    header = _read(source, HEADER)
    if not header.startswith(_MAGIC):
        known = header.startswith(_NAME) and len(header) >= len(_MAGIC)
        raise EnvelopeRefused(EnvelopeFault.VERSION if known else EnvelopeFault.NOT_ONE)
    if len(header) < HEADER:
        raise EnvelopeRefused(EnvelopeFault.CUT_SHORT)
    private = keys.private(header[len(_MAGIC) : len(_MAGIC) + _ID].hex())
    if private is None:
        raise EnvelopeRefused(EnvelopeFault.OTHER_KEY)
    recipient = PublicKey(private.public_key().public_bytes_raw())
    cipher = _cipher(private, PublicKey(header[-_KEY:]), recipient, header)
    number = 0
    chunk = _read(source, CHUNK + _TAG)
    while True:
        following = _read(source, CHUNK + _TAG)
        last = not following
        content = _decrypt(cipher, number, chunk, last=last)
        if content is None:
            cut = last and len(chunk) == CHUNK + _TAG and _decrypt(cipher, number, chunk, last=False) is not None
            cut = cut or len(chunk) < _TAG
            raise EnvelopeRefused(EnvelopeFault.CUT_SHORT if cut else EnvelopeFault.DAMAGED)
        if number > 0 and not content:
            raise EnvelopeRefused(EnvelopeFault.DAMAGED)  # a form that no sealer writes
        yield content
        if last:
            return
        chunk = following
        number += 1


def _decrypt(cipher: ChaCha20Poly1305, number: int, chunk: bytes, *, last: bool) -> bytes | None:
    try:
        return cipher.decrypt(_nonce(number, last=last), chunk, None)
    except InvalidTag:
        return None


def _cipher(own: X25519PrivateKey, other: PublicKey, recipient: PublicKey, header: bytes) -> ChaCha20Poly1305:
    try:
        secret = own.exchange(X25519PublicKey.from_public_bytes(other.raw))
    except ValueError:  # a public key with which every secret is the same
        raise EnvelopeRefused(EnvelopeFault.DAMAGED) from None
    info = _INFO + header + recipient.raw
    return ChaCha20Poly1305(HKDF(algorithm=hashes.SHA256(), length=_KEY, salt=None, info=info).derive(secret))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _read(source: BinaryIO, size: int) -> bytes:
    """Exactly ``size`` bytes, fewer only at the end."""
    parts = []
    while size > 0 and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
