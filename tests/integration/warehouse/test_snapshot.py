"""Snapshots: what is in force at a moment, and the relations that measures read over it."""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Connection, text

from protocol.errors import LinkarmsError, NotYet
from protocol.model import Period
from protocol.pool import pool_columns
from warehouse.linkage_store import LinkageRun, read_match_keys, read_membership, write_marks, write_registry_update
from warehouse.loading import erase_submission
from warehouse.plan import record_agreement
from warehouse.snapshot import (
    Coverage,
    close_snapshot,
    present_snapshot,
    read_snapshot,
    snapshot_digest,
    take_snapshot,
)

ANNA = "00000000-0000-4000-8000-00000000000a"
BERT = "00000000-0000-4000-8000-00000000000b"
NO_EVENTS = pl.DataFrame(schema=["event", "cause", "person_id", "other_person_id"])


def query(conn: Connection, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in conn.execute(text(statement)).all()]


def membership(pool: Any, links: dict[tuple[str, str], str]) -> pl.DataFrame:
    lines = [
        {"partner_id": partner, "person_ref": ref(pool, partner, client), "person_id": person}
        for (partner, client), person in links.items()
    ]
    return pl.DataFrame(lines)


def ref(pool: Any, partner: str, client: str) -> str:
    return str(pool.frame(partner, "person", {client: {}})["person_ref"][0])


def test_equal_sets_of_submissions_are_one_snapshot(pool: Any) -> None:
    pool.send("s1", {"person": {"c1": {}}, "cost": {"k1": {}}})
    with pool.database.pipeline.begin() as conn:
        first = take_snapshot(conn, ["2026-Q2"])
        second = take_snapshot(conn, ["2026-Q2"])
        assert first == second == read_snapshot(conn, first.id)
        assert first.digest == snapshot_digest(conn, first.id)
        assert take_snapshot(conn, ["2026-Q2"], ["harbour_trust"]).id != first.id
    pool.send("s2", {"cost": {"k1": {}}})
    with pool.database.pipeline.begin() as conn:
        assert take_snapshot(conn, ["2026-Q2"]).id != first.id


def test_a_snapshot_of_nothing_waits(pool: Any) -> None:
    with pytest.raises(NotYet), pool.database.pipeline.begin() as conn:
        take_snapshot(conn, ["2026-Q2"])
    with pytest.raises(LinkarmsError), pool.database.pipeline.begin() as conn:
        snapshot_digest(conn, "snapshot-of-nobody")


def test_a_snapshot_holds_the_periods_and_partners_asked_for_and_says_what_they_sent(pool: Any) -> None:
    pool.send("s1", {"person": {"c1": {}, "c2": {}}})
    pool.send("s1 delta", {"person": {"c3": {}}}, mode="delta")
    pool.send("s2", {"person": {"c1": {}}}, period="2026-Q3")
    pool.send("s3", {"person": {"c9": {}}}, partner="bridge_housing")
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"], ["harbour_trust", "castle_borough"])

    assert [table.submission_id for table in snapshot.tables] == ["s1", "s1 delta"]
    assert snapshot.coverage == (Coverage("harbour_trust", "2026-Q2", "person", 3, 3, 0),)


def test_later_submissions_do_not_change_a_snapshot_and_an_erased_one_does(pool: Any) -> None:
    pool.send("s1", {"person": {"c1": {}}})
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
    pool.send("s2", {"person": {"c1": {}}})
    with pool.database.pipeline.begin() as conn:
        assert snapshot_digest(conn, snapshot.id) == snapshot.digest
        erase_submission(conn, "s1", actor="coordinator", reason="sent in error")
        assert snapshot_digest(conn, snapshot.id) != snapshot.digest


def test_a_row_that_goes_missing_changes_the_digest(pool: Any) -> None:
    pool.send("s1", {"person": {"c1": {}, "c2": {}}})
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
        conn.execute(text("delete from facts.person where row_key = (select min(row_key) from facts.person)"))
        assert snapshot_digest(conn, snapshot.id) != snapshot.digest


def test_a_snapshot_that_a_release_needs_is_not_closed(pool: Any) -> None:
    pool.send("s1", {"person": {"c1": {}}})
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
        conn.execute(
            text(
                "insert into evidence.release (release_id, number, state, snapshot_id, snapshot_digest,"
                " agreement_version, agreement_digest, code_version, parameters, prepared_at)"
                " values ('r1', 1, 'draft', :id, '', '', '', '', '{}', now())"
            ),
            {"id": snapshot.id},
        )
        with pytest.raises(LinkarmsError, match="r1"):
            close_snapshot(conn, snapshot.id)


