"""What scoring compares: many short keyed tokens of each person, none of which says anything alone.

Match keys find pairs that may be one person; the encoding says how alike the two are, letter by letter and digit by
digit, without a letter or digit of theirs. Each comparison has a set of tokens, and two records agree in it where
their sets meet:

- ``forename``, ``surname``: every form of the name (as written, its family, a second or middle name; parts of a double
  surname, the previous one). Forenames and surnames share one domain, so that swapped names meet.
- ``*_part_date``: the same forms, met by half of a date of birth.
- ``*_near``: the name and the name with each letter left out (two names within one letter share one).
- ``*_filter_*``: Bloom filters of letter pairs, for likeness beyond one letter.
- ``date_of_birth``, ``*_swapped``, ``*_near``: the date; its day and month in either order; the date with each digit
  masked. Likewise ``postcode`` (and its sector) and the personal numbers.

**No token stands for a value that many people share.** A name is hashed together with a *salt* that differs from person
to person (the date of birth, the postcode, half of the date and the other name's initial), a date or postcode with an
initial. So a name has thousands of unrelated tokens, and counting them says next to nothing. The price is that two
names can be compared only where a salt agrees.

**Nor does a name's length show.** Every filter sets :data:`FILTER_WEIGHT` of its bits, and every value has as many near
tokens as its set says: long names are cut, and what short ones lack are fillers that only the same value under the same
salt shares. Lists are sorted after the last key, so that their order is that of numbers which nobody can turn back. How
many forms a name has (a second forename, a double surname) does show.

**How a token is made.** With K1 each distinct salt and each distinct value is hashed once (HMAC-SHA-256, 128 bits); a
token's *inner block* is AES-256 under a subkey of K1 of the exclusive or of the two. Whoever lacks K1 has only outputs
of a pseudo-random permutation; thousands of people's tokens cost a few hashes and not hundreds of thousands. With K2
the custodian encrypts the block again and keeps 64 bits, which nobody can turn back, with K2 or without; or folds it
into a filter. Where there are more outer keys (a rotation adds one) each is applied to what the one before left: a
token's 64 bits are padded by zeros, a filter's bits are permuted. The published vectors (``pseudonymise/vectors``) are
worked out anew, person by person, by ``tests/spec/vectors/test_encoding.py``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocol.errors import DefectFound
from pseudonymise.keys import KeyRing
from pseudonymise.normalise import NORMAL_FIELDS
from pseudonymise.partner_key import InnerKeys
from pseudonymise.tokens import compose, derive_inner, frame_text

Blocks = npt.NDArray[np.uint64]
"""Blocks of 128 bits: one row each, two columns."""
Places = npt.NDArray[np.int64]

PURPOSE = "encoding"
BLOCK = "block"
"""Field of the subkeys under which blocks are encrypted."""

FILTER_BITS = 128
"""Bits of a Bloom filter."""
FILTER_WEIGHT = 32
"""Bits that every filter sets, whatever the name. Those of strangers have a quarter of them in common."""
NEAR_LETTERS = 11
"""Letters of a name from which near tokens are made; later ones are cut. One surname in 200 is longer."""

_BATCH = 100_000
"""Persons encoded at a time: bounds memory at about 300 MB whatever the size of the extract."""


@dataclass(frozen=True)
class TokenSet:
    """One comparison's tokens: which values of the normal record go in, under which salts."""

    name: str
    values: tuple[str, ...]
    """Columns of the normal record."""
    salts: tuple[tuple[str, ...], ...]
    """Each a list of columns that are hashed together as one salt. The empty one is no salt."""
    variants: str = "itself"
    """What is made of a value: ``itself``, ``deletions``, ``masks`` or ``letter_pairs``."""
    each: int = 1
    """How many tokens every value has under every salt. Letter pairs, which end in a filter, have as many as there
    are."""
    domain: str = ""
    """Sets of one domain have equal tokens for equal values and salts; its own name where empty."""

    @property
    def is_filter(self) -> bool:
        """Whether the tokens are folded into a filter."""
        return self.variants == "letter_pairs"


