"""`linkarms keys`: the partnership's keys, and those that drops are sealed to."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from pipeline.commands.common import agreement_option, find_owner_url, owner_option, read_settings
from pipeline.settings import Settings
from protocol.errors import KeyUnavailable


@click.group()
def keys() -> None:
    """The partnership's keys."""


@keys.command(name="create")
@click.option("--lock", is_flag=True, help="Have the file unlocked by a passphrase only.")
def create_keys(lock: bool) -> None:
    """Make the key file that the settings name, unless it is there; say the keys' ids.

    The passphrase is in LINKARMS_KEYS_PASSPHRASE, in the private file that LINKARMS_KEYS_PASSPHRASE_FILE names, or
    asked for.
    """
    from pseudonymise.keys import open_key_ring

    settings = read_settings()
    kind, _, path = settings.key_source.partition(":")
    is_new = kind == "file" and not Path(path).exists()
    new = _new_passphrase(settings, "LINKARMS_KEYS_PASSPHRASE") if lock and is_new else None
    ring = open_key_ring(
        settings.key_source,
        now=datetime.now(UTC),
        environ=settings.environment,
        create=True,
        passphrase=settings.passphrase() if new is None else lambda: new,
        lock=lock,
    )
    click.echo(f"key ring {ring.key_id}")


@keys.command(name="lock")
def lock_keys() -> None:
    """Have the key file unlocked by a passphrase only, or by another one from now on.

    The new passphrase is in LINKARMS_KEYS_NEW_PASSPHRASE, in the private file that LINKARMS_KEYS_NEW_PASSPHRASE_FILE
    names, or asked for; the present one, where there is one, as for every command.
    """
    from pipeline.files import locked
    from pipeline.resources import open_keys
    from pseudonymise.keys import write_key_ring

    settings = read_settings()
    with locked(settings.lock("keys")):
        ring = open_keys(settings, now=datetime.now(UTC))
        new = _new_passphrase(settings, "LINKARMS_KEYS_NEW_PASSPHRASE")
        write_key_ring(settings.key_source, ring, passphrase=lambda: new, lock=True)
    click.echo(f"key ring {ring.key_id} is locked")


def _new_passphrase(settings: Settings, variable: str) -> str:
    """A passphrase that is about to be set: given, or asked for twice."""
    if variable in settings.environment or f"{variable}_FILE" in settings.environment:
        given = settings.passphrase(variable)
        if given is not None:
            return given()
    if not sys.stdin.isatty():
        raise KeyUnavailable(f"Set {variable}_FILE to a private file with the passphrase.")
    return str(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True))


@keys.command(name="partner-key")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write, in a private folder.")
@click.option("--pending", is_flag=True, help="The K1 that waits to come into use, in the place of the present one.")
def write_partner_key(out: Path, pending: bool) -> None:
    """Write K1 alone to a file that a passphrase unlocks, for a partner that pseudonymises at its own site.

    The passphrase is in LINKARMS_K1_PASSPHRASE, in the private file that LINKARMS_K1_PASSPHRASE_FILE names, or asked
    for. Tell it on another way than the file.
    """
    from pipeline.key_rotation import read_rings
    from pseudonymise.partner_key import export_partner_key

    settings = read_settings()
    rings = read_rings(settings, now=datetime.now(UTC))
    if not rings.fit:
        raise KeyUnavailable("The keys at hand are not the warehouse's. Point LINKARMS_KEYS at those used before.")
    ring = rings.in_force
    if pending:
        waiting = ring.pending("K1")
        if waiting is None:
            raise KeyUnavailable("No K1 waits to come into use; `linkarms keys rotate --layer K1 --prepare` makes one.")
        ring = ring.with_inner(waiting)
    new = _new_passphrase(settings, "LINKARMS_K1_PASSPHRASE")
    click.echo(f"{out} holds K1 {export_partner_key(ring, out, lambda: new)}, locked by the passphrase.")


