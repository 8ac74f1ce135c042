"""The live database beside what the agreement grants: each difference in words, and the statements that end it.

Looked at are the group roles, the agreement's logins and the services' (attributes, end, memberships, passwords where
they can be seen), rights on the database, schemas, relations, columns and routines, default privileges, row policies,
owners, what the pool's views say, and the record of who is in which grant (kept by
``tests/integration/warehouse/test_grant_drift.py``).

Altered are groups, logins that Linkarms made, everyone's rights as far as PUBLIC, a group or such a login has them, and
memberships of our groups. A right that a role of somebody else holds on its own is told, and a person decides.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from protocol.errors import LinkarmsError
from protocol.model import Agreement, Grant
from warehouse.audit import record_event
from warehouse.pool_views import find_altered_views
from warehouse.rights import (
    GROUPS,
    POLICIES,
    PUBLIC,
    LiveRight,
    Right,
    group_rights,
    groups_of,
    is_live,
    known_relations,
    live_relations,
    live_rights,
    login_rights,
    quote,
    quote_role,
)
from warehouse.roles import (
    LOGIN_MARK,
    SERVICE_MARK,
    database_name,
    driver,
    mark_of,
    password_verifier,
    refuse_faulty_grants,
)
from warehouse.schema import SCHEMAS

_ROUNDS = 4
"""Ending one difference can uncover the next (a right that was passed on); more than this has never been needed."""

_ATTRIBUTES = {
    "rolsuper": ("superuser", "is a superuser and so may do anything"),
    "rolbypassrls": ("bypassrls", "is not held to row policies"),
    "rolcreaterole": ("createrole", "may make roles"),
    "rolcreatedb": ("createdb", "may make databases"),
    "rolreplication": ("replication", "may copy the whole server"),
}


@dataclass(frozen=True)
class Difference:
    """One way in which the database is not what the agreement grants."""

    sentence: str
    statements: tuple[str, ...] = ()
    """What ends it; empty where a person decides."""
    superuser: bool = False
    """The database's owner may not do it, only a superuser."""
    secret: str | None = None
    """A password's verifier within the statements, which is not shown."""

    @property
    def shown(self) -> tuple[str, ...]:
        """The statements for people to read."""
        if self.secret is None:
            return self.statements
        return tuple(statement.replace(self.secret, "'(its password)'") for statement in self.statements)


@dataclass(frozen=True)
class Mended:
    """What :func:`mend_grants` did and what it left."""

    ended: tuple[Difference, ...]
    left: tuple[Difference, ...]


@dataclass(frozen=True)
class _Role:
    name: str
    can_log_in: bool
    inherits: bool
    until: datetime | None
    attributes: frozenset[str]
    comment: str
    configured: bool


@dataclass(frozen=True)
class _Membership:
    group: str
    member: str
    grantor: str
    admin: bool
    inherit: bool
    set: bool


@dataclass(frozen=True)
class _Scene:
    """Everything that the comparison looks at, read once."""

    database: str
    owner: str
    """Owner of our schemas."""
    user: str
    """Whom the connection belongs to."""
    roles: Mapping[str, _Role]
    memberships: tuple[_Membership, ...]
    grants: Mapping[str, Grant]
    """Login -> its grant."""
    today: date
    relations: tuple[str, ...]
    rights: tuple[LiveRight, ...]

    def is_live(self, login: str) -> bool:
        return login in self.grants and is_live(self.grants[login], self.today)

    def service_group(self, name: str) -> str | None:
        """The group of a service's login; None for every other role."""
        role = self.roles.get(name)
        group = role.comment.removeprefix(SERVICE_MARK) if role and role.comment.startswith(SERVICE_MARK) else None
        return group if group in GROUPS else None

    def is_ours(self, name: str) -> bool:
        """True for a login that Linkarms made for this database: of a grant, of an ended one, or of a service."""
        role = self.roles.get(name)
        if role is None or not role.comment.startswith(LOGIN_MARK):
            return False
        return name in self.grants or self.service_group(name) is not None or not self.is_elsewhere(name)

    def is_elsewhere(self, name: str) -> bool:
        """True for a login that Linkarms made for another database of the cluster."""
        role = self.roles.get(name)
        if role is None or not role.comment.startswith(LOGIN_MARK) or name in self.grants:
            return False
        _, found, database = role.comment.partition(" of database ")
        return bool(found) and database != self.database

    def groups_of(self, name: str) -> set[str]:
        """The groups that a login of ours should be a member of today."""
        service = self.service_group(name)
        if service is not None:
            return {service}
        return groups_of(self.grants[name]) if self.is_live(name) else set()


