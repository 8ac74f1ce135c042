"""The rules of a table, each stated once: what is looked at, what happens, and how a data officer mends it.

A rule is the single source of the Polars check and of the Great Expectations suite; both take everything from the
:class:`protocol.model.Rule` and nothing from the column beside it. Sentences name tables and columns by their agreed
names, since that is what stands in the header of the officer's own file, and never quote a cell.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from protocol.conditions import read_condition
from protocol.errors import AgreementError
from protocol.model import (
    CodeList,
    Column,
    ColumnType,
    OnFailure,
    Reference,
    Rule,
    RuleKind,
    Table,
    Treatment,
)
from protocol.versions import collected_codes
from protocol.words import list_in_words

CODES_IN_A_SENTENCE = 12
"""As many codes as a sentence lists; a longer list is named instead."""


def rule_code(table: str, columns: Sequence[str], kind: RuleKind, name: str | None = None) -> str:
    """``table.column.kind``; columns of a rule over several are joined by ``+``; ``table.kind`` where it has none.

    A condition may have a ``name`` in the place of its columns, since several may speak of the same ones.
    """
    place = name or "+".join(columns)
    return ".".join([table, place, kind.value] if place else [table, kind.value])


def rules_of(table: Table, codelists: Mapping[str, CodeList], declared: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Every rule of ``table``: those that its columns, key and references imply, then the declared ones.

    ``table.rules`` is not looked at. Codes are resolved into ``Rule.codes``. AgreementError where two rules would have
    one code or a column names a code list that is missing.

    What breaking one does: a required, type, code, length, range, unique or reference rule holds rows back, a pattern
    rule does what the column says, a declared rule what it says itself.

    Unique: rows of one key that are equal in *every* agreed column count as one row, and nothing is held back. Where
    they differ, nobody but the partner can say which is right, so all rows of that key are held back.
    """
    rules: list[Rule] = []
    for column in table.columns:
        rules.extend(_column_rules(table, column, codelists))
    rules.append(_unique_rule(table))
    rules.extend(_reference_rule(table, reference) for reference in table.references)
    rules.extend(declared)
    seen: set[str] = set()
    for rule in rules:
        if rule.code in seen:
            raise AgreementError(f"table {table.name}: two rules have the code {rule.code}. Remove one of them.")
        seen.add(rule.code)
    return tuple(rules)


