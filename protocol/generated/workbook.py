"""The template workbook: one sheet a table, with drop-downs and limits, and sheets that explain it.

Row 1 of a table's sheet holds the agreed names and nothing else, since that is what is read back. Everything that
helps (label, what to write, example, why, what becomes of it) is in notes, input messages and the sheets that a reader
passes over (:data:`protocol.generated.names.EXPLAINING_SHEETS`).
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from protocol.generated.names import (
    CODES_SHEET,
    EXAMPLE_SHEET,
    MANIFEST_ENTRIES,
    MANIFEST_HEADINGS,
    MANIFEST_KINDS,
    MANIFEST_SHEET,
    README_SHEET,
    sheet_name,
)
from protocol.generated.versions import AgreedVersion, agreed_versions
from protocol.generated.words import (
    codes_of,
    day_in_words,
    need_in_words,
    treatment_in_words,
    used_codelists,
    what_to_write,
)
from protocol.model import Agreement, Code, CodeList, Column, ColumnType, Partner, Table
from protocol.versions import collected_codes

LAST_ROW = 1_048_575
"""Of a sheet, counted from 0: Excel has 1,048,576 rows."""

Rows = Mapping[str, Sequence[Mapping[str, str | None]]]
"""Table -> rows, each column -> text as it would stand in the CSV."""

_MESSAGE = 255
"""Characters of an input or error message that Excel has; its title has ``_TITLE``."""
_TITLE = 32
_FIRST_DAY = date(1900, 1, 1)
"""Excel knows no earlier date."""
_DAY = "yyyy-mm-dd"
_KINDS = (
    ("full", "All rows of the period; replaces what you sent for it before, table by table."),
    ("delta", "Only new and changed rows; they are told from the others by their keys."),
    ("correction", "All rows once more; replaces the submission named under supersedes."),
    ("nil", "Nothing to report for the whole period; leave the sheets empty."),
)
assert tuple(kind for kind, _ in _KINDS) == MANIFEST_KINDS

_MANIFEST_HELP = {
    "partner": "Your partner id, one of the list.",
    "period": "The collection period that the rows are about; choose it from the list.",
    "agreement_version": "The version of the tables that this workbook was made for. Leave it as it is.",
    "kind": "full in most cases; correction where you mend a submission. The sheet Codes says what each means.",
    "supersedes": "For a correction alone: the submission that it mends, as its receipt names it (sub-...).",
    "extracted_on": "The day on which the rows were taken out of your own system, as year-month-day (yyyy-mm-dd).",
}


def write_workbook(
    path: Path,
    agreement: Agreement,
    partner: Partner | None = None,
    version: AgreedVersion | None = None,
    *,
    rows: Rows | None = None,
    manifest: Mapping[str, str] | None = None,
) -> None:
    """Write :func:`make_workbook` to ``path``."""
    path.write_bytes(make_workbook(agreement, partner, version, rows=rows, manifest=manifest))


def make_workbook(
    agreement: Agreement,
    partner: Partner | None = None,
    version: AgreedVersion | None = None,
    *,
    rows: Rows | None = None,
    manifest: Mapping[str, str] | None = None,
) -> bytes:
    """The template workbook of a version, the newest where none is given: the same arguments give the same bytes.

    ``rows`` and ``manifest`` fill it in, as a partner would: dates and numbers in their agreed form become real dates
    and numbers, everything else stays text. AgreementError where a table's name is none that Excel has for a sheet.
    """
    version = version or agreed_versions(agreement)[0]
    content = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_numbers": False,
        "strings_to_formulas": False,
        "strings_to_urls": False,
    }
    with xlsxwriter.Workbook(content, options) as book:
        book.set_properties(
            {
                "title": f"{agreement.title}: template, version {version.contract.version}",
                "author": agreement.coordinator.role,
                "comments": f"Made from the agreement's text with digest {agreement.digest}.",
                "created": datetime.combine(agreement.term.starts, time()),
            }
        )
        _Maker(book, agreement, partner, version).make(rows or {}, manifest or {})
    return content.getvalue()


class _Maker:
    """One workbook while it is made."""

    def __init__(
        self, book: xlsxwriter.Workbook, agreement: Agreement, partner: Partner | None, version: AgreedVersion
    ) -> None:
        self.book, self.agreement, self.partner, self.version = book, agreement, partner, version
        self.formats: dict[str, Format] = {name: book.add_format(values) for name, values in _FORMATS.items()}

    def make(self, rows: Rows, manifest: Mapping[str, str]) -> None:
        """All sheets, in the order in which they are wanted."""
        tables = self.version.contract.tables
        names = (README_SHEET, MANIFEST_SHEET, *(sheet_name(table) for table in tables), EXAMPLE_SHEET, CODES_SHEET)
        sheets: dict[str, Worksheet] = {name: self.book.add_worksheet(name) for name in names}
        self._write_readme(sheets[README_SHEET])
        self._write_manifest(sheets[MANIFEST_SHEET], manifest)
        for table in tables:
            self._write_table(sheets[table.name], table, rows.get(table.name, ()))
        self._write_examples(sheets[EXAMPLE_SHEET])
        self._write_codes(sheets[CODES_SHEET])
        sheets[README_SHEET].activate()

    # --- a table ---

    def _write_table(self, sheet: Worksheet, table: Table, rows: Iterable[Mapping[str, str | None]]) -> None:
        sheet.set_tab_color(_BLUE if not table.optional else _GREY)
        sheet.freeze_panes(1, 1 if table.person_column == table.columns[0].name else 0)
        for number, column in enumerate(table.columns):
            heading = self.formats["needed" if column.required else "heading"]
            sheet.set_column(number, number, _width(column), self.formats[_CELLS[column.type]])
            sheet.write_string(0, number, column.name, heading)
            sheet.write_comment(0, number, self._note(table, column), _NOTE)
            sheet.data_validation(1, number, LAST_ROW, number, self._validation(column))
        last = 0
        for last, row in enumerate(rows, start=1):
            for number, column in enumerate(table.columns):
                self._write_cell(sheet, last, number, column, row.get(column.name))
        sheet.autofilter(0, 0, max(last, 1), len(table.columns) - 1)
        _fit_for_print(sheet, repeat=0)

    def _write_cell(self, sheet: Worksheet, row: int, number: int, column: Column, text: str | None) -> None:
        if text is None:
            return
        cell = self.formats[_CELLS[column.type]]
        value = _typed(column, text)
        if isinstance(value, date):
            sheet.write_datetime(row, number, value, cell)
        elif isinstance(value, (int, float)):
            sheet.write_number(row, number, value, cell)
        else:
            sheet.write_string(row, number, text, cell)

    def _note(self, table: Table, column: Column) -> str:
        codelist = codes_of(self.version.codelists, column)
        lines = [
            f"{column.label}: {column.description}",
            f"{what_to_write(column, codelist)} {need_in_words(column)}",
            f"Example: {column.example}",
            f"Why: {column.why}",
            f"What becomes of it: {treatment_in_words(table, column)}",
        ]
        return "\n".join(lines)

    def _validation(self, column: Column) -> dict[str, Any]:
        codelist = codes_of(self.version.codelists, column)
        told = what_to_write(column, codelist)
        message = _shorten(f"{told}\n{need_in_words(column)}\nExample: {column.example}", _MESSAGE)
        title = _shorten(column.label, _TITLE)
        common = {
            "input_title": title,
            "input_message": message,
            "error_title": title,
            "error_message": _shorten(told, _MESSAGE),
            "ignore_blank": True,
        }
        return {**_limits(column), **common}

    # --- what a manifest says ---

    def _write_manifest(self, sheet: Worksheet, given: Mapping[str, str]) -> None:
        sheet.set_tab_color(_BLUE)
        sheet.set_column(0, 0, 22, self.formats["text"])
        sheet.set_column(1, 1, 34, self.formats["text"])
        sheet.freeze_panes(1, 0)
        for number, heading in enumerate(MANIFEST_HEADINGS):
            sheet.write_string(0, number, heading, self.formats["needed"])
        values = {
            "agreement_version": self.version.contract.version,
            "kind": "full",
            **({"partner": self.partner.id} if self.partner else {}),
            **given,
        }
        for row, entry in enumerate(MANIFEST_ENTRIES, start=1):
            cell = self.formats["day" if entry == "extracted_on" else "text"]
            sheet.write_string(row, 0, entry, self.formats["entry"])
            day = _read_day(values.get(entry, "")) if entry == "extracted_on" else None
            if day is not None:
                sheet.write_datetime(row, 1, day, cell)
            elif entry in values:
                sheet.write_string(row, 1, values[entry], cell)
            else:
                sheet.write_blank(row, 1, None, cell)
            sheet.data_validation(row, 1, row, 1, {**_MANIFEST_LIMITS[entry], **_messages(entry)})
            sheet.write_comment(row, 0, _MANIFEST_HELP[entry], _SMALL_NOTE)
        _fit_for_print(sheet)

    # --- the sheets that explain ---

    def _write_readme(self, sheet: Worksheet) -> None:
        for number, width in enumerate((18, 22, 24, 9, 44, 24, 44, 44)):
            sheet.set_column(number, number, width)
        sheet.hide_gridlines(2)
        row = 0
        sheet.write_string(row, 0, self.agreement.title, self.formats["title"])
        whose = f"Template of {self.partner.name}" if self.partner else "Template for any partner"
        sheet.write_string(row + 1, 0, f"{whose}, version {self.version.contract.version} of the tables")
        for row, line in enumerate(self._steps(), start=3):
            sheet.write_string(row, 0, line)
        row += 1
        sheet.write_string(row, 0, "needed", self.formats["needed"])
        sheet.write_string(row, 1, "A heading like this: the column is needed in every row.")
        sheet.write_string(row + 1, 0, "may be empty", self.formats["heading"])
        sheet.write_string(row + 1, 1, "A heading like this: leave a cell empty where it is not known.")
        row += 3
        headings = ("Table", "Column", "Label", "Needed", "What to write", "Example", "Why it is needed",
                    "What becomes of it")  # fmt: skip
        top = row
        for number, heading in enumerate(headings):
            sheet.write_string(row, number, heading, self.formats["needed"])
        for table in self.version.contract.tables:
            for column in table.columns:
                row += 1
                told = what_to_write(column, codes_of(self.version.codelists, column))
                cells = (table.name, column.name, column.label, "yes" if column.required else "", told,
                         column.example, column.why, treatment_in_words(table, column))  # fmt: skip
                for number, cell in enumerate(cells):
                    sheet.write_string(row, number, cell, self.formats["wrapped"])
        sheet.autofilter(top, 0, row, len(headings) - 1)
        _fit_for_print(sheet)

    def _steps(self) -> list[str]:
        optional = [table.name for table in self.version.contract.tables if table.optional]
        coordinator = self.agreement.coordinator
        steps = [
            "1. Fill in the sheet manifest: the period and the day of the extract, and what else is empty there.",
            "2. Fill in one sheet for each table. Leave row 1 as it is; the first record goes into row 2.",
            "3. Click into a cell to see what belongs there. Rest the pointer on a heading to see why it is asked for.",
            "4. Where you paste from another program, paste values only, so that drop-downs and formats stay.",
            "5. Save it as an Excel workbook (.xlsx) and put it into your inbox. You get a receipt.",
        ]
        if self.version.sunset is not None:
            steps.append(f"This version of the tables is taken until {day_in_words(self.version.sunset)}.")
        if optional:
            steps.append(f"Leave a sheet empty that is about work you do not do ({', '.join(optional)}).")
        steps += [
            "Read me, Example and Codes are for you and are not read. No sheet may be renamed; columns may be moved.",
            f"Questions: {coordinator.role}, {coordinator.email}",
        ]
        return steps

    def _write_examples(self, sheet: Worksheet) -> None:
        sheet.hide_gridlines(2)
        widths: dict[int, int] = {}
        sheet.write_string(0, 0, "One made-up row of each table", self.formats["title"])
        row = 2
        for table in self.version.contract.tables:
            sheet.write_string(row, 0, f"{table.name}: {table.description}", self.formats["strong"])
            for number, column in enumerate(table.columns):
                heading = self.formats["needed" if column.required else "heading"]
                sheet.write_string(row + 1, number, column.name, heading)
                sheet.write_string(row + 2, number, column.example, self.formats["boxed"])
                widths[number] = max(widths.get(number, 0), _width(column))
            row += 4
        for number, width in widths.items():
            sheet.set_column(number, number, width)
        _fit_for_print(sheet)

    def _write_codes(self, sheet: Worksheet) -> None:
        for number, width in enumerate((24, 28, 60, 13, 13)):
            sheet.set_column(number, number, width)
        sheet.freeze_panes(1, 0)
        for number, heading in enumerate(("list", "code", "label", "valid from", "valid to")):
            sheet.write_string(0, number, heading, self.formats["needed"])
        row = 1
        for name, entries in self._code_lists():
            self.book.define_name(_range_name(name), f"='{CODES_SHEET}'!$B${row + 1}:$B${row + len(entries)}")
            for code, label, first, last in entries:
                for number, cell in enumerate((name, code, label)):
                    sheet.write_string(row, number, cell, self.formats["text"])
                for number, day in ((3, first), (4, last)):
                    if day is not None:
                        sheet.write_datetime(row, number, day, self.formats["day"])
                row += 1
        sheet.autofilter(0, 0, row - 1, 4)
        _fit_for_print(sheet, repeat=0)

    def _code_lists(self) -> list[tuple[str, list[tuple[str, str, date | None, date | None]]]]:
        """Every list as (name, entries); first those of the manifest, whose names no code list can have."""
        partners = [self.partner] if self.partner else self.agreement.partners
        calendar = self.agreement.calendar
        periods: list[tuple[str, str, date | None, date | None]] = [
            (period.id, f"{day_in_words(period.starts)} to {day_in_words(period.ends)}",
             calendar.opens_on(period), calendar.closes_on(period))
            for period in self.version.periods
        ]  # fmt: skip
        return [
            ("manifest: partner", [(partner.id, partner.name, None, None) for partner in partners]),
            ("manifest: period", periods),
            ("manifest: kind", [(kind, told, None, None) for kind, told in _KINDS]),
            *(
                (codelist.name, [(code.code, code.label, code.valid_from, code.valid_to) for code in _codes(codelist)])
                for codelist in used_codelists(self.version.codelists, self.version.contract.tables)
            ),
        ]


def _codes(codelist: CodeList) -> list[Code]:
    """The codes that a partner may write."""
    wanted = collected_codes(codelist)
    return [code for code in codelist.codes if code.code in wanted]


def _range_name(list_name: str) -> str:
    """Name of a list's range; those of the manifest begin with another word than those of code lists."""
    return list_name.replace("manifest: ", "entries_") if ": " in list_name else f"codes_{list_name}"


