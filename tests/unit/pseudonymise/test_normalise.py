"""Normalisation is total, idempotent and agrees with the libraries that know better."""

import random
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from datetime import date
from functools import partial

import phonenumbers
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum.exceptions import ValidationError
from stdnum.gb import nhs

from protocol.model import IdentifierRole
from pseudonymise import normalise as n

AS_OF = date(2026, 9, 30)

FUNCTIONS: dict[str, Callable[[pl.Series], pl.Series]] = {
    "forename": n.normalise_forename,
    "second_forename": n.normalise_second_forename,
    "middle_name": n.normalise_middle_name,
    "initial": n.normalise_initial,
    "surname": n.normalise_surname,
    "surname_first": partial(n.normalise_surname_part, place=0),
    "surname_last": partial(n.normalise_surname_part, place=-1),
    "former_surname": n.normalise_former_surname,
    "family": n.normalise_name_family,
    "sound": n.normalise_sound,
    "date_of_birth": partial(n.normalise_date_of_birth, as_of=AS_OF),
    "date_of_birth_sorted": n.sort_day_and_month,
    "birth_year": partial(n.normalise_birth_year, as_of=AS_OF),
    "sex": n.normalise_sex,
    "postcode": n.normalise_postcode,
    "district": n.postcode_district,
    "nhs_number": n.normalise_nhs_number,
    "ni_number": n.normalise_ni_number,
    "phone": n.normalise_phone,
    "email": n.normalise_email,
    "shared_person_number": n.normalise_shared_person_number,
}
NOT_IDEMPOTENT = {
    *("second_forename", "former_surname", "surname_first", "surname_last", "sound", "birth_year", "initial"),
}
IDEMPOTENT = sorted(set(FUNCTIONS) - NOT_IDEMPOTENT)
"""Those whose answer is of the kind that they take."""

