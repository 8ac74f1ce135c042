"""One cause, one finding: rows whose cells have moved, columns that were exchanged, dates whose day and month were.

Each would otherwise be told as a fault of every cell that it touches. They are recognised by the columns whose cells
have a form of their own (dates, numbers, codes, patterns); free text fits everywhere and says nothing.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import reduce

import polars as pl

from expectations.causes import fold, lost_phone_zero
from expectations.checked import FORM_KINDS, READ, Checked, Fault, none_of, value_of
from expectations.forms import TEXT_FORMS
from protocol.finding import Scope
from protocol.model import CodeList, Column, ColumnType, Rule, RuleKind, Table

MOST_PLACES = 2
"""Cells are looked for as many columns to the left and right as this."""

LEAST_FAULTS = 2
"""So many cells of a row have to be of the wrong kind for a move to be looked for, and so many to fit after it."""

Shape = str | tuple[str, ...]
"""What a cell of a column looks like: a pattern, or codes and labels."""

_TELLING = FORM_KINDS | {RuleKind.REQUIRED}

_MOST = 0.8
"""Share of a column's cells that have to be wrong, and to fit elsewhere, for it to count as exchanged."""
_LOOKED_AT = 1000
"""As many cells of a column as are looked at for that."""

_LEAST_DATES = 30
_LEAST_DAYS = 6
_LEAST_BESIDE_DAY_FIRST = 5

_SHAPES = {
    # Wider than what is accepted: a date that is only written another way has not moved.
    ColumnType.DATE: r"^[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?:[ T].*)?$"
    r"|^[0-9]{1,2}[/.\- ][0-9]{1,2}[/.\- ][0-9]{2,4}(?:[ T].*)?$"
    r"|^[0-9]{5}(?:\.[0-9]+)?$|^[0-9]{8}$|^[0-9]{1,2}[ -][A-Za-z]{3,9}[ -][0-9]{2,4}$",
    ColumnType.INTEGER: r"^[+-]?[0-9][0-9, ]*(?:[.,][0-9]+)?(?: ?[A-Za-z]{1,7})?$",
    ColumnType.DECIMAL: r"^[+-]?[£$€]?[0-9][0-9, ]*(?:[.,][0-9]+)?(?: ?[A-Za-z]{1,7})?$",
}


def find_cascades(checked: Checked, codelists: Sequence[CodeList]) -> None:
    """Put what has one cause into one fault, in place of the faults of the single cells."""
    if any(fault.rule is not None and fault.rule.kind in FORM_KINDS for fault in checked.faults.values()):
        _find_exchanged_columns(checked)
        _find_moved_rows(checked, codelists)
    _note_exchanged_days(checked)
    _note_lost_phone_zeros(checked)


# --- rows whose cells have moved --------------------------------------------------------------------------------------


def _find_moved_rows(checked: Checked, codelists: Sequence[CodeList]) -> None:
    """Rows of which several cells fit only when they are moved to the left or right from some column on."""
    table, frame = checked.table, checked.frame
    absent = {place for place, name in enumerate(table.column_names) if name in checked.absent}
    shapes = {
        place: shape
        for place, column in enumerate(table.columns)
        if place not in absent and (shape := _shape_of(column, table.rules, codelists)) is not None
    }
    faults = [f for f in checked.faults.values() if f.rule is not None and f.rule.kind in _TELLING]
    if len(shapes) < LEAST_FAULTS or len(faults) < LEAST_FAULTS:
        return
    several = reduce(lambda one, two: one + two, (f.broken.cast(pl.UInt8) for f in faults)) >= LEAST_FAULTS
    cells = frame.select(pl.int_range(pl.len()).alias("place"), *table.column_names).filter(several)
    names = table.column_names
    needed = {place for place, column in enumerate(table.columns) if column.required and place not in absent}
    # A cell that is as agreed looks like one of its column, so that only columns with faults need be looked at.
    faulty = {names.index(name) for fault in faults for name in fault.columns} & {*shapes, *needed}
    wrong = pl.sum_horizontal(_misfits(place, names[place], shapes, needed) for place in sorted(faulty))
    cells = cells.filter(wrong >= LEAST_FAULTS)
    if cells.is_empty():
        return
    found = _find_moves(cells, names, shapes, needed)
    if found.is_empty():
        return
    moved = none_of(frame.height).scatter(found["place"], True)
    _drop_rows(checked, moved)
    for (start, by), rows in found.group_by("start", "by", maintain_order=True):
        _add_moved(checked, int(start), int(by), none_of(frame.height).scatter(rows["place"], True))
    checked.moved = found["place"]
    checked.shifted_keys = _keys_where_they_stand(found, frame, table)


