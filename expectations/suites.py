"""The gate: Great Expectations over what would enter the pool, from the same rules that decided the rows.

Polars decides rows; Great Expectations looks again at the accepted ones and decides the submission. Where it fails a
row rule that Polars passed, Linkarms contradicts itself and the run stops.

Nothing of a cell leaves this module: results are asked for as ``BOOLEAN_ONLY``, the context is ephemeral, its loggers
are silent, and only counts and rule codes are told (kept by ``tests/unit/expectations/test_suites.py``).
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl

from expectations.forms import DATE_FORMAT, POLARS_TYPES, TEXT_FORMS, read_cell
from expectations.relations import known_as_text
from expectations.result import CheckContext, Kind
from expectations.submission_rules import SubmissionFigure, figure_finding, kept_rows, work_out_figures
from protocol.errors import DefectFound
from protocol.finding import Finding
from protocol.model import CodeList, ColumnType, Contract, OnFailure, Rule, RuleKind, Table

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation import Expectation

BATCH_ROWS = 200_000
"""Rows handed to Great Expectations at once, which bounds memory. Keys and references are whole-table rules: they are
worked out before, as a column of true and false."""


class Mode(StrEnum):
    """What the cells of a batch are."""

    TYPED = "typed"
    """Typed by the contract, as the gate sees them. A column's type is then its frame's schema and no expectation."""
    TEXT = "text"
    """As they came, so that the rules over a cell's text can be tried."""


_TEXT_KINDS = frozenset({RuleKind.REQUIRED, RuleKind.TYPE, RuleKind.CODE, RuleKind.PATTERN, RuleKind.LENGTH})
_KINDS: dict[Mode, frozenset[RuleKind]] = {
    Mode.TEXT: _TEXT_KINDS,
    Mode.TYPED: frozenset(RuleKind) - {RuleKind.TYPE},
}
_WHOLE_TABLE = frozenset({RuleKind.UNIQUE, RuleKind.REFERENCE, RuleKind.CONDITION})
"""Told as true or false for each row by something other than Great Expectations, and other than the row check."""
_BESIDE = frozenset({RuleKind.TOTAL, RuleKind.DATE_ORDER_ACROSS})
"""Compared with a value of another table, which the batch carries beside the row's own."""


@dataclass(frozen=True)
class RuleAnswer:
    """What Great Expectations says of one rule."""

    code: str
    holds: bool


def gate(
    accepted: Mapping[str, pl.DataFrame],
    contract: Contract,
    codelists: Sequence[CodeList],
    context: CheckContext,
    *,
    received: Mapping[str, int],
    repeated: Mapping[str, int] | None = None,
    undecided: Mapping[str, frozenset[int]] | None = None,
) -> tuple[Finding, ...]:
    """Decide the submission over its accepted rows; findings are those of the submission as a whole.

    ``accepted``, typed, as :func:`expectations.check_tables` gives it for a submission that it did not refuse;
    ``received``: rows received by table (``CheckResult.received``); ``repeated``: rows left out as wholly equal to an
    earlier one; ``undecided``: rows that a total cannot be told of (``CheckResult.undecided``). A finding of scope
    submission refuses it (too many rows held back, too few rows, too empty a column) or, for a full one that fell too
    far against ``context.previous_counts``, holds it until a person confirms.

    Raises DefectFound, naming the rule, where an accepted row breaks a row rule.
    """
    for table in contract.tables:
        if table.name in accepted:
            _demand_schema(table, accepted[table.name])
    repeated = repeated or {}
    held_back = {
        name: rows - repeated.get(name, 0) - (accepted[name].height if name in accepted else 0)
        for name, rows in received.items()
    }
    figures = work_out_figures(accepted, received, held_back, contract, context)
    if not accepted and not figures:
        # A nil return: there is nothing to look at, and the import would cost seconds.
        return ()
    for table in contract.tables:
        if table.name in accepted:
            for answer in ask_rules(
                table, accepted, contract, codelists, context, Mode.TYPED, undecided=undecided or {}
            ):
                if not answer.holds:
                    raise DefectFound(
                        f"Great Expectations fails rule {answer.code} on rows that the row check accepted. The "
                        "submission stops here; please report this as a defect of Linkarms."
                    )
    broken = _ask_figures(figures)
    return tuple(figure_finding(figure, context) for figure in broken)


