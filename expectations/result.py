"""What a check needs to know besides the tables, and what it finds. Neither shows a cell when it is printed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum

import polars as pl

from protocol.finding import Finding, Scope
from protocol.model import Period

FindKnownKeys = Callable[[str, pl.DataFrame], pl.Series]
"""Takes a table's name and a frame of distinct keys as text (the referenced columns, no nulls); answers a Boolean
series of the same length: is a row with that key in force from an earlier submission? It lets the caller look keys up
where they are kept only as keyed pseudonyms."""


class Kind(StrEnum):
    """How a submission relates to the partner's earlier ones."""

    FULL = "full"
    DELTA = "delta"
    CORRECTION = "correction"
    NIL = "nil"


@dataclass(frozen=True)
class CheckContext:
    """The manifest's side of a check.

    ``kind`` is ``full``, ``delta``, ``correction`` or ``nil``. ``other_periods``: those for which the extract may have
    been made by mistake. For a delta, references may also be found in ``known_keys`` (table -> frame with at least the
    referenced columns) or by ``find_known_keys``; where neither speaks
    of a parent table, references to it cannot be decided and a note says so. ``previous_counts`` holds the rows in
    force, by table, from the partner's earlier submission: a full one is compared with it. ``shrink_confirmed`` is set
    when a person has confirmed that a fall in rows is right. ``nil_tables`` were declared empty in the manifest.

    What could not be read has been told by the reader, and nothing more is told because of it: ``absent_columns`` (by
    table) stand as empty cells because the file has no such column, ``unread_tables`` have no frame, ``unread_rows``
    (by table) are not in the frame. :func:`with_reading` takes them from the reader's findings.
    """

    period: Period
    extracted_on: date
    kind: str = Kind.FULL
    other_periods: tuple[Period, ...] = ()
    known_keys: Mapping[str, pl.DataFrame] = field(default_factory=dict, repr=False)
    find_known_keys: FindKnownKeys | None = field(default=None, repr=False)
    previous_counts: Mapping[str, int] = field(default_factory=dict)
    nil_tables: frozenset[str] = frozenset()
    shrink_confirmed: bool = False
    absent_columns: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unread_tables: frozenset[str] = frozenset()
    unread_rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def replaces(self) -> bool:
        """True where the submission stands for all of the period's rows, so that their number means something."""
        return self.kind in (Kind.FULL, Kind.CORRECTION)


COLUMNS_MISSING = "file.columns_missing"
"""Code of the reader's finding whose columns the file does not have."""
_ABSENT = frozenset({COLUMNS_MISSING, "mapping.column_missing", "mapping.required_column_missing"})
_ROWS_LOST = frozenset(
    {"file.cells", "file.quoting", "file.quoting_unclear", "file.rows_missing", "file.shortened_numbers"}
)
"""Codes of the reader's findings of scope FILE that leave so many rows out of a frame that none can be missed in it."""
_NO_ROWS = frozenset({"file.totals_row", "file.headings_again"})
"""Codes of the reader's findings of scope ROW about what is no row of the table, so that none is missed for it."""


def with_reading(
    context: CheckContext, findings: Sequence[Finding], tables: Mapping[str, pl.DataFrame]
) -> CheckContext:
    """The context with what the reader could not read: ``findings`` are the reader's, ``tables`` what it gave."""
    absent: dict[str, frozenset[str]] = {}
    rows: dict[str, int] = {}
    unread: set[str] = set()
    for finding in findings:
        if finding.table is None:
            continue
        if finding.code in _ABSENT:
            absent[finding.table] = absent.get(finding.table, frozenset()) | set(finding.columns)
        elif finding.scope is Scope.ROW and finding.code not in _NO_ROWS:
            rows[finding.table] = rows.get(finding.table, 0) + finding.rows_affected
        if finding.scope is Scope.FILE and (finding.table not in tables or finding.code in _ROWS_LOST):
            unread.add(finding.table)
    return replace(context, absent_columns=absent, unread_tables=frozenset(unread), unread_rows=rows)


@dataclass(frozen=True)
class TableCounts:
    """Rows of one table: ``received`` = ``accepted`` + ``held_back`` + ``repeated``.

    ``repeated`` rows are wholly equal to an earlier one and were left out. ``accepted`` counts rows without a fault,
    also where the submission as a whole is refused.
    """

    received: int
    accepted: int
    held_back: int
    repeated: int = 0


HELD_BACK_SCHEMA = pl.Schema({"table": pl.String, "row": pl.Int64, "rule": pl.String, "mend": pl.String})


@dataclass(frozen=True, repr=False)
class CheckResult:
    """Outcome of :func:`expectations.check_tables`.

    ``accepted``: agreed columns, typed by the contract (Int64, Decimal(18,4), Date, String), ``_row``, and ``_delete``
    (Boolean) in a delta. Empty where the submission is refused, so that nothing of it can be carried on.
    ``held_back``: one line for every held-back row and rule that it broke (table, row, rule, mend).
    ``repr`` shows counts only (kept by ``tests/unit/expectations/test_canaries.py``).
    """

    accepted: dict[str, pl.DataFrame]
    held_back: pl.DataFrame
    findings: tuple[Finding, ...]
    refused: bool
    counts: dict[str, TableCounts]
    undecided: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Rule code -> numbers of accepted rows for which it could not be decided, since rows that it looks at were held
    back; the gate leaves them alone."""

    @property
    def received(self) -> dict[str, int]:
        """Rows received, by table."""
        return {table: counts.received for table, counts in self.counts.items()}

    def __repr__(self) -> str:
        received = sum(counts.received for counts in self.counts.values())
        held_back = sum(counts.held_back for counts in self.counts.values())
        return (
            f"CheckResult(tables={len(self.counts)}, received={received}, held_back={held_back}, "
            f"findings={len(self.findings)}, refused={self.refused})"
        )


def count_unread_rows(result: CheckResult, findings: Sequence[Finding]) -> CheckResult:
    """The result with rows that could not be read as rows (broken quoting, cells too many) among those held back.

    ``findings`` are the reader's. Its frames are without such rows, and its findings of scope ROW number every one of
    them. Findings of other scopes, and of tables that were not checked, change nothing.
    """
    counts, lines = dict(result.counts), [result.held_back]
    for finding in findings:
        if finding.scope is not Scope.ROW or finding.table not in counts:
            continue
        table, before = finding.table, counts[finding.table]
        counts[table] = replace(
            before,
            received=before.received + finding.rows_affected,
            held_back=before.held_back + finding.rows_affected,
        )
        told = [(table, row, finding.code, finding.mend) for row in finding.first_rows]
        lines.append(pl.DataFrame(told, schema=HELD_BACK_SCHEMA, orient="row"))
    order = {name: place for place, name in enumerate(counts)}
    place = pl.col("table").replace_strict(order, return_dtype=pl.Int64)
    held_back = pl.concat(lines).sort([place, pl.col("row"), pl.col("rule")], maintain_order=True)
    return replace(result, counts=counts, held_back=held_back)
