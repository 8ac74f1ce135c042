"""The model of classes: what it learns, from what, and how it is bounded."""

import json
import logging
from collections.abc import Mapping

import duckdb
import numpy as np
import polars as pl
import pytest

from linkage.classes import (
    NEAR_NAME,
    ClassModel,
    Coincidences,
    choose_threshold,
    count_patterns,
    fit_classes,
    reference_model,
    start_model,
)
from linkage.comparisons import COMPARISONS

NAMES = [comparison.name for comparison in COMPARISONS]
FULL = {comparison.name: len(comparison.levels) for comparison in COMPARISONS}


def pattern(**codes: int) -> list[int]:
    """A pattern of which nothing else is known."""
    return [codes.get(name, 0) for name in NAMES]


def even(*classes: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Levels of a model whose other comparisons say nothing of either side."""
    return {name: tuple(c.get(name, (1 / FULL[name],) * FULL[name]) for c in classes) for name in NAMES}


def draw(model: ClassModel, pairs: int, *, known: float = 0.8, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Patterns drawn from a model, and whether each is one person."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(len(model.shares), pairs, p=np.array(model.shares) / sum(model.shares))
    codes = np.zeros((pairs, len(NAMES)), dtype=np.int64)
    for place, name in enumerate(NAMES):
        for kind in range(len(model.shares)):
            those = np.flatnonzero(kinds == kind)
            levels = np.array(model.levels[name][kind])
            codes[those, place] = 1 + rng.choice(len(levels), len(those), p=levels / levels.sum())
        codes[rng.random(pairs) > known, place] = 0
    return codes, np.array(model.matches)[kinds]


def fit(codes: np.ndarray, forbidden: np.ndarray | None = None, **options) -> ClassModel:
    why = [None] * len(codes) if forbidden is None else ["nhs_number" if one else None for one in forbidden]
    frame = pl.DataFrame(codes, schema=dict.fromkeys(NAMES, pl.UInt8), orient="row")
    return fit_classes(
        *count_patterns(frame.with_columns(forbidden=pl.Series(why, dtype=pl.String))),
        **options,
    )


def sides(model: ClassModel, name: str) -> tuple[np.ndarray, np.ndarray]:
    """m and u of Fellegi and Sunter, over all classes of a side."""
    table, shares, match = np.array(model.levels[name]), np.array(model.shares), np.array(model.matches)
    m, u = ((shares[chosen] @ table[chosen]) / shares[chosen].sum() for chosen in (match, ~match))
    return m, u


def share_of_one_person(model: ClassModel) -> float:
    return sum(share for share, match in zip(model.shares, model.matches, strict=True) if match)


def log_likelihood(model: ClassModel, codes: np.ndarray) -> float:
    return float(np.logaddexp.reduce(model.log_weights(codes), axis=1).sum())


# --- what it learns ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted() -> ClassModel:
    """The reference model with other shares and other worths of levels."""
    model, rng = reference_model(), np.random.default_rng(7)
    shares = rng.dirichlet(np.array(model.shares) * 40)
    levels = {
        name: tuple(tuple((0.85 * np.array(row) + 0.15 * rng.dirichlet(np.ones(len(row)))).tolist()) for row in rows)
        for name, rows in model.levels.items()
    }
    return ClassModel(model.matches, tuple(shares.tolist()), levels)


def test_the_fit_finds_the_worths_and_shares_that_simulated_pairs_were_drawn_with(planted: ClassModel) -> None:
    codes, truth = draw(planted, 25_000)
    found = fit(codes)
    assert share_of_one_person(found) == pytest.approx(share_of_one_person(planted), abs=0.01)
    for name in NAMES:
        for mine, right in zip(sides(found, name), sides(planted, name), strict=True):
            # Two standard errors of a share of 8,000 pairs are .011; classes that overlap add to it.
            assert mine == pytest.approx(right, abs=0.03), name
    assert log_likelihood(found, codes) > log_likelihood(planted, codes)
    probabilities = found.probabilities(codes)
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)):
        those = (probabilities >= low) & (probabilities < high)
        # In a band of n pairs the share that is one person has a standard error of at most .5 / sqrt(n).
        assert truth[those].mean() == pytest.approx(probabilities[those].mean(), abs=0.01 + 1.5 / those.sum() ** 0.5)


def test_with_few_pairs_the_reference_holds_and_with_many_the_data(planted: ClassModel) -> None:
    def distance(pairs: int) -> float:
        found = fit(draw(planted, pairs)[0])
        return max(
            float(np.abs(mine - right).max())
            for name in NAMES
            for mine, right in zip(sides(found, name), sides(reference_model(), name), strict=True)
        )

    assert distance(0) < 1e-6
    assert distance(10) < 0.05
    assert distance(5_000) > 0.1


def test_with_one_class_a_side_it_is_the_fit_of_fellegi_and_sunter_that_splink_makes() -> None:
    """Splink's own expectation maximisation, from the same beginning over all pairs of 221 records."""
    from splink import DuckDBAPI, Linker, SettingsCreator
    from splink.comparison_library import ExactMatch

    rng = np.random.default_rng(5)
    records = []
    for person in range(120):
        for _ in range(rng.integers(1, 4)):
            known = {"phone": person // 2, "email": person, "nhs_number": person}
            records.append(
                {
                    name: None if rng.random() < 0.1 else value if rng.random() < 0.9 else 1000 + len(records)
                    for name, value in known.items()
                }
            )
    frame = pl.DataFrame(records).with_columns(record=pl.int_range(pl.len(), dtype=pl.Int64))
    start = {"phone": (0.8, 0.05), "email": (0.8, 0.05), "nhs_number": (0.8, 0.05)}
    settings = SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="record",
        comparisons=[
            ExactMatch(name).configure(m_probabilities=[m, 1 - m], u_probabilities=[u, 1 - u])
            for name, (m, u) in start.items()
        ],
        probability_two_random_records_match=0.1,
        em_convergence=1e-8,
        max_iterations=500,
    )
    with duckdb.connect() as connection:
        linker = Linker(DuckDBAPI(connection=connection).register(frame.to_arrow()), settings)
        logging.getLogger("splink").setLevel(logging.WARNING)
        session = linker.training.estimate_parameters_using_expectation_maximisation(
            "1=1", fix_u_probabilities=False, fix_probability_two_random_records_match=False
        )
        splink = session.core_model_settings

    pairs = frame.join(frame, how="cross", suffix="_other").filter(pl.col("record") < pl.col("record_other"))
    codes = pairs.select(
        pl.when(pl.col(name).is_null() | pl.col(f"{name}_other").is_null())
        .then(0)
        .otherwise(1 + (pl.col(name) == pl.col(f"{name}_other")).cast(pl.Int64))
        .alias(name)
        if name in start
        else pl.lit(0).alias(name)
        for name in NAMES
    )
    beginning = ClassModel(
        (False, True),
        (0.9, 0.1),
        even(
            {name: (1 - u, u) for name, (_, u) in start.items()}, {name: (1 - m, m) for name, (m, _) in start.items()}
        ),
    )
    found = fit(codes.to_numpy(), start=beginning, reference_pairs=1e-6)
    assert found.shares[1] == pytest.approx(splink.probability_two_random_records_match, rel=0.01)
    for comparison in splink.comparisons:
        agree, _ = (level for level in comparison.comparison_levels if not level.is_null_level)
        u, m = (row[1] for row in found.levels[comparison.output_column_name])
        assert m == pytest.approx(agree.m_probability, abs=0.005)
        assert u == pytest.approx(agree.u_probability, abs=0.0005)


def test_the_fit_is_the_same_every_time_and_whatever_the_order_of_pairs(planted: ClassModel) -> None:
    codes, _ = draw(planted, 3_000)
    assert fit(codes) == fit(codes) == fit(codes[::-1])


# --- what holds it in place -------------------------------------------------------------------------------------------


def test_pairs_that_cannot_be_one_person_teach_nothing_about_one_person(planted: ClassModel) -> None:
    codes, truth = draw(planted, 4_000)
    free, held = fit(codes), fit(codes, forbidden=truth)
    # All that is one person is forbidden, so nothing but the reference's pairs is left on that side.
    ours = 300 * share_of_one_person(reference_model())
    left = codes[~truth]
    expected = (ours + held.probabilities(left).sum()) / (len(codes) + 300)
    assert share_of_one_person(held) == pytest.approx(expected, abs=0.002)
    assert share_of_one_person(held) < 0.25 * share_of_one_person(free)


def test_the_share_of_strangers_in_one_file_is_known_and_not_estimated(planted: ClassModel) -> None:
    found = fit(draw(planted, 2_000)[0], one_file=0.3)
    for match, row in zip(found.matches, found.levels["one_file"], strict=True):
        assert match or row == (0.7, 0.3)
    assert any(row != (0.7, 0.3) for row in found.levels["one_file"])


def twins_or_new_names(twins: int) -> np.ndarray:
    """Pairs that agree on all but the forename, and on the date of birth: nothing tells twins from a new forename."""
    same = {name: FULL[name] for name in ("surname", "date_of_birth", "postcode")}
    return np.array([pattern(**same, forename=1)] * twins + [pattern(**same, forename=FULL["forename"])] * 2_000)


def on_one_day_and_two(model: ClassModel, codes: np.ndarray) -> float:
    return float((1 - model.probabilities(codes)).sum())


def test_of_pairs_of_one_day_no_more_are_two_people_than_there_can_be() -> None:
    codes = twins_or_new_names(1_000)
    free = fit(codes)
    assert on_one_day_and_two(free, codes) > 900
    bounded = fit(codes, coincidences=Coincidences(on_one_day=50.0, of_one_name_at_one_postcode=0.0))
    # The bound holds of the fit's own pairs; the 300 of the reference come on top.
    assert on_one_day_and_two(bounded, codes) < 150
    assert fit(codes, coincidences=Coincidences(on_one_day=5_000.0, of_one_name_at_one_postcode=0.0)) == free


def test_of_pairs_of_one_name_at_one_postcode_no_more_are_two_people_than_there_can_be() -> None:
    """Nothing tells fathers and sons of one name from people whose date of birth was taken down wrongly."""
    same = {name: FULL[name] for name in ("surname", "forename", "postcode")}
    codes = np.array([pattern(**same, date_of_birth=1)] * 1_000 + [pattern(**same, date_of_birth=5)] * 2_000)
    wrong_date = codes[:1]
    free = fit(codes)
    bounded = fit(codes, coincidences=Coincidences(on_one_day=5_000.0, of_one_name_at_one_postcode=50.0))
    assert free.probabilities(wrong_date)[0] < 0.2
    assert bounded.probabilities(wrong_date)[0] > 0.8
    assert fit(codes, coincidences=Coincidences(on_one_day=5_000.0, of_one_name_at_one_postcode=5_000.0)) == free


def test_the_bound_on_names_is_about_names_within_one_letter_and_closer_ones() -> None:
    for name in ("forename", "surname"):
        level = next(comparison for comparison in COMPARISONS if comparison.name == name).level(NEAR_NAME)
        assert level is not None
        assert level.words == f"{name} within one letter"


def test_no_pattern_is_under_two_bounds() -> None:
    every = [
        pattern(forename=forename, surname=6, date_of_birth=day, postcode=postcode)
        for forename in range(7)
        for day in range(6)
        for postcode in range(5)
    ]
    (one, _), (other, _) = Coincidences(1.0, 1.0).bounds(np.array(every))
    assert one.any()
    assert other.any()
    assert not (one & other).any()


def test_a_bound_of_none_is_kept_too() -> None:
    codes = twins_or_new_names(100)
    found = fit(codes, coincidences=Coincidences(0.0, 0.0))
    assert all(np.isfinite(found.shares))
    assert sum(found.shares) == pytest.approx(1)


# --- degenerate input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codes",
    [
        np.empty((0, len(NAMES)), dtype=np.int64),
        np.array([pattern()]),
        np.array([pattern()] * 500),
        np.array([[FULL[name] for name in NAMES]] * 500),
        np.array([[1] * len(NAMES)] * 500),
    ],
    ids=["no pair", "one unknown", "all unknown", "all agree", "all differ"],
)
def test_any_pairs_give_a_model_of_true_probabilities(codes: np.ndarray) -> None:
    for forbidden in (None, np.ones(len(codes), dtype=np.bool_)):
        found = fit(codes, forbidden, one_file=0.2, coincidences=Coincidences(1.0, 1.0))
        assert sum(found.shares) == pytest.approx(1)
        for name in NAMES:
            table = np.array(found.levels[name])
            assert np.all(table >= 0)
            assert table.sum(axis=1) == pytest.approx(1)
        probabilities = found.probabilities(codes)
        assert np.all((probabilities >= 0) & (probabilities <= 1))


