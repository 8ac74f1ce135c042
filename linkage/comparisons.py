"""What is compared of two records, in words and in the SQL that Splink runs over their tokens.

Each comparison has levels, from full agreement downwards; a pair is at the first level whose condition holds. The
conditions know columns of tokens (``pseudonymise.encoding`` makes them) and nothing of what is behind them. A name can
be compared only where a salt agrees: where nothing shows that one does, the comparison says nothing of the pair.

The same conditions run on DuckDB and on Spark, but for the name of one function.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from splink import SettingsCreator

MEET = "lists_meet"
"""Stands in the conditions for the function that tells whether two lists have an element in common."""
MEET_IN = {"duckdb": "list_has_any", "spark": "arrays_overlap"}
"""What each engine calls it. All else that the conditions use has one name in both."""

RECORD = "record"
"""Column that numbers the records."""
FILE = "partner_id"

UNKNOWN = 0
"""Code of a pair of which a comparison says nothing. The lowest level has code 1, full agreement the highest."""


@dataclass(frozen=True)
class Level:
    """One level of a comparison."""

    condition: str
    """SQL over columns that end in ``_l`` and ``_r``, one for each record; empty for what is left over."""
    words: str
    """For a person: after "agreed on: " or, of the last level, after "differs on: "."""
    agrees: bool = True


@dataclass(frozen=True)
class Comparison:
    """One comparison: its levels, and the condition under which it says nothing (asked after all but the last)."""

    name: str
    levels: tuple[Level, ...]
    unknown: str

    def level(self, code: int) -> Level | None:
        """The level of a code; None where the comparison says nothing."""
        return None if code == UNKNOWN else self.levels[len(self.levels) - code]


def _meet(left: str, right: str | None = None) -> str:
    return f"{MEET}({left}_l, {right or left}_r)"


def _missing(column: str) -> str:
    return f"({column}_l is null or {column}_r is null)"


def _alike(name: str, salt: str, least: float) -> str:
    """The Dice coefficient of two filters of 128 bits: twice the bits that both set, over the bits that each sets."""
    low, high = f"{name}_filter_{salt}_low", f"{name}_filter_{salt}_high"
    both = f"(bit_count({low}_l & {low}_r) + bit_count({high}_l & {high}_r))"
    each = "(" + " + ".join(f"bit_count({half}_{side})" for side in "lr" for half in (low, high)) + ")"
    return f"coalesce(2 * {both} >= {least} * {each}, false)"


def _name(name: str, other: str) -> Comparison:
    comparable = f"({_meet('date_of_birth')} or {_meet('postcode')})"
    return Comparison(
        name,
        (
            Level(f"coalesce({_meet(name)}, false) or coalesce({_meet(f'{name}_part_date')}, false)", name),
            Level(f"{_meet(name, other)} and {_meet(other, name)}", f"{name} and {other} in each other's place"),
            Level(_meet(f"{name}_near"), f"{name} within one letter"),
            *(
                Level(
                    f"coalesce({comparable}, false) and ({_alike(name, 'date', least)} or"
                    f" {_alike(name, 'postcode', least)})",
                    words,
                )
                for least, words in ((0.7, f"{name} much alike"), (0.5, f"{name} somewhat alike"))
            ),
            Level("", name, agrees=False),
        ),
        unknown=f"{_missing(f'{name}_near')} or not coalesce({comparable}, false)",
    )


def _number(name: str, words: str, *, near: bool = False) -> Comparison:
    return Comparison(
        name,
        (
            Level(_meet(name), words),
            *((Level(_meet(f"{name}_near"), f"{words} but for one character"),) if near else ()),
            Level("", words, agrees=False),
        ),
        unknown=_missing(name),
    )


COMPARISONS: tuple[Comparison, ...] = (
    _name("forename", "surname"),
    _name("surname", "forename"),
    Comparison(
        "date_of_birth",
        (
            Level(_meet("date_of_birth"), "date of birth"),
            Level(_meet("date_of_birth_swapped"), "date of birth with day and month exchanged"),
            Level(_meet("date_of_birth_near"), "date of birth but for one digit"),
            Level(
                f"coalesce({_meet('forename_part_date')}, false) or coalesce({_meet('surname_part_date')}, false)",
                "year, or day and month, of birth",
            ),
            Level("", "date of birth", agrees=False),
        ),
        unknown=_missing("date_of_birth"),
    ),
    Comparison(
        "postcode",
        (
            Level(_meet("postcode"), "postcode"),
            Level(_meet("postcode_near"), "postcode but for one character"),
            Level(_meet("postcode_sector"), "postcode sector"),
            Level("", "postcode", agrees=False),
        ),
        unknown=_missing("postcode"),
    ),
    _number("phone", "telephone"),
    _number("email", "e-mail"),
    _number("nhs_number", "NHS number"),
    _number("ni_number", "NI number", near=True),
    _number("shared_person_number", "shared number"),
    Comparison(
        "one_file",
        (
            Level(f"{FILE}_l = {FILE}_r", "both in one partner's file"),
            Level("", "two partners' files", agrees=False),
        ),
        unknown="false",
    ),
)
"""Every comparison. ``one_file`` is no likeness of two people; it lets the model learn that a partner seldom has a
person twice, and is told to nobody as a reason."""

TOLD = tuple(comparison for comparison in COMPARISONS if comparison.name != "one_file")
"""The comparisons that an explanation speaks of."""


NUMBERS = ("phone", "email", "nhs_number", "ni_number", "ni_number_near", "shared_person_number")
"""Tokens of what one person or household has alone."""


def token_schema() -> dict[str, pl.DataType]:
    """Columns that the conditions read: lists of tokens and halves of filters, null where nothing is known."""
    names = [f"{name}{suffix}" for name in ("forename", "surname") for suffix in ("", "_part_date", "_near")]
    dates = ["date_of_birth", "date_of_birth_swapped", "date_of_birth_near"]
    places = ["postcode", "postcode_near", "postcode_sector"]
    halves = [
        f"{name}_filter_{salt}_{half}"
        for name in ("forename", "surname")
        for salt in ("date", "postcode")
        for half in ("low", "high")
    ]
    lists = dict.fromkeys((*names, *dates, *places, *NUMBERS), pl.List(pl.Int64()))
    return {**lists, **dict.fromkeys(halves, pl.Int64())}


WEIGHT = "mw_"
"""What Splink's answer calls the weight of a comparison."""


