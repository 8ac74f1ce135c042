"""A partner's inbox and outbox as folders."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from intake import DropKind, FolderChannel
from protocol.errors import LinkarmsError, NotYet

DAY = date(2026, 5, 1)


@pytest.fixture
def channel(tmp_path: Path) -> FolderChannel:
    (tmp_path / "inbox").mkdir()
    return FolderChannel(tmp_path / "inbox", tmp_path / "outbox", quiet_seconds=60)


def now(seconds: float = 0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def make_drop(channel: FolderChannel, name: str = "2026-Q1", content: bytes = b"a") -> Path:
    folder = channel.inbox / name
    folder.mkdir()
    (folder / "person.csv").write_bytes(content)
    return folder


def test_inbox_that_does_not_exist_has_no_drops(tmp_path: Path) -> None:
    assert FolderChannel(tmp_path / "none", tmp_path / "out").list_drops(now()) == ()


def test_drop_that_changed_a_moment_ago_is_listed_but_not_ready(channel: FolderChannel) -> None:
    make_drop(channel)
    (drop,) = channel.list_drops(now())
    assert not drop.ready
    (drop,) = channel.list_drops(now(61))
    assert drop.ready


def test_old_modification_time_does_not_make_a_drop_ready(channel: FolderChannel) -> None:
    folder = make_drop(channel)
    for path in (folder, folder / "person.csv"):
        os.utime(path, (0, 0))
    assert not channel.list_drops(now())[0].ready


@pytest.mark.parametrize("flag", ["2026-Q1/ready", "2026-Q1.ready"])
def test_ready_flag_in_or_beside_a_drop_makes_it_ready(channel: FolderChannel, flag: str) -> None:
    make_drop(channel)
    (channel.inbox / flag).touch()
    (drop,) = channel.list_drops(now())
    assert drop.ready


def test_ready_flag_beside_an_archive_is_named_with_or_without_its_ending(channel: FolderChannel) -> None:
    for name in ("2026-Q1.zip", "2026-Q2.zip", "2026-Q3.zip"):
        (channel.inbox / name).write_bytes(b"PK")
    (channel.inbox / "2026-Q1.zip.ready").touch()
    (channel.inbox / "2026-Q2.ready").touch()
    assert {drop.display: drop.ready for drop in channel.list_drops(now())} == {
        "2026-Q1": True,
        "2026-Q2": True,
        "2026-Q3": False,
    }


def test_half_written_hidden_and_settled_entries_are_passed_over(channel: FolderChannel) -> None:
    for name in (".2026-Q1", "2026-Q1.part", "settled", "ready", "Thumbs.db", "x.ready"):
        (channel.inbox / name).mkdir()
    assert channel.list_drops(now(600)) == ()


def test_kinds_of_drops_are_told_apart_and_links_are_not_followed(channel: FolderChannel, tmp_path: Path) -> None:
    make_drop(channel, "a")
    (channel.inbox / "b.ZIP").write_bytes(b"")
    (channel.inbox / "c.csv").write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    (channel.inbox / "d").symlink_to(tmp_path / "elsewhere")
    kinds = {drop.name: drop.kind for drop in channel.list_drops(now())}
    assert kinds == {
        "a": DropKind.FOLDER,
        "b.ZIP": DropKind.ARCHIVE,
        "c.csv": DropKind.OTHER,
        "d": DropKind.OTHER,
    }


def test_name_of_a_drop_is_shown_only_where_it_looks_like_a_period(channel: FolderChannel, canary: str) -> None:
    make_drop(channel, canary)
    (drop,) = channel.list_drops(now())
    assert drop.display == drop.reference
    assert canary not in repr(drop) + repr(channel.fetch(drop, channel.outbox))
    with pytest.raises(NotYet) as error:
        channel.find_drop("drop-" + "0" * 20, now())
    assert canary not in str(error.value)


def test_reference_stays_while_the_drop_does_and_changes_with_it(channel: FolderChannel) -> None:
    folder = make_drop(channel)
    (first,) = channel.list_drops(now())
    (folder / "ready").touch()
    assert channel.find_drop(first.reference, now(5)).reference == first.reference
    (folder / "person.csv").write_bytes(b"another")
    with pytest.raises(NotYet):
        channel.find_drop(first.reference, now())


def test_drops_are_listed_oldest_first(channel: FolderChannel) -> None:
    for name in ("z", "a", "m"):
        folder = make_drop(channel, name)
        # The file system's clock ticks in milliseconds; wait for the next tick.
        start = (folder / "person.csv").stat().st_ctime_ns
        probe = channel.inbox / ".probe"
        while True:
            probe.unlink(missing_ok=True)
            probe.touch()
            if probe.stat().st_ctime_ns > start:
                break
    assert [drop.name for drop in channel.list_drops(now())] == ["z", "a", "m"]


def test_settling_moves_the_drop_and_notes_the_outcome(channel: FolderChannel) -> None:
    make_drop(channel)
    (channel.inbox / "2026-Q1.ready").touch()
    (drop,) = channel.list_drops(now())
    for _ in range(2):
        channel.settle(drop, "sub-1", "accepted", DAY)
    folder = channel.inbox / "settled" / "sub-1"
    assert (folder / "content" / "person.csv").read_bytes() == b"a"
    assert json.loads((folder / "settled.json").read_text()) == {"on": "2026-05-01", "outcome": "accepted"}
    assert sorted(path.name for path in channel.inbox.iterdir()) == ["settled"]


def test_same_submission_settled_twice_keeps_both_copies(channel: FolderChannel) -> None:
    for content in (b"a", b"b"):
        make_drop(channel, content=content)
        channel.settle(channel.list_drops(now())[0], "sub-1", "accepted", DAY)
    names = sorted(path.name for path in (channel.inbox / "settled" / "sub-1").iterdir())
    assert names == ["content", "content-2", "settled.json"]


def test_settled_folder_that_is_a_link_is_refused(channel: FolderChannel, tmp_path: Path) -> None:
    make_drop(channel)
    (drop,) = channel.list_drops(now())
    (tmp_path / "elsewhere").mkdir()
    (channel.inbox / "settled").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LinkarmsError):
        channel.settle(drop, "sub-1", "accepted", DAY)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert channel.remove_expired(DAY + timedelta(days=999), 30) == 0


@pytest.mark.parametrize("settled_id", ["../x", "", ".x", "a/b", "x" * 200])
def test_settled_id_that_is_no_plain_name_is_refused(channel: FolderChannel, settled_id: str) -> None:
    make_drop(channel)
    with pytest.raises(ValueError, match="letters"):
        channel.settle(channel.list_drops(now())[0], settled_id, "accepted", DAY)


def test_settled_drops_are_removed_after_the_agreed_days_and_not_before(channel: FolderChannel) -> None:
    make_drop(channel)
    channel.settle(channel.list_drops(now())[0], "sub-1", "accepted", DAY)
    assert channel.remove_expired(DAY + timedelta(days=29), 30) == 0
    assert channel.remove_expired(DAY + timedelta(days=30), 30) == 1
    assert list((channel.inbox / "settled").iterdir()) == []
    assert channel.remove_expired(DAY + timedelta(days=31), 30) == 0


def test_entry_that_a_killed_run_left_half_removed_is_removed(channel: FolderChannel) -> None:
    half = channel.inbox / "settled" / ".removing-sub-1"
    (half / "content").mkdir(parents=True)
    channel.remove_expired(DAY, 30)
    assert not half.exists()


def test_settled_entry_without_its_note_is_kept_by_its_own_date(channel: FolderChannel) -> None:
    folder = channel.inbox / "settled" / "sub-1"
    folder.mkdir(parents=True)
    (folder / "settled.json").write_text("{")
    today = datetime.now(UTC).date()
    assert channel.remove_expired(today, 30) == 0
    assert channel.remove_expired(today + timedelta(days=31), 30) == 1


def test_put_out_writes_whole_files_and_replaces_earlier_ones(channel: FolderChannel) -> None:
    for content in (b"first", b"second"):
        where = channel.put_out("receipts/sub-1.json", content)
    assert Path(where).read_bytes() == b"second"
    assert [path.name for path in (channel.outbox / "receipts").iterdir()] == ["sub-1.json"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a//b", ".x", "a\\b"])
def test_put_out_refuses_names_that_leave_the_outbox(channel: FolderChannel, name: str) -> None:
    with pytest.raises(ValueError, match="letters"):
        channel.put_out(name, b"")


def test_drop_that_changed_since_it_was_listed_is_not_settled(channel: FolderChannel) -> None:
    for drop_is in ("folder", "archive"):
        name = "2026-Q1" if drop_is == "folder" else "2026-Q1.zip"
        file = make_drop(channel, name) / "person.csv" if drop_is == "folder" else channel.inbox / name
        file.write_bytes(b"faulty")
        (decided,) = channel.list_drops(now())
        file.write_bytes(b"mended, and not looked at by anybody")
        channel.settle(decided, decided.reference, "refused", DAY)
        assert file.read_bytes() == b"mended, and not looked at by anybody"
        assert not (channel.inbox / "settled" / decided.reference).exists()
        (mended,) = channel.list_drops(now())
        channel.settle(mended, mended.reference, "accepted", DAY)
        assert channel.list_drops(now()) == ()


def test_tree_deeper_than_a_path_can_be_long_is_listed_beside_its_neighbours(
    channel: FolderChannel, make_deep: Callable[[Path], None]
) -> None:
    make_deep(make_drop(channel, "a"))
    make_drop(channel, "b")
    kinds = {drop.name: drop.kind for drop in channel.list_drops(now())}
    assert kinds == {"a": DropKind.OTHER, "b": DropKind.FOLDER}
    for drop in channel.list_drops(now()):
        channel.settle(drop, drop.reference, "refused", DAY)
    assert channel.list_drops(now()) == ()
    assert channel.remove_expired(DAY + timedelta(days=30), 30) == 2


# --- drops of another account -----------------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Drops folders that Linkarms may read and not write, as another account does under umask 022.

    Permissions do not bind an administrator, so that a test that runs as one becomes an ordinary account. The paths
    are relative to a folder of its own, since the ones above may be closed to it.
    """
    administrator = os.geteuid() == 0
    (tmp_path / "inbox").mkdir()
    monkeypatch.chdir(tmp_path)

    def drop(name: str = "2026-Q1", content: bytes = b"a") -> Path:
        folder = Path("inbox") / name
        if administrator:
            os.seteuid(0)
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)
        (folder / "person.csv").write_bytes(content)
        if administrator:
            os.seteuid(65534)
        else:
            folder.chmod(0o555)
        return folder

    if administrator:
        for path in (tmp_path, tmp_path / "inbox"):
            os.chown(path, 65534, 65534)
        os.seteuid(65534)
    yield drop
    if administrator:
        os.seteuid(0)
    for path in (tmp_path / "inbox").rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