def test_what_is_not_known_weighs_nothing() -> None:
    model = reference_model()
    assert model.probabilities(np.array([pattern()])) == pytest.approx(share_of_one_person(model), abs=1e-6)


def test_agreeing_more_is_never_weighed_as_less_by_the_reference_model_where_numbers_agree() -> None:
    model = reference_model()
    same = pattern(forename=FULL["forename"], surname=FULL["surname"], date_of_birth=FULL["date_of_birth"])
    for name in ("phone", "email", "nhs_number", "ni_number"):
        place = NAMES.index(name)
        rows = np.array([[*same[:place], code, *same[place + 1 :]] for code in (1, FULL[name])])
        differ, agree = model.probabilities(rows)
        assert differ < agree


# --- storing ----------------------------------------------------------------------------------------------------------


def test_a_model_comes_back_from_json_as_it_was(planted: ClassModel) -> None:
    assert ClassModel.from_dict(json.loads(json.dumps(planted.as_dict()))) == planted


@pytest.mark.parametrize("change", ["fewer", "more", "levels"])
def test_a_model_of_other_comparisons_is_refused(change: str) -> None:
    content = reference_model().as_dict()
    levels = content["levels"]
    if change == "fewer":
        del levels["phone"]
    elif change == "more":
        levels["shoe_size"] = levels["phone"]
    else:
        levels["phone"] = levels["forename"]
    with pytest.raises(ValueError, match="other comparisons"):
        ClassModel.from_dict(content)


