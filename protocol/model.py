"""The signed agreement as frozen, typed models: what the partners agreed, and nothing about how it is done.

Every other package takes these models as arguments. They forbid unknown entries, so a misspelt key in the agreement
is an error and not a silent default. :func:`protocol.loading.load_agreement` builds them from the agreement's folder.
"""

from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""A name that is safe as a file, column, role and schema name: lower case, digits and underscores."""


class Frozen(BaseModel):
    """Base of all models: immutable, and an entry that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- the contract: tables and columns -------------------------------------------------------------------------------


class ColumnType(StrEnum):
    """How the text of a cell is read."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    """ISO 8601, ``2026-03-31``."""
    CODE = "code"
    """One of the codes of the column's code list."""


class Treatment(StrEnum):
    """What becomes of a column on its way to the pool. Only a declared treatment lets anything through."""

    KEEP = "keep"
    """Goes into the pool as it is."""
    GENERALISE = "generalise"
    """Goes into the pool coarser, by the column's ``generalisation``."""
    PSEUDONYMISE = "pseudonymise"
    """A partner's own key (client, assessment, referral number): replaced by a keyed pseudonym."""
    TOKENISE = "tokenise"
    """An identifier of a person: used for linkage tokens, then gone. Never in the pool in any form."""
    DROP = "drop"
    """Checked, then gone. The only treatment for free text."""


class Classification(StrEnum):
    """How sensitive a column is."""

    DIRECT_IDENTIFIER = "direct_identifier"
    QUASI_IDENTIFIER = "quasi_identifier"
    SPECIAL_CATEGORY = "special_category"
    OFFENCE = "offence"
    FREE_TEXT = "free_text"
    OPERATIONAL = "operational"


class Generalisation(StrEnum):
    """How a quasi-identifier is made coarser."""

    BIRTH_YEAR_BAND = "birth_year_band"
    """Date of birth to a five-year band of birth years, ``1980-1984``."""
    MONTH = "month"
    """Date to the first day of its month."""
    POSTCODE_DISTRICT = "postcode_district"
    """UK postcode to its outward code, ``LU1``; non-geographic codes become null."""


class IdentifierRole(StrEnum):
    """What an identifier is, for normalisation and matching."""

    FORENAME = "forename"
    MIDDLE_NAMES = "middle_names"
    SURNAME = "surname"
    PREVIOUS_SURNAME = "previous_surname"
    DATE_OF_BIRTH = "date_of_birth"
    SEX = "sex"
    POSTCODE = "postcode"
    NHS_NUMBER = "nhs_number"
    NI_NUMBER = "ni_number"
    PHONE = "phone"
    EMAIL = "email"
    SHARED_PERSON_NUMBER = "shared_person_number"
    """A number that the partners already share for a person; equal numbers are the same person."""


class OnFailure(StrEnum):
    """What a broken rule does."""

    HOLD_BACK = "hold_back"
    """The rows that break it are held back, the rest goes on."""
    REFUSE = "refuse"
    """The whole submission is refused."""
    NOTE = "note"
    """It is told and nothing else."""


class Column(Frozen):
    """One agreed column."""

    name: Name
    label: str
    """What a form would call it, ``Date of birth``."""
    description: str
    type: ColumnType
    required: bool = False
    """A row without it is held back."""
    treatment: Treatment
    classification: Classification
    purposes: tuple[Name, ...]
    why: str
    """Why the pool cannot do without it: one sentence that a data subject would accept."""
    identifier: IdentifierRole | None = None
    generalisation: Generalisation | None = None
    codelist: Name | None = None
    pattern: str | None = None
    """Regular expression that the whole cell has to match."""
    form: str | None = None
    """What the pattern asks for, in words that finish "is not ...": ``a UK postcode``."""
    pattern_failure: OnFailure = OnFailure.HOLD_BACK
    """What a cell does that does not match the pattern. ``note`` suits an identifier: linkage treats a malformed one
    as missing, and the rest of the row is still good."""
    minimum: str | None = None
    maximum: str | None = None
    """Inclusive limits, as text in the column's own form (number or ISO date)."""
    max_length: int = 200
    example: str
    """A made-up value that passes."""


class Reference(Frozen):
    """Columns of this table that have to be found in another table of the same submission (or of the partner's
    earlier ones, where the submission is a delta)."""

    columns: tuple[Name, ...]
    to_table: Name
    to_columns: tuple[Name, ...]


