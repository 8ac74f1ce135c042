"""What several commands need: the settings, the day, and the way in which a command fails."""

import os
import sys
from datetime import UTC, date, datetime

import click

from pipeline.settings import Settings
from protocol.errors import LinkarmsError


class Commands(click.Group):
    """A group whose commands end with one plain sentence and an exit code where Linkarms stops on purpose."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a :class:`LinkarmsError` is told on standard error without a traceback."""
        try:
            return super().invoke(ctx)
        except LinkarmsError as error:
            click.echo(f"linkarms: {error}", err=True)
            sys.exit(error.exit_code)


def read_settings() -> Settings:
    """The settings of the environment that the command was started in."""
    return Settings.from_environment(os.environ)


def read_today() -> date:
    """The day, by UTC."""
    return datetime.now(UTC).date()
