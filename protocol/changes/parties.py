"""What differs between the parties of two versions: who takes part, as what, with which export, and who may read."""

from collections.abc import Iterator, Sequence

from protocol.changes.compare import (
    Pair,
    changed,
    compare_fields,
    entries,
    fields,
    listed,
    members,
    ordered,
    passed_over,
    text,
)
from protocol.changes.model import Change
from protocol.model import Pseudonymising, Sealing, TableMapping
from protocol.pool import DO_NOT_LINK

# --- the partner's own export -----------------------------------------------------------------------------------------


def _compare_code_mapping(pair: Pair) -> Iterator[Change]:
    for column in [*pair.earlier, *(name for name in pair.later if name not in pair.earlier)]:
        inner = pair.below(column, pair.earlier.get(column, {}), pair.later.get(column, {}))
        for change in entries("mapping.code_added", "mapping.code_removed", "mapping.code_changed")(inner):
            yield _unprotected(inner, change) if column == DO_NOT_LINK and change.becomes is not None else change


def _compare_constants(pair: Pair) -> Iterator[Change]:
    for change in entries("mapping.constant", "mapping.constant", "mapping.constant")(pair):
        yield _unprotected(pair, change) if change.place.endswith(f".{DO_NOT_LINK}") else change


def _unprotected(pair: Pair, change: Change) -> Change:
    """The change of a flag that protects people, as what it is where it becomes anything but ``yes``."""
    if change.was != "yes" or change.becomes == "yes":
        return change
    told = pair.change("mapping.unprotected", was=change.was, becomes=change.becomes)
    return told.model_copy(update={"place": change.place})


TABLE_MAPPING = {
    "table": passed_over,
    "file": changed("mapping.heading"),
    "columns": entries("mapping.heading", "mapping.heading", "mapping.heading"),
    "codes": _compare_code_mapping,
    "constants": _compare_constants,
    "absent": members("mapping.absent", "mapping.present", "mapping.reordered"),
}


def _compare_one_sided(pair: Pair) -> Iterator[Change]:
    """A table that only one version maps: the other takes the agreed names."""
    name = (pair.earlier or pair.later).table
    plain = TableMapping(table=name)
    found = list(compare_fields(TABLE_MAPPING, pair.of(pair.earlier or plain, pair.later or plain)))
    yield from found or [pair.change("text.layout")]


MAPPING = {
    "tables": listed(
        lambda entry: entry.table, fields(TABLE_MAPPING), _compare_one_sided, _compare_one_sided, "mapping.reordered"
    ),
    "sql": listed(
        lambda entry: entry.table,
        lambda pair: [pair.change("mapping.sql", was=pair.earlier.select, becomes=pair.later.select)],
        lambda pair: [pair.change("mapping.sql", becomes=pair.later.select)],
        lambda pair: [pair.change("mapping.sql", was=pair.earlier.select)],
        "mapping.reordered",
    ),
    "version": changed("mapping.version"),
    "parameters": entries("mapping.parameter", "mapping.parameter", "mapping.parameter"),
    "manifest_from_name": changed("mapping.manifest"),
}


# --- partners ---------------------------------------------------------------------------------------------------------


def _add_partner(pair: Pair) -> Iterator[Change]:
    yield pair.change("partner.added", becomes=f"{pair.later.name} ({pair.later.kind})")


def _remove_partner(pair: Pair) -> Iterator[Change]:
    yield pair.change("partner.removed", was=f"{pair.earlier.name} ({pair.earlier.kind})")


def _compare_channel(pair: Pair) -> Iterator[Change]:
    if pair.earlier.sealed is not pair.later.sealed:
        kind = "partner.sealed" if pair.later.sealed is Sealing.REQUIRED else "partner.unsealed"
        yield pair.change(kind, at="sealed", was=pair.earlier.sealed, becomes=pair.later.sealed)
    if pair.earlier.pseudonymised is not pair.later.pseudonymised:
        at_source = pair.later.pseudonymised is Pseudonymising.REQUIRED
        kind = "partner.at_source" if at_source else "partner.not_at_source"
        yield pair.change(kind, at="pseudonymised", was=pair.earlier.pseudonymised, becomes=pair.later.pseudonymised)
    told = {"sealed": pair.later.sealed, "pseudonymised": pair.later.pseudonymised}
    if pair.earlier.model_copy(update=told) != pair.later:
        yield pair.differ("partner.channel")


PARTNER = {
    "id": passed_over,
    "name": text("partner.name"),
    "kind": changed("partner.kind"),
    "agency": changed("partner.agency"),
    "tier": changed("partner.tier"),
    "member_from": ordered("partner.joins_later", "partner.joins_earlier"),
    "member_to": ordered("partner.stays_longer", "partner.leaves"),
    "public_body": changed("partner.public_body"),
    "gateway": changed("partner.gateway"),
    "controller_role": changed("partner.role"),
    "lawful_basis": changed("partner.basis"),
    "contacts": changed("partner.contacts"),
    "signatures": passed_over,  # signing changes nothing that is signed
    "duplicate_free": changed("partner.duplicate_free"),
    "channel": _compare_channel,
    "mapping": fields(MAPPING),
}

compare_partners = listed(
    lambda partner: partner.id,
    fields(PARTNER),
    _add_partner,
    _remove_partner,
    "partners.reordered",
    lambda earlier, later: earlier.name == later.name,
)


# --- who answers, and who may read ------------------------------------------------------------------------------------

PROCESSOR = {
    "name": passed_over,
    "acts_for": changed("processor.changed"),
    "task": changed("processor.changed"),
    "contract": changed("processor.changed"),
}
CONTROLLERS = {
    "point_of_contact": changed("controllers.contact"),
    "arrangement": text("controllers.arrangement"),
    "processors": listed(
        lambda processor: processor.name,
        fields(PROCESSOR),
        lambda pair: [pair.change("processor.added", becomes=pair.later.task)],
        lambda pair: [pair.change("processor.removed", was=pair.earlier.task)],
        "processors.reordered",
        lambda earlier, later: earlier.contract == later.contract,
    ),
}


def _compare_views(pair: Pair) -> Iterator[Change]:
    wider = [view for view in pair.later if not _covers(pair.earlier, view)]
    narrower = [view for view in pair.earlier if not _covers(pair.later, view)]
    if wider:
        yield pair.change("grant.wider", was=pair.earlier, becomes=pair.later)
    if narrower:
        yield pair.change("grant.narrower", was=pair.earlier, becomes=pair.later)
    if not wider and not narrower:
        yield pair.differ("grant.views_rewritten")


def _covers(views: Sequence[str], view: str) -> bool:
    """True where one of ``views`` is the view, or all of its schema."""
    return view in views or f"{view.partition('.')[0]}.*" in views


GRANT = {
    "id": passed_over,
    "team": text("grant.team"),
    "purposes": members("grant.purpose_added", "grant.purpose_removed", "grants.reordered"),
    "views": _compare_views,
    "logins": members("grant.login_added", "grant.login_removed", "grants.reordered"),
    "starts": ordered("grant.starts_later", "grant.starts_earlier"),
    "ends": ordered("grant.longer", "grant.shorter"),
}

compare_grants = listed(
    lambda grant: grant.id,
    fields(GRANT),
    lambda pair: [pair.change("grant.added", becomes=f"{pair.later.team}: {', '.join(pair.later.views)}")],
    lambda pair: [pair.change("grant.removed", was=f"{pair.earlier.team}: {', '.join(pair.earlier.views)}")],
    "grants.reordered",
    lambda earlier, later: earlier.team == later.team,
)
