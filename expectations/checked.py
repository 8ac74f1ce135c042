"""A table on its way through the check: its frame, its faults so far, and how cells are read in expressions."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from expectations.forms import POLARS_TYPES
from protocol.finding import Scope
from protocol.model import OnFailure, Rule, RuleKind, Table

# Names of working columns. Agreed names start with a letter, so none of these can meet one of them.
READ = "~"
DELETES = "_delete"

FORM_KINDS = frozenset({RuleKind.TYPE, RuleKind.CODE, RuleKind.PATTERN})
"""Rules over the form of one cell."""


@dataclass(frozen=True)
class Fault:
    """One rule and one variant of how it was broken. ``rule`` is None for what no rule of the agreement states."""

    code: str
    table: Table
    scope: Scope
    columns: tuple[str, ...]
    sentence: str
    mend: str
    example: str | None
    broken: pl.Series
    """Boolean, one entry a row."""
    rule: Rule | None = None
    others: pl.Series | None = None
    """Int64, one entry a row: number of the row that it clashes with; null where there is none."""
    other_table: str | None = None


@dataclass
class Checked:
    """A table on its way through the check."""

    table: Table
    frame: pl.DataFrame
    """Columns as text, as read (``~name``), ``_row``, ``_delete`` as Boolean where there is one."""
    absent: frozenset[str] = frozenset()
    """Columns that the file does not have: no rule speaks of them."""
    faults: dict[str, Fault] = field(default_factory=dict)
    """Fault by a name of its own; references are set anew until nothing changes."""
    repeats: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.Boolean))
    """Rows that are wholly equal to an earlier one."""
    first_of_equal: pl.Series | None = None
    """Int64, one entry a row: for a row of a key that stands several times, the number of another row of it."""
    moved: pl.Series | None = None
    """Places in the frame of rows whose cells have moved."""
    shifted_keys: pl.DataFrame | None = None
    """For rows whose cells have moved: their place in the frame (``place``) and the table's key columns as text, from
    where they stand now."""

    @property
    def deletes(self) -> pl.Series:
        """Rows that are deletions by key."""
        if DELETES in self.frame.columns:
            return self.frame[DELETES]
        return none_of(self.frame.height)

    @property
    def held_back(self) -> pl.Series:
        """Rows with a fault that holds them back or refuses the submission."""
        held = none_of(self.frame.height)
        for fault in self.faults.values():
            if fault.scope is not Scope.NOTE:
                held = held | fault.broken
        return held

    def add(
        self,
        rule: Rule,
        broken: pl.Series,
        variant: str = "",
        *,
        hint: str = "",
        sentence: str | None = None,
        others: pl.Series | None = None,
        other_table: str | None = None,
    ) -> None:
        """Note the rows that break a rule; a fault of the same rule and variant is replaced.

        ``hint`` is what the likely cause says on mending. It stands in place of the rule's own words where a cell
        cannot be read, since it says the same more narrowly, and before them elsewhere.
        """
        name = f"{rule.code} {variant}"
        if not broken.any():
            self.faults.pop(name, None)
            return
        mend = hint if hint and rule.kind is RuleKind.TYPE else f"{hint} {rule.mend}".strip()
        self.faults[name] = Fault(
            code=rule.code,
            table=self.table,
            scope=scope_of(rule),
            columns=rule.columns,
            sentence=sentence or rule.sentence,
            mend=mend,
            example=rule.example,
            broken=broken,
            rule=rule,
            others=others,
            other_table=other_table,
        )


def scope_of(rule: Rule) -> Scope:
    """What breaking the rule takes out of the submission."""
    return {OnFailure.HOLD_BACK: Scope.ROW, OnFailure.REFUSE: Scope.SUBMISSION, OnFailure.NOTE: Scope.NOTE}[
        rule.on_failure
    ]


def none_of(height: int) -> pl.Series:
    """No row."""
    return pl.repeat(False, height, dtype=pl.Boolean, eager=True)


def value_of(table: Table, name: str) -> pl.Expr:
    """The cell as read, null where it could not be."""
    return pl.col(READ + name if POLARS_TYPES[table.column(name).type] != pl.String else name)


def readable(table: Table, name: str) -> pl.Expr:
    """True where the cell has its type and is one of its codes: other rules are tried on such cells only."""
    column = table.column(name)
    if POLARS_TYPES[column.type] != pl.String:
        return pl.col(READ + name).is_not_null()
    codes = [rule.codes for rule in table.rules if rule.kind is RuleKind.CODE and rule.columns == (name,)]
    return pl.col(name).is_in(codes[0]) if codes else pl.lit(True)


def key_parts(table: Table, columns: Sequence[str], keys: Sequence[str]) -> list[pl.Expr]:
    """Key columns as comparable text: a number is written in one way only."""
    return [value_of(table, column).cast(pl.String).alias(key) for key, column in zip(keys, columns, strict=True)]
