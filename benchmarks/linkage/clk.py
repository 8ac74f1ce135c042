"""clkhash and anonlink: one Bloom filter a record (a cryptographic longterm key), compared by their Dice coefficient.

Normalised names, date of birth, postcode and sex go into the filter (on FEBRL the address parts besides), each with
about as many bits as it is worth. Identifiers that most records lack (numbers, telephone, e-mail) do not, since a
missing value reads as a differing one and costs more than it brings. Records are compared where they share a block;
blocks are the same kinds of combinations that the clear-text peer uses. Pairs are settled by connected components or
by anonlink's greedy idea (best pairs first, a cluster having at most one record of a duplicate-free partner).
"""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.linkage import environment
from benchmarks.linkage.components import connect
from benchmarks.linkage.data import RECORD, Data
from benchmarks.linkage.methods import Choices
from benchmarks.linkage.normal import normalise_records

LEAST_SIMILARITY = 0.54
LEAST_OF_MANY = 0.7
"""Where there are more than :data:`MANY` records: pairs below are many and never matches."""
MANY = 50_000
SIMILARITIES = tuple(round(0.54 + step * 0.02, 2) for step in range(22))
LARGEST_BLOCK = 400
SIMILARITIES_OF_MANY = tuple(similarity for similarity in SIMILARITIES if 0.78 <= similarity <= 0.9)
FIELDS = {"forename": (2, 100), "surname": (2, 120), "born": (2, 200), "postcode": (2, 110), "sex": (1, 16)}
"""Characters of a gram (dates and postcodes with their place), and bits that the field sets."""
ADDRESS_FIELDS = {
    "street_number": (1, 40),
    "address_1": (2, 80),
    "address_2": (2, 40),
    "suburb": (2, 60),
    "state": (2, 10),
}
BLOCKS = (
    ("date_of_birth",),
    ("forename_start", "surname_start", "birth_year"),
    ("forename_start", "surname_start", "birth_month_day"),
    ("surname", "postcode_sector"),
    ("forename", "postcode"),
    ("name_low", "name_high"),
    ("forename_sound", "surname_sound", "birth_year"),
    ("street_number", "address_1"),
    ("suburb", "birth_year"),
)


def _schema(fields: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """A linkage schema of clkhash, version 3."""
    return {
        "version": 3,
        "clkConfig": {
            "l": 1024,
            "kdf": {"type": "HKDF", "hash": "SHA256", "salt": "c2FsdA==", "info": "", "keySize": 64},
        },
        "features": [
            {
                "identifier": name,
                "format": {"type": "string", "encoding": "utf-8"},
                "hashing": {
                    "comparison": {"type": "ngram", "n": grams, "positional": name in ("born", "postcode")},
                    "strategy": {"bitsPerFeature": bits},
                    "hash": {"type": "blakeHash"},
                    "missingValue": {"sentinel": "", "replaceWith": ""},
                },
            }
            for name, (grams, bits) in fields.items()
        ],
    }


def link(data: Data) -> Choices:
    """The method of the benchmark."""
    normal = normalise_records(data).with_columns(
        born=pl.col("date_of_birth").str.replace_all("-", ""), **{part: data.rows[part] for part in data.address_parts}
    )
    fields = FIELDS | {name: value for name, value in ADDRESS_FIELDS.items() if name in data.address_parts}
    fields = {name: value for name, value in fields.items() if normal[name].drop_nulls().n_unique() > 1}
    blocks = []
    for number, parts in enumerate(BLOCKS):
        if all(part in normal.columns for part in parts):
            value = pl.concat_str([pl.lit(str(number)), *map(pl.col, parts)], separator="|")
            blocks.append(
                normal.select(block=value, record=pl.int_range(pl.len(), dtype=pl.Int64))
                .drop_nulls()
                .filter(pl.len().over("block").is_between(2, LARGEST_BLOCK))
            )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        normal.select(pl.col(name).fill_null("") for name in fields).write_csv(folder / "records.csv")
        pl.concat(blocks).sort("block", "record").with_columns(block=pl.col("block").rank("dense")).write_csv(
            folder / "blocks.csv"
        )
        (folder / "schema.json").write_text(json.dumps(_schema(fields)))
        environment.run(
            "clk.py",
            *(folder / name for name in ("records.csv", "blocks.csv", "schema.json", "pairs.csv")),
            str(LEAST_OF_MANY if data.rows.height > MANY else LEAST_SIMILARITY),
        )
        pairs = pl.read_csv(
            folder / "pairs.csv", schema={"left": pl.Int64, "right": pl.Int64, "similarity": pl.Float64}
        )
    partner = data.rows["partner_id"]
    vouches = partner.is_in(list(data.duplicate_free))
    same = pl.Series(partner.gather(pairs["left"]) == partner.gather(pairs["right"])) & vouches.gather(pairs["left"])
    pairs = pairs.filter(~same).sort("similarity", "left", "right", descending=[True, False, False])
    tried = SIMILARITIES_OF_MANY if data.rows.height > MANY else SIMILARITIES
    made = {}
    for least in tried:
        setting = f"similarity >= {least}"
        made["components", setting] = partial(_components, data, pairs, least)
        made["greedy", setting] = partial(_greedy, data, pairs, least)
    return Choices(made)


def _components(data: Data, pairs: pl.DataFrame, least: float) -> pl.DataFrame:
    label = connect(data.rows.height, pairs.filter(pl.col("similarity") >= least))
    return data.rows.select(*RECORD, cluster=pl.Series(label))


def _greedy(data: Data, pairs: pl.DataFrame, least: float) -> pl.DataFrame:
    """Best pairs first; two clusters join where every pair across them is similar enough, as anonlink's greedy
    solver has it, and no duplicate-free partner is in both."""
    good = pairs.filter(pl.col("similarity") >= least)
    vouching = set(data.duplicate_free)
    home = list(range(data.rows.height))
    members: dict[int, list[int]] = {}
    partners = [{partner} & vouching for partner in data.rows["partner_id"]]
    left, right = good["left"].to_list(), good["right"].to_list()
    similar = set(zip(left, right, strict=True))
    for a, b in zip(left, right, strict=True):
        one, two = home[a], home[b]
        if one == two or partners[one] & partners[two]:
            continue
        ours, theirs = members.get(one, [one]), members.get(two, [two])
        if all((min(x, y), max(x, y)) in similar for x in ours for y in theirs):
            for record in theirs:
                home[record] = one
            members[one] = ours + theirs
            partners[one] = partners[one] | partners[two]
    return data.rows.select(*RECORD, cluster=pl.Series(home))
