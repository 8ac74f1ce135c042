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

**How a token is made.** With K1 each distinct salt and each distinct value is hashed once (HMAC-SHA-256, 128 bits); a
token's *inner block* is AES-256 under a subkey of K1 of the exclusive or of the two. Whoever lacks K1 has only outputs
of a pseudo-random permutation; thousands of people's tokens cost a few hashes and not hundreds of thousands. With K2
the custodian encrypts the block again and keeps 64 bits, which nobody can turn back, with K2 or without; or folds it
into a filter. Where there are more outer keys (a rotation adds one) each is applied to what the one before left: a
token's 64 bits are padded by zeros, a filter's bits are permuted.
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

PURPOSE = "encoding"
BLOCK = "block"
"""Field of the subkeys under which blocks are encrypted."""

FILTER_BITS = 128
"""Bits of a Bloom filter."""
FILTER_HASHES = 5
"""Bits that one pair of letters sets. A name of seven letters sets about 34 of the 128."""

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
    TokenSet("forename_near", ("forename",), _WHOLE, "deletions", domain="name near"),
    TokenSet("surname_near", ("surname",), _WHOLE, "deletions", domain="name near"),
    TokenSet("forename_filter_date", ("forename",), (("date_of_birth",),), "letter_pairs", domain="name filter"),
    TokenSet("surname_filter_date", ("surname",), (("date_of_birth",),), "letter_pairs", domain="name filter"),
    TokenSet("forename_filter_postcode", ("forename",), (("postcode",),), "letter_pairs", domain="name filter"),
    TokenSet("surname_filter_postcode", ("surname",), (("postcode",),), "letter_pairs", domain="name filter"),
    TokenSet("date_of_birth", ("date_of_birth",), (*_INITIALS, ("postcode_sector",))),
    TokenSet("date_of_birth_swapped", ("date_of_birth_sorted",), _INITIALS),
    TokenSet("date_of_birth_near", ("date_of_birth",), _INITIALS, "masks"),
    TokenSet("postcode", ("postcode",), (*_INITIALS, ("date_of_birth",))),
    TokenSet("postcode_near", ("postcode",), _INITIALS, "masks"),
    TokenSet("postcode_sector", ("postcode_sector",), (("date_of_birth",), ("forename_family",), ("surname",))),
    TokenSet("phone", ("phone",), ((),)),
    TokenSet("email", ("email",), ((),)),
    TokenSet("nhs_number", ("nhs_number",), ((),)),
    TokenSet("ni_number", ("ni_number",), ((),)),
    TokenSet("ni_number_near", ("ni_number",), ((),), "masks"),
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

    Everybody who holds K1 can guess what is in it, so it travels and rests sealed.
    """
    _check(normal, person_ref)
    frames = [pl.DataFrame(schema=inner_schema())]
    for rows, refs in _batches(normal, person_ref):
        inner = _Inner(rows, key_ring)
        made = [list_of_blocks(tokens.name, *inner.blocks(tokens)) for tokens in TOKEN_SETS]
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
            packed = np.stack([half.fill_null(0).to_numpy() for half in halves], axis=1).astype("<i8")
            bits = np.unpackbits(packed.view(np.uint8), axis=1, bitorder="little").astype(np.bool_)
            for layer in layers:
                bits = layer.permute(bits)
            columns += _filter_columns(tokens.name, bits, there)
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
    the ``starts`` of its variants' blocks in ``blocks``."""

    place: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
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

    def blocks(self, tokens: TokenSet) -> tuple[npt.NDArray[np.int64], Blocks]:
        """How many blocks each row has, and the blocks, row by row, each row's distinct and sorted."""
        n = self._rows.height
        rows, blocks = [np.empty(0, dtype=np.int64)], [np.empty((0, 2), dtype=np.uint64)]
        for column in tokens.values:
            value = self._value(tokens.domain or tokens.name, tokens.variants, column)
            for columns in tokens.salts:
                salt = self._salt(columns)
                both = np.flatnonzero((value.place >= 0) & (salt.place >= 0))
                place = value.place[both]
                counts = value.starts[place + 1] - value.starts[place]
                row = np.repeat(both, counts)
                within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
                mixed = value.blocks[np.repeat(value.starts[place], counts) + within] ^ salt.blocks[salt.place[row]]
                rows.append(row)
                blocks.append(self._encrypt(mixed))
        return _distinct_by_row(np.concatenate(rows), np.concatenate(blocks), n)

    def _encrypt(self, blocks: Blocks) -> Blocks:
        return _apply(self._cipher, blocks)

    def _value(self, domain: str, variants: str, column: str) -> _Coded:
        key = (domain, variants, column)
        if key not in self._values:
            cells = self._rows[column]
            distinct = cells.drop_nulls().unique()
            made = [_VARIANTS[variants](text) for text in distinct]
            starts = np.concatenate([[0], np.cumsum([len(texts) for texts in made], dtype=np.int64)]).astype(np.int64)
            flat = pl.Series("value", [text for texts in made for text in texts], dtype=pl.String)
            once = flat.unique()
            message = compose([frame_text(pl.lit(domain)), frame_text(pl.col("value"))])
            hashed = _hash(once.to_frame().select(message).to_series(), self._value_key)
            self._values[key] = _Coded(_places(cells, distinct), starts, hashed[_places(flat, once)])
        return self._values[key]

    def _salt(self, columns: tuple[str, ...]) -> _Coded:
        if columns not in self._salts:
            parts = [part for name in columns for part in (pl.lit(INITIALS_OF_SALTS.get(name, name)), pl.col(name))]
            if parts:
                cells = self._rows.select(salt=compose([frame_text(part) for part in parts]))["salt"]
            else:
                cells = pl.repeat("none", self._rows.height, eager=True)
            distinct = cells.drop_nulls().unique()
            hashed = _hash(distinct, self._salt_key)
            self._salts[columns] = _Coded(_places(cells, distinct), np.arange(len(distinct) + 1), hashed)
        return self._salts[columns]


