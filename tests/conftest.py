"""Fixtures that several folders of tests share: one real PostgreSQL a session, a fresh migrated database a test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from protocol.model import Agreement
from warehouse.migrate import upgrade
from warehouse.roles import CUSTODIAN, PIPELINE, apply_grants, ensure_service_login
from warehouse.server import SUPERUSER, EmbeddedServer

TEMPLATE = "linkarms_template"


@dataclass(frozen=True)
class Database:
    """One migrated database of its own, and engines for those who work in it."""

    server: EmbeddedServer
    name: str
    owner: Engine
    """The database's owner: migrations, plans, roles and views."""
    pipeline: Engine
    """The pipeline's own login, with the rights of its group and no more."""
    custodian: Engine

    @property
    def owner_url(self) -> str:
        """URL of the owner."""
        return self.server.url(database=self.name)

    @property
    def pipeline_url(self) -> str:
        """URL of the pipeline's login."""
        return self.server.url("pipeline_service", self.name)

    def engine_as(self, login: str, password: str) -> Engine:
        """An engine for another login, such as one of the agreement's."""
        state = self.server.state()
        url = f"postgresql+psycopg://{login}:{password}@{state.host}:{state.port}/{self.name}"
        return create_engine(url, poolclass=NullPool)


@pytest.fixture(scope="session")
def database_server() -> Iterator[EmbeddedServer]:
    """An embedded PostgreSQL that lives as long as the test session."""
    home = Path(tempfile.mkdtemp(prefix="linkarms-test-"))
    home.chmod(0o755)  # so that, as root, the server's own account can reach its data inside
    # No test pulls the plug of the machine, and without waiting for the disk a database a test costs next to nothing.
    server = EmbeddedServer(home, settings={"fsync": "off"})
    try:
        server.start()
        yield server
    finally:
        server.wipe()
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def database_template(database_server: EmbeddedServer) -> str:
    """Name of a migrated database, with the services' logins, that tests copy."""
    database_server.create_database(TEMPLATE, "linkarms_owner")
    url = database_server.url(database=TEMPLATE)
    upgrade(url)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as conn:
        ensure_service_login(conn, "pipeline_service", PIPELINE, database_server.password("pipeline_service"))
        ensure_service_login(conn, "custodian_service", CUSTODIAN, database_server.password("custodian_service"))
    return TEMPLATE


@pytest.fixture
def empty_database(database_server: EmbeddedServer) -> str:
    """URL (the owner's) of a database with nothing in it."""
    name = f"empty_{os.urandom(6).hex()}"
    database_server.create_database(name, "linkarms_owner")
    return database_server.url(database=name)


@pytest.fixture
def database(database_server: EmbeddedServer, database_template: str) -> Iterator[Database]:
    """A fresh migrated database."""
    name = f"test_{os.urandom(6).hex()}"
    with _superuser(database_server) as conn:
        statement = "create database {} template {} owner linkarms_owner strategy wal_log"
        conn.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(database_template)))
    made = Database(
        database_server,
        name,
        owner=create_engine(database_server.url(database=name), poolclass=NullPool),
        pipeline=create_engine(database_server.url("pipeline_service", name), poolclass=NullPool),
        custodian=create_engine(database_server.url("custodian_service", name), poolclass=NullPool),
    )
    with made.owner.begin() as conn:
        apply_grants(conn)  # rights on the database itself are not part of its template
    yield made
    with _superuser(database_server) as conn:
        conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def agreement() -> Agreement:
    """The example partnership's agreement as it ships."""
    from protocol.loading import default_agreement_folder, load_agreement

    return load_agreement(default_agreement_folder())


def _superuser(server: EmbeddedServer) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(server.url(SUPERUSER, "postgres", driver="postgresql"), autocommit=True)


QUICK = ("spec", "unit")
"""Folders of tests that take a moment each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start whole systems first, so that no core is left with the longest of them at the end."""
    items.sort(key=lambda item: item.path.relative_to(Path(__file__).parent).parts[0] in QUICK)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With ``LINKARMS_NO_SKIPS`` every skipped test is told as a failure of the run."""
    if os.environ.get("LINKARMS_NO_SKIPS") and (skipped := terminalreporter.stats.get("skipped")):
        terminalreporter.section("tests that may not be skipped here")
        for report in skipped:
            terminalreporter.write_line(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ``LINKARMS_NO_SKIPS`` a run that skipped a test has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("LINKARMS_NO_SKIPS") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
