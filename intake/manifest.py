"""The manifest: what a partner says about its own submission.

YAML or JSON, both read as text without any type guessing, so that version ``1.0`` stays a version and a date a date.
No entry of a manifest is repeated in a finding unless it is one that the agreement knows.
"""

import difflib
import json
import re
from collections.abc import Mapping as AbstractMapping
from datetime import date
from enum import StrEnum
from typing import Any

import yaml
from pydantic import Field

from intake.taking import TakenDrop, TakenFile
from protocol.finding import Finding, Scope
from protocol.model import Contract, Frozen, Name, Partner

FILE = "manifest.yaml"
_PERIOD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,19}", re.ASCII)
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,19}", re.ASCII)
_SUBMISSION = re.compile(r"sub-[0-9a-f]{20}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_ROWS = re.compile(r"\d{1,12}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NIL = "nil"
_MOST_DEPTH = 4
_MOST_PARTS = 4000
"""Names, values and brackets of a manifest; the largest agreement needs a few hundred."""


class ManifestKind(StrEnum):
    """What a submission does to the partner's earlier ones of the period."""

    FULL = "full"
    """Replaces them."""
    DELTA = "delta"
    """Adds, changes and deletes rows by their keys."""
    CORRECTION = "correction"
    """A full one that supersedes the submission that it names."""
    NIL = "nil"
    """There is nothing to report."""


class RowCounts(Frozen):
    """What became of one table's rows in the check at the source."""

    received: int
    accepted: int
    held_back: int
    repeated: int


class SourceStatement(Frozen):
    """What `linkarms pseudonymise` says of a drop whose identifiers it replaced at the partner's own site."""

    format: int
    """Of the drop, see :data:`protocol.at_source.FORMAT`."""
    scheme: int
    """Of normalisation."""
    k1_id: str
    agreement_digest: str
    """Of the text that the extract was checked against."""
    tables: dict[Name, RowCounts] = Field(default_factory=dict)


class Manifest(Frozen):
    """What a partner says about its own submission."""

    partner: Name
    period: str
    agreement_version: str
    kind: ManifestKind
    supersedes: str | None = None
    """The submission that a correction replaces."""
    extracted_on: date
    tables: dict[Name, int | None] = Field(default_factory=dict)
    """Table -> rows in its file; None where the table is declared nil. Empty where the partner's export has no
    manifest: then no row counts are checked."""
    from_workbook: bool = False
    """It stands in a sheet of a workbook, which needs no row counts: nobody can cut a workbook in half unseen."""
    pseudonymised: SourceStatement | None = None
    """Where identifiers were replaced at the partner's own site: by what, and what was checked there."""

    @property
    def nil_tables(self) -> tuple[str, ...]:
        """Tables that are declared to have nothing to report."""
        return tuple(table for table, rows in self.tables.items() if rows is None)


class _Duplicate(Exception):
    """An entry stands twice."""


def read_manifest(
    taken: TakenDrop,
    partner: Partner,
    contract: Contract,
    *,
    earlier: Contract | None = None,
    extracted_on: date | None = None,
) -> tuple[Manifest | None, tuple[Finding, ...]]:
    """Reads and checks the manifest; gives it, or None and every fault.

    Where the partner's export has none and the agreement says so (``manifest_from_name``), the drop's name is the
    period, it is a full one under the version that the partner's mapping makes, and it was extracted on
    ``extracted_on`` or, without that, on the day of its latest file. ``earlier``: the tables of the version before,
    which a manifest that states that version is held against. Whether period and version may be submitted now is
    decided at the gate, not here.
    """
    if taken.manifest is None:
        if not partner.mapping.manifest_from_name:
            return None, (_finding("manifest.missing"),)
        if not _PERIOD.fullmatch(taken.stem):
            return None, (_finding("manifest.period_name"),)
        return (
            Manifest(
                partner=partner.id,
                period=taken.stem,
                agreement_version=partner.mapping.version or contract.version,
                kind=ManifestKind.FULL,
                extracted_on=extracted_on or taken.changed_on,
            ),
            (),
        )
    entries, findings = _parse(taken, contract)
    if findings:
        return None, findings
    stated = entries.get("agreement_version")
    by_earlier = earlier is not None and isinstance(stated, str) and stated.strip() == earlier.version
    by_earlier = by_earlier and "pseudonymised" not in entries  # such rows were carried over at the source
    return _check(entries, taken, partner, earlier if earlier is not None and by_earlier else contract)


def assume_manifest(
    taken: TakenDrop, partner: Partner, contract: Contract, *, period: str | None, today: date
) -> Manifest | None:
    """What the manifest most likely means, where it is missing or faulty: for a partner's own check alone, so that the
    rows are looked at all the same. None where nobody can tell for which period it is.

    :param period: decides, where it is given.
    """
    entries = _parse(taken, contract)[0] if taken.manifest is not None else {}

    def valid(name: str, pattern: re.Pattern[str]) -> str | None:
        value = entries.get(name)
        return value.strip() if isinstance(value, str) and pattern.fullmatch(value.strip()) else None

    period = period or valid("period", _PERIOD) or (taken.stem if _PERIOD.fullmatch(taken.stem) else None)
    if period is None:
        return None
    kind = ManifestKind(valid("kind", re.compile("|".join(ManifestKind))) or ManifestKind.FULL)
    return Manifest(
        partner=partner.id,
        period=period,
        agreement_version=valid("agreement_version", _VERSION) or contract.version,
        # A correction without a number of what it corrects is checked as the full one that it is.
        kind=ManifestKind.FULL if kind in (ManifestKind.CORRECTION, ManifestKind.NIL) else kind,
        extracted_on=_read_day(valid("extracted_on", _DAY)) or today,
        tables=_read_tables(entries.get("tables"), None, contract)[0],
        from_workbook=True,
    )


def stated_partner(taken: TakenDrop, contract: Contract) -> str | None:
    """The partner whom the manifest names, if it can be read; anything may stand there."""
    entries = _parse(taken, contract)[0] if taken.manifest is not None else {}
    value = entries.get("partner")
    return value.strip() if isinstance(value, str) else None


def _parse(taken: TakenDrop, contract: Contract) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    assert taken.manifest is not None
    try:
        text = taken.manifest.path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return {}, (_finding("manifest.encoding"),)
    try:
        entries = _load_json(text) if text.lstrip().startswith("{") else _load_yaml(text)
    except _Duplicate:
        return {}, (_finding("manifest.twice"),)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return {}, (_finding("manifest.form"),)
    if not isinstance(entries, dict):
        return {}, (_finding("manifest.form"),)
    entries = {str(name): value for name, value in entries.items()}
    if taken.manifest.sheet is not None:
        # A sheet has no entries within entries: what is named like a table stands for it.
        tables = {name: entries.pop(name) for name in contract.table_names if name in entries}
        entries |= {"tables": tables} if tables else {}
    return entries, ()


def _load_json(text: str) -> Any:
    parts = 0

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal parts
        parts += 2 * len(found)
        if parts > _MOST_PARTS:
            raise ValueError("too long for a manifest")
        if len({name for name, _ in found}) < len(found):
            raise _Duplicate
        return dict(found)

    return json.loads(text, object_pairs_hook=pairs, parse_int=str, parse_float=str)


def _load_yaml(text: str) -> Any:
    _refuse_harmful(text)
    loader = yaml.BaseLoader(text)  # it makes text, lists and mappings only
    node = loader.get_single_node()
    _refuse_duplicates(node)
    return loader.construct_document(node) if node is not None else None


def _refuse_harmful(text: str) -> None:
    """Stops at the first thing that no manifest needs and that may cost the reader any amount of time.

    An alias stands for all that its anchor marks, so that a few nested ones multiply without end.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.BaseLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if getattr(event, "anchor", None) is not None:  # of an alias, too
            raise ValueError("no anchors in a manifest")
        if depth > _MOST_DEPTH or count > _MOST_PARTS:
            raise ValueError("too deep or too long for a manifest")


def _refuse_duplicates(node: Any) -> None:
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(node.value):
            raise _Duplicate
        for _, value in node.value:
            _refuse_duplicates(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicates(value)


def _check(
    entries: AbstractMapping[str, Any], taken: TakenDrop, partner: Partner, contract: Contract
) -> tuple[Manifest | None, tuple[Finding, ...]]:
    findings: list[Finding] = []
    known = tuple(Manifest.model_fields)
    examples = _EXAMPLES | {"partner": partner.id, "agreement_version": contract.version}
    findings += _unknown_entries(entries, known)

    def text(name: str, pattern: re.Pattern[str]) -> str | None:
        value = entries.get(name)
        if value is None or value == "":
            findings.append(_finding("manifest.entry_missing", name=name, example=examples[name]))
        elif not isinstance(value, str) or not pattern.fullmatch(value.strip()):
            findings.append(_finding("manifest.entry_form", name=name, example=examples[name]))
        else:
            return value.strip()
        return None

    partner_id = text("partner", re.compile(r"[a-z][a-z0-9_]{0,62}"))
    if partner_id is not None and partner_id != partner.id:
        findings.append(_finding("manifest.partner", name=partner.id))
    period = text("period", _PERIOD)
    version = text("agreement_version", _VERSION)
    kind = text("kind", re.compile("|".join(ManifestKind)))
    day = text("extracted_on", _DAY)
    extracted_on = _read_day(day)
    if day is not None and extracted_on is None:
        findings.append(_finding("manifest.entry_form", name="extracted_on", example=_EXAMPLES["extracted_on"]))
    supersedes = None
    if kind == ManifestKind.CORRECTION:
        supersedes = text("supersedes", _SUBMISSION)
    elif entries.get("supersedes") not in (None, "", "null", "~"):
        findings.append(_finding("manifest.supersedes_without_correction"))
    source, source_findings = _read_source(entries.get("pseudonymised"))
    findings += source_findings
    in_sheet = taken.manifest is not None and taken.manifest.sheet is not None
    uncounted = in_sheet and "tables" not in entries
    tables, table_findings = _read_tables(entries.get("tables"), None if uncounted else kind, contract)
    findings += table_findings
    if kind == ManifestKind.NIL and any(file.sheet is None or _has_rows(file) for file in taken.files):
        findings.append(_finding("manifest.nil_with_files"))
    if findings or not (period and version and kind and extracted_on):
        return None, tuple(findings)
    return (
        Manifest(
            partner=partner.id,
            period=period,
            agreement_version=version,
            kind=ManifestKind(kind),
            supersedes=supersedes,
            extracted_on=extracted_on,
            tables=tables,
            from_workbook=in_sheet,
            pseudonymised=source,
        ),
        (),
    )


def _read_source(value: Any) -> tuple[SourceStatement | None, list[Finding]]:
    """What `linkarms pseudonymise` wrote, or nothing where the drop is none of its; numbers stand as text."""
    if value is None:
        return None, []
    faulty = [_finding("manifest.pseudonymised")]
    if not isinstance(value, dict) or set(value) != set(SourceStatement.model_fields):
        return None, faulty
    tables = value["tables"]
    if not isinstance(tables, dict) or not all(isinstance(counts, dict) for counts in tables.values()):
        return None, faulty
    numbers = [value["format"], value["scheme"], *(count for counts in tables.values() for count in counts.values())]
    hashed = isinstance(value["k1_id"], str) and isinstance(value["agreement_digest"], str)
    if not hashed or not all(isinstance(number, str) and _ROWS.fullmatch(number) for number in numbers):
        return None, faulty
    if not _KEY_ID.fullmatch(value["k1_id"]) or not _DIGEST.fullmatch(value["agreement_digest"]):
        return None, faulty
    try:
        return SourceStatement.model_validate(value), []
    except ValueError:  # its text quotes what it read
        return None, faulty


def _has_rows(sheet: TakenFile) -> bool:
    """True where a sheet has more than its heading row."""
    with sheet.path.open("rb") as file:
        filled = (line for line in file if line.strip(b',"\r\n\t '))
        return next(filled, None) is not None and next(filled, None) is not None


def _read_tables(value: Any, kind: str | None, contract: Contract) -> tuple[dict[str, int | None], list[Finding]]:
    if value in (None, "") or value == {}:
        if kind in (None, ManifestKind.NIL):
            return {}, []
        return {}, [_finding("manifest.entry_missing", name="tables", example="person: 812")]
    if not isinstance(value, dict):
        return {}, [_finding("manifest.entry_form", name="tables", example="person: 812")]
    findings = _unknown_entries(value, contract.table_names, "tables")
    tables: dict[str, int | None] = {}
    for name in contract.table_names:
        if name not in value:
            continue
        rows = value[name]
        rows = rows.strip() if isinstance(rows, str) else rows
        if rows == _NIL:
            tables[name] = None
        elif isinstance(rows, str) and _ROWS.fullmatch(rows):
            tables[name] = int(rows)
        else:
            findings.append(_finding("manifest.rows", name=name, table=name))
    if kind == ManifestKind.NIL and any(tables.values()):
        findings.append(_finding("manifest.nil_with_rows"))
    return tables, findings


def _unknown_entries(entries: AbstractMapping[str, Any], known: tuple[str, ...], under: str = "") -> list[Finding]:
    """One finding for each entry that is not known: by its place, with the nearest known name, never as written."""
    findings = []
    where = f" under {under}" if under else ""
    for number, name in enumerate(entries, start=1):
        if name not in known:
            missing = [candidate for candidate in known if candidate not in entries]
            near = difflib.get_close_matches(str(name)[:64].lower(), missing, 1, 0.6)
            hint = f"; is it meant to be {near[0]}?" if near else "."
            findings.append(_finding("manifest.entry_unknown", number=number, where=where, hint=hint))
    return findings


def _read_day(value: str | None) -> date | None:
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        return None


_EXAMPLES = {
    "period": "2026-Q1",
    "kind": "full",
    "supersedes": "sub-0123456789abcdef0123",
    "extracted_on": "2026-04-03",
}

_FAULTS: dict[str, tuple[str, str]] = {
    "manifest.missing": (
        "There is no manifest.",
        "Put manifest.yaml from the template beside the files and fill it in.",
    ),
    "manifest.period_name": (
        "The drop's name is not a period, and there is no manifest to say which period it is for.",
        "Name the folder or .zip after the period, such as 2026-Q1 or 2026-Q1.zip.",
    ),
    "manifest.encoding": (
        "The manifest is not UTF-8 text.",
        "Save it as plain text, UTF-8.",
    ),
    "manifest.form": (
        "The manifest cannot be read as YAML or JSON.",
        "Start from the template: one 'name: value' on each line, table names indented by two spaces under 'tables:'.",
    ),
    "manifest.twice": (
        "An entry of the manifest stands twice.",
        "Keep the one that is right.",
    ),
    "manifest.entry_missing": (
        "The manifest does not say '{name}'.",
        "Add a line such as '{name}: {example}'.",
    ),
    "manifest.entry_form": (
        "The manifest's entry '{name}' does not have the agreed form.",
        "Write it like '{name}: {example}'.",
    ),
    "manifest.entry_unknown": (
        "Entry {number}{where} of the manifest is not one that is known{hint}",
        "Use the names of the template.",
    ),
    "manifest.partner": (
        "The manifest names another partner than the one whose inbox this is ({name}).",
        "Check that the right files are in the drop before anything else, then write 'partner: {name}'.",
    ),
    "manifest.supersedes_without_correction": (
        "The manifest names a submission to supersede, but its kind is not correction.",
        "Write 'kind: correction', or leave 'supersedes' out.",
    ),
    "manifest.rows": (
        "The manifest does not give the number of rows of {name}.",
        "Write '{name}: 812' with the number of rows without the heading, or '{name}: nil' for nothing to report.",
    ),
    "manifest.nil_with_files": (
        "The manifest declares that there is nothing to report, but there are files.",
        "Leave the files out, or declare 'kind: full' with their rows.",
    ),
    "manifest.pseudonymised": (
        "The manifest's entry 'pseudonymised' is not as `linkarms pseudonymise` writes it.",
        "Leave it out of a manifest of your own. What `linkarms pseudonymise` makes is dropped unchanged.",
    ),
    "manifest.nil_with_rows": (
        "The manifest declares that there is nothing to report, but it counts rows.",
        "Leave 'tables' out, or declare 'kind: full'.",
    ),
}


def _finding(code: str, *, table: str | None = None, **values: object) -> Finding:
    sentence, mend = _FAULTS[code]
    return Finding(
        code=code,
        scope=Scope.SUBMISSION,
        file=FILE,
        table=table,
        sentence=sentence.format(**values),
        mend=mend.format(**values),
    )
