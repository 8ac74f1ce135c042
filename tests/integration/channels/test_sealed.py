"""Sealed drops: taken in like any other, and no clear identifier of theirs ever rests on the disk."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.intake_steps import check_submission, pseudonymise_submission, receive_submissions
from pipeline.resources import open_sealing
from pipeline.seal_extract import seal_extract
from protocol.errors import LinkarmsError
from pseudonymise.sealing import open_bytes, seal_bytes
from tests.integration.pipeline.world import LATER, NOW, World, edit
from tests.privacy.canaries import Search

PARTNER = "harbour_trust"
ROOT = Path(__file__).parents[3]
CANARIES = {"surname": "Vantablackwood", "forename": "Zephyrinda", "household": "Hush9Household"}


@pytest.fixture
def small(small: Mapping[str, Any]) -> dict[str, Any]:
    """The small extract, with values planted in the first client's row."""
    person = edit(
        small["tables"]["person"],
        0,
        surname=CANARIES["surname"],
        forename=CANARIES["forename"],
        household_number=CANARIES["household"],
    )
    return {**small, "tables": {**small["tables"], "person": person}}


@pytest.fixture
def world(world: World, tmp_path: Path) -> World:
    """An installation whose memory-backed storage is a folder that the test can look into."""
    environment = {**world.settings.environment, "LINKARMS_SCRATCH": str(tmp_path / "scratch")}
    return replace(
        world, settings=replace(world.settings, environment=environment, scratch_folder=tmp_path / "scratch")
    )


@pytest.fixture
def public_key(world: World, tmp_path: Path) -> Path:
    """The file with the hub's public key, as partners have it."""
    path = tmp_path / "hub.pub"
    path.write_text(f"# The partnership's key\n{open_sealing(world.settings, now=NOW).public.line}\n", "ascii")
    return path


def put(world: World, sealed: Path, name: str = "2026-Q2.sealed") -> Path:
    """Drop an envelope, flagged as ready."""
    target = world.settings.inbox(PARTNER) / name
    target.write_bytes(sealed.read_bytes())
    return world.flag(target)


def clear_values(world: World) -> list[str]:
    """Where planted values stand below the home: in a file, a cell of Parquet, or a file of an archive."""
    search = Search()
    for path in (path for path in world.home.rglob("*") if path.is_file()):
        place = str(path.relative_to(world.home))
        search.add(f"name {place}", place)
        search.add(place, path.read_bytes())
        if path.suffix == ".parquet":
            search.add(f"cells {place}", str(pl.read_parquet(path).rows()))
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    search.add(f"{place}/{name}", archive.read(name))
    assert len(search.places) > 5
    return search.find(CANARIES)


def scratch(world: World) -> list[str]:
    folder = world.settings.scratch_folder
    assert folder is not None
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_sealed_drop_is_the_same_submission_as_the_extract_itself(
    world: World, extract: Path, public_key: Path, small: Mapping[str, Any]
) -> None:
    first = seal_extract(extract, public_key)
    put(world, first.path)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.loaded is not None
    assert outcome.loaded["accepted"] == sum(len(frame) for frame in small["tables"].values())
    assert world.receipt(PARTNER, outcome.submission_id)["state"] == "accepted"
    assert world.settled(PARTNER) == {outcome.submission_id: "accepted"}
    settled = world.settings.inbox(PARTNER) / "settled" / outcome.submission_id
    assert (settled / "content.sealed").read_bytes() == first.path.read_bytes()
    # Sealed again it is another envelope, and unsealed it is none; the submission is the same.
    again = seal_extract(extract, public_key)
    assert again.path.read_bytes() != first.path.read_bytes() or again.path == first.path
    put(world, again.path, "anew.sealed")
    world.drop(PARTNER, **small)
    assert world.take_in(PARTNER, now=LATER) == []
    assert [path.name for path in world.settings.outbox(PARTNER).glob("sub-*")] == [outcome.submission_id]
    assert scratch(world) == []


def test_archive_can_be_sealed_as_well(world: World, extract: Path, public_key: Path, tmp_path: Path) -> None:
    packed = tmp_path / "office" / "2026-Q2.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in extract.iterdir():
            archive.write(path, path.name)
    sealed = seal_extract(packed, public_key, tmp_path / "out.sealed")
    assert sealed.files == len(list(extract.iterdir()))
    put(world, sealed.path)
    assert len(receive_submissions(PARTNER, world.settings, now=NOW)) == 1


