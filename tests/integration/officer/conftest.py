"""A partner's sound extract on the officer's own disk, and the command that checks it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import Agreement
from synthetic import generate_partnership, write_extracts

PARTNER, PERIOD = "bridge_housing", "2026-Q3"


@pytest.fixture(scope="session")
def agreement() -> Agreement:
    return load_agreement(default_agreement_folder())


@pytest.fixture(scope="session")
def sound_files(agreement: Agreement, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An extract without fault, by file name."""
    folder = tmp_path_factory.mktemp("extracts")
    write_extracts(generate_partnership(agreement, seed=3, people=300, periods=(PERIOD,)), folder)
    return {path.name: path.read_bytes() for path in (folder / PARTNER / PERIOD).iterdir()}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Writes an extract as a folder."""

    def make(files: dict[str, bytes]) -> Path:
        folder = tmp_path / PERIOD
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    return make


@pytest.fixture
def check() -> Callable[..., Result]:
    """Runs ``linkarms check``."""

    def run(*arguments: Any) -> Result:
        return CliRunner().invoke(main, ["check", *map(str, arguments)])

    return run


@pytest.fixture
def receipt_of(check: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    """The receipt that the command prints as JSON."""

    def run(*arguments: Any) -> dict[str, Any]:
        result = check(*arguments, "--json")
        assert result.exit_code in (0, 3), result.output
        receipt: dict[str, Any] = json.loads(result.stdout)
        return receipt

    return run
