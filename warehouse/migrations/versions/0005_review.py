"""The review queue, decisions about pairs of records, and re-identification by two people.

Revision ID: 0005
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# LA001 is the SQLSTATE of what these functions refuse: the message is a sentence for people, and holds no value.

# By the membership itself: a superuser counts as a member of everything, and the owner can make itself one only openly.
REQUIRE_CUSTODIAN = """
create function linkage.require_custodian() returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from pg_auth_members m join pg_roles l on l.oid = m.member join pg_roles g on g.oid = m.roleid
    where l.rolname = session_user and g.rolname = 'linkarms_custodian' and m.inherit_option;
    if not found then
        raise exception 'This is done under a custodian''s own login.' using errcode = 'LA001';
    end if;
end
$$
"""

SIGN_DECISION = """
create function linkage.sign_decision() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform linkage.require_custodian();
    new.decided_by := session_user;
    new.decided_at := clock_timestamp();
    new.after_run := coalesce((select max(seq) from linkage.run), 0);
    return new;
end
$$
"""

TELL_DECISION = """
create function linkage.tell_decision() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into governance.audit_event (actor, action, subject, detail)
    values (session_user, 'linkage.decided', 'decision ' || new.decision_id, jsonb_build_object(
        'answer', new.answer, 'partner', new.partner_id, 'other_partner', new.other_partner_id));
    return null;
end
$$
"""

# A rotation of keys gives every record another pseudonym, and a decision has to go with it.
GUARD_DECISION = """
create function linkage.guard_decision() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    pseudonyms constant text[] := array['person_ref', 'other_person_ref'];
begin
    if (to_jsonb(new) - pseudonyms) <> (to_jsonb(old) - pseudonyms) then
        raise exception 'a decision is not changed; a later one takes its place'
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end
$$
"""

TELL_REKEYED = """
create function linkage.tell_rekeyed_decisions() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into governance.audit_event (actor, action, subject, detail)
    select session_user, 'linkage.decisions_rekeyed', 'linkage.decision', jsonb_build_object('rows', count(*))
    from changed having count(*) > 0;
    return null;
end
$$
"""

SIGN_REQUEST = """
create function linkage.sign_request() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform linkage.require_custodian();
    new.requested_by := session_user;
    new.requested_at := clock_timestamp();
    new.ends_at := new.requested_at + interval '14 days';
    return new;
end
$$
"""

TELL_REQUEST = """
create function linkage.tell_request() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into governance.audit_event (actor, action, subject, detail)
    values (session_user, 'reidentification.requested', 'request ' || new.request_id,
        jsonb_build_object('grant', new.audience, 'partner', new.partner_id));
    return null;
end
$$
"""

SIGN_STEP = """
create function linkage.sign_step() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    asked linkage.reidentification_request;
    approver text;
begin
    perform linkage.require_custodian();
    select * into asked from linkage.reidentification_request r where r.request_id = new.request_id;
    if not found then
        raise exception 'There is no such request.' using errcode = 'LA001';
    end if;
    new.done_by := session_user;
    new.done_at := clock_timestamp();
    if new.done_at >= asked.ends_at then
        raise exception 'The request has ended. Make a new one.' using errcode = 'LA001';
    end if;
    if new.step = 'approved' and asked.requested_by = session_user then
        raise exception 'A request is approved by another person than the one who made it.'
            using errcode = 'LA001';
    end if;
    if new.step = 'carried_out' then
        select s.done_by into approver from linkage.reidentification_step s
        where s.request_id = new.request_id and s.step = 'approved';
        if not found then
            raise exception 'The request has not been approved.' using errcode = 'LA001';
        end if;
        if session_user not in (asked.requested_by, approver) then
            raise exception 'A request is carried out by one of the two who made and approved it.'
                using errcode = 'LA001';
        end if;
    end if;
    perform from linkage.reidentification_step s where s.request_id = new.request_id and s.step = new.step;
    if found then
        raise exception 'That has been done already.' using errcode = 'LA001';
    end if;
    return new;
