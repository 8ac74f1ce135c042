"""No NHS number comes out of what is stored or published by guessing without a key."""

import polars as pl
import pytest

from benchmarks.attacks import dictionary
from benchmarks.attacks.people import People, Stored

TRIED = 20_000
"""Of the million numbers of the block that the made-up people have theirs from, those on file and so many others."""


@pytest.fixture(scope="module")
def numbers(held: People) -> pl.Series:
    own = held.normal["nhs_number"].drop_nulls()
    block = dictionary.valid_numbers(dictionary.TEST_BLOCK)
    assert own.is_in(block.implode()).all()
    return pl.concat([own.alias("number"), block.sample(TRIED, seed=1)]).unique()


def test_no_construction_without_a_key_gives_a_stored_token(stored: Stored, numbers: pl.Series) -> None:
    made = dictionary.attack(dictionary.Targets.of({}, stored), [numbers], dictionary.CONSTRUCTIONS)
    assert made.constructions > 30
    assert made.hits == {}


def test_no_key_that_somebody_might_have_left_in_gives_one(stored: Stored, numbers: pl.Series) -> None:
    targets = dictionary.Targets.of({}, stored)
    assert dictionary.attack_whole_scheme(targets, numbers, dictionary.guessable_rings()) == 0


@pytest.mark.parametrize("construction", dictionary.CONSTRUCTIONS, ids=lambda made: made.name)
def test_the_same_attack_finds_every_number_that_was_hashed_so(
    numbers: pl.Series, construction: dictionary.Construction
) -> None:
    some = numbers.head(500)
    targets = dictionary.Targets.of({"careless": construction.digest(some.alias("number").to_frame())})
    assert dictionary.attack(targets, [some], [construction]).total == 500


def test_it_finds_the_scheme_itself_under_a_key_that_was_left_in(held: People, numbers: pl.Series) -> None:
    from benchmarks.attacks.people import store

    ring = dictionary.guessable_rings()[0]
    targets = dictionary.Targets.of({}, store(held, ring))
    assert dictionary.attack_whole_scheme(targets, numbers, [ring]) > held.normal["nhs_number"].drop_nulls().n_unique()


def test_valid_numbers_are_those_of_modulus_11() -> None:
    from stdnum.gb import nhs

    block = dictionary.valid_numbers(943)
    assert len(block) == 909_091 or abs(len(block) - 909_091) < 2
    assert all(nhs.is_valid(number) for number in block.sample(300, seed=2))
    assert "9434765919" in set(block)
