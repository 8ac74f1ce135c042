"""The template workbook: what an officer sees helps, and what is read back is what was written."""

import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from datetime import date
from xml.etree import ElementTree

import pytest
from python_calamine import CalamineWorkbook

from protocol.errors import AgreementError
from protocol.generated.names import CODES_SHEET, EXPLAINING_SHEETS, MANIFEST_ENTRIES, MANIFEST_SHEET, sheet_name
from protocol.generated.versions import AgreedVersion, agreed_versions
from protocol.generated.words import treatment_in_words
from protocol.generated.workbook import LAST_ROW, make_workbook
from protocol.model import Agreement, ColumnType
from protocol.versions import NOT_COLLECTED, collected_codes

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read(content: bytes) -> CalamineWorkbook:
    return CalamineWorkbook.from_filelike(io.BytesIO(content))


def sheets(content: bytes) -> dict[str, ElementTree.Element]:
    """Sheet -> its XML."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        book = ElementTree.fromstring(archive.read("xl/workbook.xml"))
        names = [sheet.get("name", "") for sheet in book.iter(f"{MAIN}sheet")]
        return {
            name: ElementTree.fromstring(archive.read(f"xl/worksheets/sheet{number}.xml"))
            for number, name in enumerate(names, start=1)
        }


def all_workbooks(agreement: Agreement) -> Iterator[tuple[AgreedVersion, bytes]]:
    for version in agreed_versions(agreement):
        yield version, make_workbook(agreement, agreement.partners[0], version)


def test_row_1_of_each_tables_sheet_is_the_agreed_names_and_there_is_no_other_row(any_agreement: Agreement) -> None:
    for version, content in all_workbooks(any_agreement):
        book = read(content)
        for table in version.contract.tables:
            rows = book.get_sheet_by_name(table.name).to_python()
            assert rows == [list(table.column_names)]
        assert [name for name in book.sheet_names if name not in version.contract.table_names] == [
            EXPLAINING_SHEETS[0],
            MANIFEST_SHEET,
            *EXPLAINING_SHEETS[1:],
        ]


def test_nothing_is_longer_than_excel_allows(any_agreement: Agreement) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # xlsxwriter warns of what it leaves out
        for version, content in all_workbooks(any_agreement):
            for table in version.contract.tables:
                validations = list(sheets(content)[table.name].iter(f"{MAIN}dataValidation"))
                assert len(validations) == len(table.columns)
                assert all(len(each.get("prompt", "")) <= 255 for each in validations)
                assert all(each.get("sqref", "").endswith(str(LAST_ROW + 1)) for each in validations)


def test_the_drop_down_of_a_code_column_holds_the_codes_of_its_list(any_agreement: Agreement) -> None:
    for version, content in all_workbooks(any_agreement):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = dict(re.findall(r'<definedName name="(\w+)">([^<]+)<', archive.read("xl/workbook.xml").decode()))
        codes = read(content).get_sheet_by_name(CODES_SHEET).to_python()
        for table in version.contract.tables:
            validations = list(sheets(content)[table.name].iter(f"{MAIN}dataValidation"))
            for column, validation in zip(table.columns, validations, strict=True):
                if column.type is not ColumnType.CODE:
                    continue
                formula = validation.find(f"{MAIN}formula1")
                assert formula is not None
                first, last = map(int, re.findall(r"\$B\$(\d+)", names[str(formula.text)]))
                (codelist,) = (one for one in version.codelists if one.name == column.codelist)
                assert tuple(row[1] for row in codes[first - 1 : last]) == collected_codes(codelist)


def test_nobody_is_offered_the_code_for_what_was_not_asked(two_versions: Agreement) -> None:
    version, content = next(all_workbooks(two_versions))
    assert any(NOT_COLLECTED in codelist.values for codelist in version.codelists)
    assert NOT_COLLECTED not in str(read(content).get_sheet_by_name(CODES_SHEET).to_python())


def test_each_heading_has_a_note_with_label_example_reason_and_treatment(
    agreement: Agreement, version: AgreedVersion
) -> None:
    content = make_workbook(agreement, None, version)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        notes = [
            "".join(comment.itertext())
            for name in archive.namelist()
            if name.startswith("xl/comments")
            for comment in ElementTree.fromstring(archive.read(name)).iter(f"{MAIN}comment")
        ]
    for table in version.contract.tables:
        for column in table.columns:
            wanted = (column.label, column.example, column.why, treatment_in_words(table, column))
            assert any(all(words in note for words in wanted) for note in notes), f"{table.name}.{column.name}"


def test_the_read_me_has_a_line_for_each_column(agreement: Agreement, version: AgreedVersion) -> None:
    rows = read(make_workbook(agreement, None, version)).get_sheet_by_name("Read me").to_python()
    lines = {(row[0], row[1]): row for row in rows}
    for table in version.contract.tables:
        for column in table.columns:
            line = lines[table.name, column.name]
            assert line[2:4] == [column.label, "yes" if column.required else ""]
            assert column.why in line


def test_text_columns_are_text_to_excel_and_dates_are_iso_dates(agreement: Agreement, version: AgreedVersion) -> None:
    content = make_workbook(agreement, None, version)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        styles = ElementTree.fromstring(archive.read("xl/styles.xml"))
    custom = {entry.get("numFmtId"): entry.get("formatCode") for entry in styles.iter(f"{MAIN}numFmt")}
    cells = styles.find(f"{MAIN}cellXfs")
    assert cells is not None
    forms = [custom.get(cell.get("numFmtId"), cell.get("numFmtId")) for cell in cells]
    expected = {ColumnType.TEXT: "@", ColumnType.CODE: "@", ColumnType.DATE: "yyyy-mm-dd"}
    seen = 0
    for table in version.contract.tables:
        ranges = [
            (int(col.get("min", 0)) - 1, int(col.get("max", 0)), forms[int(col.get("style", 0))])
            for col in sheets(content)[table.name].iter(f"{MAIN}col")
        ]
        for number, column in enumerate(table.columns):
            form = next(form for first, last, form in ranges if first <= number < last)
            if column.type in expected:
                assert form == expected[column.type], f"{table.name}.{column.name}"
                seen += 1
    assert seen > 50


def test_dates_and_numbers_are_held_to_their_limits(agreement: Agreement, version: AgreedVersion) -> None:
    table = version.contract.table("service_contact")
    validations = dict(
        zip(
            table.column_names,
            sheets(make_workbook(agreement, None, version))[table.name].iter(f"{MAIN}dataValidation"),
            strict=True,
        )
    )
    minutes, day = validations["minutes"], validations["contacted_on"]
    assert (minutes.get("type"), [f.text for f in minutes]) == ("whole", ["0", "1440"])
    assert day.get("type") == "date"
    assert day.get("operator") == "greaterThanOrEqual"
    assert [f.text for f in day] == [str((date(1990, 1, 1) - date(1899, 12, 30)).days)]


def as_text(cell: object) -> str | None:
    if cell == "":
        return None
    if isinstance(cell, date):
        return cell.isoformat()[:10]
    return f"{cell:g}" if isinstance(cell, float) else str(cell)


def test_what_is_filled_in_is_read_back_as_it_was(agreement: Agreement, version: AgreedVersion) -> None:
    table = version.contract.table("service_contact")
    example = {column.name: column.example for column in table.columns}
    rows: list[dict[str, str | None]] = [
        {**example, "contact_number": f"{number:06}", "local_person_id": "00123", "minutes": str(number % 1440)}
        for number in range(1000)
    ]
    rows[1] |= {"contact_number": "1E5", "notes": "=1+1", "minutes": None, "channel": "2026-03-01"}
    rows[2] |= {"contacted_on": "03/04/2026", "minutes": "007", "notes": "https://made.up.example"}
    given = {"period": "2026-Q1", "extracted_on": "2026-04-03"}
    content = make_workbook(
        agreement, agreement.partner("harbour_trust"), version, rows={table.name: rows}, manifest=given
    )
    book = read(content)
    headings, *cells = book.get_sheet_by_name(table.name).to_python()
    assert [dict(zip(headings, map(as_text, row), strict=True)) for row in cells] == rows
    assert isinstance(cells[0][headings.index("contacted_on")], date)
    manifest = {row[0]: as_text(row[1]) for row in book.get_sheet_by_name(MANIFEST_SHEET).to_python()[1:]}
    assert manifest == {
        "partner": "harbour_trust",
        "agreement_version": "1.0",
        "kind": "full",
        "supersedes": None,
        **given,
    }
    assert tuple(manifest) == MANIFEST_ENTRIES


def test_the_same_agreement_gives_the_same_bytes(agreement: Agreement, version: AgreedVersion) -> None:
    assert make_workbook(agreement, None, version) == make_workbook(agreement, None, version)


@pytest.mark.parametrize("name", ["a_table_with_a_very_long_name_ind", "manifest", "codes", "history"])
def test_a_table_that_excel_has_no_sheet_for_is_refused_with_its_name(agreement: Agreement, name: str) -> None:
    table = agreement.contract.tables[0].model_copy(update={"name": name})
    with pytest.raises(AgreementError, match=f"table {name}"):
        sheet_name(table)


def test_an_earlier_versions_workbook_says_until_when_it_is_taken(two_versions: Agreement) -> None:
    (_, newest), (_, earlier) = all_workbooks(two_versions)
    assert "taken until 30 November 2026" in str(read(earlier).get_sheet_by_name("Read me").to_python())
    assert "taken until" not in str(read(newest).get_sheet_by_name("Read me").to_python())
