"""The tutorial is run: every command block, in order, in an empty folder, with a database and without Airflow."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "start-a-partnership.md"
QUARTER_OF_THE_TEXT = "2026-Q3"


def last_ended_quarter() -> str:
    """The quarter before today's, which a reader puts in place of the tutorial's."""
    today = datetime.now(UTC).date()
    number = today.year * 4 + (today.month - 1) // 3 - 1
    return f"{number // 4}-Q{number % 4 + 1}"


def blocks() -> list[tuple[str, str]]:
    """(language, content) of every fenced block."""
    text = TUTORIAL.read_text(encoding="utf-8").replace(QUARTER_OF_THE_TEXT, last_ended_quarter())
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def decide(agreement: Path, decisions: str) -> None:
    """Put each entry of a block in place of the entry of the same name, as a reader does with an editor."""
    text = agreement.read_text(encoding="utf-8")
    for entry in re.split(r"(?m)^(?=\w)", decisions)[1:]:
        name = entry.partition(":")[0]
        text, count = re.subn(rf"(?m)^{name}:.*\n(?:[ ].*\n|\n(?=[ ]))*", lambda _, new=entry: new, text)
        assert count == 1, name
    agreement.write_text(text, encoding="utf-8")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """One shell for the whole tutorial, since it sets variables; its database is removed afterwards."""
    tmp_path.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINKARMS_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    process = subprocess.Popen(
        ["bash"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()
    if (tmp_path / "home").exists():
        from warehouse.server import EmbeddedServer

        EmbeddedServer(tmp_path / "home").wipe()


def run(shell: subprocess.Popen[str], commands: str) -> str:
    """Run one block in the shell as a whole; its output, with the first command that fails told."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    # `set -e` within a group that is tested would be ignored, so the shell's own trap tells of a failure.
    shell.stdin.write(f"set -o pipefail; failed=0; trap 'failed=1; echo FAILED: $BASH_COMMAND' ERR\n{commands}\n")
    shell.stdin.write("trap - ERR; echo END-OF-BLOCK $failed\n")
    shell.stdin.flush()
    lines = []
    for line in shell.stdout:
        if line.startswith("END-OF-BLOCK"):
            assert line.split() == ["END-OF-BLOCK", "0"], "".join(lines)
            break
        lines.append(line)
    else:
        pytest.fail("".join(lines))
    return "".join(lines)


def test_every_command_of_the_tutorial_works_in_its_order(shell: subprocess.Popen[str], tmp_path: Path) -> None:
    told = ""
    for language, content in blocks():
        if language == "console":
            told += run(shell, content)
        else:
            decide(tmp_path / "lakeside" / "agreement.yaml", content)

    assert "is still open. Decide, and write here" in told
    assert "no faults in 5 tables" in told
    assert told.count("NOT SIGNED") == 0
    assert "The database gives what the agreement grants today, and nothing else." in told
    receipts = list((tmp_path / "home" / "outbox").glob("*/*/receipt.json")) or list(
        (tmp_path / "home" / "outbox").rglob("*.json")
    )
    assert len(receipts) == 2
    reports = list((tmp_path / "home" / "releases").rglob("*.html"))
    assert reports
    figures = reports[0].read_text(encoding="utf-8")
    assert "Lakeside Partnership" in figures
    assert yaml.safe_load((tmp_path / "lakeside" / "agreement.lock").read_text(encoding="utf-8"))
