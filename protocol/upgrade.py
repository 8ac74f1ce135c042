"""Reading ``upgrade.yaml``: how rows of the earlier version become rows of the agreement's own, proved to be total.

Total means that nothing is left to chance: every new column is fed or declared not collected, every old column and
table is used or declared left out, and every old code has a new one. A column is carried over without a word only where
nothing about it has changed: name, label, description, type, and code list with its labels. All else is said in the
file, or is a fault that says what to write (kept by ``tests/unit/protocol/test_versions.py``).

Tables, keys and pseudonymised columns keep their names, and a key its values: the pseudonyms of rows that are in the
pool were made from them, and rows of the same thing would not be recognised any more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from protocol.documents import Faults, refuse_unknown, take
from protocol.model import (
    Agreement,
    CodeList,
    Column,
    ColumnType,
    ColumnUpgrade,
    Contract,
    Reference,
    Table,
    TableUpgrade,
    Treatment,
    Upgrade,
)
from protocol.pool import DO_NOT_LINK, pool_columns
from protocol.versions import NOT_COLLECTED
from protocol.words import list_in_words

SAME = "same"
"""Says of all other codes that they keep their code and their meaning."""

_STRICTNESS = (Treatment.KEEP, Treatment.GENERALISE, Treatment.PSEUDONYMISE, Treatment.TOKENISE, Treatment.DROP)
_CONVERSIONS = {
    (ColumnType.INTEGER, ColumnType.DECIMAL),
    (ColumnType.INTEGER, ColumnType.TEXT),
    (ColumnType.CODE, ColumnType.TEXT),
    (ColumnType.TEXT, ColumnType.CODE),
    (ColumnType.INTEGER, ColumnType.CODE),
}
"""Besides a type to itself. To a code only by a map of values."""


@dataclass(frozen=True)
class Version:
    """One version's tables, and its code lists by name."""

    contract: Contract
    codelists: Mapping[str, CodeList]

    @property
    def name(self) -> str:
        """``1.0``"""
        return self.contract.version

    def codes_of(self, column: Column) -> dict[str, str]:
        """Code -> label of a column's list, as partners may write them; empty where it has none."""
        codelist = self.codelists.get(column.codelist or "")
        if codelist is None:
            return {}
        return {entry.code: entry.label for entry in codelist.codes if entry.code != NOT_COLLECTED}

    def can_be_missing(self, column: Column) -> bool:
        """True where the column's list, if it has one, has a code for what was not collected."""
        codelist = self.codelists.get(column.codelist or "")
        return column.type is not ColumnType.CODE or (codelist is not None and NOT_COLLECTED in codelist.values)


@dataclass(frozen=True)
class _Reader:
    """Both versions, and the file that leads from one to the other."""

    old: Version
    new: Version
    file: str
    faults: Faults

    def fault(self, place: str, what: str) -> None:
        self.faults.add(self.file, place, what)


def read_upgrade(content: Mapping[str, Any], old: Version, new: Version, file: str, faults: Faults) -> Upgrade:
    """The upgrade with every table and column written out, and a fault for everything that it leaves open.

    :param content: the entries of ``upgrade.yaml``.
    :param file: where they stand, for faults.
    """
    read = _Reader(old, new, file, faults)
    refuse_unknown(content, ("from", "to", "tables", "left_out"), file, "", faults)
    for entry, version in (("from", old.name), ("to", new.name)):
        if content.get(entry) != version:
            read.fault(entry, f'should be "{version}", in quotes, as in agreement.yaml.')
    entries = take(content, "tables", dict, file, "", faults) or {}
    for name in sorted(set(entries) - set(new.contract.table_names)):
        read.fault(
            f"tables.{name}", f"is no table of version {new.name}. {_if_it_ends(name in old.contract.table_names)}"
        )
    left_out = _names(read, content, "", old.contract.table_names, new.contract.table_names)
    for name in old.contract.table_names:
        if name not in new.contract.table_names and name not in left_out:
            read.fault(
                "left_out",
                f"lacks the table {name}, which version {new.name} does not have. Add it; tables keep their names, so "
                "a renamed one is a table that ends and one that begins.",
            )
    tables = tuple(_read_table(read, table, entries.get(table.name)) for table in new.contract.tables)
    upgrade = Upgrade(tables=tables, left_out=left_out)
    _check_references(read, upgrade)
    return upgrade


