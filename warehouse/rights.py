"""Who may do what in the database, as data: the rights that are agreed, and those that are there.

The rights of the group roles stand here once. :mod:`warehouse.roles` gives them, :mod:`warehouse.grants` compares them
with the live database.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.base import PGDialect

from protocol.model import Agreement, Grant
from protocol.versions import NOT_COLLECTED
from warehouse.schema import SCHEMAS, metadata
from warehouse.schema.review import CUSTODIANS_TABLES

PIPELINE = "linkarms_pipeline"
CUSTODIAN = "linkarms_custodian"
POOL_ANALYST = "linkarms_pool_analyst"
EVIDENCE_READER = "linkarms_evidence_reader"

GROUPS: Mapping[str, str] = {
    PIPELINE: "Loads submissions, links, computes and publishes. Owns nothing and changes no schema.",
    CUSTODIAN: "Looks after linkage: reads match keys, the registry and what governs them, and decides on pairs.",
    POOL_ANALYST: "Reads the pool by the pseudonyms of its own grant.",
    EVIDENCE_READER: "Reads released figures.",
}
"""The group roles (without log-in) and what each is for."""

GROUP_OF_SCHEMA: Mapping[str, str] = {"evidence": EVIDENCE_READER, "pool": POOL_ANALYST}
"""Which group a login joins whose grant names all views of a schema."""

SESSION_FUNCTIONS = (
    "governance.pool_clients()",
    "governance.session_audience()",
    "governance.session_purposes()",
)
"""Called inside the pool's views, for which PostgreSQL asks the reader's own right. Without the use of the schema
``governance`` nobody can call them otherwise."""

PUBLIC = "public"
"""Everyone, as PostgreSQL calls it."""


@dataclass(frozen=True)
class GroupRights:
    """Rights of one group on relations of one schema."""

    group: str
    schema: str
    privileges: tuple[str, ...]
    relations: tuple[str, ...] = ()
    """All relations of the schema where empty."""


_LINKED_BY_PIPELINE = tuple(
    sorted(
        table.name
        for table in metadata.tables.values()
        if table.schema == "linkage" and table.name not in CUSTODIANS_TABLES
    )
)

GROUP_RIGHTS = (
    GroupRights(PIPELINE, "governance", ("select",)),
    GroupRights(
        PIPELINE,
        "governance",
        ("insert", "update"),
        ("submission", "submission_table", "snapshot", "snapshot_table", "draft_figure"),
    ),
    GroupRights(PIPELINE, "governance", ("delete",), ("draft_figure",)),
    GroupRights(PIPELINE, "governance", ("insert",), ("audit_event",)),
    GroupRights(PIPELINE, "linkage", ("select", "insert", "update", "delete"), _LINKED_BY_PIPELINE),
    GroupRights(PIPELINE, "linkage", ("select",), ("decision",)),
    # No update: a row of facts is as it was loaded or it is not there.
    GroupRights(PIPELINE, "facts", ("select", "insert", "delete")),
    GroupRights(PIPELINE, "evidence", ("select", "insert")),
    GroupRights(PIPELINE, "evidence", ("update",), ("release",)),
    GroupRights(CUSTODIAN, "linkage", ("select",)),
    # What a custodian adds, triggers put under the session's own login and into the audit trail.
    GroupRights(CUSTODIAN, "linkage", ("insert",), CUSTODIANS_TABLES),
    GroupRights(CUSTODIAN, "governance", ("select",)),
    GroupRights(POOL_ANALYST, "pool", ("select",)),
    GroupRights(EVIDENCE_READER, "evidence", ("select",)),
)


@dataclass(frozen=True)
class Policy:
    """A row policy: which rows of a relation a role sees."""

    relation: str
    name: str
    clause: str


POLICIES = (
    Policy("evidence.release", "pipeline_sees_all", f"to {PIPELINE} using (true) with check (true)"),
    # To everyone who was given the relation, since a login of a single view is in no group.
    Policy("evidence.release", "readers_see_no_draft", "for select to public using (state <> 'draft')"),
    Policy("evidence.figure", "pipeline_sees_all", f"to {PIPELINE} using (true) with check (true)"),
    Policy(
        "evidence.figure",
        "readers_see_releases_that_stand",
        "for select to public using (release_id in (select r.release_id from evidence.release r"
        " where r.state in ('published', 'superseded')))",
    ),
)


@dataclass(frozen=True, order=True)
class Right:
    """One privilege of one role on one object."""

    kind: str
    """``database``, ``schema``, ``table`` (also views), ``sequence`` or ``routine``."""
    object: str
    """As SQL writes it: ``facts.person``."""
    privilege: str
    """``select``"""
    grantee: str
    """A role's plain name, or :data:`PUBLIC`."""
    column: str = ""
    """The plain name of a column where the right is on one column only."""

    @property
    def target(self) -> str:
        """What stands between the verb and the grantee: ``select on table facts.person``."""
        column = f" ({quote(self.column)})" if self.column else ""
        return f"{self.privilege}{column} on {self.kind} {self.object}"

    @property
    def grant(self) -> str:
        """The statement that gives it."""
        return f"grant {self.target} to {quote_role(self.grantee)}"

    @property
    def revoke(self) -> str:
        """The statement that takes it."""
        return f"revoke {self.target} from {quote_role(self.grantee)}"


