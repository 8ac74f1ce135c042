"""Object storage that speaks S3 as a store, through s3fs. A folder is what the keys of its objects have in common."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from fsspec.asyn import sync
from s3fs import S3FileSystem

from intake.channels.remote import Entry, EntryKind
from protocol.errors import LinkarmsError, NotYet

_BLOCK = 8 << 20
_PAGE = 1000
_MOST_NOTE = 64 << 10
_LARGEST_COPY = 5 << 30
"""What storage copies in one request."""
_LOGIN = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthorizationHeaderMalformed"}
)


@dataclass(frozen=True)
class S3Login:
    """How to reach a storage and log in. Without key and secret, the machine's own role is used."""

    connection: str
    """The connection's name, for messages."""
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    endpoint_url: str | None = None
    region_name: str | None = None
    timeout: float = 30.0
    """Seconds for which the storage may be silent."""


@dataclass
class S3Store:
    """A prefix of a bucket."""

    login: S3Login
    bucket: str
    prefix: str
    """Without slashes at its ends; may be empty."""
    _open: S3FileSystem | None = field(default=None, repr=False)

    def list_folder(self, path: str, most: int) -> list[Entry]:
        """See :class:`intake.channels.remote.Store`."""
        start = f"{self._key(path)}/"
        found: list[Entry] = []
        for page in self._pages(start, Delimiter="/"):
            for common in page.get("CommonPrefixes", ()):
                found.append(Entry(common["Prefix"][len(start) : -1], EntryKind.FOLDER, 0, "", 0.0))
            for content in page.get("Contents", ()):
                if content["Key"] != start:  # some programs keep an empty object for the folder itself
                    found.append(_entry(content["Key"][len(start) :], content))
            if len(found) >= most:
                break
        folders = {entry.name for entry in found if entry.kind is EntryKind.FOLDER}
        # An object that is called like a folder is the folder's mark, and no file.
        return [entry for entry in found if entry.kind is EntryKind.FOLDER or entry.name not in folders][:most]

    def look(self, path: str) -> Entry | None:
        """See :class:`intake.channels.remote.Store`."""
        name = path.rpartition("/")[2]
        if next(self._pages(f"{self._key(path)}/", MaxKeys=1)).get("Contents"):
            return Entry(name, EntryKind.FOLDER, 0, "", 0.0)
        content = self._object(self._key(path))
        return None if content is None else _entry(name, content)

    def read(self, path: str, entry: Entry) -> Iterator[bytes]:
        """See :class:`intake.channels.remote.Store`: blocks of 8 MiB, each only of the object that was listed."""
        tag = entry.version.partition(" ")[0]
        for start in range(0, entry.size, _BLOCK):
            end = min(start + _BLOCK, entry.size) - 1
            yield self._get(Key=self._key(path), Range=f"bytes={start}-{end}", IfMatch=tag)

    def get(self, path: str, most: int) -> bytes | None:
        """See :class:`intake.channels.remote.Store`."""
        content = self._object(self._key(path))
        if content is None or content["Size"] > most:
            return None
        with suppress(FileNotFoundError):
            return self._get(Key=self._key(path)) if content["Size"] else b""
        return None

    def put(self, path: str, content: bytes) -> None:
        """See :class:`intake.channels.remote.Store`: one request, which storage does whole or not at all."""
        self._call("put_object", Key=self._key(path), Body=content)

    def move(self, source: str, target: str, until: float, note: str) -> bool:
        """See :class:`intake.channels.remote.Store`: each object is copied and then deleted.

        An object that is replaced between the two is deleted with what replaced it: storage has no lock. The note says
        what is to be moved, so that :meth:`finish_moves` ends what was begun."""
        text = json.dumps({"source": self._key(source), "target": self._key(target), "until": until})
        self.put(note, text.encode())
        done = self._finish(json.loads(text))
        self.remove(note)
        return done

    def finish_moves(self, notes: str) -> None:
        """See :class:`intake.channels.remote.Store`."""
        for entry in self.list_folder(notes, _PAGE):
            text = self.get(f"{notes}/{entry.name}", _MOST_NOTE)
            with suppress(ValueError, KeyError, TypeError):
                self._finish(json.loads(text or b""))
            self.remove(f"{notes}/{entry.name}")

    def remove(self, path: str) -> None:
        """See :class:`intake.channels.remote.Store`."""
        key = self._key(path)
        for content in self._objects(key):
            self._call("delete_object", Key=content["Key"])

    # --- parts --------------------------------------------------------------------------------------------------------

    def _finish(self, move: dict[str, Any]) -> bool:
        source, target, until = str(move["source"]), str(move["target"]), float(move["until"])
        # The note lies where the partner can write: nothing outside the inbox is moved at its word.
        if not source.startswith(self._key("inbox/")) or not target.startswith(self._key("inbox/settled/")):
            return False
        for content in self._objects(source):
            if content["LastModified"].timestamp() > until:
                continue  # the partner's next drop of that name
            if content["Size"] > _LARGEST_COPY:
                return False
            try:
                self._call(
                    "copy_object",
                    Key=target + content["Key"][len(source) :],
                    CopySource={"Bucket": self.bucket, "Key": content["Key"]},
                    CopySourceIfMatch=content["ETag"],
                )
                self._call("delete_object", Key=content["Key"])
            except PermissionError:
                return False
            except (FileNotFoundError, _Changed):
                continue
        return True

    def _objects(self, key: str) -> Iterator[dict[str, Any]]:
        """The object of that key, and all below it as a folder."""
        if (content := self._object(key)) is not None:
            yield content
        for page in self._pages(f"{key}/"):
            yield from page.get("Contents", ())

    def _object(self, key: str) -> dict[str, Any] | None:
        """The object of that key; of all keys that begin alike it comes first."""
        contents = next(self._pages(key, MaxKeys=1)).get("Contents", ())
        return contents[0] if contents and contents[0]["Key"] == key else None

    def _pages(self, start: str, **more: Any) -> Iterator[dict[str, Any]]:
        token: dict[str, Any] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=start, **{"MaxKeys": _PAGE, **more}, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        with self._plain():
            answer: dict[str, Any] = self._storage().call_s3(method, Bucket=self.bucket, **arguments)
            return answer

    def _get(self, **arguments: Any) -> bytes:
        storage = self._storage()

        async def read() -> bytes:
            answer = await storage._call_s3("get_object", Bucket=self.bucket, **arguments)
            async with answer["Body"] as body:
                content: bytes = await body.read()
            return content

        try:
            with self._plain():
                return bytes(sync(storage.loop, read, timeout=10 * self.login.timeout))
        except _Changed:
            raise NotYet("the drop changed while it was read; it will be taken when it has come to rest") from None

    def _storage(self) -> S3FileSystem:
        if self._open is None:
            for name in ("s3fs", "fsspec", "botocore", "aiobotocore"):
                logging.getLogger(name).setLevel(logging.WARNING)  # they tell the names of objects
            login = self.login
            self._open = S3FileSystem(
                key=login.key,
                secret=login.secret,
                token=login.token,
                endpoint_url=login.endpoint_url,
                client_kwargs={"region_name": login.region_name} if login.region_name else {},
                config_kwargs={
                    "connect_timeout": login.timeout,
                    "read_timeout": login.timeout,
                    "retries": {"max_attempts": 1},
                },
                use_listings_cache=False,
                skip_instance_cache=True,
            )
            self._open.retries = 2
        return self._open

    @contextmanager
    def _plain(self) -> Iterator[None]:
        """Errors in words of our own: theirs have keys and addresses in them."""
        which = f"The storage of the connection {self.login.connection}"
        try:
            yield
        except LinkarmsError:
            raise
        except (NoCredentialsError, PartialCredentialsError):
            raise LinkarmsError(f"{which} needs a key and its secret. Set both in the connection.") from None
        except (ValueError, ParamValidationError):
            raise LinkarmsError(
                f"{which} has an endpoint_url or region_name, or the channel's root a bucket, of which none can exist."
            ) from None
        except (OSError, BotoCoreError) as error:
            code = _code(error)
            if code == "NoSuchBucket":
                raise LinkarmsError(
                    f"{which} has no such bucket. Correct the channel's root, or have it made."
                ) from None
            if code in _LOGIN:
                raise LinkarmsError(
                    f"{which} does not accept the log-in. Check key and secret, and that the key has not expired."
                ) from None
            if isinstance(error, FileNotFoundError):
                raise FileNotFoundError from None
            if isinstance(error, PermissionError):
                raise PermissionError from None
            if code in ("PreconditionFailed", "412"):
                raise _Changed from None
            slow = isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
            why = "took too long to answer" if slow else "cannot be reached or broke off"
            raise NotYet(f"{which} {why}; it is tried again with the next run.") from None


class _Changed(Exception):
    """The object is another one by now."""


def _entry(name: str, content: dict[str, Any]) -> Entry:
    moment = content["LastModified"].timestamp()
    return Entry(name, EntryKind.FILE, content["Size"], f"{content['ETag']} {moment}", moment)


def _code(error: BaseException) -> str:
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
