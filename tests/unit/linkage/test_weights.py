"""What a custodian is told of the model: m, u and match weights as margins, and pairs at each level."""

from dataclasses import replace
from math import log2

import polars as pl
import pytest

from linkage.classes import ClassModel, reference_model
from linkage.comparisons import COMPARISONS
from linkage.weights import LevelWeight, share_of_one_person, tell_weights

NONE = pl.DataFrame(schema={"levels": pl.String, "pairs": pl.Int64})


def made_up() -> ClassModel:
    """Two classes of one person (shares .1 and .3) and two of two people (.2 and .4); telephones alone differ."""
    even = {c.name: ((1 / len(c.levels),) * len(c.levels),) * 4 for c in COMPARISONS}
    phone = ((0.2, 0.8), (0.4, 0.6), (0.9, 0.1), (0.96, 0.04))
    return ClassModel((True, False, True, False), (0.1, 0.2, 0.3, 0.4), {**even, "phone": phone})


def at(told: tuple[LevelWeight, ...], comparison: str, code: int) -> LevelWeight:
    (level,) = [level for level in told if (level.comparison, level.code) == (comparison, code)]
    return level


def test_m_and_u_are_the_margins_over_the_classes_of_a_side_by_their_shares() -> None:
    agreed = at(tell_weights(made_up(), NONE), "phone", 2)
    assert agreed.m == pytest.approx((0.1 * 0.8 + 0.3 * 0.1) / 0.4)
    assert agreed.u == pytest.approx((0.2 * 0.6 + 0.4 * 0.04) / 0.6)
    assert agreed.bits == pytest.approx(log2(0.275 / (0.136 / 0.6)))


def test_m_and_u_of_a_comparison_each_add_up_to_one() -> None:
    told = tell_weights(reference_model(), NONE)
    for comparison in COMPARISONS:
        levels = [level for level in told if level.comparison == comparison.name]
        assert len(levels) == len(comparison.levels)
        assert sum(level.m for level in levels) == pytest.approx(1, abs=1e-6)
        assert sum(level.u for level in levels) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("comparison", ["forename", "surname", "date_of_birth", "nhs_number"])
def test_agreement_speaks_for_one_person_and_difference_against_in_the_model_that_ships(comparison: str) -> None:
    """Not so of postcode or telephone: of pairs that come up at all, households agree on them oftener than movers."""
    told = [level for level in tell_weights(reference_model(), NONE) if level.comparison == comparison]
    assert told[0].bits > 0
    assert told[-1].bits < 0


def test_a_level_that_never_occurs_on_one_side_has_a_finite_weight() -> None:
    model = made_up()
    never = replace(model, levels={**model.levels, "phone": ((0.0, 1.0), (1.0, 0.0)) * 2})
    assert at(tell_weights(never, NONE), "phone", 2).bits == pytest.approx(log2(1e9))


def test_pairs_are_counted_at_their_level_and_those_of_which_nothing_is_said_at_none() -> None:
    places = [comparison.name for comparison in COMPARISONS]
    patterns = [["0"] * len(places), ["0"] * len(places)]
    patterns[0][places.index("phone")] = "2"
    patterns[1][places.index("forename")] = "6"
    counted = pl.DataFrame({"levels": ["".join(p) for p in patterns], "pairs": [40, 2]})
    told = tell_weights(made_up(), counted)
    assert at(told, "phone", 2).pairs == 40
    assert at(told, "forename", 6).pairs == 2
    assert sum(level.pairs for level in told) == 42


def test_the_share_of_one_person_is_that_of_its_classes() -> None:
    assert share_of_one_person(made_up()) == pytest.approx(0.4)
