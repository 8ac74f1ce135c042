"""What the row check holds back, lets through and says."""

import dataclasses
from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest

from expectations import CheckContext, CheckResult, check_tables
from protocol.errors import AgreementError, DefectFound
from protocol.finding import Scope
from protocol.model import CodeList, Contract, OnFailure, Period, RuleKind
from tests.unit.expectations import faults

Frames = Callable[[Any], dict[str, pl.DataFrame]]
Check = Callable[..., CheckResult]


@pytest.fixture
def check(as_frames: Frames, contract: Contract, codelists: tuple[CodeList, ...], context: CheckContext) -> Check:
    def run(rows: Any, within: CheckContext = context, by: Contract = contract) -> CheckResult:
        return check_tables(as_frames(rows), by, codelists, within)

    return run


def _changed(contract: Contract, code: str, **change: object) -> Contract:
    """The contract with one rule changed."""
    tables = [
        table.model_copy(
            update={"rules": tuple(r.model_copy(update=change) if r.code == code else r for r in table.rules)}
        )
        for table in contract.tables
    ]
    return contract.model_copy(update={"tables": tuple(tables)})


def _lines(result: CheckResult) -> list[tuple[str, int, str]]:
    return [(table, row, rule) for table, row, rule, _ in result.held_back.iter_rows()]


def test_sound_submission_is_accepted_whole_and_typed(check: Check, rows: Any) -> None:
    result = check(rows)
    assert result.findings == ()
    assert not result.refused
    assert result.held_back.is_empty()
    assert {name: frame.height for name, frame in result.accepted.items()} == {"person": 6, "assessment": 6, "item": 12}
    assert result.accepted["assessment"].schema == {
        "_row": pl.Int64,
        "assessment_number": pl.String,
        "local_person_id": pl.String,
        "tool": pl.String,
        "assessed_on": pl.Date,
        "valid_to": pl.Date,
        "minutes": pl.Int64,
        "total_score": pl.Decimal(18, 4),
        "points": pl.Int64,
    }
    assert result.accepted["assessment"]["assessed_on"][0] == date(2026, 4, 1)


@pytest.mark.parametrize(("code", "table", "place", "cells"), faults.TEXT_FAULTS + faults.TYPED_FAULTS)
def test_each_rule_holds_back_exactly_the_row_that_breaks_it(
    check: Check, plant: Any, rows: Any, code: str, table: str, place: int, cells: dict[str, str | None]
) -> None:
    result = check(plant(rows, table, place, cells))
    expected = {(table, place + 2, code)}
    if code in faults.ALSO:
        expected.add((table, place + 2, faults.ALSO[code]))
    assert set(_lines(result)) == expected
    finding = next(finding for finding in result.findings if finding.code == code)
    assert finding.scope is Scope.ROW
    assert (finding.file, finding.rows_affected, finding.first_rows) == (f"{table}.csv", 1, (place + 2,))


@pytest.mark.parametrize(("code", "table", "place", "cells"), faults.KEY_FAULTS)
def test_rows_of_one_key_that_differ_are_all_held_back(
    check: Check, plant: Any, rows: Any, code: str, table: str, place: int, cells: dict[str, str | None]
) -> None:
    result = check(plant(rows, table, place, cells))
    own = {(name, row) for name, row, rule in _lines(result) if rule == code}
    assert own == {(table, place + 1), (table, place + 2)}


def test_every_row_rule_kind_has_a_planted_fault(contract: Contract) -> None:
    planted = {code for code, *_ in faults.TEXT_FAULTS + faults.TYPED_FAULTS + faults.KEY_FAULTS}
    planted |= {code for code, *_ in faults.TOTAL_FAULTS}
    assert planted == {rule.code for table in contract.tables for rule in table.rules if rule.is_row_rule}


def test_equal_rows_count_once_and_are_only_noted(check: Check, rows: Any) -> None:
    rows["item"] += [dict(rows["item"][0]), dict(rows["item"][0])]
    result = check(rows)
    assert result.held_back.is_empty()
    assert result.accepted["item"].height == 12
    assert dataclasses.astuple(result.counts["item"]) == (14, 12, 0, 2)
    assert [(f.code, f.scope, f.first_rows) for f in result.findings] == [
        ("item.repeated_rows", Scope.NOTE, (14, 15)),
    ]


