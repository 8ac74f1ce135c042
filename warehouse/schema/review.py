"""Tables of the schema ``linkage`` that people work in: the review queue, their decisions, and re-identification.

What the tables cannot say stands in triggers (migration ``0005``): a decision and each step of a re-identification is
written under the login of the session, at the database's time, by members of the custodian's group alone; none is
changed or deleted afterwards; and each leaves an audit event.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY

from warehouse.schema.base import metadata, needed, optional

_SCHEMA = "linkage"
_MOMENT = DateTime(timezone=True)

review_pair = Table(
    "review_pair",
    metadata,
    needed("pair_id", BigInteger, "Number of the pair, by which people name it.", Identity(always=True)),
    needed("partner_id", Text, "The partner of the one record."),
    needed("person_ref", Text, "Pseudonym of that partner's own client."),
    needed("other_partner_id", Text, "The partner of the other record."),
    needed("other_person_ref", Text, "Pseudonym of that partner's own client."),
    needed("probability", Double, "How probable it is that the two are one person, by the last run that put it up."),
    needed("agreed_on", ARRAY(Text), "What the records agree on, in words; never a value."),
    needed("differs_on", ARRAY(Text), "What the records differ on, in words; never a value."),
    needed("rows_concerned", BigInteger, "Rows of both records that the decision moves together or apart."),
    needed("first_run", Text, "The run that first put it up."),
    needed("last_run", Text, "The last run that put it up."),
    optional("closed_run", Text, "The run that no longer found it in doubt; null while it is up for review."),
    PrimaryKeyConstraint("pair_id"),
    UniqueConstraint("partner_id", "person_ref", "other_partner_id", "other_person_ref", name="uq_review_pair_records"),
    schema=_SCHEMA,
    comment="Pairs of records that linkage is in doubt about, for the custodian to decide on.",
)

decision = Table(
    "decision",
    metadata,
    needed("decision_id", BigInteger, "Running number; of two on one pair the later holds.", Identity(always=True)),
    needed("partner_id", Text, "The partner of the one record."),
    needed("person_ref", Text, "Pseudonym of that partner's own client."),
    needed("other_partner_id", Text, "The partner of the other record."),
    needed("other_person_ref", Text, "Pseudonym of that partner's own client."),
    needed("answer", Text, "same, different, or undecided, which takes an earlier answer back."),
    needed("reason", Text, "Why, in the custodian's words and without anything about the person."),
    needed("decided_by", Text, "The login of the session that decided."),
    needed("decided_at", _MOMENT, "When, by the database's clock."),
    needed("after_run", BigInteger, "Order number of the latest linkage run at that time; 0 before the first."),
    PrimaryKeyConstraint("decision_id"),
    CheckConstraint("answer in ('same', 'different', 'undecided')", name="answer"),
    CheckConstraint("length(btrim(reason)) >= 10", name="reason"),
    CheckConstraint("(partner_id, person_ref) <> (other_partner_id, other_person_ref)", name="two_records"),
    Index("ix_decision_records", "partner_id", "person_ref", "other_partner_id", "other_person_ref"),
    schema=_SCHEMA,
    comment="What custodians decided about pairs of records. Rows can be added, never changed or deleted; only the "
    "pseudonyms in them follow a rotation of keys.",
)

reidentification_request = Table(
    "reidentification_request",
    metadata,
    needed("request_id", BigInteger, "Running number.", Identity(always=True)),
    needed("audience", Text, "The grant whose pseudonym is asked about."),
    needed("published_id", Text, "The pseudonym of a person for that grant."),
    needed("partner_id", Text, "The one partner whose client number is asked for."),
    needed("reason", Text, "Why, without anything about the person."),
    needed("requested_by", Text, "The login of the session that asked."),
    needed("requested_at", _MOMENT, "When, by the database's clock."),
    needed("ends_at", _MOMENT, "When it can no longer be approved or carried out."),
    PrimaryKeyConstraint("request_id"),
    CheckConstraint("length(btrim(reason)) >= 10", name="reason"),
    schema=_SCHEMA,
    comment="Requests to learn a partner's own client number of a published pseudonym. Rows can only be added.",
)

reidentification_step = Table(
    "reidentification_step",
    metadata,
    needed(
        "request_id",
        BigInteger,
        "The request.",
        ForeignKey("linkage.reidentification_request.request_id"),
    ),
    needed("step", Text, "approved (by another login than asked) or carried_out (once, by one of the two)."),
    needed("done_by", Text, "The login of the session that did it."),
    needed("done_at", _MOMENT, "When, by the database's clock."),
    PrimaryKeyConstraint("request_id", "step"),
    CheckConstraint("step in ('approved', 'carried_out')", name="step"),
    schema=_SCHEMA,
    comment="What became of the requests. Each step happens once; rows can only be added.",
)

CUSTODIANS_TABLES = ("decision", "reidentification_request", "reidentification_step")
"""Tables that custodians add to and that the pipeline does not write."""