end
$$
"""

TELL_STEP = """
create function linkage.tell_step() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into governance.audit_event (actor, action, subject, detail)
    select session_user, 'reidentification.' || new.step, 'request ' || new.request_id,
        jsonb_build_object('grant', r.audience, 'partner', r.partner_id)
    from linkage.reidentification_request r where r.request_id = new.request_id;
    return null;
end
$$
"""

ONLY_ADDED_TO = ("linkage.reidentification_request", "linkage.reidentification_step")
SIGNED = (
    ("linkage.decision", "sign_decision", "tell_decision"),
    ("linkage.reidentification_request", "sign_request", "tell_request"),
    ("linkage.reidentification_step", "sign_step", "tell_step"),
)


def upgrade() -> None:
    """Make the tables and the triggers that keep their promises."""
    _make_tables()
    for function in (
        REQUIRE_CUSTODIAN,
        SIGN_DECISION,
        TELL_DECISION,
        GUARD_DECISION,
        TELL_REKEYED,
        SIGN_REQUEST,
        TELL_REQUEST,
        SIGN_STEP,
        TELL_STEP,
    ):
        op.get_bind().exec_driver_sql(function.replace("%", "%%"))
    for table, sign, tell in SIGNED:
        op.execute(f"create trigger signed before insert on {table} for each row execute function linkage.{sign}()")
        op.execute(f"create trigger told after insert on {table} for each row execute function linkage.{tell}()")
        op.execute(
            f"create trigger never_emptied before truncate on {table} "
            "for each statement execute function governance.refuse_change()"
        )
    for table in ONLY_ADDED_TO:
        op.execute(
            f"create trigger append_only before update or delete on {table} "
            "for each row execute function governance.refuse_change()"
        )
    op.execute(
        "create trigger never_deleted before delete on linkage.decision "
        "for each row execute function governance.refuse_change()"
    )
    op.execute(
        "create trigger guarded before update on linkage.decision "
        "for each row execute function linkage.guard_decision()"
    )
    op.execute(
        "create trigger told_rekeyed after update on linkage.decision referencing new table as changed "
        "for each statement execute function linkage.tell_rekeyed_decisions()"
    )
    op.execute(
        "do $$ begin comment on role linkarms_custodian is 'Looks after linkage: reads match keys, the registry and "
        "what governs them, and decides on pairs.'; exception when insufficient_privilege then null; end $$"
    )


def downgrade() -> None:
    """Decisions of people would be lost."""
    raise NotImplementedError("There is no way back from decisions that people took. Restore a backup instead.")


def _make_tables() -> None:
    op.create_table(
        "review_pair",
        sa.Column(
            "pair_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Number of the pair, by which people name it.",
        ),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner of the one record."),
        sa.Column("person_ref", sa.Text(), nullable=False, comment="Pseudonym of that partner's own client."),
        sa.Column("other_partner_id", sa.Text(), nullable=False, comment="The partner of the other record."),
        sa.Column("other_person_ref", sa.Text(), nullable=False, comment="Pseudonym of that partner's own client."),
        sa.Column(
            "probability",
            sa.Double(),
            nullable=False,
            comment="How probable it is that the two are one person, by the last run that put it up.",
        ),
        sa.Column(
            "agreed_on",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="What the records agree on, in words; never a value.",
        ),
        sa.Column(
            "differs_on",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="What the records differ on, in words; never a value.",
        ),
        sa.Column(
            "rows_concerned",
            sa.BigInteger(),
            nullable=False,
            comment="Rows of both records that the decision moves together or apart.",
        ),
        sa.Column("first_run", sa.Text(), nullable=False, comment="The run that first put it up."),
        sa.Column("last_run", sa.Text(), nullable=False, comment="The last run that put it up."),
        sa.Column(
            "closed_run",
            sa.Text(),
            nullable=True,
            comment="The run that no longer found it in doubt; null while it is up for review.",
        ),
        sa.UniqueConstraint(
            "partner_id", "person_ref", "other_partner_id", "other_person_ref", name=op.f("uq_review_pair_records")
        ),
        sa.PrimaryKeyConstraint("pair_id", name=op.f("pk_review_pair")),
        schema="linkage",
        comment="Pairs of records that linkage is in doubt about, for the custodian to decide on.",
    )
    op.create_table(
        "decision",
        sa.Column(
            "decision_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Running number; of two on one pair the later holds.",
        ),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The partner of the one record."),
        sa.Column("person_ref", sa.Text(), nullable=False, comment="Pseudonym of that partner's own client."),
        sa.Column("other_partner_id", sa.Text(), nullable=False, comment="The partner of the other record."),
        sa.Column("other_person_ref", sa.Text(), nullable=False, comment="Pseudonym of that partner's own client."),
        sa.Column(
            "answer",
            sa.Text(),
            nullable=False,
            comment="same, different, or undecided, which takes an earlier answer back.",
        ),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=False,
            comment="Why, in the custodian's words and without anything about the person.",
        ),
        sa.Column("decided_by", sa.Text(), nullable=False, comment="The login of the session that decided."),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False, comment="When, by the database's clock."),
        sa.Column(
            "after_run",
            sa.BigInteger(),
            nullable=False,
            comment="Order number of the latest linkage run at that time; 0 before the first.",
        ),
        sa.CheckConstraint("length(btrim(reason)) >= 10", name=op.f("ck_decision_reason")),
        sa.CheckConstraint("answer in ('same', 'different', 'undecided')", name=op.f("ck_decision_answer")),
        sa.CheckConstraint(
            "(partner_id, person_ref) <> (other_partner_id, other_person_ref)", name=op.f("ck_decision_two_records")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decision")),
        schema="linkage",
        comment="What custodians decided about pairs of records. Rows can be added, never changed or deleted; only the "
        "pseudonyms in them follow a rotation of keys.",
    )
    op.create_index(
        "ix_decision_records",
        "decision",
        ["partner_id", "person_ref", "other_partner_id", "other_person_ref"],
        schema="linkage",
    )
    op.create_table(
        "reidentification_request",
        sa.Column("request_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Running number."),
        sa.Column("audience", sa.Text(), nullable=False, comment="The grant whose pseudonym is asked about."),
        sa.Column("published_id", sa.Text(), nullable=False, comment="The pseudonym of a person for that grant."),
        sa.Column("partner_id", sa.Text(), nullable=False, comment="The one partner whose client number is asked for."),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, without anything about the person."),
        sa.Column("requested_by", sa.Text(), nullable=False, comment="The login of the session that asked."),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False, comment="When, by the database's clock."),
        sa.Column(
            "ends_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it can no longer be approved or carried out.",
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_reidentification_request")),
        sa.CheckConstraint("length(btrim(reason)) >= 10", name=op.f("ck_reidentification_request_reason")),
        schema="linkage",
        comment="Requests to learn a partner's own client number of a published pseudonym. Rows can only be added.",
    )
    op.create_table(
        "reidentification_step",
        sa.Column("request_id", sa.BigInteger(), nullable=False, comment="The request."),
        sa.Column(
            "step",
            sa.Text(),
            nullable=False,
            comment="approved (by another login than asked) or carried_out (once, by one of the two).",
        ),
        sa.Column("done_by", sa.Text(), nullable=False, comment="The login of the session that did it."),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False, comment="When, by the database's clock."),
        sa.CheckConstraint("step in ('approved', 'carried_out')", name=op.f("ck_reidentification_step_step")),
        sa.PrimaryKeyConstraint("request_id", "step", name=op.f("pk_reidentification_step")),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["linkage.reidentification_request.request_id"],
            name=op.f("fk_reidentification_step_request_id"),
        ),
        schema="linkage",
        comment="What became of the requests. Each step happens once; rows can only be added.",
    )
