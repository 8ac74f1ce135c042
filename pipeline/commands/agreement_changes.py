"""`linkarms agreement diff`: what a new version means to those who send data, who read them, and who are in them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from protocol.model import Agreement

NOT_SUFFICIENT = 2
"""Exit code where the stated version does not suffice."""


@click.command(name="diff")
@click.argument("earlier", type=click.Path(exists=True, path_type=Path))
@click.argument("later", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "html", "json"]), default="text", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead.")
@click.option(
    "--wording",
    multiple=True,
    metavar="PLACE",
    help="A changed text that somebody has read and found to say the same in other words. May be repeated.",
)
def diff_agreements(earlier: Path, later: Path, form: str, output: Path | None, wording: tuple[str, ...]) -> None:
    """Say what changes from EARLIER to LATER for data subjects, submitters and analysts, and which version is due.

    Each is an agreement's folder or its agreement.lock. Ends with 0 where the stated version suffices, with 2 where it
    does not (or where an agreement cannot be read; nothing is then printed as a report).
    """
    from protocol.changes.classify import classify_changes
    from protocol.changes.report import render_html, render_json, render_text
    from protocol.files import write_text

    render = {"text": render_text, "html": render_html, "json": render_json}[form]
    report = classify_changes(_read(earlier), _read(later), wording)
    if output is None:
        click.echo(render(report), nl=False)
    else:
        write_text(output, render(report))
        click.echo(output)
    if not report.suffices:
        sys.exit(NOT_SUFFICIENT)


def _read(path: Path) -> "Agreement":
    from protocol.loading import load_agreement
    from protocol.lock import read_lock

    return load_agreement(path) if path.is_dir() else read_lock(path).agreement
