"""partners/ and grants/: who takes part, and who may read what."""

import re
from collections.abc import Mapping

from protocol.documents import Faults
from protocol.lint.common import FRAME, SHORTEST_SENTENCE, is_email, once
from protocol.model import AGENCIES, PARTNER_KINDS, Agreement, Partner

GRANTABLE_VIEW = re.compile(r"(?:evidence|pool)\.(?:\*|[a-z][a-z0-9_]{0,62})")
"""A view that can be granted, or all of its schema."""


def check_partners(agreement: Agreement, partner_files: Mapping[str, str], faults: Faults) -> None:
    """Add a fault for each contradiction within a partner's file."""
    if not partner_files:
        faults.add("partners/", "", "has no partner.")
    for partner in agreement.partners:
        _check_partner(partner, partner_files[partner.id], faults)
        signatures = [signature.digest for signature in partner.signatures]
        once(signatures, f"signatures/{partner.id}.yaml", "signatures", faults)


def _check_partner(partner: Partner, file: str, faults: Faults) -> None:
    for entry, known in (("kind", PARTNER_KINDS), ("agency", AGENCIES), ("tier", ("core", "wider"))):
        if getattr(partner, entry) not in known:
            faults.add(file, entry, f"should be {', '.join(known[:-1])} or {known[-1]}.")
    if not partner.name.strip():
        faults.add(file, "name", "says nothing. Write the organisation's name.")
    if partner.public_body and len((partner.gateway or "").strip()) < SHORTEST_SENTENCE:
        faults.add(file, "gateway", "is missing: a public body shares under a statutory gateway. Name act and section.")
    if partner.member_to is not None and partner.member_to < partner.member_from:
        faults.add(file, "member_to", "lies before member_from.")
    if not partner.lawful_basis.strip():
        faults.add(file, "lawful_basis", "says nothing. Name the basis under Article 6.")
    if not partner.contacts:
        faults.add(file, "contacts", "are missing. Name at least one office with its e-mail address.")
    for number, contact in enumerate(partner.contacts):
        if not contact.role.strip():
            faults.add(file, f"contacts.{number}.role", "says nothing. Name the office.")
        if not is_email(contact.email):
            faults.add(file, f"contacts.{number}.email", "is no e-mail address.")


def check_grants(agreement: Agreement, contract_file: str, faults: Faults) -> None:
    """Add a fault for each grant that names what is not there, or outlasts the agreement."""
    held: dict[str, str] = {}
    purposes = None if faults.doubts(FRAME, "purposes") else {purpose.id for purpose in agreement.purposes}
    tables = set(agreement.contract.table_names)
    for grant in agreement.grants:
        file = f"grants/{grant.id}.yaml"
        if not grant.purposes:
            faults.add(file, "purposes", "are none. Name at least one purpose of agreement.yaml.")
        for purpose in grant.purposes:
            if purposes is not None and purpose not in purposes:
                faults.add(file, "purposes", f"name {purpose}, which agreement.yaml does not have.")
        once(grant.purposes, file, "purposes", faults)
        if not grant.views:
            faults.add(file, "views", "are none. Name views such as evidence.* or pool.assessment.")
        for view in grant.views:
            schema, _, name = view.partition(".")
            if not GRANTABLE_VIEW.fullmatch(view):
                faults.add(
                    file,
                    "views",
                    f"have {view}. Only evidence.*, pool.* and single views such as evidence.reach can be granted.",
                )
            elif schema == "pool" and name not in ("*", *tables) and not faults.doubts(contract_file):
                faults.add(file, "views", f"have {view}, and the contract has no table of that name.")
        once(grant.views, file, "views", faults)
        once(grant.logins, file, "logins", faults)
        for login in grant.logins:
            other = held.setdefault(login, grant.id)
            if other != grant.id:
                faults.add(file, "logins", f"have {login}, which grant {other} has. Give each grant logins of its own.")
            if login.startswith(("linkarms_", "pg_", "postgres")):
                faults.add(file, "logins", f"have {login}, a name that the database keeps for itself.")
        if grant.starts > grant.ends:
            faults.add(file, "ends", "lies before it starts.")
        if not faults.doubts(FRAME, "term") and grant.ends > agreement.term.ends:
            faults.add(file, "ends", "lies after the agreement's term. A grant ends with it at the latest.")
