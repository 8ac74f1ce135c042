"""The probability that two records are one person, for every pair that may matter.

Candidates are compared (:mod:`linkage.vectors`), a model without labels says what their levels are worth
(:mod:`linkage.classes`), and in each group of records that links hold together the pairs that no match key brought up
are compared as well: clustering asks how all of a group fit together, and a pair that nobody looked at is not a
disagreement.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import Field

from linkage.candidates import RECORD_COLUMNS, CandidatePolicy, Candidates, find_candidates, place_pairs
from linkage.classes import ClassModel, Coincidences, choose_threshold, count_patterns, fit_classes
from linkage.comparisons import COMPARISONS, NUMBERS, RECORD, UNKNOWN, token_schema
from linkage.groups import group_records
from linkage.incremental import Comparer
from linkage.vectors import CODES, Engine
from protocol.model import Frozen

CERTAIN = 0.999
"""Least probability of a pair that agrees on a shared number, or on NHS number and date of birth."""

UNSOUGHT = 0.5
"""What the odds of a pair are multiplied by where no match key brought it up. Most pairs that are one person share a
key, so to share none speaks against it; only a little, because what such pairs lack is mostly data."""

_MOSTLY_ONE_FILE = 0.9


class ScorePolicy(Frozen):
    """How pairs are scored. Stored with every linkage run."""

    candidates: CandidatePolicy = CandidatePolicy()
    duplicate_free: tuple[str, ...] = ()
    """Partners that vouch that no person is twice in their file: two of their records are two people."""
    lax: float = Field(0.1, gt=0, lt=1)
    """From this probability on a link is possible; groups are compared whole from here on."""
    most_in_group: int = Field(150, ge=2)
    """Larger groups are not compared whole, but those within them that links at the threshold hold together, if they
    are no larger; in what is larger still, pairs that no match key brought up count as unlike."""


@dataclass(frozen=True)
class Scored:
    """What scoring found.

    - ``records``, ``unlinkable``, ``alarms``: of :class:`linkage.candidates.Candidates`.
    - ``pairs``: ``left`` < ``right`` (records), a code for each comparison, ``probability`` (Float64), ``forbidden``
      (null, or why the two cannot be one person: ``nhs_number``, ``shared_person_number``, ``one_file``).
    - ``threshold``: the probability from which on a pair is linked, chosen without a truth.
    - ``compared``: for the next run, what the pairs compare as (:data:`linkage.incremental.COMPARED`).
    - ``compared_anew``: of how many pairs no earlier run had said it.
    """

    records: pl.DataFrame
    unlinkable: pl.DataFrame
    alarms: pl.DataFrame
    pairs: pl.DataFrame
    model: ClassModel
    threshold: float
    compared: pl.DataFrame
    compared_anew: int

    def __repr__(self) -> str:
        return f"Scored({self.records.height} records, {self.pairs.height} pairs, threshold {self.threshold:.2f})"


def score_records(
    match_keys: pl.DataFrame,
    encodings: pl.DataFrame,
    policy: ScorePolicy,
    engine: Engine,
    *,
    records: pl.DataFrame | None = None,
    model: ClassModel | None = None,
    together: pl.DataFrame | None = None,
    earlier: pl.DataFrame | None = None,
) -> Scored:
    """Scores every candidate pair, and every pair inside a group that possible links hold together.

    ``match_keys`` and ``records`` are as for :func:`linkage.candidates.find_candidates`; ``encodings`` has
    ``partner_id``, ``person_ref`` and the columns of tokens. A record without an encoding is compared with nothing.
    With ``model`` the pairs are scored by it; without, one is fitted to them. ``together`` (``partner_id``,
    ``person_ref``, ``other_partner_id``, ``other_person_ref``) are pairs that people decided to be one person: their
    groups are compared whole, so that what forbids them is seen. ``earlier`` is what an earlier run compared: none of
    it is compared again, and the answer is the same as without (``tests/unit/linkage/test_incremental.py``).
    """
    candidates = find_candidates(match_keys, policy.candidates, records=records)
    del match_keys  # where the caller does not hold them, a gigabyte of a million records
    places = encodings.select(RECORD_COLUMNS).join(
        candidates.records, on=list(RECORD_COLUMNS), how="left", maintain_order="left"
    )
    # Records without a match key have no place, and are in no pair: to leave them out would copy all the others.
    tokens = encodings.select(places[RECORD], *RECORD_COLUMNS, *token_schema())
    tokens = _without_crowds(tokens, policy.candidates.largest_block)
    encoded = tokens.select(RECORD).drop_nulls()
    one_file = share_in_one_file(candidates.records)
    comparer = Comparer(tokens, engine, earlier)

    def compare(pairs: pl.DataFrame) -> pl.DataFrame:
        for side in ("left", "right"):
            pairs = pairs.join(encoded, left_on=side, right_on=RECORD, how="semi", maintain_order="left")
        codes = _forbid(comparer.compare(pairs), candidates, policy)
        return codes if one_file is not None else codes.with_columns(one_file=pl.lit(UNKNOWN, dtype=pl.UInt8))

    codes = compare(candidates.pairs)
    if model is None:
        model = fit_classes(
            *count_patterns(codes),
            one_file=one_file,
            coincidences=expect_coincidences(candidates.records.height),
        )
    scored = _weigh(codes, model)
    threshold = choose_threshold(scored["probability"].to_numpy())
    more = _uncompared(scored, place_pairs(candidates.records, together), policy, threshold)
    if more.height:
        scored = pl.concat([scored, _weigh(compare(more), model, odds=UNSOUGHT)]).sort("left", "right")
    return Scored(
        candidates.records,
        candidates.unlinkable,
        candidates.alarms,
        scored,
        model,
        threshold,
        comparer.compared,
        comparer.anew,
    )


def _without_crowds(tokens: pl.DataFrame, most: int) -> pl.DataFrame:
    """Without the numbers that more than ``most`` records hold. A hostel's telephone or a placeholder that slipped
    through is nobody's own: to agree on it says nothing, and to differ from it forbids nothing."""
    for name in NUMBERS:
        held = tokens.select(pl.col(name).list.unique().explode()).to_series().drop_nulls()
        crowds = held.value_counts(name="records").filter(pl.col("records") > most)[name]
        if crowds.len():
            tokens = tokens.with_columns(pl.col(name).list.set_difference(crowds.implode()))
    return tokens


