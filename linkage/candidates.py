"""Which pairs of records are looked at: those that share a match key.

A token is compared with tokens of the same key and with nothing else. Broad keys are used (a name with a year of birth)
because what a pair shares is only asked here; whether it is one person is decided by comparing all of both records.
What a key may cost is bounded: see :class:`CandidatePolicy`.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import Field

from protocol.model import Frozen

KEY_FRAME = {"partner_id": pl.String, "person_ref": pl.String, "key_name": pl.String, "token": pl.String}
RECORD_COLUMNS = ("partner_id", "person_ref")


class CandidatePolicy(Frozen):
    """How far candidates are sought. Stored with every linkage run."""

    largest_block: int = Field(60, ge=2)
    """A token that more records hold than this says nothing (a hostel's telephone, a placeholder that slipped through):
    no pair is sought by it, and an alarm is given."""
    pairs_per_record: float = Field(3.0, gt=0)
    """A key gives at most so many pairs for each record (and a thousand in any case); of a key that would give more,
    the largest blocks are left out. So the work grows with the number of records and not with its square."""


@dataclass(frozen=True)
class Candidates:
    """What is to be compared.

    - ``records``: ``record`` (UInt32, its place), ``partner_id``, ``person_ref``, in the order of the last two. Only
      records that hold a match key.
    - ``unlinkable``: ``partner_id``, ``person_ref`` of records without any: too little is known of them, or they are
      not to be linked. They are counted apart and belong to no person.
    - ``pairs``: ``left`` < ``right`` (records), sorted, each once.
    - ``alarms``: ``alarm``, ``key_name``, ``records``: a token by which nothing was sought, since so many records hold
      it (``large_block``); a key of which the larger blocks were left out, and how many records those hold together,
      one of several of them as often (``key_cut_short``).
    """

    records: pl.DataFrame
    unlinkable: pl.DataFrame
    pairs: pl.DataFrame
    alarms: pl.DataFrame

    def __repr__(self) -> str:
        return f"Candidates({self.records.height} records, {self.pairs.height} pairs)"


def find_candidates(
    match_keys: pl.DataFrame, policy: CandidatePolicy, *, records: pl.DataFrame | None = None
) -> Candidates:
    """The pairs of records that share a match key.

    ``match_keys`` has the columns ``partner_id``, ``person_ref``, ``key_name``, ``token`` (text, or its first 64 bits
    as a number). ``records`` (``partner_id``, ``person_ref``) lists all records, so that those without any key are told
    as unlinkable. The answer does not depend on the order of rows.
    """
    held = match_keys.select(*KEY_FRAME).drop_nulls()
    known, places = _number_records(held.select(RECORD_COLUMNS))
    everyone = known if records is None else records
    unlinkable = everyone.select(RECORD_COLUMNS).unique().join(known, on=list(RECORD_COLUMNS), how="anti")
    # Blocks are told apart by 64 bits of hash: quicker than by text, and two that chance made one would only bring up
    # pairs that turn out to be unlike.
    held = held.select("key_name", record=places, block=pl.struct("key_name", "token").hash()).sort("block", "record")
    held = held.filter(pl.struct("block", "record").rle_id().diff().fill_null(1) > 0)
    blocks = (
        held.select("key_name", "block", records=pl.len().over("block").cast(pl.Int64))
        .filter(pl.col("records") > 1)
        .unique("block")
    )
    too_large = pl.col("records") > policy.largest_block
    alarms = (
        blocks.filter(too_large)
        .select(alarm=pl.lit("large_block"), key_name="key_name", records="records")
        .sort("key_name", "records", descending=[False, True])
    )
    # Blocks of one size stand or fall together, so that it does not matter in which order they come.
    cost = (pl.col("records") * (pl.col("records") - 1) // 2).sum()
    affordable = (
        blocks.filter(~too_large)
        .group_by("key_name", "records")
        .agg(cost=cost)
        .sort("key_name", "records")
        .filter(pl.col("cost").cum_sum().over("key_name") <= max(policy.pairs_per_record * known.height, 1_000))
    )
    left_out = blocks.filter(~too_large).join(affordable, on=["key_name", "records"], how="anti")
    alarms = pl.concat(
        [
            alarms,
            left_out.group_by("key_name")
            .agg(pl.col("records").sum())
            .select(alarm=pl.lit("key_cut_short"), key_name="key_name", records="records")
            .sort("key_name"),
        ]
    )
    used = blocks.join(affordable, on=["key_name", "records"], how="semi").select("block")
    members = held.select("block", "record").join(used, on="block", how="semi", maintain_order="left")
    pairs = _pair_members(members)
    return Candidates(known, unlinkable.sort(RECORD_COLUMNS), pairs, alarms)


def _number_records(held: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The records in order, numbered, and of each row the number of its record."""
    # Rows of one record mostly come together, so that few names have to be looked up.
    run = held.select(pl.struct(pl.col(RECORD_COLUMNS).rle_id()).rle_id()).to_series()
    heads = held.filter((run != run.shift(1)).fill_null(value=True))
    known = heads.unique().sort(RECORD_COLUMNS).with_row_index("record")
    places = heads.join(known, on=list(RECORD_COLUMNS), maintain_order="left")["record"]
    return known, places.gather(run)


def _pair_members(members: pl.DataFrame) -> pl.DataFrame:
    """The pairs of records that are in one block, each once, sorted. ``members`` is sorted by block and record."""
    block, record = members["block"].to_numpy(), members["record"].to_numpy().astype(np.uint64)
    found = [np.empty(0, np.uint64)]
    first, step = np.arange(len(block)), 1
    while len(first):
        first = first[first < len(block) - step]
        first = first[block[first] == block[first + step]]
        found.append((record[first] << np.uint64(32)) | record[first + step])
        step += 1
    pairs = pl.Series("pair", np.concatenate(found)).unique().sort()
    return pl.select(left=pairs // 2**32, right=pairs % 2**32).cast(pl.UInt32)


def place_pairs(records: pl.DataFrame, pairs: pl.DataFrame | None) -> pl.DataFrame:
    """Both places of each pair of records, the lower first, in the pairs' order (``rank``), each once; pairs with a
    record that is not there are left out."""
    if pairs is None or pairs.is_empty():
        return pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32, "rank": pl.UInt32})
    places = records.select("record", *RECORD_COLUMNS)
    others = places.rename({"record": "other", "partner_id": "other_partner_id", "person_ref": "other_person_ref"})
    return (
        pairs.join(places, on=list(RECORD_COLUMNS), maintain_order="left")
        .join(others, on=["other_partner_id", "other_person_ref"], maintain_order="left")
        .select(left=pl.min_horizontal("record", "other"), right=pl.max_horizontal("record", "other"))
        .unique(maintain_order=True)
        .with_row_index("rank")
        .select("left", "right", "rank")
    )