NAME = "[a-z]{2,}"
ALPHABETS = {
    **dict.fromkeys(("forename", "second_forename", "middle_name", "surname", "former_surname"), NAME),
    **dict.fromkeys(("surname_first", "surname_last"), "[a-z]{3,}"),
    "family": "[a-z]+",
    "initial": "[a-z]",
    "sound": "[a-z][0-6]{3}",
    **dict.fromkeys(("date_of_birth", "date_of_birth_sorted"), r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "birth_year": "[0-9]{4}",
    "sex": "[mf]",
    "postcode": "[A-Z]{1,2}[0-9][A-Z0-9]?[0-9][A-Z]{2}",
    "district": "[A-Z]{1,2}[0-9][A-Z0-9]?",
    "nhs_number": "[0-9]{10}",
    "ni_number": "[A-Z]{2}[0-9]{6}",
    "phone": r"\+[1-9][0-9]{5,16}",
    "email": r"[!-?A-~]+@[a-z0-9.-]+",
    "shared_person_number": "[!-~]+",
}

# Signs that do harm in real extracts: marks, letters of many scripts, invisible signs, and what names are joined by.
SIGNS = st.sampled_from(
    "aAbzOol019 .,-'’`´_/&;()[]\"@+?#\t\n\x00\x1b\x7f\x85\xa0\xad\u200b\u200e\u202e\u2011\ufeff\ufffd"
    "\u0301\u0323\u0345\u0338éÉłıİßøþÃ©Â€™ŠÐ¸ЯйіїωςΟυΥχあがカー王김각각محأعةىאפּकি्ংড়োਸਿੰகௌกูשׁგԱአﬁＡ１²Ⅲ①😀♥\U0001f3fd"
)
NAME_WORDS = [
    *sorted({word for kind in ("title", "placeholder", "particle") for word in n._words(kind)}),
    *("née", "aka", "s/o", "b/o", "baby", "deceased", "saint", "Smith", "O'", "D’", "bin", "Jr", "&", "and", "y"),
]
CELLS = st.one_of(
    st.text(max_size=30),
    st.text(SIGNS, max_size=20),
    st.text(st.characters(categories=("L", "M", "Zs", "P", "Cf")), max_size=12),
    st.from_regex(r"[A-Za-z .'\-]{0,25}", fullmatch=True),
    st.lists(st.sampled_from(NAME_WORDS), max_size=5).map(" ".join),
    st.from_regex(r"[0-9 +()\-/]{0,16}", fullmatch=True),
    st.from_regex(r"[0-3][0-9][/. \-](0[1-9]|1[0-2]|Mar|Sept)[/. \-](19|20)?[0-9]{2}", fullmatch=True),
    st.dates(date(1890, 1, 1), date(2030, 1, 1)).map(str),
    st.from_regex(r"[A-Za-z]{1,2}[0-9O]{1,2}[A-Za-z]? ?[0-9OI][A-Za-z]{2}", fullmatch=True),
    st.from_regex(r"[a-zA-Z.+\-<\"]{1,9}@[a-z.\-,; ]{1,12}", fullmatch=True),
    st.from_regex(r"[A-Z]{2} ?[0-9]{6} ?[A-D]?", fullmatch=True),
)
NOTHING_SEEN = st.text(
    st.sampled_from(" \t\n\r\x00\x07\x1f\x7f\x85\xa0\xad\u2003\u3000\u200b\u200e\u200f\u202a\u202e\u2060\ufeff\u2028"),
    max_size=8,
)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_text_has_an_answer_in_the_alphabet_of_its_field(name: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.none() | CELLS, max_size=12))
    def check(cells: list[str | None]) -> None:
        answer = FUNCTIONS[name](pl.Series("cell", cells, dtype=pl.String))
        assert len(answer) == len(cells)
        assert answer.dtype == pl.String
        assert answer.name == "cell"
        for cell, normal in zip(cells, answer, strict=True):
            assert normal is None or re.fullmatch(ALPHABETS[name], normal)
            assert cell is not None or normal is None

    check()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_what_nobody_can_see_is_missing(name: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(NOTHING_SEEN, max_size=6))
    def check(cells: list[str]) -> None:
        answer = FUNCTIONS[name](pl.Series("cell", cells, dtype=pl.String))
        assert answer.null_count() == len(cells)

    check()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_composed_and_decomposed_letters_give_one_answer(name: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(CELLS, max_size=8))
    def check(cells: list[str]) -> None:
        forms = [
            FUNCTIONS[name](pl.Series([unicodedata.normalize(form, cell) for cell in cells], dtype=pl.String))
            for form in ("NFC", "NFD")
        ]
        assert forms[0].to_list() == forms[1].to_list()

    check()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_answer_to_a_cell_depends_on_that_cell_alone(name: str) -> None:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.none() | CELLS, max_size=8), st.randoms(use_true_random=False))
    def check(cells: list[str | None], chance: random.Random) -> None:
        alone = {cell: FUNCTIONS[name](pl.Series([cell], dtype=pl.String)).item() for cell in cells}
        shuffled = [*cells, *cells]
        chance.shuffle(shuffled)
        together = FUNCTIONS[name](pl.Series(shuffled, dtype=pl.String)).to_list()
        assert together == [alone[cell] for cell in shuffled]

    check()


@pytest.mark.parametrize("name", IDEMPOTENT)
def test_a_normal_form_is_its_own_normal_form(name: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(CELLS, min_size=1, max_size=12))
    def check(cells: list[str]) -> None:
        once = FUNCTIONS[name](pl.Series("cell", cells, dtype=pl.String))
        if name == "middle_name":
            once = n.normalise_middle_name(once)
        assert FUNCTIONS[name](once).to_list() == once.to_list()

    check()


@pytest.mark.parametrize("typed", ["Dece Ased", "Dupli-cate", "Un identified", "Mi-Ss", "X X X X"])
def test_parts_that_add_up_to_what_is_no_name_are_no_surname(typed: str) -> None:
    assert n.normalise_surname(pl.Series([typed])).item() is None


@pytest.mark.parametrize("typed", ["De Ceased", "De Clined", "De Leted", "La Stname"])
def test_a_particle_that_makes_no_name_of_a_word_leaves_no_forename(typed: str) -> None:
    assert n.normalise_forename(pl.Series([typed])).item() is None


@settings(max_examples=200, deadline=None)
@given(CELLS)
def test_spaces_around_a_name_and_its_capitals_do_not_matter(cell: str) -> None:
    padded = f"  {cell} "
    assert n.forename_parts(padded) == n.forename_parts(cell)
    assert n.read_surname(padded) == n.read_surname(cell)
    if cell.isascii():
        assert n.forename_parts(cell.upper()) == n.forename_parts(cell.lower())
        assert n.read_surname(cell.upper()) == n.read_surname(cell.lower())


