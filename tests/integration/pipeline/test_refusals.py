"""Submissions that may not go on: each with a receipt, nothing in the facts, and the way open for a mended one."""

import csv
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.intake_steps import check_submission, receive_submissions
from protocol.digest import sign
from protocol.errors import SubmissionRefused
from synthetic import FileFault, spoil_file
from tests.integration.pipeline.world import LATER, NOW, World, edit, set_up, with_agreement

PARTNER = "harbour_trust"


def rewrite_manifest(**entries: str) -> Callable[[Path], Path]:
    def change(folder: Path) -> Path:
        path = folder / "manifest.yaml"
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.split(":")[0] not in entries]
        path.write_text("\n".join([*kept, *(f"{name}: {value}" for name, value in entries.items())]), encoding="utf-8")
        return folder

    return change


def spoil(fault: FileFault) -> Callable[[Path], Path]:
    def change(folder: Path) -> Path:
        spoil_file(folder, fault)
        return folder

    return change


def remove_manifest(folder: Path) -> Path:
    (folder / "manifest.yaml").unlink()
    return folder


def link_out(folder: Path) -> Path:
    (folder / "enrolment.csv").unlink()
    (folder / "enrolment.csv").symlink_to("/etc/hostname")
    return folder


def archive(change: Callable[[zipfile.ZipFile, Path], None]) -> Callable[[Path], Path]:
    def pack(folder: Path) -> Path:
        target = folder.with_suffix(".zip")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in folder.iterdir():
                packed.write(path, path.name)
            change(packed, folder)
        shutil.rmtree(folder)
        return target

    return pack


def bomb(packed: zipfile.ZipFile, folder: Path) -> None:
    packed.writestr("cost.csv", b"0" * (32 << 20))


def climb(packed: zipfile.ZipFile, folder: Path) -> None:
    packed.writestr("../../../climbed.csv", b"x")


def link_in_archive(packed: zipfile.ZipFile, folder: Path) -> None:
    info = zipfile.ZipInfo("cost.csv")
    info.external_attr = 0o120777 << 16
    packed.writestr(info, "/etc/hostname")


def nest(packed: zipfile.ZipFile, folder: Path) -> None:
    packed.writestr("more.zip", b"PK")


def forge_size(folder: Path) -> Path:
    """An archive that announces a smaller file than it holds."""
    target = archive(lambda packed, _: packed.writestr("cost.csv", b"0" * 4000))(folder)
    content = bytearray(target.read_bytes())
    place = content.rindex(b"cost.csv") - 46  # its record in the directory at the end
    content[place + 24 : place + 28] = struct.pack("<I", 10)
    target.write_bytes(bytes(content))
    return target


