"""Keys are rotated: everything stored is renewed, everybody stays who they were, and no kill leaves a mixture."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from pipeline import key_rotation
from pipeline.cli import main
from pipeline.intake_steps import check_submission, load_submission, pseudonymise_submission, receive_submissions
from pipeline.key_rotation import describe_rotation, prepare_key, read_rings, remove_key, rotate_inner, rotate_outer
from pipeline.resources import open_keys
from protocol.errors import DefectFound, KeyUnavailable, LinkarmsError, NotYet, SubmissionRefused
from pseudonymise.keys import open_key_ring
from synthetic import Partnership
from tests.integration.pipeline.world import LATER, NOW, World, drop_world, make_world
from warehouse.rotation import pseudonym_columns, set_rows_aside
from warehouse.schema import metadata
from warehouse.schema.base import PSEUDONYM
from warehouse.server import SUPERUSER

ROOT = Path(__file__).parents[3]
WHO = {"by": "the custodian", "reason": "The yearly rotation."}
HEXADECIMAL = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{64})\b")

Copy = Callable[[World], World]


def owner_of(world: World) -> str:
    return world.server.url(database=world.database)


def rotate(world: World, **changed: Any) -> key_rotation.Rotated:
    return rotate_outer(world.settings, owner_of(world), now=LATER, **{**WHO, **changed})


def columns_of(world: World) -> list[tuple[str, str, str]]:
    with create_engine(owner_of(world), poolclass=NullPool).connect() as conn:
        return [(c.schema, c.table, c.column) for c in pseudonym_columns(conn, world.agreement)]


def stored(world: World) -> set[str]:
    """Every token and pseudonym in the database."""
    selects = [f'select "{c}" from {s}.{t} where "{c}" is not null' for s, t, c in columns_of(world)]
    return {value for (value,) in world.query(" union ".join(selects))}


def structure(world: World) -> dict[str, Any]:
    """What linkage, marks, registry and evidence say, told without any pseudonym."""
    persons = world.query(
        "select p.submission_id, p.partner_id, p.birth_year_band, p.postcode_district, p.sex, m.person_id::text"
        " from facts.person p left join linkage.membership m using (partner_id, person_ref) order by 1, 2, 3, 4, 5, 6"
    )
    shared = world.query(
        "select key_name, n, count(*) from (select key_name, token, count(distinct (partner_id, person_ref)) as n"
        " from linkage.match_key group by 1, 2) k group by 1, 2 order by 1, 2"
    )
    marks = world.query(
        "select a.partner_id, a.domain, a.assessed_on, m.mark, m.days_since, b.partner_id, b.assessed_on"
        " from facts.assessment a join facts.assessment_mark m using (partner_id, row_key)"
        " left join facts.assessment b on b.partner_id = m.repeats_partner_id and b.row_key = m.repeats_row_key"
        " order by 1, 2, 3, 4, 5, 6, 7"
    )
    items = world.query(
        "select i.partner_id, i.item, a.domain, a.assessed_on, count(*) from facts.assessment_item i"
        " join facts.assessment a using (submission_id, assessment_number) group by 1, 2, 3, 4 order by 1, 2, 3, 4"
    )
    return {
        "persons": persons,
        "shared tokens": shared,
        "marks": marks,
        "items": items,
        "registry": world.query(
            "select run_id, event, cause, person_id::text from linkage.registry_event order by 1, 2, 4"
        ),
        "given": world.query("select audience, person_id::text from linkage.published_id order by 1, 2"),
        "releases": world.query("select release_id, state, snapshot_digest, figures_digest from evidence.release"),
        "figures": world.query("select * from evidence.current_figure order by 1, 2, 3, 4, 5"),
        "counts": {k: v for k, v in world.counts().items() if k not in OF_A_ROTATION},
    }


OF_A_ROTATION = ("governance.key_change", "governance.audit_event", "linkage.run", "linkage.compared")


def test_a_rotation_renews_everything_and_changes_nobody(published: World, copy_of: Copy) -> None:
    world = copy_of(published)
    before, values = structure(world), stored(world)
    assert len(values) > 10_000
    assert world.query("select count(*) from linkage.compared") != [(0,)]
    keys = open_keys(world.settings, now=NOW)

    done = rotate(world)

    assert done.changed == len(values)
    now = stored(world)
    assert len(now) == len(values)
    assert not now & values
    assert structure(world) == before
    assert world.query("select count(*) from linkage.compared") == [(0,)]
    assert {key for (key,) in world.query("select distinct key_id from governance.submission")} == {done.after}
    # Not a copy of a former value is left in any cell of any table.
    everything = " ".join(
        row for name in world.relations() for (row,) in world.query(f"select row_to_json(t)::text from {name} t")
    )
    assert not set(HEXADECIMAL.findall(everything)) & values
    ring = open_keys(world.settings, now=LATER)
    assert ring.key_id == done.after != done.before == keys.key_id
    assert [str(key.state) for key in ring.keys] == ["active", "covered", "active"]

    # What is worked out anew under the chain is what was renewed: the same release, the same ids.
    given = world.query("select audience, person_id::text, published_id from linkage.published_id order by 1, 2")
    draft = world.prepare("after", now=LATER)
    assert (
        world.query("select audience, person_id::text, published_id from linkage.published_id order by 1, 2") == given
    )
    assert structure(world) == before
    assert (draft["release_id"],) in world.query("select release_id from evidence.release where state = 'published'")


def test_what_comes_after_a_rotation_lands_on_the_same_clients_and_persons(
    published: World, copy_of: Copy, partnership: Partnership
) -> None:
    world = copy_of(published)
    rotate(world)
    refs = world.query("select person_ref, person_id::text from linkage.membership where partner_id = 'harbour_trust'")
    manifest = {**partnership.manifests["harbour_trust", "2026-Q3"], "extracted_on": "2026-11-03"}

    submission_id = world.load("harbour_trust", partnership.extracts["harbour_trust", "2026-Q3"], manifest, now=LATER)
    world.prepare("after", now=LATER)

    again = world.query("select person_ref, person_id::text from linkage.membership where partner_id = 'harbour_trust'")
    assert sorted(again) == sorted(refs)
    for name in ("person", "assessment", "referral"):
        (new, old) = (
            {key for (key,) in world.query(f"select row_key from facts.{name} where {which}", id=submission_id)}
            for which in (
                "submission_id = :id",
                "partner_id = 'harbour_trust' and period = '2026-Q3' and submission_id <> :id",
            )
        )
        assert new
        assert new == old


def test_no_column_holds_a_pseudonym_that_rotation_does_not_know_of(published: World) -> None:
    known = set(columns_of(published))
    # By what stands in them: every text column whose cells are all 32 or 64 hexadecimal digits.
    columns = published.query(
        "select table_schema, table_name, column_name from information_schema.columns c"
        " join information_schema.tables t using (table_schema, table_name)"
        " where table_type = 'BASE TABLE' and table_schema = any(:schemas) and data_type = 'text'",
        schemas=["facts", "linkage", "governance", "evidence"],
    )
    found = set()
    for schema, table, column in columns:
        ((count, digits),) = published.query(
            f'select count("{column}"), count(*) filter (where "{column}" ~ \'^([0-9a-f]{{32}}|[0-9a-f]{{64}})$\')'
            f" from {schema}.{table}"
        )
        if count and digits:
            found.add((schema, table, column))
    digests = {
        ("governance", "agreement_version", "digest"),
        ("governance", "applied_plan", "agreement_digest"),
        ("governance", "submission", "content_digest"),
        ("governance", "snapshot", "digest"),
        ("governance", "login_grant", "agreement_digest"),
        ("evidence", "release", "snapshot_digest"),
        ("evidence", "release", "figures_digest"),
        ("evidence", "release", "agreement_digest"),
    }
    assert len(found) > 25
    assert found - digests <= known
    # By what is said of them: also a column that no row of the test fills.
    said = {
        (str(table.schema), table.name, column.name)
        for table in metadata.tables.values()
        for column in table.columns
        if "pseudonym" in str(column.comment).lower()
        or column.name.endswith(("person_ref", "row_key", "token"))
        or PSEUDONYM in column.info
    }
    ids_of_something_else = {
        ("governance", "submission", "key_id"),
        ("governance", "login_grant", "audience"),
        ("linkage", "published_id", "audience"),
        ("linkage", "reidentification_request", "audience"),
        # A request is not changed by anybody. One that is open when keys are rotated finds nobody and is made again.
        ("linkage", "reidentification_request", "published_id"),
    }
    assert len(said) > 30
    assert said - ids_of_something_else <= known


def test_a_column_of_pseudonyms_that_the_agreement_does_not_know_stops_the_rotation(
    published: World, copy_of: Copy
) -> None:
    world = copy_of(published)
    tables = tuple(
        table.model_copy(update={"columns": tuple(c for c in table.columns if c.name != "household_number")})
        for table in world.agreement.contract.tables
    )
    narrower = world.agreement.model_copy(
        update={"contract": world.agreement.contract.model_copy(update={"tables": tables})}
    )
    engine = create_engine(owner_of(world), poolclass=NullPool)
    with engine.connect() as conn, pytest.raises(DefectFound, match=r"person\.household_number"):
        pseudonym_columns(conn, narrower)


# --- killed -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def little(empty_world: World, small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One small extract, linked. Only to be copied."""
    folder = empty_world.settings.agreement_folder
    home = tmp_path_factory.mktemp("little") / "home"
    world = make_world(empty_world.server, empty_world.database, home, folder, empty_world.home)
    world.load("harbour_trust", **small)
    world.prepare()
    yield world
    drop_world(world)


