"""Submissions in the database: registering, refusing, loading, superseding, erasing and purging.

The states of a submission::

    received --load_submission--> loaded --a later one--> superseded
        |                            \\--------------------------------erase_submission--> erased
        \\--record_refusal--> refused --register_received--> received

Loading is one transaction: readers and a second loader see a submission as a whole or not at all, and a process that
is killed leaves nothing behind (kept by ``tests/integration/warehouse/test_loading.py``).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, RowMapping, text
from sqlalchemy.exc import OperationalError

from protocol.errors import DefectFound, KeyUnavailable, NotYet, SubmissionRefused
from protocol.pool import DELETED, PERSON_REF, ROW_KEY
from warehouse.audit import record_event
from warehouse.lookups import count_separations, read_key_id
from warehouse.plan import facts_columns, facts_tables
from warehouse.schema.facts import PLATFORM_COLUMNS, SCHEMA
from warehouse.transfer import copy_in, pack_frame

FACTS_LOCK = 0x11A5_0002
"""Advisory lock: shared by those who read sets of rows (snapshots), exclusive for those who delete rows."""

ACTOR = "pipeline"

Frames = pl.DataFrame | Iterable[pl.DataFrame]


@dataclass(frozen=True)
class SubmissionRecord:
    """What the manifest and the gate say about a submission."""

    submission_id: str
    partner_id: str
    period: str
    mode: str
    """``full``, ``delta``, ``correction`` or ``nil``."""
    agreement_version: str
    """The version that it was made to."""
    content_digest: str
    """SHA-256 of what was received."""
    received_at: datetime
    supersedes: str | None = None
    """For a correction, and only for one: the submission of which it replaces the tables that it carries."""
    rows_version: str | None = None
    """The version in whose terms its rows are loaded, where they were carried over from an earlier one."""


@dataclass(frozen=True)
class TableCount:
    """How many rows of a table arrived and what became of them."""

    rows_received: int
    rows_accepted: int
    rows_held_back: int


@dataclass(frozen=True)
class LoadResult:
    """What a load did."""

    submission_id: str
    state: str
    """``loaded``, or ``superseded`` where a later submission was loaded before it."""
    already: bool
    """True where it had been loaded before, and this call changed nothing."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows loaded, by this call or the earlier one, deletions included, by table."""
    match_keys: int = 0
    superseded: tuple[str, ...] = ()
    """Submissions of which nothing is in force any more."""


# --- registering and refusing ---------------------------------------------------------------------------------------


def register_received(conn: Connection, submission: SubmissionRecord) -> str:
    """Record that a submission arrived and return its state now.

    ``received`` for a new one and for one that was refused before and came again (what stood in its way may be mended:
    a signature, a code list); it then takes its place in the order of receipt anew. Any other state is left as it is.
    Raises :class:`DefectFound` where the id stands for another content.
    """
    _lock_partner(conn, submission.partner_id)
    _insert(conn, submission)
    row = _lock_row(conn, submission)
    if row["state"] == "refused":
        conn.execute(
            text(
                "update governance.submission set state = 'received', received_at = :at, seq = default, receipt = null"
                " where submission_id = :id"
            ),
            {"id": submission.submission_id, "at": submission.received_at},
        )
        return "received"
    return str(row["state"])


def record_refusal(conn: Connection, submission: SubmissionRecord, receipt: Mapping[str, Any] | str) -> None:
    """Record that a submission was refused, with its receipt (JSON without a cell's content). Twice changes nothing.

    Raises :class:`DefectFound` where it has been loaded.
    """
    _lock_partner(conn, submission.partner_id)
    _insert(conn, submission)
    row = _lock_row(conn, submission)
    if row["state"] == "refused":
        return
    if row["state"] != "received":
        raise DefectFound(f"Submission {submission.submission_id} is {row['state']} and cannot be refused.")
    conn.execute(
        text(
            "update governance.submission set state = 'refused', receipt = cast(:receipt as jsonb)"
            " where submission_id = :id"
        ),
        {"id": submission.submission_id, "receipt": _as_json(receipt)},
    )
    detail = {"partner": submission.partner_id, "period": submission.period}
    record_event(conn, ACTOR, "submission.refused", submission.submission_id, detail)


