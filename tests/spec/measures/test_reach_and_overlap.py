"""How many people there are, and who knows them."""

from typing import Any


def test_a_person_known_to_two_partners_is_one_person_and_two_counts(pool: Any) -> None:
    pool.give(
        "record",
        """
        partner | person
        charity | ann
        council | ann
        charity | bob
        clinic  | cat?
        """,
    )
    statistics = ("client_records", "unique_people", "unlinkable_records")
    assert pool.ask("reach", "all", *statistics) == [("3", "2", "1")]
    assert pool.ask("reach", "partner", *statistics) == pool.expect(
        """
        partner | client_records | unique_people | unlinkable_records
        charity | 2              | 2             | 0
        clinic  | 0              | 0             | 1
        council | 1              | 1             | 0
        """
    )


def test_a_partner_that_has_a_person_twice_counts_two_records_and_one_person(pool: Any) -> None:
    from sqlalchemy import text

    pool.give("record", "partner | person\ncharity | ann\ncharity | annie")
    pool.conn.execute(
        text("update pg_temp.record set person_id = (select min(person_id::text)::uuid from pg_temp.record)")
    )
    assert pool.ask("reach", "partner", "client_records", "unique_people") == [("charity", "2", "1")]
    assert pool.ask("overlap", "size", "people") == [("1", "1")]


def test_nobody_at_all_is_nought_people(pool: Any) -> None:
    assert pool.ask("reach", "all", "client_records", "unique_people") == [("0", "0")]
    assert pool.ask("overlap", "all", "people", "shared_people") == [("0", "0")]


def test_an_enrolment_counts_in_every_period_that_it_touches(pool: Any) -> None:
    pool.give(
        "enrolment",
        """
        partner | person | started_on | ended_on
        charity | ann    | 2026-06-30 | 2026-06-30
        charity | bob    | 2026-06-30 | 2026-07-01
        council | bob    | 2026-07-01 |
        council | cat    | 2026-01-01 | 2026-03-31
        council | dan    | 2026-01-01 | 2026-04-01
        council | eve?   | 2026-09-30 |
        council | fay    |            |
        """,
    )
    statistics = ("enrolled_records", "enrolled_people", "unlinkable_enrolled")
    assert pool.ask("reach_by_period", "period", *statistics) == pool.expect(
        """
        period  | enrolled_records | enrolled_people | unlinkable_enrolled
        2026-Q2 | 3                | 3               | 0
        2026-Q3 | 2                | 1               | 1
        """
    )


def test_sets_are_exact_and_pairs_are_not(pool: Any) -> None:
    pool.give(
        "record",
        """
        partner | person
        charity | ann
        council | ann
        clinic  | ann
        charity | bob
        council | bob
        charity | cat
        clinic  | dan?
        charity | dan?
        """,
    )
    assert pool.ask("overlap", "set", "people") == pool.expect(
        """
        partners               | size | people
        charity                | 1    | 1
        charity+clinic+council | 3    | 1
        charity+council        | 2    | 1
        """
    )
    assert pool.ask("overlap", "pair", "people") == pool.expect(
        """
        partner | other_partner | people
        charity | clinic        | 1
        charity | council       | 2
        clinic  | council       | 1
        """
    )
    assert pool.ask("overlap", "all", "people", "shared_share") == [("3", "2/3")]
    assert pool.ask("overlap", "partner", "shared_share") == [("charity", "2/3"), ("clinic", "1/1"), ("council", "2/2")]


IN_DOUBT = """
    partner | person | if_joined | if_parted
    charity | ann    | 1         | 1
    council | ann    | 1         | 2
    charity | bob    | 3         | 3
    clinic  | bea    | 3         | 4
    charity | cat    | 5         | 5
    council | cat    | 5         | 5
    clinic  | dan?   |           |
    """


def test_the_different_people_have_bounds_of_the_whole_partnership_alone(pool: Any) -> None:
    """ann's two records are in doubt, and bob and bea may be one."""
    pool.give("record", IN_DOUBT)
    statistics = ("people_if_joined", "unique_people", "people_if_parted")
    assert pool.ask("reach", "all", *statistics) == [("3", "4", "5")]
    assert all(row[1] == row[3] == "" for row in pool.ask("reach", "partner", *statistics))


def test_who_is_known_to_several_partners_moves_either_way_with_pairs_in_doubt(pool: Any) -> None:
    pool.give("record", IN_DOUBT)
    statistics = ("shared_if_joined", "shared_people", "shared_if_parted")
    assert pool.ask("overlap", "all", *statistics) == [("3", "2", "1")]


def test_a_run_that_told_no_bounds_has_none(pool: Any) -> None:
    pool.give("record", "partner | person\ncharity | ann\ncouncil | ann")
    assert pool.ask("reach", "all", "people_if_joined", "unique_people", "people_if_parted") == [("", "1", "")]
    assert pool.ask("overlap", "all", "shared_if_joined", "shared_people") == [("", "1")]
