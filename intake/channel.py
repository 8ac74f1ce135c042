"""Where extracts come from and where receipts go.

A :class:`Channel` is one partner's way in and out. :class:`FolderChannel` is the one for a folder on a disk or share;
a channel for SFTP or object storage keeps the same promises: a drop is listed with a reference that changes when its
content changes, fetching gives a local path, and settling takes the drop out of the way without deleting it.

The names in an inbox are chosen by the partner and may hold anything, a client's name included. They are therefore
never part of our own file names, and of our messages only where they look like a period (:attr:`Drop.display`).
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from protocol.errors import LinkarmsError, NotYet

_log = logging.getLogger(__name__)

SETTLED = "settled"
READY = "ready"
IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""What operating systems leave behind in folders and archives, in lower case."""

_PERIOD_LIKE = re.compile(r"\d{4}([-_ ]?(Q[1-4]|[01]\d))?", re.ASCII)
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_SETTLED_ID = re.compile(r"(sub|drop)-[0-9a-f]{20}", re.ASCII)
_NOTE = "settled.json"
_STAYED = "content_stayed"
"""Entry of the note: references of drops whose content could not be moved and stayed in the inbox."""
_REFUSED = frozenset({errno.EACCES, errno.EPERM})
_MOST_ENTRIES = 5000
"""Entries of a drop that are looked at when listing. A drop with more is refused when it is taken in."""


class DropKind(StrEnum):
    """What lies in the inbox."""

    FOLDER = "folder"
    ARCHIVE = "archive"
    OTHER = "other"
    """Neither a folder nor a .zip, such as a lone .csv or a link: refused with a finding when it is taken in."""


@dataclass(frozen=True)
class Drop:
    """One folder or archive in a partner's inbox, as it was when it was listed."""

    reference: str
    """``drop-`` and 20 hexadecimal digits, from name, sizes and times: a drop that changes is another drop."""
    kind: DropKind
    ready: bool
    """True when the partner has flagged it or nothing in it has changed for the channel's quiet time."""
    changed_at: datetime
    """Last change of anything in it, UTC."""
    name: str = field(repr=False)
    """The partner's own name for it. Not for messages or file names."""

    @property
    def display(self) -> str:
        """A form for messages: the name where it looks like a period, else the reference."""
        return self.stem if _PERIOD_LIKE.fullmatch(self.stem) else self.reference

    @property
    def stem(self) -> str:
        """The name without ``.zip``."""
        return drop_stem(self.name)


@dataclass(frozen=True)
class FetchedDrop:
    """A drop's content on a local disk."""

    path: Path = field(repr=False)
    name: str = field(repr=False)
    """The partner's own name for it; a remote channel gives the local copy another one."""

    @property
    def stem(self) -> str:
        """The name without ``.zip``."""
        return drop_stem(self.name)


class Channel(Protocol):
    """One partner's way in and out."""

    def list_drops(self, now: datetime) -> tuple[Drop, ...]:
        """All drops in the inbox, oldest first, the ready and the unready ones."""
        ...

    def find_drop(self, reference: str, now: datetime) -> Drop:
        """The drop of that reference; :class:`NotYet` where it has changed or gone since it was listed."""
        ...

    def fetch(self, drop: Drop, destination: Path) -> FetchedDrop:
        """The drop's content as a local path; ``destination`` is used where it has to be brought from elsewhere."""
        ...

    def put_out(self, name: str, content: bytes) -> str:
        """Puts a file into the partner's outbox, whole or not at all; returns where it lies."""
        ...

    def take_back(self, name: str) -> None:
        """Removes a file from the partner's outbox; nothing happens where there is none."""
        ...

    def settle(self, drop: Drop, settled_id: str, outcome: str, on: date) -> None:
        """Takes a decided drop out of the way; doing it again changes nothing, nor does it where the drop has changed
        since it was listed. Where the content cannot be moved, it is noted and not listed again."""
        ...

    def remove_expired(self, today: date, inbox_days: int) -> int:
        """Deletes what was settled ``inbox_days`` ago or earlier; returns how many settled entries are gone.

        What cannot be deleted is told in the log and tried again the next time."""
        ...


