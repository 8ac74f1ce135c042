"""K1 alone in a partner's hands: the same subkeys as the ring's, and out of sight."""

import copy
import os
import pickle
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest

from protocol.errors import KeyUnavailable
from pseudonymise.keys import KeyRing
from pseudonymise.partner_key import PartnerKey, export_partner_key, open_partner_key
from tests.unit.pseudonymise.conftest import K1, K2

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PASSPHRASE = "correct horse battery staple"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("office") / "private" / "k1.keys"
    export_partner_key(KeyRing(K1, K2, NOW), path, lambda: PASSPHRASE)
    return path


@pytest.fixture(scope="module")
def key(file: Path) -> PartnerKey:
    return open_partner_key(f"file:{file}", passphrase=lambda: PASSPHRASE)


def test_a_partners_key_gives_the_rings_inner_subkeys(key: PartnerKey, key_ring: KeyRing) -> None:
    assert key.k1_id == key_ring.k1_id
    for purpose, field in (("row key", "person"), ("match key", "names_dob")):
        assert key.inner_subkey(purpose=purpose, field=field) == key_ring.inner_subkey(purpose=purpose, field=field)


def test_it_has_no_outer_layer(key: PartnerKey) -> None:
    assert not hasattr(key, "outer_subkeys")


def test_the_k1_in_use_is_exported_and_no_other(tmp_path: Path) -> None:
    ring = KeyRing(K1, K2, NOW).with_new("K1", NOW)
    pending = ring.pending("K1")
    assert pending is not None
    path = tmp_path / "private" / "next.keys"
    assert export_partner_key(ring.with_inner(pending), path, lambda: PASSPHRASE) == pending
    assert open_partner_key(f"file:{path}", passphrase=lambda: PASSPHRASE).k1_id == pending


def test_the_file_shows_neither_key_and_is_its_owners_alone(file: Path) -> None:
    raw = file.read_bytes()
    assert raw.startswith(b"LINKARMS-LOCKED-KEYS-1\n")
    for secret in (K1, K2):
        assert secret not in raw
        assert secret.hex().encode() not in raw
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_wrong_passphrase_opens_nothing_and_is_not_shown(file: Path) -> None:
    wrong = " ".join(["mistaken"] * 3)
    with pytest.raises(KeyUnavailable) as failure:
        open_partner_key(f"file:{file}", passphrase=lambda: wrong)
    assert wrong not in "".join(traceback.format_exception(failure.value))
    with pytest.raises(KeyUnavailable, match="no passphrase"):
        open_partner_key(f"file:{file}")


def test_a_whole_key_ring_is_refused_at_a_partners_site() -> None:
    text = KeyRing(K1, K2, NOW)._text()
    with pytest.raises(KeyUnavailable, match="whole key ring") as failure:
        open_partner_key("env:HELD", environ={"HELD": text})
    assert K1.hex() not in "".join(traceback.format_exception(failure.value))


@pytest.mark.parametrize(
    "spoil", [lambda text: "", lambda text: text.replace("layer=K1", "layer=K2"), lambda text: text[:-3]]
)
def test_what_is_not_k1_alone_is_refused(spoil: object, key_ring: KeyRing) -> None:
    line = next(line for line in key_ring._text().splitlines() if line.startswith("layer=K1"))
    sound = f"LINKARMS-K1-1;{line}"
    assert open_partner_key("env:HELD", environ={"HELD": sound}).k1_id == key_ring.k1_id
    with pytest.raises(KeyUnavailable) as failure:
        open_partner_key("env:HELD", environ={"HELD": spoil(sound)})
    assert K1.hex()[:16] not in "".join(traceback.format_exception(failure.value))


def test_a_file_that_is_there_is_not_overwritten(file: Path, key_ring: KeyRing) -> None:
    before = file.read_bytes()
    with pytest.raises(KeyUnavailable, match="already"):
        export_partner_key(key_ring, file, lambda: PASSPHRASE)
    assert file.read_bytes() == before


def test_it_shows_its_id_only_and_is_neither_pickled_nor_copied(key: PartnerKey) -> None:
    assert repr(key) == str(key) == f"PartnerKey(k1.{key.k1_id})"
    assert not hasattr(key, "__dict__")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled or copied"):
            attempt(key)


def test_where_a_files_rights_cannot_be_checked_the_key_comes_by_a_variable(
    file: Path, key: PartnerKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "geteuid")  # as on Windows
    with pytest.raises(KeyUnavailable, match="env:<NAME>"):
        open_partner_key(f"file:{file}", passphrase=lambda: PASSPHRASE)
    held = {"HELD": file.read_text().replace("\n", ";")}
    assert open_partner_key("env:HELD", environ=held, passphrase=lambda: PASSPHRASE).k1_id == key.k1_id
