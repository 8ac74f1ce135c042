import re
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.loading import load_agreement
from protocol.model import Agreement, Mapping, SqlMapping, TableMapping

RENAMES = """
manifest_from_name: true
tables:
  person:
    file: Clients.csv
    columns: {local_person_id: ClientRef, sex: Gender}
    codes: {sex: {F: female, M: male, X: ""}}
    constants: {do_not_link: "no"}
    absent: [ABSENT]
"""


@pytest.fixture
def partner(folder: Path) -> Path:
    """The folder of a partner that has mapping files."""
    own = folder / "partners" / "bridge_housing"
    own.mkdir()
    (folder / "partners" / "bridge_housing.yaml").rename(own / "partner.yaml")
    return own


@pytest.fixture
def renames(example: Agreement) -> str:
    """The renames, with all that is not renamed said to be absent."""
    named = ("local_person_id", "sex", "do_not_link")
    absent = [name for name in example.contract.table("person").column_names if name not in named]
    return RENAMES.replace("ABSENT", ", ".join(absent))


def mapping_of(folder: Path) -> Mapping:
    return load_agreement(folder).partner("bridge_housing").mapping


def test_partner_that_uses_the_agreed_names_has_an_empty_mapping(folder: Path) -> None:
    assert mapping_of(folder) == Mapping()


def test_renames_are_read_from_the_file_beside_the_partner(folder: Path, partner: Path, renames: str) -> None:
    (partner / "mapping.yaml").write_text(renames, encoding="utf-8")
    assert mapping_of(folder) == Mapping(
        manifest_from_name=True,
        tables=(
            TableMapping(
                table="person",
                file="Clients.csv",
                columns={"local_person_id": "ClientRef", "sex": "Gender"},
                codes={"sex": {"F": "female", "M": "male", "X": ""}},
                constants={"do_not_link": "no"},
                absent=tuple(re.findall(r"\w+", renames.partition("absent:")[2])),
            ),
        ),
    )


REQUIRED = ("person", "sharing_basis", "enrolment", "assessment")


@pytest.fixture
def selects(example: Agreement) -> dict[str, str]:
    """One SELECT for each table that is not optional, which takes everything as it is."""
    tables = [example.contract.table(name) for name in REQUIRED]
    return {table.name: f"-- one; table\nselect {', '.join(table.column_names)} from {table.name}" for table in tables}


