"""The schema ``pool``: the published snapshot's rows for analysts with a grant, by its pseudonyms and for its purposes.

What an analyst can and cannot see (kept by ``tests/integration/warehouse/test_pool_views.py``):

- persons by ``published_id``, the pseudonym of the grant of the session's login; without a grant that holds today a
  view is empty;
- a column only where it is shared for one of the grant's purposes, and null in every row otherwise; a view without any
  such column is empty. A value that is not shown takes part in no condition either: what a query can ask is the null;
- no ``person_ref``, no ``row_key``, no submission, and no value that a second grant would see as well: numbers of
  enrolments, assessments and the like are hashed with the grant's id, so that they join within a grant only;
- nothing of a client who must not be linked: the flag itself would tell of a refuge or a protected identity. Rows of a
  client whose own record is not in the snapshot are left out too: nothing says that they may be shown. So are rows that
  belong to a client only by what they refer to, such as the answers of an assessment. No condition of a query is tried
  on such a row, or a plan with its counts (``explain analyze``) would say whether one meets it; how many rows there
  are in all it does say.
"""

from collections.abc import Sequence

from psycopg import sql
from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError

from protocol.model import Agreement, Contract, Table, Treatment
from protocol.pool import PoolColumn, analyst_columns, mark_purposes, row_purposes
from protocol.versions import NOT_COLLECTED, not_collected_in_pool
from warehouse.roles import apply_grants, driver
from warehouse.snapshot import link_query, open_clients_query, rows_query

_PUBLISHED = sql.SQL("(select snapshot_id from evidence.release where state = 'published')")
_AUDIENCE = sql.SQL("(select governance.session_audience())")

_CLIENTS = """
create or replace function governance.pool_clients()
returns table (partner_id text, person_ref text, published_id text)
language sql stable security definer rows 100000
set search_path = pg_catalog, pg_temp
set enable_nestloop = off
as $$
    select o.partner_id, o.person_ref, i.published_id from ({open_clients}) o
    left join ({links}) l using (partner_id, person_ref)
    left join linkage.published_id i on i.person_id = l.person_id and i.audience = {audience}
    where {audience} is not null
$$
"""
"""A function and no part of the views, because the planner cannot know how many clients a snapshot has: it took them
for two, and compared each of 20,000 rows with each client (over 8 s in the place of 0.1 s)."""

MARK_COLUMNS = {
    "mark": "of_record, repeat (of another partner's assessment) or review (of the partner's own).",
    "repeats_partner_id": "Partner of the assessment that it repeats.",
    "days_since": "Days since the assessment that it repeats.",
}
"""Columns that the view of assessments has besides the agreed ones, and what each says."""


def ensure_pool_views(conn: Connection, agreement: Agreement) -> tuple[str, ...]:
    """Make the pool's views what the agreement says, with comments, and return their names.

    ``conn`` is the database owner's and the caller commits, so analysts see the old views or the new ones. The
    agreement's plan has to be applied.
    """
    driver(conn).execute("select pg_advisory_xact_lock(hashtext('linkarms pool views'))")
    for (name,) in driver(conn).execute("select viewname from pg_views where schemaname = 'pool'").fetchall():
        _run(conn, sql.SQL("drop view pool.{} cascade").format(sql.Identifier(name)))
    _make_all(conn, agreement, "pool")
    apply_grants(conn)
    return agreement.contract.table_names


_DEFINED = """
    select c.relname, pg_get_viewdef(c.oid), c.reloptions from pg_class c
    join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relkind = 'v'
    union all select '', pg_get_functiondef('governance.pool_clients()'::regprocedure), null
"""
_ATTEMPT = "linkarms_attempt"


