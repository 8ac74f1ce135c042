"""Which assessment is of record, which repeats another partner's, and which is a partner's own review."""

from pathlib import Path

import polars as pl
from sqlalchemy import Connection, text

from evidence.catalogue import explain_missing
from protocol.model import Agreement

_SQL = (Path(__file__).parent / "repeats.sql").read_text(encoding="utf-8").partition("*/")[2]

NEEDS = ("assessment.domain", "assessment.assessed_on", "assessment.valid_to")
"""What marking reads of the pool."""

MARKS_SCHEMA = pl.Schema(
    {
        "partner_id": pl.String(),
        "row_key": pl.String(),
        "mark": pl.String(),
        "repeats_partner_id": pl.String(),
        "repeats_row_key": pl.String(),
        "days_since": pl.Int64(),
    }
)
"""Columns of the marks: one row an assessment; the last three are null for ``of_record``, and name the partner's own
earlier assessment for ``review``."""


def explain_unmarkable(agreement: Agreement) -> str | None:
    """Why repeats cannot be marked under this agreement, in a sentence; None where they can."""
    return explain_missing(NEEDS, agreement)


def mark_repeats(conn: Connection, window_days: int) -> pl.DataFrame:
    """The mark of every assessment that the connection's relation ``assessment`` shows: ``of_record``, ``repeat`` or
    ``review`` (definitions in ``repeats.sql``, examples in ``tests/spec/measures/test_repeats.py``).

    ``window_days`` is the agreement's figure. Columns of :data:`MARKS_SCHEMA`, sorted by partner and row key; the
    same relation always gives the same marks.
    """
    rows = conn.execute(text(_SQL), {"window_days": window_days}).all()
    return pl.DataFrame([tuple(row) for row in rows], schema=MARKS_SCHEMA, orient="row")
