"""Pairs in words: those that a person should look at, and why records are one person or two.

Everything that is said about a pair is said in words for what was compared, never in a value or a token.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from linkage.candidates import RECORD_COLUMNS
from linkage.comparisons import COMPARISONS, RECORD, TOLD
from linkage.scoring import Scored

Record = tuple[str, str]
"""A partner and the pseudonym of its own client."""

REVIEW_FROM, REVIEW_BELOW = 0.5, 0.95
"""The review band: pairs of this probability and less than that one are put before a person."""


def write_levels() -> pl.Expr:
    """The codes of a scored pair as one text, a digit for each comparison."""
    return pl.concat_str(pl.col(comparison.name).cast(pl.String) for comparison in COMPARISONS).alias("levels")


def name_pairs(scored: Scored, pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs of ``scored`` by their records: ``partner_id``, ``person_ref``, ``other_partner_id``, ``other_person_ref``,
    ``levels``, ``probability``, ``forbidden``; sorted."""
    names = scored.records.select(RECORD, *RECORD_COLUMNS)
    return (
        pairs.with_columns(write_levels())
        .join(names, left_on="left", right_on=RECORD)
        .join(names, left_on="right", right_on=RECORD, suffix="_other")
        .select(
            "partner_id",
            "person_ref",
            pl.col("partner_id_other").alias("other_partner_id"),
            pl.col("person_ref_other").alias("other_person_ref"),
            "levels",
            "probability",
            "forbidden",
        )
        .sort("partner_id", "person_ref", "other_partner_id", "other_person_ref")
    )


def describe_pairs(pairs: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Pairs (columns of :func:`name_pairs`) in words.

    Columns: those of the pair, ``probability``, ``agreed_on`` and ``differs_on`` (lists of words), ``accepted``,
    ``refused`` (null, ``veto``, ``same_partner`` or ``too_little``). What a comparison says nothing of is in neither
    list.
    """
    levels = {text: _tell(text) for text in pairs["levels"].unique()}
    words = pl.DataFrame(
        {
            "levels": list(levels),
            "agreed_on": [agreed for agreed, _ in levels.values()],
            "differs_on": [differs for _, differs in levels.values()],
        },
        schema={"levels": pl.String, "agreed_on": pl.List(pl.String), "differs_on": pl.List(pl.String)},
    )
    refused = (
        pl.when(pl.col("forbidden") == "one_file")
        .then(pl.lit("same_partner"))
        .when(pl.col("forbidden").is_not_null())
        .then(pl.lit("veto"))
        .when(pl.col("probability") < threshold)
        .then(pl.lit("too_little"))
    )
    return (
        pairs.join(words, on="levels", how="left", maintain_order="left")
        .with_columns(refused=refused)
        .select(
            "partner_id",
            "person_ref",
            "other_partner_id",
            "other_person_ref",
            "probability",
            "agreed_on",
            "differs_on",
            accepted=pl.col("refused").is_null(),
            refused="refused",
        )
    )


def _tell(levels: str) -> tuple[list[str], list[str]]:
    agreed: list[str] = []
    differs: list[str] = []
    for comparison, code in zip(COMPARISONS, levels, strict=True):
        level = comparison.level(int(code))
        if level is not None and comparison in TOLD:
            (agreed if level.agrees else differs).append(level.words)
    return agreed, differs


def find_in_doubt(described: pl.DataFrame) -> pl.DataFrame:
    """The pairs that a person should look at: the columns of :func:`describe_pairs` up to ``differs_on``."""
    in_band = (pl.col("probability") >= REVIEW_FROM) & (pl.col("probability") < REVIEW_BELOW)
    forbidden = pl.col("refused").is_in(["veto", "same_partner"]).fill_null(value=False)
    return described.filter(in_band & ~forbidden).drop("accepted", "refused")


# --- why records are one person ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tie:
    """What holds two records together."""

    one: Record
    other: Record
    agreed_on: tuple[str, ...]
    differs_on: tuple[str, ...]
    probability: float | None
    """None where people decided it."""

    def __repr__(self) -> str:
        return f"Tie({self.one[0]}, {self.other[0]})"


def find_ties(described: pl.DataFrame, together: pl.DataFrame, records: Iterable[Record]) -> tuple[Tie, ...]:
    """The fewest and strongest ties that hold records together: what was decided first, then the likeliest links.

    ``described`` has the pair's columns, ``probability``, ``agreed_on``, ``differs_on`` and ``accepted``;
    ``together`` the pairs that people decided. A tree over each group of records that is held together (a spanning
    forest, by Kruskal's method), so that between two records there is one chain, and its weakest tie is as strong as
    any chain's could be.
    """
    home = {record: record for record in records}

    def root(record: Record) -> Record:
        while home[record] != record:
            home[record] = home[home[record]]
            record = home[record]
        return record

    decided = [
        Tie((row[0], row[1]), (row[2], row[3]), (), (), None)
        for row in together.select("partner_id", "person_ref", "other_partner_id", "other_person_ref").iter_rows()
    ]
    likely = [_tie(row) for row in described.filter("accepted").iter_rows(named=True)]
    likely.sort(key=lambda tie: (-(tie.probability or 0), tie.one, tie.other))
    kept = []
    for tie in (*decided, *likely):
        if tie.one not in home or tie.other not in home:
            continue
        one, other = root(tie.one), root(tie.other)
        if one != other:
            home[other] = one
            kept.append(tie)
    return tuple(kept)


def _tie(row: dict[str, Any]) -> Tie:
    return Tie(
        one=(row["partner_id"], row["person_ref"]),
        other=(row["other_partner_id"], row["other_person_ref"]),
        agreed_on=tuple(row["agreed_on"]),
        differs_on=tuple(row["differs_on"]),
        probability=row["probability"],
    )


def find_chain(ties: Iterable[Tie], start: Record, end: Record) -> tuple[Tie, ...] | None:
    """The ties from one record to another; None where none lead there. ``ties`` are those of :func:`find_ties`."""
    neighbours: dict[Record, list[tuple[Record, Tie]]] = {}
    for tie in ties:
        neighbours.setdefault(tie.one, []).append((tie.other, tie))
        neighbours.setdefault(tie.other, []).append((tie.one, tie))
    came_from: dict[Record, tuple[Record, Tie] | None] = {start: None}
    waiting = deque([start])
    while waiting and end not in came_from:
        here = waiting.popleft()
        for there, tie in neighbours.get(here, []):
            if there not in came_from:
                came_from[there] = (here, tie)
                waiting.append(there)
    if end not in came_from:
        return None
    chain = []
    step = came_from[end]
    while step is not None:
        chain.append(step[1])
        step = came_from[step[0]]
    return tuple(reversed(chain))
