"""Charts as inline SVG: drawn once, when the report is written, so that a page needs no script and no network.

Every chart takes plain rows and returns an ``<svg>`` with a title and a description for people who do not see it. A
row whose ``value`` is None is withheld or not available: it keeps its place and says so instead of showing a bar. The
page's reader may have any font, so room for text is reckoned by its characters, generously, and not as drawn here.
"""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import altair as alt
import vl_convert

from protocol.errors import DefectFound

INK = "#1c2b33"
MUTED = "#53646c"
FAINT = "#dfe6e9"
MAIN = "#1f6475"
LIGHT = "#a9cdd6"
ACCENT = "#b4581c"
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"

_CHARACTER = 7.9
"""Width of a character of 13 px in a wide font (DejaVu Sans), in px."""
_WRAP = 40
"""Characters in a line of a label at a chart's left."""
_WRAP_ACROSS = 13
"""Characters in a line of a label above a column."""
_LINES = "split(datum.label, '\\n')"
_SHIFT: Any = {"condition": {"test": "indexof(datum.value, '\\n') >= 0", "value": -8}, "value": 0}
"""Two lines stand around the middle of their row, not below it."""

Row = Mapping[str, Any]


def draw_bars(rows: Sequence[Row], *, name: str, title: str, colour: str = MAIN) -> str:
    """Horizontal bars in the order given. Rows: ``label``, ``value`` (number or None), ``text`` shown at its end."""
    data = alt.InlineData(
        values=[
            {
                "label": _wrap(row["label"]),
                "text": row["text"],
                "shown": row["value"] or 0,
                "missing": row["value"] is None,
            }
            for row in rows
        ]
    )
    longest = max((float(row["value"] or 0) for row in rows), default=0.0) or 1.0
    base = alt.Chart(data).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=_names_axis([row["label"] for row in rows])),
        # A third is left at the right for the text at the bars' ends.
        x=alt.X("shown:Q", title=None, axis=None, scale=alt.Scale(domain=[0, longest * 1.5])),
    )
    bars = base.mark_bar(color=colour, cornerRadiusEnd=2, height=20)
    text = base.mark_text(align="left", dx=6, fontSize=13).encode(
        text="text:N", color=alt.condition("datum.missing", alt.value(MUTED), alt.value(INK))
    )
    chart = (bars + text).properties(width=600, height=alt.Step(_step(rows)))
    return _to_svg(chart, name, title, _tell(rows))


def draw_weights(rows: Sequence[Row], *, name: str, title: str) -> str:
    """Bars to either side of nought, in the order given: what speaks for to the right, what speaks against to the left.

    Rows: ``label`` (each once), ``value`` (a number), ``text`` shown at the bar's end.
    """
    data = alt.InlineData(
        values=[{"label": _wrap(row["label"]), "text": row["text"], "shown": float(row["value"])} for row in rows]
    )
    longest = max((abs(float(row["value"])) for row in rows), default=0.0) or 1.0
    base = alt.Chart(data).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=_names_axis([row["label"] for row in rows])),
        x=alt.X("shown:Q", title=None, axis=None, scale=alt.Scale(domain=[-longest * 1.3, longest * 1.3])),
    )
    bars = base.mark_bar(height=18, cornerRadiusEnd=2).encode(
        color=alt.condition("datum.shown >= 0", alt.value(MAIN), alt.value(ACCENT))
    )
    text = base.encode(text="text:N")
    right = text.transform_filter("datum.shown >= 0").mark_text(align="left", dx=6, fontSize=13, color=INK)
    left = text.transform_filter("datum.shown < 0").mark_text(align="right", dx=-6, fontSize=13, color=INK)
    nought = alt.Chart(alt.InlineData(values=[{"at": 0}])).mark_rule(color=MUTED).encode(x="at:Q")
    chart = (bars + right + left + nought).properties(width=560, height=alt.Step(_step(rows)))
    return _to_svg(chart, name, title, _tell(rows))


