"""The review queue and the log of decisions: who may write what, what is never changed, and what a run puts up."""

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from protocol.errors import DefectFound, LinkarmsError
from tests.integration.warehouse.conftest import pseudonym
from warehouse.linkage_store import LinkageRun, write_registry_update
from warehouse.review_store import (
    count_waiting,
    read_decisions,
    read_pair,
    read_waiting,
    write_decision,
    write_review,
)
from warehouse.roles import ensure_custodian, remove_custodian
from warehouse.snapshot import take_snapshot

REASON = "Both partners' staff know the client."
PAIRS = {
    "partner_id": pl.String,
    "person_ref": pl.String,
    "other_partner_id": pl.String,
    "other_person_ref": pl.String,
    "probability": pl.Float64,
    "agreed_on": pl.List(pl.String),
    "differs_on": pl.List(pl.String),
}


def ref(partner: str, client: str) -> str:
    return pseudonym(partner, "person", client)


def pair(client: str, other: str, probability: float = 0.7) -> tuple[Any, ...]:
    one = ("bridge_housing", ref("bridge_housing", client))
    two = ("harbour_trust", ref("harbour_trust", other))
    return (*one, *two, probability, ["date of birth", "surname"], ["NHS number"])


def frame(*pairs: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(pairs), schema=PAIRS, orient="row")


@pytest.fixture
def ann(database: Any) -> Iterator[Engine]:
    """A custodian's own login."""
    with database.owner.begin() as conn:
        ensure_custodian(conn, "custodian_ann", "ann's password")
    yield database.engine_as("custodian_ann", "ann's%20password")
    with database.owner.begin() as conn:
        remove_custodian(conn, "custodian_ann")


@pytest.fixture
def snapshot_id(pool: Any) -> str:
    """Two partners; the client 1 of the one has two assessments, the others have none."""
    person = {"sex": "female"}
    pool.send(
        "h1",
        {
            "person": {"1": person, "2": person},
            "assessment": {"x": {"person": "1"}, "y": {"person": "1"}},
        },
    )
    pool.send("b1", {"person": {"1": person, "2": person}}, partner="bridge_housing")
    with pool.database.pipeline.begin() as conn:
        return take_snapshot(conn, ["2026-Q2"]).id


def put_up(database: Any, snapshot_id: str, run: str, *pairs: tuple[Any, ...]) -> int:
    with database.pipeline.begin() as conn:
        nobody = pl.DataFrame(schema=dict.fromkeys(("partner_id", "person_ref", "person_id"), pl.String))
        nothing = pl.DataFrame(schema=dict.fromkeys(("event", "cause", "person_id", "other_person_id"), pl.String))
        write_registry_update(conn, LinkageRun(run, snapshot_id, "keys"), nobody, nothing)
        log = read_decisions(conn).unique(["person_ref", "other_person_ref"], keep="last", maintain_order=True)
        answered = log.filter(pl.col("answer") != "undecided")
        return write_review(conn, run, snapshot_id, frame(*pairs), answered)


def waiting(engine: Engine, by: str = "rows") -> list[int]:
    with engine.connect() as conn:
        return [entry.pair_id for entry in read_waiting(conn, by, None)]


def answer(engine: Engine, pair_id: int, what: str) -> int:
    with engine.begin() as conn:
        return write_decision(conn, read_pair(conn, pair_id), what, REASON)


def test_pairs_wait_in_words_those_first_on_which_most_rows_hang(database: Any, snapshot_id: str, ann: Engine) -> None:
    assert put_up(database, snapshot_id, "run 1", pair("2", "2", 0.55), pair("1", "1", 0.9)) == 2
    with ann.connect() as conn:
        first, second = read_waiting(conn, "rows", 10)
        assert count_waiting(conn) == 2
        assert [entry.pair_id for entry in read_waiting(conn, "doubt", 10)] == [second.pair_id, first.pair_id]
        assert [entry.pair_id for entry in read_waiting(conn, "rows", 1, 1)] == [second.pair_id]
    # Two assessments and the client's row with one partner, the client's row with the other.
    assert (first.rows_concerned, second.rows_concerned) == (4, 2)
    assert first.agreed_on == ("date of birth", "surname")
    assert first.differs_on == ("NHS number",)
    assert first.probability == 0.9


