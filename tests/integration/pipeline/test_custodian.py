"""The custodian's commands over a published partnership: answers persist, links are explained in words, and a client
number comes back by two people only."""

import re
import shlex
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from pipeline.cli import main
from pipeline.release_steps import link_and_mark
from pipeline.resources import open_engine, open_keys, read_agreement
from pseudonymise.output import derive_person_refs
from synthetic import Partnership
from tests.integration.pipeline.world import LATER, NOW, World, edit
from warehouse.roles import remove_custodian
from warehouse.snapshot import present_snapshot

REASON = "Both partners' staff were asked."
AUDIENCE = "evaluation_team"
HOW_TO = Path(__file__).resolve().parents[3] / "docs" / "how-to"
REF = re.compile(r"\b[0-9a-f]{32}\b")
Copy = Callable[[World], World]


@dataclass(frozen=True)
class Custody:
    """A published partnership and two custodians, Ann and Bea."""

    world: World
    folder: Path

    def run(self, who: str, *arguments: object, fails: bool = False) -> str:
        """A command as one of the two runs it; what it printed."""
        done = CliRunner().invoke(
            main,
            [str(argument) for argument in arguments],
            env={**self.world.settings.environment, "LINKARMS_CUSTODIAN_URL_FILE": str(self.folder / who)},
        )
        assert (done.exit_code != 0) is fails, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.output

    def link(self, name: str) -> dict[str, int]:
        """Another linkage run; its counts."""
        linked = link_and_mark([], self.world.settings, name, now=LATER)
        ((counts,),) = self.world.query("select counts from linkage.run where run_id = :id", id=linked["linkage_run"])
        return dict(counts)

    def persons(self, *refs: str) -> int:
        """How many persons these records are."""
        rows = self.world.query(
            "select count(distinct person_id), count(*) from linkage.membership where person_ref = any(:refs)",
            refs=list(refs),
        )
        assert rows[0][1] == len(refs)
        return int(rows[0][0])

    def linked_pair(self) -> tuple[int, str, str]:
        """A pair in doubt whose records are one person now, of two partners: its number and both records."""
        rows = self.world.query(
            "select pair_id, p.person_ref, p.other_person_ref from linkage.review_pair p"
            " join linkage.membership a using (partner_id, person_ref)"
            " join linkage.membership b on (b.partner_id, b.person_ref) = (p.other_partner_id, p.other_person_ref)"
            " where a.person_id = b.person_id and p.partner_id <> p.other_partner_id"
            " and (select count(*) from linkage.membership m where m.person_id = a.person_id) = 2 order by 1 limit 1"
        )
        return rows[0]

    def third_record(self, *others: str) -> str:
        """A record of a person of its own, of another partner, without a number that could contradict a merge."""
        rows = self.world.query(
            "select m.person_ref from linkage.membership m where m.partner_id not in"
            " (select o.partner_id from linkage.membership o where o.person_ref = any(:refs))"
            " and (select count(*) from linkage.membership o where o.person_id = m.person_id) = 1"
            " and not exists (select from linkage.match_key k where k.person_ref = m.person_ref"
            " and k.key_name in ('nhs_number', 'shared_person_number')) order by 1 limit 1",
            refs=list(others),
        )
        return str(rows[0][0])


def url_file(folder: Path, world: World) -> Path:
    path = folder / "owner"
    path.write_text(world.server.url(database=world.database))
    return path


@pytest.fixture
def custody(copy_of: Copy, published: World, tmp_path: Path) -> Iterator[Custody]:
    made = Custody(copy_of(published), tmp_path)
    owner = url_file(tmp_path, made.world)
    for name in ("ann", "bea"):
        made.run(name, "warehouse", "custodian", name, "--owner-url-file", owner, "--out", tmp_path / name)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    yield made
    with create_engine(owner.read_text(), poolclass=NullPool).begin() as conn:
        for name in ("ann", "bea"):
            remove_custodian(conn, name)


# --- review ---------------------------------------------------------------------------------------------------------


