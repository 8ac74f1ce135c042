"""Takes a drop into a private work folder: one copy that is bounded, unmoving and identified by its content.

Nothing of a drop is trusted. Sizes are counted while bytes flow and not taken from the archive's word, names never
become paths, links are not followed, archives within archives are not opened, and a drop that changes while it is
read is left for the next time.
"""

import errno
import hashlib
import json
import lzma
import os
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from io import FileIO
from pathlib import Path
from typing import IO, Any

from intake.channels.channel import READY, FetchedDrop, is_litter
from intake.workbook import WorkbookLimits, convert_workbook, read_manifest_sheet
from protocol.errors import NotYet
from protocol.finding import Finding, Scope
from protocol.model import Partner

_CHUNK = 1 << 20
_SAFE_CSV_NAME = re.compile(r"\w[\w .()&+-]{0,119}\.csv", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_WORKBOOK_ENDING = ".xlsx"
_WORKBOOK = "workbook.xlsx"
"""What a workbook counts as in the digest of the content: its own name says nothing."""
_MANIFEST_NAMES = frozenset({"manifest.yaml", "manifest.yml", "manifest.json"})
_MANIFEST_STARTS = ("manifest.txt", *(f"{name}." for name in sorted(_MANIFEST_NAMES)))
"""How a manifest is called that an editor saved as text."""
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A link is refused, and a pipe that poses as a file cannot make us wait."""
_ARCHIVE_FAULTS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    UnicodeError,
    ValueError,
    struct.error,
)
"""What the zip reader raises on an archive that is broken or of an unknown kind."""
_ARCHIVE_ERRNOS = frozenset({None, errno.EINVAL, errno.EOVERFLOW})
"""An OSError of these is the archive's fault, and reading it again ends alike: a place in it that no file can have,
or a decompressor's own complaint, which has no number. Any other is the disk's or that of the way to it."""
_MOST_DEPTH = 16
"""Folders within folders that are looked into, to say what lies there; none is taken."""
_SMALL = 1 << 20
"""Below this size a high ratio is no bomb."""


_INDEX = "index.json"
"""What :func:`open_taken` reads, beside the taken files (whose names are numbers)."""


@dataclass(frozen=True)
class Limits:
    """How much a drop may hold."""

    max_total_bytes: int = 2 << 30
    """Of all files together, unpacked."""
    max_files: int = 200
    max_ratio: float = 200.0
    """Unpacked over packed size; columns of repeated codes reach about 100."""
    max_manifest_bytes: int = 64 << 10
    workbook: WorkbookLimits = field(default_factory=WorkbookLimits)


@dataclass(frozen=True)
class TakenFile:
    """One file of a submission in the work folder."""

    name: str = field(repr=False)
    """The partner's own name for it, Unicode composed (NFC)."""
    path: Path
    """Where it lies; a number, never the partner's name."""
    size: int
    digest: str
    """SHA-256, hexadecimal."""
    sheet: int | None = None
    """Its place in the workbook, from 1, where it is a sheet; its name is then that of the sheet and ``.csv``."""
    hidden: bool = False
    """True for a sheet that a spreadsheet program does not show."""

    @property
    def stem(self) -> str:
        """The name in lower case without ``.csv``."""
        return self.name.casefold().removesuffix(".csv")


@dataclass(frozen=True)
class TakenDrop:
    """A drop's files in the work folder, and what identifies them."""

    folder: Path
    partner_id: str
    submission_id: str
    """``sub-`` and 20 hexadecimal digits of SHA-256 over partner, manifest and files: the same submission has the
    same id, as folder or as archive and in any order of its files."""
    content_digest: str
    """SHA-256 over manifest and files, hexadecimal."""
    files: tuple[TakenFile, ...]
    """The .csv files in order of name, and then the workbook's sheets in its own order."""
    manifest: TakenFile | None
    changed_on: date
    """The latest day on which one of its files was changed, by the files' own times."""
    stem: str = field(repr=False)
    """The drop's name without ``.zip`` or ``.xlsx``."""
    workbook_digest: str | None = None
    """SHA-256 of the workbook whose sheets are among the files."""

    def file(self, name: str) -> TakenFile | None:
        """The file of that name, whatever the case of its letters."""
        wanted = _fold(name)
        return next((file for file in self.files if _fold(file.name) == wanted), None)


@dataclass(frozen=True)
class _Entry:
    """A file of a drop that has not been read yet."""

    parts: tuple[str, ...] = field(repr=False)
    size: int
    packed: int
    changed_on: date
    open: Callable[[], IO[bytes]] = field(repr=False)
    faults: tuple[str, ...] = ()


class _TooDeep(Exception):
    """Folders are nested beyond measure, or deeper than a path can be long."""


class _TooLarge(Exception):
    """More bytes came than the drop had announced or the limits allow."""


def take_in(
    drop: FetchedDrop, work_folder: Path, limits: Limits, partner: Partner
) -> tuple[TakenDrop | None, tuple[Finding, ...]]:
    """Copies a folder, or unpacks an archive, into ``work_folder/taken`` (mode 0700) and identifies the content.

    Gives the taken drop, or None and every fault that was found. Running it again starts afresh, whatever a killed
    run had left. Raises :class:`protocol.errors.NotYet` where the source changes or goes while it is read.
    """
    if drop.fault is not None:
        return None, (_finding(drop.fault, which="What was dropped", **_amounts(limits)),)
    work_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    work_folder.chmod(0o700)
    staging, final = work_folder / "taking.part", work_folder / "taken"
    for folder in (staging, final):
        shutil.rmtree(folder, ignore_errors=True)
    staging.mkdir(mode=0o700)
    try:
        mode = drop.path.lstat().st_mode
        if stat.S_ISDIR(mode):
            taken, findings = _take_folder(drop, staging, limits, partner)
        elif stat.S_ISREG(mode) and drop.name.lower().endswith(".zip"):
            taken, findings = _take_archive(drop, staging, limits, partner)
        elif stat.S_ISREG(mode) and drop.name.lower().endswith(_WORKBOOK_ENDING):
            taken, findings = _take_workbook(drop, staging, limits, partner)
        else:
            taken, findings = None, (_kind_finding(mode),)
        if taken is None:
            shutil.rmtree(staging, ignore_errors=True)
            return None, findings
        _write_index(taken, staging)
        staging.rename(final)
        return _moved(taken, final), findings
    except _TooDeep:
        shutil.rmtree(staging, ignore_errors=True)
        return None, (_finding("drop.too_deep"),)
    except FileNotFoundError:
        raise NotYet("the drop went while it was read; it will be taken when it is there again") from None
    except PermissionError:
        raise NotYet("the drop may not be read by the account that Linkarms runs under; mend its permissions") from None
    except OSError as error:
        # The error's own text names the partner's file.
        raise NotYet(f"the drop could not be taken in: {os.strerror(error.errno or 0)}") from None


def open_taken(work_folder: Path) -> TakenDrop:
    """What :func:`take_in` took into ``work_folder``, in another process or after the folder was renamed.

    Raises FileNotFoundError where nothing was taken in there.
    """
    folder = work_folder / "taken"
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))

    def file(entry: dict[str, Any]) -> TakenFile:
        return TakenFile(
            name=entry["name"],
            path=folder / entry["place"],
            size=entry["size"],
            digest=entry["digest"],
            sheet=entry["sheet"],
            hidden=entry["hidden"],
        )

    return TakenDrop(
        folder=folder,
        partner_id=index["partner_id"],
        submission_id=index["submission_id"],
        content_digest=index["content_digest"],
        files=tuple(file(entry) for entry in index["files"]),
        manifest=file(index["manifest"]) if index["manifest"] else None,
        changed_on=date.fromisoformat(index["changed_on"]),
        stem=index["stem"],
        workbook_digest=index["workbook_digest"],
    )