def test_an_equal_row_beside_a_differing_one_is_held_back_with_it(check: Check, rows: Any) -> None:
    rows["item"] += [dict(rows["item"][0]), {**rows["item"][0], "score": "1"}]
    assert {row for _, row, _ in _lines(check(rows))} == {2, 14, 15}


def test_a_wrong_cell_breaks_its_type_rule_and_no_other(check: Check, contract: Contract, rows: Any) -> None:
    rows["assessment"][5]["assessed_on"] = "3/7/2026"
    rows["item"] = rows["item"][:8]
    assert _lines(check(rows)) == [("assessment", 7, "assessment.assessed_on.type")]


def test_children_of_a_held_back_row_have_one_cause_at_every_level(check: Check, rows: Any) -> None:
    rows["person"][0]["date_of_birth"] = "46023"
    result = check(rows)
    assert _lines(result) == [
        ("person", 2, "person.date_of_birth.type"),
        ("assessment", 2, "assessment.local_person_id.reference.held_back"),
        ("item", 2, "item.assessment_number.reference.held_back"),
        ("item", 3, "item.assessment_number.reference.held_back"),
    ]
    assert [finding.rows_affected for finding in result.findings] == [1, 1, 2]
    assert "person.csv that were held back" in result.findings[1].sentence


def test_children_of_an_unknown_row_are_told_apart_from_those_of_a_held_back_one(check: Check, rows: Any) -> None:
    rows["person"][0]["surname"] = None
    rows["assessment"][1]["local_person_id"] = "C-77"
    codes = {(row, rule) for table, row, rule in _lines(check(rows)) if table == "assessment"}
    assert codes == {
        (2, "assessment.local_person_id.reference.held_back"),
        (3, "assessment.local_person_id.reference"),
    }


def test_references_within_one_table_are_followed_until_nothing_changes(
    check: Check, contract: Contract, rows: Any
) -> None:
    """A chain that runs against the order of the rows needs more than one round."""
    assessment = contract.table("assessment")
    pattern = next(r for r in assessment.rules if r.kind is RuleKind.REFERENCE)
    chain = pattern.model_copy(
        update={"code": "assessment.tool.reference", "columns": ("tool",), "to_table": "assessment"}
    )
    chain = chain.model_copy(update={"to_columns": ("assessment_number",)})
    rules = (*(r for r in assessment.rules if r.kind is not RuleKind.CODE), chain)
    changed = contract.model_copy(
        update={"tables": (contract.tables[0], assessment.model_copy(update={"rules": rules}), contract.tables[2])}
    )
    for place, row in enumerate(rows["assessment"]):
        row["tool"] = f"A-{min(place + 1, 5)}"
    assert check(rows, by=changed).held_back.is_empty()
    rows["assessment"][5]["minutes"] = "many"
    held = {row for table, row, _ in _lines(check(rows, by=changed)) if table == "assessment"}
    assert held == {2, 3, 4, 5, 6, 7}


def test_code_is_judged_by_the_rows_own_date(check: Check, rows: Any) -> None:
    for place, (tool, day) in enumerate(
        [("star_one", "2026-05-15"), ("star_one", "2026-05-16"), ("star_two", "2026-05-15"), ("star_two", "2026-05-16")]
    ):
        rows["assessment"][place] |= {"tool": tool, "assessed_on": day, "valid_to": None}
    rows["item"] = []
    result = check(rows)
    assert _lines(result) == [("assessment", 3, "assessment.tool.code"), ("assessment", 4, "assessment.tool.code")]
    assert "not in use on the row's date" in result.findings[0].mend


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("46023", "day numbers that Excel"),
        ("46023.5", "day numbers that Excel"),
        ("31/02/2026", "no such day"),
        ("2026-02-30", "no such day"),
        ("29/02/2025", "no such day"),
        ("29/02/2024", "day first"),
        ("03/04/2026", "either way round"),
        ("3.4.26", "two digits only"),
        ("31/03/2026", "day first"),
        ("03-31-2026", "month first"),
        ("2026-31-03", "greater than 12"),
        ("2026-03-31 00:00:00", "time of day"),
        ("20260331", "hyphens"),
        ("2026/3/1", "two digits each"),
        ("31 March 2026", "as a word"),
        ("########", "too narrow"),
        ("#N/A", "error message"),
        ("n/a", "stands for nothing"),
    ],
)
def test_mend_names_the_likely_cause_of_a_wrong_date_without_showing_it(
    check: Check, rows: Any, cell: str, words: str
) -> None:
    rows["person"][5]["date_of_birth"] = cell
    rows["assessment"], rows["item"] = rows["assessment"][:4], rows["item"][:8]
    (finding,) = check(rows).findings
    assert finding.code == "person.date_of_birth.type"
    assert words in finding.mend
    assert cell not in finding.model_dump_json()


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("minutes", "1,200", "thousands"),
        ("minutes", "45.0", "decimals"),
        ("minutes", "45 min", "unit"),
        ("minutes", "1.2E+05", "powers of ten"),
        ("total_score", "12,5", "Use a point"),
        ("total_score", "£12.50", "currency"),
        ("total_score", "0.123456", "at most four decimals"),
        ("tool", "Wheel", "Only capitals"),
        ("tool", "Outcomes Wheel", "label of a code"),
    ],
)
def test_mend_names_the_likely_cause_of_a_wrong_number_or_code(
    check: Check, rows: Any, column: str, cell: str, words: str
) -> None:
    rows["assessment"][5][column] = cell
    rows["item"] = rows["item"][:8]
    (finding,) = check(rows).findings
    assert words in finding.mend


