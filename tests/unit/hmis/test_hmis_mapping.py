"""The HMIS example: an export becomes the agreed tables by SQL alone, on a made-up one and on the real one."""

import os
import shutil
import zipfile
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import duckdb
import polars as pl
import pytest

from expectations.result import CheckContext, CheckResult
from expectations.row_rules import check_tables
from intake.channels import FetchedDrop
from intake.manifest import read_manifest
from intake.mapping import map_tables
from intake.taking import Limits, TakenDrop, take_in
from protocol.digest import agreement_digest
from protocol.loading import load_agreement
from protocol.model import Agreement, Partner, Treatment
from protocol.pool import pool_columns
from synthetic.hmis import HASHED, HEADINGS, HmisFacts, make_hmis_export

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples" / "hmis"
PERIOD = "FY2020-22"
ORGANIZATIONS = {"organization_a": "4", "organization_b": "6", "organization_o": "96"}


def real_export() -> Path | None:
    """The demonstration export, where somebody has put it beside the project; it is no part of it."""
    shared = os.environ.get("LINKARMS_SHARED_DATA")
    places = [Path(shared) / "hmis-eva-demo.zip"] if shared else []
    places += [ROOT.parent / "shared" / "data" / "hmis-eva-demo.zip"]
    return next((place for place in places if place.is_file()), None)


@pytest.fixture(scope="module")
def agreement() -> Agreement:
    return load_agreement(FOLDER)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HmisFacts]:
    folder = tmp_path_factory.mktemp("export") / PERIOD
    return folder, make_hmis_export(folder, clients=260, seed=4)


def take(path: Path, partner: Partner, work: Path) -> TakenDrop:
    drop = FetchedDrop(path=path, name=PERIOD + path.suffix)
    taken, findings = take_in(drop, work, Limits(), partner)
    assert findings == ()
    assert taken is not None
    return taken


def map_export(
    path: Path, partner: Partner, agreement: Agreement, work: Path
) -> tuple[Mapping[str, pl.DataFrame], CheckResult]:
    """One organisation's agreed tables of an export, and what the check says of them."""
    taken = take(path, partner, work)
    manifest, faults = read_manifest(taken, partner, agreement.contract)
    assert faults == ()
    assert manifest is not None
    assert manifest.period == PERIOD
    tables, findings = map_tables(taken, partner.mapping, agreement.contract, manifest)
    assert findings == ()
    context = CheckContext(period=agreement.calendar.period(PERIOD), extracted_on=manifest.extracted_on)
    return tables, check_tables(tables, agreement.contract, agreement.codelists, context)


@pytest.fixture(scope="module")
def mapped(
    made: tuple[Path, HmisFacts], agreement: Agreement, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Mapping[str, pl.DataFrame], CheckResult]]:
    work = tmp_path_factory.mktemp("work")
    return {partner.id: map_export(made[0], partner, agreement, work / partner.id) for partner in agreement.partners}


