"""Measures over the warehouse's own snapshot: late and corrected submissions, merged persons, fewer columns."""

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Connection

from evidence.catalogue import load_measures, run_measure, run_measures
from evidence.disclosure import make_policy, protect
from evidence.model import Measure, Status
from evidence.repeats import explain_unmarkable, mark_repeats
from protocol.errors import DefectFound
from protocol.model import Agreement, ColumnType
from protocol.pool import pool_columns
from warehouse.linkage_store import LinkageRun, read_membership, write_bounds, write_marks, write_registry_update
from warehouse.loading import SubmissionRecord, load_submission
from warehouse.plan import apply_plan, plan_columns, record_agreement
from warehouse.snapshot import present_snapshot, take_snapshot

NOW = datetime(2026, 10, 5, 9, 30, tzinfo=UTC)
PERSONS = {
    "ann": "00000000-0000-4000-8000-00000000000a",
    "bob": "00000000-0000-4000-8000-00000000000b",
    "anne": "00000000-0000-4000-8000-00000000000c",
}
TYPES: dict[ColumnType, Any] = {
    ColumnType.TEXT: pl.String,
    ColumnType.CODE: pl.String,
    ColumnType.INTEGER: pl.Int64,
    ColumnType.DECIMAL: pl.Decimal(18, 4),
    ColumnType.DATE: pl.Date,
}
NO_EVENTS = pl.DataFrame(schema=dict.fromkeys(("event", "cause", "person_id", "other_person_id"), pl.String()))


