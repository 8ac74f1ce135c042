"""What two encodings have in common is what their people have in common, and nothing else can be told from one."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from protocol.errors import DefectFound
from protocol.model import IdentifierRole
from pseudonymise import encoding
from pseudonymise.encoding import (
    BLOCK,
    ENTROPY_FLOOR,
    FILTER_WEIGHT,
    NEAR_LETTERS,
    PURPOSE,
    TOKEN_SETS,
    TokenSet,
    encode_further,
    encode_inner,
    encode_outer,
    encode_persons,
    encoding_schema,
    inner_schema,
    token_names,
)
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import MIN_ENTROPY_BITS
from pseudonymise.normalise import NORMAL_FIELDS, normalise

AS_OF = date(2026, 9, 30)
NOW = datetime(2026, 7, 1, tzinfo=UTC)
ROLES = {role: role.value for role in IdentifierRole}
PERSON: dict[str, str | None] = {
    "forename": "William",
    "middle_names": "Arthur",
    "surname": "Smith-Jones",
    "previous_surname": "Brown",
    "date_of_birth": "1980-11-03",
    "sex": "m",
    "postcode": "LU1 2AB",
    "nhs_number": "9434765919",
    "ni_number": "AB123946C",
    "phone": "07700900123",
    "email": "will@example.org",
    "shared_person_number": "4146",
}
PLAIN = PERSON | {"middle_names": None, "previous_surname": None, "surname": "Thornbury"}
"""One form of each name."""
SALTS_OF_NAMES = 5
NUMBERS = ("phone", "email", "nhs_number")
"""What names are salted with besides date and postcode."""
ELSEWHERE = {"postcode": "BS8 1TH", **dict.fromkeys(NUMBERS)}
LISTS = token_names()
FILTERS = tuple(tokens.name for tokens in TOKEN_SETS if tokens.is_filter)
Person = Mapping[str, str | None]


def normal_of(*people: Person) -> pl.DataFrame:
    rows = [{name: person.get(name) for name in ROLES.values()} for person in people]
    return normalise(pl.DataFrame(rows, schema=dict.fromkeys(ROLES.values(), pl.String)), ROLES, AS_OF)


def refs_of(height: int) -> pl.Series:
    return pl.Series("person_ref", [f"r{number}" for number in range(height)], dtype=pl.String)


def encode(key_ring: KeyRing, *people: Person) -> pl.DataFrame:
    return encode_persons(normal_of(*people), refs_of(len(people)), key_ring)


def meet(encodings: pl.DataFrame, left: str, right: str | None = None) -> int:
    """How many tokens the first row has in a set that the second one has in it, or in another."""
    one, other = encodings[left][0], encodings[right or left][1]
    return 0 if one is None or other is None else len(set(one) & set(other))


def met(key_ring: KeyRing, one: Person, other: Person) -> set[str]:
    encodings = encode(key_ring, one, other)
    return {name for name in LISTS if meet(encodings, name)}


def bits_of(encodings: pl.DataFrame, name: str) -> list[int | None]:
    """The filters of a set as numbers of 128 bits."""
    halves = encodings.select(pl.col(f"{name}_low", f"{name}_high")).rows()
    return [None if low is None else low % 2**64 | (high % 2**64) << 64 for low, high in halves]


def likeness(key_ring: KeyRing, one: Person, other: Person, name: str) -> float:
    left, right = bits_of(encode(key_ring, one, other), name)
    assert left is not None
    assert right is not None
    return (left & right).bit_count() / FILTER_WEIGHT


def longer(ring: KeyRing, *numbers: int) -> KeyRing:
    """The ring after one rotation for each number."""
    for number in numbers:
        ring = ring.with_new("K2", NOW, lambda size, fill=number: bytes([fill]) * size).with_next_outer().marked(NOW)
    return ring


# --- what agrees ------------------------------------------------------------------------------------------------------


def test_a_full_record_has_every_token_and_filter_and_agrees_with_itself(key_ring: KeyRing) -> None:
    encodings = encode(key_ring, PERSON, PERSON)
    assert encodings.schema == pl.Schema(encoding_schema())
    assert encodings.select(pl.all().null_count()).row(0) == (0,) * encodings.width
    assert met(key_ring, PERSON, PERSON) == set(LISTS)
    assert {likeness(key_ring, PERSON, PERSON, name) for name in FILTERS} == {1.0}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"forename": "Bill", "middle_names": None}, "forename"),  # one family of names
        ({"forename": "John William"}, "forename"),
        ({"forename": "Arthur", "middle_names": None}, "forename"),
        ({"surname": "Jones", "previous_surname": None}, "surname"),
        ({"surname": "Smith", "previous_surname": None}, "surname"),
        ({"surname": "Brown", "previous_surname": None}, "surname"),
    ],
)
def test_every_form_of_a_name_meets(key_ring: KeyRing, change: Person, name: str) -> None:
    assert name in met(key_ring, PERSON, {**PERSON, **change})


def test_a_name_meets_where_any_salt_agrees_and_only_there(key_ring: KeyRing) -> None:
    names = {"forename", "surname", "forename_near", "surname_near"}
    assert names <= met(key_ring, PLAIN, {**PLAIN, **ELSEWHERE})
    assert names <= met(key_ring, PLAIN, {**PLAIN, "date_of_birth": "1951-05-17"})
    assert not names & met(key_ring, PLAIN, {**PLAIN, **ELSEWHERE, "date_of_birth": "1951-05-17"})
    parts = {"forename_part_date", "surname_part_date"}
    for half in ("1980-05-17", "1951-11-03"):  # the year; the day and month
        agreed = met(key_ring, PLAIN, {**PLAIN, **ELSEWHERE, "date_of_birth": half})
        assert parts <= agreed
        assert not names & agreed
    for number in NUMBERS:
        elsewhere = {**PLAIN, **ELSEWHERE, "date_of_birth": "1951-05-17", number: PLAIN[number]}
        assert names <= met(key_ring, PLAIN, elsewhere)
    # Half a date needs the other name's initial.
    other = {**PLAIN, "surname": "Ellwood", "date_of_birth": "1980-05-17", **ELSEWHERE}
    assert "forename_part_date" not in met(key_ring, PLAIN, other)


def test_names_in_each_others_place_meet_crosswise(key_ring: KeyRing) -> None:
    swapped = {**PLAIN, "forename": "Thornbury", "surname": "William", "date_of_birth": "1980-05-17"}
    encodings = encode(key_ring, PLAIN, swapped)
    for suffix in ("", "_part_date", "_near"):
        assert meet(encodings, f"forename{suffix}", f"surname{suffix}"), suffix
        assert meet(encodings, f"surname{suffix}", f"forename{suffix}"), suffix
        assert not meet(encodings, f"forename{suffix}"), suffix
    date_filters = encode(key_ring, PLAIN, {**swapped, "date_of_birth": PLAIN["date_of_birth"]})
    assert bits_of(date_filters, "forename_filter_date")[0] == bits_of(date_filters, "surname_filter_date")[1]


letters = st.text(alphabet="abdeginorst", min_size=3, max_size=18)


@settings(max_examples=40, deadline=None)
@given(letters, st.integers(0, 17), st.sampled_from("xyz"), st.sampled_from(["lost", "added", "changed", "exchanged"]))
def test_names_within_one_letter_meet_however_long(key_ring: KeyRing, name: str, at: int, other: str, how: str) -> None:
    at %= len(name) - 1
    typed = {
        "lost": name[:at] + name[at + 1 :],
        "added": name[:at] + other + name[at:],
        "changed": name[:at] + other + name[at + 1 :],
        "exchanged": name[:at] + name[at + 1] + name[at] + name[at + 2 :],
    }[how]
    blank = dict.fromkeys(NORMAL_FIELDS)
    rows = [{**blank, "surname": text, "date_of_birth": "1980-11-03"} for text in (name, typed)]
    normal = pl.DataFrame(rows, schema=dict.fromkeys(NORMAL_FIELDS, pl.String))
    assert meet(encode_persons(normal, refs_of(2), key_ring), "surname_near")


@pytest.mark.parametrize("typed", ["Ellwood", "Thirnbvry", "Thor", "Thornburyes"])
def test_names_that_differ_in_more_than_a_letter_do_not_meet(key_ring: KeyRing, typed: str) -> None:
    assert "surname_near" not in met(key_ring, PLAIN, {**PLAIN, "surname": typed})


def test_fillers_are_shared_with_nobody_but_the_same_name(key_ring: KeyRing) -> None:
    """All near tokens meet those of an equal name; of another of one letter less they meet in one alone."""
    encodings = encode(key_ring, {**PLAIN, "surname": "Li"}, {**PLAIN, "surname": "Li"})
    assert meet(encodings, "surname_near") == SALTS_OF_NAMES * (NEAR_LETTERS + 1)
    encodings = encode(key_ring, {**PLAIN, "surname": "Lin"}, {**PLAIN, "surname": "Li"})
    assert meet(encodings, "surname_near") == SALTS_OF_NAMES  # "li", once for each
    assert not meet(encode(key_ring, {**PLAIN, "surname": "Li"}, {**PLAIN, "surname": "Wu"}), "surname_near")


def test_long_names_are_cut_before_letters_are_left_out(key_ring: KeyRing) -> None:
    start = "Featherston"
    assert len(start) == NEAR_LETTERS
    one, other = ({**PLAIN, "surname": start + end} for end in ("haugh", "field"))
    assert "surname_near" in met(key_ring, one, other)
    assert "surname" not in met(key_ring, one, other)


@pytest.mark.parametrize(
    ("born", "agreed"),
    [
        ("1980-11-03", {"date_of_birth", "date_of_birth_swapped", "date_of_birth_near"}),
        ("1980-03-11", {"date_of_birth_swapped"}),
        ("1980-11-08", {"date_of_birth_near"}),
        ("1970-11-03", {"date_of_birth_near"}),
        ("1971-11-03", set()),
    ],
)
def test_a_date_meets_whole_exchanged_or_but_for_a_digit(key_ring: KeyRing, born: str, agreed: set[str]) -> None:
    dates = {"date_of_birth", "date_of_birth_swapped", "date_of_birth_near"}
    assert met(key_ring, PLAIN, {**PLAIN, "date_of_birth": born}) & dates == agreed


def test_a_date_needs_an_initial_or_the_neighbourhood_and_a_postcode_an_initial_or_the_date(key_ring: KeyRing) -> None:
    stranger = {**PLAIN, "forename": "Grace", "surname": "Okafor"}
    assert {"date_of_birth", "postcode", "postcode_sector"} <= met(key_ring, PLAIN, stranger)
    assert "date_of_birth" not in met(key_ring, PLAIN, {**stranger, **ELSEWHERE})
    assert not {"postcode", "postcode_near", "postcode_sector"} & met(
        key_ring, PLAIN, {**stranger, "date_of_birth": "1951-05-17"}
    )
    # An initial is an initial, whichever name it is of.
    crossed = {**stranger, **ELSEWHERE, "forename": "Tabitha"}
    assert "date_of_birth" in met(key_ring, PLAIN, crossed)


@pytest.mark.parametrize(
    ("code", "agreed"),
    [
        ("LU1 2AB", {"postcode", "postcode_near", "postcode_sector"}),
        ("LU1 2AD", {"postcode_near", "postcode_sector"}),
        ("LU1 2XY", {"postcode_sector"}),
        ("LU7 2AB", {"postcode_near"}),
        ("LU11 2AB", set()),
    ],
)
def test_a_postcode_meets_whole_but_for_a_sign_or_by_its_sector(key_ring: KeyRing, code: str, agreed: set[str]) -> None:
    postcodes = {"postcode", "postcode_near", "postcode_sector"}
    assert met(key_ring, PLAIN, {**PLAIN, "postcode": code}) & postcodes == agreed


def test_personal_numbers_meet_whoever_has_them(key_ring: KeyRing) -> None:
    numbers = ("phone", "email", "nhs_number", "ni_number", "shared_person_number")
    nobody = {name: PERSON[name] for name in numbers}
    assert met(key_ring, PERSON, nobody) == {*numbers, "ni_number_near"}
    changed = {**nobody, "ni_number": "AB123956C", "nhs_number": "9434765870"}
    assert met(key_ring, PERSON, changed) == {"phone", "email", "shared_person_number", "ni_number_near"}


def test_equal_values_of_different_kinds_do_not_meet(key_ring: KeyRing) -> None:
    """A number that stands in two columns, or a name in the place of a number, is another thing there."""
    row = dict.fromkeys(NORMAL_FIELDS, "1980-11-03")
    normal = pl.DataFrame([row], schema=dict.fromkeys(NORMAL_FIELDS, pl.String))
    encodings = encode_persons(normal, refs_of(1), key_ring)
    domains: dict[str, set[int]] = {}
    for tokens in TOKEN_SETS:
        if not tokens.is_filter:
            domains.setdefault(tokens.domain or tokens.name, set()).update(encodings[tokens.name][0])
    assert len(set().union(*domains.values())) == sum(len(tokens) for tokens in domains.values())


@pytest.mark.parametrize("salt", ["date", "postcode"])
def test_filters_are_alike_as_names_are(key_ring: KeyRing, salt: str) -> None:
    def alike(surname: str) -> float:
        return likeness(key_ring, PLAIN, {**PLAIN, "surname": surname}, f"surname_filter_{salt}")

    assert alike("Thornberry") >= 0.7 > alike("Thorne") >= 0.5 > alike("Ellwood")


def test_filters_of_one_name_under_other_salts_are_strangers(key_ring: KeyRing) -> None:
    other = {**PLAIN, "date_of_birth": "1951-05-17"}
    assert likeness(key_ring, PLAIN, other, "surname_filter_date") < 0.45
    assert likeness(key_ring, PLAIN, other, "surname_filter_postcode") == 1


# --- what cannot be told ----------------------------------------------------------------------------------------------

_NAME = st.none() | st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=30)
_NORMAL = st.fixed_dictionaries(
    {name: st.none() for name in NORMAL_FIELDS}
    | dict.fromkeys(("forename", "surname", "forename_family", "middle_name", "surname_last_part"), _NAME)
    | {
        "date_of_birth": st.sampled_from([None, "1980-11-03", "1951-05-17"]),
        "postcode": st.sampled_from([None, "M11AE", "LU12AB", "LU112AB"]),
        "ni_number": st.sampled_from([None, "AB123946"]),
        "birth_year": st.sampled_from([None, "1980"]),
        "initial": st.sampled_from([None, "w"]),
    }
)


def frame_of(rows: Sequence[Mapping[str, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(NORMAL_FIELDS, pl.String))


@settings(max_examples=20, deadline=None)
@given(st.lists(_NORMAL, min_size=1, max_size=5))
def test_every_filter_sets_as_many_bits_and_every_value_has_as_many_tokens(
    key_ring: KeyRing, rows: list[dict[str, str | None]]
) -> None:
    encodings = encode_persons(frame_of(rows), refs_of(len(rows)), key_ring)
    for name in FILTERS:
        assert {None if bits is None else bits.bit_count() for bits in bits_of(encodings, name)} <= {
            None,
            FILTER_WEIGHT,
        }
    for tokens in TOKEN_SETS:
        if tokens.is_filter:
            continue
        for row, found in zip(rows, encodings[tokens.name], strict=True):
            values = {row[column] for column in tokens.values} - {None}
            initial = {"initial": row["initial"], "surname_initial": (row["surname"] or "")[:1] or None}
            salts = {
                tuple((name.removeprefix("surname_"), {**row, **initial}[name]) for name in salt)
                for salt in tokens.salts
            }
            whole = {salt for salt in salts if all(value is not None for _, value in salt)}
            assert (0 if found is None else len(found)) == len(values) * len(whole) * tokens.each, tokens.name
            assert found is None or found.n_unique() == len(found)


@settings(max_examples=12, deadline=None)
@given(st.lists(_NORMAL, min_size=1, max_size=5), st.integers(0, 2))
def test_lists_are_sorted_after_the_last_key(key_ring: KeyRing, rows: list[dict[str, str | None]], more: int) -> None:
    before = encode_persons(frame_of(rows), refs_of(len(rows)), key_ring)
    ring = longer(key_ring, *range(7, 7 + more))
    for encodings in (
        encode_persons(frame_of(rows), refs_of(len(rows)), ring),
        encode_further(before, ring.outer_subkeys(purpose=PURPOSE, field=BLOCK, above=key_ring.key_id)),
    ):
        for name in LISTS:
            for found in encodings[name].drop_nulls():
                assert found.to_list() == sorted(found.to_list()), name


def test_the_inner_layer_has_as_many_near_blocks_whatever_the_name(key_ring: KeyRing) -> None:
    people = [{**PLAIN, "forename": name, "surname": name} for name in ("Li", "Thornbury", "Featherstonehaugh")]
    inner = encode_inner(normal_of(*people), refs_of(3), key_ring)
    for name in ("forename_near", "surname_near"):
        assert inner[name].list.len().to_list() == [SALTS_OF_NAMES * (NEAR_LETTERS + 1)] * 3


def test_the_inner_layers_blocks_are_in_an_order_of_their_own(key_ring: KeyRing) -> None:
    inner = encode_inner(normal_of(PERSON), refs_of(1), key_ring)
    for tokens in TOKEN_SETS:
        numbers = [int.from_bytes(block[:8], "little") for block in inner[tokens.name][0]]
        assert numbers == sorted(numbers)


def bits_to_guess(column: str) -> float:
    """Of the parts that :data:`MIN_ENTROPY_BITS` does not name, as of what they are like."""
    alike = {"forename_second": "forename_family", "middle_name": "forename_family", "surname_initial": "initial"}
    alike |= dict.fromkeys(("previous_surname", "surname_first_part", "surname_last_part"), "surname")
    return MIN_ENTROPY_BITS[alike.get(column, column)]


@pytest.mark.parametrize("tokens", TOKEN_SETS, ids=lambda tokens: tokens.name)
def test_no_token_is_made_of_low_entropy_parts(tokens: TokenSet) -> None:
    assert tokens.values
    assert tokens.salts
    for value in tokens.values:
        for salt in tokens.salts:
            assert bits_to_guess(value) + sum(map(bits_to_guess, salt)) >= ENTROPY_FLOOR, (value, salt)


def test_the_commonest_token_of_each_set_is_rare_in_a_partnership(key_ring: KeyRing) -> None:
    # 4,000 people with only 40 forenames and 60 surnames: far more alike than any partnership.
    people = range(4000)
    frame = pl.DataFrame(
        {
            "forename": [f"{'abcdefgh'[p % 8]}{'aeiou'[p // 8 % 5]}n" for p in people],
            "surname": [f"{'klmnprstvz'[p % 10]}{'aeiouy'[p // 10 % 6]}rd" for p in people],
            "date_of_birth": [date(1945 + p * 7 % 60, 1 + p % 12, 2 + p * 11 % 27) for p in people],
            "postcode": [f"LU{1 + p % 9} {p * 3 % 10}A{'ABDEFGHJ'[p // 7 % 8]}" for p in people],
        }
    )
    columns = {role: role.value for role in IdentifierRole if role.value in frame.columns}
    encodings = encode_persons(normalise(frame, columns, AS_OF), refs_of(len(people)), key_ring)
    for name in LISTS:
        found = encodings[name].drop_nulls().explode()
        if len(found):
            assert -math.log2(found.value_counts()["count"].max() / len(people)) > 5, name


# --- what is missing, and what does not fit ---------------------------------------------------------------------------


def test_an_empty_record_has_nothing_in_any_column(key_ring: KeyRing) -> None:
    encodings = encode(key_ring, {}, PERSON, {})
    assert encodings.drop("person_ref").row(0) == (None,) * (encodings.width - 1)
    assert encodings.drop("person_ref").row(2) == (None,) * (encodings.width - 1)
    assert encode(key_ring).schema == pl.Schema(encoding_schema())
    assert encode_inner(normal_of({}), refs_of(1), key_ring).drop("person_ref").row(0) == (None,) * len(TOKEN_SETS)


@pytest.mark.parametrize("missing", ["", " ", "\u200b", "-", "?", "N/K", "unknown", "none", "NULL"])
def test_what_is_missing_is_never_hashed(key_ring: KeyRing, missing: str) -> None:
    encodings = encode(key_ring, dict.fromkeys(PERSON, missing))
    assert encodings.drop("person_ref").row(0) == (None,) * (encodings.width - 1)


@pytest.mark.parametrize("without", ["date_of_birth", "postcode", "forename", "surname"])
def test_two_records_never_meet_in_what_neither_has(key_ring: KeyRing, without: str) -> None:
    other = {**PLAIN, "forename": "Grace", "surname": "Okafor", **ELSEWHERE, "date_of_birth": "1951-05-17"}
    numbers = dict.fromkeys(["nhs_number", "ni_number", "phone", "email", "shared_person_number"])
    assert met(key_ring, {**PLAIN, **numbers, without: None}, {**other, **numbers, without: None}) == set()


def test_what_is_no_normal_record_is_refused(key_ring: KeyRing) -> None:
    normal = normal_of(PERSON)
    for encode_layer in (encode_persons, encode_inner):
        with pytest.raises(DefectFound, match="normal record"):
            encode_layer(normal, refs_of(2), key_ring)
        with pytest.raises(DefectFound, match="normal record"):
            encode_layer(normal.drop("surname"), refs_of(1), key_ring)


def test_what_is_no_inner_encoding_is_refused(key_ring: KeyRing) -> None:
    inner = encode_inner(normal_of(PERSON), refs_of(1), key_ring)
    with pytest.raises(DefectFound, match="lacks surname_near"):
        encode_outer(inner.drop("surname_near"), key_ring)
    for block in (b"", b"too short", b"seventeen bytes .."):
        cut = inner.with_columns(surname=pl.lit(pl.Series([[block]], dtype=pl.List(pl.Binary))))
        with pytest.raises(DefectFound, match="16 bytes"):
            encode_outer(cut, key_ring)


# --- rows, batches and keys -------------------------------------------------------------------------------------------

PEOPLE: list[Person] = [
    PERSON,
    {},
    PLAIN,
    {**PERSON, "surname": "Li", "forename": "Jo"},
    {**PLAIN, **ELSEWHERE, "surname": "Featherstonehaugh"},
    {**PERSON, "date_of_birth": None},
    {**PERSON, "postcode": None},
]


def test_neither_batches_nor_the_order_of_rows_matter(key_ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    normal, refs = normal_of(*PEOPLE), refs_of(len(PEOPLE))
    at_once, inner = encode_persons(normal, refs, key_ring), encode_inner(normal, refs, key_ring)
    backwards = encode_persons(normal.reverse(), refs.reverse(), key_ring)
    assert_frame_equal(backwards.reverse(), at_once)
    alone = [encode_persons(normal.slice(row, 1), refs.slice(row, 1), key_ring) for row in range(len(PEOPLE))]
    assert_frame_equal(pl.concat(alone), at_once)
    for size in (1, 2, 3):
        monkeypatch.setattr(encoding, "_BATCH", size)
        assert_frame_equal(encode_persons(normal, refs, key_ring), at_once)
        assert_frame_equal(encode_inner(normal, refs, key_ring), inner)


@pytest.mark.parametrize("added", [(), (7,), (7, 8)])
def test_both_layers_apart_give_what_they_give_at_once(key_ring: KeyRing, added: tuple[int, ...]) -> None:
    normal, refs, ring = normal_of(*PEOPLE), refs_of(len(PEOPLE)), longer(key_ring, *added)
    inner = encode_inner(normal, refs, ring)
    assert inner.schema == pl.Schema(inner_schema())
    assert_frame_equal(encode_outer(inner, ring), encode_persons(normal, refs, ring))


def test_it_does_not_matter_in_which_order_inner_blocks_come(key_ring: KeyRing) -> None:
    normal, refs = normal_of(*PEOPLE), refs_of(len(PEOPLE))
    inner = encode_inner(normal, refs, key_ring)
    turned = inner.with_columns(pl.col(tokens.name).list.reverse() for tokens in TOKEN_SETS)
    assert not turned.equals(inner)
    assert_frame_equal(encode_outer(turned, key_ring), encode_outer(inner, key_ring))


@pytest.mark.parametrize("added", [(7,), (7, 8)])
def test_stored_encodings_under_further_keys_are_those_of_the_longer_chain(
    key_ring: KeyRing, added: tuple[int, ...]
) -> None:
    normal, refs, ring = normal_of(*PEOPLE), refs_of(len(PEOPLE)), longer(key_ring, *added)
    stored = encode_persons(normal, refs, key_ring)
    renewed = encode_further(stored, ring.outer_subkeys(purpose=PURPOSE, field=BLOCK, above=key_ring.key_id))
    assert_frame_equal(renewed, encode_persons(normal, refs, ring))
    for name in FILTERS:
        for before, after in zip(bits_of(stored, name), bits_of(renewed, name), strict=True):
            assert (before is None) == (after is None)
            assert after is None or (after != before and after.bit_count() == FILTER_WEIGHT)
    assert encode_further(stored, ()).equals(stored)
    assert encode_further(stored.clear(), added_keys=("00" * 32,)).schema == stored.schema


def test_other_keys_give_other_tokens(key_ring: KeyRing, other_key_ring: KeyRing) -> None:
    one = encode(key_ring, PERSON)
    for ring in (other_key_ring, longer(key_ring, 7)):
        other = encode(ring, PERSON)
        for name in LISTS:
            assert not set(one[name][0]) & set(other[name][0]), name
        for name in FILTERS:
            assert bits_of(one, name) != bits_of(other, name)
