"""Who may do what in the database: group roles, their grants, and the logins that the agreement grants.

Promises, kept by ``tests/integration/warehouse/test_roles.py``:

- a reader of evidence sees released figures and nothing else: no draft, no row about a person, no match key;
- a pool analyst sees the pool by the pseudonyms of the analyst's own grant only, and columns for its purposes;
- a login whose grant names single views reads these and nothing else;
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
from warehouse.audit import record_event
from warehouse.rights import (
    CUSTODIAN,
    EVIDENCE_READER,
    GROUP_OF_SCHEMA,
    GROUP_RIGHTS,
    GROUPS,
    PIPELINE,
    POLICIES,
    POOL_ANALYST,
    SESSION_FUNCTIONS,
    groups_of,
    is_live,
    live_relations,
    live_rights,
    login_rights,
    quote,
)
from warehouse.schema import SCHEMAS

__all__ = [
    "CUSTODIAN",
    "EVIDENCE_READER",
    "GROUPS",
    "PIPELINE",
    "POOL_ANALYST",
    "LoginState",
    "apply_grants",
    "driver",
    "ensure_custodian",
    "ensure_groups",
    "ensure_logins",
    "ensure_service_login",
    "remove_custodian",
]

LOGIN_MARK = "Linkarms login of "
"""How the comment of each login begins that this module made; no other role is ever altered."""
SERVICE_MARK = f"{LOGIN_MARK}the service group "


def mark_of(grant: Grant, database: str) -> str:
    """The comment of a grant's login. It names the database: roles belong to the cluster, which may have several."""
    return f"{LOGIN_MARK}grant {grant.id} of database {database}"


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
    for given in GROUP_RIGHTS:
        relations = ", ".join(f"{given.schema}.{name}" for name in given.relations)
        target = relations or f"all tables in schema {given.schema}"
        statements += [
            f"grant usage on schema {given.schema} to {given.group}",
            f"grant {', '.join(given.privileges)} on {target} to {given.group}",
        ]
    statements.append(f"grant execute on function {', '.join(SESSION_FUNCTIONS)} to {POOL_ANALYST}")
    for policy in POLICIES:
        statements += [
            f"alter table {policy.relation} enable row level security",
            f"drop policy if exists {policy.name} on {policy.relation}",
            f"create policy {policy.name} on {policy.relation} {policy.clause}",
        ]
    for statement in statements:
        conn.execute(text(statement))


def ensure_service_login(conn: Connection, login: str, group: str, password: str) -> None:
    """Make or refresh a service's own login as a member of one group: the pipeline's, or the custodian's.

    ``conn`` belongs to the database's owner. The password is sent as a SCRAM verifier, never in clear.
    """
    if group not in GROUPS:
        raise LinkarmsError(f"There is no group role {group}.")
    _ensure_login(conn, login, password, until=None, mark=f"{SERVICE_MARK}{group}")
    _set_groups(conn, login, {group})


def ensure_custodian(conn: Connection, login: str, password: str) -> None:
    """Make or refresh the login of one person who looks after linkage. ``conn`` belongs to the database's owner.

    One login a person: the database tells custodians apart by it. The audit trail says that it was made.

    Raises :class:`LinkarmsError` where a role of that name is there and is not a custodian's.
    """
    mark = conn.scalar(
        text("select coalesce(shobj_description(oid, 'pg_authid'), '') from pg_roles where rolname = :login"),
        {"login": login},
    )
    if mark not in (None, f"{SERVICE_MARK}{CUSTODIAN}"):
        raise LinkarmsError(f"{login} is the name of another role of the database. Choose another.")
    ensure_service_login(conn, login, CUSTODIAN, password)
    record_event(conn, str(conn.scalar(text("select session_user"))), "custodian.login_made", login)


