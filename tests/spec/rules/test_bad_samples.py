"""One bad sample for each rule of both agreements that ship: it is what each rule means, told as a submission.

The row check in Polars and the gate in Great Expectations see the same samples and have to say the same.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from expectations import CheckContext, check_tables
from expectations.forms import read_cell
from expectations.suites import Mode, ask_rules
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import Agreement, OnFailure, Rule, RuleKind, Table
from synthetic.bad_samples import BadSample, bad_samples

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = {"harbour_east": default_agreement_folder(), "hmis": ROOT / "examples" / "hmis"}
Made = list[tuple[Rule, BadSample | None]]


@pytest.fixture(scope="module", params=FOLDERS)
def agreement(request: pytest.FixtureRequest) -> Agreement:
    return load_agreement(FOLDERS[request.param])


@pytest.fixture(scope="module")
def samples(agreement: Agreement) -> Made:
    return list(bad_samples(agreement, agreement.partners[0].id, agreement.calendar.periods[0].id))


def context_of(agreement: Agreement, bad: BadSample) -> CheckContext:
    extracted_on = date.fromisoformat(bad.sample.manifest["extracted_on"])
    return CheckContext(agreement.calendar.period(bad.sample.manifest["period"]), extracted_on)


def frames_of(bad: BadSample) -> dict[str, pl.DataFrame]:
    return {
        name: frame.with_columns(_row=pl.int_range(2, len(frame) + 2, dtype=pl.Int64))
        for name, frame in bad.sample.tables.items()
    }


def test_every_rule_has_a_bad_sample_but_those_that_nothing_can_break(samples: Made) -> None:
    without = [rule for rule, bad in samples if bad is None]
    assert all(rule.kind is RuleKind.ROW_COUNT and rule.minimum == "0" for rule in without)
    assert len(samples) > 90


def test_each_bad_sample_breaks_its_rule_and_nothing_else(agreement: Agreement, samples: Made) -> None:
    """Polars names exactly the rule, in exactly the rows, and what was said to follow."""
    wrong = {}
    alone = 0
    for rule, bad in samples:
        if bad is None:
            continue
        result = check_tables(frames_of(bad), agreement.contract, agreement.codelists, context_of(agreement, bad))
        found = {finding.code: finding for finding in result.findings}
        rows = found[rule.code].first_rows if rule.code in found else None
        if set(found) != {rule.code} | bad.also or (bad.rows and rows != bad.rows):
            wrong[rule.code] = (sorted(found), sorted(bad.also), rows, bad.rows)
        alone += not bad.also
    assert wrong == {}
    assert alone > 0.8 * len(samples)


# What follows of necessity: an over-long number is in no parent's table and may not match its pattern; a day outside
# the limits lies outside the period as well; rows wait for their parents; rows are held back for some rule.
FOLLOWS = {
    RuleKind.LENGTH: {"pattern", "reference"},
    RuleKind.RANGE: {"within_period", "date_order"},
    RuleKind.DATE_ORDER_ACROSS: {"within_period"},
    RuleKind.TOTAL: {"held_back"},
    RuleKind.ROW_COUNT: {"row_count"},
    RuleKind.HELD_BACK_SHARE: {"required", "length", "type", "code"},
}


def test_what_follows_from_a_broken_rule_is_of_a_kind_that_has_to(samples: Made) -> None:
    also = {(rule.kind, code.rpartition(".")[2]) for rule, bad in samples if bad for code in bad.also}
    assert [entry for entry in also if entry[1] not in FOLLOWS.get(entry[0], set())] == []


def typed(frames: Mapping[str, pl.DataFrame], agreement: Agreement) -> dict[str, pl.DataFrame]:
    """All rows in the contract's types, the broken ones too: as the gate would see them if the row check failed."""
    return {
        name: frame.select(
            "_row",
            *(
                read_cell(column.name, column.type).alias(column.name)
                for column in agreement.contract.table(name).columns
            ),
        )
        for name, frame in frames.items()
    }


def asked_alone(table: Table, rule: Rule) -> Table:
    """The table with that rule, and beside it that a part of its key is filled, which the samples keep.

    A rule that only notes is held here, so that both checkers say whether it holds.
    """
    strict = rule.model_copy(update={"on_failure": OnFailure.HOLD_BACK})
    beside = [r for r in table.rules if r.kind is RuleKind.REQUIRED and r.columns[0] in table.key and r != rule]
    return table.model_copy(update={"rules": (strict, *beside[:1])})


def test_great_expectations_fails_each_bad_sample_by_the_same_rule(agreement: Agreement, samples: Made) -> None:
    passed = []
    for rule, bad in samples:
        if bad is None or not rule.is_row_rule:
            continue
        table, context = agreement.contract.table(rule.table), context_of(agreement, bad)
        frames = frames_of(bad)
        text = rule.kind in (RuleKind.TYPE, RuleKind.CODE, RuleKind.PATTERN, RuleKind.LENGTH)
        mode = Mode.TEXT if text else Mode.TYPED
        seen = frames if mode is Mode.TEXT else typed(frames, agreement)
        answers = ask_rules(asked_alone(table, rule), seen, agreement.contract, agreement.codelists, context, mode)
        if {answer.code for answer in answers if not answer.holds} != {rule.code}:
            passed.append((rule.code, answers))
    assert passed == []
