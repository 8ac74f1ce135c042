"""What the custodian of linkage does: answer pairs in doubt, ask why records are one person, look at runs, and give a
partner's own client number back where two custodians agree to it.

Everything runs under the custodian's own database login, which reads the schemas ``linkage`` and ``governance`` and no
row of the pool. What is told is words, partners and counts; a record is named by the first characters of its pseudonym.
"""

import csv
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from linkage.classes import ClassModel
from linkage.decisions import PAIR_COLUMNS, SAME, canonical, join_present, resolve_decisions
from linkage.review import Record, Tie, describe_pairs, find_chain, find_ties
from linkage.weights import LevelWeight, share_of_one_person, tell_weights
from pipeline.files import open_private
from protocol.errors import LinkarmsError, NotYet
from warehouse.linkage_store import count_level_patterns, read_latest_run, read_scored_pairs
from warehouse.reidentification import (
    known_references,
    read_request,
    record_carried_out,
    records_of_published,
)
from warehouse.review_store import (
    Decision,
    ReviewPair,
    RunSummary,
    find_published,
    find_records,
    read_decision_log,
    read_decisions,
    read_pair,
    read_partings,
    read_person_of,
    read_records_of,
    read_runs,
    write_decision,
)

if TYPE_CHECKING:
    from pseudonymise.keys import KeyRing

SHORT = 6
"""Characters of a record's pseudonym by which it is named; more where that is not enough."""


def open_custodian_engine(login_file: Path) -> Engine:
    """An engine for one custodian's own login. ``login_file`` holds its address, as ``linkarms warehouse custodian``
    writes it.

    Raises :class:`LinkarmsError` where the file cannot be read or holds none, and :class:`NotYet` where the database
    does not let it in.
    """
    try:
        url = login_file.read_text(encoding="utf-8").strip()
    except OSError:
        url = ""
    if not url.startswith("postgresql"):
        raise LinkarmsError(f"{login_file} should hold the address of your own database login.")
    engine = create_engine(url, poolclass=NullPool)
    try:
        engine.connect().close()
    except OperationalError:
        raise NotYet("The database does not answer, or refuses this log-in. Ask its owner for a new one.") from None
    return engine


# --- naming records ---------------------------------------------------------------------------------------------------


def find_record(conn: Connection, start: str) -> Record:
    """The one record whose pseudonym begins so. Raises :class:`LinkarmsError` where there is none or more than one."""
    if len(start) < SHORT:
        raise LinkarmsError(f"Name a record by at least {SHORT} characters of its pseudonym.")
    found = find_records(conn, start)
    if not found:
        raise LinkarmsError("No record that is linked has a pseudonym that begins so.")
    if len(found) > 1:
        raise LinkarmsError(f"{len(found)} records begin so: name one by more characters.")
    return found[0]


def find_person(conn: Connection, name: str, audience: str | None) -> tuple[str, Record | None]:
    """A person by the id in a grant's pool or, without ``audience``, by one of its records: (person, that record).

    Raises :class:`LinkarmsError` where there is none.
    """
    if audience is not None:
        person = find_published(conn, audience, name)
        if person is None:
            raise LinkarmsError(f"The grant {audience} has given out no such id.")
        return person, None
    record = find_record(conn, name)
    return str(read_person_of(conn, record)), record


def choose_pair(conn: Connection, name: str) -> ReviewPair:
    """The pair that a custodian names: by its number in the queue, or by two records joined with ``+``.

    Raises :class:`LinkarmsError` where there is no such pair or record.
    """
    if name.isdecimal():
        return read_pair(conn, int(name))
    one, plus, other = name.partition("+")
    if not plus:
        raise LinkarmsError("Name a pair by its number in the queue, or by two records joined with +.")
    left, right = sorted((find_record(conn, one), find_record(conn, other)))
    if left == right:
        raise LinkarmsError("A pair is of two records.")
    return ReviewPair(0, *left, *right, 0.0, (), (), 0, None, is_open=False)


def decide(conn: Connection, name: str, answer: str, reason: str) -> int:
    """Answer a pair, in the caller's transaction; returns the decision's number. It takes effect with the next run."""
    return write_decision(conn, choose_pair(conn, name), answer, reason)


def list_decisions(conn: Connection, limit: int) -> tuple[tuple[Decision, str], ...]:
    """The latest decisions, latest first, each with what has become of it."""
    contradicted = set(resolve_decisions(read_decisions(conn)).contradicted.iter_rows())
    told = []
    for entry in read_decision_log(conn, limit):
        pair = sorted([(entry.partner_id, entry.person_ref), (entry.other_partner_id, entry.other_person_ref)])
        if not entry.holds:
            state = "a later one has taken its place"
        elif entry.answer == SAME and (*pair[0], *pair[1]) in contradicted:
            state = "not followed: with others it would join two records that are decided to be different"
        else:
            state = "holds"
        told.append((entry, state))
    return tuple(told)


