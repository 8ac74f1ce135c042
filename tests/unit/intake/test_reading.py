"""Files as tables of text: nothing shifted, nothing dropped unseen, no value told."""

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from intake import FetchedDrop, Limits, csv_text, read_manifest, read_submission, take_in
from intake.csv_text import Place, open_csv, read_body
from intake.reading import HeadingGuess, column_letters, guess_headings, match_headings
from protocol.finding import Scope
from protocol.model import Contract, Partner

Step = Callable[..., Any]
HEADER = b"local_person_id,surname,sex\n"


@pytest.fixture
def read_person(submit: Step, make_manifest: Step) -> Step:
    """The person table of a submission that has this file, and all findings."""

    def read(content: bytes, rows: int = 2) -> Any:
        tables, findings = submit(
            {
                "person.csv": content,
                "manifest.json": make_manifest({"person": rows, "assessment": "nil"}),
            }
        )
        return tables.get("person"), findings

    return read


def test_every_cell_is_text_with_the_row_number_of_a_spreadsheet(submit: Step, files: dict[str, bytes]) -> None:
    tables, findings = submit(files)
    assert findings == ()
    assert set(tables) == {"person", "assessment"}
    assert tables["person"].to_dict(as_series=False) == {
        "_row": [2, 3],
        "local_person_id": ["P1", "P2"],
        "surname": ["Smith", "O'Neill"],
        "sex": ["female", "male"],
    }
    assert tables["person"].schema["_row"] == pl.Int64
    assert tables["assessment"]["summary"].to_list() == [None, "fine, thanks"]


def test_white_space_is_stripped_and_empty_cells_are_null(read_person: Step) -> None:
    frame, findings = read_person(HEADER + '  P1 ,"  ",\n"\u00a0P2\t","", male \n'.encode())
    assert findings == ()
    assert frame.rows() == [(2, "P1", None, None), (3, "P2", None, "male")]


def test_number_like_text_is_left_as_it_is(read_person: Step) -> None:
    frame, _ = read_person(HEADER + b"007,1e5,NA\n1.0,true,null\n")
    assert frame.rows() == [(2, "007", "1e5", "NA"), (3, "1.0", "true", "null")]


