"""A partner's workbook (.xlsx) made into one CSV file of text for each sheet, and into nothing else.

From there on a sheet is read like any other file, so that its headings, rows and faults are treated alike. Cells are
read by calamine, which runs no macro and no formula (the value that was saved with a formula counts) and expands no
XML entity. Before that, every part of the package that it needs is unpacked and parsed here with bounds, and it is
given a package of these parts alone: no picture, macro, embedded file or link to elsewhere ever reaches it.

What a spreadsheet program shows is what counts: a date is written as ISO date, a whole number without decimals, an
error as its own text. Two things cannot be undone, and fail honestly later on: a date with a time of day keeps it,
and a number of more than fifteen digits comes in powers of ten, because the program has thrown its last digits away.

Hidden sheets are read like others: one that is named like a table counts, and any other is refused as a sheet that is
not agreed, since a sheet that was forgotten is just what should not travel. Sheets that explain
(:data:`protocol.generated.names.EXPLAINING_SHEETS`) are passed over, and so are charts.
"""

import csv
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import IO
from xml.parsers import expat

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from protocol.finding import Finding, Scope
from protocol.generated.names import EXPLAINING_SHEETS, MANIFEST_HEADINGS, MANIFEST_SHEET

OLD_FORM = b"\xd0\xcf\x11\xe0"
"""How .xls begins, and any workbook with a password."""
_PROTECTED = "EncryptedPackage".encode("utf-16-le")
_CHUNK = 1 << 20
_SMALL = 1 << 20
"""Below this size a high ratio is no bomb."""
_PARTS = re.compile(
    r"\[Content_Types\]\.xml|_rels/\.rels|docProps/\w+\.xml"
    r"|xl/(?:_rels/)?[\w.]+\.(?:xml|rels)|xl/worksheets/[\w .-]+\.xml|xl/chartsheets/[\w .-]+\.xml",
    re.IGNORECASE | re.ASCII,
)
"""The parts of a package that hold cells, and those that lead to them."""
_MOST_PARTS = 5000
_MOST_COLUMNS, _MOST_ROWS = 16_384, 1_048_576
"""What Excel has."""
_REFERENCE = re.compile(r"([A-Za-z]{1,3})([0-9]{1,7})", re.ASCII)
_FULL_DIGITS = 1e15
"""Spreadsheet programs keep fifteen digits of a number."""
_PACKAGE_FAULTS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    OSError,
)

SHORTENED = r"^-?[0-9]\.[0-9]{14}E\+[0-9]+$"
"""How a number is written whose last digits the spreadsheet program has thrown away."""


@dataclass(frozen=True)
class WorkbookLimits:
    """How much a workbook may hold."""

    max_bytes: int = 1 << 30
    """Of all its parts together, unpacked."""
    max_ratio: float = 300.0
    """Unpacked over packed size of one part; sheets of repeated codes reach about 100."""
    max_sheets: int = 100
    max_cells: int = 12_000_000
    """Of one sheet, counting the empty ones in the rectangle around all that are filled: calamine holds them all."""


@dataclass(frozen=True)
class Sheet:
    """One sheet as a CSV file."""

    name: str = field(repr=False)
    """As the partner named it."""
    number: int
    """Its place in the workbook, from 1."""
    path: Path
    hidden: bool = False

    @property
    def is_manifest(self) -> bool:
        """True for the sheet that stands for the manifest."""
        return self.name.strip().casefold() == MANIFEST_SHEET


class _Refused(Exception):
    """A workbook cannot be read; the argument is the finding's code."""


