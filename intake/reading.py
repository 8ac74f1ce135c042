"""Reads the files of a submission that uses the agreed names: every cell as text, every fault told.

A fault of a file's form does not end the reading: under the most likely reading of it (a misspelt heading taken for the
nearest agreed one, a missing column empty throughout) the rows are read, so that their faults are told in the same go.
The fault is a finding of scope FILE, which refuses the submission all the same.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

import polars as pl

from intake.csv_text import MOST_SHOWN, ROW, Body, Opened, Place, open_csv, read_body
from intake.manifest import Manifest, ManifestKind
from intake.taking import TakenDrop, TakenFile
from intake.workbook import SHORTENED, convert_workbook
from protocol.finding import Finding, Scope
from protocol.model import ColumnType, Contract, Partner, RuleKind, Table

DELETE = "_delete"
"""Column of a delta that says yes where the row with this key is to be deleted."""
_UNNAMED = "~"
"""Begins the working name of a column without a heading; agreed names begin with a letter."""
_NEAR = 0.72
"""Likeness from which a heading is taken for an agreed one, as :class:`difflib.SequenceMatcher` has it."""
_SAMPLE = 500
"""Rows by which it is judged whether columns hold what their headings say."""
_TOTAL = re.compile(r"(?i)(?:(?:grand |sub)?totals?|sum|(?:row |record )?count)\s*:?")


@dataclass(frozen=True)
class HeadingGuess:
    """What a heading that is not agreed was taken for. For the partner's own screen only: it holds the partner's word.

    Kept out of findings and receipts (``tests/unit/intake/test_reading.py``).
    """

    table: str
    number: int
    """Place of the column, from 1."""
    heading: str = field(repr=False)
    agreed: str | None
    """None where no agreed name is near."""


def read_tables(
    taken: TakenDrop,
    manifest: Manifest,
    contract: Contract,
    partner: Partner,
    *,
    on_table: Callable[[str], None] | None = None,
) -> tuple[dict[str, pl.DataFrame], tuple[Finding, ...]]:
    """Reads ``<table>.csv``, or the workbook's sheet ``<table>``, for every agreed table.

    Gives agreed table -> frame with every agreed column as String (white space stripped, empty = null) in the agreed
    order after ``_row`` Int64 (the spreadsheet's row number, the heading being row 1), and in a delta ``_delete`` as
    text where the file has it. A table that is declared nil is an empty frame; a nil return has no tables. A file
    with a fault of scope FILE has a frame where there is a likely reading of it; else it has none. Rows that are
    broken as rows are not in the frame; their numbers are in a finding. ``on_table`` is told each table's label
    before the table is read.
    """
    if manifest.kind == ManifestKind.NIL:
        return {}, tuple(find_unknown_files(taken, [f"{table.name}.csv" for table in contract.tables]))
    tables: dict[str, pl.DataFrame] = {}
    findings: list[Finding] = []
    chosen, unknown = choose_files(taken, [f"{table.name}.csv" for table in contract.tables])
    findings += [*unknown, *(_hidden(file) for file in taken.files if file.hidden)]
    required = not partner.mapping.manifest_from_name and not manifest.from_workbook
    for table in contract.tables:
        place = Place(f"{table.name}.csv", table.name)
        file = chosen.get(place.file)
        if on_table is not None and file is not None:
            on_table(table.label)
        if file is None:
            frame, found = absent_table(table, place, manifest)
        else:
            frame, found = _read_table(table, place, file, manifest, required=required)
        findings += found
        if frame is not None:
            tables[table.name] = frame
    return tables, tuple(findings)


def _read_table(
    table: Table, place: Place, file: TakenFile, manifest: Manifest, *, required: bool
) -> tuple[pl.DataFrame | None, list[Finding]]:
    opened, findings = _open(file, place, table)
    found = list(findings)
    if opened is None:
        return None, found
    if opened.heading_row == 0 or not count_known(opened.headings, table):
        return _read_without_headings(table, opened, found, manifest, required=required)
    more, columns = check_headings(opened, table, manifest.kind)
    found += more
    body = read_body(opened, columns)
    frame, more = settle_columns(body.frame, place)
    found += more
    frame, no_rows = _take_totals(frame, table, place)
    frame, again = _take_repeated_headings(frame, table, place)
    no_rows += again
    if file.sheet is not None:
        if not body.rows_found and table.optional:
            return None, found  # an empty sheet of the template is work that the partner does not do
        frame, shortened = _take_shortened(frame, table, place)
        found += shortened
    others = sum(finding.rows_affected for finding in no_rows)
    found += check_row_count(table, place, body, manifest, required=required, others=others)
    found += [*body.findings, *no_rows]
    return complete(frame, table), found


def _open(file: TakenFile, place: Place, table: Table) -> tuple[Opened | None, tuple[Finding, ...]]:
    def recognise(row: Sequence[str]) -> int:
        return count_known(row, table)

    opened, findings = open_csv(file.path, place, recognise)
    if opened is None and [finding.code for finding in findings] == ["file.workbook"]:
        sheet = _find_sheet_inside(file, table)
        if sheet is not None:
            opened, more = open_csv(sheet, place, recognise)
            findings += more
    return opened, findings


def _find_sheet_inside(file: TakenFile, table: Table) -> Path | None:
    """The sheet to read of a workbook whose name ends in .csv: the one named like the table, or the only one."""
    folder = file.path.with_name(f"{file.path.name}.sheets")
    folder.mkdir(mode=0o700, exist_ok=True)
    sheets, _ = convert_workbook(file.path, folder)
    named = [sheet for sheet in sheets if sheet.name.strip().casefold() == table.name]
    chosen = named or (list(sheets) if len(sheets) == 1 else [])
    return chosen[0].path if chosen else None


def _hidden(file: TakenFile) -> Finding:
    sentence, mend = _FAULTS["drop.hidden_sheet"]
    return Finding(code="drop.hidden_sheet", scope=Scope.NOTE, sentence=sentence.format(number=file.sheet), mend=mend)


def _read_without_headings(
    table: Table, opened: Opened, found: list[Finding], manifest: Manifest, *, required: bool
) -> tuple[pl.DataFrame | None, list[Finding]]:
    """The rows in the agreed order of columns, if there are as many and they look like it."""
    found = [*found, _finding("file.header_missing", opened.place)]
    if len(opened.headings) != len(table.columns):
        return None, found
    body = read_body(opened, list(enumerate(table.column_names)))
    if _likeness(body.frame.head(_SAMPLE), table) < 0.5:
        return None, found
    found += check_row_count(table, opened.place, body, manifest, required=required)
    return complete(body.frame, table), [*found, *body.findings]


def absent_table(table: Table, place: Place, manifest: Manifest) -> tuple[pl.DataFrame | None, list[Finding]]:
    """What stands for a file that is not there: an empty frame, nothing, or a finding."""
    declared = manifest.tables.get(table.name, 0)
    if table.name in manifest.nil_tables:
        return empty_frame(table), []
    if declared:
        return None, [_finding("file.missing_declared", place, rows=declared)]
    if table.optional or manifest.kind == ManifestKind.DELTA:
        return None, []
    return None, [_finding("file.missing", place, label=table.label)]


def empty_frame(table: Table) -> pl.DataFrame:
    """The table without rows."""
    return pl.DataFrame(schema={ROW: pl.Int64, **dict.fromkeys(table.column_names, pl.String)})


def complete(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The frame with every agreed column, null where it has none, and no others but ``_row`` and ``_delete``."""
    absent = [name for name in table.column_names if name not in frame.columns]
    deletes = [DELETE] if DELETE in frame.columns else []
    return frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent).select(
        ROW, *table.column_names, *deletes
    )


