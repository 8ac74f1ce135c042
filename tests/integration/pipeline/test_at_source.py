"""Extracts that were pseudonymised at the partner's own site: the same rows, links and evidence as from clear ones."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.at_source import pseudonymise_extract
from pipeline.intake_steps import check_submission, pseudonymise_submission, receive_submissions
from pipeline.resources import open_keys
from protocol.errors import NotYet
from pseudonymise.keys import write_key_ring
from synthetic import Partnership
from synthetic.hmis import make_hmis_export
from tests.integration.pipeline.at_source import Office, drop_sealed, make_office, opened, tampered
from tests.integration.pipeline.conftest import Copy
from tests.integration.pipeline.test_hmis import PERIOD as HMIS_PERIOD
from tests.integration.pipeline.test_two_versions import extract as extract_by_the_earlier
from tests.integration.pipeline.world import LATER, NOW, World, drop_world, edit, make_world, set_up, with_agreement
from tests.privacy.canaries import Search
from tests.two_versions import write_two_versions
from warehouse.server import EmbeddedServer

ROOT = Path(__file__).parents[3]
PARTNER = "harbour_trust"
OTHER = "castle_borough"
STORED = ("linkage.match_key", "linkage.encoding")


@pytest.fixture
def office(world: World, tmp_path: Path) -> Office:
    return make_office(world, tmp_path)


def send(world: World, office: Office, tables: Any, manifest: Mapping[str, Any], name: str = "extract") -> str:
    """Pseudonymise, drop and take in; gives the submission's id."""
    made = office.pseudonymise(tables, manifest, name)
    assert made.path is not None, made.check.receipt.findings
    drop_sealed(world, manifest["partner"], made.path)
    (outcome,) = world.take_in(manifest["partner"])
    assert outcome.refusal is None, outcome.refusal
    return outcome.submission_id


def content(world: World) -> dict[str, list[str]]:
    """Every row of facts and tokens, without what differs between two submissions of one content."""
    stored = [name for name in world.relations() if name.startswith("facts.") or name in STORED]
    rows = {}
    for name in stored:
        drop = "- 'submission_id' - 'loaded_at' - 'seq'"
        found = world.query(f"select (to_jsonb(t) {drop})::text from {name} t order by 1")
        rows[name] = [row for (row,) in found]
    rows.pop("facts.in_force_submission_table", None)
    return rows


def test_both_modes_load_the_same_rows_match_keys_and_encodings(
    copy_of: Copy, empty_world: World, partnership: Partnership, tmp_path: Path
) -> None:
    tables, manifest = partnership.extracts[PARTNER, "2026-Q2"], partnership.manifests[PARTNER, "2026-Q2"]
    in_clear, at_source = copy_of(empty_world), copy_of(empty_world)
    first = in_clear.load(PARTNER, tables, manifest)
    second = send(at_source, make_office(at_source, tmp_path), tables, manifest)
    there, here = content(in_clear), content(at_source)
    assert sum(map(len, there.values())) > 1000
    assert all(there[name] for name in STORED)
    assert here == there
    receipts = [in_clear.receipt(PARTNER, first), at_source.receipt(PARTNER, second)]
    assert [receipt["pseudonymised_at_source"] for receipt in receipts] == [False, True]
    assert receipts[0]["tables"] == receipts[1]["tables"]
    assert [receipt["state"] for receipt in receipts] == ["accepted", "accepted"]
    (note,) = receipts[1]["findings"]
    assert note["code"] == "source.pseudonymised"
    assert "own site" in receipts[1]["what_happens_to_the_file"]
    assert at_source.work() == []


def persons(world: World) -> set[frozenset[tuple[str, str]]]:
    """Who is one person: sets of partner and reference."""
    rows = world.query("select person_id, partner_id, person_ref from linkage.membership")
    found: dict[Any, set[tuple[str, str]]] = {}
    for person, partner, ref in rows:
        found.setdefault(person, set()).add((partner, ref))
    return {frozenset(members) for members in found.values()}