def remove_custodian(conn: Connection, login: str) -> None:
    """Take a custodian's login away. What was decided under it stays.

    Raises :class:`LinkarmsError` where there is no custodian of that login.
    """
    found = conn.scalar(
        text("select 1 from pg_roles where rolname = :login and shobj_description(oid, 'pg_authid') = :mark"),
        {"login": login, "mark": f"{SERVICE_MARK}{CUSTODIAN}"},
    )
    if not found:
        raise LinkarmsError(f"There is no custodian's login {login}.")
    _run(conn, sql.SQL("drop role {}").format(sql.Identifier(login)))
    record_event(conn, str(conn.scalar(text("select session_user"))), "custodian.login_removed", login)


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

    A login of a live grant can log in, is a member of the groups of the schemas that its grant names whole, and may
    read the views that it names one by one; a login of a grant that has not begun or has ended, or that the agreement
    no longer names, loses its log-in, its memberships and rights, and its open sessions' view of the pool. A login
    without an entry in ``passwords`` keeps the password that it has.

    ``conn`` belongs to the database's owner and the caller commits. The views have to be there.

    Raises :class:`AgreementError` where a login is in two grants, is the name of a role that Linkarms did not make,
    or is new and has no password, and where a grant names a view that is not there.
    """
    refuse_faulty_grants(agreement.grants, live_relations(conn))
    database = database_name(conn)
    states = []
    wanted = set()
    named = {login: grant for grant in agreement.grants for login in grant.logins}
    for login, grant in sorted(named.items()):
        live = is_live(grant, today)
        groups = groups_of(grant) if live else set()
        mark = mark_of(grant, database)
        _ensure_login(conn, login, passwords.get(login), until=grant.ends if live else today - timedelta(1), mark=mark)
        if not live:
            _close_login(conn, login)
        _set_groups(conn, login, groups)
        _record_login(conn, login, grant, agreement.digest)
        wanted |= login_rights(login, grant, database) if live else set()
        states.append(LoginState(login, grant.id, live, tuple(sorted(groups))))
    recorded = list(conn.scalars(text("select login from governance.login_grant order by login")))
    for login in recorded:
        if login not in named:
            _close_login(conn, login)
            _set_groups(conn, login, set())
            conn.execute(text("delete from governance.login_grant where login = :login"), {"login": login})
    mine = [entry for entry in live_rights(conn) if not entry.is_elsewhere]
    held = {entry.right for entry in mine if entry.right.grantee in {*named, *recorded}}
    for statement in (*(right.revoke for right in sorted(held - wanted)), *(r.grant for r in sorted(wanted - held))):
        conn.execute(text(statement))
    return tuple(states)


def database_name(conn: Connection) -> str:
    """Name of the database that the connection is in."""
    return str(conn.scalar(text("select current_database()")))


def refuse_faulty_grants(grants: tuple[Grant, ...], relations: tuple[str, ...]) -> None:
    """Raise :class:`AgreementError` where grants share a login or name what is not among ``relations``."""
    seen: dict[str, str] = {}
    for grant in grants:
        for view in grant.views:
            schema, _, name = view.partition(".")
            if schema not in GROUP_OF_SCHEMA:
                raise AgreementError(f"Grant {grant.id} names {view}, which nobody may be granted.")
            if name != "*" and f"{schema}.{quote(name)}" not in relations:
                raise AgreementError(
                    f"Grant {grant.id} names the view {view}, which the database does not have. Correct its name, or "
                    "run `linkarms warehouse upgrade` if the view is new."
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
    if found is not None and not str(found[0]).startswith(LOGIN_MARK):
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
        verifier = password_verifier(conn, login, password)
        _run(conn, sql.SQL("alter role {} password {}").format(role, sql.Literal(verifier)))
    _run(conn, sql.SQL("comment on role {} is {}").format(role, sql.Literal(mark)))


def password_verifier(conn: Connection, login: str, password: str) -> str:
    """What the server keeps of a password (SCRAM), worked out here so that the password is never sent."""
    return driver(conn).pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()


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
            "insert into governance.login_grant (login, audience, purposes, views, starts, ends, agreement_digest)"
            " values (:login, :audience, :purposes, :views, :starts, :ends, :digest)"
            " on conflict (login) do update set audience = excluded.audience, purposes = excluded.purposes,"
            " views = excluded.views, starts = excluded.starts, ends = excluded.ends,"
            " agreement_digest = excluded.agreement_digest"
        ),
        {
            "login": login,
            "audience": grant.id,
            "purposes": list(grant.purposes),
            "views": list(grant.views),
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
