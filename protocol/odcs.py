"""Reading the contract: one ODCS 3.2.0 file with all tables of a submission.

Everything in the file either takes effect or is plain documentation. An entry of the standard that would promise a
check which Linkarms does not make is refused with the entry that does the same, so that nobody believes in a rule
that nothing keeps. ``docs/reference/agreement.md`` lists what is read.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from protocol.documents import Faults, build, refuse_unknown, take
from protocol.errors import AgreementError
from protocol.model import (
    Classification,
    CodeList,
    Column,
    ColumnType,
    Contract,
    OnFailure,
    Rule,
    RuleKind,
    Table,
    Treatment,
)
from protocol.rules import declared_rule, join_rules, rules_of

API_VERSION = "v3.2.0"
ENGINE = "linkarms"

_DOCUMENTATION = {
    "authoritativeDefinitions",
    "context",
    "deprecated",
    "id",
    "synonyms",
    "tags",
}
_CONTRACT = {
    "apiVersion",
    "contractCreatedTs",
    "customProperties",
    "dataProduct",
    "description",
    "domain",
    "kind",
    "name",
    "price",
    "roles",
    "schema",
    "servers",
    "slaProperties",
    "status",
    "support",
    "team",
    "tenant",
    "version",
} | _DOCUMENTATION
_TABLE = {
    "businessName",
    "customProperties",
    "dataGranularityDescription",
    "description",
    "logicalType",
    "name",
    "physicalName",
    "physicalType",
    "properties",
    "quality",
    "relationships",
} | _DOCUMENTATION
_COLUMN = {
    "businessName",
    "classification",
    "criticalDataElement",
    "customProperties",
    "description",
    "examples",
    "logicalType",
    "logicalTypeOptions",
    "name",
    "physicalName",
    "physicalType",
    "primaryKey",
    "primaryKeyPosition",
    "quality",
    "relationships",
    "required",
} | _DOCUMENTATION
_INSTEAD = {
    "unique": "Only keys are unique: use primaryKey.",
    "enum": "Codes are in codelists/: use the custom property codelist.",
    "items": "Columns hold one value: use a table of its own.",
    "properties": "Columns hold one value: use a table of its own.",
    "map": "Columns hold one value: use a table of its own.",
}
_OPTIONS = {
    "string": {"pattern", "maxLength"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "date": {"minimum", "maximum", "format"},
}
_TYPES = {
    "string": ColumnType.TEXT,
    "integer": ColumnType.INTEGER,
    "number": ColumnType.DECIMAL,
    "date": ColumnType.DATE,
}
_CONTRACT_CUSTOM = {"heldBackShare"}
_TABLE_CUSTOM = {"personColumn": "person_column", "eventDate": "event_date", "optional": "optional"}
_COLUMN_CUSTOM = {
    "treatment": "treatment",
    "purposes": "purposes",
    "why": "why",
    "identifier": "identifier",
    "generalisation": "generalisation",
    "codelist": "codelist",
    "form": "form",
    "patternFailure": "pattern_failure",
}
_QUALITY_CUSTOM = {"onFailure", "mend", "shareOfEarlier"}
_QUALITY = {
    "arguments",
    "businessImpact",
    "customProperties",
    "description",
    "dimension",
    "engine",
    "id",
    "implementation",
    "metric",
    "mustBeGreaterOrEqualTo",
    "mustBeLessOrEqualTo",
    "name",
    "tags",
    "type",
    "unit",
}
_TABLE_KINDS = {RuleKind.DATE_ORDER, RuleKind.HELD_BACK_SHARE, RuleKind.CONDITION}
_COLUMN_KINDS = {RuleKind.NOT_AFTER_EXTRACT, RuleKind.WITHIN_PERIOD, RuleKind.TOTAL, RuleKind.DATE_ORDER_ACROSS}
_ENTRIES: Mapping[RuleKind, tuple[str, ...]] = {
    RuleKind.DATE_ORDER: ("columns",),
    RuleKind.HELD_BACK_SHARE: ("share",),
    RuleKind.TOTAL: ("of",),
    RuleKind.DATE_ORDER_ACROSS: ("not_before",),
    RuleKind.CONDITION: ("expression", "name"),
}
"""What a check of Linkarms' own takes besides its kind."""


