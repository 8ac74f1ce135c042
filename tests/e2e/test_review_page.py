"""The custodian's pages, of pairs in doubt and of what linkage weighs: in a real Chromium, offline, with axe."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from linkage.classes import reference_model
from linkage.weights import share_of_one_person, tell_weights
from pipeline.custodian import FittedModel
from pipeline.model_page import render_model
from pipeline.review_page import render_review
from protocol.model import Agreement
from tests.e2e.browser import assert_accessible, keep
from warehouse.review_store import ReviewPair, RunSummary

pytestmark = pytest.mark.browser

WORDS = ("date of birth", "surname within one letter", "postcode sector", "first letters of the forename")


def pairs(agreement: Agreement, count: int) -> list[ReviewPair]:
    partners = [partner.id for partner in agreement.partners]
    return [
        ReviewPair(
            pair_id=number,
            partner_id=partners[number % 6],
            person_ref=f"{number:032x}",
            other_partner_id=partners[(number + 2) % 6],
            other_person_ref=f"{number + 100:032x}",
            probability=0.5 + number / 50,
            agreed_on=WORDS[: 1 + number % 4],
            differs_on=("NHS number",) if number % 3 else (),
            rows_concerned=40 - number,
            answer=None,
            is_open=True,
        )
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [0, 1, 20])
def test_the_page_of_pairs_in_doubt_is_accessible_offline_and_fits_a_telephone(
    offline_page: Any, agreement: Agreement, tmp_path: Path, count: int
) -> None:
    path = tmp_path / "review.html"
    page = render_review(pairs(agreement, count), agreement, "rows", datetime(2026, 11, 2, 9, 30, tzinfo=UTC))
    path.write_text(page, encoding="utf-8")
    offline_page.goto(path.as_uri())
    assert_accessible(offline_page)
    keep(offline_page, f"review-{count}", full=True)
    assert offline_page.locator("ol.pairs > li").count() == count
    offline_page.set_viewport_size({"width": 390, "height": 800})
    assert offline_page.evaluate("document.documentElement.scrollWidth") <= 390
    keep(offline_page, f"review-{count}-telephone")
    offline_page.keyboard.press("Tab")
    assert offline_page.evaluate("document.activeElement.textContent") == "Skip to the content"


def test_the_page_of_what_linkage_weighs_is_accessible_offline_and_fits_a_telephone(
    offline_page: Any, agreement: Agreement, tmp_path: Path
) -> None:
    made_at = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
    model = reference_model()
    fitted = FittedModel(
        RunSummary("run/1", 3, made_at, "tokens/2", {}, {}),
        tell_weights(model, pl.DataFrame({"levels": ["6654222321"], "pairs": [1234]})),
        share_of_one_person(model),
        0.487,
        12_345,
        1234,
    )
    path = tmp_path / "model.html"
    path.write_text(render_model(fitted, agreement, made_at), encoding="utf-8")
    offline_page.goto(path.as_uri())
    assert_accessible(offline_page)
    keep(offline_page, "model", full=True)
    assert offline_page.locator("section > svg").count() == 10
    assert offline_page.locator("table").count() == 10
    offline_page.set_viewport_size({"width": 390, "height": 800})
    assert offline_page.evaluate("document.documentElement.scrollWidth") <= 390
    keep(offline_page, "model-telephone")