_FORENAMES = ("forename", "forename_family", "forename_second", "middle_name")
_SURNAMES = ("surname", "previous_surname", "surname_first_part", "surname_last_part")
_WHOLE = (("date_of_birth",), ("postcode",))
_INITIALS = (("initial",), ("surname_initial",))

TOKEN_SETS: tuple[TokenSet, ...] = (
    TokenSet("forename", _FORENAMES, _WHOLE, domain="name"),
    TokenSet("surname", _SURNAMES, _WHOLE, domain="name"),
    TokenSet(
        "forename_part_date",
        _FORENAMES,
        (("birth_year", "surname_initial"), ("birth_month_day", "surname_initial")),
        domain="name",
    ),
    TokenSet(
        "surname_part_date", _SURNAMES, (("birth_year", "initial"), ("birth_month_day", "initial")), domain="name"
    ),
    TokenSet("forename_near", ("forename",), _WHOLE, "deletions", NEAR_LETTERS + 1, domain="name near"),
    TokenSet("surname_near", ("surname",), _WHOLE, "deletions", NEAR_LETTERS + 1, domain="name near"),
    TokenSet("forename_filter_date", ("forename",), (("date_of_birth",),), "letter_pairs", domain="name filter"),
    TokenSet("surname_filter_date", ("surname",), (("date_of_birth",),), "letter_pairs", domain="name filter"),
    TokenSet("forename_filter_postcode", ("forename",), (("postcode",),), "letter_pairs", domain="name filter"),
    TokenSet("surname_filter_postcode", ("surname",), (("postcode",),), "letter_pairs", domain="name filter"),
    TokenSet("date_of_birth", ("date_of_birth",), (*_INITIALS, ("postcode_sector",))),
    TokenSet("date_of_birth_swapped", ("date_of_birth_sorted",), _INITIALS),
    TokenSet("date_of_birth_near", ("date_of_birth",), _INITIALS, "masks", 8),
    TokenSet("postcode", ("postcode",), (*_INITIALS, ("date_of_birth",))),
    TokenSet("postcode_near", ("postcode",), _INITIALS, "masks", 7),
    TokenSet("postcode_sector", ("postcode_sector",), (("date_of_birth",), ("forename_family",), ("surname",))),
    TokenSet("phone", ("phone",), ((),)),
    TokenSet("email", ("email",), ((),)),
    TokenSet("nhs_number", ("nhs_number",), ((),)),
    TokenSet("ni_number", ("ni_number",), ((),)),
    TokenSet("ni_number_near", ("ni_number",), ((),), "masks", 8),
    TokenSet("shared_person_number", ("shared_person_number",), ((),)),
)
"""Everything that the encoding holds. A list so that it can be read, and checked against what is stored."""

INITIALS_OF_SALTS = {"initial": "initial", "surname_initial": "initial"}
"""Salts that are one kind of thing: an initial counts as an initial, whichever name it is of, so that swapped names
still meet."""


def encoding_schema() -> dict[str, pl.DataType]:
    """Columns of the encoding: ``person_ref``; a list of Int64 for each set; two Int64 for each filter (its bits, the
    lower half first); all null where nothing could be built."""
    columns: dict[str, pl.DataType] = {"person_ref": pl.String()}
    for tokens in TOKEN_SETS:
        if tokens.is_filter:
            columns |= {f"{tokens.name}_{half}": pl.Int64() for half in ("low", "high")}
        else:
            columns[tokens.name] = pl.List(pl.Int64)
    return columns


def inner_schema() -> dict[str, pl.DataType]:
    """Columns of the inner encoding: ``person_ref`` and for each set a list of blocks of 16 bytes."""
    return {"person_ref": pl.String(), **{tokens.name: pl.List(pl.Binary) for tokens in TOKEN_SETS}}


