"""The two layers apart: the inner one at a partner's own site, the outer ones at the hub.

:func:`pseudonymise_inner` and then :func:`close_inner` give, byte for byte, what
:func:`pseudonymise.output.pseudonymise_tables` gives of the same rows under the same keys
(``tests/unit/pseudonymise/test_at_source.py``), so that records of both modes link to one another. What each frame
holds is stated in :mod:`protocol.at_source`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa

from protocol.at_source import NUMBER, parent_column
from protocol.errors import DefectFound
from protocol.model import Contract, Table, Treatment
from protocol.pool import DELETED, PERSON_DOMAIN, PERSON_REF, ROW_KEY, number_domain, pool_columns, row_domain
from pseudonymise.encoding import TOKEN_SETS, encode_inner, encode_outer, flat_blocks, inner_schema, list_of_blocks
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import MATCH_KEY_COLUMNS, MATCH_KEYS, build_inner_match_keys, close_match_keys
from pseudonymise.normalise import SCHEME
from pseudonymise.output import DELETE, Maker, Pseudonymised, find_linked, inner_layer, make_frames
from pseudonymise.partner_key import InnerKeys
from pseudonymise.tokens import PSEUDONYM_LENGTH, derive_outer

_BLOCK_BYTES = 16


@dataclass(frozen=True, repr=False)
class InnerFrames:
    """One partner's submission under the inner layer. Everybody who holds K1 can guess what is in it: it is written
    nowhere but into an envelope."""

    tables: Mapping[str, pl.DataFrame]
    match_keys: pl.DataFrame
    encodings: pl.DataFrame
    """With text in the place of lists, see :func:`pack_encodings`."""
    scheme: int
    k1_id: str

    def __repr__(self) -> str:
        return f"InnerFrames(scheme {self.scheme}, k1.{self.k1_id}, {len(self.tables)} tables)"


# --- at the partner's site --------------------------------------------------------------------------------------------


def pseudonymise_inner(
    accepted: Mapping[str, pl.DataFrame],
    contract: Contract,
    partner_id: str,
    keys: InnerKeys,
    *,
    as_of: date | None = None,
) -> InnerFrames:
    """The frames that a partner sends which pseudonymises at its own site. Arguments and errors are as for
    :func:`pseudonymise.output.pseudonymise_tables`; frames have ``_row`` besides."""
    maker = Maker(contract, partner_id, inner_layer(keys))
    made = make_frames(
        {name: accepted[name] for name in sorted(accepted)},  # the order in which the hub reads its working files
        maker,
        lambda normal, refs: build_inner_match_keys(normal, refs, keys),
        lambda normal, refs: encode_inner(normal, refs, keys),
        inner_schema(),
        as_of,
    )
    tables = {
        name: _for_transport(contract.table(name), frame, accepted[name], maker) for name, frame in made.tables.items()
    }
    return InnerFrames(tables, made.match_keys, pack_encodings(made.encodings), SCHEME, keys.k1_id)


def _for_transport(table: Table, made: pl.DataFrame, accepted: pl.DataFrame, maker: Maker) -> pl.DataFrame:
    columns = [accepted["_row"].alias(NUMBER), made[ROW_KEY]]
    columns += [made[PERSON_REF]] if table.person_column else []
    for number, reference in enumerate(table.references, start=1):
        parent = maker.contract.table(reference.to_table)
        own = dict(zip(reference.to_columns, reference.columns, strict=True))
        refs = maker.row_keys(parent, accepted, [own[part] for part in parent.key])
        columns.append(refs.alias(parent_column(number)))
    columns += [made[column.name] for column in pool_columns(table)]
    if DELETED in made.columns:
        columns.append(made[DELETED].alias(DELETE))
    return pl.DataFrame(columns)


def pack_encodings(inner: pl.DataFrame) -> pl.DataFrame:
    """An inner encoding (:func:`pseudonymise.encoding.inner_schema`) as text: of each set base64 of its blocks one
    after the other; null where it has none."""
    columns: list[pl.Series] = [inner[PERSON_REF]]
    for tokens in TOKEN_SETS:
        counts, blocks = flat_blocks(inner[tokens.name])
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64) * _BLOCK_BYTES
        raw = pa.py_buffer(np.ascontiguousarray(blocks).tobytes())
        joined = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(counts), [None, pa.py_buffer(ends.tobytes()), raw]
        )
        cells = pl.Series(tokens.name, pl.from_arrow(joined), dtype=pl.Binary).to_frame()
        columns.append(
            cells.select(pl.when(pl.first().bin.size() > 0).then(pl.first().bin.encode("base64"))).to_series()
        )
    return pl.DataFrame(columns)


# --- at the hub -------------------------------------------------------------------------------------------------------


def unpack_encodings(packed: pl.DataFrame) -> pl.DataFrame:
    """What :func:`pack_encodings` packed. Raises ValueError, which shows no cell, where it is nothing such."""
    if packed.columns != list(inner_schema()) or any(dtype != pl.String for dtype in packed.dtypes):
        raise ValueError("the columns are others")
    columns: list[pl.Series] = [packed[PERSON_REF]]
    for tokens in TOKEN_SETS:
        try:
            raw = packed[tokens.name].str.decode("base64", strict=True)
        except pl.exceptions.PolarsError:
            raise ValueError("a cell is no base64") from None
        sizes = raw.bin.size().fill_null(0).cast(pl.Int64).to_numpy()
        if (sizes % _BLOCK_BYTES).any():
            raise ValueError("a cell does not hold whole blocks")
        blocks = np.frombuffer(b"".join(raw.drop_nulls()), dtype="<u8").reshape(-1, 2)
        columns.append(list_of_blocks(tokens.name, sizes // _BLOCK_BYTES, blocks))
    return pl.DataFrame(columns, schema=inner_schema())


def no_tokens() -> dict[str, pl.DataFrame]:
    """``match_keys`` and packed ``encodings`` of nobody."""
    return {
        "match_keys": pl.DataFrame(schema=MATCH_KEY_COLUMNS),
        "encodings": pl.DataFrame(schema=dict.fromkeys(inner_schema(), pl.String)),
    }


def find_linked_refs(tables: Mapping[str, pl.DataFrame], contract: Contract) -> pl.Series:
    """The inner ``person_ref`` of each row that is linked, table by table in order of name: those that match keys and
    encodings may be of. ``tables`` are typed, as the check accepts them."""
    found = [pl.Series(PERSON_REF, [], dtype=pl.String)]
    for name in sorted(tables):
        table = contract.table(name)
        if table.person_column and any(column.identifier is not None for column in table.columns):
            found.append(tables[name][PERSON_REF].filter(find_linked(table, tables[name], DELETE)))
    return pl.concat(found)


def match_key_names() -> frozenset[str]:
    """Names of all match keys there are."""
    return frozenset(key.name for key in MATCH_KEYS)


def close_row_keys(inner: pl.Series, table: str, key_ring: KeyRing) -> pl.Series:
    """The ``row_key`` of rows of a table from their inner tokens."""
    domain = row_domain(table)
    outer_keys = key_ring.outer_subkeys(purpose=domain.purpose, field=domain.field)
    return derive_outer(inner, outer_keys, PSEUDONYM_LENGTH).alias(ROW_KEY)


def close_inner(
    tables: Mapping[str, pl.DataFrame],
    match_keys: pl.DataFrame,
    encodings: pl.DataFrame,
    contract: Contract,
    key_ring: KeyRing,
    *,
    k1_id: str,
) -> Pseudonymised:
    """Pool-ready frames, match keys and encodings of inner ones, by applying the outer layers.

    ``tables`` are typed, as the check accepts them; ``encodings`` packed. Of the columns only those of the pool are
    taken. Raises DefectFound where the tokens were made with another K1 than the one in use, or a column is missing.
    """
    if k1_id != key_ring.k1_id:
        raise DefectFound("inner tokens were made with another K1 than the one in use")

    def close(inner: pl.Series, purpose: str, field: str) -> pl.Series:
        return derive_outer(inner, key_ring.outer_subkeys(purpose=purpose, field=field), PSEUDONYM_LENGTH)

    made: dict[str, pl.DataFrame] = {}
    counts = {"persons": 0, "persons_without_match_key": 0, "persons_not_to_link": 0, "match_keys": match_keys.height}
    for name in sorted(tables):
        table, frame = contract.table(name), tables[name]
        try:
            columns = {ROW_KEY: close(frame[ROW_KEY], *row_domain(name))}
            if table.person_column:
                columns[PERSON_REF] = close(frame[PERSON_REF], *PERSON_DOMAIN)
            for column in pool_columns(table):
                cells = frame[column.name]
                if column.kind is Treatment.PSEUDONYMISE:
                    cells = close(cells, *number_domain(contract, table, column.source))
                columns[column.name] = cells
        except pl.exceptions.ColumnNotFoundError:
            raise DefectFound(f"the table {name} lacks a column that the pool has") from None
        if DELETE in frame.columns:
            columns[DELETED] = frame[DELETE].fill_null(value=False)
        made[name] = pl.DataFrame(columns)
        counts[f"rows.{name}"] = frame.height
        if table.person_column and any(column.identifier is not None for column in table.columns):
            linked = find_linked(table, frame, DELETE)
            living = int((~columns[DELETED]).sum()) if DELETED in columns else frame.height
            counts["persons"] += living
            counts["persons_not_to_link"] += living - int(linked.sum())
    keys = close_match_keys(match_keys, key_ring)
    closed = encode_outer(unpack_encodings(encodings), key_ring)
    counts["persons_without_match_key"] = encodings.height - keys[PERSON_REF].n_unique()
    return Pseudonymised(
        tables=made,
        match_keys=keys.with_columns(close(keys[PERSON_REF], *PERSON_DOMAIN).alias(PERSON_REF)),
        encodings=closed.with_columns(close(closed[PERSON_REF], *PERSON_DOMAIN).alias(PERSON_REF)),
        counts=counts,
        scheme=SCHEME,
        key_id=key_ring.key_id,
    )
