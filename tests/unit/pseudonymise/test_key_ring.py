"""A ring of several keys: which of them are in use, what is told of them, and how they get in and out."""

import copy
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from protocol.errors import DefectFound, KeyUnavailable
from pseudonymise.keys import KeyRing, KeyState, open_key_ring, write_key_ring

MADE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 7, 1, 9, 0, tzinfo=UTC)
USE = {"purpose": "match key", "field": "names_dob"}


def filled(number: int):
    return lambda size: bytes([number]) * size


def states(ring: KeyRing) -> list[tuple[str, str]]:
    return [(key.layer, str(key.state)) for key in ring.keys]


@pytest.fixture
def source(tmp_path: Path) -> str:
    source = f"file:{tmp_path / 'secrets' / 'linkarms.keys'}"
    open_key_ring(source, now=MADE, create=True)
    return source


def read(source: str) -> KeyRing:
    return open_key_ring(source, now=NOW)


def test_a_pending_key_is_held_and_not_used(key_ring: KeyRing) -> None:
    ring = key_ring.with_new("K2", NOW, filled(7)).with_new("K1", NOW, filled(8))
    assert states(ring) == [("K1", "active"), ("K1", "pending"), ("K2", "active"), ("K2", "pending")]
    assert ring.key_id == key_ring.key_id
    assert ring.outer_subkeys(**USE) == key_ring.outer_subkeys(**USE)
    assert ring.inner_subkey(**USE) == key_ring.inner_subkey(**USE)
    for layer in ("K1", "K2"):
        with pytest.raises(KeyUnavailable, match="waits"):
            ring.with_new(layer, NOW)


def test_an_added_k2_covers_the_former_and_an_other_k1_retires_it(key_ring: KeyRing) -> None:
    rotated = key_ring.with_new("K2", NOW, filled(7)).with_next_outer().marked(NOW)
    assert states(rotated) == [("K1", "active"), ("K2", "covered"), ("K2", "active")]
    assert [key.retired for key in rotated.keys] == [None, NOW, None]
    assert len(rotated.outer_subkeys(**USE)) == 2
    assert rotated.outer_subkeys(**USE)[:1] == key_ring.outer_subkeys(**USE)
    assert rotated.outer_subkeys(**USE, above=key_ring.key_id) == rotated.outer_subkeys(**USE)[1:]
    assert rotated.created == NOW

    ring = rotated.with_new("K1", NOW, filled(8))
    ring = ring.with_inner(str(ring.pending("K1"))).marked(NOW + timedelta(1))
    assert states(ring) == [("K1", "retired"), ("K1", "active"), ("K2", "covered"), ("K2", "active")]
    assert ring.inner_subkey(**USE) != key_ring.inner_subkey(**USE)
    assert ring.k2_id == rotated.k2_id
    assert len({key_ring.key_id, rotated.key_id, ring.key_id}) == 3


def test_the_key_id_of_one_key_a_layer_is_as_it_always_was(key_ring: KeyRing) -> None:
    # Recorded beside rows since the first version.
    assert key_ring.key_id == "k1.1b6bbfed8a3961ad-k2.92747398694ea8b0"


def test_one_subkey_of_a_chain_is_not_given(key_ring: KeyRing) -> None:
    assert key_ring.subkey("K2", **USE) == key_ring.outer_subkeys(**USE)[0]
    rotated = key_ring.with_new("K2", NOW, filled(7)).with_next_outer()
    assert rotated.subkey("K1", **USE) == rotated.inner_subkey(**USE)
    with pytest.raises(DefectFound, match="chain"):
        rotated.subkey("K2", **USE)


def test_what_the_database_has_recorded_decides_which_keys_are_in_use(key_ring: KeyRing, source: str) -> None:
    """Killed before the commit, after it, and with the file marked: the recorded id finds the ring."""
    pending = key_ring.with_new("K2", NOW, filled(7))
    rotated = pending.with_next_outer()
    marked = rotated.marked(NOW)
    for ring in (pending, marked):
        assert ring.in_force(key_ring.key_id).outer_subkeys(**USE) == key_ring.outer_subkeys(**USE)
        assert ring.in_force(rotated.key_id).outer_subkeys(**USE) == rotated.outer_subkeys(**USE)
        assert ring.in_force(None).key_id == ring.key_id
    with pytest.raises(KeyUnavailable, match="cannot be linked"):
        key_ring.in_force(rotated.key_id)
    with pytest.raises(KeyUnavailable, match="cannot be linked"):
        read(source).in_force(key_ring.key_id)


