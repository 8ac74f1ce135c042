"""What an installation for data officers says of commands that need more."""

import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import main


def test_a_command_of_the_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)  # as if it were not installed
    done = CliRunner().invoke(main, ["warehouse", "plan"])
    assert done.exit_code == 1
    assert 'pip install "linkarms[trial]"' in done.stderr
    assert "Traceback" not in done.output
