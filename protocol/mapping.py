"""Reading how a partner's own export becomes the agreed tables.

A partner's mapping stands in its ``partner.yaml`` under ``mapping:``, or in ``mapping.yaml`` with ``mapping/*.sql``
beside it. What several partners share stands once in ``mappings/<name>/`` and is taken up by ``use: <name>``.
"""

import re
from collections.abc import Iterable
from collections.abc import Mapping as Entries
from pathlib import Path
from typing import Any

from protocol.digest import read_text
from protocol.documents import Faults, build, read_yaml, refuse_unknown, take
from protocol.errors import AgreementError
from protocol.model import CodeList, Column, ColumnType, Contract, Mapping, SqlMapping, Table, TableMapping
from protocol.selects import check_select
from protocol.upgrade import Version

_ENTRIES = {"use", "version", "parameters", "manifest_from_name", "tables"}
_COMMENT_OR_TEXT = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_VARIABLE = re.compile(r"getvariable\s*\(\s*'([^']*)'\s*\)", re.IGNORECASE)


def read_mapping(
    own: Entries[str, Any],
    file: str,
    sql_folder: Path | None,
    folder: Path,
    contract: Contract | None,
    codelists: Entries[str, CodeList],
    faults: Faults,
    before: Version | None = None,
) -> Mapping:
    """The mapping of one partner, with what it shares taken up; an empty one, and faults, where it cannot be read.

    :param own: the entries of the partner's own mapping.
    :param file: where they stand, for faults.
    :param contract: None where it cannot be read; the mapping is then not held against it.
    :param sql_folder: the folder of the partner's own SELECTs, if there is one.
    :param before: the version before, whose tables a mapping makes that says so by its ``version``.
    """
    refuse_unknown(own, _ENTRIES, file, "", faults)
    entries = dict(own)
    use = entries.pop("use", None)
    selects = _read_selects(sql_folder, folder, faults) if sql_folder is not None else {}
    if use is not None:
        shared_folder = folder / "mappings" / str(use)
        if not re.fullmatch(r"[a-z][a-z0-9_]*", str(use)) or not shared_folder.is_dir():
            faults.add(file, "use", "names no folder of mappings/. Make that folder or correct the name.")
            return Mapping()
        shared_file = shared_folder / "mapping.yaml"
        if shared_file.is_file():
            shared = read_yaml(shared_file, folder, faults) or {}
            refuse_unknown(shared, _ENTRIES - {"use"}, f"mappings/{use}/mapping.yaml", "", faults)
            entries = _join(shared, entries)
        selects = _read_selects(shared_folder, folder, faults) | selects
    version = take(entries, "version", str, file, "", faults)
    if before is not None and version == before.name:
        contract, codelists = before.contract, before.codelists
    elif version is not None and contract is not None and version != contract.version:
        faults.add(file, "version", f"should be a version that is submitted, such as {contract.version}.")
    tables = take(entries, "tables", dict, file, "", faults) or {}
    mapping = build(
        Mapping,
        {
            "tables": [
                {"table": name, **(table if isinstance(table, dict) else {"columns": table})}
                for name, table in tables.items()
            ],
            "sql": [SqlMapping(table=name, select=text) for name, (_, text) in selects.items()],
            "version": version,
            "parameters": take(entries, "parameters", dict, file, "", faults) or {},
            "manifest_from_name": entries.get("manifest_from_name", False),
        },
        file,
        "",
        faults,
    )
    if mapping is None:
        return Mapping()
    if contract is not None:
        _check_mapping(
            mapping, {name: place for name, (place, _) in selects.items()}, file, contract, codelists, faults
        )
    return mapping


def _join(shared: Entries[str, Any], own: Entries[str, Any]) -> dict[str, Any]:
    """Shared entries with the partner's own over them; parameters and tables are joined one by one."""
    joined = {**shared, **own}
    for key in ("parameters", "tables"):
        parts = [part[key] for part in (shared, own) if isinstance(part.get(key), dict)]
        if parts:
            joined[key] = {name: value for part in parts for name, value in part.items()}
    return joined


def _read_selects(sql_folder: Path, folder: Path, faults: Faults) -> dict[str, tuple[str, str]]:
    """Agreed table -> (file, SELECT) for each SQL file of a folder, named like its table."""
    selects = {}
    for path in sorted(sql_folder.glob("*.sql")):
        name = path.relative_to(folder).as_posix()
        try:
            text = read_text(path, folder)
        except AgreementError as error:
            faults.add(name, "", str(error).removeprefix(f"{name}: "))
            continue
        if not re.fullmatch(r"[a-z][a-z0-9_]*", path.stem):
            faults.add(name, "", "should be named like the agreed table that it makes.")
            continue
        bare = _COMMENT_OR_TEXT.sub(" ", text).strip().removesuffix(";").strip()
        if ";" in bare or not re.match(r"(?i)(?:select|with|from)\b", bare):
            faults.add(name, "", "should hold one SELECT and nothing else.", 1)
            faults.doubt(name)
        selects[path.stem] = (name, text)
    return selects