class RuleKind(StrEnum):
    """The kinds of rule; row rules first, then those of the submission as a whole."""

    REQUIRED = "required"
    TYPE = "type"
    CODE = "code"
    PATTERN = "pattern"
    LENGTH = "length"
    RANGE = "range"
    UNIQUE = "unique"
    REFERENCE = "reference"
    DATE_ORDER = "date_order"
    """``columns`` = (earlier, later); a row with either missing passes."""
    NOT_AFTER_EXTRACT = "not_after_extract"
    """A date must not lie after the manifest's extract date."""
    WITHIN_PERIOD = "within_period"
    """A date must lie in the submission's period."""
    TOTAL = "total"
    """``columns[0]`` equals the sum of ``to_columns[0]`` over the rows of ``to_table`` that belong to the row: those
    whose ``to_join`` equal the row's ``join``. A row without a total, or without rows that belong to it, passes."""
    DATE_ORDER_ACROSS = "date_order_across"
    """The date in ``columns[0]`` is not before that in ``to_columns[0]`` of the row of ``to_table`` that the row refers
    to (``join`` = ``to_join``); a row with either missing passes."""
    CONDITION = "condition"
    """``expression`` is true for the row, see :mod:`protocol.conditions`; where it is null the row passes."""
    COMPLETENESS = "completeness"
    """Share of rows of ``columns[0]`` that are filled is at least ``share``."""
    HELD_BACK_SHARE = "held_back_share"
    """At most ``share`` of a table's rows may be held back, else the submission is refused."""
    ROW_COUNT = "row_count"
    """The table has at least ``minimum`` rows unless it is declared nil."""


ROW_RULES = frozenset(
    {
        RuleKind.REQUIRED,
        RuleKind.TYPE,
        RuleKind.CODE,
        RuleKind.PATTERN,
        RuleKind.LENGTH,
        RuleKind.RANGE,
        RuleKind.UNIQUE,
        RuleKind.REFERENCE,
        RuleKind.DATE_ORDER,
        RuleKind.NOT_AFTER_EXTRACT,
        RuleKind.WITHIN_PERIOD,
        RuleKind.TOTAL,
        RuleKind.DATE_ORDER_ACROSS,
        RuleKind.CONDITION,
    }
)


class Rule(Frozen):
    """One rule of the agreement: the single source of the Polars check and of the Great Expectations suite."""

    code: str
    """``table.column.kind``, unique in the contract; columns of a rule over several are joined by ``+``."""
    kind: RuleKind
    table: Name
    columns: tuple[Name, ...] = ()
    on_failure: OnFailure = OnFailure.HOLD_BACK
    type: ColumnType | None = None
    codelist: Name | None = None
    codes: tuple[str, ...] = ()
    pattern: str | None = None
    minimum: str | None = None
    maximum: str | None = None
    max_length: int | None = None
    share: float | None = None
    to_table: Name | None = None
    to_columns: tuple[Name, ...] = ()
    join: tuple[Name, ...] = ()
    to_join: tuple[Name, ...] = ()
    """Where two tables are compared: own columns, and the columns of ``to_table`` that equal them."""
    expression: str | None = None
    """A condition over the row's columns, see :mod:`protocol.conditions`."""
    sentence: str
    """What is wrong when it is broken, for a person with a spreadsheet; names columns by their agreed names."""
    mend: str
    example: str | None = None

    @property
    def is_row_rule(self) -> bool:
        """True where the rule decides single rows."""
        return self.kind in ROW_RULES


class Table(Frozen):
    """One agreed table of a submission."""

    name: Name
    label: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[Name, ...]
    """The partner's own key of a row."""
    person_column: Name | None = None
    """The column with the partner's own client number, where rows are about a person."""
    event_date: Name | None = None
    """The column whose date places a row in time."""
    references: tuple[Reference, ...] = ()
    rules: tuple[Rule, ...] = ()
    """Every rule of the table: those that columns, key and references imply, then those declared besides."""
    optional: bool = False
    """A partner that does not do this work leaves the file out."""

    def column(self, name: str) -> Column:
        """The column of that name; KeyError where the table has none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name}")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all columns, in the agreed order."""
        return tuple(column.name for column in self.columns)


