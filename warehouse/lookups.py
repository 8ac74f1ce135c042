"""What the warehouse knows of submissions, rows and keys, for the steps that check and load a new submission."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from psycopg import sql
from sqlalchemy import Connection, text

from warehouse.roles import driver


@dataclass(frozen=True)
class KnownSubmission:
    """A submission as the warehouse has it."""

    submission_id: str
    partner_id: str
    period: str
    state: str
    received_at: datetime


def read_submission(conn: Connection, submission_id: str) -> KnownSubmission | None:
    """The submission of that id, or None."""
    row = conn.execute(
        text(
            "select submission_id, partner_id, period, state, received_at from governance.submission"
            " where submission_id = :id"
        ),
        {"id": submission_id},
    ).one_or_none()
    return None if row is None else KnownSubmission(*row)


def read_previous_counts(conn: Connection, partner_id: str, period: str) -> dict[str, int]:
    """Accepted rows by table that are in force for the partner and period; empty before its first submission."""
    rows = conn.execute(
        text(
            "select c.table_name, sum(c.rows_accepted)::bigint from facts.in_force_submission_table f"
            " join governance.submission_table c using (submission_id, table_name)"
            " where f.partner_id = :partner and f.period = :period group by c.table_name"
        ),
        {"partner": partner_id, "period": period},
    )
    return {table: int(count) for table, count in rows}


def read_last_receipt(conn: Connection, partner_id: str, period: str, submission_id: str) -> dict[str, Any] | None:
    """The receipt of the partner's submission before this one, taken in or refused: the latest of the same period, or
    else the latest of any; None before its first."""
    receipt = conn.scalar(
        text(
            "select receipt from governance.submission where partner_id = :partner and submission_id <> :id"
            " and receipt is not null order by (period = :period) desc, seq desc limit 1"
        ),
        {"partner": partner_id, "period": period, "id": submission_id},
    )
    return None if receipt is None else dict(receipt)


def find_known_rows(conn: Connection, partner_id: str, table: str, row_keys: pl.Series) -> pl.Series:
    """Which of these row keys the partner has in force in a table, from any period: a series of text, each once."""
    query = sql.SQL(
        "select row_key from (select distinct on (f.row_key) f.row_key, f.deleted from facts.{table} f"
        " join facts.in_force_submission_table i on i.submission_id = f.submission_id and i.table_name = {name}"
        " join governance.submission s on s.submission_id = f.submission_id"
        " left join governance.collection_period p on p.period = f.period"
        " where f.partner_id = %s and f.row_key = any(%s)"
        " order by f.row_key, p.starts desc nulls last, s.seq desc) latest where not deleted"
    ).format(table=sql.Identifier(table), name=sql.Literal(table))
    wanted = row_keys.drop_nulls().unique().to_list()
    with driver(conn).cursor() as cursor:
        cursor.execute(query, (partner_id, wanted))
        return pl.Series("row_key", [row[0] for row in cursor], dtype=pl.String)


def find_earlier_received(conn: Connection, submission_id: str) -> tuple[str, ...]:
    """The same partner's submissions that were received before this one and are not decided, in that order."""
    return tuple(
        conn.scalars(
            text(
                "select e.submission_id from governance.submission s join governance.submission e"
                " on e.partner_id = s.partner_id and e.seq < s.seq and e.state = 'received'"
                " where s.submission_id = :id order by e.seq"
            ),
            {"id": submission_id},
        )
    )


def sort_by_receipt(conn: Connection, submission_ids: Sequence[str]) -> tuple[str, ...]:
    """The submissions in the order in which they were received; those that were never registered are left out."""
    return tuple(
        conn.scalars(
            text("select submission_id from governance.submission where submission_id = any(:ids) order by seq"),
            {"ids": list(submission_ids)},
        )
    )


def read_key_id(conn: Connection) -> str | None:
    """Id of the keys that this database's pseudonyms are made with; None while it has none.

    The last recorded rotation says it, or, before the first one, the rows in force.
    """
    found = conn.scalar(text("select after_key_id from governance.key_change order by change_id desc limit 1"))
    if found is None:
        found = conn.scalar(
            text(
                "select key_id from governance.submission where state = 'loaded' and key_id is not null"
                " order by seq desc limit 1"
            )
        )
    return None if found is None else str(found)


def count_separations(conn: Connection) -> int:
    """Decisions in the registry that rest on pseudonyms: pairs of persons that were parted."""
    return int(conn.scalar(text("select count(*) from linkage.registry_event where event = 'split'")) or 0)
