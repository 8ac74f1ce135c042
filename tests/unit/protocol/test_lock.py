import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.digest import sign_again
from protocol.errors import AgreementError
from protocol.loading import default_agreement_folder, load_agreement
from protocol.lock import LOCK_FILE, changes_since_lock, read_lock, write_lock
from protocol.model import Agreement

Edit = Callable[[str, str, str], None]
EXAMPLES = (default_agreement_folder(), Path(__file__).parents[3] / "examples" / "hmis")


@pytest.fixture
def locked(folder: Path) -> Path:
    """The copy, locked as it stands."""
    write_lock(folder)
    return folder


def test_lock_holds_version_digests_and_the_agreement(example: Agreement, locked: Path) -> None:
    lock = read_lock(locked)
    assert (lock.version, lock.digest) == (example.version, example.digest)
    assert lock.files["agreement.yaml"] == hashlib.sha256((locked / "agreement.yaml").read_bytes()).hexdigest()
    assert not any(name.startswith("signatures/") for name in lock.files)
    assert lock.agreement.contract == example.contract
    assert lock.agreement.grants == example.grants
    assert not any(partner.signatures for partner in lock.agreement.partners)


def test_locking_the_same_text_gives_the_same_bytes_and_leaves_the_digest(example: Agreement, locked: Path) -> None:
    before = (locked / LOCK_FILE).read_bytes()
    write_lock(locked)
    assert (locked / LOCK_FILE).read_bytes() == before
    assert load_agreement(locked).digest == example.digest
    assert not list(locked.glob(".*.part"))


def test_lock_is_small_enough_to_be_kept_under_version_control(locked: Path) -> None:
    assert (locked / LOCK_FILE).stat().st_size < 400_000


def test_signing_leaves_the_lock_as_it_was(locked: Path) -> None:
    before = (locked / LOCK_FILE).read_bytes()
    sign_again(locked)
    assert (locked / LOCK_FILE).read_bytes() == before
    assert changes_since_lock(locked) == ()


def test_changed_new_and_missing_files_are_named(locked: Path, edit: Edit) -> None:
    edit("agreement.yaml", "repeat_window_days: 90", "repeat_window_days: 60")
    (locked / "codelists" / "sex.yaml").unlink()
    (locked / "annex.yaml").write_text("extra: words\n", encoding="utf-8")
    assert changes_since_lock(locked) == (
        "agreement.yaml: has changed since the agreement was locked.",
        "annex.yaml: is new since the agreement was locked.",
        "codelists/sex.yaml: was there when the agreement was locked, and is gone.",
    )


def test_line_ends_of_another_system_are_no_change(locked: Path) -> None:
    path = locked / "agreement.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert changes_since_lock(locked) == ()


def test_comment_may_change_under_the_same_version(locked: Path, edit: Edit) -> None:
    edit("agreement.yaml", "# The agreement", "# An agreement")
    assert changes_since_lock(locked)
    write_lock(locked)
    assert changes_since_lock(locked) == ()


def test_version_too_low_for_the_change_is_not_locked(locked: Path, edit: Edit) -> None:
    before = (locked / LOCK_FILE).read_bytes()
    edit("agreement.yaml", "minimum_people: 8", "minimum_people: 5")
    with pytest.raises(AgreementError, match=r"version: is 1\.0.*has to be 2\.0 or higher"):
        write_lock(locked)
    assert (locked / LOCK_FILE).read_bytes() == before


def test_version_raised_enough_is_locked(locked: Path, edit: Edit) -> None:
    edit("agreement.yaml", "minimum_people: 8", "minimum_people: 5")
    for name in ("agreement.yaml", "v1/casework.odcs.yaml"):
        edit(name, 'version: "1.0"', 'version: "2.0"')
    (locked / "v1").rename(locked / "v2")
    assert write_lock(locked).version == "2.0"
    assert changes_since_lock(locked) == ()


def test_faulty_agreement_is_not_locked(folder: Path, edit: Edit) -> None:
    (folder / LOCK_FILE).unlink()
    edit("agreement.yaml", "minimum_people: 8", "minimum_people: 1")
    with pytest.raises(AgreementError, match="single people would be published"):
        write_lock(folder)
    assert not (folder / LOCK_FILE).exists()


@pytest.mark.parametrize("text", ["", "{", "{}", '{"form": 2}', "\x00", '{"form": 1, "digest": "x", "agreement": {}}'])
def test_lock_that_cannot_be_read_is_refused(folder: Path, text: str) -> None:
    (folder / LOCK_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(AgreementError, match=r"agreement\.lock: "):
        read_lock(folder)


def test_missing_lock_says_how_to_make_one(folder: Path) -> None:
    (folder / LOCK_FILE).unlink(missing_ok=True)
    with pytest.raises(AgreementError, match="linkarms agreement lock"):
        changes_since_lock(folder)


@pytest.mark.parametrize("folder_", EXAMPLES, ids=lambda path: path.name)
def test_example_that_ships_is_locked_as_it_stands(folder_: Path) -> None:
    assert changes_since_lock(folder_) == ()
