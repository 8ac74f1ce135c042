"""Spark gives what DuckDB gives, leaves nothing behind, and says what is missing where it cannot start."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from linkage.comparisons import COMPARISONS
from linkage.vectors import CODES, Engine
from pipeline.linkage_engine import open_linkage_engine
from pipeline.settings import Settings
from protocol.errors import LinkarmsError
from tests.integration.pipeline.test_linking import ONE, OTHER, Warehouse, crowd, warehouse
from tests.unit.linkage.conftest import MARGARET, encode
from tests.unit.linkage.test_comparisons import CHANGES, DAY_FOR_MONTH, compare

pytestmark = pytest.mark.spark

__all__ = ["warehouse"]

PARTNERSHIP = {
    f"{'ab'[number % 2]}{number:03}": MARGARET | change
    for number, change in enumerate([*(change for rows in CHANGES.values() for change, _ in rows), *DAY_FOR_MONTH, {}])
}
"""Margaret with every change that leads to some level, at two partners."""
CANARY = "canary-7f3a9b-token"


def test_codes_of_all_pairs_are_the_same_on_duckdb_and_spark_at_every_level_of_every_comparison(spark: Engine) -> None:
    found = encode(PARTNERSHIP)
    on_duckdb = compare(found)
    for comparison in COMPARISONS:
        least = 1 if comparison.name == "one_file" else 0
        assert set(on_duckdb[comparison.name]) == set(range(least, len(comparison.levels) + 1)), comparison.name
    on_spark = compare(found, spark)
    assert on_spark.schema == on_duckdb.schema
    assert on_spark.rows() == on_duckdb.rows()


def test_records_of_which_nothing_is_known_are_compared_on_spark_too(spark: Engine) -> None:
    found = encode({"a1": dict.fromkeys(MARGARET), "b1": dict.fromkeys(MARGARET)})
    assert compare(found, spark).rows() == compare(found).rows() == [(0, 1, *([0] * (len(CODES) - 1)), 1)]


def test_a_partnership_that_is_linked_on_spark_has_the_same_persons_pairs_model_and_counts(
    warehouse: Warehouse,
    spark: Engine,
) -> None:
    people = crowd(0, 60)
    changed = {
        name: person | ({"surname": f"{person['surname']}s"} if place % 3 == 0 else {"phone": "07700 900999"})
        for place, (name, person) in enumerate(people.items())
        if place % 2
    }
    warehouse.take_in(ONE, "2026-Q2", people)
    warehouse.take_in(OTHER, "2026-Q2", {**changed, **crowd(60, 80)})
    warehouse.engine = spark
    parameters = warehouse.link("on Spark")
    pairs, persons, counts = stored(warehouse), warehouse.persons(), warehouse.counts
    assert sum(len(person) == 2 for person in persons) > 20
    forget_runs(warehouse)
    warehouse.engine = None
    assert warehouse.link("on DuckDB") == parameters
    assert stored(warehouse) == pairs
    assert warehouse.persons() == persons
    assert warehouse.counts == counts


def forget_runs(warehouse: Warehouse) -> None:
    """Empty all of linkage but what was submitted, and what nobody may empty."""
    tables = text(
        "select string_agg(c.oid::regclass::text, ', ') from pg_class c where c.relnamespace = 'linkage'::regnamespace"
        " and c.relkind = 'r' and c.relname not in ('match_key', 'encoding')"
        " and not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgtype & 32 <> 0)"  # before truncate
    )
    with warehouse.database.owner.begin() as conn:
        conn.execute(text(f"truncate {conn.scalar(tables)}"))


def stored(warehouse: Warehouse) -> list[Any]:
    from warehouse.linkage_store import read_scored_pairs

    with warehouse.database.pipeline.connect() as conn:
        return sorted(read_scored_pairs(conn).rows())


def test_nothing_of_a_comparison_stays_in_the_session(spark: Engine) -> None:
    from pyspark.sql import SparkSession

    compare(encode({"a1": MARGARET, "b1": MARGARET}), spark)
    session = SparkSession.getActiveSession()
    assert session is not None
    assert session.catalog.listTables() == []
    assert len(session.sparkContext._jsc.getPersistentRDDs()) == 0


def test_a_session_is_reached_from_this_machine_alone_and_shows_no_page(spark: Engine) -> None:
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    assert session is not None
    assert session.sparkContext.uiWebUrl is None
    assert session.conf.get("spark.driver.bindAddress") == "127.0.0.1"


# --- what lies on the disk --------------------------------------------------------------------------------------------


SESSION = """
import sys
from pathlib import Path
from pipeline.linkage_engine import open_linkage_engine
from pipeline.settings import Settings

