"""The published vectors of scheme 1 are reproduced, and tokens agree with the standard library alone."""

import csv
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

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
    "initial": normalise.normalise_initial,
    "name_family": normalise.normalise_name_family,
    "surname": normalise.normalise_surname,
    "surname_first_part": partial(normalise.normalise_surname_part, place=0),
    "surname_last_part": partial(normalise.normalise_surname_part, place=-1),
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


def test_no_vector_file_is_left_untested() -> None:
    assert {path.stem for path in VECTORS.glob("*.csv")} == {*FIELDS, "tokens"}


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
