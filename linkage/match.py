"""From shared tokens to linked pairs: which records agree on which match keys, and what that is worth.

Nothing here knows an identifier. A token is compared with tokens of the same key and with nothing else; two records
are *candidates* when they share at least one token, and everything that is said about a pair is said in names of keys.

Linkage is made of three parts that know one another by their frames only: a *scorer* gives weighted pairs
(:class:`Scorer`), :mod:`linkage.cluster` makes clusters of them, :mod:`linkage.registry` gives the clusters their
persons. :func:`link_records` is the first scorer: declared keys, declared weights. A probabilistic one (weights by
expectation maximisation over token agreement) gives the same :class:`Links` and needs no change downstream.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Protocol, Self

import polars as pl
from pydantic import Field, model_validator

from protocol.model import Frozen


class Kind(StrEnum):
    """What agreement on a key is worth; the weights are in :class:`LinkPolicy`."""

    DETERMINISTIC = "deterministic"
    STRONG = "strong"
    SUPPORTING = "supporting"


class KeyRule(Frozen):
    """What linkage has to know of one match key."""

    name: str
    kind: Kind
    fields: tuple[str, ...] = ()
    """Parts of a record that agree where the key does: for explanation, in the agreement's words."""
    unless_differs: tuple[str, ...] = ()
    """The key does not count for a pair that holds one of *these* keys on both sides and agrees on none of its
    tokens. (Twins agree on surname, day of birth and address; the key with the initial in it tells them apart.)"""