# --- explaining -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explanation:
    """Why records are one person, or why two persons are not one."""

    persons: tuple[tuple[Record, ...], ...]
    """The records of the one person, or of each of the two."""
    ties: tuple[Tie, ...]
    """What holds one person together; for two named records the chain between them. Empty for two persons."""
    loose: bool
    """True where no tie that is on record now leads to some record: it was held by data that has gone since."""
    apart: tuple[str, ...] = ()
    """For two persons: what keeps them apart, in sentences."""
    nearest: Tie | None = None
    """For two persons: the likeliest pair across them, of those that share anything."""


_REFUSED = {
    "veto": "They hold different numbers that a person has only one of, so nothing else can link them.",
    "same_partner": "Both are records of one partner that vouches that nobody is twice in its file.",
    "too_little": "What they agree on is too little to link them.",
}


def explain(conn: Connection, names: tuple[str, ...], audience: str | None) -> Explanation:
    """Why the records of one person are one (one name, or two records of one person), or why two persons are two.

    ``names`` are one or two ids in the grant ``audience``'s pool, or beginnings of records' pseudonyms.
    """
    persons = [find_person(conn, name, audience) for name in names]
    ids = list(dict.fromkeys(person for person, _ in persons))
    members = read_records_of(conn, ids)
    described = _describe(conn, ids)
    decided = resolve_decisions(read_decisions(conn))
    records = {person: _records(members.filter(pl.col("person_id") == person)) for person in ids}
    if len(ids) == 1:
        everyone = records[ids[0]]
        ties = find_ties(described, join_present(decided.together, members), everyone)
        loose = len(ties) < len(everyone) - 1
        ends = [record for _, record in persons if record is not None]
        if len(ends) == 2 and ends[0] != ends[1]:
            chain = find_chain(ties, ends[0], ends[1])
            return Explanation((everyone,), chain or (), loose=chain is None)
        return Explanation((everyone,), ties, loose)
    one, other = ids
    across = _across(described, members, one)
    return Explanation(
        persons=(records[one], records[other]),
        ties=(),
        loose=False,
        apart=tuple(_tell_apart(conn, (one, other), members, across, decided.apart)),
        nearest=_nearest(across),
    )


def _describe(conn: Connection, persons: list[str]) -> pl.DataFrame:
    """All pairs of the persons' records that the latest run scored, in words."""
    run = read_latest_run(conn)
    threshold = 0.5 if run is None else float(run.parameters["threshold"])
    return describe_pairs(read_scored_pairs(conn, persons), threshold)


def _records(members: pl.DataFrame) -> tuple[Record, ...]:
    return tuple(members.select("partner_id", "person_ref").sort("partner_id", "person_ref").iter_rows())


def _across(described: pl.DataFrame, members: pl.DataFrame, one: str) -> pl.DataFrame:
    """The pairs with one record on either side, the likeliest first."""
    of = members.select("partner_id", "person_ref", mine=pl.col("person_id") == one)
    others = of.rename({"partner_id": "other_partner_id", "person_ref": "other_person_ref", "mine": "other_mine"})
    pairs = described.join(of, on=["partner_id", "person_ref"]).join(
        others, on=["other_partner_id", "other_person_ref"]
    )
    return pairs.filter(pl.col("mine") != pl.col("other_mine")).sort(
        ["probability", *PAIR_COLUMNS], descending=[True, False, False, False, False]
    )


def _nearest(across: pl.DataFrame) -> Tie | None:
    if across.is_empty():
        return None
    row = across.row(0, named=True)
    return Tie(
        (row["partner_id"], row["person_ref"]),
        (row["other_partner_id"], row["other_person_ref"]),
        tuple(row["agreed_on"]),
        tuple(row["differs_on"]),
        row["probability"],
    )


def _tell_apart(
    conn: Connection,
    persons: tuple[str, str],
    members: pl.DataFrame,
    across: pl.DataFrame,
    decided: pl.DataFrame,
) -> list[str]:
    one, other = (set(_records(members.filter(pl.col("person_id") == person))) for person in persons)
    told = []
    for row in canonical(decided).select(PAIR_COLUMNS).iter_rows():
        ends = (row[0], row[1]), (row[2], row[3])
        if (ends[0] in one and ends[1] in other) or (ends[0] in other and ends[1] in one):
            told.append("A custodian decided that a record of the one and a record of the other are two people.")
    told += [
        f"Linkage parted them on {when:%Y-%m-%d}, and what was parted does not meet again by itself."
        for _, when in read_partings(conn, *persons)
    ]
    if across.is_empty():
        told.append("No record of the one is anything like a record of the other.")
        return told
    refused = [reason for reason in across["refused"].unique(maintain_order=True) if reason is not None]
    told += [_REFUSED[reason] for reason in refused[:1]]
    if not told:
        told.append(
            "A pair of them would be linked by itself; too few of their other records are, or the next run does."
        )
    return told


