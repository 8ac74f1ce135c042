"""SECURITY.md says what was measured, of every kind of token, and the measurement can be repeated."""

from benchmarks.attacks import rank, report
from benchmarks.attacks.people import People, Stored
from pseudonymise.encoding import TOKEN_SETS
from pseudonymise.match_keys import MATCH_KEYS


def test_the_table_is_that_of_the_figures() -> None:
    assert report.written_table() == report.table(report.read())


def test_the_figures_are_of_every_kind_of_token() -> None:
    measured = [(leak["kind"], leak["name"]) for leak in report.read()["ranks"]]
    keys, sets = [("match key", key.name) for key in MATCH_KEYS], [("encoding", tokens.name) for tokens in TOKEN_SETS]
    assert measured == keys + sets


def test_measured_again_in_small_the_figures_are_alike(held: People, stored: Stored, others: People) -> None:
    kept = {leak["name"] + leak["kind"]: leak for leak in report.read()["ranks"]}
    for leak in rank.attack_all(held, stored, others):
        earlier = kept[leak.name + leak.kind]
        assert abs(leak.missing - earlier["missing"]) < 0.03, leak.name
        assert abs(leak.beyond_guessing - (earlier["recovered"] - earlier["guessed"])) < 0.02, leak.name
