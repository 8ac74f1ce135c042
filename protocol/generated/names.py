"""Names that the template workbook and its reader share."""

from protocol.errors import AgreementError
from protocol.model import Contract, Table

MANIFEST_SHEET = "manifest"
"""The sheet with what a manifest says: one row an entry, under the headings ``entry`` and ``value``."""
README_SHEET = "Read me"
EXAMPLE_SHEET = "Example"
CODES_SHEET = "Codes"
EXPLAINING_SHEETS = (README_SHEET, EXAMPLE_SHEET, CODES_SHEET)
"""Sheets for people, which a reader passes over."""
MANIFEST_HEADINGS = ("entry", "value")
MANIFEST_ENTRIES = ("partner", "period", "agreement_version", "kind", "supersedes", "extracted_on")
"""What a workbook's manifest says, by the names of ``manifest.yaml``; rows are not counted in a workbook."""
MANIFEST_KINDS = ("full", "delta", "correction", "nil")

_MOST_CHARACTERS = 31
_TAKEN = frozenset({name.casefold() for name in (MANIFEST_SHEET, *EXPLAINING_SHEETS)} | {"history"})


def sheet_name(table: Table) -> str:
    """The table's sheet, named like the table.

    AgreementError where Excel has no such sheet: more than 31 characters, or a name that is taken.
    """
    if len(table.name) > _MOST_CHARACTERS:
        raise AgreementError(
            f"table {table.name}: its name has more than {_MOST_CHARACTERS} characters, which Excel does not allow for "
            "a sheet. Give the table a shorter name."
        )
    if table.name in _TAKEN:
        raise AgreementError(
            f"table {table.name}: a sheet of this name has another use in the template workbook. Rename the table."
        )
    return table.name


def version_folder(contract: Contract) -> str:
    """The folder of what belongs to one version of the tables: ``v1``."""
    return f"v{contract.version.partition('.')[0]}"
