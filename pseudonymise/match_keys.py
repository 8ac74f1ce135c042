"""The composite match keys: which parts of a record, hashed together, say that two records may be one person.

Each key leaves out another part of the record, so that one damaged or changed part (a marriage, a move, a misheard
name, a mixed-up date) leaves some key intact. No key is made of low-entropy parts alone: a name or a date hashed by
itself gives itself away by how often it occurs, whatever the key
(``tests/unit/pseudonymise/test_match_keys.py`` holds every key to :data:`ENTROPY_FLOOR`).
"""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from protocol.errors import DefectFound
from protocol.pool import MATCH_KEY_PURPOSE as PURPOSE
from pseudonymise.keys import KeyRing
from pseudonymise.normalise import NORMAL_FIELDS
from pseudonymise.tokens import compose, derive_tokens, frame_text


class Kind(StrEnum):
    """What agreement on a key is worth to whoever links."""

    DETERMINISTIC = "deterministic"
    """The same person, unless something forbids it."""
    STRONG = "strong"
    """The same person in nearly every case."""
    SUPPORTING = "supporting"
    """Needs another key beside it."""


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

ENTROPY_FLOOR = 20.0
"""Every key's parts add up to at least this many bits."""

_SURNAME_FORMS = ("surname", "previous_surname", "surname_first_part", "surname_last_part")


@dataclass(frozen=True)
class MatchKey:
    """One declared key."""

    name: str
    fields: tuple[str, ...]
    """The parts of a record that agree where the key does, for entropy, evidence and explanation."""
    forms: tuple[tuple[str, ...], ...]
    """The columns of the normal record that are hashed together. All forms share one token domain: with the previous
    surname as a second form, a record's former name meets another record's present one."""
    kind: Kind
    why: str
    unless_differs: tuple[str, ...] = ()
    """The key says nothing about two records that both hold one of *these* keys and do not agree on it."""


def _with_surnames(*columns: str) -> tuple[tuple[str, ...], ...]:
    """The forms of a key that contains ``surname``: once for every surname that a record may be filed under."""
    return tuple(tuple(form if column == "surname" else column for column in columns) for form in _SURNAME_FORMS)


MATCH_KEYS: tuple[MatchKey, ...] = (
    MatchKey(
        name="shared_person_number",
        fields=("shared_person_number",),
        forms=(("shared_person_number",),),
        kind=Kind.DETERMINISTIC,
        why="The partners gave the person this number together.",
    ),
    MatchKey(
        name="nhs_number_dob",
        fields=("nhs_number", "date_of_birth"),
        forms=(("nhs_number", "date_of_birth"),),
        kind=Kind.DETERMINISTIC,
        why="A checked NHS number that belongs to someone born that day leaves no doubt.",
    ),
    MatchKey(
        name="nhs_number",
        fields=("nhs_number",),
        forms=(("nhs_number",),),
        kind=Kind.STRONG,
        why="Finds a person whose date of birth was mistyped; two different numbers forbid a link.",
    ),
    MatchKey(
        name="ni_number",
        fields=("ni_number",),
        forms=(("ni_number",),),
        kind=Kind.STRONG,
        why="Issued once to one person, and what job centres and councils hold.",
    ),
    MatchKey(
        name="email_initial",
        fields=("email", "initial"),
        forms=(("email", "initial"),),
        kind=Kind.STRONG,
        why="Finds a person whatever else has changed; a couple that shares an address mostly differs in the initial.",
    ),
    MatchKey(
        name="phone_dob",
        fields=("phone", "date_of_birth"),
        forms=(("phone", "date_of_birth"),),
        kind=Kind.SUPPORTING,
        why="A household shares a telephone but seldom a day of birth.",
    ),
    MatchKey(
        name="phone_start",
        fields=("phone", "forename_start"),
        forms=(("phone", "forename_start"),),
        kind=Kind.SUPPORTING,
        unless_differs=("phone_dob",),
        why="Finds a person by telephone where a date of birth is missing; parent and child may share both parts.",
    ),
    MatchKey(
        name="names_dob",
        fields=("forename", "surname", "date_of_birth"),
        forms=(("name_low", "name_high", "date_of_birth"),),
        kind=Kind.STRONG,
        why="Name and day of birth; forename and surname may stand in each other's place.",
    ),
    MatchKey(
        name="family_dob",
        fields=("forename_family", "surname", "date_of_birth"),
        forms=(
            *_with_surnames("forename_family", "surname", "date_of_birth"),
            ("forename_second", "surname", "date_of_birth"),
            ("middle_name", "surname", "date_of_birth"),
        ),
        kind=Kind.STRONG,
        why="Bill is William, a middle name may be the one in use, and a surname may be an earlier or a double one.",
    ),
    MatchKey(
        name="names_dob_swapped",
        fields=("forename_family", "surname", "date_of_birth_sorted"),
        forms=_with_surnames("forename_family", "surname", "date_of_birth_sorted"),
        kind=Kind.STRONG,
        why="Day and month are often typed in each other's place.",
    ),
    MatchKey(
        name="starts_dob",
        fields=("forename_start", "surname_start", "date_of_birth"),
        forms=(
            ("forename_start", "surname_start", "date_of_birth"),
            ("forename_start", "previous_surname_start", "date_of_birth"),
        ),
        kind=Kind.STRONG,
        why="Most misspellings leave the first three letters of both names alone.",
    ),
    MatchKey(
        name="sounds_dob",
        fields=("forename_sound", "surname_sound", "date_of_birth"),
        forms=(("forename_sound", "surname_sound", "date_of_birth"),),
        kind=Kind.STRONG,
        why="Names that were heard and not read sound the same.",
    ),
    MatchKey(
        name="start_dob_sector",
        fields=("forename_start", "date_of_birth", "postcode_sector"),
        forms=(("forename_start", "date_of_birth", "postcode_sector"),),
        kind=Kind.STRONG,
        why="Finds a person in the same neighbourhood whose surname has changed.",
    ),
    MatchKey(
        name="initial_dob_postcode",
        fields=("initial", "date_of_birth", "postcode"),
        forms=(("initial", "date_of_birth", "postcode"),),
        kind=Kind.SUPPORTING,
        unless_differs=("starts_dob",),
        why="Some partners hold an initial only; where both hold full names that differ, they may be twins.",
    ),
    MatchKey(
        name="surname_dob_postcode",
        fields=("surname", "date_of_birth", "postcode"),
        forms=_with_surnames("surname", "date_of_birth", "postcode"),
        kind=Kind.SUPPORTING,
        unless_differs=("initial_dob_postcode",),
        why="Finds a person whose forename is missing; twins agree on it, so a differing initial speaks against it.",
    ),
    MatchKey(
        name="starts_year_sector",
        fields=("forename_start", "surname_start", "birth_year", "postcode_sector"),
        forms=(
            ("forename_start", "surname_start", "birth_year", "postcode_sector"),
            ("forename_start", "surname_start", "birth_month_day", "postcode_sector"),
        ),
        kind=Kind.STRONG,
        why="Finds a person in the same neighbourhood whose year, or else day and month, of birth is wrong.",
    ),
    MatchKey(
        name="starts_postcode",
        fields=("forename_start", "surname", "postcode"),
        forms=_with_surnames("forename_start", "surname", "postcode"),
        kind=Kind.SUPPORTING,
        unless_differs=("starts_year_sector",),
        why="Finds a person whose date of birth is missing; a differing one shows parent and child.",
    ),
)
"""Every key that is emitted. NHS number and shared person number stand alone as well, because two different ones
forbid a link: only a token of the bare number can say so."""

