"""Two-layer keyed tokens: HMAC-SHA-256 under K2 of HMAC-SHA-256 under K1.

The inner layer can be computed at a partner's own site, the outer one only by the linkage custodian, so extracts
pseudonymised in either place give the same tokens. A token is 64 hexadecimal digits; the message of the outer layer is
the inner token in that form. Nulls stay null.
"""

from collections.abc import Sequence

import polars as pl
import polars_hash

from protocol.errors import DefectFound

_MESSAGE = "message"

PSEUDONYM_LENGTH = 32
"""Hexadecimal digits of a pseudonym: the first half of a token, 128 bits."""


def frame_text(column: pl.Expr) -> pl.Expr:
    """A text with its length in bytes before it, ``5:smith,``; null stays null. A message that is put together of such
    texts (:func:`compose`) can be made of no other list of values."""
    return pl.concat_str(column.str.len_bytes().cast(pl.String), pl.lit(":"), column, pl.lit(","))


def compose(framed: Sequence[pl.Expr]) -> pl.Expr:
    """One message of several framed texts, ``5:smith,10:1980-03-02,``. Null where any of them is null."""
    return pl.concat_str(framed)


def _hash_column(values: pl.Series, key: str) -> pl.Series:
    # Read the note at derive_tokens before changing how the key travels.
    expression = polars_hash.col(_MESSAGE).chash.hmac_sha256(key=key)
    try:
        return values.alias(_MESSAGE).to_frame().select(expression).to_series()
    except pl.exceptions.PolarsError:
        raise DefectFound("tokens could not be derived: the column to hash is not text") from None


def derive_inner(values: pl.Series, key: str) -> pl.Series:
    """Layer one: HMAC-SHA-256 of text under a subkey of K1. ``key`` is the subkey in hexadecimal."""
    return _hash_column(values, key)


def derive_outer(inner: pl.Series, key: str) -> pl.Series:
    """Layer two: HMAC-SHA-256 of inner tokens under a subkey of K2."""
    return _hash_column(inner, key)


def derive_tokens(values: pl.Series, inner_key: str, outer_key: str) -> pl.Series:
    """Both layers over a column of text; where values repeat, each is hashed once.
    Raises DefectFound where it is not text.

    The keys are subkeys in hexadecimal, used as the 64 ASCII bytes that they are: a whole SHA-256 block, so HMAC
    neither pads nor hashes them. Polars carries them as an argument of its plugin: they are in no plan, expression
    text or error (``tests/unit/pseudonymise/test_privacy.py``). They are in a *serialised* plan: none is ever written.
    """
    if values.dtype != pl.String:
        raise DefectFound("tokens could not be derived: the column to hash is not text")
    name, values = values.name, values.alias(_MESSAGE)
    distinct_values = values.to_frame().select(pl.col(_MESSAGE).approx_n_unique()).item()
    if distinct_values * _WORTH_JOINING > len(values):
        return derive_outer(derive_inner(values, inner_key), outer_key).alias(name)
    distinct = values.drop_nulls().unique()
    tokens = derive_outer(derive_inner(distinct, inner_key), outer_key)
    answers = pl.DataFrame({_MESSAGE: distinct, "token": tokens})
    cells = values.alias(_MESSAGE).to_frame()
    return cells.join(answers, on=_MESSAGE, how="left", maintain_order="left")["token"].alias(name)


_WORTH_JOINING = 2
"""With fewer rows than this to a distinct value, hashing each row is quicker than hashing each value once and putting
the tokens back in place."""