def test_pairs_in_doubt_are_listed_page_by_page_in_words_alone(custody: Custody) -> None:
    told = custody.run("ann", "linkage", "review", "--size", 3)
    waiting = int(re.match(r"(\d+) pairs wait; these are 1 to 3\.", told)[1])  # type: ignore[index]
    assert waiting > 3
    assert "agreed on:" in told
    assert not REF.search(told)
    assert len(REF.findall(custody.run("ann", "linkage", "review", "--size", 3, "--full-refs"))) == 6
    pages = [
        custody.run("ann", "linkage", "review", "--size", 3, "--page", page) for page in range(1, waiting // 3 + 2)
    ]
    numbers = [number for page in pages for number in re.findall(r"^Pair (\d+):", page, flags=re.MULTILINE)]
    assert len(set(numbers)) == len(numbers) == waiting
    rows = [int(count) for page in pages for count in re.findall(r"(\d+) rows hang", page)]
    assert rows == sorted(rows, reverse=True)
    assert min(rows) > 0


def test_the_page_of_the_queue_shows_every_pair_and_no_pseudonym(custody: Custody) -> None:
    path = custody.folder / "review.html"
    custody.run("ann", "linkage", "review", "--html", path)
    page = path.read_text(encoding="utf-8")
    ((waiting,),) = custody.world.query("select count(*) from linkage.review_pair")
    assert page.count('<h2 id="pair-') == waiting
    assert not REF.search(page)
    assert "<script" not in page
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- decisions ------------------------------------------------------------------------------------------------------


def test_an_answer_outlasts_later_runs_and_the_partners_next_file_until_it_is_taken_back(
    custody: Custody, partnership: Partnership
) -> None:
    number, one, other = custody.linked_pair()
    assert "Decision" in custody.run("ann", "linkage", "decide", number, "different", "--reason", REASON)
    assert f"Pair {number}:" not in custody.run("ann", "linkage", "review", "--size", 500)
    assert custody.persons(one, other) == 1  # until the next linkage
    assert custody.link("second")["split"] == 1
    assert custody.persons(one, other) == 2
    assert "two people" in custody.run("ann", "linkage", "explain", one[:8], other[:8])

    ((partner,),) = custody.world.query("select partner_id from linkage.membership where person_ref = :ref", ref=one)
    tables, manifest = partnership.extracts[partner, "2026-Q3"], partnership.manifests[partner, "2026-Q3"]
    again = {**tables, "person": edit(tables["person"], 0, household_number="H-NEW")}
    custody.world.load(partner, again, manifest, now=LATER)
    custody.link("third")
    assert custody.persons(one, other) == 2
    assert f"Pair {number}:" not in custody.run("ann", "linkage", "review", "--size", 500)

    # The person of the one record is merged with another person by a later answer, and the first answer holds.
    third = custody.third_record(one, other)
    custody.run("bea", "linkage", "decide", f"{one[:10]}+{third[:10]}", "same", "--reason", REASON)
    assert custody.link("merging")["merged"] == 1
    assert custody.persons(one, third) == 1
    assert custody.persons(one, other) == 2
    custody.run("bea", "linkage", "decide", f"{one[:10]}+{third[:10]}", "undecided", "--reason", REASON)
    custody.link("parting")

    custody.run("bea", "linkage", "decide", number, "undecided", "--reason", REASON)
    assert f"Pair {number}:" in custody.run("ann", "linkage", "review", "--size", 500)
    assert custody.link("fourth")["merged"] == 1
    assert custody.persons(one, other) == 1
    log = custody.world.query("select answer, decided_by from linkage.decision order by decision_id")
    assert [log[0], log[-1]] == [("different", "ann"), ("undecided", "bea")]


def records_of_two_persons(world: World, how: str) -> tuple[str, str]:
    """Two records of different persons and partners, each its person's only one; ``how`` they hold NHS numbers."""
    rows = world.query(
        "with alone as (select m.partner_id, m.person_ref, (select min(k.token) from linkage.match_key k"
        " where k.person_ref = m.person_ref and k.key_name = 'nhs_number') as nhs from linkage.membership m"
        " where (select count(*) from linkage.membership o where o.person_id = m.person_id) = 1)"
        " select a.person_ref, b.person_ref from alone a join alone b on a.partner_id < b.partner_id"
        f" where {how} order by 1, 2 limit 1"
    )
    return rows[0]


def test_two_records_that_people_know_to_be_one_person_become_one_and_stay_so(custody: Custody) -> None:
    one, other = records_of_two_persons(custody.world, "a.nhs is null or b.nhs is null")
    custody.run("ann", "linkage", "decide", f"{one[:10]}+{other[:10]}", "same", "--reason", REASON)
    assert custody.link("second")["merged"] == 1
    assert custody.persons(one, other) == 1
    assert custody.link("third")["merged"] == 0
    assert custody.persons(one, other) == 1
    assert "a custodian decided that they are one person" in custody.run("ann", "linkage", "explain", one[:10])


def test_an_answer_against_two_nhs_numbers_joins_nobody_and_is_an_alarm(custody: Custody) -> None:
    one, other = records_of_two_persons(custody.world, "a.nhs <> b.nhs")
    custody.run("ann", "linkage", "decide", f"{one[:10]}+{other[:10]}", "same", "--reason", REASON)
    assert custody.link("second")["alarms_decision_conflict"] > 0
    assert custody.persons(one, other) == 2
    assert "decision conflict" in custody.run("ann", "linkage", "runs", "--last", 1)


def test_the_model_is_told_in_words_and_figures_and_its_page_shows_no_pseudonym(custody: Custody) -> None:
    told = custody.run("ann", "linkage", "model")
    assert "date of birth but for one digit" in told
    counted = sum(int(n.replace(",", "")) for n in re.findall(r"([\d,]+) pairs$", told, re.M))
    ((pairs, said),) = custody.world.query(
        "select count(*), sum(length(replace(levels, '0', '')))::int from linkage.scored_pair"
    )
    assert counted == said
    page = custody.folder / "model.html"
    custody.run("bea", "linkage", "model", "--html", page)
    content = page.read_text(encoding="utf-8")
    assert content.count("<svg") == 10
    assert f"{pairs:,}" in content
    assert not REF.search(content)


def people(custody: Custody) -> tuple[int, ...]:
    """Different people of the latest snapshot: if all pairs in doubt are one person, as linked, and if none is."""
    ((snapshot_id,),) = custody.world.query("select snapshot_id from linkage.run order by seq desc limit 1")
    with open_engine(custody.world.settings).begin() as conn:
        present_snapshot(conn, snapshot_id, read_agreement(custody.world.settings))
        counted = text(
            "select count(distinct if_joined), count(distinct person_id), count(distinct if_parted) from record"
        )
        return tuple(conn.execute(counted).one())


def test_an_answer_brings_the_bounds_of_the_different_people_closer(custody: Custody) -> None:
    joined, linked, parted = people(custody)
    assert joined <= linked < parted
    number, _, _ = custody.linked_pair()
    custody.run("ann", "linkage", "decide", number, "same", "--reason", REASON)
    custody.link("second")
    assert people(custody) == (joined, linked, parted - 1)
    custody.run("ann", "linkage", "decide", number, "different", "--reason", REASON)
    custody.link("third")
    assert people(custody) == (joined + 1, linked + 1, parted)


def repeats_between(custody: Custody, one: str, other: str) -> list[tuple[object, ...]]:
    """Marks, over the latest snapshot, of assessments of either record that repeat one of the other."""
    return custody.world.query(
        "select m.partner_id, m.row_key, m.mark, m.repeats_row_key, m.days_since from facts.assessment_mark m"
        " join facts.assessment a using (partner_id, row_key)"
        " join facts.assessment b on (b.partner_id, b.row_key) = (m.repeats_partner_id, m.repeats_row_key)"
        " where m.mark = 'repeat' and a.person_ref = any(:refs) and b.person_ref = any(:refs)"
        " and m.snapshot_id = (select snapshot_id from linkage.run order by seq desc limit 1) order by 1, 2",
        refs=[one, other],
    )


def test_what_repeats_what_follows_a_person_that_is_parted_and_joined_again(custody: Custody) -> None:
    ((one, other),) = custody.world.query(
        "select x.person_ref, y.person_ref from facts.assessment_mark m"
        " join facts.assessment a using (partner_id, row_key)"
        " join facts.assessment b on (b.partner_id, b.row_key) = (m.repeats_partner_id, m.repeats_row_key)"
        " join linkage.membership x on x.person_ref = a.person_ref"
        " join linkage.membership y on y.person_ref = b.person_ref"
        " where m.mark = 'repeat' and (select count(*) from linkage.membership o where o.person_id = x.person_id) = 2"
        " order by 1, 2 limit 1"
    )
    before = repeats_between(custody, one, other)
    assert before
    pair = f"{one[:12]}+{other[:12]}"
    custody.run("ann", "linkage", "decide", pair, "different", "--reason", REASON)
    assert custody.link("second")["split"] == 1
    assert repeats_between(custody, one, other) == []
    marked = custody.world.query(
        "select distinct m.mark from facts.assessment_mark m join facts.assessment a using (partner_id, row_key)"
        " where a.person_ref = any(:refs)",
        refs=[one, other],
    )
    assert ("of_record",) in marked
    assert ("repeat",) not in marked
    custody.run("ann", "linkage", "decide", pair, "same", "--reason", REASON)
    assert custody.link("third")["merged"] == 1
    assert repeats_between(custody, one, other) == before


def test_decisions_that_contradict_each_other_are_told_apart(custody: Custody) -> None:
    one, other = records_of_two_persons(custody.world, "a.nhs is null or b.nhs is null")
    third = custody.third_record(one, other)
    for pair, answer in (((one, other), "same"), ((one, third), "different"), ((other, third), "same")):
        names = "+".join(ref[:10] for ref in pair)
        custody.run("ann", "linkage", "decide", names, answer, "--reason", REASON)
    told = re.findall(
        r"^Decision (\d): (\w+), .* by ann\n.*\n.*\n  (.*)$", custody.run("bea", "linkage", "decisions"), re.M
    )
    assert [(number, answer, state.partition(":")[0]) for number, answer, state in told] == [
        ("3", "same", "holds"),
        ("2", "different", "holds"),
        ("1", "same", "not followed"),
    ]
    assert custody.link("second")["alarms_decision_conflict"] == 1
    assert custody.persons(other, third) == 1
    assert custody.persons(one, other) == 2


def test_what_a_custodian_decided_can_be_published_over_the_same_data(custody: Custody) -> None:
    number, _, _ = custody.linked_pair()
    custody.run("ann", "linkage", "decide", number, "different", "--reason", REASON)
    draft = custody.world.prepare("second", now=LATER)
    assert custody.world.publish(draft, now=LATER)["number"] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["4711", "same", "--reason", REASON], "There is no pair 4711"),
        (["1", "same", "--reason", "because"], "at least 10 characters"),
        (["abcdef", "same", "--reason", REASON], "joined with +"),
        (["abc+abcdef", "same", "--reason", REASON], "at least 6 characters"),
    ],
)
def test_an_answer_that_cannot_be_kept_is_refused_in_words(custody: Custody, arguments: list[str], says: str) -> None:
    assert says in custody.run("ann", "linkage", "decide", *arguments, fails=True)
    assert custody.world.query("select count(*) from linkage.decision") == [(0,)]


