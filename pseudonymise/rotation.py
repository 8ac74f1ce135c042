"""Tokens and pseudonyms after a key was added to K2's chain: stored ones are hashed once more, none is made anew.

``stored value -> one more layer`` equals ``clear value -> the whole chain`` for everything that
:mod:`pseudonymise.output` and :mod:`pseudonymise.publish` make (``tests/unit/pseudonymise/test_rotation.py``).
"""

from collections.abc import Callable, Mapping

import polars as pl

from protocol.model import Contract, Treatment
from protocol.pool import (
    MATCH_KEY_PURPOSE,
    PERSON_DOMAIN,
    PERSON_REF,
    ROW_KEY,
    PseudonymDomain,
    number_domain,
    pool_columns,
    row_domain,
)
from pseudonymise.encoding import BLOCK, encode_further
from pseudonymise.encoding import PURPOSE as ENCODING_PURPOSE
from pseudonymise.keys import KeyRing
from pseudonymise.tokens import renew


def make_renewer(key_ring: KeyRing, before: str) -> Callable[[PseudonymDomain, pl.Series], pl.Series]:
    """A function that renews stored values of one domain, made when the ring had the id ``before``.

    Raises KeyUnavailable where the keys in use did not come from that by adding some.
    """
    key_ring.added_since(before)

    def renew_column(domain: PseudonymDomain, values: pl.Series) -> pl.Series:
        return renew(values, key_ring.outer_subkeys(purpose=domain.purpose, field=domain.field, above=before))

    return renew_column


def make_encoding_renewer(key_ring: KeyRing, before: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A function that renews stored encodings, made when the ring had the id ``before``; raises as
    :func:`make_renewer` does."""
    renew_column = make_renewer(key_ring, before)
    added = key_ring.outer_subkeys(purpose=ENCODING_PURPOSE, field=BLOCK, above=before)

    def renew_encodings(encodings: pl.DataFrame) -> pl.DataFrame:
        renewed = encode_further(encodings, added)
        return renewed.with_columns(renew_column(PERSON_DOMAIN, renewed[PERSON_REF]))

    return renew_encodings


def renew_submission(
    tables: Mapping[str, pl.DataFrame],
    match_keys: pl.DataFrame,
    encodings: pl.DataFrame,
    contract: Contract,
    key_ring: KeyRing,
    before: str,
) -> tuple[dict[str, pl.DataFrame], pl.DataFrame, pl.DataFrame]:
    """Pool-ready frames, match keys and encodings of one submission (:class:`pseudonymise.output.Pseudonymised`) that
    were made when the ring had the id ``before``, as they would be made now. Raises KeyUnavailable as
    :func:`make_renewer` does."""
    renew_column = make_renewer(key_ring, before)
    renewed = {}
    for name, frame in tables.items():
        table = contract.table(name)
        domains = {ROW_KEY: row_domain(name), PERSON_REF: PERSON_DOMAIN} | {
            column.name: number_domain(contract, table, column.source)
            for column in pool_columns(table)
            if column.kind is Treatment.PSEUDONYMISE
        }
        renewed[name] = frame.with_columns(
            renew_column(domain, frame[column]) for column, domain in domains.items() if column in frame.columns
        )
    tokens = [
        keys.with_columns(renew_column(PseudonymDomain(MATCH_KEY_PURPOSE, str(key_name)), keys["token"]))
        for (key_name,), keys in match_keys.group_by("key_name", maintain_order=True)
    ]
    made = pl.concat(tokens) if tokens else match_keys
    return (
        renewed,
        made.with_columns(renew_column(PERSON_DOMAIN, made[PERSON_REF])),
        make_encoding_renewer(key_ring, before)(encodings),
    )
