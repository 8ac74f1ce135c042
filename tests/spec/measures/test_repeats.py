"""What counts as a repeat assessment, as a review, and as the assessment of record."""

from typing import Any


def test_second_partner_within_the_window_repeats_the_first(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on
        a1  | charity | ann    | housing | 2026-04-01
        a2  | council | ann    | housing | 2026-05-01
        """,
    )
    assert pool.mark() == pool.expect(
        """
        row | mark      | repeats | days_since
        a1  | of_record |         |
        a2  | repeat    | a1      | 30
        """
    )


def test_the_last_day_of_the_window_counts_and_the_day_after_does_not(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on
        a1  | charity | ann    | housing | 2026-04-01
        a2  | council | ann    | housing | 2026-06-30
        b1  | charity | bob    | housing | 2026-04-01
        b2  | council | bob    | housing | 2026-07-01
        """,
    )
    assert pool.mark() == pool.expect(
        """
        row | mark      | repeats | days_since
        a1  | of_record |         |
        a2  | repeat    | a1      | 90
        b1  | of_record |         |
        b2  | of_record |         |
        """
    )


def test_an_assessment_that_was_no_longer_valid_is_not_repeated(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on | valid_to
        a1  | charity | ann    | housing | 2026-04-01  | 2026-04-30
        a2  | council | ann    | housing | 2026-05-01  |
        b1  | charity | bob    | housing | 2026-04-01  | 2026-05-01
        b2  | council | bob    | housing | 2026-05-01  |
        """,
    )
    assert pool.mark() == pool.expect(
        """
        row | mark      | repeats | days_since
        a1  | of_record |         |
        a2  | of_record |         |
        b1  | of_record |         |
        b2  | repeat    | b1      | 30
        """
    )


def test_another_domain_or_another_person_is_no_repeat(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on
        a1  | charity | ann    | housing | 2026-04-01
        a2  | council | ann    | debt    | 2026-04-02
        b1  | council | bob    | housing | 2026-04-03
        """,
    )
    assert [mark for _, mark, *_ in pool.mark()] == ["of_record", "of_record", "of_record"]


def test_the_same_partner_reviews_its_own_assessment(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on
        a1  | charity | ann    | housing | 2026-04-01
        a2  | charity | ann    | housing | 2026-05-01
        """,
    )
    assert pool.mark() == pool.expect(
        """
        row | mark      | repeats | days_since
        a1  | of_record |         |
        a2  | review    | a1      | 30
        """
    )


def test_with_both_an_own_and_another_partners_earlier_assessment_it_is_a_repeat(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on
        a1  | charity | ann    | housing | 2026-04-01
        a2  | council | ann    | housing | 2026-04-11
        a3  | charity | ann    | housing | 2026-04-21
        """,
    )
    assert pool.mark() == pool.expect(
        """
        row | mark      | repeats | days_since
        a1  | of_record |         |
        a2  | repeat    | a1      | 10
        a3  | repeat    | a2      | 10
        """
    )
    assert pool.ask("repeat_assessment", "all", "repeats", "repeats_after_own") == [("2", "1")]


def test_of_several_earlier_assessments_the_earliest_that_still_holds_is_repeated(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on
        a1  | charity | ann    | housing | 2026-04-01
        a2  | council | ann    | housing | 2026-05-01
        a3  | clinic  | ann    | housing | 2026-06-01
        a4  | jobs    | ann    | housing | 2026-07-15
        """,
    )
    assert pool.mark() == pool.expect(
        """
        row | mark      | repeats | days_since
        a1  | of_record |         |
        a2  | repeat    | a1      | 30
        a3  | repeat    | a1      | 61
        a4  | repeat    | a2      | 75
        """
    )


def test_on_one_day_the_partner_first_in_the_alphabet_was_first(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on
        a9  | charity | ann    | housing | 2026-04-01
        a1  | council | ann    | housing | 2026-04-01
        """,
    )
    assert pool.mark() == pool.expect(
        """
        row | mark      | repeats | days_since
        a1  | repeat    | a9      | 0
        a9  | of_record |         |
        """
    )


