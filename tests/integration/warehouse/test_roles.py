"""Each role logs in and tries what it must not do."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from protocol.errors import AgreementError
from warehouse.roles import GROUPS, apply_grants, ensure_logins, ensure_service_login

PASSWORDS = {"analyst_a": "a-secret", "analyst_b": "b-secret", "board_member": "c-secret"}
TODAY = date.today()  # noqa: DTZ011

INSERT_RELEASE = (
    "insert into evidence.release (release_id, number, state, snapshot_id, snapshot_digest, agreement_version,"
    " agreement_digest, code_version, parameters, prepared_at)"
    " values ('{id}', {number}, 'draft', 's', '', '', '', '', '{{}}', now())"
)
INSERT_FIGURE = (
    "insert into evidence.figure (release_id, measure, breakdown, dims, statistic, value, status)"
    " values ('{id}', 'reach', 'all', '{{}}', 'people', 10, 'published')"
)
PUBLISH = (
    "update evidence.release set state = 'published', approver = 'x', reason = 'y', approved_at = now(),"
    " published_at = now() where release_id = '{id}'"
)


def run(engine: Engine, *statements: str) -> list[tuple[Any, ...]]:
    with engine.begin() as conn:
        results = [conn.exec_driver_sql(statement) for statement in statements]
        return [tuple(row) for row in results[-1].all()] if results[-1].returns_rows else []


def publish(database: Any, release_id: str, number: int) -> None:
    supersede = "update evidence.release set state = 'superseded' where state = 'published'"
    values = {"id": release_id, "number": number}
    steps = [INSERT_RELEASE.format(**values), supersede, PUBLISH.format(**values), INSERT_FIGURE.format(**values)]
    run(database.pipeline, *steps)


@pytest.fixture
def logins(database: Any, granted: Any) -> Iterator[dict[str, Engine]]:
    """Engines of the agreement's logins, and of the services."""
    with database.owner.begin() as conn:
        states = ensure_logins(conn, granted, PASSWORDS, TODAY)
    assert all(state.live for state in states)
    yield {
        "pool analyst": database.engine_as("analyst_a", PASSWORDS["analyst_a"]),
        "evidence reader": database.engine_as("board_member", PASSWORDS["board_member"]),
        "pipeline": database.pipeline,
        "custodian": database.custodian,
    }
    with database.owner.begin() as conn:  # logins belong to the cluster, which other tests use as well
        ensure_logins(conn, granted.model_copy(update={"grants": ()}), {}, TODAY)


READER_MUST_NOT = [
    "select * from facts.person",
    "select * from facts.assessment_mark",
    "select * from linkage.match_key",
    "select * from linkage.membership",
    "select * from linkage.published_id",
    "select * from governance.draft_figure",
    "select * from governance.submission",
    "select * from governance.login_grant",
    "select governance.session_audience()",
    "select governance.session_purposes()",
    "select * from governance.pool_clients()",
    "insert into evidence.figure (release_id, measure, breakdown, dims, statistic, status)"
    " values ('r', 'm', 'b', '{}', 's', 'withheld')",
    "update evidence.release set state = 'withdrawn'",
    "delete from evidence.figure",
    "create table evidence.mine (i int)",
    "create table public.mine (i int)",
    "create temporary table mine (i int)",
    "create schema mine",
    "create function peek(text) returns boolean language sql as 'select true'",
    "create function public.peek(text) returns boolean language sql as 'select true'",
    "create function pool.peek(text) returns boolean language sql as 'select true'",
    "create function pg_temp.peek(text) returns boolean language sql as 'select true'",
    "set role linkarms_pipeline",
    "set role linkarms_owner",
    "create role friend login",
    "copy (select 1) to '/tmp/outside'",
    "copy evidence.release to program 'cat'",
    "select pg_read_file('/etc/passwd')",
]


def allowed(engine: Engine, statements: list[str]) -> list[str]:
    """The statements that the database did not refuse."""
    passed = []
    for statement in statements:
        try:
            run(engine, statement)
        except ProgrammingError as error:
            if not re.search("permission denied|must be|Only roles|no schema", str(error.orig)):
                passed.append(f"{statement}: {error.orig}")
        else:
            passed.append(statement)
    return passed


@pytest.mark.parametrize("who", ["pool analyst", "evidence reader"])
def test_readers_reach_no_row_no_key_no_draft_and_write_nothing(logins: dict[str, Engine], who: str) -> None:
    assert allowed(logins[who], READER_MUST_NOT) == []


def test_an_evidence_reader_cannot_read_the_pool(logins: dict[str, Engine], database: Any) -> None:
    with database.owner.begin() as conn:
        conn.execute(text("create view pool.something as select 1 as one"))
        apply_grants(conn)
    assert run(logins["pool analyst"], "select * from pool.something") == [(1,)]
    with pytest.raises(ProgrammingError, match="permission denied"):
        run(logins["evidence reader"], "select * from pool.something")


