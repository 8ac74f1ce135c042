"""An SFTP server as a store: fsspec's file system on paramiko, with the server's key checked before we log in."""

import base64
import binascii
import errno
import io
import logging
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem
from paramiko.message import Message
from paramiko.sftp import CMD_CLOSE, CMD_HANDLE, CMD_NAME, CMD_OPENDIR, CMD_READDIR

from intake.channels.remote import Entry, EntryKind
from protocol.errors import LinkarmsError, NotYet

_BLOCK = 4 << 20
_REQUESTS = 64
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})
_REFUSED = frozenset({errno.EACCES, errno.EPERM})


@dataclass(frozen=True)
class SftpLogin:
    """How to reach a server and log in with a key. Passwords are not used."""

    connection: str
    """The connection's name, for messages."""
    host: str
    user: str
    host_keys: tuple[str, ...]
    """The server's public keys, each as in a known_hosts file: ``ssh-ed25519 AAAA...``, or the second word alone."""
    port: int = 22
    private_key_file: Path | None = None
    private_key: str | None = field(default=None, repr=False)
    """The key's own text, where a secrets backend holds it."""
    passphrase: str | None = field(default=None, repr=False)
    timeout: float = 30.0
    """Seconds for which the server may be silent."""


class _VerifiedFileSystem(SFTPFileSystem):
    """fsspec's, which would accept any server, with only those accepted that show one of the login's host keys."""

    cachable = False

    def __init__(self, login: SftpLogin) -> None:
        self._login = login
        super().__init__(login.host)

    def _connect(self) -> None:
        login = self._login
        client = paramiko.SSHClient()
        place = login.host if login.port == 22 else f"[{login.host}]:{login.port}"
        for name, key in _host_keys(login):
            client.get_host_keys().add(place, name, key)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.connect(
                login.host,
                port=login.port,
                username=login.user,
                pkey=_private_key(login),
                allow_agent=False,
                look_for_keys=False,
                timeout=login.timeout,
                banner_timeout=login.timeout,
                auth_timeout=login.timeout,
                channel_timeout=login.timeout,
            )
            self.ftp = client.open_sftp()
            channel = self.ftp.get_channel()
            if channel is not None:
                channel.settimeout(login.timeout)
        except BaseException:
            client.close()
            raise
        self.client = client


def _host_keys(login: SftpLogin) -> list[tuple[str, paramiko.PKey]]:
    keys = []
    for text in login.host_keys:
        try:
            blob = base64.b64decode(text.split()[1] if " " in text.strip() else text.strip(), validate=True)
            name = Message(blob).get_text()
            keys.append((name, paramiko.PKey.from_type_string(name, blob)))
        except (IndexError, ValueError, binascii.Error, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
            raise LinkarmsError(
                f"The host_key of the connection {login.connection} is not a server's public key. Write it as in a "
                "known_hosts file: ssh-ed25519 AAAA..."
            ) from None
    if not keys:
        raise LinkarmsError(
            f"The connection {login.connection} has no host_key. Ask the server's administrator for its public key; "
            "without it nobody can tell the server from another one."
        )
    return keys


def _private_key(login: SftpLogin) -> paramiko.PKey:
    text = login.private_key
    with suppress(OSError, UnicodeError):
        if text is None and login.private_key_file is not None:
            text = login.private_key_file.read_text(encoding="ascii")
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey) if text else ():
        with suppress(ValueError, paramiko.SSHException):
            return kind.from_private_key(io.StringIO(text), login.passphrase)
    raise LinkarmsError(
        f"The private key of the connection {login.connection} cannot be read. private_key_file should be the path of "
        "an OpenSSH private key that this account may read; where it has a passphrase, set private_key_passphrase."
    )


