"""`linkarms release`: releases of evidence without Airflow."""

from datetime import UTC, datetime

import click

from pipeline.commands.common import read_settings


@click.group()
def release() -> None:
    """Releases of evidence, step by step and without Airflow."""


@release.command(name="prepare")
@click.option("--period", "periods", multiple=True, help="A period to report on; all where it is left out.")
@click.option("--leave-out", multiple=True, help="A partner to leave out.")
@click.option("--leave-out-reason", help="Why; it is published.")
@click.option("--compare-anew", is_flag=True, help="Compare all pairs of records again, and not only new ones.")
def prepare_release(
    periods: tuple[str, ...], leave_out: tuple[str, ...], leave_out_reason: str | None, compare_anew: bool
) -> None:
    """Link, mark, measure and protect; print the page that a person approves."""
    from pipeline.release_steps import link_and_mark, measure

    settings = read_settings()
    run_id = f"manual-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    linked = link_and_mark(
        periods,
        settings,
        run_id,
        leave_out=leave_out,
        leave_out_reason=leave_out_reason,
        compare_anew=compare_anew,
    )
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
        release_id, figures, approver=approver, reason=reason, settings=read_settings(), approval_digest=approval
    )
    click.echo(made["report"])


@release.command(name="withdraw")
@click.argument("release_id")
@click.option("--by", required=True, help="Who withdraws it.")
@click.option("--reason", required=True, help="Why.")
def withdraw_release(release_id: str, by: str, reason: str) -> None:
    """Take a published release back: readers see none until the next."""
    from pipeline.release_steps import withdraw

    withdraw(release_id, by=by, reason=reason, settings=read_settings())
    click.echo(f"{release_id} is withdrawn")
