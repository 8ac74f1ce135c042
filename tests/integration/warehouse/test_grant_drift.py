"""What somebody changed by hand in the live database is found, told in words, and put back."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from protocol.errors import AgreementError, LinkarmsError
from protocol.model import Agreement
from warehouse.grants import Difference, Mended, compare_grants, mend_grants
from warehouse.pool_views import ensure_pool_views
from warehouse.roles import apply_grants, ensure_logins

TODAY = date.today()  # noqa: DTZ011  # the database asks its own clock, too
PASSWORDS = {"analyst_a": "a-secret", "analyst_b": "b-secret", "board_member": "c-secret", "single": "d-secret"}


@dataclass(frozen=True)
class Installation:
    """A database as `linkarms warehouse upgrade` leaves it, and the agreement that it serves."""

    database: Any
    agreement: Agreement
    superuser: Engine

    def compare(self, *, agreement: Agreement | None = None, today: date = TODAY) -> tuple[Difference, ...]:
        with self.database.owner.connect() as conn, self.superuser.connect() as above:
            return compare_grants(
                conn, agreement or self.agreement, today, evidence_views=(), passwords=PASSWORDS, superuser=above
            )

    def mend(self, *, agreement: Agreement | None = None, today: date = TODAY, alone: bool = False) -> Mended:
        return mend_grants(
            self.database.owner,
            agreement or self.agreement,
            today,
            evidence_views=(),
            passwords=PASSWORDS,
            superuser=None if alone else self.superuser,
        )

    def run(self, *statements: str) -> None:
        with self.superuser.begin() as conn:
            for statement in statements:
                conn.exec_driver_sql(statement.replace("%", "%%"))

    def read(self, login: str, statement: str) -> list[tuple[Any, ...]]:
        with self.database.engine_as(login, PASSWORDS[login]).connect() as conn:
            return [tuple(row) for row in conn.exec_driver_sql(statement).all()]


@pytest.fixture
def installed(pool: Any, database: Any, granted: Agreement) -> Iterator[Installation]:
    board = granted.grants[2].model_copy(update={"logins": ("board_member",)})
    single = board.model_copy(
        update={"id": "single_views", "logins": ("single",), "views": ("evidence.current_figure", "pool.assessment")}
    )
    agreement = granted.model_copy(update={"grants": (*granted.grants, single)})
    superuser = create_engine(database.server.url("linkarms_superuser", database.name), poolclass=NullPool)
    with database.owner.begin() as conn:
        ensure_pool_views(conn, agreement)
        apply_grants(conn)
        ensure_logins(conn, agreement, PASSWORDS, TODAY)
    yield Installation(database, agreement, superuser)
    with database.owner.begin() as conn:  # logins belong to the cluster, which other tests use as well
        ensure_logins(conn, agreement.model_copy(update={"grants": ()}), {}, TODAY)


def sentences(differences: tuple[Difference, ...]) -> str:
    return "\n".join(difference.sentence for difference in differences)


def test_a_database_that_was_just_upgraded_has_no_differences(installed: Installation) -> None:
    assert installed.compare() == ()


DRIFTS = {
    "everyone may read facts": (
        ["grant usage on schema facts to public", "grant select on facts.person to public"],
        "Everyone may read facts.person, which nobody agreed.",
    ),
    "a login made superuser": (["alter role board_member superuser"], "board_member is a superuser"),
    "a login past the row policies": (
        ["alter role board_member bypassrls"],
        "board_member is not held to row policies",
    ),
    "a group that makes roles": (
        ["alter role linkarms_evidence_reader createrole"],
        "linkarms_evidence_reader may make roles",
    ),
    "a group that logs in": (["alter role linkarms_custodian login"], "linkarms_custodian can log in."),
    "a membership by hand": (
        ["grant linkarms_custodian to board_member"],
        "board_member is a member of linkarms_custodian, which its grant board does not give.",
    ),
    "a login that reads every table": (
        ["grant pg_read_all_data to analyst_a"],
        "analyst_a is a member of pg_read_all_data",
    ),
    "a membership that can be passed on": (
        ["grant linkarms_evidence_reader to board_member with admin option, set true"],
        "board_member may do more with linkarms_evidence_reader",
    ),
    "a membership taken away": (
        [
            "do $$ declare giver name; begin select grantor::regrole::name into strict giver from pg_auth_members"
            " where roleid = 'linkarms_evidence_reader'::regrole and member = 'board_member'::regrole;"
            " execute format('revoke linkarms_evidence_reader from board_member granted by %I', giver); end $$"
        ],
        "board_member is not a member of linkarms_evidence_reader, which board gives it.",
    ),
    "a stranger in a group": (
        ["create role drift_stranger login", "grant linkarms_pool_analyst to drift_stranger"],
        "drift_stranger, a role that Linkarms did not make, is a member of linkarms_pool_analyst.",
    ),
    "a stranger who can become a login": (
        ["create role drift_stranger login", "grant single to drift_stranger"],
        "drift_stranger, a role that Linkarms did not make, is a member of single.",
    ),
    "a view that is missing from a grant": (
        ["revoke select on pool.assessment from single"],
        "single may not read pool.assessment, which is agreed.",
    ),
    "a further view": (["grant select on pool.person to single"], "single may read pool.person, which nobody agreed."),
    "a single column": (
        ["grant select (surname_token) on linkage.drift to linkarms_evidence_reader"],
        "The group linkarms_evidence_reader may read the column surname_token of linkage.drift",
    ),
    "a copy in another schema": (
        [
            "create schema drift_copy",
            "create table drift_copy.person as select * from facts.person",
            "grant select on drift_copy.person to single",
            "grant usage on schema drift_copy to single",
        ],
        "single may use the schema drift_copy, which nobody agreed.",
    ),
    "a schema of the owner's for everyone": (
        ["create schema drift_copy authorization linkarms_owner", "grant usage on schema drift_copy to public"],
        "Everyone may use the schema drift_copy, which nobody agreed.",
    ),
    "a function": (
        ["grant execute on function governance.session_audience() to public"],
        "Everyone may run the function governance.session_audience()",
    ),
    "a right that was passed on": (
        [
            "grant select on evidence.current_figure to single with grant option",
            "set role single; grant select on evidence.current_figure to analyst_b; reset role",
        ],
        "single may read evidence.current_figure, and may give that to others.",
    ),
    "temporary tables for everyone": (
        ["grant temporary on database {database} to public"],
        "Everyone may make temporary",
    ),
    "rights on what is made later": (
        ["alter default privileges for role linkarms_owner in schema linkage grant select on tables to single"],
        "single would get the right to select on all tables that linkarms_owner makes later in linkage.",
    ),
    "functions that are made later": (
        ["alter default privileges for role linkarms_owner grant execute on functions to public"],
        "Everyone would get the right to run functions that are made later.",
    ),
    "a policy dropped": (
        ["drop policy readers_see_no_draft on evidence.release"],
        "The row policy readers_see_no_draft of evidence.release is missing.",
    ),
    "a policy widened": (
        ["alter policy readers_see_no_draft on evidence.release using (true)"],
        "The row policy readers_see_no_draft of evidence.release does not say what was agreed.",
    ),
    "a policy besides": (
        ["create policy let_all on evidence.release using (true)"],
        "evidence.release has a row policy, let_all, that Linkarms did not make.",
    ),
    "policies switched off": (
        ["alter table evidence.figure disable row level security"],
        "The row policies of evidence.figure are switched off",
    ),
    "another owner": (
        ["alter table facts.person owner to linkarms_superuser"],
        "The table facts.person belongs to linkarms_superuser",
    ),
    "a log-in without an end": (["alter role single valid until 'infinity'"], "The log-in of single never ends"),
    "a log-in shut": (["alter role single nologin"], "single cannot log in, and its grant single_views holds until"),
    "no password": (["alter role single password null"], "single has no password, or one that is not kept as SCRAM."),
    "sessions with other settings": (
        ["alter role single set role = 'linkarms_custodian'"],
        "single has settings of its own",
    ),
    "another grant's pseudonyms": (
        ["update governance.login_grant set audience = 'team_a' where login = 'analyst_b'"],
        "The pool takes analyst_b for a login of another grant than team_b",
    ),
    "other purposes": (
        ["update governance.login_grant set purposes = purposes || 'record_linkage'::text where login = 'single'"],
        "The pool takes single for a login of another grant than single_views",
    ),
    "a login that is gone": (
        ["drop owned by single", "drop role single"],
        "The login single of grant single_views is missing.",
    ),
}
"""What somebody did with a superuser's rights, and what is told of it."""


