"""What linkage reads from the database and writes to it: match keys, the registry, pseudonyms given out, marks.

All functions work in the caller's transaction; rows are written by COPY into a temporary table and merged from there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from psycopg import sql
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from protocol.errors import DefectFound
from warehouse.audit import record_event
from warehouse.loading import ACTOR
from warehouse.roles import driver
from warehouse.snapshot import link_query, open_clients_query, rows_query
from warehouse.transfer import Schema, copy_in, copy_out_all, pack_frame, unpack_frame

MATCH_KEY_SCHEMA: Schema = {"partner_id": pl.String, "person_ref": pl.String, "key_name": pl.String, "token": pl.Int64}
RECORD_SCHEMA: Schema = {"partner_id": pl.String, "person_ref": pl.String}
MEMBERSHIP_SCHEMA: Schema = {
    "partner_id": pl.String,
    "person_ref": pl.String,
    "person_id": pl.String,
    "since_run": pl.String,
    "person_created_at": pl.Datetime("us"),
}


@dataclass(frozen=True)
class LinkageRun:
    """One run of linkage over a snapshot."""

    run_id: str
    snapshot_id: str
    method: str
    """Name and version of the method."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


# --- reading --------------------------------------------------------------------------------------------------------


def read_match_keys(conn: Connection, snapshot_id: str) -> pl.DataFrame:
    """Match keys of the snapshot's client records: partner_id, person_ref, key_name, token; sorted. Of each token the
    first 64 bits, as a number: enough to tell tokens apart, and a tenth of the memory.

    A record has the keys of all its rows in the snapshot, not of the latest alone: a client who has moved since an
    earlier period is still found under the earlier address. Clients who must not be linked have none here.
    """
    query = sql.SQL(
        'select distinct k.partner_id collate "C", k.person_ref collate "C", k.key_name collate "C",'
        " ('x' || left(k.token, 16))::bit(64)::bigint from ({clients}) p"
        " join governance.snapshot_table t on t.snapshot_id = {snapshot} and t.table_name = 'person'"
        " join linkage.match_key k on k.submission_id = t.submission_id"
        " and k.partner_id = p.partner_id and k.person_ref = p.person_ref"
        " order by 1, 2, 3, 4"
    ).format(clients=open_clients_query(sql.Literal(snapshot_id)), snapshot=sql.Literal(snapshot_id))
    return copy_out_all(conn, query, MATCH_KEY_SCHEMA)


def read_encodings(conn: Connection, snapshot_id: str) -> pl.DataFrame:
    """Encodings of the snapshot's client records: ``partner_id``, ``person_ref``, and the columns that were packed;
    sorted.

    A record has the tokens of all its rows in the snapshot, as it has their match keys; of its filters those of the
    latest row that has any. Clients who must not be linked have none here.
    """
    parts = conn.execute(
        text(
            "select e.partner_id, e.content from governance.snapshot_table t join linkage.encoding e using"
            " (submission_id) where t.snapshot_id = :id and t.table_name = 'person' order by t.ord, e.part"
        ),
        {"id": snapshot_id},
    )
    frames = [unpack_frame(bytes(content)).with_columns(partner_id=pl.lit(partner)) for partner, content in parts]
    if not frames:
        return pl.DataFrame(schema=RECORD_SCHEMA)
    linkable = read_records(conn, snapshot_id)
    stored = pl.concat(frames).join(linkable, on=list(RECORD_SCHEMA), how="semi", maintain_order="left")
    # Most rows of a later period say what the earlier said, and most records have one row.
    stored = stored.unique(keep="last", maintain_order=True)
    once = pl.struct(*RECORD_SCHEMA).is_unique()
    lists = [name for name, kind in stored.schema.items() if isinstance(kind, pl.List)]
    halves = [name for name in stored.columns if name not in (*RECORD_SCHEMA, *lists)]
    merged = (
        stored.filter(~once)
        .group_by(*RECORD_SCHEMA, maintain_order=True)
        .agg(
            pl.col(lists).explode().drop_nulls().unique(),
            pl.col(halves).drop_nulls().last(),
        )
        # What no row knows stays unknown: an empty list would be a value that differs from every other.
        .with_columns(pl.when(pl.col(name).list.len() > 0).then(pl.col(name)) for name in lists)
    )
    return pl.concat([stored.filter(once).select(merged.columns), merged]).sort(*RECORD_SCHEMA)