class LinkPolicy(Frozen):
    """How pairs are judged. Stored with every linkage run."""

    keys: tuple[KeyRule, ...]
    veto_keys: tuple[str, ...] = ("nhs_number", "shared_person_number")
    """Two records that both hold such a token and share none are two people, whatever else agrees."""
    doubt_keys: tuple[str, ...] = ("ni_number",)
    """Two records that both hold such a token and share none are not linked by supporting keys alone. (Numbers
    without a check digit are mistyped too often to forbid a link.)"""
    duplicate_free: tuple[str, ...] = ()
    """Partners that vouch that no person is twice in their file: two of their records are two people."""
    deterministic_weight: float = Field(40.0, gt=0)
    strong_weight: float = Field(10.0, gt=0)
    supporting_weight: float = Field(6.0, gt=0)
    accept_weight: float = Field(6.0, gt=0)
    """A pair is linked from this weight on; the weight is the sum over the agreeing keys that count."""
    largest_block: int = Field(60, ge=2)
    """A token that more records hold than this says nothing (a hostel's telephone, a placeholder that slipped
    through): it links none of them and forbids none of their links, and an alarm is given. Guards time and memory,
    which grow with the square."""

    @model_validator(mode="after")
    def _know_every_key(self) -> Self:
        names = [rule.name for rule in self.keys]
        if len(names) != len(set(names)):
            raise ValueError("a match key is declared twice")
        if len(names) > _MOST_KEYS:
            raise ValueError(f"at most {_MOST_KEYS} match keys fit into a pair's evidence")
        referred = {*self.veto_keys, *self.doubt_keys, *(name for rule in self.keys for name in rule.unless_differs)}
        if unknown := sorted(referred - set(names)):
            raise ValueError(f"not declared as match keys: {', '.join(unknown)}")
        return self

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names of all keys; a key's place is its bit in a pair's evidence."""
        return tuple(rule.name for rule in self.keys)


_MOST_KEYS = 62
"""Evidence is a signed 64-bit number, one bit a key."""

KEY_FRAME = {"partner_id": pl.String, "person_ref": pl.String, "key_name": pl.String, "token": pl.String}
RECORD_COLUMNS = ("partner_id", "person_ref")


@dataclass(frozen=True)
class Links:
    """What a scorer found.

    - ``records``: ``record`` (UInt32, its place), ``partner_id``, ``person_ref``, ``held`` (evidence bits of the keys
      that it holds, tokens of too large blocks left out), in the order of partner and reference. Only records that
      hold a key.
    - ``unlinkable``: ``partner_id``, ``person_ref`` of records without any key: too little is known of them, or they
      are not to be linked. They are counted apart and belong to no person.
    - ``pairs``: ``left`` < ``right`` (records), ``evidence`` (bits of the agreeing keys), ``counted`` (of those that
      count), ``weight``, ``accepted``, ``refused`` (null, ``veto``, ``same_partner`` or ``too_little``).
    - ``marks``: ``record``, ``mark`` (name of a veto key) and ``token``: what clusters must agree on, without
      tokens of too large blocks.
    - ``alarms``: ``alarm`` (``large_block``), ``key_name``, ``records``: tokens that were left out, without the token.
    - ``key_names``: the key of each evidence bit.
    - ``duplicate_free``: partners whose records are one person each.
    """

    records: pl.DataFrame
    unlinkable: pl.DataFrame
    pairs: pl.DataFrame
    marks: pl.DataFrame
    alarms: pl.DataFrame
    key_names: tuple[str, ...]
    duplicate_free: tuple[str, ...]

    def __repr__(self) -> str:
        accepted = int(self.pairs["accepted"].sum())
        return f"Links({self.records.height} records, {accepted} of {self.pairs.height} pairs accepted)"


class Scorer(Protocol):
    """Gives weighted pairs of records that share tokens.

    :func:`link_records` is one, bound to its policy. Another one has to fill ``pairs`` with a weight that grows with
    the belief that the two are one person and with ``accepted`` at its own threshold, and ``marks`` with whatever
    must not differ within a person.
    """

    def __call__(self, match_keys: pl.DataFrame, *, records: pl.DataFrame | None = None) -> Links:
        """Weighted pairs of a frame of match keys."""
        ...


def link_records(match_keys: pl.DataFrame, policy: LinkPolicy, *, records: pl.DataFrame | None = None) -> Links:
    """Weighted pairs from declared match keys.

    ``match_keys`` has the columns ``partner_id``, ``person_ref``, ``key_name``, ``token``; a key that the policy does
    not declare is passed over. ``records`` (``partner_id``, ``person_ref``) lists all records, so that those without
    any key are told as unlinkable. The answer does not depend on the order of rows.
    """
    held = _hold_keys(match_keys, policy)
    says_something = pl.len().over("key_name", "token") <= policy.largest_block
    alarms = (
        held.filter(~says_something)
        .group_by("key_name", "token")
        .agg(records=pl.len())
        .select(alarm=pl.lit("large_block"), key_name="key_name", records=pl.col("records").cast(pl.Int64))
        .sort("key_name", "records", descending=[False, True])
    )
    # A record that holds nothing but such tokens is a record still, linked to no other.
    everybody = held.select(RECORD_COLUMNS).unique()
    held = held.filter(says_something)
    bits = held.group_by(RECORD_COLUMNS).agg(held=pl.col("bit").bitwise_or())
    known = everybody.join(bits, on=RECORD_COLUMNS, how="left").with_columns(pl.col("held").fill_null(0))
    known = known.sort(RECORD_COLUMNS).with_row_index("record").select("record", *RECORD_COLUMNS, "held")
    held = held.join(known.select("record", *RECORD_COLUMNS), on=RECORD_COLUMNS).select(
        "record", "key_name", "bit", "token"
    )
    everyone = known if records is None else records
    unlinkable = everyone.select(RECORD_COLUMNS).unique().join(known, on=RECORD_COLUMNS, how="anti")
    return Links(
        records=known,
        unlinkable=unlinkable.sort(RECORD_COLUMNS),
        pairs=_judge(_pair_up(held), known, policy),
        marks=held.filter(pl.col("key_name").is_in(policy.veto_keys))
        .select("record", pl.col("key_name").alias("mark"), "token")
        .sort("record", "mark", "token"),
        alarms=alarms,
        key_names=policy.key_names,
        duplicate_free=policy.duplicate_free,
    )


def _bits(names: Iterable[str], policy: LinkPolicy) -> int:
    places = {name: place for place, name in enumerate(policy.key_names)}
    return reduce(or_, (1 << places[name] for name in names), 0)


def _hold_keys(match_keys: pl.DataFrame, policy: LinkPolicy) -> pl.DataFrame:
    """Distinct rows of declared keys with each key's evidence bit."""
    bits = pl.DataFrame(
        {"key_name": policy.key_names, "bit": [1 << place for place in range(len(policy.keys))]},
        schema={"key_name": pl.String, "bit": pl.Int64},
    )
    return match_keys.select(*KEY_FRAME).drop_nulls().unique().join(bits, on="key_name")


