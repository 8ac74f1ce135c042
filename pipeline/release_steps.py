"""A release of evidence: link and mark repeats, measure and protect, publish what was approved.

Each step takes an id and finds the rest in the warehouse. Each may run twice and be killed anywhere: what it writes is
one transaction, and the files of a release are written under a temporary name and renamed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import Connection, text

from evidence.approval import approval_text
from evidence.catalogue import load_measures, run_measures
from evidence.disclosure import make_policy, protect, protect_counts
from evidence.package import write_package
from evidence.release import prepare_draft, read_current_release, read_figures, read_release
from evidence.release import publish as publish_release
from evidence.release import withdraw as withdraw_release
from evidence.repeats import explain_unmarkable, mark_repeats
from pipeline.linkage_engine import open_linkage_engine
from pipeline.linking import METHOD, link_snapshot
from pipeline.resources import SOFTWARE_VERSION, open_engine, open_keys_in_force, read_agreement
from pipeline.settings import Settings
from protocol.errors import LinkarmsError
from protocol.model import Agreement
from warehouse.audit import record_event
from warehouse.linkage_store import (
    read_persons,
    read_run,
    write_marks,
    write_published_ids,
)
from warehouse.loading import erase_submission, purge_superseded
from warehouse.rotation import LINKAGE_LOCK
from warehouse.snapshot import Snapshot, close_snapshot, present_snapshot, read_snapshot, snapshot_digest, take_snapshot

if TYPE_CHECKING:
    from pseudonymise.keys import KeyRing

PIPELINE = "pipeline"
"""Who did it, in the audit trail, where no person did."""


# --- link and mark ----------------------------------------------------------------------------------------------------


def link_and_mark(
    periods: Sequence[str],
    settings: Settings,
    run_id: str,
    *,
    leave_out: Sequence[str] = (),
    leave_out_reason: str | None = None,
    compare_anew: bool = False,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Record which submissions the release rests on, find who is who in them, and mark repeated assessments.

    ``periods`` empty: every period that anything is in force for. A partner may be left out with a reason of at least
    ten characters. ``compare_anew``: all pairs of records are compared, and not only those that no run has compared
    before. Returns ids and no counts.

    Raises:
        LinkarmsError: a partner is left out without a reason, or is none of the agreement; or linkage is set to run on
            Spark and cannot.
        NotYet: nothing is in force for these periods.
    """
    now = now or datetime.now(UTC)
    agreement = read_agreement(settings)
    partners = _choose_partners(agreement, leave_out, leave_out_reason)
    with open_linkage_engine(settings) as linkage_engine, open_engine(settings).begin() as conn:
        # One linkage at a time: a run decides on the registry that it has read. No rotation of keys meanwhile either.
        conn.execute(text("select pg_advisory_xact_lock(hashtext(:name))"), {"name": LINKAGE_LOCK})
        keys = open_keys_in_force(conn, settings, now=now)
        in_force = _periods_in_force(conn)
        # Who is who is decided over everything in force: a release over a part of it sees the same people.
        everything = take_snapshot(conn, in_force or periods, None, now)
        snapshot = take_snapshot(conn, periods or in_force, partners, now)
        linkage_run = f"{run_id}/{snapshot.id}"
        link_snapshot(
            conn,
            everything,
            snapshot,
            agreement,
            linkage_run,
            keys,
            now,
            linkage_engine,
            compare_anew=compare_anew,
        )
        if everything.id != snapshot.id:
            # The published release or a draft may be over everything: then it stays open for them.
            with suppress(LinkarmsError):
                close_snapshot(conn, everything.id, now)
        present_snapshot(conn, snapshot.id, agreement)
        if explain_unmarkable(agreement) is None:
            write_marks(conn, snapshot.id, mark_repeats(conn, agreement.measures.repeat_window_days))
        _publish_ids(conn, snapshot, agreement, keys)
        if leave_out:
            record_event(
                conn,
                PIPELINE,
                "release.partner_left_out",
                snapshot.id,
                {"partners": ",".join(sorted(leave_out)), "reason": leave_out_reason or ""},
            )
    # Counts of people stay in the warehouse: whoever may look at Airflow can read what a task returns.
    return {
        "snapshot_id": snapshot.id,
        "linkage_run": linkage_run,
        "left_out": sorted(leave_out),
        "left_out_reason": leave_out_reason,
    }


