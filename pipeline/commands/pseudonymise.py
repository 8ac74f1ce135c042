"""`linkarms pseudonymise`: identifiers become tokens on the data officer's own machine, and leave it sealed."""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from pipeline.commands.check import ask_for_partner, describe, progress_of
from pipeline.commands.common import agreement_option, read_settings
from protocol.errors import SubmissionRefused

_SOURCES = ("file:", "env:")


@click.command()
@click.argument("extract", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--keys",
    "key_source",
    required=True,
    help="Where the partnership's K1 is: a file, file:PATH, or env:NAME of an environment variable.",
)
@click.option(
    "--to",
    "--sealing-key",
    "public_key_file",
    required=True,
    type=click.Path(path_type=Path),
    help="The file with the hub's public key, which the coordinator gives out.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write: 2026-Q3.sealed.")
@agreement_option
@click.option("--partner", "partner_id", help="Who you are; where it is left out, the manifest says it.")
@click.option(
    "--receipt",
    "receipt_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder for the receipt of the check, and the list of held-back rows.",
)
def pseudonymise(
    extract: Path,
    key_source: str,
    public_key_file: Path,
    out: Path,
    agreement_folder: Path | None,
    partner_id: str | None,
    receipt_folder: Path | None,
) -> None:
    """Check EXTRACT, a folder, .zip or .xlsx, replace identifiers by tokens, and seal the result for the hub.

    Names, dates of birth and numbers do not leave this machine, not even sealed. Rows that would be held back stay
    here. Ends with 0 where the file was written, and with 3 where the hub would refuse the extract.

    The key's passphrase is in LINKARMS_KEYS_PASSPHRASE, in the private file that LINKARMS_KEYS_PASSPHRASE_FILE names,
    or asked for.
    """
    from pipeline.at_source import demand_packages, pseudonymise_extract
    from pipeline.officer import write_receipt

    demand_packages()
    from protocol.loading import load_agreement
    from pseudonymise.partner_key import open_partner_key

    settings = read_settings(agreement_folder)
    keys = open_partner_key(
        key_source if key_source.startswith(_SOURCES) else f"file:{key_source}",
        environ=settings.environment,
        passphrase=settings.passphrase(),
    )
    with progress_of(extract) as progress:
        made = pseudonymise_extract(
            extract,
            load_agreement(settings.agreement_folder),
            keys,
            public_key_file,
            out,
            now=datetime.now(UTC),
            partner_id=partner_id,
            choose_partner=ask_for_partner if sys.stdin.isatty() else None,
            progress=progress,
        )
    for line in describe(made.check, min(shutil.get_terminal_size().columns, 100)):
        click.echo(line)
    for path in write_receipt(made.check, receipt_folder) if receipt_folder is not None else ():
        click.echo(f"Written: {path}")
    click.echo("")
    if made.path is None:
        click.echo("Nothing was made: the hub would refuse this extract.")
        sys.exit(SubmissionRefused.exit_code)
    click.echo(
        f"{made.path} ({made.size:,} bytes) holds tokens made with the key {made.k1_id} and is sealed to the key "
        f"{made.sealed_to}."
    )
    click.echo("Drop this file. No name, date of birth or number of a client is in it; keep the extract.")
