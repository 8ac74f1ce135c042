"""The declared keys: none is guessable by itself, each says what it should, and missing parts give no token."""

import math
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import DefectFound
from protocol.model import IdentifierRole
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import ENTROPY_FLOOR, MATCH_KEYS, MIN_ENTROPY_BITS, build_match_keys
from pseudonymise.normalise import NORMAL_FIELDS, normalise

AS_OF = date(2026, 9, 30)
ROLES = {role: role.value for role in IdentifierRole}
PERSON = {
    "forename": "William",
    "middle_names": "Arthur",
    "surname": "Smith-Jones",
    "previous_surname": "Brown",
    "date_of_birth": "1980-11-03",
    "sex": "m",
    "postcode": "LU1 2AB",
    "nhs_number": "9434765919",
    "ni_number": "AB123457C",
    "phone": "07700900123",
    "email": "will@example.org",
    "shared_person_number": "4146",
}


def keys_of(key_ring: KeyRing, **changes: str | None) -> set[tuple[str, str]]:
    person = {**dict.fromkeys(role.value for role in IdentifierRole), **PERSON, **changes}
    frame = pl.DataFrame([person], schema=dict.fromkeys(person, pl.String))
    made = build_match_keys(normalise(frame, ROLES, AS_OF), pl.Series("person_ref", ["r"]), key_ring)
    assert set(made["person_ref"]) <= {"r"}
    return set(made.select("key_name", "token").iter_rows())


def shared_names(left: set[tuple[str, str]], right: set[tuple[str, str]]) -> set[str]:
    return {name for name, _ in left & right}


def test_no_key_is_made_of_low_entropy_parts() -> None:
    for key in MATCH_KEYS:
        assert sum(MIN_ENTROPY_BITS[field] for field in key.fields) >= ENTROPY_FLOOR, key.name
        assert (
            "date_of_birth" in key.fields
            or any(MIN_ENTROPY_BITS[field] >= 13 for field in key.fields)
            or (len(key.fields) >= 3)
        ), key.name


def test_every_form_hashes_as_many_parts_as_its_key_declares() -> None:
    for key in MATCH_KEYS:
        for form in key.forms:
            assert len(form) == len(key.fields), key.name
            assert set(form) <= set(NORMAL_FIELDS), key.name
        assert key.why.endswith(".")


def test_the_commonest_token_of_each_key_is_rare_in_a_partnership(key_ring: KeyRing) -> None:
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
    refs = pl.Series("person_ref", [str(p) for p in people])
    made = build_match_keys(normalise(frame, columns, AS_OF), refs, key_ring)
    most = made.group_by("key_name", "token").len().group_by("key_name").agg(pl.col("len").max())
    for name, count in most.iter_rows():
        assert -math.log2(count / len(people)) > 6, name


def test_a_full_record_has_every_key_and_an_empty_one_has_none(key_ring: KeyRing) -> None:
    assert {name for name, _ in keys_of(key_ring)} == {key.name for key in MATCH_KEYS}
    assert keys_of(key_ring, **dict.fromkeys(PERSON)) == set()


MISSING = st.sampled_from(
    [
        None,
        "",
        " ",
        "\t",
        "\x00",
        "\u200b",
        "\u00a0\ufeff",
        "-",
        "?",
        "N/K",
        "unknown",
        "none",
        "NULL",
        "n/a",
        "TBC",
        "xx",
    ]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.fixed_dictionaries({role.value: MISSING for role in IdentifierRole}), min_size=1, max_size=4))