def convert_workbook(
    path: Path, folder: Path, limits: WorkbookLimits | None = None
) -> tuple[tuple[Sheet, ...], tuple[Finding, ...]]:
    """Writes every sheet that may hold rows into ``folder`` as ``sheet-<number>.csv``, UTF-8, mode 0600.

    Gives the sheets in the workbook's order, or none and what is wrong. Row numbers of the CSV are those of the sheet.
    Nothing is in ``folder`` beside the sheets when it returns.
    """
    limits = limits or WorkbookLimits()
    package = folder / "workbook.part"
    try:
        errors = _copy_package(path, package, limits)
        return tuple(_write_sheets(package, folder, errors, limits)), ()
    except _Refused as refused:
        code = str(refused)
    except _PACKAGE_FAULTS:
        code = "workbook.damaged"
    except CalamineError:  # its message may quote the workbook
        code = "workbook.damaged"
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        code = "workbook.damaged"
    finally:
        package.unlink(missing_ok=True)
    for left in folder.glob("sheet-*.csv"):
        left.unlink()
    return (), (_finding(code, limits),)


# --- the package ------------------------------------------------------------------------------------------------------


def _copy_package(path: Path, target: Path, limits: WorkbookLimits) -> dict[str, dict[tuple[int, int], str]]:
    """Writes the parts that are needed as a package of their own; gives part -> the errors in its cells, by place."""
    with path.open("rb") as file:
        head = file.read(8)
        if head.startswith(OLD_FORM):
            raise _Refused("workbook.protected" if _holds(file, _PROTECTED) else "workbook.old")
    if not zipfile.is_zipfile(path):
        raise _Refused("workbook.damaged")
    target.touch(mode=0o600)
    errors: dict[str, dict[tuple[int, int], str]] = {}
    left = limits.max_bytes
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as sink:
        entries = source.infolist()
        names = [entry.filename.casefold() for entry in entries]
        if len(entries) > _MOST_PARTS or len(set(names)) < len(names):
            raise _Refused("workbook.damaged")
        if any(entry.flag_bits & 0x1 for entry in entries):
            raise _Refused("workbook.protected")
        if "xl/workbook.bin" in names:
            raise _Refused("workbook.old")
        if "xl/workbook.xml" not in names:
            raise _Refused("workbook.damaged")
        for entry in entries:
            if not _PARTS.fullmatch(entry.filename):
                continue
            if entry.file_size > _SMALL and entry.file_size > limits.max_ratio * max(entry.compress_size, 1):
                raise _Refused("workbook.large")
            check = _PartCheck(limits)
            with source.open(entry) as part, sink.open(zipfile.ZipInfo(entry.filename), "w", force_zip64=True) as copy:
                left -= _copy_part(part, copy, check, min(left, entry.file_size))
            if check.errors:
                errors[entry.filename.casefold()] = check.errors
    return errors


def _holds(file: IO[bytes], wanted: bytes) -> bool:
    tail = b""
    while block := file.read(_CHUNK):
        if wanted in tail + block:
            return True
        tail = block[-len(wanted) :]
    return False


def _copy_part(source: IO[bytes], sink: IO[bytes], check: "_PartCheck", most: int) -> int:
    size = 0
    while block := source.read(_CHUNK):
        size += len(block)
        if size > most:
            raise _Refused("workbook.large")
        check.feed(block)
        sink.write(block)
    check.close()
    return size


