"""The main job, end to end: partners' extracts through a real Airflow to an approved release."""

import json
import os
import re
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import psycopg
import pytest

from pipeline.set_up import readers_file
from pipeline.trial.airflow_api import log_in
from warehouse.server import EmbeddedServer

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]


def test_the_demo_tells_the_headline_figures_and_where_everything_lies(demo: Any) -> None:
    assert re.search(r"Different people\s+\d+|Unique people\s+\d+", demo.output)
    assert re.search(r"precision 0\.9\d+\s+recall 0\.9\d+", demo.output)
    assert "Rows held back" in demo.output
    report = Path(re.search(r"Report\s+(\S+)", demo.output)[1])
    package = Path(re.search(r"Data package\s+(\S+)", demo.output)[1])
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>") or report.stat().st_size > 10_000
    assert json.loads(package.read_text(encoding="utf-8"))["resources"]


def test_the_approval_is_in_airflows_audit_log_under_the_coordinators_name(demo: Any) -> None:
    with log_in(demo.trial.url, "coordinator", demo.trial.logins["coordinator"]) as airflow:
        events = airflow.list_audit_events(dag_id="evidence_release", event="update_hitl_detail")
    assert [event["owner"] for event in events] == ["coordinator"]


def test_the_faulty_partners_receipt_names_rows_and_rules_and_the_others_are_clean(demo: Any) -> None:
    receipts = [json.loads(path.read_text("utf-8")) for path in (demo.home / "outbox").glob("*/*/receipt.json")]
    assert len(receipts) == 12
    states = [receipt["state"] for receipt in receipts]
    assert states.count("accepted_with_rows_held_back") == 1
    assert states.count("accepted") == 11
    faulty = next(receipt for receipt in receipts if receipt["state"] == "accepted_with_rows_held_back")
    assert {finding["scope"] for finding in faulty["findings"]} >= {"row"}
    assert all(finding["mend"] for finding in faulty["findings"])


def test_no_identifier_is_in_airflows_database_or_logs_or_in_what_readers_get(demo: Any) -> None:
    identifiers = set()
    for path in (demo.home / "synthetic" / "extracts").glob("*/*/person.csv"):
        frame = pl.read_csv(path, infer_schema=False)
        for column in ("nhs_number", "ni_number", "email", "phone", "local_person_id"):
            identifiers |= {cell for cell in frame[column].drop_nulls() if len(cell) >= 8}
    assert len(identifiers) > 1000
    server = EmbeddedServer(demo.home)
    texts = {"Airflow's database": _dump_all_tables(server.url("airflow", "airflow", driver="postgresql"))}
    for folder in ("logs", "airflow", "outbox", "releases", "compiled", "run", "work"):
        for path in (demo.home / folder).rglob("*"):
            if path.is_file():
                texts[str(path)] = path.read_bytes()
    assert len(texts["Airflow's database"]) > 100_000
    pattern = re.compile(b"|".join(re.escape(identifier.encode()) for identifier in identifiers))
    assert [name for name, content in texts.items() if pattern.search(content)] == []


def _dump_all_tables(url: str) -> bytes:
    with psycopg.connect(url) as conn:
        tables = conn.execute(
            "select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        return b"\n".join(
            str(row).encode() for (table,) in tables for row in conn.execute(f"select t::text from {table} t")
        )


def test_nothing_identifiable_is_left_in_the_working_area(demo: Any) -> None:
    assert list((demo.home / "work").rglob("*.parquet")) == []
    assert list((demo.home / "work").rglob("*.csv")) == []


def test_a_reader_reads_figures_and_nothing_below_them(demo: Any) -> None:
    passwords = json.loads(readers_file(demo.settings).read_text())
    state = EmbeddedServer(demo.home).state()
    for login, password in passwords.items():
        url = f"postgresql://{login}:{password}@{state.host}:{state.port}/linkarms"
        with psycopg.connect(url, autocommit=True) as conn:
            assert conn.execute("select count(*) from evidence.current_figure").fetchone()[0] > 100
            for relation in ("facts.person", "linkage.membership", "governance.draft_figure"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(f"select * from {relation}")


def test_nothing_is_written_outside_the_home_folder(demo: Any) -> None:
    beside = {path.name for path in demo.home.parent.iterdir()}
    assert beside <= {"var", ".cache", ".config", ".local"}


def test_secrets_are_readable_by_their_owner_alone(demo: Any) -> None:
    files = [path for path in (demo.home / "secrets").rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def test_no_process_of_airflow_has_a_key_in_its_arguments(demo: Any) -> None:
    secret = re.findall(r"LINKARMS-SECRET-\S+", (demo.home / "secrets" / "linkarms.keys").read_text())
    assert secret
    for process in psutil.process_iter(["cmdline"]):
        assert not any(part in " ".join(process.info["cmdline"] or ()) for part in secret)
    assert os.environ.get("LINKARMS_KEYS") is None
