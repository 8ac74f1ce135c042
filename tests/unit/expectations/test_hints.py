"""Local hints: what was probably meant, and that nothing but a terminal gets them."""

import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from expectations import CheckContext, CheckResult, check_tables, held_back_csv
from expectations.hints import SHOWN, LocalHints, _nearest_key, work_out_hints
from protocol.finding import Finding
from protocol.model import CodeList, Contract

Frames = Callable[[Any], dict[str, pl.DataFrame]]
Hinted = Callable[[Any], tuple[CheckResult, LocalHints]]


@pytest.fixture
def hinted(as_frames: Frames, contract: Contract, codelists: tuple[CodeList, ...], context: CheckContext) -> Hinted:
    def run(rows: Any) -> tuple[CheckResult, LocalHints]:
        frames = as_frames(rows)
        result = check_tables(frames, contract, codelists, context)
        return result, work_out_hints(frames, result, contract, codelists)

    return run


def _of(result: CheckResult, hints: LocalHints, code: str) -> list[tuple[int, str, str | None]]:
    return [(h.row, h.shown, h.nearest) for f in result.findings if f.code == code for h in hints.of(f)]


@pytest.mark.parametrize(
    ("table", "column", "cell", "nearest"),
    [
        ("person", "sex", "femal", "female"),
        ("person", "sex", "MALE ", "male"),
        ("person", "sex", "Femaile", "female"),
        ("person", "sex", "zzz", None),
        ("assessment", "tool", "Outcomes Wheel", "wheel"),
        ("person", "date_of_birth", "46023", "2026-01-01"),
        ("person", "date_of_birth", "31/03/1984", "1984-03-31"),
        ("person", "date_of_birth", "03-31-1984", "1984-03-31"),
        ("person", "date_of_birth", "03/04/1984", None),
        ("person", "date_of_birth", "04/04/1984", "1984-04-04"),
        ("person", "date_of_birth", "1984-31-03", "1984-03-31"),
        ("person", "date_of_birth", "1984-03-31 00:00:00", "1984-03-31"),
        ("person", "date_of_birth", "3 April 1984", "1984-04-03"),
        ("person", "date_of_birth", "1984-02-31", None),
        ("person", "nhs_number", "485777345", "0485777345"),
        ("person", "nhs_number", "4857773451.0", "4857773451"),
        ("person", "nhs_number", "485 777 3451", "4857773451"),
        ("assessment", "minutes", "1,200", "1200"),
        ("assessment", "minutes", "45.0", "45"),
        ("assessment", "minutes", "45.5", None),
        ("assessment", "total_score", "12,5", "12.5"),
        ("assessment", "total_score", "£1,012.50", "1012.50"),
        ("person", "sex", "F", "female"),
        ("assessment", "total_score", "(12.5)", "-12.5"),
        ("assessment", "local_person_id", "c 5", "C-5"),
        ("assessment", "local_person_id", "C-55", None),
    ],
)
def test_hint_gives_the_agreed_form_where_it_is_plain_what_was_meant(
    hinted: Hinted, rows: Any, table: str, column: str, cell: str, nearest: str | None
) -> None:
    rows[table][5][column] = cell
    result, hints = hinted(rows)
    found = [h for f in result.findings if f.columns == (column,) for h in hints.of(f)]
    assert [(h.row, h.shown, h.nearest) for h in found] == [(7, cell, nearest)]


@pytest.mark.parametrize(
    ("cell", "keys", "nearest"),
    [
        ("HT-104130", ["HT-104310", "HT-998877"], "HT-104310"),
        ("HT-104130", ["HT-104131", "HT-998877"], "HT-104131"),
        ("HT-104130", ["HT-104131", "HT-104132"], None),
        ("HT-104130", ["HT-114131"], None),
        ("4711.0", ["004711", "004712"], "004711"),
    ],
)
def test_number_of_another_row_is_suggested_only_where_hardly_anything_differs_and_no_other_is_near(
    cell: str, keys: list[str], nearest: str | None
) -> None:
    """A guess would lead the officer to write one person's rows under another person's number."""
    assert _nearest_key(cell, keys) == nearest


def test_order_of_day_and_month_is_taken_from_the_column(hinted: Hinted, rows: Any) -> None:
    rows["person"][0]["date_of_birth"] = "31/03/1980"
    rows["person"][1]["date_of_birth"] = "03/04/1981"
    result, hints = hinted(rows)
    assert _of(result, hints, "person.date_of_birth.type") == [
        (2, "31/03/1980", "1980-03-31"),
        (3, "03/04/1981", "1981-04-03"),
    ]


def test_hint_is_one_short_line_whatever_stands_in_the_cell(hinted: Hinted, rows: Any) -> None:
    rows["person"][5]["sex"] = "\x1b[31mfe\nmale" + "e" * 500
    result, hints = hinted(rows)
    ((_, shown, _),) = _of(result, hints, "person.sex.code")
    assert len(shown) == SHOWN
    assert shown.isprintable()


CANARY = "Zeisig"


def test_hints_are_in_nothing_that_is_written_or_logged(
    hinted: Hinted, rows: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    rows["person"][0]["sex"] = CANARY
    rows["person"][1]["date_of_birth"] = f"31 {CANARY}"
    result, hints = hinted(rows)
    shown = [hint for finding in result.findings for hint in hints.of(finding)]
    assert any(CANARY in hint.shown for hint in shown)
    told = [repr(hints), str(hints), repr(shown), f"{hints}", repr(vars(result)), repr(result.findings)]
    told += [finding.model_dump_json() for finding in result.findings]
    told += [held_back_csv(result).decode(), caplog.text, *capfd.readouterr()]
    assert not [text for text in told if CANARY in text]
    assert not {"hint", "hints", "shown", "nearest"} & set(Finding.model_fields)
    for thing in (hints, shown[0]):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        with pytest.raises(TypeError):
            json.dumps(thing)
