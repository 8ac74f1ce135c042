"""Planted faults: found where they were planted, and nowhere near enough to stop the submission."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from protocol.model import Agreement, RuleKind
from synthetic import FileFault, Partnership, plant_faults, spoil_extract, spoil_file, write_extract

KEY = ("northgate_skills", "2026-Q3")


@pytest.fixture(scope="module")
def spoilt(partnership: Partnership, agreement: Agreement):
    return spoil_extract(partnership, agreement, *KEY, seed=9)


def test_every_planted_row_is_held_back_for_its_own_fault_and_the_rest_goes_on(spoilt, check) -> None:
    made, planted = spoilt
    result = check(made, *KEY)
    assert not result.refused
    held = set(result.held_back.select("table", "row", "rule").iter_rows())
    for fault in planted:
        reasons = [rule for table, row, rule in held if (table, row) == (fault.table, fault.row)]
        assert any(fault.kind.value in rule for rule in reasons), fault
        own = [rule for rule in reasons if not rule.endswith(".reference.held_back")]
        assert len(own) == 1, fault
    direct = {(table, row) for table, row, rule in held if not rule.endswith(".reference.held_back")}
    assert direct == {(fault.table, fault.row) for fault in planted}
    assert sum(counts.accepted for counts in result.counts.values()) > 0.85 * sum(result.received.values())


def test_every_kind_of_real_fault_is_planted(spoilt) -> None:
    kinds = Counter(fault.kind for fault in spoilt[1])
    for kind in ("type", "code", "required", "unique", "reference", "date_order"):
        assert kinds[RuleKind(kind)] > 0


def test_some_dates_are_written_day_first(spoilt) -> None:
    contacts = spoilt[0].extracts[KEY]["service_contact"]
    assert contacts["contacted_on"].str.contains(r"^\d\d/\d\d/\d{4}$").any()


def test_manifest_counts_the_rows_that_are_there(spoilt) -> None:
    made, _ = spoilt
    assert made.manifests[KEY]["tables"] == {name: len(frame) for name, frame in made.extracts[KEY].items()}


def test_planting_leaves_the_partnership_and_other_extracts_alone(
    spoilt, partnership: Partnership, agreement: Agreement
) -> None:
    made, _ = spoilt
    assert all(made.extracts[key] is tables for key, tables in partnership.extracts.items() if key != KEY)
    again, planted = plant_faults(partnership.extracts[KEY], agreement, 9)
    assert planted == spoilt[1]
    assert all(frame.equals(made.extracts[KEY][name]) for name, frame in again.items())


def test_small_extract_keeps_most_of_its_rows(agreement: Agreement, partnership: Partnership) -> None:
    few = {name: frame.head(4) for name, frame in partnership.extracts[KEY].items()}
    _, planted = plant_faults(few, agreement, 1)
    assert planted == []


@pytest.fixture
def folder(partnership: Partnership, tmp_path: Path) -> Path:
    return write_extract(partnership.extracts[KEY], partnership.manifests[KEY], tmp_path / "2026-Q3")


def headings_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n", 1)[0].split(",")


def test_missing_and_extra_column(folder: Path) -> None:
    before = headings_of(folder / "person.csv")
    assert headings_of(spoil_file(folder, FileFault.MISSING_COLUMN)) == before[:-1]
    extra = spoil_file(folder, FileFault.EXTRA_COLUMN, "outcome")
    assert headings_of(extra)[-1] == "case_worker"
    assert pl.read_csv(extra, infer_schema=False)["case_worker"].n_unique() == 1


def test_old_windows_encoding_is_no_utf8(folder: Path) -> None:
    path = spoil_file(folder, FileFault.WINDOWS_1252)
    with pytest.raises(UnicodeDecodeError):
        path.read_text(encoding="utf-8")
    assert "Zoë" in path.read_text(encoding="cp1252")


def test_semicolons_stand_between_the_cells(folder: Path) -> None:
    path = spoil_file(folder, FileFault.SEMICOLON)
    assert path.read_text(encoding="utf-8").startswith("local_person_id;nhs_number;")


def test_broken_quotes_leave_an_odd_number_of_them(folder: Path) -> None:
    before = (folder / "person.csv").read_text(encoding="utf-8").count('"')
    assert spoil_file(folder, FileFault.BROKEN_QUOTES).read_text(encoding="utf-8").count('"') == before + 1


def test_empty_missing_and_unknown_file(folder: Path) -> None:
    assert spoil_file(folder, FileFault.EMPTY_FILE, "cost").read_bytes() == b""
    unknown = spoil_file(folder, FileFault.UNKNOWN_FILE)
    assert unknown.name == "clients_final_v2.csv"
    assert not spoil_file(folder, FileFault.MISSING_FILE).exists()
