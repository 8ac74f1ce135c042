"""`linkarms check` on the officer's own machine: everything at once, in words, and nothing of it in what is written."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from expectations.receipt import receipt_html
from pipeline.officer import check_extract
from protocol.errors import LinkarmsError
from protocol.generated.versions import agreed_versions
from protocol.generated.workbook import make_workbook
from protocol.model import Agreement

Step = Callable[..., Any]
CANARY = "Zebulon Quaxwell"
NOW = datetime(2026, 10, 6, tzinfo=UTC)

BASE = """
click duckdb _duckdb jinja2 markupsafe polars _polars_runtime_32 _polars_runtime pydantic pydantic_core annotated_types
typing_extensions typing_inspection python_calamine yaml _yaml xlsxwriter expectations intake pipeline protocol
"""
"""What an officer has: the base dependencies, what they need themselves, and our own packages."""

BLOCK = f"""
import sys
allowed = set({BASE!r}.split()) | set(sys.stdlib_module_names)
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError("blocked: " + name, name=name)
sys.meta_path.insert(0, Block())
import pipeline.cli
sys.argv[0] = "linkarms"
pipeline.cli.main()
"""


def test_sound_extract_ends_with_0_and_says_so(check: Step, write: Step, sound_files: dict[str, bytes]) -> None:
    result = check(write(sound_files))
    assert result.exit_code == 0, result.output
    assert "Nothing is wrong with this extract. It can be sent." in result.output
    assert "Only the hub can tell:" in result.output


def test_folder_archive_and_workbook_of_one_extract_read_alike(
    receipt_of: Step, write: Step, sound_files: dict[str, bytes], agreement: Agreement, tmp_path: Path
) -> None:
    folder = write(sound_files)
    as_folder = receipt_of(folder)
    as_archive = receipt_of(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))
    assert as_archive["tables"] == as_folder["tables"]
    assert as_archive["submission_id"] == as_folder["submission_id"]
    (version, *_) = agreed_versions(agreement)
    rows = {table.name: read_rows(sound_files[f"{table.name}.csv"]) for table in agreement.contract.tables}
    manifest = {"period": "2026-Q3", "extracted_on": "2026-10-02"}
    book = make_workbook(agreement, agreement.partner("bridge_housing"), version, rows=rows, manifest=manifest)
    (tmp_path / "filled.xlsx").write_bytes(book)
    as_workbook = receipt_of(tmp_path / "filled.xlsx")
    assert [finding["code"] for finding in as_workbook["findings"]] == [
        finding["code"] for finding in as_folder["findings"]
    ]
    assert as_workbook["tables"] == as_folder["tables"]


def read_rows(content: bytes) -> list[dict[str, str | None]]:
    import csv
    import io

    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    return [{name: cell or None for name, cell in row.items()} for row in rows]


def test_base_dependencies_are_enough(write: Step, sound_files: dict[str, bytes], tmp_path: Path) -> None:
    """No Airflow, Great Expectations, database driver, key library or pandas can be imported in this process."""
    folder = write(sound_files)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINKARMS")}
    run = subprocess.run(
        [sys.executable, "-c", BLOCK, "check", str(folder), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "out" / "receipt.html").read_bytes().startswith(b"<!doctype html>")


def spoil(files: dict[str, bytes]) -> dict[str, bytes]:
    """Faults of many kinds in one extract."""
    spoilt = dict(files)
    person = files["person.csv"].decode()
    lines = person.replace("date_of_birth", "Date of birth", 1).splitlines(keepends=True)
    cells = lines[3].split(",")
    cells[3] = CANARY
    lines[3] = ",".join(cells)
    lines[5] = lines[5].replace(",no,", ",noo,")
    spoilt["person.csv"] = "".join(lines).replace(CANARY, f"{CANARY}é").encode("cp1252", "replace")
    spoilt["outcome.csv"] = files["outcome.csv"].replace(b",", b";")
    spoilt["cost.csv"] = b"Costs\n\n" + files["cost.csv"]
    spoilt["manifest.yaml"] = files["manifest.yaml"].replace(b"period:", b"perod:")
    spoilt[f"{CANARY}.csv"] = b"a\n1\n"
    return spoilt


def test_faults_of_manifest_files_headings_and_rows_are_told_in_one_go(
    receipt_of: Step, write: Step, sound_files: dict[str, bytes]
) -> None:
    receipt = receipt_of(write(spoil(sound_files)))
    codes = {finding["code"] for finding in receipt["findings"]}
    assert codes >= {
        "drop.unknown_file",
        "file.column_misspelt",
        "file.encoding_windows",
        "file.separator",
        "file.title_rows",
        "manifest.entry_missing",
        "manifest.entry_unknown",
        "person.do_not_link.code",
    }
    assert receipt["state"] == "refused"
    tables = {line["table"]: line["received"] for line in receipt["tables"]}
    assert tables["outcome"] == sound_files["outcome.csv"].count(b"\n") - 1


def test_cells_and_headings_are_on_the_screen_and_in_nothing_that_is_written(
    check: Step, write: Step, sound_files: dict[str, bytes], tmp_path: Path
) -> None:
    result = check(write(spoil(sound_files)), "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "noo -> no?" in result.output
    assert "Date of birth -> date_of_birth" in result.output
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"receipt.html", "receipt.json"}
    for word in ("noo", "perod", CANARY, "Date of birth"):
        assert word.encode() not in written
    assert CANARY not in result.output


def test_partner_comes_from_the_option_or_the_manifest_and_is_asked_for_otherwise(
    check: Step, write: Step, sound_files: dict[str, bytes]
) -> None:
    folder = write(sound_files)
    assert "Bridge Housing" in check(folder).output
    assert "The manifest names another partner" in check(folder, "--partner", "harbour_trust").output
    (folder / "manifest.yaml").unlink()
    asked = check(folder)
    assert asked.exit_code == 1
    assert "Say which partner you are, with --partner." in asked.output
    told = check(folder, "--partner", "bridge_housing", "--period", "2026-Q3")
    assert told.exit_code == 3
    assert "There is no manifest." in told.output


def test_extract_without_a_period_is_checked_all_the_same(
    check: Step, write: Step, sound_files: dict[str, bytes]
) -> None:
    files = dict(sound_files)
    files["manifest.yaml"] = files["manifest.yaml"].replace(b"2026-Q3", b"")
    folder = write(files)
    result = check(folder.rename(folder.with_name("my extract")))
    assert result.exit_code == 3
    assert "no period is known" in result.output
    assert "within_period" not in result.output


def test_gate_is_shown_with_its_clause_and_rows_are_checked_behind_it(
    write: Step, sound_files: dict[str, bytes], agreement: Agreement
) -> None:
    folder = write(sound_files)
    done = check_extract(folder, agreement, now=datetime(2031, 1, 1, tzinfo=UTC))
    gate = [finding for finding in done.receipt.findings if finding.code.startswith("gate.")]
    assert {finding.code for finding in gate} >= {"gate.term", "gate.dpia", "gate.period"}
    assert all(finding.clause for finding in gate)
    assert sum(line.received for line in done.receipt.tables) > 100


def test_receipt_is_the_one_that_the_hub_would_write(
    write: Step, sound_files: dict[str, bytes], agreement: Agreement
) -> None:
    """By its counts, findings and number, which do not depend on where it is checked."""
    done = check_extract(write(sound_files), agreement, now=NOW)
    assert done.receipt.submission_id.startswith("sub-")
    assert done.receipt.period == "2026-Q3"
    assert all(line.received == line.accepted + line.held_back + line.repeated for line in done.receipt.tables)


def test_receipt_of_a_check_cannot_be_taken_for_one_of_the_hub(
    write: Step, sound_files: dict[str, bytes], agreement: Agreement, tmp_path: Path
) -> None:
    """Else an officer files it as proof of what was never sent, or corrects a submission that the hub does not know."""
    folder = write(sound_files)
    heading, first, *rest = sound_files["cost.csv"].splitlines(keepends=True)
    states = []
    for row in (first, first.replace(b",", b",x", 1), b""):  # sound, with a row held back, with a row missing
        (folder / "cost.csv").write_bytes(b"".join([heading, row, *rest]))
        receipt = check_extract(folder, agreement, now=NOW).receipt
        states.append(receipt.state)
        page = receipt_html(receipt).decode()
        assert '<h1 id="verdict">Would be ' in page
        assert "Nothing has been sent yet." in page
        for word in ("Receipt for", "supersedes", "your inbox", "was taken in", "pseudonyms", "Received</dt>"):
            assert word not in page
    assert len(set(states)) == 3


def test_what_a_check_leaves_in_the_temporary_folder_is_nothing(
    write: Step, sound_files: dict[str, bytes], agreement: Agreement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    check_extract(write(spoil(sound_files)), agreement, now=NOW)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_list_of_held_back_rows_of_an_earlier_check_is_removed(
    check: Step, write: Step, sound_files: dict[str, bytes], tmp_path: Path
) -> None:
    files = dict(sound_files)
    lines = files["cost.csv"].splitlines(keepends=True)
    files["cost.csv"] = b"".join([lines[0], lines[1].replace(b",", b",x", 1), *lines[2:]])
    folder = write(files)
    assert check(folder, "--out", tmp_path / "out").exit_code == 3
    assert b"cost" in (tmp_path / "out" / "held-back-rows.csv").read_bytes()
    (folder / "cost.csv").write_bytes(sound_files["cost.csv"])
    assert check(folder, "--out", tmp_path / "out").exit_code == 0
    assert not (tmp_path / "out" / "held-back-rows.csv").exists()


def test_unknown_period_and_partner_are_told_without_a_traceback(
    check: Step, write: Step, sound_files: dict[str, bytes], agreement: Agreement
) -> None:
    folder = write(sound_files)
    assert "It has 2026-Q1 to" in check(folder, "--period", "1066-Q4").output
    with pytest.raises(LinkarmsError, match="Say which partner"):
        check_extract(folder, agreement, now=NOW, partner_id="nobody")


def test_one_cause_in_the_table_that_all_refer_to_is_told_once(
    check: Step, write: Step, sound_files: dict[str, bytes]
) -> None:
    """Dates of birth day first hold back all clients, and with them every row of nearly every table."""
    spoilt = re.sub(rb",(\d{4})-(\d\d)-(\d\d)", rb",\3/\2/\1", sound_files["person.csv"])
    told = check(write({**sound_files, "person.csv": spoilt})).output
    assert told.count("Too many rows of ") == 1
    assert "has fewer rows than agreed" not in told
    assert "have nothing in" not in told
    assert re.findall(r"(?m)^ +(\d+)\. ", told) == ["1", "2", "3"], "the refusal, and dates of two columns"
    assert re.search(r"sharing_basis\.csv +[\d,]+ rows wait for person", told)


def test_filter_left_on_is_told_once_and_not_of_every_row_that_refers_to_what_it_hid(
    check: Step, write: Step, sound_files: dict[str, bytes]
) -> None:
    lines = sound_files["person.csv"].splitlines(keepends=True)
    told = check(write({**sound_files, "person.csv": b"".join(lines[:30])})).output
    assert "Look whether a filter was left on" in " ".join(told.split())
    assert re.findall(r"(?m)^ +(\d+)\. ", told) == ["1"]


def test_extract_for_another_quarter_is_one_line(check: Step, write: Step, sound_files: dict[str, bytes]) -> None:
    manifest = sound_files["manifest.yaml"].replace(b"2026-Q3", b"2026-Q2")
    told = " ".join(check(write({**sound_files, "manifest.yaml": manifest})).output.split())
    assert "stated to be for 2026-Q2, but nearly all of its dates lie in 2026-Q3" in told
    assert "period of this submission" not in told


def test_extract_that_is_taken_in_with_cells_lost_is_not_called_faultless(
    check: Step, write: Step, sound_files: dict[str, bytes]
) -> None:
    spoilt = re.sub(rb",0(\d)(\d\d)\d{6,7},", rb",\1.\2E+09,", sound_files["person.csv"])
    assert spoilt != sound_files["person.csv"]
    result = check(write({**sound_files, "person.csv": spoilt}))
    assert result.exit_code == 0
    assert "Nothing is wrong" not in result.output
    assert "Read what is worth knowing before you send it." in result.output


def test_example_of_the_partner_is_the_one_who_asks(check: Step, write: Step, sound_files: dict[str, bytes]) -> None:
    manifest = sound_files["manifest.yaml"].replace(b"bridge_housing", b"Bridge Housing")
    told = check(write({**sound_files, "manifest.yaml": manifest}), "--partner", "bridge_housing").output
    assert "Write it like 'partner: bridge_housing'." in told


def test_json_is_the_receipt_and_nothing_else(check: Step, write: Step, sound_files: dict[str, bytes]) -> None:
    result = check(write(spoil(sound_files)), "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["state"] == "refused"


def test_what_cannot_be_taken_in_is_told(check: Step, tmp_path: Path) -> None:
    path = tmp_path / "extract.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0" + bytes(1000))
    result = check(path, "--partner", "harbour_trust")
    assert result.exit_code == 3
    assert "has an older or another form than .xlsx" in result.output


def test_ten_thousand_rows_are_answered_at_once(tmp_path: Path, write: Step, sound_files: dict[str, bytes]) -> None:
    """A generous bound; what it takes on a quiet machine is measured in benchmarks."""
    import resource
    import time

    header, *_ = sound_files["service_contact.csv"].splitlines()
    lines = sound_files["service_contact.csv"].splitlines()[1:]
    body = [b"X%d," % number + lines[number % len(lines)].split(b",", 1)[1] for number in range(10_000)]
    files = {**sound_files, "service_contact.csv": b"\n".join([header, *body]) + b"\n"}
    folder = write(files)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "pipeline.cli", "check", str(folder)], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 6
    assert time.monotonic() - started < 60
