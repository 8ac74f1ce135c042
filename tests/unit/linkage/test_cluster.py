"""Clusters: no cannot-link is ever broken, and one stray link does not join two people."""

import time
from collections.abc import Callable, Iterable
from itertools import combinations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from linkage.cluster import ClusterPolicy, Clusters, cluster_records
from linkage.scoring import Scored
from tests.unit.linkage.conftest import make_scored, pairs_of

Pair = tuple[str, str]


def groups(clusters: Clusters) -> set[frozenset[str]]:
    together = clusters.members.group_by("cluster").agg("person_ref")["person_ref"]
    return {frozenset(refs) for refs in together}


def parts(*texts: str) -> set[frozenset[str]]:
    """``parts("a1 b1", "c1")``: two clusters."""
    return {frozenset(text.split()) for text in texts}


def refused(clusters: Clusters) -> dict[str, int]:
    return {reason: count for reason, count in clusters.refused_links.items() if count}


def all_pairs(*names: str, worth: float) -> dict[Pair, float | str]:
    return dict.fromkeys(combinations(names, 2), worth)


def test_records_that_are_likely_one_person_are_one_cluster_and_others_are_alone() -> None:
    scored = make_scored({("a1", "b1"): 0.9, ("a1", "c1"): 0.9, ("b1", "c1"): 0.8, ("a2", "b2"): 0.4}, "d1")
    clusters = cluster_records(scored)
    assert groups(clusters) == parts("a1 b1 c1", "a2", "b2", "d1")
    assert clusters.members.rows() == [
        ("a", "a1", 0),
        ("a", "a2", 1),
        ("b", "b1", 0),
        ("b", "b2", 3),
        ("c", "c1", 0),
        ("d", "d1", 5),
    ]
    assert clusters.alarms.is_empty()
    assert refused(clusters) == {}


def test_a_chain_of_links_is_not_one_person() -> None:
    scored = make_scored({("a1", "b1"): 0.9, ("b1", "c1"): 0.8, ("a1", "c1"): 0.01})
    clusters = cluster_records(scored)
    # b1 is with a1; with both together c1 agrees to (0.8 + 0.01) / 2 only.
    assert groups(clusters) == parts("a1 b1", "c1")
    assert refused(clusters) == {"little_support": 1}


def test_a_pair_that_is_not_scored_counts_as_unlike() -> None:
    assert groups(cluster_records(make_scored({("a1", "b1"): 0.9, ("b1", "c1"): 0.8}))) == parts("a1 b1", "c1")
    assert groups(cluster_records(make_scored({("a1", "b1"): 0.99, ("b1", "c1"): 0.99}), threshold=0.4)) == parts(
        "a1 b1 c1"
    )


def test_a_record_in_the_middle_does_not_join_two_nhs_numbers() -> None:
    scored = make_scored({("a1", "b1"): 0.9, ("b1", "c1"): 0.95, ("a1", "c1"): "nhs_number"})
    clusters = cluster_records(scored)
    assert groups(clusters) == parts("a1", "b1 c1")
    assert refused(clusters) == {"veto": 1}
    # On average a1 and the pair agree to .45: refused, but no conflict. At a threshold of .4 it is one.
    assert clusters.alarms.is_empty()
    alarmed = cluster_records(scored, threshold=0.4)
    assert groups(alarmed) == groups(clusters)
    assert alarmed.alarms.rows() == [("conflict", 0, 1), ("conflict", 1, 2)]


def test_each_reason_to_forbid_is_counted_under_its_name() -> None:
    for forbidden, reason in (
        ("nhs_number", "veto"),
        ("shared_person_number", "veto"),
        ("one_file", "same_partner"),
    ):
        scored = make_scored({("a1", "b1"): 0.9, ("b1", "c1"): 0.95, ("a1", "c1"): forbidden})
        assert refused(cluster_records(scored)) == {reason: 1}