# --- runs -------------------------------------------------------------------------------------------------------------


def tell_thresholds(parameters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The numbers among a run's parameters by name, ``threshold``, ``0.51``; those of the model are left out."""
    found: list[tuple[str, str]] = []
    for name, value in parameters.items():
        if name in ("latest_decision", "model"):
            continue
        if isinstance(value, Mapping):
            found += tell_thresholds(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((name.replace("_", " "), str(value)))
    return tuple(found)


@dataclass(frozen=True)
class FittedModel:
    """The model of a linkage run, and at which levels its pairs stand."""

    run: RunSummary
    levels: tuple[LevelWeight, ...]
    """Every level of every comparison."""
    share: float
    """Of the candidate pairs, as the model sees them, that are one person."""
    threshold: float
    fitted_on: int
    """Records that the model was fitted on."""
    pairs: int
    """Pairs that the run keeps on record."""


def read_fitted_model(conn: Connection) -> FittedModel:
    """What the latest run weighed by.

    Raises :class:`NotYet` where nothing has been linked, or where this software cannot read the model.
    """
    run = next(iter(read_runs(conn, 1)), None)
    if run is None:
        raise NotYet("Nothing has been linked yet.")
    try:
        model = ClassModel.from_dict(run.parameters["model"])
    except (KeyError, ValueError):
        raise NotYet("The latest run was made by other software. Link anew, and look then.") from None
    patterns = count_level_patterns(conn)
    return FittedModel(
        run,
        tell_weights(model, patterns),
        share_of_one_person(model),
        float(run.parameters["threshold"]),
        int(run.parameters["fitted_on"]),
        int(patterns["pairs"].sum()),
    )


# --- re-identification ------------------------------------------------------------------------------------------------

NUMBER_COLUMN = "local_person_id"


def read_client_numbers(path: Path) -> pl.Series:
    """A partner's own client numbers from a file: one a line, or a CSV with the column ``local_person_id``.

    Raises :class:`LinkarmsError` where the file cannot be read or holds none; no message shows a number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise LinkarmsError(f"{path} cannot be read as a text file (UTF-8).") from None
    lines = text.splitlines()
    numbers: list[str] = []
    heading = next(csv.reader(lines[:1]), [])
    if NUMBER_COLUMN in heading:
        place = heading.index(NUMBER_COLUMN)
        with suppress(csv.Error):
            numbers = [row[place].strip() for row in csv.reader(lines[1:]) if len(row) > place]
    elif len(heading) <= 1:
        numbers = [line.strip() for line in lines]
    numbers = list(dict.fromkeys(number for number in numbers if number))
    if not numbers:
        raise LinkarmsError(f"{path} should hold one client number a line, or a CSV with the column {NUMBER_COLUMN}.")
    return pl.Series(NUMBER_COLUMN, numbers, dtype=pl.String)


def carry_out(engine: Engine, request_id: int, clients: Path, out: Path, keys: "KeyRing") -> int:
    """Find the partner's own number of the person that an approved request is about; returns how many were written.

    A pseudonym cannot be computed back. The partner's list of client numbers is hashed as its extracts were, and the
    numbers that give a record of the person go into ``out``, one a line, readable by this account alone. That it was
    carried out is recorded before anything is written, also where the person is not on the list.

    Raises :class:`LinkarmsError`, and leaves the request as it was, where ``out`` is there already, the list cannot be
    read, or no number of it is known of the partner (another partner's list, or other keys); and where the database
    refuses, see :mod:`warehouse.reidentification`.
    """
    from pseudonymise.output import derive_person_refs

    numbers = read_client_numbers(clients)
    if out.exists():
        raise LinkarmsError(f"{out} is there already. Name a new file.")
    with engine.connect() as conn:
        asked = read_request(conn, request_id)
        known = known_references(conn, asked.partner_id)
        wanted = records_of_published(conn, asked.audience, asked.published_id, asked.partner_id)
    refs = derive_person_refs(numbers, asked.partner_id, keys)
    if not refs.is_in(list(known)).any():
        raise LinkarmsError(
            f"No number in {clients.name} is one of {asked.partner_id}'s clients in the registry. Is it that partner's "
            "list, and are these the keys that its extracts were pseudonymised with?"
        )
    found = numbers.filter(refs.is_in(list(wanted)))
    with open_private(out) as file:
        try:
            with engine.begin() as conn:
                record_carried_out(conn, request_id)
        except Exception:
            out.unlink()
            raise
        file.write("".join(f"{number}\n" for number in found).encode())
    return len(found)