def read_contract(
    content: Mapping[str, Any], file: str, codelists: Mapping[str, CodeList], faults: Faults
) -> Contract | None:
    """The contract of an ODCS file, with every rule of every table.

    A column or table that cannot be read is told and doubted, and something of its name stands in its place, so that
    what refers to it is not at fault as well. None where there is no table at all.
    """
    if content.get("kind") != "DataContract":
        faults.add(file, "kind", "should be DataContract.")
    if content.get("apiVersion") != API_VERSION:
        faults.add(file, "apiVersion", f"should be {API_VERSION}, the version of the standard that Linkarms reads.")
    for key in ("id", "version"):
        if not isinstance(content.get(key), str):
            faults.add(file, key, "is missing or is not text. Put the value in quotes.")
    refuse_unknown(content, _CONTRACT, file, "", faults)
    custom = _custom(content, _CONTRACT_CUSTOM, file, "", faults)
    usual_share = custom.get("heldBackShare")
    if usual_share is not None and not _is_share(usual_share):
        faults.add(file, "customProperties.heldBackShare", "should be a share such as 0.2.")
        usual_share = 1.0  # so that no table is told to have none
    tables: list[Table] = []
    for number, entry in enumerate(take(content, "schema", list, file, "", faults) or ()):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            faults.add(file, f"schema.{number}", "should be a table with a name.")
            continue
        table = _read_table(entry, file, codelists, usual_share, faults)
        if table is not None:
            if any(table.name == other.name for other in tables):
                faults.add(file, f"schema.{number}", f"is {table.name} again. Keep one of both tables.")
            else:
                tables.append(table)
    if not content.get("schema"):
        faults.add(file, "schema", "has no tables.")
    if not tables:
        return None
    version = content.get("version")
    contract = Contract(version=version if isinstance(version, str) else "", tables=tuple(tables))

    def refuse(rule: Rule, error: AgreementError) -> None:
        if not faults.doubts(file, rule.code.rpartition(".")[0]):
            faults.add(file, rule.code, str(error))

    return contract.model_copy(update={"tables": join_rules(tables, refuse)})


