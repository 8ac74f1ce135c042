"""What becomes of a referral from one partner to another."""

from typing import Any

COVERED = """
partner | period  | table     | rows_received | rows_accepted | rows_held_back
council | 2026-Q2 | enrolment | 1             | 1             | 0
clinic  | 2026-Q2 | enrolment | 1             | 1             | 0
"""


def test_senders_and_receivers_rows_of_one_referral_are_one(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | accepted_on | first_contact_on | status
        charity | ann    | sent      | council       | 2026-04-01 |             |                  | sent
        council | ann    | received  | charity       | 2026-04-03 | 2026-04-05  | 2026-04-12       | accepted
        """,
    )
    assert pool.ask("referral_outcome", "all", "referrals", "accepted_share") == [("1", "1/1")]
    assert pool.ask("referral_outcome", "reported_by", "referrals") == [("sender and receiver", "1")]
    # The sender's date starts the clock; the receiver's word counts for the rest.
    days = pool.ask("referral_outcome", "all", "median_days_to_acceptance", "median_days_to_first_contact")
    assert days == [("4", "7")]


def test_the_receivers_word_on_the_assessment_counts_unless_it_is_unknown(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | status   | assessment_passed_on
        charity | ann    | sent      | council       | 2026-04-01 | sent     | yes
        council | ann    | received  | charity       | 2026-04-01 | accepted | no
        charity | bob    | sent      | council       | 2026-04-01 | sent     | yes
        council | bob    | received  | charity       | 2026-04-01 | accepted | unknown
        charity | cat    | sent      | council       | 2026-04-01 | sent     |
        """,
    )
    assert pool.ask("referral_outcome", "all", "referrals", "passed_on_share") == [("3", "1/2")]


def test_rows_more_than_fourteen_days_apart_are_two_referrals(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | status
        charity | ann    | sent      | council       | 2026-04-01 | sent
        council | ann    | received  | charity       | 2026-04-16 | accepted
        charity | bob    | sent      | council       | 2026-04-01 | sent
        council | bob    | received  | charity       | 2026-04-15 | accepted
        """,
    )
    assert pool.ask("referral_outcome", "reported_by", "referrals") == pool.expect(
        """
        reported_by         | referrals
        receiver only       | 1
        sender and receiver | 1
        sender only         | 1
        """
    )


def test_each_row_is_matched_once(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | status
        charity | ann    | sent      | council       | 2026-04-01 | sent
        charity | ann    | sent      | council       | 2026-04-05 | sent
        council | ann    | received  | charity       | 2026-04-05 | accepted
        """,
    )
    assert pool.ask("referral_outcome", "all", "referrals", "accepted") == [("2", "1")]


def test_the_first_sent_is_the_first_received_so_that_no_referral_counts_twice(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | accepted_on | status
        charity | ann    | sent      | council       | 2026-04-01 |             | sent
        charity | ann    | sent      | council       | 2026-04-05 |             | sent
        council | ann    | received  | charity       | 2026-04-05 | 2026-04-06  | accepted
        council | ann    | received  | charity       | 2026-04-09 | 2026-04-10  | accepted
        """,
    )
    # By the nearest date the second sent would take the first received, and the two left would count as two more.
    assert pool.ask("referral_outcome", "reported_by", "referrals") == [("sender and receiver", "2")]
    assert pool.ask("referral_outcome", "all", "median_days_to_acceptance") == [("5",)]


def test_an_earlier_referral_that_never_arrived_does_not_take_a_later_ones_row(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | status
        charity | ann    | sent      | council       | 2026-04-01 | sent
        charity | ann    | sent      | council       | 2026-07-01 | sent
        council | ann    | received  | charity       | 2026-07-02 | accepted
        charity | bob    | sent      | council       | 2026-04-01 | sent
        charity | bob    | sent      | council       | 2026-04-13 | sent
        council | bob    | received  | charity       | 2026-04-20 | accepted
        """,
    )
    counted = dict(pool.ask("referral_outcome", "reported_by", "referrals"))
    assert counted == {"sender and receiver": "2", "sender only": "2"}


def test_a_receiver_that_has_answered_is_believed_over_the_sender(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | accepted_on | status
        charity | ann    | sent      | council       | 2026-04-01 | 2026-04-02  | accepted
        council | ann    | received  | charity       | 2026-04-01 |             | declined
        charity | bob    | sent      | council       | 2026-04-01 | 2026-04-05  | accepted
        council | bob    | received  | charity       | 2026-04-01 |             | sent
        """,
    )
    statistics = ("accepted_share", "median_days_to_acceptance")
    assert pool.ask("referral_outcome", "all", *statistics) == [("1/2", "4")]


def test_the_share_accepted_is_of_the_referrals_that_were_answered(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | accepted_on | status
        charity | ann    | sent      | council       | 2026-04-01 |             | accepted
        charity | bob    | sent      | council       | 2026-04-01 |             | declined
        charity | cat    | sent      | council       | 2026-04-01 |             | withdrawn
        charity | dan    | sent      | council       | 2026-04-01 |             | sent
        charity | eve    | sent      | council       | 2026-04-01 |             | unknown
        charity | fay    | sent      | council       | 2026-04-01 |             |
        """,
    )
    assert pool.ask("referral_outcome", "all", "referrals", "answered", "accepted_share") == [("6", "3", "1/3")]
    assert pool.people_behind("referral_outcome", "all", "accepted_share") == [(1, 3, 2)]


