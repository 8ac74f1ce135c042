"""The database says which keys its pseudonyms were made with, since when.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; databases without a rotation have no row in it."""
    op.create_table(
        "key_change",
        sa.Column(
            "change_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Running number; the last one says which keys are in force.",
        ),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it happened, by the database's clock.",
        ),
        sa.Column("layer", sa.Text(), nullable=False, comment="K1 or K2."),
        sa.Column("before_key_id", sa.Text(), nullable=False, comment="Id of the key ring in force before."),
        sa.Column("after_key_id", sa.Text(), nullable=False, comment="Id of the key ring in force from then on."),
        sa.CheckConstraint("layer in ('K1', 'K2')", name=op.f("ck_key_change_layer")),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_key_change")),
        schema="governance",
        comment="Every rotation of the keys, by id. The database's owner adds rows; none is ever changed or deleted.",
    )
    op.execute(
        "create trigger append_only before update or delete on governance.key_change"
        " for each row execute function governance.refuse_change()"
    )
    op.execute(
        "create trigger never_emptied before truncate on governance.key_change"
        " for each statement execute function governance.refuse_change()"
    )


def downgrade() -> None:
    """Without the record, nothing would say which keys the pseudonyms of a rotated database were made with."""
    raise NotImplementedError("There is no way back from recorded rotations. Restore a backup instead.")