MATCH_KEY_COLUMNS = {"person_ref": pl.String, "key_name": pl.String, "token": pl.String}


def build_match_keys(normal: pl.DataFrame, person_ref: pl.Series, key_ring: KeyRing) -> pl.DataFrame:
    """All match keys of a person table.

    ``normal`` is the answer of :func:`pseudonymise.normalise.normalise` and ``person_ref`` the pseudonyms of its
    rows. The answer has a row per record, key and distinct form that could be built, with the columns ``person_ref``,
    ``key_name`` and ``token`` (64 hexadecimal digits), key by key in the order of the records. A key with a missing
    part gives no row. A record may have several tokens of one key (a present and a previous surname).
    """
    if tuple(normal.columns) != NORMAL_FIELDS or normal.height != len(person_ref):
        raise DefectFound("match keys need the normal record, one row per person_ref")
    framed = normal.select(frame_text(pl.col(name)).alias(name) for name in sorted(_HASHED_FIELDS))
    frames = [pl.DataFrame(schema={"row": pl.UInt32, "key_name": pl.String, "token": pl.String})]
    for key in MATCH_KEYS:
        messages = _messages(framed, key)
        tokens = derive_tokens(
            messages["message"],
            key_ring.inner_subkey(purpose=PURPOSE, field=key.name),
            key_ring.outer_subkeys(purpose=PURPOSE, field=key.name),
        )
        frames.append(messages.select("row", key_name=pl.lit(key.name), token=tokens))
    rows = pl.concat(frames)
    return rows.select(person_ref=person_ref.gather(rows["row"]), key_name="key_name", token=rows["token"])


_HASHED_FIELDS = frozenset(column for key in MATCH_KEYS for form in key.forms for column in form)


def _messages(framed: pl.DataFrame, key: MatchKey) -> pl.DataFrame:
    """``row`` and ``message`` of every distinct form that could be built, in order of form and row."""
    built = [
        framed.select(
            row=pl.int_range(pl.len(), dtype=pl.UInt32), message=compose([pl.col(name) for name in form])
        ).filter(pl.col("message").is_not_null())
        for form in key.forms
    ]
    first, others = built[0], built[1:]
    if not others:
        return first
    # Few rows have a second form, so only those are looked through for forms that came out alike.
    more = (
        pl.concat(others)
        .unique(maintain_order=True)
        .join(first, on=["row", "message"], how="anti", maintain_order="left")
    )
    return pl.concat([first, more])
