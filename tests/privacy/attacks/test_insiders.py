"""K1 gives nothing of what is stored, and everything of what travels: that is why it travels sealed."""

from benchmarks.attacks import insiders
from benchmarks.attacks.people import MOMENT, People, Stored, raw_keys, store
from pseudonymise.keys import KeyRing
from tests.privacy.attacks.conftest import KEYS_SEED


def test_k1_and_a_list_of_numbers_find_nothing_in_what_is_stored_and_all_in_inner_tokens(
    held: People, stored: Stored
) -> None:
    made = insiders.attack(held, stored, *raw_keys(KEYS_SEED))
    assert made.in_stored == 0
    assert made.in_inner == 1


def test_a_k2_that_was_made_from_k1_would_be_found(held: People) -> None:
    k1, _ = raw_keys(KEYS_SEED)
    careless = store(held, KeyRing(k1, k1[::-1], MOMENT))
    assert insiders.attack(held, careless, k1, k1[::-1]).in_stored == 1


def test_who_can_submit_guesses_and_read_what_is_stored_needs_no_key(held: People, stored: Stored) -> None:
    """No promise: a limit."""
    assert insiders.attack(held, stored, *raw_keys(KEYS_SEED)).by_submitting == 1