# --- comparing ------------------------------------------------------------------------------------------------------


def compare_grants(
    conn: Connection,
    agreement: Agreement,
    today: date,
    *,
    evidence_views: Collection[str],
    passwords: Mapping[str, str] | None = None,
    superuser: Connection | None = None,
) -> tuple[Difference, ...]:
    """Every difference between the live database and what the agreement grants today, those of roles first.

    ``conn`` is the database owner's. ``evidence_views`` are the names of the views of measures. ``passwords`` are the
    readers', for logins that are missing or have none. With a ``superuser``'s connection passwords are looked at too:
    nobody else sees whether a login has one. Nothing is changed.

    Raises :class:`AgreementError` where the agreement's grants contradict each other or the database.
    """
    scene = _read_scene(conn, agreement, today)
    refuse_faulty_grants(agreement.grants, scene.relations)
    known = known_relations(agreement, evidence_views)
    verifier = _make_verifier(conn, passwords or {})
    return (
        *_compare_groups(scene),
        *_compare_logins(scene, verifier),
        *(_compare_passwords(scene, superuser, verifier) if superuser is not None else ()),
        *_compare_memberships(scene),
        *_compare_record(conn, agreement, scene),
        *_compare_owners(conn, scene),
        *_compare_relations(scene, known),
        *_compare_views(conn, agreement),
        *_compare_rights(scene, known),
        *_compare_default_rights(conn, scene),
        *_compare_policies(conn),
    )


_ROLES = """
    select rolname, rolcanlogin, rolinherit, nullif(rolvaliduntil, 'infinity'), rolsuper, rolbypassrls, rolcreaterole,
        rolcreatedb, rolreplication, coalesce(shobj_description(r.oid, 'pg_authid'), ''),
        exists (select from pg_db_role_setting s where s.setrole = r.oid)
    from pg_roles r
"""
_MEMBERSHIPS = """
    select g.rolname, l.rolname, coalesce(b.rolname, ''), m.admin_option, m.inherit_option, m.set_option
    from pg_auth_members m join pg_roles g on g.oid = m.roleid join pg_roles l on l.oid = m.member
    left join pg_roles b on b.oid = m.grantor order by 1, 2, 3
"""
_OWNER = "select nspowner::regrole::text from pg_namespace where nspname = 'governance'"


def _read_scene(conn: Connection, agreement: Agreement, today: date) -> _Scene:
    owner = conn.scalar(text(_OWNER))
    if owner is None:
        raise LinkarmsError("This is no database of Linkarms's yet. Run `linkarms warehouse upgrade` first.")
    roles = {}
    for row in conn.execute(text(_ROLES)).all():
        attributes = frozenset(name for name, has in zip(_ATTRIBUTES, row[4:9], strict=True) if has)
        roles[row[0]] = _Role(row[0], row[1], row[2], row[3], attributes, row[9], row[10])
    return _Scene(
        database=database_name(conn),
        owner=str(owner).strip('"'),
        user=str(conn.scalar(text("select current_user"))),
        roles=roles,
        memberships=tuple(_Membership(*row) for row in conn.execute(text(_MEMBERSHIPS)).all()),
        grants={login: grant for grant in agreement.grants for login in grant.logins},
        today=today,
        relations=live_relations(conn),
        rights=live_rights(conn),
    )


def _make_verifier(conn: Connection, passwords: Mapping[str, str]) -> Callable[[str], str | None]:
    """A login's password as the literal that the server stores; None where it is not known."""

    def verifier(login: str) -> str | None:
        if login not in passwords:
            return None
        return sql.Literal(password_verifier(conn, login, passwords[login])).as_string(driver(conn))

    return verifier


def _compare_groups(scene: _Scene) -> Iterator[Difference]:
    for group, purpose in GROUPS.items():
        role = scene.roles.get(group)
        if role is None:
            statements = (f"create role {group} nologin", f"comment on role {group} is {_literal(purpose)}")
            yield Difference(f"The group role {group} is missing.", statements)
            continue
        yield from _compare_attributes(role)
        if role.can_log_in:
            yield Difference(f"The group role {group} can log in.", (f"alter role {group} nologin",))


