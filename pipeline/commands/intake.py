"""`linkarms intake`: partners' submissions without Airflow."""

import click

from pipeline.commands.common import read_settings


@click.group()
def intake() -> None:
    """Partners' submissions, step by step and without Airflow."""


@intake.command(name="run")
@click.argument("partner_ids", metavar="PARTNER...", nargs=-1, required=True)
@click.option("--confirm-fewer-rows", is_flag=True, help="A fall in rows against the partner's last extract is right.")
def run_intake(partner_ids: tuple[str, ...], confirm_fewer_rows: bool) -> None:
    """Take in whatever waits in the inbox of each PARTNER; the first that is refused unread ends the run."""
    from pipeline.intake_steps import take_in_partner

    settings = read_settings()
    for partner_id in partner_ids:
        for line in take_in_partner(partner_id, settings, fewer_rows_confirmed=confirm_fewer_rows):
            click.echo(f"{partner_id} {line}")