def break_archive(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    target.write_bytes(b"PK\x03\x04 no archive at all")
    shutil.rmtree(folder)
    return target


def leave_quotes_open(folder: Path) -> Path:
    """Many rows whose quoting is broken, so that the file as a whole cannot be trusted."""
    path = folder / "person.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([lines[0], *(f'"{line}' for line in lines[1:])]), encoding="utf-8")
    return folder


def lone_file(folder: Path) -> Path:
    target = folder.with_name("person.csv")
    (folder / "person.csv").rename(target)
    shutil.rmtree(folder)
    return target


@dataclass(frozen=True)
class Fault:
    """A way to spoil a drop, and the finding that it gives."""

    change: Callable[[Path], Path]
    code: str
    clause: str | None = None
    now: datetime = NOW


FAULTS: Mapping[str, Fault] = {
    "window closed": Fault(
        lambda folder: folder, "gate.period", "4.1 Periods and window", datetime(2027, 8, 1, tzinfo=UTC)
    ),
    "period not over": Fault(rewrite_manifest(period="2026-Q4"), "gate.period", "4.1 Periods and window"),
    "unknown period": Fault(rewrite_manifest(period="2031-Q1"), "gate.period", "4.1 Periods and window"),
    "wrong version": Fault(rewrite_manifest(agreement_version='"7.3"'), "gate.version", "4.3 Versions"),
    "agreement ended": Fault(
        rewrite_manifest(period="2028-Q4"), "gate.term", "3.1 Term and review", datetime(2029, 2, 1, tzinfo=UTC)
    ),
    "another partner's manifest": Fault(rewrite_manifest(partner="castle_borough"), "manifest.partner"),
    "no manifest": Fault(remove_manifest, "manifest.missing"),
    "a manifest that is no YAML": Fault(rewrite_manifest(kind="[full"), "manifest.form"),
    "missing file": Fault(spoil(FileFault.MISSING_FILE), "file.missing_declared"),
    "missing column": Fault(spoil(FileFault.MISSING_COLUMN), "file.columns_missing"),
    "extra column": Fault(spoil(FileFault.EXTRA_COLUMN), "file.column_undeclared"),
    "unknown file": Fault(spoil(FileFault.UNKNOWN_FILE), "drop.unknown_file"),
    "Windows-1252": Fault(spoil(FileFault.WINDOWS_1252), "file.encoding"),
    "semicolon": Fault(spoil(FileFault.SEMICOLON), "file.separator"),
    "broken quotes": Fault(leave_quotes_open, "file.quoting"),
    "empty file": Fault(spoil(FileFault.EMPTY_FILE), "file.empty"),
    "symbolic link": Fault(link_out, "drop.link"),
    "lone file": Fault(lone_file, "drop.kind"),
    "zip bomb": Fault(archive(bomb), "drop.ratio"),
    "path traversal": Fault(archive(climb), "drop.path"),
    "link in an archive": Fault(archive(link_in_archive), "drop.link"),
    "archive in an archive": Fault(archive(nest), "drop.ending"),
    "archive that lies about a size": Fault(forge_size, "drop."),
    "broken archive": Fault(break_archive, "drop.archive"),
}


def drop_faulty(world: World, small: Mapping[str, Any], fault: Fault) -> Path:
    folder = world.drop(PARTNER, **small)
    folder.with_name(f"{folder.name}.ready").unlink()
    changed = fault.change(folder)
    os.utime(changed.parent)
    return world.flag(changed)


def take_in_refused(world: World, fault: Fault) -> SubmissionRefused | None:
    """The refusal of what waits; None where it could not be read so far as to have a step of its own."""
    outcomes = world.take_in(PARTNER, now=fault.now)
    assert all(outcome.loaded is None for outcome in outcomes)
    assert len(outcomes) <= 1
    return outcomes[0].refusal if outcomes else None


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_submission_is_refused_with_a_receipt_and_leaves_nothing(
    name: str, world: World, small: dict[str, Any]
) -> None:
    fault = FAULTS[name]
    drop_faulty(world, small, fault)
    refusal = take_in_refused(world, fault)
    receipt = world.latest_receipt(PARTNER)
    assert receipt["state"] == "refused"
    finding = next((finding for finding in receipt["findings"] if finding["code"].startswith(fault.code)), None)
    assert finding is not None, [finding["code"] for finding in receipt["findings"]]
    assert finding["mend"]
    assert finding["clause"] == fault.clause
    if fault.clause and refusal is not None:
        assert fault.clause in str(refusal)
    assert all(line["accepted"] == 0 for line in receipt["tables"])
    assert world.in_force_anywhere() == 0
    assert world.query("select count(*) from governance.submission where state <> 'refused'") == [(0,)]
    assert world.settled(PARTNER) == {receipt["submission_id"]: "refused"}
    assert world.waiting(PARTNER) == []
    assert world.work() == []
    assert not list(world.home.parent.rglob("climbed.csv"))


def test_after_every_refusal_the_mended_submission_is_accepted(world: World, small: dict[str, Any]) -> None:
    for fault in FAULTS.values():
        drop_faulty(world, small, fault)
        take_in_refused(world, fault)
    receipts = list(world.settings.outbox(PARTNER).glob("*/receipt.json"))
    # Two of the faults are none of the content: it is one submission, refused for the one and taken in for the other.
    world.load(PARTNER, **small)
    assert world.query("select count(*) from facts.person") == [(small["tables"]["person"].height,)]
    assert set(world.settled(PARTNER).values()) == {"refused", "accepted"}
    assert len(list(world.settings.outbox(PARTNER).glob("*/receipt.json"))) == len(receipts)
    states = world.query("select distinct state from governance.submission order by 1")
    assert states == [("loaded",), ("refused",)]


def test_an_unsigned_partner_is_refused_by_the_clause_until_it_has_signed(
    world: World, small: dict[str, Any], tmp_path: Path
) -> None:
    partner = "lantern_youth"
    sent = {"tables": small["tables"], "manifest": {**small["manifest"], "partner": partner}}
    world.drop(partner, **sent)
    (outcome,) = world.take_in(partner)
    assert outcome.refusal is not None
    assert "4.2 Signatures" in str(outcome.refusal)
    receipt = world.receipt(partner, outcome.submission_id)
    assert receipt["state"] == "refused"
    assert [finding["clause"] for finding in receipt["findings"]] == ["4.2 Signatures"]
    page = next(world.settings.outbox(partner).glob("*/receipt.html")).read_text(encoding="utf-8")
    assert "4.2 Signatures" in page
    assert world.in_force_anywhere() == 0
    assert world.work() == []

    folder = tmp_path / "agreement"
    shutil.copytree(world.settings.agreement_folder, folder)
    sign(folder, partner, "Centre Manager", date(2026, 11, 1))
    signed = with_agreement(world, folder)
    set_up(signed)
    assert signed.load(partner, **sent, now=LATER) == outcome.submission_id
    assert signed.receipt(partner, outcome.submission_id)["state"] == "accepted"
    assert signed.settled(partner) == {outcome.submission_id: "accepted"}
    assert signed.query("select state, receipt ->> 'state' from governance.submission") == [("loaded", "accepted")]


def test_a_changed_agreement_ends_every_signature(world: World, small: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "agreement"
    shutil.copytree(world.settings.agreement_folder, folder)
    with (folder / "agreement.yaml").open("a", encoding="utf-8") as file:
        file.write("# Another word.\n")
    changed = with_agreement(world, folder)
    changed.drop(PARTNER, **small)
    (outcome,) = changed.take_in(PARTNER)
    assert "its text has been changed" in str(outcome.refusal)


def test_too_many_held_back_rows_refuse_the_submission_and_the_list_goes_when_it_is_accepted(
    world: World, small: dict[str, Any], tmp_path: Path
) -> None:
    tables = dict(small["tables"])
    for row in range(tables["enrolment"].height):
        tables["enrolment"] = edit(tables["enrolment"], row, programme="apprenticeship_tasters")
    sent = {"tables": tables, "manifest": small["manifest"]}
    world.drop(PARTNER, **sent)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.refusal is not None
    (listed,) = world.settings.outbox(PARTNER).glob("*/held-back-rows.csv")
    rows = list(csv.DictReader(listed.read_text(encoding="utf-8-sig").splitlines()))
    assert len([row for row in rows if row["table"] == "enrolment"]) == tables["enrolment"].height
    assert world.in_force_anywhere() == 0

    folder = tmp_path / "agreement"
    shutil.copytree(world.settings.agreement_folder, folder)
    codes = folder / "codelists" / "programme.yaml"
    text = codes.read_text(encoding="utf-8")
    codes.write_text(text.rstrip() + "\n  - {code: apprenticeship_tasters, label: Tasters}\n", encoding="utf-8")
    sign(folder, PARTNER, "Head of Services", date(2026, 11, 1))
    mended = with_agreement(world, folder)
    set_up(mended)
    assert mended.load(PARTNER, **sent, now=LATER) == outcome.submission_id
    assert mended.receipt(PARTNER, outcome.submission_id)["state"] == "accepted"
    assert not listed.exists()


def test_a_row_whose_quotes_are_broken_is_counted_and_listed_as_held_back(world: World, small: dict[str, Any]) -> None:
    folder = world.drop(PARTNER, **small)
    spoil_file(folder, FileFault.BROKEN_QUOTES)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.loaded is not None
    sent = small["tables"]["person"].height
    receipt = world.receipt(PARTNER, outcome.submission_id)
    assert receipt["state"] == "accepted_with_rows_held_back"
    line = next(line for line in receipt["tables"] if line["table"] == "person")
    assert (line["received"], line["accepted"], line["held_back"]) == (sent, sent - 1, 1)
    (finding,) = [finding for finding in receipt["findings"] if finding["code"] == "file.quoting"]
    (listed,) = world.settings.outbox(PARTNER).glob("*/held-back-rows.csv")
    rows = list(csv.DictReader(listed.read_text(encoding="utf-8-sig").splitlines()))
    assert [int(row["row"]) for row in rows if row["rule"] == "file.quoting"] == finding["first_rows"]
    counted = "select rows_received, rows_accepted, rows_held_back from governance.submission_table"
    assert world.query(f"{counted} where table_name = 'person'") == [(sent, sent - 1, 1)]


def test_a_refusal_keeps_what_was_loaded_before(world: World, small: dict[str, Any]) -> None:
    first = world.load(PARTNER, **small)
    drop_faulty(world, small, FAULTS["missing column"])
    assert take_in_refused(world, FAULTS["missing column"]) is not None
    assert world.query("select submission_id from governance.submission where state = 'loaded'") == [(first,)]
    assert len(world.rows_in_force("person")) == small["tables"]["person"].height


def test_a_drop_that_cannot_be_read_does_not_hold_up_its_neighbours(world: World, small: dict[str, Any]) -> None:
    folder = world.drop(PARTNER, **small)
    broken = folder.with_name("2026-Q3.zip")
    broken.write_bytes(b"no archive")
    world.flag(broken)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.loaded is not None
    assert sorted(world.settled(PARTNER).values()) == ["accepted", "refused"]


def test_settled_drops_are_deleted_when_the_agreement_says_so(world: World, small: dict[str, Any]) -> None:
    world.load(PARTNER, **small)
    settled = world.settings.inbox(PARTNER) / "settled"
    assert list(settled.rglob("person.csv"))
    days = world.agreement.retention.inbox_days
    receive_submissions(PARTNER, world.settings, now=NOW.replace(day=NOW.day + days - 1))
    assert list(settled.rglob("person.csv"))
    receive_submissions(PARTNER, world.settings, now=NOW.replace(day=NOW.day + days))
    assert list(settled.iterdir()) == []


def test_the_exception_of_the_check_says_what_is_wrong_and_where_the_receipt_is(
    world: World, small: dict[str, Any]
) -> None:
    drop_faulty(world, small, FAULTS["missing column"])
    (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
    with pytest.raises(SubmissionRefused, match=r"person\.csv lacks the column recorded_on.*outbox under sub-"):
        check_submission(waiting["submission_id"], world.settings, now=NOW)


def test_a_drop_that_cannot_even_be_read_stops_receiving_with_a_sentence_for_the_coordinator(world: World) -> None:
    (world.settings.inbox(PARTNER) / "2026-Q2").mkdir(parents=True)
    (world.settings.inbox(PARTNER) / "2026-Q2" / "ready").touch()
    with pytest.raises(SubmissionRefused, match="receipt in its outbox"):
        receive_submissions(PARTNER, world.settings, now=NOW)
    assert receive_submissions(PARTNER, world.settings, now=NOW) == []
