"""A receipt beside the partner's last one, refused or taken in, as the warehouse kept it."""

from typing import Any

from tests.integration.pipeline.world import LATER, World, edit

PARTNER = "harbour_trust"


def _changes(receipt: dict[str, Any]) -> dict[str, str]:
    return {fault["code"]: fault["change"] for fault in receipt["comparison"]["faults"]}


def test_second_try_says_what_is_fixed_and_what_is_there_again(world: World, small: dict[str, Any]) -> None:
    spoilt = dict(small["tables"])
    for row in range(spoilt["enrolment"].height):
        spoilt["enrolment"] = edit(spoilt["enrolment"], row, programme="no_such_programme")
    spoilt["sharing_basis"] = edit(spoilt["sharing_basis"], 0, lawful_basis="whim")
    world.drop(PARTNER, **{**small, "tables": spoilt})
    (first,) = world.take_in(PARTNER)
    assert first.refusal is not None
    assert world.receipt(PARTNER, first.submission_id)["comparison"] is None

    mended = {**small["tables"], "sharing_basis": spoilt["sharing_basis"]}
    second = world.load(PARTNER, **{**small, "tables": mended}, now=LATER)
    receipt = world.receipt(PARTNER, second)
    assert (receipt["comparison"]["submission_id"], receipt["comparison"]["state"]) == (first.submission_id, "refused")
    changes = _changes(receipt)
    assert changes["enrolment.programme.code"] == "fixed"
    assert changes["enrolment.held_back_share"] == "fixed"
    assert changes["sharing_basis.lawful_basis.code"] == "again"
    line = next(line for line in receipt["tables"] if line["table"] == "person")
    assert line["last_time"] == small["tables"]["person"].height
