"""Likely causes of cells that break a rule, told by their form alone, so that an officer knows what to do.

A cause is a name for how the text *looks* (``31/03/2026``, ``46023``): its mend text is fixed and shows no value
(kept by ``tests/unit/expectations/test_canaries.py``).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from expectations.forms import DATE_FORMAT
from expectations.result import CheckContext
from protocol.model import Column, ColumnType, IdentifierRole, Rule, RuleKind


@dataclass(frozen=True)
class Cause:
    """One likely cause: a test over the cell's text and the sentence that it leads to."""

    name: str
    mend: str
    test: Callable[[pl.Expr], pl.Expr]
    of_most: bool = False
    """Single cells look like it by chance: it is told only where most of the cells that break the rule show it."""


def _looks_like(pattern: str) -> Callable[[pl.Expr], pl.Expr]:
    return lambda text: text.str.contains(pattern)


DAY_MONTH_YEAR = r"^([0-9]{1,2})[/.\- ]([0-9]{1,2})[/.\- ]([0-9]{4})(?:[ T].*)?$"
EXCEL_DAYS = r"^[1-9][0-9]{4}(?:\.[0-9]+)?$"
MAC_DAYS = timedelta(days=1462)
"""Days between the two beginnings from which Excel counts: 1900, and 1904 on old Macs."""

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"


def _day_month(first: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[pl.Expr], pl.Expr]:
    """Test over the first and second number of a date such as 31/03/2026."""

    def test(text: pl.Expr) -> pl.Expr:
        one = text.str.extract(DAY_MONTH_YEAR, 1).cast(pl.Int64, strict=False)
        two = text.str.extract(DAY_MONTH_YEAR, 2).cast(pl.Int64, strict=False)
        return first(one, two).fill_null(False)

    return test


def _no_such_day(text: pl.Expr) -> pl.Expr:
    """31/02/2026 or 2026-02-31: numbers that could be a day and a month, and yet not a day of the calendar."""
    one = text.str.extract(DAY_MONTH_YEAR, 1).cast(pl.Int64, strict=False)
    two = text.str.extract(DAY_MONTH_YEAR, 2).cast(pl.Int64, strict=False)
    year = text.str.extract(DAY_MONTH_YEAR, 3).cast(pl.Int64, strict=False)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    longest = pl.when(two == 2).then(pl.when(leap).then(29).otherwise(28)).when(two.is_in([4, 6, 9, 11])).then(30)
    slashed = (one > 12) & two.is_between(1, 12) & ((one > longest.otherwise(31)) | (one > 31))
    return slashed.fill_null(False) | text.str.contains(r"^[0-9]{4}-(?:0[1-9]|1[0-2])-[0-9]{2}$")


_TRACES = (
    Cause(
        "invisible_characters",
        "These cells hold characters that cannot be seen, such as the non-breaking spaces of a web page. Type the "
        "cells anew, or replace such spaces everywhere and save again.",
        _looks_like("[\u00a0\u00ad\u2007\u200b-\u200f\u202f\u2060\ufeff]"),
    ),
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
        "marked_as_text",
        "These cells carry the sign that makes a spreadsheet take them for text: a leading apostrophe, or an equals "
        "sign and quotes. Save the values alone.",
        _looks_like(r"^'.|^=?\".*\"$"),
    ),
)
"""What a spreadsheet or a web page leaves behind, whatever the column is."""

_WORD_FOR_NOTHING = Cause(
    "word_for_nothing",
    "These cells hold a word or a dash that stands for nothing. Fill in what is known, or leave the cell empty.",
    _looks_like(r"(?i)^(?:n/?a|none|null|nil|nan|unknown|not known|not stated|not recorded|tbc|[-–—.?]+)$"),
)

_NOT_A_VALUE = (*_TRACES, _WORD_FOR_NOTHING)

_SHORTENED_NUMBER = Cause(
    "shortened_number",
    "The spreadsheet shortened a long number to powers of ten and digits were lost. Format the column as text, put the "
    "full numbers in again from your system, and save.",
    _looks_like(r"^[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+$"),
)

_DATE_IN_TEXT = Cause(
    "date_in_its_place",
    "These cells hold a date. Either the cells of the row have moved, or the spreadsheet took a number such as 3-4 for "
    "a date: format the column as text, put the numbers in again from your system, and save.",
    _looks_like(
        rf"(?i)^(?:[0-9]{{1,2}}[/-](?:{_MONTHS})(?:[/-][0-9]{{2,4}})?|(?:{_MONTHS})-[0-9]{{2}}"
        r"|[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T].*)?)$"
    ),
)

_TRAILING_ZERO = Cause(
    "trailing_zero",
    "The spreadsheet added .0 to whole numbers. Format the column as text or as a number without decimals, and save "
    "again.",
    _looks_like(r"^[0-9]+\.0+$"),
)