def test_a_partner_in_each_mode_is_linked_as_two_in_clear_are(
    copy_of: Copy, empty_world: World, partnership: Partnership, tmp_path: Path
) -> None:
    found = []
    for at_source in (False, True):
        world = copy_of(empty_world)
        world.load(OTHER, partnership.extracts[OTHER, "2026-Q2"], partnership.manifests[OTHER, "2026-Q2"])
        tables, manifest = partnership.extracts[PARTNER, "2026-Q2"], partnership.manifests[PARTNER, "2026-Q2"]
        if at_source:
            send(world, make_office(world, tmp_path), tables, manifest)
        else:
            world.load(PARTNER, tables, manifest)
        world.prepare()
        found.append(persons(world))
    across = [members for members in found[0] if len({partner for partner, _ in members}) == 2]
    assert len(across) > 3
    assert found[1] == found[0]


# --- kinds ------------------------------------------------------------------------------------------------------------


def test_the_same_extract_twice_changes_nothing(world: World, office: Office, small: Mapping[str, Any]) -> None:
    first = send(world, office, **small)
    before = content(world)
    again = office.pseudonymise(**small, name="again")
    assert again.path is not None
    assert again.path.read_bytes() != (office.folder / "extract.sealed").read_bytes()
    drop_sealed(world, PARTNER, again.path)
    assert world.take_in(PARTNER, now=LATER) == []
    assert content(world) == before
    assert [path.name for path in world.settings.outbox(PARTNER).glob("sub-*")] == [first]


def test_deltas_and_corrections_change_what_they_change_in_clear(
    copy_of: Copy, empty_world: World, small: Mapping[str, Any], tmp_path: Path
) -> None:
    person, enrolment = small["tables"]["person"], small["tables"]["enrolment"]
    changed = edit(person, 0, surname="Changed").head(1).with_columns(_delete=pl.lit(""))
    gone = small["tables"]["assessment"].head(1).with_columns(_delete=pl.lit("yes"))
    of_old = enrolment.with_columns(_delete=pl.lit("no"))
    of_nobody = edit(of_old.head(1), 0, local_person_id="nobody-knows", enrolment_number="E-new")
    delta = {"person": changed, "assessment": gone, "enrolment": pl.concat([of_old, of_nobody])}
    worlds, states = [], []
    for at_source in (False, True):
        world = copy_of(empty_world)
        office = make_office(world, tmp_path / str(at_source)) if at_source else None

        def take(
            tables: Any, manifest: Any, name: str, world: World = world, office: Office | None = office
        ) -> dict[str, Any]:
            if office is None:
                return world.receipt(PARTNER, world.load(PARTNER, tables, manifest))
            return world.receipt(PARTNER, send(world, office, tables, manifest, name))

        first = take(small["tables"], small["manifest"], "first")
        second = take(delta, {**small["manifest"], "kind": "delta"}, "delta")
        assert second["state"] == "accepted_with_rows_held_back"
        held = {finding["code"]: finding["first_rows"] for finding in second["findings"] if finding["scope"] == "row"}
        states.append([held, [line["held_back"] for line in second["tables"]], content(world)])
        tables = {**small["tables"], "enrolment": enrolment.head(2)}
        manifest = {**small["manifest"], "kind": "correction", "supersedes": first["submission_id"]}
        assert take(tables, manifest, "correction")["state"] == "accepted"
        states[-1].append(content(world))
        worlds.append(world)
    assert states[1][0] == states[0][0]
    assert list(states[0][0].values()) == [[enrolment.height + 2]]
    assert states[1] == states[0]
    for table in ("person", "enrolment", "assessment"):
        assert worlds[1].rows_in_force(table) == worlds[0].rows_in_force(table)


