"""Sealed drops and sealed working files: how they are opened, and where.

Of a sealed drop only the envelope rests on the disk. Each step that needs the content opens it anew in
:mod:`pipeline.scratch`, takes it in there and removes it. Rows that are identifiable and wait for the next step lie
sealed to the hub's own key, whatever the drop was (``tests/integration/channels/test_sealed.py``).
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from intake.channels import Channel, Drop, DropKind, FetchedDrop
from intake.taking import Limits, TakenDrop, open_taken, take_in
from pipeline.files import fill_folder, open_private, remove_folder
from pipeline.resources import open_sealing
from pipeline.scratch import scratch
from pipeline.settings import Settings
from protocol.errors import DefectFound, KeyUnavailable, NotYet
from protocol.model import Partner, Pseudonymising, Sealing

if TYPE_CHECKING:
    from pseudonymise.sealing import SealingKeys

ENVELOPE = "envelope"
"""The sealed drop in a working folder."""
FETCHED = "fetched"
"""The copy that a remote channel brought, until it is taken in."""
_ROOM = 4
"""Bytes of memory that are asked for, for each byte of an envelope: the archive, and the files in it. One that grows
more in unpacking may still find no room; the step then says so and is tried again."""
_COPY = 1 << 20


@dataclass(frozen=True)
class LaidOut:
    """A drop that can be taken in."""

    content: FetchedDrop
    area: Path
    """The folder to take it into."""
    sealed_as: str | None
    """For a sealed drop, the name to go by when it is opened again: its period, or its reference."""


@contextmanager
def lay_out(
    drop: Drop, channel: Channel, partner: Partner, staging: Path, settings: Settings, now: datetime
) -> Iterator[LaidOut]:
    """Fetch a drop; where it is sealed, keep the envelope in ``staging`` and open it in memory as long as needed."""
    if drop.kind is not DropKind.SEALED:
        if partner.channel.pseudonymised is Pseudonymising.REQUIRED:
            yield LaidOut(FetchedDrop(staging, drop.name, "drop.in_clear"), staging, None)
            return
        if partner.channel.sealed is Sealing.REQUIRED:
            yield LaidOut(FetchedDrop(staging, drop.name, "drop.unsealed"), staging, None)
            return
        yield LaidOut(channel.fetch(drop, staging / FETCHED), staging, None)
        return
    fetched = channel.fetch(drop, staging / FETCHED)
    if fetched.fault is not None or not _keep_envelope(fetched.path, staging / ENVELOPE):
        fault = fetched.fault or "drop.too_large"
        yield LaidOut(FetchedDrop(fetched.path, drop.name, fault), staging, None)
        return
    remove_folder(staging / FETCHED)
    with _opened(staging / ENVELOPE, staging.name, drop.display, settings, now) as content:
        yield LaidOut(content, content.path.parent, drop.display)


@contextmanager
def taken_files(
    submission_id: str, sealed_as: str | None, partner: Partner, settings: Settings, now: datetime
) -> Iterator[TakenDrop]:
    """The files of a received submission, for as long as the block lasts."""
    folder = settings.work(submission_id)
    if sealed_as is None:
        yield open_taken(folder)
        return
    with _opened(folder / ENVELOPE, submission_id, sealed_as, settings, now) as content:
        if content.fault == "drop.envelope_other_key":
            raise KeyUnavailable(
                f"{submission_id} is sealed to a key that is not held any more. Put that key back and run the intake "
                "again."
            )
        taken, _ = take_in(content, content.path.parent, Limits(), partner)
        if taken is None or taken.submission_id != submission_id:
            raise DefectFound(f"{submission_id} was opened again and is not what it was when it was received.")
        yield taken


@contextmanager
def _opened(envelope: Path, area: str, name: str, settings: Settings, now: datetime) -> Iterator[FetchedDrop]:
    """An envelope's content in memory; a fault in place of it where it cannot be opened."""
    from pseudonymise.sealing import EnvelopeFault, EnvelopeRefused, open_file

    keys = open_sealing(settings, now=now)
    with scratch(settings, area, _ROOM * envelope.stat().st_size) as folder:
        path = folder / "content.zip"
        fault = None
        try:
            open_file(envelope, path, keys, most=Limits().max_total_bytes)
        except EnvelopeRefused as refused:
            large = refused.fault is EnvelopeFault.TOO_LARGE
            fault = "drop.too_large" if large else f"drop.envelope_{refused.fault.value}"
        except OSError as error:
            raise NotYet(f"the envelope could not be opened: {os.strerror(error.errno or 0)}") from None
        yield FetchedDrop(path, f"{name}.zip", fault)


def _keep_envelope(source: Path, target: Path) -> bool:
    """Copy an envelope into the working folder; False where it is larger than an extract may be."""
    most = Limits().max_total_bytes + (Limits().max_total_bytes >> 10)  # what sealing adds is far less
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise NotYet(f"the envelope may not be read yet: {os.strerror(error.errno or 0)}") from None
    with os.fdopen(descriptor, "rb") as opened, open_private(target) as kept:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotYet("the drop changed while it was read; it will be taken when it has come to rest")
        while block := opened.read(_COPY):
            most -= len(block)
            if most < 0:
                break
            kept.write(block)
    if most < 0:
        target.unlink()
    return most >= 0


def waiting_under(key_id: str, settings: Settings) -> tuple[str, ...]:
    """Names of the working folders that hold something sealed to this key."""
    from pseudonymise.sealing import key_id_of

    work = settings.home / "work"
    found = (*work.glob(f"*/{ENVELOPE}"), *work.glob("*/accepted/*.sealed"))
    return tuple(sorted({path.relative_to(work).parts[0] for path in found if key_id_of(path) == key_id}))


# --- rows between two steps -------------------------------------------------------------------------------------------


def write_sealed_frames(folder: Path, frames: Mapping[str, pl.DataFrame], keys: "SealingKeys") -> None:
    """One sealed Parquet file a table, all or none of them; no row touches the disk in clear."""
    from pseudonymise.sealing import Sealer

    with fill_folder(folder) as staging:
        for name, frame in frames.items():
            clear = BytesIO()
            frame.write_parquet(clear)
            with open_private(staging / f"{name}.parquet.sealed") as file, Sealer(file, keys.public) as sealer:
                sealer.write(clear.getbuffer())


def read_sealed_frames(folder: Path, keys: "SealingKeys") -> dict[str, pl.DataFrame]:
    """What :func:`write_sealed_frames` wrote."""
    from pseudonymise.sealing import EnvelopeRefused, open_bytes

    if not folder.exists():  # no folder is not the same as no table: nothing would be loaded in the place of rows
        raise DefectFound(f"{folder.parent.name} has no {folder.name}: an earlier step has not finished.")
    frames = {}
    for path in sorted(folder.glob("*.parquet.sealed")):
        try:
            content = open_bytes(path.read_bytes(), keys)
        except EnvelopeRefused as refused:
            raise DefectFound(f"A working file of {folder.parent.name} cannot be opened: {refused}") from None
        frames[path.name.removesuffix(".parquet.sealed")] = pl.read_parquet(BytesIO(content))
    return frames
