"""Comparing two versions of an agreement: what changed, for whom it matters, and which version that makes due."""

from collections.abc import Collection, Sequence

from protocol.changes.compare import Pair, compare_fields
from protocol.changes.contract import COLUMN
from protocol.changes.frame import AGREEMENT
from protocol.changes.kinds import Audience, Effect
from protocol.changes.model import Change, ChangeReport, Step
from protocol.errors import AgreementError
from protocol.model import Agreement
from protocol.versions import windows

_STEPS = {
    Effect.BREAK: Step.MAJOR,
    Effect.EXTENSION: Step.MINOR,
    Effect.CLARIFICATION: Step.NONE,
    Effect.NONE: Step.NONE,
}


def classify_changes(earlier: Agreement, later: Agreement, wording: Collection[str] = ()) -> ChangeReport:
    """What changed from ``earlier`` to ``later``, and what it means to each audience.

    :param wording: places (:attr:`Change.place`) of texts that somebody has read side by side and found to say the
        same in other words. They count as clarifications and say who is answerable: a person, not this program.

    AgreementError where a place of ``wording`` is not that of a changed text.
    """
    changes = tuple(compare_fields(AGREEMENT, Pair("", earlier, later, None, None, earlier, later)))
    if not changes and _bare(earlier) != _bare(later):
        changes = (Pair("agreement", None, None, None, None, earlier, later).change("unclassified"),)
    changes = tuple(sorted(_judge(changes, wording), key=_severity))
    due = _due_step(changes)
    due_version = raise_version(earlier.version, due)
    return ChangeReport(
        title=later.title,
        earlier_version=earlier.version,
        later_version=later.version,
        earlier_digest=earlier.digest,
        later_digest=later.digest,
        changes=changes,
        due=due,
        due_version=due_version,
        suffices=_numbers(later.version) >= _numbers(due_version),
        duties=_tell_duties(earlier, later, changes),
    )


def raise_version(version: str, step: Step) -> str:
    """The lowest version that may follow after a change of this size: of ``1.4``, ``2.0`` or ``1.5`` or ``1.4``."""
    if step is Step.NONE:
        return version
    major, minor = (*_numbers(version), 0)[:2]
    return f"{major + 1}.0" if step is Step.MAJOR else f"{major}.{minor + 1}"


def _numbers(version: str) -> tuple[int, ...]:
    """A version as something that can be compared; ``1`` is ``1.0``. AgreementError where it is no version."""
    try:
        numbers = tuple(int(part) for part in version.split("."))
    except ValueError:
        raise AgreementError(f"version: {version} should be numbers and points, such as 2.0.") from None
    return (*numbers, 0) if len(numbers) == 1 else numbers


def _bare(agreement: Agreement) -> Agreement:
    """The agreement without what is no part of its text."""
    partners = tuple(partner.model_copy(update={"signatures": ()}) for partner in agreement.partners)
    return agreement.model_copy(update={"digest": "", "partners": partners})


def _judge(changes: Sequence[Change], wording: Collection[str]) -> list[Change]:
    """The changes, those of ``wording`` as clarifications."""
    strange = sorted(set(wording) - {change.place for change in changes if change.is_text})
    if strange:
        texts = ", ".join(dict.fromkeys(change.place for change in changes if change.is_text)) or "none"
        raise AgreementError(
            f"{strange[0]}: is not the place of a changed text, so it cannot be a matter of wording. Places that can "
            f"be: {texts}."
        )
    return [_as_wording(change) if change.is_text and change.place in wording else change for change in changes]


def _as_wording(change: Change) -> Change:
    milder = {
        audience.value: Effect.CLARIFICATION
        for audience in Audience
        if change.effect(audience) in (Effect.BREAK, Effect.EXTENSION)
    }
    return change.model_copy(update={**milder, "judged_wording": True})


def _severity(change: Change) -> tuple[int, ...]:
    """Worst first: by the worst effect, then by the audience that has it."""
    ranks = [change.effect(audience).rank for audience in Audience]
    return (min(ranks), *ranks)


def _due_step(changes: Sequence[Change]) -> Step:
    effects = [change.effect(audience) for change in changes for audience in Audience]
    return _STEPS[min(effects, key=lambda effect: effect.rank, default=Effect.NONE)]


# --- what has to happen -----------------------------------------------------------------------------------------------


def _tell_duties(earlier: Agreement, later: Agreement, changes: Sequence[Change]) -> tuple[str, ...]:
    """What has to happen before the later version may hold, most important first."""
    told: list[str] = []
    weaker = [change for change in changes if change.data_subjects is Effect.BREAK]
    stronger = [change for change in changes if change.data_subjects is Effect.EXTENSION]
    if weaker:
        told.append(
            "People are protected less, or only a person can tell: every partner signs again, after its data "
            f"protection officer has seen this page. Before that, the impact assessment {later.dpia.reference} is "
            "reviewed (UK GDPR, Article 35(11)) and the privacy notices say what changes (Articles 13(3) and 14(4))."
        )
        told.append(
            f"Data that were collected under version {earlier.version} stay under its terms until people have been "
            "told and the assessment covers them. Periods that began earlier are no way round this, nor is the pool "
            "as it stands."
        )
        told.extend(_tell_parallel(earlier, later))
    elif earlier.digest != later.digest:
        told.append("The text differs, so every signature under the earlier text has ended: every partner signs again.")
    if stronger:
        told.append(
            "Where people are protected more, that holds from the first day for late files of the earlier version as "
            "well, and for what is in the pool. A window for the earlier version is there for the extract's form, and "
            "never to go on with less protection."
        )
    if any(change.judged_wording for change in changes):
        told.append(
            "Some texts count as reworded because a person said so. The minutes should name who read them side by side."
        )
    return tuple(told)


def _tell_parallel(earlier: Agreement, later: Agreement) -> list[str]:
    """Where the later text goes on taking the earlier version: what that may not be used for."""
    beside = next((window for window in windows(later)[1:] if window.version == earlier.version), None)
    told = [
        "No partner goes on under the earlier version instead of signing: purposes, readers, retention and the "
        "smallest cell hold for the pool as a whole, whichever version a row came by. Until it has signed, nothing of "
        "it is taken in under either version."
    ]
    carried = _carried_over(earlier, later)
    if beside is not None and carried:
        told.append(
            f"The later text takes version {earlier.version} as well"
            + (f" (until {beside.sunset.isoformat()})" if beside.sunset is not None else "")
            + f", and its upgrade carries these columns over to the weaker terms: {', '.join(carried)}. Either the "
            "upgrade names them not_collected, or the people in those files are told first."
        )
    return told


def _carried_over(earlier: Agreement, later: Agreement) -> list[str]:
    """Columns that the upgrade feeds from a column of the earlier version that is protected more there."""
    if later.earlier is None:
        return []
    found = []
    for table in later.earlier.upgrade.tables:
        if not all(table.table in agreement.contract.table_names for agreement in (earlier, later)):
            continue
        before, after = earlier.contract.table(table.table), later.contract.table(table.table)
        for fed in table.columns:
            if fed.source not in before.column_names or fed.column not in after.column_names:
                continue
            pair = Pair("", before.column(fed.source), after.column(fed.column), before, after, earlier, later)
            changes = compare_fields(COLUMN, pair)
            if any(change.data_subjects is Effect.BREAK and not change.is_text for change in changes):
                found.append(f"{table.table}.{fed.column}")
    return found