def _write_index(taken: TakenDrop, folder: Path) -> None:
    def entry(file: TakenFile) -> dict[str, Any]:
        return {
            "name": file.name,
            "place": file.path.name,
            "size": file.size,
            "digest": file.digest,
            "sheet": file.sheet,
            "hidden": file.hidden,
        }

    index = {
        "partner_id": taken.partner_id,
        "submission_id": taken.submission_id,
        "content_digest": taken.content_digest,
        "files": [entry(file) for file in taken.files],
        "manifest": entry(taken.manifest) if taken.manifest else None,
        "changed_on": taken.changed_on.isoformat(),
        "stem": taken.stem,
        "workbook_digest": taken.workbook_digest,
    }
    path = folder / _INDEX
    path.touch(mode=0o600)
    path.write_text(json.dumps(index), encoding="utf-8")


# --- folders and archives ---------------------------------------------------------------------------------------------


def _take_folder(
    drop: FetchedDrop, staging: Path, limits: Limits, partner: Partner
) -> tuple[TakenDrop | None, tuple[Finding, ...]]:
    before = _list_folder(drop.path, limits)
    entries = [_folder_entry(relative, drop.path, status) for relative, status in before if not _is_litter(relative)]
    try:
        taken, findings = _take_entries(entries, staging, limits, drop, partner)
    except _TooLarge:
        raise NotYet("the drop grew while it was read; it will be taken when it has come to rest") from None
    if taken is None:
        return None, findings
    if _signature(before) != _signature(_list_folder(drop.path, limits)):
        raise NotYet("the drop changed while it was read; it will be taken when it has come to rest")
    digests = {file.digest for file in (*taken.files, *((taken.manifest,) if taken.manifest else ()))}
    digests.add(taken.workbook_digest or "")
    for entry in entries:
        if entry.parts[-1].casefold() != READY:
            with entry.open() as source:
                if hashlib.file_digest(source, "sha256").hexdigest() not in digests:  # type: ignore[arg-type]
                    raise NotYet("the drop changed while it was read; it will be taken when it has come to rest")
    return taken, findings


