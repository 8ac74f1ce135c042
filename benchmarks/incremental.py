"""What a linkage of new records costs beside a full one, and whether it finds the same persons.

    python -m benchmarks.incremental                                        1 and 10 % new of 20,000 records
    python -m benchmarks.incremental --sets synthetic-20k,synthetic-183k    other sets of ``benchmarks.linkage``

Of a set, a share of the records drawn at random is new. The others are linked first, which fits the model; then all
are, with that model, once in full and once knowing what the first run compared. Each run is a process of its own. Its
seconds are those of scoring and clustering; reading what the earlier run left is counted, the start of Python and of
the engine is not. Its memory is the peak of the process, with match keys and encodings of all records in it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.linkage.data import RECORD, cached, read
from benchmarks.linkage.normal import normalise_records
from benchmarks.linkage.run import cpu_seconds
from linkage.classes import ClassModel
from linkage.cluster import cluster_records
from linkage.quality import measure_quality
from linkage.scoring import ScorePolicy, score_records
from linkage.vectors import duckdb_engine
from pseudonymise.encoding import encode_persons
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import build_match_keys

SETS = ("synthetic-20k",)
SHARES = (0.01, 0.1)
SEED = 1
RUNS = ("first", "full", "incremental")


def prepare(name: str, cache: Path, folder: Path) -> None:
    """Match keys, encodings and the policy of a set, as the warehouse would have them."""
    data = read(cached(name, cache, None))
    key_ring = KeyRing(bytes(range(32)), bytes(range(32, 64)), datetime(2026, 1, 1, tzinfo=UTC))
    normal, refs = normalise_records(data), data.rows["person_ref"]
    keys = build_match_keys(normal, refs, key_ring).join(data.rows.select(RECORD), on="person_ref")
    keys.sort(*RECORD, "key_name", "token").write_parquet(folder / "keys.parquet")
    encodings = encode_persons(normal, refs, key_ring).with_columns(data.rows["partner_id"])
    encodings.write_parquet(folder / "encodings.parquet")
    (folder / "policy.json").write_text(ScorePolicy(duplicate_free=data.duplicate_free).model_dump_json())


def run(kind: str, share: float, folder: Path) -> dict[str, Any]:
    """One linkage; leaves what the next needs in the folder."""
    import splink  # noqa: F401

    keys, encodings = (pl.read_parquet(folder / f"{name}.parquet") for name in ("keys", "encodings"))
    policy = ScorePolicy.model_validate_json((folder / "policy.json").read_text())
    model = None
    if kind == "first":
        held = encodings.select(RECORD).sample(fraction=1 - share, shuffle=True, seed=SEED)
        keys, encodings = (frame.join(held, on=RECORD, how="semi") for frame in (keys, encodings))
    else:
        model = ClassModel.from_dict(json.loads((folder / "model.json").read_text()))
    engine = duckdb_engine()
    began = cpu_seconds()
    earlier = pl.read_parquet(folder / "compared.parquet") if kind == "incremental" else None
    scored = score_records(keys, encodings, policy, engine, model=model, earlier=earlier)
    members = cluster_records(scored).members
    spent = cpu_seconds() - began
    members.write_parquet(folder / f"{kind}.parquet")
    if kind == "first":
        scored.compared.write_parquet(folder / "compared.parquet")
        (folder / "model.json").write_text(json.dumps(scored.model.as_dict()))
    return {
        "records": scored.records.height,
        "pairs": scored.pairs.height,
        "compared": scored.compared_anew,
        "cpu_seconds": spent,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def apart(*arguments: str) -> str:
    """This module in a process of its own; what it printed."""
    command = [sys.executable, "-m", "benchmarks.incremental", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def compare(name: str, cache: Path, shares: Sequence[float]) -> list[dict[str, Any]]:
    """A line for each share of a set."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="linkarms-incremental-") as home:
        folder = Path(home)
        apart("--prepare", name, home, "--cache", str(cache))
        for share in shares:
            runs = {kind: json.loads(apart("--run", kind, str(share), home)) for kind in RUNS}
            full, found = (pl.read_parquet(folder / f"{kind}.parquet") for kind in ("full", "incremental"))
            quality = measure_quality(found, full.rename({"cluster": "truth_person"}), on=RECORD, cluster="cluster")
            lines.append({"set": name, "share": share, "bcubed": quality.bcubed_f1, **runs})
    return lines


def show(line: dict[str, Any]) -> str:
    """A row of the table."""
    full, found = line["full"], line["incremental"]
    cells = (
        f"`{line['set']}` ({full['records']:,})",
        f"{line['share']:.0%}",
        f"{full['compared']:,}",
        f"{found['compared']:,}",
        f"{full['cpu_seconds']:.1f} / {full['peak_mb']:,.0f}",
        f"{found['cpu_seconds']:.1f} / {found['peak_mb']:,.0f}",
        f"{found['cpu_seconds'] / full['cpu_seconds']:.2f}",
        f"{line['bcubed']:.4f}",
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.incremental", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--sets", default=",".join(SETS), help="sets of benchmarks.linkage, joined by commas")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "linkarms-benchmarks")
    parser.add_argument("--prepare", nargs=2, metavar=("SET", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=3, metavar=("KIND", "SHARE", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.prepare:
        prepare(given.prepare[0], given.cache, Path(given.prepare[1]))
    elif given.run:
        print(json.dumps(run(given.run[0], float(given.run[1]), Path(given.run[2]))))
    else:
        print(
            "| set (records) | new | pairs compared in full | when incremental | full: CPU s / MB |"
            " incremental: CPU s / MB | ratio of CPU | B-cubed F1 against full |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for name in given.sets.split(","):
            for line in compare(name, given.cache, SHARES):
                print(show(line), flush=True)


if __name__ == "__main__":
    main()
