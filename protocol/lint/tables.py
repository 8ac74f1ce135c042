"""The contract and the code lists: tables, columns, references, rules and codes."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from protocol.documents import Faults
from protocol.lint.common import FRAME, SHORTEST_SENTENCE, once
from protocol.model import (
    Agreement,
    Classification,
    CodeList,
    Column,
    ColumnType,
    Contract,
    Generalisation,
    IdentifierRole,
    OnFailure,
    Reference,
    RuleKind,
    Table,
    Treatment,
)
from protocol.pool import DO_NOT_LINK, RESERVED, pool_columns
from protocol.versions import NOT_COLLECTED

PERSON = "person"
"""The table that every agreement has: one row for each client of a partner."""
MOST_KEPT_CODES = 20
"""A quasi-identifier may be kept as it is where it has a code list of no more codes than this."""

_NOT_PORTABLE = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]|\(\?P=|\\[ZG]")
_DATE_TREATMENTS = {Generalisation.BIRTH_YEAR_BAND, Generalisation.MONTH}
_CONDITIONS = {
    Classification.SPECIAL_CATEGORY: ("article_9",),
    Classification.OFFENCE: ("article_10", "schedule_1"),
}
_IDENTIFYING = (Classification.DIRECT_IDENTIFIER, Classification.QUASI_IDENTIFIER)
_DATE_RULES = (RuleKind.DATE_ORDER, RuleKind.NOT_AFTER_EXTRACT, RuleKind.WITHIN_PERIOD)

Fault = Callable[[str, str], None]
"""Add a fault: entry within the column or table, and what is wrong."""


def check_tables(
    agreement: Agreement, contract: Contract, codelists: Sequence[CodeList], file: str, faults: Faults
) -> None:
    """Add a fault for each contradiction within the tables of one version.

    :param agreement: for its purposes.
    :param codelists: those of that version.
    """
    if faults.doubts(file):
        return
    by_name = {codelist.name: codelist for codelist in codelists}
    for table in contract.tables:
        _check_table(agreement, table, by_name, file, faults)
    _check_tables_together(contract, file, faults)


def _check_table(
    agreement: Agreement, table: Table, codelists: Mapping[str, CodeList], file: str, faults: Faults
) -> None:
    for column in table.columns:
        if not faults.doubts(file, f"{table.name}.{column.name}"):
            _check_column(agreement, table, column, codelists, file, faults)
    if faults.doubts(file, table.name):
        return
    dates = {column.name for column in table.columns if _may_be_date(column, table, file, faults)}
    missing = False
    for entry, name in (("personColumn", table.person_column), ("eventDate", table.event_date)):
        if name is not None and name not in table.column_names:
            faults.add(file, f"{table.name}.{entry}", f"names {name}, a column that the table does not have.")
            missing = True
    if missing:
        return
    if table.event_date is not None and table.event_date not in dates:
        faults.add(file, f"{table.name}.eventDate", "should name a date.")
    for name in table.key:
        at = f"{table.name}.{name}"
        if faults.doubts(file, at):
            continue
        if not table.column(name).required:
            faults.add(file, f"{at}.required", "should be true: it is part of the key.")
        if table.column(name).treatment in (Treatment.TOKENISE, Treatment.DROP):
            faults.add(file, f"{at}.treatment", "cannot be this in a key. Pseudonymise it, or keep it if it is a code.")
    pooled = [column.name for column in pool_columns(table)]
    once(pooled, file, f"{table.name}: columns of the pool", faults)
    for name in sorted(set(pooled) & RESERVED):
        faults.add(file, f"{table.name}.{name}", "is a name that the pool uses for itself. Rename the column.")
    for rule in table.rules:
        if rule.kind in _DATE_RULES:
            for name in rule.columns:
                if name not in dates:
                    faults.add(file, rule.code, f"compares dates, and {name} is none.")


def _may_be_date(column: Column, table: Table, file: str, faults: Faults) -> bool:
    return column.type is ColumnType.DATE or faults.doubts(file, f"{table.name}.{column.name}")


def _check_column(
    agreement: Agreement,
    table: Table,
    column: Column,
    codelists: Mapping[str, CodeList],
    file: str,
    faults: Faults,
) -> None:
    def fault(entry: str, what: str) -> None:
        faults.add(file, ".".join(part for part in (table.name, column.name, entry) if part), what)

    if not faults.doubts(FRAME, "purposes"):
        _check_purposes(agreement, column, fault)
    _check_why(column, fault)
    _check_treatment(column, codelists, fault)
    _check_place(table, column, codelists, fault)
    codelist = codelists.get(column.codelist or "")
    if column.type is ColumnType.CODE:
        if codelist is not None and not faults.doubts(f"codelists/{codelist.name}.yaml"):
            _check_codes(column, codelist, fault)
    else:
        _check_pattern(column, fault)
        _check_limits(column, fault)


def _check_purposes(agreement: Agreement, column: Column, fault: Fault) -> None:
    known = {purpose.id: purpose for purpose in agreement.purposes}
    if not column.purposes and column.treatment is not Treatment.DROP:
        fault("purposes", "are none. A column that nobody needs cannot be agreed: remove it, or name the purpose.")
    for name in sorted({name for name in column.purposes if column.purposes.count(name) > 1}):
        fault("purposes", f"have {name} more than once. Keep one.")
    for name in column.purposes:
        if name not in known:
            fault("purposes", f"name {name}, which agreement.yaml does not have.")
            continue
        for condition in _CONDITIONS.get(column.classification, ()):
            if not (getattr(known[name], condition) or "").strip():
                fault(
                    "purposes",
                    f"name {name}, which has no {condition} in agreement.yaml. The column is "
                    f"{column.classification.value}: give the purpose its condition, or share it for another purpose.",
                )


def _check_why(column: Column, fault: Fault) -> None:
    why = column.why.strip()
    plain = why.rstrip(".").casefold()
    if plain in (column.description.strip().rstrip(".").casefold(), column.label.strip().casefold()):
        fault("why", "repeats what the column is. Say why the pool cannot do without it.")
    elif len(why) < SHORTEST_SENTENCE:
        fault("why", "says nothing. Write one sentence that the person whom the row is about would accept.")


def _check_treatment(column: Column, codelists: Mapping[str, CodeList], fault: Fault) -> None:
    treatment, class_ = column.treatment, column.classification
    if class_ is Classification.FREE_TEXT:
        if treatment is not Treatment.DROP:
            fault("treatment", "lets free text through, which never passes. It has to be drop.")
        return
    if class_ is Classification.DIRECT_IDENTIFIER and treatment is Treatment.KEEP:
        fault("treatment", "keeps a direct identifier. Tokenise, pseudonymise, generalise or drop it.")
    elif treatment is Treatment.KEEP and column.type is ColumnType.TEXT:
        fault("treatment", "keeps text, in which a name could stand. Give it a code list, or another treatment.")
    elif (
        class_ is Classification.QUASI_IDENTIFIER and treatment is Treatment.KEEP and not _is_coarse(column, codelists)
    ):
        fault(
            "treatment",
            "keeps a quasi-identifier as fine as it is. Give it a generalisation, a code list of at most "
            f"{MOST_KEPT_CODES} codes, or another treatment.",
        )
    if treatment is Treatment.TOKENISE and column.identifier is None:
        fault("", "is tokenised, so it needs the custom property identifier: which identifier is it?")
    if column.identifier is IdentifierRole.SHARED_PERSON_NUMBER and treatment is not Treatment.TOKENISE:
        fault("", "is a number that partners share, so it has to be tokenised: it would undo every pseudonym.")
    if (treatment is Treatment.GENERALISE) != (column.generalisation is not None):
        fault("", "has to have both the treatment generalise and a generalisation, or neither.")
    if column.generalisation is not None:
        of_date = column.generalisation in _DATE_TREATMENTS
        if of_date != (column.type is ColumnType.DATE):
            fault("", f"cannot be generalised by {column.generalisation.value}: it is {column.type.value}.")
    if treatment is Treatment.PSEUDONYMISE and column.type not in (ColumnType.TEXT, ColumnType.INTEGER):
        fault("treatment", "cannot be pseudonymise: dates and codes are few enough to be guessed.")


def _is_coarse(column: Column, codelists: Mapping[str, CodeList]) -> bool:
    """True where so few values are possible that one says little about a person."""
    codelist = codelists.get(column.codelist or "")
    return column.type is ColumnType.CODE and (codelist is None or len(codelist.codes) <= MOST_KEPT_CODES)


def _check_place(table: Table, column: Column, codelists: Mapping[str, CodeList], fault: Fault) -> None:
    if column.identifier is not None:
        if table.name != PERSON:
            fault("", f"is an identifier of a person, and those stand in the table {PERSON} only.")
        if column.classification not in _IDENTIFYING:
            fault("classification", f"should be {' or '.join(_IDENTIFYING)}: the column is an identifier of a person.")
        first = next(other.name for other in table.columns if other.identifier is column.identifier)
        if first != column.name:
            fault("identifier", f"is that of {first} as well. Linkage reads one column for each identifier.")
    if column.name == DO_NOT_LINK:
        _check_do_not_link(table, column, codelists, fault)
    if column.name == table.person_column and column.treatment is not Treatment.PSEUDONYMISE:
        fault("", "is the client's number at the partner, so it has to be pseudonymised.")


def _check_do_not_link(table: Table, column: Column, codelists: Mapping[str, CodeList], fault: Fault) -> None:
    """The flag that keeps people at risk out of linkage and from analysts works only in this form."""
    codelist = codelists.get(column.codelist or "")
    if table.name != PERSON:
        fault("", f"protects nobody here. It belongs to the table {PERSON}.")
    if not column.required:
        fault("required", "should be true: a client of whom nothing is said would be linked and shown.")
    if column.treatment is not Treatment.KEEP:
        fault("treatment", "should be keep: the pool hides a client by it, and shows it to no analyst.")
    if column.type is not ColumnType.CODE or (codelist is not None and "yes" not in codelist.values):
        fault("codelist", "should have the code yes: it stands for a client who must not be linked.")


def _check_codes(column: Column, codelist: CodeList, fault: Fault) -> None:
    if column.example not in codelist.values:
        fault("examples", f"have what is not a code of the list {codelist.name}.")
    for code in codelist.values:
        if len(code) > column.max_length:
            fault(
                "logicalTypeOptions.maxLength",
                f"is {column.max_length}, and the list {codelist.name} has the longer code {code}.",
            )


def _check_pattern(column: Column, fault: Fault) -> None:
    """The pattern can be read by every checker, and the example matches it."""
    pattern, at = column.pattern, "logicalTypeOptions.pattern"
    if pattern is None:
        if column.form is not None or column.pattern_failure is not OnFailure.HOLD_BACK:
            fault("", "says what a pattern asks for or does, and has no pattern.")
        return
    if column.type is not ColumnType.TEXT:
        fault(at, "stands at what is no text. Only text can have a pattern.")
    elif _NOT_PORTABLE.search(pattern):
        fault(at, "has look-around or back-references, which not every checker can run.")
    elif not _compiles(pattern):
        fault(at, "is no regular expression that both Python and Rust can read.")
    elif re.fullmatch(pattern, column.example) is None:
        fault("examples", "have what the pattern does not match.")


@cache
def _compiles(pattern: str) -> bool:
    import polars as pl

    try:
        re.compile(pattern)
        pl.Series([""], dtype=pl.String).str.contains(pattern, strict=True)
    except (re.error, pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError):
        return False
    return True


def _check_limits(column: Column, fault: Fault) -> None:
    """The limits and the example are of the column's type, and in order."""
    texts = {"examples": column.example, "minimum": column.minimum, "maximum": column.maximum}
    places = {"examples": "examples", "minimum": "logicalTypeOptions.minimum", "maximum": "logicalTypeOptions.maximum"}
    if column.type is ColumnType.TEXT:
        if column.minimum is not None or column.maximum is not None:
            fault("", "is text and has no minimum or maximum.")
        if len(column.example) > column.max_length:
            fault("examples", "have what is longer than the column's maxLength.")
        return
    read = {name: _read(text, column.type) for name, text in texts.items() if text is not None}
    for name, value in read.items():
        if value is None:
            fault(places[name], f"has what is no {column.type.value}{_form(column.type)}.")
    if any(value is None for value in read.values()):
        return
    example, least, most = read["examples"], read.get("minimum"), read.get("maximum")
    if least is not None and most is not None and least > most:
        fault("logicalTypeOptions.minimum", "is over the maximum, so that no value could pass.")
    elif (least is not None and example < least) or (most is not None and example > most):
        fault("examples", "have what lies outside minimum and maximum.")


