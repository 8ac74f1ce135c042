"""`linkarms warehouse`: the database."""

from contextlib import ExitStack
from pathlib import Path

import click

from pipeline.commands.common import agreement_option, find_owner_url, owner_option, read_settings, read_today
from protocol.errors import RightsDiffer


@click.group()
def warehouse() -> None:
    """The database."""


@warehouse.command(name="start")
@agreement_option
def start_warehouse(agreement_folder: Path | None) -> None:
    """Start the trial's database alone, without Airflow, and set it up as the agreement says."""
    from pipeline.trial.demo import prepare

    prepare(read_settings(agreement_folder), report=click.echo)


@warehouse.command(name="stop")
def stop_warehouse() -> None:
    """Stop the trial's database."""
    from warehouse.server import EmbeddedServer

    EmbeddedServer(read_settings().home).stop()
    click.echo("PostgreSQL has stopped.")


@warehouse.command(name="plan")
@owner_option
def plan_warehouse(owner_url_file: Path | None) -> None:
    """Say which columns the agreement has and the database lacks."""
    from sqlalchemy import create_engine

    from pipeline.resources import read_agreement
    from warehouse.plan import plan_columns

    with create_engine(find_owner_url(owner_url_file)).connect() as conn:
        plan = plan_columns(conn, read_agreement(read_settings()))
    for column in plan:
        click.echo(f"add {column.table}.{column.column} ({column.type})")
    click.echo(f"{len(plan)} columns to add")


@warehouse.command(name="upgrade")
@owner_option
def upgrade_warehouse(owner_url_file: Path | None) -> None:
    """Bring the schema up to date, apply the plan, and give everyone exactly the agreement's rights."""
    from sqlalchemy import make_url

    from pipeline.set_up import set_up_warehouse

    settings = read_settings()
    password = make_url(settings.database_url()).password
    set_up_warehouse(settings, find_owner_url(owner_url_file), str(password) if password else None, today=read_today())
    click.echo("The warehouse is up to date.")


@warehouse.command(name="grants")
@agreement_option
@owner_option
@click.option(
    "--superuser-url-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the URL of a superuser, for what the owner may not see or alter; not needed for the trial.",
)
@click.option("--apply", "mend", is_flag=True, help="Issue the statements and print them.")
@click.option("--sql", "as_sql", is_flag=True, help="Print the statements and run none.")
def compare_rights(
    agreement_folder: Path | None,
    owner_url_file: Path | None,
    superuser_url_file: Path | None,
    mend: bool,
    as_sql: bool,
) -> None:
    """Compare the rights in the live database with what the agreement grants today.

    Each difference is told in words. Exit code 0 where there is none (or none is left), 8 otherwise.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from evidence.catalogue import load_measures
    from pipeline.resources import read_agreement
    from pipeline.set_up import known_passwords, read_or_make_passwords
    from warehouse.grants import compare_grants, mend_grants

    if mend and as_sql:
        raise click.UsageError("--sql runs nothing, so it does not go with --apply.")
    settings = read_settings(agreement_folder)
    agreement = read_agreement(settings)
    views = [measure.id for measure in load_measures()]
    owner = create_engine(find_owner_url(owner_url_file), poolclass=NullPool)
    above_url = _superuser_url(owner_url_file, superuser_url_file)
    superuser = None if above_url is None else create_engine(above_url, poolclass=NullPool)
    if mend:
        passwords = read_or_make_passwords(settings, agreement)
        done = mend_grants(
            owner, agreement, read_today(), evidence_views=views, passwords=passwords, superuser=superuser
        )
        for difference in done.ended:
            click.echo(f"mended: {difference.sentence}")
            for statement in difference.shown:
                click.echo(f"    {statement};")
        found = done.left
    else:
        with ExitStack() as stack:
            conn = stack.enter_context(owner.connect())
            above = None if superuser is None else stack.enter_context(superuser.connect())
            found = compare_grants(
                conn,
                agreement,
                read_today(),
                evidence_views=views,
                passwords=known_passwords(settings),
                superuser=above,
            )
    for difference in found:
        click.echo(f"{'-- ' if as_sql else ''}{difference.sentence}")
        if as_sql or (difference.superuser and mend):
            for statement in difference.shown:
                click.echo(f"{statement};" if as_sql else f"    as a superuser: {statement};")
    if found:
        number = f"{len(found)} difference{'s' if len(found) > 1 else ''}"
        what_next = "a person decides on what is left." if mend else "--apply ends them, --sql shows how."
        raise RightsDiffer(f"{number} between the database and the agreement; {what_next}")
    click.echo(f"{'-- ' if as_sql else ''}The database gives what the agreement grants today, and nothing else.")


def _superuser_url(owner_url_file: Path | None, superuser_url_file: Path | None) -> str | None:
    from warehouse.server import SUPERUSER, EmbeddedServer

    if superuser_url_file is not None:
        return superuser_url_file.read_text(encoding="utf-8").strip()
    return EmbeddedServer(read_settings().home).url(SUPERUSER) if owner_url_file is None else None


@warehouse.command(name="custodian")
@owner_option
@click.argument("login")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A new file for the login's address.")
@click.option("--remove", is_flag=True, help="Take the login away; what was decided under it stays.")
def make_custodian(owner_url_file: Path | None, login: str, out: Path | None, remove: bool) -> None:
    """Make the database login of one person who looks after linkage, or give it a new password.

    Give each custodian a login of their own, and the file with its address to that person alone.
    """
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.pool import NullPool

    from pipeline.files import open_private
    from warehouse.roles import ensure_custodian, remove_custodian
    from warehouse.server import new_password

    if remove == (out is not None):
        raise click.UsageError("Name a file with --out, or --remove the login.")
    owner = find_owner_url(owner_url_file)
    with create_engine(owner, poolclass=NullPool).begin() as conn:
        if out is None:
            remove_custodian(conn, login)
            click.echo(f"{login} is no custodian any more.")
            return
        if out.exists():
            raise click.UsageError(f"{out} is there already. Name a new file.")
        password = new_password()
        ensure_custodian(conn, login, password)
        url = make_url(owner).set(username=login, password=password).render_as_string(hide_password=False)
        with open_private(out) as file:
            file.write(f"{url}\n".encode())
    click.echo(f"{login} is a custodian. {out} holds the address with its password: give it to that person alone.")


@warehouse.command(name="erase")
@click.argument("submission_id")
@click.option("--by", required=True, help="Who erases it.")
@click.option("--reason", required=True, help="Why.")
def erase_from_warehouse(submission_id: str, by: str, reason: str) -> None:
    """Delete all rows of a submission; a release that waits for approval over it can no longer be published."""
    from pipeline.release_steps import erase

    click.echo(f"{erase(submission_id, by=by, reason=reason, settings=read_settings()):,} rows erased")
