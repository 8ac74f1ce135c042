"""What the steps that check a new submission can ask about earlier ones."""

from typing import Any

import polars as pl

from warehouse.lookups import find_known_rows, read_previous_counts, read_submission


def test_a_submission_is_found_by_its_id(pool: Any) -> None:
    pool.send("s1", {"cost": {"k1": {}}})
    with pool.database.pipeline.connect() as conn:
        found = read_submission(conn, "s1")
        assert found is not None
        assert (found.partner_id, found.period, found.state) == ("harbour_trust", "2026-Q2", "loaded")
        assert read_submission(conn, "s2") is None


def test_previous_counts_are_those_in_force_of_the_partner_and_period(pool: Any) -> None:
    pool.send("old", {"cost": {"k1": {}, "k2": {}, "k3": {}}})
    pool.send("full", {"cost": {"k1": {}, "k2": {}}, "person": {"c1": {}}})
    pool.send("delta", {"cost": {"k9": {}}}, mode="delta")
    pool.send("other", {"cost": {"k1": {}}}, partner="bridge_housing")
    with pool.database.pipeline.connect() as conn:
        assert read_previous_counts(conn, "harbour_trust", "2026-Q2") == {"cost": 3, "person": 1}
        assert read_previous_counts(conn, "harbour_trust", "2026-Q3") == {}


def test_known_rows_are_those_in_force_and_not_deleted(pool: Any) -> None:
    pool.send("q2", {"person": {"c1": {}, "c2": {}}})
    pool.send("q3", {"person": {"c2": {"_deleted": True}, "c3": {}}}, period="2026-Q3", mode="delta")
    pool.send("other", {"person": {"c4": {}}}, partner="bridge_housing")
    asked = pool.frame("harbour_trust", "person", {f"c{n}": {} for n in range(1, 6)})["row_key"]
    with pool.database.pipeline.connect() as conn:
        found = find_known_rows(conn, "harbour_trust", "person", pl.concat([asked, asked]))
    assert sorted(found.to_list()) == sorted([asked[0], asked[2]])