def test_one_stray_link_does_not_join_two_full_clusters_and_one_that_does_is_a_bridge() -> None:
    first, second = ("a1", "b1", "c1"), ("a2", "b2", "c2")
    across = {(one, other): 0.0 for one in first for other in second}
    strong = all_pairs(*first, worth=0.95) | all_pairs(*second, worth=0.95)
    stray = cluster_records(make_scored(strong | across | {("a1", "a2"): 0.9}))
    assert groups(stray) == parts("a1 b1 c1", "a2 b2 c2")
    assert refused(stray) == {"little_support": 1}
    nearly = dict.fromkeys(across, 0.49) | {("a1", "a2"): 0.9}
    bridge = cluster_records(make_scored(strong | nearly))
    assert groups(bridge) == parts("a1 b1 c1 a2 b2 c2")
    assert bridge.alarms.rows() == [("bridge", 0, 6)]
    two_links = cluster_records(make_scored(strong | nearly | {("b1", "c2"): 0.9}))
    assert groups(two_links) == groups(bridge)
    assert two_links.alarms.is_empty()


def test_separated_records_do_not_meet_again() -> None:
    scored = make_scored(all_pairs("a1", "b1", "c1", worth=0.9))
    clusters = cluster_records(scored, apart=pairs_of(("c1", "a1")))
    assert groups(clusters) == parts("a1 b1", "c1")
    # Both links of c1 are refused: that with a1, and that with b1, which is one with a1.
    assert refused(clusters) == {"kept_apart": 2}
    assert clusters.alarms["alarm"].unique().to_list() == ["conflict"]


def test_a_large_cluster_gives_an_alarm() -> None:
    scored = make_scored(all_pairs("a1", "b1", "c1", "d1", "e1", worth=0.9))
    assert cluster_records(scored, ClusterPolicy(large_cluster=4)).alarms.rows() == [("large_cluster", 0, 5)]
    assert cluster_records(scored, ClusterPolicy(large_cluster=5)).alarms.is_empty()


def test_nothing_to_cluster_is_an_answer() -> None:
    clusters = cluster_records(make_scored({}))
    assert clusters.members.columns == ["partner_id", "person_ref", "cluster"]
    assert clusters.members.is_empty()
    alone = cluster_records(make_scored({}, "a1", "b1"), together=pairs_of(), apart=pairs_of())
    assert groups(alone) == parts("a1", "b1")


def test_clusters_name_no_record_when_they_are_printed() -> None:
    assert repr(cluster_records(make_scored({("a1", "b1"): 0.9}, "c1"))) == "Clusters(3 records, 2 clusters)"


# --- decisions ------------------------------------------------------------------------------------------------------


def test_records_that_people_decided_to_be_one_person_are_joined_before_any_link() -> None:
    scored = make_scored({("a1", "c1"): 0.9, ("b1", "c1"): "nhs_number"})
    assert groups(cluster_records(scored)) == parts("a1 c1", "b1")
    clusters = cluster_records(scored, together=pairs_of(("b1", "a1")))
    # The link of a1 and c1 is refused now: b1, who is one with a1, has another NHS number.
    assert groups(clusters) == parts("a1 b1", "c1")
    assert refused(clusters) == {"veto": 1}


def test_a_decision_against_a_veto_or_a_separation_is_an_alarm_and_joins_nobody() -> None:
    cases: tuple[tuple[Scored, pl.DataFrame | None], ...] = (
        (make_scored({("a1", "b1"): "nhs_number"}), None),
        (make_scored({("a1", "b1"): "one_file"}), None),
        (make_scored({("a1", "b1"): 0.9}), pairs_of(("b1", "a1"))),
        (make_scored({}, "a1", "b1"), pairs_of(("a1", "b1"))),
    )
    for scored, apart in cases:
        clusters = cluster_records(scored, apart=apart, together=pairs_of(("a1", "b1")))
        assert groups(clusters) == parts("a1", "b1")
        assert set(clusters.alarms["alarm"]) >= {"decision_conflict"}
        assert clusters.refused_links["decision_conflict"] == 1
        assert clusters.alarms.columns == ["alarm", "cluster", "records"]


