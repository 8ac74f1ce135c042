"""What the pages promise is what SECURITY.md promises."""

from pathlib import Path

from protocol.generated.promises import PROMISES

ROOT = Path(__file__).resolve().parents[3]


def test_every_test_that_a_promise_names_is_named_in_the_security_page() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = [test for promise in PROMISES for test in promise.tests]
    assert len(named) >= len(PROMISES)
    assert [test for test in named if f"`{test}`" not in page] == []


def test_no_two_promises_rest_on_the_same_test() -> None:
    named = [test for promise in PROMISES for test in promise.tests]
    assert len(named) == len(set(named))
