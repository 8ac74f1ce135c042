"""Each step twice, and each step killed: what comes out is what one quiet run would have given."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.files import make_private
from pipeline.intake_steps import (
    Submission,
    check_submission,
    load_submission,
    pseudonymise_submission,
    receive_submissions,
)
from protocol.errors import DefectFound, KeyUnavailable, NotYet, SubmissionRefused
from pseudonymise.keys import open_key_ring
from tests.integration.pipeline.world import LATER, NOW, World, drop_world, edit, make_world

ROOT = Path(__file__).parents[3]
PARTNER = "harbour_trust"
SENT = ("person", "sharing_basis", "enrolment", "assessment")
IDENTIFIABLE = ("taken", "accepted", "fetched", "taking", "mapping")


@dataclass
class Killer:
    """Runs an intake that is killed on its way."""

    process: "subprocess.Popen[str]"

    def run(self, world: World, die: tuple[str, str, int]) -> int:
        """The number of the signal that ended the run; 0 where it came to its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {
            "environment": dict(world.settings.environment),
            "partner": PARTNER,
            "now": NOW.isoformat(),
            "die": die,
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with subprocess.Popen(
        [sys.executable, "-c", "from tests.integration.pipeline.killing import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        yield Killer(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


def with_a_held_back_row(small: dict[str, Any]) -> dict[str, Any]:
    tables = dict(small["tables"])
    tables["enrolment"] = edit(tables["enrolment"], 1, programme="no_such_programme")
    return {"tables": tables, "manifest": small["manifest"]}


def refused(small: dict[str, Any]) -> dict[str, Any]:
    tables = dict(small["tables"])
    tables["person"] = tables["person"].drop("sex")
    return {"tables": tables, "manifest": small["manifest"]}


@dataclass(frozen=True)
class Result:
    """What an intake leaves behind, without the order of numbers that the database gives."""

    counts: dict[str, int]
    rows: dict[str, list[tuple[Any, ...]]]
    outbox: dict[str, bytes]
    settled: dict[str, str]


def result_of(world: World) -> Result:
    rows = {
        name: world.query(f"select * from {name} order by 1, 2, 3")
        for name in (*(f"facts.{table}" for table in SENT), "linkage.match_key", "governance.submission_table")
    }
    rows["submission"] = world.query(
        "select submission_id, period, state, received_at, loaded_at, receipt from governance.submission order by 1"
    )
    outbox = world.settings.outbox(PARTNER)
    files = {str(path.relative_to(outbox)): path.read_bytes() for path in outbox.rglob("*") if path.is_file()}
    return Result(world.counts(), rows, files, world.settled(PARTNER))


TAKING_IN = ("os.rename", "/taken", 1)
BEFORE_THE_LOAD = {
    "while it is taken in": TAKING_IN,
    "after it was registered": ("os.rename", "work/sub-", 1),
    "while accepted rows are written": ("open", "accepted.part/enrolment", 1),
    "before the accepted rows have their name": ("os.rename", "/accepted", 1),
    "after the check": ("after", "check_submission", 1),
    "while pool rows are written": ("open", "pool.part/person", 1),
    "before the match keys have their name": ("os.rename", "/match_keys.parquet", 1),
    "while identifiable files are removed": ("shutil.rmtree", ".removing-taken", 1),
    "after pseudonymising": ("after", "pseudonymise_submission", 1),
}
AFTER_THE_COMMIT = {
    "between the load's commit and the receipt": ("os.mkdir", f"/outbox/{PARTNER}/2026-Q2-sub-", 1),
    "between the parts of the receipt": ("os.rename", "/receipt.html", 1),
    "before the drop is settled": ("os.rename", "/settled/", 2),
    "after the drop was settled": ("os.rename", ".removing-sub-", 1),
    "while the working folder is removed": ("os.remove", "match_keys.parquet", 1),
}


@pytest.fixture(scope="module")
def quiet(empty_world: World, small: dict[str, Any], killer: Killer, tmp_path_factory: Any) -> Result:
    """What a run leaves behind that nothing disturbs."""
    folder = empty_world.settings.agreement_folder
    home = tmp_path_factory.mktemp("quiet") / "home"
    world = make_world(empty_world.server, empty_world.database, home, folder, empty_world.home)
    world.drop(PARTNER, **with_a_held_back_row(small))
    assert killer.run(world, ("nothing", "", 1)) == 0
    result = result_of(world)
    drop_world(world)
    assert set(result.settled.values()) == {"accepted_with_rows_held_back"}
    assert result.counts["facts.person"] == small["tables"]["person"].height
    return result


def test_an_intake_that_is_killed_again_and_again_before_the_load_ends_as_if_it_had_not_been(
    world: World, small: dict[str, Any], killer: Killer, quiet: Result
) -> None:
    world.drop(PARTNER, **with_a_held_back_row(small))
    for moment, die in BEFORE_THE_LOAD.items():
        # Each run has to come further than the last, over what that one left behind.
        assert killer.run(world, die) == signal.SIGKILL, moment
        assert world.in_force_anywhere() == 0, moment
        assert world.query("select distinct state from governance.submission") in ([], [("received",)]), moment
    world.take_in(PARTNER)
    assert result_of(world) == quiet
    assert world.waiting(PARTNER) == []
    assert world.work() == []


@pytest.mark.parametrize("moment", AFTER_THE_COMMIT)
def test_an_intake_that_is_killed_after_the_commit_is_finished_by_the_next_run(
    moment: str, world: World, small: dict[str, Any], killer: Killer, quiet: Result
) -> None:
    world.drop(PARTNER, **with_a_held_back_row(small))
    assert killer.run(world, AFTER_THE_COMMIT[moment]) == signal.SIGKILL
    world.take_in(PARTNER)
    assert result_of(world) == quiet
    assert world.waiting(PARTNER) == []
    assert world.work() == []


REFUSAL_MOMENTS = {
    "between the parts of the receipt": ("os.rename", "/receipt.html", 1),
    "before the drop is settled": ("os.rename", "/settled/", 2),
    "after the drop was settled": ("os.rename", ".removing-sub-", 1),
    "while the working folder is removed": ("shutil.rmtree", ".removing-sub-", 1),
}


@pytest.mark.parametrize("moment", REFUSAL_MOMENTS)
def test_a_refusal_that_is_killed_and_run_again_is_the_same_refusal(
    moment: str, world: World, small: dict[str, Any], killer: Killer
) -> None:
    world.drop(PARTNER, **refused(small))
    assert killer.run(world, REFUSAL_MOMENTS[moment]) == signal.SIGKILL
    world.take_in(PARTNER)
    assert world.latest_receipt(PARTNER)["state"] == "refused"
    assert world.query("select state, receipt is not null from governance.submission") == [("refused", True)]
    assert set(world.settled(PARTNER).values()) == {"refused"}
    assert world.waiting(PARTNER) == []
    assert world.work() == []
    assert world.in_force_anywhere() == 0


def test_what_a_killed_run_took_in_of_a_drop_that_has_gone_is_removed_by_the_next(
    world: World, small: dict[str, Any], killer: Killer
) -> None:
    folder = world.drop(PARTNER, **small)
    assert killer.run(world, TAKING_IN) == signal.SIGKILL
    assert any(path.endswith(".csv") for path in world.work())
    for path in sorted(folder.iterdir()):
        path.unlink()
    folder.rmdir()
    assert world.take_in(PARTNER) == []
    assert world.work() == []


def test_a_submission_is_finished_without_its_drop_once_it_is_pseudonymised(
    world: World, small: dict[str, Any], killer: Killer
) -> None:
    folder = world.drop(PARTNER, **small)
    assert killer.run(world, BEFORE_THE_LOAD["after pseudonymising"]) == signal.SIGKILL
    assert not [path for path in world.work() if Path(path).parts[1:2] and Path(path).parts[1] in IDENTIFIABLE]
    folder.rename(world.home / "taken away")
    (outcome,) = world.take_in(PARTNER)
    assert outcome.loaded is not None
    assert world.receipt(PARTNER, outcome.submission_id)["state"] == "accepted"
    assert world.work() == []


def test_each_step_twice_gives_the_same_and_changes_nothing(world: World, small: dict[str, Any]) -> None:
    world.drop(PARTNER, **with_a_held_back_row(small))
    settings = world.settings
    received = receive_submissions(PARTNER, settings, now=NOW)
    assert receive_submissions(PARTNER, settings, now=NOW) == received
    submission_id = received[0]["submission_id"]
    checked = check_submission(submission_id, settings, now=NOW)
    assert checked["held_back"] == 1
    assert check_submission(submission_id, settings, now=NOW) == checked
    made = pseudonymise_submission(submission_id, settings, now=NOW)
    assert pseudonymise_submission(submission_id, settings, now=LATER) == made
    assert check_submission(submission_id, settings, now=LATER) == checked
    loaded = load_submission(submission_id, settings, now=NOW)
    assert loaded["rows_loaded"] == checked["accepted"]
    after = result_of(world)
    for step in (check_submission, pseudonymise_submission, load_submission):
        again = step(submission_id, settings, now=LATER)
        assert (again["submission_id"], again["state"]) == (submission_id, "loaded")
    assert receive_submissions(PARTNER, settings, now=LATER) == []
    assert result_of(world) == after


def test_a_refused_submission_is_refused_by_every_step_that_is_run_again(world: World, small: dict[str, Any]) -> None:
    world.drop(PARTNER, **refused(small))
    (outcome,) = world.take_in(PARTNER)
    before = result_of(world)
    for step in (check_submission, pseudonymise_submission, load_submission):
        with pytest.raises(SubmissionRefused, match="refused before"):
            step(outcome.submission_id, world.settings, now=LATER)
    assert result_of(world) == before


def test_a_drop_that_two_runs_take_in_at_once_is_loaded_once_and_leaves_nothing_waiting(
    world: World, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.drop(PARTNER, **small)
    submission_id = receive_submissions(PARTNER, world.settings, now=NOW)[0]["submission_id"]
    check_submission(submission_id, world.settings, now=NOW)
    pseudonymise_submission(submission_id, world.settings, now=NOW)
    real = Submission.write
    other = threading.Thread(target=finish, args=(submission_id, world))

    def let_the_other_run_go_first(self: Submission, folder: Path) -> None:
        # The other run loads between the question for the state and what is done on the answer, unless it has to wait.
        other.start()
        other.join(3)
        real(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Submission, "write", let_the_other_run_go_first)
        receive_submissions(PARTNER, world.settings, now=LATER)
    other.join(60)
    world.take_in(PARTNER, now=LATER)
    assert world.query("select state from governance.submission") == [("loaded",)]
    assert world.counts()["facts.person"] == small["tables"]["person"].height
    assert world.work() == []
    assert world.waiting(PARTNER) == []


def finish(submission_id: str, world: World) -> None:
    """The last step of another run; where the submission was taken in anew it finds nothing and ends."""
    with suppress(FileNotFoundError):
        load_submission(submission_id, world.settings, now=NOW)


def test_a_step_out_of_turn_loads_nothing(world: World, small: dict[str, Any]) -> None:
    world.drop(PARTNER, **small)
    (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
    steps: list[Callable[..., Any]] = [pseudonymise_submission, load_submission]
    for step in steps:
        with pytest.raises((DefectFound, FileNotFoundError)):
            step(waiting["submission_id"], world.settings, now=NOW)
    assert world.in_force_anywhere() == 0
    with pytest.raises(NotYet, match="gone"):
        check_submission("sub-00000000000000000000", world.settings, now=NOW)


def test_a_drop_that_is_still_written_waits_and_leaves_nothing_behind(world: World, small: dict[str, Any]) -> None:
    folder = world.drop(PARTNER, **small)
    folder.with_name(f"{folder.name}.ready").unlink()
    just_now = datetime.fromtimestamp(folder.stat().st_ctime + 5, tz=UTC)
    assert receive_submissions(PARTNER, world.settings, now=just_now) == []
    assert world.waiting(PARTNER) == [folder.name]
    assert world.work() == []


def test_the_working_area_is_readable_by_this_account_alone(world: World, small: dict[str, Any]) -> None:
    world.drop(PARTNER, **with_a_held_back_row(small))
    (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
    steps: list[Callable[..., Any]] = [lambda *_, **__: None, check_submission, pseudonymise_submission]
    for step in steps:
        step(waiting["submission_id"], world.settings, now=NOW)
        work = world.home / "work"
        paths = [work, *work.rglob("*")]
        assert len(paths) > 5
        assert [path for path in paths if path.stat().st_mode & 0o077] == []


def test_a_submission_made_with_other_keys_or_none_is_not_loaded_in_silence(
    world: World, small: dict[str, Any], tmp_path: Path
) -> None:
    world.load(PARTNER, **small)
    people = small["tables"]["person"].with_columns(pl.lit("changed").alias("household_number"))
    world.drop(PARTNER, {**small["tables"], "person": people}, small["manifest"])
    make_private(tmp_path / "other")
    other = f"file:{tmp_path / 'other' / 'linkarms.keys'}"
    open_key_ring(other, now=NOW, create=True)
    with pytest.raises(KeyUnavailable, match="cannot be linked"):
        replace(world, settings=replace(world.settings, key_source=other)).take_in(PARTNER)
    (world.home / "secrets" / "linkarms.keys").unlink()
    with pytest.raises(KeyUnavailable):
        world.take_in(PARTNER)
    assert world.query("select count(*) from governance.submission where state = 'loaded'") == [(1,)]
