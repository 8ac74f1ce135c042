"""The normal record of a set, which every method but OPPRL (it has a normaliser of its own) starts from."""

from datetime import date

import polars as pl

from benchmarks.linkage.data import Data
from protocol.model import IdentifierRole
from pseudonymise.normalise import normalise

AS_OF = date(2026, 9, 30)
"""The day after which nobody in a set was born, FEBRL's apart."""
FEBRL_AS_OF = date(2000, 12, 31)
"""FEBRL's people were born from 1900 to 1999. Seen from today the eldest would be older than anybody gets."""


def normalise_records(data: Data) -> pl.DataFrame:
    """The normal record of every row, in order."""
    records = data.records
    columns = {role: role.value for role in IdentifierRole if role.value in records.columns}
    return normalise(records, columns, FEBRL_AS_OF if data.name.startswith("febrl") else AS_OF)
