"""What evidence is made of: measures as declared, figures as published, drafts and releases."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, field_validator

from protocol.model import Frozen, Name

# --- measures, as the headers of their SQL files declare them ---------------------------------------------------------


class Kind(StrEnum):
    """How a statistic may be published."""

    COUNT = "count"
    """A number of people or of things that people had (assessments, referrals): rounded."""
    SHARE = "share"
    """Part of a whole: computed anew from the published counts."""
    RATIO = "ratio"
    """One count over another that is not its whole: computed anew from the published counts."""
    MEDIAN = "median"
    """A middle value; ``denominator`` is the number of values behind it."""
    SUM = "sum"
    """An amount added up over cases (hours): rounded to ``step``."""
    PRODUCT = "product"
    """A published sum (``numerator``) times a constant that everyone knows, such as the cost of an hour."""
    COUNT_OF_THINGS = "count_of_things"
    """A number of periods or tables: neither people nor theirs, published as it is."""


class Statistic(Frozen):
    """One statistic of a measure. References name a statistic of the same measure, or ``measure.statistic``."""

    id: Name
    label: str
    kind: Kind
    unit: str
    of: str | None = None
    """The count (or sum) that is the numerator."""
    over: str | None = None
    """The count that is the denominator, or that says how many cases are behind a median or a sum."""
    part_of: str | None = None
    """The count that this count is a part of."""
    same_as: str | None = None
    """A count of another measure that is the same number in the same cell, or nearly: shown or withheld together."""
    bounds: str | None = None
    """The count that this one is a bound of: withheld wherever that is, and no reason to withhold it."""
    rest: Literal["protected", "open"] = "protected"
    """``open`` where it gives nobody away to be among the few of the whole who are not in the part."""
    money: bool = False
    """An amount of money: more people have to be behind it."""
    step: float = 1.0
    """What a sum is rounded to."""


class Breakdown(Frozen):
    """One way in which a measure's figures are split."""

    id: Name
    label: str
    dims: dict[Name, str] = Field(default_factory=dict)
    """Dimension -> where its labels come from: ``partner``, ``partners`` (joined by +), ``period``, ``table``,
    ``number``, ``text``, or ``table.column`` of a coded column."""


class AddsUp(Frozen):
    """Cells that add up to a total which is published as well, so that one withheld cell could be worked out."""

    statistic: Name
    parts: Name
    """Breakdown of the parts."""
    total: Name
    """Breakdown of the total; a part belongs to the total whose dimensions it shares."""
    members: Name | None = None
    """A dimension of the parts that lists partners (``a+b``): a part belongs to every total all of whose dimensions'
    values are in the list."""
    part_statistic: Name | None = None
    """The statistic of the parts where it is not that of the total."""
    only: dict[Name, str] = Field(default_factory=dict)
    """Only parts with these values of their dimensions."""
    other_than: dict[Name, str] = Field(default_factory=dict)
    """No parts with these values of their dimensions."""
    beside: Name | None = None
    """A statistic of the total's own cell that is a part as well."""
    disjoint: bool = False
    """Nobody is behind two of the parts, so that the people behind them may be added up."""


class Measure(Frozen):
    """One measure: its declared meaning and its SELECT."""

    id: Name
    title: str
    question: str
    unit: str
    numerator: str
    denominator: str
    needs: tuple[str, ...]
    """``table.column`` of the pool that the SELECT reads; without them it is reported as not available."""
    needs_marks: bool = False
    """Reads the marks of repeat assessment, which have to be made first."""
    breakdowns: tuple[Breakdown, ...]
    statistics: tuple[Statistic, ...]
    adds_up: tuple[AddsUp, ...] = ()
    caveats: tuple[str, ...] = ()
    sql: str = Field(repr=False)

    @field_validator("breakdowns", "statistics", mode="before")
    @classmethod
    def _name_entries(cls, value: Any) -> Any:
        """In the header these are mappings from the id to the rest."""
        if isinstance(value, dict):
            return tuple({"id": key, **(entry or {})} for key, entry in value.items())
        return value

    def statistic(self, statistic_id: str) -> Statistic:
        """The statistic of that id; KeyError where the measure declares none."""
        for statistic in self.statistics:
            if statistic.id == statistic_id:
                return statistic
        raise KeyError(f"measure {self.id} declares no statistic {statistic_id}")

    def bounds_of(self, statistic_id: str) -> tuple[str, ...]:
        """The statistics that are bounds of this one; none of most."""
        return tuple(statistic.id for statistic in self.statistics if statistic.bounds == statistic_id)

    def breakdown(self, breakdown_id: str) -> Breakdown:
        """The breakdown of that id; KeyError where the measure declares none.

        Every measure has ``all``: that it is not available is said of the whole, also where it has no figure of it.
        """
        for breakdown in self.breakdowns:
            if breakdown.id == breakdown_id:
                return breakdown
        if breakdown_id == "all":
            return Breakdown(id="all", label="The whole partnership")
        raise KeyError(f"measure {self.id} declares no breakdown {breakdown_id}")

    @property
    def statistic_ids(self) -> tuple[str, ...]:
        """Ids of all statistics, in the order of the header."""
        return tuple(statistic.id for statistic in self.statistics)

    @property
    def dim_names(self) -> tuple[str, ...]:
        """Names of all dimensions of all breakdowns, in the order of the header."""
        return tuple(dict.fromkeys(name for breakdown in self.breakdowns for name in breakdown.dims))