def test_nil_return_can_be_sent_this_way(world: World, office: Office, small: Mapping[str, Any]) -> None:
    manifest = {name: value for name, value in small["manifest"].items() if name != "tables"}
    submission = send(world, office, {}, {**manifest, "kind": "nil"})
    assert world.receipt(PARTNER, submission)["state"] == "accepted"


def test_rows_held_back_at_the_source_are_told_in_the_hubs_receipt_by_their_own_numbers(
    world: World, office: Office, small: Mapping[str, Any]
) -> None:
    tables = {**small["tables"], "person": edit(small["tables"]["person"], 4, sex="unheard-of")}
    in_clear = world.load(PARTNER, tables, small["manifest"])
    clear = world.receipt(PARTNER, in_clear)
    submission = send(world, office, tables, {**small["manifest"], "extracted_on": "2026-07-09"})
    receipt = world.receipt(PARTNER, submission)
    told = {finding["code"]: finding["first_rows"] for finding in receipt["findings"] if finding["scope"] == "row"}
    assert told == {
        finding["code"]: finding["first_rows"] for finding in clear["findings"] if finding["scope"] == "row"
    }
    assert told["person.sex.code"] == [6]
    assert [line["held_back"] for line in receipt["tables"]] == [line["held_back"] for line in clear["tables"]]


def test_far_fewer_rows_than_before_wait_for_a_person_here_too(
    world: World, office: Office, small: Mapping[str, Any]
) -> None:
    world.load(PARTNER, **small)
    people = small["tables"]["person"].head(2)
    tables = {
        name: frame.join(people.select("local_person_id"), on="local_person_id", how="semi")
        for name, frame in small["tables"].items()
    }
    made = office.pseudonymise(tables, small["manifest"])
    assert made.path is not None
    drop_sealed(world, PARTNER, made.path)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.refusal is not None
    receipt = world.receipt(PARTNER, outcome.submission_id)
    assert {finding["code"] for finding in receipt["findings"] if finding["scope"] == "submission"} >= {
        "person.row_count.fallen"
    }


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(world: World, envelope: Path) -> list[str]:
    """Codes for which an envelope is refused."""
    before = set(world.settings.outbox(PARTNER).glob("*/receipt.json"))
    drop_sealed(world, PARTNER, envelope)
    assert all(outcome.refusal is not None for outcome in world.take_in(PARTNER))
    (path,) = set(world.settings.outbox(PARTNER).glob("*/receipt.json")) - before
    receipt = json.loads(path.read_bytes())
    assert receipt["state"] == "refused"
    assert world.in_force_anywhere() == 0
    assert world.work() == []
    return [finding["code"] for finding in receipt["findings"] if finding["scope"] in ("submission", "file")]


def test_unsealed_output_is_refused(world: World, office: Office, small: Mapping[str, Any]) -> None:
    made = office.pseudonymise(**small)
    assert made.path is not None
    folder = world.settings.inbox(PARTNER) / "2026-Q2"
    folder.mkdir()
    for name, raw in opened(world, made.path).items():
        (folder / name).write_bytes(raw)
    world.flag(folder)
    assert world.take_in(PARTNER) == []
    (finding,) = world.latest_receipt(PARTNER)["findings"]
    assert finding["code"] == "source.unsealed"
    assert world.work() == []


Files = dict[str, bytes]


def cell(table: str, column: str, value: str, row: int = 0) -> Callable[[Files], None]:
    """Puts a value into one cell."""

    def change(files: Files) -> None:
        frame = pl.read_csv(files[f"{table}.csv"], infer_schema=False)
        files[f"{table}.csv"] = edit(frame, row, **{column: value}).write_csv().encode()

    return change


def column(table: str, name: str, value: str) -> Callable[[Files], None]:
    """Adds a column."""

    def change(files: Files) -> None:
        frame = pl.read_csv(files[f"{table}.csv"], infer_schema=False)
        files[f"{table}.csv"] = frame.with_columns(pl.lit(value).alias(name)).write_csv().encode()

    return change


