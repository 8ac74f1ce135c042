"""An extract whose identifiers became inner tokens at the partner's own site: what it holds, and what can be checked.

Such a drop has one CSV file for each agreed table with these columns, and nothing besides:

- ``_number``: the row's number in the partner's own file, by which a receipt speaks of it;
- ``row_key`` and, where rows are about a person, ``person_ref``: inner tokens of 64 hexadecimal digits;
- ``_parent_1`` and so on, one for each reference of the table: the inner token of the row that is referred to, which is
  that row's ``row_key``;
- the columns of the pool (:func:`protocol.pool.pool_columns`): kept as they are, generalised already, and a partner's
  own numbers as inner tokens;
- ``_delete`` in a delta.

Beside the tables lie :data:`MATCH_KEYS`, :data:`ENCODINGS` and :data:`FINDINGS`. The manifest has the entry
``pseudonymised``.

:func:`contract_at_hub` states the tables as a contract of their own, so that the hub reads and checks them as it does
any others.
"""

from collections.abc import Iterator, Mapping, Sequence

from protocol.finding import Finding, Scope
from protocol.model import (
    Classification,
    CodeList,
    Column,
    ColumnType,
    Contract,
    Generalisation,
    OnFailure,
    Reference,
    Rule,
    RuleKind,
    Table,
    Treatment,
)
from protocol.pool import PERSON_REF, ROW_KEY, PoolColumn, pool_columns

FORMAT = 1
"""Of the whole drop; a hub takes its own only."""

MATCH_KEYS = "match_keys.csv"
"""``person_ref``, ``key_name``, ``token``: inner tokens for finding pairs."""
ENCODINGS = "encodings.csv"
"""``person_ref`` and for each set of tokens base64 of its inner blocks, 16 bytes each, one after the other."""
FINDINGS = "source_findings.csv"
"""What the check at the source held back or noted: ``code``, ``scope``, ``table``, ``rows``, ``first_rows``."""
BESIDE_TABLES = (MATCH_KEYS, ENCODINGS, FINDINGS)

NUMBER = "_number"
TOKEN = "[0-9a-f]{64}"  # noqa: S105 - a form, not a secret
FINDING_COLUMNS = ("code", "scope", "table", "rows", "first_rows")
WAITING = ".held_back"
"""Ends the code of rows that wait for the rows that they refer to."""

_BAND = "[12][0-9]{3}-[12][0-9]{3}"
_DISTRICT = "[A-Z]{1,2}[0-9][A-Z0-9]?"
_MONTH = "[0-9]{4}-[0-9]{2}-01"
_FORMS = {
    Generalisation.BIRTH_YEAR_BAND: (_BAND, "a band of birth years"),
    Generalisation.POSTCODE_DISTRICT: (_DISTRICT, "the district of a postcode"),
    Generalisation.MONTH: (_MONTH, "the first day of a month"),
}
_OF_ONE_ROW = frozenset(
    {
        RuleKind.REQUIRED,
        RuleKind.TYPE,
        RuleKind.CODE,
        RuleKind.PATTERN,
        RuleKind.LENGTH,
        RuleKind.RANGE,
        RuleKind.DATE_ORDER,
        RuleKind.NOT_AFTER_EXTRACT,
        RuleKind.WITHIN_PERIOD,
        RuleKind.CONDITION,
        RuleKind.COMPLETENESS,
    }
)
"""Kinds of rules that the hub asks again where every column of theirs is kept. Sums and dates across tables are not
among them: rows that were held back at the source are missing from them."""


def parent_column(number: int) -> str:
    """Column with the row that a row refers to; ``number`` counts the table's references from 1."""
    return f"_parent_{number}"


def contract_at_hub(contract: Contract) -> Contract:
    """The tables of ``contract`` as they come from a partner that pseudonymises at its own site.

    Its rules keep their codes. What has not the form of a token or of a generalised value refuses the submission.
    Names of its own columns begin with ``_``, which no agreed name does.
    """
    return Contract.model_construct(
        version=contract.version, tables=tuple(_table_at_hub(table) for table in contract.tables)
    )


def _table_at_hub(table: Table) -> Table:
    columns = [_column(NUMBER, ColumnType.INTEGER, "12"), _token(ROW_KEY)]
    columns += [_token(PERSON_REF)] if table.person_column else []
    columns += [_token(parent_column(number)) for number in range(1, len(table.references) + 1)]
    columns += [_pool_column(table, column) for column in pool_columns(table)]
    kept = {column.name for column in pool_columns(table) if column.kind is Treatment.KEEP}
    references = tuple(
        Reference.model_construct(columns=(parent_column(number),), to_table=reference.to_table, to_columns=(ROW_KEY,))
        for number, reference in enumerate(table.references, start=1)
    )
    return table.model_copy(
        update={
            "columns": tuple(columns),
            "key": (ROW_KEY,),
            "person_column": PERSON_REF if table.person_column else None,
            "event_date": table.event_date if table.event_date in kept else None,
            "references": references,
            "rules": tuple(_rules_at_hub(table, kept, columns)),
        }
    )