settings = Settings.from_environment()
left_over = settings.home / "run" / "spark" / "session" / "left-over"
with open_linkage_engine(settings):
    from pyspark import StorageLevel
    from pyspark.sql import SparkSession

    assert not left_over.exists()
    session = SparkSession.getActiveSession()
    frame = session.createDataFrame([(sys.argv[1] * 100, n) for n in range(100)], "token string, n int")
    frame.repartition(2, "n").persist(StorageLevel.DISK_ONLY).count()
    folder = settings.home / "run" / "spark" / "session"
    assert folder.stat().st_mode & 0o777 == 0o700
    kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert sum(map(len, kept)) > 500, sum(map(len, kept))
    print("found" if any(sys.argv[1].encode() in content for content in kept) else "not found")
"""


def run(settings: Settings, script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **settings.environment, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


def test_files_of_a_session_are_private_encrypted_and_removed(spark_settings: Settings, tmp_path: Path) -> None:
    home = tmp_path / "home"
    left_over = home / "run" / "spark" / "session" / "left-over"
    left_over.mkdir(parents=True)  # of a session that was killed
    done = run(spark_settings, SESSION, CANARY, LINKARMS_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "not found\n"
    assert list((home / "run" / "spark").iterdir()) == []
    assert stat.S_ISDIR((home / "run").stat().st_mode)


def test_a_folder_of_sparks_that_nobody_would_remove_is_refused(spark_settings: Settings, tmp_path: Path) -> None:
    elsewhere = {**spark_settings.environment, "SPARK_LOCAL_DIRS": str(tmp_path)}
    with (
        pytest.raises(LinkarmsError, match=r"SPARK_LOCAL_DIRS .* Unset it"),
        open_linkage_engine(replace(spark_settings, environment=elsewhere)),
    ):
        pass


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [{"PATH": ""}, {"JAVA_HOME": "/nowhere"}])
def test_without_java_it_says_what_to_install(spark_settings: Settings, missing: dict[str, str]) -> None:
    settings = replace(spark_settings, environment={**spark_settings.environment, **missing})
    with pytest.raises(LinkarmsError, match=r"needs Java 17.*openjdk-17-jre-headless"), open_linkage_engine(settings):
        pass


def test_a_java_that_does_not_start_spark_is_told_without_a_traceback(spark_settings: Settings, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'class file version 61.0 is too new' >&2\nexit 1\n")
    java.chmod(0o755)
    script = (
        "from pipeline.linkage_engine import open_linkage_engine\n"
        "from pipeline.settings import Settings\n"
        "from protocol.errors import LinkarmsError\n"
        "try:\n"
        "    with open_linkage_engine(Settings.from_environment()):\n"
        "        pass\n"
        "except LinkarmsError as refused:\n"
        "    print(refused)\n"
    )
    home = {"LINKARMS_HOME": str(tmp_path / "home"), "JAVA_HOME": str(tmp_path)}
    done = run(spark_settings, script, **home)
    assert done.stdout.startswith("Spark did not start. LINKARMS_ENGINE=spark needs Java 17")
    assert "class file version 61.0" in done.stderr
    assert list((tmp_path / "home" / "run" / "spark").iterdir()) == []


def test_a_process_that_checks_data_goes_on_where_pyspark_is_installed(spark_settings: Settings) -> None:
    """Great Expectations looks for PySpark's parts when it is imported, and a later PySpark ends the process then."""
    assert run(spark_settings, "import great_expectations; print('went on')").stdout == "went on\n"
