"""Checking a submission against the agreement: rows in Polars, the submission in Great Expectations, the receipt.

Importing this package does not import Great Expectations, which only :func:`gate` needs.
"""

from expectations.receipt import (
    Receipt,
    State,
    build_receipt,
    held_back_csv,
    merge_findings,
    receipt_html,
    receipt_json,
)
from expectations.result import CheckContext, CheckResult, Kind, TableCounts
from expectations.row_rules import check_tables
from expectations.suites import gate

__all__ = [
    "CheckContext",
    "CheckResult",
    "Kind",
    "Receipt",
    "State",
    "TableCounts",
    "build_receipt",
    "check_tables",
    "gate",
    "held_back_csv",
    "merge_findings",
    "receipt_html",
    "receipt_json",
]