def test_a_pair_keeps_its_number_is_closed_when_it_is_in_doubt_no_more_and_comes_back(
    database: Any, snapshot_id: str, ann: Engine
) -> None:
    put_up(database, snapshot_id, "run 1", pair("1", "1"), pair("2", "2"))
    before = waiting(ann)
    put_up(database, snapshot_id, "run 2", pair("1", "1", 0.8))
    assert len(waiting(ann)) == 1
    put_up(database, snapshot_id, "run 3", pair("1", "1"), pair("2", "2"))
    assert waiting(ann) == before


def test_a_pair_that_was_answered_is_not_put_up_again_until_the_answer_is_taken_back(
    database: Any, snapshot_id: str, ann: Engine
) -> None:
    put_up(database, snapshot_id, "run 1", pair("1", "1"))
    (number,) = waiting(ann)
    answer(ann, number, "different")
    assert waiting(ann) == []
    assert put_up(database, snapshot_id, "run 2", pair("1", "1")) == 0
    assert waiting(ann) == []
    with ann.connect() as conn:
        assert read_pair(conn, number).answer == "different"
    answer(ann, number, "undecided")
    assert waiting(ann) == [number]
    assert put_up(database, snapshot_id, "run 3", pair("1", "1")) == 1


def test_a_pair_whose_records_were_turned_round_by_a_rotation_of_keys_is_the_same_pair(
    database: Any, snapshot_id: str, ann: Engine
) -> None:
    own = ("harbour_trust", "a" * 32, "harbour_trust", "b" * 32, 0.7, ["surname"], [])
    put_up(database, snapshot_id, "run 1", own)
    (number,) = waiting(ann)
    answer(ann, number, "same")
    with database.owner.begin() as conn:
        for table in ("review_pair", "decision"):
            conn.execute(text(f"update linkage.{table} set person_ref = repeat('d', 32)"))
            conn.execute(text(f"update linkage.{table} set other_person_ref = repeat('c', 32)"))
    with ann.connect() as conn:
        found = read_pair(conn, number)
        assert (found.answer, found.person_ref) == ("same", "d" * 32)
    answer(ann, number, "undecided")
    turned = ("harbour_trust", "c" * 32, "harbour_trust", "d" * 32, 0.6, ["surname"], [])
    put_up(database, snapshot_id, "run 2", turned)
    assert waiting(ann) == [number]


def test_every_column_that_holds_a_pseudonym_is_named_so_that_a_rotation_of_keys_finds_it() -> None:
    from warehouse.schema import metadata

    for name in ("review_pair", "decision"):
        columns = set(metadata.tables[f"linkage.{name}"].columns.keys())
        assert {"partner_id", "person_ref", "other_partner_id", "other_person_ref"} <= columns
    assert "person_ref" not in metadata.tables["linkage.reidentification_request"].columns


@pytest.mark.parametrize("wrong", [(2, 3, 0, 1), (0, 1, 0, 1)])
def test_a_run_that_puts_up_a_pair_in_the_wrong_order_is_stopped(
    database: Any, snapshot_id: str, wrong: tuple[int, ...]
) -> None:
    right = pair("1", "1")
    with pytest.raises(DefectFound, match="wrong order"):
        put_up(database, snapshot_id, "run 1", (*(right[place] for place in wrong), *right[4:]))
    with pytest.raises(DefectFound, match="twice"):
        put_up(database, snapshot_id, "run 1", right, right)


# --- decisions --------------------------------------------------------------------------------------------------------


def insert_decision(**more: str) -> str:
    values = {
        "partner_id": "'a'",
        "person_ref": "'1'",
        "other_partner_id": "'b'",
        "other_person_ref": "'2'",
        "answer": "'same'",
        "reason": "'Known to both partners.'",
        **more,
    }
    return f"insert into linkage.decision ({', '.join(values)}) values ({', '.join(values.values())})"


