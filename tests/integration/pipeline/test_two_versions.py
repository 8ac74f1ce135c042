"""Version 1.0 and version 2.0 of the agreement at once: partners on either, one pool."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from pipeline.files import read_json
from pipeline.set_up import readers_file
from protocol.digest import sign_again
from synthetic import Partnership
from tests.integration.pipeline.world import World, edit, set_up, smaller, with_agreement
from tests.two_versions import edit as edit_file
from tests.two_versions import write_two_versions
from warehouse.plan import plan_columns
from warehouse.upgrade import upgrade_rows

AFTER_SUNSET = datetime(2026, 12, 10, 9, 30, tzinfo=UTC)
EARLIER, LATER = "harbour_trust", "castle_borough"
ANALYST = "evaluation_analyst"
Tables = dict[str, pl.DataFrame]


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agreement's folder: version 2.0 from 2026-Q3 on, version 1.0 until 2026-11-30."""
    return write_two_versions(tmp_path_factory.mktemp("two") / "agreement")


@pytest.fixture
def both(world: World, two_versions: Path) -> World:
    """An installation under both versions, in which nothing has happened yet."""
    under_both = with_agreement(world, two_versions)
    set_up(under_both)
    return under_both


def extract(partnership: Partnership, partner: str, period: str = "2026-Q3") -> tuple[Tables, dict[str, Any]]:
    """A small extract by version 1.0, with an end reason that version 2.0 splits, and its manifest."""
    whole = partnership.extracts[partner, period]
    tables = smaller(whole)
    kept = tables["person"].select("local_person_id")
    tables["service_contact"] = whole["service_contact"].join(kept, on="local_person_id", how="semi")
    ended = tables["enrolment"]["started_on"][0]
    tables["enrolment"] = edit(tables["enrolment"], 0, ended_on=ended, end_reason="disengaged")
    return tables, dict(partnership.manifests[partner, period])


def by_new(tables: Tables, manifest: dict[str, Any]) -> tuple[Tables, dict[str, Any]]:
    """The same as a partner on version 2.0 would send it; the first enrolment's route was asked and not answered."""
    tables = dict(tables)
    routes = pl.Series("entry_route", ["unknown", "self", *["referred"] * len(tables["enrolment"])])
    tables["enrolment"] = tables["enrolment"].with_columns(
        routes.head(len(tables["enrolment"])), pl.lit("26").alias("planned_weeks")
    )
    tables["enrolment"] = edit(tables["enrolment"], 0, end_reason="asked_to_stop")
    tables["service_contact"] = tables["service_contact"].drop("channel").rename({"minutes": "duration_minutes"})
    return tables, {**manifest, "agreement_version": "2.0"}


def findings(receipt: dict[str, Any], code: str) -> list[dict[str, Any]]:
    return [finding for finding in receipt["findings"] if finding["code"] == code]


def test_partners_on_either_version_meet_in_one_pool(both: World, partnership: Partnership) -> None:
    old, new = extract(partnership, EARLIER), by_new(*extract(partnership, LATER))
    by_old = both.load(EARLIER, *old)
    both.load(LATER, *new)
    routes = both.query("select partner_id, entry_route, count(*) from facts.enrolment group by 1, 2 order by 1, 2")
    counts = {(partner, route): count for partner, route, count in routes}
    assert counts[EARLIER, "not_collected"] == len(old[0]["enrolment"])
    assert counts[LATER, "unknown"] == 1
    assert (LATER, "not_collected") not in counts
    assert (EARLIER, "unknown") not in counts
    reasons = both.query("select end_reason from facts.enrolment where partner_id = :p", p=EARLIER)
    sent = old[0]["enrolment"]["end_reason"].replace("disengaged", "lost_contact")
    assert sorted(reasons, key=str) == sorted(((reason,) for reason in sent), key=str)
    assert ("lost_contact",) in reasons
    assert both.query("select count(*) from facts.enrolment where planned_weeks is null") == [
        (len(old[0]["enrolment"]),)
    ]
    minutes = both.query("select sum(duration_minutes) from facts.service_contact where partner_id = :p", p=EARLIER)
    assert minutes == [(old[0]["service_contact"]["minutes"].cast(pl.Int64).sum(),)]
    assert both.query("select agreement_version, rows_version from governance.submission order by 1") == [
        ("1.0", "2.0"),
        ("2.0", "2.0"),
    ]
    receipt = both.receipt(EARLIER, by_old)
    assert receipt["state"] == "accepted"
    assert (receipt["agreement_version_submitted"], receipt["sunset"]) == ("1.0", "2026-11-30")
    assert "30 November 2026 is the last day" in receipt["sunset_notice"]
    assert 'agreement_version: "2.0"' in receipt["sunset_notice"]
    assert (
        both.receipt(
            LATER, both.query("select submission_id from governance.submission where partner_id = :p", p=LATER)[0][0]
        )["sunset_notice"]
        is None
    )