def _form(type_: ColumnType) -> str:
    return ", written and real such as 2026-03-31" if type_ is ColumnType.DATE else ""


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


def _check_tables_together(contract: Contract, file: str, faults: Faults) -> None:
    tables = {table.name: table for table in contract.tables}
    if PERSON not in tables:
        faults.add(file, PERSON, "is missing. Every agreement has this table: one row for each client.")
    elif not faults.doubts(file, PERSON):
        _check_person(tables[PERSON], file, faults)
    seen: set[str] = set()
    for table in contract.tables:
        if table.name == NOT_COLLECTED:
            faults.add(file, table.name, "is a name that the pool uses for itself. Rename the table.")
        for reference in table.references:
            place = f"{table.name}.{'+'.join(reference.columns)}"
            parent = tables.get(reference.to_table)
            unknown = [name for name in reference.columns if name not in table.column_names]
            if unknown:
                faults.add(
                    file, f"{table.name}.relationships", f"name {', '.join(unknown)}, no column of {table.name}."
                )
            if parent is None:
                if not faults.doubts(file, reference.to_table) and (reference.to_table != PERSON or PERSON in tables):
                    faults.add(file, place, f"refers to the table {reference.to_table}, which is missing.")
                continue
            if parent.name == table.name:
                faults.add(file, place, "refers to its own table. Only another table can be referred to.")
            elif parent.name not in seen:
                faults.add(file, place, f"refers to {parent.name}, which stands below. Put parents before children.")
            else:
                _check_like_parent(table, reference, parent, file, faults)
            if set(reference.to_columns) != set(parent.key) and not faults.doubts(file, parent.name):
                faults.add(file, place, f"should refer to the key of {parent.name} ({', '.join(parent.key)}).")
            if parent.optional and not table.optional:
                faults.add(
                    file, place, f"refers to {parent.name}, which is optional, so {table.name} has to be as well."
                )
        if table.name != PERSON and table.person_column in table.column_names and not faults.doubts(file, table.name):
            own = [reference for reference in table.references if reference.columns == (table.person_column,)]
            if not any(reference.to_table == PERSON or reference.to_table not in tables for reference in own):
                faults.add(file, f"{table.name}.{table.person_column}", f"should refer to {PERSON}.")
        seen.add(table.name)
    once([rule.code for table in contract.tables for rule in table.rules], file, "rules", faults)