def _hash(messages: pl.Series, key: str) -> Blocks:
    """The first 128 bits of the HMAC of each message."""
    halves = derive_inner(messages, key).str.head(32).str.decode("hex")
    return np.frombuffer(b"".join(halves), dtype="<u8").reshape(-1, 2)


def _places(cells: pl.Series, distinct: pl.Series) -> npt.NDArray[np.int64]:
    """The place of each cell in ``distinct``; -1 where it is null."""
    looked_up = (
        cells.alias("value")
        .to_frame()
        .join(distinct.alias("value").to_frame().with_row_index("place"), on="value", how="left", maintain_order="left")
    )
    return looked_up["place"].cast(pl.Int64).fill_null(-1).to_numpy()


def _distinct_by_row(rows: npt.NDArray[np.int64], blocks: Blocks, height: int) -> tuple[npt.NDArray[np.int64], Blocks]:
    """Blocks by row, each once, in an order that says nothing of where they come from."""
    # One sort of one number: the row, and of the block as many bits as there is room for.
    room = np.uint64(64 - max(1, int(height).bit_length()))
    order = np.argsort((rows.astype(np.uint64) << room) | (blocks[:, 0] >> (np.uint64(64) - room)))
    rows, blocks = rows[order], blocks[order]
    new = np.ones(len(rows), dtype=np.bool_)
    new[1:] = (rows[1:] != rows[:-1]) | (blocks[1:] != blocks[:-1]).any(axis=1)
    return np.bincount(rows[new], minlength=height).astype(np.int64), blocks[new]


def _itself(text: str) -> tuple[str, ...]:
    return (text,)


def _deletions(text: str) -> tuple[str, ...]:
    """The text, and the text with each letter left out. Two texts within one inserted, lost or changed letter, or two
    neighbours exchanged, share one."""
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


# --- the outer layer --------------------------------------------------------------------------------------------------


class _Outer:
    """The custodian's layer."""

    def __init__(self, key_ring: KeyRing) -> None:
        keys = key_ring.outer_subkeys(purpose=PURPOSE, field=BLOCK)
        self._first = _cipher(keys[0])
        self._later = [_Later(key) for key in keys[1:]]

    def close(self, tokens: TokenSet, counts: npt.NDArray[np.int64], blocks: Blocks) -> list[pl.Series]:
        """The columns of a set from its rows' inner blocks."""
        closed = _apply(self._first, blocks)
        if tokens.is_filter:
            bits = _fold(closed, counts)
            for later in self._later:
                bits = later.permute(bits)
            return _filter_columns(tokens.name, bits, counts > 0)
        values = np.ascontiguousarray(closed[:, 0]).view(np.int64)
        for later in self._later:
            values = later.close(values)
        return [_list_of_tokens(tokens.name, counts, values)]


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

    def permute(self, bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return bits[:, self._order]


def _fold(blocks: Blocks, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Filters as rows of bits: each block sets the bits that its first bytes name."""
    rows = np.repeat(np.arange(len(counts)), counts)
    places = blocks.view(np.uint8).reshape(-1, 16)[:, :FILTER_HASHES] % FILTER_BITS
    bits = np.zeros((len(counts), FILTER_BITS), dtype=np.bool_)
    bits[rows[:, None], places] = True
    return bits


def _filter_columns(name: str, bits: npt.NDArray[np.bool_], there: npt.NDArray[np.bool_]) -> list[pl.Series]:
    halves = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")).view("<i8")
    made = []
    for half, place in (("low", 0), ("high", 1)):
        column = pl.Series(f"{name}_{half}", np.ascontiguousarray(halves[:, place]))
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


def _offsets(counts: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _null_where_empty(name: str, lists: pa.Array) -> pl.Series:
    column = pl.Series(name, pl.from_arrow(lists))
    return column.to_frame().select(pl.when(pl.first().list.len() > 0).then(pl.first())).to_series()


def _list_of_tokens(name: str, counts: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]) -> pl.Series:
    return _null_where_empty(name, pa.LargeListArray.from_arrays(_offsets(counts), pa.array(tokens)))


def list_of_blocks(name: str, counts: npt.NDArray[np.int64], blocks: Blocks) -> pl.Series:
    """A column of lists of 16 bytes, row by row; null where a row has none."""
    raw = pa.py_buffer(np.ascontiguousarray(blocks).tobytes())
    values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(blocks), [None, raw]).cast(pa.large_binary())
    return _null_where_empty(name, pa.LargeListArray.from_arrays(_offsets(counts), values))


def flat_blocks(lists: pl.Series) -> tuple[npt.NDArray[np.int64], Blocks]:
    """How many blocks each row of such a column has, and the blocks. Raises DefectFound where one has not 16 bytes."""
    counts = lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()
    flat = lists.drop_nulls().explode().drop_nulls()
    if flat.len() and (flat.bin.size() != 16).any():
        raise DefectFound("a block of the inner encoding does not have 16 bytes")
    return counts, np.frombuffer(b"".join(flat), dtype="<u8").reshape(-1, 2)


def token_names(sets: Sequence[TokenSet] = TOKEN_SETS) -> tuple[str, ...]:
    """Names of the sets that are no filters."""
    return tuple(tokens.name for tokens in sets if not tokens.is_filter)