@pytest.mark.parametrize("cell", ["1985-1-2", "0985-01-02", "２０２６-01-02", "1985-01-02x", "1985-01-02\n"])
def test_only_the_one_agreed_form_of_a_date_is_read(check: Check, rows: Any, cell: str) -> None:
    rows["person"][5]["date_of_birth"] = cell
    assert ("person", 7, "person.date_of_birth.type") in _lines(check(rows))


@pytest.mark.parametrize("cell", ["٤٥", "4 5", "9" * 19, "45.", "0x2d"])
def test_only_plain_digits_are_read_as_a_number(check: Check, rows: Any, cell: str) -> None:
    rows["assessment"][5]["minutes"] = cell
    assert ("assessment", 7, "assessment.minutes.type") in _lines(check(rows))


def test_ten_thousand_equal_faults_are_one_finding_with_the_first_rows(check: Check, rows: Any) -> None:
    rows["item"] += [{"assessment_number": "A-0", "question": str(n), "score": "bad"} for n in range(10, 10_010)]
    result = check(rows)
    (finding,) = result.findings
    assert finding.rows_affected == 10_000
    assert finding.first_rows == tuple(range(14, 34))
    assert result.held_back.height == 10_000


def test_empty_table_is_checked_without_a_fault(check: Check, rows: Any) -> None:
    result = check({"person": rows["person"], "assessment": [], "item": []})
    assert result.findings == ()
    assert result.accepted["assessment"].schema["assessed_on"] == pl.Date


# --- what a broken rule does ------------------------------------------------------------------------------------------


def test_refusing_rule_refuses_the_submission_and_lets_nothing_through(
    check: Check, contract: Contract, rows: Any
) -> None:
    rows["person"][0]["sex"] = "x"
    result = check(rows, by=_changed(contract, "person.sex.code", on_failure=OnFailure.REFUSE))
    assert result.refused
    assert result.accepted == {}
    assert result.findings[0].scope is Scope.SUBMISSION
    assert result.counts["person"].held_back == 1


def test_noting_rule_keeps_the_row_and_empties_the_cell(check: Check, contract: Contract, rows: Any) -> None:
    rows["person"][0]["nhs_number"] = "485"
    result = check(rows, by=_changed(contract, "person.nhs_number.pattern", on_failure=OnFailure.NOTE))
    assert result.held_back.is_empty()
    assert [finding.scope for finding in result.findings] == [Scope.NOTE]
    assert result.accepted["person"]["nhs_number"].to_list()[:2] == [None, "4857773451"]


def test_too_large_a_share_of_held_back_rows_refuses(check: Check, rows: Any) -> None:
    for row in rows["person"][:3]:
        row["surname"] = None
    assert not check(rows).refused
    rows["person"][3]["surname"] = None
    result = check(rows)
    assert result.refused
    finding = next(finding for finding in result.findings if finding.code == "person.held_back_share")
    assert (finding.scope, finding.rows_affected) == (Scope.SUBMISSION, 4)
    assert "Found 66.7%; at most 50% is agreed." in finding.sentence


