"""What of an agreed table reaches the pool: the one allow-list that pseudonymise, warehouse and evidence share."""

from typing import NamedTuple

from protocol.model import Column, ColumnType, Contract, Frozen, Generalisation, Name, Table, Treatment

ROW_KEY = "row_key"
"""First column of every pool-ready frame: keyed pseudonym of partner, table and key, 32 hex characters."""
PERSON_REF = "person_ref"
"""Second column where rows are about a person: keyed pseudonym of partner and local person id, 32 hex characters."""
DELETED = "_deleted"
"""Column of a delta's frame that marks tombstones."""
RESERVED = frozenset(
    {
        ROW_KEY,
        PERSON_REF,
        DELETED,
        "agreement_version",
        "days_since",
        "deleted",
        "mark",
        "partner_id",
        "period",
        "person_id",
        "published_id",
        "repeats_partner_id",
        "repeats_row_key",
        "submission_id",
    }
)
"""Names that the warehouse gives to columns of its own, so that no agreed column may reach the pool under them."""

DO_NOT_LINK = "do_not_link"
"""The column of ``person`` whose ``yes`` keeps a client out of every comparison and every analyst's view."""
HIDDEN_FROM_ANALYSTS = frozenset({DO_NOT_LINK})
"""Columns of the pool that no analyst's view shows: the flag itself would tell of a refuge or a protected identity."""


_MARK_SOURCES = frozenset({"domain", "assessed_on", "valid_to"})
"""The agreed columns from which it is worked out whether an assessment repeats another."""


class PseudonymDomain(NamedTuple):
    """What pseudonyms of one kind have in common: they are made with the same subkeys, and no others are."""

    purpose: str
    field: str


MATCH_KEY_PURPOSE = "match key"
"""Of match keys' tokens; the field is the key's name."""
PUBLISHED_ID_PURPOSE = "published id"
"""Of persons' published ids; the field is the grant's id."""
PERSON_DOMAIN = PseudonymDomain("person reference", PERSON_REF)
"""Of ``person_ref``, in whatever table."""


def row_domain(table: str) -> PseudonymDomain:
    """The domain of a table's ``row_key``, and of what refers to one."""
    return PseudonymDomain("row key", table)


def number_domain(contract: Contract, table: Table, column: str) -> PseudonymDomain:
    """The domain of a partner's own number: that of the column in which it was first given. A reference and what it
    refers to have one domain, so that their pseudonyms are equal. KeyError where it leads to no agreed table."""
    place, seen = (table, column), set[tuple[str, str]]()
    while (place[0].name, place[1]) not in seen:
        seen.add((place[0].name, place[1]))
        for reference in place[0].references:
            if place[1] in reference.columns:
                target = contract.table(reference.to_table)
                place = (target, reference.to_columns[reference.columns.index(place[1])])
                break
    return PseudonymDomain("local number", f"{place[0].name}.{place[1]}")


class PoolColumn(Frozen):
    """One agreed column as it is in the pool."""

    name: Name
    type: ColumnType
    """``text`` (String), ``code`` (String), ``integer`` (Int64), ``decimal`` (Decimal(18, 4)) or ``date`` (Date)."""
    source: Name
    """The agreed column that it is made from."""
    kind: Treatment
    """``keep``, ``generalise`` or ``pseudonymise``; nothing else gets here."""
    generalisation: Generalisation | None = None


def pool_columns(table: Table) -> tuple[PoolColumn, ...]:
    """The columns of ``table`` in the pool, in the agreed order, *besides* ``row_key`` and ``person_ref``.

    The person column is not among them: it becomes ``person_ref``. Kept columns have their own name; generalised
    ones are ``birth_year_band`` (text), ``postcode_district`` (text) or ``<column>_month`` (date, first of the
    month); pseudonymised ones keep their name and hold 32 hex characters. Tokenised and dropped ones are not there
    (kept by ``tests/unit/protocol/test_pool.py``), nor is one that lacks its generalisation, which lint refuses.
    """
    columns: list[PoolColumn] = []
    for column in table.columns:
        if column.name == table.person_column:
            continue
        if column.treatment is Treatment.KEEP:
            columns.append(PoolColumn(name=column.name, type=column.type, source=column.name, kind=Treatment.KEEP))
        elif column.treatment is Treatment.GENERALISE and column.generalisation is not None:
            columns.append(_generalised(column, column.generalisation))
        elif column.treatment is Treatment.PSEUDONYMISE:
            columns.append(
                PoolColumn(name=column.name, type=ColumnType.TEXT, source=column.name, kind=Treatment.PSEUDONYMISE)
            )
    return tuple(columns)


def analyst_columns(table: Table) -> tuple[PoolColumn, ...]:
    """The columns of the pool that the table's view for analysts has, each shown for its source's purposes."""
    return tuple(column for column in pool_columns(table) if column.name not in HIDDEN_FROM_ANALYSTS)


def row_purposes(table: Table) -> tuple[Name, ...]:
    """The purposes for which an analyst is shown rows of the table at all: those of its view's columns."""
    found = (purpose for column in analyst_columns(table) for purpose in table.column(column.source).purposes)
    return tuple(dict.fromkeys(found))


def mark_purposes(table: Table) -> tuple[Name, ...]:
    """The purposes for which marks of repeats are shown: those that all columns share which they come from."""
    sources = [column.purposes for column in table.columns if column.name in _MARK_SOURCES]
    return tuple(name for name in row_purposes(table) if all(name in purposes for purposes in sources))


def _generalised(column: Column, generalisation: Generalisation) -> PoolColumn:
    if generalisation is Generalisation.MONTH:
        name, type_ = f"{column.name}_month", ColumnType.DATE
    else:
        name, type_ = generalisation.value, ColumnType.TEXT
    return PoolColumn(
        name=name,
        type=type_,
        source=column.name,
        kind=Treatment.GENERALISE,
        generalisation=generalisation,
    )