@dataclass
class SftpStore:
    """A folder of an SFTP server. The connection is made when it is first needed, and anew after it broke."""

    login: SftpLogin
    root: str
    """The partner's folder on the server."""
    _open: _VerifiedFileSystem | None = field(default=None, repr=False)

    def list_folder(self, path: str, most: int) -> list[Entry]:
        """See :class:`intake.channels.remote.Store`."""
        with self._plain():
            try:
                return [_entry(name, attributes) for name, attributes in _list(self._ftp(), self._path(path), most)]
            except FileNotFoundError:
                return []

    def look(self, path: str) -> Entry | None:
        """See :class:`intake.channels.remote.Store`."""
        with self._plain():
            try:
                return _entry(path.rpartition("/")[2], self._ftp().lstat(self._path(path)))
            except FileNotFoundError:
                return None

    def read(self, path: str, entry: Entry) -> Iterator[bytes]:
        """See :class:`intake.channels.remote.Store`. Blocks of 4 MiB are asked for ahead; no more is held."""
        with self._plain(), self._ftp().open(self._path(path), "rb") as file:
            now = _entry(entry.name, file.stat())
            if (now.kind, now.size, now.version) != (entry.kind, entry.size, entry.version):
                raise NotYet("the drop changed while it was read; it will be taken when it has come to rest")
            for start in range(0, entry.size, _BLOCK):
                chunks = [(start, min(_BLOCK, entry.size - start))]
                yield from file.readv(chunks, max_concurrent_prefetch_requests=_REQUESTS)

    def get(self, path: str, most: int) -> bytes | None:
        """See :class:`intake.channels.remote.Store`."""
        with self._plain():
            try:
                entry = _entry("", self._ftp().lstat(self._path(path)))
                if entry.kind is not EntryKind.FILE or entry.size > most:
                    return None
                with self._ftp().open(self._path(path), "rb") as file:
                    return file.read(most)
            except FileNotFoundError:
                return None

    def put(self, path: str, content: bytes) -> None:
        """See :class:`intake.channels.remote.Store`: a temporary name beside it, and then a rename."""
        folder, _, name = path.rpartition("/")
        temporary = self._path(f"{folder}/.{name}.part")
        with self._plain():
            ftp = self._ftp()
            self._make_folders(folder)
            with suppress(FileNotFoundError):
                ftp.remove(temporary)
            # "x": a link that somebody put there in between is not followed.
            with ftp.open(temporary, "wbx") as file:
                # Not pipelined: paramiko then never looks at the answers, so that a full disk would go unnoticed.
                file.write(content)
            self._rename(temporary, self._path(path))

    def move(self, source: str, target: str, until: float, note: str) -> bool:  # noqa: ARG002 (one step)
        """See :class:`intake.channels.remote.Store`: one rename."""
        with self._plain():
            self._make_folders(target.rpartition("/")[0])
            try:
                self._move(self._path(source), self._path(target))
            except OSError as error:
                # Servers on top of object storage often answer a bare failure where a folder is to be renamed.
                if not isinstance(error, PermissionError) and (not _is_bare(error) or self._is_broken()):
                    raise
                return False
        return True

    def _move(self, source: bytes, target: bytes) -> None:
        try:
            self._ftp().posix_rename(source, target)
        except OSError as error:
            if not _is_unsupported(error):
                raise
            self._ftp().rename(source, target)

    def finish_moves(self, notes: str) -> None:
        """Nothing to do: a rename is done or not."""

    def remove(self, path: str) -> None:
        """See :class:`intake.channels.remote.Store`. Links are removed and not followed."""
        with self._plain(), suppress(FileNotFoundError):
            self._remove(self._path(path), self._ftp().lstat(self._path(path)))

    def _remove(self, path: bytes, attributes: paramiko.SFTPAttributes) -> None:
        ftp = self._ftp()
        emptying = [(path, attributes)]
        while emptying:
            place, found = emptying[-1]
            if not stat.S_ISDIR(found.st_mode or 0):
                ftp.remove(place)
                emptying.pop()
            elif inner := _list(ftp, place, 1000):
                emptying += [(place + b"/" + name, each) for name, each in inner]
            else:
                ftp.rmdir(place)
                emptying.pop()

    def _rename(self, source: bytes, target: bytes) -> None:
        ftp = self._ftp()
        try:
            ftp.posix_rename(source, target)
        except OSError as error:
            if not _is_unsupported(error):
                raise
            # A server that cannot rename over a file: it is gone for a moment, and never half there.
            with suppress(FileNotFoundError):
                ftp.remove(target)
            ftp.rename(source, target)

    def _make_folders(self, path: str) -> None:
        made = self.root
        for part in ("", *path.split("/")):
            made = f"{made}/{part}" if part else made
            with suppress(FileNotFoundError):
                self._ftp().lstat(_raw(made))
                continue
            try:
                self._ftp().mkdir(_raw(made))
            except PermissionError:
                raise
            except OSError:  # another process has made it, which servers tell in many ways
                self._ftp().lstat(_raw(made))

    def _path(self, path: str) -> bytes:
        return _raw(f"{self.root}/{path}")

    def _ftp(self) -> paramiko.SFTPClient:
        if self._open is None:
            logging.getLogger("paramiko").setLevel(logging.WARNING)  # it tells the names of files
            logging.getLogger("fsspec.sftp").setLevel(logging.WARNING)
            self._open = _VerifiedFileSystem(self.login)
        ftp: paramiko.SFTPClient = self._open.ftp
        return ftp

    @contextmanager
    def _plain(self) -> Iterator[None]:
        """Errors in words of our own: paramiko's have names of files and servers in them."""
        which = f"The SFTP server of the connection {self.login.connection}"
        try:
            yield
        except (LinkarmsError, FileNotFoundError, PermissionError):
            raise
        except paramiko.BadHostKeyException:
            self._close()
            raise LinkarmsError(
                f"{which} shows another key than the connection's host_key, so nothing was sent to it. Ask its "
                "administrator whether the key was changed; only then correct host_key."
            ) from None
        except (paramiko.AuthenticationException, paramiko.ssh_exception.BadAuthenticationType):
            self._close()
            raise LinkarmsError(
                f"{which} does not accept the log-in. Check the user and that the public part of the private key was "
                "given to the server's administrator."
            ) from None
        except (OSError, EOFError, UnicodeError, paramiko.SSHException, paramiko.sftp.SFTPError) as error:
            if isinstance(error, OSError) and error.errno in _MISSING:
                raise FileNotFoundError from None
            if isinstance(error, OSError) and error.errno in _REFUSED:
                raise PermissionError from None
            self._close()
            why = "took too long to answer" if isinstance(error, TimeoutError) else "cannot be reached or broke off"
            raise NotYet(f"{which} {why}; it is tried again with the next run.") from None

    def _is_broken(self) -> bool:
        channel = self._open.ftp.get_channel() if self._open is not None else None
        return channel is None or channel.closed

    def _close(self) -> None:
        if self._open is not None and getattr(self._open, "client", None) is not None:
            self._open.client.close()
        self._open = None


