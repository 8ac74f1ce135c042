"""`linkarms agreement build`: templates, dictionary, matrix, register, schemas and pages from the agreement."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.common import agreement_option, read_settings

if TYPE_CHECKING:
    from protocol.model import Agreement


@click.command(name="build")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@agreement_option
@click.option("--partner", "partner_id", help="Make the templates of this partner alone.")
def build_documents(out: Path, agreement_folder: Path | None, partner_id: str | None) -> None:
    """Write everything that is made from the agreement into the folder OUT.

    What an earlier run wrote there is replaced, whole or not at all. Nothing is touched where OUT holds anything else,
    a template that somebody has filled in included.
    """
    from protocol.generated.documents import make_documents
    from protocol.loading import load_agreement

    agreement = load_agreement(read_settings(agreement_folder).agreement_folder)
    _refuse_stranger(agreement, partner_id)
    documents = make_documents(agreement, partner_id)
    replace_folder(out, documents)
    click.echo(f"{len(documents)} files from {agreement.title}, version {agreement.version}")
    click.echo(f"Start with {out / 'index.html'}")
    for line in _without_templates(agreement, partner_id):
        click.echo(line)


def _refuse_stranger(agreement: "Agreement", partner_id: str | None) -> None:
    from protocol.errors import AgreementError

    known = [partner.id for partner in agreement.partners]
    if partner_id is not None and partner_id not in known:
        raise AgreementError(f"The agreement has no partner of this id. It has {', '.join(known)}.")


def _without_templates(agreement: "Agreement", partner_id: str | None) -> list[str]:
    from protocol.generated.documents import sends_agreed_files
    from protocol.generated.versions import agreed_versions

    versions = agreed_versions(agreement)
    own = [
        partner
        for partner in agreement.partners
        if not any(sends_agreed_files(agreement, partner, version) for version in versions)
    ]
    if partner_id is not None:
        return [
            f"{partner.name} sends its own export through a mapping; it needs these templates only if that changes."
            for partner in own
            if partner.id == partner_id
        ]
    if not own:
        return []
    return [f"No template for {', '.join(partner.name for partner in own)}: own exports, by a mapping."]


def replace_folder(out: Path, documents: dict[str, bytes]) -> None:
    """Make ``out`` hold these files and no other: they are written beside it, and then the folders are exchanged.

    LinkarmsError where ``out`` holds something that an earlier run did not write, or that was changed since.
    """
    out = out.resolve()
    refuse_foreign(out)
    fresh, old = out.with_name(f".{out.name}.part"), out.with_name(f".{out.name}.old")
    for left in (fresh, old):  # by a run that was killed
        if left.exists():
            shutil.rmtree(left)
    for name, content in documents.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    refuse_foreign(out)
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    if old.exists():
        shutil.rmtree(old)


def refuse_foreign(out: Path) -> None:
    """LinkarmsError where the folder holds a file that an earlier run did not write as it is now."""
    from protocol.errors import LinkarmsError
    from protocol.generated.documents import CONTENTS

    if not out.exists() or not any(out.iterdir()):
        return
    try:
        written: dict[str, str] = json.loads((out / CONTENTS).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise LinkarmsError(f"{out} holds other things. Name a folder that is new or empty.") from None
    foreign = 0
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if name != CONTENTS and not path.is_dir():
            foreign += hashlib.sha256(path.read_bytes()).hexdigest() != written.get(name)
    if foreign:
        files = "1 file that was" if foreign == 1 else f"{foreign} files that were"
        raise LinkarmsError(f"{out} holds {files} added or changed since. Move them out, or name another folder.")