def test_what_follows_from_too_many_rows_held_back_is_not_told_again(
    check: Check, rows: Any, contract: Contract
) -> None:
    """All rows of a table wait for those of another one: neither is a table too small, nor another one refused too."""
    share = next(rule for rule in contract.table("person").rules if rule.kind is RuleKind.HELD_BACK_SHARE)
    tables = [
        table.model_copy(
            update={"rules": (*table.rules, share.model_copy(update={"code": "x", "table": table.name, "share": 0.2}))}
        )
        if table.name != "person"
        else table
        for table in contract.tables
    ]
    by = contract.model_copy(update={"tables": tuple(tables)})
    for row in rows["person"]:
        row["surname"] = None
    refusing = [f for f in check(rows, by=by).findings if f.scope is Scope.SUBMISSION]
    assert [(f.code, f.table) for f in refusing] == [("person.held_back_share", "person")]
    # Faults of its own are told beside, also where its rows wait besides.
    for row in rows["assessment"][:2]:
        row["minutes"] = "many"
    refusing = [f for f in check(rows, by=by).findings if f.scope is Scope.SUBMISSION]
    assert [f.table for f in refusing] == ["person", "assessment"]


def test_tables_that_wait_for_a_few_rows_and_lose_too_many_by_it_are_told(
    check: Check, rows: Any, contract: Contract
) -> None:
    for row in rows["assessment"]:
        row["local_person_id"] = "C-0"
    rows["person"][0]["surname"] = None
    share = next(rule for rule in contract.table("person").rules if rule.kind is RuleKind.HELD_BACK_SHARE)
    held = share.model_copy(update={"code": "assessment.held_back_share", "table": "assessment"})
    tables = [
        table.model_copy(update={"rules": (*table.rules, held)}) if table.name == "assessment" else table
        for table in contract.tables
    ]
    result = check(rows, by=contract.model_copy(update={"tables": tuple(tables)}))
    assert [f.code for f in result.findings if f.scope is Scope.SUBMISSION] == ["assessment.held_back_share"]


def test_columns_too_empty_are_told_of_all_rows_where_too_many_are_held_back(check: Check, rows: Any) -> None:
    """Else those that remain would be spoken of, and a fault that is there would show only at the second try."""
    for row in rows["person"]:
        row["surname"] = None
    for row in rows["person"][:4]:
        row["nhs_number"] = None
    codes = [finding.code for finding in check(rows).findings if finding.scope is Scope.SUBMISSION]
    assert codes == ["person.nhs_number.completeness", "person.held_back_share"]


def test_missing_file_is_not_told_again_as_too_few_rows(check: Check, rows: Any, context: CheckContext) -> None:
    del rows["person"]
    assert "person.row_count" in {finding.code for finding in check(rows).findings}
    told = check(rows, dataclasses.replace(context, unread_tables=frozenset({"person"}))).findings
    assert [finding for finding in told if finding.table == "person"] == []


# --- another period ---------------------------------------------------------------------------------------------------


@pytest.fixture
def many(rows: Any) -> Any:
    """Twelve assessments without anything that depends on them."""
    rows["item"] = []
    rows["assessment"] = [
        {**row, "assessment_number": f"{row['assessment_number']}-{n}", "points": None, "valid_to": None}
        for n in range(2)
        for row in rows["assessment"]
    ]
    return rows


FIRST = Period(id="2026-Q1", starts=date(2026, 1, 1), ends=date(2026, 3, 31))


def test_extract_of_another_period_is_one_fault(check: Check, many: Any, context: CheckContext) -> None:
    for row in many["assessment"]:
        row["assessed_on"] = "2026-02-03"
    result = check(many, dataclasses.replace(context, other_periods=(context.period, FIRST)))
    (finding,) = result.findings
    assert (finding.code, finding.scope, finding.example) == ("submission.wrong_period", Scope.SUBMISSION, "2026-Q1")
    assert "stated to be for 2026-Q2, but nearly all of its dates lie in 2026-Q1" in finding.sentence
    assert result.refused
    assert result.held_back.is_empty()


@pytest.mark.parametrize(("earlier", "row_faults"), [(9, 9), (10, 0), (12, 0)])
def test_some_dates_of_another_period_are_faults_of_their_rows(
    check: Check, many: Any, context: CheckContext, earlier: int, row_faults: int
) -> None:
    for row in many["assessment"][:earlier]:
        row["assessed_on"] = "2026-02-03"
    result = check(many, dataclasses.replace(context, other_periods=(FIRST, context.period)))
    assert sum(f.rows_affected for f in result.findings if f.code.endswith("within_period")) == row_faults


