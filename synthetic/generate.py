"""A made-up partnership: every partner's extracts for some periods, and the truth that no partner has.

The same seed gives the same bytes, on any platform and Python version. Names come from Faker once, as pools; all else
is drawn in columns, so that 180,000 people take seconds and not hours.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from protocol.model import Agreement, Partner, Period, RuleKind, Table
from synthetic import events
from synthetic.draws import Draws, Flags, Integers, Texts, as_day, as_text
from synthetic.names import ORIGINS
from synthetic.people import NEVER, make_people
from synthetic.profile import DEFAULT, ErrorProfile
from synthetic.records import Records, make_memberships, read_records, write_records
from synthetic.truth import PlantedFacts, count_facts

EXTRACTED_AFTER_DAYS = 7
"""Days between a period's end and the day its extract is taken."""

Tables = Mapping[str, pl.DataFrame]
"""Agreed table name -> its rows, every cell text or null, columns in the agreed order."""


@dataclass(frozen=True)
class Partnership:
    """Extracts of all partners, with what is true about them."""

    extracts: Mapping[tuple[str, str], Tables]
    """(partner, period) -> tables."""
    manifests: Mapping[tuple[str, str], Mapping[str, Any]]
    """(partner, period) -> what the extract's manifest says."""
    truth: pl.DataFrame
    """``partner_id, local_person_id, truth_person``: one row for each of a partner's numbers in any extract."""
    subgroups: pl.DataFrame
    """``truth_person, origin, name_dense, sex, birth_year, household, twin, do_not_link``: for error rates by group.
    ``name_dense``: of an origin whose people share few names. ``twin``: someone of the household was born that day."""
    facts: PlantedFacts
    """What a faultless link and the agreement's definitions would find in the extracts."""


def generate_partnership(
    agreement: Agreement,
    *,
    seed: int,
    people: int = 3000,
    periods: Sequence[str] = ("2026-Q2", "2026-Q3"),
    profile: ErrorProfile = DEFAULT,
    partners: Sequence[str] | None = None,
) -> Partnership:
    """Make a partnership's extracts.

    :param agreement: whose tables, code lists, partners and calendar the extracts follow. A column that is not known
        here holds its example where it is required and nothing where it is not; a table that is not known is left out.
    :param people: true people; each is known to at least one partner.
    :param periods: ids of periods of the agreement's calendar, in order of time.
    :param partners: ids of partners; those that have signed, where it is None.
    :raises KeyError: a period or partner that the agreement does not have.
    :raises ValueError: no period or partner, or more people than can be told apart.
    """
    scene, records, spans = _set_scene(
        agreement, seed=seed, people=people, periods=periods, profile=profile, partners=partners
    )
    persons = {span.id: _person_rows(scene, records, span, np.flatnonzero(_is_client(scene, span))) for span in spans}
    happenings = _make_happenings(scene)
    extracts: dict[tuple[str, str], dict[str, pl.DataFrame]] = {}
    manifests: dict[tuple[str, str], dict[str, Any]] = {}
    for number, partner in enumerate(scene.partners):
        before: Period | None = None
        for span in spans:
            person = persons[span.id].filter(pl.col("_partner") == number)
            tables: dict[str, pl.DataFrame] = {}
            for table in agreement.contract.tables:
                if table.name == "person":
                    rows = person
                elif table.name in happenings:
                    rows = _rows_of_period(table, happenings[table.name], number, span, before)
                    if table.person_column:
                        rows = rows.join(
                            person.select("local_person_id"), on="local_person_id", how="semi", maintain_order="left"
                        )
                else:
                    continue
                tables[table.name] = _conform(rows, table)
            extracts[partner.id, span.id] = tables
            manifests[partner.id, span.id] = _manifest(agreement, partner, span, tables)
            before = span
    truth = _truth(scene, np.unique(np.concatenate([frame["_member"].to_numpy() for frame in persons.values()])))
    subgroups = _subgroups(scene, truth)
    facts = count_facts(extracts, truth, repeat_window_days=agreement.measures.repeat_window_days)
    return Partnership(extracts, manifests, truth, subgroups, facts)


@dataclass(frozen=True)
class Persons:
    """The person rows of a partnership, each client once, with what is true about them."""

    rows: pl.DataFrame
    """``partner_id``, then the agreed columns of table ``person``: each client as the last extract that has it says.
    Sorted by partner and client number."""
    truth: pl.DataFrame
    """As in :class:`Partnership`."""
    subgroups: pl.DataFrame
    """As in :class:`Partnership`."""


