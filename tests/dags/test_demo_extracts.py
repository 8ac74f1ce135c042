"""How the demo finds extracts and puts them into the inboxes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile

import pytest

from intake.channels import FolderChannel
from pipeline.settings import Settings
from pipeline.trial.demo import Staged, drop_extracts, run_demo, stage_extracts
from protocol.errors import LinkarmsError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.from_environment({"LINKARMS_HOME": str(tmp_path / "home")})
    compile_agreement(settings, "2026-Q1", "2026-Q2")
    return settings


def compile_agreement(settings: Settings, *periods: str) -> None:
    partners = [{"id": "north", "signed": True}, {"id": "south", "signed": True}, {"id": "west", "signed": False}]
    compiled = {"partners": partners, "periods": [{"id": period} for period in periods]}
    settings.compiled_agreement.parent.mkdir(parents=True, exist_ok=True)
    settings.compiled_agreement.write_text(json.dumps(compiled), encoding="utf-8")


def stage(settings: Settings, extracts: Path, period: str | None = None) -> list[Staged]:
    return stage_extracts(settings, extracts, period, people=1, seed=1, tell=lambda _line: None)


def test_a_folder_with_one_folder_a_partner_gives_each_its_own(settings: Settings, tmp_path: Path) -> None:
    for partner, name in (("north", "2026-Q1"), ("north", "2026-Q2"), ("west", "2026-Q1"), ("stranger", "2026-Q1")):
        (tmp_path / "extracts" / partner / name).mkdir(parents=True)
    (tmp_path / "extracts" / "north" / ".DS_Store").touch()
    staged = stage(settings, tmp_path / "extracts")
    assert [(entry.partner, entry.name) for entry in staged] == [("north", "2026-Q1"), ("north", "2026-Q2")]


def test_one_export_is_dropped_for_every_signed_partner_under_the_periods_name(
    settings: Settings, tmp_path: Path
) -> None:
    with ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("Client.csv", "PersonalID\n1\n")
    staged = stage(settings, tmp_path / "export.zip", "2026-Q2")
    assert [(entry.partner, entry.name) for entry in staged] == [("north", "2026-Q2.zip"), ("south", "2026-Q2.zip")]
    drop_extracts(settings, staged, lambda _line: None)
    assert (settings.inbox("south") / "2026-Q2.zip").read_bytes() == (tmp_path / "export.zip").read_bytes()


def test_an_export_for_an_agreement_of_one_period_needs_no_period(settings: Settings, tmp_path: Path) -> None:
    compile_agreement(settings, "2022-Q4")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "Client.csv").write_text("PersonalID\n1\n", encoding="utf-8")
    assert {entry.name for entry in stage(settings, tmp_path / "export")} == {"2022-Q4"}


@pytest.mark.parametrize(("period", "said"), [(None, "Say which period"), ("2031-Q1", "no period 2031-Q1")])
def test_an_export_whose_period_does_not_follow_is_not_guessed(
    settings: Settings, tmp_path: Path, period: str | None, said: str
) -> None:
    (tmp_path / "export").mkdir()
    with pytest.raises(LinkarmsError, match=said):
        stage(settings, tmp_path / "export", period)


def test_a_dropped_extract_is_whole_and_ready_at_once_and_replaces_the_one_before(
    settings: Settings, tmp_path: Path
) -> None:
    extract = tmp_path / "extracts" / "north" / "2026-Q1"
    extract.mkdir(parents=True)
    channel = FolderChannel(inbox=settings.inbox("north"), outbox=settings.outbox("north"))
    references = []
    for rows in ("1\n", "1\n2\n"):
        (extract / "person.csv").write_text(f"local_person_id\n{rows}", encoding="utf-8")
        drop_extracts(settings, [Staged("north", extract, "2026-Q1")], lambda _line: None)
        (drop,) = channel.list_drops(datetime.now(UTC))
        assert drop.ready
        references.append(drop.reference)
        assert (settings.inbox("north") / "2026-Q1" / "person.csv").read_text(encoding="utf-8").endswith(rows)
    assert references[0] != references[1]


def test_a_demo_does_not_put_made_up_people_beside_a_partners_own(settings: Settings) -> None:
    (settings.outbox("north") / "2026-Q1-sub-1").mkdir(parents=True)
    with pytest.raises(LinkarmsError, match="a home of its own"):
        run_demo(settings, people=1, report=lambda _line: None)
    assert not (settings.home / "database").exists()
