"""A crash leaves nothing of a process's memory on the disk."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CRASH = """
import resource, signal, subprocess, sys
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
from pipeline.cli import main
main(["agreement", "--help"], standalone_mode=False)
ask = "import resource; print(*resource.getrlimit(resource.RLIMIT_CORE))"
subprocess.run([sys.executable, "-c", ask], check=True)
sys.stdout.flush()
signal.raise_signal(signal.SIGABRT)
"""
"""Allows itself core dumps, calls a command, asks what a process that it starts may leave, and crashes."""


def test_a_command_that_crashes_and_what_it_starts_write_no_core_dump(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CRASH],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode < 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "0 0"
    assert list(tmp_path.iterdir()) == []