def read_records(conn: Connection, snapshot_id: str) -> pl.DataFrame:
    """The snapshot's client records that may be linked, with match keys or without: partner_id, person_ref; sorted."""
    query = sql.SQL(
        "select p.partner_id, p.person_ref from ({clients}) p"
        ' order by p.partner_id collate "C", p.person_ref collate "C"'
    ).format(clients=open_clients_query(sql.Literal(snapshot_id)))
    return copy_out_all(conn, query, RECORD_SCHEMA)


def read_membership(conn: Connection) -> pl.DataFrame:
    """The registry as it stands: partner_id, person_ref, person_id, since_run, person_created_at; sorted by the
    first two."""
    query = sql.SQL(
        "select m.partner_id, m.person_ref, m.person_id, m.since_run, p.created_at at time zone 'UTC'"
        " from linkage.membership m join linkage.person p using (person_id)"
        ' order by partner_id collate "C", person_ref collate "C"'
    ).format()
    return copy_out_all(conn, query, MEMBERSHIP_SCHEMA)


def read_persons(conn: Connection, snapshot_id: str) -> pl.DataFrame:
    """The persons of a snapshot as its measures see them: person_id; sorted, each once."""
    query = sql.SQL("select distinct person_id from ({links}) l order by person_id").format(
        links=link_query(sql.Literal(snapshot_id))
    )
    return copy_out_all(conn, query, {"person_id": pl.String})


def read_run(conn: Connection, run_id: str) -> LinkageRun | None:
    """The run of that id, or None where it has not been recorded."""
    row = conn.execute(
        text("select run_id, snapshot_id, method, parameters, counts from linkage.run where run_id = :id"),
        {"id": run_id},
    ).one_or_none()
    return None if row is None else LinkageRun(*row)


def read_latest_run(conn: Connection) -> LinkageRun | None:
    """The run that changed the registry last; None before the first."""
    run_id = conn.scalar(text("select run_id from linkage.run order by seq desc limit 1"))
    return None if run_id is None else read_run(conn, run_id)


def read_splits(conn: Connection) -> pl.DataFrame:
    """Persons that were parted: person_id, other_person_id, run_seq. They do not meet again by themselves.

    A person that was merged into another since is told as the one that goes on, so that its separation holds for that
    one; two that went into one person are parted no more. ``run_seq`` is the order number of the run that parted them,
    of the latest where several did.
    """
    query = sql.SQL(
        "with recursive parted as (select e.event_id, r.seq, e.person_id, e.other_person_id"
        " from linkage.registry_event e join linkage.run r using (run_id)"
        " where e.event = 'split' and e.other_person_id is not null),"
        " way (was, person_id) as (select person_id, person_id from parted"
        " union select other_person_id, other_person_id from parted"
        " union select w.was, p.retired_into from way w join linkage.person p using (person_id)"
        " where p.retired_into is not null),"
        " now as (select w.was, w.person_id from way w join linkage.person p using (person_id)"
        " where p.retired_into is null)"
        " select a.person_id, b.person_id, max(s.seq) from parted s join now a on a.was = s.person_id"
        " join now b on b.was = s.other_person_id where a.person_id <> b.person_id"
        " group by a.person_id, b.person_id order by min(s.event_id)"
    ).format()
    return copy_out_all(conn, query, {"person_id": pl.String, "other_person_id": pl.String, "run_seq": pl.Int64})


# --- writing --------------------------------------------------------------------------------------------------------


