"""The core: schemas, tables, what is in force, and the guards of what must not change.

Revision ID: 0001
Revises: nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


SCHEMAS = {
    "governance": "Submissions, receipts, snapshots, drafts, grants and the audit trail. No personal data.",
    "linkage": "Match keys and the person registry. For the pipeline and the linkage custodian alone.",
    "facts": "Rows of the agreed tables by pseudonym, a set for each submission. For the pipeline alone.",
    "pool": "Views over the published snapshot for analysts with a grant, by the pseudonym of that grant.",
    "evidence": "Released figures after disclosure control.",
}

IN_FORCE = """
create view facts.in_force_submission_table as
with loaded as (
    select s.submission_id, s.seq, s.partner_id, s.period, s.mode, s.state, t.table_name
    from governance.submission s
    join governance.submission_table t using (submission_id)
    where s.state in ('loaded', 'superseded', 'erased')
),
base as (
    select partner_id, period, table_name, max(seq) as seq
    from loaded
    where mode <> 'delta'
    group by partner_id, period, table_name
)
select l.partner_id, l.period, l.table_name, l.submission_id, l.mode, l.seq
from loaded l
left join base b using (partner_id, period, table_name)
where l.state = 'loaded' and (l.seq = b.seq or (l.mode = 'delta' and l.seq > coalesce(b.seq, 0)))
"""

IN_FORCE_COMMENT = (
    "Which submission's rows of which table count now: for each partner, period and table the latest full, correction "
    "or nil submission, and the deltas received after it. What an erased one had replaced stays replaced. Of two rows "
    "with one key the later period, then the later submission, holds; a deletion takes the row out."
)

SESSION_AUDIENCE = """
create function governance.session_audience() returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select audience from governance.login_grant
    where login = session_user and 'pool' = any (schemas)
        and (now() at time zone 'UTC')::date between starts and ends
$$
"""

SESSION_AUDIENCE_COMMENT = (
    "The grant that this session reads the pool under, by the login that it was opened with; null without a grant "
    "that holds today (in UTC: the session's time zone is the reader's to set). Every view of the pool asks it."
)

APPEND_ONLY = """
create function governance.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '%.% can only be added to', tg_table_schema, tg_table_name
        using errcode = 'integrity_constraint_violation';
end
$$
"""

GUARD_RELEASE = """
create function evidence.guard_release() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    changeable constant text[] := array['state', 'withdrawn_reason', 'published_in'];
begin
    if tg_op = 'UPDATE' then
        if old.state <> 'draft' and (to_jsonb(new) - changeable) <> (to_jsonb(old) - changeable) then
            raise exception 'a release is not changed after publication'
                using errcode = 'integrity_constraint_violation';
        end if;
        if new.release_id <> old.release_id
            or (old.state, new.state) in (
                ('draft', 'superseded'), ('published', 'draft'), ('superseded', 'draft'), ('superseded', 'published'),
                ('withdrawn', 'draft'), ('withdrawn', 'published'), ('withdrawn', 'superseded')
            )
        then
            raise exception 'a release cannot go from % to %', old.state, new.state
                using errcode = 'integrity_constraint_violation';
        end if;
        new.published_in := old.published_in;
    else
        new.published_in := null;
    end if;
    if new.state = 'published' and (tg_op = 'INSERT' or old.state = 'draft') then
        if new.approver is null or new.reason is null or new.approved_at is null then
            raise exception 'a release is published with an approver, a reason and the time of approval'
                using errcode = 'integrity_constraint_violation';
        end if;
        new.published_in := pg_current_xact_id()::text::bigint;
    end if;
    if new.state = 'withdrawn' and new.withdrawn_reason is null then
        raise exception 'a release is withdrawn with a reason' using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end
