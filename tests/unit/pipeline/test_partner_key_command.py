"""`linkarms keys partner-key`: K1 goes out alone, locked, and only as the coordinator asks for it."""

from datetime import UTC, datetime
from pathlib import Path

from pseudonymise.keys import open_key_ring, write_key_ring
from pseudonymise.partner_key import open_partner_key
from tests.unit.pipeline.test_key_commands import environment, key_file, passphrase_file, run

__all__ = ["environment"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = "otter lantern gravel sunday"
Environment = dict[str, str | None]


def target(environment: Environment) -> Path:
    return Path(passphrase_file(environment)).parent / "k1.keys"


def opened(path: Path) -> str:
    return open_partner_key(f"file:{path}", passphrase=lambda: WORDS).k1_id


def test_the_k1_in_use_is_written_locked_and_no_secret_is_shown(environment: Environment) -> None:
    run(environment, "create")
    ring = open_key_ring(f"file:{key_file(environment)}", now=NOW)
    given = {"LINKARMS_K1_PASSPHRASE_FILE": passphrase_file(environment)}
    done = run(environment, "partner-key", "--out", str(target(environment)), **given)
    assert done.exit_code == 0, done.output
    assert ring.k1_id in done.output
    assert opened(target(environment)) == ring.k1_id
    secrets = [line.split("LINKARMS-SECRET-")[1] for line in key_file(environment).read_text().splitlines()[1:]]
    written = done.output + target(environment).read_text()
    assert not any(secret[:8] in written for secret in (*secrets, WORDS))
    assert run(environment, "partner-key", "--out", str(target(environment)), **given).exit_code == 5


def test_the_k1_that_waits_can_be_given_out_before_the_day(environment: Environment) -> None:
    run(environment, "create")
    source = f"file:{key_file(environment)}"
    given = {"LINKARMS_K1_PASSPHRASE_FILE": passphrase_file(environment)}
    arguments = ("partner-key", "--pending", "--out", str(target(environment)))
    none = run(environment, *arguments, **given)
    assert none.exit_code == 5
    assert "No K1 waits" in none.output
    ring = open_key_ring(source, now=NOW).with_new("K1", NOW)
    write_key_ring(source, ring)
    assert run(environment, *arguments, **given).exit_code == 0
    assert opened(target(environment)) == ring.pending("K1") != ring.k1_id


def test_without_a_passphrase_nothing_is_written(environment: Environment) -> None:
    run(environment, "create")
    done = run(environment, "partner-key", "--out", str(target(environment)))
    assert done.exit_code == 5
    assert "LINKARMS_K1_PASSPHRASE_FILE" in done.output
    assert not target(environment).exists()
