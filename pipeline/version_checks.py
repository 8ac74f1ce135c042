"""A submission checked by the version that it states, carried over to the agreement's own version, and checked again.

What is told stays in the terms of the version that was submitted: its tables, its columns, the rows of the partner's
own file. A row that is good by the earlier version and not by the agreement's own is held back, and the finding
(``upgrade.<rule>``) names the upgrade as the cause.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from expectations.result import CheckContext, CheckResult, TableCounts
from expectations.row_rules import check_tables
from intake.upgrade import upgrade_tables
from protocol.finding import Finding, Scope
from protocol.model import Agreement, CodeList, Contract, RuleKind
from protocol.versions import contract_for_upgraded, submitted_place, terms_of

PREFIX = "upgrade."


@dataclass(frozen=True)
class VersionCheck:
    """What became of a submission's rows, and the terms in which those that go on can be asked again."""

    result: CheckResult
    """Counts, findings and held-back rows by the version that was submitted; accepted rows by the agreement's own."""
    contract: Contract
    """What the accepted rows keep."""
    codelists: tuple[CodeList, ...]
    context: CheckContext
    agreement: Agreement
    carried_over: bool

    def tell(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Findings over the accepted rows in the terms of the version that was submitted, without what was told."""
        if not self.carried_over:
            return tuple(findings)
        return _tell(self.agreement, findings, self.result.findings)


def check_in_version(
    tables: dict[str, pl.DataFrame],
    agreement: Agreement,
    version: str,
    make_context: Callable[[Contract], CheckContext],
    *,
    unreadable: bool = False,
) -> VersionCheck:
    """Check tables of text by ``version``; rows of the earlier one are carried over and checked by the agreement's own.

    ``tables``: as :func:`expectations.check_tables` takes them, in that version's terms. ``make_context`` gives the
    manifest's side of the check for a contract, which is asked for both versions. ``unreadable``: the reader has
    refused the submission already, so that nothing is carried over. KeyError for a version that the agreement does not
    speak of.
    """
    terms = terms_of(agreement, version)
    first = check_tables(tables, terms.contract, terms.codelists, make_context(terms.contract))
    if version == agreement.version:
        return VersionCheck(
            first, terms.contract, terms.codelists, make_context(terms.contract), agreement, carried_over=False
        )
    contract = _without_open_totals(contract_for_upgraded(agreement), first)
    codelists = tuple(_always_in_force(codelist) for codelist in agreement.codelists)
    context = make_context(contract)
    if first.refused or unreadable:
        return VersionCheck(first, contract, codelists, context, agreement, carried_over=True)
    second = check_tables(upgrade_tables(first.accepted, agreement), contract, codelists, context)
    return VersionCheck(_join(agreement, first, second), contract, codelists, context, agreement, carried_over=True)


def _without_open_totals(contract: Contract, first: CheckResult) -> Contract:
    """The contract without totals over rows some of which were held back already: the rest adds up to less."""
    open_ = {table for table, counts in first.counts.items() if counts.held_back}
    tables = [
        table.model_copy(
            update={"rules": tuple(r for r in table.rules if not (r.kind is RuleKind.TOTAL and r.to_table in open_))}
        )
        for table in contract.tables
    ]
    return contract.model_copy(update={"tables": tuple(tables)})


def _always_in_force(codelist: CodeList) -> CodeList:
    """The list without dates: since when partners write a new code says nothing of rows that had another one."""
    codes = tuple(code.model_copy(update={"valid_from": None, "valid_to": None}) for code in codelist.codes)
    return codelist.model_copy(update={"codes": codes})


def _join(agreement: Agreement, first: CheckResult, second: CheckResult) -> CheckResult:
    """Both checks as one: a row is accepted that both accept."""
    counts = dict(first.counts)
    for table, after in second.counts.items():
        before = counts[table]
        counts[table] = TableCounts(
            received=before.received,
            accepted=after.accepted,
            held_back=before.held_back + after.held_back,
            repeated=before.repeated + after.repeated,
        )
    told = _tell(agreement, second.findings, first.findings)
    held_back = pl.concat([first.held_back, second.held_back.with_columns(rule=pl.lit(PREFIX) + pl.col("rule"))])
    order = {table: place for place, table in enumerate(first.counts)}
    place = pl.col("table").replace_strict(order, return_dtype=pl.Int64)
    return replace(
        second,
        held_back=held_back.sort([place, pl.col("row"), pl.col("rule")], maintain_order=True),
        findings=(*first.findings, *told),
        counts=counts,
    )


def _tell(agreement: Agreement, findings: Sequence[Finding], before: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings by the agreement's own version as the partner can follow them; notes that it has already are left
    out, since most rules are the same in both versions."""
    noted = {finding.code for finding in before if finding.scope is Scope.NOTE}
    told = []
    for finding in findings:
        translated = _translate(agreement, finding)
        if finding.scope is not Scope.NOTE or _code_as_submitted(finding, translated.columns) not in noted:
            told.append(translated)
    return tuple(told)


def _code_as_submitted(finding: Finding, columns: Sequence[str]) -> str:
    """The code that the same rule has in the earlier version, where its columns have other names."""
    own, there = "+".join(finding.columns), "+".join(columns)
    return finding.code.replace(f".{own}.", f".{there}.", 1) if own and there else finding.code


def _translate(agreement: Agreement, finding: Finding) -> Finding:
    assert agreement.earlier is not None
    before, after = agreement.earlier.contract.version, agreement.version
    columns = finding.columns
    called = ""
    if finding.table is not None:
        columns = submitted_place(agreement.earlier.upgrade, finding.table, finding.columns)
        renamed = [
            f"{new} is called {old[0]} in your file."
            for new in finding.columns
            if (old := submitted_place(agreement.earlier.upgrade, finding.table, (new,))) and old[0] != new
        ]
        called = " " + " ".join(renamed) if renamed else ""
    what = "these rows break a rule" if finding.scope is Scope.ROW else "the submission meets a rule"
    return finding.model_copy(
        update={
            "code": PREFIX + finding.code,
            "columns": columns,
            "sentence": f"Carried over from version {before} to version {after}, {what} of version {after}: "
            f"{finding.sentence}",
            "mend": f"{finding.mend}{called}",
        }
    )
