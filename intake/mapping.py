"""A partner's own export made into the agreed tables, by the mapping that was signed with the agreement.

Two ways. Renames: files, headings and codes that are called otherwise. SQL: one SELECT for each agreed table over the
partner's files, run by :mod:`intake.sql_worker` in a process of its own with outside access off. Either way only what
the mapping or the agreement names is kept; the rest of the partner's file is not.

Faults of the mapping itself are the agreement's (:class:`MappingError`); faults of the files are findings.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from intake.csv_text import BREAKING, ROW, Place, clean_cells, open_csv, read_body
from intake.leak_scan import scan_for_identifiers
from intake.manifest import Manifest, ManifestKind
from intake.reading import (
    DELETE,
    absent_table,
    check_headings,
    check_row_count,
    complete,
    count_known,
    empty_frame,
    find_unknown_files,
    settle_columns,
)
from intake.taking import TakenDrop
from protocol.errors import AgreementError
from protocol.finding import Finding, Scope
from protocol.model import Contract, Mapping, SqlMapping, Table, TableMapping
from protocol.selects import HARMLESS_TABLE_FUNCTIONS, NO_FILE_NAME

_WORKER = Path(__file__).with_name("sql_worker.py")
_GRACE_SECONDS = 20.0
"""For starting the process and loading the files, on top of the time of the SELECTs."""
_READING_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})


class MappingError(AgreementError):
    """A mapping asks for something that a mapping may not do, or makes columns that are not agreed."""


@dataclass(frozen=True)
class SqlLimits:
    """What a partner's SQL may use."""

    memory_megabytes: int = 1024
    threads: int = 1
    """More than one is quicker, but the rows then come in another order each time."""
    seconds: float = 60.0
    """For each SELECT."""
    temporary_megabytes: int = 4096


def map_tables(
    taken: TakenDrop,
    mapping: Mapping,
    contract: Contract,
    manifest: Manifest | None = None,
    *,
    limits: SqlLimits | None = None,
) -> tuple[dict[str, pl.DataFrame], tuple[Finding, ...]]:
    """Makes the agreed tables from a partner's own files.

    Gives agreed table -> frame of text as :func:`intake.reading.read_tables` does; agreed columns that the mapping
    does not make are null. After SQL, ``_row`` numbers the rows of the result (from 2, as in a spreadsheet of it).
    Columns that are not identifiers are scanned for identifiers. Row counts are checked where a manifest has them
    and a table comes from one file. Raises :class:`MappingError` where the mapping itself is at fault.
    """
    if manifest is not None and manifest.kind == ManifestKind.NIL:
        return {}, ()
    if mapping.sql:
        tables, findings = _map_by_sql(taken, mapping, contract, limits or SqlLimits())
    else:
        tables, findings = _map_by_names(taken, mapping, contract, manifest)
    return tables, (*findings, *scan_for_identifiers(tables, contract))


# --- renames ----------------------------------------------------------------------------------------------------------


def _map_by_names(
    taken: TakenDrop, mapping: Mapping, contract: Contract, manifest: Manifest | None
) -> tuple[dict[str, pl.DataFrame], list[Finding]]:
    entries = {entry.table: entry for entry in mapping.tables}
    for entry in mapping.tables:
        _check_entry(entry, contract)
    tables: dict[str, pl.DataFrame] = {}
    findings: list[Finding] = []
    if not mapping.manifest_from_name:
        # An export without a manifest may hold more files than are shared; a hand-made drop should not.
        files = [_file_name(entries.get(table.name), table) for table in contract.tables]
        findings += find_unknown_files(taken, files)
    for table in contract.tables:
        frame, found = _map_table(taken, table, entries.get(table.name), mapping, manifest)
        findings += found
        if frame is not None:
            tables[table.name] = frame
    return tables, findings


def _check_entry(entry: TableMapping, contract: Contract) -> None:
    if entry.table not in contract.table_names:
        raise MappingError(f"the mapping names {entry.table}, which is no agreed table")
    agreed = contract.table(entry.table).column_names
    for name in (*entry.columns, *entry.codes, *entry.constants):
        if name not in agreed:
            raise MappingError(f"the mapping of {entry.table} names {name}, which is no agreed column of it")


def _file_name(entry: TableMapping | None, table: Table) -> str:
    name = entry.file if entry is not None and entry.file else table.name
    return name if name.casefold().endswith(".csv") else f"{name}.csv"


