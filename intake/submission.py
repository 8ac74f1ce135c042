"""One call for whatever form a partner's files have."""

import polars as pl

from intake.leak_scan import scan_for_identifiers
from intake.manifest import Manifest
from intake.mapping import SqlLimits, map_tables
from intake.reading import read_tables
from intake.taking import TakenDrop
from protocol.finding import Finding
from protocol.model import Contract, Partner


def read_submission(
    taken: TakenDrop, manifest: Manifest, contract: Contract, partner: Partner, *, limits: SqlLimits | None = None
) -> tuple[dict[str, pl.DataFrame], tuple[Finding, ...]]:
    """Agreed table -> frame of text, by the partner's mapping where it has one, and all findings.

    Either way, columns that are not identifiers have been scanned for identifiers. For the form of the frames see
    :func:`intake.reading.read_tables`.
    """
    if partner.mapping.tables or partner.mapping.sql:
        return map_tables(taken, partner.mapping, contract, manifest, limits=limits)
    tables, findings = read_tables(taken, manifest, contract, partner)
    return tables, (*findings, *scan_for_identifiers(tables, contract))