def share_in_one_file(records: pl.DataFrame) -> float | None:
    """The share of all pairs of records that are in one partner's file: of pairs of strangers, as many are. None where
    nearly all are, so that it says nothing."""
    sizes = records.group_by("partner_id").len()["len"].cast(pl.Float64)
    total = float(records.height)
    share = float((sizes * (sizes - 1)).sum()) / max(total * (total - 1), 1.0)
    return share if 0 < share < _MOSTLY_ONE_FILE else None


def expect_coincidences(records: int) -> Coincidences:
    """What can come about by chance among so many records. On one day: twins (two records in a hundred have their
    twin's among the others) and strangers (of whom one pair in 20,000 shares the day, and of those at most one in
    twenty comes up at all, by a name, a telephone or a neighbourhood). Of one name at one postcode: a parent and a
    child, for one record in a hundred."""
    return Coincidences(
        on_one_day=0.02 * records + 0.05 * records * records / 2 / 20_000,
        of_one_name_at_one_postcode=0.01 * records,
    )


def _forbid(codes: pl.DataFrame, candidates: Candidates, policy: ScorePolicy) -> pl.DataFrame:
    """With ``forbidden``: why two records cannot be one person."""
    vouching = candidates.records.select(
        RECORD, file=pl.when(pl.col("partner_id").is_in(policy.duplicate_free)).then(pl.col("partner_id"))
    )
    files = codes.select("left", "right").join(vouching, left_on="left", right_on=RECORD, maintain_order="left")
    files = files.join(vouching, left_on="right", right_on=RECORD, suffix="_other", maintain_order="left")
    return codes.with_columns(
        forbidden=pl.when(pl.col("shared_person_number") == 1)
        .then(pl.lit("shared_person_number"))
        .when(pl.col("nhs_number") == 1)
        .then(pl.lit("nhs_number"))
        .when((files["file"] == files["file_other"]).fill_null(value=False))
        .then(pl.lit("one_file"))
    )


def _weigh(codes: pl.DataFrame, model: ClassModel, *, odds: float = 1.0) -> pl.DataFrame:
    """With ``probability``, its odds multiplied by ``odds``. Each pattern of codes is weighed once."""
    names = list(CODES)
    patterns = codes.select(names).unique(maintain_order=True)
    probabilities = model.probabilities(patterns.to_numpy().astype(np.int64))
    probabilities = odds * probabilities / (odds * probabilities + 1 - probabilities)
    weighed = codes.join(
        patterns.with_columns(probability=pl.Series(probabilities)), on=names, how="left", maintain_order="left"
    )
    full = {comparison.name: len(comparison.levels) for comparison in COMPARISONS}
    sure = (pl.col("shared_person_number") == full["shared_person_number"]) | (
        (pl.col("nhs_number") == full["nhs_number"]) & (pl.col("date_of_birth") == full["date_of_birth"])
    )
    return weighed.with_columns(
        probability=pl.when(pl.col("forbidden").is_not_null())
        .then(0.0)
        .when(sure)
        .then(pl.max_horizontal("probability", pl.lit(CERTAIN)))
        .otherwise(pl.col("probability"))
    ).select("left", "right", *names, "probability", "forbidden")


def _uncompared(scored: pl.DataFrame, decided: pl.DataFrame, policy: ScorePolicy, threshold: float) -> pl.DataFrame:
    """Pairs inside a group of possible links and decided pairs that are not among the candidates."""
    decided = decided.select("left", "right")
    members = []
    links = scored.select("left", "right", "probability")
    for least in (policy.lax, threshold):
        links = links.filter(pl.col("probability") >= least)
        groups = group_records(pl.concat([links.select("left", "right"), decided]))
        small = pl.len().over("group") <= policy.most_in_group
        members.append(groups.filter(small))
        too_large = groups.filter(~small).select(left=RECORD)
        links, decided = (pairs.join(too_large, on="left", how="semi") for pairs in (links, decided))
    whole = pl.concat(members)
    return (
        whole.join(whole, on="group", suffix="_other")
        .filter(pl.col(RECORD) < pl.col(f"{RECORD}_other"))
        .select(left=RECORD, right=f"{RECORD}_other")
        .join(scored.select("left", "right"), on=["left", "right"], how="anti")
        .sort("left", "right")
    )