def _map_table(
    taken: TakenDrop, table: Table, entry: TableMapping | None, mapping: Mapping, manifest: Manifest | None
) -> tuple[pl.DataFrame | None, list[Finding]]:
    place = Place(_file_name(entry, table), table.name)
    file = taken.file(place.file)
    kind = manifest.kind if manifest is not None else ManifestKind.FULL
    if file is None:
        if manifest is not None and manifest.tables:
            return absent_table(table, place, manifest)
        return None, [] if table.optional else [_finding("mapping.file_missing", place)]
    renamed = entry is not None and bool(entry.columns)
    entry = entry or TableMapping(table=table.name)
    agreed = _without(table, (*entry.constants, *entry.absent))
    own = frozenset(entry.columns.get(name, name).strip() for name in agreed.column_names)

    def recognise(row: Sequence[str]) -> int:
        return len(own.intersection(cell.strip() for cell in row)) if renamed else count_known(row, agreed)

    opened, faults = open_csv(file.path, place, recognise)
    if opened is None:
        return None, list(faults)
    if not renamed:
        found, columns = check_headings(opened, agreed, kind)
    else:
        found, columns = _choose_columns(opened.headings, table, entry, place, kind)
    if not columns:
        return None, [*faults, *found]
    body = read_body(opened, columns)
    frame, unnamed = settle_columns(body.frame, place)
    if not found and body.usable and manifest is not None and manifest.tables:
        found += check_row_count(table, place, body, manifest, required=not mapping.manifest_from_name)
    # What is wrong with the file's form refuses the submission; its rows are checked in the same go.
    return _rename_codes(frame, table, entry), [*faults, *found, *unnamed, *body.findings]


def _without(table: Table, names: Collection[str]) -> Table:
    """The table as the file has to have it: without the columns that the mapping fills, or says to be absent."""
    return table.model_copy(update={"columns": tuple(column for column in table.columns if column.name not in names)})


def _choose_columns(
    headings: Sequence[str], table: Table, entry: TableMapping, place: Place, kind: str
) -> tuple[list[Finding], list[tuple[int, str]]]:
    """The mapped headings, and agreed ones that need no mapping; others are left where they are."""
    findings: list[Finding] = []
    columns: list[tuple[int, str]] = []
    read = _without(table, (*entry.constants, *entry.absent)).column_names
    wanted = {name: entry.columns.get(name, name) for name in read}
    if kind == ManifestKind.DELTA:
        wanted[DELETE] = DELETE
    for name, heading in wanted.items():
        count = headings.count(heading.strip())
        if count > 1:
            findings.append(_finding("mapping.column_twice", place, columns=(name,), heading=heading))
        elif count == 1:
            columns.append((headings.index(heading.strip()), name))
        elif name in entry.columns:
            findings.append(_finding("mapping.column_missing", place, columns=(name,), heading=heading))
        elif name != DELETE and table.column(name).required:
            findings.append(_finding("mapping.required_column_missing", place, columns=(name,), heading=heading))
    return findings, columns


def _rename_codes(frame: pl.DataFrame, table: Table, entry: TableMapping) -> pl.DataFrame:
    """The partner's codes as agreed ones, constants filled in, every agreed column there."""
    renamed = frame.with_columns(
        pl.col(name).replace({theirs.strip(): ours for theirs, ours in codes.items()})
        for name, codes in entry.codes.items()
        if name in frame.columns
    ).with_columns(pl.lit(value, dtype=pl.String).alias(name) for name, value in entry.constants.items())
    return complete(clean_cells(renamed), table)


# --- SQL --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FilesRead:
    """The files that a SELECT names, in lower case and without ending."""

    needed: tuple[str, ...]
    possible: tuple[str, ...]
    """Names that it gives to a part of itself as well: a file if there is one."""


def check_sql(select: SqlMapping, contract: Contract) -> FilesRead:
    """Refuses what is not one plain SELECT for an agreed table; gives the files that it reads.

    Raises :class:`MappingError`. This is the first fence and gives the clear message; the process that runs the
    SELECT has its own.
    """
    if select.table not in contract.table_names:
        raise MappingError(f"there is SQL for {select.table}, which is no agreed table")
    tree = _parse(select.select)
    if isinstance(tree, str):
        raise MappingError(f"the SQL for {select.table} {tree}")
    names: set[str] = set()
    own: set[str] = set()
    for node in _nodes(tree):
        kind = str(node.get("type"))
        if kind.endswith("_NODE") and kind not in _READING_NODES:
            raise MappingError(f"the SQL for {select.table} {_SQL_FAULTS['writes']}")
        if kind == "TABLE_FUNCTION":
            function = str((node.get("function") or {}).get("function_name", "")).lower()
            if function not in HARMLESS_TABLE_FUNCTIONS:
                raise MappingError(f"the SQL for {select.table} reads from a function; it may read the files only")
        elif kind == "BASE_TABLE":
            if node.get("schema_name") or node.get("catalog_name"):
                raise MappingError(f"the SQL for {select.table} names a schema; it may read the files only")
            names.add(str(node["table_name"]).lower())
        entries = (node.get("cte_map") or {}).get("map") or ()
        own |= {str(entry["key"]).lower() for entry in entries}
    files = names - own
    if any(NO_FILE_NAME.search(name) for name in files):
        raise MappingError(f"the SQL for {select.table} names a path; name the file without folder and ending")
    return FilesRead(tuple(sorted(files)), tuple(sorted(names & own)))


