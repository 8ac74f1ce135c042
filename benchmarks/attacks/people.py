"""Whom the attacks are about: a made-up partnership, what is stored of it, and what an attacker knows of it."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from benchmarks.linkage.data import make_synthetic
from benchmarks.linkage.normal import normalise_records
from pseudonymise.encoding import encode_persons
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import build_match_keys

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class People:
    """Records in clear, in the order of their rows."""

    normal: pl.DataFrame
    """The normal record (:func:`pseudonymise.normalise.normalise`) of each."""
    records: pl.DataFrame
    """``partner_id``, ``person_ref``, and whose record it is: ``person``. No attacker has the latter."""

    @property
    def height(self) -> int:
        """Number of records."""
        return self.normal.height

    def take(self, rows: np.ndarray) -> "People":
        """These rows alone, in this order."""
        return People(self.normal[rows], self.records[rows])


@dataclass(frozen=True)
class Stored:
    """What the schema ``linkage`` has of people: ``match_keys`` and ``encodings``, the latter row by row as the people
    are."""

    match_keys: pl.DataFrame
    encodings: pl.DataFrame


def make_people(records: int, seed: int) -> People:
    """The synthetic partnership with about so many records.

    It has no shared person number, so two in five people get one here: a kind of token that occurs in no data could
    not be attacked.
    """
    data = make_synthetic("attacked", records=records, seed=seed)
    persons = data.rows["truth_person"]
    numbered = persons.unique(maintain_order=True)
    rng = np.random.default_rng(seed)
    numbers = rng.choice(10_000_000, len(numbered), replace=False)
    given = rng.random(len(numbered)) < 0.4
    shared = pl.DataFrame(
        {
            "truth_person": numbered,
            "shared_person_number": [f"S{n:07d}" if g else None for n, g in zip(numbers, given, strict=True)],
        }
    )
    number = data.rows.select("truth_person").join(shared, on="truth_person", maintain_order="left")
    normal = normalise_records(data).with_columns(number["shared_person_number"])
    return People(normal, data.rows.select("partner_id", "person_ref", person="truth_person"))


def half_of(people: People, seed: int) -> People:
    """All records of half of the persons, drawn by ``seed``."""
    persons = people.records["person"].unique(maintain_order=True)
    chosen = persons.sample(fraction=0.5, seed=seed)
    return people.take(np.flatnonzero(people.records["person"].is_in(chosen.implode()).to_numpy()))


def half_among_others(people: People, others: People, seed: int) -> People:
    """All records of half of the persons, and as many of other people, whose persons are none of ``people``'s."""
    half = half_of(people, seed)
    strangers = others.take(np.arange(min(half.height, others.height)))
    named = strangers.records.with_columns(
        person_ref=pl.concat_str(pl.lit("other "), "person_ref"), person=pl.concat_str(pl.lit("other "), "person")
    )
    return People(pl.concat([half.normal, strangers.normal]), pl.concat([half.records, named]))


def shuffled(people: People, seed: int) -> People:
    """The same records in an order that says nothing."""
    return people.take(np.random.default_rng(seed).permutation(people.height))


def raw_keys(seed: int) -> tuple[bytes, bytes]:
    """K1 and K2 of :func:`make_keys`."""
    raw = np.random.default_rng([seed, 4711]).bytes(64)
    return raw[:32], raw[32:]


def make_keys(seed: int) -> KeyRing:
    """Keys that no attacker is given."""
    return KeyRing(*raw_keys(seed), MOMENT)


def store(people: People, key_ring: KeyRing) -> Stored:
    """What is stored of people under these keys."""
    refs = people.records["person_ref"]
    return Stored(build_match_keys(people.normal, refs, key_ring), encode_persons(people.normal, refs, key_ring))
