"""Makes the reference model of linkage: what levels of agreement are worth where nothing is known of the data yet.

    python -m benchmarks.linkage.reference_model

It is fitted without labels on the independent simulation (:mod:`benchmarks.linkage.simulation`), so that the synthetic
partnership, on which linkage is measured, has taught it nothing. The classes of pairs that are one person are those
that begin around pairs which agree on most things. A fit ends where it began nearest to, so many beginnings are tried.
The likeliest is not the one that serves other data best: the one is kept from which a fit to :data:`DEVELOPMENT`, a set
that no figure is reported of, tells its pairs best. Which of the beginnings that is is all that labels decide.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.linkage.data import RECIPES
from benchmarks.linkage.normal import normalise_records
from benchmarks.linkage.simulation import simulate
from linkage.candidates import RECORD_COLUMNS, CandidatePolicy, find_candidates
from linkage.classes import REFERENCE_FILE, ClassModel, Codes, Floats, count_patterns, fit_classes, start_model
from linkage.comparisons import COMPARISONS
from linkage.scoring import expect_coincidences, share_in_one_file
from linkage.vectors import compare_pairs, duckdb_engine
from protocol.model import IdentifierRole
from pseudonymise.encoding import encode_persons
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import build_match_keys
from pseudonymise.normalise import normalise

PEOPLE, SEED, BEGINNINGS = 60_000, 11, 16
DEVELOPMENT = "synthetic-seed2-50k-blank"
SELDOM_TWICE = (0.97, 0.03)
KINDS = (False,) * 6 + (True,) * 3
"""Six kinds of pairs that are two people and three of pairs that are one: with more, the fit gains nothing that holds
on other data; with fewer it loses (of pairs before clustering, one and one: F1 .985 where these give .990)."""


def guess(patterns: Codes) -> Floats:
    """A first guess of each pattern's probability: how many of six things agree at least in part."""
    least = {"forename": 4, "surname": 4, "date_of_birth": 2, "postcode": 3, "phone": 2, "email": 2}
    places = {comparison.name: place for place, comparison in enumerate(COMPARISONS)}
    agree = sum((patterns[:, places[name]] >= code).astype(np.float64) for name, code in least.items())
    return np.asarray(1 / (1 + np.exp(-2 * (agree - 2.5))))


@dataclass(frozen=True)
class Compared:
    """Candidate pairs of a set: patterns, counts, which are impossible, and how many of each are one person."""

    patterns: Codes
    pairs: Floats
    impossible: npt.NDArray[np.bool_]
    one_person: Floats
    """0 everywhere where the truth was not asked for."""
    records: int
    one_file: float | None


def compare(rows: pl.DataFrame, normal: pl.DataFrame, truth: pl.DataFrame | None = None) -> Compared:
    """``rows`` has ``partner_id``, ``person_ref``; ``truth`` these and ``truth_person``."""
    keys = KeyRing(bytes(range(32)), bytes(range(32, 64)), datetime(2026, 1, 1, tzinfo=UTC))
    names = rows.select(RECORD_COLUMNS)
    found = find_candidates(
        build_match_keys(normal, rows["person_ref"], keys).join(names, on="person_ref"), CandidatePolicy()
    )
    encodings = encode_persons(normal, rows["person_ref"], keys).with_columns(rows["partner_id"])
    tokens = found.records.join(encodings, on=list(RECORD_COLUMNS), maintain_order="left")
    codes = compare_pairs(tokens, found.pairs, duckdb_engine())
    # The sets have nobody twice in a file that vouches for it, and a shared number in few records.
    forbidden = pl.when(pl.col("nhs_number") == 1).then(pl.lit("nhs_number"))
    codes = codes.with_columns(forbidden=forbidden, one_person=pl.lit(0.0))
    if truth is not None:
        person = found.records.join(truth, on=list(RECORD_COLUMNS), maintain_order="left")["truth_person"]
        same = person.gather(codes["left"]) == person.gather(codes["right"])
        codes = codes.with_columns(one_person=same.cast(pl.Float64))
    patterns, pairs, impossible = count_patterns(codes)
    names_of_codes = [comparison.name for comparison in COMPARISONS]
    right = (
        codes.group_by(*names_of_codes, pl.col("forbidden").is_not_null().alias("impossible"))
        .agg(pl.col("one_person").sum())
        .sort(*names_of_codes, "impossible")
    )
    share = share_in_one_file(found.records)
    return Compared(patterns, pairs, impossible, right["one_person"].to_numpy(), found.records.height, share)


def f1_of_pairs(model: ClassModel, of: Compared) -> float:
    """F1 of the candidate pairs that a fit from ``model`` takes for one person."""
    fit = fit_classes(
        of.patterns,
        of.pairs,
        of.impossible,
        one_file=of.one_file,
        coincidences=expect_coincidences(of.records),
        start=model,
    )
    linked = (fit.probabilities(of.patterns) >= 0.5) & ~of.impossible
    return float(2 * of.one_person[linked].sum() / (of.pairs[linked].sum() + of.one_person.sum()))


def main() -> None:
    """Fit, choose and write."""
    rows = simulate(PEOPLE, SEED).with_columns(person_ref=pl.concat_str("partner_id", pl.lit("/"), "local_person_id"))
    columns = {role: role.value for role in IdentifierRole if role.value in rows.columns}
    taught = compare(rows, normalise(rows, columns, date(2026, 9, 30)))
    development = RECIPES[DEVELOPMENT].make(None)
    judged = compare(development.rows, normalise_records(development), development.truth)
    best: tuple[float, ClassModel] | None = None
    for beginning in range(BEGINNINGS):
        start = start_model(taught.patterns, taught.pairs, guess(taught.patterns), KINDS, beginning)
        model = fit_classes(taught.patterns, taught.pairs, taught.impossible, start=start, reference_pairs=1.0)
        likely = float(taught.pairs @ np.logaddexp.reduce(model.log_weights(taught.patterns), axis=1))
        # The simulation has nobody twice in a file; of real files that cannot be said.
        rows_of_one_file = tuple(
            SELDOM_TWICE if match else row for match, row in zip(model.matches, model.levels["one_file"], strict=True)
        )
        model = replace(model, levels={**model.levels, "one_file": rows_of_one_file})
        f1 = f1_of_pairs(model, judged)
        print(f"beginning {beginning}: log likelihood {likely:.1f}, F1 of {DEVELOPMENT} {f1:.4f}")
        if best is None or f1 > best[0]:
            best = f1, model
    assert best is not None
    content = best[1].as_dict()
    content["shares"] = [round(share, 6) for share in content["shares"]]
    content["levels"] = {
        name: [[round(value, 6) for value in row] for row in rows] for name, rows in content["levels"].items()
    }
    REFERENCE_FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
