"""What people read of a new version: on the terminal, as a page for a board, and by a program."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from protocol.changes import KINDS, Audience, classify_changes
from protocol.changes.report import render_html, render_json, render_text
from protocol.digest import sign_again
from protocol.loading import default_agreement_folder
from protocol.lock import write_lock
from protocol.model import Agreement

Edit = Callable[[str, str, str], None]
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "agreement-changes.md"


def shrunk(example: Agreement) -> Agreement:
    """A smaller minimum cell, a new title, and less time to send."""
    return example.model_copy(
        update={
            "title": "Partnership <script>alert(1)</script>",
            "disclosure": example.disclosure.model_copy(update={"minimum_people": 5}),
            "calendar": example.calendar.model_copy(update={"closes_days_after_end": 100}),
            "version": "1.1",
            "digest": "0" * 64,
        }
    )


def diff(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["agreement", "diff", *map(str, arguments)])


def test_text_begins_with_the_verdict_and_tells_people_before_others(example: Agreement) -> None:
    text = render_text(classify_changes(example, shrunk(example)))
    order = [
        text.index(part)
        for part in (
            "Version 1.1 does not suffice: this is a major change, so the version has to be 2.0 or later.",
            "Before it may hold",
            "PEOPLE WHOSE DATA ARE HELD",
            "disclosure.minimum_people: lets counts of fewer people be published (8 -> 5)",
            "THOSE WHO SEND DATA",
            "calendar.closes_days_after_end: leaves less time to send an extract (365 -> 100)",
            "THOSE WHO READ THE POOL AND THE EVIDENCE",
            "CLARIFICATIONS FOR EVERYBODY",
        )
    ]
    assert order == sorted(order)
    assert max(map(len, text.splitlines())) <= 100


def test_nothing_changed_is_one_sentence(example: Agreement) -> None:
    text = render_text(classify_changes(example, example))
    assert "Nothing was changed." in text
    assert len(text.splitlines()) == 3


def test_a_change_of_comments_alone_is_told_as_such(example: Agreement) -> None:
    report = classify_changes(example, example.model_copy(update={"digest": "0" * 64}))
    text = " ".join(render_text(report).split())
    assert "only comments, layout or describing entries" in text
    assert "every partner signs again" in text
    assert report.suffices


def test_page_holds_every_change_and_runs_nothing(example: Agreement) -> None:
    report = classify_changes(example, shrunk(example))
    page = render_html(report)
    for change in report.changes:
        assert html.escape(change.place) in page
        assert html.escape(change.sentence, quote=True) in page.replace("&#39;", "&#x27;")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(?:src|href)=|url\(|@import", page)
    assert "@media print" in page
    assert page.index("People whose data are held</h2>") < page.index("Those who send data</h2>")


def test_json_holds_the_worst_effect_for_each_audience(example: Agreement) -> None:
    report = classify_changes(example, shrunk(example))
    content = json.loads(render_json(report))
    assert content["effects"] == {"data_subjects": "break", "submitters": "break", "analysts": "extension"}
    assert (content["due"], content["due_version"], content["suffices"]) == ("major", "2.0", False)
    assert len(content["changes"]) == len(report.changes)


def test_command_ends_with_0_where_the_version_suffices_and_with_2_where_it_does_not(folder: Path, edit: Edit) -> None:
    same = diff(default_agreement_folder(), folder)
    assert (same.exit_code, "Nothing was changed" in same.stdout) == (0, True)
    edit("agreement.yaml", "minimum_people: 8", "minimum_people: 5")
    short = diff(default_agreement_folder(), folder)
    assert short.exit_code == 2
    assert "lets counts of fewer people be published" in short.stdout


def test_a_faulty_agreement_ends_with_2_and_no_report(folder: Path, edit: Edit) -> None:
    edit("agreement.yaml", "minimum_people: 8", "minimum_people: eight")
    refused = diff(default_agreement_folder(), folder)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert "minimum_people" in refused.stderr


def test_a_lock_stands_for_the_text_that_was_locked(folder: Path, edit: Edit) -> None:
    sign_again(folder)
    write_lock(folder)
    edit("agreement.yaml", "pool_years: 6", "pool_years: 7")
    told = diff(folder / "agreement.lock", folder)
    assert told.exit_code == 2
    assert "retention.pool_years" in told.stdout


def test_page_is_written_to_a_file(folder: Path, edit: Edit, tmp_path: Path) -> None:
    edit("agreement.yaml", "inbox_days: 14", "inbox_days: 10")
    page = tmp_path / "changes.html"
    told = diff(default_agreement_folder(), folder, "--format", "html", "--output", page)
    assert told.stdout.strip() == str(page)
    assert "retention.inbox_days" in page.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.glob("changes*")] == ["changes.html"]


def test_a_person_may_call_a_text_reworded_on_the_command_line(folder: Path, edit: Edit) -> None:
    edit("agreement.yaml", "Children under 13 are not shared.", "Children below 13 are not shared.")
    assert diff(default_agreement_folder(), folder).exit_code == 2
    assert diff(default_agreement_folder(), folder, "--wording", "children").exit_code == 0


def test_reading_the_pages_twice_gives_the_same_bytes(example: Agreement) -> None:
    reports = [classify_changes(example, shrunk(example)) for _ in range(2)]
    assert render_html(reports[0]) == render_html(reports[1])
    assert render_json(reports[0]) == render_json(reports[1])


@pytest.mark.parametrize("code", sorted(KINDS))
def test_every_kind_is_in_the_reference_with_its_effects(code: str) -> None:
    line = next((row for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith(f"| `{code}` |")), None)
    assert line is not None, f"docs/reference/agreement-changes.md has no line for {code}"
    kind = KINDS[code]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    words = [str(kind.effect(audience)) for audience in Audience]
    assert cells[1:4] == ["-" if word == "none" else word for word in words]
