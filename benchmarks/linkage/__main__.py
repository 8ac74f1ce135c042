"""Linkage side by side with its peers.

    python -m benchmarks.linkage                                         a quick round: small sets, methods of our lock
    python -m benchmarks.linkage --sets febrl3,febrl4 --methods all      whichever sets and methods
    python -m benchmarks.linkage --sets synthetic-20k,synthetic-183k,synthetic-1m --methods all --growth
    python -m benchmarks.linkage --method mine=some.module:function      any function from Data to found clusters
    python -m benchmarks.linkage --list                                  names of sets and methods

One table a set. Cost comes first as a ratio to clear-text Splink with average linkage, where that ran in the same
round, since seconds are those of one machine. Memory is the largest sum over the method's processes, looked at every
tenth of a second, in a fresh process for every method and set.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.linkage import environment
from benchmarks.linkage.data import RECIPES, cached
from benchmarks.linkage.measures import GroupRates, gaps
from benchmarks.linkage.methods import BAR, METHODS

QUICK_SETS = ("synthetic-20k", "synthetic-20k-blank", "rough-20k", "simulation-20k", "simulation-20k-blank")
QUICK_METHODS = ("one-hmac", "6-keys", "15-keys", "ours", "splink-clear")
CEILING = 0.03
LOOK_EVERY = 0.1

Line = dict[str, Any]


def run_apart(method: str, path: Path) -> list[Line]:
    """A method on a set in a process of its own; on failure one line that says so."""
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.linkage.run", method, str(path), str(out)]
        with (Path(folder) / "said").open("w+") as said:
            child = subprocess.Popen(command, stdout=said, stderr=said)
            peak = _watch(child)
            if child.returncode:
                said.seek(0)
                last = (said.read().strip().splitlines() or ["nothing was said"])[-1]
                return [{"set": path.stem, "method": method.split("=")[0], "failed": last}]
        lines: list[Line] = json.loads(out.read_text())
    for line in lines:
        line["peak_memory_mb"] = round(peak / 2**20)
        line["load_before"] = round(load_before, 2)
    return lines


def _watch(child: "subprocess.Popen[bytes]") -> int:
    """The largest memory of a process and its descendants together, in bytes, until it ends."""
    peak, process = 0, psutil.Process(child.pid)
    while child.poll() is None:
        total = 0
        try:
            family = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for member in family:
            try:
                total += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, total)
        time.sleep(LOOK_EVERY)
    child.wait()
    return peak


def table(lines: Sequence[Line]) -> str:
    """One set's lines as text."""
    bar = next((line for line in lines if line["method"] == BAR and "failed" not in line), None)
    width = max(len(line["method"]) for line in lines) + 1
    heads = ("precision", "recall", "F1", "B-cubed", "exact", "CPU/bar", "mem/bar", "CPU s", "wall s", "MB")
    records = next((line["records"] for line in lines if "records" in line), 0)
    out = [f"{lines[0]['set']}: {records:,} records", f"{'':{width}}" + "".join(f"{head:>10}" for head in heads)]
    chosen = []
    for line in lines:
        if "failed" in line:
            out.append(f"{line['method']:{width}} could not run: {line['failed']}")
            continue
        name = line["method"] + ("*" if line["threshold_chosen_with_truth"] else "")
        shares = (line["precision"], line["recall"], line["f1"], line["bcubed_f1"], line["people_exactly_right"])
        ratios = [
            f"{line[key] / bar[key]:>10.2f}" if bar else f"{'-':>10}" for key in ("cpu_seconds", "peak_memory_mb")
        ]
        out.append(
            f"{name:{width}}"
            + "".join(f"{share:>10.4f}" for share in shares)
            + "".join(ratios)
            + f"{line['cpu_seconds']:>10.1f}{line['wall_seconds']:>10.1f}{line['peak_memory_mb']:>10}"
        )
        if line["threshold_chosen_with_truth"]:
            chosen.append(f"{line['method']}: {line['setting']}")
    if chosen:
        out.append(f"* threshold chosen with the truth ({'; '.join(chosen)})")
    return "\n".join(out)


