"""A partner's inbox and outbox on another machine: an SFTP server or object storage.

:class:`RemoteChannel` keeps a channel's promises over a :class:`Store`, which is what both have in common. The stores
(:mod:`intake.channels.sftp`, :mod:`intake.channels.s3`) work through fsspec.

Clocks: the times that a server shows are its own, and over SFTP they are whatever the partner's program set. So no
clock of theirs decides whether a drop is complete. It is ready when it is flagged, or when listings that are at least
the quiet time apart by our own clock found it the same; when each drop was first seen is kept in a small file of ours.
SFTP tells times in whole seconds: a file that is replaced by another one of the same size within one second looks
the same.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from intake.channels.channel import (
    ENDINGS,
    MOST_ENTRIES,
    NOTE,
    READY,
    SETTLED,
    Drop,
    DropKind,
    FetchedDrop,
    check_name,
    file_kind,
    flag_names,
    is_drop,
    is_litter,
    is_own_name,
    is_settled_id,
    noted_day,
    read_note,
    write_note,
    write_whole,
)
from intake.taking import Limits
from protocol.errors import LinkarmsError, NotYet

_log = logging.getLogger(__name__)

_STAYED = ".stayed"
"""Below the settled drops: a note for each drop whose content could not be moved, under its reference."""
_MOVING = ".moving"
"""Below the settled drops: what is being moved, where moving takes more than one step."""
_MOST_DROPS = 5000
"""Entries of an inbox that are looked at; the others wait until these are settled."""
_MOST_DEPTH = 16
_MOST_NOTE = 64 << 10
_LONGEST_NAME = 200
_EVER = float(1 << 53)


class EntryKind(StrEnum):
    """What something on a server is."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"
    """A link, a device, or something under a name that no file can have. It is never opened."""


@dataclass(frozen=True)
class Entry:
    """Something in a folder of a server."""

    name: str = field(repr=False)
    kind: EntryKind
    size: int
    version: str = field(repr=False)
    """Changes with the content: time, or entity tag and time."""
    changed: float
    """Seconds since 1970 by the server's clock; 0 where it has none for it."""


class Store(Protocol):
    """What a channel needs of a server. Paths are relative to the connection's root and parted by ``/``.

    Every method raises NotYet where the server is out of reach, LinkarmsError where it does not accept us or is not
    the one that it should be, and PermissionError where the account lacks a right; no message has a path in it.
    """

    def list_folder(self, path: str, most: int) -> list[Entry]:
        """At most ``most`` entries of a folder, in no order; none where there is no folder."""
        ...

    def look(self, path: str) -> Entry | None:
        """One entry, links not followed; None where there is none."""
        ...

    def read(self, path: str, entry: Entry) -> Iterator[bytes]:
        """A file's content, never more than the entry's size. NotYet where it is another file by now."""
        ...

    def get(self, path: str, most: int) -> bytes | None:
        """A small file of ours; None where it is missing or larger than that."""
        ...

    def put(self, path: str, content: bytes) -> None:
        """Writes a file whole or not at all, and the folders above it."""
        ...

    def move(self, source: str, target: str, until: float, note: str) -> bool:
        """Moves a file or folder; False where the server does not let us. What was changed after ``until`` stays.

        Where that takes several steps, what is to be done is first written to ``note``."""
        ...

    def finish_moves(self, notes: str) -> None:
        """Ends what a killed run had begun to move, by the notes in this folder."""
        ...

    def remove(self, path: str) -> None:
        """Removes a file, or a folder with all in it; nothing happens where there is none."""
        ...


@dataclass(frozen=True)
class _Survey:
    """A drop as it lies on the server."""

    kind: DropKind
    reference: str
    changed: float
    flagged: bool
    entries: tuple[tuple[tuple[str, ...], Entry], ...] = field(repr=False)
    """Path within the drop, and entry; for a single file the path is empty."""
    too_many: bool
    too_deep: bool