def _choose_partners(agreement: Agreement, leave_out: Sequence[str], reason: str | None) -> Sequence[str] | None:
    if not leave_out:
        return None
    if len((reason or "").strip()) < 10:
        raise LinkarmsError("Say why partners are left out, in at least ten characters: the release publishes it.")
    known = [partner.id for partner in agreement.partners]
    if unknown := sorted(set(leave_out) - set(known)):
        raise LinkarmsError(f"The agreement has no partner {unknown[0]} to leave out. It has {', '.join(known)}.")
    return [partner for partner in known if partner not in set(leave_out)]


def _periods_in_force(conn: Connection) -> list[str]:
    rows = conn.execute(text("select distinct period from facts.in_force_submission_table order by period"))
    return [row.period for row in rows]


def _publish_ids(conn: Connection, snapshot: Snapshot, agreement: Agreement, keys: "KeyRing") -> None:
    """Give each grant that reads the pool its own pseudonyms."""
    from pseudonymise.publish import publish_ids

    persons = read_persons(conn, snapshot.id)["person_id"]
    for grant in agreement.grants:
        if "pool" in grant.schemas:
            frame = pl.DataFrame({"person_id": persons, "published_id": publish_ids(persons, grant.id, keys)})
            write_published_ids(conn, grant.id, frame)


# --- measure ----------------------------------------------------------------------------------------------------------