def stated(**entries: Any) -> Callable[[Files], None]:
    """Changes what the manifest says of how it was made."""

    def change(files: Files) -> None:
        manifest = json.loads(files["manifest.json"])
        manifest["pseudonymised"] |= entries
        files["manifest.json"] = json.dumps(manifest).encode()

    return change


def cut(name: str, rows: int) -> Callable[[Files], None]:
    """Leaves the last rows of a file out."""

    def change(files: Files) -> None:
        files[name] = pl.read_csv(files[name], infer_schema=False).head(-rows).write_csv().encode()

    return change


def tokens_for_one_not_to_link(files: Files) -> None:
    cell("person", "do_not_link", "yes")(files)


def one_client_twice(files: Files) -> None:
    first, second = pl.read_csv(files["person.csv"], infer_schema=False)["person_ref"].head(2)
    for name in ("person.csv", "match_keys.csv", "encodings.csv"):
        files[name] = files[name].replace(second.encode(), first.encode())


def a_token_twice(files: Files) -> None:
    last = files["match_keys.csv"].splitlines(keepends=True)[-1]
    files["match_keys.csv"] += last


def words_in_a_finding(files: Files) -> None:
    files["source_findings.csv"] += b"person.sex.code,row,person,1,Smith\n"


def claim_nothing_held_back(files: Files) -> None:
    manifest = json.loads(files["manifest.json"])
    manifest["pseudonymised"]["tables"]["person"]["received"] += 5
    files["manifest.json"] = json.dumps(manifest).encode()


TAMPERED: dict[str, tuple[Callable[[Files], None], str]] = {
    "a column beyond the allow-list": (column("person", "surname", "Smith"), "file.column_undeclared"),
    "a file beyond the allow-list": (lambda files: files.update({"notes.csv": b"a\n1\n"}), "drop.unknown_file"),
    "a local number in the place of a token": (cell("person", "person_ref", "12345"), "person.person_ref.pattern"),
    "a whole postcode": (cell("person", "postcode_district", "LU1 2AB"), "person.postcode_district.pattern"),
    "a date of birth": (cell("person", "birth_year_band", "1980-03-02"), "person.birth_year_band.pattern"),
    "another scheme": (stated(scheme=2), "source.scheme"),
    "another format": (stated(format=2), "source.format"),
    "another K1": (stated(k1_id="0" * 16), "source.k1"),
    "another text of the agreement": (stated(agreement_digest="0" * 64), "source.agreement"),
    "counts that do not add up": (claim_nothing_held_back, "source.counts"),
    "rows that are missing": (cut("person.csv", 1), "file.rows_missing"),
    "no match keys": (lambda files: files.pop("match_keys.csv") and None, "source.file_missing"),
    "encodings that are missing": (cut("encodings.csv", 1), "source.tokens_missing"),
    "tokens of one who is not to be linked": (tokens_for_one_not_to_link, "source.tokens_of_others"),
    "one client twice": (one_client_twice, "source.twice"),
    "a token twice": (a_token_twice, "source.twice"),
    "words in the place of row numbers": (words_in_a_finding, "source.file_form"),
    "a match key in clear": (
        lambda files: files.update({"match_keys.csv": files["match_keys.csv"][:-65] + b"smith 1980-03-02\n"}),
        "source.file_form",
    ),
    "an entry that is not known": (stated(more="x"), "manifest.pseudonymised"),
}


def test_what_is_not_as_it_was_made_is_refused(world: World, office: Office, small: Mapping[str, Any]) -> None:
    made = office.pseudonymise(**small)
    assert made.path is not None
    for place, (name, (change, code)) in enumerate(TAMPERED.items()):
        envelope = tampered(world, made.path, change)
        assert code in refusal(world, envelope.rename(envelope.with_name(f"{place}.sealed"))), name
    drop_sealed(world, PARTNER, made.path)
    (outcome,) = world.take_in(PARTNER)  # unchanged it is taken
    assert outcome.refusal is None


