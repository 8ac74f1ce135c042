"""The receipt: what became of a submission, for the partner's data officer, as JSON and as one page of HTML.

Everything in it is a count, a date, or a word of the agreement; no cell and no name that the partner chose, so that it
can be e-mailed (kept by ``tests/unit/expectations/test_canaries.py``).
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from expectations.result import CheckResult, Kind, TableCounts
from protocol.finding import Finding, Scope
from protocol.model import Agreement, Contact, Frozen, Partner
from protocol.spreadsheet import neutralise

_TEMPLATES = Path(__file__).parent / "templates"
_REFUSING = (Scope.FILE, Scope.SUBMISSION)


class State(StrEnum):
    """What became of a submission."""

    ACCEPTED = "accepted"
    """Every row was taken in."""
    ACCEPTED_WITH_ROWS_HELD_BACK = "accepted_with_rows_held_back"
    """Taken in, but for some rows that were held back."""
    REFUSED = "refused"
    """Nothing was taken in."""
    UNCHANGED = "unchanged"
    """The same submission had been taken in before; nothing changed."""


class TableLine(Frozen):
    """One table of the submission. Rows received = accepted + held back + repeated, unless it was refused."""

    table: str
    label: str
    received: int
    accepted: int
    held_back: int
    repeated: int = 0
    earlier: int | None = None
    """Rows in force from the partner's earlier submission, where there was one."""


class AgreementReference(Frozen):
    """The version of the agreement that the submission was checked against."""

    id: str
    title: str
    version: str
    digest: str


class Receipt(Frozen):
    """Everything a partner is told about one submission."""

    submission_id: str
    partner_id: str
    partner_name: str
    period: str
    period_starts: date | None = None
    period_ends: date | None = None
    kind: Kind
    state: State
    agreement: AgreementReference
    received_at: datetime
    decided_at: datetime
    tables: tuple[TableLine, ...]
    findings: tuple[Finding, ...]
    next_steps: str
    """What the officer has to do now."""
    contact: Contact
    inbox_days: int
    what_happens_to_the_file: str
    software_version: str
    sunset_notice: str | None = None
    """Set where the partner uses a version of the agreement or a format that will end."""