def test_people_who_are_not_linked_and_outside_organisations_are_apart(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | status
        charity | ann?   | sent      | council       | 2026-04-01 | sent
        charity | bob    | sent      | other         | 2026-04-01 | accepted
        charity | cat    | sent      | council       | 2026-04-01 | declined
        """,
    )
    statistics = ("referrals", "accepted_share", "unlinkable_referrals", "outside_referrals")
    assert pool.ask("referral_outcome", "all", *statistics) == [("1", "0/1", "1", "1")]


def test_a_referral_without_an_enrolment_at_the_receiver_in_28_days_is_lost(pool: Any) -> None:
    pool.give("coverage", COVERED)
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | status
        charity | ann    | sent      | council       | 2026-04-01 | sent
        charity | bob    | sent      | council       | 2026-04-01 | sent
        charity | cat    | sent      | council       | 2026-04-01 | accepted
        charity | dan    | sent      | council       | 2026-04-01 | accepted
        charity | eve    | sent      | council       | 2026-04-01 | sent
        """,
    )
    pool.give(
        "enrolment",
        """
        partner | person | started_on | ended_on
        council | ann    | 2026-04-29 |
        council | bob    | 2026-04-30 |
        council | cat    | 2025-01-01 |
        council | dan    | 2025-01-01 | 2026-03-31
        clinic  | eve    | 2026-04-02 |
        """,
    )
    # Ann enrolled on the last day, Cat was enrolled already; Bob came a day late, Dan had left, Eve went elsewhere.
    assert pool.ask("referral_outcome", "all", "lost_share") == [("3/5",)]


def test_answered_and_recent_referrals_are_not_counted_as_lost(pool: Any) -> None:
    pool.give("coverage", COVERED)
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | status
        charity | ann    | sent      | council       | 2026-06-02 | sent
        charity | bob    | sent      | council       | 2026-06-03 | sent
        charity | cat    | sent      | council       | 2026-04-01 | declined
        charity | dan    | sent      | council       | 2026-04-01 | withdrawn
        charity | eve    | sent      | jobs          | 2026-04-01 | sent
        """,
    )
    # The council's data ends on 30 June: 28 days after 2 June. The jobcentre has sent no enrolments at all.
    assert pool.ask("referral_outcome", "all", "referrals", "followed_up", "lost") == [("5", "1", "1")]


def test_days_that_run_backwards_and_missing_dates_are_left_out_of_the_medians(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | accepted_on | first_contact_on | status
        charity | ann    | sent      | council       | 2026-04-10 | 2026-04-01  |                  | accepted
        charity | bob    | sent      | council       | 2026-04-10 | 2026-04-10  | 2026-04-10       | accepted
        charity | cat    | sent      | council       | 2026-04-10 | 2026-04-20  |                  | accepted
        charity | dan    | sent      | council       |            |             |                  | sent
        """,
    )
    statistics = ("referrals", "median_days_to_acceptance", "median_days_to_first_contact")
    assert pool.ask("referral_outcome", "all", *statistics) == [("3", "5", "0")]


def test_referrals_are_split_by_sender_receiver_pair_and_period(pool: Any) -> None:
    pool.give(
        "referral",
        """
        partner | person | direction | other_partner | sent_on    | status
        charity | ann    | sent      | council       | 2026-06-30 | sent
        charity | bob    | sent      | clinic        | 2026-07-01 | accepted
        council | cat    | received  | clinic        | 2025-12-31 | accepted
        """,
    )
    assert pool.ask("referral_outcome", "sender", "accepted", "referrals") == [
        ("charity", "1", "2"),
        ("clinic", "1", "1"),
    ]
    assert pool.ask("referral_outcome", "receiver", "referrals") == [("clinic", "1"), ("council", "2")]
    assert pool.ask("referral_outcome", "pair", "referrals") == pool.expect(
        """
        partner | other_partner | referrals
        charity | clinic        | 1
        charity | council       | 1
        clinic  | council       | 1
        """
    )
    # A referral before the first period is in the whole and in no period.
    assert pool.ask("referral_outcome", "period", "referrals") == [("2026-Q2", "1"), ("2026-Q3", "1")]
