"""No cell's content comes out of a check but in the accepted rows: a canary in every column, in every kind of fault."""

import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from expectations import (
    CheckContext,
    CheckResult,
    build_receipt,
    check_tables,
    held_back_csv,
    receipt_html,
    receipt_json,
)
from expectations.comparison import EarlierSubmission
from protocol.errors import LinkarmsError
from protocol.model import Agreement, CodeList, Contact, Contract, Partner, RuleKind

CANARY = "Zeisig"
"""Stands in planted cells and nowhere in the agreement."""

PLANTS = (
    CANARY,
    f"{CANARY} " * 60,
    f"={CANARY}()",
    f"<b>{CANARY}</b>",
    f"{CANARY}/02/2026",
    f"46023{CANARY}",
    f"£1,200 {CANARY}",
    f"{CANARY}\n{CANARY}",
    f"{CANARY}.0",
    f"'{CANARY}",
    f"{CANARY}\u00a0",
    f"12/{CANARY}/26",
)

Frames = Callable[[Any], dict[str, pl.DataFrame]]


def _everything_told(result: CheckResult, agreement: Agreement, partner: Partner) -> str:
    receipt = build_receipt(
        submission_id="harbour_trust-2026-Q2-1",
        partner=partner,
        period="2026-Q2",
        kind="full",
        agreement=agreement,
        received_at=datetime(2026, 7, 6, tzinfo=UTC),
        decided_at=datetime(2026, 7, 6, tzinfo=UTC),
        counts=result.counts,
        findings=result.findings,
        contact=Contact(role="Coordinator", email="coordinator@partnership.example"),
        software_version="0.1.0",
        last=EarlierSubmission(
            submission_id="sub-0",
            period="2026-Q1",
            state="refused",
            decided_at=datetime(2026, 4, 6, tzinfo=UTC),
            received={},
            faults=(),
        ),
    )
    files = [receipt_json(receipt), receipt_html(receipt), held_back_csv(result)]
    shown = [repr(result), str(result), repr(receipt), repr(result.findings), repr(result.counts)]
    return "".join([*shown, *(content.decode() for content in files), *result.held_back.cast(pl.String).to_series(2)])


@pytest.mark.parametrize("plant", PLANTS)
def test_canary_in_any_column_is_in_nothing_that_is_told(
    as_frames: Frames,
    contract: Contract,
    codelists: tuple[CodeList, ...],
    context: CheckContext,
    agreement: Agreement,
    partner: Partner,
    rows: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    plant: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    for table in contract.tables:
        for column in table.column_names:
            planted = {name: [dict(row) for row in of_table] for name, of_table in rows.items()}
            planted[table.name][1][column] = plant
            planted[table.name][2][column] = plant
            result = check_tables(as_frames(planted), contract, codelists, context)
            assert CANARY not in _everything_told(result, agreement, partner), (table.name, column)
    assert CANARY not in caplog.text + "".join(capfd.readouterr())


def test_canary_in_every_column_at_once_is_in_nothing_that_is_told(
    as_frames: Frames,
    contract: Contract,
    codelists: tuple[CodeList, ...],
    context: CheckContext,
    agreement: Agreement,
    partner: Partner,
    rows: Any,
) -> None:
    for name, of_table in rows.items():
        for place, row in enumerate(of_table):
            row.update(dict.fromkeys(contract.table(name).column_names, f"{CANARY}{place % 3}"))
            # The last column tells rows of one key apart, so that none counts as a repeat.
            row[contract.table(name).column_names[-1]] = f"{CANARY}-{place}"
    result = check_tables(as_frames(rows), contract, codelists, context)
    assert result.refused
    broken = {code.rsplit(".", 1)[-1] for code in result.held_back["rule"]}
    assert {"type", "code", "pattern", "unique", "held_back"} <= broken
    told = _everything_told(result, agreement, partner)
    assert CANARY not in told


def test_canary_in_moved_exchanged_and_nearly_equal_cells_is_in_nothing_that_is_told(
    as_frames: Frames,
    contract: Contract,
    codelists: tuple[CodeList, ...],
    context: CheckContext,
    agreement: Agreement,
    partner: Partner,
    rows: Any,
) -> None:
    names = contract.table("assessment").column_names
    for place in (0, 1):
        cells = list(rows["assessment"][place].values())
        rows["assessment"][place] = dict(zip(names, [*cells[:2], CANARY, *cells[2:]], strict=False))
    for row in rows["person"]:
        row["local_person_id"] = f"{CANARY}-0{row['local_person_id'][-1]}"
        row["sex"], row["surname"] = f"{row['surname']} {CANARY}", row["sex"]
    for row in rows["assessment"][2:]:
        row["local_person_id"] = f"{CANARY.lower()} 0{row['local_person_id'][-1]}"
    rows["assessment"][4]["points"] = "77"
    result = check_tables(as_frames(rows), contract, codelists, context)
    codes = {finding.code for finding in result.findings}
    assert {"assessment.columns_shifted", "person.columns_exchanged", "assessment.points.total"} <= codes
    assert any("nearly the number" in finding.mend for finding in result.findings)
    assert CANARY.lower() not in _everything_told(result, agreement, partner).lower()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (RuleKind.PATTERN, {"pattern": "(?=a)"}),
        (RuleKind.RANGE, {"minimum": "soon"}),
        (RuleKind.LENGTH, {"max_length": None}),
        (RuleKind.TYPE, {"kind": RuleKind.REQUIRED}),
    ],
)
def test_no_exception_shows_a_cell(
    as_frames: Frames,
    contract: Contract,
    codelists: tuple[CodeList, ...],
    context: CheckContext,
    rows: Any,
    kind: RuleKind,
    change: dict[str, object],
) -> None:
    for name, of_table in rows.items():
        for row in of_table:
            row.update(dict.fromkeys(contract.table(name).column_names, CANARY))
    broken = contract.model_copy(
        update={
            "tables": tuple(
                table.model_copy(
                    update={"rules": tuple(r.model_copy(update=change) if r.kind is kind else r for r in table.rules)}
                )
                for table in contract.tables
            )
        }
    )
    with pytest.raises(LinkarmsError) as caught:
        check_tables(as_frames(rows), broken, codelists, context)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_context_shows_no_earlier_key(context: CheckContext) -> None:
    known = CheckContext(
        context.period,
        context.extracted_on,
        kind="delta",
        known_keys={"person": pl.DataFrame({"local_person_id": [CANARY]})},
    )
    assert CANARY not in repr(known) + str(known)
