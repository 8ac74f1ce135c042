from datetime import date

import pytest

from protocol.finding import Finding, Scope
from protocol.gate import check_gate
from protocol.model import Agreement, GateCheck, Partner
from tests.two_versions import load_two_versions

TODAY = date(2026, 7, 10)


def gate(agreement: Agreement, **changed: object) -> tuple[Finding, ...]:
    asked = {"partner_id": "harbour_trust", "period_id": "2026-Q2", "declared_version": "1.0", "today": TODAY}
    return check_gate(agreement, **{**asked, **changed})  # type: ignore[arg-type]


def with_partner(agreement: Agreement, partner_id: str, **changed: object) -> Agreement:
    partners = tuple(
        Partner.model_validate({**partner.model_dump(), **changed}) if partner.id == partner_id else partner
        for partner in agreement.partners
    )
    return agreement.model_copy(update={"partners": partners})


def clauses(findings: tuple[Finding, ...]) -> list[str | None]:
    return [finding.clause for finding in findings]


def test_signed_partner_may_submit_in_its_window(example: Agreement) -> None:
    assert gate(example) == ()


def test_partner_that_has_not_signed_is_refused_with_the_clause(example: Agreement) -> None:
    (finding,) = gate(example, partner_id="lantern_youth")
    assert finding.clause == "4.2 Signatures"
    assert finding.scope is Scope.SUBMISSION
    assert finding.code == "gate.signature"
    assert finding.sentence == "Lantern Youth has not signed the agreement."


def test_stranger_is_refused_and_not_named(example: Agreement) -> None:
    (finding,) = gate(example, partner_id="jo_bloggs_1984", period_id="jo_bloggs", declared_version="jo_bloggs")
    assert finding.clause == "2.1 Parties"
    assert "jo_bloggs" not in finding.model_dump_json()


def test_what_a_manifest_claims_is_not_repeated(example: Agreement) -> None:
    findings = gate(example, period_id="Jo Bloggs", declared_version="943 476 5919")
    assert clauses(findings) == ["4.1 Periods and window", "4.3 Versions"]
    told = "".join(finding.model_dump_json() for finding in findings)
    assert "Bloggs" not in told
    assert "943" not in told


@pytest.mark.parametrize(
    ("today", "refused"),
    [
        (date(2026, 6, 29), "has not ended yet"),
        (date(2026, 6, 30), None),
        (date(2027, 6, 30), None),
        (date(2027, 7, 1), "closed on 2027-06-30"),
    ],
)
def test_window_is_open_from_its_first_to_its_last_day(example: Agreement, today: date, refused: str | None) -> None:
    findings = gate(example, today=today)
    if refused is None:
        assert findings == ()
    else:
        assert clauses(findings) == ["4.1 Periods and window"]
        assert refused in findings[0].sentence


def test_window_that_opens_later_is_waited_for(example: Agreement) -> None:
    later = example.calendar.model_copy(update={"opens_days_after_end": 14})
    (finding,) = gate(example.model_copy(update={"calendar": later}))
    assert "is not open for submissions yet" in finding.sentence
    assert "2026-07-14" in finding.mend


def test_submission_after_the_term_is_refused(example: Agreement) -> None:
    renewed = example.dpia.model_copy(update={"valid_to": date(2030, 1, 1)})
    agreement = example.model_copy(update={"dpia": renewed})
    assert gate(agreement, period_id="2028-Q4", today=date(2028, 12, 31)) == ()
    (finding,) = gate(agreement, period_id="2028-Q4", today=date(2029, 1, 1))
    assert finding.clause == "3.1 Term and review"
    assert "ended on 2028-12-31" in finding.sentence


def test_submission_before_the_term_is_refused(example: Agreement) -> None:
    findings = gate(example, period_id="2026-Q1", today=date(2025, 12, 31))
    assert "3.1 Term and review" in clauses(findings)


@pytest.mark.parametrize("day", [date(2027, 11, 14), date(2025, 11, 13)])
def test_lapsed_impact_assessment_stops_everybody(example: Agreement, day: date) -> None:
    findings = gate(example, period_id="2027-Q2", today=day)
    assert "3.2 Impact assessment" in clauses(findings)


def test_impact_assessment_holds_on_its_last_day(example: Agreement) -> None:
    assert gate(example, period_id="2027-Q3", today=date(2027, 11, 13)) == ()


