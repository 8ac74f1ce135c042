"""The evidence report of one release: a single HTML page that opens without a network.

Everything on the page comes from the release's figures, which are protected already, from the measures' headers and
from the agreement's words; the page cannot show what the release does not hold.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evidence.charts import ACCENT, LIGHT, MAIN, draw_bars, draw_grid, draw_sets, draw_stacked_bars
from evidence.labels import Labels, title_of, write_count, write_percent, write_range, write_value
from evidence.model import Figure, Measure, Release, Statistic, Status, sort_figures
from protocol.model import Agreement

_SETS_SHOWN = 14
"""More bars than these are too narrow to read; the table has all."""
_ROWS_OPEN = 12
"""A longer table is folded."""


@dataclass(frozen=True)
class Card:
    """One headline."""

    title: str
    number: str
    lines: tuple[str, ...]
    anchor: str
    muted: bool = False


@dataclass(frozen=True)
class TableView:
    """A table beneath a chart."""

    caption: str
    heads: tuple[str, ...]
    numeric_from: int
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    """What was withheld or has to be known, in sentences."""

    @property
    def is_long(self) -> bool:
        """Whether it is folded at first."""
        return len(self.rows) > _ROWS_OPEN


@dataclass(frozen=True)
class Chart:
    """A chart with what stands above it."""

    caption: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()
    """Colour and meaning."""


@dataclass(frozen=True)
class Section:
    """One question with its answer."""

    anchor: str
    title: str
    question: str
    answer: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[TableView, ...] = ()
    measures: tuple[Measure, ...] = ()


@dataclass(frozen=True)
class _Source:
    """The figures of a release, found by their place."""

    measures: dict[str, Measure]
    labels: Labels
    by_place: dict[tuple[str, str, str], list[Figure]] = field(default_factory=dict)

    def one(self, measure: str, statistic: str) -> Figure | None:
        """A figure of the whole."""
        found = self.by_place.get((measure, "all", statistic), [])
        return found[0] if found else None

    def all_of(self, measure: str, breakdown: str, statistic: str) -> list[Figure]:
        """All figures of one statistic in one breakdown."""
        return self.by_place.get((measure, breakdown, statistic), [])

    def range_of(self, measure: str, statistic: str) -> str | None:
        """How far a count of the whole moves with the pairs of records in doubt; None where that is not shown."""
        if measure not in self.measures:
            return None
        bounds = self.measures[measure].bounds_of(statistic)
        return write_range(self.one(measure, statistic), [self.one(measure, bound) for bound in bounds])

    def statistic(self, figure: Figure) -> Statistic:
        """What the figure is."""
        return self.measures[figure.measure].statistic(figure.statistic)

    def text(self, figure: Figure | None) -> str:
        """The figure as people read it."""
        return "not available" if figure is None else write_value(figure, self.statistic(figure))

    def label(self, figure: Figure) -> str:
        """What the figure is about."""
        return self.labels.cell(self.measures[figure.measure].breakdown(figure.breakdown), figure.dims)

    def absent(self, measure: str) -> str | None:
        """Why a measure has no figures at all, or None."""
        if measure not in self.measures:
            return "This measure is not part of the release."
        mine = [f for place, figures in self.by_place.items() if place[0] == measure for f in figures]
        if not mine:
            return "This measure is not part of the release."
        if len(mine) == 1 and mine[0].status is Status.NOT_AVAILABLE:
            return mine[0].reason
        return None


def shorten_labels(labels: Iterable[str]) -> dict[str, str]:
    """Each label as a chart shows it: without what stands in brackets at its end, where no two become the same."""
    labels = tuple(dict.fromkeys(labels))
    short = [re.sub(r"\s*\([^()]*\)$", "", label) for label in labels]
    return {
        label: brief if brief and short.count(brief) == 1 else label for label, brief in zip(labels, short, strict=True)
    }


def render_report(
    release: Release, figures: Iterable[Figure], measures: Sequence[Measure], agreement: Agreement
) -> str:
    """The report as HTML. The same release, figures, measures and agreement always give the same page."""
    source = _Source({measure.id: measure for measure in measures}, Labels(agreement))
    figures = sort_figures(figures)
    for figure in figures:
        if figure.measure in source.measures:
            source.by_place.setdefault((figure.measure, figure.breakdown, figure.statistic), []).append(figure)
    sections = [build(source) for build in _SECTIONS]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["day"] = _write_day
    return environment.get_template("report.html").render(
        release=release,
        agreement=agreement,
        cards=_make_cards(source),
        sections=sections,
        coverage=_make_coverage(source),
        measures=[measure for measure in measures if measure.id in {f.measure for f in figures}],
        withheld=_count_withheld(figures),
        total=len(figures),
    )


def _write_day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.day} {moment:%B %Y}"


# --- headlines --------------------------------------------------------------------------------------------------------


def _make_cards(source: _Source) -> list[Card]:
    return [_reach_card(source), _repeat_card(source), _referral_card(source), _stage_card(source)]


def _card(title: str, anchor: str, figure: Figure | None, number: str, *lines: str | None) -> Card:
    if figure is None or figure.status is Status.NOT_AVAILABLE:
        reason = figure.reason if figure is not None and figure.reason else "It is not part of this release."
        return Card(title, "Not available", (reason,), anchor, muted=True)
    if figure.status is Status.WITHHELD:
        return Card(title, "Withheld", (figure.reason or "",), anchor, muted=True)
    return Card(title, number, tuple(line for line in lines if line), anchor)


def _reach_card(source: _Source) -> Card:
    unique = source.one("reach", "unique_people")
    records = source.one("reach", "client_records")
    ratio = source.one("reach", "counts_per_person")
    line = None
    if _is_shown(records) and _is_shown(ratio):
        line = f"The partners' own counts add up to {source.text(records)}: {source.text(ratio)} for each person."
    doubt = source.range_of("reach", "unique_people")
    within = f"Depending on pairs of records in doubt: {doubt}." if doubt else None
    return _card("Different people reached", "reach", unique, source.text(unique), line, within)


def _repeat_card(source: _Source) -> Card:
    share = source.one("repeat_assessment", "repeat_share")
    hours = source.one("repeat_cost", "repeat_hours")
    cost = source.one("repeat_cost", "repeat_cost")
    lines: list[str | None] = []
    if share is not None and share.numerator is not None and share.denominator is not None:
        lines.append(
            f"{write_count(share.numerator)} of {write_count(share.denominator)} assessments repeat another partner's."
        )
    if _is_shown(hours) and _is_shown(cost):
        lines.append(f"They took {source.text(hours)} hours, worth {source.text(cost)}.")
    return _card("Assessments that repeat another's", "repeat", share, _percent(share), *lines)


def _referral_card(source: _Source) -> Card:
    share = source.one("referral_outcome", "accepted_share")
    lost = source.one("referral_outcome", "lost_share")
    lines: list[str | None] = []
    if share is not None and share.denominator is not None:
        lines.append(f"Of {write_count(share.denominator)} referrals that were answered.")
    if lost is not None and _is_shown(lost):
        lines.append(f"{_percent(lost)} of those that can be followed were lost on the way.")
    return _card("Referrals accepted", "referral", share, _percent(share), *lines)


def _stage_card(source: _Source) -> Card:
    stages = _in_code_order(source, source.all_of("stage_progression", "stage", "reached_share"), "stage")
    shown = [figure for figure in stages if figure.numerator]
    if not shown:
        first = stages[0] if stages else source.one("stage_progression", "people_on_pathway")
        return _card("Progress on the pathway", "stage", first, "Withheld", None)
    last = shown[-1]
    line = None
    if last.numerator is not None and last.denominator is not None:
        line = f"{write_count(last.numerator)} of {write_count(last.denominator)} people on the pathway."
    return _card(f"Reached “{source.label(last)}”", "stage", last, _percent(last), line)


def _is_shown(figure: Figure | None) -> bool:
    return figure is not None and figure.status is Status.PUBLISHED


def _percent(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "withheld" if figure is not None and figure.status is Status.WITHHELD else "not available"
    return write_percent(figure.value)


# --- sections ---------------------------------------------------------------------------------------------------------


def _reach_section(source: _Source) -> Section:
    measure_ids = ("reach", "reach_by_period")
    if absent := source.absent("reach"):
        return _absent_section(source, "reach", "Reach", absent)
    unique, records = source.one("reach", "unique_people"), source.one("reach", "client_records")
    ratio, apart = source.one("reach", "counts_per_person"), source.one("reach", "unlinkable_records")
    answer = _tell(
        source,
        ("The partners' own counts add up to {} client records.", records),
        ("Behind them are {} different people.", unique),
        (_write_doubt(source.range_of("reach", "unique_people")), unique),
        ("Each person is counted {} times on average.", ratio),
        ("Another {} records could not be linked to anybody and are counted apart.", apart),
    )
    bars = [
        {"label": "Partners' own counts, added up", "value": _number(records), "text": source.text(records)},
        {"label": "Different people", "value": _number(unique), "text": source.text(unique)},
    ]
    title = "Partners' own counts against different people"
    chart = draw_bars(bars, name="reach-chart", title=title)
    tables = [_make_table(source, "reach", "partner")]
    if not source.absent("reach_by_period"):
        tables.append(_make_table(source, "reach_by_period", "period"))
    return _section(source, "reach", "Reach", answer, [_chart(title, chart)], tables, measure_ids)


def _overlap_section(source: _Source) -> Section:
    if absent := source.absent("overlap"):
        return _absent_section(source, "overlap", "Overlap between partners", absent)
    share = source.one("overlap", "shared_share")
    answer = _tell(
        source,
        ("Of all people, {} are known to two or more partners.", share),
        (_write_doubt(source.range_of("overlap", "shared_people")), source.one("overlap", "shared_people")),
    )
    charts: list[Chart] = []
    people = {f.dims["partner"]: f for f in source.all_of("overlap", "partner", "people")}
    shared = {f.dims["partner"]: f for f in source.all_of("overlap", "partner", "shared_people")}
    # Published on its own, so that it is withheld where it has to be; a difference of rounded counts would not be.
    only = {f.dims["partners"]: f for f in source.all_of("overlap", "set", "people") if f.dims["size"] == "1"}
    parts = ("Also known to another partner", "Known to this partner only")
    rows: list[dict[str, Any]] = []
    for partner, figure in sorted(people.items(), key=lambda item: -(item[1].value or 0)):
        also = shared.get(partner)
        if figure.value is None or also is None or also.value is None:
            rows.append({"label": source.label(figure), "part": parts[0], "value": None, "text": "withheld"})
            continue
        alone = only.get(partner)
        alone_text = "0" if alone is None else source.text(alone)
        rows.append(
            {
                "label": source.label(figure),
                "part": parts[0],
                "value": float(also.value),
                "text": write_count(also.value),
            }
        )
        rows.append(
            {
                "label": source.label(figure),
                "part": parts[1],
                "value": 0.0 if alone is None else _number(alone),
                "text": alone_text,
            }
        )
    brief = shorten_labels(row["label"] for row in rows)
    rows = [{**row, "label": brief[row["label"]]} for row in rows]
    if rows:
        title = "People of each partner, and how many of them another partner knows"
        legend = ((MAIN, parts[0]), (LIGHT, parts[1]))
        svg = draw_stacked_bars(rows, name="overlap-partners", title=title, parts=parts)
        charts.append(_chart(title, svg, legend))
    sets = [f for f in source.all_of("overlap", "set", "people") if f.dims["size"] != "1" and _is_shown(f)]
    sets.sort(key=lambda f: (-(f.value or Decimal(0)), f.dims["partners"]))
    if sets:
        brief = shorten_labels(partner.name for partner in source.labels.agreement.partners)
        members = [[source.labels.dim("partner", partner) for partner in f.dims["partners"].split("+")] for f in sets]
        bars: list[dict[str, Any]] = [
            {
                "members": [brief.get(member, member) for member in found],
                "value": _number(f),
                "text": source.text(f),
            }
            for f, found in zip(sets[:_SETS_SHOWN], members, strict=False)
        ]
        names = sorted({member for bar in bars for member in bar["members"]})
        title = "The largest sets of partners that share people"
        charts.append(_chart(title, draw_sets(bars, names, name="overlap-sets", title=title)))
    tables = [_make_table(source, "overlap", breakdown) for breakdown in ("size", "partner", "set", "pair")]
    return _section(source, "overlap", "Overlap between partners", answer, charts, tables, ("overlap",))


def _repeat_section(source: _Source) -> Section:
    if absent := source.absent("repeat_assessment"):
        return _absent_section(source, "repeat", "Repeat assessment", absent)
    share, reviews = source.one("repeat_assessment", "repeat_share"), source.one("repeat_assessment", "reviews")
    people, days = source.one("repeat_assessment", "people_repeated"), source.one("repeat_assessment", "median_days")
    answer = _tell(
        source,
        (
            "Of the eligible assessments, {} were made while a different partner held a valid one in the same domain.",
            share,
        ),
        ("This happened to {} people,", people),
        ("half of the time within {} days.", days),
        ("Reviews by the same partner ({}) are not counted as repeats.", reviews),
    )
    charts: list[Chart] = []
    domains = source.all_of("repeat_assessment", "domain", "repeat_share")
    if domains:
        title = "Share of assessments that repeat another partner's, by domain"
        charts.append(
            _chart(title, draw_bars(_rank(source, domains), name="repeat-domains", title=title, colour=ACCENT))
        )
    pairs = source.all_of("repeat_assessment", "pair", "repeats")
    if pairs:
        title = "Repeat assessments: who assessed first (down) and who assessed again (across)"
        charts.append(
            _chart(title, _draw_pairs(source, pairs, "earlier_partner", "partner", name="repeat-pairs", title=title))
        )
    tables = [_make_table(source, "repeat_assessment", b) for b in ("domain", "partner", "period", "pair")]
    if not source.absent("repeat_cost"):
        tables[1:1] = [_make_table(source, "repeat_cost", b) for b in ("all", "domain", "partner")]
    return _section(source, "repeat", "Repeat assessment", answer, charts, tables, ("repeat_assessment", "repeat_cost"))


def _referral_section(source: _Source) -> Section:
    if absent := source.absent("referral_outcome"):
        return _absent_section(source, "referral", "Referrals between partners", absent)
    one = {name: source.one("referral_outcome", name) for name in source.measures["referral_outcome"].statistic_ids}
    answer = _tell(
        source,
        ("Of the referrals between partners that have an answer, {} were accepted,", one["accepted_share"]),
        ("half of these within {} days of sending;", one["median_days_to_acceptance"]),
        ("half had their first contact within {} days of acceptance.", one["median_days_to_first_contact"]),
        ("Where it is known, {} arrived with their assessment.", one["passed_on_share"]),
        ("Of those that can be followed, {} were lost: no enrolment at the receiver.", one["lost_share"]),
    )
    charts: list[Chart] = []
    statuses = _in_code_order(source, source.all_of("referral_outcome", "status", "referrals"), "referral_status")
    if statuses:
        title = "What became of the referrals"
        rows = [{"label": source.label(f), "value": _number(f), "text": source.text(f)} for f in statuses]
        charts.append(_chart(title, draw_bars(rows, name="referral-status", title=title)))
    pairs = source.all_of("referral_outcome", "pair", "referrals")
    if pairs:
        title = "Referrals: who refers (down) to whom (across)"
        charts.append(
            _chart(title, _draw_pairs(source, pairs, "partner", "other_partner", name="referral-pairs", title=title))
        )
    tables = [
        _make_table(source, "referral_outcome", b)
        for b in ("sender", "receiver", "period", "status", "reported_by", "pair")
    ]
    return _section(source, "referral", "Referrals between partners", answer, charts, tables, ("referral_outcome",))


def _stage_section(source: _Source) -> Section:
    if absent := source.absent("stage_progression"):
        return _absent_section(source, "stage", "Progress through the stages", absent)
    stages = _in_code_order(source, source.all_of("stage_progression", "stage", "reached_share"), "stage")
    people = source.one("stage_progression", "people_on_pathway")
    steps = ", ".join(f"{source.label(f).lower()} {_percent(f)}" for f in stages)
    answer = _tell(source, ("On the pathway are {} people.", people)) + (f" Reached so far: {steps}." if steps else "")
    charts: list[Chart] = []
    if stages:
        title = "People who reached each stage"
        rows = [
            {
                "label": source.label(f),
                "value": None if f.numerator is None else float(f.numerator),
                "text": source.text(f),
            }
            for f in stages
        ]
        charts.append(_chart(title, draw_bars(rows, name="stage-funnel", title=title)))
    tables = [_make_table(source, "stage_progression", b) for b in ("stage", "transition", "programme_stage")]
    return _section(source, "stage", "Progress through the stages", answer, charts, tables, ("stage_progression",))


def _outcome_section(source: _Source) -> Section:
    if absent := source.absent("outcome"):
        return _absent_section(source, "outcome", "Outcomes", absent)
    share = source.one("outcome", "achieved_share")
    answer = _tell(source, ("Of the people who were ever enrolled, {} have at least one outcome.", share))
    found = source.all_of("outcome", "outcome", "achieved_share")
    title = "People with each outcome, of all people enrolled"
    charts = [_chart(title, draw_bars(_rank(source, found), name="outcome-chart", title=title))] if found else []
    tables = [_make_table(source, "outcome", b) for b in ("outcome", "period")]
    return _section(source, "outcome", "Outcomes", answer, charts, tables, ("outcome",))


def _need_section(source: _Source) -> Section:
    if absent := source.absent("need_by_domain"):
        return _absent_section(source, "need", "Need by domain", absent)
    people = source.one("need_by_domain", "people_with_any")
    answer = _tell(source, ("In at least one domain, {} people were assessed.", people))
    found = source.all_of("need_by_domain", "domain", "domain_share")
    title = "People assessed in each domain, of all people assessed"
    charts = [_chart(title, draw_bars(_rank(source, found), name="need-chart", title=title))] if found else []
    tables = [_make_table(source, "need_by_domain", b) for b in ("domain", "partner_domain")]
    return _section(source, "need", "Need by domain", answer, charts, tables, ("need_by_domain",))


_SECTIONS: tuple[Callable[[_Source], Section], ...] = (
    _reach_section,
    _overlap_section,
    _repeat_section,
    _referral_section,
    _stage_section,
    _outcome_section,
    _need_section,
)


def _section(
    source: _Source,
    anchor: str,
    title: str,
    answer: str,
    charts: Sequence[Chart],
    tables: Sequence[TableView | None],
    measure_ids: Sequence[str],
) -> Section:
    measures = tuple(source.measures[measure_id] for measure_id in measure_ids if measure_id in source.measures)
    return Section(
        anchor=anchor,
        title=title,
        question=measures[0].question,
        answer=answer,
        charts=tuple(charts),
        tables=tuple(table for table in tables if table is not None),
        measures=measures,
    )


def _chart(caption: str, svg: str, legend: tuple[tuple[str, str], ...] = ()) -> Chart:
    # Drawn by this package, which escapes the labels in it; nothing that a partner typed is there.
    return Chart(caption, Markup(svg), legend)  # noqa: S704


def _absent_section(source: _Source, anchor: str, title: str, reason: str) -> Section:
    measure = next((m for m in source.measures.values() if m.title == title), None)
    return Section(anchor, title, measure.question if measure else "", f"Not available. {reason}")


def _tell(source: _Source, *clauses: tuple[str, Figure | None]) -> str:
    """The clauses whose figure is shown, as one text; it says so where there is none."""
    told = [
        clause.format(source.text(figure))
        for clause, figure in clauses
        if clause and figure is not None and _is_shown(figure)
    ]
    if not told:
        return "These figures are withheld; the tables say why."
    text = " ".join(told)
    # A clause that was to be continued ends the sentence where its continuation is left out.
    return f"{text[:-1]}." if text.endswith((",", ";")) else text


def _write_doubt(range_: str | None) -> str:
    """A clause on how far the count before it moves; empty where that is not shown."""
    return (
        ""
        if range_ is None
        else f"Depending on the pairs of records that linkage is in doubt about, these are {range_}."
    )


def _number(figure: Figure | None) -> float | None:
    return None if figure is None or figure.value is None else float(figure.value)


def _rank(source: _Source, figures: Sequence[Figure]) -> list[dict[str, Any]]:
    ordered = sorted(figures, key=lambda f: (f.value is None, -(f.value or Decimal(0)), source.label(f)))
    return [{"label": source.label(f), "value": _number(f), "text": source.text(f)} for f in ordered]


def _in_code_order(source: _Source, figures: Sequence[Figure], dim: str) -> list[Figure]:
    if not figures:
        return []
    measure = source.measures[figures[0].measure]
    codes = source.labels.codes(measure.breakdown(figures[0].breakdown).dims[dim])
    return sorted(
        figures, key=lambda f: (codes.index(f.dims[dim]) if f.dims[dim] in codes else len(codes), f.dims[dim])
    )


def _draw_pairs(
    source: _Source,
    figures: Sequence[Figure],
    down: str,
    across: str,
    *,
    name: str,
    title: str,
) -> str:
    brief = shorten_labels(source.labels.dim("partner", f.dims[dim]) for f in figures for dim in (down, across))
    rows: list[dict[str, Any]] = [
        {
            "down": brief[source.labels.dim("partner", f.dims[down])],
            "across": brief[source.labels.dim("partner", f.dims[across])],
            "value": _number(f),
            "text": source.text(f),
        }
        for f in figures
    ]
    return draw_grid(
        rows,
        name=name,
        title=title,
        down=sorted({row["down"] for row in rows}),
        across=sorted({row["across"] for row in rows}),
    )


# --- tables -----------------------------------------------------------------------------------------------------------


def _make_table(source: _Source, measure_id: str, breakdown_id: str) -> TableView | None:
    """All statistics of one breakdown, a row a cell; None where the release has none."""
    measure = source.measures[measure_id]
    breakdown = measure.breakdown(breakdown_id)
    found = {statistic.id: source.all_of(measure_id, breakdown_id, statistic.id) for statistic in measure.statistics}
    columns = [statistic for statistic in measure.statistics if found[statistic.id]]
    # A share shows its numerator and denominator, so that these need no column of their own.
    within = {name for statistic in columns if statistic.kind == "share" for name in (statistic.of, statistic.over)}
    columns = [statistic for statistic in columns if statistic.id not in within]
    cells: dict[str, dict[str, Figure]] = {}
    for statistic in columns:
        for figure in found[statistic.id]:
            cells.setdefault(figure.dims_text, {})[statistic.id] = figure
    if not cells:
        return None
    rows = []
    notes: dict[str, int] = {}
    for _, by_statistic in sorted(cells.items(), key=lambda item: _row_order(source, item[1])):
        first = next(iter(by_statistic.values()))
        heads = [source.labels.dim(source_, first.dims[name]) for name, source_ in breakdown.dims.items()]
        values = []
        for statistic in columns:
            cell = by_statistic.get(statistic.id)
            values.append("" if cell is None else write_value(cell, statistic))
            if cell is not None and cell.reason:
                notes[_note(cell)] = notes.get(_note(cell), 0) + 1
        rows.append((*(heads or ["All"]), *values))
    names = [_DIM_TITLES.get(name, name.replace("_", " ").capitalize()) for name in breakdown.dims] or [""]
    return TableView(
        caption=title_of(measure, breakdown_id),
        heads=(*names, *(statistic.label for statistic in columns)),
        numeric_from=len(names),
        rows=tuple(rows),
        notes=tuple(
            f"{note} ({count} {'figure' if count == 1 else 'figures'})" for note, count in sorted(notes.items())
        ),
    )


_DIM_TITLES = {
    "referral_status": "Status",
    "size": "Partners",
    "partners": "Known to exactly",
    "other_partner": "Other partner",
    "earlier_partner": "Assessed first by",
    "from_stage": "From",
    "to_stage": "To",
    "reported_by": "Reported by",
}


def _note(figure: Figure) -> str:
    names = {Status.WITHHELD: "Withheld", Status.NOT_AVAILABLE: "Not available", Status.PUBLISHED: "Note"}
    return f"{names[figure.status]}: {figure.reason}"


def _row_order(source: _Source, cells: dict[str, Figure]) -> tuple[Any, ...]:
    figure = next(iter(cells.values()))
    breakdown = source.measures[figure.measure].breakdown(figure.breakdown)
    if figure.breakdown == "set":
        return (0 if figure.value is not None else 1, -(figure.value or Decimal(0)), figure.dims_text)
    order: list[Any] = []
    for name, where in breakdown.dims.items():
        codes = source.labels.codes(where) if "." in where else ()
        value = figure.dims[name]
        order.append((codes.index(value) if value in codes else len(codes), source.labels.dim(where, value)))
    return tuple(order)


@dataclass(frozen=True)
class Coverage:
    """Which partner's data of which period is in."""

    periods: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    partners_in: int
    """Partners with any data."""


