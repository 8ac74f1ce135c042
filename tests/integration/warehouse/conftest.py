"""A small pool to load, link and look at."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from protocol.model import Agreement, ColumnType
from protocol.pool import pool_columns
from warehouse.loading import LoadResult, SubmissionRecord, load_submission
from warehouse.plan import apply_plan, plan_columns, record_agreement

NOW = datetime(2026, 10, 5, 9, 30, tzinfo=UTC)

POLARS_TYPES = {
    ColumnType.TEXT: pl.String,
    ColumnType.CODE: pl.String,
    ColumnType.INTEGER: pl.Int64,
    ColumnType.DECIMAL: pl.Decimal(18, 4),
    ColumnType.DATE: pl.Date,
}


def pseudonym(*parts: str) -> str:
    """Stands for a keyed pseudonym: 32 hex characters."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


@dataclass
class Pool:
    """A migrated database with the agreement's plan applied, and short ways of sending to it."""

    database: Any
    agreement: Agreement
    sent: list[SubmissionRecord] = field(default_factory=list)

    def frame(self, partner: str, table: str, rows: Mapping[str, Mapping[str, Any]], *, deletions: bool = False) -> Any:
        """A pool-ready frame of {local key: {column: value}}; ``person`` names the partner's own client."""
        agreed = self.agreement.contract.table(table)
        schema: dict[str, Any] = {"row_key": pl.String}
        if agreed.person_column is not None:
            schema["person_ref"] = pl.String
        schema |= {column.name: POLARS_TYPES[column.type] for column in pool_columns(agreed)}
        if deletions:
            schema["_deleted"] = pl.Boolean
        lines = []
        for key, values in rows.items():
            line = {"row_key": pseudonym(partner, table, key), **values}
            person = line.pop("person", key)
            if agreed.person_column is not None:
                line["person_ref"] = pseudonym(partner, "person", person)
            lines.append({name: line.get(name) for name in schema})
        return pl.DataFrame(lines, schema=schema)

    def keys(self, partner: str, clients: Mapping[str, str]) -> pl.DataFrame:
        """Match keys of {client: what both partners know the person by}."""
        return pl.DataFrame(
            {
                "person_ref": [pseudonym(partner, "person", client) for client in clients],
                "key_name": ["nhs_number"] * len(clients),
                "token": [hashlib.sha256(known.encode()).hexdigest() for known in clients.values()],
            },
            schema={"person_ref": pl.String, "key_name": pl.String, "token": pl.String},
        )

    def record(self, name: str, partner: str, period: str, mode: str, supersedes: str | None = None) -> Any:
        """A submission's record."""
        return SubmissionRecord(
            submission_id=name,
            partner_id=partner,
            period=period,
            mode=mode,
            agreement_version=self.agreement.version,
            content_digest=hashlib.sha256(name.encode()).hexdigest(),
            received_at=NOW + timedelta(minutes=len(self.sent)),
            supersedes=supersedes,
        )

    def send(
        self,
        name: str,
        tables: Mapping[str, Mapping[str, Mapping[str, Any]]],
        *,
        partner: str = "harbour_trust",
        period: str = "2026-Q2",
        mode: str = "full",
        supersedes: str | None = None,
        known_by: Mapping[str, str] | None = None,
        **more: Any,
    ) -> LoadResult:
        """Load a submission of {table: {local key: {column: value}}}."""
        record = self.record(name, partner, period, mode, supersedes)
        frames = {table: self.frame(partner, table, rows, deletions=mode == "delta") for table, rows in tables.items()}
        keys = self.keys(partner, known_by) if known_by else None
        self.sent.append(record)
        return load_submission(self.database.pipeline, record, frames, keys, {"accepted": True}, **more)

    def publish(self, snapshot_id: str, number: int) -> None:
        """Publish a release of a snapshot in the place of the one before."""
        with self.database.pipeline.begin() as conn:
            conn.execute(text("update evidence.release set state = 'superseded' where state = 'published'"))
            conn.execute(
                text(
                    "insert into evidence.release (release_id, number, state, snapshot_id, snapshot_digest,"
                    " agreement_version, agreement_digest, code_version, parameters, prepared_at, approver, reason,"
                    " approved_at, published_at) values"
                    " (:id, :number, 'published', :snapshot, '', '', '', '', '{}', now(), 'a', 'r', now(), now())"
                ),
                {"id": f"r{number}", "number": number, "snapshot": snapshot_id},
            )


@pytest.fixture
def pool(database: Any, agreement: Agreement) -> Pool:
    """An empty pool of the example partnership."""
    with database.owner.begin() as conn:
        record_agreement(conn, agreement)
        apply_plan(conn, plan_columns(conn, agreement), agreement.digest)
    return Pool(database, agreement)


@pytest.fixture
def granted(agreement: Agreement) -> Agreement:
    """The example agreement with two pool grants and an evidence grant that hold today, whatever day it is."""
    today = date.today()  # noqa: DTZ011  # the database asks its own clock, too
    starts, ends = today - timedelta(30), today + timedelta(30)
    pool_grant = agreement.grants[0].model_copy(
        update={
            "id": "team_a",
            "logins": ("analyst_a",),
            "views": ("evidence.*", "pool.*"),
            "starts": starts,
            "ends": ends,
        }
    )
    other = pool_grant.model_copy(update={"id": "team_b", "logins": ("analyst_b",)})
    reader = pool_grant.model_copy(update={"id": "board", "logins": ("board_member",), "views": ("evidence.*",)})
    return agreement.model_copy(update={"grants": (pool_grant, other, reader)})