def write_registry_update(
    conn: Connection, run: LinkageRun, membership: pl.DataFrame, events: pl.DataFrame, now: datetime | None = None
) -> int:
    """Record a run and its result; returns how many records moved (new ones included). The same run twice moves none.

    ``membership`` (partner_id, person_ref, person_id) holds the records that the run decided on. A record of the run's
    snapshot that is not in it is linked no more and loses its person; records outside the snapshot stay where they
    are. Where a record was before goes into the history. ``events`` (event, cause, person_id, other_person_id)
    are created, joined, merged or split; of a merge ``other_person_id`` is the person that is retired into
    ``person_id``. Raises :class:`DefectFound` where the membership names a retired person or a record twice.
    """
    conn.execute(text("lock table linkage.membership in share row exclusive mode"))
    known = conn.scalar(text("select snapshot_id from linkage.run where run_id = :id"), {"id": run.run_id})
    if known is not None:
        if known != run.snapshot_id:
            raise DefectFound(f"Linkage run {run.run_id} was recorded over another snapshot.")
        return 0
    conn.execute(
        text(
            "insert into linkage.run (run_id, snapshot_id, method, parameters, counts, finished_at)"
            " values (:id, :snapshot, :method, cast(:parameters as jsonb), cast(:counts as jsonb),"
            " coalesce(:now, now()))"
        ),
        {
            "id": run.run_id,
            "snapshot": run.snapshot_id,
            "method": run.method,
            "parameters": json.dumps(dict(run.parameters), default=str),
            "counts": json.dumps(dict(run.counts)),
            "now": now,
        },
    )
    decided = membership.select("partner_id", "person_ref", "person_id")
    _stage(conn, "decided", "partner_id text, person_ref text, person_id uuid", decided)
    _stage(
        conn,
        "happened",
        "event text, cause text, person_id uuid, other_person_id uuid",
        events.select("event", "cause", "person_id", "other_person_id"),
    )
    twice = conn.scalar(
        text("select count(*) from (select from decided group by partner_id, person_ref having count(*) > 1) t")
    )
    if twice:
        raise DefectFound(f"Linkage run {run.run_id} puts {twice} records in two places.")
    parameters = {"run": run.run_id, "now": now}
    conn.execute(
        text(
            "insert into linkage.person (person_id, created_at)"
            " select person_id, coalesce(:now, now()) from (select person_id from decided union"
            " select person_id from happened union select other_person_id from happened) n"
            " where person_id is not null on conflict do nothing"
        ),
        parameters,
    )
    conn.execute(
        text(
            "update linkage.person p set retired_into = h.person_id from happened h"
            " where h.event = 'merged' and p.person_id = h.other_person_id"
        )
    )
    retired = conn.scalar(
        text("select count(*) from decided join linkage.person using (person_id) where retired_into is not null")
    )
    if retired:
        raise DefectFound(f"Linkage run {run.run_id} puts {retired} records to persons that were merged into others.")
    conn.execute(
        text(
            "insert into linkage.registry_event (run_id, event, cause, person_id, other_person_id)"
            " select :run, event, cause, person_id, other_person_id from happened"
        ),
        parameters,
    )
    # What the run takes away: records that move, and those of its snapshot that it no longer links.
    taken = sql.SQL(
        "create temporary table taken on commit drop as"
        " select m.partner_id, m.person_ref, m.person_id, m.since_run, d.person_id is null as left_out"
        " from linkage.membership m left join decided d using (partner_id, person_ref)"
        " where d.person_id <> m.person_id or (d.person_id is null and (m.partner_id, m.person_ref) in"
        " (select s.partner_id, s.person_ref from ({}) s))"
    ).format(rows_query("person", sql.Literal(run.snapshot_id)))
    driver(conn).execute(taken)
    conn.execute(
        text(
            "insert into linkage.membership_history (partner_id, person_ref, person_id, since_run, until_run)"
            " select partner_id, person_ref, person_id, since_run, :run from taken"
        ),
        parameters,
    )
    left = conn.execute(
        text(
            "delete from linkage.membership m using taken t"
            " where t.left_out and m.partner_id = t.partner_id and m.person_ref = t.person_ref"
        )
    ).rowcount
    moved = conn.execute(
        text(
            "insert into linkage.membership as m (partner_id, person_ref, person_id, since_run)"
            " select partner_id, person_ref, person_id, :run from decided on conflict (partner_id, person_ref)"
            " do update set person_id = excluded.person_id, since_run = excluded.since_run"
            " where m.person_id <> excluded.person_id"
        ),
        parameters,
    ).rowcount
    for name in ("decided", "happened", "taken"):
        conn.execute(text(f"drop table pg_temp.{name}"))
    record_event(
        conn, ACTOR, "linkage.recorded", run.run_id, {"snapshot": run.snapshot_id, "moved": moved, "left": left}
    )
    return moved + left


PAIR_SCHEMA: Schema = {
    "partner_id": pl.String,
    "person_ref": pl.String,
    "other_partner_id": pl.String,
    "other_person_ref": pl.String,
    "levels": pl.String,
    "probability": pl.Float64,
    "forbidden": pl.String,
}


def write_scored_pairs(conn: Connection, pairs: pl.DataFrame) -> int:
    """Record the pairs that a run scored (columns of :data:`PAIR_SCHEMA`) in the place of the earlier run's."""
    conn.execute(text("delete from linkage.scored_pair"))
    return copy_in(conn, "linkage", "scored_pair", pairs.select(*PAIR_SCHEMA))


def read_scored_pairs(conn: Connection, persons: Sequence[str] | None = None) -> pl.DataFrame:
    """The pairs that the latest run scored, those within and between ``persons`` alone where given; sorted."""
    of = sql.SQL("(select partner_id, person_ref from linkage.membership where person_id = any({}::uuid[]))").format(
        sql.Literal(list(persons or ()))
    )
    both = sql.SQL("where (partner_id, person_ref) in {of} and (other_partner_id, other_person_ref) in {of}")
    where = sql.SQL("").format() if persons is None else both.format(of=of)
    query = sql.SQL(
        "select partner_id, person_ref, other_partner_id, other_person_ref, levels, probability, forbidden"
        " from linkage.scored_pair {where} order by 1, 2, 3, 4"
    ).format(where=where)
    return copy_out_all(conn, query, PAIR_SCHEMA)


