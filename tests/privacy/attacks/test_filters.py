"""Bits that are set together do not give away the letters behind them."""

import pytest

from benchmarks.attacks import patterns
from benchmarks.attacks.people import People, Stored

MARGIN = 0.01


@pytest.mark.parametrize(("name", "column"), patterns.FILTER_SETS)
def test_mining_patterns_of_filters_gets_no_more_names_than_guessing(
    held: People, stored: Stored, name: str, column: str
) -> None:
    rows, bits = patterns.filter_bits(stored.encodings, name)
    made = patterns.attack(bits, held.normal[column][rows.tolist()], held.normal[column])
    assert made.filters > 3_000
    assert made.recovered < made.guessed + MARGIN


def test_the_same_attack_gets_names_from_filters_without_a_salt(held: People) -> None:
    names = held.normal["surname"].drop_nulls()
    made = patterns.attack(patterns.unsalted_filters(names, bits=1024, hashes=10, key="00"), names, names)
    assert made.recovered > 0.5
