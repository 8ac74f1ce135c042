"""Identifiers in columns that should have none."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from intake import scan_for_identifiers
from protocol.model import Contract

NHS = ["4857773457", "943 476 5919", "987-654-3210"]


def make_tables(**columns: list[str | None]) -> dict[str, pl.DataFrame]:
    height = len(next(iter(columns.values())))
    return {"assessment": pl.DataFrame({"_row": list(range(2, height + 2)), **columns})}


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (NHS, "NHS numbers"),
        (["QQ123456C".replace("QQ", "AB"), "ab 12 34 56 c", "JK123456A"], "National Insurance numbers"),
        (["jane@example.org", "see x.y+z@mail.example.co.uk", "a@b.org"], "e-mail addresses"),
        (["LU1 2AB", "sw1a1aa", "lives at M1 1AE"], "postcodes"),
    ],
)
def test_identifiers_in_a_kept_text_column_are_told_without_any(
    contract: Contract, cells: list[str], what: str
) -> None:
    (finding,) = scan_for_identifiers(make_tables(tool=[*cells, None, "star"]), contract)
    assert finding.code == "assessment.tool.identifier"
    assert what in finding.sentence
    assert finding.first_rows == (2, 3, 4)
    assert not any(cell in repr(finding) for cell in cells)


@pytest.mark.parametrize(
    "cells",
    [
        ["4857773456", "1111111111", "9999999999"],
        ["48577734570", "14857773457", "x4857773457"],
        ["AB12345C", "QQ1234567", "12 34 56"],
        ["a@b", "@", "jane at example.org"],
        ["A1", "outcome star", "12"],
    ],
)
def test_cells_that_only_resemble_identifiers_are_passed(contract: Contract, cells: list[str]) -> None:
    assert scan_for_identifiers(make_tables(tool=cells), contract) == ()


def test_rare_hits_are_chance_and_a_few_in_a_short_column_are_not(contract: Contract) -> None:
    many: list[str | None] = ["star"] * 500
    assert scan_for_identifiers(make_tables(tool=["a@b.org", *many]), contract) == ()
    assert scan_for_identifiers(make_tables(tool=["a@b.org", None]), contract) != ()


def test_ten_digit_numbers_that_pass_by_chance_are_not_told(contract: Contract) -> None:
    numbers = [str(7_000_000_000 + 97 * number) for number in range(2000)]
    assert scan_for_identifiers(make_tables(tool=numbers), contract) == ()


def test_identifiers_keys_codes_and_dropped_text_are_not_scanned(contract: Contract) -> None:
    tables = make_tables(assessment_number=NHS, local_person_id=NHS, summary=NHS)
    tables["person"] = pl.DataFrame({"_row": [2, 3, 4], "surname": NHS, "sex": NHS})
    assert scan_for_identifiers(tables, contract) == ()


def test_unmapped_submission_is_scanned_too(
    submit: Callable[..., Any], files: dict[str, bytes], codes: Callable[..., Any]
) -> None:
    files["assessment.csv"] = files["assessment.csv"].replace(b",star,", b",jane@example.org,")
    _, findings = submit(files)
    assert codes(findings) == ["assessment.tool.identifier"]
    assert "jane" not in repr(findings)
