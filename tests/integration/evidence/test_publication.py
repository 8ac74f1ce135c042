"""What a release looks like outside the database: report, data package and approval page, from one sample."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from evidence.approval import approval_text
from evidence.catalogue import MeasureTable, load_measures
from evidence.disclosure import ProtectedTables, make_policy
from evidence.model import Draft, Figure, Kind, Release, ReleaseState, Status, find_figure
from evidence.package import make_safe, write_package
from evidence.report import render_report
from protocol.errors import ReleaseRefused
from protocol.model import Agreement

MEASURES = load_measures()


@pytest.fixture(scope="session")
def release(sample: ProtectedTables, agreement: Agreement) -> Release:
    """The sample as a published release."""
    return Release(
        release_id="2026-q3-1",
        number=2,
        state=ReleaseState.PUBLISHED,
        snapshot_id="s1",
        snapshot_digest="5d" * 32,
        figures_digest=sample.digest,
        agreement_version=agreement.version,
        agreement_digest=agreement.digest,
        code_version="0.1.0",
        parameters={
            "periods": ["2026-Q2", "2026-Q3"],
            "left_out_reason": "Riverside changed its system",
            "coverage": [{"partner": "harbour_trust", "rows": 98765}],
        },
        prepared_at=datetime(2026, 10, 13, tzinfo=UTC),
        approver="coordinator",
        reason="Checked with all six partners",
        approved_at=datetime(2026, 10, 14, tzinfo=UTC),
        published_at=datetime(2026, 10, 14, tzinfo=UTC),
    )


@pytest.fixture(scope="session")
def report(release: Release, sample: ProtectedTables, agreement: Agreement) -> str:
    """Its report."""
    return render_report(release, sample.figures, MEASURES, agreement)


@pytest.fixture(scope="session")
def package(
    release: Release, sample: ProtectedTables, agreement: Agreement, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Its data package."""
    return write_package(release, sample.figures, MEASURES, agreement, tmp_path_factory.mktemp("out") / "release-2")


# --- the figures themselves -------------------------------------------------------------------------------------------


def test_every_measure_of_the_catalogue_has_figures_in_the_sample(sample: ProtectedTables) -> None:
    shown = {figure.measure for figure in sample.figures if figure.status is Status.PUBLISHED}
    assert shown == {measure.id for measure in MEASURES}


def test_no_published_count_of_people_in_the_sample_is_below_the_agreed_minimum(
    sample: ProtectedTables, sample_tables: tuple[MeasureTable, ...], agreement: Agreement
) -> None:
    exact = {
        (table.measure.id, row["breakdown"], row["dims"], row["statistic"]): row
        for table in sample_tables
        for row in table.frame.iter_rows(named=True)
    }
    minimum = make_policy(agreement).minimum_people
    seen = 0
    for figure in sample.figures:
        row = exact[figure.place]
        if figure.status is Status.PUBLISHED:
            assert row["people"] is None or row["people"] == 0 or row["people"] >= minimum
            assert row["base_people"] is None or row["base_people"] == 0 or row["base_people"] >= minimum
        else:
            seen += 1
            assert figure.value is None
            assert figure.reason
    assert seen > 20, "the sample has to have something to withhold"


def test_shares_of_the_sample_follow_from_the_counts_published_beside_them(sample: ProtectedTables) -> None:
    measures = {measure.id: measure for measure in MEASURES}
    compared = 0
    for figure in sample.figures:
        statistic = measures[figure.measure].statistic(figure.statistic)
        if statistic.kind is not Kind.SHARE or figure.status is not Status.PUBLISHED:
            continue
        assert figure.numerator is not None
        assert figure.denominator is not None
        assert abs(figure.value - figure.numerator / figure.denominator) < 0.0001  # type: ignore[operator]
        for reference, number in ((statistic.of, figure.numerator), (statistic.over, figure.denominator)):
            count = find_figure(sample.figures, figure.measure, str(reference), figure.breakdown, figure.dims)
            assert count is not None
            assert count.value == number
            compared += 1
    assert compared > 50