def test_dates_of_no_single_period_are_faults_of_their_rows(check: Check, many: Any, context: CheckContext) -> None:
    for number, row in enumerate(many["assessment"]):
        row["assessed_on"] = ("2026-02-03", "2025-11-30")[number % 2]
    result = check(many, dataclasses.replace(context, other_periods=(FIRST,)))
    assert {finding.code for finding in result.findings} == {"assessment.assessed_on.within_period"}


# --- columns ----------------------------------------------------------------------------------------------------------


def test_too_empty_a_column_refuses_and_names_the_empty_rows(check: Check, rows: Any) -> None:
    for row in rows["person"][:3]:
        row["nhs_number"] = None
    assert not check(rows).refused
    rows["person"][3]["nhs_number"] = None
    result = check(rows)
    assert result.refused
    assert [(f.code, f.rows_affected, f.first_rows) for f in result.findings] == [
        ("person.nhs_number.completeness", 4, (2, 3, 4, 5))
    ]


def test_empty_person_table_is_refused_unless_declared_nil(check: Check, context: CheckContext) -> None:
    empty: dict[str, list[dict[str, str | None]]] = {"person": [], "assessment": [], "item": []}
    assert [finding.code for finding in check(empty).findings] == ["person.row_count"]
    assert not check(empty, dataclasses.replace(context, nil_tables=frozenset({"person"}))).refused
    assert not check(empty, dataclasses.replace(context, kind="nil")).refused


def test_full_submission_that_shrinks_is_held_until_a_person_confirms(
    check: Check, rows: Any, context: CheckContext
) -> None:
    grown = dataclasses.replace(context, previous_counts={"person": 9})
    result = check(rows, grown)
    assert result.refused
    assert [(f.code, f.scope) for f in result.findings] == [("person.row_count.fallen", Scope.SUBMISSION)]
    confirmed = check(rows, dataclasses.replace(grown, shrink_confirmed=True))
    assert not confirmed.refused
    assert [f.scope for f in confirmed.findings] == [Scope.NOTE]
    assert check(rows, dataclasses.replace(context, previous_counts={"person": 8})).findings == ()


# --- deltas -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def delta(context: CheckContext) -> CheckContext:
    return dataclasses.replace(
        context, kind="delta", known_keys={"person": pl.DataFrame({"local_person_id": ["C-50"]})}
    )


def _delta_frames(as_frames: Frames, rows: Any, deletes: dict[str, list[Any]]) -> dict[str, pl.DataFrame]:
    frames = as_frames(rows)
    return {
        name: frame.with_columns(pl.Series("_delete", deletes[name])) if name in deletes else frame
        for name, frame in frames.items()
    }


@pytest.mark.parametrize("words", [["yes", None], [True, False], ["TRUE", "no"]])
def test_deletion_needs_its_key_and_nothing_else(
    as_frames: Frames, contract: Contract, codelists: Any, delta: CheckContext, rows: Any, words: list[Any]
) -> None:
    some = {"person": [{"local_person_id": "C-50"}, rows["person"][0]]}
    result = check_tables(_delta_frames(as_frames, some, {"person": words}), contract, codelists, delta)
    assert result.findings == ()
    assert result.accepted["person"]["_delete"].to_list() == [True, False]


def test_deletion_without_a_key_or_with_an_unclear_word_is_held_back(
    as_frames: Frames, contract: Contract, codelists: Any, delta: CheckContext, rows: Any
) -> None:
    some = {"person": [{"local_person_id": None}, rows["person"][0], rows["person"][1]]}
    frames = _delta_frames(as_frames, some, {"person": ["yes", "perhaps", "no"]})
    assert _lines(check_tables(frames, contract, codelists, delta)) == [
        ("person", 2, "person.local_person_id.required"),
        ("person", 3, "person._delete.code"),
    ]


def test_delta_may_refer_to_rows_of_earlier_submissions(
    as_frames: Frames, contract: Contract, codelists: Any, delta: CheckContext, rows: Any
) -> None:
    rows = {"assessment": rows["assessment"][:2]}
    rows["assessment"][0]["local_person_id"] = "C-50"
    result = check_tables(as_frames(rows), contract, codelists, delta)
    assert _lines(result) == [("assessment", 3, "assessment.local_person_id.reference")]


