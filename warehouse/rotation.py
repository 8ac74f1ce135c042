"""Pseudonyms in the database after the keys have changed: what holds them, and how they are renewed.

Keys are nowhere here: whoever calls hands in a function that renews a column of one domain. Which columns there are
follows from the schema's MetaData, from the tables of facts that the database has, and from the agreement's pool; a
column of pseudonyms that is found by none of these fails
``tests/integration/pipeline/test_rotation.py::test_no_column_holds_a_pseudonym_that_rotation_does_not_know_of``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from psycopg import sql
from sqlalchemy import Column, Connection, CursorResult, text

from protocol.errors import DefectFound, KeyUnavailable, NotYet
from protocol.model import Agreement, Treatment
from protocol.pool import PERSON_DOMAIN, PERSON_REF, ROW_KEY, PseudonymDomain, number_domain, pool_columns, row_domain
from warehouse.audit import AuditValue, record_event
from warehouse.loading import FACTS_LOCK
from warehouse.lookups import count_separations, read_key_id
from warehouse.plan import facts_columns, facts_tables
from warehouse.roles import driver
from warehouse.schema import facts, metadata
from warehouse.schema.base import PSEUDONYM
from warehouse.transfer import copy_in, copy_out_all, pack_frame, unpack_frame

LINKAGE_LOCK = "linkarms linkage"
"""Name of the advisory lock under which the registry is changed."""

CHUNK_ROWS = 200_000
"""Distinct pseudonyms that are in memory at one time."""

Renew = Callable[[PseudonymDomain, pl.Series], pl.Series]
"""Gives, for stored pseudonyms of one domain (text), those that take their place."""


@dataclass(frozen=True, order=True)
class PseudonymColumn:
    """A column that holds keyed pseudonyms."""

    schema: str
    table: str
    column: str
    purpose: str
    field: str | None
    """The field of their domain; None where it differs by row."""
    field_column: str | None = None
    """The column that has it then."""

    @property
    def relation(self) -> tuple[str, str]:
        """Schema and table."""
        return self.schema, self.table


@dataclass(frozen=True)
class RotationCounts:
    """What was renewed, or would be."""

    distinct: int
    """Distinct tokens and pseudonyms."""
    rows: Mapping[str, int]
    """Rows that hold any, by table."""


@dataclass(frozen=True)
class ResubmissionCost:
    """What has to come again where the rows' own K1 is given up."""

    submissions: int
    """Submissions in force, deltas and corrections among them."""
    partners: int
    full_extracts: int
    """Pairs of partner and period: what comes again is one full extract for each."""
    rows: int


# --- where pseudonyms are ---------------------------------------------------------------------------------------------


def pseudonym_columns(conn: Connection, agreement: Agreement) -> tuple[PseudonymColumn, ...]:
    """Every column of the database that holds keyed pseudonyms, sorted.

    Raises :class:`DefectFound` where a column of the core has some and the agreement does not say of which domain.
    """
    found = set()
    undecided = []
    for table in metadata.tables.values():
        for column in table.columns:
            known = _domain_by_metadata(str(table.schema), table.name, column)
            if known is not None:
                found.add(PseudonymColumn(str(table.schema), table.name, column.name, *known))
            elif PSEUDONYM in column.info:
                undecided.append((table.name, column.name))
    for name in facts_tables(conn):  # the agreement's own tables are in no MetaData
        found.add(PseudonymColumn(facts.SCHEMA, name, PERSON_REF, *PERSON_DOMAIN))
        found.add(PseudonymColumn(facts.SCHEMA, name, ROW_KEY, *row_domain(name)))
    for agreed in agreement.contract.tables:
        present = facts_columns(conn, agreed.name)
        for pooled in pool_columns(agreed):
            if pooled.kind is Treatment.PSEUDONYMISE and pooled.name in present:
                domain = number_domain(agreement.contract, agreed, pooled.source)
                found.add(PseudonymColumn(facts.SCHEMA, agreed.name, pooled.name, *domain))
    decided = {(column.table, column.column) for column in found}
    for table_name, column_name in undecided:
        if (table_name, column_name) not in decided and _has_values(conn, table_name, column_name):
            raise DefectFound(
                f"facts.{table_name}.{column_name} holds pseudonyms, and the agreement does not say of what."
            )
    return tuple(sorted(found, key=lambda column: (column.schema, column.table, column.column)))