# --- the report -------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What the tests ask of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all_of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_report_needs_no_script_and_no_network(report: str) -> None:
    page = Page(report)
    assert not page.all_of("script")
    assert not page.all_of("link")
    assert not page.all_of("img")
    assert all((a.get("href") or "").startswith("#") for a in page.all_of("a"))
    assert "@import" not in report
    assert not re.findall(r"url\((?!#)", report)
    outside = re.findall(r"https?://[^\"'\s<]+", report)
    assert {address for address in outside if not address.startswith("http://www.w3.org/")} == set()


def test_every_chart_has_a_title_and_a_description_and_a_table_beneath(report: str) -> None:
    page = Page(report)
    charts = [svg for svg in page.all_of("svg") if svg.get("role") == "img"]
    assert len(charts) == len(page.all_of("svg")) >= 8
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for chart in charts:
        for name in str(chart["aria-labelledby"]).split():
            assert name in ids
    assert len(page.all_of("table")) >= len(charts)
    assert page.all_of("html")[0]["lang"] == "en-GB"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_report_says_what_was_withheld_and_why(report: str, sample: ProtectedTables) -> None:
    words = " ".join(" ".join(Page(report).text).split())
    assert f"{len(sample.withheld):,} are withheld" in words
    for reason in {figure.reason for figure in sample.withheld}:
        assert reason is not None
        assert reason in words


def test_the_report_uses_the_agreements_words_and_shows_the_headline(
    report: str, sample: ProtectedTables, agreement: Agreement
) -> None:
    words = " ".join(Page(report).text)
    unique = find_figure(sample.figures, "reach", "unique_people")
    assert unique is not None
    assert f"{unique.value:,.0f}" in words
    assert all(partner.name in words for partner in agreement.partners)
    assert "2026-Q2" in words


def test_the_same_release_gives_the_same_report(
    report: str, release: Release, sample: ProtectedTables, agreement: Agreement
) -> None:
    again = render_report(release, tuple(reversed(sample.figures)), MEASURES, agreement)
    assert again == report


def test_a_release_with_nothing_available_still_has_a_report(release: Release, agreement: Agreement) -> None:
    figures = [
        Figure(
            measure=measure.id,
            breakdown="all",
            dims={},
            statistic=measure.statistics[0].id,
            value=None,
            unit=measure.statistics[0].unit,
            status=Status.NOT_AVAILABLE,
            reason="The agreement shares no assessment.domain, which this measure needs.",
        )
        for measure in MEASURES
    ]
    words = " ".join(Page(render_report(release, figures, MEASURES, agreement)).text)
    assert "Not available" in words
    assert "shares no assessment.domain" in words


def test_markup_in_a_reason_is_text_in_the_report(
    release: Release, sample: ProtectedTables, agreement: Agreement
) -> None:
    hostile = release.model_copy(update={"reason": "<script>alert(1)</script> all checked"})
    page = Page(render_report(hostile, sample.figures, MEASURES, agreement))
    assert not page.all_of("script")


# --- the data package -------------------------------------------------------------------------------------------------


def test_frictionless_accepts_the_data_package(package: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "frictionless", "validate", "datapackage.json", "--json"],
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:]
    checked = json.loads(ran.stdout)
    assert checked["valid"]
    assert checked["stats"]["tasks"] == 2 + len(MEASURES)


