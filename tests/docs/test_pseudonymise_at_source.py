"""Every command of the page on pseudonymising at the source is run in its order, up to a drop that is taken in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from protocol.at_source import left_to_source
from synthetic.generate import write_extract
from tests.docs.test_key_drill import PAGES, blocks
from tests.docs.test_tutorial import run
from tests.integration.pipeline.at_source import drop_sealed
from tests.integration.pipeline.conftest import copy_of, empty_world, partnership, small, world
from tests.integration.pipeline.world import World

__all__ = ["copy_of", "empty_world", "partnership", "small", "world"]

PAGE = "pseudonymise-at-source.md"


def test_every_command_of_the_page_works_and_what_it_makes_is_taken_in(
    world: World, small: dict[str, Any], tmp_path: Path
) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    rows = {table: len(frame) for table, frame in small["tables"].items()}
    write_extract(small["tables"], {**small["manifest"], "tables": rows}, desk / "2026-Q2")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINKARMS_")}
    environment |= dict(world.settings.environment)
    environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}
    process = subprocess.Popen(
        ["bash"],
        cwd=desk,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        coordinator, officer = blocks(PAGE)
        assert "locked by the passphrase" in run(process, coordinator)
        secrets = world.home / "secrets"
        (desk / "k1").mkdir(mode=0o700)
        shutil.copy(secrets / "k1.keys", desk / "k1" / "k1.keys")
        run(process, f"export LINKARMS_KEYS_PASSPHRASE_FILE='{secrets / 'k1-passphrase'}'\n")
        told = run(process, officer)
    finally:
        process.kill()
        process.communicate()
    assert re.search(r"2026-Q2\.sealed \([\d,]+ bytes\) holds tokens made with the key [0-9a-f]{16}", told)
    assert (desk / "receipt" / "receipt.html").exists()
    drop_sealed(world, "harbour_trust", desk / "2026-Q2.sealed")
    (outcome,) = world.take_in("harbour_trust")
    assert outcome.refusal is None


def test_the_page_states_how_many_rules_are_left_to_the_source(world: World) -> None:
    contract = world.agreement.contract
    rules = sum(len(table.rules) for table in contract.tables)
    text = (PAGES / PAGE).read_text(encoding="utf-8")
    assert f"{left_to_source(contract)} of the example's {rules}" in text.replace("\n", " ")
