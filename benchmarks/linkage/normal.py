"""The normal record of a set, which every method but OPPRL (it has a normaliser of its own) starts from."""

from datetime import date

import polars as pl

from benchmarks.linkage.data import Data
from protocol.model import IdentifierRole
from pseudonymise.normalise import normalise

AS_OF = date(2026, 9, 30)
"""The day after which nobody in a set was born."""


def normalise_records(data: Data) -> pl.DataFrame:
    """The normal record of every row, in order."""
    records = data.records
    columns = {role: role.value for role in IdentifierRole if role.value in records.columns}
    return normalise(records, columns, AS_OF)
