"""A planted change for every kind that is told apart, and what it means to each of the three audiences."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from protocol.changes import KINDS, Audience, ChangeReport, Effect, Step, classify_changes
from protocol.changes.kinds import worst
from protocol.errors import AgreementError
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import (
    Agreement,
    Classification,
    Clause,
    Code,
    CodeList,
    Column,
    ColumnType,
    ColumnUpgrade,
    EarlierVersion,
    Frozen,
    GateCheck,
    Generalisation,
    IdentifierRole,
    Mapping,
    OnFailure,
    PartnerChannel,
    Period,
    Processor,
    Pseudonymising,
    Purpose,
    Reference,
    Rule,
    RuleKind,
    Sealing,
    SqlMapping,
    Table,
    TableMapping,
    TableUpgrade,
    Treatment,
    Upgrade,
    VersionWindow,
)
from protocol.rules import declared_rule

Edit = Callable[[Agreement], Agreement]

# --- editing an agreement in memory -----------------------------------------------------------------------------------


def put(**values: Any) -> Edit:
    """Other values of the agreement itself."""
    return lambda agreement: agreement.model_copy(update=values)


def within(field: str, /, **values: Any) -> Edit:
    """Other values of one of its parts."""
    return lambda agreement: agreement.model_copy(update={field: getattr(agreement, field).model_copy(update=values)})


def reword(field: str) -> Edit:
    """One word more in a text."""
    return lambda agreement: agreement.model_copy(update={field: getattr(agreement, field) + " Perhaps."})


def in_list(field: str, key: str, name: str, /, **values: Any) -> Edit:
    """Other values of one thing of a list."""
    return on_item(field, key, name, lambda thing: thing.model_copy(update=values))


def on_item(field: str, key: str, name: str, change: Callable[[Any], Any]) -> Edit:
    def edit(agreement: Agreement) -> Agreement:
        things = getattr(agreement, field)
        assert any(getattr(thing, key) == name for thing in things), f"{field} has no {name}"
        changed = tuple(change(thing) if getattr(thing, key) == name else thing for thing in things)
        return agreement.model_copy(update={field: changed})

    return edit


def more(field: str, *things: Frozen) -> Edit:
    return lambda agreement: agreement.model_copy(update={field: (*getattr(agreement, field), *things)})


def less(field: str) -> Edit:
    """Without the last of a list."""
    return lambda agreement: agreement.model_copy(update={field: getattr(agreement, field)[:-1]})


def turned(field: str) -> Edit:
    """A list in the opposite order."""
    return lambda agreement: agreement.model_copy(update={field: getattr(agreement, field)[::-1]})


def on_contract(change: Callable[[tuple[Table, ...]], tuple[Table, ...]]) -> Edit:
    def edit(agreement: Agreement) -> Agreement:
        contract = agreement.contract.model_copy(update={"tables": change(agreement.contract.tables)})
        return agreement.model_copy(update={"contract": contract})

    return edit


def on_table(name: str, change: Callable[[Table], Table]) -> Edit:
    return on_contract(lambda tables: tuple(change(table) if table.name == name else table for table in tables))


def table(name: str, /, **values: Any) -> Edit:
    return on_table(name, lambda found: found.model_copy(update=values))


def column(place: str, /, **values: Any) -> Edit:
    """Other values of one column, ``person.sex``."""
    in_table, _, name = place.partition(".")
    return on_table(
        in_table,
        lambda found: found.model_copy(
            update={
                "columns": tuple(c.model_copy(update=values) if c.name == name else c for c in found.columns),
            }
        ),
    )


def columns(name: str, change: Callable[[tuple[Column, ...]], tuple[Column, ...]]) -> Edit:
    return on_table(name, lambda found: found.model_copy(update={"columns": change(found.columns)}))


def rules(name: str, change: Callable[[tuple[Rule, ...]], tuple[Rule, ...]]) -> Edit:
    return on_table(name, lambda found: found.model_copy(update={"rules": change(found.rules)}))


def rule(code: str, /, **values: Any) -> Edit:
    in_table = code.partition(".")[0]
    return rules(in_table, lambda found: tuple(r.model_copy(update=values) if r.code == code else r for r in found))


def codes(name: str, change: Callable[[tuple[Code, ...]], tuple[Code, ...]]) -> Edit:
    return on_item("codelists", "name", name, lambda found: found.model_copy(update={"codes": change(found.codes)}))


def code(name: str, value: str, /, **values: Any) -> Edit:
    return codes(name, lambda found: tuple(c.model_copy(update=values) if c.code == value else c for c in found))


def partner(name: str, /, **values: Any) -> Edit:
    return in_list("partners", "id", name, **values)


def mapping(**values: Any) -> Edit:
    """Other values of the mapping of one partner."""
    return on_item(
        "partners",
        "id",
        "harbour_trust",
        lambda found: found.model_copy(update={"mapping": found.mapping.model_copy(update=values)}),
    )


def table_mapping(**values: Any) -> Edit:
    def edit(agreement: Agreement) -> Agreement:
        (found,) = agreement.partner("harbour_trust").mapping.tables
        return mapping(tables=(found.model_copy(update=values),))(agreement)

    return edit


def grant(name: str, /, **values: Any) -> Edit:
    return in_list("grants", "id", name, **values)


def processors(*found: Processor) -> Edit:
    return within("controllers", processors=found)


def window(version: str, /, **values: Any) -> Edit:
    return in_list("versions", "version", version, **values)


def both(*edits: Edit) -> Edit:
    def edit(agreement: Agreement) -> Agreement:
        for one in edits:
            agreement = one(agreement)
        return agreement

    return edit


# --- the agreement that is changed ------------------------------------------------------------------------------------

BOARD_PURPOSES = ("joint_evidence", "equality_monitoring", "value_for_money")
PROCESSORS = (
    Processor(name="Hosting Limited", acts_for=("castle_borough",), task="Hosts the pool.", contract="C-1"),
    Processor(name="Keys Limited", acts_for=("castle_borough",), task="Keeps the keys.", contract="C-2"),
)
WINDOWS = (
    VersionWindow(version="1.0", first_period="2026-Q3"),
    VersionWindow(version="0.9", first_period="2026-Q1", sunset=date(2027, 3, 31)),
)
SELECT = SqlMapping(table="cost", select="SELECT * FROM costs")
RENAMES = TableMapping(
    table="person",
    columns={"sex": "Gender"},
    codes={"sex": {"F": "female", "M": "male"}},
    constants={"do_not_link": "no"},
    absent=("phone",),
)


@pytest.fixture(scope="module")
def base() -> Agreement:
    """The example with one of everything that it lacks: two versions, a mapping, two processors."""
    example = load_agreement(default_agreement_folder())
    upgrade = Upgrade(
        tables=tuple(
            TableUpgrade(table=t.name, columns=tuple(ColumnUpgrade(column=c, source=c) for c in t.column_names))
            for t in example.contract.tables
        )
    )
    earlier = EarlierVersion(
        contract=example.contract.model_copy(update={"version": "0.9"}), codelists=example.codelists, upgrade=upgrade
    )
    return both(
        put(versions=WINDOWS, earlier=earlier),
        processors(*PROCESSORS),
        partner(
            "harbour_trust",
            mapping=Mapping(tables=(RENAMES,), sql=(SELECT,), parameters={"site": "4", "team": "2"}),
            member_to=date(2028, 6, 30),
            channel=PartnerChannel(sealed=Sealing.REQUIRED, pseudonymised=Pseudonymising.REQUIRED),
        ),
        column("assessment.minutes", minimum="1", maximum="1440"),
        code("channel", "phone", valid_to=date(2028, 1, 1), valid_from=date(2026, 1, 1)),
    )(example)


def new_column(name: str, /, **values: Any) -> Column:
    return Column.model_validate(
        {
            "name": name,
            "label": "New",
            "description": "Something new.",
            "type": "text",
            "treatment": "drop",
            "classification": "operational",
            "purposes": (),
            "why": "A test.",
            "example": "x",
            **values,
        }
    )


def new_table(personal: bool, optional: bool) -> Edit:
    def edit(agreement: Agreement) -> Agreement:
        found = Table(
            name="visit",
            label="Visits",
            description="Visits.",
            columns=(new_column("visit_number"),),
            key=("visit_number",),
            references=(Reference(columns=("visit_number",), to_table="assessment_item", to_columns=("item",)),)
            if personal
            else (),
            optional=optional,
        )
        return on_contract(lambda tables: (*tables, found))(agreement)

    return edit


def moved(rows: tuple[Any, ...]) -> tuple[Any, ...]:
    return rows[::-1]


NOTE = "person.sex.completeness"
SHARE = "person.held_back_share"
RANGE_PLACE = "assessment.minutes"
WITHIN = "assessment.assessed_on.within_period"

CASES: list[tuple[str, str, Edit]] = [
    # (kind that has to be told, worst effect on submitters, analysts, data subjects; the planted change)
    ("text.layout", "CCC", lambda a: put(rights=a.rights.replace(" ", "\n", 1))(a)),
    ("agreement.id", "BBB", put(id="another")),
    ("agreement.title", "CCC", put(title="Another title")),
    ("agreement.version", "CCC", put(version="1.7")),
    ("coordinator.changed", "C-C", within("coordinator", email="other@harboureast.example")),
    ("clause.added", "CCB", more("clauses", Clause(number="9.1", title="More", text="More may be done."))),
    ("clause.removed", "CCB", less("clauses")),
    ("clause.changed", "CCB", in_list("clauses", "number", "5.3", text="Everybody sees everything.")),
    ("clause.renumbered", "C-C", in_list("clauses", "number", "5.3", number="5.9")),
    ("clause.governs", "C--", in_list("clauses", "number", "4.2", governs=(GateCheck.SIGNATURE, GateCheck.DPIA))),
    ("clauses.reordered", "CCC", turned("clauses")),
    (
        "purpose.added",
        "CEB",
        more("purposes", Purpose(id="research", title="Research", description="Research.", article_6="6(1)(e)")),
    ),
    ("purpose.removed", "CBE", less("purposes")),
    ("purpose.changed", "CCB", in_list("purposes", "id", "joint_evidence", description="Anything.")),
    ("purpose.basis", "CCB", in_list("purposes", "id", "joint_evidence", article_9=None)),
    ("purposes.reordered", "CCC", turned("purposes")),
    ("term.starts_earlier", "EEB", within("term", starts=date(2025, 12, 1))),
    ("term.starts_later", "BCE", within("term", starts=date(2026, 2, 1))),
    ("term.longer", "EEB", within("term", ends=date(2029, 12, 31))),
    ("term.shorter", "BBE", within("term", ends=date(2027, 12, 31))),
    ("term.review_later", "--B", within("term", review=date(2028, 1, 1))),
    ("term.review_earlier", "--E", within("term", review=date(2026, 6, 1))),
    ("dpia.renewed", "C-C", within("dpia", completed=date(2026, 11, 1), valid_to=date(2028, 11, 1))),
    ("dpia.stretched", "E-B", within("dpia", valid_to=date(2029, 1, 1))),
    ("dpia.shorter", "B-E", within("dpia", valid_to=date(2026, 12, 31))),
    ("promise.privacy_notice", "C-B", reword("privacy_notice")),
    ("promise.confidentiality", "C-B", reword("confidentiality_basis")),
    ("promise.opt_out", "BBB", reword("national_data_opt_out")),
    ("promise.children", "BBB", reword("children")),
    ("promise.breach", "C-B", reword("breach")),
    ("promise.exit", "CCB", reword("exit_clause")),
    ("promise.rights", "C-B", reword("rights")),
    (
        "period.added",
        "EEB",
        lambda a: within(
            "calendar",
            periods=(*a.calendar.periods, Period(id="2029-Q1", starts=date(2029, 1, 1), ends=date(2029, 3, 31))),
        )(a),
    ),
    ("period.removed", "BBE", lambda a: within("calendar", periods=a.calendar.periods[:-1])(a)),
    ("period.wider", "BBB", lambda a: within("calendar", periods=redated(a, ends=date(2026, 4, 15)))(a)),
    ("period.narrower", "BBE", lambda a: within("calendar", periods=redated(a, ends=date(2026, 3, 15)))(a)),
    ("periods.reordered", "CCC", lambda a: within("calendar", periods=a.calendar.periods[::-1])(a)),
    ("window.wider", "EC-", within("calendar", closes_days_after_end=400)),
    ("window.narrower", "BC-", within("calendar", opens_days_after_end=10)),
    ("retention.inbox_longer", "C-B", within("retention", inbox_days=30)),
    ("retention.inbox_shorter", "C-E", within("retention", inbox_days=7)),
    ("retention.pool_longer", "-EB", within("retention", pool_years=7)),
    ("retention.pool_shorter", "-BE", within("retention", pool_years=5)),
    ("retention.receipts_longer", "C-B", within("retention", receipts_years=8)),
    ("retention.receipts_shorter", "C-E", within("retention", receipts_years=6)),
    ("disclosure.smaller_cell", "-EB", within("disclosure", minimum_people=5)),
    ("disclosure.larger_cell", "-BE", within("disclosure", minimum_people=10)),
    ("disclosure.finer_rounding", "-EB", within("disclosure", rounding_base=3)),
    ("disclosure.coarser_rounding", "-BE", within("disclosure", rounding_base=10)),
    ("measure.redefined", "-B-", within("measures", repeat_window_days=60)),
    ("measure.source", "-C-", within("measures", hourly_cost_source="Another made-up figure.")),
    ("contract.version", "CCC", within("contract", version="1.7")),
    ("table.added", "BEB", new_table(personal=True, optional=False)),
    ("table.added_optional", "EEB", new_table(personal=True, optional=True)),
    ("table.added_impersonal", "BEC", new_table(personal=False, optional=False)),
    ("table.added_impersonal_optional", "EEC", new_table(personal=False, optional=True)),
    ("table.removed", "BBE", on_contract(lambda tables: tables[:-1])),
    ("table.reworded", "CBB", table("person", label="People")),
    ("table.key", "BBC", table("sharing_basis", key=("purpose", "local_person_id"))),
    ("table.person_column_added", "BBB", table("cost", person_column="cost_number")),
    ("table.person_column_removed", "BBE", table("outcome", person_column=None)),
    ("table.person_column", "BBB", table("outcome", person_column="outcome_number")),
    ("table.event_date", "CBC", table("referral", event_date="accepted_on")),
    ("table.mandatory", "BEC", table("referral", optional=False)),
    ("table.voluntary", "EB-", table("assessment", optional=True)),
    ("tables.reordered", "CCC", on_contract(moved)),
    (
        "reference.added",
        "BE-",
        table("cost", references=(Reference(columns=("programme",), to_table="enrolment", to_columns=("programme",)),)),
    ),
    ("reference.removed", "EBC", table("referral", references=())),
    ("column.added", "B-B", columns("person", lambda c: (*c, new_column("new", required=True)))),
    ("column.added_optional", "E-B", columns("assessment_item", lambda c: (*c, new_column("new")))),
    ("column.added_impersonal", "B-C", columns("cost", lambda c: (*c, new_column("new", required=True)))),
    ("column.added_impersonal_optional", "E-C", columns("cost", lambda c: (*c, new_column("new")))),
    ("column.removed", "BBE", columns("referral", lambda c: c[:-1])),
    ("column.unprotected", "BBB", columns("person", lambda c: [one for one in c if one.name != "do_not_link"])),
    ("column.reworded", "CBB", column("person.sex", description="Otherwise said.")),
    ("column.form", "C--", column("person.postcode", form="a postcode of the United Kingdom")),
    ("column.example", "C--", column("person.postcode", example="LU2 1AA")),
    ("column.type_wider", "EBC", column(RANGE_PLACE, type=ColumnType.DECIMAL)),
    ("column.type", "BBB", column("assessment.total_score", type=ColumnType.INTEGER)),
    ("column.mandatory", "BEC", column("assessment.valid_to", required=True)),
    ("column.mandatory_sensitive", "BEB", column("person.ethnic_group", required=True)),
    ("column.voluntary", "EBE", column("assessment.tool", required=False)),
    (
        "column.treatment_weaker",
        "CBB",
        column("person.date_of_birth", treatment=Treatment.KEEP, generalisation=None),
    ),
    ("column.treatment_weaker", "CEB", column("person.phone", treatment=Treatment.PSEUDONYMISE)),
    ("column.treatment_weaker", "C-B", column("assessment.summary", treatment=Treatment.TOKENISE)),
    ("column.treatment_stronger", "CBE", column("person.sex", treatment=Treatment.TOKENISE)),
    (
        "column.treatment_other",
        "CBB",
        column("person.died_on", treatment=Treatment.PSEUDONYMISE, generalisation=None),
    ),
    ("column.less_sensitive", "CCB", column("person.ethnic_group", classification=Classification.OPERATIONAL)),
    ("column.more_sensitive", "CCE", column("person.sex", classification=Classification.SPECIAL_CATEGORY)),
    ("column.sensitivity_other", "CCB", column("assessment.domain", classification=Classification.OFFENCE)),
    ("column.purpose_added", "CEB", column("person.ethnic_group", purposes=("equality_monitoring", "joint_evidence"))),
    ("column.purpose_removed", "CBE", column("person.sex", purposes=("record_linkage",))),
    ("column.purposes_reordered", "CCC", column("person.sex", purposes=("equality_monitoring", "record_linkage"))),
    ("column.why", "CCB", column("person.sex", why="Because we can.")),
    ("column.identifier_added", "CEB", column("person.household_number", identifier=IdentifierRole.PHONE)),
    ("column.identifier_removed", "CBE", column("person.phone", identifier=None)),
    ("column.identifier", "CBB", column("person.phone", identifier=IdentifierRole.EMAIL)),
    ("column.finer", "-BB", column("person.date_of_birth", generalisation=Generalisation.MONTH)),
    ("column.coarser", "-BE", column("person.died_on", generalisation=Generalisation.BIRTH_YEAR_BAND)),
    ("column.generalised_otherwise", "-BB", column("person.postcode", generalisation=Generalisation.MONTH)),
    ("column.codelist", "BBB", column("person.sex", codelist="yes_no")),
    (
        "column.codelist_renamed",
        "CCC",
        both(in_list("codelists", "name", "sex", name="gender"), column("person.sex", codelist="gender")),
    ),
    ("column.pattern_added", "BC-", column("person.forename", pattern="[A-Z].*")),
    ("column.pattern", "BCC", column("person.phone", pattern="[0-9]+")),
    ("column.pattern_removed", "ECC", column("person.phone", pattern=None)),
    ("column.pattern_stricter", "BC-", column("person.phone", pattern_failure=OnFailure.REFUSE)),
    ("column.pattern_laxer", "EC-", column("person.local_person_id", pattern_failure=OnFailure.NOTE)),
    ("column.range_narrower", "BC-", column(RANGE_PLACE, maximum="999")),
    ("column.range_narrower", "BC-", column("person.died_on", minimum="2010-01-01")),
    ("column.range_narrower", "BC-", column("person.died_on", maximum="2030-01-01")),
    ("column.range_wider", "EE-", column(RANGE_PLACE, minimum="0")),
    ("column.range_wider", "EE-", column(RANGE_PLACE, maximum=None)),
    ("column.shorter", "B--", column("person.forename", max_length=40)),
    ("column.longer", "EC-", column("person.forename", max_length=160)),
    ("columns.reordered", "CCC", columns("person", moved)),
    ("pool.column_gone", "CBE", column("assessment.tool", treatment=Treatment.DROP)),
    ("pool.column_new", "CEB", column("assessment.summary", treatment=Treatment.KEEP)),
    ("pool.column_type", "BBB", column("assessment.minutes", type=ColumnType.DATE)),
    (
        "pool.column_made_otherwise",
        "BBB",
        both(
            column("person.died_on", treatment=Treatment.DROP),
            column("person.date_of_birth", name="died_on_month", treatment=Treatment.KEEP),
        ),
    ),
    (
        "rule.added",
        "BE-",
        on_table(
            "person",
            lambda t: t.model_copy(
                update={"rules": (*t.rules, declared_rule(t, RuleKind.WITHIN_PERIOD, ("recorded_on",)))}
            ),
        ),
    ),
    (
        "rule.added_note",
        "C--",
        on_table(
            "person",
            lambda t: t.model_copy(
                update={"rules": (*t.rules, declared_rule(t, RuleKind.COMPLETENESS, ("phone",), share=0.5))}
            ),
        ),
    ),
    ("rule.removed", "EC-", rules("assessment", lambda found: tuple(r for r in found if r.code != WITHIN))),
    ("rule.removed_note", "C--", rules("person", lambda found: tuple(r for r in found if r.code != NOTE))),
    ("rule.harsher", "BC-", rule(WITHIN, on_failure=OnFailure.REFUSE)),
    ("rule.milder", "EC-", rule(WITHIN, on_failure=OnFailure.NOTE)),
    ("rule.limit_stricter", "BC-", rule(SHARE, share=0.1)),
    ("rule.limit_stricter", "BC-", rule(NOTE, share=0.99)),
    ("rule.limit_laxer", "EC-", rule(SHARE, share=0.5)),
    ("rule.changed", "BC-", rule(WITHIN, kind=RuleKind.NOT_AFTER_EXTRACT)),
    ("rule.reworded", "C--", rule(WITHIN, sentence="Otherwise said.")),
    ("rules.reworded", "C--", rule("person.local_person_id.required", sentence="Otherwise said.")),
    ("rules.reordered", "C--", rules("person", moved)),
    ("codelist.added", "CCC", more("codelists", CodeList(name="new", title="New", codes=()))),
    ("codelist.removed", "CCC", less("codelists")),
    ("codelist.reworded", "CCC", in_list("codelists", "name", "sex", source="A standard.")),
    ("codelists.reordered", "CCC", turned("codelists")),
    ("code.added", "EEC", codes("channel", lambda found: (*found, Code(code="drone", label="By drone")))),
    ("code.removed", "BBC", codes("channel", lambda found: found[1:])),
    ("code.exchanged", "BBB", lambda a: exchange(a, "female", "male")(a)),
    ("code.meaning", "BBB", code("sex", "female", label="Something else")),
    ("code.reworded", "CCC", lambda a: code("sex", "female", label=f"{a.codelist('sex').label('female').upper()}.")(a)),
    ("code.ends", "BC-", code("sex", "female", valid_to=date(2027, 1, 1))),
    ("code.ends", "BC-", code("channel", "phone", valid_to=date(2027, 1, 1))),
    ("code.ends_later", "EE-", code("channel", "phone", valid_to=None)),
    ("code.begins_later", "BC-", code("sex", "female", valid_from=date(2027, 1, 1))),
    ("code.begins_earlier", "EE-", code("channel", "phone", valid_from=None)),
    ("codes.reordered", "CCC", codes("channel", moved)),
    (
        "partner.added",
        "EEB",
        lambda a: more("partners", a.partners[0].model_copy(update={"id": "new_one", "name": "New One"}))(a),
    ),
    ("partner.removed", "BBE", less("partners")),
    ("partner.name", "CCB", partner("bridge_housing", name="Bridge Homes")),
    ("partner.kind", "CBC", partner("bridge_housing", kind="council")),
    ("partner.agency", "-B-", partner("bridge_housing", agency="council")),
    ("partner.tier", "-B-", partner("bridge_housing", tier="wider")),
    ("partner.joins_earlier", "EEB", partner("lantern_youth", member_from=date(2026, 1, 1))),
    ("partner.joins_later", "BBE", partner("lantern_youth", member_from=date(2026, 7, 1))),
    ("partner.stays_longer", "EEB", partner("harbour_trust", member_to=None)),
    ("partner.leaves", "BBE", partner("bridge_housing", member_to=date(2027, 6, 30))),
    ("partner.public_body", "C-B", partner("bridge_housing", public_body=True)),
    ("partner.gateway", "C-B", partner("castle_borough", gateway="Another Act")),
    ("partner.role", "C-B", partner("bridge_housing", controller_role="processor")),
    ("partner.basis", "C-B", partner("bridge_housing", lawful_basis="Article 6(1)(a), consent")),
    ("partner.contacts", "C-C", lambda a: partner("bridge_housing", contacts=a.partners[0].contacts[::-1])(a)),
    ("partner.duplicate_free", "CB-", partner("bridge_housing", duplicate_free=True)),
    ("partner.channel", "B-C", partner("bridge_housing", channel=PartnerChannel(root="/srv/bridge"))),
    ("partner.sealed", "B-E", partner("bridge_housing", channel=PartnerChannel(sealed=Sealing.REQUIRED))),
    (
        "partner.unsealed",
        "E-B",
        partner("harbour_trust", channel=PartnerChannel(pseudonymised=Pseudonymising.REQUIRED)),
    ),
    (
        "partner.at_source",
        "B-E",
        partner("bridge_housing", channel=PartnerChannel(pseudonymised=Pseudonymising.REQUIRED)),
    ),
    ("partner.not_at_source", "E-B", partner("harbour_trust", channel=PartnerChannel(sealed=Sealing.REQUIRED))),
    ("partners.reordered", "CCC", turned("partners")),
    ("mapping.heading", "BBB", table_mapping(columns={"sex": "Sex at birth"})),
    ("mapping.heading", "BBB", table_mapping(columns={})),
    ("mapping.heading", "BBB", table_mapping(file="Clients.csv")),
    ("mapping.constant", "CBC", table_mapping(constants={"do_not_link": "yes"})),
    ("mapping.code_added", "EEC", table_mapping(codes={"sex": {"F": "female", "M": "male", "X": "other"}})),
    ("mapping.code_changed", "CBC", table_mapping(codes={"sex": {"F": "male", "M": "female"}})),
    ("mapping.code_removed", "BCC", table_mapping(codes={"sex": {"F": "female"}})),
    ("mapping.absent", "EBE", table_mapping(absent=("phone", "email"))),
    ("mapping.present", "BEB", table_mapping(absent=())),
    ("mapping.sql", "BBB", mapping(sql=(SELECT.model_copy(update={"select": "SELECT * FROM other"}),))),
    ("mapping.sql", "BBB", mapping(sql=())),
    ("mapping.parameter", "BBB", mapping(parameters={"site": "5", "team": "2"})),
    ("mapping.manifest", "BC-", mapping(manifest_from_name=True)),
    ("mapping.version", "CCC", mapping(version="0.9")),
    (
        "version.accepted",
        "ECC",
        lambda a: put(versions=(VersionWindow(version="1.1", first_period="2027-Q1"), *a.versions))(a),
    ),
    ("version.withdrawn", "BC-", less("versions")),
    (
        "version.replaced",
        "ECC",
        lambda a: put(versions=(VersionWindow(version="2.0", first_period="2027-Q3"), a.versions[0]))(a),
    ),
    ("version.from_earlier", "BCC", window("1.0", first_period="2026-Q2")),
    ("version.from_later", "BCC", window("1.0", first_period="2026-Q4")),
    ("version.sunset_set", "CC-", window("1.0", sunset=date(2028, 1, 1))),
    ("version.sunset_later", "ECC", window("0.9", sunset=date(2027, 6, 30))),
    ("version.sunset_earlier", "BC-", window("0.9", sunset=date(2026, 12, 31))),
    ("versions.reordered", "CCC", turned("versions")),
    ("earlier.removed", "BCC", put(earlier=None)),
    (
        "earlier.replaced",
        "CCC",
        lambda a: put(
            earlier=a.earlier.model_copy(update={"contract": a.contract, "codelists": a.codelists}),
        )(a),
    ),
    ("earlier.changed", "BBB", lambda a: put(earlier=a.earlier.model_copy(update={"codelists": ()}))(a)),
    (
        "upgrade.changed",
        "-BB",
        lambda a: put(earlier=a.earlier.model_copy(update={"upgrade": Upgrade(tables=())}))(a),
    ),
    ("controllers.contact", "CCB", within("controllers", point_of_contact="harbour_trust")),
    ("controllers.arrangement", "C-B", within("controllers", arrangement="Nobody answers.")),
    (
        "processor.added",
        "C-B",
        processors(*PROCESSORS, Processor(name="Cloud", acts_for=("castle_borough",), task="Stores.", contract="C-3")),
    ),
    ("processor.removed", "C-E", processors(PROCESSORS[0])),
    ("processor.changed", "C-B", processors(PROCESSORS[0].model_copy(update={"task": "More."}), PROCESSORS[1])),
    ("processors.reordered", "CCC", processors(*PROCESSORS[::-1])),
    (
        "grant.added",
        "-EB",
        lambda a: more("grants", a.grants[0].model_copy(update={"id": "another", "team": "Another team"}))(a),
    ),
    ("grant.removed", "-BE", less("grants")),
    ("grant.team", "-CB", grant("partnership_board", team="Another team")),
    ("grant.purpose_added", "-EB", grant("partnership_board", purposes=(*BOARD_PURPOSES, "record_linkage"))),
    ("grant.purpose_removed", "-BE", grant("partnership_board", purposes=BOARD_PURPOSES[1:])),
    ("grant.wider", "-EB", grant("partnership_board", views=("evidence.*", "pool.assessment"))),
    ("grant.narrower", "-BE", grant("evaluation_team", views=("evidence.*", "pool.assessment"))),
    ("grant.views_rewritten", "-C-", grant("partnership_board", views=("evidence.*", "evidence.reach"))),
    ("grant.login_added", "-EB", grant("partnership_board", logins=("board_reader", "second_reader"))),
    ("grant.login_removed", "-BE", grant("partnership_board", logins=())),
    ("grant.starts_earlier", "-EB", grant("partnership_board", starts=date(2025, 12, 1))),
    ("grant.starts_later", "-BE", grant("partnership_board", starts=date(2026, 6, 1))),
    ("grant.longer", "-EB", grant("evaluation_team", ends=date(2028, 6, 30))),
    ("grant.shorter", "-BE", grant("evaluation_team", ends=date(2027, 6, 30))),
    ("grants.reordered", "-CC", turned("grants")),
]
ELSEWHERE = {"unclassified", "references.reordered", "mapping.reordered", "earlier.added", "mapping.unprotected"}
"""Kinds that have tests of their own below."""
LETTERS = {"B": Effect.BREAK, "E": Effect.EXTENSION, "C": Effect.CLARIFICATION, "-": Effect.NONE}


def redated(agreement: Agreement, **values: Any) -> tuple[Period, ...]:
    first, *rest = agreement.calendar.periods
    return (first.model_copy(update=values), *rest)


def exchange(agreement: Agreement, one: str, other: str) -> Edit:
    labels = {c.code: c.label for c in agreement.codelist("sex").codes}
    return both(code("sex", one, label=labels[other]), code("sex", other, label=labels[one]))


def effects(report: ChangeReport) -> str:
    """Worst effects on submitters, analysts and data subjects, as letters."""
    names = {effect: letter for letter, effect in LETTERS.items()}
    order = (Audience.SUBMITTERS, Audience.ANALYSTS, Audience.DATA_SUBJECTS)
    return "".join(names[report.effect(audience)] for audience in order)


def due_step(letters: str) -> Step:
    return Step.MAJOR if "B" in letters else Step.MINOR if "E" in letters else Step.NONE


@pytest.mark.parametrize(
    ("kind", "expected", "plant"), CASES, ids=[f"{kind}-{n}" for n, (kind, _, _) in enumerate(CASES)]
)
def test_a_planted_change_is_told_apart_and_weighed_for_each_audience(
    base: Agreement, kind: str, expected: str, plant: Edit
) -> None:
    report = classify_changes(base, plant(base))
    assert kind in {change.kind for change in report.changes}
    assert "unclassified" not in {change.kind for change in report.changes}
    assert effects(report) == expected
    assert report.due is due_step(expected)
    assert report.due_version == {Step.MAJOR: "2.0", Step.MINOR: "1.1", Step.NONE: "1.0"}[report.due]


def test_every_kind_has_a_planted_change() -> None:
    assert {kind for kind, _, _ in CASES} | ELSEWHERE == set(KINDS)
    assert len(CASES) >= 40


def test_nothing_differs_between_an_agreement_and_itself(base: Agreement) -> None:
    report = classify_changes(base, base)
    assert report.changes == ()
    assert report.duties == ()
    assert (report.due, report.suffices) == (Step.NONE, True)


def test_signing_is_no_change(base: Agreement) -> None:
    unsigned = partner("harbour_trust", signatures=())(base)
    assert base.partner("harbour_trust").signatures
    assert classify_changes(base, unsigned).changes == ()


def test_references_in_another_order_are_no_break(base: Agreement) -> None:
    second = Reference(columns=("programme",), to_table="enrolment", to_columns=("programme",))
    first = Reference(columns=("cost_type",), to_table="enrolment", to_columns=("programme",))
    earlier, later = (table("cost", references=pair)(base) for pair in ((first, second), (second, first)))
    report = classify_changes(earlier, later)
    assert [change.kind for change in report.changes] == ["references.reordered"]
    assert effects(report) == "CCC"


def test_mapped_tables_in_another_order_are_no_break(base: Agreement) -> None:
    pair = (RENAMES, TableMapping(table="cost", file="Costs.csv"))
    report = classify_changes(mapping(tables=pair)(base), mapping(tables=pair[::-1])(base))
    assert [change.kind for change in report.changes] == ["mapping.reordered"]


def test_an_entry_that_maps_nothing_is_layout(base: Agreement) -> None:
    report = classify_changes(base, mapping(tables=(RENAMES, TableMapping(table="cost")))(base))
    assert [change.kind for change in report.changes] == ["text.layout"]


def test_keeping_the_earlier_tables_beside_is_no_break(base: Agreement) -> None:
    report = classify_changes(put(earlier=None)(base), base)
    assert [change.kind for change in report.changes] == ["earlier.added"]
    assert effects(report) == "CCC"


def test_an_earlier_version_that_is_kept_with_other_codes_than_were_agreed_is_a_break(base: Agreement) -> None:
    """A list that both versions share was changed, and not copied for the earlier one before."""
    alone = put(versions=(), earlier=None)(base)
    later = both(put(version="2.0"), codes("channel", lambda found: found[1:]))(alone)
    kept = EarlierVersion(contract=base.contract, codelists=alone.codelists, upgrade=base.earlier.upgrade)  # type: ignore[union-attr]
    as_agreed, otherwise = (
        classify_changes(alone, put(earlier=kept.model_copy(update={"codelists": lists}))(later))
        for lists in (alone.codelists, later.codelists)
    )
    assert "earlier.changed" not in {change.kind for change in as_agreed.changes}
    (change,) = (change for change in otherwise.changes if change.kind == "earlier.changed")
    assert change.data_subjects is Effect.BREAK


@pytest.mark.parametrize(
    ("was", "becomes", "expected"),
    [
        ({"codes": {"do_not_link": {"R": "yes"}}}, {"codes": {"do_not_link": {"R": "no"}}}, ["mapping.unprotected"]),
        ({"codes": {"do_not_link": {"R": "no"}}}, {"codes": {"do_not_link": {"R": "yes"}}}, ["mapping.code_changed"]),
        ({"codes": {"do_not_link": {"R": "yes"}}}, {"codes": {"do_not_link": {}}}, ["mapping.code_removed"]),
        ({"constants": {"do_not_link": "yes"}}, {"constants": {"do_not_link": "no"}}, ["mapping.unprotected"]),
        ({"constants": {"do_not_link": "no"}}, {"constants": {"do_not_link": "yes"}}, ["mapping.constant"]),
        ({"constants": {"sex": "yes"}}, {"constants": {"sex": "no"}}, ["mapping.constant"]),
    ],
)
def test_a_mapping_that_opens_the_records_of_clients_at_risk_is_a_break_for_them(
    base: Agreement, was: dict[str, Any], becomes: dict[str, Any], expected: list[str]
) -> None:
    earlier, later = (table_mapping(**{"codes": {}, "constants": {}, **values})(base) for values in (was, becomes))
    report = classify_changes(earlier, later)
    assert [change.kind for change in report.changes] == expected
    assert (report.effect(Audience.DATA_SUBJECTS) is Effect.BREAK) == (expected == ["mapping.unprotected"])


def test_writing_out_the_window_that_holds_anyway_is_layout(base: Agreement) -> None:
    silent = put(versions=())(base)
    told = put(versions=(VersionWindow(version="1.0", first_period="2026-Q1"),))(base)
    assert [change.kind for change in classify_changes(silent, told).changes] == ["text.layout"]


def test_three_codes_that_move_round_are_one_exchange(base: Agreement) -> None:
    found = base.codelist("channel").codes[:3]
    names = [c.code for c in found]
    labels = [c.label for c in found]
    later = both(*(code("channel", n, label=labels[(i + 1) % 3]) for i, n in enumerate(names)))(base)
    (change,) = classify_changes(base, later).changes
    assert change.kind == "code.exchanged"
    assert change.place == f"codelists.channel.{'+'.join(sorted(names))}"


def test_a_code_that_takes_the_label_of_one_that_keeps_it_is_no_exchange(base: Agreement) -> None:
    later = code("sex", "female", label=base.codelist("sex").label("male"))(base)
    assert [change.kind for change in classify_changes(base, later).changes] == ["code.meaning"]


@pytest.mark.parametrize(
    ("plant", "places"),
    [
        (column("person.surname", name="family_name"), ("tables.person.surname", "tables.person.family_name")),
        (column("person.recorded_on", name="noted_on"), ("tables.person.recorded_on", "tables.person.noted_on")),
        (table("cost", name="spending"), ("tables.cost", "tables.spending")),
        (code("channel", "phone", code="telephone"), ("codelists.channel.phone", "codelists.channel.telephone")),
        (partner("bridge_housing", id="bridge_homes"), ("partners.bridge_housing", "partners.bridge_homes")),
        (grant("partnership_board", id="the_board"), ("grants.partnership_board", "grants.the_board")),
        (
            in_list("purposes", "id", "joint_evidence", id="evidence"),
            ("purposes.joint_evidence", "purposes.evidence"),
        ),
    ],
)
def test_a_rename_is_a_loss_and_a_gain_that_point_to_each_other(
    base: Agreement, plant: Edit, places: tuple[str, str]
) -> None:
    report = classify_changes(base, plant(base))
    hints = {change.place: change.hint or "" for change in report.changes}
    lost, gained = places
    assert gained.rpartition(".")[2] in hints[lost]
    assert lost.rpartition(".")[2] in hints[gained]


def test_columns_that_have_nothing_in_common_are_not_taken_for_a_rename(base: Agreement) -> None:
    later = columns("person", lambda found: (*found[:-1], new_column("other", type="date")))(base)
    assert all(change.hint is None for change in classify_changes(base, later).changes)


@pytest.mark.parametrize(
    ("stated", "plant", "suffices"),
    [
        ("1.0", within("coordinator", email="other@harboureast.example"), True),
        ("1.0.1", within("coordinator", email="other@harboureast.example"), True),
        ("0.9", within("coordinator", email="other@harboureast.example"), False),
        ("1.0", code("channel", "phone", valid_to=None), False),
        ("1.0.1", code("channel", "phone", valid_to=None), False),
        ("1.1", code("channel", "phone", valid_to=None), True),
        ("2.0", code("channel", "phone", valid_to=None), True),
        ("1.9", within("disclosure", minimum_people=5), False),
        ("2.0", within("disclosure", minimum_people=5), True),
        ("10.0", within("disclosure", minimum_people=5), True),
    ],
)
def test_the_worst_of_the_three_audiences_decides_whether_the_version_suffices(
    base: Agreement, stated: str, plant: Edit, suffices: bool
) -> None:
    assert classify_changes(base, both(plant, put(version=stated))(base)).suffices is suffices


def test_less_protection_is_told_first_and_asks_for_signatures_and_a_new_assessment(base: Agreement) -> None:
    later = both(
        columns("person", lambda found: (*found, new_column("new", required=True))),
        measure_and_code,
        within("retention", pool_years=10),
        put(digest="0" * 64),
    )(base)
    report = classify_changes(base, later)
    assert report.changes[0].data_subjects is Effect.BREAK
    ranks = [worst([change.effect(audience) for audience in Audience]).rank for change in report.changes]
    assert ranks == sorted(ranks)
    assert "every partner signs again" in report.duties[0]
    assert base.dpia.reference in report.duties[0]
    assert "privacy notices" in report.duties[0]
    assert "No partner goes on under the earlier version" in " ".join(report.duties)


def measure_and_code(agreement: Agreement) -> Agreement:
    return both(within("measures", bounce_days=10), codes("channel", lambda found: found[1:]))(agreement)


def test_a_text_that_only_breaks_others_still_ends_the_signatures(base: Agreement) -> None:
    report = classify_changes(base, both(measure_and_code, put(digest="0" * 64))(base))
    assert report.effect(Audience.DATA_SUBJECTS) is Effect.CLARIFICATION
    assert any("every signature under the earlier text has ended" in duty for duty in report.duties)


def next_version(base: Agreement, *edits: Edit, source: str | None = "date_of_birth") -> Agreement:
    """A version 2.0 that takes version 1.0 beside, and carries its rows over."""
    fed = tuple(
        ColumnUpgrade(column=c, source=source if c == "date_of_birth" else c)
        for c in base.contract.table("person").column_names
    )
    beside = (
        VersionWindow(version="2.0", first_period="2027-Q1"),
        VersionWindow(version="1.0", first_period="2026-Q1", sunset=date(2027, 9, 30)),
    )
    earlier = EarlierVersion(
        contract=base.contract,
        codelists=base.codelists,
        upgrade=Upgrade(tables=(TableUpgrade(table="person", columns=fed),)),
    )
    return both(*edits, put(version="2.0", versions=beside, earlier=earlier))(base)


WEAKER = column("person.date_of_birth", treatment=Treatment.KEEP, generalisation=None)


def test_an_upgrade_that_carries_earlier_rows_to_weaker_protection_is_named(base: Agreement) -> None:
    report = classify_changes(base, next_version(base, WEAKER))
    told = [duty for duty in report.duties if "person.date_of_birth" in duty]
    assert report.suffices
    assert len(told) == 1
    assert "2027-09-30" in told[0]


def test_an_upgrade_that_leaves_the_weaker_column_out_is_not_named(base: Agreement) -> None:
    report = classify_changes(base, next_version(base, WEAKER, source=None))
    assert not [duty for duty in report.duties if "person.date_of_birth" in duty]


def test_a_column_that_the_upgrade_feeds_under_a_new_name_is_a_rename_to_the_same_terms(base: Agreement) -> None:
    renamed = column("person.date_of_birth", name="born_on", description="Otherwise said.")
    later = next_version(base, renamed)
    fed = tuple(
        ColumnUpgrade(column="born_on" if c == "date_of_birth" else c, source=c)
        for c in base.contract.table("person").column_names
    )
    assert later.earlier is not None
    upgrade = Upgrade(tables=(TableUpgrade(table="person", columns=fed),))
    later = put(earlier=later.earlier.model_copy(update={"upgrade": upgrade}))(later)
    report = classify_changes(base, later)
    (gained,) = (change for change in report.changes if change.kind == "column.added_optional")
    assert "date_of_birth" in (gained.hint or "")
    assert not [duty for duty in report.duties if "born_on" in duty]
    weaker = column("person.born_on", treatment=Treatment.KEEP, generalisation=None)(later)
    assert [duty for duty in classify_changes(base, weaker).duties if "person.born_on" in duty]


def test_more_protection_does_not_leave_the_earlier_version_open_for_less(base: Agreement) -> None:
    report = classify_changes(base, column("person.sex", treatment=Treatment.DROP)(base))
    assert any("never to go on with less protection" in duty for duty in report.duties)


def test_a_text_counts_as_altered_until_a_person_calls_it_wording(base: Agreement) -> None:
    later = both(reword("children"), column("person.sex", why="Said otherwise."))(base)
    assert classify_changes(base, later).due is Step.MAJOR
    judged = classify_changes(base, later, ["children", "tables.person.sex.why"])
    assert judged.due is Step.NONE
    assert all(change.judged_wording for change in judged.changes)
    assert any("because a person said so" in duty for duty in judged.duties)


@pytest.mark.parametrize("place", ["retention.pool_years", "nowhere", "rights"])
def test_only_a_changed_text_can_be_called_wording(base: Agreement, place: str) -> None:
    later = both(reword("children"), within("retention", pool_years=10))(base)
    with pytest.raises(AgreementError, match="children"):
        classify_changes(base, later, [place])


def test_exchanged_codes_cannot_be_called_wording(base: Agreement) -> None:
    with pytest.raises(AgreementError, match="is not the place of a changed text"):
        classify_changes(base, exchange(base, "female", "male")(base), ["codelists.sex.female+male"])


def test_a_version_that_is_no_number_is_refused(base: Agreement) -> None:
    with pytest.raises(AgreementError, match="numbers and points"):
        classify_changes(base, put(version="two")(base))
