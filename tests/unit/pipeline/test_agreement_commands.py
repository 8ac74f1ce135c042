"""`linkarms agreement` as somebody types it: linting, showing, signing and locking a copy of the example."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from protocol.digest import agreement_digest
from protocol.gate import check_gate
from protocol.loading import default_agreement_folder, load_agreement
from protocol.lock import LOCK_FILE

Run = Callable[..., Result]
DAY = ("--today", "2026-07-10")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_agreement_folder(), tmp_path / "agreement"))


@pytest.fixture
def run(folder: Path) -> Run:
    """Run `linkarms agreement ...` on the copy."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["agreement", *arguments, "--agreement", str(folder)])

    return invoke


def edit(folder: Path, old: str, new: str, file: str = "agreement.yaml") -> None:
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_sound_agreement_gets_one_line(run: Run) -> None:
    result = run("lint", *DAY)
    assert result.exit_code == 0
    told = [line for line in result.stdout.splitlines() if not line.startswith("warning: ")]
    assert len(told) == 1
    assert "version 1.0: no faults in 10 tables" in told[0]


def test_faulty_agreement_gets_every_fault_with_its_line_and_exit_code_2(run: Run, folder: Path) -> None:
    edit(folder, "minimum_people: 8", "minimum_people: 1")
    edit(folder, "pool_years: 6", "pool_years: -6")
    text = (folder / "agreement.yaml").read_text(encoding="utf-8")
    line = text[: text.index("minimum_people")].count("\n") + 1
    result = run("lint", *DAY)
    assert result.exit_code == 2
    assert "2 entries have to be mended" in result.stderr
    assert f"- agreement.yaml:{line}: disclosure.minimum_people: should be 2 or more" in result.stderr
    assert "no faults" not in result.stdout


def test_more_faults_than_loading_lists_are_all_listed(run: Run, folder: Path) -> None:
    entries = "".join(f"extra_{number}: words\n" for number in range(60))
    edit(folder, "id: harbour_east\n", f"id: harbour_east\n{entries}")
    assert run("lint", *DAY).stderr.count("is not an entry that Linkarms knows") == 60


def test_what_lapses_soon_is_told_and_is_no_fault(run: Run) -> None:
    result = run("lint", "--today", "2027-10-01")
    assert result.exit_code == 0
    assert "warning: agreement.yaml:" in result.stdout
    assert "dpia.valid_to: lapses on 2027-11-13" in result.stdout


def test_lapsed_impact_assessment_is_a_fault_of_the_day(run: Run) -> None:
    result = run("lint", "--today", "2027-11-14")
    assert result.exit_code == 2
    assert "dpia.valid_to: lapsed on 2027-11-13" in result.stderr


def test_grant_on_a_view_that_no_measure_makes_is_a_fault(run: Run, folder: Path) -> None:
    path = folder / "grants" / "evaluation_team.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("evidence.*", "evidence.everybody"), encoding="utf-8")
    assert "evidence.everybody, and there is no measure of that name" in run("lint", *DAY).stderr


def test_locked_text_passes_and_a_changed_one_does_not(run: Run, folder: Path) -> None:
    assert run("lock").exit_code == 0
    assert "the text is the locked one" in run("lint", "--locked", *DAY).stdout
    edit(folder, "# The agreement", "# An agreement")
    assert run("lint", *DAY).exit_code == 0
    result = run("lint", "--locked", *DAY)
    assert result.exit_code == 2
    assert "- agreement.yaml: has changed since the agreement was locked." in result.stderr
    assert "linkarms agreement lock" in result.stderr


def test_lock_names_the_version_that_is_due(run: Run, folder: Path) -> None:
    run("lock")
    before = (folder / LOCK_FILE).read_bytes()
    edit(folder, "minimum_people: 8", "minimum_people: 5")
    result = run("lock")
    assert result.exit_code == 2
    assert "has to be 2.0 or higher" in result.stderr
    assert (folder / LOCK_FILE).read_bytes() == before


def test_text_that_was_only_reworded_is_locked_under_its_version(run: Run, folder: Path) -> None:
    run("lock")
    edit(folder, "Children under 13 are not shared.", "No child under 13 is shared.")
    assert run("lock").exit_code == 2
    assert run("lock", "--wording", "children").exit_code == 0


def test_signing_says_what_is_signed(run: Run, folder: Path) -> None:
    result = run("sign", "lantern_youth", "--by", "Centre Manager")
    assert result.exit_code == 0
    assert "Centre Manager of lantern_youth signed version 1.0" in result.stdout
    assert "files, digest " + agreement_digest(folder) in result.stdout


def test_faulty_agreement_is_not_signed(run: Run, folder: Path) -> None:
    edit(folder, "minimum_people: 8", "minimum_people: 1")
    result = run("sign", "lantern_youth", "--by", "Centre Manager")
    assert result.exit_code == 2
    assert "single people would be published" in result.stderr
    assert not (folder / "signatures" / "lantern_youth.yaml").exists()


def test_show_tells_who_signed_this_text_an_earlier_one_or_none(run: Run, folder: Path) -> None:
    shown = run("show").stdout
    assert "signed on 2025-12-01 by Chief Executive" in shown
    assert "NOT SIGNED" in shown
    edit(folder, "repeat_window_days: 90", "repeat_window_days: 60")
    run("sign", "harbour_trust", "--by", "Chair")
    lines = {line.split("  ")[1]: line for line in run("show").stdout.splitlines()[2:]}
    assert "by Chair" in lines["Harbour Trust"]
    assert "SIGNED AN EARLIER TEXT of version 1.0 on 2025-12-04" in lines["Bridge Housing"]
    for file in ("agreement.yaml", "v1/casework.odcs.yaml"):
        edit(folder, 'version: "1.0"', 'version: "1.1"', file)
    lines = {line.split("  ")[1]: line for line in run("show").stdout.splitlines()[2:]}
    assert "SIGNED VERSION 1.0" in lines["Bridge Housing"]
    assert "has to sign version 1.1" in lines["Bridge Housing"]


@pytest.mark.parametrize(
    ("old", "new", "clause"),
    [
        ("repeat_window_days: 90", "repeat_window_days: 60", "4.2 Signatures"),
        ("valid_to: 2027-11-13", "valid_to: 2026-07-09", "3.2 Impact assessment"),
        ("completed: 2025-11-14", "completed: 2026-07-11", "3.2 Impact assessment"),
    ],
)
def test_partner_that_signed_before_the_change_is_told_the_clause(
    folder: Path, run: Run, old: str, new: str, clause: str
) -> None:
    edit(folder, old, new)
    findings = check_gate(load_agreement(folder), "harbour_trust", "2026-Q2", "1.0", date(2026, 7, 10))
    assert clause in [finding.clause for finding in findings]
    assert run("sign", "harbour_trust", "--by", "Chair").exit_code == 0
    findings = check_gate(load_agreement(folder), "harbour_trust", "2026-Q2", "1.0", date(2030, 1, 1))
    assert "3.1 Term and review" in [finding.clause for finding in findings]


def test_folder_without_an_agreement_is_told_in_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["agreement", "lint", "--agreement", str(tmp_path)])
    assert result.exit_code == 2
    assert "has no agreement.yaml" in result.stderr
    assert "Traceback" not in result.output
