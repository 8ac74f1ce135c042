"""What the coordinator reads before approving a release, as Markdown.

Everything in it is protected already: the page shows the figures that would be published and nothing else of the pool.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from evidence.labels import Labels, write_range, write_value
from evidence.model import Draft, Figure, Kind, Measure, Release, Statistic, Status
from protocol.model import Agreement

_HEADLINES = (
    ("reach", "unique_people"),
    ("reach", "client_records"),
    ("reach", "unlinkable_records"),
    ("overlap", "shared_people"),
    ("overlap", "shared_share"),
    ("repeat_assessment", "repeat_share"),
    ("repeat_cost", "repeat_cost"),
    ("referral_outcome", "accepted_share"),
    ("referral_outcome", "lost_share"),
    ("stage_progression", "people_on_pathway"),
    ("outcome", "achieved_share"),
)
_CHANGES_SHOWN = 12


def approval_text(
    draft: Draft,
    previous: tuple[Release, Sequence[Figure]] | None,
    measures: Sequence[Measure],
    agreement: Agreement,
    linkage: Mapping[str, str],
) -> str:
    """The approval page of a draft.

    ``previous`` is the release that readers see now with its figures, ``linkage`` numbers about the linkage as label
    to text (such as ``{"Records linked": "4,210"}``). Nothing else than these goes into the text.
    """
    by_id = {measure.id: measure for measure in measures}
    labels = Labels(agreement)
    release = draft.release
    parts = [
        f"## Release {release.number} of {_plain(agreement.title)}",
        f"You approve these figures together with what they cover and rest on: snapshot `{release.snapshot_id}` under"
        f" agreement version {release.agreement_version}. If any of it changes before it is published, the approval no"
        " longer counts.\n\n"
        f"Digest of all of it: `{draft.approval_digest}`\n\nDigest of the figures: `{release.figures_digest}`",
        "### What it covers\n\n" + _write_coverage(release, agreement, labels),
        "### Headline figures\n\n" + _write_headlines(draft.figures, previous, by_id),
        "### Whose data is in\n\n" + _write_completeness(draft.figures, labels),
        "### Linkage\n\n" + _write_pairs(("", "Figure"), linkage.items()),
        "### What is withheld\n\n" + _write_withheld(draft.figures),
        "### What changed since the last release\n\n" + _write_changes(draft.figures, previous, by_id, labels),
    ]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Text that cannot break a Markdown table or start markup of its own."""
    return text.translate(str.maketrans("|\n<>`", "/ ()'"))


def _write_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join([" --- "] + [" ---: "] * (len(heads) - 1)) + "|"]
    lines += ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _write_pairs(heads: tuple[str, str], pairs: Iterable[tuple[str, str]]) -> str:
    rows = list(pairs)
    return _write_table(heads, rows) if rows else "No figures were given."


def _find(figures: Sequence[Figure]) -> dict[tuple[str, str, str, str], Figure]:
    return {figure.place: figure for figure in figures}


def _write_coverage(release: Release, agreement: Agreement, labels: Labels) -> str:
    """Periods and partners that were chosen. A partner that was left out is not one that sent nothing."""

    def listed(name: str) -> list[str]:
        value = release.parameters.get(name) or []
        return [str(entry) for entry in value] if isinstance(value, list | tuple) else [str(value)]

    def name(partners: Iterable[str]) -> str:
        return ", ".join(labels.dim("partner", partner) for partner in partners)

    inside, left_out, reason = listed("partners"), listed("left_out"), release.parameters.get("left_out_reason")
    silent = [p.id for p in agreement.partners if p.id not in inside and p.id not in left_out]
    rows = [("Periods", ", ".join(listed("periods")) or "not recorded")]
    if "partners" in release.parameters:
        rows.append(("Partners whose data is in", name(inside) or "none"))
    if left_out:
        rows.append(("Partners left out on purpose", name(left_out)))
    if reason:
        rows.append(("Why partners were left out", str(reason)))
    if "partners" in release.parameters and silent:
        # Without the list of those left out, nobody can tell here who was left out and who sent nothing.
        told = left_out or not reason
        rows.append(("Partners without data" if told else "Partners left out, or without data", name(silent)))
    return _write_table(("", "This release"), rows)


def _write_headlines(
    figures: Sequence[Figure], previous: tuple[Release, Sequence[Figure]] | None, measures: Mapping[str, Measure]
) -> str:
    now, before = _find(figures), _find(previous[1]) if previous else {}
    rows = []
    for measure_id, statistic_id in _HEADLINES:
        place = (measure_id, "all", "{}", statistic_id)
        figure = now.get(place)
        if figure is None:
            continue
        statistic = measures[measure_id].statistic(statistic_id)
        row = [f"{measures[measure_id].title}: {statistic.label[0].lower()}{statistic.label[1:]}"]
        bounds = measures[measure_id].bounds_of(statistic_id)
        row.append(_write_with_range(now, place, statistic, bounds))
        if previous:
            row.append(_write_with_range(before, place, statistic, bounds))
        rows.append(row)
    heads = ["", "This release"] + ([f"Release {previous[0].number}"] if previous else [])
    return _write_table(heads, rows) if rows else "The draft holds none of the headline figures."


