"""The receipt: what became of a submission, for the partner's data officer, as JSON and as one page of HTML.

Everything in it is a count, a date, or a word of the agreement; no cell and no name that the partner chose, so that it
can be e-mailed (kept by ``tests/unit/expectations/test_canaries.py``).
"""

import ast
import csv
import inspect
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import IO

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from expectations.comparison import WAITING, Change, Comparison, EarlierSubmission, FaultChange, compare
from expectations.result import CheckResult, Kind, TableCounts
from expectations.row_words import rows_in_words
from protocol.finding import Finding, Scope
from protocol.model import Agreement, Contact, Frozen, Partner
from protocol.spreadsheet import neutralise
from protocol.versions import describe_sunset, known_versions, terms_of, windows

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
    """One table of the submission. Rows received = accepted + held back + refused + repeated."""

    table: str
    label: str
    received: int
    accepted: int
    """Rows that were taken in."""
    held_back: int
    """Rows with a fault of their own, or that wait for one with a fault."""
    refused: int = 0
    """Rows without a fault that were not taken in, because the submission as a whole was refused."""
    repeated: int = 0
    """Rows equal to an earlier one in every column, each of which counts once."""
    earlier: int | None = None
    """Rows in force for the same period, where something had been taken in for it."""
    last_time: int | None = None
    """Rows received with the partner's last submission, whatever its period and whatever became of it."""


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
    comparison: Comparison | None = None
    """What changed since the partner's last submission, where there was one."""
    next_steps: str
    """What the officer has to do now, in one sentence."""
    how_to_correct: str | None = None
    """What the manifest of the next submission has to say, where that is not the same again."""
    contact: Contact
    inbox_days: int
    what_happens_to_the_file: str
    software_version: str
    agreement_version_submitted: str | None = None
    """The version of the agreement that the submission states; None where it states none that is known."""
    sunset: date | None = None
    """The last day on which that version is taken for periods of the one after it; None for the newest."""
    sunset_notice: str | None = None
    """What the partner has to do before that day."""
    only_checked: bool = False
    """True where nothing was sent: the officer's own check of what would become of it."""
    pseudonymised_at_source: bool = False
    """True where identifiers had been replaced at the partner's own site before anything was sent."""


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
    version: str | None = None,
    sunset_notice: str | None = None,
    last: EarlierSubmission | None = None,
    only_checked: bool = False,
    at_source: bool = False,
) -> Receipt:
    """Put a receipt together; its state follows from the findings and counts.

    ``counts`` and ``findings`` are those of all checks together (intake's, :func:`check_tables` and :func:`gate`);
    ``counts`` is empty where the submission was refused before it was read. ``contact`` is the office that answers
    questions. ``previous_counts``: rows in force from the partner's earlier submission, by table. ``version``: that of
    the agreement that the submission states; one that the agreement does not know is not repeated. ``sunset_notice``
    follows from it where it is not given. ``last``: the partner's submission before this one, of whatever period.
    ``only_checked``: nothing was sent, so that the receipt says what would be. ``at_source``: identifiers were replaced
    before it was sent.
    """
    version = version if version in known_versions(agreement) else None
    if sunset_notice is None and version is not None:
        sunset_notice = describe_sunset(agreement, version, period, received_at.date())
    contract = terms_of(agreement, version).contract if version is not None else agreement.contract
    window = next((window for window in windows(agreement) if window.version == version), None)
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
            refused=counts[table.name].accepted if refused else 0,
            repeated=counts[table.name].repeated,
            earlier=earlier.get(table.name),
            last_time=last.received.get(table.name) if last is not None else None,
        )
        for table in contract.tables
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
        comparison=compare(last, findings, tuple(counts)) if last is not None and not unchanged else None,
        next_steps=_next_steps(state, Kind(kind), held_back, findings, only_checked=only_checked),
        how_to_correct=None if only_checked else _how_to_correct(state, submission_id, partner),
        contact=contact,
        inbox_days=agreement.retention.inbox_days,
        what_happens_to_the_file=_NOT_SENT
        if only_checked
        else _what_happens(state, agreement.retention.inbox_days, at_source=at_source),
        software_version=software_version,
        agreement_version_submitted=version,
        sunset=window.sunset if window is not None else None,
        sunset_notice=sunset_notice,
        only_checked=only_checked,
        pseudonymised_at_source=at_source,
    )


_NOT_SENT = "It was checked on your own machine. Nothing was sent, and nothing was kept."