class Contract(Frozen):
    """One version of the tables that partners submit."""

    version: str
    tables: tuple[Table, ...]

    def table(self, name: str) -> Table:
        """The table of that name; KeyError where there is none."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(f"the contract has no table {name}")

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of all tables, in the agreed order (parents before children)."""
        return tuple(table.name for table in self.tables)

    def is_about_people(self, name: str) -> bool:
        """True where the table's rows are tied to a person, by their own column or by what they refer to."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self.table_names:
                continue
            seen.add(name)
            if self.table(name).person_column is not None:
                return True
            waiting += [reference.to_table for reference in self.table(name).references]
        return False


class Code(Frozen):
    """One code of a code list."""

    code: str
    label: str
    valid_from: date | None = None
    valid_to: date | None = None


class CodeList(Frozen):
    """A closed list of codes. ``unknown`` stands for a question that was asked and not answered."""

    name: Name
    title: str
    codes: tuple[Code, ...]
    source: str | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """All codes, in their agreed order."""
        return tuple(code.code for code in self.codes)

    def label(self, code: str) -> str:
        """The label of a code; KeyError where the list has no such code."""
        for entry in self.codes:
            if entry.code == code:
                return entry.label
        raise KeyError(f"code list {self.name} has no such code")


# --- partners ---------------------------------------------------------------------------------------------------------


class Signature(Frozen):
    """A partner's signature under one version of the agreement."""

    version: str
    digest: str
    """SHA-256 of the agreement's text as signed, see :func:`protocol.digest.agreement_digest`."""
    by: str
    """The office that signed, such as ``Director of Adult Services``: an office, not a person's name."""
    on: date


class Contact(Frozen):
    """Whom to ask at a partner, by office."""

    role: str
    email: str


class Mapping(Frozen):
    """How a partner's own export becomes the agreed tables. Signed with the agreement.

    Either ``tables`` (renamed files, columns and codes) or ``sql`` (one SELECT a table) or neither, for a partner
    that uses the agreed names.
    """

    tables: tuple["TableMapping", ...] = ()
    sql: tuple["SqlMapping", ...] = ()
    version: str | None = None
    """The version of the agreement whose tables it makes; the agreement's own where it is missing."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """Available to the SQL as ``getvariable('name')``."""
    manifest_from_name: bool = False
    """The export has no manifest: the drop's name is the period (``2026-Q1.zip``), and it is a full one."""


class TableMapping(Frozen):
    """Renames for one agreed table."""

    table: Name
    file: str | None = None
    """The partner's own file name; the agreed one where it is missing."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Agreed column -> the partner's own heading."""
    codes: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Agreed column -> the partner's own code -> agreed code."""
    constants: dict[str, str] = Field(default_factory=dict)
    """Agreed column -> a value that holds for every row of this partner's export."""
    absent: tuple[Name, ...] = ()
    """Agreed columns that the partner does not hold; they stay empty."""


class SqlMapping(Frozen):
    """The SELECT that makes one agreed table from the partner's own files."""

    table: Name
    select: str
    """One SELECT over the partner's files, each a view named like the file in lower case without its ending."""


class ControllerRole(StrEnum):
    """What a partner is for the pool, by data protection law."""

    JOINT_CONTROLLER = "joint_controller"
    """Decides on purposes and means together with others (Article 26)."""
    CONTROLLER = "controller"
    """Decides by itself, and discloses to the partnership."""
    PROCESSOR = "processor"
    """Acts for controllers and on their instructions (Article 28)."""


class ChannelKind(StrEnum):
    """What carries a partner's drops and receipts."""

    FOLDER = "folder"
    SFTP = "sftp"
    S3 = "s3"
    """Storage that speaks S3, of whatever maker."""


class Sealing(StrEnum):
    """Whether a partner's drops have to be sealed."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    """A drop that is not sealed is refused."""


class Pseudonymising(StrEnum):
    """Whether a partner replaces identifiers at its own site, before anything is sent."""

    OFFERED = "offered"
    """It may."""
    REQUIRED = "required"
    """A drop with identifiers is refused."""


class PartnerChannel(Frozen):
    """A partner's way in and out: ``<root>/inbox`` and ``<root>/outbox``."""

    kind: ChannelKind = ChannelKind.FOLDER
    connection: Name | None = None
    """The connection's name, for SFTP and S3; what it holds is the installation's and never the agreement's."""
    root: str | None = None
    """A path, or bucket and prefix. A folder without one is the installation's own inbox for the partner."""
    sealed: Sealing = Sealing.OPTIONAL
    pseudonymised: Pseudonymising = Pseudonymising.OFFERED


PARTNER_KINDS = ("charity", "council", "job_centre", "health")
AGENCIES = ("voluntary", "council", "dwp", "nhs")


