import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from protocol.errors import AgreementError
from protocol.gate import is_signed
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import Agreement, ColumnType, IdentifierRole, OnFailure, Treatment

Edit = Callable[[str, str, str], None]
CONTRACT = "v1/casework.odcs.yaml"


def test_example_has_the_agreed_tables_in_an_order_of_parents_before_children(example: Agreement) -> None:
    assert example.contract.table_names == (
        "person",
        "sharing_basis",
        "enrolment",
        "assessment",
        "assessment_item",
        "referral",
        "stage_event",
        "outcome",
        "service_contact",
        "cost",
    )


def test_example_is_signed_by_six_partners_and_not_by_the_seventh(example: Agreement) -> None:
    unsigned = [partner.id for partner in example.partners if not is_signed(example, partner)]
    assert len(example.partners) == 7
    assert unsigned == ["lantern_youth"]


def test_example_has_twelve_quarters_that_cover_the_term_without_a_gap(example: Agreement) -> None:
    periods = example.calendar.periods
    assert [periods[0].id, periods[-1].id, len(periods)] == ["2026-Q1", "2028-Q4", 12]
    assert (periods[0].starts, periods[-1].ends) == (example.term.starts, example.term.ends)
    assert all((after.starts - before.ends).days == 1 for before, after in pairwise(periods))


def test_free_text_of_the_example_is_dropped(example: Agreement) -> None:
    free = {
        f"{table.name}.{column.name}": column.treatment
        for table in example.contract.tables
        for column in table.columns
        if column.classification == "free_text"
    }
    assert free == {"assessment.summary": Treatment.DROP, "service_contact.notes": Treatment.DROP}


def test_contract_is_read_into_typed_columns(example: Agreement) -> None:
    person = example.contract.table("person")
    birth = person.column("date_of_birth")
    assert birth.type is ColumnType.DATE
    assert birth.identifier is IdentifierRole.DATE_OF_BIRTH
    assert birth.treatment is Treatment.GENERALISE
    assert birth.minimum == "1900-01-01"
    assert person.column("sex").type is ColumnType.CODE
    assert person.column("postcode").pattern_failure is OnFailure.NOTE
    item = example.contract.table("assessment_item")
    assert item.key == ("assessment_number", "item")
    assert item.optional
    assert example.contract.table("referral").references[0].to_table == "person"


def test_yes_and_no_stay_codes(example: Agreement) -> None:
    assert example.codelist("yes_no").values == ("yes", "no")


def test_loaded_agreement_cannot_be_changed(example: Agreement) -> None:
    with pytest.raises(ValidationError):
        example.version = "2.0"  # type: ignore[misc]


def test_loading_takes_well_under_a_second() -> None:
    started = time.process_time()
    load_agreement(default_agreement_folder())
    assert time.process_time() - started < 1


def test_folder_without_an_agreement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AgreementError, match=r"agreement\.yaml"):
        load_agreement(tmp_path)


