"""Published ids of two audiences, or under other keys, have nothing in common."""

from benchmarks.attacks import releases
from benchmarks.attacks.people import make_keys


def test_two_audiences_share_no_id_and_no_order() -> None:
    ring = make_keys(5)
    made = releases.attack(5_000, ("council", ring), ("trust", ring))
    assert made.equal == 0
    assert made.in_one_place < 10


def test_the_same_audience_under_other_keys_shares_none_either() -> None:
    made = releases.attack(5_000, ("council", make_keys(5)), ("council", make_keys(6)))
    assert made.equal == 0
    assert made.in_one_place < 10


def test_two_releases_for_one_audience_share_all_ids() -> None:
    ring = make_keys(5)
    assert releases.attack(5_000, ("council", ring), ("council", ring)).equal == 5_000
