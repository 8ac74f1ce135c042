"""No NHS number comes out of what is stored, pooled or published by guessing without a key."""

import polars as pl
import pytest

from benchmarks.attacks import dictionary, suite
from benchmarks.attacks.people import People, Stored, store
from pseudonymise.keys import KeyRing

TRIED = 20_000
"""Of the million numbers of the block that the made-up people have theirs from, those on file and so many others."""


@pytest.fixture(scope="module")
def numbers(held: People) -> pl.Series:
    own = held.normal["nhs_number"].drop_nulls()
    block = dictionary.valid_numbers(dictionary.TEST_BLOCK)
    assert own.is_in(block.implode()).all()
    return pl.concat([own.alias("number"), block.sample(TRIED, seed=1)]).unique()


@pytest.fixture(scope="module")
def targets(held: People, stored: Stored, key_ring: KeyRing) -> dictionary.Targets:
    """Also the pool of a partner whose own client numbers are NHS numbers, and published ids of two audiences."""
    made = suite.all_targets(held, stored, key_ring)
    assert set(made.heads["target"]) == {
        *("match keys", "encodings", "persons of the pool", "rows of the pool", "ids for the council"),
        "ids for the trust",
    }
    return made


def test_no_construction_without_a_key_gives_anything_that_is_stored_pooled_or_published(
    targets: dictionary.Targets, numbers: pl.Series
) -> None:
    made = dictionary.attack(targets, [numbers], dictionary.CONSTRUCTIONS)
    assert made.constructions > 30
    assert made.hits == {}


def test_no_key_that_somebody_might_have_left_in_gives_any_of_it(
    targets: dictionary.Targets, numbers: pl.Series
) -> None:
    assert dictionary.attack_whole_scheme(targets, numbers, suite.PARTNER, dictionary.guessable_rings()) == 0


@pytest.mark.parametrize("construction", dictionary.CONSTRUCTIONS, ids=lambda made: made.name)
def test_the_same_attack_finds_every_number_that_was_hashed_so(
    numbers: pl.Series, construction: dictionary.Construction
) -> None:
    some = numbers.head(500)
    targets = dictionary.Targets.of({"careless": construction.digest(some.alias("number").to_frame())})
    assert dictionary.attack(targets, [some], [construction]).total == 500


def test_it_finds_the_scheme_itself_under_a_key_that_was_left_in(held: People, numbers: pl.Series) -> None:
    ring, careful = dictionary.guessable_rings()[0], dictionary.guessable_rings()[1]
    targets = suite.all_targets(held, store(held, ring), ring)
    on_file = held.normal["nhs_number"].drop_nulls().n_unique()
    # Of each number the match key, the token in both orders of bytes, the person and the row of the pool.
    assert dictionary.attack_whole_scheme(targets, numbers, suite.PARTNER, [ring]) >= 5 * on_file
    assert dictionary.attack_whole_scheme(targets, numbers, suite.PARTNER, [careful]) == 0


def test_valid_numbers_are_those_of_modulus_11() -> None:
    from stdnum.gb import nhs

    block = dictionary.valid_numbers(943)
    assert abs(len(block) - 909_091) < 2
    assert all(nhs.is_valid(number) for number in block.sample(300, seed=2))
    assert "9434765919" in set(block)
