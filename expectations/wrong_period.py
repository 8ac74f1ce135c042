"""An extract of another period than the one that its manifest states: one fault, and not one of every row."""

from collections.abc import Mapping

import polars as pl

from expectations.checked import READ, Checked
from expectations.result import CheckContext
from protocol.finding import Finding, Scope
from protocol.model import Period, RuleKind

_MOST = 0.8
"""Share of the dates that have to lie in another period."""
_LEAST_DATES = 10


def find_wrong_period(checked: Mapping[str, Checked], context: CheckContext) -> tuple[Finding, ...]:
    """The finding that nearly all dates lie in another period, in place of the faults of the single dates.

    Only columns that have to lie in the period count, over all tables together.
    """
    columns = {
        (name, column)
        for name, one in checked.items()
        for rule in one.table.rules
        if rule.kind is RuleKind.WITHIN_PERIOD and not one.absent & set(rule.columns)
        for column in rule.columns
    }
    read = [checked[name].frame[READ + column].drop_nulls() for name, column in sorted(columns)]
    dates = sum(each.len() for each in read)
    if dates < _LEAST_DATES or _within(read, context.period) > (1 - _MOST) * dates:
        return ()
    for period in context.other_periods:
        if period.id != context.period.id and _within(read, period) >= _MOST * dates:
            break
    else:
        return ()
    for one in checked.values():
        for name, fault in list(one.faults.items()):
            if fault.rule is not None and fault.rule.kind is RuleKind.WITHIN_PERIOD:
                del one.faults[name]
    return (
        Finding(
            code="submission.wrong_period",
            scope=Scope.SUBMISSION,
            sentence=f"This is stated to be for {context.period.id}, but nearly all of its dates lie in {period.id}.",
            mend=f"If it is the extract of {period.id}, state that period in the manifest. If not, make the extract "
            f"again, for {context.period.starts} to {context.period.ends}.",
            example=period.id,
        ),
    )


def _within(read: list[pl.Series], period: Period) -> int:
    return sum(int(each.is_between(period.starts, period.ends).sum()) for each in read)