def _if_it_ends(known: bool) -> str:
    return "Put it under left_out if it ends." if known else "Correct its name."


def _names(
    read: _Reader, content: Mapping[str, Any], place: str, old: Iterable[str], new: Iterable[str]
) -> tuple[str, ...]:
    """The entry ``left_out`` of the file or of a table: names of the earlier version."""
    at = f"{place}.left_out" if place else "left_out"
    names = [
        name for name in take(content, "left_out", list, read.file, place, read.faults) or () if isinstance(name, str)
    ]
    for name in names:
        if name not in old:
            read.fault(at, f"has {name}, which version {read.old.name} does not have.")
        elif not place and name in new:
            read.fault(at, f"has the table {name}, which version {read.new.name} has as well.")
    if len(set(names)) < len(names):
        read.fault(at, "names something twice. Keep one of both.")
    return tuple(name for name in dict.fromkeys(names) if name in old)


# --- tables -----------------------------------------------------------------------------------------------------------


def _read_table(read: _Reader, table: Table, entry: object) -> TableUpgrade:
    place = f"tables.{table.name}"
    known = table.name in read.old.contract.table_names
    if entry == NOT_COLLECTED or not known:
        if known:
            read.fault(place, f"cannot be {NOT_COLLECTED}: version {read.old.name} has the table.")
        elif entry != NOT_COLLECTED:
            read.fault(place, f"is new in version {read.new.name}. Write `{table.name}: {NOT_COLLECTED}`.")
        return TableUpgrade(table=table.name, collected=False)
    if entry is not None and not isinstance(entry, dict):
        read.fault(place, f"should hold columns and left_out, or be {NOT_COLLECTED}.")
        entry = None
    content: Mapping[str, Any] = entry or {}
    refuse_unknown(content, ("columns", "left_out"), read.file, place, read.faults)
    before = read.old.contract.table(table.name)
    entries = take(content, "columns", dict, read.file, place, read.faults) or {}
    for name in sorted(set(entries) - set(table.column_names)):
        read.fault(
            f"{place}.columns.{name}",
            f"is no column of {table.name} in version {read.new.name}. {_if_it_ends(name in before.column_names)}",
        )
    left_out = _names(read, content, place, before.column_names, ())
    columns = tuple(
        _read_column(read, before, table, column, entries.get(column.name), left_out) for column in table.columns
    )
    used = {column.source for column in columns}
    for name in before.column_names:
        if name in used and name in left_out:
            read.fault(f"{place}.left_out", f"has {name}, which feeds a column. Remove it from one of both.")
        elif name not in used and name not in left_out:
            read.fault(
                place,
                f"says nothing of the column {name} of version {read.old.name}. Feed a column from it, or add it to "
                "left_out.",
            )
    made = TableUpgrade(table=table.name, columns=columns, left_out=left_out)
    _check_frame_of_table(read, before, table, made, place)
    return made


def _check_frame_of_table(read: _Reader, old: Table, new: Table, made: TableUpgrade, place: str) -> None:
    """Key, client and date of a row are the same in both versions."""
    fed = {column.column: column.source for column in made.columns}
    if tuple(fed[name] for name in new.key) != old.key:
        read.fault(
            place,
            f"has another key than in version {read.old.name} ({', '.join(old.key)}). A key stays, since the pool "
            "knows its rows by it; make a new table of it otherwise.",
        )
    if old.person_column is not None and fed.get(new.person_column or "") != old.person_column:
        read.fault(place, f"should have its client's number from {old.person_column}.")
    if new.person_column is not None and old.person_column is None:
        read.fault(place, f"is about clients, and in version {read.old.name} it was not. Make a new table of it.")
    before, after = ({column.name: column.type for column in pool_columns(table)} for table in (old, new))
    for name in sorted(set(before) & set(after)):
        if before[name] is not after[name] and {before[name], after[name]} != {ColumnType.TEXT, ColumnType.CODE}:
            read.fault(
                f"{place}.columns.{name}",
                f"is {after[name].value} in the pool, and was {before[name].value}. The pool keeps a column's type: "
                "give the new column a name of its own.",
            )


