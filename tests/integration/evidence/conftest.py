"""A partnership big enough for figures to survive disclosure control: made-up rows with a fixed seed, no names."""

import random
import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from evidence.catalogue import MeasureTable, load_measures, run_measures
from evidence.disclosure import ProtectedTables, make_policy, protect
from evidence.repeats import mark_repeats
from protocol.model import Agreement
from warehouse.server import EmbeddedServer

COMMON = "partner_id text, period text, row_key text, person_ref text, person_id uuid"
RELATIONS = {
    "assessment": f"{COMMON}, domain text, assessed_on date, valid_to date, minutes bigint, mark text,"
    " repeats_partner_id text, repeats_row_key text, days_since integer",
    "enrolment": f"{COMMON}, programme text, started_on date, ended_on date",
    "referral": f"{COMMON}, direction text, other_partner text, sent_on date, accepted_on date, first_contact_on date,"
    " status text, assessment_passed_on text",
    "stage_event": f"{COMMON}, programme text, stage text, entered_on date",
    "outcome": f"{COMMON}, outcome text, achieved_on date",
    "record": "partner_id text, person_ref text, person_id uuid, if_joined text, if_parted text, linkable boolean",
    "partner": "partner_id text, name text, kind text, agency text, tier text",
    "collection_period": "period text, starts date, ends date",
    "coverage": "partner_id text, period text, table_name text, rows_received bigint, rows_accepted bigint,"
    " rows_held_back bigint",
    "figures": "repeat_window_days integer, lost_referral_days integer, bounce_days integer, hourly_cost_gbp numeric",
}
PERIODS = (("2026-Q2", date(2026, 4, 1), date(2026, 6, 30)), ("2026-Q3", date(2026, 7, 1), date(2026, 9, 30)))


