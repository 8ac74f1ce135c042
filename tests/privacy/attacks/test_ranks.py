"""How often tokens occur does not give away what is behind them."""

import pytest

from benchmarks.attacks import rank
from benchmarks.attacks.people import People, Stored
from pseudonymise.keys import KeyRing

MARGIN = 0.01
"""Of 4,000 records, a share that alignment gets right by chance beside what guessing does."""


MARGIN_OF_ALL = 0.03
"""The same where the attacker knows exactly how often everything occurs among the very people. That is more than
nothing: a surname at an address occurs as often as the household has records."""


@pytest.mark.parametrize(("known", "margin"), [("others", MARGIN), ("half", MARGIN), ("held", MARGIN_OF_ALL)])
def test_ranks_of_no_kind_of_token_tell_more_than_guessing(
    held: People, stored: Stored, known: str, margin: float, request: pytest.FixtureRequest
) -> None:
    leaks = rank.attack_all(held, stored, request.getfixturevalue(known))
    assert {leak.name: round(leak.beyond_guessing, 4) for leak in leaks if leak.beyond_guessing > margin} == {}
    assert all(leak.records > 0 for leak in leaks)


def test_no_token_is_common(held: People, stored: Stored, others: People) -> None:
    """The commonest belong to a postcode at which many live."""
    assert {leak.name for leak in rank.attack_all(held, stored, others) if leak.commonest > 0.01} == set()


def test_the_same_attack_finds_parts_that_are_hashed_alone(held: People, key_ring: KeyRing) -> None:
    leaks = {leak.name: leak.beyond_guessing for leak in rank.attack_controls(held, held, key_ring)}
    assert leaks["forename, first two letters"] > 0.5
    assert leaks["surname, first two letters"] > 0.5
    assert min(leaks.values()) > 5 * MARGIN
