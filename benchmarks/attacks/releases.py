"""What the published ids of two audiences, or of one before and after a rotation, have in common.

The attacker holds both lists, whole, and knows that they are of the same people; it looks for equal ids, and for ids
that stand in the same place when both lists are sorted. What it may find is what chance finds. Two releases for one
audience under the same keys have all ids in common, so that a team can follow people: there it sees who came and went.
"""

from dataclasses import dataclass
from uuid import UUID

import numpy as np
import polars as pl

from pseudonymise.keys import KeyRing
from pseudonymise.publish import publish_ids


@dataclass(frozen=True)
class Common:
    """What two lists of published ids have in common."""

    persons: int
    equal: int
    """Ids that are in both lists."""
    in_one_place: int
    """Persons who have the same place in both lists when each is sorted; by chance one."""


def make_person_ids(persons: int, seed: int = 1) -> pl.Series:
    """Ids as the registry draws them."""
    drawn = np.random.default_rng(seed).bytes(16 * persons)
    return pl.Series("person_id", [str(UUID(bytes=drawn[at : at + 16])) for at in range(0, len(drawn), 16)])


def attack(persons: int, first: tuple[str, KeyRing], second: tuple[str, KeyRing], seed: int = 1) -> Common:
    """Of so many made-up registry persons, by audience and keys of both lists."""
    ids = make_person_ids(persons, seed)
    one, other = (publish_ids(ids, audience, ring) for audience, ring in (first, second))
    placed = one.arg_sort().to_numpy() == other.arg_sort().to_numpy()
    return Common(persons, len(set(one) & set(other)), int(placed.sum()))
