"""A partner's drop taken in through each channel, with the receipt in the outbox by the same channel."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from pipeline.channels import open_channel
from pipeline.intake_steps import check_submission, load_submission, pseudonymise_submission, receive_submissions
from protocol.errors import LinkarmsError, NotYet
from protocol.model import PartnerChannel
from tests.integration.channels.servers import KEYS, S3Side, SftpServer, SftpSide, Side, serve_sftp
from tests.integration.pipeline.world import LATER, NOW, World

PARTNER = "harbour_trust"
Give = Callable[..., World]


def sftp_address(server: SftpServer, folder: Path) -> str:
    login = server.login(folder)
    host_key = quote(login.host_keys[0], safe="")
    return f"sftp://partner@127.0.0.1:{server.port}?private_key_file={login.private_key_file}&host_key={host_key}"


def give_channel(side: Side, with_channel: Give, tmp_path: Path) -> World:
    """The installation with this side as the partner's channel."""
    if isinstance(side, SftpSide):
        channel = {"kind": "sftp", "connection": "harbour", "root": f"/{side.name}"}
        return with_channel(channel, sftp_address(side.server, tmp_path))
    assert isinstance(side, S3Side)
    channel = {"kind": "s3", "connection": "harbour", "root": f"{side.bucket}/{side.prefix}"}
    key, secret, region = (quote(value, safe="") for value in KEYS.values())
    endpoint = quote(side.endpoint, safe="")
    return with_channel(channel, f"s3://{key}:{secret}@?endpoint_url={endpoint}&region_name={region}")


def send(side: Side, extract: Path, name: str = "2026-Q2") -> None:
    for path in extract.iterdir():
        side.write(f"inbox/{name}/{path.name}", path.read_bytes())
    side.write(f"inbox/{name}.ready", b"")


def test_drop_is_taken_in_and_the_receipt_goes_back_by_the_same_channel(
    remote_side: Side, with_channel: Give, extract: Path, tmp_path: Path
) -> None:
    world = give_channel(remote_side, with_channel, tmp_path)
    send(remote_side, extract)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.refusal is None
    assert outcome.loaded is not None
    seen = remote_side.read()
    folder = f"outbox/2026-Q2-{outcome.submission_id}"
    assert json.loads(seen[f"{folder}/receipt.json"])["state"] == "accepted"
    assert outcome.submission_id.encode() in seen[f"{folder}/receipt.html"]
    assert {path.split("/")[1] for path in seen if path.startswith("inbox/")} == {"settled"}
    assert f"inbox/settled/{outcome.submission_id}/content/person.csv" in seen
    assert world.work() == []
    assert world.waiting(PARTNER) == []
    # The same extract again changes nothing and is told.
    send(remote_side, extract, "again")
    assert world.take_in(PARTNER, now=LATER) == []
    assert f"outbox/{outcome.submission_id}/unchanged.html" in remote_side.read()
    # After the agreed days nothing of it is left but the receipts.
    days = world.agreement.retention.inbox_days
    world.take_in(PARTNER, now=NOW + timedelta(days=days + 1))
    assert {path.split("/")[0] for path in remote_side.read()} == {"outbox"}


def test_drop_without_a_flag_is_taken_once_two_looks_found_it_the_same(
    s3_side: S3Side, with_channel: Give, extract: Path, tmp_path: Path
) -> None:
    world = give_channel(s3_side, with_channel, tmp_path)
    send(s3_side, extract)
    s3_side.remove("inbox/2026-Q2.ready")
    assert receive_submissions(PARTNER, world.settings, now=NOW) == []
    assert receive_submissions(PARTNER, world.settings, now=NOW + timedelta(seconds=10)) == []
    assert len(receive_submissions(PARTNER, world.settings, now=NOW + timedelta(seconds=31))) == 1


def test_refusal_of_what_is_no_extract_goes_back_by_the_same_channel(
    remote_side: Side, with_channel: Give, tmp_path: Path
) -> None:
    world = give_channel(remote_side, with_channel, tmp_path)
    remote_side.write("inbox/2026-Q2.csv", b"a")
    remote_side.write("inbox/2026-Q2.csv.ready", b"")
    assert world.take_in(PARTNER) == []
    (receipt,) = (content for path, content in remote_side.read().items() if path.endswith("receipt.json"))
    assert json.loads(receipt)["state"] == "refused"
    assert open_channel(world.settings, world.agreement.partner(PARTNER)).list_drops(NOW) == ()


