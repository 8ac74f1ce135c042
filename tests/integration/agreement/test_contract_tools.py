"""The contracts against the tools of their own standard: the JSON schema of ODCS 3.2.0 and `datacontract lint`.

The tools want other versions of our packages, so they get a virtual environment of their own, from pinned versions with
hashes, in a cache folder. Downloading is left to `make test-full`.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator

pytestmark = pytest.mark.contract_tools

ROOT = Path(__file__).parents[3]
PINNED = ROOT / "requirements" / "contract-tools.txt"
CONTRACTS = (ROOT / "protocol/agreement/v1/casework.odcs.yaml", ROOT / "examples/hmis/v1/casework.odcs.yaml")

Lint = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of the tools' virtual environment, made once for these pins and this Python."""
    if not os.environ.get("LINKARMS_NO_SKIPS"):
        pytest.skip("`make test-full` installs the standard's own tools and runs this")
    pins = hashlib.sha256(PINNED.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linkarms"
    folder = cache / f"contract-tools-{pins}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = cache / f"contract-tools-{pins}.{os.getpid()}.part"
        subprocess.run([sys.executable, "-m", "venv", "--copies", str(unfinished)], check=True)
        _install(unfinished / "bin" / "python")
        try:
            unfinished.rename(folder)
        except OSError:  # another run was quicker
            shutil.rmtree(unfinished)
    return folder


def _install(python: Path) -> None:
    """By uv where it reaches the index that pip is set up for, else by pip, as in `make install`."""
    uv = Path(sys.executable).with_name("uv")
    by_uv = [str(uv), "--system-certs", "pip", "install", "--quiet", "--python", str(python)]
    by_pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = ["--require-hashes", "-r", str(PINNED)]
    if not uv.is_file() or subprocess.run([*by_uv, *wanted], check=False, capture_output=True).returncode:
        subprocess.run([*by_pip, *wanted], check=True)


@pytest.fixture(scope="session")
def schema(tools: Path) -> dict[str, Any]:
    """The standard's JSON schema, as its tools carry it."""
    (path,) = tools.glob("lib/python*/site-packages/datacontract/schemas/odcs-3.2.0.schema.json")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="session")
def lint(tools: Path) -> Lint:
    """`datacontract lint` of a file."""

    def run(path: Path) -> "subprocess.CompletedProcess[str]":
        # By its module, since the scripts of a folder that was moved name the old one.
        start = "from datacontract.cli import app; app()"
        command = [
            str(tools / "bin" / "python"),
            "-c",
            start,
            "lint",
            "--all-errors",
            "--no-inline-references",
            str(path),
        ]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    return run


def read(path: Path) -> dict[str, Any]:
    """The file as any YAML reader has it."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda path: path.parts[-3])
def test_contract_holds_against_the_schema_of_the_standard(schema: dict[str, Any], contract: Path) -> None:
    faults = [
        f"{fault.json_path}: {fault.message}" for fault in Draft201909Validator(schema).iter_errors(read(contract))
    ]
    assert faults == []


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda path: path.parts[-3])
def test_contract_passes_datacontract_lint(lint: Lint, contract: Path) -> None:
    told = lint(contract)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "ODCS v3.2.0" in told.stdout


@pytest.mark.parametrize(
    ("old", "new"), [("logicalType: date", "logicalType: day"), ("primaryKey: true", "primaryKey: perhaps")]
)
def test_contract_that_the_standard_forbids_is_refused_by_both(
    schema: dict[str, Any], lint: Lint, tmp_path: Path, old: str, new: str
) -> None:
    text = CONTRACTS[0].read_text(encoding="utf-8")
    assert old in text
    spoilt = tmp_path / "casework.odcs.yaml"
    spoilt.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert not Draft201909Validator(schema).is_valid(read(spoilt))
    assert lint(spoilt).returncode != 0
