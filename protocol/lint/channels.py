"""The channels in partners/: where a partner's drops come from."""

from collections.abc import Mapping

from protocol.documents import Faults
from protocol.model import Agreement, ChannelKind, PartnerChannel


def check_channels(agreement: Agreement, partner_files: Mapping[str, str], faults: Faults) -> None:
    """Add a fault for each channel that leads nowhere, or to another partner's drops."""
    taken: list[tuple[str, tuple[str, ...], str]] = []
    for partner in agreement.partners:
        channel, file = partner.channel, partner_files[partner.id]
        _check_channel(channel, file, faults)
        if channel.root is None:
            continue
        place = tuple(part for part in channel.root.split("/") if part)
        through = channel.connection or channel.kind.value
        for other, parts, name in taken:
            shared = min(len(parts), len(place))
            if other == through and parts[:shared] == place[:shared]:
                faults.add(file, "channel.root", f"is that of {name} or lies in it. Give each partner its own place.")
        taken.append((through, place, partner.id))


def _check_channel(channel: PartnerChannel, file: str, faults: Faults) -> None:
    if channel.kind is ChannelKind.FOLDER:
        if channel.connection is not None:
            faults.add(file, "channel.connection", "belongs to kind sftp or s3. Leave it out for a folder.")
        if channel.root is not None and not channel.root.startswith("/"):
            faults.add(file, "channel.root", "should be a whole path, such as /srv/inboxes/north.")
    else:
        if channel.connection is None:
            faults.add(file, "channel.connection", "is missing. Name the connection that the installation holds.")
        if channel.root is None or not channel.root.strip("/"):
            wanted = "a folder of the server" if channel.kind is ChannelKind.SFTP else "a bucket and a prefix"
            faults.add(file, "channel.root", f"is missing. Name {wanted} of this partner alone.")
    parts = (channel.root or "").split("/")
    if ".." in parts or not (channel.root or "x").isprintable():
        faults.add(file, "channel.root", "should not lead upwards or hold odd signs.")
