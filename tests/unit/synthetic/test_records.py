"""Slips of the hand: what a mistyped name may look like."""

import itertools

import pytest

from synthetic.records import misspell


@pytest.mark.parametrize("name", ["Katherine", "O'Brien", "Nguyễn", "Anne-Marie", "Łukasz"])
def test_misspelt_name_is_one_slip_away(name: str) -> None:
    for kind, place, letter in itertools.product(range(4), range(9), range(3)):
        other = misspell(name, kind, place, letter)
        assert abs(len(other) - len(name)) <= 1
        changed = sum(a != b for a, b in zip(name, other, strict=False)) if len(other) == len(name) else 0
        assert changed <= 2
        assert other.replace("'", "").replace("-", "").isalpha()


def test_each_kind_of_slip_is_made() -> None:
    assert misspell("Martin", 1, 1, 0) == "Matrin"
    assert misspell("Martin", 2, 1, 0) == "Marrtin"
    assert misspell("Martin", 3, 1, 0) == "Matin"
    assert misspell("Martin", 0, 1, 0) == "Maetin"


def test_name_too_short_for_a_slip_stays_as_it_is() -> None:
    assert misspell("Md", 0, 1, 1) == "Md"


def test_same_numbers_give_the_same_slip() -> None:
    assert misspell("Elizabeth", 5, 77, 3) == misspell("Elizabeth", 5, 77, 3)
