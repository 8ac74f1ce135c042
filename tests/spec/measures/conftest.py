"""A pool small enough to read: each table is written as text, each measure is asked on a real PostgreSQL.

In the tables, ``person`` is a short name. The same name at two partners is the same person; a name with a question
mark (``ann?``) is a record that could not be linked. An empty cell is null.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from evidence.catalogue import load_measures, run_measure
from evidence.repeats import mark_repeats
from protocol.model import Agreement
from warehouse.server import EmbeddedServer

Row = tuple[str, ...]

COMMON = "partner_id text, period text, row_key text, person_ref text, person_id uuid"
RELATIONS = {
    "assessment": f"{COMMON}, domain text, tool text, assessed_on date, valid_to date, minutes bigint, mark text,"
    " repeats_partner_id text, repeats_row_key text, days_since integer",
    "enrolment": f"{COMMON}, programme text, started_on date, ended_on date, end_reason text",
    "referral": f"{COMMON}, direction text, other_partner text, sent_on date, accepted_on date, first_contact_on date,"
    " status text, declined_reason text, assessment_passed_on text",
    "stage_event": f"{COMMON}, programme text, stage text, entered_on date",
    "outcome": f"{COMMON}, outcome text, achieved_on date",
    "record": "partner_id text, person_ref text, person_id uuid, if_joined text, if_parted text, linkable boolean",
    "partner": "partner_id text, name text, kind text, agency text, tier text",
    "collection_period": "period text, starts date, ends date",
    "coverage": "partner_id text, period text, table_name text, rows_received bigint, rows_accepted bigint,"
    " rows_held_back bigint",
    "figures": "repeat_window_days integer, lost_referral_days integer, bounce_days integer, hourly_cost_gbp numeric",
}
SHORT = {"partner": "partner_id", "row": "row_key", "table": "table_name"}


def read_table(written: str) -> list[dict[str, str | None]]:
    """Rows of a text table: the first line names the columns, ``|`` parts the cells, an empty cell is None."""
    lines = [[cell.strip() for cell in line.split("|")] for line in written.strip().splitlines()]
    return [{name: cell or None for name, cell in zip(lines[0], line, strict=True)} for line in lines[1:]]


@dataclass
class Pool:
    """The relations of one test."""

    conn: Connection
    agreement: Agreement
    keys: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def give(self, relation: str, written: str) -> None:
        """Put rows into a relation."""
        for row in read_table(written):
            values: dict[str, Any] = {SHORT.get(name, name): cell for name, cell in row.items()}
            person = values.pop("person", None)
            if relation not in ("partner", "collection_period", "coverage", "figures"):
                if relation != "record":
                    values.setdefault("row_key", f"row{next(self.keys):04}")
                if person is not None:
                    values["person_ref"] = f"{values['partner_id']}/{person}"
                    values["person_id"] = None if person.endswith("?") else uuid.uuid5(uuid.NAMESPACE_OID, person)
            names = ", ".join(values)
            places = ", ".join(f":{name}" for name in values)
            self.conn.execute(text(f"insert into pg_temp.{relation} ({names}) values ({places})"), values)

    def agree(self, **figures: float) -> None:
        """Change figures of the agreement: ``repeat_window_days``, ``lost_referral_days``, ``hourly_cost_gbp``."""
        for name, value in figures.items():
            self.conn.execute(text(f"update pg_temp.figures set {name} = :value"), {"value": value})

    def mark(self) -> list[Row]:
        """Mark the assessments as the release does; returns row, mark, what it repeats, days since."""
        window = self.conn.execute(text("select repeat_window_days from figures")).scalar_one()
        marks = mark_repeats(self.conn, window)
        for row in marks.iter_rows(named=True):
            self.conn.execute(
                text(
                    "update pg_temp.assessment set mark = :mark, repeats_partner_id = :repeats_partner_id,"
                    " repeats_row_key = :repeats_row_key, days_since = :days_since"
                    " where partner_id = :partner_id and row_key = :row_key"
                ),
                row,
            )
        columns = ("row_key", "mark", "repeats_row_key", "days_since")
        rows = marks.sort("row_key").select(columns).iter_rows()
        return [tuple("" if cell is None else str(cell) for cell in row) for row in rows]

    def ask(self, measure_id: str, breakdown: str, *statistics: str) -> list[Row]:
        """The exact figures of one breakdown: its dimensions, then one cell a statistic (shares as ``1/4``)."""
        measure = next(measure for measure in load_measures() if measure.id == measure_id)
        table = run_measure(self.conn, measure, self.agreement)
        assert table.not_available is None, table.not_available
        cells: dict[str, dict[str, str]] = {}
        for row in table.frame.filter(breakdown=breakdown).iter_rows(named=True):
            shown = "" if row["value"] is None else f"{row['value']:g}"
            if row["numerator"] is not None and row["denominator"] is not None and shown:
                shown = f"{row['numerator']:g}/{row['denominator']:g}"
            cells.setdefault(row["dims"], {})[row["statistic"]] = shown
        order = tuple(measure.breakdown(breakdown).dims)
        return sorted(
            (*(json.loads(dims)[name] for name in order), *(found.get(name, "") for name in statistics))
            for dims, found in cells.items()
        )

    def people_behind(self, measure_id: str, breakdown: str, statistic: str) -> list[tuple[int | None, ...]]:
        """Distinct people behind each figure: in it, in its whole, in the rest of its whole."""
        measure = next(measure for measure in load_measures() if measure.id == measure_id)
        frame = run_measure(self.conn, measure, self.agreement).frame
        chosen = frame.filter(breakdown=breakdown, statistic=statistic)
        return list(chosen.select("people", "base_people", "rest_people").iter_rows())

    @staticmethod
    def expect(written: str) -> list[Row]:
        """A text table as rows, to compare with :meth:`ask` and :meth:`mark`."""
        return [tuple(cell or "" for cell in row.values()) for row in read_table(written)]


@pytest.fixture(scope="session")
def spec_engine(database_server: EmbeddedServer) -> Iterator[Engine]:
    """One bare database for all specification tests, since they use temporary relations only."""
    database_server.create_database("spec_measures", "linkarms_owner")
    engine = create_engine(database_server.url(database="spec_measures"), poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def pool(spec_engine: Engine, agreement: Agreement) -> Iterator[Pool]:
    """Empty relations, four partners, two periods, and the usual figures; gone after the test."""
    with spec_engine.connect() as conn:
        for name, columns in RELATIONS.items():
            conn.execute(text(f"create temporary table {name} ({columns})"))
        made = Pool(conn, agreement)
        made.give(
            "partner",
            """
            partner | name      | kind       | agency    | tier
            charity | Charity   | charity    | voluntary | core
            clinic  | Clinic    | health     | nhs       | core
            council | Council   | council    | council   | core
            jobs    | Jobcentre | job_centre | dwp       | wider
            """,
        )
        made.give(
            "collection_period",
            """
            period  | starts     | ends
            2026-Q2 | 2026-04-01 | 2026-06-30
            2026-Q3 | 2026-07-01 | 2026-09-30
            """,
        )
        made.give(
            "figures",
            """
            repeat_window_days | lost_referral_days | bounce_days | hourly_cost_gbp
            90                 | 28                 | 30          | 30
            """,
        )
        yield made
        conn.rollback()
