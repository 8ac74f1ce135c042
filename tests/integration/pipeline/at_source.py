"""What a partner does that pseudonymises at its own site: the command's own function on an extract, and the drop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.at_source import SourceDrop, pseudonymise_extract
from pipeline.resources import open_keys, open_sealing
from protocol.model import Agreement
from pseudonymise.partner_key import PartnerKey, export_partner_key, open_partner_key
from pseudonymise.sealing import open_bytes, seal_bytes
from synthetic.generate import write_extract
from tests.integration.pipeline.world import NOW, World

PASSPHRASE = "correct horse battery staple"

Tables = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Office:
    """A partner's own machine."""

    folder: Path
    agreement: Agreement
    keys: PartnerKey
    public_key: Path

    def pseudonymise(self, tables: Tables, manifest: Mapping[str, Any], name: str = "extract") -> SourceDrop:
        """Write an extract, with its rows counted in the manifest, and pseudonymise it."""
        entries = dict(manifest)
        if tables:
            entries["tables"] = {table: len(frame) for table, frame in tables.items()}
        extract = self.folder / "office" / name
        write_extract(tables, entries, extract)
        return pseudonymise_extract(
            extract, self.agreement, self.keys, self.public_key, self.folder / f"{name}.sealed", now=NOW
        )


def make_office(world: World, folder: Path) -> Office:
    """An office that has K1 and the hub's public key from the coordinator."""
    secrets = folder / "k1"
    secrets.mkdir(mode=0o700, parents=True)
    export_partner_key(open_keys(world.settings, now=NOW), secrets / "k1.keys", lambda: PASSPHRASE)
    keys = open_partner_key(f"file:{secrets / 'k1.keys'}", passphrase=lambda: PASSPHRASE)
    public_key = folder / "hub.pub"
    public_key.write_text(f"{open_sealing(world.settings, now=NOW).public.line}\n", "ascii")
    return Office(folder, world.agreement, keys, public_key)


def drop_sealed(world: World, partner: str, envelope: Path, name: str | None = None) -> Path:
    """Drop an envelope, flagged as ready."""
    target = world.settings.inbox(partner) / (name or envelope.name)
    target.write_bytes(envelope.read_bytes())
    return world.flag(target)


def tampered(world: World, envelope: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The envelope opened with the hub's own key, changed file by file, and sealed again."""
    import io
    import zipfile

    keys = open_sealing(world.settings, now=NOW)
    with zipfile.ZipFile(io.BytesIO(open_bytes(envelope.read_bytes(), keys))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    target = envelope.with_name(f"tampered-{envelope.name}")
    target.write_bytes(seal_bytes(packed.getvalue(), keys.public))
    return target


def opened(world: World, envelope: Path) -> dict[str, bytes]:
    """The files of an envelope."""
    files: dict[str, bytes] = {}
    tampered(world, envelope, files.update)
    return files