def generate_persons(
    agreement: Agreement,
    *,
    seed: int,
    people: int,
    periods: Sequence[str] = ("2026-Q2", "2026-Q3"),
    profile: ErrorProfile = DEFAULT,
    partners: Sequence[str] | None = None,
) -> Persons:
    """Make table ``person`` alone: the same clients with the same cells as :func:`generate_partnership` makes of the
    same arguments, without what happens to them, so that a million rows fit into memory.

    Arguments and errors are those of :func:`generate_partnership`.
    """
    scene, records, spans = _set_scene(
        agreement, seed=seed, people=people, periods=periods, profile=profile, partners=partners
    )
    table = next(table for table in agreement.contract.tables if table.name == "person")
    left = np.ones(len(scene.members), dtype=np.bool_)
    frames = []
    for span in reversed(spans):
        members = np.flatnonzero(left & _is_client(scene, span))
        left[members] = False
        for number, partner in enumerate(scene.partners):
            # By partner, since cells are Python objects until they are in a frame.
            rows = _person_rows(scene, records, span, members[scene.members.partner[members] == number])
            frames.append(_conform(rows, table).select(pl.lit(partner.id).alias("partner_id"), pl.all()))
    truth = _truth(scene, np.flatnonzero(~left))
    return Persons(pl.concat(frames).sort("partner_id", "local_person_id"), truth, _subgroups(scene, truth))


def _set_scene(
    agreement: Agreement,
    *,
    seed: int,
    people: int,
    periods: Sequence[str],
    profile: ErrorProfile,
    partners: Sequence[str] | None,
) -> tuple[events.Scene, Records, tuple[Period, ...]]:
    """True people, who knows them, what each partner wrote down of them, and the periods in order."""
    spans = tuple(agreement.calendar.period(period) for period in periods)
    parties = tuple(
        [agreement.partner(partner) for partner in partners]
        if partners is not None
        else [partner for partner in agreement.partners if partner.signatures]
    )
    if not spans or not parties:
        raise ValueError("a partnership has at least one period and one partner")
    first_day, last_day = as_day(spans[0].starts), as_day(spans[-1].ends)
    known = make_people(agreement, seed=seed, people=people, profile=profile, first_day=first_day, last_day=last_day)
    members = make_memberships(
        agreement, parties, known, seed=seed, profile=profile, first_day=first_day, last_day=last_day
    )
    records = write_records(agreement, parties, known, members, seed=seed, profile=profile)
    return events.Scene(agreement, parties, known, members, profile, seed, first_day, last_day), records, spans


def _make_happenings(scene: events.Scene) -> dict[str, pl.DataFrame]:
    """All rows of all tables but person, for the whole time."""
    enrolments = events.make_enrolments(scene)
    assessments = events.make_assessments(scene)
    items, assessments = events.make_assessment_items(scene, assessments)
    stage_events = events.make_stage_events(scene, enrolments)
    made = {
        "sharing_basis": events.make_sharing_bases(scene),
        "enrolment": enrolments,
        "assessment": assessments,
        "assessment_item": items,
        "referral": events.make_referrals(scene),
        "stage_event": stage_events,
        "outcome": events.make_outcomes(scene, stage_events),
        "service_contact": events.make_service_contacts(scene),
        "cost": events.make_costs(scene),
    }
    return {name: frame for name, frame in made.items() if frame.width}


def _is_client(scene: events.Scene, span: Period) -> Flags:
    """For each membership, whether the partner has the person in its extract of the period."""
    return (scene.members.known_from <= as_day(span.ends)) & (scene.members.left >= as_day(span.starts))


def _person_rows(scene: events.Scene, records: Records, span: Period, rows: Integers) -> pl.DataFrame:
    """The clients of memberships ``rows``, as each partner has them on the period's last day."""
    members = scene.members
    ends = as_day(span.ends)
    seen = read_records(scene.partners, scene.people, members, records, rows, ends)
    who = members.person[rows]
    died = members.died_on[rows]
    told = (died <= ends) & Draws(scene.seed, "deaths told").chance(0.85, len(members))[rows]
    changed = np.maximum(members.known_from[rows], 0)
    for day in (scene.people.moved_on[who], scene.people.married_on[who], np.where(told, died, NEVER)):
        changed = np.where((day <= ends) & (day > changed), day, changed)
    sexes = _sex_codes(scene.agreement)
    flags = np.where(scene.people.do_not_link[who], "yes", "no").astype(object)
    cells: dict[str, Texts] = {
        "nhs_number": _space_numbers(scene, records.nhs_number[rows], members.partner[rows]),
        "ni_number": records.ni_number[rows],
        "forename": seen.forename,
        "middle_names": seen.middle_names,
        "surname": seen.surname,
        "previous_surname": seen.previous_surname,
        "date_of_birth": records.birth[rows],
        "sex": np.array([sexes[value] for value in records.sex[rows]], dtype=object),
        "ethnic_group": _or_unknown(scene.agreement, "ethnic_group", records.ethnic_group[rows]),
        "postcode": seen.postcode,
        "phone": records.phone[rows],
        "email": records.email[rows],
        "household_number": records.household_number[rows],
        "died_on": as_text(np.where(told, died, 0), told),
        "do_not_link": flags,
        "recorded_on": as_text(changed),
        # Used where an agreement has such a number; no partner of the example does.
        "shared_person_number": np.array([f"S{number:07d}" for number in _shared_numbers(scene)[who]], dtype=object),
    }
    frame = pl.DataFrame(
        {
            "_partner": pl.Series(members.partner[rows], dtype=pl.Int64),
            "_member": pl.Series(rows, dtype=pl.Int64),
            "local_person_id": pl.Series(members.local_id[rows].tolist(), dtype=pl.String),
            **{name: pl.Series(values.tolist(), dtype=pl.String) for name, values in cells.items()},
        }
    )
    return frame.sort("_partner", "local_person_id")