def test_byte_order_mark_windows_line_ends_and_missing_last_line_end_make_no_difference(read_person: Step) -> None:
    content = HEADER + b"P1,Smith,female\nP2,Jones,male"
    plain, findings = read_person(content)
    assert findings == ()
    for other in (b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n") + b"\r\n"):
        frame, findings = read_person(other)
        assert findings == ()
        assert frame.equals(plain)


def test_columns_come_in_the_agreed_order(read_person: Step) -> None:
    frame, _ = read_person(b'"sex"," surname ",local_person_id\nmale,Smith,P1\nmale,Jones,P2\n')
    assert frame.columns == ["_row", "local_person_id", "surname", "sex"]
    assert frame.row(0) == (2, "P1", "Smith", "male")


def test_cell_with_line_breaks_counts_as_one_row(read_person: Step) -> None:
    frame, findings = read_person(HEADER + b'P1,"Smith\nsay\r\n""hello"",\n\nyou",female\nP2,Jones,male\n')
    assert findings == ()
    assert frame.rows() == [(2, "P1", 'Smith\nsay\r\n"hello",\n\nyou', "female"), (3, "P2", "Jones", "male")]


def test_heading_with_a_line_break_does_not_shift_the_rows(submit: Step, make_manifest: Step, codes: Step) -> None:
    content = b'local_person_id,surname,"sex\nof person"\nP1,Smith,male\n'
    tables, findings = submit(
        {"person.csv": content, "manifest.json": make_manifest({"person": 1, "assessment": "nil"})}
    )
    assert tables["person"].rows() == [(2, "P1", "Smith", None)]
    assert codes(findings) == ["file.column_undeclared", "file.columns_missing"]


def test_blank_rows_are_passed_over_and_counted_in_row_numbers(read_person: Step) -> None:
    frame, findings = read_person(HEADER + b"\n,,\nP1,Smith,male\n   \n , ,\nP2,Jones,male\n\n,,\n")
    assert findings == ()
    assert frame["_row"].to_list() == [4, 7]


def test_header_only_is_an_empty_table_and_zero_bytes_is_a_fault(read_person: Step, codes: Step) -> None:
    frame, findings = read_person(HEADER, rows=0)
    assert findings == ()
    assert frame.shape == (0, 4)
    for nothing in (b"", b"\xef\xbb\xbf", b"\n\n \r\n", b" " * 10_000):
        frame, findings = read_person(nothing)
        assert frame is None
        assert codes(findings) == ["file.empty"]


PLAIN = HEADER + b"P1,Smith,male\nP2,Jones,male\n"
AS_READ = [(2, "P1", "Smith", "male"), (3, "P2", "Jones", "male")]


@pytest.mark.parametrize(
    ("content", "code", "rows"),
    [
        (PLAIN.decode().replace("Jones", "Müller").encode("cp1252"), "file.encoding_windows", "Müller"),
        (PLAIN.replace(b"Jones", b"M\x81ller"), "file.encoding", "M\ufffdller"),
        (HEADER + b"P1,Smith,male\nP2,Jones,m\xc3", "file.encoding_windows", "Jones"),
        (PLAIN.decode().encode("utf-16"), "file.encoding_utf16", "Jones"),
        (PLAIN.decode().encode("utf-16-le"), "file.encoding_utf16", "Jones"),
        (PLAIN.decode().encode("utf-16-be"), "file.encoding_utf16", "Jones"),
        (PLAIN.decode().replace(",", "\t").encode("utf-16"), "file.encoding_utf16", "Jones"),
        (PLAIN.replace(b"Jones", b"Jo\0nes"), "file.nul", "Jones"),
        (PLAIN.replace(b",", b";"), "file.separator", "Jones"),
        (PLAIN.replace(b",", b"\t"), "file.separator", "Jones"),
        (PLAIN.replace(b",", b"|"), "file.separator", "Jones"),
        (b"sep=,\r\n" + PLAIN, "file.sep_line", "Jones"),
        (b"sep=;\n" + PLAIN.replace(b",", b";"), "file.sep_line", "Jones"),
        (PLAIN.replace(b"\n", b"\r"), "file.line_ends", "Jones"),
        (b"\xef\xbb\xbf" + PLAIN.replace(b"surname", b'"surname'), "file.header_form", "Jones"),
    ],
)
def test_file_in_another_form_is_told_and_read_all_the_same(
    read_person: Step, codes: Step, content: bytes, code: str, rows: str
) -> None:
    frame, findings = read_person(content)
    assert codes(findings) == [code]
    assert findings[0].scope is Scope.FILE
    assert (findings[0].table, findings[0].file) == ("person", "person.csv")
    assert frame["_row"].to_list() == [2, 3]
    assert frame["surname"].to_list() == ["Smith", rows]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"PK\x03\x04" + bytes(300), "file.workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(300), "file.workbook"),
        (b"x" * (2 << 20), "file.header_form"),
        (b"a,b\n1,2\n", "file.header_missing"),
        (b"", "file.empty"),
    ],
)
def test_file_that_has_no_likely_reading_has_no_rows(read_person: Step, codes: Step, content: bytes, code: str) -> None:
    frame, findings = read_person(content)
    assert frame is None
    assert codes(findings) == [code]


def test_wrong_encoding_numbers_the_rows_that_show_it_and_says_what_to_choose(read_person: Step) -> None:
    body = b"P1,Smith,male\n" * 70_000 + 'P2,Müller,x\n"P3","a\nÖ",x\nP4,b,x\n'.encode("cp1252")
    frame, findings = read_person(HEADER + body, rows=70_003)
    assert findings[0].first_rows == (70_002, 70_003)
    assert "in 2 rows" in findings[0].sentence
    assert "CSV UTF-8" in findings[0].mend
    assert frame["surname"].to_list()[-3:] == ["Müller", "a\nÖ", "b"]


