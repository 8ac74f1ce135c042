"""Great Expectations as the gate. Every test of it is in this one module: its import takes seconds."""

import dataclasses
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import duckdb
import polars as pl
import pytest

from expectations import CheckContext, check_tables, gate, suites
from expectations.suites import Mode, ask_rules, compile_suite
from protocol.errors import DefectFound
from protocol.finding import Scope
from protocol.model import CodeList, Contract, OnFailure, RuleKind
from tests.unit.expectations import faults

Frames = Callable[[Any], dict[str, pl.DataFrame]]


def _typed(frames: dict[str, pl.DataFrame], contract: Contract) -> dict[str, pl.DataFrame]:
    """Every row typed and none held back: what the gate would see if the row check had missed something."""
    typed = {}
    for name, frame in frames.items():
        cells = []
        for column in contract.table(name).columns:
            cell = pl.col(column.name)
            if column.type == "date":
                cell = cell.str.to_date("%Y-%m-%d", strict=False)
            elif column.type == "integer":
                cell = cell.cast(pl.Int64, strict=False)
            elif column.type == "decimal":
                cell = cell.cast(pl.Decimal(18, 4), strict=False)
            cells.append(cell)
        typed[name] = frame.select("_row", *cells)
    return typed


def _failed(
    frames: dict[str, pl.DataFrame],
    contract: Contract,
    codelists: tuple[CodeList, ...],
    context: CheckContext,
    mode: Mode,
) -> set[str]:
    return {
        answer.code
        for name in frames
        for answer in ask_rules(contract.table(name), frames, contract, codelists, context, mode)
        if not answer.holds
    }


def test_facade_does_not_import_great_expectations() -> None:
    code = "import sys, expectations; sys.exit('great_expectations' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sound_submission_fails_no_expectation_in_either_mode(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    frames = as_frames(rows)
    assert _failed(frames, contract, codelists, context, Mode.TEXT) == set()
    assert _failed(_typed(frames, contract), contract, codelists, context, Mode.TYPED) == set()


