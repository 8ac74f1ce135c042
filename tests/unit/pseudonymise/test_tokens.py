"""Tokens are HMACs of HMACs, and what is missing is never hashed."""

import hashlib
import hmac

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import DefectFound
from pseudonymise.tokens import compose, derive_inner, derive_outer, derive_tokens, frame_text

INNER, OUTER = "11" * 32, "22" * 32


def by_hand(text: str) -> str:
    inner = hmac.new(INNER.encode(), text.encode(), hashlib.sha256).hexdigest()
    return hmac.new(OUTER.encode(), inner.encode(), hashlib.sha256).hexdigest()


@settings(max_examples=80, deadline=None)
@given(st.lists(st.none() | st.text(max_size=12), max_size=30), st.integers(1, 4))
def test_tokens_are_those_of_the_standard_library_and_null_is_never_hashed(
    values: list[str | None], repeats: int
) -> None:
    values = values * repeats
    tokens = derive_tokens(pl.Series("v", values, dtype=pl.String), INNER, (OUTER,))
    assert tokens.to_list() == [None if value is None else by_hand(value) for value in values]
    assert tokens.name == "v"


def test_pseudonymised_at_source_and_at_the_hub_are_equal() -> None:
    values = pl.Series(["a", "b", None])
    at_source = derive_inner(values, INNER)
    assert derive_outer(at_source, (OUTER,)).to_list() == derive_tokens(values, INNER, (OUTER,)).to_list()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=6), min_size=2, max_size=2), st.lists(st.text(max_size=6), min_size=2, max_size=2))
def test_two_lists_of_values_never_make_one_message(left: list[str], right: list[str]) -> None:
    frame = pl.DataFrame([left, right], schema=["a", "b"], orient="row")
    messages = frame.select(m=compose([frame_text(pl.col("a")), frame_text(pl.col("b"))]))["m"]
    assert (messages[0] == messages[1]) == (left == right)


def test_a_missing_part_leaves_no_message() -> None:
    frame = pl.DataFrame({"a": ["x", None], "b": [None, "y"]}, schema={"a": pl.String, "b": pl.String})
    assert frame.select(m=compose([frame_text(pl.col("a")), frame_text(pl.col("b"))]))["m"].to_list() == [None, None]


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(DefectFound, match="not text"):
        derive_tokens(pl.Series([1, 2]), INNER, (OUTER,))
    with pytest.raises(DefectFound, match="not text"):
        derive_inner(pl.Series([1, 2]), INNER)
