"""One call for whatever form a partner's files have."""

import re
from collections.abc import Callable, Sequence

import polars as pl

from intake.leak_scan import scan_for_identifiers
from intake.manifest import FILE as MANIFEST_FILE
from intake.manifest import Manifest
from intake.mapping import SqlLimits, map_tables
from intake.reading import read_tables
from intake.taking import TakenDrop
from protocol.finding import Finding
from protocol.model import Contract, Partner


def read_submission(
    taken: TakenDrop,
    manifest: Manifest,
    contract: Contract,
    partner: Partner,
    *,
    limits: SqlLimits | None = None,
    on_table: Callable[[str], None] | None = None,
) -> tuple[dict[str, pl.DataFrame], tuple[Finding, ...]]:
    """Agreed table -> frame of text, by the partner's mapping where it has one, and all findings.

    Either way, columns that are not identifiers have been scanned for identifiers. For the form of the frames and for
    ``on_table`` see :func:`intake.reading.read_tables`.
    """
    if partner.mapping.tables or partner.mapping.sql:
        return map_tables(taken, partner.mapping, contract, manifest, limits=limits)
    tables, findings = read_tables(taken, manifest, contract, partner, on_table=on_table)
    return tables, (*findings, *scan_for_identifiers(tables, contract))


def speak_of_sheets(findings: Sequence[Finding], taken: TakenDrop) -> tuple[Finding, ...]:
    """The findings with ``the sheet person`` in the place of ``person.csv``, where that is what the partner sent.

    Agreed words take the place of agreed words; nothing else is touched.
    """
    called = {f"{file.stem}.csv": f"sheet {file.stem}" for file in taken.files if file.sheet is not None}
    if taken.manifest is not None and taken.manifest.sheet is not None:
        called[MANIFEST_FILE] = "sheet manifest"
    if not called:
        return tuple(findings)
    names = re.compile(rf"\b({'|'.join(map(re.escape, called))})\b")

    def say(text: str) -> str:
        said = names.sub(lambda found: f"the {called[found.group(1)]}", text)
        # A sentence may also begin with the name of a column, which has no capitals.
        return said[:1].upper() + said[1:] if names.match(text) else said

    return tuple(
        finding.model_copy(
            update={
                "file": called.get(finding.file or "", finding.file),
                "sentence": say(finding.sentence),
                "mend": say(finding.mend),
            }
        )
        for finding in findings
    )
