"""Tables of the schema ``governance``: what happened to which submission, snapshot, grant and draft."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from warehouse.schema.base import metadata, needed, optional
from warehouse.schema.evidence import figure_columns

_SCHEMA = "governance"
_MOMENT = DateTime(timezone=True)

agreement_version = Table(
    "agreement_version",
    metadata,
    needed("digest", Text, "SHA-256 of the agreement's text.", primary_key=True),
    needed("version", Text, "Version number that the partners signed."),
    needed("recorded_at", _MOMENT, "When the database first met this text."),
    schema=_SCHEMA,
    comment="Every text of the agreement that this database has worked under.",
)

collection_period = Table(
    "collection_period",
    metadata,
    needed("period", Text, "Id of the period, such as 2026-Q1.", primary_key=True),
    needed("starts", Date, "First day."),
    needed("ends", Date, "Last day, included."),
    schema=_SCHEMA,
    comment="The collection periods of the agreement's calendar. They order the submissions of a partner in time.",
)

applied_plan = Table(
    "applied_plan",
    metadata,
    needed("plan_id", BigInteger, "Running number.", Identity(always=True), primary_key=True),
    needed("agreement_digest", Text, "The agreement that asked for it."),
    needed("applied_at", _MOMENT, "When it was applied."),
    needed("columns", JSONB, "What was added: table, column, type and description."),
    schema=_SCHEMA,
    comment="Columns and tables of facts that an agreement added to the core. Additions only.",
)

submission = Table(
    "submission",
    metadata,
    needed("submission_id", Text, "Id of the submission.", primary_key=True),
    needed("seq", BigInteger, "Order of receipt over all partners.", Identity(always=True), unique=True),
    needed("partner_id", Text, "The partner that sent it."),
    needed("period", Text, "The collection period that it is for."),
    needed("mode", Text, "full, delta, correction or nil."),
    needed("agreement_version", Text, "Version of the agreement that its manifest names."),
    optional("rows_version", Text, "Version of the agreement in whose terms its rows are held; null before loading."),
    needed("content_digest", Text, "SHA-256 of what was received."),
    optional("key_id", Text, "Id of the key ring that its pseudonyms were made with; null before it is loaded."),
    needed("received_at", _MOMENT, "When it was received."),
    optional("loaded_at", _MOMENT, "When its rows were loaded."),
    needed("state", Text, "received, refused, loaded, superseded (nothing of it is in force) or erased."),
    optional("supersedes", Text, "For a correction: the submission whose tables it replaces."),
    optional("superseded_by", Text, "The submission whose loading left nothing of this one in force."),
    optional("receipt", JSONB, "The receipt: counts and findings, without a cell's content."),
    CheckConstraint("mode in ('full', 'delta', 'correction', 'nil')", name="mode"),
    CheckConstraint("state in ('received', 'refused', 'loaded', 'superseded', 'erased')", name="state"),
    CheckConstraint("(mode = 'correction') = (supersedes is not null)", name="supersedes"),
    Index("ix_submission_partner_id_period", "partner_id", "period"),
    schema=_SCHEMA,
    comment="One row for each submission that a partner dropped.",
)

submission_table = Table(
    "submission_table",
    metadata,
    needed("submission_id", Text, "The submission.", ForeignKey(submission.c.submission_id)),
    needed("table_name", Text, "The agreed table."),
    needed("rows_received", BigInteger, "Rows in the partner's file."),
    needed("rows_accepted", BigInteger, "Rows loaded."),
    needed("rows_held_back", BigInteger, "Rows held back for a fault."),
    PrimaryKeyConstraint("submission_id", "table_name"),
    schema=_SCHEMA,
    comment="Counts for each table of a submission. A table without a row here was not part of it.",
)

snapshot = Table(
    "snapshot",
    metadata,
    needed("snapshot_id", Text, "Id of the snapshot; the same set of submissions has the same id.", primary_key=True),
    needed("taken_at", _MOMENT, "When it was taken."),
    needed("digest", Text, "SHA-256 over the submissions, their contents and the rows that they brought."),
    needed("periods", ARRAY(Text), "The collection periods asked for."),
    optional("partners", ARRAY(Text), "The partners asked for; null for all."),
    optional("closed_at", _MOMENT, "When its rows were given free to be purged; null while it is open."),
    schema=_SCHEMA,
    comment="Recorded sets of submissions in force. A release binds to one.",
)

snapshot_table = Table(
    "snapshot_table",
    metadata,
    needed("snapshot_id", Text, "The snapshot.", ForeignKey(snapshot.c.snapshot_id)),
    needed("submission_id", Text, "The submission.", ForeignKey(submission.c.submission_id)),
    needed("table_name", Text, "The agreed table whose rows of that submission are in force."),
    needed("ord", Integer, "Precedence: of two rows with one key the one of the higher number holds."),
    PrimaryKeyConstraint("snapshot_id", "submission_id", "table_name"),
    Index("ix_snapshot_table_submission_id", "submission_id"),
    schema=_SCHEMA,
    comment="What is in each snapshot.",
)

draft_figure = Table(
    "draft_figure",
    metadata,
    needed("release_id", Text, "The release that is being prepared."),
    *figure_columns(),
    PrimaryKeyConstraint("release_id", "measure", "breakdown", "dims", "statistic"),
    schema=_SCHEMA,
    comment="Figures of releases in preparation. Readers of evidence cannot see them.",
)

key_change = Table(
    "key_change",
    metadata,
    needed(
        "change_id",
        BigInteger,
        "Running number; the last one says which keys are in force.",
        Identity(always=True),
        primary_key=True,
    ),
    needed(
        "changed_at", _MOMENT, "When it happened, by the database's clock.", server_default=text("clock_timestamp()")
    ),
    needed("layer", Text, "K1 or K2."),
    needed("before_key_id", Text, "Id of the key ring in force before."),
    needed("after_key_id", Text, "Id of the key ring in force from then on."),
    CheckConstraint("layer in ('K1', 'K2')", name="layer"),
    schema=_SCHEMA,
    comment="Every rotation of the keys, by id. The database's owner adds rows; none is ever changed or deleted.",
)

login_grant = Table(
    "login_grant",
    metadata,
    needed("login", Text, "The database login.", primary_key=True),
    needed("audience", Text, "Id of the agreement's grant: the domain of the pseudonyms that the login sees."),
    needed("purposes", ARRAY(Text), "The purposes that it may use the data for."),
    needed("views", ARRAY(Text), "evidence.*, pool.*, or single views such as evidence.reach."),
    needed("starts", Date, "First day of the grant."),
    needed("ends", Date, "Last day of the grant, included."),
    needed("agreement_digest", Text, "The agreement that grants it."),
    schema=_SCHEMA,
    comment="Which login belongs to which grant of the agreement in force.",
)

audit_event = Table(
    "audit_event",
    metadata,
    needed("event_id", BigInteger, "Running number.", Identity(always=True), primary_key=True),
    needed("at", _MOMENT, "When it happened, by the database's clock.", server_default=text("clock_timestamp()")),
    needed("actor", Text, "Login or service that did it."),
    needed("action", Text, "What was done, such as submission.loaded."),
    needed("subject", Text, "Id of what it was done to: a submission, snapshot, release or grant; never a person."),
    needed("detail", JSONB, "Counts and ids. No personal data."),
    schema=_SCHEMA,
    comment="What was done by whom. Rows can be added, never changed or deleted.",
)
