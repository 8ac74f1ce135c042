"""How figures are written for people."""

from decimal import Decimal

import pytest

from evidence.labels import write_range
from evidence.model import Figure, Status


def count(value: int | None) -> Figure:
    return Figure(
        measure="reach",
        breakdown="all",
        dims={},
        statistic="unique_people",
        value=None if value is None else Decimal(value),
        unit="people",
        status=Status.WITHHELD if value is None else Status.PUBLISHED,
    )


@pytest.mark.parametrize(
    ("bounds", "written"),
    [
        ((2950, 3010), "between 2,950 and 3,010"),
        ((2990, 3010), "between 2,980 and 3,010"),  # what is counted by partners moves either way
        ((2980, 2980), "2,980 either way"),
        ((2950, None), None),
        ((), None),
    ],
)
def test_a_range_holds_its_count_and_is_told_where_all_of_it_is_shown(
    bounds: tuple[int | None, ...], written: str | None
) -> None:
    assert write_range(count(2980), [count(bound) for bound in bounds]) == written


def test_a_count_that_is_withheld_or_missing_has_no_range() -> None:
    assert write_range(count(None), [count(10), count(20)]) is None
    assert write_range(None, [count(10), count(20)]) is None
    assert write_range(count(10), [count(10), None]) is None
