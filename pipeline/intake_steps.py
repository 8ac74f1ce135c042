"""Intake of one partner's submissions: receive, check, pseudonymise, load.

Each step takes a submission's id and finds everything else in its working folder and in the warehouse, so that Airflow
passes references and counts only. Each may run twice and may be killed anywhere: it writes under a temporary name and
renames, and a submission that is loaded already is left as it is (kept by ``tests/integration/pipeline``).

The working folder ``work/<submission id>/`` is readable by this account alone:

=================== ================================================= =====================
``taken/``          the partner's files, unless they came sealed      identifiable
``envelope``        a drop that came sealed                           sealed
``submission.json`` who, which period, when                           -
``accepted/``       rows that passed, typed, one Parquet file a table sealed
``tokens/``         tokens that were made at the partner's own site   sealed
``checked.json``    counts and findings                               -
``pool/``           pool-ready rows, one Parquet file a table         keyed pseudonyms
``match_keys``      tokens for finding pairs, one Parquet file        keyed pseudonyms
``encodings``       tokens for comparing them, one Parquet file       keyed pseudonyms
=================== ================================================= =====================

All of it is gone once the submission is loaded or refused.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import polars as pl
from sqlalchemy import Connection

from expectations.comparison import EarlierSubmission, read_earlier
from expectations.receipt import Receipt, build_receipt, held_back_csv, merge_findings, receipt_html, receipt_json
from expectations.result import CheckContext, CheckResult, TableCounts, count_unread_rows, with_reading
from expectations.suites import gate
from intake.channels import Channel, Drop
from intake.manifest import Manifest, read_manifest
from intake.submission import read_submission as read_files
from intake.submission import speak_of_sheets
from intake.taking import Limits, finding_in_clear, take_in
from pipeline.channels import open_channel
from pipeline.files import (
    fill_folder,
    finish_removing,
    locked,
    make_private,
    open_private,
    read_json,
    remove_folder,
    write_atomically,
    write_json,
)
from pipeline.resources import SOFTWARE_VERSION, open_engine, open_keys_in_force, open_sealing, read_agreement
from pipeline.scratch import clear_scratch
from pipeline.sealed_drops import (
    ENVELOPE,
    FETCHED,
    LaidOut,
    lay_out,
    read_sealed_frames,
    taken_files,
    write_sealed_frames,
)
from pipeline.settings import Settings
from pipeline.source_drops import SourceCheck, check_source_drop, unsealed_finding
from pipeline.version_checks import check_in_version
from protocol.errors import DefectFound, LinkarmsError, NotYet, SubmissionRefused
from protocol.finding import Finding, Scope
from protocol.gate import check_gate
from protocol.model import Agreement, Contract, Partner, Pseudonymising
from protocol.versions import known_versions, partner_under, terms_of
from warehouse.loading import (
    SubmissionRecord,
    TableCount,
    check_correction,
    record_refusal,
    register_received,
)
from warehouse.loading import load_submission as load_into_warehouse
from warehouse.lookups import (
    find_earlier_received,
    find_known_rows,
    read_key_id,
    read_last_receipt,
    read_previous_counts,
    read_submission,
    sort_by_receipt,
)

if TYPE_CHECKING:
    from pseudonymise.keys import KeyRing
    from pseudonymise.output import Pseudonymised

_log = logging.getLogger(__name__)

SUBMISSION = "submission.json"
CHECKED = "checked.json"
TOKENS = "tokens"
"""Match keys and encodings under the inner layer alone, where the partner made them."""
MATCH_KEYS = "match_keys.parquet"
ENCODINGS = "encodings.parquet"
UNREAD = "unread"
"""Stands for the period of a submission that could not be read so far as to know it."""


@dataclass(frozen=True)
class Submission:
    """A received submission as its working folder describes it."""

    submission_id: str
    partner_id: str
    drop_reference: str
    content_digest: str
    received_at: datetime
    manifest: Manifest
    sealed_as: str | None = None
    """For one that came sealed, the name by which it is opened again."""

    @classmethod
    def read(cls, settings: Settings, submission_id: str) -> "Submission":
        """What :func:`receive_submissions` recorded of it."""
        content = read_json(settings.work(submission_id) / SUBMISSION)
        return cls(
            submission_id=submission_id,
            partner_id=content["partner_id"],
            drop_reference=content["drop_reference"],
            content_digest=content["content_digest"],
            received_at=datetime.fromisoformat(content["received_at"]),
            manifest=Manifest.model_validate(content["manifest"]),
            sealed_as=content["sealed_as"],
        )

    def write(self, folder: Path) -> None:
        """Record it in its working folder."""
        write_json(
            folder / SUBMISSION,
            {
                "partner_id": self.partner_id,
                "drop_reference": self.drop_reference,
                "content_digest": self.content_digest,
                "received_at": self.received_at.isoformat(),
                "manifest": self.manifest.model_dump(mode="json"),
                "sealed_as": self.sealed_as,
            },
        )

    @property
    def record(self) -> SubmissionRecord:
        """The submission as the warehouse records it."""
        return SubmissionRecord(
            submission_id=self.submission_id,
            partner_id=self.partner_id,
            period=self.manifest.period,
            mode=self.manifest.kind.value,
            agreement_version=self.manifest.agreement_version,
            content_digest=self.content_digest,
            received_at=self.received_at,
            supersedes=self.manifest.supersedes,
        )

    @property
    def reference(self) -> dict[str, str]:
        """What Airflow passes from task to task."""
        period, kind = self.manifest.period, self.manifest.kind.value
        return {"submission_id": self.submission_id, "period": period, "label": f"{period} {kind}"}


# --- receive ----------------------------------------------------------------------------------------------------------


def receive_submissions(partner_id: str, settings: Settings, *, now: datetime | None = None) -> list[dict[str, str]]:
    """Take every ready drop out of the partner's inbox into a working folder; what waits is returned.

    A drop that cannot be taken in or has no readable manifest is refused at once with a receipt; where nothing else
    waits, :class:`SubmissionRefused` is raised, so that a coordinator sees it. One that was loaded
    before gets a receipt that says so. What an earlier run left unfinished is returned again. Old drops that were
    settled longer ago than the agreement keeps them are deleted, and so is what a killed run had half taken in.
    """
    now = now or datetime.now(UTC)
    agreement = read_agreement(settings)
    partner = _find_partner(agreement, partner_id)
    with locked(settings.lock(partner_id)):
        return _receive_all(partner, agreement, settings, now)


def _find_partner(agreement: Agreement, partner_id: str) -> Partner:
    try:
        return agreement.partner(partner_id)
    except KeyError:
        known = ", ".join(partner.id for partner in agreement.partners)
        raise LinkarmsError(f"The agreement has no partner {partner_id}. It has {known}.") from None


def _receive_all(partner: Partner, agreement: Agreement, settings: Settings, now: datetime) -> list[dict[str, str]]:
    partner_id = partner.id
    work = make_private(settings.home / "work")
    finish_removing(work)
    for left in work.glob(f"taking-{partner_id}-*"):
        remove_folder(left)
    clear_scratch(settings, partner_id)
    channel = open_channel(settings, partner)
    channel.remove_expired(now.date(), agreement.retention.inbox_days)
    received = {submission.submission_id: submission for submission in _unfinished(partner_id, settings)}
    stopped = 0
    unable: list[LinkarmsError] = []
    refusals: list[SubmissionRefused] = []
    for drop in channel.list_drops(now):
        if not drop.ready:
            _log.warning("%s is not flagged as ready and has not come to rest yet; it waits", drop.display)
            continue
        try:
            submission = _receive(drop, channel, partner, agreement, settings, now)
        except NotYet as not_yet:
            _log.warning("%s: %s", drop.display, not_yet)  # its neighbours do not wait for it
        except SubmissionRefused as refusal:
            _log.warning("%s: %s", drop.display, refusal)
            refusals.append(refusal)
        except LinkarmsError as error:
            _log.error("%s cannot be taken in: %s", drop.display, error)
            unable.append(error)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with one drop, the others are taken in)
            _log.error("%s cannot be taken in: %s", drop.display, type(error).__name__)
            stopped += 1
        else:
            if submission is not None:
                received[submission.submission_id] = submission
    if unable and not received:
        raise unable[0]
    if stopped and not received:
        raise DefectFound(f"{stopped} drops of {partner_id} could not be taken in; the log names them.")
    if refusals and not received:
        raise refusals[0]
    with open_engine(settings).connect() as conn:
        in_turn = sort_by_receipt(conn, tuple(received))
    # By period and then in the order of receipt: a delta comes after what it builds on.
    starts = {period.id: period.starts for period in agreement.calendar.periods}
    waiting = sorted((received[each] for each in in_turn), key=lambda each: starts[each.manifest.period])
    return [submission.reference for submission in waiting]


def _receive(
    drop: Drop, channel: Channel, partner: Partner, agreement: Agreement, settings: Settings, now: datetime
) -> Submission | None:
    staging = make_private(settings.home / "work" / f"taking-{partner.id}-{drop.reference}")
    try:
        with lay_out(drop, channel, partner, staging, settings, now) as laid_out:
            return _receive_into(staging, laid_out, drop, channel, partner, agreement, settings, now)
    finally:
        remove_folder(staging)  # where it was received, it has its final name by now


def _receive_into(
    staging: Path,
    laid_out: LaidOut,
    drop: Drop,
    channel: Channel,
    partner: Partner,
    agreement: Agreement,
    settings: Settings,
    now: datetime,
) -> Submission | None:
    def refuse(settled_id: str, manifest: Manifest | None, findings: Sequence[Finding]) -> NoReturn:
        _write_receipt(channel, _refuse_unread(settled_id, manifest, partner, agreement, findings, now))
        channel.settle(drop, settled_id, "refused", now.date())
        raise SubmissionRefused(
            f"Refused: {findings[0].sentence} {partner.name} finds the receipt in its outbox under {settled_id}."
        )

    taken, findings = take_in(laid_out.content, laid_out.area, Limits(), partner)
    remove_folder(staging / FETCHED)
    if taken is None:
        refuse(drop.reference, None, findings)
    earlier = agreement.earlier.contract if agreement.earlier is not None else None
    manifest, more = read_manifest(taken, partner, agreement.contract, earlier=earlier)
    more = speak_of_sheets(more, taken)
    if manifest is not None and not _is_agreed(manifest, agreement):
        # What stands there is the partner's own word, which nothing but this refusal may come from.
        more = check_gate(agreement, partner.id, manifest.period, manifest.agreement_version, now.date())
        refuse(taken.submission_id, manifest, (*findings, *more))
    if manifest is None:
        refuse(taken.submission_id, None, (*findings, *more))
    if manifest.pseudonymised is not None and laid_out.sealed_as is None:
        refuse(taken.submission_id, manifest, (*findings, unsealed_finding()))
    if manifest.pseudonymised is None and partner.channel.pseudonymised is Pseudonymising.REQUIRED:
        refuse(taken.submission_id, manifest, (*findings, finding_in_clear()))
    submission = Submission(
        taken.submission_id, partner.id, drop.reference, taken.content_digest, now, manifest, laid_out.sealed_as
    )
    state = _lay_down(submission, staging, settings)
    if state == "received":
        return submission
    with suppress(FileNotFoundError):
        return Submission.read(settings, submission.submission_id)  # loaded by a run that ended before the receipt
    if state in _REFUSED_AGAIN:
        refuse(submission.submission_id, manifest, (_REFUSED_AGAIN[state],))
    receipt = build_receipt(
        submission_id=submission.submission_id,
        partner=partner,
        period=manifest.period,
        kind=manifest.kind.value,
        agreement=agreement,
        version=manifest.agreement_version,
        received_at=now,
        decided_at=now,
        counts={},
        findings=(),
        contact=agreement.coordinator,
        software_version=SOFTWARE_VERSION,
        unchanged=True,
    )
    channel.put_out(f"{submission.submission_id}/unchanged.html", receipt_html(receipt))
    channel.settle(drop, submission.submission_id, "unchanged", now.date())
    return None


def _lay_down(submission: Submission, staging: Path, settings: Settings) -> str:
    """Register a submission and, where there is work to do on it, make ``staging`` its working folder; gives its state.

    Both under its lock: were it loaded by another run in between, the folder would wait for steps that never come.
    """
    with locked(settings.lock(submission.submission_id)):
        with open_engine(settings).begin() as conn:
            state = register_received(conn, submission.record)
        if state == "received":
            submission.write(staging)
            final = settings.work(submission.submission_id)
            remove_folder(final)
            staging.rename(final)
    return state


def _unfinished(partner_id: str, settings: Settings) -> Sequence[Submission]:
    """Submissions of the partner that an earlier run received and did not finish."""
    found = []
    for folder in sorted((settings.home / "work").glob("sub-*")):
        with suppress(FileNotFoundError):  # another partner's run has just finished with it
            found.append(Submission.read(settings, folder.name))
    return [submission for submission in found if submission.partner_id == partner_id]


def _is_agreed(manifest: Manifest, agreement: Agreement) -> bool:
    """Whether period and version are words of the agreement and not a partner's own."""
    periods = {period.id for period in agreement.calendar.periods}
    return manifest.period in periods and manifest.agreement_version in known_versions(agreement)


