"""The composite match keys: what two records have to share to be looked at as one person.

Each key leaves out another part of the record, so that one damaged or changed part (a marriage, a move, a misheard
name, a mixed-up date) leaves some key intact. A key only brings two records up; whether they are one person is decided
by comparing all of both (:mod:`pseudonymise.encoding`). So the keys are few and broad.

No key is made of low-entropy parts alone: a name or a date hashed by itself gives itself away by how often it occurs,
whatever the key (``tests/unit/pseudonymise/test_match_keys.py`` holds every key to :data:`ENTROPY_FLOOR`, and
``tests/privacy/attacks`` measures what is left).
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from protocol.errors import DefectFound
from protocol.pool import MATCH_KEY_PURPOSE as PURPOSE
from pseudonymise.keys import KeyRing
from pseudonymise.normalise import NORMAL_FIELDS
from pseudonymise.partner_key import InnerKeys
from pseudonymise.tokens import compose, derive_inner, derive_outer, derive_tokens, frame_text

MIN_ENTROPY_BITS: dict[str, float] = {
    "forename": 5.0,
    "forename_family": 4.5,
    "forename_start": 4.0,
    "initial": 3.0,
    "surname": 6.0,
    "surname_start": 4.5,
    "forename_sound": 4.0,
    "surname_sound": 4.5,
    "date_of_birth": 14.0,
    "date_of_birth_sorted": 13.0,
    "birth_year": 5.5,
    "birth_month_day": 8.0,
    "postcode": 13.0,
    "postcode_sector": 7.0,
    "nhs_number": 26.0,
    "ni_number": 26.0,
    "phone": 20.0,
    "email": 20.0,
    "shared_person_number": 20.0,
}
"""Least bits that guessing each part costs: minus the binary logarithm of the share of its commonest value in a
partnership of one county (commonest surname 1.5 %, forename 3 %, day of birth 1 in 20,000; numbers nearly unique).
Rounded down, and used for nothing but the floor."""

ENTROPY_FLOOR = 16.0
"""Every key's parts add up to at least this many bits."""


@dataclass(frozen=True)
class MatchKey:
    """One declared key."""

    name: str
    fields: tuple[str, ...]
    """The parts of a record that agree where the key does, for its entropy."""
    forms: tuple[tuple[str, ...], ...]
    """The columns of the normal record that are hashed together. All forms share one token domain: with the previous
    surname as a second form, a record's former name meets another record's present one."""
    why: str


_FORENAMES = ("forename_family", "forename_second", "middle_name")
_SURNAMES = ("surname", "previous_surname", "surname_first_part", "surname_last_part")
_NAMES = _FORENAMES + _SURNAMES
"""In one key together where forename and surname may have been exchanged."""


def _each(names: tuple[str, ...], *columns: str) -> tuple[tuple[str, ...], ...]:
    """The forms of a key with ``*`` among its columns: once for each of ``names`` in its place."""
    return tuple(tuple(name if column == "*" else column for column in columns) for name in names)


MATCH_KEYS: tuple[MatchKey, ...] = (
    MatchKey(
        name="shared_person_number",
        fields=("shared_person_number",),
        forms=(("shared_person_number",),),
        why="The partners gave the person this number together.",
    ),
    MatchKey(
        name="nhs_number",
        fields=("nhs_number",),
        forms=(("nhs_number",),),
        why="Finds a person whatever else is wrong or missing.",
    ),
    MatchKey(
        name="ni_number",
        fields=("ni_number",),
        forms=(("ni_number",),),
        why="Issued once to one person, and what job centres and councils hold.",
    ),
    MatchKey(
        name="phone",
        fields=("phone",),
        forms=(("phone",),),
        why="Finds a person whose date of birth is missing; a household may share it, which comparing tells.",
    ),
    MatchKey(
        name="email",
        fields=("email",),
        forms=(("email",),),
        why="Finds a person whatever else has changed.",
    ),
    MatchKey(
        name="name_dob",
        fields=("forename_family", "date_of_birth"),
        forms=_each(_NAMES, "*", "date_of_birth"),
        why="One name and the day of birth: the other name may be missing, changed or in this one's place.",
    ),
    MatchKey(
        name="start_dob",
        fields=("forename_start", "date_of_birth"),
        forms=(("forename_start", "date_of_birth"), ("surname_start", "date_of_birth")),
        why="Most misspellings leave the first letters of a name alone.",
    ),
    MatchKey(
        name="names_year",
        fields=("forename_family", "surname", "birth_year"),
        forms=(
            *_each(_SURNAMES, "forename_family", "*", "birth_year"),
            ("surname", "forename", "birth_year"),
            ("middle_name", "surname", "birth_year"),
        ),
        why="Finds a person whose day or month of birth is wrong, or whose names stand in each other's place.",
    ),
    MatchKey(
        name="starts_day_month",
        fields=("forename_start", "surname_start", "birth_month_day"),
        forms=(("forename_start", "surname_start", "birth_month_day"),),
        why="Finds a person whose year of birth is wrong.",
    ),
    MatchKey(
        name="dob_sector",
        fields=("date_of_birth", "postcode_sector"),
        forms=(("date_of_birth", "postcode_sector"),),
        why="Finds a person in the same neighbourhood whose names are both wrong or missing.",
    ),
    MatchKey(
        name="names_sector",
        fields=("forename_family", "surname", "postcode_sector"),
        forms=_each(_SURNAMES, "forename_family", "*", "postcode_sector"),
        why="Finds a person in the same neighbourhood whose date of birth is missing.",
    ),
    MatchKey(
        name="name_postcode",
        fields=("forename_family", "postcode"),
        forms=_each(_NAMES, "*", "postcode"),
        why="Finds a person at the same address whose other name and date of birth are wrong or missing.",
    ),
    MatchKey(
        name="start_postcode",
        fields=("surname_start", "postcode"),
        forms=(("surname_start", "postcode"),),
        why="Some partners hold an initial only, and a surname may be misspelt.",
    ),
)
"""Every key that is emitted."""