def test_rows_that_are_utf8_stay_what_they_are_beside_rows_that_are_not(read_person: Step) -> None:
    frame, findings = read_person(HEADER + "P1,Zoë,male\n".encode() + "P2,Zoë,male\n".encode("cp1252"))
    assert frame["surname"].to_list() == ["Zoë", "Zoë"]
    assert findings[0].first_rows == (3,)


@pytest.mark.parametrize(
    ("above", "code", "first"),
    [
        (b"\n", "file.header_blank", 3),
        (b",,\n\n", "file.header_blank", 4),
        (b"Clients of the quarter\n", "file.title_rows", 3),
        (b"Printed 3 April,,\n\nSex and surname\n", "file.title_rows", 5),
    ],
)
def test_rows_above_the_headings_are_told_and_row_numbers_stay_those_of_the_sheet(
    read_person: Step, codes: Step, above: bytes, code: str, first: int
) -> None:
    frame, findings = read_person(above + PLAIN)
    assert codes(findings) == [code]
    assert f"row {first - 1}" in findings[0].sentence
    assert frame["_row"].to_list() == [first, first + 1]
    assert frame["surname"].to_list() == ["Smith", "Jones"]


def test_file_without_headings_is_read_in_the_agreed_order_where_its_cells_look_like_it(
    submit: Step, make_manifest: Step, codes: Step, files: dict[str, bytes]
) -> None:
    del files["manifest.yaml"]
    lines = files["person.csv"].split(b"\n", 1)[1]
    manifest = {"manifest.json": make_manifest({"person": 2, "assessment": 2})}
    for mark in (b"", b"\xef\xbb\xbf"):
        tables, findings = submit(files | manifest | {"person.csv": mark + lines})
        assert codes(findings) == ["file.header_missing"]
        assert tables["person"].rows() == [(1, "P1", "Smith", "female"), (2, "P2", "O'Neill", "male")]
    tables, findings = submit(files | manifest | {"person.csv": b"P1,Smith\nP2,Jones\n"})
    assert codes(findings) == ["file.header_missing"]
    assert "person" not in tables


def test_headings_that_are_not_agreed_are_told_by_place_and_never_as_written(
    read_person: Step, codes: Step, canary: str
) -> None:
    frame, findings = read_person(f"local_person_id,Sur Name,{canary},sex,,sex\nP1,a,b,c,,d\nP2,a,b,c,x,\n".encode())
    assert codes(findings) == [
        "file.column_misspelt",
        "file.column_twice",
        "file.column_undeclared",
        "file.column_unnamed",
    ]
    told = {finding.code: finding for finding in findings}
    assert "that of column B should be surname" in told["file.column_misspelt"].sentence
    assert told["file.column_misspelt"].columns == ("surname",)
    assert "Column C" in told["file.column_undeclared"].sentence
    assert "Column E" in told["file.column_unnamed"].sentence
    assert canary not in repr(findings)
    assert "Sur Name" not in repr(findings)
    assert frame.rows() == [(2, "P1", "a", "c"), (3, "P2", "a", "c")]


@pytest.mark.parametrize(
    "headings",
    [
        "Local Person ID,SURNAME,Sex",
        "local-person-id,sur_name,sex",
        "localpersonid, Surname ,SEX",
        "Client number,Family name,Sex",
        "local_persn_id,surnmae,sex",
        "LPI,surname,sex",
    ],
)
def test_heading_is_taken_for_the_agreed_one_that_it_is_nearest_to(
    submit: Step, make_manifest: Step, codes: Step, contract: Contract, headings: str
) -> None:
    labels = {"local_person_id": "Client number", "surname": "Family name"}
    columns = tuple(
        column.model_copy(update={"label": labels.get(column.name, column.label)})
        for column in contract.table("person").columns
    )
    person = contract.table("person").model_copy(update={"columns": columns})
    contract = contract.model_copy(update={"tables": (person, *contract.tables[1:])})
    files = {
        "person.csv": f"{headings}\nP1,Smith,male\n".encode(),
        "manifest.json": make_manifest({"person": 1, "assessment": "nil"}),
    }
    tables, findings = submit(files, under=contract)
    assert codes(findings) == ["file.column_misspelt"]
    assert tables["person"].rows() == [(2, "P1", "Smith", "male")]


