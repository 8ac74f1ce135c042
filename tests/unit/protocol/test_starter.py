"""A new partnership begins with an agreement in which only decisions are missing, and gets its partners one by one."""

from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from protocol.digest import agreement_digest
from protocol.errors import AgreementError
from protocol.loading import inspect_agreement, load_agreement
from protocol.model import Contact
from protocol.starting import NewPartner, add_partner, start_agreement


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    start_agreement(
        tmp_path / "lakeside",
        "lakeside",
        'Lakeside "Joint" Partnership',
        first_quarter="2026-Q3",
        years=2,
        today=date(2026, 10, 3),
    )
    return tmp_path / "lakeside"


def council(**more: object) -> NewPartner:
    return NewPartner.model_validate(
        {
            "id": "lakeside_council",
            "name": "Lakeside Council: all services",
            "kind": "council",
            "agency": "council",
            "member_from": date(2026, 7, 1),
            "public_body": True,
            "gateway": "Localism Act 2011, section 1",
            "controller_role": "joint_controller",
            "lawful_basis": "Article 6(1)(e), public task",
            "contacts": (Contact(role="Data Protection Officer", email="dpo@lakeside.example"),),
            **more,
        }
    )


def charity(name: str) -> NewPartner:
    return council(id=name, name=name.title(), kind="charity", agency="voluntary", public_body=False, gateway=None)


def decide_everything(folder: Path) -> None:
    for path in folder.rglob("*.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace("TO DECIDE", "Decided so"), encoding="utf-8")


def test_new_agreement_has_no_fault_but_open_decisions(folder: Path) -> None:
    told = inspect_agreement(folder)[1].told
    assert {fault.what.partition(".")[0] for fault in told} == {"is still open"}
    assert len(told) == 15
    lines = {}
    for fault in told:
        lines[fault.entry] = (folder / fault.file).read_text(encoding="utf-8").splitlines()[(fault.line or 0) - 1]
    assert all("TO DECIDE" in line for line in lines.values())
    with pytest.raises(AgreementError, match=r"privacy_notice: is still open\. Decide, and write here: where people"):
        load_agreement(folder)


def test_new_agreement_can_be_used_once_everything_is_decided(folder: Path) -> None:
    decide_everything(folder)
    agreement = load_agreement(folder)
    assert agreement.title == 'Lakeside "Joint" Partnership'
    assert agreement.contract.table_names == ("person", "sharing_basis", "assessment", "referral", "outcome")
    assert [period.id for period in agreement.calendar.periods] == [
        *("2026-Q3", "2026-Q4", "2027-Q1", "2027-Q2", "2027-Q3", "2027-Q4", "2028-Q1", "2028-Q2")
    ]
    assert (agreement.term.starts, agreement.term.ends) == (date(2026, 7, 1), date(2028, 6, 30))
    assert not any(partner.signatures for partner in agreement.partners)


def test_the_marker_in_a_comment_or_within_a_text_is_no_open_decision(folder: Path) -> None:
    decide_everything(folder)
    file = folder / "agreement.yaml"
    file.write_text("# TO DECIDE: nothing\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    load_agreement(folder)


def test_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(AgreementError, match="not empty"):
        start_agreement(tmp_path, "lakeside", "L", first_quarter="2026-Q1", years=1, today=date(2026, 1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"agreement_id": "Lake Side"}, "id"),
        ({"first_quarter": "2026-1"}, "2026-Q1"),
        ({"years": 0}, "years"),
        ({"title": " "}, "title"),
    ],
)
def test_what_cannot_begin_is_refused_and_nothing_is_written(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    arguments = {"agreement_id": "lakeside", "title": "L", "first_quarter": "2026-Q1", "years": 1} | change
    with pytest.raises(AgreementError, match=told):
        start_agreement(tmp_path / "new", today=date(2026, 1, 1), **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


# --- partners ---------------------------------------------------------------------------------------------------------


def test_partners_take_the_places_of_placeholders_wherever_these_are_named(folder: Path) -> None:
    assert add_partner(folder, council()) == "placeholder_one"
    assert add_partner(folder, charity("harbour")) == "placeholder_two"
    assert add_partner(folder, charity("bridge")) is None
    decide_everything(folder)
    agreement = load_agreement(folder)
    assert [partner.id for partner in agreement.partners] == ["bridge", "harbour", "lakeside_council"]
    assert agreement.codelist("partner").values == ("lakeside_council", "harbour", "bridge", "other")
    assert agreement.codelist("partner").label("lakeside_council") == "Lakeside Council: all services"
    assert agreement.controllers.point_of_contact == "lakeside_council"
    assert agreement.partner("lakeside_council").gateway == "Localism Act 2011, section 1"
    assert "placeholder" not in "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.yaml"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"gateway": None}, "gateway: is missing"),
        ({"public_body": False}, "Only a public body"),
        ({"contacts": (Contact(role="Office", email="nobody"),)}, "is no e-mail address"),
        ({"contacts": ()}, "contacts: are missing"),
        ({"lawful_basis": " "}, "lawful_basis: says nothing"),
        ({"kind": "club"}, "kind should be one of"),
        ({"agency": "club"}, "agency should be one of"),
        ({"tier": "outer"}, "tier: should be core or wider"),
        ({"controller_role": "processor"}, "acts for|processor"),
    ],
)
def test_partner_that_would_make_the_agreement_faulty_is_not_added(
    folder: Path, change: dict[str, object], told: str
) -> None:
    before = agreement_digest(folder)
    with pytest.raises(AgreementError, match=told):
        add_partner(folder, council(**change))
    assert agreement_digest(folder) == before


