"""Snapshots: recorded sets of submissions in force, which a release is computed from and bound to."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, Row, text

from protocol.errors import LinkarmsError, NotYet
from protocol.model import Agreement, Table
from protocol.pool import pool_columns
from warehouse.audit import record_event
from warehouse.loading import ACTOR, FACTS_LOCK
from warehouse.plan import facts_columns
from warehouse.roles import driver

HELPERS = ("partner", "collection_period", "coverage", "record", "figures")
"""Relations that a presented snapshot has besides the agreed tables."""
_LINK = "linkable_record"


@dataclass(frozen=True)
class SnapshotTable:
    """One submission's rows of one table, as part of a snapshot."""

    submission_id: str
    partner_id: str
    period: str
    table_name: str
    content_digest: str
    rows: int
    """Rows that the submission has of that table, deletions included."""


@dataclass(frozen=True)
class Coverage:
    """What a partner sent of one table for one period, over the submissions in force."""

    partner_id: str
    period: str
    table_name: str
    rows_received: int
    rows_accepted: int
    rows_held_back: int


@dataclass(frozen=True)
class Snapshot:
    """A recorded set of submissions. Equal sets have the same id and digest."""

    id: str
    digest: str
    tables: tuple[SnapshotTable, ...]
    """In order of precedence: of two rows with one key that of the later entry holds."""
    coverage: tuple[Coverage, ...]


# --- taking and checking ---------------------------------------------------------------------------------------------


def take_snapshot(
    conn: Connection, periods: Sequence[str], partners: Sequence[str] | None = None, now: datetime | None = None
) -> Snapshot:
    """Record which submissions are in force now for these periods (and partners; all where it is None).

    Taking it again while nothing has changed gives the same snapshot, opened again if it was closed. Intakes may go
    on: later submissions are not part of it. ``now`` is the time to record; the database's clock where it is missing.
    Raises :class:`NotYet` where nothing is in force for these periods.
    """
    conn.execute(text("select pg_advisory_xact_lock_shared(:key)"), {"key": FACTS_LOCK})
    rows = conn.execute(
        text(
            "select f.submission_id, f.partner_id, f.period, f.table_name, s.content_digest"
            " from facts.in_force_submission_table f join governance.submission s using (submission_id)"
            " left join governance.collection_period p on p.period = f.period"
            " where f.period = any(:periods) and (cast(:partners as text[]) is null or f.partner_id = any(:partners))"
            ' order by coalesce(p.starts, date \'-infinity\'), f.period collate "C", f.seq, f.table_name collate "C"'
        ),
        {"periods": list(periods), "partners": None if partners is None else list(partners)},
    ).all()
    if not rows:
        raise NotYet("No submission is in force for these periods: there is nothing to compute from.")
    tables = _read_tables(conn, rows)
    digest = _digest(periods, partners, tables)
    snapshot_id = f"snapshot-{digest[:16]}"
    new = conn.scalar(
        text(
            "insert into governance.snapshot (snapshot_id, taken_at, digest, periods, partners)"
            " values (:id, coalesce(:now, now()), :digest, :periods, :partners)"
            " on conflict (snapshot_id) do update set closed_at = null returning (xmax = 0)"
        ),
        {
            "id": snapshot_id,
            "now": now,
            "digest": digest,
            "periods": sorted(periods),
            "partners": None if partners is None else sorted(partners),
        },
    )
    if new:
        conn.execute(
            text(
                "insert into governance.snapshot_table (snapshot_id, submission_id, table_name, ord)"
                " values (:snapshot, :submission, :table, :ord)"
            ),
            [
                {"snapshot": snapshot_id, "submission": t.submission_id, "table": t.table_name, "ord": ord_}
                for ord_, t in enumerate(tables, start=1)
            ],
        )
        record_event(conn, ACTOR, "snapshot.taken", snapshot_id, {"digest": digest, "periods": sorted(periods)})
    return Snapshot(snapshot_id, digest, tables, _read_coverage(conn, snapshot_id))


def read_snapshot(conn: Connection, snapshot_id: str) -> Snapshot:
    """The snapshot as it is now: its digest is computed anew from what is left of it, see :func:`snapshot_digest`.

    Raises :class:`LinkarmsError` where there is none of that id.
    """
    recorded = conn.execute(
        text("select periods, partners from governance.snapshot where snapshot_id = :id"), {"id": snapshot_id}
    ).one_or_none()
    if recorded is None:
        raise LinkarmsError(f"There is no snapshot {snapshot_id}.")
    rows = conn.execute(
        text(
            "select t.submission_id, s.partner_id, s.period, t.table_name, s.content_digest"
            " from governance.snapshot_table t join governance.submission s using (submission_id)"
            " where t.snapshot_id = :id and s.state in ('loaded', 'superseded') order by t.ord"
        ),
        {"id": snapshot_id},
    ).all()
    tables = _read_tables(conn, rows)
    digest = _digest(recorded.periods, recorded.partners, tables)
    return Snapshot(snapshot_id, digest, tables, _read_coverage(conn, snapshot_id))