def test_analysts_see_what_was_not_collected_apart_from_what_is_not_known(
    both: World, partnership: Partnership
) -> None:
    both.load(EARLIER, *extract(partnership, EARLIER))
    both.load(LATER, *by_new(*extract(partnership, LATER)))
    both.publish(both.prepare())
    set_up(both)  # logins belong to the cluster, which other tests use as well
    passwords = read_json(readers_file(both.settings))
    url = make_url(both.settings.database_url()).set(username=ANALYST, password=passwords[ANALYST])
    with create_engine(url, poolclass=NullPool).connect() as conn:
        rows = conn.execute(
            text("select entry_route, agreement_version, count(*) from pool.enrolment group by 1, 2 order by 1")
        ).all()
        listed = conn.execute(text("select * from pool.not_collected where table_name = 'enrolment' order by 3")).all()
    seen = {route: version for route, version, _ in rows}
    assert seen["not_collected"] == "1.0"
    assert seen["unknown"] == "2.0"
    assert [tuple(row) for row in listed] == [
        ("1.0", "enrolment", "entry_route"),
        ("1.0", "enrolment", "planned_weeks"),
    ]


def test_faults_are_told_in_the_terms_of_the_version_that_was_submitted(both: World, partnership: Partnership) -> None:
    tables, manifest = extract(partnership, EARLIER)
    row = tables["service_contact"].height - 1
    tables["service_contact"] = edit(tables["service_contact"], row, channel="pigeon")
    tables["service_contact"] = edit(tables["service_contact"], row - 1, minutes="700")
    tables["person"] = tables["person"].with_columns(sex=pl.lit(None, dtype=pl.String))
    both.drop(EARLIER, tables, manifest)
    (outcome,) = both.take_in(EARLIER)
    assert outcome.refusal is None
    receipt = both.receipt(EARLIER, outcome.submission_id)
    (code,) = findings(receipt, "service_contact.channel.code")
    assert code["first_rows"] == [row + 2]
    (upgraded,) = findings(receipt, "upgrade.service_contact.duration_minutes.range")
    assert upgraded["first_rows"] == [row + 1]
    assert upgraded["columns"] == ["minutes"]
    assert "from version 1.0 to version 2.0" in upgraded["sentence"]
    assert "duration_minutes is called minutes in your file" in upgraded["mend"]
    (line,) = [line for line in receipt["tables"] if line["table"] == "service_contact"]
    assert (line["received"], line["held_back"]) == (row + 1, 2)
    (held,) = both.settings.outbox(EARLIER).glob("*/held-back-rows.csv")
    assert f"service_contact,{row + 1},upgrade.service_contact.duration_minutes.range," in held.read_text("utf-8-sig")
    assert not [finding for finding in receipt["findings"] if "entry_route" in finding["sentence"]]
    # What both versions ask for alike is told once.
    assert [f["code"] for f in receipt["findings"] if "person.sex" in f["code"]] == ["person.sex.completeness"]


def test_total_is_not_held_against_a_row_some_of_whose_parts_were_held_back_before(
    both: World, partnership: Partnership
) -> None:
    tables, manifest = extract(partnership, EARLIER)
    totals = pl.Series("total_score", ["9", *[None] * (tables["assessment"].height - 1)], dtype=pl.String)
    assessments = tables["assessment"].with_columns(totals, tool=pl.lit("ons4"))
    items = assessments.head(7).select("assessment_number", item=pl.lit("ons4_happy"), score=pl.lit("5"))
    part = items.head(1).with_columns(item=pl.lit("ons4_hapy"), score=pl.lit("4"))
    both.drop(EARLIER, {**tables, "assessment": assessments, "assessment_item": pl.concat([items, part])}, manifest)
    (outcome,) = both.take_in(EARLIER)
    assert outcome.refusal is None
    assert [finding["code"] for finding in both.receipt(EARLIER, outcome.submission_id)["findings"]] == [
        "assessment_item.item.code"
    ]


def test_late_file_of_an_old_period_comes_by_the_old_version_after_its_sunset(
    both: World, partnership: Partnership
) -> None:
    late = both.load(EARLIER, *extract(partnership, EARLIER, "2026-Q2"), now=AFTER_SUNSET)
    receipt = both.receipt(EARLIER, late)
    assert receipt["state"] == "accepted"
    assert "which is right for this period" in receipt["sunset_notice"]


