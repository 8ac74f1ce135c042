"""Releases: preparing a draft, publishing it after approval, superseding and withdrawing.

The figures of a draft lie in ``governance.draft_figure``, where readers of evidence cannot see them. Publishing moves
them into ``evidence.figure`` in one transaction, so that readers see the old release or the new one and never a part
of either; a process killed anywhere leaves the one or the other. A release is never edited or deleted: a later one
supersedes it, or it is withdrawn with a reason
(kept by ``tests/integration/evidence/test_release.py``).

Every function uses a transaction of its own. On a connection that has one already it uses a savepoint, and the
caller's commit decides.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from evidence.disclosure import ProtectedTables
from evidence.model import Draft, Figure, Release, ReleaseState, approval_digest, digest_figures, sort_figures
from protocol.errors import ReleaseRefused
from protocol.model import Agreement

MINIMUM_REASON = 10
"""Characters that a reason has at least: enough that it cannot be a full stop."""

_RELEASE_COLUMNS = (
    "release_id, number, state, snapshot_id, snapshot_digest, figures_digest, agreement_version, agreement_digest,"
    " code_version, parameters, prepared_at, approver, reason, approved_at, published_at, withdrawn_reason"
)
_FIGURE_COLUMNS = "measure, breakdown, dims, statistic, value, numerator, denominator, unit, status, reason"


@contextmanager
def _transaction(conn: Connection) -> Iterator[None]:
    with conn.begin_nested() if conn.in_transaction() else conn.begin():
        # One publisher at a time: the number of a release and the one published release depend on all others.
        conn.execute(text("select pg_advisory_xact_lock(hashtextextended('linkarms.evidence.release', 0))"))
        yield


def read_release(conn: Connection, release_id: str) -> Release | None:
    """The release of that id in whatever state, or None."""
    row = (
        conn.execute(
            text(f"select {_RELEASE_COLUMNS} from evidence.release where release_id = :id"),  # noqa: S608
            {"id": release_id},
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Release.model_validate(dict(row))


def read_current_release(conn: Connection) -> Release | None:
    """The release that readers see now, or None before the first and after a withdrawal."""
    row = (
        conn.execute(text(f"select {_RELEASE_COLUMNS} from evidence.release where state = 'published'"))  # noqa: S608
        .mappings()
        .one_or_none()
    )
    return None if row is None else Release.model_validate(dict(row))


def read_figures(conn: Connection, release_id: str) -> tuple[Figure, ...]:
    """The figures of a release that is or was published, in the order of their places."""
    return _read_figures(conn, "evidence.figure", release_id)


def read_draft(conn: Connection, release_id: str) -> Draft | None:
    """The draft of that id with its figures; None where there is no such draft."""
    release = read_release(conn, release_id)
    if release is None or release.state is not ReleaseState.DRAFT:
        return None
    return Draft(release=release, figures=_read_figures(conn, "governance.draft_figure", release_id))


def _read_figures(conn: Connection, table: str, release_id: str) -> tuple[Figure, ...]:
    rows = conn.execute(
        text(f"select {_FIGURE_COLUMNS} from {table} where release_id = :id"),  # noqa: S608
        {"id": release_id},
    ).mappings()
    return sort_figures(Figure.model_validate(dict(row)) for row in rows)


def prepare_draft(
    conn: Connection,
    *,
    release_id: str,
    snapshot_id: str,
    snapshot_digest: str,
    tables: ProtectedTables,
    agreement: Agreement,
    parameters: dict[str, Any],
    code_version: str,
    now: datetime,
) -> Draft:
    """Record the protected figures as the draft ``release_id``; its ``approval_digest`` is what an approval binds to.

    An existing draft of that id is replaced, and an equal one left as it is; where a later release was published in
    the meantime, the draft takes the next number. ``parameters`` says what was chosen for
    this release (JSON). Raises ReleaseRefused where a release of that id was published with other figures.
    """
    figures = sort_figures(tables.figures)
    digest = digest_figures(figures)
    row = {
        "release_id": release_id,
        "snapshot_id": snapshot_id,
        "snapshot_digest": snapshot_digest,
        "figures_digest": digest,
        "agreement_version": agreement.version,
        "agreement_digest": agreement.digest,
        "code_version": code_version,
        "parameters": json.dumps(parameters, sort_keys=True),
        "prepared_at": now,
    }
    with _transaction(conn):
        existing = read_release(conn, release_id)
        if existing is not None and existing.state is not ReleaseState.DRAFT:
            if (existing.figures_digest, existing.snapshot_digest) == (digest, snapshot_digest):
                return Draft(release=existing, figures=figures)
            raise ReleaseRefused(f"release {release_id} is {existing.state.value}; prepare a new one under another id")
        if existing is None:
            conn.execute(
                text(
                    "insert into evidence.release (release_id, number, state, snapshot_id, snapshot_digest,"
                    " figures_digest, agreement_version, agreement_digest, code_version, parameters, prepared_at)"
                    " select :release_id, coalesce(max(number), 0) + 1, 'draft', :snapshot_id, :snapshot_digest,"
                    " :figures_digest, :agreement_version, :agreement_digest, :code_version,"
                    " cast(:parameters as jsonb), :prepared_at from evidence.release"
                ),
                row,
            )
        elif _differs(existing, row):
            conn.execute(
                text(
                    "update evidence.release set snapshot_id = :snapshot_id, snapshot_digest = :snapshot_digest,"
                    " figures_digest = :figures_digest, agreement_version = :agreement_version,"
                    " agreement_digest = :agreement_digest, code_version = :code_version,"
                    " parameters = cast(:parameters as jsonb), prepared_at = :prepared_at"
                    " where release_id = :release_id"
                ),
                row,
            )
        if existing is not None and _find_later(conn, existing.number) is not None:
            conn.execute(
                text(
                    "update evidence.release set prepared_at = :prepared_at,"
                    " number = (select max(number) + 1 from evidence.release) where release_id = :release_id"
                ),
                row,
            )
        if _read_figures(conn, "governance.draft_figure", release_id) != figures:
            conn.execute(text("delete from governance.draft_figure where release_id = :id"), {"id": release_id})
            _insert_draft_figures(conn, release_id, figures)
        release = read_release(conn, release_id)
        assert release is not None
        return Draft(release=release, figures=figures)


def _find_later(conn: Connection, number: int) -> int | None:
    """The highest number above this one of a release that is or was published."""
    later = conn.execute(
        text("select max(number) from evidence.release where number > :number and state <> 'draft'"), {"number": number}
    ).scalar_one()
    return None if later is None else int(later)


def _differs(existing: Release, row: dict[str, Any]) -> bool:
    recorded = existing.model_dump(exclude={"prepared_at", "parameters"})
    return any(recorded[name] != value for name, value in row.items() if name in recorded) or (
        json.dumps(existing.parameters, sort_keys=True) != row["parameters"]
    )


def _insert_draft_figures(conn: Connection, release_id: str, figures: tuple[Figure, ...]) -> None:
    if not figures:
        return
    conn.execute(
        text(
            f"insert into governance.draft_figure (release_id, {_FIGURE_COLUMNS})"  # noqa: S608
            " values (:release_id, :measure, :breakdown, cast(:dims as jsonb), :statistic, :value, :numerator,"
            " :denominator, :unit, :status, :reason)"
        ),
        [
            {
                **figure.model_dump(),
                "release_id": release_id,
                "dims": figure.dims_text,
                "status": figure.status.value,
            }
            for figure in figures
        ],
    )


def publish(
    conn: Connection,
    *,
    release_id: str,
    approver: str,
    reason: str,
    expected_figures_digest: str,
    check_snapshot: Callable[[Connection, str], str],
    now: datetime,
    agreement_digest: str | None = None,
    expected_approval_digest: str | None = None,
) -> Release:
    """Publish the approved draft; the release published before becomes superseded. All in one transaction.

    ``expected_figures_digest`` and ``expected_approval_digest`` are the digests that were approved (of the figures, and
    of all that :func:`evidence.model.approval_digest` binds); ``agreement_digest`` is that of the agreement in force
    now. What is None is not compared. ``check_snapshot(conn, snapshot_id)`` returns the
    snapshot's digest as it is now, in this transaction: an erasure or withdrawal since the approval changes it.
    Publishing again what is published changes nothing. Raises ReleaseRefused where the approval has no approver or no
    reason, the figures, what they cover, the agreement or the snapshot changed, a later release was published since the
    draft was prepared, or the draft does not exist.
    """
    _require_reason(reason, "approved")
    if not approver.strip():
        raise ReleaseRefused(f"release {release_id}: an approval names who approved")
    with _transaction(conn):
        release = read_release(conn, release_id)
        if release is None:
            raise ReleaseRefused(f"there is no draft of a release {release_id}")
        if release.state is ReleaseState.PUBLISHED and release.figures_digest == expected_figures_digest:
            _compare_approval(release, _read_figures(conn, "evidence.figure", release_id), expected_approval_digest)
            return release
        if release.state is not ReleaseState.DRAFT:
            raise ReleaseRefused(f"release {release_id} is {release.state.value} and is not published again")
        figures = _read_figures(conn, "governance.draft_figure", release_id)
        if not figures:
            raise ReleaseRefused(f"release {release_id} has no figures")
        if not digest_figures(figures) == release.figures_digest == expected_figures_digest:
            raise ReleaseRefused(f"release {release_id}: its figures are not those that were approved; approve it anew")
        _compare_approval(release, figures, expected_approval_digest)
        if agreement_digest is not None and agreement_digest != release.agreement_digest:
            raise ReleaseRefused(f"release {release_id}: prepared under another text of the agreement; prepare it anew")
        if (later := _find_later(conn, release.number)) is not None:
            raise ReleaseRefused(
                f"release {release_id}: release {later} was published since it was prepared; prepare it anew"
            )
        if check_snapshot(conn, release.snapshot_id) != release.snapshot_digest:
            raise ReleaseRefused(
                f"release {release_id}: the submissions that it was made from changed since; prepare it anew"
            )
        conn.execute(text("update evidence.release set state = 'superseded' where state = 'published'"))
        conn.execute(
            text(
                "update evidence.release set state = 'published', approver = :approver, reason = :reason,"
                " approved_at = :now, published_at = :now where release_id = :id"
            ),
            {"id": release_id, "approver": approver.strip(), "reason": reason.strip(), "now": now},
        )
        conn.execute(
            text(
                f"insert into evidence.figure (release_id, {_FIGURE_COLUMNS})"  # noqa: S608
                f" select release_id, {_FIGURE_COLUMNS} from governance.draft_figure where release_id = :id"
            ),
            {"id": release_id},
        )
        conn.execute(text("delete from governance.draft_figure where release_id = :id"), {"id": release_id})
        published = read_release(conn, release_id)
        assert published is not None
        return published


def _compare_approval(release: Release, figures: tuple[Figure, ...], expected: str | None) -> None:
    if expected is not None and approval_digest(release, figures) != expected:
        raise ReleaseRefused(
            f"release {release.release_id}: the figures, or what they cover and were made from, are not what was"
            " approved; approve it anew"
        )


def withdraw(conn: Connection, *, release_id: str, reason: str, by: str, now: datetime) -> Release:
    """Take a release back: readers see none until the next is published; its figures stay on record.

    The reason is kept with who gave it and when. Withdrawing twice changes nothing. Raises ReleaseRefused without a
    reason, without a name, or where the release was never published.
    """
    _require_reason(reason, "withdrawn")
    if not by.strip():
        raise ReleaseRefused(f"release {release_id}: a withdrawal names who withdrew")
    with _transaction(conn):
        release = read_release(conn, release_id)
        if release is None or release.state is ReleaseState.DRAFT:
            raise ReleaseRefused(f"release {release_id} was never published")
        if release.state is ReleaseState.WITHDRAWN:
            return release
        conn.execute(
            text("update evidence.release set state = 'withdrawn', withdrawn_reason = :reason where release_id = :id"),
            {"id": release_id, "reason": f"{reason.strip()} ({by.strip()}, {now:%Y-%m-%d})"},
        )
        withdrawn = read_release(conn, release_id)
        assert withdrawn is not None
        return withdrawn


def _require_reason(reason: str, what: str) -> None:
    if len(reason.strip()) < MINIMUM_REASON:
        raise ReleaseRefused(f"a release is {what} with a reason of at least {MINIMUM_REASON} characters")