def _shape_of(column: Column, rules: Sequence[Rule], codelists: Sequence[CodeList]) -> Shape | None:
    """What a cell of the column looks like: a pattern, or codes and labels; None for text that may be anything."""
    if column.type in _SHAPES:
        return _SHAPES[column.type]
    for rule in rules:
        if rule.columns == (column.name,):
            if rule.kind is RuleKind.CODE:
                labels = [e.label for codelist in codelists if codelist.name == rule.codelist for e in codelist.codes]
                return (*rule.codes, *(label.lower().replace(" ", "_").replace("-", "_") for label in labels))
            if rule.kind is RuleKind.PATTERN and rule.pattern is not None:
                return rf"\A(?:{rule.pattern})\z"
    return None


def _fits(shape: Shape, name: str) -> pl.Expr:
    """True where a cell looks like one of a column; an empty cell is no evidence and fits."""
    cell = pl.col(name)
    fits = cell.str.contains(shape) if isinstance(shape, str) else fold(cell).is_in(shape)
    return fits.fill_null(True)


def _misfits(place: int, cells: str, shapes: Mapping[int, Shape], needed: AbstractSet[int]) -> pl.Expr:
    """True where a cell cannot be one of the column at ``place``: by its look, or because it is empty."""
    wrong = ~_fits(shapes[place], cells) if place in shapes else pl.lit(False)
    return wrong | pl.col(cells).is_null() if place in needed else wrong


