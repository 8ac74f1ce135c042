"""The gate: whether a partner may submit for a period at all, decided before a single file is opened."""

from datetime import date

from protocol.finding import Finding, Scope
from protocol.model import Agreement, GateCheck, Partner, Period, Signature
from protocol.versions import accepted_versions, known_versions, windows


def check_gate(
    agreement: Agreement, partner_id: str, period_id: str, declared_version: str, today: date
) -> tuple[Finding, ...]:
    """Every reason of the agreement to refuse the submission; empty where the partner may submit.

    :param partner_id: of the inbox that the submission lies in, never one that the submission itself claims.
    :param period_id: the period that the manifest declares.
    :param declared_version: the version of the agreement that the manifest declares.
    :param today: the day on which it is received.

    All findings refuse the submission and name the clause that decides. None repeats ``partner_id``, ``period_id`` or
    ``declared_version`` unless it is one of the agreement's own, since anything may stand in a manifest (kept by
    ``tests/unit/protocol/test_gate.py``).
    """
    partner = next((partner for partner in agreement.partners if partner.id == partner_id), None)
    if partner is None:
        return (
            _refusal(
                agreement,
                GateCheck.PARTNER,
                "The sender is not a party to the agreement.",
                "Ask the partnership's coordinator to be added to the agreement; nothing can be taken in before that.",
            ),
        )
    found: list[Finding] = []
    found.extend(_check_signature(agreement, partner, today))
    found.extend(_check_frame(agreement, today))
    period = next((period for period in agreement.calendar.periods if period.id == period_id), None)
    found.extend(_check_period(agreement, period, today))
    found.extend(_check_membership(agreement, partner, period, today))
    found.extend(_check_version(agreement, period, declared_version, today))
    return tuple(found)


def is_signed(agreement: Agreement, partner: Partner) -> bool:
    """True where the partner has signed the text that holds now."""
    return any(_is_under(signature, agreement) for signature in partner.signatures)


def _is_under(signature: Signature, agreement: Agreement) -> bool:
    return signature.version == agreement.version and signature.digest == agreement.digest


def _check_signature(agreement: Agreement, partner: Partner, today: date) -> tuple[Finding, ...]:
    holding = [signature.on for signature in partner.signatures if _is_under(signature, agreement)]
    if holding and min(holding) <= today:
        return ()
    if holding:
        sentence = f"{partner.name} has signed with effect from {min(holding).isoformat()}, which is still to come."
    elif not partner.signatures:
        sentence = f"{partner.name} has not signed the agreement."
    elif any(signature.version == agreement.version for signature in partner.signatures):
        sentence = (
            f"{partner.name} has signed version {agreement.version}, but its text has been changed since, so the "
            "signature does not hold any more."
        )
    else:
        last = max(partner.signatures, key=lambda signature: signature.on)
        sentence = f"{partner.name} has signed version {last.version}; version {agreement.version} holds now."
    return (
        _refusal(
            agreement,
            GateCheck.SIGNATURE,
            sentence,
            "Have the agreement signed as it stands now by the office that signs for you; the coordinator records it. "
            "Then drop the submission again, unchanged.",
        ),
    )


def _check_frame(agreement: Agreement, today: date) -> tuple[Finding, ...]:
    found = []
    term, dpia = agreement.term, agreement.dpia
    if today < term.starts:
        found.append(
            _refusal(
                agreement,
                GateCheck.TERM,
                f"The agreement does not hold before {term.starts.isoformat()}.",
                "Drop the submission again on or after that day.",
            )
        )
    elif today > term.ends:
        found.append(
            _refusal(
                agreement,
                GateCheck.TERM,
                f"The agreement ended on {term.ends.isoformat()}.",
                "Ask the coordinator when the agreement that follows will be signed; nothing can be taken in before "
                "that.",
            )
        )
    if not dpia.completed <= today <= dpia.valid_to:
        state = (
            f"is not valid before {dpia.completed.isoformat()}"
            if today < dpia.completed
            else f"lapsed on {dpia.valid_to.isoformat()}"
        )
        found.append(
            _refusal(
                agreement,
                GateCheck.DPIA,
                f"The data protection impact assessment {dpia.reference} {state}.",
                "There is nothing to mend in the submission. The coordinator has the assessment renewed; then drop the "
                "submission again.",
            )
        )
    return tuple(found)