def encode_persons(normal: pl.DataFrame, person_ref: pl.Series, key_ring: KeyRing) -> pl.DataFrame:
    """The encoding of a person table under both layers: columns of :func:`encoding_schema`, a row for each of
    ``normal`` (:func:`pseudonymise.normalise.normalise`) in its order. Raises DefectFound where the two do not fit."""
    _check(normal, person_ref)
    frames = [pl.DataFrame(schema=encoding_schema())]
    outer = _Outer(key_ring)
    for rows, refs in _batches(normal, person_ref):
        inner = _Inner(rows, key_ring)
        columns: list[pl.Series] = [refs.alias("person_ref")]
        for tokens in TOKEN_SETS:
            columns += outer.close(tokens, *inner.blocks(tokens))
        frames.append(pl.DataFrame(columns))
    return pl.concat(frames)


def encode_inner(normal: pl.DataFrame, person_ref: pl.Series, key_ring: InnerKeys) -> pl.DataFrame:
    """The inner layer alone, as a partner makes it at its own site: columns of :func:`inner_schema`.

    Everybody who holds K1 can guess what is in it, so it travels and rests sealed. Its blocks are in the order of their
    own bytes; of a name's letter pairs there are as many as it has.
    """
    _check(normal, person_ref)
    frames = [pl.DataFrame(schema=inner_schema())]
    for rows, refs in _batches(normal, person_ref):
        inner = _Inner(rows, key_ring)
        made = []
        for tokens in TOKEN_SETS:
            counts, blocks = inner.blocks(tokens)
            made.append(list_of_blocks(tokens.name, counts, blocks[_order_in_rows(counts, blocks)]))
        frames.append(pl.DataFrame([refs.alias("person_ref"), *made]))
    return pl.concat(frames)


def encode_outer(inner: pl.DataFrame, key_ring: KeyRing) -> pl.DataFrame:
    """The encoding of an inner one: what :func:`encode_persons` gives of the same persons under the same keys.

    Raises DefectFound where a column is missing or a block has not 16 bytes.
    """
    if missing := [name for name in inner_schema() if name not in inner.columns]:
        raise DefectFound(f"the inner encoding lacks {', '.join(missing)}")
    outer = _Outer(key_ring)
    columns: list[pl.Series] = [inner["person_ref"]]
    for tokens in TOKEN_SETS:
        columns += outer.close(tokens, *flat_blocks(inner[tokens.name]))
    return pl.DataFrame(columns, schema=encoding_schema())


def encode_further(encodings: pl.DataFrame, added_keys: tuple[str, ...]) -> pl.DataFrame:
    """Stored encodings after keys were added to K2's chain, as :func:`encode_persons` would make them now; their
    ``person_ref`` stays. ``added_keys`` are the subkeys of the added keys, the oldest first."""
    layers = [_Later(key) for key in added_keys]
    columns: list[pl.Series] = [encodings["person_ref"]]
    for tokens in TOKEN_SETS:
        if tokens.is_filter:
            halves = [encodings[f"{tokens.name}_{half}"] for half in ("low", "high")]
            there = halves[0].is_not_null().to_numpy()
            filters = np.stack([half.fill_null(0).to_numpy() for half in halves], axis=1).astype("<i8").view("<u8")
            for layer in layers:
                filters = layer.permute(filters)
            columns += _filter_columns(tokens.name, filters, there)
        else:
            lists = encodings[tokens.name]
            counts = lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()
            values = lists.drop_nulls().explode().drop_nulls().to_numpy().astype(np.int64)
            for layer in layers:
                values = layer.close(values)
            columns.append(_list_of_tokens(tokens.name, counts, values))
    return pl.DataFrame(columns, schema=encoding_schema())


def _check(normal: pl.DataFrame, person_ref: pl.Series) -> None:
    if tuple(normal.columns) != NORMAL_FIELDS or normal.height != len(person_ref):
        raise DefectFound("the encoding needs the normal record, one row per person_ref")