# --- rows in force ----------------------------------------------------------------------------------------------------


def test_of_two_rows_with_one_key_the_later_period_then_the_later_submission_holds(pool: Any) -> None:
    pool.send("q3", {"person": {"c1": {"sex": "later period"}}}, period="2026-Q3")
    pool.send("q2", {"person": {"c1": {"sex": "earlier period"}, "c2": {"sex": "only in Q2"}, "c3": {"sex": "full"}}})
    pool.send("q2 delta", {"person": {"c3": {"sex": "delta"}}}, mode="delta")
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2", "2026-Q3"])
        present_snapshot(conn, snapshot.id, pool.agreement)
        assert query(conn, "select period, sex from person order by sex") == [
            ("2026-Q2", "delta"),
            ("2026-Q3", "later period"),
            ("2026-Q2", "only in Q2"),
        ]
        assert query(conn, "select count(*) from record") == [(3,)]


def test_periods_are_in_the_order_of_the_calendar_and_not_of_the_alphabet(pool: Any) -> None:
    periods = (
        Period(id="winter", starts=date(2025, 12, 1), ends=date(2026, 2, 28)),
        Period(id="spring", starts=date(2026, 3, 1), ends=date(2026, 5, 31)),
    )
    calendar = pool.agreement.calendar.model_copy(update={"periods": periods})
    seasonal = pool.agreement.model_copy(update={"calendar": calendar})
    with pool.database.owner.begin() as conn:
        record_agreement(conn, seasonal)
    pool.send("a", {"person": {"c1": {"sex": "spring"}}}, period="spring")
    pool.send("b", {"person": {"c1": {"sex": "winter"}}}, period="winter")
    with pool.database.pipeline.begin() as conn:
        present_snapshot(conn, take_snapshot(conn, ["winter", "spring"]).id, seasonal)
        assert query(conn, "select sex from person") == [("spring",)]
        assert query(conn, "select period, starts from collection_period order by starts") == [
            ("winter", date(2025, 12, 1)),
            ("spring", date(2026, 3, 1)),
        ]


def test_a_deletion_takes_the_row_out_and_a_later_row_brings_it_back(pool: Any) -> None:
    pool.send("full", {"cost": {"k1": {}, "k2": {}}})
    pool.send("delta 1", {"cost": {"k1": {"_deleted": True}, "k2": {"_deleted": True}}}, mode="delta")
    pool.send("delta 2", {"cost": {"k2": {"programme": "back"}}}, mode="delta")
    with pool.database.pipeline.begin() as conn:
        present_snapshot(conn, take_snapshot(conn, ["2026-Q2"]).id, pool.agreement)
        assert query(conn, "select programme from cost") == [("back",)]


# --- presenting -------------------------------------------------------------------------------------------------------


def test_presented_tables_have_the_agreed_columns_and_those_that_measures_rely_on(pool: Any) -> None:
    pool.send("s1", {"person": {"c1": {}}})
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
        present_snapshot(conn, snapshot.id, pool.agreement)
        present_snapshot(conn, snapshot.id, pool.agreement)
        for table in pool.agreement.contract.tables:
            wanted = ["partner_id", "period", "row_key"]
            wanted += ["person_ref", "person_id"] if table.person_column else []
            if table.name == "assessment":
                wanted += ["mark", "repeats_partner_id", "repeats_row_key", "days_since"]
            wanted += [column.name for column in pool_columns(table)]
            assert list(conn.execute(text(f"select * from {table.name}")).keys()) == wanted
        assert list(conn.execute(text("select * from record")).keys()) == [
            "partner_id",
            "person_ref",
            "person_id",
            "if_joined",
            "if_parted",
            "linkable",
        ]
        assert query(conn, "select * from figures") == [
            (90, 28, 30, Decimal(str(pool.agreement.measures.hourly_cost_gbp)))
        ]
        assert query(conn, "select count(*), count(distinct kind) > 1 from partner") == [(7, True)]
        assert query(conn, "select * from collection_period") == [("2026-Q2", date(2026, 4, 1), date(2026, 6, 30))]
        assert query(conn, "select * from coverage") == [("harbour_trust", "2026-Q2", "person", 1, 1, 0)]