def _read_table(
    content: Mapping[str, Any],
    file: str,
    codelists: Mapping[str, CodeList],
    usual_share: float | None,
    faults: Faults,
) -> Table | None:
    name = content["name"]
    refuse_unknown(content, _TABLE, file, name, faults)
    if content.get("logicalType", "object") != "object":
        faults.add(file, f"{name}.logicalType", "should be object.")
    if content.get("physicalName", f"{name}.csv") != f"{name}.csv":
        faults.add(file, f"{name}.physicalName", f"should be {name}.csv: agreed files are named like their table.")
    custom = _custom(content, set(_TABLE_CUSTOM), file, name, faults)
    columns: list[Column] = []
    keys: dict[int, str] = {}
    references: list[dict[str, Any]] = []
    checks: list[tuple[str, tuple[str, ...], Mapping[str, Any]]] = []
    for number, entry in enumerate(take(content, "properties", list, file, name, faults) or ()):
        place = f"{name}.properties.{number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            faults.add(file, place, "should be a column with a name.")
            continue
        place = f"{name}.{entry['name']}"
        column = _read_column(entry, file, place, faults)
        if column is None:
            continue
        if any(column.name == other.name for other in columns):
            faults.add(file, f"{name}.properties.{number}", f"is {column.name} again. Keep one of both columns.")
            continue
        columns.append(column)
        take(entry, "primaryKey", bool, file, place, faults)
        if entry.get("primaryKey"):
            position = entry.get("primaryKeyPosition", 1)
            if not isinstance(position, int) or position in keys:
                faults.add(file, f"{place}.primaryKeyPosition", "should number the key's columns 1, 2, ...")
            else:
                keys[position] = column.name
        for link in take(entry, "relationships", list, file, place, faults) or ():
            references.append(_reference([f"{name}.{column.name}"], link, name, file, place, faults))
        for number_, check in enumerate(take(entry, "quality", list, file, place, faults) or ()):
            checks.append((f"{place}.quality.{number_}", (column.name,), check))
    for link in take(content, "relationships", list, file, name, faults) or ():
        references.append(_reference(None, link, name, file, name, faults))
    for number, check in enumerate(take(content, "quality", list, file, name, faults) or ()):
        checks.append((f"{name}.quality.{number}", (), check))
    if not columns:
        faults.add(file, name, "has no columns.")
        faults.doubt(file, name)
        return None
    if not keys:
        faults.add(file, name, "has no key. Give the column of the partner's own number primaryKey: true.")
        faults.doubt(file, name)
        keys = {1: columns[0].name}
    codelists = _with_missing(columns, codelists, file, name, faults)
    if not isinstance(custom.get("optional", False), bool):
        faults.add(file, f"{name}.customProperties.optional", "should be true or false.")
    table = build(
        Table,
        {
            "name": name,
            "label": content.get("businessName"),
            "description": content.get("description"),
            "columns": columns,
            "key": tuple(keys[position] for position in sorted(keys)),
            "references": tuple(reference for reference in references if reference),
            **{_TABLE_CUSTOM[key]: value for key, value in custom.items()},
        },
        file,
        name,
        faults,
    )
    if table is None:
        faults.doubt(file, name)
        return Table.model_construct(
            name=name, label=name, description="", columns=tuple(columns), key=tuple(keys.values())
        )
    declared = [
        rule for place, of, check in checks if (rule := _read_check(table, of, check, file, place, faults)) is not None
    ]
    if not any(rule.kind is RuleKind.HELD_BACK_SHARE for rule in declared):
        if usual_share is None:
            faults.add(
                file,
                name,
                "says nowhere how many rows may be held back. Give the contract the custom property heldBackShare.",
            )
        else:
            declared.append(declared_rule(table, RuleKind.HELD_BACK_SHARE, share=usual_share))
    try:
        return table.model_copy(update={"rules": rules_of(table, codelists, declared)})
    except AgreementError as error:
        faults.add(file, name, str(error))
        return table


def _with_missing(
    columns: Iterable[Column], codelists: Mapping[str, CodeList], file: str, table: str, faults: Faults
) -> Mapping[str, CodeList]:
    """The code lists, and an empty one for each that a column names and that is missing, which is a fault."""
    lists = dict(codelists)
    for column in columns:
        name = column.codelist
        if name is not None and name not in codelists:
            at = f"{table}.{column.name}"
            what = f"is {name}, and codelists/{name}.yaml is missing. Add it, or correct this."
            faults.add(file, f"{at}.codelist", what)
            faults.doubt(file, at)
            lists[name] = CodeList.model_construct(name=name, title=name, codes=())
    return lists


def _read_column(content: Mapping[str, Any], file: str, place: str, faults: Faults) -> Column | None:
    """The column; one that stands in its place where it cannot be read; None where not even its name can be used."""
    told = len(faults)
    column = _build_column(content, file, place, faults)
    if column is not None and len(faults) == told:
        return column
    faults.doubt(file, place)
    if column is not None or not re.fullmatch("[a-z][a-z0-9_]{0,62}", content["name"]):
        return column
    codelist = next(iter(_codelists_named(content)), None)
    return Column.model_construct(
        name=content["name"],
        label=content["name"],
        description="",
        type=ColumnType.CODE if codelist else _TYPES.get(str(content.get("logicalType")), ColumnType.TEXT),
        required=content.get("required") is True,
        treatment=Treatment.DROP,
        classification=Classification.OPERATIONAL,
        purposes=(),
        why="",
        codelist=codelist,
        example="",
    )


