"""K1 by itself, as a partner holds it that pseudonymises at its own site.

K1 is the partnership's: every such partner holds the same. With it the inner tokens of a guessed name can be computed,
so that it is guarded like the extract itself; without K2 it gives nobody what is stored at the hub. A partner's key
shows its id and nothing else, and is not pickled or copied (``tests/unit/pseudonymise/test_partner_key.py``).
"""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NoReturn, Protocol

from protocol.errors import KeyUnavailable
from pseudonymise.key_files import create_key_file, read_key_text
from pseudonymise.keys import _SECRET_PREFIX, KeyRing, Passphrase, _derive, _parse_key
from pseudonymise.locked import is_locked, lock_text, unlock_text
from pseudonymise.normalise import SCHEME

_HEADER = "LINKARMS-K1-1"
_HEADERS_OF_RINGS = "LINKARMS-KEYS-"


class InnerKeys(Protocol):
    """What the inner layer needs: a :class:`KeyRing` or a :class:`PartnerKey`."""

    @property
    def k1_id(self) -> str:
        """Id of K1."""

    def inner_subkey(self, *, purpose: str, field: str, scheme: int = SCHEME) -> str:
        """Subkey of K1 for one purpose, field and scheme."""


class PartnerKey:
    """K1 and its id. Made by :func:`open_partner_key`."""

    __slots__ = ("__secret", "__weakref__", "created", "k1_id")

    def __init__(self, k1_id: str, secret: bytes, created: datetime) -> None:
        self.k1_id = k1_id
        self.created = created
        self.__secret = secret

    def inner_subkey(self, *, purpose: str, field: str, scheme: int = SCHEME) -> str:
        """Subkey of K1 for one purpose, field and scheme, as :meth:`KeyRing.inner_subkey` gives it."""
        return _derive(self.__secret, "subkey", str(scheme), "K1", purpose, field)

    def __repr__(self) -> str:
        return f"PartnerKey(k1.{self.k1_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a partner's key is not pickled or copied: pass where it is kept, and open it there")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()


def export_partner_key(ring: KeyRing, path: Path, passphrase: Passphrase) -> str:
    """Writes the ring's K1 in use to a file that a passphrase unlocks, mode 0600; gives its id.

    Raises KeyUnavailable where there is a file already, or the passphrase is too short.
    """
    if path.exists():
        raise KeyUnavailable(f"there is a file {path} already")
    key, raw = next((key, raw) for key, raw in ring._pairs() if key.id == ring.k1_id)
    line = f"layer=K1 id={key.id} created={key.created.isoformat()} secret={_SECRET_PREFIX}{raw.hex()}"
    create_key_file(path, lock_text(f"{_HEADER}\n{line}\n", passphrase()))
    return key.id


def open_partner_key(
    source: str, *, environ: Mapping[str, str] | None = None, passphrase: Passphrase | None = None
) -> PartnerKey:
    """Opens a partner's K1 from ``file:<path>`` or ``env:<NAME>``, locked or not.

    Raises KeyUnavailable, which never shows more than the source's name; also where the source holds K2, which has no
    place at a partner's site.
    """
    if source.startswith("file:") and not hasattr(os, "geteuid"):
        raise KeyUnavailable("nobody can tell here who else may read a key file: give its text by env:<NAME>")
    text, where = read_key_text(source, made_by="linkarms keys partner-key", environ=environ)
    if is_locked(text):
        if passphrase is None:
            raise KeyUnavailable(f"{where} is locked, and no passphrase is at hand")
        text = unlock_text(text, passphrase(), where)
    lines = [line.strip() for line in text.replace(";", "\n").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if lines and lines[0].startswith(_HEADERS_OF_RINGS):
        raise KeyUnavailable(
            f"{where} holds the whole key ring, which has no place at a partner's site. Ask the coordinator for K1 "
            "alone, and say that the ring was here."
        )
    try:
        if len(lines) != 2 or lines[0] != _HEADER:
            raise ValueError
        key, raw = _parse_key(lines[1], in_use=True)
        if key.layer != "K1":
            raise ValueError
    except (KeyError, ValueError):
        raise KeyUnavailable(f"{where} does not hold K1 alone, as `linkarms keys partner-key` writes it") from None
    return PartnerKey(key.id, raw, key.created)