def draw_stacked_bars(rows: Sequence[Row], *, name: str, title: str, parts: tuple[str, str]) -> str:
    """Horizontal bars of two parts, dark then light. Rows: ``label``, ``part`` (one of ``parts``), ``value`` (number or
    None), ``text``. The page explains the two colours."""
    data = alt.InlineData(
        values=[
            {
                "label": _wrap(row["label"]),
                "part": row["part"],
                "text": row["text"],
                "shown": row["value"] or 0,
                "order": parts.index(row["part"]),
                "missing": row["value"] is None,
            }
            for row in rows
        ]
    )
    base = alt.Chart(data).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=_names_axis([row["label"] for row in rows])),
        order=alt.Order("order:Q"),
    )
    bars = base.mark_bar(height=22).encode(
        x=alt.X("shown:Q", title=None, stack="zero", axis=None),
        color=alt.Color("part:N", scale=alt.Scale(domain=list(parts), range=[MAIN, LIGHT]), legend=None),
    )
    text = base.mark_text(fontSize=13).encode(
        x=alt.X("shown:Q", stack="zero", bandPosition=0.5),
        text="text:N",
        color=alt.condition("datum.order == 0 && !datum.missing", alt.value("white"), alt.value(INK)),
    )
    chart = (bars + text).properties(width=600, height=alt.Step(_step(rows)))
    told = [{"label": f"{row['label']}, {row['part']}", "text": row["text"]} for row in rows]
    return _to_svg(chart, name, title, _tell(told))


def draw_sets(rows: Sequence[Row], partners: Sequence[str], *, name: str, title: str) -> str:
    """An UpSet plot: a bar for each set of partners, and below it a dot for each partner in the set.

    Rows in the order of the bars: ``members`` (names of partners), ``value``, ``text``.
    """
    lines = [_wrap(partner) for partner in partners]
    sets, dots = [], []
    for place, row in enumerate(rows):
        members = sorted(partners.index(member) for member in row["members"])
        sets.append(
            {
                "place": place,
                "shown": row["value"] or 0,
                "text": row["text"],
                "first": lines[members[0]],
                "last": lines[members[-1]],
            }
        )
        dots += [{"place": place, "partner": line, "member": number in members} for number, line in enumerate(lines)]
    x = alt.X("place:O", axis=None)
    bars = alt.Chart(alt.InlineData(values=sets)).encode(x=x, y=alt.Y("shown:Q", title=None, axis=None))
    top = (
        bars.mark_bar(color=MAIN, width=24) + bars.mark_text(dy=-9, fontSize=13, color=INK).encode(text="text:N")
    ).properties(width=alt.Step(46), height=170)
    y = alt.Y("partner:N", sort=lines, title=None, axis=_names_axis(partners))
    points = (
        alt.Chart(alt.InlineData(values=dots))
        .mark_circle(size=140, opacity=1)
        .encode(x=x, y=y, color=alt.condition("datum.member", alt.value(MAIN), alt.value(FAINT)))
    )
    joins = (
        alt.Chart(alt.InlineData(values=sets))
        .mark_rule(color=MAIN, strokeWidth=3)
        .encode(x=x, y=alt.Y("first:N", sort=lines, title=None), y2=alt.Y2("last:N"))
    )
    step = 38 if any("\n" in line for line in lines) else 28
    matrix = (points + joins).properties(width=alt.Step(46), height=alt.Step(step))
    chart = alt.vconcat(top, matrix, spacing=6).resolve_scale(x="shared")
    told = [{"label": " and ".join(row["members"]), "text": row["text"]} for row in rows]
    return _to_svg(chart, name, title, _tell(told))