def _rules_at_hub(table: Table, kept: set[str], columns: Sequence[Column]) -> Iterator[Rule]:
    yield _form_rule(table, columns[0], RuleKind.REQUIRED)
    yield _form_rule(table, columns[0], RuleKind.TYPE)
    yield _form_rule(table, columns[1], RuleKind.REQUIRED)
    if any(column.name == table.person_column and column.required for column in table.columns):
        yield _form_rule(table, columns[2], RuleKind.REQUIRED)
    for column in columns[1:]:
        if column.pattern is not None and column.name not in kept:
            if column.type is ColumnType.DATE:
                yield _form_rule(table, column, RuleKind.TYPE)
            else:
                yield _form_rule(table, column, RuleKind.PATTERN)
    places = {reference.columns: number for number, reference in enumerate(table.references, start=1)}
    for rule in table.rules:
        if rule.kind is RuleKind.UNIQUE:
            yield rule.model_copy(update={"columns": (ROW_KEY,)})
        elif rule.kind is RuleKind.REFERENCE:
            yield rule.model_copy(update={"columns": (parent_column(places[rule.columns]),), "to_columns": (ROW_KEY,)})
        elif rule.kind is RuleKind.ROW_COUNT or (rule.kind in _OF_ONE_ROW and set(rule.columns) <= kept):
            yield rule


def _form_rule(table: Table, column: Column, kind: RuleKind) -> Rule:
    return Rule.model_construct(
        code=f"{table.name}.{column.name}.{kind.value}",
        kind=kind,
        table=table.name,
        columns=(column.name,),
        on_failure=OnFailure.REFUSE,
        type=column.type,
        pattern=column.pattern,
        sentence=f"{column.name} does not have the form in which `linkarms pseudonymise` writes it.",
        mend="Pseudonymise the extract again and drop the file that it makes, unchanged.",
        example=None,
    )


def _column(name: str, type_: ColumnType, example: str, pattern: str | None = None) -> Column:
    return Column.model_construct(
        name=name,
        label=name,
        description=name,
        type=type_,
        treatment=Treatment.PSEUDONYMISE,
        classification=Classification.OPERATIONAL,
        purposes=(),
        why="",
        pattern=pattern,
        example=example,
    )


def _token(name: str) -> Column:
    return _column(name, ColumnType.TEXT, "0" * 64, TOKEN)


def _pool_column(table: Table, column: PoolColumn) -> Column:
    if column.kind is Treatment.KEEP:
        return table.column(column.source)
    if column.generalisation is not None:
        pattern, label = _FORMS[column.generalisation]
        return _column(column.name, column.type, label, pattern)
    return _token(column.name)


def month_columns(table: Table) -> tuple[str, ...]:
    """The pool's columns that hold months; a day in them that is not the first has not been generalised."""
    return tuple(column.name for column in pool_columns(table) if column.generalisation is Generalisation.MONTH)


def codelists_at_hub(codelists: Sequence[CodeList]) -> tuple[CodeList, ...]:
    """The lists without dates. On which day a code was in force is decided where the day is known: at the source."""
    return tuple(
        codelist.model_copy(
            update={
                "codes": tuple(
                    code.model_copy(update={"valid_from": None, "valid_to": None}) for code in codelist.codes
                )
            }
        )
        for codelist in codelists
    )


def left_to_source(contract: Contract) -> int:
    """How many rules of ``contract`` only the source can tell."""
    asked = {rule.code for table in contract_at_hub(contract).tables for rule in table.rules}
    asked |= {rule.code for table in contract.tables for rule in table.rules if rule.kind is RuleKind.HELD_BACK_SHARE}
    return sum(rule.code not in asked for table in contract.tables for rule in table.rules)


# --- findings ---------------------------------------------------------------------------------------------------------


def say_in_agreed_words(findings: Sequence[Finding], contract: Contract) -> tuple[Finding, ...]:
    """Findings by :func:`contract_at_hub` with the columns that the partner's own file has."""
    columns = {rule.code: rule.columns for table in contract.tables for rule in table.rules}
    return tuple(
        finding.model_copy(
            update={"columns": columns.get(finding.code, columns.get(finding.code.removesuffix(WAITING), ()))}
        )
        if any(name.startswith("_") or name == ROW_KEY for name in finding.columns)
        else finding
        for finding in findings
    )


def findings_of_source(told: Sequence[Mapping[str, object]], contract: Contract) -> tuple[Finding, ...]:
    """Findings that the check at the source made, from their codes and row numbers (:data:`FINDING_COLUMNS`).

    Every word comes from ``contract``, none from the drop; what has no rule there is told by its number alone.
    ``told`` has ``rows`` as int, ``first_rows`` as a tuple of int and ``scope`` as Scope.
    """
    rules = {rule.code: rule for table in contract.tables for rule in table.rules}
    findings: list[Finding] = []
    others = 0
    for each in told:
        code, scope = str(each["code"]), each["scope"]
        rows, first_rows = each["rows"], each["first_rows"]
        waits = code.endswith(WAITING)
        rule = rules.get(code.removesuffix(WAITING))
        if rule is None or scope not in (Scope.ROW, Scope.NOTE) or (waits and rule.kind is not RuleKind.REFERENCE):
            others += 1
            continue
        sentence, mend = rule.sentence, rule.mend
        if waits:
            sentence = f"These rows belong to rows of {rule.to_table}.csv that were held back, so they wait with them."
            mend = f"Mend the rows of {rule.to_table}.csv that were held back; these then go through with them."
        findings.append(
            Finding.model_validate(
                {
                    "code": code,
                    "scope": scope,
                    "table": rule.table,
                    "file": f"{rule.table}.csv",
                    "columns": rule.columns,
                    "sentence": sentence,
                    "mend": mend,
                    "example": None if waits else rule.example,
                    "rows_affected": rows,
                    "first_rows": first_rows,
                }
            )
        )
    if others:
        findings.append(
            Finding(
                code="source.other_findings",
                scope=Scope.NOTE,
                sentence=f"The check at your own site told {others} more, which concern the form of your files.",
                mend="They are in the receipt that `linkarms pseudonymise` wrote there.",
            )
        )
    return tuple(findings)
