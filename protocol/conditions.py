"""Conditions over a row's columns, as the agreement states them: a small part of SQL that two engines read alike.

``status <> 'declined' or declined_reason is not null``: column names, texts in single quotes, numbers,
``date '2026-03-31'``, comparisons, ``and``, ``or``, ``not``, ``is null``, ``in``, ``between``, ``+``, ``-``, ``*``,
``case``, ``coalesce``, ``lower``, ``upper``, ``length``, ``true``, ``false``, ``null`` and brackets. Everything else of
SQL is refused: what only one engine knows, or what both know differently (division, patterns, comparisons of dates
with text), would let the two checks of one rule disagree.

A condition that is null, because a column that it speaks of is empty, holds, as a CHECK constraint of SQL does.
"""

import re
from collections.abc import Iterable

from protocol.errors import AgreementError
from protocol.model import Column, ColumnType

MAX_LENGTH = 600
"""A longer condition is several, and nobody could mend a row by it."""

_TOKEN = re.compile(
    r"\s+|(?P<date>(?i:date)\s+'[0-9]{4}-[0-9]{2}-[0-9]{2}')|(?P<text>'(?:[^']|'')*')|(?P<number>[0-9]+(?:\.[0-9]+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark><=|>=|<>|[=<>+*(),]|-(?!-))"
)
_WORDS = frozenset(
    ("and", "or", "not", "is", "null", "in", "between", "true", "false", "case", "when", "then", "else", "end")
)
_FUNCTIONS = frozenset(("coalesce", "lower", "upper", "length"))


def read_condition(expression: str, columns: Iterable[Column]) -> tuple[str, ...]:
    """Names of the columns that a condition speaks of, in their agreed order.

    ``columns``: those of its table. Raises AgreementError, which finishes "The condition ...", where it is not one of
    the small part of SQL above, names a column that the table has not, or is not true or false.
    """
    columns = tuple(columns)
    named = _names_in(expression, columns)
    used = tuple(column for column in columns if column.name in named)
    if not used:
        raise AgreementError("names no column of the table.")
    _try_out(expression, used)
    return tuple(column.name for column in used)


def _names_in(expression: str, columns: tuple[Column, ...]) -> set[str]:
    if len(expression) > MAX_LENGTH:
        raise AgreementError(f"is longer than {MAX_LENGTH} characters. Make several of it.")
    known = {column.name for column in columns}
    named: set[str] = set()
    place = 0
    while place < len(expression):
        token = _TOKEN.match(expression, place)
        if token is None:
            raise AgreementError(f"cannot be read from character {place + 1} on.")
        if word := token["word"]:
            calls = expression[token.end() :].lstrip().startswith("(")
            if word in known and not calls:
                named.add(word)
            elif not (word.lower() in _WORDS or (word.lower() in _FUNCTIONS and calls)):
                raise AgreementError(f"names {word}, which is neither a column of the table nor a word it may use.")
        place = token.end()
    return named


def _try_out(expression: str, columns: tuple[Column, ...]) -> None:
    """Evaluate it over no rows, so that its grammar and its types are known to be right."""
    import polars as pl

    types: dict[ColumnType, pl.DataType] = {
        ColumnType.INTEGER: pl.Int64(),
        ColumnType.DECIMAL: pl.Decimal(18, 4),
        ColumnType.DATE: pl.Date(),
    }
    empty = pl.DataFrame(schema={column.name: types.get(column.type, pl.String()) for column in columns})
    try:
        answer = empty.select(pl.sql_expr(expression).alias("holds"))
    except Exception as error:  # noqa: BLE001 (the parser raises errors of several kinds, the words are the agreement's)
        reason = str(error).strip().partition("\n")[0]
        raise AgreementError(f"cannot be worked out: {reason}.") from None
    if answer.schema["holds"] != pl.Boolean:
        raise AgreementError("is not something that is true or false.")