MATCH_KEY_COLUMNS = {"person_ref": pl.String, "key_name": pl.String, "token": pl.String}


def build_match_keys(normal: pl.DataFrame, person_ref: pl.Series, key_ring: KeyRing) -> pl.DataFrame:
    """All match keys of a person table.

    ``normal`` is the answer of :func:`pseudonymise.normalise.normalise` and ``person_ref`` the pseudonyms of its
    rows. The answer has a row per record, key and distinct form that could be built, with the columns ``person_ref``,
    ``key_name`` and ``token`` (64 hexadecimal digits), key by key in the order of the records. A key with a missing
    part gives no row. A record may have several tokens of one key (a present and a previous surname).
    """

    def derive(messages: pl.Series, name: str) -> pl.Series:
        return derive_tokens(
            messages,
            key_ring.inner_subkey(purpose=PURPOSE, field=name),
            key_ring.outer_subkeys(purpose=PURPOSE, field=name),
        )

    return _build(normal, person_ref, derive)


def build_inner_match_keys(normal: pl.DataFrame, person_ref: pl.Series, keys: InnerKeys) -> pl.DataFrame:
    """The match keys under the inner layer alone, in the form and order of :func:`build_match_keys`: what a partner
    makes at its own site. Everybody who holds K1 can guess what is in them, so they travel and rest sealed."""

    def derive(messages: pl.Series, name: str) -> pl.Series:
        return derive_inner(messages, keys.inner_subkey(purpose=PURPOSE, field=name))

    return _build(normal, person_ref, derive)


def close_match_keys(inner: pl.DataFrame, key_ring: KeyRing) -> pl.DataFrame:
    """The match keys of inner ones, whose ``person_ref`` stays: what :func:`build_match_keys` gives of the same
    persons, in the same order."""
    frames = [inner.clear()]
    for (name,), keys in inner.group_by("key_name", maintain_order=True):
        outer_keys = key_ring.outer_subkeys(purpose=PURPOSE, field=str(name))
        frames.append(keys.with_columns(derive_outer(keys["token"], outer_keys).alias("token")))
    return pl.concat(frames)


def _build(normal: pl.DataFrame, person_ref: pl.Series, derive: Callable[[pl.Series, str], pl.Series]) -> pl.DataFrame:
    if tuple(normal.columns) != NORMAL_FIELDS or normal.height != len(person_ref):
        raise DefectFound("match keys need the normal record, one row per person_ref")
    framed = normal.select(frame_text(pl.col(name)).alias(name) for name in sorted(_HASHED_FIELDS))
    frames = [pl.DataFrame(schema={"row": pl.UInt32, "key_name": pl.String, "token": pl.String})]
    for key in MATCH_KEYS:
        messages = _messages(framed, key)
        tokens = derive(messages["message"], key.name)
        frames.append(messages.select("row", key_name=pl.lit(key.name), token=tokens))
    rows = pl.concat(frames)
    return rows.select(person_ref=person_ref.gather(rows["row"]), key_name="key_name", token=rows["token"])


_HASHED_FIELDS = frozenset(column for key in MATCH_KEYS for form in key.forms for column in form)


def _messages(framed: pl.DataFrame, key: MatchKey) -> pl.DataFrame:
    """``row`` and ``message`` of every distinct form that could be built, in order of form and row."""
    built = framed.select(
        compose([pl.col(name) for name in form]).alias(str(number)) for number, form in enumerate(key.forms)
    )
    row = pl.int_range(pl.len(), dtype=pl.UInt32)
    return pl.concat(
        built.select(row=row, message=str(number), new=_is_new(number)).filter("new").drop("new")
        for number in range(len(key.forms))
    )


def _is_new(number: int) -> pl.Expr:
    """Whether a form could be built and came out unlike all earlier ones of its row."""
    message = pl.col(str(number))
    return pl.all_horizontal(
        message.is_not_null(), *(message.ne_missing(pl.col(str(earlier))) for earlier in range(number))
    )
