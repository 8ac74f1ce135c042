"""What several commands need: the settings, the day, and the way in which a command fails."""

import os
import sys
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import click

from pipeline.settings import Settings
from protocol.errors import KeyUnavailable, LinkarmsError

OUR_PACKAGES = frozenset(
    {"evidence", "expectations", "intake", "linkage", "pipeline", "protocol", "pseudonymise", "synthetic", "warehouse"}
)


class Commands(click.Group):
    """A group whose commands end with one plain sentence and an exit code where Linkarms stops on purpose."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a :class:`LinkarmsError` is told on standard error without a traceback."""
        try:
            return super().invoke(ctx)
        except LinkarmsError as error:
            click.echo(f"linkarms: {error}", err=True)
            sys.exit(error.exit_code)
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] in OUR_PACKAGES:
                raise
            click.echo(
                f"linkarms: this command needs {missing.name}, which an installation for data officers leaves out. "
                'Install the rest with: pip install "linkarms[trial]"',
                err=True,
            )
            sys.exit(LinkarmsError.exit_code)


agreement_option = click.option(
    "--agreement",
    "agreement_folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the agreement; that of the settings (LINKARMS_AGREEMENT) where it is left out.",
)


owner_option = click.option(
    "--owner-url-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the URL of the database's owner; the trial's own server where it is left out.",
)


def find_owner_url(owner_url_file: Path | None) -> str:
    """URL of the database's owner: from the file, or the trial's own server."""
    from warehouse.server import EmbeddedServer

    if owner_url_file is not None:
        return owner_url_file.read_text(encoding="utf-8").strip()
    return EmbeddedServer(read_settings().home).url()


@cache
def ask_passphrase() -> str:
    """The passphrase of the key file from whoever sits at the terminal, once a process."""
    if not sys.stdin.isatty():
        raise KeyUnavailable(
            "The key file is locked. Set LINKARMS_KEYS_PASSPHRASE_FILE to a private file with its passphrase."
        )
    return str(click.prompt("Passphrase of the keys", hide_input=True, err=True))


def read_settings(agreement_folder: Path | None = None) -> Settings:
    """The settings of the environment that the command was started in, with another agreement where one is named."""
    more = {} if agreement_folder is None else {"LINKARMS_AGREEMENT": str(agreement_folder)}
    return Settings.from_environment({**os.environ, **more}, ask_passphrase=ask_passphrase)


def read_today() -> date:
    """The day, by UTC."""
    return datetime.now(UTC).date()