_REFUSED_AGAIN = {
    "erased": Finding(
        code="submission.erased",
        scope=Scope.SUBMISSION,
        sentence="This very submission was taken in before and has been erased from the pool since.",
        mend="Ask the contact named on this page why. A new export with the rows that may be shared can be sent.",
    ),
    "superseded": Finding(
        code="submission.superseded",
        scope=Scope.SUBMISSION,
        sentence="This very submission was taken in before. A later one of yours has replaced it since, or it was set "
        "aside when the partnership's keys changed.",
        mend="To go back to it, export again: with a later extracted_on in the manifest it is a new submission.",
    ),
}
"""Why a submission that is known already is refused, by its state."""


def _refuse_unread(
    settled_id: str,
    manifest: Manifest | None,
    partner: Partner,
    agreement: Agreement,
    findings: Sequence[Finding],
    now: datetime,
) -> Receipt:
    return build_receipt(
        submission_id=settled_id,
        partner=partner,
        period=manifest.period if manifest is not None else UNREAD,
        kind=manifest.kind.value if manifest is not None else "full",
        agreement=agreement,
        version=manifest.agreement_version if manifest is not None else None,
        received_at=now,
        decided_at=now,
        counts={},
        findings=findings,
        contact=agreement.coordinator,
        software_version=SOFTWARE_VERSION,
    )