def fill_relations(conn: Connection, agreement: Agreement, people: int) -> None:
    """Temporary relations of a partnership with so many people, as a snapshot would show them."""
    chance = random.Random(20260401)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in RELATIONS}
    partners = [partner.id for partner in agreement.partners][:6]
    codes = {
        "domain": _codes(agreement, "assessment", "domain"),
        "programme": _codes(agreement, "enrolment", "programme"),
        "stage": _codes(agreement, "stage_event", "stage"),
        "outcome": _codes(agreement, "outcome", "outcome"),
    }
    days = (PERIODS[-1][2] - PERIODS[0][1]).days

    def day(earliest: int = 0) -> date:
        return PERIODS[0][1] + timedelta(days=chance.randint(min(earliest, days), days))

    def add(table: str, partner: str, person: int, **values: Any) -> None:
        linked = person % 97 != 0
        number = len(rows[table])
        rows[table].append(
            {
                "partner_id": partner,
                "period": PERIODS[0][0],
                "row_key": f"{table}{number:06}",
                "person_ref": f"{partner}/{person}",
                "person_id": str(uuid.UUID(int=person)) if linked else None,
                **values,
            }
        )

    for person in range(people):
        known = chance.sample(partners, k=min(len(partners), chance.choices((1, 2, 3, 4), (60, 25, 11, 4))[0]))
        for partner in known:
            linked = person % 97 != 0
            rows["record"].append(
                {
                    "partner_id": partner,
                    "person_ref": f"{partner}/{person}",
                    "person_id": str(uuid.UUID(int=person)) if linked else None,
                    # Every tenth person may be the next one, and every tenth's records may be people of their own.
                    "if_joined": str(person + (person % 10 == 0)) if linked else None,
                    "if_parted": f"{person}{partner if person % 10 == 3 else ''}" if linked else None,
                    "linkable": linked,
                }
            )
            started = day()
            add(
                "enrolment",
                partner,
                person,
                programme=chance.choice(codes["programme"]),
                started_on=started,
                ended_on=None,
            )
            for _ in range(chance.randint(0, 3)):
                add(
                    "assessment",
                    partner,
                    person,
                    domain=chance.choice(codes["domain"]),
                    assessed_on=day(),
                    valid_to=None,
                    minutes=chance.choice((None, 30, 45, 60, 90)),
                )
        reached = chance.randint(0, len(codes["stage"]))
        for number, stage in enumerate(codes["stage"][:reached]):
            entered = PERIODS[0][1] + timedelta(days=number * 30 + chance.randint(0, 29))
            add("stage_event", known[0], person, programme=codes["programme"][0], stage=stage, entered_on=entered)
        if chance.random() < 0.3:
            add("outcome", known[0], person, outcome=chance.choice(codes["outcome"]), achieved_on=day())
        if chance.random() < 0.4:
            receiver = chance.choice([partner for partner in partners if partner != known[0]])
            sent, accepted = day(), chance.random() < 0.7
            values = {
                "sent_on": sent,
                "accepted_on": sent + timedelta(days=chance.randint(0, 20)) if accepted else None,
                "first_contact_on": sent + timedelta(days=chance.randint(20, 40)) if accepted else None,
                "status": "accepted" if accepted else chance.choice(("sent", "declined", "withdrawn")),
                "assessment_passed_on": chance.choice(("yes", "no", "unknown")),
            }
            add("referral", known[0], person, direction="sent", other_partner=receiver, **values)
            if chance.random() < 0.7:
                add("referral", receiver, person, direction="received", other_partner=known[0], **values)
    rows["partner"] = [
        {"partner_id": p.id, "name": p.name, "kind": p.kind, "agency": p.agency, "tier": p.tier}
        for p in agreement.partners
    ]
    rows["collection_period"] = [{"period": p, "starts": starts, "ends": ends} for p, starts, ends in PERIODS]
    rows["coverage"] = [
        {
            "partner_id": partner,
            "period": period,
            "table_name": table,
            "rows_received": 400,
            "rows_accepted": 396,
            "rows_held_back": 4,
        }
        for partner in partners
        for period, _, _ in PERIODS
        for table in ("person", "enrolment", "assessment")
    ]
    rows["figures"] = [
        {
            "repeat_window_days": agreement.measures.repeat_window_days,
            "lost_referral_days": agreement.measures.lost_referral_days,
            "bounce_days": agreement.measures.bounce_days,
            "hourly_cost_gbp": agreement.measures.hourly_cost_gbp,
        }
    ]
    for name, columns in RELATIONS.items():
        conn.execute(text(f"create temporary table {name} ({columns})"))
        if rows[name]:
            names = ", ".join(rows[name][0])
            places = ", ".join(f":{column}" for column in rows[name][0])
            conn.execute(text(f"insert into pg_temp.{name} ({names}) values ({places})"), rows[name])


def mark_assessments(conn: Connection, window_days: int) -> None:
    """Mark the temporary assessments as a release does."""
    marks = mark_repeats(conn, window_days).to_dicts()
    conn.execute(
        text(
            "update pg_temp.assessment set mark = :mark, repeats_partner_id = :repeats_partner_id,"
            " repeats_row_key = :repeats_row_key, days_since = :days_since where row_key = :row_key"
        ),
        marks,
    )


def _codes(agreement: Agreement, table: str, column: str) -> list[str]:
    codelist = agreement.contract.table(table).column(column).codelist
    assert codelist is not None
    return [code for code in agreement.codelist(codelist).values if code not in ("unknown", "other")]


@pytest.fixture(scope="session")
def sample_engine(database_server: EmbeddedServer) -> Iterator[Engine]:
    """A bare database for the sample's temporary relations."""
    database_server.create_database("evidence_sample", "linkarms_owner")
    engine = create_engine(database_server.url(database="evidence_sample"), poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def sample_tables(sample_engine: Engine, agreement: Agreement) -> tuple[MeasureTable, ...]:
    """Every measure's exact figures over the sample."""
    with sample_engine.connect() as conn:
        fill_relations(conn, agreement, people=700)
        mark_assessments(conn, agreement.measures.repeat_window_days)
        tables = run_measures(conn, agreement, load_measures())
        conn.rollback()
    return tables


@pytest.fixture(scope="session")
def sample(sample_tables: tuple[MeasureTable, ...], agreement: Agreement) -> ProtectedTables:
    """The same after disclosure control."""
    return protect(sample_tables, make_policy(agreement))
