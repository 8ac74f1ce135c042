"""Tables of the schema ``evidence``: releases and their figures. A published release is never changed."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem

from warehouse.schema.base import metadata, needed, optional

_SCHEMA = "evidence"
_MOMENT = DateTime(timezone=True)


def figure_columns() -> list[SchemaItem]:
    """The columns of a figure and their checks, the same in a draft and in a release."""
    return [
        needed("measure", Text, "Id of the measure, the name of its SQL file."),
        needed("breakdown", Text, "What the figure is broken down by; 'all' for the whole partnership."),
        needed("dims", JSONB, "The categories of this cell, by dimension."),
        needed("statistic", Text, "Which figure of the measure: people, rows, rate, mean ..."),
        optional("value", Numeric, "The figure, rounded; null where it is withheld or not available, never 0 for it."),
        optional("numerator", Numeric, "Published count above the line of a rate."),
        optional("denominator", Numeric, "Published count below the line of a rate."),
        optional("unit", Text, "people, rows, days, gbp, percent ..."),
        needed("status", Text, "published, withheld or not_available."),
        optional("reason", Text, "Why it is withheld or not available, in words."),
        CheckConstraint("status in ('published', 'withheld', 'not_available')", name="status"),
        CheckConstraint("status = 'published' or value is null", name="withheld_is_null"),
    ]


release = Table(
    "release",
    metadata,
    needed("release_id", Text, "Id of the release.", primary_key=True),
    needed("number", Integer, "Running number of the partnership's releases.", unique=True),
    needed("state", Text, "draft, published, superseded or withdrawn. At most one is published."),
    needed("snapshot_id", Text, "The set of submissions that it was computed from."),
    needed("snapshot_digest", Text, "Digest of that set when it was computed; checked again at publication."),
    optional("figures_digest", Text, "Digest of the figures that were approved."),
    needed("agreement_version", Text, "Version of the agreement."),
    needed("agreement_digest", Text, "SHA-256 of the agreement's text."),
    needed("code_version", Text, "Version of Linkarms."),
    needed("parameters", JSONB, "Everything that was chosen for it: periods, thresholds, partners left out and why."),
    needed("prepared_at", _MOMENT, "When its draft was made."),
    optional("approver", Text, "Login of the person who approved it."),
    optional("reason", Text, "The approver's reason."),
    optional("approved_at", _MOMENT, "When it was approved."),
    optional("published_at", _MOMENT, "When readers could see it."),
    optional("withdrawn_reason", Text, "Why it was withdrawn."),
    optional("published_in", BigInteger, "Transaction that published it; only that one may add its figures."),
    CheckConstraint("state in ('draft', 'published', 'superseded', 'withdrawn')", name="state"),
    CheckConstraint("state = 'draft' or state = 'withdrawn' or published_at is not null", name="published_at"),
    schema=_SCHEMA,
    comment="Every release. Readers do not see drafts. Once published only its state can change.",
)

figure = Table(
    "figure",
    metadata,
    needed("release_id", Text, "The release that it belongs to.", ForeignKey(release.c.release_id)),
    *figure_columns(),
    PrimaryKeyConstraint("release_id", "measure", "breakdown", "dims", "statistic"),
    schema=_SCHEMA,
    comment="The figures of all releases, as published. Never changed or deleted.",
)
