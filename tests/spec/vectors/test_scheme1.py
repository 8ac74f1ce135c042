"""The published vectors of scheme 1 are reproduced, and tokens agree with the standard library alone."""

import csv
import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl
import pytest

import pseudonymise
from pseudonymise import normalise
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import MATCH_KEYS, build_match_keys
from pseudonymise.normalise import NORMAL_FIELDS
from pseudonymise.publish import publish_ids

VECTORS = Path(pseudonymise.__file__).parent / "vectors" / "scheme1"
AS_OF = date(2026, 9, 30)

FIELDS: dict[str, Callable[[pl.Series], pl.Series]] = {
    "forename": normalise.normalise_forename,
    "second_forename": normalise.normalise_second_forename,
    "middle_name": normalise.normalise_middle_name,
    "initial": normalise.normalise_initial,
    "name_family": normalise.normalise_name_family,
    "surname": normalise.normalise_surname,
    "surname_first_part": partial(normalise.normalise_surname_part, place=0),
    "surname_last_part": partial(normalise.normalise_surname_part, place=-1),
    "former_surname": normalise.normalise_former_surname,
    "sound": normalise.normalise_sound,
    "date_of_birth": partial(normalise.normalise_date_of_birth, as_of=AS_OF),
    "birth_year": partial(normalise.normalise_birth_year, as_of=AS_OF),
    "date_of_birth_sorted": normalise.sort_day_and_month,
    "sex": normalise.normalise_sex,
    "postcode": normalise.normalise_postcode,
    "postcode_district": normalise.postcode_district,
    "nhs_number": normalise.normalise_nhs_number,
    "ni_number": normalise.normalise_ni_number,
    "phone": normalise.normalise_phone,
    "email": normalise.normalise_email,
    "shared_person_number": normalise.normalise_shared_person_number,
}