$$
"""

GUARD_FIGURE = """
create function evidence.guard_figure() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from evidence.release r
    where r.release_id = new.release_id
        and (r.state = 'draft' or (r.state = 'published' and r.published_in = pg_current_xact_id()::text::bigint));
    if not found then
        raise exception 'figures are added to a release only while it is published'
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end
$$
"""

ONE_PUBLISHED = """
alter table evidence.release add constraint ex_release_one_published
exclude using btree ((true) with =) where (state = 'published') deferrable initially deferred
"""

CURRENT_FIGURE = """
create view evidence.current_figure with (security_barrier) as
select f.release_id, r.number as release_number, r.published_at, f.measure, f.breakdown, f.dims, f.statistic, f.value,
    f.numerator, f.denominator, f.unit, f.status, f.reason
from evidence.figure f
join evidence.release r using (release_id)
where r.state = 'published'
"""

CURRENT_FIGURE_COMMENT = (
    "Figures of the release that is published now. A figure that is withheld or not available is null and says why."
)


def upgrade() -> None:
    """Make everything that the core consists of."""
    for schema, comment in SCHEMAS.items():
        op.execute(f"create schema if not exists {schema}")
        op.execute(f"comment on schema {schema} is '{comment}'")
    _make_tables()
    _make_views_and_guards()


def downgrade() -> None:
    """There is nothing before the core."""
    raise NotImplementedError("The core has no earlier version. Restore a backup instead.")


def _make_views_and_guards() -> None:
    op.execute(IN_FORCE)
    op.execute(f"comment on view facts.in_force_submission_table is '{_quoted(IN_FORCE_COMMENT)}'")
    op.execute(CURRENT_FIGURE)
    op.execute(f"comment on view evidence.current_figure is '{_quoted(CURRENT_FIGURE_COMMENT)}'")
    op.execute(SESSION_AUDIENCE)
    op.execute(f"comment on function governance.session_audience() is '{_quoted(SESSION_AUDIENCE_COMMENT)}'")
    op.execute(ONE_PUBLISHED)
    op.execute(APPEND_ONLY)
    op.execute(GUARD_RELEASE)
    op.execute(GUARD_FIGURE)
    for table in ("governance.audit_event", "governance.applied_plan", "evidence.figure"):
        op.execute(
            f"create trigger append_only before update or delete on {table} "
            "for each row execute function governance.refuse_change()"
        )
    for table in ("governance.audit_event", "governance.applied_plan", "evidence.figure", "evidence.release"):
        op.execute(
            f"create trigger never_emptied before truncate on {table} "
            "for each statement execute function governance.refuse_change()"
        )
    op.execute(
        "create trigger never_deleted before delete on evidence.release "
        "for each row execute function governance.refuse_change()"
    )
    op.execute(
        "create trigger guard_release before insert or update on evidence.release "
        "for each row execute function evidence.guard_release()"
    )
    op.execute(
        "create trigger guard_figure before insert on evidence.figure "
        "for each row execute function evidence.guard_figure()"
    )


def _quoted(comment: str) -> str:
    return comment.replace("'", "''")


def _make_tables() -> None:
    op.create_table(
        "release",
        sa.Column("release_id", sa.Text(), nullable=False, comment="Id of the release."),
        sa.Column("number", sa.Integer(), nullable=False, comment="Running number of the partnership's releases."),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="draft, published, superseded or withdrawn. At most one is published.",
        ),
        sa.Column(
            "snapshot_id", sa.Text(), nullable=False, comment="The set of submissions that it was computed from."
        ),
        sa.Column(
            "snapshot_digest",
            sa.Text(),
            nullable=False,
            comment="Digest of that set when it was computed; checked again at publication.",
        ),
        sa.Column("figures_digest", sa.Text(), nullable=True, comment="Digest of the figures that were approved."),
        sa.Column("agreement_version", sa.Text(), nullable=False, comment="Version of the agreement."),
        sa.Column("agreement_digest", sa.Text(), nullable=False, comment="SHA-256 of the agreement's text."),
        sa.Column("code_version", sa.Text(), nullable=False, comment="Version of Linkarms."),
        sa.Column(
            "parameters",
            postgresql.JSONB(),
            nullable=False,
            comment="Everything that was chosen for it: periods, thresholds, partners left out and why.",
        ),
        sa.Column("prepared_at", sa.DateTime(timezone=True), nullable=False, comment="When its draft was made."),
        sa.Column("approver", sa.Text(), nullable=True, comment="Login of the person who approved it."),
        sa.Column("reason", sa.Text(), nullable=True, comment="The approver's reason."),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True, comment="When it was approved."),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True, comment="When readers could see it."),
        sa.Column("withdrawn_reason", sa.Text(), nullable=True, comment="Why it was withdrawn."),
        sa.Column(
            "published_in",
            sa.BigInteger(),
            nullable=True,
            comment="Transaction that published it; only that one may add its figures.",
        ),
        sa.CheckConstraint(
            "state = 'draft' or state = 'withdrawn' or published_at is not null", name=op.f("ck_release_published_at")
        ),
        sa.CheckConstraint("state in ('draft', 'published', 'superseded', 'withdrawn')", name=op.f("ck_release_state")),
        sa.PrimaryKeyConstraint("release_id", name=op.f("pk_release")),
        sa.UniqueConstraint("number", name=op.f("uq_release_number")),
        schema="evidence",
        comment="Every release. Readers do not see drafts. Once published only its state can change.",
    )
    op.create_table(
        "assessment",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("assessment_number", sa.Text(), nullable=True, comment="Assessment (keyed pseudonym)."),
        sa.Column("domain", sa.Text(), nullable=True, comment="Domain (code)."),
        sa.Column("tool", sa.Text(), nullable=True, comment="Tool (code)."),
        sa.Column("assessed_on", sa.Date(), nullable=True, comment="Day of the assessment."),
        sa.Column("valid_to", sa.Date(), nullable=True, comment="Last day that it holds."),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_assessment")),
        schema="facts",
        comment="Assessments of clients.",
    )
    op.create_table(
        "assessment_item",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("assessment_number", sa.Text(), nullable=True, comment="Assessment (keyed pseudonym)."),
        sa.Column("item", sa.Text(), nullable=True, comment="Item (code)."),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_assessment_item")),
        schema="facts",
        comment="Answers to the items of an assessment.",
    )
    op.create_table(
        "assessment_mark",
        sa.Column("snapshot_id", sa.Text(), nullable=False, comment="The snapshot that the marks were made over."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that made the assessment."),
        sa.Column("row_key", sa.Text(), nullable=False, comment="The assessment's row."),
        sa.Column(
            "mark",
            sa.Text(),
            nullable=False,
            comment="of_record, repeat (of another partner's) or review (of the partner's own).",
        ),
        sa.Column("repeats_partner_id", sa.Text(), nullable=True, comment="Partner of the assessment that it repeats."),
        sa.Column("repeats_row_key", sa.Text(), nullable=True, comment="Row of the assessment that it repeats."),
        sa.Column("days_since", sa.Integer(), nullable=True, comment="Days since the assessment that it repeats."),
        sa.CheckConstraint("mark in ('of_record', 'repeat', 'review')", name=op.f("ck_assessment_mark_mark")),
        sa.PrimaryKeyConstraint("snapshot_id", "partner_id", "row_key", name=op.f("pk_assessment_mark")),
        schema="facts",
        comment="Which assessment is the one of record and which repeats it.",
    )
    op.create_table(
        "cost",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("cost_number", sa.Text(), nullable=True, comment="Cost (keyed pseudonym)."),
        sa.Column("programme", sa.Text(), nullable=True, comment="Programme (code)."),
        sa.Column("cost_type", sa.Text(), nullable=True, comment="Type of cost (code)."),
        sa.Column("incurred_on", sa.Date(), nullable=True, comment="Day incurred."),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_cost")),
        schema="facts",
        comment="Costs of programmes. Not about a person.",
    )
    op.create_table(
        "enrolment",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("enrolment_number", sa.Text(), nullable=True, comment="Enrolment (keyed pseudonym)."),
        sa.Column("programme", sa.Text(), nullable=True, comment="Programme (code)."),
        sa.Column("started_on", sa.Date(), nullable=True, comment="First day."),
        sa.Column("ended_on", sa.Date(), nullable=True, comment="Last day."),
        sa.Column("end_reason", sa.Text(), nullable=True, comment="Reason for the end (code)."),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_enrolment")),
        schema="facts",
        comment="Clients' enrolments in programmes.",
    )
    op.create_table(
        "outcome",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("outcome_number", sa.Text(), nullable=True, comment="Outcome (keyed pseudonym)."),
        sa.Column("outcome", sa.Text(), nullable=True, comment="Outcome (code)."),
        sa.Column("achieved_on", sa.Date(), nullable=True, comment="Day achieved."),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_outcome")),
        schema="facts",
        comment="Outcomes that clients achieved.",
    )
    op.create_table(
        "person",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("birth_year_band", sa.Text(), nullable=True, comment="Five-year band of the year of birth."),
        sa.Column("postcode_district", sa.Text(), nullable=True, comment="Outward part of the postcode."),
        sa.Column("sex", sa.Text(), nullable=True, comment="Sex (code)."),
        sa.Column("ethnic_group", sa.Text(), nullable=True, comment="Ethnic group (code)."),
        sa.Column("household_number", sa.Text(), nullable=True, comment="Household (keyed pseudonym)."),
        sa.Column("do_not_link", sa.Text(), nullable=True, comment="Whether the client must not be linked (code)."),
        sa.Column("died_on_month", sa.Date(), nullable=True, comment="Month of death."),
        sa.Column(
            "recorded_on_month",
            sa.Date(),
            nullable=True,
            comment="Month in which the record was last brought up to date.",
        ),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_person")),
        schema="facts",
        comment="Clients as each partner knows them: one row for each client of a partner.",
    )
    op.create_table(
        "referral",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("referral_number", sa.Text(), nullable=True, comment="Referral (keyed pseudonym)."),
        sa.Column("direction", sa.Text(), nullable=True, comment="Sent or received (code)."),
        sa.Column("other_partner", sa.Text(), nullable=True, comment="The other partner (code)."),
        sa.Column("sent_on", sa.Date(), nullable=True, comment="Day sent."),
        sa.Column("accepted_on", sa.Date(), nullable=True, comment="Day accepted."),
        sa.Column("first_contact_on", sa.Date(), nullable=True, comment="Day of first contact."),
        sa.Column("status", sa.Text(), nullable=True, comment="Status (code)."),
        sa.Column("declined_reason", sa.Text(), nullable=True, comment="Reason for declining (code)."),
        sa.Column(
            "assessment_passed_on", sa.Text(), nullable=True, comment="Whether the assessment was passed on (code)."
        ),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_referral")),
        schema="facts",
        comment="Referrals, as sent and as received.",
    )
    op.create_table(
        "service_contact",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("contact_number", sa.Text(), nullable=True, comment="Contact (keyed pseudonym)."),
        sa.Column("programme", sa.Text(), nullable=True, comment="Programme (code)."),
        sa.Column("contacted_on", sa.Date(), nullable=True, comment="Day of the contact."),
        sa.Column("channel", sa.Text(), nullable=True, comment="Channel (code)."),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_service_contact")),
        schema="facts",
        comment="Contacts with clients.",
    )
    op.create_table(
        "sharing_basis",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("purpose", sa.Text(), nullable=True, comment="Purpose (code)."),
        sa.Column("lawful_basis", sa.Text(), nullable=True, comment="Lawful basis (code)."),
        sa.Column("basis_from", sa.Date(), nullable=True, comment="First day of the basis."),
        sa.Column("basis_to", sa.Date(), nullable=True, comment="Last day of the basis."),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_sharing_basis")),
        schema="facts",
        comment="On which lawful basis a client's data are shared, by purpose.",
    )
    op.create_table(
        "stage_event",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought the row."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it was sent for."),
        sa.Column(
            "row_key", sa.Text(), nullable=False, comment="Keyed pseudonym of partner, table and the partner's own key."
        ),
        sa.Column(
            "person_ref",
            sa.Text(),
            nullable=True,
            comment="Keyed pseudonym of the partner's own client, where the row is about one.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="True for a delta's deletion of an earlier row.",
        ),
        sa.Column("stage_event_number", sa.Text(), nullable=True, comment="Stage event (keyed pseudonym)."),
        sa.Column("programme", sa.Text(), nullable=True, comment="Programme (code)."),
        sa.Column("stage", sa.Text(), nullable=True, comment="Stage (code)."),
        sa.Column("entered_on", sa.Date(), nullable=True, comment="Day the stage was reached."),
        sa.PrimaryKeyConstraint("submission_id", "row_key", name=op.f("pk_stage_event")),
        schema="facts",
        comment="Stages of a programme that clients reached.",
    )
    op.create_table(
        "agreement_version",
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the agreement's text."),
        sa.Column("version", sa.Text(), nullable=False, comment="Version number that the partners signed."),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), nullable=False, comment="When the database first met this text."
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_agreement_version")),
        schema="governance",
        comment="Every text of the agreement that this database has worked under.",
    )
    op.create_table(
        "applied_plan",
        sa.Column("plan_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Running number."),
        sa.Column("agreement_digest", sa.Text(), nullable=False, comment="The agreement that asked for it."),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False, comment="When it was applied."),
        sa.Column(
            "columns",
            postgresql.JSONB(),
            nullable=False,
            comment="What was added: table, column, type and description.",
        ),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_applied_plan")),
        schema="governance",
        comment="Columns and tables of facts that an agreement added to the core. Additions only.",
    )
    op.create_table(
        "audit_event",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Running number."),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it happened, by the database's clock.",
        ),
        sa.Column("actor", sa.Text(), nullable=False, comment="Login or service that did it."),
        sa.Column("action", sa.Text(), nullable=False, comment="What was done, such as submission.loaded."),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="Id of what it was done to: a submission, snapshot, release or grant; never a person.",
        ),
        sa.Column("detail", postgresql.JSONB(), nullable=False, comment="Counts and ids. No personal data."),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_event")),
        schema="governance",
        comment="What was done by whom. Rows can be added, never changed or deleted.",
    )
    op.create_table(
        "collection_period",
        sa.Column("period", sa.Text(), nullable=False, comment="Id of the period, such as 2026-Q1."),
        sa.Column("starts", sa.Date(), nullable=False, comment="First day."),
        sa.Column("ends", sa.Date(), nullable=False, comment="Last day, included."),
        sa.PrimaryKeyConstraint("period", name=op.f("pk_collection_period")),
        schema="governance",
        comment="The collection periods of the agreement's calendar. They order the submissions of a partner in time.",
    )
    op.create_table(
        "draft_figure",
        sa.Column("release_id", sa.Text(), nullable=False, comment="The release that is being prepared."),
        sa.Column("measure", sa.Text(), nullable=False, comment="Id of the measure, the name of its SQL file."),
        sa.Column(
            "breakdown",
            sa.Text(),
            nullable=False,
            comment="What the figure is broken down by; 'all' for the whole partnership.",
        ),
        sa.Column("dims", postgresql.JSONB(), nullable=False, comment="The categories of this cell, by dimension."),
        sa.Column(
            "statistic", sa.Text(), nullable=False, comment="Which figure of the measure: people, rows, rate, mean ..."
        ),
        sa.Column(
            "value",
            sa.Numeric(),
            nullable=True,
            comment="The figure, rounded; null where it is withheld or not available, never 0 for it.",
        ),
        sa.Column("numerator", sa.Numeric(), nullable=True, comment="Published count above the line of a rate."),
        sa.Column("denominator", sa.Numeric(), nullable=True, comment="Published count below the line of a rate."),
        sa.Column("unit", sa.Text(), nullable=True, comment="people, rows, days, gbp, percent ..."),
        sa.Column("status", sa.Text(), nullable=False, comment="published, withheld or not_available."),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it is withheld or not available, in words."),
        sa.CheckConstraint("status = 'published' or value is null", name=op.f("ck_draft_figure_withheld_is_null")),
        sa.CheckConstraint("status in ('published', 'withheld', 'not_available')", name=op.f("ck_draft_figure_status")),
        sa.PrimaryKeyConstraint(
            "release_id", "measure", "breakdown", "dims", "statistic", name=op.f("pk_draft_figure")
        ),
        schema="governance",
        comment="Figures of releases in preparation. Readers of evidence cannot see them.",
    )
    op.create_table(
        "login_grant",
        sa.Column("login", sa.Text(), nullable=False, comment="The database login."),
        sa.Column(
            "audience",
            sa.Text(),
            nullable=False,
            comment="Id of the agreement's grant: the domain of the pseudonyms that the login sees.",
        ),
        sa.Column("purpose", sa.Text(), nullable=False, comment="The purpose that it may use the data for."),
        sa.Column("schemas", sa.ARRAY(sa.Text()), nullable=False, comment="evidence, pool."),
        sa.Column("starts", sa.Date(), nullable=False, comment="First day of the grant."),
        sa.Column("ends", sa.Date(), nullable=False, comment="Last day of the grant, included."),
        sa.Column("agreement_digest", sa.Text(), nullable=False, comment="The agreement that grants it."),
        sa.PrimaryKeyConstraint("login", name=op.f("pk_login_grant")),
        schema="governance",
        comment="Which login belongs to which grant of the agreement in force.",
    )
    op.create_table(
        "snapshot",
        sa.Column(
            "snapshot_id",
            sa.Text(),
            nullable=False,
            comment="Id of the snapshot; the same set of submissions has the same id.",
        ),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False, comment="When it was taken."),
        sa.Column(
            "digest",
            sa.Text(),
            nullable=False,
            comment="SHA-256 over the submissions, their contents and the rows that they brought.",
        ),
        sa.Column("periods", sa.ARRAY(sa.Text()), nullable=False, comment="The collection periods asked for."),
        sa.Column("partners", sa.ARRAY(sa.Text()), nullable=True, comment="The partners asked for; null for all."),
        sa.Column(
            "closed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When its rows were given free to be purged; null while it is open.",
        ),
        sa.PrimaryKeyConstraint("snapshot_id", name=op.f("pk_snapshot")),
        schema="governance",
        comment="Recorded sets of submissions in force. A release binds to one.",
    )
    op.create_table(
        "submission",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="Id of the submission."),
        sa.Column(
            "seq",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of receipt over all partners.",
        ),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner that sent it."),
        sa.Column("period", sa.Text(), nullable=False, comment="The collection period that it is for."),
        sa.Column("mode", sa.Text(), nullable=False, comment="full, delta, correction or nil."),
        sa.Column(
            "agreement_version", sa.Text(), nullable=False, comment="Version of the agreement that its manifest names."
        ),
        sa.Column("content_digest", sa.Text(), nullable=False, comment="SHA-256 of what was received."),
        sa.Column(
            "key_id",
            sa.Text(),
            nullable=True,
            comment="Id of the key ring that its pseudonyms were made with; null before it is loaded.",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="When it was received."),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=True, comment="When its rows were loaded."),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="received, refused, loaded, superseded (nothing of it is in force) or erased.",
        ),
        sa.Column(
            "supersedes", sa.Text(), nullable=True, comment="For a correction: the submission whose tables it replaces."
        ),
        sa.Column(
            "superseded_by",
            sa.Text(),
            nullable=True,
            comment="The submission whose loading left nothing of this one in force.",
        ),
        sa.Column(
            "receipt",
            postgresql.JSONB(),
            nullable=True,
            comment="The receipt: counts and findings, without a cell's content.",
        ),
        sa.CheckConstraint("(mode = 'correction') = (supersedes is not null)", name=op.f("ck_submission_supersedes")),
        sa.CheckConstraint("mode in ('full', 'delta', 'correction', 'nil')", name=op.f("ck_submission_mode")),
        sa.CheckConstraint(
            "state in ('received', 'refused', 'loaded', 'superseded', 'erased')", name=op.f("ck_submission_state")
        ),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_submission")),
        sa.UniqueConstraint("seq", name=op.f("uq_submission_seq")),
        schema="governance",
        comment="One row for each submission that a partner dropped.",
    )
    op.create_index(
        "ix_submission_partner_id_period", "submission", ["partner_id", "period"], unique=False, schema="governance"
    )
    op.create_table(
        "match_key",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission that brought it."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner."),
        sa.Column("person_ref", sa.Text(), nullable=False, comment="Pseudonym of the partner's own client."),
        sa.Column("key_name", sa.Text(), nullable=False, comment="Name of the composite key."),
        sa.Column("token", sa.Text(), nullable=False, comment="Keyed hash of the key's parts, 64 hex characters."),
        sa.PrimaryKeyConstraint("submission_id", "person_ref", "key_name", "token", name=op.f("pk_match_key")),
        schema="linkage",
        comment="Match keys of each client record. A key with a missing part has no row.",
    )
    op.create_table(
        "membership",
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner."),
        sa.Column("person_ref", sa.Text(), nullable=False, comment="Pseudonym of the partner's own client."),
        sa.Column("person_id", sa.Uuid(), nullable=False, comment="The person that the record belongs to."),
        sa.Column("since_run", sa.Text(), nullable=False, comment="The run that put it there."),
        sa.PrimaryKeyConstraint("partner_id", "person_ref", name=op.f("pk_membership")),
        schema="linkage",
        comment="Which client record belongs to which person now. Records that cannot be linked have no row.",
    )
    op.create_index("ix_membership_person_id", "membership", ["person_id"], unique=False, schema="linkage")
    op.create_table(
        "membership_history",
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner."),
        sa.Column("person_ref", sa.Text(), nullable=False, comment="Pseudonym of the partner's own client."),
        sa.Column("person_id", sa.Uuid(), nullable=False, comment="The person that it belonged to."),
        sa.Column("since_run", sa.Text(), nullable=False, comment="The run that put it there."),
        sa.Column("until_run", sa.Text(), nullable=False, comment="The run that moved it away."),
        sa.PrimaryKeyConstraint("partner_id", "person_ref", "since_run", name=op.f("pk_membership_history")),
        schema="linkage",
        comment="Where records belonged before, so that an earlier release can be computed again.",
    )
    op.create_table(
        "person",
        sa.Column("person_id", sa.Uuid(), nullable=False, comment="Random id of a person."),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When it was first given."),
        sa.Column(
            "retired_into",
            sa.Uuid(),
            nullable=True,
            comment="The person that it was merged into; null while it is in use.",
        ),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person")),
        schema="linkage",
        comment="The registry's persons.",
    )
    op.create_table(
        "published_id",
        sa.Column("audience", sa.Text(), nullable=False, comment="The grant that the pseudonym is for."),
        sa.Column("person_id", sa.Uuid(), nullable=False, comment="The person."),
        sa.Column("published_id", sa.Text(), nullable=False, comment="The person's pseudonym for that grant alone."),
        sa.PrimaryKeyConstraint("audience", "person_id", name=op.f("pk_published_id")),
        schema="linkage",
        comment="Pseudonyms given out, by grant. Two grants' pseudonyms of one person have nothing in common.",
    )
    op.create_index(
        "uq_published_id_audience_published_id",
        "published_id",
        ["audience", "published_id"],
        unique=True,
        schema="linkage",
    )
    op.create_table(
        "registry_event",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Running number."),
        sa.Column("run_id", sa.Text(), nullable=False, comment="The run that did it."),
        sa.Column("event", sa.Text(), nullable=False, comment="created, joined, merged or split."),
        sa.Column("cause", sa.Text(), nullable=False, comment="Why: the key or decision that did it."),
        sa.Column("person_id", sa.Uuid(), nullable=False, comment="The person that goes on."),
        sa.Column(
            "other_person_id", sa.Uuid(), nullable=True, comment="The person that was merged into it or split from it."
        ),
        sa.CheckConstraint("event in ('created', 'joined', 'merged', 'split')", name=op.f("ck_registry_event_event")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_registry_event")),
        schema="linkage",
        comment="Every change of the registry.",
    )
    op.create_index("ix_registry_event_person_id", "registry_event", ["person_id"], unique=False, schema="linkage")
    op.create_table(
        "run",
        sa.Column("run_id", sa.Text(), nullable=False, comment="Id of the linkage run."),
        sa.Column(
            "seq",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order in which runs changed the registry.",
        ),
        sa.Column("snapshot_id", sa.Text(), nullable=False, comment="The snapshot whose records were linked."),
        sa.Column("method", sa.Text(), nullable=False, comment="Name and version of the method."),
        sa.Column("parameters", postgresql.JSONB(), nullable=False, comment="Its parameters."),
        sa.Column("counts", postgresql.JSONB(), nullable=False, comment="Records, persons, merges, splits ..."),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False, comment="When its result was written."),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run")),
        sa.UniqueConstraint("seq", name=op.f("uq_run_seq")),
        schema="linkage",
        comment="Every linkage run that changed the registry.",
    )
    op.create_index("ix_run_snapshot_id", "run", ["snapshot_id"], unique=False, schema="linkage")
    op.create_table(
        "figure",
        sa.Column("release_id", sa.Text(), nullable=False, comment="The release that it belongs to."),
        sa.Column("measure", sa.Text(), nullable=False, comment="Id of the measure, the name of its SQL file."),
        sa.Column(
            "breakdown",
            sa.Text(),
            nullable=False,
            comment="What the figure is broken down by; 'all' for the whole partnership.",
        ),
        sa.Column("dims", postgresql.JSONB(), nullable=False, comment="The categories of this cell, by dimension."),
        sa.Column(
            "statistic", sa.Text(), nullable=False, comment="Which figure of the measure: people, rows, rate, mean ..."
        ),
        sa.Column(
            "value",
            sa.Numeric(),
            nullable=True,
            comment="The figure, rounded; null where it is withheld or not available, never 0 for it.",
        ),
        sa.Column("numerator", sa.Numeric(), nullable=True, comment="Published count above the line of a rate."),
        sa.Column("denominator", sa.Numeric(), nullable=True, comment="Published count below the line of a rate."),
        sa.Column("unit", sa.Text(), nullable=True, comment="people, rows, days, gbp, percent ..."),
        sa.Column("status", sa.Text(), nullable=False, comment="published, withheld or not_available."),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it is withheld or not available, in words."),
        sa.CheckConstraint("status = 'published' or value is null", name=op.f("ck_figure_withheld_is_null")),
        sa.CheckConstraint("status in ('published', 'withheld', 'not_available')", name=op.f("ck_figure_status")),
        sa.ForeignKeyConstraint(["release_id"], ["evidence.release.release_id"], name=op.f("fk_figure_release_id")),
        sa.PrimaryKeyConstraint("release_id", "measure", "breakdown", "dims", "statistic", name=op.f("pk_figure")),
        schema="evidence",
        comment="The figures of all releases, as published. Never changed or deleted.",
    )
    op.create_table(
        "snapshot_table",
        sa.Column("snapshot_id", sa.Text(), nullable=False, comment="The snapshot."),
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission."),
        sa.Column(
            "table_name",
            sa.Text(),
            nullable=False,
            comment="The agreed table whose rows of that submission are in force.",
        ),
        sa.Column(
            "ord",
            sa.Integer(),
            nullable=False,
            comment="Precedence: of two rows with one key the one of the higher number holds.",
        ),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["governance.snapshot.snapshot_id"], name=op.f("fk_snapshot_table_snapshot_id")
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["governance.submission.submission_id"], name=op.f("fk_snapshot_table_submission_id")
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "submission_id", "table_name", name=op.f("pk_snapshot_table")),
        schema="governance",
        comment="What is in each snapshot.",
    )
    op.create_index(
        "ix_snapshot_table_submission_id", "snapshot_table", ["submission_id"], unique=False, schema="governance"
    )
    op.create_table(
        "submission_table",
        sa.Column("submission_id", sa.Text(), nullable=False, comment="The submission."),
        sa.Column("table_name", sa.Text(), nullable=False, comment="The agreed table."),
        sa.Column("rows_received", sa.BigInteger(), nullable=False, comment="Rows in the partner's file."),
        sa.Column("rows_accepted", sa.BigInteger(), nullable=False, comment="Rows loaded."),
        sa.Column("rows_held_back", sa.BigInteger(), nullable=False, comment="Rows held back for a fault."),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["governance.submission.submission_id"], name=op.f("fk_submission_table_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", "table_name", name=op.f("pk_submission_table")),
        schema="governance",
        comment="Counts for each table of a submission. A table without a row here was not part of it.",
    )
