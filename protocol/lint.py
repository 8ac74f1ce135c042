"""What the parts of an agreement promise one another, checked before anything runs on them.

The models refuse a misspelt entry; this refuses an agreement that contradicts itself or that would let something
through which nobody gave a purpose for.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from protocol.documents import Faults
from protocol.model import (
    Agreement,
    Classification,
    CodeList,
    Column,
    ColumnType,
    GateCheck,
    Generalisation,
    IdentifierRole,
    OnFailure,
    RuleKind,
    Table,
    Treatment,
)
from protocol.pool import RESERVED, pool_columns

PERSON = "person"
"""The table that every agreement has: one row for each client of a partner."""

_NOT_PORTABLE = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]|\(\?P=|\\[ZG]")
_DATE_TREATMENTS = {Generalisation.BIRTH_YEAR_BAND, Generalisation.MONTH}


def check_agreement(agreement: Agreement, contract_file: str, faults: Faults) -> None:
    """Add a fault for each contradiction. :param contract_file: where the tables stand."""
    codelists = {codelist.name: codelist for codelist in agreement.codelists}
    _check_frame(agreement, faults)
    for table in agreement.contract.tables:
        _check_table(agreement, table, codelists, contract_file, faults)
    _check_tables_together(agreement, contract_file, faults)
    _check_codelists(agreement, codelists, faults)
    _check_partners(agreement, faults)
    _check_grants(agreement, faults)


def _check_frame(agreement: Agreement, faults: Faults) -> None:
    file = "agreement.yaml"
    _once([clause.number for clause in agreement.clauses], file, "clauses", faults)
    _once([purpose.id for purpose in agreement.purposes], file, "purposes", faults)
    _once([period.id for period in agreement.calendar.periods], file, "calendar.periods", faults)
    governed = Counter(check for clause in agreement.clauses for check in clause.governs)
    for check in GateCheck:
        if governed[check] != 1:
            faults.add(
                file,
                "clauses",
                f"have {governed[check] or 'none'} that governs {check.value}. Exactly one has to, since a refusal "
                "names it.",
            )
    term = agreement.term
    if not term.starts <= term.review <= term.ends:
        faults.add(file, "term", "should start, be reviewed and end in this order.")
    if agreement.dpia.completed > agreement.dpia.valid_to:
        faults.add(file, "dpia.valid_to", "lies before the assessment was completed.")
    calendar = agreement.calendar
    if calendar.opens_days_after_end > calendar.closes_days_after_end:
        faults.add(file, "calendar", "closes before it opens.")
    previous = None
    for period in calendar.periods:
        if period.starts > period.ends:
            faults.add(file, f"calendar.periods.{period.id}", "ends before it starts.")
        if period.starts < term.starts or period.ends > term.ends:
            faults.add(file, f"calendar.periods.{period.id}", "does not lie within the agreement's term.")
        if previous is not None and period.starts <= previous:
            faults.add(file, f"calendar.periods.{period.id}", "overlaps the period before it, or stands out of order.")
        previous = period.ends
    if not calendar.periods:
        faults.add(file, "calendar.periods", "are none. Name at least one period.")
    figures = {
        "retention": agreement.retention.model_dump(),
        "calendar": {"opens_days_after_end": calendar.opens_days_after_end},
        "measures": {name: value for name, value in agreement.measures if isinstance(value, int | float)},
    }
    for part, entries in figures.items():
        for name, value in entries.items():
            if value < 0:
                faults.add(file, f"{part}.{name}", "cannot be less than nothing.")
    if agreement.disclosure.rounding_base < 1:
        faults.add(file, "disclosure.rounding_base", "should be 1 (no rounding) or more.")
    if agreement.disclosure.minimum_people < 2:
        faults.add(file, "disclosure.minimum_people", "should be 2 or more, or single people would be published.")


def _check_table(
    agreement: Agreement, table: Table, codelists: Mapping[str, CodeList], file: str, faults: Faults
) -> None:
    names = table.column_names
    for entry, name in (("personColumn", table.person_column), ("eventDate", table.event_date)):
        if name is not None and name not in names:
            faults.add(file, f"{table.name}.{entry}", "names a column that the table does not have.")
            return
    for column in table.columns:
        _check_column(agreement, table, column, codelists, f"{table.name}.{column.name}", file, faults)
    if table.event_date is not None and table.column(table.event_date).type is not ColumnType.DATE:
        faults.add(file, f"{table.name}.eventDate", "should name a date.")
    for name in table.key:
        if not table.column(name).required:
            faults.add(file, f"{table.name}.{name}.required", "should be true: it is part of the key.")
        if table.column(name).treatment in (Treatment.TOKENISE, Treatment.DROP):
            faults.add(
                file, f"{table.name}.{name}", "is part of the key, so pseudonymise it, or keep it if it is a code."
            )
    pooled = [column.name for column in pool_columns(table)]
    _once(pooled, file, f"{table.name}: columns of the pool", faults)
    for name in sorted(set(pooled) & RESERVED):
        faults.add(file, f"{table.name}.{name}", "is a name that the pool uses for itself. Rename the column.")
    for rule in table.rules:
        if rule.kind in (RuleKind.DATE_ORDER, RuleKind.NOT_AFTER_EXTRACT, RuleKind.WITHIN_PERIOD):
            for name in rule.columns:
                if table.column(name).type is not ColumnType.DATE:
                    faults.add(file, rule.code, f"compares dates, and {name} is none.")


def _check_column(
    agreement: Agreement,
    table: Table,
    column: Column,
    codelists: Mapping[str, CodeList],
    place: str,
    file: str,
    faults: Faults,
) -> None:
    def fault(what: str) -> None:
        faults.add(file, place, what)

    treatment, class_ = column.treatment, column.classification
    known = {purpose.id: purpose for purpose in agreement.purposes}
    if not column.purposes and treatment is not Treatment.DROP:
        fault("has no purpose. A column that nobody needs cannot be agreed: remove it, or name the purpose.")
    for purpose in column.purposes:
        if purpose not in known:
            fault(f"names the purpose {purpose}, which agreement.yaml does not have.")
    if not column.why.strip():
        fault("does not say why it is needed.")
    pooled = treatment in (Treatment.KEEP, Treatment.GENERALISE)
    conditions = {Classification.SPECIAL_CATEGORY: "article_9", Classification.OFFENCE: "article_10"}
    if class_ in conditions:
        condition = conditions[class_]
        for purpose in column.purposes:
            if purpose in known and getattr(known[purpose], condition) is None:
                fault(f"is {class_.value}, and the purpose {purpose} has no {condition} in agreement.yaml.")
    if class_ is Classification.FREE_TEXT and treatment is not Treatment.DROP:
        fault("is free text, which never passes. Its treatment has to be drop.")
    if class_ is Classification.DIRECT_IDENTIFIER and pooled and column.generalisation is None:
        fault("is a direct identifier and cannot be kept. Tokenise, pseudonymise, generalise or drop it.")
    if treatment is Treatment.KEEP and column.type is ColumnType.TEXT:
        fault("is text and cannot be kept, since a name could stand in it. Give it a code list, or another treatment.")
    if treatment is Treatment.TOKENISE and column.identifier is None:
        fault("is tokenised, so it needs the custom property identifier: which identifier is it?")
    if column.identifier is not None and table.name != PERSON:
        fault(f"is an identifier of a person, and those stand in the table {PERSON} only.")
    if column.identifier is IdentifierRole.SHARED_PERSON_NUMBER and treatment is not Treatment.TOKENISE:
        fault("is a number that partners share, so it has to be tokenised: it would undo every pseudonym.")
    if (treatment is Treatment.GENERALISE) != (column.generalisation is not None):
        fault("has to have both the treatment generalise and a generalisation, or neither.")
    if column.generalisation is not None:
        of_date = column.generalisation in _DATE_TREATMENTS
        if of_date != (column.type is ColumnType.DATE):
            fault(f"cannot be generalised by {column.generalisation.value}: it is {column.type.value}.")
    if column.name == table.person_column and treatment is not Treatment.PSEUDONYMISE:
        fault("is the client's number at the partner, so it has to be pseudonymised.")
    if treatment is Treatment.PSEUDONYMISE and column.type not in (ColumnType.TEXT, ColumnType.INTEGER):
        fault("cannot be pseudonymised: dates and codes are few enough to be guessed.")
    if column.pattern is not None and column.type is not ColumnType.TEXT:
        fault("has a pattern, which only text can have.")
    if column.pattern is None and (column.form is not None or column.pattern_failure is not OnFailure.HOLD_BACK):
        fault("says what a pattern asks for or does, and has no pattern.")
    _check_example(column, codelists, fault)


def _check_example(column: Column, codelists: Mapping[str, CodeList], fault: Callable[[str], None]) -> None:
    """The example passes the column's own rules, and the limits and the pattern can be read."""
    text = column.example
    if column.type is ColumnType.CODE:
        if text not in codelists[column.codelist or ""].values:
            fault(f"has an example that is not a code of the list {column.codelist}.")
        return
    limits = {"example": text, "minimum": column.minimum, "maximum": column.maximum}
    read = {name: _read(value, column.type) for name, value in limits.items() if value is not None}
    for name, value in read.items():
        if value is None:
            fault(f"has as {name} what is no {column.type.value}.")
    if column.type is ColumnType.TEXT:
        if column.minimum is not None or column.maximum is not None:
            fault("is text and has no minimum or maximum.")
        if len(text) > column.max_length:
            fault("has an example that is longer than its maxLength.")
        if column.pattern is not None:
            if _NOT_PORTABLE.search(column.pattern):
                fault("has a pattern with look-around or back-references, which not every checker can run.")
                return
            try:
                if re.fullmatch(column.pattern, text) is None:
                    fault("has an example that its pattern does not match.")
            except re.error:
                fault("has a pattern that is no regular expression.")
        return
    if any(value is None for value in read.values()):
        return
    if ("minimum" in read and read["example"] < read["minimum"]) or (
        "maximum" in read and read["example"] > read["maximum"]
    ):
        fault("has an example outside its minimum and maximum.")


