"""The partnership's keys: where they come from, how subkeys are derived, and how they keep out of sight.

Two keys of 32 random bytes. K1 is the partnership's and may be used at a partner's own site; K2 is held by the linkage
custodian alone. Nothing is ever hashed under them directly: each use has a subkey of its own.

A key ring shows its ids and nothing else. It cannot be pickled or copied, no message has key bytes in it, and its
text form (file, environment, secrets backend) carries a prefix that a secret scanner can look for.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import KeyUnavailable
from pseudonymise.key_files import create_key_file, read_key_text
from pseudonymise.normalise import SCHEME

Layer = Literal["K1", "K2"]

_KEY_LENGTH = 32
_HEADER = "LINKARMS-KEYS-1"
_SECRET_PREFIX = "LINKARMS-SECRET-"  # noqa: S105 - a prefix, not a secret
_PRODUCT = "linkarms"
_LAYERS: tuple[Layer, ...] = ("K1", "K2")


def derivation_info(*parts: str) -> bytes:
    """HKDF's ``info``: every part as two bytes of length, big-endian, and its UTF-8 text. Two lists of parts never
    give the same bytes."""
    return b"".join(len(raw := part.encode()).to_bytes(2, "big") + raw for part in parts)


def _derive(key: bytes, *parts: str) -> str:
    # No salt: the keys are uniformly random, so HKDF's extract step has nothing to mend (RFC 5869, 3.1).
    hkdf = HKDF(algorithm=hashes.SHA256(), length=_KEY_LENGTH, salt=None, info=derivation_info(_PRODUCT, *parts))
    return hkdf.derive(key).hex()


class KeyRing:
    """K1 and K2 with their ids and the time they were made. Made by :func:`open_key_ring`."""

    __slots__ = ("__k1", "__k2", "__weakref__", "created", "k1_id", "k2_id")

    def __init__(self, k1: bytes, k2: bytes, created: datetime) -> None:
        if len(k1) != _KEY_LENGTH or len(k2) != _KEY_LENGTH:
            raise KeyUnavailable("a key of the ring does not have 32 bytes")
        if k1 == k2:
            raise KeyUnavailable("K1 and K2 are the same key: two layers under one key are one layer")
        self.__k1 = k1
        self.__k2 = k2
        self.created = created
        # An id is a derivation of the key, so a mistyped key has another id, and 64 bits of it tell nothing of the key.
        self.k1_id = _derive(k1, "key id", "K1")[:16]
        self.k2_id = _derive(k2, "key id", "K2")[:16]

    @property
    def key_id(self) -> str:
        """Id of the ring, recorded beside everything that was made with it: ``k1.<16 hex>-k2.<16 hex>``."""
        return f"k1.{self.k1_id}-k2.{self.k2_id}"

    def subkey(self, layer: Layer, *, purpose: str, field: str, scheme: int = SCHEME) -> str:
        """Subkey of one layer for one purpose, field and scheme, as 64 hexadecimal digits. For this package only."""
        key = self.__k1 if layer == "K1" else self.__k2
        return _derive(key, "subkey", str(scheme), layer, purpose, field)

    def check_key_id(self, recorded: str) -> None:
        """Stops with KeyUnavailable where data was made with other keys than these."""
        if recorded != self.key_id:
            raise KeyUnavailable(
                f"this data was made with the keys {recorded}, but the keys at hand are {self.key_id}; "
                "use the former or submit the data again"
            )

    def __repr__(self) -> str:
        return f"KeyRing({self.key_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key ring is not pickled or copied: pass where it is kept, and open it there")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()

    def _text(self) -> str:
        keys = {"K1": self.__k1, "K2": self.__k2}
        ids = {"K1": self.k1_id, "K2": self.k2_id}
        lines = [
            f"layer={layer} id={ids[layer]} created={self.created.isoformat()} "
            f"secret={_SECRET_PREFIX}{keys[layer].hex()}"
            for layer in _LAYERS
        ]
        return "\n".join([_HEADER, *lines, ""])


def _parse(text: str, where: str) -> KeyRing:
    """Reads the text form: the header, then one entry a key, parted by line ends or semicolons."""
    lines = [line.strip() for line in text.replace(";", "\n").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or lines[0] != _HEADER:
        raise KeyUnavailable(f"{where} does not hold keys: it does not begin with {_HEADER}")
    keys: dict[str, bytes] = {}
    ids: dict[str, str] = {}
    created: datetime | None = None
    try:
        for line in lines[1:]:
            entry = dict(item.split("=", 1) for item in line.split())
            layer = entry["layer"]
            if layer not in _LAYERS or layer in keys or not entry["secret"].startswith(_SECRET_PREFIX):
                raise ValueError
            keys[layer] = bytes.fromhex(entry["secret"].removeprefix(_SECRET_PREFIX))
            ids[layer] = entry["id"]
            made = datetime.fromisoformat(entry["created"])
            created = made if created is None else max(created, made)
        ring = KeyRing(keys["K1"], keys["K2"], created or datetime.min.replace(tzinfo=UTC))
    except (KeyError, ValueError):
        raise KeyUnavailable(f"{where} is damaged: one entry each for K1 and K2 is expected") from None
    if ids != {"K1": ring.k1_id, "K2": ring.k2_id}:
        raise KeyUnavailable(f"{where} is damaged: a key does not have the id that is written beside it")
    return ring


def open_key_ring(
    source: str,
    *,
    now: datetime,
    resolve_secret: Callable[[str], str | None] | None = None,
    environ: Mapping[str, str] | None = None,
    create: bool = False,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> KeyRing:
    """Opens the partnership's keys.

    ``source`` is one of

    - ``file:<path>``: a file that only its owner can read, in a folder that only its owner can write. With ``create``
      it is made where it is missing: mode 0600, in a folder made with mode 0700, complete or not at all; where two
      processes make it at once, both end up with the same keys.
    - ``env:<NAME>``: the text form in an environment variable, from ``environ`` (the process's own where None).
    - ``secret:<name>``: the text form from ``resolve_secret(name)``, such as a secrets backend.

    ``now`` is the time written into new keys. Raises KeyUnavailable, which never shows more than the source's name.
    """
    kind, _, name = source.partition(":")
    if kind == "file" and name and create and not Path(name).exists():
        ring = KeyRing(random_bytes(_KEY_LENGTH), random_bytes(_KEY_LENGTH), now)
        create_key_file(Path(name), ring._text())
    text, where = read_key_text(source, made_by="linkarms keys create", resolve_secret=resolve_secret, environ=environ)
    return _parse(text, where)
