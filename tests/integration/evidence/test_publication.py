"""What a release looks like outside the database: report, data package and approval page, from one sample."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from evidence.approval import approval_text
from evidence.catalogue import SCHEMA, MeasureTable, load_measures
from evidence.disclosure import ProtectedTables, make_policy, protect
from evidence.model import Draft, Figure, Kind, Measure, Release, ReleaseState, Status, digest_figures, find_figure
from evidence.package import write_package
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


def test_every_sum_that_adds_up_in_the_sample_is_declared(sample_tables: tuple[MeasureTable, ...]) -> None:
    found, undeclared = 0, []
    for table in sample_tables:
        measure = table.measure
        cells: dict[tuple[str, str], list[tuple[dict[str, str], float]]] = {}
        for row in table.frame.iter_rows(named=True):
            if measure.statistic(row["statistic"]).kind in (Kind.COUNT, Kind.SUM):
                cell = (json.loads(row["dims"]), row["value"])
                cells.setdefault((row["statistic"], row["breakdown"]), []).append(cell)
        declared = {(sums.statistic, sums.parts, sums.total) for sums in measure.adds_up if not sums.part_statistic}
        # Parts of parts are parts.
        declared |= {(a[0], a[1], b[2]) for a in declared for b in declared if (a[0], a[2]) == (b[0], b[1])}
        for (statistic, parts), members in cells.items():
            for (other, total), totals in cells.items():
                if statistic == other and parts != total and _adds_up(members, totals):
                    found += 1
                    if (statistic, parts, total) not in declared:
                        undeclared.append(f"{measure.id}: {statistic} of {parts} adds up to {total}")
    assert not undeclared, "; ".join(undeclared)
    assert found > 40


def _adds_up(parts: list[tuple[dict[str, str], float]], totals: list[tuple[dict[str, str], float]]) -> bool:
    """Whether the parts of every total add up to it, and at least one total is no single part."""
    is_sum = False
    for dims, total in totals:
        mine = [value for place, value in parts if dims.items() <= place.items() and value]
        if abs(sum(mine) - total) > 0.001:
            return False
        is_sum = is_sum or len(mine) > 1
    return is_sum


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.id)
@pytest.mark.parametrize("missing", [None, "The agreement shares no assessment.domain, which this measure needs."])
def test_a_release_without_the_figures_of_a_measure_is_packaged(
    release: Release,
    sample_tables: tuple[MeasureTable, ...],
    agreement: Agreement,
    tmp_path: Path,
    measure: Measure,
    missing: str | None,
) -> None:
    empty = MeasureTable(measure, pl.DataFrame(schema=SCHEMA), missing)
    tables = [empty if table.measure.id == measure.id else table for table in sample_tables]
    protected = protect(tables, make_policy(agreement))
    without = release.model_copy(update={"figures_digest": protected.digest})
    folder = write_package(without, protected.figures, MEASURES, agreement, tmp_path / "release")
    (row,) = csv.DictReader(io.StringIO((folder / "measures" / f"{measure.id}.csv").read_text()))
    assert (row["breakdown"], row["value"], row["status"]) == ("all", "", "not_available")
    assert row["reason"] == (missing or "The snapshot has no row that it could be worked out from.")
    assert (folder / "report.html").is_file()
    draft = Draft(release=without, figures=protected.figures)
    assert row["reason"] in approval_text(draft, (release, protected.figures), MEASURES, agreement, {})


def test_the_same_number_in_two_measures_is_withheld_in_both_or_in_neither(
    sample: ProtectedTables, sample_tables: tuple[MeasureTable, ...]
) -> None:
    by_place = {figure.place: figure for figure in sample.figures}
    compared = 0
    for figure in sample.figures:
        same = next(m for m in MEASURES if m.id == figure.measure).statistic(figure.statistic).same_as
        if same is not None:
            other = by_place.get((same.partition(".")[0], figure.breakdown, figure.dims_text, same.partition(".")[2]))
            if other is not None and figure.statistic != "people_with_any":
                assert other.status is figure.status
                compared += 1
    assert compared > 5


def test_few_rows_of_the_person_table_are_withheld_as_people_are(sample: ProtectedTables) -> None:
    held = [
        f
        for f in sample.figures
        if (f.measure, f.statistic) == ("partnership", "rows_held_back") and f.dims.get("table") == "person"
    ]
    assert held
    assert {f.status for f in held} == {Status.WITHHELD}


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
    assert re.search(r"pairs of records that linkage is in doubt about, these are between [\d,]+ and [\d,]+\.", words)
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


def test_people_whom_one_partner_alone_knows_are_read_and_not_worked_out(
    release: Release, sample: ProtectedTables, agreement: Agreement
) -> None:
    def change(figure: Figure) -> Figure:
        if (figure.measure, figure.breakdown, figure.dims.get("size")) == ("overlap", "set", "1"):
            withheld = {"value": None, "status": Status.WITHHELD, "reason": "Few."}
            return figure.model_copy(
                update=withheld if figure.dims["partners"] == "harbour_trust" else {"value": Decimal(7654)}
            )
        return figure

    page = render_report(release, [change(figure) for figure in sample.figures], MEASURES, agreement)
    chart = page[page.index('id="overlap-partners') :]
    chart = chart[: chart.index("</svg>")]
    assert "7,654" in chart
    assert "withheld" in chart


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


def test_text_that_a_spreadsheet_takes_for_a_formula_is_made_harmless_in_the_package(
    release: Release, sample: ProtectedTables, agreement: Agreement, tmp_path: Path
) -> None:
    first, *rest = sample.figures
    figures = (first.model_copy(update={"reason": " =HYPERLINK(1)"}), *rest)
    changed = release.model_copy(update={"figures_digest": digest_figures(figures)})
    folder = write_package(changed, figures, MEASURES, agreement, tmp_path / "package")
    with (folder / "figures.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row if "HYPERLINK" in cell]
    assert cells == ["' =HYPERLINK(1)"]


# --- the approval page ------------------------------------------------------------------------------------------------


def test_the_approval_page_shows_headlines_completeness_linkage_and_gaps(
    release: Release, sample: ProtectedTables, agreement: Agreement
) -> None:
    draft = Draft(release=release, figures=sample.figures)
    page = approval_text(draft, None, MEASURES, agreement, {"Records that could not be linked": "12"})
    unique = find_figure(sample.figures, "reach", "unique_people")
    assert unique is not None
    low, high = (find_figure(sample.figures, "reach", f"people_if_{name}") for name in ("joined", "parted"))
    assert low is not None
    assert high is not None
    assert low.value is not None
    assert high.value is not None
    assert low.value < high.value
    assert f"Reach: different people | {unique.value:,.0f} (between {low.value:,.0f} and {high.value:,.0f}) |" in page
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


def test_the_approval_page_says_what_the_release_covers_and_who_was_left_out(
    release: Release, sample: ProtectedTables, agreement: Agreement
) -> None:
    parameters = {
        "periods": ["2026-Q2", "2026-Q3"],
        "partners": ["castle_borough", "harbour_trust"],
        "left_out": ["riverside_nhs"],
        "left_out_reason": "Changed | its <b>system</b>\n## Approved",
    }
    draft = Draft(release=release.model_copy(update={"parameters": parameters}), figures=sample.figures)
    page = approval_text(draft, None, MEASURES, agreement, {})
    covers = page[page.index("### What it covers") : page.index("### Headline figures")]
    names = {partner.id: partner.name for partner in agreement.partners}
    assert "| Periods | 2026-Q2, 2026-Q3 |" in covers
    assert f"| Partners whose data is in | {names['castle_borough']}, {names['harbour_trust']} |" in covers
    assert f"| Partners left out on purpose | {names['riverside_nhs']} |" in covers
    assert "| Why partners were left out | Changed / its (b)system(/b) ## Approved |" in covers
    without = next(line for line in covers.splitlines() if line.startswith("| Partners without data |"))
    assert names["bridge_housing"] in without
    assert names["riverside_nhs"] not in without


def test_partners_are_not_said_to_be_without_data_where_some_were_left_out_unnamed(
    release: Release, sample: ProtectedTables, agreement: Agreement
) -> None:
    parameters = {"periods": ["2026-Q2"], "partners": ["harbour_trust"], "left_out_reason": "Changed its system"}
    draft = Draft(release=release.model_copy(update={"parameters": parameters}), figures=sample.figures)
    page = approval_text(draft, None, MEASURES, agreement, {})
    assert "| Partners left out, or without data |" in page
    assert "| Partners without data |" not in page


def test_the_digest_of_an_approval_changes_with_all_that_is_approved(
    release: Release, sample: ProtectedTables, agreement: Agreement
) -> None:
    draft = Draft(release=release, figures=sample.figures)
    changes = (
        {"parameters": {**release.parameters, "periods": ["2026-Q2"]}},
        {"snapshot_digest": "6e" * 32},
        {"agreement_digest": "7f" * 32},
    )
    others = [Draft(release=release.model_copy(update=change), figures=sample.figures) for change in changes]
    others.append(Draft(release=release, figures=sample.figures[1:]))
    assert len({draft.approval_digest, *(other.approval_digest for other in others)}) == 5
    shuffled = release.model_copy(update={"parameters": dict(reversed(release.parameters.items()))})
    assert Draft(release=shuffled, figures=tuple(reversed(sample.figures))).approval_digest == draft.approval_digest
    assert f"`{draft.approval_digest}`" in approval_text(draft, None, MEASURES, agreement, {})
