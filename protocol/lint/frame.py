"""agreement.yaml: clauses, purposes, term, impact assessment, controllers, calendar and figures."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from protocol.documents import Faults
from protocol.lint.common import FRAME, SHORTEST_SENTENCE, is_email, once
from protocol.lint.decisions import TO_DECIDE
from protocol.model import Agreement, ControllerRole, GateCheck

_POINT_OF_ARTICLE_9 = re.compile(r"9\s*\(2\)\s*\([a-j]\)", re.IGNORECASE)
_NEEDS_SCHEDULE_1 = re.compile(r"9\s*\(2\)\s*\((?:b|g|h|i|j)\)", re.IGNORECASE)
_PERIOD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,19}", re.ASCII)
_TEXTS = (
    "privacy_notice",
    "confidentiality_basis",
    "national_data_opt_out",
    "children",
    "breach",
    "exit_clause",
    "rights",
)


def check_frame(agreement: Agreement, partner_files: Mapping[str, str], faults: Faults) -> None:
    """Add a fault for each contradiction within agreement.yaml."""
    checks = {
        "clauses": _check_clauses,
        "purposes": _check_purposes,
        "term": _check_term,
        "dpia": _check_dpia,
        "coordinator": _check_coordinator,
        "calendar": _check_calendar,
        "retention": _check_retention,
        "disclosure": _check_disclosure,
        "measures": _check_measures,
    }
    for part, check in checks.items():
        if not faults.doubts(FRAME, part):
            check(agreement, faults)
    if not faults.doubts(FRAME, "controllers"):
        _check_controllers(agreement, partner_files, faults)
    for part in _TEXTS:
        if not faults.doubts(FRAME, part) and len(getattr(agreement, part).strip()) < SHORTEST_SENTENCE:
            faults.add(FRAME, part, "says nothing. Write what was agreed, in a sentence that a client understands.")


def _check_clauses(agreement: Agreement, faults: Faults) -> None:
    once([clause.number for clause in agreement.clauses], FRAME, "clauses", faults)
    for number, clause in enumerate(agreement.clauses):
        for entry in ("number", "title", "text"):
            if not getattr(clause, entry).strip():
                faults.add(FRAME, f"clauses.{number}.{entry}", "says nothing. Write it, or remove the clause.")
    governed = Counter(check for clause in agreement.clauses for check in clause.governs)
    for check in GateCheck:
        if governed[check] != 1:
            again = [clause.number for clause in agreement.clauses if check in clause.governs][1:]
            faults.add(
                FRAME,
                f"clauses.{again[0]}.governs" if again else "clauses",
                f"{f'is clause {governed[check]}' if again else 'have none'} that governs {check.value}. Exactly one "
                "has to, since a refusal names it.",
            )


def _check_purposes(agreement: Agreement, faults: Faults) -> None:
    once([purpose.id for purpose in agreement.purposes], FRAME, "purposes", faults)
    for purpose in agreement.purposes:
        at = f"purposes.{purpose.id}"
        for entry in ("title", "description", "article_6", "article_10", "schedule_1"):
            text = getattr(purpose, entry)
            if text is not None and not text.strip():
                faults.add(FRAME, f"{at}.{entry}", "says nothing. Write what was agreed, or remove the entry.")
        condition = purpose.article_9
        if condition is not None and not condition.startswith(TO_DECIDE) and not _POINT_OF_ARTICLE_9.search(condition):
            faults.add(FRAME, f"{at}.article_9", "names no condition. Write its point, such as Article 9(2)(j).")
        if purpose.article_9 is not None and _NEEDS_SCHEDULE_1.search(purpose.article_9) and not purpose.schedule_1:
            faults.add(
                FRAME,
                f"{at}.schedule_1",
                "is missing. This condition of Article 9 holds only with one of Schedule 1 to the Data Protection Act "
                "2018: name it.",
            )
        if purpose.article_10 is not None and not purpose.schedule_1:
            faults.add(
                FRAME,
                f"{at}.schedule_1",
                "is missing. Offence data need a condition of Schedule 1 to the Data Protection Act 2018: name it.",
            )


def _check_term(agreement: Agreement, faults: Faults) -> None:
    term = agreement.term
    if not term.starts <= term.review <= term.ends:
        faults.add(FRAME, "term", "should start, be reviewed and end in this order.")


def _check_dpia(agreement: Agreement, faults: Faults) -> None:
    if agreement.dpia.completed > agreement.dpia.valid_to:
        faults.add(FRAME, "dpia.valid_to", "lies before the assessment was completed.")


def _check_coordinator(agreement: Agreement, faults: Faults) -> None:
    if not is_email(agreement.coordinator.email):
        faults.add(FRAME, "coordinator.email", "is no e-mail address. Receipts name it for questions.")


def _check_controllers(agreement: Agreement, partner_files: Mapping[str, str], faults: Faults) -> None:
    roles = {partner.id: partner.controller_role for partner in agreement.partners}
    controllers = agreement.controllers
    contact = controllers.point_of_contact
    if contact not in partner_files:
        faults.add(FRAME, "controllers.point_of_contact", f"is {contact}, which is no partner. Name a partner's id.")
    elif roles.get(contact) is ControllerRole.PROCESSOR:
        faults.add(FRAME, "controllers.point_of_contact", f"is {contact}, a processor. Name a controller.")
    joint = [name for name, role in roles.items() if role is ControllerRole.JOINT_CONTROLLER]
    if joint and len(controllers.arrangement.strip()) < SHORTEST_SENTENCE:
        faults.add(
            FRAME,
            "controllers.arrangement",
            "says nothing. Joint controllers have to say who does what for people (Article 26).",
        )
    if len(joint) == 1 and len(roles) == len(partner_files):
        faults.add(
            partner_files[joint[0]], "controller_role", "is joint_controller, and no other partner is: joint with whom?"
        )
    for number, processor in enumerate(controllers.processors):
        at = f"controllers.processors.{number}"
        for name in processor.acts_for:
            if name not in partner_files:
                faults.add(FRAME, f"{at}.acts_for", f"names {name}, which is no partner.")
        if not processor.acts_for:
            faults.add(FRAME, f"{at}.acts_for", "names nobody. A processor acts for controllers: name them.")
        for entry in ("task", "contract"):
            if not getattr(processor, entry).strip():
                faults.add(FRAME, f"{at}.{entry}", "says nothing. Article 28 asks for it.")
    listed = {processor.name for processor in controllers.processors}
    for partner in agreement.partners:
        if partner.controller_role is ControllerRole.PROCESSOR and not listed & {partner.id, partner.name}:
            faults.add(
                FRAME,
                "controllers.processors",
                f"lack {partner.id}, whose role is processor. Say for whom it acts, its task and its contract.",
            )


def _check_calendar(agreement: Agreement, faults: Faults) -> None:
    calendar = agreement.calendar
    term = None if faults.doubts(FRAME, "term") else agreement.term
    once([period.id for period in calendar.periods], FRAME, "calendar.periods", faults)
    if calendar.opens_days_after_end < 0:
        faults.add(FRAME, "calendar.opens_days_after_end", "cannot be less than nothing.")
    if calendar.opens_days_after_end > calendar.closes_days_after_end:
        faults.add(FRAME, "calendar", "closes before it opens.")
    if not calendar.periods:
        faults.add(FRAME, "calendar.periods", "are none. Name at least one period.")
    previous = None
    for number, period in enumerate(calendar.periods):
        at = f"calendar.periods.{period.id}"
        if not _PERIOD_ID.fullmatch(period.id):
            faults.add(
                FRAME,
                f"calendar.periods.{number}.id",
                "should be at most 20 letters, digits and hyphens, such as 2026-Q1: a manifest can state nothing else.",
            )
        if period.starts > period.ends:
            faults.add(FRAME, at, "ends before it starts.")
        if term is not None and (period.starts < term.starts or period.ends > term.ends):
            faults.add(FRAME, at, "does not lie within the agreement's term.")
        if previous is not None and period.starts <= previous:
            faults.add(FRAME, at, "overlaps the period before it, or stands out of order.")
        elif previous is not None and period.starts > previous + timedelta(days=1):
            faults.add(FRAME, at, "leaves a gap after the period before it: what happens in it is never submitted.")
        previous = period.ends


def _check_retention(agreement: Agreement, faults: Faults) -> None:
    _not_negative("retention", agreement.retention.model_dump(), faults)


def _check_measures(agreement: Agreement, faults: Faults) -> None:
    _not_negative("measures", agreement.measures.model_dump(), faults)


def _not_negative(part: str, entries: Mapping[str, object], faults: Faults) -> None:
    for name, value in entries.items():
        if isinstance(value, int | float) and value < 0:
            faults.add(FRAME, f"{part}.{name}", "cannot be less than nothing.")


def _check_disclosure(agreement: Agreement, faults: Faults) -> None:
    if agreement.disclosure.rounding_base < 1:
        faults.add(FRAME, "disclosure.rounding_base", "should be 1 (no rounding) or more.")
    if agreement.disclosure.minimum_people < 2:
        faults.add(FRAME, "disclosure.minimum_people", "should be 2 or more, or single people would be published.")
