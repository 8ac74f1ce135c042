"""What was signed, as one number: the digest of the agreement's text, and the signatures under it.

The signed text is every YAML and SQL file of the agreement's folder except those in ``signatures/``. Signatures lie
in a folder of their own so that signing leaves the signed text, and with it everybody else's signature, as it was.

The digest is SHA-256 over, for each file in the order of its path, ``<path>\\0<length>\\0<text>``, all UTF-8, where
the path is relative with ``/`` and the text has no byte order mark and ``\\n`` line ends. So a checkout on Windows has
the same digest, two files cannot trade content unseen, and a comment is part of what was signed. Any language can
compute it; ``docs/reference/agreement.md`` gives the steps.
"""

import hashlib
from datetime import date
from pathlib import Path

import yaml

from protocol.errors import AgreementError
from protocol.files import write_text
from protocol.model import Signature

SIGNED_ENDINGS = frozenset({".yaml", ".yml", ".sql"})
SIGNATURES_FOLDER = "signatures"


def signed_files(folder: Path) -> tuple[Path, ...]:
    """All files below ``folder`` that are part of the signed text, in the order of the digest.

    Hidden files and folders (an editor's, git's) are no part of it and are never read by the loader either. A link
    is refused: what it points to could change without a trace in the folder.
    """
    found: list[Path] = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or relative.parts[0] == SIGNATURES_FOLDER:
            continue
        if path.is_symlink():
            raise AgreementError(f"{relative.as_posix()}: is a link. Put the file itself into the agreement's folder.")
        if path.is_file() and path.suffix.lower() in SIGNED_ENDINGS:
            found.append(path)
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).as_posix().encode()))


def read_text(path: Path, folder: Path) -> str:
    """The text of one file of the agreement, as it enters the digest."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        name = path.relative_to(folder).as_posix()
        raise AgreementError(f"{name}: is not UTF-8 text. Save it again as UTF-8.") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def agreement_digest(folder: Path) -> str:
    """SHA-256 of the agreement's signed text, 64 hex characters; AgreementError where a file cannot be read."""
    digest = hashlib.sha256()
    for path in signed_files(folder):
        text = read_text(path, folder).encode()
        name = path.relative_to(folder).as_posix().encode()
        digest.update(name + b"\0" + str(len(text)).encode() + b"\0" + text)
    return digest.hexdigest()


def sign(folder: Path, partner_id: str, by: str, on: date) -> Signature:
    """Record that ``partner_id`` signed the agreement as it stands, and return the signature.

    ``by`` is the office that signed, never a person's name. The signature is written to ``signatures/<partner>.yaml``,
    where those under earlier versions stay; one under an earlier text of this version is replaced. Signing the same
    text again changes nothing and returns the signature that is there. AgreementError where the agreement cannot be
    loaded or has no such partner.
    """
    from protocol.loading import load_agreement  # loading needs this module

    if not by.strip():
        raise AgreementError("by: says nothing. Name the office that signs.")
    agreement = load_agreement(folder)
    partner = next((partner for partner in agreement.partners if partner.id == partner_id), None)
    if partner is None:
        raise AgreementError(f"partners/: has no {partner_id}. Add partners/{partner_id}.yaml before it signs.")
    for signature in partner.signatures:
        if signature.version == agreement.version and signature.digest == agreement.digest:
            return signature
    signature = Signature(version=agreement.version, digest=agreement.digest, by=by, on=on)
    path = folder / SIGNATURES_FOLDER / f"{partner_id}.yaml"
    earlier = [entry for entry in partner.signatures if entry.version != agreement.version]
    entries = [entry.model_dump(mode="json") for entry in (*earlier, signature)]
    text = yaml.safe_dump({"signatures": entries}, sort_keys=False, allow_unicode=True)
    write_text(path, text)
    return signature


def sign_again(folder: Path) -> tuple[Signature, ...]:
    """Have every partner that has signed before sign the text as it stands, with the office and day of its last one.

    For the agreements that ship as examples, after an edit of theirs; their lock, where there is one, is made anew. In
    a real partnership each partner signs for itself, with :func:`sign`.
    """
    from protocol.loading import load_agreement  # loading needs this module
    from protocol.lock import LOCK_FILE, lock_again

    last = {partner.id: partner.signatures[-1] for partner in load_agreement(folder).partners if partner.signatures}
    if (folder / LOCK_FILE).is_file():
        lock_again(folder)
    return tuple(sign(folder, partner_id, signature.by, signature.on) for partner_id, signature in last.items())
