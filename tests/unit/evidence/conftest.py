"""A small measure that needs no database, and exact figures written by hand."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from evidence.catalogue import SCHEMA, MeasureTable, read_measure
from evidence.model import Measure

HEADER = """/*
id: visits
title: Visits
question: How many people visit, and how many come back?
unit: people
numerator: People who came back.
denominator: People who visited.
needs: []
breakdowns:
  all: {label: Everybody}
  area: {label: By area, dims: {area: text}}
  set: {label: By set of partners, dims: {partners: partners}}
  partner: {label: By partner, dims: {partner: partner}}
statistics:
  people: {label: People, kind: count, unit: people}
  returned: {label: People who came back, kind: count, unit: people, part_of: people}
  returned_share: {label: Share who came back, kind: share, unit: share of people, of: returned, over: people}
  open_share: {label: Share who signed in, kind: share, unit: share of people, rest: open}
  wait: {label: Median wait, kind: median, unit: days, over: people}
  hours: {label: Hours, kind: sum, unit: hours, over: people}
  cost: {label: Cost, kind: product, unit: GBP, money: true, of: hours, over: people}
  rows: {label: Rows, kind: count, unit: rows}
  at_least: {label: People at least, kind: count, unit: people, bounds: people}
  at_most: {label: People at most, kind: count, unit: people, bounds: people}
adds_up:
  - {statistic: people, parts: area, total: all, disjoint: true}
  - {statistic: people, parts: set, total: partner, members: partners, disjoint: true}
  - {statistic: rows, parts: area, total: all}
  - {statistic: returned, parts: area, total: all, disjoint: true}
caveats: [Made up.]
*/
select 1
"""

Cell = tuple[str, dict[str, str], str, dict[str, float | None]]


@pytest.fixture
def visits() -> Measure:
    """The measure itself."""
    return read_measure(HEADER, "visits.sql")


@pytest.fixture
def table(visits: Measure) -> Callable[..., MeasureTable]:
    """Makes a table of it from cells ``(breakdown, dims, statistic, {column: number})``."""

    def make(*cells: Cell) -> MeasureTable:
        rows: list[dict[str, Any]] = [
            {
                **dict.fromkeys(SCHEMA),
                "breakdown": breakdown,
                "dims": json.dumps(dims, sort_keys=True, separators=(",", ":")),
                "statistic": statistic,
                **numbers,
            }
            for breakdown, dims, statistic, numbers in cells
        ]
        return MeasureTable(visits, pl.DataFrame(rows, schema=SCHEMA))

    return make