def merge_findings(*several: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings of several checks as one list: what decides first, equal ones once, else in the order given."""
    places = {Scope.FILE: 0, Scope.SUBMISSION: 1, Scope.ROW: 2, Scope.NOTE: 3}
    unique = dict.fromkeys(finding for findings in several for finding in findings)
    return tuple(sorted(unique, key=lambda finding: places[finding.scope]))


def build_receipt(
    *,
    submission_id: str,
    partner: Partner,
    period: str,
    kind: Kind | str,
    agreement: Agreement,
    received_at: datetime,
    decided_at: datetime,
    counts: Mapping[str, TableCounts],
    findings: Sequence[Finding],
    contact: Contact,
    software_version: str,
    unchanged: bool = False,
    previous_counts: Mapping[str, int] | None = None,
    sunset_notice: str | None = None,
) -> Receipt:
    """Put a receipt together; its state follows from the findings and counts.

    ``counts`` and ``findings`` are those of all checks together (intake's, :func:`check_tables` and :func:`gate`);
    ``counts`` is empty where the submission was refused before it was read. ``contact`` is the office that answers
    questions. ``previous_counts``: rows in force from the partner's earlier submission, by table.
    """
    findings = merge_findings(findings)
    refused = any(finding.scope in _REFUSING for finding in findings)
    held_back = sum(count.held_back for count in counts.values())
    if refused:
        state = State.REFUSED
    elif unchanged:
        state = State.UNCHANGED
    else:
        state = State.ACCEPTED_WITH_ROWS_HELD_BACK if held_back else State.ACCEPTED
    earlier = previous_counts or {}
    lines = tuple(
        TableLine(
            table=table.name,
            label=table.label,
            received=counts[table.name].received,
            accepted=0 if refused else counts[table.name].accepted,
            held_back=counts[table.name].held_back,
            repeated=counts[table.name].repeated,
            earlier=earlier.get(table.name),
        )
        for table in agreement.contract.tables
        if table.name in counts
    )
    dates = next((p for p in agreement.calendar.periods if p.id == period), None)
    return Receipt(
        submission_id=submission_id,
        partner_id=partner.id,
        partner_name=partner.name,
        # A period that the agreement does not know is a word of the partner's and is not repeated.
        period=period if dates is not None else "not a period of the agreement",
        period_starts=dates.starts if dates else None,
        period_ends=dates.ends if dates else None,
        kind=Kind(kind),
        state=state,
        agreement=AgreementReference(
            id=agreement.id, title=agreement.title, version=agreement.version, digest=agreement.digest
        ),
        received_at=received_at.astimezone(UTC),
        decided_at=decided_at.astimezone(UTC),
        tables=lines,
        findings=findings,
        next_steps=_next_steps(state, Kind(kind), held_back, findings),
        contact=contact,
        inbox_days=agreement.retention.inbox_days,
        what_happens_to_the_file=_what_happens(state, agreement.retention.inbox_days),
        software_version=software_version,
        sunset_notice=sunset_notice,
    )


def _next_steps(state: State, kind: Kind, held_back: int, findings: Sequence[Finding]) -> str:
    if state is State.UNCHANGED:
        return "You need do nothing. This is the same submission as one that was taken in before."
    if state is State.ACCEPTED:
        return "You need do nothing."
    if state is State.ACCEPTED_WITH_ROWS_HELD_BACK:
        rows = "1 row was" if held_back == 1 else f"{held_back:,} rows were"
        return (
            f"{rows} held back and {'is' if held_back == 1 else 'are'} missing from the pooled evidence. Mend what is "
            "listed below in your own system, export again and send a correction of this submission."
        )
    mendable = any(_is_mendable(finding) for finding in findings)
    if any(finding.clause for finding in findings) and not mendable:
        return (
            "Mending the file will not help: the agreement does not allow this submission at present. Please talk to "
            "the contact named on this page."
        )
    if all(finding.code.endswith(".fallen") for finding in findings if finding.scope in _REFUSING):
        return (
            "Check that the export is complete and send it again. If the fall in rows is right, tell the contact named "
            "on this page, who can let it through."
        )
    again = "Mend what is listed below, export again and send it once more"
    if kind is Kind.NIL:
        again = "Mend what is listed below and send it once more" if mendable else "Nothing to send"
    return f"Nothing was taken in. {again}. Your earlier submissions stay as they were."


def _is_mendable(finding: Finding) -> bool:
    """True for a refusal at the gate that the officer can mend in the manifest: a wrong version, or a period that the
    calendar does not have (which alone comes with an example; a window that is closed has none)."""
    return finding.code == "gate.version" or (finding.code == "gate.period" and finding.example is not None)


def _what_happens(state: State, inbox_days: int) -> str:
    days = "1 day" if inbox_days == 1 else f"{inbox_days} days"
    then = f"The file in your inbox is deleted after {days}; you may delete it sooner."
    if state in (State.REFUSED, State.UNCHANGED):
        return f"Nothing of this file was kept beyond your inbox. {then}"
    held = ", and rows that were held back were not kept" if state is State.ACCEPTED_WITH_ROWS_HELD_BACK else ""
    return (
        f"Names, numbers and other identifiers were replaced by keyed pseudonyms, free text was dropped{held}. The "
        f"working copy of the file was deleted. {then}"
    )


def receipt_json(receipt: Receipt) -> bytes:
    """The receipt as JSON, UTF-8: the same receipt always gives the same bytes."""
    return (json.dumps(receipt.model_dump(mode="json"), ensure_ascii=False, indent=2) + "\n").encode()


def receipt_html(receipt: Receipt) -> bytes:
    """The receipt as one HTML page that needs nothing from a network: the same receipt gives the same bytes."""
    total = {
        name: sum(getattr(line, name) for line in receipt.tables)
        for name in ("received", "accepted", "held_back", "repeated")
    }
    groups = [
        (heading, words, [finding for finding in receipt.findings if finding.scope in scopes])
        for heading, words, scopes in _GROUPS
    ]
    page = (
        _environment()
        .get_template("receipt.html")
        .render(
            receipt=receipt,
            total=total,
            groups=[group for group in groups if group[2]],
            verdict=_VERDICTS[receipt.state],
        )
    )
    return page.encode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "day": _day, "moment": _moment, "rows": _rows}
    return environment


_GROUPS = (
    (
        "Why it was refused",
        "Each of these alone stops the submission.",
        _REFUSING,
    ),
    ("Rows held back", "The rest of the submission does not wait for these rows.", (Scope.ROW,)),
    ("Worth knowing", "Nothing was held back for these.", (Scope.NOTE,)),
)

_VERDICTS = {
    State.ACCEPTED: ("good", "Accepted", "Every row was taken in."),
    State.ACCEPTED_WITH_ROWS_HELD_BACK: ("part", "Accepted, with rows held back", "All other rows were taken in."),
    State.REFUSED: ("stop", "Refused", "Nothing of this submission was taken in."),
    State.UNCHANGED: ("good", "Unchanged", "This submission had already been taken in."),
}


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _moment(moment: datetime) -> str:
    return f"{_day(moment)}, {moment:%H:%M} UTC"


def _rows(finding: Finding) -> str:
    """``Rows 2 to 5, 9 and 9,980 more``: neighbouring rows as a range."""
    runs: list[tuple[int, int]] = []
    for row in finding.first_rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], row)
        else:
            runs.append((row, row))
    parts: list[str] = []
    for first, last in runs:
        if last > first + 1:
            parts.append(f"{first} to {last}")
        else:
            parts.extend(str(row) for row in range(first, last + 1))
    more = finding.rows_affected - len(finding.first_rows)
    if more > 0:
        return f"{', '.join(parts)} and {more:,} more"
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""


def held_back_csv(result: CheckResult) -> bytes:
    """Every held-back row with every rule that it broke, for a spreadsheet: table, row, rule, how to mend.

    UTF-8 with a byte-order mark, which Excel needs. A cell that a spreadsheet would take for a formula is preceded by
    an apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["table", "row", "rule", "how to mend"])
    for table, row, rule, mend in result.held_back.iter_rows():
        writer.writerow([neutralise(table), row, neutralise(rule), neutralise(mend)])
    return text.getvalue().encode("utf-8-sig")
