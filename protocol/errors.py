"""The exceptions that stop a step, and the exit code that the command line gives each of them.

A fault in the *data* is never an exception: it is a :class:`protocol.finding.Finding`, and all findings of a
submission are collected before anything is decided. An exception means that the step cannot go on. No message
carries a cell's content: code that parses a cell raises ``from None``
(kept by ``tests/privacy/test_canaries.py``).
"""


class LinkarmsError(Exception):
    """Base of every error that Linkarms raises on purpose. The message says what to do next."""

    exit_code = 1


class AgreementError(LinkarmsError):
    """The agreement folder cannot be read or contradicts itself. The message names the file and the entry."""

    exit_code = 2


class SubmissionRefused(LinkarmsError):
    """A partner's submission may not go further. Its receipt says why; sending it again unchanged will not help."""

    exit_code = 3


class NotYet(LinkarmsError):
    """Something outside is not ready (a database that restarts, a file still being written). Trying again may help."""

    exit_code = 4


class KeyUnavailable(LinkarmsError):
    """The partnership's keys cannot be had, or are not the keys that this data was made with."""

    exit_code = 5


class ReleaseRefused(LinkarmsError):
    """A release may not be published: its snapshot or draft changed, or it was not approved."""

    exit_code = 6


class RightsDiffer(LinkarmsError):
    """The database gives other rights than the agreement grants today. What was found has been told."""

    exit_code = 8


class DefectFound(LinkarmsError):
    """Linkarms contradicts itself (for example two checkers disagree on a rule). The run stops; it is our fault."""

    exit_code = 7
