"""Who sees which form of a column."""

import csv
import io

import pytest

from protocol.generated.matrix import CUSTODIAN, INTAKE, OTHERS, POOL, SENDER, Form, matrix, matrix_csv
from protocol.model import Agreement, Classification, Treatment


def seen(agreement: Agreement, table: str, column: str) -> dict[str, Form]:
    (line,) = (one for one in matrix(agreement) if (one.table.name, one.column.name) == (table, column))
    return {sight.viewer.id: sight.form for sight in line.sights}


def test_there_is_a_line_for_each_column(any_agreement: Agreement) -> None:
    lines = [(line.table.name, line.column.name) for line in matrix(any_agreement)]
    assert lines == [(t.name, c.name) for t in any_agreement.contract.tables for c in t.columns]


def test_nobody_but_sender_and_intake_sees_an_identifier_or_free_text_as_it_is(any_agreement: Agreement) -> None:
    hidden = (Classification.DIRECT_IDENTIFIER, Classification.FREE_TEXT)
    found = 0
    for line in matrix(any_agreement):
        if line.column.classification in hidden:
            forms = {sight.viewer.id for sight in line.sights if sight.form is Form.AS_IS}
            assert forms == {SENDER, INTAKE}, line.column.name
            found += 1
    assert found


def test_no_other_partner_sees_anything(any_agreement: Agreement) -> None:
    forms = {sight.form for line in matrix(any_agreement) for sight in line.sights if sight.viewer.id == OTHERS}
    assert forms == {Form.NOTHING}


@pytest.mark.parametrize(
    ("column", "forms"),
    [
        ("local_person_id", (Form.PSEUDONYM, Form.PSEUDONYM, Form.PSEUDONYM)),
        ("nhs_number", (Form.TOKEN, Form.TOKEN, Form.NOTHING)),
        ("date_of_birth", (Form.COARSER, Form.TOKEN, Form.COARSER)),
        ("ethnic_group", (Form.AS_IS, Form.NOTHING, Form.AS_IS)),
        ("do_not_link", (Form.AS_IS, Form.NOTHING, Form.NOTHING)),
    ],
)
def test_each_viewer_sees_the_form_that_its_place_in_the_pipeline_gives(
    agreement: Agreement, column: str, forms: tuple[Form, Form, Form]
) -> None:
    found = seen(agreement, "person", column)
    assert (found[POOL], found[CUSTODIAN], found["grant evaluation_team"]) == forms
    assert found["grant partnership_board"] is Form.NOTHING


def test_a_grant_on_one_view_sees_that_table_alone(agreement: Agreement) -> None:
    grants = tuple(grant.model_copy(update={"views": ("pool.assessment",)}) for grant in agreement.grants)
    narrow = agreement.model_copy(update={"grants": grants})
    assert seen(narrow, "person", "sex")["grant evaluation_team"] is Form.NOTHING
    assert seen(narrow, "assessment", "tool")["grant evaluation_team"] is Form.AS_IS


@pytest.mark.parametrize(
    ("purposes", "seen_in_person", "seen_in_assessment"),
    [
        ({"equality_monitoring"}, {"local_person_id", "date_of_birth", "sex", "ethnic_group"}, set()),
        ({"value_for_money"}, set(), {"local_person_id", "minutes"}),
        (
            {"joint_evidence"},
            {"local_person_id", "postcode", "household_number", "died_on"},
            {"local_person_id", "assessment_number", "domain", "tool", "assessed_on", "valid_to", "total_score"},
        ),
    ],
)
def test_a_team_sees_what_is_shared_for_one_of_its_purposes_and_nothing_else(
    agreement: Agreement, purposes: set[str], seen_in_person: set[str], seen_in_assessment: set[str]
) -> None:
    grants = tuple(grant.model_copy(update={"purposes": tuple(purposes)}) for grant in agreement.grants)
    narrow = agreement.model_copy(update={"grants": grants})
    for table, expected in (("person", seen_in_person), ("assessment", seen_in_assessment)):
        columns = agreement.contract.table(table).column_names
        forms = {column: seen(narrow, table, column)["grant evaluation_team"] for column in columns}
        assert {column for column, form in forms.items() if form is not Form.NOTHING} == expected


def test_the_csv_has_a_row_for_each_column_purpose_and_viewer(any_agreement: Agreement) -> None:
    rows = list(csv.DictReader(io.StringIO(matrix_csv(any_agreement).decode("utf-8-sig"))))
    people = 5 + len(any_agreement.grants)
    columns = [column for table in any_agreement.contract.tables for column in table.columns]
    assert len(rows) == sum(max(1, len(column.purposes)) for column in columns) * people
    assert all(row["why is this column here"] for row in rows)
    dropped = {column.name for column in columns if column.treatment is Treatment.DROP}
    assert {row["sees"] for row in rows if row["column"] in dropped and row["viewer"].startswith("Pipeline, in")} <= {
        "nothing"
    }