def _write_with_range(
    figures: Mapping[tuple[str, str, str, str], Figure],
    place: tuple[str, str, str, str],
    statistic: Statistic,
    bounds: Sequence[str],
) -> str:
    """A figure, and how far it moves with the pairs of records in doubt where that is published."""
    figure = figures.get(place)
    if figure is None:
        return ""
    told = write_range(figure, [figures.get((*place[:3], bound)) for bound in bounds])
    return write_value(figure, statistic) + (f" ({told})" if told else "")


def _write_completeness(figures: Sequence[Figure], labels: Labels) -> str:
    cells: dict[str, dict[str, dict[str, Figure]]] = {}
    for figure in figures:
        if figure.measure == "partnership" and figure.breakdown == "partner_period":
            by_period = cells.setdefault(figure.dims["partner"], {})
            by_period.setdefault(figure.dims["period"], {})[figure.statistic] = figure
    periods = sorted(
        {
            period
            for by_period in cells.values()
            for period, found in by_period.items()
            if (accepted := found.get("rows_accepted")) is not None
            and (accepted.value or accepted.status is Status.WITHHELD)
        }
    )
    if not periods:
        return "The draft holds no coverage figures."

    def write(found: Mapping[str, Figure]) -> str:
        accepted, held = found.get("rows_accepted"), found.get("rows_held_back")
        if accepted is None or (accepted.status is Status.PUBLISHED and not accepted.value):
            return "**no data**"
        text = "rows withheld" if accepted.value is None else f"{accepted.value:,.0f} rows"
        if held is None or (held.status is Status.PUBLISHED and not held.value):
            return text
        return f"{text}, {'withheld' if held.value is None else f'{held.value:,.0f}'} held back"

    rows = [
        [labels.dim("partner", partner), *(write(by_period.get(period, {})) for period in periods)]
        for partner, by_period in sorted(cells.items(), key=lambda item: labels.dim("partner", item[0]))
    ]
    return _write_table(["Partner", *periods], rows) + "\n\nRow counts are rounded like all counts."


def _write_withheld(figures: Sequence[Figure]) -> str:
    reasons: dict[str, int] = {}
    for figure in figures:
        if figure.status is not Status.PUBLISHED and figure.reason:
            reasons[figure.reason] = reasons.get(figure.reason, 0) + 1
    withheld = sum(figure.status is Status.WITHHELD for figure in figures)
    text = f"{withheld:,} of {len(figures):,} figures are withheld."
    if reasons:
        rows = [(reason, f"{count:,}") for reason, count in sorted(reasons.items(), key=lambda i: (-i[1], i[0]))]
        text += "\n\n" + _write_table(("Not shown, because", "Figures"), rows)
    flagged = [figure for figure in figures if figure.status is Status.PUBLISHED and figure.reason]
    if flagged:
        text += (
            f"\n\n**Look at these before you approve:** {len(flagged)} published"
            f" {'share holds' if len(flagged) == 1 else 'shares hold'} for nobody or for everybody of a group (class"
            " disclosure): "
            + _plain("; ".join(f"{f.measure} {f.breakdown} {' '.join(f.dims.values())}".strip() for f in flagged[:10]))
            + ("; and others." if len(flagged) > 10 else ".")
        )
    return text


def _write_changes(
    figures: Sequence[Figure],
    previous: tuple[Release, Sequence[Figure]] | None,
    measures: Mapping[str, Measure],
    labels: Labels,
) -> str:
    if previous is None:
        return "This is the first release that readers will see."
    now, before = _find(figures), _find(previous[1])
    changed = [place for place in now.keys() & before.keys() if _content(now[place]) != _content(before[place])]
    text = (
        f"Against release {previous[0].number}: {len(now.keys() - before.keys()):,} figures are new,"
        f" {len(before.keys() - now.keys()):,} are gone, {len(changed):,} changed,"
        f" {len(now.keys() & before.keys()) - len(changed):,} are the same."
    )
    moved = [
        place
        for place in changed
        if now[place].value is not None
        and before[place].value is not None
        and place[0] in measures
        and measures[place[0]].statistic(place[3]).kind is Kind.COUNT
    ]
    moved.sort(key=lambda place: (-abs(_value(now[place]) - _value(before[place])), place))
    rows = []
    for place in moved[:_CHANGES_SHOWN]:
        measure = measures[place[0]]
        statistic = measure.statistic(place[3])
        cell = labels.cell(measure.breakdown(place[1]), now[place].dims)
        name = f"{measure.title}: {statistic.label[0].lower()}{statistic.label[1:]}" + (f", {cell}" if cell else "")
        rows.append((name, write_value(before[place], statistic), write_value(now[place], statistic)))
    if rows:
        text += "\n\nLargest changes of counts:\n\n"
        text += _write_table(("", f"Release {previous[0].number}", "This release"), rows)
    return text


def _value(figure: Figure) -> Decimal:
    return figure.value or Decimal(0)


def _content(figure: Figure) -> tuple[object, ...]:
    return (figure.value, figure.numerator, figure.denominator, figure.status)