def _batches(normal: pl.DataFrame, person_ref: pl.Series) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
    rows = normal.with_columns(surname_initial=pl.col("surname").str.head(1))
    for start in range(0, normal.height, _BATCH):
        yield rows.slice(start, _BATCH), person_ref.slice(start, _BATCH)


# --- the inner layer --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Coded:
    """A column as places in a list of distinct things: ``place`` of each row (-1 where it is null), and for each thing
    where its variants' blocks begin in ``blocks``, and how many it has."""

    place: Places
    starts: Places
    counts: Places
    blocks: Blocks


class _Inner:
    """The inner layer of one batch. Each distinct value and salt is hashed once."""

    def __init__(self, rows: pl.DataFrame, key_ring: InnerKeys) -> None:
        self._rows = rows
        self._value_key = key_ring.inner_subkey(purpose=PURPOSE, field="value")
        self._salt_key = key_ring.inner_subkey(purpose=PURPOSE, field="salt")
        self._cipher = _cipher(key_ring.inner_subkey(purpose=PURPOSE, field=BLOCK))
        self._values: dict[tuple[str, str, str], _Coded] = {}
        self._salts: dict[tuple[str, ...], _Coded] = {}

    def blocks(self, tokens: TokenSet) -> tuple[Places, Blocks]:
        """How many blocks each row has, and the blocks, row by row, each row's distinct; in no order to rely on."""
        values = [self._value(tokens, column) for column in tokens.values]
        salts = [self._salt(columns) for columns in tokens.salts]
        both = _first_of_their_kind(values)[:, :, None] & _first_of_their_kind(salts)[:, None, :]
        row, which_value, which_salt = np.nonzero(both)
        starts, counts, variants = _joined(values, row, which_value)
        salted, _, of_salts = _joined(salts, row, which_salt)
        if tokens.each == 1 and not tokens.is_filter:
            mixed = variants[starts] ^ of_salts[salted]
        else:
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            mixed = variants[np.repeat(starts, counts) + within] ^ of_salts[np.repeat(salted, counts)]
        in_rows = np.bincount(row, weights=counts, minlength=self._rows.height).astype(np.int64)
        return in_rows, _apply(self._cipher, mixed)

    def _value(self, tokens: TokenSet, column: str) -> _Coded:
        domain = tokens.domain or tokens.name
        key = (domain, tokens.variants, column)
        if key not in self._values:
            cells = self._rows[column]
            distinct = cells.drop_nulls().unique()
            made = [_make_variants(text, tokens) for text in distinct]
            counts = np.array([len(texts) for texts in made], dtype=np.int64)
            flat = pl.Series("value", [text for texts in made for text in texts], dtype=pl.String)
            once = flat.unique()
            message = compose([frame_text(pl.lit(domain)), frame_text(pl.col("value"))])
            hashed = _hash(once.to_frame().select(message).to_series(), self._value_key)
            self._values[key] = _Coded(
                _places(cells, distinct), np.cumsum(counts) - counts, counts, hashed[_places(flat, once)]
            )
        return self._values[key]

    def _salt(self, columns: tuple[str, ...]) -> _Coded:
        if columns not in self._salts:
            parts = [part for name in columns for part in (pl.lit(INITIALS_OF_SALTS.get(name, name)), pl.col(name))]
            if parts:
                cells = self._rows.select(salt=compose([frame_text(part) for part in parts]))["salt"]
            else:
                cells = pl.repeat("none", self._rows.height, eager=True)
            distinct = cells.drop_nulls().unique()
            self._salts[columns] = _Coded(
                _places(cells, distinct),
                np.arange(len(distinct)),
                np.ones(len(distinct), dtype=np.int64),
                _hash(distinct, self._salt_key),
            )
        return self._salts[columns]


