"""What the software promises to data subjects, each promise with the tests that fail when it is broken.

SECURITY.md says more on each and names the same tests (kept by ``tests/unit/generated/test_promises.py``).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """One promise in words for somebody who answers for the sharing."""

    text: str
    tests: tuple[str, ...]


PROMISES = (
    Promise(
        "Only declared columns reach the pool; free text and identifiers never do.",
        ("tests/unit/pseudonymise/test_privacy.py::test_no_identifier_of_the_input_is_in_any_output",),
    ),
    Promise(
        "Nothing that a partner or coordinator is told shows the content of a cell.",
        ("tests/unit/expectations/test_canaries.py::test_canary_in_any_column_is_in_nothing_that_is_told",),
    ),
    Promise(
        "A client who must not be linked is compared with nobody and shown to no analyst.",
        (
            "tests/unit/pseudonymise/test_output.py",
            "tests/integration/warehouse/test_pool_views.py::test_a_client_who_must_not_be_linked_is_not_in_the_pool",
            "tests/integration/warehouse/test_pool_views.py"
            "::test_rows_that_belong_to_a_client_only_by_what_they_refer_to_are_hidden_with_the_client",
        ),
    ),
    Promise(
        "A partner that has not signed the text as it stands, or whose term has ended, submits nothing.",
        ("tests/unit/protocol/test_gate.py",),
    ),
    Promise(
        "Readers of figures reach no row about a person, no key and no draft.",
        ("tests/integration/warehouse/test_roles.py::test_readers_reach_no_row_no_key_no_draft_and_write_nothing",),
    ),
    Promise(
        "Two teams with access to the pool cannot match their rows with each other.",
        (
            "tests/integration/warehouse/test_pool_views.py"
            "::test_no_value_that_tells_persons_or_rows_apart_is_the_same_for_two_grants",
        ),
    ),
    Promise(
        "A team's access ends on the day on which its grant ends.",
        (
            "tests/integration/warehouse/test_roles.py"
            "::test_a_login_whose_grant_has_ended_cannot_log_in_and_its_open_session_sees_nothing_more",
        ),
    ),
    Promise(
        "No count of few people is published, and every gap says why it is one.",
        (
            "tests/unit/evidence/test_disclosure.py"
            "::test_no_count_of_few_people_is_published_and_every_gap_has_a_reason",
        ),
    ),
    Promise(
        "What is published is what a named person approved with a reason, and is never changed afterwards.",
        (
            "tests/integration/evidence/test_release.py::test_approval_without_a_reason_is_refused",
            "tests/integration/evidence/test_release.py"
            "::test_a_published_release_cannot_be_changed_even_by_the_databases_owner",
        ),
    ),
)
