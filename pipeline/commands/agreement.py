"""`linkarms agreement`: linting, showing, signing and locking it; what is built from it is in modules of its own."""

import sys
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.agreement_changes import diff_agreements
from pipeline.commands.agreement_documents import build_documents
from pipeline.commands.common import agreement_option, read_settings, read_today
from pipeline.commands.partnership import start_agreement_command, write_sample

if TYPE_CHECKING:
    from protocol.model import Agreement, Partner

FAULTY = 2
"""Exit code where the agreement has faults; that of :class:`protocol.errors.AgreementError`."""


@click.group()
def agreement() -> None:
    """The signed agreement."""


@agreement.command(name="lint")
@agreement_option
@click.option("--today", type=click.DateTime(["%Y-%m-%d"]), help="The day to judge by; today where it is left out.")
@click.option("--locked", is_flag=True, help="Refuse a text that differs from agreement.lock, too.")
def lint_agreement(agreement_folder: Path | None, today: datetime | None, locked: bool) -> None:
    """Tell every fault of the agreement with file and line, and what somebody should look at.

    Ends with 0 where there is no fault, and with 2 otherwise.
    """
    from protocol.documents import describe_faults
    from protocol.lock import LOCK_FILE, changes_since_lock
    from protocol.review import review_agreement

    folder = read_settings(agreement_folder).agreement_folder
    review = review_agreement(folder, today.date() if today else read_today(), _evidence_views())
    for warning in review.warnings:
        click.echo(f"warning: {warning}")
    if review.faults:
        click.echo(describe_faults(review.faults), err=True)
        sys.exit(FAULTY)
    changed = changes_since_lock(folder) if locked else ()
    if changed:
        click.echo(f"The agreement is not as it was locked in {LOCK_FILE}:", err=True)
        for line in changed:
            click.echo(f"- {line}", err=True)
        click.echo(
            "Take the change back; or raise the version as the change demands (linkarms agreement diff), lock it "
            "(linkarms agreement lock), and have the partners sign again (linkarms agreement sign).",
            err=True,
        )
        sys.exit(FAULTY)
    found = review.agreement
    columns = sum(len(table.columns) for table in found.contract.tables)
    click.echo(
        f"{found.title}, version {found.version}: no faults in {len(found.contract.tables)} tables with {columns} "
        f"columns, {len(found.partners)} partners, {len(found.grants)} grants"
        f"{'; the text is the locked one' if locked else ''}."
    )


def _evidence_views() -> tuple[str, ...] | None:
    """Names of the views that show evidence; None on a machine that has only what a data officer needs."""
    if find_spec("sqlalchemy") is None:
        return None
    from evidence.catalogue import load_measures

    return ("current_figure", *(measure.id for measure in load_measures()))


@agreement.command(name="show")
@agreement_option
def show_agreement(agreement_folder: Path | None) -> None:
    """Say what the agreement is and who has signed it, or what is wrong with it."""
    from pipeline.resources import read_agreement

    signed = read_agreement(read_settings(agreement_folder))
    click.echo(f"{signed.title}, version {signed.version}, {signed.term.starts} to {signed.term.ends}")
    click.echo(f"digest {signed.digest}")
    for partner in signed.partners:
        click.echo(f"  {partner.name:<50} {partner.tier:<6} {_signature_state(signed, partner)}")


def _signature_state(signed: "Agreement", partner: "Partner") -> str:
    """Which text the partner has signed, and when."""
    if not partner.signatures:
        return "NOT SIGNED"
    last = max(partner.signatures, key=lambda signature: (signature.digest == signed.digest, signature.on))
    by = f"on {last.on} by {last.by}"
    if last.digest == signed.digest and last.version == signed.version:
        return f"signed {by}"
    if last.version == signed.version:
        return f"SIGNED AN EARLIER TEXT of version {last.version} {by}: has to sign again"
    return f"SIGNED VERSION {last.version} {by}: has to sign version {signed.version}"


@agreement.command(name="compile")
def compile_agreement() -> None:
    """Write the small file that Airflow's DAGs are made from."""
    from pipeline.resources import read_agreement
    from protocol.compiled import write_compiled

    settings = read_settings()
    write_compiled(read_agreement(settings), settings.compiled_agreement, settings.inbox_check_minutes)
    click.echo(settings.compiled_agreement)


@agreement.command(name="sign")
@click.argument("partner_id")
@click.option("--by", required=True, help="The office that signs, such as 'Director of Adult Services'.")
@agreement_option
def sign_agreement(partner_id: str, by: str, agreement_folder: Path | None) -> None:
    """Record a partner's signature under the agreement's text as it stands; refused where the text has faults."""
    from protocol.digest import sign, signed_files

    folder = read_settings(agreement_folder).agreement_folder
    signature = sign(folder, partner_id, by, read_today())
    click.echo(
        f"{signature.by} of {partner_id} signed version {signature.version} on {signature.on}: "
        f"{len(signed_files(folder))} files, digest {signature.digest}"
    )


@agreement.command(name="lock")
@agreement_option
@click.option(
    "--wording",
    multiple=True,
    metavar="PLACE",
    help="A changed text that somebody has read and found to say the same in other words. May be repeated.",
)
def lock_agreement(agreement_folder: Path | None, wording: tuple[str, ...]) -> None:
    """Write agreement.lock, so that no later change passes unnoticed; refused where the version is too low for what
    has changed since it was last written."""
    from protocol.lock import LOCK_FILE, write_lock

    lock = write_lock(read_settings(agreement_folder).agreement_folder, wording)
    click.echo(f"{LOCK_FILE}: version {lock.version}, {len(lock.files)} files, digest {lock.digest}")


agreement.add_command(build_documents)
agreement.add_command(diff_agreements)
agreement.add_command(start_agreement_command)
agreement.add_command(write_sample)
