"""Keys come from a private place, keep out of sight, and stop the run where they are not the data's."""

import copy
import os
import pickle
import re
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from protocol.errors import KeyUnavailable
from pseudonymise.keys import KeyRing, derivation_info, open_key_ring

NOW = datetime(2026, 7, 1, 9, 0, tzinfo=UTC)


def open_file(path: Path, *, create: bool = True) -> KeyRing:
    return open_key_ring(f"file:{path}", now=NOW, create=create)


def test_a_key_file_is_made_once_private_and_in_a_private_folder(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    first = open_file(path)
    before = path.read_bytes()
    second = open_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes() == before
    assert first.key_id == second.key_id
    assert first.created == NOW
    assert [entry.name for entry in path.parent.iterdir()] == ["linkarms.keys"]


def test_two_processes_that_make_keys_at_once_end_up_with_the_same(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(open_file(path).key_id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_a_missing_key_file_stops_the_run_where_it_may_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(KeyUnavailable, match="no key file"):
        open_file(tmp_path / "secrets" / "linkarms.keys", create=False)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    open_file(path)
    path.chmod(mode)
    with pytest.raises(KeyUnavailable, match="others can read"):
        open_file(path)


def test_a_key_file_in_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    open_file(path)
    path.parent.chmod(0o777)
    with pytest.raises(KeyUnavailable, match="others can write"):
        open_file(path)


def test_keys_are_not_made_in_an_open_folder(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(KeyUnavailable, match="0700"):
        open_file(folder / "linkarms.keys")
    assert list(folder.iterdir()) == []


def test_a_link_in_the_place_of_a_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    open_file(path)
    link = path.parent / "link.keys"
    link.symlink_to(path)
    with pytest.raises(KeyUnavailable, match="is a link"):
        open_file(link, create=False)


def test_environment_and_secrets_backend_give_the_same_keys_as_the_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    from_file = open_file(path)
    text = path.read_text()
    one_line = text.strip().replace("\n", ";")
    from_environment = open_key_ring("env:KEYS", now=NOW, environ={"KEYS": one_line})
    from_backend = open_key_ring("secret:linkarms", now=NOW, resolve_secret={"linkarms": text}.get)
    assert from_file.key_id == from_environment.key_id == from_backend.key_id
    assert from_file.subkey("K1", purpose="p", field="f") == from_backend.subkey("K1", purpose="p", field="f")


def test_a_source_without_keys_stops_the_run() -> None:
    def broken(name: str) -> str:
        raise RuntimeError("the backend read hunter2")

    with pytest.raises(KeyUnavailable, match="KEYS"):
        open_key_ring("env:KEYS", now=NOW, environ={})
    with pytest.raises(KeyUnavailable, match="need a backend"):
        open_key_ring("secret:x", now=NOW)
    with pytest.raises(KeyUnavailable, match="has no secret"):
        open_key_ring("secret:x", now=NOW, resolve_secret=lambda name: None)
    with pytest.raises(KeyUnavailable) as failure:
        open_key_ring("secret:x", now=NOW, resolve_secret=broken)
    assert "hunter2" not in str(failure.value)
    assert failure.value.__suppress_context__
    for source in ("nonsense", "file:", "vault:x"):
        with pytest.raises(KeyUnavailable, match="source is"):
            open_key_ring(source, now=NOW)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("LINKARMS-KEYS-2", "SOMETHING"),
        lambda text: "\n".join(text.splitlines()[:2]),
        lambda text: text[:-3],
        lambda text: text.replace("layer=K2", "layer=K1"),
        lambda text: text.replace("secret=LINKARMS-SECRET-", "secret="),
        lambda text: re.sub("SECRET-..", "SECRET-00" if "SECRET-00" not in text else "SECRET-11", text, count=1),
        lambda text: "",
    ],
)
def test_damaged_keys_are_refused_without_showing_them(tmp_path: Path, damage) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"
    open_file(path)
    text = path.read_text()
    secrets = [part.split()[0] for part in text.split("SECRET-")[1:]]
    path.write_text(damage(text))
    with pytest.raises(KeyUnavailable) as failure:
        open_file(path)
    assert not any(secret[:16] in str(failure.value) for secret in secrets)


def test_a_key_ring_shows_ids_and_nothing_else(key_ring: KeyRing, tmp_path: Path) -> None:
    secrets = [bytes(range(32)), bytes(range(32, 64))]
    for shown in (repr(key_ring), str(key_ring), f"{key_ring}", key_ring.key_id):
        assert not any(secret.hex()[:8] in shown or repr(secret)[2:10] in shown for secret in secrets)
    assert not hasattr(key_ring, "__dict__")


def test_a_key_ring_is_not_pickled_or_copied(key_ring: KeyRing) -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            attempt(key_ring)


def test_data_of_other_keys_stops_the_run(key_ring: KeyRing, other_key_ring: KeyRing) -> None:
    key_ring.check_key_id(key_ring.key_id)
    with pytest.raises(KeyUnavailable, match="was made with the keys"):
        key_ring.check_key_id(other_key_ring.key_id)


def test_every_use_has_a_subkey_of_its_own(key_ring: KeyRing) -> None:
    uses = [
        key_ring.subkey(layer, purpose=purpose, field=field, scheme=scheme)
        for layer in ("K1", "K2")
        for purpose in ("match key", "row key")
        for field in ("a", "b")
        for scheme in (1, 2)
    ]
    assert len(set(uses)) == 16
    assert all(len(bytes.fromhex(subkey)) == 32 for subkey in uses)


def test_parts_of_a_derivation_cannot_run_into_each_other() -> None:
    assert derivation_info("ab", "c") != derivation_info("a", "bc")
    assert derivation_info("a", "") != derivation_info("a")


def test_one_key_in_both_layers_is_refused() -> None:
    with pytest.raises(KeyUnavailable, match="same key"):
        KeyRing(bytes(32), bytes(32), NOW)


def test_an_interrupted_making_leaves_no_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secrets" / "linkarms.keys"

    def fail(descriptor: int) -> None:
        raise OSError

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyUnavailable, match="cannot be made"):
        open_file(path)
    assert list(path.parent.iterdir()) == []
