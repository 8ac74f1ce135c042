"""Scores: what is compared, what forbids a link, what makes one certain, and that groups are compared whole."""

from collections.abc import Mapping

import polars as pl
import pytest

from linkage.candidates import KEY_FRAME, CandidatePolicy
from linkage.classes import reference_model
from linkage.comparisons import token_schema
from linkage.scoring import Scored, ScorePolicy, score_records
from linkage.vectors import duckdb_engine
from tests.unit.linkage.conftest import MARGARET, encode, pairs_of

POLICY = ScorePolicy()
Person = Mapping[str, str | None]
SAME_NUMBER = {name: MARGARET[name] for name in ("phone", "nhs_number")}
PLAIN = {name: MARGARET[name] for name in ("forename", "surname", "date_of_birth", "postcode")}
OLIVIA = {"forename": "Olivia", "surname": "Ellwood", "date_of_birth": "1951-11-29", "postcode": "BS8 1TH"}


def score(
    people: Mapping[str, Person],
    policy: ScorePolicy = POLICY,
    *,
    key_names: tuple[str, ...] | None = None,
    together: pl.DataFrame | None = None,
) -> Scored:
    """Scores by the reference model; with ``key_names``, of the pairs alone that one of these match keys brings up."""
    found = encode(people)
    keys = found.match_keys
    keys = keys if key_names is None else keys.filter(pl.col("key_name").is_in(key_names))
    return score_records(
        keys,
        found.encodings,
        policy,
        duckdb_engine(),
        records=found.records,
        model=reference_model(),
        together=together,
    )


def told(scored: Scored) -> dict[tuple[str, str], tuple[float, str | None]]:
    names = scored.records["person_ref"].to_list()
    rows = scored.pairs.select("left", "right", "probability", "forbidden").iter_rows()
    return {(names[left], names[right]): (probability, forbidden) for left, right, probability, forbidden in rows}


def test_one_person_at_two_partners_scores_high_and_namesakes_low() -> None:
    found = told(score({"a1": PLAIN, "b1": PLAIN, "c1": OLIVIA | {"forename": "Margaret", "surname": "Thornbury"}}))
    assert found["a1", "b1"][0] > 0.95
    assert found.get(("a1", "c1"), (0.0, None))[0] < 0.1


def test_a_person_under_a_former_or_another_name_is_found_at_another_partner_and_in_the_same_file() -> None:
    unnamed = PLAIN | {"surname": None}
    people = {
        "a1": unnamed | {"surname": "Thornbury née Ellwood"},
        "a2": unnamed | {"surname": "Ellwood"},
        "b1": unnamed | {"surname": "Ellwood"},
        "b2": unnamed | {"surname": "Thornbury aka Okafor"},
    }
    found = told(score(people))
    for pair in (("a1", "a2"), ("a1", "b1"), ("a1", "b2")):
        assert found[pair][0] > 0.9, pair
        assert found[pair][1] is None


def test_two_nhs_numbers_or_two_shared_numbers_are_two_people_whatever_else_agrees() -> None:
    everything = {"nhs_number": None, "shared_person_number": None}
    base = MARGARET | everything
    people = {
        "a1": base | {"nhs_number": "9434765919", "shared_person_number": "S-1"},
        "b1": base | {"nhs_number": "9434765870"},
        "c1": base | {"shared_person_number": "S-2"},
        "d1": base,
    }
    found = told(score(people))
    assert found["a1", "b1"] == (0.0, "nhs_number")
    assert found["a1", "c1"] == (0.0, "shared_person_number")
    for other in ("a1", "b1", "c1"):
        assert found[other, "d1"][0] > 0.95
        assert found[other, "d1"][1] is None


def test_two_records_of_a_partner_that_vouches_for_its_file_are_two_people() -> None:
    people = {"a1": MARGARET, "a2": MARGARET, "b1": MARGARET, "b2": MARGARET}
    found = told(score(people, ScorePolicy(duplicate_free=("a",))))
    assert found["a1", "a2"] == (0.0, "one_file")
    assert found["b1", "b2"][0] > 0.95
    assert found["a1", "b1"][0] > 0.95