def test_all_faults_are_told_at_once(edit: Edit, refusal: Callable[[], str]) -> None:
    edit("partners/harbour_trust.yaml", "tier: core", "teir: core")
    edit("codelists/sex.yaml", "label: Female", "lable: Female")
    edit("grants/evaluation_team.yaml", "ends: 2027-12-31", "ends: never")
    message = refusal()
    assert "codelists/sex.yaml:4: codes.0.lable: is not an entry" in message
    assert "codelists/sex.yaml:4: codes.0.label: is missing" in message
    assert "grants/evaluation_team.yaml:6: ends: should be a date" in message


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("agreement.yaml", "term:", "terms:", ": terms: is not an entry"),
        (
            "agreement.yaml",
            'version: "1.0"',
            "version: 1.0",
            "agreement.yaml:6: version: should be a version in quotes",
        ),
        ("agreement.yaml", "id: harbour_east", "id: harbour_east\nid: other", "the key id stands twice"),
        ("agreement.yaml", "[signature]", "[]", ": clauses: have none that governs signature"),
        ("agreement.yaml", "from: 2026-Q1", "from: 2025-Q4", "2025-Q4: does not lie within the agreement's term"),
        ("agreement.yaml", "to: 2028-Q4", "to: 2028-Q5", "calendar.quarters: should be"),
        ("agreement.yaml", "minimum_people: 8", "minimum_people: 1", "single people would be published"),
        ("agreement.yaml", "id: harbour_east", "id: [", "is not good YAML"),
        (
            "partners/harbour_trust.yaml",
            "tier: core",
            "tier: outer",
            "harbour_trust.yaml:4: tier: should be core or wider",
        ),
        ("partners/castle_borough.yaml", "gateway:", "# gateway:", "partners/castle_borough.yaml:8: is not good YAML"),
        ("partners/bridge_housing.yaml", "kind: charity", "kind: charity\npublic_body: true", "gateway: is missing"),
        ("partners/bridge_housing.yaml", "name:", "id: other\nname:", "id: should be bridge_housing, like the file"),
        ("codelists/partner.yaml", "code: northgate_skills", "code: north", "lack the partner northgate_skills"),
        ("codelists/sex.yaml", "code: male", "code: female", "codes.1: is female again"),
        ("codelists/sex.yaml", "code: male", "code: Male", "Write it in small letters"),
        ("grants/evaluation_team.yaml", "pool.*", "linkage.*", "can be granted"),
        ("agreement.yaml", "inbox_days: 14", "inbox_days: -1", "retention.inbox_days: cannot be less than nothing"),
        ("agreement.yaml", "quarters: {from: 2026-Q1, to: 2028-Q4}", "periods: []", "calendar.periods: are none"),
        ("agreement.yaml", "repeat_window_days: 90", "repeat_window_days: -90", "measures.repeat_window_days: cannot"),
        ("grants/evaluation_team.yaml", "evaluation_analyst", "linkarms_owner", "a name that the database keeps"),
        ("grants/evaluation_team.yaml", "[joint_evidence,", "[joy,", "name joy, which agreement.yaml does not have"),
        ("grants/evaluation_team.yaml", "ends: 2027-12-31", "ends: 2029-12-31", "lies after the agreement's term"),
    ],
)
def test_faulty_entry_is_named_with_its_file(
    edit: Edit, refusal: Callable[[], str], file: str, old: str, new: str, told: str
) -> None:
    edit(file, old, new)
    assert told in refusal()