@pytest.fixture
def relative() -> FolderChannel:
    return FolderChannel(Path("inbox"), Path("outbox"), quiet_seconds=60)


def make_writable(folder: Path) -> None:
    ours = os.geteuid()
    if ours == 65534:
        os.seteuid(0)
    folder.chmod(0o777)
    if ours == 65534:
        os.seteuid(ours)


def test_folder_that_may_not_be_moved_is_noted_and_not_listed_again(
    relative: FolderChannel, foreign: Callable[..., Path]
) -> None:
    folder = foreign()
    (Path("inbox") / "2026-Q1.ready").touch()
    (drop,) = relative.list_drops(now())
    for _ in range(2):
        relative.settle(drop, "sub-1", "accepted", DAY)
    assert (folder / "person.csv").read_bytes() == b"a"
    note = json.loads((Path("inbox") / "settled" / "sub-1" / "settled.json").read_text())
    assert note == {"content_stayed": [drop.reference], "on": "2026-05-01", "outcome": "accepted"}
    assert relative.list_drops(now()) == ()
    assert not (Path("inbox") / "2026-Q1.ready").exists()


def test_drop_that_changes_after_it_was_settled_where_it_lies_is_a_new_drop(
    relative: FolderChannel, foreign: Callable[..., Path]
) -> None:
    foreign()
    (first,) = relative.list_drops(now())
    relative.settle(first, first.reference, "refused", DAY)
    foreign(content=b"mended")
    (mended,) = relative.list_drops(now())
    assert mended.name == first.name
    relative.settle(mended, "sub-1", "accepted", DAY)
    assert relative.list_drops(now()) == ()