def test_two_headings_are_never_taken_for_one_column(contract: Contract) -> None:
    matched = match_headings(["surname", "Surname", "SURNAME", "sexe", "sex "], contract.table("person"))
    assert sorted(matched.values()) == ["sex", "surname"]


def test_headings_as_written_are_given_apart_for_the_partners_own_screen(
    tmp_path: Path, contract: Contract, partner: Partner, files: dict[str, bytes]
) -> None:
    def guess(person: bytes) -> tuple[HeadingGuess, ...]:
        folder = tmp_path / "2026-Q1"
        folder.mkdir(exist_ok=True)
        for name, content in (files | {"person.csv": person}).items():
            (folder / name).write_bytes(content)
        taken, _ = take_in(FetchedDrop(folder, folder.name), tmp_path / "work", Limits(), partner)
        assert taken is not None
        manifest, _ = read_manifest(taken, partner, contract)
        assert manifest is not None
        _, findings = read_submission(taken, manifest, contract, partner)
        return guess_headings(taken, contract, findings)

    guesses = guess(files["person.csv"].replace(b"surname", b"Sur Name").replace(b"sex", b"hatsize"))
    assert [(each.table, each.number, each.heading, each.agreed) for each in guesses] == [
        ("person", 2, "Sur Name", "surname"),
        ("person", 3, "hatsize", None),
    ]
    assert "Sur Name" not in repr(guesses)
    assert guess(files["person.csv"].split(b"\n", 1)[1]) == ()
    assert guess(files["person.csv"]) == ()


def test_missing_column_is_one_finding_and_null_in_every_row(read_person: Step, codes: Step) -> None:
    frame, findings = read_person(b"local_person_id,sex\nP1,male\nP2,female\n")
    assert codes(findings) == ["file.columns_missing"]
    assert findings[0].columns == ("surname",)
    assert frame.rows() == [(2, "P1", None, "male"), (3, "P2", None, "female")]


def test_empty_columns_and_rows_at_the_end_are_passed_over(read_person: Step, codes: Step) -> None:
    content = b"local_person_id,surname,sex,,\nP1,Smith,male,,\nP2,Jones,male,,\n,,,,\n\n,,,,\n"
    frame, findings = read_person(content)
    assert [(finding.code, finding.scope) for finding in findings] == [("file.columns_empty", Scope.NOTE)]
    assert "Columns D and E" in findings[0].sentence
    assert frame.rows() == AS_READ


@pytest.mark.parametrize("total", ["Total,,", "TOTAL:,,2", "Grand total,,", ",Sum,", "Count,,2"])
@pytest.mark.parametrize("counted", [2, 3])
def test_total_at_the_bottom_is_told_by_its_row_and_is_no_row_of_the_table(
    read_person: Step, total: str, counted: int
) -> None:
    frame, findings = read_person(PLAIN + total.encode() + b"\n,,\n", rows=counted)
    assert [(finding.code, finding.scope, finding.first_rows) for finding in findings] == [
        ("file.totals_row", Scope.ROW, (4,))
    ]
    assert frame.rows() == AS_READ


