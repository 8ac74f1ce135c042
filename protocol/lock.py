"""``agreement.lock``: what the agreement said when it was last locked, so that a change cannot pass unnoticed.

The lock lies beside the signed text and is no part of it. It holds the version, the digest as a whole and of each
signed file, and the agreement itself as it was read, so that what is there now can be compared with it
(:mod:`protocol.changes`). The same text gives the same bytes.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from protocol.digest import agreement_digest, read_text, signed_files
from protocol.errors import AgreementError
from protocol.files import write_text
from protocol.loading import load_agreement
from protocol.model import Agreement

LOCK_FILE = "agreement.lock"
_FORM = 1


@dataclass(frozen=True)
class Lock:
    """The agreement when it was locked."""

    version: str
    digest: str
    files: dict[str, str]
    """Signed file below the folder -> SHA-256 of its text."""
    agreement: Agreement
    """As it was read, without signatures."""


def lock_of(folder: Path) -> Lock:
    """What a lock of the folder as it stands holds; AgreementError where it has faults."""
    agreement = load_agreement(folder)
    bare = tuple(partner.model_copy(update={"signatures": ()}) for partner in agreement.partners)
    return Lock(
        agreement.version, agreement.digest, file_digests(folder), agreement.model_copy(update={"partners": bare})
    )


def file_digests(folder: Path) -> dict[str, str]:
    """Signed file below the folder -> SHA-256 of its text, with the line ends and marks that the digest is made of."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(read_text(path, folder).encode()).hexdigest()
        for path in signed_files(folder)
    }


def read_lock(path: Path) -> Lock:
    """The lock in a file, or in an agreement's folder; AgreementError where there is none or it cannot be read."""
    path = path / LOCK_FILE if path.is_dir() else path
    if not path.is_file():
        raise AgreementError(f"{path.name}: is missing. Make it with: linkarms agreement lock")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["form"] != _FORM:
            raise AgreementError(f"{path.name}: was made by another Linkarms. Make it anew: linkarms agreement lock")
        agreement = Agreement.model_validate({**content["agreement"], "digest": content["digest"]})
        return Lock(agreement.version, agreement.digest, dict(content["files"]), agreement)
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, ValidationError):
        raise AgreementError(
            f"{path.name}: cannot be read. Take it from your version control, or remove it and lock again."
        ) from None


def write_lock(folder: Path, wording: Collection[str] = ()) -> Lock:
    """Lock the agreement as it stands, and return the lock.

    AgreementError where it has faults, or where its version is lower than the changes since the earlier lock demand.
    Locking the same text again writes the same bytes.

    :param wording: places whose text was only reworded, as somebody who read it has found; see
        :func:`protocol.changes.classify_changes`.
    """
    from protocol.changes import classify_changes

    lock = lock_of(folder)
    if (folder / LOCK_FILE).is_file() and (earlier := read_lock(folder)).digest != lock.digest:
        report = classify_changes(earlier.agreement, lock.agreement, wording)
        if not report.suffices:
            raise AgreementError(
                f"agreement.yaml: version: is {lock.version}. After what changed since {earlier.version} was locked, "
                f"it has to be {report.due_version} or higher. Raise it, lock, and have the partners sign again. "
                f"`linkarms agreement diff {LOCK_FILE} .` in the agreement's folder tells every change."
            )
    _write(lock, folder)
    return lock


def lock_again(folder: Path) -> Lock:
    """Lock the agreement as it stands whatever has changed: for agreements that ship as examples, see
    :func:`protocol.digest.sign_again`."""
    lock = lock_of(folder)
    _write(lock, folder)
    return lock


def _write(lock: Lock, folder: Path) -> None:
    content = {
        "form": _FORM,
        "version": lock.version,
        "digest": lock.digest,
        "files": lock.files,
        "agreement": lock.agreement.model_dump(mode="json", exclude={"digest"}, exclude_defaults=True),
    }
    write_text(folder / LOCK_FILE, json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def changes_since_lock(folder: Path) -> tuple[str, ...]:
    """One line for each signed file that is not as it was locked; empty where the text is the locked one."""
    lock = read_lock(folder)
    if lock.digest == agreement_digest(folder):
        return ()
    now = file_digests(folder)
    told = []
    for name in sorted(set(now) | set(lock.files)):
        if name not in lock.files:
            told.append(f"{name}: is new since the agreement was locked.")
        elif name not in now:
            told.append(f"{name}: was there when the agreement was locked, and is gone.")
        elif now[name] != lock.files[name]:
            told.append(f"{name}: has changed since the agreement was locked.")
    return tuple(told)