# --- headings ---------------------------------------------------------------------------------------------------------


def check_headings(opened: Opened, table: Table, kind: str) -> tuple[list[Finding], list[tuple[int, str]]]:
    """Faults of the heading row, and (place, name) of the columns to read, in the agreed order.

    A heading that is not agreed is taken for the nearest agreed one that is missing. Columns without a heading are
    read under working names, see :func:`settle_columns`.
    """
    place = opened.place
    matched = match_headings(opened.headings, table)
    known = (*table.column_names, DELETE)
    places = {name: number for number, name in reversed(matched.items())}
    missing = [name for name in table.column_names if name not in places]
    columns = [(places[name], name) for name in known if name in places]
    columns += [(number, f"{_UNNAMED}{number}") for number, each in enumerate(opened.headings) if not each]
    if len(missing) == len(table.columns):
        return [_finding("file.header_missing", place)], []
    findings: list[Finding] = []
    misspelt = {number: name for number, name in sorted(matched.items()) if opened.headings[number] != name}
    strange = [number for number, each in enumerate(opened.headings) if each and number not in matched]
    if missing:
        findings.append(_finding("file.columns_missing", place, columns=missing))
    if misspelt:
        findings.append(
            _finding("file.column_misspelt", place, columns=list(misspelt.values()), headings=_told(misspelt))
        )
    if strange:
        findings.append(_finding("file.column_undeclared", place, numbers=_numbered(strange)))
    counts = Counter(opened.headings)
    for name in known:
        if counts[name] > 1:
            findings.append(_finding("file.column_twice", place, columns=[name]))
    if DELETE in places and kind != ManifestKind.DELTA:
        findings.append(_finding("file.delete_outside_delta", place, columns=[DELETE]))
    return findings, columns