def test_extract_that_the_hub_would_refuse_becomes_no_envelope(office: Office, small: Mapping[str, Any]) -> None:
    made = office.pseudonymise(small["tables"], {**small["manifest"], "agreement_version": "7.0"})
    assert made.path is None
    assert list(office.folder.glob("*.sealed")) == []
    assert "gate.version" in {finding.code for finding in made.check.receipt.findings}


MOMENTS: dict[str, tuple[str, str, int]] = {
    "while tokens are written": ("open", "tokens.part/encodings", 1),
    "between tokens and accepted rows": ("open", "accepted.part/enrolment", 1),
    "while pool rows are written": ("open", "pool.part/person", 1),
    "while tokens are removed": ("shutil.rmtree", ".removing-tokens", 1),
    "between the load's commit and the receipt": ("os.mkdir", f"/outbox/{PARTNER}/2026-Q2-sub-", 1),
}


def test_wherever_it_is_killed_a_later_run_ends_it_and_no_token_lies_open(
    world: World, copy_of: Copy, empty_world: World, office: Office, small: Mapping[str, Any]
) -> None:
    quiet = copy_of(empty_world)
    made = office.pseudonymise(**small)
    assert made.path is not None
    for each in (quiet, world):
        drop_sealed(each, PARTNER, made.path)
    assert [outcome.refusal for outcome in quiet.take_in(PARTNER)] == [None]
    files = opened(world, made.path)
    tokens = [
        token
        for name, column in (("person", "person_ref"), ("enrolment", "row_key"), ("match_keys", "token"))
        for token in pl.read_csv(files[f"{name}.csv"], infer_schema=False)[column]
    ]
    with start_killer() as killer:
        for moment, die in MOMENTS.items():
            # Each run has to come further than the last, over what that one left behind.
            assert run_and_kill(killer, world, die) == signal.SIGKILL, moment
            search = Search()
            search.add_home(world.home)
            assert [token for token in tokens if search.holds(token)] == [], moment
    world.take_in(PARTNER)
    assert world.query("select state from governance.submission") == [("loaded",)]
    assert content(world) == content(quiet)
    assert world.work() == []
    assert world.waiting(PARTNER) == []


def start_killer() -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from tests.integration.pipeline.killing import main; main()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def run_and_kill(killer: "subprocess.Popen[str]", world: World, die: tuple[str, str, int]) -> int:
    """The number of the signal that ended an intake; 0 where it came to its end."""
    assert killer.stdin is not None
    assert killer.stdout is not None
    environment = dict(world.settings.environment)
    request = {"environment": environment, "partner": PARTNER, "now": NOW.isoformat(), "die": die}
    killer.stdin.write(json.dumps(request) + "\n")
    killer.stdin.flush()
    return int(killer.stdout.readline())


# --- repeating and rotating -------------------------------------------------------------------------------------------


