"""JSON Schema and Data Package say what the agreement says, to validators made by others."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from frictionless import Package, Report
from jsonschema import Draft202012Validator

from protocol.generated.schemas import data_package, manifest_schema, row_schema, write_json
from protocol.generated.versions import AgreedVersion, agreed_versions
from protocol.model import Agreement, ColumnType, Table
from synthetic.from_agreement import make_sample, write_drop

ROOT = Path(__file__).resolve().parents[3]


def example_row(table: Table) -> dict[str, Any]:
    numbers = {ColumnType.INTEGER: int, ColumnType.DECIMAL: float}
    return {column.name: numbers.get(column.type, str)(column.example) for column in table.columns}


def is_valid(schema: dict[str, Any], instance: object) -> bool:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).is_valid(instance)


def test_every_schema_is_one_and_the_examples_pass(any_agreement: Agreement) -> None:
    for version in agreed_versions(any_agreement):
        Draft202012Validator.check_schema(manifest_schema(any_agreement, version))
        for table in version.contract.tables:
            schema = row_schema(any_agreement, version, table)
            Draft202012Validator.check_schema(schema)
            assert is_valid(schema, example_row(table))


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("person", {"sex": "f"}),
        ("person", {"local_person_id": None}),
        ("person", {"local_person_id": "AB 12"}),
        ("person", {"date_of_birth": "23/07/1984"}),
        ("person", {"date_of_birth": "1984-13-23"}),
        ("person", {"forename": "x" * 81}),
        ("person", {"religion": "none"}),
        ("service_contact", {"minutes": 1441}),
        ("service_contact", {"minutes": 1.5}),
        ("cost", {"amount_gbp": "much"}),
    ],
)
def test_a_row_that_would_be_held_back_is_not_valid(
    agreement: Agreement, version: AgreedVersion, table: str, change: dict[str, Any]
) -> None:
    agreed = agreement.contract.table(table)
    assert not is_valid(row_schema(agreement, version, agreed), example_row(agreed) | change)


def test_an_empty_cell_is_valid_where_it_may_be_empty(agreement: Agreement, version: AgreedVersion) -> None:
    person = agreement.contract.table("person")
    empty = {column.name: None for column in person.columns if not column.required}
    assert is_valid(row_schema(agreement, version, person), example_row(person) | empty)


def test_a_malformed_identifier_that_is_only_noted_is_valid(agreement: Agreement, version: AgreedVersion) -> None:
    person = agreement.contract.table("person")
    assert is_valid(row_schema(agreement, version, person), example_row(person) | {"nhs_number": "12"})


def test_the_manifest_of_the_how_to_is_valid_and_a_wrong_one_is_not(
    agreement: Agreement, version: AgreedVersion
) -> None:
    schema = manifest_schema(agreement, version)
    text = (ROOT / "docs" / "how-to" / "drop-an-extract.md").read_text(encoding="utf-8")
    manifest = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    manifest["extracted_on"] = manifest["extracted_on"].isoformat()
    assert is_valid(schema, manifest)
    for wrong in (
        {"partner": "nobody"},
        {"period": "2025-Q1"},
        {"agreement_version": "0.9"},
        {"kind": "correction"},
        {"supersedes": "sub-0123456789abcdef0123"},
        {"tables": {}},
        {"tables": {"person": -1}},
        {"tables": {"house": 1}},
        {"rows": 4},
    ):
        assert not is_valid(schema, manifest | wrong), wrong
    nil = {name: value for name, value in manifest.items() if name != "tables"} | {"kind": "nil"}
    assert is_valid(schema, nil)


def validate(folder: Path) -> Report:
    return Package(str(folder / "datapackage.json")).validate()


@pytest.fixture
def drop(agreement: Agreement, version: AgreedVersion, tmp_path: Path) -> Path:
    folder = write_drop(make_sample(agreement, "harbour_trust", "2026-Q1", rows=20), tmp_path / "2026-Q1")
    (folder / "datapackage.json").write_bytes(write_json(data_package(agreement, version)))
    return folder


def test_frictionless_finds_nothing_wrong_with_a_good_sample(drop: Path) -> None:
    report = validate(drop)
    assert report.valid, report.flatten(["fieldName", "type", "message"])
    assert report.stats["tasks"] == 10


def test_frictionless_opens_our_own_templates(agreement: Agreement, version: AgreedVersion, tmp_path: Path) -> None:
    from protocol.generated.documents import make_templates

    for name, content in make_templates(agreement, None, version).items():
        if name.endswith(".csv"):
            (tmp_path / Path(name).name).write_bytes(content)
    (tmp_path / "datapackage.json").write_bytes(write_json(data_package(agreement, version)))
    assert validate(tmp_path).valid


@pytest.mark.parametrize(
    ("file", "column", "cell", "error"),
    [
        ("person", "sex", "f", "constraint-error"),
        ("person", "do_not_link", "", "constraint-error"),
        ("person", "recorded_on", "03/04/2026", "type-error"),
        ("enrolment", "local_person_id", "nobody", "foreign-key"),
        ("service_contact", "minutes", "1441", "constraint-error"),
    ],
)
def test_frictionless_finds_a_planted_fault(drop: Path, file: str, column: str, cell: str, error: str) -> None:
    path = drop / f"{file}.csv"
    headings, first, *rest = path.read_text(encoding="utf-8-sig").splitlines()
    cells = first.split(",")
    cells[headings.split(",").index(column)] = cell
    path.write_text("\n".join([headings, ",".join(cells), *rest]) + "\n", encoding="utf-8")
    assert error in {found for (found,) in validate(drop).flatten(["type"])}


def test_the_descriptor_has_every_reference_and_key(any_agreement: Agreement) -> None:
    for version in agreed_versions(any_agreement):
        package = json.loads(write_json(data_package(any_agreement, version)))
        resources = {resource["name"]: resource["schema"] for resource in package["resources"]}
        for table in version.contract.tables:
            schema = resources[table.name]
            assert schema["primaryKey"] == list(table.key)
            assert {(key["reference"]["resource"], *key["fields"]) for key in schema["foreignKeys"]} == {
                (reference.to_table, *reference.columns) for reference in table.references
            }