def test_accepted_submission_passes_the_gate(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    result = check_tables(as_frames(rows), contract, codelists, context)
    assert gate(result.accepted, contract, codelists, context, received=result.received) == ()


def test_gate_passes_what_is_left_when_faulty_rows_are_held_back(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    rows["person"][5]["date_of_birth"] = "46023"
    rows["assessment"][1]["tool"] = "star_one"
    rows["assessment"][0] |= {"tool": "star_one", "assessed_on": "2026-04-09"}
    rows["item"][3]["score"] = "x"
    result = check_tables(as_frames(rows), contract, codelists, context)
    assert result.held_back.height > 3
    assert gate(result.accepted, contract, codelists, context, received=result.received) == ()


@pytest.mark.parametrize(("code", "table", "place", "cells"), faults.TEXT_FAULTS)
def test_both_checkers_agree_on_a_planted_fault_of_a_cells_text(
    as_frames: Frames,
    contract: Contract,
    codelists: Any,
    context: CheckContext,
    plant: Any,
    rows: Any,
    code: str,
    table: str,
    place: int,
    cells: dict[str, str | None],
) -> None:
    frames = as_frames(plant(rows, table, place, cells))
    of_text = {faults.ALSO[code]} & _codes(contract, Mode.TEXT) if code in faults.ALSO else set()
    assert _failed({table: frames[table]}, contract, codelists, context, Mode.TEXT) == {code} | of_text
    held = check_tables(frames, contract, codelists, context).held_back
    assert (table, place + 2, code) in set(held.select("table", "row", "rule").iter_rows())
    assert held["row"].unique().to_list() == [place + 2]


@pytest.mark.parametrize(("code", "table", "place", "cells"), faults.TYPED_FAULTS + faults.KEY_FAULTS)
def test_both_checkers_agree_on_a_planted_fault_of_values_keys_and_references(
    as_frames: Frames,
    contract: Contract,
    codelists: Any,
    context: CheckContext,
    plant: Any,
    rows: Any,
    code: str,
    table: str,
    place: int,
    cells: dict[str, str | None],
) -> None:
    frames = as_frames(plant(rows, table, place, cells))
    typed = _typed(frames, contract)
    if (code, table, place, cells) in faults.KEY_FAULTS and table == "assessment":
        # The row's new number no longer answers for the items of its old one.
        typed["item"] = typed["item"].clear()
    assert _failed(typed, contract, codelists, context, Mode.TYPED) == {code}
    result = check_tables(frames, contract, codelists, context)
    assert code in result.held_back["rule"].to_list()
    with pytest.raises(DefectFound, match=code.replace("+", r"\+")):
        gate(typed, contract, codelists, context, received={name: frame.height for name, frame in typed.items()})


@pytest.mark.parametrize(("code", "table", "place", "cells"), faults.TOTAL_FAULTS)
def test_both_checkers_agree_on_a_total_that_is_not_the_sum_of_its_rows(
    as_frames: Frames,
    contract: Contract,
    codelists: Any,
    context: CheckContext,
    rows: Any,
    code: str,
    table: str,
    place: int,
    cells: dict[str, str | None],
) -> None:
    rows[table][place].update(cells)
    frames = as_frames(rows)
    assert _failed(_typed(frames, contract), contract, codelists, context, Mode.TYPED) == {code}
    held = check_tables(frames, contract, codelists, context).held_back
    assert ("assessment", 6, code) in set(held.select("table", "row", "rule").iter_rows())


def test_total_whose_rows_are_not_all_accepted_is_left_alone_by_both_checkers(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    rows["item"][9]["score"] = "many"
    result = check_tables(as_frames(rows), contract, codelists, context)
    assert result.held_back["rule"].to_list() == ["item.score.type"]
    assert result.undecided == {"assessment.points.total": frozenset({6})}
    received = result.received
    told = gate(result.accepted, contract, codelists, context, received=received, undecided=result.undecided)
    assert told == ()
    with pytest.raises(DefectFound, match=r"assessment\.points\.total"):
        gate(result.accepted, contract, codelists, context, received=received)


def test_condition_reaches_nothing_outside_the_row(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any, tmp_path: Any
) -> None:
    """An expression that never went through the agreement's own reading is stopped by the engine itself."""
    (tmp_path / "secret.csv").write_text("a\n1\n", encoding="utf-8")
    result = check_tables(as_frames(rows), contract, codelists, context)
    assessment = contract.table("assessment")
    for expression in (f"(select count(*) from '{tmp_path}/secret.csv') = 1", "true) from cells; set threads = 2; --"):
        rules = tuple(
            rule.model_copy(update={"expression": expression}) if rule.kind is RuleKind.CONDITION else rule
            for rule in assessment.rules
        )
        with pytest.raises(DefectFound, match=r"long_has_score\.condition"):
            ask_rules(
                assessment.model_copy(update={"rules": rules}),
                result.accepted,
                contract,
                codelists,
                context,
                Mode.TYPED,
            )


def _codes(contract: Contract, mode: Mode) -> set[str]:
    kinds = {RuleKind.REQUIRED, RuleKind.TYPE, RuleKind.CODE, RuleKind.PATTERN, RuleKind.LENGTH}
    return {
        rule.code
        for table in contract.tables
        for rule in table.rules
        if rule.is_row_rule and (rule.kind in kinds) == (mode is Mode.TEXT)
    }


def test_every_row_rule_is_an_expectation_in_one_of_the_modes(contract: Contract, context: CheckContext) -> None:
    compiled: dict[Mode, set[str]] = {mode: set() for mode in Mode}
    for table in contract.tables:
        told = frozenset(
            f"{word}:{rule.code}"
            for rule in table.rules
            for word, kinds in (
                ("holds", (RuleKind.UNIQUE, RuleKind.REFERENCE, RuleKind.CONDITION)),
                ("beside", (RuleKind.TOTAL, RuleKind.DATE_ORDER_ACROSS)),
            )
            if rule.kind in kinds
        )
        for mode in Mode:
            suite = compile_suite(table, context, mode, told)
            compiled[mode] |= {expectation.meta["rule"] for expectation in suite.expectations if expectation.meta}
    row_rules = {rule.code for table in contract.tables for rule in table.rules if rule.is_row_rule}
    assert compiled[Mode.TEXT] | compiled[Mode.TYPED] == row_rules
    # The gate asks everything but the types, which are the schema of its frames.
    assert row_rules - compiled[Mode.TYPED] == {code for code in row_rules if code.endswith(".type")}


@pytest.mark.parametrize("size", [4, 5])
def test_gate_in_small_batches_decides_as_in_one(
    as_frames: Frames,
    contract: Contract,
    codelists: Any,
    context: CheckContext,
    rows: Any,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setattr("expectations.suites.BATCH_ROWS", size)
    result = check_tables(as_frames(rows), contract, codelists, context)
    assert gate(result.accepted, contract, codelists, context, received=result.received) == ()
    doubled = result.accepted | {"person": pl.concat([result.accepted["person"]] * 2)}
    with pytest.raises(DefectFound, match=r"person\.local_person_id\.unique"):
        gate(doubled, contract, codelists, context, received={"person": 12, "assessment": 6, "item": 12})


def test_gate_refuses_by_the_figures_of_the_whole_submission(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    """The gate comes to the same findings as the officer's own check, over its own figures."""
    for row in rows["person"][:4]:
        row["surname"] = None
    result = check_tables(as_frames(rows), contract, codelists, context)
    accepted = _typed({name: frame[[4, 5]] for name, frame in as_frames(rows).items()}, contract)
    accepted["item"] = accepted["item"].clear()
    within = dataclasses.replace(context, previous_counts={"person": 6})
    found = gate(accepted, contract, codelists, within, received=result.received)
    assert [(f.code, f.scope) for f in found] == [
        ("person.held_back_share", Scope.SUBMISSION),
        ("person.row_count.fallen", Scope.SUBMISSION),
    ]
    assert found[0] in result.findings


def test_fall_in_rows_that_a_person_confirmed_is_only_noted(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    result = check_tables(as_frames(rows), contract, codelists, context)
    within = dataclasses.replace(context, previous_counts={"person": 600}, shrink_confirmed=True)
    (finding,) = gate(result.accepted, contract, codelists, within, received=result.received)
    assert (finding.code, finding.scope) == ("person.row_count.fallen", Scope.NOTE)


def test_rows_left_out_as_equal_do_not_count_as_held_back(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    rows["person"] += [dict(rows["person"][0])] * 20
    result = check_tables(as_frames(rows), contract, codelists, context)
    repeated = {name: count.repeated for name, count in result.counts.items()}
    assert gate(result.accepted, contract, codelists, context, received=result.received, repeated=repeated) == ()


def test_rule_that_only_notes_does_not_stop_the_gate(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    person = contract.table("person")
    noting = tuple(
        rule.model_copy(update={"on_failure": OnFailure.NOTE}) if rule.is_row_rule else rule for rule in person.rules
    )
    changed = contract.model_copy(
        update={"tables": (person.model_copy(update={"rules": noting}), *contract.tables[1:])}
    )
    rows["person"][0] |= {"nhs_number": "1", "surname": "x" * 99, "date_of_birth": "03/04/1980", "sex": "q"}
    result = check_tables(as_frames(rows), changed, codelists, context)
    assert result.counts["person"].accepted == 6
    assert gate(result.accepted, changed, codelists, context, received=result.received) == ()


def test_delta_passes_the_gate_with_its_deletions_and_earlier_keys(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    within = dataclasses.replace(
        context, kind="delta", known_keys={"person": pl.DataFrame({"local_person_id": ["C-0", "C-1"]})}
    )
    frames = as_frames({"person": [{"local_person_id": "C-9"}], "assessment": rows["assessment"][:2]})
    frames["person"] = frames["person"].with_columns(_delete=pl.lit("yes"))
    result = check_tables(frames, contract, codelists, within)
    assert result.counts["person"].accepted == 1
    assert gate(result.accepted, contract, codelists, within, received=result.received) == ()
    unknown = dataclasses.replace(within, known_keys={"person": pl.DataFrame({"local_person_id": ["C-0"]})})
    with pytest.raises(DefectFound, match=r"local_person_id\.reference"):
        gate(result.accepted, contract, codelists, unknown, received=result.received)


@pytest.mark.parametrize("change", ["cast", "extra", "missing"])
def test_gate_does_not_take_rows_of_another_shape(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any, change: str
) -> None:
    result = check_tables(as_frames(rows), contract, codelists, context)
    person = {
        "cast": result.accepted["person"].with_columns(pl.col("date_of_birth").cast(pl.String)),
        "extra": result.accepted["person"].with_columns(memo=pl.lit("x")),
        "missing": result.accepted["person"].drop("sex"),
    }[change]
    with pytest.raises(DefectFound, match="table person"):
        gate(result.accepted | {"person": person}, contract, codelists, context, received=result.received)


def test_gate_says_nothing_of_cells_and_reaches_no_network(
    as_frames: Frames,
    contract: Contract,
    codelists: Any,
    context: CheckContext,
    rows: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    """Canaries in every text column, one of them in a row that the gate fails on."""
    reached: list[object] = []
    monkeypatch.setattr("socket.socket.connect", lambda *where: reached.append(where))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    for place, row in enumerate(rows["person"]):
        row["surname"] = f"CANARY-{place}"
    result = check_tables(as_frames(rows), contract, codelists, context)
    gate(result.accepted, contract, codelists, context, received=result.received)
    bad = result.accepted["person"].with_columns(surname=pl.lit("CANARY" * 20))
    with pytest.raises(DefectFound) as caught:
        gate(result.accepted | {"person": bad}, contract, codelists, context, received=result.received)
    told = "".join([caplog.text, *capfd.readouterr(), str(caught.value), repr(caught.value)])
    assert "CANARY" not in told
    assert not [record for record in caplog.records if record.name.startswith("great_expectations")]
    assert not reached
    assert list(tmp_path.rglob("*")) == []
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_expectation_that_cannot_be_evaluated_is_named_without_its_trace(
    as_frames: Frames, contract: Contract, codelists: Any, context: CheckContext, rows: Any
) -> None:
    person = contract.table("person")
    broken = tuple(
        rule.model_copy(update={"pattern": "("}) if rule.kind is RuleKind.PATTERN else rule for rule in person.rules
    )
    changed = contract.model_copy(
        update={"tables": (person.model_copy(update={"rules": broken}), *contract.tables[1:])}
    )
    result = check_tables(as_frames(rows), contract, codelists, context)
    with pytest.raises(DefectFound) as caught:
        gate(result.accepted, changed, codelists, context, received=result.received)
    assert "person.nhs_number.pattern" in str(caught.value)
    assert caught.value.__context__ is None or "4857" not in str(caught.value.__context__)


def test_the_database_that_looks_at_conditions_has_nowhere_to_put_cells_down() -> None:
    with duckdb.connect(":memory:", config=dict(suites._LOCKED)) as connection:
        assert connection.execute("select current_setting('temp_directory')").fetchall() == [("",)]
        with pytest.raises(duckdb.Error):
            connection.execute("set temp_directory = 'here'")
