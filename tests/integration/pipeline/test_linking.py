"""Linking in the warehouse: what is read of a record, what a run leaves behind, and what goes on to the next."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from linkage.classes import ClassModel
from linkage.comparisons import token_schema
from linkage.review import describe_pairs
from linkage.vectors import Engine, duckdb_engine
from pipeline.linking import METHOD, link_snapshot
from protocol.model import Agreement
from tests.integration.warehouse.conftest import Pool, pseudonym
from tests.unit.linkage.conftest import KEY_RING, MARGARET, Records, encode
from warehouse.linkage_store import read_compared, read_encodings, read_membership, read_run, read_scored_pairs
from warehouse.loading import erase_submission, load_submission
from warehouse.plan import apply_plan, plan_columns, record_agreement
from warehouse.snapshot import take_snapshot

NOW = datetime(2026, 10, 5, 9, 30, tzinfo=UTC)
ONE, OTHER = "harbour_trust", "bridge_housing"
People = Mapping[str, Mapping[str, str | None]]


class Warehouse(Pool):
    """A pool whose clients have identifiers; a client's name is its local id."""

    engine: Engine | None = None
    """What compares pairs; None for DuckDB."""

    def take_in(self, partner: str, period: str, people: People, *, encoded: bool = True) -> Records:
        """Load an extract; returns what linkage may read of it."""
        found = encode(people)
        refs = pl.DataFrame(
            {"person_ref": list(people), "own": [pseudonym(partner, "person", client) for client in people]},
            schema={"person_ref": pl.String, "own": pl.String},
        )

        def own(frame: pl.DataFrame) -> pl.DataFrame:
            named = frame.drop("partner_id").join(refs, on="person_ref", maintain_order="left")
            return named.with_columns(person_ref="own").drop("own")

        record = self.record(f"{partner} {period}", partner, period, "full")
        self.sent.append(record)
        frame = self.frame(partner, "person", {client: {} for client in people})
        encodings = own(found.encodings)
        load_submission(
            self.database.pipeline,
            record,
            {"person": frame},
            own(found.match_keys),
            {},
            encodings=encodings if encoded else None,
        )
        return Records(own(found.match_keys), encodings, own(found.records))

    def link(
        self, run_id: str, *periods: str, compare_anew: bool = False, engine: Engine | None = None
    ) -> Mapping[str, Any]:
        """Link everything of the periods; returns the parameters of the run."""
        with self.database.pipeline.begin() as conn:
            snapshot = take_snapshot(conn, periods or ("2026-Q2", "2026-Q3"), None, NOW)
            link_snapshot(
                conn,
                snapshot,
                snapshot,
                self.agreement,
                run_id,
                KEY_RING,
                NOW,
                engine or self.engine or duckdb_engine(),
                compare_anew=compare_anew,
            )
            run = read_run(conn, run_id)
        assert run is not None
        self.counts = run.counts
        return run.parameters

    def persons(self) -> set[frozenset[str]]:
        """Who is one person: first letters of the partner and the client's place in the extract."""
        with self.database.pipeline.connect() as conn:
            grouped = read_membership(conn).group_by("person_id").agg("person_ref")["person_ref"]
        return {frozenset(refs) for refs in grouped}


@pytest.fixture
def warehouse(database: Any, agreement: Agreement) -> Warehouse:
    with database.owner.begin() as conn:
        record_agreement(conn, agreement)
        apply_plan(conn, plan_columns(conn, agreement), agreement.digest)
    return Warehouse(database, agreement)


def ref(partner: str, client: str) -> str:
    return pseudonym(partner, "person", client)


def crowd(first: int, last: int) -> dict[str, dict[str, str | None]]:
    """So many different people."""
    letters = "abcdefghijklmnopqrstuvwxyz"

    def name(number: int) -> str:
        return "".join(letters[(number * step + step) % 26] for step in (3, 5, 7, 11, 17, 19, 23)).title()

    return {
        f"p{number:03}": {
            "forename": name(number),
            "surname": name(number + 1000),
            "date_of_birth": f"{1950 + number % 50}-{1 + number % 12:02}-{2 + number % 26:02}",
            "postcode": f"LU{1 + number % 9} {number % 10}{letters[number % 26]}{letters[number // 26]}".upper(),
            "phone": f"07700 9{number:05}",
        }
        for number in range(first, last)
    }


def test_one_person_at_two_partners_is_one_person_and_the_pair_is_stored_to_be_told_in_words(
    warehouse: Warehouse,
) -> None:
    warehouse.take_in(ONE, "2026-Q2", {"x": MARGARET | {"email": None}})
    warehouse.take_in(OTHER, "2026-Q2", {"y": MARGARET | {"surname": "Thornberry", "phone": "07700 900456"}})
    parameters = warehouse.link("run 1")
    assert warehouse.persons() == {frozenset({ref(ONE, "x"), ref(OTHER, "y")})}
    with warehouse.database.pipeline.connect() as conn:
        stored = read_scored_pairs(conn)
    (row,) = describe_pairs(stored, parameters["threshold"]).iter_rows(named=True)
    assert row["agreed_on"] == [
        "forename",
        "surname much alike",
        "date of birth",
        "postcode",
        "NHS number",
        "NI number",
        "shared number",
    ]
    assert row["differs_on"] == ["telephone"]
    assert row["accepted"]


