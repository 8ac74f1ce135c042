"""The hub's check of a drop whose identifiers were replaced at the partner's own site.

What can still be checked is checked: that it was made to the present text, scheme and K1; that there is nothing in it
beyond the allow-list; types and codes of what is kept, keys, references, volumes, and that match keys and encodings are
of persons that may be linked. Rules that need identifiers were checked at the source, and the receipt says so.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from expectations.receipt import merge_findings
from expectations.result import CheckContext, CheckResult, TableCounts, count_unread_rows, with_reading
from expectations.row_rules import check_tables
from expectations.submission_rules import figure_finding, work_out_figures
from expectations.suites import gate
from intake.leak_scan import scan_for_identifiers
from intake.manifest import Manifest, ManifestKind, SourceStatement
from intake.reading import read_tables
from intake.taking import TakenDrop
from protocol.at_source import (
    BESIDE_TABLES,
    ENCODINGS,
    FINDING_COLUMNS,
    FINDINGS,
    FORMAT,
    MATCH_KEYS,
    NUMBER,
    TOKEN,
    codelists_at_hub,
    contract_at_hub,
    findings_of_source,
    left_to_source,
    month_columns,
    say_in_agreed_words,
)
from protocol.finding import Finding, Scope
from protocol.model import Agreement, Contract, Partner, RuleKind
from protocol.model import Mapping as PartnerMapping
from protocol.pool import PERSON_REF
from protocol.versions import contract_for_upgraded, terms_of

if TYPE_CHECKING:
    from pseudonymise.keys import KeyRing

FindRowKeys = Callable[[str, pl.Series], pl.Series]
"""Takes a table's name and row keys of the pool; answers which of them are in force from earlier submissions."""

_SCHEMA = {MATCH_KEYS: ("person_ref", "key_name", "token"), FINDINGS: FINDING_COLUMNS}
_MOST_ROWS_TOLD = 20
_MOST_FINDINGS = 2000
_ROWS = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, repr=False)
class SourceCheck:
    """What the hub found. ``result`` has accepted rows, typed, with inner tokens; None where none were read."""

    result: CheckResult | None
    findings: tuple[Finding, ...]
    tokens: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """``match_keys`` and ``encodings`` (packed) of the accepted persons."""


class _Faulty(Exception):
    """A file beside the tables is not as it should be; carries the finding's code."""


def check_source_drop(
    taken: TakenDrop,
    manifest: Manifest,
    agreement: Agreement,
    partner: Partner,
    key_ring: "KeyRing",
    find_row_keys: FindRowKeys,
    *,
    previous_counts: Mapping[str, int],
    shrink_confirmed: bool,
) -> SourceCheck:
    """Check a taken drop whose manifest has the entry ``pseudonymised``."""
    statement = manifest.pseudonymised
    assert statement is not None
    if findings := tuple(_check_terms(statement, manifest, agreement, key_ring)):
        return SourceCheck(None, findings)
    version = manifest.agreement_version
    base = agreement.contract if version == agreement.version else contract_for_upgraded(agreement)
    contract, codelists = contract_at_hub(base), codelists_at_hub(agreement.codelists)
    tables, read = read_tables(
        replace(taken, files=tuple(file for file in taken.files if file.name not in BESIDE_TABLES)),
        manifest,
        contract,
        partner.model_copy(update={"mapping": PartnerMapping()}),
    )
    tables = {name: _with_numbers(frame) for name, frame in tables.items()}
    read = (*read, *scan_for_identifiers(tables, contract))
    context = with_reading(
        CheckContext(
            period=agreement.calendar.period(manifest.period),
            extracted_on=manifest.extracted_on,
            kind=manifest.kind.value,
            other_periods=agreement.calendar.periods,
            find_known_keys=_known_keys(find_row_keys, key_ring),
            previous_counts=previous_counts,
            nil_tables=frozenset(manifest.nil_tables),
            shrink_confirmed=shrink_confirmed,
        ),
        read,
        tables,
    )
    result = count_unread_rows(check_tables(tables, contract, codelists, context), read)
    findings = merge_findings(read, result.findings, tuple(_check_months(result, base)))
    tokens: dict[str, pl.DataFrame] = {}
    told: tuple[Finding, ...] = ()
    if manifest.kind is not ManifestKind.NIL:
        try:
            told = findings_of_source(_read_findings(taken), terms_of(agreement, version).contract)
            if not result.refused:
                tokens = _read_tokens(taken, tables, result, base)
        except _Faulty as faulty:
            findings = (*findings, _finding(str(faulty)))
    if not _refuses(findings):
        asked_again = gate(
            result.accepted,
            contract,
            codelists,
            context,
            received=result.received,
            repeated={table: counts.repeated for table, counts in result.counts.items()},
            undecided=result.undecided,
        )
        findings = merge_findings(findings, asked_again)
    result = replace(result, counts=_join_counts(statement, result.counts))
    findings = merge_findings(findings, _held_back_shares(result, base, context))
    findings = say_in_agreed_words(findings, base)
    note = _note(statement, base)
    return SourceCheck(result, merge_findings(findings, told, (note,)), tokens)


