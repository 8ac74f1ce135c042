"""The page on a new version in a real Chromium."""

import shutil
from pathlib import Path

import pytest

from protocol.changes import classify_changes
from protocol.changes.report import render_html
from protocol.model import Agreement

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def test_page_for_the_board_is_accessible_offline_and_fits_a_phone(example: Agreement, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is missing; `make test-full` installs it")
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    later = example.model_copy(
        update={"children": "Otherwise.", "contract": example.contract.model_copy(update={"version": "1.1"})}
    )
    path = tmp_path / "changes.html"
    path.write_text(render_html(classify_changes(example, later)), encoding="utf-8")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_context(viewport={"width": 360, "height": 800}).new_page()
        strangers: list[str] = []
        page.on("request", lambda request: strangers.append(request.url) if request.url[:5] != "file:" else None)
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
        results = Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}})
        chromium.close()
    assert results.violations_count == 0, results.generate_report()
    assert strangers == []
