"""What a partner says about its own submission."""

import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from intake import ManifestKind, read_manifest
from protocol.model import Contract, Mapping, Partner

Step = Callable[..., Any]


@pytest.fixture
def read(take: Step, drop_folder: Step, contract: Contract, partner: Partner) -> Step:
    count = 0

    def run(
        manifest: bytes | None,
        by: Partner | None = None,
        name: str = "manifest.yaml",
        drop: str | None = None,
        **files: bytes,
    ) -> Any:
        nonlocal count
        count += 1
        content = {name: manifest} if manifest is not None else {}
        content |= {f"{table}.csv": text for table, text in files.items()}
        taken, findings = take(drop_folder(content, drop or f"drop-{count}"), by=by)
        assert taken is not None, findings
        return read_manifest(taken, by or partner, contract)

    return run


def test_manifest_in_yaml_is_read_without_guessing_types(read: Step, files: dict[str, bytes]) -> None:
    manifest, findings = read(files["manifest.yaml"], person=b"x", assessment=b"x")
    assert findings == ()
    assert manifest.agreement_version == "1.0"
    assert manifest.extracted_on == date(2026, 4, 3)
    assert manifest.kind is ManifestKind.FULL
    assert manifest.tables == {"person": 2, "assessment": 2}


def test_manifest_in_json_says_the_same(read: Step, make_manifest: Step) -> None:
    manifest, findings = read(make_manifest({"person": 2, "cost": "nil"}, agreement_version=1.0), name="manifest.json")
    assert findings == ()
    assert manifest.tables == {"person": 2, "cost": None}
    assert manifest.nil_tables == ("cost",)
    assert manifest.agreement_version == "1.0"


def test_manifest_saved_with_a_byte_order_mark_is_read(read: Step, files: dict[str, bytes]) -> None:
    assert read(b"\xef\xbb\xbf" + files["manifest.yaml"], person=b"x")[1] == ()


def test_missing_entries_are_told_all_at_once_each_with_an_example(read: Step, codes: Step) -> None:
    manifest, findings = read(b"kind: full\n")
    assert manifest is None
    assert codes(findings) == ["manifest.entry_missing"] * 5
    assert {finding.sentence.split("'")[1] for finding in findings} == {
        "partner",
        "period",
        "agreement_version",
        "extracted_on",
        "tables",
    }
    assert any("period: 2026-Q1" in finding.mend for finding in findings)


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({"partner": "bridge_housing"}, "manifest.partner"),
        ({"partner": "Not An Id"}, "manifest.entry_form"),
        ({"period": "../2026"}, "manifest.entry_form"),
        ({"kind": "complete"}, "manifest.entry_form"),
        ({"extracted_on": "03/04/2026"}, "manifest.entry_form"),
        ({"extracted_on": "2026-02-30"}, "manifest.entry_form"),
        ({"extracted_on": ["2026-02-03"]}, "manifest.entry_form"),
        ({"kind": "correction"}, "manifest.entry_missing"),
        ({"kind": "correction", "supersedes": "the last one"}, "manifest.entry_form"),
        ({"supersedes": "sub-0123456789abcdef0123"}, "manifest.supersedes_without_correction"),
        ({"tables": {"person": "two"}}, "manifest.rows"),
        ({"tables": {"person": -1}}, "manifest.rows"),
        ({"tables": {"person": 1.5}}, "manifest.rows"),
        ({"tables": {"persons": 1}}, "manifest.entry_unknown"),
        ({"tables": ["person"]}, "manifest.entry_form"),
        ({"tables": {}}, "manifest.entry_missing"),
        ({"periode": "2026-Q1"}, "manifest.entry_unknown"),
        ({"kind": "nil", "tables": {"person": 3}}, "manifest.nil_with_rows"),
    ],
)
def test_odd_entry_is_told(read: Step, make_manifest: Step, codes: Step, entries: dict[str, Any], code: str) -> None:
    manifest, findings = read(make_manifest(**({"tables": {"person": 1}} | entries)))
    assert manifest is None
    assert codes(findings) == [code]