def test_period_before_membership_is_refused(example: Agreement) -> None:
    joined = with_partner(example, "harbour_trust", member_from=date(2026, 7, 1))
    (finding,) = gate(joined)
    assert finding.clause == "2.2 Membership"
    assert gate(joined, period_id="2026-Q3", today=date(2026, 10, 1)) == ()


def test_partner_that_left_sends_its_last_period_and_no_later_one(example: Agreement) -> None:
    left = with_partner(example, "harbour_trust", member_to=date(2026, 6, 15))
    assert gate(left) == ()
    (finding,) = gate(left, period_id="2026-Q3", today=date(2026, 10, 1))
    assert finding.sentence == "Harbour Trust was a member until 2026-06-15."


def test_signature_counts_from_its_day(example: Agreement) -> None:
    signature = example.partner("harbour_trust").signatures[0]
    later = {**signature.model_dump(), "on": date(2026, 7, 11)}
    agreement = with_partner(example, "harbour_trust", signatures=(later,))
    (finding,) = gate(agreement)
    assert "with effect from 2026-07-11" in finding.sentence
    assert gate(agreement, today=date(2026, 7, 11)) == ()


def test_signature_under_another_version_does_not_hold(example: Agreement) -> None:
    (finding,) = gate(example.model_copy(update={"version": "1.1"}), declared_version="1.1")
    assert finding.sentence == "Harbour Trust has signed version 1.0; version 1.1 holds now."


def test_version_that_was_not_accepted_is_refused(example: Agreement) -> None:
    (finding,) = gate(example, declared_version="0.9")
    assert finding.clause == "4.3 Versions"
    assert finding.example == "1.0"


def test_all_reasons_are_told_at_once(example: Agreement) -> None:
    findings = gate(
        example, partner_id="lantern_youth", period_id="2026-Q1", declared_version="3", today=date(2030, 1, 1)
    )
    assert [finding.code for finding in findings] == [
        f"gate.{check.value}"
        for check in (
            GateCheck.SIGNATURE,
            GateCheck.TERM,
            GateCheck.DPIA,
            GateCheck.PERIOD,
            GateCheck.MEMBERSHIP,
            GateCheck.VERSION,
        )
    ]
    assert all(finding.clause and finding.mend for finding in findings)


# --- two versions -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Agreement:
    """Version 2.0 from 2026-Q3 on, version 1.0 until 2026-11-30."""
    return load_two_versions(tmp_path_factory.mktemp("two") / "agreement")


@pytest.mark.parametrize(
    ("period", "version", "today"),
    [
        ("2026-Q3", "2.0", date(2026, 10, 1)),
        ("2026-Q3", "1.0", date(2026, 10, 1)),
        ("2026-Q3", "1.0", date(2026, 11, 30)),
        ("2026-Q2", "1.0", date(2026, 10, 1)),
        ("2026-Q2", "1.0", date(2027, 6, 30)),
    ],
)
def test_period_is_submitted_by_its_version_or_by_the_one_before(
    both: Agreement, period: str, version: str, today: date
) -> None:
    assert gate(both, period_id=period, declared_version=version, today=today) == ()


@pytest.mark.parametrize(
    ("period", "version", "today", "told", "right"),
    [
        ("2026-Q3", "1.0", date(2026, 12, 1), "was taken for the period 2026-Q3 until 2026-11-30", "2.0"),
        ("2026-Q2", "2.0", date(2026, 10, 1), "holds from the period 2026-Q3 on; 2026-Q2 is submitted by", "1.0"),
        ("2026-Q3", "3.0", date(2026, 10, 1), "made to a version of the agreement that is not accepted", "2.0"),
        ("2026-Q9", "3.0", date(2026, 10, 1), "made to a version of the agreement that is not accepted", "2.0"),
    ],
)
def test_version_that_is_not_taken_is_refused_with_the_one_that_is(
    both: Agreement, period: str, version: str, today: date, told: str, right: str
) -> None:
    finding = gate(both, period_id=period, declared_version=version, today=today)[-1]
    assert finding.clause == "4.3 Versions"
    assert told in finding.sentence
    assert finding.example == right
    assert f"version {right}" in finding.mend


def test_known_version_of_an_unknown_period_is_not_held_against_the_partner(both: Agreement) -> None:
    assert clauses(gate(both, period_id="2031-Q1", declared_version="1.0")) == ["4.1 Periods and window"]