def _check_period(agreement: Agreement, period: Period | None, today: date) -> tuple[Finding, ...]:
    calendar = agreement.calendar
    if period is None:
        return (
            _refusal(
                agreement,
                GateCheck.PERIOD,
                "The submission's period is not in the agreement's calendar.",
                f"State one of the periods {calendar.periods[0].id} to {calendar.periods[-1].id} in the manifest, "
                f"written like {calendar.periods[0].id}.",
                example=calendar.periods[0].id,
            ),
        )
    opens, closes = calendar.opens_on(period), calendar.closes_on(period)
    if today < opens:
        early = "has not ended yet" if today < period.ends else "is not open for submissions yet"
        return (
            _refusal(
                agreement,
                GateCheck.PERIOD,
                f"The period {period.id} {early}. It is open from {opens.isoformat()} to {closes.isoformat()}.",
                f"Make the extract again and drop it on or after {opens.isoformat()}, so that the period is complete.",
            ),
        )
    if today > closes:
        return (
            _refusal(
                agreement,
                GateCheck.PERIOD,
                f"The window of the period {period.id} closed on {closes.isoformat()}.",
                "Ask the coordinator: a change of the calendar has to be agreed and signed by all partners.",
            ),
        )
    return ()


def _check_membership(
    agreement: Agreement, partner: Partner, period: Period | None, today: date
) -> tuple[Finding, ...]:
    starts, ends = partner.member_from, partner.member_to
    if today < starts or (period is not None and period.ends < starts):
        sentence = f"{partner.name} is a member from {starts.isoformat()} on."
    elif ends is not None and (today > ends if period is None else period.starts > ends):
        sentence = f"{partner.name} {'was' if today > ends else 'is'} a member until {ends.isoformat()}."
    else:
        return ()
    return (
        _refusal(
            agreement,
            GateCheck.MEMBERSHIP,
            sentence,
            "Submit only for periods in which you are a member. If the dates are wrong, ask the coordinator.",
        ),
    )


def _check_version(agreement: Agreement, period: Period | None, declared: str, today: date) -> tuple[Finding, ...]:
    """The version against those that are taken for the period today; by any known one where the period is unknown."""
    known = known_versions(agreement)
    accepted = known if period is None else accepted_versions(agreement, period.id, today)
    if declared in accepted:
        return ()
    window = next((window for window in windows(agreement) if window.version == declared), None)
    if period is None or window is None:
        sentence = "The submission was made to a version of the agreement that is not accepted."
    elif window.sunset is not None and known.index(declared) > known.index(accepted[0]):
        sentence = (
            f"Version {declared} of the agreement was taken for the period {period.id} until "
            f"{window.sunset.isoformat()}; since then only version {accepted[0]} is."
        )
    else:
        sentence = (
            f"Version {declared} of the agreement holds from the period {window.first_period} on; {period.id} is "
            f"submitted by version {accepted[0]}, also when it is late."
        )
    return (
        _refusal(
            agreement,
            GateCheck.VERSION,
            sentence,
            f"Make the extract with the template of version {' or '.join(accepted)} and state that version in the "
            "manifest.",
            example=accepted[0],
        ),
    )


def _refusal(
    agreement: Agreement, check: GateCheck, sentence: str, mend: str, *, example: str | None = None
) -> Finding:
    clause = next((clause.name for clause in agreement.clauses if check in clause.governs), None)
    return Finding(
        code=f"gate.{check.value}",
        scope=Scope.SUBMISSION,
        sentence=sentence,
        mend=mend,
        example=example,
        clause=clause,
    )
