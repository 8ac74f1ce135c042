"""The tables for other people's tools: JSON Schema 2020-12 and a Data Package descriptor (Frictionless).

Both say what holds a row back or refuses it and can be said there. A pattern that is only noted is described and not
enforced; rules over several columns and tables stay with ``linkarms check``.
"""

import json
from typing import Any

from protocol.generated.names import MANIFEST_KINDS
from protocol.generated.versions import AgreedVersion
from protocol.generated.words import codes_of, treatment_in_words, used_codelists, what_to_write
from protocol.model import Agreement, Code, CodeList, Column, ColumnType, OnFailure, Partner, Table
from protocol.versions import collected_codes

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DAY = r"^\d{4}-\d{2}-\d{2}$"


def write_json(content: Any) -> bytes:
    """JSON for people to read, UTF-8."""
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def row_schema(agreement: Agreement, version: AgreedVersion, table: Table) -> dict[str, Any]:
    """JSON Schema of one row of the table as an object: numbers as numbers, dates as ISO text, empty cells null."""
    return {
        "$schema": _DIALECT,
        "$id": _identifier(agreement, version, table.name),
        "title": table.label,
        "description": table.description,
        "type": "object",
        "properties": {
            column.name: _property(table, column, codes_of(version.codelists, column)) for column in table.columns
        },
        "required": [column.name for column in table.columns if column.required],
        "additionalProperties": False,
    }


def _identifier(agreement: Agreement, version: AgreedVersion, name: str) -> str:
    return f"urn:linkarms:{agreement.id}:{version.contract.version}:{name}"


def _property(table: Table, column: Column, codelist: CodeList | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "title": column.label,
        "description": f"{column.description} {what_to_write(column, codelist)}",
        "examples": [_example(column)],
    }
    kind = _JSON_TYPES[column.type]
    told["type"] = kind if column.required else [kind, "null"]
    if column.type is ColumnType.DATE:
        told |= {"format": "date", "pattern": _DAY}
    elif codelist is not None:
        codes = collected_codes(codelist)
        told["enum"] = [*codes] if column.required else [*codes, None]
        told["x-labels"] = {code: codelist.label(code) for code in codes}
    elif column.type is ColumnType.TEXT:
        told |= {"minLength": 1, "maxLength": column.max_length}
        if column.pattern is not None and column.pattern_failure is not OnFailure.NOTE:
            told["pattern"] = f"^(?:{column.pattern})$"
    else:
        told |= _number_limits(column)
    return told | {
        "x-classification": column.classification.value,
        "x-treatment": column.treatment.value,
        "x-what-becomes-of-it": treatment_in_words(table, column),
        "x-purposes": list(column.purposes),
        "x-why": column.why,
    }


_JSON_TYPES = {
    ColumnType.TEXT: "string",
    ColumnType.CODE: "string",
    ColumnType.DATE: "string",
    ColumnType.INTEGER: "integer",
    ColumnType.DECIMAL: "number",
}


def _number_limits(column: Column) -> dict[str, Any]:
    ends = (("minimum", column.minimum), ("maximum", column.maximum))
    return {name: _number(column, text) for name, text in ends if text is not None}


def _number(column: Column, text: str) -> int | float:
    return int(text) if column.type is ColumnType.INTEGER else float(text)


def _example(column: Column) -> str | int | float:
    numeric = column.type in (ColumnType.INTEGER, ColumnType.DECIMAL)
    return _number(column, column.example) if numeric else column.example