def write_selects(folder: Path, selects: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for table, select in selects.items():
        (folder / f"{table}.sql").write_text(select, encoding="utf-8")


def test_selects_of_a_partner_are_read(folder: Path, partner: Path, selects: dict[str, str]) -> None:
    write_selects(partner / "mapping", selects)
    mapping = mapping_of(folder)
    assert [select.table for select in mapping.sql] == sorted(REQUIRED)
    assert mapping.sql[0] == SqlMapping(table="assessment", select=selects["assessment"])


def test_shared_mapping_is_taken_up_with_the_partner_s_own_parameters(
    folder: Path, partner: Path, selects: dict[str, str]
) -> None:
    asking = {name: f"{select} where a = getvariable('branch')" for name, select in selects.items()}
    write_selects(folder / "mappings" / "export", asking)
    (folder / "mappings" / "export" / "mapping.yaml").write_text(
        "manifest_from_name: true\nparameters: {region: east, branch: all}\n", encoding="utf-8"
    )
    (partner / "mapping.yaml").write_text('use: export\nparameters: {branch: "4"}\n', encoding="utf-8")
    mapping = mapping_of(folder)
    assert mapping.parameters == {"region": "east", "branch": "4"}
    assert mapping.manifest_from_name
    assert len(mapping.sql) == 4


def test_select_that_asks_for_an_unknown_parameter_is_refused(
    folder: Path, partner: Path, refusal: Callable[[], str], selects: dict[str, str]
) -> None:
    selects["person"] += " where a = getvariable('branch')"
    write_selects(folder / "mappings" / "export", selects)
    (partner / "mapping.yaml").write_text("use: export\n", encoding="utf-8")
    assert "parameters.branch: is missing; mappings/export/person.sql asks for it" in refusal()


@pytest.mark.parametrize(
    "text",
    ["select 1; select 2", "copy person to 'x'", "", "-- nothing", "attach 'x'; select 1", "insert into a select 1"],
)
def test_sql_that_is_not_one_select_is_refused(
    folder: Path, partner: Path, refusal: Callable[[], str], selects: dict[str, str], text: str
) -> None:
    write_selects(partner / "mapping", selects)
    (partner / "mapping" / "person.sql").write_text(text, encoding="utf-8")
    assert "partners/bridge_housing/mapping/person.sql:1: should hold one SELECT" in refusal()


def test_sql_mapping_has_to_make_every_table_that_is_not_optional(
    folder: Path, partner: Path, refusal: Callable[[], str], selects: dict[str, str]
) -> None:
    write_selects(partner / "mapping", selects)
    (partner / "mapping" / "enrolment.sql").unlink()
    assert "makes no table enrolment" in refusal()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("person:", "people:", "tables.people: is no agreed table"),
        ("sex: Gender", "gender: Gender", "tables.person.columns.gender: is no agreed column of person"),
        ("F: female", "F: woman", "tables.person.codes.sex.F: is not a code of the list sex"),
        ("codes: {sex:", "codes: {surname:", "belongs to a column without a code list"),
        ('do_not_link: "no"', "do_not_link: never", "is not a code of the list yes_no"),
        ('do_not_link: "no"', "surname: Smith", "equal ones would be joined"),
        ('do_not_link: "no"', "sex: female", "stands under columns, constants or absent as well"),
        ("sex: Gender", "sex: ''", "tables.person.columns.sex: names no heading"),
        ("absent: [", "absent: [sex, ", "tables.person.absent.sex: stands under columns"),
        ('constants: {do_not_link: "no"}\n', "\n", "tables.person.columns: leave out do_not_link"),
        ('constants: {do_not_link: "no"}\n    absent: [', "absent: [do_not_link, ", "which no row may be without"),
        ("absent: [", "absent: [nickname, ", "tables.person.absent.nickname: is no agreed column"),
        ("file: Clients.csv", "file: ../Clients.csv", "should be the name of a file, without a folder"),
        ("manifest_from_name: true", "use: nowhere", "use: names no folder of mappings/"),
        ("manifest_from_name: true", "manifest: true", "manifest: is not an entry"),
    ],
)
def test_mapping_that_does_not_fit_the_contract_is_refused(
    folder: Path, partner: Path, refusal: Callable[[], str], renames: str, old: str, new: str, told: str
) -> None:
    assert old in renames
    (partner / "mapping.yaml").write_text(renames.replace(old, new), encoding="utf-8")
    message = refusal()
    assert "partners/bridge_housing/mapping.yaml" in message
    assert told in message


def test_renames_beside_sql_are_refused(
    folder: Path, partner: Path, refusal: Callable[[], str], renames: str, selects: dict[str, str]
) -> None:
    write_selects(partner / "mapping", selects)
    (partner / "mapping.yaml").write_text(renames, encoding="utf-8")
    assert "tables: cannot stand beside SQL files" in refusal()


def test_partner_in_two_places_is_refused(folder: Path, partner: Path, refusal: Callable[[], str]) -> None:
    (folder / "partners" / "bridge_housing.yaml").write_text("name: Bridge", encoding="utf-8")
    assert "partners/bridge_housing.yaml: stands beside a folder of that name" in refusal()


def test_shared_mapping_that_nobody_uses_is_refused(
    folder: Path, refusal: Callable[[], str], selects: dict[str, str]
) -> None:
    write_selects(folder / "mappings" / "export", selects)
    assert "mappings/export/person.sql: is part of the signed text but stands for nothing" in refusal()
