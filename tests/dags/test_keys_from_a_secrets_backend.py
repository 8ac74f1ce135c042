"""Keys that Airflow's secrets backend holds reach the steps of both DAG files, and nothing else of Airflow."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pseudonymise.keys import open_key_ring

DAGS = Path(__file__).resolve().parents[2] / "dags"
PROGRAM = """
import importlib.util, sys
from datetime import UTC, datetime
from pipeline.resources import open_keys
spec = importlib.util.spec_from_file_location("dag_file", sys.argv[1])
dag_file = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dag_file)
print(open_keys(dag_file.open_settings(), now=datetime.now(UTC)).key_id)
"""


@pytest.mark.parametrize("dag_file", ["partner_intake.py", "evidence_release.py"])
def test_a_task_opens_keys_that_are_the_password_of_a_connection(dag_file: str, tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    ring = open_key_ring(f"file:{path}", now=datetime.now(UTC), create=True)
    connection = {"conn_type": "generic", "password": path.read_text(encoding="ascii")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "LINKARMS"))}
    environment |= {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW_CONN_LINKARMS_KEYS": json.dumps(connection),
        "LINKARMS_HOME": str(tmp_path / "home"),
        "LINKARMS_KEYS": "secret:linkarms_keys",
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(DAGS / dag_file)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.split()[-1:] == [ring.key_id], ended.stderr[-2000:]
    secret = path.read_text(encoding="ascii").split("LINKARMS-SECRET-")[1].split()[0]
    assert secret not in ended.stdout + ended.stderr