def _shared_numbers(scene: events.Scene) -> np.ndarray:
    return Draws(scene.seed, "shared numbers").shuffle(len(scene.people)) + 1


def _sex_codes(agreement: Agreement) -> dict[str | None, str | None]:
    wanted = {"F": ("female", "f", "2"), "M": ("male", "m", "1"), None: ("unknown", "not_known", "not_stated")}
    values = _codes(agreement, "person", "sex")
    return {key: next((code for code in codes if code in values), None) for key, codes in wanted.items()}


def _or_unknown(agreement: Agreement, column: str, cells: Texts) -> Texts:
    """Cells with the list's own code for an answer that was not given, where it has one."""
    values = _codes(agreement, "person", column)
    unknown = next((code for code in ("unknown", "not_known", "not_stated") if code in values), None)
    out = cells.copy()
    out[np.array([cell is None for cell in cells], dtype=np.bool_)] = unknown
    return out


def _codes(agreement: Agreement, table: str, column: str) -> tuple[str, ...]:
    for entry in agreement.contract.tables:
        if entry.name == table and column in entry.column_names:
            name = entry.column(column).codelist
            return agreement.codelist(name).values if name else ()
    return ()


def _space_numbers(scene: events.Scene, numbers: Texts, partner: np.ndarray) -> Texts:
    """NHS numbers in groups of three, three and four at every other partner, where the pattern admits it."""
    pattern = next(
        (c.pattern for t in scene.agreement.contract.tables for c in t.columns if c.name == "nhs_number"), None
    )
    if pattern and not re.fullmatch(pattern, "999 000 0026"):
        return numbers
    return np.array(
        [n if n is None or p % 2 else f"{n[:3]} {n[3:6]} {n[6:]}" for n, p in zip(numbers, partner, strict=True)],
        dtype=object,
    )


def _rows_of_period(
    table: Table, frame: pl.DataFrame, partner: int, span: Period, before: Period | None
) -> pl.DataFrame:
    """A partner's rows of a table for a period, with what was known on the day of the extract.

    An enrolment or referral comes again in the period in which it ended or was answered, and enrolments that were
    open when the first period began come with it, unless the agreement wants the first date inside the period.
    """
    rows = frame.filter(pl.col("_partner") == partner)
    if table.name == "sharing_basis":
        return rows.filter(pl.col("_day") <= as_day(span.ends))
    starts, ends = as_day(span.starts), as_day(span.ends)
    extracted = ends + EXTRACTED_AFTER_DAYS
    known_before = as_day(before.ends) + EXTRACTED_AFTER_DAYS if before else starts - 1
    own = pl.col("_day").is_between(starts, ends)
    first_date = {"enrolment": "started_on", "referral": "sent_on"}.get(table.name)
    if first_date and not _is_within_period(table, first_date):
        if table.name == "enrolment":
            news = pl.col("_ended").is_between(known_before + 1, extracted)
            still = (pl.col("_ended") > known_before) if before is None else pl.lit(False)
            own = own | ((pl.col("_day") < starts) & (news | still))
        else:
            answered = pl.col("_accepted").is_between(known_before + 1, extracted)
            met = pl.col("_contact").is_between(known_before + 1, extracted)
            own = own | ((pl.col("_day") < starts) & (answered | met))
    rows = rows.filter(own)
    if table.name == "enrolment":
        ended = pl.col("_ended") <= extracted
        return rows.with_columns(
            _iso(pl.col("_day")).alias("started_on"),
            pl.when(ended).then(_iso(pl.col("_ended"))).alias("ended_on"),
            pl.when(ended).then(pl.col("end_reason")).alias("end_reason"),
        )
    if table.name == "referral":
        accepted = pl.col("_accepted") <= extracted
        return rows.with_columns(
            _iso(pl.col("_day")).alias("sent_on"),
            pl.when(accepted).then(_iso(pl.col("_accepted"))).alias("accepted_on"),
            pl.when(accepted & (pl.col("_contact") <= extracted))
            .then(_iso(pl.col("_contact")))
            .alias("first_contact_on"),
            pl.when((pl.col("status") == "accepted") & ~accepted)
            .then(pl.lit("sent"))
            .otherwise(pl.col("status"))
            .alias("status"),
        )
    return rows


