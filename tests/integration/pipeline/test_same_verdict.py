"""What `linkarms check` tells an officer before sending is what the hub tells afterwards."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expectations.receipt import receipt_json
from pipeline.officer import check_extract
from tests.integration.pipeline.world import NOW, World

PARTNER = "harbour_trust"
_DATE = rb"(\d{4})-(\d\d)-(\d\d)"


def change(name: str, by: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        before = (folder / name).read_bytes()
        after = by(before)
        assert after != before
        (folder / name).write_bytes(after)

    return run


def repeat_headings(content: bytes) -> bytes:
    heading, rest = content.split(b"\n", 1)
    return heading + b"\n" + heading + b"\n" + rest


FAULTS: dict[str, Callable[[Path], None]] = {
    "none": lambda folder: None,
    "dates day first": change("person.csv", lambda content: re.sub(_DATE, rb"\3/\2/\1", content)),
    "dates as Excel shows them": change("assessment.csv", lambda content: re.sub(_DATE, rb"\3-Aug-26", content)),
    "another quarter": change("manifest.yaml", lambda content: content.replace(b"2026-Q2", b"2026-Q1")),
    "headings twice": change("person.csv", repeat_headings),
    "title above": change("person.csv", lambda content: b"Clients\n\n" + content),
    "semicolons": change("enrolment.csv", lambda content: content.replace(b",", b";")),
    "filter left on": change("person.csv", lambda content: b"\n".join(content.split(b"\n")[:5]) + b"\n"),
    "codes in capitals": change("person.csv", lambda content: content.replace(b"female", b"FEMALE")),
    "column gone": change("enrolment.csv", lambda content: content.replace(b"programme", b"project", 1)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_officer_is_told_before_what_the_hub_tells_after(
    name: str, world: World, small: dict[str, Any], tmp_path: Path
) -> None:
    folder = world.drop(PARTNER, **small)
    FAULTS[name](folder)
    world.flag(folder)
    copy = tmp_path / "own" / folder.name
    shutil.copytree(folder, copy)
    own = check_extract(copy, world.agreement, now=NOW).receipt
    world.take_in(PARTNER)
    hub = world.receipt(PARTNER, own.submission_id)
    assert (own.only_checked, hub["only_checked"]) == (True, False)
    told = json.loads(receipt_json(own))
    for part in ("state", "findings", "tables", "period", "kind", "agreement"):
        assert told[part] == hub[part], part
