"""`linkarms seal`: an extract sealed to the hub's key, on the data officer's own machine."""

from pathlib import Path

import click


@click.command()
@click.argument("extract", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "public_key_file",
    required=True,
    type=click.Path(path_type=Path),
    help="The file with the hub's public key, which the coordinator gives out.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; beside the extract where left out.")
def seal(extract: Path, public_key_file: Path, out: Path | None) -> None:
    """Seal EXTRACT, a folder, .zip or .xlsx, so that only the hub can open it.

    Nothing is written in clear. Drop the .sealed file; the extract itself stays where it is.
    """
    from pipeline.seal_extract import seal_extract

    sealed = seal_extract(extract, public_key_file, out)
    click.echo(f"{sealed.path} ({sealed.files} files, {sealed.size:,} bytes) is sealed to the key {sealed.key_id}.")
    click.echo("Drop this file. Nobody but the hub can open it, and that includes you: keep the extract.")