def test_workbook_can_be_sealed_and_is_the_same_submission_as_the_workbook_itself(
    world: World, small: Mapping[str, Any], public_key: Path, tmp_path: Path
) -> None:
    workbook = tmp_path / "2026-Q2.xlsx"
    with xlsxwriter.Workbook(workbook) as book:
        for table, frame in small["tables"].items():
            sheet = book.add_worksheet(table)
            sheet.write_row(0, 0, frame.columns)
            for number, row in enumerate(frame.iter_rows(), start=1):
                sheet.write_row(number, 0, ["" if cell is None else str(cell) for cell in row])
        sheet = book.add_worksheet("manifest")
        entries = [(name, value) for name, value in small["manifest"].items() if name != "tables"]
        for number, entry in enumerate([("entry", "value"), *entries]):
            sheet.write_row(number, 0, [str(cell) for cell in entry])
    sealed = seal_extract(workbook, public_key)
    assert sealed.path.name == "2026-Q2.sealed"
    put(world, sealed.path)
    (first,) = receive_submissions(PARTNER, world.settings, now=NOW)
    target = world.settings.inbox(PARTNER) / "anew.xlsx"
    target.write_bytes(workbook.read_bytes())
    world.flag(target)
    (second,) = receive_submissions(PARTNER, world.settings, now=NOW)
    assert first == second


# --- nothing in clear -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killer() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", "from tests.integration.pipeline.killing import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


def run_and_kill(killer: "subprocess.Popen[str]", world: World, die: tuple[str, str, int]) -> int:
    """The number of the signal that ended an intake; 0 where it came to its end."""
    assert killer.stdin is not None
    assert killer.stdout is not None
    request = {
        "environment": dict(world.settings.environment),
        "partner": PARTNER,
        "now": NOW.isoformat(),
        "die": die,
    }
    killer.stdin.write(json.dumps(request) + "\n")
    killer.stdin.flush()
    return int(killer.stdout.readline())


MOMENTS = {
    "while it is opened": ("os.rename", "/content.zip", 1),
    "while it is taken in": ("os.rename", "/taken", 1),
    "while it is opened for the check": ("open", "scratch/sub-", 1),
    "while accepted rows are written": ("open", "accepted.part/enrolment", 1),
    "while sealed rows are removed": ("shutil.rmtree", ".removing-accepted", 1),
    "between the load's commit and the receipt": ("os.mkdir", f"/outbox/{PARTNER}/2026-Q2-sub-", 1),
    "before the drop is settled": ("os.rename", "/settled/", 2),
}


def test_wherever_the_intake_of_a_sealed_drop_is_killed_nothing_in_clear_is_on_the_disk(
    world: World, extract: Path, public_key: Path, killer: "subprocess.Popen[str]"
) -> None:
    put(world, seal_extract(extract, public_key).path)
    left_in_memory = 0
    for moment, die in MOMENTS.items():
        # Each run has to come further than the last, over what that one left behind.
        assert run_and_kill(killer, world, die) == signal.SIGKILL, moment
        assert clear_values(world) == [], moment
        left_in_memory += len(scratch(world))
    assert left_in_memory > 0  # a kill leaves what only the next run can remove
    world.take_in(PARTNER)
    assert world.query("select state from governance.submission") == [("loaded",)]
    assert clear_values(world) == []
    assert scratch(world) == []
    assert world.work() == []
    assert world.waiting(PARTNER) == []


def test_after_each_step_nothing_is_left_in_memory_either(world: World, extract: Path, public_key: Path) -> None:
    put(world, seal_extract(extract, public_key).path)
    (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
    steps: list[Callable[..., Any]] = [lambda *_, **__: None, check_submission, pseudonymise_submission]
    for step in steps:
        step(waiting["submission_id"], world.settings, now=NOW)
        assert clear_values(world) == []
        assert scratch(world) == []


def test_the_search_finds_what_an_unsealed_drop_leaves_while_it_waits(world: World, small: Mapping[str, Any]) -> None:
    world.drop(PARTNER, **small)
    receive_submissions(PARTNER, world.settings, now=NOW)
    assert len(clear_values(world)) >= len(CANARIES)


def test_rows_that_wait_for_pseudonyms_are_sealed_whatever_the_drop_was(world: World, small: Mapping[str, Any]) -> None:
    world.drop(PARTNER, **small)
    (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
    check_submission(waiting["submission_id"], world.settings, now=NOW)
    accepted = world.settings.work(waiting["submission_id"]) / "accepted"
    files = sorted(accepted.iterdir())
    assert [path.name for path in files] == sorted(f"{table}.parquet.sealed" for table in small["tables"])
    for path in files:
        assert path.read_bytes().startswith(b"LINKARMS-SEALED-1\n")
        assert path.stat().st_mode & 0o077 == 0
    assert [found for found in clear_values(world) if "accepted" in found] == []


# --- refusals ---------------------------------------------------------------------------------------------------------


def codes(world: World) -> list[str]:
    return [finding["code"] for finding in world.latest_receipt(PARTNER)["findings"]]


SPOILT: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda envelope: envelope[:-20], "drop.envelope_damaged"),
    (lambda envelope: envelope[:40], "drop.envelope_cut_short"),
    (lambda envelope: envelope[:200] + bytes([envelope[200] ^ 1]) + envelope[201:], "drop.envelope_damaged"),
    (lambda envelope: envelope + b"x", "drop.envelope_damaged"),
    (lambda envelope: envelope.replace(b"SEALED-1", b"SEALED-7"), "drop.envelope_version"),
    (lambda envelope: b"PK\3\4" + envelope, "drop.envelope_not_one"),
    (lambda envelope: envelope[:18] + bytes(8) + envelope[26:], "drop.envelope_other_key"),
]