@cache
def splink_settings(engine: str) -> "SettingsCreator":
    """The comparisons as Splink's settings for ``duckdb`` or ``spark``.

    Splink is asked at which level each pair stands and not what that is worth: the levels' weights are set to their
    codes (powers of two, so that they are exact), and the weight of a comparison in the answer is its code. What a
    level is worth is learned afterwards (:mod:`linkage.classes`), on either engine from the same codes. Pairs are
    registered: Splink does not block.
    """
    from splink import SettingsCreator
    from splink.comparison_level_library import CustomLevel, ElseLevel
    from splink.comparison_library import CustomComparison
    from splink.internals.comparison_creator import ComparisonCreator

    def custom(condition: str, words: str) -> CustomLevel:
        return CustomLevel(condition.replace(MEET, MEET_IN[engine]), label_for_charts=words)

    made: list[ComparisonCreator | dict[str, Any]] = []
    for comparison in COMPARISONS:
        levels = [custom(level.condition, level.words) for level in comparison.levels[:-1]]
        weighed = [
            level.configure(m_probability=2.0 ** (code - _MOST_LEVELS), u_probability=2.0**-_MOST_LEVELS)
            for level, code in zip([*levels, ElseLevel()], range(len(comparison.levels), 0, -1), strict=True)
        ]
        unknown = custom(comparison.unknown, "not known").configure(is_null_level=True)
        made.append(
            CustomComparison(
                output_column_name=comparison.name, comparison_levels=[*weighed[:-1], unknown, weighed[-1]]
            )
        )
    return SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name=RECORD,
        comparisons=made,
        blocking_rules_to_generate_predictions=[],
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=True,
    )


_MOST_LEVELS = 10
