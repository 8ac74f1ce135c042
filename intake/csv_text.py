"""One CSV file as text: read as well as it can be, and everything told that is wrong with its form.

A fast pass looks at every physical line and proves that it is one whole record of the right number of cells; polars
then reads the file as it stands. Only lines that are not such records (cells with line breaks, and faults) are looked
at one by one. Reading with polars alone would not do: it fills up short rows without a word.

**Nothing is guessed in silence.** A file in another encoding, with another separator or with rows above its headings is
read in the most likely way, so that the faults of its rows can be told in the same go, and its finding of scope FILE
refuses the submission all the same. Nothing is shifted or dropped unseen: a row is in the frame, or its number is in a
finding, or it is blank.

**Row numbers are those of a spreadsheet.** The heading is row 1 and the record after it row 2, whatever number of
physical lines a record takes and counting blank rows, so that a person finds the row under the number that we give.

No heading is repeated in a finding unless it is agreed: where the heading row is missing, the first client's data
stand in its place.
"""

import codecs
import io
import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

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
_RUN_LINES = 100_000
_MOST_ABOVE = 15
"""Rows at the top of a file among which the headings are looked for."""
_BOM = codecs.BOM_UTF8

_INVISIBLE = (
    "".join(chr(point) for point in (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200C)))
    + "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
