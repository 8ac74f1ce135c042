"""A submission that any agreement's rules accept, made from the agreement alone.

Every cell is drawn so that it keeps the rules: keys are unique, references lead somewhere, dates stand in their order
within a row and across tables, codes are in use on the row's day, totals add up, and as much is filled in as is agreed.
A condition is met by drawing the row again. Identifiers are those of made-up people (:mod:`synthetic.people`), some of
whom neighbouring partners share, so that samples of two partners of one seed can be linked.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from faker import Faker

from protocol.errors import AgreementError
from protocol.model import (
    Agreement,
    Classification,
    Code,
    CodeList,
    Column,
    ColumnType,
    Contract,
    IdentifierRole,
    Period,
    Reference,
    Rule,
    RuleKind,
    Table,
)
from protocol.versions import NOT_COLLECTED, terms_of, version_of
from synthetic.draws import Draws, as_day
from synthetic.generate import EXTRACTED_AFTER_DAYS, write_extract
from synthetic.patterns import draw_text
from synthetic.people import People, make_people
from synthetic.profile import CLEAN

ROWS = 200
"""Rows of a table where the caller does not say."""

_TRIES = 80
"""As often is one row drawn before the table is left with fewer rows."""
_ROUNDS = 80
"""As often are the rows drawn again that do not meet a condition."""
_HINTS_FROM = 4
"""From this round on, the values that a condition names are tried."""
_EMPTY = 0.25
"""Share of empty cells of a column that need not be filled."""
_FIRST, _LAST = date(1000, 1, 1), date(9999, 12, 31)
_YEAR = 365

Row = dict[str, str | None]


@dataclass(frozen=True)
class Sample:
    """A made-up submission of one partner for one period."""

    tables: Mapping[str, pl.DataFrame]
    """Agreed table -> its rows, every cell text or null, columns in the agreed order."""
    manifest: Mapping[str, Any]


def make_sample(
    agreement: Agreement,
    partner_id: str,
    period_id: str,
    *,
    rows: int = ROWS,
    seed: int = 1,
    version: str | None = None,
    extracted_on: date | None = None,
) -> Sample:
    """A submission of ``partner_id`` for ``period_id`` that breaks no rule.

    Tables have ``rows`` rows each, or fewer where the key cannot tell so many apart, and at least as many as agreed.
    The same arguments give the same cells. ``version`` is that of the period, ``extracted_on`` a week after its end,
    where they are left out. The sample has the agreed names, also for a partner whose own export is mapped.

    Raises KeyError for a partner, period or version that the agreement does not have, and :class:`AgreementError`
    where no row that was drawn meets a condition of the agreement, or a table cannot have as many rows as it asks for.
    """
    period = agreement.calendar.period(period_id)
    place = [partner.id for partner in agreement.partners].index(agreement.partner(partner_id).id)
    version = version or version_of(agreement, period_id)
    terms = terms_of(agreement, version)
    day = extracted_on or period.ends + timedelta(days=EXTRACTED_AFTER_DAYS)
    maker = _Maker(agreement, terms.contract, terms.codelists, period, day, rows, seed, partner_id, place)
    tables = maker.make()
    manifest = {
        "partner": partner_id,
        "period": period_id,
        "agreement_version": version,
        "kind": "full",
        "extracted_on": day.isoformat(),
        "tables": {name: len(frame) for name, frame in tables.items()},
    }
    return Sample(tables, manifest)


def write_drop(sample: Sample, folder: Path) -> Path:
    """Write the sample as the partner would drop it: ``<table>.csv`` and ``manifest.yaml``; returns the folder."""
    return write_extract(sample.tables, sample.manifest, folder)


# --- limits -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Span:
    """From when to when a date may lie, both included."""

    low: date
    high: date


class _Stream:
    """Whole numbers one after the other out of a named stream of draws."""

    def __init__(self, seed: int, *name: str) -> None:
        self._draws = Draws(seed, "sample", *name)
        self._left: list[float] = []

    def uniform(self) -> float:
        if not self._left:
            self._left = self._draws.uniform(4096).tolist()
        return self._left.pop()

    def below(self, number: int) -> int:
        return int(self.uniform() * number)

    def chance(self, share: float) -> bool:
        return self.uniform() < share

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.below(len(options))]


class _Impossible(Exception):
    """This row cannot be finished; another may."""


class _Maker:
    """Makes the tables of one sample, parents before children."""

    def __init__(
        self,
        agreement: Agreement,
        contract: Contract,
        codelists: Sequence[CodeList],
        period: Period,
        extracted_on: date,
        rows: int,
        seed: int,
        partner_id: str,
        place: int,
    ) -> None:
        self.contract = contract
        self.codes = {codelist.name: codelist.codes for codelist in codelists}
        self.period = period
        self.extracted_on = extracted_on
        self.rows = rows
        self.seed = seed
        self.partner_id = partner_id
        self.made: dict[str, list[Row]] = {}
        self.spans = self._find_spans()
        # Half of a partner's people are the next one's as well.
        shift = max(rows // 2, 1)
        day = as_day(extracted_on)
        # The same number for every partner, or the same seed would make other people.
        number = (len(agreement.partners) + 1) * shift + rows
        people = make_people(agreement, seed=seed, people=number, profile=CLEAN, first_day=day, last_day=day)
        self.people = _People(people, place * shift)
        self.faker: Any = Faker("en_GB")
        self.faker.seed_instance(seed)

    def make(self) -> dict[str, pl.DataFrame]:
        for table in self.contract.tables:
            self.made[table.name] = _TableMaker(self, table).make()
        self._add_up()
        self._demand_rows()
        return {
            table.name: pl.DataFrame(self.made[table.name], schema=dict.fromkeys(table.column_names, pl.String))
            for table in self.contract.tables
        }

    # --- dates --------------------------------------------------------------------------------------------------------

    def _find_spans(self) -> dict[tuple[str, str], _Span]:
        """The widest span of every date column that leaves room for the columns that must not lie before it."""
        spans: dict[tuple[str, str], _Span] = {}
        for table in self.contract.tables:
            for column in table.columns:
                if column.type is ColumnType.DATE:
                    spans[table.name, column.name] = self._own_span(table, column)
        order = [
            ((rule.table, rule.columns[0]), (rule.table, rule.columns[1]))
            for table in self.contract.tables
            for rule in table.rules
            if rule.kind is RuleKind.DATE_ORDER
        ]
        order += [
            ((str(rule.to_table), rule.to_columns[0]), (rule.table, rule.columns[0]))
            for table in self.contract.tables
            for rule in table.rules
            if rule.kind is RuleKind.DATE_ORDER_ACROSS
        ]
        for _ in order:
            for earlier, later in order:
                room = min(spans[earlier].high, spans[later].high)
                if spans[earlier].low <= room:
                    spans[earlier] = _Span(spans[earlier].low, room)
        return spans

    def _own_span(self, table: Table, column: Column) -> _Span:
        low = date.fromisoformat(column.minimum) if column.minimum else _FIRST
        high = date.fromisoformat(column.maximum) if column.maximum else _LAST
        for rule in table.rules:
            if column.name in rule.columns and rule.kind is RuleKind.NOT_AFTER_EXTRACT:
                high = min(high, self.extracted_on)
            if column.name in rule.columns and rule.kind is RuleKind.WITHIN_PERIOD:
                low, high = max(low, self.period.starts), min(high, self.period.ends)
        return _Span(low, high)

    def usual_span(self, table: Table, column: Column) -> _Span:
        """When such a date would lie if only common sense limited it."""
        if column.identifier is IdentifierRole.DATE_OF_BIRTH:
            return _Span(self.extracted_on - timedelta(75 * _YEAR), self.extracted_on - timedelta(16 * _YEAR))
        if column.name == table.event_date:
            return _Span(self.period.starts, self.period.ends)
        return _Span(self.period.starts - timedelta(200), self.extracted_on)

    def referring(self, table: str, column: str) -> list[Column]:
        """The column, and every column of another table that has to hold one of its values."""
        found = [self.contract.table(table).column(column)]
        for child in self.contract.tables:
            for reference in child.references:
                if reference.to_table == table and column in reference.to_columns:
                    own = reference.columns[reference.to_columns.index(column)]
                    if child.name != table:
                        found += self.referring(child.name, own)
        return found

    def is_added_up(self, table: str, column: str) -> list[ColumnType]:
        """Types of the totals that the column is part of."""
        return [
            parent.column(rule.columns[0]).type
            for parent in self.contract.tables
            for rule in parent.rules
            if rule.kind is RuleKind.TOTAL and (rule.to_table, rule.to_columns[0]) == (table, column)
        ]

    # --- totals -------------------------------------------------------------------------------------------------------

    def _add_up(self) -> None:
        """Write totals, children before parents; what cannot be kept is taken out with what hangs on it."""
        for _ in range(_ROUNDS):
            dropped = False
            for table in reversed(self.contract.tables):
                for rule in table.rules:
                    if rule.kind is RuleKind.TOTAL:
                        dropped |= self._write_totals(table, rule)
            for table in self.contract.tables:
                broken = broken_rows(table, self.made[table.name], totals=True)
                if broken:
                    self._drop(table.name, broken)
                    dropped = True
            if not dropped:
                return
        raise AgreementError("The totals and conditions of the agreement leave no rows for a sample.")

    def _write_totals(self, table: Table, rule: Rule) -> bool:
        """True where rows had to be taken out, since no total within its limits comes of them."""
        name, child = rule.columns[0], str(rule.to_table)
        sums: dict[tuple[str | None, ...], Decimal] = {}
        for row in self.made[child]:
            key = tuple(row[column] for column in rule.to_join)
            sums[key] = sums.get(key, Decimal(0)) + Decimal(row[rule.to_columns[0]] or "0")
        column = table.column(name)
        out_of_range: set[tuple[str | None, ...]] = set()
        for row in self.made[table.name]:
            key = tuple(row[own] for own in rule.join)
            if None in key or key not in sums:
                continue
            low, high = _limits(column)
            if (low is None or sums[key] >= low) and (high is None or sums[key] <= high):
                row[name] = _number_text(sums[key])
            elif not column.required:
                row[name] = None
            else:
                out_of_range.add(key)
        if not out_of_range:
            return False
        places = [
            place
            for place, row in enumerate(self.made[child])
            if tuple(row[column] for column in rule.to_join) in out_of_range
        ]
        self._drop(child, set(places))
        return True

    def _drop(self, table: str, places: set[int]) -> None:
        """Take rows out, and the rows that refer to them."""
        rows = self.made[table]
        gone = [rows[place] for place in places]
        self.made[table] = [row for place, row in enumerate(rows) if place not in places]
        for child in self.contract.tables:
            for reference in child.references:
                if reference.to_table == table:
                    lost = {tuple(row[column] for column in reference.to_columns) for row in gone}
                    orphans = {
                        place
                        for place, row in enumerate(self.made[child.name])
                        if tuple(row[column] for column in reference.columns) in lost
                    }
                    if orphans:
                        self._drop(child.name, orphans)

    def _demand_rows(self) -> None:
        for table in self.contract.tables:
            if len(self.made[table.name]) < least_rows(table):
                raise AgreementError(
                    f"A sample of {table.name} has {len(self.made[table.name])} rows, and the agreement asks for "
                    f"{least_rows(table)}. Its key, references and conditions leave no more."
                )


def least_rows(table: Table) -> int:
    """How many rows the agreement asks of a table."""
    return max((int(rule.minimum or 0) for rule in table.rules if rule.kind is RuleKind.ROW_COUNT), default=0)


_ROLES = {
    IdentifierRole.FORENAME: "forename",
    IdentifierRole.MIDDLE_NAMES: "middle_names",
    IdentifierRole.SURNAME: "surname",
    IdentifierRole.PREVIOUS_SURNAME: "later_surname",
    IdentifierRole.POSTCODE: "postcode",
    IdentifierRole.NHS_NUMBER: "nhs_number",
    IdentifierRole.NI_NUMBER: "ni_number",
    IdentifierRole.PHONE: "phone",
    IdentifierRole.EMAIL: "email",
}


class _People:
    """Made-up people, as cells of identifier columns by the place of the row."""

    def __init__(self, people: People, start: int) -> None:
        self._people = people
        self._start = start

    def cell(self, role: IdentifierRole | None, place: int) -> str | None:
        """The person's own value; None for roles that are drawn otherwise."""
        at = (self._start + place) % len(self._people)
        if role is IdentifierRole.DATE_OF_BIRTH:
            return str(np.datetime64(int(self._people.birth[at]), "D"))
        if role is IdentifierRole.SEX:
            return "female" if self._people.female[at] else "male"
        if role is IdentifierRole.SHARED_PERSON_NUMBER:
            return f"S{at:07d}"
        name = _ROLES.get(role) if role is not None else None
        return None if name is None else getattr(self._people, name)[at]


