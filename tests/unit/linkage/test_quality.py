"""Figures of quality against sums done by hand."""

import polars as pl
import pytest

from linkage.quality import LinkageQuality, measure_quality


def measure(found: dict[str, int | None], truth: dict[str, str]) -> LinkageQuality:
    return measure_quality(
        pl.DataFrame(
            {"ref": list(found), "cluster": list(found.values())}, schema={"ref": pl.String, "cluster": pl.Int64}
        ),
        pl.DataFrame(
            {"ref": list(truth), "truth_person": list(truth.values())},
            schema={"ref": pl.String, "truth_person": pl.String},
        ),
        on=("ref",),
        cluster="cluster",
    )


TRUTH = {"a": "p", "b": "p", "c": "p", "d": "q", "e": "q", "f": "r"}


def test_a_perfect_linkage_has_ones_throughout() -> None:
    quality = measure({"a": 1, "b": 1, "c": 1, "d": 2, "e": 2, "f": 3}, TRUTH)
    assert (quality.precision, quality.recall, quality.f1) == (1, 1, 1)
    assert (quality.bcubed_precision, quality.bcubed_recall, quality.bcubed_f1) == (1, 1, 1)
    assert quality.people_exactly_right == 1
    assert (quality.true_pairs, quality.pairs_found, quality.pairs_right) == (4, 4, 4)


def test_figures_are_those_of_a_sum_by_hand() -> None:
    # Clusters {a, b}, {c, d}, {e}, {f}. Pairs found ab, cd; right ab; true ab, ac, bc, de.
    quality = measure({"a": 1, "b": 1, "c": 2, "d": 2, "e": 3, "f": 4}, TRUTH)
    assert quality.precision == pytest.approx(1 / 2)
    assert quality.recall == pytest.approx(1 / 4)
    assert quality.f1 == pytest.approx(1 / 3)
    assert quality.bcubed_precision == pytest.approx((1 + 1 + 0.5 + 0.5 + 1 + 1) / 6)
    assert quality.bcubed_recall == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 0.5 + 0.5 + 1) / 6)
    assert quality.people_exactly_right == pytest.approx(1 / 3)
    assert (quality.records, quality.true_people, quality.people_found) == (6, 3, 4)


def test_records_left_out_count_as_not_found() -> None:
    quality = measure({"a": 1, "b": 1, "d": None, "e": None, "x": 1}, TRUTH)
    assert quality.pairs_found == 1
    assert quality.recall == pytest.approx(1 / 4)
    assert quality.people_found == 5


def test_nothing_to_find_is_perfect() -> None:
    quality = measure({}, {})
    assert (quality.precision, quality.recall, quality.bcubed_f1, quality.people_exactly_right) == (1, 1, 1, 1)


def test_a_record_in_two_clusters_is_refused() -> None:
    twice = pl.DataFrame({"ref": ["a", "a"], "cluster": [1, 2]})
    truth = pl.DataFrame({"ref": ["a"], "truth_person": ["p"]})
    with pytest.raises(ValueError, match="twice"):
        measure_quality(twice, truth, on=("ref",), cluster="cluster")
