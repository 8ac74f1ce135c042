"""Every command of the pages on keys is run in its order, on an installation with data."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from pseudonymise.keys import open_key_ring
from tests.docs.test_tutorial import run
from tests.integration.pipeline.conftest import copy_of, empty_world, partnership, small, world
from tests.integration.pipeline.world import LATER, World

__all__ = ["copy_of", "empty_world", "partnership", "small", "world"]

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"


def blocks(page: str) -> list[str]:
    """Every block of commands, without the indentation of a list."""
    content = (PAGES / page).read_text(encoding="utf-8")
    found = re.findall(r"^( *)```console\n(.*?)^ *```$", content, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(rf"(?m)^{indent}", "", block) for indent, block in found]


@pytest.fixture
def shell(world: World, small: dict[str, Any], tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A shell of the custodian's on an installation that has one extract, and a second one that waits."""
    world.load("harbour_trust", **small)
    world.prepare()
    world.drop("harbour_trust", small["tables"], {**small["manifest"], "extracted_on": "2026-11-02"})
    desk = tmp_path / "desk"
    desk.mkdir(mode=0o700)
    (desk / "owner").write_text(world.server.url(database=world.database))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINKARMS_")}
    environment |= dict(world.settings.environment)
    environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", "OWNER": str(desk / "owner")}
    process = subprocess.Popen(
        ["bash"],
        cwd=desk,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def clients(world: World) -> list[tuple[Any, ...]]:
    return world.query("select person_ref, person_id::text from linkage.membership order by 1")


def test_the_drill_renews_everything_and_the_next_extract_lands_on_the_same_people(
    shell: "subprocess.Popen[str]", world: World
) -> None:
    before = clients(world)
    (listing, rotating, verifying, taking_in, sealing) = (
        blocks("compromise-drill.md")[0].splitlines()[:1],
        blocks("compromise-drill.md")[0].splitlines()[1:],
        *blocks("compromise-drill.md")[1:],
    )
    told = run(shell, "\n".join(listing)) + run(shell, "\n".join(rotating))
    assert "tokens and pseudonyms are renewed" in told
    rotated = clients(world)
    assert [person for _, person in sorted(rotated, key=lambda row: row[1])] == sorted(person for _, person in before)
    assert not {ref for ref, _ in rotated} & {ref for ref, _ in before}
    assert run(shell, verifying).count("covered") == 1
    assert "loaded" in run(shell, taking_in)
    assert clients(world) == rotated
    assert "linkarms-sealing-1" in run(shell, sealing)
    events = world.query("select actor, detail ->> 'reason' from governance.audit_event where action = 'keys.rotated'")
    assert events == [("Linkage custodian", "Drill: K2 is taken to be known")]


def test_every_command_of_the_page_on_rotation_works_in_its_order(shell: "subprocess.Popen[str]", world: World) -> None:
    told = [run(shell, block) for block in blocks("rotate-keys.md")]
    assert len(told) == 7
    assert told[0].startswith("K1 ")
    assert "is locked" in told[1]
    assert "covered" in told[2]
    assert re.search(r"1 submissions of 1 partners .* as 1 full extracts .*: [\d,]+ rows", told[3])
    assert "is pending" in told[4]
    assert "1 submissions are set aside" in told[5]
    assert "is removed" in told[6]
    path = world.home / "secrets" / "linkarms.keys"
    words = (world.home / "secrets" / "passphrase").read_text().strip()
    ring = open_key_ring(f"file:{path}", now=LATER, passphrase=lambda: words)
    assert [(key.layer, str(key.state)) for key in ring.keys] == [("K1", "active"), ("K2", "covered"), ("K2", "active")]
    engine = create_engine(world.server.url(database=world.database), poolclass=NullPool)
    with engine.connect() as conn:
        recorded = conn.scalar(text("select after_key_id from governance.key_change order by change_id desc limit 1"))
    assert recorded == ring.key_id
    everything = "".join(told)
    assert words not in everything
    assert "SECRET" not in everything
