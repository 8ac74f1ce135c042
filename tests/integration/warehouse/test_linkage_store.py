"""The registry in the database: runs, membership and its history, pseudonyms given out."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from protocol.errors import DefectFound
from warehouse.linkage_store import (
    LinkageRun,
    read_match_keys,
    read_membership,
    read_persons,
    read_records,
    read_run,
    read_splits,
    write_published_ids,
    write_registry_update,
)
from warehouse.snapshot import take_snapshot

ANNA = "00000000-0000-4000-8000-00000000000a"
BERT = "00000000-0000-4000-8000-00000000000b"
EVENT_COLUMNS = ["event", "cause", "person_id", "other_person_id"]


def links(*entries: tuple[str, str, str]) -> pl.DataFrame:
    columns = ["partner_id", "person_ref", "person_id"]
    return pl.DataFrame(entries, schema=dict.fromkeys(columns, pl.String), orient="row")


def events(*entries: tuple[str, str, str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(entries, schema=dict.fromkeys(EVENT_COLUMNS, pl.String), orient="row")


@pytest.fixture
def snapshot_id(pool: Any) -> str:
    pool.send("s1", {"person": {"c1": {}, "c2": {}}}, known_by={"c1": "anna", "c2": "bert"})
    pool.send("s2", {"person": {"b1": {}, "b2": {}}}, partner="bridge_housing", known_by={"b1": "anna"})
    with pool.database.pipeline.begin() as conn:
        return take_snapshot(conn, ["2026-Q2"]).id


def test_a_record_has_the_match_keys_of_every_row_in_the_snapshot(pool: Any, snapshot_id: str) -> None:
    pool.send("s3", {"person": {"c1": {}}}, period="2026-Q3", known_by={"c1": "anna by another key"})
    with pool.database.pipeline.begin() as conn:
        before = read_match_keys(conn, snapshot_id)
        after = read_match_keys(conn, take_snapshot(conn, ["2026-Q2", "2026-Q3"]).id)

    assert before.columns == ["partner_id", "person_ref", "key_name", "token"]
    assert before.height == 3
    assert before.filter(pl.col("token").is_duplicated()).height == 2
    assert after.height == 4
    assert after.filter(pl.col("token").is_duplicated()).height == 2


def test_records_are_all_clients_with_keys_or_without(pool: Any, snapshot_id: str) -> None:
    with pool.database.pipeline.begin() as conn:
        assert read_records(conn, snapshot_id)["partner_id"].to_list() == ["bridge_housing"] * 2 + ["harbour_trust"] * 2


def test_a_record_of_which_one_row_forbids_linking_is_not_linked(pool: Any) -> None:
    clients = {"c1": {}, "c1 again": {"person": "c1", "do_not_link": "yes"}, "c2": {}}
    pool.send("s1", {"person": clients}, known_by={"c1": "anna", "c2": "bert"})
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
        assert read_records(conn, snapshot.id)["person_ref"].to_list() == [
            pool.frame("harbour_trust", "person", {"c2": {}})["person_ref"][0]
        ]
        assert read_match_keys(conn, snapshot.id).height == 1


def test_a_record_may_have_several_tokens_of_one_key(pool: Any) -> None:
    keys = pool.keys("harbour_trust", {"c1": "anna"})
    more = pl.concat([keys, keys.with_columns(token=pl.lit("f" * 64))])
    from warehouse.loading import load_submission

    frame = pool.frame("harbour_trust", "person", {"c1": {}})
    record = pool.record("s1", "harbour_trust", "2026-Q2", "full")
    load_submission(pool.database.pipeline, record, {"person": frame}, more, {})
    with pool.database.pipeline.begin() as conn:
        assert read_match_keys(conn, take_snapshot(conn, ["2026-Q2"]).id).height == 2


def test_tokens_may_be_bytes(pool: Any) -> None:
    keys = pool.keys("harbour_trust", {"c1": "anna"})
    from warehouse.loading import load_submission

    load_submission(
        pool.database.pipeline,
        pool.record("s1", "harbour_trust", "2026-Q2", "full"),
        {"person": pool.frame("harbour_trust", "person", {"c1": {}})},
        keys.with_columns(pl.col("token").str.decode("hex")),
        {},
    )
    with pool.database.pipeline.begin() as conn:
        read = read_match_keys(conn, take_snapshot(conn, ["2026-Q2"]).id)["token"].to_list()
    assert read == [int.from_bytes(bytes.fromhex(token)[:8], signed=True) for token in keys["token"]]


def test_a_run_is_recorded_once_with_its_events_and_its_history(pool: Any, snapshot_id: str) -> None:
    run_1, run_2 = (
        LinkageRun("run 1", snapshot_id, "keys", {"w": 6.0}, {"persons": 2}),
        LinkageRun("run 2", snapshot_id, "keys"),
    )
    now = datetime(2026, 10, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    with pool.database.pipeline.begin() as conn:
        first = links(("a", "1", ANNA), ("a", "2", BERT), ("b", "1", ANNA))
        assert write_registry_update(conn, run_1, first, events(("created", "nhs_number", ANNA, None)), now) == 3
        assert write_registry_update(conn, run_1, first, events()) == 0
        merge = events(("merged", "shared key", ANNA, BERT))
        assert write_registry_update(conn, run_2, links(("a", "2", ANNA), ("b", "1", ANNA)), merge) == 1

    with pool.database.custodian.connect() as conn:
        membership = read_membership(conn)
        assert membership.drop("person_created_at").rows() == [
            ("a", "1", ANNA, "run 1"),
            ("a", "2", ANNA, "run 2"),
            ("b", "1", ANNA, "run 1"),
        ]
        assert membership["person_created_at"].to_list() == [now.astimezone(UTC).replace(tzinfo=None)] * 3
        assert read_run(conn, "run 1") == run_1
        assert read_run(conn, "run 3") is None
        history = conn.execute(
            text("select person_ref, person_id::text, since_run, until_run from linkage.membership_history")
        )
        assert [tuple(row) for row in history] == [("2", BERT, "run 1", "run 2")]
        retired = conn.execute(text("select person_id::text, retired_into::text from linkage.person order by 1"))
        assert [tuple(row) for row in retired] == [(ANNA, None), (BERT, ANNA)]
        assert conn.scalar(text("select count(*) from linkage.registry_event")) == 2
        assert conn.scalar(text("select count(*) from governance.audit_event where action = 'linkage.recorded'")) == 2


def test_a_run_that_contradicts_itself_is_refused_as_a_whole(pool: Any, snapshot_id: str) -> None:
    run = LinkageRun("run 1", snapshot_id, "keys")
    twice = links(("a", "1", ANNA), ("a", "1", BERT))
    with pytest.raises(DefectFound, match="two places"), pool.database.pipeline.begin() as conn:
        write_registry_update(conn, run, twice, events())
    merge = events(("merged", "key", ANNA, BERT))
    with pytest.raises(DefectFound, match="merged into others"), pool.database.pipeline.begin() as conn:
        write_registry_update(conn, run, links(("a", "1", BERT)), merge)
    with pool.database.pipeline.connect() as conn:
        assert read_membership(conn).is_empty()
        assert conn.scalar(text("select count(*) from linkage.run")) == 0


def test_pseudonyms_belong_to_a_grant_and_can_be_renewed(pool: Any, snapshot_id: str) -> None:
    given = pl.DataFrame({"person_id": [ANNA, BERT], "published_id": ["p1", "p2"]})
    with pool.database.pipeline.begin() as conn:
        assert write_published_ids(conn, "team_a", given) == 2
        assert write_published_ids(conn, "team_a", given) == 0
        assert write_published_ids(conn, "team_b", given.reverse()) == 2
        renewed = given.head(1).with_columns(published_id=pl.lit("p9"))
        assert write_published_ids(conn, "team_a", renewed) == 1
        assert conn.execute(text("select audience, published_id from linkage.published_id order by 1, 2")).all() == [
            ("team_a", "p2"),
            ("team_a", "p9"),
            ("team_b", "p1"),
            ("team_b", "p2"),
        ]


def test_two_persons_of_a_grant_never_share_a_pseudonym(pool: Any, snapshot_id: str) -> None:
    same = pl.DataFrame({"person_id": [ANNA, BERT], "published_id": ["p1", "p1"]})
    with pytest.raises(DefectFound), pool.database.pipeline.begin() as conn:
        write_published_ids(conn, "team_a", same)


def test_persons_of_a_snapshot_are_listed_once(pool: Any, snapshot_id: str) -> None:
    with pool.database.pipeline.begin() as conn:
        keys = read_match_keys(conn, snapshot_id)
        decided = keys.select("partner_id", "person_ref", person_id=pl.lit(ANNA))
        write_registry_update(conn, LinkageRun("run 1", snapshot_id, "keys"), decided, events())
        assert read_persons(conn, snapshot_id)["person_id"].to_list() == [ANNA]


def test_a_record_that_is_linked_no_more_leaves_its_person_and_others_stay(pool: Any, snapshot_id: str) -> None:
    with pool.database.pipeline.begin() as conn:
        records = read_records(conn, snapshot_id)
        first = pl.concat([records.with_columns(person_id=pl.lit(ANNA)), links(("elsewhere", "1", BERT))])
        assert write_registry_update(conn, LinkageRun("run 1", snapshot_id, "keys"), first, events()) == 5
        second = first.head(1)
        assert write_registry_update(conn, LinkageRun("run 2", snapshot_id, "keys"), second, events()) == 3
        assert read_membership(conn)["partner_id"].to_list() == ["bridge_housing", "elsewhere"]
        history = conn.execute(text("select count(*) from linkage.membership_history where until_run = 'run 2'"))
        assert history.scalar() == 3


def test_persons_that_were_parted_are_remembered(pool: Any, snapshot_id: str) -> None:
    with pool.database.pipeline.begin() as conn:
        parted = events(("split", "their records are no longer one cluster", ANNA, BERT), ("created", "x", BERT, None))
        write_registry_update(conn, LinkageRun("run 1", snapshot_id, "keys"), links(), parted)
        assert read_splits(conn).select("person_id", "other_person_id").rows() == [(ANNA, BERT)]


def test_a_separation_goes_on_with_the_person_that_a_parted_one_is_merged_into(pool: Any, snapshot_id: str) -> None:
    cleo, dora = (f"00000000-0000-4000-8000-00000000000{letter}" for letter in "cd")
    with pool.database.pipeline.begin() as conn:
        parted = events(("split", "their records are no longer one cluster", ANNA, BERT))
        write_registry_update(conn, LinkageRun("run 1", snapshot_id, "keys"), links(), parted)
        for number, (kept, gone) in enumerate([(cleo, BERT), (dora, cleo)], start=2):
            merged = events(("merged", "their records are one cluster", kept, gone))
            write_registry_update(conn, LinkageRun(f"run {number}", snapshot_id, "keys"), links(), merged)
        assert read_splits(conn).rows() == [(ANNA, dora, 1)]
        merged = events(("merged", "a custodian took it back", ANNA, dora))
        write_registry_update(conn, LinkageRun("run 4", snapshot_id, "keys"), links(), merged)
        assert read_splits(conn).is_empty()
