"""A connection that Airflow holds reaches the channel of the partner that names it."""

import json
import os
import subprocess
import sys
from pathlib import Path

DAG_FILE = Path(__file__).resolve().parents[2] / "dags" / "partner_intake.py"
PROGRAM = """
import importlib.util, sys
from pipeline.channels import open_channel
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import PartnerChannel
spec = importlib.util.spec_from_file_location("dag_file", sys.argv[1])
dag_file = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dag_file)
partner = load_agreement(default_agreement_folder()).partner("harbour_trust")
channels = (
    PartnerChannel(kind="sftp", connection="harbour_sftp", root="/north"),
    PartnerChannel(kind="s3", connection="harbour_store", root="bucket/north"),
)
for channel in channels:
    login = open_channel(dag_file.open_settings(), partner.model_copy(update={"channel": channel})).store.login
    print(login)
    print([getattr(login, name, None) for name in ("host", "port", "user", "host_keys", "key", "endpoint_url")])
    assert getattr(login, "secret", "hunter2/+") == "hunter2/+"
"""


def test_a_task_opens_channels_by_airflows_connections(tmp_path: Path) -> None:
    host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMVuNxtUA6nHXa6X1eZ2qfT0oZ8bqXU7vX0mK4x1b7Qd"
    sftp = {
        "conn_type": "sftp",
        "host": "files.example",
        "login": "north",
        "port": 2222,
        "extra": {"key_file": "/run/secrets/key", "host_key": host_key, "no_host_key_check": "true"},
    }
    store = {
        "conn_type": "aws",
        "login": "KEY",
        "password": "hunter2/+",
        "extra": {"endpoint_url": "https://storage.example", "region_name": "eu-west-2", "verify": False},
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "LINKARMS"))}
    environment |= {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW_CONN_HARBOUR_SFTP": json.dumps(sftp),
        "AIRFLOW_CONN_HARBOUR_STORE": json.dumps(store),
        "LINKARMS_HOME": str(tmp_path / "home"),
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(DAG_FILE)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert str(["files.example", 2222, "north", (host_key,), None, None]) in ended.stdout
    assert str([None, None, None, None, "KEY", "https://storage.example"]) in ended.stdout
    assert "hunter2" not in ended.stdout + ended.stderr