def _first_of_their_kind(columns: Sequence[_Coded]) -> npt.NDArray[np.bool_]:
    """A row for each row, and for each column whether it has a thing there that no earlier column has."""
    there = np.stack([column.place >= 0 for column in columns], axis=1)
    if len(columns) > 1:
        # Things of different columns are the same where their first blocks are: those are hashes.
        firsts = [np.concatenate([column.blocks[column.starts], np.zeros((1, 2), np.uint64)]) for column in columns]
        seen = np.stack([first[column.place] for first, column in zip(firsts, columns, strict=True)], axis=1)
        for number in range(1, len(columns)):
            same = (seen[:, :number] == seen[:, number : number + 1]).all(axis=2) & there[:, :number]
            there[:, number] &= ~same.any(axis=1)
    return there


def _joined(columns: Sequence[_Coded], row: Places, which: Places) -> tuple[Places, Places, Blocks]:
    """Of the things in some rows of some columns: where their blocks begin in the last part of the answer, which is the
    blocks of all columns, and how many they have."""
    places = np.stack([column.place for column in columns], axis=1)[row, which]
    things = np.cumsum([0, *(len(column.starts) for column in columns[:-1])])
    blocks = np.cumsum([0, *(len(column.blocks) for column in columns[:-1])])
    starts = np.concatenate([column.starts + first for column, first in zip(columns, blocks, strict=True)])
    place = places + things[which]
    return (
        starts[place],
        np.concatenate([column.counts for column in columns])[place],
        np.concatenate([column.blocks for column in columns]),
    )


def _hash(messages: pl.Series, key: str) -> Blocks:
    """The first 128 bits of the HMAC of each message."""
    halves = derive_inner(messages, key).str.head(32).str.decode("hex")
    return np.frombuffer(b"".join(halves), dtype="<u8").reshape(-1, 2)


def _places(cells: pl.Series, distinct: pl.Series) -> Places:
    """The place of each cell in ``distinct``; -1 where it is null."""
    looked_up = (
        cells.alias("value")
        .to_frame()
        .join(distinct.alias("value").to_frame().with_row_index("place"), on="value", how="left", maintain_order="left")
    )
    return looked_up["place"].cast(pl.Int64).fill_null(-1).to_numpy()


def _itself(text: str) -> tuple[str, ...]:
    return (text,)


def _deletions(text: str) -> tuple[str, ...]:
    """The text, and the text with each letter left out; all but the first :data:`NEAR_LETTERS` letters are cut before.
    Two texts within one inserted, lost or changed letter, or two neighbours exchanged, share one."""
    text = text[:NEAR_LETTERS]
    return tuple(dict.fromkeys([text, *(text[:place] + text[place + 1 :] for place in range(len(text)))]))


def _masks(text: str) -> tuple[str, ...]:
    """The text with each letter or digit masked."""
    return tuple(text[:place] + "*" + text[place + 1 :] for place, sign in enumerate(text) if sign != "-")


def _letter_pairs(text: str) -> tuple[str, ...]:
    """Neighbouring letters, with the beginning and the end marked."""
    marked = f"_{text}_"
    return tuple(dict.fromkeys(marked[place : place + 2] for place in range(len(marked) - 1)))


_VARIANTS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "itself": _itself,
    "deletions": _deletions,
    "masks": _masks,
    "letter_pairs": _letter_pairs,
}


def _make_variants(text: str, tokens: TokenSet) -> tuple[str, ...]:
    """What is hashed of a value: as many texts as the set says, unless they end in a filter."""
    made = _VARIANTS[tokens.variants](text)
    if tokens.is_filter:
        return made
    # Fillers: no normal value has the sign, so that nothing else is ever equal to one.
    return (*made[: tokens.each], *(f"{text}#{number}" for number in range(tokens.each - len(made))))


# --- the outer layer --------------------------------------------------------------------------------------------------


