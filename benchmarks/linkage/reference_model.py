"""Makes the reference model of linkage: what levels of agreement are worth where nothing is known of the data yet.

    python -m benchmarks.linkage.reference_model

It is fitted without labels on the independent simulation (:mod:`benchmarks.linkage.simulation`), so that the synthetic
partnership, on which linkage is measured, has taught it nothing; several beginnings are tried and the likeliest fit is
kept. The classes of pairs that are one person are those that begin around pairs which agree on most things.
"""

import json
from datetime import UTC, date, datetime

import numpy as np
import polars as pl

from benchmarks.linkage.simulation import simulate
from linkage.candidates import CandidatePolicy, find_candidates
from linkage.classes import REFERENCE_FILE, ClassModel, Codes, Floats, count_patterns, fit_classes, start_model
from linkage.comparisons import COMPARISONS
from linkage.vectors import compare_pairs, duckdb_engine
from protocol.model import IdentifierRole
from pseudonymise.encoding import encode_persons
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import build_match_keys
from pseudonymise.normalise import normalise

PEOPLE, SEED, BEGINNINGS = 60_000, 11, 16
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


def main() -> None:
    """Fit and write."""
    rows = simulate(PEOPLE, SEED).with_columns(person_ref=pl.concat_str("partner_id", pl.lit("/"), "local_person_id"))
    columns = {role: role.value for role in IdentifierRole if role.value in rows.columns}
    normal = normalise(rows, columns, date(2026, 9, 30))
    keys = KeyRing(bytes(range(32)), bytes(range(32, 64)), datetime(2026, 1, 1, tzinfo=UTC))
    names = rows.select("partner_id", "person_ref")
    found = find_candidates(
        build_match_keys(normal, rows["person_ref"], keys).join(names, on="person_ref"), CandidatePolicy()
    )
    tokens = found.records.join(
        encode_persons(normal, rows["person_ref"], keys).with_columns(rows["partner_id"]),
        on=["partner_id", "person_ref"],
        maintain_order="left",
    )
    codes = compare_pairs(tokens, found.pairs, duckdb_engine())
    # The simulation has nobody twice in a file; a shared number is in no record of it.
    forbidden = pl.when(pl.col("nhs_number") == 1).then(pl.lit("nhs_number"))
    patterns, pairs, impossible = count_patterns(codes.with_columns(forbidden=forbidden))
    best: tuple[float, ClassModel] | None = None
    for beginning in range(BEGINNINGS):
        start = start_model(patterns, pairs, guess(patterns), KINDS, beginning)
        model = fit_classes(patterns, pairs, impossible, start=start, reference_pairs=1.0)
        weights = model.log_weights(patterns)
        likely = float(pairs @ np.logaddexp.reduce(weights, axis=1))
        print(f"beginning {beginning}: {likely:.1f}")
        if best is None or likely > best[0]:
            best = likely, model
    assert best is not None
    content = best[1].as_dict()
    content["shares"] = [round(share, 6) for share in content["shares"]]
    # The simulation has nobody twice in a file; of real files that cannot be said.
    content["levels"]["one_file"] = [
        list(SELDOM_TWICE) if match else row
        for match, row in zip(content["matches"], content["levels"]["one_file"], strict=True)
    ]
    content["levels"] = {
        name: [[round(value, 6) for value in row] for row in rows] for name, rows in content["levels"].items()
    }
    REFERENCE_FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