def _list_folder(folder: Path, limits: Limits) -> list[tuple[tuple[str, ...], os.stat_result]]:
    """Every file and link below the folder, in order of name; stops a little past the limit."""
    found: list[tuple[tuple[str, ...], os.stat_result]] = []
    waiting: list[tuple[str, ...]] = [()]
    seen = 0
    while waiting:
        parts = waiting.pop()
        if len(parts) > _MOST_DEPTH:
            raise _TooDeep
        try:
            with os.scandir(folder.joinpath(*parts)) as listing:
                for item in listing:
                    seen += 1
                    if seen > 4 * limits.max_files + 100:
                        waiting.clear()
                        break
                    status = item.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        if not _is_litter((*parts, item.name)):
                            waiting.append((*parts, item.name))
                    else:
                        found.append(((*parts, item.name), status))
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise _TooDeep from None
            raise
    return sorted(found, key=lambda pair: pair[0])


def _signature(listing: Iterable[tuple[tuple[str, ...], os.stat_result]]) -> list[tuple[object, ...]]:
    # Litter and the ready flag may come and go.
    return [
        (parts, status.st_ino, status.st_size, status.st_mtime_ns)
        for parts, status in listing
        if not _is_litter(parts) and parts[-1].casefold() != READY
    ]


def _folder_entry(parts: tuple[str, ...], folder: Path, status: os.stat_result) -> _Entry:
    faults = () if stat.S_ISREG(status.st_mode) else ("drop.link",)
    return _Entry(
        parts=parts,
        size=status.st_size,
        packed=status.st_size,
        changed_on=_day(status.st_mtime),
        open=lambda: _open_plain(folder, *parts),
        faults=faults,
    )