def _domain_by_metadata(schema: str, table: str, column: "Column[object]") -> tuple[str, str | None, str | None] | None:
    if PSEUDONYM in column.info:
        purpose, field, field_column = column.info[PSEUDONYM]
        return None if purpose is None else (purpose, field, field_column)
    if column.name == PERSON_REF or column.name.endswith(f"_{PERSON_REF}"):
        return *PERSON_DOMAIN, None
    if schema == facts.SCHEMA and column.name == ROW_KEY:
        return *row_domain(table), None
    return None


def _has_values(conn: Connection, table: str, column: str) -> bool:
    query = sql.SQL("select exists (select from {} where {} is not null)").format(
        sql.Identifier(facts.SCHEMA, table), sql.Identifier(column)
    )
    row = _run(conn, query).fetchone()
    return bool(row and row[0])


def count_pseudonyms(conn: Connection, agreement: Agreement) -> RotationCounts:
    """What a rotation would renew."""
    columns = pseudonym_columns(conn, agreement)
    counted = sql.SQL("select count(*) from ({}) p").format(_stored_query(columns))
    row = _run(conn, counted).fetchone()
    return RotationCounts(int(row[0]) if row else 0, _count_rows(conn, columns))


def _count_rows(conn: Connection, columns: Sequence[PseudonymColumn]) -> dict[str, int]:
    counts = {}
    for schema, table in sorted({column.relation for column in columns}):
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
        row = _run(conn, query).fetchone()
        counts[f"{schema}.{table}"] = int(row[0]) if row else 0
    return counts


def _stored_query(columns: Sequence[PseudonymColumn]) -> sql.Composable:
    """SELECT of purpose, field and pseudonym of everything that the columns hold, each once."""
    return sql.SQL(" union ").join(
        sql.SQL("select {}::text as purpose, {} as field, {} as old from {} where {} is not null").format(
            sql.Literal(column.purpose),
            _field(column),
            sql.Identifier(column.column),
            sql.Identifier(*column.relation),
            sql.Identifier(column.column),
        )
        for column in columns
    )


def _field(column: PseudonymColumn, row: str | None = None) -> sql.Composable:
    if column.field_column is None:
        return sql.SQL("{}::text").format(sql.Literal(column.field))
    return sql.Identifier(column.field_column) if row is None else sql.Identifier(row, column.field_column)


# --- renewing ---------------------------------------------------------------------------------------------------------


def hold_still(conn: Connection, agreement: Agreement) -> None:
    """Until the transaction ends, nothing is loaded, linked, erased or purged; what is under way is waited for.

    Readers go on and see everything as it was.
    """
    conn.execute(text("select pg_advisory_xact_lock(hashtext(:name))"), {"name": LINKAGE_LOCK})
    conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": FACTS_LOCK})
    # A load inserts its submission before it looks which keys are in force, so it is over or has to wait.
    relations = sorted({column.relation for column in pseudonym_columns(conn, agreement)})
    for relation in [("governance", "submission"), ("linkage", "encoding"), ("linkage", "compared"), *relations]:
        statement = sql.SQL("lock table {} in share row exclusive mode").format(sql.Identifier(*relation))
        _run(conn, statement)