def _find_moves(
    cells: pl.DataFrame, names: tuple[str, ...], shapes: Mapping[int, Shape], needed: AbstractSet[int]
) -> pl.DataFrame:
    """Rows whose cells fit once moved: ``place``, ``start`` (the first column that looks wrong), ``by`` (columns).

    For every column from which the cells may have moved, and every distance, the cells that do not fit are counted;
    the least wins, then the nearest, then the latest start.
    """
    width = len(names)
    distances = [by for size in range(1, MOST_PLACES + 1) for by in (size, -size)]
    wrong, right = {}, {}
    for by in (0, *distances):
        for place in sorted({*shapes, *needed}):
            if 0 <= place + by < width:
                cell = names[place + by]
                wrong[by, place] = _misfits(place, cell, shapes, needed).cast(pl.Int16)
                fits = _fits(shapes[place], cell) & pl.col(cell).is_not_null() if place in shapes else pl.lit(False)
                right[by, place] = fits.cast(pl.Int16)
    cells = cells.with_columns(
        *(count.alias(f"w{by}:{place}") for (by, place), count in wrong.items()),
        *(count.alias(f"r{by}:{place}") for (by, place), count in right.items()),
    )

    def sum_of(kind: str, by: int, first: int, last: int) -> pl.Expr:
        known = [pl.col(f"{kind}{by}:{place}") for place in range(first, last) if (by, place) in wrong]
        return pl.sum_horizontal(known) if known else pl.lit(0, pl.Int16)

    as_it_is = sum_of("w", 0, 0, width)
    tries = []
    for turn, by in enumerate(distances):
        for start in range(width):
            first = start if by > 0 else start - by  # cells that moved left have pushed out those before them
            left = sum_of("w", 0, 0, start) + sum_of("w", by, first, width)
            # A row that has moved may have a fault besides; the more has to speak for the move.
            good = (sum_of("r", by, first, width) >= LEAST_FAULTS + left) & (as_it_is - left >= LEAST_FAULTS)
            good &= left <= 1
            cost = left.cast(pl.Int32) * 100_000 + turn * 1_000 + (width - start)
            tries.append(pl.when(good).then(cost))
    best = cells.select("place", cost=pl.min_horizontal(tries)).drop_nulls()
    return best.select(
        "place",
        start=width - pl.col("cost") % 1_000,
        by=(pl.col("cost") // 1_000 % 100).replace_strict(dict(enumerate(distances)), return_dtype=pl.Int64),
    )


def _drop_rows(checked: Checked, rows: pl.Series) -> None:
    """Take rows out of every fault so far."""
    for name, fault in list(checked.faults.items()):
        broken = fault.broken & ~rows
        if broken.any():
            checked.faults[name] = replace(fault, broken=broken)
        else:
            del checked.faults[name]


def _add_moved(checked: Checked, start: int, by: int, rows: pl.Series) -> None:
    table = checked.table
    column = table.column_names[min(start, len(table.columns) - 1)]
    many = "one column" if abs(by) == 1 else f"{abs(by)} columns"
    if by > 0:
        cause = (
            f"Look at {column} and the cell before it: text with a comma that was not put in quotes was cut in two, or "
            "a cell was inserted."
        )
    else:
        cause = f"Look at {column} and the cell before it: a cell was left out or deleted, and the others moved up."
    checked.faults[f"moved {start} {by}"] = Fault(
        code=f"{table.name}.columns_shifted",
        table=table,
        scope=Scope.ROW,
        columns=(column,),
        sentence=f"From about the column {column} on, the cells of these rows stand {many} too far to the "
        f"{'right' if by > 0 else 'left'}.",
        mend=f"{cause} Move the cells back, or mend the row in your own system and export again.",
        example=None,
        broken=rows,
    )


def _keys_where_they_stand(found: pl.DataFrame, frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The keys of moved rows, so that the rows that refer to them are told to wait and not that nobody is there.

    Where text stands around it, nobody can say from which column on the cells have moved, so that a key is known both
    by where it should stand and by where it then would.
    """
    names = table.column_names
    parts = []
    for (by,), rows in found.group_by("by", maintain_order=True):
        stands = [names.index(key) + int(by) for key in table.key]
        if all(0 <= place < len(names) for place in stands):
            cells = frame[rows["place"]]
            columns = [pl.col(names[place]).alias(key) for key, place in zip(table.key, stands, strict=True)]
            parts.append(rows.select("place").with_columns(cells.select(columns)))
    empty = pl.DataFrame(schema={"place": found.schema["place"], **dict.fromkeys(table.key, pl.String())})
    return pl.concat([empty, *parts]).drop_nulls()


# --- columns that were exchanged --------------------------------------------------------------------------------------


def _find_exchanged_columns(checked: Checked) -> None:
    """Pairs of columns of which most cells are wrong and would be right in the other one."""
    table, frame = checked.table, checked.frame
    wrong = {
        column.name: broken
        for column in table.columns
        if column.name not in checked.absent and (broken := _form_broken(checked, column.name)) is not None
    }
    filled = {name: frame.height - frame[name].null_count() for name in wrong}
    mostly = [name for name in wrong if filled[name] > 1 and int(wrong[name].sum()) >= _MOST * filled[name]]
    exchanged: set[str] = set()
    for name in mostly:
        for other in table.column_names:
            if name == other or {name, other} & exchanged or other in checked.absent:
                continue
            free = table.column(other).type is ColumnType.TEXT and other not in wrong
            if not (free or other in mostly):
                continue
            if _share_that_fits(checked, name, other) >= _MOST and _share_that_fits(checked, other, name) >= _MOST:
                exchanged |= {name, other}
                _add_exchanged(checked, name, other, wrong)
                break


def _form_broken(checked: Checked, column: str) -> pl.Series | None:
    faults = [f.broken for f in checked.faults.values() if f.rule and f.rule.kind in FORM_KINDS and column in f.columns]
    return reduce(lambda one, two: one | two, faults) if faults else None


def _share_that_fits(checked: Checked, cells: str, column: str) -> float:
    """Share of one column's filled cells that pass as those of another; 0 where there are hardly any."""
    text = checked.frame[cells].drop_nulls()
    if text.len() < LEAST_FAULTS:
        return 0.0
    some = text.gather_every(max(1, text.len() // _LOOKED_AT)).rename("cell").to_frame()
    fits = pl.lit(True)
    agreed = checked.table.column(column)
    if agreed.type in TEXT_FORMS:
        fits = pl.col("cell").str.contains(rf"\A(?:{TEXT_FORMS[agreed.type]})\z")
    for rule in checked.table.rules:
        if rule.columns == (column,):
            if rule.kind is RuleKind.CODE:
                fits &= pl.col("cell").is_in(rule.codes)
            elif rule.kind is RuleKind.PATTERN and rule.pattern is not None:
                fits &= pl.col("cell").str.contains(rf"\A(?:{rule.pattern})\z")
            elif rule.kind is RuleKind.LENGTH and rule.max_length is not None:
                fits &= pl.col("cell").str.len_chars() <= rule.max_length
    return float(some.select(fits.cast(pl.Float64).mean()).item() or 0.0)


def _add_exchanged(checked: Checked, one: str, two: str, wrong: dict[str, pl.Series]) -> None:
    table = checked.table
    rows = reduce(lambda a, b: a | b, (wrong[name] for name in (one, two) if name in wrong))
    scopes = set()
    for name, fault in list(checked.faults.items()):
        if fault.rule is not None and fault.rule.kind in FORM_KINDS and set(fault.columns) & {one, two}:
            scopes.add(fault.scope)
            del checked.faults[name]
    first, second = sorted((one, two), key=table.column_names.index)
    checked.faults[f"exchanged {first} {second}"] = Fault(
        code=f"{table.name}.columns_exchanged",
        table=table,
        scope=Scope.SUBMISSION if Scope.SUBMISSION in scopes else Scope.ROW,
        columns=(first, second),
        sentence=f"{first} and {second} seem to have been exchanged: most cells of each fit the other.",
        mend="Look at the headings and at the export: put each heading over its own cells, and send again.",
        example=None,
        broken=rows,
    )


# --- cells that pass and are worth a look -----------------------------------------------------------------------------


def _note_exchanged_days(checked: Checked) -> None:
    """Dates none of which has a day after the 12th: a spreadsheet of other settings may have exchanged day and month.

    Beside dates that are written day first a few are enough, since those are the ones that it could not exchange.
    """
    for column in checked.table.columns:
        if column.type is not ColumnType.DATE or column.name in checked.absent:
            continue
        value = pl.col(READ + column.name)
        most = checked.frame.select(value.dt.day().max()).item()
        if most is None or most > 12:
            continue
        different = checked.frame.select(value).drop_nulls().unique()
        dates, days = different.height, different.select(value.dt.day().n_unique()).item()
        day_first = any(f.rule and column.name in f.columns and "day first" in f.mend for f in checked.faults.values())
        enough = dates >= _LEAST_BESIDE_DAY_FIRST if day_first else dates >= _LEAST_DATES and days >= _LEAST_DAYS
        if enough:
            _add_note(
                checked,
                column,
                "day_and_month",
                f"No date in {column.name} that can be read has a day after the 12th, so day and month may have been "
                "exchanged.",
                "Compare a few dates with your own system. If they differ, the spreadsheet read them month first: "
                "export again, and open the file with the column set to text.",
                checked.frame[READ + column.name].is_not_null(),
            )


def _note_lost_phone_zeros(checked: Checked) -> None:
    for column in checked.table.columns:
        form = lost_phone_zero(column)
        if form is None or column.name in checked.absent:
            continue
        lost = checked.frame.select(value_of(checked.table, column.name).str.contains(form).fill_null(False))[:, 0]
        broken = _form_broken(checked, column.name)
        lost = lost if broken is None else lost & ~broken
        if lost.any():
            _add_note(
                checked,
                column,
                "lost_zero",
                f"{column.name} looks like numbers whose zero in front a spreadsheet has removed.",
                "Format the column as text before the numbers are put in, and save again.",
                lost,
            )


def _add_note(checked: Checked, column: Column, kind: str, sentence: str, mend: str, rows: pl.Series) -> None:
    checked.faults[f"{kind} {column.name}"] = Fault(
        code=f"{checked.table.name}.{column.name}.{kind}",
        table=checked.table,
        scope=Scope.NOTE,
        columns=(column.name,),
        sentence=sentence,
        mend=mend,
        example=column.example,
        broken=rows,
    )
