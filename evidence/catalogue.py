"""The measures: loading them from their SQL files and running them over a snapshot.

A measure is one file of ``evidence/measures/``: a header (YAML in the first comment) that says what it means, and one
SELECT. The SELECT reads unqualified relations that the caller provides on the connection as temporary views:

- every agreed table by its name, with ``partner_id``, ``period``, ``row_key``, ``person_ref``, ``person_id`` (uuid,
  null where the person cannot or must not be linked) and its columns of the pool; ``assessment`` has ``mark``,
  ``repeats_partner_id`` and ``days_since`` besides;
- ``partner`` (partner_id, name, kind, agency, tier), ``collection_period`` (period, starts, ends), ``coverage``
  (partner_id, period, table_name, rows_received, rows_accepted, rows_held_back), ``record`` (partner_id, person_ref,
  person_id, if_joined, if_parted, linkable) and ``figures`` (one row: repeat_window_days, lost_referral_days,
  bounce_days, hourly_cost_gbp).

``code`` (table_name, column_name, code, label, ord) is made here, from the agreement's code lists.

Every SELECT returns the same columns, one row a figure:

=============  =======================================================================================
breakdown      which split of the header the row belongs to, such as ``all`` or ``partner``
dims           JSON object: dimension -> value, all text; empty for ``all``
statistic      which statistic of the header
value          the figure itself, exact
numerator      for shares and ratios: the count above the line; for products: the sum that is multiplied
denominator    for shares and ratios: the count below the line; for medians and sums: the cases behind them
people         distinct people behind value and numerator; null where the figure is not about people
base_people    distinct people behind the denominator, or behind the whole of which a count is part
rest_people    distinct people with a case in the whole that is not in the part
=============  =======================================================================================

These exact figures never leave the pipeline: :func:`evidence.disclosure.protect` turns them into what is published.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from pydantic import ValidationError
from sqlalchemy import Connection, text

from evidence.model import Measure
from protocol.errors import DefectFound
from protocol.model import Agreement
from protocol.pool import pool_columns

MEASURES_FOLDER = Path(__file__).parent / "measures"

SCHEMA = pl.Schema(
    {
        "breakdown": pl.String(),
        "dims": pl.String(),
        "statistic": pl.String(),
        "value": pl.Float64(),
        "numerator": pl.Float64(),
        "denominator": pl.Float64(),
        "people": pl.Int64(),
        "base_people": pl.Int64(),
        "rest_people": pl.Int64(),
    }
)
"""Columns of a measure's result; ``dims`` is JSON with sorted keys."""

FIGURE_COLUMNS = frozenset(
    {
        "release_number",
        "breakdown",
        "statistic",
        "statistic_label",
        "value",
        "numerator",
        "denominator",
        "unit",
        "status",
        "reason",
    }
)
"""Columns that stand beside the dimensions in the views and the data package, so that no dimension may be called so."""

_PROVIDED = frozenset({"record", "partner", "collection_period", "coverage", "figures", "code"})
"""Relations that are there whatever was agreed."""


@dataclass(frozen=True)
class MeasureTable:
    """A measure's exact figures over one snapshot, or why it has none."""

    measure: Measure
    frame: pl.DataFrame
    """Columns of :data:`SCHEMA`, sorted; empty where the measure is not available."""
    not_available: str | None = None
    """What the agreement lacks, in a sentence; None where the measure was run."""


def read_measure(sql: str, source: str) -> Measure:
    """The measure that a file's text declares. ``source`` names the file in the error.

    Raises DefectFound where the header is missing, is not YAML or does not declare a measure.
    """
    if not sql.startswith("/*") or "*/" not in sql:
        raise DefectFound(f"{source}: a measure starts with its header in a /* comment */")
    header = sql[2 : sql.index("*/")]
    try:
        return Measure.model_validate({**yaml.safe_load(header), "sql": sql})
    except (yaml.YAMLError, TypeError, ValidationError) as error:
        raise DefectFound(f"{source}: the header does not declare a measure: {error}") from error


@cache
def load_measures(folder: Path = MEASURES_FOLDER) -> tuple[Measure, ...]:
    """All measures of the folder, sorted by file name. Raises DefectFound for a header that contradicts its file."""
    measures = []
    for path in sorted(folder.glob("*.sql")):
        measure = read_measure(path.read_text(encoding="utf-8"), path.name)
        if measure.id != path.stem:
            raise DefectFound(f"{path.name}: the header's id is {measure.id}")
        measures.append(measure)
    _check_references(tuple(measures))
    return tuple(measures)


