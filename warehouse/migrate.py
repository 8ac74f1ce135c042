"""Bringing a database to the present schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from protocol.errors import LinkarmsError, NotYet
from warehouse.roles import apply_grants, ensure_groups

_LOCK = 0x11A5_0001
"""Advisory lock of migrations: a number that nothing else of Linkarms uses."""

LOCK_PATIENCE = "30s"
"""How long a change of the schema waits for somebody who is reading what it has to alter."""

_LOCK_NOT_AVAILABLE = "55P03"


@contextmanager
def altering(conn: Connection) -> Iterator[None]:
    """For the rest of the transaction, wait for readers no longer than :data:`LOCK_PATIENCE`, since everybody who comes
    after waits behind the change; then :class:`NotYet`."""
    conn.execute(text(f"set local lock_timeout = '{LOCK_PATIENCE}'"))
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise NotYet("Somebody is reading what is to be made anew. Run this again when they have ended.") from None


def upgrade(engine_url: str | URL) -> str:
    """Bring the database to the present schema, with group roles and grants; returns the revision that it is at.

    Runs in one transaction under an advisory lock: a failure leaves the database as it was, and of two upgrades at
    once the second waits and finds nothing to do. The URL's role has to own the database and may make roles (or the
    group roles of :mod:`warehouse.roles` are there).

    Raises :class:`NotYet` where the database does not answer or somebody keeps a relation open that is altered, and
    :class:`LinkarmsError` where the database is newer than this version of Linkarms.
    """
    engine = create_engine(engine_url, poolclass=NullPool)
    try:
        with engine.begin() as conn:
            conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            conn.execute(text("create schema if not exists governance"))
            present = revision_of(conn)
            script = ScriptDirectory.from_config(_config(conn))
            if present is not None and present not in {step.revision for step in script.walk_revisions()}:
                raise LinkarmsError("The database was made by a newer version of Linkarms. Install that version.")
            with altering(conn):
                ensure_groups(conn)
                command.upgrade(_config(conn), "head")
                apply_grants(conn)
            return str(revision_of(conn))
    except OperationalError:
        raise NotYet("The database does not answer, or refuses this log-in. Is it running, is the URL right?") from None
    finally:
        engine.dispose()


def revision_of(conn: Connection) -> str | None:
    """The revision that the database is at; None for an empty one."""
    return MigrationContext.configure(conn, opts={"version_table_schema": "governance"}).get_current_revision()


def _config(conn: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config