# --- check ------------------------------------------------------------------------------------------------------------


def check_submission(
    submission_id: str, settings: Settings, *, fewer_rows_confirmed: bool = False, now: datetime | None = None
) -> dict[str, Any]:
    """Hold the submission against the agreement: may the partner submit, can the files be read, do the rows pass.

    ``fewer_rows_confirmed``: the coordinator has confirmed that a fall in rows against the partner's earlier
    submission is right. Returns counts for Airflow's page.

    Raises:
        SubmissionRefused: it is refused; the receipt has been written.
        NotYet: it builds on an earlier one of the partner that is not loaded yet.
    """
    now = now or datetime.now(UTC)
    with locked(settings.lock(submission_id)):
        return _check(submission_id, settings, fewer_rows_confirmed, now)


def _check(submission_id: str, settings: Settings, fewer_rows_confirmed: bool, now: datetime) -> dict[str, Any]:
    if done := _already_decided(submission_id, settings, now):
        return done
    folder = settings.work(submission_id)
    if (folder / MATCH_KEYS).exists():  # what was checked is gone
        checked = read_json(folder / CHECKED)
        findings = tuple(Finding.model_validate(finding) for finding in checked["findings"])
        return _count({table: TableCounts(**count) for table, count in checked["counts"].items()}, findings)
    agreement = read_agreement(settings)
    submission = Submission.read(settings, submission_id)
    partner = agreement.partner(submission.partner_id)
    manifest = submission.manifest

    # The day of receipt decides: a partner that was in time does not lose its place to a queue.
    findings = check_gate(
        agreement, partner.id, manifest.period, manifest.agreement_version, submission.received_at.date()
    )
    result: CheckResult | None = None
    previous: Mapping[str, int] = {}
    tokens: Mapping[str, pl.DataFrame] = {}
    if not findings:
        engine = open_engine(settings)
        with engine.connect() as conn:
            _await_turn(conn, submission, settings)
            previous = read_previous_counts(conn, partner.id, manifest.period)
            findings = _check_supersedes(conn, submission)
            if manifest.pseudonymised is None:
                result, more = _check_clear(
                    conn, submission, partner, agreement, settings, previous, fewer_rows_confirmed, now
                )
            else:
                source = _check_source(
                    conn, submission, partner, agreement, settings, previous, fewer_rows_confirmed, now
                )
                result, more, tokens = source.result, source.findings, source.tokens
        findings = merge_findings(findings, more)
    counts = result.counts if result is not None else {}
    checked = {
        "findings": [finding.model_dump(mode="json") for finding in findings],
        "counts": {table: vars(count) for table, count in counts.items()},
        "previous_counts": dict(previous),
        "decided_at": now.isoformat(),
        "rows_version": agreement.version,
        "last": _read_last(submission, settings),
    }
    write_json(folder / CHECKED, checked)
    if _refuses(findings):
        _refuse(submission, partner, agreement, settings, result)
        first = next(finding for finding in findings if finding.scope in (Scope.SUBMISSION, Scope.FILE))
        clause = f" Clause {first.clause}." if first.clause else ""
        raise SubmissionRefused(
            f"Refused: {first.sentence}{clause} {partner.name} finds the receipt in its outbox under {submission_id}; "
            "what to do is in it."
        )
    assert result is not None
    if manifest.pseudonymised is not None:
        write_sealed_frames(folder / TOKENS, tokens, open_sealing(settings, now=now))
    write_sealed_frames(folder / "accepted", result.accepted, open_sealing(settings, now=now))
    _write_held_back(folder, result)
    return _count(counts, findings)


