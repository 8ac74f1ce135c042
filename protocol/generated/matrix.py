"""Who sees which form of each column, for which purpose, and until when.

It is derived from the treatments, the identifiers and the grants as the pipeline and the database apply them. What it
says of a team's view of the pool is held against the views that the warehouse makes
(kept by ``tests/integration/warehouse/test_matrix_of_viewers.py``).
"""

from dataclasses import dataclass
from enum import StrEnum

from protocol.generated.csv_text import write_csv
from protocol.generated.words import (
    CLASSIFICATIONS,
    COARSER,
    count_in_words,
    day_in_words,
    pool_form,
    purpose_titles,
)
from protocol.model import Agreement, Column, Grant, Table, Treatment
from protocol.pool import HIDDEN_FROM_ANALYSTS, row_purposes


class Form(StrEnum):
    """The form in which somebody sees a column."""

    AS_IS = "as it is"
    COARSER = "coarser"
    PSEUDONYM = "pseudonym"
    TOKEN = "keyed token"  # noqa: S105 (a word for readers)
    NOTHING = "nothing"


@dataclass(frozen=True)
class Viewer:
    """Somebody who may see something."""

    id: str
    name: str
    who: str
    """Who that is, in one sentence."""
    until: str
    """Until when it sees what it sees."""
    grant: Grant | None = None


@dataclass(frozen=True)
class Sight:
    """What one viewer sees of one column."""

    viewer: Viewer
    form: Form
    text: str
    """The form in words: ``five-year band of birth years``."""


@dataclass(frozen=True)
class Line:
    """One column of the matrix of viewers."""

    table: Table
    column: Column
    purposes: tuple[str, ...]
    sights: tuple[Sight, ...]


SENDER, OTHERS, INTAKE, POOL, CUSTODIAN = "sender", "other_partners", "intake", "pool", "custodian"


def viewers(agreement: Agreement) -> tuple[Viewer, ...]:
    """Everybody who might see a column: partners, the pipeline, the custodian of linkage, then each grant's team."""
    kept = f"{count_in_words(agreement.retention.pool_years, 'year')}, with the pool"
    drop = count_in_words(agreement.retention.inbox_days, "day")
    fixed = (
        Viewer(SENDER, "Partner that sent it", "The partner whose own record it is.", "by its own retention schedule"),
        Viewer(OTHERS, "Other partners", "Every other party to the agreement.", "-"),
        Viewer(
            INTAKE,
            "Pipeline, at intake",
            "The software while it checks a submission.",
            f"until pseudonyms are made; the drop in the inbox {drop}",
        ),
        Viewer(POOL, "Pipeline, in the pool", "The software that links, counts and publishes.", kept),
        Viewer(CUSTODIAN, "Linkage custodian", "Whoever looks after the registry of persons.", kept),
    )
    granted = (
        Viewer(
            f"grant {grant.id}",
            grant.team,
            f"Logins {', '.join(grant.logins)}. For: {'; '.join(granted_purposes(agreement, grant))}.",
            f"from {day_in_words(grant.starts)} until {day_in_words(grant.ends)}",
            grant,
        )
        for grant in agreement.grants
    )
    return (*fixed, *granted)


def granted_purposes(agreement: Agreement, grant: Grant) -> tuple[str, ...]:
    """Titles of the grant's purposes, in the agreement's order."""
    return tuple(purpose.title for purpose in agreement.purposes if purpose.id in grant.purposes)


def matrix(agreement: Agreement) -> tuple[Line, ...]:
    """One line for each column of the newest version, in the agreed order."""
    everybody = viewers(agreement)
    return tuple(
        Line(
            table,
            column,
            purpose_titles(agreement, column),
            tuple(_sight(table, column, viewer) for viewer in everybody),
        )
        for table in agreement.contract.tables
        for column in table.columns
    )


def _sight(table: Table, column: Column, viewer: Viewer) -> Sight:
    if viewer.grant is not None:
        return _granted(table, column, viewer, viewer.grant)
    if viewer.id in (SENDER, INTAKE):
        return Sight(viewer, Form.AS_IS, "as it is")
    if viewer.id == POOL:
        return _pooled(table, column, viewer)
    if viewer.id == CUSTODIAN:
        if column.name == table.person_column:
            return Sight(viewer, Form.PSEUDONYM, "pseudonym")
        if column.identifier is not None:
            return Sight(viewer, Form.TOKEN, "part of a keyed token")
    return Sight(viewer, Form.NOTHING, "nothing")


def _pooled(table: Table, column: Column, viewer: Viewer) -> Sight:
    name, _ = pool_form(table, column)
    if not name:
        compared = column.identifier is not None
        return Sight(viewer, Form.TOKEN, "keyed token") if compared else Sight(viewer, Form.NOTHING, "nothing")
    if column.treatment is Treatment.KEEP:
        return Sight(viewer, Form.AS_IS, "as it is")
    if column.treatment is Treatment.GENERALISE:
        assert column.generalisation is not None  # the loader refuses a generalised column without one
        return Sight(viewer, Form.COARSER, COARSER[column.generalisation])
    return Sight(viewer, Form.PSEUDONYM, "pseudonym")


def _granted(table: Table, column: Column, viewer: Viewer, grant: Grant) -> Sight:
    if "pool" not in grant.schemas:
        return Sight(viewer, Form.NOTHING, "nothing; released figures only")
    name, _ = pool_form(table, column)
    readable = {"pool.*", f"pool.{table.name}"} & set(grant.views)
    if not name or name in HIDDEN_FROM_ANALYSTS or not readable:
        return Sight(viewer, Form.NOTHING, "nothing")
    # The person is a pseudonym that the view makes, and stands wherever the view shows a row.
    shown_for = row_purposes(table) if column.name == table.person_column else column.purposes
    if not set(grant.purposes) & set(shown_for):
        return Sight(viewer, Form.NOTHING, "nothing; shared for other purposes")
    sight = _pooled(table, column, viewer)
    text = "pseudonym of this grant alone" if sight.form is Form.PSEUDONYM else sight.text
    return Sight(viewer, sight.form, text)


def matrix_csv(agreement: Agreement) -> bytes:
    """The matrix as CSV: a row for each column, purpose and viewer; a column without a purpose has one row a viewer."""
    headings = ("table", "column", "label", "classification", "purpose", "why is this column here", "viewer",
                "sees", "form", "until", "the grant is for this purpose")  # fmt: skip
    rows = (
        (
            line.table.name,
            line.column.name,
            line.column.label,
            CLASSIFICATIONS[line.column.classification],
            purpose,
            line.column.why,
            sight.viewer.name,
            sight.form.value,
            sight.text,
            sight.viewer.until if sight.form is not Form.NOTHING else "",
            _for_this_purpose(agreement, sight, purpose),
        )
        for line in matrix(agreement)
        for purpose in line.purposes or ("none",)
        for sight in line.sights
    )
    return write_csv(headings, rows)


def _for_this_purpose(agreement: Agreement, sight: Sight, purpose: str) -> str:
    grant = sight.viewer.grant
    if grant is None or sight.form is Form.NOTHING:
        return ""
    return "yes" if purpose in granted_purposes(agreement, grant) else "no"
