"""Migrating a database: it becomes exactly what the MetaData says, at once or not at all."""

import threading
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from protocol.errors import LinkarmsError, NotYet
from warehouse.migrate import _config, revision_of, upgrade
from warehouse.roles import ensure_groups
from warehouse.schema import SCHEMAS, metadata

SHAPE = """
    select 'column', c.oid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
        a.attidentity::text, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace::regnamespace::text = any(:schemas) and c.relkind = 'r' and c.relname <> 'alembic_version'
    union all
    select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), null, null, null, null
    from pg_constraint where connamespace::regnamespace::text = any(:schemas) and contype <> 'x'
        and conrelid::regclass::text <> 'governance.alembic_version'
    union all
    select 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid),
        null, null, null, null
    from pg_index join pg_class c on c.oid = indexrelid
    where c.relnamespace::regnamespace::text = any(:schemas)
        and indrelid::regclass::text <> 'governance.alembic_version' and c.relname <> 'ex_release_one_published'
    union all
    select 'comment', c.oid::regclass::text, obj_description(c.oid, 'pg_class'), null, null, null, null, null
    from pg_class c where c.relnamespace::regnamespace::text = any(:schemas) and c.relkind = 'r'
        and c.relname <> 'alembic_version'
"""


def shape_of(conn: Connection) -> set[tuple[Any, ...]]:
    """Every column, constraint, index and comment, as PostgreSQL states it."""
    return {tuple(row) for row in conn.execute(text(SHAPE), {"schemas": list(SCHEMAS)})}


def test_migrating_an_empty_database_gives_exactly_the_metadata(database: Any, empty_database: str) -> None:
    with database.owner.connect() as conn:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, parent: kind != "schema" or name in SCHEMAS,
            "version_table_schema": "governance",
        }
        assert compare_metadata(MigrationContext.configure(conn, opts=options), metadata) == []
        migrated = shape_of(conn)
    # Alembic's comparison leaves out checks, keys and identities; PostgreSQL's own statement of both does not.
    with create_engine(empty_database, poolclass=NullPool).begin() as conn:
        for schema in SCHEMAS:
            conn.execute(text(f"create schema {schema}"))
        metadata.create_all(conn)
        assert shape_of(conn) == migrated
    assert len(migrated) > 200


def test_every_table_view_and_column_says_what_it_is(database: Any) -> None:
    with database.owner.connect() as conn:
        silent = conn.execute(
            text(
                "select c.oid::regclass::text, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid"
                " and a.attnum > 0 where c.relnamespace::regnamespace::text = any(:schemas) and c.relkind = 'r'"
                " and c.relname <> 'alembic_version' and (col_description(c.oid, a.attnum) is null"
                " or obj_description(c.oid, 'pg_class') is null)"
                " union all select c.oid::regclass::text, null from pg_class c"
                " where c.relnamespace::regnamespace::text = any(:schemas) and c.relkind = 'v'"
                " and obj_description(c.oid, 'pg_class') is null"
            ),
            {"schemas": list(SCHEMAS)},
        ).all()
    assert silent == []


def test_upgrading_twice_changes_nothing(empty_database: str) -> None:
    first = upgrade(empty_database)
    engine = create_engine(empty_database, poolclass=NullPool)
    with engine.connect() as conn:
        before = shape_of(conn)
    assert upgrade(empty_database) == first
    with engine.connect() as conn:
        assert shape_of(conn) == before


def at_revision(database: str, revision: str, *statements: str) -> Engine:
    """A database as an earlier version of Linkarms left it, with the rows that the statements add."""
    engine = create_engine(database, poolclass=NullPool)
    with engine.begin() as conn:
        conn.execute(text("create schema governance"))
        ensure_groups(conn)
        command.upgrade(_config(conn), revision)
        for statement in statements:
            conn.execute(text(statement))
    return engine


def test_logins_of_the_first_schema_keep_their_views_and_purpose(empty_database: str) -> None:
    engine = at_revision(
        empty_database,
        "0001",
        "insert into governance.login_grant (login, audience, purpose, schemas, starts, ends, agreement_digest)"
        " values ('analyst', 'team', 'joint_evidence', '{evidence,pool}', '2026-01-01', '2027-12-31', 'd')",
    )
    upgrade(empty_database)
    with engine.connect() as conn:
        row = conn.execute(text("select purposes, views from governance.login_grant")).one()
    assert (row.purposes, sorted(row.views)) == (["joint_evidence"], ["evidence.*", "pool.*"])


@pytest.mark.parametrize(
    ("revision", "preview"),
    [("0001", ""), ("0002", ""), ("0002", "alter table governance.submission add column rows_version text")],
)
def test_submissions_that_were_loaded_before_are_held_in_the_terms_they_were_made_to(
    empty_database: str, revision: str, preview: str
) -> None:
    columns = "submission_id, partner_id, period, mode, agreement_version, content_digest, received_at, state"
    engine = at_revision(
        empty_database,
        revision,
        preview or "select 1",
        f"insert into governance.submission ({columns}, loaded_at) values"
        " ('s1', 'harbour_trust', '2026-Q2', 'full', '1.0', 'd', now(), 'loaded', now())",
        f"insert into governance.submission ({columns}) values"
        " ('s2', 'harbour_trust', '2026-Q2', 'full', '1.0', 'e', now(), 'received')",
    )
    upgrade(empty_database)
    with engine.connect() as conn:
        held = conn.execute(text("select submission_id, rows_version from governance.submission order by 1")).all()
    assert held == [("s1", "1.0"), ("s2", None)]


def test_upgrades_at_once_are_safe(empty_database: str) -> None:
    outcomes: list[Any] = []

    def run() -> None:
        try:
            outcomes.append(upgrade(empty_database))
        except Exception as error:  # noqa: BLE001
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 3
    assert len(set(outcomes)) == 1


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(empty_database: str) -> None:
    engine = create_engine(empty_database, poolclass=NullPool)
    with engine.begin() as conn:
        conn.execute(text("create schema evidence"))
        conn.execute(text("create table evidence.current_figure (in_the_way int)"))
    with pytest.raises(Exception, match="current_figure"):
        upgrade(empty_database)
    with engine.connect() as conn:
        assert inspect(conn).get_table_names(schema="governance") == []
        assert not set(SCHEMAS) & set(inspect(conn).get_schema_names()) - {"evidence"}


def test_a_database_of_a_newer_version_is_left_alone(empty_database: str) -> None:
    upgrade(empty_database)
    engine = create_engine(empty_database, poolclass=NullPool)
    with engine.begin() as conn:
        conn.execute(text("update governance.alembic_version set version_num = '9999'"))
    with pytest.raises(LinkarmsError, match="newer"):
        upgrade(empty_database)
    with engine.connect() as conn:
        assert revision_of(conn) == "9999"


def test_a_database_that_does_not_answer_is_told_without_its_password() -> None:
    with pytest.raises(NotYet) as raised:
        upgrade("postgresql+psycopg://someone:canary-password@127.0.0.1:1/nowhere")
    assert "canary-password" not in str(raised.value)
    assert raised.value.__suppress_context__