def _open_plain(path: Path, *parts: str) -> IO[bytes]:
    """A plain file, or one below a folder. No link is followed, not even one that takes the folder's place meanwhile:
    it could lead into another partner's inbox."""
    try:
        descriptor = _open_below(path, parts) if parts else os.open(path, os.O_RDONLY | _NO_FOLLOW)
    except (PermissionError, FileNotFoundError):
        raise
    except OSError:
        raise NotYet("the drop changed while it was read; it will be taken when it has come to rest") from None
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise NotYet("the drop changed while it was read; it will be taken when it has come to rest")
    return file


def _open_below(folder: Path, parts: Sequence[str]) -> int:
    if os.open not in os.supports_dir_fd:  # Windows, where a data officer checks an extract of their own
        return os.open(folder.joinpath(*parts), os.O_RDONLY | _NO_FOLLOW)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    for number, part in enumerate(parts, start=1):
        above = descriptor
        try:
            flags = _NO_FOLLOW if number == len(parts) else os.O_DIRECTORY | os.O_NOFOLLOW
            descriptor = os.open(part, os.O_RDONLY | flags, dir_fd=above)
        finally:
            os.close(above)
    return descriptor


def _take_workbook(
    drop: FetchedDrop, staging: Path, limits: Limits, partner: Partner
) -> tuple[TakenDrop | None, tuple[Finding, ...]]:
    """A workbook that is the whole drop."""
    before = drop.path.lstat()
    entry = _Entry((_WORKBOOK,), before.st_size, before.st_size, _day(before.st_mtime), lambda: _open_plain(drop.path))
    try:
        taken, findings = _take_entries([entry], staging, limits, drop, partner)
    except _TooLarge:
        raise NotYet("the drop grew while it was read; it will be taken when it has come to rest") from None
    after = drop.path.lstat()
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, after.st_size, after.st_mtime_ns):
        raise NotYet("the drop changed while it was read; it will be taken when it has come to rest")
    return taken, findings


class _CautiousFile(FileIO):
    """An archive whose reader may not be talked into one huge read by a forged or overlong directory."""

    def __init__(self, descriptor: int, most: int) -> None:
        super().__init__(descriptor, "rb")
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = size if size is not None and size >= 0 else max(0, os.fstat(self.fileno()).st_size - self.tell())
        if wanted > self._most:
            raise zipfile.BadZipFile("the archive's directory is too long")
        return super().read(wanted) or b""


def _take_archive(
    drop: FetchedDrop, staging: Path, limits: Limits, partner: Partner
) -> tuple[TakenDrop | None, tuple[Finding, ...]]:
    with _open_plain(drop.path) as raw:
        before = os.fstat(raw.fileno())
        digest = hashlib.file_digest(raw, "sha256").hexdigest()  # type: ignore[arg-type]
        raw.seek(0)
        # A directory record takes under 1 KiB for a name of sane length; the floor is the reader's own block.
        with _CautiousFile(os.dup(raw.fileno()), max(2 * _CHUNK, 4096 * limits.max_files)) as source:
            try:
                with zipfile.ZipFile(source) as archive:
                    entries = [_archive_entry(archive, info) for info in archive.infolist() if not info.is_dir()]
                    entries = [entry for entry in entries if not _is_litter(entry.parts) or entry.faults]
                    taken, findings = _take_entries(entries, staging, limits, drop, partner)
            except _TooLarge:
                taken, findings = None, (_finding("drop.too_large", **_amounts(limits)),)
            except _ARCHIVE_FAULTS:
                taken, findings = None, (_finding("drop.archive"),)
            except OSError as error:
                if error.errno not in _ARCHIVE_ERRNOS:
                    raise
                taken, findings = None, (_finding("drop.archive"),)
        raw.seek(0)
        after = os.fstat(raw.fileno())
        unchanged = (
            hashlib.file_digest(raw, "sha256").hexdigest() == digest  # type: ignore[arg-type]
            and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
            and drop.path.lstat().st_ino == before.st_ino
        )
    if not unchanged:
        raise NotYet("the drop changed while it was read; it will be taken when it has come to rest")
    return taken, findings


