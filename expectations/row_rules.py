"""Row rules as Polars expressions over frames of text: which rows go on, which are held back, and why.

All rules of a table are compiled to Boolean expressions (true = broken) and evaluated together, in columns; only cells
that broke a rule are looked at again, to name a likely cause.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from expectations.causes import causes_of, name_cause
from expectations.forms import POLARS_TYPES, read_cell
from expectations.result import HELD_BACK_SCHEMA, CheckContext, CheckResult, Kind, TableCounts
from expectations.submission_rules import FIRST_ROWS, figure_finding, work_out_figures
from protocol.errors import AgreementError, DefectFound
from protocol.finding import Finding, Scope
from protocol.model import CodeList, Contract, OnFailure, Rule, RuleKind, Table

# Names of working columns. Agreed names start with a letter, so none of these can meet one of them.
_READ = "~"
_BROKEN = "!"
_DELETES = "_delete"

_WORDS_FOR_DELETE = ("yes", "true", "1", "y")
_WORDS_FOR_KEEP = ("no", "false", "0", "n")
_KEY_KINDS = frozenset(
    {RuleKind.REQUIRED, RuleKind.TYPE, RuleKind.CODE, RuleKind.PATTERN, RuleKind.LENGTH, RuleKind.UNIQUE}
)

_FORM_KINDS = frozenset({RuleKind.TYPE, RuleKind.CODE, RuleKind.PATTERN})


@dataclass(frozen=True)
class _Fault:
    """One rule and one variant of how it was broken. ``rule`` is None for what no rule of the agreement states."""

    code: str
    table: Table
    scope: Scope
    columns: tuple[str, ...]
    sentence: str
    mend: str
    example: str | None
    broken: pl.Series
    """Boolean, one entry a row."""
    rule: Rule | None = None


@dataclass
class _Checked:
    """A table on its way through the check."""

    table: Table
    frame: pl.DataFrame
    """Columns as text, as read (``~name``), ``_row``, ``_delete`` as Boolean where there is one."""
    faults: dict[str, _Fault] = field(default_factory=dict)
    """Fault by a name of its own; references are set anew until nothing changes."""
    repeats: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.Boolean))
    """Rows that are wholly equal to an earlier one."""

    @property
    def deletes(self) -> pl.Series:
        if _DELETES in self.frame.columns:
            return self.frame[_DELETES]
        return _none(self.frame.height)

    @property
    def held_back(self) -> pl.Series:
        held = _none(self.frame.height)
        for fault in self.faults.values():
            if fault.scope is not Scope.NOTE:
                held = held | fault.broken
        return held


def _none(height: int) -> pl.Series:
    return pl.repeat(False, height, dtype=pl.Boolean, eager=True)


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
    whose parent row was held back is held back with it, under the reference's code with ``.held_back``.

    Raises AgreementError where a rule cannot be compiled and DefectFound where a frame has not the agreed columns.
    """
    checked: dict[str, _Checked] = {}
    for table in contract.tables:
        if table.name in tables:
            checked[table.name] = _check_table(table, tables[table.name], codelists, manifest_context)
    unchecked = _follow_references(checked, contract, manifest_context)
    return _conclude(checked, contract, manifest_context, unchecked)


# --- one table --------------------------------------------------------------------------------------------------------


def _check_table(table: Table, frame: pl.DataFrame, codelists: Sequence[CodeList], context: CheckContext) -> _Checked:
    """Every rule of one table but its references."""
    missing = [name for name in ("_row", *table.column_names) if name not in frame.columns]
    if missing:
        raise DefectFound(f"The frame of table {table.name} came without the columns {', '.join(missing)}.")
    _demand_type_rules(table)
    rules = [rule for rule in table.rules if rule.is_row_rule and rule.kind is not RuleKind.REFERENCE]
    work = frame.select("_row", *table.column_names, *_read_deletes(frame))
    work = work.with_columns(
        read_cell(column.name, column.type).alias(_READ + column.name)
        for column in table.columns
        if POLARS_TYPES[column.type] != pl.String
    )
    expressions = {
        rule.code: compile_rule(rule, table, codelists, context) for rule in rules if rule.kind is not RuleKind.UNIQUE
    }
    if _DELETES in work.columns:
        deletes = pl.col(_DELETES)
        on_key = {rule.code for rule in rules if rule.kind in _KEY_KINDS and set(rule.columns) <= set(table.key)}
        expressions = {code: (x if code in on_key else x & ~deletes) for code, x in expressions.items()}
    try:
        broken = work.select(expression.fill_null(False).alias(code) for code, expression in expressions.items())
    except pl.exceptions.ComputeError:
        # The engine's message could quote a cell; what a rule lacks is found without one.
        raise AgreementError(_unusable_pattern(rules)) from None

    result = _Checked(table, work, repeats=_none(work.height))
    for rule in rules:
        if rule.kind is RuleKind.UNIQUE:
            _check_unique(result, rule)
        elif rule.kind in _FORM_KINDS:
            _add_by_cause(result, rule, broken[rule.code], codelists)
        else:
            _add(result, rule, broken[rule.code])
    _check_deletes(result, frame)
    return result


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


