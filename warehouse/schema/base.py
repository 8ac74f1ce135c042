"""What the tables of all schemas share: one MetaData and the names of constraints."""

from typing import Any

from sqlalchemy import Column, MetaData
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

SCHEMAS = {
    "governance": "Submissions, receipts, snapshots, drafts, grants and the audit trail. No personal data.",
    "linkage": "Match keys and the person registry. For the pipeline and the linkage custodian alone.",
    "facts": "Rows of the agreed tables by pseudonym, a set for each submission. For the pipeline alone.",
    "pool": "Views over the published snapshot for analysts with a grant, by the pseudonym of that grant.",
    "evidence": "Released figures after disclosure control.",
}
"""The schemas and what each is for."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

AnyType = TypeEngine[Any] | type[TypeEngine[Any]]


PSEUDONYM = "pseudonym"
"""Where a column's ``info`` says that it holds keyed pseudonyms; see :mod:`warehouse.rotation`."""


PACKED = "packed pseudonyms"
"""Where a column's ``info`` says that it holds a frame of encodings."""


def pseudonym(
    purpose: str | None = None, field: str | None = None, *, field_column: str | None = None, packed: bool = False
) -> dict[str, Any]:
    """``info`` of a column of keyed pseudonyms: their domain's purpose, and its field or the column that has it.

    ``packed``: it holds frames of encodings, which are renewed whole. Without a purpose, the agreement in force
    decides. A ``person_ref`` and a facts table's own ``row_key`` need none: their names say it.
    """
    return {PACKED: True} if packed else {PSEUDONYM: (purpose, field, field_column)}


def needed(name: str, type_: AnyType, comment: str, *items: SchemaItem, **more: Any) -> Column[Any]:
    """A column that is never null."""
    return Column(name, type_, *items, nullable=False, comment=comment, **more)


def optional(name: str, type_: AnyType, comment: str, *items: SchemaItem, **more: Any) -> Column[Any]:
    """A column that may be null."""
    return Column(name, type_, *items, nullable=True, comment=comment, **more)
