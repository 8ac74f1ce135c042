"""Pairs: what agreement is worth, what forbids a link, and what is said about it."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from linkage.cluster import cluster_records
from linkage.match import KEY_FRAME, KeyRule, Kind, LinkPolicy, Links, explain_pairs, link_records


def decisions(links: Links) -> dict[tuple[str, str], str]:
    names = links.records["person_ref"].to_list()
    return {
        (names[left], names[right]): refused or "linked"
        for left, right, refused in links.pairs.select("left", "right", "refused").iter_rows()
    }


def test_records_that_share_a_strong_key_are_linked(keys, policy: LinkPolicy) -> None:
    links = link_records(keys(a1={"names": "x"}, b1={"names": "x"}, b2={"names": "y"}), policy)
    assert decisions(links) == {("a1", "b1"): "linked"}


def test_equal_tokens_of_different_keys_do_not_meet(policy: LinkPolicy) -> None:
    rows = [("a", "a1", "names", "t"), ("b", "b1", "nhs_number", "t")]
    assert link_records(pl.DataFrame(rows, schema=KEY_FRAME, orient="row"), policy).pairs.height == 0


def test_two_different_nhs_numbers_forbid_a_link_whatever_else_agrees(keys, policy: LinkPolicy) -> None:
    links = link_records(
        keys(
            a1={"nhs_number": "1", "names": "x", "ni_number": "n"},
            b1={"nhs_number": "2", "names": "x", "ni_number": "n"},
            c1={"names": "x"},
        ),
        policy,
    )
    assert decisions(links) == {("a1", "b1"): "veto", ("a1", "c1"): "linked", ("b1", "c1"): "linked"}


def test_two_different_shared_numbers_forbid_a_link(keys, policy: LinkPolicy) -> None:
    records = keys(a1={"shared_person_number": "1", "names": "x"}, b1={"shared_person_number": "2", "names": "x"})
    assert decisions(link_records(records, policy)) == {("a1", "b1"): "veto"}


def test_two_records_of_a_partner_that_vouches_are_two_people(keys, policy: LinkPolicy) -> None:
    records = keys(a1={"names": "x"}, a2={"names": "x"}, b1={"names": "x"}, b2={"names": "x"})
    vouching = policy.model_copy(update={"duplicate_free": ("a",)})
    assert decisions(link_records(records, policy))["a1", "a2"] == "linked"
    found = decisions(link_records(records, vouching))
    assert found["a1", "a2"] == "same_partner"
    assert found["b1", "b2"] == "linked"


def test_a_supporting_key_does_not_count_where_its_counterpart_differs(keys, policy: LinkPolicy) -> None:
    twins = keys(a1={"address": "x", "initial": "m"}, b1={"address": "x", "initial": "p"}, c1={"address": "x"})
    assert decisions(link_records(twins, policy)) == {
        ("a1", "b1"): "too_little",
        ("a1", "c1"): "linked",
        ("b1", "c1"): "linked",
    }


def test_one_agreeing_token_of_several_is_no_difference(keys, policy: LinkPolicy) -> None:
    records = keys(a1={"address": "x", "initial": ["m", "p"]}, b1={"address": "x", "initial": ["p", "q"]})
    assert decisions(link_records(records, policy)) == {("a1", "b1"): "linked"}


def test_different_ni_numbers_silence_supporting_keys_and_no_others(keys, policy: LinkPolicy) -> None:
    records = keys(
        a1={"initial": "x", "ni_number": "1"},
        b1={"initial": "x", "ni_number": "2", "names": "y"},
        c1={"names": "y", "ni_number": "3"},
    )
    assert decisions(link_records(records, policy)) == {("a1", "b1"): "too_little", ("b1", "c1"): "linked"}


def test_weights_add_up_and_deterministic_counts_most(keys, policy: LinkPolicy) -> None:
    records = keys(
        a1={"shared_person_number": "1"},
        b1={"shared_person_number": "1", "names": "x", "initial": "i"},
        c1={"names": "x", "initial": "i"},
    )
    weights = link_records(records, policy).pairs["weight"].to_list()
    assert weights == [
        policy.deterministic_weight,
        policy.strong_weight + policy.supporting_weight,
    ]


def test_a_token_that_too_many_records_hold_says_nothing_and_gives_an_alarm(keys, policy: LinkPolicy) -> None:
    crowd = {f"a{number}": {"names": "hostel", "ni_number": str(number // 2)} for number in range(8)}
    links = link_records(keys(**crowd), policy)
    assert links.pairs.height == 4
    assert set(links.pairs["evidence"]) == {1 << policy.key_names.index("ni_number")}
    assert links.alarms.rows() == [("large_block", "names", 8)]


def test_a_number_that_too_many_records_hold_forbids_no_link(keys, policy: LinkPolicy) -> None:
    crowd = {f"c{number}": {"nhs_number": "placeholder"} for number in range(6)}
    pair = {"a1": {"nhs_number": "placeholder", "names": "x"}, "b1": {"nhs_number": "1", "names": "x"}}
    links = link_records(keys(**crowd, **pair), policy)
    assert decisions(links) == {("a1", "b1"): "linked"}
    assert links.marks.select("mark", "token").rows() == [("nhs_number", "nhs_number:1")]
    # Those that hold nothing else are records still, each a person of its own.
    assert links.records.height == 8
    assert cluster_records(links).members["cluster"].n_unique() == 7


def test_two_records_that_share_a_number_of_too_large_a_block_may_be_linked_by_others(keys, policy: LinkPolicy) -> None:
    crowd = {f"c{number}": {"nhs_number": "1"} for number in range(6)}
    pair = {"a1": {"nhs_number": "1", "names": "x"}, "b1": {"nhs_number": "1", "names": "x"}}
    assert decisions(link_records(keys(**crowd, **pair), policy)) == {("a1", "b1"): "linked"}


def test_records_without_any_key_are_unlinkable(keys, policy: LinkPolicy) -> None:
    records = pl.DataFrame({"partner_id": ["a", "a", "b"], "person_ref": ["a1", "a2", "b1"]})
    links = link_records(keys(a1={"names": "x"}, b1={"undeclared": "y"}), policy, records=records)
    assert links.records["person_ref"].to_list() == ["a1"]
    assert links.unlinkable.rows() == [("a", "a2"), ("b", "b1")]


def test_no_record_at_all_is_an_answer(policy: LinkPolicy) -> None:
    links = link_records(pl.DataFrame(schema=KEY_FRAME), policy)
    assert links.pairs.height == links.records.height == links.unlinkable.height == 0


def test_a_link_is_explained_in_fields_and_without_a_token(keys, policy: LinkPolicy) -> None:
    links = link_records(keys(a1={"names": "x", "initial": "i"}, b1={"names": "x", "initial": "i"}), policy)
    told = explain_pairs(links, policy, links.pairs)
    assert told["agreed_on"].to_list() == [["date_of_birth", "forename", "initial", "postcode", "surname"]]
    assert told.select("partner_id", "person_ref", "other_partner_id", "other_person_ref").rows() == [
        ("a", "a1", "b", "b1")
    ]
    assert "names:x" not in str(told.rows())
    assert "names:x" not in repr(links)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.integers(0, 5), st.sampled_from(["names", "nhs_number"]), st.integers(0, 3)
        ),
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)
def test_the_answer_does_not_depend_on_the_order_of_rows(rows, random) -> None:
    policy = LinkPolicy(
        keys=(KeyRule(name="names", kind=Kind.STRONG), KeyRule(name="nhs_number", kind=Kind.STRONG)),
        veto_keys=("nhs_number",),
        doubt_keys=(),
    )
    made = [(partner, f"{partner}{number}", key, str(token)) for partner, number, key, token in rows]
    shuffled = random.sample(made, len(made))
    first = link_records(pl.DataFrame(made, schema=KEY_FRAME, orient="row"), policy)
    second = link_records(pl.DataFrame(shuffled, schema=KEY_FRAME, orient="row"), policy)
    for name in ("records", "pairs", "marks", "alarms"):
        assert getattr(first, name).equals(getattr(second, name))


@pytest.mark.parametrize(
    "change",
    [
        {"keys": (KeyRule(name="x", kind=Kind.STRONG),) * 2, "veto_keys": (), "doubt_keys": ()},
        {"keys": (), "veto_keys": ("nhs_number",), "doubt_keys": ()},
        {"keys": (KeyRule(name="x", kind=Kind.STRONG, unless_differs=("y",)),), "veto_keys": (), "doubt_keys": ()},
        {
            "keys": tuple(KeyRule(name=f"k{number}", kind=Kind.STRONG) for number in range(63)),
            "veto_keys": (),
            "doubt_keys": (),
        },
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(change) -> None:
    with pytest.raises(ValidationError):
        LinkPolicy(**change)