def _check_clear(
    conn: Connection,
    submission: Submission,
    partner: Partner,
    agreement: Agreement,
    settings: Settings,
    previous: Mapping[str, int],
    fewer_rows_confirmed: bool,
    now: datetime,
) -> tuple[CheckResult, tuple[Finding, ...]]:
    """Read and check a partner's own files."""
    manifest = submission.manifest
    version = manifest.agreement_version
    terms = terms_of(agreement, version)
    submitter = partner_under(agreement, partner, version)
    with taken_files(submission.submission_id, submission.sealed_as, partner, settings, now) as taken:
        tables, read = read_files(taken, manifest, terms.contract, submitter)

    def make_context(contract: Contract) -> CheckContext:
        context = CheckContext(
            period=agreement.calendar.period(manifest.period),
            extracted_on=manifest.extracted_on,
            kind=manifest.kind.value,
            other_periods=agreement.calendar.periods,
            find_known_keys=_find_known_keys(conn, partner, contract, agreement, settings, now),
            previous_counts=previous,
            nil_tables=frozenset(manifest.nil_tables),
            shrink_confirmed=fewer_rows_confirmed,
        )
        return with_reading(context, read, tables)

    check = check_in_version(tables, agreement, version, make_context, unreadable=_refuses(read))
    result = count_unread_rows(check.result, read)
    findings = merge_findings(read, result.findings)
    if not _refuses(findings):
        asked_again = gate(
            result.accepted,
            check.contract,
            check.codelists,
            check.context,
            received=result.received,
            repeated={table: counts.repeated for table, counts in result.counts.items()},
            undecided=result.undecided,
        )
        findings = merge_findings(findings, check.tell(asked_again))
    return result, speak_of_sheets(findings, taken)