class _PartCheck:
    """Parses one part as it flows by: well-formed, without a document type, and with cells within bounds."""

    def __init__(self, limits: WorkbookLimits) -> None:
        self.errors: dict[tuple[int, int], str] = {}
        """Row and column (from 0) -> text, of cells that hold an error: calamine gives them as empty."""
        self._limits = limits
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.StartElementHandler = self._start
        self._row = -1
        self._column = -1
        self._in_error = False
        self._box: tuple[int, int, int, int] | None = None

    def feed(self, block: bytes) -> None:
        """The next bytes of the part."""
        try:
            self._parser.Parse(block, False)
        except expat.ExpatError:
            raise _Refused("workbook.damaged") from None

    def close(self) -> None:
        """The part's end."""
        try:
            self._parser.Parse(b"", True)
        except expat.ExpatError:
            raise _Refused("workbook.damaged") from None

    def _refuse_doctype(self, *_: object) -> None:
        raise _Refused("workbook.doctype")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "c":
            self._start_cell(attributes)
        elif name in ("v", "is"):
            self._fill(name)
        elif name == "row":
            number = attributes.get("r", "")
            self._row = int(number) - 1 if number.isdecimal() and len(number) < 9 else self._row + 1
            self._column = -1
            self._bound()

    def _start_cell(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("r")
        if reference is None:
            self._column += 1
        else:
            match = _REFERENCE.fullmatch(reference)
            if match is None:
                raise _Refused("workbook.damaged")
            self._column = _column_number(match.group(1))
            self._row = int(match.group(2)) - 1
        self._in_error = attributes.get("t") == "e"
        self._bound()

    def _bound(self) -> None:
        if not (-1 <= self._row < _MOST_ROWS and -1 <= self._column < _MOST_COLUMNS):
            raise _Refused("workbook.damaged")

    def _fill(self, name: str) -> None:
        row, column = self._row, self._column
        if self._box is None:
            self._box = (row, row, column, column)
        else:
            top, bottom, first, last = self._box
            if not (top <= row <= bottom and first <= column <= last):
                self._box = (min(top, row), max(bottom, row), min(first, column), max(last, column))
                top, bottom, first, last = self._box
                if (bottom - top + 1) * (last - first + 1) > self._limits.max_cells:
                    raise _Refused("workbook.cells")
        if self._in_error and name == "v":
            self.errors[row, column] = ""
            self._parser.CharacterDataHandler = self._error_text
            self._parser.EndElementHandler = self._end_error

    def _error_text(self, text: str) -> None:
        self.errors[self._row, self._column] += text[:20]

    def _end_error(self, _: str) -> None:
        self._parser.CharacterDataHandler = None
        self._parser.EndElementHandler = None


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = 26 * number + ord(letter) - 64
    return number - 1


# --- the sheets -------------------------------------------------------------------------------------------------------


def _write_sheets(
    package: Path, folder: Path, errors: dict[str, dict[tuple[int, int], str]], limits: WorkbookLimits
) -> Iterator[Sheet]:
    parts = _parts_of_sheets(package)
    with CalamineWorkbook.from_path(package) as workbook:
        sheets = workbook.sheets_metadata
        if len(sheets) > limits.max_sheets:
            raise _Refused("workbook.sheets")
        names = [sheet.name.strip().casefold() for sheet in sheets]
        if len(set(names)) < len(names):
            raise _Refused("workbook.damaged")
        passed_over = {name.casefold() for name in EXPLAINING_SHEETS}
        for number, about in enumerate(sheets, start=1):
            if about.typ != SheetTypeEnum.WorkSheet or names[number - 1] in passed_over:
                continue
            target = folder / f"sheet-{number:03}.csv"
            target.touch(mode=0o600)
            of_sheet = errors.get(parts.get(about.name, ""), {})
            _write_sheet(workbook.get_sheet_by_index(number - 1), target, of_sheet)
            yield Sheet(about.name, number, target, hidden=about.visible != SheetVisibleEnum.Visible)


def _parts_of_sheets(package: Path) -> dict[str, str]:
    """Name of a sheet -> the part that holds it, in lower case."""
    with zipfile.ZipFile(package) as archive:
        parts = {name.casefold(): name for name in archive.namelist()}
        targets: dict[str, str] = {}
        if (relations := parts.get("xl/_rels/workbook.xml.rels")) is not None:
            for attributes in _elements(archive.read(relations), "Relationship"):
                target = attributes.get("Target", "")
                whole = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
                targets[attributes.get("Id", "")] = whole.casefold()
        return {
            attributes.get("name", ""): targets[reference]
            for attributes in _elements(archive.read(parts["xl/workbook.xml"]), "sheet")
            for key, reference in attributes.items()
            if key.rpartition(":")[2] == "id" and reference in targets
        }


def _elements(text: bytes, wanted: str) -> list[dict[str, str]]:
    """The attributes of all elements of a name, in a part that has been parsed before."""
    found: list[dict[str, str]] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] == wanted:
            found.append(attributes)

    parser.StartElementHandler = start
    parser.Parse(text, True)
    return found