def check_correction(conn: Connection, submission: SubmissionRecord) -> None:
    """Raise :class:`SubmissionRefused` where a correction names a submission that it cannot replace.

    It has to be one that the same partner made for the same period, that is in force and that is no delta. Does nothing
    for other modes.
    """
    if submission.mode != "correction":
        return
    named = (
        conn.execute(
            text(
                "select state, mode, superseded_by from governance.submission"
                " where submission_id = :named and partner_id = :partner and period = :period and submission_id <> :id"
            ),
            {
                "named": submission.supersedes,
                "partner": submission.partner_id,
                "period": submission.period,
                "id": submission.submission_id,
            },
        )
        .mappings()
        .one_or_none()
    )
    if named is None:
        raise SubmissionRefused(
            f"The correction names submission {submission.supersedes}, which this partner has not made for period "
            f"{submission.period}. Name the submission whose receipt you have."
        )
    if named["state"] == "superseded" and named["superseded_by"] is None:
        raise SubmissionRefused(
            f"The correction names submission {submission.supersedes}, which was set aside when the keys changed. Send "
            "the period as a full submission."
        )
    if named["state"] == "superseded":
        raise SubmissionRefused(
            f"The correction names submission {submission.supersedes}, which {named['superseded_by']} has replaced. "
            "Name that one."
        )
    if named["state"] != "loaded":
        raise SubmissionRefused(
            f"The correction names submission {submission.supersedes}, which was not loaded. Send it as a full one."
        )
    if named["mode"] == "delta":
        raise SubmissionRefused(
            f"The correction names submission {submission.supersedes}, which is a delta. Send a delta with the rows as "
            "they should be, or a full submission."
        )


# --- loading --------------------------------------------------------------------------------------------------------


def load_submission(
    engine: Engine,
    submission: SubmissionRecord,
    tables: Mapping[str, Frames],
    match_keys: Frames | None,
    receipt: Mapping[str, Any] | str,
    *,
    counts: Mapping[str, TableCount] | None = None,
    key_id: str | None = None,
    encodings: pl.DataFrame | None = None,
    now: datetime | None = None,
) -> LoadResult:
    """Load a checked and pseudonymised submission in one transaction. Loading it again changes nothing.

    ``tables`` are pool-ready frames by agreed table: ``row_key``, ``person_ref`` where rows are about a person, the
    pool's columns, and ``_deleted`` for a delta's deletions; each a frame, or frames one after another for a table
    that is larger than memory. A table that is missing there was not part of the submission and stays as it is, except
    for a nil return, which empties every table of its partner and period. A correction replaces the tables that it
    carries, as a full submission does, and leaves the other tables of the named one in force. ``match_keys`` has the
    columns ``person_ref``, ``key_name``, ``token`` (32 bytes, or 64 hex characters), ``encodings`` ``person_ref`` and
    what scoring compares. ``receipt`` is kept with the submission. ``counts`` are those of the receipt by table;
    without them every row loaded counts as received and accepted. ``key_id`` names the keys that its pseudonyms were
    made with. ``now`` is the time to record; the database's clock where it is missing.

    Raises :class:`SubmissionRefused` for a correction of what cannot be corrected and for a submission that was
    refused or erased, :class:`DefectFound` where a frame is not pool-ready, and :class:`NotYet` where the database is
    lost.
    """
    if submission.mode == "nil" and tables:
        raise DefectFound(f"Submission {submission.submission_id} is declared nil and has tables.")
    with _transaction(engine) as conn:
        _lock_partner(conn, submission.partner_id)
        _insert(conn, submission)
        state = str(_lock_row(conn, submission)["state"])
        if state in ("loaded", "superseded"):
            return _read_result(conn, submission.submission_id, state)
        if state != "received":
            raise SubmissionRefused(f"Submission {submission.submission_id} was {state} and is not loaded.")
        check_correction(conn, submission)
        _check_keys(conn, key_id)
        rows = {name: _load_table(conn, submission, name, frames) for name, frames in tables.items()}
        keys = 0 if match_keys is None else _load_match_keys(conn, submission, match_keys)
        if encodings is not None:
            _load_encodings(conn, submission, encodings)
        names = facts_tables(conn) if submission.mode == "nil" else tuple(tables)
        _insert_counts(conn, submission, {name: rows.get(name, 0) for name in names}, counts or {})
        conn.execute(
            text(
                "update governance.submission set state = 'loaded', loaded_at = coalesce(:now, now()),"
                " receipt = cast(:receipt as jsonb), key_id = :key_id, rows_version = :rows_version"
                " where submission_id = :id"
            ),
            {
                "id": submission.submission_id,
                "now": now,
                "receipt": _as_json(receipt),
                "key_id": key_id,
                "rows_version": submission.rows_version or submission.agreement_version,
            },
        )
        superseded = _mark_superseded(conn, submission)
        place = {"partner": submission.partner_id, "period": submission.period}
        record_event(conn, ACTOR, "submission.loaded", submission.submission_id, {**place, "rows": sum(rows.values())})
        own = "superseded" if submission.submission_id in superseded else "loaded"
        others = tuple(sorted(superseded - {submission.submission_id}))
        return LoadResult(submission.submission_id, own, False, rows, keys, others)