def _refuses(findings: tuple[Finding, ...]) -> bool:
    return any(finding.scope in (Scope.SUBMISSION, Scope.FILE) for finding in findings)


# --- what it was made with --------------------------------------------------------------------------------------------


def _check_terms(
    statement: SourceStatement, manifest: Manifest, agreement: Agreement, key_ring: "KeyRing"
) -> Iterator[Finding]:
    from pseudonymise.normalise import SCHEME

    if statement.format != FORMAT:
        yield _finding("source.format")
    if statement.scheme != SCHEME:
        yield _finding("source.scheme")
    if statement.k1_id != key_ring.k1_id:
        yield _finding("source.k1", present=key_ring.k1_id)
    if statement.agreement_digest != agreement.digest:
        yield _finding("source.agreement")
    known = {*agreement.contract.table_names, *terms_of(agreement, manifest.agreement_version).contract.table_names}
    sound = all(
        counts.received == counts.accepted + counts.held_back + counts.repeated for counts in statement.tables.values()
    )
    in_files = all(
        name in statement.tables and statement.tables[name].accepted == (rows or 0)
        for name, rows in manifest.tables.items()
        if rows is not None or name in statement.tables
    )
    if not sound or not in_files or not set(statement.tables) <= known:
        yield _finding("source.counts")


def _note(statement: SourceStatement, contract: Contract) -> Finding:
    rules = sum(len(table.rules) for table in contract.tables)
    return Finding(
        code="source.pseudonymised",
        scope=Scope.NOTE,
        sentence="Identifiers and your own numbers were replaced by tokens at your own site, under the key "
        f"{statement.k1_id}, before anything was sent. {left_to_source(contract)} of {rules} rules were checked there "
        "alone, since they need what did not leave; the hub has checked the others again.",
        mend="Nothing need be done.",
    )


# --- tables -----------------------------------------------------------------------------------------------------------


def _with_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows by their numbers in the partner's own file, where these can be read."""
    if NUMBER not in frame.columns:
        return frame
    own = pl.when(pl.col(NUMBER).str.contains(r"\A[0-9]{1,12}\z")).then(pl.col(NUMBER)).cast(pl.Int64)
    return frame.with_columns(_row=pl.coalesce(own, "_row"))


def _known_keys(find_row_keys: FindRowKeys, key_ring: "KeyRing") -> Callable[[str, pl.DataFrame], pl.Series]:
    def find(table_name: str, keys: pl.DataFrame) -> pl.Series:
        from pseudonymise.at_source import close_row_keys

        row_keys = close_row_keys(keys["row_key"], table_name, key_ring)
        return row_keys.is_in(find_row_keys(table_name, row_keys).implode())

    return find