def test_envelopes_that_were_tampered_with_are_refused_with_a_receipt(
    world: World, extract: Path, public_key: Path
) -> None:
    sealed = seal_extract(extract, public_key).path
    whole = sealed.read_bytes()
    for number, (spoil, _) in enumerate(SPOILT):
        sealed.write_bytes(spoil(whole))
        put(world, sealed, f"{number}.sealed")
    assert world.take_in(PARTNER) == []
    receipts = [json.loads(path.read_bytes()) for path in world.settings.outbox(PARTNER).glob("*/receipt.json")]
    told = [finding["code"] for receipt in receipts for finding in receipt["findings"]]
    assert sorted(told) == sorted(code for _, code in SPOILT)
    assert world.waiting(PARTNER) == []
    assert scratch(world) == []
    assert world.work() == []


def test_what_is_wrong_within_an_envelope_is_told_like_in_any_drop(world: World, public_key: Path) -> None:
    key = open_sealing(world.settings, now=NOW).public
    target = world.settings.inbox(PARTNER) / "2026-Q2.sealed"
    target.write_bytes(seal_bytes(b"no archive", key))
    world.flag(target)
    assert world.take_in(PARTNER) == []
    assert codes(world) == ["drop.archive"]


def test_unsealed_drop_of_a_partner_that_has_to_seal_is_refused(
    world: World, with_channel: Callable[..., World], small: Mapping[str, Any], extract: Path, public_key: Path
) -> None:
    world = with_channel({"sealed": "required"})
    world.drop(PARTNER, **small)
    assert world.take_in(PARTNER) == []
    (finding,) = world.latest_receipt(PARTNER)["findings"]
    assert finding["code"] == "drop.unsealed"
    assert "linkarms seal" in finding["mend"]
    put(world, seal_extract(extract, public_key).path)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.refusal is None


def test_envelope_to_a_former_key_is_opened_until_that_key_is_retired(
    world: World, extract: Path, public_key: Path
) -> None:
    first = open_sealing(world.settings, now=NOW).public.id
    command(world, "keys", "sealing-create", "--rotate")
    put(world, seal_extract(extract, public_key).path)
    (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
    ended = command(world, "keys", "sealing-retire", first)
    assert ended.exit_code == 4
    assert waiting["submission_id"] in ended.output
    (outcome,) = world.take_in(PARTNER)
    assert outcome.loaded is not None
    assert command(world, "keys", "sealing-retire", first).exit_code == 0
    assert first not in command(world, "keys", "sealing-public").output
    put(world, seal_extract(extract, public_key).path, "anew.sealed")
    assert world.take_in(PARTNER, now=LATER) == []
    refusals = [path.read_bytes() for path in world.settings.outbox(PARTNER).glob("drop-*/receipt.json")]
    assert [b"drop.envelope_other_key" in refusal for refusal in refusals] == [True]


def command(world: World, *arguments: str) -> Result:
    """What a command of the coordinator's does."""
    return CliRunner().invoke(main, arguments, env=dict(world.settings.environment))


def test_keys_that_are_kept_elsewhere_are_not_said_to_be_rotated(world: World) -> None:
    text = (world.home / "secrets" / "linkarms.sealing").read_text("ascii")
    environment = {**world.settings.environment, "LINKARMS_SEALING_KEYS": "env:HELD", "HELD": text}
    assert CliRunner().invoke(main, ["keys", "sealing-create"], env=environment).exit_code == 0
    ended = CliRunner().invoke(main, ["keys", "sealing-create", "--rotate"], env=environment)
    assert ended.exit_code != 0
    assert "change the variable or secret where it is kept" in ended.output


def test_sealed_drop_waits_with_a_clear_word_where_there_is_no_memory_for_it(
    world: World, extract: Path, public_key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(world, seal_extract(extract, public_key).path)
    nowhere = replace(world.settings, scratch_folder=None)
    monkeypatch.setattr("pipeline.scratch._SHARED_MEMORY", tmp_path)
    with pytest.raises(LinkarmsError, match="Set LINKARMS_SCRATCH to a folder on memory-backed storage"):
        receive_submissions(PARTNER, nowhere, now=NOW)
    monkeypatch.setattr("pipeline.sealed_drops._ROOM", 1 << 50)
    with pytest.raises(LinkarmsError, match="MB of memory-backed storage"):
        receive_submissions(PARTNER, world.settings, now=NOW)
    assert world.settings.inbox(PARTNER).joinpath("2026-Q2.sealed").exists()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="this system has no shared memory")
def test_shared_memory_is_used_where_nothing_is_set(world: World, extract: Path, public_key: Path) -> None:
    put(world, seal_extract(extract, public_key).path)
    settings = replace(world.settings, scratch_folder=None)
    assert len(receive_submissions(PARTNER, settings, now=NOW)) == 1
    places = [path for path in Path("/dev/shm").glob(f"linkarms-{os.geteuid()}-*") if path.is_dir()]
    assert places
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in places)
    assert [path for place in places for path in place.glob("*sub-*")] == []
    for place in places:
        if not list(place.iterdir()):
            place.rmdir()