@dataclass(frozen=True)
class RemoteChannel:
    """A partner's ``inbox`` and ``outbox`` on a server; see :class:`intake.channels.folder.FolderChannel` for what
    lies in them and how names are read."""

    store: Store
    seen: Path
    """A file of ours that keeps when each waiting drop was first seen."""
    quiet_seconds: float = 30.0
    limits: Limits = field(default_factory=Limits)

    def list_drops(self, now: datetime) -> tuple[Drop, ...]:
        """All drops in the inbox, oldest first, but for those that were settled where they lie."""
        with _explained("read its inbox"):
            self.store.finish_moves(f"inbox/{SETTLED}/{_MOVING}")
            stayed = {entry.name for entry in self.store.list_folder(f"inbox/{SETTLED}/{_STAYED}", _MOST_DROPS)}
            surveys = [(name, survey) for name, survey in self._survey_all() if survey.reference not in stayed]
        first_seen = self._remember([survey.reference for _, survey in surveys], now)
        drops = [
            Drop(
                reference=survey.reference,
                kind=survey.kind,
                ready=survey.flagged or (now - first_seen[survey.reference]).total_seconds() >= self.quiet_seconds,
                changed_at=datetime.fromtimestamp(survey.changed, tz=UTC),
                name=name,
            )
            for name, survey in surveys
        ]
        return tuple(sorted(drops, key=lambda drop: (drop.changed_at, drop.reference)))

    def find_drop(self, reference: str, now: datetime) -> Drop:
        """The drop of that reference; :class:`NotYet` where it has changed or gone since it was listed."""
        for drop in self.list_drops(now):
            if drop.reference == reference:
                return drop
        raise NotYet(f"{check_name(reference)} has changed or gone since it was listed; list the inbox again")

    def fetch(self, drop: Drop, destination: Path) -> FetchedDrop:
        """A copy of the drop below ``destination``, which is private to this account.

        What is larger than the limits, or cannot be taken in for its kind, is not fetched: the fault says why. Names
        that no local file can have are replaced by one that is refused when the drop is taken in. :class:`NotYet`
        where the drop changes or goes while it is read.
        """
        with _explained("read its inbox"):
            survey = self._survey(drop.name, frozenset())
            if survey is None or survey.reference != drop.reference:
                raise _changed()
            if survey.kind is DropKind.OTHER and not survey.entries:
                raise NotYet("the drop may not be read by the account of the channel; mend its permissions")
            path = destination / f"content{ENDINGS.get(survey.kind, '')}"
            fault = self._fault(survey)
            if fault is not None:
                return FetchedDrop(path, drop.name, fault)
            destination.mkdir(parents=True, exist_ok=True, mode=0o700)
            if survey.kind is DropKind.FOLDER:
                path.mkdir(mode=0o700)
            for number, (parts, entry) in enumerate(survey.entries):
                self._copy(f"inbox/{'/'.join((drop.name, *parts))}", entry, _local_place(path, parts, number))
            again = self._survey(drop.name, frozenset())
            if again is None or again.reference != drop.reference:
                raise _changed()
        return FetchedDrop(path, drop.name)

    def put_out(self, name: str, content: bytes) -> str:
        """Writes ``outbox/<name>`` whole or not at all; ``name`` may have folders in it."""
        path = "/".join(("outbox", *(check_name(part) for part in name.split("/"))))
        with _explained("write to its outbox"):
            self.store.put(path, content)
        return path

    def take_back(self, name: str) -> None:
        """Removes ``outbox/<name>``; nothing happens where there is none."""
        path = "/".join(("outbox", *(check_name(part) for part in name.split("/"))))
        with _explained("remove from its outbox"):
            self.store.remove(path)

    def settle(self, drop: Drop, settled_id: str, outcome: str, on: date) -> None:
        """Moves the drop to ``inbox/settled/<settled_id>/`` and notes outcome and day beside it, the note first.

        Where the server does not let it be moved, it stays and is not listed again until it changes.
        """
        folder = f"inbox/{SETTLED}/{check_name(settled_id)}"
        with _explained("move settled drops"):
            for path in (f"inbox/{SETTLED}", folder):
                if (there := self.store.look(path)) is not None and there.kind is not EntryKind.FOLDER:
                    raise LinkarmsError("the inbox's place for settled drops is not a folder; replace it by one")
            self.store.finish_moves(f"inbox/{SETTLED}/{_MOVING}")
            survey = self._survey(drop.name, frozenset())
            if survey is not None and survey.reference != drop.reference:
                return
            self.store.put(f"{folder}/{NOTE}", write_note(outcome, on))
            # The flags before the drop: one left behind would call the next drop of that name complete.
            for flag in flag_names(drop.name):
                self._remove_flag(flag)
            if survey is not None and not self._move(drop, folder, survey, settled_id):
                self.store.put(f"inbox/{SETTLED}/{_STAYED}/{drop.reference}", write_note(outcome, on))

    def remove_expired(self, today: date, inbox_days: int) -> int:
        """Deletes what was settled ``inbox_days`` ago or earlier; returns how many settled entries are gone.

        The note goes last, so that what a killed run has half deleted is found and finished.
        """
        with _explained("read its inbox"):
            self.store.finish_moves(f"inbox/{SETTLED}/{_MOVING}")
            settled = self.store.list_folder(f"inbox/{SETTLED}", _MOST_DROPS)
        removed = 0
        for entry in sorted(settled, key=lambda entry: entry.name):
            if entry.kind is not EntryKind.FOLDER or not is_own_name(entry.name):
                continue
            try:
                removed += self._remove_settled(entry, today, inbox_days)
            except PermissionError:
                _warn_kept(entry.name)
        if any(entry.name == _STAYED for entry in settled):
            self._remove_stayed(today, inbox_days)
        return removed

    # --- parts --------------------------------------------------------------------------------------------------------

    def _survey_all(self) -> Iterator[tuple[str, _Survey]]:
        entries = self.store.list_folder("inbox", _MOST_DROPS)
        if len(entries) >= _MOST_DROPS:
            _log.warning("the inbox holds more than %d entries; the others wait", _MOST_DROPS)
        names = frozenset(entry.name for entry in entries)
        for entry in sorted(entries, key=lambda entry: entry.name):
            if is_drop(entry.name) and (survey := self._survey(entry.name, names, entry)) is not None:
                yield entry.name, survey

    def _survey(self, name: str, names: frozenset[str], entry: Entry | None = None) -> _Survey | None:
        entry = entry or self.store.look(f"inbox/{name}")
        if entry is None:
            return None
        flagged = any(flag in names for flag in flag_names(name))
        kind = file_kind(name) if entry.kind is EntryKind.FILE else DropKind.OTHER
        entries: list[tuple[tuple[str, ...], Entry]] = [((), entry)]
        too_many = too_deep = False
        if entry.kind is EntryKind.FOLDER:
            kind = DropKind.FOLDER
            try:
                entries, too_many, too_deep = self._walk(name)
            except PermissionError:  # listed all the same, so that its neighbours go on
                kind, entries = DropKind.OTHER, []
            if not entries and entry.changed == 0:
                return None  # object storage has no empty folders: it went while we looked
        digest = hashlib.sha256()
        changed = entry.changed
        kept: list[tuple[tuple[str, ...], Entry]] = []
        for parts, inner in entries:
            changed = max(changed, inner.changed)
            if "/".join(parts).lower() == READY:
                flagged = True
                continue
            kept.append((parts, inner))
            if inner.kind is EntryKind.FILE:
                digest.update(json.dumps(["/".join(parts) or ".", inner.size, inner.version]).encode())
        digest.update(json.dumps(["drop", name]).encode())
        reference = f"drop-{digest.hexdigest()[:20]}"
        return _Survey(kind, reference, changed, flagged, tuple(kept), too_many, too_deep)

    def _walk(self, name: str) -> tuple[list[tuple[tuple[str, ...], Entry]], bool, bool]:
        """Everything below a folder, in order of path; whether there is more, and whether it goes deeper."""
        found: list[tuple[tuple[str, ...], Entry]] = []
        waiting: list[tuple[str, ...]] = [()]
        too_deep = False
        while waiting:
            parts = waiting.pop()
            left = MOST_ENTRIES - len(found)
            entries = self.store.list_folder(f"inbox/{'/'.join((name, *parts))}", left + 1)
            for entry in sorted(entries, key=lambda entry: entry.name)[:left]:
                found.append(((*parts, entry.name), entry))
                if entry.kind is EntryKind.FOLDER:
                    if len(parts) >= _MOST_DEPTH:
                        too_deep = True
                    else:
                        waiting.append((*parts, entry.name))
            if len(entries) > left:
                return sorted(found, key=lambda pair: pair[0]), True, too_deep
        return sorted(found, key=lambda pair: pair[0]), False, too_deep

    def _fault(self, survey: _Survey) -> str | None:
        """Why a drop need not be fetched, by what the server says of it."""
        if survey.kind is DropKind.OTHER:
            plain = [entry.kind is EntryKind.FILE for _, entry in survey.entries]
            return "drop.kind" if plain == [True] else "drop.link"
        if survey.too_deep:
            return "drop.too_deep"
        files = [entry for parts, entry in survey.entries if entry.kind is EntryKind.FILE and not _is_litter(parts)]
        if survey.too_many or len(files) > self.limits.max_files + 1:  # and the manifest
            return "drop.too_many_files"
        return "drop.too_large" if sum(entry.size for entry in files) > self.limits.max_total_bytes else None

    def _copy(self, path: str, entry: Entry, target: Path | None) -> None:
        if target is None:
            return
        if entry.kind is EntryKind.FOLDER:
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if entry.kind is EntryKind.OTHER:
            target.symlink_to("not-fetched")  # leads nowhere; taking in tells that there is a link
            return
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        left = entry.size
        with os.fdopen(descriptor, "wb") as sink:
            for block in self.store.read(path, entry):
                left -= len(block)
                if left < 0:
                    raise _changed()
                sink.write(block)
        if left:
            raise _changed()
        os.utime(target, (entry.changed, entry.changed))

    def _move(self, drop: Drop, folder: str, survey: _Survey, settled_id: str) -> bool:
        names = {entry.name for entry in self.store.list_folder(folder, _MOST_DROPS)}
        ending = ENDINGS.get(drop.kind, "")
        number, name = 1, f"content{ending}"
        while name in names:
            number += 1
            name = f"content-{number}{ending}"
        note = f"inbox/{SETTLED}/{_MOVING}/{settled_id}"
        # Of a drop that was not looked through to its end the last change is not known.
        until = _EVER if survey.too_deep or survey.too_many else survey.changed
        return self.store.move(f"inbox/{drop.name}", f"{folder}/{name}", until, note)

    def _remove_flag(self, flag: str) -> None:
        try:
            self.store.remove(f"inbox/{flag}")
        except PermissionError:  # a flag without its drop does nothing
            _log.warning("a flag '.%s' in the inbox of a settled drop cannot be deleted", READY)

    def _remove_settled(self, entry: Entry, today: date, inbox_days: int) -> int:
        folder = f"inbox/{SETTLED}/{entry.name}"
        note = self.store.get(f"{folder}/{NOTE}", _MOST_NOTE)
        inner = self.store.list_folder(folder, _MOST_DROPS)
        latest = max((each.changed for each in (entry, *inner)), default=0.0)
        day = noted_day(read_note(note or b"")) or (datetime.fromtimestamp(latest, tz=UTC).date() if latest else today)
        if (today - day).days < inbox_days:
            return 0
        for each in inner:
            if each.name != NOTE:
                self.store.remove(f"{folder}/{each.name}")
        self.store.remove(folder)
        return 1

    def _remove_stayed(self, today: date, inbox_days: int) -> None:
        """Deletes expired drops that stayed in the inbox; a note goes when its drop is gone or has changed."""
        place = f"inbox/{SETTLED}/{_STAYED}"
        here = {survey.reference: name for name, survey in self._survey_all()}
        for entry in self.store.list_folder(place, _MOST_DROPS):
            day = noted_day(read_note(self.store.get(f"{place}/{entry.name}", _MOST_NOTE) or b""))
            if entry.name in here and day is not None and (today - day).days < inbox_days:
                continue
            try:
                if entry.name in here:
                    self.store.remove(f"inbox/{here[entry.name]}")
                self.store.remove(f"{place}/{entry.name}")
            except PermissionError:
                _warn_kept(entry.name)

    def _remember(self, references: Sequence[str], now: datetime) -> dict[str, datetime]:
        """When each of these was first seen; all others are forgotten."""
        try:
            known = json.loads(self.seen.read_bytes())
            before = {str(reference): datetime.fromisoformat(moment) for reference, moment in known.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            before = {}
        # A moment that is still to come is a clock's that was wrong.
        after = {reference: min(before.get(reference, now), now) for reference in references}
        if after != before:
            self.seen.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({reference: moment.isoformat() for reference, moment in sorted(after.items())})
            # Steps of two submissions may look at once: each has a draft of its own, and the last one stays.
            draft = self.seen.with_name(f".{self.seen.name}.{os.getpid()}")
            write_whole(draft, text.encode())
            draft.replace(self.seen)
        return after


def _local_place(root: Path, parts: tuple[str, ...], number: int) -> Path | None:
    """Where a file of a drop is put; None for what is never taken."""
    if _is_litter(parts):
        return None
    if all(_is_harmless(part) for part in parts):
        return root.joinpath(*parts)
    return root / f"unusable!{number}.csv"  # a name that is refused


def _is_harmless(name: str) -> bool:
    """Whether a local file can have this name and lie where it should."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        return False
    return len(name.encode("utf-8", "surrogateescape")) <= _LONGEST_NAME


def _is_litter(parts: tuple[str, ...]) -> bool:
    return any(is_litter(part) for part in parts)


def _changed() -> NotYet:
    return NotYet("the drop changed while it was read; it will be taken when it has come to rest")


def _warn_kept(name: str) -> None:
    which = name if is_settled_id(name) else "an entry"
    _log.warning("%s in '%s' has expired and cannot be deleted; give the account the right to delete", which, SETTLED)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """What a server's refusal and a file that went mean to whoever runs the intake."""
    try:
        yield
    except PermissionError:
        raise LinkarmsError(
            f"The account of the partner's channel may not {what}. Have it given the right to list, read, write, "
            "rename and delete below the channel's root."
        ) from None
    except FileNotFoundError:
        raise NotYet("Something in the inbox went while it was looked at; list the inbox again.") from None
