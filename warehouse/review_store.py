"""The review queue, the log of decisions, and what a custodian is told of persons and runs.

All functions work in the caller's transaction. Those of the custodian read the schemas ``linkage`` and ``governance``
alone, which is what that login may read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from psycopg import sql
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from protocol.errors import DefectFound, LinkarmsError
from warehouse.plan import facts_columns
from warehouse.roles import driver
from warehouse.transfer import Schema, copy_in, copy_out_all

PAIR_COLUMNS = ("partner_id", "person_ref", "other_partner_id", "other_person_ref")
DECISION_SCHEMA: Schema = {
    "decision_id": pl.Int64,
    **dict.fromkeys(PAIR_COLUMNS, pl.String),
    "answer": pl.String,
    "after_run": pl.Int64,
}
LEAST_REASON = 10
"""Characters of a reason; the tables check the same."""

REFUSED_BY_US = "LA001"
"""SQLSTATE of what our own triggers refuse; their messages are for people and hold no value."""
_NO_RIGHT, _THERE_ALREADY = "42501", "23505"


@dataclass(frozen=True)
class ReviewPair:
    """One pair of records that linkage is in doubt about, in words and without a value."""

    pair_id: int
    partner_id: str
    person_ref: str
    other_partner_id: str
    other_person_ref: str
    probability: float
    agreed_on: tuple[str, ...]
    differs_on: tuple[str, ...]
    rows_concerned: int
    answer: str | None
    """The decision in force; None where there is none."""
    is_open: bool
    """False once a run no longer found the pair in doubt."""

    def __repr__(self) -> str:
        return f"ReviewPair({self.pair_id}, {self.partner_id}, {self.other_partner_id})"


@dataclass(frozen=True)
class Decision:
    """One entry of the log."""

    decision_id: int
    partner_id: str
    person_ref: str
    other_partner_id: str
    other_person_ref: str
    answer: str
    reason: str
    decided_by: str
    decided_at: datetime
    holds: bool
    """False where a later decision on the same pair has taken its place."""

    def __repr__(self) -> str:
        return f"Decision({self.decision_id}, {self.answer})"


@dataclass(frozen=True)
class RunSummary:
    """One linkage run as a custodian reads it."""

    run_id: str
    seq: int
    finished_at: datetime
    method: str
    parameters: Mapping[str, Any]
    counts: Mapping[str, int]


# --- what a run does --------------------------------------------------------------------------------------------------


def read_decisions(conn: Connection) -> pl.DataFrame:
    """The whole log: decision_id, the four columns of a pair, answer, after_run; in order of decision."""
    query = sql.SQL(
        "select decision_id, partner_id, person_ref, other_partner_id, other_person_ref, answer, after_run"
        " from linkage.decision order by decision_id"
    ).format()
    return copy_out_all(conn, query, DECISION_SCHEMA)


def write_review(conn: Connection, run_id: str, snapshot_id: str, pairs: pl.DataFrame, decided: pl.DataFrame) -> int:
    """Put a run's pairs in doubt up for review and close those that are in doubt no more; returns how many it put up.

    ``pairs`` has the four columns of a pair in canonical order (the record with the lower partner and reference
    first), ``probability``, ``agreed_on`` and ``differs_on`` (lists of words). ``decided`` (the four columns, in the
    same order) are pairs that a custodian answered: they are not put up again, and an entry that they have stays as it
    was when it was answered. ``snapshot_id`` is what the run linked: its rows about the two records are counted, so
    that the pairs on which most hangs can be looked at first. A pair keeps its number for good.

    Raises :class:`DefectFound` where a pair is not in canonical order or is there twice.
    """
    waiting = pairs.select(*PAIR_COLUMNS, "probability", "agreed_on", "differs_on")
    waiting = waiting.join(decided.select(PAIR_COLUMNS), on=list(PAIR_COLUMNS), how="anti").sort(PAIR_COLUMNS)
    in_order = (pl.col("partner_id") < pl.col("other_partner_id")) | (
        (pl.col("partner_id") == pl.col("other_partner_id")) & (pl.col("person_ref") < pl.col("other_person_ref"))
    )
    if waiting.filter(~in_order).height or waiting.select(PAIR_COLUMNS).is_duplicated().any():
        raise DefectFound(f"Linkage run {run_id} puts up a pair twice or with its records in the wrong order.")
    words = [
        pl.Series(name, [json.dumps(list(entry), ensure_ascii=False) for entry in waiting[name]], dtype=pl.String)
        for name in ("agreed_on", "differs_on")
    ]
    doubted = waiting.with_columns(words).with_row_index("place")
    _stage(conn, "doubted", f"place bigint, {_PAIR}, probability float8, agreed_on jsonb, differs_on jsonb", doubted)
    _stage(conn, "answered", _PAIR, decided.select(PAIR_COLUMNS))
    _count_rows(conn, snapshot_id)
    parameters = {"run": run_id}
    for statement in (_RENEW, _PUT_UP, _CLOSE):
        conn.execute(text(statement), parameters)
    for name in ("doubted", "answered", "concerned"):
        conn.execute(text(f"drop table pg_temp.{name}"))
    return waiting.height


_PAIR = "partner_id text, person_ref text, other_partner_id text, other_person_ref text"


def _key(row: str) -> str:
    """SQL: a text that is the same for a pair in either order; a rotation of keys may turn a stored one round."""
    one, other = (f"{row}.{p} || '/' || {row}.{r}" for p, r in (PAIR_COLUMNS[:2], PAIR_COLUMNS[2:]))
    return f'least({one} collate "C", {other} collate "C") || \' \' || greatest({one} collate "C", {other} collate "C")'


_FRESH = (
    "select d.place, d.partner_id, d.person_ref, d.other_partner_id, d.other_person_ref, d.probability,"  # noqa: S608  (constants)
    " array(select jsonb_array_elements_text(d.agreed_on)) as agreed_on,"
    " array(select jsonb_array_elements_text(d.differs_on)) as differs_on,"
    " coalesce(a.rows, 0) + coalesce(b.rows, 0) as rows_concerned, p.pair_id from doubted d"
    " left join concerned a on a.partner_id = d.partner_id and a.person_ref = d.person_ref"
    " left join concerned b on b.partner_id = d.other_partner_id and b.person_ref = d.other_person_ref"
    f" left join linkage.review_pair p on {_key('p')} = {_key('d')}"
)
_RENEW = (
    "update linkage.review_pair p set probability = f.probability, agreed_on = f.agreed_on, differs_on = f.differs_on,"  # noqa: S608  (constants)
    f" rows_concerned = f.rows_concerned, last_run = :run, closed_run = null from ({_FRESH}) f"
    " where p.pair_id = f.pair_id"
)
_PUT_UP = (
    "insert into linkage.review_pair (partner_id, person_ref, other_partner_id, other_person_ref, probability,"  # noqa: S608  (constants)
    " agreed_on, differs_on, rows_concerned, first_run, last_run)"
    " select partner_id, person_ref, other_partner_id, other_person_ref, probability, agreed_on, differs_on,"
    f" rows_concerned, :run, :run from ({_FRESH}) f where pair_id is null order by place"
)
_CLOSE = (
    "update linkage.review_pair p set closed_run = :run where p.closed_run is null and p.last_run <> :run"  # noqa: S608  (constants)
    f" and {_key('p')} not in (select {_key('a')} from answered a)"
)


def _count_rows(conn: Connection, snapshot_id: str) -> None:
    """Fill ``concerned``: rows of the snapshot about each record in doubt, over all tables that are about persons."""
    tables = conn.scalars(
        text("select distinct table_name from governance.snapshot_table where snapshot_id = :id order by 1"),
        {"id": snapshot_id},
    )
    counts = [
        sql.SQL(
            "select r.partner_id, r.person_ref, f.row_key from"
            " (select partner_id, person_ref from doubted union"
            " select other_partner_id, other_person_ref from doubted) r"
            " join facts.{table} f on f.partner_id = r.partner_id and f.person_ref = r.person_ref"
            " join governance.snapshot_table t on t.submission_id = f.submission_id"
            " and t.table_name = {name} and t.snapshot_id = {snapshot}"
        ).format(table=sql.Identifier(table), name=sql.Literal(table), snapshot=sql.Literal(snapshot_id))
        for table in tables
        if "person_ref" in facts_columns(conn, table)
    ]
    nothing = sql.SQL("select null::text as partner_id, null::text as person_ref, null::text as row_key where false")
    driver(conn).execute(
        sql.SQL(
            "create temporary table concerned on commit drop as"
            " select partner_id, person_ref, count(distinct row_key) as rows from ({}) c group by 1, 2"
        ).format(sql.SQL(" union all ").join([nothing, *counts]))
    )


def _stage(conn: Connection, name: str, columns: str, frame: pl.DataFrame) -> None:
    conn.exec_driver_sql(f"drop table if exists pg_temp.{name}")
    conn.exec_driver_sql(f"create temporary table {name} ({columns}) on commit drop")
    copy_in(conn, "pg_temp", name, frame)
    driver(conn).execute(sql.SQL("analyze {}").format(sql.Identifier("pg_temp", name)))


# --- what a custodian does --------------------------------------------------------------------------------------------

_LATEST = (
    "select distinct on (pair) pair, answer from"  # noqa: S608  (constants)
    f" (select {_key('d')} as pair, d.answer, d.decision_id from linkage.decision d) log"
    " order by pair, decision_id desc"
)
_REVIEW = (
    "select p.pair_id, p.partner_id, p.person_ref, p.other_partner_id, p.other_person_ref, p.probability, p.agreed_on,"  # noqa: S608  (constants)
    " p.differs_on, p.rows_concerned, nullif(l.answer, 'undecided') as answer, p.closed_run is null as is_open"
    f" from linkage.review_pair p left join ({_LATEST}) l on l.pair = {_key('p')}"
)
_WAITING = f"select * from ({_REVIEW}) r where is_open and answer is null"  # noqa: S608  (constants)
ORDERS: Mapping[str, str] = {
    "rows": "rows_concerned desc, abs(probability - 0.5), pair_id",
    "doubt": "abs(probability - 0.5), rows_concerned desc, pair_id",
}
"""Orders of the queue: those first on which most rows hang, or those of which linkage is least certain."""


def count_waiting(conn: Connection) -> int:
    """How many pairs wait for a decision."""
    return int(conn.scalar(text(f"select count(*) from ({_WAITING}) w")) or 0)  # noqa: S608  (constants)


def read_waiting(conn: Connection, order: str, limit: int | None, offset: int = 0) -> tuple[ReviewPair, ...]:
    """Pairs that wait for a decision, in one of :data:`ORDERS`; all from ``offset`` on where ``limit`` is None."""
    rows = conn.execute(
        text(f"{_WAITING} order by {ORDERS[order]} limit :limit offset :offset"), {"limit": limit, "offset": offset}
    )
    return tuple(_review_pair(row) for row in rows)


def read_pair(conn: Connection, pair_id: int) -> ReviewPair:
    """The pair of that number, decided or not. Raises :class:`LinkarmsError` where there is none."""
    row = conn.execute(text(f"select * from ({_REVIEW}) r where pair_id = :id"), {"id": pair_id}).one_or_none()  # noqa: S608
    if row is None:
        raise LinkarmsError(f"There is no pair {pair_id}. `linkarms linkage review` lists those that wait.")
    return _review_pair(row)


def _review_pair(row: Any) -> ReviewPair:
    return ReviewPair(**{**row._mapping, "agreed_on": tuple(row.agreed_on), "differs_on": tuple(row.differs_on)})


def write_decision(conn: Connection, pair: ReviewPair, answer: str, reason: str) -> int:
    """Add a decision to the log, under the session's own login, and return its number.

    ``answer`` is ``same``, ``different`` or ``undecided``. The database says who and when, and writes the audit event.
    Raises :class:`LinkarmsError` where the reason is too short or the session is not a custodian's.
    """
    refuse_short_reason(reason)
    with refusals():
        number = conn.scalar(
            text(
                "insert into linkage.decision (partner_id, person_ref, other_partner_id, other_person_ref, answer,"
                " reason) values (:partner, :ref, :other_partner, :other_ref, :answer, :reason) returning decision_id"
            ),
            {
                "partner": pair.partner_id,
                "ref": pair.person_ref,
                "other_partner": pair.other_partner_id,
                "other_ref": pair.other_person_ref,
                "answer": answer,
                "reason": reason.strip(),
            },
        )
    return int(number or 0)


def read_decision_log(conn: Connection, limit: int) -> tuple[Decision, ...]:
    """The latest decisions for people to read, latest first."""
    rows = conn.execute(
        text(
            "select d.decision_id, d.partner_id, d.person_ref, d.other_partner_id, d.other_person_ref, d.answer,"  # noqa: S608
            f" d.reason, d.decided_by, d.decided_at, d.decision_id = max(d.decision_id) over (partition by {_key('d')})"
            " as holds from linkage.decision d order by d.decision_id desc limit :limit"
        ),
        {"limit": limit},
    )
    return tuple(Decision(**row._mapping) for row in rows)


def refuse_short_reason(reason: str) -> None:
    """Raise :class:`LinkarmsError` where a reason says nothing."""
    if len(reason.strip()) < LEAST_REASON:
        raise LinkarmsError(f"Say why, in at least {LEAST_REASON} characters and without anything about the person.")


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what our own triggers and the rights refuse into a :class:`LinkarmsError` without a value."""
    try:
        yield
    except DBAPIError as error:
        refused: Any = error.orig
        state = getattr(refused, "sqlstate", None)
        if state == REFUSED_BY_US:
            raise LinkarmsError(str(refused.diag.message_primary)) from None
        if state == _NO_RIGHT:
            raise LinkarmsError("This is done under a custodian's own login.") from None
        if state == _THERE_ALREADY:
            raise LinkarmsError("That has been done already.") from None
        raise DefectFound(f"The database refused to write that down (SQLSTATE {state}).") from None