def test_a_snapshot_is_not_presented_before_the_agreements_plan_is_applied(database: Any, agreement: Any) -> None:
    with database.owner.begin() as conn:
        conn.execute(text("insert into governance.snapshot values ('x', now(), '', '{}')"))
    with pytest.raises(LinkarmsError, match="Apply the agreement's plan"), database.pipeline.begin() as conn:
        present_snapshot(conn, "x", agreement)


def test_persons_are_known_where_linked_and_unknown_where_they_cannot_or_must_not_be(pool: Any) -> None:
    clients = {"c1": {}, "c2": {"do_not_link": "yes"}, "c3": {}}
    pool.send(
        "s1",
        {"person": clients, "outcome": {"o1": {"person": "c1"}, "o2": {"person": "c2"}, "o3": {"person": "c3"}}},
        known_by={"c1": "anna", "c2": "bert"},
    )
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
        # A client who must not be linked has no keys to link by, and no person even if an old run had linked it.
        assert read_match_keys(conn, snapshot.id)["person_ref"].to_list() == [ref(pool, "harbour_trust", "c1")]
        links = {("harbour_trust", "c1"): ANNA, ("harbour_trust", "c2"): BERT}
        write_registry_update(conn, LinkageRun("run 1", snapshot.id, "m"), membership(pool, links), NO_EVENTS)
        present_snapshot(conn, snapshot.id, pool.agreement)

        assert query(conn, "select person_id::text, count(*) from outcome group by 1 order by 1") == [
            (ANNA, 1),
            (None, 2),
        ]
        assert query(conn, "select linkable, count(*) from record group by 1 order by 1") == [(False, 2), (True, 1)]


def test_a_snapshot_keeps_the_persons_of_its_own_linkage_run(pool: Any) -> None:
    pool.send("s1", {"person": {"c1": {}}})
    with pool.database.pipeline.begin() as conn:
        first = take_snapshot(conn, ["2026-Q2"])
        links = membership(pool, {("harbour_trust", "c1"): ANNA})
        assert write_registry_update(conn, LinkageRun("run 1", first.id, "m"), links, NO_EVENTS) == 1
    pool.send("s2", {"person": {"c1": {}}}, period="2026-Q3")
    with pool.database.pipeline.begin() as conn:
        second = take_snapshot(conn, ["2026-Q2", "2026-Q3"])
        links = membership(pool, {("harbour_trust", "c1"): BERT})
        assert write_registry_update(conn, LinkageRun("run 2", second.id, "m"), links, NO_EVENTS) == 1
        assert read_membership(conn)["person_id"].to_list() == [BERT]
        for snapshot, person in ((first, ANNA), (second, BERT)):
            present_snapshot(conn, snapshot.id, pool.agreement)
            assert query(conn, "select person_id::text from record") == [(person,)]


def test_marks_show_in_what_is_presented_after_them_and_belong_to_their_snapshot(pool: Any) -> None:
    pool.send("s1", {"person": {"c1": {}}, "assessment": {"a1": {"person": "c1"}, "a2": {"person": "c1"}}})
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
        present_snapshot(conn, snapshot.id, pool.agreement)
        assert query(conn, "select distinct mark from assessment") == [(None,)]
        keys = [key for (key,) in query(conn, "select row_key from assessment order by row_key")]
        marks = pl.DataFrame(
            {
                "partner_id": ["harbour_trust"] * 2,
                "row_key": keys,
                "mark": ["of_record", "review"],
                "repeats_partner_id": [None, "harbour_trust"],
                "repeats_row_key": [None, keys[0]],
                "days_since": [None, 12],
            }
        )
        assert write_marks(conn, snapshot.id, marks) == 2
        assert write_marks(conn, snapshot.id, marks) == 2
        present_snapshot(conn, snapshot.id, pool.agreement)
        assert query(conn, "select mark, days_since from assessment order by row_key") == [
            ("of_record", None),
            ("review", 12),
        ]
    pool.send("s2", {"person": {"c1": {}}})
    with pool.database.pipeline.begin() as conn:
        present_snapshot(conn, take_snapshot(conn, ["2026-Q2"]).id, pool.agreement)
        assert query(conn, "select distinct mark from assessment") == [(None,)]
