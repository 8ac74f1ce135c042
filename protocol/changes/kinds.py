"""Every kind of change that is told apart, and what each of them means to each of the three audiences.

This table is the whole of the judgement; the comparers only find out which line of it a change belongs to.
``docs/reference/agreement-changes.md`` gives the reasons, and ``tests/unit/protocol/test_changes.py`` plants a change
for every line.
"""

from dataclasses import dataclass
from enum import StrEnum


class Audience(StrEnum):
    """Who may be harmed by a change. In the order in which reports tell them."""

    DATA_SUBJECTS = "data_subjects"
    """The people whose data are held."""
    SUBMITTERS = "submitters"
    """Those who make and send extracts."""
    ANALYSTS = "analysts"
    """Those who read the pool and the evidence."""


class Effect(StrEnum):
    """What a change does to an audience, worst first."""

    BREAK = "break"
    """Something that it could rely on holds no longer, or nobody but a person can tell whether it still does."""
    EXTENSION = "extension"
    """Everything that it could rely on still holds, and there is more: more may be sent, more can be read, more
    protects."""
    CLARIFICATION = "clarification"
    """It is said differently, or told for information; nobody has to do anything."""
    NONE = "none"
    """It does not concern this audience."""

    @property
    def rank(self) -> int:
        """0 for the worst; larger is milder."""
        return _ORDER.index(self)


_ORDER = (Effect.BREAK, Effect.EXTENSION, Effect.CLARIFICATION, Effect.NONE)


def worst(effects: list[Effect]) -> Effect:
    """The worst of some effects; ``none`` where there are none."""
    return min(effects, key=lambda effect: effect.rank, default=Effect.NONE)


@dataclass(frozen=True)
class Kind:
    """One kind of change."""

    code: str
    title: str
    """What happened, in words that follow the place: ``tables.person.sex.required``: *has to be filled in now*."""
    submitters: Effect
    analysts: Effect
    data_subjects: Effect
    is_text: bool = False
    """True where only a person can tell whether a text was reworded or altered. It counts as altered until somebody
    says that it is a matter of wording."""

    def effect(self, audience: Audience) -> Effect:
        """What it does to one audience."""
        return Effect(getattr(self, audience.value))


_EFFECTS = {"B": Effect.BREAK, "E": Effect.EXTENSION, "C": Effect.CLARIFICATION, "-": Effect.NONE}