@dataclass(frozen=True)
class FolderChannel:
    """A partner's inbox and outbox as two folders.

    ``inbox/<drop>`` waits, ``inbox/settled/<id>/`` is decided and waits for retention. Names with a leading dot or
    ending in ``.part`` are still being written and are passed over. A drop is ready when it holds a file ``ready``,
    when ``<drop>.ready`` lies beside it, or when nothing in it has changed for ``quiet_seconds``; the time of change
    is the file system's own (ctime), because copying tools set the modification time to what they like.
    """

    inbox: Path
    outbox: Path
    quiet_seconds: float = 30.0

    def list_drops(self, now: datetime) -> tuple[Drop, ...]:
        """All drops in the inbox, oldest first. An inbox that does not exist yet is empty.

        A drop that was settled where it lies (see :meth:`settle`) is passed over until it changes.
        """
        stayed = self._stayed()
        drops = [drop for drop in self._look_at_all(now) if drop.reference not in stayed]
        return tuple(sorted(drops, key=lambda drop: (drop.changed_at, drop.reference)))

    def find_drop(self, reference: str, now: datetime) -> Drop:
        """The drop of that reference; :class:`NotYet` where it has changed or gone since it was listed."""
        for drop in self.list_drops(now):
            if drop.reference == reference:
                return drop
        raise NotYet(f"{_checked_name(reference)} has changed or gone since it was listed; list the inbox again")

    def fetch(self, drop: Drop, destination: Path) -> FetchedDrop:  # noqa: ARG002 (it is local already)
        """The drop where it lies; nothing is copied, since taking in copies it."""
        return FetchedDrop(path=self.inbox / drop.name, name=drop.name)

    def put_out(self, name: str, content: bytes) -> str:
        """Writes ``outbox/<name>`` under a temporary name and renames it; ``name`` may have folders in it."""
        parts = name.split("/")
        target = self.outbox.joinpath(*(_checked_name(part) for part in parts))
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(target, content)
        return str(target)

    def take_back(self, name: str) -> None:
        """Removes ``outbox/<name>``; nothing happens where there is none."""
        self.outbox.joinpath(*(_checked_name(part) for part in name.split("/"))).unlink(missing_ok=True)

    def settle(self, drop: Drop, settled_id: str, outcome: str, on: date) -> None:
        """Moves the drop to ``settled/<settled_id>/`` by renaming it, and notes outcome and day beside it.

        The note is written first, so that retention finds whatever is moved. The id is a submission's or, where it
        never came to one, the drop's reference. The same content settled before stays; this copy goes beside it.
        A drop that has changed since it was listed is left as it is: what lies there now was not decided.

        A folder that another account owns may refuse to be moved, since that takes the right to write in it. It then
        stays where it is, and the note holds its reference, by which it is not listed again.
        """
        settled = self.inbox / SETTLED
        folder = settled / _checked_name(settled_id)
        try:
            again = self._look(drop.name, frozenset(), drop.changed_at)
            if again is not None and again.reference != drop.reference:
                return
            for path in (settled, folder):
                if path.is_symlink():
                    raise LinkarmsError("the inbox's folder for settled drops is a link; replace it by a folder")
                path.mkdir(parents=True, exist_ok=True)
            earlier = _stayed_in(folder) - {drop.reference}
            _write_note(folder, outcome, on, earlier)
            if again is not None and not _move(self.inbox / drop.name, folder, drop.kind):
                _write_note(folder, outcome, on, earlier | {drop.reference})
            for flag in _flag_names(drop.name):
                _remove_flag(self.inbox / flag)
        except OSError as error:
            raise NotYet(f"{drop.display} cannot be moved to '{SETTLED}': {_reason(error)}") from None

    def remove_expired(self, today: date, inbox_days: int) -> int:
        """Deletes what was settled ``inbox_days`` ago or earlier; returns how many settled entries are gone.

        An entry is renamed before it is deleted, so that one half deleted is never taken for a whole one. The note of
        a drop that stayed in the inbox goes when the drop is gone or can be deleted now. What cannot be deleted is
        told in the log, without names of the partner's, and tried again the next time.
        """
        settled = self.inbox / SETTLED
        if settled.is_symlink() or not settled.is_dir():
            return 0
        removed = 0
        for name in sorted(_names(settled)):
            try:
                removed += self._remove_settled(settled / name, today, inbox_days)
            except (OSError, RecursionError) as error:  # rmtree recurses before Python 3.13
                which = name if _SETTLED_ID.fullmatch(name) else "an entry"
                _log.warning(
                    "%s in '%s' has expired and cannot be deleted: %s; mend its permissions or delete it by hand",
                    which,
                    SETTLED,
                    _reason(error) if isinstance(error, OSError) else "its folders are nested too deeply",
                )
        return removed

    def _remove_settled(self, folder: Path, today: date, inbox_days: int) -> int:
        """1 where a settled entry has expired and is gone now, else 0."""
        if folder.is_symlink() or not folder.is_dir():
            return 0
        if folder.name.startswith(".removing-"):
            _remove(folder)
            return 0
        if not _OWN_NAME.fullmatch(folder.name) or (today - _settled_on(folder)).days < inbox_days:
            return 0
        self._fetch_stayed(folder)
        doomed = _free_name(folder.parent, f".removing-{folder.name}", "")
        folder.rename(doomed)
        _remove(doomed)
        return 1

    def _fetch_stayed(self, folder: Path) -> None:
        """Moves what stayed in the inbox into its settled folder; the OSError of the last one that still refuses.

        Where one refuses, the rest of the settled folder is deleted all the same, but for the note.
        """
        stayed = _stayed_in(folder)
        if not stayed:
            return
        refused: OSError | None = None
        for drop in self._look_at_all(datetime.fromtimestamp(0, tz=UTC)):
            if drop.reference in stayed:
                try:
                    (self.inbox / drop.name).rename(_free_content(folder, drop.kind))
                except OSError as error:
                    refused = error
        if refused is not None:
            for name in _names(folder) - {_NOTE}:
                _remove(folder / name)
            raise refused

    def _stayed(self) -> frozenset[str]:
        """References of all drops that were settled where they lie."""
        settled = self.inbox / SETTLED
        if settled.is_symlink() or not settled.is_dir():
            return frozenset()
        return frozenset().union(*(_stayed_in(settled / name) for name in _names(settled) if _OWN_NAME.fullmatch(name)))

    def _look_at_all(self, now: datetime) -> Iterator[Drop]:
        """All drops in order of name, those that were settled where they lie included."""
        names = _names(self.inbox)
        for name in sorted(names):
            if _is_drop(name) and (drop := self._look(name, names, now)) is not None:
                yield drop

    def _look(self, name: str, names: frozenset[str], now: datetime) -> Drop | None:
        path = self.inbox / name
        digest = hashlib.sha256()
        latest = 0.0
        flagged = any(flag in names for flag in _flag_names(name))
        try:
            kind = _kind(path)
            for count, (relative, status) in enumerate(_walk(path)):
                latest = max(latest, status.st_ctime)
                if relative.lower() == READY:
                    flagged = True
                elif stat.S_ISREG(status.st_mode):
                    digest.update(json.dumps([relative, status.st_size, status.st_mtime_ns]).encode())
                if count >= _MOST_ENTRIES:
                    break
        except (FileNotFoundError, NotADirectoryError):
            return None  # It went while we looked; the next listing sees what is there then.
        except OSError:
            # It may not be read, or is nested deeper than a path can be long. Listed all the same, so that its
            # neighbours go on: taking it in says what to mend.
            kind = DropKind.OTHER
        digest.update(json.dumps(["drop", name]).encode())
        return Drop(
            reference=f"drop-{digest.hexdigest()[:20]}",
            kind=kind,
            ready=flagged or now.timestamp() - latest >= self.quiet_seconds,
            changed_at=datetime.fromtimestamp(latest, tz=UTC),
            name=name,
        )


