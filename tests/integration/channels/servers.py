"""A partner's side of a channel: a folder, a real SFTP server, and real storage that speaks S3, all on this machine."""

import asyncio
import logging
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import asyncssh
import boto3
from moto.server import ThreadedMotoServer

from intake.channels import Channel, FolderChannel
from intake.channels.remote import RemoteChannel
from intake.channels.s3 import S3Login, S3Store
from intake.channels.sftp import SftpLogin, SftpStore

logging.getLogger("werkzeug").setLevel(logging.ERROR)
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)

QUIET = 60.0
CONNECTION = "harbour"


class Side(Protocol):
    """What a partner does on its side, and what it sees there. Paths are below its root, as ``inbox/2026-Q1``."""

    def write(self, path: str, content: bytes) -> None: ...
    def remove(self, path: str) -> None: ...
    def read(self) -> dict[str, bytes]: ...
    def channel(self, **changed: Any) -> Channel: ...


@dataclass(frozen=True)
class FolderSide:
    """A folder."""

    root: Path

    def write(self, path: str, content: bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def read(self) -> dict[str, bytes]:
        files = (path for path in sorted(self.root.rglob("*")) if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}

    def channel(self, **changed: Any) -> Channel:
        return FolderChannel(self.root / "inbox", self.root / "outbox", quiet_seconds=QUIET)


# --- SFTP -------------------------------------------------------------------------------------------------------------


class SlowServer(asyncssh.SFTPServer):
    """Can be told to leave requests to read a file unanswered, to refuse to let drops be moved (plainly, or as servers
    do that cannot), and to have no room."""

    held: "threading.Event"
    refusing: "threading.Event"
    failing: "threading.Event"
    full: "threading.Event"

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:  # type: ignore[override]
        while self.held.is_set():
            await asyncio.sleep(0.02)
        return super().read(file_obj, offset, size)  # type: ignore[return-value]

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> Any:
        if self.refusing.is_set() and not oldpath.endswith(b".part"):
            raise asyncssh.SFTPPermissionDenied("no")
        if self.failing.is_set() and not oldpath.endswith(b".part"):
            raise asyncssh.SFTPFailure("Failure")
        return super().posix_rename(oldpath, newpath)

    def write(self, file_obj: object, offset: int, data: bytes) -> Any:
        if self.full.is_set():
            raise asyncssh.SFTPFailure("Failure")
        return super().write(file_obj, offset, data)


@dataclass
class SftpServer:
    """An SFTP server in a thread of its own, with key-based log-in for ``partner``."""

    root: Path
    host_key: asyncssh.SSHKey
    user_key: asyncssh.SSHKey
    port: int = 0
    held: threading.Event = field(default_factory=threading.Event)
    refusing: threading.Event = field(default_factory=threading.Event)
    failing: threading.Event = field(default_factory=threading.Event)
    full: threading.Event = field(default_factory=threading.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    acceptor: Any = None
    connections: set[Any] = field(default_factory=set)
    logins: list[str] = field(default_factory=list)

    def start(self) -> None:
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.listen()

    def listen(self) -> None:
        """Accept connections, after :meth:`stop` again at the same port."""

        async def listen() -> Any:
            told = {name: getattr(self, name) for name in ("held", "refusing", "failing", "full")}
            factory = type("Slow", (SlowServer,), told)
            connections, logins = self.connections, self.logins

            class Logins(asyncssh.SSHServer):
                def connection_made(self, conn: Any) -> None:
                    connections.add(conn)

                def auth_completed(self) -> None:
                    logins.append("partner")

            return await asyncssh.listen(
                "127.0.0.1",
                self.port,
                server_host_keys=[self.host_key],
                authorized_client_keys=asyncssh.import_authorized_keys(self.user_key.export_public_key().decode()),
                server_factory=Logins,
                sftp_factory=partial(factory, chroot=str(self.root).encode()),
                reuse_address=True,
            )

        self.acceptor = asyncio.run_coroutine_threadsafe(listen(), self.loop).result(10)
        self.port = self.acceptor.get_port()

    def stop(self) -> None:
        """Cut every connection and accept none."""

        async def stop() -> None:
            self.acceptor.close()
            for connection in list(self.connections):
                connection.abort()
            await self.acceptor.wait_closed()

        asyncio.run_coroutine_threadsafe(stop(), self.loop).result(10)

    def login(self, folder: Path, **changed: Any) -> SftpLogin:
        """How to log in; the private key is written below ``folder``."""
        key = folder / f"key-{uuid.uuid4().hex}"
        key.write_bytes(self.user_key.export_private_key())
        key.chmod(0o600)
        arguments: dict[str, Any] = {
            "connection": CONNECTION,
            "host": "127.0.0.1",
            "port": self.port,
            "user": "partner",
            "host_keys": (self.host_key.export_public_key().decode().strip(),),
            "private_key_file": key,
            "timeout": 5.0,
            **changed,
        }
        return SftpLogin(**arguments)


@dataclass(frozen=True)
class SftpSide:
    """A folder of an SFTP server. The partner's own doing is that of its server's disk."""

    server: SftpServer
    name: str
    private: Path
    """A folder of ours, for the key and for what is remembered."""

    @property
    def disk(self) -> FolderSide:
        return FolderSide(self.server.root / self.name)

    def write(self, path: str, content: bytes) -> None:
        self.disk.write(path, content)

    def remove(self, path: str) -> None:
        self.disk.remove(path)

    def read(self) -> dict[str, bytes]:
        return self.disk.read()

    def channel(self, **changed: Any) -> Channel:
        more = {name: changed.pop(name) for name in ("limits",) if name in changed}
        store = SftpStore(self.server.login(self.private, **changed), f"/{self.name}")
        return RemoteChannel(store, self.private / "seen.json", quiet_seconds=QUIET, **more)


# --- S3 ---------------------------------------------------------------------------------------------------------------

KEYS = {"aws_access_key_id": "testkey", "aws_secret_access_key": "testsecret", "region_name": "eu-west-2"}


@cache
def s3_client(endpoint: str) -> Any:
    """boto's own client, for what the partner does."""
    return boto3.client("s3", endpoint_url=endpoint, **KEYS)  # type: ignore[call-overload]


@cache
def open_storage(login: S3Login) -> Any:
    """s3fs for a login, made once for all tests: making it takes longer than most of them."""
    return S3Store(login, "", "")._storage()


@dataclass(frozen=True)
class S3Side:
    """A prefix of a bucket."""

    endpoint: str
    bucket: str
    private: Path
    prefix: str = "north/harbour"

    @property
    def client(self) -> Any:
        return s3_client(self.endpoint)

    def write(self, path: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{path}", Body=content)

    def remove(self, path: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{path}")

    def read(self) -> dict[str, bytes]:
        client = self.client
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        keys = [content["Key"] for page in pages for content in page.get("Contents", ())]
        return {
            key[len(self.prefix) + 1 :]: client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys
        }

    def channel(self, **changed: Any) -> Channel:
        more = {name: changed.pop(name) for name in ("limits",) if name in changed}
        arguments: dict[str, Any] = {
            "connection": CONNECTION,
            "key": KEYS["aws_access_key_id"],
            "secret": KEYS["aws_secret_access_key"],
            "endpoint_url": self.endpoint,
            "region_name": KEYS["region_name"],
            "timeout": 5.0,
            **changed,
        }
        login = S3Login(**arguments)
        store = S3Store(login, self.bucket, self.prefix, open_storage(login))
        return RemoteChannel(store, self.private / "seen.json", quiet_seconds=QUIET, **more)


@contextmanager
def serve_sftp(root: Path) -> Iterator[SftpServer]:
    """An SFTP server over a folder."""
    server = SftpServer(
        root, asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    )
    server.start()
    try:
        yield server
    finally:
        server.held.clear()
        server.stop()
        server.loop.call_soon_threadsafe(server.loop.stop)


@contextmanager
def serve_s3() -> Iterator[str]:
    """Storage that speaks S3; gives its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def make_bucket(endpoint: str) -> str:
    """A bucket of its own."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3_client(endpoint).create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": KEYS["region_name"]}
    )
    return name


def unused_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