def rows_of(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(folder / f"{name}.csv", infer_schema=False)


def test_every_organisation_has_signed_the_text_as_it_stands(agreement: Agreement) -> None:
    assert {
        partner.id: partner.mapping.parameters["organization_id"] for partner in agreement.partners
    } == ORGANIZATIONS
    for partner in agreement.partners:
        assert partner.signatures[-1].digest == agreement_digest(FOLDER)


def test_made_export_has_the_form_of_a_real_one(made: tuple[Path, HmisFacts]) -> None:
    folder, facts = made
    assert len(HEADINGS) == 24
    assert {path.stem for path in folder.glob("*.csv")} == set(HEADINGS)
    assert rows_of(folder, "Export")["HashStatus"].to_list() == ["4"]
    client = rows_of(folder, "Client")
    assert client["SSN"].unique().to_list() == client["FirstName"].unique().to_list() == [HASHED]
    assert min(facts.shared_by_pair.values()) > 0


def test_making_an_export_twice_gives_the_same_files(made: tuple[Path, HmisFacts], tmp_path: Path) -> None:
    assert make_hmis_export(tmp_path, clients=260, seed=4) == made[1]
    for path in made[0].glob("*.csv"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_mapping_makes_the_agreed_columns_and_rows_that_pass(mapped, agreement: Agreement) -> None:
    for tables, result in mapped.values():
        assert set(tables) == set(agreement.contract.table_names)
        for table in agreement.contract.tables:
            assert tables[table.name].columns == ["_row", *table.column_names]
            assert len(tables[table.name]) > 0
        assert result.findings == ()


def test_plain_duckdb_gives_what_the_intake_gives(made: tuple[Path, HmisFacts], mapped, agreement: Agreement) -> None:
    partner = agreement.partner("organization_o")
    with duckdb.connect() as connection:
        for path in made[0].glob("*.csv"):
            source = f"read_csv('{path}', all_varchar = true)"
            connection.execute(f'create view "{path.stem.lower()}" as select * from {source}')
        connection.execute("set variable organization_id = '96'")
        for mapping in partner.mapping.sql:
            here = connection.sql(mapping.select).pl().cast(pl.String)
            there = mapped["organization_o"][0][mapping.table].drop("_row")
            assert here.select(there.columns).sort(there.columns).equals(there.sort(there.columns))


def test_clients_belong_to_the_organisation_that_enrolled_them(made: tuple[Path, HmisFacts], mapped) -> None:
    facts = made[1]
    people = {partner: set(tables["person"]["local_person_id"]) for partner, (tables, _) in mapped.items()}
    assert {ORGANIZATIONS[p]: len(ids) for p, ids in people.items()} == facts.clients_by_organization
    for one, other in combinations(sorted(people), 2):
        pair = f"{ORGANIZATIONS[one]}+{ORGANIZATIONS[other]}"
        assert len(people[one] & people[other]) == facts.shared_by_pair[pair]
    assert len(set.union(*people.values())) == facts.clients


def test_names_and_social_security_numbers_go_nowhere(mapped, agreement: Agreement) -> None:
    assert not {"forename", "surname", "ssn"} & set(agreement.contract.table("person").column_names)
    for tables, _ in mapped.values():
        for frame in tables.values():
            assert not any((frame[column].cast(pl.String) == HASHED).any() for column in frame.columns)


def test_shared_number_is_for_linkage_only(agreement: Agreement) -> None:
    person = agreement.contract.table("person")
    assert person.column("shared_person_number").treatment is Treatment.TOKENISE
    assert [column.name for column in pool_columns(person)] == ["birth_year_band", "sex", "ethnic_group"]


def test_date_of_birth_counts_only_where_it_was_given_in_full(made: tuple[Path, HmisFacts], mapped) -> None:
    client = rows_of(made[0], "Client")
    doubtful = set(client.filter(pl.col("DOBDataQuality") != "1")["PersonalID"])
    people = pl.concat([tables["person"] for tables, _ in mapped.values()])
    assert doubtful & set(people["local_person_id"])
    assert people.filter(pl.col("local_person_id").is_in(doubtful))["date_of_birth"].null_count() == len(
        people.filter(pl.col("local_person_id").is_in(doubtful))
    )
    assert people.filter(~pl.col("local_person_id").is_in(doubtful))["date_of_birth"].null_count() == 0


def test_destinations_fall_into_their_groups(made: tuple[Path, HmisFacts], mapped) -> None:
    exits = rows_of(made[0], "Exit")
    groups = {"410": "permanent_housing", "101": "homeless", "215": "institution", "312": "temporary_housing"}
    groups |= {"435": "permanent_housing", "17": "other", "24": "died", "99": "unknown"}
    assert set(exits["Destination"]) == set(groups)
    enrolments = pl.concat([tables["enrolment"] for tables, _ in mapped.values()])
    joined = enrolments.join(exits, left_on="enrolment_number", right_on="EnrollmentID")
    assert (joined["end_reason"] == joined["Destination"].replace_strict(groups)).all()
    still = enrolments.join(exits, left_on="enrolment_number", right_on="EnrollmentID", how="anti")
    assert still["end_reason"].null_count() == still["ended_on"].null_count() == len(still) > 0


def test_exit_interviews_are_no_assessments(made: tuple[Path, HmisFacts], mapped) -> None:
    income = rows_of(made[0], "IncomeBenefits")
    expected = income.filter(
        pl.col("DataCollectionStage").is_in(["1", "2", "5"]) & pl.col("IncomeFromAnySource").is_in(["0", "1"])
    )
    found = pl.concat([tables["assessment"] for tables, _ in mapped.values()])
    numbers = set(found.filter(pl.col("domain") == "income_benefits")["assessment_number"])
    assert numbers == {f"I{number}" for number in expected["IncomeBenefitsID"]}
    assert set(found["tool"]) == {"coordinated_entry", "entry_interview", "update_interview"}


def test_problem_solving_is_no_referral_and_named_projects_name_their_organisation(
    made: tuple[Path, HmisFacts], mapped
) -> None:
    events = rows_of(made[0], "Event")
    referrals = pl.concat([tables["referral"] for tables, _ in mapped.values()])
    assert len(referrals) == len(events.filter(pl.col("Event") != "2")) < len(events)
    named = referrals.filter(pl.col("other_partner") != "unknown")
    assert len(named) == made[1].placed_referrals
    assert set(named["other_partner"]) <= set(ORGANIZATIONS)
    accepted = referrals.filter(pl.col("status") == "accepted")
    assert accepted["accepted_on"].null_count() == 0
    assert referrals.filter(pl.col("status") != "accepted")["accepted_on"].null_count() == len(referrals) - len(
        accepted
    )


def test_work_is_gained_only_by_those_who_had_none_at_entry(made: tuple[Path, HmisFacts], mapped) -> None:
    answers = rows_of(made[0], "EmploymentEducation")
    entry = answers.filter((pl.col("DataCollectionStage") == "1") & (pl.col("Employed") == "0"))["EnrollmentID"]
    later = answers.filter(pl.col("DataCollectionStage").is_in(["2", "3"]) & (pl.col("Employed") == "1"))[
        "EnrollmentID"
    ]
    gained = pl.concat([tables["outcome"] for tables, _ in mapped.values()]).filter(
        pl.col("outcome") == "employment_gained"
    )
    assert set(gained["outcome_number"]) == {f"W{number}" for number in set(entry) & set(later)}
    assert len(gained) > 0


def test_deleted_rows_are_left_out(made: tuple[Path, HmisFacts], agreement: Agreement, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made[0], tmp_path / PERIOD))
    enrollment = rows_of(folder, "Enrollment")
    half = enrollment.with_row_index().with_columns(
        pl.when(pl.col("index") % 2 == 0).then(pl.lit("2022-01-01 00:00:00")).alias("DateDeleted")
    )
    half.drop("index").write_csv(folder / "Enrollment.csv")
    kept = set(half.filter(pl.col("DateDeleted").is_null())["EnrollmentID"])
    for partner in agreement.partners:
        tables, result = map_export(folder, partner, agreement, tmp_path / partner.id)
        assert set(tables["enrolment"]["enrolment_number"]) <= kept
        assert result.findings == ()


def test_zip_of_the_export_is_the_same_submission_as_the_folder(
    made: tuple[Path, HmisFacts], agreement: Agreement, tmp_path: Path
) -> None:
    archive = tmp_path / f"{PERIOD}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path in sorted(made[0].glob("*.csv")):
            bundle.write(path, path.name)
    partner = agreement.partner("organization_a")
    one, other = (take(path, partner, tmp_path / f"w{n}") for n, path in enumerate((made[0], archive)))
    assert one.submission_id == other.submission_id


@pytest.mark.skipif(
    real_export() is None, reason="the HMIS demonstration export is not here (LINKARMS_SHARED_DATA names its folder)"
)
def test_real_export_becomes_three_partners_tables(agreement: Agreement, tmp_path: Path) -> None:
    export = real_export()
    assert export is not None
    people, findings = {}, {}
    for partner in agreement.partners:
        tables, result = map_export(export, partner, agreement, tmp_path / partner.id)
        assert not result.refused
        people[partner.id] = set(tables["person"]["local_person_id"])
        findings[partner.id] = {finding.code: finding.rows_affected for finding in result.findings}
        assert len(tables["enrolment"]) == result.counts["enrolment"].accepted
    a, b, o = (people[partner] for partner in ("organization_a", "organization_b", "organization_o"))
    assert (len(a), len(b), len(o)) == (1358, 480, 2538)
    assert sorted([len(a & b), len(b & o), len(a & o)]) == [7, 33, 190]
    assert len(a | b | o) == 4146
    # One referral was answered before it was sent.
    assert findings == {
        "organization_a": {},
        "organization_b": {},
        "organization_o": {"referral.sent_on+accepted_on.date_order": 1},
    }