def test_the_pipeline_changes_no_row_no_release_no_schema_and_no_right(database: Any) -> None:
    statements = [
        "update facts.person set sex = 'x'",
        "update evidence.figure set value = 1",
        "delete from evidence.figure",
        "delete from evidence.release",
        "delete from governance.submission",
        "insert into governance.login_grant select * from governance.login_grant",
        "create table facts.mine (i int)",
        "create view pool.mine as select 1",
        "create role friend login",
        "set role linkarms_owner",
    ]
    assert allowed(database.pipeline, statements) == []


def test_the_custodian_reads_linkage_and_writes_nothing(database: Any) -> None:
    statements = [
        "select * from facts.person",
        "select * from pool.person",
        "update linkage.membership set person_ref = ''",
        "insert into governance.audit_event (actor, action, subject, detail) values ('a', 'b', 'c', '{}')",
        "update evidence.release set state = 'withdrawn'",
    ]
    with database.owner.begin() as conn:
        conn.execute(text("create view pool.person as select 1 as one"))
        apply_grants(conn)
    assert allowed(database.custodian, statements) == []
    assert run(database.custodian, "select * from linkage.match_key") == []


def test_nobody_logs_in_as_the_owner_without_its_password(database: Any) -> None:
    for password in ("", "linkarms_owner", "postgres"):
        with pytest.raises(OperationalError, match="password"):
            run(database.engine_as("linkarms_owner", password), "select 1")


def test_nothing_is_open_to_everyone(database: Any) -> None:
    with database.owner.connect() as conn:
        open_ = conn.execute(
            text(
                "select relname, relacl::text from pg_class where relnamespace::regnamespace::text = any(:schemas)"
                " and exists (select from aclexplode(relacl) where grantee = 0)"
                " union all select proname, proacl::text from pg_proc"
                " where pronamespace::regnamespace::text = any(:schemas)"
                " and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0))"
                " union all select nspname, nspacl::text from pg_namespace where nspname = any(:schemas || '{public}')"
                " and exists (select from aclexplode(nspacl) where grantee = 0)"
                " union all select datname, datacl::text from pg_database where datname = current_database()"
                " and (datacl is null or exists (select from aclexplode(datacl) where grantee = 0))"
            ),
            {"schemas": ["governance", "linkage", "facts", "pool", "evidence"]},
        ).all()
        assert open_ == []
        for statement in ("create function evidence.later() returns int language sql as 'select 1'",):
            conn.execute(text(statement))
        acl = conn.scalar(text("select proacl::text from pg_proc where proname = 'later'"))
        assert acl is not None
        assert "=X" not in acl.replace("linkarms_owner=X", "")


# --- releases -------------------------------------------------------------------------------------------------------


def test_readers_see_the_published_release_and_no_draft(database: Any, logins: dict[str, Engine]) -> None:
    publish(database, "r1", 1)
    run(database.pipeline, INSERT_RELEASE.format(id="r2", number=2))
    run(
        database.pipeline,
        "insert into governance.draft_figure (release_id, measure, breakdown, dims, statistic, value, status)"
        " values ('r2', 'reach', 'all', '{}', 'people', 99, 'published')",
    )
    for who in ("pool analyst", "evidence reader"):
        assert run(logins[who], "select release_id from evidence.release") == [("r1",)]
        assert run(logins[who], "select release_id, value from evidence.figure") == [("r1", 10)]
        assert run(logins[who], "select release_number, value from evidence.current_figure") == [(1, 10)]


def test_a_later_release_takes_the_place_of_the_earlier_one_and_a_withdrawn_one_is_not_read(
    database: Any, logins: dict[str, Engine]
) -> None:
    publish(database, "r1", 1)
    publish(database, "r2", 2)
    reader = logins["evidence reader"]
    assert run(reader, "select release_id from evidence.current_figure") == [("r2",)]
    assert run(reader, "select release_id, state from evidence.release order by number") == [
        ("r1", "superseded"),
        ("r2", "published"),
    ]
    run(database.pipeline, "update evidence.release set state = 'withdrawn', withdrawn_reason = 'z' where number = 2")
    assert run(reader, "select release_id from evidence.current_figure") == []
    assert run(reader, "select release_id from evidence.figure") == [("r1",)]
    assert run(reader, "select withdrawn_reason from evidence.release where number = 2") == [("z",)]


@pytest.mark.parametrize(
    "change",
    [
        "update evidence.figure set value = 11",
        "delete from evidence.figure",
        "truncate evidence.figure",
        "delete from evidence.release",
        "truncate evidence.release cascade",
        "update evidence.release set parameters = '{\"changed\": 1}'",
        "update evidence.release set approver = 'somebody else'",
        "update evidence.release set state = 'draft'",
        "update evidence.release set state = 'withdrawn'",
        INSERT_FIGURE.replace("'people'", "'more'").format(id="r1"),
    ],
)
def test_a_published_release_is_not_changed_even_by_the_owner(database: Any, change: str) -> None:
    publish(database, "r1", 1)
    with pytest.raises(IntegrityError):
        run(database.owner, change)