def run(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.begin() as conn:
        done = conn.execute(text(statement))
        return [tuple(row) for row in done.all()] if done.returns_rows else []


def test_a_decision_is_under_the_sessions_own_login_whatever_it_says(database: Any, ann: Engine) -> None:
    run(ann, insert_decision(decided_by="'somebody else'", decided_at="'2000-01-01'", after_run="99"))
    ((who, is_now, after),) = run(
        database.owner, "select decided_by, now() - decided_at < interval '1 minute', after_run from linkage.decision"
    )
    assert (who, is_now, after) == ("custodian_ann", True, 0)
    ((actor, subject, detail),) = run(
        database.owner, "select actor, subject, detail from governance.audit_event where action = 'linkage.decided'"
    )
    assert (actor, detail) == ("custodian_ann", {"answer": "same", "partner": "a", "other_partner": "b"})
    assert subject.startswith("decision ")


def test_nobody_but_a_custodian_decides_not_even_the_owner_or_a_superuser(database: Any) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        run(database.pipeline, insert_decision())
    superuser = database.engine_as(
        "linkarms_superuser", (database.server.home / "secrets/database/linkarms_superuser").read_text()
    )
    for engine in (database.owner, superuser):
        with pytest.raises(DBAPIError, match="custodian's own login"):
            run(engine, insert_decision())


@pytest.mark.parametrize(
    "change",
    [
        "update linkage.decision set answer = 'different'",
        "update linkage.decision set decided_by = 'somebody else'",
        "update linkage.decision set reason = 'Another reason altogether.'",
        "update linkage.decision set other_partner_id = 'c', person_ref = '9'",
        "delete from linkage.decision",
        "truncate linkage.decision",
    ],
)
def test_a_decision_is_not_changed_even_by_the_owner(database: Any, ann: Engine, change: str) -> None:
    run(ann, insert_decision())
    with pytest.raises(IntegrityError):
        run(database.owner, change)
    for engine in (ann, database.pipeline):
        with pytest.raises(ProgrammingError, match="permission denied"):
            run(engine, change)


def test_pseudonyms_in_decisions_follow_a_rotation_of_keys_and_the_audit_trail_says_so(
    database: Any, ann: Engine
) -> None:
    run(ann, insert_decision())
    run(database.owner, "update linkage.decision set person_ref = '7' where person_ref = '1'")
    assert run(database.owner, "select person_ref from linkage.decision") == [("7",)]
    events = "select actor, detail from governance.audit_event where action = 'linkage.decisions_rekeyed'"
    assert run(database.owner, events) == [("linkarms_owner", {"rows": 1})]


@pytest.mark.parametrize(
    "wrong", [{"answer": "'perhaps'"}, {"reason": "'short'"}, {"other_partner_id": "'a'", "other_person_ref": "'1'"}]
)
def test_a_decision_has_an_answer_a_reason_and_two_records(ann: Engine, wrong: dict[str, str]) -> None:
    with pytest.raises(IntegrityError):
        run(ann, insert_decision(**wrong))


def test_a_reason_that_says_nothing_is_refused_in_words(database: Any, snapshot_id: str, ann: Engine) -> None:
    put_up(database, snapshot_id, "run 1", pair("1", "1"))
    with ann.begin() as conn, pytest.raises(LinkarmsError, match="at least 10 characters"):
        write_decision(conn, read_pair(conn, waiting(ann)[0]), "same", "  because  ")


def test_readers_and_the_pipeline_reach_nothing_that_is_not_theirs(database: Any, ann: Engine) -> None:
    refused = {
        database.pipeline: [
            "select * from linkage.reidentification_request",
            "select * from linkage.reidentification_step",
            "update linkage.decision set person_ref = ''",
        ],
        ann: [
            "update linkage.review_pair set probability = 1",
            "delete from linkage.review_pair",
            "update linkage.membership set person_ref = ''",
            "insert into governance.audit_event (actor, action, subject, detail) values ('a', 'b', 'c', '{}')",
            "select * from facts.person",
        ],
    }
    for engine, statements in refused.items():
        for statement in statements:
            with pytest.raises(ProgrammingError, match="permission denied"):
                run(engine, statement)


# --- logins -----------------------------------------------------------------------------------------------------------


def test_the_login_of_another_role_is_not_made_a_custodians(database: Any) -> None:
    for name in ("linkarms_owner", "pipeline_service"):
        with pytest.raises(LinkarmsError, match="another role"), database.owner.begin() as conn:
            ensure_custodian(conn, name, "x")
        with pytest.raises(LinkarmsError, match="no custodian's login"), database.owner.begin() as conn:
            remove_custodian(conn, name)


def test_making_and_removing_a_custodian_is_audited_and_ends_the_login(database: Any) -> None:
    with database.owner.begin() as conn:
        ensure_custodian(conn, "custodian_eve", "password")
    eve = database.engine_as("custodian_eve", "password")
    run(eve, insert_decision())
    with database.owner.begin() as conn:
        remove_custodian(conn, "custodian_eve")
    with pytest.raises(DBAPIError):
        run(eve, "select 1")
    assert run(database.owner, "select decided_by from linkage.decision") == [("custodian_eve",)]
    events = "select action from governance.audit_event where subject = 'custodian_eve' order by event_id"
    assert run(database.owner, events) == [("custodian.login_made",), ("custodian.login_removed",)]
