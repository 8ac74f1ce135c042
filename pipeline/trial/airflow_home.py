"""What Airflow's components need to know: folders, secrets and settings, all by environment variables.

Everything lies below the home folder of :class:`pipeline.settings.Settings`::

    airflow/                    AIRFLOW_HOME
    logs/<component>.log        what a component says
    logs/tasks/                 the tasks' logs, as Airflow's pages show them
    secrets/airflow.json        keys that Airflow signs and encrypts with, mode 0600
    secrets/airflow-logins.json names and passwords of the trial's people, mode 0600
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import read_json, write_json
from pipeline.settings import Settings
from protocol.errors import LinkarmsError

ROLES = {"coordinator": "op", "admin": "admin"}
"""The trial's people and their roles in Airflow's simple auth manager; ``op`` may trigger, clear and approve."""

PRELOADED = (
    "airflow.dag_processing.dagbag",
    "airflow.executors.local_executor",
    "airflow.executors.workloads",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.operators.hitl",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "great_expectations",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
)
"""Modules that the process from which all tasks are forked imports once. Without it each check would spend six
seconds importing Great Expectations. Polars is left out on purpose: it starts threads, which a fork does not carry."""


@dataclass(frozen=True)
class AirflowSecrets:
    """Keys of one trial. Not shown by ``repr``."""

    fernet_key: str
    jwt_secret: str
    api_secret_key: str

    def __repr__(self) -> str:
        return "AirflowSecrets(...)"


def dags_folder() -> Path:
    """The checkout's ``dags/``. Raises :class:`LinkarmsError` where the packages are installed without it."""
    folder = Path(__file__).resolve().parents[2] / "dags"
    if not (folder / "partner_intake.py").exists():
        raise LinkarmsError("The trial runs from a checkout, since it needs the folder dags/. Clone the project first.")
    return folder


def ensure_secrets(home: Path) -> AirflowSecrets:
    """The trial's keys, made at random at the first call and read after that."""
    path = home / "secrets" / "airflow.json"
    made = {
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "jwt_secret": secrets.token_hex(64),
        "api_secret_key": secrets.token_hex(32),
    }
    return AirflowSecrets(**_read_or_write(path, made))


def ensure_logins(home: Path) -> dict[str, str]:
    """Passwords of the trial's people by name, made at random at the first call and read after that."""
    return _read_or_write(_logins_file(home), {name: secrets.token_urlsafe(12) for name in ROLES})


def component_environment(
    settings: Settings, *, database_url: str, port: int, dags: Path, base: Mapping[str, str]
) -> dict[str, str]:
    """Environment of every component and, through them, of every task.

    ``base`` is the caller's environment; variables of another Airflow in it are left out. ``database_url`` is the
    metadata database by psycopg 3, which serves Airflow's blocking and asynchronous sessions alike.
    """
    home = settings.home
    keys = ensure_secrets(home)
    ensure_logins(home)
    url = f"http://127.0.0.1:{port}"
    bundle = {
        "name": "linkarms",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(dags), "refresh_interval": 30},
    }
    environment = {name: value for name, value in base.items() if not name.startswith("AIRFLOW")}
    loopback = ",".join(filter(None, (base.get("NO_PROXY") or base.get("no_proxy"), "127.0.0.1", "localhost")))
    environment |= {
        "LINKARMS_HOME": str(home),
        "LINKARMS_AGREEMENT": str(settings.agreement_folder),
        "LINKARMS_KEYS": settings.key_source,
        "NO_PROXY": loopback,
        "no_proxy": loopback,
        # Two cores: the numerical libraries would otherwise start as many threads as there are cores in each task.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "GX_ANALYTICS_ENABLED": "False",
        # Process titles would be written over the environment, by which the supervisor knows its own processes.
        "SPT_NOENV": "1",
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_HOME": str(home / "airflow"),
    }
    options: dict[str, dict[str, object]] = {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": max(2, min(os.cpu_count() or 2, 4)),
            "load_examples": False,
            "dags_are_paused_at_creation": False,
            "default_timezone": "Europe/London",
            "fernet_key": keys.fernet_key,
            "execution_api_server_url": f"{url}/execution/",
            "simple_auth_manager_users": ",".join(f"{name}:{role}" for name, role in ROLES.items()),
            "simple_auth_manager_passwords_file": _logins_file(home),
        },
        "database": {"sql_alchemy_conn": database_url, "sql_alchemy_conn_async": database_url},
        "api": {
            "host": "127.0.0.1",
            "port": port,
            "base_url": url,
            "workers": 1,
            "secret_key": keys.api_secret_key,
            "instance_name": "Linkarms",
            "expose_config": False,
            "default_wrap": True,
        },
        "api_auth": {"jwt_secret": keys.jwt_secret},
        "logging": {
            "base_log_folder": home / "logs" / "tasks",
            "dag_processor_child_process_log_directory": home / "logs" / "dag_processor",
            "colored_console_log": False,
            "file_task_handler_new_folder_permissions": "0o700",
            "file_task_handler_new_file_permissions": "0o600",
        },
        "scheduler": {
            "scheduler_heartbeat_sec": 1,
            "scheduler_idle_sleep_time": 0.2,
            "job_heartbeat_sec": 2,
            # A task whose process was killed is found after a minute, not after five.
            "task_instance_heartbeat_timeout": 60,
            "orphaned_tasks_check_interval": 30,
            "mp_start_method": "forkserver",
            "mp_forkserver_preload": ",".join(PRELOADED),
        },
        "dag_processor": {
            "dag_bundle_config_list": json.dumps([bundle]),
            "min_file_process_interval": 30,
            "parsing_processes": 1,
        },
        # A worker notices the end of its task at its next heartbeat when the process outlives its sockets.
        "workers": {"min_heartbeat_interval": 1},
    }
    for section, entries in options.items():
        for option, value in entries.items():
            environment[f"AIRFLOW__{section.upper()}__{option.upper()}"] = str(value)
    return environment


def _logins_file(home: Path) -> Path:
    return home / "secrets" / "airflow-logins.json"


def _read_or_write(path: Path, made: dict[str, str]) -> dict[str, str]:
    """Read a file of secrets, written with mode 0600 at the first call. Callers hold the supervisor's lock."""
    if not path.exists():
        write_json(path, made)
    found: dict[str, str] = read_json(path)
    return found