def _check_source(
    conn: Connection,
    submission: Submission,
    partner: Partner,
    agreement: Agreement,
    settings: Settings,
    previous: Mapping[str, int],
    fewer_rows_confirmed: bool,
    now: datetime,
) -> SourceCheck:
    """Read and check what a partner pseudonymised at its own site."""
    with taken_files(submission.submission_id, submission.sealed_as, partner, settings, now) as taken:
        return check_source_drop(
            taken,
            submission.manifest,
            agreement,
            partner,
            open_keys_in_force(conn, settings, now=now),
            lambda table, row_keys: find_known_rows(conn, partner.id, table, row_keys),
            previous_counts=previous,
            shrink_confirmed=fewer_rows_confirmed,
        )


def _read_last(submission: Submission, settings: Settings) -> dict[str, Any] | None:
    """What the partner's last receipt said, kept with the check so that the receipt is built again to the byte."""
    with open_engine(settings).connect() as conn:
        receipt = read_last_receipt(conn, submission.partner_id, submission.manifest.period, submission.submission_id)
    last = read_earlier(receipt)
    return None if last is None else last.model_dump(mode="json")


def _await_turn(conn: Connection, submission: Submission, settings: Settings) -> None:
    """A delta and a correction build on what the partner sent before them: that has to be decided first."""
    if submission.manifest.kind.value not in ("delta", "correction"):
        return
    for earlier in find_earlier_received(conn, submission.submission_id):
        if (settings.work(earlier) / SUBMISSION).exists():
            raise NotYet(f"{submission.submission_id} builds on {earlier}, which is not decided yet.")


