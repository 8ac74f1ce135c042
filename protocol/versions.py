"""Two versions at once: which one a period is submitted by, until when, and what becomes of rows of the earlier one.

A collection period belongs to the latest version whose first period it is or follows. That version is taken whenever
the calendar takes the period, however late; the version before it is taken as well, up to its last day (its sunset);
no other is. So a late file of an old period still comes by the old version, after its sunset too.

A row of the earlier version is checked as submitted, carried over by the declared upgrade
(:mod:`protocol.upgrade`), and checked again. What the earlier version did not ask for is *not collected*, which is not
the same as asked and not answered: a code column then has the code ``not_collected``, any other column is null and
listed by :func:`not_collected`.
"""

from datetime import date

from protocol.model import (
    Agreement,
    CodeList,
    ColumnType,
    Contract,
    Frozen,
    Mapping,
    Name,
    Partner,
    Rule,
    RuleKind,
    Table,
    TableUpgrade,
    Upgrade,
    VersionWindow,
)
from protocol.pool import pool_columns

NOT_COLLECTED = "not_collected"
"""The code, and the word of ``upgrade.yaml``, for what an earlier version did not ask for."""


class Terms(Frozen):
    """The tables and code lists of one version."""

    contract: Contract
    codelists: tuple[CodeList, ...]


class NotCollected(Frozen):
    """A column that rows of an earlier version do not have."""

    version: str
    table: Name
    column: Name


# --- windows ----------------------------------------------------------------------------------------------------------


def windows(agreement: Agreement) -> tuple[VersionWindow, ...]:
    """The versions that the agreement takes, newest first; one over all periods where it names none."""
    if agreement.versions:
        return agreement.versions
    return (VersionWindow(version=agreement.version, first_period=agreement.calendar.periods[0].id),)


def known_versions(agreement: Agreement) -> tuple[str, ...]:
    """Every version that the agreement speaks of, newest first."""
    return tuple(window.version for window in windows(agreement))


def version_of(agreement: Agreement, period_id: str) -> str:
    """The version that a period of the calendar belongs to; KeyError where the calendar has none of that id."""
    return _windows_of(agreement, period_id)[0].version


def accepted_versions(agreement: Agreement, period_id: str, today: date) -> tuple[str, ...]:
    """The versions that are taken for a period today, its own first; KeyError where the calendar has no such period.

    Whether the calendar takes the period today at all is decided elsewhere (:mod:`protocol.gate`).
    """
    own, *before = _windows_of(agreement, period_id)
    still = [window.version for window in before if window.sunset is None or today <= window.sunset]
    return (own.version, *still)


def _windows_of(agreement: Agreement, period_id: str) -> tuple[VersionWindow, ...]:
    """The window of the period, then those before it."""
    starts = agreement.calendar.period(period_id).starts
    begun = [w for w in windows(agreement) if agreement.calendar.period(w.first_period).starts <= starts]
    return tuple(begun or windows(agreement)[-1:])


def terms_of(agreement: Agreement, version: str) -> Terms:
    """Tables and code lists of a version; KeyError for one that the agreement does not speak of."""
    if version == agreement.version:
        return Terms(contract=agreement.contract, codelists=agreement.codelists)
    if agreement.earlier is not None and version == agreement.earlier.contract.version:
        return Terms(contract=agreement.earlier.contract, codelists=agreement.earlier.codelists)
    raise KeyError("the agreement has no such version")


def partner_under(agreement: Agreement, partner: Partner, version: str) -> Partner:
    """The partner as it submits by a version: without its mapping where that makes the tables of another one."""
    if version == (partner.mapping.version or agreement.version):
        return partner
    return partner.model_copy(update={"mapping": Mapping()})


