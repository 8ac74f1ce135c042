"""The templates of CSV files and of the manifest."""

from protocol.generated.csv_text import write_csv
from protocol.generated.names import MANIFEST_KINDS
from protocol.generated.versions import AgreedVersion
from protocol.model import Agreement, Partner


def csv_template(columns: tuple[str, ...]) -> bytes:
    """A CSV file with the agreed headings and no row."""
    return write_csv(columns, ())


def manifest_template(agreement: Agreement, partner: Partner | None, version: AgreedVersion) -> bytes:
    """``manifest.yaml`` with what is known filled in.

    What is left empty is refused with a sentence that says what to write there; lines of optional tables are comments
    until somebody wants them.
    """
    periods = version.periods
    tables = version.contract.tables
    width = max(len(table.name) for table in tables) + 3
    lines = [
        f"# {' '.join(agreement.title.split())}: what you say about this extract. Fill in what is empty.",
        f"partner: {partner.id}" if partner else "partner:  # your partner id, as the agreement has it",
        f"period:  # such as {periods[0].id}; the last is {periods[-1].id}",
        f'agreement_version: "{version.contract.version}"',
        f"kind: full  # or {', '.join(MANIFEST_KINDS[1:-1])} or {MANIFEST_KINDS[-1]}",
        "# supersedes: sub-...  # for a correction only: the submission that it mends, as its receipt names it",
        f"extracted_on:  # day of the extract, such as {periods[0].ends.isoformat()}",
        "tables:  # rows of each file without the heading, or nil where there is nothing to report",
        *(f"  {table.name + ':':<{width}}# {' '.join(table.label.split())}" for table in tables if not table.optional),
    ]
    optional = [table for table in tables if table.optional]
    if optional:
        lines.append("  # These may be left out with their files. Take the first # away where you send one.")
        lines += [f"  #{table.name + ':':<{width}}# {' '.join(table.label.split())}" for table in optional]
    return ("\n".join(lines) + "\n").encode()
