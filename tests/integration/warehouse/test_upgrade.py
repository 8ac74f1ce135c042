"""Rows that the database holds by an earlier version, when a new one is set up."""

from typing import Any

import pytest
from sqlalchemy import text

from protocol.errors import AgreementError
from protocol.model import Agreement
from tests.integration.warehouse.conftest import Pool
from tests.two_versions import load_two_versions
from warehouse.plan import apply_plan, plan_columns
from warehouse.snapshot import snapshot_digest, take_snapshot
from warehouse.upgrade import upgrade_rows


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Agreement:
    return load_two_versions(tmp_path_factory.mktemp("two") / "agreement")


@pytest.fixture
def held(pool: Pool) -> Pool:
    """A pool with rows by version 1.0."""
    pool.send(
        "s1",
        {
            "person": {"ann": {}},
            "enrolment": {"e1": {"person": "ann", "end_reason": "disengaged"}, "e2": {"person": "ann"}},
            "service_contact": {"c1": {"person": "ann", "minutes": 30}},
        },
    )
    return pool


def set_up(pool: Pool, agreement: Agreement) -> dict[str, int]:
    with pool.database.owner.begin() as conn:
        apply_plan(conn, plan_columns(conn, agreement), agreement.digest)
        return upgrade_rows(conn, agreement)


def read(pool: Pool, statement: str) -> list[tuple[Any, ...]]:
    with pool.database.owner.connect() as conn:
        return [tuple(row) for row in conn.execute(text(statement))]


def test_rows_get_new_codes_and_columns_and_keep_their_pseudonyms(held: Pool, both: Agreement) -> None:
    before = read(held, "select row_key, person_ref, enrolment_number from facts.enrolment order by 1")
    assert set_up(held, both) == {"enrolment": 2, "service_contact": 1}
    assert read(held, "select end_reason, entry_route, planned_weeks from facts.enrolment order by 1") == [
        ("lost_contact", "not_collected", None),
        (None, "not_collected", None),
    ]
    assert read(held, "select duration_minutes from facts.service_contact") == [(30,)]
    assert read(held, "select row_key, person_ref, enrolment_number from facts.enrolment order by 1") == before
    assert read(held, "select agreement_version, rows_version from governance.submission") == [("1.0", "2.0")]
    events = "select subject, detail from governance.audit_event where action = 'facts.upgraded'"
    assert read(held, events) == [("1.0", {"to": "2.0", "rows": 3})]


def test_deletion_of_a_delta_stays_empty(held: Pool, both: Agreement) -> None:
    held.send("s2", {"enrolment": {"e2": {"_deleted": True}}}, mode="delta")
    assert set_up(held, both)["enrolment"] == 2
    assert read(held, "select entry_route from facts.enrolment where deleted") == [(None,)]


def test_second_time_changes_nothing(held: Pool, both: Agreement) -> None:
    set_up(held, both)
    held.agreement = both
    held.send("s2", {"enrolment": {"e3": {"person": "ann", "entry_route": "self"}}}, mode="delta")
    assert set_up(held, both) == {}
    assert read(held, "select entry_route, count(*) from facts.enrolment group by 1 order by 1") == [
        ("not_collected", 2),
        ("self", 1),
    ]


def test_snapshot_taken_before_is_the_same_after(held: Pool, both: Agreement) -> None:
    with held.database.owner.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
    set_up(held, both)
    with held.database.owner.begin() as conn:
        assert snapshot_digest(conn, snapshot.id) == snapshot.digest


def test_rows_of_a_version_that_nothing_leads_from_stop_the_set_up(held: Pool, both: Agreement) -> None:
    alone = both.model_copy(update={"versions": (), "earlier": None})
    with pytest.raises(AgreementError, match=r"rows of version 1\.0"):
        set_up(held, alone)
    assert read(held, "select rows_version from governance.submission") == [("1.0",)]


def test_version_that_only_adds_columns_leaves_rows_as_they_are(held: Pool) -> None:
    assert set_up(held, held.agreement.model_copy(update={"version": "1.1"})) == {}
    assert read(held, "select rows_version, end_reason from governance.submission, facts.enrolment order by 2") == [
        ("1.1", "disengaged"),
        ("1.1", None),
    ]