@pytest.mark.parametrize("name", DRIFTS)
def test_drift_is_told_in_words_and_mended_and_a_second_run_finds_nothing(installed: Installation, name: str) -> None:
    statements, told = DRIFTS[name]
    installed.run(
        "create table linkage.drift (surname_token text)", "alter table linkage.drift owner to linkarms_owner"
    )
    installed.mend()  # a table more, which the pipeline and the custodian are given
    try:
        installed.run(*(statement.replace("{database}", installed.database.name) for statement in statements))
        found = installed.compare()
        assert told in sentences(found)
        done = installed.mend()
        assert told in sentences(done.ended)
        assert done.left == ()
        assert installed.compare() == ()
        assert installed.mend() == Mended((), ())
        assert installed.read("single", "select count(*) from evidence.current_figure") == [(0,)]
        assert installed.read("single", "select count(*) from pool.assessment") == [(0,)]
    finally:
        installed.run(
            "drop table linkage.drift",
            "drop schema if exists drift_copy cascade",
            "do $$ begin if exists (select from pg_roles where rolname = 'drift_stranger') then"
            " execute 'drop owned by drift_stranger'; execute 'drop role drift_stranger'; end if; end $$",
        )


def test_a_login_of_single_views_reads_these_and_nothing_else(installed: Installation) -> None:
    with installed.database.owner.connect() as conn:
        relations = conn.scalars(
            text(
                "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace"
                " where nspname in ('evidence', 'facts', 'governance', 'linkage', 'pool') and relkind in ('r', 'v')"
            )
        ).all()
    assert len(relations) > 30
    readable = []
    for relation in relations:
        try:
            installed.read("single", f"select count(*) from {relation}")
        except ProgrammingError:
            continue
        readable.append(relation)
    assert sorted(readable) == ["evidence.current_figure", "pool.assessment"]