def snapshot_digest(conn: Connection, snapshot_id: str) -> str:
    """The snapshot's digest, computed anew from its submissions and the rows that the database holds of them.

    It is the recorded one unless a submission of the snapshot was erased or rows of one were deleted since. Run it in
    the transaction that publishes: it keeps deletions away until that transaction ends. Raises :class:`LinkarmsError`
    where there is no snapshot of that id.
    """
    conn.execute(text("select pg_advisory_xact_lock_shared(:key)"), {"key": FACTS_LOCK})
    return read_snapshot(conn, snapshot_id).digest


def close_snapshot(conn: Connection, snapshot_id: str, now: datetime | None = None) -> None:
    """Give the snapshot's rows free to be purged once they are not in force. Twice changes nothing.

    Raises :class:`LinkarmsError` while a draft or the published release is bound to it: the pool shows its rows.
    """
    bound = conn.scalar(
        text(
            "select release_id from evidence.release"
            " where snapshot_id = :id and state in ('draft', 'published') order by number limit 1"
        ),
        {"id": snapshot_id},
    )
    if bound is not None:
        raise LinkarmsError(f"Snapshot {snapshot_id} is still needed by release {bound}.")
    conn.execute(
        text(
            "update governance.snapshot set closed_at = coalesce(:now, now())"
            " where snapshot_id = :id and closed_at is null"
        ),
        {"id": snapshot_id, "now": now},
    )


def _digest(periods: Sequence[str], partners: Sequence[str] | None, tables: Sequence[SnapshotTable]) -> str:
    """SHA-256 over what was asked for and, sorted, what was found: ids, content digests and rows."""
    lines = ["periods\t" + "\t".join(sorted(periods))]
    lines.append("partners\t" + ("*" if partners is None else "\t".join(sorted(partners))))
    lines += sorted(f"{t.submission_id}\t{t.table_name}\t{t.content_digest}\t{t.rows}" for t in tables)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _read_tables(conn: Connection, rows: Sequence[Row[Any]]) -> tuple[SnapshotTable, ...]:
    """The rows of a query for submission_id, partner_id, period, table_name and content_digest, with row counts."""
    counts = _count_rows(conn, {(row.submission_id, row.table_name) for row in rows})
    return tuple(
        SnapshotTable(
            submission_id=row.submission_id,
            partner_id=row.partner_id,
            period=row.period,
            table_name=row.table_name,
            content_digest=row.content_digest,
            rows=counts.get((row.submission_id, row.table_name), 0),
        )
        for row in rows
    )


