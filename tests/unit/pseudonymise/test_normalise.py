"""Normalisation is total, idempotent and agrees with the libraries that know better."""

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
    "initial": n.normalise_initial,
    "surname": n.normalise_surname,
    "surname_first": partial(n.normalise_surname_part, place=0),
    "surname_last": partial(n.normalise_surname_part, place=-1),
    "family": n.normalise_name_family,
    "sound": n.normalise_sound,
    "date_of_birth": partial(n.normalise_date_of_birth, as_of=AS_OF),
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
IDEMPOTENT = sorted(
    set(FUNCTIONS) - {"second_forename", "surname_first", "surname_last", "sound", "birth_year", "initial"}
)
"""Those whose answer is of the kind that they take."""

CELLS = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"[A-Za-z .'\-]{0,25}", fullmatch=True),
    st.from_regex(r"[0-9 +()\-/]{0,16}", fullmatch=True),
    st.from_regex(r"[A-Za-z]{1,2}[0-9O]{1,2}[A-Za-z]? ?[0-9OI][A-Za-z]{2}", fullmatch=True),
    st.from_regex(r"[a-zA-Z.+\-]{1,9}@[a-z.\-]{1,12}", fullmatch=True),
    st.from_regex(r"[A-Z]{2} ?[0-9]{6} ?[A-D]?", fullmatch=True),
)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_text_has_an_answer_and_missing_stays_missing(name: str) -> None:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.none() | CELLS, max_size=12))
    def check(cells: list[str | None]) -> None:
        answer = FUNCTIONS[name](pl.Series("cell", cells, dtype=pl.String))
        assert len(answer) == len(cells)
        assert answer.dtype == pl.String
        for cell, normal in zip(cells, answer, strict=True):
            assert normal is None or normal.strip() == normal != ""
            if cell is None or not cell.strip():
                assert normal is None

    check()


@pytest.mark.parametrize("name", IDEMPOTENT)
def test_a_normal_form_is_its_own_normal_form(name: str) -> None:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(CELLS, min_size=1, max_size=12))
    def check(cells: list[str]) -> None:
        once = FUNCTIONS[name](pl.Series("cell", cells, dtype=pl.String))
        assert FUNCTIONS[name](once).to_list() == once.to_list()

    check()


def test_answers_do_not_depend_on_neighbouring_rows() -> None:
    cells = ["Mary", None, "Mary", "", "O’Brien", "Mary"]
    together = n.normalise_forename(pl.Series(cells)).to_list()
    alone = [n.normalise_forename(pl.Series([cell], dtype=pl.String)).item() for cell in cells]
    assert together == alone


PLACEHOLDERS = {digit * 10 for digit in "0123456789"} | {"1231231231", "1212121212", "1234567899"}
"""Numbers with a right check digit that are placeholders, if anything."""


@settings(max_examples=60, deadline=None)
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
    answer = n.normalise_phone(pl.Series([number])).item()
    if answer is None or not answer.startswith("+44"):
        return
    parsed = phonenumbers.parse(number, "GB")
    assert answer == phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def test_every_name_family_is_its_own_family() -> None:
    table = pl.read_csv(n._FAMILIES_FILE, infer_schema=False)
    assert not table["name"].is_duplicated().any()
    families = n.normalise_name_family(table["family"])
    assert families.to_list() == table["family"].to_list()
    assert n.normalise_forename(table["name"]).to_list() == table["name"].to_list()


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


def test_a_record_of_no_rows_is_normal() -> None:
    frame = pl.DataFrame(schema={"a": pl.String})
    assert n.normalise(frame, {IdentifierRole.FORENAME: "a"}, AS_OF).height == 0
