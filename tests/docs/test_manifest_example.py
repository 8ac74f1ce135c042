"""The manifest that the how-to shows is one that intake reads."""

import re
from datetime import UTC, datetime
from pathlib import Path

from intake.channels import FetchedDrop
from intake.manifest import read_manifest
from intake.taking import Limits, take_in
from protocol.model import Agreement

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "drop-an-extract.md"


def test_the_manifest_of_the_how_to_is_read_without_a_finding(agreement: Agreement, tmp_path: Path) -> None:
    drop = tmp_path / "2026-Q3"
    drop.mkdir()
    text = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert text is not None
    (drop / "manifest.yaml").write_text(text[1], encoding="utf-8")
    partner = agreement.partner("harbour_trust")
    taken, findings = take_in(FetchedDrop(drop, drop.name), tmp_path / "work", Limits(), partner)
    assert taken is not None
    assert findings == ()
    manifest, findings = read_manifest(taken, partner, agreement.contract)
    assert findings == ()
    assert manifest is not None
    assert manifest.tables == {"person": 534, "assessment": 499, "referral": None}
    assert manifest.extracted_on < datetime.now(UTC).date()
