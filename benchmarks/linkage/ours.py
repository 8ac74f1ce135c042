"""Linkarms's own linkage on a set of the benchmark, as the pipeline does it: keys, tokens, pairs, clusters."""

from datetime import UTC, datetime

import polars as pl

from benchmarks.linkage.data import RECORD, Data
from benchmarks.linkage.normal import normalise_records
from linkage.cluster import cluster_records
from linkage.match import KeyRule, Kind, LinkPolicy, link_records
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import MATCH_KEYS, build_match_keys


def link(data: Data) -> pl.DataFrame:
    """Found clusters: ``partner_id``, ``person_ref``, ``cluster``. No truth is used."""
    key_ring = KeyRing(bytes(range(32)), bytes(range(32, 64)), datetime(2026, 1, 1, tzinfo=UTC))
    made = build_match_keys(normalise_records(data), data.rows["person_ref"], key_ring)
    made = made.join(data.rows.select(RECORD), on="person_ref")
    rules = tuple(
        KeyRule(name=key.name, kind=Kind(key.kind), fields=key.fields, unless_differs=key.unless_differs)
        for key in MATCH_KEYS
    )
    return cluster_records(link_records(made, LinkPolicy(keys=rules, duplicate_free=data.duplicate_free))).members
