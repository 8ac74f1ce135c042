"""Pairs in words: what they agree and differ on, which are in doubt, and the chain that holds records together."""

from collections.abc import Mapping

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkage.classes import reference_model
from linkage.comparisons import COMPARISONS
from linkage.review import describe_pairs, find_chain, find_in_doubt, find_ties, name_pairs
from linkage.scoring import ScorePolicy, score_records
from linkage.vectors import duckdb_engine
from tests.unit.linkage.conftest import MARGARET, encode, make_scored, pairs_of

FULL = {comparison.name: len(comparison.levels) for comparison in COMPARISONS}


def describe(pairs: Mapping[tuple[str, str], float | str], threshold: float = 0.5, **codes: int) -> pl.DataFrame:
    """Pairs in words, all with the same codes."""
    columns = {name: pl.lit(codes.get(name, 0), dtype=pl.UInt8) for name in FULL}
    scored = make_scored(pairs, **columns)
    return describe_pairs(name_pairs(scored, scored.pairs), threshold)


def test_a_pair_is_told_in_plain_words_and_without_a_value_or_a_token() -> None:
    changed = {"surname": "Thornberry", "postcode": None, "phone": "07700 900456", "date_of_birth": "1984-03-18"}
    found = encode({"b1": MARGARET | changed, "a1": MARGARET})
    scored = score_records(found.match_keys, found.encodings, ScorePolicy(), duckdb_engine(), model=reference_model())
    named = name_pairs(scored, scored.pairs)
    (row,) = describe_pairs(named, scored.threshold).iter_rows(named=True)
    assert (row["partner_id"], row["person_ref"], row["other_partner_id"], row["other_person_ref"]) == (
        *("a", "a1"),
        *("b", "b1"),
    )
    assert row["agreed_on"] == [
        "forename",
        "date of birth but for one digit",
        "e-mail",
        "NHS number",
        "NI number",
        "shared number",
    ]
    # Over a number in common a surname is compared to within one letter, and no further.
    assert row["differs_on"] == ["surname", "telephone"]
    assert (row["accepted"], row["refused"]) == (True, None)
    columns = (found.encodings[name] for name in FULL if name in found.encodings.columns)
    tokens = {str(token) for column in columns for token in column.explode().drop_nulls()}
    assert tokens
    told = f"{named.rows()} {row}"
    assert not [token for token in tokens if token in told]
    assert not [value for value in (MARGARET | changed).values() if value and value in told]


def test_a_pair_is_accepted_or_refused_for_one_reason() -> None:
    told = describe(
        {
            ("a1", "b1"): 0.6,
            ("a1", "b2"): 0.59,
            ("a1", "b3"): "nhs_number",
            ("a1", "b4"): "shared_person_number",
            ("a1", "b5"): "one_file",
        },
        threshold=0.6,
    )
    assert told.select("other_person_ref", "accepted", "refused").rows() == [
        ("b1", True, None),
        ("b2", False, "too_little"),
        ("b3", False, "veto"),
        ("b4", False, "veto"),
        ("b5", False, "same_partner"),
    ]


@pytest.mark.parametrize("comparison", [c for c in COMPARISONS if c.name != "one_file"], ids=lambda c: c.name)
def test_full_agreement_is_agreed_on_the_lowest_level_differs_and_unknown_is_neither(comparison) -> None:
    pair = {("a1", "b1"): 0.9}
    for code, expected in (
        (len(comparison.levels), ([comparison.levels[0].words], [])),
        (1, ([], [comparison.levels[-1].words])),
        (0, ([], [])),
    ):
        (row,) = describe(pair, **{comparison.name: code}).iter_rows(named=True)
        assert (row["agreed_on"], row["differs_on"]) == expected


def test_pairs_of_the_review_band_are_in_doubt_unless_something_forbids_them() -> None:
    told = describe(
        {
            ("a1", "b1"): 0.4999,
            ("a1", "b2"): 0.5,
            ("a1", "b3"): 0.9499,
            ("a1", "b4"): 0.95,
            ("a1", "b5"): "nhs_number",
            ("a1", "b6"): "one_file",
        },
        threshold=0.7,
    )
    doubt = find_in_doubt(told)
    assert doubt["other_person_ref"].to_list() == ["b2", "b3"]
    assert doubt.columns == [
        "partner_id",
        "person_ref",
        "other_partner_id",
        "other_person_ref",
        "probability",
        "agreed_on",
        "differs_on",
    ]


def test_no_pair_is_described_as_no_pair() -> None:
    told = describe({})
    assert told.is_empty()
    assert find_in_doubt(told).is_empty()
    assert find_ties(told, pairs_of(), []) == ()


# --- why records are one person ---------------------------------------------------------------------------------------


def test_the_chain_between_two_records_leads_over_the_likeliest_links() -> None:
    told = describe({("a1", "b1"): 0.9, ("b1", "c1"): 0.8, ("a1", "c1"): 0.7}, phone=FULL["phone"])
    records = [("a", "a1"), ("b", "b1"), ("c", "c1"), ("d", "d1")]
    ties = find_ties(told, pairs_of(), records)
    assert [(tie.one[1], tie.other[1], tie.agreed_on) for tie in ties] == [
        ("a1", "b1", ("telephone",)),
        ("b1", "c1", ("telephone",)),
    ]
    chain = find_chain(ties, ("a", "a1"), ("c", "c1"))
    assert chain is not None
    assert [tie.other[1] for tie in chain] == ["b1", "c1"]
    assert find_chain(ties, ("a", "a1"), ("d", "d1")) is None
    assert find_chain(ties, ("a", "a1"), ("a", "a1")) == ()


def test_what_people_decided_holds_before_any_link() -> None:
    told = describe({("a1", "b1"): 0.9})
    (tie,) = find_ties(told, pairs_of(("a1", "b1")), [("a", "a1"), ("b", "b1")])
    assert tie.probability is None


def test_links_that_were_refused_and_records_that_were_not_asked_for_hold_nothing() -> None:
    told = describe({("a1", "b1"): 0.4, ("b1", "c1"): "nhs_number", ("b1", "d1"): 0.9})
    assert find_ties(told, pairs_of(("a1", "gone")), [("a", "a1"), ("b", "b1"), ("c", "c1")]) == ()


def test_a_tie_names_no_more_than_the_two_records_when_it_is_printed() -> None:
    (tie,) = find_ties(describe({("a1", "b1"): 0.9}), pairs_of(), [("a", "a1"), ("b", "b1")])
    assert repr(tie) == "Tie(a, b)"


NAMES = [f"a{number}" for number in range(6)]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] < pair[1]),
        st.floats(0.5, 1),
        max_size=12,
    )
)
def test_the_weakest_tie_of_a_chain_is_as_strong_as_that_of_any_other_chain(
    scores: dict[tuple[str, str], float],
) -> None:
    ties = find_ties(describe(scores), pairs_of(), [("a", name) for name in NAMES])
    # The widest path between all records, by Floyd and Warshall's method.
    widest = {(one, other): scores.get((min(one, other), max(one, other)), 0.0) for one in NAMES for other in NAMES}
    for middle in NAMES:
        for one in NAMES:
            for other in NAMES:
                way = min(widest[one, middle], widest[middle, other])
                widest[one, other] = max(widest[one, other], way)
    for one in NAMES:
        for other in NAMES:
            if one == other:
                continue
            chain = find_chain(ties, ("a", one), ("a", other))
            weakest = 0.0 if chain is None else min(tie.probability or 0.0 for tie in chain)
            assert weakest == widest[one, other]