def _is_bare(error: OSError) -> bool:
    """Whether it is a server's answer that something failed, without a reason; or that the connection is closed."""
    return error.errno is None and not isinstance(error, TimeoutError)


def _is_unsupported(error: OSError) -> bool:
    return _is_bare(error) and "unsupported" in str(error).lower()


def _raw(path: str) -> bytes:
    """A path as the server has it; names that are not UTF-8 keep their bytes."""
    return path.encode("utf-8", "surrogateescape")


def _entry(name: str | bytes, attributes: paramiko.SFTPAttributes) -> Entry:
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    mode = attributes.st_mode or 0
    kind = EntryKind.FOLDER if stat.S_ISDIR(mode) else EntryKind.FILE if stat.S_ISREG(mode) else EntryKind.OTHER
    if "/" in text or "\0" in text:
        kind = EntryKind.OTHER
    changed = attributes.st_mtime or 0
    return Entry(text, kind, attributes.st_size or 0, str(changed), float(changed))


def _list(ftp: paramiko.SFTPClient, path: bytes, most: int) -> list[tuple[bytes, paramiko.SFTPAttributes]]:
    """At most ``most`` entries of a folder. paramiko's own listing fails on a name that is not UTF-8, and reads ahead
    without an end."""
    kind, message = ftp._request(CMD_OPENDIR, path)  # type: ignore[attr-defined]
    if kind != CMD_HANDLE:
        raise paramiko.sftp.SFTPError
    handle = message.get_string()
    found: list[tuple[bytes, paramiko.SFTPAttributes]] = []
    try:
        while len(found) < most:
            kind, message = ftp._request(CMD_READDIR, handle)  # type: ignore[attr-defined]
            if kind != CMD_NAME or (count := message.get_int()) == 0:  # a server may answer nothing without an end
                raise paramiko.sftp.SFTPError
            for _ in range(count):
                name = message.get_string()
                message.get_string()  # the long form, for people
                attributes = paramiko.SFTPAttributes._from_msg(message)  # type: ignore[attr-defined]
                if name not in (b".", b".."):
                    found.append((name, attributes))
    except EOFError:
        pass
    ftp._request(CMD_CLOSE, handle)  # type: ignore[attr-defined]
    return found[:most]
