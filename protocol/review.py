"""The whole of what is to be said of an agreement on a day: what is wrong, and what somebody should look at."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from protocol.digest import SIGNATURES_FOLDER
from protocol.documents import Fault, Faults
from protocol.errors import AgreementError
from protocol.gate import is_signed
from protocol.generated.names import sheet_name, version_folder
from protocol.loading import CONTRACT_FILE, FRAME, inspect_agreement
from protocol.model import Agreement, Grant, Table, Treatment
from protocol.pool import PoolColumn, analyst_columns

SOON_DAYS = 60
"""What lapses within so many days is worth a warning."""
FEW_PEOPLE = 5
"""A smaller minimum of people is allowed, and worth a second look."""


@dataclass(frozen=True)
class Review:
    """What was found."""

    agreement: Agreement
    """Use it only where there are no faults."""
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    """Nothing is broken, but somebody should look."""


def review_agreement(folder: Path, today: date, evidence_views: Collection[str] | None = None) -> Review:
    """Everything that is wrong with the agreement of ``folder`` on the day ``today``, and every warning.

    :param evidence_views: names of the views of the schema ``evidence``; None where they are not known here.

    AgreementError where there is no agreement at all.
    """
    agreement, faults = inspect_agreement(folder)
    warnings = faults.beside()
    _check_day(agreement, today, faults, warnings)
    _check_grants(agreement, today, evidence_views, faults, warnings)
    if not faults.doubts(FRAME, "disclosure") and 2 <= agreement.disclosure.minimum_people < FEW_PEOPLE:
        warnings.add(FRAME, "disclosure.minimum_people", f"is below {FEW_PEOPLE}. Few partnerships publish so few.")
    _check_use(agreement, faults, warnings)
    return Review(agreement, faults.told, warnings.told)


def _check_day(agreement: Agreement, today: date, faults: Faults, warnings: Faults) -> None:
    if not faults.doubts(FRAME, "dpia"):
        completed, valid_to = agreement.dpia.completed, agreement.dpia.valid_to
        if today < completed:
            warnings.add(FRAME, "dpia.completed", f"is {completed}. Nothing is taken in before that.")
        if valid_to < today:
            faults.add(FRAME, "dpia.valid_to", f"lapsed on {valid_to}. Nothing is taken in until it is renewed.")
        elif _soon(valid_to, today):
            warnings.add(FRAME, "dpia.valid_to", f"lapses on {valid_to}. Nothing is taken in after that: renew it.")
    if not faults.doubts(FRAME, "term"):
        term = agreement.term
        if term.ends < today:
            faults.add(FRAME, "term.ends", f"was {term.ends}. Nothing is taken in under an agreement that has ended.")
        elif _soon(term.ends, today):
            warnings.add(FRAME, "term.ends", f"is {term.ends}. Agree what follows.")
        if term.review < today <= term.ends:
            warnings.add(FRAME, "term.review", f"was due on {term.review}. Review the agreement and set the next day.")
        elif _soon(term.review, today):
            warnings.add(FRAME, "term.review", f"is due on {term.review}.")
    for window in () if faults.doubts(FRAME, "versions") else agreement.versions:
        if window.sunset is not None and _soon(window.sunset, today):
            warnings.add(
                FRAME, "versions.1.sunset", f"is {window.sunset}: version {window.version} is not taken after that."
            )
    if not faults:
        for partner in agreement.partners:
            if not is_signed(agreement, partner):
                warnings.add(
                    f"{SIGNATURES_FOLDER}/{partner.id}.yaml",
                    "",
                    f"{partner.name} has not signed the text as it stands, so nothing is taken in from it.",
                )


def _soon(day: date, today: date) -> bool:
    return 0 <= (day - today).days <= SOON_DAYS


def _check_grants(
    agreement: Agreement, today: date, evidence_views: Collection[str] | None, faults: Faults, warnings: Faults
) -> None:
    for grant in agreement.grants:
        file = f"grants/{grant.id}.yaml"
        if grant.ends < today:
            warnings.add(file, "ends", f"was {grant.ends}. Its logins read nothing any more: remove it or renew it.")
        elif _soon(grant.ends, today):
            warnings.add(file, "ends", f"is {grant.ends}. Its logins read nothing after that.")
        for view in grant.views:
            schema, _, name = view.partition(".")
            if schema == "evidence" and name != "*" and evidence_views is not None and name not in evidence_views:
                faults.add(file, "views", f"have {view}, and there is no measure of that name.")


def _check_use(agreement: Agreement, faults: Faults, warnings: Faults) -> None:
    """What nothing serves or nobody can use: purposes, grants, tables that no template can have."""
    if faults:
        return
    for table in agreement.contract.tables:
        try:
            sheet_name(table)
        except AgreementError as error:
            file = f"{version_folder(agreement.contract)}/{CONTRACT_FILE}"
            warnings.add(file, table.name, str(error).removeprefix(f"table {table.name}: "))
    for grant in agreement.grants:
        _check_purposes(agreement, grant, warnings)
    served = Counter(
        name for table in agreement.contract.tables for column in table.columns for name in column.purposes
    )
    for purpose in agreement.purposes:
        if not served[purpose.id]:
            warnings.add(FRAME, f"purposes.{purpose.id}", "is the purpose of no column. Remove it if nothing needs it.")


def _check_purposes(agreement: Agreement, grant: Grant, warnings: Faults) -> None:
    """A grant on the pool. Released figures are of no single purpose, so a grant on them alone is not looked at."""
    file = f"grants/{grant.id}.yaml"
    tables = [table for table in agreement.contract.tables if {"pool.*", f"pool.{table.name}"} & set(grant.views)]
    if not tables:
        return
    bare = [f"pool.{table.name}" for table in tables if not _tells_anything(table, grant)]
    if bare:
        warnings.add(
            file,
            "views",
            f"have {', '.join(bare)}, of which no column but pseudonyms is shared for the grant's purposes. Name the "
            "views that the team needs one by one, or the purpose that it needs them for.",
        )
    served = {name for table in tables for column in analyst_columns(table) for name in _purposes(table, column)}
    for purpose in grant.purposes:
        if purpose not in served:
            told = f"name {purpose}, and no column of its views is shared for that. Remove it, or widen the views."
            warnings.add(file, "purposes", told)


def _purposes(table: Table, column: PoolColumn) -> tuple[str, ...]:
    return table.column(column.source).purposes


def _tells_anything(table: Table, grant: Grant) -> bool:
    """True where the grant's team sees a column of the table that is more than a pseudonym."""
    return any(
        column.kind is not Treatment.PSEUDONYMISE and set(grant.purposes) & set(_purposes(table, column))
        for column in analyst_columns(table)
    )