def test_a_grant_that_has_ended_is_revoked(installed: Installation) -> None:
    after = installed.agreement.grants[0].ends + timedelta(1)
    found = sentences(installed.compare(today=after))
    assert "single can log in, and its grant single_views ended on" in found
    assert "analyst_a is a member of linkarms_pool_analyst, and its grant team_a does not hold today." in found
    assert installed.mend(today=after).left == ()
    with installed.database.owner.connect() as conn:
        held = conn.scalars(
            text(
                "select 1 from pg_class, aclexplode(relacl) e join pg_roles r on r.oid = e.grantee"
                " where rolname = 'single'"
            )
        ).all()
    assert held == []
    with pytest.raises(OperationalError, match="not permitted to log in"):
        installed.read("single", "select 1")
    assert installed.mend(today=TODAY).left == ()
    assert installed.read("single", "select count(*) from pool.assessment") == [(0,)]


def test_a_login_that_the_agreement_no_longer_names_is_closed(installed: Installation) -> None:
    fewer = installed.agreement.model_copy(update={"grants": installed.agreement.grants[:3]})
    assert "single can log in, and no grant of the agreement names it any more." in sentences(
        installed.compare(agreement=fewer)
    )
    assert installed.mend(agreement=fewer).left == ()
    with pytest.raises(OperationalError, match="not permitted to log in"):
        installed.read("single", "select 1")


def test_rights_of_a_role_that_linkarms_did_not_make_are_told_and_not_altered(installed: Installation) -> None:
    installed.run(
        "create role drift_backup login superuser createrole",
        "create role drift_intern login",
        "grant select on facts.person to drift_intern",
        "create role drift_team nologin",
        "grant drift_team to drift_intern",
    )
    try:
        done = installed.mend()
        assert done.ended == ()
        (left,) = done.left
        assert left.statements == ()
        assert left.sentence == (
            "drift_intern, a role that Linkarms did not make, may read facts.person. It is not altered here; to "
            "end it: revoke select on table facts.person from drift_intern;"
        )
        with installed.superuser.connect() as conn:
            assert conn.scalar(text("select has_table_privilege('drift_intern', 'facts.person', 'select')"))
            assert conn.scalar(text("select pg_has_role('drift_intern', 'drift_team', 'member')"))
            assert conn.scalar(text("select rolsuper from pg_roles where rolname = 'drift_backup'"))
    finally:
        installed.run(
            "drop owned by drift_intern", "drop role drift_intern", "drop role drift_team", "drop role drift_backup"
        )


def test_a_view_that_linkarms_did_not_make_is_told_and_readers_lose_it(installed: Installation) -> None:
    installed.run(
        "create view evidence.leak as select * from facts.person", "alter view evidence.leak owner to linkarms_owner"
    )
    with installed.database.owner.begin() as conn:
        apply_grants(conn)  # gives readers all views of the schema
    assert installed.read("board_member", "select count(*) from evidence.leak") == [(0,)]
    done = installed.mend()
    assert "The group linkarms_evidence_reader may read evidence.leak, which nobody agreed." in sentences(done.ended)
    assert [difference.sentence.partition(" ")[0] for difference in done.left] == ["evidence.leak"]
    with pytest.raises(ProgrammingError, match="permission denied"):
        installed.read("board_member", "select count(*) from evidence.leak")


