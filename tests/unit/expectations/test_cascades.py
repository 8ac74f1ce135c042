"""One cause, one finding: moved cells, exchanged columns, empty columns, what the reader could not read."""

import dataclasses
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from expectations import CheckContext, CheckResult, check_tables
from expectations.result import with_reading
from protocol.finding import Finding, Scope
from protocol.model import CodeList, Contract, OnFailure, RuleKind

Frames = Callable[[Any], dict[str, pl.DataFrame]]
Check = Callable[..., CheckResult]


@pytest.fixture
def check(as_frames: Frames, contract: Contract, codelists: tuple[CodeList, ...], context: CheckContext) -> Check:
    def run(rows: Any, within: CheckContext = context, by: Contract = contract) -> CheckResult:
        return check_tables(as_frames(rows), by, codelists, within)

    return run


def _codes(result: CheckResult) -> list[str]:
    return [finding.code for finding in result.findings]


def _move(row: dict[str, str | None], columns: tuple[str, ...], start: int, by: int) -> None:
    """Move the cells from ``start`` on: to the right with a fragment left behind, to the left over a lost cell."""
    cells = [row[name] for name in columns]
    moved = (
        [*cells[:start], *["fragment"] * by, *cells[start:]] if by > 0 else [*cells[:start], *cells[start - by :], None]
    )
    row.update(dict(zip(columns, moved, strict=False)))


@pytest.mark.parametrize(("start", "by", "side"), [(2, 1, "right"), (2, -1, "left"), (3, 2, "right"), (3, -2, "left")])
def test_row_whose_cells_have_moved_is_one_finding_that_names_where(
    check: Check, contract: Contract, rows: Any, start: int, by: int, side: str
) -> None:
    columns = contract.table("assessment").column_names
    rows["assessment"][0]["valid_to"] = "2026-12-31"
    _move(rows["assessment"][0], columns, start, by)
    result = check(rows)
    (finding,) = [f for f in result.findings if f.table == "assessment"]
    assert finding.code == "assessment.columns_shifted"
    assert (finding.scope, finding.first_rows) == (Scope.ROW, (2,))
    assert finding.columns == (columns[start],)
    assert f"too far to the {side}" in finding.sentence
    assert result.held_back.filter(pl.col("table") == "assessment")["rule"].to_list() == ["assessment.columns_shifted"]


def test_thousand_moved_rows_are_one_finding_and_the_others_keep_theirs(
    check: Check, contract: Contract, rows: Any
) -> None:
    columns = contract.table("assessment").column_names
    model = dict(rows["assessment"][0])
    for n in range(1000):
        row = {**model, "assessment_number": f"B-{n}"}
        _move(row, columns, 2, -1)
        rows["assessment"].append(row)
    rows["assessment"][5]["tool"] = "ruler"
    rows["item"] = rows["item"][:10]
    result = check(rows)
    assert {f.code: f.rows_affected for f in result.findings if f.table == "assessment"} == {
        "assessment.columns_shifted": 1000,
        "assessment.tool.code": 1,
    }


def test_children_of_a_moved_row_wait_for_it_though_its_key_has_moved(
    check: Check, contract: Contract, rows: Any
) -> None:
    person = contract.table("person")
    _move(rows["person"][0], person.column_names, 0, 1)
    result = check(rows)
    by_table = {f.table: f for f in result.findings if f.scope is Scope.ROW}
    assert by_table["person"].code == "person.columns_shifted"
    assert by_table["assessment"].code == "assessment.local_person_id.reference.held_back"
    assert (by_table["assessment"].first_rows, by_table["assessment"].other_rows) == ((2,), (2,))


def test_two_wrong_cells_that_fit_nowhere_else_stay_two_findings(check: Check, rows: Any) -> None:
    rows["assessment"][5] |= {"tool": "ruler", "assessed_on": "soon"}
    rows["item"] = rows["item"][:10]
    assert _codes(check(rows)) == ["assessment.tool.code", "assessment.assessed_on.type"]


def test_dates_written_day_first_throughout_have_not_moved(check: Check, rows: Any) -> None:
    for row in rows["assessment"]:
        for name in ("assessed_on", "valid_to"):
            row[name] = row[name] and "/".join(reversed(row[name].split("-")))
    result = check(rows)
    of_dates = [f for f in result.findings if f.table == "assessment"]
    assert [f.code for f in of_dates] == ["assessment.assessed_on.type", "assessment.valid_to.type"]


