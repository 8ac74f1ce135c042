"""Workbooks: what a person sees in a sheet is what is read, and nothing hostile gets as far as the reader."""

import io
import struct
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from intake import FetchedDrop, Limits, open_taken, read_manifest, read_submission, take_in
from intake.submission import speak_of_sheets
from intake.workbook import WorkbookLimits, convert_workbook, write_cell
from protocol.finding import Finding, Scope
from protocol.model import Contract, Partner

Step = Callable[..., Any]
ENTRIES = {
    "partner": "harbour_trust",
    "period": "2026-Q1",
    "agreement_version": "1.0",
    "kind": "full",
    "supersedes": "",
    "extracted_on": date(2026, 4, 3),
}
PERSON = [["local_person_id", "surname", "sex"], ["P1", "Smith", "female"], ["P2", "O'Neill", "male"]]
ASSESSMENT = [["assessment_number", "local_person_id", "tool", "summary"], ["A1", "P1", "star", None]]


def make_workbook(sheets: dict[str, list[list[Any]]], *, hidden: str | None = None) -> bytes:
    """Sheets of cells; dates are written as dates, a tuple as a formula with its value."""
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        moment = book.add_format({"num_format": "dd/mm/yyyy hh:mm"})
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            if name == hidden:
                sheet.hide()
            for number, row in enumerate(rows):
                for place, cell in enumerate(row):
                    if isinstance(cell, tuple):
                        sheet.write_formula(number, place, cell[0], None, cell[1])
                    elif isinstance(cell, datetime):
                        sheet.write_datetime(number, place, cell, moment)
                    elif isinstance(cell, date):
                        sheet.write_datetime(number, place, cell, day)
                    elif isinstance(cell, str):
                        sheet.write_string(number, place, cell)
                    elif cell is not None:
                        sheet.write(number, place, cell)
    return content.getvalue()


def manifest_sheet(**entries: Any) -> list[list[Any]]:
    return [["entry", "value"], *([name, value] for name, value in {**ENTRIES, **entries}.items())]


@pytest.fixture
def send(tmp_path: Path, contract: Contract, partner: Partner) -> Step:
    """Drops a lone workbook (or files), and reads it; the findings as the partner is told them."""

    def run(
        content: bytes | dict[str, bytes], name: str = "2026-Q1.xlsx"
    ) -> tuple[dict[str, Any], tuple[Finding, ...]]:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.mkdir()
            for each, text in content.items():
                (path / each).write_bytes(text)
        taken, findings = take_in(FetchedDrop(path, name), tmp_path / "work", Limits(), partner)
        if taken is None:
            return {}, findings
        taken = open_taken(tmp_path / "work")
        manifest, findings = read_manifest(taken, partner, contract)
        if manifest is None:
            return {}, speak_of_sheets(findings, taken)
        tables, findings = read_submission(taken, manifest, contract, partner)
        return tables, speak_of_sheets(findings, taken)

    return run


def first_column(folder: Path, cells: list[Any]) -> list[str]:
    path = folder / "w.xlsx"
    path.write_bytes(make_workbook({"a": [[cell] for cell in cells]}))
    (folder / "sheets").mkdir(exist_ok=True)
    (sheet,), findings = convert_workbook(path, folder / "sheets")
    assert findings == ()
    return sheet.path.read_text(encoding="utf-8").splitlines()


# --- a drop -----------------------------------------------------------------------------------------------------------


def test_workbook_alone_is_a_submission_with_manifest_and_tables(send: Step) -> None:
    example, codes = [["what may stand here"]], [["list", "code"]]
    book = {"Read me": example, "manifest": manifest_sheet(), "person": PERSON, "Assessment": ASSESSMENT}
    tables, findings = send(make_workbook({**book, "Example": example, "Codes": codes}))
    assert findings == ()
    assert tables["person"].rows() == [(2, "P1", "Smith", "female"), (3, "P2", "O'Neill", "male")]
    assert tables["assessment"].rows() == [(2, "A1", "P1", "star", None)]