"""White space, and what shows as nothing at all: a stray byte order mark would make two equal codes differ."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_NOT_IN_WINDOWS = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")
"""Bytes that Windows-1252 leaves undefined."""
_QUOTED = r'"(?:[^"]|"")*"'
_QUOTED_CELL = re.compile(r'"((?:[^"]+|"")*+)"')
_QUOTED_BYTES = re.compile(rb'"[^"]*"')
_BLANK = re.compile(rb"\s*")
_SEP_LINE = re.compile(rb"\"?sep=(.)\"?[,;\s]*", re.IGNORECASE)

Recognise = Callable[[Sequence[str]], int]
"""Counts the headings of a row that it knows."""


@dataclass(frozen=True)
class _Form:
    """The patterns of records whose cells one separator divides."""

    separator: str
    whole: re.Pattern[bytes]
    opens: re.Pattern[bytes]
    stays: re.Pattern[bytes]
    closes: re.Pattern[bytes]
    closes_and_opens: re.Pattern[bytes]

    @property
    def cell(self) -> str:
        """One cell, for the regular expressions of polars."""
        return f'(?:[^"{re.escape(self.separator)}\\r\\n]*|{_QUOTED})'

    def count_cells(self, record: bytes) -> int:
        """Cells of a record whose quoting is right."""
        return 1 + _QUOTED_BYTES.sub(b"", record).count(self.separator.encode())

    def split(self, record: str) -> list[str]:
        """The cells of a record whose quoting is right, of whatever length."""
        if '"' not in record:
            return record.split(self.separator)
        cells, at = [], 0
        while True:
            if record.startswith('"', at):
                quoted = _QUOTED_CELL.match(record, at)
                assert quoted is not None
                cells.append(quoted.group(1).replace('""', '"'))
                at = quoted.end()
            else:
                end = record.find(self.separator, at)
                end = len(record) if end < 0 else end
                cells.append(record[at:end])
                at = end
            if at >= len(record):
                return cells
            at += 1  # the separator


@cache
def _form(separator: str) -> _Form:
    by = re.escape(separator)
    inside = r'(?:[^"]+|"")*+'  # possessive, so that a long cell costs no second look
    cell = f'(?:[^"{by}\\r\\n]*|"{inside}")'

    def compiled(pattern: str) -> re.Pattern[bytes]:
        return re.compile(pattern.encode())

    return _Form(
        separator,
        whole=compiled(f"{cell}(?:{by}{cell})*"),
        opens=compiled(f'(?:{cell}{by})*"{inside}'),
        stays=compiled(inside),
        closes=compiled(f'{inside}"(?:{by}{cell})*'),
        closes_and_opens=compiled(f'{inside}"(?:{by}{cell})*{by}"{inside}'),
    )


@dataclass(frozen=True)
class Place:
    """How a file is called in findings; never by a name that the partner chose and nobody agreed to."""

    file: str
    """``person.csv``, or what stands for it."""
    table: str | None = None


@dataclass(frozen=True)
class Opened:
    """A file whose encoding, separator and heading row are known, or guessed and told."""

    path: Path
    """What is read: the file, or a copy of it as UTF-8 in the same folder."""
    place: Place
    headings: tuple[str, ...] = field(repr=False)
    """As the partner wrote them, white space stripped. May hold anything: not for messages. Without a heading row,
    one empty heading for each cell of the first row."""
    header_lines: int
    """Physical lines up to the end of the heading row."""
    heading_row: int = 1
    """Its number in a spreadsheet; 0 where there is none."""
    separator: str = ","
    spoilt: "_Spoilt" = field(default_factory=lambda: _Spoilt())

    @property
    def form(self) -> _Form:
        """The patterns of its records."""
        return _form(self.separator)


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
        """False where rows cannot be told apart or too many of them are broken."""
        return all(
            finding.scope in (Scope.ROW, Scope.NOTE) or finding.code not in BREAKING for finding in self.findings
        )


BREAKING = frozenset({"file.cells", "file.quoting", "file.quoting_unclear"})
"""Faults of scope FILE that leave rows out of the frame."""


# --- opening ----------------------------------------------------------------------------------------------------------


def open_csv(path: Path, place: Place, recognise: Recognise | None = None) -> tuple[Opened | None, tuple[Finding, ...]]:
    """Looks at encoding, separator and heading row.

    Gives the opened file and what is wrong with its form, or None and why it cannot be read at all. What is told with
    row numbers (an encoding) is among the findings of :func:`read_body`.

    :param recognise: tells the heading row from others: without it the first row that is not blank is taken.
    """
    head = _read_head(path)
    if not head.removeprefix(_BOM).strip():
        return None, (_finding("file.empty", place),)
    if head.startswith(WORKBOOK_STARTS):
        return None, (_finding("file.workbook", place),)
    findings: list[Finding] = []
    readable, spoilt, utf16 = _as_utf8(path, head)
    if utf16:
        findings.append(_finding("file.encoding_utf16", place))
    opened, found = _open_heading(readable, place, recognise)
    if opened is None and _has_lone_returns(readable):
        findings.append(_finding("file.line_ends", place))
        readable = _copy_lines(readable, _with_new_lines)
        opened, found = _open_heading(readable, place, recognise)
    # Excel's "Unicode text" is UTF-16 and tabs at once: one cause, one finding.
    findings += [each for each in found if not (utf16 and each.code == "file.separator")]
    if opened is None:
        return None, tuple(findings)
    if opened.header_lines == 0 and head.startswith(_BOM):
        opened = replace(opened, path=_copy_lines(readable, _without_mark))
    return replace(opened, spoilt=spoilt), tuple(findings)


WORKBOOK_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How .xlsx and .xls files begin."""


def _read_head(path: Path) -> bytes:
    """The beginning of the file, up to the first thing that is not white space."""
    with path.open("rb") as file:
        head = file.read(4096)
        while head and not head.removeprefix(_BOM).strip() and (more := file.read(_BLOCK)):
            head = more
        return head


@dataclass(frozen=True)
class _Spoilt:
    """Physical lines (from 0) that were mended to be read."""

    not_utf8: tuple[int, ...] = ()
    nul: tuple[int, ...] = ()
    windows: bool = True
    """False where bytes show that it is not Windows-1252 either."""