@pytest.mark.parametrize("counted", [2, 3])
@pytest.mark.parametrize("again", ["local_person_id,surname,sex", "LOCAL_PERSON_ID,Surname,", ",Surname,Sex"])
@pytest.mark.parametrize("place", [1, 2, 3])
def test_headings_among_the_rows_are_one_fault_and_no_row_of_the_table(
    read_person: Step, again: str, counted: int, place: int
) -> None:
    lines = PLAIN.decode().splitlines()
    lines.insert(place, again)
    frame, findings = read_person("\n".join([*lines, ""]).encode(), rows=counted)
    assert [(finding.code, finding.scope, finding.first_rows) for finding in findings] == [
        ("file.headings_again", Scope.ROW, (place + 1,))
    ]
    assert frame.drop("_row").rows() == [row[1:] for row in AS_READ]


def test_last_row_of_figures_alone_is_a_total(submit: Step, make_manifest: Step) -> None:
    manifest = make_manifest({"cost": 2, "assessment": "nil", "person": "nil"})
    content = b"cost_number,amount\nC1,5\nC2,6\n,11\n"
    tables, findings = submit({"cost.csv": content, "manifest.json": manifest})
    assert [(finding.code, finding.first_rows) for finding in findings] == [("file.totals_row", (4,))]
    assert tables["cost"]["cost_number"].to_list() == ["C1", "C2"]


@pytest.mark.parametrize(("number", "letters"), [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (702, "AAA")])
def test_columns_are_called_as_a_spreadsheet_calls_them(number: int, letters: str) -> None:
    assert column_letters(number) == letters


def test_client_who_is_called_total_is_a_client(read_person: Step) -> None:
    frame, findings = read_person(HEADER + b"P1,Smith,male\nP2,Total,male\n")
    assert findings == ()
    assert frame.height == 2
    frame, findings = read_person(HEADER + b"Total,,\nP2,Jones,male\n")
    assert findings == ()
    assert frame.height == 2


def test_workbook_that_was_given_the_ending_csv_is_read_and_told(read_person: Step, codes: Step) -> None:
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
        sheet = book.add_worksheet("Sheet1")
        for row, cells in enumerate(PLAIN.decode().splitlines()):
            sheet.write_row(row, 0, cells.split(","))
    frame, findings = read_person(content.getvalue())
    assert codes(findings) == ["file.workbook"]
    assert frame.rows() == AS_READ


def test_file_with_a_misspelt_name_is_read_as_the_one_that_it_is_nearest_to(
    submit: Step, files: dict[str, bytes], codes: Step
) -> None:
    files["Persons.csv"] = files.pop("person.csv")
    tables, findings = submit(files)
    assert codes(findings) == ["drop.unknown_file"]
    assert "is it meant to be person.csv?" in findings[0].sentence
    assert tables["person"].height == 2


def test_many_faults_at_once_are_all_told_and_the_rows_are_read(
    submit: Step, make_manifest: Step, codes: Step, canary: str
) -> None:
    lines = [
        f"{canary};;;",
        "",
        "Sex;Surname;colour;",
        f"male;{canary};blue;",
        "male;Jones",
        'female;"Sm"ith;;',
        "female;Zoë;red;",
        "Total;;;",
    ]
    files = {
        "person.csv": "\n".join(lines).encode("cp1252"),
        "manifest.json": make_manifest({"person": 9, "assessment": "nil"}),
    }
    tables, findings = submit(files)
    assert codes(findings) == [
        "file.cells",
        "file.column_misspelt",
        "file.column_undeclared",
        "file.columns_empty",
        "file.columns_missing",
        "file.encoding_windows",
        "file.quoting",
        "file.rows_missing",
        "file.separator",
        "file.title_rows",
        "file.totals_row",
    ]
    told = {finding.code: finding.first_rows for finding in findings if finding.first_rows}
    assert told == {
        "file.cells": (5,),
        "file.encoding_windows": (7,),
        "file.quoting": (6,),
        "file.totals_row": (8,),
    }
    assert tables["person"].rows() == [(4, None, canary, "male"), (7, None, "Zoë", "female")]
    assert canary not in repr(findings)
    assert "blue" not in repr(findings)