# --- one table --------------------------------------------------------------------------------------------------------


class _TableMaker:
    """Makes the rows of one table."""

    def __init__(self, maker: _Maker, table: Table) -> None:
        self.maker = maker
        self.table = table
        self.stream = _Stream(maker.seed, maker.partner_id, table.name)
        self.constraints = {column.name: maker.referring(table.name, column.name) for column in table.columns}
        self.added_up = {column.name: maker.is_added_up(table.name, column.name) for column in table.columns}
        self.shares = {
            rule.columns[0]: rule.share for rule in table.rules if rule.kind is RuleKind.COMPLETENESS and rule.share
        }
        self.empty = dict.fromkeys(table.column_names, 0)
        self.order = [rule.columns for rule in table.rules if rule.kind is RuleKind.DATE_ORDER]
        self.across = [rule for rule in table.rules if rule.kind is RuleKind.DATE_ORDER_ACROSS]
        self.dates = self._in_order([c.name for c in table.columns if c.type is ColumnType.DATE])
        self.keys: set[tuple[str | None, ...]] = set()
        self.parents = [self._parents(reference) for reference in table.references]
        self.hints: dict[str, list[str]] = {}
        self.place = 0
        self.attempt = 0

    def make(self) -> list[Row]:
        wanted = max(self.maker.rows, least_rows(self.table))
        rows: list[Row] = []
        for place in range(wanted):
            row = self._try_row(place)
            if row is None:
                break
            rows.append(row)
        return self._meet_conditions(rows)

    def _parents(self, reference: Reference) -> list[Row]:
        """Rows that a reference may lead to: those whose dates leave room for this table's."""
        if reference.to_table not in self.maker.made:
            return []
        rows = self.maker.made[reference.to_table]
        return [row for row in rows if all(row[column] is not None for column in reference.to_columns)]

    def _in_order(self, names: list[str]) -> list[str]:
        """Date columns, those that must not lie before others after them."""
        done: list[str] = []
        while len(done) < len(names):
            left = [name for name in names if name not in done]
            free = [n for n in left if not any(later == n and earlier in left for earlier, later in self.order)]
            done += free[:1] or left[:1]
        return done

    def _try_row(self, place: int) -> Row | None:
        """One row that breaks no rule but conditions; None where no more can be told apart."""
        for self.attempt in range(_TRIES):
            self.place = place
            try:
                row = self._draw_row()
            except _Impossible:
                continue
            key = tuple(row[column] for column in self.table.key)
            if key in self.keys:
                continue
            self.keys.add(key)
            for name, cell in row.items():
                self.empty[name] += cell is None
            return row
        return None

    def _draw_row(self) -> Row:
        row: Row = {}
        parents = self._refer(row)
        self._fill_dates(row, parents)
        for type_ in (ColumnType.CODE, ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.TEXT):
            for column in self.table.columns:
                if column.type is type_ and column.name not in row:
                    row[column.name] = None if self._stays_empty(column) else self._draw_cell(column, row)
        return {name: row[name] for name in self.table.column_names}

    def _stays_empty(self, column: Column) -> bool:
        if self.hints.get(column.name) and self.stream.chance(0.5):
            return not column.required and "" in self.hints[column.name] and self.stream.chance(0.5)
        return self._may_be_empty(column) and self.stream.chance(_EMPTY)

    def _may_be_empty(self, column: Column) -> bool:
        if column.required or column.name in self.table.key or self.added_up[column.name]:
            return False
        share = self.shares.get(column.name)
        # Half of what is let be empty, so that rows may still be taken out.
        return share is None or self.empty[column.name] + 1 <= (1 - share) / 2 * (self.place + 1)

    # --- references ---------------------------------------------------------------------------------------------------

    def _refer(self, row: Row) -> dict[str, Row]:
        """Choose the rows above that the row belongs to; longest references first, since others follow from them."""
        chosen: dict[str, Row] = {}
        pairs = sorted(zip(self.table.references, self.parents, strict=True), key=lambda pair: -len(pair[0].columns))
        for reference, parents in pairs:
            columns = [self.table.column(name) for name in reference.columns]
            free = all(self._may_be_empty(column) and column.name not in row for column in columns)
            if free and (not parents or self.stream.chance(_EMPTY)):
                row.update(dict.fromkeys(reference.columns))
                continue
            fitting = parents
            known = [(a, b) for a, b in zip(reference.columns, reference.to_columns, strict=True) if a in row]
            if known:
                if any(row[a] is None for a, _ in known):
                    row.update({name: None for name in reference.columns if name not in row})
                    continue
                fitting = [parent for parent in parents if all(parent[b] == row[a] for a, b in known)]
            if not fitting:
                raise _Impossible
            parent = self.stream.pick(fitting)
            chosen[reference.to_table] = parent
            row.update(dict(zip(reference.columns, (parent[name] for name in reference.to_columns), strict=True)))
        return chosen

    # --- dates --------------------------------------------------------------------------------------------------------

    def _fill_dates(self, row: Row, parents: Mapping[str, Row]) -> None:
        highs = {name: self.maker.spans[self.table.name, name].high for name in self.dates}
        for name in reversed(self.dates):
            if row.get(name):
                highs[name] = min(highs[name], date.fromisoformat(str(row[name])))
            for earlier, later in self.order:
                if later == name and self.table.column(name).required:
                    highs[earlier] = min(highs[earlier], highs[name])
        for name in self.dates:
            column = self.table.column(name)
            low = self.maker.spans[self.table.name, name].low
            for earlier, later in self.order:
                if later == name and row.get(earlier):
                    low = max(low, date.fromisoformat(str(row[earlier])))
            for rule in self.across:
                above = parents.get(str(rule.to_table), {}).get(rule.to_columns[0])
                if rule.columns[0] == name and above:
                    low = max(low, date.fromisoformat(above))
            if name in row:
                if row[name] and not low <= date.fromisoformat(str(row[name])) <= highs[name]:
                    raise _Impossible
                continue
            if self._stays_empty(column):
                row[name] = None
            elif low <= highs[name]:
                row[name] = self._draw_date(column, _Span(low, highs[name]))
            elif self._may_be_empty(column):
                row[name] = None
            else:
                raise _Impossible

    def _draw_date(self, column: Column, span: _Span) -> str:
        hinted = self._hinted(column)
        own = hinted or self.maker.people.cell(column.identifier, self.place)
        if own is not None and span.low.isoformat() <= own <= span.high.isoformat():
            return own
        usual = self.maker.usual_span(self.table, column)
        low, high = max(span.low, usual.low), min(span.high, usual.high)
        if low > high:  # nothing usual is left: close to what is usual
            near = timedelta(90)
            after = span.low > usual.high
            low, high = (span.low, _later(span.low, near, span.high)) if after else (_earlier(span, near), span.high)
        return (low + timedelta(self.stream.below((high - low).days + 1))).isoformat()

    # --- cells --------------------------------------------------------------------------------------------------------

    def _draw_cell(self, column: Column, row: Row) -> str | None:
        hinted = self._hinted(column, row)
        if column.type is ColumnType.CODE:
            return self._draw_code(column, row, hinted)
        if column.type is ColumnType.TEXT:
            return self._draw_text(column, hinted)
        return self._draw_number(column, hinted)

    def _hinted(self, column: Column, row: Row | None = None) -> str | None:
        """A value that a condition names, now and then; or that of another column of the condition."""
        hints = [hint for hint in self.hints.get(column.name, []) if hint]
        if row is not None and hints:
            hints += [
                str(row[name])
                for name in self.hints
                if row.get(name) and self.table.column(name).type is column.type and name != column.name
            ]
        return str(self.stream.pick(hints)) if hints and self.stream.chance(0.6) else None

    def _draw_code(self, column: Column, row: Row, hinted: str | None) -> str | None:
        allowed = [code.code for code in self._codes_in_force(column, row)]
        for other in self.constraints[column.name][1:]:
            if other.codelist is not None:
                values = {code.code for code in self.maker.codes[other.codelist]}
                allowed = [code for code in allowed if code in values]
        if not allowed:
            if self._may_be_empty(column):
                return None
            raise _Impossible
        own = hinted or self.maker.people.cell(column.identifier, self.place)
        if own in allowed:
            return own
        # The agreement's example is what a partner would write most often.
        if column.example in allowed and column.name not in self.table.key and self.stream.chance(0.5):
            return column.example
        return str(self.stream.pick(allowed))

    def _codes_in_force(self, column: Column, row: Row) -> list[Code]:
        codes = [code for code in self.maker.codes[column.codelist or ""] if code.code != NOT_COLLECTED]
        if self.table.event_date is None:
            starts, ends = self.maker.period.starts, self.maker.period.ends
        elif row.get(self.table.event_date):
            starts = ends = date.fromisoformat(str(row[self.table.event_date]))
        else:
            return codes
        return [c for c in codes if (c.valid_from or starts) <= ends and (c.valid_to or ends) >= starts]

    def _draw_number(self, column: Column, hinted: str | None) -> str:
        limits = [_limits(other) for other in self.constraints[column.name]]
        low = max((limit for limit, _ in limits if limit is not None), default=None)
        high = min((limit for _, limit in limits if limit is not None), default=None)
        whole = column.type is ColumnType.INTEGER or ColumnType.INTEGER in self.added_up[column.name]
        if hinted is not None and (low is None or Decimal(hinted) >= low) and (high is None or Decimal(hinted) <= high):
            return hinted
        room = Decimal(100 if column.name not in self.table.key else 20 * max(self.maker.rows, 5))
        if low is None:
            low = Decimal(0) if high is None or high >= 0 else high - room
        high = low + room if high is None else min(high, low + room)
        step = Decimal(1) if whole else Decimal("0.01") if high - low >= 1 else Decimal("0.0001")
        first = (low / step).to_integral_value(rounding="ROUND_CEILING")
        last = (high / step).to_integral_value(rounding="ROUND_FLOOR")
        if first > last:
            raise _Impossible
        return _number_text((first + self.stream.below(int(last - first) + 1)) * step)

    def _draw_text(self, column: Column, hinted: str | None) -> str:
        constraints = self.constraints[column.name]
        for candidate in self._candidates(column, hinted):
            if candidate is not None and all(_fits(candidate, other) for other in constraints):
                return candidate
        raise _Impossible

    def _candidates(self, column: Column, hinted: str | None) -> Iterator[str | None]:
        """Texts to try, each drawn only when those before it do not fit."""
        own = self.maker.people.cell(column.identifier, self.place)
        if column.classification is Classification.FREE_TEXT and column.pattern is None:
            own = self.maker.faker.sentence(nb_words=6)[: column.max_length].strip()
        if column.identifier is not None and column.name not in self.table.key:
            # A number that was only made to look right could be somebody's.
            yield from (hinted, own, column.example)
            return
        if self.attempt < 4:
            yield from (hinted, own)
            yield _reshape(column.example, self.stream)
        yield from self._drawn(column)
        if self.attempt >= 4:
            yield _reshape(column.example, self.stream)
        if column.name not in self.table.key:
            yield column.example

    def _drawn(self, column: Column) -> Iterator[str | None]:
        patterns = [other.pattern for other in self.constraints[column.name] if other.pattern is not None]
        for pattern in patterns:
            for _ in range(4):
                yield draw_text(pattern, self.stream.below)
        if not patterns:
            letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
            shortest = min(other.max_length for other in self.constraints[column.name])
            yield "".join(self.stream.pick(letters) for _ in range(max(1, min(shortest, 9))))

    # --- conditions ---------------------------------------------------------------------------------------------------

    def _meet_conditions(self, rows: list[Row]) -> list[Row]:
        for attempt in range(_ROUNDS):
            broken = broken_rows(self.table, rows, totals=False)
            if not broken:
                return rows
            self.hints = value_hints(self.table) if attempt >= _HINTS_FROM else {}
            for place in sorted(broken):
                old = rows[place]
                self.keys.discard(tuple(old[column] for column in self.table.key))
                for name, cell in old.items():
                    self.empty[name] -= cell is None
                # A row that cannot be drawn anew stays as it is until the next round.
                new = self._try_row(place)
                if new is None:
                    self.keys.add(tuple(old[column] for column in self.table.key))
                    for name, cell in old.items():
                        self.empty[name] += cell is None
                else:
                    rows[place] = new
        kept = [row for place, row in enumerate(rows) if place not in broken_rows(self.table, rows, totals=False)]
        if not kept:
            codes = ", ".join(rule.code for rule in self.table.rules if rule.kind is RuleKind.CONDITION)
            raise AgreementError(f"No row that was drawn for {self.table.name} meets its conditions ({codes}).")
        return kept