def _next_steps(
    state: State, kind: Kind, held_back: int, findings: Sequence[Finding], *, only_checked: bool = False
) -> str:
    if state is State.UNCHANGED:
        return "You need do nothing: this is the same submission as one that was taken in before."
    if state is State.ACCEPTED:
        return "Send it: it has only been checked so far." if only_checked else "You need do nothing."
    if state is State.ACCEPTED_WITH_ROWS_HELD_BACK and only_checked:
        rows = "the row that has a fault" if held_back == 1 else f"the {held_back:,} rows that would be held back"
        return f"Mend {rows}, check again, and then send it: it has only been checked so far."
    if state is State.ACCEPTED_WITH_ROWS_HELD_BACK:
        rows = "the row that was" if held_back == 1 else f"the {held_back:,} rows that were"
        return (
            f"Mend {rows} held back in your own system, export again and send a correction of this submission: until "
            f"then {'it is' if held_back == 1 else 'they are'} missing from the pooled evidence."
        )
    mendable = any(_is_mendable(finding) for finding in findings)
    if any(finding.clause for finding in findings) and not mendable:
        return (
            "Please talk to the contact named on this page, since mending the file will not help: the agreement does "
            "not allow this submission at present."
        )
    if all(finding.code.endswith(".fallen") for finding in findings if finding.scope in _REFUSING):
        return (
            "Check that the export is complete and send it again, or, if the fall in rows is right, tell the contact "
            "named on this page, who can let it through."
        )
    if only_checked:
        return "Mend what is listed below and check again before you send it: it has only been checked so far."
    again = "Mend what is listed below, export again and send it once more"
    if kind is Kind.NIL and not mendable:
        return "Nothing was taken in; your earlier submissions stay as they were."
    if kind is Kind.NIL:
        again = "Mend what is listed below and send it once more"
    return f"{again}: nothing was taken in, and your earlier submissions stay as they were."


def _how_to_correct(state: State, submission_id: str, partner: Partner) -> str | None:
    if state is not State.ACCEPTED_WITH_ROWS_HELD_BACK or partner.mapping.manifest_from_name:
        return None
    return f"In the manifest of the correction, write kind: correction and supersedes: {submission_id}."


def _is_mendable(finding: Finding) -> bool:
    """True for a refusal at the gate that the officer can mend in the manifest: a wrong version, or a period that the
    calendar does not have (which alone comes with an example; a window that is closed has none)."""
    return finding.code == "gate.version" or (finding.code == "gate.period" and finding.example is not None)


def _what_happens(state: State, inbox_days: int, *, at_source: bool) -> str:
    days = "1 day" if inbox_days == 1 else f"{inbox_days} days"
    then = f"The file in your inbox is deleted after {days}; you may delete it sooner."
    if state in (State.REFUSED, State.UNCHANGED):
        return f"Nothing of this file was kept beyond your inbox. {then}"
    if at_source:
        return (
            "Names, numbers and other identifiers had been replaced at your own site. The tokens were hashed once more "
            f"under a key that only the hub has, and the working copy of the file was deleted. {then}"
        )
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
        for name in ("received", "accepted", "held_back", "refused", "repeated")
    }
    refused = receipt.state is State.REFUSED
    groups = []
    for group in _GROUPS:
        by_file: dict[str | None, list[Finding]] = {}
        for finding in receipt.findings:
            if group.holds(finding):
                # Too many rows held back is said of the submission, once for all of its tables.
                of_all = finding.code.endswith(".held_back_share")
                by_file.setdefault(None if of_all else finding.file, []).append(finding)
        if by_file:
            heading, words = (group.heading, group.words) if not refused else (group.if_refused, group.words_if_refused)
            heading = group.if_checked if receipt.only_checked and group.if_checked else heading
            files = [(file, _by_mend(findings)) for file, findings in by_file.items()]
            groups.append((group, heading or group.heading, words or group.words, files))
    comparison = receipt.comparison
    page = (
        _environment()
        .get_template("receipt.html")
        .render(
            receipt=receipt,
            total=total,
            groups=groups,
            verdict=(_VERDICTS_OF_A_CHECK if receipt.only_checked else _VERDICTS)[receipt.state],
            changes={fault.code: fault for fault in comparison.faults} if comparison else {},
            fixed=_unique_by_place(comparison.of(Change.FIXED)) if comparison else (),
            many=len(receipt.findings) > _MANY,
            new=len(comparison.of(Change.NEW)) if comparison else 0,
            again=len(comparison.of(Change.AGAIN)) if comparison else 0,
        )
    )
    return page.encode()


def receipt_schema() -> bytes:
    """The JSON Schema (draft 2020-12) of what :func:`receipt_json` writes; it is shipped as ``receipt.schema.json``."""
    content = Receipt.model_json_schema(mode="serialization")
    definitions = {**content.pop("$defs"), "Receipt": content}
    for model in (Receipt, TableLine, AgreementReference, Comparison, FaultChange, Finding, Contact):
        for name, words in _field_docstrings(model).items():
            definitions[model.__name__]["properties"][name]["description"] = words
    for definition in definitions.values():
        for entry in definition.get("properties", {}).values():
            entry.pop("title", None)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "receipt.schema.json",
        **definitions.pop("Receipt"),
        "title": "Receipt of a submission",
        "$defs": definitions,
    }
    return (json.dumps(schema, ensure_ascii=False, indent=2) + "\n").encode()