@dataclass(frozen=True)
class LiveRight:
    """A right as the database has it."""

    right: Right
    owner: str
    grantor: str
    passes_on: bool
    """It may be given to others (``with grant option``)."""

    @property
    def is_elsewhere(self) -> bool:
        """True for the use of a schema that Linkarms did not make, where somebody may have put a copy of rows."""
        return self.right.kind == "schema" and self.right.object not in (*SCHEMAS, "public")


_preparer = PGDialect().identifier_preparer


def quote(name: str) -> str:
    """A name as SQL needs it, in quotes where it is a reserved word or has other characters than small letters."""
    return _preparer.quote(name)


def quote_role(name: str) -> str:
    """A role's name, or everyone."""
    return name if name == PUBLIC else quote(name)


def is_live(grant: Grant, today: date) -> bool:
    """True where the grant holds today."""
    return grant.starts <= today <= grant.ends


def groups_of(grant: Grant) -> set[str]:
    """The groups whose rights the grant's logins have: those of whole schemas."""
    return {GROUP_OF_SCHEMA[view.removesuffix(".*")] for view in grant.views if view.endswith(".*")}


def single_views(grant: Grant) -> tuple[str, ...]:
    """The views that the grant names one by one, without those of a schema that it names whole."""
    whole = {view.removesuffix(".*") for view in grant.views if view.endswith(".*")}
    return tuple(sorted(view for view in grant.views if view.partition(".")[0] not in whole))


def login_rights(login: str, grant: Grant, database: str) -> set[Right]:
    """The rights of a login itself: none where its grant names whole schemas, which its groups stand for."""
    rights: set[Right] = set()
    for view in single_views(grant):
        schema, _, name = view.partition(".")
        rights |= {
            Right("database", quote(database), "connect", login),
            Right("schema", quote(schema), "usage", login),
            Right("table", f"{quote(schema)}.{quote(name)}", "select", login),
        }
        if schema == "pool":
            rights |= {Right("routine", function, "execute", login) for function in SESSION_FUNCTIONS}
    return rights


def group_rights(database: str, relations: Iterable[str]) -> set[Right]:
    """Every right of the groups, over ``relations`` (``schema.name``, quoted) as there are."""
    rights = {Right("database", quote(database), "connect", group) for group in GROUPS}
    rights.add(Right("database", quote(database), "temporary", PIPELINE))
    rights |= {Right("routine", function, "execute", POOL_ANALYST) for function in SESSION_FUNCTIONS}
    present = tuple(relations)
    for given in GROUP_RIGHTS:
        rights.add(Right("schema", quote(given.schema), "usage", given.group))
        wanted = [f"{given.schema}.{name}" for name in given.relations]
        for relation in wanted or [name for name in present if name.startswith(f"{given.schema}.")]:
            rights |= {Right("table", relation, privilege, given.group) for privilege in given.privileges}
    return rights


def known_relations(agreement: Agreement, evidence_views: Collection[str]) -> set[str]:
    """The relations of the schemas that readers are given as a whole, quoted: what Linkarms makes there and no more."""
    tables = {f"evidence.{table.name}" for table in metadata.tables.values() if table.schema == "evidence"}
    views = {f"evidence.{quote(name)}" for name in ("current_figure", *evidence_views)}
    return tables | views | {f"pool.{quote(name)}" for name in (*agreement.contract.table_names, NOT_COLLECTED)}


_RELATIONS = """
    select format('%I.%I', n.nspname, c.relname)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = any(:schemas) and c.relkind in ('r', 'v', 'm', 'p', 'f') order by 1
"""


def live_relations(conn: Connection) -> tuple[str, ...]:
    """All tables and views of our schemas, as SQL writes them."""
    return tuple(conn.scalars(text(_RELATIONS), {"schemas": list(SCHEMAS)}))


_LIVE_RIGHTS = """
    with object (kind, name, col, owner, acl) as (
        select 'database', format('%I', datname), '', datdba, coalesce(datacl, acldefault('d', datdba))
        from pg_database where datname = current_database()
        union all
        select 'schema', format('%I', nspname), '', nspowner, coalesce(nspacl, acldefault('n', nspowner))
        from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
        union all
        select case c.relkind when 'S' then 'sequence' else 'table' end, format('%I.%I', n.nspname, c.relname), '',
            c.relowner,
            coalesce(c.relacl, acldefault((case c.relkind when 'S' then 's' else 'r' end)::"char", c.relowner))
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any(:schemas) and c.relkind in ('r', 'v', 'm', 'p', 'f', 'S')
        union all
        select 'table', format('%I.%I', n.nspname, c.relname), a.attname, c.relowner, a.attacl
        from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any(:schemas) and a.attacl is not null and not a.attisdropped
        union all
        select 'routine', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), '',
            p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = any(:schemas)
    )
    select o.kind, o.name, lower(e.privilege_type), coalesce(g.rolname, 'public'), o.col,
        o.owner::regrole::text, r.rolname, e.is_grantable
    from object o, aclexplode(o.acl) e
    left join pg_roles g on g.oid = e.grantee join pg_roles r on r.oid = e.grantor
    where e.grantee <> o.owner
    order by 1, 2, 3, 4, 5
"""


def live_rights(conn: Connection) -> tuple[LiveRight, ...]:
    """Every right on the database, its schemas and what is in ours, but those of each object's owner."""
    rows = conn.execute(text(_LIVE_RIGHTS), {"schemas": list(SCHEMAS)}).all()
    return tuple(LiveRight(Right(*row[:5]), row[5], row[6], row[7]) for row in rows)