def _check_references(read: _Reader, upgrade: Upgrade) -> None:
    missing = {table.table for table in upgrade.tables if not table.collected}
    for table in read.new.contract.tables:
        for reference in table.references:
            if table.name not in missing and reference.to_table in missing:
                read.fault(
                    f"tables.{table.name}",
                    f"refers to {reference.to_table}, which version {read.old.name} did not collect, so that no row of "
                    "it could be carried over. Take the reference out, or make a new table of it.",
                )


# --- columns ----------------------------------------------------------------------------------------------------------


def _read_column(
    read: _Reader, old_table: Table, table: Table, column: Column, entry: object, left_out: tuple[str, ...]
) -> ColumnUpgrade:
    place = f"tables.{table.name}.columns.{column.name}"
    if entry == NOT_COLLECTED:
        return _read_missing(read, table, column, place)
    if isinstance(entry, list) or (isinstance(entry, dict) and isinstance(entry.get("from"), list)):
        read.fault(place, "cannot be fed from several columns, since nobody said which one counts. Name one of them.")
        entry = {"from": next((n for n in (entry if isinstance(entry, list) else entry["from"])), "")}
    if entry is None:
        return _read_implied(read, old_table, table, column, place, left_out)
    if not isinstance(entry, str | dict):
        read.fault(place, f"should name a column of version {read.old.name}, or be {NOT_COLLECTED}.")
    content: Mapping[str, Any] = {"from": entry} if isinstance(entry, str) else entry if isinstance(entry, dict) else {}
    refuse_unknown(content, ("from", "codes", "others", "empty"), read.file, place, read.faults)
    source = content.get("from", column.name)
    if source not in old_table.column_names:
        read.fault(
            place,
            f"is fed from a column that {table.name} of version {read.old.name} does not have. Write `from:` with one "
            f"of its columns, or `{column.name}: {NOT_COLLECTED}`.",
        )
        return ColumnUpgrade(column=column.name, source=None)
    before = old_table.column(source)
    _check_pair(read, old_table, table, before, column, place)
    codes, otherwise = _read_codes(read, before, column, content, place)
    empty = take(content, "empty", str, read.file, place, read.faults)
    if empty is not None and empty not in read.new.codes_of(column):
        read.fault(
            f"{place}.empty",
            f"should be a code of the list {column.codelist}."
            if column.codelist
            else "belongs to a column with a code list.",
        )
    made = ColumnUpgrade(column=column.name, source=source, codes=codes, otherwise=otherwise, empty=empty)
    if column.name in table.key and not made.keeps_values:
        read.fault(
            place,
            "is part of the key, so its codes can be added to and not changed: the pool knows its rows by them.",
        )
    return made


def _read_missing(read: _Reader, table: Table, column: Column, place: str) -> ColumnUpgrade:
    if column.name in table.key:
        read.fault(place, "is part of the key and has to be fed.")
    elif any(column.name in reference.columns for reference in table.references):
        read.fault(place, "refers to another table and has to be fed.")
    elif column.name == table.event_date:
        read.fault(place, "is the date of the row and has to be fed.")
    elif column.name == DO_NOT_LINK:
        read.fault(place, "has to be fed: whether a client may be linked cannot be left open.")
    elif not read.new.can_be_missing(column):
        read.fault(
            place,
            f"has a code list without the code {NOT_COLLECTED}. Add it to {column.codelist}, with a label such as "
            f'"Not collected before version {read.new.name}".',
        )
    return ColumnUpgrade(column=column.name, source=None)


