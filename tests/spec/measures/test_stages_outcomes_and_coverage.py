"""How far people come, what they achieve, what they need, and whose data that rests on."""

from typing import Any


def test_a_stage_reported_by_two_partners_is_reached_once(pool: Any) -> None:
    pool.give(
        "stage_event",
        """
        partner | person | programme | stage      | entered_on
        charity | ann    | bridges   | engagement | 2026-04-01
        council | ann    | bridges   | engagement | 2026-04-05
        charity | ann    | bridges   | skills     | 2026-05-01
        charity | bob    | bridges   | engagement | 2026-04-01
        charity | cat?   | bridges   | engagement | 2026-04-01
        charity | dan    | bridges   | unknown    | 2026-04-01
        charity | eve    | bridges   | engagement |
        """,
    )
    assert pool.ask("stage_progression", "stage", "reached_share", "median_days_in_stage") == pool.expect(
        """
        stage      | reached_share | median_days_in_stage
        engagement | 2/2           | 30
        skills     | 1/2           |
        """
    )
    assert pool.ask("stage_progression", "transition", "moves", "people_moved") == [("engagement", "skills", "1", "1")]
    assert pool.ask("stage_progression", "all", "people_on_pathway", "unlinkable_people") == [("2", "1")]


def test_stages_of_one_day_follow_the_order_of_the_pathway(pool: Any) -> None:
    pool.give(
        "stage_event",
        """
        partner | person | programme | stage            | entered_on
        charity | ann    | bridges   | skills           | 2026-04-01
        charity | ann    | bridges   | engagement       | 2026-04-01
        charity | ann    | bridges   | barriers_removed | 2026-04-01
        """,
    )
    assert pool.ask("stage_progression", "transition", "moves") == pool.expect(
        """
        from_stage       | to_stage         | moves
        barriers_removed | skills           | 1
        engagement       | barriers_removed | 1
        """
    )


def test_a_step_back_is_a_move_and_both_stays_count(pool: Any) -> None:
    pool.give(
        "stage_event",
        """
        partner | person | programme | stage      | entered_on
        charity | ann    | bridges   | skills     | 2026-04-01
        charity | ann    | bridges   | engagement | 2026-04-11
        charity | ann    | bridges   | skills     | 2026-05-01
        """,
    )
    assert pool.ask("stage_progression", "transition", "moves") == [
        ("engagement", "skills", "1"),
        ("skills", "engagement", "1"),
    ]
    assert pool.ask("stage_progression", "stage", "people_reached") == [("engagement", "1"), ("skills", "1")]


def test_programmes_are_pathways_of_their_own(pool: Any) -> None:
    pool.give(
        "stage_event",
        """
        partner | person | programme | stage      | entered_on
        charity | ann    | bridges   | engagement | 2026-04-01
        charity | ann    | ladders   | skills     | 2026-04-02
        charity | bob    | ladders   | skills     | 2026-04-02
        """,
    )
    assert pool.ask("stage_progression", "transition", "moves") == []
    assert pool.ask("stage_progression", "programme_stage", "reached_share") == [
        ("bridges", "engagement", "1/1"),
        ("ladders", "skills", "2/2"),
    ]
    assert pool.ask("stage_progression", "stage", "reached_share") == [("engagement", "1/2"), ("skills", "2/2")]


def test_an_outcome_counts_once_a_person_over_all_people_enrolled(pool: Any) -> None:
    pool.give(
        "enrolment",
        """
        partner | person | started_on
        charity | ann    | 2026-04-01
        council | ann    | 2026-04-01
        charity | bob    | 2026-04-01
        """,
    )
    pool.give(
        "outcome",
        """
        partner | person | outcome    | achieved_on
        charity | ann    | employment | 2026-06-30
        council | ann    | employment | 2026-07-01
        council | ann    | training   | 2026-07-01
        council | cat    | employment | 2026-07-01
        council | dan?   | employment | 2026-07-01
        """,
    )
    assert pool.ask("outcome", "all", "achieved_share", "unlinkable_outcomes") == [("1/2", "1")]
    assert pool.ask("outcome", "outcome", "achieved_share") == [("employment", "1/2"), ("training", "1/2")]
    assert pool.ask("outcome", "period", "people_achieved") == [("2026-Q2", "1"), ("2026-Q3", "1")]


def test_need_is_counted_by_person_in_each_domain(pool: Any) -> None:
    pool.give(
        "assessment",
        """
        partner | person | domain  | assessed_on
        charity | ann    | housing | 2026-04-01
        council | ann    | housing | 2026-04-02
        council | ann    | debt    | 2026-04-02
        charity | bob    | housing | 2026-04-02
        charity | cat?   | housing | 2026-04-02
        """,
    )
    assert pool.ask("need_by_domain", "domain", "domain_share") == [("debt", "1/2"), ("housing", "2/2")]
    assert pool.ask("need_by_domain", "partner_domain", "domain_share") == [
        ("charity", "housing", "2/2"),
        ("council", "debt", "1/1"),
        ("council", "housing", "1/1"),
    ]


def test_a_partner_that_sent_nothing_is_shown_with_nothing(pool: Any) -> None:
    pool.give(
        "coverage",
        """
        partner | period  | table      | rows_received | rows_accepted | rows_held_back
        charity | 2026-Q2 | person     | 10            | 9             | 1
        charity | 2026-Q2 | assessment | 20            | 20            | 0
        charity | 2026-Q3 | person     | 0             | 0             | 0
        """,
    )
    rows = pool.ask("partnership", "partner_period", "rows_received", "rows_held_back", "accepted_share")
    assert [row for row in rows if row[0] in ("charity", "jobs")] == pool.expect(
        """
        partner | period  | rows_received | rows_held_back | accepted_share
        charity | 2026-Q2 | 30            | 1              | 29/30
        charity | 2026-Q3 | 0             | 0              |
        jobs    | 2026-Q2 | 0             | 0              |
        jobs    | 2026-Q3 | 0             | 0              |
        """
    )
    assert pool.ask("partnership", "partner", "periods_in")[0] == ("charity", "2")