def _check_like_parent(table: Table, reference: Reference, parent: Table, file: str, faults: Faults) -> None:
    """Both sides of a reference hold the same, so neither may show what the other hides."""
    for name, target in zip(reference.columns, reference.to_columns, strict=True):
        if name not in table.column_names or target not in parent.column_names:
            continue
        if faults.doubts(file, f"{table.name}.{name}") or faults.doubts(file, f"{parent.name}.{target}"):
            continue
        own, there = table.column(name), parent.column(target)
        for entry, mine, theirs in (
            ("logicalType", own.type, there.type),
            ("treatment", own.treatment, there.treatment),
        ):
            if mine is not theirs:
                faults.add(
                    file,
                    f"{table.name}.{name}.{entry}",
                    f"makes it {mine.value}, and {parent.name}.{target}, to which it refers, is {theirs.value}. Make "
                    "both alike.",
                )


def _check_person(person: Table, file: str, faults: Faults) -> None:
    if person.person_column is None or person.key != (person.person_column,):
        faults.add(file, PERSON, "should have the client's own number as its key and as its personColumn.")
    if person.optional:
        faults.add(file, f"{PERSON}.optional", "cannot be true of this table.")


def check_codelists(agreement: Agreement, contract_file: str, faults: Faults) -> None:
    """Add a fault for each contradiction within a code list, and for each list that nothing uses."""
    earlier = agreement.earlier.contract.tables if agreement.earlier is not None else ()
    tables = (*agreement.contract.tables, *earlier)
    used = {column.codelist for table in tables for column in table.columns}
    for codelist in agreement.codelists:
        file = f"codelists/{codelist.name}.yaml"
        if codelist.name not in used and not faults.doubts(contract_file):
            faults.add(file, "", "is used by no column. Remove it, or correct a column's codelist.", 1)
        if not faults.doubts(file):
            check_codes(codelist, file, faults)
    by_name = {codelist.name: codelist for codelist in agreement.codelists}
    if "partner" in by_name and not faults.doubts("codelists/partner.yaml"):
        for partner in agreement.partners:
            if partner.id not in by_name["partner"].values:
                faults.add("codelists/partner.yaml", "codes", f"lack the partner {partner.id}. Add it.")
    if "purpose" in by_name and not faults.doubts(FRAME, "purposes"):
        for name in by_name["purpose"].values:
            if name not in {purpose.id for purpose in agreement.purposes}:
                faults.add("codelists/purpose.yaml", f"codes.{name}", "is no purpose of agreement.yaml.")


def check_codes(codelist: CodeList, file: str, faults: Faults) -> None:
    """Add a fault for each code that is written wrongly, stands twice, or ends before it starts."""
    if not codelist.codes:
        faults.add(file, "codes", "are none. List every code.")
    first = {code.code: number for number, code in reversed(list(enumerate(codelist.codes)))}
    for number, code in enumerate(codelist.codes):
        at = f"codes.{number}"
        if first[code.code] != number:
            faults.add(file, at, f"is {code.code} again. Keep one.")
        if not code.label.strip():
            faults.add(file, f"{at}.label", f"of {code.code} says nothing. Say what the code means.")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", code.code):
            faults.add(file, f"{at}.code", f"is {code.code}. Write it in small letters, digits and underscores.")
        if code.valid_from and code.valid_to and code.valid_from > code.valid_to:
            faults.add(file, f"{at}.valid_to", f"of {code.code} lies before valid_from.")
