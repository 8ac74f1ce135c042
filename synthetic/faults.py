"""Making one partner's extract faulty in the ways that real ones are.

:func:`plant_faults` spoils single rows, each in one way, and so few that the submission still goes on without them;
:func:`spoil_file` spoils a whole file, so that it cannot.
"""

import csv
import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

import polars as pl

from protocol.model import Agreement, ColumnType, Rule, RuleKind, Table
from synthetic.draws import Draws
from synthetic.generate import Partnership, Tables

ROWS_PER_FAULT = 4
"""At most so many rows are spoilt in one way in one column."""

SHARE_OF_LIMIT = 0.3
"""Part of the held-back share of the agreement that planted rows may use up."""

SHARE_OF_LIMIT_PARENT = 0.08
"""The same for tables that others refer to, since a held-back row takes the rows that hang on it along."""


@dataclass(frozen=True)
class PlantedFault:
    """One row that was spoilt."""

    table: str
    row: int
    """As a spreadsheet counts: the header is row 1."""
    column: str
    kind: RuleKind
    """The kind of rule that the row breaks, and the only one."""


def plant_faults(tables: Tables, agreement: Agreement, seed: int) -> tuple[dict[str, pl.DataFrame], list[PlantedFault]]:
    """Spoil some rows of an extract.

    Codes that are in no list, days that are in no month, dates written day first, required cells left empty, keys
    given twice, references to rows that are not there, ends before beginnings. No row is spoilt twice, and fewer are
    spoilt in each table than the agreement lets be held back, so that the rest goes on.

    :returns: the spoilt tables, and what was done, in order of table and row. Rows given twice are at the table's end,
        and both the old and the new row are among the faults.
    """
    spoilt = dict(tables)
    planted: list[PlantedFault] = []
    parents = {ref.to_table for table in agreement.contract.tables for ref in table.references}
    for table in agreement.contract.tables:
        if table.name not in spoilt:
            continue
        budget = _budget(table, len(spoilt[table.name]), table.name in parents)
        work = _Work(table, spoilt[table.name], agreement, Draws(seed, "faults", table.name), budget)
        for spoil in (_end_before_start, _day_first, _impossible_day, _unknown_code, _leave_empty, _orphan):
            spoil(work)
        if table.name not in parents:
            _give_twice(work)
        spoilt[table.name] = work.frame
        planted.extend(sorted(work.planted, key=lambda fault: fault.row))
    return spoilt, planted


def spoil_extract(
    partnership: Partnership, agreement: Agreement, partner: str, period: str, seed: int
) -> tuple[Partnership, list[PlantedFault]]:
    """The partnership with one of its extracts made faulty by :func:`plant_faults`; its manifest counts the new rows.

    :raises KeyError: there is no such extract.
    """
    tables, planted = plant_faults(partnership.extracts[partner, period], agreement, seed)
    manifest = {
        **partnership.manifests[partner, period],
        "tables": {name: len(frame) for name, frame in tables.items()},
    }
    return (
        replace(
            partnership,
            extracts={**partnership.extracts, (partner, period): tables},
            manifests={**partnership.manifests, (partner, period): manifest},
        ),
        planted,
    )


def _budget(table: Table, rows: int, is_parent: bool) -> int:
    share = next((rule.share for rule in table.rules if rule.kind is RuleKind.HELD_BACK_SHARE and rule.share), 0.2)
    return int(rows * share * (SHARE_OF_LIMIT_PARENT if is_parent else SHARE_OF_LIMIT))


class _Work:
    """One table while its rows are spoilt."""

    def __init__(self, table: Table, frame: pl.DataFrame, agreement: Agreement, draws: Draws, budget: int) -> None:
        self.table = table
        self.frame = frame
        self.agreement = agreement
        self.draws = draws
        self.left = budget
        self.planted: list[PlantedFault] = []
        order = [int(place) for place in draws.shuffle(len(frame))]
        self._free = order

    def take(self, column: str, most: int, also_filled: tuple[str, ...] = ()) -> list[int]:
        """Positions of rows that are whole so far and have something in the columns."""
        wanted = min(most, self.left)
        filled = self.frame.select(pl.all_horizontal(pl.col(column, *also_filled).is_not_null())).to_series()
        taken = [place for place in self._free if filled[place]][: max(wanted, 0)]
        self._free = [place for place in self._free if place not in set(taken)]
        self.left -= len(taken)
        return taken

    def write(self, column: str, kind: RuleKind, rows: list[int], change: Callable[[int], str | None]) -> None:
        """Give each of the rows another cell, and note it."""
        cells = self.frame[column].to_list()
        for place in rows:
            cells[place] = change(place)
            self.planted.append(PlantedFault(self.table.name, place + 2, column, kind))
        self.frame = self.frame.with_columns(pl.Series(column, cells, dtype=pl.String))

    def columns(self, type_: ColumnType) -> list[str]:
        """Columns of a type that are no part of the key; of these, if any, those with something in half their rows."""
        names = [c.name for c in self.table.columns if c.type is type_ and c.name not in self.table.key]
        full = [name for name in names if self.frame[name].null_count() * 2 <= len(self.frame)]
        return full or names

    def one_of(self, names: list[str]) -> str | None:
        return str(self.draws.pick(names, 1)[0]) if names else None


def _day_first(work: _Work) -> None:
    column = work.table.event_date or work.one_of(work.columns(ColumnType.DATE))
    if column is None:
        return
    cells = work.frame[column]
    rows = work.take(column, ROWS_PER_FAULT)
    work.write(column, RuleKind.TYPE, rows, lambda place: "/".join(reversed(str(cells[place]).split("-"))))