def _count_rows(conn: Connection, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Rows that the database holds, by submission and table."""
    quote = conn.dialect.identifier_preparer.quote
    counts = {}
    for table in sorted({name for _, name in wanted}):
        if not facts_columns(conn, table):
            continue
        submissions = [submission for submission, name in wanted if name == table]
        statement = (
            f"select submission_id, count(*) from facts.{quote(table)} where submission_id = any(:ids) group by 1"  # noqa: S608
        )
        for submission, count in conn.execute(text(statement), {"ids": submissions}).all():
            counts[(str(submission), table)] = int(count)
    return counts


def _read_coverage(conn: Connection, snapshot_id: str) -> tuple[Coverage, ...]:
    query = coverage_query(sql.Literal(snapshot_id)).as_string(driver(conn)).replace("%", "%%")
    return tuple(Coverage(*row) for row in conn.exec_driver_sql(query).all())


# --- queries over a snapshot ------------------------------------------------------------------------------------------


def rows_query(table: str, snapshot: sql.Composable) -> sql.Composed:
    """SELECT of a table's rows in force in a snapshot, all columns: for each key the latest row, unless it deletes."""
    return sql.SQL(
        "select * from (select distinct on (f.partner_id, f.row_key) f.*"
        " from governance.snapshot_table t join facts.{table} f on f.submission_id = t.submission_id"
        " where t.snapshot_id = {snapshot} and t.table_name = {name}"
        " order by f.partner_id, f.row_key, t.ord desc) latest where not deleted"
    ).format(table=sql.Identifier(table), snapshot=snapshot, name=sql.Literal(table))


def open_clients_query(snapshot: sql.Composable) -> sql.Composed:
    """SELECT of a snapshot's clients who may be linked and shown: partner_id, person_ref, each once.

    A client of whom the snapshot has no person row in force is not among them (a delta with an assessment only, a
    deleted record): whether that client may be linked is not known.
    """
    return sql.SQL(
        "select p.partner_id, p.person_ref from ({persons}) p where p.person_ref is not null"
        " group by p.partner_id, p.person_ref having bool_and(p.do_not_link is distinct from 'yes')"
    ).format(persons=rows_query("person", snapshot))


def link_query(snapshot: sql.Composable) -> sql.Composed:
    """SELECT of a snapshot's linkable client records: partner_id, person_ref, person_id.

    A record that no run could link, one whose client must not be linked, and one without a person row in the snapshot
    are not among them. The person is that of
    the latest run over this very snapshot, so that a release can be computed again after later runs; before there is
    one, the registry as it stands.
    """
    return sql.SQL(
        "with until as (select coalesce(max(seq), 9223372036854775807) as seq"
        " from linkage.run where snapshot_id = {snapshot}),"
        " membership as ("
        "select m.partner_id, m.person_ref, m.person_id from linkage.membership m"
        " join linkage.run r on r.run_id = m.since_run, until where r.seq <= until.seq"
        " union all select h.partner_id, h.person_ref, h.person_id from linkage.membership_history h"
        " join linkage.run a on a.run_id = h.since_run join linkage.run b on b.run_id = h.until_run, until"
        " where a.seq <= until.seq and b.seq > until.seq)"
        " select p.partner_id, p.person_ref, m.person_id from ({clients}) p"
        " join membership m using (partner_id, person_ref)"
    ).format(snapshot=snapshot, clients=open_clients_query(snapshot))


def bounded_query(snapshot: sql.Composable) -> sql.Composed:
    """SELECT of a snapshot's linkable client records: partner_id, person_ref, person_id, if_joined, if_parted.

    The last two name the person that it would be if all pairs in doubt were one person, and if none was (text); null
    where the latest run over the snapshot did not say.
    """
    return sql.SQL(
        "with run as (select run_id, parameters ? 'in_doubt' as told from linkage.run"
        " where snapshot_id = {snapshot} order by seq desc limit 1)"
        " select l.partner_id, l.person_ref, l.person_id,"
        " case when run.told then coalesce(b.if_joined::text, l.person_id::text) end as if_joined,"
        " case when run.told then coalesce(b.if_parted::text, l.person_id::text) end as if_parted"
        " from ({links}) l left join run on true left join linkage.person_bound b"
        " on b.run_id = run.run_id and b.partner_id = l.partner_id and b.person_ref = l.person_ref"
    ).format(snapshot=snapshot, links=link_query(snapshot))


def coverage_query(snapshot: sql.Composable) -> sql.Composed:
    """SELECT of a snapshot's coverage: partner_id, period, table_name and the three counts."""
    return sql.SQL(
        "select s.partner_id, s.period, c.table_name, sum(c.rows_received)::bigint as rows_received,"
        " sum(c.rows_accepted)::bigint as rows_accepted, sum(c.rows_held_back)::bigint as rows_held_back"
        " from governance.snapshot_table t join governance.submission s using (submission_id)"
        " join governance.submission_table c using (submission_id, table_name)"
        " where t.snapshot_id = {snapshot} and s.state in ('loaded', 'superseded')"
        " group by s.partner_id, s.period, c.table_name order by s.partner_id, s.period, c.table_name"
    ).format(snapshot=snapshot)


# --- presenting ---------------------------------------------------------------------------------------------------


def present_snapshot(conn: Connection, snapshot_id: str, agreement: Agreement) -> None:
    """Give the session the temporary relations that measures read, over one snapshot. Calling it again replaces them.

    They are tables that are filled and analysed here, not views: every measure reads them, and the planner has to know
    their sizes (over views of fresh facts it chose joins that took minutes in the place of a second).

    - every agreed table by its name: ``partner_id``, ``period``, ``row_key``, ``person_ref`` and ``person_id`` where
      it is about a person, then its pool columns; ``assessment`` also ``mark``, ``repeats_partner_id``,
      ``repeats_row_key`` and ``days_since``, null where marks were not written when this was called;
    - ``partner`` (partner_id, name, kind, agency, tier): all partners of the agreement;
    - ``collection_period`` (period, starts, ends): those of the snapshot;
    - ``coverage`` (partner_id, period, table_name, rows_received, rows_accepted, rows_held_back);
    - ``record`` (partner_id, person_ref, person_id, if_joined, if_parted, linkable): every client record; ``if_joined``
      and ``if_parted`` name its person if all pairs in doubt were one person, and if none was;
    - ``figures``: one row, ``repeat_window_days``, ``lost_referral_days``, ``bounce_days``, ``hourly_cost_gbp``.

    ``person_id`` is null for records that cannot be linked or must not be. The relations are of this session alone and
    end with it. Raises :class:`LinkarmsError` where there is no such snapshot or the agreement's plan is not applied.
    """
    periods = conn.scalar(text("select periods from governance.snapshot where snapshot_id = :id"), {"id": snapshot_id})
    if periods is None:
        raise LinkarmsError(f"There is no snapshot {snapshot_id}.")
    snapshot = sql.Literal(snapshot_id)
    names = [*agreement.contract.table_names, *HELPERS, _LINK]
    for name in names:
        _run(conn, sql.SQL("drop table if exists pg_temp.{}").format(sql.Identifier(name)))
    _fill(conn, _LINK, bounded_query(snapshot))
    for table in agreement.contract.tables:
        _fill(conn, table.name, _table_query(conn, table, snapshot))
    _fill(
        conn,
        "record",
        sql.SQL(
            "select p.partner_id, p.person_ref, l.person_id, l.if_joined, l.if_parted,"
            " l.person_id is not null as linkable from ({}) p"
            " left join pg_temp.{} l using (partner_id, person_ref)"
        ).format(rows_query("person", snapshot), sql.Identifier(_LINK)),
    )
    _fill(conn, "coverage", coverage_query(snapshot))
    _fill(
        conn,
        "partner",
        _values(
            ("partner_id", "name", "kind", "agency", "tier"),
            ("text",) * 5,
            [(p.id, p.name, p.kind, p.agency, p.tier) for p in agreement.partners],
        ),
    )
    _fill(
        conn,
        "collection_period",
        _values(
            ("period", "starts", "ends"),
            ("text", "date", "date"),
            [(p.id, p.starts, p.ends) for p in agreement.calendar.periods if p.id in periods],
        ),
    )
    figures = agreement.measures
    _fill(
        conn,
        "figures",
        _values(
            ("repeat_window_days", "lost_referral_days", "bounce_days", "hourly_cost_gbp"),
            ("integer", "integer", "integer", "numeric"),
            [
                (
                    figures.repeat_window_days,
                    figures.lost_referral_days,
                    figures.bounce_days,
                    str(figures.hourly_cost_gbp),
                )
            ],
        ),
    )


def _table_query(conn: Connection, table: Table, snapshot: sql.Composable) -> sql.Composed:
    columns = [column.name for column in pool_columns(table)]
    missing = set(columns) - set(facts_columns(conn, table.name))
    if missing:
        raise LinkarmsError(
            f"The database has no column {table.name}.{sorted(missing)[0]}. Apply the agreement's plan first."
        )
    selected = ["r.partner_id", "r.period", "r.row_key"]
    joins = []
    if table.person_column is not None:
        selected += ["r.person_ref", "l.person_id"]
        joins.append(sql.SQL("left join pg_temp.{} l using (partner_id, person_ref)").format(sql.Identifier(_LINK)))
    if table.name == "assessment":
        selected += ["m.mark", "m.repeats_partner_id", "m.repeats_row_key", "m.days_since"]
        joins.append(
            sql.SQL(
                "left join facts.assessment_mark m on m.snapshot_id = {}"
                " and m.partner_id = r.partner_id and m.row_key = r.row_key"
            ).format(snapshot)
        )
    return sql.SQL("select {selected} from ({rows}) r {joins}").format(
        selected=sql.SQL(", ").join(
            [*(sql.SQL(name) for name in selected), *(sql.SQL("r.{}").format(sql.Identifier(name)) for name in columns)]
        ),
        rows=rows_query(table.name, snapshot),
        joins=sql.SQL(" ").join(joins),
    )


def _values(names: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[object]]) -> sql.Composed:
    """SELECT of constant rows; no row where there are none."""
    columns = sql.SQL(", ").join(
        sql.SQL("v.{name}::{type} as {name}").format(name=sql.Identifier(name), type=sql.SQL(type_))
        for name, type_ in zip(names, types, strict=True)
    )
    lines = [sql.SQL("({})").format(sql.SQL(", ").join(sql.Literal(value) for value in row)) for row in rows]
    nothing = sql.SQL("({})").format(sql.SQL(", ").join(sql.SQL("null") for _ in names))
    return sql.SQL("select {} from (values {}) v ({}) where v.{} is not null").format(
        columns,
        sql.SQL(", ").join(lines or [nothing]),
        sql.SQL(", ").join(sql.Identifier(name) for name in names),
        sql.Identifier(names[0]),
    )


def _fill(conn: Connection, name: str, query: sql.Composed) -> None:
    _run(conn, sql.SQL("create temporary table {} as {}").format(sql.Identifier(name), query))
    _run(conn, sql.SQL("analyze pg_temp.{}").format(sql.Identifier(name)))


def _run(conn: Connection, statement: sql.Composed) -> None:
    conn.exec_driver_sql(statement.as_string(driver(conn)).replace("%", "%%"))