def test_a_warehouse_restored_from_before_is_led_to_the_keys_that_are_there(key_ring: KeyRing) -> None:
    marked = key_ring.with_new("K2", NOW, filled(7)).with_next_outer().marked(NOW)
    restored = marked.in_force(key_ring.key_id)
    assert restored.outer_ids == key_ring.outer_ids
    assert restored.with_next_outer().key_id == marked.key_id


def test_a_ring_is_written_and_read_with_all_keys_moments_and_states(source: str) -> None:
    ring = read(source).with_new("K2", NOW).with_next_outer().marked(NOW).with_new("K1", NOW).with_new("K2", NOW)
    write_key_ring(source, ring)
    again = read(source)
    assert again.keys == ring.keys
    assert again.key_id == ring.key_id
    assert again.outer_subkeys(**USE) == ring.outer_subkeys(**USE)
    text = Path(source.removeprefix("file:")).read_text()
    assert text.startswith("LINKARMS-KEYS-2\n")
    assert text.count("secret=LINKARMS-SECRET-") == len(ring.keys) == 5


def test_keys_in_the_earlier_form_are_still_read(source: str) -> None:
    path = Path(source.removeprefix("file:"))
    ring = read(source)
    lines = [line.split() for line in path.read_text().splitlines()[1:]]
    entries = [" ".join(part for part in line if not part.startswith("activated=")) for line in lines]
    path.write_text("\n".join(["LINKARMS-KEYS-1", *entries, ""]))
    assert read(source).key_id == ring.key_id
    assert read(source).keys == ring.keys
    path.write_text("\n".join(["LINKARMS-KEYS-1", *entries, entries[1], ""]))
    with pytest.raises(KeyUnavailable, match="damaged"):
        read(source)


def test_a_ring_without_a_key_in_use_or_in_another_order_is_refused(source: str) -> None:
    path = Path(source.removeprefix("file:"))
    write_key_ring(source, read(source).with_new("K2", NOW).with_next_outer().marked(NOW))
    head, k1, covered, active = path.read_text().splitlines()
    for lines in (
        [head, covered, active],
        [head, k1],
        [head, k1, active, covered],
        [head, k1.replace("activated", "noted"), covered, active],
        [head, k1, covered, active, active],
        [head, k1, covered, active.replace("+00:00", "")],
    ):
        path.write_text("\n".join([*lines, ""]))
        with pytest.raises(KeyUnavailable, match="damaged"):
            read(source)


def test_a_key_that_is_in_use_is_not_removed(key_ring: KeyRing) -> None:
    rotated = key_ring.with_new("K2", NOW, filled(7)).with_next_outer().marked(NOW)
    for key in rotated.keys:
        with pytest.raises(KeyUnavailable, match="in use"):
            rotated.without(key.id)
    with pytest.raises(KeyUnavailable, match="no key of that id"):
        rotated.without("0" * 16)
    waiting = rotated.with_new("K2", NOW, filled(9))
    assert waiting.without(str(waiting.pending("K2"))).keys == rotated.keys


def test_only_a_file_is_changed_from_here(key_ring: KeyRing) -> None:
    for source in ("env:KEYS", "secret:keys", "file:"):
        with pytest.raises(KeyUnavailable, match="only a key file"):
            write_key_ring(source, key_ring)


def test_no_key_of_a_longer_ring_is_shown_pickled_or_told_in_an_error(key_ring: KeyRing) -> None:
    ring = key_ring.with_new("K2", NOW, filled(0xB7)).with_next_outer().marked(NOW).with_new("K1", NOW, filled(0xC8))
    shown = [repr(ring), str(ring), repr(ring.keys), str(ring.keys), repr(vars(type(ring)))]
    attempts = [
        lambda: pickle.dumps(ring),
        lambda: copy.deepcopy(ring),
        lambda: ring.in_force("k1.0-k2.0"),
        lambda: ring.added_since("k1.0-k2.0"),
        lambda: ring.check_key_id("k1.0-k2.0"),
        lambda: ring.with_new("K1", NOW),
        lambda: ring.without(ring.k1_id),
        lambda: ring.with_inner("0"),
        lambda: ring.subkey("K2", **USE),
    ]
    for attempt in attempts:
        with pytest.raises((TypeError, KeyUnavailable, DefectFound)) as failure:
            attempt()
        shown.append("".join(traceback.format_exception(failure.value)))
    for secret in (bytes(range(32)), bytes(range(32, 64)), b"\xb7" * 32, b"\xc8" * 32):
        assert not any(secret.hex()[:12] in text or repr(secret)[2:14] in text for text in shown)
    assert not hasattr(ring, "__dict__")
    assert pickle.loads(pickle.dumps(ring.keys)) == ring.keys  # ids and moments may travel
    assert ring.keys[0].state is KeyState.ACTIVE
