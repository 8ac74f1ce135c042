"""Rows that were loaded under an earlier version of the agreement, made what its upgrade says of them.

The one place where agreed values of facts are changed. Pseudonyms stay: an upgrade keeps tables, keys and
pseudonymised columns (:mod:`protocol.upgrade`), so only values that the declared mapping names change, and only once.
"""

from psycopg import sql
from sqlalchemy import Connection, text

from protocol.errors import AgreementError
from protocol.model import Agreement, ColumnType, Generalisation, Table, TableUpgrade, Treatment
from protocol.pool import PoolColumn, pool_columns
from protocol.versions import fill_for_missing
from warehouse.audit import record_event
from warehouse.loading import ACTOR, FACTS_LOCK
from warehouse.plan import SQL_TYPES
from warehouse.roles import driver
from warehouse.schema import facts


def upgrade_rows(conn: Connection, agreement: Agreement) -> dict[str, int]:
    """Carry rows over that the database holds by the version before, and return how many by table.

    ``conn`` is the owner's and the agreement's plan has to be applied; the caller commits. Twice changes nothing. A
    code column that the version before did not collect gets ``not_collected``, any other is null. A new number before
    the point alone needs it: a version that only adds columns leaves rows as they are.

    Raises :class:`AgreementError` where the database holds rows of a version of which the agreement does not say how
    they become rows of its own.
    """
    conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": FACTS_LOCK})
    held = conn.scalars(
        text(
            "select distinct rows_version from governance.submission"
            " where rows_version is not null and rows_version <> :now order by 1"
        ),
        {"now": agreement.version},
    ).all()
    upgraded: dict[str, int] = {}
    for version in held:
        if agreement.earlier is not None and version == agreement.earlier.contract.version:
            upgraded = _upgrade_from(conn, agreement, version)
        elif version.partition(".")[0] != agreement.version.partition(".")[0]:
            raise AgreementError(
                f"The database holds rows of version {version}, and the agreement ({agreement.version}) does not say "
                f"how they become its own. Name version {version} under versions, with an upgrade.yaml."
            )
        conn.execute(
            text("update governance.submission set rows_version = :now where rows_version = :before"),
            {"now": agreement.version, "before": version},
        )
        record_event(conn, ACTOR, "facts.upgraded", version, {"to": agreement.version, "rows": sum(upgraded.values())})
    return upgraded


def _upgrade_from(conn: Connection, agreement: Agreement, version: str) -> dict[str, int]:
    assert agreement.earlier is not None
    upgraded = {}
    for table in agreement.contract.tables:
        how = agreement.earlier.upgrade.table(table.name)
        if not how.collected:
            continue
        changes = _changes(agreement.earlier.contract.table(table.name), table, how)
        if changes:
            statement = sql.SQL(
                "update {schema}.{table} f set {changes} from governance.submission s"
                " where s.submission_id = f.submission_id and s.rows_version = {version} and not f.deleted"
            ).format(
                schema=sql.Identifier(facts.SCHEMA),
                table=sql.Identifier(table.name),
                changes=sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in changes.items()
                ),
                version=sql.Literal(version),
            )
            query = statement.as_string(driver(conn)).replace("%", "%%")
            upgraded[table.name] = conn.exec_driver_sql(query).rowcount
    return upgraded


def _changes(old: Table, new: Table, how: TableUpgrade) -> dict[str, sql.Composable]:
    """Pool column -> its value in terms of the row ``f`` as it stands; those that stay as they are are left out."""
    before = {column.source: column for column in pool_columns(old)}
    changes: dict[str, sql.Composable] = {}
    for column in pool_columns(new):
        fed = how.column(column.source)
        if fed.source is None:
            changes[column.name] = sql.Literal(fill_for_missing(column.type))
            continue
        stood = before.get(fed.source)
        if stood is not None and fed.keeps_values and (stood.name, stood.kind) == (column.name, column.kind):
            continue
        value = _carried(stood, column) if stood is not None else sql.NULL
        if fed.codes or fed.otherwise is not None:
            value = _coded(value, fed.codes, fed.otherwise)
        if fed.empty is not None:
            value = sql.SQL("coalesce({}, {})").format(value, sql.Literal(fed.empty))
        changes[column.name] = value
    return changes


def _carried(stood: PoolColumn, column: PoolColumn) -> sql.Composable:
    """What stood in the pool, as coarse as the new column is; null where it cannot be made so."""
    value: sql.Composable = sql.SQL("f.{}").format(sql.Identifier(stood.name))
    if stood.kind is not column.kind:
        if (stood.kind, column.generalisation) == (Treatment.KEEP, Generalisation.MONTH):
            return sql.SQL("date_trunc('month', {})::date").format(value)
        return sql.NULL
    if stood.type is column.type or {stood.type, column.type} <= {ColumnType.TEXT, ColumnType.CODE}:
        return value
    return sql.SQL("{}::{}").format(value, sql.SQL(SQL_TYPES[column.type]))


def _coded(value: sql.Composable, codes: dict[str, str], otherwise: str | None) -> sql.Composable:
    """The value by the map of codes; other values stay, or become ``otherwise``."""
    whens = sql.SQL(" ").join(
        sql.SQL("when {} then {}").format(sql.Literal(old), sql.Literal(new)) for old, new in codes.items()
    )
    cell = sql.SQL("({})::text").format(value)
    rest = (
        cell
        if otherwise is None
        else sql.SQL("case when {} is not null then {} end").format(cell, sql.Literal(otherwise))
    )
    return sql.SQL("case {} {} else {} end").format(cell, whens, rest) if codes else rest
