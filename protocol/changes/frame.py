"""What differs between the frames of two versions: purposes, clauses, promises, dates and figures."""

from collections.abc import Iterator, Sequence
from datetime import date

from protocol.changes.codelists import compare_codelists
from protocol.changes.compare import (
    Pair,
    changed,
    fields,
    listed,
    ordered,
    passed_over,
    text,
    words,
)
from protocol.changes.contract import CONTRACT
from protocol.changes.model import Change
from protocol.changes.parties import CONTROLLERS, compare_grants, compare_partners
from protocol.model import Agreement, Clause, EarlierVersion, Period, VersionWindow
from protocol.versions import NOT_COLLECTED, Terms, terms_of, windows

# --- clauses and purposes ---------------------------------------------------------------------------------------------

CLAUSE = {
    "number": passed_over,
    "title": text("clause.changed"),
    "text": text("clause.changed"),
    "governs": changed("clause.governs"),
}


def _same_words(earlier: Clause, later: Clause) -> bool:
    return (words(earlier.title), words(earlier.text)) == (words(later.title), words(later.text))


def _compare_clauses(pair: Pair) -> Iterator[Change]:
    """Clauses by their numbers; one that only got another number is renumbered, and not gone and new."""
    renumbered = _find_renumbered(pair.earlier, pair.later)
    for was, becomes in renumbered.items():
        yield pair.change("clause.renumbered", at=becomes, was=was, becomes=becomes)
    moved = tuple(
        clause.model_copy(update={"number": renumbered.get(clause.number, clause.number)}) for clause in pair.earlier
    )
    yield from listed(
        lambda clause: clause.number,
        fields(CLAUSE),
        lambda clause: [clause.change("clause.added", becomes=f"{clause.later.title}: {clause.later.text}")],
        lambda clause: [clause.change("clause.removed", was=f"{clause.earlier.title}: {clause.earlier.text}")],
        "clauses.reordered",
    )(pair.of(moved, pair.later))


def _find_renumbered(earlier: Sequence[Clause], later: Sequence[Clause]) -> dict[str, str]:
    """Earlier number -> later number of clauses with the same words."""
    stays = {
        clause.number
        for clause in earlier
        for other in later
        if clause.number == other.number and _same_words(clause, other)
    }
    found: dict[str, str] = {}
    for clause in earlier:
        if clause.number in stays:
            continue
        for other in later:
            if other.number not in stays and other.number not in found.values() and _same_words(clause, other):
                found[clause.number] = other.number
                break
    return found


PURPOSE = {
    "id": passed_over,
    "title": text("purpose.changed"),
    "description": text("purpose.changed"),
    "article_6": changed("purpose.basis"),
    "article_9": changed("purpose.basis"),
    "article_10": changed("purpose.basis"),
    "schedule_1": changed("purpose.basis"),
}
_compare_purposes = listed(
    lambda purpose: purpose.id,
    fields(PURPOSE),
    lambda pair: [pair.change("purpose.added", becomes=pair.later.title)],
    lambda pair: [pair.change("purpose.removed", was=pair.earlier.title)],
    "purposes.reordered",
    lambda earlier, later: words(earlier.description) == words(later.description),
)

# --- dates ------------------------------------------------------------------------------------------------------------

TERM = {
    "starts": ordered("term.starts_later", "term.starts_earlier"),
    "ends": ordered("term.longer", "term.shorter"),
    "review": ordered("term.review_later", "term.review_earlier"),
}


def _compare_dpia_end(pair: Pair) -> Iterator[Change]:
    anew = pair.later_owner.completed > pair.earlier_owner.completed
    if pair.later < pair.earlier:
        yield pair.differ("dpia.shorter")
    else:
        yield pair.differ("dpia.renewed" if anew else "dpia.stretched")


DPIA = {
    "reference": changed("dpia.renewed"),
    "completed": changed("dpia.renewed"),
    "valid_to": _compare_dpia_end,
}


def _compare_period(pair: Pair) -> Iterator[Change]:
    earlier: Period = pair.earlier
    later: Period = pair.later
    wider = later.starts < earlier.starts or later.ends > earlier.ends
    yield pair.change(
        "period.wider" if wider else "period.narrower",
        was=f"{earlier.starts} to {earlier.ends}",
        becomes=f"{later.starts} to {later.ends}",
    )


CALENDAR = {
    "periods": listed(
        lambda period: period.id, _compare_period, "period.added", "period.removed", "periods.reordered", lifted=True
    ),
    "opens_days_after_end": ordered("window.narrower", "window.wider"),
    "closes_days_after_end": ordered("window.wider", "window.narrower"),
}
RETENTION = {
    "inbox_days": ordered("retention.inbox_longer", "retention.inbox_shorter"),
    "pool_years": ordered("retention.pool_longer", "retention.pool_shorter"),
    "receipts_years": ordered("retention.receipts_longer", "retention.receipts_shorter"),
}

# --- figures ----------------------------------------------------------------------------------------------------------