def test_a_login_that_the_database_refuses_is_told_without_its_password(custody: Custody) -> None:
    url = (custody.folder / "ann").read_text()
    (custody.folder / "old").write_text(re.sub(r"ann:\w+@", "ann:an-old-password@", url))
    told = custody.run("old", "linkage", "review", fails=True)
    assert "refuses this log-in" in told
    assert "an-old-password" not in told
    (custody.folder / "empty").write_text("")
    assert "should hold the address" in custody.run("empty", "linkage", "review", fails=True)


def test_the_pipelines_own_login_decides_nothing(custody: Custody) -> None:
    (custody.folder / "pipeline").write_text(custody.world.settings.database_url())
    told = custody.run("pipeline", "linkage", "decide", 1, "same", "--reason", REASON, fails=True)
    assert "custodian's own login" in told


# --- explaining -----------------------------------------------------------------------------------------------------


def test_every_link_is_explained_in_words_and_no_explanation_holds_a_value(
    custody: Custody, partnership: Partnership
) -> None:
    persons = custody.world.query(
        "select i.published_id, array_agg(m.person_ref order by m.person_ref) from linkage.membership m"
        " join linkage.published_id i on i.person_id = m.person_id and i.audience = :audience"
        " group by i.published_id having count(*) > 2 order by 1 limit 4",
        audience=AUDIENCE,
    )
    told = ""
    for published_id, refs in persons:
        whole = custody.run("ann", "linkage", "explain", "--audience", AUDIENCE, published_id)
        assert f"with {len(refs)} records" in whole
        assert len(re.findall("agreed on: ", whole)) == len(refs) - 1
        chain = custody.run("ann", "linkage", "explain", refs[0][:8], refs[-1][:8])
        assert "agreed on: " in chain
        told += whole + chain
    told += custody.run("ann", "linkage", "explain", persons[0][1][0][:8], persons[1][1][0][:8])
    assert "Why they are two:" in told
    assert not REF.search(told)
    values = {
        str(cell)
        for tables in partnership.extracts.values()
        for column in ("nhs_number", "ni_number", "surname", "forename", "postcode", "date_of_birth", "local_person_id")
        for cell in tables["person"][column].drop_nulls()
    }
    words = set(re.split(r"[\s,;:()]+", told))
    assert {value for value in values if value in words} == set()