def test_every_step_can_be_repeated(world: World, office: Office, small: Mapping[str, Any]) -> None:
    made = office.pseudonymise(**small)
    assert made.path is not None
    drop_sealed(world, PARTNER, made.path)
    (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
    submission = waiting["submission_id"]
    for step in (check_submission, check_submission, pseudonymise_submission, pseudonymise_submission):
        step(submission, world.settings, now=NOW)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.refusal is None
    assert world.work() == []


def test_k2_that_is_added_on_the_way_is_applied_and_another_k1_refuses(
    world: World, office: Office, small: Mapping[str, Any]
) -> None:
    made = office.pseudonymise(**small)
    assert made.path is not None
    drop_sealed(world, PARTNER, made.path)
    (waiting,) = receive_submissions(PARTNER, world.settings, now=NOW)
    submission = waiting["submission_id"]
    check_submission(submission, world.settings, now=NOW)
    # The key file gets another K1 between two steps, while nothing is in the warehouse yet.
    source = world.settings.key_source
    held = open_keys(world.settings, now=NOW)
    longer = held.with_new("K1", NOW)
    other = longer.pending("K1")
    assert other is not None
    write_key_ring(source, longer.with_inner(other).marked(NOW))
    with pytest.raises(NotYet, match="K1 was changed"):
        pseudonymise_submission(submission, world.settings, now=NOW)
    (outcome,) = world.take_in(PARTNER)
    assert outcome.refusal is not None
    codes = [finding["code"] for finding in world.receipt(PARTNER, submission)["findings"]]
    assert codes == ["source.k1"]
    # With the former K1 back and a K2 on top, the same drop is taken in.
    write_key_ring(source, held.with_new("K2", NOW).with_next_outer().marked(NOW))
    drop_sealed(world, PARTNER, made.path, "again.sealed")
    (outcome,) = world.take_in(PARTNER, now=LATER)
    assert outcome.refusal is None
    before = content(world)
    world.load(PARTNER, small["tables"], {**small["manifest"], "extracted_on": "2026-07-09"}, now=LATER)
    rows = world.rows_in_force("person", "row_key, person_ref")
    assert sorted(rows) == sorted(
        (row["row_key"], row["person_ref"]) for row in map(json.loads, before["facts.person"])
    )


def test_extract_of_an_earlier_version_is_carried_over_at_the_source_as_at_the_hub(
    copy_of: Copy, empty_world: World, partnership: Partnership, tmp_path: Path
) -> None:
    folder = write_two_versions(tmp_path / "agreement")
    worlds = [with_agreement(copy_of(empty_world), folder) for _ in range(2)]
    tables, manifest = extract_by_the_earlier(partnership, PARTNER)
    for world in worlds:
        set_up(world)
    first = worlds[0].load(PARTNER, tables, manifest)
    second = send(worlds[1], make_office(worlds[1], tmp_path), tables, manifest)
    assert content(worlds[1]) == content(worlds[0])
    assert worlds[1].query("select agreement_version, rows_version from governance.submission") == [("1.0", "2.0")]
    receipts = [world.receipt(PARTNER, sub) for world, sub in zip(worlds, (first, second), strict=True)]
    assert receipts[1]["tables"] == receipts[0]["tables"]
    assert receipts[1]["sunset_notice"] == receipts[0]["sunset_notice"]


def test_export_that_is_mapped_and_has_no_manifest_is_mapped_at_the_source(
    database_server: EmbeddedServer, database_template: str, tmp_path: Path
) -> None:
    """The HMIS partnership: one export for several organisations, each of which takes its rows by SQL."""
    partner, folder = "organization_a", ROOT / "examples" / "hmis"
    in_clear = make_world(database_server, database_template, tmp_path / "clear", folder, None)
    at_source = make_world(database_server, in_clear.database, tmp_path / "source", folder, in_clear.home)
    export = tmp_path / HMIS_PERIOD
    make_hmis_export(export, clients=120, seed=4)
    shutil.copytree(export, in_clear.settings.inbox(partner) / HMIS_PERIOD)
    in_clear.flag(in_clear.settings.inbox(partner) / HMIS_PERIOD)
    office = make_office(at_source, tmp_path / "office")
    envelope = tmp_path / f"{HMIS_PERIOD}.sealed"
    made = pseudonymise_extract(
        export, at_source.agreement, office.keys, office.public_key, envelope, now=NOW, partner_id=partner
    )
    assert made.path is not None, made.check.receipt.findings
    drop_sealed(at_source, partner, envelope)
    for world in (in_clear, at_source):
        assert [outcome.refusal for outcome in world.take_in(partner)] == [None]
    assert content(at_source) == content(in_clear)
    assert len(content(at_source)["facts.person"]) > 20
    for world in (in_clear, at_source):
        drop_world(world)