def _messages(entry: str) -> dict[str, Any]:
    told = _shorten(_MANIFEST_HELP[entry], _MESSAGE)
    return {"input_title": entry, "input_message": told, "error_title": entry, "error_message": told}


_MANIFEST_LIMITS: Mapping[str, dict[str, Any]] = {
    "partner": {"validate": "list", "source": f"={_range_name('manifest: partner')}"},
    "period": {"validate": "list", "source": f"={_range_name('manifest: period')}"},
    "agreement_version": {"validate": "any"},
    "kind": {"validate": "list", "source": f"={_range_name('manifest: kind')}"},
    "supersedes": {"validate": "any"},
    "extracted_on": {"validate": "date", "criteria": ">=", "value": date(2000, 1, 1)},
}


def _limits(column: Column) -> dict[str, Any]:
    """What Excel lets into a cell; a pattern is beyond it and is told in the message alone."""
    if column.type is ColumnType.CODE:
        return {"validate": "list", "source": f"={_range_name(str(column.codelist))}"}
    if column.type is ColumnType.TEXT:
        return {"validate": "length", "criteria": "<=", "value": column.max_length}
    if column.type is ColumnType.DATE:
        least = max(_read_day(column.minimum or "") or _FIRST_DAY, _FIRST_DAY)
        most = _read_day(column.maximum or "")
        return _between("date", least, most)
    kind = "integer" if column.type is ColumnType.INTEGER else "decimal"
    whole = column.type is ColumnType.INTEGER
    least_number = _number(column.minimum, whole) if column.minimum is not None else None
    most_number = _number(column.maximum, whole) if column.maximum is not None else None
    if least_number is None and most_number is None:
        least_number = _number("-999999999999999", whole)  # Excel keeps 15 digits
    return _between(kind, least_number, most_number)