def _archive_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    name = info.orig_filename
    parts = tuple(name.split("/"))
    faults = []
    if info.flag_bits & 0x1:
        faults.append("drop.encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        faults.append("drop.compression")
    file_type = stat.S_IFMT(info.external_attr >> 16)
    if file_type not in (0, stat.S_IFREG):
        faults.append("drop.link")
    hostile = "\\" in name or "\0" in name or name.startswith("/") or _DRIVE.match(name)
    if hostile or any(part in ("", ".", "..") for part in parts):
        faults.append("drop.path")
    return _Entry(
        parts=parts,
        size=info.file_size,
        packed=info.compress_size,
        changed_on=date(*info.date_time[:3]) if _is_date(info.date_time) else date(1980, 1, 1),
        open=lambda: archive.open(info),
        faults=tuple(faults),
    )


# --- what both have in common ---------------------------------------------------------------------------------------


def _take_entries(
    entries: list[_Entry], staging: Path, limits: Limits, drop: FetchedDrop, partner: Partner
) -> tuple[TakenDrop | None, tuple[Finding, ...]]:
    entries = [entry for entry in _without_top_folder(entries) if entry.parts[-1].casefold() != READY]
    # As a file manager shows them, so that a person finds a file by its number.
    entries.sort(key=lambda entry: tuple((_fold(part), _compose(part)) for part in entry.parts))
    findings = tuple(_look_over(entries, limits))
    if findings:
        return None, findings
    files: list[TakenFile] = []
    manifest: TakenFile | None = None
    workbook: TakenFile | None = None
    left = limits.max_total_bytes
    for number, entry in enumerate(entries):
        name = _compose(entry.parts[-1])
        is_manifest = name.casefold() in _MANIFEST_NAMES
        path = staging / ("manifest" if is_manifest else f"{number:04}.csv")
        size, digest = _copy(entry, path, min(left, entry.size))
        left -= size
        file = TakenFile(name=name, path=path, size=size, digest=digest)
        if is_manifest:
            manifest = file
        elif name.casefold().endswith(_WORKBOOK_ENDING):
            workbook = file
        else:
            files.append(file)
    if workbook is not None:
        sheets, findings = _take_sheets(workbook, staging, limits)
        if not findings:
            in_workbook = [sheet for sheet in sheets if sheet.path.name == "manifest"]
            files += [sheet for sheet in sheets if sheet not in in_workbook]
            manifest = manifest or next(iter(in_workbook), None)
            findings = _look_for_twins(files)
        if findings:
            return None, findings
    taken = TakenDrop(
        folder=staging,
        partner_id=partner.id,
        submission_id="",
        content_digest="",
        files=tuple(files),
        manifest=manifest,
        changed_on=max((entry.changed_on for entry in entries), default=_day(drop.path.lstat().st_mtime)),
        stem=drop.stem,
        workbook_digest=workbook.digest if workbook is not None else None,
    )
    return identify(taken, partner), ()


def identify(taken: TakenDrop, partner: Partner) -> TakenDrop:
    """The drop as one of this partner's, with the ids that follow from that."""
    content_digest = _digest_content(taken, taken.stem if partner.mapping.manifest_from_name else None)
    submission = _digest_of(["linkarms submission 1", partner.id, content_digest])
    return replace(taken, partner_id=partner.id, submission_id=f"sub-{submission[:20]}", content_digest=content_digest)


def _take_sheets(
    workbook: TakenFile, staging: Path, limits: Limits
) -> tuple[tuple[TakenFile, ...], tuple[Finding, ...]]:
    """The workbook's sheets as files, its manifest sheet as one called ``manifest`` unless there is one by itself; the
    workbook is removed."""
    converted, findings = convert_workbook(workbook.path, staging, limits.workbook)
    workbook.path.unlink()
    files = []
    for sheet in converted:
        path = sheet.path
        if sheet.is_manifest:
            path = staging / "manifest"
            if path.exists():
                sheet.path.unlink()
                continue
            entries = [f"{json.dumps(entry)}: {json.dumps(value)}" for entry, value in read_manifest_sheet(sheet.path)]
            path.touch(mode=0o600)
            path.write_text("{" + ", ".join(entries) + "}", encoding="utf-8")
            sheet.path.unlink()
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        name = f"{_compose(sheet.name.strip())}.csv"
        files.append(TakenFile(name, path, path.stat().st_size, digest, sheet.number, sheet.hidden))
    return tuple(files), findings


def _look_for_twins(files: list[TakenFile]) -> tuple[Finding, ...]:
    names = Counter(_fold(file.name) for file in files)
    numbers = [file.sheet for file in files if file.sheet is not None and names[_fold(file.name)] > 1]
    return tuple(_finding("drop.sheet_and_file", number=number) for number in numbers)


def _without_top_folder(entries: list[_Entry]) -> list[_Entry]:
    """The entries without the one folder that packing a folder puts around all of them."""
    tops = {entry.parts[0] for entry in entries}
    if len(tops) == 1 and all(len(entry.parts) > 1 for entry in entries):
        return [
            _Entry(entry.parts[1:], entry.size, entry.packed, entry.changed_on, entry.open, entry.faults)
            for entry in entries
        ]
    return entries


def _look_over(entries: list[_Entry], limits: Limits) -> Iterator[Finding]:
    """Everything that is wrong with the drop before a byte of it is unpacked."""
    faulty: dict[str, list[int]] = {}
    names = Counter(_fold(entry.parts[-1]) for entry in entries)
    manifests = workbooks = 0
    for number, entry in enumerate(entries, start=1):
        name = _compose(entry.parts[-1])
        codes = set(entry.faults)
        if len(entry.parts) > 1 and "drop.path" not in codes:
            codes.add("drop.subfolder")
        if name.casefold() in _MANIFEST_NAMES:
            manifests += 1
            if entry.size > limits.max_manifest_bytes:
                codes.add("drop.manifest_size")
        elif name.casefold().endswith(_WORKBOOK_ENDING):
            workbooks += 1
        elif name.casefold().startswith(_MANIFEST_STARTS) and not name.casefold().endswith(".csv"):
            codes.add("drop.manifest_name")
        elif not name.casefold().endswith(".csv"):
            codes.add("drop.ending")
        elif not _SAFE_CSV_NAME.fullmatch(name) and "drop.path" not in codes:
            codes.add("drop.file_name")
        if names[_fold(name)] > 1:
            codes.add("drop.same_name")
        if entry.size > _SMALL and entry.size > limits.max_ratio * max(entry.packed, 1):
            codes.add("drop.ratio")
        for code in codes:
            faulty.setdefault(code, []).append(number)
    for code in sorted(faulty):
        yield _finding(code, which=_which(faulty[code], len(entries)), **_amounts(limits))
    if len(entries) > limits.max_files:
        yield _finding("drop.too_many_files", **_amounts(limits))
    if sum(entry.size for entry in entries) > limits.max_total_bytes:
        yield _finding("drop.too_large", **_amounts(limits))
    if manifests > 1:
        yield _finding("drop.two_manifests")
    if workbooks > 1:
        yield _finding("drop.two_workbooks")
    if not entries:
        yield _finding("drop.empty")


def _copy(entry: _Entry, target: Path, most: int) -> tuple[int, str]:
    """Copies in a stream; gives size and SHA-256. More than ``most`` bytes raise :class:`_TooLarge`."""
    digest = hashlib.sha256()
    size = 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with entry.open() as source, os.fdopen(descriptor, "wb") as sink:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > most:
                raise _TooLarge
            digest.update(chunk)
            sink.write(chunk)
    return size, digest.hexdigest()


def _moved(taken: TakenDrop, folder: Path) -> TakenDrop:
    def move(file: TakenFile) -> TakenFile:
        return replace(file, path=folder / file.path.name)

    return replace(
        taken,
        folder=folder,
        files=tuple(move(file) for file in taken.files),
        manifest=move(taken.manifest) if taken.manifest else None,
    )


def _digest_content(taken: TakenDrop, period_name: str | None) -> str:
    """SHA-256 over the manifest (or the name that stands for it) and the files, whatever their order; of a workbook
    over the file itself and not over what was made of it."""
    parts = sorted([_fold(file.name), file.digest] for file in taken.files if file.sheet is None)
    parts += [[_WORKBOOK, taken.workbook_digest]] if taken.workbook_digest is not None else []
    manifest = taken.manifest if taken.manifest is not None and taken.manifest.sheet is None else None
    return _digest_of(["linkarms content 1", period_name, manifest.digest if manifest else None, parts])


def _digest_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def _is_litter(parts: tuple[str, ...]) -> bool:
    """Hidden files, and what operating systems leave in folders and archives."""
    return any(is_litter(part) for part in parts)


def _compose(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _fold(name: str) -> str:
    return _compose(_compose(name).casefold())


def _day(timestamp: float) -> date:
    return datetime.fromtimestamp(timestamp, tz=UTC).date()


def _is_date(value: tuple[int, int, int, int, int, int]) -> bool:
    try:
        date(*value[:3])
    except ValueError:
        return False
    return True


# --- findings -------------------------------------------------------------------------------------------------------

_FAULTS: dict[str, tuple[str, str]] = {
    "drop.kind": (
        "A single file was dropped where a folder, a .zip or the template workbook (.xlsx) is expected.",
        "Put the files and the manifest into one folder, or pack them into one .zip, and drop that.",
    ),
    "drop.unsealed": (
        "The extract was dropped as it is, and the agreement says that it has to be sealed.",
        "Seal it with `linkarms seal FOLDER --to PUBLIC_KEY_FILE` and drop the file that it makes. Tell the "
        "coordinator that this one came unsealed.",
    ),
    "drop.in_clear": (
        "The extract was dropped with identifiers in it, and the agreement says that they are replaced at your own "
        "site before anything is sent.",
        "Use `linkarms pseudonymise` and drop the file that it makes. Tell the coordinator that this one came with "
        "identifiers.",
    ),
    "drop.envelope_not_one": (
        "The .sealed file is not a sealed envelope.",
        "Seal the extract with `linkarms seal` and drop the file that it makes, unchanged.",
    ),
    "drop.envelope_version": (
        "The .sealed file was made by a version of Linkarms that is not known here.",
        "Seal the extract again with the version that the coordinator names.",
    ),
    "drop.envelope_other_key": (
        "The .sealed file is sealed to another key than the hub's.",
        "Ask the coordinator for the present public key, and seal the extract again.",
    ),
    "drop.envelope_cut_short": (
        "The end of the .sealed file is missing.",
        "Copy it again and wait until the copy is complete, or seal the extract again.",
    ),
    "drop.envelope_damaged": (
        "The .sealed file was changed after it was sealed.",
        "Seal the extract again and drop the new file. If it happens again, tell the coordinator.",
    ),
    "drop.link": (
        "{which} is not a plain file but a link or something of the system.",
        "Put the files themselves into the folder or archive, no shortcuts or links.",
    ),
    "drop.archive": (
        "The .zip cannot be unpacked: it is damaged or not a .zip.",
        "Pack the files again, test the archive by opening it yourself, and drop it again.",
    ),
    "drop.encrypted": (
        "{which} in the .zip is protected by a password.",
        "Pack the files without a password; the way to the inbox is protected already.",
    ),
    "drop.compression": (
        "{which} in the .zip is packed by a method that is not known here.",
        "Pack the files with the operating system's own 'compress' or 'send to compressed folder'.",
    ),
    "drop.path": (
        "{which} in the .zip has a name that points outside the archive or holds a forbidden character.",
        "Pack the files themselves, without folders, under their agreed names.",
    ),
    "drop.subfolder": (
        "{which} lies in a folder of its own.",
        "Put all files side by side, without folders inside the drop.",
    ),
    "drop.too_deep": (
        "There are folders within folders in the drop, more than can be read.",
        "Put all files side by side, without folders inside the drop.",
    ),
    "drop.ending": (
        "{which} is neither a .csv file, nor the workbook (.xlsx), nor the manifest.",
        "Send the agreed .csv files or the template workbook, and manifest.yaml; no documents or archives inside.",
    ),
    "drop.manifest_name": (
        "{which} seems to be the manifest, saved with another ending.",
        "Call it manifest.yaml. Where endings are hidden, let the file manager show them first: an editor may have "
        "added .txt.",
    ),
    "drop.file_name": (
        "{which} has a name with characters that are not allowed.",
        "Use letters, digits, space, dot, dash and underscore in file names.",
    ),
    "drop.same_name": (
        "{which} has the same name as another one, apart from capital letters.",
        "Keep one of them, or give them their agreed names.",
    ),
    "drop.ratio": (
        "{which} in the .zip grows more than {ratio}-fold when it is unpacked, as a harmful archive would.",
        "Drop the files in a plain folder instead of a .zip.",
    ),
    "drop.too_many_files": (
        "The drop holds more than {files} files.",
        "Send the agreed .csv files and the manifest only.",
    ),
    "drop.too_large": (
        "The drop holds more than it may or than its archive announces; the limit is {megabytes} MB unpacked.",
        "Check that only the extract of the period is in it, and pack it again; else ask the coordinator.",
    ),
    "drop.manifest_size": (
        "The manifest is larger than {kilobytes} KB, which no manifest needs.",
        "Write the manifest from the template again.",
    ),
    "drop.two_workbooks": (
        "There are two workbooks.",
        "Put all sheets into one workbook, made from the template, and send that.",
    ),
    "drop.sheet_and_file": (
        "Sheet {number} of the workbook is in the drop a second time, as a .csv file.",
        "Keep the one that is right.",
    ),
    "drop.two_manifests": (
        "There are two manifests.",
        "Keep the one that describes these files.",
    ),
    "drop.empty": (
        "There is nothing in the drop.",
        "Put the files and the manifest into it; for a period without any work drop a manifest of kind nil.",
    ),
}


def _finding(code: str, **values: object) -> Finding:
    sentence, mend = _FAULTS[code]
    return Finding(code=code, scope=Scope.SUBMISSION, sentence=sentence.format(**values), mend=mend)


def finding_in_clear() -> Finding:
    """Why an extract is refused whose identifiers should have been replaced before it was sent."""
    return _finding("drop.in_clear")


def _kind_finding(mode: int) -> Finding:
    if stat.S_ISREG(mode):
        return _finding("drop.kind")
    return _finding("drop.link", which="What was dropped")


def _which(numbers: list[int], total: int) -> str:
    if total == 1:
        return "The file"
    if len(numbers) == 1:
        return f"File {numbers[0]} of {total} in order of name"
    shown = ", ".join(str(number) for number in numbers[:5]) + (" ..." if len(numbers) > 5 else "")
    return f"Each of {len(numbers)} files (numbers {shown} of {total} in order of name)"


def _amounts(limits: Limits) -> dict[str, object]:
    return {
        "ratio": f"{limits.max_ratio:g}",
        "files": limits.max_files,
        "megabytes": limits.max_total_bytes >> 20,
        "kilobytes": limits.max_manifest_bytes >> 10,
    }
