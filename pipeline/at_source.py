"""`linkarms pseudonymise`: on a partner's own machine, an extract becomes one envelope without an identifier in clear.

The extract is checked as `linkarms check` does. What would be taken in becomes inner tokens in memory and goes, packed
and sealed in one stream, into the envelope: nothing of it is on the disk in between, and neither is the extract, but
for the private copy that the check reads and removes (``tests/integration/officer/test_pseudonymise.py``).
The same extract under the same key gives the same content, so that the hub knows it again.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from expectations.receipt import State
from intake.manifest import ManifestKind
from pipeline.officer import OfficerCheck, Progress, check_extract
from pipeline.seal_extract import read_public_key, write_sealed_archive
from protocol.at_source import ENCODINGS, FINDING_COLUMNS, FINDINGS, FORMAT, MATCH_KEYS
from protocol.errors import DefectFound, LinkarmsError
from protocol.finding import Scope
from protocol.model import Agreement

if TYPE_CHECKING:
    from pseudonymise.at_source import InnerFrames
    from pseudonymise.partner_key import InnerKeys

_PACKAGES = ("cryptography", "polars_hash", "anyascii", "phonenumbers", "numpy", "pyarrow")


@dataclass(frozen=True)
class SourceDrop:
    """What became of an extract."""

    check: OfficerCheck
    path: Path | None
    """The envelope; None where the hub would refuse the extract, so that there is none."""
    sealed_to: str | None = None
    """Id of the hub's public key."""
    k1_id: str | None = None
    size: int = 0


def demand_packages() -> None:
    """Raises LinkarmsError where the packages are missing that a data officer's check can do without."""
    if any(find_spec(name) is None for name in _PACKAGES):
        raise LinkarmsError(
            'Pseudonymising needs more packages. Install them with: pip install "linkarms[pseudonymise]"'
        )


def pseudonymise_extract(
    extract: Path,
    agreement: Agreement,
    keys: "InnerKeys",
    public_key_file: Path,
    out: Path,
    *,
    now: datetime,
    partner_id: str | None = None,
    choose_partner: Callable[[tuple[str, ...]], str] | None = None,
    progress: Progress = lambda *_: None,
) -> SourceDrop:
    """Check a folder, a .zip or a workbook, and write the envelope unless the hub would refuse it.

    ``keys`` hold K1; ``public_key_file`` has the hub's sealing key; ``out`` is written whole or not at all. Raises
    LinkarmsError as :func:`pipeline.officer.check_extract` does, and where the key or ``out`` cannot be used.
    """
    from pseudonymise.at_source import pseudonymise_inner

    public_key = read_public_key(public_key_file)
    check = check_extract(
        extract, agreement, now=now, partner_id=partner_id, choose_partner=choose_partner, progress=progress
    )
    if check.receipt.state is State.REFUSED or check.manifest is None or check.result is None:
        return SourceDrop(check, None)
    inner = pseudonymise_inner(
        check.result.accepted,
        agreement.contract,
        check.manifest.partner,
        keys,
        as_of=check.manifest.extracted_on,
    )
    size = write_sealed_archive(out, public_key, _files(check, inner, agreement))
    return SourceDrop(check, out, public_key.id, inner.k1_id, size)


def _files(check: OfficerCheck, inner: "InnerFrames", agreement: Agreement) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of the drop, made when it is asked for."""
    yield "manifest.json", _manifest(check, inner, agreement)
    if check.manifest is not None and check.manifest.kind is ManifestKind.NIL:
        return
    nil_tables = check.manifest.nil_tables if check.manifest is not None else ()
    for name, frame in inner.tables.items():
        if name not in nil_tables:
            yield f"{name}.csv", _csv(frame, "non_numeric")
    yield MATCH_KEYS, _csv(inner.match_keys)
    yield ENCODINGS, _csv(inner.encodings)
    yield FINDINGS, _csv(_findings(check))


def _manifest(check: OfficerCheck, inner: "InnerFrames", agreement: Agreement) -> bytes:
    manifest, result = check.manifest, check.result
    if manifest is None or result is None:
        raise DefectFound("an extract without a manifest was to be pseudonymised")
    rows: dict[str, Any] = {name: frame.height for name, frame in inner.tables.items()}
    entries = {
        "partner": manifest.partner,
        "period": manifest.period,
        "agreement_version": manifest.agreement_version,
        "kind": manifest.kind.value,
        "extracted_on": manifest.extracted_on.isoformat(),
        "tables": rows | dict.fromkeys(manifest.nil_tables, "nil"),
        "pseudonymised": {
            "format": FORMAT,
            "scheme": inner.scheme,
            "k1_id": inner.k1_id,
            "agreement_digest": agreement.digest,
            "tables": {
                name: {
                    "received": count.received,
                    "accepted": count.accepted,
                    "held_back": count.held_back,
                    "repeated": count.repeated,
                }
                for name, count in result.counts.items()
            },
        },
    }
    if manifest.supersedes is not None:
        entries["supersedes"] = manifest.supersedes
    return json.dumps(entries, indent=1, sort_keys=True).encode() + b"\n"


def _findings(check: OfficerCheck) -> pl.DataFrame:
    """Codes and row numbers of what was held back or noted; the hub has the words."""
    told = [
        (
            finding.code,
            finding.scope.value,
            finding.table,
            str(finding.rows_affected),
            " ".join(map(str, finding.first_rows)),
        )
        for finding in check.receipt.findings
        if finding.scope in (Scope.ROW, Scope.NOTE) and not finding.code.endswith(".not_checked")
    ]
    return pl.DataFrame(told, schema=dict.fromkeys(FINDING_COLUMNS, pl.String), orient="row")


def _csv(frame: pl.DataFrame, quote: Any = "necessary") -> bytes:
    sink = BytesIO()
    frame.write_csv(sink, quote_style=quote)
    return sink.getvalue()
