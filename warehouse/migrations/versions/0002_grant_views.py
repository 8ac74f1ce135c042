"""Grants name views and purposes: a login's row says which, and the pool asks for both.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SESSION_AUDIENCE = """
create or replace function governance.session_audience() returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select audience from governance.login_grant
    where login = session_user and exists (select from unnest(views) as v where v like 'pool.%')
        and (now() at time zone 'UTC')::date between starts and ends
$$
"""

SESSION_PURPOSES = """
create function governance.session_purposes() returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select purposes from governance.login_grant
    where login = session_user and governance.session_audience() is not null
$$
"""

SESSION_PURPOSES_COMMENT = (
    "The purposes that the grant of this session is for; null without a grant on the pool that holds today. Every view "
    "of the pool asks it, and shows a column only where it is shared for one of them."
)

RENAMED = (("schemas", "views"), ("purpose", "purposes"))


def upgrade() -> None:
    """Rename the columns, write whole schemas as views, and make the pool's functions over them."""
    for old, new in RENAMED:
        op.execute(f"alter table governance.login_grant rename column {old} to {new}")
        # From PostgreSQL 18 on, being not null is a constraint with a name.
        op.execute(
            f"do $$ begin if exists (select from pg_constraint where conname = 'login_grant_{old}_not_null') then"
            f" alter table governance.login_grant rename constraint login_grant_{old}_not_null"
            f" to login_grant_{new}_not_null; end if; end $$"
        )
    op.execute("alter table governance.login_grant alter column purposes type text[] using array[purposes]")
    op.execute("update governance.login_grant set views = (select array_agg(v || '.*') from unnest(views) as v)")
    op.execute(
        "comment on column governance.login_grant.views is"
        " 'evidence.*, pool.*, or single views such as evidence.reach.'"
    )
    op.execute("comment on column governance.login_grant.purposes is 'The purposes that it may use the data for.'")
    op.get_bind().exec_driver_sql(SESSION_AUDIENCE.replace("%", "%%"))
    op.execute(SESSION_PURPOSES)
    op.execute(f"comment on function governance.session_purposes() is '{SESSION_PURPOSES_COMMENT}'")


def downgrade() -> None:
    """A login of single views or several purposes has no entry in the earlier form."""
    raise NotImplementedError("There is no way back from single views and purposes. Restore a backup instead.")
