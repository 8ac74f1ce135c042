"""Re-identification by two people: the database itself asks for two logins, an end, and one time only."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from protocol.errors import LinkarmsError
from warehouse.reidentification import approve, read_request, record_carried_out
from warehouse.roles import ensure_custodian, remove_custodian

ASK = (
    "insert into linkage.reidentification_request (audience, published_id, partner_id, reason)"
    " values ('team', repeat('a', 32), 'harbour_trust', 'A court order of 2 November.') returning request_id"
)
STEP = "insert into linkage.reidentification_step (request_id, step) values ({id}, '{step}')"
NAMES = ("custodian_ann", "custodian_bea", "custodian_cem")


@pytest.fixture
def custodians(database: Any) -> Iterator[tuple[Engine, ...]]:
    """Three custodians' own logins."""
    with database.owner.begin() as conn:
        for name in NAMES:
            ensure_custodian(conn, name, "password")
    yield tuple(database.engine_as(name, "password") for name in NAMES)
    with database.owner.begin() as conn:
        for name in NAMES:
            remove_custodian(conn, name)


def run(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.begin() as conn:
        done = conn.execute(text(statement))
        return [tuple(row) for row in done.all()] if done.returns_rows else []


def ask(engine: Engine) -> int:
    return int(run(engine, ASK)[0][0])


def events(database: Any) -> list[tuple[Any, ...]]:
    return run(
        database.owner,
        "select actor, action, subject, detail from governance.audit_event where action like 'reid%' order by event_id",
    )


def test_one_asks_another_approves_and_one_of_the_two_carries_it_out_once(
    database: Any, custodians: tuple[Engine, ...]
) -> None:
    ann, bea, _ = custodians
    number = ask(ann)
    with bea.begin() as conn:
        approve(conn, number)
    with ann.begin() as conn:
        record_carried_out(conn, number)
    with ann.connect() as conn:
        done = read_request(conn, number)
    assert (done.requested_by, done.approved_by, done.carried_out_by) == NAMES[:2] + NAMES[:1]
    assert (done.ends_at - done.requested_at).days == 14
    with bea.begin() as conn, pytest.raises(LinkarmsError, match="done already"):
        record_carried_out(conn, number)
    told = {"grant": "team", "partner": "harbour_trust"}
    assert events(database) == [
        ("custodian_ann", "reidentification.requested", f"request {number}", told),
        ("custodian_bea", "reidentification.approved", f"request {number}", told),
        ("custodian_ann", "reidentification.carried_out", f"request {number}", told),
    ]


def test_the_one_who_asked_cannot_approve(database: Any, custodians: tuple[Engine, ...]) -> None:
    number = ask(custodians[0])
    with custodians[0].begin() as conn, pytest.raises(LinkarmsError, match="another person"):
        approve(conn, number)
    # Not by plain SQL either, nor by saying to be somebody else.
    forged = f"insert into linkage.reidentification_step values ({number}, 'approved', 'custodian_bea', now())"
    with pytest.raises(DBAPIError, match="another person"):
        run(custodians[0], forged)
    run(custodians[1], forged.replace("custodian_bea", "custodian_ann"))
    assert run(database.owner, "select done_by from linkage.reidentification_step") == [("custodian_bea",)]


def test_a_request_is_under_the_sessions_own_login_and_ends_when_the_database_says(
    database: Any, custodians: tuple[Engine, ...]
) -> None:
    columns = "audience, published_id, partner_id, reason, requested_by, requested_at, ends_at"
    values = "'team', 'x', 'p', 'A court order.', 'custodian_bea', '2000-01-01', '2100-01-01'"
    run(custodians[0], f"insert into linkage.reidentification_request ({columns}) values ({values})")
    statement = "select requested_by, ends_at - requested_at = interval '14 days' from linkage.reidentification_request"
    assert run(database.owner, statement) == [("custodian_ann", True)]


def test_nothing_is_carried_out_that_is_not_approved(custodians: tuple[Engine, ...]) -> None:
    number = ask(custodians[0])
    for custodian in custodians:
        with custodian.begin() as conn, pytest.raises(LinkarmsError, match="not been approved"):
            record_carried_out(conn, number)


def test_a_third_custodian_does_not_carry_it_out(custodians: tuple[Engine, ...]) -> None:
    number = ask(custodians[0])
    with custodians[1].begin() as conn:
        approve(conn, number)
    with custodians[2].begin() as conn, pytest.raises(LinkarmsError, match="one of the two"):
        record_carried_out(conn, number)


def test_a_request_that_has_ended_is_neither_approved_nor_carried_out(
    database: Any, custodians: tuple[Engine, ...]
) -> None:
    first, second = ask(custodians[0]), ask(custodians[0])
    with custodians[1].begin() as conn:
        approve(conn, first)
    password = (database.server.home / "secrets/database/linkarms_superuser").read_text()
    with database.engine_as("linkarms_superuser", password).begin() as conn:
        conn.execute(text("set session_replication_role = replica"))  # a clock that can be put forward
        conn.execute(text("update linkage.reidentification_request set ends_at = now() - interval '1 second'"))
    with custodians[1].begin() as conn, pytest.raises(LinkarmsError, match="has ended"):
        approve(conn, second)
    with custodians[0].begin() as conn, pytest.raises(LinkarmsError, match="has ended"):
        record_carried_out(conn, first)
    with custodians[0].connect() as conn:
        assert read_request(conn, second).state == "ended"


@pytest.mark.parametrize(
    "change",
    [
        "update linkage.reidentification_request set ends_at = ends_at + interval '1 year'",
        "update linkage.reidentification_request set requested_by = 'somebody else'",
        "delete from linkage.reidentification_request",
        "truncate linkage.reidentification_request cascade",
        "update linkage.reidentification_step set done_by = 'somebody else'",
        "delete from linkage.reidentification_step",
        "truncate linkage.reidentification_step",
    ],
)
def test_what_was_asked_and_done_is_not_changed_even_by_the_owner(
    database: Any, custodians: tuple[Engine, ...], change: str
) -> None:
    number = ask(custodians[0])
    run(custodians[1], STEP.format(id=number, step="approved"))
    with pytest.raises(IntegrityError, match=r"can only be added to|violates foreign key"):
        run(database.owner, change)
    with pytest.raises(ProgrammingError, match="permission denied"):
        run(custodians[0], change)


def test_nobody_but_a_custodian_asks_or_approves(database: Any, custodians: tuple[Engine, ...]) -> None:
    number = ask(custodians[0])
    with pytest.raises(DBAPIError, match="custodian's own login"):
        run(database.owner, ASK)
    with pytest.raises(DBAPIError, match="custodian's own login"):
        run(database.owner, STEP.format(id=number, step="approved"))
    for statement in (ASK, STEP.format(id=number, step="approved")):
        with pytest.raises(ProgrammingError, match="permission denied"):
            run(database.pipeline, statement)


def test_a_request_needs_a_reason_and_a_step_is_one_of_two(custodians: tuple[Engine, ...]) -> None:
    with pytest.raises(IntegrityError):
        run(custodians[0], ASK.replace("A court order of 2 November.", "why not"))
    number = ask(custodians[0])
    with pytest.raises(IntegrityError):
        run(custodians[1], STEP.format(id=number, step="requested"))
    with custodians[1].begin() as conn, pytest.raises(LinkarmsError, match="no such request"):
        approve(conn, number + 1000)
