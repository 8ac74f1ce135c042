"""The deployment's files as far as they can be held to anything without a container engine."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from intake.taking import Limits
from pipeline.cli import main
from pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_only_the_services_that_run_tasks_hold_the_keys_and_the_pipelines_log_in(compose: Any) -> None:
    for secret in ("linkarms_keys", "linkarms_sealing_keys", "pipeline_database_url"):
        holders = {name for name, service in compose["services"].items() if secret in service.get("secrets", ())}
        assert holders == {"scheduler", "set-up"}, secret


def test_settings_of_the_services_that_run_tasks_name_keys_and_database_as_secrets(compose: Any) -> None:
    for name in ("scheduler", "set-up"):
        settings = Settings.from_environment(compose["services"][name]["environment"])
        assert settings.key_source == "file:/run/secrets/linkarms_keys"
        assert settings.sealing_source == "file:/run/secrets/linkarms_sealing_keys"
        assert settings.database_source == "file:/run/secrets/pipeline_database_url"


def test_the_service_that_runs_tasks_has_memory_in_which_the_largest_extract_is_opened(compose: Any) -> None:
    scheduler = compose["services"]["scheduler"]
    assert in_bytes(scheduler["shm_size"]) > Limits().max_total_bytes
    assert in_bytes(scheduler["deploy"]["resources"]["limits"]["memory"]) >= 2 * in_bytes(scheduler["shm_size"])


def in_bytes(size: str) -> int:
    return int(size.removesuffix("g")) << 30


def test_no_service_of_ours_leaves_its_memory_on_the_disk_when_it_crashes(compose: Any) -> None:
    ours = {name: service for name, service in compose["services"].items() if name != "database"}
    assert {name for name, service in ours.items() if service["ulimits"] == {"core": 0}} == set(ours)


def test_how_to_deploy_tells_how_to_make_every_secret_and_its_commands_take_what_is_written(compose: Any) -> None:
    guide = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", "".join(line for line in guide.splitlines() if line.startswith("   |"))))
    assert set(compose["secrets"]) <= named
    console = re.search(r"```console\n(.*?)```", guide, re.DOTALL)
    assert console is not None
    service, _, *arguments = console[1].replace("\\\n", " ").split("--rm ")[1].split()
    read = {path.removeprefix("/run/secrets/") for path in arguments if path.startswith("/run/secrets/")}
    assert read <= set(compose["services"][service]["secrets"])
    command: Any = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        command = command.get_command(context, arguments.pop(0))
    options = {name for parameter in command.params for name in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= options
    assert "--apply" in arguments


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
