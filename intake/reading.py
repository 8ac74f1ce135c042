"""Reads the files of a submission that uses the agreed names: every cell as text, every fault told."""

import difflib
from collections import Counter
from collections.abc import Sequence

import polars as pl

from intake.csv_text import ROW, Body, Opened, Place, open_csv, read_body
from intake.manifest import Manifest, ManifestKind
from intake.taking import TakenDrop, TakenFile
from protocol.finding import Finding, Scope
from protocol.model import Contract, Partner, Table

DELETE = "_delete"
"""Column of a delta that says yes where the row with this key is to be deleted."""


def read_tables(
    taken: TakenDrop, manifest: Manifest, contract: Contract, partner: Partner
) -> tuple[dict[str, pl.DataFrame], tuple[Finding, ...]]:
    """Reads ``<table>.csv`` for every agreed table.

    Gives agreed table -> frame with every agreed column as String (white space stripped, empty = null) in the agreed
    order after ``_row`` Int64 (the spreadsheet's row number, the heading being row 1), and in a delta ``_delete`` as
    text where the file has it. A table that is declared nil is an empty frame; a nil return has no tables. A file
    with a fault of scope FILE has no frame. Rows that are broken as rows are not in the frame; their numbers are in
    a finding of scope ROW.
    """
    tables: dict[str, pl.DataFrame] = {}
    findings: list[Finding] = []
    findings += find_unknown_files(taken, [f"{table.name}.csv" for table in contract.tables])
    if manifest.kind == ManifestKind.NIL:
        return {}, tuple(findings)
    for table in contract.tables:
        file = taken.file(f"{table.name}.csv")
        frame, found = _read_table(table, file, manifest, manifest_required=not partner.mapping.manifest_from_name)
        findings += found
        if frame is not None:
            tables[table.name] = frame
    return tables, tuple(findings)


def _read_table(
    table: Table, file: TakenFile | None, manifest: Manifest, *, manifest_required: bool
) -> tuple[pl.DataFrame | None, list[Finding]]:
    place = Place(f"{table.name}.csv", table.name)
    if file is None:
        return absent_table(table, place, manifest)
    opened, findings = open_csv(file.path, place)
    if opened is None:
        return None, list(findings)
    found, columns = check_headings(opened, table, manifest.kind)
    body = read_body(opened, columns)
    if not found and body.usable:
        found += check_row_count(table, place, body, manifest, required=manifest_required)
    found += body.findings
    usable = all(finding.scope in (Scope.ROW, Scope.NOTE) for finding in found)
    return (body.frame if usable else None), found


def absent_table(table: Table, place: Place, manifest: Manifest) -> tuple[pl.DataFrame | None, list[Finding]]:
    """What stands for a file that is not there: an empty frame, nothing, or a finding."""
    declared = manifest.tables.get(table.name, 0)
    if table.name in manifest.nil_tables:
        return empty_frame(table), []
    if declared:
        return None, [_finding("file.missing_declared", place, rows=declared)]
    if table.optional or manifest.kind == ManifestKind.DELTA:
        return None, []
    return None, [_finding("file.missing", place, label=table.label)]


def empty_frame(table: Table) -> pl.DataFrame:
    """The table without rows."""
    return pl.DataFrame(schema={ROW: pl.Int64, **dict.fromkeys(table.column_names, pl.String)})


def check_headings(opened: Opened, table: Table, kind: str) -> tuple[list[Finding], list[tuple[int, str]]]:
    """Faults of the heading row, and (place, agreed name) of the columns to read, in the agreed order."""
    place = opened.place
    places: dict[str, int] = {}
    for number, heading in enumerate(opened.headings):
        places.setdefault(heading, number)
    known = (*table.column_names, DELETE)
    missing = [name for name in table.column_names if name not in places]
    columns = [(places[name], name) for name in known if name in places]
    if len(missing) == len(table.columns):
        return [_finding("file.header_missing", place)], []
    findings: list[Finding] = []
    if missing:
        findings.append(_finding("file.columns_missing", place, columns=missing))
    findings += _unknown_headings(opened, known, missing)
    counts = Counter(opened.headings)
    for name in known:
        if counts[name] > 1:
            findings.append(_finding("file.column_twice", place, columns=[name]))
    if DELETE in places and kind != ManifestKind.DELTA:
        findings.append(_finding("file.delete_outside_delta", place, columns=[DELETE]))
    return findings, columns