def ask_rules(
    table: Table,
    tables: Mapping[str, pl.DataFrame],
    contract: Contract,
    codelists: Sequence[CodeList],
    context: CheckContext,
    mode: Mode,
    *,
    undecided: Mapping[str, frozenset[int]] = MappingProxyType({}),
) -> tuple[RuleAnswer, ...]:
    """Ask Great Expectations about every row rule of one table that the mode can tell, over all its rows.

    ``tables``: the submission's frames in that mode (a reference needs its parent table). Rules that only note are not
    asked: their rows go on. Deletions by key in a delta are asked for their key columns' presence and no more.
    Raises DefectFound where an expectation cannot be evaluated.
    """
    rules = _rules_asked(table, mode)
    frame = kept_rows(tables[table.name])
    told = _whole_table_columns(table, rules, tables, contract, context) if mode is Mode.TYPED else {}
    told |= _in_force_columns(table, rules, frame, codelists, mode)
    told |= _columns_beside(table, rules, tables, contract, context, undecided) if mode is Mode.TYPED else {}
    asked = [
        rule
        for rule in rules
        if (rule.kind not in _WHOLE_TABLE or _told(rule) in told)
        and (rule.kind not in _BESIDE or _beside(rule) in told)
    ]
    if not asked or not frame.height:
        return tuple(RuleAnswer(rule.code, True) for rule in asked)
    needed = list(dict.fromkeys(column for rule in asked if rule.kind not in _WHOLE_TABLE for column in rule.columns))
    frame = frame.select(needed).with_columns(series.alias(name) for name, series in told.items())
    suite = compile_suite(table, context, mode, frozenset(told))
    holds: dict[str, bool] = {rule.code: True for rule in asked}
    with _quiet_great_expectations():
        for start in range(0, frame.height, BATCH_ROWS):
            for code, success in _validate(_to_pandas(frame.slice(start, BATCH_ROWS)), suite):
                holds[code] = holds[code] and success
    return tuple(RuleAnswer(code, success) for code, success in holds.items())


def compile_suite(
    table: Table,
    context: CheckContext,
    mode: Mode,
    told: frozenset[str] = frozenset(),
) -> "ExpectationSuite":
    """The table's row rules as one suite; each expectation's ``meta`` names the rule it comes from.

    ``told``: names of the columns of true and false that the batch carries for keys, references and codes in force.
    The suite holds codes, limits and patterns of the agreement and nothing of the data.
    """
    _import_without_telemetry()
    from great_expectations import ExpectationSuite

    expectations: list[Expectation] = []
    for rule in _rules_asked(table, mode):
        expectations.extend(_compile(rule, table, context, told))
    return ExpectationSuite(name=f"{table.name}_{mode}", expectations=expectations)


def _rules_asked(table: Table, mode: Mode) -> list[Rule]:
    asked = []
    for rule in table.rules:
        if not rule.is_row_rule or rule.on_failure is OnFailure.NOTE or rule.kind not in _KINDS[mode]:
            continue
        numeric = bool(rule.columns) and POLARS_TYPES[table.column(rule.columns[0]).type] != pl.String
        if mode is Mode.TYPED and numeric and rule.kind in (RuleKind.PATTERN, RuleKind.LENGTH, RuleKind.CODE):
            # These speak of the cell's text, which a number or a date no longer has.
            continue
        if rule.kind is RuleKind.LENGTH and table.column(rule.columns[0]).type is ColumnType.CODE:
            # A code of the list has the length of the list's codes.
            continue
        asked.append(rule)
    return asked


def _told(rule: Rule) -> str:
    """Name of the batch's column that says for each row whether the rule holds; no agreed name has a colon."""
    return f"holds:{rule.code}"


def _beside(rule: Rule) -> str:
    """Name of the batch's column with the value of another table that the rule compares with."""
    return f"beside:{rule.code}"


