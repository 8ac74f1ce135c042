"""Of an extract that is pseudonymised at the source nothing leaves the office in clear, and no inner token rests
anywhere but in an envelope."""

import logging
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pipeline.intake_steps import check_submission, load_submission, pseudonymise_submission, receive_submissions
from pseudonymise.at_source import unpack_encodings
from synthetic import Partnership
from tests.integration.pipeline.at_source import PASSPHRASE, drop_sealed, make_office, opened
from tests.integration.pipeline.world import NOW, World
from tests.privacy.canaries import Search
from tests.privacy.test_canaries import GOOD, KEYS, plant_good, read_key_secrets

PARTNER, PERIOD = "harbour_trust", "2026-Q2"
PLANTED = {**GOOD, **KEYS}


def inner_tokens(files: dict[str, bytes]) -> list[bytes]:
    """Some tokens of each kind, as they stand in the envelope and as bytes."""
    person = pl.read_csv(files["person.csv"], infer_schema=False)
    keys = pl.read_csv(files["match_keys.csv"], infer_schema=False)
    encodings = unpack_encodings(pl.read_csv(files["encodings.csv"], infer_schema=False))
    blocks = encodings["forename"].drop_nulls().explode()
    tokens = [*person["row_key"].head(20), *person["person_ref"].head(20), *keys["token"].head(50)]
    return [*(bytes.fromhex(token) for token in tokens), *blocks.head(50)]


def test_no_canary_no_inner_token_and_no_key_is_anywhere_it_should_not_be(
    world: World,
    partnership: Partnership,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    scratch = tmp_path / "scratch"
    world = replace(world, settings=replace(world.settings, scratch_folder=scratch))
    office = make_office(world, tmp_path)
    tables = plant_good(partnership.extracts[PARTNER, PERIOD])
    made = office.pseudonymise(tables, partnership.manifests[PARTNER, PERIOD])
    assert made.path is not None
    files = opened(world, made.path)

    # What leaves the office, opened: the search finds what is planted, were it there.
    sent, given = Search(), Search()
    for path in (office.folder / "office" / "extract").iterdir():
        given.add(path.name, path.read_bytes())
    assert [name for name, canary in PLANTED.items() if not given.holds(canary)] == []
    for name, raw in files.items():
        sent.add(name, raw)
        if name == "encodings.csv":
            blocks = unpack_encodings(pl.read_csv(raw, infer_schema=False))["forename"].explode().drop_nulls()
            sent.add("blocks", b"".join(blocks))
    secrets = read_key_secrets(world)
    assert sent.find(PLANTED) == []
    assert sent.find_bytes([*secrets, PASSPHRASE.encode()]) == []

    # The hub after each step, with its database and logs.
    tokens = inner_tokens(files)
    assert len(tokens) > 100
    assert set(sent.find_bytes(tokens)) >= {"person.csv", "match_keys.csv", "blocks"}
    drop_sealed(world, PARTNER, made.path)
    told = [repr(made), repr(office.keys), repr(world.settings)]
    (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
    told.append(repr(waiting))
    for step in (lambda *_, **__: None, check_submission, pseudonymise_submission, load_submission):
        told.append(repr(step(waiting["submission_id"], world.settings, now=NOW)))
        search = Search()
        search.add_home(world.home)
        search.add_home(tmp_path / "scratch")
        if step is load_submission:
            search.add_database(world)
        assert search.find(PLANTED) == []
        assert search.find_bytes([*tokens, *secrets]) == []
        assert not scratch.exists() or list(scratch.iterdir()) == []
    assert world.query("select state from governance.submission") == [("loaded",)]
    out, err = capfd.readouterr()
    logs = "\n".join(f"{record.__dict__} {record.getMessage()}" for record in caplog.records)
    search = Search()
    for place, text in {"output": out, "errors": err, "logs": logs, "returned": "\n".join(told)}.items():
        search.add(place, text)
    search.add("log of the database", world.server.state().log.read_bytes())
    assert search.find(PLANTED) == []
    assert search.find_bytes([*tokens, *secrets, PASSPHRASE.encode()]) == []


def test_the_search_finds_an_inner_token_that_lies_open(world: World, partnership: Partnership, tmp_path: Path) -> None:
    office = make_office(world, tmp_path)
    made = office.pseudonymise(partnership.extracts[PARTNER, PERIOD], partnership.manifests[PARTNER, PERIOD])
    assert made.path is not None
    files = opened(world, made.path)
    left = world.home / "work" / "left"
    left.mkdir(parents=True)
    (left / "person.csv").write_bytes(files["person.csv"])
    pl.read_csv(files["match_keys.csv"], infer_schema=False).write_parquet(left / "tokens.parquet")
    search = Search()
    search.add_home(world.home)
    found = set(search.find_bytes(inner_tokens(files)))
    assert found >= {"work/left/person.csv", "cells of work/left/tokens.parquet"}
