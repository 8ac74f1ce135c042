"""`linkarms keys`: the partnership's keys."""

from datetime import UTC, datetime

import click

from pipeline.commands.common import read_settings


@click.group()
def keys() -> None:
    """The partnership's keys."""


@keys.command(name="create")
def create_keys() -> None:
    """Make the key file that the settings name, unless it is there; say the keys' ids."""
    from pseudonymise.keys import open_key_ring

    settings = read_settings()
    ring = open_key_ring(settings.key_source, now=datetime.now(UTC), environ=settings.environment, create=True)
    click.echo(f"key ring {ring.key_id}")
