"""Where things are: one frozen object, made once from the environment and handed to every step."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from protocol.errors import LinkarmsError
from protocol.loading import default_agreement_folder

PIPELINE_LOGIN = "pipeline_service"
"""The database login that the steps work under: a member of the group ``linkarms_pipeline`` and no more."""

SecretResolver = Callable[[str], str]
"""Gives the text of a named secret; Airflow's secrets backend in the deployment."""

PassphraseSource = Callable[[], str]
"""Gives the passphrase of a locked key file."""

ConnectionResolver = Callable[[str], str]
"""Gives the address of a named connection; Airflow's connections in the deployment."""


@dataclass(frozen=True)
class Settings:
    """Places and names of one installation.

    Everything that Linkarms writes lies below ``home``. Neither passwords nor keys are held here, only where to find
    them, so that a printed ``Settings`` gives nothing away.
    """

    home: Path
    agreement_folder: Path
    key_source: str
    """``file:<path>``, ``env:<NAME>`` or ``secret:<name>``; see :func:`pseudonymise.keys.open_key_ring`."""
    database_source: str
    """``embedded`` (the trial's own server), ``env:<NAME>`` (a variable that holds a PostgreSQL URL) or
    ``file:<path>`` (a file that holds one, such as a container's secret)."""
    environment: Mapping[str, str] = field(repr=False)
    sealing_source: str
    """Where the hub's sealing keys are: as for the keys; see :func:`pseudonymise.sealing.open_sealing_keys`."""
    scratch_folder: Path | None = None
    """Memory-backed storage in which sealed drops are opened; None for a private folder in the machine's shared
    memory, see :mod:`pipeline.scratch`."""
    inbox_check_minutes: int | None = None
    """How often Airflow looks into the inboxes by itself; None where a coordinator triggers each intake."""
    linkage_engine: str = "duckdb"
    """What linkage compares pairs on: ``duckdb`` or ``spark``; see :mod:`pipeline.linkage_engine`."""
    spark_master: str = "local[*]"
    """Where Spark runs: all cores of this machine, or a cluster's address."""
    resolve_secret: SecretResolver | None = field(default=None, repr=False)
    resolve_connection: ConnectionResolver | None = field(default=None, repr=False)
    ask_passphrase: PassphraseSource | None = field(default=None, repr=False)
    """Asks a person for the passphrase of a locked key file; None where nobody is there to ask."""

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        resolve_secret: SecretResolver | None = None,
        resolve_connection: ConnectionResolver | None = None,
        ask_passphrase: PassphraseSource | None = None,
    ) -> "Settings":
        """Settings from ``LINKARMS_*`` variables.

        ``LINKARMS_HOME`` (default ``var`` in the working folder), ``LINKARMS_AGREEMENT`` (default the example that
        ships), ``LINKARMS_KEYS`` and ``LINKARMS_SEALING_KEYS`` (default files below the home),
        ``LINKARMS_KEYS_PASSPHRASE`` or ``LINKARMS_KEYS_PASSPHRASE_FILE`` (see :meth:`passphrase`),
        ``LINKARMS_DATABASE_URL`` or ``LINKARMS_DATABASE_URL_FILE`` (default the trial's own server),
        ``LINKARMS_SCRATCH`` (default the machine's shared memory), ``LINKARMS_INBOX_CHECK_MINUTES`` (default on
        demand only), ``LINKARMS_ENGINE`` (``duckdb``, the default, or ``spark``) and ``LINKARMS_SPARK_MASTER`` (default
        ``local[*]``). Connections are ``LINKARMS_CONNECTION_<NAME>``, see :mod:`pipeline.channels`.

        Raises:
            LinkarmsError: ``LINKARMS_INBOX_CHECK_MINUTES`` is not a number of minutes, or
                ``LINKARMS_ENGINE`` no engine.
        """
        environment = os.environ if environment is None else environment
        home = Path(environment.get("LINKARMS_HOME", "var")).resolve()
        agreement = environment.get("LINKARMS_AGREEMENT")
        scratch = environment.get("LINKARMS_SCRATCH")
        database_source = "embedded"
        if environment.get("LINKARMS_DATABASE_URL"):
            database_source = "env:LINKARMS_DATABASE_URL"
        elif environment.get("LINKARMS_DATABASE_URL_FILE"):
            database_source = f"file:{environment['LINKARMS_DATABASE_URL_FILE']}"
        return cls(
            home=home,
            agreement_folder=Path(agreement).resolve() if agreement else default_agreement_folder(),
            key_source=environment.get("LINKARMS_KEYS", f"file:{home / 'secrets' / 'linkarms.keys'}"),
            database_source=database_source,
            environment=dict(environment),
            sealing_source=environment.get("LINKARMS_SEALING_KEYS", f"file:{home / 'secrets' / 'linkarms.sealing'}"),
            scratch_folder=Path(scratch).resolve() if scratch else None,
            inbox_check_minutes=_read_minutes(environment.get("LINKARMS_INBOX_CHECK_MINUTES")),
            linkage_engine=_read_engine(environment.get("LINKARMS_ENGINE")),
            spark_master=environment.get("LINKARMS_SPARK_MASTER") or "local[*]",
            resolve_secret=resolve_secret,
            resolve_connection=resolve_connection,
            ask_passphrase=ask_passphrase,
        )

    def inbox(self, partner_id: str) -> Path:
        """Where a partner drops its extracts."""
        return self.home / "inbox" / partner_id

    def outbox(self, partner_id: str) -> Path:
        """Where a partner finds its receipts."""
        return self.home / "outbox" / partner_id

    def work(self, submission_id: str) -> Path:
        """Working area of one submission; identifiable until it is loaded, then gone."""
        return self.home / "work" / submission_id

    def lock(self, name: str) -> Path:
        """The file by which processes take turns at one partner or submission."""
        return self.home / "run" / "locks" / name

    @property
    def releases(self) -> Path:
        """Where the releases' reports and data packages are."""
        return self.home / "releases"

    @property
    def compiled_agreement(self) -> Path:
        """The small JSON that DAG files read."""
        return self.home / "compiled" / "agreement.json"

    def passphrase(self, variable: str = "LINKARMS_KEYS_PASSPHRASE") -> PassphraseSource | None:
        """What gives the passphrase of a locked key file: the variable, the private file that ``<variable>_FILE``
        names, or a person at a terminal; None where there is none of them. It is asked only where a file is locked.

        Never an argument of a command: everyone on the machine can read those.
        """
        given, file = self.environment.get(variable), self.environment.get(f"{variable}_FILE")
        if given:
            return lambda: given
        if file:
            return lambda: _read_passphrase(Path(file))
        return self.ask_passphrase

    def database_url(self) -> str:
        """URL of the database for the pipeline's own role.

        Raises:
            NotYet: the trial's own server has never been started here.
            LinkarmsError: the variable or file that should hold the URL is missing or empty.
        """
        if self.database_source == "embedded":
            from warehouse.server import EmbeddedServer

            return EmbeddedServer(self.home).url(PIPELINE_LOGIN)
        kind, _, name = self.database_source.partition(":")
        try:
            url = self.environment.get(name, "") if kind == "env" else Path(name).read_text(encoding="utf-8").strip()
        except OSError:
            url = ""
        if not url:
            raise LinkarmsError(f"The {'variable' if kind == 'env' else 'file'} {name} should hold the database's URL.")
        return url


def _read_passphrase(path: Path) -> str:
    from pseudonymise.key_files import read_private

    return read_private(path, None, what="passphrase file").rstrip("\r\n")


def _read_minutes(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdigit() or int(text) == 0:
        raise LinkarmsError("LINKARMS_INBOX_CHECK_MINUTES should be a whole number of minutes, such as 10.")
    return int(text)


def _read_engine(text: str | None) -> str:
    if not text:
        return "duckdb"
    if text not in ("duckdb", "spark"):
        raise LinkarmsError("LINKARMS_ENGINE should be duckdb or spark.")
    return text