def find_altered_views(conn: Connection, agreement: Agreement) -> tuple[str, ...]:
    """Names of the pool's views that are missing or do not say what :func:`ensure_pool_views` would make them say.

    All of them where the function that they stand on was altered, or the agreement's plan is not applied. Tried in a
    schema that is never kept, so that nobody who is reading has to be waited for. ``conn`` is the database owner's.
    """
    names = (*agreement.contract.table_names, NOT_COLLECTED)
    attempt = conn.begin_nested()
    try:
        found = {row[0]: row[1:] for row in driver(conn).execute(_DEFINED, ("pool",)).fetchall()}
        _run(conn, sql.SQL("create schema {}").format(sql.Identifier(_ATTEMPT)))
        _make_all(conn, agreement, _ATTEMPT)
        wanted = {row[0]: row[1:] for row in driver(conn).execute(_DEFINED, (_ATTEMPT,)).fetchall()}
    except ProgrammingError:
        return names
    finally:
        attempt.rollback()
    if found[""] != wanted[""]:
        return names
    return tuple(name for name in names if found.get(name) != wanted[name])


def _make_all(conn: Connection, agreement: Agreement, schema: str) -> None:
    _run(
        conn,
        sql.SQL(_CLIENTS).format(
            open_clients=open_clients_query(_PUBLISHED), links=link_query(_PUBLISHED), audience=_AUDIENCE
        ),
    )
    for table in agreement.contract.tables:
        _make_view(conn, agreement.contract, table, schema)
    _make_not_collected(conn, agreement, schema)


def _make_view(conn: Connection, contract: Contract, table: Table, schema: str) -> None:
    view = sql.Identifier(schema, table.name)
    about_person = table.person_column is not None
    selected: list[sql.Composable] = [sql.SQL(name) for name in ("r.partner_id", "r.period", "v.agreement_version")]
    comments = {
        "partner_id": "The partner that sent the row.",
        "period": "The collection period it was sent for.",
        "agreement_version": "The version of the agreement that it was sent by. What an earlier one did not ask for is "
        f"listed in pool.{NOT_COLLECTED}.",
    }
    joins: list[sql.Composable] = [
        sql.SQL("join (select submission_id, agreement_version from governance.submission) v using (submission_id)")
    ]
    conditions: list[sql.Composable] = [sql.SQL("{} is not null").format(_AUDIENCE), _is_for(row_purposes(table))]
    if about_person:
        selected.insert(0, sql.SQL("c.published_id"))
        comments["published_id"] = (
            "The person, by a pseudonym of this grant alone. Null where the record cannot be linked to others."
        )
        joins.append(sql.SQL("join governance.pool_clients() c using (partner_id, person_ref)"))
    else:
        conditions += _of_clients_above(contract, table, "r")
    if table.name == "assessment":
        purposes = mark_purposes(table)
        for name, comment in MARK_COLUMNS.items():
            selected.append(_shown(sql.SQL(f"m.{name}"), name, purposes))
            comments[name] = comment + _told_purposes(purposes)
        joins.append(
            sql.SQL(
                "left join facts.assessment_mark m on m.snapshot_id = {}"
                " and m.partner_id = r.partner_id and m.row_key = r.row_key"
            ).format(_PUBLISHED)
        )
    for column in analyst_columns(table):
        source = table.column(column.source)
        selected.append(_shown(_value(column), column.name, source.purposes))
        comments[column.name] = f"{source.label}. {source.description}"
        if column.kind is Treatment.PSEUDONYMISE:
            comments[column.name] += " A pseudonym of this grant alone."
        comments[column.name] += _told_purposes(source.purposes)
    _run(
        conn,
        # Behind an offset no condition of a query gets at rows that the view leaves out.
        sql.SQL("create view {} with (security_barrier) as select {} from ({}) r {} where {} offset 0").format(
            view,
            sql.SQL(", ").join(selected),
            rows_query(table.name, _PUBLISHED),
            sql.SQL(" ").join(joins),
            sql.SQL(" and ").join(conditions),
        ),
    )
    note = f"{table.description} Rows of the release that is published now; personal data."
    _run(conn, sql.SQL("comment on view {} is {}").format(view, sql.Literal(note)))
    for name, comment in comments.items():
        _run(
            conn,
            sql.SQL("comment on column {}.{} is {}").format(view, sql.Identifier(name), sql.Literal(comment)),
        )


