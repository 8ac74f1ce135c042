import re
from collections.abc import Callable

import polars as pl
import pytest

from protocol.errors import AgreementError
from protocol.model import Agreement, ColumnType, OnFailure, Rule, RuleKind
from protocol.rules import declared_rule, rules_of

Edit = Callable[[str, str, str], None]


def find(agreement: Agreement, code: str) -> Rule:
    table = agreement.contract.table(code.partition(".")[0])
    return next(rule for rule in table.rules if rule.code == code)


def test_every_rule_has_a_code_of_its_own(example: Agreement) -> None:
    codes = [rule.code for table in example.contract.tables for rule in table.rules]
    assert len(codes) == len(set(codes)) > 150


def test_every_rule_says_in_plain_words_what_is_wrong_and_how_to_mend_it(example: Agreement) -> None:
    for table in example.contract.tables:
        for rule in table.rules:
            assert rule.table == table.name
            for text in (rule.sentence, rule.mend):
                assert text.endswith((".", ")")), rule.code
                assert "None" not in text, rule.code
                assert not re.search(r"regex|regular expression|null|NaN|boolean|UTF", text), rule.code
            assert all(name in rule.sentence for name in rule.columns), rule.code


def test_sentence_of_a_rule_shows_no_example_but_the_agreement_s(example: Agreement) -> None:
    for table in example.contract.tables:
        for rule in table.rules:
            assert rule.example is None or rule.example in {column.example for column in table.columns}


def test_required_column_is_checked_and_an_optional_one_is_not(example: Agreement) -> None:
    codes = {rule.code for rule in example.contract.table("enrolment").rules}
    assert "enrolment.started_on.required" in codes
    assert "enrolment.ended_on.required" not in codes


def test_type_is_checked_where_text_could_fail_to_be_read(example: Agreement) -> None:
    for table in example.contract.tables:
        readable = {column.name for column in table.columns if column.type in (ColumnType.TEXT, ColumnType.CODE)}
        typed = {rule.columns[0] for rule in table.rules if rule.kind is RuleKind.TYPE}
        assert typed == set(table.column_names) - readable


def test_code_rule_carries_the_codes_of_its_list(example: Agreement) -> None:
    rule = find(example, "person.sex.code")
    assert rule.codes == ("female", "male", "indeterminate", "unknown")
    assert rule.codelist == "sex"
    assert "female, male" in rule.mend
    assert "write unknown" in rule.mend


def test_long_code_list_is_named_and_not_written_out(
    edit: Edit, folder: object, signed: Callable[[], Agreement]
) -> None:
    for number in range(9):
        edit("codelists/outcome.yaml", "codes:", f"codes:\n  - {{code: other_{number}, label: Other}}")
    rule = find(signed(), "outcome.outcome.code")
    assert len(rule.codes) == 18
    assert "other_3" not in rule.mend
    assert "in your template" in rule.mend


def test_malformed_identifier_is_noted_and_its_row_kept(example: Agreement) -> None:
    rule = find(example, "person.nhs_number.pattern")
    assert rule.on_failure is OnFailure.NOTE
    assert rule.sentence == (
        "nhs_number is not an NHS number of ten digits. The row is kept, and this cell counts as missing."
    )
    assert find(example, "person.local_person_id.pattern").on_failure is OnFailure.HOLD_BACK


def test_missing_parent_holds_the_row_back(example: Agreement) -> None:
    rule = find(example, "assessment_item.assessment_number.reference")
    assert rule.on_failure is OnFailure.HOLD_BACK
    assert (rule.to_table, rule.to_columns) == ("assessment", ("assessment_number",))


def test_key_of_two_columns_makes_one_rule(example: Agreement) -> None:
    rule = find(example, "assessment_item.assessment_number+item.unique")
    assert rule.columns == ("assessment_number", "item")
    assert rule.on_failure is OnFailure.HOLD_BACK
    assert "Rows that are the same in every column count once" in rule.mend


def test_each_table_limits_the_share_that_may_be_held_back(example: Agreement) -> None:
    for table in example.contract.tables:
        rule = find(example, f"{table.name}.held_back_share")
        assert (rule.share, rule.on_failure) == (0.2, OnFailure.REFUSE)


def test_declared_checks_of_the_contract_become_rules(example: Agreement) -> None:
    completeness = find(example, "person.postcode.completeness")
    assert (completeness.share, completeness.on_failure) == (0.8, OnFailure.NOTE)
    count = find(example, "person.row_count")
    assert (count.minimum, count.share, count.on_failure) == ("1", 0.5, OnFailure.REFUSE)
    order = find(example, "enrolment.started_on+ended_on.date_order")
    assert order.columns == ("started_on", "ended_on")
    assert "ended_on lies before started_on" in order.sentence
    assert find(example, "stage_event.entered_on.within_period").on_failure is OnFailure.HOLD_BACK
    assert find(example, "person.date_of_birth.not_after_extract").on_failure is OnFailure.HOLD_BACK


def test_contract_may_say_a_rule_s_effect_and_words_itself(edit: Edit, signed: Callable[[], Agreement]) -> None:
    edit(
        "v1/casework.odcs.yaml",
        "implementation: {kind: date_order, columns: [date_of_birth, died_on]}",
        "implementation: {kind: date_order, columns: [date_of_birth, died_on]}\n"
        "        description: died_on is before date_of_birth, which cannot be.\n"
        "        customProperties:\n"
        "          - {property: onFailure, value: note}\n"
        "          - {property: mend, value: Look at both dates.}",
    )
    rule = find(signed(), "person.date_of_birth+died_on.date_order")
    assert rule.on_failure is OnFailure.NOTE
    assert rule.sentence == "died_on is before date_of_birth, which cannot be."
    assert rule.mend == "Look at both dates."


def test_two_rules_with_one_code_are_refused(example: Agreement) -> None:
    table = example.contract.table("cost")
    twice = [declared_rule(table, RuleKind.WITHIN_PERIOD, ("incurred_on",))] * 2
    codelists = {codelist.name: codelist for codelist in example.codelists}
    with pytest.raises(AgreementError, match=r"cost\.incurred_on\.within_period"):
        rules_of(table, codelists, twice)


def test_implied_rule_cannot_be_declared_besides(example: Agreement) -> None:
    with pytest.raises(AgreementError, match="cannot be declared"):
        declared_rule(example.contract.table("cost"), RuleKind.TYPE, ("amount_gbp",))


def test_patterns_mean_the_same_to_both_engines(example: Agreement) -> None:
    for table in example.contract.tables:
        for rule in table.rules:
            if rule.pattern is None:
                continue
            good = rule.example or ""
            samples = [good, good + "\n", f" {good}", good.lower(), "", "?", "12", "AB1 2CD", "x@y", "x@y.z", "é"]
            ours = [re.fullmatch(rule.pattern, sample) is not None for sample in samples]
            theirs = pl.Series(samples).str.contains(rf"\A(?:{rule.pattern})\z").to_list()
            assert ours == theirs, rule.code
            assert ours[0], rule.code
            assert not all(ours), rule.code