DISCLOSURE = {
    "minimum_people": ordered("disclosure.larger_cell", "disclosure.smaller_cell"),
    "rounding_base": ordered("disclosure.coarser_rounding", "disclosure.finer_rounding"),
}
MEASURES = {
    "repeat_window_days": changed("measure.redefined"),
    "lost_referral_days": changed("measure.redefined"),
    "bounce_days": changed("measure.redefined"),
    "hourly_cost_gbp": changed("measure.redefined"),
    "hourly_cost_source": changed("measure.source"),
}

# --- versions ---------------------------------------------------------------------------------------------------------


def _compare_windows(pair: Pair) -> Iterator[Change]:
    """Which versions may be submitted to. An agreement that names none has one window over all its periods."""
    earlier, later = pair.earlier_agreement, pair.later_agreement
    inner = pair.of(windows(earlier), windows(later))
    if inner.earlier == inner.later:
        yield pair.change("text.layout")  # the one window that would hold anyway is written out, or no longer
        return
    yield from listed(
        lambda window: window.version,
        fields(WINDOW),
        lambda window: [window.change("version.accepted", becomes=f"from {window.later.first_period}")],
        lambda window: [_end_version(window)],
        "versions.reordered",
    )(inner)


def _end_version(pair: Pair) -> Change:
    """A version that is not spoken of any more. It had its time, unless it was promised to be taken for longer."""
    window: VersionWindow = pair.earlier
    newest = windows(pair.later_agreement)[0]
    begins = _first_day(pair.later_agreement, newest.first_period)
    promised = window.sunset is not None and (begins is None or window.sunset >= begins)
    return pair.change("version.withdrawn" if promised else "version.replaced", was=f"from {window.first_period}")


def _first_day(agreement: Agreement, period_id: str) -> date | None:
    return next((period.starts for period in agreement.calendar.periods if period.id == period_id), None)


def _compare_first_period(pair: Pair) -> Iterator[Change]:
    before = _first_day(pair.earlier_agreement, pair.earlier)
    after = _first_day(pair.later_agreement, pair.later)
    earlier = before is None or after is None or after < before
    yield pair.differ("version.from_earlier" if earlier else "version.from_later")


def _compare_sunset(pair: Pair) -> Iterator[Change]:
    if pair.earlier is None:
        yield pair.differ("version.sunset_set")
    else:
        yield from ordered("version.sunset_later", "version.sunset_earlier")(pair)


WINDOW = {"version": passed_over, "first_period": _compare_first_period, "sunset": _compare_sunset}


def _compare_earlier(pair: Pair) -> Iterator[Change]:
    if pair.later is None:
        yield pair.change("earlier.removed", was=f"version {pair.earlier.contract.version}")
        return
    version = pair.later.contract.version
    altered = False
    if pair.earlier is None:
        yield pair.change("earlier.added", becomes=f"version {version}")
    elif pair.earlier.contract.version != version:
        yield pair.change("earlier.replaced", was=pair.earlier.contract.version, becomes=version)
    else:
        altered = (pair.earlier.contract, pair.earlier.codelists) != (pair.later.contract, pair.later.codelists)
        if pair.earlier.upgrade != pair.later.upgrade:
            yield pair.change("upgrade.changed", at="upgrade")
    if version == pair.earlier_agreement.version:
        altered = _as_submitted(terms_of(pair.earlier_agreement, version)) != _as_submitted(pair.later)
    if altered:
        yield pair.change("earlier.changed")


def _as_submitted(terms: Terms | EarlierVersion) -> tuple[object, ...]:
    """Tables, and the codes that partners may write into them."""
    used = {column.codelist for table in terms.contract.tables for column in table.columns}
    lists = (
        codelist.model_copy(update={"codes": tuple(code for code in codelist.codes if code.code != NOT_COLLECTED)})
        for codelist in terms.codelists
        if codelist.name in used
    )
    return terms.contract, *sorted(lists, key=lambda codelist: codelist.name)


AGREEMENT = {
    "id": changed("agreement.id"),
    "title": changed("agreement.title"),
    "version": changed("agreement.version"),
    "coordinator": changed("coordinator.changed"),
    "digest": passed_over,  # a number of the text, and no part of it
    "clauses": _compare_clauses,
    "purposes": _compare_purposes,
    "term": fields(TERM),
    "dpia": fields(DPIA),
    "controllers": fields(CONTROLLERS),
    "privacy_notice": text("promise.privacy_notice"),
    "confidentiality_basis": text("promise.confidentiality"),
    "national_data_opt_out": text("promise.opt_out"),
    "children": text("promise.children"),
    "breach": text("promise.breach"),
    "exit_clause": text("promise.exit"),
    "rights": text("promise.rights"),
    "calendar": fields(CALENDAR),
    "versions": _compare_windows,
    "earlier": _compare_earlier,
    "retention": fields(RETENTION),
    "disclosure": fields(DISCLOSURE),
    "measures": fields(MEASURES),
    "contract": fields(CONTRACT),
    "codelists": compare_codelists,
    "partners": compare_partners,
    "grants": compare_grants,
}