def _read_implied(
    read: _Reader, old_table: Table, table: Table, column: Column, place: str, left_out: tuple[str, ...]
) -> ColumnUpgrade:
    """A column of which the file says nothing: it has to be there already, with nothing about it changed."""
    if column.name not in old_table.column_names or column.name in left_out:
        read.fault(
            place,
            f"is new in version {read.new.name}. Write `{column.name}: {NOT_COLLECTED}`, or name the column of version "
            f"{read.old.name} that feeds it.",
        )
        return ColumnUpgrade(column=column.name, source=None)
    before = old_table.column(column.name)
    changed = [
        words
        for words, differs in (
            ("type", before.type is not column.type),
            ("label", _plain(before.label) != _plain(column.label)),
            ("description", _plain(before.description) != _plain(column.description)),
        )
        if differs
    ]
    if changed:
        read.fault(
            place,
            f"has another {list_in_words(changed)} than in version {read.old.name}, so it is not carried over without "
            f"a word. Write `{column.name}: {column.name}` if its values mean the same, or "
            f"`{column.name}: {NOT_COLLECTED}`.",
        )
    if before.type is column.type:
        _check_every_code(read, read.old.codes_of(before), read.new.codes_of(column), {}, None, place)
        _check_pair(read, old_table, table, before, column, place)
    return ColumnUpgrade(column=column.name, source=column.name)


def _plain(text: str) -> str:
    """Words alone: a line broken elsewhere changes no meaning."""
    return " ".join(text.split())


def _check_pair(read: _Reader, old_table: Table, table: Table, before: Column, column: Column, place: str) -> None:
    if before.type is not column.type and (before.type, column.type) not in _CONVERSIONS:
        read.fault(
            place, f"is {column.type.value}, and {before.name} is {before.type.value}, which cannot be made into it."
        )
    if _STRICTNESS.index(column.treatment) < _STRICTNESS.index(before.treatment):
        read.fault(
            place,
            f"has the treatment {column.treatment.value}, and the people in rows of version {read.old.name} were told "
            f"{before.treatment.value}. Write `{column.name}: {NOT_COLLECTED}`, or keep the treatment.",
        )
    by_name = column.treatment is Treatment.PSEUDONYMISE and column.name != table.person_column
    if by_name and (before.name != column.name or _leads_to(old_table, before) != _leads_to(table, column)):
        read.fault(
            place,
            "is pseudonymised and has to keep its name and what it refers to: pseudonyms are made with both.",
        )


def _leads_to(table: Table, column: Column) -> set[tuple[str, str]]:
    """Table and column that a column refers to, over all references that it is part of."""

    def target(reference: Reference) -> tuple[str, str]:
        return reference.to_table, reference.to_columns[reference.columns.index(column.name)]

    return {target(reference) for reference in table.references if column.name in reference.columns}


def _read_codes(
    read: _Reader, before: Column, column: Column, content: Mapping[str, Any], place: str
) -> tuple[dict[str, str], str | None]:
    """Earlier value -> code, and the code of all other values; empty and None where values stay as they are."""
    declared = take(content, "codes", dict, read.file, place, read.faults) or {}
    others = take(content, "others", str, read.file, place, read.faults)
    if column.type is not ColumnType.CODE:
        if declared or others is not None:
            read.fault(place, "has codes, which belong to a column with a code list.")
        return {}, None
    new = read.new.codes_of(column)
    old = read.old.codes_of(before)
    for value, code in declared.items():
        if before.type is ColumnType.CODE and value not in old:
            read.fault(f"{place}.codes.{value}", f"is no code of {before.name} in version {read.old.name}.")
        if code not in new:
            read.fault(
                f"{place}.codes.{value}",
                f"leads to {code}, which is no code of the list {column.codelist} in version {read.new.name}.",
            )
    if others is not None and others != SAME and others not in new:
        read.fault(f"{place}.others", f"should be a code of the list {column.codelist}, or {SAME}.")
    if before.type is not ColumnType.CODE:
        if others is None or others == SAME:
            read.fault(
                place,
                f"is made a code of {before.type.value}, which may hold anything. Write `codes:` for the values that "
                "you know, and `others:` with the code of all the rest.",
            )
        return dict(declared), others
    otherwise = None if others == SAME else others
    _check_every_code(read, old, new, declared, others, place)
    if (
        column.name == DO_NOT_LINK
        and declared.get("yes", otherwise if "yes" not in declared and otherwise else "yes") != "yes"
    ):
        read.fault(place, "should keep the code yes: it protects people.")
    mapped = {value: str(declared.get(value, otherwise or value)) for value in old}
    if all(value == code for value, code in mapped.items()):
        return {}, None
    return mapped, None


