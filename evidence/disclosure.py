"""Disclosure control: exact figures in, figures that give nobody away out.

What is done, in this order, over all tables of a release at once:

1. Primary suppression. A figure with 1 to ``minimum_people - 1`` people behind it is withheld: counts by their own
   people, shares by the people in the part, in the whole and in the rest of the whole, medians, sums and amounts of
   money by the people whose values they are made of (money asks for more of them).
2. What hangs together is withheld together: a share whose numerator or denominator is withheld, a count that its share
   would give away, and every count of a cell that lies less than ``minimum_people`` from a withheld count of the same
   cell (referrals and people referred), since either would stand for the other. A bound is withheld where the count is
   that it is a bound of, or where it is of few people itself; it is no reason to withhold anything.
3. Complements. Where parts add up to a published total and what is withheld of them is a single part, or fewer than
   ``minimum_people`` people, the smallest published part is withheld as well, and so on until it is enough. People are
   added over parts only where the header says that nobody is in two of them; elsewhere one withheld part has to have
   enough people. Where the total is withheld and no part of it, the smallest part is withheld, or adding the parts
   would give the total back. This closes subtraction within one sum; several sums solved together are not attacked.
   Steps 2 and 3 are repeated until nothing more is withheld.
4. Rounding. Every count is rounded once, by one rule, to ``rounding_base``; zero stays zero, and nothing else becomes
   zero or falls below ``minimum_people``, whether it counts people or rows. Shares and ratios are worked out from the
   rounded counts. Sums over cases are rounded to their own step and money is worked out from the rounded sum.
5. Class disclosure: a share of exactly none or all of a group is published with a note, for the person who approves.

A withheld figure is null, has status ``withheld`` and a reason, and is never shown as 0
(kept by ``tests/unit/evidence/test_disclosure.py``).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from itertools import combinations
from typing import Any

from evidence.catalogue import MeasureTable, resolve_reference
from evidence.model import Figure, Kind, Measure, Statistic, Status, digest_figures, sort_figures
from protocol.errors import DefectFound
from protocol.model import Agreement


@dataclass(frozen=True)
class DisclosurePolicy:
    """The figures of disclosure control."""

    minimum_people: int = 8
    """Counts of people from 1 to one below this are withheld."""
    rounding_base: int = 5
    money_minimum_people: int = 10
    """At least so many people behind an amount of money (never fewer than ``minimum_people``)."""

    def __post_init__(self) -> None:
        if self.minimum_people < 2 or self.rounding_base < 1:
            raise ValueError("a policy protects nobody with minimum_people < 2 or rounding_base < 1")


@dataclass(frozen=True)
class ProtectedTables:
    """Figures that may be published, in the order of their places."""

    figures: tuple[Figure, ...] = field(repr=False)
    policy: DisclosurePolicy

    @property
    def digest(self) -> str:
        """SHA-256 of the figures, see :func:`evidence.model.digest_figures`."""
        return digest_figures(self.figures)

    @property
    def withheld(self) -> tuple[Figure, ...]:
        """The figures that are not shown."""
        return tuple(figure for figure in self.figures if figure.status is Status.WITHHELD)


def make_policy(agreement: Agreement) -> DisclosurePolicy:
    """The policy that the partners signed."""
    return DisclosurePolicy(
        minimum_people=agreement.disclosure.minimum_people, rounding_base=agreement.disclosure.rounding_base
    )


# --- rounding ---------------------------------------------------------------------------------------------------------


def round_to_base(count: int, base: int) -> int:
    """The nearest multiple of ``base``; halves go up. Rounding twice is rounding once."""
    return (2 * count + base) // (2 * base) * base


def round_midpoint(count: int, base: int = 6) -> int:
    """Midpoint rounding: 0 stays, every count of a run of ``base`` (1 to 6, 7 to 12 ...) becomes the run's middle,
    rounded down (3, 9 ...). An alternative to :func:`round_to_base`; one count must never be published by both."""
    return 0 if count == 0 else (count + base - 1) // base * base - base // 2


def round_count(count: int, policy: DisclosurePolicy) -> int:
    """A count as it is published. Zero stays zero; any other is rounded to the base, but never below the first multiple
    of the base that is at least ``minimum_people``: one rule for people and rows, so that no count is published by
    two."""
    if count == 0:
        return 0
    base = policy.rounding_base
    floor = -(-policy.minimum_people // base) * base
    return max(round_to_base(count, base), floor)


def protect_counts(counts: Sequence[int], policy: DisclosurePolicy) -> tuple[int | None, ...]:
    """Counts of people of one column, withheld (None) or rounded; what :func:`protect` does without its totals."""
    return tuple(None if 0 < count < policy.minimum_people else round_count(count, policy) for count in counts)


def sum_published(counts: Iterable[int | None]) -> int:
    """The total of a column of disjoint categories as it may stand under them: of the published counts only."""
    return sum(count for count in counts if count is not None)


# --- the figures of a release -----------------------------------------------------------------------------------------

Place = tuple[str, str, str, str]

_GIVES_AWAY = "Together with other figures it would give away a figure about few people."
"""One sentence for all that is withheld to protect another figure: which one it protects would tell too much."""


@dataclass
class _Cell:
    """One figure on its way: exact until it is published."""

    measure: Measure
    statistic: Statistic
    breakdown: str
    dims_text: str
    dims: dict[str, str]
    value: float | None
    numerator: float | None
    denominator: float | None
    people: int | None
    base_people: int | None
    rest_people: int | None
    reason: str | None = None
    """Set when it is withheld."""
    because_of_rest: bool = False

    @property
    def place(self) -> Place:
        return (self.measure.id, self.breakdown, self.dims_text, self.statistic.id)

    @property
    def withheld(self) -> bool:
        return self.reason is not None


def protect(tables: Sequence[MeasureTable], policy: DisclosurePolicy) -> ProtectedTables:
    """All figures of a release after disclosure control (steps in the module's text).

    ``tables`` are all measures of one release: what is protected apart can be solved together. Raises DefectFound for
    a table that contradicts itself, such as more people in a part than in the whole.
    """
    cells = {cell.place: cell for table in tables for cell in _read_cells(table)}
    for cell in cells.values():
        _check(cell)
        _withhold_primary(cell, policy)
    links = _link(cells)
    groups = [group for table in tables for group in _find_groups(table.measure, cells)]
    siblings = _find_siblings(cells, policy)
    while _withhold_linked(links) or _withhold_siblings(siblings) or _withhold_complements(groups, policy):
        pass
    figures = [_publish(cell, policy) for cell in cells.values()]
    figures.extend(_report_absent(table) for table in tables if table.frame.is_empty())
    return ProtectedTables(sort_figures(figures), policy)


def _read_cells(table: MeasureTable) -> Iterator[_Cell]:
    for row in table.frame.iter_rows(named=True):
        yield _Cell(
            measure=table.measure,
            statistic=table.measure.statistic(row["statistic"]),
            breakdown=row["breakdown"],
            dims_text=row["dims"],
            dims=json.loads(row["dims"]),
            **{
                name: row[name]
                for name in ("value", "numerator", "denominator", "people", "base_people", "rest_people")
            },
        )


def _check(cell: _Cell) -> None:
    wrong = (
        (cell.people is not None and cell.base_people is not None and cell.people > cell.base_people)
        or (cell.statistic.kind is Kind.SHARE and (cell.numerator or 0) > (cell.denominator or 0))
        or (cell.statistic.kind is Kind.COUNT and cell.value is None)
        or (cell.statistic.kind is not Kind.COUNT and cell.people is None and cell.base_people is not None)
    )
    if wrong:
        raise DefectFound(f"measure {cell.measure.id}: {cell.statistic.id} contradicts the people behind it")


def _withhold_primary(cell: _Cell, policy: DisclosurePolicy) -> None:
    minimum = policy.minimum_people

    def is_few(people: int | None, at_least: int = minimum) -> bool:
        return people is not None and 0 < people < at_least

    if is_few(cell.people):
        cell.reason = f"Fewer than {minimum} people are behind it."
    elif cell.statistic.money and is_few(cell.people, max(minimum, policy.money_minimum_people)):
        cell.reason = f"Fewer than {policy.money_minimum_people} people are behind this amount of money."
    elif is_few(cell.base_people):
        cell.reason = f"Fewer than {minimum} people are in the group that it describes."
    elif cell.statistic.rest == "protected" and is_few(cell.rest_people):
        cell.reason = f"It holds for all but fewer than {minimum} people of the group."
        cell.because_of_rest = True


@dataclass(frozen=True)
class _Link:
    """A figure and the count that it would give away, or that would give it away."""

    dependent: _Cell
    count: _Cell
    is_numerator: bool

    @property
    def gives_count_away(self) -> bool:
        """The count published alone would tell what is withheld: whole less part gives the rest, and a sum times a
        constant that everyone knows gives the money."""
        dependent = self.dependent
        by_constant = dependent.withheld and dependent.statistic.kind is Kind.PRODUCT
        return self.is_numerator and (dependent.because_of_rest or by_constant)


def _link(cells: dict[Place, _Cell]) -> list[_Link]:
    links = []
    for cell in cells.values():
        for reference in (cell.statistic.of, cell.statistic.over, cell.statistic.bounds):
            if reference is None:
                continue
            measure_id, statistic_id = resolve_reference(cell.measure, reference)
            count = cells.get((measure_id, cell.breakdown, cell.dims_text, statistic_id))
            if count is not None:
                links.append(_Link(cell, count, is_numerator=reference == cell.statistic.of))
        if cell.statistic.part_of and "." in cell.statistic.part_of:
            # The same count stands in another measure, or nearly: what is withheld there is withheld here.
            measure_id, statistic_id = resolve_reference(cell.measure, cell.statistic.part_of)
            count = cells.get((measure_id, cell.breakdown, cell.dims_text, statistic_id))
            if count is not None:
                links.append(_Link(cell, count, is_numerator=False))
    return links


def _withhold_linked(links: list[_Link]) -> bool:
    changed = False
    for link in links:
        if link.count.withheld and not link.dependent.withheld:
            bound = link.dependent.statistic.bounds is not None
            made = "it is a bound of" if bound else "it is made of"
            link.dependent.reason = f"A count that {made} is withheld, and it would give that away."
            changed = True
        elif link.gives_count_away and not link.count.withheld:
            link.count.reason = _GIVES_AWAY
            changed = True
    return changed


def _find_siblings(cells: dict[Place, _Cell], policy: DisclosurePolicy) -> list[tuple[_Cell, _Cell]]:
    """Pairs of counts of one cell, less than ``minimum_people`` apart: who knows the one knows the other."""
    together: dict[tuple[str, str, str], list[_Cell]] = {}
    pairs = []
    for cell in cells.values():
        # Zero says nothing about a count that is not. A bound is of nobody in particular: where one is of few people,
        # it goes, and what it is a bound of stays.
        if cell.statistic.kind is Kind.COUNT and cell.value and cell.statistic.bounds is None:
            together.setdefault(cell.place[:3], []).append(cell)
            if cell.statistic.same_as is not None:
                measure_id, statistic_id = resolve_reference(cell.measure, cell.statistic.same_as)
                same = cells.get((measure_id, cell.breakdown, cell.dims_text, statistic_id))
                if same is not None and same.value:
                    pairs.append((cell, same))
    for counts in together.values():
        pairs.extend(combinations(counts, 2))
    return [(a, b) for a, b in pairs if abs((a.value or 0) - (b.value or 0)) < policy.minimum_people]


def _withhold_siblings(siblings: list[tuple[_Cell, _Cell]]) -> bool:
    changed = False
    for a, b in siblings:
        if a.withheld != b.withheld:
            (b if a.withheld else a).reason = _GIVES_AWAY
            changed = True
    return changed


@dataclass(frozen=True)
class _Group:
    """Parts that add up to a total."""

    total: _Cell
    parts: tuple[_Cell, ...]
    disjoint: bool


def _find_groups(measure: Measure, cells: dict[Place, _Cell]) -> Iterator[_Group]:
    mine = [cell for cell in cells.values() if cell.measure.id == measure.id]
    for sums in measure.adds_up:
        parts = [
            cell
            for cell in mine
            if cell.breakdown == sums.parts
            and cell.statistic.id == (sums.part_statistic or sums.statistic)
            and sums.only.items() <= cell.dims.items()
            and not (sums.other_than and sums.other_than.items() <= cell.dims.items())
        ]
        totals = [cell for cell in mine if cell.breakdown == sums.total and cell.statistic.id == sums.statistic]
        for total in totals:
            if sums.members:
                wanted = set(total.dims.values())
                chosen = [part for part in parts if wanted <= set(part.dims[sums.members].split("+"))]
            else:
                chosen = [part for part in parts if total.dims.items() <= part.dims.items()]
            if sums.beside is not None:
                chosen += [cells[place] for place in [(*total.place[:3], sums.beside)] if place in cells]
            if chosen:
                yield _Group(total, tuple(sorted(chosen, key=lambda part: part.place)), sums.disjoint)


def _withhold_complements(groups: list[_Group], policy: DisclosurePolicy) -> bool:
    changed = False
    for group in groups:
        while not _is_closed(group, policy):
            shown = [part for part in group.parts if not part.withheld and (part.value or 0) > 0]
            chosen = min(shown, key=lambda part: (part.value or 0, part.place)) if shown else group.total
            chosen.reason = _GIVES_AWAY
            changed = True
    return changed


def _is_closed(group: _Group, policy: DisclosurePolicy) -> bool:
    """Whether adding and subtracting within the sum gives nothing away that is withheld."""
    hidden = [part for part in group.parts if part.withheld]
    if group.total.withheld:
        return bool(hidden) or not any(part.value for part in group.parts)
    # Rows without people behind them count as themselves.
    people = [round(part.value or 0) if part.people is None else part.people for part in hidden]
    together = sum(people) if group.disjoint else max(people, default=0)
    return not hidden or (len(hidden) >= 2 and together >= policy.minimum_people)


# --- publishing -------------------------------------------------------------------------------------------------------


def _publish(cell: _Cell, policy: DisclosurePolicy) -> Figure:
    if cell.reason is not None:
        return _figure(cell, Status.WITHHELD, reason=cell.reason)
    kind = cell.statistic.kind

    def count(value: float | None) -> Decimal | None:
        return None if value is None else Decimal(round_count(round(value), policy))

    if kind is Kind.COUNT_OF_THINGS:
        return _figure(cell, Status.PUBLISHED, value=_round(cell.value, "0.01"))
    if kind is Kind.COUNT:
        return _figure(cell, Status.PUBLISHED, value=count(cell.value))
    denominator = count(cell.denominator)
    if cell.value is None or not denominator:
        return _figure(cell, Status.NOT_AVAILABLE, reason="There is no case that it could be worked out from.")
    if kind in (Kind.SHARE, Kind.RATIO):
        numerator = count(cell.numerator) or Decimal(0)
        return _figure(
            cell,
            Status.PUBLISHED,
            value=_round(numerator / denominator, "0.0001"),
            numerator=numerator,
            denominator=denominator,
            reason=_note_class(cell),
        )
    if kind is Kind.MEDIAN:
        return _figure(cell, Status.PUBLISHED, value=_round(cell.value, "0.1"), denominator=denominator)
    if kind is Kind.SUM:
        return _figure(
            cell, Status.PUBLISHED, value=_round_to_step(cell.value, cell.statistic.step), denominator=denominator
        )
    numerator = _round_to_step(cell.numerator or 0.0, cell.statistic.step)
    constant = Decimal(0) if not cell.numerator else _round(cell.value / cell.numerator, "0.000001")
    return _figure(
        cell,
        Status.PUBLISHED,
        value=_round(numerator * constant, "0.01"),
        numerator=numerator,
        denominator=denominator,
    )


def _figure(cell: _Cell, status: Status, **entries: Any) -> Figure:
    return Figure(
        measure=cell.measure.id,
        breakdown=cell.breakdown,
        dims=cell.dims,
        statistic=cell.statistic.id,
        unit=cell.statistic.unit,
        status=status,
        **{"value": None, **entries},
    )


def _note_class(cell: _Cell) -> str | None:
    if cell.statistic.kind is not Kind.SHARE or not cell.base_people or cell.statistic.rest == "open":
        return None
    if cell.people == 0:
        return "Class disclosure: it holds for nobody in the group."
    if cell.rest_people == 0:
        return "Class disclosure: it holds for everybody in the group."
    return None


def _report_absent(table: MeasureTable) -> Figure:
    measure = table.measure
    return Figure(
        measure=measure.id,
        breakdown="all",
        dims={},
        statistic=measure.statistics[0].id,
        value=None,
        unit=measure.statistics[0].unit,
        status=Status.NOT_AVAILABLE,
        reason=table.not_available or "The snapshot has no row that it could be worked out from.",
    )


def _round(value: float | Decimal | None, places: str) -> Decimal:
    return Decimal(str(value)).quantize(Decimal(places), ROUND_HALF_UP)


def _round_to_step(value: float, step: float) -> Decimal:
    unit = Decimal(str(step)).normalize()
    return (Decimal(str(value)) / unit).quantize(Decimal(1), ROUND_HALF_UP) * unit
