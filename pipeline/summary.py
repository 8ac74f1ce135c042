"""What a run came to, on the terminal: headline figures, linkage against a planted truth, what was held back, where
everything lies. Exact counts are shown here to whoever runs the trial; what readers get is protected."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from evidence.catalogue import load_measures
from evidence.labels import write_value
from evidence.model import Status, find_figure
from evidence.release import read_current_release, read_figures
from linkage.quality import LinkageQuality, measure_quality
from pipeline.files import read_json
from pipeline.resources import open_engine, open_keys_in_force, read_agreement
from pipeline.set_up import explain_connection, readers_file
from pipeline.settings import Settings
from protocol.model import Agreement

Print = Callable[[str], None]

HEADLINES: Sequence[tuple[str, str, str]] = (
    ("Unique people", "reach", "unique_people"),
    ("Sum of the partners' own counts", "reach", "client_records"),
    ("Assessments", "repeat_assessment", "assessments"),
    ("Repeat assessments", "repeat_assessment", "repeats"),
    ("  as a share of eligible assessments", "repeat_assessment", "repeat_share"),
    ("Referrals", "referral_outcome", "referrals"),
    ("  accepted, of those answered", "referral_outcome", "accepted_share"),
)


def print_summary(settings: Settings, *, truth: Path | None = None, say: Print = print) -> None:
    """Say what is in the published release and around it. ``truth`` is a synthetic partnership's truth folder."""
    agreement = read_agreement(settings)
    with open_engine(settings).connect() as conn:
        release = read_current_release(conn)
        say("")
        if release is None:
            say("No release is published yet.")
        else:
            figures = read_figures(conn, release.release_id)
            say(f"Release {release.number} of {agreement.title}")
            say(f'  approved by {release.approver}: "{release.reason}"')
            say("")
            measures = {measure.id: measure for measure in load_measures()}
            for label, measure, statistic in HEADLINES:
                if (figure := find_figure(figures, measure, statistic)) is not None:
                    say(f"  {label:<40} {write_value(figure, measures[measure].statistic(statistic)):>12}")
            withheld = sum(figure.status is Status.WITHHELD for figure in figures)
            say(f"  {'Figures withheld to protect people':<40} {f'{withheld:,} of {len(figures):,}':>12}")
        if truth is not None and (truth / "truth.parquet").exists():
            _say_quality(_compare_with_truth(conn, truth, agreement, settings), say)
        _say_held_back(conn, agreement, settings, say)
    say("")
    say(f"Receipts          {settings.home / 'outbox'}/<partner>/<period>/receipt.html")
    if release is not None:
        folder = settings.releases / f"{release.number:04d}-{release.release_id}"
        say(f"Report            {folder / 'report.html'}")
        say(f"Data package      {folder / 'datapackage.json'}")
    say("")
    say(f"To read the evidence, start the database with `make up`; passwords are in {readers_file(settings)}")
    for team, url in explain_connection(settings, agreement):
        say(f"  {team}:")
        say(f"    psql {url} --command 'table evidence.reach'")


def _compare_with_truth(conn: Connection, truth: Path, agreement: Agreement, settings: Settings) -> LinkageQuality:
    from pseudonymise.output import derive_row_keys

    keys = open_keys_in_force(conn, settings, now=datetime.now(UTC))
    planted = pl.read_parquet(truth / "truth.parquet")
    table = agreement.contract.table("person")
    parts = [
        rows.with_columns(row_key=derive_row_keys(rows, table, str(partner), keys))
        for (partner,), rows in planted.group_by("partner_id", maintain_order=True)
    ]
    truth_rows = pl.concat(parts).select("partner_id", "row_key", "truth_person")
    rows = conn.execute(
        text(
            "select distinct p.partner_id, p.row_key, m.person_id::text as cluster from facts.person p"
            " join linkage.membership m using (partner_id, person_ref)"
        )
    ).all()
    found = pl.DataFrame(
        [tuple(row) for row in rows],
        schema={"partner_id": pl.String, "row_key": pl.String, "cluster": pl.String},
        orient="row",
    )
    in_warehouse = conn.execute(text("select distinct partner_id, row_key from facts.person")).all()
    loaded = pl.DataFrame(
        [tuple(row) for row in in_warehouse], schema={"partner_id": pl.String, "row_key": pl.String}, orient="row"
    )
    known = truth_rows.join(loaded, on=["partner_id", "row_key"])
    return measure_quality(found, known, on=("partner_id", "row_key"), cluster="cluster")


def _say_quality(quality: LinkageQuality, say: Print) -> None:
    say("")
    say(f"Linkage against the planted truth ({quality.records:,} client records of {quality.true_people:,} people)")
    say(f"  precision {quality.precision:.4f}   recall {quality.recall:.4f}   F1 {quality.f1:.4f}")


def _say_held_back(conn: Connection, agreement: Agreement, settings: Settings, say: Print) -> None:
    rows = conn.execute(
        text(
            "select s.partner_id, s.period, sum(t.rows_held_back)::bigint as held, sum(t.rows_received)::bigint as all"
            " from governance.submission s join governance.submission_table t using (submission_id)"
            " where s.state = 'loaded' group by s.partner_id, s.period having sum(t.rows_held_back) > 0"
            " order by s.partner_id, s.period"
        )
    ).all()
    say("")
    say(f"Rows held back{'' if rows else ': none'}")
    for row in rows:
        say(f"  {agreement.partner(row.partner_id).name}, {row.period}: {row.held:,} of {row.all:,} rows")
        for words, count in _group(_findings(settings, row.partner_id, row.period)):
            say(f"    {count:>5}  {words}")
    if rows:
        say("  Every fault, its rows and how to mend it are in the receipt.")


KINDS = {
    "type": "not a date or number as agreed",
    "code": "not one of the agreed codes",
    "required": "empty where a value is needed",
    "pattern": "not in the agreed form",
    "length": "too long",
    "range": "outside the agreed limits",
    "unique": "rows with one key that differ",
    "reference": "belonging to a row that is not there",
    "held_back": "waiting for a row that is held back",
    "date_order": "dates in an order that cannot be",
    "within_period": "outside the period",
    "total": "totals that are not the sum of their rows",
    "date_order_across": "dates before one of the row that they refer to",
    "condition": "cells that do not go together",
    "columns_shifted": "whose cells have moved to another column",
    "columns_exchanged": "with two columns exchanged",
    "not_after_extract": "dates after the extract",
}


def _group(findings: Sequence[dict[str, Any]]) -> Sequence[tuple[str, int]]:
    """Faults by kind, the commonest first; a row may have several."""
    counts: Counter[str] = Counter()
    for finding in findings:
        kind = finding["code"].rpartition(".")[2]
        counts[KINDS.get(kind, kind.replace("_", " "))] += finding["rows_affected"]
    return counts.most_common()


def _findings(settings: Settings, partner_id: str, period: str) -> Sequence[dict[str, Any]]:
    """The row findings of the partner's latest receipt for the period."""
    receipts = sorted(
        (read_json(path) for path in settings.outbox(partner_id).glob(f"{period}-*/receipt.json")),
        key=lambda receipt: receipt["decided_at"],
    )
    return [finding for finding in receipts[-1]["findings"] if finding["scope"] == "row"] if receipts else []
