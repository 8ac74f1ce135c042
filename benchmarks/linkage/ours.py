"""Linkarms's own linkage on a set of the benchmark, as the pipeline does it: tokens alone, no truth, no setting."""

from datetime import UTC, datetime

import polars as pl

from benchmarks.linkage.data import RECORD, Data
from benchmarks.linkage.normal import normalise_records
from linkage.cluster import cluster_records
from linkage.scoring import ScorePolicy, score_records
from linkage.vectors import duckdb_engine
from pseudonymise.encoding import encode_persons
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import MATCH_KEYS, build_match_keys

_AT_ONCE = 100_000
"""Records whose match keys are made at a time, as of one submission."""


def link(data: Data) -> pl.DataFrame:
    """Found clusters: ``partner_id``, ``person_ref``, ``cluster``. No truth is used.

    An agreement has no fields for the parts of an address. Where a set has them, street and number take the place of
    the telephone (what a household shares) and suburb and second line that of the e-mail address: two exact fields.
    """
    scored = score_records(
        *_tokens_of(data),
        ScorePolicy(duplicate_free=data.duplicate_free),
        duckdb_engine(),
        records=data.rows.select(RECORD),
    )
    return cluster_records(scored).members


def _tokens_of(data: Data) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Match keys and encodings, as the warehouse has them."""
    key_ring = KeyRing(bytes(range(32)), bytes(range(32, 64)), datetime(2026, 1, 1, tzinfo=UTC))
    normal = normalise_records(data)
    if data.address_parts:
        normal = normal.with_columns(
            phone=_join(data.rows, "address_1", "street_number"), email=_join(data.rows, "suburb", "address_2")
        )
    encodings = encode_persons(normal, data.rows["person_ref"], key_ring).with_columns(data.rows["partner_id"])
    return _match_keys(normal, data.rows, key_ring), encodings


def _match_keys(normal: pl.DataFrame, rows: pl.DataFrame, key_ring: KeyRing) -> pl.DataFrame:
    """Match keys as the warehouse gives them to linkage: submission by submission, of each token the first 64 bits."""
    names = pl.Enum([key.name for key in MATCH_KEYS])
    head = pl.col("token").str.head(16).str.decode("hex").bin.reinterpret(dtype=pl.Int64, endianness="big")
    parts = []
    for start in range(0, rows.height, _AT_ONCE):
        some = rows.slice(start, _AT_ONCE).select(RECORD)
        made = build_match_keys(normal.slice(start, _AT_ONCE), some["person_ref"], key_ring)
        parts.append(made.with_columns(head, pl.col("key_name").cast(names)).join(some, on="person_ref"))
    return pl.concat(parts)


def _join(rows: pl.DataFrame, first: str, second: str) -> pl.Series:
    """The letters of one column and the text of another in one; null where the first is."""
    letters = pl.col(first).str.to_lowercase().str.replace_all("[^a-z]", "")
    return rows.select(pl.concat_str(letters, pl.lit("|"), pl.col(second).fill_null(""))).to_series()
