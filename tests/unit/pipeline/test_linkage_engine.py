"""Which engine the settings name, and what is said where it is not installed."""

import sys

import pytest

from pipeline.linkage_engine import open_linkage_engine
from pipeline.settings import Settings
from protocol.errors import LinkarmsError
from tests.unit.linkage.conftest import MARGARET, encode
from tests.unit.linkage.test_comparisons import compare


@pytest.mark.parametrize("named", [{}, {"LINKARMS_ENGINE": ""}, {"LINKARMS_ENGINE": "duckdb"}])
def test_linkage_runs_on_duckdb_where_nothing_else_is_set(named: dict[str, str]) -> None:
    found = encode({"a1": MARGARET, "b1": MARGARET})
    with open_linkage_engine(Settings.from_environment(named)) as engine:
        assert compare(found, engine).equals(compare(found))


def test_an_engine_that_there_is_not_is_refused_when_the_settings_are_read() -> None:
    with pytest.raises(LinkarmsError, match="LINKARMS_ENGINE should be duckdb or spark"):
        Settings.from_environment({"LINKARMS_ENGINE": "Spark"})


def test_spark_runs_on_this_machine_unless_a_cluster_is_named() -> None:
    assert Settings.from_environment({"LINKARMS_ENGINE": "spark"}).spark_master == "local[*]"
    named = {"LINKARMS_ENGINE": "spark", "LINKARMS_SPARK_MASTER": "spark://cluster:7077"}
    assert Settings.from_environment(named).spark_master == "spark://cluster:7077"


def test_without_pyspark_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)  # as where it was never installed
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    with (
        pytest.raises(LinkarmsError, match=r"needs PySpark, .*requirements/spark.txt"),
        open_linkage_engine(Settings.from_environment({"LINKARMS_ENGINE": "spark"})),
    ):
        pass
