"""The form that a cell's text must have to be read as a number or a date, stated once for both checkers."""

import polars as pl

from protocol.model import ColumnType

TEXT_FORMS: dict[ColumnType, str] = {
    # 18 digits always fit into 64 bits.
    ColumnType.INTEGER: r"[+-]?[0-9]{1,18}",
    # More than four decimals are a fault and are never rounded away unseen.
    ColumnType.DECIMAL: r"[+-]?[0-9]{1,14}(?:\.[0-9]{1,4})?",
    # Calendar parsers alone would also take 2026-1-2 or three-digit years.
    ColumnType.DATE: r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}",
}
"""Regular expressions of the whole cell; they mean the same in Rust and in Python."""

DATE_FORMAT = "%Y-%m-%d"

POLARS_TYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.TEXT: pl.String(),
    ColumnType.CODE: pl.String(),
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.DECIMAL: pl.Decimal(18, 4),
    ColumnType.DATE: pl.Date(),
}


def read_cell(column: str, type_: ColumnType) -> pl.Expr:
    """Expression that reads a text column as its agreed type; null where the text has not the type's form."""
    text = pl.col(column)
    if type_ not in TEXT_FORMS:
        return text
    formed = pl.when(text.str.contains(rf"\A(?:{TEXT_FORMS[type_]})\z")).then(text)
    if type_ is ColumnType.DATE:
        return formed.str.to_date(DATE_FORMAT, strict=False)
    return formed.cast(POLARS_TYPES[type_], strict=False)