def _field_docstrings(model: type[Frozen]) -> dict[str, str]:
    """What the model's source says below each field."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for line, below in pairwise(definition.body):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr):
            words = ast.literal_eval(below.value)
            found[line.target.id] = " ".join(str(words).split()).replace("``", "")
    return found


def _by_mend(findings: Sequence[Finding]) -> list[tuple[Finding, list[Finding]]]:
    """Findings that are mended in the same words together: how to mend stands once below them."""
    together: dict[tuple[str, str | None], list[Finding]] = {}
    for finding in findings:
        together.setdefault((finding.mend, finding.clause), []).append(finding)
    return [(several[0], several) for several in together.values()]


def _unique_by_place(faults: Sequence[FaultChange]) -> tuple[FaultChange, ...]:
    """Faults with one sentence at one place once, those of the most rows first and what follows from them last."""
    ordered = sorted(faults, key=lambda fault: (fault.code.endswith(".held_back_share"), -fault.rows_then))
    return tuple({(fault.file, fault.columns, fault.sentence): fault for fault in ordered}.values())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "day": _day, "moment": _moment, "rows": rows_in_words}
    return environment


_MANY = 10
"""More findings than this are printed in two columns."""


@dataclass(frozen=True)
class _Group:
    """Findings that stand together on the page."""

    heading: str
    words: str
    scopes: tuple[Scope, ...]
    waiting: bool | None = None
    if_checked: str = ""
    if_refused: str = ""
    words_if_refused: str = ""

    def holds(self, finding: Finding) -> bool:
        return finding.scope in self.scopes and self.waiting in (None, finding.code.endswith(WAITING))


_GROUPS = (
    _Group(
        "Why it was refused",
        "Each of these alone stops the submission.",
        _REFUSING,
        if_checked="Why it would be refused",
    ),
    _Group(
        "Rows held back",
        "The rest of the submission does not wait for these rows.",
        (Scope.ROW,),
        waiting=False,
        if_refused="Rows with a fault",
        words_if_refused="Mend these too, so that sending it once more is enough.",
    ),
    _Group(
        "Rows that wait for others",
        "Nothing need be wrong with these rows: each belongs to a row that was held back, and goes through with it.",
        (Scope.ROW,),
        waiting=True,
    ),
    _Group("Worth knowing", "Nothing was held back for these.", (Scope.NOTE,)),
)

_VERDICTS = {
    State.ACCEPTED: ("good", "Accepted", "Every row was taken in."),
    State.ACCEPTED_WITH_ROWS_HELD_BACK: ("part", "Accepted, with rows held back", "All other rows were taken in."),
    State.REFUSED: ("stop", "Refused", "Nothing of this submission was taken in."),
    State.UNCHANGED: ("good", "Unchanged", "This submission had already been taken in."),
}


_VERDICTS_OF_A_CHECK = {
    State.ACCEPTED: ("good", "Would be accepted", "Nothing has been sent yet."),
    State.ACCEPTED_WITH_ROWS_HELD_BACK: (
        "part",
        "Would be accepted, with rows held back",
        "Nothing has been sent yet.",
    ),
    State.REFUSED: ("stop", "Would be refused", "Nothing has been sent yet."),
}


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _moment(moment: datetime) -> str:
    return f"{_day(moment)}, {moment:%H:%M} UTC"


_LINES_AT_ONCE = 100_000


def held_back_csv(result: CheckResult) -> bytes:
    """Every held-back row with every rule that it broke, for a spreadsheet: table, row, rule, how to mend.

    UTF-8 with a byte-order mark, which Excel needs. A cell that a spreadsheet would take for a formula is preceded by
    an apostrophe.
    """
    sink = io.BytesIO()
    write_held_back(result, sink)
    return sink.getvalue()


def write_held_back(result: CheckResult, sink: IO[bytes]) -> None:
    """Write what :func:`held_back_csv` gives, little by little: with millions of lines it takes half a gigabyte."""
    sink.write(f"{_csv_cells('table', 'row', 'rule', 'how to mend')}\r\n".encode("utf-8-sig"))
    words = ["table", "rule", "mend"]
    for lines in result.held_back.iter_slices(_LINES_AT_ONCE):
        # Many lines say the same few things: each is written out once.
        different = lines.select(words).unique(maintain_order=True)
        cells = [(f"{_csv_cells(table)},", f",{_csv_cells(rule, mend)}\r\n") for table, rule, mend in different.rows()]
        written = different.hstack(pl.DataFrame(cells, {"before": pl.String, "after": pl.String}, orient="row"))
        texts = lines.join(written, on=words, how="left", maintain_order="left").select(
            pl.concat_str("before", pl.col("row").cast(pl.String), "after")
        )
        texts.write_csv(sink, include_header=False, quote_style="never", line_terminator="")


def _csv_cells(*cells: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow([neutralise(cell) for cell in cells])
    return text.getvalue().removesuffix("\r\n")
