"""CSV for people with a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence

from protocol.spreadsheet import neutralise


def write_csv(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Headings and rows as UTF-8 with the byte order mark that Excel needs and ``\\r\\n`` line ends.

    A cell that a spreadsheet would run as a formula is made harmless by :func:`protocol.spreadsheet.neutralise`.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(headings)
    writer.writerows([neutralise(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")
