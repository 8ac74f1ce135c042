"""The manifest's template is refused politely as it is, and read once it is filled in."""

import codecs
from datetime import UTC, datetime
from pathlib import Path

from intake.channels import FetchedDrop
from intake.manifest import Manifest, ManifestKind, read_manifest
from intake.taking import Limits, take_in
from protocol.finding import Finding
from protocol.generated.names import MANIFEST_ENTRIES, MANIFEST_KINDS
from protocol.generated.templates import csv_template, manifest_template
from protocol.generated.versions import AgreedVersion, agreed_versions
from protocol.model import Agreement


def read(agreement: Agreement, text: str, folder: Path) -> tuple[Manifest | None, tuple[Finding, ...]]:
    drop = folder / "drop"
    drop.mkdir()
    (drop / "manifest.yaml").write_text(text, encoding="utf-8")
    partner = agreement.partner("harbour_trust")
    taken, findings = take_in(FetchedDrop(drop, drop.name), folder / "work", Limits(), partner)
    assert taken is not None, findings
    return read_manifest(taken, partner, agreement.contract)


def test_the_template_as_it_is_is_refused_with_what_to_fill_in(
    agreement: Agreement, version: AgreedVersion, tmp_path: Path
) -> None:
    text = manifest_template(agreement, agreement.partner("harbour_trust"), version).decode()
    manifest, findings = read(agreement, text, tmp_path)
    assert manifest is None
    assert {finding.code for finding in findings} == {"manifest.entry_missing", "manifest.rows"}
    told = " ".join(finding.sentence for finding in findings)
    assert all(name in told for name in ("period", "extracted_on", "person", "assessment"))
    assert "referral" not in told


def test_the_template_filled_in_is_read(agreement: Agreement, version: AgreedVersion, tmp_path: Path) -> None:
    text = manifest_template(agreement, agreement.partner("harbour_trust"), version).decode()
    text = text.replace("period:  #", "period: 2026-Q1  #").replace("extracted_on:  #", "extracted_on: 2026-04-03  #")
    for table in agreement.contract.tables:
        text = text.replace(f"  #{table.name}:", f"  {table.name}:")
        text = text.replace(f"  {table.name}: ", f"  {table.name}: 12 ")
    manifest, findings = read(agreement, text, tmp_path)
    assert findings == ()
    assert manifest is not None
    assert manifest.tables == dict.fromkeys(agreement.contract.table_names, 12)
    assert manifest.extracted_on < datetime.now(UTC).date()


def test_it_knows_the_entries_and_kinds_that_intake_knows() -> None:
    assert tuple(kind.value for kind in ManifestKind) == MANIFEST_KINDS
    asked_for = {name for name, field in Manifest.model_fields.items() if field.is_required()}
    assert asked_for <= set(MANIFEST_ENTRIES) <= set(Manifest.model_fields)


def test_a_csv_template_is_its_headings_in_a_form_that_excel_keeps(agreement: Agreement) -> None:
    columns = agreement.contract.table("person").column_names
    content = csv_template(columns)
    assert content == codecs.BOM_UTF8 + ",".join(columns).encode() + b"\r\n"


def test_each_versions_template_names_its_version_and_periods(two_versions: Agreement) -> None:
    newest, earlier = (manifest_template(two_versions, None, v).decode() for v in agreed_versions(two_versions))
    assert 'agreement_version: "2.0"' in newest
    assert "such as 2026-Q3" in newest
    assert 'agreement_version: "1.0"' in earlier
    assert "such as 2026-Q1; the last is 2026-Q3" in earlier
