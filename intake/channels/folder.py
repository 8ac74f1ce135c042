"""A partner's inbox and outbox as folders of a disk or share."""

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

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
    is_own_name,
    is_settled_id,
    noted_day,
    read_note,
    write_note,
    write_whole,
)
from protocol.errors import LinkarmsError, NotYet

_log = logging.getLogger(__name__)

_STAYED = "content_stayed"
"""Entry of the note: references of drops whose content could not be moved and stayed in the inbox."""
_REFUSED = frozenset({errno.EACCES, errno.EPERM})


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
        raise NotYet(f"{check_name(reference)} has changed or gone since it was listed; list the inbox again")

    def fetch(self, drop: Drop, destination: Path) -> FetchedDrop:  # noqa: ARG002 (it is local already)
        """The drop where it lies; nothing is copied, since taking in copies it."""
        return FetchedDrop(path=self.inbox / drop.name, name=drop.name)

    def put_out(self, name: str, content: bytes) -> str:
        """Writes ``outbox/<name>`` under a temporary name and renames it; ``name`` may have folders in it."""
        parts = name.split("/")
        target = self.outbox.joinpath(*(check_name(part) for part in parts))
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, content)
        return str(target)

    def take_back(self, name: str) -> None:
        """Removes ``outbox/<name>``; nothing happens where there is none."""
        self.outbox.joinpath(*(check_name(part) for part in name.split("/"))).unlink(missing_ok=True)

    def settle(self, drop: Drop, settled_id: str, outcome: str, on: date) -> None:
        """Moves the drop to ``settled/<settled_id>/`` by renaming it, and notes outcome and day beside it.

        The note is written first, so that retention finds whatever is moved. The id is a submission's or, where it
        never came to one, the drop's reference. The same content settled before stays; this copy goes beside it.
        A drop that has changed since it was listed is left as it is: what lies there now was not decided.

        A folder that another account owns may refuse to be moved, since that takes the right to write in it. It then
        stays where it is, and the note holds its reference, by which it is not listed again.
        """
        settled = self.inbox / SETTLED
        folder = settled / check_name(settled_id)
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
            # The flags before the drop: one left behind would call the next drop of that name complete.
            for flag in flag_names(drop.name):
                _remove_flag(self.inbox / flag)
            if again is not None and not _move(self.inbox / drop.name, folder, drop.kind):
                _write_note(folder, outcome, on, earlier | {drop.reference})
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
                which = name if is_settled_id(name) else "an entry"
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
        if not is_own_name(folder.name) or (today - _settled_on(folder)).days < inbox_days:
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
            for name in _names(folder) - {NOTE}:
                _remove(folder / name)
            raise refused

    def _stayed(self) -> frozenset[str]:
        """References of all drops that were settled where they lie."""
        settled = self.inbox / SETTLED
        if settled.is_symlink() or not settled.is_dir():
            return frozenset()
        return frozenset().union(*(_stayed_in(settled / name) for name in _names(settled) if is_own_name(name)))

    def _look_at_all(self, now: datetime) -> Iterator[Drop]:
        """All drops in order of name, those that were settled where they lie included."""
        names = _names(self.inbox)
        for name in sorted(names):
            if is_drop(name) and (drop := self._look(name, names, now)) is not None:
                yield drop

    def _look(self, name: str, names: frozenset[str], now: datetime) -> Drop | None:
        path = self.inbox / name
        digest = hashlib.sha256()
        latest = 0.0
        flagged = any(flag in names for flag in flag_names(name))
        try:
            kind = _kind(path)
            for count, (relative, status) in enumerate(_walk(path)):
                latest = max(latest, status.st_ctime)
                if relative.lower() == READY:
                    flagged = True
                elif stat.S_ISREG(status.st_mode):
                    digest.update(json.dumps([relative, status.st_size, status.st_mtime_ns]).encode())
                if count >= MOST_ENTRIES:
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


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 (names are wanted, not paths)
    except FileNotFoundError:
        return frozenset()


def _kind(path: Path) -> DropKind:
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        return DropKind.FOLDER
    return file_kind(path.name) if stat.S_ISREG(mode) else DropKind.OTHER


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
    return _free_name(folder, "content", ENDINGS.get(kind, ""))


def _free_name(folder: Path, stem: str, ending: str) -> Path:
    number = 1
    while True:
        candidate = folder / (f"{stem}{ending}" if number == 1 else f"{stem}-{number}{ending}")
        if not _exists(candidate):
            return candidate
        number += 1


def _write_note(folder: Path, outcome: str, on: date, stayed: frozenset[str]) -> None:
    more = {_STAYED: sorted(stayed)} if stayed else {}
    write_whole(folder / NOTE, write_note(outcome, on, **more))


def _read_note(folder: Path) -> dict[str, object]:
    """The note, or nothing where it is missing or was tampered with."""
    try:
        return read_note((folder / NOTE).read_bytes())
    except OSError:
        return {}


def _stayed_in(folder: Path) -> frozenset[str]:
    """References of the drops that were settled under this id and stayed in the inbox."""
    stayed = _read_note(folder).get(_STAYED)
    return frozenset(str(reference) for reference in stayed) if isinstance(stayed, list) else frozenset()


def _settled_on(folder: Path) -> date:
    """The day in the note, or the folder's own where the note is missing or was tampered with."""
    own = datetime.fromtimestamp(folder.lstat().st_mtime, tz=UTC).date()
    return noted_day(_read_note(folder)) or own
