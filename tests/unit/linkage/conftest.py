"""Made-up people as linkage sees them, and scored pairs written by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl
import pytest

from linkage.candidates import KEY_FRAME
from linkage.classes import reference_model
from linkage.incremental import COMPARED
from linkage.scoring import Scored
from protocol.model import IdentifierRole
from pseudonymise.encoding import encode_persons
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import build_match_keys
from pseudonymise.normalise import normalise

KEY_RING = KeyRing(bytes(range(32)), bytes(range(32, 64)), datetime(2026, 1, 1, tzinfo=UTC))
AS_OF = date(2026, 9, 30)
PAIR = ("partner_id", "person_ref", "other_partner_id", "other_person_ref")

MARGARET = {
    "forename": "Margaret",
    "surname": "Thornbury",
    "date_of_birth": "1984-03-17",
    "postcode": "LU1 2AB",
    "nhs_number": "9434765919",
    "ni_number": "AB123946C",
    "phone": "07700 900123",
    "email": "m.thornbury@mail.test.uk",
    "shared_person_number": "S-4711",
}
"""Somebody of whom everything is known."""


@dataclass(frozen=True)
class Records:
    """What linkage reads of some records."""

    match_keys: pl.DataFrame
    encodings: pl.DataFrame
    records: pl.DataFrame


def encode(people: Mapping[str, Mapping[str, str | None]]) -> Records:
    """Records under throw-away keys: the first letter of a name is the partner, the whole name the record."""
    roles = {role: role.value for role in IdentifierRole}
    rows = [{name: person.get(name) for name in roles.values()} for person in people.values()]
    normal = normalise(pl.DataFrame(rows, schema=dict.fromkeys(roles.values(), pl.String)), roles, AS_OF)
    refs = pl.Series("person_ref", list(people), dtype=pl.String)
    records = pl.DataFrame({"partner_id": [ref[0] for ref in people], "person_ref": refs}, schema_overrides=TEXT)
    return Records(
        build_match_keys(normal, refs, KEY_RING).join(records, on="person_ref"),
        encode_persons(normal, refs, KEY_RING).join(records, on="person_ref", maintain_order="left"),
        records,
    )


TEXT = {"partner_id": pl.String, "person_ref": pl.String}

Keys = Callable[..., pl.DataFrame]


@pytest.fixture
def keys() -> Keys:
    """``keys(a1={"names": "x"}, b1={...})``: match keys by hand; a list gives several tokens of one key."""

    def make(**records: dict[str, str | list[str]]) -> pl.DataFrame:
        rows = [
            (record[0], record, name, f"{name}:{token}")
            for record, tokens in records.items()
            for name, values in tokens.items()
            for token in ([values] if isinstance(values, str) else values)
        ]
        return pl.DataFrame(rows, schema=KEY_FRAME, orient="row")

    return make


def make_scored(
    pairs: Mapping[tuple[str, str], float | str], *alone: str, threshold: float = 0.5, **columns: pl.Expr
) -> Scored:
    """Scored pairs of records: a probability, or why the two cannot be one person. ``alone`` are records of no pair."""
    names = sorted({*alone, *(name for pair in pairs for name in pair)})
    place = {name: number for number, name in enumerate(names)}
    rows = [
        (
            *sorted((place[one], place[other])),
            0.0 if isinstance(worth, str) else float(worth),
            worth if isinstance(worth, str) else None,
        )
        for (one, other), worth in pairs.items()
    ]
    schema = {"left": pl.UInt32, "right": pl.UInt32, "probability": pl.Float64, "forbidden": pl.String}
    return Scored(
        records=pl.DataFrame(
            {"record": range(len(names)), "partner_id": [name[0] for name in names], "person_ref": names},
            schema={"record": pl.UInt32, **TEXT},
        ),
        unlinkable=pl.DataFrame(schema=TEXT),
        alarms=pl.DataFrame(schema={"alarm": pl.String, "key_name": pl.String, "records": pl.Int64}),
        pairs=pl.DataFrame(rows, schema=schema, orient="row").with_columns(**columns),
        model=reference_model(),
        threshold=threshold,
        compared=pl.DataFrame(schema=COMPARED),
        compared_anew=len(pairs),
    )


def pairs_of(*pairs: tuple[str, str]) -> pl.DataFrame:
    """Pairs of records by partner and reference."""
    rows = [(one[0], one, other[0], other) for one, other in pairs]
    return pl.DataFrame(rows, schema=dict.fromkeys(PAIR, pl.String), orient="row")
