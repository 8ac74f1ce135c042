"""`linkarms linkage`: what the custodian of linkage does, under a login of the custodian's own."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.common import agreement_option, read_settings

if TYPE_CHECKING:
    from linkage.review import Tie
    from protocol.model import Agreement
    from warehouse.review_store import ReviewPair


@click.group()
def linkage() -> None:
    """Pairs in doubt, why records are one person, and re-identification. For custodians, by their own login."""


_login_option = click.option(
    "--login-file",
    required=True,
    envvar="LINKARMS_CUSTODIAN_URL_FILE",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the address of your own database login, from `linkarms warehouse custodian`.",
)
_reason_option = click.option("--reason", required=True, help="Why, without anything about the person; it is kept.")


def _engine(login_file: Path) -> Any:
    from pipeline.custodian import open_custodian_engine

    return open_custodian_engine(login_file)


# --- pairs in doubt ---------------------------------------------------------------------------------------------------


@linkage.command(name="review")
@agreement_option
@_login_option
@click.option("--by", type=click.Choice(["rows", "doubt"]), default="rows", help="What comes first: see below.")
@click.option("--page", type=click.IntRange(min=1), default=1, help="Which page.")
@click.option("--size", type=click.IntRange(1, 500), default=20, help="Pairs a page.")
@click.option("--full-refs", is_flag=True, help="Show the records' pseudonyms in full.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write all that wait as one page.")
def review_pairs(
    agreement_folder: Path | None,
    login_file: Path,
    by: str,
    page: int,
    size: int,
    full_refs: bool,
    html: Path | None,
) -> None:
    """List the pairs of records that linkage is in doubt about and nobody has answered, in words.

    Those come first on which most rows hang (--by rows), or of which linkage is least certain (--by doubt).
    """
    from pipeline.files import write_atomically
    from pipeline.resources import read_agreement
    from pipeline.review_page import render_review
    from warehouse.review_store import count_waiting, read_waiting

    agreement = read_agreement(read_settings(agreement_folder))
    with _engine(login_file).connect() as conn:
        waiting = count_waiting(conn)
        pairs = read_waiting(conn, by, None if html else size, 0 if html else (page - 1) * size)
    if html is not None:
        write_atomically(html, render_review(pairs, agreement, by, datetime.now(UTC)).encode())
        click.echo(f"{waiting:,} pairs in {html}")
        return
    if not waiting:
        click.echo("No pair waits for an answer.")
        return
    first = (page - 1) * size
    click.echo(f"{waiting:,} pairs wait; these are {first + 1:,} to {first + len(pairs):,}.")
    for pair in pairs:
        click.echo("")
        click.echo(_tell_pair(pair, agreement, full_refs=full_refs))
    click.echo("")
    click.echo("To answer: linkarms linkage decide PAIR same|different|undecided --reason ...")


def _tell_pair(pair: "ReviewPair", agreement: "Agreement", *, full_refs: bool) -> str:
    one = _tell_record((pair.partner_id, pair.person_ref), agreement, full=full_refs)
    other = _tell_record((pair.other_partner_id, pair.other_person_ref), agreement, full=full_refs)
    rows = f"{pair.rows_concerned:,} row{'' if pair.rows_concerned == 1 else 's'}"
    lines = [
        f"Pair {pair.pair_id}: {one} and {other}",
        f"  probability {pair.probability:.2f}; {rows} hang on it",
        f"  agreed on:  {_words(pair.agreed_on)}",
        f"  differs on: {_words(pair.differs_on)}",
    ]
    return "\n".join(lines)


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(words) or "nothing that is known"


def _tell_record(record: tuple[str, str], agreement: "Agreement", *, full: bool = False) -> str:
    from pipeline.custodian import SHORT

    name = {partner.id: partner.name for partner in agreement.partners}.get(record[0], record[0])
    return f"{name} (record {record[1] if full else record[1][:SHORT]})"


@linkage.command(name="decide")
@_login_option
@click.argument("pair")
@click.argument("answer", type=click.Choice(["same", "different", "undecided"]))
@_reason_option
def decide_pair(login_file: Path, pair: str, answer: str, reason: str) -> None:
    """Say whether the two records of PAIR are one person; `undecided` takes an earlier answer back.

    PAIR is its number in the review, or two records as `explain` names them, joined with +. The answer is kept with
    your login and holds from the next linkage on, until a later answer on the same pair.
    """
    from pipeline.custodian import decide

    with _engine(login_file).begin() as conn:
        number = decide(conn, pair, answer, reason)
    click.echo(f"Decision {number}: {answer}. It holds from the next linkage on.")


@linkage.command(name="decisions")
@agreement_option
@_login_option
@click.option("--last", type=click.IntRange(min=1), default=20, help="How many.")
def show_decisions(agreement_folder: Path | None, login_file: Path, last: int) -> None:
    """List the latest decisions: about which records, by whom and why, and whether they hold."""
    from pipeline.custodian import list_decisions
    from pipeline.resources import read_agreement

    agreement = read_agreement(read_settings(agreement_folder))
    with _engine(login_file).connect() as conn:
        decisions = list_decisions(conn, last)
    for entry, state in decisions:
        one = _tell_record((entry.partner_id, entry.person_ref), agreement)
        other = _tell_record((entry.other_partner_id, entry.other_person_ref), agreement)
        click.echo(f"Decision {entry.decision_id}: {entry.answer}, {entry.decided_at:%Y-%m-%d} by {entry.decided_by}")
        click.echo(f"  {one} and {other}")
        click.echo(f"  reason: {entry.reason}")
        click.echo(f"  {state}")
    if not decisions:
        click.echo("Nothing has been decided yet.")


# --- explaining -------------------------------------------------------------------------------------------------------


@linkage.command(name="explain")
@agreement_option
@_login_option
@click.option("--audience", help="The grant whose pool the ids are from; without it, NAMES are records.")
@click.option("--full-refs", is_flag=True, help="Show the records' pseudonyms in full.")
@click.argument("names", nargs=-1, required=True)
def explain_link(
    agreement_folder: Path | None, login_file: Path, audience: str | None, full_refs: bool, names: tuple[str, ...]
) -> None:
    """Say in words why records are one person, or why two persons are not one.

    NAMES: one person, or two to ask about both; each by an id in a grant's pool (--audience) or by a record, that is at
    least the first six characters of its pseudonym.
    """
    from pipeline.custodian import explain
    from pipeline.resources import read_agreement

    if len(names) > 2:
        raise click.UsageError("Name one person or two.")
    agreement = read_agreement(read_settings(agreement_folder))
    with _engine(login_file).connect() as conn:
        told = explain(conn, names, audience)

    def record(entry: tuple[str, str]) -> str:
        return _tell_record(entry, agreement, full=full_refs)

    for records in told.persons:
        count = len(records)
        click.echo(f"{'One person' if len(told.persons) == 1 else 'A person'} with {count} record{'s' * (count > 1)}:")
        for entry in records:
            click.echo(f"  {record(entry)}")
    if told.ties:
        click.echo("What holds them together:")
    for tie in told.ties:
        click.echo(f"  {record(tie.one)} and {record(tie.other)}: {_tell_tie(tie)}")
    if told.loose:
        click.echo("Some of it is not held by anything on record now: what held it then has gone since.")
    if told.apart:
        click.echo("Why they are two:")
    for sentence in told.apart:
        click.echo(f"  {sentence}")
    if told.nearest is not None:
        click.echo(f"  Nearest: {record(told.nearest.one)} and {record(told.nearest.other)}: {_tell_tie(told.nearest)}")


def _tell_tie(tie: "Tie") -> str:
    if tie.probability is None:
        return "a custodian decided that they are one person"
    differs = f"; differs on: {', '.join(tie.differs_on)}" if tie.differs_on else ""
    return f"agreed on: {_words(tie.agreed_on)}{differs}; probability {tie.probability:.3f}"


@linkage.command(name="runs")
@_login_option
@click.option("--last", type=click.IntRange(min=1), default=5, help="How many.")
def list_runs(login_file: Path, last: int) -> None:
    """List the latest linkage runs with their counts, thresholds and alarms."""
    from pipeline.custodian import tell_thresholds
    from warehouse.review_store import read_runs

    with _engine(login_file).connect() as conn:
        runs = read_runs(conn, last)
    for run in runs:
        alarms = {name: count for name, count in run.counts.items() if name.startswith("alarms")}
        counts = {name: count for name, count in run.counts.items() if name not in alarms}
        click.echo(f"Run {run.seq}: {run.run_id}, {run.finished_at:%Y-%m-%d %H:%M} UTC, {run.method}")
        click.echo(f"  counts:     {_named(counts)}")
        click.echo(f"  thresholds: {', '.join(f'{name} {value}' for name, value in tell_thresholds(run.parameters))}")
        click.echo(f"  alarms:     {_named({name.removeprefix('alarms_'): count for name, count in alarms.items()})}")
    if not runs:
        click.echo("Nothing has been linked yet.")


@linkage.command(name="model")
@agreement_option
@_login_option
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write it as one page with charts.")
def show_model(agreement_folder: Path | None, login_file: Path, html: Path | None) -> None:
    """Show what the latest run weighs: how often pairs that are one person, and two, stand at each level."""
    from pipeline.custodian import read_fitted_model
    from pipeline.files import write_atomically
    from pipeline.model_page import render_model, write_bits, write_share
    from pipeline.resources import read_agreement

    agreement = read_agreement(read_settings(agreement_folder))
    with _engine(login_file).connect() as conn:
        fitted = read_fitted_model(conn)
    if html is not None:
        write_atomically(html, render_model(fitted, agreement, datetime.now(UTC)).encode())
        click.echo(f"The model of run {fitted.run.seq} in {html}")
        return
    click.echo(f"Run {fitted.run.seq}: pairs are linked from {fitted.threshold:.3f}; {fitted.pairs:,} pairs on record.")
    for level in fitted.levels:
        click.echo(
            f"  {level.words:<52} m {write_share(level.m):>9}  u {write_share(level.u):>9}"
            f"  {write_bits(level):>6} bits  {level.pairs:>9,} pairs"
        )


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()) or "none"


# --- re-identification ------------------------------------------------------------------------------------------------


@linkage.group(name="reidentify")
def reidentify() -> None:
    """Learn a partner's own client number of a published id: one custodian asks, another approves, once."""


