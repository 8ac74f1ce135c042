"""`linkarms warehouse`: the database."""

from pathlib import Path

import click

from pipeline.commands.common import read_settings, read_today


@click.group()
def warehouse() -> None:
    """The database."""


def _owner_url(owner_url_file: Path | None) -> str:
    from warehouse.server import EmbeddedServer

    if owner_url_file is not None:
        return owner_url_file.read_text(encoding="utf-8").strip()
    return EmbeddedServer(read_settings().home).url()


_owner_option = click.option(
    "--owner-url-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the URL of the database's owner; the trial's own server where it is left out.",
)


@warehouse.command(name="plan")
@_owner_option
def plan_warehouse(owner_url_file: Path | None) -> None:
    """Say which columns the agreement has and the database lacks."""
    from sqlalchemy import create_engine

    from pipeline.resources import read_agreement
    from warehouse.plan import plan_columns

    with create_engine(_owner_url(owner_url_file)).connect() as conn:
        plan = plan_columns(conn, read_agreement(read_settings()))
    for column in plan:
        click.echo(f"add {column.table}.{column.column} ({column.type})")
    click.echo(f"{len(plan)} columns to add")


@warehouse.command(name="upgrade")
@_owner_option
def upgrade_warehouse(owner_url_file: Path | None) -> None:
    """Bring the schema up to date, apply the plan, and give everyone exactly the agreement's rights."""
    from sqlalchemy import make_url

    from pipeline.set_up import set_up_warehouse

    settings = read_settings()
    password = make_url(settings.database_url()).password
    set_up_warehouse(settings, _owner_url(owner_url_file), str(password) if password else None, today=read_today())
    click.echo("The warehouse is up to date.")


@warehouse.command(name="erase")
@click.argument("submission_id")
@click.option("--by", required=True, help="Who erases it.")
@click.option("--reason", required=True, help="Why.")
def erase_from_warehouse(submission_id: str, by: str, reason: str) -> None:
    """Delete all rows of a submission; a release that waits for approval over it can no longer be published."""
    from pipeline.release_steps import erase

    click.echo(f"{erase(submission_id, by=by, reason=reason, settings=read_settings()):,} rows erased")
