"""Who would be one person if all pairs in doubt were, and if none was.

Revision ID: 0008
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table of the schema linkage."""
    op.create_table(
        "person_bound",
        sa.Column("run_id", sa.Text, nullable=False, comment="The run."),
        sa.Column("partner_id", sa.Text, nullable=False, comment="The partner."),
        sa.Column("person_ref", sa.Text, nullable=False, comment="Pseudonym of the partner's own client."),
        sa.Column(
            "if_joined",
            sa.BigInteger,
            nullable=False,
            comment="Number, within the run, of the person if all pairs in doubt are one person.",
        ),
        sa.Column(
            "if_parted", sa.BigInteger, nullable=False, comment="The same if none of them is: the person's number then."
        ),
        sa.PrimaryKeyConstraint("run_id", "partner_id", "person_ref", name="pk_person_bound"),
        schema="linkage",
        comment="Records whose person hangs on pairs in doubt. Of a record that is not listed nothing does.",
    )


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("person_bound", schema="linkage")