def match_headings(headings: Sequence[str], table: Table) -> dict[int, str]:
    """Place (from 0) -> agreed name of each heading that is agreed, or near enough to one that is missing.

    One to one, but for an agreed heading that stands twice. Capitals, spaces, strokes and the label (``Date of birth``)
    count as the same; after that the greatest likeness decides.
    """
    known = (*table.column_names, DELETE)
    matched = {number: heading for number, heading in enumerate(headings) if heading in known}
    missing = [name for name in table.column_names if name not in matched.values()]
    simple = _simple_names(table)
    for number, heading in enumerate(headings):
        name = simple.get(_simple(heading))
        if number not in matched and name in missing:
            matched[number] = name
            missing.remove(name)
    likeness = [
        (max(_alike(_simple(heading), each) for each, of in simple.items() if of == name), -number, name)
        for number, heading in enumerate(headings)
        if heading and number not in matched
        for name in missing
    ]
    for ratio, number, name in sorted(likeness, reverse=True):
        if ratio >= _NEAR and -number not in matched and name in missing:
            matched[-number] = name
            missing.remove(name)
    return matched


def count_known(row: Sequence[str], table: Table) -> int:
    """How many cells of a row are agreed headings, whatever the capitals and strokes, or labels."""
    simple = _simple_names(table)
    return len({simple[each] for cell in row if (each := _simple(cell)) in simple})


def _simple_names(table: Table) -> dict[str, str]:
    """Names, labels and initials as they compare -> agreed name. What two columns could mean is left out."""
    said: dict[str, set[str]] = {}
    for column in table.columns:
        words = column.name.split("_")
        forms = {_simple(column.name), _simple(column.label)}
        if len(words) > 2:
            forms.add("".join(word[:1] for word in words))
        for form in forms:
            said.setdefault(form, set()).add(column.name)
    names = {_simple(column.name): column.name for column in table.columns}
    return {form: of.copy().pop() for form, of in said.items() if len(of) == 1} | names


