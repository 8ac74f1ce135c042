"""Two versions at once: their windows, and the proof that the upgrade between them leaves nothing open."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from protocol.documents import Faults
from protocol.errors import AgreementError
from protocol.loading import load_agreement
from protocol.model import Agreement, Reference, RuleKind, VersionWindow
from protocol.upgrade import Version, read_upgrade
from protocol.versions import (
    NotCollected,
    accepted_versions,
    contract_for_upgraded,
    describe_sunset,
    known_versions,
    not_collected,
    not_collected_in_pool,
    partner_under,
    terms_of,
    version_of,
    windows,
)
from tests.two_versions import CONTRACT, UPGRADE, write_two_versions
from tests.two_versions import edit as edit_file

Edit = Callable[[str, str, str], None]
IN_TIME, TOO_LATE = date(2026, 11, 30), date(2026, 12, 1)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agreement's folder, only to be read or copied."""
    return write_two_versions(tmp_path_factory.mktemp("two") / "agreement")


@pytest.fixture(scope="session")
def both(written: Path) -> Agreement:
    return load_agreement(written)


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(written, tmp_path / "agreement"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    return lambda name, old, new: edit_file(folder / name, old, new)


# --- windows ----------------------------------------------------------------------------------------------------------


def test_agreement_without_versions_has_one_for_all_periods(example: Agreement) -> None:
    assert windows(example) == (VersionWindow(version="1.0", first_period="2026-Q1"),)
    assert {version_of(example, period.id) for period in example.calendar.periods} == {"1.0"}
    assert accepted_versions(example, "2026-Q1", date(2027, 1, 1)) == ("1.0",)
    assert not_collected(example) == ()


def test_period_decides_the_version_and_the_one_before_is_taken_until_its_sunset(both: Agreement) -> None:
    assert known_versions(both) == ("2.0", "1.0")
    assert [version_of(both, period) for period in ("2026-Q2", "2026-Q3", "2028-Q4")] == ["1.0", "2.0", "2.0"]
    assert accepted_versions(both, "2026-Q3", IN_TIME) == ("2.0", "1.0")
    assert accepted_versions(both, "2026-Q3", TOO_LATE) == ("2.0",)
    assert accepted_versions(both, "2026-Q2", IN_TIME) == ("1.0",)
    assert accepted_versions(both, "2026-Q2", TOO_LATE) == ("1.0",)


def test_terms_of_each_version_have_its_own_code_lists(both: Agreement) -> None:
    old, new = terms_of(both, "1.0"), terms_of(both, "2.0")
    lists = {name: {entry.name: entry.values for entry in terms.codelists} for name, terms in (("1", old), ("2", new))}
    assert "disengaged" in lists["1"]["end_reason"]
    assert "disengaged" not in lists["2"]["end_reason"]
    assert "channel" in lists["1"]
    assert "channel" not in lists["2"]
    assert "entry_route" not in lists["1"]
    assert old.codelists != new.codelists
    with pytest.raises(KeyError):
        terms_of(both, "3.0")


def test_sunset_is_told_by_the_old_version_only(both: Agreement) -> None:
    assert describe_sunset(both, "2.0", "2026-Q3", IN_TIME) is None
    told = describe_sunset(both, "1.0", "2026-Q3", IN_TIME)
    assert told is not None
    assert "30 November 2026 is the last day" in told
    assert 'agreement_version: "2.0"' in told
    assert "Periods before 2026-Q3 stay with version 1.0" in told


def test_mapping_of_another_version_is_not_used(both: Agreement) -> None:
    partner = both.partner("harbour_trust")
    by_old = partner.model_copy(
        update={"mapping": partner.mapping.model_copy(update={"version": "1.0", "manifest_from_name": True})}
    )
    assert partner_under(both, by_old, "1.0").mapping.manifest_from_name
    assert not partner_under(both, by_old, "2.0").mapping.manifest_from_name
    assert partner_under(both, partner, "2.0") == partner


WINDOW_FAULTS = {
    "own version stands second": (
        '{version: "2.0", first_period: 2026-Q3}',
        '{version: "3.0", first_period: 2026-Q3}',
        "newest first",
    ),
    "newest has a sunset": (
        "first_period: 2026-Q3}",
        "first_period: 2026-Q3, sunset: 2027-01-01}",
        "no end of its own",
    ),
    "no sunset": (", sunset: 2026-11-30", "", "Name the last day on which version 1.0"),
    "sunset before the start": ("sunset: 2026-11-30", "sunset: 2026-06-30", "lies before 2026-Q3 begins"),
    "no such period": ("first_period: 2026-Q3", "first_period: 2026-Q5", "is no period of the calendar"),
    "periods without a version": ("first_period: 2026-Q1", "first_period: 2026-Q2", "each period has a version"),
    "no order": ("first_period: 2026-Q3", "first_period: 2026-Q1", "should come after that of version 1.0"),
    "same tables": ('{version: "1.0"', '{version: "2.1"', "has the same number before the point"),
    "three versions": (
        "sunset: 2026-11-30}\n",
        'sunset: 2026-11-30}\n  - {version: "0.9", first_period: 2026-Q1}\n',
        "are more than two",
    ),
}


@pytest.mark.parametrize("fault", WINDOW_FAULTS)
def test_window_that_leaves_a_period_or_a_version_open_is_refused(
    edit: Edit, refusal: Callable[[], str], fault: str
) -> None:
    old, new, told = WINDOW_FAULTS[fault]
    edit("agreement.yaml", old, new)
    assert told in refusal()


def test_upgrade_has_to_be_there(folder: Path, refusal: Callable[[], str]) -> None:
    (folder / UPGRADE).unlink()
    assert "v2/upgrade.yaml: is missing" in refusal()


# --- what was not collected -------------------------------------------------------------------------------------------


def test_what_was_not_collected_is_listed_by_column(both: Agreement) -> None:
    listed = not_collected(both)
    assert listed[:2] == (
        NotCollected(version="1.0", table="enrolment", column="entry_route"),
        NotCollected(version="1.0", table="enrolment", column="planned_weeks"),
    )
    assert {entry.column for entry in listed if entry.table == "wellbeing"} == {
        "wellbeing_number",
        "local_person_id",
        "asked_on",
    }
    assert "local_person_id" not in {entry.column for entry in not_collected_in_pool(both)}


def test_required_is_not_held_against_what_was_not_collected(both: Agreement) -> None:
    contract = contract_for_upgraded(both)
    assert "wellbeing" not in contract.table_names
    enrolment = contract.table("enrolment")
    assert enrolment.column_names == both.contract.table("enrolment").column_names
    of_new = [rule for rule in enrolment.rules if {"entry_route", "planned_weeks"} & set(rule.columns)]
    assert [(rule.columns, rule.kind) for rule in of_new] == [(("planned_weeks",), RuleKind.TYPE)]
    kept = {rule.code for rule in enrolment.rules}
    assert "enrolment.end_reason.code" in kept
    assert "enrolment.started_on.required" in kept


def test_partner_may_not_write_the_code_for_what_was_not_collected(both: Agreement) -> None:
    (rule,) = [r for r in both.contract.table("enrolment").rules if r.code == "enrolment.entry_route.code"]
    assert rule.codes == ("self", "referred", "unknown")
    assert "not_collected" not in rule.mend


# --- the proof that the upgrade is total -----------------------------------------------------------------------------

_CODES = "        codes: {disengaged: lost_contact}\n        others: same\n"
_ROUTES = "  - {code: not_collected, label: Not collected before version 2.0}\n"

OPEN = {
    "new column is not fed": (UPGRADE, "      entry_route: not_collected\n", "", "entry_route: is new in version 2.0"),
    "new table is not declared": (
        UPGRADE,
        "  wellbeing: not_collected\n",
        "",
        "tables.wellbeing: is new in version 2.0",
    ),
    "old column is lost": (UPGRADE, "    left_out: [channel]\n", "", "says nothing of the column channel"),
    "renamed column is lost": (
        UPGRADE,
        "duration_minutes: minutes",
        "duration_minutes: not_collected",
        "says nothing of the column minutes",
    ),
    "old code has no new one": (
        UPGRADE,
        "codes: {disengaged: lost_contact}",
        "codes: {}",
        "say nothing of disengaged, which the list has no more",
    ),
    "other codes are not spoken of": (
        UPGRADE,
        "        others: same\n",
        "",
        "Write which code follows, or `others: same`",
    ),
    "list changed without a word": (UPGRADE, f"      end_reason:\n{_CODES}", "", "say nothing of disengaged"),
    "code leads nowhere": (UPGRADE, "lost_contact", "lost", "leads to lost, which is no code"),
    "code that never was": (UPGRADE, "disengaged:", "vanished:", "is no code of end_reason in version 1.0"),
    "others lead nowhere": (
        UPGRADE,
        "others: same",
        "others: rest",
        "should be a code of the list end_reason, or same",
    ),
    "meanings are swapped": (
        "codelists/end_reason.yaml",
        "  - {code: withdrew, label: Withdrew}\n  - {code: not_eligible, label: Found not eligible}\n",
        "  - {code: withdrew, label: Found not eligible}\n  - {code: not_eligible, label: Withdrew}\n",
        "say nothing of withdrew, whose label was 'Withdrew' and is 'Found not eligible'",
    ),
    "column changed its meaning": (
        CONTRACT,
        "        description: Last day in the programme; empty while it goes on.\n",
        "        description: Day on which the file was closed.\n",
        "ended_on: has another description than in version 1.0",
    ),
    "column changed its label": (
        CONTRACT,
        "        businessName: Ended on\n",
        "        businessName: Closed on\n",
        "has another label",
    ),
    "two columns into one": (
        UPGRADE,
        "duration_minutes: minutes",
        "duration_minutes: [minutes, notes]",
        "cannot be fed from several",
    ),
    "fed from nowhere": (UPGRADE, "duration_minutes: minutes", "duration_minutes: length", "does not have"),
    "fed and left out": (
        UPGRADE,
        "left_out: [channel]",
        "left_out: [channel, minutes]",
        "has minutes, which feeds a column",
    ),
    "left out what never was": (
        UPGRADE,
        "left_out: [channel]",
        "left_out: [channel, fax]",
        "has fax, which version 1.0 does not have",
    ),
    "left out twice": (UPGRADE, "left_out: [channel]", "left_out: [channel, channel]", "names something twice"),
    "unknown table": (
        UPGRADE,
        "  wellbeing: not_collected\n",
        "  wellbeing: not_collected\n  visits: not_collected\n",
        "tables.visits: is no table",
    ),
    "unknown column": (
        UPGRADE,
        "duration_minutes: minutes",
        "duration_minutes: minutes\n      rating: not_collected",
        "rating: is no column",
    ),
    "table that goes on is not collected": (
        UPGRADE,
        "  wellbeing: not_collected\n",
        "  wellbeing: not_collected\n  cost: not_collected\n",
        "cannot be not_collected",
    ),
    "table that goes on is left out": (
        UPGRADE,
        "tables:\n",
        "left_out: [cost]\ntables:\n",
        "has the table cost, which version 2.0 has as well",
    ),
    "list without the code": (
        "codelists/entry_route.yaml",
        _ROUTES,
        "",
        "has a code list without the code not_collected",
    ),
    "type cannot be made": (
        UPGRADE,
        "duration_minutes: minutes",
        "duration_minutes: notes",
        "is integer, and notes is text",
    ),
    "text into a code without the rest": (
        UPGRADE,
        "entry_route: not_collected",
        "entry_route: {from: local_person_id, codes: {A: self}}",
        "`others:` with the code of all the rest",
    ),
    "codes of what is no code": (
        UPGRADE,
        "duration_minutes: minutes",
        "duration_minutes: {from: minutes, codes: {a: b}}",
        "belong to a column with a code list",
    ),
    "empty is no code": (
        UPGRADE,
        _CODES,
        f"{_CODES}        empty: never\n",
        "empty: should be a code of the list end_reason",
    ),
    "key is not collected": (
        UPGRADE,
        "      entry_route:",
        "      enrolment_number: not_collected\n      entry_route:",
        "is part of the key and has to be fed",
    ),
    "reference is not collected": (
        UPGRADE,
        "      entry_route:",
        "      local_person_id: not_collected\n      entry_route:",
        "refers to another table and has to be fed",
    ),
    "date of the row is not collected": (
        UPGRADE,
        "      entry_route:",
        "      started_on: not_collected\n      entry_route:",
        "is the date of the row",
    ),
    "linkage is left open": (
        UPGRADE,
        "tables:\n",
        "tables:\n  person:\n    columns:\n      do_not_link: not_collected\n",
        "cannot be left open",
    ),
    "protection is turned round": (
        UPGRADE,
        "tables:\n",
        "tables:\n  person:\n    columns:\n      do_not_link: {codes: {'yes': 'no', 'no': 'yes'}}\n",
        "should keep the code yes",
    ),
    "key changes its codes": (
        UPGRADE,
        "tables:\n",
        "tables:\n  sharing_basis:\n    columns:\n"
        "      purpose: {codes: {record_linkage: joint_evidence}, others: same}\n",
        "is part of the key, so its codes can be added to and not changed",
    ),
    "wrong version": (UPGRADE, 'from: "1.0"', 'from: "0.9"', 'from: should be "1.0"'),
    "unknown entry": (UPGRADE, "tables:\n", "notes: none\ntables:\n", "notes: is not an entry"),
    "pseudonymised column is renamed": (
        CONTRACT,
        "      - name: household_number\n",
        "      - name: household\n",
        "household: is new in version 2.0",
    ),
}


@pytest.mark.parametrize("fault", OPEN)
def test_upgrade_that_leaves_something_open_is_refused(edit: Edit, refusal: Callable[[], str], fault: str) -> None:
    file, old, new, told = OPEN[fault]
    edit(file, old, new)
    assert told in refusal()


def test_renamed_pseudonym_is_refused_even_where_it_is_declared(edit: Edit, refusal: Callable[[], str]) -> None:
    edit(CONTRACT, "      - name: household_number\n", "      - name: household\n")
    edit(UPGRADE, "tables:\n", "tables:\n  person:\n    columns:\n      household: household_number\n")
    assert "is pseudonymised and has to keep its name" in refusal()


def test_treatment_that_people_were_told_of_cannot_be_weakened_for_their_rows(
    edit: Edit, refusal: Callable[[], str]
) -> None:
    start = "        examples: ['2026-02-11']\n"
    weak = "{property: treatment, value: generalise}\n          - {property: generalisation, value: month}"
    edit(CONTRACT, "classification: quasi_identifier\n" + start, "classification: operational\n" + start)
    edit(CONTRACT, weak, "{property: treatment, value: keep}")
    told = refusal()
    assert "died_on: has the treatment keep, and the people in rows of version 1.0 were told generalise" in told


def test_new_key_is_a_new_table(edit: Edit, refusal: Callable[[], str]) -> None:
    rest = "        required: true\n        classification: operational\n        examples: [joint_evidence]\n"
    edit(CONTRACT, f"        primaryKeyPosition: 2\n{rest}", f"        primaryKeyPosition: 3\n{rest}")
    second = "        primaryKey: true\n        primaryKeyPosition: 2\n"
    edit(CONTRACT, "      - name: lawful_basis\n", f"      - name: lawful_basis\n{second}")
    assert "sharing_basis: has another key than in version 1.0" in refusal()


def test_pool_keeps_the_type_of_a_column(edit: Edit, refusal: Callable[[], str]) -> None:
    place = "        description: 'Time that it took, with the person and in writing up.'\n        logicalType: "
    edit(CONTRACT, f"{place}integer\n", f"{place}number\n")
    edit(UPGRADE, "tables:\n", "tables:\n  assessment:\n    columns:\n      minutes: minutes\n")
    assert "minutes: is decimal in the pool, and was integer" in refusal()


def test_client_of_a_row_stays_its_client(edit: Edit, refusal: Callable[[], str]) -> None:
    swapped = "  outcome:\n    columns:\n      local_person_id: outcome_number\n    left_out: [local_person_id]\n"
    edit(UPGRADE, "tables:\n", f"tables:\n{swapped}")
    assert "tables.outcome: should have its client's number from local_person_id" in refusal()


def test_row_cannot_refer_to_a_table_that_was_not_collected(both: Agreement) -> None:
    assert both.earlier is not None
    lists = {codelist.name: codelist for codelist in both.codelists}
    link = Reference(columns=("cost_number",), to_table="wellbeing", to_columns=("wellbeing_number",))
    tables = tuple(
        table.model_copy(update={"references": (link,)}) if table.name == "cost" else table
        for table in both.contract.tables
    )
    now = Version(both.contract.model_copy(update={"tables": tables}), lists)
    old = Version(both.earlier.contract, {codelist.name: codelist for codelist in both.earlier.codelists})
    faults = Faults()
    read_upgrade({"from": "1.0", "to": "2.0", "tables": {"wellbeing": "not_collected"}}, old, now, UPGRADE, faults)
    assert [fault.what for fault in faults.told if fault.entry == "tables.cost"] == [
        "refers to wellbeing, which version 1.0 did not collect, so that no row of it could be carried over. Take the "
        "reference out, or make a new table of it."
    ]


def test_said_in_the_file_what_changed_is_carried_over(edit: Edit, folder: Path) -> None:
    edit(CONTRACT, "        businessName: Ended on\n", "        businessName: Closed on\n")
    edit(UPGRADE, _CODES, f"{_CODES}        empty: unknown\n      ended_on: ended_on\n")
    earlier = load_agreement(folder).earlier
    assert earlier is not None
    enrolment = earlier.upgrade.table("enrolment")
    assert enrolment.column("ended_on").keeps_values
    reason = enrolment.column("end_reason")
    assert reason.codes["disengaged"] == "lost_contact"
    assert reason.codes["withdrew"] == "withdrew"
    assert reason.empty == "unknown"


def test_every_column_of_the_new_version_is_spoken_of(both: Agreement) -> None:
    assert both.earlier is not None
    upgrade, old = both.earlier.upgrade, both.earlier.contract
    for table in both.contract.tables:
        how = upgrade.table(table.name)
        if how.collected:
            assert tuple(column.column for column in how.columns) == table.column_names
            used = {column.source for column in how.columns if column.source} | set(how.left_out)
            assert used == set(old.table(table.name).column_names)


def test_one_version_alone_needs_no_upgrade_file_any_more(edit: Edit, folder: Path, refusal: Callable[[], str]) -> None:
    text = (folder / "agreement.yaml").read_text(encoding="utf-8")
    start = text.index("versions:")
    end = text.index("coordinator:")
    (folder / "agreement.yaml").write_text(text[:start] + text[end:], encoding="utf-8")
    assert "v2/upgrade.yaml: is part of the signed text but stands for nothing" in refusal()
    (folder / UPGRADE).unlink()
    shutil.rmtree(folder / "v1/codelists")
    assert load_agreement(folder).earlier is None


def test_mapping_is_held_against_the_version_that_it_makes(
    edit: Edit, folder: Path, refusal: Callable[[], str]
) -> None:
    path = folder / "partners/harbour_trust.yaml"
    others = ["contact_number", "local_person_id", "programme", "contacted_on", "channel", "notes"]
    headings = ", ".join(f"{name}: {name.upper()}" for name in (*others, "minutes"))
    mapping = f'mapping:\n  version: "{{}}"\n  tables:\n    service_contact: {{{{columns: {{{{{headings}}}}}}}}}\n'
    content = path.read_text(encoding="utf-8")
    path.write_text(content + mapping.format("1.0"), encoding="utf-8")
    assert load_agreement(folder).partner("harbour_trust").mapping.version == "1.0"
    path.write_text(content + mapping.format("2.0"), encoding="utf-8")
    assert "minutes: is no agreed column of service_contact" in refusal()
    path.write_text(content + mapping.format("9.0"), encoding="utf-8")
    assert "version: should be a version that is submitted" in refusal()


def test_old_version_is_held_to_the_same_rules(edit: Edit, refusal: Callable[[], str]) -> None:
    edit("v1/codelists/channel.yaml", "code: video", "code: phone")
    edit("v1/casework.odcs.yaml", "value: Shows which ways of contact reach whom.", "value: ''")
    told = refusal()
    assert "v1/codelists/channel.yaml" in told
    assert "v1/casework.odcs.yaml" in told


def test_agreement_error_names_the_file_and_its_line(edit: Edit, folder: Path) -> None:
    edit(UPGRADE, "duration_minutes: minutes", "duration_minutes: length")
    with pytest.raises(
        AgreementError, match=r"v2/upgrade\.yaml:\d+: tables\.service_contact\.columns\.duration_minutes"
    ):
        load_agreement(folder)
