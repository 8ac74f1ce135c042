"""Disclosure control: what is withheld, what is rounded, and that nobody can work the rest out by subtraction."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.catalogue import MeasureTable
from evidence.disclosure import (
    DisclosurePolicy,
    ProtectedTables,
    protect,
    protect_counts,
    round_count,
    round_midpoint,
    round_to_base,
    sum_published,
)
from evidence.model import Figure, Status, find_figure
from protocol.errors import DefectFound

Make = Callable[..., MeasureTable]
POLICY = DisclosurePolicy()


def people(breakdown: str, dims: dict[str, str], count: int) -> tuple[Any, ...]:
    return (breakdown, dims, "people", {"value": count, "people": count})


def areas(*counts: int) -> list[tuple[Any, ...]]:
    return [
        people("all", {}, sum(counts)),
        *(people("area", {"area": str(number)}, count) for number, count in enumerate(counts)),
    ]


def shown(protected: ProtectedTables, breakdown: str, statistic: str = "people") -> list[int | None]:
    return [
        None if figure.value is None else int(figure.value)
        for figure in protected.figures
        if figure.breakdown == breakdown and figure.statistic == statistic
    ]


def only(protected: ProtectedTables, statistic: str) -> Figure:
    (figure,) = [figure for figure in protected.figures if figure.statistic == statistic]
    return figure


# --- published cases --------------------------------------------------------------------------------------------------


def test_opensafely_worked_table_is_reproduced() -> None:
    hd, population = [3, 8, 16, 23], [18, 23, 31, 44]
    assert protect_counts(hd, POLICY) == (None, 10, 15, 25)
    assert protect_counts(population, POLICY) == (20, 25, 30, 45)
    assert sum_published(protect_counts(hd, POLICY)) == 50
    assert sum_published(protect_counts(population, POLICY)) == 120


def test_midpoint_6_rounding_is_reproduced() -> None:
    expected = {
        0: 0,
        **dict.fromkeys(range(1, 7), 3),
        **dict.fromkeys(range(7, 13), 9),
        **dict.fromkeys(range(13, 19), 15),
    }
    assert {count: round_midpoint(count) for count in expected} == expected


def test_two_roundings_of_one_count_would_differ_so_a_release_uses_one() -> None:
    assert (round_to_base(18, 5), round_midpoint(18)) == (20, 15)


# --- primary suppression ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "published"), [(0, 0), (1, None), (7, None), (8, 10), (12, 10), (13, 15)])
def test_counts_from_1_to_7_are_withheld_and_zero_stays(table: Make, count: int, published: int | None) -> None:
    figure = only(protect([table(people("all", {}, count))], POLICY), "people")
    assert figure.value == published
    assert figure.status is (Status.WITHHELD if published is None else Status.PUBLISHED)
    assert (figure.reason is not None) == (published is None)


def test_a_share_is_withheld_for_few_people_in_the_part_the_whole_or_the_rest(table: Make) -> None:
    for part, whole, rest in ((7, 100, 93), (5, 7, 2), (93, 100, 7), (0, 7, 7)):
        numbers = {"value": part / whole, "numerator": part, "denominator": whole}
        cell = ("all", {}, "returned_share", {**numbers, "people": part, "base_people": whole, "rest_people": rest})
        figure = only(protect([table(cell)], POLICY), "returned_share")
        assert (figure.status, figure.value, figure.numerator, figure.denominator) == (
            Status.WITHHELD,
            None,
            None,
            None,
        )


def test_few_people_in_the_rest_do_not_matter_where_the_header_says_so(table: Make) -> None:
    cell = (
        "all",
        {},
        "open_share",
        {"value": 0.93, "numerator": 93, "denominator": 100, "people": 93, "base_people": 100, "rest_people": 7},
    )
    assert only(protect([table(cell)], POLICY), "open_share").value == Decimal("0.95")


def test_shares_are_worked_out_from_the_published_counts(table: Make) -> None:
    cell = (
        "all",
        {},
        "returned_share",
        {"value": 18 / 44, "numerator": 18, "denominator": 44, "people": 18, "base_people": 44, "rest_people": 26},
    )
    figure = only(protect([table(cell)], POLICY), "returned_share")
    assert (figure.numerator, figure.denominator) == (20, 45)
    assert figure.value == Decimal("0.4444")


def test_medians_and_sums_need_as_many_people_as_counts_and_money_needs_more(table: Make) -> None:
    def cells(behind: int) -> list[tuple[Any, ...]]:
        behind_it = {"denominator": behind, "people": behind, "base_people": behind}
        return [
            ("all", {}, "wait", {"value": 12.25, **behind_it}),
            ("all", {}, "hours", {"value": 20.4, **behind_it}),
            ("all", {}, "cost", {"value": 612.0, "numerator": 20.4, **behind_it}),
        ]

    def values(behind: int) -> list[Decimal | None]:
        protected = protect([table(*cells(behind))], POLICY)
        return [only(protected, statistic).value for statistic in ("wait", "hours", "cost")]

    assert values(7) == [None, None, None]
    # Nine people are enough for the hours. The hours would then give the money away, so they go as well.
    assert values(9) == [Decimal("12.3"), None, None]
    # Money is worked out from the rounded hours: 20 x 30, not 20.4 x 30.
    assert values(10) == [Decimal("12.3"), 20, 600]


def test_nothing_to_divide_by_is_not_available_and_not_nought(table: Make) -> None:
    cell = (
        "all",
        {},
        "returned_share",
        {"numerator": 0, "denominator": 0, "people": 0, "base_people": 0, "rest_people": 0},
    )
    figure = only(protect([table(cell)], POLICY), "returned_share")
    assert (figure.status, figure.value) == (Status.NOT_AVAILABLE, None)
    assert figure.reason


def test_none_or_all_of_a_group_is_flagged_as_class_disclosure(table: Make) -> None:
    for part, word in ((0, "nobody"), (20, "everybody")):
        numbers = {"value": part / 20, "numerator": part, "denominator": 20}
        cell = ("all", {}, "returned_share", {**numbers, "people": part, "base_people": 20, "rest_people": 20 - part})
        figure = only(protect([table(cell)], POLICY), "returned_share")
        assert figure.status is Status.PUBLISHED
        assert figure.reason is not None
        assert word in figure.reason


# --- what hangs together ----------------------------------------------------------------------------------------------


def test_a_count_that_its_withheld_share_would_give_away_is_withheld(table: Make) -> None:
    cells = (
        people("all", {}, 100),
        ("all", {}, "returned", {"value": 95, "people": 95, "base_people": 100}),
        (
            "all",
            {},
            "returned_share",
            {"value": 0.95, "numerator": 95, "denominator": 100, "people": 95, "base_people": 100, "rest_people": 5},
        ),
    )
    protected = protect([table(*cells)], POLICY)
    assert (only(protected, "people").value, only(protected, "returned").value) == (100, None)


def test_one_withheld_part_takes_the_smallest_other_with_it(table: Make) -> None:
    protected = protect([table(*areas(40, 3, 20, 0))], POLICY)
    assert shown(protected, "all") == [65]
    assert shown(protected, "area") == [40, None, None, 0]
    reasons = {figure.reason for figure in protected.withheld}
    assert len(reasons) == 2


def test_two_withheld_parts_that_are_few_together_take_a_third(table: Make) -> None:
    assert shown(protect([table(*areas(40, 3, 20, 2))], POLICY), "area") == [40, None, None, None]
    assert shown(protect([table(*areas(40, 3, 20, 5))], POLICY), "area") == [40, None, 20, None]


def test_where_no_other_part_is_left_the_total_goes(table: Make) -> None:
    cells = [people("all", {}, 12), people("area", {"area": "0"}, 3), people("area", {"area": "1"}, 0)]
    protected = protect([table(*cells)], POLICY)
    assert shown(protected, "all") == [None]


def test_a_share_over_a_withheld_complement_is_withheld_too(table: Make) -> None:
    shares = [
        (
            "area",
            {"area": str(number)},
            "returned_share",
            {"value": 0.5, "numerator": 10, "denominator": 20, "people": 10, "base_people": 20, "rest_people": 10},
        )
        for number in (0, 2)
    ]
    protected = protect([table(*areas(40, 3, 20), *shares)], POLICY)
    assert [
        None if figure.value is None else float(figure.value)
        for figure in protected.figures
        if figure.statistic == "returned_share"
    ] == [0.5, None]


def test_sets_of_partners_add_up_to_each_partner_in_them(table: Make) -> None:
    cells = [
        people("partner", {"partner": "a"}, 43),
        people("partner", {"partner": "b"}, 53),
        people("set", {"partners": "a"}, 20),
        people("set", {"partners": "a+b"}, 3),
        people("set", {"partners": "b"}, 50),
        people("set", {"partners": "a+c"}, 20),
    ]
    protected = protect([table(*cells)], POLICY)
    by_set = {f.dims["partners"]: f.value for f in protected.figures if f.breakdown == "set"}
    # a+b is few; in a's sum and in b's one other part goes with it.
    assert by_set == {"a": None, "a+b": None, "a+c": 20, "b": None}


def test_a_table_that_contradicts_itself_stops_the_release(table: Make) -> None:
    cell = ("all", {}, "returned", {"value": 9, "people": 9, "base_people": 8})
    with pytest.raises(DefectFound):
        protect([table(cell)], POLICY)


def test_a_measure_that_the_agreement_cannot_feed_is_reported_as_not_available(visits: Any) -> None:
    import polars as pl

    from evidence.catalogue import SCHEMA

    absent = MeasureTable(visits, pl.DataFrame(schema=SCHEMA), "The agreement shares no visit.day.")
    (figure,) = protect([absent], POLICY).figures
    assert (figure.status, figure.value, figure.reason) == (
        Status.NOT_AVAILABLE,
        None,
        "The agreement shares no visit.day.",
    )


def test_rows_that_are_not_people_are_rounded_and_not_withheld(table: Make) -> None:
    protected = protect([table(("all", {}, "rows", {"value": 3}))], POLICY)
    assert only(protected, "rows").value == 5


# --- properties -------------------------------------------------------------------------------------------------------

policies = st.builds(DisclosurePolicy, minimum_people=st.integers(2, 30), rounding_base=st.integers(1, 25))
quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


@given(count=st.integers(0, 10**6), policy=policies)
def test_rounding_twice_is_rounding_once(count: int, policy: DisclosurePolicy) -> None:
    once = round_count(count, policy)
    assert round_count(once, policy) == once
    assert round_to_base(round_to_base(count, policy.rounding_base), policy.rounding_base) == round_to_base(
        count, policy.rounding_base
    )
    assert (once == 0) == (count == 0)


@given(counts=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), policy=policies)
def test_rounding_keeps_the_order_so_a_part_never_exceeds_its_whole(
    counts: tuple[int, int], policy: DisclosurePolicy
) -> None:
    part, whole = sorted(counts)
    assert round_count(part, policy) <= round_count(whole, policy)


@quiet
@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=8), policy=policies)
def test_no_count_of_few_people_is_published_and_every_gap_has_a_reason(
    table: Make, counts: list[int], policy: DisclosurePolicy
) -> None:
    for figure in protect([table(*areas(*counts))], policy).figures:
        if figure.status is Status.PUBLISHED:
            assert figure.value is not None
            assert not 0 < figure.value < policy.minimum_people
        else:
            assert figure.value is None
            assert figure.reason


@quiet
@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=8), policy=policies)
def test_total_less_the_published_parts_never_leaves_few_people_or_a_single_part(
    table: Make, counts: list[int], policy: DisclosurePolicy
) -> None:
    protected = protect([table(*areas(*counts))], policy)
    total = find_figure(protected.figures, "visits", "people")
    assert total is not None
    hidden = [
        count
        for number, count in enumerate(counts)
        if find_figure(protected.figures, "visits", "people", "area", {"area": str(number)}).status  # type: ignore[union-attr]
        is Status.WITHHELD
    ]
    if total.status is Status.PUBLISHED and hidden:
        assert len(hidden) >= 2
        assert sum(hidden) >= policy.minimum_people


@quiet
@given(
    part=st.integers(0, 60),
    rest=st.integers(0, 60),
    policy=policies,
)
def test_a_published_share_has_enough_people_on_every_side(
    table: Make, part: int, rest: int, policy: DisclosurePolicy
) -> None:
    whole = part + rest
    numbers = {"value": part / whole if whole else None, "numerator": part, "denominator": whole}
    cell = ("all", {}, "returned_share", {**numbers, "people": part, "base_people": whole, "rest_people": rest})
    figure = only(protect([table(cell)], policy), "returned_share")
    if figure.status is Status.PUBLISHED:
        assert all(count == 0 or count >= policy.minimum_people for count in (part, rest, whole))
        assert figure.value is not None
        assert 0 <= figure.value <= 1


@quiet
@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_the_same_tables_always_give_the_same_digest_in_any_order(table: Make, counts: list[int]) -> None:
    cells = areas(*counts)
    assert protect([table(*cells)], POLICY).digest == protect([table(*reversed(cells))], POLICY).digest