def test_rows_with_too_few_or_too_many_cells_are_held_back_by_number(read_person: Step) -> None:
    body = b"".join(b"P%d,Smith,male\n" % number for number in range(100))
    frame, findings = read_person(HEADER + b"P1,Smith\nP2,Smith,male,\n" + body + b"P3\n", rows=103)
    (finding,) = findings
    assert finding.code == "file.cells"
    assert finding.scope is Scope.ROW
    assert finding.first_rows == (2, 3, 104)
    assert frame.height == 100
    assert frame["_row"].to_list() == list(range(4, 104))
    assert "surname" not in finding.sentence


def test_broken_quoting_is_held_back_by_number_and_its_neighbours_are_kept(read_person: Step) -> None:
    content = HEADER + b'P1,"Smith"x,male\nP2,Sm"ith,male\nP3,Jones,male\nP4,"Jones,male\nP5,"Fine, too",male\n'
    frame, findings = read_person(content, rows=5)
    (finding,) = findings
    assert (finding.code, finding.scope, finding.first_rows) == ("file.quoting", Scope.ROW, (2, 3, 5))
    assert frame.rows() == [(4, "P3", "Jones", "male"), (6, "P5", "Fine, too", "male")]


def test_quotation_mark_that_is_never_closed_before_odd_lines_refuses_the_file(read_person: Step, codes: Step) -> None:
    frame, findings = read_person(HEADER + b'P1,Smith,male\nP2,"Smith said,male\nand went\n')
    assert frame.rows() == [(2, "P1", "Smith", "male")]
    told = {finding.code: finding.scope for finding in findings}
    assert told["file.quoting_unclear"] is Scope.FILE


def test_quotation_marks_that_pair_across_rows_never_merge_rows_unseen(read_person: Step) -> None:
    frame, findings = read_person(HEADER + b'P1,"Smith,male\nP2,"Jones",male\nP3,x,male\nP4,y,male\n', rows=4)
    assert findings[0].first_rows == (2,)
    assert frame["local_person_id"].to_list() == ["P2", "P3", "P4"]


def test_many_broken_rows_refuse_the_file(read_person: Step) -> None:
    frame, findings = read_person(HEADER + b"P1,Smith\n" * 30 + b"P1,Smith,male\n" * 1000, rows=1030)
    (finding,) = findings
    assert frame.height == 1000
    assert finding.scope is Scope.FILE
    assert finding.rows_affected == 30
    assert len(finding.first_rows) == 20


def test_row_count_is_checked_against_the_manifest(read_person: Step, codes: Step) -> None:
    _, findings = read_person(HEADER + b"P1,Smith,male\n", rows=2)
    assert findings[0].scope is Scope.FILE
    assert codes(findings) == ["file.rows_missing"]
    assert "counts 2 rows" in findings[0].sentence
    assert "has 1: 1 are missing" in findings[0].sentence
    _, findings = read_person(HEADER + b"P1,Smith,male\nP2,Jones,male\n", rows=1)
    assert codes(findings) == ["file.row_count"]
    assert "counts 1 rows" in findings[0].sentence


def test_missing_unknown_and_undeclared_files_are_all_told(
    submit: Step, make_manifest: Step, codes: Step, canary: str
) -> None:
    tables, findings = submit(
        {
            f"{canary}.csv": b"a\n1\n",
            "assesment.csv": b"a\n1\n",
            "cost.csv": b"cost_number,amount\nC1,1\n",
            "manifest.json": make_manifest({"person": 3}),
        }
    )
    assert tables == {"cost": tables.get("cost")} or tables == {}
    assert codes(findings) == [
        "drop.unknown_file",
        "drop.unknown_file",
        "file.header_missing",
        "file.missing_declared",
        "file.undeclared_rows",
    ]
    assert canary not in repr(findings)
    assert any("is it meant to be assessment.csv?" in finding.sentence for finding in findings)