def _check_references(measures: tuple[Measure, ...]) -> None:
    known = {(measure.id, statistic.id) for measure in measures for statistic in measure.statistics}
    for measure in measures:
        breakdowns = {breakdown.id for breakdown in measure.breakdowns}
        if taken := FIGURE_COLUMNS & set(measure.dim_names):
            raise DefectFound(f"{measure.id}.sql: a dimension cannot be called {', '.join(sorted(taken))}")
        for statistic in measure.statistics:
            for reference in (
                statistic.of,
                statistic.over,
                statistic.part_of,
                statistic.same_as,
                statistic.bounds,
            ):
                if reference and resolve_reference(measure, reference) not in known:
                    raise DefectFound(f"{measure.id}.sql: no statistic {reference}")
        for sums in measure.adds_up:
            named = {sums.statistic, sums.part_statistic or sums.statistic, sums.beside or sums.statistic}
            dims = {*sums.only, *sums.other_than, *([sums.members] if sums.members else [])}
            if (
                not named <= set(measure.statistic_ids)
                or not {sums.parts, sums.total} <= breakdowns
                or not dims <= set(measure.breakdown(sums.parts).dims)
            ):
                raise DefectFound(f"{measure.id}.sql: adds_up names what the header does not declare")


def resolve_reference(measure: Measure, reference: str) -> tuple[str, str]:
    """``(measure, statistic)`` of a reference in a header."""
    owner, _, statistic = reference.rpartition(".")
    return (owner or measure.id, statistic)


def explain_missing(needs: tuple[str, ...], agreement: Agreement) -> str | None:
    """A sentence that names what the agreement's pool lacks of ``needs`` (``table.column``); None if it has all."""
    available: dict[str, set[str]] = {
        table.name: {column.name for column in pool_columns(table)} for table in agreement.contract.tables
    }
    missing = [
        need
        for need in needs
        if (table := need.partition(".")[0]) not in _PROVIDED
        and need.partition(".")[2] not in available.get(table, set())
    ]
    if not missing:
        return None
    return f"The agreement shares no {', '.join(missing)}, which this measure needs."


def run_measure(conn: Connection, measure: Measure, agreement: Agreement) -> MeasureTable:
    """A measure's exact figures over the relations that ``conn`` provides (see the module).

    Where the agreement lacks a column that the measure needs, the table is empty and says so. Raises DefectFound
    where assessments are not marked yet, or the SELECT returns what its header does not declare.
    """
    if missing := explain_missing(measure.needs, agreement):
        return MeasureTable(measure, pl.DataFrame(schema=SCHEMA), missing)
    provide_codes(conn, agreement)
    if measure.needs_marks:
        unmarked = conn.execute(text("select count(*) from assessment where mark is null and person_id is not null"))
        if unmarked.scalar_one():
            raise DefectFound(
                f"measure {measure.id}: the snapshot's assessments are not marked; run mark_repeats first"
            )
    result = conn.execution_options(no_parameters=True).exec_driver_sql(measure.sql)
    return MeasureTable(measure, _read_result(measure, result.mappings().all()))


def run_measures(
    conn: Connection, agreement: Agreement, measures: tuple[Measure, ...] | None = None
) -> tuple[MeasureTable, ...]:
    """Every measure's exact figures, in the order of :func:`load_measures`."""
    return tuple(run_measure(conn, measure, agreement) for measure in measures or load_measures())


def _read_result(measure: Measure, rows: Any) -> pl.DataFrame:
    breakdowns = {breakdown.id: set(breakdown.dims) for breakdown in measure.breakdowns}
    statistics = {statistic.id for statistic in measure.statistics}
    cells = []
    for row in rows:
        dims = {str(key): str(value) for key, value in row["dims"].items()}
        if row["breakdown"] not in breakdowns or set(dims) != breakdowns[row["breakdown"]]:
            raise DefectFound(f"measure {measure.id} returned a breakdown that its header does not declare")
        if row["statistic"] not in statistics:
            raise DefectFound(f"measure {measure.id} returned a statistic that its header does not declare")
        cells.append(
            {
                "breakdown": row["breakdown"],
                "dims": json.dumps(dims, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
                "statistic": row["statistic"],
                **{name: _float(row[name]) for name in ("value", "numerator", "denominator")},
                **{name: _int(row[name]) for name in ("people", "base_people", "rest_people")},
            }
        )
    frame = pl.DataFrame(cells, schema=SCHEMA).sort("breakdown", "dims", "statistic")
    if frame.select("breakdown", "dims", "statistic").is_duplicated().any():
        raise DefectFound(f"measure {measure.id} returned one figure twice")
    return frame


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _int(value: Any) -> int | None:
    return None if value is None else int(value)


def provide_codes(conn: Connection, agreement: Agreement) -> None:
    """Make the temporary relation ``code`` on the connection: the codes of every coded column, in their order."""
    rows = [
        {"table_name": table.name, "column_name": column.name, "code": code.code, "label": code.label, "ord": ord_}
        for table in agreement.contract.tables
        for column in table.columns
        if column.codelist
        for ord_, code in enumerate(agreement.codelist(column.codelist).codes, start=1)
    ]
    conn.execute(
        text(
            "create temporary table if not exists code"
            " (table_name text, column_name text, code text, label text, ord integer)"
        )
    )
    conn.execute(text("delete from pg_temp.code"))
    if rows:
        conn.execute(
            text("insert into pg_temp.code values (:table_name, :column_name, :code, :label, :ord)"),
            rows,
        )
