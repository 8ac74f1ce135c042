"""The rules that decide a submission as a whole: row counts, completeness, the held-back share, the volume.

The figures are worked out here once. The officer's own check compares them in plain Python; the gate has Great
Expectations compare the same figures (:mod:`expectations.suites`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from expectations.result import CheckContext
from protocol.finding import Finding, Scope
from protocol.model import Contract, OnFailure, Rule, RuleKind, Table

FIRST_ROWS = 20
"""As many row numbers as a finding shows."""


@dataclass(frozen=True)
class SubmissionFigure:
    """One figure of a submission and the limits that a rule sets for it.

    ``kind`` tells apart the two figures of a row-count rule: ``rows`` and ``share_of_earlier``.
    """

    rule: Rule
    table: Table
    kind: str
    value: float
    least: float | None = None
    most: float | None = None
    rows_affected: int = 0
    first_rows: tuple[int, ...] = ()
    earlier: int | None = None

    @property
    def code(self) -> str:
        """Code of the finding that it leads to."""
        return f"{self.rule.code}.fallen" if self.kind == "share_of_earlier" else self.rule.code

    @property
    def holds(self) -> bool:
        """True where the figure keeps its limits."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)


def kept_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of an accepted frame that are not deletions by key."""
    return frame.filter(~pl.col("_delete")) if "_delete" in frame.columns else frame


def work_out_figures(
    accepted: Mapping[str, pl.DataFrame],
    received: Mapping[str, int],
    held_back: Mapping[str, int],
    contract: Contract,
    context: CheckContext,
    every_row: Mapping[str, pl.DataFrame] | None = None,
) -> tuple[SubmissionFigure, ...]:
    """All figures that the contract's submission rules speak of, in the contract's order.

    Completeness and row counts are those of the accepted rows, since these are what the pool would get. A delta is
    not held to row counts: it may rightly be small. A table declared nil has no row count to keep, neither has one
    whose file is missing or could not be read, and a table without rows has no share.

    ``every_row``: frames with all rows received. Of a table that is refused for the rows held back, these are counted,
    so that nothing is told as missing only because it was held back.
    """
    figures: list[SubmissionFigure] = []
    excused = context.nil_tables | context.unread_tables
    for table in contract.tables:
        frame = kept_rows(accepted[table.name]) if table.name in accepted else None
        if every_row is not None and table.name in every_row and _too_many(table, received, held_back):
            frame = kept_rows(every_row[table.name])
        for rule in table.rules:
            if rule.kind is RuleKind.HELD_BACK_SHARE and rule.share is not None:
                rows = received.get(table.name, 0)
                if rows:
                    held = held_back.get(table.name, 0)
                    figures.append(
                        SubmissionFigure(rule, table, "share", held / rows, most=rule.share, rows_affected=held)
                    )
            elif rule.kind is RuleKind.COMPLETENESS and rule.share is not None:
                absent = context.absent_columns.get(table.name, frozenset())
                if frame is not None and frame.height and not absent & set(rule.columns):
                    empty = frame.filter(pl.col(rule.columns[0]).is_null())["_row"].sort()
                    figures.append(
                        SubmissionFigure(
                            rule,
                            table,
                            "share",
                            1 - empty.len() / frame.height,
                            least=rule.share,
                            rows_affected=empty.len(),
                            first_rows=tuple(empty.head(FIRST_ROWS).to_list()),
                        )
                    )
            elif rule.kind is RuleKind.ROW_COUNT and context.replaces and table.name not in excused:
                figures.extend(_row_figures(rule, table, frame, context))
    return tuple(figures)


def _too_many(table: Table, received: Mapping[str, int], held_back: Mapping[str, int]) -> bool:
    """True where more rows of a table are held back than the agreement lets pass."""
    rows, held = received.get(table.name, 0), held_back.get(table.name, 0)
    shares = [rule.share for rule in table.rules if rule.kind is RuleKind.HELD_BACK_SHARE and rule.share is not None]
    return rows > 0 and any(held > share * rows for share in shares)


def _row_figures(
    rule: Rule, table: Table, frame: pl.DataFrame | None, context: CheckContext
) -> tuple[SubmissionFigure, ...]:
    """The number of rows against the rule's minimum, and against the partner's earlier number where there is one."""
    rows = 0 if frame is None else frame.height
    figures = []
    if rule.minimum is not None and not (frame is None and table.optional):
        figures.append(SubmissionFigure(rule, table, "rows", rows, least=int(rule.minimum)))
    earlier = context.previous_counts.get(table.name, 0)
    if rule.share is not None and earlier > 0:
        figures.append(
            SubmissionFigure(rule, table, "share_of_earlier", rows / earlier, least=rule.share, earlier=earlier)
        )
    return tuple(figures)


def figure_finding(figure: SubmissionFigure, context: CheckContext) -> Finding:
    """The finding for a figure that breaks its limits. Only counts and shares are told, never a cell."""
    rule = figure.rule
    if figure.kind == "share_of_earlier":
        rows = round(figure.value * (figure.earlier or 0))
        sentence = (
            f"The table {figure.table.name} has fallen to {rows:,} usable rows from {figure.earlier:,} in your earlier "
            f"submission; the agreement expects at least {figure.least or 0:.0%} of them."
        )
        mend = (
            "Check that the export was complete (no filter, no team left out) and send it again. If the fall is right, "
            "tell the partnership's coordinator, who can let it through."
        )
        scope = Scope.NOTE if context.shrink_confirmed else Scope.SUBMISSION
    else:
        sentence, mend = f"{rule.sentence} {_told(figure)}", rule.mend
        # Single rows cannot be held back for what is wrong with all of them.
        scope = Scope.NOTE if rule.on_failure is OnFailure.NOTE else Scope.SUBMISSION
    return Finding(
        code=figure.code,
        scope=scope,
        table=figure.table.name,
        file=f"{figure.table.name}.csv",
        columns=rule.columns,
        sentence=sentence,
        mend=mend,
        example=rule.example,
        rows_affected=figure.rows_affected,
        first_rows=figure.first_rows,
    )


def _told(figure: SubmissionFigure) -> str:
    if figure.kind == "rows":
        return f"It has {figure.value:,.0f}; at least {figure.least or 0:,.0f} are expected."
    if figure.most is not None:
        return f"Found {_share(figure.value)}; at most {_share(figure.most)} is agreed."
    return f"Found {_share(figure.value)}; at least {_share(figure.least or 0)} is agreed."


def _share(value: float) -> str:
    """A share as a percentage with one decimal, without a trailing ``.0``."""
    return f"{value * 100:.1f}".removesuffix(".0") + "%"