def _value(table: Table, name: str) -> pl.Expr:
    """The cell as read, null where it could not be."""
    return pl.col(_READ + name if POLARS_TYPES[table.column(name).type] != pl.String else name)


def _readable(table: Table, name: str) -> pl.Expr:
    """True where the cell has its type and is one of its codes: other rules are tried on such cells only."""
    column = table.column(name)
    if POLARS_TYPES[column.type] != pl.String:
        return pl.col(_READ + name).is_not_null()
    codes = [rule.codes for rule in table.rules if rule.kind is RuleKind.CODE and rule.columns == (name,)]
    return pl.col(name).is_in(codes[0]) if codes else pl.lit(True)


def compile_rule(rule: Rule, table: Table, codelists: Sequence[CodeList], context: CheckContext) -> pl.Expr:
    """The rule as a Boolean expression, true (never null where decided) for the rows that break it.

    It reads the table's text columns by name and, where a column is a number or a date, its read form ``~name``. Keys
    and references are decided over whole tables and have no expression. Raises AgreementError for a rule that lacks
    what its kind needs.
    """
    if not rule.columns:
        raise AgreementError(f"Rule {rule.code} names no column.")
    name = rule.columns[0]
    text, value = pl.col(name), _value(table, name)
    match rule.kind:
        case RuleKind.REQUIRED:
            return pl.any_horizontal(pl.col(column).is_null() for column in rule.columns)
        case RuleKind.TYPE:
            return text.is_not_null() & value.is_null()
        case RuleKind.CODE:
            return text.is_not_null() & (~text.is_in(rule.codes) | _out_of_force(rule, table, codelists, context))
        case RuleKind.PATTERN if rule.pattern is not None:
            return _readable(table, name) & ~text.str.contains(_whole(rule.pattern))
        case RuleKind.LENGTH if rule.max_length is not None:
            return _readable(table, name) & (text.str.len_chars() > rule.max_length)
        case RuleKind.RANGE:
            low, high = (_limit(rule, table, limit) for limit in (rule.minimum, rule.maximum))
            if low is None and high is None:
                raise AgreementError(f"Rule {rule.code} gives no limit.")
            below = pl.lit(False) if low is None else value < low
            return below | (pl.lit(False) if high is None else value > high)
        case RuleKind.DATE_ORDER if len(rule.columns) == 2:
            return _value(table, rule.columns[1]) < value
        case RuleKind.NOT_AFTER_EXTRACT:
            return pl.any_horizontal(_value(table, column) > context.extracted_on for column in rule.columns)
        case RuleKind.WITHIN_PERIOD:
            starts, ends = context.period.starts, context.period.ends
            return pl.any_horizontal(~_value(table, column).is_between(starts, ends) for column in rule.columns)
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


def _out_of_force(rule: Rule, table: Table, codelists: Sequence[CodeList], context: CheckContext) -> pl.Expr:
    """True for agreed codes that were not in force on the row's event date.

    Where the table has no event date, a code has to be in force on some day of the period.
    """
    entries = [entry for codelist in codelists if codelist.name == rule.codelist for entry in codelist.codes]
    outside = pl.lit(False)
    for entry in entries:
        if entry.valid_from is None and entry.valid_to is None:
            continue
        if table.event_date is None:
            late = entry.valid_from is not None and entry.valid_from > context.period.ends
            early = entry.valid_to is not None and entry.valid_to < context.period.starts
            missed = pl.lit(late or early)
        else:
            on = _value(table, table.event_date)
            missed = pl.lit(False) if entry.valid_from is None else on < entry.valid_from
            missed = missed if entry.valid_to is None else missed | (on > entry.valid_to)
        outside = outside | ((pl.col(rule.columns[0]) == entry.code) & missed.fill_null(False))
    return outside


