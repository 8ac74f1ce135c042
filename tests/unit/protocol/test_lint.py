"""One fault planted in a copy of the example: found with its file and line. The reference lists the same kinds."""

import re
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from protocol.documents import Fault
from protocol.errors import AgreementError
from protocol.loading import default_agreement_folder, load_agreement
from protocol.review import review_agreement
from protocol.selects import check_select

TODAY = date(2026, 7, 10)
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "agreement.md"
FRAME = "agreement.yaml"
CONTRACT = "v1/casework.odcs.yaml"
CASTLE = "partners/castle_borough.yaml"
GRANT = "grants/evaluation_team.yaml"
RENAMES = "partners/bridge_housing/mapping.yaml"
SELECT = "partners/harbour_trust/mapping/person.sql"


@dataclass(frozen=True)
class Planted:
    """One fault: the text ``old`` of ``file`` becomes ``new``."""

    kind: str
    """As the reference lists it."""
    file: str
    old: str
    new: str
    told: str
    """A part of what is said."""
    at: str | None = None
    """A text whose first line is that of the fault; the place of the edit where it is None, no line where empty."""
    reported_in: str | None = None
    """The file that the fault is told of, where it is another."""
    faults: int = 1


def custom(name: str, value: str) -> str:
    return f"{{property: {name}, value: {value}}}"


SEX_WHY = """          - property: why
            value: >-
              Shows whether women and men are reached and served alike, and tells twins apart in linkage."""

ITEM_NUMBER = """          - {property: purposes, value: [joint_evidence]}
          - {property: why, value: Ties the answers of one assessment together.}"""
FLAG = """classification: operational
        examples: ['no']
        customProperties:
          - {property: treatment, value: keep}"""
OLD_NAME = """          - {property: treatment, value: tokenise}
          - {property: identifier, value: previous_surname}"""

