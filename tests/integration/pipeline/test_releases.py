"""Releases: who is left out, what an approval binds to, and what publishing again or withdrawing does."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import create_engine

from pipeline.release_steps import link_and_mark, withdraw
from protocol.errors import LinkarmsError, NotYet, ReleaseRefused
from synthetic import Partnership
from tests.integration.pipeline.world import LATER, World, edit, make_world
from warehouse.loading import erase_submission, purge_superseded

PARTNER = "harbour_trust"
REASON = "Its extract is known to be incomplete."
Copy = Callable[[World], World]


@pytest.fixture
def copied(copy_of: Copy, published: World) -> World:
    """The published world, to change."""
    return copy_of(published)


def erase_first(world: World) -> None:
    (row,) = world.query("select submission_id from governance.submission order by seq limit 1")
    with create_engine(world.settings.database_url()).begin() as conn:
        erase_submission(conn, row[0], actor="coordinator", reason="The partner asked for it.")


@pytest.fixture(scope="module")
def with_news(published: World, partnership: Partnership, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The published world after another full submission of a partner's last period. Only to be copied."""
    folder = published.settings.agreement_folder
    home = tmp_path_factory.mktemp("news") / "home"
    world = make_world(published.server, published.database, home, folder, published.home)
    tables, manifest = partnership.extracts[PARTNER, "2026-Q3"], partnership.manifests[PARTNER, "2026-Q3"]
    person = edit(tables["person"], 0, household_number="H-NEW")
    world.load(PARTNER, {**tables, "person": person}, manifest, now=LATER)
    return world


@pytest.fixture
def news(copy_of: Copy, with_news: World) -> World:
    """A published world with something new to release, to change."""
    return copy_of(with_news)


def test_linkage_that_is_set_to_run_on_spark_does_not_run_on_anything_else(
    published: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pyspark", "pyspark.errors"):
        monkeypatch.setitem(sys.modules, module, None)  # as where it was never installed
    runs = published.query("select count(*) from linkage.run")
    with pytest.raises(LinkarmsError, match="LINKARMS_ENGINE=spark needs PySpark"):
        link_and_mark([], replace(published.settings, linkage_engine="spark"), "on Spark")
    assert published.query("select count(*) from linkage.run") == runs


@pytest.mark.parametrize("reason", [None, "", "short", "   short   "])
def test_leaving_a_partner_out_needs_a_reason(published: World, reason: str | None) -> None:
    with pytest.raises(LinkarmsError, match="ten characters"):
        link_and_mark([], published.settings, "run", leave_out=["castle_borough"], leave_out_reason=reason)


def test_leaving_out_somebody_who_is_no_partner_is_refused(published: World) -> None:
    with pytest.raises(LinkarmsError, match="no partner castle_burough"):
        link_and_mark([], published.settings, "run", leave_out=["castle_burough"], leave_out_reason=REASON)


def test_a_release_without_a_partner_says_so_and_counts_without_it(copied: World, partnership: Partnership) -> None:
    draft = copied.prepare(leave_out=["castle_borough"], leave_out_reason=REASON, now=LATER)
    published = copied.publish(draft, now=LATER)
    assert published["number"] == 2
    (folder,) = copied.settings.releases.glob("0002-*")
    parameters = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))["linkarms"]["parameters"]
    assert "castle_borough" not in parameters["partners"]
    assert len(parameters["partners"]) == 5
    assert parameters["left_out_reason"] == REASON
    assert REASON in (folder / "report.html").read_text(encoding="utf-8")
    left = sum(count for partner, count in partnership.facts.people_by_partner.items() if partner != "castle_borough")
    assert abs(float(copied.figure("reach", "client_records")) - left) <= 10
    (event,) = copied.query("select detail from governance.audit_event where action = 'release.partner_left_out'")
    assert event[0]["reason"] == REASON


def test_a_period_can_be_released_alone(copied: World) -> None:
    linked = link_and_mark(["2026-Q2"], copied.settings, "one", now=LATER)
    held = copied.query(
        "select distinct s.period from governance.snapshot_table t join governance.submission s using (submission_id)"
        " where t.snapshot_id = :id",
        id=linked["snapshot_id"],
    )
    assert held == [("2026-Q2",)]
    with pytest.raises(NotYet):
        link_and_mark(["2026-Q1"], copied.settings, "none", now=LATER)