def _check_every_code(
    read: _Reader,
    old: Mapping[str, str],
    new: Mapping[str, str],
    declared: Mapping[str, Any],
    others: str | None,
    place: str,
) -> None:
    """Every code of the earlier list leads somewhere, and none changes its meaning unseen."""
    open_ = [code for code in old if code not in declared and (others is None or others == SAME)]
    gone = [code for code in open_ if code not in new]
    swapped = [code for code in open_ if code in new and new[code] != old[code]]
    unsaid = (
        [code for code in open_ if code not in gone and code not in swapped] if others is None and old != new else []
    )
    if gone:
        read.fault(
            f"{place}.codes",
            f"say nothing of {list_in_words(gone)}, which the list has no more. Write which code follows.",
        )
    for code in swapped:
        read.fault(
            f"{place}.codes",
            f"say nothing of {code}, whose label was {old[code]!r} and is {new[code]!r}. Write `{code}: {code}` if it "
            "means the same, or the code that does.",
        )
    if unsaid and not gone and not swapped:
        read.fault(
            f"{place}.codes",
            f"say nothing of {list_in_words(unsaid)}, and the list has changed. Write which code follows, or "
            f"`others: {SAME}` if they still mean the same beside the new ones.",
        )


# --- windows ----------------------------------------------------------------------------------------------------------


def check_windows(agreement: Agreement, faults: Faults) -> None:
    """A fault for each entry of ``versions`` that leaves a period without a version, or a version without an end."""
    file, entry = "agreement.yaml", "versions"
    if not agreement.versions:
        return
    if len(agreement.versions) > 2:
        faults.add(file, entry, "are more than two. Keep the agreement's own version and the one before it.")
        return
    newest = agreement.versions[0]
    if newest.version != agreement.version:
        faults.add(file, f"{entry}.0.version", f'should be "{agreement.version}", the agreement\'s own: newest first.')
    if newest.sunset is not None:
        faults.add(file, f"{entry}.0.sunset", "belongs to the version before. The newest has no end of its own.")
    starts = {period.id: period.starts for period in agreement.calendar.periods}
    unknown = [n for n, window in enumerate(agreement.versions) if window.first_period not in starts]
    for number in unknown:
        faults.add(file, f"{entry}.{number}.first_period", "is no period of the calendar.")
    if unknown:
        return
    oldest = agreement.versions[-1]
    if agreement.calendar.periods and oldest.first_period != agreement.calendar.periods[0].id:
        faults.add(
            file,
            f"{entry}.{len(agreement.versions) - 1}.first_period",
            f"should be {agreement.calendar.periods[0].id}, the calendar's first: each period has a version.",
        )
    if oldest is newest:
        return
    begins = starts[newest.first_period]
    if begins <= starts[oldest.first_period]:
        faults.add(file, f"{entry}.0.first_period", f"should come after that of version {oldest.version}.")
    if oldest.sunset is None:
        faults.add(
            file,
            f"{entry}.1.sunset",
            f"is missing. Name the last day on which version {oldest.version} is taken for {newest.first_period} and "
            "later.",
        )
    elif oldest.sunset < begins:
        faults.add(file, f"{entry}.1.sunset", f"lies before {newest.first_period} begins. Earlier periods need none.")
