"""The benchmark of linkage: that it measures what it says, on a few hundred people."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.linkage.__main__ import growth, make_parser, run_apart, table
from benchmarks.linkage.components import connect
from benchmarks.linkage.data import (
    IDENTIFIERS,
    NUMBERS,
    RECIPES,
    RECORD,
    Data,
    cached,
    make_synthetic,
    read,
    without_numbers,
)
from benchmarks.linkage.measures import gaps, rates_by_group
from benchmarks.linkage.methods import METHODS, Choices
from benchmarks.linkage.run import run
from benchmarks.linkage.splink_clear import average_linkage
from linkage.quality import measure_quality

IN_LOCK = [method.name for method in METHODS.values() if not method.needs_peers]


@pytest.fixture(scope="module")
def data() -> Data:
    """Some 800 records of 500 people."""
    return make_synthetic("few", records=800, seed=4)


def test_a_set_hides_its_truth_from_linkers(data: Data) -> None:
    assert not [name for name in data.records.columns if name.startswith("truth_")]
    assert set(data.records.columns) - {*RECORD} <= {*IDENTIFIERS}
    assert data.rows.select(RECORD).n_unique() == data.rows.height
    for partner in data.duplicate_free:
        own = data.rows.filter(pl.col("partner_id") == partner)
        assert own["truth_person"].n_unique() == own.height


def test_blanking_leaves_no_number(data: Data) -> None:
    blank = without_numbers("few-blank", data)
    held = [name for name in NUMBERS if name in blank.rows.columns]
    assert held
    assert blank.rows.select(held).null_count().row(0) == (data.rows.height,) * len(held)
    assert blank.truth.equals(data.truth)


def test_a_cached_set_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    path = cached("synthetic-1k", tmp_path, None)
    made = read(path)
    assert made.name == "synthetic-1k"
    assert made.duplicate_free == ("jobcentre_east", "riverside_nhs")
    assert 900 < made.rows.height < 1100
    written = path.stat().st_mtime_ns
    assert cached("synthetic-1k", tmp_path, None).stat().st_mtime_ns == written


@pytest.mark.parametrize("name", IN_LOCK)
def test_every_method_of_our_lock_finds_most_people(name: str, data: Data) -> None:
    lines = run(name, METHODS[name].load(), data)
    expected = {"splink-clear": 2}
    assert len(lines) == expected.get(name, 1)
    for line in lines:
        assert line["records"] == data.rows.height
        assert line["threshold_chosen_with_truth"] == (name == "splink-clear")
        assert line["cpu_seconds"] >= 0
        assert line["f1"] > (0.5 if name == "one-hmac" else 0.9)


def test_the_rates_of_an_attribute_add_up_to_the_whole(data: Data) -> None:
    found = METHODS["6-keys"].load()(data)
    assert isinstance(found, pl.DataFrame)
    quality = measure_quality(found, data.truth, on=RECORD, cluster="cluster")
    rates = rates_by_group(found, data)
    for attribute in {rate.attribute for rate in rates}:
        mine = [rate for rate in rates if rate.attribute == attribute]
        assert sum(rate.records for rate in mine) == quality.records
        assert sum(rate.true_sides for rate in mine) == 2 * quality.true_pairs
        assert sum(rate.missed_sides for rate in mine) == 2 * (quality.true_pairs - quality.pairs_right)
        assert sum(rate.linked_sides for rate in mine) == 2 * quality.pairs_found
        assert sum(rate.false_sides for rate in mine) == 2 * (quality.pairs_found - quality.pairs_right)
    assert {"sex", "age band", "name origin", "twin", "household", "date of birth", "any number"} <= {
        rate.attribute for rate in rates
    }


def test_a_linkage_that_fails_one_sex_is_over_the_ceiling(data: Data) -> None:
    true = data.truth.with_columns(cluster="truth_person").select(*RECORD, "cluster", "truth_sex")
    women_alone = true.with_columns(
        cluster=pl.when(pl.col("truth_sex") == "female").then(pl.concat_str(RECORD)).otherwise("cluster")
    )
    (fair,) = (gap for gap in gaps(rates_by_group(true, data)) if gap.attribute == "sex")
    (unfair,) = (gap for gap in gaps(rates_by_group(women_alone, data)) if gap.attribute == "sex")
    assert (fair.missed, fair.false) == (0.0, 0.0)
    assert "under the ceiling" in fair.line(0.03)
    assert (unfair.missed, unfair.worst_missed) == (1.0, "female")
    assert "OVER the ceiling" in unfair.line(0.03)


def test_the_setting_that_the_truth_likes_best_is_taken_and_said(data: Data) -> None:
    everyone_alone = data.rows.select(*RECORD, cluster=pl.int_range(pl.len()))
    truth = data.rows.select(*RECORD, cluster="truth_person")
    (line,) = run("mine", lambda _: Choices({("a", "bad"): lambda: everyone_alone, ("a", "good"): lambda: truth}), data)
    assert (line["setting"], line["f1"], line["threshold_chosen_with_truth"]) == ("good", 1.0, True)
    told = table([line | {"peak_memory_mb": 1}])
    assert "threshold chosen with the truth (mine, a: good)" in told


def test_a_method_runs_in_a_process_of_its_own_and_a_failing_one_is_told(tmp_path: Path, data: Data) -> None:
    path = tmp_path / "few.parquet"
    data.rows.write_parquet(path, metadata={"duplicate_free": ",".join(data.duplicate_free)})
    (line,) = run_apart("mine=benchmarks.linkage.keys:link_by_six_keys", path)
    assert line["method"] == "mine"
    assert line["peak_memory_mb"] > 20
    (failed,) = run_apart("mine=benchmarks.linkage.keys:nothing_of_that_name", path)
    assert "nothing_of_that_name" in failed["failed"]
    assert "could not run" in table([failed])


def test_growth_is_told_as_a_power_of_the_records() -> None:
    lines = [
        {"set": f"synthetic-{size}", "method": "m", "records": n, "cpu_seconds": n / 100, "peak_memory_mb": 100}
        for size, n in (("1k", 1000), ("100k", 100_000))
    ]
    assert "CPU 10.0 to 1000.0 s (power 1.00), memory 100 to 100 MB (power 0.00)" in growth(lines)


def test_records_are_connected_over_any_number_of_links() -> None:
    chain = pl.DataFrame({"left": [8, 1, 6, 4, 2], "right": [6, 2, 4, 2, 1]})
    assert connect(10, chain).tolist() == [0, 1, 1, 3, 1, 5, 1, 7, 1, 9]


def test_average_linkage_parts_two_families_that_one_link_joins() -> None:
    label = np.array([0, 0, 0, 0])
    score = {(0, 1): 9.0, (2, 3): 8.0, (1, 2): 5.0, (0, 2): -9.0, (0, 3): -9.0, (1, 3): -9.0}
    pairs = pl.DataFrame({"left": [a for a, _ in score], "right": [b for _, b in score], "score": list(score.values())})
    assert average_linkage(label, np.arange(4), pairs, 3.0, absent=-15.0).tolist() == [0, 0, 2, 2]
    assert average_linkage(label, np.arange(4), pairs, -20.0, absent=-15.0).tolist() == [0, 0, 0, 0]


def test_names_of_sets_and_methods_are_listed_and_an_unknown_one_is_refused() -> None:
    root = Path(__file__).parents[3]
    listed = subprocess.run(
        [sys.executable, "-m", "benchmarks.linkage", "--list"], cwd=root, capture_output=True, text=True, check=True
    )
    for name in ("febrl4", "synthetic-1m-blank", "splink-clear", "opprl"):
        assert name in listed.stdout
    refused = subprocess.run(
        [sys.executable, "-m", "benchmarks.linkage", "--sets", "nothing"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "unknown: nothing" in refused.stderr


def test_every_set_method_and_option_that_the_readme_names_exists() -> None:
    text = (Path(__file__).parents[3] / "benchmarks" / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ python -m benchmarks\.linkage (.*)$", text, flags=re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        options = make_parser().parse_args(command.split())
        assert set(options.sets.split(",")) <= set(RECIPES)
        assert options.methods == "all" or set(options.methods.split(",")) <= set(METHODS)
    assert {name.split(" ")[0] for name in re.findall(r"^\| `([\w-]+)` \([\d,]+\)", text, re.MULTILINE)} <= set(RECIPES)
