"""How far counts of people move with pairs in doubt, and what holds whatever is in doubt."""

from itertools import combinations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from linkage.bounds import BOUNDS_SCHEMA, find_bounds
from linkage.cluster import cluster_records
from linkage.scoring import Scored
from tests.unit.linkage.conftest import make_scored, pairs_of

Partition = set[frozenset[str]]


def partitions(scored: Scored, **options: pl.DataFrame) -> tuple[Partition, Partition, Partition]:
    """Everybody's persons if all in doubt are joined, as linked, and if all in doubt are parted."""
    clusters = cluster_records(scored, **options)
    bounds = find_bounds(scored, clusters, **options)
    assert bounds.schema == pl.Schema(BOUNDS_SCHEMA)
    everyone = clusters.members.join(bounds, on=["partner_id", "person_ref"], how="left")
    mine = pl.col("cluster").cast(pl.String)

    def grouped(person: pl.Expr) -> Partition:
        return {frozenset(refs) for refs in everyone.group_by(person.alias("p")).agg("person_ref")["person_ref"]}

    def other(name: str) -> pl.Expr:
        return pl.coalesce(pl.lit("moved ") + pl.col(name).cast(pl.String), mine)

    return grouped(other("if_joined")), grouped(mine), grouped(other("if_parted"))


def parts(*texts: str) -> Partition:
    return {frozenset(text.split()) for text in texts}


def test_a_pair_in_the_review_band_is_one_person_if_joined_and_two_if_parted() -> None:
    joined, linked, parted = partitions(make_scored({("a1", "b1"): 0.7}, "c1"))
    assert joined == linked == parts("a1 b1", "c1")
    assert parted == parts("a1", "b1", "c1")


def test_a_pair_above_the_band_is_one_person_in_both_and_one_below_is_two() -> None:
    scored = make_scored({("a1", "b1"): 0.95, ("a2", "b2"): 0.49})
    assert partitions(scored) == (parts("a1 b1", "a2", "b2"),) * 3
    assert find_bounds(scored, cluster_records(scored)).is_empty()


def test_a_link_that_the_records_around_it_did_not_support_holds_if_joined() -> None:
    scored = make_scored({("a1", "b1"): 0.99, ("b1", "c1"): 0.6, ("a1", "c1"): 0.01})
    joined, linked, parted = partitions(scored)
    assert joined == parts("a1 b1 c1")
    assert linked == parted == parts("a1 b1", "c1")


def test_nothing_that_is_forbidden_is_joined_not_even_over_others() -> None:
    scored = make_scored({("a1", "b1"): 0.99, ("b1", "c1"): 0.6, ("a1", "c1"): "nhs_number"})
    assert partitions(scored)[0] == parts("a1 b1", "c1")
    # c1 is joined to d1 first, and then d1 cannot be with a1 either, from whom c1 was kept.
    chain = make_scored({("c1", "d1"): 0.9, ("b1", "d1"): 0.3, ("a1", "d1"): 0.6, ("a1", "c1"): "one_file"})
    assert partitions(chain)[0] == parts("a1", "b1", "c1 d1")


def test_of_two_joins_that_exclude_each_other_the_likelier_holds() -> None:
    pairs = {("a1", "x1"): 0.99, ("b1", "y1"): 0.99, ("c1", "z1"): 0.99}
    doubt = {("x1", "y1"): 0.6, ("y1", "z1"): 0.7, ("x1", "z1"): "nhs_number"}
    unlike = dict.fromkeys(combinations(("a1", "b1", "c1", "x1", "y1", "z1"), 2), 0.01)
    joined, linked, _ = partitions(make_scored({**unlike, **pairs, **doubt}))
    assert linked == parts("a1 x1", "b1 y1", "c1 z1")
    assert joined == parts("a1 x1", "b1 y1 c1 z1")


def test_what_people_decided_is_in_doubt_no_more() -> None:
    scored = make_scored({("a1", "b1"): 0.7, ("a2", "b2"): 0.7, ("a3", "b3"): 0.7})
    joined, _, parted = partitions(scored, together=pairs_of(("a1", "b1")), apart=pairs_of(("a2", "b2")))
    assert joined == parts("a1 b1", "a2", "b2", "a3 b3")
    assert parted == parts("a1 b1", "a2", "b2", "a3", "b3")


def test_all_records_of_a_cluster_are_listed_where_one_is() -> None:
    scored = make_scored({("a1", "b1"): 0.99, ("b1", "c1"): 0.7, ("a1", "c1"): 0.7}, "d1")
    bounds = find_bounds(scored, cluster_records(scored))
    assert bounds["person_ref"].to_list() == ["a1", "b1", "c1"]
    assert bounds["if_joined"].n_unique() == 1
    assert bounds["if_parted"].n_unique() == 2


WORTH = st.one_of(st.floats(0, 1).map(lambda p: round(p, 2)), st.sampled_from(["nhs_number", "one_file"]))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(list(combinations(("a1", "b1", "c1", "d1", "e1", "f1"), 2))), WORTH, min_size=1, max_size=15
    ),
    st.sets(st.sampled_from(("a1", "b1", "c1", "d1", "e1", "f1"))),
)
def test_people_behind_any_records_are_no_fewer_than_if_joined_and_no_more_than_if_parted(
    pairs: dict[tuple[str, str], float | str], some: set[str]
) -> None:
    joined, linked, parted = partitions(make_scored(pairs, "a1", "b1", "c1", "d1", "e1", "f1"))

    def people(partition: Partition) -> int:
        return sum(bool(person & some) for person in partition)

    assert people(joined) <= people(linked) <= people(parted)
    forbidden = {frozenset(pair) for pair, worth in pairs.items() if isinstance(worth, str)}
    assert not any(pair <= person for pair in forbidden for person in joined | parted)