def _compare_attributes(role: _Role) -> Iterator[Difference]:
    for name, (word, told) in _ATTRIBUTES.items():
        if name in role.attributes:
            yield Difference(f"{role.name} {told}.", (f"alter role {quote(role.name)} no{word}",), superuser=True)
    if not role.inherits:
        yield Difference(
            f"{role.name} does not inherit the rights of its groups.", (f"alter role {quote(role.name)} inherit",)
        )
    if role.configured:
        yield Difference(
            f"{role.name} has settings of its own, which could change what its sessions do.",
            (f"alter role {quote(role.name)} reset all",),
            superuser=True,
        )


def _compare_logins(scene: _Scene, verifier: Callable[[str], str | None]) -> Iterator[Difference]:
    for login, grant in sorted(scene.grants.items()):
        role, live = scene.roles.get(login), scene.is_live(login)
        mark = mark_of(grant, scene.database)
        if role is None:
            if live:
                yield _missing_login(login, grant, mark, verifier(login))
            continue
        if not role.comment.startswith(LOGIN_MARK):
            yield Difference(f"{login} is a role that Linkarms did not make, and grant {grant.id} names it as a login.")
            continue
        if role.comment != mark:
            yield Difference(
                f"{login} is not marked as the login of grant {grant.id}.",
                (f"comment on role {quote(login)} is {_literal(mark)}",),
            )
        yield from _compare_attributes(role)
        if not live and role.can_log_in:
            yield Difference(
                f"{login} can log in, and its grant {grant.id} "
                + (f"ended on {grant.ends}." if grant.ends < scene.today else f"begins on {grant.starts}."),
                (f"alter role {quote(login)} nologin",),
            )
        if live and not role.can_log_in:
            yield Difference(
                f"{login} cannot log in, and its grant {grant.id} holds until {grant.ends}.",
                (f"alter role {quote(login)} login",),
            )
        if live and role.until != _end_of(grant):
            until = "never ends" if role.until is None else f"ends on {role.until:%Y-%m-%d}"
            yield Difference(
                f"The log-in of {login} {until}; by grant {grant.id} {grant.ends} is its last day.",
                (f"alter role {quote(login)} valid until '{_end_of(grant):%Y-%m-%d} 00:00+00'",),
            )
    for role in sorted(scene.roles.values(), key=lambda role: role.name):
        if role.name in scene.grants or not scene.is_ours(role.name):
            continue
        yield from _compare_attributes(role)
        if role.can_log_in and scene.service_group(role.name) is None and not _is_old_service(role):
            yield Difference(
                f"{role.name} can log in, and no grant of the agreement names it any more.",
                (f"alter role {quote(role.name)} nologin",),
            )


def _is_old_service(role: _Role) -> bool:
    """A service's login of an earlier version, whose comment does not name its group."""
    return role.comment == f"{LOGIN_MARK}grant service"


def _missing_login(login: str, grant: Grant, mark: str, verifier: str | None) -> Difference:
    sentence = f"The login {login} of grant {grant.id} is missing."
    if verifier is None:
        return Difference(f"{sentence} Run `linkarms warehouse upgrade`, which gives it a password.")
    return Difference(
        sentence,
        (
            f"create role {quote(login)} login password {verifier} valid until '{_end_of(grant):%Y-%m-%d} 00:00+00'",
            f"comment on role {quote(login)} is {_literal(mark)}",
        ),
        secret=verifier,
    )


def _end_of(grant: Grant) -> datetime:
    """The moment at which a grant is over: the beginning, in UTC, of the day after its last."""
    return datetime.combine(grant.ends + timedelta(1), time(), UTC)


def _compare_passwords(
    scene: _Scene, superuser: Connection, verifier: Callable[[str], str | None]
) -> Iterator[Difference]:
    found = "select rolname from pg_authid where rolcanlogin and coalesce(rolpassword, '') not like 'SCRAM-SHA-256$%'"
    for login in sorted(superuser.scalars(text(found))):
        if not scene.is_ours(login):
            continue
        sentence = f"{login} has no password, or one that is not kept as SCRAM."
        new = verifier(login)
        if new is None:
            yield Difference(f"{sentence} Run `linkarms warehouse upgrade`, which gives it one.")
        else:
            yield Difference(sentence, (f"alter role {quote(login)} password {new}",), secret=new)


