"""A change between two versions of an agreement, and the report on all of them."""

from enum import StrEnum

from protocol.changes.kinds import KINDS, Audience, Effect, worst
from protocol.model import Frozen


class Change(Frozen):
    """One thing that differs. Everything in it is the agreement's own words."""

    kind: str
    """A code of :data:`protocol.changes.kinds.KINDS`."""
    place: str
    """Where in the agreement: ``tables.person.date_of_birth.treatment``, ``codelists.sex.female``, ``children``."""
    sentence: str
    """What happened there, in words that follow the place."""
    was: str | None = None
    becomes: str | None = None
    hint: str | None = None
    """What it may really be, where two changes look like one: a column that was renamed."""
    submitters: Effect
    analysts: Effect
    data_subjects: Effect
    judged_wording: bool = False
    """True where a person has said that this text was only reworded; it then counts as a clarification."""

    def effect(self, audience: Audience) -> Effect:
        """What it does to one audience."""
        return Effect(getattr(self, audience.value))

    @property
    def is_text(self) -> bool:
        """True where only a person can tell whether the text means the same as before."""
        return KINDS[self.kind].is_text


class Step(StrEnum):
    """Which number of the version has to rise."""

    MAJOR = "major"
    """Somebody can rely on less than before: ``1.4`` becomes ``2.0``."""
    MINOR = "minor"
    """Something was added and nothing lost: ``1.4`` becomes ``1.5``."""
    NONE = "none"
    """Only the wording changed, or nothing: the number may stay. A third number may count such texts."""


class ChangeReport(Frozen):
    """What a later version of an agreement means to everybody whom it concerns."""

    title: str
    earlier_version: str
    later_version: str
    earlier_digest: str
    later_digest: str
    changes: tuple[Change, ...]
    """Worst first: data subjects before submitters before analysts, and in the agreement's order within."""
    due: Step
    due_version: str
    """The lowest version that the later text may bear."""
    suffices: bool
    """True where ``later_version`` is ``due_version`` or higher."""
    duties: tuple[str, ...]
    """What has to happen before the later version may hold, most important first."""

    def effect(self, audience: Audience) -> Effect:
        """The worst that any change does to one audience."""
        return worst([change.effect(audience) for change in self.changes])

    @property
    def clarifications(self) -> tuple[Change, ...]:
        """The changes that are no more than a clarification for anybody."""
        return tuple(
            change for change in self.changes if all(change.effect(audience).rank > 1 for audience in Audience)
        )

    def changes_for(self, audience: Audience, effect: Effect) -> tuple[Change, ...]:
        """The changes that have this effect on this audience."""
        return tuple(change for change in self.changes if change.effect(audience) is effect)