def _codelists_named(content: Mapping[str, Any]) -> Iterable[str]:
    entries = content.get("customProperties")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("property") == "codelist" and isinstance(entry.get("value"), str):
            yield entry["value"]


def _build_column(content: Mapping[str, Any], file: str, place: str, faults: Faults) -> Column | None:
    for key in sorted(set(content) & set(_INSTEAD)):
        faults.add(file, f"{place}.{key}", f"is not read. {_INSTEAD[key]}")
    refuse_unknown(set(content) - set(_INSTEAD), _COLUMN, file, place, faults)
    custom = _custom(content, set(_COLUMN_CUSTOM), file, place, faults)
    logical = content.get("logicalType")
    if not isinstance(logical, str) or logical not in _TYPES:
        faults.add(file, f"{place}.logicalType", f"should be one of {', '.join(_TYPES)}.")
        return None
    options = take(content, "logicalTypeOptions", dict, file, place, faults) or {}
    refuse_unknown(options, _OPTIONS[logical], file, f"{place}.logicalTypeOptions", faults)
    if logical == "date" and options.get("format", "yyyy-MM-dd") != "yyyy-MM-dd":
        faults.add(file, f"{place}.logicalTypeOptions.format", "should be yyyy-MM-dd, the only form of a date here.")
    type_ = _TYPES[logical]
    if "codelist" in custom:
        if type_ is not ColumnType.TEXT:
            faults.add(file, f"{place}.logicalType", "should be string, since the column has a code list.")
        type_ = ColumnType.CODE
    examples = take(content, "examples", list, file, place, faults) or ()
    entry: dict[str, Any] = {
        "name": content["name"],
        "label": content.get("businessName"),
        "description": content.get("description"),
        "type": type_,
        "required": take(content, "required", bool, file, place, faults) or False,
        "classification": content.get("classification"),
        "pattern": options.get("pattern"),
        "minimum": _limit(options.get("minimum")),
        "maximum": _limit(options.get("maximum")),
        "example": _limit(examples[0]) if examples else None,
        **{_COLUMN_CUSTOM[key]: value for key, value in custom.items()},
    }
    if "maxLength" in options:
        entry["max_length"] = options["maxLength"]
    if entry["label"] is None:
        faults.add(file, f"{place}.businessName", "is missing. Say what a form would call the column.")
    if entry["example"] is None:
        faults.add(file, f"{place}.examples", "is missing. Give one made-up value that passes.")
    if entry["classification"] is None:
        faults.add(file, f"{place}.classification", "is missing. Say how sensitive the column is.")
    for key in ("treatment", "purposes", "why"):
        if key not in custom:
            faults.add(file, f"{place}.customProperties.{key}", "is missing. A column without it cannot be agreed.")
    missing = {"label", "example", "classification"}
    if any(entry[key] is None for key in missing) or not {"treatment", "purposes", "why"} <= set(custom):
        return None
    return build(Column, entry, file, place, faults)


