"""`linkarms agreement init`, `linkarms agreement sample` and `linkarms partner add`: a partnership's beginning."""

from datetime import date, datetime
from pathlib import Path

import click

from pipeline.commands.common import Commands, agreement_option, read_settings, read_today

_day = click.DateTime(["%Y-%m-%d"])


@click.command(name="init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--id", "agreement_id", required=True, help="Name in small letters, digits and underscores.")
@click.option("--title", required=True, help="Title of the agreement.")
@click.option("--first-quarter", help="First quarter of the calendar, such as 2026-Q1; this one where it is left out.")
@click.option("--years", default=3, show_default=True, help="Years that the agreement holds.")
def start_agreement_command(folder: Path, agreement_id: str, title: str, first_quarter: str | None, years: int) -> None:
    """Write a small complete agreement into FOLDER, with what people have to decide marked TO DECIDE."""
    from protocol.lint.decisions import TO_DECIDE
    from protocol.starting import start_agreement

    today = read_today()
    quarter = first_quarter or f"{today.year}-Q{(today.month - 1) // 3 + 1}"
    files = start_agreement(folder, agreement_id, title, first_quarter=quarter, years=years, today=today)
    open_ = sum(path.read_text(encoding="utf-8").count(f"'{TO_DECIDE}") for path in files)
    click.echo(f"Wrote {len(files)} files to {folder}; {open_} places say {TO_DECIDE}.")
    click.echo(f"Next: linkarms partner add, then decide, then linkarms agreement lint --agreement {folder}")


@click.command(name="sample")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@agreement_option
@click.option("--partner", "partner_id", help="Whose submission; the first partner's where it is left out.")
@click.option("--period", help="For which period; the last that has ended where it is left out.")
@click.option("--rows", default=200, show_default=True, type=click.IntRange(min=1), help="Rows of each table.")
@click.option("--seed", default=1, show_default=True, help="Another seed makes other rows.")
def write_sample(
    out: Path, agreement_folder: Path | None, partner_id: str | None, period: str | None, rows: int, seed: int
) -> None:
    """Write a made-up submission that breaks no rule into the folder OUT."""
    from pipeline.resources import read_agreement
    from protocol.errors import AgreementError
    from synthetic.from_agreement import make_sample, write_drop

    agreement = read_agreement(read_settings(agreement_folder))
    ids = [partner.id for partner in agreement.partners]
    periods = [entry.id for entry in agreement.calendar.periods]
    ended = [entry.id for entry in agreement.calendar.periods if entry.ends < read_today()]
    partner_id, period = partner_id or ids[0], period or (ended or periods)[-1 if ended else 0]
    if partner_id not in ids:
        raise AgreementError(f"The agreement has no partner {partner_id}. It has {', '.join(ids)}.")
    if period not in periods:
        raise AgreementError(f"The agreement has no period {period}. It has {', '.join(periods)}.")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / "manifest.yaml").is_file())):
        raise click.UsageError(f"{out} holds something else than a submission. Name a new folder.")
    sample = make_sample(agreement, partner_id, period, rows=rows, seed=seed)
    write_drop(sample, out)
    counts = ", ".join(f"{name} {len(frame)}" for name, frame in sample.tables.items())
    click.echo(f"{out}: made-up submission of {partner_id} for {period} ({counts})")


@click.group(cls=Commands)
def partner() -> None:
    """The partners of the agreement."""


@partner.command(name="add")
@click.argument("partner_id")
@agreement_option
@click.option("--name", required=True, help="Name of the organisation.")
@click.option(
    "--kind", required=True, type=click.Choice(["charity", "council", "job_centre", "health"]), help="What it is."
)
@click.option(
    "--agency",
    required=True,
    type=click.Choice(["voluntary", "council", "dwp", "nhs"]),
    help="Where its costs and benefits count.",
)
@click.option("--tier", default="core", show_default=True, type=click.Choice(["core", "wider"]))
@click.option("--public-body", is_flag=True, help="It is a public body and shares under a statutory gateway.")
@click.option("--gateway", help="The statutory gateway: act and section.")
@click.option(
    "--controller-role",
    default="joint_controller",
    show_default=True,
    type=click.Choice(["joint_controller", "controller", "processor"]),
)
@click.option(
    "--lawful-basis", required=True, help="Its basis under Article 6, such as 'Article 6(1)(e), public task'."
)
@click.option(
    "--contact", "contacts", nargs=2, multiple=True, required=True, metavar="OFFICE EMAIL", help="May be repeated."
)
@click.option("--member-from", type=_day, help="First day of membership; that of the agreement where it is left out.")
def add_partner_command(
    partner_id: str,
    agreement_folder: Path | None,
    contacts: tuple[tuple[str, str], ...],
    member_from: datetime | None,
    **entries: str,
) -> None:
    """Add a partner to the agreement; refused where the agreement would have new faults by it."""
    from pydantic import ValidationError

    from protocol.errors import AgreementError
    from protocol.loading import inspect_agreement
    from protocol.starting import NewPartner, add_partner

    folder = read_settings(agreement_folder).agreement_folder
    first_day: date = member_from.date() if member_from else inspect_agreement(folder)[0].term.starts
    named = [{"role": office, "email": email} for office, email in contacts]
    try:
        new = NewPartner.model_validate({"id": partner_id, "member_from": first_day, "contacts": named, **entries})
    except ValidationError:
        raise AgreementError(
            "The id should be a name of small letters, digits and underscores that starts with a letter."
        ) from None
    placeholder = add_partner(folder, new)
    place = f", in the place of {placeholder}" if placeholder else ""
    click.echo(f"{partner_id} was added{place}. The text is another now: who has signed has to sign again.")