# --- the threshold ----------------------------------------------------------------------------------------------------


def expected_f1(probabilities: np.ndarray, threshold: float) -> float:
    taken = probabilities >= threshold
    return 2 * probabilities[taken].sum() / (taken.sum() + probabilities.sum())


def test_the_threshold_is_half_of_the_greatest_f1_to_be_expected_and_gives_it() -> None:
    probabilities = np.random.default_rng(3).beta(0.05, 0.06, 5_000)
    chosen = choose_threshold(probabilities)
    best = max(expected_f1(probabilities, threshold) for threshold in np.linspace(0.01, 0.99, 981))
    assert chosen == pytest.approx(best / 2, abs=1e-3)
    assert expected_f1(probabilities, chosen) == pytest.approx(best, abs=1e-6)


def test_the_threshold_does_not_fall_far_below_one_half_where_there_is_little_to_go_by() -> None:
    assert choose_threshold(np.full(100, 0.2)) == 0.45
    assert choose_threshold(np.empty(0)) == 0.5
    assert choose_threshold(np.zeros(3)) == 0.5
    assert choose_threshold(np.ones(3)) == 0.5


# --- making the reference ---------------------------------------------------------------------------------------------


def test_a_beginning_without_a_reference_is_drawn_from_a_seed(planted: ClassModel) -> None:
    codes, truth = draw(planted, 2_000)
    arguments = codes, np.ones(len(codes)), np.where(truth, 0.9, 0.1), (False, False, True)
    model = start_model(*arguments, 1)
    assert model == start_model(*arguments, 1) != start_model(*arguments, 2)
    assert model.matches == (False, False, True)
    assert model.shares[2] == pytest.approx(0.1 + 0.8 * truth.mean(), abs=0.01)
    found = fit(codes, start=model, reference_pairs=1.0)
    assert np.mean((found.probabilities(codes) > 0.5) == truth) > 0.97