def pseudonym(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


class Pool:
    """Submissions of {table: {local key: {column: value}}} to a migrated database, and what is measured from them."""

    def __init__(self, database: Any, agreement: Agreement) -> None:
        self.database, self.agreement, self.runs = database, agreement, 0
        with database.owner.begin() as conn:
            record_agreement(conn, agreement)
            apply_plan(conn, plan_columns(conn, agreement), agreement.digest)

    def send(
        self, name: str, partner: str, tables: dict[str, dict[str, dict[str, Any]]], supersedes: str | None = None
    ) -> None:
        frames = {}
        for table, rows in tables.items():
            agreed = self.agreement.contract.table(table)
            schema: dict[str, Any] = {"row_key": pl.String, "person_ref": pl.String}
            schema |= {column.name: TYPES[column.type] for column in pool_columns(agreed)}
            lines = [
                {
                    **dict.fromkeys(schema),
                    **{column: value for column, value in values.items() if column != "person"},
                    "row_key": pseudonym(partner, table, key),
                    "person_ref": pseudonym(partner, values.get("person", key)),
                }
                for key, values in rows.items()
            ]
            frames[table] = pl.DataFrame(lines, schema=schema)
        record = SubmissionRecord(
            submission_id=name,
            partner_id=partner,
            period="2026-Q2",
            mode="correction" if supersedes else "full",
            agreement_version=self.agreement.version,
            content_digest=hashlib.sha256(name.encode()).hexdigest(),
            received_at=NOW,
            supersedes=supersedes,
        )
        load_submission(self.database.pipeline, record, frames, None, {"accepted": True})

    def present(self, conn: Connection, links: dict[tuple[str, str], str]) -> str:
        """Take a snapshot, link it as said, and show it to the connection."""
        snapshot = take_snapshot(conn, ["2026-Q2"])
        self.runs += 1
        membership = pl.DataFrame(
            [
                {"partner_id": partner, "person_ref": pseudonym(partner, client), "person_id": PERSONS[person]}
                for (partner, client), person in links.items()
            ]
        )
        write_registry_update(conn, LinkageRun(f"run {self.runs}", snapshot.id, "by hand"), membership, NO_EVENTS)
        present_snapshot(conn, snapshot.id, self.agreement)
        return snapshot.id

    def repeats(self, links: dict[tuple[str, str], str]) -> tuple[float, float]:
        """Repeats and eligible assessments of what is in force now."""
        with self.database.pipeline.begin() as conn:
            snapshot_id = self.present(conn, links)
            write_marks(conn, snapshot_id, mark_repeats(conn, self.agreement.measures.repeat_window_days))
            present_snapshot(conn, snapshot_id, self.agreement)
            measure = next(measure for measure in load_measures() if measure.id == "repeat_assessment")
            frame = run_measure(conn, measure, self.agreement).frame.filter(breakdown="all")
            found = dict(frame.select("statistic", "value").iter_rows())
            return found["repeats"], found["assessments"]


@pytest.fixture
def pool(database: Any, agreement: Agreement) -> Pool:
    return Pool(database, agreement)


def assessed(person: str, day: date, domain: str = "housing") -> dict[str, Any]:
    return {"person": person, "domain": domain, "assessed_on": day}


LINKS = {("harbour_trust", "h1"): "ann", ("castle_borough", "c1"): "ann", ("castle_borough", "c2"): "bob"}
FIRST = {"person": {"h1": {}}, "assessment": {"a1": assessed("h1", date(2026, 4, 1))}}
SECOND = {
    "person": {"c1": {}, "c2": {}},
    "assessment": {"b1": assessed("c1", date(2026, 4, 20)), "b2": assessed("c2", date(2026, 4, 20))},
}


def test_a_late_submission_adds_its_repeats_and_a_correction_replaces_them(pool: Pool) -> None:
    pool.send("s1", "harbour_trust", FIRST)
    assert pool.repeats({("harbour_trust", "h1"): "ann"}) == (0, 1)
    pool.send("s2", "castle_borough", SECOND)
    assert pool.repeats(LINKS) == (1, 3)
    corrected = {**SECOND, "assessment": {"b1": assessed("c1", date(2026, 4, 20), "debt")}}
    pool.send("s3", "castle_borough", corrected, supersedes="s2")
    assert pool.repeats(LINKS) == (0, 2)


def test_when_persons_are_merged_the_next_release_finds_their_repeats(pool: Pool) -> None:
    pool.send("s1", "harbour_trust", FIRST)
    pool.send("s2", "castle_borough", SECOND)
    assert pool.repeats({**LINKS, ("castle_borough", "c1"): "anne"}) == (0, 3)
    assert pool.repeats(LINKS) == (1, 3)


def test_when_a_person_is_parted_the_next_release_takes_the_repeats_back(pool: Pool) -> None:
    pool.send("s1", "harbour_trust", FIRST)
    pool.send("s2", "castle_borough", SECOND)
    assert pool.repeats({**LINKS, ("castle_borough", "c2"): "ann"}) == (2, 3)
    assert pool.repeats(LINKS) == (1, 3)
    assert pool.repeats({**LINKS, ("castle_borough", "c1"): "anne"}) == (0, 3)


def test_the_different_people_are_told_with_their_bounds_where_the_run_has_any(pool: Pool) -> None:
    """Two records of ann are in doubt; of bob nothing is."""
    pool.send("s1", "harbour_trust", FIRST)
    pool.send("s2", "castle_borough", SECOND)
    reach = next(measure for measure in load_measures() if measure.id == "reach")
    overlap = next(measure for measure in load_measures() if measure.id == "overlap")

    def counted(conn: Connection, measure: Measure, *statistics: str) -> list[float | None]:
        frame = run_measure(conn, measure, pool.agreement).frame.filter(breakdown="all")
        found = dict(frame.select("statistic", "value").iter_rows())
        return [found.get(statistic) for statistic in statistics]

    people = ("people_if_joined", "unique_people", "people_if_parted")
    shared = ("shared_if_joined", "shared_people", "shared_if_parted")
    with pool.database.pipeline.begin() as conn:
        snapshot_id = pool.present(conn, LINKS)
        assert counted(conn, reach, *people) == [None, 2, None]
        assert counted(conn, overlap, *shared) == [None, 1, None]
        run = LinkageRun("told", snapshot_id, "by hand", parameters={"in_doubt": {}})
        write_registry_update(conn, run, read_membership(conn), NO_EVENTS)
        bounds = pl.DataFrame(
            [
                ("harbour_trust", pseudonym("harbour_trust", "h1"), 1, 1),
                ("castle_borough", pseudonym("castle_borough", "c1"), 1, 2),
            ],
            schema=["partner_id", "person_ref", "if_joined", "if_parted"],
            orient="row",
        )
        assert write_bounds(conn, "told", bounds) == 2
        present_snapshot(conn, snapshot_id, pool.agreement)
        assert counted(conn, reach, *people) == [2, 2, 3]
        assert counted(conn, overlap, *shared) == [1, 1, 0]


def test_every_measure_runs_over_the_warehouses_snapshot(pool: Pool) -> None:
    pool.send("s1", "harbour_trust", FIRST)
    with pool.database.pipeline.begin() as conn:
        snapshot_id = pool.present(conn, {("harbour_trust", "h1"): "ann"})
        write_marks(conn, snapshot_id, mark_repeats(conn, 90))
        present_snapshot(conn, snapshot_id, pool.agreement)
        tables = run_measures(conn, pool.agreement)
    assert [table.not_available for table in tables] == [None] * len(load_measures())
    # Nobody is enrolled in this pool: that is said, and not passed over.
    protected = protect(tables, make_policy(pool.agreement))
    assert {figure.measure for figure in protected.figures} == {measure.id for measure in load_measures()}
    enrolled = [figure for figure in protected.figures if figure.measure == "reach_by_period"]
    assert [figure.status for figure in enrolled] == [Status.NOT_AVAILABLE]


def test_unmarked_assessments_stop_the_measure_and_do_not_count_as_no_repeats(pool: Pool) -> None:
    pool.send("s1", "harbour_trust", FIRST)
    with pool.database.pipeline.begin() as conn:
        pool.present(conn, {("harbour_trust", "h1"): "ann"})
        measure = next(measure for measure in load_measures() if measure.id == "repeat_assessment")
        with pytest.raises(DefectFound, match="not marked"):
            run_measure(conn, measure, pool.agreement)


def test_a_measure_whose_columns_were_not_agreed_is_not_available(database: Any, agreement: Agreement) -> None:
    kept = tuple(table for table in agreement.contract.tables if table.name != "assessment")
    contract = agreement.contract.model_copy(update={"tables": kept})
    poorer = agreement.model_copy(update={"contract": contract})
    assert explain_unmarkable(agreement) is None
    assert "assessment.domain" in str(explain_unmarkable(poorer))
    measure = next(measure for measure in load_measures() if measure.id == "need_by_domain")
    with database.pipeline.connect() as conn:
        table = run_measure(conn, measure, poorer)
    assert table.frame.is_empty()
    assert table.not_available == (
        "The agreement shares no assessment.domain, assessment.assessed_on, which this measure needs."
    )