_CURRENCY = Cause(
    "currency_sign",
    "These cells hold a currency sign. Write the number only.",
    _looks_like(r"^[+-]?[£$€]|[£$€]$|(?i)gbp"),
)

_IN_BRACKETS = Cause(
    "number_in_brackets",
    "These cells stand in brackets, as accounts show what is below nought. Write a minus sign in front of the number.",
    _looks_like(r"^\([£$€]?[0-9][0-9,]*(?:\.[0-9]+)?\)$"),
)

_BESIDE_A_NUMBER = _looks_like(r"[0-9].*[^0-9.,+-]|[^0-9.,+-].*[0-9]")

_CAUSES: dict[ColumnType, tuple[Cause, ...]] = {
    ColumnType.DATE: (
        Cause(
            "excel_day_number",
            "These cells look like the day numbers that Excel keeps dates as. Format the column as a date in the form "
            "yyyy-mm-dd, then save as CSV again.",
            _looks_like(EXCEL_DAYS),
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
            "two_digit_year",
            "The year has two digits only. Write all four first, then the month, then the day, joined by hyphens, and "
            "look up the century and the order of day and month where they are not plain.",
            _looks_like(r"^[0-9]{1,2}[/.\- ][0-9]{1,2}[/.\- ][0-9]{2}(?:[ T].*)?$"),
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
            "The month is written as a word. Write the year with four digits, then the month and the day with two "
            "each, joined by hyphens. In Excel, give the column the custom format yyyy-mm-dd.",
            _looks_like(rf"(?i)(?:{_MONTHS})"),
        ),
        Cause(
            "year_or_month_only",
            "These cells hold a year or a month without the day. Look the day up.",
            _looks_like(r"^(?:[0-9]{4}|[0-9]{4}-[0-9]{1,2}|[0-9]{1,2}/[0-9]{4})$"),
        ),
    ),
    ColumnType.INTEGER: (
        *_NOT_A_VALUE,
        _SHORTENED_NUMBER,
        _IN_BRACKETS,
        _CURRENCY,
        Cause(
            "thousands_mark",
            "These cells hold a comma or a space between thousands. Write the digits only.",
            _looks_like(r"^[+-]?[0-9]{1,3}(?:[, ][0-9]{3})+$"),
        ),
        _TRAILING_ZERO,
        Cause(
            "decimals",
            "These cells hold decimals. Write a whole number, without a decimal point.",
            _looks_like(r"^[+-]?[0-9]*[.,][0-9]+$"),
        ),
        _DATE_IN_TEXT,
        Cause("unit", "These cells hold a word or a unit beside the number. Write the digits only.", _BESIDE_A_NUMBER),
    ),
    ColumnType.DECIMAL: (
        *_NOT_A_VALUE,
        _SHORTENED_NUMBER,
        _IN_BRACKETS,
        _CURRENCY,
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
        _DATE_IN_TEXT,
        Cause(
            "unit",
            "These cells hold a word or a unit beside the number. Write digits and a decimal point only.",
            _BESIDE_A_NUMBER,
        ),
    ),
}

_LOST_ZERO = {
    IdentifierRole.NHS_NUMBER: r"^[1-9][0-9]{8}$",
    IdentifierRole.PHONE: r"^[1-9][0-9]{8,9}$",
}
"""How an identifier looks that a spreadsheet took for a number."""


def causes_of(rule: Rule, column: Column, labels: tuple[str, ...], context: CheckContext) -> tuple[Cause, ...]:
    """Causes to look for in cells that break this rule, most telling first; none for most kinds.

    ``column``: the rule's; ``labels``: of the rule's code list, so that a label in a code's place is told as such.
    """
    match rule.kind:
        case RuleKind.TYPE:
            return _CAUSES.get(rule.type or ColumnType.TEXT, ())
        case RuleKind.CODE:
            return _of_code(rule.codes, labels)
        case RuleKind.PATTERN:
            return (*_TRACES, _SHORTENED_NUMBER, *_lost_zero(column), _TRAILING_ZERO, _DATE_IN_TEXT, _WORD_FOR_NOTHING)
        case RuleKind.NOT_AFTER_EXTRACT | RuleKind.WITHIN_PERIOD:
            return _of_date_limits(rule, column, context)
    return ()


def _lost_zero(column: Column) -> tuple[Cause, ...]:
    if column.identifier not in _LOST_ZERO:
        return ()
    return (
        Cause(
            "lost_zero",
            "A spreadsheet seems to have taken these for numbers and removed the zero in front. Format the column as "
            "text, put the numbers in again from your system, and save.",
            _looks_like(_LOST_ZERO[column.identifier]),
        ),
    )


def lost_phone_zero(column: Column) -> str | None:
    """The form of a phone number whose zero a spreadsheet removed, though it may still pass; None for other columns."""
    return _LOST_ZERO[IdentifierRole.PHONE] if column.identifier is IdentifierRole.PHONE else None