def group_table(line: Line, ceiling: float) -> str:
    """A method's error rates by subgroup, and the gaps."""
    rates = [
        GroupRates(**{key: value for key, value in group.items() if not key.endswith("_rate")})
        for group in line["groups"]
    ]
    out = [f"{line['set']}, {line['method']}: error rates by subgroup"]
    out += [
        f"  {rate.attribute:22} {rate.group:14} {rate.records:>9} records   missed {rate.missed_rate:7.4f} of "
        f"{rate.true_sides:>8}   false {rate.false_rate:7.4f} of {rate.linked_sides:>8}"
        for rate in rates
    ]
    return "\n".join(out + [f"  {gap.line(ceiling)}" for gap in gaps(rates)])


def growth(lines: Sequence[Line]) -> str:
    """How cost grows with the size of sets of one kind: ``records ^ power`` between smallest and largest."""
    kinds: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        kind = "-".join(part for part in line["set"].split("-") if not part[0].isdigit())
        if "failed" not in line:
            kinds.setdefault((kind, line["method"]), []).append(line)
    out = ["Growth from the smallest to the largest set of a kind (cost as records to the power of)"]
    for (kind, method), group in kinds.items():
        small, large = (pick(group, key=lambda line: line["records"]) for pick in (min, max))
        times = large["records"] / small["records"]
        if times < 2:
            continue
        power = {key: math.log(large[key] / small[key]) / math.log(times) for key in ("cpu_seconds", "peak_memory_mb")}
        out.append(
            f"  {kind:18} {method:26} {small['records']:>9,} to {large['records']:>9,} records: "
            f"CPU {small['cpu_seconds']:.1f} to {large['cpu_seconds']:.1f} s (power {power['cpu_seconds']:.2f}), "
            f"memory {small['peak_memory_mb']} to {large['peak_memory_mb']} MB (power {power['peak_memory_mb']:.2f})"
        )
    return "\n".join(out)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(QUICK_SETS), help="names with commas")
    parser.add_argument("--methods", default=",".join(QUICK_METHODS), help="names with commas, or all")
    parser.add_argument("--method", action="append", default=[], help="name=module:function; may be repeated")
    parser.add_argument("--cache", type=Path, help="folder for the sets (a temporary one if not given)")
    parser.add_argument("--groups", default="ours", help="methods whose subgroup rates are printed")
    parser.add_argument("--ceiling", type=float, default=CEILING, help="of the gap between subgroups")
    parser.add_argument("--growth", action="store_true", help="compare the cost at the sizes that were run")
    parser.add_argument("--json", type=Path, help="all figures; lines are added set by set")
    parser.add_argument("--list", action="store_true", help="names of sets and methods")
    return parser


def main() -> None:
    """Run, print, write."""
    parser = make_parser()
    options = parser.parse_args()
    if options.list:
        for name, about in [(r.name, r.about) for r in RECIPES.values()] + [
            (m.name, m.about) for m in METHODS.values()
        ]:
            print(f"{name:28} {about}")
        return
    methods = list(METHODS) if options.methods == "all" else [name for name in options.methods.split(",") if name]
    sets = options.sets.split(",")
    unknown = [name for name in methods if name not in METHODS] + [name for name in sets if name not in RECIPES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)} (--list shows the names)")
    methods += options.method
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} at the start", flush=True)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary)
        for name in sets:
            path = cached(name, cache, environment.febrl())
            mine: list[Line] = []
            for method in methods:
                mine += run_apart(method, path)
            lines += mine
            print(f"\n{table(mine)}", flush=True)
            for line in mine:
                if line["method"].split(", ")[0] in options.groups.split(",") and "failed" not in line:
                    print(f"\n{group_table(line, options.ceiling)}", flush=True)
            if options.json:
                options.json.write_text(json.dumps(lines, indent=1) + "\n")
    if options.growth:
        print(f"\n{growth(lines)}")


if __name__ == "__main__":
    main()
