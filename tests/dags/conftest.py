"""The DAGs of a small compiled agreement as Airflow reads them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol import default_agreement_folder, load_agreement, write_compiled

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(scope="session")
def describe(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], tuple[dict[str, Any], str]]:
    """Describes the DAGs of a Linkarms home, and gives what was said on standard error."""

    def run(home: Path) -> tuple[dict[str, Any], str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        environment |= {
            "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "LINKARMS_HOME": str(home),
        }
        ended = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("describe_dags.py")), str(DAGS)],
            env=environment,
            cwd=home,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return json.loads(ended.stdout), ended.stderr

    return run


@pytest.fixture(scope="session")
def described(
    describe: Callable[[Path], tuple[dict[str, Any], str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The DAGs of the example agreement."""
    home = tmp_path_factory.mktemp("linkarms")
    write_compiled(load_agreement(default_agreement_folder()), home / "compiled" / "agreement.json")
    return describe(home)[0]
