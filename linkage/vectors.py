"""At which level each comparison of a pair stands: Splink over tokens, on DuckDB or on Spark.

Both engines run the same conditions (:mod:`linkage.comparisons`) over the same registered pairs, and both give the same
codes at every level of every comparison (``tests/spark/test_engine.py``). Codes are all that leaves an engine: a
handful of small numbers for each pair.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from linkage.comparisons import COMPARISONS, FILE, RECORD, WEIGHT, splink_settings, token_schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Engine = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
"""Takes records (``record``, ``partner_id``, columns of tokens) and pairs (``left``, ``right``); gives the pairs with a
code for each comparison."""

CODES = {comparison.name: pl.UInt8 for comparison in COMPARISONS}

_PAIRS_AT_ONCE = 250_000
"""Pairs compared at a time, so that memory does not grow with their number. An engine holds the tokens of both sides of
each: of so many pairs among a million records half a GB, and of a million pairs nearly 1.5."""
_HALF = 0x7FFFFFFF
"""Of a token's 64 bits, scoring takes 31. Two of some dozens of tokens meet by chance once in ten million pairs, and a
million records take half the memory."""


def compare_pairs(encodings: pl.DataFrame, pairs: pl.DataFrame, engine: Engine) -> pl.DataFrame:
    """The codes of pairs of records.

    ``encodings`` has ``record``, ``partner_id`` and the columns of tokens (:func:`linkage.comparisons.token_schema`);
    ``pairs`` has ``left`` and ``right``. The answer is ``pairs`` with a column for each comparison (UInt8, 0 where it
    says nothing), sorted by both records.
    """
    frames = [pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32, **CODES})]
    for start in range(0, pairs.height, _PAIRS_AT_ONCE):
        some = pairs.slice(start, _PAIRS_AT_ONCE)
        wanted = pl.concat([some["left"], some["right"]]).unique()
        records = encodings.filter(pl.col(RECORD).is_in(wanted.implode())).select(
            pl.col(RECORD).cast(pl.Int64),
            FILE,
            *(_shorten(name) if isinstance(kind, pl.List) else pl.col(name) for name, kind in token_schema().items()),
        )
        frames.append(engine(records, some))
    return pl.concat(frames).sort("left", "right")


def _shorten(name: str) -> pl.Expr:
    """A list of short tokens. One without any is null, since an empty one would differ from every other."""
    short = pl.col(name).list.eval((pl.element() & _HALF).cast(pl.Int32))
    return pl.when(short.list.len() > 0).then(short).alias(name)


def duckdb_engine(*, memory: str = "1GB", scratch: Path | None = None) -> Engine:
    """Splink on DuckDB, in memory. ``scratch`` is a private folder for what does not fit; without one nothing is ever
    written."""
    import duckdb
    from splink import DuckDBAPI

    def run(records: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
        with duckdb.connect() as connection:
            connection.execute("set memory_limit = $1", [memory])
            connection.execute("set temp_directory = $1", ["" if scratch is None else str(scratch)])
            api = DuckDBAPI(connection=connection)
            answer = _predict(api, "duckdb", records.to_arrow(), pairs, pl.DataFrame.to_arrow)
            return _codes(connection.table(answer.physical_name).select(*_answered()).pl())

    return run


def spark_engine(session: "SparkSession") -> Engine:
    """Splink on a Spark session of the caller's. Tables and what is kept of them lie in sessions of their own, and are
    let go of before an answer is given."""
    from splink import SparkAPI

    def run(records: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
        own = session.newSession()

        def table(frame: pl.DataFrame) -> Any:
            return own.createDataFrame(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))

        # Splink's own choice would be Parquet in a checkpoint folder; what Spark keeps itself it can encrypt. The
        # functions of Splink's jar are in none of the conditions.
        api = SparkAPI(
            spark_session=own,
            break_lineage_method="persist",
            num_partitions_on_repartition=session.sparkContext.defaultParallelism,
            register_udfs_automatically=False,
        )
        try:
            answer = _predict(api, "spark", table(records), pairs, table)
            frame = own.table(answer.physical_name).select(*_answered()).toArrow()
        finally:
            for view in own.catalog.listTables():
                own.catalog.uncacheTable(view.name)
                own.catalog.dropTempView(view.name)
        return _codes(pl.DataFrame(frame))

    return run


def _predict(api: Any, engine: str, records: Any, pairs: pl.DataFrame, table: Callable[[pl.DataFrame], Any]) -> Any:
    from splink import Linker

    # The settings are always these, and to have them looked through takes as long as to compare some 10,000 pairs.
    linker = Linker(api.register(records), splink_settings(engine), validate_settings=False)
    logging.getLogger("splink").setLevel(logging.WARNING)  # a Linker sets it to tell of every step
    blocked = pairs.select(
        join_key_l=pl.col("left").cast(pl.Int64), join_key_r=pl.col("right").cast(pl.Int64), match_key=pl.lit("0")
    )
    linker.table_management.register_blocked_pairs_for_predict(api.register(table(blocked)))
    return linker.inference.predict(warning_mode="never")


def _answered() -> tuple[str, ...]:
    return (f"{RECORD}_l", f"{RECORD}_r", *(f"{WEIGHT}{name}" for name in CODES))


def _codes(answer: pl.DataFrame) -> pl.DataFrame:
    return answer.select(
        pl.col("record_l").cast(pl.UInt32).alias("left"),
        pl.col("record_r").cast(pl.UInt32).alias("right"),
        *(pl.col(f"{WEIGHT}{name}").round().cast(pl.UInt8).alias(name) for name in CODES),
    )