def _of_clients_above(contract: Contract, table: Table, row: str) -> list[sql.Composable]:
    """Conditions that a row without a client of its own belongs to rows of clients who may be shown.

    One for each reference that leads to people; none where rows are about nobody. ``is true`` keeps the planner from
    making a join of it, which it would do row by row, since it takes a snapshot for small.
    """
    conditions: list[sql.Composable] = []
    for reference in table.references:
        if not contract.is_about_people(reference.to_table):
            continue
        parent, above = contract.table(reference.to_table), f"{row}_{reference.to_table}"
        rows: sql.Composable = sql.SQL("({}) {}").format(rows_query(parent.name, _PUBLISHED), sql.Identifier(above))
        if parent.person_column is not None:
            rows = sql.SQL("{} join governance.pool_clients() c using (partner_id, person_ref)").format(rows)
        else:
            inner = _of_clients_above(contract, parent, above)
            rows = sql.SQL("{} where {}").format(rows, sql.SQL(" and ").join(inner))
        conditions.append(
            sql.SQL("(({}) in (select {} from {})) is true").format(
                _columns(row, reference.columns), _columns(above, reference.to_columns), rows
            )
        )
    return conditions


def _columns(row: str, names: Sequence[str]) -> sql.Composable:
    """Partner and columns of a row, in one list."""
    return sql.SQL(", ").join(sql.Identifier(row, name) for name in ("partner_id", *names))


def _make_not_collected(conn: Connection, agreement: Agreement, schema: str) -> None:
    """The view that tells an empty cell that was never asked for from one that was not answered."""
    rows: list[sql.Composable] = [
        sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, (entry.version, entry.table, entry.column))))
        for entry in not_collected_in_pool(agreement)
    ]
    values = sql.SQL(", ").join(rows or [sql.SQL("(null, null, null)")])
    view = sql.Identifier(schema, NOT_COLLECTED)
    _run(
        conn,
        sql.SQL(
            "create view {} as select agreement_version, table_name, column_name"
            " from (values {}) n (agreement_version, table_name, column_name) where agreement_version is not null"
        ).format(view, values),
    )
    note = (
        "What rows of an earlier version of the agreement were never asked for. There a code is not_collected and any "
        "other column is null, which is not the same as asked and not answered."
    )
    comments = {
        "agreement_version": "The version that did not ask for it.",
        "table_name": "The view of the pool.",
        "column_name": "Its column.",
    }
    _run(conn, sql.SQL("comment on view {} is {}").format(view, sql.Literal(note)))
    for name, comment in comments.items():
        _run(
            conn,
            sql.SQL("comment on column {}.{} is {}").format(view, sql.Identifier(name), sql.Literal(comment)),
        )


def _is_for(purposes: Sequence[str]) -> sql.Composed:
    """True where the session's grant is for one of these. A subquery of its own, so it is worked out once a query."""
    names = sql.SQL(", ").join(map(sql.Literal, purposes))
    return sql.SQL("(select governance.session_purposes() && array[{}]::text[])").format(names)


def _shown(value: sql.Composable, name: str, purposes: Sequence[str]) -> sql.Composed:
    """A column of a view: the value to a session whose grant is for one of ``purposes``, null to every other."""
    return sql.SQL("case when {} then {} end as {}").format(_is_for(purposes), value, sql.Identifier(name))


def _told_purposes(purposes: Sequence[str]) -> str:
    return f" Shown for: {', '.join(purposes) or 'no purpose'}; null to grants for other purposes."


def _value(column: PoolColumn) -> sql.Composed:
    name = sql.Identifier(column.name)
    if column.kind is not Treatment.PSEUDONYMISE:
        return sql.SQL("r.{}").format(name)
    # The pooled value is a keyed pseudonym of 128 bits that no analyst sees, so no two grants' hashes can be matched.
    return sql.SQL("left(encode(sha256(convert_to({} || ':' || r.{}, 'UTF8')), 'hex'), 32)").format(_AUDIENCE, name)


def _run(conn: Connection, statement: sql.Composed) -> None:
    conn.exec_driver_sql(statement.as_string(driver(conn)).replace("%", "%%"))
