"""The register of processing activities (UK GDPR, Article 30) as far as the agreement says it.

Headings follow the Information Commissioner's template for controllers, so that a partner can paste its rows into its
own register. What the agreement cannot say (where the machine stands, say) is named as left to the partner.
"""

from dataclasses import dataclass

from protocol.generated.csv_text import write_csv
from protocol.generated.words import CLASSIFICATIONS, count_in_words, day_in_words
from protocol.model import Agreement, Classification, Column, Contact, ControllerRole, Partner, Processor, Purpose

ROLES = {
    ControllerRole.JOINT_CONTROLLER: "joint controller (Article 26)",
    ControllerRole.CONTROLLER: "controller",
    ControllerRole.PROCESSOR: "processor (Article 28)",
}

TRANSFERS = (
    "None is agreed: every recipient is a party or a team that a grant names. Whoever hosts the pool states where it "
    "lies."
)
DECISIONS = "None: Linkarms decides nothing about a single person, and profiles nobody."
SECURITY = (
    "Keyed pseudonyms on arrival, keys held apart from the pool, access by dated grants, disclosure control and a "
    "named person's approval before anything is published. SECURITY.md has the promises and the tests that keep them."
)
LEFT_TO_THE_PARTNER = "to be filled in by the partner"


@dataclass(frozen=True)
class Categories:
    """The columns of one classification."""

    classification: Classification
    name: str
    columns: tuple[tuple[str, Column], ...]
    """(table, column), in the agreed order; of one label only the first."""

    @property
    def labels(self) -> str:
        """The columns' labels in one line."""
        return ", ".join(column.label for _, column in self.columns)


def categories(agreement: Agreement, purpose: Purpose | None = None) -> tuple[Categories, ...]:
    """Categories of personal data, by classification; those of one purpose, or all."""
    found = []
    for classification in Classification:
        first: dict[str, tuple[str, Column]] = {}
        for table in agreement.contract.tables:
            personal = agreement.contract.is_about_people(table.name)
            for column in table.columns:
                wanted = purpose is None or purpose.id in column.purposes
                if wanted and personal and column.classification is classification:
                    first.setdefault(column.label, (table.name, column))
        if first:
            found.append(Categories(classification, CLASSIFICATIONS[classification], tuple(first.values())))
    return tuple(found)


def people(agreement: Agreement) -> str:
    """Categories of data subjects: the people that the table ``person`` is about."""
    person = agreement.contract.table("person")
    return f"{person.label}: {person.description}"


def address(contact: Contact) -> str:
    """``Data Protection Officer, dpo@partner.example``."""
    return f"{contact.role}, {contact.email}"


def contact_point(agreement: Agreement) -> Partner:
    """The partner to which people may turn."""
    return agreement.partner(agreement.controllers.point_of_contact)


def processor_name(agreement: Agreement, processor: Processor) -> str:
    """The processor's name; a partner's own where it is one."""
    return next((partner.name for partner in agreement.partners if partner.id == processor.name), processor.name)


def recipients(agreement: Agreement, purpose: Purpose | None = None) -> tuple[str, ...]:
    """Teams with a grant on rows about persons, each with its end; those granted for one purpose, or all."""
    return tuple(
        f"{grant.team} (pseudonymised rows, {day_in_words(grant.starts)} to {day_in_words(grant.ends)})"
        for grant in agreement.grants
        if "pool" in grant.schemas and (purpose is None or purpose.id in grant.purposes)
    )


def retention_lines(agreement: Agreement) -> tuple[tuple[str, str], ...]:
    """(what, for how long)."""
    retention = agreement.retention
    return (
        ("Extracts in a partner's inbox", f"{count_in_words(retention.inbox_days, 'day')} after they were taken in"),
        ("Identifiers in the working folder", "until pseudonyms are made of them, within the same run"),
        ("Pseudonymised rows in the pool", count_in_words(retention.pool_years, "year")),
        ("Receipts (no personal data)", count_in_words(retention.receipts_years, "year")),
        ("Published figures (no personal data)", "not deleted"),
    )


