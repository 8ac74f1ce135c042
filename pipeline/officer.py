"""A data officer's own check of an extract, before it is sent: what the hub would say, as far as it can be known here.

It runs on the base dependencies alone (kept by ``tests/integration/officer/test_check.py``): no Airflow, no Great
Expectations, no database, no key. The extract is copied into a private temporary folder, read there, and removed.
What is faulty does not stop it: a missing manifest, a lapsed signature or a spoilt file is told, and everything that
can be read is checked in the same go, since the rows are the officer's own.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import count
from pathlib import Path

import polars as pl

from expectations.hints import Hint, LocalHints, work_out_hints
from expectations.receipt import Receipt, build_receipt, merge_findings, receipt_html, receipt_json, write_held_back
from expectations.result import CheckContext, CheckResult, count_unread_rows, with_reading
from intake.channels.channel import FetchedDrop
from intake.manifest import Manifest, assume_manifest, read_manifest, stated_partner
from intake.reading import HeadingGuess, guess_headings
from intake.submission import read_submission, speak_of_sheets
from intake.taking import Limits, TakenDrop, identify, take_in
from pipeline.files import open_private, write_atomically
from pipeline.resources import SOFTWARE_VERSION
from pipeline.version_checks import check_in_version
from protocol.errors import LinkarmsError
from protocol.finding import Finding, Scope
from protocol.gate import check_gate
from protocol.model import Agreement, Contract, Partner, Period
from protocol.versions import known_versions, partner_under, terms_of

Progress = Callable[[str, int, int], None]
"""Is told what is being done, which step that is (from 1), and of how many."""
_OTHER_STEPS = 3
"""Copying, the rows, the receipt; besides these, one for each file."""

HELD_BACK = "held-back-rows.csv"
_UNREAD = "unread"


@dataclass(frozen=True, repr=False)
class OfficerCheck:
    """What a check found. ``hints`` and ``headings`` hold the partner's own cells and headings: for the screen only."""

    receipt: Receipt
    result: CheckResult | None
    """What became of the rows, of which the list of held-back rows is written; None where no row could be read."""
    hints: dict[Finding, tuple[Hint, ...]]
    headings: tuple[HeadingGuess, ...]
    assumed: tuple[str, ...] = ()
    """What was taken for granted because the manifest does not say it."""
    not_checked: tuple[str, ...] = ()
    """What only the hub can tell."""
    manifest: Manifest | None = None
    """The manifest as it stands; None where it is missing or faulty."""

    @property
    def clean(self) -> bool:
        """True where no row would be held back and nothing refused."""
        return all(finding.scope is Scope.NOTE for finding in self.receipt.findings)


@dataclass
class _Reading:
    """What is known of the extract while it is checked."""

    findings: tuple[Finding, ...] = ()
    result: CheckResult | None = None
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    headings: tuple[HeadingGuess, ...] = ()
    hints: LocalHints = field(default_factory=LocalHints)
    manifest: Manifest | None = None
    assumed: list[str] = field(default_factory=list)


def check_extract(
    path: Path,
    agreement: Agreement,
    *,
    now: datetime,
    partner_id: str | None = None,
    period_id: str | None = None,
    choose_partner: Callable[[tuple[str, ...]], str] | None = None,
    progress: Progress = lambda *_: None,
) -> OfficerCheck:
    """Check a folder, a .zip or a workbook as the hub would.

    :param partner_id: who the officer is; else the manifest says it, else ``choose_partner`` is asked.
    :param period_id: the period to check for where the manifest does not state one.
    :param progress: is told each step.

    Raises:
        LinkarmsError: nobody can tell whose extract it is, or the period is none of the agreement's.
    """
    if period_id is not None and period_id not in {period.id for period in agreement.calendar.periods}:
        periods = agreement.calendar.periods
        raise LinkarmsError(f"The agreement has no such period. It has {periods[0].id} to {periods[-1].id}.")
    with tempfile.TemporaryDirectory(prefix="linkarms-check-", ignore_cleanup_errors=True) as work:
        progress("Copying and unpacking", 1, _OTHER_STEPS)
        taken, findings = take_in(FetchedDrop(path, path.name), Path(work), Limits(), agreement.partners[0])
        partner = _find_partner(agreement, taken, partner_id, choose_partner)
        if taken is None:
            return _conclude(agreement, partner, None, None, _Reading(findings), now)
        taken = identify(taken, partner)
        return _check(taken, partner, agreement, period_id, now, progress)


def _find_partner(
    agreement: Agreement,
    taken: TakenDrop | None,
    partner_id: str | None,
    choose: Callable[[tuple[str, ...]], str] | None,
) -> Partner:
    known = tuple(partner.id for partner in agreement.partners)
    stated = stated_partner(taken, agreement.contract) if taken is not None else None
    if partner_id is None and stated in known:
        partner_id = stated
    if partner_id is None:
        partner_id = choose(known) if choose is not None else None
    if partner_id not in known:
        raise LinkarmsError(f"Say which partner you are, with --partner. The agreement has {', '.join(known)}.")
    return agreement.partner(partner_id)