# --- figures, drafts and releases -------------------------------------------------------------------------------------


class Status(StrEnum):
    """Whether a figure can be read."""

    PUBLISHED = "published"
    WITHHELD = "withheld"
    """It exists and is not shown, because it could give someone away; ``reason`` says how."""
    NOT_AVAILABLE = "not_available"
    """It cannot be worked out: the agreement lacks what it needs, or there is nothing to divide by."""


class Figure(Frozen):
    """One figure of a release, after disclosure control. Nothing here tells how many people were behind it before."""

    measure: Name
    breakdown: str
    dims: dict[str, str]
    statistic: str
    value: Decimal | None
    numerator: Decimal | None = None
    denominator: Decimal | None = None
    unit: str
    status: Status
    reason: str | None = None
    """Why it is withheld or not available; for a published figure, what to look at (class disclosure)."""

    @property
    def dims_text(self) -> str:
        """The dimensions as JSON with sorted keys: part of the figure's place in the release."""
        return json.dumps(self.dims, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Where it belongs: measure, breakdown, dimensions, statistic. No two figures of a release share it."""
        return (self.measure, self.breakdown, self.dims_text, self.statistic)


class ReleaseState(StrEnum):
    """Where a release is in its life."""

    DRAFT = "draft"
    """Measured and protected, waiting for approval; its figures are not in the evidence schema."""
    PUBLISHED = "published"
    """The one that readers see."""
    SUPERSEDED = "superseded"
    """Was published, until a later one was. Its figures stay."""
    WITHDRAWN = "withdrawn"
    """Was published, and taken back with a reason. Its figures stay for the record."""


class Release(Frozen):
    """A release of evidence: what it was made from, by which code, and who approved it."""

    release_id: str
    number: int
    state: ReleaseState
    snapshot_id: str
    snapshot_digest: str
    figures_digest: str
    agreement_version: str
    agreement_digest: str
    code_version: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    prepared_at: datetime
    approver: str | None = None
    reason: str | None = None
    approved_at: datetime | None = None
    published_at: datetime | None = None
    withdrawn_reason: str | None = None


class Draft(Frozen):
    """A release that waits for approval, with its figures."""

    release: Release
    figures: tuple[Figure, ...] = Field(repr=False)

    @property
    def figures_digest(self) -> str:
        """Digest of the figures alone."""
        return self.release.figures_digest

    @property
    def approval_digest(self) -> str:
        """What an approval binds to, see :func:`approval_digest`."""
        return approval_digest(self.release, self.figures)


def write_number(value: Decimal | None) -> str | None:
    """A number as text, always the same for equal numbers: ``120``, ``0.25``; None stays None."""
    if value is None:
        return None
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def sort_figures(figures: Iterable[Figure]) -> tuple[Figure, ...]:
    """Figures in the order in which they are digested, stored and written."""
    return tuple(sorted(figures, key=lambda figure: figure.place))


def digest_figures(figures: Iterable[Figure]) -> str:
    """SHA-256 over all figures, one JSON line each, in the order of their places: 64 hex characters."""
    digest = hashlib.sha256()
    for figure in sort_figures(figures):
        line = [
            *figure.place,
            write_number(figure.value),
            write_number(figure.numerator),
            write_number(figure.denominator),
            figure.unit,
            figure.status.value,
            figure.reason,
        ]
        digest.update(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def approval_digest(release: Release, figures: Iterable[Figure]) -> str:
    """SHA-256 over all that is approved together: the figures, what was chosen for the release (periods, partners left
    out and why), the snapshot and the text of the agreement. 64 hex characters."""
    bound = [
        digest_figures(figures),
        json.dumps(release.parameters, sort_keys=True, separators=(",", ":")),
        release.snapshot_digest,
        release.agreement_digest,
    ]
    return hashlib.sha256(json.dumps(bound, separators=(",", ":")).encode()).hexdigest()


def find_figure(
    figures: Iterable[Figure],
    measure: str,
    statistic: str,
    breakdown: str = "all",
    dims: Mapping[str, str] | None = None,
) -> Figure | None:
    """The figure at one place, or None where the release has none there."""
    wanted = dict(dims or {})
    for figure in figures:
        if (figure.measure, figure.breakdown, figure.statistic) == (measure, breakdown, statistic) and (
            figure.dims == wanted
        ):
            return figure
    return None