class _Outer:
    """The custodian's layer."""

    def __init__(self, key_ring: KeyRing) -> None:
        keys = key_ring.outer_subkeys(purpose=PURPOSE, field=BLOCK)
        self._first = _cipher(keys[0])
        self._later = [_Later(key) for key in keys[1:]]

    def close(self, tokens: TokenSet, counts: Places, blocks: Blocks) -> list[pl.Series]:
        """The columns of a set from its rows' inner blocks."""
        closed = _apply(self._first, blocks)
        if tokens.is_filter:
            filters = self._fold(closed, counts)
            for later in self._later:
                filters = later.permute(filters)
            return _filter_columns(tokens.name, filters, counts > 0)
        values = np.ascontiguousarray(closed[:, 0]).view(np.int64)
        for later in self._later:
            values = later.close(values)
        return [_list_of_tokens(tokens.name, counts, values)]

    def _fold(self, blocks: Blocks, counts: Places) -> Blocks:
        """Filters of equal weight, as blocks: the bits that the bytes of a row's blocks name, until
        :data:`FILTER_WEIGHT` different ones are set.

        It goes by rounds: the first byte of each block, in the order of :func:`_order_in_rows`, then the second, and so
        on, so that every pair of letters gives about as many bits, and in two filters that both have it mostly the same
        ones. After sixteen rounds (names of one or two letters) every block is encrypted again.
        """
        filters = np.zeros((len(counts), 2), dtype=np.uint64)
        blocks = blocks[_order_in_rows(counts, blocks)]
        starts, rows = np.cumsum(counts) - counts, np.flatnonzero(counts)
        while len(rows):
            filters[rows], full = _set_bits(filters[rows], blocks, starts[rows], counts[rows])
            rows = rows[~full]
            if len(rows):
                blocks = _apply(self._first, blocks)
        return filters


def _set_bits(filters: Blocks, blocks: Blocks, starts: Places, counts: Places) -> tuple[Blocks, npt.NDArray[np.bool_]]:
    """Filters after sixteen rounds over the blocks, or when they were full; and which of them are. All go in step."""
    flat = np.ascontiguousarray(blocks).view(np.uint8).reshape(-1)
    done, full = filters.copy(), np.zeros(len(filters), dtype=np.bool_)
    least = min(counts.min() * 16, FILTER_WEIGHT - np.bitwise_count(filters).sum(axis=1).max())
    rows, low, high = np.arange(len(filters)), filters[:, 0].copy(), filters[:, 1].copy()
    # The byte that each is at goes from block to block, and behind the last block to the first one's next byte.
    at, ends, sizes = starts * 16, (starts + counts) * 16, counts * 16
    step = 0
    while len(rows):
        byte = flat[at]
        bit = np.uint64(1) << (byte & 63).astype(np.uint64)
        upper = (byte & 64).astype(np.bool_)
        low |= np.where(upper, np.uint64(0), bit)
        high |= np.where(upper, bit, np.uint64(0))
        at += 16
        at -= np.where(at >= ends, sizes - 1, 0)
        step += 1
        if step < least:
            continue
        enough = np.bitwise_count(low) + np.bitwise_count(high) == FILTER_WEIGHT
        ended = enough | (sizes == step)
        if ended.any():
            done[rows[ended], 0], done[rows[ended], 1], full[rows[enough]] = low[ended], high[ended], True
            rows, low, high, at, ends, sizes = (each[~ended] for each in (rows, low, high, at, ends, sizes))
    return done, full


