"""The benchmark of the encoding: that it measures what it says, on a few hundred people."""

import json
import time
from pathlib import Path

import pytest

from benchmarks import encoding as benchmark
from benchmarks.encoding import STAGES, Clock, main, measure, table
from pseudonymise import encoding


def test_a_stage_does_not_count_what_it_calls() -> None:
    def work(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    clock = Clock()
    inner = clock.timed("inner", lambda: work(0.04))
    clock.timed("outer", lambda: (work(0.02), inner(), inner()))()
    assert clock.seconds["inner"] == pytest.approx(0.08, abs=0.02)
    assert clock.seconds["outer"] == pytest.approx(0.02, abs=0.015)


def test_every_stage_is_a_function_of_the_encoding_and_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "HASHES", 1000)
    before = encoding._apply
    figures = measure(300)
    assert encoding._apply is before
    assert figures["persons"] == 300
    assert set(figures["stages"]) == {*STAGES.values(), "all else"}
    assert sum(figures["stages"].values()) == pytest.approx(1)
    for rates in figures["rates"].values():
        assert rates["alone"] > rates["normalised"] > 0
    assert figures["memory_mb"]["peak"] >= figures["memory_mb"]["people"] > 10
    assert "match keys" in table([figures])


def test_sizes_are_measured_in_processes_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--persons", "200", "--json", str(tmp_path / "out.json")])
    (figures,) = json.loads((tmp_path / "out.json").read_text())
    assert figures["persons"] == 200
    assert "where the encoding's time goes" in capsys.readouterr().out