# --- faults -----------------------------------------------------------------------------------------------------------


def _scope(rule: Rule) -> Scope:
    return {OnFailure.HOLD_BACK: Scope.ROW, OnFailure.REFUSE: Scope.SUBMISSION, OnFailure.NOTE: Scope.NOTE}[
        rule.on_failure
    ]


def _add(checked: _Checked, rule: Rule, broken: pl.Series, cause: str = "", hint: str = "") -> None:
    """Note the rows that break a rule.

    ``hint`` is what the likely cause says on mending. It stands in place of the rule's own words where a cell cannot be
    read, since it says the same more narrowly, and before them elsewhere.
    """
    name = f"{rule.code} {cause}"
    if not broken.any():
        checked.faults.pop(name, None)
        return
    mend = hint if hint and rule.kind is RuleKind.TYPE else f"{hint} {rule.mend}".strip()
    checked.faults[name] = _Fault(
        rule.code, checked.table, _scope(rule), rule.columns, rule.sentence, mend, rule.example, broken, rule
    )


def _add_by_cause(checked: _Checked, rule: Rule, broken: pl.Series, codelists: Sequence[CodeList]) -> None:
    """Note the rows that break a rule apart by the likely cause, since each cause is mended in its own way."""
    if not broken.any():
        return
    labels = tuple(e.label for codelist in codelists if codelist.name == rule.codelist for e in codelist.codes)
    causes = causes_of(rule, labels)
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
            mask = _none(checked.frame.height).scatter(rows.filter(of_cause), True)
            _add(checked, rule, mask, cause or "", hints[cause] if cause is not None else "")


def _check_unique(checked: _Checked, rule: Rule) -> None:
    """Rows of one key: all but the first are left out where they are wholly equal, else all are held back."""
    table, frame = checked.table, checked.frame
    keys = [f"k{index}" for index in range(len(rule.columns))]
    parts = frame.select(_value(table, column).alias(key) for key, column in zip(keys, rule.columns, strict=True))
    # A key with an empty or unreadable part is told as such and cannot be compared.
    whole = parts.select(pl.all_horizontal(pl.all().is_not_null()))[:, 0]
    doubled = (parts[keys[0]] if len(keys) == 1 else parts.to_struct()).is_duplicated() & whole
    if not doubled.any():
        return
    rows = doubled.arg_true()
    compared = [*table.column_names, *([_DELETES] if _DELETES in frame.columns else [])]
    groups = frame[rows].select(
        *(parts[key].gather(rows).alias(f"{_READ}{key}") for key in keys), pl.struct(compared).alias("cells")
    )
    over = [f"{_READ}{key}" for key in keys]
    groups = groups.select(
        equal=pl.col("cells").n_unique().over(over) == 1,
        again=pl.int_range(pl.len()).over(over) > 0,
    )
    _add(checked, rule, _none(frame.height).scatter(rows.filter(~groups["equal"]), True))
    again = rows.filter(groups["equal"] & groups["again"])
    checked.repeats = checked.repeats | _none(frame.height).scatter(again, True)


def _read_deletes(frame: pl.DataFrame) -> list[pl.Expr]:
    if _DELETES not in frame.columns:
        return []
    if frame.schema[_DELETES] == pl.Boolean:
        return [pl.col(_DELETES).fill_null(False)]
    return [pl.col(_DELETES).str.to_lowercase().is_in(_WORDS_FOR_DELETE).fill_null(False)]


def _check_deletes(checked: _Checked, frame: pl.DataFrame) -> None:
    if _DELETES not in frame.columns or frame.schema[_DELETES] == pl.Boolean:
        return
    understood = frame[_DELETES].str.to_lowercase().is_in([*_WORDS_FOR_DELETE, *_WORDS_FOR_KEEP])
    broken = ~understood.fill_null(True)
    if broken.any():
        checked.faults[_DELETES] = _Fault(
            f"{checked.table.name}._delete.code",
            checked.table,
            Scope.ROW,
            (_DELETES,),
            "The column _delete says whether a row is to be deleted; these cells are neither yes nor no.",
            "Write yes to delete the row with this key, or leave the cell empty.",
            "yes",
            broken,
        )


# --- references -------------------------------------------------------------------------------------------------------


