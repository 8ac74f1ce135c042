"""What figures, codes and partners are called in the report, the approval page and the data package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from evidence.model import Breakdown, Figure, Kind, Measure, Statistic, Status
from protocol.model import Agreement


@dataclass(frozen=True)
class Labels:
    """The agreement's words for what a release names."""

    agreement: Agreement

    def dim(self, source: str, value: str) -> str:
        """The label of one dimension's value; ``source`` as a breakdown declares it. Unknown values stay."""
        if source == "partner":
            return self._partner(value)
        if source == "partners":
            return " + ".join(self._partner(partner) for partner in value.split("+"))
        if source == "table":
            names = {table.name: table.label for table in self.agreement.contract.tables}
            return names.get(value, value)
        if "." in source:
            return self._code(source, value)
        return value

    def cell(self, breakdown: Breakdown, dims: Mapping[str, str]) -> str:
        """The label of one cell of a breakdown, such as ``Castle Borough, Housing``."""
        return ", ".join(self.dim(source, dims[name]) for name, source in breakdown.dims.items())

    def codes(self, source: str) -> tuple[str, ...]:
        """The codes of ``table.column`` in their agreed order; none where the agreement lacks the column."""
        table_name, _, column_name = source.partition(".")
        try:
            codelist = self.agreement.contract.table(table_name).column(column_name).codelist
            return self.agreement.codelist(codelist).values if codelist else ()
        except KeyError:
            return ()

    def _partner(self, partner_id: str) -> str:
        try:
            return self.agreement.partner(partner_id).name
        except KeyError:
            return partner_id

    def _code(self, source: str, value: str) -> str:
        table_name, _, column_name = source.partition(".")
        try:
            codelist = self.agreement.contract.table(table_name).column(column_name).codelist
            return self.agreement.codelist(codelist).label(value) if codelist else value
        except KeyError:
            return value


def write_count(value: Decimal) -> str:
    """``1,235``."""
    return f"{value:,.0f}"


def write_percent(share: Decimal) -> str:
    """``32%``; one decimal below ten percent."""
    percent = share * 100
    return f"{percent:.1f}%" if 0 < percent < 10 else f"{percent:.0f}%"


def write_value(figure: Figure, statistic: Statistic) -> str:
    """A figure as people read it, with its denominator where it has one: ``32% (165 of 515)``."""
    if figure.status is Status.WITHHELD:
        return "withheld"
    if figure.status is Status.NOT_AVAILABLE or figure.value is None:
        return "not available"
    if statistic.kind is Kind.SHARE or statistic.unit.startswith("share"):
        text = write_percent(figure.value)
        if figure.numerator is None or figure.denominator is None:
            return text
        return f"{text} ({write_count(figure.numerator)} of {write_count(figure.denominator)})"
    if statistic.unit == "GBP":
        return f"£{figure.value:,.0f}"
    if statistic.kind is Kind.RATIO:
        return f"{figure.value:.2f}"
    if statistic.kind is Kind.MEDIAN:
        return f"{figure.value:.1f}".removesuffix(".0")
    return write_count(figure.value)


def title_of(measure: Measure, breakdown_id: str) -> str:
    """``Repeat assessment: by domain``."""
    label = measure.breakdown(breakdown_id).label
    return f"{measure.title}: {label[0].lower()}{label[1:]}"


def write_range(figure: Figure | None, bounds: Sequence[Figure | None]) -> str | None:
    """How far a count moves with the pairs of records in doubt, as published: ``between 2,950 and 3,010``.

    ``bounds`` are its bounds. The count itself is never outside. None where it or a bound is not shown, or has none.
    """
    values = [found.value for found in (figure, *bounds) if found is not None and found.value is not None]
    if not bounds or len(values) <= len(bounds):
        return None
    low, high = write_count(min(values)), write_count(max(values))
    return f"{low} either way" if low == high else f"between {low} and {high}"
