"""OPPRL 2 (the Open Privacy Preserving Record Linkage protocol) by spindle-token, on Spark.

Its attributes get our identifiers as they were typed, since it normalises by itself: forename, surname, sex, date of
birth, e-mail and telephone (as British ones). A British number is no social security number (OPPRL drops those that
begin with 9), so NHS and NI number go where a scheme's member number goes: the NHS number, or the NI number where there
is none. OPPRL has no token with an address. How many equal tokens make a link, and which tokens count, is chosen with
truth.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks.linkage import environment
from benchmarks.linkage.components import connect
from benchmarks.linkage.data import RECORD, Data
from benchmarks.linkage.methods import Choices

MEMORY = "4g"
LARGEST_BLOCK = 60
NAMED_AFTER = {
    "forename": "first_name",
    "surname": "last_name",
    "sex": "gender",
    "email": "email",
    "phone": "phone",
}
SUBSETS = {
    "all": tuple(range(1, 14)),
    "without telephone": (1, 2, 3, 4, 5, 6, 9, 10, 11, 13),
    "names and numbers": (1, 2, 3, 4, 5, 6, 13),
    "sharp names and numbers": (1, 3, 4, 6, 11, 13),
    "initial, surname, date; numbers": (4, 11, 13),
}


def link(data: Data) -> Choices:
    """The method of the benchmark."""
    rows = data.rows
    columns = {new: pl.col(old) for old, new in NAMED_AFTER.items() if old in rows.columns}
    numbers = [name for name in ("nhs_number", "ni_number") if name in rows.columns]
    if numbers:
        columns["member_id"] = pl.coalesce(numbers)
        columns["group_number"] = pl.coalesce(
            pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in numbers
        )
    table = rows.select(
        record=pl.int_range(pl.len(), dtype=pl.Int64),
        birth_date=pl.col("date_of_birth").str.to_date("%Y-%m-%d", strict=False),
        **columns,
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        table.write_parquet(folder / "records.parquet")
        environment.run("opprl.py", folder / "records.parquet", folder / "tokens", MEMORY)
        tokens = pl.read_parquet(folder / "tokens" / "*.parquet")
    links = []
    for name in tokens.columns[1:]:
        number = int(name.removeprefix("opprl_token_").removesuffix("v2"))
        held = tokens.select("record", token=name).drop_nulls()
        held = held.filter(pl.len().over("token").is_between(2, LARGEST_BLOCK))
        links.append(
            held.join(held, on="token", suffix="_right")
            .filter(pl.col("record") < pl.col("record_right"))
            .select(left="record", right="record_right", bit=pl.lit(1 << number, dtype=pl.Int64))
        )
    evidence = pl.concat(links).group_by("left", "right").agg(pl.col("bit").sum())
    partner = rows["partner_id"]
    vouches = partner.is_in(list(data.duplicate_free)).gather(evidence["left"])
    same = (partner.gather(evidence["left"]) == partner.gather(evidence["right"])) & vouches
    evidence = evidence.filter(~same)
    made = {}
    for subset, numbers_of_tokens in SUBSETS.items():
        for least in (1, 2, 3, 4):
            made["components", f"{least} or more equal of {subset}"] = partial(
                _components, data, evidence, numbers_of_tokens, least
            )
    return Choices(made)


def _components(data: Data, evidence: pl.DataFrame, numbers: Sequence[int], least: int) -> pl.DataFrame:
    mask = sum(1 << number for number in numbers)
    linked = evidence.filter((pl.col("bit") & mask).bitwise_count_ones() >= least)
    return data.rows.select(*RECORD, cluster=pl.Series(connect(data.rows.height, linked)))
