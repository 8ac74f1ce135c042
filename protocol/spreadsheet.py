"""Cells that a spreadsheet would run as a formula, made harmless in the CSV files that we write."""

import re

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def neutralise(cell: str) -> str:
    """The cell with an apostrophe before it where a spreadsheet would take it for a formula.

    Leading white space does not hide a formula, since some programs strip it. A plain number keeps its sign.
    """
    if _NUMBER.fullmatch(cell):
        return cell
    if cell.startswith(("\t", "\r", "\n")) or cell.lstrip().startswith(_STARTS):
        return "'" + cell
    return cell
