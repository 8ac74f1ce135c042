"""Loading submissions: one transaction each, the same twice changes nothing, and what is in force afterwards."""

import threading
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from sqlalchemy import create_engine, text

from protocol.errors import DefectFound, KeyUnavailable, NotYet, SubmissionRefused
from warehouse.loading import (
    TableCount,
    erase_submission,
    load_submission,
    purge_superseded,
    record_refusal,
    register_received,
)
from warehouse.snapshot import close_snapshot, take_snapshot
from warehouse.transfer import copy_out_all

PERSONS = {"c1": {"sex": "female"}, "c2": {"sex": "male"}}


def rows(pool: Any, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with pool.database.owner.connect() as conn:
        return [tuple(row) for row in conn.execute(text(query), parameters).all()]


def everything(pool: Any) -> list[tuple[Any, ...]]:
    """All rows of facts, keys, submissions and counts, as text."""
    tables = [name for (name,) in rows(pool, "select tablename from pg_tables where schemaname = 'facts' order by 1")]
    found = []
    for table in [*(f"facts.{name}" for name in tables), "linkage.match_key", "governance.submission_table"]:
        found += rows(pool, f"select '{table}', t::text from {table} t order by 2")
    return found + rows(pool, "select submission_id, state, superseded_by from governance.submission order by 1")


def in_force(pool: Any) -> dict[tuple[str, str], list[str]]:
    """Period and table -> submissions in force."""
    found: dict[tuple[str, str], list[str]] = {}
    for period, table, submission in rows(
        pool, "select period, table_name, submission_id from facts.in_force_submission_table order by seq"
    ):
        found.setdefault((period, table), []).append(submission)
    return found


def test_values_survive_the_way_into_the_database_and_out_again(pool: Any) -> None:
    pool.send(
        "s1",
        {
            "person": PERSONS,
            "assessment": {
                "a1": {
                    "person": "c1",
                    "domain": "",
                    "assessed_on": date(2026, 4, 30),
                    "total_score": Decimal("12.3456"),
                },
                "a2": {"person": "c1", "domain": 'with "quotes", commas\nand \\.', "minutes": -3},
                "a3": {"person": "c2", "domain": "\\.", "valid_to": date(1926, 1, 1), "total_score": Decimal("-0.5")},
            },
        },
    )

    assert rows(
        pool, "select domain, assessed_on, valid_to, minutes, total_score from facts.assessment order by row_key"
    ) == sorted(
        [
            ("", date(2026, 4, 30), None, None, Decimal("12.3456")),
            ('with "quotes", commas\nand \\.', None, None, -3, None),
            ("\\.", None, date(1926, 1, 1), None, Decimal("-0.5000")),
        ],
        key=lambda row: rows(pool, "select row_key from facts.assessment where domain = :d", d=row[0]),
    )


def test_frames_read_back_have_the_types_they_were_loaded_with(pool: Any) -> None:
    from psycopg import sql

    pool.send("s1", {"cost": {"k1": {"amount_gbp": Decimal("99999999999999.9999"), "incurred_on": date(2026, 5, 1)}}})
    with pool.database.pipeline.connect() as conn:
        frame = copy_out_all(
            conn,
            sql.SQL("select amount_gbp, incurred_on, programme from facts.cost").format(),
            {"amount_gbp": pl.Decimal(18, 4), "incurred_on": pl.Date, "programme": pl.String},
        )

    assert frame.rows() == [(Decimal("99999999999999.9999"), date(2026, 5, 1), None)]


def test_the_same_submission_twice_changes_nothing(pool: Any) -> None:
    first = pool.send("s1", {"person": PERSONS}, known_by={"c1": "9434765919"})
    before = everything(pool)
    second = pool.send("s1", {"person": PERSONS}, known_by={"c1": "9434765919"})

    assert (first.already, first.rows, first.match_keys) == (False, {"person": 2}, 1)
    assert second.already
    assert (second.rows, second.match_keys) == (first.rows, first.match_keys)
    assert everything(pool) == before


def test_the_same_submission_loaded_twice_at_once_is_loaded_once(pool: Any) -> None:
    results: list[Any] = []
    starting = threading.Barrier(4)

    def load() -> None:
        starting.wait()
        results.append(pool.send("s1", {"person": PERSONS, "cost": {"k1": {}}}, known_by={"c1": "x"}))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(result.already for result in results) == [False, True, True, True]
    assert rows(pool, "select count(*) from facts.person") == [(2,)]


def test_a_load_that_fails_leaves_nothing_behind(pool: Any) -> None:
    double = pl.concat([pool.frame("harbour_trust", "cost", {"k1": {"programme": "secretprogramme"}})] * 2)
    record = pool.record("s1", "harbour_trust", "2026-Q2", "full")
    before = everything(pool)

    with pytest.raises(DefectFound) as raised:
        load_submission(
            pool.database.pipeline,
            record,
            {"person": pool.frame("harbour_trust", "person", PERSONS), "cost": double},
            None,
            {},
        )

    assert "facts.cost" in str(raised.value)
    assert "secretprogramme" not in repr(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert everything(pool) == before


def test_a_load_whose_connection_is_lost_half_way_leaves_nothing_behind_and_can_be_done_again(pool: Any) -> None:
    record = pool.record("s1", "harbour_trust", "2026-Q2", "full")
    persons = pool.frame("harbour_trust", "person", PERSONS)
    before = everything(pool)

    def cut_off() -> Iterator[pl.DataFrame]:
        yield pool.frame("harbour_trust", "cost", {"k1": {}})
        kill = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'pipeline_service'"
        superuser = create_engine(pool.database.server.url("linkarms_superuser", pool.database.name))
        with superuser.connect() as conn:
            assert conn.execute(text(kill)).all() == [(True,)]
        superuser.dispose()
        yield pool.frame("harbour_trust", "cost", {"k2": {}})

    tables: dict[str, Any] = {"person": persons, "cost": cut_off()}
    with pytest.raises(NotYet):
        load_submission(pool.database.pipeline, record, tables, None, {})
    assert everything(pool) == before

    tables["cost"] = pool.frame("harbour_trust", "cost", {"k1": {}, "k2": {}})
    assert load_submission(pool.database.pipeline, record, tables, None, {}).rows == {"person": 2, "cost": 2}


def test_a_database_that_does_not_answer_is_told_without_its_password(pool: Any) -> None:
    nowhere = create_engine("postgresql+psycopg://someone:canary-password@127.0.0.1:1/nowhere")
    with pytest.raises(NotYet) as raised:
        load_submission(nowhere, pool.record("s1", "harbour_trust", "2026-Q2", "full"), {}, None, {})
    assert "canary-password" not in repr(raised.value)


def test_a_column_that_the_pool_does_not_have_is_refused_and_not_left_out(pool: Any) -> None:
    frame = pool.frame("harbour_trust", "person", PERSONS).with_columns(surname=pl.lit("Canary"))

    with pytest.raises(DefectFound, match="surname"):
        load_submission(
            pool.database.pipeline, pool.record("s1", "harbour_trust", "2026-Q2", "full"), {"person": frame}, None, {}
        )
    assert rows(pool, "select * from governance.submission") == []


def test_a_table_may_arrive_in_batches(pool: Any) -> None:
    batches = (pool.frame("harbour_trust", "cost", {f"{n}-{i}": {} for i in range(10)}) for n in range(5))
    result = load_submission(
        pool.database.pipeline, pool.record("s1", "harbour_trust", "2026-Q2", "full"), {"cost": batches}, None, "{}"
    )

    assert result.rows == {"cost": 50}
    assert rows(pool, "select count(distinct row_key) from facts.cost") == [(50,)]


def test_counts_of_the_receipt_are_kept(pool: Any) -> None:
    pool.send("s1", {"person": PERSONS}, counts={"person": TableCount(5, 2, 3)})

    assert rows(pool, "select rows_received, rows_accepted, rows_held_back from governance.submission_table") == [
        (5, 2, 3)
    ]
    assert rows(pool, "select receipt, state from governance.submission") == [({"accepted": True}, "loaded")]


# --- full, delta, correction, nil ------------------------------------------------------------------------------------


def test_a_full_submission_replaces_the_earlier_one_of_its_partner_and_period(pool: Any) -> None:
    pool.send("s1", {"person": PERSONS, "cost": {"k1": {}}})
    pool.send("other partner", {"person": PERSONS}, partner="bridge_housing")
    pool.send("other period", {"person": PERSONS}, period="2026-Q3")
    result = pool.send("s2", {"person": PERSONS, "cost": {"k2": {}}})

    assert result.superseded == ("s1",)
    assert in_force(pool) == {
        ("2026-Q2", "person"): ["other partner", "s2"],
        ("2026-Q2", "cost"): ["s2"],
        ("2026-Q3", "person"): ["other period"],
    }


def test_a_full_submission_without_a_table_leaves_that_table_as_it_was(pool: Any) -> None:
    pool.send("s1", {"person": PERSONS, "cost": {"k1": {}}})
    result = pool.send("s2", {"person": PERSONS})

    assert result.superseded == ()
    assert in_force(pool) == {("2026-Q2", "person"): ["s2"], ("2026-Q2", "cost"): ["s1"]}


def test_deltas_count_after_the_full_one_that_they_follow_until_the_next_full_one(pool: Any) -> None:
    pool.send("full", {"cost": {"k1": {}}})
    pool.send("delta 1", {"cost": {"k2": {}}}, mode="delta")
    pool.send("delta 2", {"cost": {"k1": {"_deleted": True}}}, mode="delta")
    assert in_force(pool) == {("2026-Q2", "cost"): ["full", "delta 1", "delta 2"]}

    result = pool.send("next full", {"cost": {"k3": {}}})
    assert result.superseded == ("delta 1", "delta 2", "full")
    assert in_force(pool) == {("2026-Q2", "cost"): ["next full"]}


def test_deletions_are_for_deltas_only(pool: Any) -> None:
    frame = pool.frame("harbour_trust", "cost", {"k1": {"_deleted": True}}, deletions=True)
    with pytest.raises(DefectFound, match="no delta"):
        load_submission(
            pool.database.pipeline, pool.record("s1", "harbour_trust", "2026-Q2", "full"), {"cost": frame}, None, {}
        )


def test_a_correction_replaces_the_tables_that_it_carries_and_no_others(pool: Any) -> None:
    pool.send("s1", {"person": PERSONS, "cost": {"k1": {}}})
    result = pool.send("s2", {"person": PERSONS}, mode="correction", supersedes="s1")
    assert result.superseded == ()
    assert in_force(pool) == {("2026-Q2", "person"): ["s2"], ("2026-Q2", "cost"): ["s1"]}

    result = pool.send("s3", {"cost": {"k1": {}}}, mode="correction", supersedes="s1")
    assert result.superseded == ("s1",)
    assert in_force(pool) == {("2026-Q2", "person"): ["s2"], ("2026-Q2", "cost"): ["s3"]}


def test_a_delta_is_not_corrected_and_the_refusal_says_what_to_send(pool: Any) -> None:
    pool.send("s1", {"cost": {"k1": {}}})
    pool.send("s2", {"cost": {"k2": {}}}, mode="delta")
    with pytest.raises(SubmissionRefused, match=r"Send a delta .* or a full"):
        pool.send("s3", {"cost": {"k2": {}}}, mode="correction", supersedes="s2")
    assert in_force(pool) == {("2026-Q2", "cost"): ["s1", "s2"]}


@pytest.mark.parametrize("named", ["never seen", "other partner's", "other period's", "refused", "received"])
def test_a_correction_of_a_submission_that_is_not_the_partners_for_the_period_is_refused(pool: Any, named: str) -> None:
    pool.send("other partner's", {"cost": {}}, partner="bridge_housing")
    pool.send("other period's", {"cost": {}}, period="2026-Q1")
    with pool.database.pipeline.begin() as conn:
        record_refusal(conn, pool.record("refused", "harbour_trust", "2026-Q2", "full"), {})
        register_received(conn, pool.record("received", "harbour_trust", "2026-Q2", "full"))
    before = everything(pool)

    with pytest.raises(SubmissionRefused, match=named):
        pool.send("s2", {"cost": {}}, mode="correction", supersedes=named)
    assert everything(pool) == before


def test_a_correction_of_what_was_replaced_names_what_replaced_it(pool: Any) -> None:
    pool.send("s1", {"cost": {"k1": {}}})
    pool.send("s2", {"cost": {"k1": {}}}, mode="correction", supersedes="s1")
    with pytest.raises(SubmissionRefused, match="s2 has replaced"):
        pool.send("s3", {"cost": {"k1": {}}}, mode="correction", supersedes="s1")


def test_a_nil_return_empties_every_table_of_its_partner_and_period(pool: Any) -> None:
    pool.send("s1", {"person": PERSONS, "cost": {"k1": {}}})
    result = pool.send("nothing", {}, mode="nil")

    assert result.superseded == ("s1",)
    assert set(in_force(pool)) == {("2026-Q2", table) for table in pool.agreement.contract.table_names}
    assert rows(
        pool, "select distinct rows_received from governance.submission_table where submission_id='nothing'"
    ) == [(0,)]


def test_a_submission_loaded_after_a_later_one_does_not_take_its_place(pool: Any) -> None:
    early = pool.record("early", "harbour_trust", "2026-Q2", "full")
    with pool.database.pipeline.begin() as conn:
        assert register_received(conn, early) == "received"
    pool.send("late", {"cost": {"k1": {}}})
    result = load_submission(
        pool.database.pipeline, early, {"cost": pool.frame("harbour_trust", "cost", {"k2": {}})}, None, {}
    )

    assert result.state == "superseded"
    assert in_force(pool) == {("2026-Q2", "cost"): ["late"]}
    assert rows(pool, "select superseded_by from governance.submission where submission_id = 'early'") == [("late",)]


# --- refusal, erasure, purge ------------------------------------------------------------------------------------------


def test_a_refused_submission_is_not_loaded_until_it_is_received_again(pool: Any) -> None:
    record = pool.record("s1", "harbour_trust", "2026-Q2", "full")
    with pool.database.pipeline.begin() as conn:
        record_refusal(conn, record, {"accepted": False})
        record_refusal(conn, record, {"accepted": False})
    with pytest.raises(SubmissionRefused):
        pool.send("s1", {"cost": {}})
    assert rows(pool, "select action from governance.audit_event") == [("submission.refused",)]

    with pool.database.pipeline.begin() as conn:
        assert register_received(conn, record) == "received"
    assert pool.send("s1", {"cost": {"k1": {}}}).state == "loaded"
    with pytest.raises(DefectFound), pool.database.pipeline.begin() as conn:
        record_refusal(conn, record, {})


def test_an_id_that_stands_for_another_content_is_refused(pool: Any) -> None:
    pool.send("s1", {"cost": {}})
    with pytest.raises(DefectFound, match="another period"):
        pool.send("s1", {"cost": {}}, period="2026-Q3")


def test_rows_that_are_not_in_force_are_purged_unless_an_open_snapshot_has_them(pool: Any) -> None:
    pool.send("s1", {"person": PERSONS, "cost": {"k1": {}}}, known_by={"c1": "x"})
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
    pool.send("s2", {"person": PERSONS, "cost": {"k1": {}}}, known_by={"c1": "x"})
    with pool.database.pipeline.begin() as conn:
        assert purge_superseded(conn) == {}
        close_snapshot(conn, snapshot.id)
        assert purge_superseded(conn) == {"facts.cost": 1, "facts.person": 2, "linkage.match_key": 1}
        assert purge_superseded(conn) == {}

    assert rows(pool, "select distinct submission_id from facts.person union select submission_id from facts.cost") == [
        ("s2",)
    ]
    assert rows(pool, "select count(*) from governance.submission_table where submission_id = 's1'") == [(2,)]


def test_an_erased_submission_leaves_no_row_and_no_key_and_is_not_loaded_again(pool: Any) -> None:
    pool.send("s1", {"person": PERSONS, "cost": {"k1": {}}}, known_by={"c1": "x"})
    with pool.database.pipeline.begin() as conn:
        assert erase_submission(conn, "s1", actor="coordinator", reason="sent in error") == 3
        assert erase_submission(conn, "s1", actor="coordinator", reason="sent in error") == 0

    assert rows(pool, "select 1 from facts.person union all select 1 from facts.cost") == []
    assert rows(pool, "select 1 from linkage.match_key") == []
    assert in_force(pool) == {}
    with pytest.raises(SubmissionRefused):
        pool.send("s1", {"person": PERSONS})


def test_what_an_erased_submission_had_replaced_does_not_come_back(pool: Any) -> None:
    pool.send("s1", {"person": PERSONS, "cost": {"k1": {}}})
    pool.send("delta", {"person": {"c3": {}}}, mode="delta")
    pool.send("s2", {"person": PERSONS})
    with pool.database.pipeline.begin() as conn:
        erase_submission(conn, "s2", actor="coordinator", reason="sent in error")
    assert in_force(pool) == {("2026-Q2", "cost"): ["s1"]}

    pool.send("s3", {"person": PERSONS})
    assert in_force(pool) == {("2026-Q2", "cost"): ["s1"], ("2026-Q2", "person"): ["s3"]}


def test_a_submission_loaded_after_a_later_one_was_erased_does_not_take_its_place(pool: Any) -> None:
    early = pool.record("early", "harbour_trust", "2026-Q2", "full")
    with pool.database.pipeline.begin() as conn:
        register_received(conn, early)
    pool.send("late", {"cost": {"k1": {}}})
    with pool.database.pipeline.begin() as conn:
        erase_submission(conn, "late", actor="coordinator", reason="sent in error")
    frame = pool.frame("harbour_trust", "cost", {"k2": {}})
    result = load_submission(pool.database.pipeline, early, {"cost": frame}, None, {})
    assert (result.state, in_force(pool)) == ("superseded", {})


def test_rows_made_with_other_keys_are_not_loaded_beside_those_in_force(pool: Any) -> None:
    def load(submission_id: str, period: str, key_id: str) -> None:
        load_submission(
            pool.database.pipeline,
            pool.record(submission_id, "harbour_trust", period, "full"),
            {"person": pool.frame("harbour_trust", "person", {"c1": {}})},
            None,
            {},
            key_id=key_id,
        )

    load("s1", "2026-Q2", "ring-one")
    with pytest.raises(KeyUnavailable, match="ring-one"):
        load("s2", "2026-Q3", "ring-two")
    load("s3", "2026-Q3", "ring-one")