def test_a_shared_number_or_nhs_number_and_date_of_birth_make_a_link_certain() -> None:
    unlike = MARGARET | dict.fromkeys(("phone", "email", "ni_number"))
    other = unlike | {"forename": "Olga", "surname": "Ellwood", "postcode": "BS8 1TH"}
    both = {"nhs_number": MARGARET["nhs_number"], "shared_person_number": None}
    assert told(score({"a1": unlike | both, "b1": other | both}))["a1", "b1"][0] >= 0.999
    number = {"nhs_number": None}
    assert told(score({"a1": unlike | number, "b1": other | number}))["a1", "b1"][0] >= 0.999
    # A number does not outvote another.
    contradicted = {"nhs_number": "9434765870"}
    found = told(score({"a1": unlike, "b1": other | contradicted}))
    assert found["a1", "b1"] == (0.0, "nhs_number")


def crowd(number: int, **same: str) -> dict[str, Person]:
    """So many people of whom nothing agrees but what is given."""
    return {f"c{place:02}": {"forename": f"Kim{chr(97 + place)}", **same} for place in range(number)}


def test_a_number_that_a_crowd_holds_forbids_no_link_and_makes_none_certain() -> None:
    policy = ScorePolicy(candidates=CandidatePolicy(largest_block=5))
    base = MARGARET | dict.fromkeys(("shared_person_number", "ni_number", "email", "phone"))
    people = {"a1": base, "b1": base | {"nhs_number": "9434765870"}, **crowd(5, nhs_number=MARGARET["nhs_number"])}
    found = score(people, policy)
    assert found.alarms.rows() == [("large_block", "nhs_number", 6)]
    probability, forbidden = told(found)["a1", "b1"]
    assert forbidden is None
    assert probability > 0.9
    # Without the crowd, it does.
    assert told(score({"a1": people["a1"], "b1": people["b1"]}, policy))["a1", "b1"][1] == "nhs_number"
    shared = {"shared_person_number": "NOT YET"}
    stranger = OLIVIA | {"phone": "07700 900123"}
    people = {
        "a1": PLAIN | {"phone": "07700 900123"} | shared,
        "b1": stranger | shared,
        **crowd(5, **shared),
    }
    assert told(score(people, policy))["a1", "b1"][0] < 0.5


def test_a_telephone_that_a_crowd_holds_is_not_compared() -> None:
    policy = ScorePolicy(candidates=CandidatePolicy(largest_block=5))
    people = {"a1": PLAIN | {"phone": "07700 900123"}, "b1": PLAIN | {"phone": "07700 900456"}}
    for extra, code in (({}, 1), (crowd(5, phone="07700 900123"), 0)):
        found = score(people | extra, policy)
        assert found.pairs.filter((pl.col("left") == 0) & (pl.col("right") == 1))["phone"].to_list() == [code]


# --- groups are compared whole ----------------------------------------------------------------------------------------


def chain() -> dict[str, Person]:
    """a1 with b1 by the NHS number, b1 with c1 by the NI number; a1 and c1 share no such key."""
    return {
        "a1": MARGARET | {"ni_number": None},
        "b1": MARGARET,
        "c1": MARGARET | {"nhs_number": None},
        "d1": MARGARET,
    }


KEYS = ("nhs_number", "ni_number")


def test_a_pair_of_a_group_that_no_match_key_brought_up_is_compared_as_well() -> None:
    people = {name: person for name, person in chain().items() if name != "d1"}
    found = told(score(people, key_names=KEYS))
    assert set(found) == {("a1", "b1"), ("a1", "c1"), ("b1", "c1")}
    assert found["a1", "c1"][0] > 0.95


def test_that_no_match_key_brought_a_pair_up_halves_its_odds() -> None:
    half = {"a1": PLAIN | SAME_NUMBER, "b1": MARGARET, "c1": PLAIN | {"forename": "Marguerite", "postcode": None}}
    half["b1"] = {**half["a1"], "ni_number": MARGARET["ni_number"]}
    half["c1"] |= {"ni_number": MARGARET["ni_number"]}
    sought, unsought = (told(score(half, key_names=names))["a1", "c1"][0] for names in (None, KEYS))
    assert sought < 0.9999
    assert unsought / (1 - unsought) == pytest.approx(sought / (1 - sought) / 2)


