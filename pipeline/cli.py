"""The command line ``linkarms``. Imports lazily: a data officer's command loads what a data officer has installed."""

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path

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


def _settings() -> Settings:
    return Settings.from_environment(os.environ)


def _today() -> date:
    return datetime.now(UTC).date()


@click.group(cls=Commands)
@click.version_option(package_name="linkarms")
def main() -> None:
    """Linkarms: pooled evidence without pooled identities."""


# --- the trial --------------------------------------------------------------------------------------------------------

_agreement_option = click.option(
    "--agreement",
    "agreement_folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the agreement; the example that ships where it is left out.",
)


def _trial_settings(agreement_folder: Path | None, **defaults: str) -> Settings:
    environment = defaults | dict(os.environ)
    if agreement_folder is not None:
        environment["LINKARMS_AGREEMENT"] = str(agreement_folder)
    return Settings.from_environment(environment)


@main.command()
@_agreement_option
@click.option(
    "--extracts",
    type=click.Path(exists=True, path_type=Path),
    help="A folder with one folder of drops a partner, or one export that every partner's mapping reads.",
)
@click.option("--period", help="The period that one export for every partner is about, where there are several.")
@click.option("--people", default=3000, show_default=True, help="People of the synthetic partnership.")
@click.option("--seed", default=20260401, show_default=True, help="Seed of the synthetic partnership.")
@click.option("--keep", is_flag=True, help="Leave Airflow and the database running at the end.")
def demo(
    agreement_folder: Path | None, extracts: Path | None, period: str | None, people: int, seed: int, keep: bool
) -> None:
    """Run a whole partnership through Airflow to a published release."""
    from pipeline.trial.demo import run_demo

    run_demo(_trial_settings(agreement_folder), extracts=extracts, period=period, people=people, seed=seed, keep=keep)


@main.command()
@_agreement_option
def up(agreement_folder: Path | None) -> None:
    """Start the database and Airflow and leave them running; inboxes are looked into every five minutes."""
    from pipeline.trial.demo import start_trial

    start_trial(_trial_settings(agreement_folder, LINKARMS_INBOX_CHECK_MINUTES="5"))


@main.command()
def down() -> None:
    """Stop what `up` started."""
    from pipeline.trial.supervisor import stop_airflow

    stop_airflow(_settings(), report=click.echo)


@main.command()
def wipe() -> None:
    """Stop everything and delete all that Linkarms has written."""
    from pipeline.trial.demo import wipe_trial

    wipe_trial(_settings())


@main.command()
def summary() -> None:
    """Say what the published release holds and where everything lies."""
    from pipeline.summary import print_summary

    settings = _settings()
    print_summary(settings, truth=settings.home / "synthetic" / "truth", say=click.echo)


# --- the agreement ----------------------------------------------------------------------------------------------------


@main.group()
def agreement() -> None:
    """The signed agreement."""


@agreement.command(name="show")
def show_agreement() -> None:
    """Say what the agreement is, who has signed it, and whether its files hold together."""
    from pipeline.resources import read_agreement
    from protocol.gate import is_signed

    signed = read_agreement(_settings())
    click.echo(f"{signed.title}, version {signed.version}, {signed.term.starts} to {signed.term.ends}")
    click.echo(f"digest {signed.digest}")
    for partner in signed.partners:
        click.echo(f"  {partner.name:<40} {partner.tier:<6} {'signed' if is_signed(signed, partner) else 'NOT SIGNED'}")


@agreement.command(name="compile")
def compile_agreement() -> None:
    """Write the small file that Airflow's DAGs are made from."""
    from pipeline.resources import read_agreement
    from protocol.compiled import write_compiled

    settings = _settings()
    write_compiled(read_agreement(settings), settings.compiled_agreement, settings.inbox_check_minutes)
    click.echo(settings.compiled_agreement)


@agreement.command(name="sign")
@click.argument("partner_id")
@click.option("--by", required=True, help="The office that signs, such as 'Director of Adult Services'.")
def sign_agreement(partner_id: str, by: str) -> None:
    """Record a partner's signature under the agreement's text as it stands."""
    from protocol.digest import sign

    signature = sign(_settings().agreement_folder, partner_id, by, _today())
    click.echo(f"{partner_id} signed version {signature.version} (digest {signature.digest[:12]}...)")


# --- the warehouse and keys -------------------------------------------------------------------------------------------


@main.group()
def warehouse() -> None:
    """The database."""