def _parse(select: str) -> dict[str, Any] | str:
    """The SELECT as a tree, or what is wrong with it.

    By itself, so that no exception keeps a connection alive until the program ends.
    """
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        try:
            statements = connection.extract_statements(select)
        except duckdb.Error:
            return _SQL_FAULTS["syntax"]
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            return _SQL_FAULTS["not_one_select"]
        row = connection.execute("SELECT json_serialize_sql(?)", [select]).fetchone()
    try:
        tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    except RecursionError:
        return "is nested too deeply"
    return "has to be one SELECT, without PIVOT, SHOW or SUMMARIZE" if tree.get("error") else tree


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _map_by_sql(
    taken: TakenDrop, mapping: Mapping, contract: Contract, limits: SqlLimits
) -> tuple[dict[str, pl.DataFrame], list[Finding]]:
    present = {file.stem for file in taken.files}
    wanted: dict[str, str] = {}
    for select in mapping.sql:
        read = check_sql(select, contract)
        for stem in (*read.needed, *(name for name in read.possible if name in present)):
            wanted.setdefault(stem, select.table)
    work = taken.folder.parent / "mapping"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        files, findings = _load_files(taken, wanted, work)
        if len(files) < len(wanted):
            return {}, findings
        tables, more = _run_selects(mapping, contract, files, work, limits)
        return tables, [*findings, *more]
    finally:
        # It holds the partner's rows in the clear.
        shutil.rmtree(work, ignore_errors=True)


def _load_files(taken: TakenDrop, wanted: dict[str, str], work: Path) -> tuple[dict[str, str], list[Finding]]:
    """The files that the SQL names, and no others, as Parquet: name in lower case -> path; without those that cannot
    be read whole, since a row that is left out would be missing from a join without a trace."""
    by_stem = {file.stem: file for file in taken.files}
    files: dict[str, str] = {}
    findings: list[Finding] = []
    for number, (stem, table) in enumerate(sorted(wanted.items())):
        place = Place(f"{stem}.csv")
        file = by_stem.get(stem)
        if file is None:
            findings.append(_finding("mapping.file_missing", Place(place.file, table)))
            continue
        opened, faults = open_csv(file.path, place)
        findings += faults
        if opened is None:
            continue
        folded = [heading.casefold() for heading in opened.headings]
        if "" in folded or len(set(folded)) < len(folded):
            findings.append(_finding("mapping.headings", place))
            continue
        # By place, since a heading of the partner's may be the name that the row number has here.
        places = {f"place_{place}": heading for place, heading in enumerate(opened.headings)}
        body = read_body(opened, list(enumerate(places)))
        findings += [finding.model_copy(update={"scope": Scope.FILE}) for finding in body.findings]
        if any(finding.code in BREAKING for finding in body.findings):
            continue
        path = work / f"{number:04}.parquet"
        body.frame.drop(ROW).rename(places).write_parquet(path)
        files[stem] = str(path)
    return files, findings


def _run_selects(
    mapping: Mapping, contract: Contract, files: dict[str, str], work: Path, limits: SqlLimits
) -> tuple[dict[str, pl.DataFrame], list[Finding]]:
    temporary = work / "temporary"
    temporary.mkdir(mode=0o700)
    selects = [
        {
            "table": select.table,
            "select": select.select,
            "columns": list(contract.table(select.table).column_names),
            "out": str(work / f"{select.table}.parquet"),
        }
        for select in mapping.sql
    ]
    request = {
        "files": files,
        "selects": selects,
        "parameters": mapping.parameters,
        "temporary": str(temporary),
        "memory_megabytes": limits.memory_megabytes,
        "temporary_megabytes": limits.temporary_megabytes,
        "threads": limits.threads,
        "seconds": limits.seconds,
    }
    told = _run_worker(request, temporary, limits.seconds * len(selects) + _GRACE_SECONDS)
    tables: dict[str, pl.DataFrame] = {}
    findings: list[Finding] = []
    for select in mapping.sql:
        end = told.get(select.table, {"state": "not_reached"})
        if end["state"] == "done":
            table = contract.table(select.table)
            frame = pl.read_parquet(work / f"{select.table}.parquet", glob=False)
            numbered = frame.select(pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias(ROW), pl.all())
            tables[table.name] = complete(clean_cells(numbered), table) if frame.width else empty_frame(table)
        elif end["state"] != "not_reached":
            findings += _explain(select, end)
    if len(tables) < len(mapping.sql) and not findings:
        findings.append(_finding("mapping.stopped", Place("the export")))
    return tables, findings


