"""What a linkage run compared, so that the next compares only what is new.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table of the schema linkage."""
    op.create_table(
        "compared",
        sa.Column("part", sa.Integer, nullable=False, autoincrement=False, comment="Number of the part, from 0."),
        sa.Column("method", sa.Text, nullable=False, comment="Name and version of the method that compared."),
        sa.Column("pairs", sa.Integer, nullable=False, comment="How many pairs are in it."),
        sa.Column(
            "content",
            sa.LargeBinary,
            nullable=False,
            comment="Parquet: digests of two records' tokens, and a code for each comparison.",
        ),
        sa.PrimaryKeyConstraint("part", name="pk_compared"),
        schema="linkage",
        comment="What the latest run compared, so that the next compares only what is new. Names no record.",
    )


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("compared", schema="linkage")
