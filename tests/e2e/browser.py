"""Chromium for the tests of what people see."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
SCREENSHOTS = os.environ.get("LINKARMS_SCREENSHOTS")


@contextmanager
def open_page(browser: Any, allowed: str, **context: Any) -> Iterator[Any]:
    """A page that fails the test where it asks for an address that does not match ``allowed``."""
    opened = browser.new_context(viewport={"width": 1280, "height": 1000}, **context)
    page = opened.new_page()
    strangers: list[str] = []
    page.on("request", lambda request: None if re.match(allowed, request.url) else strangers.append(request.url))
    yield page
    opened.close()
    assert strangers == []


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