@pytest.mark.parametrize(
    ("statement", "altered"),
    [
        ("another purpose", {"cost"}),
        ("alter view pool.person reset (security_barrier)", {"person"}),
        ("drop view pool.not_collected", {"not_collected"}),
        ("alter function governance.pool_clients() reset enable_nestloop", None),
    ],
)
def test_a_view_of_the_pool_that_was_altered_is_told_and_upgrading_mends_it(
    installed: Installation, statement: str, altered: set[str] | None
) -> None:
    if statement == "another purpose":
        with installed.database.owner.connect() as conn:
            definition = str(conn.scalar(text("select pg_get_viewdef('pool.cost'::regclass)")))
        statement = "create or replace view pool.cost as " + definition.replace("value_for_money", "record_linkage")
    installed.run(statement)
    everything = {*installed.agreement.contract.table_names, "not_collected"}
    told = {d.sentence.split()[2].removeprefix("pool.") for d in installed.compare() if "does not show" in d.sentence}
    assert told == (altered or everything)
    assert {d.sentence for d in installed.mend().left} >= {
        f"The view pool.{name} does not show what the agreement says. Run `linkarms warehouse upgrade`, which makes it "
        "anew."
        for name in told
    }
    with installed.database.owner.begin() as conn:
        ensure_pool_views(conn, installed.agreement)
        ensure_logins(conn, installed.agreement, PASSWORDS, TODAY)
    assert installed.compare() == ()


def test_a_login_of_another_database_of_the_cluster_is_left_alone(installed: Installation) -> None:
    installed.run(
        "create role drift_elsewhere login",
        "comment on role drift_elsewhere is 'Linkarms login of grant theirs of database another'",
        "grant linkarms_evidence_reader to drift_elsewhere",
    )
    try:
        assert installed.compare() == ()
    finally:
        installed.run("drop role drift_elsewhere")


def test_what_only_a_superuser_may_do_is_told_where_there_is_none(installed: Installation) -> None:
    installed.run("alter role board_member bypassrls", "grant select on facts.person to public")
    done = installed.mend(alone=True)
    assert sentences(done.ended) == "Everyone may read facts.person, which nobody agreed."
    assert [(d.sentence, d.superuser) for d in done.left] == [("board_member is not held to row policies.", True)]
    assert installed.mend().left == ()


def test_comparing_changes_nothing_and_mending_leaves_one_audit_event(installed: Installation) -> None:
    installed.run("grant select on facts.person to public")
    count = "select count(*) from governance.audit_event where action = 'grants.mended'"
    with installed.database.owner.connect() as conn:
        installed.compare()
        assert conn.scalar(text("select to_regclass('governance.policy_attempt')")) is None
        assert conn.scalar(text(count)) == 0
    installed.mend()
    installed.mend()
    with installed.database.owner.connect() as conn:
        assert conn.scalar(text(count)) == 1
        detail = conn.scalar(text("select detail from governance.audit_event where action = 'grants.mended'"))
    assert detail["differences"] == ["Everyone may read facts.person, which nobody agreed."]


def test_a_password_is_not_among_what_is_shown(installed: Installation) -> None:
    installed.run("drop owned by single", "drop role single")
    (missing,) = [d for d in installed.compare() if "is missing" in d.sentence]
    assert "SCRAM-SHA-256" not in " ".join(missing.shown)
    assert "d-secret" not in " ".join((*missing.shown, *missing.statements))
    assert installed.mend().left == ()


def test_a_grant_on_a_view_that_is_not_there_is_refused(installed: Installation) -> None:
    grant = installed.agreement.grants[3].model_copy(update={"views": ("evidence.nowhere",)})
    faulty = installed.agreement.model_copy(update={"grants": (grant,)})
    with pytest.raises(AgreementError, match=r"evidence\.nowhere"):
        installed.compare(agreement=faulty)
    with pytest.raises(AgreementError, match=r"evidence\.nowhere"), installed.database.owner.begin() as conn:
        ensure_logins(conn, faulty, PASSWORDS, TODAY)


def test_a_database_that_is_not_set_up_says_so(empty_database: str, agreement: Agreement) -> None:
    with (
        create_engine(empty_database, poolclass=NullPool).connect() as conn,
        pytest.raises(LinkarmsError, match="warehouse upgrade"),
    ):
        compare_grants(conn, agreement, TODAY, evidence_views=())
