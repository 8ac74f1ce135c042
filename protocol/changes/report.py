"""The report on a new version for people: as text for a terminal, and as one page for a governance board."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

from protocol.changes.kinds import Audience, Effect
from protocol.changes.model import Change, ChangeReport, Step

AUDIENCES = {
    Audience.DATA_SUBJECTS: ("People whose data are held", "what protects them, and what their data are used for"),
    Audience.SUBMITTERS: ("Those who send data", "extracts, templates, windows"),
    Audience.ANALYSTS: ("Those who read the pool and the evidence", "columns, codes, measures, access"),
}
EFFECTS = {
    Effect.BREAK: ("Break", "relied on until now, and holds no longer; or only a person can tell"),
    Effect.EXTENSION: ("Extension", "all that was relied on holds, and there is more"),
}
SUBJECTS_EFFECTS = {
    **EFFECTS,
    Effect.BREAK: ("Break", "protects less or lets more be done; or only a person can tell"),
    Effect.EXTENSION: ("More protection", "all that was promised holds, and more"),
}
CLARIFICATIONS = ("Clarifications for everybody", "said in other words, or for information")
_WIDTH = 100
_SHORT = 60


def effects_for(audience: Audience) -> dict[Effect, tuple[str, str]]:
    """Effect -> name and meaning, in the words for one audience."""
    return SUBJECTS_EFFECTS if audience is Audience.DATA_SUBJECTS else EFFECTS


def tell_verdict(report: ChangeReport) -> str:
    """Whether the stated version suffices, in one sentence."""
    if not report.changes:
        return (
            "Nothing was changed."
            if report.earlier_digest == report.later_digest
            else "Nothing that takes effect was changed: only comments, layout or describing entries of the files."
        )
    if report.due is Step.NONE:
        need = f"the wording only was changed, so the number {report.earlier_version} may stay"
    else:
        need = f"this is a {report.due.value} change, so the version has to be {report.due_version} or later"
    if report.suffices:
        return f"Version {report.later_version} suffices: {need}."
    return f"Version {report.later_version} does not suffice: {need}."


def tell_effect(report: ChangeReport, audience: Audience) -> str:
    """What one audience has to expect, in a few words."""
    effect = report.effect(audience)
    if effect is Effect.NONE:
        return "Not concerned"
    return "Clarification" if effect is Effect.CLARIFICATION else effects_for(audience)[effect][0]


def tell_values(change: Change) -> str | None:
    """Both values in a line, ``8 -> 5``; None where there are none or they are too long for a line."""
    was, becomes = change.was, change.becomes
    if was is None or becomes is None:
        alone = was or becomes
        return alone if alone and len(alone) <= _SHORT else None
    return f"{was} -> {becomes}" if max(len(was), len(becomes)) <= _SHORT else None


def render_text(report: ChangeReport) -> str:
    """The report for a terminal."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: ChangeReport) -> Iterator[str]:
    yield f"{report.title}: version {report.earlier_version} -> {report.later_version}"
    yield ""
    yield from _wrap(tell_verdict(report), "")
    if report.changes:
        yield ""
        for audience, (name, _) in AUDIENCES.items():
            yield f"  {name:<42} {tell_effect(report, audience)}"
    if report.duties:
        yield ""
        yield "Before it may hold"
        for duty in report.duties:
            yield from _wrap(duty, "  - ")
    for audience, (name, _) in AUDIENCES.items():
        if report.effect(audience) in EFFECTS:
            yield ""
            yield name.upper()
            for effect, (word, meaning) in effects_for(audience).items():
                yield from _effect_lines(report.changes_for(audience, effect), f"{word} ({meaning})")
    if report.clarifications:
        yield ""
        yield CLARIFICATIONS[0].upper()
        yield from _effect_lines(report.clarifications, CLARIFICATIONS[1].capitalize())


def _effect_lines(changes: Sequence[Change], heading: str) -> Iterator[str]:
    if not changes:
        return
    yield ""
    yield f"  {heading}"
    for change in changes:
        values = tell_values(change)
        yield from _wrap(f"{change.place}: {change.sentence}{f' ({values})' if values else ''}", "  - ")
        if change.hint is not None:
            yield from _wrap(f"Perhaps: {change.hint}.", "    ")
        if change.judged_wording:
            yield from _wrap("Judged by a person to be a matter of wording.", "    ")


def _wrap(text: str, start: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def render_json(report: ChangeReport) -> str:
    """The report for other programs: all fields of :class:`ChangeReport`, and the worst effect for each audience."""
    effects = {audience.value: report.effect(audience).value for audience in Audience}
    return json.dumps({"effects": effects, **report.model_dump(mode="json")}, indent=2, ensure_ascii=False) + "\n"


def render_html(report: ChangeReport) -> str:
    """The report as one page that opens offline, runs no script and prints on paper."""
    return _template().render(
        report=report,
        audiences=AUDIENCES,
        effects_for=effects_for,
        verdict=tell_verdict(report),
        tell_effect=tell_effect,
        tell_values=tell_values,
        clarifications=CLARIFICATIONS,
        tone=_tone,
    )


def _tone(effect: Effect) -> str:
    return {Effect.BREAK: "stop", Effect.EXTENSION: "part"}.get(effect, "calm")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