# --- the officer's command --------------------------------------------------------------------------------------------


def test_command_seals_a_folder_and_says_what_to_do_with_it(world: World, extract: Path, public_key: Path) -> None:
    ended = CliRunner().invoke(main, ["seal", str(extract), "--to", str(public_key)])
    assert ended.exit_code == 0, ended.output
    assert "Drop this file." in ended.output
    put(world, extract.with_name("2026-Q2.sealed"))
    (outcome,) = world.take_in(PARTNER)
    assert outcome.refusal is None


@pytest.mark.parametrize(("here", "named"), [("", "."), (".hidden", "..")])
def test_the_folder_that_one_is_in_can_be_sealed(
    here: str, named: str, extract: Path, public_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (extract / here).mkdir(exist_ok=True)
    monkeypatch.chdir(extract / here)
    public_key.write_bytes(b"\xef\xbb\xbf" + public_key.read_bytes())  # as Windows' editor saves it
    ended = CliRunner().invoke(main, ["seal", named, "--to", str(public_key)])
    assert ended.exit_code == 0, ended.output
    assert extract.with_name("2026-Q2.sealed").exists()


def test_same_extract_is_packed_to_the_same_content(
    world: World, extract: Path, public_key: Path, tmp_path: Path
) -> None:
    keys = open_sealing(world.settings, now=NOW)
    contents = set()
    for number in range(2):
        out = tmp_path / f"{number}.sealed"
        seal_extract(extract, public_key, out)
        contents.add(open_bytes(out.read_bytes(), keys))
        for path in extract.iterdir():
            os.utime(path, (0, 0))
    assert len(contents) == 1


def test_extract_with_a_link_or_a_folder_in_it_is_not_sealed(extract: Path, public_key: Path, tmp_path: Path) -> None:
    (extract / "more.csv").symlink_to(public_key)
    with pytest.raises(LinkarmsError, match="folder or a link"):
        seal_extract(extract, public_key)
    (extract / "more.csv").unlink()
    link = tmp_path / "office" / "link"
    link.symlink_to(extract)
    with pytest.raises(LinkarmsError, match="is a link"):
        seal_extract(link, public_key)
    (extract / "inner").mkdir()
    with pytest.raises(LinkarmsError, match="folder or a link"):
        seal_extract(extract, public_key)
    assert sorted(path.name for path in extract.parent.iterdir()) == ["2026-Q2", "link"]


def test_sealing_loads_nothing_but_what_a_data_officer_has(extract: Path, public_key: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pipeline.cli import main;"
        "main(sys.argv[1:], standalone_mode=False);"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'fsspec', 's3fs', 'paramiko', 'sqlalchemy', "
        "'pyarrow', 'pandas', 'great_expectations', 'airflow', 'anyascii', 'polars_hash', 'phonenumbers'}))"
    )
    arguments = [sys.executable, "-c", program, "seal", str(extract), "--to", str(public_key)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.splitlines()[-1] == "[]"