def test_a_release_is_not_published_without_approver_and_reason(database: Any) -> None:
    steps = [INSERT_RELEASE.format(id="r1", number=1), PUBLISH.format(id="r1").replace("reason = 'y',", "")]
    with pytest.raises(IntegrityError, match="approver"):
        run(database.pipeline, *steps)


def test_at_most_one_release_is_published(database: Any) -> None:
    publish(database, "r1", 1)
    with pytest.raises(IntegrityError, match="one_published"):
        run(database.pipeline, INSERT_RELEASE.format(id="r2", number=2), PUBLISH.format(id="r2"))


# --- logins ---------------------------------------------------------------------------------------------------------


def test_a_login_whose_grant_has_ended_cannot_log_in_and_its_open_session_sees_nothing_more(
    database: Any, granted: Any, logins: dict[str, Engine]
) -> None:
    publish(database, "r1", 1)
    after = granted.grants[0].ends + timedelta(1)
    with logins["pool analyst"].connect() as session:
        assert session.execute(text("select count(*) from evidence.release")).scalar() == 1
        with database.owner.begin() as conn:
            states = {state.login: state for state in ensure_logins(conn, granted, {}, after)}
        assert not states["analyst_a"].live
        assert states["analyst_a"].groups == ()
        with pytest.raises(ProgrammingError, match="permission denied"):
            session.execute(text("select count(*) from evidence.release"))
    with pytest.raises(OperationalError, match="not permitted to log in"):
        run(logins["pool analyst"], "select 1")

    with database.owner.begin() as conn:
        ensure_logins(conn, granted, {}, TODAY)
    assert run(logins["pool analyst"], "select 1") == [(1,)]


def test_a_login_that_the_agreement_no_longer_names_is_closed(
    database: Any, granted: Any, logins: dict[str, Engine]
) -> None:
    with database.owner.begin() as conn:
        ensure_logins(conn, granted.model_copy(update={"grants": granted.grants[:2]}), {}, TODAY)
    with pytest.raises(OperationalError, match="not permitted to log in"):
        run(logins["evidence reader"], "select 1")
    assert run(logins["pool analyst"], "select 1") == [(1,)]


def test_passwords_never_reach_the_server_in_clear(database: Any) -> None:
    server = database.server
    password = server.password("pipeline_service")
    superuser = create_engine(server.url("linkarms_superuser", database.name), poolclass=NullPool)
    run(superuser, "alter role linkarms_owner set log_statement = 'ddl'")
    try:
        with database.owner.begin() as conn:
            ensure_service_login(conn, "pipeline_service", "linkarms_pipeline", password)
    finally:
        run(superuser, "alter role linkarms_owner reset log_statement")
    log = server.state().log.read_text()
    assert 'alter role "pipeline_service" password' in log
    assert password not in log


def test_a_login_named_like_a_role_that_is_not_ours_is_refused(database: Any, granted: Any) -> None:
    for name in ("linkarms_owner", "linkarms_pipeline", "linkarms_superuser", "pg_read_all_data"):
        grant = granted.grants[0].model_copy(update={"logins": (name,)})
        with pytest.raises(AgreementError, match=name), database.owner.begin() as conn:
            ensure_logins(conn, granted.model_copy(update={"grants": (grant,)}), {name: "x"}, TODAY)


def test_a_login_belongs_to_one_grant(database: Any, granted: Any) -> None:
    double = granted.grants[1].model_copy(update={"logins": ("analyst_a",)})
    with pytest.raises(AgreementError, match="team_a and team_b"), database.owner.begin() as conn:
        ensure_logins(conn, granted.model_copy(update={"grants": (granted.grants[0], double)}), PASSWORDS, TODAY)


def test_no_grant_opens_another_schema(database: Any, granted: Any) -> None:
    grant = granted.grants[0].model_copy(update={"views": ("facts.*",)})
    with pytest.raises(AgreementError, match="facts"), database.owner.begin() as conn:
        ensure_logins(conn, granted.model_copy(update={"grants": (grant,)}), PASSWORDS, TODAY)


def test_grants_that_drifted_are_put_right(database: Any, logins: dict[str, Engine]) -> None:
    run(database.owner, "grant usage on schema linkage to linkarms_evidence_reader")
    run(database.owner, "grant select on linkage.person to linkarms_evidence_reader, public")
    assert run(logins["evidence reader"], "select * from linkage.person") == []
    with database.owner.begin() as conn:
        apply_grants(conn)
    with pytest.raises(ProgrammingError, match="permission denied"):
        run(logins["evidence reader"], "select * from linkage.person")
    assert len(GROUPS) == 4
