"""One method on one set, in this process: ``python -m benchmarks.linkage.run METHOD SET.parquet RESULT.json``.

Seconds of a line are those of linking, all child processes included, up to its scores, and of the one clustering that
the line shows. The start of Python, imports of the method's own module, clusterings at other settings and measuring are
not counted.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.linkage.data import RECORD, Data, read
from benchmarks.linkage.measures import rates_by_group
from benchmarks.linkage.methods import METHODS, Choices, Link, Method
from linkage.quality import LinkageQuality, measure_quality

STARTED = time.perf_counter()


def cpu_seconds() -> float:
    """User and system seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@dataclass(frozen=True)
class Spent:
    """Processor and wall seconds."""

    cpu: float
    wall: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.cpu + other.cpu, self.wall + other.wall)


def now() -> Spent:
    """Spent since the process began."""
    return Spent(cpu_seconds(), time.perf_counter() - STARTED)


def since(before: Spent) -> Spent:
    """Spent since then."""
    after = now()
    return Spent(after.cpu - before.cpu, after.wall - before.wall)


def run(method: str, link: Link, data: Data) -> list[dict[str, Any]]:
    """A line for each variant of the method, at the setting that the truth likes best where there is a choice."""
    read_in = now()
    made = link(data)
    scored = since(read_in)
    choices = made if isinstance(made, Choices) else Choices({("", ""): lambda found=made: found})
    best: dict[str, tuple[LinkageQuality, str, Spent, pl.DataFrame]] = {}
    for (variant, setting), cluster in choices.clusterings.items():
        found, spent = _timed(cluster)
        quality = measure_quality(found, data.truth, on=RECORD, cluster="cluster")
        if variant not in best or quality.f1 > best[variant][0].f1:
            best[variant] = (quality, setting, spent, found)
    lines = []
    for variant, (quality, setting, spent, found) in best.items():
        total = scored + spent
        lines.append(
            {
                "set": data.name,
                "method": f"{method}, {variant}" if variant else method,
                "setting": setting,
                "threshold_chosen_with_truth": len(choices.clusterings) > 1,
                "cpu_seconds": round(total.cpu, 2),
                "wall_seconds": round(total.wall, 2),
                **quality.as_dict(),
                "groups": [rate.as_dict() for rate in rates_by_group(found, data)],
            }
        )
    return lines


def _timed(cluster: Callable[[], pl.DataFrame]) -> tuple[pl.DataFrame, Spent]:
    before = now()
    found = cluster()
    return found, since(before)


def main() -> None:
    """Write the lines."""
    method, path, out = sys.argv[1:4]
    chosen = METHODS.get(method) or Method(method.split("=")[0], method.split("=")[1], "")
    data = read(Path(path))
    Path(out).write_text(json.dumps(run(chosen.name, chosen.load(), data)))


if __name__ == "__main__":
    main()