BOUND_SCHEMA: Schema = {
    "partner_id": pl.String,
    "person_ref": pl.String,
    "if_joined": pl.Int64,
    "if_parted": pl.Int64,
}


def write_bounds(conn: Connection, run_id: str, bounds: pl.DataFrame) -> int:
    """Record whose person hangs on pairs in doubt (columns of :data:`BOUND_SCHEMA`), by the run that is recorded
    already; those of an earlier run over the same snapshot go."""
    conn.execute(
        text(
            "delete from linkage.person_bound where run_id in (select o.run_id from linkage.run o join linkage.run r"
            " using (snapshot_id) where r.run_id = :run)"
        ),
        {"run": run_id},
    )
    rows = bounds.select(pl.lit(run_id).alias("run_id"), *BOUND_SCHEMA)
    return copy_in(conn, "linkage", "person_bound", rows)


def count_level_patterns(conn: Connection) -> pl.DataFrame:
    """How many of the pairs that the latest run keeps have each pattern of levels: ``levels``, ``pairs``."""
    query = sql.SQL("select levels, count(*) from linkage.scored_pair group by 1 order by 1").format()
    return copy_out_all(conn, query, {"levels": pl.String, "pairs": pl.Int64})


COMPARED_AT_ONCE = 2_000_000
"""Pairs that are packed together."""


def write_compared(conn: Connection, method: str, pairs: pl.DataFrame) -> int:
    """Keep what a run compared, in the place of the earlier run's; returns how many pairs."""
    conn.execute(text("delete from linkage.compared"))
    for part, some in enumerate(pairs.iter_slices(COMPARED_AT_ONCE)):
        conn.execute(
            text("insert into linkage.compared (part, method, pairs, content) values (:part, :method, :pairs, :all)"),
            {"part": part, "method": method, "pairs": some.height, "all": pack_frame(some)},
        )
    return pairs.height


def read_compared(conn: Connection, method: str) -> pl.DataFrame | None:
    """What the latest run compared by this method; None where there is nothing."""
    parts = conn.scalars(
        text("select content from linkage.compared where method = :method order by part"), {"method": method}
    )
    frames = [unpack_frame(bytes(content)) for content in parts]
    return pl.concat(frames) if frames else None


def write_published_ids(conn: Connection, audience: str, frame: pl.DataFrame) -> int:
    """Record the pseudonyms of persons for one grant (person_id, published_id); returns how many are new or changed.

    A person of whom the frame says nothing keeps the pseudonym that it has. Raises :class:`DefectFound` where two
    persons would have the same one.
    """
    _stage(conn, "given", "person_id uuid, published_id text", frame.select("person_id", "published_id"))
    try:
        changed = conn.execute(
            text(
                "insert into linkage.published_id as p (audience, person_id, published_id)"
                " select :audience, person_id, published_id from given on conflict (audience, person_id)"
                " do update set published_id = excluded.published_id where p.published_id <> excluded.published_id"
            ),
            {"audience": audience},
        ).rowcount
    except IntegrityError:
        raise DefectFound(f"Two persons would have one pseudonym for grant {audience}.") from None
    conn.execute(text("drop table pg_temp.given"))
    return changed


def write_marks(conn: Connection, snapshot_id: str, frame: pl.DataFrame) -> int:
    """Record the marks of a snapshot's assessments in the place of earlier ones; returns how many.

    Columns: partner_id, row_key, mark (of_record, repeat, review), repeats_partner_id, repeats_row_key, days_since.
    """
    columns = ["partner_id", "row_key", "mark", "repeats_partner_id", "repeats_row_key", "days_since"]
    conn.execute(text("delete from facts.assessment_mark where snapshot_id = :id"), {"id": snapshot_id})
    return copy_in(conn, "facts", "assessment_mark", frame.select(columns), {"snapshot_id": snapshot_id})


def _stage(conn: Connection, name: str, columns: str, frame: pl.DataFrame) -> None:
    """Put a frame into a temporary table of the session, replacing one of that name."""
    conn.exec_driver_sql(f"drop table if exists pg_temp.{name}")
    conn.exec_driver_sql(f"create temporary table {name} ({columns}) on commit drop")
    copy_in(conn, "pg_temp", name, frame)
    driver(conn).execute(sql.SQL("analyze {}").format(sql.Identifier("pg_temp", name)))