def _compare_memberships(scene: _Scene) -> Iterator[Difference]:
    logins = {name for name in scene.roles if scene.is_ours(name)}
    wanted = {(group, login) for login in logins for group in scene.groups_of(login) if group in scene.roles}
    for entry in scene.memberships:
        group, member = entry.group, entry.member
        if member == scene.owner and not entry.inherit and not entry.set:
            continue  # whoever makes a role may give it to others
        if scene.is_elsewhere(member) or not ({group, member} & {*GROUPS, *logins}):
            continue
        statement = f"revoke {quote(group)} from {quote(member)}"
        if entry.grantor != scene.user:
            statement += f" granted by {quote(entry.grantor)}"
        by_superuser = entry.grantor != scene.user
        if (group, member) not in wanted:
            if _is_old_service(scene.roles[member]) and group in GROUPS:
                continue
            yield Difference(_told_membership(scene, group, member), (f"{statement} cascade",), by_superuser)
        elif entry.admin or entry.set or not entry.inherit:
            yield Difference(
                f"{member} may do more with {group} than use its rights: it can become it, or give it to others.",
                (f"{statement} cascade", f"grant {quote(group)} to {quote(member)} with inherit true, set false"),
                by_superuser,
            )
    present = {(entry.group, entry.member) for entry in scene.memberships}
    for group, login in sorted(wanted - present):
        of = scene.grants[login].id if login in scene.grants else "its service"
        yield Difference(
            f"{login} is not a member of {group}, which {of} gives it.",
            (f"grant {quote(group)} to {quote(login)} with inherit true, set false",),
        )


def _told_membership(scene: _Scene, group: str, member: str) -> str:
    if member in GROUPS:
        return f"The group {member} is a member of {group}, whose rights are not its own."
    if member in scene.grants:
        grant = scene.grants[member]
        if not scene.is_live(member):
            return f"{member} is a member of {group}, and its grant {grant.id} does not hold today."
        return f"{member} is a member of {group}, which its grant {grant.id} does not give."
    if scene.is_ours(member):
        return f"{member} is a member of {group}, and no grant of the agreement gives it."
    return f"{member}, a role that Linkarms did not make, is a member of {group}."


def _compare_record(conn: Connection, agreement: Agreement, scene: _Scene) -> Iterator[Difference]:
    """The table by which the pool's views know a session's grant."""
    statement = "select login, audience, purposes, views, starts, ends from governance.login_grant"
    recorded = {
        row[0]: (row[1], list(row[2]), list(row[3]), row[4], row[5]) for row in conn.execute(text(statement)).all()
    }
    for login, grant in sorted(scene.grants.items()):
        values = (grant.id, list(grant.purposes), list(grant.views), grant.starts, grant.ends)
        if recorded.get(login) == values or (login not in recorded and not scene.is_live(login)):
            continue
        if login not in scene.roles:
            continue
        yield Difference(
            f"The pool takes {login} for a login of another grant than {grant.id} as it is agreed, or of none.",
            (
                _forget(login),
                _remember(login, grant, agreement.digest),
            ),
        )
    for login in sorted(set(recorded) - set(scene.grants)):
        yield Difference(f"The pool still knows {login}, which no grant of the agreement names.", (_forget(login),))


def _forget(login: str) -> str:
    return f"delete from governance.login_grant where login = {_literal(login)}"  # noqa: S608  (a literal)


def _remember(login: str, grant: Grant, digest: str) -> str:
    values = [_literal(login), _literal(grant.id), _array(grant.purposes), _array(grant.views)]
    values += [_literal(str(value)) for value in (grant.starts, grant.ends, digest)]
    columns = "login, audience, purposes, views, starts, ends, agreement_digest"
    return f"insert into governance.login_grant ({columns}) values ({', '.join(values)})"  # noqa: S608  (literals)


def _array(values: Collection[str]) -> str:
    return f"array[{', '.join(map(_literal, values))}]"


def _literal(value: str) -> str:
    """Text as SQL writes it. Nothing that gets here has a backslash: names, dates, digests and comments."""
    return "'" + value.replace("'", "''") + "'"