def _compile(rule: Rule, table: Table, context: CheckContext, told: frozenset[str]) -> list["Expectation"]:
    """One rule as expectations of Great Expectations."""
    import great_expectations.expectations as gxe

    meta = {"rule": rule.code}
    expectations: list[Expectation] = []
    if _told(rule) in told:
        expectations.append(gxe.ExpectColumnValuesToBeInSet(column=_told(rule), value_set=[True], meta=meta))
    match rule.kind:
        case RuleKind.REQUIRED:
            expectations += [gxe.ExpectColumnValuesToNotBeNull(column=column, meta=meta) for column in rule.columns]
        case RuleKind.TYPE:
            form = TEXT_FORMS.get(table.column(rule.columns[0]).type)
            if form is not None:
                expectations.append(_matches(rule.columns[0], form, meta))
            if table.column(rule.columns[0]).type is ColumnType.DATE:
                expectations.append(
                    gxe.ExpectColumnValuesToMatchStrftimeFormat(
                        column=rule.columns[0], strftime_format=DATE_FORMAT, meta=meta
                    )
                )
        case RuleKind.CODE:
            expectations.append(
                gxe.ExpectColumnValuesToBeInSet(column=rule.columns[0], value_set=list(rule.codes), meta=meta)
            )
        case RuleKind.PATTERN:
            expectations.append(_matches(rule.columns[0], rule.pattern or "", meta))
        case RuleKind.LENGTH:
            expectations.append(
                gxe.ExpectColumnValueLengthsToBeBetween(column=rule.columns[0], max_value=rule.max_length, meta=meta)
            )
        case RuleKind.RANGE:
            low, high = (_limit(rule, table, limit) for limit in (rule.minimum, rule.maximum))
            expectations.append(
                gxe.ExpectColumnValuesToBeBetween(column=rule.columns[0], min_value=low, max_value=high, meta=meta)
            )
        case RuleKind.DATE_ORDER:
            expectations.append(
                gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                    column_A=rule.columns[1],
                    column_B=rule.columns[0],
                    or_equal=True,
                    ignore_row_if="either_value_is_missing",
                    meta=meta,
                )
            )
        case RuleKind.DATE_ORDER_ACROSS if _beside(rule) in told:
            expectations.append(
                gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                    column_A=rule.columns[0],
                    column_B=_beside(rule),
                    or_equal=True,
                    ignore_row_if="either_value_is_missing",
                    meta=meta,
                )
            )
        case RuleKind.TOTAL if _beside(rule) in told:
            expectations.append(
                gxe.ExpectColumnPairValuesToBeEqual(
                    column_A=rule.columns[0],
                    column_B=_beside(rule),
                    ignore_row_if="either_value_is_missing",
                    meta=meta,
                )
            )
        case RuleKind.NOT_AFTER_EXTRACT | RuleKind.WITHIN_PERIOD:
            within = rule.kind is RuleKind.WITHIN_PERIOD
            expectations += [
                gxe.ExpectColumnValuesToBeBetween(
                    column=column,
                    min_value=_midnight(context.period.starts) if within else None,
                    max_value=_midnight(context.period.ends if within else context.extracted_on),
                    meta=meta,
                )
                for column in rule.columns
            ]
    return expectations


def _matches(column: str, pattern: str, meta: dict[str, str]) -> "Expectation":
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=rf"\A(?:{pattern})\Z", meta=meta)


def _midnight(day: Any) -> Any:
    """A date as pandas compares it with a column of dates."""
    from datetime import datetime

    return datetime(day.year, day.month, day.day)  # noqa: DTZ001  dates of the agreement have no zone


def _limit(rule: Rule, table: Table, limit: str | None) -> Any:
    if limit is None:
        return None
    type_ = table.column(rule.columns[0]).type
    value = pl.DataFrame({"limit": [limit]}).select(read_cell("limit", type_))["limit"].item()
    if type_ is ColumnType.DATE:
        return _midnight(value)
    return float(value) if type_ is ColumnType.DECIMAL else value


# --- columns of true and false ------------------------------------------------------------------------------------


def _whole_table_columns(
    table: Table,
    rules: Sequence[Rule],
    tables: Mapping[str, pl.DataFrame],
    contract: Contract,
    context: CheckContext,
) -> dict[str, pl.Series]:
    """For keys, references and conditions, whether each kept row holds: keys by hash sets rather than the row check's
    joins, conditions by DuckDB rather than Polars.

    The keys themselves so stay out of Great Expectations, whose suites would otherwise carry them.
    """
    frame = kept_rows(tables[table.name])
    told: dict[str, pl.Series] = {}
    for rule in rules:
        if rule.kind is RuleKind.UNIQUE:
            seen: dict[Any, int] = {}
            keys = _key_values(frame, table, rule.columns)
            for key in keys:
                if key is not None:
                    seen[key] = seen.get(key, 0) + 1
            told[_told(rule)] = pl.Series([key is None or seen[key] == 1 for key in keys], dtype=pl.Boolean)
        elif rule.kind is RuleKind.REFERENCE:
            known = _referenced_keys(rule, tables, contract, context)
            if known is not None:
                keys = _key_values(frame, table, rule.columns)
                told[_told(rule)] = pl.Series([key is None or key in known for key in keys], dtype=pl.Boolean)
        elif rule.kind is RuleKind.CONDITION:
            told[_told(rule)] = _ask_duckdb(rule, frame)
    return told