def test_delta_asks_where_keys_are_kept_only_as_pseudonyms(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    asked: list[list[str]] = []

    def find(table: str, keys: pl.DataFrame) -> pl.Series:
        asked.append([table, *sorted(keys["local_person_id"])])
        return keys["local_person_id"] == "C-1"

    within = dataclasses.replace(context, kind="delta", find_known_keys=find)
    result = check_tables(as_frames({"assessment": rows["assessment"][:2]}), contract, codelists, within)
    assert asked == [["person", "C-0", "C-1"]]
    assert _lines(result) == [("assessment", 2, "assessment.local_person_id.reference")]


def test_delta_without_knowledge_of_earlier_rows_says_so(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    within = dataclasses.replace(context, kind="delta")
    result = check_tables(as_frames({"assessment": rows["assessment"]}), contract, codelists, within)
    assert result.held_back.is_empty()
    assert [(f.code, f.scope) for f in result.findings] == [
        ("assessment.local_person_id.reference.not_checked", Scope.NOTE)
    ]


def test_child_of_a_row_that_the_same_delta_deletes_is_held_back(
    as_frames: Frames, contract: Contract, codelists: Any, delta: CheckContext, rows: Any
) -> None:
    some = {
        "person": [{"local_person_id": "C-50"}],
        "assessment": [{**rows["assessment"][0], "local_person_id": "C-50"}],
    }
    frames = _delta_frames(as_frames, some, {"person": ["yes"]})
    assert _lines(check_tables(frames, contract, codelists, delta)) == [
        ("assessment", 2, "assessment.local_person_id.reference")
    ]


def test_child_of_a_held_back_change_to_an_earlier_row_goes_on(
    as_frames: Frames, contract: Contract, codelists: Any, delta: CheckContext, rows: Any
) -> None:
    some = {
        "person": [{**rows["person"][0], "local_person_id": "C-50", "surname": None}],
        "assessment": [{**rows["assessment"][0], "local_person_id": "C-50"}],
    }
    assert _lines(check_tables(as_frames(some), _lenient(contract), codelists, delta)) == [
        ("person", 2, "person.surname.required")
    ]


def _lenient(contract: Contract) -> Contract:
    return _changed(contract, "person.held_back_share", share=1.0)


# --- inability --------------------------------------------------------------------------------------------------------


def test_frame_without_an_agreed_column_is_our_defect(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    frames = as_frames(rows)
    frames["person"] = frames["person"].drop("sex")
    with pytest.raises(DefectFound, match="table person came without the columns sex"):
        check_tables(frames, contract, codelists, context)


def test_column_outside_the_agreement_never_comes_out(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    frames = as_frames(rows)
    frames["person"] = frames["person"].with_columns(extra=pl.lit("x"))
    assert "extra" not in check_tables(frames, contract, codelists, context).accepted["person"].columns


@pytest.mark.parametrize(
    ("code", "change", "words"),
    [
        ("person.nhs_number.pattern", {"pattern": "(?=1)1"}, "pattern of rule person.nhs_number.pattern"),
        ("assessment.minutes.range", {"minimum": "few"}, "limit of rule assessment.minutes.range"),
        ("assessment.minutes.range", {"minimum": None, "maximum": None}, "gives no limit"),
        ("person.surname.length", {"max_length": None}, "lacks what a rule of kind length needs"),
        ("assessment.minutes.type", {"kind": RuleKind.REQUIRED}, "no type rule for minutes"),
    ],
)
def test_rule_that_cannot_be_used_is_named(
    check: Check, contract: Contract, rows: Any, code: str, change: dict[str, object], words: str
) -> None:
    with pytest.raises(AgreementError, match=words):
        check(rows, by=_changed(contract, code, **change))


def test_same_submission_gives_the_same_result(check: Check, rows: Any) -> None:
    rows["person"][0]["sex"] = "x"
    rows["item"][3]["score"] = "many"
    first, second = check(rows), check(rows)
    assert first.findings == second.findings
    assert first.held_back.equals(second.held_back)


def test_code_of_a_table_without_event_date_has_to_be_in_force_in_the_period(
    as_frames: Frames, contract: Contract, rows: Any, codelists: Any, context: CheckContext
) -> None:
    sex, tool = codelists
    ended = sex.model_copy(
        update={"codes": tuple(c.model_copy(update={"valid_to": date(2026, 4, 1)}) for c in sex.codes)}
    )
    assert check_tables(as_frames(rows), contract, (ended, tool), context).findings == ()
    later = Period(id="2026-Q3", starts=date(2026, 4, 2), ends=date(2026, 9, 30))
    result = check_tables(
        as_frames({"person": rows["person"]}), contract, (ended, tool), CheckContext(later, date(2026, 10, 1))
    )
    assert result.counts["person"].held_back == 6
