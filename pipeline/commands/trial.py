"""The trial on one machine: `demo`, `up`, `down`, `wipe`, `summary`."""

import os
from pathlib import Path

import click

from pipeline.commands.common import read_settings
from pipeline.settings import Settings

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


@click.command()
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


@click.command()
@_agreement_option
def up(agreement_folder: Path | None) -> None:
    """Start the database and Airflow and leave them running; inboxes are looked into every five minutes."""
    from pipeline.trial.demo import start_trial

    start_trial(_trial_settings(agreement_folder, LINKARMS_INBOX_CHECK_MINUTES="5"))


@click.command()
def down() -> None:
    """Stop what `up` started."""
    from pipeline.trial.supervisor import stop_airflow

    stop_airflow(read_settings(), report=click.echo)


@click.command()
def wipe() -> None:
    """Stop everything and delete all that Linkarms has written."""
    from pipeline.trial.demo import wipe_trial

    wipe_trial(read_settings())


@click.command()
def summary() -> None:
    """Say what the published release holds and where everything lies."""
    from pipeline.summary import print_summary

    settings = read_settings()
    print_summary(settings, truth=settings.home / "synthetic" / "truth", say=click.echo)
