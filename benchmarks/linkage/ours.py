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
from pseudonymise.match_keys import build_match_keys


def link(data: Data) -> pl.DataFrame:
    """Found clusters: ``partner_id``, ``person_ref``, ``cluster``. No truth is used.

    An agreement has no fields for the parts of an address. Where a set has them, street and number take the place of
    the telephone (what a household shares) and suburb and second line that of the e-mail address: two exact fields.
    """
    key_ring = KeyRing(bytes(range(32)), bytes(range(32, 64)), datetime(2026, 1, 1, tzinfo=UTC))
    normal = normalise_records(data)
    if data.address_parts:
        normal = normal.with_columns(
            phone=_join(data.rows, "address_1", "street_number"), email=_join(data.rows, "suburb", "address_2")
        )
    refs = data.rows["person_ref"]
    keys = build_match_keys(normal, refs, key_ring).join(data.rows.select(RECORD), on="person_ref")
    encodings = encode_persons(normal, refs, key_ring).with_columns(data.rows["partner_id"])
    del normal
    scored = score_records(
        keys,
        encodings,
        ScorePolicy(duplicate_free=data.duplicate_free),
        duckdb_engine(),
        records=data.rows.select(RECORD),
    )
    return cluster_records(scored).members


def _join(rows: pl.DataFrame, first: str, second: str) -> pl.Series:
    """The letters of one column and the text of another in one; null where the first is."""
    letters = pl.col(first).str.to_lowercase().str.replace_all("[^a-z]", "")
    return rows.select(pl.concat_str(letters, pl.lit("|"), pl.col(second).fill_null(""))).to_series()
