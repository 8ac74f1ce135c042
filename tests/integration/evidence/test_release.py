"""Releases on a real database: atomic, approved, immutable, superseded and withdrawn."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from evidence.catalogue import load_measures
from evidence.disclosure import ProtectedTables
from evidence.model import Draft, ReleaseState, digest_figures
from evidence.release import (
    prepare_draft,
    publish,
    read_current_release,
    read_draft,
    read_figures,
    read_release,
    withdraw,
)
from evidence.views import create_views
from protocol.errors import ReleaseRefused
from protocol.model import Agreement

NOW = datetime(2026, 10, 14, 9, 30, tzinfo=UTC)
REASON = "Checked with all six partners"
Prepare = Callable[..., Draft]


def same_snapshot(conn: Connection, snapshot_id: str) -> str:
    return f"digest of {snapshot_id}"


def approve(draft: Draft, **changes: Any) -> dict[str, Any]:
    return {
        "release_id": draft.release.release_id,
        "approver": "coordinator",
        "reason": REASON,
        "expected_figures_digest": draft.figures_digest,
        "check_snapshot": same_snapshot,
        "now": NOW,
        **changes,
    }


@pytest.fixture
def prepare(database: Any, sample: ProtectedTables, agreement: Agreement) -> Prepare:
    """Prepares a draft of the sample's figures, or of fewer of them."""

    def make(release_id: str, keep: int | None = None, **changes: Any) -> Draft:
        tables = sample if keep is None else ProtectedTables(sample.figures[:keep], sample.policy)
        values: dict[str, Any] = {
            "release_id": release_id,
            "snapshot_id": "s1",
            "snapshot_digest": "digest of s1",
            "tables": tables,
            "agreement": agreement,
            "parameters": {"periods": ["2026-Q2", "2026-Q3"]},
            "code_version": "0.1.0",
            "now": NOW,
            **changes,
        }
        with database.pipeline.connect() as conn:
            return prepare_draft(conn, **values)

    return make


def test_a_draft_is_not_in_the_evidence_schema_until_it_is_published(database: Any, prepare: Prepare) -> None:
    draft = prepare("r1")
    with database.pipeline.connect() as conn:
        assert conn.execute(text("select count(*) from evidence.figure")).scalar_one() == 0
        conn.rollback()
        release = publish(conn, **approve(draft))
        assert release.state is ReleaseState.PUBLISHED
        assert (release.approver, release.reason, release.published_at) == ("coordinator", REASON, NOW)
    with database.pipeline.connect() as conn:
        assert conn.execute(text("select count(*) from governance.draft_figure")).scalar_one() == 0
        assert read_figures(conn, "r1") == draft.figures
        assert digest_figures(read_figures(conn, "r1")) == draft.figures_digest
        assert read_current_release(conn) == release


def test_preparing_and_publishing_twice_changes_nothing(database: Any, prepare: Prepare) -> None:
    first = prepare("r1")
    again = prepare("r1", now=datetime(2026, 10, 15, tzinfo=UTC))
    assert again.release == first.release
    with database.pipeline.connect() as conn:
        once = publish(conn, **approve(first))
    with database.pipeline.connect() as conn:
        assert publish(conn, **approve(first, reason="Somebody pressed the button again")) == once
    assert prepare("r1").release == once


def test_a_draft_with_other_figures_replaces_the_earlier_one(database: Any, prepare: Prepare) -> None:
    first, second = prepare("r1"), prepare("r1", keep=20)
    assert first.figures_digest != second.figures_digest
    with database.pipeline.connect() as conn:
        assert read_draft(conn, "r1") == second
        conn.rollback()
        with pytest.raises(ReleaseRefused, match="not those that were approved"):
            publish(conn, **approve(first))


@pytest.mark.parametrize("reason", ["", "   ", "ok", "."])
def test_approval_without_a_reason_is_refused(database: Any, prepare: Prepare, reason: str) -> None:
    draft = prepare("r1", keep=20)
    with database.pipeline.connect() as conn, pytest.raises(ReleaseRefused, match="reason"):
        publish(conn, **approve(draft, reason=reason))


def test_a_changed_snapshot_voids_the_approval(database: Any, prepare: Prepare) -> None:
    draft = prepare("r1", keep=20)
    with database.pipeline.connect() as conn, pytest.raises(ReleaseRefused, match="changed since"):
        publish(conn, **approve(draft, check_snapshot=lambda conn, snapshot_id: "digest after an erasure"))
    with database.pipeline.connect() as conn:
        assert read_current_release(conn) is None
        assert read_draft(conn, "r1") == draft