def _between(kind: str, least: Any, most: Any) -> dict[str, Any]:
    if least is None:
        return {"validate": kind, "criteria": "<=", "value": most}
    if most is None:
        return {"validate": kind, "criteria": ">=", "value": least}
    return {"validate": kind, "criteria": "between", "minimum": least, "maximum": most}


def _number(text: str, whole: bool) -> int | float:
    return int(text) if whole else float(text)


def _read_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _typed(column: Column, text: str) -> date | int | float | str:
    """The cell as Excel would hold it once a person has typed it; text where it is not in its agreed form."""
    try:
        if column.type is ColumnType.DATE:
            day = date.fromisoformat(text)
            return day if day >= _FIRST_DAY and day.isoformat() == text else text
        if column.type is ColumnType.INTEGER:
            return int(text) if str(int(text)) == text and len(text) <= 15 else text
        if column.type is ColumnType.DECIMAL:
            return float(text) if text.replace(".", "").replace("-", "").isdigit() and len(text) <= 15 else text
    except ValueError:
        return text
    return text


def _width(column: Column) -> int:
    return min(40, max(len(column.name) + 4, len(column.example) + 2, 12))


def _shorten(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def _fit_for_print(sheet: Worksheet, repeat: int | None = None) -> None:
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    if repeat is not None:
        sheet.repeat_rows(repeat)


_BLUE, _GREY, _LINE = "#14507F", "#6B7885", "#B9C4CE"
_CELLS = {
    ColumnType.TEXT: "text",
    ColumnType.CODE: "text",
    ColumnType.DATE: "day",
    ColumnType.INTEGER: "integer",
    ColumnType.DECIMAL: "decimal",
}
_FORMATS: Mapping[str, dict[str, Any]] = {
    "text": {"num_format": "@", "valign": "top"},
    "day": {"num_format": _DAY, "align": "left", "valign": "top"},
    "integer": {"num_format": "0", "valign": "top"},
    "decimal": {"num_format": "General", "valign": "top"},
    "needed": {"bold": True, "bg_color": _BLUE, "font_color": "#FFFFFF", "border": 1, "border_color": _LINE,
               "num_format": "@", "valign": "top"},
    "heading": {"bg_color": "#E4EBF1", "font_color": "#1B2733", "border": 1, "border_color": _LINE, "num_format": "@",
                "valign": "top"},
    "entry": {"bold": True, "num_format": "@", "valign": "top"},
    "wrapped": {"text_wrap": True, "valign": "top", "border": 1, "border_color": _LINE, "num_format": "@"},
    "boxed": {"border": 1, "border_color": _LINE, "num_format": "@"},
    "title": {"bold": True, "font_size": 15},
    "strong": {"bold": True},
}  # fmt: skip
_NOTE = {"width": 340, "height": 190, "font_size": 9, "color": "#FFFDF2"}
_SMALL_NOTE = {"width": 300, "height": 60, "font_size": 9, "color": "#FFFDF2"}
