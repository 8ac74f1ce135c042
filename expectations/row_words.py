"""Row numbers as a person reads them."""

from protocol.finding import Finding

MOST_PAIRS = 8
"""As many pairs of rows as are written out."""

_REPEATS = (".unique", ".repeated_rows")


def rows_in_words(finding: Finding) -> str:
    """``2 to 5, 9 and 9,980 more``; ``17 repeats 4 and 20 repeats 9``; ``12 (row 3 of person.csv) and 15 (row 8)``.

    Empty where the finding numbers no row.
    """
    if any(finding.other_rows):
        parts, told = _pairs(finding)
    else:
        parts, told = _runs(finding.first_rows), len(finding.first_rows)
    more = finding.rows_affected - told
    if more > 0 and parts:
        return f"{', '.join(parts)} and {more:,} more"
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""


def _runs(rows: tuple[int, ...]) -> list[str]:
    """Neighbouring rows as a range."""
    runs: list[tuple[int, int]] = []
    for row in rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], row)
        else:
            runs.append((row, row))
    parts: list[str] = []
    for first, last in runs:
        if last > first + 1:
            parts.append(f"{first} to {last}")
        else:
            parts.extend(str(row) for row in range(first, last + 1))
    return parts


def _pairs(finding: Finding) -> tuple[list[str], int]:
    """Rows with the row that each clashes with, and how many rows that tells of; two that clash are told once."""
    repeats = finding.code.endswith(_REPEATS)
    pairs = list(zip(finding.first_rows, finding.other_rows, strict=True))
    parts: list[str] = []
    told = 0
    for row, other in pairs:
        if len(parts) == MOST_PAIRS:
            break
        told += 1
        if not other:
            parts.append(str(row))
        elif repeats:
            if (other, row) not in pairs or other < row:
                parts.append(f"{row} repeats {other}")
        elif parts:
            parts.append(f"{row} (row {other})")
        else:
            parts.append(f"{row} (row {other} of {finding.other_table or finding.table}.csv)")
    return parts, told
