"""One CSV file as text, or what stops it: nothing is guessed, shifted or dropped unseen.

A fast pass looks at every physical line and proves that it is one whole record of the right number of cells; polars
then reads the file as it stands. Only lines that are not such records (cells with line breaks, and faults) are looked
at one by one. Reading with polars alone would not do: it fills up short rows without a word.

**Row numbers are those of a spreadsheet.** The heading is row 1 and the record after it row 2, whatever number of
physical lines a record takes and counting blank rows, so that a person finds the row under the number that we give.

No heading is repeated in a finding unless it is agreed: where the heading row is missing, the first client's data
stand in its place.
"""

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from protocol.finding import Finding, Scope

ROW = "_row"
MOST_SHOWN = 20
"""Broken rows of a file that are held back one by one; with more, or more than a tenth, the file is refused."""
_FEW_ANYWAY = 3
_BLOCK = 1 << 20
_MOST_HEADER_BYTES = 1 << 20
_MOST_HEADINGS = 1000
"""Far more than any agreed table or export has; the pattern of a record with thousands of cells cannot be compiled."""
_MOST_RECORD_BYTES = 64 << 20
_PIECE_BYTES = 32 << 20
_BOM = codecs.BOM_UTF8

_INVISIBLE = (
    "".join(chr(point) for point in (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200C)))
    + "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
"""White space, and what shows as nothing at all: a stray byte order mark would make two equal codes differ."""

_PLAIN = r'[^",\r\n]*'
_QUOTED = r'"(?:[^"]|"")*"'
_CELL = f"(?:{_PLAIN}|{_QUOTED})"
_Q = r'(?:[^"]+|"")*+'
"""The inside of a quoted cell; possessive, so that a long cell costs no second look."""
_CELL_B = f'(?:{_PLAIN}|"{_Q}")'
_WHOLE = re.compile(f"{_CELL_B}(?:,{_CELL_B})*".encode())
_OPENS = re.compile(f'(?:{_CELL_B},)*"{_Q}'.encode())
_STAYS = re.compile(_Q.encode())
_CLOSES = re.compile(f'{_Q}"(?:,{_CELL_B})*'.encode())
_CLOSES_AND_OPENS = re.compile(f'{_Q}"(?:,{_CELL_B})*,"{_Q}'.encode())
_QUOTED_BYTES = re.compile(rb'"[^"]*"')
_BLANK = re.compile(rb"\s*")


@dataclass(frozen=True)
class Place:
    """How a file is called in findings; never by a name that the partner chose and nobody agreed to."""

    file: str
    """``person.csv``, or what stands for it."""
    table: str | None = None


@dataclass(frozen=True)
class Opened:
    """A file whose encoding, separator and heading row can be read."""

    path: Path
    place: Place
    headings: tuple[str, ...] = field(repr=False)
    """As the partner wrote them, white space stripped. May hold anything: not for messages."""
    header_lines: int
    """Physical lines that the heading row takes."""


@dataclass(frozen=True)
class Body:
    """The rows of a file."""

    frame: pl.DataFrame = field(repr=False)
    """``_row`` Int64 and the wanted columns as String, white space stripped, empty = null."""
    rows_found: int
    """Rows that are not blank, the broken ones included."""
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """False where the file as a whole has to be refused."""
        return all(finding.scope in (Scope.ROW, Scope.NOTE) for finding in self.findings)


# --- opening ----------------------------------------------------------------------------------------------------------


def open_csv(path: Path, place: Place) -> tuple[Opened | None, tuple[Finding, ...]]:
    """Looks at encoding, separator and heading row; gives the opened file, or None and what is wrong."""
    head = _read_head(path)
    if not head.removeprefix(_BOM).strip():
        return None, (_finding("file.empty", place),)
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return None, (_finding("file.workbook", place),)
    encoding_finding = _check_encoding(path, head, place)
    if encoding_finding is not None:
        return None, (encoding_finding,)
    return _open_heading(path, place)


