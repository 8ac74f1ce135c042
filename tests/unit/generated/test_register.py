"""The register of processing says what the agreement says of each controller and purpose."""

import csv
import io

from protocol.generated.register import HEADINGS, register_csv
from protocol.model import Agreement, ControllerRole


def rows(agreement: Agreement) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(register_csv(agreement).decode("utf-8-sig"))))


def test_there_is_a_row_for_each_controller_and_purpose(any_agreement: Agreement) -> None:
    found = rows(any_agreement)
    assert len(found) == len(any_agreement.partners) * len(any_agreement.purposes)
    assert all(set(row) == set(HEADINGS) for row in found)
    assert all(cell for row in found for cell in row.values())


def test_a_partner_that_only_processes_has_no_row(agreement: Agreement) -> None:
    first, *others = agreement.partners
    processor = first.model_copy(update={"controller_role": ControllerRole.PROCESSOR})
    found = rows(agreement.model_copy(update={"partners": (processor, *others)}))
    assert len(found) == len(others) * len(agreement.purposes)
    assert not any(row["Name and contact details of controller"].startswith(first.name) for row in found)


def test_a_purposes_row_has_its_data_basis_and_recipients_and_no_others(agreement: Agreement) -> None:
    by_purpose = {
        row["Purpose of processing"].partition(":")[0]: row
        for row in rows(agreement)
        if row["Name and contact details of controller"].startswith("Castle")
    }
    titles = {purpose.id: purpose.title for purpose in agreement.purposes}
    linkage, equality = by_purpose[titles["record_linkage"]], by_purpose[titles["equality_monitoring"]]
    evidence = by_purpose[titles["joint_evidence"]]
    assert "NHS number" in linkage["Categories of personal data"]
    assert "NHS number" not in equality["Categories of personal data"]
    assert equality["Special category or criminal offence data"] == "special category data: Ethnic group"
    assert linkage["Special category or criminal offence data"] == "none"
    assert "Article 9(2)(g)" in equality["Article 9 basis for processing special category data"]
    assert "Joint evaluation team" in evidence["Categories of recipients"]
    assert "Joint evaluation team" in equality["Categories of recipients"]
    assert "none" in linkage["Categories of recipients"]
    assert "Care Act 2014" in linkage["Statutory gateway"]
    assert "Castle Borough Council" not in linkage["Name and contact details of joint controllers"]
    assert linkage["Name and contact details of joint controllers"].count(";") == len(agreement.partners) - 2


def test_a_table_that_is_tied_to_people_only_by_a_reference_is_in_the_register(agreement: Agreement) -> None:
    assert agreement.contract.table("assessment_item").person_column is None
    evidence = next(row for row in rows(agreement) if row["Purpose of processing"].startswith("Evidence"))
    assert evidence["Special category or criminal offence data"].endswith(", Score")
    assert not any("Amount in pounds" in row["Categories of personal data"] for row in rows(agreement))


def test_a_partners_processor_is_named_with_its_contract(agreement: Agreement) -> None:
    (processor,) = agreement.controllers.processors
    for row in rows(agreement):
        mine = any(
            row["Name and contact details of controller"].startswith(agreement.partner(partner).name)
            for partner in processor.acts_for
        )
        assert (processor.contract in row["Processors and their contracts"]) == mine