def read_vectors(name: str) -> list[dict[str, str]]:
    with (VECTORS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_every_published_vector_of_a_field_is_reproduced(field: str) -> None:
    vectors = read_vectors(field)
    answers = FIELDS[field](pl.Series("value", [vector["input"] for vector in vectors], dtype=pl.String))
    wrong = {
        vector["input"]: (answer, vector["expected"])
        for vector, answer in zip(vectors, answers, strict=True)
        if answer != (vector["expected"] or None)
    }
    assert not wrong
    assert all(vector["field"] == field and vector["origin"] for vector in vectors)


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_inputs_have_the_published_answer(field: str, form: Literal["NFC", "NFD"]) -> None:
    vectors = read_vectors(field)
    inputs = [unicodedata.normalize(form, vector["input"]) for vector in vectors]
    answers = FIELDS[field](pl.Series("value", inputs, dtype=pl.String))
    assert answers.to_list() == [vector["expected"] or None for vector in vectors]


def test_no_input_is_published_twice() -> None:
    for field in FIELDS:
        inputs = [vector["input"] for vector in read_vectors(field)]
        assert len(inputs) == len(set(inputs)), field


def test_no_vector_file_is_left_untested() -> None:
    assert {path.stem for path in VECTORS.glob("*.csv")} == {*FIELDS, "tokens"}


# --- the scheme is frozen -------------------------------------------------------------------------------------------

FROZEN = "scheme 1 is frozen: an answer that differs needs scheme 2, with a number, vectors and word lists of its own"
PINNED = {
    "answers": "c1bd0481d8d54b99e471e0015153ec04325cc1c3aba2a27ac8822ff854869b9a",
    "letters": "09198e8d0af4cbd5ea6f8c46f44d30e96f1d4983f5a9695a2fbab42438ce6223",
    "name_families.csv": "6e966accee186528f4889eb3bdec75db3219d416151e9e19d69d873a8e48220f",
    "name_words.csv": "18baa1b0d9b06a7f982de442918532fea8ed2484b3c24a43b3eb7f289302b774",
}


def digest_of(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def test_no_answer_to_a_published_vector_has_changed() -> None:
    # The files are part of the digest, so that a vector cannot be changed together with the code.
    lines = []
    for field, function in sorted(FIELDS.items()):
        inputs = [vector["input"] for vector in read_vectors(field)]
        answers = function(pl.Series(inputs, dtype=pl.String))
        lines += [
            f"{field}|{typed.encode().hex()}|{answer or ''}" for typed, answer in zip(inputs, answers, strict=True)
        ]
    assert digest_of(lines) == PINNED["answers"], FROZEN


def test_no_letter_of_any_script_is_written_in_another_way() -> None:
    # Every letter that was in Unicode 3.2: the same for all versions of Python, whose later letters differ. This is
    # also what notices an edition of anyascii that transliterates in another way.
    letters = [chr(point) for point in range(0x80, 0x10000) if is_old_letter(chr(point))]
    answers = normalise.normalise_forename(pl.Series([f"ma{letter}ry" for letter in letters]))
    assert (
        digest_of(f"{letter}|{answer}" for letter, answer in zip(letters, answers, strict=True)) == (PINNED["letters"])
    ), FROZEN


def is_old_letter(sign: str) -> bool:
    return unicodedata.ucd_3_2_0.category(sign)[0] in "LM"


@pytest.mark.parametrize("name", ["name_families.csv", "name_words.csv"])
def test_no_word_list_has_changed(name: str) -> None:
    text = (Path(pseudonymise.__file__).parent / name).read_text(encoding="utf-8")
    assert digest_of(text.splitlines()) == PINNED[name], FROZEN


# --- tokens, worked out again without the project's code -----------------------------------------------------------

K1, K2 = bytes(range(32)), bytes(range(32, 64))


def info(*parts: str) -> bytes:
    return b"".join(len(part.encode()).to_bytes(2, "big") + part.encode() for part in parts)


def hkdf(key: bytes, *parts: str) -> bytes:
    """RFC 5869 with SHA-256, no salt, 32 bytes: one block."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, info("linkarms", *parts) + b"\x01", hashlib.sha256).digest()


def token(purpose: str, field: str, values: list[str]) -> str:
    message = "".join(f"{len(value.encode())}:{value}," for value in values)
    inner_key = hkdf(K1, "subkey", "1", "K1", purpose, field).hex().encode()
    outer_key = hkdf(K2, "subkey", "1", "K2", purpose, field).hex().encode()
    inner = hmac.new(inner_key, message.encode(), hashlib.sha256).hexdigest()
    return hmac.new(outer_key, inner.encode(), hashlib.sha256).hexdigest()


def test_hkdf_of_this_test_is_that_of_the_standard() -> None:
    # RFC 5869, test case 3 (no salt, no info), first 32 of its 42 bytes.
    extracted = hmac.new(bytes(32), b"\x0b" * 22, hashlib.sha256).digest()
    first_block = hmac.new(extracted, b"\x01", hashlib.sha256).hexdigest()
    assert first_block == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


NORMAL = {
    "forename": "mary",
    "forename_family": "mary",
    "forename_start": "mar",
    "forename_sound": "m600",
    "initial": "m",
    "name_low": "jones",
    "name_high": "mary",
    "surname": "jones",
    "surname_start": "jon",
    "surname_sound": "j520",
    "date_of_birth": "1980-03-02",
    "date_of_birth_sorted": "1980-02-03",
    "birth_year": "1980",
    "birth_month_day": "03-02",
    "postcode": "LU12AB",
    "postcode_sector": "LU12",
    "nhs_number": "9434765919",
    "ni_number": "AB123457",
    "phone": "+447700900123",
    "email": "mary@example.org",
    "shared_person_number": "4146",
}


def build_tokens() -> pl.DataFrame:
    normal = pl.DataFrame(
        {name: [NORMAL.get(name)] for name in NORMAL_FIELDS}, schema=dict.fromkeys(NORMAL_FIELDS, pl.String)
    )
    ring = KeyRing(K1, K2, datetime(2026, 1, 1, tzinfo=UTC))
    return build_match_keys(normal, pl.Series("person_ref", ["r"]), ring)


def test_match_key_tokens_are_those_of_the_standard_library() -> None:
    made = build_tokens()
    expected = {
        (key.name, token("match key", key.name, [NORMAL[column] for column in form]))
        for key in MATCH_KEYS
        for form in key.forms
        if all(column in NORMAL for column in form)
    }
    assert set(made.select("key_name", "token").iter_rows()) == expected


def test_published_token_vectors_are_reproduced() -> None:
    vectors = read_vectors("tokens")
    assert {vector["key_name"] for vector in vectors} == {key.name for key in MATCH_KEYS}
    for vector in vectors:
        values = vector["values"].split("|")
        assert token("match key", vector["key_name"], values) == vector["token"]
    made = set(build_tokens().select("key_name", "token").iter_rows())
    assert {(vector["key_name"], vector["token"]) for vector in vectors} <= made


def test_published_ids_are_those_of_the_standard_library() -> None:
    person = "0b5e8e0c-6f6e-4a0b-9a3c-111111111111"
    ring = KeyRing(K1, K2, datetime(2026, 1, 1, tzinfo=UTC))
    key = hkdf(K2, "subkey", "1", "K2", "published id", "analysts").hex().encode()
    expected = hmac.new(key, person.encode(), hashlib.sha256).hexdigest()[:32]
    assert publish_ids(pl.Series([person.upper()]), "analysts", ring).to_list() == [expected]
