"""The receipt: state, words, bytes, and a page that any browser, printer and screen reader can use."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from expectations import (
    CheckContext,
    CheckResult,
    Receipt,
    State,
    TableCounts,
    build_receipt,
    check_tables,
    held_back_csv,
    receipt_html,
    receipt_json,
)
from expectations import receipt as receipt_module
from expectations.comparison import read_earlier
from expectations.receipt import merge_findings, receipt_schema
from expectations.row_words import rows_in_words
from protocol.finding import Finding, Scope
from protocol.model import Agreement, Contact, Mapping, Partner

Build = Callable[..., Receipt]


@pytest.fixture
def build(agreement: Agreement, partner: Partner) -> Build:
    def of(counts: dict[str, TableCounts], findings: tuple[Finding, ...] = (), **more: Any) -> Receipt:
        parts: dict[str, Any] = {
            "submission_id": "harbour_trust-2026-Q2-3f9a1c07",
            "partner": partner,
            "period": "2026-Q2",
            "kind": "full",
            "agreement": agreement,
            "received_at": datetime(2026, 7, 6, 9, 12, tzinfo=UTC),
            "decided_at": datetime(2026, 7, 6, 9, 14, tzinfo=UTC),
            "counts": counts,
            "findings": findings,
            "contact": Contact(role="Coordinator", email="coordinator@partnership.example"),
            "software_version": "0.1.0",
        }
        return build_receipt(**{**parts, **more})

    return of


@pytest.fixture
def faulty(as_frames: Any, agreement: Agreement, context: CheckContext, rows: Any) -> CheckResult:
    rows["person"][0]["date_of_birth"] = "46023"
    rows["item"] += [{"assessment_number": "A-1", "question": str(n), "score": "bad"} for n in range(10, 10_010)]
    return check_tables(as_frames(rows), agreement.contract, agreement.codelists, context)


REFUSAL = Finding(code="gate.unsigned", scope=Scope.SUBMISSION, sentence="Not signed.", mend="Sign it.", clause="4.1")


def test_state_follows_from_findings_and_counts(build: Build) -> None:
    whole, part = {"person": TableCounts(6, 6, 0)}, {"person": TableCounts(6, 5, 1)}
    assert build(whole).state is State.ACCEPTED
    assert build(part).state is State.ACCEPTED_WITH_ROWS_HELD_BACK
    assert build(whole, unchanged=True).state is State.UNCHANGED
    assert build(part, (REFUSAL,), unchanged=True).state is State.REFUSED
    assert build({}, (REFUSAL.model_copy(update={"scope": Scope.FILE}),)).state is State.REFUSED


def test_refused_submission_has_no_accepted_rows(build: Build) -> None:
    receipt = build({"person": TableCounts(6, 5, 1)}, (REFUSAL,))
    assert (receipt.tables[0].accepted, receipt.tables[0].held_back) == (0, 1)


def test_next_steps_fit_what_decided(build: Build) -> None:
    counts = {"person": TableCounts(6, 4, 2)}
    fallen = REFUSAL.model_copy(update={"clause": None, "code": "person.row_count.fallen"})
    empty = REFUSAL.model_copy(update={"clause": None, "code": "person.nhs_number.completeness"})
    assert "the 2 rows that were held back" in build(counts).next_steps
    assert "the row that was held back" in build({"person": TableCounts(6, 5, 1)}).next_steps
    assert "mending the file will not help" in build(counts, (REFUSAL,)).next_steps
    assert "who can let it through" in build(counts, (fallen,)).next_steps
    assert "Mend what is listed" in build(counts, (fallen, empty)).next_steps


def test_next_steps_of_a_refusal_at_the_gate_tell_to_mend_what_the_officer_can_mend(build: Build) -> None:
    closed = REFUSAL.model_copy(update={"code": "gate.period"})
    unknown = closed.model_copy(update={"example": "2026-Q2"})
    version = REFUSAL.model_copy(update={"code": "gate.version", "example": "1.0"})
    for findings in ((closed,), (REFUSAL, closed)):
        assert "mending the file will not help" in build({}, findings).next_steps
    for findings in ((unknown,), (version,), (unknown, version), (REFUSAL, version)):
        for kind in ("full", "nil"):
            steps = build({}, findings, kind=kind).next_steps
            assert "Mend what is listed below" in steps
            assert "will not help" not in steps


def test_receipt_is_frozen_and_knows_no_further_entry(build: Build) -> None:
    receipt = build({})
    with pytest.raises(ValidationError):
        receipt.state = State.REFUSED  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Receipt.model_validate({**receipt.model_dump(), "cells": []})


def test_period_outside_the_agreement_is_not_repeated(build: Build) -> None:
    assert build({}, (REFUSAL,), period="Mrs Canary").period == "not a period of the agreement"


def test_same_receipt_gives_the_same_bytes(build: Build, faulty: CheckResult) -> None:
    one, two = (build(faulty.counts, faulty.findings) for _ in range(2))
    assert receipt_json(one) == receipt_json(two)
    assert receipt_html(one) == receipt_html(two)
    elsewhere = timezone(timedelta(hours=1))
    shifted = build(faulty.counts, faulty.findings, received_at=datetime(2026, 7, 6, 10, 12, tzinfo=elsewhere))
    assert receipt_json(shifted) == receipt_json(one)


def test_json_reads_back_as_the_receipt(build: Build, faulty: CheckResult) -> None:
    receipt = build(faulty.counts, faulty.findings, previous_counts={"person": 5})
    assert Receipt.model_validate(json.loads(receipt_json(receipt))) == receipt


def test_ten_thousand_equal_faults_read_as_one_line(build: Build, faulty: CheckResult) -> None:
    page = receipt_html(build(faulty.counts, faulty.findings)).decode()
    assert page.count("item.score.type") == 1
    assert "14 to 33 and 9,980 more" in page
    assert len(page) < 20_000


def test_merged_findings_put_what_decides_first_and_equal_ones_once() -> None:
    note = REFUSAL.model_copy(update={"scope": Scope.NOTE})
    row = REFUSAL.model_copy(update={"scope": Scope.ROW})
    assert merge_findings((note, row), (REFUSAL, row)) == (REFUSAL, row, note)


@pytest.mark.parametrize(
    ("code", "rows", "others", "other_table", "affected", "words"),
    [
        ("person.sex.code", (2, 3, 4, 9), (), None, 4, "2 to 4 and 9"),
        ("person.sex.code", (2, 3), (), None, 9, "2, 3 and 7 more"),
        ("person.sex.code", (), (), None, 0, ""),
        ("person.local_person_id.unique", (4, 17), (17, 4), None, 2, "17 repeats 4"),
        ("person.local_person_id.unique", (4, 17, 20), (17, 4, 4), None, 9, "17 repeats 4, 20 repeats 4 and 6 more"),
        ("person.repeated_rows", (9, 11), (2, 3), None, 2, "9 repeats 2 and 11 repeats 3"),
        ("item.a.reference.held_back", (5, 6), (3, 8), "person", 2, "5 (row 3 of person.csv) and 6 (row 8)"),
        ("item.a.total", (5, 6, 7), (0, 8, 0), "person", 3, "5, 6 (row 8) and 7"),
    ],
)
def test_rows_read_as_a_person_would_say_them(
    code: str, rows: tuple[int, ...], others: tuple[int, ...], other_table: str | None, affected: int, words: str
) -> None:
    finding = REFUSAL.model_copy(
        update={
            "code": code,
            "table": code.partition(".")[0],
            "first_rows": rows,
            "other_rows": others,
            "other_table": other_table,
            "rows_affected": affected,
        }
    )
    assert rows_in_words(finding) == words


def test_rows_that_were_sound_and_refused_with_the_rest_are_counted_apart(build: Build) -> None:
    (line,) = build({"person": TableCounts(8, 5, 2, 1)}, (REFUSAL,)).tables
    assert (line.received, line.accepted, line.held_back, line.refused, line.repeated) == (8, 0, 2, 5, 1)
    (line,) = build({"person": TableCounts(8, 5, 2, 1)}).tables
    assert (line.received, line.accepted, line.held_back, line.refused, line.repeated) == (8, 5, 2, 0, 1)


def test_correction_is_told_what_its_manifest_has_to_say(build: Build, partner: Partner) -> None:
    part = build({"person": TableCounts(6, 5, 1)})
    assert part.how_to_correct is not None
    assert "kind: correction and supersedes: harbour_trust-2026-Q2-3f9a1c07" in part.how_to_correct
    named = partner.model_copy(update={"mapping": Mapping(manifest_from_name=True)})
    assert build({"person": TableCounts(6, 5, 1)}, partner=named).how_to_correct is None
    assert build({"person": TableCounts(6, 6, 0)}).how_to_correct is None


def test_what_to_do_is_one_sentence(build: Build) -> None:
    part, whole = {"person": TableCounts(6, 5, 1)}, {"person": TableCounts(6, 6, 0)}
    fallen = REFUSAL.model_copy(update={"clause": None, "code": "person.row_count.fallen"})
    mendable = REFUSAL.model_copy(update={"clause": None})
    receipts = [build(part), build(whole), build(whole, unchanged=True)]
    receipts += [
        build(part, (finding,), kind=kind) for finding in (REFUSAL, fallen, mendable) for kind in ("full", "nil")
    ]
    for receipt in receipts:
        assert re.fullmatch(r"[A-Z][^.]+\.", receipt.next_steps)


def test_json_keeps_the_schema_that_is_shipped_with_it(build: Build, faulty: CheckResult) -> None:
    import jsonschema

    shipped = (Path(receipt_module.__file__).parent / "receipt.schema.json").read_bytes()
    assert shipped == receipt_schema(), "write receipt_schema() to expectations/receipt.schema.json again"
    schema = json.loads(shipped)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    first = build(faulty.counts, faulty.findings)
    last = read_earlier(json.loads(receipt_json(first)))
    receipts = [
        first,
        build({"person": TableCounts(6, 6, 0)}, last=last),
        build({}, (REFUSAL,), last=last),
        build({}, unchanged=True),
    ]
    for receipt in receipts:
        validator.validate(json.loads(receipt_json(receipt)))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**json.loads(receipt_json(first)), "cells": []})
    undescribed = [
        f"{name}.{entry}"
        for name, definition in schema["$defs"].items()
        if "description" not in definition
        for entry in [definition]
    ]
    assert undescribed == []


def test_findings_of_one_file_that_are_mended_alike_give_the_words_once(build: Build) -> None:
    alike = [
        REFUSAL.model_copy(
            update={
                "scope": Scope.ROW,
                "file": "person.csv",
                "columns": (name,),
                "code": f"person.{name}.type",
                "sentence": f"{name} is no date.",
                "mend": "Write the year first.",
                "clause": None,
            }
        )
        for name in ("date_of_birth", "recorded_on")
    ]
    page = receipt_html(build({"person": TableCounts(6, 4, 2)}, tuple(alike))).decode()
    assert page.count("Write the year first.") == 1
    assert (
        page.index("date_of_birth is no date.") < page.index("recorded_on is no date.") < page.index("Write the year")
    )


def test_rows_that_wait_for_others_stand_apart_from_what_is_to_mend(build: Build, faulty: CheckResult) -> None:
    page = receipt_html(build(faulty.counts, faulty.findings)).decode()
    assert page.index("Rows held back") < page.index("item.score.type") < page.index("Rows that wait for others")
    assert "(row 2 of person.csv)" in page


# --- the page ---------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """Tags with attributes, in order; and that every element is closed where it should be."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def pages(build: Build, faulty: CheckResult) -> list[str]:
    receipts = [
        build(faulty.counts, faulty.findings, previous_counts={"person": 5}, sunset_notice="Version 0.9 ends."),
        build({"person": TableCounts(6, 6, 0)}),
        build({"person": TableCounts(8, 6, 1, 1)}, (REFUSAL, *faulty.findings)),
        build({}, (REFUSAL,)),
        build({"person": TableCounts(6, 6, 0)}, unchanged=True),
    ]
    return [receipt_html(receipt).decode() for receipt in receipts]


