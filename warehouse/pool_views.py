"""The schema ``pool``: the published snapshot's rows for analysts with a grant, by that grant's own pseudonyms.

What an analyst can and cannot see (kept by ``tests/integration/warehouse/test_pool_views.py``):

- persons by ``published_id``, the pseudonym of the grant of the session's login; without a grant that holds today a
  view is empty;
- no ``person_ref``, no ``row_key``, no submission, and no value that a second grant would see as well: numbers of
  enrolments, assessments and the like are hashed with the grant's id, so that they join within a grant only;
- nothing of a client who must not be linked: the flag itself would tell of a refuge or a protected identity. Rows of a
  client whose own record is not in the snapshot are left out too: nothing says that they may be shown.
"""

from psycopg import sql
from sqlalchemy import Connection

from protocol.model import Agreement, Table, Treatment
from protocol.pool import PoolColumn, pool_columns
from warehouse.roles import apply_grants, driver
from warehouse.snapshot import link_query, open_clients_query, rows_query

_HIDDEN = frozenset({"do_not_link"})
_PUBLISHED = sql.SQL("(select snapshot_id from evidence.release where state = 'published')")
_AUDIENCE = sql.SQL("(select governance.session_audience())")


def ensure_pool_views(conn: Connection, agreement: Agreement) -> tuple[str, ...]:
    """Make the pool's views what the agreement says, with comments, and return their names.

    ``conn`` is the database owner's and the caller commits, so analysts see the old views or the new ones. The
    agreement's plan has to be applied.
    """
    driver(conn).execute("select pg_advisory_xact_lock(hashtext('linkarms pool views'))")
    for (name,) in driver(conn).execute("select viewname from pg_views where schemaname = 'pool'").fetchall():
        _run(conn, sql.SQL("drop view pool.{} cascade").format(sql.Identifier(name)))
    for table in agreement.contract.tables:
        _make_view(conn, table)
    apply_grants(conn)
    return agreement.contract.table_names


def _make_view(conn: Connection, table: Table) -> None:
    columns = [column for column in pool_columns(table) if column.name not in _HIDDEN]
    about_person = table.person_column is not None
    selected: list[sql.Composable] = [sql.SQL("r.partner_id"), sql.SQL("r.period")]
    comments = {"partner_id": "The partner that sent the row.", "period": "The collection period it was sent for."}
    joins: list[sql.Composable] = []
    conditions: list[sql.Composable] = [sql.SQL("{} is not null").format(_AUDIENCE)]
    if about_person:
        selected.insert(0, sql.SQL("i.published_id"))
        comments["published_id"] = (
            "The person, by a pseudonym of this grant alone. Null where the record cannot be linked to others."
        )
        joins += [
            sql.SQL("left join ({}) l using (partner_id, person_ref)").format(link_query(_PUBLISHED)),
            sql.SQL("left join linkage.published_id i on i.person_id = l.person_id and i.audience = {}").format(
                _AUDIENCE
            ),
        ]
        conditions.append(
            sql.SQL("(r.partner_id, r.person_ref) in (select o.partner_id, o.person_ref from ({}) o)").format(
                open_clients_query(_PUBLISHED)
            )
        )
    if table.name == "assessment":
        selected += [sql.SQL(f"m.{name}") for name in ("mark", "repeats_partner_id", "days_since")]
        comments["mark"] = "of_record, repeat (of another partner's assessment) or review (of the partner's own)."
        comments["repeats_partner_id"] = "Partner of the assessment that it repeats."
        comments["days_since"] = "Days since the assessment that it repeats."
        joins.append(
            sql.SQL(
                "left join facts.assessment_mark m on m.snapshot_id = {}"
                " and m.partner_id = r.partner_id and m.row_key = r.row_key"
            ).format(_PUBLISHED)
        )
    for column in columns:
        selected.append(_column(column))
        source = table.column(column.source)
        comments[column.name] = f"{source.label}. {source.description}"
        if column.kind is Treatment.PSEUDONYMISE:
            comments[column.name] += " A pseudonym of this grant alone."
    _run(
        conn,
        sql.SQL("create view pool.{} with (security_barrier) as select {} from ({}) r {} where {}").format(
            sql.Identifier(table.name),
            sql.SQL(", ").join(selected),
            rows_query(table.name, _PUBLISHED),
            sql.SQL(" ").join(joins),
            sql.SQL(" and ").join(conditions),
        ),
    )
    view = sql.SQL("pool.{}").format(sql.Identifier(table.name))
    note = f"{table.description} Rows of the release that is published now; personal data."
    _run(conn, sql.SQL("comment on view {} is {}").format(view, sql.Literal(note)))
    for name, comment in comments.items():
        _run(
            conn,
            sql.SQL("comment on column {}.{} is {}").format(view, sql.Identifier(name), sql.Literal(comment)),
        )


def _column(column: PoolColumn) -> sql.Composed:
    name = sql.Identifier(column.name)
    if column.kind is not Treatment.PSEUDONYMISE:
        return sql.SQL("r.{}").format(name)
    # The pooled value is a keyed pseudonym of 128 bits that no analyst sees, so no two grants' hashes can be matched.
    return sql.SQL("left(encode(sha256(convert_to({} || ':' || r.{}, 'UTF8')), 'hex'), 32) as {}").format(
        _AUDIENCE, name, name
    )


def _run(conn: Connection, statement: sql.Composed) -> None:
    conn.exec_driver_sql(statement.as_string(driver(conn)).replace("%", "%%"))
