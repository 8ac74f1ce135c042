"""A whole installation for a test: a database of its own, a home with inboxes, and short ways of using both."""

import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from psycopg import sql
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from pipeline.intake_steps import check_submission, load_submission, pseudonymise_submission, receive_submissions
from pipeline.release_steps import link_and_mark, measure, publish
from pipeline.set_up import set_up_warehouse
from pipeline.settings import Settings
from protocol.errors import SubmissionRefused
from protocol.loading import load_agreement
from protocol.model import Agreement
from synthetic.generate import write_extract
from warehouse.roles import apply_grants
from warehouse.server import SUPERUSER, EmbeddedServer

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
REASON = "Checked by the board on 2 November."

Tables = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Outcome:
    """What became of one submission."""

    submission_id: str
    period: str
    loaded: Mapping[str, Any] | None
    refusal: SubmissionRefused | None


@dataclass(frozen=True)
class World:
    """An installation."""

    settings: Settings
    server: EmbeddedServer
    database: str
    agreement: Agreement

    @property
    def home(self) -> Path:
        return self.settings.home

    # --- what a partner does ------------------------------------------------------------------------------------------

    def drop(
        self,
        partner: str,
        tables: Tables,
        manifest: Mapping[str, Any] | None,
        *,
        name: str | None = None,
        as_zip: bool = False,
        counted: bool = True,
    ) -> Path:
        """Drop an extract, flagged as ready; the manifest counts its rows unless ``counted`` is False."""
        entries = dict(manifest or {})
        if counted and tables:
            entries["tables"] = {table: len(frame) for table, frame in tables.items()}
        folder = self.settings.inbox(partner) / (name or str(entries.get("period", "extract")))
        write_extract(tables, entries, folder)
        if manifest is None:
            (folder / "manifest.yaml").unlink()
        return self.pack(folder) if as_zip else self.flag(folder)

    def flag(self, drop: Path) -> Path:
        """Say that a drop is complete."""
        drop.with_name(f"{drop.name}.ready").touch()
        return drop

    def pack(self, folder: Path) -> Path:
        """Make a dropped folder a .zip."""
        target = folder.with_suffix(".zip")
        with zipfile.ZipFile(target.with_suffix(".part"), "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.iterdir(), reverse=True):
                archive.write(path, path.name)
        target.with_suffix(".part").rename(target)
        shutil.rmtree(folder)
        return self.flag(target)

    # --- what the pipeline does ---------------------------------------------------------------------------------------

    def take_in(self, partner: str, *, now: datetime = NOW) -> list[Outcome]:
        """All steps of the partner's intake, as Airflow runs them."""
        outcomes = []
        try:
            received = receive_submissions(partner, self.settings, now=now)
        except SubmissionRefused:
            return []
        for waiting in received:
            submission_id, period = waiting["submission_id"], waiting["period"]
            try:
                check_submission(submission_id, self.settings, now=now)
                pseudonymise_submission(submission_id, self.settings, now=now)
                loaded = load_submission(submission_id, self.settings, now=now)
            except SubmissionRefused as refusal:
                outcomes.append(Outcome(submission_id, period, None, refusal))
            else:
                outcomes.append(Outcome(submission_id, period, loaded, None))
        return outcomes

    def load(self, partner: str, tables: Tables, manifest: Mapping[str, Any], *, now: datetime = NOW) -> str:
        """Drop an extract, take it in and expect it to be loaded; gives its id."""
        self.drop(partner, tables, manifest)
        (outcome,) = self.take_in(partner, now=now)
        assert outcome.refusal is None, outcome.refusal
        return outcome.submission_id

    def prepare(self, run_id: str = "run", *, now: datetime = NOW, **chosen: Any) -> dict[str, Any]:
        """Link, mark and measure; what the three return together."""
        linked = link_and_mark([], self.settings, run_id, now=now, **chosen)
        return {**linked, **measure(linked["snapshot_id"], self.settings, linked=linked, now=now)}

    def publish(self, draft: Mapping[str, Any], *, now: datetime = NOW, **changed: Any) -> dict[str, Any]:
        """Publish a draft as approved."""
        arguments = {"approver": "coordinator", "reason": REASON, **changed}
        digest = arguments.pop("figures_digest", draft["figures_digest"])
        return publish(draft["release_id"], digest, settings=self.settings, now=now, **arguments)

    # --- what there is ------------------------------------------------------------------------------------------------

    def query(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query, as the database's owner."""
        engine = create_engine(self.server.url(database=self.database), poolclass=NullPool)
        with engine.connect() as conn:
            return [tuple(row) for row in conn.execute(text(statement), parameters)]

    def execute(self, statement: str, **parameters: Any) -> None:
        """Run a statement as the database's owner."""
        engine = create_engine(self.server.url(database=self.database), poolclass=NullPool)
        with engine.begin() as conn:
            conn.execute(text(statement), parameters)

    def relations(self) -> list[str]:
        """All tables of all our schemas."""
        rows = self.query(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema') order by 1"
        )
        return [name for (name,) in rows]

    def counts(self) -> dict[str, int]:
        """Rows of every table."""
        counted = " union all ".join(f"select '{name}', count(*) from {name}" for name in self.relations())
        return dict(self.query(counted))

    def in_force_anywhere(self) -> int:
        """Rows of any kind in the facts, and match keys."""
        counts = self.counts()
        return sum(count for name, count in counts.items() if name.startswith("facts.") or name == "linkage.match_key")

    def rows_in_force(self, table: str, columns: str = "row_key", partner: str | None = None) -> list[tuple[Any, ...]]:
        """Rows of an agreed table in a snapshot of all periods that is taken now."""
        from warehouse.snapshot import present_snapshot, take_snapshot

        engine = create_engine(self.settings.database_url(), poolclass=NullPool)
        with engine.connect() as conn:
            periods = [p for (p,) in conn.execute(text("select distinct period from facts.in_force_submission_table"))]
            snapshot = take_snapshot(conn, periods, now=NOW)
            present_snapshot(conn, snapshot.id, self.agreement)
            where = "" if partner is None else " where partner_id = :partner"
            rows = conn.execute(
                text(f"select {columns} from pg_temp.{table}{where} order by 1"),
                {} if partner is None else {"partner": partner},
            ).all()
            conn.rollback()
        return [tuple(row) for row in rows]

    def receipt(self, partner: str, submission_id: str) -> dict[str, Any]:
        """The receipt of a submission from the partner's outbox; it has to be there as a page as well."""
        (path,) = self.settings.outbox(partner).glob(f"*{submission_id}/receipt.json")
        page = path.with_suffix(".html").read_text(encoding="utf-8")
        receipt = json.loads(path.read_text(encoding="utf-8"))
        assert submission_id in page
        return receipt

    def latest_receipt(self, partner: str) -> dict[str, Any]:
        """The only receipt in the partner's outbox."""
        (path,) = self.settings.outbox(partner).glob("*/receipt.json")
        return self.receipt(partner, json.loads(path.read_text(encoding="utf-8"))["submission_id"])

    def settled(self, partner: str) -> dict[str, str]:
        """Id -> outcome of what was settled in the partner's inbox."""
        notes = self.settings.inbox(partner).glob("settled/*/settled.json")
        return {path.parent.name: json.loads(path.read_text(encoding="utf-8"))["outcome"] for path in notes}

    def waiting(self, partner: str) -> list[str]:
        """What still lies in the partner's inbox."""
        return sorted(path.name for path in self.settings.inbox(partner).iterdir() if path.name != "settled")

    def work(self) -> list[str]:
        """Everything in the working area."""
        folder = self.home / "work"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []

    def figure(self, measure_id: str, statistic: str) -> Any:
        """A figure of the whole partnership in the published release."""
        rows = self.query(
            "select f.value from evidence.figure f join evidence.release r using (release_id)"
            " where r.state = 'published' and f.breakdown = 'all'"
            " and f.measure = :measure and f.statistic = :statistic",
            measure=measure_id,
            statistic=statistic,
        )
        return rows[0][0] if rows else None


def make_world(
    server: EmbeddedServer, template: str, home: Path, agreement_folder: Path, copy_of: Path | None
) -> World:
    """A world whose database is a copy of ``template`` and whose home is a copy of another's."""
    name = f"world_{os.urandom(6).hex()}"
    with psycopg.connect(server.url(SUPERUSER, "postgres", driver="postgresql"), autocommit=True) as conn:
        statement = "create database {} template {} owner linkarms_owner strategy wal_log"
        conn.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(template)))
    if copy_of is not None:
        shutil.copytree(copy_of, home)
    settings = Settings.from_environment(
        {
            "LINKARMS_HOME": str(home),
            "LINKARMS_AGREEMENT": str(agreement_folder),
            "LINKARMS_DATABASE_URL": server.url("pipeline_service", name),
        }
    )
    world = World(settings, server, name, load_agreement(agreement_folder))
    if copy_of is None:
        set_up(world)  # with keys, so that copies have the same pseudonyms
    else:
        with create_engine(server.url(database=name), poolclass=NullPool).begin() as conn:
            apply_grants(conn)  # rights on the database itself are not part of its template
    return world


