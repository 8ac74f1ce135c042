"""From checked tables to pool-ready frames: keyed pseudonyms, coarser values, match keys, and nothing else.

Output is built from the allow-list that the agreement declares (:func:`protocol.pool.pool_columns`), column by column;
nothing is copied because it happens to be there (``tests/unit/pseudonymise/test_output.py`` and ``test_privacy.py``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from protocol.errors import DefectFound
from protocol.model import ColumnType, Contract, Generalisation, Table, Treatment
from protocol.pool import (
    DELETED,
    DO_NOT_LINK,
    PERSON_DOMAIN,
    PERSON_REF,
    ROW_KEY,
    PoolColumn,
    PseudonymDomain,
    number_domain,
    pool_columns,
    row_domain,
)
from pseudonymise.encoding import encode_persons, encoding_schema
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import MATCH_KEY_COLUMNS, build_match_keys
from pseudonymise.normalise import SCHEME, normalise, normalise_birth_year, postcode_district
from pseudonymise.partner_key import InnerKeys
from pseudonymise.tokens import PSEUDONYM_LENGTH, compose, derive_inner, derive_tokens, frame_text

DELETE = "_delete"
"""Column of a delta's accepted frame that marks deletions."""

BAND_YEARS = 5

_TYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.TEXT: pl.String(),
    ColumnType.CODE: pl.String(),
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.DECIMAL: pl.Decimal(18, 4),
    ColumnType.DATE: pl.Date(),
}


@dataclass(frozen=True)
class Pseudonymised:
    """One partner's submission without an identifier."""

    tables: Mapping[str, pl.DataFrame]
    """Agreed table -> pool-ready frame: ``row_key``, ``person_ref`` where rows are about a person, the pool's columns,
    and ``_deleted`` where the submission is a delta."""
    match_keys: pl.DataFrame
    """``person_ref``, ``key_name``, ``token`` (see :mod:`pseudonymise.match_keys`)."""
    encodings: pl.DataFrame
    """``person_ref`` and the tokens that scoring compares (see :mod:`pseudonymise.encoding`)."""
    counts: Mapping[str, int]
    """Counts for the log and the receipt: ``persons``, ``persons_without_match_key``, ``persons_not_to_link``,
    ``match_keys``, and ``rows.<table>``."""
    scheme: int
    key_id: str
    """Id of the key ring: data made with another one does not fit to this."""

    def __repr__(self) -> str:
        return f"Pseudonymised(scheme {self.scheme}, keys {self.key_id}, {dict(self.counts)})"


def pseudonymise_tables(
    accepted: Mapping[str, pl.DataFrame],
    contract: Contract,
    partner_id: str,
    key_ring: KeyRing,
    *,
    as_of: date | None = None,
) -> Pseudonymised:
    """Pool-ready frames, match keys and encodings of one partner's accepted tables.

    ``accepted`` has typed frames by the agreed table's name, with the agreed columns and, for a delta, ``_delete``
    (true for a row to be deleted by its key). ``as_of`` is the extract's date: a date of birth after it is missing;
    without it, none is too late (the check before holds such rows back).
    A person with ``do_not_link`` = ``yes`` is in the tables and has no match keys and no encoding, and neither has a
    deleted one.

    The same input gives the same frames. Raises DefectFound where a frame is not as the contract says; no message
    shows a value.
    """
    made = make_frames(
        accepted,
        Maker(contract, partner_id, _all_layers(key_ring)),
        lambda normal, refs: build_match_keys(normal, refs, key_ring),
        lambda normal, refs: encode_persons(normal, refs, key_ring),
        encoding_schema(),
        as_of,
    )
    return Pseudonymised(
        tables=made.tables,
        match_keys=made.match_keys,
        encodings=made.encodings,
        counts=made.counts,
        scheme=SCHEME,
        key_id=key_ring.key_id,
    )


OfPersons = Callable[[pl.DataFrame, pl.Series], pl.DataFrame]
"""Makes a frame of normal records (:func:`pseudonymise.normalise.normalise`) and the ``person_ref`` of their rows."""


