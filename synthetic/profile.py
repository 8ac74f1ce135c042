"""How wrong a synthetic partnership's records are: every rate in one frozen model.

A method that is tuned on one profile is reported on others, so a profile is a value that can be kept beside a
result, and never a constant somewhere in the code.
"""

from pydantic import Field

from protocol.model import Frozen

Share = float
"""A share between 0 and 1."""


class ErrorProfile(Frozen):
    """Rates of overlap, error and change. Shares are of records unless a line says otherwise."""

    # Who is known to whom.
    partners_per_person: tuple[float, ...] = (0.62, 0.24, 0.09, 0.035, 0.012, 0.003)
    """Weights of being known to 1, 2, 3 ... partners."""
    known_before: Share = Field(0.62, ge=0, le=1)
    """Memberships that are older than the first period."""
    leaves: Share = Field(0.04, ge=0, le=1)
    """Memberships that are over after a period, so that the person is not in the next extract."""
    twice_in_one_file: Share = Field(0.012, ge=0, le=1)
    """Memberships of partners that do not vouch for their file, which hold the person under two numbers."""

    # Who people are.
    in_household: Share = Field(0.45, ge=0, le=1)
    """Households of more than one known person."""
    twins: Share = Field(0.08, ge=0, le=1)
    """Younger members of a household who are the twin of the one before."""
    twin_with_like_name: Share = Field(0.25, ge=0, le=1)
    """Twins whose forename has the first letter of the other's."""
    streets_per_thousand: int = Field(320, ge=1)
    """Different postcodes for a thousand people."""
    moves_a_year: Share = Field(0.22, ge=0, le=1)
    """Households that move in a year."""
    marries_a_year: Share = Field(0.03, ge=0, le=1)
    """Women who take another surname in a year."""
    dies_a_year: Share = Field(0.006, ge=0, le=1)
    do_not_link: Share = Field(0.005, ge=0, le=1)

    # What a partner writes down.
    forename_typo: Share = Field(0.035, ge=0, le=1)
    surname_typo: Share = Field(0.04, ge=0, le=1)
    nickname: Share = Field(0.06, ge=0, le=1)
    """Records of people whose forename has a short form."""
    names_swapped: Share = Field(0.006, ge=0, le=1)
    """Forename and surname in each other's place."""
    middle_name_used: Share = Field(0.012, ge=0, le=1)
    """Called by the middle name, where there is one."""
    name_placeholder: Share = Field(0.002, ge=0, le=1)
    """``Unknown`` written where a forename should be."""
    old_surname: Share = Field(0.35, ge=0, le=1)
    """Records of people who changed their surname which still have the old one."""
    previous_surname_known: Share = Field(0.5, ge=0, le=1)
    """Records with the new surname that have the old one as well."""
    middle_names_missing: Share = Field(0.55, ge=0, le=1)
    birth_date_missing: Share = Field(0.025, ge=0, le=1)
    birth_date_swapped: Share = Field(0.02, ge=0, le=1)
    """Day and month in each other's place, where the day is at most 12."""
    birth_date_typo: Share = Field(0.02, ge=0, le=1)
    birth_date_first_of_year: Share = Field(0.006, ge=0, le=1)
    """1 January of the right year."""
    sex_missing: Share = Field(0.03, ge=0, le=1)
    sex_wrong: Share = Field(0.004, ge=0, le=1)
    ethnic_group_missing: Share = Field(0.12, ge=0, le=1)
    postcode_missing: Share = Field(0.05, ge=0, le=1)
    postcode_typo: Share = Field(0.02, ge=0, le=1)
    postcode_stale: Share = Field(0.35, ge=0, le=1)
    """Records of people who moved which still have the old postcode."""
    phone_missing: Share = Field(0.4, ge=0, le=1)
    email_missing: Share = Field(0.55, ge=0, le=1)
    nhs_number_missing: Share = Field(0.93, ge=0, le=1)
    """At partners that are not of the health service."""
    nhs_number_missing_health: Share = Field(0.03, ge=0, le=1)
    ni_number_missing: Share = Field(0.75, ge=0, le=1)
    """At partners that are neither a job centre nor a council."""
    ni_number_missing_council: Share = Field(0.45, ge=0, le=1)
    ni_number_missing_job_centre: Share = Field(0.03, ge=0, le=1)
    number_typo: Share = Field(0.004, ge=0, le=1)
    """NHS and NI numbers with one digit wrong."""

    # What partners do.
    assessments_per_period: tuple[float, ...] = (0.5, 0.38, 0.1, 0.02)
    """Weights of 0, 1, 2 ... assessments of a client in a period."""
    referred: Share = Field(0.6, ge=0, le=1)
    """Second and later memberships within the periods that came about by a referral."""
    referral_lost: Share = Field(0.025, ge=0, le=1)
    """Clients of one partner who were referred to another that never took them in."""
    referral_bounced: Share = Field(0.3, ge=0, le=1)
    """Referrals to a third partner where the first one passed the person on at once."""
    assessment_passed_on: Share = Field(0.5, ge=0, le=1)
    repeats_when_passed_on: Share = Field(0.15, ge=0, le=1)
    repeats_when_not: Share = Field(0.6, ge=0, le=1)
    """Referred people whom the receiver assesses again in the same domain."""
    stage_regression: Share = Field(0.06, ge=0, le=1)
    """Steps of a pathway that are followed by a step back."""


DEFAULT = ErrorProfile()
"""Rates like those that services see in their own files."""

CLEAN = ErrorProfile(
    twice_in_one_file=0,
    forename_typo=0,
    surname_typo=0,
    nickname=0,
    names_swapped=0,
    middle_name_used=0,
    name_placeholder=0,
    old_surname=0,
    birth_date_missing=0,
    birth_date_swapped=0,
    birth_date_typo=0,
    birth_date_first_of_year=0,
    sex_missing=0,
    sex_wrong=0,
    postcode_missing=0,
    postcode_typo=0,
    postcode_stale=0,
    number_typo=0,
)
"""No error in any identifier (some are still missing by the partner's kind): what a faultless link must reach."""

ROUGH = ErrorProfile(
    forename_typo=0.08,
    surname_typo=0.09,
    nickname=0.12,
    names_swapped=0.015,
    birth_date_missing=0.08,
    birth_date_swapped=0.04,
    birth_date_typo=0.05,
    postcode_missing=0.12,
    postcode_typo=0.04,
    postcode_stale=0.5,
    phone_missing=0.6,
    email_missing=0.75,
    nhs_number_missing=0.98,
    nhs_number_missing_health=0.1,
    ni_number_missing=0.9,
    ni_number_missing_council=0.7,
)
"""About twice the usual errors and fewer numbers: for reporting what a method loses where records are poor."""
