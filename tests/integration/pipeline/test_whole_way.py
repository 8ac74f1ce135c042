"""Six partners' extracts of two quarters through every step to a published release, and everything a second time."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import frictionless
import polars as pl
import pytest

from linkage.quality import measure_quality
from pipeline.intake_steps import take_in_partner
from pipeline.summary import print_summary
from protocol.model import Agreement
from pseudonymise.keys import open_key_ring
from pseudonymise.output import derive_row_keys
from synthetic import Partnership, spoil_extract
from tests.integration.pipeline.world import LATER, NOW, World

Copy = Callable[[World], World]


def near(published: object, planted: int, share: float) -> bool:
    """Whether a figure is the planted one within a share and the rounding to five."""
    return published is not None and abs(float(str(published)) - planted) <= planted * share + 2.5


def test_every_row_of_every_extract_is_in_the_warehouse(published: World, partnership: Partnership) -> None:
    for table in published.agreement.contract.table_names:
        sent = sum(tables[table].height for tables in partnership.extracts.values() if table in tables)
        assert published.query(f"select count(*) from facts.{table}") == [(sent,)], table
    assert published.query("select state, count(*) from governance.submission group by 1") == [("loaded", 12)]


def test_headline_figures_agree_with_the_planted_facts(published: World, partnership: Partnership) -> None:
    facts = partnership.facts
    unlinked = partnership.subgroups.filter(pl.col("do_not_link")).height
    assert near(published.figure("reach", "unique_people"), facts.people - unlinked, 0.04)
    assert near(published.figure("reach", "client_records"), facts.records, 0.03)
    assert near(published.figure("repeat_assessment", "assessments"), facts.assessments, 0.03)
    assert near(published.figure("repeat_assessment", "repeats"), facts.repeats, 0.1)
    shared = sum(count for partners, count in facts.people_by_number_of_partners.items() if partners != "1")
    assert near(published.figure("overlap", "shared_people"), shared, 0.06)


def test_linkage_of_the_published_release_is_right_about_nearly_everybody(
    published: World, partnership: Partnership
) -> None:
    table = published.agreement.contract.table("person")
    keys = open_key_ring(published.settings.key_source, now=NOW)
    truth = pl.concat(
        rows.with_columns(row_key=derive_row_keys(rows, table, str(partner), keys))
        for (partner,), rows in partnership.truth.group_by("partner_id", maintain_order=True)
    )
    rows = published.query(
        "select distinct p.partner_id, p.row_key, m.person_id::text from facts.person p"
        " join linkage.membership m using (partner_id, person_ref)"
    )
    found = pl.DataFrame(rows, schema=["partner_id", "row_key", "cluster"], orient="row")
    quality = measure_quality(found, truth, on=("partner_id", "row_key"), cluster="cluster")
    assert quality.precision >= 0.95
    assert quality.recall >= 0.9


def test_the_release_has_a_report_and_a_package_that_frictionless_accepts(published: World) -> None:
    (folder,) = (path for path in published.settings.releases.iterdir() if not path.name.startswith("."))
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert published.agreement.title in report
    assert "<script" not in report
    checked = frictionless.Package(str(folder / "datapackage.json")).validate()
    assert checked.valid, checked.flatten(["type", "message"])
    described = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))["linkarms"]
    assert described["parameters"]["periods"] == ["2026-Q2", "2026-Q3"]
    assert len(described["parameters"]["partners"]) == 6


def test_every_partner_has_its_receipts_and_no_drop_waits(published: World, partnership: Partnership) -> None:
    for (partner, period), tables in partnership.extracts.items():
        (folder,) = published.settings.outbox(partner).glob(f"{period}-sub-*")
        receipt = published.receipt(partner, folder.name.removeprefix(f"{period}-"))
        assert receipt["state"] == "accepted"
        assert {line["table"]: line["accepted"] for line in receipt["tables"]} == {
            table: frame.height for table, frame in tables.items()
        }
        assert published.waiting(partner) == []
        assert set(published.settled(partner).values()) == {"accepted"}
    assert published.work() == []


def test_the_summary_tells_the_release_and_the_linkage(published: World) -> None:
    lines: list[str] = []
    print_summary(published.settings, truth=published.home / "truth", say=lines.append)
    told = {line[:42].strip(): line[42:].strip() for line in lines}
    assert told["Unique people"] == f"{published.figure('reach', 'unique_people'):,.0f}"
    assert told["Sum of the partners' own counts"] == f"{published.figure('reach', 'client_records'):,.0f}"
    assert told["as a share of eligible assessments"].split("%")[0].isdigit()
    assert any(line.startswith("  precision 0.9") for line in lines)
    for path in (line.split(maxsplit=1)[-1] for line in lines if line.startswith(("Report", "Data package"))):
        assert Path(path.removeprefix("package").strip()).is_file()


@pytest.mark.parametrize("as_zip", [False, True])
def test_the_same_submissions_again_change_nothing(
    published: World, partnership: Partnership, copy_of: Copy, as_zip: bool
) -> None:
    world = copy_of(published)
    before = world.counts()
    partner = "castle_borough"
    for period in ("2026-Q2", "2026-Q3"):
        world.drop(
            partner, partnership.extracts[partner, period], partnership.manifests[partner, period], as_zip=as_zip
        )
    assert world.take_in(partner, now=LATER) == []
    assert world.counts() == before
    assert world.waiting(partner) == []
    assert set(world.settled(partner).values()) == {"unchanged"}
    told = list(world.settings.outbox(partner).glob("*/unchanged.html"))
    assert len(told) == 2
    assert all("taken in before" in path.read_text(encoding="utf-8") for path in told)
    assert world.work() == []


def test_linking_measuring_and_publishing_again_give_the_same_release(published: World, copy_of: Copy) -> None:
    world = copy_of(published)
    before = world.counts()
    files = {path: path.read_bytes() for path in world.settings.releases.rglob("*") if path.is_file()}
    draft = world.prepare(now=LATER)
    world.publish(draft, now=LATER)
    assert world.counts() == before
    assert {path: path.read_bytes() for path in world.settings.releases.rglob("*") if path.is_file()} == files


def test_release_files_that_a_killed_run_did_not_write_are_written_the_same(published: World, copy_of: Copy) -> None:
    world = copy_of(published)
    (folder,) = world.settings.releases.iterdir()
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder)
    world.publish(world.prepare(now=LATER), now=LATER)
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == files


def test_a_spoilt_extract_is_loaded_without_the_rows_that_are_held_back(
    world: World, partnership: Partnership, agreement: Agreement
) -> None:
    partner, period = "jobcentre_east", "2026-Q2"
    spoilt, planted = spoil_extract(partnership, agreement, partner, period, seed=5)
    folder = world.drop(partner, spoilt.extracts[partner, period], spoilt.manifests[partner, period])
    lines = list(take_in_partner(partner, world.settings, now=NOW))
    assert not folder.exists()
    assert len(lines) == 1
    receipt = world.latest_receipt(partner)
    assert receipt["state"] == "accepted_with_rows_held_back"
    (listed,) = world.settings.outbox(partner).glob("*/held-back-rows.csv")
    rows = list(csv.DictReader(listed.read_text(encoding="utf-8-sig").splitlines()))
    held = {(row["table"], int(row["row"])) for row in rows}
    assert {(fault.table, fault.row) for fault in planted} <= held
    for line in receipt["tables"]:
        assert line["held_back"] == len([table for table, _ in held if table == line["table"]])
        assert world.query(f"select count(*) from facts.{line['table']}") == [(line["accepted"],)]
        assert line["received"] == line["accepted"] + line["held_back"] + line["repeated"]
