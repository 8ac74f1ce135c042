"""Where extracts come from, how they are taken in, and how their files become agreed tables of text.

    channel = FolderChannel(inbox, outbox)
    taken, findings = take_in(channel.fetch(drop, work), work, Limits(), partner)
    manifest, findings = read_manifest(taken, partner, contract)
    tables, findings = read_submission(taken, manifest, contract, partner)

Each step gives either its result or findings; all of them are for the receipt. No cell of a file and no name that a
partner chose is in a finding or an exception.
"""

from intake.channels import Channel, Drop, DropKind, FetchedDrop, FolderChannel
from intake.leak_scan import scan_for_identifiers
from intake.manifest import Manifest, ManifestKind, read_manifest
from intake.mapping import FilesRead, MappingError, SqlLimits, check_sql, map_tables
from intake.reading import read_tables
from intake.submission import read_submission
from intake.taking import Limits, TakenDrop, TakenFile, open_taken, take_in

__all__ = [
    "Channel",
    "Drop",
    "DropKind",
    "FetchedDrop",
    "FilesRead",
    "FolderChannel",
    "Limits",
    "Manifest",
    "ManifestKind",
    "MappingError",
    "SqlLimits",
    "TakenDrop",
    "TakenFile",
    "check_sql",
    "map_tables",
    "open_taken",
    "read_manifest",
    "read_submission",
    "read_tables",
    "scan_for_identifiers",
    "take_in",
]