def test_table_declared_nil_is_an_empty_frame_and_may_have_no_rows(
    submit: Step, make_manifest: Step, files: dict[str, bytes], codes: Step
) -> None:
    del files["manifest.yaml"]
    manifest = {"manifest.json": make_manifest({"person": 2, "assessment": "nil"})}
    tables, findings = submit({"person.csv": files["person.csv"], **manifest})
    assert findings == ()
    assert tables["assessment"].height == 0
    assert tables["assessment"].columns == ["_row", "assessment_number", "local_person_id", "tool", "summary"]
    assert codes(submit(files | manifest)[1]) == ["file.declared_nil"]


def test_optional_table_may_be_left_out(submit: Step, files: dict[str, bytes]) -> None:
    tables, findings = submit(files)
    assert findings == ()
    assert "cost" not in tables


def test_nil_return_gives_no_tables(submit: Step, make_manifest: Step) -> None:
    assert submit({"manifest.json": make_manifest(kind="nil")}) == ({}, ())


def test_delta_may_leave_tables_out_and_delete_rows(submit: Step, make_manifest: Step, codes: Step) -> None:
    content = b"local_person_id,surname,sex,_delete\nP1,Smith,male,\nP2,,,yes\n"
    tables, findings = submit({"person.csv": content, "manifest.json": make_manifest({"person": 2}, kind="delta")})
    assert findings == ()
    assert set(tables) == {"person"}
    assert tables["person"]["_delete"].to_list() == [None, "yes"]
    full = make_manifest({"person": 2, "assessment": "nil"})
    assert codes(submit({"person.csv": content, "manifest.json": full})[1]) == ["file.delete_outside_delta"]


def test_file_names_are_found_whatever_their_capital_letters(submit: Step, files: dict[str, bytes]) -> None:
    files["Person.CSV"] = files.pop("person.csv")
    tables, findings = submit(files)
    assert findings == ()
    assert tables["person"].height == 2


def test_huge_cell_is_read_whole(read_person: Step) -> None:
    name = b"x" * (3 << 20)
    frame, findings = read_person(HEADER + b"P1," + name + b',male\nP2,"' + name + b'\n",male\n')
    assert findings == ()
    assert frame["surname"].str.len_bytes().to_list() == [3 << 20, 3 << 20]


def test_pieces_of_the_careful_reader_join_without_a_seam(read_person: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "_PIECE_BYTES", 100)
    rows = [f'P{number},"a\n{number}",male\n'.encode() if number % 7 else b"P,x\n" for number in range(400)]
    frame, findings = read_person(HEADER + b"".join(rows), rows=400)
    assert findings[0].rows_affected == 58
    assert frame["_row"].to_list() == [number + 2 for number in range(400) if number % 7]
    rows = [row if len(row) > 5 else b"P,x,male\n" for row in rows]
    frame, findings = read_person(HEADER + b"".join(rows), rows=400)
    assert findings == ()
    assert frame["_row"].to_list() == list(range(2, 402))


