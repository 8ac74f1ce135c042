"""Nil returns, deltas, corrections, replacements and late files: what is in force after each."""

from typing import Any

import polars as pl
import pytest

from tests.integration.pipeline.world import LATER, NOW, World, edit, make_world

PARTNER = "harbour_trust"


def manifest(small: dict[str, Any], **entries: Any) -> dict[str, Any]:
    return {**small["manifest"], **entries}


def in_force(world: World) -> dict[str, int]:
    return {name: len(world.rows_in_force(name)) for name in ("person", "sharing_basis", "enrolment", "assessment")}


def sizes(tables: dict[str, pl.DataFrame], **changed: int) -> dict[str, int]:
    return {name: frame.height for name, frame in tables.items()} | changed


@pytest.fixture(scope="module")
def first_loaded(empty_world: World, small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world with one small extract. Only to be copied."""
    folder = empty_world.settings.agreement_folder
    home = tmp_path_factory.mktemp("loaded") / "home"
    world = make_world(empty_world.server, empty_world.database, home, folder, empty_world.home)
    world.load(PARTNER, **small)
    assert in_force(world) == sizes(small["tables"])
    return world


@pytest.fixture
def loaded(first_loaded: World, copy_of: Any) -> World:
    return copy_of(first_loaded)


def test_a_nil_return_takes_the_periods_rows_out_of_force(loaded: World, small: dict[str, Any]) -> None:
    nil = {name: value for name, value in manifest(small, kind="nil").items() if name != "tables"}
    submission_id = loaded.load(PARTNER, {}, nil, now=LATER)
    assert loaded.receipt(PARTNER, submission_id)["state"] == "accepted"
    assert loaded.query("select state from governance.submission order by seq") == [("superseded",), ("loaded",)]
    assert set(in_force(loaded).values()) == {0}


def test_a_delta_adds_changes_and_deletes_by_key_and_knows_earlier_clients(
    loaded: World, small: dict[str, Any]
) -> None:
    tables = small["tables"]
    enrolments = tables["enrolment"].with_columns(_delete=pl.lit(None, dtype=pl.String))
    changed = edit(enrolments.head(1), 0, ended_on="2026-06-30", end_reason="completed")
    deleted = edit(enrolments.slice(1, 1), 0, _delete="yes")
    added = edit(enrolments.slice(2, 1), 0, enrolment_number="NEW-1")  # of a client who is in no file of this delta
    delta = {"enrolment": pl.concat([changed, deleted, added])}
    before = dict(loaded.rows_in_force("enrolment", "row_key, ended_on"))
    submission_id = loaded.load(PARTNER, delta, manifest(small, kind="delta"), now=LATER)
    receipt = loaded.receipt(PARTNER, submission_id)
    assert receipt["state"] == "accepted", receipt["findings"]
    assert in_force(loaded) == sizes(tables)  # one more, one less
    after = dict(loaded.rows_in_force("enrolment", "row_key, ended_on"))
    assert len(before.keys() - after.keys()) == 1
    assert len(after.keys() - before.keys()) == 1
    assert len([key for key in before.keys() & after.keys() if before[key] != after[key]]) == 1


def test_an_orphan_reference_of_a_delta_is_held_back(loaded: World, small: dict[str, Any]) -> None:
    rows = small["tables"]["enrolment"]
    known = [edit(rows.slice(0, 1), 0, enrolment_number=f"NEW-{number}") for number in range(9)]
    orphan = edit(rows.slice(0, 1), 0, enrolment_number="NEW-X", local_person_id="NOBODY")
    submission_id = loaded.load(
        PARTNER, {"enrolment": pl.concat([*known, orphan])}, manifest(small, kind="delta"), now=LATER
    )
    receipt = loaded.receipt(PARTNER, submission_id)
    assert receipt["state"] == "accepted_with_rows_held_back"
    (finding,) = [finding for finding in receipt["findings"] if finding["scope"] == "row"]
    assert finding["code"].endswith("reference")
    assert finding["first_rows"] == [11]
    assert in_force(loaded)["enrolment"] == rows.height + 9


def test_a_reference_to_a_client_whom_the_partner_has_deleted_is_held_back(
    loaded: World, small: dict[str, Any]
) -> None:
    gone = small["tables"]["person"].head(1).with_columns(_delete=pl.lit("yes"))
    loaded.load(PARTNER, {"person": gone}, manifest(small, kind="delta"), now=LATER)
    assert in_force(loaded)["person"] == small["tables"]["person"].height - 1
    rows = small["tables"]["enrolment"]
    client = gone["local_person_id"][0]
    of_others = [edit(rows.slice(1, 1), 0, enrolment_number=f"N{number}") for number in range(9)]
    others_client = of_others[0]["local_person_id"][0]
    assert others_client != client
    late = pl.concat([*of_others, edit(rows.slice(1, 1), 0, enrolment_number="NX", local_person_id=client)])
    submission_id = loaded.load(PARTNER, {"enrolment": late}, manifest(small, kind="delta"), now=LATER)
    assert [finding["first_rows"] for finding in loaded.receipt(PARTNER, submission_id)["findings"]] == [[11]]


def test_a_correction_supersedes_the_submission_that_it_names(loaded: World, small: dict[str, Any]) -> None:
    world, tables = loaded, small["tables"]
    ((first,),) = world.query("select submission_id from governance.submission")
    fewer = {**tables, "assessment": tables["assessment"].head(3)}
    second = world.load(PARTNER, fewer, manifest(small, kind="correction", supersedes=first), now=LATER)
    assert world.query("select submission_id, state, superseded_by from governance.submission order by seq") == [
        (first, "superseded", second),
        (second, "loaded", None),
    ]
    assert in_force(world) == sizes(fewer)
    assert world.counts()["facts.assessment"] == tables["assessment"].height + 3


@pytest.mark.parametrize("named", ["sub-00000000000000000000", "superseded"])
def test_a_correction_of_what_is_not_in_force_is_refused(loaded: World, small: dict[str, Any], named: str) -> None:
    world, tables = loaded, small["tables"]
    ((first,),) = world.query("select submission_id from governance.submission")
    second = world.load(PARTNER, {**tables, "assessment": tables["assessment"].head(3)}, manifest(small), now=LATER)
    supersedes = first if named == "superseded" else named
    world.drop(PARTNER, tables, manifest(small, kind="correction", supersedes=supersedes))
    (outcome,) = world.take_in(PARTNER, now=LATER)
    assert outcome.refusal is not None
    codes = [finding["code"] for finding in world.receipt(PARTNER, outcome.submission_id)["findings"]]
    assert "manifest.supersedes" in codes
    assert world.query("select submission_id from governance.submission where state = 'loaded'") == [(second,)]


def test_a_second_full_one_replaces_the_first_and_tells_the_counts_before(loaded: World, small: dict[str, Any]) -> None:
    tables = small["tables"]
    fewer = {**tables, "assessment": tables["assessment"].head(4)}
    submission_id = loaded.load(PARTNER, fewer, manifest(small), now=LATER)
    assert in_force(loaded) == sizes(fewer)
    earlier = {line["table"]: line["earlier"] for line in loaded.receipt(PARTNER, submission_id)["tables"]}
    assert earlier == sizes(tables)


def test_a_late_file_of_an_earlier_period_does_not_put_back_what_a_later_period_says(
    world: World, small: dict[str, Any]
) -> None:
    tables = small["tables"]
    moved = edit(tables["person"], 0, household_number="MOVED", ethnic_group="unknown")
    later = {**tables, "person": moved, "assessment": tables["assessment"].head(0)}
    world.load(PARTNER, later, manifest(small, period="2026-Q3", extracted_on="2026-10-07"), now=NOW)
    now_in_force = world.rows_in_force("person", "row_key, household_number")
    world.load(PARTNER, **small, now=LATER)
    assert world.rows_in_force("person", "row_key, household_number") == now_in_force
    assert len(world.rows_in_force("assessment")) == tables["assessment"].height
    assert world.query("select distinct state from governance.submission") == [("loaded",)]


def test_a_table_declared_nil_is_in_force_and_empty(world: World, small: dict[str, Any]) -> None:
    tables = {name: frame for name, frame in small["tables"].items() if name != "assessment"}
    counted = {name: frame.height for name, frame in tables.items()}
    world.drop(PARTNER, tables, manifest(small, tables={**counted, "assessment": "nil"}), counted=False)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.loaded is not None
    assert in_force(world) == sizes(tables, assessment=0)
    assert ("assessment", 0) in world.query("select table_name, rows_received from governance.submission_table")


def test_a_submission_that_was_erased_does_not_come_back(loaded: World, small: dict[str, Any]) -> None:
    from sqlalchemy import create_engine

    from warehouse.loading import erase_submission

    ((submission_id,),) = loaded.query("select submission_id from governance.submission")
    with create_engine(loaded.settings.database_url()).begin() as conn:
        assert erase_submission(conn, submission_id, actor="coordinator", reason="The partner asked for it.") > 0
    loaded.drop(PARTNER, **small)
    assert loaded.take_in(PARTNER, now=LATER) == []
    receipt = loaded.receipt(PARTNER, submission_id)
    assert receipt["state"] == "refused"
    assert [finding["code"] for finding in receipt["findings"]] == ["submission.erased"]
    assert loaded.in_force_anywhere() == 0
    assert loaded.work() == []