def test_ambiguous_dates_beside_day_first_ones_are_the_same_fault(check: Check, rows: Any) -> None:
    for row, cell in zip(rows["person"], ["03/04/1980", "31/03/1981", "05/06/1982"], strict=False):
        row["date_of_birth"] = cell
    finding = next(f for f in check(rows).findings if f.code == "person.date_of_birth.type")
    assert finding.rows_affected == 3
    assert "written day first" in finding.mend


def test_ambiguous_dates_beside_both_orders_are_told_as_ambiguous(check: Check, rows: Any) -> None:
    for row, cell in zip(rows["person"], ["03/04/1980", "31/03/1981", "03/31/1982"], strict=False):
        row["date_of_birth"] = cell
    mends = [f.mend for f in check(rows).findings if f.code == "person.date_of_birth.type"]
    assert len(mends) == 3
    assert any("either way round" in mend for mend in mends)


def test_columns_that_were_exchanged_are_one_finding(check: Check, contract: Contract, rows: Any) -> None:
    for row in rows["person"]:
        row["sex"], row["recorded_on"] = row["recorded_on"], row["sex"]
    result = check(rows)
    (finding,) = [f for f in result.findings if f.table == "person" and f.scope is Scope.ROW]
    assert (finding.code, finding.columns) == ("person.columns_exchanged", ("sex", "recorded_on"))
    assert finding.rows_affected == 6


def test_text_that_was_exchanged_with_codes_is_seen_though_text_is_never_wrong(check: Check, rows: Any) -> None:
    for row in rows["person"]:
        row["sex"], row["surname"] = row["surname"], row["sex"]
    (finding,) = [f for f in check(rows).findings if f.table == "person" and f.scope is Scope.ROW]
    assert (finding.code, finding.columns) == ("person.columns_exchanged", ("surname", "sex"))


def test_column_in_which_most_cells_are_wrong_was_not_exchanged_with_one_that_is_right(check: Check, rows: Any) -> None:
    for row in rows["person"]:
        row["sex"] = "2026-01-01"
    assert "person.sex.code" in _codes(check(rows))


def test_required_column_that_is_empty_throughout_is_told_as_such(check: Check, rows: Any) -> None:
    for row in rows["person"]:
        row["surname"] = None
    finding = next(f for f in check(rows).findings if f.code == "person.surname.required")
    assert "empty from top to bottom" in finding.sentence
    rows["person"][0]["surname"] = "Example"
    finding = next(f for f in check(rows).findings if f.code == "person.surname.required")
    assert "top to bottom" not in finding.sentence


# --- what the reader could not read -----------------------------------------------------------------------------------


def test_absent_column_breaks_no_rule(check: Check, rows: Any, context: CheckContext) -> None:
    for row in rows["person"]:
        row["nhs_number"] = row["surname"] = None
    for row in rows["assessment"]:
        row["points"] = row["local_person_id"] = None
    absent = {"person": frozenset({"nhs_number", "surname"}), "assessment": frozenset({"points", "local_person_id"})}
    assert check(rows, dataclasses.replace(context, absent_columns=absent)).findings == ()


def test_rows_are_no_orphans_of_a_file_that_could_not_be_read(check: Check, rows: Any, context: CheckContext) -> None:
    del rows["person"]
    unread = dataclasses.replace(context, unread_tables=frozenset({"person"}))
    assert "assessment.local_person_id.reference" not in _codes(check(rows, unread))
    assert "assessment.local_person_id.reference" in _codes(check(rows))


def test_orphans_of_a_file_with_unread_rows_are_told_so(check: Check, rows: Any, context: CheckContext) -> None:
    rows["person"] = rows["person"][1:]
    result = check(rows, dataclasses.replace(context, unread_rows={"person": 3}))
    finding = next(f for f in result.findings if f.code == "assessment.local_person_id.reference")
    assert "Rows of person.csv could not be read (3)" in finding.mend


def test_reading_is_taken_from_the_readers_findings(context: CheckContext) -> None:
    def finding(code: str, scope: Scope, table: str, **more: Any) -> Finding:
        return Finding(code=code, scope=scope, table=table, sentence="s", mend="m", **more)

    told = with_reading(
        context,
        (
            finding("file.columns_missing", Scope.FILE, "person", columns=("sex",)),
            finding("file.encoding", Scope.FILE, "item"),
            finding("row.cells", Scope.ROW, "assessment", rows_affected=3),
            finding("row.quotes", Scope.ROW, "assessment", rows_affected=2),
        ),
        {"person": pl.DataFrame(), "assessment": pl.DataFrame()},
    )
    assert told.absent_columns == {"person": frozenset({"sex"})}
    assert told.unread_tables == frozenset({"item"})
    assert told.unread_rows == {"assessment": 5}


# --- both rows --------------------------------------------------------------------------------------------------------