def _as_utf8(path: Path, head: bytes) -> tuple[Path, _Spoilt, bool]:
    """The file, or a copy of it as UTF-8 beside it; the lines that were mended; True where it was UTF-16."""
    start = head[:4096]
    if encoding := _utf16(start):
        return _decode_whole(path, encoding), _Spoilt(), True
    if _is_plain_utf8(path):
        return path, _Spoilt(), False
    bad: list[int] = []
    nul: list[int] = []
    windows = True

    def mend(line: bytes, number: int) -> bytes:
        nonlocal windows
        if b"\0" in line:
            nul.append(number)
            line = line.replace(b"\0", b"")
        if line.isascii():
            return line
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            bad.append(number)
            windows = windows and not any(byte in line for byte in _NOT_IN_WINDOWS)
            return line.decode("cp1252", "replace").encode()
        return line

    copy = _copy_lines(path, mend)
    return copy, _Spoilt(tuple(bad), tuple(nul), windows), False


def _utf16(start: bytes) -> str | None:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if 4 * start.count(0) <= len(start):
        return None
    return "utf-16-be" if start[0::2].count(0) > start[1::2].count(0) else "utf-16-le"


def _is_plain_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                if block.find(0) >= 0:
                    return False
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _decode_whole(path: Path, encoding: str) -> Path:
    target = _beside(path)
    with path.open("rb") as source, _private(target) as sink:
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        while block := source.read(_BLOCK):
            sink.write(decoder.decode(block).replace("\0", "").encode("utf-8", "replace"))
        sink.write(decoder.decode(b"", final=True).encode("utf-8", "replace"))
    return target


def _copy_lines(path: Path, mend: Callable[[bytes, int], bytes]) -> Path:
    target = _beside(path)
    with path.open("rb") as source, _private(target) as sink:
        for number, line in enumerate(source):
            sink.write(mend(line, number))
    return target


def _with_new_lines(line: bytes, number: int) -> bytes:  # noqa: ARG001 (a line's number is what other menders need)
    return line.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _without_mark(line: bytes, number: int) -> bytes:
    return line.removeprefix(_BOM) if number == 0 else line


def _beside(path: Path) -> Path:
    """A name for a copy in the same folder, which is private and goes with the submission."""
    return path.with_name(f"{path.name}.utf8")


def _private(path: Path) -> io.BufferedWriter:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return path.open("wb")


def _has_lone_returns(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_MOST_HEADER_BYTES)
    return b"\r" in head.replace(b"\r\n", b"")


@dataclass(frozen=True)
class _Top:
    """One of the first rows of a file."""

    cells: tuple[str, ...] = field(repr=False)
    end: int
    """Physical lines up to its end."""
    row: int
    blank: bool = False
    broken: bool = False


def _open_heading(path: Path, place: Place, recognise: Recognise | None) -> tuple[Opened | None, tuple[Finding, ...]]:
    """The heading row, under the separator under which most of it is known."""
    skip, given = _sep_line(path)
    found = [_Top((), 0, 0)]
    best: tuple[tuple[int, ...], str, _Top | None, list[_Top]] | None = None
    for order, separator in enumerate(SEPARATORS):
        tops = list(_top_rows(path, _form(separator), skip))
        choice, known = _choose_heading(tops, recognise)
        width = len(choice.cells) if choice is not None else 0
        # What is known decides; else the separator that the file itself names; else commas, where there are any.
        rank = (known, int(separator == given), int(min(width, 2)), -order)
        if best is None or rank > best[0]:
            best = (rank, separator, choice, tops)
    assert best is not None
    (known, *_), separator, choice, found = best
    if choice is None:
        return None, (_finding("file.header_form", place),)
    findings: list[Finding] = []
    if choice.broken:
        findings.append(_finding("file.header_form", place))
    if skip:
        findings.append(_finding("file.sep_line", place))
    elif separator != ",":
        findings.append(_finding("file.separator", place, separator=SEPARATORS[separator]))
    if len(choice.cells) > _MOST_HEADINGS:
        wide = _finding("file.header_wide", place, found=len(choice.cells), most=_MOST_HEADINGS)
        return None, (*findings, wide)
    above = [top for top in found if top.row < choice.row]
    if above and all(top.blank for top in above):
        findings.append(_finding("file.header_blank", place, row=choice.row))
    elif above:
        findings.append(_finding("file.title_rows", place, row=choice.row))
    if recognise is not None and not known:
        nameless = ("",) * len(choice.cells)
        before = max((top.end for top in above), default=skip)
        return Opened(path, place, nameless, before, choice.row - 1, separator), tuple(findings)
    headings = tuple(heading.strip() for heading in choice.cells)
    return Opened(path, place, headings, choice.end, choice.row, separator), tuple(findings)