# --- small things -----------------------------------------------------------------------------------------------------


def broken_rows(table: Table, rows: list[Row], *, totals: bool) -> set[int]:
    """Places of rows that do not meet a condition; without ``totals`` those that speak of no total."""
    added = {rule.columns[0] for rule in table.rules if rule.kind is RuleKind.TOTAL}
    rules = [
        rule
        for rule in table.rules
        if rule.kind is RuleKind.CONDITION and rule.expression and (totals or not added & set(rule.columns))
    ]
    if not rules or not rows:
        return set()
    asked = [table.column(name) for name in dict.fromkeys(name for rule in rules for name in rule.columns)]
    cells = {column.name: [row[column.name] for row in rows] for column in asked}
    frame = pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String)).with_columns(
        _typed(column) for column in asked if column.type in _TYPES
    )
    broken = frame.select(
        pl.any_horizontal((~pl.sql_expr(str(rule.expression))).fill_null(False) for rule in rules)
    ).to_series()
    return set(broken.arg_true().to_list())


_TYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.DECIMAL: pl.Decimal(18, 4),
    ColumnType.DATE: pl.Date(),
}


def _typed(column: Column) -> pl.Expr:
    if column.type is ColumnType.DATE:
        return pl.col(column.name).str.to_date("%Y-%m-%d")
    return pl.col(column.name).cast(_TYPES[column.type])


