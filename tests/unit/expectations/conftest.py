"""A small agreement with at least one rule of every kind, and a submission of it that passes."""

from collections.abc import Callable
from datetime import date

import polars as pl
import pytest

from expectations import CheckContext
from protocol.model import (
    Agreement,
    Calendar,
    Classification,
    Clause,
    Code,
    CodeList,
    Column,
    ColumnType,
    Contact,
    Contract,
    ControllerRole,
    Controllers,
    Disclosure,
    Dpia,
    IdentifierRole,
    MeasureFigures,
    OnFailure,
    Partner,
    Period,
    Purpose,
    Reference,
    Retention,
    RuleKind,
    Table,
    Term,
    Treatment,
)
from protocol.rules import declared_rule, join_rules, rules_of

PERIOD = Period(id="2026-Q2", starts=date(2026, 4, 1), ends=date(2026, 6, 30))
EXTRACTED_ON = date(2026, 7, 6)

SEX = CodeList(
    name="sex",
    title="Sex",
    codes=(Code(code="female", label="Female"), Code(code="male", label="Male"), Code(code="unknown", label="Unknown")),
)
TOOL = CodeList(
    name="tool",
    title="Assessment tool",
    codes=(
        Code(code="wheel", label="Outcomes wheel"),
        Code(code="star_one", label="Star, first edition", valid_to=date(2026, 5, 15)),
        Code(code="star_two", label="Star, second edition", valid_from=date(2026, 5, 16)),
    ),
)


def _column(name: str, type_: ColumnType, example: str, **more: object) -> Column:
    return Column.model_validate(
        {
            "name": name,
            "label": name.replace("_", " ").capitalize(),
            "description": f"The {name}.",
            "type": type_,
            "treatment": Treatment.KEEP,
            "classification": Classification.OPERATIONAL,
            "purposes": ("evidence",),
            "why": "The measures need it.",
            "example": example,
            **more,
        }
    )


def _table(
    name: str, declared: tuple[tuple[RuleKind, tuple[str, ...], dict[str, object]], ...], **parts: object
) -> Table:
    table = Table.model_validate({"name": name, "label": name.capitalize(), "description": "A table.", **parts})
    rules = [declared_rule(table, kind, columns, **more) for kind, columns, more in declared]  # type: ignore[arg-type]
    return table.model_copy(update={"rules": rules_of(table, {"sex": SEX, "tool": TOOL}, rules)})


def build_contract() -> Contract:
    person = _table(
        "person",
        (
            (RuleKind.NOT_AFTER_EXTRACT, ("recorded_on",), {}),
            (RuleKind.COMPLETENESS, ("nhs_number",), {"share": 0.5, "on_failure": OnFailure.REFUSE}),
            (RuleKind.HELD_BACK_SHARE, (), {"share": 0.5}),
            (RuleKind.ROW_COUNT, (), {"minimum": "1", "share": 0.7}),
        ),
        columns=(
            _column("local_person_id", ColumnType.TEXT, "C-1001", required=True, max_length=20),
            _column(
                "nhs_number",
                ColumnType.TEXT,
                "4857773456",
                pattern="[0-9]{10}",
                treatment=Treatment.TOKENISE,
                identifier=IdentifierRole.NHS_NUMBER,
            ),
            _column("surname", ColumnType.TEXT, "Example", required=True, max_length=35),
            _column("date_of_birth", ColumnType.DATE, "1984-02-29", minimum="1900-01-01", maximum="2026-12-31"),
            _column("sex", ColumnType.CODE, "female", codelist="sex"),
            _column("recorded_on", ColumnType.DATE, "2026-04-02"),
        ),
        key=("local_person_id",),
        person_column="local_person_id",
    )
    assessment = _table(
        "assessment",
        (
            (RuleKind.WITHIN_PERIOD, ("assessed_on",), {}),
            (RuleKind.DATE_ORDER, ("assessed_on", "valid_to"), {}),
            (RuleKind.DATE_ORDER_ACROSS, ("valid_to",), {"other": ("person", "date_of_birth")}),
            (RuleKind.TOTAL, ("points",), {"other": ("item", "score")}),
            (
                RuleKind.CONDITION,
                (),
                {"expression": "minutes <= 300 or total_score is not null", "name": "long_has_score"},
            ),
        ),
        columns=(
            _column("assessment_number", ColumnType.TEXT, "A-1", required=True),
            _column("local_person_id", ColumnType.TEXT, "C-1001", required=True),
            _column("tool", ColumnType.CODE, "wheel", codelist="tool"),
            _column("assessed_on", ColumnType.DATE, "2026-04-20", required=True),
            _column("valid_to", ColumnType.DATE, "2026-10-20"),
            _column("minutes", ColumnType.INTEGER, "45", minimum="1", maximum="600"),
            _column("total_score", ColumnType.DECIMAL, "12.5", minimum="0", maximum="100.5"),
            _column("points", ColumnType.INTEGER, "8"),
        ),
        key=("assessment_number",),
        person_column="local_person_id",
        event_date="assessed_on",
        references=(Reference(columns=("local_person_id",), to_table="person", to_columns=("local_person_id",)),),
    )
    item = _table(
        "item",
        (),
        columns=(
            _column("assessment_number", ColumnType.TEXT, "A-1", required=True),
            _column("question", ColumnType.INTEGER, "3", required=True),
            _column("score", ColumnType.INTEGER, "4"),
        ),
        key=("assessment_number", "question"),
        references=(
            Reference(columns=("assessment_number",), to_table="assessment", to_columns=("assessment_number",)),
        ),
    )
    return Contract(version="1.0", tables=join_rules((person, assessment, item)))


