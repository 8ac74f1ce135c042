"""The fixed core of the database as SQLAlchemy MetaData: what Alembic owns and every agreement has.

An agreement may add columns and tables of facts to it (:mod:`warehouse.plan`) or leave some empty; it may not
redefine any. All comments go into the database, where an analyst's tool shows them.
"""

from warehouse.schema import evidence, facts, governance, linkage, review
from warehouse.schema.base import SCHEMAS, metadata

__all__ = ["SCHEMAS", "evidence", "facts", "governance", "linkage", "metadata", "review"]