def _read(text: str, type_: ColumnType) -> Any:
    """The text as a value that can be compared with others of its type; None where it has not the type's form."""
    try:
        if type_ is ColumnType.DATE:
            return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else None
        if type_ is ColumnType.INTEGER:
            return int(text) if re.fullmatch(r"[+-]?\d+", text) else None
        if type_ is ColumnType.DECIMAL:
            return Decimal(text) if re.fullmatch(r"[+-]?\d+(?:\.\d{1,4})?", text) else None
    except (ValueError, InvalidOperation):
        return None
    return text


def _check_tables_together(agreement: Agreement, file: str, faults: Faults) -> None:
    tables = {table.name: table for table in agreement.contract.tables}
    if PERSON not in tables:
        faults.add(file, PERSON, "is missing. Every agreement has this table: one row for each client.")
        return
    person = tables[PERSON]
    if person.person_column is None or person.key != (person.person_column,):
        faults.add(file, PERSON, "should have the client's own number as its key and as its personColumn.")
    if person.optional:
        faults.add(file, PERSON, "cannot be optional.")
    seen: set[str] = set()
    for table in agreement.contract.tables:
        for reference in table.references:
            place = f"{table.name}.{'+'.join(reference.columns)}"
            parent = tables.get(reference.to_table)
            if parent is None:
                faults.add(file, place, f"refers to the table {reference.to_table}, which is missing.")
                continue
            if parent.name not in seen:
                faults.add(file, place, f"refers to {parent.name}, which stands below. Put parents before children.")
            if set(reference.to_columns) != set(parent.key):
                faults.add(file, place, f"should refer to the key of {parent.name} ({', '.join(parent.key)}).")
            if parent.optional and not table.optional:
                faults.add(
                    file, place, f"refers to {parent.name}, which is optional, so {table.name} has to be as well."
                )
        if table.name != PERSON and table.person_column is not None:
            to_person = [reference for reference in table.references if reference.to_table == PERSON]
            if not any(reference.columns == (table.person_column,) for reference in to_person):
                faults.add(file, f"{table.name}.{table.person_column}", f"should refer to {PERSON}.")
        seen.add(table.name)
    _once([rule.code for table in agreement.contract.tables for rule in table.rules], file, "rules", faults)