@dataclass(frozen=True)
class Frames:
    """What is made of accepted tables, under whichever layers."""

    tables: Mapping[str, pl.DataFrame]
    match_keys: pl.DataFrame
    encodings: pl.DataFrame
    counts: Mapping[str, int]


def make_frames(
    accepted: Mapping[str, pl.DataFrame],
    maker: "Maker",
    match_keys_of: OfPersons,
    encodings_of: OfPersons,
    encoding_columns: Mapping[str, pl.DataType],
    as_of: date | None,
) -> Frames:
    """The way from accepted tables to frames, which is one and the same at the hub and at a partner's own site."""
    tables: dict[str, pl.DataFrame] = {}
    keys: list[pl.DataFrame] = [pl.DataFrame(schema=MATCH_KEY_COLUMNS)]
    encodings: list[pl.DataFrame] = [pl.DataFrame(schema=encoding_columns)]
    counts = {"persons": 0, "persons_without_match_key": 0, "persons_not_to_link": 0, "match_keys": 0}
    for name, frame in accepted.items():
        table = _known_table(maker.contract, name)
        if missing := [column for column in table.column_names if column not in frame.columns]:
            raise DefectFound(f"the accepted table {name} lacks the agreed columns {', '.join(missing)}")
        tables[name] = maker.make_pool_frame(table, frame)
        counts[f"rows.{name}"] = frame.height
        identifiers = {column.identifier: column.name for column in table.columns if column.identifier is not None}
        if identifiers and table.person_column:
            linked = find_linked(table, frame, DELETE)
            rows = frame.filter(linked)
            refs = tables[name][PERSON_REF].filter(linked)
            normal = normalise(rows, identifiers, as_of)
            made = match_keys_of(normal, refs)
            keys.append(made)
            encodings.append(encodings_of(normal, refs))
            living = int((~_deletions(frame)).sum())
            counts["persons"] += living
            counts["persons_not_to_link"] += living - rows.height
            counts["persons_without_match_key"] += rows.height - made[PERSON_REF].n_unique()
            counts["match_keys"] += made.height
    return Frames(tables, pl.concat(keys), pl.concat(encodings), counts)


def find_linked(table: Table, frame: pl.DataFrame, delete: str) -> pl.Series:
    """True for the rows of a table of persons that are linked: neither deleted (in ``delete``, where there is such a
    column) nor marked as not to be."""
    linked = ~_deletions(frame, delete)
    if DO_NOT_LINK in table.column_names:
        linked = linked & ~frame[DO_NOT_LINK].eq("yes").fill_null(value=False)
    return linked


def _known_table(contract: Contract, name: str) -> Table:
    try:
        return contract.table(name)
    except KeyError:
        raise DefectFound("an accepted table is not in the agreement") from None


def _deletions(frame: pl.DataFrame, delete: str = DELETE) -> pl.Series:
    if delete not in frame.columns:
        return pl.repeat(value=False, n=frame.height, eager=True)
    return frame[delete].fill_null(value=False)


Derive = Callable[[pl.Series, PseudonymDomain], pl.Series]
"""Hashes messages under the subkeys of a domain."""


def _all_layers(key_ring: KeyRing) -> Derive:
    def derive(messages: pl.Series, domain: PseudonymDomain) -> pl.Series:
        return derive_tokens(
            messages,
            key_ring.inner_subkey(purpose=domain.purpose, field=domain.field),
            key_ring.outer_subkeys(purpose=domain.purpose, field=domain.field),
            PSEUDONYM_LENGTH,
        )

    return derive


def inner_layer(keys: InnerKeys) -> Derive:
    """Whole inner tokens, of 64 digits: what a partner makes at its own site."""

    def derive(messages: pl.Series, domain: PseudonymDomain) -> pl.Series:
        return derive_inner(messages, keys.inner_subkey(purpose=domain.purpose, field=domain.field))

    return derive