PERSON_NAME = """examples: [Amelia]
        quality:
          - {type: library, metric: nullValues, unit: percent, mustBeLessOrEqualTo: 5}
        customProperties:
          - {property: treatment, value: tokenise}"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("apiVersion: v3.2.0", "apiVersion: v3.0.0", "apiVersion: should be v3.2.0"),
        ("logicalType: string", "logicalType: text", "person.local_person_id.logicalType: should be one of"),
        ("classification: special_category", "classification: secret", "person.ethnic_group.classification"),
        ("value: [equality_monitoring]", "value: [record_linkage]", "has no article_9"),
        ("value: [equality_monitoring]", "value: [curiosity]", "purposes: name curiosity"),
        ("value: [equality_monitoring]", "value: []", "purposes: are none"),
        (PERSON_NAME, PERSON_NAME.replace("tokenise", "keep"), "keeps a direct identifier"),
        ("examples: [mixed]", "examples: [blue]", "not a code of the list ethnic_group"),
        (
            "examples: ['1984-07-23']",
            "examples: ['23/07/1984']",
            "person.date_of_birth.examples: has what is no date",
        ),
        ("examples: ['999 000 0018']", "examples: ['999']", "have what the pattern does not match"),
        ("'[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}'", "'(?=9)[0-9 ]+'", "look-around"),
        (
            "codelist, value: sex}",
            "codelist, value: sexes}",
            "person.sex.codelist: is sexes, and codelists/sexes.yaml is missing",
        ),
        ("to: person.local_person_id", "to: people.local_person_id", "refers to the table people, which is missing"),
        ("to: person.local_person_id", "to: person.sex", "should refer to the key of person"),
        ("to: person.local_person_id", "to: person", "should name as many columns on both sides"),
        ("metric: rowCount", "metric: duplicateValues", "is not run by Linkarms here"),
        ("engine: linkarms", "engine: soda", "is not run by Linkarms"),
        ("[date_of_birth, died_on]", "[date_of_birth, gone_on]", "names a column that person does not have"),
        ("[date_of_birth, died_on]", "[date_of_birth, sex]", "compares dates, and sex is none"),
        ("kind: not_after_extract", "kind: reference", "implementation.kind: should be one of"),
        ("required: true", "required: true\n        unique: true", "unique: is not read. Only keys are unique"),
        ("property: personColumn", "property: personcolumn", "customProperties.personcolumn: is not known here"),
        ("property: heldBackShare, value: 0.2", "property: heldBackShare, value: 20", "should be a share such as 0.2"),
        ("  - name: sharing_basis", "  - name: person", "is person again"),
        ("value: birth_year_band", "value: postcode_district", "cannot be generalised by postcode_district"),
        ("- {property: identifier, value: nhs_number}", "", "person.nhs_number: is tokenised, so it needs"),
    ],
)
def test_contract_that_promises_what_is_not_kept_is_refused(
    edit: Edit, refusal: Callable[[], str], old: str, new: str, told: str
) -> None:
    edit(CONTRACT, old, new)
    message = refusal()
    assert CONTRACT in message
    assert told in message


def test_free_text_cannot_be_kept(edit: Edit, refusal: Callable[[], str]) -> None:
    edit(CONTRACT, "value: drop", "value: keep")
    assert "assessment.summary.treatment: lets free text through, which never passes" in refusal()


def test_identifier_outside_the_person_table_is_refused(edit: Edit, refusal: Callable[[], str]) -> None:
    edit(CONTRACT, "value: outcome}", "value: outcome}\n          - {property: identifier, value: sex}")
    assert "outcome.outcome: is an identifier of a person, and those stand in the table person only" in refusal()


def test_file_that_stands_for_nothing_is_refused(folder: Path, refusal: Callable[[], str]) -> None:
    (folder / "codelists" / "sex.sql").write_text("select 1", encoding="utf-8")
    (folder / "annex.yaml").write_text("extra: words", encoding="utf-8")
    message = refusal()
    assert "annex.yaml: is part of the signed text but stands for nothing" in message
    assert "codelists/sex.sql: is part of the signed text" in message


def test_notes_of_an_editor_are_left_alone(folder: Path, example: Agreement) -> None:
    (folder / ".notes.yaml").write_text("draft: true", encoding="utf-8")
    (folder / "README.md").write_text("Our agreement", encoding="utf-8")
    assert load_agreement(folder).digest == example.digest


def test_table_without_the_optional_ones_still_loads(folder: Path) -> None:
    text = (folder / CONTRACT).read_text(encoding="utf-8")
    (folder / CONTRACT).write_text(text[: text.index("  - name: stage_event")], encoding="utf-8")
    for name in ("stage", "outcome", "channel", "cost_type"):
        (folder / "codelists" / f"{name}.yaml").unlink()
    assert load_agreement(folder).contract.table_names[-1] == "referral"


def test_earlier_version_of_the_tables_may_stay(folder: Path, edit: Edit) -> None:
    for name in ("agreement.yaml", CONTRACT):
        edit(name, 'version: "1.0"', 'version: "2.0"')
    (folder / "v2").mkdir()
    (folder / "v2" / "casework.odcs.yaml").write_text((folder / CONTRACT).read_text(encoding="utf-8"), "utf-8")
    assert load_agreement(folder).version == "2.0"
