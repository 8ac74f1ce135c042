"""Real servers, one of each for the session, and a partner's own place on them for each test."""

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from protocol.digest import sign_again
from synthetic.generate import write_extract
from tests.integration.channels.servers import (
    FolderSide,
    S3Side,
    SftpServer,
    SftpSide,
    Side,
    make_bucket,
    serve_s3,
    serve_sftp,
)
from tests.integration.pipeline.conftest import PARTNER, copy_of, empty_world, partnership, small, world
from tests.integration.pipeline.world import World, with_agreement

__all__ = ["copy_of", "empty_world", "partnership", "small", "world"]


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """An SFTP server for all tests that do not stop it."""
    with serve_sftp(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Storage for all tests that do not stop it."""
    with serve_s3() as endpoint:
        yield endpoint


@pytest.fixture
def folder_side(tmp_path: Path) -> FolderSide:
    """A partner with a folder."""
    (tmp_path / "side" / "inbox").mkdir(parents=True)
    return FolderSide(tmp_path / "side")


@pytest.fixture
def sftp_side(sftp_server: SftpServer, tmp_path: Path) -> SftpSide:
    """A partner with a folder of the SFTP server."""
    name = uuid.uuid4().hex
    (sftp_server.root / name / "inbox").mkdir(parents=True)
    return SftpSide(sftp_server, name, tmp_path)


@pytest.fixture
def s3_side(s3_endpoint: str, tmp_path: Path) -> S3Side:
    """A partner with a prefix of a bucket of its own."""
    return S3Side(s3_endpoint, make_bucket(s3_endpoint), tmp_path)


@pytest.fixture(params=["folder", "sftp", "s3"])
def side(request: pytest.FixtureRequest) -> Side:
    """A partner with each kind of channel in turn."""
    made: Side = request.getfixturevalue(f"{request.param}_side")
    return made


@pytest.fixture(params=["sftp", "s3"])
def remote_side(request: pytest.FixtureRequest) -> Side:
    """A partner with each kind of remote channel in turn."""
    made: Side = request.getfixturevalue(f"{request.param}_side")
    return made


@pytest.fixture
def with_channel(world: World, tmp_path: Path) -> Callable[..., World]:
    """The installation under an agreement that gives one partner another channel, and with a connection for it."""

    def give(channel: Mapping[str, str], connection: str | None = None) -> World:
        folder = tmp_path / "agreement"
        shutil.copytree(world.settings.agreement_folder, folder)
        path = folder / "partners" / f"{PARTNER}.yaml"
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**entries, "channel": dict(channel)}, allow_unicode=True), encoding="utf-8")
        sign_again(folder)
        changed = with_agreement(world, folder)
        environment = {**world.settings.environment, "LINKARMS_AGREEMENT": str(folder)}
        if connection is not None:
            environment["LINKARMS_CONNECTION_HARBOUR"] = connection
        return replace(changed, settings=replace(changed.settings, environment=environment))

    return give


@pytest.fixture
def extract(small: Mapping[str, Any], tmp_path: Path) -> Path:
    """A small extract of one partner as a folder on the officer's machine."""
    tables: Mapping[str, pl.DataFrame] = small["tables"]
    counted = {**small["manifest"], "tables": {name: len(frame) for name, frame in tables.items()}}
    return write_extract(tables, counted, tmp_path / "office" / "2026-Q2")
