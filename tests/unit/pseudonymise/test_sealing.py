"""Sealed envelopes: what was sealed comes out, and nothing else ever does."""

import copy
import io
import pickle
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import KeyUnavailable
from pseudonymise.sealing import (
    CHUNK,
    HEADER,
    EnvelopeFault,
    EnvelopeRefused,
    PublicKey,
    Sealer,
    SealingKeys,
    content_size,
    open_bytes,
    open_file,
    open_sealing_keys,
    seal_bytes,
    write_sealing_keys,
)

NOW = datetime(2026, 11, 2, tzinfo=UTC)
SEALED = CHUNK + 16


@pytest.fixture
def keys() -> SealingKeys:
    return SealingKeys([(NOW, bytes(range(32)))])


@pytest.fixture
def source(tmp_path: Path) -> str:
    return f"file:{tmp_path / 'secrets' / 'linkarms.sealing'}"


def refused(envelope: bytes, keys: SealingKeys) -> EnvelopeFault:
    with pytest.raises(EnvelopeRefused) as error:
        open_bytes(envelope, keys)
    return error.value.fault


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4 * CHUNK), st.lists(st.integers(1, 2 * CHUNK), max_size=5))
def test_content_of_any_size_written_in_any_pieces_comes_out_as_it_was(size: int, cuts: list[int]) -> None:
    keys = SealingKeys([(NOW, bytes(range(32)))])
    content = bytes(number % 253 for number in range(size))
    sink = io.BytesIO()
    with Sealer(sink, keys.public) as sealer:
        start = 0
        for cut in cuts:
            sealer.write(content[start : start + cut])
            start += cut
        sealer.write(content[start:])
    assert open_bytes(sink.getvalue(), keys) == content
    assert content_size(len(sink.getvalue())) == size


def test_same_content_is_sealed_to_another_envelope_each_time(keys: SealingKeys) -> None:
    assert seal_bytes(b"a", keys.public) != seal_bytes(b"a", keys.public)


def test_envelope_with_any_single_bit_changed_is_refused(keys: SealingKeys) -> None:
    envelope = seal_bytes(b"identifier", keys.public)
    for place in range(len(envelope)):
        for bit in (1, 128):
            changed = bytearray(envelope)
            changed[place] ^= bit
            assert refused(bytes(changed), keys) in set(EnvelopeFault) - {EnvelopeFault.TOO_LARGE}


def test_envelope_cut_anywhere_is_refused(keys: SealingKeys) -> None:
    envelope = seal_bytes(bytes(2 * CHUNK), keys.public)
    for length in (0, 1, 17, HEADER - 1, HEADER, HEADER + 3, HEADER + SEALED - 1, HEADER + SEALED, len(envelope) - 1):
        fault = refused(envelope[:length], keys)
        assert fault in (EnvelopeFault.CUT_SHORT, EnvelopeFault.DAMAGED, EnvelopeFault.NOT_ONE)
    # Where whole chunks are missing the reason can be told for certain.
    assert refused(envelope[: HEADER + SEALED], keys) is EnvelopeFault.CUT_SHORT


def test_chunks_that_are_moved_repeated_left_out_or_added_are_noticed(keys: SealingKeys) -> None:
    envelope = seal_bytes(b"a" * CHUNK + b"b" * CHUNK + b"c" * 100, keys.public)
    other = seal_bytes(b"a" * CHUNK + b"b" * CHUNK + b"c" * 100, keys.public)
    header, one, two, three = (
        envelope[:HEADER],
        envelope[HEADER : HEADER + SEALED],
        envelope[HEADER + SEALED : HEADER + 2 * SEALED],
        envelope[HEADER + 2 * SEALED :],
    )
    for body in (two + one + three, one + one + two + three, one + three, one + two + three + three, three):
        assert refused(header + body, keys) is EnvelopeFault.DAMAGED
    assert refused(header + one + two + three + b"x", keys) is EnvelopeFault.DAMAGED
    assert refused(header + one + other[HEADER + SEALED :], keys) is EnvelopeFault.DAMAGED
    assert refused(other[:HEADER] + one + two + three, keys) is EnvelopeFault.DAMAGED


def test_envelope_to_another_key_is_refused_and_so_is_one_that_only_says_so(keys: SealingKeys) -> None:
    theirs = SealingKeys([(NOW, bytes(range(1, 33)))])
    envelope = seal_bytes(b"a", theirs.public)
    assert refused(envelope, keys) is EnvelopeFault.OTHER_KEY
    readdressed = envelope[:18] + bytes.fromhex(keys.public.id) + envelope[26:]
    assert refused(readdressed, keys) is EnvelopeFault.DAMAGED


def test_what_is_no_envelope_or_one_of_another_version_is_told_apart(keys: SealingKeys) -> None:
    assert refused(b"PK\3\4", keys) is EnvelopeFault.NOT_ONE
    assert refused(b"", keys) is EnvelopeFault.NOT_ONE
    assert refused(seal_bytes(b"a", keys.public).replace(b"SEALED-1", b"SEALED-2"), keys) is EnvelopeFault.VERSION


def test_public_key_that_gives_everyone_the_same_secret_is_refused(keys: SealingKeys) -> None:
    envelope = seal_bytes(b"a", keys.public)
    assert refused(envelope[: HEADER - 32] + bytes(32) + envelope[HEADER:], keys) is EnvelopeFault.DAMAGED