@pytest.mark.parametrize(
    ("period", "make", "now", "told"),
    [
        ("2026-Q3", lambda *e: e, AFTER_SUNSET, "was taken for the period 2026-Q3 until 2026-11-30"),
        ("2026-Q2", by_new, AFTER_SUNSET, "holds from the period 2026-Q3 on; 2026-Q2 is submitted by version 1.0"),
    ],
    ids=["old version after its sunset", "new version for an old period"],
)
def test_version_that_does_not_belong_to_the_period_is_refused_with_the_clause(
    both: World, partnership: Partnership, period: str, make: Callable[..., Any], now: datetime, told: str
) -> None:
    both.drop(EARLIER, *make(*extract(partnership, EARLIER, period)))
    (outcome,) = both.take_in(EARLIER, now=now)
    assert outcome.refusal is not None
    (finding,) = both.receipt(EARLIER, outcome.submission_id)["findings"]
    assert finding["clause"] == "4.3 Versions"
    assert told in finding["sentence"]
    assert both.in_force_anywhere() == 0


def test_delta_by_the_old_version_refers_to_rows_that_were_sent_by_it_before(
    both: World, partnership: Partnership
) -> None:
    tables, manifest = extract(partnership, EARLIER)
    both.load(EARLIER, tables, manifest)
    numbers = [f"LATE-{number}" for number in range(6)]
    one = tables["service_contact"].head(1).with_columns(minutes=pl.lit("44"))
    contacts = pl.concat([one.with_columns(contact_number=pl.lit(number)) for number in numbers])
    contacts = edit(contacts, 5, local_person_id="NOBODY-1")
    both.drop(EARLIER, {"service_contact": contacts}, {**manifest, "kind": "delta"}, name="delta")
    (outcome,) = both.take_in(EARLIER)
    assert outcome.refusal is None
    found = [(f["code"], f["first_rows"]) for f in both.receipt(EARLIER, outcome.submission_id)["findings"]]
    assert found == [("service_contact.local_person_id.reference", [7])]
    assert both.rows_in_force("service_contact", "duration_minutes", EARLIER).count((44,)) >= 5


def test_rows_loaded_before_the_new_version_was_signed_are_carried_over_once(
    world: World, two_versions: Path, partnership: Partnership
) -> None:
    tables, manifest = extract(partnership, EARLIER, "2026-Q2")
    world.load(EARLIER, tables, manifest)
    under_both = with_agreement(world, two_versions)
    set_up(under_both)
    reasons = tables["enrolment"]["end_reason"].replace("disengaged", "lost_contact")
    rows = under_both.query("select end_reason, entry_route, planned_weeks from facts.enrolment")
    assert sorted(rows, key=str) == sorted(((reason, "not_collected", None) for reason in reasons), key=str)
    minutes = tables["service_contact"]["minutes"].cast(pl.Int64).sum()
    assert under_both.query("select sum(duration_minutes) from facts.service_contact") == [(minutes,)]
    with create_engine(under_both.server.url(database=under_both.database), poolclass=NullPool).begin() as conn:
        assert plan_columns(conn, under_both.agreement) == ()
        assert upgrade_rows(conn, under_both.agreement) == {}
    # The same client's rows of the next period join them: pseudonyms were not touched.
    under_both.load(EARLIER, *extract(partnership, EARLIER, "2026-Q3"))
    people = under_both.query("select count(distinct person_ref), count(*) from facts.person")
    assert people[0][0] < people[0][1]


def test_code_counts_by_the_day_of_its_row_and_of_the_row_that_it_belongs_to(
    world: World, two_versions: Path, partnership: Partnership, tmp_path: Path
) -> None:
    tables, manifest = extract(partnership, EARLIER)
    empty = pl.lit(None, dtype=pl.String)
    assessments = tables["assessment"].sort("assessed_on").head(6).with_columns(tool=pl.lit("ons4"), total_score=empty)
    items = assessments.select("assessment_number", item=pl.lit("ons4_happy"), score=pl.lit("5"))
    last_day = str(assessments["assessed_on"][4])
    late = (assessments["assessed_on"] > last_day).arg_true().to_list()
    assert late
    folder = Path(shutil.copytree(two_versions, tmp_path / "agreement"))
    edit_file(
        folder / "codelists/assessment_item.yaml", "{code: ons4_happy,", f"{{code: ons4_happy, valid_to: {last_day},"
    )
    sign_again(folder)
    dated = with_agreement(world, folder)
    set_up(dated)
    dated.drop(EARLIER, {**tables, "assessment": assessments, "assessment_item": items}, manifest)
    (outcome,) = dated.take_in(EARLIER)
    assert outcome.refusal is None
    (finding,) = findings(dated.receipt(EARLIER, outcome.submission_id), "assessment_item.item.code")
    assert finding["first_rows"] == [place + 2 for place in late]
    assert "was not in use on the row's date" in finding["mend"]
