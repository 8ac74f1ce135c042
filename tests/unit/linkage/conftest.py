"""A small policy and a way to write match keys by hand."""

from collections.abc import Callable

import polars as pl
import pytest
from linkage.match import KEY_FRAME, KeyRule, Kind, LinkPolicy

Keys = Callable[..., pl.DataFrame]

POLICY = LinkPolicy(
    keys=(
        KeyRule(name="shared_person_number", kind=Kind.DETERMINISTIC, fields=("shared_person_number",)),
        KeyRule(name="nhs_number", kind=Kind.STRONG, fields=("nhs_number",)),
        KeyRule(name="ni_number", kind=Kind.STRONG, fields=("ni_number",)),
        KeyRule(name="names", kind=Kind.STRONG, fields=("forename", "surname", "date_of_birth")),
        KeyRule(name="initial", kind=Kind.SUPPORTING, fields=("initial", "date_of_birth", "postcode")),
        KeyRule(
            name="address",
            kind=Kind.SUPPORTING,
            fields=("surname", "date_of_birth", "postcode"),
            unless_differs=("initial",),
        ),
    ),
    largest_block=5,
)


@pytest.fixture
def policy() -> LinkPolicy:
    return POLICY


@pytest.fixture
def keys() -> Keys:
    """``keys(a1={"names": "x"}, b1={...})``: the first letter is the partner, the whole name the record; a list gives
    several tokens of one key."""

    def make(**records: dict[str, str | list[str]]) -> pl.DataFrame:
        rows = [
            (record[0], record, name, f"{name}:{token}")
            for record, tokens in records.items()
            for name, values in tokens.items()
            for token in ([values] if isinstance(values, str) else values)
        ]
        return pl.DataFrame(rows, schema=KEY_FRAME, orient="row")

    return make