def text_frame(rows: list[dict[str, str | None]], table: Table) -> pl.DataFrame:
    """Rows as intake hands them over: all text, with spreadsheet row numbers from 2."""
    frame = pl.DataFrame(
        [{name: row.get(name) for name in table.column_names} for row in rows],
        schema=dict.fromkeys(table.column_names, pl.String),
    )
    return frame.with_columns(_row=pl.int_range(2, frame.height + 2, dtype=pl.Int64))


Rows = dict[str, list[dict[str, str | None]]]


def build_rows() -> Rows:
    """Six persons with an assessment of two items each; a row at place ``n`` is the spreadsheet's row ``n + 2``."""
    persons = [
        {
            "local_person_id": f"C-{n}",
            "nhs_number": f"485777345{n}",
            "surname": "O'Example",
            "date_of_birth": {0: "1900-01-01", 1: "2026-12-31"}.get(n, f"198{n}-02-28"),
            "sex": ("female", "male", "unknown")[n % 3],
            "recorded_on": "2026-07-06",
        }
        for n in range(6)
    ]
    assessments = [
        {
            "assessment_number": f"A-{n}",
            "local_person_id": f"C-{n}",
            "tool": "wheel",
            "assessed_on": ("2026-04-01", "2026-06-30")[n % 2],
            # The limits of every rule are themselves allowed.
            "valid_to": {2: "2026-04-01", 3: None}.get(n, "2026-12-31"),
            "minutes": {1: "600", 2: "1", 4: None}.get(n, "45"),
            "total_score": {1: "100.5", 2: "0"}.get(n, "12.5"),
            "points": {3: None, 5: None}.get(n, "8"),
        }
        for n in range(6)
    ]
    items = [
        {"assessment_number": f"A-{n}", "question": str(question), "score": "4"}
        for n in range(6)
        for question in (1, 2)
    ]
    return {"person": persons, "assessment": assessments, "item": items}  # type: ignore[dict-item]


@pytest.fixture(scope="session")
def contract() -> Contract:
    return build_contract()


@pytest.fixture
def rows() -> Rows:
    return build_rows()


@pytest.fixture(scope="session")
def codelists() -> tuple[CodeList, ...]:
    return (SEX, TOOL)


@pytest.fixture
def context() -> CheckContext:
    return CheckContext(PERIOD, EXTRACTED_ON)


@pytest.fixture(scope="session")
def as_frames(contract: Contract) -> Callable[[Rows], dict[str, pl.DataFrame]]:
    def frames(rows: Rows) -> dict[str, pl.DataFrame]:
        return {name: text_frame(rows[name], contract.table(name)) for name in rows}

    return frames


@pytest.fixture(scope="session")
def partner() -> Partner:
    return Partner(
        id="harbour_trust",
        name="Harbour Trust",
        kind="charity",
        agency="voluntary",
        tier="core",
        member_from=date(2026, 1, 1),
        controller_role=ControllerRole.JOINT_CONTROLLER,
        lawful_basis="legitimate_interests",
        contacts=(Contact(role="Data officer", email="data@harbour.example"),),
    )


@pytest.fixture(scope="session")
def agreement(contract: Contract, codelists: tuple[CodeList, ...], partner: Partner) -> Agreement:
    return Agreement(
        id="example",
        title="Example partnership agreement",
        version="1.0",
        digest="0f" * 32,
        clauses=(Clause(number="4.1", title="Signatures", text="Only signed partners submit."),),
        purposes=(Purpose(id="evidence", title="Evidence", description="Evidence.", article_6="6(1)(f)"),),
        term=Term(starts=date(2026, 1, 1), ends=date(2028, 12, 31), review=date(2027, 1, 1)),
        dpia=Dpia(reference="DPIA-1", completed=date(2025, 12, 1), valid_to=date(2028, 12, 1)),
        coordinator=Contact(role="Partnership coordinator", email="coordinator@partnership.example"),
        controllers=Controllers(point_of_contact="harbour_trust", arrangement="Each answers for its own clients."),
        privacy_notice="Published.",
        confidentiality_basis="Reasonable expectation.",
        national_data_opt_out="Applied.",
        children="None.",
        breach="24 hours.",
        exit_clause="90 days.",
        rights="By any partner.",
        calendar=Calendar(periods=(PERIOD,)),
        retention=Retention(inbox_days=30, pool_years=6, receipts_years=6),
        disclosure=Disclosure(),
        measures=MeasureFigures(),
        contract=contract,
        codelists=codelists,
        partners=(partner,),
        grants=(),
    )


def _planted(rows: Rows, table: str, place: int, cells: dict[str, str | None]) -> Rows:
    """The rows with cells changed, less the children that would be orphans by it."""
    rows = {name: [dict(row) for row in of_table] for name, of_table in rows.items()}
    rows[table][place].update(cells)
    if table == "person":
        rows["assessment"], rows["item"] = rows["assessment"][:4], rows["item"][:8]
    if table == "assessment":
        rows["item"] = rows["item"][:8]
    return rows


@pytest.fixture(scope="session")
def plant() -> Callable[[Rows, str, int, dict[str, str | None]], Rows]:
    return _planted
