"""A workbook that was filled in is a submission like any other: intake reads the rows that were written."""

from pathlib import Path

import polars as pl

from intake.channels import FetchedDrop
from intake.manifest import read_manifest
from intake.reading import read_tables
from intake.taking import Limits, take_in
from protocol.generated.workbook import make_workbook
from protocol.model import Agreement, ColumnType, Contract
from synthetic.from_agreement import make_sample


def typed(frame: pl.DataFrame, table: str, contract: Contract) -> pl.DataFrame:
    """The agreed columns, decimals as numbers: a workbook knows no zeros behind a number."""
    columns = contract.table(table).columns
    return frame.select(
        pl.col(column.name).cast(pl.Float64) if column.type is ColumnType.DECIMAL else column.name for column in columns
    )


def test_rows_that_were_filled_in_are_read_as_they_were(agreement: Agreement, tmp_path: Path) -> None:
    partner = agreement.partner("harbour_trust")
    sample = make_sample(agreement, partner.id, "2026-Q1", rows=150)
    rows = {name: frame.to_dicts() for name, frame in sample.tables.items()}
    manifest = {name: str(sample.manifest[name]) for name in ("period", "kind", "extracted_on")}
    drop = tmp_path / "extract.xlsx"
    drop.write_bytes(make_workbook(agreement, partner, rows=rows, manifest=manifest))

    taken, findings = take_in(FetchedDrop(drop, drop.name), tmp_path / "work", Limits(), partner)
    assert taken is not None, findings
    said, findings = read_manifest(taken, partner, agreement.contract)
    assert said is not None, findings
    assert (said.period, said.extracted_on.isoformat()) == ("2026-Q1", manifest["extracted_on"])
    tables, findings = read_tables(taken, said, agreement.contract, partner)
    assert findings == ()
    assert tables.keys() == sample.tables.keys()
    for name, frame in sample.tables.items():
        assert typed(tables[name], name, agreement.contract).equals(typed(frame, name, agreement.contract)), name
        assert tables[name]["_row"].to_list() == list(range(2, frame.height + 2))


def test_the_template_as_it_is_asks_for_what_is_missing_and_no_more(agreement: Agreement, tmp_path: Path) -> None:
    partner = agreement.partner("harbour_trust")
    drop = tmp_path / "extract.xlsx"
    drop.write_bytes(make_workbook(agreement, partner))
    taken, findings = take_in(FetchedDrop(drop, drop.name), tmp_path / "work", Limits(), partner)
    assert taken is not None, findings
    said, findings = read_manifest(taken, partner, agreement.contract)
    assert said is None
    assert {finding.code for finding in findings} == {"manifest.entry_missing"}
    told = " ".join(finding.sentence for finding in findings)
    assert "period" in told
    assert "extracted_on" in told
    assert len(findings) == 2
