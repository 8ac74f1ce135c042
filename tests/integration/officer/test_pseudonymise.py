"""`linkarms pseudonymise` on the officer's own machine: one sealed file, and nothing of a person on the way to it."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from protocol.at_source import BESIDE_TABLES
from protocol.model import Agreement, Treatment
from pseudonymise.keys import open_key_ring
from pseudonymise.partner_key import export_partner_key
from pseudonymise.sealing import SealingKeys, open_bytes, open_sealing_keys
from tests.integration.officer.test_check import BASE

Step = Callable[..., Any]
NOW = datetime(2026, 10, 6, tzinfo=UTC)
PASSPHRASE = "correct horse battery staple"
ROOT = Path(__file__).parents[3]

EXTRA = "pseudonymise cryptography _cffi_backend polars_hash anyascii phonenumbers numpy pyarrow"
"""What the extra adds."""

WATCH = f"""
import sys
allowed = set({f"{BASE} {EXTRA}"!r}.split()) | set(sys.stdlib_module_names)
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError("blocked: " + name, name=name)
sys.meta_path.insert(0, Block())
written = open(sys.argv.pop(1), "w")
def note(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & 3:
        print(arguments[0], file=written, flush=True)
sys.addaudithook(note)
import pipeline.cli
sys.argv[0] = "linkarms"
pipeline.cli.main()
"""
"""Runs the command with what an officer has installed, and notes every file that is opened for writing."""


@dataclass(frozen=True)
class Held:
    """What the coordinator has given out, and what only the hub has."""

    k1: Path
    k1_id: str
    secrets: tuple[str, ...]
    public: Path
    sealing: SealingKeys


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    folder = tmp_path_factory.mktemp("given")
    source = f"file:{folder / 'hub' / 'linkarms.keys'}"
    ring = open_key_ring(source, now=NOW, create=True)
    k1 = folder / "private" / "k1.keys"
    export_partner_key(ring, k1, lambda: PASSPHRASE)
    sealing = open_sealing_keys(f"file:{folder / 'hub' / 'linkarms.sealing'}", now=NOW, create=True)
    public = folder / "hub.pub"
    public.write_text(f"{sealing.public.line}\n", "ascii")
    text = (folder / "hub" / "linkarms.keys").read_text("ascii")
    secrets = tuple(word.partition("LINKARMS-SECRET-")[2] for word in text.split() if "LINKARMS-SECRET-" in word)
    assert [len(secret) for secret in secrets] == [64, 64]
    return Held(k1, ring.k1_id, secrets, public, sealing)


@pytest.fixture
def run(held: Held, tmp_path: Path) -> Callable[..., Result]:
    """Runs the command on an extract."""

    def call(extract: Path, *more: Any, keys: str | None = None, **environment: str) -> Result:
        arguments = ["--keys", keys or held.k1, "--to", held.public, "--out", tmp_path / "2026-Q3.sealed", *more]
        return CliRunner().invoke(
            main,
            ["pseudonymise", str(extract), *map(str, arguments)],
            env={"LINKARMS_KEYS_PASSPHRASE": PASSPHRASE, **environment},
        )

    return call


def files_of(held: Held, envelope: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(open_bytes(envelope.read_bytes(), held.sealing))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def identifying_cells(agreement: Agreement, files: dict[str, bytes]) -> set[str]:
    """Every cell of an extract that may not leave as it is (identifiers, own numbers, free text), but for those that
    stand in a column that is kept as well, such as a day."""
    kept: set[str] = set()
    found: set[str] = set()
    for table in agreement.contract.tables:
        frame = pl.read_csv(files[f"{table.name}.csv"], infer_schema=False)
        for column in table.columns:
            cells = set(frame[column.name].drop_nulls().str.to_lowercase())
            if column.treatment is Treatment.KEEP:
                kept |= cells
            else:
                found |= cells
    return found - kept


def test_the_envelope_holds_what_the_agreement_lets_through_and_no_value_that_it_does_not(
    run: Step, held: Held, write: Step, sound_files: dict[str, bytes], agreement: Agreement, tmp_path: Path
) -> None:
    done = run(write(sound_files))
    assert done.exit_code == 0, done.output
    assert held.k1_id in done.output
    files = files_of(held, tmp_path / "2026-Q3.sealed")
    assert set(files) == {*(name for name in sound_files if name.endswith(".csv")), *BESIDE_TABLES, "manifest.json"}
    manifest = json.loads(files["manifest.json"])
    assert manifest["pseudonymised"]["k1_id"] == held.k1_id
    assert manifest["pseudonymised"]["agreement_digest"] == agreement.digest
    cells = identifying_cells(agreement, sound_files)
    assert len(cells) > 500
    kept: set[str] = set()
    for name, raw in files.items():
        if name.endswith(".csv") and name not in BESIDE_TABLES:
            frame = pl.read_csv(raw, infer_schema=False)
            for column in frame.columns:
                kept |= set(frame[column].drop_nulls().str.to_lowercase())
    # Short ones (a house's number, an initial) stand by chance among counts and codes.
    assert {cell for cell in cells & kept if len(cell) > 3} == set()
    everything = b"".join(raw for name, raw in files.items() if name != "encodings.csv").lower()
    assert [cell for cell in cells if len(cell) > 9 and cell.encode() in everything] == []


def test_nothing_in_clear_is_written_but_the_checks_private_copy_and_no_key_is_seen(
    held: Held, write: Step, sound_files: dict[str, bytes], tmp_path: Path
) -> None:
    """In a process of its own, which can import no more than the extra brings."""
    extract, out, noted = write(sound_files), tmp_path / "out", tmp_path / "noted"
    out.mkdir()
    private = tmp_path / "temporary"
    private.mkdir()
    arguments = [str(extract), "--keys", f"file:{held.k1}", "--sealing-key", str(held.public)]
    arguments += ["--out", str(out / "2026-Q3.sealed"), "--receipt", str(out / "receipt")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINKARMS")}
    environment |= {"LINKARMS_KEYS_PASSPHRASE": PASSPHRASE, "TMPDIR": str(private), "LINKARMS_HOME": str(out / "home")}
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(noted), "pseudonymise", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    opened = [line for line in noted.read_text().splitlines() if line.startswith("/") and not line.startswith("/dev/")]
    assert str(out / ".2026-Q3.sealed.part") in opened
    elsewhere = [line for line in opened if not line.startswith((str(private), str(out))) and ".pyc" not in line]
    assert elsewhere == []
    assert list(private.iterdir()) == []
    written = {path.name for path in out.rglob("*") if path.is_file()}
    assert written == {"2026-Q3.sealed", "receipt.html", "receipt.json"}
    everything = done.stdout + done.stderr + "".join(arguments)
    for path in out.rglob("*"):
        if path.is_file():
            everything += path.read_bytes().decode("latin-1")
    for secret in (*held.secrets, PASSPHRASE):
        assert secret.lower() not in everything.lower()
        assert bytes.fromhex(secret).decode("latin-1") not in everything if secret != PASSPHRASE else True


def test_the_same_extract_gives_the_same_content(
    run: Step, held: Held, write: Step, sound_files: dict[str, bytes], tmp_path: Path
) -> None:
    extract = write(sound_files)
    contents = []
    for _ in range(2):
        assert run(extract).exit_code == 0
        contents.append(files_of(held, tmp_path / "2026-Q3.sealed"))
    assert contents[0] == contents[1]


def test_an_extract_that_would_be_refused_leaves_no_file_and_ends_with_3(
    run: Step, write: Step, sound_files: dict[str, bytes], tmp_path: Path
) -> None:
    files = dict(sound_files)
    files["manifest.yaml"] = files["manifest.yaml"].replace(b"2026-Q3", b"1999-Q3")
    files["outcome.csv"] = files["outcome.csv"].replace(b",", b";")
    done = run(write(files), "--receipt", tmp_path / "receipt")
    assert done.exit_code == 3
    assert "Nothing was made" in done.output
    assert list(tmp_path.glob("*.sealed")) == []
    receipt = json.loads((tmp_path / "receipt" / "receipt.json").read_bytes())
    assert {finding["code"] for finding in receipt["findings"]} >= {"gate.period", "file.separator"}


def test_rows_with_faults_stay_with_the_officer(
    run: Step, held: Held, write: Step, sound_files: dict[str, bytes], tmp_path: Path
) -> None:
    files = dict(sound_files)
    lines = files["person.csv"].decode().splitlines(keepends=True)
    lines[5] = lines[5].replace(",no,", ",noo,")
    files["person.csv"] = "".join(lines).encode()
    done = run(write(files), "--receipt", tmp_path / "receipt")
    assert done.exit_code == 0
    assert (tmp_path / "receipt" / "held-back-rows.csv").exists()
    sent = files_of(held, tmp_path / "2026-Q3.sealed")
    rows = pl.read_csv(sent["person.csv"], infer_schema=False)["_number"].to_list()
    assert "6" not in rows
    assert len(rows) == len(lines) - 2
    told = pl.read_csv(sent["source_findings.csv"], infer_schema=False).rows_by_key("code", named=True)
    assert told["person.do_not_link.code"][0]["first_rows"] == "6"


def test_a_key_ring_of_the_hubs_and_a_wrong_passphrase_are_refused(
    run: Step, held: Held, write: Step, sound_files: dict[str, bytes]
) -> None:
    extract = write(sound_files)
    done = run(extract, keys=f"file:{held.k1.parents[1] / 'hub' / 'linkarms.keys'}")
    assert done.exit_code == 5
    assert "whole key ring" in done.output
    done = run(extract, LINKARMS_KEYS_PASSPHRASE="some other words")
    assert done.exit_code == 5
    assert "some other words" not in done.output
    assert all(secret not in done.output for secret in held.secrets)


def test_a_file_that_is_no_public_key_is_told_before_the_extract_is_read(
    held: Held, write: Step, sound_files: dict[str, bytes], tmp_path: Path
) -> None:
    arguments = ["--keys", str(held.k1), "--to", str(tmp_path / "none.pub"), "--out", str(tmp_path / "x.sealed")]
    done = CliRunner().invoke(
        main, ["pseudonymise", str(write(sound_files)), *arguments], env={"LINKARMS_KEYS_PASSPHRASE": PASSPHRASE}
    )
    assert done.exit_code == 1
    assert "public key cannot be read" in done.output


def test_what_is_missing_from_an_installation_is_said(
    run: Step, write: Step, sound_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.at_source._PACKAGES", ("a_package_that_is_not_there",))
    done = run(write(sound_files))
    assert done.exit_code == 1
    assert 'pip install "linkarms[pseudonymise]"' in done.output
