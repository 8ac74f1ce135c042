"""A fault found in a submission, described without a single cell of its content."""

from enum import StrEnum

from pydantic import Field

from protocol.model import Frozen


class Scope(StrEnum):
    """What a finding takes out of the submission."""

    ROW = "row"
    """These rows are held back; the rest goes on."""
    FILE = "file"
    """This file cannot be used, and with it the submission."""
    SUBMISSION = "submission"
    """The submission as a whole is refused."""
    NOTE = "note"
    """Worth knowing; nothing is held back."""


class Finding(Frozen):
    """One kind of fault at one place of a submission.

    Equal faults of one column are one finding with the rows that show it. Everything here is safe to e-mail: names
    of files, tables, columns and rules come from the agreement, and no value of a cell is in any field
    (kept by ``tests/privacy/test_canaries.py``).
    """

    code: str
    """Stable code of the fault: a rule's code such as ``assessment.assessed_on.type`` or a reader's such as
    ``file.encoding``."""
    scope: Scope
    table: str | None = None
    file: str | None = None
    """The agreed file name, such as ``assessment.csv``; never a name that the partner chose."""
    columns: tuple[str, ...] = ()
    sentence: str
    """What is wrong, one plain sentence for a person with a spreadsheet."""
    mend: str
    """How to put it right."""
    example: str | None = None
    """A made-up value that would pass, from the agreement; never one from the file."""
    rows_affected: int = 0
    first_rows: tuple[int, ...] = Field(default=(), max_length=20)
    """Row numbers as a spreadsheet shows them: the header is row 1. At most 20; the held-back list has all."""
    other_rows: tuple[int, ...] = Field(default=(), max_length=20)
    """For each of ``first_rows`` the row that it clashes with (the row that it repeats, its parent, the first row of
    its sum), 0 where none is known; empty where the fault concerns single rows."""
    other_table: str | None = None
    """The table of ``other_rows``; None where it is the finding's own."""
    clause: str | None = None
    """The clause of the agreement that decides, for refusals at the gate."""
