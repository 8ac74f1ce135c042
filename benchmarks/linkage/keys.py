"""Classical match keys: records that share a keyed hash of a combination of fields are one person.

Nothing speaks against a link, and clusters are connected components. The keys are written out here and are not those
of :mod:`pseudonymise.match_keys`, so that they stay what they are while Linkarms's own change.
"""

import polars as pl
import polars_hash as plh

from benchmarks.linkage.components import connect
from benchmarks.linkage.data import RECORD, Data
from benchmarks.linkage.normal import normalise_records

KEY = bytes(range(32)).hex()
"""No secret: everybody here is made up."""

ONE = (("forename", "surname", "date_of_birth", "postcode"),)
SIX = (
    ("nhs_number", "date_of_birth"),
    ("name_low", "name_high", "date_of_birth"),
    ("forename_start", "surname_start", "date_of_birth"),
    ("forename_start", "date_of_birth", "postcode_sector"),
    ("surname", "date_of_birth", "postcode"),
    ("forename_start", "surname", "postcode"),
)
FIFTEEN = (
    *SIX,
    ("nhs_number",),
    ("ni_number",),
    ("email", "initial"),
    ("phone", "date_of_birth"),
    ("forename_family", "surname", "date_of_birth"),
    ("name_low", "name_high", "date_of_birth_sorted"),
    ("forename_sound", "surname_sound", "date_of_birth"),
    ("forename_start", "surname_start", "birth_year", "postcode_sector"),
    ("forename_start", "surname_start", "birth_month_day", "postcode_sector"),
)

LARGEST_BLOCK = 60
"""A token that more records hold links none of them."""


def link_by_keys(data: Data, keys: tuple[tuple[str, ...], ...]) -> pl.DataFrame:
    """Connected components over records that share any token."""
    normal = normalise_records(data)
    links = []
    for key in keys:
        message = pl.concat_str([pl.col(part) for part in key], separator="\x1f")
        tokens = (
            normal.select(message=message)
            .select(record=pl.int_range(pl.len(), dtype=pl.Int64), token=plh.col("message").chash.hmac_sha256(key=KEY))
            .drop_nulls()
        )
        links.append(
            tokens.with_columns(first=pl.col("record").first().over("token"), held=pl.len().over("token"))
            .filter((pl.col("held") <= LARGEST_BLOCK) & (pl.col("record") != pl.col("first")))
            .select(left="first", right="record")
        )
    return data.rows.select(*RECORD, cluster=pl.Series(connect(data.rows.height, pl.concat(links))))


def link_by_one_hash(data: Data) -> pl.DataFrame:
    """:data:`ONE`."""
    return link_by_keys(data, ONE)


def link_by_six_keys(data: Data) -> pl.DataFrame:
    """:data:`SIX`."""
    return link_by_keys(data, SIX)


def link_by_fifteen_keys(data: Data) -> pl.DataFrame:
    """:data:`FIFTEEN`."""
    return link_by_keys(data, FIFTEEN)