def read_runs(conn: Connection, limit: int) -> tuple[RunSummary, ...]:
    """The latest linkage runs, latest first."""
    rows = conn.execute(
        text(
            "select run_id, seq, finished_at, method, parameters, counts from linkage.run"
            " order by seq desc limit :limit"
        ),
        {"limit": limit},
    )
    return tuple(RunSummary(*row) for row in rows)


# --- persons ----------------------------------------------------------------------------------------------------------


def find_records(conn: Connection, start: str, partner_id: str | None = None) -> tuple[tuple[str, str], ...]:
    """Records (partner, reference) of the registry whose reference begins so; at most 20."""
    rows = conn.execute(
        text(
            "select partner_id, person_ref from linkage.membership where starts_with(person_ref, :start)"
            " and (cast(:partner as text) is null or partner_id = :partner) order by 1, 2 limit 20"
        ),
        {"start": start, "partner": partner_id},
    )
    return tuple((row.partner_id, row.person_ref) for row in rows)


def find_published(conn: Connection, audience: str, published_id: str) -> str | None:
    """The person that a grant's pseudonym stands for now, after any merge; None where the grant has given out none."""
    found = conn.scalar(
        text(
            "with recursive way (person_id) as (select person_id from linkage.published_id"
            " where audience = :audience and published_id = :id"
            " union select p.retired_into from way join linkage.person p using (person_id)"
            " where p.retired_into is not null)"
            " select person_id::text from way join linkage.person using (person_id) where retired_into is null"
        ),
        {"audience": audience, "id": published_id},
    )
    return None if found is None else str(found)


