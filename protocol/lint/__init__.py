"""What the parts of an agreement promise one another, checked before anything runs on them.

The models refuse a misspelt entry; this refuses an agreement that contradicts itself or that would let something
through which nobody gave a purpose for. Nothing here depends on the day; :mod:`protocol.review` adds what does.

A part that could not be read (:meth:`protocol.documents.Faults.doubts`) breeds no further faults: what depends on it is
left out, and everything else is checked all the same.
"""

from collections.abc import Mapping

from protocol.documents import Faults
from protocol.lint.channels import check_channels
from protocol.lint.decisions import check_decisions
from protocol.lint.frame import check_frame
from protocol.lint.parties import GRANTABLE_VIEW, check_grants, check_partners
from protocol.lint.tables import PERSON, check_codelists, check_tables
from protocol.model import Agreement

__all__ = ["GRANTABLE_VIEW", "PERSON", "check_agreement", "check_tables"]


def check_agreement(agreement: Agreement, contract_file: str, partner_files: Mapping[str, str], faults: Faults) -> None:
    """Add a fault for each contradiction.

    :param agreement: with empty parts where ``faults`` doubts the file or the entry that they come from.
    :param contract_file: where the tables stand.
    :param partner_files: id of each partner, readable or not -> its file.
    """
    check_decisions(faults)
    check_frame(agreement, partner_files, faults)
    check_tables(agreement, agreement.contract, agreement.codelists, contract_file, faults)
    check_codelists(agreement, contract_file, faults)
    check_partners(agreement, partner_files, faults)
    check_channels(agreement, partner_files, faults)
    check_grants(agreement, contract_file, faults)
