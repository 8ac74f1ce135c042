"""What a receipt says of the partner's last submission."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from expectations import Receipt, TableCounts, build_receipt, receipt_html, receipt_json
from expectations.comparison import Change, compare, read_earlier
from protocol.finding import Finding, Scope
from protocol.model import Agreement, Contact, Partner

Build = Callable[..., Receipt]


def _fault(code: str, rows: int, scope: Scope = Scope.ROW, **more: Any) -> Finding:
    parts: dict[str, Any] = {
        "code": code,
        "scope": scope,
        "table": code.partition(".")[0],
        "file": f"{code.partition('.')[0]}.csv",
        "columns": ("sex",),
        "sentence": f"{code} is wrong.",
        "mend": "Mend it.",
        "rows_affected": rows,
        "first_rows": (2,),
    }
    return Finding(**{**parts, **more})


@pytest.fixture
def build(agreement: Agreement, partner: Partner) -> Build:
    def of(findings: tuple[Finding, ...], counts: dict[str, TableCounts] | None = None, **more: Any) -> Receipt:
        parts: dict[str, Any] = {
            "submission_id": "sub-0123456789abcdef0123",
            "partner": partner,
            "period": "2026-Q2",
            "kind": "full",
            "agreement": agreement,
            "received_at": datetime(2026, 7, 6, 9, 12, tzinfo=UTC),
            "decided_at": datetime(2026, 7, 6, 9, 14, tzinfo=UTC),
            "counts": {"person": TableCounts(6, 5, 1)} if counts is None else counts,
            "findings": findings,
            "contact": Contact(role="Coordinator", email="coordinator@partnership.example"),
            "software_version": "0.1.0",
        }
        return build_receipt(**{**parts, **more})

    return of


def _then(receipt: Receipt) -> Any:
    return read_earlier(json.loads(receipt_json(receipt)))


def test_each_fault_is_fixed_there_again_or_new(build: Build) -> None:
    last = _then(build((_fault("person.sex.code", 9), _fault("person.sex.type", 4), _fault("person.sex.type", 2))))
    now = build((_fault("person.sex.type", 3), _fault("person.sex.range", 1)), last=last)
    assert now.comparison is not None
    assert {(f.code, f.change.value, f.rows_then, f.rows_now) for f in now.comparison.faults} == {
        ("person.sex.code", "fixed", 9, 0),
        ("person.sex.type", "again", 6, 3),
        ("person.sex.range", "new", 0, 1),
    }
    assert now.tables[0].last_time == 6
    page = receipt_html(now).decode()
    assert "Since your last submission" in page
    assert "person.csv: person.sex.code is wrong." in page
    assert "again, 6 last time" in page
    assert page.count('class="tag">new<') == 1


def test_refused_submission_is_compared_with_as_well(build: Build) -> None:
    refusal = _fault("file.encoding", 3, Scope.FILE, table="person", file="person.csv")
    last = _then(build((refusal, _fault("person.sex.code", 2))))
    page = receipt_html(build((), last=last)).decode()
    assert "refused on 6 July 2026" in page
    comparison = build((), last=last).comparison
    assert comparison is not None
    assert [fault.code for fault in comparison.of(Change.FIXED)] == ["file.encoding", "person.sex.code"]


def test_notes_and_rows_that_only_wait_are_not_compared(build: Build) -> None:
    last = _then(build((_fault("person.sex.code", 2, Scope.NOTE), _fault("item.a.reference.held_back", 7))))
    comparison = build((_fault("person.repeated_rows", 2, Scope.NOTE),), last=last).comparison
    assert comparison is not None
    assert comparison.faults == ()


@pytest.mark.parametrize(
    ("findings", "counts"),
    [
        ((), {}),
        ((), {"assessment": TableCounts(3, 3, 0)}),
        ((_fault("file.encoding", 1, Scope.FILE, table="person"),), {"person": TableCounts(3, 3, 0)}),
        ((_fault("file.columns_missing", 0, Scope.FILE, table="person"),), {"person": TableCounts(3, 3, 0)}),
    ],
)
def test_fault_of_rows_that_were_not_checked_does_not_count_as_fixed(
    build: Build, findings: tuple[Finding, ...], counts: dict[str, TableCounts]
) -> None:
    last = _then(build((_fault("person.sex.code", 9),)))
    changes = compare(last, findings, tuple(counts))
    assert changes.of(Change.FIXED) == ()


@pytest.mark.parametrize(
    "receipt",
    [None, {}, {"findings": []}, {"findings": [{"code": 3}]}, {"findings": None, "submission_id": "s"}, {"tables": {}}],
)
def test_receipt_that_cannot_be_read_is_not_compared_with(receipt: Any) -> None:
    assert read_earlier(receipt) is None


def test_receipt_of_an_older_or_newer_release_is_read_as_far_as_it_goes(build: Build) -> None:
    content = json.loads(receipt_json(build((_fault("person.sex.code", 9),))))
    for line in content["tables"]:
        del line["refused"], line["last_time"]
    for finding in content["findings"]:
        del finding["other_rows"], finding["other_table"]
        finding["colour"] = "red"
    content["mood"] = "good"
    earlier = read_earlier(content)
    assert earlier is not None
    assert [(fault.code, fault.rows) for fault in earlier.faults] == [("person.sex.code", 9)]


def test_unchanged_submission_is_compared_with_nothing(build: Build) -> None:
    last = _then(build((_fault("person.sex.code", 9),)))
    assert build((), counts={}, unchanged=True, last=last).comparison is None