def _check_supersedes(conn: Connection, submission: Submission) -> tuple[Finding, ...]:
    try:
        check_correction(conn, submission.record)
    except SubmissionRefused as refusal:
        return (
            Finding(
                code="manifest.supersedes",
                scope=Scope.SUBMISSION,
                file="manifest.yaml",
                sentence=str(refusal),
                mend="Name the submission that is to be replaced as its receipt does, or send the period as full.",
            ),
        )
    return ()


def _find_known_keys(
    conn: Connection, partner: Partner, contract: Contract, agreement: Agreement, settings: Settings, now: datetime
) -> Callable[[str, pl.DataFrame], pl.Series]:
    """Looks up keys of earlier submissions, which the warehouse holds only as keyed pseudonyms.

    ``contract`` is that in whose terms the keys are asked for. Of a table that ends with it nothing is known, and
    nothing goes on, so that every key counts as known.
    """

    def find(table_name: str, keys: pl.DataFrame) -> pl.Series:
        from pseudonymise.output import derive_row_keys

        if table_name not in agreement.contract.table_names:
            return pl.repeat(value=True, n=keys.height, eager=True)
        table = contract.table(table_name)
        row_keys = derive_row_keys(keys, table, partner.id, open_keys_in_force(conn, settings, now=now))
        known = find_known_rows(conn, partner.id, table_name, row_keys)
        return row_keys.is_in(known.implode())

    return find


def _refuses(findings: Sequence[Finding]) -> bool:
    return any(finding.scope in (Scope.SUBMISSION, Scope.FILE) for finding in findings)


def _refuse(
    submission: Submission, partner: Partner, agreement: Agreement, settings: Settings, result: CheckResult | None
) -> None:
    """Tell the partner, record it, and clear the working folder: in this order, so that a killed run is repeated."""
    receipt = _receipt(submission, partner, agreement, settings)
    channel = open_channel(settings, partner)
    _write_receipt(channel, receipt, held_back_csv(result) if result is not None and result.held_back.height else None)
    with open_engine(settings).begin() as conn:
        record_refusal(conn, submission.record, receipt.model_dump_json())
    _settle(submission, channel, "refused", receipt.decided_at)
    remove_folder(settings.work(submission.submission_id))


# --- pseudonymise -----------------------------------------------------------------------------------------------------


def pseudonymise_submission(submission_id: str, settings: Settings, *, now: datetime | None = None) -> dict[str, Any]:
    """Replace identifiers by keyed pseudonyms; the identifiable working files are deleted as soon as that is done."""
    now = now or datetime.now(UTC)
    with locked(settings.lock(submission_id)):
        return _pseudonymise(submission_id, settings, now)


def _pseudonymise(submission_id: str, settings: Settings, now: datetime) -> dict[str, Any]:
    from pseudonymise.output import pseudonymise_tables

    if done := _already_decided(submission_id, settings, now):
        return done
    folder = settings.work(submission_id)
    if not (folder / MATCH_KEYS).exists():
        agreement = read_agreement(settings)
        submission = Submission.read(settings, submission_id)
        with open_engine(settings).connect() as conn:
            keys = open_keys_in_force(conn, settings, now=now)
        accepted = read_sealed_frames(folder / "accepted", open_sealing(settings, now=now))
        source = submission.manifest.pseudonymised
        if source is None:
            made = pseudonymise_tables(
                accepted, agreement.contract, submission.partner_id, keys, as_of=submission.manifest.extracted_on
            )
        elif source.k1_id != keys.k1_id:
            raise NotYet(f"K1 was changed after {submission_id} was checked. Run the partner's intake again.")
        else:
            made = _close(accepted, folder, agreement, keys, source.k1_id, settings, now)
        _write_frames(folder / "pool", made.tables)
        write_json(folder / "pseudonymised.json", {"key_id": made.key_id, "scheme": made.scheme})
        _write_frame(folder / ENCODINGS, made.encodings)
        # Written last: its presence says that everything else is there.
        _write_frame(folder / MATCH_KEYS, made.match_keys)
    remove_folder(folder / "accepted")
    remove_folder(folder / TOKENS)
    remove_folder(folder / "taken")
    (folder / ENVELOPE).unlink(missing_ok=True)
    return dict(read_json(folder / "pseudonymised.json"))


