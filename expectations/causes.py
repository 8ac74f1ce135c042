"""Likely causes of cells that cannot be read, told by their form alone, so that an officer knows what to do.

A cause is a name for how the text *looks* (``31/03/2026``, ``46023``): its mend text is fixed and shows no value.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from protocol.model import ColumnType, Rule, RuleKind


@dataclass(frozen=True)
class Cause:
    """One likely cause: a test over the cell's text and the sentence that it leads to."""

    name: str
    mend: str
    test: Callable[[pl.Expr], pl.Expr]


def _looks_like(pattern: str) -> Callable[[pl.Expr], pl.Expr]:
    return lambda text: text.str.contains(pattern)


_DAY_MONTH_YEAR = r"^([0-9]{1,2})[/.\- ]([0-9]{1,2})[/.\- ]([0-9]{4}|[0-9]{2})(?:[ T].*)?$"


def _day_month(first: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[pl.Expr], pl.Expr]:
    """Test over the first and second number of a date such as 31/03/2026."""

    def test(text: pl.Expr) -> pl.Expr:
        one = text.str.extract(_DAY_MONTH_YEAR, 1).cast(pl.Int64, strict=False)
        two = text.str.extract(_DAY_MONTH_YEAR, 2).cast(pl.Int64, strict=False)
        return first(one, two).fill_null(False)

    return test


def _no_such_day(text: pl.Expr) -> pl.Expr:
    """31/02/2026 or 2026-02-31: numbers that could be a day and a month, and yet not a day of the calendar."""
    one = text.str.extract(_DAY_MONTH_YEAR, 1).cast(pl.Int64, strict=False)
    two = text.str.extract(_DAY_MONTH_YEAR, 2).cast(pl.Int64, strict=False)
    year = text.str.extract(_DAY_MONTH_YEAR, 3).cast(pl.Int64, strict=False)
    # Two-digit years cannot tell a leap year; 29 February of any of them is given the benefit of the doubt.
    leap = ((year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))) | (year < 100)
    longest = pl.when(two == 2).then(pl.when(leap).then(29).otherwise(28)).when(two.is_in([4, 6, 9, 11])).then(30)
    slashed = (one > 12) & two.is_between(1, 12) & ((one > longest.otherwise(31)) | (one > 31))
    return slashed.fill_null(False) | text.str.contains(r"^[0-9]{4}-(?:0[1-9]|1[0-2])-[0-9]{2}$")


_NOT_A_VALUE = (
    Cause(
        "spreadsheet_error",
        "These cells hold an error message of the spreadsheet, such as that of a broken formula. Mend the formula, or "
        "leave the cell empty if nothing is known.",
        _looks_like(r"(?i)^#(?:n/a|ref!|value!|name\?|div/0!|num!|null!|spill!|calc!)$"),
    ),
    Cause(
        "column_too_narrow",
        "The spreadsheet saved a row of # signs because the column was too narrow to show the value. Widen the column "
        "and save again.",
        _looks_like(r"^#+$"),
    ),
    Cause(
        "word_for_nothing",
        "These cells hold a word or a dash that stands for nothing. Fill in what is known, or leave the cell empty.",
        _looks_like(r"(?i)^(?:n/?a|none|null|nil|nan|unknown|not known|not stated|not recorded|tbc|[-–—.?]+)$"),
    ),
)

_SHORTENED_NUMBER = Cause(
    "shortened_number",
    "The spreadsheet shortened a long number to powers of ten and digits were lost. Format the column as text, put the "
    "full numbers in again from your system, and save.",
    _looks_like(r"^[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+$"),
)

_BESIDE_A_NUMBER = _looks_like(r"[0-9].*[^0-9.,+-]|[^0-9.,+-].*[0-9]")

