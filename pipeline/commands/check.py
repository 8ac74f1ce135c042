"""`linkarms check`: an extract held against the agreement on the data officer's own machine."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.common import agreement_option, read_settings
from protocol.errors import SubmissionRefused

if TYPE_CHECKING:
    from pipeline.officer import OfficerCheck, Progress
    from protocol.finding import Finding

_LONG_WORK = 20 << 20
"""Bytes of an extract from which a progress bar is worth it."""
_MOST_HINTS = 5


@click.command()
@click.argument("extract", type=click.Path(exists=True, path_type=Path))
@agreement_option
@click.option("--partner", "partner_id", help="Who you are; where it is left out, the manifest says it.")
@click.option("--period", "period_id", help="The period, where there is no manifest that says it: 2026-Q1.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder for the receipt as the hub would write it, and the list of held-back rows.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON and nothing else.")
def check(
    extract: Path,
    agreement_folder: Path | None,
    partner_id: str | None,
    period_id: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Check EXTRACT, a folder, .zip or .xlsx, before you send it.

    Nothing leaves this machine. What stands in your cells is shown here, on the screen, and is in nothing that is
    written. Ends with 0 where everything would be taken in, and with 3 where rows would be held back or the extract
    refused.
    """
    from expectations.receipt import receipt_json
    from pipeline.officer import check_extract, write_receipt
    from protocol.loading import load_agreement

    with progress_of(extract) as progress:
        done = check_extract(
            extract,
            load_agreement(read_settings(agreement_folder).agreement_folder),
            now=datetime.now(UTC),
            partner_id=partner_id,
            period_id=period_id,
            choose_partner=ask_for_partner if sys.stdin.isatty() and not as_json else None,
            progress=progress,
        )
    written = write_receipt(done, out) if out is not None else ()
    if as_json:
        click.echo(receipt_json(done.receipt).decode(), nl=False)
    else:
        for line in describe(done, min(shutil.get_terminal_size().columns, 100)):
            click.echo(line)
        for path in written:
            click.echo(f"Written: {path}")
    if not done.clean:
        sys.exit(SubmissionRefused.exit_code)


def ask_for_partner(known: tuple[str, ...]) -> str:
    """Asks the officer at the terminal."""
    answer: str = click.prompt("Which partner are you?", type=click.Choice(known), err=True)
    return answer


