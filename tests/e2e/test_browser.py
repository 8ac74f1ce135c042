"""What people see, in a real Chromium: the report, the receipts and Airflow's pages."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
SCREENSHOTS = os.environ.get("LINKARMS_SCREENSHOTS")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium of this system."""
    if CHROMIUM is None:
        pytest.skip("Chromium is missing; `make test-full` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test on a script's error or a call to another machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    strangers: list[str] = []
    page.on("request", lambda request: None if _is_local(request.url) else strangers.append(request.url))
    yield page
    context.close()
    assert strangers == []


def _is_local(url: str) -> bool:
    return re.match(r"(file|data|blob|about):|http://127\.0\.0\.1[:/]", url) is not None


def keep(page: Any, name: str, *, full: bool = False) -> None:
    """Keep a screenshot where somebody asked for them."""
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=full)


def assert_accessible(page: Any) -> None:
    """No violation of WCAG 2.2 AA that axe can find."""
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page, options=WCAG)
    assert results.violations_count == 0, results.generate_report()


def log_in(page: Any, demo: Any) -> None:
    """Log in to Airflow's pages as the coordinator."""
    page.goto(f"{demo.trial.url}/auth/login")
    page.locator("input[name=username]").fill("coordinator")
    page.locator("input[name=password]").fill(demo.trial.logins["coordinator"])
    page.locator("button[type=submit]").click()
    page.wait_for_url(lambda url: "/auth/login" not in url)


def test_the_report_opens_offline_and_is_accessible(page: Any, demo: Any) -> None:
    (report,) = (demo.home / "releases").glob("*/report.html")
    page.context.set_offline(True)
    page.goto(f"file://{report}")
    assert page.locator("h1").count() == 1
    assert page.locator("svg").count() >= 4
    assert page.locator("table").count() >= 8
    for chart in page.locator("svg").all():
        box = chart.bounding_box()
        assert box is None or box["width"] > 100
    keep(page, "report")
    assert_accessible(page)


def test_the_report_fits_a_phone_without_scrolling_the_page_sideways(page: Any, demo: Any) -> None:
    (report,) = (demo.home / "releases").glob("*/report.html")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"file://{report}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_receipt_says_first_what_became_of_it_and_what_to_do(page: Any, demo: Any) -> None:
    seen = set()
    for receipt in sorted((demo.home / "outbox").glob("*/*/receipt.html")):
        page.goto(f"file://{receipt}")
        verdict = page.locator("h1").inner_text()
        if verdict in seen:
            continue
        seen.add(verdict)
        assert page.get_by_text("What you need to do").bounding_box()["y"] < 1000
        keep(page, f"receipt-{len(seen)}", full=True)
        assert_accessible(page)
    assert len(seen) == 2  # accepted, and accepted with rows held back


def test_the_coordinator_finds_partners_release_and_approval_in_airflow(page: Any, demo: Any) -> None:
    log_in(page, demo)
    page.goto(f"{demo.trial.url}/dags")
    page.get_by_text("Intake: Harbour Trust").first.wait_for()
    page.get_by_text("Evidence release").first.wait_for()
    keep(page, "airflow-dags")
    page.goto(f"{demo.trial.url}/dags/intake_harbour_trust")
    page.get_by_text("Intake: Harbour Trust").first.wait_for()
    page.wait_for_timeout(1500)
    keep(page, "airflow-intake")
    page.goto(f"{demo.trial.url}/dags/evidence_release")
    page.get_by_text("Evidence release").first.wait_for()
    page.wait_for_timeout(1500)
    keep(page, "airflow-release")
    page.goto(f"{demo.trial.url}/required_actions?response_received=true")
    page.get_by_text("Publish this release of pooled evidence?").first.wait_for()
    keep(page, "airflow-approval")
    page.get_by_text("Publish this release of pooled evidence?").first.click()
    page.get_by_text("What it covers").first.wait_for()
    assert page.get_by_text("Headline figures").count() >= 1
    keep(page, "airflow-approval-page")
