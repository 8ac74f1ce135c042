"""Keyed tokens in layers: HMAC-SHA-256 under K2 of HMAC-SHA-256 under K1.

The inner layer can be computed at a partner's own site, the outer one only by the linkage custodian, so extracts
pseudonymised in either place give the same tokens. A token is 64 hexadecimal digits; the message of the outer layer is
the inner token in that form. Nulls stay null.

K2 may be a chain of keys. Each further key is one more layer of the same form on top, so what is stored is rotated by
hashing it once more (:func:`renew`), and what is made anew passes through the whole chain. Where a token is shortened
(a pseudonym has 32 digits), it is shortened after *every* outer layer, and the next layer's message is the shortened
one: else a stored pseudonym could not be carried on. Both ways give the same values
(``tests/unit/pseudonymise/test_rotation.py``), and there are vectors in ``pseudonymise/vectors/chain1``.

Shortening repeatedly lets values collide a little more often: with n values and k outer layers the chance that any two
of them meet is about k n^2 / 2^129 for 128 bits, 1 in 10^18 for 10 million values and 10 layers.
"""

from collections.abc import Sequence

import polars as pl
import polars_hash

from protocol.errors import DefectFound

_MESSAGE = "message"

TOKEN_LENGTH = 64
"""Hexadecimal digits of a token."""

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


def derive_outer(inner: pl.Series, keys: tuple[str, ...], digits: int = TOKEN_LENGTH) -> pl.Series:
    """The outer layers: HMAC-SHA-256 of inner tokens under each subkey of K2's chain in turn, the oldest first.

    After each layer the first ``digits`` hexadecimal digits are kept. Raises DefectFound where there is no key.
    """
    if isinstance(keys, str) or not keys:  # a text is a sequence of texts, too
        raise DefectFound("the outer layers need the subkeys of K2's chain")
    for key in keys:
        inner = _hash_column(inner, key)
        if digits < TOKEN_LENGTH:
            inner = inner.str.head(digits)
    return inner


def derive_tokens(
    values: pl.Series, inner_key: str, outer_keys: tuple[str, ...], digits: int = TOKEN_LENGTH
) -> pl.Series:
    """All layers over a column of text; where values repeat, each is hashed once. ``digits`` as in
    :func:`derive_outer`. Raises DefectFound where it is not text.

    The keys are subkeys in hexadecimal, used as the 64 ASCII bytes that they are: a whole SHA-256 block, so HMAC
    neither pads nor hashes them. Polars carries them as an argument of its plugin: they are in no plan, expression
    text or error (``tests/unit/pseudonymise/test_privacy.py``). They are in a *serialised* plan: none is ever written.
    """
    if values.dtype != pl.String:
        raise DefectFound("tokens could not be derived: the column to hash is not text")
    name, values = values.name, values.alias(_MESSAGE)
    distinct_values = values.to_frame().select(pl.col(_MESSAGE).approx_n_unique()).item()
    if distinct_values * _WORTH_JOINING > len(values):
        return derive_outer(derive_inner(values, inner_key), outer_keys, digits).alias(name)
    distinct = values.drop_nulls().unique()
    tokens = derive_outer(derive_inner(distinct, inner_key), outer_keys, digits)
    answers = pl.DataFrame({_MESSAGE: distinct, "token": tokens})
    cells = values.alias(_MESSAGE).to_frame()
    return cells.join(answers, on=_MESSAGE, how="left", maintain_order="left")["token"].alias(name)


def renew(values: pl.Series, added_keys: tuple[str, ...]) -> pl.Series:
    """Stored tokens or pseudonyms after keys were added to K2's chain; the same length, type and name as before.

    ``values`` are what :func:`derive_outer` gave under the chain before: text of hexadecimal digits in lower case, all
    of one length; the same as bytes (Binary); or the first 64 bits as a number (UInt64, the first 16 digits read as
    one). ``added_keys`` are the subkeys of the added keys for the very purpose, field and scheme, the oldest first.
    Without any, nothing changes. A store that keeps tokens anywhere renews them column by column with this.

    Raises DefectFound where the values are none of these. Nulls stay null.
    """
    if not added_keys:
        return values
    stored = values
    if values.dtype == pl.UInt64:
        stored = _hexadecimal(values)
    elif values.dtype == pl.Binary:
        stored = values.bin.encode("hex")
    elif values.dtype != pl.String:
        raise DefectFound("what is to be renewed is no column of tokens")
    lengths = stored.str.len_bytes().drop_nulls().unique()
    if lengths.is_empty():
        return values
    digits = int(lengths[0])
    if len(lengths) > 1 or not 0 < digits <= TOKEN_LENGTH or digits % 2 or not stored.str.contains("^[0-9a-f]*$").all():
        raise DefectFound("what is to be renewed is no column of tokens of one length")
    renewed = derive_outer(stored, added_keys, digits)
    if values.dtype != pl.String:
        renewed = renewed.str.decode("hex")
    if values.dtype == pl.UInt64:
        renewed = renewed.bin.reinterpret(dtype=pl.UInt64, endianness="big")
    return renewed.alias(values.name)


def permute_bits(filters: pl.Series, keys: tuple[str, ...]) -> pl.Series:
    """Bloom filters (Binary, all of one length) with their bits put in another order under each subkey in turn, the
    oldest first; the added keys of K2's chain alone renew filters that are stored. Nulls stay null.

    The bit at place ``i`` of the new filter (from 0, the highest bit of the first byte) is the one whose place is
    ``i``-th in the order of HMAC-SHA-256 of ``bit:<place>`` under the subkey. How many bits are set does not change,
    so old and new filters of few people can be told to belong together: this takes a key's worth from whoever knows it
    and does not part the new store from a copy of the old one.

    Raises DefectFound where the filters are not Binary of one length.
    """
    stored = filters.drop_nulls() if filters.dtype == pl.Binary else None
    if stored is None or stored.bin.size().n_unique() > 1:
        raise DefectFound("what is to be permuted is no column of filters of one length")
    if stored.is_empty() or not keys:
        return filters
    import numpy as np  # comes with the hub; nobody else has filters to renew

    bits = np.unpackbits(np.frombuffer(b"".join(stored), dtype=np.uint8).reshape(len(stored), -1), axis=1)
    names = pl.Series([f"bit:{place}" for place in range(bits.shape[1])])
    for key in keys:
        bits = bits[:, _hash_column(names, key).arg_sort().to_numpy()]
    made = iter(np.packbits(bits, axis=1))
    cells = [None if cell is None else next(made).tobytes() for cell in filters]
    return pl.Series(filters.name, cells, dtype=pl.Binary)


def _hexadecimal(numbers: pl.Series) -> pl.Series:
    """Unsigned 64-bit numbers as 16 hexadecimal digits."""
    digits = pl.Series("digit", list("0123456789abcdef"))
    places = [digits.gather((numbers // 16**place) % 16) for place in reversed(range(16))]
    return pl.DataFrame([column.alias(str(place)) for place, column in enumerate(places)]).select(
        pl.concat_str(pl.all()).alias(numbers.name)
    )[numbers.name]


_WORTH_JOINING = 2
"""With fewer rows than this to a distinct value, hashing each row is quicker than hashing each value once and putting
the tokens back in place."""
