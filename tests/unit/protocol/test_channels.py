"""What an agreement may say about a partner's channel."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from protocol.errors import AgreementError
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import ChannelKind, Pseudonymising, Sealing


def load_with(folder: Path, channels: dict[str, dict[str, Any]]) -> Any:
    shutil.copytree(default_agreement_folder(), folder)
    for partner, channel in channels.items():
        path = folder / "partners" / f"{partner}.yaml"
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**entries, "channel": channel}), encoding="utf-8")
    return load_agreement(folder)


def test_partner_without_a_channel_has_a_folder_and_may_seal() -> None:
    partner = load_agreement(default_agreement_folder()).partner("harbour_trust")
    assert partner.channel.kind is ChannelKind.FOLDER
    assert partner.channel.sealed is Sealing.OPTIONAL
    assert partner.channel.pseudonymised is Pseudonymising.OFFERED


def test_channels_of_every_kind_are_read(tmp_path: Path) -> None:
    agreement = load_with(
        tmp_path / "agreement",
        {
            "harbour_trust": {"kind": "sftp", "connection": "shared", "root": "/north/harbour"},
            "riverside_nhs": {"kind": "s3", "connection": "store", "root": "bucket/north", "sealed": "required"},
            "castle_borough": {"kind": "sftp", "connection": "shared", "root": "/north/harbour_two"},
            "jobcentre_east": {"kind": "folder", "root": "/srv/east"},
        },
    )
    assert agreement.partner("riverside_nhs").channel.sealed is Sealing.REQUIRED


@pytest.mark.parametrize(
    ("channel", "told"),
    [
        ({"kind": "ftp"}, "channel.kind"),
        ({"kind": "sftp", "root": "/north"}, "channel.connection"),
        ({"kind": "s3", "connection": "store"}, "channel.root"),
        ({"kind": "s3", "connection": "store", "root": "/"}, "channel.root"),
        ({"kind": "sftp", "connection": "shared", "root": "/north/../south"}, "channel.root"),
        ({"kind": "sftp", "connection": "shared", "root": "/north\u202egnp"}, "channel.root"),
        ({"kind": "sftp", "connection": "../shared", "root": "/north"}, "channel.connection"),
        ({"kind": "folder", "connection": "shared"}, "channel.connection"),
        ({"kind": "folder", "root": "inboxes"}, "channel.root"),
        ({"kind": "s3", "connection": "store", "root": "b", "secret_key": "x"}, "channel.secret_key"),
        ({"sealed": "maybe"}, "channel.sealed"),
        ({"pseudonymised": "never"}, "channel.pseudonymised"),
    ],
)
def test_channel_that_leads_nowhere_is_told_with_file_and_entry(
    tmp_path: Path, channel: dict[str, Any], told: str
) -> None:
    with pytest.raises(AgreementError) as error:
        load_with(tmp_path / "agreement", {"harbour_trust": channel})
    assert "partners/harbour_trust.yaml" in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize("second", ["/north/harbour", "/north/harbour/inner", "/north/", "north/harbour"])
def test_two_partners_do_not_share_a_place(tmp_path: Path, second: str) -> None:
    with pytest.raises(AgreementError, match="own place"):
        load_with(
            tmp_path / "agreement",
            {
                "castle_borough": {"kind": "sftp", "connection": "shared", "root": "/north/harbour"},
                "harbour_trust": {"kind": "sftp", "connection": "shared", "root": second},
            },
        )
