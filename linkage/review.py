"""Pairs in words: those that a person should look at, and why records are one person or two.

Everything that is said about a pair is said in names of what was compared, never in a value or a token.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from linkage.match import RECORD_COLUMNS, LinkPolicy, Links

Record = tuple[str, str]
"""A partner and the pseudonym of its own client."""

REVIEW_FROM, REVIEW_BELOW = 0.5, 0.95
"""The review band: pairs of this probability and less than that one are put before a person."""

_WORDS = {
    "birth_year": "year of birth",
    "date_of_birth_sorted": "date of birth with day and month in either order",
    "email": "e-mail address",
    "forename_family": "forename or a short form of it",
    "forename_sound": "sound of the forename",
    "forename_start": "first letters of the forename",
    "initial": "initial of the forename",
    "nhs_number": "NHS number",
    "ni_number": "National Insurance number",
    "phone": "telephone",
    "surname_sound": "sound of the surname",
    "surname_start": "first letters of the surname",
}
_IMPLIED = {
    "date_of_birth": {"date_of_birth_sorted", "birth_year"},
    "date_of_birth_sorted": {"birth_year"},
    "forename": {"forename_family", "forename_sound", "forename_start", "initial"},
    "forename_start": {"initial"},
    "postcode": {"postcode_sector"},
    "surname": {"surname_sound", "surname_start"},
}
"""What agrees wherever the first does, and so says nothing beside it."""


def describe_pairs(links: Links, policy: LinkPolicy, pairs: pl.DataFrame | None = None) -> pl.DataFrame:
    """Pairs that share a token, in words: those of ``pairs``, which is a part of ``links.pairs``, or all.

    Columns: ``partner_id``, ``person_ref``, ``other_partner_id``, ``other_person_ref`` (the lower record first),
    ``probability`` (Float64), ``agreed_on`` and ``differs_on`` (lists of words), ``accepted``, ``refused`` (null,
    ``veto``, ``same_partner`` or ``too_little``). With declared weights the probability is that of odds which double
    with each unit of weight and are even where a pair is just accepted. Of a key that is made of several parts and
    differs it is not known which part does, so only keys of one part are told as differing.
    """
    fields = sorted({field for rule in policy.keys for field in rule.fields})
    places = {name: place for place, name in enumerate(policy.key_names)}
    of = {field: sum(1 << places[r.name] for r in policy.keys if field in r.fields) for field in fields}
    alone = {rule.fields[0]: 1 << places[rule.name] for rule in policy.keys if len(rule.fields) == 1}
    sides = links.records.select("record", *RECORD_COLUMNS, "held")
    pairs = (
        (links.pairs if pairs is None else pairs)
        .join(sides, left_on="left", right_on="record")
        .join(sides, left_on="right", right_on="record", suffix="_other")
    )

    def words(conditions: dict[str, pl.Expr]) -> pl.Expr:
        told = []
        for field, holds in conditions.items():
            more = [conditions[name] for name, implied in _IMPLIED.items() if field in implied and name in conditions]
            said = pl.any_horizontal(more) if more else pl.lit(value=False)
            told.append(pl.when(holds & ~said).then(pl.lit(tell_field(field))))
        if not told:
            return pl.lit([], dtype=pl.List(pl.String))
        return pl.concat_list(told).list.drop_nulls().list.unique(maintain_order=True)

    differing = pl.col("held") & pl.col("held_other") & ~pl.col("evidence")
    return pairs.select(
        "partner_id",
        "person_ref",
        pl.col("partner_id_other").alias("other_partner_id"),
        pl.col("person_ref_other").alias("other_person_ref"),
        probability=_probability(policy),
        agreed_on=words({field: (pl.col("evidence") & bits) != 0 for field, bits in of.items()}),
        differs_on=words({field: (differing & bits) != 0 for field, bits in alone.items()}),
        accepted="accepted",
        refused="refused",
    ).sort("partner_id", "person_ref", "other_partner_id", "other_person_ref")


def tell_field(field: str) -> str:
    """A compared part in plain words: ``date of birth``."""
    return _WORDS.get(field, field.replace("_", " "))


def find_in_doubt(links: Links, policy: LinkPolicy) -> pl.DataFrame:
    """The pairs that a person should look at: the columns of :func:`describe_pairs` up to ``differs_on``."""
    in_band = (_probability(policy) >= REVIEW_FROM) & (_probability(policy) < REVIEW_BELOW)
    forbidden = pl.col("refused").is_in(["veto", "same_partner"]).fill_null(value=False)
    return describe_pairs(links, policy, links.pairs.filter(in_band & ~forbidden)).drop("accepted", "refused")


def _probability(policy: LinkPolicy) -> pl.Expr:
    return 1 / (1 + (2.0 ** (policy.accept_weight - pl.col("weight"))))


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
