"""What stands in a faulty cell and what was probably meant, for the officer's own terminal and for nothing else.

Hints hold cell content. They are worked out by a call of their own, over the officer's own files on the officer's own
machine; no finding, receipt, list or log has a field for them, their ``repr`` shows none, and they cannot be pickled
(kept by ``tests/unit/expectations/test_hints.py``).
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NoReturn

import polars as pl

from expectations.causes import DAY_MONTH_YEAR, EXCEL_DAYS
from expectations.result import CheckResult
from protocol.finding import Finding
from protocol.model import CodeList, ColumnType, Contract, Rule, RuleKind, Table

SHOWN = 40
"""As many characters of a cell as are shown."""
_NEAR = 0.6
_NEARLY = 0.87
"""One sign of eight is another one, or two have changed places."""
_MOST_MISTYPED = 20
_EXCEL_DAY_0 = date(1899, 12, 30)
_YES, _NO = frozenset({"y", "t", "true", "1"}), frozenset({"n", "f", "false", "0"})
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}


@dataclass(frozen=True, repr=False)
class Hint:
    """One cell: the spreadsheet's row, what stands there, and what is probably meant (None where nothing is near)."""

    row: int
    shown: str
    nearest: str | None

    def __repr__(self) -> str:
        return f"Hint(row={self.row})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A hint holds a cell's content and is not written anywhere.")


@dataclass(frozen=True, repr=False)
class LocalHints:
    """Hints by finding."""

    _by_finding: Mapping[Finding, tuple[Hint, ...]] = field(default_factory=dict)

    def of(self, finding: Finding) -> tuple[Hint, ...]:
        """The hints of one finding of the check that they were worked out of; none for most kinds."""
        return self._by_finding.get(finding, ())

    def __repr__(self) -> str:
        return f"LocalHints(findings={len(self._by_finding)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Hints hold cells' content and are not written anywhere.")


def work_out_hints(
    tables: Mapping[str, pl.DataFrame], result: CheckResult, contract: Contract, codelists: Sequence[CodeList]
) -> LocalHints:
    """Hints for the first rows of every finding over the form of a cell, a code, or a reference to a parent.

    ``tables``: the frames that :func:`expectations.check_tables` was given; ``result``: what it made of them. A code
    gets the nearest agreed code, a date or number the agreed form of the same value where there is no doubt of it, a
    reference the nearest key of its parent.
    """
    rules = {rule.code: (table, rule) for table in contract.tables for rule in table.rules}
    found: dict[Finding, tuple[Hint, ...]] = {}
    for finding in result.findings:
        table, rule = rules.get(finding.code, (None, None))
        if table is None or rule is None or table.name not in tables or len(rule.columns) != 1:
            continue
        if rule.kind in (RuleKind.CODE, RuleKind.TYPE, RuleKind.PATTERN, RuleKind.REFERENCE):
            hints = tuple(_hints_of(finding, table, rule, tables, codelists))
            if hints:
                found[finding] = hints
    return LocalHints(found)


def _hints_of(
    finding: Finding, table: Table, rule: Rule, tables: Mapping[str, pl.DataFrame], codelists: Sequence[CodeList]
) -> Iterator[Hint]:
    name = rule.columns[0]
    rows = tables[table.name].filter(pl.col("_row").is_in(finding.first_rows)).select("_row", name)
    keys = _parent_keys(rule, tables)
    day_first = "day first" in finding.mend
    for row, cell in rows.iter_rows():
        if cell is None:
            continue
        nearest: str | None = None
        if rule.kind is RuleKind.CODE:
            nearest = _nearest_code(cell, rule, codelists)
        elif rule.kind is RuleKind.TYPE:
            nearest = _as_agreed(cell, rule.type, day_first=day_first, month_first="month first" in finding.mend)
        elif rule.kind is RuleKind.PATTERN:
            nearest = _in_form(cell, rule)
        elif keys:
            nearest = _nearest_key(cell, keys, mistyped=finding.rows_affected <= _MOST_MISTYPED)
        yield Hint(row, _shorten(cell), nearest)


def _shorten(cell: str) -> str:
    """A cell as a terminal may show it: one line, no control character, not too long."""
    plain = "".join(sign if sign.isprintable() else "·" for sign in cell)
    return plain if len(plain) <= SHOWN else plain[: SHOWN - 1] + "…"