def _check_keys(conn: Connection, key_id: str | None) -> None:
    """Pseudonyms made with other keys than those of the rows in force would match nothing, in silence, and what was
    decided about records would be forgotten."""
    if key_id is None:
        return
    other = read_key_id(conn)
    if other is not None and other != key_id:
        raise KeyUnavailable(
            f"The rows in the warehouse were made with the keys {other}, and these with {key_id}: they cannot be "
            "linked. Point LINKARMS_KEYS at the keys that were used before."
        )
    if other is None and (separations := count_separations(conn)):
        former = conn.scalar(
            text("select key_id from governance.submission where key_id is not null order by seq desc limit 1")
        )
        if former is not None and former != key_id:
            raise KeyUnavailable(
                f"The registry keeps {separations} separations of persons whose records were made with the keys "
                f"{former}: under {key_id} they would be forgotten. Point LINKARMS_KEYS at the keys used before."
            )


def _load_table(conn: Connection, submission: SubmissionRecord, table: str, frames: Frames) -> int:
    known = facts_columns(conn, table)
    if "submission_id" not in known:
        raise DefectFound(f"The database has no table of facts {table}. Apply the agreement's plan first.")

    def ready(frame: pl.DataFrame) -> pl.DataFrame:
        if ROW_KEY not in frame.columns:
            raise DefectFound(f"The frame of {table} has no {ROW_KEY}.")
        if DELETED in frame.columns and submission.mode != "delta":
            raise DefectFound(f"The frame of {table} has deletions, and {submission.submission_id} is no delta.")
        # An allow-list of what the table has: anything else in the frame is refused, never left out in silence.
        strangers = set(frame.columns) - (set(known) - set(PLATFORM_COLUMNS)) - {ROW_KEY, PERSON_REF, DELETED}
        if strangers:
            raise DefectFound(
                f"The frame of {table} has the column {sorted(strangers)[0]}, which its table of facts does not have. "
                "Apply the agreement's plan first."
            )
        deleted = pl.col(DELETED).fill_null(value=False) if DELETED in frame.columns else pl.lit(value=False)
        return frame.with_columns(deleted.alias("deleted")).drop(DELETED, strict=False)

    constants = {
        "submission_id": submission.submission_id,
        "partner_id": submission.partner_id,
        "period": submission.period,
    }
    batches = [frames] if isinstance(frames, pl.DataFrame) else frames
    return copy_in(conn, SCHEMA, table, (ready(frame) for frame in batches), constants)


