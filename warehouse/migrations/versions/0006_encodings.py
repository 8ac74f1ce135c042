"""Encodings that scoring compares, and the pairs that it scored.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables of the schema linkage."""
    op.create_table(
        "encoding",
        sa.Column("submission_id", sa.Text, nullable=False, comment="The submission that brought it."),
        sa.Column("part", sa.Integer, nullable=False, comment="Number of the part, from 0."),
        sa.Column("partner_id", sa.Text, nullable=False, comment="The partner."),
        sa.Column("persons", sa.Integer, nullable=False, comment="How many client records are in it."),
        sa.Column(
            "content",
            sa.LargeBinary,
            nullable=False,
            comment="Parquet: person_ref and the keyed tokens that scoring compares.",
        ),
        sa.PrimaryKeyConstraint("submission_id", "part", name="pk_encoding"),
        schema="linkage",
        comment="Encodings of client records, packed: nobody looks one up, scoring reads them all.",
    )
    op.create_table(
        "scored_pair",
        sa.Column("partner_id", sa.Text, nullable=False, comment="The partner."),
        sa.Column("person_ref", sa.Text, nullable=False, comment="Pseudonym of the partner's own client."),
        sa.Column("other_partner_id", sa.Text, nullable=False, comment="The other record's partner."),
        sa.Column("other_person_ref", sa.Text, nullable=False, comment="Pseudonym of the other record's client."),
        sa.Column(
            "levels",
            sa.Text,
            nullable=False,
            comment="The level of each comparison, one digit each, 0 where it says nothing.",
        ),
        sa.Column("probability", sa.Double, nullable=False, comment="Probability that the two are one person."),
        sa.Column(
            "forbidden",
            sa.Text,
            nullable=True,
            comment="Why the two cannot be one person; null where nothing forbids it.",
        ),
        sa.PrimaryKeyConstraint(
            "partner_id", "person_ref", "other_partner_id", "other_person_ref", name="pk_scored_pair"
        ),
        schema="linkage",
        comment="Pairs of records that may be one person, as the latest run scored them.",
    )
    op.create_index("ix_scored_pair_other_person_ref", "scored_pair", ["other_person_ref"], schema="linkage")


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("scored_pair", schema="linkage")
    op.drop_table("encoding", schema="linkage")