def test_standard_library_reads_what_polars_does_not_count_alike(
    read_person: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = HEADER + b'P1,"a, ""b""\nc",male\nP2,d,female\n'
    expected, _ = read_person(content)
    nothing = pl.LazyFrame(schema=dict.fromkeys(["local_person_id", "surname", "sex"], pl.String))
    monkeypatch.setattr(csv_text, "_scan_polars", lambda *arguments: nothing)
    frame, findings = read_person(content)
    assert findings == ()
    assert frame.equals(expected)
    plain = HEADER + b"P1,a,male\nP2,b,male\n"
    assert read_person(plain)[0]["surname"].to_list() == ["a", "b"]


# --- fuzzing ----------------------------------------------------------------------------------------------------------


def read_bytes(content: bytes) -> Any:
    """Headings, frame (None where the file is refused) and findings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0000.csv"
        path.write_bytes(content)
        opened, findings = open_csv(path, Place("person.csv", "person"))
        if opened is None:
            assert findings
            return (), None, findings
        body = read_body(opened, [(place, f"c{place}") for place in range(len(opened.headings))])
        return opened.headings, body, body.findings


def strip(cell: str) -> str:
    """Without white space and marks that show as nothing."""
    while cell != (cell := cell.strip().strip("\u200b\u2060\ufeff")):
        pass
    return cell


_cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(_cells, min_size=width, max_size=width), max_size=8)
    ),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_a_csv_writer_writes_comes_back_cell_by_cell(rows: list[list[str]], quoting: Any, end: str) -> None:
    # Before Python 3.13 the writer leaves a lone carriage return without quotation marks, which we hold back.
    assume(quoting == csv.QUOTE_ALL or not any("\r" in cell for row in rows for cell in row))
    width = len(rows[0]) if rows else 1
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=quoting, lineterminator=end)
    writer.writerow([f"heading{number}" for number in range(width)])
    writer.writerows(rows)
    _, body, findings = read_bytes(buffer.getvalue().encode())
    assert findings == ()

    expected = [(number, *(strip(cell) or None for cell in row)) for number, row in enumerate(rows, start=2)]
    assert body.frame.rows() == [row for row in expected if any(cell is not None for cell in row[1:])]


_pieces = st.lists(
    st.sampled_from(['"', '""', ",", "\n", "\r\n", "\r", "a", " ", "b,c\n", '"d"', '"e,f"\n', "é", "\ufeff", ";"]),
    max_size=25,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(text=_pieces, width=st.integers(1, 3))
def test_spoilt_text_never_crashes_and_every_row_is_read_or_counted(text: str, width: int) -> None:
    header = ",".join(f"h{number}" for number in range(width))
    _, body, findings = read_bytes(f"{header}\n{text}".encode())
    if body is None:
        return
    held = sum(finding.rows_affected for finding in findings)
    assert body.frame.height + held == body.rows_found
    rows = body.frame["_row"].to_list()
    assert rows == sorted(set(rows))
    assert not set(rows) & {row for finding in findings for row in finding.first_rows}
    if not findings:
        # Where nothing is held back, a strict reader agrees on every cell.
        strict = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(map(strip, row))]
        assert [[cell or "" for cell in row[1:]] for row in body.frame.rows()] == [
            [strip(cell) for cell in row] for row in strict
        ]


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_without_a_crash(content: bytes) -> None:
    read_bytes(content)


@settings(max_examples=150, deadline=None)
@given(before=_pieces, after=_pieces, form=st.sampled_from(["utf-8", "cp1252", "utf-16"]))
def test_no_cell_or_heading_is_ever_in_a_finding(before: str, after: str, form: str) -> None:
    secret = "Zebulon"
    content = f"{before}{secret}{after}".encode(form, "replace")
    _, body, findings = read_bytes(content)
    assert secret not in repr(findings)
    assert secret not in repr(body)


def test_file_with_columns_beyond_measure_is_refused_and_one_at_the_limit_is_read(tmp_path: Path) -> None:
    for width in (1000, 1001, 5000):
        path = tmp_path / f"{width}.csv"
        path.write_bytes(b",".join(b"h%d" % place for place in range(width)) + b'\n"a"' + b"," * (width - 1) + b"\n")
        opened, findings = open_csv(path, Place("person.csv", "person"))
        if width == 1000:
            assert opened is not None
            assert read_body(opened, [(0, "first")]).frame.rows() == [(2, "a")]
        else:
            assert opened is None
            assert [(finding.code, finding.scope) for finding in findings] == [("file.header_wide", Scope.FILE)]
            assert f"{width:,} columns" in findings[0].sentence


def test_heading_that_is_the_name_of_the_row_number_here_is_undeclared(read_person: Step, codes: Step) -> None:
    frame, findings = read_person(b"_row,local_person_id,surname,sex\n1,P1,Smith,female\n")
    assert frame.rows() == [(2, "P1", "Smith", "female")]
    assert "file.column_undeclared" in codes(findings)