def test_unknown_entry_is_told_by_its_place_and_nearest_known_name(
    read: Step, make_manifest: Step, canary: str
) -> None:
    _, findings = read(make_manifest({"person": 1, canary: 1, "asessment": 2}, **{canary: canary}))
    assert canary not in repr(findings)
    assert any("is it meant to be assessment?" in finding.sentence for finding in findings)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a\n- b\n",
        b"just words",
        b"{",
        b"a: [",
        b"\t\t:",
        b"a: &x [*x]",
        b"!!python/object:os.system {}",
        b"{" * 5000,
        b"[" * 5000,
        b"a: {b: {c: {d: {e: {f: 1}}}}}",
        b'{"a": 1e99999}',
    ],
)
def test_file_that_is_no_manifest_is_told_and_never_crashes(read: Step, content: bytes) -> None:
    manifest, findings = read(content)
    assert manifest is None
    assert findings


def _nest_aliases() -> bytes:
    """4 KB that stand for 27 million values, no deeper than a manifest may be."""
    return (
        f"a: &a [{', '.join(['x'] * 300)}]\nb: &b [{', '.join(['*a'] * 300)}]\nc: [{', '.join(['*b'] * 300)}]\n"
    ).encode()


@pytest.mark.parametrize(
    "harm",
    [
        _nest_aliases(),
        b"partner: &me harbour_trust\n",
        b"base: &base {kind: full}\n<<: *base\n",
        b"tables: {" + b"person: 1, " * 5000 + b"cost: 1}\n",
        b"{" + b",".join(b'"k%d": 1' % number for number in range(5000)) + b"}",
    ],
    ids=["alias bomb", "anchor", "merge", "long", "long JSON"],
)
def test_manifest_that_is_made_to_keep_its_reader_busy_is_refused_at_once(read: Step, codes: Step, harm: bytes) -> None:
    start = time.perf_counter()
    assert codes(read(harm)[1]) == ["manifest.form"]
    assert time.perf_counter() - start < 1


def test_entry_that_stands_twice_is_told(read: Step, codes: Step) -> None:
    assert codes(read(b"partner: a\npartner: b\n")[1]) == ["manifest.twice"]
    assert codes(read(b'{"partner": "a", "partner": "b"}')[1]) == ["manifest.twice"]


def test_manifest_in_another_encoding_is_told(read: Step, codes: Step) -> None:
    assert codes(read("partner: château\n".encode("cp1252"))[1]) == ["manifest.encoding"]


def test_drop_without_a_manifest_is_told(read: Step, codes: Step) -> None:
    assert codes(read(None, person=b"x")[1]) == ["manifest.missing"]


def test_nil_return_has_no_files(read: Step, make_manifest: Step, codes: Step) -> None:
    manifest, findings = read(make_manifest(kind="nil"))
    assert findings == ()
    assert manifest.kind is ManifestKind.NIL
    manifest, findings = read(make_manifest(kind="nil", tables={"person": "nil"}))
    assert manifest.nil_tables == ("person",)
    assert codes(read(make_manifest(kind="nil"), person=b"x")[1]) == ["manifest.nil_with_files"]


def test_export_without_a_manifest_has_its_period_in_its_name(
    read: Step, make_partner: Callable[..., Partner], codes: Step
) -> None:
    exporting = make_partner(Mapping(manifest_from_name=True))
    manifest, findings = read(None, exporting, drop="2026-Q1", person=b"x")
    assert findings == ()
    assert (manifest.period, manifest.kind, manifest.agreement_version) == ("2026-Q1", "full", "1.0")
    assert codes(read(None, exporting, drop="export of March", person=b"x")[1]) == ["manifest.period_name"]


def test_extract_day_of_an_export_is_given_or_that_of_its_files(
    take: Step, drop_folder: Step, contract: Contract, make_partner: Callable[..., Partner]
) -> None:
    exporting = make_partner(Mapping(manifest_from_name=True))
    taken, _ = take(drop_folder({"a.csv": b"x"}, "2026-Q1"), by=exporting)
    manifest, _ = read_manifest(taken, exporting, contract)
    assert manifest is not None
    assert manifest.extracted_on == taken.changed_on
    manifest, _ = read_manifest(taken, exporting, contract, extracted_on=date(2026, 4, 1))
    assert manifest is not None
    assert manifest.extracted_on == date(2026, 4, 1)
