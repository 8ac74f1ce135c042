from collections.abc import Callable

from protocol.model import Agreement, Classification, ColumnType, Treatment
from protocol.pool import RESERVED, pool_columns

Edit = Callable[[str, str, str], None]


def test_person_reaches_the_pool_without_an_identifier(example: Agreement) -> None:
    columns = {column.name: (column.type, column.kind) for column in pool_columns(example.contract.table("person"))}
    assert columns == {
        "birth_year_band": (ColumnType.TEXT, Treatment.GENERALISE),
        "sex": (ColumnType.CODE, Treatment.KEEP),
        "ethnic_group": (ColumnType.CODE, Treatment.KEEP),
        "postcode_district": (ColumnType.TEXT, Treatment.GENERALISE),
        "household_number": (ColumnType.TEXT, Treatment.PSEUDONYMISE),
        "died_on_month": (ColumnType.DATE, Treatment.GENERALISE),
        "do_not_link": (ColumnType.CODE, Treatment.KEEP),
        "recorded_on_month": (ColumnType.DATE, Treatment.GENERALISE),
    }


def test_nothing_dropped_or_tokenised_is_on_the_allow_list(example: Agreement) -> None:
    for table in example.contract.tables:
        for column in pool_columns(table):
            source = table.column(column.source)
            assert source.treatment in (Treatment.KEEP, Treatment.GENERALISE, Treatment.PSEUDONYMISE)
            assert source.classification is not Classification.FREE_TEXT
            assert column.source != table.person_column
            assert column.name not in RESERVED


def test_number_of_the_partner_keeps_its_name_and_becomes_text(example: Agreement) -> None:
    first = pool_columns(example.contract.table("assessment"))[0]
    assert (first.name, first.source, first.type) == ("assessment_number", "assessment_number", ColumnType.TEXT)
    assert first.kind is Treatment.PSEUDONYMISE


def test_table_about_no_person_has_its_columns(example: Agreement) -> None:
    names = [column.name for column in pool_columns(example.contract.table("cost"))]
    assert names == ["cost_number", "programme", "cost_type", "incurred_on", "amount_gbp"]


def test_column_that_would_take_a_name_of_the_pool_is_refused(edit: Edit, refusal: Callable[[], str]) -> None:
    edit("v1/casework.odcs.yaml", "- name: channel", "- name: person_id")
    assert "service_contact.person_id: is a name that the pool uses for itself" in refusal()
