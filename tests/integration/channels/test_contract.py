"""What every channel promises, whatever carries it."""

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from intake.channels import DropKind
from protocol.errors import NotYet
from tests.integration.channels.servers import QUIET, FolderSide, Side

DAY = date(2026, 5, 1)
CANARY = "Vantablackwood"


def now(seconds: float = 0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def drop(side: Side, name: str = "2026-Q1", content: bytes = b"a") -> None:
    side.write(f"inbox/{name}/person.csv", content)


def test_inbox_that_does_not_exist_has_no_drops(side: Side) -> None:
    assert side.channel().list_drops(now()) == ()


def test_drop_is_ready_once_it_has_not_changed_for_the_quiet_time(side: Side) -> None:
    drop(side)
    channel = side.channel()
    assert [each.ready for each in channel.list_drops(now())] == [False]
    assert [each.ready for each in channel.list_drops(now(QUIET + 2))] == [True]


def test_drop_that_changes_starts_its_quiet_time_again(side: Side) -> None:
    drop(side)
    side.channel().list_drops(now(-QUIET - 2))
    drop(side, content=b"another")
    assert [each.ready for each in side.channel().list_drops(now())] == [False]


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("2026-Q1/person.csv", "2026-Q1/ready"),
        ("2026-Q1/person.csv", "2026-Q1.ready"),
        ("2026-Q1.zip", "2026-Q1.zip.ready"),
        ("2026-Q1.zip", "2026-Q1.ready"),
        ("2026-Q1.sealed", "2026-Q1.ready"),
        ("2026-Q1.xlsx", "2026-Q1.ready"),
        ("2026-Q1.zip.sealed", "2026-Q1.zip.ready"),
    ],
)
def test_ready_flag_makes_a_drop_ready_at_once(side: Side, name: str, flag: str) -> None:
    side.write(f"inbox/{name}", b"a")
    side.write(f"inbox/{flag}", b"")
    (found,) = side.channel().list_drops(now())
    assert found.ready
    assert found.display == "2026-Q1"


def test_half_written_hidden_and_settled_entries_are_passed_over(side: Side) -> None:
    for name in (".2026-Q1", "2026-Q1.part", "settled", "ready", "Thumbs.db", "x.ready"):
        side.write(f"inbox/{name}/person.csv", b"a")
    assert side.channel().list_drops(now(600)) == ()


def test_kinds_of_drops_are_told_apart(side: Side) -> None:
    drop(side, "a")
    for name in ("b.ZIP", "c.csv", "d.xlsx", "e.sealed"):
        side.write(f"inbox/{name}", b"")
    assert {each.name: each.kind for each in side.channel().list_drops(now())} == {
        "a": DropKind.FOLDER,
        "b.ZIP": DropKind.ARCHIVE,
        "c.csv": DropKind.OTHER,
        "d.xlsx": DropKind.WORKBOOK,
        "e.sealed": DropKind.SEALED,
    }


def test_name_of_a_drop_is_shown_only_where_it_looks_like_a_period(side: Side, tmp_path: Path) -> None:
    drop(side, CANARY)
    channel = side.channel()
    (found,) = channel.list_drops(now())
    assert found.display == found.reference
    assert CANARY not in repr(found) + repr(channel.fetch(found, tmp_path / "fetched"))
    with pytest.raises(NotYet) as error:
        channel.find_drop("drop-" + "0" * 20, now())
    assert CANARY not in str(error.value)


def test_reference_stays_while_the_drop_does_and_changes_with_it(side: Side) -> None:
    drop(side)
    (first,) = side.channel().list_drops(now())
    side.write("inbox/2026-Q1/ready", b"")
    assert side.channel().find_drop(first.reference, now()).ready
    drop(side, content=b"another")
    with pytest.raises(NotYet):
        side.channel().find_drop(first.reference, now())


def test_what_is_fetched_is_what_was_dropped(side: Side, tmp_path: Path) -> None:
    large = bytes(range(256)) * 40_000
    drop(side, content=large)
    side.write("inbox/2026-Q1/manifest.yaml", b"")
    side.write("inbox/2026-Q2.zip", large[:-1])
    channel = side.channel()
    for found in channel.list_drops(now()):
        fetched = channel.fetch(found, tmp_path / found.reference)
        assert fetched.fault is None
        assert fetched.name == found.name
        if found.kind is DropKind.FOLDER:
            assert (fetched.path / "person.csv").read_bytes() == large
            assert (fetched.path / "manifest.yaml").read_bytes() == b""
        else:
            assert fetched.path.read_bytes() == large[:-1]