@pytest.mark.parametrize("sign", ["a", " ", "-", "'", '"', "(", "&", ";", ".", "Ã©", "é", "/", "née ", "0", "+", "@"])
def test_very_long_cells_are_answered_at_once(sign: str) -> None:
    cell = pl.Series(["Mary " + sign * 60_000 + " Smith"])
    began = time.process_time()
    for normalised in FUNCTIONS.values():
        assert len(normalised(cell)) == 1
    assert time.process_time() - began < 5


PLACEHOLDERS = {digit * 10 for digit in "0123456789"} | {"1231231231", "1212121212", "1234567899"}
"""Numbers with a right check digit that are placeholders, if anything."""


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999_999_999))
def test_nhs_check_digit_agrees_with_stdnum(number: int) -> None:
    # All last digits, of the number and of its neighbours, so that valid ones are met for certain.
    spread = [f"{(number + step) % 10**9:09d}{digit}" for step in range(12) for digit in range(10)]
    answers = n.normalise_nhs_number(pl.Series(spread))
    for number, answer in zip(spread, answers, strict=True):
        try:
            nhs.validate(number)
        except ValidationError:
            assert answer is None
        else:
            assert answer == number or number in PLACEHOLDERS


@settings(max_examples=120, deadline=None)
@given(st.from_regex(r"(\+44|0044|44)?0?[1-9][0-9]{8,10}", fullmatch=True))
def test_plain_british_telephone_numbers_agree_with_the_library(number: str) -> None:
    # The plain ones go past the library, so the library is an oracle for them.
    answer = n.normalise_phone(pl.Series([number])).item()
    parsed = phonenumbers.parse(number, "GB")
    expected = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if answer is not None:
        assert answer == expected
    elif phonenumbers.is_valid_number(parsed) and expected.startswith("+44"):
        kind = phonenumbers.number_type(parsed)
        own = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
        assert kind not in own or re.search(n._PHONE_PLACEHOLDER, expected)


@pytest.mark.parametrize("region", ["FR", "IE", "PL", "RO", "IN", "PK", "BD", "SO", "NG", "UA", "PT", "IT", "US"])
def test_example_numbers_of_other_countries_are_read(region: str) -> None:
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    international = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    placeholder = re.search(n._PHONE_PLACEHOLDER, e164)
    written = pl.Series([international, e164, "00" + e164[1:]])
    assert n.normalise_phone(written).to_list() == [None if placeholder else e164] * 3


def families() -> pl.DataFrame:
    return pl.read_csv(n._FAMILIES_FILE, infer_schema=False)


def test_every_name_family_is_its_own_family_and_no_chain() -> None:
    table = families()
    assert not table["name"].is_duplicated().any()
    assert table["name"].is_sorted()
    assert n.normalise_name_family(table["family"]).to_list() == table["family"].to_list()
    assert set(table["family"]) <= set(table["name"])


def test_every_name_of_a_family_is_a_normal_forename() -> None:
    table = families()
    assert n.normalise_forename(table["name"]).to_list() == table["name"].to_list()


def test_no_name_family_holds_one_name_or_a_crowd() -> None:
    sizes = Counter(families()["family"])
    assert min(sizes.values()) >= 2
    assert max(sizes.values()) <= 32


@pytest.mark.parametrize(
    "names",
    [
        ("emma", "emily", "amelia"),
        ("ann", "hannah", "nancy"),
        ("helen", "eleanor", "ella"),
        ("alfred", "albert"),
        ("alexander", "alexandra", "sasha"),
        ("andrew", "andrea"),
        ("patrick", "patricia"),
        ("francis", "frances"),
        ("victor", "victoria"),
        ("julian", "julie", "juliet"),
        ("paul", "paula", "pauline"),
        ("jane", "janet", "janice", "jean", "jan"),
        ("joan", "joanne"),
        ("joseph", "yusuf", "josephine"),
        ("jacob", "yaqub", "james"),
        ("abraham", "ibrahim"),
        ("mary", "maryam", "mia"),
        ("margaret", "megan", "margot", "greta"),
        ("mohammed", "mahmoud", "ahmed", "mehmet"),
        ("hassan", "hussein"),
        ("harpreet", "gurpreet", "manpreet"),
        ("said", "sayed"),
        ("salim", "salman", "salma"),
        ("amin", "amina", "amir"),
        ("mark", "marcus", "martin"),
        ("rose", "rosemary", "rosalind"),
        ("sarah", "sally"),
        ("carol", "caroline"),
        ("thomas", "tobias"),
    ],
)
def test_names_that_siblings_and_twins_bear_are_kept_apart(names: tuple[str, ...]) -> None:
    assert n.normalise_name_family(pl.Series(names)).n_unique() == len(names)


