"""Decisions: the later holds, contradictions join nobody, and a record that is gone ends nothing that was decided."""

from collections.abc import Iterable

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from linkage.decisions import (
    PAIR_COLUMNS,
    Decided,
    Record,
    canonical,
    join_present,
    lift_splits,
    resolve_decisions,
)

SCHEMA = {"decision_id": pl.Int64, **dict.fromkeys(PAIR_COLUMNS, pl.String), "answer": pl.String, "after_run": pl.Int64}


def log(*entries: tuple[str, str, str], after_run: int = 0) -> pl.DataFrame:
    """A log of (record, record, answer), each record named by its partner's letter and its number."""
    rows = [
        (number, one[0], one, other[0], other, answer, after_run)
        for number, (one, other, answer) in enumerate(entries, start=1)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def named(pairs: pl.DataFrame) -> list[tuple[str, str]]:
    return list(pairs.select("person_ref", "other_person_ref").iter_rows())


def records(*names: str) -> pl.DataFrame:
    return pl.DataFrame([(name[0], name) for name in names], schema=["partner_id", "person_ref"], orient="row")


def groups(pairs: Iterable[tuple[str, ...]]) -> set[frozenset[Record]]:
    """Connected components, computed the slow way."""
    found: list[set[Record]] = []
    for row in pairs:
        both = {(row[0], row[1]), (row[2], row[3])}
        touching = [group for group in found if group & both]
        found = [group for group in found if not group & both] + [both.union(*touching)]
    return {frozenset(group) for group in found}


# --- one by one -----------------------------------------------------------------------------------------------------


def test_a_later_decision_on_a_pair_takes_the_place_of_the_earlier_one_in_either_order() -> None:
    decided = resolve_decisions(log(("a1", "b1", "same"), ("b1", "a1", "different")))
    assert (named(decided.together), named(decided.apart)) == ([], [("a1", "b1")])


def test_undecided_takes_an_answer_back() -> None:
    decided = resolve_decisions(log(("a1", "b1", "different"), ("a1", "b1", "undecided")))
    assert decided.together.is_empty()
    assert decided.apart.is_empty()
    assert decided.answered.is_empty()
    assert named(decided.taken_back) == [("a1", "b1")]


def test_of_decisions_that_contradict_each_other_the_difference_holds_and_the_later_of_the_others() -> None:
    entries = (("a1", "b1", "same"), ("a1", "c1", "different"), ("b1", "c1", "same"))
    decided = resolve_decisions(log(*entries))
    assert named(decided.together) == [("b1", "c1")]
    assert named(decided.contradicted) == [("a1", "b1")]
    assert named(decided.apart) == [("a1", "c1")]
    assert set(named(decided.answered)) == {("a1", "b1"), ("a1", "c1"), ("b1", "c1")}


def test_what_was_decided_goes_on_without_a_record_that_is_gone() -> None:
    decided = resolve_decisions(log(("a1", "b1", "same"), ("b1", "c1", "same")))
    assert named(join_present(decided.together, records("a1", "c1"))) == [("a1", "c1")]
    assert named(join_present(decided.together, records("a1"))) == []


def test_an_empty_log_decides_nothing() -> None:
    decided = resolve_decisions(log())
    assert decided.answered.is_empty()
    assert join_present(decided.together, records("a1")).is_empty()


# --- splits ---------------------------------------------------------------------------------------------------------

MEMBERSHIP = records("a1", "a2", "b1", "b2", "c1").with_columns(person_id=pl.Series(["P", "P", "Q", "Q", "R"]))


def splits(*entries: tuple[str, str, int]) -> pl.DataFrame:
    schema = {"person_id": pl.String, "other_person_id": pl.String, "run_seq": pl.Int64}
    return pl.DataFrame(list(entries), schema=schema, orient="row")


def lifted(decided: Decided, *entries: tuple[str, str, int]) -> list[tuple[str, ...]]:
    return [row[:2] for row in lift_splits(splits(*entries), decided, MEMBERSHIP).iter_rows()]


def test_a_decision_that_two_records_are_the_same_takes_back_that_their_persons_were_parted() -> None:
    decided = resolve_decisions(log(("a1", "b2", "same")))
    assert lifted(decided, ("P", "Q", 4), ("P", "R", 4)) == [("P", "R")]
    assert lifted(decided, ("Q", "P", 4)) == []


def test_taking_an_answer_back_takes_back_the_parting_before_it_and_none_after_it() -> None:
    decided = resolve_decisions(log(("a1", "b1", "different"), ("a1", "b1", "undecided"), after_run=5))
    assert lifted(decided, ("P", "Q", 5)) == []
    assert lifted(decided, ("P", "Q", 6)) == [("P", "Q")]


def test_without_a_decision_a_split_stands() -> None:
    assert lifted(resolve_decisions(log()), ("P", "Q", 1)) == [("P", "Q")]
    assert lifted(resolve_decisions(log(("a1", "b1", "different"))), ("P", "Q", 1)) == [("P", "Q")]


# --- any log --------------------------------------------------------------------------------------------------------

NAMES = [f"{partner}{number}" for partner in "abc" for number in range(3)]
ENTRY = st.tuples(
    st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(["same", "different", "undecided"])
).filter(lambda entry: entry[0] != entry[1])
LOGS = st.lists(ENTRY, max_size=25).map(lambda entries: log(*entries))


@given(LOGS)
@settings(max_examples=300, deadline=None)
def test_no_pair_that_is_decided_to_be_different_is_joined_even_over_others(entries: pl.DataFrame) -> None:
    decided = resolve_decisions(entries)
    for group in groups(decided.together.iter_rows()):
        for row in decided.apart.iter_rows():
            assert not {(row[0], row[1]), (row[2], row[3])} <= group


@given(LOGS)
@settings(max_examples=300, deadline=None)
def test_every_decision_in_force_is_obeyed_or_told_as_contradicted(entries: pl.DataFrame) -> None:
    decided = resolve_decisions(entries)
    latest = {frozenset([row[1:3], row[3:5]]): row[5] for row in entries.sort("decision_id").iter_rows()}
    told = {
        "same": {*decided.together.iter_rows(), *decided.contradicted.iter_rows()},
        "different": set(decided.apart.iter_rows()),
        "undecided": set(decided.taken_back.select(PAIR_COLUMNS).iter_rows()),
    }
    for answer, rows in told.items():
        wanted = {pair for pair, last in latest.items() if last == answer}
        assert {frozenset([row[:2], row[2:]]) for row in rows} == wanted
    # What is told as contradicted would indeed join two records that are to stay apart.
    for row in decided.contradicted.iter_rows():
        joined = groups([*decided.together.iter_rows(), row])
        assert any({(a[0], a[1]), (a[2], a[3])} <= group for group in joined for a in decided.apart.iter_rows())


@given(LOGS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_neither_the_order_of_rows_nor_of_records_in_a_pair_matters(entries: pl.DataFrame, random: object) -> None:
    rows = list(entries.iter_rows())
    random.shuffle(rows)  # type: ignore[attr-defined]
    turned = [(row[0], *row[3:5], *row[1:3], *row[5:]) if row[0] % 2 else row for row in rows]
    first = resolve_decisions(entries)
    second = resolve_decisions(pl.DataFrame(turned, schema=SCHEMA, orient="row"))
    for name in ("together", "apart", "contradicted", "answered", "taken_back"):
        assert getattr(first, name).equals(getattr(second, name))


@given(LOGS, st.sets(st.sampled_from(NAMES)))
@settings(max_examples=200, deadline=None)
def test_present_records_are_joined_as_they_would_be_with_all_records(entries: pl.DataFrame, there: set[str]) -> None:
    together = resolve_decisions(entries).together
    pairs = join_present(together, records(*sorted(there)) if there else records("z9"))
    assert pairs.equals(canonical(pairs))
    whole = {frozenset(r for r in group if r[1] in there) for group in groups(together.iter_rows())}
    assert groups(pairs.iter_rows()) == {group for group in whole if len(group) > 1}
