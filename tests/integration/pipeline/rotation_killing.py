"""Runs rotations in a process of its own that kills itself at a chosen moment.

Started once as a script, as :mod:`tests.integration.pipeline.killing` is; each line on standard input is a request,
answered by the signal that ended the fork. A moment is a file that is about to be renamed, or a statement that is about
to be sent to PostgreSQL.
"""

import json
import os
import signal
import sys
from datetime import datetime
from typing import Any

import polars  # noqa: F401 (forks have it already)
import polars_hash  # noqa: F401
import psycopg

from pipeline.key_rotation import rotate_outer
from pipeline.settings import Settings
from tests.integration.pipeline.killing import die_at


def die_before(words: str) -> None:
    """End the process before the first statement that has these words in it, whichever way it is sent."""

    def watch(name: str) -> None:
        original = getattr(psycopg.Cursor, name)

        def watched(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:
            if words in (query if isinstance(query, str) else query.as_string(None)):
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, query, *arguments, **named)

        setattr(psycopg.Cursor, name, watched)

    watch("execute")
    watch("copy")


def die_before_the_commit() -> None:
    """End the process before it commits a rotation."""
    original = psycopg.Connection.commit

    def commit(self: Any) -> None:
        recorded = self.execute("select count(*) from governance.key_change").fetchone()
        if recorded[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        original(self)

    psycopg.Connection.commit = commit  # type: ignore[method-assign]


def run(request: dict[str, Any]) -> None:
    """One rotation of K2."""
    kind, words, number = request["die"]
    if kind == "rename":
        sys.addaudithook(die_at("os.rename", words, number))
    elif kind == "statement":
        die_before(words)
    else:
        die_before_the_commit()
    settings = Settings.from_environment(request["environment"])
    now = datetime.fromisoformat(request["now"])
    rotate_outer(settings, request["owner"], by="c", reason="r", now=now)


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