def _ask_duckdb(rule: Rule, frame: pl.DataFrame) -> pl.Series:
    """Whether the rule's condition holds for each row; DuckDB sees its columns and nothing outside."""
    import duckdb

    # read_condition let nothing but comparisons of the row's columns through.
    question = f"select coalesce(({rule.expression}), true) as holds from cells"  # noqa: S608
    connection = duckdb.connect(":memory:", config=dict(_LOCKED))
    try:
        connection.register("cells", frame.select(rule.columns).to_arrow())
        answer = [holds for (holds,) in connection.execute(question).fetchall()]
    except duckdb.Error:
        # Its message may quote a cell, so only the rule is named.
        raise DefectFound(f"DuckDB could not evaluate the condition of rule {rule.code}.") from None
    finally:
        connection.close()
    return pl.Series(answer, dtype=pl.Boolean)


_LOCKED = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "enable_external_access": "false",
    "lock_configuration": "true",
    "preserve_insertion_order": "true",
    "threads": "1",
    "temp_directory": "",
}
"""Nothing is read but what is handed over, nothing is written to the disk, and no statement can change that."""


def _columns_beside(
    table: Table,
    rules: Sequence[Rule],
    tables: Mapping[str, pl.DataFrame],
    contract: Contract,
    context: CheckContext,
    undecided: Mapping[str, frozenset[int]],
) -> dict[str, pl.Series]:
    """For each kept row the value of another table that it is compared with, looked up and added up in plain Python."""
    frame = kept_rows(tables[table.name])
    beside: dict[str, pl.Series] = {}
    for rule in rules:
        if rule.kind not in _BESIDE or rule.to_table not in tables:
            continue
        if rule.kind is RuleKind.TOTAL and context.kind == Kind.DELTA:
            continue
        other = contract.table(rule.to_table or "")
        there = kept_rows(tables[other.name])
        values = there[rule.to_columns[0]].to_list()
        found: dict[Any, Any] = {}
        for key, value in zip(_key_values(there, other, rule.to_join), values, strict=True):
            if rule.kind is RuleKind.TOTAL and key in found:
                found[key] = None if value is None or found[key] is None else found[key] + value
            else:
                found[key] = value
        found.pop(None, None)
        own = [found.get(key) for key in _key_values(frame, table, rule.join)]
        left = undecided.get(rule.code, frozenset())
        if left:
            own = [None if row in left else value for row, value in zip(frame["_row"], own, strict=True)]
        beside[_beside(rule)] = pl.Series(own, dtype=POLARS_TYPES[other.column(rule.to_columns[0]).type])
    return beside


def _key_values(frame: pl.DataFrame, table: Table, columns: Sequence[str]) -> list[Any]:
    """A hashable key for every row; None where a part is empty."""
    parts = known_as_text(frame, table, columns, columns, drop_empty=False)
    if len(columns) == 1:
        return parts[columns[0]].to_list()
    return [None if None in key else key for key in parts.iter_rows()]


def _referenced_keys(
    rule: Rule, tables: Mapping[str, pl.DataFrame], contract: Contract, context: CheckContext
) -> set[Any] | None:
    """Keys that a reference may name; None where this submission alone cannot tell."""
    parent = contract.table(rule.to_table or "")
    known: set[Any] = set()
    if parent.name in tables:
        known.update(_key_values(kept_rows(tables[parent.name]), parent, rule.to_columns))
    if context.kind == Kind.DELTA:
        if parent.name not in context.known_keys or context.find_known_keys is not None:
            return None
        known.update(_key_values(context.known_keys[parent.name], parent, rule.to_columns))
    known.discard(None)
    return known