# --- objects --------------------------------------------------------------------------------------------------------

_OWNED = """
    select 'schema', format('%I', nspname), nspowner::regrole::text from pg_namespace where nspname = any(:schemas)
    union all
    select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
            when 'f' then 'foreign table' else 'table' end,
        format('%I.%I', n.nspname, c.relname), c.relowner::regrole::text
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = any(:schemas) and c.relkind in ('r', 'v', 'm', 'p', 'f', 'S')
    union all
    select 'routine', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
        p.proowner::regrole::text
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = any(:schemas)
    order by 1, 2
"""


def _compare_owners(conn: Connection, scene: _Scene) -> Iterator[Difference]:
    for kind, name, owner in conn.execute(text(_OWNED), {"schemas": list(SCHEMAS)}).all():
        if owner.strip('"') != scene.owner:
            yield Difference(
                f"The {kind} {name} belongs to {owner}, who may do anything with it.",
                (f"alter {kind} {name} owner to {quote(scene.owner)}",),
                superuser=True,
            )


def _compare_relations(scene: _Scene, known: Collection[str]) -> Iterator[Difference]:
    for relation in _read_by_groups(scene):
        if relation not in known:
            yield Difference(
                f"{relation} is in a schema that readers are given as a whole, and Linkarms did not make it. Look at "
                f"what it shows; to remove it: drop it as {scene.owner}."
            )


def _compare_views(conn: Connection, agreement: Agreement) -> Iterator[Difference]:
    for name in find_altered_views(conn, agreement):
        yield Difference(
            f"The view pool.{name} does not show what the agreement says. Run `linkarms warehouse upgrade`, which "
            "makes it anew."
        )


def _read_by_groups(scene: _Scene) -> list[str]:
    return [name for name in scene.relations if name.startswith(("evidence.", "pool."))]


def _compare_rights(scene: _Scene, known: Collection[str]) -> Iterator[Difference]:
    strangers = {name for name in _read_by_groups(scene) if name not in known}
    wanted = group_rights(scene.database, [name for name in scene.relations if name not in strangers])
    # A role that is still to be made gets its rights in the next round.
    wanted = {right for right in wanted if right.grantee in scene.roles}
    for login, grant in scene.grants.items():
        if scene.is_live(login) and scene.is_ours(login):
            wanted |= login_rights(login, grant, scene.database)
    held = {entry.right for entry in scene.rights}
    passed_on = {
        (entry.right.kind, entry.right.object, entry.right.grantee) for entry in scene.rights if entry.passes_on
    }
    for entry in scene.rights:
        yield from _compare_right(scene, entry, wanted, passed_on)
    for right in sorted(wanted - held):
        yield Difference(f"{_who(scene, right.grantee)} may not {_told(right)}, which is agreed.", (right.grant,))


def _compare_right(
    scene: _Scene, entry: LiveRight, wanted: Collection[Right], passed_on: Collection[tuple[str, str, str]]
) -> Iterator[Difference]:
    right = entry.right
    if scene.is_elsewhere(right.grantee) or right.grantee == scene.owner:
        return
    ours = right.grantee == PUBLIC or right.grantee in GROUPS or scene.is_ours(right.grantee)
    who, told = _who(scene, right.grantee), _told(right)
    by_superuser = entry.is_elsewhere and entry.owner.strip('"') != scene.owner
    if not ours and entry.is_elsewhere:
        return
    if not ours:
        yield Difference(f"{who} may {told}. It is not altered here; to end it: {right.revoke};")
        return
    if entry.passes_on:
        statement = right.revoke.replace("revoke ", "revoke grant option for ", 1) + " cascade"
        yield Difference(f"{who} may {told}, and may give that to others.", (statement,), by_superuser)
    elif right not in wanted:
        if entry.grantor != entry.owner and (right.kind, right.object, entry.grantor) in passed_on:
            return  # goes with the right that it was passed on from
        yield Difference(f"{who} may {told}, which nobody agreed.", (f"{right.revoke} cascade",), by_superuser)


def _who(scene: _Scene, grantee: str) -> str:
    if grantee == PUBLIC:
        return "Everyone"
    if grantee in GROUPS:
        return f"The group {grantee}"
    return (
        grantee
        if scene.is_ours(grantee) or grantee in scene.grants
        else f"{grantee}, a role that Linkarms did not make,"
    )