def _limit(value: object) -> object:
    """A limit or example as text; YAML may have read a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _custom(content: Mapping[str, Any], known: set[str], file: str, place: str, faults: Faults) -> dict[str, Any]:
    """The custom properties as one mapping; only known ones, or those of another vendor, which are left alone."""
    found: dict[str, Any] = {}
    at = f"{place}.customProperties" if place else "customProperties"
    for number, entry in enumerate(take(content, "customProperties", list, file, place, faults) or ()):
        if not isinstance(entry, dict) or not isinstance(entry.get("property"), str) or "value" not in entry:
            faults.add(file, f"{at}.{number}", "should be {property: ..., value: ...}.")
            continue
        name = entry["property"]
        if entry.get("vendor", ENGINE) != ENGINE:
            continue
        if name not in known:
            faults.add(file, f"{at}.{name}", f"is not known here. Known are {', '.join(sorted(known))}.")
        elif name in found:
            faults.add(file, f"{at}.{name}", "stands twice. Keep one of both.")
        else:
            found[name] = entry["value"]
    return found


_TO = re.compile(r"^(?P<table>[a-z][a-z0-9_]*)\.(?P<column>[a-z][a-z0-9_]*)$")


def _reference(
    own: list[str] | None, link: object, table: str, file: str, place: str, faults: Faults
) -> dict[str, Any]:
    """One relationship as the entries of a Reference; empty, and a fault, where it cannot be read."""
    at = f"{place}.relationships"
    if not isinstance(link, dict):
        faults.add(file, at, "should be {to: table.column}, or {from: [...], to: [...]} at the table.")
        return {}
    refuse_unknown(link, {"from", "to", "type", "id", "customProperties"}, file, at, faults)
    if link.get("type", "foreignKey") != "foreignKey":
        faults.add(file, f"{at}.type", "should be foreignKey.")
    own = own if own is not None else _as_list(link.get("from"))
    there = _as_list(link.get("to"))
    sources = [_TO.match(text) for text in own]
    targets = [_TO.match(text) for text in there]
    good = own and len(own) == len(there) and all(sources) and all(targets)
    if not good:
        faults.add(file, at, "should name as many columns on both sides, each as table.column.")
        return {}
    from_tables = {match["table"] for match in sources if match}
    to_tables = {match["table"] for match in targets if match}
    if from_tables != {table} or len(to_tables) != 1:
        faults.add(file, at, f"should lead from columns of {table} to columns of one other table.")
        return {}
    return {
        "columns": tuple(match["column"] for match in sources if match),
        "to_table": to_tables.pop(),
        "to_columns": tuple(match["column"] for match in targets if match),
    }


def _as_list(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _read_check(
    table: Table, columns: tuple[str, ...], check: object, file: str, place: str, faults: Faults
) -> Rule | None:
    """One entry of ``quality`` as a rule."""
    if not isinstance(check, dict):
        faults.add(file, place, "should be one check with its entries.")
        return None
    if check.get("type", "library") == "text":
        return None  # text for readers, by the standard
    refuse_unknown(check, _QUALITY, file, place, faults)
    custom = _custom(check, _QUALITY_CUSTOM, file, place, faults)
    on_failure = custom.get("onFailure")
    if on_failure is not None and on_failure not in list(OnFailure):
        faults.add(file, f"{place}.onFailure", f"should be one of {', '.join(OnFailure)}.")
        on_failure = None
    more: dict[str, Any] = {
        "on_failure": OnFailure(on_failure) if on_failure else None,
        "sentence": check.get("description"),
        "mend": custom.get("mend"),
    }
    kind: RuleKind | None = None
    if check.get("type", "library") == "library":
        kind = _library_check(check, columns, custom, more, file, place, faults)
    elif check.get("type") == "custom" and check.get("engine") == ENGINE:
        kind, columns = _custom_check(check, columns, more, file, place, faults)
    else:
        faults.add(
            file,
            place,
            f"is not run by Linkarms. Use type library, or type custom with engine {ENGINE}, or type text for readers.",
        )
    if kind is None:
        return None
    if "shareOfEarlier" in custom and kind is not RuleKind.ROW_COUNT:
        faults.add(file, f"{place}.shareOfEarlier", "belongs to a rowCount check only.")
    try:
        return declared_rule(table, kind, columns, **more)
    except KeyError:
        faults.add(file, place, f"names a column that {table.name} does not have.")
    except AgreementError as error:
        faults.add(file, place, str(error))
    return None


def _library_check(
    check: Mapping[str, Any],
    columns: tuple[str, ...],
    custom: Mapping[str, Any],
    more: dict[str, Any],
    file: str,
    place: str,
    faults: Faults,
) -> RuleKind | None:
    metric = check.get("metric")
    if metric == "nullValues" and columns:
        most = check.get("mustBeLessOrEqualTo")
        if check.get("unit") != "percent" or not isinstance(most, int | float) or not 0 <= most <= 100:
            faults.add(file, place, "should have unit percent and mustBeLessOrEqualTo from 0 to 100.")
            return None
        more["share"] = round(1 - most / 100, 6)
        return RuleKind.COMPLETENESS
    if metric == "rowCount" and not columns:
        least = check.get("mustBeGreaterOrEqualTo")
        if check.get("unit", "rows") != "rows" or not isinstance(least, int) or least < 0:
            faults.add(file, place, "should have unit rows and mustBeGreaterOrEqualTo with a whole number.")
            return None
        more["minimum"] = str(least)
        share = custom.get("shareOfEarlier")
        if share is not None and not _is_share(share):
            faults.add(file, f"{place}.shareOfEarlier", "should be a share such as 0.5.")
            share = None
        more["share"] = share
        return RuleKind.ROW_COUNT
    faults.add(
        file,
        f"{place}.metric",
        "is not run by Linkarms here. A column takes nullValues, a table rowCount; invalid and duplicate values are "
        "already checked by type, code list, pattern and key.",
    )
    return None


def _custom_check(
    check: Mapping[str, Any], columns: tuple[str, ...], more: dict[str, Any], file: str, place: str, faults: Faults
) -> tuple[RuleKind | None, tuple[str, ...]]:
    at = f"{place}.implementation"
    implementation = check.get("implementation")
    if not isinstance(implementation, dict):
        faults.add(file, at, "should hold entries: kind, and what the kind needs.")
        return None, columns
    allowed = _COLUMN_KINDS if columns else _TABLE_KINDS
    if implementation.get("kind") not in allowed:
        names = ", ".join(sorted(kind.value for kind in allowed))
        faults.add(file, f"{at}.kind", f"should be one of {names} {'at a column' if columns else 'at a table'}.")
        return None, columns
    kind = RuleKind(implementation["kind"])
    for entry in sorted(set(implementation) - {"kind", *_ENTRIES.get(kind, ())}):
        faults.add(file, f"{at}.{entry}", f"does not belong to a check of the kind {kind.value}.")
    match kind:
        case RuleKind.DATE_ORDER:
            columns = tuple(_as_list(implementation.get("columns")))
            if len(columns) != 2:
                faults.add(file, f"{at}.columns", "should name two date columns, the earlier one first.")
                return None, columns
        case RuleKind.HELD_BACK_SHARE:
            if not _is_share(implementation.get("share")):
                faults.add(file, f"{at}.share", "should be a share such as 0.2.")
                return None, columns
            more["share"] = float(implementation["share"])
        case RuleKind.TOTAL | RuleKind.DATE_ORDER_ACROSS:
            (entry,) = _ENTRIES[kind]
            other = _TO.match(str(implementation.get(entry)))
            if other is None:
                faults.add(file, f"{at}.{entry}", "should name a column of another table, as table.column.")
                return None, columns
            more["other"] = (other["table"], other["column"])
        case RuleKind.CONDITION:
            return _condition(check, implementation, more, file, at, faults), columns
    return kind, columns


def _condition(
    check: Mapping[str, Any],
    implementation: Mapping[str, Any],
    more: dict[str, Any],
    file: str,
    at: str,
    faults: Faults,
) -> RuleKind | None:
    told = len(faults)
    expression, name = implementation.get("expression"), implementation.get("name")
    if not isinstance(expression, str):
        faults.add(file, f"{at}.expression", 'should be what holds for every row, such as "ended_on is not null".')
    if not isinstance(check.get("description"), str):
        faults.add(file, at, "needs a description beside it: what is wrong with a row for which it does not hold.")
    if name is not None and not re.fullmatch("[a-z][a-z0-9_]*", str(name)):
        faults.add(file, f"{at}.name", "should be in small letters, digits and underscores.")
    if len(faults) > told:
        return None
    more |= {"expression": expression, "name": name}
    return RuleKind.CONDITION
