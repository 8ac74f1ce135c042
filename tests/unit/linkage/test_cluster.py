"""Clusters: no cannot-link is ever broken, and one stray link does not join two people."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from linkage.match import KEY_FRAME, KeyRule, Kind, LinkPolicy, link_records

from linkage.cluster import ClusterPolicy, Clusters, cluster_records


def groups(clusters: Clusters) -> set[frozenset[str]]:
    together = clusters.members.group_by("cluster").agg("person_ref")["person_ref"]
    return {frozenset(refs) for refs in together}


def test_links_join_records_across_a_common_one(keys, policy: LinkPolicy) -> None:
    links = link_records(keys(a1={"names": "x"}, b1={"names": "x", "ni_number": "n"}, c1={"ni_number": "n"}), policy)
    assert groups(cluster_records(links)) == {frozenset({"a1", "b1", "c1"})}


def test_a_record_that_nothing_links_is_a_cluster_alone(keys, policy: LinkPolicy) -> None:
    links = link_records(keys(a1={"names": "x"}, b1={"names": "y"}), policy)
    assert groups(cluster_records(links)) == {frozenset({"a1"}), frozenset({"b1"})}


def test_a_record_in_the_middle_does_not_join_two_nhs_numbers(keys, policy: LinkPolicy) -> None:
    links = link_records(
        keys(
            a1={"nhs_number": "1", "names": "x"},
            b1={"names": "x", "initial": "i"},
            c1={"nhs_number": "2", "names": "x", "initial": "i"},
        ),
        policy,
    )
    clusters = cluster_records(links)
    # The stronger link, with two agreeing keys, has the record in the middle.
    assert groups(clusters) == {frozenset({"a1"}), frozenset({"b1", "c1"})}
    assert clusters.refused_links["veto"] == 1
    assert "conflict" in set(clusters.alarms["alarm"])


def test_a_record_in_the_middle_does_not_join_two_of_a_vouching_partner(keys, policy: LinkPolicy) -> None:
    vouching = policy.model_copy(update={"duplicate_free": ("a",)})
    links = link_records(keys(a1={"names": "x"}, a2={"names": "x"}, b1={"names": "x"}), vouching)
    found = groups(cluster_records(links))
    assert found == {frozenset({"a1", "b1"}), frozenset({"a2"})}


def test_one_stray_link_does_not_join_two_full_clusters(keys, policy: LinkPolicy) -> None:
    first = {f"{partner}1": {"names": "x"} for partner in "abc"}
    second = {f"{partner}2": {"names": "y"} for partner in "def"}
    first["a1"] = {"names": "x", "initial": "i"}
    second["d2"] = {"names": "y", "initial": "i"}
    links = link_records(keys(**first, **second), policy)
    clusters = cluster_records(links)
    assert groups(clusters) == {frozenset(first), frozenset(second)}
    assert clusters.refused_links["little_support"] == 1
    joined = cluster_records(links, ClusterPolicy(least_support=0.1))
    assert groups(joined) == {frozenset({*first, *second})}
    assert joined.alarms.rows() == [("bridge", 0, 6)]


def test_separated_records_do_not_meet_again(keys, policy: LinkPolicy) -> None:
    links = link_records(keys(a1={"names": "x"}, b1={"names": "x"}, c1={"names": "x"}), policy)
    apart = pl.DataFrame(
        [("a", "a1", "c", "c1")],
        schema=["partner_id", "person_ref", "other_partner_id", "other_person_ref"],
        orient="row",
    )
    clusters = cluster_records(links, apart=apart)
    assert groups(clusters) == {frozenset({"a1", "b1"}), frozenset({"c1"})}
    # The link between b1 and c1 is refused too: b1 is one with a1.
    assert clusters.refused_links["kept_apart"] == 2


def test_a_large_cluster_gives_an_alarm(keys, policy: LinkPolicy) -> None:
    links = link_records(keys(**{f"a{number}": {"names": "x"} for number in range(5)}), policy)
    clusters = cluster_records(links, ClusterPolicy(large_cluster=4))
    assert clusters.alarms.rows() == [("large_cluster", 0, 5)]


def test_nothing_to_cluster_is_an_answer(policy: LinkPolicy) -> None:
    clusters = cluster_records(link_records(pl.DataFrame(schema=KEY_FRAME), policy))
    assert clusters.members.height == 0
    assert clusters.members.columns == ["partner_id", "person_ref", "cluster"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 6),
            st.sampled_from(["names", "other", "nhs_number"]),
            st.integers(0, 3),
        ),
        max_size=40,
    ),
    st.floats(0, 1),
)
def test_no_cannot_link_is_ever_broken_and_every_record_is_in_one_cluster(rows, least_support: float) -> None:
    policy = LinkPolicy(
        keys=tuple(KeyRule(name=name, kind=Kind.STRONG) for name in ("names", "other", "nhs_number")),
        veto_keys=("nhs_number",),
        doubt_keys=(),
        duplicate_free=("a",),
    )
    one_number = {(partner, number, key): token for partner, number, key, token in rows}
    made = [(partner, f"{partner}{number}", key, str(token)) for (partner, number, key), token in one_number.items()]
    links = link_records(pl.DataFrame(made, schema=KEY_FRAME, orient="row"), policy)
    clusters = cluster_records(links, ClusterPolicy(least_support=least_support))
    again = cluster_records(links, ClusterPolicy(least_support=least_support))
    assert clusters.members.equals(again.members)
    assert clusters.members["person_ref"].to_list() == sorted({ref for _, ref, _, _ in made})
    nhs = {ref: token for _, ref, key, token in made if key == "nhs_number"}
    for group in groups(clusters):
        assert len({nhs[ref] for ref in group if ref in nhs}) <= 1
        assert sum(ref.startswith("a") for ref in group) <= 1


# --- decisions ------------------------------------------------------------------------------------------------------


def pair(one: str, other: str) -> pl.DataFrame:
    columns = ["partner_id", "person_ref", "other_partner_id", "other_person_ref"]
    return pl.DataFrame([(one[0], one, other[0], other)], schema=columns, orient="row")


def test_records_that_people_decided_to_be_one_person_are_joined_before_any_link(keys, policy: LinkPolicy) -> None:
    links = link_records(
        keys(a1={"names": "x"}, b1={"names": "y", "nhs_number": "1"}, c1={"names": "x", "nhs_number": "2"}), policy
    )
    assert groups(cluster_records(links)) == {frozenset({"a1", "c1"}), frozenset({"b1"})}
    clusters = cluster_records(links, together=pair("a1", "b1"))
    # The link between a1 and c1 is now refused: b1, who is one with a1, has another NHS number.
    assert groups(clusters) == {frozenset({"a1", "b1"}), frozenset({"c1"})}
    assert clusters.refused_links["veto"] == 1


def test_a_decision_against_a_veto_or_a_separation_is_an_alarm_and_joins_nobody(keys, policy: LinkPolicy) -> None:
    two_numbers = link_records(keys(a1={"nhs_number": "1"}, b1={"nhs_number": "2"}), policy)
    apart_too = link_records(keys(a1={"names": "x"}, b1={"names": "y"}), policy)
    vouching = policy.model_copy(update={"duplicate_free": ("a",)})
    of_one_partner = link_records(keys(a1={"names": "x"}, a2={"names": "y"}), vouching)
    for links, decided, apart in (
        (two_numbers, pair("a1", "b1"), None),
        (apart_too, pair("a1", "b1"), pair("a1", "b1")),
        (of_one_partner, pair("a1", "a2"), None),
    ):
        clusters = cluster_records(links, apart=apart, together=decided)
        assert len(groups(clusters)) == 2
        assert set(clusters.alarms["alarm"]) == {"decision_conflict"}
        assert clusters.refused_links["decision_conflict"] == 1
        assert clusters.alarms.columns == ["alarm", "cluster", "records"]


def test_a_decision_about_a_record_that_is_gone_changes_nothing(keys, policy: LinkPolicy) -> None:
    links = link_records(keys(a1={"names": "x"}, b1={"names": "x"}), policy)
    clusters = cluster_records(links, together=pair("a1", "c9"))
    assert groups(clusters) == {frozenset({"a1", "b1"})}
    assert clusters.alarms.is_empty()
