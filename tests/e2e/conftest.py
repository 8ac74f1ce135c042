"""One demo through a real Airflow, run as a user runs it, and left running for the tests of this folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import Settings
from pipeline.trial.supervisor import Trial, find_trial
from tests.e2e.browser import CHROMIUM, QUIET, open_page

PEOPLE = 400


@dataclass(frozen=True)
class Demo:
    """What a demo wrote and said."""

    settings: Settings
    output: str

    @property
    def home(self) -> Path:
        """Its ``LINKARMS_HOME``."""
        return self.settings.home

    @property
    def trial(self) -> Trial:
        """The Airflow that it left running."""
        trial = find_trial(self.home)
        assert trial is not None
        return trial


def run_linkarms(home: Path, *arguments: str, seconds: int = 540) -> "subprocess.CompletedProcess[str]":
    """Run the command line with a home folder of its own, as on a machine that has never seen Linkarms."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "LINKARMS"))}
    environment |= {"LINKARMS_HOME": str(home), "HOME": str(home.parent), "PYTHONUNBUFFERED": "1"}
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        env=environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def settings_of(home: Path) -> Settings:
    """The settings that a command with that home has."""
    return Settings.from_environment({"LINKARMS_HOME": str(home)})


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo of a small partnership whose Airflow and database still run."""
    home = tmp_path_factory.mktemp("fresh") / "var"
    try:
        done = run_linkarms(home, "demo", "--people", str(PEOPLE), "--keep")
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        yield Demo(settings_of(home), done.stdout)
    finally:
        run_linkarms(home, "wipe", seconds=120)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium of this system."""
    if CHROMIUM is None:
        pytest.skip("Chromium is missing; `make test-full` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that may ask this machine alone."""
    with open_page(browser, r"(file|data|blob|about):|http://127\.0\.0\.1[:/]") as opened:
        yield opened


@pytest.fixture
def offline_page(browser: Any) -> Iterator[Any]:
    """A page without a network, which may ask for files alone."""
    with open_page(browser, "file:", offline=True) as opened:
        yield opened
