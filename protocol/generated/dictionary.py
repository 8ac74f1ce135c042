"""The data dictionary of one version: columns, codes and rules as CSV."""

from protocol.generated.csv_text import write_csv
from protocol.generated.versions import AgreedVersion
from protocol.generated.words import (
    CLASSIFICATIONS,
    TYPES,
    codes_of,
    pool_form,
    purpose_titles,
    rule_in_words,
    treatment_in_words,
    used_codelists,
    what_to_write,
)
from protocol.model import Agreement, Column, Table
from protocol.words import list_in_words


def dictionary_csv(agreement: Agreement, version: AgreedVersion) -> bytes:
    """A row for each column."""
    headings = ("table", "column", "label", "description", "type", "code list", "what to write", "needed", "key",
                "refers to", "example", "classification", "purposes", "why", "what becomes of it",
                "name in the pool", "in the pool")  # fmt: skip
    rows = (
        (
            table.name,
            column.name,
            column.label,
            column.description,
            TYPES[column.type],
            column.codelist or "",
            what_to_write(column, codes_of(version.codelists, column)),
            "yes" if column.required else "no",
            "yes" if column.name in table.key else "no",
            refers_to(table, column),
            column.example,
            CLASSIFICATIONS[column.classification],
            list_in_words(purpose_titles(agreement, column)),
            column.why,
            treatment_in_words(table, column),
            *pool_form(table, column),
        )
        for table in version.contract.tables
        for column in table.columns
    )
    return write_csv(headings, rows)


def refers_to(table: Table, column: Column) -> str:
    """``person.local_person_id`` where the column refers to another table; nothing where it does not."""
    return ", ".join(
        f"{reference.to_table}.{target}"
        for reference in table.references
        for source, target in zip(reference.columns, reference.to_columns, strict=True)
        if source == column.name
    )


def codes_csv(version: AgreedVersion) -> bytes:
    """A row for each code of the lists that the tables use."""
    rows = (
        (
            codelist.name,
            codelist.title,
            code.code,
            code.label,
            code.valid_from.isoformat() if code.valid_from else "",
            code.valid_to.isoformat() if code.valid_to else "",
            codelist.source or "",
        )
        for codelist in used_codelists(version.codelists, version.contract.tables)
        for code in codelist.codes
    )
    return write_csv(("list", "title", "code", "label", "valid from", "valid to", "source"), rows)


def rules_csv(version: AgreedVersion) -> bytes:
    """A row for each rule."""
    rows = (
        (rule.table, rule.code, ", ".join(rule.columns), rule.sentence, rule.mend, rule_in_words(rule))
        for table in version.contract.tables
        for rule in table.rules
    )
    return write_csv(("table", "rule", "columns", "what is wrong where it is broken", "how to mend", "effect"), rows)