def test_runs_are_told_with_counts_thresholds_and_alarms(custody: Custody) -> None:
    told = custody.run("ann", "linkage", "runs")
    assert "persons 2" in told
    assert "threshold 0." in told
    assert "decision conflict 0" in told


# --- re-identification ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A person of the pool, a partner that has a record of the person, and that partner's own number."""

    published_id: str
    partner: str
    number: str
    numbers: list[str]


@pytest.fixture
def asked(custody: Custody, partnership: Partnership) -> Asked:
    partner = "harbour_trust"
    numbers = partnership.extracts[partner, "2026-Q2"]["person"]["local_person_id"].unique(maintain_order=True)
    refs = derive_person_refs(numbers, partner, open_keys(custody.world.settings, now=NOW))
    given = dict(
        custody.world.query(
            "select m.person_ref, i.published_id from linkage.membership m join linkage.published_id i"
            " on i.person_id = m.person_id and i.audience = :audience where m.partner_id = :partner"
            " and (select count(*) from linkage.membership o where o.person_id = m.person_id"
            " and o.partner_id = m.partner_id) = 1",
            audience=AUDIENCE,
            partner=partner,
        )
    )
    number, ref = next((number, ref) for number, ref in zip(numbers, refs, strict=True) if ref in given)
    return Asked(given[ref], partner, number, numbers.to_list())


