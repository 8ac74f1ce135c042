"""Looks for identifiers in columns that should have none.

A mapping that takes the wrong column, or an export with its columns shifted, can put a person's identifier into a
column that goes on to the pool. This scan counts cells that look like an NHS number, a National Insurance number, an
e-mail address or a UK postcode. It finds mistakes, not intent: whoever spells a number out is not found, and the
allow-list of treatments is what protects the pool.

Not scanned: identifiers themselves; codes and dates, whose cells have to be in a list or a calendar; keys, which
leave as keyed pseudonyms; columns that are dropped, free text among them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from protocol.finding import Finding, Scope
from protocol.model import Classification, Column, ColumnType, Contract, Table, Treatment

_WEIGHTS = (10, 9, 8, 7, 6, 5, 4, 3, 2)
_NHS = re.compile(r"(?:^|[^\dA-Za-z])(\d{3})[ -]?(\d{3})[ -]?(\d{4})(?:$|[^\dA-Za-z])", re.ASCII)


@dataclass(frozen=True)
class _Pattern:
    name: str
    regex: str
    share: float
    """Share of filled cells from which it is told."""


_PATTERNS = (
    # One ten-digit number in eleven has a right check digit by chance: hence the high share.
    _Pattern("NHS numbers", _NHS.pattern, 0.3),
    _Pattern(
        "National Insurance numbers",
        r"(?i)\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]\b",
        0.02,
    ),
    _Pattern("e-mail addresses", r"[^\s@]@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", 0.02),
    _Pattern("postcodes", r"(?i)\b(?:GIR ?0AA|[A-Z]{1,2}\d[A-Z\d]? ?\d[ABD-HJLNP-UW-Z]{2})\b", 0.1),
)


def scan_for_identifiers(
    tables: Mapping[str, pl.DataFrame], contract: Contract, *, least_cells: int = 3
) -> tuple[Finding, ...]:
    """A finding of scope FILE for each column that holds identifiers and should not.

    :param tables: agreed table name -> frame of text, as read or mapped; a column that is not there is passed over.
    :param least_cells: fewer cells than this are chance, unless they are all that the column has.
    """
    findings = []
    for table in contract.tables:
        frame = tables.get(table.name)
        if frame is None:
            continue
        for column in table.columns:
            if column.name in frame.columns and _is_scanned(column, table):
                findings += _scan_column(table, column, frame, least_cells)
    return tuple(findings)


def _is_scanned(column: Column, table: Table) -> bool:
    return (
        column.identifier is None
        and column.classification is not Classification.DIRECT_IDENTIFIER
        and column.treatment in (Treatment.KEEP, Treatment.GENERALISE)
        and column.type not in (ColumnType.CODE, ColumnType.DATE)
        and column.name not in table.key
    )


def _scan_column(table: Table, column: Column, frame: pl.DataFrame, least_cells: int) -> list[Finding]:
    findings = []
    cells = frame.select(row=pl.col("_row"), cell=pl.col(column.name)).drop_nulls("cell")
    for pattern in _PATTERNS:
        hits = cells.filter(pl.col("cell").str.contains(pattern.regex))
        if pattern.regex == _NHS.pattern and hits.height:
            hits = hits.filter(pl.col("cell").map_elements(_holds_nhs_number, return_dtype=pl.Boolean))
        enough = hits.height >= least_cells or hits.height == cells.height
        if hits.height and enough and hits.height >= pattern.share * cells.height:
            findings.append(
                Finding(
                    code=f"{table.name}.{column.name}.identifier",
                    scope=Scope.FILE,
                    table=table.name,
                    file=f"{table.name}.csv",
                    columns=(column.name,),
                    sentence=f"The column {column.name} of {table.name} seems to hold {pattern.name}, which must not "
                    "be there.",
                    mend="Check that columns were not exchanged or shifted in the export or its mapping.",
                    example=column.example,
                    rows_affected=hits.height,
                    first_rows=tuple(hits["row"].head(20).to_list()),
                )
            )
    return findings


def _holds_nhs_number(cell: str) -> bool:
    return any(_is_nhs_number("".join(match.groups())) for match in _NHS.finditer(cell))


def _is_nhs_number(digits: str) -> bool:
    """Modulus 11 as the NHS Data Dictionary has it; a repeated digit is a placeholder."""
    if len(set(digits)) == 1:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, digits[:9], strict=True))
    check = (11 - total % 11) % 11
    return check != 10 and check == int(digits[9])