def measure(
    snapshot_id: str, settings: Settings, *, linked: dict[str, Any] | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """Work out every figure over the snapshot, withhold what could point to a person, and write the approval page.

    ``linked`` is what :func:`link_and_mark` returned. The release's id follows from the snapshot, the agreement, the
    code and what custodians decided about links, so that measuring again prepares the same draft. The approval page
    shows protected figures and rounded counts.
    """
    now = now or datetime.now(UTC)
    agreement = read_agreement(settings)
    linked = linked or {}
    with open_engine(settings).connect() as conn:
        # One view of the data for all measures.
        conn.execution_options(isolation_level="REPEATABLE READ")
        with conn.begin():
            snapshot = read_snapshot(conn, snapshot_id)
            present_snapshot(conn, snapshot_id, agreement)
            protected = protect(run_measures(conn, agreement), make_policy(agreement))
            current = read_current_release(conn)
            run = read_run(conn, linked["linkage_run"]) if "linkage_run" in linked else None
            counts = {} if run is None else run.counts
            draft = prepare_draft(
                conn,
                release_id=_name_release(snapshot, agreement, _latest_decision(conn, snapshot)),
                snapshot_id=snapshot.id,
                snapshot_digest=snapshot.digest,
                tables=protected,
                agreement=agreement,
                parameters=_describe(snapshot, agreement, linked),
                code_version=SOFTWARE_VERSION,
                now=now,
            )
            previous = None if current is None else (current, read_figures(conn, current.release_id))
            page = approval_text(draft, previous, load_measures(), agreement, _tell(counts, agreement))
    return {
        "release_id": draft.release.release_id,
        "figures_digest": draft.figures_digest,
        "approval_digest": draft.approval_digest,
        "approval_text": page,
    }


_LINKAGE_LABELS = {
    "records": "Client records",
    "unlinkable": "Records with too little to link",
    "persons": "People in the registry",
    "created": "New people",
    "merged": "People merged with others",
    "split": "People parted",
    "records_in_doubt": "Records whose person hangs on pairs in doubt",
    "alarms": "Alarms",
}


def _tell(counts: Mapping[str, int], agreement: Agreement) -> dict[str, str]:
    """Counts as an approver may see them: those of few people not at all, the others rounded as in the release."""
    policy = make_policy(agreement)
    names = [name for name in _LINKAGE_LABELS if name in counts]
    shown = protect_counts([counts[name] for name in names], policy)
    few = f"fewer than {policy.minimum_people}"
    return {
        _LINKAGE_LABELS[name]: few if count is None else f"{count:,}" for name, count in zip(names, shown, strict=True)
    }


def _latest_decision(conn: Connection, snapshot: Snapshot) -> int:
    """Number of the latest decision that the linkage of the snapshot knew; 0 where custodians had decided nothing."""
    parameters = conn.scalar(
        text("select parameters from linkage.run where snapshot_id = :id order by seq desc limit 1"),
        {"id": snapshot.id},
    )
    return int((parameters or {}).get("latest_decision", 0))


def _name_release(snapshot: Snapshot, agreement: Agreement, latest_decision: int) -> str:
    """The id follows from all that the figures do. What custodians decide changes them over the same snapshot."""
    parts = [
        snapshot.digest,
        agreement.digest,
        SOFTWARE_VERSION,
        *([f"decision {latest_decision}"] * bool(latest_decision)),
    ]
    return f"rel-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"


def _describe(snapshot: Snapshot, agreement: Agreement, linked: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader of the release should know of how it was made. No count: those are figures, and protected."""
    return {
        "periods": sorted({table.period for table in snapshot.tables}),
        "partners": sorted({table.partner_id for table in snapshot.tables}),
        "left_out": linked.get("left_out", []),
        "left_out_reason": linked.get("left_out_reason"),
        "minimum_people": agreement.disclosure.minimum_people,
        "rounding_base": agreement.disclosure.rounding_base,
        "linkage_method": METHOD,
    }


# --- publish ----------------------------------------------------------------------------------------------------------


def publish(
    release_id: str,
    figures_digest: str,
    *,
    approver: str,
    reason: str,
    settings: Settings,
    approval_digest: str | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Publish what was approved, then write its report and data package.

    Raises :class:`ReleaseRefused` where the approval does not hold: no reason, other figures than those approved, or a
    snapshot from which something was erased since.
    """
    now = now or datetime.now(UTC)
    agreement = read_agreement(settings)
    with open_engine(settings).begin() as conn:
        earlier = read_current_release(conn)
        release = publish_release(
            conn,
            release_id=release_id,
            approver=approver,
            reason=reason,
            expected_figures_digest=figures_digest,
            expected_approval_digest=approval_digest,
            agreement_digest=agreement.digest,
            check_snapshot=snapshot_digest,
            now=now,
        )
        if earlier is None or earlier.release_id != release_id:
            record_event(
                conn, approver, "release.published", release_id, {"number": release.number, "digest": figures_digest}
            )
        if earlier is not None and earlier.snapshot_id != release.snapshot_id:
            # A draft over the earlier snapshot that was never approved keeps it open and must not stop this release.
            with suppress(LinkarmsError):
                close_snapshot(conn, earlier.snapshot_id, now)
        purge_superseded(conn)
    return {**write_release_files(release_id, agreement, settings), "number": release.number}


def write_release_files(release_id: str, agreement: Agreement, settings: Settings) -> dict[str, str]:
    """The report and the data package of a published release, from the warehouse; the same bytes each time."""
    with open_engine(settings).connect() as conn:
        release = read_release(conn, release_id)
        if release is None:
            raise LinkarmsError(f"There is no release {release_id}.")
        figures = read_figures(conn, release_id)
    folder = settings.releases / f"{release.number:04d}-{release_id}"
    if not folder.exists():  # written whole or not at all, and never again: later software could write other bytes
        write_package(release, figures, load_measures(), agreement, folder)
    return {"release_id": release_id, "report": str(folder / "report.html"), "package": str(folder)}


def erase(submission_id: str, *, by: str, reason: str, settings: Settings) -> int:
    """Delete all rows of a submission from the pool; returns how many. Its counts and receipt stay on record."""
    with open_engine(settings).begin() as conn:
        return erase_submission(conn, submission_id, actor=by, reason=reason)


def withdraw(release_id: str, *, by: str, reason: str, settings: Settings, now: datetime | None = None) -> None:
    """Take a published release back, with a reason. Its figures stay on record and its files stay where they are."""
    now = now or datetime.now(UTC)
    with open_engine(settings).begin() as conn:
        before = read_release(conn, release_id)
        release = withdraw_release(conn, release_id=release_id, reason=reason, by=by, now=now)
        if before is None or before.state is not release.state:
            record_event(conn, by, "release.withdrawn", release_id)
