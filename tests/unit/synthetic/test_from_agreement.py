"""A sample made from an agreement breaks none of its rules, whatever the agreement."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expectations.result import CheckContext, CheckResult
from expectations.row_rules import check_tables
from protocol.errors import AgreementError
from protocol.loading import load_agreement
from protocol.model import Agreement, Code, CodeList, Column, ColumnType, Contract, Reference, RuleKind, Table
from protocol.rules import declared_rule, join_rules, rules_of
from protocol.starting import start_agreement
from synthetic.from_agreement import Sample, make_sample, write_drop
from synthetic.patterns import draw_text

ROOT = Path(__file__).resolve().parents[3]


def check(agreement: Agreement, sample: Sample) -> CheckResult:
    frames = {
        name: frame.with_columns(_row=pl.int_range(2, len(frame) + 2, dtype=pl.Int64))
        for name, frame in sample.tables.items()
    }
    context = CheckContext(
        agreement.calendar.period(sample.manifest["period"]), date.fromisoformat(sample.manifest["extracted_on"])
    )
    return check_tables(frames, agreement.contract, agreement.codelists, context)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Agreement:
    """The starter with its open decisions made."""
    folder = tmp_path_factory.mktemp("starter") / "agreement"
    files = start_agreement(folder, "lakeside", "Lakeside", first_quarter="2026-Q1", years=1, today=date(2026, 1, 2))
    for path in files:
        path.write_text(path.read_text(encoding="utf-8").replace("TO DECIDE", "Decided so"), encoding="utf-8")
    return load_agreement(folder)


@pytest.fixture(params=["harbour_east", "hmis", "starter"])
def any_agreement(request: pytest.FixtureRequest, agreement: Agreement, starter: Agreement) -> Agreement:
    hmis = ROOT / "examples" / "hmis"
    return {"harbour_east": lambda: agreement, "starter": lambda: starter, "hmis": lambda: load_agreement(hmis)}[
        request.param
    ]()


@pytest.mark.parametrize(("rows", "seed"), [(1, 1), (7, 2), (60, 3), (150, 20260401)])
def test_sample_of_any_agreement_breaks_no_rule(any_agreement: Agreement, rows: int, seed: int) -> None:
    partner = any_agreement.partners[seed % len(any_agreement.partners)]
    sample = make_sample(any_agreement, partner.id, any_agreement.calendar.periods[0].id, rows=rows, seed=seed)
    result = check(any_agreement, sample)
    assert [(finding.code, finding.scope) for finding in result.findings] == []
    assert set(sample.tables) == set(any_agreement.contract.table_names)
    assert len(sample.tables["person"]) == rows


def test_sample_is_written_as_a_drop_and_again_with_the_same_bytes(agreement: Agreement, tmp_path: Path) -> None:
    sample = make_sample(agreement, "harbour_trust", "2026-Q1", rows=30, seed=4)
    folder = write_drop(sample, tmp_path / "2026-Q1")
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = write_drop(make_sample(agreement, "harbour_trust", "2026-Q1", rows=30, seed=4), tmp_path / "again")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == first
    assert sorted(first) == sorted([*(f"{name}.csv" for name in agreement.contract.table_names), "manifest.yaml"])


def test_partners_samples_of_one_seed_share_people_and_no_client_number(agreement: Agreement) -> None:
    one, two = (
        make_sample(agreement, partner.id, "2026-Q1", rows=40, seed=9).tables["person"]
        for partner in agreement.partners[:2]
    )
    who = ["surname", "date_of_birth"]
    assert one.drop_nulls(who).join(two.drop_nulls(who), on=who, how="semi").height > 5
    assert one.join(two, on="local_person_id", how="semi").height < 5


def test_sample_has_empty_and_filled_cells_in_columns_that_need_not_be_filled(agreement: Agreement) -> None:
    sample = make_sample(agreement, "harbour_trust", "2026-Q1", rows=80, seed=2)
    for table in agreement.contract.tables:
        frame = sample.tables[table.name]
        for column in table.columns:
            empty = frame[column.name].null_count()
            assert empty < len(frame), f"{table.name}.{column.name}"
            if column.required:
                assert empty == 0
    assert sample.tables["person"]["died_on"].null_count() > 0


def test_unknown_partner_or_period_is_refused(agreement: Agreement) -> None:
    with pytest.raises(KeyError):
        make_sample(agreement, "nobody", "2026-Q1")
    with pytest.raises(KeyError):
        make_sample(agreement, "harbour_trust", "1999-Q1")


# --- agreements that nobody wrote -------------------------------------------------------------------------------------


def column(name: str, type_: ColumnType, example: str, **more: object) -> Column:
    return Column.model_validate(
        {
            "name": name,
            "label": name,
            "description": name,
            "type": type_,
            "treatment": "keep",
            "classification": "operational",
            "purposes": (),
            "why": "A test.",
            "example": example,
            **more,
        }
    )


@st.composite
def agreements(draw: Any, base: Agreement) -> Agreement:
    """Small agreements: a composite key, an optional parent, dates in order across tables, totals, codes with dates."""
    starts = date(2026, 1, 1)
    turn = starts + timedelta(draw(st.integers(1, 80)))
    codes = CodeList(
        name="kind",
        title="Kind",
        codes=(
            Code(code="old", label="Old", valid_to=turn - timedelta(1)),
            Code(code="new", label="New", valid_from=turn),
            *([Code(code="always", label="Always")] if draw(st.booleans()) else []),
        ),
    )
    lists = {"kind": codes}
    pattern = draw(st.sampled_from([None, "[A-Z]{2}-[0-9]{4}", r"(?:a|b\d+)[^ ,]{1,3}x?", r"[0-9]{3}[ -]?[0-9]{4}"]))
    example = {None: "K-1001", "[A-Z]{2}-[0-9]{4}": "AB-1234", r"(?:a|b\d+)[^ ,]{1,3}x?": "b12zzx"}.get(
        pattern, "123-4567"
    )
    key = column("local_person_id", ColumnType.TEXT, example, required=True, pattern=pattern, max_length=20)
    person = Table(
        name="person",
        label="Person",
        description="Person",
        columns=(key, column("born_on", ColumnType.DATE, "1990-01-01", required=draw(st.booleans()))),
        key=("local_person_id",),
        person_column="local_person_id",
    )
    low = draw(st.integers(-50, 50))
    visit = Table(
        name="visit",
        label="Visit",
        description="Visit",
        columns=(
            key.model_copy(update={"pattern": None, "max_length": 30}),
            column("number", ColumnType.INTEGER, "1", required=True, minimum="1", maximum="9"),
            column("kind", ColumnType.CODE, "new", codelist="kind", required=draw(st.booleans())),
            column("began_on", ColumnType.DATE, "2026-02-01", required=True),
            column("ended_on", ColumnType.DATE, "2026-02-02", required=draw(st.booleans())),
            column(
                "cost",
                ColumnType.DECIMAL,
                str(low),
                required=draw(st.booleans()),
                minimum=str(low),
                maximum=str(low + 90),
            ),
            column("reason", ColumnType.TEXT, "A reason"),
        ),
        key=("local_person_id", "number"),
        person_column="local_person_id",
        event_date="began_on",
        references=(Reference(columns=("local_person_id",), to_table="person", to_columns=("local_person_id",)),),
    )
    part = Table(
        name="part",
        label="Part",
        description="Part",
        columns=(
            column("part_number", ColumnType.TEXT, "P-001", required=True),
            key.model_copy(update={"pattern": None, "required": draw(st.booleans())}),
            column("number", ColumnType.INTEGER, "1", required=draw(st.booleans())),
            column("done_on", ColumnType.DATE, "2026-02-02", required=draw(st.booleans())),
            column("amount", ColumnType.DECIMAL, "1", minimum="-5", maximum="40"),
        ),
        key=("part_number",),
        references=(
            Reference(
                columns=("local_person_id", "number"), to_table="visit", to_columns=("local_person_id", "number")
            ),
        ),
    )
    of_person = [declared_rule(person, RuleKind.NOT_AFTER_EXTRACT, ("born_on",))]
    share = draw(st.sampled_from([0.0, 0.5, 0.95, 1.0]))
    of_person.append(declared_rule(person, RuleKind.COMPLETENESS, ("born_on",), share=share))
    of_visit = [
        declared_rule(visit, RuleKind.WITHIN_PERIOD, ("began_on",)),
        declared_rule(visit, RuleKind.DATE_ORDER, ("began_on", "ended_on")),
        declared_rule(visit, RuleKind.DATE_ORDER_ACROSS, ("began_on",), other=("person", "born_on")),
        declared_rule(visit, RuleKind.TOTAL, ("cost",), other=("part", "amount")),
        declared_rule(visit, RuleKind.ROW_COUNT, minimum="1"),
    ]
    condition = draw(
        st.sampled_from(
            [
                "kind <> 'new' or reason is not null",
                "number <= 6 or ended_on is null or ended_on > began_on",
                "began_on >= date '2026-01-10'",
                "reason is null or length(reason) >= 3",
            ]
        )
    )
    of_visit.append(declared_rule(visit, RuleKind.CONDITION, expression=condition, sentence="It does not hold."))
    of_part = [declared_rule(part, RuleKind.DATE_ORDER_ACROSS, ("done_on",), other=("visit", "began_on"))]
    tables = [
        table.model_copy(update={"rules": rules_of(table, lists, declared)})
        for table, declared in ((person, of_person), (visit, of_visit), (part, of_part))
    ]
    contract = Contract(version=base.version, tables=join_rules(tables))
    return base.model_copy(update={"contract": contract, "codelists": (codes,), "versions": (), "earlier": None})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_sample_of_an_agreement_that_nobody_wrote_breaks_no_rule(agreement: Agreement, data: Any, seed: int) -> None:
    made = data.draw(agreements(agreement))
    sample = make_sample(made, "harbour_trust", "2026-Q1", rows=25, seed=seed)
    assert [(finding.code, finding.rows_affected) for finding in check(made, sample).findings] == []
    assert len(sample.tables["visit"]) > 5


def test_condition_that_no_row_meets_is_told_by_its_code(agreement: Agreement) -> None:
    table = agreement.contract.table("cost")
    never = declared_rule(table, RuleKind.CONDITION, expression="amount_gbp is null", sentence="Never.")
    tables = tuple(
        t.model_copy(update={"rules": (*t.rules, never)}) if t.name == "cost" else t for t in agreement.contract.tables
    )
    faulty = agreement.model_copy(
        update={"contract": agreement.contract.model_copy(update={"tables": tables}), "versions": (), "earlier": None}
    )
    with pytest.raises(AgreementError, match=re.escape(never.code)):
        make_sample(faulty, "harbour_trust", "2026-Q1", rows=4)


# --- text by pattern --------------------------------------------------------------------------------------------------

PATTERNS = [
    "[A-Za-z0-9][A-Za-z0-9/_-]*",
    r"\+?[0-9][0-9 ()-]{6,20}",
    r"[^@ ]+@[^@ ]+\.[^@ ]+",
    r"(?:AB|CD|[xyz]{2,})\d{3,5}(?:-\w)?",
    r"^[A-Z]\.?$",
    r"(?i:abc)?[\d\s.]{2}",
    "é+|ß",
]


@settings(max_examples=80, deadline=None)
@given(pattern=st.sampled_from(PATTERNS), numbers=st.randoms(use_true_random=False))
def test_text_drawn_for_a_pattern_matches_it_in_both_engines(pattern: str, numbers: Any) -> None:
    text = draw_text(pattern, numbers.randrange)
    assert text is not None
    assert re.fullmatch(pattern, text)
    assert pl.Series([text]).str.contains(rf"\A(?:{pattern})\z").all()


def test_pattern_that_cannot_be_drawn_gives_none() -> None:
    assert draw_text("(?=a)b", lambda _: 0) is None
    assert draw_text("(", lambda _: 0) is None
