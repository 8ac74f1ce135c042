"""Rows of the agreement's earlier version carried over into its own, by the declared upgrade.

What comes out is text, as :func:`intake.reading.read_tables` gives it, so that it can be checked again like any
submission. Row numbers stay those of the partner's file.
"""

from collections.abc import Mapping

import polars as pl

from intake.csv_text import ROW
from intake.reading import DELETE
from protocol.errors import DefectFound
from protocol.model import Agreement, ColumnUpgrade, Table, TableUpgrade
from protocol.versions import fill_for_missing


def upgrade_tables(tables: Mapping[str, pl.DataFrame], agreement: Agreement) -> dict[str, pl.DataFrame]:
    """Checked tables of the earlier version as tables of the agreement's own, all cells as text.

    ``tables``: agreed table of the earlier version -> frame with its columns, typed or text, ``_row``, and ``_delete``
    in a delta. Tables that end are not among the result; neither are those that were not collected. A column that was
    not collected holds ``not_collected`` where it is a code, and nothing elsewhere. Raises DefectFound where the
    agreement has no earlier version, or a frame lacks a column.
    """
    if agreement.earlier is None:
        raise DefectFound("The agreement has no earlier version to carry rows over from.")
    upgraded = {}
    for table in agreement.contract.tables:
        how = agreement.earlier.upgrade.table(table.name)
        if how.collected and table.name in tables:
            upgraded[table.name] = _upgrade_table(tables[table.name], table, how)
    return upgraded


def _upgrade_table(frame: pl.DataFrame, table: Table, how: TableUpgrade) -> pl.DataFrame:
    needed = {column.source for column in how.columns if column.source is not None}
    if missing := needed - set(frame.columns):
        raise DefectFound(f"The frame of {table.name} came without the column {sorted(missing)[0]}.")
    columns = [_column(table, column) for column in how.columns]
    deletes = [DELETE] if DELETE in frame.columns else []
    return frame.select(ROW, *columns, *deletes)


def _column(table: Table, how: ColumnUpgrade) -> pl.Expr:
    if how.source is None:
        value = pl.lit(fill_for_missing(table.column(how.column).type), dtype=pl.String)
    else:
        value = pl.col(how.source).cast(pl.String)
        if how.codes and how.otherwise is None:
            value = value.replace(how.codes)
        elif how.otherwise is not None:
            known = value.replace_strict(how.codes, default=how.otherwise, return_dtype=pl.String)
            value = pl.when(value.is_not_null()).then(known)
        if how.empty is not None:
            value = value.fill_null(how.empty)
    return value.alias(how.column)