def test_of_decisions_that_meet_a_veto_the_first_ones_hold() -> None:
    scored = make_scored({("a1", "c1"): "nhs_number"}, "b1")
    for order in ((("a1", "b1"), ("b1", "c1")), (("b1", "c1"), ("a1", "b1"))):
        clusters = cluster_records(scored, together=pairs_of(*order))
        assert frozenset(order[0]) in groups(clusters)
        assert refused(clusters) == {"decision_conflict": 1}


def test_a_decision_about_a_record_that_is_gone_changes_nothing() -> None:
    clusters = cluster_records(make_scored({("a1", "b1"): 0.9}), together=pairs_of(("a1", "c9")))
    assert groups(clusters) == parts("a1 b1")
    assert clusters.alarms.is_empty()


# --- what always holds ------------------------------------------------------------------------------------------------

NAMES = [f"{partner}{number}" for partner in "abc" for number in range(3)]
PAIRS = list(combinations(NAMES, 2))
WORTHS = st.one_of(
    st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]),  # so that there are ties
    st.floats(0, 1),
    st.sampled_from(["nhs_number", "one_file"]),
)
SCORES = st.dictionaries(st.sampled_from(PAIRS), WORTHS, max_size=len(PAIRS))
SOME_PAIRS = st.lists(st.sampled_from(PAIRS), max_size=3, unique=True)
LEAST = st.sampled_from([0.3, 0.45, 0.5, 0.7])


def plain_average_linkage(
    scores: dict[Pair, float | str], apart: Iterable[Pair], together: Iterable[Pair], least: float
) -> tuple[set[frozenset[str]], int]:
    """The rule word for word, without any shortcut; and how many decisions something forbade."""
    barred = {frozenset(pair) for pair, worth in scores.items() if isinstance(worth, str)} | set(map(frozenset, apart))
    worth_of = {frozenset(pair): worth for pair, worth in scores.items() if not isinstance(worth, str)}
    clusters = [frozenset([name]) for name in NAMES]

    def forbidden(one: frozenset[str], other: frozenset[str]) -> bool:
        return any(frozenset((a, b)) in barred for a in one for b in other)

    def mean(one: frozenset[str], other: frozenset[str]) -> float:
        return sum(worth_of.get(frozenset((a, b)), 0.0) for a in one for b in other) / (len(one) * len(other))

    conflicts = 0
    for a, b in together:
        one, other = (next(cluster for cluster in clusters if name in cluster) for name in (a, b))
        if one == other:
            continue
        if forbidden(one, other):
            conflicts += 1
            continue
        clusters = [cluster for cluster in clusters if cluster not in (one, other)] + [one | other]
    while True:
        options = [
            (-mean(one, other), *sorted((min(one), min(other))), one, other)
            for one, other in combinations(clusters, 2)
            if mean(one, other) >= least and not forbidden(one, other)
        ]
        if not options:
            return set(clusters), conflicts
        *_, one, other = min(options, key=lambda option: option[:3])
        clusters = [cluster for cluster in clusters if cluster not in (one, other)] + [one | other]


def in_sixty_fourths(scores: dict[Pair, float | str]) -> dict[Pair, float | str]:
    """They are added up exactly, so that equal means are equal in whatever order they were summed."""
    return {pair: worth if isinstance(worth, str) else round(worth * 64) / 64 for pair, worth in scores.items()}


@settings(max_examples=300, deadline=None)
@given(SCORES, SOME_PAIRS, SOME_PAIRS, LEAST)
def test_clusters_are_those_of_plain_average_linkage(
    scores: dict[Pair, float | str], apart: list[Pair], together: list[Pair], least: float
) -> None:
    exact = in_sixty_fourths(scores)
    scored = make_scored(exact, *NAMES)
    clusters = cluster_records(scored, threshold=least, apart=pairs_of(*apart), together=pairs_of(*together))
    expected, conflicts = plain_average_linkage(exact, apart, together, least)
    assert groups(clusters) == expected
    assert clusters.refused_links["decision_conflict"] == conflicts
    assert ("decision_conflict" in set(clusters.alarms["alarm"])) == (conflicts > 0)