def test_same_submission_that_stayed_twice_is_listed_neither_time(
    relative: FolderChannel, foreign: Callable[..., Path]
) -> None:
    for name in ("a", "b"):
        foreign(name)
        (drop,) = relative.list_drops(now())
        relative.settle(drop, "sub-1", "accepted", DAY)
    assert relative.list_drops(now()) == ()


def test_note_of_what_stayed_is_kept_until_its_content_can_be_deleted(
    relative: FolderChannel, foreign: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = foreign()
    (drop,) = relative.list_drops(now())
    relative.settle(drop, "sub-1", "accepted", DAY)
    make_drop(relative, "b")
    (moved,) = relative.list_drops(now())
    relative.settle(moved, "sub-1", "accepted", DAY)
    late = DAY + timedelta(days=30)
    assert relative.remove_expired(late, 30) == 0
    assert "expired and cannot be deleted" in caplog.text
    assert relative.list_drops(now()) == ()
    assert [path.name for path in (Path("inbox") / "settled" / "sub-1").iterdir()] == ["settled.json"]
    assert (folder / "person.csv").exists()
    make_writable(folder)
    assert relative.remove_expired(late, 30) == 1
    assert [path.name for path in Path("inbox").iterdir()] == ["settled"]
    assert list((Path("inbox") / "settled").iterdir()) == []


def test_note_of_what_stayed_goes_where_its_content_is_gone_or_has_changed(
    relative: FolderChannel, foreign: Callable[..., Path]
) -> None:
    foreign()
    (drop,) = relative.list_drops(now())
    relative.settle(drop, "sub-1", "accepted", DAY)
    folder = foreign(content=b"mended")
    assert relative.remove_expired(DAY + timedelta(days=30), 30) == 1
    assert (folder / "person.csv").read_bytes() == b"mended"
    assert len(relative.list_drops(now())) == 1


def test_entry_that_cannot_be_deleted_does_not_keep_the_others(
    relative: FolderChannel, foreign: Callable[..., Path], canary: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder within a drop that may be moved but not emptied, before and after others in order of name."""
    caplog.set_level(logging.DEBUG)
    for number in range(3):
        make_drop(relative, f"drop {number}")
        if number == 1:
            foreign(f"drop 1/{canary}")
        (drop,) = relative.list_drops(now())
        relative.settle(drop, f"sub-{number}", "accepted", DAY)
    late = DAY + timedelta(days=30)
    assert relative.remove_expired(late, 30) == 2
    assert relative.remove_expired(late, 30) == 0
    (left,) = (Path("inbox") / "settled").iterdir()
    assert {path.name for path in left.rglob("*")} == {"content", canary, "person.csv"}
    assert len(caplog.records) == 2
    assert canary not in caplog.text
    assert "drop 1" not in caplog.text
    make_drop(relative)
    relative.settle(relative.list_drops(now())[0], "sub-1", "accepted", DAY)
    assert relative.remove_expired(late, 30) == 1
    assert list((Path("inbox") / "settled").iterdir()) == [left]
