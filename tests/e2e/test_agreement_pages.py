"""The pages that are made from the agreement, in a real Chromium: offline, on a telephone, on paper, with axe."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.agreement_documents import replace_folder
from protocol.changes import classify_changes
from protocol.changes.report import render_html
from protocol.generated.documents import make_documents
from protocol.loading import load_agreement
from protocol.model import Agreement
from tests.e2e.browser import assert_accessible, keep

pytestmark = pytest.mark.browser

PAGES = ("index", "who-sees-what", "processing-register", "v1/dictionary")
HMIS = Path(__file__).resolve().parents[2] / "examples" / "hmis"


@pytest.fixture(scope="module")
def pages(agreement: Agreement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both agreements' pages."""
    folder = tmp_path_factory.mktemp("pages")
    replace_folder(folder / "example", make_documents(agreement))
    replace_folder(folder / "hmis", make_documents(load_agreement(HMIS)))
    return folder


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("partnership", ["example", "hmis"])
def test_each_page_is_accessible_offline_and_fits_a_telephone(
    offline_page: Any, pages: Path, partnership: str, name: str
) -> None:
    offline_page.goto(f"file://{pages / partnership / name}.html")
    assert_accessible(offline_page)
    keep(offline_page, f"{partnership}-{name.replace('/', '-')}", full=True)
    offline_page.set_viewport_size({"width": 390, "height": 800})
    assert offline_page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_reaches_the_content_first(offline_page: Any, pages: Path) -> None:
    offline_page.goto(f"file://{pages}/example/index.html")
    offline_page.keyboard.press("Tab")
    assert offline_page.evaluate("document.activeElement.textContent") == "Skip to the content"
    offline_page.keyboard.press("Enter")
    assert offline_page.url.endswith("#main")


def test_the_summary_prints_on_one_sheet_of_paper(offline_page: Any, pages: Path) -> None:
    offline_page.goto(f"file://{pages}/example/index.html")
    printed = offline_page.pdf(prefer_css_page_size=True)
    assert 1 <= printed.count(b"/Type /Page\n") <= 2  # both sides


def test_a_reader_of_the_matrix_finds_a_column_in_the_dictionary(offline_page: Any, pages: Path) -> None:
    offline_page.goto(f"file://{pages}/example/who-sees-what.html")
    offline_page.get_by_role("link", name="nhs_number", exact=True).click()
    assert offline_page.url.endswith("v1/dictionary.html#person.nhs_number")
    assert offline_page.locator(":target").inner_text().startswith("nhs_number")


def test_the_report_on_a_new_version_is_accessible_offline_and_fits_a_telephone(
    offline_page: Any, agreement: Agreement, tmp_path: Path
) -> None:
    contract = agreement.contract.model_copy(update={"version": "1.1"})
    later = agreement.model_copy(update={"children": "Otherwise.", "contract": contract})
    path = tmp_path / "changes.html"
    path.write_text(render_html(classify_changes(agreement, later)), encoding="utf-8")
    offline_page.goto(path.as_uri())
    assert_accessible(offline_page)
    keep(offline_page, "changes", full=True)
    offline_page.set_viewport_size({"width": 390, "height": 800})
    assert offline_page.evaluate("document.documentElement.scrollWidth") <= 390