def _sep_line(path: Path) -> tuple[int, str]:
    """1 and the separator where the first line is for Excel only, as in ``sep=;``."""
    with path.open("rb") as file:
        line = _bare(file.readline(_BLOCK).removeprefix(_BOM))
    match = _SEP_LINE.fullmatch(line)
    return (1, match.group(1).decode("latin-1")) if match else (0, "")


def _choose_heading(tops: Sequence[_Top], recognise: Recognise | None) -> tuple[_Top | None, int]:
    """The row that is taken for the heading row, and how many of its headings are known."""
    filled = [top for top in tops if not top.blank]
    if not filled:
        return None, 0
    if recognise is None:
        return filled[0], 0
    scores = [recognise(top.cells) for top in filled]
    best = max(scores)
    # A title may hold one agreed word; only clearly better rows further down are taken for the headings.
    if best == scores[0] or best < 2:
        return filled[0], scores[0]
    return filled[scores.index(best)], best


def _top_rows(path: Path, form: _Form, skip: int) -> Iterator[_Top]:
    """The first rows of the file. One that cannot be read as a row ends them, and is split as it stands if it is the
    first; none comes where not even that can be done."""
    with path.open("rb") as file:
        for _ in range(skip):
            file.readline()
        end = skip
        for row in range(1, _MOST_ABOVE + 1):
            record = b""
            lines = 0
            first: bytes | None = None
            while True:
                line = file.readline(_MOST_HEADER_BYTES)
                record += line
                lines += 1
                bare = _bare(record.removeprefix(_BOM) if end == 0 else record)
                first = bare if first is None else first
                if len(record) >= _MOST_HEADER_BYTES:
                    return
                if form.whole.fullmatch(bare):
                    break
                if not line or lines > 100 or not form.opens.fullmatch(bare):
                    if row == 1 and first and b"\r" not in first:
                        text = first.decode("utf-8", "replace").replace('"', "")
                        yield _Top(tuple(text.split(form.separator)), skip + 1, row, broken=True)
                    return
            if not record:
                return
            end += lines
            blank = not bare.strip(b" \t;,|") or _BLANK.fullmatch(bare) is not None
            yield _Top(tuple(form.split(bare.decode("utf-8"))), end, row, blank)


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
            return _finish(_Walk([frame]), opened, wanted)
    return _finish(_read_careful(opened, wanted, odd), opened, wanted)


