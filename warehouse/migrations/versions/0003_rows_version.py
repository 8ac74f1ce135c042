"""Submissions say in which version's terms their rows are held, and a grant ends for open transactions as well.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The time of the statement: now() is that of the transaction, which a session may keep open past the grant's end.
SESSION_AUDIENCE = """
create or replace function governance.session_audience() returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select audience from governance.login_grant
    where login = session_user and exists (select from unnest(views) as v where v like 'pool.%')
        and (statement_timestamp() at time zone 'UTC')::date between starts and ends
$$
"""

# Setting up the pool's views gives it its contents (warehouse.pool_views).
POOL_CLIENTS = """
create function governance.pool_clients()
returns table (partner_id text, person_ref text, published_id text)
language sql stable security definer
as $$ select null::text, null::text, null::text where false $$
"""


def upgrade() -> None:
    """Add the column, with what was loaded held in the terms it was made to, and make the functions anew."""
    # Databases of a preview have the column already.
    op.execute("alter table governance.submission add column if not exists rows_version text")
    op.execute(
        "comment on column governance.submission.rows_version is"
        " 'Version of the agreement in whose terms its rows are held; null before loading.'"
    )
    op.execute(
        "update governance.submission set rows_version = agreement_version"
        " where rows_version is null and loaded_at is not null"
    )
    op.get_bind().exec_driver_sql(SESSION_AUDIENCE.replace("%", "%%"))
    op.execute(POOL_CLIENTS)
    op.execute(
        "comment on function governance.pool_clients() is"
        " 'The clients of the published snapshot whom the pool shows, with their pseudonyms of the session''s grant.'"
    )


def downgrade() -> None:
    """Rows that an upgrade of the agreement has changed are not what their manifest says."""
    raise NotImplementedError("There is no way back from rows in a later version's terms. Restore a backup instead.")
