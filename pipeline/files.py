"""Writing files so that a killed process never leaves half of one, and working folders that only we can read."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write ``content`` under a temporary name beside ``path`` and rename it, so that readers see all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, content: Any, *, mode: int = 0o600) -> None:
    """Write ``content`` as JSON with sorted keys, atomically: the same content gives the same bytes."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    write_atomically(path, text.encode() + b"\n", mode=mode)


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def open_private(path: Path) -> BinaryIO:
    """Open a file for writing that this account alone can read, whatever the process's umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(descriptor, "wb")


def make_private(folder: Path) -> Path:
    """Make the folder, readable by this account alone, and return it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


@contextmanager
def fill_folder(folder: Path) -> Iterator[Path]:
    """A private folder to fill, which takes the place of ``folder`` when all is in it: one sees all of it or none."""
    staging = folder.with_name(f"{folder.name}.part")
    remove_folder(staging)
    yield make_private(staging)
    remove_folder(folder)
    staging.rename(folder)


_REMOVING = ".removing-"


def remove_folder(folder: Path) -> None:
    """Remove a folder with all in it; nothing happens where there is none.

    It is renamed first, so that one half removed is never taken for a whole one; see :func:`finish_removing`.
    """
    doomed = folder.with_name(f"{_REMOVING}{folder.name}")
    if folder.exists():
        _remove(doomed)
        folder.rename(doomed)
    _remove(doomed)


def finish_removing(parent: Path) -> None:
    """Remove what killed runs of :func:`remove_folder` left in a folder."""
    for doomed in parent.glob(f"{_REMOVING}*"):
        _remove(doomed)


def _remove(doomed: Path) -> None:
    while doomed.exists():
        try:
            shutil.rmtree(doomed)
        except FileNotFoundError:
            continue  # another run clears it as well


@contextmanager
def try_locked(path: Path) -> Iterator[bool]:
    """True, and others kept out, where no other process is in this place; else False at once."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process is in this place, and keep others out; a process that is killed lets go."""
    import fcntl  # Windows has none, and a data officer's check takes no lock

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
