"""How quickly people are encoded on one core, and where the time goes.

    python -m benchmarks.encoding                      20,000, 100,000 and 500,000 persons
    python -m benchmarks.encoding --persons 20000      another size; more with commas
    python -m benchmarks.encoding --json out.json      all figures as JSON besides

Two things are timed: the whole token set (:mod:`pseudonymise.encoding`) and the composite match keys alone
(:mod:`pseudonymise.match_keys`), both under two layers of keys, and each with and without normalisation before it. The
people are those of the independent simulation (:mod:`benchmarks.linkage.simulation`).

Each size is a process of its own with one Polars thread, so that persons a second are persons a second and core.
Seconds are processor seconds, which other work on the machine blurs least, after a few people who warm the process up.
Memory is the largest that the system reports for the process, the people in clear included; it is told of the process
before anything was encoded as well. In the same process keyed hashes of distinct texts are timed, as polars-hash gives
them: every token of a match key costs two, so that half their number a second over the tokens a person has is what
match keys can come to at most.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

SIZES = (20_000, 100_000, 500_000)
TARGETS = {"encoding": 20_000, "match keys": 100_000}
"""Persons a second and core that were aimed at."""
SEED = 5
HASHES = 1_000_000
WARMING = 100
STAGES = {
    "_Inner._value": "variants of distinct values",
    "_Inner._salt": "distinct salts",
    "_hash": "HMAC of distinct values and salts",
    "_places": "looking up what is distinct",
    "_first_of_their_kind": "which values meet which salts",
    "_joined": "which values meet which salts",
    "_Inner.blocks": "putting values and salts together",
    "_apply": "AES, both layers",
    "_order_in_rows": "filters",
    "_set_bits": "filters",
    "_Outer._fold": "filters",
    "_filter_columns": "filters",
    "_list_of_tokens": "sorting and lists",
}
"""Functions of the encoding -> the stage that their own time counts for."""

Figures = dict[str, Any]


class Clock:
    """Processor seconds of stages; a stage that calls another does not count that one's."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = [0.0]

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its own time counted for a stage."""

        @wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            self._inside.append(0.0)
            began = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                took = time.process_time() - began
                self.seconds[stage] = self.seconds.get(stage, 0.0) + took - self._inside.pop()
                self._inside[-1] += took

        return run

    @contextmanager
    def of_encoding(self) -> Any:
        """Times the stages of the encoding meanwhile."""
        from pseudonymise import encoding

        with ExitStack() as stack:
            for path, stage in STAGES.items():
                *owners, name = path.split(".")
                owner: Any = getattr(encoding, owners[0]) if owners else encoding
                stack.enter_context(patch.object(owner, name, self.timed(stage, getattr(owner, name))))
            yield


def _seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    made = function()
    return time.process_time() - began, made


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux


def measure(persons: int) -> Figures:
    """All figures of one size, in this process."""
    import polars as pl

    from benchmarks.linkage.simulation import simulate
    from protocol.model import IdentifierRole
    from pseudonymise.encoding import encode_persons
    from pseudonymise.keys import KeyRing
    from pseudonymise.match_keys import build_match_keys
    from pseudonymise.normalise import normalise
    from pseudonymise.tokens import derive_inner

    # The simulation gives each of its people to some 1.6 partners.
    rows = simulate(max(persons, 100), SEED).head(persons)
    refs = pl.Series("person_ref", [str(number) for number in range(rows.height)])
    columns = {role: role.value for role in IdentifierRole if role.value in rows.columns}
    keys = KeyRing(bytes(range(32)), bytes(range(32, 64)), datetime(2026, 1, 1, tzinfo=UTC))
    few = normalise(rows.head(WARMING), columns, date(2026, 9, 30))
    build_match_keys(few, refs.head(WARMING), keys)
    encode_persons(few, refs.head(WARMING), keys)
    before = _peak_mb()
    normalising, normal = _seconds(lambda: normalise(rows, columns, date(2026, 9, 30)))
    normalised = _peak_mb()
    matching, match_keys = _seconds(lambda: build_match_keys(normal, refs, keys))
    tokens = match_keys.height / rows.height
    del match_keys
    encoding, encodings = _seconds(lambda: encode_persons(normal, refs, keys))
    peak = _peak_mb()
    del encodings
    texts = pl.Series([f"5:smith,10:{number:010}," for number in range(HASHES)])
    hashing, _ = _seconds(lambda: derive_inner(texts, "ab" * 32))
    clock = Clock()
    with clock.of_encoding():
        _seconds(clock.timed("all else", lambda: encode_persons(normal, refs, keys)))
    whole = sum(clock.seconds.values())
    return {
        "persons": rows.height,
        "rates": {
            "encoding": {"alone": rows.height / encoding, "normalised": rows.height / (encoding + normalising)},
            "match keys": {"alone": rows.height / matching, "normalised": rows.height / (matching + normalising)},
        },
        "normalised_a_second": rows.height / normalising,
        "hmac_a_second": HASHES / hashing,
        "match_key_tokens_a_person": tokens,
        "most_match_keys_a_second": HASHES / hashing / (2 * tokens),
        "memory_mb": {"people": before, "normalised": normalised, "peak": peak},
        "stages": {
            stage: seconds / whole for stage, seconds in sorted(clock.seconds.items(), key=lambda each: -each[1])
        },
    }


def measure_apart(persons: int) -> Figures:
    """All figures of one size, in a process of its own with one Polars thread."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.encoding", "--child", str(persons)],
        env={**os.environ, "POLARS_MAX_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: Figures = json.loads(done.stdout)
    return figures


def table(figures: Sequence[Figures]) -> str:
    """The figures as text."""
    out = ["persons a second and core"]
    out.append(f"{'persons':>9}{'':12}{'alone':>10}{'normalised':>12}{'aimed at':>10}")
    for of_size in figures:
        for name, rates in of_size["rates"].items():
            out.append(
                f"{of_size['persons']:>9,}  {name:10}{rates['alone']:>10,.0f}{rates['normalised']:>12,.0f}"
                f"{TARGETS[name]:>10,}"
            )
    for of_size in figures:
        memory = of_size["memory_mb"]
        out.append(
            f"\n{of_size['persons']:,} persons: normalised alone {of_size['normalised_a_second']:,.0f} a second; "
            f"{of_size['hmac_a_second'] / 1e6:.2f} million HMAC a second, of which "
            f"{of_size['match_key_tokens_a_person']:.1f} match key tokens a person leave at most "
            f"{of_size['most_match_keys_a_second']:,.0f} persons; memory {memory['people']:,.0f} MB with the people, "
            f"{memory['normalised']:,.0f} MB normalised, {memory['peak']:,.0f} MB at the most"
        )
        out.append("where the encoding's time goes:")
        out += [f"  {stage:36}{share:6.1%}" for stage, share in of_size["stages"].items()]
    return "\n".join(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", default=",".join(map(str, SIZES)), help="sizes with commas")
    parser.add_argument("--json", type=Path, help="all figures")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child is not None:
        print(json.dumps(measure(options.child)))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} at the start", flush=True)
    figures = [measure_apart(int(persons)) for persons in options.persons.split(",")]
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
