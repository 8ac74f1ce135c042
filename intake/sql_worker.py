"""The process that runs a partner's mapping SQL, and nothing else.

Started by :mod:`intake.mapping` as a script of its own, in isolated mode and with an environment of its own, so that
a SELECT that breaks out of DuckDB, or takes it down, has no keys, no settings and no parent to reach. The files are
loaded first; then outside access is switched off and the configuration locked; only then is the SELECT parsed.

One JSON object on standard input, one line of JSON on standard output for each table when it starts and when it ends.
No message of DuckDB is passed on, because it may quote a cell: of a name that was not found only the name is told, and
the parent shows it only if it stands in the signed SQL.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

_NAME = re.compile(r'(?:column|Table with name|Function with name)\s+"?([^"\s!]+)"?', re.IGNORECASE)


def main() -> int:
    """Reads the request, runs every SELECT, tells how each ended."""
    request = json.load(sys.stdin)
    _limit_process(request)
    connection = open_locked(request)
    for select in request["selects"]:
        _tell({"table": select["table"], "state": "started"})
        _tell({"table": select["table"], **run_select(connection, select)})
    # A clean close takes its time and has nothing to save.
    sys.stdout.flush()
    connection.close()
    return 0


def open_locked(request: Mapping[str, Any]) -> "duckdb.DuckDBPyConnection":
    """A database with the files loaded, the parameters set, and no way out."""
    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    for setting, value in (
        ("autoload_known_extensions", "false"),
        ("allow_community_extensions", "false"),
        ("allow_persistent_secrets", "false"),
        ("python_enable_replacements", "false"),
        ("temp_directory", request["temporary"]),
        ("max_temp_directory_size", f"{int(request['temporary_megabytes'])}MB"),
        ("memory_limit", f"{int(request['memory_megabytes'])}MB"),
        ("threads", str(int(request["threads"]))),
    ):
        connection.execute(f"SET {setting} = {_text(value)}")
    for name, path in request["files"].items():
        connection.execute(f"CREATE TABLE {_quoted(name)} AS FROM read_parquet({_text(path)})")
    for name, value in request["parameters"].items():
        connection.execute(f"SET VARIABLE {_quoted(name)} = {_text(value)}")
    connection.execute(f"SET max_execution_time = {int(request['seconds'] * 1000)}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def run_select(connection: "duckdb.DuckDBPyConnection", select: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one SELECT and writes its result as text to Parquet; gives what became of it."""
    fault: str
    name: str | None = None
    try:
        statements = connection.extract_statements(select["select"])
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            return {"state": "fault", "fault": "not_one_select"}
        connection.execute("BEGIN TRANSACTION READ ONLY")
        return _write_result(connection, select)
    except duckdb.PermissionException:
        fault = "outside"
    except duckdb.OutOfMemoryException:
        fault = "memory"
    except duckdb.InterruptException:
        fault = "time"
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        fault = "name"
        found = _NAME.search(str(error))
        name = found.group(1) if found else None
    except duckdb.ParserException:
        fault = "syntax"
    except duckdb.TransactionException:
        fault = "writes"
    except (duckdb.Error, pl.exceptions.PolarsError, MemoryError) as error:
        text = str(error)
        fault = "memory" if "Out of Memory" in text else "time" if "INTERRUPT" in text.upper() else "cells"
    _roll_back(connection)
    return {"state": "fault", "fault": fault, "name": name}


def _write_result(connection: "duckdb.DuckDBPyConnection", select: Mapping[str, Any]) -> dict[str, Any]:
    relation = connection.sql(select["select"])
    names = list(relation.columns)
    wrong = [place for place, name in enumerate(names, start=1) if name not in select["columns"]]
    if wrong or len(set(names)) < len(names):
        _roll_back(connection)
        return {"state": "fault", "fault": "columns", "places": wrong}
    as_text = relation.project(", ".join(f"CAST({_quoted(name)} AS VARCHAR) AS {_quoted(name)}" for name in names))
    partial = Path(select["out"] + ".part")
    pl.scan_arrow_c_stream(as_text).sink_parquet(partial)
    partial.replace(select["out"])
    _roll_back(connection)
    return {"state": "done"}


def _roll_back(connection: "duckdb.DuckDBPyConnection") -> None:
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:
        return


def _limit_process(request: Mapping[str, Any]) -> None:
    """Limits by the operating system, behind those of DuckDB; where there are none, DuckDB's have to do."""
    try:
        import resource
    except ImportError:
        return
    seconds = int(request["seconds"] * max(1, len(request["selects"])) * request["threads"]) + 30
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (request["temporary_megabytes"] << 20,) * 2)
    # Address space, not memory: allocators reserve far more than they use, so this only stops a run-away.
    resource.setrlimit(resource.RLIMIT_AS, ((4 * request["memory_megabytes"] + 8192) << 20,) * 2)


def _tell(line: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


if __name__ == "__main__":
    sys.exit(main())
