"""Pairs in words: what they agree and differ on, which are in doubt, and the chain that holds records together."""

import polars as pl
from linkage.match import LinkPolicy, link_records

from linkage.review import describe_pairs, find_chain, find_in_doubt, find_ties

NOTHING = pl.DataFrame(
    schema=dict.fromkeys(("partner_id", "person_ref", "other_partner_id", "other_person_ref"), pl.String)
)


def test_a_pair_is_told_in_plain_words_and_without_a_token(keys, policy: LinkPolicy) -> None:
    found = keys(b1={"names": "x-token", "ni_number": "n-token"}, a1={"names": "x-token", "ni_number": "other-token"})
    (row,) = describe_pairs(link_records(found, policy), policy).iter_rows(named=True)
    assert (row["person_ref"], row["other_person_ref"]) == ("a1", "b1")
    assert row["agreed_on"] == ["date of birth", "forename", "surname"]
    assert row["differs_on"] == ["National Insurance number"]
    assert "token" not in str(row)


def test_a_link_by_one_key_is_in_doubt_and_one_by_two_or_by_none_is_not(keys, policy: LinkPolicy) -> None:
    found = keys(
        a1={"initial": "i"},
        b1={"initial": "i"},
        a2={"initial": "j", "names": "x"},
        b2={"initial": "j", "names": "x"},
        a3={"nhs_number": "1", "names": "z"},
        b3={"nhs_number": "2", "names": "z"},
    )
    links = link_records(found, policy)
    assert describe_pairs(links, policy).height == 3
    doubt = find_in_doubt(links, policy)
    assert doubt["person_ref"].to_list() == ["a1"]
    assert doubt.columns == [
        "partner_id",
        "person_ref",
        "other_partner_id",
        "other_person_ref",
        "probability",
        "agreed_on",
        "differs_on",
    ]


def test_the_chain_between_two_records_leads_over_the_likeliest_links(keys, policy: LinkPolicy) -> None:
    found = keys(
        a1={"names": "x", "initial": "i"},
        b1={"names": "x", "initial": "i", "ni_number": "n"},
        c1={"ni_number": "n", "initial": "i"},
    )
    described = describe_pairs(link_records(found, policy), policy)
    records = [("a", "a1"), ("b", "b1"), ("c", "c1"), ("d", "d1")]
    ties = find_ties(described, NOTHING, records)
    assert [(tie.one[1], tie.other[1]) for tie in ties] == [("a1", "b1"), ("b1", "c1")]
    chain = find_chain(ties, ("a", "a1"), ("c", "c1"))
    assert chain is not None
    assert [tie.other[1] for tie in chain] == ["b1", "c1"]
    assert find_chain(ties, ("a", "a1"), ("d", "d1")) is None


def test_what_people_decided_holds_before_any_link(keys, policy: LinkPolicy) -> None:
    described = describe_pairs(link_records(keys(a1={"names": "x"}, b1={"names": "x"}), policy), policy)
    decided = pl.DataFrame([("a", "a1", "b", "b1")], schema=NOTHING.schema, orient="row")
    (tie,) = find_ties(described, decided, [("a", "a1"), ("b", "b1")])
    assert tie.probability is None
