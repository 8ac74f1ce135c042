"""Tables of the schema ``facts``: the core of the agreed tables, with their keys, dates and codes.

Other columns of an agreement, and further tables, are added by its plan (:mod:`warehouse.plan`). Rows are inserted by
loading alone and are updated only where a new version of the agreement says what becomes of them
(:mod:`warehouse.upgrade`) and where keys are rotated (:mod:`warehouse.rotation`); which of them are in force is derived
(:mod:`warehouse.snapshot`). There is no foreign key from a row to its submission: checking one would cost a look-up a
row, and rows are written only by :func:`warehouse.loading.load_submission`, in the transaction that marks their
submission as loaded.
"""

from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Column, Date, Integer, PrimaryKeyConstraint, Table, Text, text

from protocol.pool import row_domain
from warehouse.schema.base import metadata, needed, optional, pseudonym

SCHEMA = "facts"

PLATFORM_COLUMNS = ("submission_id", "partner_id", "period", "row_key", "person_ref", "deleted")
"""The columns that every facts table starts with."""


def platform_columns() -> list[Column[Any]]:
    """Columns that every facts table starts with."""
    return [
        needed("submission_id", Text, "The submission that brought the row."),
        needed("partner_id", Text, "The partner that sent it."),
        needed("period", Text, "The collection period that it was sent for."),
        needed("row_key", Text, "Keyed pseudonym of partner, table and the partner's own key."),
        optional("person_ref", Text, "Keyed pseudonym of the partner's own client, where the row is about one."),
        needed("deleted", Boolean, "True for a delta's deletion of an earlier row.", server_default=text("false")),
    ]


def _facts(name: str, comment: str, *columns: Column[Any]) -> Table:
    return Table(
        name,
        metadata,
        *platform_columns(),
        *columns,
        PrimaryKeyConstraint("submission_id", "row_key"),
        schema=SCHEMA,
        comment=comment,
    )


def _code(name: str, label: str) -> Column[Any]:
    return optional(name, Text, f"{label} (code).")


def _date(name: str, label: str) -> Column[Any]:
    return optional(name, Date, f"{label}.")


def _number(name: str, label: str) -> Column[Any]:
    # Of which domain, the agreement says: its reference decides where the number was first given.
    return optional(name, Text, f"{label} (keyed pseudonym).", info=pseudonym())


person = _facts(
    "person",
    "Clients as each partner knows them: one row for each client of a partner.",
    optional("birth_year_band", Text, "Five-year band of the year of birth."),
    optional("postcode_district", Text, "Outward part of the postcode."),
    _code("sex", "Sex"),
    _code("ethnic_group", "Ethnic group"),
    _number("household_number", "Household"),
    _code("do_not_link", "Whether the client must not be linked"),
    _date("died_on_month", "Month of death"),
    _date("recorded_on_month", "Month in which the record was last brought up to date"),
)
sharing_basis = _facts(
    "sharing_basis",
    "On which lawful basis a client's data are shared, by purpose.",
    _code("purpose", "Purpose"),
    _code("lawful_basis", "Lawful basis"),
    _date("basis_from", "First day of the basis"),
    _date("basis_to", "Last day of the basis"),
)
enrolment = _facts(
    "enrolment",
    "Clients' enrolments in programmes.",
    _number("enrolment_number", "Enrolment"),
    _code("programme", "Programme"),
    _date("started_on", "First day"),
    _date("ended_on", "Last day"),
    _code("end_reason", "Reason for the end"),
)
assessment = _facts(
    "assessment",
    "Assessments of clients.",
    _number("assessment_number", "Assessment"),
    _code("domain", "Domain"),
    _code("tool", "Tool"),
    _date("assessed_on", "Day of the assessment"),
    _date("valid_to", "Last day that it holds"),
)
assessment_item = _facts(
    "assessment_item",
    "Answers to the items of an assessment.",
    _number("assessment_number", "Assessment"),
    _code("item", "Item"),
)
referral = _facts(
    "referral",
    "Referrals, as sent and as received.",
    _number("referral_number", "Referral"),
    _code("direction", "Sent or received"),
    _code("other_partner", "The other partner"),
    _date("sent_on", "Day sent"),
    _date("accepted_on", "Day accepted"),
    _date("first_contact_on", "Day of first contact"),
    _code("status", "Status"),
    _code("declined_reason", "Reason for declining"),
    _code("assessment_passed_on", "Whether the assessment was passed on"),
)
stage_event = _facts(
    "stage_event",
    "Stages of a programme that clients reached.",
    _number("stage_event_number", "Stage event"),
    _code("programme", "Programme"),
    _code("stage", "Stage"),
    _date("entered_on", "Day the stage was reached"),
)
outcome = _facts(
    "outcome",
    "Outcomes that clients achieved.",
    _number("outcome_number", "Outcome"),
    _code("outcome", "Outcome"),
    _date("achieved_on", "Day achieved"),
)
service_contact = _facts(
    "service_contact",
    "Contacts with clients.",
    _number("contact_number", "Contact"),
    _code("programme", "Programme"),
    _date("contacted_on", "Day of the contact"),
    _code("channel", "Channel"),
)
cost = _facts(
    "cost",
    "Costs of programmes. Not about a person.",
    _number("cost_number", "Cost"),
    _code("programme", "Programme"),
    _code("cost_type", "Type of cost"),
    _date("incurred_on", "Day incurred"),
)

assessment_mark = Table(
    "assessment_mark",
    metadata,
    needed("snapshot_id", Text, "The snapshot that the marks were made over."),
    needed("partner_id", Text, "The partner that made the assessment."),
    needed("row_key", Text, "The assessment's row.", info=pseudonym(*row_domain("assessment"))),
    needed("mark", Text, "of_record, repeat (of another partner's) or review (of the partner's own)."),
    optional("repeats_partner_id", Text, "Partner of the assessment that it repeats."),
    optional(
        "repeats_row_key",
        Text,
        "Row of the assessment that it repeats.",
        info=pseudonym(*row_domain("assessment")),
    ),
    optional("days_since", Integer, "Days since the assessment that it repeats."),
    CheckConstraint("mark in ('of_record', 'repeat', 'review')", name="mark"),
    PrimaryKeyConstraint("snapshot_id", "partner_id", "row_key"),
    schema=SCHEMA,
    comment="Which assessment is the one of record and which repeats it.",
)