def test_doubled_key_names_both_rows(check: Check, rows: Any) -> None:
    rows["item"] += [{**rows["item"][3], "score": "1"}]
    finding = next(f for f in check(rows).findings if f.code.endswith(".unique"))
    assert (finding.first_rows, finding.other_rows, finding.other_table) == ((5, 14), (14, 5), None)


def test_repeated_row_names_the_row_that_it_repeats(check: Check, rows: Any) -> None:
    rows["item"] += [dict(rows["item"][3]), dict(rows["item"][0])]
    (finding,) = check(rows).findings
    assert (finding.first_rows, finding.other_rows) == ((14, 15), (5, 2))


def test_row_that_waits_names_its_parents_row(check: Check, rows: Any) -> None:
    rows["person"][3]["sex"] = "x"
    rows["assessment"].reverse()
    finding = next(f for f in check(rows).findings if f.code == "assessment.local_person_id.reference.held_back")
    assert (finding.first_rows, finding.other_rows, finding.other_table) == ((4,), (5,), "person")


def test_total_and_date_across_tables_name_both_rows(check: Check, rows: Any) -> None:
    rows["assessment"][4]["points"] = "9"
    rows["assessment"][5] |= {"local_person_id": "C-1", "valid_to": "2026-12-30"}
    found = {f.code: f for f in check(rows).findings}
    total = found["assessment.points.total"]
    assert (total.first_rows, total.other_rows, total.other_table) == ((6,), (10,), "item")
    dates = found["assessment.valid_to.date_order_across"]
    assert (dates.first_rows, dates.other_rows, dates.other_table) == ((7,), (3,), "person")


@pytest.mark.parametrize("key", ["C-0003.0", "c 3", "C-03", "C/3"])
def test_orphan_that_is_nearly_a_parents_number_names_the_parents_row(check: Check, rows: Any, key: str) -> None:
    for row in rows["person"]:
        row["local_person_id"] = row["local_person_id"].replace("-", "-0" if key == "C-03" else "-")
    if key == "C-0003.0":
        rows["person"][3]["local_person_id"] = key = "0003"
        rows["assessment"][3]["local_person_id"] = "3.0"
    elif key == "C-03":
        for row in rows["assessment"]:
            row["local_person_id"] = row["local_person_id"].replace("-", "-0")
        rows["assessment"][3]["local_person_id"] = "c03"
    else:
        rows["assessment"][3]["local_person_id"] = key
    finding = next(f for f in check(rows).findings if f.code == "assessment.local_person_id.reference")
    assert (finding.first_rows, finding.other_rows, finding.other_table) == ((5,), (5,), "person")
    assert "nearly the number" in finding.mend


# --- what passes and is worth a look ----------------------------------------------------------------------------------


def test_column_without_a_day_after_the_twelfth_is_noted_where_it_cannot_be_chance(check: Check, rows: Any) -> None:
    rows["person"] = [
        {**rows["person"][0], "local_person_id": f"C-{n}", "date_of_birth": f"1980-{n % 12 + 1:02}-{n % 11 + 2:02}"}
        for n in range(60)
    ]
    (finding,) = check(rows).findings
    assert (finding.code, finding.scope) == ("person.date_of_birth.day_and_month", Scope.NOTE)
    rows["person"][7]["date_of_birth"] = "1980-01-13"
    assert check(rows).findings == ()


def test_few_dates_early_in_the_month_are_noted_only_beside_dates_written_day_first(check: Check, rows: Any) -> None:
    for place, row in enumerate(rows["person"]):
        row["date_of_birth"] = f"198{place}-0{place + 1}-0{place + 1}"
    rows["person"].append({**rows["person"][0], "local_person_id": "C-9", "date_of_birth": "31/03/1980"})
    assert "person.date_of_birth.day_and_month" in _codes(check(rows))
    rows["person"][-1]["date_of_birth"] = "46023"
    assert "person.date_of_birth.day_and_month" not in _codes(check(rows))


def test_cascade_over_a_rule_that_refuses_refuses_still(check: Check, contract: Contract, rows: Any) -> None:
    for row in rows["person"]:
        row["sex"], row["recorded_on"] = row["recorded_on"], row["sex"]
    strict = contract.model_copy(
        update={
            "tables": tuple(
                table.model_copy(
                    update={
                        "rules": tuple(
                            rule.model_copy(update={"on_failure": OnFailure.REFUSE})
                            if rule.kind is RuleKind.CODE
                            else rule
                            for rule in table.rules
                        )
                    }
                )
                for table in contract.tables
            )
        }
    )
    finding = next(f for f in check(rows, by=strict).findings if f.code == "person.columns_exchanged")
    assert finding.scope is Scope.SUBMISSION
