"""The partnership's keys: where they come from, how subkeys are derived, and how they keep out of sight.

Keys of 32 random bytes in two layers. K1 is the partnership's and may be used at a partner's own site; K2 is held by
the linkage custodian alone. Nothing is ever hashed under them directly: each use has a subkey of its own.

Of K1 one key is in use at a time. K2 is a chain: a rotation adds a key on top, under which everything stored is hashed
once more, and every key below stays in use (see :mod:`pseudonymise.tokens`). Which keys a database's pseudonyms were
made with is recorded there, and :meth:`KeyRing.in_force` chooses them, so that a key that was written down and never
brought into use, or was brought into use and not yet marked so, does no harm.

A key ring shows ids and moments and nothing else. It cannot be pickled or copied, no message has key bytes in it, and
its text form (file, environment, secrets backend) carries a prefix that a secret scanner can look for.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import DefectFound, KeyUnavailable
from pseudonymise.key_files import create_key_file, read_key_text
from pseudonymise.locked import is_locked, lock_text, unlock_text
from pseudonymise.normalise import SCHEME

Layer = Literal["K1", "K2"]

_KEY_LENGTH = 32
_HEADER = "LINKARMS-KEYS-2"
_HEADER_OF_TWO = "LINKARMS-KEYS-1"
"""The form before rotation: one key a layer, both in use since they were made."""
_SECRET_PREFIX = "LINKARMS-SECRET-"  # noqa: S105 - a prefix, not a secret
_PRODUCT = "linkarms"
_LAYERS: tuple[Layer, ...] = ("K1", "K2")

RandomBytes = Callable[[int], bytes]
Passphrase = Callable[[], str]
"""Gives the passphrase of a locked file when it is needed, and raises KeyUnavailable where there is none."""


def derivation_info(*parts: str) -> bytes:
    """HKDF's ``info``: every part as two bytes of length, big-endian, and its UTF-8 text. Two lists of parts never
    give the same bytes."""
    return b"".join(len(raw := part.encode()).to_bytes(2, "big") + raw for part in parts)


def _derive(key: bytes, *parts: str) -> str:
    # No salt: the keys are uniformly random, so HKDF's extract step has nothing to mend (RFC 5869, 3.1).
    hkdf = HKDF(algorithm=hashes.SHA256(), length=_KEY_LENGTH, salt=None, info=derivation_info(_PRODUCT, *parts))
    return hkdf.derive(key).hex()


def _id_of(layer: Layer, key: bytes) -> str:
    # An id is a derivation of the key, so a mistyped key has another id, and 64 bits of it tell nothing of the key.
    return _derive(key, "key id", layer)[:16]


class KeyState(StrEnum):
    """What a key of the ring is used for."""

    PENDING = "pending"
    """Nothing yet: a rotation is being prepared."""
    ACTIVE = "active"
    """Of K1, the one in use; of K2, the top of the chain."""
    COVERED = "covered"
    """Of K2: still applied, below keys that were added. Knowing it gives nobody what is stored."""
    RETIRED = "retired"
    """Of K1: no longer in use. It can be removed."""


@dataclass(frozen=True)
class HeldKey:
    """What may be told of one key."""

    layer: Layer
    id: str
    created: datetime
    activated: datetime | None = None
    """When it came into use; None while it is pending."""
    retired: datetime | None = None
    """When a later key took its place (K1) or was added on top of it (K2)."""

    @property
    def state(self) -> KeyState:
        """What it is used for."""
        if self.activated is None:
            return KeyState.PENDING
        if self.retired is None:
            return KeyState.ACTIVE
        return KeyState.RETIRED if self.layer == "K1" else KeyState.COVERED


class KeyRing:
    """Keys of both layers, of which one K1 and a chain of K2 are in use. Made by :func:`open_key_ring`.

    ``keys`` are all that are held, K1 first and each layer in the order of their making; ``k1_id`` and ``outer_ids``
    name those in use.
    """

    __slots__ = ("__secrets", "__weakref__", "k1_id", "keys", "outer_ids")

    def __init__(self, k1: bytes, k2: bytes, created: datetime) -> None:
        made: tuple[tuple[Layer, bytes], ...] = (("K1", k1), ("K2", k2))
        self.__fill([(HeldKey(layer, _id_of(layer, raw), created, created), raw) for layer, raw in made])

    @classmethod
    def _of(cls, pairs: Sequence[tuple[HeldKey, bytes]]) -> "KeyRing":
        ring = cls.__new__(cls)
        ring.__fill(pairs)
        return ring

    def __fill(self, pairs: Sequence[tuple[HeldKey, bytes]]) -> None:
        if any(len(raw) != _KEY_LENGTH for _, raw in pairs):
            raise KeyUnavailable("a key of the ring does not have 32 bytes")
        if len({raw for _, raw in pairs}) != len(pairs):
            raise KeyUnavailable("two keys of the ring are the same key: two layers under one key are one layer")
        pairs = sorted(pairs, key=lambda pair: pair[0].layer)
        self.keys = tuple(key for key, _ in pairs)
        self.__secrets = {key.id: raw for key, raw in pairs}
        active = [key.id for key in self.keys if key.layer == "K1" and key.state is KeyState.ACTIVE]
        chain = [key for key in self.keys if key.layer == "K2"]
        if len(active) != 1 or not chain or chain[0].state is KeyState.PENDING:
            raise KeyUnavailable("the ring needs one K1 in use and at least one K2")
        if [key.state for key in chain] != sorted((key.state for key in chain), key=list(_CHAIN_ORDER).index):
            raise KeyUnavailable("the ring's K2 are not in the order in which they are applied")
        self.k1_id = active[0]
        self.outer_ids = tuple(key.id for key in chain if key.state is not KeyState.PENDING)

    # --- what is in use ---------------------------------------------------------------------------------------------

    @property
    def created(self) -> datetime:
        """When the newest key in use was made."""
        return max(key.created for key in self.keys if key.id in (self.k1_id, *self.outer_ids))

    @property
    def k2_id(self) -> str:
        """Id of K2 as it is in use: the key's own, or 16 hexadecimal digits worked out from the chain's ids."""
        return _chain_id(self.outer_ids)

    @property
    def key_id(self) -> str:
        """Id of what is in use, recorded beside everything that was made with it: ``k1.<16 hex>-k2.<16 hex>``."""
        return _ring_id(self.k1_id, self.outer_ids)

    def inner_subkey(self, *, purpose: str, field: str, scheme: int = SCHEME) -> str:
        """Subkey of K1 for one purpose, field and scheme, as 64 hexadecimal digits. For this package only."""
        return self._subkey(self.k1_id, "K1", purpose, field, scheme)

    def outer_subkeys(
        self, *, purpose: str, field: str, scheme: int = SCHEME, above: str | None = None
    ) -> tuple[str, ...]:
        """Subkeys of K2's chain in the order in which they are applied; for this package only.

        ``above``: only those that were added since the ring had this id (:attr:`key_id`). Raises KeyUnavailable where
        what is in use did not come from that by adding keys.
        """
        ids = self.outer_ids if above is None else self.added_since(above)
        return tuple(self._subkey(key_id, "K2", purpose, field, scheme) for key_id in ids)

    def subkey(self, layer: Layer, *, purpose: str, field: str, scheme: int = SCHEME) -> str:
        """The subkey of a layer that has one key in use. Raises DefectFound where K2 is a chain: what is made with
        less than the whole chain does not fit to what was rotated."""
        if layer == "K1":
            return self.inner_subkey(purpose=purpose, field=field, scheme=scheme)
        keys = self.outer_subkeys(purpose=purpose, field=field, scheme=scheme)
        if len(keys) != 1:
            raise DefectFound("one subkey of K2 was asked for, and K2 is a chain of several keys")
        return keys[0]

    def _subkey(self, key_id: str, layer: Layer, purpose: str, field: str, scheme: int) -> str:
        return _derive(self.__secrets[key_id], "subkey", str(scheme), layer, purpose, field)

    def check_key_id(self, recorded: str) -> None:
        """Stops with KeyUnavailable where data was made with other keys than these."""
        if recorded != self.key_id:
            raise KeyUnavailable(
                f"this data was made with the keys {recorded}, but the keys at hand are {self.key_id}; "
                "use the former or submit the data again"
            )

    # --- what was or will be in use ----------------------------------------------------------------------------------

    def in_force(self, recorded: str | None) -> "KeyRing":
        """The ring with those keys in use that a database's pseudonyms were made with, whatever the file says of them.

        ``recorded`` is the id that the database has; None where it has none yet. Raises KeyUnavailable where these keys
        cannot give that id.
        """
        if recorded is None or recorded == self.key_id:
            return self
        for k1_id, outer_ids in self._states():
            if _ring_id(k1_id, outer_ids) == recorded:
                return self._with_in_use(k1_id, outer_ids)
        raise KeyUnavailable(
            f"The pseudonyms in the warehouse were made with the keys {recorded}, which the keys at hand "
            f"({self.key_id}) do not give: they cannot be linked. Point LINKARMS_KEYS at the keys used before."
        )

    def added_since(self, earlier: str) -> tuple[str, ...]:
        """Ids of the K2 keys that were added on top since the ring had the id ``earlier``; none where it is this one.

        Raises KeyUnavailable where what is in use did not come from that by adding keys.
        """
        for count in range(1, len(self.outer_ids) + 1):
            if _ring_id(self.k1_id, self.outer_ids[:count]) == earlier:
                return self.outer_ids[count:]
        raise KeyUnavailable(
            f"What was made with the keys {earlier} cannot be carried over to {self.key_id}. Submit the data again."
        )

    def with_next_outer(self) -> "KeyRing":
        """The ring with every K2 in use that it holds, pending ones too: what a rotation leads to."""
        return self._with_in_use(self.k1_id, tuple(key.id for key in self.keys if key.layer == "K2"))

    def with_inner(self, key_id: str) -> "KeyRing":
        """The ring with another K1 in use. Raises KeyUnavailable where it does not hold it."""
        if not any(key.layer == "K1" and key.id == key_id for key in self.keys):
            raise KeyUnavailable("the ring has no K1 of that id; `linkarms keys list` names them")
        return self._with_in_use(key_id, self.outer_ids)

    def pending(self, layer: Layer) -> str | None:
        """Id of the layer's key that waits to come into use, or None."""
        waiting = [key.id for key in self.keys if key.layer == layer and key.state is KeyState.PENDING]
        return waiting[-1] if waiting else None

    def _states(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Every K1 with every beginning of K2's chain: what may have been, or be about to be, in use."""
        chain = tuple(key.id for key in self.keys if key.layer == "K2")
        for key in self.keys:
            if key.layer == "K1":
                yield from ((key.id, chain[:count]) for count in range(1, len(chain) + 1))

    def _with_in_use(self, k1_id: str, outer_ids: tuple[str, ...]) -> "KeyRing":
        ring = KeyRing._of(self._pairs())
        ring.k1_id, ring.outer_ids = k1_id, outer_ids
        return ring

    # --- changing the ring --------------------------------------------------------------------------------------------

    def with_new(self, layer: Layer, now: datetime, random_bytes: RandomBytes = secrets.token_bytes) -> "KeyRing":
        """The ring with a new pending key. Raises KeyUnavailable where the layer has one that waits already."""
        if self.pending(layer) is not None:
            raise KeyUnavailable(f"{layer} has a key that waits to come into use already")
        raw = random_bytes(_KEY_LENGTH)
        return KeyRing._of([*self._pairs(), (HeldKey(layer, _id_of(layer, raw), now), raw)])

    def marked(self, now: datetime) -> "KeyRing":
        """The ring with moments that say what is in use: ``now`` for what came into use or out of it."""
        pairs = []
        for key, raw in self._pairs():
            used = key.id == self.k1_id or key.id in self.outer_ids
            last = key.id in (self.k1_id, self.outer_ids[-1])
            if used:
                key = replace(key, activated=key.activated or now, retired=None if last else key.retired or now)
            elif key.activated is not None and key.layer == "K1":
                key = replace(key, retired=key.retired or now)
            pairs.append((key, raw))
        return KeyRing._of(pairs)

    def without(self, key_id: str) -> "KeyRing":
        """The ring without a key that is not in use: a pending one, or a retired K1. For good.

        Raises KeyUnavailable where it is in use or not held.
        """
        if key_id not in {key.id for key in self.keys}:
            raise KeyUnavailable("the ring has no key of that id; `linkarms keys list` names them")
        if key_id == self.k1_id or key_id in self.outer_ids:
            raise KeyUnavailable("this key is in use: every K2 of the chain is needed for what is stored")
        return KeyRing._of([(key, raw) for key, raw in self._pairs() if key.id != key_id])

    # --- keeping out of sight -----------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"KeyRing({self.key_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key ring is not pickled or copied: pass where it is kept, and open it there")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()

    def _pairs(self) -> list[tuple[HeldKey, bytes]]:
        return [(key, self.__secrets[key.id]) for key in self.keys]

    def _text(self) -> str:
        lines = []
        for key, raw in self._pairs():
            moments = {"created": key.created, "activated": key.activated, "retired": key.retired}
            told = " ".join(f"{name}={moment.isoformat()}" for name, moment in moments.items() if moment is not None)
            lines.append(f"layer={key.layer} id={key.id} {told} secret={_SECRET_PREFIX}{raw.hex()}")
        return "\n".join([_HEADER, *lines, ""])


_CHAIN_ORDER = (KeyState.COVERED, KeyState.ACTIVE, KeyState.PENDING)


def _chain_id(outer_ids: Sequence[str]) -> str:
    if len(outer_ids) == 1:
        return outer_ids[0]
    return hashlib.sha256(derivation_info(_PRODUCT, "key chain", *outer_ids)).hexdigest()[:16]


def _ring_id(k1_id: str, outer_ids: Sequence[str]) -> str:
    return f"k1.{k1_id}-k2.{_chain_id(outer_ids)}"


def _parse(text: str, where: str) -> KeyRing:
    """Reads the text form: the header, then one entry a key, parted by line ends or semicolons."""
    lines = [line.strip() for line in text.replace(";", "\n").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or lines[0] not in (_HEADER, _HEADER_OF_TWO):
        raise KeyUnavailable(f"{where} does not hold keys: it does not begin with {_HEADER}")
    try:
        pairs = [_parse_key(line, lines[0] == _HEADER_OF_TWO) for line in lines[1:]]
        if lines[0] == _HEADER_OF_TWO and sorted(key.layer for key, _ in pairs) != list(_LAYERS):
            raise ValueError
        ring = KeyRing._of(pairs)
    except (KeyError, ValueError, KeyUnavailable):
        raise KeyUnavailable(
            f"{where} is damaged: each key has one entry with its own id, one K1 is in use and at least one K2"
        ) from None
    return ring


def _parse_key(line: str, in_use: bool) -> tuple[HeldKey, bytes]:
    entry = dict(item.split("=", 1) for item in line.split())
    (layer,) = (layer for layer in _LAYERS if layer == entry["layer"])
    if not entry["secret"].startswith(_SECRET_PREFIX):
        raise ValueError
    raw = bytes.fromhex(entry["secret"].removeprefix(_SECRET_PREFIX))
    if _id_of(layer, raw) != entry["id"]:
        raise ValueError
    moments = {name: _moment(entry[name]) for name in ("created", "activated", "retired") if name in entry}
    activated = moments["created"] if in_use else moments.get("activated")
    return HeldKey(layer, entry["id"], moments["created"], activated, moments.get("retired")), raw


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(UTC)


def open_key_ring(
    source: str,
    *,
    now: datetime,
    resolve_secret: Callable[[str], str | None] | None = None,
    environ: Mapping[str, str] | None = None,
    create: bool = False,
    random_bytes: RandomBytes = secrets.token_bytes,
    passphrase: Passphrase | None = None,
    lock: bool = False,
) -> KeyRing:
    """Opens the partnership's keys.

    ``source`` is one of

    - ``file:<path>``: a file that only its owner can read, in a folder that only its owner can write. With ``create``
      it is made where it is missing: mode 0600, in a folder made with mode 0700, complete or not at all; where two
      processes make it at once, both end up with the same keys.
    - ``env:<NAME>``: the text form in an environment variable, from ``environ`` (the process's own where None).
    - ``secret:<name>``: the text form from ``resolve_secret(name)``, such as a secrets backend.

    Where the text is locked (:mod:`pseudonymise.locked`), ``passphrase`` is asked; with ``lock`` a new file is locked.
    ``now`` is the time written into new keys. Raises KeyUnavailable, which never shows more than the source's name.
    """
    kind, _, name = source.partition(":")
    if kind == "file" and name and create and not Path(name).exists():
        text = KeyRing(random_bytes(_KEY_LENGTH), random_bytes(_KEY_LENGTH), now)._text()
        create_key_file(Path(name), lock_text(text, _ask(passphrase, source), random_bytes) if lock else text)
    text, where = read_key_text(source, made_by="linkarms keys create", resolve_secret=resolve_secret, environ=environ)
    if is_locked(text):
        text = unlock_text(text, _ask(passphrase, where), where)
    return _parse(text, where)


def write_key_ring(source: str, ring: KeyRing, *, passphrase: Passphrase | None = None, lock: bool = False) -> None:
    """Replaces a key file after the ring has changed, whole or not at all. A locked file stays locked; with ``lock`` it
    becomes so, or gets the passphrase that is given now.

    Raises KeyUnavailable where the source is not a file: what a secrets backend holds is changed there.
    """
    kind, _, name = source.partition(":")
    if kind != "file" or not name:
        raise KeyUnavailable("only a key file can be changed from here; change the variable or secret where it is kept")
    text, where = read_key_text(source, made_by="linkarms keys create")
    new = ring._text()
    if lock or is_locked(text):
        new = lock_text(new, _ask(passphrase, where))
    create_key_file(Path(name), new, replace=True)


def _ask(passphrase: Passphrase | None, where: str) -> str:
    if passphrase is None:
        raise KeyUnavailable(f"{where} is locked, and no passphrase is at hand")
    return passphrase()
