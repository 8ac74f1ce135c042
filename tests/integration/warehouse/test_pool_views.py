"""The pool: what an analyst with a grant sees, and what no analyst sees."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from warehouse.linkage_store import LinkageRun, write_published_ids, write_registry_update
from warehouse.pool_views import ensure_pool_views
from warehouse.roles import ensure_logins
from warehouse.snapshot import present_snapshot, take_snapshot

ANNA = "00000000-0000-4000-8000-00000000000a"
BERT = "00000000-0000-4000-8000-00000000000b"
PASSWORDS = {"analyst_a": "a-secret", "analyst_b": "b-secret", "board_member": "c-secret"}
UTC_TODAY = "(now() at time zone 'UTC')::date"
TODAY = date.today()  # noqa: DTZ011


def read(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as conn:
        return [tuple(row) for row in conn.execute(text(statement)).all()]


def publish(pool: Any, snapshot_id: str, number: int) -> None:
    with pool.database.pipeline.begin() as conn:
        conn.execute(text("update evidence.release set state = 'superseded' where state = 'published'"))
        conn.execute(
            text(
                "insert into evidence.release (release_id, number, state, snapshot_id, snapshot_digest,"
                " agreement_version, agreement_digest, code_version, parameters, prepared_at, approver, reason,"
                " approved_at, published_at)"
                " values (:id, :number, 'published', :snapshot, '', '', '', '', '{}', now(), 'a', 'r', now(), now())"
            ),
            {"id": f"r{number}", "number": number, "snapshot": snapshot_id},
        )


@pytest.fixture
def shared(pool: Any, granted: Any) -> Iterator[Any]:
    """A published pool of two partners: Anna at both, Bert and a client who must not be linked at one."""
    pool.send(
        "s1",
        {
            "person": {
                "c1": {"sex": "female"},
                "c2": {"sex": "male"},
                "hidden": {"sex": "canary", "do_not_link": "yes"},
            },
            "enrolment": {
                "e1": {"person": "c1", "enrolment_number": "f" * 32, "programme": "advice"},
                "e9": {"person": "hidden", "programme": "canary"},
            },
            "cost": {"k1": {"cost_number": "e" * 32}},
        },
    )
    pool.send("s2", {"person": {"b1": {"sex": "female"}, "b2": {"sex": "unknown"}}}, partner="bridge_housing")
    with pool.database.owner.begin() as conn:
        ensure_logins(conn, granted, PASSWORDS, TODAY)
        ensure_pool_views(conn, pool.agreement)
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
        linked = [("harbour_trust", "c1", ANNA), ("bridge_housing", "b1", ANNA), ("harbour_trust", "c2", BERT)]
        linked += [("harbour_trust", "hidden", BERT)]
        frame = pl.DataFrame(
            [(p, pool.frame(p, "person", {c: {}})["person_ref"][0], i) for p, c, i in linked],
            schema=["partner_id", "person_ref", "person_id"],
            orient="row",
        )
        events = pl.DataFrame(schema=["event", "cause", "person_id", "other_person_id"])
        write_registry_update(conn, LinkageRun("run 1", snapshot.id, "keys"), frame, events)
        for audience in ("team_a", "team_b"):
            given = pl.DataFrame({"person_id": [ANNA, BERT], "published_id": [f"{audience}-1", f"{audience}-2"]})
            write_published_ids(conn, audience, given)
    pool.snapshot_id = snapshot.id
    pool.analyst_a = pool.database.engine_as("analyst_a", PASSWORDS["analyst_a"])
    pool.analyst_b = pool.database.engine_as("analyst_b", PASSWORDS["analyst_b"])
    pool.granted = granted
    yield pool
    with pool.database.owner.begin() as conn:
        ensure_logins(conn, granted.model_copy(update={"grants": ()}), {}, TODAY)


def test_the_pool_is_empty_until_a_release_is_published(shared: Any) -> None:
    for table in shared.agreement.contract.table_names:
        assert read(shared.analyst_a, f"select * from pool.{table}") == []
    publish(shared, shared.snapshot_id, 1)
    assert len(read(shared.analyst_a, "select * from pool.person")) == 4


def test_each_grant_sees_its_own_pseudonyms_and_the_same_rows(shared: Any) -> None:
    publish(shared, shared.snapshot_id, 1)
    query = "select published_id, partner_id, sex from pool.person order by partner_id, sex"
    assert read(shared.analyst_a, query) == [
        ("team_a-1", "bridge_housing", "female"),
        (None, "bridge_housing", "unknown"),
        ("team_a-1", "harbour_trust", "female"),
        ("team_a-2", "harbour_trust", "male"),
    ]
    assert [row[1:] for row in read(shared.analyst_b, query)] == [row[1:] for row in read(shared.analyst_a, query)]
    assert {row[0] for row in read(shared.analyst_b, query)} == {"team_b-1", "team_b-2", None}


def test_no_value_that_tells_persons_or_rows_apart_is_the_same_for_two_grants(shared: Any) -> None:
    publish(shared, shared.snapshot_id, 1)
    for table, column in (("enrolment", "enrolment_number"), ("cost", "cost_number"), ("enrolment", "published_id")):
        query = f"select {column} from pool.{table} where {column} is not null"
        a, b = (set(read(engine, query)) for engine in (shared.analyst_a, shared.analyst_b))
        assert a
        assert not a & b
        assert not (a | b) & {("f" * 32,), ("e" * 32,)}


def test_a_client_who_must_not_be_linked_is_not_in_the_pool(shared: Any) -> None:
    publish(shared, shared.snapshot_id, 1)
    assert read(shared.analyst_a, "select programme from pool.enrolment") == [("advice",)]
    assert read(shared.analyst_a, "select 1 from pool.person where sex = 'canary'") == []


def test_rows_of_a_client_without_a_person_row_in_the_snapshot_are_not_in_the_pool(shared: Any) -> None:
    late = {"e2": {"person": "c1", "programme": "shown"}, "e3": {"person": "hidden", "programme": "canary"}}
    shared.send("s3", {"enrolment": late}, period="2026-Q3", mode="delta")
    with shared.database.pipeline.begin() as conn:
        alone = take_snapshot(conn, ["2026-Q3"])
        both = take_snapshot(conn, ["2026-Q2", "2026-Q3"])
        present_snapshot(conn, alone.id, shared.agreement)
        assert conn.execute(text("select distinct person_id from enrolment")).all() == [(None,)]
    publish(shared, alone.id, 1)
    assert read(shared.analyst_a, "select programme from pool.enrolment") == []
    publish(shared, both.id, 2)
    assert read(shared.analyst_a, "select programme from pool.enrolment order by 1") == [("advice",), ("shown",)]


def test_rows_of_a_client_whose_person_row_was_deleted_are_not_in_the_pool(shared: Any) -> None:
    shared.send("s3", {"person": {"hidden": {"_deleted": True}}}, mode="delta")
    with shared.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
    publish(shared, snapshot.id, 1)
    assert read(shared.analyst_a, "select programme from pool.enrolment") == [("advice",)]


def test_no_view_of_the_pool_has_an_internal_column(shared: Any) -> None:
    with shared.database.owner.connect() as conn:
        columns = conn.execute(
            text("select table_name, column_name from information_schema.columns where table_schema = 'pool'")
        ).all()
    assert {table for table, _ in columns} == set(shared.agreement.contract.table_names)
    internal = {"person_ref", "person_id", "row_key", "repeats_row_key", "submission_id", "do_not_link", "deleted"}
    assert not {column for _, column in columns} & internal


def test_every_view_and_column_of_the_pool_says_what_it_is(shared: Any) -> None:
    with shared.database.owner.connect() as conn:
        silent = conn.execute(
            text(
                "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
                " where c.relnamespace = 'pool'::regnamespace and (col_description(c.oid, a.attnum) is null"
                " or obj_description(c.oid, 'pg_class') is null)"
            )
        ).all()
    assert silent == []


def test_a_session_that_is_not_of_a_grant_sees_nothing_in_the_pool(shared: Any) -> None:
    publish(shared, shared.snapshot_id, 1)
    with shared.database.owner.begin() as conn:
        conn.execute(text(f"update governance.login_grant set ends = {UTC_TODAY} - 1 where login = 'analyst_a'"))
    assert read(shared.analyst_a, "select * from pool.person") == []
    assert read(shared.analyst_a, "select * from pool.cost") == []
    assert read(shared.database.owner, "select * from pool.person") == []
    with pytest.raises(ProgrammingError, match="permission denied"):
        read(shared.database.engine_as("board_member", PASSWORDS["board_member"]), "select * from pool.person")


def test_a_session_cannot_lengthen_its_grant_by_its_time_zone(shared: Any) -> None:
    publish(shared, shared.snapshot_id, 1)
    # At every hour of the day one of the two zones has another date than UTC.
    for days, zone in (
        (f"starts = {UTC_TODAY} - 9, ends = {UTC_TODAY} - 1", "Etc/GMT+12"),
        (f"starts = {UTC_TODAY} + 1, ends = {UTC_TODAY} + 9", "Etc/GMT-14"),
    ):
        with shared.database.owner.begin() as conn:
            conn.execute(text(f"update governance.login_grant set {days} where login = 'analyst_a'"))
        with shared.analyst_a.connect() as conn:
            conn.execute(text(f"set time zone '{zone}'"))
            assert conn.execute(text("select * from pool.person")).all() == []


def test_a_session_cannot_take_on_another_grant(shared: Any) -> None:
    publish(shared, shared.snapshot_id, 1)
    for statement in ("set session authorization analyst_b", "set role analyst_b"):
        with pytest.raises(ProgrammingError, match="permission denied"), shared.analyst_a.begin() as conn:
            conn.execute(text(statement))


def test_the_pool_follows_the_release_that_is_published(shared: Any) -> None:
    publish(shared, shared.snapshot_id, 1)
    shared.send("s3", {"person": {"c1": {"sex": "later"}}}, period="2026-Q3")
    with shared.database.pipeline.begin() as conn:
        later = take_snapshot(conn, ["2026-Q2", "2026-Q3"])
    assert read(shared.analyst_a, "select 1 from pool.person where sex = 'later'") == []
    publish(shared, later.id, 2)
    assert read(shared.analyst_a, "select published_id from pool.person where sex = 'later'") == [("team_a-1",)]


def test_making_the_views_again_changes_nothing(shared: Any) -> None:
    publish(shared, shared.snapshot_id, 1)
    query = "select * from pool.enrolment"
    before = read(shared.analyst_a, query)
    with shared.database.owner.begin() as conn:
        ensure_pool_views(conn, shared.agreement)
    assert before
    assert read(shared.analyst_a, query) == before