def _owner_url(owner_url_file: Path | None) -> str:
    from warehouse.server import EmbeddedServer

    if owner_url_file is not None:
        return owner_url_file.read_text(encoding="utf-8").strip()
    return EmbeddedServer(_settings().home).url()


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
        plan = plan_columns(conn, read_agreement(_settings()))
    for column in plan:
        click.echo(f"add {column.table}.{column.column} ({column.type})")
    click.echo(f"{len(plan)} columns to add")


@warehouse.command(name="upgrade")
@_owner_option
def upgrade_warehouse(owner_url_file: Path | None) -> None:
    """Bring the schema up to date, apply the plan, and give everyone exactly the agreement's rights."""
    from sqlalchemy import make_url

    from pipeline.set_up import set_up_warehouse

    settings = _settings()
    password = make_url(settings.database_url()).password
    set_up_warehouse(settings, _owner_url(owner_url_file), str(password) if password else None, today=_today())
    click.echo("The warehouse is up to date.")


@warehouse.command(name="erase")
@click.argument("submission_id")
@click.option("--by", required=True, help="Who erases it.")
@click.option("--reason", required=True, help="Why.")
def erase_from_warehouse(submission_id: str, by: str, reason: str) -> None:
    """Delete all rows of a submission; a release that waits for approval over it can no longer be published."""
    from pipeline.release_steps import erase

    click.echo(f"{erase(submission_id, by=by, reason=reason, settings=_settings()):,} rows erased")


@main.group()
def keys() -> None:
    """The partnership's keys."""


@keys.command(name="create")
def create_keys() -> None:
    """Make the key file that the settings name, unless it is there; say the keys' ids."""
    from pseudonymise.keys import open_key_ring

    settings = _settings()
    ring = open_key_ring(settings.key_source, now=datetime.now(UTC), environ=settings.environment, create=True)
    click.echo(f"key ring {ring.key_id}")


# --- steps without Airflow --------------------------------------------------------------------------------------------


@main.group()
def intake() -> None:
    """Partners' submissions, step by step and without Airflow."""


@intake.command(name="run")
@click.argument("partner_id")
@click.option("--confirm-fewer-rows", is_flag=True, help="A fall in rows against the partner's last extract is right.")
def run_intake(partner_id: str, confirm_fewer_rows: bool) -> None:
    """Take in whatever waits in the partner's inbox."""
    from pipeline.intake_steps import take_in_partner

    for line in take_in_partner(partner_id, _settings(), fewer_rows_confirmed=confirm_fewer_rows):
        click.echo(line)


@main.group()
def release() -> None:
    """Releases of evidence, step by step and without Airflow."""


@release.command(name="prepare")
@click.option("--period", "periods", multiple=True, help="A period to report on; all where it is left out.")
@click.option("--leave-out", multiple=True, help="A partner to leave out.")
@click.option("--leave-out-reason", help="Why; it is published.")
def prepare_release(periods: tuple[str, ...], leave_out: tuple[str, ...], leave_out_reason: str | None) -> None:
    """Link, mark, measure and protect; print the page that a person approves."""
    from pipeline.release_steps import link_and_mark, measure

    settings = _settings()
    run_id = f"manual-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    linked = link_and_mark(periods, settings, run_id, leave_out=leave_out, leave_out_reason=leave_out_reason)
    draft = measure(linked["snapshot_id"], settings, linked=linked)
    click.echo(draft["approval_text"])
    click.echo(
        f"\nTo publish: linkarms release publish {draft['release_id']} --figures {draft['figures_digest']} "
        f"--approval {draft['approval_digest']}"
    )


@release.command(name="publish")
@click.argument("release_id")
@click.option("--figures", required=True, help="Digest of the figures that are approved, as `prepare` prints it.")
@click.option("--approval", help="Digest of all that is approved together, as `prepare` prints it.")
@click.option("--approver", required=True, help="Who approves.")
@click.option("--reason", required=True, help="Why the release may be published; it is published with it.")
def publish_release(release_id: str, figures: str, approval: str | None, approver: str, reason: str) -> None:
    """Publish an approved draft and write its report and data package."""
    from pipeline.release_steps import publish

    made = publish(
        release_id, figures, approver=approver, reason=reason, settings=_settings(), approval_digest=approval
    )
    click.echo(made["report"])


@release.command(name="withdraw")
@click.argument("release_id")
@click.option("--by", required=True, help="Who withdraws it.")
@click.option("--reason", required=True, help="Why.")
def withdraw_release(release_id: str, by: str, reason: str) -> None:
    """Take a published release back: readers see none until the next."""
    from pipeline.release_steps import withdraw

    withdraw(release_id, by=by, reason=reason, settings=_settings())
    click.echo(f"{release_id} is withdrawn")


if __name__ == "__main__":
    main()