def _run_worker(request: dict[str, Any], temporary: Path, seconds: float) -> dict[str, dict[str, Any]]:
    """Table -> the last that the worker told of it. A worker that dies or takes too long leaves ``started``."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", str(_WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=temporary,
        env={"HOME": str(temporary), "TMPDIR": str(temporary), "POLARS_MAX_THREADS": "1", "LC_ALL": "C.UTF-8"},
    )
    overdue = False
    try:
        output, _ = process.communicate(json.dumps(request).encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        overdue = True
        process.kill()
        output, _ = process.communicate()
    told: dict[str, dict[str, Any]] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        told[entry["table"]] = entry
    for entry in told.values():
        if entry["state"] == "started":
            entry.update(state="fault", fault="time" if overdue else "memory")
    return told


def _explain(select: SqlMapping, end: dict[str, Any]) -> list[Finding]:
    """A finding where the files can be at fault; :class:`MappingError` where only the SQL can."""
    fault = end["fault"]
    if fault == "columns":
        places = ", ".join(str(place) for place in end.get("places", ()))
        which = f"column {places} of its result is not agreed" if places else "its result has a column twice"
        raise MappingError(f"the SQL for {select.table}: {which}; name the agreed columns")
    if fault in ("not_one_select", "writes", "outside", "syntax"):
        raise MappingError(f"the SQL for {select.table} {_SQL_FAULTS[fault]}")
    name = end.get("name")
    # Only a name that was signed is repeated: any other comes from the partner's headings.
    signed = isinstance(name, str) and re.search(rf"\b{re.escape(name)}\b", select.select, re.IGNORECASE)
    what = f" ({name})" if signed else ""
    return [_finding(f"mapping.{fault}", Place(f"{select.table}.csv", select.table), what=what)]


_SQL_FAULTS = {
    "not_one_select": "has to be one SELECT and nothing else",
    "writes": "tries to write; it may only read the files",
    "outside": "reaches outside the partner's files; it may only read them",
    "syntax": "cannot be parsed; try it in DuckDB 2",
}

_FAULTS: dict[str, tuple[str, str]] = {
    "mapping.file_missing": (
        "The file {file}, from which {table} is made, is missing.",
        "Export it again with all its files, and drop it as it is.",
    ),
    "mapping.column_missing": (
        "{file} lacks the column {heading}, from which {names} is made.",
        "Export it with the columns that the mapping names, or ask the coordinator to have the mapping changed.",
    ),
    "mapping.required_column_missing": (
        "{file} lacks the column {heading}, which every row needs.",
        "Export it with that column, or ask the coordinator to have the mapping changed.",
    ),
    "mapping.column_twice": (
        "{file} has more than one column {heading}.",
        "Export it with each column once.",
    ),
    "mapping.headings": (
        "In the heading row of {file} a heading is missing or stands twice.",
        "Export it again with its own heading row, unchanged.",
    ),
    "mapping.name": (
        "The mapping of {table} looks for a file, column or function that is not there{what}.",
        "Check that the export has the form that the mapping was made for; else have the mapping changed.",
    ),
    "mapping.cells": (
        "The mapping of {table} fails on the content of a cell, for example when it is read as a number or date.",
        "Have the mapping use TRY_CAST and leave the cell as it is, so that the check can name the row.",
    ),
    "mapping.time": (
        "The mapping of {table} takes longer than it may.",
        "Have its SELECT changed: it should read each file once and join on numbers that are unique on one side.",
    ),
    "mapping.memory": (
        "The mapping of {table} needs more memory than it may use.",
        "Have its SELECT changed: it should read each file once and join on numbers that are unique on one side.",
    ),
    "mapping.stopped": (
        "The mapping stopped before its first table was made.",
        "Ask the coordinator to look at the machine; nothing is wrong with the files as far as they were read.",
    ),
}


def _finding(code: str, place: Place, *, columns: Sequence[str] = (), **values: object) -> Finding:
    sentence, mend = _FAULTS[code]
    texts = {"file": place.file, "table": place.table, "names": ", ".join(columns), **values}
    return Finding(
        code=code,
        scope=Scope.SUBMISSION if place.table is None or code.startswith("mapping.stopped") else Scope.FILE,
        table=place.table,
        file=place.file,
        columns=tuple(columns),
        sentence=sentence.format(**texts),
        mend=mend,
    )