def _check_months(result: CheckResult, contract: Contract) -> Iterator[Finding]:
    for name, frame in result.accepted.items():
        for column in month_columns(contract.table(name)):
            days = frame.filter(pl.col(column).dt.day() != 1)
            if days.height:
                yield Finding(
                    code=f"{name}.{column}.pattern",
                    scope=Scope.SUBMISSION,
                    table=name,
                    file=f"{name}.csv",
                    sentence=f"{column} holds days, and only months may leave your site.",
                    mend="Pseudonymise the extract again and drop the file that it makes, unchanged.",
                    rows_affected=days.height,
                )


def _join_counts(statement: SourceStatement, counts: Mapping[str, TableCounts]) -> dict[str, TableCounts]:
    """Rows of the partner's own files: held back there or here."""
    joined = {}
    for name in dict.fromkeys([*statement.tables, *counts]):
        there, here = statement.tables.get(name), counts.get(name, TableCounts(0, 0, 0))
        if there is None:
            joined[name] = here
            continue
        joined[name] = TableCounts(
            received=there.received,
            accepted=there.received - there.held_back - there.repeated - here.held_back - here.repeated,
            held_back=there.held_back + here.held_back,
            repeated=there.repeated + here.repeated,
        )
    return joined


def _held_back_shares(result: CheckResult, contract: Contract, context: CheckContext) -> tuple[Finding, ...]:
    shares = [
        table.model_copy(update={"rules": tuple(rule for rule in table.rules if rule.kind is RuleKind.HELD_BACK_SHARE)})
        for table in contract.tables
    ]
    received = {name: count.received for name, count in result.counts.items()}
    held_back = {name: count.held_back for name, count in result.counts.items()}
    figures = work_out_figures({}, received, held_back, contract.model_copy(update={"tables": tuple(shares)}), context)
    return tuple(figure_finding(figure, context) for figure in figures if not figure.holds)


# --- files beside the tables ------------------------------------------------------------------------------------------