def _load_match_keys(conn: Connection, submission: SubmissionRecord, match_keys: Frames) -> int:
    def ready(frame: pl.DataFrame) -> pl.DataFrame:
        token = pl.col("token").bin.encode("hex") if frame.schema["token"] == pl.Binary else pl.col("token")
        return frame.select("person_ref", "key_name", token)

    batches = [match_keys] if isinstance(match_keys, pl.DataFrame) else match_keys
    constants = {"submission_id": submission.submission_id, "partner_id": submission.partner_id}
    return copy_in(conn, "linkage", "match_key", (ready(frame) for frame in batches), constants)


def _load_encodings(conn: Connection, submission: SubmissionRecord, encodings: pl.DataFrame) -> None:
    statement = text(
        "insert into linkage.encoding (submission_id, part, partner_id, persons, content)"
        " values (:submission, :part, :partner, :persons, :content)"
    )
    for part, frame in enumerate(encodings.iter_slices(ENCODINGS_IN_A_PART)):
        conn.execute(
            statement,
            {
                "submission": submission.submission_id,
                "part": part,
                "partner": submission.partner_id,
                "persons": frame.height,
                "content": pack_frame(frame),
            },
        )


ENCODINGS_IN_A_PART = 50_000
"""About 40 MB: far below what PostgreSQL takes in one value, and no more is in memory at a time."""


def _insert_counts(
    conn: Connection, submission: SubmissionRecord, rows: Mapping[str, int], counts: Mapping[str, TableCount]
) -> None:
    for name, loaded in rows.items():
        count = counts.get(name, TableCount(loaded, loaded, 0))
        conn.execute(
            text(
                "insert into governance.submission_table"
                " (submission_id, table_name, rows_received, rows_accepted, rows_held_back)"
                " values (:id, :name, :received, :accepted, :held_back)"
            ),
            {
                "id": submission.submission_id,
                "name": name,
                "received": count.rows_received,
                "accepted": count.rows_accepted,
                "held_back": count.rows_held_back,
            },
        )


def _read_result(conn: Connection, submission_id: str, state: str) -> LoadResult:
    """What an earlier call loaded."""
    counted = conn.execute(
        text("select table_name, rows_accepted from governance.submission_table where submission_id = :id order by 1"),
        {"id": submission_id},
    )
    rows = {str(table): int(count) for table, count in counted}
    keys = conn.scalar(text("select count(*) from linkage.match_key where submission_id = :id"), {"id": submission_id})
    return LoadResult(submission_id, state, True, rows, int(keys or 0))


def _mark_superseded(conn: Connection, submission: SubmissionRecord) -> set[str]:
    """Mark what this load left without a table in force, itself included where a later one was loaded before it."""
    place = {"partner": submission.partner_id, "period": submission.period}
    return set(
        conn.scalars(
            text(
                "with latest as (select submission_id from governance.submission"
                "  where partner_id = :partner and period = :period and state in ('loaded', 'erased')"
                "  order by seq desc limit 1)"
                " update governance.submission s set state = 'superseded', superseded_by = latest.submission_id"
                " from latest where s.partner_id = :partner and s.period = :period and s.state = 'loaded'"
                " and s.submission_id <> latest.submission_id"
                " and not exists (select from facts.in_force_submission_table f"
                "  where f.submission_id = s.submission_id)"
                " returning s.submission_id"
            ),
            place,
        )
    )


# --- taking out -------------------------------------------------------------------------------------------------------


def erase_submission(conn: Connection, submission_id: str, *, actor: str, reason: str) -> int:
    """Delete all rows and match keys of a submission, in force or not, and return how many rows of facts they were.

    Its counts and receipt stay. Every snapshot that holds it changes its digest, so that a release over one cannot be
    published any more. What a full one, a correction or a nil return had replaced does not come back; of a delta
    nothing is left that says which rows it had changed, so the rows before it hold again. Twice changes nothing.
    """
    conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": FACTS_LOCK})
    state = conn.scalar(
        text("select state from governance.submission where submission_id = :id for update"), {"id": submission_id}
    )
    if state is None:
        raise DefectFound(f"There is no submission {submission_id}.")
    if state == "erased":
        return 0
    quote = conn.dialect.identifier_preparer.quote
    rows = 0
    for table in facts_tables(conn):
        statement = f"delete from {SCHEMA}.{quote(table)} where submission_id = :id"  # noqa: S608
        rows += conn.execute(text(statement), {"id": submission_id}).rowcount
    for made_of_clients in ("match_key", "encoding"):
        conn.execute(text(f"delete from linkage.{made_of_clients} where submission_id = :id"), {"id": submission_id})  # noqa: S608
    # It does not say whose records were compared; so all of it goes, and the next run compares everybody once.
    conn.execute(text("delete from linkage.compared"))
    conn.execute(
        text("update governance.submission set state = 'erased' where submission_id = :id"), {"id": submission_id}
    )
    record_event(conn, actor, "submission.erased", submission_id, {"rows": rows, "reason": reason})
    return rows


