"""What every channel is held to, whatever carries it: a partner's way in and out.

The names in an inbox are chosen by the partner and may hold anything, a client's name included. They are therefore
never part of our own file names, and of our messages only where they look like a period (:attr:`Drop.display`).
"""

import json
import os
import re
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

SETTLED = "settled"
READY = "ready"
NOTE = "settled.json"
"""Beside each settled drop: outcome and day."""
IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""What operating systems leave behind in folders and archives, in lower case."""
MOST_ENTRIES = 5000
"""Entries of a drop that are looked at when listing. A drop with more is refused when it is taken in."""

_PERIOD_LIKE = re.compile(r"\d{4}([-_ ]?(Q[1-4]|[01]\d))?", re.ASCII)
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_SETTLED_ID = re.compile(r"(sub|drop)-[0-9a-f]{20}", re.ASCII)


class DropKind(StrEnum):
    """What lies in the inbox."""

    FOLDER = "folder"
    ARCHIVE = "archive"
    WORKBOOK = "workbook"
    """A lone .xlsx with the tables as sheets."""
    SEALED = "sealed"
    """An envelope, .sealed, that only the hub's key opens; in it is an archive."""
    OTHER = "other"
    """None of these, such as a lone .csv or a link: refused with a finding when it is taken in."""


ENDINGS = {DropKind.ARCHIVE: ".zip", DropKind.WORKBOOK: ".xlsx", DropKind.SEALED: ".sealed"}
"""How the name of a drop that is one file ends, in lower case."""


@dataclass(frozen=True)
class Drop:
    """One folder or file in a partner's inbox, as it was when it was listed."""

    reference: str
    """``drop-`` and 20 hexadecimal digits, from name, sizes and times: a drop that changes is another drop."""
    kind: DropKind
    ready: bool
    """True when the partner has flagged it or nothing in it has changed for the channel's quiet time."""
    changed_at: datetime
    """Last change of anything in it, UTC, by the clock of whoever keeps it."""
    name: str = field(repr=False)
    """The partner's own name for it. Not for messages or file names."""

    @property
    def display(self) -> str:
        """A form for messages: the name where it looks like a period, else the reference."""
        return self.stem if _PERIOD_LIKE.fullmatch(self.stem) else self.reference

    @property
    def stem(self) -> str:
        """The name without the endings that say what kind of drop it is."""
        return drop_stem(self.name)


@dataclass(frozen=True)
class FetchedDrop:
    """A drop's content on a local disk."""

    path: Path = field(repr=False)
    name: str = field(repr=False)
    """The partner's own name for it; a remote channel gives the local copy another one."""
    fault: str | None = None
    """Code of the finding for which it was not fetched, such as ``drop.too_large``: there is nothing at the path."""

    @property
    def stem(self) -> str:
        """The name without the endings that say what kind of drop it is."""
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


# --- names ------------------------------------------------------------------------------------------------------------


def drop_stem(name: str) -> str:
    """A drop's name without ``.sealed``, and then without ``.zip`` or ``.xlsx``."""
    for endings in ((".sealed",), (".zip", ".xlsx")):
        for ending in endings:
            if name.lower().endswith(ending):
                name = name[: -len(ending)]
    return name


def file_kind(name: str) -> DropKind:
    """What a plain file of that name is."""
    lower = name.lower()
    return next((kind for kind, ending in ENDINGS.items() if lower.endswith(ending)), DropKind.OTHER)


def is_drop(name: str) -> bool:
    """False for what is still being written, for flags and settled drops, and for what systems leave behind."""
    lower = name.lower()
    return not is_litter(name) and not lower.endswith((".part", f".{READY}")) and lower not in {SETTLED, READY}


def is_litter(name: str) -> bool:
    """True for hidden files, for what operating systems leave behind, and for ``~$person.xlsx``, by which Excel marks
    that a workbook is open."""
    return (name.startswith((".", "~$")) and name != "..") or name.casefold() in IGNORED_NAMES


def flag_names(name: str) -> tuple[str, ...]:
    """Names of the files beside a drop that say that it is complete: with and without each of its endings."""
    shorter = name[: -len(".sealed")] if name.lower().endswith(".sealed") else name
    return tuple(dict.fromkeys(f"{each}.{READY}" for each in (name, shorter, drop_stem(name))))


def check_name(name: str) -> str:
    """A name of our own, refused (ValueError) where it could lead elsewhere."""
    if not _OWN_NAME.fullmatch(name):
        raise ValueError("a name for a channel is made of letters, digits, dot, dash and underscore")
    return name


def is_own_name(name: str) -> bool:
    """Whether it is a name that we give."""
    return bool(_OWN_NAME.fullmatch(name))


def is_settled_id(name: str) -> bool:
    """Whether it is a submission's id or a drop's reference, and so safe to be told."""
    return bool(_SETTLED_ID.fullmatch(name))


# --- notes ------------------------------------------------------------------------------------------------------------


def write_note(outcome: str, on: date, **more: object) -> bytes:
    """The text of a note."""
    return json.dumps({"outcome": outcome, "on": on.isoformat(), **more}, sort_keys=True).encode()


def read_note(content: bytes) -> dict[str, object]:
    """A note's entries, or nothing where it was tampered with."""
    try:
        note = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def noted_day(note: dict[str, object]) -> date | None:
    """The day in a note."""
    try:
        return date.fromisoformat(str(note["on"]))
    except (ValueError, KeyError):
        return None


def write_whole(target: Path, content: bytes) -> None:
    """Writes a local file under a temporary name and renames it, so that nobody sees half of it."""
    temporary = target.with_name(f".{target.name}.part")
    temporary.unlink(missing_ok=True)
    # O_EXCL: a link that somebody put there in between is not followed.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(target)