def _read_beside(taken: TakenDrop, name: str, columns: tuple[str, ...]) -> pl.DataFrame:
    file = taken.file(name)
    if file is None:
        raise _Faulty("source.file_missing")
    try:
        frame = pl.read_csv(file.path, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        raise _Faulty("source.file_form") from None
    if tuple(frame.columns) != columns:
        raise _Faulty("source.file_form")
    return frame


def _read_findings(taken: TakenDrop) -> list[dict[str, Any]]:
    frame = _read_beside(taken, FINDINGS, FINDING_COLUMNS)
    if frame.height > _MOST_FINDINGS:
        raise _Faulty("source.file_form")
    return [_read_finding(row) for row in frame.iter_rows(named=True)]


def _read_finding(row: Mapping[str, str | None]) -> dict[str, Any]:
    first_rows = (row["first_rows"] or "").split()
    if not all(_ROWS.fullmatch(number) for number in (row["rows"] or "", *first_rows)):
        raise _Faulty("source.file_form")
    if row["scope"] not in (Scope.ROW, Scope.NOTE):
        raise _Faulty("source.file_form")
    return {
        "code": row["code"] or "",
        "scope": Scope(row["scope"]),
        "rows": int(row["rows"] or 0),
        "first_rows": tuple(map(int, first_rows[:_MOST_ROWS_TOLD])),
    }


def _read_tokens(
    taken: TakenDrop, tables: Mapping[str, pl.DataFrame], result: CheckResult, contract: Contract
) -> dict[str, pl.DataFrame]:
    """Match keys and encodings of the accepted persons; those of rows that were held back here are left out."""
    from pseudonymise.at_source import find_linked_refs, match_key_names, unpack_encodings
    from pseudonymise.encoding import inner_schema

    linked = find_linked_refs(result.accepted, contract)
    accepted = _person_refs(result.accepted)
    waiting = _person_refs(tables).filter(~_person_refs(tables).is_in(accepted.implode()))
    may_stand = pl.concat([linked, waiting]).unique()
    match_keys = _read_beside(taken, MATCH_KEYS, _SCHEMA[MATCH_KEYS])
    encodings = _read_beside(taken, ENCODINGS, tuple(inner_schema()))
    for refs in (match_keys[PERSON_REF], encodings[PERSON_REF]):
        if refs.null_count() or not refs.is_in(may_stand.implode()).all():
            raise _Faulty("source.tokens_of_others")
    if match_keys.is_duplicated().any() or _one_is_twice(result.accepted, contract):
        raise _Faulty("source.twice")
    sound = match_keys["token"].str.contains(rf"\A{TOKEN}\z").fill_null(value=False).all()
    if not sound or not match_keys["key_name"].is_in(sorted(match_key_names())).fill_null(value=False).all():
        raise _Faulty("source.file_form")
    try:
        unpack_encodings(encodings)
    except ValueError:
        raise _Faulty("source.file_form") from None
    kept = {
        "match_keys": match_keys.filter(match_keys[PERSON_REF].is_in(linked.implode())),
        "encodings": encodings.filter(encodings[PERSON_REF].is_in(linked.implode())),
    }
    if not kept["encodings"][PERSON_REF].equals(linked):
        raise _Faulty("source.tokens_missing")
    return kept


def _one_is_twice(accepted: Mapping[str, pl.DataFrame], contract: Contract) -> bool:
    """Whether a client stands twice in a table that has one row for each."""
    one_row_each = [name for name in accepted if contract.table(name).key == (contract.table(name).person_column,)]
    return any(accepted[name][PERSON_REF].is_duplicated().any() for name in one_row_each)


def _person_refs(tables: Mapping[str, pl.DataFrame]) -> pl.Series:
    found = [pl.Series(PERSON_REF, [], dtype=pl.String)]
    found += [frame[PERSON_REF].drop_nulls() for frame in tables.values() if PERSON_REF in frame.columns]
    return pl.concat(found).unique()


# --- findings ---------------------------------------------------------------------------------------------------------

_AGAIN = "Pseudonymise the extract again with `linkarms pseudonymise` and drop the file that it makes, unchanged."
_FAULTS: dict[str, tuple[str, str]] = {
    "source.unsealed": (
        "The drop holds tokens made at your own site and is not sealed. Whoever holds the partnership's key can guess "
        "identifiers from such tokens.",
        "Drop the .sealed file that `linkarms pseudonymise` writes, as it is. Tell the coordinator that this one came "
        "unsealed.",
    ),
    "source.format": (
        "The drop was made by a version of Linkarms whose form is not taken here.",
        "Install the version that the coordinator names, and pseudonymise the extract again.",
    ),
    "source.scheme": (
        "The tokens were made by another scheme of normalisation than the hub's, so that nobody could be recognised.",
        "Install the version that the coordinator names, and pseudonymise the extract again.",
    ),
    "source.k1": (
        "The tokens were made with another key than the partnership's present one ({present}).",
        "Ask the coordinator for the present K1, and pseudonymise the extract again.",
    ),
    "source.agreement": (
        "The extract was checked against another text of the agreement than the one that is in force.",
        "Ask the coordinator for the present text, and pseudonymise the extract again.",
    ),
    "source.counts": (
        "The numbers of rows that the manifest states of the check at your site do not fit to each other.",
        _AGAIN,
    ),
    "source.file_missing": ("A file that `linkarms pseudonymise` writes beside the tables is missing.", _AGAIN),
    "source.file_form": (
        "A file beside the tables does not have the form in which `linkarms pseudonymise` writes it.",
        _AGAIN,
    ),
    "source.tokens_of_others": (
        "There are tokens for linking that belong to none of the clients who may be linked.",
        _AGAIN,
    ),
    "source.twice": ("A client, or a token for linking, stands twice where it can stand once.", _AGAIN),
    "source.tokens_missing": ("Tokens for linking are missing, or stand twice or in another order.", _AGAIN),
}


def _finding(code: str, **values: str) -> Finding:
    sentence, mend = _FAULTS[code]
    return Finding(code=code, scope=Scope.SUBMISSION, sentence=sentence.format(**values), mend=mend)


def unsealed_finding() -> Finding:
    """Why a drop of this kind is refused that was not sealed."""
    return _finding("source.unsealed")
