"""Another partnership: an HMIS export, dropped for each organisation, to a published release by its agreement alone."""

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synthetic.hmis import HASHED, make_hmis_export
from tests.integration.pipeline.world import NOW, World, drop_world, make_world
from warehouse.server import EmbeddedServer

ROOT = Path(__file__).parents[3]
PERIOD = "FY2020-22"
ORGANIZATIONS = ("organization_a", "organization_b", "organization_o")
REAL_CLIENTS = 4146


def real_export() -> Path | None:
    """The demonstration export, where somebody has put it beside the project; it is no part of it."""
    shared = os.environ.get("LINKARMS_SHARED_DATA")
    places = [Path(shared) / "hmis-eva-demo.zip"] if shared else []
    places += [ROOT.parent / "shared" / "data" / "hmis-eva-demo.zip"]
    return next((place for place in places if place.is_file()), None)


@pytest.fixture
def hmis(database_server: EmbeddedServer, database_template: str, tmp_path: Path) -> Iterator[World]:
    world = make_world(database_server, database_template, tmp_path / "home", ROOT / "examples" / "hmis", None)
    yield world
    drop_world(world)


def run(world: World, place: Callable[[Path], Any]) -> None:
    """Drop the export for every organisation and bring it to a release."""
    for organization in ORGANIZATIONS:
        target = world.settings.inbox(organization) / PERIOD
        place(target)
        world.flag(target if target.exists() else target.with_suffix(".zip"))
        outcomes = world.take_in(organization)
        assert [outcome.refusal for outcome in outcomes] == [None]
    world.publish(world.prepare())
    assert world.work() == []


def test_a_made_up_export_runs_through_to_a_release(hmis: World, tmp_path: Path) -> None:
    export = tmp_path / "export"
    facts = make_hmis_export(export, clients=260, seed=4)
    run(hmis, lambda target: shutil.copytree(export, target))
    by_partner = dict(hmis.query("select partner_id, count(*) from facts.person group by 1"))
    assert sorted(by_partner.values()) == sorted(facts.clients_by_organization.values())
    linked = hmis.query("select count(distinct person_id) from linkage.membership")[0][0]
    assert linked == facts.clients  # the shared number is right about everybody
    assert abs(hmis.figure("reach", "unique_people") - facts.clients) <= 2.5
    (folder,) = hmis.settings.releases.iterdir()
    assert (folder / "report.html").is_file()
    assert (folder / "datapackage.json").is_file()
    texts = [path.read_bytes() for path in hmis.home.joinpath("releases").rglob("*") if path.is_file()]
    assert not any(HASHED.encode() in text for text in texts)


def test_the_demonstration_export_has_its_4146_people(hmis: World) -> None:
    export = real_export()
    if export is None:
        pytest.skip("hmis-eva-demo.zip lies neither in LINKARMS_SHARED_DATA nor beside the project")
    assert zipfile.is_zipfile(export)
    run(hmis, lambda target: shutil.copyfile(export, target.with_suffix(".zip")))
    assert hmis.query("select count(distinct person_id) from linkage.membership") == [(REAL_CLIENTS,)]
    assert abs(hmis.figure("reach", "unique_people") - REAL_CLIENTS) <= 2.5
    assert hmis.query("select count(*) from governance.submission where state = 'loaded'") == [(3,)]
    assert NOW.date() <= hmis.agreement.term.ends
