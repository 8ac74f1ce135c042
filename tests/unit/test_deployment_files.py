"""The deployment's files as far as they can be held to anything without a container engine."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_only_the_services_that_run_tasks_hold_the_keys_and_the_pipelines_log_in(compose: Any) -> None:
    holders = {name for name, service in compose["services"].items() if "linkarms_keys" in service.get("secrets", ())}
    assert holders == {"scheduler", "set-up"}
    log_ins = {name for name, s in compose["services"].items() if "pipeline_database_url" in s.get("secrets", ())}
    assert log_ins == holders


def test_every_secret_that_a_service_uses_is_mounted_into_it_and_declared(compose: Any) -> None:
    for name, service in compose["services"].items():
        text = yaml.safe_dump({key: value for key, value in service.items() if key != "secrets"})
        used = set(re.findall(r"/run/secrets/(\w+)", text))
        assert used <= set(service.get("secrets", ())), name
        assert set(service.get("secrets", ())) <= set(compose["secrets"]), name


def test_no_service_but_the_database_is_root_or_writes_to_its_image(compose: Any) -> None:
    for name, service in compose["services"].items():
        if name != "database":
            assert service["user"] == "50000:50000"
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]


def test_airflow_starts_with_the_environment_of_the_compose_file(compose: Any, tmp_path: Path) -> None:
    environment = dict(compose["services"]["scheduler"]["environment"])
    secret = tmp_path / "secret"
    secret.write_text("postgresql+psycopg://airflow:x@127.0.0.1/airflow")
    moved = {
        name: re.sub(r"/run/secrets/\w+", str(secret), str(value)).replace("/var/lib/linkarms", str(tmp_path))
        for name, value in environment.items()
    }
    program = (
        "import airflow.settings; from airflow.configuration import conf;"
        "print(conf.get('database', 'sql_alchemy_conn'), conf.get('core', 'executor'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **moved},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "postgresql+psycopg://airflow:x@127.0.0.1/airflow LocalExecutor" in done.stdout
