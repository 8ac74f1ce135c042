"""What the matrix of viewers says of a team's view of the pool is what the database shows, value by value."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from protocol.generated.matrix import Form, matrix
from protocol.generated.words import pool_form
from protocol.model import Agreement, ColumnType
from protocol.pool import PERSON_REF, pool_columns
from warehouse.linkage_store import LinkageRun, write_published_ids, write_registry_update
from warehouse.pool_views import MARK_COLUMNS, ensure_pool_views
from warehouse.roles import ensure_logins
from warehouse.snapshot import take_snapshot

TEAM = "evaluation_team"
OF_THE_WAREHOUSE = {"agreement_version", "partner_id", "period", *MARK_COLUMNS}
"""Columns of the views that no agreed column stands behind."""
TODAY = date.today()  # noqa: DTZ011  # the database asks its own clock, too
PLANTED = {
    ColumnType.TEXT: "planted",
    ColumnType.CODE: "planted",
    ColumnType.INTEGER: 7,
    ColumnType.DECIMAL: Decimal("7.0000"),
    ColumnType.DATE: date(2026, 5, 1),
}
ANNA = "00000000-0000-4000-8000-00000000000a"


def granted_for(agreement: Agreement, purposes: tuple[str, ...]) -> Agreement:
    """The agreement with the evaluation team's grant alone, for these purposes and today."""
    (grant,) = (grant for grant in agreement.grants if grant.id == TEAM)
    days = {"starts": TODAY - timedelta(1), "ends": TODAY + timedelta(1)}
    return agreement.model_copy(update={"grants": (grant.model_copy(update={"purposes": purposes, **days}),)})


@pytest.fixture
def filled(pool: Any) -> Iterator[Any]:
    """A published pool in which every column of every table has a value, in one row each, of a linked person."""
    rows = {
        table.name: {"k1": {"person": "c1", **{column.name: PLANTED[column.type] for column in pool_columns(table)}}}
        for table in pool.agreement.contract.tables
    }
    rows["person"]["k1"]["do_not_link"] = "no"
    pool.send("s1", rows)
    with pool.database.owner.begin() as conn:
        ensure_pool_views(conn, pool.agreement)
    with pool.database.pipeline.begin() as conn:
        snapshot = take_snapshot(conn, ["2026-Q2"])
        client = pool.frame("harbour_trust", "person", {"c1": {}})["person_ref"][0]
        linked = pl.DataFrame({"partner_id": ["harbour_trust"], "person_ref": [client], "person_id": [ANNA]})
        events = pl.DataFrame(schema=["event", "cause", "person_id", "other_person_id"])
        write_registry_update(conn, LinkageRun("run 1", snapshot.id, "keys"), linked, events)
        write_published_ids(conn, TEAM, pl.DataFrame({"person_id": [ANNA], "published_id": ["of the team"]}))
    pool.publish(snapshot.id, 1)
    yield pool
    with pool.database.owner.begin() as conn:
        ensure_logins(conn, pool.agreement.model_copy(update={"grants": ()}), {}, TODAY)


PURPOSES = ("record_linkage", "joint_evidence", "equality_monitoring", "value_for_money")


def test_a_team_sees_the_values_that_the_matrix_says_and_no_others(filled: Any) -> None:
    own = next(grant.purposes for grant in filled.agreement.grants if grant.id == TEAM)
    shown = 0
    for purposes in (own, *((name,) for name in PURPOSES)):
        agreement = granted_for(filled.agreement, purposes)
        with filled.database.owner.begin() as conn:
            ensure_logins(conn, agreement, {"evaluation_analyst": "a-secret"}, TODAY)
        with filled.database.engine_as("evaluation_analyst", "a-secret").connect() as conn:
            for table in agreement.contract.tables:
                said = said_of(agreement, table.name)
                result = conn.execute(text(f"select * from pool.{table.name}"))
                assert set(result.keys()) - OF_THE_WAREHOUSE == set(said)
                found = result.mappings().all()
                assert len(found) == any(form is not Form.NOTHING for form in said.values())
                for row in found:
                    for column, form in said.items():
                        place = (purposes, table.name, column)
                        assert form_of(row[column], agreement, table.name, column) is form, place
                        shown += form is not Form.NOTHING
    assert shown > 100


def said_of(agreement: Agreement, table: str) -> dict[str, Form]:
    """What the matrix says of each column of the table's view, by its name there."""
    said = {}
    for line in matrix(agreement):
        (sight,) = (one for one in line.sights if one.viewer.id == f"grant {TEAM}")
        name, _ = pool_form(line.table, line.column)
        if line.table.name != table or not name or name == "do_not_link":
            assert line.table.name != table or sight.form is Form.NOTHING
            continue
        said["published_id" if name == PERSON_REF else name] = sight.form
    return said


def form_of(value: Any, agreement: Agreement, table: str, column: str) -> Form:
    """The form in which a value of the planted row is shown."""
    if value is None:
        return Form.NOTHING
    if column == "published_id":
        assert value == "of the team"
        return Form.PSEUDONYM
    (pooled,) = (one for one in pool_columns(agreement.contract.table(table)) if one.name == column)
    if value != PLANTED[pooled.type]:
        assert len(value) == 32
        return Form.PSEUDONYM
    return Form.COARSER if pooled.generalisation is not None else Form.AS_IS