class _Later:
    """One more outer key, on top of what is stored."""

    def __init__(self, key: str) -> None:
        self._cipher = _cipher(key)
        # The permutation is what sorting the encrypted numbers of the bits gives.
        numbered = np.stack([np.arange(FILTER_BITS, dtype=np.uint64), np.ones(FILTER_BITS, dtype=np.uint64)], axis=1)
        self._order = np.argsort(_apply(self._cipher, numbered)[:, 0], kind="stable")

    def close(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        padded = np.stack([tokens.view(np.uint64), np.zeros(len(tokens), dtype=np.uint64)], axis=1)
        return np.ascontiguousarray(_apply(self._cipher, padded)[:, 0]).view(np.int64)

    def permute(self, filters: Blocks) -> Blocks:
        packed = np.ascontiguousarray(filters).astype("<u8").view(np.uint8)
        bits = np.unpackbits(packed, axis=1, bitorder="little")[:, self._order]
        return np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")).view("<u8")


def _filter_columns(name: str, filters: Blocks, there: npt.NDArray[np.bool_]) -> list[pl.Series]:
    made = []
    for half, place in (("low", 0), ("high", 1)):
        column = pl.Series(f"{name}_{half}", np.ascontiguousarray(filters[:, place]).view(np.int64))
        made.append(column.to_frame().select(pl.when(pl.Series(there)).then(pl.first())).to_series())
    return made


# --- arrays and ciphers -----------------------------------------------------------------------------------------------


def _cipher(key: str) -> Cipher[modes.ECB]:
    """AES-256 of single blocks. What is encrypted are outputs of HMAC or of such a cipher, no two of them alike but
    where the tokens shall be equal: nothing of what makes this mode unfit for messages applies."""
    return Cipher(algorithms.AES(bytes.fromhex(key)), modes.ECB())  # noqa: S305


def _apply(cipher: Cipher[modes.ECB], blocks: Blocks) -> Blocks:
    raw = cipher.encryptor().update(np.ascontiguousarray(blocks).tobytes())
    return np.frombuffer(raw, dtype="<u8").reshape(-1, 2)


def _rows_by_count(counts: Places) -> Iterator[Places]:
    """Where the things of each row are that has more than one, as a matrix for each number of things: so rows are
    sorted by axis, and a long one makes no other longer."""
    starts = np.cumsum(counts) - counts
    for count in np.unique(counts):
        if count > 1:
            yield starts[counts == count, None] + np.arange(count)


def _order_in_rows(counts: Places, blocks: Blocks) -> Places:
    """The order that sorts each row's blocks by the number that their first eight bytes are, little-endian."""
    order = np.arange(len(blocks))
    for places in _rows_by_count(counts):
        order[places] = np.take_along_axis(places, np.argsort(blocks[:, 0][places], axis=1), axis=1)
    return order


def _offsets(counts: Places) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _null_where_empty(name: str, lists: pa.Array) -> pl.Series:
    column = pl.Series(name, pl.from_arrow(lists))
    return column.to_frame().select(pl.when(pl.first().list.len() > 0).then(pl.first())).to_series()


def _list_of_tokens(name: str, counts: Places, tokens: npt.NDArray[np.int64]) -> pl.Series:
    """A column of lists of tokens from those of all rows one after the other, each list sorted: their order would
    tell else which of them were made of what."""
    tokens = tokens.copy()
    for places in _rows_by_count(counts):
        tokens[places] = np.sort(tokens[places], axis=1)
    return _null_where_empty(name, pa.LargeListArray.from_arrays(_offsets(counts), pa.array(tokens)))


def list_of_blocks(name: str, counts: Places, blocks: Blocks) -> pl.Series:
    """A column of lists of 16 bytes, row by row; null where a row has none."""
    raw = pa.py_buffer(np.ascontiguousarray(blocks).tobytes())
    values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(blocks), [None, raw]).cast(pa.large_binary())
    return _null_where_empty(name, pa.LargeListArray.from_arrays(_offsets(counts), values))


def flat_blocks(lists: pl.Series) -> tuple[Places, Blocks]:
    """How many blocks each row of such a column has, and the blocks. Raises DefectFound where one has not 16 bytes."""
    counts = lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()
    flat = lists.drop_nulls().explode().drop_nulls()
    if flat.len() and (flat.bin.size() != 16).any():
        raise DefectFound("a block of the inner encoding does not have 16 bytes")
    return counts, np.frombuffer(b"".join(flat), dtype="<u8").reshape(-1, 2)


def token_names(sets: Sequence[TokenSet] = TOKEN_SETS) -> tuple[str, ...]:
    """Names of the sets that are no filters."""
    return tuple(tokens.name for tokens in sets if not tokens.is_filter)