def value_hints(table: Table) -> dict[str, list[str]]:
    """For each column of a condition, the values that conditions name beside it, its example, and being empty."""
    hints: dict[str, list[str]] = {}
    for rule in table.rules:
        if rule.kind is not RuleKind.CONDITION or rule.expression is None:
            continue
        texts = [text.replace("''", "'") for text in re.findall(r"'((?:[^']|'')*)'", rule.expression)]
        numbers = re.findall(r"(?<![\w'.-])-?\d+(?:\.\d+)?(?![\w'.-])", rule.expression)
        for name in rule.columns:
            column = table.column(name)
            of_type = numbers if column.type in (ColumnType.INTEGER, ColumnType.DECIMAL) else texts
            read = [value for value in of_type if _reads(value, column)]
            hints.setdefault(name, ["", column.example]).extend(read)
    return hints


def _reads(value: str, column: Column) -> bool:
    if column.type is ColumnType.DATE:
        return re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is not None
    return column.type is not ColumnType.INTEGER or "." not in value


def _limits(column: Column) -> tuple[Decimal | None, Decimal | None]:
    if column.type not in (ColumnType.INTEGER, ColumnType.DECIMAL):
        return None, None
    return tuple(None if limit is None else Decimal(limit) for limit in (column.minimum, column.maximum))  # type: ignore[return-value]


def _number_text(number: Decimal) -> str:
    """A number without an exponent and without idle zeros behind the point."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _fits(text: str, column: Column) -> bool:
    return (
        0 < len(text) <= column.max_length
        and text == text.strip()
        and text.isprintable()
        and (column.pattern is None or re.fullmatch(column.pattern, text) is not None)
    )


def _reshape(example: str, stream: _Stream) -> str:
    """The example with other digits, so that numbers look like the partner's own."""
    return "".join(str(stream.below(10)) if char.isascii() and char.isdigit() else char for char in example)


def _later(day: date, by: timedelta, limit: date) -> date:
    return limit if limit - day <= by else day + by


def _earlier(span: _Span, by: timedelta) -> date:
    return span.low if span.high - span.low <= by else span.high - by
