"""Frequency-rank alignment: the commonest token is the commonest value, the second the second, and so on.

The attacker holds all match keys and encodings without a key, and knows how they are made and how often each value,
salt and combination of both occurs: among other people of the same kind (another seed of the partnership), among half
of the very persons, whose clear records are at hand, or, at the very worst, among all of them.

For each kind of token, tokens and combinations of values are ranked by the number of records that have them and laid
side by side. Of each record the attacker wants each part (a name, a date, a postcode) and takes what the record's most
frequent token is aligned with, or else the commonest value there is. From what frequency on alignment is trusted is
*chosen with the truth*, as no attacker could: so the shares are an upper bound of this attack, and never less than
guessing gives.

The design's figures for hashed values alone (first letters of the forename 63 %, day of birth 25 %, surname 9 %) are
repeated as controls, on this data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.attacks.people import People, Stored
from pseudonymise.encoding import TOKEN_SETS, TokenSet
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import MATCH_KEYS, MatchKey
from pseudonymise.tokens import derive_tokens

Parts = dict[str, tuple[str, ...]]
"""What an attacker wants to learn: a part of a record and the columns of the normal record, any of which it may be."""

CONTROLS: dict[str, tuple[str, int]] = {
    "forename, first two letters": ("forename", 2),
    "surname, first two letters": ("surname", 2),
    "day and month of birth": ("birth_month_day", 5),
    "surname": ("surname", 99),
}
"""Tokens of one part alone, which Linkarms does not make: the column, and how many of its first letters."""


@dataclass(frozen=True)
class Leak:
    """What the attack got out of one kind of token."""

    kind: str
    """``match key``, ``encoding`` or ``control``."""
    name: str
    records: int
    """Records that have such a token."""
    missing: float
    """Share of all records that have none, which everybody who holds the tokens sees."""
    commonest: float
    """Share of all persons who have the commonest token."""
    part: str
    """The part of which the attack learnt most beyond guessing."""
    aligned: float
    """Share of those records whose part alignment alone gets right, whatever the frequency."""
    recovered: float
    """The same where alignment is trusted from the best frequency on, and the commonest value guessed below."""
    guessed: float
    """The same where the commonest value is always guessed."""

    @property
    def beyond_guessing(self) -> float:
        """What the tokens gave the attacker."""
        return self.recovered - self.guessed


def attack_all(held: People, stored: Stored, known: People, seed: int = 1) -> list[Leak]:
    """The attack on every match key and every set of tokens, in the order of their declaration."""
    leaks = []
    rows = held.records.select("person_ref").with_row_index("row")
    keyed = stored.match_keys.join(rows, on="person_ref").select("row", "key_name", token="token")
    for key in MATCH_KEYS:
        tokens = keyed.filter(key_name=key.name).select("row", "token")
        forms = _forms(known.normal, key)
        leaks.append(_attack("match key", key.name, tokens, held, forms, _parts_of_key(key), known, seed))
    for tokens_of in TOKEN_SETS:
        leaks.append(
            _attack(
                "encoding",
                tokens_of.name,
                _stored_tokens(stored.encodings, tokens_of),
                held,
                _combinations(known.normal, tokens_of),
                _parts_of_set(tokens_of),
                known,
                seed,
            )
        )
    return leaks


def attack_controls(held: People, known: People, key_ring: KeyRing, seed: int = 1) -> list[Leak]:
    """The attack on keyed tokens of one part alone."""
    leaks = []
    for name, (column, letters) in CONTROLS.items():
        cut = pl.col(column).str.head(letters).alias("part")
        mine, theirs = held.normal.select(cut), known.normal.select(cut)
        inner = key_ring.inner_subkey(purpose="control", field=name)
        outer = key_ring.outer_subkeys(purpose="control", field=name)
        tokens = pl.DataFrame({"token": derive_tokens(mine["part"], inner, outer)}).with_row_index("row").drop_nulls()
        reference = theirs.with_row_index("row").drop_nulls()
        subject, others = People(mine, held.records), People(theirs, known.records)
        leaks.append(_attack("control", name, tokens, subject, reference, {"part": ("part",)}, others, seed))
    return leaks


# --- what is known of how tokens are made -----------------------------------------------------------------------------


def deletions(text: str) -> tuple[str, ...]:
    """The text, and the text with each letter left out."""
    return tuple(dict.fromkeys([text, *(text[:place] + text[place + 1 :] for place in range(len(text)))]))


def masks(text: str) -> tuple[str, ...]:
    """The text with each letter or digit masked."""
    return tuple(text[:place] + "*" + text[place + 1 :] for place, sign in enumerate(text) if sign != "-")


def _with_salt_columns(normal: pl.DataFrame) -> pl.DataFrame:
    return normal.with_columns(surname_initial=pl.col("surname").str.head(1))


def _parts_of_key(key: MatchKey) -> Parts:
    parts: Parts = {}
    for place, field in enumerate(key.fields):
        parts[field] = tuple(dict.fromkeys(form[place] for form in key.forms))
    return parts


def _forms(normal: pl.DataFrame, key: MatchKey) -> pl.DataFrame:
    """``row`` and the parts of every form of a key, each once a record."""
    rows = normal.with_row_index("row")
    forms = [
        rows.select("row", **{field: pl.col(column) for field, column in zip(key.fields, form, strict=True)})
        for form in key.forms
    ]
    return pl.concat(forms).drop_nulls().unique(maintain_order=True)


def _parts_of_set(tokens: TokenSet) -> Parts:
    salts = dict.fromkeys(column for salt in tokens.salts for column in salt)
    # A part that is its own salt has one name for both.
    return {"value": tokens.values, **{column: (column,) for column in salts}}


def _combinations(normal: pl.DataFrame, tokens: TokenSet) -> pl.DataFrame:
    """``row``, ``variant``, ``value`` and the columns of all salts (null for those of another salt)."""
    rows = _with_salt_columns(normal).with_row_index("row")
    columns = list(_parts_of_set(tokens))[1:]
    made = []
    for column in tokens.values:
        for salt in tokens.salts:
            made.append(
                rows.filter(pl.col(column).is_not_null(), *(pl.col(name).is_not_null() for name in salt)).select(
                    "row",
                    pl.col(column).alias("value"),
                    *(
                        (pl.col(name) if name in salt else pl.lit(None, dtype=pl.String)).alias(f"salt {name}")
                        for name in columns
                    ),
                )
            )
    found = pl.concat(made).unique(maintain_order=True).rename({f"salt {name}": name for name in columns})
    variants = {"deletions": deletions, "masks": masks}.get(tokens.variants, lambda text: (text,))
    values = found["value"].unique()
    listed = pl.DataFrame({"value": values, "variant": [list(variants(value)) for value in values]})
    return found.join(listed, on="value", maintain_order="left").explode("variant").drop_nulls("variant")


def _stored_tokens(encodings: pl.DataFrame, tokens: TokenSet) -> pl.DataFrame:
    """``row`` and ``token``; a filter is one token."""
    rows = encodings.with_row_index("row")
    if tokens.is_filter:
        halves = [f"{tokens.name}_{half}" for half in ("low", "high")]
        return rows.select("row", token=pl.struct(halves)).filter(rows[halves[0]].is_not_null())
    return rows.select("row", token=pl.col(tokens.name)).drop_nulls().explode("token").drop_nulls()


# --- the attack -------------------------------------------------------------------------------------------------------


def _attack(
    kind: str,
    name: str,
    tokens: pl.DataFrame,
    held: People,
    reference: pl.DataFrame,
    parts: Parts,
    known: People,
    seed: int,
) -> Leak:
    ranked = _by_rank(tokens.unique(), ["token"], seed)
    # Of a value's variants the attacker aligns each; what it stands for is the value.
    combined = [column for column in reference.columns if column != "row"]
    aligned = _by_rank(reference, combined, seed + 1).drop("count")
    with_guess = ranked.join(aligned, on="rank", how="left", maintain_order="left")
    best = (
        tokens.unique()
        .join(with_guess, on="token")
        .sort("count", "rank", descending=[True, False])
        .unique("row", keep="first", maintain_order=True)
    )
    truth = _with_salt_columns_if_there(held.normal).with_row_index("row")
    owners = held.records.select("person").with_row_index("row")
    persons = tokens.join(owners, on="row").group_by("token").agg(pl.col("person").n_unique())
    most = persons["person"].max()
    outcomes = [_outcome(part, columns, best, truth, known) for part, columns in parts.items()]
    part, on_its_own, recovered, guessed = max(outcomes, key=lambda outcome: (outcome[2] - outcome[3], outcome[1]))
    return Leak(
        kind=kind,
        name=name,
        records=best.height,
        missing=1 - best.height / held.height,
        commonest=(int(most) if isinstance(most, int) else 0) / held.records["person"].n_unique(),
        part=part,
        aligned=on_its_own,
        recovered=recovered,
        guessed=guessed,
    )


def _with_salt_columns_if_there(normal: pl.DataFrame) -> pl.DataFrame:
    return _with_salt_columns(normal) if "surname" in normal.columns else normal


def _by_rank(rows: pl.DataFrame, columns: Sequence[str], seed: int) -> pl.DataFrame:
    """Each combination of the columns with its ``count`` of rows and ``rank``; those that are alike in an order drawn
    by ``seed``."""
    counted = rows.group_by(columns).agg(count=pl.len()).sort(columns)
    drawn = np.random.default_rng(seed).permutation(counted.height)
    return (
        counted.with_columns(drawn=pl.Series(drawn))
        .sort("count", "drawn", descending=[True, False])
        .drop("drawn")
        .with_row_index("rank")
    )


def _outcome(
    part: str, columns: Iterable[str], best: pl.DataFrame, truth: pl.DataFrame, known: People
) -> tuple[str, float, float, float]:
    """The part, and the shares of records that are right: by alignment alone, by the best mixture, by guessing."""
    columns = tuple(columns)
    if best.is_empty():
        return part, 0.0, 0.0, 0.0
    everything = _with_salt_columns_if_there(known.normal)
    values = pl.concat([everything[column].alias("value") for column in columns]).drop_nulls()
    commonest = values.value_counts(sort=True, name="times").sort("times", "value", descending=[True, False])[0, 0]
    mine = [f"true {column}" for column in columns]
    joined = best.select("row", "count", guess=pl.col(part)).join(
        truth.select("row", *(pl.col(column).alias(f"true {column}") for column in columns)), on="row"
    )
    right = joined.sort("count", descending=True).select(
        "count",
        by_rank=pl.any_horizontal(
            pl.col(column).eq(pl.col("guess").fill_null(commonest)).fill_null(value=False) for column in mine
        ),
        by_guess=pl.any_horizontal(pl.col(column).eq(commonest).fill_null(value=False) for column in mine),
    )
    gain = (right["by_rank"].cast(pl.Int64) - right["by_guess"].cast(pl.Int64)).to_numpy().cumsum()
    last_of_count = np.append(np.diff(right["count"].to_numpy().astype(np.int64)) != 0, True)
    beyond = max(0, int(gain[last_of_count].max()))
    guessed = int(right["by_guess"].sum())
    n = right.height
    return part, int(right["by_rank"].sum()) / n, (guessed + beyond) / n, guessed / n
