"""The audit trail can be added to and nothing else, and takes no personal data by mistake."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from protocol.errors import DefectFound
from warehouse.audit import record_event

CHANGES = (
    "update governance.audit_event set actor = 'somebody else'",
    "delete from governance.audit_event",
    "truncate governance.audit_event",
)


@pytest.fixture
def event(database: Any) -> int:
    with database.pipeline.begin() as conn:
        return record_event(conn, "coordinator", "release.approved", "release-1", {"cells": 12, "periods": ["2026-Q2"]})


def test_an_event_says_who_did_what_to_what_and_when(database: Any, event: int) -> None:
    with database.custodian.connect() as conn:
        row = conn.execute(text("select * from governance.audit_event")).mappings().one()
    assert (row["event_id"], row["actor"], row["action"], row["subject"]) == (
        event,
        "coordinator",
        "release.approved",
        "release-1",
    )
    assert row["detail"] == {"cells": 12, "periods": ["2026-Q2"]}
    assert row["at"].tzinfo is not None


@pytest.mark.parametrize("change", CHANGES)
def test_the_pipeline_has_no_right_to_change_an_event(database: Any, event: int, change: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), database.pipeline.begin() as conn:
        conn.execute(text(change))


@pytest.mark.parametrize("change", CHANGES)
def test_not_even_the_owner_changes_an_event_unawares(database: Any, event: int, change: str) -> None:
    with pytest.raises(IntegrityError, match="can only be added to"), database.owner.begin() as conn:
        conn.execute(text(change))


@pytest.mark.parametrize("detail", [{"row": {"surname": "x"}}, {"rows": [["x"]]}, {"text": "x" * 201}, {"b": b"x"}])
def test_an_event_takes_no_rows_and_no_long_text(database: Any, detail: Any) -> None:
    with pytest.raises(DefectFound), database.pipeline.begin() as conn:
        record_event(conn, "pipeline", "submission.loaded", "s1", detail)


def test_an_event_goes_with_the_transaction_that_it_tells_of(database: Any) -> None:
    with database.pipeline.connect() as conn:
        record_event(conn, "pipeline", "submission.loaded", "s1")
        conn.rollback()
        assert conn.scalar(text("select count(*) from governance.audit_event")) == 0
