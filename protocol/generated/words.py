"""What the agreement's own words mean, in plain ones: types, treatments, classifications, days."""

from collections.abc import Mapping, Sequence
from datetime import date

from protocol.model import (
    Agreement,
    Classification,
    CodeList,
    Column,
    ColumnType,
    Generalisation,
    OnFailure,
    Rule,
    RuleKind,
    Table,
    Treatment,
)
from protocol.pool import PERSON_REF, pool_columns
from protocol.rules import CODES_IN_A_SENTENCE
from protocol.versions import collected_codes

TYPES: Mapping[ColumnType, str] = {
    ColumnType.TEXT: "text",
    ColumnType.INTEGER: "whole number",
    ColumnType.DECIMAL: "number",
    ColumnType.DATE: "date",
    ColumnType.CODE: "code",
}

CLASSIFICATIONS: Mapping[Classification, str] = {
    Classification.DIRECT_IDENTIFIER: "direct identifier",
    Classification.QUASI_IDENTIFIER: "quasi-identifier",
    Classification.SPECIAL_CATEGORY: "special category data",
    Classification.OFFENCE: "criminal offence data",
    Classification.FREE_TEXT: "free text",
    Classification.OPERATIONAL: "operational data",
}

COARSER: Mapping[Generalisation, str] = {
    Generalisation.BIRTH_YEAR_BAND: "a five-year band of birth years, such as 1980-1984",
    Generalisation.MONTH: "the month",
    Generalisation.POSTCODE_DISTRICT: "the postcode district, such as LU1",
}

EFFECTS: Mapping[OnFailure, str] = {
    OnFailure.HOLD_BACK: "the row is held back",
    OnFailure.REFUSE: "the submission is refused",
    OnFailure.NOTE: "it is noted",
}


def day_in_words(day: date) -> str:
    """``1 January 2026``."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


# Not by strftime, whose words depend on the machine's language.
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def count_in_words(number: int, thing: str, things: str | None = None) -> str:
    """``1 day``, ``14 days``."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def what_to_write(column: Column, codelist: CodeList | None) -> str:
    """What a cell of the column holds, as a sentence or two for a person with a spreadsheet."""
    if column.type is ColumnType.DATE:
        return f"A date as year-month-day (yyyy-mm-dd){_limits(column, 'not before ', 'not after ')}."
    if column.type is ColumnType.INTEGER:
        return f"A whole number, digits only{_limits(column, 'at least ', 'at most ')}."
    if column.type is ColumnType.DECIMAL:
        return f"A number with a point before at most four decimals{_limits(column, 'at least ', 'at most ')}."
    if column.type is ColumnType.CODE:
        assert codelist is not None  # the loader refuses a code without its list
        codes = collected_codes(codelist)
        if len(codes) <= CODES_IN_A_SENTENCE:
            return f"One of the codes {', '.join(codes)}."
        return f"A code of the list {codelist.name} ({codelist.title})."
    if column.pattern is not None:
        form = column.form or "text in the agreed form"
        return f"{form[0].upper()}{form[1:]}; at most {column.max_length} characters."
    return f"Text of at most {column.max_length:,} characters."


def _limits(column: Column, least: str, most: str) -> str:
    parts = [f"{least}{column.minimum}"] if column.minimum is not None else []
    parts += [f"{most}{column.maximum}"] if column.maximum is not None else []
    return ", " + " and ".join(parts) if parts else ""


def need_in_words(column: Column) -> str:
    """Whether a cell may be empty."""
    return "Needed in every row." if column.required else "Leave the cell empty where it is not known."


def treatment_in_words(table: Table, column: Column) -> str:
    """What becomes of a column, as a person would want to be told."""
    compared = column.identifier is not None
    if column.treatment is Treatment.KEEP:
        told = "Kept as it is, beside a pseudonym." if table.person_column else "Kept as it is."
        return told + (" It also takes part in linkage as a keyed token." if compared else "")
    if column.treatment is Treatment.GENERALISE:
        assert column.generalisation is not None  # the loader refuses a generalised column without one
        told = f"Kept only as {COARSER[column.generalisation]}; the rest is deleted."
        return told + (" Before that, linkage compares it as a keyed token." if compared else "")
    if column.treatment is Treatment.PSEUDONYMISE:
        return "Replaced by a keyed pseudonym on arrival; the number itself is deleted."
    if column.treatment is Treatment.TOKENISE:
        return "Compared across partners as a keyed token, then deleted; no form of it is in the pool."
    return "Checked and deleted; nothing of it is kept."


def pool_form(table: Table, column: Column) -> tuple[str, str]:
    """The name that the column has in the pool and what stands there; two empty texts where nothing does."""
    if column.name == table.person_column:
        return PERSON_REF, "keyed pseudonym"
    for pooled in pool_columns(table):
        if pooled.source == column.name:
            if pooled.kind is Treatment.KEEP:
                return pooled.name, "as it is"
            if pooled.generalisation is not None:
                return pooled.name, COARSER[pooled.generalisation]
            return pooled.name, "keyed pseudonym"
    return "", ""


def codes_of(agreement_codelists: Sequence[CodeList], column: Column) -> CodeList | None:
    """The column's code list, or None where it holds no codes."""
    return next((codelist for codelist in agreement_codelists if codelist.name == column.codelist), None)


def used_codelists(codelists: Sequence[CodeList], tables: Sequence[Table]) -> tuple[CodeList, ...]:
    """The code lists that columns of the tables use, in order of their names."""
    used = {column.codelist for table in tables for column in table.columns}
    return tuple(sorted((codelist for codelist in codelists if codelist.name in used), key=lambda one: one.name))


def rule_in_words(rule: Rule) -> str:
    """The rule's figure, where its sentence has none, and its effect: ``at least 1 row; the submission is refused``."""
    figures = []
    if rule.kind is RuleKind.COMPLETENESS and rule.share is not None:
        figures.append(f"at least {rule.share:.0%} of the rows should have it")
    elif rule.kind is RuleKind.HELD_BACK_SHARE and rule.share is not None:
        figures.append(f"at most {rule.share:.0%} of the rows may be held back")
    elif rule.kind is RuleKind.ROW_COUNT:
        if rule.minimum is not None:
            figures.append(f"at least {count_in_words(int(rule.minimum), 'row')}")
        if rule.share is not None:
            figures.append(f"at least {rule.share:.0%} of the rows of the earlier submission")
    return "; ".join([*figures, EFFECTS[rule.on_failure]])


def purpose_titles(agreement: Agreement, column: Column) -> tuple[str, ...]:
    """Titles of the column's purposes, in the agreement's order."""
    return tuple(purpose.title for purpose in agreement.purposes if purpose.id in column.purposes)
