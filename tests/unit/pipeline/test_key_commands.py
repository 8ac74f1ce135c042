"""`linkarms keys` on the command line: what it shows, and how it comes by a passphrase."""

import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pseudonymise.key_files import create_key_file
from pseudonymise.locked import is_locked, lock_text

WORDS = "otter lantern gravel sunday"
NOWHERE = "postgresql+psycopg://nobody:nothing@127.0.0.1:1/none"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str | None]:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "passphrase").touch(mode=0o600)
    (private / "passphrase").write_text(WORDS + "\n")
    given = {"LINKARMS_HOME": str(tmp_path / "home"), "LINKARMS_DATABASE_URL": NOWHERE}
    return {**{name: None for name in os.environ if name.startswith("LINKARMS")}, **given}


def key_file(environment: dict[str, str | None]) -> Path:
    return Path(str(environment["LINKARMS_HOME"])) / "secrets" / "linkarms.keys"


def run(environment: dict[str, str | None], *arguments: str, **more: str) -> Result:
    return CliRunner().invoke(main, ["keys", *arguments], env={**environment, **more})


def passphrase_file(environment: dict[str, str | None]) -> str:
    return str(Path(str(environment["LINKARMS_HOME"])).parent / "private" / "passphrase")


def test_the_list_shows_ids_states_and_dates_and_no_secret(environment: dict[str, str | None]) -> None:
    assert run(environment, "create").exit_code == 0
    listed = run(environment, "list")
    assert listed.exit_code == 0
    text = key_file(environment).read_text()
    ids = [line.split("id=")[1].split()[0] for line in text.splitlines()[1:]]
    secrets = [line.split("LINKARMS-SECRET-")[1] for line in text.splitlines()[1:]]
    lines = listed.output.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [["K1", ids[0], "active"], ["K2", ids[1], "active"]]
    assert lines[2].startswith("key ring k1.")
    assert lines[3].startswith("warehouse not asked")
    assert not any(secret[:8] in listed.output for secret in secrets)


def test_a_file_is_created_locked_and_opened_by_its_passphrase_from_variable_or_file(
    environment: dict[str, str | None],
) -> None:
    made = run(environment, "create", "--lock", LINKARMS_KEYS_PASSPHRASE_FILE=passphrase_file(environment))
    assert made.exit_code == 0, made.output
    assert is_locked(key_file(environment).read_text())
    by_variable = run(environment, "list", LINKARMS_KEYS_PASSPHRASE=WORDS)
    by_file = run(environment, "list", LINKARMS_KEYS_PASSPHRASE_FILE=passphrase_file(environment))
    assert by_variable.exit_code == by_file.exit_code == 0
    assert by_variable.output == by_file.output
    wrong = run(environment, "list", LINKARMS_KEYS_PASSPHRASE="otter lantern gravel monday")
    assert wrong.exit_code == 5
    assert "monday" not in wrong.output


def test_a_passphrase_file_that_others_can_read_is_refused(environment: dict[str, str | None]) -> None:
    Path(passphrase_file(environment)).chmod(0o644)
    made = run(environment, "create", "--lock", LINKARMS_KEYS_PASSPHRASE_FILE=passphrase_file(environment))
    assert made.exit_code == 5
    assert "others can read the passphrase file" in made.output
    assert not key_file(environment).exists()


def test_without_a_terminal_nobody_is_asked(environment: dict[str, str | None]) -> None:
    run(environment, "create")
    locked = run(environment, "lock")
    assert locked.exit_code == 5
    assert "LINKARMS_KEYS_NEW_PASSPHRASE_FILE" in locked.output
    assert not is_locked(key_file(environment).read_text())


def test_at_a_terminal_the_passphrase_is_asked_for_and_not_shown(environment: dict[str, str | None]) -> None:
    run(environment, "create")
    path = key_file(environment)
    create_key_file(path, lock_text(path.read_text(), WORDS, n=1 << 14), replace=True)
    child, terminal = pty.fork()
    if child == 0:  # nothing of pytest's runs here
        wanted = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
        os.execve(sys.executable, [sys.executable, "-m", "pipeline.cli", "keys", "list"], wanted)
    shown = b""
    while b"Passphrase of the keys" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, f"{WORDS}\n".encode())
    for part in iter(lambda: read_or_end(terminal), b""):
        shown += part
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert b"key ring k1." in shown
    assert b"otter" not in shown


def read_or_end(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:  # how Linux says that the other end is closed
        return b""


def commands(command: click.Command, name: str = "linkarms") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from commands(found, f"{name} {inner}")


def test_no_command_takes_a_secret_as_an_argument() -> None:
    """Everyone on the machine can read the arguments of a process."""
    words = ("passphrase", "password", "secret", "token")
    taken = [
        f"{name} {parameter.name}"
        for name, command in commands(main)
        for parameter in command.params
        if any(word in str(parameter.name) for word in words)
    ]
    assert taken == []
    assert "linkarms keys rotate" in dict(commands(main))


def test_rotating_asks_who_and_why(environment: dict[str, str | None], tmp_path: Path) -> None:
    (tmp_path / "owner").write_text(NOWHERE)
    nobody = run(environment, "rotate", "--owner-url-file", str(tmp_path / "owner"))
    assert nobody.exit_code == 2
    assert "--by and --reason" in nobody.output


def test_keys_that_are_not_in_a_file_are_not_rotated_from_here(
    environment: dict[str, str | None], tmp_path: Path
) -> None:
    run(environment, "create")
    (tmp_path / "owner").write_text(NOWHERE)
    where = {"LINKARMS_KEYS": "env:THE_KEYS", "THE_KEYS": key_file(environment).read_text()}
    stopped = run(
        environment, "rotate", "--by", "c", "--reason", "r", "--owner-url-file", str(tmp_path / "owner"), **where
    )
    assert stopped.exit_code == 5
    assert "where their file is" in stopped.output
    assert "SECRET" not in stopped.output