def _make_coverage(source: _Source) -> Coverage | None:
    accepted = {
        (f.dims["partner"], f.dims["period"]): f
        for f in source.all_of("partnership", "partner_period", "rows_accepted")
    }
    held_back = {
        (f.dims["partner"], f.dims["period"]): f
        for f in source.all_of("partnership", "partner_period", "rows_held_back")
    }
    if not accepted:
        return None
    has_data = {place for place, f in accepted.items() if f.value or f.status is Status.WITHHELD}
    periods = tuple(sorted({period for _, period in has_data}))
    partners = sorted({partner for partner, _ in accepted}, key=lambda p: source.labels.dim("partner", p))

    def cell(partner: str, period: str) -> str:
        figure, held = accepted.get((partner, period)), held_back.get((partner, period))
        if figure is None or (figure.status is Status.PUBLISHED and not figure.value):
            return "no data"
        back = source.text(held) if held is not None else "0"
        return f"{source.text(figure)} rows" + ("" if back == "0" else f", {back} held back")

    rows = ((source.labels.dim("partner", p), tuple(cell(p, period) for period in periods)) for p in partners)
    return Coverage(periods, tuple(rows), len({partner for partner, _ in has_data}))


def _count_withheld(figures: Sequence[Figure]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for figure in figures:
        if figure.status is Status.WITHHELD and figure.reason:
            counts[figure.reason] = counts.get(figure.reason, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
