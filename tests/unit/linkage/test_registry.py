"""The registry: ids stay with people, every change is recorded, and the same input changes nothing."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkage.cluster import cluster_records
from linkage.registry import RegistryUpdate, assign_persons, empty_membership, find_separations
from linkage.scoring import Scored
from tests.unit.linkage.conftest import make_scored

FIRST = datetime(2026, 7, 1, tzinfo=UTC)
LATER = FIRST + timedelta(days=90)


@pytest.fixture
def new_id() -> Callable[[], UUID]:
    numbers = count(1)
    return lambda: UUID(int=next(numbers))


def clusters_of(*groups: str) -> pl.DataFrame:
    """``clusters_of("a1 b1", "c1")``: two clusters; the first letter is the partner."""
    rows = [(ref[0], ref, number) for number, group in enumerate(groups) for ref in group.split()]
    schema = {"partner_id": pl.String, "person_ref": pl.String, "cluster": pl.UInt32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def person_of(update: RegistryUpdate) -> dict[str, int]:
    rows = update.membership.select("person_ref", "person_id").iter_rows()
    return {ref: UUID(person).int for ref, person in rows}


def told(update: RegistryUpdate) -> list[tuple[str, int, int | None]]:
    rows = update.events.select("event", "person_id", "other_person_id").iter_rows()
    return [(event, UUID(one).int, UUID(other).int if other else None) for event, one, other in rows]


def test_the_first_run_makes_a_person_of_every_cluster(new_id) -> None:
    update = assign_persons(clusters_of("b1 a1", "c1"), empty_membership(), new_id, FIRST)
    assert person_of(update) == {"a1": 1, "b1": 1, "c1": 2}
    assert told(update) == [("created", 1, None), ("created", 2, None)]
    assert update.membership["person_created_at"].unique().to_list() == [FIRST]


def test_the_same_clusters_again_change_nothing(new_id) -> None:
    first = assign_persons(clusters_of("a1 b1", "c1"), empty_membership(), new_id, FIRST)
    again = assign_persons(clusters_of("c1", "b1 a1"), first.membership, new_id, LATER)
    assert again.events.is_empty()
    assert again.membership.equals(first.membership)


def test_a_new_record_joins_the_person_of_its_cluster(new_id) -> None:
    first = assign_persons(clusters_of("a1 b1", "c1"), empty_membership(), new_id, FIRST)
    update = assign_persons(clusters_of("a1 b1 d1", "c1", "e1"), first.membership, new_id, LATER)
    assert person_of(update) == {"a1": 1, "b1": 1, "d1": 1, "c1": 2, "e1": 3}
    assert told(update) == [("created", 3, None), ("joined", 1, None)]
    assert update.events.filter(pl.col("event") == "joined")["person_ref"].to_list() == ["d1"]


def test_of_two_persons_that_merge_the_one_with_more_records_goes_on(new_id) -> None:
    first = assign_persons(clusters_of("a1", "b1 c1"), empty_membership(), new_id, FIRST)
    update = assign_persons(clusters_of("a1 b1 c1"), first.membership, new_id, LATER)
    assert set(person_of(update).values()) == {2}
    assert told(update) == [("merged", 2, 1)]
    assert update.merged == ((str(UUID(int=2)), str(UUID(int=1))),)


def test_a_tie_goes_to_the_older_person(new_id) -> None:
    second = assign_persons(clusters_of("a1"), empty_membership(), new_id, LATER)
    first = assign_persons(clusters_of("b1"), empty_membership(), new_id, FIRST)
    both = pl.concat([second.membership, first.membership])
    update = assign_persons(clusters_of("a1 b1"), both, new_id, LATER)
    assert set(person_of(update).values()) == {2}
    without_age = assign_persons(clusters_of("a1 b1"), both.drop("person_created_at"), new_id, LATER)
    assert set(person_of(without_age).values()) == {1}


def test_the_id_stays_with_most_of_the_records_when_a_person_is_split(new_id) -> None:
    first = assign_persons(clusters_of("a1 b1 c1"), empty_membership(), new_id, FIRST)
    update = assign_persons(clusters_of("a1", "b1 c1"), first.membership, new_id, LATER)
    assert person_of(update) == {"a1": 2, "b1": 1, "c1": 1}
    assert told(update) == [("created", 2, None), ("split", 1, 2)]


def test_a_record_that_moves_to_another_person_is_told_as_a_split(new_id) -> None:
    first = assign_persons(clusters_of("a1 b1 c1", "d1 e1"), empty_membership(), new_id, FIRST)
    update = assign_persons(clusters_of("a1 b1", "c1 d1 e1"), first.membership, new_id, LATER)
    assert person_of(update) == {"a1": 1, "b1": 1, "c1": 2, "d1": 2, "e1": 2}
    assert told(update) == [("split", 1, 2)]


def test_records_that_are_not_there_follow_their_person_into_a_merge_of_most_of_it(new_id) -> None:
    first = assign_persons(clusters_of("a1 b1 f1", "c1 d1 e1", "g1"), empty_membership(), new_id, FIRST)
    update = assign_persons(clusters_of("a1 b1 c1 d1 e1"), first.membership, new_id, LATER)
    assert told(update) == [("merged", 2, 1)]
    assert person_of(update) == {"a1": 2, "b1": 2, "c1": 2, "d1": 2, "e1": 2, "f1": 2}


@pytest.mark.parametrize("absent", ["b1", "b1 d1 e1"])
def test_a_person_is_not_merged_on_the_word_of_one_record_while_its_others_are_absent(new_id, absent: str) -> None:
    first = assign_persons(clusters_of(f"a1 {absent}", "c1 c2"), empty_membership(), new_id, FIRST)
    update = assign_persons(clusters_of("a1 c1 c2"), first.membership, new_id, LATER)
    # Person 1 keeps its id and the absent records, which the update does not list.
    assert person_of(update) == {"a1": 2, "c1": 2, "c2": 2}
    assert told(update) == [("joined", 2, None)]
    assert update.events["person_ref"].to_list() == ["a1"]


def test_a_person_that_keeps_absent_records_only_can_be_merged_when_they_are_there_again(new_id) -> None:
    first = assign_persons(clusters_of("a1 b1", "c1 d1"), empty_membership(), new_id, FIRST)
    update = assign_persons(clusters_of("a1 c1 d1"), first.membership, new_id, LATER)
    kept = first.membership.filter(pl.col("person_ref") == "b1")
    again = assign_persons(clusters_of("a1 b1 c1 d1"), pl.concat([update.membership, kept]), new_id, LATER)
    assert told(again) == [("merged", 2, 1)]
    assert set(person_of(again).values()) == {2}


def test_of_two_persons_with_one_record_each_in_a_cluster_the_one_with_more_absent_records_goes_on(new_id) -> None:
    first = assign_persons(clusters_of("a1", "b1 c1 d1"), empty_membership(), new_id, FIRST)
    update = assign_persons(clusters_of("a1 b1"), first.membership, new_id, LATER)
    assert person_of(update) == {"a1": 2, "b1": 2}
    assert told(update) == [("merged", 2, 1)]


def test_a_run_without_the_record_that_held_a_person_together_leaves_no_separation(new_id) -> None:
    everyone = {("a1", "b1"): 0.9, ("b1", "c1"): 0.9, ("a1", "c1"): 0.3}
    splits = pl.DataFrame(schema={"person_id": pl.String, "other_person_id": pl.String})
    membership, persons = empty_membership(), []
    for present in (["a1", "b1", "c1"], ["a1", "c1"], ["a1", "b1", "c1"]):
        scored = make_scored({pair: worth for pair, worth in everyone.items() if set(pair) <= set(present)}, *present)
        clusters = cluster_records(scored, apart=find_separations(splits, membership))
        update = assign_persons(clusters.members, membership, new_id, LATER)
        stayed = membership.join(update.membership, on=["partner_id", "person_ref"], how="anti")
        membership = pl.concat([update.membership, stayed])
        events = update.events.filter(pl.col("event") == "split")
        splits = pl.concat([splits, events.select("person_id", "other_person_id")])
        persons.append(membership["person_id"].n_unique())
    assert persons == [1, 2, 1]
    assert splits.is_empty()


def test_separated_persons_do_not_merge_again_by_themselves(new_id) -> None:
    together = make_scored({("a1", "b1"): 0.9})
    parted = make_scored({("a1", "b1"): 0.1})

    def run(scored: Scored, membership: pl.DataFrame, splits: pl.DataFrame) -> RegistryUpdate:
        apart = find_separations(splits, membership)
        clusters = cluster_records(scored, apart=apart)
        return assign_persons(clusters.members, membership, new_id, LATER)

    none = pl.DataFrame(schema={"person_id": pl.String, "other_person_id": pl.String})
    first = run(together, empty_membership(), none)
    second = run(parted, first.membership, none)
    splits = second.events.filter(pl.col("event") == "split").select("person_id", "other_person_id")
    assert splits.height == 1
    third = run(together, second.membership, splits)
    assert third.events.is_empty()
    assert len(set(person_of(third).values())) == 2
    # Without the record of the split they would be one again.
    assert [event for event, _, _ in told(run(together, second.membership, none))] == ["merged"]


ABSENT = 4
GROUPS = st.lists(st.integers(0, 4), min_size=8, max_size=8)


def as_clusters(numbers: list[int]) -> pl.DataFrame:
    """Cluster 4 stands for a record that is not there."""
    rows = [("abcd"[place % 4], f"r{place}", number) for place, number in enumerate(numbers) if number < ABSENT]
    schema = {"partner_id": pl.String, "person_ref": pl.String, "cluster": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


@settings(max_examples=80, deadline=None)
@given(st.lists(GROUPS, min_size=1, max_size=4))
def test_persons_are_always_the_clusters_and_a_second_run_changes_nothing(history: list[list[int]]) -> None:
    ids: Iterator[int] = count(1)

    def new_id() -> UUID:
        return UUID(int=next(ids))

    membership = empty_membership()
    alive: set[str] = set()
    for number, clusters in enumerate(history):
        now = FIRST + timedelta(days=number)
        update = assign_persons(as_clusters(clusters), membership, new_id, now)
        stayed = membership.join(update.membership, on=["partner_id", "person_ref"], how="anti")
        membership = pl.concat([update.membership, stayed]).sort("partner_id", "person_ref")
        joined = as_clusters(clusters).join(membership, on=["partner_id", "person_ref"])
        assert joined.height == as_clusters(clusters).height
        known = set(membership["person_id"])
        assert all({kept, new} <= known for kept, new in update.split)
        if joined.is_empty():
            continue
        assert joined.group_by("cluster").agg(pl.col("person_id").n_unique())["person_id"].max() == 1
        assert joined.group_by("person_id").agg(pl.col("cluster").n_unique())["cluster"].max() == 1
        # Events account for every id that came or went.
        alive = (alive | set(update.created)) - {gone for _, gone in update.merged}
        assert alive == set(membership["person_id"])
        again = assign_persons(as_clusters(clusters), membership, new_id, now)
        assert again.events.is_empty()
        assert again.membership.equals(joined.select(membership.columns).sort("partner_id", "person_ref"))
