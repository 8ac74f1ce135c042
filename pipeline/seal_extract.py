"""Packing an extract and sealing it in one stream, with what a data officer has installed and ``cryptography``."""

import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

from intake.channels.channel import READY, is_litter
from protocol.errors import LinkarmsError

if TYPE_CHECKING:
    from pseudonymise.sealing import PublicKey

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_QUICK = 1
"""Tokens hardly get smaller, however long one tries."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The day that every file in the archive has, so that the same files give the same archive."""


@dataclass(frozen=True)
class SealedExtract:
    """What :func:`seal_extract` made."""

    path: Path
    key_id: str
    files: int
    size: int


def seal_extract(extract: Path, public_key_file: Path, out: Path | None = None) -> SealedExtract:
    """Seal a folder, a .zip or a .xlsx into one file.

    A folder and a workbook are packed on the way; a .zip is sealed as it is. The envelope is written under a temporary
    name and renamed. Raises LinkarmsError where the extract is none of these, holds a link or folders, or cannot be
    read, where the key is not one, or where ``cryptography`` is missing.
    """
    key = read_public_key(public_key_file)
    try:
        write, files = _plan(extract)
        if extract.name in ("", ".."):  # the folder that one is in, or the one above
            extract = extract.resolve()
        target = out or extract.with_name(f"{_stem(extract)}.sealed")
        size = _write(target, key, write)
    except OSError as error:
        raise LinkarmsError(
            f"The extract cannot be sealed: {os.strerror(error.errno or 0)}. Close it in other programs, check that "
            "you may read it and write beside it, and try again."
        ) from None
    return SealedExtract(target, key.id, files, size)


def read_public_key(path: Path) -> "PublicKey":
    """The hub's public key from the file that the coordinator gives out. Raises LinkarmsError where it is none, or
    ``cryptography`` is missing."""
    if find_spec("cryptography") is None:
        raise LinkarmsError('Sealing needs one more package. Install it with: pip install "linkarms[seal]"')
    from pseudonymise.sealing import PublicKey

    try:
        return PublicKey.parse(path.read_text(encoding="utf-8-sig"))  # as Windows' editor saves it
    except (OSError, UnicodeDecodeError):
        raise LinkarmsError(
            "The file with the hub's public key cannot be read. Name it with --to; the coordinator gives it out."
        ) from None


def write_sealed_archive(target: Path, key: "PublicKey", files: Iterable[tuple[str, bytes]]) -> int:
    """Pack files (name, content) and seal them in one stream, whole or not at all; gives the envelope's size. Raises
    LinkarmsError where it cannot be written."""

    def write(sink: IO[bytes]) -> None:
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files:
                archive.writestr(_entry(name), content, compresslevel=_QUICK)

    try:
        return _write(target, key, write)
    except OSError as error:
        raise LinkarmsError(
            f"The envelope cannot be written: {os.strerror(error.errno or 0)}. Name another place with --out."
        ) from None


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    return entry


def _stem(extract: Path) -> str:
    return extract.stem if extract.suffix.lower() in (".zip", ".xlsx") and not extract.is_dir() else extract.name


def _plan(extract: Path) -> tuple[Callable[[IO[bytes]], None], int]:
    """What writes the archive, and how many files are in it."""
    extract = extract.absolute()
    mode = extract.lstat().st_mode
    if stat.S_ISDIR(mode):
        files = _files(extract)
        return lambda sink: _pack(files, sink), len(files)
    if not stat.S_ISREG(mode):
        raise LinkarmsError("The extract is a link or no file. Name the folder, .zip or .xlsx itself.")
    if extract.suffix.lower() == ".xlsx":
        return lambda sink: _pack([extract], sink), 1
    if not zipfile.is_zipfile(extract):
        raise LinkarmsError("An extract is a folder, a .zip or a .xlsx, and this is none of them.")
    with zipfile.ZipFile(extract) as archive:
        count = sum(not entry.is_dir() for entry in archive.infolist())
    return lambda sink: _copy(extract, sink), count


def _files(folder: Path) -> list[Path]:
    """The files of a folder, in order of name, without what systems leave behind and the flag."""
    found = []
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        if is_litter(name) or name == READY:
            continue
        if not stat.S_ISREG(path.lstat().st_mode):
            raise LinkarmsError(
                "There is a folder or a link in the extract. Put the files themselves side by side, without folders, "
                "shortcuts or links."
            )
        found.append(path)
    if not found:
        raise LinkarmsError("There is nothing in the folder. Put the files and the manifest into it.")
    return found


def _pack(files: list[Path], sink: IO[bytes]) -> None:
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            with _open(path) as source, archive.open(_entry(path.name), "w") as packed:
                shutil.copyfileobj(source, packed, 1 << 20)


def _copy(archive: Path, sink: IO[bytes]) -> None:
    with _open(archive) as source:
        shutil.copyfileobj(source, sink, 1 << 20)


def _open(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDONLY | _NO_FOLLOW), "rb")


def _write(target: Path, key: "PublicKey", write: Callable[[IO[bytes]], None]) -> int:
    from pseudonymise.sealing import Sealer

    draft = target.with_name(f".{target.name}.part")
    try:
        with draft.open("wb") as sink:
            with Sealer(sink, key) as sealer:
                write(sealer)  # type: ignore[arg-type]
            sink.flush()
            os.fsync(sink.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target.stat().st_size