def test_a_run_that_is_asked_for_twice_does_nothing_the_second_time(warehouse: Warehouse) -> None:
    warehouse.take_in(ONE, "2026-Q2", {"x": MARGARET})
    parameters = warehouse.link("run 1")
    warehouse.take_in(OTHER, "2026-Q2", {"y": MARGARET})
    with warehouse.database.pipeline.connect() as conn:
        before = read_membership(conn)
    assert warehouse.link("run 1") == parameters
    with warehouse.database.pipeline.connect() as conn:
        assert read_membership(conn).equals(before)
    warehouse.link("run 2")
    assert len(warehouse.persons()) == 1


def test_the_model_goes_on_until_twice_as_many_have_encodings(warehouse: Warehouse) -> None:
    warehouse.take_in(ONE, "2026-Q2", crowd(0, 40))
    warehouse.take_in(OTHER, "2026-Q2", crowd(20, 60))
    first = warehouse.link("run 1")
    assert first["fitted_on"] == 80
    assert ClassModel.from_dict(first["model"]).as_dict() == first["model"]
    warehouse.take_in("riverside_nhs", "2026-Q2", crowd(0, 79))
    second = warehouse.link("run 2")
    assert {name: second[name] for name in ("model", "threshold", "fitted_on")} == {
        name: first[name] for name in ("model", "threshold", "fitted_on")
    }
    warehouse.take_in("jobcentre_east", "2026-Q2", crowd(0, 1))
    third = warehouse.link("run 3")
    assert third["fitted_on"] == 160
    assert third["model"] != first["model"]
    assert len(warehouse.persons()) == 79


def test_nothing_of_a_client_is_in_what_a_run_tells_of_itself(warehouse: Warehouse) -> None:
    read = [
        warehouse.take_in(partner, "2026-Q2", crowd(0, 30) | {"x": MARGARET, "y": MARGARET}) for partner in (ONE, OTHER)
    ]
    parameters = warehouse.link("run 1")
    told = json.dumps([parameters, dict(warehouse.counts)])
    secrets: set[str] = set()
    for records in read:
        secrets |= set(records.match_keys["token"]) | set(records.records["person_ref"])
        for name in token_schema():
            secrets |= {str(token) for token in records.encodings[name].explode().drop_nulls()}
    assert len(secrets) > 1_000
    assert not [secret for secret in secrets if secret in told]
    with warehouse.database.pipeline.connect() as conn:
        assert not [person for person in read_membership(conn)["person_id"] if person in told]
    assert parameters["key_id"] == KEY_RING.key_id


# --- what is read of a record of several periods ----------------------------------------------------------------------


def encoding_of(warehouse: Warehouse) -> dict[str, Any]:
    with warehouse.database.pipeline.begin() as conn:
        (row,) = read_encodings(conn, take_snapshot(conn, ["2026-Q2", "2026-Q3"]).id).iter_rows(named=True)
    return row


def test_a_record_has_the_tokens_of_all_its_periods_and_the_filters_of_the_latest_that_has_any(
    warehouse: Warehouse,
) -> None:
    first = warehouse.take_in(ONE, "2026-Q2", {"x": MARGARET | {"email": None}})
    second = warehouse.take_in(ONE, "2026-Q3", {"x": MARGARET | {"postcode": "BS8 1TH", "forename": "Peggotty"}})
    merged = encoding_of(warehouse)
    one, other = first.encodings.row(0, named=True), second.encodings.row(0, named=True)
    for name, kind in token_schema().items():
        if isinstance(kind, pl.List):
            assert sorted(merged[name]) == sorted({*(one[name] or ()), *(other[name] or ())}), name
        else:
            assert merged[name] == other[name], name
    assert len(merged["postcode"]) == 2 * len(one["postcode"]) == 6


def test_a_filter_that_the_latest_period_lacks_is_the_earlier_one(warehouse: Warehouse) -> None:
    first = warehouse.take_in(ONE, "2026-Q2", {"x": MARGARET})
    warehouse.take_in(ONE, "2026-Q3", {"x": MARGARET | {"forename": None, "postcode": "BS8 1TH"}})
    merged = encoding_of(warehouse)
    before = first.encodings.row(0, named=True)
    assert merged["forename_filter_date_low"] == before["forename_filter_date_low"] is not None
    assert merged["forename_filter_postcode_high"] == before["forename_filter_postcode_high"]


def test_what_no_period_knows_is_null_and_forbids_nothing(warehouse: Warehouse) -> None:
    """An empty list would be a number that differs from every other, and part the person from all others' records."""
    unnumbered = MARGARET | {"nhs_number": None, "shared_person_number": None}
    warehouse.take_in(ONE, "2026-Q2", {"x": unnumbered})
    warehouse.take_in(ONE, "2026-Q3", {"x": unnumbered | {"postcode": "BS8 1TH"}})
    merged = encoding_of(warehouse)
    assert merged["nhs_number"] is None
    assert merged["shared_person_number"] is None
    warehouse.take_in(OTHER, "2026-Q3", {"y": MARGARET})
    warehouse.link("run 1")
    assert warehouse.persons() == {frozenset({ref(ONE, "x"), ref(OTHER, "y")})}