def _check_mapping(
    mapping: Mapping,
    places: Entries[str, str],
    file: str,
    contract: Contract,
    codelists: Entries[str, CodeList],
    faults: Faults,
) -> None:
    if mapping.tables and mapping.sql:
        faults.add(file, "tables", "cannot stand beside SQL files. Write these renames into the SELECTs.")
    for select in mapping.sql:
        _check_sql(select, places[select.table], mapping, file, contract, faults)
    if mapping.sql:
        made = {select.table for select in mapping.sql}
        for table in contract.tables:
            if not table.optional and table.name not in made:
                faults.add(file, "", f"makes no table {table.name}. Add {table.name}.sql: it is not optional.")
    for entry in mapping.tables:
        if entry.table not in contract.table_names:
            faults.add(file, f"tables.{entry.table}", f"is no agreed table ({', '.join(contract.table_names)}).")
        else:
            _check_renames(entry, contract.table(entry.table), file, codelists, faults)


def _check_sql(select: SqlMapping, place: str, mapping: Mapping, file: str, contract: Contract, faults: Faults) -> None:
    if select.table not in contract.table_names:
        faults.add(place, "", f"is named like no agreed table ({', '.join(contract.table_names)}).", 1)
    elif not faults.doubts(place):
        for fault in check_select(select.select, contract.table(select.table).column_names):
            faults.add(place, "", fault.what, fault.line)
    for name in sorted(set(_VARIABLE.findall(select.select)) - set(mapping.parameters)):
        faults.add(file, f"parameters.{name}", f"is missing; {place} asks for it.")


def _check_renames(
    entry: TableMapping, table: Table, file: str, codelists: Entries[str, CodeList], faults: Faults
) -> None:
    at = f"tables.{entry.table}"
    if entry.file is not None and ("/" in entry.file or "\\" in entry.file or not entry.file.strip(".")):
        faults.add(file, f"{at}.file", "should be the name of a file, without a folder.")
    parts: dict[str, Iterable[str]] = {
        "columns": entry.columns,
        "codes": entry.codes,
        "constants": entry.constants,
        "absent": entry.absent,
    }
    for part, names in parts.items():
        for name in sorted(set(names) - set(table.column_names)):
            faults.add(file, f"{at}.{part}.{name}", f"is no agreed column of {table.name}.")
    filled = ("columns", "constants", "absent")
    for number, part in enumerate(filled):
        for name in sorted(set(parts[part]) & {name for other in filled[:number] for name in parts[other]}):
            faults.add(file, f"{at}.{part}.{name}", "stands under columns, constants or absent as well. Keep one.")
    _check_headings(entry, table, at, file, faults)
    for name, value in entry.constants.items():
        if name not in table.column_names:
            continue
        column = table.column(name)
        place = f"{at}.constants.{name}"
        if column.identifier is not None or name in table.key:
            faults.add(
                file,
                place,
                "cannot be the same for every row: it tells people or rows apart, and equal ones would be joined.",
            )
        elif not _is_code(value, column, codelists, faults):
            faults.add(file, place, f"is not a code of the list {column.codelist}.")
    for name, codes in entry.codes.items():
        if name not in table.column_names:
            continue
        column = table.column(name)
        if column.type is not ColumnType.CODE:
            faults.add(file, f"{at}.codes.{name}", "belongs to a column without a code list.")
            continue
        for theirs, ours in codes.items():
            if ours and not _is_code(ours, column, codelists, faults):
                faults.add(file, f"{at}.codes.{name}.{theirs}", f"is not a code of the list {column.codelist}.")


def _check_headings(entry: TableMapping, table: Table, at: str, file: str, faults: Faults) -> None:
    """Where headings are renamed, each agreed column has one heading of its own, or is said to have none."""
    headings: dict[str, str] = {}
    for name, heading in entry.columns.items():
        if not heading.strip():
            faults.add(file, f"{at}.columns.{name}", "names no heading. List it under absent if there is none.")
        elif heading.strip() in headings:
            faults.add(
                file,
                f"{at}.columns.{name}",
                f"takes the heading {heading}, as {headings[heading.strip()]} does. One heading is one column.",
            )
        headings.setdefault(heading.strip(), name)
    named = {*entry.columns, *entry.constants, *entry.absent}
    for name in table.column_names if entry.columns else ():
        if name not in named:
            faults.add(
                file,
                f"{at}.columns",
                f"leave out {name}. Name its heading, or list it under absent if the export does not have it.",
            )
    for name in entry.absent:
        if name in table.column_names and table.column(name).required:
            faults.add(file, f"{at}.absent", f"has {name}, which no row may be without.")


def _is_code(value: str, column: Column, codelists: Entries[str, CodeList], faults: Faults) -> bool:
    """False where the column's code list is known, and the value is none of its codes."""
    codelist = codelists.get(column.codelist or "")
    if column.type is not ColumnType.CODE or codelist is None:
        return True
    return value in codelist.values or faults.doubts(f"codelists/{column.codelist}.yaml")