def manifest_schema(agreement: Agreement, version: AgreedVersion) -> dict[str, Any]:
    """JSON Schema of the manifest under one version."""
    rows = {"oneOf": [{"type": "integer", "minimum": 0}, {"const": "nil"}]}
    return {
        "$schema": _DIALECT,
        "$id": _identifier(agreement, version, "manifest"),
        "title": "Manifest",
        "description": "What a partner says about its own extract.",
        "type": "object",
        "properties": {
            "partner": {"title": "Partner", "enum": [partner.id for partner in agreement.partners]},
            "period": {"title": "Period", "enum": [period.id for period in version.periods]},
            "agreement_version": {"title": "Version of the tables", "const": version.contract.version},
            "kind": {"title": "Kind", "enum": list(MANIFEST_KINDS)},
            "supersedes": {
                "title": "The submission that a correction mends",
                "type": ["string", "null"],
                "pattern": "^sub-[0-9a-f]{20}$",
            },
            "extracted_on": {"title": "Day of the extract", "type": "string", "format": "date", "pattern": _DAY},
            "tables": {
                "title": "Rows of each file without the heading, or nil",
                "type": "object",
                "properties": {table.name: {"title": table.label, **rows} for table in version.contract.tables},
                "additionalProperties": False,
            },
        },
        "required": ["partner", "period", "agreement_version", "kind", "extracted_on"],
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": "correction"}}, "required": ["kind"]},
                "then": {"required": ["supersedes"], "properties": {"supersedes": {"type": "string"}}},
                "else": {"properties": {"supersedes": {"type": "null"}}},
            },
            {
                "if": {"properties": {"kind": {"const": "nil"}}, "required": ["kind"]},
                "else": {"required": ["tables"], "properties": {"tables": {"minProperties": 1}}},
            },
        ],
    }


def data_package(agreement: Agreement, version: AgreedVersion, partner: Partner | None = None) -> dict[str, Any]:
    """Data Package descriptor of a submission: one resource a table, with keys, references, codes and limits.

    It belongs beside the CSV files. An optional table that is not sent stands in it all the same; take its resource
    out, or send the file with its headings alone.
    """
    tables = version.contract.tables
    return {
        "profile": "tabular-data-package",
        "name": f"{agreement.id}-{version.contract.version}".replace("_", "-").lower(),
        "title": f"{agreement.title}: extract, version {version.contract.version}",
        "description": f"Made from the agreement's text with digest {agreement.digest}.",
        "version": version.contract.version,
        "contributors": [{"title": partner.name if partner else agreement.coordinator.role, "role": "publisher"}],
        "codelists": {
            codelist.name: {"title": codelist.title, "codes": [_code(code) for code in codelist.codes]}
            for codelist in used_codelists(version.codelists, tables)
        },
        "resources": [_resource(version, table) for table in tables],
    }


def _code(code: Code) -> dict[str, str]:
    return {name: str(value) for name, value in code.model_dump().items() if value is not None}


def _resource(version: AgreedVersion, table: Table) -> dict[str, Any]:
    return {
        "profile": "tabular-data-resource",
        "name": table.name,
        "title": table.label,
        "description": table.description,
        "path": f"{table.name}.csv",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "optional": table.optional,
        "schema": {
            "fields": [_field(table, column, codes_of(version.codelists, column)) for column in table.columns],
            "missingValues": [""],
            "primaryKey": list(table.key),
            "foreignKeys": [
                {
                    "fields": list(reference.columns),
                    "reference": {"resource": reference.to_table, "fields": list(reference.to_columns)},
                }
                for reference in table.references
            ],
        },
    }


def _field(table: Table, column: Column, codelist: CodeList | None) -> dict[str, Any]:
    constraints: dict[str, Any] = {"required": True} if column.required else {}
    if codelist is not None:
        constraints["enum"] = list(collected_codes(codelist))
    elif column.type is ColumnType.TEXT:
        constraints["maxLength"] = column.max_length
        if column.pattern is not None and column.pattern_failure is not OnFailure.NOTE:
            constraints["pattern"] = column.pattern
    elif column.type is ColumnType.DATE:
        ends = (("minimum", column.minimum), ("maximum", column.maximum))
        constraints |= {name: text for name, text in ends if text is not None}
    else:
        constraints |= _number_limits(column)
    return {
        "name": column.name,
        "title": column.label,
        "description": f"{column.description} {what_to_write(column, codelist)}",
        "type": _FIELD_TYPES[column.type],
        "example": _example(column),
        "constraints": constraints,
        "classification": column.classification.value,
        "treatment": column.treatment.value,
        "whatBecomesOfIt": treatment_in_words(table, column),
        "purposes": list(column.purposes),
        "why": column.why,
    }


_FIELD_TYPES = _JSON_TYPES | {ColumnType.DATE: "date"}
