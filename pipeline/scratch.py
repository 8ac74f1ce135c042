"""Room in memory for what may not rest on the disk: the content of sealed drops while a step works on it.

A scratch area is private to this account, belongs to one installation, and is removed when the step ends; what a
killed run left is removed by the next. Memory that the system swaps out is written to the swap's disk: switch swap off
or encrypt it.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.files import finish_removing, make_private, remove_folder, try_locked
from pipeline.settings import Settings
from protocol.errors import LinkarmsError

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (memory, and only a folder of our own in it)
_MOUNTS = Path("/proc/self/mounts")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_SET_IT = (
    "Set LINKARMS_SCRATCH to a folder on memory-backed storage (such as a tmpfs) that this account alone may read, "
    "with room for the largest extract unpacked, and run the intake again."
)


@contextmanager
def scratch(settings: Settings, name: str, needed: int) -> Iterator[Path]:
    """An empty private folder in memory, removed at the end.

    ``needed``: bytes that have to be free. Raises LinkarmsError where there is no such place or no room.
    """
    root = _root(settings)
    if shutil.disk_usage(root).free < needed:
        raise LinkarmsError(f"A sealed drop needs {needed >> 20:,} MB of memory-backed storage to be opened. {_SET_IT}")
    folder = root / name
    remove_folder(folder)
    try:
        yield make_private(folder)
    finally:
        remove_folder(folder)


def clear_scratch(settings: Settings, partner_id: str) -> None:
    """Remove what killed runs left: of this partner's drops, and of submissions that no step is working on.

    The caller holds the partner's lock."""
    try:
        root = _root(settings)
    except LinkarmsError:
        return  # there is no such place, so nothing is there
    finish_removing(root)
    for folder in root.iterdir():
        if folder.name.startswith(f"taking-{partner_id}-"):
            remove_folder(folder)
        elif folder.name.startswith("sub-"):
            with try_locked(settings.lock(folder.name)) as ours:
                if ours:
                    remove_folder(folder)


def _root(settings: Settings) -> Path:
    """The installation's own folder in memory, made where it is missing."""
    if settings.scratch_folder is not None:
        root = settings.scratch_folder
    elif _is_in_memory(_SHARED_MEMORY):
        home = hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:12]
        root = _SHARED_MEMORY / f"linkarms-{os.geteuid()}-{home}"
    else:
        raise LinkarmsError(f"Sealed drops are opened in memory alone, and no place for that was found. {_SET_IT}")
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = root.lstat()
    except OSError:
        raise LinkarmsError(f"The place in which sealed drops are opened cannot be used. {_SET_IT}") from None
    # Others may write in the folder above: what stands under our name has to be a folder of ours.
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
        raise LinkarmsError(f"The place in which sealed drops are opened belongs to another account. {_SET_IT}")
    root.chmod(0o700)
    return root


def _is_in_memory(folder: Path) -> bool:
    try:
        mounts = [line.split() for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return False
    return any(mount[1] == str(folder) and mount[2] in _IN_MEMORY for mount in mounts if len(mount) > 2)