@keys.command(name="list")
def list_keys() -> None:
    """List the keys by id with state and dates, and say which the warehouse is made with. Shows no secret.

    pending: not in use yet. active: in use. covered: a K2 that is applied below others. retired: a K1 of before.
    """
    from pipeline.key_rotation import read_rings

    rings = read_rings(read_settings(), now=datetime.now(UTC))
    for key in rings.held.keys:
        dates = [f"{moment:%Y-%m-%d %H:%M}" if moment else "-" for moment in (key.created, key.activated, key.retired)]
        click.echo(f"{key.layer} {key.id}  {key.state:<8} created {dates[0]}  activated {dates[1]}  retired {dates[2]}")
    click.echo(f"key ring {rings.in_force.key_id}")
    click.echo(f"warehouse {rings.recorded or 'not asked, or without pseudonyms'}")
    if rings.unfinished:
        click.echo("A rotation is in force and not marked in the file: run `linkarms keys rotate` again to end it.")
    if not rings.fit:
        raise KeyUnavailable("The keys at hand are not the warehouse's. Point LINKARMS_KEYS at those used before.")


@keys.command(name="rotate")
@click.option("--layer", type=click.Choice(["K2", "K1"]), default="K2", show_default=True, help="Which key.")
@click.option("--by", help="Who rotates.")
@click.option("--reason", help="Why.")
@click.option("--dry-run", is_flag=True, help="Say what it would change or cost, and change nothing.")
@click.option("--prepare", is_flag=True, help="Write the new key into the file as pending, and do no more.")
@click.option("--give-up-separations", is_flag=True, help="K1 only: forget which persons were parted.")
@agreement_option
@owner_option
def rotate_keys(
    layer: str,
    by: str | None,
    reason: str | None,
    dry_run: bool,
    prepare: bool,
    give_up_separations: bool,
    agreement_folder: Path | None,
    owner_url_file: Path | None,
) -> None:
    """Add a key and make it the one in use. Run by the custodian, with the rights of the database's owner.

    K2: everything stored is hashed once more, in one transaction; partners submit nothing again. K1: everything in
    force is set aside, and every partner submits it again in full; `--dry-run` says how much that is.
    """
    from pipeline.key_rotation import describe_rotation, prepare_key, rotate_inner, rotate_outer

    settings, now = read_settings(agreement_folder), datetime.now(UTC)
    if dry_run:
        for line in describe_rotation(settings, find_owner_url(owner_url_file), "K1" if layer == "K1" else "K2"):
            click.echo(line)
    elif prepare:
        key_id = prepare_key(settings, find_owner_url(owner_url_file), "K1" if layer == "K1" else "K2", now=now)
        click.echo(f"{layer} {key_id} is pending. Put the file's text wherever else the keys are kept, then rotate.")
    elif not (by or "").strip() or not (reason or "").strip():
        raise click.UsageError("--by and --reason say who rotates and why; the audit trail keeps both.")
    elif layer == "K1":
        done = rotate_inner(
            settings,
            find_owner_url(owner_url_file),
            by=str(by),
            reason=str(reason),
            give_up_separations=give_up_separations,
            now=now,
        )
        click.echo(f"key ring {done.after} is in force; {done.changed:,} submissions are set aside")
    else:
        done = rotate_outer(settings, find_owner_url(owner_url_file), by=str(by), reason=str(reason), now=now)
        click.echo(f"key ring {done.after} is in force; {done.changed:,} tokens and pseudonyms are renewed")


@keys.command(name="remove")
@click.argument("key_id")
def remove_key(key_id: str) -> None:
    """Remove a pending key or a retired K1 from the file for good."""
    from pipeline.key_rotation import remove_key as remove

    left = remove(key_id, read_settings(), now=datetime.now(UTC))
    click.echo(f"key {key_id} is removed; left: {', '.join(f'{key.layer} {key.id}' for key in left.keys)}")


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
