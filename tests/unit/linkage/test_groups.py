"""Groups of records that pairs hold together."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from linkage.groups import group_records

PAIRS = {"left": pl.UInt32, "right": pl.UInt32}


def groups(pairs: list[tuple[int, int]]) -> dict[int, int]:
    found = group_records(pl.DataFrame(pairs, schema=PAIRS, orient="row"))
    assert found["record"].to_list() == sorted(found["record"])
    return dict(found.iter_rows())


def test_a_group_is_named_by_its_lowest_record_and_goes_over_others() -> None:
    assert groups([(5, 9), (2, 5), (7, 8)]) == {2: 2, 5: 2, 9: 2, 7: 7, 8: 7}


def test_no_pair_is_no_group() -> None:
    assert groups([]) == {}


def test_a_long_chain_is_one_group() -> None:
    chain = [(number, number + 1) for number in range(50_000)]
    assert set(groups(chain[::-1]).values()) == {0}


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=25))
def test_two_records_are_in_one_group_where_a_chain_of_pairs_leads_from_one_to_the_other(pairs) -> None:
    reached = {record: {record} for pair in pairs for record in pair}
    for _ in reached:
        for left, right in pairs:
            both = reached[left] | reached[right]
            for record in both:
                reached[record] = both
    assert groups(pairs) == {record: min(group) for record, group in reached.items()}