def request(custody: Custody, asked: Asked) -> str:
    told = custody.run(
        "ann",
        *("linkage", "reidentify", "request", "--audience", AUDIENCE, "--id", asked.published_id),
        *("--partner", asked.partner, "--reason", "A court order of 2 November 2026."),
    )
    return re.match(r"Request (\d+)\.", told)[1]  # type: ignore[index]


def carry_out(
    custody: Custody, who: str, number: str, clients: str, out: str = "answer", *, fails: bool = False
) -> str:
    (custody.folder / "clients").write_text(clients)
    arguments = ("--clients", custody.folder / "clients", "--out", custody.folder / out)
    return custody.run(who, "linkage", "reidentify", "carry-out", number, *arguments, fails=fails)


def test_two_custodians_learn_the_one_number_that_was_asked_for_and_nobody_sees_it_elsewhere(
    custody: Custody, asked: Asked
) -> None:
    number = request(custody, asked)
    listed = custody.run("bea", "linkage", "reidentify", "list")
    assert "waits for another custodian" in listed
    told = listed + custody.run("ann", "linkage", "reidentify", "approve", number, fails=True)
    assert "another person" in told
    told += custody.run("bea", "linkage", "reidentify", "approve", number)
    told += carry_out(custody, "ann", number, "\n".join(asked.numbers))
    answer = custody.folder / "answer"
    assert answer.read_text() == f"{asked.number}\n"
    assert stat.S_IMODE(answer.stat().st_mode) == 0o600
    told += carry_out(custody, "bea", number, "\n".join(asked.numbers), "again", fails=True)
    assert "done already" in told
    assert not (custody.folder / "again").exists()
    assert asked.number not in told
    everything = "\n".join(
        row
        for relation in custody.world.relations()
        for (row,) in custody.world.query(f"select row_to_json(t)::text from {relation} t")
    )
    assert f'"{asked.number}"' not in everything
    trail = "\n".join(
        row
        for (row,) in custody.world.query(
            "select row_to_json(t)::text from governance.audit_event t where action like 'reid%' order by event_id"
        )
    )
    assert re.findall(r'"actor":"(\w+)","action":"reidentification\.(\w+)"', trail) == [
        ("ann", "requested"),
        ("bea", "approved"),
        ("ann", "carried_out"),
    ]
    assert asked.published_id not in trail
    assert not REF.search(trail)
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", trail)


def test_a_partners_list_may_be_a_csv_and_a_person_who_is_not_on_it_gives_an_empty_file(
    custody: Custody, asked: Asked
) -> None:
    number = request(custody, asked)
    custody.run("bea", "linkage", "reidentify", "approve", number)
    rows = [f'"A, B",{other}' for other in asked.numbers if other != asked.number]
    told = carry_out(custody, "bea", number, "\n".join(["\ufeffname,local_person_id", *rows]))
    assert "not on the list" in told
    assert (custody.folder / "answer").read_text() == ""
    carry_out(custody, "ann", number, asked.number, "again", fails=True)


