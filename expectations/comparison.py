"""What changed since the partner's last submission, whether that was taken in or refused: from its receipt alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from expectations.result import COLUMNS_MISSING
from protocol.finding import Finding, Scope
from protocol.model import Frozen

WAITING = ".reference.held_back"
"""How the codes of rows end that only wait for a row that was held back."""


class EarlierFault(Frozen):
    """A fault of the last submission."""

    code: str
    table: str | None = None
    file: str | None = None
    columns: tuple[str, ...] = ()
    sentence: str
    rows: int = 0


class EarlierSubmission(Frozen):
    """What the last receipt said, as far as it is compared."""

    submission_id: str
    period: str
    state: str
    decided_at: datetime
    received: dict[str, int]
    """Rows received, by table."""
    faults: tuple[EarlierFault, ...]


class Change(StrEnum):
    """What became of a fault since the last submission."""

    FIXED = "fixed"
    """It is gone."""
    AGAIN = "again"
    """It is there again."""
    NEW = "new"
    """It was not there."""


class FaultChange(Frozen):
    """One fault then and now, by its rule; of several likely causes the rows are added up."""

    code: str
    change: Change
    file: str | None = None
    columns: tuple[str, ...] = ()
    sentence: str
    rows_then: int
    rows_now: int


class Comparison(Frozen):
    """This submission beside the partner's last one."""

    submission_id: str
    """The last one's."""
    period: str
    state: str
    decided_at: datetime
    faults: tuple[FaultChange, ...]
    """Those that hold rows back or refuse; notes and rows that only wait for others are left out."""

    def of(self, change: Change) -> tuple[FaultChange, ...]:
        """The faults of one kind of change."""
        return tuple(fault for fault in self.faults if fault.change is change)


def read_earlier(receipt: Mapping[str, Any] | None) -> EarlierSubmission | None:
    """What an earlier receipt (its JSON, of this or an older release) said; None where there is none to be read."""
    if receipt is None:
        return None
    try:
        findings = [
            Finding.model_validate({key: value for key, value in each.items() if key in Finding.model_fields})
            for each in receipt["findings"]
        ]
        return EarlierSubmission(
            submission_id=receipt["submission_id"],
            period=receipt["period"],
            state=receipt["state"],
            decided_at=receipt["decided_at"],
            received={line["table"]: line["received"] for line in receipt["tables"]},
            faults=_faults(findings),
        )
    except (KeyError, TypeError, AttributeError, ValidationError):
        return None


def _faults(findings: Sequence[Finding]) -> tuple[EarlierFault, ...]:
    rows: Counter[str] = Counter()
    first: dict[str, Finding] = {}
    for finding in findings:
        if finding.scope is not Scope.NOTE and not finding.code.endswith(WAITING):
            rows[finding.code] += finding.rows_affected
            first.setdefault(finding.code, finding)
    return tuple(
        EarlierFault(
            code=code,
            table=finding.table,
            file=finding.file,
            columns=finding.columns,
            sentence=finding.sentence,
            rows=rows[code],
        )
        for code, finding in first.items()
    )


def compare(earlier: EarlierSubmission, findings: Sequence[Finding], tables: Sequence[str]) -> Comparison:
    """Every fault then and now. ``tables``: those that were checked this time; of others nothing is known to be mended.

    Neither is anything of a file that has a fault as a whole, since its rows may not have been read.
    """
    then = {fault.code: fault for fault in earlier.faults}
    now = {fault.code: fault for fault in _faults(findings)}
    unsure = {f.table for f in findings if f.scope is Scope.FILE or f.code == COLUMNS_MISSING}
    changes = []
    for code, fault in {**then, **now}.items():
        before, after = then.get(code), now.get(code)
        if after is None and (not tables or (fault.table is not None and fault.table not in tables)):
            continue
        if after is None and fault.table in unsure:
            continue
        changes.append(
            FaultChange(
                code=code,
                change=Change.FIXED if after is None else Change.NEW if before is None else Change.AGAIN,
                file=fault.file,
                columns=fault.columns,
                sentence=fault.sentence,
                rows_then=0 if before is None else before.rows,
                rows_now=0 if after is None else after.rows,
            )
        )
    return Comparison(
        submission_id=earlier.submission_id,
        period=earlier.period,
        state=earlier.state,
        decided_at=earlier.decided_at,
        faults=tuple(changes),
    )
