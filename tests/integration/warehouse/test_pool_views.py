"""The pool: what an analyst with a grant sees, and what no analyst sees."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DataError, ProgrammingError
from sqlalchemy.pool import NullPool

from protocol.pool import analyst_columns
from warehouse.linkage_store import LinkageRun, write_marks, write_published_ids, write_registry_update
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
    shared.publish(shared.snapshot_id, 1)
    assert len(read(shared.analyst_a, "select * from pool.person")) == 4


def test_each_grant_sees_its_own_pseudonyms_and_the_same_rows(shared: Any) -> None:
    shared.publish(shared.snapshot_id, 1)
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
    shared.publish(shared.snapshot_id, 1)
    for table, column in (("enrolment", "enrolment_number"), ("cost", "cost_number"), ("enrolment", "published_id")):
        query = f"select {column} from pool.{table} where {column} is not null"
        a, b = (set(read(engine, query)) for engine in (shared.analyst_a, shared.analyst_b))
        assert a
        assert not a & b
        assert not (a | b) & {("f" * 32,), ("e" * 32,)}


def test_a_client_who_must_not_be_linked_is_not_in_the_pool(shared: Any) -> None:
    shared.publish(shared.snapshot_id, 1)
    assert read(shared.analyst_a, "select programme from pool.enrolment") == [("advice",)]
    assert read(shared.analyst_a, "select 1 from pool.person where sex = 'canary'") == []


def test_rows_that_belong_to_a_client_only_by_what_they_refer_to_are_hidden_with_the_client(shared: Any) -> None:
    numbers = {"c1": "a" * 32, "hidden": "b" * 32}
    shared.send(
        "s3",
        {
            "assessment": {
                client: {"person": client, "assessment_number": number} for client, number in numbers.items()
            },
            "assessment_item": {
                client: {"assessment_number": number, "item": "swemwbs_relaxed", "score": score}
                for score, (client, number) in enumerate([*numbers.items(), ("nobody", "c" * 32)], start=1)
            },
        },
        period="2026-Q3",
    )
    with shared.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2", "2026-Q3"])
    shared.publish(snapshot.id, 1)
    assert len(read(shared.analyst_a, "select 1 from pool.assessment")) == 1
    assert read(shared.analyst_a, "select score from pool.assessment_item") == [(1,)]


@pytest.mark.parametrize("table", ["person", "enrolment"])
def test_a_plan_does_not_say_whether_a_client_who_must_not_be_linked_meets_a_condition(shared: Any, table: str) -> None:
    shared.publish(shared.snapshot_id, 1)
    column = {"person": "sex", "enrolment": "programme"}[table]

    def counts(value: str) -> list[str]:
        query = f"select 1 from pool.{table} where {column} = '{value}' and partner_id = 'harbour_trust'"
        plan = read(shared.analyst_a, f"explain (analyze, costs off, timing off, summary off, buffers off) {query}")
        return [line.replace(value, "?") for (line,) in plan]

    assert counts("canary") == counts("nobody")


def test_the_pool_is_quick_when_the_planner_knows_nothing_of_its_size(shared: Any) -> None:
    with shared.database.owner.begin() as conn:
        conn.execute(text("insert into governance.submission_table values ('s1', 'assessment', 1, 1, 0)"))
        for table, column in (("person", "sex"), ("assessment", "domain")):
            conn.execute(text(f"alter table facts.{table} set (autovacuum_enabled = false)"))
            conn.execute(
                text(
                    f"insert into facts.{table} (submission_id, partner_id, period, row_key, person_ref, {column})"
                    " select 's1', 'harbour_trust', '2026-Q2', 'key ' || n, 'client ' || n, 'a'"
                    " from generate_series(1, 20000) n"
                )
            )
    with shared.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
    shared.publish(snapshot.id, 1)
    with shared.analyst_a.connect() as conn:
        conn.execute(text("set statement_timeout = '5s'"))  # it takes 0.2 s, and took minutes
        joined = "pool.assessment a join pool.person p on p.published_id is not distinct from a.published_id"
        assert conn.scalar(text("select count(*) from pool.person")) == 20004
        assert conn.scalar(text("select count(*) from pool.assessment")) == 20000
        assert conn.scalar(text(f"select count(*) from {joined} where p.sex = 'female'")) == 0


def test_rows_of_a_client_without_a_person_row_in_the_snapshot_are_not_in_the_pool(shared: Any) -> None:
    late = {"e2": {"person": "c1", "programme": "shown"}, "e3": {"person": "hidden", "programme": "canary"}}
    shared.send("s3", {"enrolment": late}, period="2026-Q3", mode="delta")
    with shared.database.pipeline.begin() as conn:
        alone = take_snapshot(conn, ["2026-Q3"])
        both = take_snapshot(conn, ["2026-Q2", "2026-Q3"])
        present_snapshot(conn, alone.id, shared.agreement)
        assert conn.execute(text("select distinct person_id from enrolment")).all() == [(None,)]
    shared.publish(alone.id, 1)
    assert read(shared.analyst_a, "select programme from pool.enrolment") == []
    shared.publish(both.id, 2)
    assert read(shared.analyst_a, "select programme from pool.enrolment order by 1") == [("advice",), ("shown",)]


def test_rows_of_a_client_whose_person_row_was_deleted_are_not_in_the_pool(shared: Any) -> None:
    shared.send("s3", {"person": {"hidden": {"_deleted": True}}}, mode="delta")
    with shared.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
    shared.publish(snapshot.id, 1)
    assert read(shared.analyst_a, "select programme from pool.enrolment") == [("advice",)]


def test_no_view_of_the_pool_has_an_internal_column(shared: Any) -> None:
    with shared.database.owner.connect() as conn:
        columns = conn.execute(
            text("select table_name, column_name from information_schema.columns where table_schema = 'pool'")
        ).all()
    assert {table for table, _ in columns} == {*shared.agreement.contract.table_names, "not_collected"}
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
    shared.publish(shared.snapshot_id, 1)
    with shared.database.owner.begin() as conn:
        conn.execute(text(f"update governance.login_grant set ends = {UTC_TODAY} - 1 where login = 'analyst_a'"))
    assert read(shared.analyst_a, "select * from pool.person") == []
    assert read(shared.analyst_a, "select * from pool.cost") == []
    assert read(shared.database.owner, "select * from pool.person") == []
    with pytest.raises(ProgrammingError, match="permission denied"):
        read(shared.database.engine_as("board_member", PASSWORDS["board_member"]), "select * from pool.person")


def test_a_session_cannot_lengthen_its_grant_by_its_time_zone(shared: Any) -> None:
    shared.publish(shared.snapshot_id, 1)
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


def test_a_transaction_that_is_left_open_does_not_lengthen_a_grant(shared: Any) -> None:
    with shared.database.owner.connect() as conn:
        # The time of a transaction stands still, and no test can wait for midnight.
        body = conn.scalar(text("select prosrc from pg_proc where proname = 'session_audience'"))
    assert "statement_timestamp()" in body
    assert not any(word in body for word in ("now()", "current_", "transaction_timestamp"))


def test_a_session_cannot_take_on_another_grant(shared: Any) -> None:
    shared.publish(shared.snapshot_id, 1)
    for statement in ("set session authorization analyst_b", "set role analyst_b"):
        with pytest.raises(ProgrammingError, match="permission denied"), shared.analyst_a.begin() as conn:
            conn.execute(text(statement))


def test_the_pool_follows_the_release_that_is_published(shared: Any) -> None:
    shared.publish(shared.snapshot_id, 1)
    shared.send("s3", {"person": {"c1": {"sex": "later"}}}, period="2026-Q3")
    with shared.database.pipeline.begin() as conn:
        later = take_snapshot(conn, ["2026-Q2", "2026-Q3"])
    assert read(shared.analyst_a, "select 1 from pool.person where sex = 'later'") == []
    shared.publish(later.id, 2)
    assert read(shared.analyst_a, "select published_id from pool.person where sex = 'later'") == [("team_a-1",)]


def test_making_the_views_again_changes_nothing(shared: Any) -> None:
    shared.publish(shared.snapshot_id, 1)
    query = "select * from pool.enrolment"
    before = read(shared.analyst_a, query)
    with shared.database.owner.begin() as conn:
        ensure_pool_views(conn, shared.agreement)
    assert before
    assert read(shared.analyst_a, query) == before


# --- purposes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_purposes(shared: Any) -> Any:
    """The published pool: analyst_a's grant is for evidence alone, analyst_b's for monitoring equality besides."""
    people = {"c1": {"ethnic_group": "canary"}, "c2": {"ethnic_group": "white"}, "hidden": {"do_not_link": "yes"}}
    people["hidden"]["ethnic_group"] = "unseen"
    people |= {f"p{number}": {"ethnic_group": "white"} for number in range(40)}
    shared.send("s4", {"person": people, "assessment": {"a1": {"person": "c1", "minutes": 30}}}, period="2026-Q3")
    evidence, both, board = shared.granted.grants
    evidence = evidence.model_copy(update={"purposes": ("joint_evidence",)})
    both = both.model_copy(update={"purposes": ("joint_evidence", "equality_monitoring")})
    shared.granted = shared.granted.model_copy(update={"grants": (evidence, both, board)})
    with shared.database.owner.begin() as conn:
        ensure_logins(conn, shared.granted, {}, TODAY)
    with shared.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2", "2026-Q3"])
        row_key = shared.frame("harbour_trust", "assessment", {"a1": {}})["row_key"][0]
        mark = {"mark": "repeat", "repeats_partner_id": "bridge_housing", "repeats_row_key": "k", "days_since": 3}
        write_marks(conn, snapshot.id, pl.DataFrame([{"partner_id": "harbour_trust", "row_key": row_key, **mark}]))
    shared.publish(snapshot.id, 1)
    return shared


def test_a_column_is_null_in_every_row_to_a_grant_for_other_purposes(two_purposes: Any) -> None:
    query = "select ethnic_group, count(*) from pool.person group by 1 order by 1"
    assert read(two_purposes.analyst_a, query) == [(None, 44)]
    assert read(two_purposes.analyst_b, query) == [("canary", 1), ("white", 41), (None, 2)]


@pytest.mark.parametrize(
    "condition",
    [
        "ethnic_group = 'canary'",
        "ethnic_group <> 'white'",
        "ethnic_group is not null",
        "ethnic_group in ('canary', 'white')",
        "(p::text) like '%canary%'",
        "to_jsonb(p) ->> 'ethnic_group' = 'canary'",
        "exists (select from pool.person o where o.ethnic_group = p.ethnic_group)",
    ],
)
def test_a_value_that_is_not_shown_cannot_be_found_by_a_condition(two_purposes: Any, condition: str) -> None:
    query = f"select 1 from pool.person p where {condition}"
    assert read(two_purposes.analyst_a, query) == []
    assert read(two_purposes.analyst_b, query)


def test_a_value_that_is_not_shown_cannot_be_told_by_an_error(two_purposes: Any) -> None:
    query = "select 1 from pool.person where 1 / (case when ethnic_group = 'canary' then 0 else 1 end) = 0"
    assert read(two_purposes.analyst_a, query) == []
    with pytest.raises(DataError, match="division by zero"):
        read(two_purposes.analyst_b, query)


def notices(engine: Engine, statement: str) -> set[str]:
    """What the server tells while a statement runs."""
    told: list[str] = []
    with engine.connect() as conn:
        conn.connection.driver_connection.add_notice_handler(lambda notice: told.append(notice.message_primary))
        conn.execute(text(statement)).all()
    return set(told)


def test_a_function_that_tells_what_it_is_given_is_given_the_null(two_purposes: Any) -> None:
    # No analyst can make a function. Somebody else made one that PostgreSQL takes for cheaper than any other condition.
    superuser = create_engine(
        two_purposes.database.server.url("linkarms_superuser", two_purposes.database.name), poolclass=NullPool
    )
    with superuser.begin() as conn:
        conn.exec_driver_sql(
            "create function public.peek(seen text) returns boolean language plpgsql cost 0.0000001"
            " as $$ begin raise notice 'seen: %%', coalesce(seen, 'nothing'); return true; end $$"
        )
        conn.exec_driver_sql("grant usage on schema public to analyst_a, analyst_b")
        conn.exec_driver_sql("grant execute on function public.peek to analyst_a, analyst_b")
    query = "select count(*) from pool.person where public.peek(ethnic_group)"
    try:
        assert notices(two_purposes.analyst_a, query) == {"seen: nothing"}
        assert notices(two_purposes.analyst_b, query) == {"seen: nothing", "seen: white", "seen: canary"}
    finally:
        with superuser.begin() as conn:
            conn.exec_driver_sql("revoke usage on schema public from analyst_a, analyst_b")
            conn.exec_driver_sql("drop function public.peek")


def test_a_table_without_a_column_for_the_grant_has_no_rows(two_purposes: Any) -> None:
    assert read(two_purposes.database.pipeline, "select count(*) from facts.cost") == [(1,)]
    assert read(two_purposes.analyst_a, "select * from pool.cost") == []
    wider = two_purposes.granted.grants[0].model_copy(update={"purposes": ("value_for_money",)})
    with two_purposes.analyst_a.connect() as session:
        grants = (wider, *two_purposes.granted.grants[1:])
        with two_purposes.database.owner.begin() as conn:
            ensure_logins(conn, two_purposes.granted.model_copy(update={"grants": grants}), {}, TODAY)
        # The session was open before: what holds is the grant at the moment of the query.
        assert session.execute(text("select count(*) from pool.cost")).scalar() == 1
        assert session.execute(text("select count(*) from pool.person")).scalar() == 0


def test_marks_of_repeats_are_shown_for_the_purposes_of_what_they_come_from(two_purposes: Any) -> None:
    query = "select mark, repeats_partner_id, days_since, minutes from pool.assessment"
    assert read(two_purposes.analyst_a, query) == [("repeat", "bridge_housing", 3, None)]
    with two_purposes.database.owner.begin() as conn:
        conn.execute(text("update governance.login_grant set purposes = '{value_for_money}' where login = 'analyst_a'"))
    assert read(two_purposes.analyst_a, query) == [(None, None, None, 30)]


def test_purposes_are_asked_once_a_query_and_not_once_a_row(two_purposes: Any) -> None:
    with two_purposes.analyst_a.connect() as conn:
        ((plan,),) = conn.execute(text("explain (verbose, format json) select * from pool.person")).all()
    asked = list(nodes_that_ask(plan[0]["Plan"]))
    assert asked
    assert set(asked) == {"InitPlan"}


def nodes_that_ask(node: dict[str, Any]) -> Iterator[str]:
    """How each node of a plan that calls the function hangs on the one above it."""
    own = {name: value for name, value in node.items() if name != "Plans"}
    if "session_purposes" in str(own):
        yield str(node.get("Parent Relationship"))
    for below in node.get("Plans", ()):
        yield from nodes_that_ask(below)


def test_each_column_of_the_pool_says_for_which_purposes_it_is_shown(shared: Any) -> None:
    with shared.database.owner.connect() as conn:
        comments = {
            (table, column): comment
            for table, column, comment in conn.execute(
                text(
                    "select c.relname, a.attname, col_description(c.oid, a.attnum) from pg_class c join pg_attribute a"
                    " on a.attrelid = c.oid and a.attnum > 0 where c.relnamespace = 'pool'::regnamespace"
                )
            ).all()
        }
    for table in shared.agreement.contract.tables:
        for column in analyst_columns(table):
            purposes = ", ".join(table.column(column.source).purposes)
            assert f"Shown for: {purposes}; null to" in comments[table.name, column.name]
    assert "Shown for: joint_evidence; null" in comments["assessment", "mark"]