@reidentify.command(name="request")
@agreement_option
@_login_option
@click.option("--audience", required=True, help="The grant whose pool the id is from.")
@click.option("--id", "published_id", required=True, help="The published id of the person.")
@click.option("--partner", required=True, help="The one partner whose client number is asked for.")
@_reason_option
def make_request(
    agreement_folder: Path | None, login_file: Path, audience: str, published_id: str, partner: str, reason: str
) -> None:
    """Ask for a partner's own client number of one person. It ends after 14 days."""
    from pipeline.resources import read_agreement
    from warehouse.reidentification import request

    known = [entry.id for entry in read_agreement(read_settings(agreement_folder)).partners]
    if partner not in known:
        raise click.UsageError(f"The agreement has no partner {partner}. It has {', '.join(known)}.")
    with _engine(login_file).begin() as conn:
        number = request(conn, audience, published_id, partner, reason)
    click.echo(f"Request {number}. Another custodian approves it: linkarms linkage reidentify approve {number}")


@reidentify.command(name="list")
@_login_option
@click.option("--last", type=click.IntRange(min=1), default=20, help="How many.")
def list_requests(login_file: Path, last: int) -> None:
    """List the latest requests, whom they are from, and where they stand."""
    from warehouse.reidentification import read_requests

    with _engine(login_file).connect() as conn:
        requests = read_requests(conn, last)
    for entry in requests:
        click.echo(f"Request {entry.request_id}: {entry.state}")
        click.echo(
            f"  grant {entry.audience}, partner {entry.partner_id}, by {entry.requested_by}, until "
            f"{entry.ends_at:%Y-%m-%d %H:%M} UTC"
        )
        click.echo(f"  reason: {entry.reason}")
    if not requests:
        click.echo("There is no request.")


