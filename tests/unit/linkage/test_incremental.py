"""Linking what is new against what was there is the full linkage, with little of its work."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
import pytest

from linkage.candidates import CandidatePolicy
from linkage.classes import reference_model
from linkage.cluster import cluster_records
from linkage.comparisons import COMPARISONS, token_schema
from linkage.incremental import COMPARED, Comparer, digest_records
from linkage.scoring import Scored, ScorePolicy, score_records
from linkage.vectors import Engine, duckdb_engine
from tests.unit.linkage.conftest import MARGARET, encode, pairs_of

Person = Mapping[str, str | None]
People = Mapping[str, Person]

SMALL = ScorePolicy(
    candidates=CandidatePolicy(largest_block=4, pairs_per_record=0.5), duplicate_free=("c",), most_in_group=5
)
"""With limits so low that a made-up partnership meets them."""


class Counting:
    """An engine that remembers which pairs it was given."""

    def __init__(self) -> None:
        self.pairs = 0
        self._engine = duckdb_engine()

    def __call__(self, records: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
        self.pairs += pairs.height
        return self._engine(records, pairs)


def score(
    people: People,
    earlier: pl.DataFrame | None = None,
    policy: ScorePolicy = SMALL,
    engine: Engine | None = None,
    together: pl.DataFrame | None = None,
) -> Scored:
    found = encode(people)
    return score_records(
        found.match_keys,
        found.encodings,
        policy,
        engine or duckdb_engine(),
        records=found.records,
        model=reference_model(),
        together=together,
        earlier=earlier,
    )


def assert_same(one: Scored, other: Scored) -> None:
    for name in ("records", "unlinkable", "alarms", "pairs", "compared"):
        assert getattr(one, name).equals(getattr(other, name)), name
    assert one.threshold == other.threshold


# --- a partnership that grows, changes and shrinks --------------------------------------------------------------------

FORENAMES = ("Margaret", "Olivia", "Amir", "Chloe", "Tomasz", "Grace")
SURNAMES = ("Thornbury", "Ellwood", "Hussain", "Okafor", "Kowalski", "Price")


def make_up(draw: np.random.Generator) -> dict[str, str | None]:
    """Somebody. Names, days and places are few, so that blocks fill up."""
    return {
        "forename": str(draw.choice(FORENAMES)),
        "surname": str(draw.choice(SURNAMES)),
        "date_of_birth": f"{draw.integers(1960, 1966)}-0{draw.integers(1, 4)}-1{draw.integers(0, 4)}",
        "postcode": f"LU{draw.integers(1, 3)} {draw.integers(1, 4)}AB",
        "phone": f"07700 9001{draw.integers(10, 22)}" if draw.random() < 0.5 else None,
        "email": None,
        "shared_person_number": f"S-{draw.integers(0, 60)}" if draw.random() < 0.2 else None,
    }


def instalments(seed: int) -> Iterator[dict[str, Person]]:
    """A partnership as it stands after each of some submissions: records come, change, go, and come back."""
    draw = np.random.default_rng(seed)
    pool = [make_up(draw) for _ in range(60)]
    people: dict[str, Person] = {}
    for number in range(3):
        for place in range(30):
            somebody = dict(pool[draw.integers(len(pool))])
            if draw.random() < 0.3:
                somebody["surname"] = str(draw.choice(SURNAMES))
            people[f"{'abc'[draw.integers(3)]}{number}{place:02}"] = somebody
        names = sorted(people)
        for name in draw.choice(names, 5, replace=False):
            people[name] = {**people[name], "postcode": "LU3 1AB"}
        for name in draw.choice(names, 6, replace=False) if number else ():
            del people[name]
        yield dict(people)


def decided_among(people: People) -> pl.DataFrame:
    """Two pairs that people decided to be one person, the second with a record that goes later."""
    names = sorted(people)
    return pairs_of((names[0], names[-1]), (names[3], names[7]))


@pytest.mark.parametrize("seed", [1, 2])
def test_instalment_by_instalment_gives_what_scoring_everything_gives(seed: int) -> None:
    first, *later = instalments(seed)
    before = score(first, together=decided_among(first))
    alarms = [before.alarms.height]
    for people in later:
        together = decided_among(people)
        after, full = score(people, before.compared, together=together), score(people, together=together)
        assert_same(after, full)
        one, other = cluster_records(after, together=together), cluster_records(full, together=together)
        assert one.members.equals(other.members)
        assert one.alarms.equals(other.alarms)
        # More than half of the records are new or changed each time, and of the rest only new pairs are compared.
        assert 0 < after.compared_anew < full.compared_anew * 0.95
        alarms.append(full.alarms.height)
        before = after
    assert alarms[-1] > alarms[0], "no block has grown too large meanwhile"


def test_of_an_instalment_no_pair_is_compared_that_has_nothing_new() -> None:
    first, second, *_ = instalments(3)
    before = score(first)
    engine = Counting()
    after = score(second, before.compared, engine=engine)
    same = {name for name, person in first.items() if second.get(name) == person}
    names = after.records["person_ref"].to_list()
    before_names = before.records["person_ref"].to_list()
    old = list(after.pairs.select("left", "right").iter_rows())
    old = [(left, right) for left, right in old if {names[left], names[right]} <= same]
    known = {
        (before_names[left], before_names[right]) for left, right in before.pairs.select("left", "right").iter_rows()
    }
    again = [(left, right) for left, right in old if (names[left], names[right]) in known]
    assert len(again) > 20
    assert engine.pairs == after.compared_anew <= after.pairs.height - len(again)


def test_the_same_records_again_are_not_compared_at_all() -> None:
    (people, *_) = instalments(1)
    engine = Counting()
    before = score(people, engine=engine)
    assert engine.pairs == before.compared_anew == before.pairs.height > 30
    engine = Counting()
    after = score(people, before.compared, engine=engine)
    assert_same(after, before)
    assert engine.pairs == after.compared_anew == 0


# --- what depends on everybody ----------------------------------------------------------------------------------------

PLAIN = MARGARET | dict.fromkeys(("nhs_number", "shared_person_number", "ni_number", "email", "phone"))
POLICY = ScorePolicy(candidates=CandidatePolicy(largest_block=3))


def step(before: People, after: People, policy: ScorePolicy = POLICY) -> Scored:
    """The second scoring, which knows the first."""
    made = score(after, score(before, policy=policy).compared, policy)
    assert_same(made, score(after, policy=policy))
    return made


def strangers(number: int, **same: str) -> dict[str, Person]:
    """So many people of whom nothing agrees but what is given."""
    return {f"d{place}": {"forename": f"Kim{chr(97 + place)}", **same} for place in range(number)}


def names_of(scored: Scored) -> set[tuple[str, str]]:
    names = scored.records["person_ref"].to_list()
    return {(names[left], names[right]) for left, right in scored.pairs.select("left", "right").iter_rows()}


def test_a_block_that_has_grown_too_large_brings_nobody_up_any_more_and_one_that_shrinks_does_again() -> None:
    shared = {"phone": "07700 900123"}
    small, large = strangers(3, **shared), strangers(4, **shared)
    assert len(names_of(score(small, policy=POLICY))) == 3
    grown = step(small, large)
    assert names_of(grown) == set()
    assert grown.alarms["records"].to_list() == [4]
    assert len(names_of(step(large, small))) == 3


def test_a_number_that_a_crowd_has_come_to_hold_changes_the_records_that_were_there() -> None:
    numbered = {"a1": PLAIN | {"nhs_number": "9434765919"}, "b1": PLAIN | {"nhs_number": "9434765870"}}
    assert score(numbered, policy=POLICY).pairs["forbidden"].to_list() == ["nhs_number"]
    crowded = step(numbered, numbered | strangers(3, nhs_number="9434765919"))
    assert crowded.pairs.filter(pl.col("left") == 0)["forbidden"].to_list() == [None]


def test_a_partner_that_vouches_from_now_on_needs_no_comparison() -> None:
    people = {"a1": PLAIN, "a2": PLAIN, "b1": PLAIN}
    before = score(people, policy=ScorePolicy())
    vouched = ScorePolicy(duplicate_free=("a",))
    after = score(people, before.compared, vouched)
    assert_same(after, score(people, policy=vouched))
    assert after.compared_anew == 0
    assert after.pairs["forbidden"].to_list() == ["one_file", None, None]


def test_a_second_partner_makes_it_matter_whose_files_two_records_are_in() -> None:
    one_file = {"a1": PLAIN, "a2": PLAIN}
    assert score(one_file).pairs["one_file"].to_list() == [0]
    assert step(one_file, one_file | {"b1": PLAIN}).pairs["one_file"].to_list() == [2, 1, 1]


def test_a_group_that_a_new_link_makes_larger_is_compared_whole() -> None:
    chain = {"a1": MARGARET | {"ni_number": None}, "b1": MARGARET, "c1": MARGARET | {"nhs_number": None}}
    before = {name: chain[name] for name in ("a1", "c1")}
    assert names_of(step(before, chain, ScorePolicy())) == {("a1", "b1"), ("a1", "c1"), ("b1", "c1")}


# --- digests ----------------------------------------------------------------------------------------------------------


def test_every_column_of_tokens_has_a_part_in_the_digest_and_the_order_of_tokens_has_none() -> None:
    lists = [name for name, kind in token_schema().items() if isinstance(kind, pl.List)]
    nothing = dict.fromkeys(token_schema())
    rows = [nothing, *({**nothing, name: [7, 9] if name in lists else 7} for name in token_schema())]
    rows += [{**nothing, name: [9, 7]} for name in lists]
    frame = pl.DataFrame(rows, schema=token_schema()).with_row_index("record").with_columns(partner_id=pl.lit("a"))
    digests = digest_records(frame)["digest"]
    assert digests.n_unique() == 1 + len(token_schema())
    elsewhere = digest_records(frame.with_columns(partner_id=pl.lit("b")))["digest"]
    assert not set(digests) & set(elsewhere)


def test_what_was_compared_names_no_record_and_holds_no_token() -> None:
    people = {"a1": MARGARET, "b1": MARGARET, "c1": MARGARET | {"nhs_number": None}}
    found = encode(people)
    compared = score(people).compared
    assert compared.schema == COMPARED
    assert compared.columns == ["one", "other", *(comparison.name for comparison in COMPARISONS)]
    tokens = {token for name in token_schema() for token in found.encodings[name].explode().drop_nulls()}
    digests = {*compared["one"], *compared["other"]}
    assert not {digest.to_bytes(8, "little") for digest in digests} & {
        token.to_bytes(8, "little", signed=True) for token in tokens
    }


def test_nothing_to_compare_is_an_answer() -> None:
    nobody = pl.DataFrame(schema={"record": pl.UInt32, "partner_id": pl.String, **token_schema()})
    comparer = Comparer(nobody, duckdb_engine())
    assert comparer.compare(pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32})).is_empty()
    assert comparer.compared.schema == COMPARED
    assert comparer.anew == 0