def test_records_that_nobody_encoded_are_persons_of_their_own_and_fix_no_model(warehouse: Warehouse) -> None:
    warehouse.take_in(ONE, "2026-Q2", {"x": MARGARET}, encoded=False)
    warehouse.take_in(OTHER, "2026-Q2", {"y": MARGARET}, encoded=False)
    assert warehouse.link("run 1")["fitted_on"] == 0
    assert len(warehouse.persons()) == 2
    for partner, client in ((ONE, "x"), (OTHER, "y")):
        warehouse.take_in(partner, "2026-Q3", {client: MARGARET})
    assert warehouse.link("run 2")["fitted_on"] == 2
    assert len(warehouse.persons()) == 1


# --- only what is new is compared -------------------------------------------------------------------------------------


def test_a_second_run_compares_only_pairs_with_something_new_and_finds_the_persons_of_a_full_one(
    warehouse: Warehouse,
) -> None:
    warehouse.take_in(ONE, "2026-Q2", crowd(0, 30))
    warehouse.take_in(OTHER, "2026-Q2", crowd(10, 40))
    assert warehouse.link("run 1")["incremental"] is False
    first = warehouse.counts
    assert first["compared"] == first["pairs"] >= 20
    # Most of the next extract says what the one before did; one client has moved, and three are new.
    moved = {"p005": crowd(5, 6)["p005"] | {"postcode": "BS8 1TH"}}
    warehouse.take_in(ONE, "2026-Q3", crowd(0, 33) | moved)
    assert warehouse.link("run 2")["incremental"] is True
    second, persons = warehouse.counts, warehouse.persons()
    assert second["pairs"] > first["pairs"]
    assert 3 <= second["compared"] <= 6
    assert warehouse.link("run 3", compare_anew=True)["incremental"] is False
    assert warehouse.counts["compared"] == warehouse.counts["pairs"] == second["pairs"]
    assert warehouse.persons() == persons
    assert (warehouse.counts["merged"], warehouse.counts["split"], warehouse.counts["created"]) == (0, 0, 0)
    assert len(persons) == 40


def test_records_that_go_and_come_back_are_the_persons_that_they_were(warehouse: Warehouse) -> None:
    warehouse.take_in(ONE, "2026-Q2", crowd(0, 20))
    warehouse.take_in(OTHER, "2026-Q2", crowd(0, 20))
    warehouse.link("run 1")
    persons = warehouse.persons()
    warehouse.take_in(ONE, "2026-Q2", crowd(0, 5))
    warehouse.link("run 2")
    warehouse.take_in(ONE, "2026-Q2", crowd(0, 20))
    warehouse.link("run 3")
    assert warehouse.persons() == persons
    assert warehouse.counts["split"] == 0


def test_a_run_that_dies_while_it_compares_leaves_what_was_compared_before_and_is_repeated(
    warehouse: Warehouse,
) -> None:
    warehouse.take_in(ONE, "2026-Q2", crowd(0, 20))
    warehouse.take_in(OTHER, "2026-Q2", crowd(0, 20))
    warehouse.link("run 1")
    before = compared(warehouse)
    warehouse.take_in("riverside_nhs", "2026-Q2", crowd(0, 10))

    def dying(records: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
        duckdb_engine()(records, pairs)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warehouse.link("run 2", engine=dying)
    assert compared(warehouse).equals(before)
    warehouse.link("run 2")
    assert 0 < warehouse.counts["compared"] < warehouse.counts["pairs"]
    assert len(warehouse.persons()) == 20


def test_after_an_erasure_nothing_that_was_compared_is_left(warehouse: Warehouse) -> None:
    warehouse.take_in(ONE, "2026-Q2", crowd(0, 5))
    warehouse.take_in(OTHER, "2026-Q2", crowd(0, 5))
    warehouse.link("run 1")
    assert compared(warehouse).height >= 5
    with warehouse.database.pipeline.begin() as conn:
        erase_submission(conn, warehouse.sent[-1].submission_id, actor="officer", reason="asked for")
        assert conn.scalar(text("select count(*) from linkage.compared")) == 0
    assert warehouse.link("run 2")["incremental"] is False


def test_what_another_method_compared_is_not_taken_over(warehouse: Warehouse) -> None:
    warehouse.take_in(ONE, "2026-Q2", crowd(0, 5))
    warehouse.take_in(OTHER, "2026-Q2", crowd(0, 5))
    warehouse.link("run 1")
    with warehouse.database.pipeline.begin() as conn:
        conn.execute(text("update linkage.compared set method = 'tokens/1'"))
    assert warehouse.link("run 2")["incremental"] is False
    assert compared(warehouse).height >= 5


def compared(warehouse: Warehouse) -> pl.DataFrame:
    with warehouse.database.pipeline.connect() as conn:
        found = read_compared(conn, METHOD)
    assert found is not None
    return found
