"""K1 gives nothing of what is stored, and everything of what travels: that is why it travels sealed."""

from benchmarks.attacks import insiders
from benchmarks.attacks.people import People, Stored
from pseudonymise.keys import KeyRing


def test_k1_and_a_list_of_numbers_find_nothing_in_what_is_stored_and_all_in_inner_tokens(
    held: People, stored: Stored, key_ring: KeyRing
) -> None:
    made = insiders.attack(held, stored, key_ring)
    assert made.in_stored == 0
    assert made.in_inner == 1