def describe_sunset(agreement: Agreement, version: str, period_id: str, today: date) -> str | None:
    """What a partner that submitted by ``version`` is told about the end of that version; None by the newest one."""
    newest, *before = windows(agreement)
    window = next((window for window in before if window.version == version), None)
    if window is None or window.sunset is None:
        return None
    last = f"{window.sunset.day} {window.sunset:%B %Y}"
    ends = "is" if today <= window.sunset else "was"
    still = f" Periods before {newest.first_period} stay with version {version}, also when they are sent late."
    if period_id in {p.id for p in agreement.calendar.periods} and version_of(agreement, period_id) == version:
        return (
            f"This was sent by version {version} of the agreement, which is right for this period. From period "
            f"{newest.first_period} on, version {newest.version} holds, and {last} {ends} the last day on which "
            f"version {version} is taken for it. Ask for the template of version {newest.version} in good time.{still}"
        )
    return (
        f"This was sent by version {version} of the agreement. For this period {last} {ends} the last day on which "
        f"that is taken; after it only version {newest.version} is. Make the next extract with the template of version "
        f'{newest.version} and write agreement_version: "{newest.version}" into its manifest.{still}'
    )


# --- rows of the earlier version --------------------------------------------------------------------------------------


def not_collected(agreement: Agreement) -> tuple[NotCollected, ...]:
    """Every column of the agreement's own version that rows of the earlier one do not have, in the agreed order."""
    if agreement.earlier is None:
        return ()
    version = agreement.earlier.contract.version
    return tuple(
        NotCollected(version=version, table=table.name, column=column)
        for table in agreement.contract.tables
        for column in missing_columns(table, agreement.earlier.upgrade.table(table.name))
    )


def not_collected_in_pool(agreement: Agreement) -> tuple[NotCollected, ...]:
    """The same by the names that the columns have in the pool; what does not reach the pool is left out."""
    missing = {(entry.table, entry.column): entry.version for entry in not_collected(agreement)}
    return tuple(
        NotCollected(version=missing[table.name, column.source], table=table.name, column=column.name)
        for table in agreement.contract.tables
        for column in pool_columns(table)
        if (table.name, column.source) in missing
    )


def missing_columns(table: Table, upgrade: TableUpgrade) -> tuple[str, ...]:
    """Columns of ``table`` that the earlier version did not collect."""
    if not upgrade.collected:
        return table.column_names
    return tuple(column.column for column in upgrade.columns if column.source is None)


def contract_for_upgraded(agreement: Agreement) -> Contract:
    """The agreement's own contract as rows of the earlier version can keep it once they are carried over.

    Tables that were not collected are left out, and so is every rule that looks at a column that was not collected:
    a required column is not held against a row that was never asked for it. A table that a partner could leave out of
    the earlier version may be missing here. Columns are all there. ValueError where there is no earlier version.
    """
    if agreement.earlier is None:
        raise ValueError("the agreement has no earlier version")
    upgrade, earlier = agreement.earlier.upgrade, agreement.earlier.contract
    missing = {(entry.table, entry.column) for entry in not_collected(agreement)}
    tables = [
        table.model_copy(
            update={
                "rules": tuple(rule for rule in table.rules if _is_kept(rule, missing)),
                "optional": table.optional or earlier.table(table.name).optional,
            }
        )
        for table in agreement.contract.tables
        if upgrade.table(table.name).collected
    ]
    return agreement.contract.model_copy(update={"tables": tuple(tables)})


def _is_kept(rule: Rule, missing: set[tuple[str, str]]) -> bool:
    looked_at = {(rule.table, column) for column in rule.columns}
    looked_at |= {(rule.to_table, column) for column in (*rule.to_columns, *rule.to_join) if rule.to_table is not None}
    # A type rule passes an empty cell, and without one no column is read as its type.
    return rule.kind is RuleKind.TYPE or not looked_at & missing


def submitted_place(upgrade: Upgrade, table: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Columns as the partner's file of the earlier version names them, each once; what it does not have is left out."""
    fed = {column.column: column.source for column in upgrade.table(table).columns}
    return tuple(dict.fromkeys(source for name in columns if (source := fed.get(name, name)) is not None))


def collected_codes(codelist: CodeList) -> tuple[str, ...]:
    """The codes that a partner may write: ``not_collected`` is for rows of an earlier version alone."""
    return tuple(code for code in codelist.values if code != NOT_COLLECTED)


def fill_for_missing(type_: ColumnType) -> str | None:
    """What stands in a column that was not collected."""
    return NOT_COLLECTED if type_ is ColumnType.CODE else None