def _unknown_headings(opened: Opened, known: Sequence[str], missing: Sequence[str]) -> list[Finding]:
    """One finding for each heading that is not agreed: by its place, with the nearest agreed name, never as written."""
    findings = []
    for number, heading in enumerate(opened.headings, start=1):
        if heading in known:
            continue
        if not heading:
            findings.append(_finding("file.column_unnamed", opened.place, number=number))
            continue
        simple = "_".join(heading[:64].lower().replace("-", " ").split())
        near = difflib.get_close_matches(simple, missing, 1, 0.6)
        hint = f"; is it meant to be {near[0]}?" if near else "."
        findings.append(_finding("file.column_undeclared", opened.place, number=number, hint=hint))
    return findings


def check_row_count(table: Table, place: Place, body: Body, manifest: Manifest, *, required: bool) -> list[Finding]:
    """The rows found against those that the manifest declares."""
    if table.name in manifest.nil_tables:
        return [_finding("file.declared_nil", place, found=body.rows_found)] if body.rows_found else []
    declared = manifest.tables.get(table.name)
    if declared is None:
        return [_finding("file.undeclared_rows", place, found=body.rows_found)] if required else []
    if declared != body.rows_found:
        return [_finding("file.row_count", place, declared=declared, found=body.rows_found)]
    return []


def find_unknown_files(taken: TakenDrop, agreed: Sequence[str]) -> list[Finding]:
    """One finding for each file that no agreed table has, by its place and with the nearest agreed name."""
    wanted = {name.casefold(): name for name in agreed}
    missing = [name for folded, name in wanted.items() if taken.file(folded) is None]
    findings = []
    for number, file in enumerate(taken.files, start=1):
        if file.name.casefold() in wanted:
            continue
        near = difflib.get_close_matches(file.name[:64].casefold().replace(" ", "_"), missing, 1, 0.7)
        hint = f"; is it meant to be {near[0]}?" if near else "."
        sentence, mend = _FAULTS["drop.unknown_file"]
        findings.append(
            Finding(
                code="drop.unknown_file",
                scope=Scope.SUBMISSION,
                sentence=sentence.format(number=number, total=len(taken.files), hint=hint),
                mend=mend,
            )
        )
    return findings


_FAULTS: dict[str, tuple[str, str]] = {
    "drop.unknown_file": (
        "File {number} of {total} (in order of name) is not one of the agreed files{hint}",
        "Leave it out, or give it the agreed name; nothing is taken that the agreement does not name.",
    ),
    "file.missing": (
        "{file} ({label}) is missing.",
        "Put it into the drop. If there is nothing to report, write '{table}: nil' under 'tables' of the manifest.",
    ),
    "file.missing_declared": (
        "{file} is missing, although the manifest counts {rows} rows in it.",
        "Put the file into the drop, or correct the manifest.",
    ),
    "file.header_missing": (
        "The first row of {file} holds none of the agreed headings.",
        "Insert the heading row of the template as row 1.",
    ),
    "file.columns_missing": (
        "{file} lacks {names}.",
        "Add it with the heading of the template, exactly as written there; leave cells empty where nothing is known.",
    ),
    "file.column_undeclared": (
        "Column {number} of {file} has a heading that is not agreed{hint}",
        "Correct the heading or delete the column; a column that the agreement does not name may not be sent.",
    ),
    "file.column_unnamed": (
        "Column {number} of {file} has no heading.",
        "Delete the column, also where it looks empty, or give it its agreed heading.",
    ),
    "file.column_twice": (
        "{file} has more than one column {names}.",
        "Keep the one that is right.",
    ),
    "file.delete_outside_delta": (
        "{file} has a column _delete, which only a delta may have.",
        "Delete the column, or declare 'kind: delta' in the manifest.",
    ),
    "file.declared_nil": (
        "The manifest declares {table} nil, but {file} has {found} rows.",
        "Leave the file out, or write the number of rows into the manifest.",
    ),
    "file.undeclared_rows": (
        "The manifest does not count the rows of {file}.",
        "Write '{table}: {found}' under 'tables' of the manifest if the file is whole.",
    ),
    "file.row_count": (
        "The manifest counts {declared} rows of {file}, but the file has {found}.",
        "Check that the file was exported and copied whole; then correct the number in the manifest.",
    ),
}


def _finding(code: str, place: Place, *, columns: Sequence[str] = (), **values: object) -> Finding:
    sentence, mend = _FAULTS[code]
    names = ("the columns " if len(columns) > 1 and code == "file.columns_missing" else "") + ", ".join(columns)
    if code == "file.columns_missing" and len(columns) == 1:
        names = f"the column {names}"
    texts = {"file": place.file, "table": place.table, "names": names, **values}
    return Finding(
        code=code,
        scope=Scope.FILE,
        table=place.table,
        file=place.file,
        columns=tuple(columns),
        sentence=sentence.format(**texts),
        mend=mend.format(**texts),
    )