def draw_grid(rows: Sequence[Row], *, name: str, title: str, down: Sequence[str], across: Sequence[str]) -> str:
    """A table of two dimensions, darker for more. Rows: ``down``, ``across``, ``value``, ``text``; a cell without a
    row is left empty."""
    most = max((float(row["value"] or 0) for row in rows), default=0.0) or 1.0
    data = alt.InlineData(
        values=[
            {
                "down": _wrap(row["down"]),
                "across": _wrap(row["across"], _WRAP_ACROSS),
                "text": row["text"],
                "shown": row["value"] or 0,
                "missing": row["value"] is None,
            }
            for row in rows
        ]
    )
    heads = [_wrap(label, _WRAP_ACROSS) for label in across]
    base = alt.Chart(data).encode(
        y=alt.Y(
            "down:N",
            sort=None,
            scale=alt.Scale(domain=[_wrap(label) for label in down]),
            title=None,
            axis=_names_axis(down),
        ),
        x=alt.X(
            "across:N",
            sort=None,
            scale=alt.Scale(domain=heads),
            title=None,
            axis=alt.Axis(
                orient="top",
                labelAngle=0,
                labelLimit=0,
                labelExpr=_LINES,
                labelLineHeight=15,
                ticks=False,
                domain=False,
                # The lines of a label run downwards from here, and the longest has to end above the cells.
                labelPadding=8 + 15 * max((head.count("\n") for head in heads), default=0),
            ),
        ),
    )
    # The darkest cell still carries dark text at more than 4.5 to 1.
    cells = base.mark_rect(stroke="white", strokeWidth=2).encode(
        color=alt.Color("shown:Q", scale=alt.Scale(domain=[0, most], range=["#f1f5f7", "#7db4c2"]), legend=None)
    )
    text = base.mark_text(fontSize=13).encode(
        text="text:N", color=alt.condition("datum.missing", alt.value(MUTED), alt.value(INK))
    )
    chart = (cells + text).properties(width=alt.Step(104), height=alt.Step(38))
    told = [{"label": f"{row['down']} to {row['across']}", "text": row["text"]} for row in rows]
    return _to_svg(chart, name, title, _tell(told))


def _wrap(label: str, width: int = _WRAP) -> str:
    return "\n".join(textwrap.wrap(label, width)) or label


def _step(rows: Sequence[Row]) -> int:
    return 40 if any("\n" in _wrap(row["label"]) for row in rows) else 32


def _names_axis(labels: Sequence[str]) -> alt.Axis:
    longest = max((len(line) for label in labels for line in _wrap(label).split("\n")), default=1)
    extent = longest * _CHARACTER + 14
    return alt.Axis(
        labelExpr=_LINES,
        labelOffset=_SHIFT,
        labelLimit=0,
        labelLineHeight=16,
        ticks=False,
        domain=False,
        minExtent=extent,
        maxExtent=extent,
    )


def _tell(rows: Sequence[Row]) -> str:
    return "; ".join(f"{row['label']}: {row['text']}" for row in rows) + "."


def _to_svg(chart: Any, name: str, title: str, description: str) -> str:
    styled = (
        chart.configure(background="transparent", font=FONT, padding=4)
        .configure_view(stroke=None)
        .configure_axis(labelColor=INK, labelFontSize=13, grid=False, labelPadding=8)
    )
    svg = vl_convert.vegalite_to_svg(json.dumps(styled.to_dict(), sort_keys=True))
    # The drawing is one image to a screen reader: its own roles and labels would be read out mark by mark.
    svg = re.sub(r'\s(?:role|aria-[a-z]+)="[^"]*"', "", svg)
    # The renderer numbers what it refers to by a counter of the process; here the numbers start anew in each chart.
    numbers = {old: f"{name}-{number}" for number, old in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)))}
    svg = re.sub(r'\bid="([^"]+)"', lambda found: f'id="{numbers[found.group(1)]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{numbers[found.group(1)]})", svg)
    opening, box = re.match(r"<svg[^>]*>", svg), re.search(r'viewBox="([^"]+)"', svg)
    if opening is None or box is None:
        raise DefectFound(f"the chart {name} was not drawn")
    width = box.group(1).split()[2]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box.group(1)}" style="max-width:{width}px"'
        f' role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
        f"{svg[opening.end() :]}"
    )