def test_server_that_goes_between_the_load_and_the_receipt_gets_the_receipt_when_it_is_back(
    with_channel: Give, extract: Path, tmp_path: Path
) -> None:
    (tmp_path / "root" / "harbour" / "inbox").mkdir(parents=True)
    with serve_sftp(tmp_path / "root") as server:
        side = SftpSide(server, "harbour", tmp_path)
        world = give_channel(side, with_channel, tmp_path)
        send(side, extract)
        (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
        submission_id = waiting["submission_id"]
        check_submission(submission_id, world.settings, now=NOW)
        pseudonymise_submission(submission_id, world.settings, now=NOW)
        server.stop()
        with pytest.raises(NotYet, match="connection harbour cannot be reached"):
            load_submission(submission_id, world.settings, now=NOW)
        server.listen()
        load_submission(submission_id, world.settings, now=NOW)
        assert f"outbox/2026-Q2-{submission_id}/receipt.html" in side.read()
        assert world.query("select state, count(*) from governance.submission group by 1") == [("loaded", 1)]


# --- connections ------------------------------------------------------------------------------------------------------

SFTP = {"kind": "sftp", "connection": "harbour", "root": "/north"}
S3 = {"kind": "s3", "connection": "harbour", "root": "bucket/north"}


UNUSABLE: list[tuple[dict[str, str], str | None, str]] = [
    (SFTP, None, "There is no connection harbour. Set LINKARMS_CONNECTION_HARBOUR"),
    (SFTP, "s3://KEY:hunter2@", "is not one for sftp"),
    (SFTP, "sftp://partner:hunter2@host:many", "cannot be read"),
    (SFTP, "sftp://host", "needs a user and a host"),
    (S3, "sftp://partner:hunter2@host", "is not one for s3"),
    (S3, "s3://KEY:hunter2/with/slashes@?region_name=x", "cannot be read"),
    (S3, "s3://bucket?region_name=x", "cannot be told apart"),
    (S3, "s3://KEY:hunter2@?endpoint_url=http%3A%2F%2Fstorage.example", "is not https"),
    (S3, "s3://KEY:hunter2@?__extra__=[", "cannot be read"),
]


def test_connection_that_cannot_be_used_is_told_by_its_name_alone(world: World) -> None:
    partner = world.agreement.partner(PARTNER)
    for channel, address, told in UNUSABLE:
        environment = {} if address is None else {"LINKARMS_CONNECTION_HARBOUR": address}
        changed = partner.model_copy(update={"channel": PartnerChannel.model_validate(channel)})
        with pytest.raises(LinkarmsError, match=told) as error:
            open_channel(replace(world.settings, environment=environment), changed)
        assert "hunter2" not in str(error.value)


def test_connection_of_airflow_is_used_where_no_variable_holds_one(
    s3_side: S3Side, with_channel: Give, tmp_path: Path
) -> None:
    world = give_channel(s3_side, with_channel, tmp_path)
    environment = dict(world.settings.environment)
    address = environment.pop("LINKARMS_CONNECTION_HARBOUR")
    # Airflow packs what is not plain text into one option.
    plain, _, query = address.partition("?")
    extra = json.dumps({"endpoint_url": s3_side.endpoint, "region_name": KEYS["region_name"], "verify": False})
    for text in (f"aws://{plain.partition('://')[2]}/?{query}", f"{plain}/?__extra__={quote(extra, safe='')}"):
        resolver = {"harbour": text}.__getitem__
        settings = replace(world.settings, environment=environment, resolve_connection=resolver)
        assert receive_submissions(PARTNER, settings, now=NOW) == []
    missing = replace(world.settings, environment=environment, resolve_connection={}.__getitem__)
    with pytest.raises(LinkarmsError, match="There is no connection harbour"):
        receive_submissions(PARTNER, missing, now=NOW)
    assert KEYS["aws_secret_access_key"] not in repr(world.settings)