def _follow_references(
    checked: dict[str, _Checked], contract: Contract, context: CheckContext
) -> list[tuple[Table, Rule]]:
    """Hold back rows whose parents are unknown or held back, until nothing changes; answers what was undecidable.

    Tables come parents before children, so one round is enough unless a table refers to itself or back.
    """
    undecided: list[tuple[Table, Rule]] = []
    tried: dict[str, int | None] = {}
    rules = [(table, r) for table in contract.tables for r in table.rules if r.kind is RuleKind.REFERENCE]
    changed = True
    while changed:
        changed = False
        for table, rule in rules:
            if table.name not in checked or rule.to_table is None:
                continue
            parent = checked.get(rule.to_table)
            held = None if parent is None else int(parent.held_back.sum())
            if rule.code in tried and tried[rule.code] == held:
                continue
            tried[rule.code] = held
            changed = True
            if not _check_reference(checked[table.name], parent, rule, contract, context):
                undecided.append((table, rule))
    return list(dict.fromkeys(undecided)) if undecided else []


def _check_reference(
    child: _Checked, parent: _Checked | None, rule: Rule, contract: Contract, context: CheckContext
) -> bool:
    """Set the faults of one reference anew; False where unknown keys could not be told."""
    to_table = contract.table(rule.to_table or "")
    keys = [f"k{index}" for index in range(len(rule.columns))]
    wanted = child.frame.select(_key_parts(child.table, rule.columns, keys))
    asked = wanted.select(pl.all_horizontal(pl.all().is_not_null()))[:, 0] & ~child.deletes
    states = pl.DataFrame(schema={**dict.fromkeys(keys, pl.String), "state": pl.Int8})
    if parent is not None:
        present = parent.frame.select(*_key_parts(to_table, rule.to_columns, keys))
        # 2: goes on, 1: held back, 0: deleted by this very submission.
        state = pl.when(parent.held_back).then(1).when(parent.deletes).then(0).otherwise(2).cast(pl.Int8).alias("state")
        states = present.with_columns(state).drop_nulls().group_by(keys).agg(pl.col("state").max())
    found = wanted.join(states, on=keys, how="left", maintain_order="left")["state"]
    open_ = asked & (found.is_null() | (found == 1).fill_null(False))
    decided = True
    if context.kind == Kind.DELTA and open_.any():
        known = _find_known(wanted.filter(open_).unique(), rule, to_table, keys, context)
        decided = known is not None
        if known is None:
            # Nothing is at hand to tell an unknown key from one of an earlier submission.
            open_ = open_ & found.is_not_null()
        else:
            of_old = wanted.join(known.with_columns(old=True), on=keys, how="left", maintain_order="left")["old"]
            open_ = open_ & ~of_old.fill_null(False)
    deleted = asked & (found == 0).fill_null(False)
    behind_held = open_ & (found == 1).fill_null(False)
    _add(child, rule, (open_ & found.is_null()) | deleted)
    name = f"{rule.code} held_back"
    if behind_held.any():
        child.faults[name] = _Fault(
            f"{rule.code}.held_back",
            child.table,
            Scope.NOTE if rule.on_failure is OnFailure.NOTE else Scope.ROW,
            rule.columns,
            f"These rows belong to rows of {to_table.name}.csv that were held back, so they wait with them.",
            f"Nothing need be wrong with these rows themselves. Mend the rows of {to_table.name}.csv that were held "
            "back and send again: these then go through with them.",
            None,
            behind_held,
            rule,
        )
    else:
        child.faults.pop(name, None)
    return decided


def _key_parts(table: Table, columns: Sequence[str], keys: Sequence[str]) -> list[pl.Expr]:
    """Key columns as comparable text: a number is written in one way only."""
    return [_value(table, column).cast(pl.String).alias(key) for key, column in zip(keys, columns, strict=True)]


def _find_known(
    wanted: pl.DataFrame, rule: Rule, to_table: Table, keys: list[str], context: CheckContext
) -> pl.DataFrame | None:
    """Which of the wanted keys are in force from earlier submissions; None where nothing at hand can tell."""
    earlier = context.known_keys.get(to_table.name)
    if earlier is None and context.find_known_keys is None:
        return None
    found: list[pl.DataFrame] = []
    if earlier is not None:
        found.append(known_as_text(earlier, to_table, rule.to_columns, keys))
    if context.find_known_keys is not None:
        asked = wanted.rename(dict(zip(keys, rule.to_columns, strict=True)))
        found.append(wanted.filter(context.find_known_keys(to_table.name, asked)))
    return pl.concat(found).unique()