def rotate_pseudonyms(
    conn: Connection,
    agreement: Agreement,
    renew: Renew,
    renew_encodings: Callable[[pl.DataFrame], pl.DataFrame],
    *,
    before: str,
    after: str,
    actor: str,
    reason: str,
) -> RotationCounts:
    """Renew every stored token and pseudonym in the caller's transaction, and record it: the database's owner alone.

    ``renew`` is asked for each domain, chunk by chunk; the new values go back by COPY and no key comes near the
    database. ``renew_encodings`` is asked for each packed frame of encodings. ``before`` and ``after`` are ids of the
    key ring, ``k1.<16 hex>-k2.<16 hex>``; rows whose ids differ in K1 alone (an earlier one, whose rows are set aside)
    are renewed as well. Persons, their ids, separations, marks and releases keep what they say: all that names a
    record is renewed with it.

    Raises :class:`KeyUnavailable` where there are rows of another K2, and :class:`NotYet` where somebody else has
    rotated meanwhile or the database is lost.
    """
    hold_still(conn, agreement)
    if read_key_id(conn) not in (None, before):
        raise NotYet("The keys have been rotated by somebody else meanwhile. Look with `linkarms keys list`.")
    chain_before, chain_after = (f"-k2.{key_id.partition('-k2.')[2]}" for key_id in (before, after))
    strangers = conn.scalars(
        text(
            "select distinct key_id from governance.submission"
            " where state in ('loaded', 'superseded') and right(key_id, length(:chain)) <> :chain order by 1"
        ),
        {"chain": chain_before},
    ).all()
    if strangers:
        raise KeyUnavailable(
            f"The warehouse has rows that were made with the keys {strangers[0]}, which the ring lacks."
        )
    packed = _repack(conn, renew_encodings)
    # Digests of the former tokens: of no use any more, and whoever has the former keys could try guesses on them.
    conn.execute(text("delete from linkage.compared"))
    columns = pseudonym_columns(conn, agreement)
    # For sorting and joining; it ends with the transaction. A table has up to five columns, each a join of its own.
    conn.execute(text("set local work_mem = '64MB'"))
    distinct = _renew_all(conn, columns, renew)
    rows = {"linkage.encoding": packed}
    for schema, table in sorted({column.relation for column in columns}):
        chosen = [column for column in columns if column.relation == (schema, table)]
        rows[f"{schema}.{table}"] = _replace(conn, chosen)
    for name in ("stored_pseudonym", "renewed_pseudonym"):
        conn.execute(text(f"drop table pg_temp.{name}"))
    conn.execute(
        text(
            "update governance.submission set key_id = left(key_id, -length(:old)) || :new"
            " where right(key_id, length(:old)) = :old"
        ),
        {"old": chain_before, "new": chain_after},
    )
    record_key_change(conn, "K2", before, after)
    detail: dict[str, AuditValue] = {
        "layer": "K2",
        "before": before,
        "distinct": distinct,
        "rows": sum(rows.values()),
        "reason": reason,
    }
    record_event(conn, actor, "keys.rotated", after, detail)
    return RotationCounts(distinct, rows)


def _repack(conn: Connection, renew_encodings: Callable[[pl.DataFrame], pl.DataFrame]) -> int:
    """Renew every packed frame of encodings, one at a time; returns how many."""
    parts = conn.execute(text("select submission_id, part from linkage.encoding order by 1, 2")).all()
    for submission_id, part in parts:
        key = {"id": submission_id, "part": part}
        stored = conn.scalar(
            text("select content from linkage.encoding where submission_id = :id and part = :part"), key
        )
        renewed = pack_frame(renew_encodings(unpack_frame(bytes(stored or b""))))
        conn.execute(
            text("update linkage.encoding set content = :content where submission_id = :id and part = :part"),
            {**key, "content": renewed},
        )
    return len(parts)


def record_key_change(conn: Connection, layer: str, before: str, after: str) -> None:
    """Record which keys are in force from now on. The database's owner alone may."""
    conn.execute(
        text("insert into governance.key_change (layer, before_key_id, after_key_id) values (:layer, :before, :after)"),
        {"layer": layer, "before": before, "after": after},
    )


def _renew_all(conn: Connection, columns: Sequence[PseudonymColumn], renew: Renew) -> int:
    """Fill ``pg_temp.renewed_pseudonym`` (purpose, field, old, new); returns how many."""
    conn.execute(text("create temporary table stored_pseudonym (place bigint, purpose text, field text, old text)"))
    filled = sql.SQL(
        "insert into stored_pseudonym"
        " select row_number() over (order by purpose, field), purpose, field, old from ({}) p"
    ).format(_stored_query(columns))
    distinct = _run(conn, filled).rowcount
    conn.execute(text("create index on stored_pseudonym using brin (place)"))
    conn.execute(text("create temporary table renewed_pseudonym (purpose text, field text, old text, new text)"))
    ranges = conn.execute(
        text("select purpose, field, min(place), max(place) from stored_pseudonym group by 1, 2 order by 3")
    ).all()
    for purpose, field, first, last in ranges:
        constants = {"purpose": str(purpose), "field": str(field)}
        for start in range(first, last + 1, CHUNK_ROWS):
            query = sql.SQL("select old from stored_pseudonym where place between {} and {}").format(
                sql.Literal(start), sql.Literal(min(start + CHUNK_ROWS - 1, last))
            )
            stored = copy_out_all(conn, query, {"old": pl.String})
            renewed = renew(PseudonymDomain(**constants), stored["old"])
            copy_in(conn, "pg_temp", "renewed_pseudonym", stored.with_columns(new=renewed), constants)
    conn.execute(text("analyze pg_temp.renewed_pseudonym"))
    complete = conn.scalar(text("select count(*) from renewed_pseudonym where new is not null"))
    if complete != distinct:
        raise DefectFound("Renewing has left pseudonyms out; nothing was changed.")
    return distinct