def _told(right: Right) -> str:
    words = {
        "connect": "connect to",
        "create": "make things in",
        "delete": "delete from",
        "execute": "run",
        "insert": "add to",
        "references": "refer to",
        "select": "read",
        "temporary": "make temporary tables in",
        "trigger": "put triggers on",
        "truncate": "empty",
        "update": "change",
        "usage": "use",
    }
    nouns = {"table": "", "routine": "the function ", "schema": "the schema ", "database": "the database "}
    what = nouns.get(right.kind, f"{right.kind} ") + right.object
    if right.column:
        what = f"the column {right.column} of {what}"
    return f"{words.get(right.privilege, right.privilege)} {what}"


_DEFAULT_RIGHTS = """
    select r.rolname, coalesce(n.nspname, ''),
        case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'routines'
            when 'T' then 'types' when 'n' then 'schemas' else 'large objects' end,
        lower(e.privilege_type), coalesce(g.rolname, 'public')
    from pg_default_acl d join pg_roles r on r.oid = d.defaclrole
    left join pg_namespace n on n.oid = d.defaclnamespace
    cross join aclexplode(d.defaclacl) e left join pg_roles g on g.oid = e.grantee
    where e.grantee <> d.defaclrole and (n.nspname = any(:schemas) or (n.nspname is null and r.rolname = :owner))
    order by 1, 2, 3, 4, 5
"""
_FUNCTIONS_CLOSED = """
    select exists (select from pg_default_acl d join pg_roles r on r.oid = d.defaclrole
        where r.rolname = :owner and d.defaclnamespace = 0 and d.defaclobjtype = 'f')
"""


def _compare_default_rights(conn: Connection, scene: _Scene) -> Iterator[Difference]:
    """What would be given on things that are made later."""
    values = {"schemas": list(SCHEMAS), "owner": scene.owner}
    for role, schema, objects, privilege, grantee in conn.execute(text(_DEFAULT_RIGHTS), values).all():
        if objects in ("types", "large objects"):
            continue
        of = f"for role {quote(role)} " + (f"in schema {quote(schema)} " if schema else "")
        yield Difference(
            f"{_who(scene, grantee)} would get the right to {privilege} on all {objects} that {role} makes later"
            + (f" in {schema}." if schema else "."),
            (f"alter default privileges {of}revoke {privilege} on {objects} from {quote_role(grantee)}",),
            superuser=role != scene.user,
        )
    if not conn.scalar(text(_FUNCTIONS_CLOSED), {"owner": scene.owner}):
        yield Difference(
            "Everyone would get the right to run functions that are made later.",
            (f"alter default privileges for role {quote(scene.owner)} revoke execute on routines from public",),
            superuser=scene.owner != scene.user,
        )


_POLICY = """
    select permissive, roles::text[], cmd, coalesce(qual, ''), coalesce(with_check, '')
    from pg_policies where schemaname = :schema and tablename = :name and policyname = :policy
"""
_RESTRICTED = "select relrowsecurity from pg_class where oid = cast(:relation as regclass)"


def _compare_policies(conn: Connection) -> Iterator[Difference]:
    expected: dict[str, dict[str, Any]] = {}
    for policy in POLICIES:
        expected.setdefault(policy.relation, {})[policy.name] = policy
    for relation, policies in expected.items():
        schema, _, name = relation.partition(".")
        if not conn.scalar(text(_RESTRICTED), {"relation": relation}):
            yield Difference(
                f"The row policies of {relation} are switched off, so that readers see drafts.",
                (f"alter table {relation} enable row level security",),
            )
        for policy in policies.values():
            make = f"create policy {policy.name} on {relation} {policy.clause}"
            found = _read_policy(conn, schema, name, policy.name)
            if found is None:
                yield Difference(f"The row policy {policy.name} of {relation} is missing.", (make,))
            elif found != _read_as_agreed(conn, relation, policy.name, policy.clause):
                yield Difference(
                    f"The row policy {policy.name} of {relation} does not say what was agreed.",
                    (f"drop policy {policy.name} on {relation}", make),
                )
    statement = (
        "select schemaname, tablename, policyname from pg_policies where schemaname = any(:schemas) order by 1, 2, 3"
    )
    for schema, table, name in conn.execute(text(statement), {"schemas": list(SCHEMAS)}).all():
        relation = f"{quote(schema)}.{quote(table)}"
        if name not in expected.get(f"{schema}.{table}", {}):
            yield Difference(
                f"{relation} has a row policy, {name}, that Linkarms did not make.",
                (f"drop policy {quote(name)} on {relation}",),
            )