def _check_codelists(agreement: Agreement, codelists: Mapping[str, CodeList], faults: Faults) -> None:
    for codelist in agreement.codelists:
        file = f"codelists/{codelist.name}.yaml"
        _once(codelist.values, file, "codes", faults)
        for code in codelist.codes:
            if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", code.code):
                faults.add(file, code.code, "should be written in small letters, digits and underscores.")
            if code.valid_from and code.valid_to and code.valid_from > code.valid_to:
                faults.add(file, code.code, "ends before it starts.")
    used = {column.codelist for table in agreement.contract.tables for column in table.columns}
    for name in sorted(set(codelists) - used):
        faults.add(f"codelists/{name}.yaml", "", "is used by no column. Remove it, or correct a column's codelist.")
    if "partner" in codelists:
        for partner in agreement.partners:
            if partner.id not in codelists["partner"].values:
                faults.add("codelists/partner.yaml", "codes", f"lack the partner {partner.id}. Add it.")
    if "purpose" in codelists:
        for name in codelists["purpose"].values:
            if name not in {purpose.id for purpose in agreement.purposes}:
                faults.add("codelists/purpose.yaml", name, "is no purpose of agreement.yaml.")


def _check_partners(agreement: Agreement, faults: Faults) -> None:
    if not agreement.partners:
        faults.add("partners/", "", "has no partner.")
    major = agreement.version.partition(".")[0]
    for partner in agreement.partners:
        file = f"partners/{partner.id}"
        if partner.tier not in ("core", "wider"):
            faults.add(file, "tier", "should be core or wider.")
        if partner.public_body and partner.gateway is None:
            faults.add(file, "gateway", "is missing: a public body shares under a statutory gateway. Name it.")
        if partner.member_to is not None and partner.member_to < partner.member_from:
            faults.add(file, "member_to", "lies before member_from.")
        if not partner.contacts:
            faults.add(file, "contacts", "are missing. Name at least one office with its e-mail address.")
        if not partner.accepted_versions:
            faults.add(file, "accepted_versions", "are missing. Name the versions that it may submit to.")
        for version in partner.accepted_versions:
            if version.partition(".")[0] != major:
                faults.add(file, "accepted_versions", f"name {version}; the tables in force are those of {major}.x.")
        _once(
            [signature.digest for signature in partner.signatures], f"signatures/{partner.id}.yaml", "digests", faults
        )


def _check_grants(agreement: Agreement, faults: Faults) -> None:
    purposes = {purpose.id for purpose in agreement.purposes}
    logins = [login for grant in agreement.grants for login in grant.logins]
    _once(logins, "grants/", "logins", faults)
    for grant in agreement.grants:
        file = f"grants/{grant.id}.yaml"
        if grant.purpose not in purposes:
            faults.add(file, "purpose", "is no purpose of agreement.yaml.")
        if not grant.schemas or not set(grant.schemas) <= {"evidence", "pool"}:
            faults.add(file, "schemas", "should be evidence, pool or both; nothing else can be granted.")
        for login in grant.logins:
            if login.startswith(("linkarms_", "pg_", "postgres")):
                faults.add(file, "logins", f"have {login}, a name that the database keeps for itself.")
        if grant.starts > grant.ends:
            faults.add(file, "ends", "lies before it starts.")
        if grant.ends > agreement.term.ends:
            faults.add(file, "ends", "lies after the agreement's term. A grant ends with it at the latest.")


def _once(names: "tuple[str, ...] | list[str]", file: str, entry: str, faults: Faults) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            faults.add(file, entry, f"have {name} more than once. Keep one.")
