"""The command line ``linkarms``. It loads a command's module when the command is called and not before, so that a data
officer's command loads what a data officer has installed.
"""

import contextlib
from importlib import import_module

import click

from pipeline.commands.common import Commands

COMMANDS = {
    "agreement": "agreement",
    "check": "check",
    "demo": "trial",
    "down": "trial",
    "intake": "intake",
    "keys": "keys",
    "linkage": "linkage",
    "partner": "partnership",
    "pseudonymise": "pseudonymise",
    "release": "release",
    "seal": "seal",
    "summary": "trial",
    "up": "trial",
    "warehouse": "warehouse",
    "wipe": "trial",
}
"""Command -> the module of :mod:`pipeline.commands` that holds it, under the command's own name."""


class LazyCommands(Commands):
    """The top level: a command is imported when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """All commands, in order of name."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name, or None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"pipeline.commands.{COMMANDS[cmd_name]}"), cmd_name)
        return command


@click.group(cls=LazyCommands)
@click.version_option(package_name="linkarms")
def main() -> None:
    """Linkarms: pooled evidence without pooled identities."""
    _leave_no_memory_on_the_disk()


def _leave_no_memory_on_the_disk() -> None:
    """No crash of this process, or of one that it starts, writes a core dump: identifiers and keys would be in it
    (``tests/privacy/test_crashes.py``)."""
    with contextlib.suppress(ImportError):  # Windows has no such limit, and writes no dump unless it is told to
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
