"""Likely causes, told by the form of a cell alone."""

from datetime import date

import polars as pl
import pytest

from expectations import CheckContext
from expectations.causes import causes_of, name_cause
from protocol.model import Column, ColumnType, IdentifierRole, Period, Rule, RuleKind

QUARTER = CheckContext(Period(id="2026-Q2", starts=date(2026, 4, 1), ends=date(2026, 6, 30)), date(2026, 7, 6))


def _column(type_: ColumnType, identifier: IdentifierRole | None = None) -> Column:
    return Column.model_validate(
        {
            "name": "cell",
            "label": "Cell",
            "description": "A cell.",
            "type": type_,
            "treatment": "drop",
            "classification": "operational",
            "purposes": (),
            "why": "A test.",
            "identifier": identifier,
            "example": "x",
        }
    )


def _causes(
    cells: list[str],
    kind: RuleKind,
    type_: ColumnType,
    codes: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    identifier: IdentifierRole | None = None,
) -> list[str | None]:
    rule = Rule(
        code="table.cell.rule",
        kind=kind,
        table="table",
        columns=("cell",),
        type=type_,
        codes=codes,
        sentence="s",
        mend="m",
    )
    causes = causes_of(rule, _column(type_, identifier), labels, QUARTER)
    return name_cause(pl.Series(cells, dtype=pl.String), causes).to_list()


@pytest.mark.parametrize(
    ("type_", "cell", "cause"),
    [
        (ColumnType.DATE, "2026-03-31\u00a0", "invisible_characters"),
        (ColumnType.DATE, "\u200b2026-03-31", "invisible_characters"),
        (ColumnType.DATE, "'2026-03-31", "marked_as_text"),
        (ColumnType.DATE, '="2026-03-31"', "marked_as_text"),
        (ColumnType.DATE, "#SPILL!", "spreadsheet_error"),
        (ColumnType.DATE, "31/03/26", "two_digit_year"),
        (ColumnType.DATE, "2026", "year_or_month_only"),
        (ColumnType.DATE, "03/2026", "year_or_month_only"),
        (ColumnType.INTEGER, "12.0", "trailing_zero"),
        (ColumnType.INTEGER, "12.5", "decimals"),
        (ColumnType.INTEGER, "£12", "currency_sign"),
        (ColumnType.INTEGER, "12-Mar", "date_in_its_place"),
        (ColumnType.DECIMAL, "12.50 GBP", "currency_sign"),
        (ColumnType.DECIMAL, "12.5 hours", "unit"),
        (ColumnType.DECIMAL, "2026-03-31", "date_in_its_place"),
        (ColumnType.DECIMAL, "many", None),
    ],
)
def test_cause_of_a_cell_that_cannot_be_read(type_: ColumnType, cell: str, cause: str | None) -> None:
    assert _causes([cell], RuleKind.TYPE, type_) == [cause]


@pytest.mark.parametrize(
    ("codes", "cell", "cause"),
    [
        (("yes", "no"), "Yes", "code_spelling"),
        (("yes", "no"), "Y", "other_yes_no"),
        (("yes", "no"), "TRUE", "other_yes_no"),
        (("yes", "no"), "0", "other_yes_no"),
        (("one", "two"), "1", None),
        (("001", "014"), "14", "lost_zero"),
        (("001", "014"), "4", None),
        (("1", "14"), "14.0", "trailing_zero"),
        (("one", "two"), "The second", "label_for_code"),
        (("one", "two"), "2-Jan", "date_in_its_place"),
        (("one", "two"), "two\u00a0", "invisible_characters"),
    ],
)
def test_cause_of_a_cell_that_is_no_agreed_code(codes: tuple[str, ...], cell: str, cause: str | None) -> None:
    assert _causes([cell], RuleKind.CODE, ColumnType.CODE, codes, ("The first", "The second")) == [cause]


@pytest.mark.parametrize(
    ("identifier", "cell", "cause"),
    [
        (IdentifierRole.NHS_NUMBER, "485777345", "lost_zero"),
        (IdentifierRole.NHS_NUMBER, "48577734", None),
        (IdentifierRole.PHONE, "770090012", "lost_zero"),
        (IdentifierRole.POSTCODE, "485777345", None),
        (IdentifierRole.NHS_NUMBER, "4.86E+09", "shortened_number"),
        (None, "3/4/2026", "date_in_its_place"),
        (None, "4711.0", "trailing_zero"),
        (None, "n/a", "word_for_nothing"),
    ],
)
def test_cause_of_a_text_that_has_not_the_agreed_form(
    identifier: IdentifierRole | None, cell: str, cause: str | None
) -> None:
    assert _causes([cell], RuleKind.PATTERN, ColumnType.TEXT, identifier=identifier) == [cause]


def test_date_that_fits_with_day_and_month_exchanged_is_told_so() -> None:
    assert _causes(["2026-03-04", "2026-03-13", "2026-12-05"], RuleKind.WITHIN_PERIOD, ColumnType.DATE) == [
        "day_month_exchanged",
        None,
        "day_month_exchanged",
    ]
    assert _causes(["2026-12-05", "2026-12-25"], RuleKind.NOT_AFTER_EXTRACT, ColumnType.DATE) == [
        "day_month_exchanged",
        None,
    ]


def test_days_counted_from_1904_are_told_where_most_dates_show_it() -> None:
    early = ["2022-05-14", "2022-05-20", "2022-06-13"]
    assert _causes(early, RuleKind.WITHIN_PERIOD, ColumnType.DATE) == ["days_from_1904"] * 3
    mixed = [*early[:1], "2019-01-31", "2020-01-31"]
    assert _causes(mixed, RuleKind.WITHIN_PERIOD, ColumnType.DATE) == [None] * 3


def test_birth_in_a_century_to_come_is_a_guess_of_the_spreadsheet() -> None:
    birth = IdentifierRole.DATE_OF_BIRTH
    found = _causes(["2061-05-14", "2026-12-25"], RuleKind.NOT_AFTER_EXTRACT, ColumnType.DATE, identifier=birth)
    assert found == ["wrong_century", None]
    assert _causes(["2061-05-14"], RuleKind.NOT_AFTER_EXTRACT, ColumnType.DATE) == [None]


def test_causes_are_named_alike_however_often_a_text_stands() -> None:
    cells = ["31/03/2026", "03/04/2026", "n/a"]
    once = _causes(cells, RuleKind.TYPE, ColumnType.DATE)
    assert once == ["day_first", "day_first", "word_for_nothing"]
    assert _causes(cells * 1000, RuleKind.TYPE, ColumnType.DATE) == once * 1000