def _close(
    accepted: Mapping[str, pl.DataFrame],
    folder: Path,
    agreement: Agreement,
    keys: "KeyRing",
    k1_id: str,
    settings: Settings,
    now: datetime,
) -> "Pseudonymised":
    """The outer layers over what a partner made at its own site. A nil return has no tokens."""
    from pseudonymise.at_source import close_inner, no_tokens

    tokens = {**no_tokens(), **read_sealed_frames(folder / TOKENS, open_sealing(settings, now=now))}
    return close_inner(accepted, tokens["match_keys"], tokens["encodings"], agreement.contract, keys, k1_id=k1_id)


# --- load -------------------------------------------------------------------------------------------------------------


def load_submission(submission_id: str, settings: Settings, *, now: datetime | None = None) -> dict[str, Any]:
    """Load in one transaction, then the receipt, then clear the working folder and settle the drop."""
    now = now or datetime.now(UTC)
    with locked(settings.lock(submission_id)):
        return _load(submission_id, settings, now)


def _load(submission_id: str, settings: Settings, now: datetime) -> dict[str, Any]:
    folder = settings.work(submission_id)
    if not (folder / SUBMISSION).exists() and (done := _already_decided(submission_id, settings, now)):
        return done
    agreement = read_agreement(settings)
    submission = Submission.read(settings, submission_id)
    partner = agreement.partner(submission.partner_id)
    receipt = _receipt(submission, partner, agreement, settings)
    checked = read_json(folder / CHECKED)
    counts = {table: TableCounts(**count) for table, count in checked["counts"].items()}
    tables, match_keys, encodings, key_id = _read_pool(folder, agreement, settings, now)
    result = load_into_warehouse(
        open_engine(settings),
        replace(submission.record, rows_version=checked["rows_version"]),
        tables,
        match_keys,
        receipt.model_dump_json(),
        counts={
            table: TableCount(count.received, count.accepted + count.repeated, count.held_back)
            for table, count in counts.items()
        },
        key_id=key_id,
        encodings=encodings,
        now=now,
    )
    channel = open_channel(settings, partner)
    held_back = folder / "held_back.csv"
    _write_receipt(channel, receipt, held_back.read_bytes() if held_back.exists() else None)
    _settle(submission, channel, receipt.state.value, now)
    remove_folder(folder)
    findings = [Finding.model_validate(finding) for finding in checked["findings"]]
    return {**_count(counts, findings), "rows_loaded": sum(result.rows.values())}


def _read_pool(
    folder: Path, agreement: Agreement, settings: Settings, now: datetime
) -> tuple[dict[str, pl.DataFrame], pl.DataFrame, pl.DataFrame, str]:
    """Pool-ready frames, match keys, encodings and the id of their keys; renewed where keys were rotated since they
    were made."""
    from pseudonymise.rotation import renew_submission

    tables, match_keys = _read_frames(folder / "pool"), pl.read_parquet(folder / MATCH_KEYS)
    encodings = pl.read_parquet(folder / ENCODINGS)
    made_with = str(read_json(folder / "pseudonymised.json")["key_id"])
    with open_engine(settings).connect() as conn:
        recorded = read_key_id(conn)
        if recorded is None or recorded == made_with:
            return tables, match_keys, encodings, made_with
        keys = open_keys_in_force(conn, settings, now=now)
    return *renew_submission(tables, match_keys, encodings, agreement.contract, keys, made_with), keys.key_id


def _already_decided(submission_id: str, settings: Settings, now: datetime) -> dict[str, Any] | None:
    """Something to return where the submission is in the warehouse already; None where there is work to do.

    Raises :class:`SubmissionRefused` where it was refused before, after clearing what a killed run had left, and
    :class:`NotYet` where its working folder is gone and it was not decided.
    """
    with open_engine(settings).connect() as conn:
        known = read_submission(conn, submission_id)
    if known is not None and known.state not in ("received", "refused"):
        return {"submission_id": submission_id, "state": known.state, **_count({}, ())}
    folder = settings.work(submission_id)
    if known is not None and known.state == "refused":
        if (folder / SUBMISSION).exists():
            submission = Submission.read(settings, submission_id)
            partner = read_agreement(settings).partner(submission.partner_id)
            _settle(submission, open_channel(settings, partner), "refused", now)
            remove_folder(folder)
        raise SubmissionRefused(f"{submission_id} was refused before; the receipt in the partner's outbox says why.")
    if not (folder / SUBMISSION).exists():
        raise NotYet(f"The working folder of {submission_id} is gone. Run the partner's intake again from the start.")
    return None


