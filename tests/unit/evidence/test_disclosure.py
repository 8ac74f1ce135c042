"""Disclosure control: what is withheld, what is rounded, and that nobody can work the rest out by subtraction."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.catalogue import SCHEMA, MeasureTable, load_measures
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


def test_a_count_that_its_withheld_share_would_give_away_is_withheld_with_its_whole(table: Make) -> None:
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
    # The 100 are no more than 7 from the 95, so they would stand for them.
    assert (only(protected, "people").value, only(protected, "returned").value) == (None, None)


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
    absent = MeasureTable(visits, pl.DataFrame(schema=SCHEMA), "The agreement shares no visit.day.")
    (figure,) = protect([absent], POLICY).figures
    assert (figure.status, figure.value, figure.reason) == (
        Status.NOT_AVAILABLE,
        None,
        "The agreement shares no visit.day.",
    )


def test_rows_that_are_not_people_are_not_withheld_and_are_rounded_by_the_rule_for_people(table: Make) -> None:
    protected = protect([table(("all", {}, "rows", {"value": 3}))], POLICY)
    assert only(protected, "rows").value == round_count(3, POLICY) == 10


def test_people_are_not_added_over_parts_that_share_them(table: Make) -> None:
    def visits_by_area(*numbers: tuple[int, int]) -> list[tuple[Any, ...]]:
        return [
            ("all", {}, "rows", {"value": sum(rows for rows, _ in numbers), "people": 60}),
            *(
                ("area", {"area": str(number)}, "rows", {"value": rows, "people": people})
                for number, (rows, people) in enumerate(numbers)
            ),
        ]

    # The six people of one area may be the six of the other: they are six and not twelve.
    protected = protect([table(*visits_by_area((30, 6), (90, 6), (60, 20), (200, 50)))], POLICY)
    assert shown(protected, "area", "rows") == [None, None, None, 200]
    # Where the parts are disjoint they are twelve, and enough.
    assert shown(protect([table(*areas(6, 6, 20, 50))], POLICY), "area") == [None, None, 20, 50]


def test_a_withheld_count_takes_the_counts_of_its_cell_that_would_stand_for_it(table: Make) -> None:
    def cells(second: float) -> list[tuple[Any, ...]]:
        rows = ("area", {"area": "2"}, "rows", {"value": second, "people": 20})
        return [*areas(40, 3, 20), rows]

    # 3 is few, 20 is its complement: 24 rows of the same 20 people would give the 20 back, 28 are another number.
    near, far = protect([table(*cells(24))], POLICY), protect([table(*cells(28))], POLICY)
    assert shown(near, "area") == [40, None, None]
    assert (only(near, "rows").value, only(far, "rows").value) == (None, 30)
    assert only(near, "rows").reason == "Together with other figures it would give away a figure about few people."


def test_what_a_sibling_takes_with_it_is_protected_in_its_own_sum(table: Make) -> None:
    rows = [
        ("all", {}, "rows", {"value": 200, "people": 63}),
        *(
            ("area", {"area": str(number)}, "rows", {"value": value, "people": 20})
            for number, value in ((0, 100), (1, 60), (2, 22))
        ),
    ]
    protected = protect([table(*areas(40, 3, 20), *rows)], POLICY)
    assert shown(protected, "area", "rows") == [100, None, None]


def test_the_parts_of_a_withheld_total_do_not_add_up_to_it(table: Make) -> None:
    cells = [
        *areas(40, 30, 20),
        # What the total may not show: 85 of the 90 people came back.
        ("all", {}, "returned", {"value": 85, "people": 85, "base_people": 90}),
        (
            "all",
            {},
            "returned_share",
            {"value": 85 / 90, "numerator": 85, "denominator": 90, "people": 85, "base_people": 90, "rest_people": 5},
        ),
    ]
    protected = protect([table(*cells)], POLICY)
    assert shown(protected, "all") == [None]
    assert shown(protected, "area") == [40, 30, None]


def test_reasons_do_not_tell_which_figure_a_withheld_one_protects(table: Make) -> None:
    protected = protect([table(*areas(40, 3, 20, 0))], POLICY)
    assert {figure.reason for figure in protected.withheld} == {
        "Fewer than 8 people are behind it.",
        "Together with other figures it would give away a figure about few people.",
    }


OVERLAP = next(measure for measure in load_measures() if measure.id == "overlap")


def overlap(sizes: dict[str, int]) -> ProtectedTables:
    """Protected figures of the measure of overlap for exact sets such as ``{"a": 40, "a+b": 3}``."""
    rows: dict[tuple[str, str, str], int] = {}

    def add(breakdown: str, statistic: str, count: int, **dims: str) -> None:
        place = (breakdown, json.dumps(dims, sort_keys=True, separators=(",", ":")), statistic)
        rows[place] = rows.get(place, 0) + count

    for partners, count in sizes.items():
        size = partners.count("+") + 1
        add("set", "people", count, partners=partners, size=str(size))
        add("size", "people", count, size=str(size))
        for breakdown, dims in (("all", {}), *(("partner", {"partner": p}) for p in partners.split("+"))):
            add(breakdown, "people", count, **dims)
            add(breakdown, "shared_people", count if size > 1 else 0, **dims)
    lines = [
        {**dict.fromkeys(SCHEMA), "breakdown": b, "dims": d, "statistic": s, "value": count, "people": count}
        for (b, d, s), count in rows.items()
    ]
    return protect([MeasureTable(OVERLAP, pl.DataFrame(lines, schema=SCHEMA))], POLICY)


def test_people_less_shared_people_do_not_give_back_those_whom_one_partner_alone_knows() -> None:
    protected = overlap({"a": 3, "b": 60, "a+b": 50, "a+b+c": 40, "b+c": 30, "c": 70})
    alone = find_figure(protected.figures, "overlap", "people", "set", {"partners": "a", "size": "1"})
    shared = find_figure(protected.figures, "overlap", "shared_people", "partner", {"partner": "a"})
    everyone = find_figure(protected.figures, "overlap", "people", "partner", {"partner": "a"})
    assert alone is not None
    assert shared is not None
    assert everyone is not None
    assert alone.status is Status.WITHHELD
    assert Status.WITHHELD in (shared.status, everyone.status)


def test_shared_people_less_the_larger_sizes_do_not_give_a_size_back() -> None:
    protected = overlap({"a": 12, "b": 12, "a+b": 50, "a+c": 40, "a+b+c": 3})
    sizes = {f.dims["size"]: f.value for f in protected.figures if f.breakdown == "size"}
    shared = find_figure(protected.figures, "overlap", "shared_people")
    assert shared is not None
    assert sizes["3"] is None
    assert shared.value is None or sizes["2"] is None


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


# --- bounds -----------------------------------------------------------------------------------------------------------


def bounded(low: int, count: int, high: int) -> list[tuple[Any, ...]]:
    named = {"at_least": low, "people": count, "at_most": high}
    return [("all", {}, name, {"value": value, "people": value}) for name, value in named.items()]


def within(protected: ProtectedTables) -> list[int | None]:
    return [shown(protected, "all", name)[0] for name in ("at_least", "people", "at_most")]


def test_bounds_are_rounded_as_their_count_is(table: Make) -> None:
    assert within(protect([table(*bounded(2948, 2981, 3012))], POLICY)) == [2950, 2980, 3010]


@pytest.mark.parametrize(("low", "high"), [(3, 9), (7, 40), (0, 400)])
def test_bounds_of_a_withheld_count_are_withheld_however_large(table: Make, low: int, high: int) -> None:
    protected = protect([table(*bounded(low, 7, high))], POLICY)
    assert within(protected) == [None, None, None]
    assert only(protected, "at_most").reason is not None


def test_bounds_of_a_count_that_is_withheld_for_the_sake_of_others_are_withheld(table: Make) -> None:
    total = people("all", {}, 30), people("area", {"area": "1"}, 30)
    hidden = ("all", {}, "returned", {"value": 27, "people": 27, "base_people": 30, "rest_people": 3})
    bounds = [("all", {}, "at_least", {"value": 20, "people": 20}), ("all", {}, "at_most", {"value": 60, "people": 60})]
    protected = protect([table(*total, hidden, *bounds)], POLICY)
    assert within(protected) == [None, None, None]


def test_a_bound_of_few_people_is_withheld_and_its_count_stays(table: Make) -> None:
    assert within(protect([table(*bounded(5, 10, 12))], POLICY)) == [None, 10, 10]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_no_bound_says_more_of_a_count_than_the_count_does(table: Make, a: int, b: int, c: int) -> None:
    low, count, high = sorted((a, b, c))
    shown_low, shown_count, shown_high = within(protect([table(*bounded(low, count, high))], POLICY))
    alone = shown(protect([table(people("all", {}, count))], POLICY), "all")
    assert [shown_count] == alone
    if shown_count is None:
        assert (shown_low, shown_high) == (None, None)
    else:
        assert shown_low is None or shown_low <= shown_count
        # A count of nobody is shown, and a bound of few people is not.
        assert (shown_high is None) is (count == 0 and 0 < high < POLICY.minimum_people)
        assert shown_high is None or shown_high >= shown_count
