"""No identifier, dropped text, partner's own word or key comes out of a whole run, refusals and release included.

A canary is planted in every column of every table that the agreement does not let into the pool as it is, in rows that
pass and in rows with each kind of fault, in headings, names of files, drops and archive members, and in every entry of
a manifest. Then everything that the run wrote, stored, returned, raised, logged or printed is searched.
"""

import csv
import io
import logging
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.intake_steps import check_submission, load_submission, pseudonymise_submission, receive_submissions
from pipeline.release_steps import link_and_mark, measure, publish
from pipeline.summary import print_summary
from protocol.errors import LinkarmsError
from protocol.model import Agreement, ColumnType, Treatment
from synthetic import Partnership
from tests.integration.pipeline.world import NOW, REASON, World
from tests.privacy.canaries import Search

ROOT = Path(__file__).parents[2]
PARTNERS = ("harbour_trust", "castle_borough")
PERIOD = "2026-Q2"

GOOD: Mapping[str, str] = {
    "nhs_number": "999 123 4560",
    "ni_number": "QQ 98 76 54 C",
    "forename": "Zephyrinda",
    "middle_names": "Quillonius",
    "surname": "Vantablackwood",
    "previous_surname": "Oxenhamptonby",
    "date_of_birth": "1931-03-17",
    "postcode": "ZE99 7QX",
    "phone": "+44 7700 900861",
    "email": "zephyr.canary@kestrelmoor.example",
    "household_number": "HH-CANARY-77Q",
    "summary": "Summarycanary lives beside the old mill",
    "notes": "Notescanary was seen at the harbour",
}
"""Values that pass their column's rules, by column; those that the pool may not hold as they are."""

KEYS: Mapping[str, str] = {
    "local_person_id": "LPI-CANARY-4711",
    "enrolment_number": "ENR-CANARY-4712",
    "assessment_number": "ASM-CANARY-4713",
    "referral_number": "REF-CANARY-4714",
    "stage_event_number": "STG-CANARY-4715",
    "outcome_number": "OUT-CANARY-4716",
    "contact_number": "CON-CANARY-4717",
    "cost_number": "COS-CANARY-4718",
}
"""A partner's own numbers."""


@dataclass
class Told:
    """Everything that came back to a caller."""

    texts: list[str] = field(default_factory=list)
    refused: int = 0

    def add(self, value: object) -> None:
        self.texts += [repr(value), str(value)]

    def add_error(self, error: BaseException) -> None:
        self.refused += 1
        self.texts += [str(error), repr(error), "".join(traceback.format_exception(error))]


FAULT = "Faultcanary"
"""How every canary of a faulty cell begins, and what is searched for."""


def fault_canaries(agreement: Agreement) -> dict[str, str]:
    """One canary for every column of every table, as a value that cannot pass."""
    names = (f"{table.name}.{column}" for table in agreement.contract.tables for column in table.column_names)
    return {name: f"{FAULT}{number:03}x" for number, name in enumerate(names)}


def faulty_values(canary: str, kind: ColumnType) -> list[str]:
    """Cells with the canary in them, each wrong in its own way for a column of this type."""
    values = [canary, f"={canary}()", f"<b>{canary}</b>", f"{canary} " * 25, f"{canary}\n{canary}", f'"{canary}"']
    if kind is ColumnType.DATE:
        values += [f"17/03/{canary}", f"2026-02-31 {canary}"]
    elif kind in (ColumnType.INTEGER, ColumnType.DECIMAL):
        values += [f"1,200 {canary}", f"£{canary}"]
    return values