@dataclass
class _Walk:
    """What a reader found on its way through a file."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    """Clean."""
    quoting: list[int] = field(default_factory=list)
    """Rows whose quotation marks are broken."""
    cells: list[int] = field(default_factory=list)
    """Rows of another number of cells."""
    unclear: bool = False
    rows: dict[int, int] = field(default_factory=dict)
    """Mended line (from 0, of the file) -> row, where a row may take several lines."""

    def row_of(self, line: int, opened: Opened) -> int:
        """The row in which a mended line lies."""
        return self.rows.get(line, max(1, opened.heading_row + 1 + line - opened.header_lines))


def _count_records(opened: Opened) -> tuple[int, list[int]]:
    """Physical lines after the heading, and the places (from 0) of those that are not whole records by themselves."""
    width = len(opened.headings)
    cell, by = opened.form.cell, re.escape(opened.separator)
    line = pl.col("line")
    quoted = line.str.contains('"', literal=True)
    separators = line.str.count_matches(opened.separator, literal=True)
    plain_record = (separators == width - 1) & ~line.str.contains("\r", literal=True)
    record = (
        pl.when(quoted)
        .then(line.str.contains(f"^{cell}(?:{by}{cell}){{{width - 1}}}$"))
        .otherwise(plain_record & (line != ""))
    )
    marked = (
        pl.scan_lines(opened.path, row_index_name="place", glob=False)
        .slice(opened.header_lines)
        .select(pl.col("place").cast(pl.Int64) - opened.header_lines, odd=~record)
    )
    lines, odd = pl.collect_all([marked.select(pl.len()), marked.filter("odd").select("place")], engine="streaming")
    return int(lines.item()), sorted(odd["place"].to_list())


def _read_fast(opened: Opened, wanted: Sequence[tuple[int, str]], records: int) -> pl.DataFrame | None:
    """The whole file by polars; None where it does not agree with the count of records."""
    if records == 0:
        return _empty(wanted)
    read = clean_cells(_scan_polars(opened.path, opened.header_lines, opened, wanted))
    numbered = read.with_row_index(ROW, offset=opened.heading_row + 1).with_columns(pl.col(ROW).cast(pl.Int64))
    try:
        # In a stream, so that cells as they stand and cells as they are cleaned are never both in memory.
        frame = numbered.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError):
        return None  # Its message may quote a cell; the careful reader finds the reason without one.
    return frame if frame.height == records else None


def _scan_polars(
    source: Path | io.BytesIO, skip: int, opened: Opened, wanted: Sequence[tuple[int, str]]
) -> pl.LazyFrame:
    return pl.scan_csv(
        source,
        has_header=False,
        skip_lines=skip,
        separator=opened.separator,
        schema={_column(place): pl.String for place in range(len(opened.headings))},
        glob=False,
    ).select(pl.col(_column(place)).alias(name) for place, name in wanted)


def _column(place: int) -> str:
    """What polars calls a column without a heading."""
    return f"column_{place + 1}"


def _read_careful(opened: Opened, wanted: Sequence[tuple[int, str]], odd: Sequence[int]) -> _Walk:
    """Record by record over the odd lines, in runs over the others."""
    walk = _Walk()
    spoilt = sorted({*opened.spoilt.not_utf8, *opened.spoilt.nul})
    piece: list[_Record] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if piece:
            walk.frames.append(_read_piece(piece, opened, wanted))
        piece.clear()
        size = 0

    with opened.path.open("rb") as file:
        for record in _records(file, opened, odd):
            first = opened.header_lines + record.place
            for line in spoilt[bisect_left(spoilt, first) : bisect_left(spoilt, first + record.lines)]:
                walk.rows[line] = record.row + (line - first if record.kind == "run" else 0)
            if record.kind == "blank":
                continue
            if record.kind == "cells":
                walk.cells.append(record.row)
            elif record.kind == "quoting":
                walk.quoting.append(record.row)
                walk.unclear = walk.unclear or record.unclear
            else:
                piece.append(record)
                size += len(record.text)
                if size >= _PIECE_BYTES:
                    flush()
    flush()
    return walk


@dataclass(frozen=True)
class _Record:
    place: int
    """Of its first line after the heading, from 0."""
    row: int
    kind: str
    """``whole``, ``run`` (of whole records, one a line), ``blank``, ``cells`` (too few or too many) or ``quoting``."""
    text: bytes = field(default=b"", repr=False)
    lines: int = 1
    unclear: bool = False
    """True where nobody can tell in which line the next record starts."""


def _records(source: Iterator[bytes], opened: Opened, odd: Sequence[int]) -> Iterator[_Record]:
    """The records after the heading. Lines that are not in ``odd`` are known to be whole records.

    A quotation mark that is opened and never properly closed spoils the line that it is in, and reading goes on with
    the next line; it stays unclear where that one starts a record only if it is not a record itself. Each line is
    looked at twice at most: whatever ends one search for a closing mark also ends the next.
    """
    form, width = opened.form, len(opened.headings)
    for _ in range(opened.header_lines):
        next(source, None)
    waiting: deque[bytes] = deque()
    place = -1
    row = opened.heading_row
    after = 0  # place in ``odd`` of the next odd line
    while True:
        while after < len(odd) and odd[after] <= place:
            after += 1
        following_odd = odd[after] if after < len(odd) else None
        if not waiting and following_odd != place + 1:
            most = _RUN_LINES if following_odd is None else min(_RUN_LINES, following_odd - place - 1)
            run = list(islice(source, most))
            if not run:
                return
            yield _Record(place + 1, row + 1, "run", b"".join(run), lines=len(run))
            place += len(run)
            row += len(run)
            continue
        line = waiting.popleft() if waiting else next(source, None)
        if line is None:
            return
        place += 1
        row += 1
        if place != following_odd:
            yield _Record(place, row, "run", line)
            continue
        bare = _bare(line)
        if not bare.strip():
            yield _Record(place, row, "blank")
        elif b'"' not in bare and b"\r" not in bare:
            yield _Record(place, row, "cells")
        elif form.whole.fullmatch(bare):
            yield _whole(place, row, line, form, width)
        elif not form.opens.fullmatch(bare):
            yield _Record(place, row, "quoting")
        else:
            taken = _close(line, waiting, source, form)
            if taken is None:
                following = waiting[0] if waiting else None
                is_odd = after + 1 < len(odd) and odd[after + 1] == place + 1
                unclear = following is not None and is_odd and not _is_record(following, form, width)
                yield _Record(place, row, "quoting", unclear=unclear)
            else:
                yield _whole(place, row, b"".join(taken), form, width, lines=len(taken))
                place += len(taken) - 1


def _close(first: bytes, waiting: deque[bytes], source: Iterator[bytes], form: _Form) -> list[bytes] | None:
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
        if form.closes.fullmatch(bare):
            for _ in range(seen):
                waiting.popleft()
            return lines
        if not (form.stays.fullmatch(bare) or form.closes_and_opens.fullmatch(bare)):
            return None
    return None


def _whole(place: int, row: int, text: bytes, form: _Form, width: int, lines: int = 1) -> _Record:
    # Cells too many are a fault also where they are empty: a comma without quotation marks may have moved the others.
    whole = form.count_cells(text) == width
    return _Record(place, row, "whole" if whole else "cells", text if whole else b"", lines)


def _is_record(text: bytes, form: _Form, width: int) -> bool:
    return form.whole.fullmatch(_bare(text)) is not None and form.count_cells(text) == width


def _bare(line: bytes) -> bytes:
    line = line.removesuffix(b"\n")
    return line.removesuffix(b"\r")


def _read_piece(piece: Sequence[_Record], opened: Opened, wanted: Sequence[tuple[int, str]]) -> pl.DataFrame:
    """Whole records as a clean frame: by polars, or by the standard library where polars counts them otherwise."""
    text = b"".join(record.text if record.text.endswith(b"\n") else record.text + b"\n" for record in piece)
    runs = [pl.int_range(each.row, each.row + (each.lines if each.kind == "run" else 1), eager=True) for each in piece]
    rows = pl.concat(runs).alias(ROW)
    frame: pl.DataFrame | None = None
    try:
        frame = clean_cells(_scan_polars(io.BytesIO(text), 0, opened, wanted)).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError):
        frame = None  # as in _read_fast
    if frame is None or frame.height != rows.len():
        frame = clean_cells(_read_by_hand(piece, opened, wanted))
    return frame.select(rows, pl.all())


def _read_by_hand(piece: Sequence[_Record], opened: Opened, wanted: Sequence[tuple[int, str]]) -> pl.DataFrame:
    texts: list[bytes] = []
    for record in piece:
        texts += record.text.removesuffix(b"\n").split(b"\n") if record.kind == "run" else [record.text]
    found = [opened.form.split(text.decode("utf-8")) for text in texts]
    return pl.DataFrame(
        {name: [record[place] for record in found] for place, name in wanted},
        schema={name: pl.String for _, name in wanted},
    )


def _empty(wanted: Sequence[tuple[int, str]]) -> pl.DataFrame:
    return pl.DataFrame(schema={ROW: pl.Int64, **{name: pl.String for _, name in wanted}})


_Frames = TypeVar("_Frames", pl.DataFrame, pl.LazyFrame)


def clean_cells(frame: _Frames) -> _Frames:
    """The frame with white space and invisible marks stripped from its text, and empty cells as null."""
    stripped = pl.col(pl.String).str.strip_chars(_INVISIBLE)
    return frame.with_columns(pl.when(stripped != "").then(stripped).name.keep())


def _without_blank_rows(frame: pl.DataFrame) -> pl.DataFrame:
    names = [name for name in frame.columns if name != ROW]
    blank = frame.select(pl.all_horizontal(pl.col(names).is_null()))[:, 0] if names else pl.Series([], dtype=pl.Boolean)
    return frame.filter(~blank) if blank.any() else frame


def _finish(walk: _Walk, opened: Opened, wanted: Sequence[tuple[int, str]]) -> Body:
    frame = pl.concat([_empty(wanted), *(_without_blank_rows(frame) for frame in walk.frames)], rechunk=False)
    broken = len(walk.quoting) + len(walk.cells)
    found = frame.height + broken
    few = broken <= _FEW_ANYWAY or (broken <= MOST_SHOWN and 10 * broken <= found)
    scope = Scope.ROW if few else Scope.FILE
    findings = [*_spoilt_findings(walk, opened)]
    if walk.quoting:
        code = "file.quoting_unclear" if walk.unclear else "file.quoting"
        findings.append(_finding(code, opened.place, scope=Scope.FILE if walk.unclear else scope, rows=walk.quoting))
    if walk.cells:
        findings.append(_finding("file.cells", opened.place, scope=scope, rows=walk.cells, width=len(opened.headings)))
    return Body(frame, found, tuple(findings))


def _spoilt_findings(walk: _Walk, opened: Opened) -> Iterator[Finding]:
    """Encodings, by the rows that show them."""
    spoilt = opened.spoilt
    encoding = "file.encoding_windows" if spoilt.windows else "file.encoding"
    for code, lines in ((encoding, spoilt.not_utf8), ("file.nul", spoilt.nul)):
        if lines:
            rows = sorted({walk.row_of(line, opened) for line in lines})
            yield _finding(code, opened.place, rows=rows)


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
        "{file} seems to be saved as Windows-1252 (plain 'CSV'), not as UTF-8: letters with accents show it in "
        "{count}.",
        "Choose 'CSV UTF-8 (comma delimited)' when saving; plain 'CSV' spoils letters with accents.",
    ),
    "file.encoding": (
        "{file} is not UTF-8 text: characters cannot be read in {count}.",
        "Export it again, choosing 'CSV UTF-8 (comma delimited)' or UTF-8 text when saving.",
    ),
    "file.nul": (
        "{file} holds NUL bytes in {count}, as damaged files do.",
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
        "The first row of {file} is blank: its headings are in row {row} and have to be in row 1.",
        "Delete the blank rows above the headings.",
    ),
    "file.title_rows": (
        "The headings of {file} are in row {row} and have to be in row 1: there is something above them.",
        "Delete the rows above the headings, such as a title or a date of printing.",
    ),
    "file.header_form": (
        "The heading row of {file} is spoilt: a quotation mark in it is opened and not closed, or it is far too long.",
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
