"""The person registry: which person each record belongs to, from one linkage run to the next.

A person is a random id and nothing else. Clusters come and go with the data; the registry says which of today's
clusters goes on as which of yesterday's persons, and records every change with its cause.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import polars as pl

from linkage.candidates import RECORD_COLUMNS

MEMBERSHIP_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "partner_id": pl.String,
    "person_ref": pl.String,
    "person_id": pl.String,
    "person_created_at": pl.Datetime("us", "UTC"),
}
EVENT_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "event": pl.String,
    "cause": pl.String,
    "person_id": pl.String,
    "other_person_id": pl.String,
    "partner_id": pl.String,
    "person_ref": pl.String,
}


@dataclass(frozen=True)
class RegistryUpdate:
    """What a run changes.

    - ``membership``: ``partner_id``, ``person_ref``, ``person_id`` (UUID as text), ``person_created_at``, sorted: every
      record of the clusters, and those earlier records that no cluster has but whose person was merged into another.
      Other earlier records that no cluster has stay with their person and are not listed.
    - ``events``: ``event``, ``cause``, ``person_id``, ``other_person_id``, ``partner_id``, ``person_ref``:
      ``created`` (a new person), ``joined`` (a record came to a person that was there; the record is named),
      ``merged`` (``other_person_id`` goes on as ``person_id``) and ``split`` (``other_person_id`` was parted from
      ``person_id``; they are kept apart from now on). Empty where no person changes; a record that is linked no more
      is just not in ``membership``.
    """

    membership: pl.DataFrame
    events: pl.DataFrame

    @property
    def created(self) -> tuple[str, ...]:
        """New persons."""
        return tuple(self.events.filter(pl.col("event") == "created")["person_id"])

    @property
    def merged(self) -> tuple[tuple[str, str], ...]:
        """(person that goes on, person that went into it)."""
        rows = self.events.filter(pl.col("event") == "merged")
        return tuple(zip(rows["person_id"], rows["other_person_id"], strict=True))

    @property
    def split(self) -> tuple[tuple[str, str], ...]:
        """(person that goes on, person that was parted from it)."""
        rows = self.events.filter(pl.col("event") == "split")
        return tuple(zip(rows["person_id"], rows["other_person_id"], strict=True))

    def __repr__(self) -> str:
        counts = dict(self.events["event"].value_counts().sort("event").iter_rows())
        return f"RegistryUpdate({self.membership['person_id'].n_unique()} persons, {counts})"


def empty_membership() -> pl.DataFrame:
    """The membership before the first run."""
    return pl.DataFrame(schema=MEMBERSHIP_COLUMNS)


def assign_persons(
    clusters: pl.DataFrame,
    previous_membership: pl.DataFrame,
    new_person_id: Callable[[], UUID],
    now: datetime,
) -> RegistryUpdate:
    """Gives every cluster its person.

    ``clusters`` has ``partner_id``, ``person_ref``, ``cluster``; ``previous_membership`` is the membership of the last
    update (:func:`empty_membership` at first). A person goes on in the cluster that holds most of its earlier records;
    where two persons claim one cluster, the one with more records in it goes on, and in a tie the one with more
    records in all, then the older (by ``person_created_at``, where the earlier membership has that column), then the
    lower id. A cluster that no person claims is a new person with an id from ``new_person_id`` and the time ``now``.

    Earlier records that no cluster has count as their person's own. A person that goes on in no cluster is merged into
    another only where that one's cluster has more than half of all its records, or none of them is absent; else it
    keeps its id and its absent records, and the records that moved have joined another person. A split is recorded
    only where all earlier records of the person are in the clusters: without one of them, what held the person
    together may just not have been looked at.

    New ids are given out in the order of each cluster's first record, so the answer is a function of its arguments.
    The same clusters again change nothing: no event, the same membership.
    """
    records = clusters.select(*RECORD_COLUMNS, "cluster").sort(RECORD_COLUMNS).with_row_index("first")
    if "person_created_at" not in previous_membership.columns:
        previous_membership = previous_membership.with_columns(person_created_at=None)
    earlier = previous_membership.select(pl.col(name).cast(type_) for name, type_ in MEMBERSHIP_COLUMNS.items())
    overlap = (
        records.join(earlier, on=RECORD_COLUMNS)
        .group_by("cluster", "person_id", "person_created_at")
        .agg(shared=pl.len(), first=pl.col("first").min())
        .join(earlier.group_by("person_id").agg(held=pl.len()), on="person_id")
        .with_columns(absent=pl.col("held") - pl.col("shared").sum().over("person_id"))
        .sort(
            ["shared", "held", "person_created_at", "person_id", "first"],
            descending=[True, True, False, False, False],
            nulls_last=True,
        )
    )
    person_of: dict[int, str] = {}
    created_at: dict[str, datetime | None] = {}
    placed: set[str] = set()
    for cluster, person, made in overlap.select("cluster", "person_id", "person_created_at").iter_rows():
        created_at[person] = made
        if person not in placed and cluster not in person_of:
            person_of[cluster] = person
            placed.add(person)

    events: list[tuple[str, str, str, str | None, str | None, str | None]] = []
    fresh = records.filter(~pl.col("cluster").is_in(list(person_of)))
    for cluster in fresh["cluster"].unique(maintain_order=True):
        person = str(new_person_id())
        person_of[cluster] = person
        created_at[person] = now

    parted: set[tuple[str, str]] = set()
    moved_to: set[str] = set()
    fused: dict[str, str] = {}
    shares = overlap.select("cluster", "person_id", "shared", "held", "absent")
    for cluster, person, shared, held, absent in shares.iter_rows():
        going_on = person_of[cluster]
        if person not in placed and person not in fused and (absent == 0 or 2 * shared > held):
            # Most of its records are in another person's cluster now (the frame begins with the largest shares).
            fused[person] = going_on
        elif fused.get(person, person) != going_on:
            # Some of its records went elsewhere than the person itself.
            moved_to.add(going_on)
            if absent == 0:
                parted.add((fused.get(person, person), going_on))
    known = set(earlier["person_id"])
    for person in (person_of[c] for c in fresh["cluster"].unique(maintain_order=True)):
        cause = "parted from another person" if person in moved_to else "records that no person held"
        events.append(("created", cause, person, None, None, None))
    events += [
        ("merged", "their records are one cluster", kept, gone, None, None) for gone, kept in sorted(fused.items())
    ]
    events += [
        ("split", "their records are no longer one cluster", kept, new, None, None) for kept, new in sorted(parted)
    ]

    persons = pl.DataFrame(
        {"cluster": list(person_of), "person_id": list(person_of.values())},
        schema={"cluster": records.schema["cluster"], "person_id": pl.String},
    ).with_columns(
        person_created_at=pl.Series(
            [created_at[person] for person in person_of.values()], dtype=MEMBERSHIP_COLUMNS["person_created_at"]
        )
    )
    present = records.join(persons, on="cluster").select(*MEMBERSHIP_COLUMNS)
    following = earlier.join(present, on=RECORD_COLUMNS, how="anti").filter(pl.col("person_id").is_in(list(fused)))
    followed = following["person_id"].replace(fused)
    following = following.with_columns(
        person_id=followed,
        person_created_at=pl.Series(
            [created_at[person] for person in followed], dtype=MEMBERSHIP_COLUMNS["person_created_at"]
        ),
    )
    membership = pl.concat([present, following]).sort(RECORD_COLUMNS)
    newcomers = membership.join(earlier, on=RECORD_COLUMNS, how="anti").filter(pl.col("person_id").is_in(list(known)))
    events += [
        ("joined", "a new record in the person's cluster", person, None, partner, ref)
        for partner, ref, person in newcomers.select(*RECORD_COLUMNS, "person_id").iter_rows()
    ]
    # A record that leaves a person of which others are absent is no merge and no split, and is told all the same.
    leaving = present.join(
        overlap.filter(pl.col("absent") > 0).select("person_id").unique().join(earlier, on="person_id"),
        on=RECORD_COLUMNS,
        suffix="_before",
    ).select(*RECORD_COLUMNS, "person_id", before=pl.col("person_id_before").replace(fused))
    leaving = leaving.filter((pl.col("person_id") != pl.col("before")) & pl.col("person_id").is_in(list(known)))
    events += [
        ("joined", "left a person whose other records are absent", person, None, partner, ref)
        for partner, ref, person in leaving.select(*RECORD_COLUMNS, "person_id").iter_rows()
    ]
    return RegistryUpdate(membership, pl.DataFrame(events, schema=EVENT_COLUMNS, orient="row"))


def find_separations(split: pl.DataFrame, membership: pl.DataFrame) -> pl.DataFrame:
    """The pairs of records that must stay apart, for :func:`linkage.cluster.cluster_records`.

    ``split`` lists ``person_id`` and ``other_person_id`` of all splits so far (and of persons that a custodian
    parted); ``membership`` is the current one. Every record of the one is kept from every record of the other: a
    split stands until a person takes it back.
    """
    sides = membership.select("person_id", *RECORD_COLUMNS)
    return (
        split.select("person_id", "other_person_id")
        .unique()
        .join(sides, on="person_id")
        .join(
            sides.rename(
                {
                    "person_id": "other_person_id",
                    "partner_id": "other_partner_id",
                    "person_ref": "other_person_ref",
                }
            ),
            on="other_person_id",
        )
        .select(*RECORD_COLUMNS, "other_partner_id", "other_person_ref")
        .sort(pl.all())
    )