def plant_good(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Canaries that pass: the first number of every kind, wherever it stands, and a row with every other column."""
    numbers = {
        column: {frame[column][0]: canary}
        for column, canary in KEYS.items()
        for frame in (next(frame for frame in tables.values() if column in frame.columns),)
    }
    planted = {}
    for name, frame in tables.items():
        frame = frame.with_columns(
            pl.col(column).replace(change) for column, change in numbers.items() if column in frame.columns
        )
        first = pl.int_range(pl.len()) == 0
        planted[name] = frame.with_columns(
            pl.when(first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
            for column, value in GOOD.items()
            if column in frame.columns
        )
    return planted


def plant_faults(tables: Mapping[str, pl.DataFrame], agreement: Agreement) -> dict[str, pl.DataFrame]:
    """Rows at the end of every table, each with a faulty cell in one column, for every column and kind of fault."""
    canaries = fault_canaries(agreement)
    planted = {}
    for table in agreement.contract.tables:
        if table.name not in tables:
            continue
        frame = tables[table.name]
        rows = []
        for column in table.columns:
            for number, value in enumerate(faulty_values(canaries[f"{table.name}.{column.name}"], column.type)):
                row = frame.row(number % frame.height, named=True)
                rows.append({**row, column.name: value})
        planted[table.name] = pl.concat([frame, pl.DataFrame(rows, schema=frame.schema)])
    return planted


def run_intake(world: World, partner: str, told: Told) -> None:
    """Every step for everything that waits; what is returned and raised is kept."""
    try:
        waiting = receive_submissions(partner, world.settings, now=NOW)
    except LinkarmsError as error:
        told.add_error(error)
        return
    told.add(waiting)
    for submission in waiting:
        try:
            for step in (check_submission, pseudonymise_submission, load_submission):
                told.add(step(submission["submission_id"], world.settings, now=NOW))
        except LinkarmsError as error:
            told.add_error(error)


WORDS: Mapping[str, str] = {
    "heading": "Headingcanary",
    "file name": "Filecanary",
    "drop name": "Dropcanary",
    "member name": "Membercanary",
    "folder name": "Foldercanary",
    "manifest entry": "Entrycanary",
    "manifest value": "Valuecanary",
    "manifest period": "Periodcanary",
    "manifest version": "Versioncanary",
    "manifest table": "Tablecanary",
    "manifest comment": "Commentcanary",
    "lone file": "Lonecanary",
    "semicolon": "Semicoloncanary",
    "encoding": "Encodingcanary",
    "quoting": "Quotingcanary",
    "cells": "Cellscanary",
    "deleted": "Deletedcanary",
    "orphan": "Orphancanary",
    "twice": "Twicecanary",
}
"""A partner's own words, each in one place where they cannot pass."""


def drop_refused(world: World, tables: Mapping[str, pl.DataFrame], manifest: Mapping[str, Any]) -> None:
    """Drops that are refused, each with words of the partner's in another place."""
    partner = "harbour_trust"
    sent = 0

    def drop(changed: Mapping[str, pl.DataFrame] = tables, name: str | None = None, **entries: Any) -> Path:
        nonlocal sent
        sent += 1
        return world.drop(partner, changed, {**manifest, **entries}, name=name or f"Dropcanary {sent}")

    def rewrite(table: str, text: str, encoding: str = "utf-8") -> None:
        (drop() / f"{table}.csv").write_bytes(text.encode(encoding, errors="replace"))

    person = tables["person"]
    drop({**tables, "person": person.rename({"surname": "Headingcanary"})})
    drop({**tables, "person": person.with_columns(pl.lit("x").alias("Headingcanary Smith"))})
    (drop() / "Filecanary.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (drop() / "Filecanary <Jones>.csv").write_text("a\n", encoding="utf-8")
    folder = drop() / "Foldercanary"
    folder.mkdir()
    (folder / "Filecanary.csv").write_text("a\n", encoding="utf-8")
    for entry in ("period", "agreement_version", "kind", "partner", "extracted_on", "supersedes", "Entrycanary"):
        word = {"period": "Periodcanary", "agreement_version": "Versioncanary"}.get(entry, "Valuecanary")
        drop(tables, None, **{entry: word})
    path = drop() / "manifest.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "  Tablecanary: 3\n# Commentcanary\n", encoding="utf-8")
    (drop() / "manifest.yaml").write_text("[Valuecanary: {", encoding="utf-8")
    text = person.write_csv()
    rewrite("person", text.replace(",", ";").replace("Vantablackwood", "Semicoloncanary"))
    rewrite("person", text.replace("Vantablackwood", "Encodingcanary é"), "cp1252")
    rewrite("person", text.replace("Vantablackwood", '"Quotingcanary\n'))
    rewrite("person", text.replace("\n", ",Cellscanary\n"))
    rewrite("person", "")
    (world.settings.inbox(partner) / "Lonecanary.csv").write_text("Lonecanary", encoding="utf-8")
    world.flag(world.settings.inbox(partner) / "Lonecanary.csv")
    for number, name in enumerate(("../../Membercanary.csv", "Membercanary.exe", "Membercanary/person.csv")):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(name, b"Membercanary")
            archive.comment = b"Membercanary"
        target = world.settings.inbox(partner) / f"Dropcanary {number}.zip"
        target.write_bytes(packed.getvalue())
        world.flag(target)


def drop_broken_rows(world: World, tables: Mapping[str, pl.DataFrame], manifest: Mapping[str, Any]) -> None:
    """One that is loaded, with single rows that are broken as rows, orphans and keys that stand twice."""
    partner = "harbour_trust"
    enrolment = tables["enrolment"]
    more = pl.concat([enrolment.head(1).with_columns(pl.lit("Orphancanary").alias("local_person_id"))])
    twice = enrolment.slice(1, 1).with_columns(pl.lit("Twicecanary").alias("enrolment_number"))
    other = twice.with_columns(pl.lit("2026-06-29").alias("started_on"))
    changed = {**tables, "enrolment": pl.concat([enrolment, more, twice, other])}
    folder = world.drop(partner, changed, manifest, name="Dropcanary rows")
    path = folder / "person.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[-1] = f'"Quotingcanary{lines[-1]}'
    lines[-2] = lines[-2].rstrip("\n") + ",Cellscanary\n"
    path.write_text("".join(lines), encoding="utf-8")


@dataclass
class Run:
    """A whole run with canaries, and everything that there is to be searched after it."""

    world: World
    search: Search
    told: Told
    leftovers: list[str]
    dropped: list[str]
    """Names in the inbox before; settling gives drops names of our own."""
    temporary: list[str]
    """What is left in the folder for temporary files."""


@pytest.fixture
def run(
    world: World,
    partnership: Partnership,
    agreement: Agreement,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    caplog.set_level(logging.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG)
    told, leftovers = Told(), []
    partner = "harbour_trust"
    tables, manifest = partnership.extracts[partner, PERIOD], partnership.manifests[partner, PERIOD]
    good = plant_good(tables)
    drop_refused(world, good, manifest)
    dropped = world.waiting(partner)
    run_intake(world, partner, told)
    leftovers += world.work()
    world.drop(partner, plant_faults(good, agreement), manifest, name="Dropcanary faults")
    run_intake(world, partner, told)  # far too many rows are held back: refused, with a held-back list
    leftovers += world.work()
    drop_broken_rows(world, good, manifest)
    run_intake(world, partner, told)
    other = "castle_borough"
    world.drop(other, partnership.extracts[other, PERIOD], partnership.manifests[other, PERIOD], as_zip=True)
    run_intake(world, other, told)
    delta = {"person": good["person"].head(3).with_columns(pl.lit("Deletedcanary").alias("_delete"))}
    world.drop(partner, delta, {**manifest, "kind": "delta"}, name="Dropcanary delta")
    run_intake(world, partner, told)
    leftovers += world.work()

    linked = link_and_mark([], world.settings, "run", now=NOW)
    draft = measure(linked["snapshot_id"], world.settings, linked=linked, now=NOW)
    told.add([linked, draft])
    told.add(
        publish(draft["release_id"], draft["figures_digest"], approver="a", reason=REASON, settings=world.settings)
    )
    lines: list[str] = []
    print_summary(world.settings, say=lines.append)
    told.add(lines)

    search = Search()
    search.add_home(world.home)
    search.add_database(world)
    out, err = capfd.readouterr()
    search.add("standard output", out)
    search.add("standard error", err)
    search.add("logs", "\n".join(f"{record.__dict__} {record.getMessage()}" for record in caplog.records))
    search.add("returned and raised", "\n".join(told.texts))
    search.add("log of the database", world.server.state().log.read_bytes())
    left = [str(path.relative_to(temporary)) for path in temporary.rglob("*")]
    return Run(world, search, told, leftovers, dropped, left)


def read_key_secrets(world: World) -> list[bytes]:
    lines = (world.home / "secrets" / "linkarms.keys").read_text(encoding="utf-8").split()
    texts = [word.split("=", 1)[1] for word in lines if word.startswith("secret=")]
    return [bytes.fromhex(text.rsplit("-", 1)[1]) for text in texts]


def test_no_canary_and_no_key_is_in_anything_that_a_whole_run_leaves(run: Run, agreement: Agreement) -> None:
    # The run did what it is meant to: drops of every kind refused, three submissions loaded, a release published.
    states = dict(run.world.query("select state, count(*) from governance.submission group by 1"))
    assert states["loaded"] >= 2
    assert states["refused"] >= 5
    assert run.told.refused >= 5
    assert run.world.query("select state from evidence.release") == [("published",)]
    outbox = [path for path in (run.world.home / "outbox").rglob("*") if path.is_file()]
    assert len([path for path in outbox if path.name == "receipt.html"]) >= 20
    assert [path for path in outbox if path.name == "held-back-rows.csv"]
    assert len(run.search.places) > 100
    # Planted they were: the partner's inbox has every one of them, or this test could not fail.
    inbox = Search()
    inbox.add("names of drops", "\n".join(run.dropped))
    for path in (run.world.home / "inbox").rglob("*"):
        inbox.add(f"name {path}", path.name)
        if path.is_file():
            inbox.add(str(path), path.read_bytes())
    planted = {**GOOD, **KEYS, **WORDS}
    assert [name for name, canary in {**planted, **fault_canaries(agreement)}.items() if not inbox.holds(canary)] == []

    assert run.search.find({**planted, "faulty cell": FAULT}) == []
    secrets = read_key_secrets(run.world)
    assert len(secrets) == 2
    assert run.search.find_bytes(secrets) == []
    assert run.leftovers == []
    assert run.temporary == []

    rules = {rule.code for table in agreement.contract.tables for rule in table.rules}
    for path in (path for path in outbox if path.name == "held-back-rows.csv"):
        for row in csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()):
            assert row["row"].isdigit()
            rule = row["rule"].removesuffix(".held_back")
            assert rule in rules or rule.startswith("file.") or rule.endswith("._delete.code")


def test_facts_have_no_column_that_the_contract_does_not_let_through(world: World, agreement: Agreement) -> None:
    platform = {"submission_id", "partner_id", "period", "row_key", "person_ref", "deleted"}
    for table in agreement.contract.tables:
        columns = (
            "select column_name from information_schema.columns where table_schema = 'facts' and table_name = :name"
        )
        stored = {name for (name,) in world.query(columns, name=table.name)}
        assert stored
        closed = {c.name for c in table.columns if c.treatment in (Treatment.TOKENISE, Treatment.DROP)}
        assert not stored & (closed - platform)
        kept = {c.name for c in table.columns if c.treatment in (Treatment.KEEP, Treatment.PSEUDONYMISE)}
        assert {
            name for name in stored - platform - kept if not name.endswith(("_month", "_district", "_band"))
        } == set()


@pytest.mark.parametrize(
    "leak",
    [
        "Zephyrinda",
        "ZEPHYRINDA",
        "ze997qx",
        "9991234560",
        b"Zephyrinda".hex(),
        "WmVwaHlyaW5kYQ==",
        "eHhaZXBoeXJpbmRh",
        "zephyr.canary%40kestrelmoor.example",
    ],
)
def test_the_search_finds_a_leak_however_it_is_written(tmp_path: Path, leak: str) -> None:
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "receipt.json").write_text(f'{{"sentence": "row of {leak}"}}', encoding="utf-8")
    search = Search()
    search.add_home(tmp_path)
    assert search.find(GOOD) != []


def test_the_search_finds_a_leak_in_parquet_a_name_the_database_and_a_key_in_a_file(
    world: World, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    pl.DataFrame({"a": ["Vantablackwood"] * 500}).write_parquet(home / "work" / "a.parquet", compression="zstd")
    search = Search()
    search.add_home(home)
    assert any("cells of work/a.parquet" in where for where in search.find(GOOD))
    (home / "work" / "Vantablackwood.txt").touch()
    names = Search()
    names.add_home(home)
    assert any("name of" in where for where in names.find(GOOD))
    world.execute(
        "insert into governance.audit_event (actor, action, subject, detail)"
        " values ('a', 'b', 'c', cast(:detail as jsonb))",
        detail='{"who": "zephyrinda"}',
    )
    database = Search()
    database.add_database(world)
    assert any("governance.audit_event" in where for where in database.find(GOOD))
    secret = read_key_secrets(world)[0]
    keys = Search()
    keys.add("a log", f"key {secret.hex()}")
    assert keys.find_bytes([secret]) == ["a log"]


def test_no_module_but_pseudonymise_can_reach_a_key() -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    for promise in (
        "Only pseudonymise touches cryptography, hmac and polars_hash KEPT",
        "Evidence and warehouse can reach no key KEPT",
    ):
        assert promise in ended.stdout
