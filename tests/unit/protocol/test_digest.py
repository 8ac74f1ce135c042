import hashlib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import yaml

from protocol.digest import agreement_digest, sign, sign_again
from protocol.errors import AgreementError
from protocol.gate import check_gate, is_signed
from protocol.loading import load_agreement
from protocol.model import Agreement

Edit = Callable[[str, str, str], None]
TODAY = date(2026, 7, 10)


def test_digest_is_what_the_documents_say(folder: Path) -> None:
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix in (".yaml", ".sql") and path.parent.name != "signatures"
    )
    whole = b""
    for name in files:
        text = (folder / name).read_bytes()
        whole += name.encode() + b"\0" + str(len(text)).encode() + b"\0" + text
    assert agreement_digest(folder) == hashlib.sha256(whole).hexdigest()


def test_changed_text_ends_every_signature(example: Agreement, folder: Path, edit: Edit) -> None:
    edit("agreement.yaml", "repeat_window_days: 90", "repeat_window_days: 60")
    changed = load_agreement(folder)
    assert changed.digest != example.digest
    assert not any(is_signed(changed, partner) for partner in changed.partners)
    (finding,) = check_gate(changed, "harbour_trust", "2026-Q2", "1.0", TODAY)
    assert finding.clause == "4.2 Signatures"
    assert "changed since" in finding.sentence


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("v1/casework.odcs.yaml", "treatment, value: tokenise", "treatment, value: drop"),
        ("codelists/sex.yaml", "label: Female", "label: Women"),
        ("partners/lantern_youth.yaml", "tier: wider", "tier: core"),
        ("grants/evaluation_team.yaml", "ends: 2027-12-31", "ends: 2028-12-31"),
        ("agreement.yaml", "# The agreement", "# An agreement"),
    ],
)
def test_every_part_of_the_text_is_in_the_digest(
    example: Agreement, folder: Path, edit: Edit, file: str, old: str, new: str
) -> None:
    edit(file, old, new)
    assert agreement_digest(folder) != example.digest


def test_mapping_of_a_partner_is_in_the_digest(example: Agreement, folder: Path) -> None:
    (folder / "mappings" / "export").mkdir(parents=True)
    (folder / "mappings" / "export" / "person.sql").write_text("select 1", encoding="utf-8")
    assert agreement_digest(folder) != example.digest


def test_contents_of_two_files_cannot_be_moved_into_one_another(folder: Path) -> None:
    first, second = folder / "codelists" / "a.yaml", folder / "codelists" / "b.yaml"
    first.write_text("one: 1\n", encoding="utf-8")
    second.write_text("two: 2\n", encoding="utf-8")
    before = agreement_digest(folder)
    first.write_text("one: 1\ntwo: 2\n", encoding="utf-8")
    second.write_text("", encoding="utf-8")
    assert agreement_digest(folder) != before


def test_line_ends_of_another_system_do_not_change_the_digest(example: Agreement, folder: Path) -> None:
    for path in folder.rglob("*.yaml"):
        text = path.read_bytes()
        path.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    assert agreement_digest(folder) == example.digest
    assert load_agreement(folder) == example


def test_signing_leaves_the_text_and_the_others_signatures_as_they_were(example: Agreement, folder: Path) -> None:
    signature = sign(folder, "lantern_youth", "Centre Manager", date(2026, 7, 1))
    after = load_agreement(folder)
    assert signature.digest == after.digest == example.digest
    assert all(is_signed(after, partner) for partner in after.partners)
    assert check_gate(after, "lantern_youth", "2026-Q2", "1.0", TODAY) == ()


def test_signing_twice_changes_nothing(folder: Path) -> None:
    path = folder / "signatures" / "harbour_trust.yaml"
    before = path.read_bytes()
    again = sign(folder, "harbour_trust", "Somebody else", date(2026, 8, 1))
    assert path.read_bytes() == before
    assert again.by == "Chief Executive"


def test_nobody_signs_for_an_office_without_a_name(folder: Path) -> None:
    with pytest.raises(AgreementError, match="Name the office that signs"):
        sign(folder, "lantern_youth", " ", date(2026, 2, 1))
    assert not (folder / "signatures" / "lantern_youth.yaml").exists()


def test_signature_under_an_earlier_version_stays_and_one_under_an_earlier_text_is_replaced(
    folder: Path, edit: Edit
) -> None:
    edit("agreement.yaml", "repeat_window_days: 90", "repeat_window_days: 60")
    sign(folder, "harbour_trust", "Chair", date(2026, 2, 1))
    for name in ("agreement.yaml", "v1/casework.odcs.yaml"):
        edit(name, 'version: "1.0"', 'version: "1.1"')
    sign(folder, "harbour_trust", "Chair", date(2026, 3, 1))
    entries = yaml.safe_load((folder / "signatures" / "harbour_trust.yaml").read_text(encoding="utf-8"))["signatures"]
    assert [(entry["version"], entry["on"]) for entry in entries] == [("1.0", "2026-02-01"), ("1.1", "2026-03-01")]
    assert not list((folder / "signatures").glob("*.part"))


def test_stranger_cannot_sign(folder: Path) -> None:
    with pytest.raises(AgreementError, match="nobody"):
        sign(folder, "nobody", "Chair", date(2026, 2, 1))


def test_signature_of_no_partner_is_refused(folder: Path) -> None:
    (folder / "signatures" / "nobody.yaml").write_text("signatures: []\n", encoding="utf-8")
    with pytest.raises(AgreementError, match=r"signatures/nobody\.yaml: belongs to no partner"):
        load_agreement(folder)


def test_signature_within_the_signed_text_is_refused(folder: Path, edit: Edit) -> None:
    edit("partners/harbour_trust.yaml", "tier: core", "tier: core\nsignatures: []")
    with pytest.raises(AgreementError, match=r"signatures: stand in signatures/harbour_trust\.yaml"):
        load_agreement(folder)


def test_link_in_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text("title: x", encoding="utf-8")
    (folder / "codelists" / "linked.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(AgreementError, match=r"codelists/linked\.yaml: is a link"):
        load_agreement(folder)


def test_file_that_is_not_utf_8_is_refused(folder: Path) -> None:
    (folder / "codelists" / "sex.yaml").write_bytes("title: Geschlecht für alle".encode("latin-1"))
    with pytest.raises(AgreementError, match=r"codelists/sex\.yaml: is not UTF-8"):
        load_agreement(folder)


def test_edited_example_is_signed_again_by_those_who_had_signed(folder: Path, edit: Edit) -> None:
    edit("agreement.yaml", "repeat_window_days: 90", "repeat_window_days: 60")
    assert len(sign_again(folder)) == 6
    after = load_agreement(folder)
    assert [partner.id for partner in after.partners if not is_signed(after, partner)] == ["lantern_youth"]
    assert after.partner("harbour_trust").signatures[0].on == date(2025, 12, 1)
