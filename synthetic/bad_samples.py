"""One bad sample for each rule of an agreement: a submission that breaks this rule and, where that can be, no other.

Changes are tried on rows of a sound sample (:mod:`synthetic.from_agreement`) until one breaks the wanted rule alone.
Where a rule cannot be broken by itself, what follows from it is told beside it: an over-long number is also not found
in the parent's table.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl

from protocol.model import Agreement, CodeList, Column, ColumnType, Contract, OnFailure, Period, Rule, RuleKind, Table
from protocol.versions import terms_of
from synthetic.from_agreement import Row, Sample, broken_rows, make_sample, value_hints

ROWS = 40
_MOST_COMBINATIONS = 4000
_READ = {
    ColumnType.INTEGER: re.compile(r"[+-]?[0-9]{1,18}"),
    ColumnType.DECIMAL: re.compile(r"[+-]?[0-9]{1,14}(?:\.[0-9]{1,4})?"),
    ColumnType.DATE: re.compile(r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}"),
}


@dataclass(frozen=True)
class BadSample:
    """A submission in which one rule is broken."""

    sample: Sample
    rule: Rule
    rows: tuple[int, ...]
    """Numbers of the rows that break it, as a spreadsheet counts; empty for a rule of the submission as a whole."""
    also: frozenset[str]
    """Codes of what cannot but follow."""


def bad_sample(agreement: Agreement, rule: Rule, sound: Sample) -> BadSample | None:
    """A copy of ``sound`` that breaks ``rule`` of the agreement's tables; None where no change of it does.

    No submission can break a rule such as a row count of at least 0. ``sound`` comes of
    :func:`synthetic.from_agreement.make_sample` for the agreement's own version and has some tens of rows. A rule
    against days after the extract is broken by itself only where the extract was made within its period.
    """
    terms = terms_of(agreement, str(sound.manifest["agreement_version"]))
    period = agreement.calendar.period(str(sound.manifest["period"]))
    return _Breaker(sound, terms.contract, terms.codelists, period, rule).break_it()


def bad_samples(
    agreement: Agreement, partner_id: str, period_id: str, *, rows: int = ROWS, seed: int = 1
) -> Iterator[tuple[Rule, BadSample | None]]:
    """Each rule of the agreement's own tables, in the agreed order, with a sample that breaks it.

    Raises what :func:`synthetic.from_agreement.make_sample` raises.
    """
    period = agreement.calendar.period(period_id)
    middle = period.starts + (period.ends - period.starts) // 2
    usual, early = (
        make_sample(agreement, partner_id, period_id, rows=rows, seed=seed, version=agreement.version, extracted_on=day)
        for day in (None, middle)
    )
    for table in agreement.contract.tables:
        for rule in table.rules:
            sound = early if rule.kind is RuleKind.NOT_AFTER_EXTRACT else usual
            yield rule, bad_sample(agreement, rule, sound)


class _Breaker:
    """One sound sample, and the rule that is to be broken in it."""

    def __init__(
        self, sample: Sample, contract: Contract, codelists: Sequence[CodeList], period: Period, rule: Rule
    ) -> None:
        self.sample = sample
        self.contract = contract
        self.codes = {codelist.name: codelist.codes for codelist in codelists}
        self.period = period
        self.extracted_on = date.fromisoformat(sample.manifest["extracted_on"])
        self.rule = rule
        self.table = contract.table(rule.table)
        self.rows: dict[str, list[Row]] = {name: frame.to_dicts() for name, frame in sample.tables.items()}

    def break_it(self) -> BadSample | None:
        kind = self.rule.kind
        if kind is RuleKind.ROW_COUNT:
            return self._too_few_rows()
        if kind is RuleKind.COMPLETENESS:
            return self._too_many_empty()
        if kind is RuleKind.HELD_BACK_SHARE:
            return self._too_many_held_back()
        return self._break_rows(self.rule, 1)

    # --- the submission as a whole ------------------------------------------------------------------------------------

    def _too_few_rows(self) -> BadSample | None:
        least = int(self.rule.minimum or 0)
        if least == 0:
            return None
        self._drop(self.table.name, set(range(least - 1, len(self.rows[self.table.name]))))
        also = {
            rule.code
            for table in self.contract.tables
            for rule in table.rules
            if rule.kind is RuleKind.ROW_COUNT
            and rule is not self.rule
            and len(self.rows[table.name]) < int(rule.minimum or 0)
        }
        return self._done((), also)

    def _too_many_empty(self) -> BadSample | None:
        share, rows = self.rule.share or 0, self.rows[self.table.name]
        if share == 0:
            return None
        number = int((1 - share) * len(rows)) + 1
        for row in rows[:number]:
            row[self.rule.columns[0]] = None
        also = set().union(*(self._broken_by(self.table, place) for place in range(number)))
        return self._done((), also)

    def _too_many_held_back(self) -> BadSample | None:
        share = self.rule.share if self.rule.share is not None else 1.0
        if share >= 1:
            return None
        number = int(share * len(self.rows[self.table.name])) + 1
        holding = [r for r in self.table.rules if r.is_row_rule and r.on_failure is OnFailure.HOLD_BACK]
        easy = (RuleKind.TYPE, RuleKind.CODE, RuleKind.REQUIRED, RuleKind.LENGTH)
        for rule in sorted(holding, key=lambda r: (r.kind not in easy, set(r.columns) & set(self.table.key) != set())):
            made = _Breaker(self.sample, self.contract, _lists(self.codes), self.period, rule)._break_rows(rule, number)
            if made is not None and not made.also:
                return BadSample(made.sample, self.rule, (), frozenset({rule.code}))
        return None

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _break_rows(self, rule: Rule, number: int) -> BadSample | None:
        """Change ``number`` rows so that each breaks the rule; the changes that break fewest others besides."""
        found: list[tuple[int, dict[int, Row], set[str]]] = []
        for place in range(len(self.rows[self.table.name])):
            best = self._best_change(rule, place)
            if best is not None:
                found.append((len(best[1]), best[0], best[1]))
            if len([entry for entry in found if not entry[2]]) >= number:
                break
        if len(found) < number:
            return None
        taken = sorted(found, key=lambda entry: entry[0])[:number]
        also = set().union(*(entry[2] for entry in taken))
        broken: set[int] = set()
        olds: list[Row] = []
        for _, changes, _ in taken:
            for place, row in changes.items():
                olds.append(self.rows[self.table.name][place])
                self.rows[self.table.name][place] = row
                broken.add(place)
        if rule.kind is RuleKind.TOTAL:
            also |= self._held_with(broken)
        else:
            self._drop_children(self.table.name, [*olds, *(self.rows[self.table.name][place] for place in broken)])
            self._free_totals(olds)
        return self._done(tuple(place + 2 for place in sorted(broken)), also)

    def _best_change(self, rule: Rule, place: int) -> tuple[dict[int, Row], set[str]] | None:
        """Rows changed, and the rules broken besides; None where no change breaks the rule."""
        rows = self.rows[self.table.name]
        best: tuple[dict[int, Row], set[str]] | None = None
        for cells in self._changes(rule, place):
            for blanked in self._blanks(rule, cells):
                old = rows[place]
                rows[place] = {**old, **blanked, **cells}
                broken = self._broken_by(self.table, place)
                changed = {place: rows[place]}
                if rule.kind is RuleKind.UNIQUE:
                    twin = next(
                        p for p, row in enumerate(rows) if p != place and self._key(row) == self._key(old, cells)
                    )
                    changed[twin] = rows[twin]
                rows[place] = old
                if rule.code in broken and (best is None or len(broken) - 1 < len(best[1])):
                    best = changed, broken - {rule.code}
                if best is not None and not best[1]:
                    return best
        return best

    def _key(self, row: Row, cells: Mapping[str, str | None] | None = None) -> tuple[str | None, ...]:
        both = {**row, **(cells or {})}
        return tuple(both[name] for name in self.table.key)

    def _blanks(self, rule: Rule, cells: Mapping[str, str | None]) -> Iterator[Row]:
        """Nothing, then what may be empty beside the changed cells, so that no other rule speaks of them."""
        yield {}
        beside = {
            name
            for other in self.table.rules
            if other.kind in (RuleKind.DATE_ORDER, RuleKind.CONDITION) and set(other.columns) & set(cells)
            for name in other.columns
        }
        free = [n for n in beside if n not in cells and n not in rule.columns and not self.table.column(n).required]
        if free:
            yield dict.fromkeys(free)

    def _changes(self, rule: Rule, place: int) -> Iterator[Row]:
        """Cells that could break the rule in that row."""
        row = self.rows[self.table.name][place]
        name = rule.columns[0] if rule.columns else ""
        column = self.table.column(name)
        match rule.kind:
            case RuleKind.REQUIRED:
                yield {name: None}
            case RuleKind.TYPE:
                yield {name: {ColumnType.DATE: "2026-02-30", ColumnType.DECIMAL: "1,5"}.get(column.type, "4.5")}
            case RuleKind.CODE:
                yield {name: "not_in_the_list"}
            case RuleKind.PATTERN:
                for bad in ("?", "¿?", f"{row[name] or column.example}?", "x x", " "):
                    yield {name: bad}
            case RuleKind.LENGTH:
                text = row[name] or column.example
                most = rule.max_length or 0
                yield {name: text + text[-1] * (most + 1 - len(text))}
                yield {name: text + "0" * (most + 1 - len(text))}
                yield {name: "x" * (most + 1)}
            case RuleKind.RANGE:
                for limit in _outside(column, rule):
                    yield {name: limit}
            case RuleKind.UNIQUE:
                for other, row_ in enumerate(self.rows[self.table.name]):
                    if other != place:
                        yield {key: row_[key] for key in self.table.key}
            case RuleKind.REFERENCE:
                yield from self._dangling(rule, row)
            case RuleKind.DATE_ORDER:
                yield from self._reversed(rule, row)
            case RuleKind.NOT_AFTER_EXTRACT:
                yield {name: (self.extracted_on + timedelta(1)).isoformat()}
            case RuleKind.WITHIN_PERIOD:
                yield {name: (self.period.starts - timedelta(1)).isoformat()}
                yield {name: (self.period.ends + timedelta(1)).isoformat()}
            case RuleKind.TOTAL if row[name] is not None:
                yield {name: str(Decimal(row[name] or 0) + 1)}
                yield {name: str(Decimal(row[name] or 0) - 1)}
            case RuleKind.DATE_ORDER_ACROSS:
                above = self._above(rule, row)
                if above is not None and above[rule.to_columns[0]] is not None:
                    day = date.fromisoformat(str(above[rule.to_columns[0]]))
                    yield {name: (day - timedelta(1)).isoformat()}
            case RuleKind.CONDITION:
                yield from self._untrue(rule, row)

    def _dangling(self, rule: Rule, row: Row) -> Iterator[Row]:
        """Values that no row above has, in the form that the column asks for."""
        present = {tuple(parent[c] for c in rule.to_columns) for parent in self.rows[str(rule.to_table)]}
        for name in reversed(rule.columns):
            column = self.table.column(name)
            if row[name] is None:
                continue
            options = [code.code for code in self.codes.get(column.codelist or "", ())]
            text = str(row[name])
            if column.type is ColumnType.DATE:
                options = [(date.fromisoformat(text) - timedelta(days)).isoformat() for days in range(1, 60)]
            elif column.type is not ColumnType.CODE:
                digits = [place for place, char in enumerate(text) if char.isdigit()][-3:]
                options = [
                    "".join(n[digits.index(p)] if p in digits else char for p, char in enumerate(text))
                    for n in itertools.product("0123456789", repeat=len(digits))
                ]
                options += [text[:-1] + letter for letter in "QXZqxz0123456789"] + ["nowhere"]
            for option in options:
                if tuple(option if c == name else row[c] for c in rule.columns) not in present:
                    yield {name: option}
                    break

    def _reversed(self, rule: Rule, row: Row) -> Iterator[Row]:
        earlier, later = rule.columns
        for day in (row[earlier], row[later], self.period.ends.isoformat(), self.table.column(earlier).example):
            if day is not None:
                first = date.fromisoformat(day)
                yield {earlier: day, later: (first - timedelta(1)).isoformat()}
                yield {earlier: (first + timedelta(1)).isoformat(), later: day}

    def _untrue(self, rule: Rule, row: Row) -> Iterator[Row]:
        """Values for which the condition is false, out of those that it names, examples, codes and what others have."""
        hints = value_hints(self.table)
        options: list[list[str | None]] = []
        for name in rule.columns:
            column = self.table.column(name)
            own: list[str | None] = [row[name], *(other[name] for other in self.rows[self.table.name][:3])]
            own += [code.code for code in self.codes.get(column.codelist or "", ())]
            own += [hint or None for hint in hints.get(name, [])]
            for hint in [*hints.get(name, []), row[name]]:
                if hint and column.type in (ColumnType.INTEGER, ColumnType.DECIMAL):
                    own += [str(Decimal(hint) - 1), str(Decimal(hint) + 1)]
                elif hint and column.type is ColumnType.DATE:
                    own += [(date.fromisoformat(hint) + timedelta(days)).isoformat() for days in (-1, 1)]
            options.append(list(dict.fromkeys(own)))
        combinations = list(itertools.islice(itertools.product(*options), _MOST_COMBINATIONS))
        rows = [{**row, **dict(zip(rule.columns, cells, strict=True))} for cells in combinations]
        alone = self.table.model_copy(update={"rules": (rule,)})
        for place in sorted(broken_rows(alone, rows, totals=True)):
            yield dict(zip(rule.columns, combinations[place], strict=True))

    # --- which rules a row breaks -------------------------------------------------------------------------------------

    def _broken_by(self, table: Table, place: int) -> set[str]:
        row = self.rows[table.name][place]
        unreadable = {c.name for c in table.columns if row[c.name] is not None and self._read(c, row[c.name]) is None}
        return {rule.code for rule in table.rules if rule.is_row_rule and self._breaks(rule, table, row, unreadable)}

    def _read(self, column: Column, cell: str | None) -> Any:
        """The cell as its type; None where it has not the form, or is no code of the list."""
        if cell is None:
            return None
        form = _READ.get(column.type)
        if form is not None and not form.fullmatch(cell):
            return None
        try:
            if column.type is ColumnType.DATE:
                return date.fromisoformat(cell)
            if form is not None:
                return Decimal(cell)
        except (ValueError, InvalidOperation):
            return None
        if column.type is ColumnType.CODE and cell not in {code.code for code in self.codes[column.codelist or ""]}:
            return None
        return cell

    def _breaks(self, rule: Rule, table: Table, row: Row, unreadable: set[str]) -> bool:
        name = rule.columns[0]
        column, cell = table.column(name), row[name]
        if rule.kind is RuleKind.REQUIRED:
            return any(row[other] is None for other in rule.columns)
        if rule.kind in (RuleKind.TYPE, RuleKind.CODE) and cell is not None:
            return name in unreadable or (rule.kind is RuleKind.CODE and not self._in_force(column, table, row))
        if rule.kind is RuleKind.REFERENCE:
            key = tuple(row[other] for other in rule.columns)
            keys = {tuple(parent[other] for other in rule.to_columns) for parent in self.rows[str(rule.to_table)]}
            return None not in key and key not in keys
        if rule.kind is RuleKind.UNIQUE:
            key = self._key(row)
            same = [other for other in self.rows[table.name] if self._key(other) == key]
            return None not in key and any(other != row for other in same)
        if rule.kind is RuleKind.CONDITION:
            if unreadable & set(rule.columns):
                return False
            return bool(broken_rows(table.model_copy(update={"rules": (rule,)}), [row], totals=True))
        value = None if name in unreadable else self._read(column, cell)
        if value is None:
            return False
        return self._breaks_by_value(rule, table, row, str(cell), value, unreadable)

    def _breaks_by_value(self, rule: Rule, table: Table, row: Row, cell: str, value: Any, unreadable: set[str]) -> bool:
        match rule.kind:
            case RuleKind.PATTERN:
                return re.fullmatch(rule.pattern or "", cell) is None
            case RuleKind.LENGTH:
                return len(cell) > (rule.max_length or 0)
            case RuleKind.RANGE:
                low, high = (self._read(table.column(rule.columns[0]), limit) for limit in (rule.minimum, rule.maximum))
                return bool((low is not None and value < low) or (high is not None and value > high))
            case RuleKind.DATE_ORDER:
                later = rule.columns[1]
                other = None if later in unreadable else self._read(table.column(later), row[later])
                return other is not None and other < value
            case RuleKind.NOT_AFTER_EXTRACT:
                return bool(value > self.extracted_on)
            case RuleKind.WITHIN_PERIOD:
                return not self.period.starts <= value <= self.period.ends
            case RuleKind.DATE_ORDER_ACROSS:
                above = self._above(rule, row)
                day = above and above[rule.to_columns[0]]
                return day is not None and value < date.fromisoformat(str(day))
            case RuleKind.TOTAL:
                parts = [
                    Decimal(child[rule.to_columns[0]] or 0)
                    for child in self.rows[str(rule.to_table)]
                    if [child[c] for c in rule.to_join] == [row[c] for c in rule.join]
                ]
                return bool(parts) and sum(parts) != value
        return False

    def _in_force(self, column: Column, table: Table, row: Row) -> bool:
        code = next(code for code in self.codes[column.codelist or ""] if code.code == row[column.name])
        if table.event_date is None:
            starts, ends = self.period.starts, self.period.ends
        else:
            day = self._read(table.column(table.event_date), row[table.event_date])
            if day is None:
                return True
            starts = ends = day
        return (code.valid_from or starts) <= ends and (code.valid_to or ends) >= starts

    def _above(self, rule: Rule, row: Row) -> Row | None:
        wanted = [row[c] for c in rule.join]
        return next((p for p in self.rows[str(rule.to_table)] if [p[c] for c in rule.to_join] == wanted), None)

    # --- what hangs on a row ------------------------------------------------------------------------------------------

    def _held_with(self, places: set[int]) -> set[str]:
        """Codes under which the rows below these are held back with them."""
        held = {self.table.name: places}
        codes: set[str] = set()
        for child in self.contract.tables:
            for rule in child.rules:
                if rule.kind is RuleKind.REFERENCE and rule.to_table in held:
                    above = self.rows[rule.to_table]
                    keys = {tuple(above[p][c] for c in rule.to_columns) for p in held[rule.to_table]}
                    mine = {p for p, r in enumerate(self.rows[child.name]) if tuple(r[c] for c in rule.columns) in keys}
                    if mine:
                        held[child.name] = held.get(child.name, set()) | mine
                        codes.add(f"{rule.code}.held_back")
        return codes

    def _drop_children(self, table: str, gone: list[Row]) -> None:
        for child in self.contract.tables:
            for reference in child.references:
                if reference.to_table == table:
                    lost = {tuple(row[c] for c in reference.to_columns) for row in gone}
                    places = {
                        p
                        for p, row in enumerate(self.rows[child.name])
                        if tuple(row[c] for c in reference.columns) in lost
                    }
                    if places:
                        self._drop(child.name, places)

    def _free_totals(self, parts: list[Row]) -> None:
        """Totals that rows were part of which now belong elsewhere are put right, or left empty where they may be."""
        for parent in self.contract.tables:
            for rule in parent.rules:
                if rule.kind is not RuleKind.TOTAL or rule.to_table != self.table.name:
                    continue
                keys = [[part[c] for c in rule.to_join] for part in parts]
                for row in self.rows[parent.name]:
                    own = [row[c] for c in rule.join]
                    if own in keys:
                        left = [r for r in self.rows[self.table.name] if [r[c] for c in rule.to_join] == own]
                        total = str(sum(Decimal(r[rule.to_columns[0]] or 0) for r in left)) if left else None
                        name = rule.columns[0]
                        row[name] = total or row[name] if parent.column(name).required else None

    def _drop(self, table: str, places: set[int]) -> None:
        rows = self.rows[table]
        self.rows[table] = [row for place, row in enumerate(rows) if place not in places]
        self._drop_children(table, [rows[place] for place in places])

    def _done(self, rows: tuple[int, ...], also: set[str]) -> BadSample:
        tables = {
            name: pl.DataFrame(self.rows[name], schema=frame.schema) for name, frame in self.sample.tables.items()
        }
        manifest = {**self.sample.manifest, "tables": {name: len(frame) for name, frame in tables.items()}}
        return BadSample(replace(self.sample, tables=tables, manifest=manifest), self.rule, rows, frozenset(also))


def _outside(column: Column, rule: Rule) -> Iterator[str | None]:
    """Values just outside the limits, in the column's own form."""
    for limit, by in ((rule.minimum, -1), (rule.maximum, 1)):
        if limit is None:
            continue
        if column.type is ColumnType.DATE:
            yield (date.fromisoformat(limit) + timedelta(by)).isoformat()
        else:
            yield str(Decimal(limit) + by)


def _lists(codes: Mapping[str, Any]) -> tuple[CodeList, ...]:
    return tuple(CodeList(name=name, title=name, codes=entries) for name, entries in codes.items())