@settings(max_examples=150, deadline=None)
@given(SCORES, SOME_PAIRS, SOME_PAIRS, LEAST, st.randoms(use_true_random=False))
def test_what_is_forbidden_never_meets_and_all_that_is_refused_is_counted(
    scores: dict[Pair, float | str], apart: list[Pair], together: list[Pair], least: float, random
) -> None:
    scored = make_scored(scores, *NAMES)
    clusters = cluster_records(scored, threshold=least, apart=pairs_of(*apart), together=pairs_of(*together))
    found = groups(clusters)
    assert sorted(name for group in found for name in group) == NAMES
    home = {name: group for group in found for name in group}
    for one, other in [*apart, *(pair for pair, worth in scores.items() if isinstance(worth, str))]:
        assert home[one] != home[other]
    if not clusters.refused_links["decision_conflict"]:
        assert all(home[one] == home[other] for one, other in together)
    parted = [
        p for p, worth in scores.items() if not isinstance(worth, str) and worth >= least and home[p[0]] != home[p[1]]
    ]
    assert sum(clusters.refused_links.values()) - clusters.refused_links["decision_conflict"] == len(parted)
    # A cluster without a decision is held together by links: none of its records is there by unlike ones alone.
    for group in found:
        decided = {name for pair in together for name in pair}
        for name in group - decided:
            assert len(group) == 1 or any(
                isinstance(worth, float) and worth >= least
                for pair, worth in scores.items()
                if name in pair and set(pair) <= group
            )
    rows = scored.pairs.to_dicts()
    random.shuffle(rows)
    shuffled = Scored(**(vars(scored) | {"pairs": pl.DataFrame(rows, schema=scored.pairs.schema)}))
    again = cluster_records(shuffled, threshold=least, apart=pairs_of(*apart), together=pairs_of(*together))
    assert clusters.members.equals(again.members)
    assert clusters.alarms.equals(again.alarms)
    assert clusters.refused_links == again.refused_links


@settings(max_examples=150, deadline=None)
@given(SCORES, SOME_PAIRS, SOME_PAIRS, LEAST, LEAST)
def test_a_stricter_threshold_only_takes_clusters_apart(
    scores: dict[Pair, float | str], apart: list[Pair], together: list[Pair], one: float, other: float
) -> None:
    """A merged cluster is never closer to a third than the closer of its two parts was, so clusters merge in one order,
    which a threshold cuts short. It holds with vetoes and decisions too: what was forbidden stays forbidden."""
    low, high = sorted((one, other))
    scored = make_scored(in_sixty_fourths(scores), *NAMES)
    lax, strict = (
        groups(cluster_records(scored, threshold=least, apart=pairs_of(*apart), together=pairs_of(*together)))
        for least in (low, high)
    )
    assert all(any(small <= large for large in lax) for small in strict)


# --- size -------------------------------------------------------------------------------------------------------------


def many(records: int, pairs: Iterable[tuple[int, int]], worth: Callable[[int, int], float]) -> Scored:
    return make_scored({(f"a{one:05}", f"a{other:05}"): worth(one, other) for one, other in pairs})


def test_a_group_as_large_as_is_compared_whole_takes_no_time_to_speak_of() -> None:
    draw = np.random.default_rng(2).beta(0.6, 0.5, (150, 150))
    scored = many(150, combinations(range(150), 2), lambda one, other: float(draw[one, other]))
    began = time.process_time()
    clusters = cluster_records(scored)
    assert time.process_time() - began < 5
    assert clusters.members.height == 150


def test_a_chain_of_thousands_that_was_not_compared_whole_ends_soon_and_in_small_clusters() -> None:
    scored = many(6_000, ((number, number + 1) for number in range(5_999)), lambda *_: 0.9)
    began = time.process_time()
    clusters = cluster_records(scored)
    assert time.process_time() - began < 10
    assert clusters.members.group_by("cluster").len()["len"].max() == 2
