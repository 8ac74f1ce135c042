"""What differs between the tables of two versions, for those who fill them in and for the people who stand in them."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation

from protocol.changes.compare import (
    Handler,
    Pair,
    changed,
    compare_fields,
    fields,
    flag,
    listed,
    members,
    ordered,
    passed_over,
    text,
)
from protocol.changes.model import Change
from protocol.model import (
    Agreement,
    Classification,
    Column,
    ColumnType,
    Generalisation,
    OnFailure,
    Reference,
    Rule,
    RuleKind,
    Table,
    Treatment,
)
from protocol.pool import DO_NOT_LINK, pool_columns

_EXPOSURE = {
    Treatment.DROP: 0,
    Treatment.TOKENISE: 1,
    Treatment.PSEUDONYMISE: 2,
    Treatment.GENERALISE: 2,
    Treatment.KEEP: 3,
}
"""How much of a column others get to see. A pseudonym and a coarser value are not less and more: the one tells whether
two values are equal, the other roughly what they are."""
_SENSITIVITY = {
    Classification.OPERATIONAL: 0,
    Classification.QUASI_IDENTIFIER: 1,
    Classification.DIRECT_IDENTIFIER: 2,
    Classification.SPECIAL_CATEGORY: 2,
    Classification.OFFENCE: 2,
    Classification.FREE_TEXT: 2,
}
_SEVERITY = {OnFailure.NOTE: 0, OnFailure.HOLD_BACK: 1, OnFailure.REFUSE: 2}
_FINER = {(Generalisation.BIRTH_YEAR_BAND, Generalisation.MONTH)}
"""(coarser, finer). All other pairs coarsen different things."""
_IMPLIED = frozenset(
    {
        RuleKind.REQUIRED,
        RuleKind.TYPE,
        RuleKind.CODE,
        RuleKind.PATTERN,
        RuleKind.LENGTH,
        RuleKind.RANGE,
        RuleKind.UNIQUE,
        RuleKind.REFERENCE,
    }
)
"""Rules that follow from columns, keys and references, whose changes are told there."""
_HIGHER_IS_STRICTER = {
    (RuleKind.COMPLETENESS, "share"): True,
    (RuleKind.HELD_BACK_SHARE, "share"): False,
    (RuleKind.ROW_COUNT, "share"): True,
    (RuleKind.ROW_COUNT, "minimum"): True,
}
_WORDING = frozenset({"sentence", "mend", "example"})


# --- columns ----------------------------------------------------------------------------------------------------------


def _compare_treatment(pair: Pair) -> Iterator[Change]:
    before, after = _EXPOSURE[pair.earlier], _EXPOSURE[pair.later]
    kind = "weaker" if after > before else "stronger" if after < before else "other"
    yield pair.differ(f"column.treatment_{kind}")


def _compare_classification(pair: Pair) -> Iterator[Change]:
    before, after = _SENSITIVITY[pair.earlier], _SENSITIVITY[pair.later]
    kind = "less_sensitive" if after < before else "more_sensitive" if after > before else "sensitivity_other"
    yield pair.differ(f"column.{kind}")


def _compare_type(pair: Pair) -> Iterator[Change]:
    wider = (pair.earlier, pair.later) == (ColumnType.INTEGER, ColumnType.DECIMAL)
    yield pair.differ("column.type_wider" if wider else "column.type")


def _compare_required(pair: Pair) -> Iterator[Change]:
    sensitive = _SENSITIVITY[pair.later_owner.classification] == _SENSITIVITY[Classification.SPECIAL_CATEGORY]
    if not pair.later:
        yield pair.differ("column.voluntary")
    else:
        yield pair.differ("column.mandatory_sensitive" if sensitive else "column.mandatory")


def _compare_presence(kind: str) -> Handler:
    """Something that a column may have or lack: ``<kind>_added``, ``<kind>_removed``, or ``<kind>``."""

    def handle(pair: Pair) -> Iterator[Change]:
        if pair.earlier is None:
            yield pair.differ(f"{kind}_added")
        elif pair.later is None:
            yield pair.differ(f"{kind}_removed")
        else:
            yield pair.differ(kind)

    return handle


def _compare_generalisation(pair: Pair) -> Iterator[Change]:
    if pair.earlier_owner.treatment is not pair.later_owner.treatment:
        return  # the treatment says more
    if (pair.earlier, pair.later) in _FINER:
        yield pair.differ("column.finer")
    elif (pair.later, pair.earlier) in _FINER:
        yield pair.differ("column.coarser")
    else:
        yield pair.differ("column.generalised_otherwise")


def _compare_codelist(pair: Pair) -> Iterator[Change]:
    if pair.earlier_owner.type is not pair.later_owner.type:
        return  # the type says more
    lists = [
        {codelist.name: codelist.codes for codelist in agreement.codelists}.get(name)
        for agreement, name in ((pair.earlier_agreement, pair.earlier), (pair.later_agreement, pair.later))
    ]
    same = lists[0] is not None and lists[0] == lists[1]
    yield pair.differ("column.codelist_renamed" if same else "column.codelist")


def _compare_limit(pair: Pair) -> Iterator[Change]:
    if pair.earlier_owner.type is not pair.later_owner.type and None not in (pair.earlier, pair.later):
        return  # the type says more
    before, after = _measure(pair.earlier), _measure(pair.later)
    if before is None or after is None:
        wider = after is None
    elif type(before) is not type(after):
        wider = False
    else:
        upper = pair.place.endswith("maximum")
        wider = (after > before) == upper  # type: ignore[operator]
    yield pair.differ("column.range_wider" if wider else "column.range_narrower")


def _measure(limit: str | None) -> Decimal | date | None:
    """A limit as something that can be compared; None where there is none."""
    if limit is None:
        return None
    try:
        return Decimal(limit)
    except InvalidOperation:
        try:
            return date.fromisoformat(limit)
        except ValueError:
            return None


def _compare_pattern_failure(pair: Pair) -> Iterator[Change]:
    stricter = _SEVERITY[pair.later] > _SEVERITY[pair.earlier]
    yield pair.differ("column.pattern_stricter" if stricter else "column.pattern_laxer")


COLUMN = {
    "name": passed_over,
    "label": text("column.reworded"),
    "description": text("column.reworded"),
    "type": _compare_type,
    "required": _compare_required,
    "treatment": _compare_treatment,
    "classification": _compare_classification,
    "purposes": members("column.purpose_added", "column.purpose_removed", "column.purposes_reordered"),
    "why": text("column.why"),
    "identifier": _compare_presence("column.identifier"),
    "generalisation": _compare_generalisation,
    "codelist": _compare_codelist,
    "pattern": _compare_presence("column.pattern"),
    "form": changed("column.form"),
    "pattern_failure": _compare_pattern_failure,
    "minimum": _compare_limit,
    "maximum": _compare_limit,
    "max_length": ordered("column.longer", "column.shorter"),
    "example": changed("column.example"),
}


def _compare_columns(pair: Pair) -> Iterator[Change]:
    table: Table = pair.later_owner
    fed = _fed_from(pair.later_agreement, table.name)
    impersonal_table = not pair.later_agreement.contract.is_about_people(table.name)

    def added(inner: Pair) -> Iterator[Change]:
        column: Column = inner.later
        impersonal = impersonal_table and column.classification is Classification.OPERATIONAL
        kind = f"column.added{'_impersonal' if impersonal else ''}{'' if column.required else '_optional'}"
        yield inner.change(kind, becomes=_told(column))
        if column.identifier is not None:
            yield inner.change("column.identifier_added", becomes=column.identifier)

    def removed(inner: Pair) -> Iterator[Change]:
        flag_ = inner.earlier.name == DO_NOT_LINK
        yield inner.change("column.unprotected" if flag_ else "column.removed", was=_told(inner.earlier))
        if inner.earlier.identifier is not None:
            yield inner.change("column.identifier_removed", was=inner.earlier.identifier)

    yield from listed(
        lambda column: column.name,
        fields(COLUMN),
        added,
        removed,
        "columns.reordered",
        lambda earlier, later: (
            fed.get(later.name) == earlier.name
            or (
                earlier.type is later.type
                and (
                    (earlier.identifier is not None and earlier.identifier is later.identifier)
                    or earlier.description == later.description
                )
            )
        ),
        lifted=True,
    )(pair)


def _fed_from(later: Agreement, table: str) -> dict[str, str | None]:
    """Column -> the column of the earlier version that the upgrade feeds it from."""
    upgrades = later.earlier.upgrade.tables if later.earlier is not None else ()
    return {fed.column: fed.source for upgrade in upgrades if upgrade.table == table for fed in upgrade.columns}


def _told(column: Column) -> str:
    """The little that says what a column is."""
    return f"{column.label} ({column.classification.value}, {column.treatment.value})"


# --- rules ------------------------------------------------------------------------------------------------------------


def _compare_rules(pair: Pair) -> Iterator[Change]:
    """Declared rules one by one; implied ones only where nothing else explains why they differ."""
    before, after = (owner.model_copy(update={"rules": ()}) for owner in (pair.earlier_owner, pair.later_owner))
    explained = before != after or pair.earlier_agreement.codelists != pair.later_agreement.codelists
    declared = (tuple(rule for rule in rules if rule.kind not in _IMPLIED) for rules in (pair.earlier, pair.later))
    yield from listed(
        _rule_key,
        lambda rule: _compare_rule(rule, explained),
        lambda rule: [rule.change(f"rule.added{_noted(rule.later)}", becomes=rule.later.sentence)],
        lambda rule: [rule.change(f"rule.removed{_noted(rule.earlier)}", was=rule.earlier.sentence)],
        "rules.reordered",
    )(pair.of(*declared))
    if not explained:
        yield from _compare_implied(pair)


def _compare_implied(pair: Pair) -> Iterator[Change]:
    """Rules that differ although the columns do not: by another version of Linkarms, or made by hand."""
    implied = [tuple(rule for rule in rules if rule.kind in _IMPLIED) for rules in (pair.earlier, pair.later)]
    bare = [[rule.model_copy(update=dict.fromkeys(_WORDING, "")) for rule in rules] for rules in implied]
    if implied[0] == implied[1]:
        return
    if bare[0] == bare[1]:
        yield pair.change("rules.reworded")
    elif sorted(rule.code for rule in bare[0]) == sorted(rule.code for rule in bare[1]):
        later = {rule.code: rule for rule in bare[1]}
        differing = [rule.code for rule in bare[0] if rule != later[rule.code]]
        yield from (pair.change("rule.changed", at=code) for code in differing)
        if not differing:
            yield pair.change("rules.reordered")
    else:
        yield pair.change("rule.changed")


def _rule_key(rule: Rule) -> str:
    return rule.code.partition(".")[2]


def _noted(rule: Rule) -> str:
    return "_note" if rule.on_failure is OnFailure.NOTE else ""


def _compare_rule(pair: Pair, explained: bool) -> Iterator[Change]:
    earlier, later = pair.earlier, pair.later
    differing = [name for name in Rule.model_fields if getattr(earlier, name) != getattr(later, name)]
    if "on_failure" in differing:
        harsher = _SEVERITY[later.on_failure] > _SEVERITY[earlier.on_failure]
        yield pair.change(
            "rule.harsher" if harsher else "rule.milder", was=earlier.on_failure, becomes=later.on_failure
        )
    for name in differing:
        before, after = getattr(earlier, name), getattr(later, name)
        if name in _WORDING:
            if name != "example" or not explained:
                yield pair.change("rule.reworded", at=name, was=before, becomes=after)
        elif (later.kind, name) in _HIGHER_IS_STRICTER:
            rises = before is None or (after is not None and float(after) > float(before))
            stricter = rises is _HIGHER_IS_STRICTER[later.kind, name]
            yield pair.change(f"rule.limit_{'stricter' if stricter else 'laxer'}", was=before, becomes=after)
        elif name != "on_failure" and not (name == "type" and explained):
            yield pair.change("rule.changed", at=name, was=before, becomes=after)


# --- tables -----------------------------------------------------------------------------------------------------------


def _add_table(pair: Pair) -> Iterator[Change]:
    table: Table = pair.later
    personal = pair.later_agreement.contract.is_about_people(table.name) or any(
        column.classification is not Classification.OPERATIONAL for column in table.columns
    )
    kind = f"table.added{'' if personal else '_impersonal'}{'_optional' if table.optional else ''}"
    yield pair.change(kind, becomes=f"{table.label}: {', '.join(table.column_names)}")


def _reference_key(reference: Reference) -> tuple[str, ...]:
    return (*reference.columns, "to", reference.to_table, *reference.to_columns)


TABLE = {
    "name": passed_over,
    "label": text("table.reworded"),
    "description": text("table.reworded"),
    "columns": _compare_columns,
    "key": changed("table.key"),
    "person_column": _compare_presence("table.person_column"),
    "event_date": changed("table.event_date"),
    "references": listed(_reference_key, passed_over, "reference.added", "reference.removed", "references.reordered"),
    "rules": _compare_rules,
    "optional": flag("table.voluntary", "table.mandatory"),
}


def _compare_tables(pair: Pair) -> Iterator[Change]:
    yield from listed(
        lambda table: table.name,
        _compare_table,
        _add_table,
        lambda inner: [inner.change("table.removed", was=inner.earlier.label)],
        "tables.reordered",
        lambda earlier, later: earlier.column_names == later.column_names or earlier.description == later.description,
    )(pair.at("tables"))


def _compare_table(pair: Pair) -> Iterator[Change]:
    yield from compare_fields(TABLE, pair)
    yield from _compare_pool(pair)


def _compare_pool(pair: Pair) -> Iterator[Change]:
    """What analysts find in the pool, by the names that it has there."""
    before, after = ({column.name: column for column in pool_columns(table)} for table in (pair.earlier, pair.later))
    for name in [*before, *(name for name in after if name not in before)]:
        place = pair.at(f"pool.{pair.later.name}.{name}")
        was, becomes = before.get(name), after.get(name)
        if becomes is None:
            yield place.change("pool.column_gone")
        elif was is None:
            yield place.change("pool.column_new", becomes=becomes.type)
        elif was.type is not becomes.type:
            yield place.change("pool.column_type", was=was.type, becomes=becomes.type)
        elif was != becomes:
            yield place.change("pool.column_made_otherwise", was=was.source, becomes=becomes.source)


CONTRACT = {"version": changed("contract.version"), "tables": _compare_tables}
