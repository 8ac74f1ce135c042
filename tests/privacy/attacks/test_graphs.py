"""Who is like whom among encodings: what it gives to somebody who has clear records."""

import pytest

from benchmarks.attacks import graph
from benchmarks.attacks.people import People, Stored, half_among_others, make_people, store
from pseudonymise.keys import KeyRing


@pytest.fixture(scope="module")
def few() -> People:
    return make_people(1_200, 1)


@pytest.fixture(scope="module")
def few_stored(few: People, key_ring: KeyRing) -> Stored:
    return store(few, key_ring)


@pytest.fixture(scope="module")
def half_of_few(few: People) -> People:
    """The clear records of half of the persons, among those of as many others."""
    return half_among_others(few, make_people(1_200, 2), 3)


def test_filters_give_hardly_anybody_away_even_to_who_has_every_clear_record(few: People, few_stored: Stored) -> None:
    made = graph.attack_filters(few, few_stored, few)
    assert made.right < 0.1


def test_filters_give_hardly_anybody_away_to_who_has_half_of_the_clear_records(
    few: People, few_stored: Stored, half_of_few: People
) -> None:
    made = graph.attack_filters(few, few_stored, half_of_few)
    assert made.right < 0.05
    assert made.right_of_claimed < 0.05


def test_unsalted_filters_give_nearly_everybody_away(few: People, half_of_few: People) -> None:
    assert graph.attack_control(few, few).right > 0.9
    assert graph.attack_control(few, half_of_few).right > 0.9


def test_numbers_of_tokens_give_few_people_away(few: People, few_stored: Stored) -> None:
    """What shows are missing parts and how many forms a name has, in whatever combination."""
    assert 0.05 < graph.attack_sizes(few, few_stored, few).right < 0.3


def test_shared_tokens_give_people_away_to_who_has_every_clear_record_as_security_md_says(
    few: People, few_stored: Stored
) -> None:
    """No promise: a limit, told so that nobody takes tokens for anonymous."""
    assert graph.attack_tokens(few, few_stored, few).right > 0.9


def test_shared_tokens_give_people_away_to_who_has_half_of_the_clear_records_as_security_md_says(
    few: People, few_stored: Stored, half_of_few: People
) -> None:
    """No promise either."""
    assert 0.4 < graph.attack_tokens(few, few_stored, half_of_few).right < 0.8