class Partner(Frozen):
    """One party to the agreement."""

    id: Name
    name: str
    kind: str
    """One of :data:`PARTNER_KINDS`."""
    agency: str
    """Where its costs and benefits count: one of :data:`AGENCIES`."""
    tier: str
    """``core`` or ``wider``."""
    member_from: date
    member_to: date | None = None
    public_body: bool = False
    gateway: str | None = None
    """Statutory gateway, where it is a public body."""
    controller_role: ControllerRole
    lawful_basis: str
    contacts: tuple[Contact, ...]
    signatures: tuple[Signature, ...] = ()
    duplicate_free: bool = False
    """True where the partner vouches that no person is twice in its own file."""
    mapping: Mapping = Mapping()
    channel: PartnerChannel = PartnerChannel()


# --- the agreement ------------------------------------------------------------------------------------------------


class Purpose(Frozen):
    """A purpose for which data may be used."""

    id: Name
    title: str
    description: str
    article_6: str
    article_9: str | None = None
    article_10: str | None = None
    schedule_1: str | None = None


class GateCheck(StrEnum):
    """What is looked at before a submission may be read, see :mod:`protocol.gate`."""

    PARTNER = "partner"
    """The submission is from a party to the agreement."""
    SIGNATURE = "signature"
    """The partner has signed the text that holds now."""
    TERM = "term"
    """The agreement holds today."""
    DPIA = "dpia"
    """The data protection impact assessment holds today."""
    MEMBERSHIP = "membership"
    """The partner was a member in the period."""
    PERIOD = "period"
    """The period is in the calendar and its window is open."""
    VERSION = "version"
    """The submission was made to a version that is accepted for its period today."""


class Processor(Frozen):
    """Who processes personal data for controllers (Article 28)."""

    name: str
    """A partner's id, or the name of an organisation that is no partner."""
    acts_for: tuple[Name, ...]
    """The partners whose processor it is."""
    task: str
    contract: str
    """The contract or other binding act under which it does so."""


class Controllers(Frozen):
    """Who answers for the personal data (Articles 26 and 28)."""

    point_of_contact: Name
    """The partner to which people may turn for all."""
    arrangement: str
    """How joint controllers share their duties, in words that people are given."""
    processors: tuple[Processor, ...] = ()


class Clause(Frozen):
    """A numbered clause of the agreement, so that a refusal can name it."""

    number: str
    title: str
    text: str
    governs: tuple[GateCheck, ...] = ()
    """The checks of the gate that this clause decides; every check has exactly one clause."""

    @property
    def name(self) -> str:
        """How a finding cites it, ``4.2 Signatures``."""
        return f"{self.number} {self.title}"


class Term(Frozen):
    """From when to when the agreement holds."""

    starts: date
    ends: date
    review: date


class Dpia(Frozen):
    """The data protection impact assessment."""

    reference: str
    completed: date
    valid_to: date


class Period(Frozen):
    """A collection period."""

    id: str
    """``2026-Q1`` for quarters, else as listed."""
    starts: date
    ends: date
    """Last day, included."""


class Calendar(Frozen):
    """Which periods there are and when they may be submitted."""

    periods: tuple[Period, ...]
    opens_days_after_end: int = 0
    closes_days_after_end: int = 365
    """A submission for a period is accepted between these days after the period's end."""

    def period(self, period_id: str) -> Period:
        """The period of that id; KeyError where the calendar has none."""
        for period in self.periods:
            if period.id == period_id:
                return period
        raise KeyError("the agreement's calendar has no such period")

    def opens_on(self, period: Period) -> date:
        """First day on which the period may be submitted."""
        return period.ends + timedelta(days=self.opens_days_after_end)

    def closes_on(self, period: Period) -> date:
        """Last day on which the period may be submitted."""
        return period.ends + timedelta(days=self.closes_days_after_end)


class VersionWindow(Frozen):
    """From when to when one version of the agreement's tables is submitted, see :mod:`protocol.versions`."""

    version: str
    first_period: str
    """The first period that is submitted by it."""
    sunset: date | None = None
    """Of an earlier version: the last day on which it is still taken for periods of the version after it."""


class ColumnUpgrade(Frozen):
    """How one column of the agreement's own version is fed from a row of the earlier version."""

    column: Name
    source: Name | None
    """The column of the earlier version; None where that version did not collect it."""
    codes: dict[str, str] = Field(default_factory=dict)
    """Earlier value -> code. Empty where values are taken over as they are."""
    otherwise: str | None = None
    """The code of every value that is not among ``codes``; None where they are taken over as they are."""
    empty: str | None = None
    """The code that stands for an empty cell; None where it stays empty."""

    @property
    def keeps_values(self) -> bool:
        """True where the column's values are those of the earlier version."""
        return self.source is not None and not self.codes and self.otherwise is None and self.empty is None