@reidentify.command(name="approve")
@_login_option
@click.argument("request_id", type=int)
def approve_request(login_file: Path, request_id: int) -> None:
    """Approve a request of another custodian."""
    from warehouse.reidentification import approve

    with _engine(login_file).begin() as conn:
        approve(conn, request_id)
    click.echo(f"Request {request_id} is approved. To carry it out: linkarms linkage reidentify carry-out {request_id}")


@reidentify.command(name="carry-out")
@_login_option
@click.argument("request_id", type=int)
@click.option(
    "--clients",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The partner's own list of client numbers: one a line, or a CSV with the column local_person_id.",
)
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A new file, for the answer."
)
def carry_out_request(login_file: Path, request_id: int, clients: Path, out: Path) -> None:
    """Write the client number that an approved request asks for into a file that this account alone can read.

    Needs the partnership's keys, so it runs where they are. A request is carried out once.
    """
    from pipeline.custodian import carry_out
    from pipeline.resources import open_keys

    keys = open_keys(read_settings(), now=datetime.now(UTC))
    found = carry_out(_engine(login_file), request_id, clients, out, keys)
    if found:
        click.echo(f"Request {request_id} is carried out; the answer is in {out}")
    else:
        click.echo(f"Request {request_id} is carried out: the person is not on the list, and {out} is empty.")
