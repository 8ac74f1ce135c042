"""Runs a partner's whole intake in a process of its own that kills itself at a chosen moment.

Started once as a script; each line on standard input is a request, answered by the signal that ended the fork. The
moment is an event of Python's own audit hooks (a file opened, a folder renamed), so that the code under test is run as
it is and ends where it would with the power.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import great_expectations  # noqa: F401 (takes seconds; forks have it already)

from pipeline import intake_steps
from pipeline.settings import Settings
from protocol.errors import SubmissionRefused


def die_at(event: str, ending: str, number: int) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that ends the process before the ``number``-th such event, by what its last path holds."""
    left = number

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if name != event:
            return
        paths = [str(argument) for argument in arguments if isinstance(argument, str | os.PathLike)]
        path = paths[1] if name == "os.rename" else paths[0] if paths else ""
        if ending in path:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def run(request: dict[str, Any]) -> None:
    """The intake of everything that waits, step by step."""
    settings = Settings.from_environment(request["environment"])
    now = datetime.fromisoformat(request["now"])
    sys.addaudithook(die_at(*request["die"]))
    for waiting in intake_steps.receive_submissions(request["partner"], settings, now=now):
        for step in ("check_submission", "pseudonymise_submission", "load_submission"):
            try:
                getattr(intake_steps, step)(waiting["submission_id"], settings, now=now)
            except SubmissionRefused:
                break
            if request["die"][0] == "after" and request["die"][1] == step:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Answers requests until standard input ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(json.loads(line))
            finally:
                sys.stderr.flush()
                os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
