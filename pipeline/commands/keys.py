"""`linkarms keys`: the partnership's keys, and those that drops are sealed to."""

from datetime import UTC, datetime
from pathlib import Path

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


@keys.command(name="sealing-create")
@click.option("--rotate", is_flag=True, help="Make a new key beside those that are there.")
def create_sealing_key(rotate: bool) -> None:
    """Make the hub's sealing key, unless it is there; print the public key that partners seal to.

    After --rotate, give partners the new public key. The former keys open what was sealed to them until each is
    retired.
    """
    from pipeline.resources import open_sealing
    from pseudonymise.sealing import open_sealing_keys, write_sealing_keys

    settings, now = read_settings(), datetime.now(UTC)
    kind, _, path = settings.sealing_source.partition(":")
    is_new = kind == "file" and not Path(path).exists()
    if kind == "file":
        held = open_sealing_keys(settings.sealing_source, now=now, create=True)
    else:
        held = open_sealing(settings, now=now)
    if rotate and not is_new:
        held = held.with_new(now)
        write_sealing_keys(settings.sealing_source, held)
    click.echo(held.public.line)


@keys.command(name="sealing-public")
@click.option("--out", type=click.Path(path_type=Path), help="A file to write it to, for partners.")
def show_sealing_key(out: Path | None) -> None:
    """Print the public key that partners seal to; on standard error, which keys are held."""
    from pipeline.resources import open_sealing

    held = open_sealing(read_settings(), now=datetime.now(UTC))
    for key_id in held.ids:
        use = "seals and opens" if key_id == held.public.id else "opens only"
        click.echo(f"key {key_id} made {held.created[key_id]:%Y-%m-%d}: {use}", err=True)
    if out is not None:
        out.write_text(f"{held.public.line}\n", encoding="ascii")
    click.echo(held.public.line)


@keys.command(name="sealing-retire")
@click.argument("key_id")
def retire_sealing_key(key_id: str) -> None:
    """Remove a former sealing key for good. What was sealed to it and not taken in yet can then never be opened."""
    from pipeline.resources import open_sealing
    from pipeline.sealed_drops import waiting_under
    from protocol.errors import NotYet
    from pseudonymise.sealing import write_sealing_keys

    settings = read_settings()
    if waiting := waiting_under(key_id, settings):
        raise NotYet(
            f"{', '.join(waiting)}: taken in under this key and not loaded yet. Finish the intake before it is retired."
        )
    left = open_sealing(settings, now=datetime.now(UTC)).without(key_id)
    write_sealing_keys(settings.sealing_source, left)
    click.echo(f"key {key_id} is retired; left: {', '.join(left.ids)}")
