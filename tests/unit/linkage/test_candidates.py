"""Candidates: records that share a key are looked at, at a bounded cost, and whatever the order of rows."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from linkage.candidates import KEY_FRAME, CandidatePolicy, Candidates, find_candidates, place_pairs
from tests.unit.linkage.conftest import Keys, pairs_of

POLICY = CandidatePolicy(largest_block=5)


def pairs(found: Candidates) -> list[tuple[str, str]]:
    names = found.records["person_ref"].to_list()
    return [(names[left], names[right]) for left, right in found.pairs.iter_rows()]


def test_records_that_share_a_token_of_one_key_are_a_pair_once(keys: Keys) -> None:
    found = find_candidates(keys(b1={"names": "x", "phone": "p"}, a1={"names": ["x", "y"], "phone": "p"}), POLICY)
    assert pairs(found) == [("a1", "b1")]


def test_equal_tokens_of_different_keys_do_not_meet() -> None:
    rows = [("a", "a1", "names", "t"), ("b", "b1", "nhs_number", "t")]
    assert find_candidates(pl.DataFrame(rows, schema=KEY_FRAME, orient="row"), POLICY).pairs.is_empty()


def test_records_of_one_reference_at_two_partners_are_two_records() -> None:
    rows = [("a", "1", "names", "t"), ("b", "1", "names", "t")]
    assert find_candidates(pl.DataFrame(rows, schema=KEY_FRAME, orient="row"), POLICY).pairs.height == 1


def test_a_token_that_too_many_records_hold_brings_nobody_up_and_gives_an_alarm(keys: Keys) -> None:
    crowd = {f"a{number}": {"phone": "hostel", "ni_number": str(number // 2)} for number in range(8)}
    found = find_candidates(keys(**crowd), POLICY)
    assert pairs(found) == [("a0", "a1"), ("a2", "a3"), ("a4", "a5"), ("a6", "a7")]
    assert found.alarms.rows() == [("large_block", "phone", 8)]
    largest = find_candidates(keys(**dict(list(crowd.items())[:5])), POLICY)
    assert largest.pairs.height == 10
    assert largest.alarms.is_empty()


def test_of_a_key_that_gives_too_many_pairs_the_largest_blocks_are_left_out_and_other_keys_are_not(keys: Keys) -> None:
    records = {
        f"a{number:04}": {"names": str(number // 2), "place": f"{size}/{number // size}"}
        for number in range(2000)
        for size in [10 if number < 1000 else 20]
    }
    bounded = find_candidates(keys(**records), CandidatePolicy(pairs_per_record=3.0))
    # Of place, blocks of 10 give 4,500 pairs; those of 20 would give 9,500 more than the 6,000 that are paid for.
    assert bounded.pairs.height == 4_500 + 500
    assert bounded.alarms.rows() == [("key_cut_short", "place", 1_000)]
    free = find_candidates(keys(**records), CandidatePolicy(pairs_per_record=100.0))
    assert free.pairs.height == 4_500 + 9_500
    assert free.alarms.is_empty()
    none = find_candidates(keys(**records), CandidatePolicy(pairs_per_record=0.1))
    assert none.pairs.height == 1_000  # a thousand pairs of a key are always paid for: here those of names


def test_a_small_partnership_is_never_cut_short(keys: Keys) -> None:
    found = find_candidates(keys(**{f"a{n}": {"names": "x"} for n in range(40)}), CandidatePolicy(pairs_per_record=0.1))
    assert found.pairs.height == 780


def test_records_without_any_key_are_unlinkable(keys: Keys) -> None:
    records = pl.DataFrame({"partner_id": ["b", "a", "a"], "person_ref": ["b1", "a2", "a1"]})
    found = find_candidates(keys(a1={"names": "x"}), POLICY, records=records)
    assert found.records.rows() == [(0, "a", "a1")]
    assert found.unlinkable.rows() == [("a", "a2"), ("b", "b1")]


def test_no_record_at_all_is_an_answer() -> None:
    found = find_candidates(pl.DataFrame(schema=KEY_FRAME), POLICY)
    assert found.pairs.height == found.records.height == found.unlinkable.height == found.alarms.height == 0


def test_candidates_name_no_record_when_they_are_printed(keys: Keys) -> None:
    found = find_candidates(keys(a1={"names": "secret-token"}, b1={"names": "secret-token"}), POLICY)
    assert repr(found) == "Candidates(2 records, 1 pairs)"


def test_pairs_are_placed_in_their_order_the_lower_record_first_and_each_once(keys: Keys) -> None:
    records = find_candidates(keys(a1={"n": "1"}, b1={"n": "2"}, c1={"n": "3"}), POLICY).records
    placed = place_pairs(records, pairs_of(("c1", "a1"), ("b1", "gone"), ("a1", "b1"), ("a1", "c1")))
    assert placed.select("left", "right", "rank").rows() == [(0, 2, 0), (0, 1, 1)]
    assert place_pairs(records, None).is_empty()


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.sampled_from(["names", "phone"]), st.integers(0, 4)),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_pairs_are_those_that_share_a_token_whatever_the_order_of_rows(rows, random) -> None:
    made = [(partner, f"{partner}{number}", key, str(token)) for partner, number, key, token in rows]
    found = find_candidates(pl.DataFrame(made, schema=KEY_FRAME, orient="row"), POLICY)
    random.shuffle(made)
    again = find_candidates(pl.DataFrame(made, schema=KEY_FRAME, orient="row"), POLICY)
    for one, other in zip(vars(found).values(), vars(again).values(), strict=True):
        assert one.equals(other)
    blocks: dict[tuple[str, str], set[str]] = {}
    for _, ref, key, token in made:
        blocks.setdefault((key, token), set()).add(ref)
    expected = {(one, other) for block in blocks.values() if len(block) <= 5 for one in block for other in block}
    assert set(pairs(found)) == {(one, other) for one, other in expected if one < other}
    assert found.pairs.rows() == sorted(found.pairs.rows())
    assert (
        found.alarms["records"].to_list()
        == sorted((len(block) for block in blocks.values() if len(block) > 5), reverse=True)
        or found.alarms["key_name"].n_unique() == 2
    )