def _simple(heading: str) -> str:
    """The letters and digits of a heading, without capitals and accents; ``no.`` is a number."""
    text = unicodedata.normalize("NFKD", heading[:64].strip()).casefold()
    words = re.findall(r"[^\W_]+", "".join(each for each in text if not unicodedata.combining(each)))
    return "".join("number" if word in ("no", "nr", "num") else word for word in words)


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio() if one and other else 0.0


def guess_headings(taken: TakenDrop, contract: Contract, findings: Sequence[Finding]) -> tuple[HeadingGuess, ...]:
    """Every heading that is not agreed, as it was written, with what it was taken for: for the partner's own screen.

    ``findings``: those of :func:`read_tables`, which tell in which tables there are such.
    """
    strange = {
        finding.table for finding in findings if finding.code in ("file.column_misspelt", "file.column_undeclared")
    }
    guesses = []
    chosen, _ = choose_files(taken, [f"{table.name}.csv" for table in contract.tables])
    for table in contract.tables:
        place = Place(f"{table.name}.csv", table.name)
        file = chosen.get(place.file) if table.name in strange else None
        opened = _open(file, place, table)[0] if file is not None else None
        if opened is None or not count_known(opened.headings, table):
            continue  # cells of a file without headings are no headings
        matched = match_headings(opened.headings, table)
        guesses += [
            HeadingGuess(table.name, number + 1, heading, matched.get(number))
            for number, heading in enumerate(opened.headings)
            if heading and heading not in (matched.get(number), DELETE)
        ]
    return tuple(guesses)


def _told(misspelt: Mapping[int, str]) -> str:
    told = [f"that of column {column_letters(number)} should be {name}" for number, name in misspelt.items()]
    return ", ".join(told)


