"""What people see, in a real Chromium: the report, the receipts and Airflow's pages."""

from typing import Any

import pytest

from tests.e2e.browser import assert_accessible, keep

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


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