def test_workbook_in_a_folder_may_have_a_manifest_of_its_own_beside_it(
    send: Step, make_manifest: Step, codes: Step
) -> None:
    book = make_workbook({"manifest": manifest_sheet(period="1066-Q1"), "person": PERSON, "assessment": ASSESSMENT})
    manifest = make_manifest({"person": 2, "assessment": 1})
    tables, findings = send({"any name.xlsx": book, "manifest.json": manifest}, "2026-Q1")
    assert findings == ()
    assert tables["person"].height == 2


def test_same_workbook_is_the_same_submission_under_any_name(tmp_path: Path, partner: Partner) -> None:
    book = make_workbook({"person": PERSON})
    ids = []
    for name in ("a.xlsx", "b.XLSX"):
        (tmp_path / name).write_bytes(book)
        ids.append(take_in(FetchedDrop(tmp_path / name, name), tmp_path / "w", Limits(), partner)[0])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "d.xlsx").write_bytes(book)
    ids.append(take_in(FetchedDrop(tmp_path / "c", "c"), tmp_path / "w", Limits(), partner)[0])
    assert len({taken.submission_id for taken in ids if taken is not None}) == 1
    (tmp_path / "a.xlsx").write_bytes(make_workbook({"person": PERSON[:2]}))
    other, _ = take_in(FetchedDrop(tmp_path / "a.xlsx", "a.xlsx"), tmp_path / "w", Limits(), partner)
    assert other is not None
    assert other.submission_id != ids[0].submission_id


def test_workbook_itself_does_not_stay_in_the_work_folder(tmp_path: Path, partner: Partner) -> None:
    (tmp_path / "a.xlsx").write_bytes(make_workbook({"person": PERSON, "manifest": manifest_sheet()}))
    take_in(FetchedDrop(tmp_path / "a.xlsx", "a.xlsx"), tmp_path / "work", Limits(), partner)
    left = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "work" / "taken").iterdir()}
    assert left == {"sheet-001.csv": 0o600, "manifest": 0o600, "index.json": 0o600}


def test_sheet_that_is_not_agreed_is_refused_by_its_place_and_the_nearest_is_suggested(
    send: Step, codes: Step, canary: str
) -> None:
    book = {"manifest": manifest_sheet(), canary: [["x"]], "persons": PERSON, "assessment": ASSESSMENT}
    tables, findings = send(make_workbook(book))
    assert codes(findings) == ["drop.unknown_sheet", "drop.unknown_sheet"]
    assert [finding.sentence.split(" is ")[0] for finding in findings] == [
        "Sheet 2 of the workbook",
        "Sheet 3 of the workbook",
    ]
    assert "is it meant to be person?" in findings[1].sentence
    assert canary not in repr(findings)
    assert tables["person"].height == 2


def test_hidden_sheet_is_read_like_any_other_and_told(send: Step, codes: Step) -> None:
    book = {"manifest": manifest_sheet(), "person": PERSON, "assessment": ASSESSMENT}
    tables, findings = send(make_workbook(book, hidden="assessment"))
    assert [(finding.code, finding.scope) for finding in findings] == [("drop.hidden_sheet", Scope.NOTE)]
    assert tables["assessment"].height == 1


def test_sheet_without_rows_is_nothing_to_report_only_where_the_table_may_be_left_out(send: Step) -> None:
    book = {"manifest": manifest_sheet(), "person": PERSON, "assessment": ASSESSMENT[:1]}
    tables, findings = send(make_workbook({**book, "cost": [["cost_number", "amount"]]}))
    assert findings == ()
    assert set(tables) == {"person", "assessment"}
    assert tables["assessment"].height == 0


def test_table_can_be_declared_nil_in_the_manifest_sheet(send: Step, codes: Step) -> None:
    book = {"manifest": manifest_sheet(assessment="nil"), "person": PERSON}
    tables, findings = send(make_workbook(book))
    assert findings == ()
    assert tables["assessment"].height == 0
    assert codes(send(make_workbook({**book, "assessment": ASSESSMENT}), "b.xlsx")[1]) == ["file.declared_nil"]


