"""How many tokens there are tells hardly anything of what is behind them."""

from benchmarks.attacks import sizes
from benchmarks.attacks.people import People, Stored


def test_numbers_of_tokens_and_bits_tell_no_names_length(held: People, stored: Stored) -> None:
    told = sizes.attack_lengths(held, stored)
    assert {name for name, bits in told.items() if bits > 0.03} == set()
    # A filter's bits are as many whatever the name; near tokens are as many under each salt that a person has.
    assert {told[name] for name in told if "filter" in name} == {0.0}


def test_the_weight_of_an_unsalted_filter_tells_the_length(held: People) -> None:
    assert sizes.control_lengths(held, "surname") > 1


def test_hardly_a_record_is_alone_with_what_it_lacks(held: People, stored: Stored) -> None:
    assert sizes.attack_missing(held, stored).unique < 0.02
