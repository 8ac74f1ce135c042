"""The pages that are made from the agreement, in a real Chromium: offline, on a telephone, on paper, with axe."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.agreement_documents import replace_folder
from protocol.generated.documents import make_documents
from protocol.loading import load_agreement
from protocol.model import Agreement

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
SCREENSHOTS = os.environ.get("LINKARMS_SCREENSHOTS")
PAGES = ("index", "who-sees-what", "processing-register", "v1/dictionary")
HMIS = Path(__file__).resolve().parents[2] / "examples" / "hmis"


@pytest.fixture(scope="module")
def pages(agreement: Agreement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both agreements' pages."""
    folder = tmp_path_factory.mktemp("pages")
    replace_folder(folder / "example", make_documents(agreement))
    replace_folder(folder / "hmis", make_documents(load_agreement(HMIS)))
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium of this system."""
    if CHROMIUM is None:
        pytest.skip("Chromium is missing; `make test-full` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page without a network, which fails the test where it asks for anything but a file."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000}, offline=True)
    opened = context.new_page()
    strangers: list[str] = []
    opened.on("request", lambda request: None if request.url.startswith("file:") else strangers.append(request.url))
    yield opened
    context.close()
    assert strangers == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("partnership", ["example", "hmis"])
def test_each_page_is_accessible_offline_and_fits_a_telephone(
    page: Any, pages: Path, partnership: str, name: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.goto(f"file://{pages / partnership / name}.html")
    results = Axe().run(page, options=WCAG)
    assert results.violations_count == 0, results.generate_report()
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        picture = f"{partnership}-{name.replace('/', '-')}.png"
        page.screenshot(path=Path(SCREENSHOTS) / picture, full_page=True)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_reaches_the_content_first(page: Any, pages: Path) -> None:
    page.goto(f"file://{pages}/example/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def test_the_summary_prints_on_one_sheet_of_paper(page: Any, pages: Path) -> None:
    page.goto(f"file://{pages}/example/index.html")
    printed = page.pdf(prefer_css_page_size=True)
    assert 1 <= printed.count(b"/Type /Page\n") <= 2  # both sides


def test_a_reader_of_the_matrix_finds_a_column_in_the_dictionary(page: Any, pages: Path) -> None:
    page.goto(f"file://{pages}/example/who-sees-what.html")
    page.get_by_role("link", name="nhs_number", exact=True).click()
    assert page.url.endswith("v1/dictionary.html#person.nhs_number")
    assert page.locator(":target").inner_text().startswith("nhs_number")
