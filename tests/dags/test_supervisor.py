"""What the trial's supervisor stops, and what it leaves alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.settings import Settings
from pipeline.trial.airflow_home import ROLES, component_environment, ensure_logins, ensure_secrets
from pipeline.trial.supervisor import MARK, find_trial, stop_airflow

SLEEPS = "import time; time.sleep(120)"
LEAVES_A_CHILD = (
    "import subprocess, sys\n"
    f"child = subprocess.Popen([sys.executable, '-c', {SLEEPS!r}], stdout=subprocess.DEVNULL)\n"
    "print(child.pid, flush=True)"
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"LINKARMS_HOME": str(tmp_path)})


@pytest.fixture
def stranger() -> Iterator[psutil.Process]:
    """A process that no supervisor has started."""
    process = subprocess.Popen([sys.executable, "-c", SLEEPS])
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def record(home: Path, mark: str, components: list[dict[str, object]]) -> Path:
    path = home / "run" / "airflow.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"port": 1, "agreement": "-", "mark": mark, "components": components}), encoding="utf-8")
    return path


def test_stopping_where_nothing_was_started_does_nothing(settings: Settings) -> None:
    said: list[str] = []
    stop_airflow(settings, report=said.append)
    stop_airflow(settings, report=said.append)
    assert said == []
    assert find_trial(settings.home) is None


def test_a_stranger_that_has_a_recorded_process_number_is_left_alone(
    settings: Settings, stranger: psutil.Process
) -> None:
    started = stranger.create_time() - 3600
    path = record(settings.home, "0" * 32, [{"name": "scheduler", "pid": stranger.pid, "started": started}])
    stop_airflow(settings, report=lambda _line: None)
    assert stranger.is_running()
    assert not path.exists()


def test_the_children_of_a_killed_component_are_found_by_their_mark_and_stopped(
    settings: Settings, stranger: psutil.Process
) -> None:
    mark = "a1" * 16
    parent = subprocess.Popen(
        [sys.executable, "-c", LEAVES_A_CHILD],
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said, _ = parent.communicate()
    orphan = psutil.Process(int(said))
    assert orphan.is_running()
    assert parent.returncode == 0
    record(settings.home, mark, [{"name": "scheduler", "pid": parent.pid, "started": orphan.create_time()}])

    stop_airflow(settings, report=lambda _line: None)

    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert stranger.is_running()


def test_secrets_are_made_once_and_for_this_account_only(settings: Settings) -> None:
    keys, logins = ensure_secrets(settings.home), ensure_logins(settings.home)
    assert ensure_secrets(settings.home) == keys
    assert ensure_logins(settings.home) == logins
    assert set(logins) == set(ROLES)
    assert len(set(logins.values())) == len(logins)
    for name in ("airflow.json", "airflow-logins.json"):
        assert (settings.home / "secrets" / name).stat().st_mode & 0o777 == 0o600
    assert keys.jwt_secret not in repr(keys)
    assert keys.fernet_key not in repr(keys)


def test_another_airflow_in_the_environment_is_not_met_and_no_port_is_open_to_others(settings: Settings) -> None:
    environment = component_environment(
        settings,
        database_url="postgresql+psycopg://airflow@127.0.0.1/airflow",
        port=9,
        dags=settings.home,
        base={"AIRFLOW_HOME": "/elsewhere", "AIRFLOW__CORE__LOAD_EXAMPLES": "True", "AIRFLOW_CONN_X": "y", "PATH": "/"},
    )
    assert environment["AIRFLOW_HOME"] == str(settings.home / "airflow")
    assert environment["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert "AIRFLOW_CONN_X" not in environment
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["LINKARMS_HOME"] == str(settings.home)
    assert "127.0.0.1" in environment["NO_PROXY"]