def _column_rules(table: Table, column: Column, codelists: Mapping[str, CodeList]) -> Iterable[Rule]:
    name = column.name

    def rule(kind: RuleKind, sentence: str, mend: str, **more: object) -> Rule:
        return Rule.model_validate(
            {
                "code": rule_code(table.name, (name,), kind),
                "kind": kind,
                "table": table.name,
                "columns": (name,),
                "type": column.type,
                "sentence": sentence,
                "mend": mend,
                "example": column.example,
                **more,
            }
        )

    if column.required:
        yield rule(
            RuleKind.REQUIRED,
            f"{name} is empty, and a row cannot be used without it.",
            _fill_in(table, column, codelists),
        )
    if column.type is ColumnType.INTEGER:
        yield rule(
            RuleKind.TYPE,
            f"{name} is not a whole number.",
            "Write digits only: no decimals, no thousands separator, no unit. Leave the cell empty if not known."
            if not column.required
            else "Write digits only: no decimals, no thousands separator, no unit.",
        )
    elif column.type is ColumnType.DECIMAL:
        yield rule(
            RuleKind.TYPE,
            f"{name} is not a number.",
            "Write digits with a point before the decimals, at most four of them: no currency sign, no thousands "
            "separator.",
        )
    elif column.type is ColumnType.DATE:
        yield rule(
            RuleKind.TYPE,
            f"{name} is not a date written as year-month-day.",
            f"Write four digits of the year, two of the month and two of the day, such as {column.example}. In Excel, "
            "give the column the custom format yyyy-mm-dd before saving as CSV.",
        )
    elif column.type is ColumnType.CODE:
        codelist = codelists.get(column.codelist or "")
        if codelist is None:
            raise AgreementError(f"table {table.name}: {name} names the code list {column.codelist}, which is missing.")
        yield rule(
            RuleKind.CODE,
            f"{name} is not one of the codes of the list {codelist.name} ({codelist.title}).",
            _use_codes(codelist),
            codelist=codelist.name,
            codes=collected_codes(codelist),
        )
    elif column.type is ColumnType.TEXT:
        if column.pattern is not None:
            form = column.form or "in the agreed form"
            noted = column.pattern_failure is OnFailure.NOTE
            yield rule(
                RuleKind.PATTERN,
                f"{name} is not {form}." + (" The row is kept, and this cell counts as missing." if noted else ""),
                f"Look it up in your own system and write {form}, such as {column.example}."
                + ("" if column.required else " Leave the cell empty if it is not known."),
                pattern=column.pattern,
                on_failure=column.pattern_failure,
            )
        yield rule(
            RuleKind.LENGTH,
            f"{name} is longer than {column.max_length} characters.",
            f"Shorten it to {column.max_length} characters or fewer, and check that no text of another column has run "
            "into it.",
            max_length=column.max_length,
        )
    if column.minimum is not None or column.maximum is not None:
        yield rule(
            RuleKind.RANGE,
            f"{name} is {_outside(column)}.",
            "Check the cell for a typing mistake, such as a wrong century or a missing point."
            if column.type is not ColumnType.INTEGER
            else "Check the cell for a typing mistake, such as a digit too many.",
            minimum=column.minimum,
            maximum=column.maximum,
        )


def _fill_in(table: Table, column: Column, codelists: Mapping[str, CodeList]) -> str:
    codelist = codelists.get(column.codelist or "")
    if codelist is not None and "unknown" in codelist.values:
        return f"Fill in {column.name}; write unknown where the question was asked and not answered."
    if column.name == table.person_column:
        return f"Fill in {column.name} with your own number of the client, as it is in person.csv."
    return f"Fill in {column.name}, or leave the row out if it is not a real record."


def _use_codes(codelist: CodeList) -> str:
    values = collected_codes(codelist)
    if len(values) <= CODES_IN_A_SENTENCE:
        codes = "one of: " + ", ".join(values)
    else:
        codes = f"a code of the list {codelist.name}, which is in your template"
    unknown = " Where the answer is not known, write unknown." if "unknown" in codelist.values else ""
    return f"Write {codes}. Codes are in small letters, without blanks before or after.{unknown}"


def _outside(column: Column) -> str:
    before, after = ("before", "after") if column.type is ColumnType.DATE else ("below", "above")
    parts = []
    if column.minimum is not None:
        parts.append(f"{before} {column.minimum}")
    if column.maximum is not None:
        parts.append(f"{after} {column.maximum}")
    return " or ".join(parts)


def _unique_rule(table: Table) -> Rule:
    key = list_in_words(table.key)
    return Rule(
        code=rule_code(table.name, table.key, RuleKind.UNIQUE),
        kind=RuleKind.UNIQUE,
        table=table.name,
        columns=table.key,
        sentence=f"Several rows have the same {key} and differ elsewhere, so that nobody here can tell which is right.",
        mend=f"Keep one row for each {key} and delete the others, or give each its own number if they are different "
        "records. Rows that are the same in every column count once and are no fault.",
        example=table.column(table.key[0]).example if len(table.key) == 1 else None,
    )