def test_a_group_that_is_too_large_is_not_compared_whole() -> None:
    found = told(score(chain(), ScorePolicy(most_in_group=3), key_names=KEYS))
    assert ("a1", "c1") not in found
    assert ("a1", "c1") in told(score(chain(), ScorePolicy(most_in_group=4), key_names=KEYS))


def test_in_a_possible_group_that_is_too_large_those_that_links_hold_together_are_compared_whole() -> None:
    policy = ScorePolicy(most_in_group=3, lax=1e-9)
    people = chain()
    # A bare telephone in common makes a pair possible, for a limit as low as this, and no more.
    people["a1"] = {**people["a1"], "phone": "07700 900456"}
    people["d1"] = OLIVIA | {"phone": "07700 900456"}
    found = told(score(people, policy, key_names=(*KEYS, "phone")))
    assert 1e-9 < found["a1", "d1"][0] < 0.4
    assert ("c1", "d1") not in found
    assert found["a1", "c1"][0] > 0.95


def test_a_decided_pair_is_compared_though_nothing_brought_it_up() -> None:
    people = {"a1": MARGARET, "b1": OLIVIA | {"nhs_number": "9434765870"}}
    assert told(score(people)) == {}
    assert told(score(people, together=pairs_of(("b1", "a1"))))["a1", "b1"] == (0.0, "nhs_number")


# --- little or nothing to go by ---------------------------------------------------------------------------------------


def test_a_record_without_an_encoding_is_compared_with_nothing() -> None:
    found = encode({"a1": MARGARET, "b1": MARGARET, "c1": MARGARET})
    known = found.encodings.filter(pl.col("person_ref") != "c1")
    scored = score_records(found.match_keys, known, POLICY, duckdb_engine(), together=pairs_of(("a1", "c1")))
    assert scored.records.height == 3
    assert set(told(scored)) == {("a1", "b1")}


def test_records_without_any_encoding_and_no_records_at_all_are_answers() -> None:
    found = encode({"a1": MARGARET, "b1": MARGARET})
    nobody = pl.DataFrame(schema={"partner_id": pl.String, "person_ref": pl.String, **token_schema()})
    for keys in (found.match_keys, pl.DataFrame(schema=KEY_FRAME)):
        scored = score_records(keys, nobody, POLICY, duckdb_engine(), records=found.records)
        assert scored.pairs.is_empty()
        assert scored.threshold == 0.5
        assert scored.records.height + scored.unlinkable.height == 2


@pytest.mark.parametrize("people", [{}, {"a1": MARGARET}, {"a1": MARGARET, "b1": MARGARET}])
def test_none_one_or_two_records_are_scored_and_a_model_fitted(people: Mapping[str, Person]) -> None:
    found = encode(people)
    scored = score_records(found.match_keys, found.encodings, POLICY, duckdb_engine(), records=found.records)
    assert scored.records.height == len(people)
    assert scored.pairs.height == (len(people) == 2)
    assert sum(scored.model.shares) == pytest.approx(1)


def test_where_every_record_is_in_one_file_that_says_nothing() -> None:
    found = score({"a1": MARGARET, "a2": MARGARET, "a3": OLIVIA})
    assert found.pairs["one_file"].unique().to_list() == [0]
    two_files = score({"a1": MARGARET, "b1": MARGARET, "a2": OLIVIA})
    assert two_files.pairs["one_file"].to_list() == [1]


def test_scores_do_not_depend_on_the_order_of_rows_and_name_no_record() -> None:
    people = {f"{partner}{number}": person for partner in "abc" for number, person in enumerate([MARGARET, OLIVIA])}
    found = encode(people)
    shuffled = [frame.sample(fraction=1.0, shuffle=True, seed=4) for frame in (found.match_keys, found.encodings)]
    one = score_records(found.match_keys, found.encodings, POLICY, duckdb_engine())
    other = score_records(*shuffled, POLICY, duckdb_engine())
    assert one.pairs.equals(other.pairs)
    assert one.model == other.model
    assert repr(one) == f"Scored(6 records, 6 pairs, threshold {one.threshold:.2f})"