def _check(
    taken: TakenDrop, partner: Partner, agreement: Agreement, period_id: str | None, now: datetime, progress: Progress
) -> OfficerCheck:
    read = _Reading()
    earlier = agreement.earlier.contract if agreement.earlier is not None else None
    manifest, findings = read_manifest(taken, partner, agreement.contract, earlier=earlier)
    likely = manifest
    if likely is None:
        likely = assume_manifest(taken, partner, agreement.contract, period=period_id, today=now.date())
    if likely is None:
        likely = _without_period(taken, partner, agreement, now.date())
        read.assumed.append("no period is known, so dates were not held against one; --period says it")
    elif manifest is None:
        read.assumed.append(f"period {_say_period(agreement, likely.period)}")
    read.findings, read.manifest = findings, manifest
    if likely.period != _UNREAD:
        gate = check_gate(agreement, partner.id, likely.period, likely.agreement_version, now.date())
        read.findings = (*findings, *gate)
    _check_rows(read, taken, likely, partner, agreement, progress)
    steps = len(taken.files) + _OTHER_STEPS
    progress("Writing the receipt", steps, steps)
    return _conclude(agreement, partner, taken, likely, read, now)


def _say_period(agreement: Agreement, period: str) -> str:
    return period if period in {each.id for each in agreement.calendar.periods} else "as stated"


def _without_period(taken: TakenDrop, partner: Partner, agreement: Agreement, today: date) -> Manifest:
    likely = assume_manifest(taken, partner, agreement.contract, period=_UNREAD, today=today)
    assert likely is not None
    return likely


def _check_rows(
    read: _Reading, taken: TakenDrop, manifest: Manifest, partner: Partner, agreement: Agreement, progress: Progress
) -> None:
    version = manifest.agreement_version
    if version not in known_versions(agreement):
        version = agreement.version
    terms = terms_of(agreement, version)
    submitter = partner_under(agreement, partner, version)
    steps = len(taken.files) + _OTHER_STEPS
    numbers = count(2)
    tables, found = read_submission(
        taken,
        manifest,
        terms.contract,
        submitter,
        on_table=lambda label: progress(f"Reading {label}", next(numbers), steps),
    )
    progress("Checking the rows", steps - 1, steps)

    def make_context(_: Contract) -> CheckContext:
        context = CheckContext(
            period=_period(agreement, manifest.period),
            extracted_on=manifest.extracted_on,
            kind=manifest.kind.value,
            other_periods=agreement.calendar.periods,
            nil_tables=frozenset(manifest.nil_tables),
        )
        return with_reading(context, found, tables)

    refused = any(finding.scope in (Scope.FILE, Scope.SUBMISSION) for finding in found)
    check = check_in_version(tables, agreement, version, make_context, unreadable=refused)
    read.result = count_unread_rows(check.result, found)
    read.findings = merge_findings(read.findings, found, read.result.findings)
    read.hints = work_out_hints(tables, read.result, terms.contract, terms.codelists)
    if not (submitter.mapping.tables or submitter.mapping.sql):
        read.headings = guess_headings(taken, terms.contract, found)


def _period(agreement: Agreement, period_id: str) -> Period:
    """The period, or one that every date lies in where it is none of the agreement's: the gate has told that."""
    for period in agreement.calendar.periods:
        if period.id == period_id:
            return period
    return Period(id=_UNREAD, starts=date.min, ends=date.max)


def _conclude(
    agreement: Agreement,
    partner: Partner,
    taken: TakenDrop | None,
    manifest: Manifest | None,
    read: _Reading,
    now: datetime,
) -> OfficerCheck:
    findings = merge_findings(read.findings)
    worded = speak_of_sheets(findings, taken) if taken is not None else findings
    receipt = build_receipt(
        submission_id=taken.submission_id if taken is not None else "not taken in",
        partner=partner,
        period=manifest.period if manifest is not None else _UNREAD,
        kind=manifest.kind.value if manifest is not None else "full",
        agreement=agreement,
        received_at=now,
        decided_at=now,
        counts=read.result.counts if read.result is not None else {},
        findings=worded,
        contact=agreement.coordinator,
        software_version=SOFTWARE_VERSION,
        version=manifest.agreement_version if manifest is not None else None,
        only_checked=True,
    )
    return OfficerCheck(
        receipt=receipt,
        result=read.result,
        hints={mine: read.hints.of(finding) for finding, mine in zip(findings, worded, strict=True)},
        headings=read.headings,
        assumed=tuple(read.assumed),
        not_checked=_not_checked(manifest),
        manifest=read.manifest,
    )


def _not_checked(manifest: Manifest | None) -> tuple[str, ...]:
    kind = manifest.kind.value if manifest is not None else "full"
    told = [
        "whether you have sent this very extract before, and whether it holds far fewer rows than your last one",
        "anything about other partners: identifiers are compared at the hub, as keyed tokens alone",
        "whether the hub has the same text of the agreement as you: ask for a new copy when it is changed",
    ]
    if kind == "delta":
        told.insert(0, "whether rows refer to rows of your earlier submissions")
    if kind == "correction":
        told.insert(0, "whether the submission that this one corrects is yours and in force")
    return tuple(told)


def write_receipt(check: OfficerCheck, folder: Path) -> tuple[Path, ...]:
    """Write the receipt (HTML and JSON) and the list of held-back rows as the hub would; gives the files written."""
    files = {"receipt.html": receipt_html(check.receipt), "receipt.json": receipt_json(check.receipt)}
    for name, content in files.items():
        write_atomically(folder / name, content)
    written = [folder / name for name in files]
    held_back = folder / HELD_BACK
    if check.result is not None and check.result.held_back.height:
        unfinished = held_back.with_suffix(".part")
        with open_private(unfinished) as file:
            write_held_back(check.result, file)
        unfinished.replace(held_back)
        written.append(held_back)
    else:
        held_back.unlink(missing_ok=True)  # one of an earlier check
    return tuple(written)