def test_draft_figures_that_were_tampered_with_are_not_published(database: Any, prepare: Prepare) -> None:
    draft = prepare("r1", keep=20)
    with database.pipeline.begin() as conn:
        conn.execute(text("update governance.draft_figure set value = 1000000 where value is not null"))
    with database.pipeline.connect() as conn, pytest.raises(ReleaseRefused, match="not those that were approved"):
        publish(conn, **approve(draft))


def test_a_later_release_supersedes_the_earlier_one_and_keeps_its_figures(database: Any, prepare: Prepare) -> None:
    first, second = prepare("r1", keep=30), prepare("r2", keep=40)
    with database.pipeline.connect() as conn:
        publish(conn, **approve(first))
        publish(conn, **approve(second))
    with database.pipeline.connect() as conn:
        earlier, later = read_release(conn, "r1"), read_release(conn, "r2")
        assert earlier is not None
        assert later is not None
        assert (earlier.state, later.state) == (ReleaseState.SUPERSEDED, ReleaseState.PUBLISHED)
        assert (earlier.number, later.number) == (1, 2)
        assert read_figures(conn, "r1") == first.figures
        conn.rollback()
        with pytest.raises(ReleaseRefused):
            publish(conn, **approve(first))


def test_an_older_draft_does_not_supersede_a_later_release(database: Any, prepare: Prepare) -> None:
    first, second = prepare("r1", keep=30), prepare("r2", keep=40)
    with database.pipeline.connect() as conn:
        publish(conn, **approve(second))
        with pytest.raises(ReleaseRefused, match="release 2 was published since"):
            publish(conn, **approve(first))
        current = read_current_release(conn)
        assert current is not None
        assert current.release_id == "r2"
    # Prepared anew it is the next release, and may be approved.
    again = prepare("r1", keep=30)
    assert (again.release.number, again.figures) == (3, first.figures)
    with database.pipeline.connect() as conn:
        assert publish(conn, **approve(again)).number == 3


def test_a_draft_under_another_text_of_the_agreement_is_not_published(
    database: Any, prepare: Prepare, agreement: Agreement
) -> None:
    draft = prepare("r1", keep=20)
    with database.pipeline.connect() as conn:
        with pytest.raises(ReleaseRefused, match="another text of the agreement"):
            publish(conn, **approve(draft, agreement_digest="0" * 64))
        assert read_current_release(conn) is None
        conn.rollback()
        publish(conn, **approve(draft, agreement_digest=agreement.digest))


def test_an_approval_binds_to_what_the_release_covers(database: Any, prepare: Prepare) -> None:
    shown = prepare("r1", keep=20)
    draft = prepare("r1", keep=20, parameters={"periods": ["2026-Q2"]})
    assert draft.figures_digest == shown.figures_digest
    with database.pipeline.connect() as conn:
        with pytest.raises(ReleaseRefused, match="not what was approved"):
            publish(conn, **approve(draft, expected_approval_digest=shown.approval_digest))
        published = publish(conn, **approve(draft, expected_approval_digest=draft.approval_digest))
        assert publish(conn, **approve(draft, expected_approval_digest=draft.approval_digest)) == published
        with pytest.raises(ReleaseRefused, match="not what was approved"):
            publish(conn, **approve(draft, expected_approval_digest=shown.approval_digest))


def test_a_withdrawn_release_is_gone_for_readers_and_kept_on_record(database: Any, prepare: Prepare) -> None:
    draft = prepare("r1", keep=30)
    with database.pipeline.connect() as conn:
        with pytest.raises(ReleaseRefused, match="never published"):
            withdraw(conn, release_id="r1", reason="A partner found an error", by="coordinator", now=NOW)
        publish(conn, **approve(draft))
        with pytest.raises(ReleaseRefused, match="reason"):
            withdraw(conn, release_id="r1", reason="", by="coordinator", now=NOW)
        withdrawn = withdraw(conn, release_id="r1", reason="A partner found an error", by="coordinator", now=NOW)
        assert withdrawn.state is ReleaseState.WITHDRAWN
        assert withdrawn.withdrawn_reason == "A partner found an error (coordinator, 2026-10-14)"
        assert withdraw(conn, release_id="r1", reason="And once more for luck", by="x", now=NOW) == withdrawn
    with database.pipeline.connect() as conn:
        assert read_current_release(conn) is None
        assert read_figures(conn, "r1") == draft.figures


