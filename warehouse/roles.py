"""Who may do what in the database: group roles, their grants, and the logins that the agreement grants.

Promises, kept by ``tests/integration/warehouse/test_roles.py``:

- a reader of evidence sees released figures and nothing else: no draft, no row about a person, no match key;
- a pool analyst sees the pool by the pseudonyms of the analyst's own grant only;
- nobody, the pipeline included, can change or delete an audit event or a published figure;
- a login whose grant has ended cannot log in, and a session that is still open sees nothing more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from protocol.errors import AgreementError, LinkarmsError
from protocol.model import Agreement, Grant
from warehouse.schema import SCHEMAS

PIPELINE = "linkarms_pipeline"
CUSTODIAN = "linkarms_custodian"
POOL_ANALYST = "linkarms_pool_analyst"
EVIDENCE_READER = "linkarms_evidence_reader"

GROUPS: Mapping[str, str] = {
    PIPELINE: "Loads submissions, links, computes and publishes. Owns nothing and changes no schema.",
    CUSTODIAN: "Looks after linkage: reads match keys, the registry and what governs them.",
    POOL_ANALYST: "Reads the pool by the pseudonyms of its own grant, and evidence.",
    EVIDENCE_READER: "Reads released figures.",
}
"""The group roles (without log-in) and what each is for."""

GROUP_OF_SCHEMA: Mapping[str, str] = {"evidence": EVIDENCE_READER, "pool": POOL_ANALYST}
"""Which group a login joins for a schema that its grant names."""

_LOGIN_MARK = "Linkarms login of grant "
"""Comment of the logins that this module made; no other role is ever altered."""


@dataclass(frozen=True)
class _Privilege:
    """Rights of one group on relations of one schema."""

    group: str
    schema: str
    rights: str
    relations: tuple[str, ...] = ()
    """All relations of the schema where empty."""


_PRIVILEGES = (
    _Privilege(PIPELINE, "governance", "select"),
    _Privilege(
        PIPELINE,
        "governance",
        "insert, update",
        ("submission", "submission_table", "snapshot", "snapshot_table", "draft_figure"),
    ),
    _Privilege(PIPELINE, "governance", "delete", ("draft_figure",)),
    _Privilege(PIPELINE, "governance", "insert", ("audit_event",)),
    _Privilege(PIPELINE, "linkage", "select, insert, update, delete"),
    # No update: a row of facts is as it was loaded or it is not there.
    _Privilege(PIPELINE, "facts", "select, insert, delete"),
    _Privilege(PIPELINE, "evidence", "select, insert"),
    _Privilege(PIPELINE, "evidence", "update", ("release",)),
    _Privilege(CUSTODIAN, "linkage", "select"),
    _Privilege(CUSTODIAN, "governance", "select"),
    _Privilege(POOL_ANALYST, "pool", "select"),
    _Privilege(POOL_ANALYST, "evidence", "select"),
    _Privilege(EVIDENCE_READER, "evidence", "select"),
)

_READERS = f"{EVIDENCE_READER}, {POOL_ANALYST}"

_POLICIES = (
    ("evidence.release", "pipeline_sees_all", f"to {PIPELINE} using (true) with check (true)"),
    ("evidence.release", "readers_see_no_draft", f"for select to {_READERS} using (state <> 'draft')"),
    ("evidence.figure", "pipeline_sees_all", f"to {PIPELINE} using (true) with check (true)"),
    (
        "evidence.figure",
        "readers_see_releases_that_stand",
        f"for select to {_READERS} using (release_id in (select r.release_id from evidence.release r"  # noqa: S608
        " where r.state in ('published', 'superseded')))",
    ),
)


# --- groups and grants ----------------------------------------------------------------------------------------------


def ensure_groups(conn: Connection) -> None:
    """Make the group roles that are missing. They belong to the cluster, so several databases may share them."""
    for name, purpose in GROUPS.items():
        # Another database of the cluster may make the same role at the same moment.
        conn.execute(
            text(
                f"do $$ begin create role {name} nologin; comment on role {name} is '{purpose}';"
                " exception when duplicate_object or unique_violation then null; end $$"
            )
        )


def apply_grants(conn: Connection) -> None:
    """Give each group exactly the rights of this module on every relation there is, and PUBLIC none.

    Run by every upgrade and after views are made; twice changes nothing.
    """
    conn.execute(text("select pg_advisory_xact_lock(hashtext('linkarms grants'))"))
    database = conn.dialect.identifier_preparer.quote(str(conn.scalar(text("select current_database()"))))
    groups = ", ".join(GROUPS)
    statements = [
        f"revoke all on database {database} from public, {groups}",
        f"grant connect on database {database} to {groups}",
        f"grant temporary on database {database} to {PIPELINE}",
        "revoke all on schema public from public",
        "alter default privileges revoke execute on functions from public",
    ]
    for schema in SCHEMAS:
        statements += [
            f"revoke all on schema {schema} from public, {groups}",
            f"revoke all on all tables in schema {schema} from public, {groups}",
            f"revoke all on all functions in schema {schema} from public, {groups}",
        ]
    for privilege in _PRIVILEGES:
        relations = ", ".join(f"{privilege.schema}.{name}" for name in privilege.relations)
        target = relations or f"all tables in schema {privilege.schema}"
        statements += [
            f"grant usage on schema {privilege.schema} to {privilege.group}",
            f"grant {privilege.rights} on {target} to {privilege.group}",
        ]
    # Called inside the pool's views, for which PostgreSQL asks the reader's own right. Without the use of the schema
    # `governance` an analyst cannot call it otherwise.
    statements.append(f"grant execute on function governance.session_audience() to {POOL_ANALYST}")
    for relation, name, clause in _POLICIES:
        statements += [
            f"alter table {relation} enable row level security",
            f"drop policy if exists {name} on {relation}",
            f"create policy {name} on {relation} {clause}",
        ]
    for statement in statements:
        conn.execute(text(statement))


def ensure_service_login(conn: Connection, login: str, group: str, password: str) -> None:
    """Make or refresh a service's own login as a member of one group: the pipeline's, or the custodian's.

    ``conn`` belongs to the database's owner. The password is sent as a SCRAM verifier, never in clear.
    """
    if group not in GROUPS:
        raise LinkarmsError(f"There is no group role {group}.")
    _ensure_login(conn, login, password, until=None, mark=f"{_LOGIN_MARK}service")
    _set_groups(conn, login, {group})


# --- logins of the agreement ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoginState:
    """What a login of the agreement may do today."""

    login: str
    audience: str
    live: bool
    groups: tuple[str, ...]


def ensure_logins(
    conn: Connection, agreement: Agreement, passwords: Mapping[str, str], today: date
) -> tuple[LoginState, ...]:
    """Make the database's logins what the agreement grants today; returns the state of each.

    A login of a live grant can log in and is a member of the groups of its schemas; one of a grant that has not begun
    or has ended, or that the agreement no longer names, loses its log-in, its memberships and its open sessions'
    view of the pool. A login without an entry in ``passwords`` keeps the password that it has.

    ``conn`` belongs to the database's owner and the caller commits.

    Raises :class:`AgreementError` where a login is in two grants, is the name of a role that Linkarms did not make,
    or is new and has no password.
    """
    _refuse_shared_logins(agreement.grants)
    states = []
    named = {login: grant for grant in agreement.grants for login in grant.logins}
    for login, grant in sorted(named.items()):
        live = grant.starts <= today <= grant.ends
        groups = {GROUP_OF_SCHEMA[schema] for schema in grant.schemas} if live else set()
        mark = f"{_LOGIN_MARK}{grant.id}"
        _ensure_login(conn, login, passwords.get(login), until=grant.ends if live else today - timedelta(1), mark=mark)
        if not live:
            _close_login(conn, login)
        _set_groups(conn, login, groups)
        _record_login(conn, login, grant, agreement.digest)
        states.append(LoginState(login, grant.id, live, tuple(sorted(groups))))
    for (login,) in conn.execute(text("select login from governance.login_grant order by login")).all():
        if login not in named:
            _close_login(conn, login)
            _set_groups(conn, login, set())
            conn.execute(text("delete from governance.login_grant where login = :login"), {"login": login})
    return tuple(states)


def _refuse_shared_logins(grants: tuple[Grant, ...]) -> None:
    seen: dict[str, str] = {}
    for grant in grants:
        unknown = set(grant.schemas) - set(GROUP_OF_SCHEMA)
        if unknown:
            raise AgreementError(
                f"Grant {grant.id} names the schema {sorted(unknown)[0]}, which nobody may be granted."
            )
        for login in grant.logins:
            if login in seen:
                raise AgreementError(
                    f"Login {login} is in the grants {seen[login]} and {grant.id}. Pseudonyms of two grants must not "
                    "meet in one login: give each grant a login of its own."
                )
            seen[login] = grant.id


def _ensure_login(conn: Connection, login: str, password: str | None, *, until: date | None, mark: str) -> None:
    """Make the role or, where this module made it before, renew its password and its end."""
    found = conn.execute(
        text("select coalesce(shobj_description(oid, 'pg_authid'), '') from pg_roles where rolname = :login"),
        {"login": login},
    ).one_or_none()
    if found is not None and not str(found[0]).startswith(_LOGIN_MARK):
        raise AgreementError(
            f"Login {login} is the name of a database role that Linkarms did not make. Choose another."
        )
    if found is None and password is None:
        raise AgreementError(f"Login {login} is new and no password was given for it.")
    role = sql.Identifier(login)
    if found is None:
        _run(conn, sql.SQL("create role {} nosuperuser nocreatedb nocreaterole").format(role))
    end = sql.Literal(f"{until + timedelta(1)} 00:00+00" if until else "infinity")
    _run(conn, sql.SQL("alter role {} login valid until {}").format(role, end))
    if password is not None:
        verifier = driver(conn).pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
        _run(conn, sql.SQL("alter role {} password {}").format(role, sql.Literal(verifier)))
    _run(conn, sql.SQL("comment on role {} is {}").format(role, sql.Literal(mark)))


def _close_login(conn: Connection, login: str) -> None:
    if conn.scalar(text("select 1 from pg_roles where rolname = :login"), {"login": login}):
        _run(conn, sql.SQL("alter role {} nologin").format(sql.Identifier(login)))


def _set_groups(conn: Connection, login: str, wanted: set[str]) -> None:
    """Make the login a member of exactly these of our groups; it inherits their rights and cannot become them."""
    present = set(
        conn.scalars(
            text(
                "select g.rolname from pg_auth_members m join pg_roles g on g.oid = m.roleid"
                " join pg_roles l on l.oid = m.member where l.rolname = :login and g.rolname = any(:groups)"
            ),
            {"login": login, "groups": list(GROUPS)},
        )
    )
    role = sql.Identifier(login)
    for group in sorted(present - wanted):
        _run(conn, sql.SQL("revoke {} from {}").format(sql.Identifier(group), role))
    for group in sorted(wanted - present):
        _run(conn, sql.SQL("grant {} to {} with inherit true, set false").format(sql.Identifier(group), role))


def _record_login(conn: Connection, login: str, grant: Grant, digest: str) -> None:
    conn.execute(
        text(
            "insert into governance.login_grant (login, audience, purpose, schemas, starts, ends, agreement_digest)"
            " values (:login, :audience, :purpose, :schemas, :starts, :ends, :digest)"
            " on conflict (login) do update set audience = excluded.audience, purpose = excluded.purpose,"
            " schemas = excluded.schemas, starts = excluded.starts, ends = excluded.ends,"
            " agreement_digest = excluded.agreement_digest"
        ),
        {
            "login": login,
            "audience": grant.id,
            "purpose": grant.purpose,
            "schemas": list(grant.schemas),
            "starts": grant.starts,
            "ends": grant.ends,
            "digest": digest,
        },
    )


def driver(conn: Connection) -> "psycopg.Connection[Any]":
    """The psycopg connection below a SQLAlchemy connection: same session, same transaction."""
    return cast("psycopg.Connection[Any]", conn.connection.driver_connection)


def _run(conn: Connection, statement: sql.Composed) -> None:
    conn.exec_driver_sql(statement.as_string(driver(conn)).replace("%", "%%"))
