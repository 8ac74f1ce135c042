"""Row rules as Polars expressions over frames of text: which rows go on, which are held back, and why.

All rules of a table are compiled to Boolean expressions (true = broken) and evaluated together, in columns; only cells
that broke a rule are looked at again, to name a likely cause.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from expectations.cascades import find_cascades
from expectations.causes import causes_of, name_cause
from expectations.checked import (
    DELETES,
    FORM_KINDS,
    READ,
    Checked,
    Fault,
    none_of,
    readable,
    value_of,
)
from expectations.comparison import WAITING
from expectations.forms import POLARS_TYPES, read_cell
from expectations.relations import check_totals_and_dates, find_incomplete_totals, follow_references
from expectations.result import HELD_BACK_SCHEMA, CheckContext, CheckResult, TableCounts
from expectations.submission_rules import FIRST_ROWS, SubmissionFigure, figure_finding, work_out_figures
from expectations.wrong_period import find_wrong_period
from protocol.errors import AgreementError, DefectFound
from protocol.finding import Finding, Scope
from protocol.model import CodeList, Contract, Rule, RuleKind, Table

_WORDS_FOR_DELETE = ("yes", "true", "1", "y")
_WORDS_FOR_KEEP = ("no", "false", "0", "n")
_KEY_KINDS = frozenset(
    {RuleKind.REQUIRED, RuleKind.TYPE, RuleKind.CODE, RuleKind.PATTERN, RuleKind.LENGTH, RuleKind.UNIQUE}
)
_DAY = "@day"
"""Working column; no agreed name has this character."""
_WITH_CAUSES = FORM_KINDS | {RuleKind.NOT_AFTER_EXTRACT, RuleKind.WITHIN_PERIOD}
_BETWEEN_TABLES = frozenset({RuleKind.REFERENCE, RuleKind.TOTAL, RuleKind.DATE_ORDER_ACROSS})


def check_tables(
    tables: Mapping[str, pl.DataFrame],
    contract: Contract,
    codelists: Sequence[CodeList],
    manifest_context: CheckContext,
) -> CheckResult:
    """Check a submission's tables against the contract and sort its rows.

    ``tables``: agreed table name -> frame with every agreed column as stripped text (empty = null), ``_row`` Int64 (the
    spreadsheet's row number, the header being row 1) and, in a delta, ``_delete`` (Boolean, or text yes/no). All rules
    are tried on all rows; a cell that has not its type or is not one of its codes breaks that rule and no other. A row
    whose parent row was held back is held back with it, under the reference's code with ``.held_back``. What has one
    cause is one finding: cells that have moved, columns that were exchanged (:mod:`expectations.cascades`).

    Raises AgreementError where a rule cannot be compiled and DefectFound where a frame has not the agreed columns.
    """
    checked: dict[str, Checked] = {}
    for table in contract.tables:
        if table.name in tables:
            days = _find_days(table, tables, contract)
            checked[table.name] = _check_table(table, tables[table.name], codelists, manifest_context, days)
    wrong_period = find_wrong_period(checked, manifest_context)
    check_totals_and_dates(checked, contract, manifest_context)
    unchecked = follow_references(checked, contract, manifest_context)
    return _conclude(checked, contract, manifest_context, unchecked, wrong_period)


# --- one table --------------------------------------------------------------------------------------------------------


def _find_days(table: Table, tables: Mapping[str, pl.DataFrame], contract: Contract) -> pl.Series | None:
    """Where a table has no date of its own, the date of the row that each row refers to; None where that has none."""
    for reference in table.references if table.event_date is None else ():
        parent = contract.table(reference.to_table)
        if parent.event_date is None or parent.name not in tables:
            continue
        keys = [f"k{index}" for index in range(len(reference.columns))]
        day = read_cell(parent.event_date, parent.column(parent.event_date).type).alias(_DAY)
        days = tables[parent.name].select(*_read_keys(parent, reference.to_columns, keys), day)
        own = tables[table.name].select(_read_keys(table, reference.columns, keys))
        days = days.drop_nulls().unique(keys, keep="none", maintain_order=True)
        return own.join(days, on=keys, how="left", maintain_order="left")[_DAY]
    return None


def _read_keys(table: Table, columns: Sequence[str], names: Sequence[str]) -> list[pl.Expr]:
    """Key columns of a frame of text, each number in its one form."""
    pairs = zip(columns, names, strict=True)
    return [read_cell(column, table.column(column).type).cast(pl.String).alias(name) for column, name in pairs]


def _check_table(
    table: Table,
    frame: pl.DataFrame,
    codelists: Sequence[CodeList],
    context: CheckContext,
    days: pl.Series | None = None,
) -> Checked:
    """Every rule that one table decides alone. ``days``: the date of each row, where the table has none of its own."""
    missing = [name for name in ("_row", *table.column_names) if name not in frame.columns]
    if missing:
        raise DefectFound(f"The frame of table {table.name} came without the columns {', '.join(missing)}.")
    _demand_type_rules(table)
    absent = context.absent_columns.get(table.name, frozenset())
    rules = [
        rule
        for rule in table.rules
        if rule.is_row_rule and rule.kind not in _BETWEEN_TABLES and not absent & set(rule.columns)
    ]
    work = frame.select("_row", *table.column_names, *_read_deletes(frame))
    work = work.with_columns(
        read_cell(column.name, column.type).alias(READ + column.name)
        for column in table.columns
        if POLARS_TYPES[column.type] != pl.String
    )
    on = None
    if days is not None:
        work, on = work.with_columns(days.alias(_DAY)), pl.col(_DAY)
    conditions = [rule for rule in rules if rule.kind is RuleKind.CONDITION]
    expressions = {
        rule.code: compile_rule(rule, table, codelists, context, on)
        for rule in rules
        if rule.kind not in (RuleKind.UNIQUE, RuleKind.CONDITION)
    }
    if DELETES in work.columns:
        deletes = pl.col(DELETES)
        on_key = {rule.code for rule in rules if rule.kind in _KEY_KINDS and set(rule.columns) <= set(table.key)}
        expressions = {code: (x if code in on_key else x & ~deletes) for code, x in expressions.items()}
    try:
        broken = work.select(expression.fill_null(False).alias(code) for code, expression in expressions.items())
    except pl.exceptions.ComputeError:
        # The engine's message could quote a cell; what a rule lacks is found without one.
        raise AgreementError(_unusable_pattern(rules)) from None
    broken = broken.with_columns(_break_condition(work, rule, table).alias(rule.code) for rule in conditions)

    result = Checked(table, work, absent, repeats=none_of(work.height))
    for rule in rules:
        if rule.kind is RuleKind.UNIQUE:
            _check_unique(result, rule)
        elif rule.kind in _WITH_CAUSES:
            _add_by_cause(result, rule, broken[rule.code], codelists, context)
        elif rule.kind is RuleKind.REQUIRED:
            _add_required(result, rule, broken[rule.code])
        else:
            result.add(rule, broken[rule.code])
    _check_deletes(result, frame)
    find_cascades(result, codelists)
    return result


def _break_condition(work: pl.DataFrame, rule: Rule, table: Table) -> pl.Series:
    """Rows for which a condition does not hold; rows with a cell that cannot be read are not asked."""
    cells = work.select(value_of(table, name).alias(name) for name in rule.columns)
    asked = [pl.col(name).is_null() | readable(table, name) for name in rule.columns]
    asked.extend(~pl.col(DELETES) for name in work.columns if name == DELETES)
    try:
        holds = cells.select(pl.sql_expr(rule.expression or "").alias("holds"))["holds"]
    except Exception:  # noqa: BLE001 (the engine's message, of whatever kind, could quote a cell)
        raise AgreementError(f"The condition of rule {rule.code} cannot be worked out.") from None
    return (~holds).fill_null(False) & work.select(pl.all_horizontal(asked).fill_null(False))[:, 0]


def _demand_type_rules(table: Table) -> None:
    """Without a type rule, a cell that cannot be read would become an empty one unseen."""
    typed = {column.name for column in table.columns if POLARS_TYPES[column.type] != pl.String}
    ruled = {rule.columns[0] for rule in table.rules if rule.kind is RuleKind.TYPE}
    if typed - ruled:
        raise AgreementError(f"Table {table.name} has no type rule for {', '.join(sorted(typed - ruled))}.")


def _unusable_pattern(rules: Sequence[Rule]) -> str:
    for rule in rules:
        if rule.pattern is not None:
            try:
                pl.Series([""]).str.contains(_whole(rule.pattern))
            except pl.exceptions.ComputeError:
                return f"The pattern of rule {rule.code} cannot be used: look-around and back-references are not read."
    return "A rule's pattern cannot be used."


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\z"


def compile_rule(
    rule: Rule, table: Table, codelists: Sequence[CodeList], context: CheckContext, on: pl.Expr | None = None
) -> pl.Expr:
    """The rule as a Boolean expression, true (never null where decided) for the rows that break it.

    It reads the table's text columns by name and, where a column is a number or a date, its read form ``~name``. Keys
    and references are decided over whole tables and have no expression. Raises AgreementError for a rule that lacks
    what its kind needs.
    """
    if not rule.columns:
        raise AgreementError(f"Rule {rule.code} names no column.")
    name = rule.columns[0]
    text, value = pl.col(name), value_of(table, name)
    match rule.kind:
        case RuleKind.REQUIRED:
            return pl.any_horizontal(pl.col(column).is_null() for column in rule.columns)
        case RuleKind.TYPE:
            return text.is_not_null() & value.is_null()
        case RuleKind.CODE:
            return text.is_not_null() & (~text.is_in(rule.codes) | _out_of_force(rule, table, codelists, context, on))
        case RuleKind.PATTERN if rule.pattern is not None:
            return readable(table, name) & ~text.str.contains(_whole(rule.pattern))
        case RuleKind.LENGTH if rule.max_length is not None:
            return readable(table, name) & (text.str.len_chars() > rule.max_length)
        case RuleKind.RANGE:
            low, high = (_limit(rule, table, limit) for limit in (rule.minimum, rule.maximum))
            if low is None and high is None:
                raise AgreementError(f"Rule {rule.code} gives no limit.")
            below = pl.lit(False) if low is None else value < low
            return below | (pl.lit(False) if high is None else value > high)
        case RuleKind.DATE_ORDER if len(rule.columns) == 2:
            return value_of(table, rule.columns[1]) < value
        case RuleKind.NOT_AFTER_EXTRACT:
            return pl.any_horizontal(value_of(table, column) > context.extracted_on for column in rule.columns)
        case RuleKind.WITHIN_PERIOD:
            starts, ends = context.period.starts, context.period.ends
            return pl.any_horizontal(~value_of(table, column).is_between(starts, ends) for column in rule.columns)
    raise AgreementError(f"Rule {rule.code} lacks what a rule of kind {rule.kind} needs.")


def _limit(rule: Rule, table: Table, limit: str | None) -> pl.Expr | None:
    """A limit of the agreement's text, read like a cell of the same column."""
    if limit is None:
        return None
    type_ = table.column(rule.columns[0]).type
    read = pl.DataFrame({"limit": [limit]}).select(read_cell("limit", type_))["limit"]
    if POLARS_TYPES[type_] == pl.String or read.null_count():
        raise AgreementError(f"A limit of rule {rule.code} is not of the column's type.")
    return pl.lit(read.item(), dtype=POLARS_TYPES[type_])


def _out_of_force(
    rule: Rule, table: Table, codelists: Sequence[CodeList], context: CheckContext, on: pl.Expr | None
) -> pl.Expr:
    """True for agreed codes that were not in force on the row's event date.

    Where the table has no event date, that of the row that it refers to counts (``on``); where there is none either, a
    code has to be in force on some day of the period.
    """
    if table.event_date is not None:
        first = last = value_of(table, table.event_date)
    elif on is None:
        first, last = pl.lit(context.period.ends), pl.lit(context.period.starts)
    else:
        first, last = on.fill_null(context.period.ends), on.fill_null(context.period.starts)
    entries = [entry for codelist in codelists if codelist.name == rule.codelist for entry in codelist.codes]
    outside = pl.lit(False)
    for entry in entries:
        missed = pl.lit(False) if entry.valid_from is None else first < entry.valid_from
        missed = missed if entry.valid_to is None else missed | (last > entry.valid_to)
        if entry.valid_from is not None or entry.valid_to is not None:
            outside = outside | ((pl.col(rule.columns[0]) == entry.code) & missed.fill_null(False))
    return outside


# --- faults -----------------------------------------------------------------------------------------------------------


def _add_required(checked: Checked, rule: Rule, broken: pl.Series) -> None:
    """Note empty cells; a column that is empty from top to bottom is one fault of the export and not of its rows."""
    everywhere = broken.len() > 1 and bool((broken | checked.deletes).all()) and len(rule.columns) == 1
    if not everywhere:
        checked.add(rule, broken)
        return
    name = rule.columns[0]
    checked.add(
        rule,
        broken,
        sentence=f"The column {name} is empty from top to bottom, and no row can be used without it.",
        hint=f"Check that your export fills {name}: it may be left out of the query, or stand in another column.",
    )


def _add_by_cause(
    checked: Checked, rule: Rule, broken: pl.Series, codelists: Sequence[CodeList], context: CheckContext
) -> None:
    """Note the rows that break a rule apart by the likely cause, since each cause is mended in its own way."""
    if not broken.any():
        return
    labels = tuple(e.label for codelist in codelists if codelist.name == rule.codelist for e in codelist.codes)
    causes = causes_of(rule, checked.table.column(rule.columns[0]), labels, context)
    rows = broken.arg_true()
    text = checked.frame[rule.columns[0]].gather(rows)
    named = name_cause(text, causes)
    hints = {cause.name: cause.mend for cause in causes}
    if rule.kind is RuleKind.CODE:
        hints["not_in_force"] = "The code is one of the agreed list but was not in use on the row's date."
        named = pl.select(pl.when(text.is_in(rule.codes)).then(pl.lit("not_in_force")).otherwise(named))[:, 0]
    for cause in [*hints, None]:
        of_cause = named.is_null() if cause is None else (named == cause).fill_null(False)
        if of_cause.any():
            mask = none_of(checked.frame.height).scatter(rows.filter(of_cause), True)
            checked.add(rule, mask, cause or "", hint=hints[cause] if cause is not None else "")


def _check_unique(checked: Checked, rule: Rule) -> None:
    """Rows of one key: all but the first are left out where they are wholly equal, else all are held back."""
    table, frame = checked.table, checked.frame
    keys = [f"k{index}" for index in range(len(rule.columns))]
    parts = frame.select(value_of(table, column).alias(key) for key, column in zip(keys, rule.columns, strict=True))
    # A key with an empty or unreadable part is told as such and cannot be compared.
    whole = parts.select(pl.all_horizontal(pl.all().is_not_null()))[:, 0]
    doubled = (parts[keys[0]] if len(keys) == 1 else parts.to_struct()).is_duplicated() & whole
    if not doubled.any():
        return
    rows = doubled.arg_true()
    compared = [*table.column_names, *([DELETES] if DELETES in frame.columns else [])]
    groups = frame[rows].select(
        *(parts[key].gather(rows).alias(f"{READ}{key}") for key in keys),
        pl.struct(compared).alias("cells"),
        "_row",
    )
    over = [f"{READ}{key}" for key in keys]
    again = pl.int_range(pl.len()).over(over) > 0
    groups = groups.select(
        equal=pl.col("cells").n_unique().over(over) == 1,
        again=again,
        other=pl.when(again).then(pl.col("_row").first().over(over)).otherwise(pl.col("_row").get(1).over(over)),
    )
    differ = rows.filter(~groups["equal"])
    others = pl.repeat(None, frame.height, dtype=pl.Int64, eager=True).scatter(rows, groups["other"])
    checked.add(rule, none_of(frame.height).scatter(differ, True), others=others)
    checked.repeats = checked.repeats | none_of(frame.height).scatter(
        rows.filter(groups["equal"] & groups["again"]), True
    )
    checked.first_of_equal = others


def _read_deletes(frame: pl.DataFrame) -> list[pl.Expr]:
    if DELETES not in frame.columns:
        return []
    if frame.schema[DELETES] == pl.Boolean:
        return [pl.col(DELETES).fill_null(False)]
    return [pl.col(DELETES).str.to_lowercase().is_in(_WORDS_FOR_DELETE).fill_null(False)]


def _check_deletes(checked: Checked, frame: pl.DataFrame) -> None:
    if DELETES not in frame.columns or frame.schema[DELETES] == pl.Boolean:
        return
    understood = frame[DELETES].str.to_lowercase().is_in([*_WORDS_FOR_DELETE, *_WORDS_FOR_KEEP])
    broken = ~understood.fill_null(True)
    if broken.any():
        checked.faults[DELETES] = Fault(
            f"{checked.table.name}._delete.code",
            checked.table,
            Scope.ROW,
            (DELETES,),
            "The column _delete says whether a row is to be deleted; these cells are neither yes nor no.",
            "Write yes to delete the row with this key, or leave the cell empty.",
            "yes",
            broken,
        )


# --- the conclusion ---------------------------------------------------------------------------------------------------


def _conclude(
    checked: dict[str, Checked],
    contract: Contract,
    context: CheckContext,
    undecided: list[tuple[Table, Rule]],
    of_all: Sequence[Finding],
) -> CheckResult:
    findings = list(of_all)
    held_lists: list[pl.DataFrame] = []
    accepted: dict[str, pl.DataFrame] = {}
    counts: dict[str, TableCounts] = {}
    for name, one in checked.items():
        held = one.held_back
        left_out = one.repeats & ~held
        faults = _in_order(one)
        findings.extend(_finding(fault, one.frame["_row"]) for fault in faults)
        held_lists.append(_held_lines(one.table, [f for f in faults if f.scope is not Scope.NOTE], one.frame["_row"]))
        if left_out.any():
            findings.append(_repeated(one, left_out))
        accepted[name] = _typed(one, ~held & ~left_out)
        counts[name] = TableCounts(one.frame.height, accepted[name].height, int(held.sum()), int(left_out.sum()))
    findings.extend(_not_checked(table, rule) for table, rule in undecided)
    received = {name: count.received for name, count in counts.items()}
    held_counts = {name: count.held_back for name, count in counts.items()}
    every_row = {name: one.frame.filter(~one.repeats) for name, one in checked.items()}
    figures = work_out_figures(accepted, received, held_counts, contract, context, every_row)
    broken = _without_what_follows([figure for figure in figures if not figure.holds], checked)
    findings.extend(figure_finding(figure, context) for figure in broken)
    refused = any(finding.scope in (Scope.SUBMISSION, Scope.FILE) for finding in findings)
    return CheckResult(
        accepted={} if refused else accepted,
        held_back=pl.concat([HELD_BACK_SCHEMA.to_frame(), *held_lists]),
        findings=tuple(findings),
        refused=refused,
        counts=counts,
        undecided={} if refused else find_incomplete_totals(checked, accepted, contract),
    )


def _without_what_follows(broken: Sequence[SubmissionFigure], checked: Mapping[str, Checked]) -> list[SubmissionFigure]:
    """The figures without those that too many rows of a table are held back only since they wait for rows of another
    one, of which the same is told before."""
    told: list[SubmissionFigure] = []
    refused: set[str] = set()
    for figure in broken:
        if figure.rule.kind is RuleKind.HELD_BACK_SHARE:
            own, parents = _own_faults(checked[figure.table.name])
            follows = bool(parents & refused) and own <= (figure.most or 0) * checked[figure.table.name].frame.height
            refused.add(figure.table.name)
            if follows:
                continue
        told.append(figure)
    return told


def _own_faults(checked: Checked) -> tuple[int, set[str]]:
    """How many rows have a fault of their own, and the tables for whose rows others wait."""
    own, parents = none_of(checked.frame.height), set()
    for fault in checked.faults.values():
        if fault.code.endswith(WAITING):
            parents.add(fault.other_table or "")
        elif fault.scope is not Scope.NOTE:
            own = own | fault.broken
    return int(own.sum()), parents


def _in_order(checked: Checked) -> list[Fault]:
    """Faults in the order of the table's rules."""
    places = {rule.code: place for place, rule in enumerate(checked.table.rules)}
    return sorted(checked.faults.values(), key=lambda fault: places.get(fault.rule.code if fault.rule else "", -1))


def _finding(fault: Fault, rows: pl.Series) -> Finding:
    broken = rows.filter(fault.broken)
    shown = broken.to_frame("row").with_columns(
        (pl.lit(None, pl.Int64) if fault.others is None else fault.others.filter(fault.broken)).alias("other")
    )
    shown = shown.bottom_k(FIRST_ROWS, by="row").sort("row")
    others = shown["other"].fill_null(0)
    return Finding(
        code=fault.code,
        scope=fault.scope,
        table=fault.table.name,
        file=f"{fault.table.name}.csv",
        columns=fault.columns,
        sentence=fault.sentence,
        mend=fault.mend,
        example=fault.example,
        rows_affected=broken.len(),
        first_rows=tuple(shown["row"].to_list()),
        other_rows=tuple(others.to_list()) if (others > 0).any() else (),
        other_table=fault.other_table if (others > 0).any() else None,
    )


def _held_lines(table: Table, faults: Sequence[Fault], rows: pl.Series) -> pl.DataFrame:
    """A line for every row and rule that it broke, by row and then by rule.

    They can be more than the table has rows, so faults stand as numbers until all are in order.
    """
    faults = sorted(faults, key=lambda fault: fault.code)
    lines = [
        rows.filter(fault.broken).to_frame("row").with_columns(fault=pl.lit(number, pl.UInt16))
        for number, fault in enumerate(faults)
    ]
    if not lines:
        return HELD_BACK_SCHEMA.to_frame()
    ordered = pl.concat(lines).sort("row", "fault")
    codes, mends = (pl.Series([getattr(fault, name) for fault in faults]) for name in ("code", "mend"))
    return ordered.select(
        table=pl.lit(table.name),
        row=pl.col("row"),
        rule=codes.gather(ordered["fault"]),
        mend=mends.gather(ordered["fault"]),
    )


def _repeated(checked: Checked, left_out: pl.Series) -> Finding:
    rows = checked.frame["_row"].filter(left_out)
    others = () if checked.first_of_equal is None else checked.first_of_equal.filter(left_out).head(FIRST_ROWS)
    return Finding(
        code=f"{checked.table.name}.repeated_rows",
        scope=Scope.NOTE,
        table=checked.table.name,
        file=f"{checked.table.name}.csv",
        columns=checked.table.key,
        sentence="These rows are equal to an earlier row in every column; each was taken in once.",
        mend="Nothing need be done. If it happens often, look at how the export joins its tables.",
        rows_affected=rows.len(),
        first_rows=tuple(rows.head(FIRST_ROWS).to_list()),
        other_rows=tuple(others),
    )


def _not_checked(table: Table, rule: Rule) -> Finding:
    return Finding(
        code=f"{rule.code}.not_checked",
        scope=Scope.NOTE,
        table=table.name,
        file=f"{table.name}.csv",
        columns=rule.columns,
        sentence=f"Some rows refer to rows of {rule.to_table} that are not in this submission. As it holds changes "
        "only, they may be in an earlier one, which was not at hand here.",
        mend="Nothing need be done: the partnership's own check compares them with your earlier submissions.",
    )


def _typed(checked: Checked, keep: pl.Series) -> pl.DataFrame:
    """The rows that go on: agreed columns only, each in its contract's type.

    A cell that has not its form, where the agreement only notes that, counts as missing: it is emptied.
    """
    emptied: dict[str, pl.Series] = {}
    for fault in checked.faults.values():
        if fault.scope is Scope.NOTE and fault.rule is not None and fault.rule.kind in FORM_KINDS:
            name = fault.rule.columns[0]
            emptied[name] = emptied.get(name, none_of(checked.frame.height)) | fault.broken
    columns = [
        pl.when(~emptied[name]).then(value_of(checked.table, name)).alias(name)
        if name in emptied and name not in checked.table.key
        else value_of(checked.table, name).alias(name)
        for name in checked.table.column_names
    ]
    deletes = [DELETES] if DELETES in checked.frame.columns else []
    return checked.frame.select("_row", *columns, *deletes).filter(keep)