def known_as_text(
    frame: pl.DataFrame, table: Table, columns: Sequence[str], names: Sequence[str], *, drop_empty: bool = True
) -> pl.DataFrame:
    """Key columns, text or typed, as text in the one form in which keys are compared; rows with an empty part go."""
    frame = frame.select(pl.col(column).alias(name) for column, name in zip(columns, names, strict=True))
    types = [table.column(column).type for column in columns]
    read = [
        read_cell(name, type_) if frame.schema[name] == pl.String else pl.col(name)
        for name, type_ in zip(names, types, strict=True)
    ]
    keys = frame.select(part.cast(pl.String) for part in read)
    return keys.drop_nulls() if drop_empty else keys


# --- the conclusion ---------------------------------------------------------------------------------------------------


def _conclude(
    checked: dict[str, _Checked],
    contract: Contract,
    context: CheckContext,
    undecided: list[tuple[Table, Rule]],
) -> CheckResult:
    findings: list[Finding] = []
    held_lists: list[pl.DataFrame] = []
    accepted: dict[str, pl.DataFrame] = {}
    counts: dict[str, TableCounts] = {}
    for name, one in checked.items():
        held = one.held_back
        left_out = one.repeats & ~held
        faults = _in_order(one)
        findings.extend(_finding(fault, one.frame["_row"]) for fault in faults)
        held_lists.extend(_held_lines(fault, one.frame["_row"]) for fault in faults if fault.scope is not Scope.NOTE)
        if left_out.any():
            findings.append(_repeated(one, left_out))
        accepted[name] = _typed(one, ~held & ~left_out)
        counts[name] = TableCounts(one.frame.height, accepted[name].height, int(held.sum()), int(left_out.sum()))
    findings.extend(_not_checked(table, rule) for table, rule in undecided)
    received = {name: count.received for name, count in counts.items()}
    held_counts = {name: count.held_back for name, count in counts.items()}
    for figure in work_out_figures(accepted, received, held_counts, contract, context):
        if not figure.holds:
            findings.append(figure_finding(figure, context))
    refused = any(finding.scope in (Scope.SUBMISSION, Scope.FILE) for finding in findings)
    order = {name: place for place, name in enumerate(contract.table_names)}
    held_back = pl.concat([HELD_BACK_SCHEMA.to_frame(), *held_lists])
    place = pl.col("table").replace_strict(order, return_dtype=pl.Int64)
    return CheckResult(
        accepted={} if refused else accepted,
        held_back=held_back.sort([place, pl.col("row"), pl.col("rule")], maintain_order=True),
        findings=tuple(findings),
        refused=refused,
        counts=counts,
    )


def _in_order(checked: _Checked) -> list[_Fault]:
    """Faults in the order of the table's rules."""
    places = {rule.code: place for place, rule in enumerate(checked.table.rules)}
    return sorted(checked.faults.values(), key=lambda fault: places.get(fault.rule.code if fault.rule else "", -1))


def _finding(fault: _Fault, rows: pl.Series) -> Finding:
    broken = rows.filter(fault.broken).sort()
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
        first_rows=tuple(broken.head(FIRST_ROWS).to_list()),
    )


def _held_lines(fault: _Fault, rows: pl.Series) -> pl.DataFrame:
    return (
        rows.filter(fault.broken)
        .to_frame("row")
        .select(table=pl.lit(fault.table.name), row=pl.col("row"), rule=pl.lit(fault.code), mend=pl.lit(fault.mend))
    )


def _repeated(checked: _Checked, left_out: pl.Series) -> Finding:
    rows = checked.frame["_row"].filter(left_out).sort()
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


def _typed(checked: _Checked, keep: pl.Series) -> pl.DataFrame:
    """The rows that go on: agreed columns only, each in its contract's type.

    A cell that has not its form, where the agreement only notes that, counts as missing: it is emptied.
    """
    emptied: dict[str, pl.Series] = {}
    for fault in checked.faults.values():
        if fault.scope is Scope.NOTE and fault.rule is not None and fault.rule.kind in _FORM_KINDS:
            name = fault.rule.columns[0]
            emptied[name] = emptied.get(name, _none(checked.frame.height)) | fault.broken
    columns = [
        pl.when(~emptied[name]).then(_value(checked.table, name)).alias(name)
        if name in emptied and name not in checked.table.key
        else _value(checked.table, name).alias(name)
        for name in checked.table.column_names
    ]
    deletes = [_DELETES] if _DELETES in checked.frame.columns else []
    return checked.frame.select("_row", *columns, *deletes).filter(keep)