def _reference_rule(table: Table, reference: Reference) -> Rule:
    columns = list_in_words(reference.columns)
    return Rule(
        code=rule_code(table.name, reference.columns, RuleKind.REFERENCE),
        kind=RuleKind.REFERENCE,
        table=table.name,
        columns=reference.columns,
        to_table=reference.to_table,
        to_columns=reference.to_columns,
        sentence=f"{columns} is not found in {reference.to_table}.csv ({list_in_words(reference.to_columns)}).",
        mend=f"Add the missing row to {reference.to_table}.csv, or correct {columns} here. Look out for zeros that a "
        "spreadsheet has removed from the front of a number.",
        example=table.column(reference.columns[0]).example if len(reference.columns) == 1 else None,
    )


def declared_rule(
    table: Table,
    kind: RuleKind,
    columns: tuple[str, ...] = (),
    *,
    on_failure: OnFailure | None = None,
    share: float | None = None,
    minimum: str | None = None,
    other: tuple[str, str] | None = None,
    expression: str | None = None,
    name: str | None = None,
    sentence: str | None = None,
    mend: str | None = None,
) -> Rule:
    """A rule that the contract declares beside those that columns, key and references imply.

    ``sentence`` and ``mend`` default to plain ones; ``on_failure`` to holding rows back for a row rule, to a note for
    completeness, and to refusing for the row count and the held-back share. ``other``: table and column that a total
    or a date order across tables is compared with; :func:`join_rules` finds how both tables belong together.
    ``expression``: the condition, whose columns are worked out of it, and ``name``, which tells it from others over
    the same columns. KeyError where a column is not of the table, AgreementError for a faulty condition.
    """
    if kind is RuleKind.CONDITION:
        try:
            columns = read_condition(expression or "", table.columns)
        except AgreementError as error:
            raise AgreementError(f"table {table.name}: the condition {error}") from None
    for column in columns:
        table.column(column)
    told, put_right = _declared_sentences(table, kind, columns, other)
    return Rule(
        code=rule_code(table.name, columns, kind, name),
        kind=kind,
        table=table.name,
        columns=columns,
        on_failure=on_failure or _USUAL.get(kind, OnFailure.HOLD_BACK),
        type=table.column(columns[0]).type if columns else None,
        share=share,
        minimum=minimum,
        to_table=other[0] if other else None,
        to_columns=other[1:] if other else (),
        expression=expression,
        sentence=sentence or told,
        mend=mend or put_right,
        example=table.column(columns[-1]).example if columns and kind not in _WITHOUT_EXAMPLE else None,
    )


_WITHOUT_EXAMPLE = (RuleKind.COMPLETENESS, RuleKind.TOTAL, RuleKind.CONDITION)
"""No value of one column would pass by itself."""


def join_rules(
    tables: Sequence[Table], refuse: Callable[[Rule, AgreementError], None] | None = None
) -> tuple[Table, ...]:
    """The tables with every rule that compares two tables completed by how their rows belong together.

    A total adds up the rows that refer to the row; a date order across tables looks at the row that the row refers to.
    AgreementError where no reference leads from the one to the other, or a column is missing or of another type;
    ``refuse`` is told each of them instead, and the rule stays as it is.
    """
    by_name = {table.name: table for table in tables}

    def joined(rule: Rule, table: Table) -> Rule:
        try:
            return _joined(rule, table, by_name)
        except AgreementError as error:
            if refuse is None:
                raise
            refuse(rule, error)
            return rule

    return tuple(
        table.model_copy(update={"rules": tuple(joined(rule, table) for rule in table.rules)})
        if any(rule.kind in _ACROSS for rule in table.rules)
        else table
        for table in tables
    )


_ACROSS = {
    RuleKind.TOTAL: (ColumnType.INTEGER, ColumnType.DECIMAL),
    RuleKind.DATE_ORDER_ACROSS: (ColumnType.DATE,),
}