class TableUpgrade(Frozen):
    """How one table of the agreement's own version is fed from the table of that name of the earlier version."""

    table: Name
    collected: bool = True
    """False for a table that the earlier version did not have."""
    columns: tuple[ColumnUpgrade, ...] = ()
    """One for each column of the table, in the agreed order."""
    left_out: tuple[Name, ...] = ()
    """Columns of the earlier version that end with it."""

    def column(self, name: str) -> ColumnUpgrade:
        """How that column is fed; KeyError where the table has none of that name."""
        for column in self.columns:
            if column.column == name:
                return column
        raise KeyError(f"{self.table} has no column {name}")


class Upgrade(Frozen):
    """How rows of the earlier version become rows of the agreement's own: every table and column, none left open."""

    tables: tuple[TableUpgrade, ...]
    left_out: tuple[Name, ...] = ()
    """Tables of the earlier version that end with it."""

    def table(self, name: str) -> TableUpgrade:
        """How that table of the agreement's own version is fed; KeyError where there is none of that name."""
        for table in self.tables:
            if table.table == name:
                return table
        raise KeyError(f"there is no table {name}")


class EarlierVersion(Frozen):
    """The version before the agreement's own, which partners may still submit by."""

    contract: Contract
    codelists: tuple[CodeList, ...]
    upgrade: Upgrade


class Retention(Frozen):
    """How long what is kept."""

    inbox_days: int
    """Days that an accepted drop stays in the partner's inbox."""
    pool_years: int
    receipts_years: int


class Disclosure(Frozen):
    """The figures of disclosure control."""

    minimum_people: int = 8
    """Counts of people from 1 to one below this are withheld."""
    rounding_base: int = 5


class MeasureFigures(Frozen):
    """Figures that the measures take from the agreement."""

    repeat_window_days: int = 90
    lost_referral_days: int = 28
    bounce_days: int = 30
    hourly_cost_gbp: float = 0.0
    """Cost of an hour of assessment, for the cost of repeats."""
    hourly_cost_source: str = ""


class Grant(Frozen):
    """Who may read which views, for what, and until when."""

    id: Name
    team: str
    purposes: tuple[Name, ...]
    """What the data may be used for: a view of the pool shows a column only where it is shared for one of these."""
    views: tuple[str, ...]
    """``evidence.*``, ``pool.*``, or single ones such as ``evidence.reach`` and ``pool.assessment``."""
    logins: tuple[Name, ...]
    starts: date
    ends: date

    @property
    def schemas(self) -> tuple[str, ...]:
        """The schemas that its views are in: ``evidence``, ``pool``."""
        return tuple(sorted({view.partition(".")[0] for view in self.views}))


class Agreement(Frozen):
    """Everything the partners signed."""

    id: Name
    title: str
    version: str
    coordinator: Contact
    """The office that runs the partnership: whom a receipt names for questions about the agreement."""
    digest: str
    """SHA-256 of the text as it stands now, see :func:`protocol.digest.agreement_digest`."""
    clauses: tuple[Clause, ...]
    purposes: tuple[Purpose, ...]
    term: Term
    dpia: Dpia
    controllers: Controllers
    privacy_notice: str
    confidentiality_basis: str
    national_data_opt_out: str
    children: str
    breach: str
    exit_clause: str
    rights: str
    calendar: Calendar
    versions: tuple[VersionWindow, ...] = ()
    """Newest first, the first being the agreement's own. Empty where one version stands for all periods; then see
    :func:`protocol.versions.windows`."""
    earlier: EarlierVersion | None = None
    """The version before, where ``versions`` names two."""
    retention: Retention
    disclosure: Disclosure
    measures: MeasureFigures
    contract: Contract
    codelists: tuple[CodeList, ...]
    partners: tuple[Partner, ...]
    grants: tuple[Grant, ...]

    def partner(self, partner_id: str) -> Partner:
        """The partner of that id; KeyError where there is none."""
        for partner in self.partners:
            if partner.id == partner_id:
                return partner
        raise KeyError(f"the agreement has no partner {partner_id}")

    def codelist(self, name: str) -> CodeList:
        """The code list of that name; KeyError where there is none."""
        for codelist in self.codelists:
            if codelist.name == name:
                return codelist
        raise KeyError(f"the agreement has no code list {name}")
