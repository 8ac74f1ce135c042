"""What is stored and then renewed equals what is made anew under the longer chain."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from protocol.errors import DefectFound, KeyUnavailable
from protocol.model import Contract
from protocol.pool import PUBLISHED_ID_PURPOSE, PseudonymDomain
from pseudonymise.keys import KeyRing
from pseudonymise.output import pseudonymise_tables
from pseudonymise.publish import publish_ids
from pseudonymise.rotation import make_renewer, renew_submission
from pseudonymise.tokens import derive_tokens, permute_bits, renew

NOW = datetime(2026, 7, 1, tzinfo=UTC)
INNER = "11" * 32
CHAIN = tuple(f"{number:02x}" * 32 for number in range(2, 8))

texts = st.lists(st.none() | st.text(max_size=12), max_size=20)


def longer(ring: KeyRing, *numbers: int) -> KeyRing:
    """The ring after one rotation for each number."""
    for number in numbers:
        ring = ring.with_new("K2", NOW, lambda size, fill=number: bytes([fill]) * size).with_next_outer().marked(NOW)
    return ring


def as_bytes(values: pl.Series) -> pl.Series:
    return values.str.decode("hex")


def as_numbers(values: pl.Series) -> pl.Series:
    return pl.Series(values.name, [None if value is None else int(value, 16) for value in values], dtype=pl.UInt64)


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(1, 5), st.integers(1, 5), st.sampled_from([64, 32, 16, 8]))
def test_stored_and_then_renewed_equals_made_under_the_whole_chain(
    values: list[str | None], first: int, total: int, digits: int
) -> None:
    first, total = min(first, total), max(first, total)
    clear = pl.Series("v", values, dtype=pl.String)
    stored = derive_tokens(clear, INNER, CHAIN[:first], digits)
    whole = derive_tokens(clear, INNER, CHAIN[:total], digits)
    assert renew(stored, CHAIN[first:total]).to_list() == whole.to_list()
    assert renew(as_bytes(stored), CHAIN[first:total]).to_list() == as_bytes(whole).to_list()
    if digits == 16:
        renewed = renew(as_numbers(stored), CHAIN[first:total])
        assert renewed.dtype == pl.UInt64
        assert renewed.to_list() == as_numbers(whole).to_list()


def test_renewing_in_one_step_or_in_several_is_the_same() -> None:
    stored = derive_tokens(pl.Series("v", ["a", None, "b"]), INNER, CHAIN[:1], 32)
    at_once = renew(stored, CHAIN[1:4])
    in_steps = renew(renew(stored, CHAIN[1:2]), CHAIN[2:4])
    assert at_once.to_list() == in_steps.to_list()
    assert at_once.name == "v"
    assert renew(stored, ()).to_list() == stored.to_list()


@pytest.mark.parametrize(
    "values",
    [
        pl.Series(["ab", "abcd"]),
        pl.Series(["Smith"]),
        pl.Series(["AB"]),
        pl.Series([1.5]),
        pl.Series(["abc"]),
        pl.Series(["ab" * 40]),
    ],
)
def test_what_is_no_column_of_tokens_is_not_renewed(values: pl.Series) -> None:
    with pytest.raises(DefectFound, match="no column of tokens"):
        renew(values, CHAIN[:1])


@pytest.mark.parametrize("added", [(7,), (7, 8)])
def test_a_renewed_submission_is_the_one_that_would_be_made_now(
    accepted: dict[str, pl.DataFrame], contract: Contract, key_ring: KeyRing, added: tuple[int, ...]
) -> None:
    after = longer(key_ring, *added)
    before = pseudonymise_tables(accepted, contract, "harbour_trust", key_ring)
    now = pseudonymise_tables(accepted, contract, "harbour_trust", after)
    tables, match_keys, encodings = renew_submission(
        before.tables, before.match_keys, before.encodings, contract, after, before.key_id
    )

    assert now.key_id == after.key_id != before.key_id
    for name, frame in now.tables.items():
        assert_frame_equal(tables[name], frame)
        assert not set(frame["row_key"]) & set(before.tables[name]["row_key"])
    order = ["person_ref", "key_name", "token"]
    assert_frame_equal(match_keys.sort(order), now.match_keys.sort(order))
    assert match_keys.height > 10
    assert_frame_equal(encodings, now.encodings)
    assert encodings["forename"].null_count() < encodings.height
    assert not encodings["forename"].equals(before.encodings["forename"])
    assert not encodings["forename_filter_date_low"].equals(before.encodings["forename_filter_date_low"])
    empty = {name: frame.clear() for name, frame in before.tables.items()}
    tables, match_keys, encodings = renew_submission(
        empty, before.match_keys.clear(), before.encodings.clear(), contract, after, before.key_id
    )
    assert encodings.schema == now.encodings.schema
    assert match_keys.columns == order
    assert tables["person"].schema == now.tables["person"].schema


def test_a_renewed_published_id_is_the_one_that_would_be_given_now(key_ring: KeyRing) -> None:
    persons = pl.Series(["0b5e8e0c-6f6e-4a0b-9a3c-111111111111", None])
    after = longer(key_ring, 7)
    renew_column = make_renewer(after, key_ring.key_id)
    stored = publish_ids(persons, "analysts", key_ring)
    renewed = renew_column(PseudonymDomain(PUBLISHED_ID_PURPOSE, "analysts"), stored)
    assert renewed.to_list() == publish_ids(persons, "analysts", after).to_list()


def test_nothing_is_renewed_that_other_keys_have_made(key_ring: KeyRing, other_key_ring: KeyRing) -> None:
    with pytest.raises(KeyUnavailable, match="Submit the data again"):
        make_renewer(longer(key_ring, 7), other_key_ring.key_id)
    with pytest.raises(KeyUnavailable, match="Submit the data again"):
        make_renewer(key_ring, longer(key_ring, 7).key_id)


def test_who_has_the_former_keys_does_not_come_to_what_is_stored(key_ring: KeyRing) -> None:
    """All keys of before, applied in any number and order, give another value than the one that is stored."""
    use = {"purpose": "match key", "field": "names_dob"}
    after = longer(key_ring, 7)
    clear = pl.Series(["5:jones,4:mary,10:1980-03-02,"])
    stored = derive_tokens(clear, after.inner_subkey(**use), after.outer_subkeys(**use))[0]
    (former,) = key_ring.outer_subkeys(**use)
    for chain in ((former,), (former, former), (former, former, former)):
        assert derive_tokens(clear, key_ring.inner_subkey(**use), chain)[0] != stored


@settings(max_examples=40, deadline=None)
@given(st.lists(st.none() | st.binary(min_size=16, max_size=16), max_size=10), st.integers(1, 3))
def test_filters_are_permuted_key_by_key_and_keep_their_bits(filters: list[bytes | None], first: int) -> None:
    stored = pl.Series("f", filters, dtype=pl.Binary)
    whole = permute_bits(stored, CHAIN[:4])
    assert permute_bits(permute_bits(stored, CHAIN[:first]), CHAIN[first:4]).to_list() == whole.to_list()
    for before, after in zip(filters, whole.to_list(), strict=True):
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert len(after) == 16
            assert int.from_bytes(after, "big").bit_count() == int.from_bytes(before, "big").bit_count()


def test_equal_bits_of_two_filters_stay_equal_and_move() -> None:
    single = [(1 << place).to_bytes(16, "big") for place in range(128)]
    moved = permute_bits(pl.Series(single), CHAIN[:1]).to_list()
    assert sorted(moved) == sorted(single)
    assert sum(before == after for before, after in zip(single, moved, strict=True)) < 10
    with pytest.raises(DefectFound):
        permute_bits(pl.Series([b"ab", b"abc"]), CHAIN[:1])
    with pytest.raises(DefectFound):
        permute_bits(pl.Series(["ab"]), CHAIN[:1])
