"""Rotation of the partnership's keys: what is written in which order, so that it can be killed anywhere.

1. The new key goes into the key file as *pending*. Nobody uses it.
2. One transaction renews everything stored and records the ring's new id. Whoever opens keys for the warehouse goes by
   what the warehouse has recorded (:func:`pipeline.resources.open_keys_in_force`): up to the commit by the former keys,
   from then on by the new ones, whatever the file calls them.
3. The room of the former rows is given back, then the file is marked.

A run that ended after 1 goes on with the key that is there; one that ended after 2 does 3 and nothing else
(``tests/integration/pipeline/test_rotation.py``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from pipeline.files import locked
from pipeline.resources import open_engine, open_keys, read_agreement
from pipeline.settings import Settings
from protocol.errors import KeyUnavailable, LinkarmsError, NotYet
from warehouse.lookups import count_separations, read_key_id
from warehouse.migrate import LOCK_PATIENCE, altering
from warehouse.rotation import (
    clear_former_rows,
    count_pseudonyms,
    resubmission_cost,
    rotate_pseudonyms,
    set_rows_aside,
)

if TYPE_CHECKING:
    from pseudonymise.keys import KeyRing

Layer = Literal["K1", "K2"]


@dataclass(frozen=True)
class Rings:
    """The keys as they are held and as the warehouse uses them."""

    held: "KeyRing"
    in_force: "KeyRing"
    recorded: str | None
    """What the warehouse has recorded; None where it has no pseudonyms, or does not answer."""

    @property
    def fit(self) -> bool:
        """Whether the keys at hand are the warehouse's, as far as it answers."""
        return self.recorded is None or self.recorded == self.in_force.key_id

    @property
    def unfinished(self) -> bool:
        """Whether a rotation is in force that the key file is not marked with."""
        used = (self.in_force.k1_id, *self.in_force.outer_ids)
        return any(self.held.pending(layer) in used for layer in ("K1", "K2"))


@dataclass(frozen=True)
class Rotated:
    """What a rotation did."""

    before: str
    after: str
    changed: int
    """Tokens and pseudonyms renewed (K2), or submissions set aside (K1); 0 where an earlier run had done it."""


def read_rings(settings: Settings, *, now: datetime) -> Rings:
    """The keys at hand, and which of them the warehouse's pseudonyms are made with as far as it answers."""
    held = open_keys(settings, now=now)
    try:
        with open_engine(settings).connect() as conn:
            recorded = read_key_id(conn)
    except (OperationalError, LinkarmsError):
        return Rings(held, held, None)
    try:
        return Rings(held, held.in_force(recorded), recorded)
    except KeyUnavailable:
        return Rings(held, held, recorded)


def describe_rotation(settings: Settings, owner_url: str, layer: Layer) -> Iterator[str]:
    """What a rotation would change, or, for K1, what would have to come again; lines of text."""
    with _owner(owner_url) as owner, owner.connect() as conn:
        if layer == "K2":
            counts = count_pseudonyms(conn, read_agreement(settings))
            yield f"{counts.distinct:,} tokens and pseudonyms would be renewed; no partner submits anything again."
            for table, rows in counts.rows.items():
                yield f"  {table:<32} {rows:>12,} rows"
        else:
            cost = resubmission_cost(conn)
            yield (
                f"{cost.submissions:,} submissions of {cost.partners:,} partners would have to come again, as "
                f"{cost.full_extracts:,} full extracts (one for each partner and period in force): {cost.rows:,} rows."
            )
            yield f"{count_separations(conn):,} separations of persons would be forgotten."


def prepare_key(settings: Settings, owner_url: str, layer: Layer, *, now: datetime) -> str:
    """Write a new key of the layer into the key file as pending, unless one waits there; gives its id."""
    with locked(settings.lock("keys")), _owner(owner_url) as owner, owner.connect() as conn:
        held = open_keys(settings, now=now)
        rings = Rings(held, held.in_force(recorded := read_key_id(conn)), recorded)
        return _with_pending(rings, layer, settings, now)[1]


