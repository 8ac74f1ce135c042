"""Where extracts come from and where receipts go.

A :class:`Channel` is one partner's way in and out: :class:`FolderChannel` is the one for a folder on a disk or share;
:mod:`intake.channels.remote` has the one for SFTP servers and object storage, which needs packages that a data
officer does not have and is imported by name. All keep the same promises
(``tests/integration/channels/test_contract.py``).
"""

from intake.channels.channel import Channel, Drop, DropKind, FetchedDrop
from intake.channels.folder import FolderChannel

__all__ = ["Channel", "Drop", "DropKind", "FetchedDrop", "FolderChannel"]
