"""The agreement's own columns of facts: a recorded plan that only ever adds."""

import json
from dataclasses import dataclass

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, Table, text
from sqlalchemy.schema import CreateTable

from protocol.errors import AgreementError
from protocol.model import Agreement, ColumnType
from protocol.pool import pool_columns
from warehouse.roles import apply_grants
from warehouse.schema import facts

SQL_TYPES = {
    ColumnType.TEXT: "text",
    ColumnType.CODE: "text",
    ColumnType.INTEGER: "bigint",
    ColumnType.DECIMAL: "numeric(18,4)",
    ColumnType.DATE: "date",
}
"""How a pool column is stored, as PostgreSQL writes the type."""


@dataclass(frozen=True)
class AddColumn:
    """One column to add to a table of facts; the table is made where it is missing."""

    table: str
    table_comment: str
    column: str
    type: ColumnType
    comment: str
    """What an analyst reads about it."""


def record_agreement(conn: Connection, agreement: Agreement) -> None:
    """Record the agreement's text by digest, and its calendar. ``conn`` is the owner's; twice changes nothing.

    Raises :class:`AgreementError` where the calendar moves a period under which rows have been loaded.
    """
    conn.execute(
        text(
            "insert into governance.agreement_version (digest, version, recorded_at)"
            " values (:digest, :version, clock_timestamp()) on conflict do nothing"
        ),
        {"digest": agreement.digest, "version": agreement.version},
    )
    for period in agreement.calendar.periods:
        dates = {"period": period.id, "starts": period.starts, "ends": period.ends}
        used = conn.scalar(
            text(
                "select 1 from governance.collection_period p where p.period = :period"
                " and (p.starts, p.ends) <> (:starts, :ends)"
                " and exists (select from governance.submission s where s.period = p.period and s.state = 'loaded')"
            ),
            dates,
        )
        if used:
            raise AgreementError(
                f"The calendar gives period {period.id} other dates than those it was collected under."
            )
        conn.execute(
            text(
                "insert into governance.collection_period (period, starts, ends) values (:period, :starts, :ends)"
                " on conflict (period) do update set starts = excluded.starts, ends = excluded.ends"
            ),
            dates,
        )


def plan_columns(conn: Connection, agreement: Agreement) -> tuple[AddColumn, ...]:
    """The columns that the agreement's pool has and the database lacks, in the agreed order; empty if it has all.

    Raises :class:`AgreementError` where the agreement asks for a column that is there with another type: a column is
    never redefined, since rows that were loaded under it would change their meaning.
    """
    present = _columns(conn)
    additions = []
    for table in agreement.contract.tables:
        known = present.get(table.name, {})
        for column in pool_columns(table):
            found = known.get(column.name)
            if found is not None and found != SQL_TYPES[column.type]:
                raise AgreementError(
                    f"The agreement's {table.name}.{column.name} is {column.type.value}, and the database has it as "
                    f"{found}. Give the new column a name of its own."
                )
            if found is None:
                comment = f"{table.column(column.source).label}. {table.column(column.source).description}".strip()
                additions.append(AddColumn(table.name, table.description, column.name, column.type, comment))
        if not known and not any(addition.table == table.name for addition in additions):
            raise AgreementError(f"Table {table.name} has no column that may go into the pool.")
    return tuple(additions)


def apply_plan(conn: Connection, plan: tuple[AddColumn, ...], agreement_digest: str) -> None:
    """Add the plan's columns in the caller's transaction and record them; an empty plan changes nothing.

    ``conn`` is the owner's. A column that has appeared meanwhile is left as it is.
    """
    if not plan:
        return
    conn.execute(text("select pg_advisory_xact_lock(hashtext('linkarms plan'))"))
    present = _columns(conn)
    quote = conn.dialect.identifier_preparer.quote
    for addition in plan:
        if addition.table not in present:
            _make_table(conn, addition.table, addition.table_comment)
            present[addition.table] = {}
        target = f"{facts.SCHEMA}.{quote(addition.table)}"
        name = quote(addition.column)
        conn.exec_driver_sql(f"alter table {target} add column if not exists {name} {SQL_TYPES[addition.type]}")
        _comment(conn, f"column {target}.{name}", addition.comment)
    columns = [{"table": a.table, "column": a.column, "type": a.type.value, "comment": a.comment} for a in plan]
    conn.execute(
        text(
            "insert into governance.applied_plan (agreement_digest, applied_at, columns)"
            " values (:digest, clock_timestamp(), cast(:columns as jsonb))"
        ),
        {"digest": agreement_digest, "columns": json.dumps(columns)},
    )
    apply_grants(conn)


def facts_tables(conn: Connection) -> tuple[str, ...]:
    """Names of all tables of facts that hold submissions' rows, the core's and the agreement's own."""
    return tuple(sorted(name for name, columns in _columns(conn).items() if "submission_id" in columns))


def facts_columns(conn: Connection, table: str) -> tuple[str, ...]:
    """Names of a facts table's columns in their order; empty where there is no such table."""
    return tuple(_columns(conn).get(table, {}))


def _columns(conn: Connection) -> dict[str, dict[str, str]]:
    """Table of facts -> column -> type, as the database has them."""
    found: dict[str, dict[str, str]] = {}
    rows = conn.execute(
        text(
            "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod) from pg_class c"
            " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
            " where c.relnamespace = cast(:schema as regnamespace) and c.relkind in ('r', 'p')"
            " order by c.relname, a.attnum"
        ),
        {"schema": facts.SCHEMA},
    )
    for table, column, type_ in rows:
        found.setdefault(table, {})[column] = type_
    return found


def _make_table(conn: Connection, name: str, comment: str) -> None:
    table = Table(
        name,
        MetaData(),
        *(
            Column(c.name, c.type, nullable=c.nullable, server_default=c.server_default)
            for c in facts.platform_columns()
        ),
        PrimaryKeyConstraint("submission_id", "row_key", name=f"pk_{name}"),
        schema=facts.SCHEMA,
    )
    conn.execute(CreateTable(table))
    quoted = f"{facts.SCHEMA}.{conn.dialect.identifier_preparer.quote(name)}"
    _comment(conn, f"table {quoted}", comment)
    for column in facts.platform_columns():
        _comment(conn, f"column {quoted}.{column.name}", str(column.comment))


def _comment(conn: Connection, what: str, comment: str) -> None:
    quoted = comment.replace("'", "''").replace("%", "%%")
    conn.exec_driver_sql(f"comment on {what} is '{quoted}'")
