"""From a truth small enough to count by hand to the figures that follow from it."""

import polars as pl
import pytest

from synthetic.truth import (
    count_by_number_of_partners,
    count_overlap,
    count_people,
    count_people_by_partner,
    gather_rows,
    mark_assessments,
)

TRUTH = pl.DataFrame(
    [
        ("a", "a1", "ann"),
        ("a", "a2", "bea"),
        ("a", "a3", "bea"),  # twice in one file
        ("b", "b1", "ann"),
        ("b", "b2", "cas"),
        ("c", "c1", "ann"),
    ],
    schema=["partner_id", "local_person_id", "truth_person"],
    orient="row",
)


def test_people_are_counted_once() -> None:
    assert count_people(TRUTH) == 3
    assert count_people_by_partner(TRUTH) == {"a": 2, "b": 2, "c": 1}
    assert count_by_number_of_partners(TRUTH) == {1: 2, 3: 1}


def test_overlap_is_told_once_for_each_pair() -> None:
    assert count_overlap(TRUTH).rows() == [("a", "b", 1), ("a", "c", 1), ("b", "c", 1)]


SCHEMA = pl.Schema(
    dict.fromkeys(
        ["partner_id", "assessment_number", "local_person_id", "domain", "assessed_on", "valid_to"], pl.String
    )
)


@pytest.mark.parametrize(
    ("partner", "person", "day", "valid_to", "domain", "mark"),
    [
        ("b", "b1", "2026-05-02", None, "housing", "repeat"),
        ("b", "b1", "2026-07-30", None, "housing", "repeat"),  # the 90th day
        ("b", "b1", "2026-07-31", None, "housing", "of_record"),  # the 91st
        ("b", "b1", "2026-05-01", None, "housing", "of_record"),  # the same day is not earlier
        ("b", "b1", "2026-05-02", None, "money", "of_record"),
        ("b", "b2", "2026-05-02", None, "housing", "of_record"),  # somebody else
        ("a", "a1", "2026-06-01", None, "housing", "review"),
        ("b", "b1", "2026-06-01", "2026-05-31", "housing", "of_record"),  # the first held no longer
        ("b", "b1", "2026-06-01", "2026-06-01", "housing", "repeat"),
    ],
)
def test_second_assessment_after_one_of_the_first_of_may(
    partner: str, person: str, day: str, valid_to: str | None, domain: str, mark: str
) -> None:
    rows = [("a", "1", "a1", "housing", "2026-05-01", valid_to), (partner, "2", person, domain, day, None)]
    marked = mark_assessments(pl.DataFrame(rows, schema=SCHEMA, orient="row"), TRUTH, window_days=90)
    assert dict(marked.select("assessment_number", "mark").iter_rows()) == {"1": "of_record", "2": mark}


def test_repeat_of_another_partner_counts_before_a_review() -> None:
    rows = [
        ("a", "1", "a1", "housing", "2026-05-01", None),
        ("b", "2", "b1", "housing", "2026-05-10", None),
        ("b", "3", "b1", "housing", "2026-05-20", None),
    ]
    marked = mark_assessments(pl.DataFrame(rows, schema=SCHEMA, orient="row"), TRUTH, window_days=90)
    assert marked["mark"].to_list() == ["of_record", "repeat", "repeat"]


def test_row_of_the_latest_period_stands_for_its_key() -> None:
    extracts = {
        ("a", "2026-Q2"): {"enrolment": pl.DataFrame({"number": ["1", "2"], "ended_on": [None, None]})},
        ("a", "2026-Q3"): {"enrolment": pl.DataFrame({"number": ["1"], "ended_on": ["2026-08-01"]})},
        ("b", "2026-Q2"): {"enrolment": pl.DataFrame({"number": ["1"], "ended_on": [None]})},
    }
    extracts = {
        key: {name: frame.with_columns(pl.col("ended_on").cast(pl.String)) for name, frame in tables.items()}
        for key, tables in extracts.items()
    }
    rows = gather_rows(extracts, "enrolment", "number")
    assert sorted(rows.rows(), key=str) == [("a", "1", "2026-08-01"), ("a", "2", None), ("b", "1", None)]