def fold(text: pl.Expr) -> pl.Expr:
    """A code as it is compared where only capitals, blanks and hyphens may differ."""
    return text.str.to_lowercase().str.replace_all(r"[\s-]+", "_")


def _of_code(codes: tuple[str, ...], labels: tuple[str, ...]) -> tuple[Cause, ...]:
    folded = [re.sub(r"[\s-]+", "_", code.lower()) for code in codes]
    named = [label.lower() for label in labels]
    bare = [code.lstrip("0") for code in codes if code.startswith("0") and code.isdigit()]
    causes = [
        Cause(
            "code_spelling",
            "Only capitals, hyphens or spaces differ from an agreed code.",
            lambda text: fold(text).is_in(folded),
        ),
        Cause(
            "label_for_code",
            "These cells hold the label of a code in place of the code itself.",
            lambda text: text.str.to_lowercase().is_in(named),
        ),
    ]
    if {"yes", "no"} <= set(codes):
        causes.append(
            Cause(
                "other_yes_no",
                "These cells say yes or no in another way, such as Y, TRUE or 1. Write yes or no.",
                _looks_like(r"(?i)^(?:y|n|t|f|true|false|1|0)$"),
            )
        )
    if bare:
        causes.append(
            Cause(
                "lost_zero",
                "A spreadsheet seems to have removed the zeros in front of these codes. Format the column as text, put "
                "the codes in again, and save.",
                lambda text: text.is_in(bare),
            )
        )
    causes.append(
        Cause(
            "trailing_zero",
            _TRAILING_ZERO.mend,
            lambda text: text.str.contains(r"\.0+$") & text.str.replace(r"\.0+$", "").is_in(codes),
        )
    )
    return (*causes, *_TRACES, _DATE_IN_TEXT)


def _of_date_limits(rule: Rule, column: Column, context: CheckContext) -> tuple[Cause, ...]:
    """Of dates that can be read and yet cannot be."""
    starts, ends = context.period.starts, context.period.ends

    def fits(value: pl.Expr) -> pl.Expr:
        within = value.is_between(starts, ends) if rule.kind is RuleKind.WITHIN_PERIOD else pl.lit(True)
        return (within & (value <= context.extracted_on)).fill_null(False)

    def read(text: pl.Expr) -> pl.Expr:
        return text.str.to_date(DATE_FORMAT, strict=False)

    causes = []
    if column.identifier is IdentifierRole.DATE_OF_BIRTH:
        causes.append(
            Cause(
                "wrong_century",
                "A spreadsheet seems to have guessed the century of a year with two digits. Write the year with all "
                "four, and check other dates of birth too.",
                lambda text: (
                    (read(text).dt.year() > context.extracted_on.year) & fits(read(text).dt.offset_by("-100y"))
                ),
            )
        )
    causes.append(
        Cause(
            "day_month_exchanged",
            "With day and month exchanged these dates would fit: a spreadsheet may have read them the wrong way round. "
            "Compare them, and the other dates of this column, with your own system.",
            lambda text: fits(read(text.str.replace(r"^(....)-(..)-(..)$", "${1}-${3}-${2}"))),
        )
    )
    if rule.kind is RuleKind.WITHIN_PERIOD:
        causes.append(
            Cause(
                "days_from_1904",
                "All would fit four years and a day away: a workbook that counts its days from 1904, as old Macs did, "
                "was pasted into one that counts from 1900, or the other way round. Copy the dates as text instead.",
                lambda text: fits(read(text) + MAC_DAYS) | fits(read(text) - MAC_DAYS),
                of_most=True,
            )
        )
    return tuple(causes)


def name_cause(text: pl.Series, causes: tuple[Cause, ...]) -> pl.Series:
    """The name of the first cause that fits each text; null where none does.

    Where a column holds dates that can only be day first, and none that can only be month first, those that could be
    either are day first too; and the other way round.
    """
    frame = text.rename("text").to_frame()
    fits = [pl.when(cause.test(pl.col("text"))).then(pl.lit(cause.name)) for cause in causes]
    # A column that is wrong from top to bottom holds few different texts: each is looked at once.
    each = frame.unique().with_columns(pl.coalesce([*fits, pl.lit(None, pl.String)]).alias("cause"))
    named = frame.join(each, on="text", how="left", maintain_order="left")["cause"]
    for cause in causes:
        if cause.of_most and (shown := named == cause.name).any() and 2 * int(shown.sum()) <= named.len():
            named = pl.select(pl.when(~shown.fill_null(False)).then(named))[:, 0]
    found = set(named.unique())
    if "day_or_month_first" in found and (way := found & {"day_first", "month_first"}) and len(way) == 1:
        named = named.replace("day_or_month_first", way.pop())
    return named
