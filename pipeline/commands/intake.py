"""`linkarms intake`: partners' submissions without Airflow."""

import click

from pipeline.commands.common import read_settings


@click.group()
def intake() -> None:
    """Partners' submissions, step by step and without Airflow."""


@intake.command(name="run")
@click.argument("partner_id")
@click.option("--confirm-fewer-rows", is_flag=True, help="A fall in rows against the partner's last extract is right.")
def run_intake(partner_id: str, confirm_fewer_rows: bool) -> None:
    """Take in whatever waits in the partner's inbox."""
    from pipeline.intake_steps import take_in_partner

    for line in take_in_partner(partner_id, read_settings(), fewer_rows_confirmed=confirm_fewer_rows):
        click.echo(line)