def _joined(rule: Rule, table: Table, by_name: Mapping[str, Table]) -> Rule:
    types = _ACROSS.get(rule.kind)
    if types is None:
        return rule
    other = by_name.get(rule.to_table or "")
    if other is None or rule.to_columns[0] not in other.column_names:
        raise AgreementError(f"rule {rule.code} looks at {rule.to_table}.{rule.to_columns[0]}, which is not there.")
    if table.column(rule.columns[0]).type not in types or other.column(rule.to_columns[0]).type not in types:
        raise AgreementError(f"rule {rule.code} needs two columns of type {' or '.join(types)}.")
    child, parent = (other, table) if rule.kind is RuleKind.TOTAL else (table, other)
    link = next((reference for reference in child.references if reference.to_table == parent.name), None)
    if link is None:
        raise AgreementError(
            f"rule {rule.code} needs to know which rows belong together: {child.name} has no reference to "
            f"{parent.name}. Give it a relationship."
        )
    own, there = (link.to_columns, link.columns) if rule.kind is RuleKind.TOTAL else (link.columns, link.to_columns)
    return rule.model_copy(update={"join": own, "to_join": there})


_USUAL = {
    RuleKind.COMPLETENESS: OnFailure.NOTE,
    RuleKind.ROW_COUNT: OnFailure.REFUSE,
    RuleKind.HELD_BACK_SHARE: OnFailure.REFUSE,
}


def _declared_sentences(
    table: Table, kind: RuleKind, columns: tuple[str, ...], other: tuple[str, str] | None
) -> tuple[str, str]:
    """Sentence and mend of a declared rule. The submission's own figures are added by whoever has them."""
    if kind is RuleKind.TOTAL and other:
        return (
            f"{columns[0]} is not the sum of {other[1]} in the rows of {other[0]}.csv that belong to it.",
            f"Add up {other[1]} in {other[0]}.csv for the same {list_in_words(table.key)} and correct what is wrong: "
            "the total here, or a row there that is wrong, missing or too many.",
        )
    if kind is RuleKind.DATE_ORDER_ACROSS and other:
        return (
            f"{columns[0]} lies before {other[1]} in {other[0]}.csv.",
            f"Compare both dates with your own system and correct the wrong one, here or in {other[0]}.csv.",
        )
    if kind is RuleKind.CONDITION:
        return (
            f"{list_in_words(columns)} do not go together as agreed.",
            "Compare the row with your own system and correct what is wrong.",
        )
    if kind is RuleKind.DATE_ORDER:
        earlier, later = columns
        return (
            f"{later} lies before {earlier}.",
            f"Compare both dates with your own system and correct the wrong one. Leave {later} empty if it has not "
            "happened yet.",
        )
    if kind is RuleKind.NOT_AFTER_EXTRACT:
        return (
            f"{columns[0]} lies after the day on which the extract was made.",
            "Correct the date; a plan or an appointment is not sent before it has happened.",
        )
    if kind is RuleKind.WITHIN_PERIOD:
        return (
            f"{columns[0]} does not lie in the period of this submission.",
            "Leave the row out here and send it with the period in which its date lies: as a correction if that period "
            "has been sent already.",
        )
    if kind is RuleKind.COMPLETENESS:
        dropped = table.column(columns[0]).treatment is Treatment.TOKENISE
        return (
            f"Too many rows of {table.name} have nothing in {columns[0]}."
            + (" Without it fewer people can be recognised across partners." if dropped else ""),
            f"Check that your export includes {columns[0]} for all clients and teams, and ask for it where it is not "
            "recorded.",
        )
    if kind is RuleKind.HELD_BACK_SHARE:
        return (
            f"Too many rows of {table.name} had to be held back for the rest to be a fair picture.",
            "Mend the faults listed for this table, those with the most rows first, and send the submission again.",
        )
    if kind is RuleKind.ROW_COUNT:
        return (
            f"{table.name} has fewer rows than agreed.",
            f"Check that the export was complete. If there was nothing to send, name {table.name} as nil in the "
            "manifest.",
        )
    raise AgreementError(f"table {table.name}: {kind.value} is implied by columns and keys and cannot be declared.")