def purge_superseded(conn: Connection) -> dict[str, int]:
    """Delete rows that are neither in force nor in an open snapshot; returns how many by table, match keys included.

    Counts and receipts of their submissions stay. Twice changes nothing.
    """
    conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": FACTS_LOCK})
    quote = conn.dialect.identifier_preparer.quote
    purged = {}
    for table in facts_tables(conn):
        targets = [f"{SCHEMA}.{quote(table)}"]
        if table == "person":
            # What linkage was given goes with the client records that it was made from.
            targets += ["linkage.match_key", "linkage.encoding"]
        for target in targets:
            deleted = conn.execute(text(f"delete from {target} where submission_id in ({_IDLE})"), {"table": table})  # noqa: S608
            if deleted.rowcount:
                purged[target] = deleted.rowcount
    if purged:
        record_event(conn, ACTOR, "facts.purged", "superseded submissions", dict(purged))
    return purged


_IDLE = """
    select t.submission_id
    from governance.submission_table t
    join governance.submission s using (submission_id)
    where t.table_name = :table and s.state in ('loaded', 'superseded')
        and not exists (
            select from facts.in_force_submission_table f
            where f.submission_id = t.submission_id and f.table_name = t.table_name
        )
        and not exists (
            select from governance.snapshot_table x
            join governance.snapshot o using (snapshot_id)
            where x.submission_id = t.submission_id and x.table_name = t.table_name and o.closed_at is null
        )
"""


# --- parts ----------------------------------------------------------------------------------------------------------


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction of its own; a database that is not there or goes away is told as ``NotYet``."""
    try:
        with engine.begin() as conn:
            yield conn
    except OperationalError:
        raise NotYet("The database does not answer. Nothing of the submission was kept; try again.") from None


def _lock_partner(conn: Connection, partner_id: str) -> None:
    """One load of a partner at a time: what a load supersedes depends on the partner's other submissions."""
    conn.execute(
        text("select pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"linkarms submissions {partner_id}"}
    )


def _insert(conn: Connection, submission: SubmissionRecord) -> None:
    conn.execute(
        text(
            "insert into governance.submission (submission_id, partner_id, period, mode, agreement_version,"
            " content_digest, received_at, state, supersedes) select :id, :partner, :period, :mode, :version, :digest,"
            " :at, 'received', :supersedes where not exists"
            " (select from governance.submission where submission_id = :id) on conflict do nothing"
        ),
        {
            "id": submission.submission_id,
            "partner": submission.partner_id,
            "period": submission.period,
            "mode": submission.mode,
            "version": submission.agreement_version,
            "digest": submission.content_digest,
            "at": submission.received_at,
            "supersedes": submission.supersedes,
        },
    )


def _lock_row(conn: Connection, submission: SubmissionRecord) -> RowMapping:
    row = (
        conn.execute(
            text(
                "select state, partner_id, period, mode, content_digest, supersedes from governance.submission"
                " where submission_id = :id for update"
            ),
            {"id": submission.submission_id},
        )
        .mappings()
        .one()
    )
    for name in ("partner_id", "period", "mode", "content_digest", "supersedes"):
        if row[name] != getattr(submission, name):
            raise DefectFound(f"Submission {submission.submission_id} was registered with another {name}.")
    return row


def _as_json(receipt: Mapping[str, Any] | str) -> str:
    return receipt if isinstance(receipt, str) else json.dumps(receipt, default=str)