def test_nil_return_is_a_template_with_empty_sheets(send: Step, codes: Step) -> None:
    sheets = {"manifest": manifest_sheet(kind="nil"), "person": PERSON[:1], "assessment": ASSESSMENT[:1]}
    assert send(make_workbook(sheets)) == ({}, ())
    assert codes(send(make_workbook({**sheets, "person": PERSON}), "b.xlsx")[1]) == ["manifest.nil_with_files"]


def test_findings_speak_of_sheets_where_sheets_were_sent(send: Step) -> None:
    book = {"manifest": manifest_sheet(), "person": [["local_person_id", "sex"], ["P1", "male"]]}
    _, findings = send(make_workbook({**book, "assessment": ASSESSMENT}))
    assert [(finding.file, finding.sentence) for finding in findings] == [
        ("sheet person", "The sheet person lacks the column surname.")
    ]
    _, findings = send(make_workbook({**book, "manifest": manifest_sheet(period="")}), "b.xlsx")
    assert [finding.file for finding in findings] == ["sheet manifest"]


def test_faults_of_headings_and_rows_are_told_with_the_rows_of_the_sheet(send: Step, codes: Step) -> None:
    rows = [[], ["Clients"], [], [None, "Local person ID", "Surname", "sex"], [], [None, "P1", "Smith", "male"]]
    rows += [[None, "Total", None, 1]]
    tables, findings = send(make_workbook({"manifest": manifest_sheet(), "person": rows, "assessment": ASSESSMENT}))
    assert codes(findings) == ["file.column_misspelt", "file.columns_empty", "file.title_rows", "file.totals_row"]
    assert tables["person"].rows() == [(6, "P1", "Smith", "male")]
    assert next(finding.first_rows for finding in findings if finding.code == "file.totals_row") == (7,)


def test_name_of_a_column_keeps_its_small_letter_at_the_start_of_a_sentence(send: Step, tmp_path: Path) -> None:
    book = make_workbook({"manifest": manifest_sheet(), "person": PERSON, "assessment": ASSESSMENT})
    send(book)
    finding = Finding(
        code="x", scope=Scope.ROW, file="person.csv", sentence="sex is wrong in person.csv.", mend="person.csv: mend."
    )
    (said,) = speak_of_sheets((finding,), open_taken(tmp_path / "work"))
    assert (said.sentence, said.mend) == ("sex is wrong in the sheet person.", "The sheet person: mend.")


def test_empty_sheet_of_any_name_is_passed_over(send: Step) -> None:
    sheets = {"manifest": manifest_sheet(), "person": PERSON, "assessment": ASSESSMENT, "Sheet2": []}
    tables, findings = send(make_workbook(sheets))
    assert findings == ()
    assert set(tables) == {"person", "assessment"}


def test_two_workbooks_and_a_sheet_beside_a_file_of_its_name_are_refused(send: Step, codes: Step) -> None:
    book = make_workbook({"person": PERSON})
    assert codes(send({"a.xlsx": book, "b.xlsx": book}, "x")[1]) == ["drop.two_workbooks"]
    assert codes(send({"a.xlsx": book, "Person.csv": b"local_person_id\n"}, "y")[1]) == ["drop.sheet_and_file"]


# --- cells ------------------------------------------------------------------------------------------------------------


def test_cells_are_written_as_a_careful_person_would(tmp_path: Path) -> None:
    cells = [
        (date(2026, 3, 31), "2026-03-31"),
        (datetime.fromisoformat("2026-03-31"), "2026-03-31"),
        (datetime.fromisoformat("2026-03-31T14:05"), "2026-03-31 14:05:00"),
        (7, "7"),
        (7.0, "7"),
        (-12.5, "-12.5"),
        (0.1 + 0.2, "0.3"),
        (0.00001, "0.00001"),
        (9990000018, "9990000018"),
        (123456789012345, "123456789012345"),
        (12345678901234567890, "1.23456789012346E+19"),
        (True, "TRUE"),
        ("007", "007"),
        ("#REF!", "#REF!"),
        (("=1/0", "#DIV/0!"), "#DIV/0!"),
        (('="a"&"b"', "ab"), "ab"),
        ("a, b", '"a, b"'),
    ]
    assert first_column(tmp_path, [cell for cell, _ in cells]) == [text for _, text in cells]