def _nearest_code(cell: str, rule: Rule, codelists: Sequence[CodeList]) -> str | None:
    """The code that is meant by its label, by yes or no in other words, or that is spelt nearly so."""
    text = cell.strip().lower()
    if {"yes", "no"} <= set(rule.codes) and text in _YES | _NO:
        return "yes" if text in _YES else "no"
    labels = {
        e.label.lower(): e.code for codelist in codelists if codelist.name == rule.codelist for e in codelist.codes
    }
    if text in labels:
        return labels[text]
    simple = re.sub(r"[\s-]+", "_", re.sub(r"\.0+$", "", text))
    for code in rule.codes:
        if simple == code or (simple and simple.lstrip("0") == code.lstrip("0")):
            return code
    longer = {labels.get(word, word) for word in (*rule.codes, *labels) if simple and word.startswith(simple)}
    if len(longer) == 1:
        return longer.pop()
    near = difflib.get_close_matches(simple, [*rule.codes, *labels], 1, _NEAR)
    return labels.get(near[0], near[0]) if near else None


def _nearest_key(cell: str, keys: Sequence[str], *, mistyped: bool = True) -> str | None:
    """The only key that is nearly the same: another one may be another person's, so that a guess would do harm.

    :param mistyped: False where so many are not found that it is rather the other file that lacks them.
    """
    near = difflib.get_close_matches(cell, keys, 2, _NEARLY) if mistyped else []
    bare = {key for key in keys if _bare(key) == _bare(cell)}
    return next(iter(bare or near)) if len(bare or near) == 1 else None


def _bare(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\.0+$", "", key).lower()).lstrip("0")


def _as_agreed(cell: str, type_: ColumnType | None, *, day_first: bool, month_first: bool) -> str | None:
    """The same value in the agreed form; None where it is not plain what was meant."""
    if type_ is ColumnType.DATE:
        return _as_date(cell, day_first=day_first, month_first=month_first)
    cell = re.sub(r"^\((.*)\)$", r"-\1", cell)
    bare = re.sub(r"[\s£$€\u00a0]|(?<=[0-9]),(?=[0-9]{3}(?:[,.]|$))", "", cell)
    if type_ is ColumnType.INTEGER:
        match = re.fullmatch(r"([+-]?[0-9]{1,18})(?:\.0+)?", bare)
        return match.group(1) if match else None
    if re.fullmatch(r"[+-]?[0-9]{1,14},[0-9]{1,2}", bare):
        bare = bare.replace(",", ".")
    return bare if re.fullmatch(r"[+-]?[0-9]{1,14}(?:\.[0-9]{1,4})?", bare) else None


def _as_date(cell: str, *, day_first: bool, month_first: bool) -> str | None:
    text = cell.strip()
    if re.match(EXCEL_DAYS, text):
        return (_EXCEL_DAY_0 + timedelta(days=int(text[:5]))).isoformat()
    if match := re.match(r"^([0-9]{4})[-/.]?([0-9]{1,2})[-/.]?([0-9]{1,2})(?:[ T].*)?$", text):
        year, month, day = (int(part) for part in match.groups())
        return _day(year, month, day) or _day(year, day, month)
    if match := re.match(DAY_MONTH_YEAR, text):
        one, two, year = (int(part) for part in match.groups())
        if one == two:
            return _day(year, one, two)
        if one <= 12 and two <= 12 and not (day_first or month_first):
            return None
        as_day_first = one > 12 or (two <= 12 and day_first)
        return _day(year, two, one) if as_day_first else _day(year, one, two)
    if match := re.match(r"^([0-9]{1,2})[ -]([A-Za-z]{3})[A-Za-z]*[ -]([0-9]{4})$", text):
        month_in_words = _MONTHS.get(match.group(2).lower())
        return _day(int(match.group(3)), month_in_words, int(match.group(1))) if month_in_words else None
    return None


def _day(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def _in_form(cell: str, rule: Rule) -> str | None:
    """The cell without what a spreadsheet or a web page added, where it then has the agreed form."""
    bare = re.sub(r"^=?\"|\"$|^'|\.0+$|[\u00a0\u00ad\u200b-\u200f\u2060\ufeff]", "", cell).strip()
    for attempt in (bare, f"0{bare}", bare.replace(" ", "")):
        if attempt != cell and re.fullmatch(rule.pattern or "", attempt):
            return attempt
    return None


_MOST_KEYS = 2_000
"""Among more keys than this none is looked for: it would take longer than reading the file."""


def _parent_keys(rule: Rule, tables: Mapping[str, pl.DataFrame]) -> list[str]:
    if rule.kind is not RuleKind.REFERENCE or rule.to_table not in tables:
        return []
    keys = tables[rule.to_table or ""][rule.to_columns[0]].drop_nulls().unique(maintain_order=True)
    return keys.to_list() if keys.len() <= _MOST_KEYS else []