def test_nothing_of_a_refused_envelope_is_left_on_the_disk(keys: SealingKeys, tmp_path: Path) -> None:
    envelope, target = tmp_path / "a.sealed", tmp_path / "opened"
    whole = seal_bytes(b"Vantablackwood" * 20_000, keys.public)
    envelope.write_bytes(whole[:-1])
    with pytest.raises(EnvelopeRefused):
        open_file(envelope, target, keys)
    assert [path.name for path in tmp_path.iterdir()] == ["a.sealed"]
    envelope.write_bytes(whole)
    with pytest.raises(EnvelopeRefused) as error:
        open_file(envelope, target, keys, most=1000)
    assert error.value.fault is EnvelopeFault.TOO_LARGE
    open_file(envelope, target, keys, most=14 * 20_000)
    assert target.read_bytes() == b"Vantablackwood" * 20_000
    assert target.stat().st_mode & 0o777 == 0o600


def test_sealing_that_ends_by_an_exception_leaves_an_envelope_that_nobody_opens(keys: SealingKeys) -> None:
    sink = io.BytesIO()

    def seal_half() -> None:
        with Sealer(sink, keys.public) as sealer:
            sealer.write(b"a" * (3 * CHUNK))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        seal_half()
    assert refused(sink.getvalue(), keys) is EnvelopeFault.CUT_SHORT


def test_memory_does_not_grow_with_what_is_sealed_and_opened(keys: SealingKeys, tmp_path: Path) -> None:
    envelope = tmp_path / "a.sealed"
    tracemalloc.start()
    try:
        with envelope.open("wb") as sink, Sealer(sink, keys.public) as sealer:
            for _ in range(320):
                sealer.write(bytes(100_000))
        open_file(envelope, tmp_path / "opened", keys)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "opened").stat().st_size == 32_000_000
    assert most < 4_000_000


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_are_made_once_and_only_for_their_owner(source: str) -> None:
    made = open_sealing_keys(source, now=NOW, create=True)
    assert open_sealing_keys(source, now=NOW, create=True).ids == made.ids
    path = Path(source.removeprefix("file:"))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(KeyUnavailable, match="others can read"):
        open_sealing_keys(source, now=NOW)


def test_missing_keys_are_told_with_the_command_that_makes_them(source: str) -> None:
    with pytest.raises(KeyUnavailable, match="linkarms keys sealing-create"):
        open_sealing_keys(source, now=NOW)


def test_former_key_opens_what_was_sealed_to_it_until_it_is_retired(source: str) -> None:
    first = open_sealing_keys(source, now=NOW, create=True)
    envelope = seal_bytes(b"a", first.public)
    write_sealing_keys(source, first.with_new(NOW))
    both = open_sealing_keys(source, now=NOW)
    assert both.ids[0] == first.ids[0]
    assert both.public.id == both.ids[1] != first.public.id
    assert open_bytes(envelope, both) == b"a"
    write_sealing_keys(source, both.without(first.public.id))
    later = open_sealing_keys(source, now=NOW)
    assert refused(envelope, later) is EnvelopeFault.OTHER_KEY
    with pytest.raises(KeyUnavailable, match="only sealing key"):
        later.without(later.public.id)


def test_a_private_key_is_in_no_repr_error_or_pickle(source: str) -> None:
    keys = open_sealing_keys(source, now=NOW, create=True, random_bytes=lambda size: b"\xab" * size)
    assert repr(keys) == f"SealingKeys({keys.public.id})"
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            copying(keys)
    path = Path(source.removeprefix("file:"))
    text = path.read_text(encoding="ascii")
    for damaged in (
        text[:-5],
        text.replace("id=", "id=0"),
        text.replace("KEYS-1", "KEYS-9"),
        text.replace("id=", "x="),
    ):
        path.write_text(damaged, encoding="ascii")
        with pytest.raises(KeyUnavailable) as error:
            open_sealing_keys(source, now=NOW)
        assert "abab" not in str(error.value)
        assert error.value.__suppress_context__ or error.value.__context__ is None


def test_keys_come_from_an_environment_variable_or_a_secrets_backend_as_well(source: str) -> None:
    made = open_sealing_keys(source, now=NOW, create=True)
    text = Path(source.removeprefix("file:")).read_text(encoding="ascii")
    by_name = open_sealing_keys("env:SEALING", now=NOW, environ={"SEALING": text.replace("\n", ";")})
    by_backend = open_sealing_keys("secret:sealing", now=NOW, resolve_secret={"sealing": text}.get)
    assert by_name.ids == by_backend.ids == made.ids
    with pytest.raises(KeyUnavailable, match="changed"):
        write_sealing_keys("env:SEALING", made)


def test_public_line_is_read_back_and_a_mistyped_one_is_refused(keys: SealingKeys) -> None:
    line = keys.public.line
    assert PublicKey.parse(f"# North Area partnership\n\n{line}\n") == keys.public
    for wrong in ("", "x", line[:-1], line.replace(line[-3:], "00a"), f"{line}\n{line}", line.replace("-1 ", "-2 ")):
        with pytest.raises(KeyUnavailable):
            PublicKey.parse(wrong)


def test_sealing_needs_nothing_that_a_data_officer_does_not_have() -> None:
    program = (
        "import sys, pseudonymise.sealing;"
        "print([name for name in ('polars', 'anyascii', 'phonenumbers', 'polars_hash') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
