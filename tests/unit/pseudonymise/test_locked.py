"""A key file that a passphrase unlocks: nothing else does, and a hostile one takes no memory."""

import resource
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest

from protocol.errors import KeyUnavailable
from pseudonymise.keys import open_key_ring, write_key_ring
from pseudonymise.locked import LEAST_CHARACTERS, MOST_MEMORY, is_locked, lock_text, unlock_text

NOW = datetime(2026, 7, 1, 9, 0, tzinfo=UTC)
WORDS = "otter lantern gravel sunday"
TEXT = "LINKARMS-KEYS-2 and the rest"
QUICK = 1 << 14


@pytest.fixture(scope="module")
def file() -> str:
    return lock_text(TEXT, WORDS, n=QUICK)


def test_a_locked_text_is_unlocked_by_its_passphrase_alone(file: str) -> None:
    assert is_locked(file)
    assert TEXT not in file
    assert unlock_text(file, WORDS, "the file") == TEXT
    assert unlock_text(file.strip().replace("\n", ";"), WORDS, "the variable") == TEXT
    for other in ("", WORDS + " ", WORDS.title()):
        with pytest.raises(KeyUnavailable, match="the file cannot be unlocked"):
            unlock_text(file, other, "the file")


def test_the_same_text_is_locked_to_another_file_each_time(file: str) -> None:
    again = lock_text(TEXT, WORDS, n=QUICK).splitlines()
    assert all(mine != other for mine, other in zip(file.splitlines()[1:], again[1:], strict=True))


def test_any_changed_character_is_noticed(file: str) -> None:
    # Those of salt, nonce and body one by one; the words of the head are the next test's.
    places = [place for place, character in enumerate(file) if character in "0123456789abcdef" and place > 60]
    for place in places[::7]:
        changed = file[:place] + ("0" if file[place] != "0" else "1") + file[place + 1 :]
        with pytest.raises(KeyUnavailable, match=r"cannot be unlocked|damaged"):
            unlock_text(changed, WORDS, "the file")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("n=16384", "n=32768"),
        ("p=1", "p=2"),
        ("r=8", "r=4"),
        ("kdf=scrypt", "kdf=none"),
        ("chacha20-poly1305", "chacha20"),
        ("KEYS-1", "KEYS-9"),
        ("n=16384 ", ""),
        ("salt=", "salt=00"),
    ],
)
def test_a_changed_head_is_refused(file: str, old: str, new: str) -> None:
    assert old in file
    with pytest.raises(KeyUnavailable):
        unlock_text(file.replace(old, new, 1), WORDS, "the file")


def test_a_file_that_was_cut_off_is_refused(file: str) -> None:
    for length in range(0, len(file) - 1, 17):
        with pytest.raises(KeyUnavailable):
            unlock_text(file[:length], WORDS, "the file")


@pytest.mark.parametrize(
    "parameters",
    [
        "n=524288 r=8 p=1",
        "n=131072 r=32 p=1",
        "n=16384 r=4294967 p=1",
        "n=16384 r=8 p=9999999",
        "n=100000 r=8 p=1",
        "n=1024 r=8 p=1",
        "n=9999999999 r=9999999999 p=9999999999",
        "n=0 r=8 p=1",
        "n=16384 r=8 p=-1",
    ],
)
def test_a_header_that_asks_for_too_much_is_refused_before_memory_is_taken(file: str, parameters: str) -> None:
    hostile = file.replace("n=16384 r=8 p=1", parameters)
    assert hostile != file
    before = resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(KeyUnavailable, match=r"other work|damaged"):
        unlock_text(hostile, WORDS, "the file")
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert (after.ru_maxrss - before.ru_maxrss) * 1024 < MOST_MEMORY // 16
    assert after.ru_utime - before.ru_utime < 0.5


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(KeyUnavailable, match=f"at least {LEAST_CHARACTERS}"):
        lock_text(TEXT, "x" * (LEAST_CHARACTERS - 1), n=QUICK)


def test_a_locked_key_file_is_made_opened_and_changed_and_stays_locked(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    source = f"file:{path}"
    ring = open_key_ring(source, now=NOW, create=True, passphrase=lambda: WORDS, lock=True)
    assert is_locked(path.read_text())
    assert "SECRET" not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(KeyUnavailable, match="no passphrase is at hand"):
        open_key_ring(source, now=NOW)
    changed = ring.with_new("K2", NOW)
    write_key_ring(source, changed, passphrase=lambda: WORDS)
    assert is_locked(path.read_text())
    assert open_key_ring(source, now=NOW, passphrase=lambda: WORDS).keys == changed.keys
    write_key_ring(source, changed, passphrase=lambda: WORDS + " and more", lock=True)
    with pytest.raises(KeyUnavailable, match="passphrase is another"):
        open_key_ring(source, now=NOW, passphrase=lambda: WORDS)


def test_locked_keys_may_lie_in_a_variable_or_a_secrets_backend_too(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    ring = open_key_ring(f"file:{path}", now=NOW, create=True, passphrase=lambda: WORDS, lock=True)
    text = path.read_text()
    one_line = text.strip().replace("\n", ";")
    from_variable = open_key_ring("env:KEYS", now=NOW, environ={"KEYS": one_line}, passphrase=lambda: WORDS)
    from_backend = open_key_ring("secret:x", now=NOW, resolve_secret=lambda name: text, passphrase=lambda: WORDS)
    assert ring.key_id == from_variable.key_id == from_backend.key_id


def test_neither_passphrase_nor_text_is_in_an_error(file: str) -> None:
    told = []
    for attempt in (
        lambda: unlock_text(file, "another passphrase canary", "the file"),
        lambda: unlock_text(file[:-20], WORDS, "the file"),
        lambda: lock_text(TEXT, "canary", n=QUICK),
    ):
        with pytest.raises(KeyUnavailable) as failure:
            attempt()
        told.append("".join(traceback.format_exception(failure.value)).split("\nprotocol.errors")[-1])
        assert failure.value.__cause__ is None
    assert not any(word in text for text in told for word in ("canary", "otter", TEXT))