HEADINGS = (
    "Business function",
    "Purpose of processing",
    "Name and contact details of controller",
    "Role",
    "Data protection officer or contact",
    "Name and contact details of joint controllers",
    "Point of contact for people",
    "Processors and their contracts",
    "Categories of individuals",
    "Categories of personal data",
    "Special category or criminal offence data",
    "Categories of recipients",
    "Names of third countries or international organisations that personal data are transferred to",
    "Safeguards for exceptional transfers of personal data",
    "Retention schedule",
    "General description of technical and organisational security measures",
    "Article 6 lawful basis for processing personal data",
    "Lawful basis that the controller states",
    "Article 9 basis for processing special category data",
    "Article 10 basis for processing criminal offence data",
    "Data Protection Act 2018, Schedule 1 condition",
    "Statutory gateway",
    "Basis for disclosing confidential data",
    "National data opt-out",
    "Rights available to individuals",
    "Existence of automated decision-making, including profiling",
    "Source of the personal data",
    "Location of personal data",
    "Data Protection Impact Assessment: reference",
    "Data Protection Impact Assessment: completed",
    "Data Protection Impact Assessment: valid until",
    "Privacy notice",
    "Has a personal data breach occurred?",
    "Agreement and version",
)


def register_csv(agreement: Agreement) -> bytes:
    """The register as CSV: a row for each controller and purpose, under :data:`HEADINGS`."""
    rows = (
        _line(agreement, partner, purpose)
        for partner in agreement.partners
        if partner.controller_role is not ControllerRole.PROCESSOR
        for purpose in agreement.purposes
    )
    return write_csv(HEADINGS, rows)


def _line(agreement: Agreement, partner: Partner, purpose: Purpose) -> tuple[str, ...]:
    held = categories(agreement, purpose)
    special = [one for one in held if one.classification in (Classification.SPECIAL_CATEGORY, Classification.OFFENCE)]
    point = contact_point(agreement)
    dpia = agreement.dpia
    return (
        agreement.title,
        f"{purpose.title}: {purpose.description}",
        f"{partner.name}: {address(partner.contacts[0])}" if partner.contacts else partner.name,
        ROLES[partner.controller_role],
        "; ".join(address(contact) for contact in partner.contacts),
        _joint_controllers(agreement, partner),
        f"{point.name}: {address(point.contacts[0])}" if point.contacts else point.name,
        "; ".join(
            f"{processor_name(agreement, processor)}: {processor.task} ({processor.contract})"
            for processor in agreement.controllers.processors
            if partner.id in processor.acts_for
        )
        or "none",
        people(agreement),
        "; ".join(f"{one.name}: {one.labels}" for one in held),
        "; ".join(f"{one.name}: {one.labels}" for one in special) or "none",
        "; ".join(recipients(agreement, purpose)) or "none; released figures name nobody",
        TRANSFERS,
        "none needed",
        "; ".join(f"{what}: {long}" for what, long in retention_lines(agreement)),
        SECURITY,
        purpose.article_6,
        partner.lawful_basis,
        purpose.article_9 or "none",
        purpose.article_10 or "none",
        purpose.schedule_1 or "none",
        partner.gateway or ("not a public body" if not partner.public_body else "none"),
        agreement.confidentiality_basis,
        agreement.national_data_opt_out,
        agreement.rights,
        DECISIONS,
        f"{partner.name}'s own records of its clients",
        LEFT_TO_THE_PARTNER,
        dpia.reference,
        dpia.completed.isoformat(),
        dpia.valid_to.isoformat(),
        agreement.privacy_notice,
        LEFT_TO_THE_PARTNER,
        f"{agreement.title}, version {agreement.version}, digest {agreement.digest}",
    )


def _joint_controllers(agreement: Agreement, partner: Partner) -> str:
    if partner.controller_role is not ControllerRole.JOINT_CONTROLLER:
        return "none"
    others = (
        f"{other.name} ({address(other.contacts[0])})" if other.contacts else other.name
        for other in agreement.partners
        if other is not partner and other.controller_role is ControllerRole.JOINT_CONTROLLER
    )
    return "; ".join(others) or "none"
