"""What can go wrong between two machines: outages, kills, wrong keys, hostile names, too much data."""

import logging
import multiprocessing
import os
import socket
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest
from paramiko.message import Message
from paramiko.sftp import CMD_NAME, CMD_READDIR

from intake.channels import Channel, Drop, DropKind, FetchedDrop
from intake.channels.remote import RemoteChannel
from intake.channels.s3 import S3Login, S3Store
from intake.channels.sftp import SftpStore
from intake.taking import Limits, take_in
from protocol.errors import LinkarmsError, NotYet
from protocol.model import Agreement
from tests.integration.channels.servers import (
    CONNECTION,
    KEYS,
    S3Side,
    SftpServer,
    SftpSide,
    Side,
    make_bucket,
    serve_s3,
    serve_sftp,
)

DAY = date(2026, 5, 1)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CANARY = "Vantablackwood"


def drop(side: Side, name: str = "2026-Q1", content: bytes = b"a") -> None:
    for file in ("person.csv", "referral.csv", "manifest.yaml"):
        side.write(f"inbox/{name}/{file}", content)


def only(channel: Channel) -> Drop:
    (found,) = channel.list_drops(NOW)
    return found


# --- outages ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Ends whatever runs, as a kill would."""


def die_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ``number``-th request to a server from now on is never sent; of those to storage only those count that
    change something there."""
    left = number
    calls: list[tuple[Any, str]] = [(S3Store, "_call"), (SftpStore, "_ftp")]
    for kind, name in calls:
        sent = getattr(kind, name)

        def send(self: Any, *arguments: Any, sent: Any = sent, **more: Any) -> Any:
            nonlocal left
            left -= arguments[:1] != ("list_objects_v2",)
            if left == 0:
                raise Killed
            return sent(self, *arguments, **more)

        monkeypatch.setattr(kind, name, send)


def test_settling_that_is_killed_at_any_request_is_finished_by_the_next_run(
    remote_side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = remote_side.channel()
    for number in range(1, 60):
        drop(remote_side)
        remote_side.write("inbox/2026-Q1.ready", b"")
        decided = only(channel)
        with monkeypatch.context() as patch:
            die_at(number, patch)
            try:
                channel.settle(decided, "sub-1", "accepted", DAY)
                killed = False
            except Killed:
                killed = True
        # The drop is whole or it is gone: never is a part of it taken for another drop.
        found = channel.list_drops(NOW)
        assert [each.reference for each in found] in ([decided.reference], [])
        for each in found:
            channel.settle(each, "sub-1", "accepted", DAY)
        # No flag is left either: it would call the partner's next drop of that name complete.
        content = {f"inbox/settled/sub-1/content/{name}" for name in ("manifest.yaml", "person.csv", "referral.csv")}
        assert set(remote_side.read()) == {*content, "inbox/settled/sub-1/settled.json"}
        assert channel.remove_expired(DAY + timedelta(days=30), 30) == 1
        for path in remote_side.read():
            remote_side.remove(path)
        if not killed:
            assert number > 5
            return
    pytest.fail("settling sends more requests than were tried")


def test_a_drop_sent_anew_while_its_name_was_being_moved_stays(
    s3_side: S3Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(s3_side)
    decided = only(s3_side.channel())
    channel = s3_side.channel()
    sent = S3Store._call

    def die_before_deleting(self: S3Store, method: str, **arguments: Any) -> Any:
        if method == "delete_object":
            raise Killed
        return sent(self, method, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "_call", die_before_deleting)
        with pytest.raises(Killed):
            channel.settle(decided, "sub-1", "accepted", DAY)
    time.sleep(1.05)  # storage tells whole seconds
    s3_side.write("inbox/2026-Q1/person.csv", b"anew")
    (found,) = s3_side.channel().list_drops(NOW)
    assert found.reference != decided.reference
    kept = s3_side.read()
    assert kept["inbox/2026-Q1/person.csv"] == b"anew"
    assert kept["inbox/settled/sub-1/content/referral.csv"] == b"a"


def test_removing_expired_drops_that_is_killed_at_any_request_is_finished_by_the_next_run(
    remote_side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = DAY + timedelta(days=30)
    channel = remote_side.channel()
    for number in range(1, 60):
        drop(remote_side)
        channel.settle(only(channel), "sub-1", "accepted", DAY)
        with monkeypatch.context() as patch:
            die_at(number, patch)
            try:
                channel.remove_expired(late, 30)
                killed = False
            except Killed:
                killed = True
        channel.remove_expired(late, 30)
        assert remote_side.read() == {}
        if not killed:
            assert number > 3
            return


def test_receipt_is_there_whole_or_not_at_all_wherever_writing_is_killed(
    remote_side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote_side.channel().put_out("sub-1/receipt.html", b"first")
    for number in range(1, 30):
        with monkeypatch.context() as patch:
            die_at(number, patch)
            try:
                remote_side.channel().put_out("sub-1/receipt.html", b"second" * number)
                return
            except Killed:
                pass
        seen = {path: content for path, content in remote_side.read().items() if not path.endswith(".part")}
        assert seen == {"outbox/sub-1/receipt.html": b"first"}
    pytest.fail("writing sends more requests than were tried")


def test_receipt_for_which_the_server_has_no_room_is_not_taken_for_written(sftp_side: SftpSide) -> None:
    channel = sftp_side.channel()
    channel.put_out("sub-1/receipt.html", b"first")
    sftp_side.server.full.set()
    for _ in range(2):
        with pytest.raises(NotYet, match="connection harbour"):
            channel.put_out("sub-1/receipt.html", b"second" * 20_000)
    assert sftp_side.read()["outbox/sub-1/receipt.html"] == b"first"
    sftp_side.server.full.clear()
    channel.put_out("sub-1/receipt.html", b"second" * 20_000)
    assert sftp_side.read() == {"outbox/sub-1/receipt.html": b"second" * 20_000}


def look_often(seen: Path, own: str, most: int) -> None:
    """What many runs note of an inbox with an ever new drop."""
    for number in range(most):
        RemoteChannel(S3Store(S3Login(CONNECTION), "", ""), seen)._remember([f"{own}-{number % 7}"], NOW)


def test_steps_that_look_into_the_same_inbox_at_once_do_not_disturb_one_another(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    looks = [context.Process(target=look_often, args=(tmp_path / "seen.json", own, 1500)) for own in ("a", "b")]
    for look in looks:
        look.start()
    for look in looks:
        look.join(60)
    assert [look.exitcode for look in looks] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["seen.json"]


def test_moment_that_a_wrong_clock_noted_does_not_keep_a_drop_waiting(remote_side: Side) -> None:
    drop(remote_side)
    channel = remote_side.channel()
    assert not channel.list_drops(NOW + timedelta(days=400))[0].ready
    assert not only(channel).ready
    assert channel.list_drops(NOW + timedelta(hours=1))[0].ready


def test_sftp_server_that_stops_in_the_middle_is_told_plainly_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "root" / "harbour" / "inbox").mkdir(parents=True)
    with serve_sftp(tmp_path / "root") as server:
        side = SftpSide(server, "harbour", tmp_path)
        drop(side, CANARY, content=b"a" * 100_000)
        channel = side.channel()
        found = only(channel)
        server.held.set()
        threading.Timer(0.5, server.stop).start()
        with pytest.raises(NotYet) as error:
            channel.fetch(found, tmp_path / "fetched")
        assert str(error.value) == (
            "The SFTP server of the connection harbour cannot be reached or broke off; it is tried again with the next "
            "run."
        )
        for use in (
            lambda: channel.list_drops(NOW),
            lambda: channel.put_out("a", b""),
            lambda: channel.settle(found, "sub-1", "accepted", DAY),
            lambda: channel.remove_expired(DAY, 30),
        ):
            with pytest.raises(NotYet):
                use()
        server.held.clear()
        server.listen()
        assert only(channel).reference == found.reference
        assert (channel.fetch(found, tmp_path / "again").path / "person.csv").stat().st_size == 100_000


def test_sftp_server_that_does_not_answer_is_given_up_after_the_time_out(sftp_side: SftpSide, tmp_path: Path) -> None:
    drop(sftp_side)
    channel = sftp_side.channel(timeout=0.5)
    found = only(channel)
    sftp_side.server.held.set()
    started = time.monotonic()
    try:
        with pytest.raises(NotYet, match="took too long to answer"):
            channel.fetch(found, tmp_path / "fetched")
    finally:
        sftp_side.server.held.clear()
    assert time.monotonic() - started < 5


def test_storage_that_is_gone_is_told_plainly_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    with serve_s3() as endpoint:
        side = S3Side(endpoint, make_bucket(endpoint), tmp_path)
        drop(side, CANARY)
        channel = side.channel(timeout=1.0)
        found = only(channel)
    for use in (
        lambda: channel.list_drops(NOW),
        lambda: channel.fetch(found, tmp_path / "fetched"),
        lambda: channel.put_out("a", b""),
    ):
        with pytest.raises(NotYet) as error:
            use()
        assert str(error.value) == (
            "The storage of the connection harbour cannot be reached or broke off; it is tried again with the next run."
        )


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(20)
        yield listener.getsockname()[1]


def test_storage_that_does_not_answer_is_given_up_after_the_time_out(tmp_path: Path, silent_port: int) -> None:
    side = S3Side(f"http://127.0.0.1:{silent_port}", "bucket", tmp_path)
    started = time.monotonic()
    with pytest.raises(NotYet, match="took too long to answer"):
        side.channel(timeout=0.3).list_drops(NOW)
    assert time.monotonic() - started < 8


# --- who the other side is --------------------------------------------------------------------------------------------


def told_by(channel: Channel) -> str:
    with pytest.raises(LinkarmsError) as error:
        channel.list_drops(NOW)
    assert not isinstance(error.value, NotYet)
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return str(error.value)


def test_sftp_server_with_another_host_key_is_not_logged_in_to(sftp_side: SftpSide) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    before = len(sftp_side.server.logins)
    assert "shows another key" in told_by(sftp_side.channel(host_keys=(other,)))
    of_another_kind = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    with pytest.raises(LinkarmsError):
        sftp_side.channel(host_keys=(of_another_kind,)).list_drops(NOW)
    assert len(sftp_side.server.logins) == before


def test_connection_without_a_host_key_or_with_nonsense_is_refused(sftp_side: SftpSide) -> None:
    assert "has no host_key" in told_by(sftp_side.channel(host_keys=()))
    assert "is not a server's public key" in told_by(sftp_side.channel(host_keys=("ssh-ed25519",)))
    assert "is not a server's public key" in told_by(sftp_side.channel(host_keys=("AAAA",)))


def test_host_key_is_found_among_several_and_without_its_first_word(sftp_side: SftpSide) -> None:
    right = sftp_side.server.host_key.export_public_key().decode()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    assert sftp_side.channel(host_keys=(right.split()[1],)).list_drops(NOW) == ()
    assert "shows another key" in told_by(sftp_side.channel(host_keys=(other,)))


def test_key_that_the_sftp_server_does_not_know_is_told_apart_from_an_outage(
    sftp_side: SftpSide, tmp_path: Path
) -> None:
    key = tmp_path / "other"
    key.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    assert "does not accept the log-in" in told_by(sftp_side.channel(private_key_file=key))


def test_private_key_that_cannot_be_read_is_told(sftp_side: SftpSide, tmp_path: Path) -> None:
    (tmp_path / "nonsense").write_text(CANARY, encoding="ascii")
    for file in (tmp_path / "missing", tmp_path / "nonsense"):
        told = told_by(sftp_side.channel(private_key_file=file))
        assert "cannot be read" in told
        assert CANARY not in told


def test_private_key_is_taken_from_its_text_and_with_a_passphrase(sftp_side: SftpSide) -> None:
    key = sftp_side.server.user_key
    plain = key.export_private_key().decode()
    assert sftp_side.channel(private_key_file=None, private_key=plain).list_drops(NOW) == ()
    locked = key.export_private_key(passphrase="open sesame", rounds=16).decode()
    channel = sftp_side.channel(private_key_file=None, private_key=locked, passphrase="open sesame")
    assert channel.list_drops(NOW) == ()
    assert "cannot be read" in told_by(
        sftp_side.channel(private_key_file=None, private_key=locked, passphrase="open barley")
    )


def test_storage_that_does_not_accept_the_key_or_has_no_such_bucket_is_told(tmp_path: Path) -> None:
    with serve_s3() as endpoint:
        assert "no such bucket" in told_by(S3Side(endpoint, "bucket-nowhere", tmp_path).channel())
        side = S3Side(endpoint, make_bucket(endpoint), tmp_path)
        look_at_keys_after(endpoint, b"0")
        try:
            assert "does not accept the log-in" in told_by(side.channel())
        finally:
            look_at_keys_after(endpoint, b"inf")


def look_at_keys_after(endpoint: str, requests: bytes) -> None:
    """The storage checks who asks, after so many requests."""
    url, headers = f"{endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(url, data=requests, headers=headers, method="POST")).close()


def test_endpoint_that_none_can_be_is_told_without_its_secret() -> None:
    for endpoint, bucket in (("https://u:hunter2@bad host", "bucket"), ("https://127.0.0.1:1", "no bucket!")):
        login = S3Login(CONNECTION, "hunter2", "hunter2", endpoint_url=endpoint, timeout=2)
        with pytest.raises(LinkarmsError, match="of which none can exist") as error:
            S3Store(login, bucket, "north").list_folder("inbox", 1)
        assert "hunter2" not in "".join(traceback.format_exception(error.value))


def test_no_secret_is_in_a_repr(sftp_side: SftpSide, s3_side: S3Side) -> None:
    text = sftp_side.server.user_key.export_private_key().decode()
    channels = (sftp_side.channel(private_key=text, passphrase="open sesame"), s3_side.channel(token="testtoken"))
    for channel in channels:
        channel.list_drops(NOW)
        for secret in ("PRIVATE KEY", "open sesame", *KEYS.values(), "testtoken"):
            assert secret == KEYS["region_name"] or secret not in repr(channel)
        assert CONNECTION in repr(channel)


# --- what a partner may do --------------------------------------------------------------------------------------------


def test_drop_that_may_not_be_moved_is_noted_and_not_listed_again(
    remote_side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(remote_side)
    drop(remote_side, "2026-Q2")
    channel = remote_side.channel()
    first = next(each for each in channel.list_drops(NOW) if each.name == "2026-Q1")
    with monkeypatch.context() as patch:
        forbid_moving(remote_side, patch)
        for _ in range(2):
            channel.settle(first, "sub-1", "accepted", DAY)
    allow_moving(remote_side)
    assert [each.name for each in remote_side.channel().list_drops(NOW)] == ["2026-Q2"]
    assert remote_side.read()["inbox/2026-Q1/person.csv"] == b"a"
    remote_side.channel().remove_expired(DAY + timedelta(days=30), 30)
    assert [each.name for each in remote_side.channel().list_drops(NOW)] == ["2026-Q2"]
    assert {path.split("/")[1] for path in remote_side.read()} == {"2026-Q2"}


def test_drop_that_an_sftp_server_cannot_move_is_noted_and_not_listed_again(sftp_side: SftpSide) -> None:
    drop(sftp_side)
    channel = sftp_side.channel()
    decided = only(channel)
    sftp_side.server.failing.set()
    channel.settle(decided, "sub-1", "accepted", DAY)
    assert channel.list_drops(NOW) == ()
    assert sftp_side.read()["inbox/2026-Q1/person.csv"] == b"a"


def forbid_moving(side: Side, patch: pytest.MonkeyPatch) -> None:
    if isinstance(side, SftpSide):
        side.server.refusing.set()
        return
    sent = S3Store._call

    def refuse(self: S3Store, method: str, **arguments: Any) -> Any:
        if method == "copy_object":
            raise PermissionError
        return sent(self, method, **arguments)

    patch.setattr(S3Store, "_call", refuse)


def allow_moving(side: Side) -> None:
    if isinstance(side, SftpSide):
        side.server.refusing.clear()


def taken(fetched: FetchedDrop, work: Path, agreement: Agreement) -> set[str]:
    """Codes of the findings with which a drop is refused when it is taken in."""
    result, findings = take_in(fetched, work, Limits(), agreement.partner("harbour_trust"))
    assert result is None
    return {finding.code for finding in findings}


@pytest.mark.parametrize(
    "name",
    [
        b"caf\xe9.csv",
        b"line\nfeed.csv",
        b"\x1b[31mred.csv",
        "ünïcödé‮.csv".encode(),
        b"-rf.csv",
        b"x" * 251 + b".csv",
        b"back\\slash.csv",
        b"a?versionId=b.csv",
        b"%2e%2e%2f.csv",
    ],
)
def test_odd_file_names_on_an_sftp_server_are_refused_and_lead_nowhere(
    sftp_side: SftpSide, tmp_path: Path, agreement: Agreement, name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    drop(sftp_side)
    folder = os.fsencode(sftp_side.server.root / sftp_side.name / "inbox" / "2026-Q1")
    with open(os.path.join(folder, name), "wb") as file:  # noqa: PTH118, PTH123 (paths of bytes)
        file.write(b"a,b\n1,2\n")
    channel = sftp_side.channel()
    fetched = channel.fetch(only(channel), tmp_path / "fetched")
    if len(name) < 200 and name not in (b"-rf.csv",):
        assert taken(fetched, tmp_path / "work", agreement) <= {"drop.file_name", "drop.path"}
    assert {path.parent for path in tmp_path.rglob("*.csv")} <= {fetched.path, tmp_path / "work" / "taken"}
    channel.settle(only(channel), "sub-1", "refused", DAY)
    assert channel.list_drops(NOW) == ()
    assert channel.remove_expired(DAY + timedelta(days=30), 30) == 1
    assert sftp_side.read() == {}
    assert "person.csv" not in caplog.text


def test_links_and_pipes_on_an_sftp_server_are_never_read(
    sftp_side: SftpSide, tmp_path: Path, agreement: Agreement
) -> None:
    inbox = sftp_side.server.root / sftp_side.name / "inbox"
    secret = sftp_side.server.root / "other.csv"
    secret.write_bytes(CANARY.encode())
    drop(sftp_side)
    (inbox / "2026-Q1" / "enrolment.csv").symlink_to(secret)
    os.mkfifo(inbox / "2026-Q1" / "pipe.csv")
    (inbox / "2026-Q2").symlink_to(sftp_side.server.root)
    (inbox / "2026-Q3.zip").symlink_to(secret)
    channel = sftp_side.channel()
    drops = {each.name: each for each in channel.list_drops(NOW)}
    assert {name: each.kind for name, each in drops.items()} == {
        "2026-Q1": DropKind.FOLDER,
        "2026-Q2": DropKind.OTHER,
        "2026-Q3.zip": DropKind.OTHER,
    }
    for name, each in drops.items():
        fetched = channel.fetch(each, tmp_path / name)
        assert taken(fetched, tmp_path / f"work {name}", agreement) == {"drop.link"}
        channel.settle(each, each.reference, "refused", DAY)
    assert channel.remove_expired(DAY + timedelta(days=30), 30) == 3
    assert secret.read_bytes() == CANARY.encode()
    assert CANARY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "key",
    [
        "../../escaped.csv",
        "..",
        "/absolute.csv",
        "a//b.csv",
        "tab\t.csv",
        "a\\b.csv",
        "a?versionId=b.csv",
        "é\x7f.csv",
    ],
)
def test_odd_keys_in_storage_are_refused_and_lead_nowhere(
    s3_side: S3Side, tmp_path: Path, agreement: Agreement, key: str
) -> None:
    drop(s3_side)
    s3_side.write(f"inbox/2026-Q1/{key}", b"a,b\n1,2\n")
    channel = s3_side.channel()
    fetched = channel.fetch(only(channel), tmp_path / "in" / "fetched")
    codes = taken(fetched, tmp_path / "in" / "work", agreement)
    assert codes <= {"drop.file_name", "drop.path", "drop.subfolder", "drop.ending", "drop.same_name"}
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("in", "seen.json")] == []
    channel.settle(only(channel), "sub-1", "refused", DAY)
    assert channel.list_drops(NOW) == ()
    assert channel.remove_expired(DAY + timedelta(days=30), 30) == 1
    assert s3_side.read() == {}


def test_object_that_marks_a_folder_is_no_file_of_it(s3_side: S3Side, tmp_path: Path) -> None:
    drop(s3_side)
    s3_side.write("inbox/2026-Q1/", b"")
    s3_side.write("inbox/2026-Q1", b"")
    channel = s3_side.channel()
    fetched = channel.fetch(only(channel), tmp_path / "fetched")
    assert sorted(path.name for path in fetched.path.iterdir()) == ["manifest.yaml", "person.csv", "referral.csv"]


@pytest.mark.parametrize("limits", [Limits(max_total_bytes=1000), Limits(max_files=1)])
def test_drop_beyond_the_limits_is_not_fetched(remote_side: Side, tmp_path: Path, limits: Limits) -> None:
    drop(remote_side, content=b"a" * 400)
    channel = remote_side.channel(limits=limits)
    fetched = channel.fetch(only(channel), tmp_path / "fetched")
    assert fetched.fault in ("drop.too_large", "drop.too_many_files")
    assert not (tmp_path / "fetched").exists()


def test_drop_that_changes_while_it_is_fetched_is_left_for_later(
    remote_side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[Callable[[], None]] = [
        lambda: remote_side.write("inbox/2026-Q1/referral.csv", b"b" * 5000),
        lambda: remote_side.write("inbox/2026-Q1/referral.csv", b""),
        lambda: remote_side.write("inbox/2026-Q1/late.csv", b"a"),
        lambda: remote_side.remove("inbox/2026-Q1/referral.csv"),
    ]
    for number, change in enumerate(changes):
        drop(remote_side, content=b"a" * 1000)
        channel = remote_side.channel()
        found = only(channel)
        store = type(channel.store)  # type: ignore[attr-defined]
        read, done = store.read, [False]

        def read_and_change(
            self: Any, path: str, entry: Any, read: Any = read, done: list[bool] = done, change: Any = change
        ) -> Any:
            if not done[0]:
                done[0] = True
                change()
            return read(self, path, entry)

        with monkeypatch.context() as patch:
            patch.setattr(store, "read", read_and_change)
            with pytest.raises(NotYet):
                channel.fetch(found, tmp_path / f"fetched {number}")
        assert done[0]


def test_endless_folder_is_not_walked_to_its_end(sftp_side: SftpSide, tmp_path: Path) -> None:
    folder = sftp_side.server.root / sftp_side.name / "inbox" / "2026-Q1"
    folder.mkdir()
    for number in range(5200):
        (folder / f"{number}.csv").touch()
    channel = sftp_side.channel()
    assert channel.fetch(only(channel), tmp_path / "fetched").fault == "drop.too_many_files"


def test_tree_without_an_end_is_listed_beside_its_neighbours(remote_side: Side, tmp_path: Path) -> None:
    remote_side.write(f"inbox/deep/{'a/' * 60}person.csv", b"a")
    drop(remote_side)
    channel = remote_side.channel()
    faults = {each.name: channel.fetch(each, tmp_path / each.name).fault for each in channel.list_drops(NOW)}
    assert faults == {"2026-Q1": None, "deep": "drop.too_deep"}
    for each in channel.list_drops(NOW):
        channel.settle(each, each.reference, "refused", DAY)
    assert channel.remove_expired(DAY + timedelta(days=30), 30) == 2
    assert remote_side.read() == {}


def test_sftp_server_that_lists_nothing_without_an_end_is_given_up(
    sftp_side: SftpSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(sftp_side)
    real = paramiko.SFTPClient._request  # type: ignore[attr-defined]

    def answer(self: paramiko.SFTPClient, kind: int, *arguments: object) -> tuple[int, Message]:
        if kind == CMD_READDIR:
            return CMD_NAME, Message(b"\0\0\0\0")
        told: tuple[int, Message] = real(self, kind, *arguments)
        return told

    monkeypatch.setattr(paramiko.SFTPClient, "_request", answer)
    with pytest.raises(NotYet, match="connection harbour"):
        sftp_side.channel().list_drops(NOW)


def test_note_of_a_move_that_names_another_place_moves_nothing(s3_side: S3Side) -> None:
    s3_side.write("outbox/receipt.json", b"a")
    s3_side.write(
        "inbox/settled/.moving/sub-1",
        b'{"source": "north/harbour/outbox", "target": "north/harbour/inbox/settled/x", "until": 9999999999}',
    )
    assert s3_side.channel().list_drops(NOW) == ()
    assert s3_side.read() == {"outbox/receipt.json": b"a"}


def test_settled_folder_that_is_a_link_is_refused(sftp_side: SftpSide) -> None:
    drop(sftp_side)
    root = sftp_side.server.root
    (root / "elsewhere").mkdir(exist_ok=True)
    (root / sftp_side.name / "inbox" / "settled").symlink_to("../../elsewhere")
    channel = sftp_side.channel()
    with pytest.raises(LinkarmsError, match="not a folder"):
        channel.settle(only(channel), "sub-1", "accepted", DAY)
    assert list((root / "elsewhere").iterdir()) == []


@pytest.fixture
def sftp_server(sftp_server: SftpServer) -> SftpServer:
    """The session's server, as each test of this module should find it."""
    for told in (sftp_server.held, sftp_server.refusing, sftp_server.failing, sftp_server.full):
        told.clear()
    return sftp_server