@dataclass(frozen=True)
class Maker:
    """What all tables of one submission have in common."""

    contract: Contract
    partner_id: str
    derive: Derive

    def make_pool_frame(self, table: Table, frame: pl.DataFrame) -> pl.DataFrame:
        """The table's pool-ready frame, from its allow-list."""
        made = {ROW_KEY: self.row_keys(table, frame, table.key)}
        if table.person_column:
            made[PERSON_REF] = self._pseudonyms(frame, PERSON_DOMAIN, table.person_column)
        for column in pool_columns(table):
            made[column.name] = self._make_column(table, column, frame)
        if DELETE in frame.columns:
            made[DELETED] = _deletions(frame)
        if made[ROW_KEY].null_count():
            raise DefectFound(f"accepted rows of {table.name} lack a part of their key")
        return pl.DataFrame(made)

    def _make_column(self, table: Table, column: PoolColumn, frame: pl.DataFrame) -> pl.Series:
        cells = frame[column.source]
        try:
            if column.kind is Treatment.KEEP:
                return cells.cast(_TYPES[column.type])
            if column.kind is Treatment.GENERALISE:
                return _generalise(cells, column.generalisation)
        except pl.exceptions.PolarsError:
            raise DefectFound(f"accepted cells of {table.name}.{column.source} are not {column.type.value}") from None
        if column.kind is not Treatment.PSEUDONYMISE:
            raise DefectFound(f"{table.name}.{column.source} is {column.kind.value}: it may not reach the pool")
        return self._pseudonyms(frame, number_domain(self.contract, table, column.source), column.source)

    def _pseudonyms(self, frame: pl.DataFrame, domain: PseudonymDomain, column: str) -> pl.Series:
        return self.derive(_messages(frame, self.partner_id, (column,)), domain)

    def row_keys(self, table: Table, frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
        """The ``row_key`` of rows of ``table`` whose key, part by part, stands in these columns of ``frame``."""
        return self.derive(_messages(frame, self.partner_id, columns), row_domain(table.name))


def derive_row_keys(keys: pl.DataFrame, table: Table, partner_id: str, key_ring: KeyRing) -> pl.Series:
    """The ``row_key`` of rows of ``table`` from its key columns in ``keys``: what the pool has in the place of a key
    that a partner names. Null where a part is missing. Raises DefectFound where ``keys`` lacks a key column."""
    if missing := [column for column in table.key if column not in keys.columns]:
        raise DefectFound(f"keys of {table.name} lack {', '.join(missing)}")
    return _all_layers(key_ring)(_messages(keys, partner_id, table.key), row_domain(table.name)).alias(ROW_KEY)


def derive_person_refs(local_numbers: pl.Series, partner_id: str, key_ring: KeyRing) -> pl.Series:
    """The ``person_ref`` of each of a partner's own client numbers, in order: what the pool has in the place of it.
    Null where the number is missing."""
    frame = pl.DataFrame({"local_number": local_numbers.cast(pl.String)})
    return _all_layers(key_ring)(_messages(frame, partner_id, ("local_number",)), PERSON_DOMAIN).alias(PERSON_REF)


def _messages(frame: pl.DataFrame, partner_id: str, columns: Sequence[str]) -> pl.Series:
    """What is hashed of a partner and columns; null where a part is missing."""
    parts = [pl.lit(partner_id), *(pl.col(name).cast(pl.String).str.strip_chars() for name in columns)]
    return frame.select(message=compose([frame_text(part) for part in parts]))["message"]


def _generalise(cells: pl.Series, how: Generalisation | None) -> pl.Series:
    if how is Generalisation.MONTH:
        return cells.cast(pl.Date).dt.month_start()
    if how is Generalisation.POSTCODE_DISTRICT:
        return postcode_district(cells.cast(pl.String))
    if how is Generalisation.BIRTH_YEAR_BAND:
        return birth_year_band(cells)
    raise DefectFound("a column is to be made coarser in a way that is not known")


def birth_year_band(cells: pl.Series) -> pl.Series:
    """Dates of birth to bands of five birth years, ``1980-1984``; null for placeholder dates."""
    years = normalise_birth_year(cells, None)
    lower = years.cast(pl.Int32) // BAND_YEARS * BAND_YEARS
    return (
        pl.DataFrame({"lower": lower}).select(pl.format("{}-{}", "lower", pl.col("lower") + BAND_YEARS - 1)).to_series()
    )