@contextmanager
def progress_of(extract: Path) -> "Iterator[Progress]":
    """A bar on the terminal for long work; nothing else, and nothing in a file or pipe."""
    files = [extract] if extract.is_file() else [path for path in extract.rglob("*") if path.is_file()]
    if not sys.stderr.isatty() or sum(path.stat().st_size for path in files) < _LONG_WORK:
        yield lambda *_: None
        return
    with click.progressbar(length=100, file=sys.stderr, label="Checking", show_eta=False) as bar:

        def tell(step: str, number: int, steps: int) -> None:
            bar.label = f"{step[:28]:<28}"
            bar.update(max(0, 100 * (number - 1) // steps - bar.pos))

        yield tell
        bar.update(100 - bar.pos)


# --- in words ---------------------------------------------------------------------------------------------------------


def describe(check: "OfficerCheck", width: int) -> Iterator[str]:
    """The check as lines for a terminal: the verdict, what decides first, then the rest, and what only the hub sees.

    They show the partner's own cells and headings: for the screen, not for a file.
    """
    from expectations.comparison import WAITING

    receipt = check.receipt
    period = f"period {receipt.period}" if receipt.period_starts else "no period of the agreement"
    yield f"{receipt.partner_name}, {period}, {receipt.kind.value}, {receipt.agreement.title}"
    for assumed in check.assumed:
        yield f"Taken for granted: {assumed}."
    yield ""
    yield click.style(_verdict(check), bold=True)
    yield from _count_rows(check)
    groups = (
        ("Would be refused for", ("file", "submission"), "red"),
        ("Rows that would be held back", ("row",), "yellow"),
        ("Worth knowing", ("note",), None),
    )
    number = 0
    for heading, scopes, colour in groups:
        findings = [f for f in receipt.findings if f.scope.value in scopes and not f.code.endswith(WAITING)]
        if findings:
            yield ""
            yield click.style(heading, bold=True, fg=colour)
        for finding in findings:
            number += 1
            yield from _describe_finding(number, finding, check, width)
        if scopes == ("row",):
            yield from _describe_waiting([f for f in receipt.findings if f.code.endswith(WAITING)], width)
    if receipt.sunset_notice:
        yield ""
        yield click.style("A change is coming", bold=True)
        yield from _wrap(receipt.sunset_notice, width, "")
    yield ""
    yield "Only the hub can tell:"
    for told in check.not_checked:
        yield from _wrap(f"- {told}", width, "  ")


def _verdict(check: "OfficerCheck") -> str:
    held_back = sum(line.held_back for line in check.receipt.tables)
    if check.receipt.state.value == "refused":
        return "As it is, the hub would REFUSE this extract."
    if held_back:
        rows = "1 row" if held_back == 1 else f"{held_back:,} rows"
        return f"The hub would take this extract in, and HOLD BACK {rows}."
    if check.receipt.findings:
        return "The hub would take this extract in as it is. Read what is worth knowing before you send it."
    return "Nothing is wrong with this extract. It can be sent."


def _count_rows(check: "OfficerCheck") -> Iterator[str]:
    lines = check.receipt.tables
    if lines:
        wide = max(len(line.table) for line in lines)
        yield f"{'':{wide}}  {'rows':>9}  {'good':>9}  {'held back':>9}"
        for line in lines:
            good = line.received - line.held_back
            yield f"{line.table:{wide}}  {line.received:>9,}  {good:>9,}  {line.held_back:>9,}"


def _describe_waiting(findings: "Sequence[Finding]", width: int) -> Iterator[str]:
    """One line for each file whose rows wait for those of another one: nothing is to be done about them."""
    if not findings:
        return
    yield ""
    yield click.style("Rows that would wait for others", bold=True)
    yield from _wrap(
        "Nothing need be wrong with them: each belongs to a row that would be held back, and goes through with it.",
        width,
        "",
    )
    wide = max(len(finding.file or "") for finding in findings)
    for finding in findings:
        rows = "row waits" if finding.rows_affected == 1 else "rows wait"
        yield f"     {finding.file or '':{wide}}  {finding.rows_affected:>9,} {rows} for {finding.other_table}"


def _describe_finding(number: int, finding: "Finding", check: "OfficerCheck", width: int) -> Iterator[str]:
    from expectations.row_words import rows_in_words

    yield from _wrap(f"{number:>3}. {finding.sentence}", width, "     ")
    columns = f"column{'s' * (len(finding.columns) > 1)} {', '.join(finding.columns)}" if finding.columns else ""
    where = ", ".join(filter(None, [finding.file, columns]))
    if finding.rows_affected:
        rows = rows_in_words(finding)
        one = finding.rows_affected == 1
        told = f"{'row' if one else 'rows'} {rows}" if rows else f"{finding.rows_affected:,} {'row' if one else 'rows'}"
        where = ", ".join(filter(None, [where, told]))
    details = [("Where", where), ("To mend", finding.mend), ("Example", finding.example), ("Clause", finding.clause)]
    for name, text in details:
        if text:
            yield from _wrap(f"     {name}: {text}", width, "       ")
    hints = check.hints.get(finding, ())
    for hint in hints[:_MOST_HINTS]:
        meant = f" -> {hint.nearest}?" if hint.nearest else ""
        yield click.style(f"       row {hint.row}: {_printable(hint.shown)}{meant}", fg="cyan")
    if finding.code in ("file.column_misspelt", "file.column_undeclared"):
        yield from _describe_headings(finding, check)


def _describe_headings(finding: "Finding", check: "OfficerCheck") -> Iterator[str]:
    from intake.reading import column_letters

    taken = finding.code == "file.column_misspelt"
    for guess in check.headings:
        if guess.table == finding.table and (guess.agreed is not None) == taken:
            meant = f" -> {guess.agreed}" if guess.agreed else ""
            column = column_letters(guess.number - 1)
            yield click.style(f"       column {column}: {_printable(guess.heading[:40])}{meant}", fg="cyan")


def _printable(text: str) -> str:
    """Text of the partner's without what would steer the terminal."""
    return "".join(each if each.isprintable() else " " for each in text)


def _wrap(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