def drop_stem(name: str) -> str:
    """A drop's name without ``.zip``."""
    return name[: -len(".zip")] if name.lower().endswith(".zip") else name


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 (names are wanted, not paths)
    except FileNotFoundError:
        return frozenset()


def _is_drop(name: str) -> bool:
    lower = name.lower()
    hidden = lower.startswith(".") or lower.endswith((".part", f".{READY}"))
    return not hidden and lower not in {SETTLED, READY} and lower not in IGNORED_NAMES


def _flag_names(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((f"{name}.{READY}", f"{drop_stem(name)}.{READY}")))


def _kind(path: Path) -> DropKind:
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        return DropKind.FOLDER
    if stat.S_ISREG(mode) and path.name.lower().endswith(".zip"):
        return DropKind.ARCHIVE
    return DropKind.OTHER


def _walk(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The entry itself, as ``.``, and everything below it in order of name, links not followed."""
    status = path.lstat()
    yield ".", status
    waiting = [("", path)] if stat.S_ISDIR(status.st_mode) else []
    while waiting:
        prefix, folder = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                inner = entry.stat(follow_symlinks=False)
                yield prefix + entry.name, inner
                if stat.S_ISDIR(inner.st_mode):
                    waiting.append((f"{prefix}{entry.name}/", Path(entry.path)))


def _remove(path: Path) -> None:
    """Deletes a file, a link or a folder with all that can be deleted of it; OSError where something stays."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)
    if _exists(path):
        shutil.rmtree(path)


def _move(source: Path, folder: Path, kind: DropKind) -> bool:
    """False where the system refuses to let it be moved."""
    try:
        source.rename(_free_content(folder, kind))
    except OSError as error:
        if error.errno in _REFUSED:
            return False
        raise
    return True


def _remove_flag(flag: Path) -> None:
    try:
        flag.unlink(missing_ok=True)
    except PermissionError:
        # Another account's, in a folder where only the owner may delete. A flag without its drop does nothing.
        _log.warning("a flag '.%s' in the inbox of a settled drop cannot be deleted", READY)


def _reason(error: OSError) -> str:
    """Why, without the partner's file names that the error's own text has."""
    return os.strerror(error.errno or 0)


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _free_content(folder: Path, kind: DropKind) -> Path:
    return _free_name(folder, "content", ".zip" if kind is DropKind.ARCHIVE else "")


def _free_name(folder: Path, stem: str, ending: str) -> Path:
    number = 1
    while True:
        candidate = folder / (f"{stem}{ending}" if number == 1 else f"{stem}-{number}{ending}")
        if not _exists(candidate):
            return candidate
        number += 1


def _write_note(folder: Path, outcome: str, on: date, stayed: frozenset[str]) -> None:
    note: dict[str, object] = {"outcome": outcome, "on": on.isoformat()}
    if stayed:
        note[_STAYED] = sorted(stayed)
    _write_atomically(folder / _NOTE, json.dumps(note, sort_keys=True).encode())


def _read_note(folder: Path) -> dict[str, object]:
    """The note, or nothing where it is missing or was tampered with."""
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _stayed_in(folder: Path) -> frozenset[str]:
    """References of the drops that were settled under this id and stayed in the inbox."""
    stayed = _read_note(folder).get(_STAYED)
    return frozenset(str(reference) for reference in stayed) if isinstance(stayed, list) else frozenset()


def _settled_on(folder: Path) -> date:
    """The day in the note, or the folder's own where the note is missing or was tampered with."""
    try:
        return date.fromisoformat(str(_read_note(folder)["on"]))
    except (ValueError, KeyError):
        return datetime.fromtimestamp(folder.lstat().st_mtime, tz=UTC).date()


def _checked_name(name: str) -> str:
    if not _OWN_NAME.fullmatch(name):
        raise ValueError("a name for a channel is made of letters, digits, dot, dash and underscore")
    return name


def _write_atomically(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".{target.name}.part")
    temporary.unlink(missing_ok=True)
    # O_EXCL: a link that somebody put there in between is not followed.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(target)