def _read_policy(conn: Connection, schema: str, table: str, policy: str) -> tuple[Any, ...] | None:
    row = conn.execute(text(_POLICY), {"schema": schema, "name": table, "policy": policy}).one_or_none()
    return None if row is None else tuple(row)


def _read_as_agreed(conn: Connection, relation: str, name: str, clause: str) -> tuple[Any, ...] | None:
    """The agreed policy as this server writes it, tried on an empty copy of the relation that is never kept."""
    attempt = conn.begin_nested()
    try:
        conn.execute(text(f"create table governance.policy_attempt (like {relation})"))
        conn.execute(text(f"create policy {name} on governance.policy_attempt {clause}"))
        return _read_policy(conn, "governance", "policy_attempt", name)
    finally:
        attempt.rollback()


# --- mending --------------------------------------------------------------------------------------------------------


def mend_grants(
    owner: Engine,
    agreement: Agreement,
    today: date,
    *,
    evidence_views: Collection[str],
    passwords: Mapping[str, str] | None = None,
    superuser: Engine | None = None,
) -> Mended:
    """End every difference that :func:`compare_grants` finds and that has statements; what is left is told.

    Each round is one transaction of the owner's with one audit event; what only a superuser may do goes first, in a
    transaction of its own, where an engine for one is given. Running it again finds nothing but what was left.
    """
    ended: list[Difference] = []
    for _ in range(_ROUNDS):
        differences = _compare_by(owner, superuser, agreement, today, evidence_views, passwords)
        may_all = _is_superuser(owner)
        by_owner = [d for d in differences if d.statements and (may_all or not d.superuser)]
        by_superuser = [
            d for d in differences if d.statements and d.superuser and not may_all and superuser is not None
        ]
        if not by_owner and not by_superuser:
            break
        if superuser is not None and by_superuser:
            with superuser.begin() as conn:
                _run(conn, by_superuser)
        with owner.begin() as conn:
            _run(conn, by_owner)
            mended = [*by_superuser, *by_owner]
            _record(conn, agreement, mended)
        ended.extend(mended)
    left = _compare_by(owner, superuser, agreement, today, evidence_views, passwords)
    return Mended(tuple(ended), left)


def _compare_by(
    owner: Engine,
    superuser: Engine | None,
    agreement: Agreement,
    today: date,
    evidence_views: Collection[str],
    passwords: Mapping[str, str] | None,
) -> tuple[Difference, ...]:
    def compare(conn: Connection, above: Connection | None) -> tuple[Difference, ...]:
        return compare_grants(
            conn, agreement, today, evidence_views=evidence_views, passwords=passwords, superuser=above
        )

    with owner.connect() as conn:
        if superuser is None:
            return compare(conn, None)
        with superuser.connect() as above:
            return compare(conn, above)


def _is_superuser(engine: Engine) -> bool:
    with engine.connect() as conn:
        return bool(conn.scalar(text("select rolsuper from pg_roles where rolname = current_user")))


def _run(conn: Connection, differences: list[Difference]) -> None:
    for statement in dict.fromkeys(statement for difference in differences for statement in difference.statements):
        try:
            conn.exec_driver_sql(statement.replace("%", "%%"))
        except ProgrammingError as error:
            shown = next(d for d in differences if statement in d.statements)
            place = shown.statements.index(statement)
            raise LinkarmsError(
                f"The database refuses this, and nothing of this round was changed: {shown.shown[place]} "
                f"({str(error.orig).splitlines()[0]}). Have a superuser run it, then run this again."
            ) from None


def _record(conn: Connection, agreement: Agreement, mended: list[Difference]) -> None:
    record_event(
        conn,
        str(conn.scalar(text("select session_user"))),
        "grants.mended",
        agreement.id,
        {"agreement": agreement.digest, "differences": [difference.sentence[:200] for difference in mended]},
    )