def _is_within_period(table: Table, column: str) -> bool:
    return any(rule.kind is RuleKind.WITHIN_PERIOD and column in rule.columns for rule in table.rules)


def _iso(days: pl.Expr) -> pl.Expr:
    """Days since 1970-01-01 as ISO text; days that never come are null before they overflow."""
    return pl.from_epoch(pl.when(days < NEVER).then(days), time_unit="d").dt.strftime("%Y-%m-%d")


def _conform(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The agreed columns in their order, all text."""
    out = []
    for column in table.columns:
        if column.name in rows.columns:
            out.append(pl.col(column.name).cast(pl.String))
        else:
            value = column.example if column.required else None
            out.append(pl.lit(value, dtype=pl.String).alias(column.name))
    return rows.select(out)


def _manifest(agreement: Agreement, partner: Partner, span: Period, tables: Tables) -> dict[str, Any]:
    return {
        "partner": partner.id,
        "period": span.id,
        "agreement_version": agreement.version,
        "kind": "full",
        "extracted_on": (span.ends + timedelta(days=EXTRACTED_AFTER_DAYS)).isoformat(),
        "tables": {name: len(frame) for name, frame in tables.items()},
    }


def _truth(scene: events.Scene, member: Integers) -> pl.DataFrame:
    ids = np.array([partner.id for partner in scene.partners], dtype=object)
    return pl.DataFrame(
        {
            "partner_id": ids[scene.members.partner[member]].tolist(),
            "local_person_id": scene.members.local_id[member].tolist(),
            "truth_person": [f"P{number:07d}" for number in scene.members.person[member]],
        },
        schema={"partner_id": pl.String, "local_person_id": pl.String, "truth_person": pl.String},
    ).sort("partner_id", "local_person_id")


def _subgroups(scene: events.Scene, truth: pl.DataFrame) -> pl.DataFrame:
    people = scene.people
    years = people.birth.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    frame = pl.DataFrame(
        {
            "truth_person": [f"P{number:07d}" for number in range(len(people))],
            "origin": [ORIGINS[number].name for number in people.origin],
            "name_dense": [ORIGINS[number].locale is None for number in people.origin],
            "sex": np.where(people.female, "female", "male").tolist(),
            "birth_year": years,
            "household": people.household,
            "birth": people.birth,
            "do_not_link": people.do_not_link,
        }
    )
    twin = pl.len().over("household", "birth") > 1
    frame = frame.with_columns(twin=twin).select(
        *("truth_person", "origin", "name_dense", "sex", "birth_year", "household", "twin", "do_not_link")
    )
    return frame.join(truth.select("truth_person").unique(), on="truth_person", how="semi", maintain_order="left")


def write_extract(tables: Tables, manifest: Mapping[str, Any], folder: Path) -> Path:
    """Write one extract as the partner would drop it: ``<table>.csv`` (UTF-8) and ``manifest.yaml``.

    Written beside its place and moved in one step, so that whoever watches the folder never sees half of it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name, frame in tables.items():
        frame.write_csv(partial / f"{name}.csv")
    (partial / "manifest.yaml").write_text(
        yaml.safe_dump(dict(manifest), sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def write_extracts(partnership: Partnership, folder: Path, truth_folder: Path | None = None) -> tuple[Path, ...]:
    """Write all extracts to ``<folder>/<partner>/<period>/``, and the truth (``truth.parquet``, ``subgroups.parquet``,
    ``facts.json``) beside them.

    :param truth_folder: where the truth goes, ``<folder>/truth`` where it is None. It names who is who: it is no
        partner's and belongs to no inbox.
    :returns: the folders of the extracts, in order.
    """
    written = tuple(
        write_extract(tables, partnership.manifests[partner, period], folder / partner / period)
        for (partner, period), tables in partnership.extracts.items()
    )
    place = truth_folder or folder / "truth"
    place.mkdir(parents=True, exist_ok=True)
    facts = json.dumps(partnership.facts.as_dict(), indent=2, sort_keys=True) + "\n"
    _write(place / "truth.parquet", partnership.truth.write_parquet)
    _write(place / "subgroups.parquet", partnership.subgroups.write_parquet)
    _write(place / "facts.json", lambda path: path.write_text(facts, encoding="utf-8", newline="\n"))
    return written


def _write(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    partial.replace(path)
