"""Worlds: an empty one, and one with a published release, each made once a session and copied for a test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.loading import default_agreement_folder
from protocol.model import Agreement
from synthetic import Partnership, generate_partnership, write_extracts
from tests.integration.pipeline.world import World, drop_world, make_world, smaller
from warehouse.server import EmbeddedServer

PEOPLE = 240
PARTNER = "harbour_trust"

Copy = Callable[[World], World]


@pytest.fixture(scope="session")
def partnership(agreement: Agreement) -> Partnership:
    """Six partners, two quarters, and the truth about them."""
    return generate_partnership(agreement, seed=13, people=PEOPLE)


@pytest.fixture(scope="session")
def empty_world(
    database_server: EmbeddedServer, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> World:
    """An installation in which nothing has happened yet. Only to be copied."""
    home = tmp_path_factory.mktemp("empty") / "home"
    return make_world(database_server, database_template, home, default_agreement_folder(), None)


@pytest.fixture(scope="session")
def published(empty_world: World, partnership: Partnership, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Both quarters of all six partners, published. Only to be read or copied."""
    home = tmp_path_factory.mktemp("published") / "home"
    world = make_world(
        empty_world.server, empty_world.database, home, empty_world.settings.agreement_folder, empty_world.home
    )
    write_extracts(partnership, home / "inbox", home / "truth")
    for partner, period in partnership.extracts:
        world.flag(home / "inbox" / partner / period)
    for partner in sorted({partner for partner, _ in partnership.extracts}):
        assert [outcome.refusal for outcome in world.take_in(partner)] == [None, None]
    world.publish(world.prepare())
    return world


@pytest.fixture
def copy_of(tmp_path: Path) -> Iterator[Copy]:
    """Copies a world, database and all, for one test."""
    made: list[World] = []

    def copy(world: World) -> World:
        home = tmp_path / f"home{len(made)}"
        made.append(make_world(world.server, world.database, home, world.settings.agreement_folder, world.home))
        return made[-1]

    yield copy
    for world in made:
        drop_world(world)


@pytest.fixture
def world(copy_of: Copy, empty_world: World) -> World:
    """An empty installation for one test."""
    return copy_of(empty_world)


@pytest.fixture(scope="session")
def small(partnership: Partnership) -> dict[str, object]:
    """Tables and manifest of a small extract of one partner."""
    return {
        "tables": smaller(partnership.extracts[PARTNER, "2026-Q2"]),
        "manifest": dict(partnership.manifests[PARTNER, "2026-Q2"]),
    }