def test_first_partner_of_all_may_be_a_joint_controller(folder: Path) -> None:
    for path in (folder / "partners").iterdir():
        path.unlink()
    assert add_partner(folder, council()) is None


def test_partner_that_is_there_is_not_written_over(folder: Path) -> None:
    add_partner(folder, council())
    with pytest.raises(AgreementError, match="has lakeside_council already"):
        add_partner(folder, council(name="Another"))


def test_adding_that_was_broken_off_can_be_done_again(folder: Path) -> None:
    """The code list and agreement.yaml are written before the partner's own file, and the placeholder goes last."""
    placeholder = folder / "partners" / "placeholder_one.yaml"
    text = placeholder.read_text(encoding="utf-8")
    add_partner(folder, council())
    (folder / "partners" / "lakeside_council.yaml").unlink()
    placeholder.write_text(text, encoding="utf-8")
    assert add_partner(folder, council()) == "placeholder_one"
    add_partner(folder, charity("harbour"))
    decide_everything(folder)
    assert load_agreement(folder).codelist("partner").values.count("lakeside_council") == 1


def test_commands_tell_what_they_wrote_and_refuse_with_exit_code_2(tmp_path: Path) -> None:
    run = CliRunner().invoke
    new = str(tmp_path / "new")
    made = run(main, ["agreement", "init", new, "--id", "new", "--title", "New"])
    assert made.exit_code == 0
    assert "15 places say TO DECIDE" in made.output
    contact = ["--contact", "Office", "office@new.example", "--lawful-basis", "Article 6(1)(f)"]
    body = ["--name", "New", "--kind", "council", "--agency", "council", "--public-body"]
    refused = run(main, ["partner", "add", "town", "--agreement", new, *body, *contact])
    assert refused.exit_code == 2
    assert "gateway" in refused.output
    odd = run(main, ["partner", "add", "Town Hall", "--agreement", new, *body, *contact])
    assert odd.exit_code == 2
    added = run(
        main,
        ["partner", "add", "town", "--agreement", new, *body, "--gateway", "Care Act 2014, sections 6 and 7", *contact],
    )
    assert added.exit_code == 0, added.output
    assert "in the place of placeholder_one" in added.output


def test_placeholders_left_in_an_agreement_are_named_by_the_lint(folder: Path) -> None:
    add_partner(folder, council())
    places = [fault.file for fault in inspect_agreement(folder)[1].told if fault.file.startswith("partners/")]
    assert places == ["partners/placeholder_two.yaml"]