def test_what_is_missing_is_hashed_by_no_key(key_ring: KeyRing, rows: list[dict[str, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={role.value: pl.String for role in IdentifierRole})
    refs = pl.Series("person_ref", [str(place) for place in range(len(rows))])
    normal = normalise(frame, ROLES, AS_OF)
    assert normal.select(pl.all().null_count() == len(rows)).row(0) == (True,) * normal.width
    assert build_match_keys(normal, refs, key_ring).is_empty()


@settings(max_examples=25, deadline=None)
@given(st.fixed_dictionaries({name: st.sampled_from([None, "a"]) for name in NORMAL_FIELDS}))
def test_a_form_is_hashed_only_where_all_its_parts_are_there(key_ring: KeyRing, normal: dict[str, str | None]) -> None:
    frame = pl.DataFrame([normal], schema=dict.fromkeys(NORMAL_FIELDS, pl.String))
    made = build_match_keys(frame, pl.Series("person_ref", ["r"]), key_ring)
    whole = {key.name for key in MATCH_KEYS if any(all(normal[column] for column in form) for form in key.forms)}
    assert set(made["key_name"]) == whole
    assert made["token"].null_count() == 0


def test_a_missing_part_leaves_out_every_key_that_has_it(key_ring: KeyRing) -> None:
    names = {name for name, _ in keys_of(key_ring, date_of_birth=None)}
    assert names == {key.name for key in MATCH_KEYS if not any("birth" in field for field in key.fields)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"forename": "Bill"}, {"name_dob", "names_year", "names_sector", "name_postcode"}),
        ({"surname": "Brown", "previous_surname": None}, {"name_dob", "names_year", "names_sector"}),
        ({"surname": "Jones", "previous_surname": None}, {"name_dob", "names_year"}),
        ({"surname": "Green", "previous_surname": None}, {"name_dob", "name_postcode", "dob_sector"}),
        ({"date_of_birth": "1980-03-11"}, {"names_year", "names_sector", "name_postcode"}),
        ({"date_of_birth": "1990-11-03"}, {"starts_day_month", "names_sector", "start_postcode"}),
        ({"forename": "Arthur", "middle_names": None}, {"name_dob", "name_postcode"}),
        ({"forename": "Wiliam", "surname": "Smyth", "previous_surname": None}, {"start_dob", "dob_sector"}),
        ({"postcode": "MK9 9ZZ"}, {"name_dob", "start_dob", "names_year", "starts_day_month"}),
    ],
)
def test_a_change_of_one_part_leaves_keys_that_agree(
    key_ring: KeyRing, change: dict[str, str | None], expected: set[str]
) -> None:
    bare = dict.fromkeys(["nhs_number", "ni_number", "phone", "email", "shared_person_number"])
    agreed = shared_names(keys_of(key_ring, **bare), keys_of(key_ring, **bare, **change))
    assert expected <= agreed


def test_names_in_each_others_place_agree(key_ring: KeyRing) -> None:
    bare = dict.fromkeys(["nhs_number", "ni_number", "phone", "email", "shared_person_number", "postcode"])
    right = keys_of(key_ring, **bare, forename="Ali", surname="Ahmed")
    swapped = keys_of(key_ring, **bare, forename="Ahmed", surname="Ali")
    assert {"name_dob", "names_year"} <= shared_names(right, swapped)


def test_a_stranger_who_was_born_the_same_day_in_the_same_street_shares_only_that(key_ring: KeyRing) -> None:
    stranger = {
        "forename": "Grace",
        "middle_names": None,
        "surname": "Okafor",
        "previous_surname": None,
        "nhs_number": "9434765870",
        "ni_number": "CD123457C",
        "phone": "07700900456",
        "email": "grace@example.org",
        "shared_person_number": "4147",
    }
    assert shared_names(keys_of(key_ring), keys_of(key_ring, **stranger)) == {"dob_sector"}


def test_other_keys_give_other_tokens(key_ring: KeyRing, other_key_ring: KeyRing) -> None:
    assert not keys_of(key_ring) & keys_of(other_key_ring)


def test_keys_are_made_in_the_order_of_the_records(key_ring: KeyRing) -> None:
    frame = pl.DataFrame([PERSON, PERSON, {**PERSON, "surname": "Khan"}])
    normal = normalise(frame, ROLES | {IdentifierRole.SEX: "sex"}, AS_OF)
    refs = pl.Series("person_ref", ["z", "a", "m"])
    first, second = build_match_keys(normal, refs, key_ring), build_match_keys(normal, refs, key_ring)
    assert first.equals(second)
    assert first.filter(pl.col("key_name") == "dob_sector")["person_ref"].to_list() == ["z", "a", "m"]
    assert not first.is_duplicated().any()


def test_a_frame_that_is_not_the_normal_record_is_refused(key_ring: KeyRing) -> None:
    with pytest.raises(DefectFound, match="normal record"):
        build_match_keys(pl.DataFrame({"forename": ["mary"]}), pl.Series(["r"]), key_ring)