def column_letters(number: int) -> str:
    """What a spreadsheet program calls a column, which is counted from 0 here: A to Z, AA and so on."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def _numbered(numbers: Sequence[int]) -> str:
    texts = [column_letters(number) for number in numbers[:20]]
    more = f" and {len(numbers) - 20} more" if len(numbers) > 20 else ""
    if len(texts) == 1:
        return f"Column {texts[0]}"
    return f"Columns {', '.join(texts)}{more}" if more else f"Columns {', '.join(texts[:-1])} and {texts[-1]}"


# --- columns and rows that are none -----------------------------------------------------------------------------------


def settle_columns(frame: pl.DataFrame, place: Place) -> tuple[pl.DataFrame, list[Finding]]:
    """Judges the columns without a heading by their cells, and gives the frame without them."""
    unnamed = [name for name in frame.columns if name.startswith(_UNNAMED)]
    filled = [name for name in unnamed if frame[name].null_count() < frame.height]
    empty = [name for name in unnamed if name not in filled]
    findings = []
    if filled:
        findings.append(_finding("file.column_unnamed", place, numbers=_numbered(_places(filled))))
    if empty:
        findings.append(_finding("file.columns_empty", place, scope=Scope.NOTE, numbers=_numbered(_places(empty))))
    return frame.drop(unnamed), findings


def _places(unnamed: Sequence[str]) -> list[int]:
    return [int(name.removeprefix(_UNNAMED)) for name in unnamed]


_LIKE = {
    ColumnType.DATE: r"^(?:[0-9]{1,4}[-/. ][0-9A-Za-z]{1,9}[-/. ][0-9]{1,4}|[1-9][0-9]{4}$|[0-9]{8}$)",
    ColumnType.INTEGER: r"^[+-]?[0-9]+(?:[.,][0-9]+)*$",
    ColumnType.DECIMAL: r"^[+-]?[0-9]+(?:[.,][0-9]+)*$",
}
"""What a cell looks like that was meant to be of a type, right or wrong."""


def _likeness(sample: pl.DataFrame, table: Table) -> float:
    """Share of the columns with a typical form whose cells mostly have it; 1 where no column tells."""
    told = []
    codes = {rule.columns[0]: rule.codes for rule in table.rules if rule.kind is RuleKind.CODE}
    for column in table.columns:
        filled = sample[column.name].drop_nulls()
        if column.type in _LIKE:
            like = filled.str.contains(_LIKE[column.type])
        elif column.name in codes:
            like = filled.str.to_lowercase().str.replace_all(r"[\s-]+", "_").is_in([*codes[column.name]])
        else:
            continue
        if filled.len():
            told.append(bool(2 * like.sum() >= filled.len()))
    return sum(told) / len(told) if told else 1.0


def _take_totals(frame: pl.DataFrame, table: Table, place: Place) -> tuple[pl.DataFrame, list[Finding]]:
    """The frame without a last row that is a total of those above it, and the finding that says so.

    It begins with a word such as Total, or nothing but numbers stand in it, and no key.
    """
    if frame.height < 2:
        return frame, []
    last = {name: cell for name, cell in frame.tail(1).drop(ROW).row(0, named=True).items() if cell is not None}
    figures = {column.name for column in table.columns if column.type in (ColumnType.INTEGER, ColumnType.DECIMAL)}
    first = next(iter(last.values()), "")
    named = _TOTAL.fullmatch(first) and 2 * (len(last) - 1) <= frame.width - 2
    if not named and not (last and last.keys() <= figures - set(table.key)):
        return frame, []
    row = frame[ROW][-1]
    return frame.head(-1), [_finding("file.totals_row", place, scope=Scope.ROW, rows_affected=[row], row=row)]


def _take_repeated_headings(frame: pl.DataFrame, table: Table, place: Place) -> tuple[pl.DataFrame, list[Finding]]:
    """The frame without rows that are headings once more: labels below the names, or those of a file pasted below."""
    names = [name for name in table.column_names if name in frame.columns]
    least = max(2, len(names) // 2)
    if len(names) < 2 or frame.is_empty():
        return frame, []
    same = {name: pl.col(name).str.to_lowercase().is_in([name, table.column(name).label.lower()]) for name in names}
    # No row has half of its cells like that unless the middle one or one of the first few is.
    some = frame.filter(pl.any_horizontal(same[name] for name in names[: len(names) - least + 1]).fill_null(False))
    if some.is_empty():
        return frame, []
    headings = some.filter(pl.sum_horizontal(each.fill_null(False) for each in same.values()) >= least)
    if headings.is_empty():
        return frame, []
    rows = headings[ROW].to_list()
    scope = Scope.ROW if len(rows) <= MOST_SHOWN else Scope.FILE
    return frame.filter(~pl.col(ROW).is_in(rows)), [
        _finding("file.headings_again", place, scope=scope, rows_affected=rows)
    ]


def _take_shortened(frame: pl.DataFrame, table: Table, place: Place) -> tuple[pl.DataFrame, list[Finding]]:
    """The frame without rows in whose text a spreadsheet program has cut a number short; only few are held back.

    Columns with a form of their own are left to the check, which sees it by itself.
    """
    ruled = {rule.columns[0] for rule in table.rules if rule.kind in (RuleKind.TYPE, RuleKind.CODE, RuleKind.PATTERN)}
    names = [name for name in table.column_names if name in frame.columns and name not in ruled]
    if not names or frame.is_empty():
        return frame, []
    cut = frame.select(pl.any_horizontal(pl.col(names).str.contains(SHORTENED)).fill_null(False))[:, 0]
    if not cut.any():
        return frame, []
    columns = [name for name in names if frame[name].str.contains(SHORTENED).any()]
    rows = frame[ROW].filter(cut).to_list()
    scope = Scope.ROW if len(rows) <= MOST_SHOWN else Scope.FILE
    return frame.filter(~cut), [
        _finding("file.shortened_numbers", place, columns=columns, scope=scope, rows_affected=rows)
    ]


# --- files and counts -------------------------------------------------------------------------------------------------


def check_row_count(
    table: Table, place: Place, body: Body, manifest: Manifest, *, required: bool, others: int = 0
) -> list[Finding]:
    """The rows found against those that the manifest declares; nothing where nobody can tell where rows end.

    :param others: rows among them that are none of the table's, which a manifest may count or not: totals, headings.
    """
    if any(finding.code == "file.quoting_unclear" for finding in body.findings):
        return []
    found = body.rows_found - others
    if table.name in manifest.nil_tables:
        return [_finding("file.declared_nil", place, found=found)] if found else []
    declared = manifest.tables.get(table.name)
    if declared is None:
        return [_finding("file.undeclared_rows", place, found=found)] if required else []
    if declared not in (found, body.rows_found):
        if found < declared:
            return [_finding("file.rows_missing", place, declared=declared, found=found, missing=declared - found)]
        return [_finding("file.row_count", place, declared=declared, found=found)]
    return []


def choose_files(taken: TakenDrop, agreed: Sequence[str]) -> tuple[dict[str, TakenFile], list[Finding]]:
    """Agreed file name -> the file that has it, or the one whose name is near it and nobody's else; and one finding for
    each file that no agreed table has, by its place and with the nearest agreed name."""
    wanted = {name.casefold(): name for name in agreed}
    chosen = {wanted[name]: file for file in taken.files if (name := file.name.casefold()) in wanted}
    missing = [name for name in agreed if name not in chosen]
    findings = []
    for number, file in enumerate(taken.files, start=1):
        if file.name.casefold() in wanted or (file.sheet is not None and not file.size):
            continue  # an empty sheet, as spreadsheet programs put into every new workbook, sends nothing
        likeness = [(_alike(_simple(_stem(file.name)), _simple(_stem(name))), name) for name in missing]
        ratio, near = max(likeness, default=(0.0, ""))
        if ratio >= _NEAR:
            chosen[near] = file
            missing.remove(near)
        name = _stem(near) if file.sheet else near
        hint = f"; is it meant to be {name}?" if ratio >= _NEAR else "."
        which = f"Sheet {file.sheet} of the workbook" if file.sheet else _which(number, taken)
        code = "drop.unknown_sheet" if file.sheet else "drop.unknown_file"
        sentence, mend = _FAULTS[code]
        if ratio >= _NEAR:
            mend = f"Call it {name} if it is; if not, leave it out: nothing is taken that the agreement does not name."
        findings.append(
            Finding(code=code, scope=Scope.SUBMISSION, sentence=sentence.format(which=which, hint=hint), mend=mend)
        )
    return chosen, findings


def _which(number: int, taken: TakenDrop) -> str:
    """A .csv file by its place among them, since its name may be anything."""
    files = sum(file.sheet is None for file in taken.files)
    return f"Number {number} of the {files} .csv files (in order of name)" if files > 1 else "The .csv file"


def find_unknown_files(taken: TakenDrop, agreed: Sequence[str]) -> list[Finding]:
    """One finding for each file that no agreed table has, by its place and with the nearest agreed name."""
    return choose_files(taken, agreed)[1]


def _stem(name: str) -> str:
    return Path(name).stem


_FAULTS: dict[str, tuple[str, str]] = {
    "drop.unknown_file": (
        "{which} is not one of the agreed files{hint}",
        "Leave it out, or give it the agreed name; nothing is taken that the agreement does not name.",
    ),
    "drop.unknown_sheet": (
        "{which} is not named like an agreed table{hint}",
        "Delete the sheet, or give it the table's name as in the template; nothing is taken that the agreement does "
        "not name.",
    ),
    "drop.hidden_sheet": (
        "Sheet {number} of the workbook is hidden, and was read all the same.",
        "Look whether it is meant to be sent: in Excel, right-click on any sheet's name and choose Unhide.",
    ),
    "file.shortened_numbers": (
        "In {file}, the spreadsheet program has cut long numbers short in {names}: only fifteen digits are left of "
        "them.",
        "Format the column as text, put the full numbers in again from your own system, and save.",
    ),
    "file.missing": (
        "{file} ({label}) is missing.",
        "Put it into the drop. If there is nothing to report, write '{table}: nil' under 'tables' of the manifest.",
    ),
    "file.missing_declared": (
        "{file} is missing, although the manifest counts {rows} rows in it.",
        "Put the file into the drop, or correct the manifest.",
    ),
    "file.header_missing": (
        "The first row of {file} holds none of the agreed headings.",
        "Insert the heading row of the template as row 1.",
    ),
    "file.columns_missing": (
        "{file} lacks {names}.",
        "Add what is missing with the heading of the template, exactly as written there; leave cells empty where "
        "nothing is known.",
    ),
    "file.column_misspelt": (
        "In {file}, headings are not written as agreed: {headings}.",
        "Copy the headings from the template, exactly as written there.",
    ),
    "file.column_undeclared": (
        "In {file}, there are headings that are not agreed: {numbers}.",
        "Correct the heading or delete the column; a column that the agreement does not name may not be sent.",
    ),
    "file.column_unnamed": (
        "In {file}, there are cells without a heading above them: {numbers}.",
        "Delete the column, or give it its agreed heading.",
    ),
    "file.columns_empty": (
        "In {file}, there are empty columns without a heading: {numbers}. They were passed over.",
        "Nothing need be done. To be rid of this note, delete the columns in the spreadsheet program and save again.",
    ),
    "file.totals_row": (
        "Row {row}, the last one of {file}, seems to be a total of the rows above it.",
        "Delete the row; only rows of the table itself may be in the file.",
    ),
    "file.headings_again": (
        "In {file}, headings stand a second time among the rows.",
        "Delete these rows; the headings belong into row 1 and nowhere else.",
    ),
    "file.column_twice": (
        "{file} has more than one column {names}.",
        "Keep the one that is right.",
    ),
    "file.delete_outside_delta": (
        "{file} has a column _delete, which only a delta may have.",
        "Delete the column, or declare 'kind: delta' in the manifest.",
    ),
    "file.declared_nil": (
        "The manifest declares {table} nil, but {file} has {found} rows.",
        "Leave the file out, or write the number of rows into the manifest.",
    ),
    "file.undeclared_rows": (
        "The manifest does not count the rows of {file}.",
        "Write '{table}: {found}' under 'tables' of the manifest if the file is whole.",
    ),
    "file.row_count": (
        "The manifest counts {declared} rows of {file}, but the file has {found}.",
        "Check that nothing was put in or pasted twice; then correct the number in the manifest.",
    ),
    "file.rows_missing": (
        "The manifest counts {declared} rows of {file}, but the file has {found}: {missing} are missing. What refers "
        "to them was not looked for.",
        "Look whether a filter was left on when the file was saved, or whether it broke off while it was copied, and "
        "save or export it again. Only if the file is whole, correct the number in the manifest.",
    ),
}


def _finding(
    code: str,
    place: Place,
    *,
    columns: Sequence[str] = (),
    scope: Scope = Scope.FILE,
    rows_affected: Sequence[int] = (),
    **values: object,
) -> Finding:
    sentence, mend = _FAULTS[code]
    names = ("the columns " if len(columns) > 1 and code == "file.columns_missing" else "") + ", ".join(columns)
    if code == "file.columns_missing" and len(columns) == 1:
        names = f"the column {names}"
    texts = {"file": place.file, "table": place.table, "names": names, **values}
    return Finding(
        code=code,
        scope=scope,
        table=place.table,
        file=place.file,
        columns=tuple(columns),
        sentence=sentence.format(**texts),
        mend=mend.format(**texts),
        rows_affected=len(rows_affected),
        first_rows=tuple(rows_affected[:MOST_SHOWN]),
    )
