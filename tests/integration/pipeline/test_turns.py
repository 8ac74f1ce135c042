"""Several submissions of one partner at once, late checks, lost keys: who comes first, and what is not decided anew."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipeline.intake_steps import check_submission, receive_submissions, take_in_partner
from pipeline.resources import open_keys
from protocol.errors import KeyUnavailable, LinkarmsError, NotYet, SubmissionRefused
from tests.integration.pipeline.world import LATER, NOW, World, edit, smaller

PARTNER = "harbour_trust"


def delta_of(small: dict[str, Any]) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """One more enrolment of a client who is only in the full extract."""
    row = small["tables"]["enrolment"].head(1)
    return {"enrolment": edit(row, 0, enrolment_number="NEW-1")}, {**small["manifest"], "kind": "delta"}


def drop_both(world: World, small: dict[str, Any]) -> None:
    """The full extract and then the delta, as two drops that wait together."""
    full = world.drop(PARTNER, **small)
    moved = full.with_name("first")
    full.with_name(f"{full.name}.ready").rename(full.with_name("first.ready"))
    full.rename(moved)
    world.drop(PARTNER, *delta_of(small))


def test_a_delta_dropped_together_with_what_it_builds_on_comes_after_it(world: World, small: dict[str, Any]) -> None:
    drop_both(world, small)
    outcomes = world.take_in(PARTNER)
    assert [outcome.refusal for outcome in outcomes] == [None, None]
    assert len(world.rows_in_force("enrolment")) == small["tables"]["enrolment"].height + 1


def test_a_delta_whose_turn_has_not_come_waits_and_is_not_refused(world: World, small: dict[str, Any]) -> None:
    drop_both(world, small)
    full, delta = receive_submissions(PARTNER, world.settings, now=NOW)
    assert (full["label"].split()[1], delta["label"].split()[1]) == ("full", "delta")
    with pytest.raises(NotYet, match=full["submission_id"]):
        check_submission(delta["submission_id"], world.settings, now=NOW)
    outcomes = world.take_in(PARTNER)
    assert [outcome.refusal for outcome in outcomes] == [None, None]


def test_a_replaced_submission_that_is_sent_again_is_refused_and_says_what_to_do(
    world: World, small: dict[str, Any]
) -> None:
    world.load(PARTNER, **small)
    tables = {**small["tables"], "assessment": small["tables"]["assessment"].head(3)}
    world.load(PARTNER, tables, small["manifest"], now=LATER)
    before = world.rows_in_force("assessment")
    world.drop(PARTNER, **small)
    with pytest.raises(SubmissionRefused, match="replaced"):
        receive_submissions(PARTNER, world.settings, now=LATER)
    assert world.rows_in_force("assessment") == before
    receipts = [path.read_text(encoding="utf-8") for path in world.settings.outbox(PARTNER).glob("*/receipt.json")]
    assert len([text for text in receipts if "submission.superseded" in text and "extracted_on" in text]) == 1


def test_the_day_of_receipt_decides_and_not_that_of_the_check(world: World, small: dict[str, Any]) -> None:
    last_moment = datetime(2027, 6, 30, 23, 50, tzinfo=UTC)  # the window of 2026-Q2 closes that day
    assert small["manifest"]["period"] == "2026-Q2"
    world.drop(PARTNER, **small)
    (waiting,) = receive_submissions(PARTNER, world.settings, now=last_moment)
    counted = check_submission(waiting["submission_id"], world.settings, now=last_moment + timedelta(hours=1))
    assert counted["accepted"] > 0


def test_lost_keys_stop_the_work_and_are_not_made_anew(world: World, small: dict[str, Any]) -> None:
    world.load(PARTNER, **small)
    keys = world.home / "secrets" / "linkarms.keys"
    keys.unlink()
    world.drop(PARTNER, *delta_of(small))
    (waiting,) = receive_submissions(PARTNER, world.settings, now=LATER)
    with pytest.raises(KeyUnavailable):
        check_submission(waiting["submission_id"], world.settings, now=LATER)
    assert not keys.exists()
    with pytest.raises(KeyUnavailable):
        open_keys(world.settings, now=LATER)


def test_a_partner_that_the_agreement_does_not_know_is_told_with_those_that_it_does(world: World) -> None:
    with pytest.raises(LinkarmsError, match="harbour_trust"):
        list(take_in_partner("nobody", world.settings, now=NOW))


def test_a_fall_in_rows_is_refused_until_the_coordinator_confirms_it(world: World, small: dict[str, Any]) -> None:
    world.load(PARTNER, **small)
    few = smaller(small["tables"], people=2)
    manifest = dict(small["manifest"])
    world.drop(PARTNER, few, manifest)
    (outcome,) = world.take_in(PARTNER, now=LATER)
    assert outcome.refusal is not None
    world.drop(PARTNER, few, manifest)
    (line,) = take_in_partner(PARTNER, world.settings, fewer_rows_confirmed=True, now=LATER)
    assert "loaded" in line
    assert len(world.rows_in_force("person")) == 2
