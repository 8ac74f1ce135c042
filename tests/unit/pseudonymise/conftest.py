"""Keys, a small contract and accepted tables with canaries for the pseudonymisation tests."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from protocol.model import (
    Classification,
    Column,
    ColumnType,
    Contract,
    Generalisation,
    IdentifierRole,
    Reference,
    Table,
    Treatment,
)
from pseudonymise.keys import KeyRing

K1, K2 = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture(scope="session")
def key_ring() -> KeyRing:
    return KeyRing(K1, K2, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="session")
def other_key_ring() -> KeyRing:
    return KeyRing(bytes(32), K2, datetime(2026, 1, 1, tzinfo=UTC))


def make_column(
    name: str,
    treatment: Treatment,
    type_: ColumnType = ColumnType.TEXT,
    identifier: IdentifierRole | None = None,
    generalisation: Generalisation | None = None,
) -> Column:
    return Column(
        name=name,
        label=name,
        description=name,
        type=type_,
        treatment=treatment,
        classification=Classification.OPERATIONAL,
        purposes=("evidence",),
        why="It is needed.",
        identifier=identifier,
        generalisation=generalisation,
        example="x",
    )


@pytest.fixture(scope="session")
def contract() -> Contract:
    token, keep, number = Treatment.TOKENISE, Treatment.KEEP, Treatment.PSEUDONYMISE
    person = Table(
        name="person",
        label="Person",
        description="Clients",
        key=("local_person_id",),
        person_column="local_person_id",
        columns=(
            make_column("local_person_id", number),
            make_column("nhs_number", token, identifier=IdentifierRole.NHS_NUMBER),
            make_column("forename", token, identifier=IdentifierRole.FORENAME),
            make_column("surname", token, identifier=IdentifierRole.SURNAME),
            make_column(
                "date_of_birth",
                Treatment.GENERALISE,
                ColumnType.DATE,
                IdentifierRole.DATE_OF_BIRTH,
                Generalisation.BIRTH_YEAR_BAND,
            ),
            make_column(
                "postcode",
                Treatment.GENERALISE,
                identifier=IdentifierRole.POSTCODE,
                generalisation=Generalisation.POSTCODE_DISTRICT,
            ),
            make_column("phone", token, identifier=IdentifierRole.PHONE),
            make_column("email", token, identifier=IdentifierRole.EMAIL),
            make_column("household_number", number),
            make_column("died_on", Treatment.GENERALISE, ColumnType.DATE, generalisation=Generalisation.MONTH),
            make_column("do_not_link", keep, ColumnType.CODE),
        ),
    )
    assessment = Table(
        name="assessment",
        label="Assessment",
        description="Assessments",
        key=("assessment_number",),
        person_column="local_person_id",
        references=(Reference(columns=("local_person_id",), to_table="person", to_columns=("local_person_id",)),),
        columns=(
            make_column("assessment_number", number),
            make_column("local_person_id", number),
            make_column("assessed_on", keep, ColumnType.DATE),
            make_column("minutes", keep, ColumnType.INTEGER),
            make_column("total_score", keep, ColumnType.DECIMAL),
            make_column("summary", Treatment.DROP),
        ),
    )
    item = Table(
        name="assessment_item",
        label="Item",
        description="Items",
        key=("assessment", "item"),
        references=(Reference(columns=("assessment",), to_table="assessment", to_columns=("assessment_number",)),),
        columns=(
            make_column("assessment", number),
            make_column("item", keep, ColumnType.CODE),
            make_column("score", keep, ColumnType.INTEGER),
        ),
    )
    return Contract(version="1.0", tables=(person, assessment, item))


CANARIES = (
    *("LOCAL-77001", "LOCAL-77002", "LOCAL-77003", "LOCAL-77004", "9434765919", "Zebedee", "Quagmire", "Ottoline"),
    *("Featherstone", "LU12 9XQ", "07700900123", "zebedee@example.org", "HOUSE-88001", "A-55001", "A-55002"),
    *("wrote in confidence", "1980-03-02"),
)
"""Every value of the accepted tables below that must be found in no output."""


@pytest.fixture(scope="session")
def canaries() -> tuple[str, ...]:
    return CANARIES


@pytest.fixture
def accepted() -> dict[str, pl.DataFrame]:
    return {
        "person": pl.DataFrame(
            {
                "local_person_id": ["LOCAL-77001", "LOCAL-77002", "LOCAL-77003", "LOCAL-77004"],
                "nhs_number": ["9434765919", None, None, None],
                "forename": ["Zebedee", "Ottoline", "Ottoline", None],
                "surname": ["Quagmire", "Featherstone", "Featherstone", None],
                "date_of_birth": [date(1980, 3, 2), date(1975, 6, 7), date(1975, 6, 7), None],
                "postcode": ["LU12 9XQ", "ZZ99 3VZ", None, None],
                "phone": ["07700900123", None, None, None],
                "email": ["zebedee@example.org", None, None, None],
                "household_number": ["HOUSE-88001", None, None, None],
                "died_on": [None, date(2026, 5, 17), None, None],
                "do_not_link": ["no", None, "yes", None],
            },
            schema_overrides={"died_on": pl.Date},
        ),
        "assessment": pl.DataFrame(
            {
                "assessment_number": ["A-55001", "A-55002"],
                "local_person_id": ["LOCAL-77001", "LOCAL-77002"],
                "assessed_on": [date(2026, 4, 9), date(2026, 4, 10)],
                "minutes": [45, None],
                "total_score": ["23.5", None],
                "summary": ["wrote in confidence", None],
            },
        ).with_columns(pl.col("total_score").cast(pl.Decimal(18, 4))),
        "assessment_item": pl.DataFrame(
            {"assessment": ["A-55001", "A-55001"], "item": ["q1", "q2"], "score": [3, 4]},
        ),
    }
