"""Rows of the earlier version carried over: names, codes, and what was not collected."""

from typing import Any

import polars as pl
import pytest

from intake.upgrade import upgrade_tables
from protocol.errors import DefectFound
from protocol.model import Agreement, ColumnUpgrade
from tests.two_versions import load_two_versions


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Agreement:
    return load_two_versions(tmp_path_factory.mktemp("two") / "agreement")


def frame(agreement: Agreement, table: str, rows: list[dict[str, Any]], **schema: Any) -> pl.DataFrame:
    """Rows of a table of the earlier version, as the check of that version gives them."""
    assert agreement.earlier is not None
    names = agreement.earlier.contract.table(table).column_names
    types: dict[str, Any] = {"_row": pl.Int64, **dict.fromkeys(names, pl.String), **schema}
    return pl.DataFrame([{"_row": place, **row} for place, row in enumerate(rows, start=2)], schema=types)


def with_column(agreement: Agreement, table: str, how: ColumnUpgrade) -> Agreement:
    """The agreement with another way of feeding one column."""
    earlier = agreement.earlier
    assert earlier is not None
    tables = tuple(
        t.model_copy(update={"columns": tuple(how if c.column == how.column else c for c in t.columns)})
        if t.table == table
        else t
        for t in earlier.upgrade.tables
    )
    upgrade = earlier.upgrade.model_copy(update={"tables": tables})
    return agreement.model_copy(update={"earlier": earlier.model_copy(update={"upgrade": upgrade})})


def test_codes_and_names_are_carried_over_and_rows_keep_their_numbers(both: Agreement) -> None:
    ended = frame(both, "enrolment", [{"end_reason": code} for code in ("disengaged", "died", None)])
    contacts = frame(both, "service_contact", [{"minutes": 44, "channel": "phone"}], minutes=pl.Int64)
    made = upgrade_tables({"enrolment": ended, "service_contact": contacts}, both)
    assert made["enrolment"]["end_reason"].to_list() == ["lost_contact", "died", None]
    assert made["enrolment"]["entry_route"].to_list() == ["not_collected"] * 3
    assert made["enrolment"]["planned_weeks"].to_list() == [None] * 3
    assert made["enrolment"]["_row"].to_list() == [2, 3, 4]
    assert made["service_contact"]["duration_minutes"].to_list() == ["44"]
    assert made["service_contact"].columns == ["_row", *both.contract.table("service_contact").column_names]
    assert set(made) == {"enrolment", "service_contact"}


def test_deletions_of_a_delta_stay_deletions(both: Agreement) -> None:
    rows = frame(both, "enrolment", [{"_delete": True}, {"_delete": False}], _delete=pl.Boolean)
    assert upgrade_tables({"enrolment": rows}, both)["enrolment"]["_delete"].to_list() == [True, False]


def test_other_values_and_empty_cells_get_the_codes_that_were_declared(both: Agreement) -> None:
    how = ColumnUpgrade(
        column="entry_route",
        source="programme",
        codes={"into_work": "referred"},
        otherwise="self",
        empty="unknown",
    )
    rows = frame(both, "enrolment", [{"programme": code} for code in ("into_work", "family_hub", None)])
    made = upgrade_tables({"enrolment": rows}, with_column(both, "enrolment", how))
    assert made["enrolment"]["entry_route"].to_list() == ["referred", "self", "unknown"]


def test_frame_without_an_agreed_column_stops(both: Agreement) -> None:
    with pytest.raises(DefectFound, match="service_contact came without the column minutes"):
        upgrade_tables({"service_contact": frame(both, "service_contact", []).drop("minutes")}, both)


def test_agreement_of_one_version_carries_nothing_over(both: Agreement) -> None:
    with pytest.raises(DefectFound):
        upgrade_tables({}, both.model_copy(update={"earlier": None}))
