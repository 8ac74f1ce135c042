"""Which channel a partner has, and how to reach it.

The agreement says of what kind a partner's channel is, what its connection is called, and where below it the partner's
``inbox`` and ``outbox`` lie. How to log in stands in the installation: in the variable
``LINKARMS_CONNECTION_<NAME>`` or, under Airflow, in its connection of that name. Either is an address:

- ``sftp://user@host:22?private_key_file=/run/secrets/key&host_key=ssh-ed25519%20AAAA...``; instead of the file,
  ``private_key`` with the key's text; ``private_key_passphrase``; ``host_key`` again for a second key of the server.
- ``s3://KEY:SECRET@?endpoint_url=https%3A%2F%2Fstorage.example&region_name=eu-west-2``; without key and secret, the
  machine's own role.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from intake.channels import Channel, FolderChannel
from protocol.errors import LinkarmsError
from protocol.model import ChannelKind, Partner

if TYPE_CHECKING:
    from intake.channels.s3 import S3Login
    from intake.channels.sftp import SftpLogin
    from pipeline.settings import Settings

_SCHEMES = {"sftp": ChannelKind.SFTP, "ssh": ChannelKind.SFTP, "s3": ChannelKind.S3, "aws": ChannelKind.S3}
_EXAMPLES = {
    ChannelKind.SFTP: "sftp://user@host:22?private_key_file=...&host_key=...",
    ChannelKind.S3: "s3://KEY:SECRET@?endpoint_url=...&region_name=...",
}
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def open_channel(settings: "Settings", partner: Partner) -> Channel:
    """The partner's way in and out. A remote one connects when it is first used.

    Raises LinkarmsError where its connection is missing or incomplete; no message has anything of it but its name.
    """
    channel = partner.channel
    root = (channel.root or "").rstrip("/")
    if channel.kind is ChannelKind.FOLDER:
        if root:
            return FolderChannel(inbox=Path(root) / "inbox", outbox=Path(root) / "outbox")
        return FolderChannel(inbox=settings.inbox(partner.id), outbox=settings.outbox(partner.id))
    if channel.connection is None or not root:
        raise LinkarmsError(f"The channel of {partner.id} needs a connection and a root in partners/{partner.id}.yaml.")
    address, options = _read_address(channel.connection, channel.kind, settings)
    from intake.channels.remote import RemoteChannel

    seen = settings.home / "run" / "seen" / f"{partner.id}.json"
    if channel.kind is ChannelKind.SFTP:
        from intake.channels.sftp import SftpStore

        return RemoteChannel(SftpStore(_sftp_login(channel.connection, address, options), root), seen)
    from intake.channels.s3 import S3Store

    bucket, _, prefix = root.strip("/").partition("/")
    return RemoteChannel(S3Store(_s3_login(channel.connection, address, options), bucket, prefix), seen)


def _read_address(
    name: str, kind: ChannelKind, settings: "Settings"
) -> tuple[SplitResult, Mapping[str, tuple[str, ...]]]:
    """The connection's address, and its options."""
    variable = f"LINKARMS_CONNECTION_{name.upper()}"
    text = settings.environment.get(variable)
    if not text and settings.resolve_connection is not None:
        try:
            text = settings.resolve_connection(name)
        except Exception:  # noqa: BLE001 (whatever a backend raises may quote what it read)
            text = None
    wanted = f"Set {variable}, or Airflow's connection {name}, to {_EXAMPLES[kind]}"
    if not text:
        raise LinkarmsError(f"There is no connection {name}. {wanted}")
    try:
        address = urlsplit(text.strip())
        _ = address.port
        options = _options(address.query)
    except ValueError:
        raise LinkarmsError(f"The connection {name} cannot be read. {wanted}, with odd signs as %XX.") from None
    if _SCHEMES.get(address.scheme) is not kind:
        raise LinkarmsError(f"The connection {name} is not one for {kind.value}. {wanted}")
    return address, options


def _options(query: str) -> dict[str, tuple[str, ...]]:
    """Options of an address; those that Airflow packs into one as JSON among them."""
    options: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(query):
        if name == "__extra__":
            packed = json.loads(value)
            if not isinstance(packed, dict):
                raise ValueError
            options |= {str(key): (str(each),) for key, each in packed.items() if each is not None}
        else:
            options[name] = (*options.get(name, ()), value)
    return options


def _sftp_login(name: str, address: SplitResult, options: Mapping[str, tuple[str, ...]]) -> "SftpLogin":
    from intake.channels.sftp import SftpLogin

    file = _last(options, "private_key_file") or _last(options, "key_file")
    if not address.hostname or not address.username:
        raise LinkarmsError(f"The connection {name} needs a user and a host: {_EXAMPLES[ChannelKind.SFTP]}")
    return SftpLogin(
        connection=name,
        host=unquote(address.hostname),
        user=unquote(address.username),
        host_keys=options.get("host_key", ()),
        port=address.port or 22,
        private_key_file=Path(file) if file else None,
        private_key=_last(options, "private_key"),
        passphrase=_last(options, "private_key_passphrase"),
    )


def _s3_login(name: str, address: SplitResult, options: Mapping[str, tuple[str, ...]]) -> "S3Login":
    from intake.channels.s3 import S3Login

    if address.netloc and not address.username:
        raise LinkarmsError(
            f"The connection {name} has a key or secret that cannot be told apart. Write it as "
            f"{_EXAMPLES[ChannelKind.S3]}, with / as %2F and + as %2B."
        )
    endpoint = urlsplit(_last(options, "endpoint_url") or "https://")
    if endpoint.scheme != "https" and endpoint.hostname not in _THIS_MACHINE:
        raise LinkarmsError(f"The endpoint_url of the connection {name} is not https, so that others could read along.")
    return S3Login(
        connection=name,
        key=unquote(address.username) if address.username else None,
        secret=unquote(address.password) if address.password else None,
        token=_last(options, "aws_session_token"),
        endpoint_url=_last(options, "endpoint_url"),
        region_name=_last(options, "region_name"),
    )


def _last(options: Mapping[str, tuple[str, ...]], name: str) -> str | None:
    return options[name][-1] if name in options else None