def _pair_up(held: pl.DataFrame) -> pl.DataFrame:
    """Candidate pairs with their evidence: records that share a token."""
    sizes = held.group_by("key_name", "token").agg(records=pl.len())
    blocks = sizes.filter(pl.col("records") > 1).select("key_name", "token").with_row_index("block")
    members = held.join(blocks, on=["key_name", "token"]).select("block", "record", "bit")
    return (
        members.join(members.select("block", right="record"), on="block")
        .filter(pl.col("record") < pl.col("right"))
        .group_by(left="record", right="right")
        .agg(evidence=pl.col("bit").bitwise_or())
    )


def _judge(candidates: pl.DataFrame, records: pl.DataFrame, policy: LinkPolicy) -> pl.DataFrame:
    """Weight and decision for each candidate pair."""
    sides = records.select("record", "partner_id", "held")
    pairs = candidates.join(sides, left_on="left", right_on="record").join(
        sides, left_on="right", right_on="record", suffix="_right"
    )
    # Keys that both hold and do not share.
    pairs = pairs.with_columns(differing=pl.col("held") & pl.col("held_right") & ~pl.col("evidence"))

    def differs(names: Iterable[str]) -> pl.Expr:
        return (pl.col("differing") & _bits(names, policy)) != 0

    doubtful = differs(policy.doubt_keys)
    weights = {
        Kind.DETERMINISTIC: policy.deterministic_weight,
        Kind.STRONG: policy.strong_weight,
        Kind.SUPPORTING: policy.supporting_weight,
    }
    counted, weight = pl.lit(0, dtype=pl.Int64), pl.lit(0.0)
    for place, rule in enumerate(policy.keys):
        counts = ((pl.col("evidence") & (1 << place)) != 0) & ~differs(rule.unless_differs)
        if rule.kind is Kind.SUPPORTING:
            counts &= ~doubtful
        counted = counted + pl.when(counts).then(pl.lit(1 << place, dtype=pl.Int64)).otherwise(0)
        weight = weight + pl.when(counts).then(weights[rule.kind]).otherwise(0.0)
    same_partner = (pl.col("partner_id") == pl.col("partner_id_right")) & pl.col("partner_id").is_in(
        policy.duplicate_free
    )
    return (
        pairs.with_columns(counted=counted, weight=weight)
        .with_columns(
            refused=pl.when(differs(policy.veto_keys))
            .then(pl.lit("veto"))
            .when(same_partner)
            .then(pl.lit("same_partner"))
            .when(pl.col("weight") < policy.accept_weight)
            .then(pl.lit("too_little"))
        )
        .select(
            "left", "right", "evidence", "counted", "weight", accepted=pl.col("refused").is_null(), refused="refused"
        )
        .sort("left", "right")
    )


def explain_pairs(links: Links, policy: LinkPolicy, pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs in words and without a value: both records, ``agreed_on`` (fields of the keys that count, as a list),
    weight and decision. ``pairs`` is ``links.pairs`` or a part of it."""
    names = links.records.select("record", *RECORD_COLUMNS)
    fields = sorted({field for rule in policy.keys for field in rule.fields})
    bits = {field: _bits((rule.name for rule in policy.keys if field in rule.fields), policy) for field in fields}
    agreed = pl.concat_list(
        pl.when((pl.col("counted") & bits[field]) != 0).then(pl.lit(field)) for field in fields
    ).list.drop_nulls()
    return (
        pairs.join(names, left_on="left", right_on="record")
        .join(names, left_on="right", right_on="record", suffix="_other")
        .select(
            "partner_id",
            "person_ref",
            other_partner_id="partner_id_other",
            other_person_ref="person_ref_other",
            agreed_on=agreed,
            weight="weight",
            accepted="accepted",
            refused="refused",
        )
        .sort("partner_id", "person_ref", "other_partner_id", "other_person_ref")
    )
