"""The agreement's own columns: added by a recorded plan, never redefined or dropped."""

from typing import Any

import pytest
from sqlalchemy import text

from protocol.errors import AgreementError
from protocol.model import ColumnType, Treatment
from protocol.pool import pool_columns
from warehouse.plan import apply_plan, facts_columns, plan_columns, record_agreement


def extended(agreement: Any, table: str, **changes: Any) -> Any:
    """The agreement with one more column in a table."""
    column = agreement.contract.table(table).column("programme").model_copy(update=changes)
    old = agreement.contract.table(table)
    new = old.model_copy(update={"columns": (*old.columns, column)})
    tables = tuple(new if t.name == table else t for t in agreement.contract.tables)
    return agreement.model_copy(update={"contract": agreement.contract.model_copy(update={"tables": tables})})


def test_the_plan_adds_what_the_agreement_has_and_the_core_lacks_and_is_then_empty(
    database: Any, agreement: Any
) -> None:
    with database.owner.begin() as conn:
        plan = plan_columns(conn, agreement)
        assert {(a.table, a.column) for a in plan} >= {("assessment", "total_score"), ("cost", "amount_gbp")}
        apply_plan(conn, plan, agreement.digest)
        assert plan_columns(conn, agreement) == ()
        for table in agreement.contract.tables:
            assert set(facts_columns(conn, table.name)) >= {column.name for column in pool_columns(table)}
        apply_plan(conn, (), agreement.digest)
        recorded = conn.execute(text("select agreement_digest, columns from governance.applied_plan")).all()
    assert [(digest, len(columns)) for digest, columns in recorded] == [(agreement.digest, len(plan))]


def test_no_column_that_is_tokenised_or_dropped_gets_a_place_in_facts(pool: Any) -> None:
    with pool.database.owner.connect() as conn:
        for table in pool.agreement.contract.tables:
            kept_out = {c.name for c in table.columns if c.treatment in (Treatment.TOKENISE, Treatment.DROP)}
            assert not kept_out & set(facts_columns(conn, table.name))


def test_an_agreed_table_that_the_core_lacks_is_made_with_the_pipelines_rights(pool: Any) -> None:
    cost = pool.agreement.contract.table("cost")
    own = cost.model_copy(update={"name": "volunteer_hour"})
    contract = pool.agreement.contract.model_copy(update={"tables": (*pool.agreement.contract.tables, own)})
    agreement = pool.agreement.model_copy(update={"contract": contract})
    with pool.database.owner.begin() as conn:
        plan = plan_columns(conn, agreement)
        assert {a.table for a in plan} == {"volunteer_hour"}
        apply_plan(conn, plan, agreement.digest)
        assert plan_columns(conn, agreement) == ()
    pool.agreement = agreement
    assert pool.send("s1", {"volunteer_hour": {"v1": {"programme": "x"}}}).rows == {"volunteer_hour": 1}


def test_a_column_with_another_type_than_it_has_is_refused(pool: Any) -> None:
    changed = extended(pool.agreement, "cost", name="amount_text", type=ColumnType.TEXT)
    with pool.database.owner.begin() as conn:
        apply_plan(conn, plan_columns(conn, changed), changed.digest)
        again = extended(pool.agreement, "cost", name="amount_text", type=ColumnType.INTEGER)
        with pytest.raises(AgreementError, match=r"cost\.amount_text"):
            plan_columns(conn, again)


def test_a_description_with_quotes_and_percent_signs_is_kept_as_it_is(pool: Any) -> None:
    description = '100 % of the partner\'s "own" cost; drop table facts.cost; --'
    changed = extended(pool.agreement, "cost", name="own_share", description=description)
    with pool.database.owner.begin() as conn:
        apply_plan(conn, plan_columns(conn, changed), changed.digest)
        comment = conn.scalar(
            text(
                "select col_description(attrelid, attnum) from pg_attribute"
                " where attrelid = 'facts.cost'::regclass and attname = 'own_share'"
            )
        )
    assert description in comment


def test_a_period_that_rows_were_loaded_under_is_not_moved(pool: Any) -> None:
    pool.send("s1", {"cost": {"k1": {}}})
    calendar = pool.agreement.calendar
    moved = calendar.model_copy(
        update={"periods": tuple(p.model_copy(update={"starts": p.ends}) for p in calendar.periods)}
    )
    with pytest.raises(AgreementError, match="2026-Q2"), pool.database.owner.begin() as conn:
        record_agreement(conn, pool.agreement.model_copy(update={"calendar": moved}))
