"""Random draws: the same numbers everywhere, and nothing that a release of numpy could round differently."""

import numpy as np

from synthetic.draws import Draws, as_day, as_text

VECTOR = [0.2510612151638819, 0.2321196757258106, 0.03182660089578804]


def test_stream_is_what_it_was_when_this_was_written() -> None:
    # Worked out once with numpy 2.4 on x86-64; another platform or release has to agree, or no seed means anything.
    assert Draws(1, "vector").uniform(3).tolist() == VECTOR


def test_streams_of_other_names_are_others() -> None:
    assert Draws(1, "a").uniform(5).tolist() != Draws(1, "b").uniform(5).tolist()
    assert Draws(1, "a").uniform(5).tolist() != Draws(2, "a").uniform(5).tolist()


def test_integers_stay_within_their_limits() -> None:
    numbers = Draws(3, "integers").integers(2, 4, 500)
    assert set(numbers.tolist()) == {2, 3, 4}
    assert Draws(3, "integers").integers(9, 5, 4).tolist() == [9, 9, 9, 9]


def test_choices_follow_their_weights() -> None:
    chosen = Draws(4, "choice").choose({"often": 9, "seldom": 1, "never": 0}, 4000).tolist()
    assert 0.87 < chosen.count("often") / 4000 < 0.93
    assert "never" not in chosen


def test_columns_are_drawn_without_repeats() -> None:
    weights = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    taken = Draws(5, "columns").pick_columns(weights, np.array([2, 3, 3]))
    assert taken.sum(axis=1).tolist() == [2, 1, 3]
    assert taken[1].tolist() == [False, True, False]


def test_shuffle_holds_every_number_once() -> None:
    assert sorted(Draws(6, "shuffle").shuffle(100).tolist()) == list(range(100))


def test_bell_has_mean_nought_and_variance_one() -> None:
    drawn = Draws(7, "bell").bell(20000)
    assert abs(drawn.mean()) < 0.05
    assert 0.95 < drawn.var() < 1.05


def test_days_become_iso_dates_and_absent_ones_nothing() -> None:
    assert as_day("1970-01-02") == 1
    days = np.array([0, 20544], dtype=np.int64)
    assert as_text(days).tolist() == ["1970-01-01", "2026-04-01"]
    assert as_text(days, np.array([True, False])).tolist() == ["1970-01-01", None]