def take_in_partner(
    partner_id: str, settings: Settings, *, fewer_rows_confirmed: bool = False, now: datetime | None = None
) -> Iterator[str]:
    """All steps for everything that waits in the partner's inbox, one line of what became of each; without Airflow."""
    for waiting in receive_submissions(partner_id, settings, now=now):
        submission_id = waiting["submission_id"]
        try:
            check_submission(submission_id, settings, fewer_rows_confirmed=fewer_rows_confirmed, now=now)
            pseudonymise_submission(submission_id, settings, now=now)
            done = load_submission(submission_id, settings, now=now)
        except (SubmissionRefused, NotYet) as stopped:
            yield f"{waiting['label']}: {stopped}"
        else:
            yield f"{waiting['label']}: loaded {done['accepted']:,} rows, {done['held_back']:,} held back"


# --- receipts ---------------------------------------------------------------------------------------------------------


def _receipt(submission: Submission, partner: Partner, agreement: Agreement, settings: Settings) -> Receipt:
    """The receipt from what the check recorded: built again by a later step, it is the same to the byte."""
    checked = read_json(settings.work(submission.submission_id) / CHECKED)
    return build_receipt(
        submission_id=submission.submission_id,
        partner=partner,
        period=submission.manifest.period,
        kind=submission.manifest.kind.value,
        agreement=agreement,
        version=submission.manifest.agreement_version,
        received_at=submission.received_at,
        decided_at=datetime.fromisoformat(checked["decided_at"]),
        counts={table: TableCounts(**count) for table, count in checked["counts"].items()},
        findings=[Finding.model_validate(finding) for finding in checked["findings"]],
        contact=agreement.coordinator,
        software_version=SOFTWARE_VERSION,
        previous_counts=checked["previous_counts"],
        last=EarlierSubmission.model_validate(checked["last"]) if checked.get("last") else None,
        at_source=submission.manifest.pseudonymised is not None,
    )


def _write_receipt(channel: Channel, receipt: Receipt, held_back: bytes | None = None) -> None:
    folder = f"{receipt.period}-{receipt.submission_id}" if receipt.period_starts else receipt.submission_id
    if held_back is not None:
        channel.put_out(f"{folder}/held-back-rows.csv", held_back)
    else:  # one that an earlier decision on the same submission wrote
        channel.take_back(f"{folder}/held-back-rows.csv")
    channel.put_out(f"{folder}/receipt.json", receipt_json(receipt))
    channel.put_out(f"{folder}/receipt.html", receipt_html(receipt))


def _write_held_back(folder: Path, result: CheckResult) -> None:
    if result.held_back.height:
        write_atomically(folder / "held_back.csv", held_back_csv(result))


def _settle(submission: Submission, channel: Channel, outcome: str, now: datetime) -> None:
    drop = next((drop for drop in channel.list_drops(now) if drop.reference == submission.drop_reference), None)
    if drop is not None:
        channel.settle(drop, submission.submission_id, outcome, now.date())


def _count(counts: Mapping[str, TableCounts], findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "received": sum(count.received for count in counts.values()),
        "accepted": sum(count.accepted for count in counts.values()),
        "held_back": sum(count.held_back for count in counts.values()),
        "findings": len(findings),
    }


# --- frames in the working folder -------------------------------------------------------------------------------------


def _write_frames(folder: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    """One Parquet file a table, all or none of them."""
    with fill_folder(folder) as staging:
        for name, frame in frames.items():
            with open_private(staging / f"{name}.parquet") as file:
                frame.write_parquet(file)


def _read_frames(folder: Path) -> dict[str, pl.DataFrame]:
    if not folder.exists():  # no folder is not the same as no table: nothing would be loaded in the place of rows
        raise DefectFound(f"{folder.parent.name} has no {folder.name}: an earlier step has not finished.")
    return {path.stem: pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def _write_frame(path: Path, frame: pl.DataFrame) -> None:
    temporary = path.with_suffix(".part")
    with open_private(temporary) as file:
        frame.write_parquet(file)
    temporary.replace(path)
