"""How well and how fast records are linked, side by side with simpler ways, on the same data in the same run.

    python -m benchmarks.linkage                     the synthetic partnership of 20,000 people, several profiles
    python -m benchmarks.linkage --people 100000     as large as the design's table (some 160,000 records)
    python -m benchmarks.linkage --json out.json     the figures as JSON besides

Every line says what was linked and how: ``one HMAC`` (equal forename, surname, date of birth and postcode), ``6 keys``
(a classical choice of six match keys and connected components, nothing that speaks against a link), ``match keys``
(every key, with vetoes and constrained clusters, as the pipeline does it); both make all tokens, so their encoding
costs the same. The profile ``other`` is a simulation that
shares neither names nor error model with the synthetic partnership; ``no numbers`` has NHS and NI numbers blank.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from linkage.match import KeyRule, Kind, LinkPolicy, link_records

from benchmarks.simulation import simulate
from linkage.cluster import ClusterPolicy, cluster_records
from linkage.quality import LinkageQuality, measure_quality
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import IdentifierRole
from pseudonymise.keys import KeyRing
from pseudonymise.match_keys import MATCH_KEYS, build_match_keys
from pseudonymise.normalise import normalise
from synthetic.generate import generate_partnership
from synthetic.profile import DEFAULT, ROUGH, ErrorProfile

AS_OF = date(2026, 9, 30)
SIX_KEYS = ("nhs_number_dob", "names_dob", "starts_dob", "start_dob_sector", "surname_dob_postcode", "starts_postcode")
RECORD = ("partner_id", "person_ref")
NUMBERS = ("nhs_number", "ni_number", "shared_person_number")


@dataclass(frozen=True)
class Data:
    """Person rows with ``partner_id``, ``person_ref``, ``truth_person`` and identifiers by their agreed names."""

    name: str
    rows: pl.DataFrame
    duplicate_free: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """One way of linking on one set of data."""

    data: str
    method: str
    quality: LinkageQuality
    encode_seconds: float
    link_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "data": self.data,
            "method": self.method,
            "encode_seconds": round(self.encode_seconds, 3),
            "link_seconds": round(self.link_seconds, 3),
            **self.quality.as_dict(),
        }


def make_synthetic(name: str, profile: ErrorProfile, people: int, seed: int) -> Data:
    """The latest person row of each client of the synthetic partnership."""
    agreement = load_agreement(default_agreement_folder())
    made = generate_partnership(agreement, seed=seed, people=people, profile=profile)
    extracts = [
        tables["person"].with_columns(partner_id=pl.lit(partner), period=pl.lit(period))
        for (partner, period), tables in made.extracts.items()
    ]
    rows = (
        pl.concat(extracts)
        .sort("period", maintain_order=True)
        .unique(["partner_id", "local_person_id"], keep="last", maintain_order=True)
        .join(made.truth, on=["partner_id", "local_person_id"], maintain_order="left")
        .with_columns(person_ref=pl.concat_str("partner_id", pl.lit("/"), "local_person_id"))
    )
    vouching = tuple(partner.id for partner in agreement.partners if partner.duplicate_free)
    return Data(name, rows, vouching)


def make_other(name: str, people: int, seed: int) -> Data:
    """The independent simulation."""
    rows = simulate(people, seed).with_columns(person_ref=pl.concat_str("partner_id", pl.lit("/"), "local_person_id"))
    return Data(name, rows, ())


def without_numbers(data: Data) -> Data:
    """The same records with all personal numbers blank."""
    blank = [pl.lit(None, dtype=pl.String).alias(name) for name in NUMBERS if name in data.rows.columns]
    return Data(f"{data.name}, no numbers", data.rows.with_columns(blank), data.duplicate_free)


def normalise_rows(data: Data) -> pl.DataFrame:
    """The normal record of every row."""
    columns = {role: role.value for role in IdentifierRole if role.value in data.rows.columns}
    return normalise(data.rows, columns, AS_OF)


def link_by_one_hash(data: Data) -> tuple[pl.DataFrame, float, float]:
    """Equal normal forename, surname, date of birth and postcode; a record that lacks one is alone."""
    began = time.perf_counter()
    normal = normalise_rows(data)
    parts = ["forename", "surname", "date_of_birth", "postcode"]
    encoded = time.perf_counter()
    found = pl.concat([data.rows.select(RECORD), normal.select(parts)], how="horizontal").drop_nulls()
    found = found.with_columns(cluster=pl.struct(parts).rank("dense")).select(*RECORD, "cluster")
    return found, encoded - began, time.perf_counter() - encoded


def link_by_keys(data: Data, policy: LinkPolicy, clusters: ClusterPolicy) -> tuple[pl.DataFrame, float, float]:
    """Match keys, pairs and clusters as the pipeline makes them, with the keys of ``policy``."""
    key_ring = KeyRing(bytes(range(32)), bytes(range(32, 64)), datetime(2026, 1, 1, tzinfo=UTC))
    began = time.perf_counter()
    made = build_match_keys(normalise_rows(data), data.rows["person_ref"], key_ring)
    encoded = time.perf_counter()
    made = made.join(data.rows.select(RECORD), on="person_ref")
    found = cluster_records(link_records(made, policy), clusters).members
    return found, encoded - began, time.perf_counter() - encoded


def full_policy(data: Data) -> LinkPolicy:
    """Every declared key with what speaks against it."""
    rules = tuple(
        KeyRule(name=key.name, kind=Kind(key.kind), fields=key.fields, unless_differs=key.unless_differs)
        for key in MATCH_KEYS
    )
    return LinkPolicy(keys=rules, duplicate_free=data.duplicate_free)


def six_key_policy() -> LinkPolicy:
    """Six keys, each good enough alone."""
    rules = tuple(KeyRule(name=name, kind=Kind.STRONG) for name in SIX_KEYS)
    return LinkPolicy(keys=rules, veto_keys=(), doubt_keys=())


METHODS: dict[str, Callable[[Data], tuple[pl.DataFrame, float, float]]] = {
    "one HMAC": link_by_one_hash,
    "6 keys": lambda data: link_by_keys(data, six_key_policy(), ClusterPolicy(least_support=0)),
    "match keys": lambda data: link_by_keys(data, full_policy(data), ClusterPolicy()),
}


def measure(data: Data) -> Iterator[Outcome]:
    """Every method on one set of data."""
    truth = data.rows.select(*RECORD, "truth_person")
    for method, link in METHODS.items():
        found, encode_seconds, link_seconds = link(data)
        quality = measure_quality(found, truth, on=RECORD, cluster="cluster")
        yield Outcome(data.name, method, quality, encode_seconds, link_seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    default = make_synthetic("synthetic", DEFAULT, options.people, options.seed)
    sets = [
        default,
        without_numbers(default),
        make_synthetic("synthetic, rough", ROUGH, options.people, options.seed),
        other := make_other("other", options.people, options.seed),
        without_numbers(other),
    ]
    print(f"{os.cpu_count()} cores, {pl.thread_pool_size()} Polars threads, {len(MATCH_KEYS)} match keys")
    heads = ("precision", "recall", "F1", "B-cubed", "exact", "encode s", "link s", "persons/s")
    print(f"{'data':26} {'method':11} {'records':>8} " + " ".join(f"{head:>9}" for head in heads))
    outcomes = []
    for data in sets:
        for outcome in measure(data):
            outcomes.append(outcome)
            quality = outcome.quality
            figures = (quality.precision, quality.recall, quality.f1, quality.bcubed_f1, quality.people_exactly_right)
            print(
                f"{outcome.data:26} {outcome.method:11} {quality.records:8} "
                + " ".join(f"{figure:9.4f}" for figure in figures)
                + f" {outcome.encode_seconds:9.2f} {outcome.link_seconds:9.2f}"
                + f" {quality.records / outcome.encode_seconds:9.0f}"
            )
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if options.json:
        options.json.write_text(json.dumps([outcome.as_dict() for outcome in outcomes], indent=1) + "\n")


if __name__ == "__main__":
    main()