def _read_head(path: Path) -> bytes:
    """The beginning of the file, up to the first thing that is not white space."""
    with path.open("rb") as file:
        head = file.read(4096)
        while head and not head.removeprefix(_BOM).strip() and (more := file.read(_BLOCK)):
            head = more
        return head


def _check_encoding(path: Path, head: bytes, place: Place) -> Finding | None:
    nulls = head[:4096].count(0)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 4 * nulls > len(head[:4096]):
        return _finding("file.encoding_utf16", place)
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 0
    bad_line: int | None = None
    windows = True
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            at = block.find(0)
            if at >= 0:
                return _finding("file.nul", place, line=lines + block.count(b"\n", 0, at) + 1)
            if bad_line is None:
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    bad_line = lines + error.object.count(b"\n", 0, error.start) + 1
            # Bytes that Windows-1252 leaves undefined.
            windows = windows and not any(byte in block for byte in (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d"))
            lines += block.count(b"\n")
    if bad_line is None:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            bad_line = lines + 1
    if bad_line is None:
        return None
    return _finding("file.encoding_windows" if windows else "file.encoding", place, line=bad_line)


def _open_heading(path: Path, place: Place) -> tuple[Opened | None, tuple[Finding, ...]]:
    record, lines = _read_heading(path)
    if record is None:
        return None, (_finding("file.header_form", place),)
    if _BLANK.fullmatch(record):
        return None, (_finding("file.header_blank", place),)
    if not _WHOLE.fullmatch(record):
        return None, (_finding("file.line_ends", place),)
    if re.match(rb"sep=.", record, re.IGNORECASE):
        return None, (_finding("file.sep_line", place),)
    headings = [heading.strip() for heading in _split(record.decode("utf-8"))]
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if len(headings) == 1 and separator in headings[0]:
            return None, (_finding("file.separator", place, separator=name),)
    if len(headings) > _MOST_HEADINGS:
        return None, (_finding("file.header_wide", place, found=len(headings), most=_MOST_HEADINGS),)
    return Opened(path, place, tuple(headings), lines), ()


def _read_heading(path: Path) -> tuple[bytes | None, int]:
    """The heading row and the physical lines that it takes; None where its quoting is broken.

    A row with a lone carriage return comes as it is, since it is told as such and not as broken quoting.
    """
    record = b""
    with path.open("rb") as file:
        for count in range(1, 101):
            line = file.readline(_MOST_HEADER_BYTES)
            record += line
            bare = _bare(record.removeprefix(_BOM))
            whole = _WHOLE.fullmatch(bare)
            if not whole and b"\r" in bare and b"\n" not in bare:
                return bare, count
            if not line or len(record) >= _MOST_HEADER_BYTES:
                return None, count
            if whole:
                return bare, count
            if not _OPENS.fullmatch(bare):
                return None, count
    return None, 1


def _split(record: str) -> list[str]:
    return next(csv.reader(io.StringIO(record, newline=""), strict=True), [])


# --- reading ----------------------------------------------------------------------------------------------------------


def read_body(opened: Opened, wanted: Sequence[tuple[int, str]]) -> Body:
    """Reads the rows of an opened file.

    :param wanted: (place of the heading, from 0; name that the column gets) of the columns to keep. Others are not
        kept in any form.
    """
    if not wanted:
        body = read_body(opened, [(0, "")])
        return Body(body.frame.select(ROW), body.rows_found, body.findings)
    records, odd = _count_records(opened)
    if not odd:
        frame = _read_fast(opened, wanted, records)
        if frame is not None:
            return _finish(frame, [], [], False, opened, records)
    return _read_careful(opened, wanted, odd)


def _count_records(opened: Opened) -> tuple[int, frozenset[int]]:
    """Physical lines after the heading, and the places (from 0) of those that are not whole records by themselves."""
    width = len(opened.headings)
    line = pl.col("line")
    quoted = line.str.contains('"', literal=True)
    plain_record = (line.str.count_matches(",", literal=True) == width - 1) & ~line.str.contains("\r", literal=True)
    record = (
        pl.when(quoted)
        .then(line.str.contains(f"^{_CELL}(?:,{_CELL}){{{width - 1}}}$"))
        .otherwise(plain_record & (line != ""))
    )
    marked = (
        pl.scan_lines(opened.path, row_index_name="place", glob=False)
        .slice(opened.header_lines)
        .select(pl.col("place").cast(pl.Int64) - opened.header_lines, odd=~record)
    )
    lines, odd = pl.collect_all([marked.select(pl.len()), marked.filter("odd").select("place")], engine="streaming")
    return int(lines.item()), frozenset(odd["place"].to_list())


def _read_fast(opened: Opened, wanted: Sequence[tuple[int, str]], records: int) -> pl.DataFrame | None:
    """The whole file by polars; None where it does not agree with the count of records."""
    if records == 0:
        return _empty(wanted)
    frame = _read_polars(opened.path, opened.header_lines, len(opened.headings), wanted)
    if frame is None or frame.height != records:
        return None
    return frame.with_row_index(ROW, offset=2).with_columns(pl.col(ROW).cast(pl.Int64))


def _read_polars(
    source: Path | io.BytesIO, skip: int, width: int, wanted: Sequence[tuple[int, str]]
) -> pl.DataFrame | None:
    try:
        frame = pl.read_csv(
            source,
            has_header=False,
            skip_lines=skip,
            schema={_column(place): pl.String for place in range(width)},
            columns=[_column(place) for place in sorted({place for place, _ in wanted})],
            glob=False,
        )
    except (pl.exceptions.PolarsError, OSError):
        return None  # Its message may quote a cell; the careful reader finds the reason without one.
    return frame.select(pl.col(_column(place)).alias(name) for place, name in wanted)


def _column(place: int) -> str:
    """What polars calls a column without a heading."""
    return f"column_{place + 1}"


def _read_careful(opened: Opened, wanted: Sequence[tuple[int, str]], odd: frozenset[int]) -> Body:
    """Record by record over the odd lines, in pieces over the others."""
    width = len(opened.headings)
    frames: list[pl.DataFrame] = []
    piece: list[bytes] = []
    rows: list[int] = []
    size = 0
    quoting: list[int] = []
    cells: list[int] = []
    unclear = False
    found = 0

    def flush() -> None:
        nonlocal size
        if piece:
            frames.append(_read_piece(piece, rows, width, wanted))
        piece.clear()
        rows.clear()
        size = 0

    with opened.path.open("rb") as file:
        for record in _records(file, opened.header_lines, width, odd):
            if record.kind == "blank":
                continue
            found += 1
            if record.kind == "cells":
                cells.append(record.row)
            elif record.kind == "quoting":
                quoting.append(record.row)
                unclear = unclear or record.unclear
            else:
                piece.append(record.text)
                rows.append(record.row)
                size += len(record.text)
                if size >= _PIECE_BYTES:
                    flush()
    flush()
    frame = pl.concat(frames) if frames else _empty(wanted)
    return _finish(frame, quoting, cells, unclear, opened, found)


@dataclass(frozen=True)
class _Record:
    row: int
    kind: str
    """``whole``, ``blank``, ``cells`` (too few or too many) or ``quoting``."""
    text: bytes = field(default=b"", repr=False)
    unclear: bool = False
    """True where nobody can tell in which line the next record starts."""


def _records(lines: Iterable[bytes], skip: int, width: int, odd: frozenset[int]) -> Iterator[_Record]:
    """The records after the heading. Lines that are not in ``odd`` are known to be whole records.

    A quotation mark that is opened and never properly closed spoils the line that it is in, and reading goes on with
    the next line; it stays unclear where that one starts a record only if it is not a record itself. Each line is
    looked at twice at most: whatever ends one search for a closing mark also ends the next.
    """
    source = iter(lines)
    for _ in range(skip):
        next(source, None)
    waiting: deque[bytes] = deque()
    place = -1
    row = 1
    while True:
        line = waiting.popleft() if waiting else next(source, None)
        if line is None:
            return
        place += 1
        row += 1
        if place not in odd:
            yield _Record(row, "whole", line)
            continue
        bare = _bare(line)
        if _BLANK.fullmatch(bare):
            yield _Record(row, "blank")
        elif _WHOLE.fullmatch(bare):
            yield _whole(row, line, width)
        elif not _OPENS.fullmatch(bare):
            yield _Record(row, "quoting")
        else:
            taken = _close(line, waiting, source)
            if taken is None:
                following = waiting[0] if waiting else None
                unclear = following is not None and place + 1 in odd and not _is_record(following, width)
                yield _Record(row, "quoting", unclear=unclear)
            else:
                place += len(taken) - 1
                yield _whole(row, b"".join(taken), width)


def _close(first: bytes, waiting: deque[bytes], source: Iterator[bytes]) -> list[bytes] | None:
    """The lines of a record that starts with an open cell; None, with nothing used up, where it never closes."""
    lines = [first]
    size = len(first)
    seen = 0
    while size < _MOST_RECORD_BYTES:
        if seen < len(waiting):
            line = waiting[seen]
        else:
            following = next(source, None)
            if following is None:
                return None
            line = following
            waiting.append(line)
        seen += 1
        size += len(line)
        lines.append(line)
        bare = _bare(line)
        if _CLOSES.fullmatch(bare):
            for _ in range(seen):
                waiting.popleft()
            return lines
        if not (_STAYS.fullmatch(bare) or _CLOSES_AND_OPENS.fullmatch(bare)):
            return None
    return None


def _whole(row: int, text: bytes, width: int) -> _Record:
    return _Record(row, "whole", text) if _count_cells(text) == width else _Record(row, "cells")


def _is_record(text: bytes, width: int) -> bool:
    return _WHOLE.fullmatch(_bare(text)) is not None and _count_cells(text) == width


def _count_cells(record: bytes) -> int:
    """Cells of a record whose quoting is right."""
    return 1 + _QUOTED_BYTES.sub(b"", record).count(b",")


def _bare(line: bytes) -> bytes:
    line = line.removesuffix(b"\n")
    return line.removesuffix(b"\r")


def _read_piece(piece: list[bytes], rows: list[int], width: int, wanted: Sequence[tuple[int, str]]) -> pl.DataFrame:
    """Whole records as a frame: by polars, or by the standard library where polars counts them otherwise."""
    text = b"".join(record if record.endswith(b"\n") else record + b"\n" for record in piece)
    frame = _read_polars(io.BytesIO(text), 0, width, wanted)
    if frame is None or frame.height != len(rows):
        found = [_split(record.decode("utf-8")) for record in piece]
        frame = pl.DataFrame(
            {name: [record[place] for record in found] for place, name in wanted},
            schema={name: pl.String for _, name in wanted},
        )
    return frame.select(pl.Series(ROW, rows, dtype=pl.Int64), pl.all())


def _empty(wanted: Sequence[tuple[int, str]]) -> pl.DataFrame:
    return pl.DataFrame(schema={ROW: pl.Int64, **{name: pl.String for _, name in wanted}})


def clean_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with white space and invisible marks stripped from its text, and empty cells as null."""
    stripped = pl.col(pl.String).str.strip_chars(_INVISIBLE)
    return frame.with_columns(pl.when(stripped != "").then(stripped).name.keep())


def _finish(
    frame: pl.DataFrame, quoting: list[int], cells: list[int], unclear: bool, opened: Opened, found: int
) -> Body:
    frame = clean_cells(frame)
    names = [name for name in frame.columns if name != ROW]
    if names:
        filled = frame.filter(~pl.all_horizontal(pl.col(names).is_null()))
        found -= frame.height - filled.height
        frame = filled
    width = len(opened.headings)
    findings = []
    broken = len(quoting) + len(cells)
    few = broken <= _FEW_ANYWAY or (broken <= MOST_SHOWN and 10 * broken <= found)
    scope = Scope.ROW if few else Scope.FILE
    if quoting:
        code = "file.quoting_unclear" if unclear else "file.quoting"
        findings.append(_finding(code, opened.place, scope=Scope.FILE if unclear else scope, rows=quoting))
    if cells:
        findings.append(_finding("file.cells", opened.place, scope=scope, rows=cells, width=width))
    return Body(frame, found, tuple(findings))


# --- findings ---------------------------------------------------------------------------------------------------------

_SAVE_AGAIN = "Open it in the spreadsheet program and save it as 'CSV UTF-8 (comma delimited)'."
_FAULTS: dict[str, tuple[str, str]] = {
    "file.empty": (
        "{file} is empty: not even the headings are there.",
        "Export it again. If there is nothing to report, keep the heading row, or declare the table nil in the "
        "manifest and leave the file out.",
    ),
    "file.workbook": (
        "{file} is a workbook that was given the ending .csv.",
        _SAVE_AGAIN,
    ),
    "file.encoding_utf16": (
        "{file} was saved as Unicode text (UTF-16), not as UTF-8.",
        _SAVE_AGAIN,
    ),
    "file.encoding_windows": (
        "{file} seems to be saved as Windows-1252 (plain 'CSV'), not as UTF-8: line {line} is the first to show it.",
        "Choose 'CSV UTF-8 (comma delimited)' when saving; plain 'CSV' spoils letters with accents.",
    ),
    "file.encoding": (
        "{file} is not UTF-8 text: line {line} is the first that cannot be read.",
        "Export it again as UTF-8 text.",
    ),
    "file.nul": (
        "{file} holds a NUL byte in line {line}, as damaged files do.",
        "Export it again and copy it again.",
    ),
    "file.line_ends": (
        "{file} ends its lines as old Macintosh programs did.",
        _SAVE_AGAIN,
    ),
    "file.sep_line": (
        "{file} starts with a line 'sep=' before the headings.",
        "Delete that line and separate cells by commas; row 1 holds the headings.",
    ),
    "file.separator": (
        "{file} separates its cells by {separator}, not by commas.",
        _SAVE_AGAIN,
    ),
    "file.header_blank": (
        "The first row of {file} is blank; the headings have to be in row 1.",
        "Delete the blank rows above the headings.",
    ),
    "file.header_form": (
        "The heading row of {file} cannot be read: a quotation mark in it is opened and not closed, or it is far too "
        "long.",
        "Copy the headings from the template into row 1.",
    ),
    "file.header_wide": (
        "The heading row of {file} has {found:,} columns; no file may have more than {most:,}.",
        "Delete the columns that are not agreed, also those that look empty.",
    ),
    "file.quoting": (
        "In {file}, quotation marks are broken in {count}.",
        "Put the whole cell into quotation marks and write a quotation mark inside it twice; a spreadsheet program "
        "does both by itself when it saves CSV.",
    ),
    "file.quoting_unclear": (
        "In {file}, a quotation mark is opened and never closed, so that nobody can tell where rows end; it happens "
        "in {count}.",
        "Put the whole cell into quotation marks and write a quotation mark inside it twice; a spreadsheet program "
        "does both by itself when it saves CSV.",
    ),
    "file.cells": (
        "In {file}, {count} not the {width} cells that the heading row has.",
        "Look at these rows: a comma within a cell needs quotation marks around the cell, and a missing cell needs "
        "its comma.",
    ),
}


def _finding(
    code: str, place: Place, *, scope: Scope = Scope.FILE, rows: Sequence[int] = (), **values: object
) -> Finding:
    sentence, mend = _FAULTS[code]
    one = len(rows) == 1
    count = f"{len(rows)} row{'' if one else 's'}"
    if code == "file.cells":
        count = f"{count} {'has' if one else 'have'}"
    return Finding(
        code=code,
        scope=scope,
        table=place.table,
        file=place.file,
        sentence=sentence.format(file=place.file, count=count, **values),
        mend=mend,
        rows_affected=len(rows),
        first_rows=tuple(sorted(rows)[:MOST_SHOWN]),
    )