def test_the_list_of_words_is_clean() -> None:
    table = pl.read_csv(n._WORDS_FILE, infer_schema=False)
    assert not table.is_duplicated().any()
    assert table["word"].str.contains("^[a-z]+$").all()
    assert n._words("loose_particle") <= n._words("particle")
    assert not (n._words("placeholder") | n._words("title")) & (n._words("particle") | n._words("companion"))


def test_the_whole_record_has_the_same_answers_as_its_fields() -> None:
    frame = pl.DataFrame(
        {
            "a": ["Mary Jane", "Bill", None, "Unknown"],
            "b": ["Smith-Jones", "O’Brien", "Khan", None],
            "c": [date(1980, 11, 3), date(1990, 1, 1), None, date(2001, 2, 28)],
        }
    )
    columns = {IdentifierRole.FORENAME: "a", IdentifierRole.SURNAME: "b", IdentifierRole.DATE_OF_BIRTH: "c"}
    normal = n.normalise(frame, columns, AS_OF)
    assert tuple(normal.columns) == n.NORMAL_FIELDS
    assert set(normal.dtypes) == {pl.String}
    assert normal["forename"].to_list() == ["mary", "bill", None, None]
    assert normal["forename_second"].to_list() == ["jane", None, None, None]
    assert normal["forename_family"].to_list() == ["mary", "william", None, None]
    assert normal["initial"].to_list() == ["m", "b", None, None]
    assert normal["name_low"].to_list() == ["mary", "bill", None, None]
    assert normal["name_high"].to_list() == ["smithjones", "obrien", None, None]
    assert normal["surname"].to_list() == ["smithjones", "obrien", "khan", None]
    assert normal["surname_first_part"].to_list() == ["smith", None, None, None]
    assert normal["surname_last_part"].to_list() == ["jones", None, None, None]
    assert normal["date_of_birth"].to_list() == ["1980-11-03", None, None, "2001-02-28"]
    assert normal["date_of_birth_sorted"].to_list() == ["1980-03-11", None, None, "2001-02-28"]
    assert normal["birth_year"].to_list() == ["1980", "1990", None, "2001"]
    assert normal["birth_month_day"].to_list() == ["11-03", None, None, "02-28"]
    assert normal["nhs_number"].to_list() == [None] * 4


def record(**cells: str | None) -> dict[str, str | None]:
    frame = pl.DataFrame([cells], schema=dict.fromkeys(cells, pl.String))
    columns = {role: role.value for role in IdentifierRole if role.value in cells}
    return n.normalise(frame, columns, AS_OF).row(0, named=True)


def test_a_former_name_in_the_surname_is_the_previous_surname_unless_its_own_column_has_one() -> None:
    assert record(surname="Smith née Jones")["previous_surname"] == "jones"
    assert record(surname="Smith née Jones", previous_surname="Brown")["previous_surname"] == "brown"
    assert record(surname="Smith née Jones", previous_surname="n/a")["previous_surname"] == "jones"
    assert record(surname="Smith")["previous_surname"] is None


def test_second_and_middle_names_are_families_as_first_names_are() -> None:
    assert record(forename="Ali Mohammad")["forename_second"] == "mohammed"
    assert record(middle_names="Muhammed")["middle_name"] == "mohammed"


@settings(max_examples=15, deadline=None)
@given(st.lists(st.fixed_dictionaries({role.value: st.none() | CELLS for role in IdentifierRole}), max_size=4))
def test_the_record_of_any_cells_is_that_of_each_row_alone(rows: list[dict[str, str | None]]) -> None:
    schema = {role.value: pl.String for role in IdentifierRole}
    roles = {role: role.value for role in IdentifierRole}
    together = n.normalise(pl.DataFrame(rows, schema=schema), roles, AS_OF)
    assert tuple(together.columns) == n.NORMAL_FIELDS
    for place, row in enumerate(rows):
        assert n.normalise(pl.DataFrame([row], schema=schema), roles, AS_OF).row(0) == together.row(place)


def test_a_record_of_no_rows_is_normal() -> None:
    frame = pl.DataFrame(schema={"a": pl.String})
    assert n.normalise(frame, {IdentifierRole.FORENAME: "a"}, AS_OF).height == 0
