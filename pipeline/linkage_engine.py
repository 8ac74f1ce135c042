"""The engine that linkage compares pairs on: DuckDB in this process, or Spark as the settings say."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import finish_removing, locked, make_private, remove_folder
from pipeline.settings import Settings
from protocol.errors import LinkarmsError

if TYPE_CHECKING:
    from linkage.vectors import Engine

_INSTALL_SPARK = (
    "LINKARMS_ENGINE=spark needs PySpark, which the extra `spark` brings: `pip install --require-hashes -r "
    "requirements/spark.txt`. Or leave LINKARMS_ENGINE out to link on DuckDB."
)
_INSTALL_JAVA = (
    "LINKARMS_ENGINE=spark needs Java 17 or later, such as Debian's openjdk-17-jre-headless. Install it, or let "
    "JAVA_HOME name it, or leave LINKARMS_ENGINE out to link on DuckDB."
)
_KEEP_FILES_PRIVATE = (
    "SPARK_LOCAL_DIRS would put Spark's files, which hold tokens, where Linkarms does not remove them. Unset it."
)


@contextmanager
def open_linkage_engine(settings: Settings) -> Iterator["Engine"]:
    """The engine that the settings name; Spark's session ends with it.

    On Spark what is spilled and shuffled by this process lies, encrypted with a key of the session's own, in a private
    folder below the home that is removed at the end, and by the next session where one was killed
    (``tests/spark/test_engine.py``). Executors of a cluster have folders of their own, which its administrator sees to.

    Raises:
        LinkarmsError: PySpark or Java is missing, Spark does not start, or ``SPARK_LOCAL_DIRS`` is set.
    """
    from linkage.vectors import duckdb_engine, spark_engine

    if settings.linkage_engine == "duckdb":
        yield duckdb_engine()
        return
    with _spark_session(settings) as session:
        yield spark_engine(session)


@contextmanager
def _spark_session(settings: Settings) -> Iterator[Any]:
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError:
        raise LinkarmsError(_INSTALL_SPARK) from None
    if not _has_java(settings):
        raise LinkarmsError(_INSTALL_JAVA)
    if settings.environment.get("SPARK_LOCAL_DIRS"):
        raise LinkarmsError(_KEEP_FILES_PRIVATE)
    with locked(settings.lock("spark")), _private_folder(settings) as folder:
        builder = SparkSession.builder.appName("linkarms").master(settings.spark_master)
        for name, value in _configure(settings, folder).items():
            builder = builder.config(name, value)
        try:
            session = builder.getOrCreate()
        except PySparkRuntimeError:  # Java ended before it answered; what it said is on standard error
            raise LinkarmsError(f"Spark did not start. {_INSTALL_JAVA}") from None
        try:
            yield session
        finally:
            session.stop()


def _configure(settings: Settings, folder: Path) -> dict[str, str]:
    """What Linkarms sets; all else is as Spark's own ``spark-defaults.conf`` says."""
    set_here = {
        "spark.local.dir": str(folder),
        "spark.io.encryption.enabled": "true",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    if settings.spark_master.startswith("local"):
        # Nothing of a session on this machine alone is to be reached from another. So few partitions as there are
        # cores: with Spark's own 200, starting tasks takes longer than the work.
        set_here |= {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.shuffle.partitions": str(os.cpu_count() or 1),
        }
    return set_here


def _has_java(settings: Settings) -> bool:
    home = settings.environment.get("JAVA_HOME")
    if home:
        return os.access(Path(home) / "bin" / "java", os.X_OK)
    return shutil.which("java", path=settings.environment.get("PATH", os.defpath)) is not None


@contextmanager
def _private_folder(settings: Settings) -> Iterator[Path]:
    """An empty folder that this account alone reads. The caller holds the lock, so what is there was left by a session
    that was killed."""
    folder = settings.home / "run" / "spark" / "session"
    folder.parent.mkdir(parents=True, exist_ok=True)
    finish_removing(folder.parent)
    remove_folder(folder)
    try:
        yield make_private(folder)
    finally:
        remove_folder(folder)