def test_without_a_linked_person_a_day_or_a_known_domain_it_stays_of_record(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on
        a1  | charity | ann?   | housing | 2026-04-01
        a2  | council | ann?   | housing | 2026-04-02
        b1  | charity | bob    | unknown | 2026-04-01
        b2  | council | bob    | unknown | 2026-04-02
        c1  | charity | cat    |         | 2026-04-01
        c2  | council | cat    | housing |
        c3  | clinic  | cat    | housing | 2026-04-03
        """,
    )
    assert {mark for _, mark, *_ in pool.mark()} == {"of_record"}


def test_share_of_repeats_is_over_all_eligible_assessments(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        partner | person | domain  | assessed_on
        charity | ann    | housing | 2026-04-01
        council | ann    | housing | 2026-04-11
        clinic  | ann    | health  | 2026-04-11
        charity | bob    | housing | 2026-06-30
        council | bob    | housing | 2026-07-01
        charity | cat?   | housing | 2026-04-01
        council | dan    | unknown | 2026-04-01
        """,
    )
    pool.mark()
    assert pool.ask("repeat_assessment", "all", "repeat_share", "people_repeated_share", "unlinkable_assessments") == [
        ("2/5", "2/2", "1")
    ]
    assert pool.ask("repeat_assessment", "domain", "repeat_share", "median_days") == pool.expect(
        """
        domain  | repeat_share | median_days
        health  | 0/1          |
        housing | 2/4          | 5.5
        """
    )
    assert pool.ask("repeat_assessment", "pair", "repeats") == [("charity", "council", "2")]
    assert pool.ask("repeat_assessment", "period", "repeat_share") == pool.expect(
        """
        period  | repeat_share
        2026-Q2 | 1/4
        2026-Q3 | 1/1
        """
    )


def test_people_behind_a_share_are_counted_in_the_part_the_whole_and_the_rest(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        partner | person | domain  | assessed_on
        charity | ann    | housing | 2026-04-01
        council | ann    | housing | 2026-04-11
        clinic  | ann    | housing | 2026-04-12
        charity | bob    | housing | 2026-04-01
        """,
    )
    pool.mark()
    # Ann is behind two repeats and, with her first assessment, in the rest as well.
    assert pool.people_behind("repeat_assessment", "all", "repeat_share") == [(1, 2, 2)]


def test_cost_of_repeats_is_their_recorded_time_at_the_agreed_hourly_cost(pool: Any) -> None:
    pool.agree(hourly_cost_gbp=30)
    pool.give(
        "assessment",
        """
        partner | person | domain  | assessed_on | minutes
        charity | ann    | housing | 2026-04-01  | 60
        council | ann    | housing | 2026-04-11  | 90
        clinic  | ann    | housing | 2026-04-12  |
        jobs    | ann    | housing | 2026-04-13  | 30
        """,
    )
    pool.mark()
    assert pool.ask("repeat_cost", "all", "repeats_timed", "repeat_hours") == [("2", "2")]
    assert pool.ask("repeat_cost", "partner", "repeat_hours") == [("council", "1.5"), ("jobs", "0.5")]


def test_when_two_persons_turn_out_to_be_one_the_next_marking_finds_the_repeat(pool: Any) -> None:
    from sqlalchemy import text

    pool.give(
        "assessment",
        """
        row | partner | person | domain  | assessed_on
        a1  | charity | ann    | housing | 2026-04-01
        a2  | council | anne   | housing | 2026-04-11
        """,
    )
    assert [mark for _, mark, *_ in pool.mark()] == ["of_record", "of_record"]
    pool.conn.execute(
        text(
            "update pg_temp.assessment set person_id = (select person_id from pg_temp.assessment where row_key = 'a1')"
        )
    )
    assert [mark for _, mark, *_ in pool.mark()] == ["of_record", "repeat"]