def test_page_is_well_formed_and_structured_for_a_screen_reader(pages: list[str]) -> None:
    for text in pages:
        page = _Page(text)
        assert page.open == []
        assert page.of("html") == [{"lang": "en-GB"}]
        assert [len(page.of(tag)) for tag in ("title", "main", "h1")] == [1, 1, 1]
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert len(page.of("table")) == len(page.of("caption"))
        assert all(attrs.get("scope") in ("row", "col") for attrs in page.of("th"))
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        assert {attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs} <= set(ids)


def test_page_says_first_whether_it_was_accepted_and_what_to_do(pages: list[str]) -> None:
    for text, verdict in zip(
        pages, ["Accepted, with rows held back", "Accepted", "Refused", "Refused", "Unchanged"], strict=True
    ):
        body = text[text.index("<main>") :]
        assert f'<h1 id="verdict">{verdict}</h1>' in body
        assert body.index("<h1") < body.index("What you need to do") < body.index("About this submission")


def test_page_needs_nothing_from_a_network_and_runs_no_script(pages: list[str]) -> None:
    for text in pages:
        page = _Page(text)
        assert not [tag for tag, _ in page.tags if tag in ("script", "img", "link", "iframe", "object")]
        assert not re.search(r"(?:https?:)?//|url\(|@import", text)
        assert {"default-src 'none'; style-src 'unsafe-inline'"} <= {a.get("content") for a in page.of("meta")}


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ink", ["ink", "soft", "link", "good", "part", "stop"])
@pytest.mark.parametrize("ground", ["paper", "ground", "good-ground", "part-ground", "stop-ground"])
def test_colours_keep_the_contrast_of_wcag_aa(pages: list[str], ink: str, ground: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: at least 4.5 to 1."""
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", pages[0]))
    light, dark = _luminance(colours[ground]), _luminance(colours[ink])
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_words_of_the_agreement_are_escaped_in_the_page(build: Build) -> None:
    words = REFUSAL.model_copy(update={"sentence": "<script>alert(1)</script>", "example": '"><b>'})
    page = receipt_html(build({}, (words,), sunset_notice="<i>soon</i>")).decode()
    assert "<script>" not in page
    assert "<i>" not in page
    assert "<b>" not in page


# --- the held-back list -----------------------------------------------------------------------------------------------


def test_held_back_list_names_every_row_and_rule(faulty: CheckResult) -> None:
    content = held_back_csv(faulty)
    lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert content.startswith(b"\xef\xbb\xbf")
    assert lines[0] == ["table", "row", "rule", "how to mend"]
    assert len(lines) == 1 + faulty.held_back.height == 1 + 10_000 + 1 + 1 + 2
    assert lines[1][:3] == ["person", "2", "person.date_of_birth.type"]
    assert "day numbers that Excel" in lines[1][3]


def test_held_back_list_is_written_as_a_csv_writer_would_write_it() -> None:
    words = ["plain", "with, comma", 'with "quotes"', "two\nlines", "", "naïve", "=1+1"]
    lines = [("person, old", row, f"a.{word}", word) for row in range(3) for word in words]
    schema = {"table": pl.String, "row": pl.Int64, "rule": pl.String, "mend": pl.String}
    held_back = pl.DataFrame(lines, schema=schema, orient="row")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["table", "row", "rule", "how to mend"])
    writer.writerows((table, row, rule, f"'{mend}" if mend[:1] == "=" else mend) for table, row, rule, mend in lines)
    assert held_back_csv(CheckResult({}, held_back, (), False, {})).decode("utf-8-sig") == text.getvalue()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_held_back_list_holds_no_formula(faulty: CheckResult, start: str) -> None:
    """The words come from the agreement, which a partnership writes; a spreadsheet must not run them."""
    line = pl.DataFrame({"table": ["person"], "row": [2], "rule": ["person.sex.code"], "mend": [f"{start}1+1"]})
    result = CheckResult({}, line, (), False, {})
    (_, cells) = csv.reader(io.StringIO(held_back_csv(result).decode("utf-8-sig"), newline=""))
    assert cells[3] == f"'{start}1+1"