def test_settling_moves_the_drop_and_notes_the_outcome(side: Side) -> None:
    drop(side)
    side.write("inbox/2026-Q1.ready", b"")
    channel = side.channel()
    (found,) = channel.list_drops(now())
    for _ in range(2):
        channel.settle(found, "sub-1", "accepted", DAY)
    assert side.read() == {
        "inbox/settled/sub-1/content/person.csv": b"a",
        "inbox/settled/sub-1/settled.json": b'{"on": "2026-05-01", "outcome": "accepted"}',
    }
    assert channel.list_drops(now()) == ()


@pytest.mark.parametrize("name", ["2026-Q1.zip", "2026-Q1.sealed", "2026-Q1.xlsx"])
def test_a_file_that_is_settled_keeps_its_ending(side: Side, name: str) -> None:
    side.write(f"inbox/{name}", b"a")
    channel = side.channel()
    channel.settle(channel.list_drops(now())[0], "sub-1", "accepted", DAY)
    assert f"inbox/settled/sub-1/content{Path(name).suffix}" in side.read()


def test_same_submission_settled_twice_keeps_both_copies(side: Side) -> None:
    channel = side.channel()
    for content in (b"a", b"b"):
        drop(side, content=content)
        channel.settle(channel.list_drops(now())[0], "sub-1", "accepted", DAY)
    kept = side.read()
    assert kept["inbox/settled/sub-1/content/person.csv"] == b"a"
    assert kept["inbox/settled/sub-1/content-2/person.csv"] == b"b"


def test_neighbours_whose_names_begin_alike_stay_where_they_are(side: Side) -> None:
    for name in ("2026-Q1", "2026-Q1 copy"):
        drop(side, name)
    side.write("inbox/2026-Q1.zip", b"PK")
    channel = side.channel()
    found = next(each for each in channel.list_drops(now()) if each.name == "2026-Q1")
    channel.settle(found, "sub-1", "accepted", DAY)
    assert {each.name for each in channel.list_drops(now())} == {"2026-Q1 copy", "2026-Q1.zip"}


@pytest.mark.parametrize("settled_id", ["../x", "", ".x", "a/b", "x" * 200])
def test_settled_id_that_is_no_plain_name_is_refused(side: Side, settled_id: str) -> None:
    drop(side)
    channel = side.channel()
    with pytest.raises(ValueError, match="letters"):
        channel.settle(channel.list_drops(now())[0], settled_id, "accepted", DAY)


def test_drop_that_changed_since_it_was_listed_is_not_settled(side: Side) -> None:
    channel = side.channel()
    for name in ("2026-Q1/person.csv", "2026-Q2.zip"):
        side.write(f"inbox/{name}", b"faulty")
        (decided,) = channel.list_drops(now())
        side.write(f"inbox/{name}", b"mended, and not looked at by anybody")
        channel.settle(decided, decided.reference, "refused", DAY)
        assert side.read()[f"inbox/{name}"] == b"mended, and not looked at by anybody"
        (mended,) = channel.list_drops(now())
        channel.settle(mended, mended.reference, "accepted", DAY)
        assert channel.list_drops(now()) == ()


def test_settled_drops_are_removed_after_the_agreed_days_and_not_before(side: Side) -> None:
    drop(side)
    channel = side.channel()
    channel.settle(channel.list_drops(now())[0], "sub-1", "accepted", DAY)
    assert channel.remove_expired(DAY + timedelta(days=29), 30) == 0
    assert channel.remove_expired(DAY + timedelta(days=30), 30) == 1
    assert side.read() == {}
    assert channel.remove_expired(DAY + timedelta(days=31), 30) == 0


def test_settled_entry_without_its_note_is_kept_by_its_own_date(side: Side) -> None:
    side.write("inbox/settled/sub-1/settled.json", b"{")
    channel = side.channel()
    today = datetime.now(UTC).date()
    assert channel.remove_expired(today, 30) == 0
    assert channel.remove_expired(today + timedelta(days=31), 30) == 1


def test_put_out_writes_whole_files_and_replaces_earlier_ones(side: Side) -> None:
    channel = side.channel()
    for content in (b"first", b"second"):
        channel.put_out("receipts/sub-1.json", content)
    assert side.read() == {"outbox/receipts/sub-1.json": b"second"}
    for _ in range(2):
        channel.take_back("receipts/sub-1.json")
    assert side.read() == {}


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a//b", ".x", "a\\b"])
def test_names_that_leave_the_outbox_are_refused(side: Side, name: str) -> None:
    for use in (lambda: side.channel().put_out(name, b""), lambda: side.channel().take_back(name)):
        with pytest.raises(ValueError, match="letters"):
            use()


def test_drops_are_listed_oldest_first(side: Side) -> None:
    drop(side, "z")
    time.sleep(0.02 if isinstance(side, FolderSide) else 1.05)  # servers tell whole seconds
    drop(side, "a")
    assert [each.name for each in side.channel().list_drops(now())] == ["z", "a"]