def test_a_draft_whose_snapshot_lost_a_submission_is_not_published(news: World) -> None:
    draft = news.prepare("second", now=LATER)
    before = news.figure("reach", "unique_people")
    erase_first(news)
    with pytest.raises(ReleaseRefused, match="changed since"):
        news.publish(draft, now=LATER)
    assert news.query("select number from evidence.release where state = 'published'") == [(1,)]
    assert news.figure("reach", "unique_people") == before
    assert len(list(news.settings.releases.iterdir())) == 1
    again = news.prepare("third", now=LATER)
    assert news.publish(again, now=LATER)["release_id"] != draft["release_id"]


def test_an_approval_of_other_figures_or_without_a_reason_publishes_nothing(news: World) -> None:
    draft = news.prepare("second", now=LATER)
    before = news.counts()
    for changed in ({"figures_digest": "0" * 64}, {"reason": "ok"}, {"reason": "  "}, {"approver": " "}):
        with pytest.raises(ReleaseRefused):
            news.publish(draft, now=LATER, **changed)
        assert news.counts() == before
    assert news.query("select state from evidence.release order by number") == [("published",), ("draft",)]


def test_a_later_release_supersedes_the_first_and_what_it_needed_is_purged(
    news: World, partnership: Partnership
) -> None:
    draft = news.prepare("second", now=LATER)
    assert "Against release 1" in draft["approval_text"]
    before = news.counts()["facts.person"]
    news.publish(draft, now=LATER)
    assert news.query("select state from evidence.release order by number") == [("superseded",), ("published",)]
    gone = partnership.extracts[PARTNER, "2026-Q3"]["person"].height
    assert news.counts()["facts.person"] == before - gone
    with create_engine(news.settings.database_url()).begin() as conn:
        assert purge_superseded(conn) == {}
    assert news.publish(draft, now=LATER)["number"] == 2


def test_a_draft_that_nobody_approved_does_not_stop_later_releases(news: World) -> None:
    # A draft over the published snapshot, as after a change of the software.
    news.execute(
        "insert into evidence.release (release_id, number, state, snapshot_id, snapshot_digest, agreement_version,"
        " agreement_digest, code_version, parameters, prepared_at) select 'rel-abandoned', 2, 'draft', snapshot_id,"
        " snapshot_digest, agreement_version, agreement_digest, 'older', '{}', prepared_at from evidence.release"
    )
    assert news.publish(news.prepare("second", now=LATER), now=LATER)["number"] == 3


def test_a_withdrawn_release_is_not_seen_and_withdrawing_again_changes_nothing(copied: World) -> None:
    ((release_id,),) = copied.query("select release_id from evidence.release")
    arguments: dict[str, Any] = {"by": "coordinator", "reason": "A partner sent wrong dates.", "now": LATER}
    withdraw(release_id, settings=copied.settings, **arguments)
    assert copied.figure("reach", "unique_people") is None
    before = copied.counts()
    withdraw(release_id, settings=copied.settings, **arguments)
    assert copied.counts() == before


def test_what_the_steps_return_holds_no_count_of_people(published: World, partnership: Partnership) -> None:
    linked = link_and_mark([], published.settings, "again", now=LATER)
    assert set(linked) == {"snapshot_id", "linkage_run", "left_out", "left_out_reason"}
    assert not [value for value in linked.values() if isinstance(value, int)]


def test_a_release_without_a_partner_leaves_who_is_who_as_it_was(copied: World) -> None:
    membership = "select partner_id, person_ref, person_id::text from linkage.membership order by 1, 2"
    before = copied.query(membership)
    assert before
    link_and_mark([], copied.settings, "run", leave_out=["castle_borough"], leave_out_reason=REASON, now=LATER)
    link_and_mark(["2026-Q2"], copied.settings, "one period", now=LATER)
    assert copied.query(membership) == before
    assert copied.query("select count(*) from linkage.registry_event where event = 'split'") == [(0,)]