def _replace(conn: Connection, columns: Sequence[PseudonymColumn]) -> int:
    """Put the renewed pseudonyms into the columns of one table; returns how many rows it has."""
    names = [(column, f"m{place}", sql.Identifier(column.column)) for place, column in enumerate(columns)]
    joins = sql.SQL(" ").join(
        sql.SQL(
            "left join renewed_pseudonym {m} on {m}.purpose = {purpose} and {m}.field = {field} and {m}.old = o.{c}"
        ).format(m=sql.Identifier(m), purpose=sql.Literal(column.purpose), field=_field(column, "o"), c=name)
        for column, m, name in names
    )
    # Joined by the row's place: the rows are held still, and one update writes each of them once.
    statement = sql.SQL(
        "update {t} t set {sets} from (select o.ctid as place, {news} from {t} o {joins}) n where t.ctid = n.place"
    ).format(
        t=sql.Identifier(*columns[0].relation),
        sets=sql.SQL(", ").join(sql.SQL("{c} = n.{c}").format(c=name) for _, _, name in names),
        news=sql.SQL(", ").join(sql.SQL("{}.new as {}").format(sql.Identifier(m), name) for _, m, name in names),
        joins=joins,
    )
    return _run(conn, statement).rowcount


def clear_former_rows(conn: Connection, agreement: Agreement) -> None:
    """Give back the room of the rows as they were before, so that no former token is left in the tables' files.

    ``conn`` is the owner's and in no transaction (AUTOCOMMIT). What the write-ahead log and backups hold stays there.
    """
    relations = {column.relation for column in pseudonym_columns(conn, agreement)}
    for relation in sorted({*relations, ("linkage", "encoding"), ("linkage", "compared")}):
        _run(conn, sql.SQL("vacuum (full, analyze) {}").format(sql.Identifier(*relation)))


# --- giving K1 up -----------------------------------------------------------------------------------------------------


def resubmission_cost(conn: Connection) -> ResubmissionCost:
    """What is in force and would have to be submitted again in full under another K1."""
    row = conn.execute(
        text(
            "select count(distinct f.submission_id), count(distinct f.partner_id),"
            " count(distinct (f.partner_id, f.period)), coalesce(sum(t.rows_accepted), 0)"
            " from facts.in_force_submission_table f"
            " join governance.submission_table t using (submission_id, table_name)"
        )
    ).one()
    return ResubmissionCost(*(int(value) for value in row))


def set_rows_aside(
    conn: Connection,
    agreement: Agreement,
    *,
    before: str,
    after: str,
    actor: str,
    reason: str,
    check_separations: Callable[[int], None],
) -> int:
    """Take every submission out of force, since from now on rows are made with another K1; returns how many.

    Their rows stay for the published release and go when a later one is published. ``check_separations`` is told how
    many separations rest on records that will not be met again, and raises where they may not be forgotten; then
    nothing has changed.
    """
    hold_still(conn, agreement)
    separations = count_separations(conn)
    check_separations(separations)
    aside = conn.execute(text("update governance.submission set state = 'superseded' where state = 'loaded'")).rowcount
    record_key_change(conn, "K1", before, after)
    detail: dict[str, AuditValue] = {
        "layer": "K1",
        "before": before,
        "submissions": aside,
        "separations": separations,
        "reason": reason,
    }
    record_event(conn, actor, "keys.rotated", after, detail)
    return aside


def _run(conn: Connection, statement: sql.Composable) -> "CursorResult[Any]":
    return conn.exec_driver_sql(statement.as_string(driver(conn)).replace("%", "%%"))