def test_error_in_a_cell_at_the_edge_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "w.xlsx"
    path.write_bytes(make_workbook({"a": [["x"], [], [None, None, ("=A9", "#REF!")]]}))
    (sheet,), _ = convert_workbook(path, tmp_path)
    assert sheet.path.read_text().splitlines()[2] == ",,#REF!"


def test_number_that_was_cut_short_is_held_back_where_no_rule_would_see_it(send: Step, codes: Step) -> None:
    rows = [PERSON[0], ["P1", 12345678901234567890, "male"], ["P2", "Smith", "male"]]
    tables, findings = send(make_workbook({"manifest": manifest_sheet(), "person": rows, "assessment": ASSESSMENT}))
    (finding,) = findings
    assert (finding.code, finding.scope, finding.first_rows) == ("file.shortened_numbers", Scope.ROW, (2,))
    assert finding.columns == ("surname",)
    assert tables["person"]["_row"].to_list() == [3]


def test_other_values_have_a_plain_text() -> None:
    assert write_cell(time(14, 5)) == "14:05:00"
    assert write_cell("a\r\nb\rc") == "a\nb\nc"
    assert write_cell(float("nan")) == "nan"


_sheet_text = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.lists(_sheet_text, min_size=3, max_size=3), min_size=1, max_size=6))
def test_whatever_text_stands_in_a_sheet_is_read_cell_by_cell(
    rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    import csv

    folder = tmp_path_factory.mktemp("sheet")
    (folder / "w.xlsx").write_bytes(make_workbook({"a": [["h", "h", "h"], *rows]}))
    (sheet,), _ = convert_workbook(folder / "w.xlsx", folder)
    with sheet.path.open(encoding="utf-8", newline="") as file:
        read = list(csv.reader(file, strict=True))[1:]
    read += [["", "", ""]] * (len(rows) - len(read))
    assert read == rows


# --- what is no workbook, or a hostile one ----------------------------------------------------------------------------

_NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def change_part(book: bytes, part: str, content: bytes, *, extra: dict[str, bytes] | None = None) -> bytes:
    """The workbook with one part replaced, and others added."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as source, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as sink:
        for name in source.namelist():
            sink.writestr(name, content if name == part else source.read(name))
        for name, more in (extra or {}).items():
            sink.writestr(name, more)
    return changed.getvalue()


def with_sheet(cells: str, before: str = "") -> bytes:
    sheet = f'<?xml version="1.0"?>{before}<worksheet {_NS}><sheetData>{cells}</sheetData></worksheet>'
    return change_part(make_workbook({"person": PERSON}), "xl/worksheets/sheet1.xml", sheet.encode())


SECRET = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
LAUGHS = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
FAR = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "workbook.damaged"),
        (b"local_person_id,surname,sex\nP1,Smith,male\n", "workbook.damaged"),
        (b"PK\x03\x04" + bytes(500), "workbook.damaged"),
        (b"\xd0\xcf\x11\xe0" + bytes(5000), "workbook.old"),
        (b"\xd0\xcf\x11\xe0" + bytes(5000) + "EncryptedPackage".encode("utf-16-le"), "workbook.protected"),
        (with_sheet('<row r="1"><c r="A1" t="inlineStr"><is><t>&x;</t></is></c></row>', SECRET), "workbook.doctype"),
        (with_sheet('<row r="1"><c r="A1" t="inlineStr"><is><t>&b;</t></is></c></row>', LAUGHS), "workbook.doctype"),
        (with_sheet(FAR), "workbook.cells"),
        (with_sheet('<row r="2"><c r="A99999999999"><v>7</v></c></row>'), "workbook.damaged"),
        (with_sheet('<row r="9999999"><c><v>7</v></c></row>'), "workbook.damaged"),
        (with_sheet('<row r="1"><c r="A0"><v>7</v></c></row>'), "workbook.damaged"),
        (with_sheet('<row r="1"><c r="A1"><v>7</v></row>'), "workbook.damaged"),
        (with_sheet(" " * 3_000_000), "workbook.large"),
        (make_workbook({f"sheet {number}": [] for number in range(101)}), "workbook.sheets"),
        (change_part(make_workbook({"a": []}), "", b"", extra={"xl/workbook.bin": b"x"}), "workbook.old"),
        (change_part(make_workbook({"a": []}), "", b"", extra={"XL/WORKBOOK.xml": b"x"}), "workbook.damaged"),
    ],
)
def test_what_is_no_workbook_or_a_harmful_one_is_refused_with_one_finding(
    tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "w.xlsx"
    path.write_bytes(content)
    (tmp_path / "sheets").mkdir()
    sheets, findings = convert_workbook(path, tmp_path / "sheets")
    assert sheets == ()
    assert [(finding.code, finding.scope) for finding in findings] == [(code, Scope.SUBMISSION)]
    assert list((tmp_path / "sheets").iterdir()) == []


def test_archive_that_announces_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    content = bytearray(with_sheet("<row/>" * 200_000))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    content = bytearray(bytes(content).replace(struct.pack("<I", size), struct.pack("<I", 100)))
    path = tmp_path / "w.xlsx"
    path.write_bytes(bytes(content))
    _, findings = convert_workbook(path, tmp_path)
    assert findings[0].code in ("workbook.large", "workbook.damaged")


def test_limits_hold_for_the_unpacked_size_of_all_parts(tmp_path: Path) -> None:
    path = tmp_path / "w.xlsx"
    path.write_bytes(make_workbook({"person": PERSON * 500}))
    _, findings = convert_workbook(path, tmp_path, WorkbookLimits(max_bytes=10_000))
    assert findings[0].code == "workbook.large"
    _, findings = convert_workbook(path, tmp_path, WorkbookLimits(max_cells=1000))
    assert findings[0].code == "workbook.cells"


def test_calamine_itself_expands_no_entity() -> None:
    """The second fence: even a document type that got past the first one would be refused."""
    from python_calamine import CalamineError, CalamineWorkbook

    for before in (SECRET, LAUGHS):
        book = with_sheet('<row r="1"><c r="A1" t="inlineStr"><is><t>&x;&b;</t></is></c></row>', before)
        with pytest.raises(CalamineError):
            CalamineWorkbook.from_filelike(io.BytesIO(book)).get_sheet_by_index(0).to_python()


def test_blank_cell_that_is_only_formatted_far_away_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "w.xlsx"
    path.write_bytes(
        with_sheet('<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576" s="1"/></row>')
    )
    (sheet,), findings = convert_workbook(path, tmp_path)
    assert findings == ()
    assert sheet.path.read_text() == "1\n"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_spoilt_workbook_never_crashes(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(_SOUND)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("spoilt")
    (folder / "w.xlsx").write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    sheets, findings = convert_workbook(folder / "w.xlsx", folder)
    assert not (sheets and findings)


_SOUND = make_workbook({"person": PERSON})


@pytest.mark.parametrize("period", ["2026-Q1", "Zebulon Quaxwell"])
def test_no_cell_and_no_sheet_name_is_in_what_is_told(send: Step, canary: str, period: str) -> None:
    rows = [["local_person_id", canary, "sex"], [canary, canary, 1e22], [canary, "x", ("=A1", "#N/A")]]
    book = {"manifest": manifest_sheet(period=period), "person": rows, canary: rows}
    _, findings = send(make_workbook(book))
    assert findings
    assert canary not in repr(findings)