def _impossible_day(work: _Work) -> None:
    column = work.one_of(work.columns(ColumnType.DATE))
    if column is None:
        return
    cells = work.frame[column]
    rows = work.take(column, 2)
    work.write(column, RuleKind.TYPE, rows, lambda place: f"{str(cells[place])[:4]}-02-30")


def _unknown_code(work: _Work) -> None:
    column = work.one_of(work.columns(ColumnType.CODE))
    if column is None:
        return
    rows = work.take(column, ROWS_PER_FAULT)
    work.write(column, RuleKind.CODE, rows, lambda _: "not_in_the_list")


def _leave_empty(work: _Work) -> None:
    names = [c.name for c in work.table.columns if c.required and c.name not in work.table.key]
    column = work.one_of([name for name in names if name != work.table.person_column])
    if column is None:
        return
    work.write(column, RuleKind.REQUIRED, work.take(column, 2), lambda _: None)


def _end_before_start(work: _Work) -> None:
    ordered = [rule for rule in work.table.rules if rule.kind is RuleKind.DATE_ORDER]
    ends = [rule.columns[1] for rule in ordered]
    rules = [rule for rule in ordered if ends.count(rule.columns[1]) == 1]  # so that the row breaks one rule only
    if not rules:
        return
    rule: Rule = rules[int(work.draws.integers(0, len(rules) - 1, 1)[0])]
    earlier, later = rule.columns
    starts = work.frame[earlier]
    rows = work.take(later, 2, (earlier,))
    work.write(
        later,
        RuleKind.DATE_ORDER,
        rows,
        lambda place: (date.fromisoformat(str(starts[place])) - timedelta(days=9)).isoformat(),
    )


def _orphan(work: _Work) -> None:
    for reference in work.table.references:
        if len(reference.columns) == 1 and reference.columns[0] not in work.table.key:
            column = reference.columns[0]
            rows = work.take(column, 3)
            work.write(column, RuleKind.REFERENCE, rows, lambda place: f"NOBODY{place}")


def _give_twice(work: _Work) -> None:
    """The same key again with another code or date in the row, at the table's end."""
    names = work.columns(ColumnType.CODE) + work.columns(ColumnType.DECIMAL) + work.columns(ColumnType.INTEGER)
    column = work.one_of(names)
    if column is None or work.left < 2:
        return
    work.left -= 1
    key = work.table.key[0]
    for place in work.take(column, 1):
        new = work.frame[place].with_columns(
            pl.lit(_another(work, column, str(work.frame[column][place]))).alias(column)
        )
        work.planted.append(PlantedFault(work.table.name, place + 2, key, RuleKind.UNIQUE))
        work.planted.append(PlantedFault(work.table.name, len(work.frame) + 2, key, RuleKind.UNIQUE))
        work.frame = pl.concat([work.frame, new])


def _another(work: _Work, column: str, value: str) -> str:
    agreed = work.table.column(column)
    if agreed.codelist:
        return next(code for code in work.agreement.codelist(agreed.codelist).values if code != value)
    return "2" if value != "2" else "3"


class FileFault(StrEnum):
    """What can be wrong with a file as a whole."""

    MISSING_FILE = "missing_file"
    MISSING_COLUMN = "missing_column"
    EXTRA_COLUMN = "extra_column"
    WINDOWS_1252 = "windows_1252"
    SEMICOLON = "semicolon"
    BROKEN_QUOTES = "broken_quotes"
    EMPTY_FILE = "empty_file"
    UNKNOWN_FILE = "unknown_file"


def spoil_file(folder: Path, fault: FileFault, table: str = "person") -> Path:
    """Spoil one file of a written extract (``<folder>/<table>.csv``) and return the path of the spoilt file.

    ``missing_column`` takes the last column away, ``extra_column`` adds one that is not agreed, ``windows_1252`` saves
    in the old Windows encoding, ``semicolon`` as a spreadsheet of a country that writes decimals with a comma,
    ``broken_quotes`` opens a quote that nobody closes, ``unknown_file`` puts a file beside it that is not agreed.
    """
    path = folder / f"{table}.csv"
    if fault is FileFault.MISSING_FILE:
        path.unlink()
        return path
    if fault is FileFault.UNKNOWN_FILE:
        return Path(shutil.copy(path, folder / "clients_final_v2.csv"))
    if fault is FileFault.EMPTY_FILE:
        path.write_bytes(b"")
        return path
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    if fault is FileFault.MISSING_COLUMN:
        path.write_bytes(_as_csv([row[:-1] for row in rows]).encode())
    elif fault is FileFault.EXTRA_COLUMN:
        extra = ["case_worker", *["team 4"] * (len(rows) - 1)]
        path.write_bytes(_as_csv([[*row, cell] for row, cell in zip(rows, extra, strict=True)]).encode())
    elif fault is FileFault.SEMICOLON:
        path.write_bytes(_as_csv(rows, delimiter=";").encode())
    elif fault is FileFault.WINDOWS_1252:
        if len(rows) > 1:
            rows[1][_text_column(rows)] = "Zoë"  # so that the file is not plain ASCII by chance
        path.write_bytes(_as_csv(rows).encode("cp1252", errors="replace"))
    else:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        middle = len(lines) // 2
        lines[middle] = '"' + lines[middle]
        path.write_bytes("".join(lines).encode())
    return path


def _text_column(rows: list[list[str]]) -> int:
    names: Mapping[str, int] = {name: place for place, name in enumerate(rows[0])}
    return names.get("forename", len(rows[0]) - 1)


def _as_csv(rows: list[list[str]], delimiter: str = ",") -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue()