def rotate_outer(settings: Settings, owner_url: str, *, by: str, reason: str, now: datetime) -> Rotated:
    """Add a key on top of K2's chain and renew everything stored; see :func:`warehouse.rotation.rotate_pseudonyms`.

    Where the file holds keys above those that the warehouse uses (a run that was killed, a warehouse that was restored
    from a backup), these are added and none is made.

    Raises:
        KeyUnavailable: the keys are not the warehouse's, or not in a file.
        NotYet: somebody keeps a relation locked; run it again.
    """
    from pseudonymise.rotation import make_encoding_renewer, make_renewer

    agreement = read_agreement(settings)
    with locked(settings.lock("keys")), _owner(owner_url) as owner:
        rings = _read_by_owner(settings, owner, now)
        before, changed = rings.in_force.key_id, 0
        if rings.unfinished:
            leading = rings.in_force
        else:
            leading = rings.in_force.with_next_outer()
            if leading.key_id == before:
                leading = _with_pending(rings, "K2", settings, now)[0].with_next_outer()
            with owner.begin() as conn, altering(conn):
                changed = rotate_pseudonyms(
                    conn,
                    agreement,
                    make_renewer(leading, before),
                    make_encoding_renewer(leading, before),
                    before=before,
                    after=leading.key_id,
                    actor=by,
                    reason=reason,
                ).distinct
        try:
            with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
                conn.exec_driver_sql(f"set lock_timeout = '{LOCK_PATIENCE}'")
                clear_former_rows(conn, agreement)
        except OperationalError:
            raise NotYet(_NOT_CLEARED) from None
        _write(settings, leading.marked(now))
    return Rotated(before, leading.key_id, changed)


_NOT_CLEARED = (
    "The keys are rotated, and somebody is reading rows as they were before. Run this again when they have ended: it "
    "gives back their room and marks the key file."
)


def rotate_inner(
    settings: Settings, owner_url: str, *, by: str, reason: str, now: datetime, give_up_separations: bool = False
) -> Rotated:
    """Bring another K1 into use and set everything in force aside; partners submit it again in full.

    Raises:
        KeyUnavailable: the keys are not the warehouse's, or not in a file.
        LinkarmsError: the registry keeps separations of persons, which name records by pseudonyms of the K1 that is
            given up; nothing has changed. ``give_up_separations`` is a person's decision to lose them.
    """
    agreement = read_agreement(settings)
    with locked(settings.lock("keys")), _owner(owner_url) as owner:
        rings = _read_by_owner(settings, owner, now)
        before, aside = rings.in_force.key_id, 0
        if rings.unfinished:
            leading = rings.in_force
        else:
            with owner.connect() as conn:
                _refuse_to_forget(count_separations(conn), give_up_separations)
            ring, key_id = _with_pending(rings, "K1", settings, now)
            leading = ring.with_inner(key_id)
            with owner.begin() as conn, altering(conn):
                aside = set_rows_aside(
                    conn,
                    agreement,
                    before=before,
                    after=leading.key_id,
                    actor=by,
                    reason=reason,
                    check_separations=lambda found: _refuse_to_forget(found, give_up_separations),
                )
        _write(settings, leading.marked(now))
    return Rotated(before, leading.key_id, aside)


def remove_key(key_id: str, settings: Settings, *, now: datetime) -> "KeyRing":
    """Remove a key from the file that the warehouse does not use; gives the ring that is left."""
    with locked(settings.lock("keys")):
        with open_engine(settings).connect() as conn:
            ring = open_keys(settings, now=now).in_force(read_key_id(conn))
        left = ring.without(key_id)
        _write(settings, left)
    return left


def _refuse_to_forget(separations: int, give_up: bool) -> None:
    if separations and not give_up:
        raise LinkarmsError(
            f"The registry keeps {separations} separations of persons. Their records would come again under other "
            "pseudonyms, and persons who were parted could meet again. Nothing has changed; --give-up-separations "
            "rotates all the same, and the audit trail keeps who decided it."
        )


def _read_by_owner(settings: Settings, owner: Engine, now: datetime) -> Rings:
    held = open_keys(settings, now=now)
    if not settings.key_source.startswith("file:"):
        raise KeyUnavailable(
            "Keys are rotated where their file is: set LINKARMS_KEYS to file:<path>. Put its text where else the "
            "keys are kept before the rotation (--prepare) and after it."
        )
    with owner.connect() as conn:
        recorded = read_key_id(conn)
    return Rings(held, held.in_force(recorded), recorded)


def _with_pending(rings: Rings, layer: Layer, settings: Settings, now: datetime) -> tuple["KeyRing", str]:
    """The ring in force with a pending key of the layer, which is in the file by then, and that key's id."""
    if rings.unfinished:
        raise NotYet("A rotation is in force and not marked in the key file: run `linkarms keys rotate` first.")
    ring = rings.in_force
    if ring.pending(layer) is None:
        ring = ring.with_new(layer, now)
        _write(settings, ring)
    return ring, str(ring.pending(layer))


def _write(settings: Settings, ring: "KeyRing") -> None:
    from pseudonymise.keys import write_key_ring

    write_key_ring(settings.key_source, ring, passphrase=settings.passphrase())


@contextmanager
def _owner(owner_url: str) -> Iterator[Engine]:
    engine = create_engine(owner_url, poolclass=NullPool)
    try:
        yield engine
    except OperationalError:
        raise NotYet("The database does not answer, or refuses this log-in. Is it running, is the URL right?") from None
    finally:
        engine.dispose()