@pytest.fixture(scope="module")
def killer() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", "from tests.integration.pipeline.rotation_killing import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


MOMENTS = {
    "before the pending key is in the file": ("rename", "linkarms.keys", 1),
    "before anything is held still": ("statement", "pg_advisory_xact_lock(hashtext", 1),
    "while pseudonyms are collected": ("statement", "insert into stored_pseudonym", 1),
    "while new ones are handed in": ("statement", 'copy "pg_temp"."renewed_pseudonym"', 1),
    "while rows are rewritten": ("statement", 'update "linkage"."match_key"', 1),
    "before the new id is recorded": ("statement", "insert into governance.key_change", 1),
    "before the commit": ("commit", "", 1),
    "after the commit": ("statement", "set lock_timeout = '30s'", 1),
    "while former rows are cleared": ("statement", 'vacuum (full, analyze) "linkage"', 1),
    "before the file is marked": ("rename", "linkarms.keys", 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_wherever_a_rotation_is_killed_old_or_new_is_whole_and_works(
    little: World, copy_of: Copy, small: dict[str, Any], killer: "subprocess.Popen[str]", moment: str
) -> None:
    world = copy_of(little)
    before, values = structure(world), stored(world)
    former = open_keys(world.settings, now=NOW)
    request = {
        "environment": dict(world.settings.environment),
        "owner": owner_of(world),
        "now": LATER.isoformat(),
        "die": MOMENTS[moment],
    }
    assert killer.stdin is not None
    assert killer.stdout is not None
    killer.stdin.write(json.dumps(request) + "\n")
    killer.stdin.flush()
    assert int(killer.stdout.readline()) == signal.SIGKILL

    # Either all of it or nothing, and whoever opens keys now has those that fit.
    now = stored(world)
    assert now == values or not now & values
    assert structure(world) == before
    rings = read_rings(world.settings, now=LATER)
    assert (rings.in_force.key_id == former.key_id) == (now == values)
    if moment in ("before the commit", "after the commit"):
        refs = world.query("select distinct person_ref from facts.person order by 1")
        world.load("harbour_trust", small["tables"], {**small["manifest"], "extracted_on": "2026-11-03"}, now=LATER)
        assert world.query("select distinct person_ref from facts.person order by 1") == refs
        world.prepare("meanwhile", now=LATER)
        assert world.query("select count(*) from linkage.registry_event") == [(len(before["registry"]),)]
        before = structure(world)

    # Run again, it ends what was begun and makes no second key.
    done = rotate(world)
    rings = read_rings(world.settings, now=LATER)
    assert done.after == rings.held.key_id == rings.recorded
    assert len(rings.held.outer_ids) == 2
    assert not rings.unfinished
    assert not stored(world) & values
    assert structure(world) == before


def test_what_was_pseudonymised_before_a_rotation_is_loaded_after_it_as_if_made_now(
    little: World, copy_of: Copy, small: dict[str, Any]
) -> None:
    world = copy_of(little)
    manifest = {**small["manifest"], "extracted_on": "2026-11-03"}
    world.drop("harbour_trust", small["tables"], manifest)
    (waiting,) = receive_submissions("harbour_trust", world.settings, now=LATER)
    check_submission(waiting["submission_id"], world.settings, now=LATER)
    pseudonymise_submission(waiting["submission_id"], world.settings, now=LATER)
    done = rotate(world)
    load_submission(waiting["submission_id"], world.settings, now=LATER)

    assert world.query("select key_id from governance.submission where state = 'loaded'") == [(done.after,)]
    for column, table in (("person_ref", "person"), ("row_key", "assessment"), ("household_number", "person")):
        rows = world.query(f"select submission_id, {column} from facts.{table} where {column} is not null")
        (first, second) = ({v for s, v in rows if s == each} for each in {s for s, _ in rows})
        assert first == second
    tokens = world.query("select token, count(*) from linkage.match_key group by 1")
    assert {count for _, count in tokens} <= {2, 4}


def test_two_rotations_follow_each_other_and_a_restored_warehouse_is_led_to_the_same_keys(
    little: World, copy_of: Copy
) -> None:
    world, other = copy_of(little), copy_of(little)
    rotate(world)
    done = rotate(world)
    assert [event for (event,) in world.query("select before_key_id from governance.key_change order by 1")]
    # The other stands for the warehouse as a backup has it, under the keys of today.
    shutil.copy(world.home / "secrets" / "linkarms.keys", other.home / "secrets" / "linkarms.keys")
    assert read_rings(other.settings, now=LATER).in_force.key_id == open_keys(little.settings, now=NOW).key_id
    assert rotate(other).after == done.after
    assert stored(other) == stored(world)


def test_a_key_can_be_prepared_first_and_is_then_the_one_that_is_used(little: World, copy_of: Copy) -> None:
    world = copy_of(little)
    key_id = prepare_key(world.settings, owner_of(world), "K2", now=NOW)
    assert prepare_key(world.settings, owner_of(world), "K2", now=NOW) == key_id
    before = stored(world)
    world.prepare("meanwhile")
    assert stored(world) == before
    rotate(world)
    assert open_keys(world.settings, now=LATER).outer_ids[-1] == key_id
    unused = prepare_key(world.settings, owner_of(world), "K2", now=NOW)
    assert unused not in [key.id for key in remove_key(unused, world.settings, now=NOW).keys]
    with pytest.raises(KeyUnavailable, match="in use"):
        remove_key(key_id, world.settings, now=NOW)


def test_a_key_that_only_the_file_lost_after_the_rotation_stops_everything(
    little: World, copy_of: Copy, small: dict[str, Any]
) -> None:
    world = copy_of(little)
    path = world.home / "secrets" / "linkarms.keys"
    former = path.read_text()
    rotate(world)
    path.write_text(former)
    with pytest.raises(KeyUnavailable, match="cannot be linked"):
        world.load("harbour_trust", small["tables"], {**small["manifest"], "extracted_on": "2026-11-03"})
    with pytest.raises(KeyUnavailable, match="cannot be linked"):
        world.prepare("meanwhile")
    with pytest.raises(KeyUnavailable, match="cannot be linked"):
        rotate(world)


def test_only_the_owner_rotates_and_nobody_changes_the_record(little: World, copy_of: Copy) -> None:
    world = copy_of(little)
    pipeline = world.settings.database_url()
    before = stored(world)
    with pytest.raises(Exception, match="permission denied"):
        rotate_outer(world.settings, pipeline, now=LATER, **WHO)
    assert stored(world) == before
    rotate(world)
    with pytest.raises(Exception, match=r"never changed|refuse|append|may not"):
        world.execute("delete from governance.key_change")
    with pytest.raises(Exception, match="permission denied"), create_engine(pipeline).begin() as conn:
        conn.execute(
            text("insert into governance.key_change (layer, before_key_id, after_key_id) values ('K2','a','b')")
        )


def test_rows_of_keys_that_the_ring_lacks_stop_the_rotation(little: World, copy_of: Copy) -> None:
    world = copy_of(little)
    world.execute(
        "insert into governance.submission (submission_id, partner_id, period, mode, agreement_version, content_digest,"
        " received_at, state, key_id) values ('x', 'p', '2026-Q1', 'full', '1', 'd', now(), 'superseded', 'k1.0-k2.0')"
    )
    before = stored(world)
    with pytest.raises(KeyUnavailable, match=r"k1\.0-k2\.0"):
        rotate(world)
    assert stored(world) == before


# --- what must not be forgotten ---------------------------------------------------------------------------------------


def part_a_person(world: World) -> tuple[str, str]:
    """The custodian parts two records of one person, as a linkage run would; gives the two persons."""
    ((person, partner, ref),) = world.query(
        "select person_id::text, min(partner_id), min(person_ref) from linkage.membership"
        " group by 1 having count(*) = 2 and min(partner_id) <> max(partner_id) order by 1 limit 1"
    )
    ((partner, ref),) = world.query(
        "select partner_id, person_ref from linkage.membership where person_id::text = :person order by 1 limit 1",
        person=person,
    )
    other = "00000000-0000-4000-8000-00000000cafe"
    ((run,),) = world.query("select run_id from linkage.run order by seq desc limit 1")
    world.execute(
        "insert into linkage.person (person_id, created_at) values (cast(:other as uuid), now())", other=other
    )
    world.execute(
        "update linkage.membership set person_id = cast(:other as uuid)"
        " where partner_id = :partner and person_ref = :ref",
        other=other,
        partner=partner,
        ref=ref,
    )
    world.execute(
        "insert into linkage.registry_event (run_id, event, cause, person_id, other_person_id)"
        " values (:run, 'split', 'the custodian parted them', cast(:person as uuid), cast(:other as uuid))",
        run=run,
        person=person,
        other=other,
    )
    return person, other


def together(world: World, persons: tuple[str, str]) -> bool:
    """Whether the two have become one person."""
    held = world.query(
        "select count(*) from linkage.membership where person_id::text = any(:persons) group by person_id",
        persons=list(persons),
    )
    return len(held) < 2


def test_persons_who_were_parted_stay_parted_and_hidden_clients_stay_hidden(
    published: World, copy_of: Copy, partnership: Partnership
) -> None:
    world = copy_of(published)
    parted = part_a_person(world)
    hidden = world.query("select count(*) from facts.person where do_not_link = 'yes'")
    assert hidden[0][0] > 0
    rotate(world)
    manifest = {**partnership.manifests["harbour_trust", "2026-Q3"], "extracted_on": "2026-11-03"}
    world.load("harbour_trust", partnership.extracts["harbour_trust", "2026-Q3"], manifest, now=LATER)
    world.prepare("after", now=LATER)
    assert not together(world, parted)
    assert world.query(
        "select count(*) from facts.person p join linkage.match_key k using (partner_id, person_ref)"
        " where do_not_link = 'yes'"
    ) == [(0,)]
    assert world.query(
        "select count(*) from facts.person p join linkage.membership m using (partner_id, person_ref)"
        " where do_not_link = 'yes'"
    ) == [(0,)]
    # The same without the separation: they would be one person again, or the test would show nothing.
    world.execute("delete from linkage.registry_event where event = 'split'")
    world.prepare("without", now=LATER)
    assert together(world, parted)


def test_another_k1_is_refused_while_separations_would_be_forgotten(published: World, copy_of: Copy) -> None:
    world = copy_of(published)
    part_a_person(world)
    path = world.home / "secrets" / "linkarms.keys"
    before = path.read_text(), stored(world), world.counts()
    with pytest.raises(LinkarmsError, match="keeps 1 separations"):
        rotate_inner(world.settings, owner_of(world), now=LATER, **WHO)
    assert (path.read_text(), stored(world), world.counts()) == before

    # Also where one was recorded since it was looked for.
    def refuse(found: int) -> None:
        assert found == 1
        raise LinkarmsError

    names = {"before": "k1.0-k2.0", "after": "k1.1-k2.0", "actor": "c", "reason": "r"}
    owner = create_engine(owner_of(world), poolclass=NullPool)
    with pytest.raises(LinkarmsError), owner.begin() as conn:
        set_rows_aside(conn, world.agreement, check_separations=refuse, **names)
    assert world.counts() == before[2]
    rotate_inner(world.settings, owner_of(world), now=LATER, give_up_separations=True, **WHO)
    detail = world.query("select actor, detail from governance.audit_event where action = 'keys.rotated'")
    assert [(who, told["separations"]) for who, told in detail] == [("the custodian", 1)]


def test_intake_stops_where_new_keys_would_forget_separations(
    published: World, copy_of: Copy, small: dict[str, Any], tmp_path: Path
) -> None:
    """Also where no row is in force any more that other keys have made."""
    world = copy_of(published)
    part_a_person(world)
    world.execute("update governance.submission set state = 'erased'")
    other = f"file:{tmp_path / 'other' / 'linkarms.keys'}"
    open_key_ring(other, now=NOW, create=True)
    stranger = replace(world, settings=replace(world.settings, key_source=other))
    with pytest.raises(KeyUnavailable, match="separations"):
        stranger.load("harbour_trust", small["tables"], {**small["manifest"], "extracted_on": "2026-11-03"})


# --- K1 ---------------------------------------------------------------------------------------------------------------


def test_the_cost_of_another_k1_is_what_then_has_to_come_again(
    published: World, copy_of: Copy, partnership: Partnership
) -> None:
    world = copy_of(published)
    told = list(describe_rotation(world.settings, owner_of(world), "K1"))
    submissions, partners, extracts, rows = (int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", told[0]))
    assert (submissions, partners, extracts) == (12, 6, 12)
    assert rows == sum(count for name, count in world.counts().items() if name in fact_tables(world))
    assert told[1].startswith("0 separations")

    done = rotate_inner(world.settings, owner_of(world), now=LATER, **WHO)
    assert done.changed == submissions
    assert world.query("select count(*) from facts.in_force_submission_table") == [(0,)]
    # The published release stands as it was, with its rows.
    assert world.query("select count(*) from evidence.release where state = 'published'") == [(1,)]
    assert world.counts()["facts.person"] == published.counts()["facts.person"]

    # The very same file is refused and the partner is told what to do; made anew, it is loaded under the new K1.
    tables, manifest = (each["harbour_trust", "2026-Q3"] for each in (partnership.extracts, partnership.manifests))
    world.drop("harbour_trust", tables, dict(manifest))
    with pytest.raises(SubmissionRefused):
        receive_submissions("harbour_trust", world.settings, now=LATER)
    before = stored(world)
    world.load("harbour_trust", tables, {**manifest, "extracted_on": "2026-11-03"}, now=LATER)
    assert world.query("select distinct key_id from governance.submission where state = 'loaded'") == [(done.after,)]
    assert len(stored(world) - before) > 1000
    world.publish(world.prepare("after", now=LATER), now=LATER)
    # A later rotation of K2 renews rows of both K1, those of the former release among them.
    values = stored(world)
    rotate(world)
    assert not stored(world) & values


def fact_tables(world: World) -> set[str]:
    return {f"facts.{name}" for name in world.agreement.contract.table_names}


def test_rows_of_the_former_k1_are_not_loaded_beside_those_of_the_new(
    little: World, copy_of: Copy, small: dict[str, Any]
) -> None:
    world = copy_of(little)
    world.drop("harbour_trust", small["tables"], {**small["manifest"], "extracted_on": "2026-11-03"})
    (waiting,) = receive_submissions("harbour_trust", world.settings, now=LATER)
    check_submission(waiting["submission_id"], world.settings, now=LATER)
    pseudonymise_submission(waiting["submission_id"], world.settings, now=LATER)
    rotate_inner(world.settings, owner_of(world), now=LATER, **WHO)
    with pytest.raises(KeyUnavailable, match="Submit the data again"):
        load_submission(waiting["submission_id"], world.settings, now=LATER)
    assert world.query("select count(*) from governance.submission where state = 'loaded'") == [(0,)]


# --- who else is there ------------------------------------------------------------------------------------------------


def test_a_rotation_waits_for_a_load_and_gives_up_in_peace(
    little: World, copy_of: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = copy_of(little)
    before = stored(world)
    monkeypatch.setattr("warehouse.migrate.LOCK_PATIENCE", "200ms")
    loading = create_engine(world.settings.database_url(), poolclass=NullPool)
    with loading.begin() as conn:
        # What a load has done before it ends: nobody else sees it yet, and a rotation would pass it by.
        conn.execute(
            text(
                "insert into governance.submission (submission_id, partner_id, period, mode, agreement_version,"
                " content_digest, received_at, state, key_id) select 'under way', partner_id, period, mode,"
                " agreement_version, 'd', received_at, 'superseded', key_id from governance.submission"
            )
        )
        conn.execute(
            text(
                "insert into linkage.match_key (submission_id, partner_id, person_ref, key_name, token)"
                " select 'under way', partner_id, person_ref, key_name, token from linkage.match_key"
            )
        )
        with pytest.raises(NotYet):
            rotate(world)
    assert stored(world) == before
    rotate(world)
    assert not stored(world) & before
    assert world.query("select count(*) from linkage.match_key where submission_id = 'under way'") > [(0,)]


def test_no_key_and_no_passphrase_comes_out_of_a_rotation(
    little: World, copy_of: Copy, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Not into the database, the statements that it is sent, the audit trail, the program's output or its log."""
    world = copy_of(little)
    words = "otter lantern gravel sunday"
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "passphrase").touch(mode=0o600)
    (private / "passphrase").write_text(words)
    (private / "owner").write_text(owner_of(world))
    environment = {
        **dict(world.settings.environment),
        "LINKARMS_KEYS_PASSPHRASE_FILE": str(private / "passphrase"),
        "LINKARMS_KEYS_NEW_PASSPHRASE_FILE": str(private / "passphrase"),
    }
    keys = world.home / "secrets" / "linkarms.keys"
    secrets = re.findall(r"LINKARMS-SECRET-(\w+)", keys.read_text())
    with psycopg.connect(world.server.url(SUPERUSER, "postgres", driver="postgresql"), autocommit=True) as conn:
        conn.execute(f"alter database {world.database} set log_statement = 'all'")
    log = world.server.state().log
    seen_before = log.stat().st_size
    told = ""
    for command in (
        ["keys", "lock"],
        ["keys", "list"],
        ["keys", "rotate", "--dry-run"],
        ["keys", "rotate", "--by", "c", "--reason", "r"],
        ["keys", "list"],
    ):
        arguments = [*command, "--owner-url-file", str(private / "owner")] if "rotate" in command else command
        ended = CliRunner().invoke(main, arguments, env=environment)
        assert ended.exit_code == 0, ended.output
        told += ended.output
    assert "SECRET" not in keys.read_text()
    ring = open_key_ring(f"file:{keys}", now=LATER, passphrase=lambda: words)
    secrets += re.findall(r"LINKARMS-SECRET-(\w+)", ring._text())
    assert len(set(secrets)) == 3
    with log.open("rb") as file:
        file.seek(seen_before)
        statements = file.read().decode(errors="replace")
    assert 'update "linkage"."match_key"' in statements
    rows = [row for table in world.relations() for (row,) in world.query(f"select row_to_json(t)::text from {table} t")]
    everything = " ".join([told, caplog.text, statements, *rows])
    assert "covered" in told
    assert ring.key_id in told
    assert not any(secret[:16] in everything.lower() for secret in secrets)
    assert words not in everything
