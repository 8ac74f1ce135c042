"""One session of Spark on this machine, as the settings open it, for all tests of this folder."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from linkage.vectors import Engine
from pipeline.linkage_engine import open_linkage_engine
from pipeline.settings import Settings


@pytest.fixture(scope="session")
def spark_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings that say Spark, and a home of their own. Skips where PySpark or Java is missing."""
    if importlib.util.find_spec("pyspark") is None or shutil.which("java") is None:
        pytest.skip("`make test-full` installs PySpark and Java and runs this")
    home: Path = tmp_path_factory.mktemp("spark")
    kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
    return Settings.from_environment(
        {**kept, "LINKARMS_HOME": str(home), "LINKARMS_ENGINE": "spark", "LINKARMS_SPARK_MASTER": "local[2]"}
    )


@pytest.fixture(scope="session")
def spark(spark_settings: Settings) -> Iterator[Engine]:
    """The engine of that session."""
    with open_linkage_engine(spark_settings) as engine:
        yield engine
