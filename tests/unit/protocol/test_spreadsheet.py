"""Cells that a spreadsheet would run."""

import pytest

from protocol.spreadsheet import neutralise


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1+1", "|cmd", "=cmd|'/c calc'!A1", "-2+3", "\nx"],
)
def test_cell_that_could_be_a_formula_gets_an_apostrophe(cell: str) -> None:
    assert neutralise(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["", "a=1", "-5", "+44", "-1.50", "2026-01-01", "O'Neill", "1e5", "a@b.org"])
def test_plain_cell_and_signed_number_stay_as_they_are(cell: str) -> None:
    assert neutralise(cell) == cell
