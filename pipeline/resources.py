"""What every step opens first: the agreement, the database and the keys."""

from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from pipeline.settings import Settings
from protocol.loading import load_agreement
from protocol.model import Agreement

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from pseudonymise.keys import KeyRing
    from pseudonymise.sealing import SealingKeys

try:
    SOFTWARE_VERSION = version("linkarms")
except PackageNotFoundError:  # run from a folder that was never installed
    SOFTWARE_VERSION = "unknown"


def read_agreement(settings: Settings) -> Agreement:
    """The agreement that the settings name."""
    return load_agreement(settings.agreement_folder)


def open_engine(settings: Settings) -> "Engine":
    """An engine for the pipeline's role. It keeps no connection open between uses, so that nobody has to dispose it."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    return create_engine(settings.database_url(), poolclass=NullPool)


def open_keys(settings: Settings, *, now: datetime, create: bool = False) -> "KeyRing":
    """The partnership's keys, in use as their file says. ``create`` makes a missing key file below the home; only
    setting up does that, since new keys in the place of lost ones would match nothing that is in the pool."""
    from pseudonymise.keys import open_key_ring

    return open_key_ring(
        settings.key_source,
        now=now,
        resolve_secret=settings.resolve_secret,
        environ=settings.environment,
        create=create and settings.key_source.startswith(f"file:{settings.home}/"),
        passphrase=settings.passphrase(),
    )


def open_keys_in_force(conn: "Connection", settings: Settings, *, now: datetime) -> "KeyRing":
    """The partnership's keys, with those in use that the database's pseudonyms are made with.

    What the database has recorded decides and not what the key file says, so that a rotation that was killed between
    the two does no harm. Raises KeyUnavailable where the keys at hand are not the database's.
    """
    from warehouse.lookups import read_key_id

    return open_keys(settings, now=now).in_force(read_key_id(conn))


def open_sealing(settings: Settings, *, now: datetime, create: bool = False) -> "SealingKeys":
    """The hub's sealing keys. ``create`` makes a missing key file below the home; only setting up does that, so that
    the public key that partners have is not replaced in silence."""
    from pseudonymise.sealing import open_sealing_keys

    return open_sealing_keys(
        settings.sealing_source,
        now=now,
        resolve_secret=settings.resolve_secret,
        environ=settings.environment,
        create=create and settings.sealing_source.startswith(f"file:{settings.home}/"),
    )
