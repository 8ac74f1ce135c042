"""Where keys come from: a private file, an environment variable or a secrets backend. Imports nothing but the standard
library, so that sealing needs no more than ``cryptography``."""

import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from protocol.errors import KeyUnavailable

SOURCES = "the keys' source is file:<path>, env:<NAME> or secret:<name>"


def read_key_text(
    source: str,
    *,
    made_by: str,
    resolve_secret: Callable[[str], str | None] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """The text form of keys, and words for where it was found.

    ``source`` is ``file:<path>``, ``env:<NAME>`` (from ``environ``, the process's own where None) or
    ``secret:<name>`` (from ``resolve_secret``); ``made_by`` is the command that makes a missing file. Raises
    KeyUnavailable, which never shows more than the source's name.
    """
    kind, _, name = source.partition(":")
    if not name:
        raise KeyUnavailable(SOURCES)
    if kind == "file":
        return read_private(Path(name), made_by), f"the key file {name}"
    if kind == "env":
        text = (os.environ if environ is None else environ).get(name)
        if not text:
            raise KeyUnavailable(f"the environment variable {name} with the keys is not set")
        return text, f"the environment variable {name}"
    if kind == "secret":
        if resolve_secret is None:
            raise KeyUnavailable("keys from a secrets backend need a backend: none is set up here")
        try:
            text = resolve_secret(name)
        except Exception:  # noqa: BLE001 - whatever a backend raises may quote what it read
            raise KeyUnavailable(f"the secrets backend failed to give the secret {name}") from None
        if not text:
            raise KeyUnavailable(f"the secrets backend has no secret {name}")
        return text, f"the secret {name}"
    raise KeyUnavailable(SOURCES)


def read_private(path: Path, made_by: str | None, *, what: str = "key file") -> str:
    """Text of a file that is the owner's alone; KeyUnavailable where others could have read or replaced it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        how = f"; `{made_by}` makes one" if made_by else ""
        raise KeyUnavailable(f"there is no {what} {path}{how}") from None
    except OSError:
        raise KeyUnavailable(f"the {what} {path} cannot be read, or is a link") from None
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or stat.S_IMODE(state.st_mode) & 0o077:
            raise KeyUnavailable(f"others can read the {what} {path}: set its mode to 0600, and think of new keys")
        if state.st_uid not in {os.geteuid(), 0}:
            raise KeyUnavailable(f"the {what} {path} belongs to another user")
        if stat.S_IMODE(path.absolute().parent.stat().st_mode) & 0o022:
            raise KeyUnavailable(f"others can write into the folder of the {what} {path}: set its mode to 0700")
        try:
            return file.read(1 << 16).decode("utf-8")
        except UnicodeDecodeError:
            raise KeyUnavailable(f"the {what} {path} is damaged: it is not plain text") from None


def create_key_file(path: Path, text: str, *, replace: bool = False) -> None:
    """Make a key file, mode 0600 in a folder of mode 0700, complete or not at all.

    One that is there already stays, unless ``replace``; where two processes make it at once, both end up with the same.
    """
    folder = path.absolute().parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        raise KeyUnavailable(f"keys are made only in a folder of their own with mode 0700, and {folder} is not one")
    # O_EXCL on a private name, then a hard link, which fails where the final name exists: the file appears whole, and
    # a second process that makes keys at the same moment finds the first one's.
    draft = folder / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            try:
                os.link(draft, path)
            except FileExistsError:
                return
        folder_descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(folder_descriptor)
        finally:
            os.close(folder_descriptor)
    except OSError:
        raise KeyUnavailable(f"the key file {path} cannot be made") from None
    finally:
        draft.unlink(missing_ok=True)
