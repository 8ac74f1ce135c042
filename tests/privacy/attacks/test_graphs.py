"""Who is like whom among encodings: what it gives to somebody who has clear records."""

import pytest

from benchmarks.attacks import graph
from benchmarks.attacks.people import People, Stored, make_people, store
from pseudonymise.keys import KeyRing


@pytest.fixture(scope="module")
def few() -> People:
    return make_people(1_200, 1)


@pytest.fixture(scope="module")
def few_stored(few: People, key_ring: KeyRing) -> Stored:
    return store(few, key_ring)


def test_filters_give_hardly_anybody_away_even_to_who_has_every_clear_record(few: People, few_stored: Stored) -> None:
    made = graph.attack_filters(few, few_stored, few)
    assert made.right < 0.1


def test_unsalted_filters_give_nearly_everybody_away(few: People) -> None:
    assert graph.attack_control(few, few).right > 0.9


def test_shared_tokens_give_people_away_to_who_has_every_clear_record_as_security_md_says(
    few: People, few_stored: Stored
) -> None:
    """No promise: a limit, told so that nobody takes tokens for anonymous."""
    assert graph.attack_tokens(few, few_stored, few).right > 0.5