def set_up(world: World) -> None:
    """Set the installation up, or again after the agreement changed."""
    owner = world.server.url(database=world.database)
    set_up_warehouse(world.settings, owner, world.server.password("pipeline_service"), today=NOW.date())


def drop_world(world: World) -> None:
    """Give the database back."""
    with psycopg.connect(world.server.url(SUPERUSER, "postgres", driver="postgresql"), autocommit=True) as conn:
        conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(world.database)))


def with_agreement(world: World, folder: Path) -> World:
    """The same installation under another agreement's folder."""
    settings = replace(world.settings, agreement_folder=folder)
    return replace(world, settings=settings, agreement=load_agreement(folder))


def smaller(tables: Tables, people: int = 12) -> dict[str, pl.DataFrame]:
    """The first clients of an extract with what is recorded of them, in those tables that nobody may leave out."""
    clients = tables["person"].head(people)
    kept = {"person": clients}
    for name in ("sharing_basis", "enrolment", "assessment"):
        kept[name] = tables[name].join(clients.select("local_person_id"), on="local_person_id", how="semi")
    return kept


def edit(frame: pl.DataFrame, row: int, **cells: str | None) -> pl.DataFrame:
    """The frame with other cells in one row."""
    here = pl.int_range(pl.len()) == row
    changed: Sequence[pl.Expr] = [
        pl.when(here).then(pl.lit(value, dtype=pl.String)).otherwise(pl.col(name)).alias(name)
        for name, value in cells.items()
    ]
    return frame.with_columns(changed)