def _in_force_columns(
    table: Table, rules: Sequence[Rule], frame: pl.DataFrame, codelists: Sequence[CodeList], mode: Mode
) -> dict[str, pl.Series]:
    """For codes with a time of validity, whether each row's code was in force on the row's event date."""
    if table.event_date is None or mode is not Mode.TYPED:
        return {}
    told: dict[str, pl.Series] = {}
    for rule in rules:
        codes = [code for codelist in codelists if codelist.name == rule.codelist for code in codelist.codes]
        windows = {code.code: code for code in codes if code.valid_from or code.valid_to}
        if rule.kind is not RuleKind.CODE or not windows:
            continue
        told[_told(rule)] = pl.Series(
            [
                value not in windows
                or on is None
                or ((windows[value].valid_from or on) <= on and on <= (windows[value].valid_to or on))
                for value, on in frame.select(rule.columns[0], table.event_date).iter_rows()
            ],
            dtype=pl.Boolean,
        )
    return told


# --- Great Expectations -------------------------------------------------------------------------------------------


def _import_without_telemetry() -> None:
    """The one way in which this module first imports Great Expectations: it reads the switch when it is imported."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations  # noqa: F401


@contextmanager
def _quiet_great_expectations() -> Iterator[None]:
    """Great Expectations without telemetry, and silent while it looks at rows."""
    _import_without_telemetry()
    above = logging.getLogger("great_expectations")
    loggers = [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if name.partition(".")[0] == "great_expectations" and isinstance(logger, logging.Logger)
    ]
    before = [logger.disabled for logger in loggers]
    level = above.level
    # Loggers that are made while the gate runs inherit the level.
    above.setLevel(logging.CRITICAL + 1)
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        above.setLevel(level)
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _validate(batch: "pd.DataFrame", suite: "ExpectationSuite") -> list[tuple[str, bool]]:
    """(rule code, success) for every expectation of the suite over one batch."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("accepted").add_dataframe_asset("table")
    definition = asset.add_batch_definition_whole_dataframe("rows")
    outcome = definition.get_batch({"dataframe": batch}).validate(suite, result_format="BOOLEAN_ONLY")
    answers: list[tuple[str, bool]] = []
    for result in outcome.results:
        configuration = result.expectation_config
        code = str(configuration.meta["rule"]) if configuration is not None and configuration.meta else "unnamed"
        if _could_not_evaluate(result.exception_info):
            # Its trace may quote cells, so only the rule is named.
            raise DefectFound(f"Great Expectations could not evaluate rule {code}.")
        answers.append((code, bool(result.success)))
    return answers


def _could_not_evaluate(info: Any) -> bool:
    """True where an expectation raised: its information is one entry, or one for each metric."""
    entries = [info] if not info or "raised_exception" in info else list(info.values())
    return any(entry and entry.get("raised_exception") for entry in entries)


def _ask_figures(figures: Sequence[SubmissionFigure]) -> list[SubmissionFigure]:
    """The figures that break their limits, by Great Expectations over a batch of one row with a column a figure."""
    if not figures:
        return []
    _import_without_telemetry()
    import great_expectations.expectations as gxe
    from great_expectations import ExpectationSuite

    expectations: list[Expectation] = [
        gxe.ExpectColumnValuesToBeBetween(
            column=figure.code, min_value=figure.least, max_value=figure.most, meta={"rule": figure.code}
        )
        for figure in figures
    ]
    batch = _to_pandas(pl.DataFrame({figure.code: [float(figure.value)] for figure in figures}))
    with _quiet_great_expectations():
        holds = dict(_validate(batch, ExpectationSuite(name="submission", expectations=expectations)))
    return [figure for figure in figures if not holds[figure.code]]


def _to_pandas(frame: pl.DataFrame) -> "pd.DataFrame":
    """Cells as pandas compares them: decimals as floats, which keep any order that a limit of the agreement needs."""
    return frame.with_columns(pl.col(pl.Decimal).cast(pl.Float64)).to_pandas()


def _demand_schema(table: Table, frame: pl.DataFrame) -> None:
    """The type rules of accepted rows: every agreed column has the contract's type, and there is no other column."""
    wanted: dict[str, Any] = {"_row": pl.Int64(), **{c.name: POLARS_TYPES[c.type] for c in table.columns}}
    if "_delete" in frame.columns:
        wanted["_delete"] = pl.Boolean()
    for name in {*wanted, *frame.columns}:
        if name not in wanted or name not in frame.columns or frame.schema[name] != wanted[name]:
            agreed = re.fullmatch("[a-z_][a-z0-9_]*", name) and name in wanted
            raise DefectFound(
                f"The accepted rows of table {table.name} do not have the agreed "
                + (f"type in column {name} (rule {table.name}.{name}.type)." if agreed else "columns.")
            )