def read_person_of(conn: Connection, record: tuple[str, str]) -> str | None:
    """The person that a record belongs to; None where it belongs to none."""
    found = conn.scalar(
        text("select person_id::text from linkage.membership where partner_id = :partner and person_ref = :ref"),
        {"partner": record[0], "ref": record[1]},
    )
    return None if found is None else str(found)


def read_records_of(conn: Connection, persons: Sequence[str]) -> pl.DataFrame:
    """The records of these persons: partner_id, person_ref, person_id, since_run; sorted."""
    query = sql.SQL(
        "select partner_id, person_ref, person_id, since_run from linkage.membership where person_id = any({}::uuid[])"
        ' order by partner_id collate "C", person_ref collate "C"'
    ).format(sql.Literal(list(persons)))
    return copy_out_all(conn, query, dict.fromkeys(("partner_id", "person_ref", "person_id", "since_run"), pl.String))


def read_partings(conn: Connection, one: str, other: str) -> tuple[tuple[str, datetime], ...]:
    """When linkage parted two persons: (cause, time) of each split between them, in order."""
    rows = conn.execute(
        text(
            "select e.cause, r.finished_at from linkage.registry_event e join linkage.run r using (run_id)"
            " where e.event = 'split' and (e.person_id::text, e.other_person_id::text)"
            " in ((:one, :other), (:other, :one)) order by e.event_id"
        ),
        {"one": one, "other": other},
    )
    return tuple((row.cause, row.finished_at) for row in rows)