def _write_sheet(sheet: CalamineSheet, target: Path, errors: dict[tuple[int, int], str]) -> None:
    first = sheet.start[1] if sheet.start is not None else 0
    wide = max((column + 1 for _, column in errors), default=0)
    most = max((row + 1 for row, _ in errors), default=0)
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        row = -1
        for row, cells in enumerate(sheet.iter_rows()):
            texts = [""] * first + [write_cell(cell) for cell in cells]
            if errors:
                texts += [""] * (wide - len(texts))
                texts = [errors.get((row, column), text) for column, text in enumerate(texts)]
            writer.writerow(texts)
        for below in range(row + 1, most):
            writer.writerow([errors.get((below, column), "") for column in range(wide)])


def write_cell(value: object) -> str:
    """A cell as the text that a careful person would write: see the top of this module."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n") if "\r" in value else value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return _write_number(value)
    if isinstance(value, datetime):
        midnight = value.time() == time()
        return value.date().isoformat() if midnight else value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return str(value)


def _write_number(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= _FULL_DIGITS:
        return f"{value:.14E}"
    if value.is_integer():
        return str(int(value))
    text = f"{value:.15g}"
    return f"{value:.20f}".rstrip("0") if "e" in text else text


# --- the manifest -----------------------------------------------------------------------------------------------------


def read_manifest_sheet(path: Path) -> list[tuple[str, str]]:
    """Entries and values of a manifest sheet that was converted: every row in which two cells are filled but the
    headings."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[cell.strip() for cell in row if cell.strip()] for row in csv.reader(file)]
    pairs = [(row[0].casefold().replace(" ", "_"), row[1]) for row in rows if len(row) == 2]
    return [pair for pair in pairs if pair != MANIFEST_HEADINGS]


# --- findings ---------------------------------------------------------------------------------------------------------

_FAULTS: dict[str, tuple[str, str]] = {
    "workbook.protected": (
        "The workbook is protected by a password.",
        "Save it without a password to open it (in Excel: File, Info, Protect Workbook); the way to the inbox is "
        "protected already.",
    ),
    "workbook.old": (
        "The workbook has an older or another form than .xlsx.",
        "Open it in the spreadsheet program and save it as 'Excel workbook (.xlsx)'; changing the name alone does not "
        "help.",
    ),
    "workbook.damaged": (
        "The workbook cannot be read: it is damaged or not a workbook.",
        "Open it in the spreadsheet program, save it again as 'Excel workbook (.xlsx)', and send that.",
    ),
    "workbook.doctype": (
        "The workbook holds XML declarations that no spreadsheet program writes.",
        "Copy the cells into the template workbook and send that.",
    ),
    "workbook.large": (
        "The workbook holds more than it may when it is unpacked; the limit is {megabytes:,} MB.",
        "Save each sheet as 'CSV UTF-8 (comma delimited)' and send the CSV files instead.",
    ),
    "workbook.cells": (
        "A sheet of the workbook reaches over more than {cells:,} cells.",
        "Delete what stands far below or beside the table, or save each sheet as 'CSV UTF-8 (comma delimited)' and "
        "send the CSV files instead.",
    ),
    "workbook.sheets": (
        "The workbook has more than {sheets} sheets.",
        "Send the template's sheets only.",
    ),
}


def _finding(code: str, limits: WorkbookLimits) -> Finding:
    sentence, mend = _FAULTS[code]
    values = {"megabytes": limits.max_bytes >> 20, "cells": limits.max_cells, "sheets": limits.max_sheets}
    return Finding(code=code, scope=Scope.SUBMISSION, sentence=sentence.format(**values), mend=mend)