def test_the_data_package_is_complete_and_its_digests_hold(package: Path, sample: ProtectedTables) -> None:
    lines = (package / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert set(listed) == files - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((package / name).read_bytes()).hexdigest() == digest
    rows = list(csv.DictReader(io.StringIO((package / "figures.csv").read_text())))
    assert len(rows) == len(sample.figures)
    frame = pl.read_parquet(package / "figures.parquet")
    assert frame.height == len(rows)
    assert frame["value"].to_list() == [float(row["value"]) if row["value"] else None for row in rows]
    assert frame.columns == list(rows[0])


def test_only_named_fields_of_the_release_are_in_the_package(package: Path) -> None:
    described = json.loads((package / "datapackage.json").read_text())["linkarms"]
    assert described["parameters"]["periods"] == ["2026-Q2", "2026-Q3"]
    assert "coverage" not in described["parameters"]
    assert not any(b"98765" in path.read_bytes() for path in package.rglob("*") if path.is_file())


def test_a_partner_that_was_left_out_is_flagged_in_the_report(report: str) -> None:
    assert "Published without a partner. Riverside changed its system" in " ".join(" ".join(Page(report).text).split())


def test_withheld_figures_are_empty_in_the_data_package(package: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((package / "figures.csv").read_text())))
    withheld = [row for row in rows if row["status"] == "withheld"]
    assert withheld
    assert {(row["value"], row["numerator"], row["denominator"]) for row in withheld} == {("", "", "")}
    assert all(row["reason"] for row in withheld)


def test_the_same_release_gives_the_same_package(
    package: Path, release: Release, sample: ProtectedTables, agreement: Agreement, tmp_path: Path
) -> None:
    again = write_package(release, sample.figures, MEASURES, agreement, tmp_path / "again")
    assert (again / "SHA256SUMS").read_bytes() == (package / "SHA256SUMS").read_bytes()
    before = (package / "SHA256SUMS").stat().st_mtime_ns
    assert write_package(release, sample.figures, MEASURES, agreement, package) == package
    assert (package / "SHA256SUMS").stat().st_mtime_ns == before
    assert [path.name for path in package.parent.iterdir()] == [package.name]


def test_a_package_is_never_overwritten_and_never_holds_other_figures(
    release: Release, sample: ProtectedTables, agreement: Agreement, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("somebody's")
    with pytest.raises(ReleaseRefused, match="something else"):
        write_package(release, sample.figures, MEASURES, agreement, tmp_path / "taken")
    with pytest.raises(ReleaseRefused, match="not the ones"):
        write_package(release, sample.figures[1:], MEASURES, agreement, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_a_spreadsheet_takes_for_a_formula_is_made_safe(start: str) -> None:
    assert make_safe(f"{start}HYPERLINK(1)") == f"'{start}HYPERLINK(1)"
    assert make_safe("Housing") == "Housing"


# --- the approval page ------------------------------------------------------------------------------------------------


def test_the_approval_page_shows_headlines_completeness_linkage_and_gaps(
    release: Release, sample: ProtectedTables, agreement: Agreement
) -> None:
    draft = Draft(release=release, figures=sample.figures)
    page = approval_text(draft, None, MEASURES, agreement, {"Records that could not be linked": "12"})
    unique = find_figure(sample.figures, "reach", "unique_people")
    assert unique is not None
    assert f"Reach: different people | {unique.value:,.0f} |" in page
    assert "| Records that could not be linked | 12 |" in page
    assert "| Lantern Youth" not in page or "**no data**" in page
    assert f"{len(sample.withheld):,} of {len(sample.figures):,} figures are withheld" in page
    assert release.figures_digest in page
    assert "first release" in page


def test_the_approval_page_tells_what_changed_since_the_last_release(
    release: Release, sample: ProtectedTables, agreement: Agreement
) -> None:
    def change(figure: Figure) -> Figure:
        is_headline = (figure.measure, figure.breakdown, figure.statistic) == ("reach", "all", "unique_people")
        return figure.model_copy(update={"value": 5}) if is_headline else figure

    earlier = [change(figure) for figure in sample.figures[:-3]]
    previous = (release.model_copy(update={"number": 1}), earlier)
    page = approval_text(Draft(release=release, figures=sample.figures), previous, MEASURES, agreement, {})
    assert "Against release 1: 3 figures are new, 0 are gone, 1 changed" in page
    assert "| Reach: different people | 5 |" in page