# Code, effects on (submitters, analysts, data subjects), title; a * after the effects marks a text.
_TABLE = """
unclassified              BBB   was changed, and Linkarms cannot tell what that means; it counts as a break for all
text.layout               CCC   has other white space or line ends, and the same words
agreement.id              BBB   is another agreement now: a pool that was set up under the earlier one refuses it
agreement.title           CCC   has another title
agreement.version         CCC   has another version number, which manifests have to state
coordinator.changed       C-C   has another address for questions

clause.added              CCB*  is a new clause, and only a person can tell what it allows
clause.removed            CCB*  is a clause no longer
clause.changed            CCB*  is a clause with other words
clause.renumbered         C-C   has another number, and the same words
clause.governs            C--   is cited for other refusals than before
clauses.reordered         CCC   stand in another order

purpose.added             CEB   is a new purpose for which data may be used
purpose.removed           CBE   is a purpose no longer
purpose.changed           CCB*  is a purpose in other words, and may be a wider one
purpose.basis             CCB   rests on another lawful basis or condition
purposes.reordered        CCC   stand in another order

term.starts_earlier       EEB   begins earlier
term.starts_later         BCE   begins later
term.longer               EEB   ends later: data are collected and used for longer
term.shorter              BBE   ends earlier
term.review_later         --B   is looked at again later than was promised
term.review_earlier       --E   is looked at again earlier

dpia.renewed              C-C   is another impact assessment
dpia.stretched            E-B   holds for longer without having been made anew
dpia.shorter              B-E   holds for a shorter time; nothing is taken in after it

promise.privacy_notice    C-B*  tells people in other words what is done with their data
promise.confidentiality   C-B*  gives another basis for disclosing what is held in confidence
promise.opt_out           BBB*  treats objections under the national opt-out in other words: other rows may be sent
promise.children          BBB*  treats children's data in other words: other rows may be sent
promise.breach            C-B*  deals with breaches in other words
promise.exit              CCB*  says in other words what becomes of the data of a partner that leaves
promise.rights            C-B*  says in other words how people get their rights

period.added              EEB   is a new period for which data are collected
period.removed            BBE   is a period no longer; what is sent for it is refused
period.wider              BBB   covers days that it did not cover
period.narrower           BBE   covers fewer days
periods.reordered         CCC   stand in another order
window.wider              EC-   lets extracts come earlier or later than before
window.narrower           BC-   leaves less time to send an extract

retention.inbox_longer    C-B   is kept longer in the inbox, with its identifiers
retention.inbox_shorter   C-E   is kept for less time in the inbox
retention.pool_longer     -EB   is kept longer in the pool
retention.pool_shorter    -BE   is kept for less time in the pool
retention.receipts_longer C-B   is kept longer
retention.receipts_shorter C-E  is kept for less time

disclosure.smaller_cell   -EB   lets counts of fewer people be published
disclosure.larger_cell    -BE   withholds counts that were published before
disclosure.finer_rounding -EB   rounds published figures less
disclosure.coarser_rounding -BE rounds published figures more

measure.redefined         -B-   makes a measure mean something else; earlier figures cannot be compared
measure.source            -C-   gives another source for a figure

contract.version          CCC   has another version number

table.added               BEB   is a new table about people that every partner has to send
table.added_optional      EEB   is a new table about people that a partner may send
table.added_impersonal    BEC   is a new table, not about people, that every partner has to send
table.added_impersonal_optional EEC is a new table, not about people, that a partner may send
table.removed             BBE   is a table no longer; a file of it is refused
table.reworded            CBB*  is described in other words, and may be about something else
table.key                 BBC   has another key: what counts as one record is different
table.person_column_added BBB   is about people now, or tied to them
table.person_column_removed BBE is not tied to people any more
table.person_column       BBB   takes the person from another column
table.event_date          CBC   is placed in time by another date
table.mandatory           BEC   has to be sent by every partner now
table.voluntary           EB-   may be left out now, so that partners may be missing from it
tables.reordered          CCC   stand in another order

reference.added           BE-   has to be found in another table now; rows without it are held back
reference.removed         EBC   need not be found in another table any more; joins may find nothing
references.reordered      CCC   stand in another order

column.added              B-B   is a new column about people, in every row
column.added_optional     E-B   is a new column about people
column.added_impersonal   B-C   is a new column, not about people, in every row
column.added_impersonal_optional E-C is a new column, not about people
column.removed            B-E   is a column no longer; a file that has it is refused
column.unprotected        BBB   is a column no longer, so that who must not be linked is compared and shown
column.reworded           CBB*  is described in other words, and may hold something else
column.form               C--   asks in other words for the same form
column.example            C--   has another example
column.type_wider         EBC   also takes decimals now
column.type               BBB   holds another type of value
column.mandatory          BEC   has to be filled in now
column.mandatory_sensitive BEB  has to be filled in now, and is sensitive: nobody can leave it unsaid any more
column.voluntary          EBE   may be left empty now
column.treatment_weaker   C-B   is protected less on its way to the pool
column.treatment_stronger C-E   is protected more on its way to the pool
column.treatment_other    C-B   is treated in a way that protects neither less nor more, but otherwise
column.less_sensitive     CCB   counts as less sensitive
column.more_sensitive     CCE   counts as more sensitive
column.sensitivity_other  CCB   counts as sensitive of another kind, for which other conditions hold
column.purpose_added      CEB   is used for another purpose besides
column.purpose_removed    CBE   is used for one purpose less
column.purposes_reordered CCC   names its purposes in another order
column.why                CCB*  gives another reason why the pool cannot do without it
column.identifier_added   CEB   is compared to recognise people now
column.identifier_removed CBE   is not compared to recognise people any more; figures on people shift
column.identifier         CBB   is compared as another kind of identifier
column.finer              --B   goes into the pool in finer detail
column.coarser            --E   goes into the pool in coarser detail
column.generalised_otherwise --B goes into the pool made coarser in another way
column.codelist           BBB   takes its codes from a list with other codes
column.codelist_renamed   CCC   takes its codes from a list that has another name, and the same codes
column.pattern_added      BC-   has to match a pattern now
column.pattern            BCC   has to match another pattern
column.pattern_removed    ECC   need not match a pattern any more
column.pattern_stricter   BC-   costs more where it does not match its pattern
column.pattern_laxer      EC-   costs less where it does not match its pattern
column.range_narrower     BC-   has narrower limits
column.range_wider        EE-   has wider limits
column.shorter            B--   takes fewer characters
column.longer             EC-   takes more characters
columns.reordered         CCC   stand in another order, which does not matter in a file with headings

pool.column_gone          -B-   is in the pool no longer
pool.column_new           -E-   is new in the pool
pool.column_type          -B-   has another type in the pool
pool.column_made_otherwise -B-  is made from something else, or in another way, under its old name

rule.added                BE-   is a new rule: rows or submissions that passed may not pass any more
rule.added_note           C--   is a new rule that is only noted
rule.removed              EC-   is a rule no longer
rule.removed_note         C--   is noted no longer
rule.harsher              BC-   does more where it is broken
rule.milder               EC-   does less where it is broken
rule.limit_stricter       BC-   asks for more
rule.limit_laxer          EC-   asks for less
rule.changed              BC-   looks at something else
rule.reworded             C--   is told in other words
rules.reworded            C--   are told in other words, those that columns and keys imply
rules.reordered           C--   stand in another order

codelist.added            CCC   is a new list of codes
codelist.removed          CCC   is a list of codes no longer
codelist.reworded         CCC   has another title or source
codelists.reordered       CCC   stand in another order
code.added                EEC   is a new code
code.removed              BBC   is a code no longer; rows with it are held back
code.exchanged            BBB   have exchanged their meanings: the same code says something else from now on
code.meaning              BBB*  has another label, and may mean something else
code.reworded             CCC   has the same label in other letters or marks
code.ends                 BC-   may be used for a shorter time
code.ends_later           EE-   may be used for a longer time
code.begins_later         BC-   may be used only from a later day on
code.begins_earlier       EE-   may be used from an earlier day on
codes.reordered           CCC   stand in another order

partner.added             EEB   is a new party
partner.removed           BBE   is a party no longer
partner.name              CCB*  has another name, and may be somebody else
partner.kind              CBC   counts as another kind of partner
partner.agency            -B-   counts costs and benefits elsewhere
partner.tier              -B-   belongs to another circle of the partnership
partner.joins_earlier     EEB   is a member from an earlier day on
partner.joins_later       BBE   is a member only from a later day on
partner.stays_longer      EEB   is a member for longer
partner.leaves            BBE   is a member for a shorter time
partner.public_body       C-B   is a public body now, or is none any more: other law applies
partner.gateway           C-B   shares under another statutory gateway
partner.role              C-B   has another role towards the data
partner.basis             C-B   shares on another lawful basis
partner.contacts          C-C   has other contacts
partner.duplicate_free    CB-   vouches otherwise for its file having nobody twice; people are joined differently
partner.channel           B-C   sends by another way
partner.unsealed          E-B   need not seal its drops any more, so that clear identifiers may rest in its inbox
partner.sealed            B-E   has to seal its drops now
partner.not_at_source     E-B   may send identifiers again, in place of tokens that it made at its own site
partner.at_source         B-E   has to replace identifiers at its own site now
partners.reordered        CCC   stand in another order

mapping.heading           BBB   is fed from another heading or file of the partner's own export
mapping.constant          CBC   has another value that stands for every row
mapping.unprotected       CBB   no longer says of clients that they must not be linked
mapping.code_added        EEC   translates one more of the partner's own codes
mapping.code_changed      CBC   translates one of the partner's own codes to another agreed code
mapping.code_removed      BCC   translates one of the partner's own codes no longer
mapping.sql               BBB*  is made from the partner's own export by another SELECT
mapping.parameter         BBB   takes other rows or values by a parameter of the mapping
mapping.manifest          BC-   says otherwise whether the drop needs a manifest
mapping.absent            EBE   is not held by this partner any more, and stays empty
mapping.present           BEB   is held and sent by this partner now
mapping.version           CCC   makes the tables of another version
mapping.reordered         CCC   stand in another order

version.accepted          ECC   is a version that may be submitted to
version.replaced          CC-   is a version no longer; manifests state the one that follows it
version.withdrawn         BC-   is accepted no longer, before the day until which it was to be accepted
version.from_earlier      BCC   holds from an earlier period on
version.from_later        BCC   holds only from a later period on
version.sunset_set        CC-   is accepted until a day now, beside the version that follows it
version.sunset_later      ECC   is accepted for longer
version.sunset_earlier    BC-   is accepted for less time
versions.reordered        CCC   stand in another order
earlier.added             CCC   has its tables kept beside, so that late files can be checked as they were agreed
earlier.removed           BCC   has its tables kept no longer, so that late files cannot be checked as they were agreed
earlier.replaced          CCC   is another version than the one that was kept beside before
earlier.changed           BBB   has other tables or codes than were agreed then
upgrade.changed           -BB   is raised to the tables of today in another way

controllers.contact       CCB   is the point of contact for people now
controllers.arrangement   C-B*  divides the duties towards people in other words
processor.added           C-B   is a new processor
processor.removed         C-E   is a processor no longer
processor.changed         C-B   has another task, another principal or another contract as a processor
processors.reordered      CCC   stand in another order

grant.added               -EB   is a new grant: more people may read
grant.removed             -BE   is a grant no longer
grant.team                -CB*  is granted to a team with another name, which may be another team
grant.purpose_added       -EB   is granted for another purpose besides
grant.purpose_removed     -BE   is granted for one purpose less
grant.wider               -EB   reads more than before
grant.narrower            -BE   reads less than before
grant.views_rewritten     -C-   names the same views in another way
grant.login_added         -EB   can be used by one login more
grant.login_removed       -BE   can be used by one login less
grant.starts_earlier      -EB   begins earlier
grant.starts_later        -BE   begins later
grant.longer              -EB   ends later
grant.shorter             -BE   ends earlier
grants.reordered          -CC   stand in another order
"""


def _read_kinds() -> dict[str, Kind]:
    kinds = {}
    for line in filter(None, _TABLE.splitlines()):
        code, letters, title = line.split(maxsplit=2)
        submitters, analysts, data_subjects = (_EFFECTS[letter] for letter in letters.removesuffix("*"))
        kinds[code] = Kind(code, title, submitters, analysts, data_subjects, is_text=letters.endswith("*"))
    return kinds


KINDS = _read_kinds()
"""Code -> kind. A code never changes its meaning: reports are kept with the agreement."""