@pytest.mark.parametrize(
    "statement",
    [
        "update evidence.figure set value = 1",
        "delete from evidence.figure",
        "update evidence.release set reason = 'another reason altogether'",
        "delete from evidence.release",
        "insert into evidence.figure select release_id, measure, 'other', dims, statistic, value, numerator,"
        " denominator, unit, status, reason from evidence.figure limit 1",
    ],
)
def test_a_published_release_cannot_be_changed_even_by_the_databases_owner(
    database: Any, prepare: Prepare, statement: str
) -> None:
    draft = prepare("r1", keep=20)
    with database.pipeline.connect() as conn:
        publish(conn, **approve(draft))
    with database.owner.connect() as conn, pytest.raises((IntegrityError, SQLAlchemyError)):
        conn.execute(text(statement))


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from sqlalchemy import create_engine, event
from evidence.release import publish

url, digest, stop_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
engine = create_engine(url)
seen = 0

@event.listens_for(engine, "before_cursor_execute")
def stop(*_):
    global seen
    seen += 1
    if seen == stop_at:
        os.kill(os.getpid(), signal.SIGKILL)

with engine.connect() as conn:
    publish(conn, release_id="r2", approver="coordinator", reason="Checked with all six partners",
            expected_figures_digest=digest, check_snapshot=lambda conn, snapshot: "digest of s1",
            now=datetime(2026, 10, 14, tzinfo=UTC))
print("published", seen)
"""


def test_a_process_killed_at_any_statement_leaves_the_old_release_whole(database: Any, prepare: Prepare) -> None:
    first, second = prepare("r1", keep=30), prepare("r2", keep=40)
    with database.pipeline.connect() as conn:
        publish(conn, **approve(first))

    def run(stop_at: int) -> subprocess.CompletedProcess[str]:
        arguments = [database.pipeline_url, second.figures_digest, str(stop_at)]
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(KILLED), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )

    # The statements after the old release is superseded are the ones where a part could be left behind.
    for stop_at in (6, 7, 8, 9):
        assert run(stop_at).returncode == -signal.SIGKILL
        with database.pipeline.connect() as conn:
            current = read_current_release(conn)
            assert current is not None
            assert current.release_id == "r1"
            assert read_figures(conn, "r1") == first.figures
            assert read_figures(conn, "r2") == ()
            assert read_draft(conn, "r2") == second
    finished = run(0)
    assert finished.returncode == 0, finished.stderr
    with database.pipeline.connect() as conn:
        current = read_current_release(conn)
        assert current is not None
        assert current.release_id == "r2"
        assert read_figures(conn, "r2") == second.figures
    assert int(finished.stdout.split()[1]) >= 9


def test_every_measure_has_a_documented_view_of_the_current_release(database: Any, prepare: Prepare) -> None:
    measures = load_measures()
    draft = prepare("r1")
    with database.owner.connect() as conn:
        create_views(conn, measures)
        create_views(conn, measures)
    with database.owner.connect() as conn:
        for measure in measures:
            assert conn.execute(text(f"select count(*) from evidence.{measure.id}")).scalar_one() == 0
            comment = conn.execute(
                text("select obj_description(cast(:view as regclass), 'pg_class')"), {"view": f"evidence.{measure.id}"}
            ).scalar_one()
            assert measure.question in comment
            undocumented = conn.execute(
                text(
                    "select count(*) from pg_attribute where attrelid = cast(:view as regclass) and attnum > 0"
                    " and col_description(attrelid, attnum) is null"
                ),
                {"view": f"evidence.{measure.id}"},
            ).scalar_one()
            assert undocumented == 0
    with database.pipeline.connect() as conn:
        publish(conn, **approve(draft))
    with database.owner.connect() as conn:
        for measure in measures:
            rows = conn.execute(text(f"select count(*) from evidence.{measure.id}")).scalar_one()
            assert rows == sum(figure.measure == measure.id for figure in draft.figures)
        partners = conn.execute(
            text("select count(distinct partner) from evidence.reach where breakdown = 'partner'")
        ).scalar_one()
        assert partners == 6