@pytest.mark.parametrize("clients", ["NO-SUCH-1\nNO-SUCH-2\n", "", "name,born\nA,B\n"])
def test_a_list_that_is_not_the_partners_leaves_the_request_as_it_was(
    custody: Custody, asked: Asked, clients: str
) -> None:
    number = request(custody, asked)
    custody.run("bea", "linkage", "reidentify", "approve", number)
    told = carry_out(custody, "ann", number, clients, fails=True)
    assert "NO-SUCH" not in told
    assert not (custody.folder / "answer").exists()
    carry_out(custody, "ann", number, "\n".join(asked.numbers))
    assert (custody.folder / "answer").read_text() == f"{asked.number}\n"


def test_without_an_approval_nothing_is_given_out(custody: Custody, asked: Asked) -> None:
    number = request(custody, asked)
    assert "not been approved" in carry_out(custody, "ann", number, "\n".join(asked.numbers), fails=True)
    assert not (custody.folder / "answer").exists()


def test_an_id_that_a_grant_has_not_given_out_or_another_partner_is_refused(custody: Custody, asked: Asked) -> None:
    base = ("linkage", "reidentify", "request", "--reason", "A court order of 2 November 2026.")
    for audience, published_id, partner in (
        ("partnership_board", asked.published_id, asked.partner),
        (AUDIENCE, "0" * 32, asked.partner),
        (AUDIENCE, asked.published_id, "nobody"),
    ):
        arguments = ("--audience", audience, "--id", published_id, "--partner", partner)
        told = custody.run("ann", *base, *arguments, fails=True)
        assert "no such published id" in told or "no partner nobody" in told
    assert custody.world.query("select count(*) from linkage.reidentification_request") == [(0,)]


def test_an_answer_never_takes_the_place_of_a_file(custody: Custody, asked: Asked) -> None:
    number = request(custody, asked)
    custody.run("bea", "linkage", "reidentify", "approve", number)
    (custody.folder / "answer").write_text("something else")
    assert "is there already" in carry_out(custody, "ann", number, "\n".join(asked.numbers), fails=True)
    assert (custody.folder / "answer").read_text() == "something else"


# --- the documents --------------------------------------------------------------------------------------------------


def follow(custody: Custody, document: str, names: dict[str, str]) -> dict[str, str]:
    """Run every command of a document in its order; what each printed, by its words without options.

    ``names`` has what a reader puts in the place of the document's names, and each of them has to stand there.
    """
    text = (HOW_TO / document).read_text(encoding="utf-8")
    commands = re.findall(
        r"^\$ (.*)$", "\n".join(re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)), re.MULTILINE
    )
    used = set()
    told: dict[str, str] = {}
    who = ""
    for command in commands:
        words = []
        for word in shlex.split(command):
            used |= {word} & set(names)
            words.append(names.get(word, word))
        if words[0] == "export":
            who = words[1].partition("=")[2]
            continue
        assert words.pop(0) == "linkarms"
        told[" ".join(words)] = custody.run(who, *words)
    assert used == set(names)
    return told


def test_every_command_of_the_how_to_on_review_works_in_its_order(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(custody.folder)
    monkeypatch.setattr(
        "pipeline.commands.warehouse.find_owner_url", lambda file: (custody.folder / "owner").read_text()
    )
    number, one, other = custody.linked_pair()
    ((published_id,),) = custody.world.query(
        "select i.published_id from linkage.published_id i join linkage.membership m using (person_id)"
        " where i.audience = :audience and m.person_ref = :ref",
        audience=AUDIENCE,
        ref=one,
    )
    names = {
        "17": str(number),
        "81c359": one[:8],
        "bf0480": other[:8],
        "0f6b8d1c2a3e4f50617283940a5b6c7d": published_id,
    }
    told = follow(custody, "review-links.md", names)
    assert f"Pair {number}: " in told["linkage review"]
    assert (custody.folder / "review.html").exists()
    assert "agreed on:" in told[f"linkage explain {one[:8]} {other[:8]}"]
    assert "Run 1:" in told["linkage runs"]


def test_every_command_of_the_how_to_on_re_identification_works_in_its_order(
    custody: Custody, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(custody.folder)
    for name in ("ann", "bea"):
        (custody.folder / name).rename(custody.folder / f"{name}.login")
    (custody.folder / "clients.csv").write_text("\n".join(["local_person_id", *asked.numbers]))
    names = {"0f6b8d1c2a3e4f50617283940a5b6c7d": asked.published_id, "3": "1"}
    follow(custody, "re-identify.md", names)
    assert (custody.folder / "answer.txt").read_text() == f"{asked.number}\n"