PLANTED = (
    # --- references
    Planted(
        "reference to a missing table",
        CONTRACT,
        "to: person.local_person_id",
        "to: people.local_person_id",
        "refers to the table people, which is missing",
        at=(
            "- name: local_person_id\n"
            "        businessName: Client number\n"
            "        description: 'The partner''s own number of the client, as in person.'"
        ),
    ),
    Planted(
        "reference to a missing column",
        CONTRACT,
        "to: person.local_person_id",
        "to: person.number",
        "should refer to the key of person",
        at=(
            "- name: local_person_id\n"
            "        businessName: Client number\n"
            "        description: 'The partner''s own number of the client, as in person.'"
        ),
    ),
    Planted(
        "reference to what stands below, or in a circle",
        CONTRACT,
        "description: Day of birth.",
        "description: Day of birth.\n        relationships: [{to: cost.cost_number}]",
        "refers to cost, which stands below",
        at="- name: date_of_birth",
        faults=2,
    ),
    Planted(
        "reference whose two sides are treated differently",
        CONTRACT,
        f"{custom('treatment', 'pseudonymise')}\n{ITEM_NUMBER}",
        f"{custom('treatment', 'generalise')}\n{ITEM_NUMBER}",
        "makes it generalise, and assessment.assessment_number, to which it refers, is pseudonymise",
        faults=2,
    ),
    Planted(
        "reference to a missing code list",
        CONTRACT,
        custom("codelist", "sex"),
        custom("codelist", "sexes"),
        "person.sex.codelist: is sexes, and codelists/sexes.yaml is missing",
        faults=2,
    ),
    Planted(
        "truth value that is none",
        CONTRACT,
        "primaryKey: true\n        primaryKeyPosition: 2",
        "primaryKey: yes\n        primaryKeyPosition: 2",
        ".primaryKey: should be true or false",
    ),
    Planted(
        "key column that is not required",
        CONTRACT,
        "primaryKeyPosition: 1\n        required: true",
        "primaryKeyPosition: 1\n        required: false",
        "person.local_person_id.required: should be true",
        at="required: false",
    ),
    Planted(
        "event date that is no date",
        CONTRACT,
        custom("eventDate", "started_on"),
        custom("eventDate", "programme"),
        "enrolment.eventDate: should name a date",
    ),
    Planted(
        "client column that is not there",
        CONTRACT,
        custom("personColumn", "local_person_id"),
        custom("personColumn", "client"),
        "names client, a column that the table does not have",
        faults=2,
    ),
    # --- columns
    Planted(
        "duplicate column",
        CONTRACT,
        "- name: ni_number",
        "- name: nhs_number",
        "is nhs_number again",
        faults=3,
        at="- name: nhs_number\n        businessName: National",
    ),
    Planted(
        "duplicate table",
        CONTRACT,
        "  - name: cost\n",
        "  - name: outcome\n",
        "is outcome again",
        at="  - name: outcome\n    physicalName: cost.csv",
        faults=3,
    ),
    Planted(
        "regex that does not compile",
        CONTRACT,
        "[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}",
        "[0-9{3}",
        "is no regular expression",
    ),
    Planted(
        "regex that only one checker can run",
        CONTRACT,
        "[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}",
        "(?=9)[0-9 ]+",
        "look-around",
    ),
    Planted(
        "minimum over maximum",
        CONTRACT,
        "{minimum: 1, maximum: 1440}",
        "{minimum: 1441, maximum: 1440}",
        "is over the maximum",
    ),
    Planted(
        "code longer than its column",
        CONTRACT,
        "- name: sex\n",
        "- name: sex\n        logicalTypeOptions: {maxLength: 7}\n",
        "the list sex has the longer code indeterminate",
        at="logicalTypeOptions: {maxLength: 7}",
    ),
    Planted(
        "date format that is not the agreed one",
        CONTRACT,
        "{format: yyyy-MM-dd, minimum: '1900-01-01'}",
        "{format: dd/MM/yyyy, minimum: '1900-01-01'}",
        "should be yyyy-MM-dd",
    ),
    Planted(
        "impossible date as a limit", CONTRACT, "minimum: '1900-01-01'", "minimum: '1900-02-30'", "has what is no date"
    ),
    Planted(
        "type that is unknown", CONTRACT, "logicalType: number", "logicalType: float", "logicalType: should be one of"
    ),
    Planted(
        "example that does not pass",
        CONTRACT,
        "examples: ['999 000 0018']",
        "examples: ['999']",
        "have what the pattern does not match",
    ),
    Planted(
        "example outside its limits", CONTRACT, "examples: [55]", "examples: [5000]", "outside minimum and maximum"
    ),
    Planted(
        "example that is no code", CONTRACT, "examples: [female]", "examples: [woman]", "not a code of the list sex"
    ),
    Planted(
        "entry that promises a check nobody makes",
        CONTRACT,
        "required: true",
        "required: true\n        unique: true",
        "is not read. Only keys are unique",
        at="unique: true",
    ),
    # --- protection
    Planted(
        "missing treatment",
        CONTRACT,
        "          - {property: treatment, value: tokenise}\n",
        "",
        "customProperties.treatment: is missing",
        at="customProperties:\n          - {property: identifier, value: nhs_number}",
    ),
    Planted(
        "misspelt treatment",
        CONTRACT,
        custom("treatment", "tokenise"),
        custom("treatment", "tokenize"),
        "person.nhs_number.treatment: input should be",
    ),
    Planted(
        "keep on a direct identifier",
        CONTRACT,
        custom("treatment", "tokenise"),
        custom("treatment", "keep"),
        "keeps a direct identifier",
    ),
    Planted(
        "free text that is not dropped",
        CONTRACT,
        custom("treatment", "drop"),
        custom("treatment", "pseudonymise"),
        "lets free text through",
        faults=2,
    ),
    Planted(
        "text that is kept",
        CONTRACT,
        (
            "classification: quasi_identifier\n"
            "        examples: [H0003120]\n"
            "        customProperties:\n"
            "          - {property: treatment, value: pseudonymise}"
        ),
        (
            "classification: operational\n"
            "        examples: [H0003120]\n"
            "        customProperties:\n"
            "          - {property: treatment, value: keep}"
        ),
        "keeps text, in which a name could stand",
        at=(
            "- {property: treatment, value: keep}\n"
            "          - {property: purposes, value: [joint_evidence]}\n"
            "          - {property: why, value: 'Counts families"
        ),
    ),
    Planted(
        "quasi-identifier that is not made coarser",
        CONTRACT,
        "          - {property: treatment, value: generalise}\n          - {property: generalisation, value: month}\n",
        "          - {property: treatment, value: keep}\n",
        "keeps a quasi-identifier as fine as it is",
        at=(
            "- {property: treatment, value: keep}\n"
            "          - {property: purposes, value: [joint_evidence]}\n"
            "          - property: why\n"
            "            value: >-\n"
            "              People who have died"
        ),
    ),
    Planted(
        "generalisation that does not fit",
        CONTRACT,
        custom("generalisation", "birth_year_band"),
        custom("generalisation", "postcode_district"),
        "cannot be generalised by postcode_district",
        at="- name: date_of_birth",
        faults=2,
    ),
    Planted(
        "special category without an Article 9 condition",
        CONTRACT,
        custom("purposes", "[equality_monitoring]"),
        custom("purposes", "[record_linkage]"),
        "name record_linkage, which has no article_9",
    ),
    Planted(
        "Article 9 condition without Schedule 1",
        FRAME,
        "    schedule_1: Data Protection Act 2018, Schedule 1, Part 2, paragraph 8 (equality of opportunity or "
        "treatment)\n",
        "",
        "purposes.equality_monitoring.schedule_1: is missing",
        at="  - id: equality_monitoring",
    ),
    Planted(
        "offence data without Article 10 and Schedule 1",
        CONTRACT,
        "classification: operational\n        examples: [into_work]",
        "classification: offence\n        examples: [into_work]",
        "name joint_evidence, which has no article_10",
        at="- {property: purposes, value: [joint_evidence, value_for_money]}",
        faults=3,
    ),
    Planted(
        "column without a purpose",
        CONTRACT,
        custom("purposes", "[equality_monitoring]"),
        custom("purposes", "[]"),
        "purposes: are none",
    ),
    Planted(
        "column for an unknown purpose",
        CONTRACT,
        custom("purposes", "[equality_monitoring]"),
        custom("purposes", "[curiosity]"),
        "name curiosity",
    ),
    Planted(
        "column without a why",
        CONTRACT,
        SEX_WHY,
        "",
        "customProperties.why: is missing",
        at=(
            "customProperties:\n"
            "          - {property: treatment, value: keep}\n"
            "          - {property: identifier, value: sex}"
        ),
    ),
    Planted("why that says nothing", CONTRACT, SEX_WHY, "          - {property: why, value: Needed.}", "says nothing"),
    Planted(
        "why that repeats the description",
        CONTRACT,
        SEX_WHY,
        "          - {property: why, value: Sex as the partner recorded it.}",
        "repeats what the column is",
    ),
    Planted(
        "generalise without a generalisation",
        CONTRACT,
        "          - {property: generalisation, value: month}\n",
        "",
        "has to have both the treatment generalise and a generalisation",
        at="- name: died_on",
    ),
    Planted(
        "identifier that counts as harmless",
        CONTRACT,
        "classification: direct_identifier\n        examples: ['999 000 0018']",
        "classification: operational\n        examples: ['999 000 0018']",
        "should be direct_identifier or quasi_identifier: the column is an identifier of a person",
    ),
    Planted(
        "two columns for one identifier",
        CONTRACT,
        OLD_NAME,
        OLD_NAME.replace("previous_surname", "surname"),
        "person.previous_surname.identifier: is that of surname as well",
        at="- {property: identifier, value: surname}\n          - {property: purposes, value: [record_linkage]}\n"
        "          - {property: why, value: Recognises people whom",
    ),
    Planted(
        "client who must not be linked, and is hidden from nobody",
        CONTRACT,
        FLAG,
        FLAG.replace("keep", "drop"),
        "person.do_not_link.treatment: should be keep",
        at="- {property: treatment, value: drop}\n          - {property: codelist, value: yes_no}",
    ),
    Planted(
        "client of whom it is left open whether to link",
        CONTRACT,
        f"required: true\n        {FLAG}",
        f"required: false\n        {FLAG}",
        "a client of whom nothing is said would be linked",
    ),
    Planted(
        "Article 9 condition that names none",
        FRAME,
        "article_9: Article 9(2)(g), substantial public interest",
        "article_9: none",
        "purposes.equality_monitoring.article_9: names no condition",
    ),
    Planted(
        "column that names a purpose twice",
        CONTRACT,
        custom("codelist", "sex") + "\n          - {property: purposes, value: [",
        custom("codelist", "sex") + "\n          - {property: purposes, value: [equality_monitoring, ",
        "person.sex.purposes: have equality_monitoring more than once",
        at="          - {property: purposes, value: [equality_monitoring, ",
    ),
    # --- rules
    Planted(
        "condition that does not parse",
        CONTRACT,
        "status = 'declined' or declined_reason is null",
        "status = 'declined' or",
        "cannot be worked out",
        at="- type: custom\n        engine: linkarms\n        description: 'declined_reason",
    ),
    Planted(
        "condition that names an unknown column",
        CONTRACT,
        "status = 'declined' or declined_reason is null",
        "state = 'declined' or declined_reason is null",
        "names state",
        at="- type: custom\n        engine: linkarms\n        description: 'declined_reason",
    ),
    Planted(
        "rule on a column that is not there",
        CONTRACT,
        "[date_of_birth, died_on]",
        "[date_of_birth, gone_on]",
        "names a column that person does not have",
        at="- type: custom",
    ),
    Planted(
        "rule on dates with what is none",
        CONTRACT,
        "[date_of_birth, died_on]",
        "[date_of_birth, sex]",
        "compares dates, and sex is none",
        at="- name: date_of_birth",
    ),
    # --- code lists
    Planted("duplicate code", "codelists/sex.yaml", "code: male", "code: female", "is female again", faults=2),
    Planted(
        "code in capitals", "codelists/ethnic_group.yaml", "code: white", "code: White", "Write it in small letters"
    ),
    Planted(
        "code that ends before it starts",
        "codelists/sex.yaml",
        "{code: male, label: Male}",
        "{code: male, label: Male, valid_from: 2026-02-01, valid_to: 2026-01-01}",
        "lies before valid_from",
    ),
    Planted(
        "code list that nothing uses",
        CONTRACT,
        custom("codelist", "yes_no"),
        custom("codelist", "yes_no_unknown"),
        "is used by no column",
        at="title:",
        reported_in="codelists/yes_no.yaml",
    ),
    Planted(
        "partner that is missing in its code list",
        "codelists/partner.yaml",
        "code: northgate_skills",
        "code: north",
        "lack the partner northgate_skills",
        at="codes:",
    ),
    Planted(
        "code without a label",
        "codelists/yes_no.yaml",
        "label: 'Yes'",
        "label: ''",
        "of yes says nothing",
    ),
    # --- the frame
    Planted("bad version", FRAME, 'version: "1.0"', "version: one", "should be a version in quotes"),
    Planted("impossible date", FRAME, "review: 2026-11-30", "review: 2026-11-31", "term.review: should be a date"),
    Planted("date in another form", FRAME, "review: 2026-11-30", "review: 30/11/2026", "term.review: should be a date"),
    Planted(
        "term out of order",
        FRAME,
        "review: 2026-11-30",
        "review: 2029-11-30",
        "should start, be reviewed and end",
        at="term:",
    ),
    Planted(
        "no retention",
        FRAME,
        "retention:\n  inbox_days: 14\n  pool_years: 6\n  receipts_years: 7\n",
        "",
        "retention: is missing",
        at="id:",
    ),
    Planted("negative retention", FRAME, "pool_years: 6", "pool_years: -6", "cannot be less than nothing"),
    Planted(
        "minimum of people that is too small",
        FRAME,
        "minimum_people: 8",
        "minimum_people: 1",
        "single people would be published",
    ),
    Planted(
        "no privacy notice",
        FRAME,
        "privacy_notice: >-",
        "privacy_notice: ''\nextra: >-",
        "privacy_notice: says nothing",
        at="privacy_notice",
        faults=2,
    ),
    Planted("lapsed impact assessment", FRAME, "valid_to: 2027-11-13", "valid_to: 2026-07-09", "lapsed on 2026-07-09"),
    Planted(
        "impact assessment that ends before it starts",
        FRAME,
        "completed: 2025-11-14",
        "completed: 2028-11-14",
        "lies before the assessment was completed",
        at="valid_to: 2027-11-13",
    ),
    Planted(
        "agreement that has ended",
        FRAME,
        "ends: 2028-12-31\n  review: 2026-11-30",
        "ends: 2026-06-30\n  review: 2026-06-01",
        "Nothing is taken in under an agreement that has ended",
        faults=13,
    ),
    Planted(
        "clause that governs what another governs",
        FRAME,
        "governs: [membership]",
        "governs: [membership, partner]",
        "is clause 2 that governs partner",
    ),
    Planted(
        "check that no clause governs",
        FRAME,
        "governs: [signature]",
        "governs: []",
        "have none that governs signature",
        at="clauses:",
    ),
    Planted(
        "gap in the calendar",
        FRAME,
        "  quarters: {from: 2026-Q1, to: 2028-Q4}",
        (
            "  periods:\n"
            "    - {id: one, starts: 2026-01-01, ends: 2026-06-30}\n"
            "    - {id: two, starts: 2026-08-01, ends: 2026-12-31}"
        ),
        "leaves a gap",
        at="- {id: two",
    ),
    Planted(
        "overlap in the calendar",
        FRAME,
        "  quarters: {from: 2026-Q1, to: 2028-Q4}",
        (
            "  periods:\n"
            "    - {id: one, starts: 2026-01-01, ends: 2026-06-30}\n"
            "    - {id: two, starts: 2026-06-01, ends: 2026-12-31}"
        ),
        "overlaps the period before it",
        at="- {id: two",
    ),
    Planted(
        "period outside the term",
        FRAME,
        "from: 2026-Q1",
        "from: 2025-Q4",
        "does not lie within the agreement's term",
        at="calendar:",
    ),
    Planted(
        "missing arrangement of joint controllers",
        FRAME,
        "  point_of_contact: castle_borough\n  arrangement: >-",
        "  point_of_contact: castle_borough\n  arrangement: ''\n  note: >-",
        "note: is not an entry",
        faults=1,
        at="note: >-",
    ),
    Planted(
        "processor without a contract",
        FRAME,
        "contract: HEP-DPC-2025-04, signed with this agreement",
        "contract: ''",
        "says nothing. Article 28",
    ),
    Planted(
        "point of contact that is no partner",
        FRAME,
        "point_of_contact: castle_borough",
        "point_of_contact: castle",
        "is castle, which is no partner",
    ),
    Planted(
        "tables of another version",
        CONTRACT,
        'version: "1.0"',
        'version: "1.1"',
        'version: should be "1.0", as in agreement.yaml',
    ),
    Planted(
        "clause that says nothing",
        FRAME,
        "title: Only what is needed",
        "title: ' '",
        "clauses.1.title: says nothing",
    ),
    Planted(
        "period that no manifest can state",
        FRAME,
        "quarters: {from: 2026-Q1, to: 2028-Q4}",
        "periods:\n    - {id: 2026/27, starts: 2026-01-01, ends: 2026-12-31}",
        "calendar.periods.0.id: should be at most 20 letters",
        at="- {id: 2026/27",
    ),
    # --- partners
    Planted(
        "public body without a statutory gateway",
        "partners/bridge_housing/partner.yaml",
        "kind: charity",
        "kind: charity\npublic_body: true",
        "gateway: is missing",
        at="name:",
    ),
    Planted(
        "missing controller role",
        CASTLE,
        "controller_role: joint_controller\n",
        "",
        "controller_role: is missing",
        at="name:",
    ),
    Planted(
        "misspelt controller role",
        CASTLE,
        "controller_role: joint_controller",
        "controller_role: joint",
        "controller_role: input should be",
    ),
    Planted(
        "processor for nobody",
        CASTLE,
        "controller_role: joint_controller",
        "controller_role: processor",
        "is castle_borough, a processor",
        at="point_of_contact",
        reported_in=FRAME,
    ),
    Planted(
        "partner without contacts",
        CASTLE,
        (
            "contacts:\n"
            "  - {role: Information Governance Manager, email: information.governance@castle.example}\n"
            "  - {role: Data Protection Officer, email: dpo@castle.example}"
        ),
        "contacts: []",
        "contacts: are missing",
    ),
    Planted(
        "contact that is no e-mail address",
        CASTLE,
        "email: dpo@castle.example",
        "email: dpo at castle.example",
        "is no e-mail address",
    ),
    Planted(
        "membership that ends before it starts",
        CASTLE,
        "member_from: 2026-01-01",
        "member_from: 2026-01-01\nmember_to: 2025-01-01",
        "lies before member_from",
        at="member_to",
    ),
    Planted("agency that is unknown", CASTLE, "agency: council", "agency: counsel", "should be voluntary, council"),
    Planted("kind of partner that is unknown", CASTLE, "kind: council", "kind: city", "should be charity, council"),
    # --- grants
    Planted("grant on an unknown view", GRANT, "evidence.*", "evidence.people", "there is no measure of that name"),
    Planted(
        "grant on a table that is not there", GRANT, "pool.*", "pool.people", "the contract has no table of that name"
    ),
    Planted(
        "grant on what cannot be granted", GRANT, "pool.*", "linkage.person", "Only evidence.*, pool.* and single views"
    ),
    Planted("grant without an end date", GRANT, "ends: 2027-12-31\n", "", "ends: is missing", at="team:"),
    Planted(
        "grant that outlasts the agreement",
        GRANT,
        "ends: 2027-12-31",
        "ends: 2029-12-31",
        "lies after the agreement's term",
    ),
    Planted(
        "grant for an unknown purpose", GRANT, "[joint_evidence,", "[joy,", "joy, which agreement.yaml does not have"
    ),
    Planted(
        "grant without a purpose",
        GRANT,
        "purposes: [joint_evidence, equality_monitoring, value_for_money]",
        "purposes: []",
        "purposes: are none",
    ),
    Planted("grant that names a purpose twice", GRANT, "equality_monitoring,", "joint_evidence,", "more than once"),
    Planted(
        "login that another grant has",
        "grants/partnership_board.yaml",
        "logins: [board_reader]",
        "logins: [evaluation_analyst]",
        "have evaluation_analyst, which grant evaluation_team has",
    ),
    # --- mappings
    Planted(
        "mapping that leaves a column unmapped",
        RENAMES,
        "    surname: SURNAME\n",
        "",
        "leave out surname",
        at="columns:",
    ),
    Planted(
        "mapping of an unknown column",
        RENAMES,
        "    surname: SURNAME\n",
        "    surname: SURNAME\n    family_name: FAMILY\n",
        "is no agreed column of person",
        at="    family_name",
    ),
    Planted(
        "mapping of two columns to one heading",
        RENAMES,
        "    surname: SURNAME\n",
        "    surname: FORENAME\n",
        "takes the heading FORENAME, as forename does",
    ),
    Planted("mapping to an unknown code", RENAMES, "F: female", "F: woman", "is not a code of the list sex"),
    Planted("SQL that does not parse", SELECT, "FROM clients", "FORM clients", "cannot be parsed: syntax error"),
    Planted(
        "SQL that makes an unknown column",
        SELECT,
        "surname AS surname",
        "surname AS family_name",
        "makes the column family_name, which is not agreed",
        faults=2,
    ),
    Planted(
        "SQL that leaves a column out",
        SELECT,
        "    surname AS surname,\n",
        "",
        "leaves the agreed column surname out",
        at="WITH clients",
    ),
    Planted(
        "SQL that names an unknown column",
        SELECT,
        "surname AS surname",
        "sirname AS surname",
        "names the column sirname, which nothing in its FROM has",
    ),
    Planted(
        "SQL that takes all columns",
        "partners/harbour_trust/mapping/enrolment.sql",
        "SELECT enrolment_number",
        "SELECT *, enrolment_number",
        "takes all columns of a file",
    ),
    Planted("SQL that reads a file by its path", SELECT, "FROM export", "FROM 'export.csv'", "by a path or schema"),
    # --- files
    Planted(
        "key that stands twice",
        FRAME,
        "id: harbour_east\n",
        "id: harbour_east\nid: other\n",
        "the key id stands twice",
        at="id: other",
    ),
    Planted(
        "anchor and alias",
        CASTLE,
        "lawful_basis: 'Article 6(1)(e), public task'",
        "lawful_basis: &basis 'Article 6(1)(e), public task'",
        "is an anchor",
    ),
    Planted("tag", CASTLE, "tier: core", "tier: !!str core", "is a tag"),
    Planted("tab", CASTLE, "tier: core", "\ttier: core", "a tab stands here"),
    Planted(
        "file that stands for nothing",
        "codelists/notes.yaml",
        "",
        "title: Notes\n",
        "is used by no column",
        at="title",
        faults=2,
    ),
    Planted(
        "signature of no partner", "signatures/nobody.yaml", "", "signatures: []\n", "belongs to no partner", at=""
    ),
    Planted("entry that is misspelt", CASTLE, "tier: core", "teir: core", "teir: is not an entry", faults=2),
)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, with one partner that renames its headings and one that has SQL."""
    folder = Path(shutil.copytree(default_agreement_folder(), tmp_path_factory.mktemp("sound") / "agreement"))
    contract = load_agreement(folder).contract
    for partner in ("bridge_housing", "harbour_trust"):
        (folder / "partners" / partner / "mapping").mkdir(parents=True)
        (folder / "partners" / f"{partner}.yaml").rename(folder / "partners" / partner / "partner.yaml")
    (folder / "partners" / "bridge_housing" / "mapping").rmdir()
    columns = [name for name in contract.table("person").column_names if name != "do_not_link"]
    renames = [
        "tables:",
        "  person:",
        "   columns:",
        *(f"    {name}: {name.upper()}" for name in columns),
        "   codes: {sex: {F: female, M: male}}",
        '   constants: {do_not_link: "no"}',
    ]
    (folder / RENAMES).write_text("\n".join(renames) + "\n", encoding="utf-8")
    for table in contract.tables:
        if not table.optional:
            path = folder / "partners" / "harbour_trust" / "mapping" / f"{table.name}.sql"
            path.write_text(f"SELECT {', '.join(table.column_names)} FROM export\n", encoding="utf-8")
    names = contract.table("person").column_names
    made = ",\n    ".join(f"{name} AS {name}" for name in names)
    select = f"WITH clients AS (\n  SELECT {', '.join(names)}\n  FROM export\n)\nSELECT\n    {made}\nFROM clients\n"
    (folder / SELECT).write_text(select, encoding="utf-8")
    return folder


def spoil(folder: Path, planted: Planted) -> None:
    path = folder / planted.file
    text = path.read_text(encoding="utf-8") if planted.old else ""
    assert planted.old in text, f"{planted.file} has no such text to edit"
    path.write_text(text.replace(planted.old, planted.new, 1), encoding="utf-8")


def faults_in(folder: Path) -> tuple[Fault, ...]:
    return review_agreement(folder, TODAY, evidence_views=("reach", "current_figure")).faults


def test_agreement_before_anything_is_planted_has_no_fault(sound: Path) -> None:
    assert faults_in(sound) == ()


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.kind)
def test_planted_fault_is_told_with_its_file_and_line(sound: Path, tmp_path: Path, planted: Planted) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "agreement"))
    edited = folder / planted.file
    text = edited.read_text(encoding="utf-8") if planted.old else ""
    spoil(folder, planted)

    faults = faults_in(folder)

    file = planted.reported_in or planted.file
    (found,) = (fault for fault in faults if planted.told in str(fault))
    assert found.file == file
    told_text = (folder / file).read_text(encoding="utf-8")
    if planted.at is None:
        assert found.line == text[: text.index(planted.old)].count("\n") + 1
    else:
        assert found.line == (told_text[: told_text.index(planted.at)].count("\n") + 1 if planted.at else None)
    assert len(faults) == planted.faults, [str(fault) for fault in faults]


def test_reference_lists_every_kind_and_no_other() -> None:
    section = REFERENCE.read_text(encoding="utf-8").split("### What lint finds", 1)[1].split("\n## ", 1)[0]
    listed = [
        kind.strip()
        for row in re.findall(r"^\| [^|]+ \| (.+) \|$", section, re.MULTILINE)[2:]
        for kind in row.split("; ")
    ]
    assert sorted(listed) == sorted(planted.kind for planted in PLANTED)


def test_each_kind_is_planted_once() -> None:
    kinds = [planted.kind for planted in PLANTED]
    assert len(set(kinds)) == len(kinds) >= 45


def test_faults_of_many_files_are_told_in_one_go(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "agreement"))
    by_file = {
        planted.file: planted for planted in PLANTED if planted.old and planted.kind != "SQL that does not parse"
    }
    for planted in by_file.values():
        spoil(folder, planted)
    told = [str(fault) for fault in faults_in(folder)]
    assert len(by_file) >= 10
    for planted in by_file.values():
        assert any(planted.told in fault for fault in told), planted.kind


def test_file_that_cannot_be_read_hides_no_fault_of_another(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "agreement"))
    (folder / CONTRACT).write_text("schema: [", encoding="utf-8")
    (folder / "codelists" / "sex.yaml").write_text("codes: {", encoding="utf-8")
    for planted in PLANTED:
        if planted.kind in (
            "contact that is no e-mail address",
            "grant that outlasts the agreement",
            "negative retention",
        ):
            spoil(folder, planted)
    files = [fault.file for fault in faults_in(folder)]
    assert files == [FRAME, "codelists/sex.yaml", GRANT, CASTLE, CONTRACT]


def test_agreement_yaml_that_cannot_be_read_hides_no_fault_of_another(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "agreement"))
    (folder / FRAME).write_text("id: [", encoding="utf-8")
    for planted in PLANTED:
        if planted.kind in ("contact that is no e-mail address", "misspelt treatment"):
            spoil(folder, planted)
    assert [fault.file for fault in faults_in(folder)] == [FRAME, CASTLE, CONTRACT]


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        (
            {
                "of: assessment_item.score": "of: assessment_item.mark",
                "not_before: person.date": "not_before: person.day",
            },
            ["assessment.assessed_on.date_order_across", "assessment.total_score.total"],
        ),
        ({"heldBackShare, value: 0.": "heldBackShare, value: 7."}, ["customProperties.heldBackShare"]),
        ({"logicalType: string\n        logicalTypeOptions: {maxLength: 80}": "logicalType: []"}, ["logicalType"]),
    ],
)
def test_fault_hides_none_of_its_kind_and_breeds_none(
    sound: Path, tmp_path: Path, edits: dict[str, str], told: list[str]
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "agreement"))
    text = (folder / CONTRACT).read_text(encoding="utf-8")
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new, 1)
    (folder / CONTRACT).write_text(text, encoding="utf-8")
    entries = [fault.entry for fault in faults_in(folder)]
    assert len(entries) == len(told)
    assert all(entry.endswith(end) for entry, end in zip(entries, told, strict=True)), entries


def test_loading_refuses_with_the_same_lines(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "agreement"))
    spoil(folder, next(planted for planted in PLANTED if planted.kind == "misspelt treatment"))
    (fault,) = faults_in(folder)
    with pytest.raises(AgreementError) as refused:
        load_agreement(folder)
    assert str(refused.value).splitlines()[1:] == [f"- {fault}"]
    assert re.match(r"v1/casework\.odcs\.yaml:\d+: person\.nhs_number\.treatment: ", str(fault))


def test_loading_does_not_depend_on_the_day(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "agreement"))
    spoil(folder, next(planted for planted in PLANTED if planted.kind == "lapsed impact assessment"))
    assert load_agreement(folder).dpia.valid_to == date(2026, 7, 9)


@pytest.mark.parametrize(
    ("today", "told"),
    [
        (date(2025, 11, 1), "dpia.completed: is 2025-11-14. Nothing is taken in before that"),
        (date(2026, 10, 1), "term.review: is due on 2026-11-30"),
        (date(2026, 12, 1), "term.review: was due on 2026-11-30"),
        (date(2027, 10, 1), "dpia.valid_to: lapses on 2027-11-13"),
        (date(2027, 11, 13), "grants/evaluation_team.yaml:6: ends: is 2027-12-31"),
        (date(2028, 1, 1), "grants/evaluation_team.yaml:6: ends: was 2027-12-31"),
        (date(2028, 11, 1), "term.ends: is 2028-12-31"),
        (TODAY, "signatures/lantern_youth.yaml: Lantern Youth has not signed"),
    ],
)
def test_what_lapses_soon_is_a_warning(today: date, told: str) -> None:
    warnings = [str(warning) for warning in review_agreement(default_agreement_folder(), today).warnings]
    assert any(told in warning for warning in warnings), warnings


def test_purpose_that_nothing_serves_is_a_warning(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(default_agreement_folder(), tmp_path / "agreement"))
    path = folder / FRAME
    purpose = (
        "  - id: curiosity\n    title: Curiosity\n    description: Wanting to know.\n    article_6: Article 6(1)(f)\n"
    )
    path.write_text(
        path.read_text(encoding="utf-8").replace("purposes:\n", f"purposes:\n{purpose}", 1), encoding="utf-8"
    )
    review = review_agreement(folder, TODAY)
    assert not review.faults
    assert any("is the purpose of no column" in str(warning) for warning in review.warnings)


def test_table_that_no_workbook_can_have_is_a_warning(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(default_agreement_folder(), tmp_path / "agreement"))
    text = (folder / CONTRACT).read_text(encoding="utf-8")
    (folder / CONTRACT).write_text(
        text.replace("- name: cost\n", "- name: history\n").replace("cost.csv", "history.csv"), encoding="utf-8"
    )
    review = review_agreement(folder, TODAY)
    assert not review.faults
    (warning,) = (warning for warning in review.warnings if warning.file == CONTRACT)
    assert (warning.entry, warning.line) == ("history", text[: text.index("- name: cost\n")].count("\n") + 1)
    assert warning.what.startswith("a sheet of this name has another use")


@pytest.mark.parametrize(
    ("purposes", "views", "told"),
    [
        ("joint_evidence", "evidence.*, pool.*", "views: have pool.cost, of which no column but pseudonyms"),
        ("joint_evidence, value_for_money", "pool.person", "purposes: name value_for_money, and no column of its"),
        ("value_for_money", "pool.person", "views: have pool.person, of which no column but pseudonyms"),
        ("joint_evidence, value_for_money", "evidence.*, pool.*", None),
        ("record_linkage", "evidence.*", None),  # figures are of no single purpose
    ],
)
def test_grant_whose_purposes_and_views_do_not_meet_is_a_warning(
    tmp_path: Path, purposes: str, views: str, told: str | None
) -> None:
    folder = Path(shutil.copytree(default_agreement_folder(), tmp_path / "agreement"))
    text = (folder / GRANT).read_text(encoding="utf-8")
    text = text.replace("joint_evidence, equality_monitoring, value_for_money", purposes)
    (folder / GRANT).write_text(text.replace("evidence.*, pool.*", views), encoding="utf-8")
    review = review_agreement(folder, TODAY)
    assert not review.faults
    warnings = [str(warning) for warning in review.warnings if warning.file == GRANT]
    assert any(told in warning for warning in warnings) if told else not warnings


@pytest.mark.parametrize(
    "text",
    [
        "WITH RECURSIVE t(a) AS (SELECT 1 UNION ALL SELECT a FROM t), u AS (SELECT a, 1 AS b FROM t) SELECT * FROM u",
        "SELECT a, b FROM x UNION ALL SELECT c, d FROM y",
        "SELECT t.a, u.b FROM t JOIN u USING (id) ORDER BY 1",
        "WITH e AS (SELECT i AS a, j AS b FROM f) SELECT * FROM e WHERE EXISTS (FROM g WHERE g.z = e.a AND y = b)",
        "SELECT list_first(list_transform([x], y -> y + 1)) AS a, count(*) FILTER (WHERE c) AS b FROM f GROUP BY ALL",
        "FROM f SELECT a, CASE WHEN b LIKE 'x' THEN trim(b) END AS b QUALIFY row_number() OVER (ORDER BY a) = 1",
    ],
)
def test_good_sql_is_left_alone(text: str) -> None:
    assert check_select(text, ("a", "b")) == ()


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("SELECT a,\n  trimm(b) AS b\nFROM f", 2, "calls trimm, which DuckDB does not have"),
        ("SELECT a, b\nFROM read_csv('x')", 2, "reads from the function read_csv"),
        ("WITH e AS (SELECT 1 AS a)\nSELECT a,\n  e.b\nFROM e", 3, "names e.b, and e has no such column"),
        ("SELECT a AS a,\n  c AS A, b FROM f", 2, "makes the column a twice"),
        ("SELECT a, b FROM f WHERE x IN (SELECT y FROM (SELECT 1 AS z) AS g WHERE g.y = 1)", 1, "names g.y"),
        ("SELECT a, 1 + 1, b FROM f", 1, "makes a column without a name"),
    ],
)
def test_bad_sql_is_told_with_its_line(text: str, line: int, told: str) -> None:
    faults = check_select(text, ("a", "b"))
    assert any(fault.line == line and told in fault.what for fault in faults), faults
