"""Files as tables of text: nothing shifted, nothing dropped unseen, no value told."""

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from intake import csv_text
from intake.csv_text import Place, open_csv, read_body
from protocol.finding import Scope

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
    assert "person" not in tables
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


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (HEADER + b"P1,Smith,male\n" + "P2,Müller,male\n".encode("cp1252"), "file.encoding_windows"),
        (HEADER + b"P1,Smith,male\nP2,M\xc3\x28\x81ller,male\n", "file.encoding"),
        (HEADER + b"P1,Smith,male\nP2,Jones,m\xc3", "file.encoding_windows"),
        ((HEADER + b"P1,Smith,male\n").decode().encode("utf-16"), "file.encoding_utf16"),
        ((HEADER + b"P1,Smith,male\n").decode().encode("utf-16-le"), "file.encoding_utf16"),
        (HEADER + b"P1,Smith,male\nP2,Jo\0nes,male\n", "file.nul"),
        (b"PK\x03\x04" + bytes(300), "file.workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(300), "file.workbook"),
        (b"local_person_id;surname;sex\nP1;Smith;male\n", "file.separator"),
        (b"local_person_id\tsurname\tsex\nP1\tSmith\tmale\n", "file.separator"),
        (b"sep=,\nlocal_person_id,surname,sex\n", "file.sep_line"),
        (b"local_person_id,surname,sex\rP1,Smith,male\r", "file.line_ends"),
        (b"\nlocal_person_id,surname,sex\nP1,Smith,male\n", "file.header_blank"),
        (b'local_person_id,"surname,sex\nP1,Smith,male\n', "file.header_form"),
        (b"P1,Smith,male\nP2,Jones,male\n", "file.header_missing"),
        (b"x" * (2 << 20), "file.header_form"),
    ],
)
def test_file_in_another_form_is_recognised_and_refused(
    read_person: Step, codes: Step, content: bytes, code: str
) -> None:
    frame, findings = read_person(content)
    assert frame is None
    assert codes(findings) == [code]
    assert findings[0].scope is Scope.FILE
    assert (findings[0].table, findings[0].file) == ("person", "person.csv")


def test_wrong_encoding_names_its_first_line(read_person: Step) -> None:
    _, findings = read_person(HEADER + b"P1,Smith,male\n" * 70_000 + "P2,Müller,x\n".encode("cp1252"))
    assert "line 70002 " in findings[0].sentence
    assert "CSV UTF-8" in findings[0].mend


def test_headings_that_are_not_agreed_are_told_by_place_and_nearest_name_only(
    read_person: Step, codes: Step, canary: str
) -> None:
    frame, findings = read_person(f"local_person_id,Sur Name,{canary},sex,,sex\nP1,a,b,c,,d\nP2,a,b,c,,\n".encode())
    assert frame is None
    assert codes(findings) == [
        "file.column_twice",
        "file.column_undeclared",
        "file.column_undeclared",
        "file.column_unnamed",
        "file.columns_missing",
    ]
    assert any("Column 2 " in finding.sentence and "surname?" in finding.sentence for finding in findings)
    assert any("Column 3 " in finding.sentence for finding in findings)
    assert canary not in repr(findings)
    assert "Sur Name" not in repr(findings)


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
    assert frame is None
    assert "file.quoting_unclear" in codes(findings)


def test_quotation_marks_that_pair_across_rows_never_merge_rows_unseen(read_person: Step) -> None:
    frame, findings = read_person(HEADER + b'P1,"Smith,male\nP2,"Jones",male\nP3,x,male\nP4,y,male\n', rows=4)
    assert findings[0].first_rows == (2,)
    assert frame["local_person_id"].to_list() == ["P2", "P3", "P4"]


def test_many_broken_rows_refuse_the_file(read_person: Step) -> None:
    frame, findings = read_person(HEADER + b"P1,Smith\n" * 30 + b"P1,Smith,male\n" * 1000, rows=1030)
    (finding,) = findings
    assert frame is None
    assert finding.scope is Scope.FILE
    assert finding.rows_affected == 30
    assert len(finding.first_rows) == 20


def test_row_count_is_checked_against_the_manifest(read_person: Step, codes: Step) -> None:
    frame, findings = read_person(HEADER + b"P1,Smith,male\n", rows=2)
    assert frame is None
    assert codes(findings) == ["file.row_count"]
    assert "counts 2 rows" in findings[0].sentence
    assert "has 1" in findings[0].sentence


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
        "file.missing",
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
    assert frame is None
    rows = [row if len(row) > 5 else b"P,x,male\n" for row in rows]
    frame, findings = read_person(HEADER + b"".join(rows), rows=400)
    assert findings == ()
    assert frame["_row"].to_list() == list(range(2, 402))


def test_standard_library_reads_what_polars_does_not_count_alike(
    read_person: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = HEADER + b'P1,"a, ""b""\nc",male\nP2,d,female\n'
    expected, _ = read_person(content)
    monkeypatch.setattr(csv_text, "_read_polars", lambda *arguments: None)
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
    assert frame is None
    assert "file.column_undeclared" in codes(findings)