_CAUSES: dict[ColumnType, tuple[Cause, ...]] = {
    ColumnType.DATE: (
        Cause(
            "excel_day_number",
            "These cells look like the day numbers that Excel keeps dates as. Format the column as a date in the form "
            "yyyy-mm-dd, then save as CSV again.",
            _looks_like(r"^[1-9][0-9]{4}(?:\.[0-9]+)?$"),
        ),
        *_NOT_A_VALUE,
        Cause("no_such_day", "The calendar has no such day, for example 31 February. Look the date up.", _no_such_day),
        Cause(
            "day_or_month_first",
            "The day and the month could be either way round. Write the year first, then the month, then the day, "
            "joined by hyphens, and check that no day and month were exchanged before.",
            _day_month(lambda one, two: one.is_between(1, 12) & two.is_between(1, 12)),
        ),
        Cause(
            "day_first",
            "The dates are written day first. Write the year first, then the month, then the day, joined by hyphens.",
            _day_month(lambda one, two: one.is_between(13, 31) & two.is_between(1, 12)),
        ),
        Cause(
            "month_first",
            "The dates seem to be written month first, as in American settings. Write the year first, then the month, "
            "then the day, joined by hyphens.",
            _day_month(lambda one, two: one.is_between(1, 12) & two.is_between(13, 31)),
        ),
        Cause(
            "year_day_month",
            "The month is greater than 12: the day and the month seem to be exchanged. Write the year first, then the "
            "month, then the day.",
            _looks_like(r"^[0-9]{4}-(?:1[3-9]|2[0-9]|3[01])-(?:0[1-9]|1[0-2])$"),
        ),
        Cause(
            "time_of_day",
            "These cells carry a time of day after the date. Keep the date only.",
            _looks_like(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T]"),
        ),
        Cause("no_hyphens", "The hyphens between year, month and day are missing.", _looks_like(r"^[0-9]{8}$")),
        Cause(
            "not_padded",
            "Join year, month and day by hyphens, and write month and day with two digits each.",
            _looks_like(r"^[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}$"),
        ),
        Cause(
            "month_in_words",
            "The month is written as a word. Write it as two digits.",
            _looks_like(r"(?i)(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"),
        ),
    ),
    ColumnType.INTEGER: (
        *_NOT_A_VALUE,
        _SHORTENED_NUMBER,
        Cause(
            "thousands_mark",
            "These cells hold a comma or a space between thousands. Write the digits only.",
            _looks_like(r"^[+-]?[0-9]{1,3}(?:[, ][0-9]{3})+$"),
        ),
        Cause(
            "decimals",
            "These cells hold decimals. Write a whole number, without a decimal point.",
            _looks_like(r"^[+-]?[0-9]*[.,][0-9]+$"),
        ),
        Cause("unit", "These cells hold a word or a unit beside the number. Write the digits only.", _BESIDE_A_NUMBER),
    ),
    ColumnType.DECIMAL: (
        *_NOT_A_VALUE,
        _SHORTENED_NUMBER,
        Cause(
            "thousands_mark",
            "These cells hold a comma or a space between thousands. Write digits and a decimal point only.",
            _looks_like(r"^[+-]?[0-9]{1,3}(?:[, ][0-9]{3})+(?:\.[0-9]+)?$"),
        ),
        Cause("decimal_comma", "Use a point, not a comma, before the decimals.", _looks_like(r"^[+-]?[0-9]+,[0-9]+$")),
        Cause(
            "too_many_decimals",
            "Give at most four decimals.",
            _looks_like(r"^[+-]?[0-9]*\.[0-9]{5,}$"),
        ),
        Cause(
            "unit",
            "These cells hold a currency sign, a word or a unit beside the number. Write digits and a decimal point "
            "only.",
            _BESIDE_A_NUMBER,
        ),
    ),
}


def causes_of(rule: Rule, labels: tuple[str, ...] = ()) -> tuple[Cause, ...]:
    """Causes to look for in cells that break this rule, most telling first; none for most kinds.

    ``labels`` are the labels of the rule's code list, so that a label in a code's place is told as such.
    """
    if rule.kind is RuleKind.TYPE and rule.type is not None:
        return _CAUSES.get(rule.type, ())
    if rule.kind is RuleKind.PATTERN:
        return (_SHORTENED_NUMBER,)
    if rule.kind is RuleKind.CODE:
        folded = [re.sub(r"[\s-]+", "_", code.lower()) for code in rule.codes]
        named = [label.lower() for label in labels]
        return (
            Cause(
                "code_spelling",
                "Only capitals, hyphens or spaces differ from an agreed code.",
                lambda text: text.str.to_lowercase().str.replace_all(r"[\s-]+", "_").is_in(folded),
            ),
            Cause(
                "label_for_code",
                "These cells hold the label of a code in place of the code itself.",
                lambda text: text.str.to_lowercase().is_in(named),
            ),
        )
    return ()


def name_cause(text: pl.Series, causes: tuple[Cause, ...]) -> pl.Series:
    """The name of the first cause that fits each text; null where none does."""
    frame = text.rename("text").to_frame()
    fits = [pl.when(cause.test(pl.col("text"))).then(pl.lit(cause.name)) for cause in causes]
    return frame.select(pl.coalesce([*fits, pl.lit(None, pl.String)]).alias("cause"))["cause"]
