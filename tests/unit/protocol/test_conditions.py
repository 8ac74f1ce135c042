"""Conditions, totals and dates across tables: what the agreement may declare, and what is refused with which words."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from protocol.conditions import MAX_LENGTH, read_condition
from protocol.errors import AgreementError
from protocol.model import Agreement, Column, RuleKind

Edit = Callable[[str, str, str], None]
CONTRACT = "v1/casework.odcs.yaml"


@pytest.fixture(scope="module")
def columns(example: Agreement) -> tuple[Column, ...]:
    return example.contract.table("referral").columns


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("status <> 'declined' or declined_reason is not null", ("status", "declined_reason")),
        ("declined_reason is null or STATUS is not null or status = 'declined'", None),
        ("sent_on >= date '2020-01-01'", ("sent_on",)),
        ("accepted_on between sent_on and first_contact_on", ("sent_on", "accepted_on", "first_contact_on")),
        ("(accepted_on is null) = (first_contact_on is null)", ("accepted_on", "first_contact_on")),
        ("status in ('sent', 'accepted') and not length(referral_number) > 20", ("referral_number", "status")),
        ("case when status = 'sent' then accepted_on is null else true end", ("accepted_on", "status")),
        ("coalesce(lower(declined_reason), 'it''s') <> 'x'", ("declined_reason",)),
    ],
)
def test_condition_names_its_columns_in_the_agreed_order(
    columns: tuple[Column, ...], expression: str, names: tuple[str, ...] | None
) -> None:
    if names is None:
        with pytest.raises(AgreementError, match="names STATUS, which is neither"):
            read_condition(expression, columns)
    else:
        assert read_condition(expression, columns) == names


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "names no column"),
        ("true", "names no column"),
        ("status", "not something that is true or false"),
        ("colour = 'red'", "names colour, which is neither a column of the table"),
        ("status = 'sent'; drop table person", "cannot be read from character 16"),
        ("status = 'sent' -- or", "cannot be read from character 17"),
        ("status = 'sent' /* or */", "cannot be read"),
        ('"status" = 1', "cannot be read from character 1"),
        ("exists (select 1)", "names exists, which is neither"),
        ("sent_on > (select max(sent_on) from referral)", "names select"),
        ("read_text('/etc/passwd') = status", "names read_text"),
        ("status(sent_on)", "names status, which is neither"),
        ("status like 'a%'", "names like"),
        ("sent_on > '2026-01-01'", "cannot be worked out"),
        ("status = 1", "cannot be worked out"),
        ("(status = 'sent'", "cannot be worked out"),
        ("status = 'sent' and " * 40 + "true", f"longer than {MAX_LENGTH}"),
    ],
)
def test_condition_that_is_more_than_a_comparison_of_columns_is_refused(
    columns: tuple[Column, ...], expression: str, words: str
) -> None:
    with pytest.raises(AgreementError, match=words.replace("(", r"\(")):
        read_condition(expression, columns)


CELLS = pl.DataFrame(
    {
        "status": ["sent", "declined", None, "accepted", "o'clock"],
        "referral_number": ["R-1", None, "R-333", "", "É"],
        "sent_on": ["2026-01-01", "2026-02-28", None, "2026-03-01", "2024-02-29"],
        "accepted_on": [None, "2026-02-28", "2026-01-01", "2026-02-28", "2024-03-01"],
    }
).with_columns(pl.col("sent_on", "accepted_on").str.to_date())


@pytest.mark.parametrize(
    "expression",
    [
        "status <> 'declined' or accepted_on is not null",
        "not (status = 'sent') and sent_on <= accepted_on",
        "status in ('sent', 'o''clock') or status is null",
        "status not in ('sent', 'declined')",
        "sent_on between date '2026-01-01' and date '2026-02-28'",
        "length(referral_number) > 2",
        "lower(referral_number) = 'é' or upper(status) = 'SENT'",
        "coalesce(status, 'sent') = 'sent'",
        "case when status = 'sent' then accepted_on is null when status is null then false else true end",
        "(sent_on is null) = (accepted_on is null)",
        "sent_on = accepted_on or null",
        "status < 'e' and status >= 'a'",
    ],
)
def test_both_engines_read_a_condition_alike_empty_cells_included(columns: tuple[Column, ...], expression: str) -> None:
    """The row check has it read by Polars, the gate by DuckDB."""
    import duckdb

    read_condition(expression, columns)
    by_polars = CELLS.select(pl.sql_expr(expression).alias("holds"))["holds"].to_list()
    with duckdb.connect(":memory:") as connection:
        connection.register("cells", CELLS.to_arrow())
        by_duckdb = [holds for (holds,) in connection.execute(f"select ({expression}) from cells").fetchall()]
    assert by_polars == by_duckdb


def test_example_declares_each_of_the_rules_over_more_than_a_cell(example: Agreement) -> None:
    rules = {rule.code: rule for table in example.contract.tables for rule in table.rules}
    total = rules["assessment.total_score.total"]
    assert (total.to_table, total.to_columns) == ("assessment_item", ("score",))
    assert (total.join, total.to_join) == (("assessment_number",), ("assessment_number",))
    dates = rules["assessment.assessed_on.date_order_across"]
    assert (dates.to_table, dates.to_columns, dates.join) == ("person", ("date_of_birth",), ("local_person_id",))
    condition = rules["referral.reason_of_declined.condition"]
    assert (condition.kind, condition.columns) == (RuleKind.CONDITION, ("status", "declined_reason"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("of: assessment_item.score", "of: assessment_item.points", "looks at assessment_item.points, which is not"),
        ("of: assessment_item.score", "of: nowhere.score", "looks at nowhere.score, which is not there"),
        ("of: assessment_item.score", "of: assessment_item.item", "needs two columns of type integer or decimal"),
        ("of: assessment_item.score", "of: cost.amount_gbp", "cost has no reference to assessment"),
        ("of: assessment_item.score", "of: score", "should name a column of another table, as table.column"),
        ("kind: total, of:", "kind: total, sum:", "does not belong to a check of the kind total"),
        ("not_before: person.date_of_birth", "not_before: person.surname", "needs two columns of type date"),
        ("not_before: person.date_of_birth", "not_before: cost.incurred_on", "assessment has no reference to cost"),
        ("status = 'declined' or", "state = 'declined' or", "names state, which is neither a column"),
        ("status = 'declined' or", "status = or", "cannot be worked out"),
        ("description: 'declined_reason is filled, and the status is not declined.'", "name: x", "needs a description"),
        ("name: reason_of_declined", "name: Reason", "small letters, digits and underscores"),
    ],
)
def test_faulty_declaration_is_named(edit: Edit, refusal: Callable[[], str], old: str, new: str, words: str) -> None:
    edit(CONTRACT, old, new)
    assert words in refusal()


def test_two_conditions_over_the_same_columns_need_names(edit: Edit, refusal: Callable[[], str], folder: Any) -> None:
    path = folder / CONTRACT
    text = path.read_text(encoding="utf-8")
    start = text.index("      - type: custom\n        engine: linkarms\n        description: 'declined_reason")
    end = text.index("    properties:", start)
    path.write_text(text[:end] + text[start:end] + text[end:], encoding="utf-8")
    assert "two rules have the code referral.reason_of_declined.condition" in refusal()
