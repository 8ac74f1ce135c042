"""Extracts that were pseudonymised at the source come by every channel, and may be asked for."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.seal_extract import seal_extract
from tests.integration.channels.servers import Side
from tests.integration.channels.test_intake import give_channel
from tests.integration.pipeline.at_source import drop_sealed, make_office
from tests.integration.pipeline.conftest import PARTNER
from tests.integration.pipeline.world import LATER, World

With = Callable[..., World]


def test_identifiers_are_refused_unread_where_they_are_to_be_replaced_at_the_source(
    with_channel: With, small: Mapping[str, Any], extract: Path, tmp_path: Path
) -> None:
    world = with_channel({"pseudonymised": "required"})
    office = make_office(world, tmp_path)
    world.drop(PARTNER, **small)
    assert world.take_in(PARTNER) == []
    (finding,) = world.latest_receipt(PARTNER)["findings"]
    assert finding["code"] == "drop.in_clear"
    assert "linkarms pseudonymise" in finding["mend"]
    drop_sealed(world, PARTNER, seal_extract(extract, office.public_key).path)  # sealed, and still with identifiers
    assert world.take_in(PARTNER, now=LATER) == []
    receipts = [path.read_text("utf-8") for path in world.settings.outbox(PARTNER).glob("*/receipt.json")]
    assert [text.count('"drop.in_clear"') for text in receipts] == [1, 1]
    assert world.work() == []
    made = office.pseudonymise(**small, name="tokens")
    assert made.path is not None
    drop_sealed(world, PARTNER, made.path)
    (outcome,) = world.take_in(PARTNER, now=LATER)
    assert outcome.refusal is None


def test_it_comes_by_remote_channels_like_any_drop(
    remote_side: Side, with_channel: With, small: Mapping[str, Any], tmp_path: Path
) -> None:
    world = give_channel(remote_side, with_channel, tmp_path)
    made = make_office(world, tmp_path).pseudonymise(**small)
    assert made.path is not None
    remote_side.write("inbox/2026-Q2.sealed", made.path.read_bytes())
    remote_side.write("inbox/2026-Q2.ready", b"")
    (outcome,) = world.take_in(PARTNER)
    assert outcome.refusal is None
    receipt = f"outbox/2026-Q2-{outcome.submission_id}/receipt.json"
    assert json.loads(remote_side.read()[receipt])["pseudonymised_at_source"] is True
