"""Linking in the warehouse: what is read of a record, what a run leaves behind, and what goes on to the next."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from linkage.classes import ClassModel
from linkage.comparisons import token_schema
from linkage.review import describe_pairs
from linkage.vectors import Engine, duckdb_engine
from pipeline.linking import link_snapshot
from protocol.model import Agreement
from tests.integration.warehouse.conftest import Pool, pseudonym
from tests.unit.linkage.conftest import KEY_RING, MARGARET, Records, encode
from warehouse.linkage_store import read_encodings, read_membership, read_run, read_scored_pairs
from warehouse.loading import load_submission
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

    def link(self, run_id: str, *periods: str) -> Mapping[str, Any]:
        """Link everything of the periods; returns the parameters of the run."""
        with self.database.pipeline.begin() as conn:
            snapshot = take_snapshot(conn, periods or ("2026-Q2", "2026-Q3"), None, NOW)
            engine = self.engine or duckdb_engine()
            link_snapshot(conn, snapshot, snapshot, self.agreement, run_id, KEY_RING, NOW, engine)
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
