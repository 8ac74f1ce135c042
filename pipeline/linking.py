"""Who is who: from the tokens in the warehouse to persons in the registry, in one transaction.

What a run did is on record with it: its policies, the model that scored (a few hundred numbers, no data of anybody),
its threshold, and its counts, among them of how many pairs and how many of these it compared: of the others an earlier
run had said what they compare as.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl
from sqlalchemy import Connection

from linkage.bounds import find_bounds
from linkage.candidates import RECORD_COLUMNS
from linkage.classes import ClassModel
from linkage.cluster import ClusterPolicy, Clusters, cluster_records
from linkage.comparisons import RECORD, token_schema
from linkage.decisions import Decided, join_present, lift_splits, resolve_decisions
from linkage.groups import group_records
from linkage.registry import assign_persons, find_separations
from linkage.review import REVIEW_BELOW, REVIEW_FROM, describe_pairs, find_in_doubt, name_pairs
from linkage.scoring import Scored, ScorePolicy, score_records
from linkage.vectors import Engine
from protocol.model import Agreement
from warehouse.linkage_store import (
    LinkageRun,
    read_compared,
    read_encodings,
    read_latest_run,
    read_match_keys,
    read_membership,
    read_records,
    read_run,
    read_splits,
    write_bounds,
    write_compared,
    write_registry_update,
    write_scored_pairs,
)
from warehouse.review_store import read_decisions, write_review
from warehouse.snapshot import Snapshot

if TYPE_CHECKING:
    from pseudonymise.keys import KeyRing

METHOD = "tokens/2"
"""Name and version of the method: encodings compared by Splink, weighed by latent classes, average linkage."""

REFIT_WHEN_GROWN = 2.0
"""The model of the latest run goes on until so many times the records have encodings that it was fitted on: what a
level is worth does not change from month to month, and persons should not change because it was estimated anew."""

LEAST_STORED = 0.01
"""Pairs of less probability are kept only where they are inside a group of possible links."""


def make_score_policy(agreement: Agreement) -> ScorePolicy:
    """How pairs are scored under an agreement: what the partners vouch for."""
    return ScorePolicy(duplicate_free=tuple(sorted(p.id for p in agreement.partners if p.duplicate_free)))


def link_snapshot(
    conn: Connection,
    everything: Snapshot,
    snapshot: Snapshot,
    agreement: Agreement,
    run_id: str,
    keys: "KeyRing",
    now: datetime,
    engine: Engine,
    *,
    compare_anew: bool = False,
) -> None:
    """Link all records of ``everything`` and record it as the run of ``snapshot``. The same run twice does nothing.

    ``engine`` compares pairs (:func:`pipeline.linkage_engine.open_linkage_engine`); who is who does not depend on it.
    Pairs that the latest run compared are not compared again unless ``compare_anew`` asks for it: both give the same
    persons (``tests/integration/pipeline/test_linking.py``).
    """
    if read_run(conn, run_id) is not None:
        return
    policy, cluster_policy = make_score_policy(agreement), ClusterPolicy()
    records = read_records(conn, everything.id)
    membership = read_membership(conn).with_columns(pl.col("person_created_at").dt.replace_time_zone("UTC"))
    log = read_decisions(conn)
    decided = resolve_decisions(log)
    together = join_present(decided.together, records)
    compared = None if compare_anew else read_compared(conn, METHOD)
    scored, fitted_on = _score(conn, everything.id, records, together, policy, engine, compared)
    parted = lift_splits(read_splits(conn), decided, membership)
    apart = pl.concat([decided.apart, find_separations(parted, membership)])
    clusters = cluster_records(scored, cluster_policy, apart=apart, together=together)
    bounds = find_bounds(scored, clusters, cluster_policy, apart=apart, together=together)
    update = assign_persons(clusters.members, membership, uuid4, now)
    kept = name_pairs(scored, _worth_keeping(scored, policy))
    run = LinkageRun(
        run_id=run_id,
        snapshot_id=snapshot.id,
        method=METHOD,
        parameters={
            "links": policy.model_dump(mode="json"),
            "clusters": cluster_policy.model_dump(mode="json"),
            "model": scored.model.as_dict(),
            "threshold": scored.threshold,
            "fitted_on": fitted_on,
            "in_doubt": {"in_doubt_from": REVIEW_FROM, "in_doubt_below": REVIEW_BELOW},
            "incremental": compared is not None,
            "key_id": keys.key_id,
            "latest_decision": log["decision_id"].max() or 0,
        },
        counts={
            "records": records.height,
            "unlinkable": scored.unlinkable.height,
            "pairs": scored.pairs.height,
            "compared": scored.compared_anew,
            "persons": update.membership["person_id"].n_unique(),
            "created": len(update.created),
            "merged": len(update.merged),
            "split": len(update.split),
            **_count_alarms(scored, clusters, decided),
            "decided_same": decided.together.height,
            "decided_different": decided.apart.height,
            "records_in_doubt": bounds.height,
            **{f"refused_{reason}": count for reason, count in clusters.refused_links.items()},
        },
    )
    write_registry_update(conn, run, update.membership, update.events, now)
    write_bounds(conn, run_id, bounds)
    write_scored_pairs(conn, kept)
    write_compared(conn, METHOD, scored.compared)
    in_doubt = find_in_doubt(describe_pairs(kept, scored.threshold))
    write_review(conn, run_id, everything.id, in_doubt, decided.answered)


def _score(
    conn: Connection,
    snapshot_id: str,
    records: pl.DataFrame,
    together: pl.DataFrame,
    policy: ScorePolicy,
    engine: Engine,
    compared: pl.DataFrame | None,
) -> tuple[Scored, int]:
    """Scores of the snapshot's records, and on how many encodings the model was fitted."""
    encodings = read_encodings(conn, snapshot_id)
    if encodings.width == len(RECORD_COLUMNS):  # nobody has an encoding
        encodings = encodings.with_columns(
            pl.lit(None, dtype=kind).alias(name) for name, kind in token_schema().items()
        )
    earlier = _earlier_model(conn, encodings.height)
    scored = score_records(
        read_match_keys(conn, snapshot_id),
        encodings,
        policy,
        engine,
        records=records,
        model=None if earlier is None else earlier[0],
        together=together,
        earlier=compared,
    )
    if earlier is None:
        return scored, encodings.height
    return replace(scored, threshold=earlier[1]), earlier[2]


def _earlier_model(conn: Connection, encodings: int) -> tuple[ClassModel, float, int] | None:
    """Model and threshold of the latest run, and on how many encodings they were fitted; None where they have to be
    fitted anew."""
    run = read_latest_run(conn)
    if run is None or run.method != METHOD:
        return None
    fitted_on = int(run.parameters["fitted_on"])
    if encodings >= REFIT_WHEN_GROWN * fitted_on:
        return None
    try:
        return ClassModel.from_dict(run.parameters["model"]), float(run.parameters["threshold"]), fitted_on
    except ValueError:
        return None


def _worth_keeping(scored: Scored, policy: ScorePolicy) -> pl.DataFrame:
    """The pairs that explain a person, that are in doubt, or that speak against a link inside a group."""
    groups = group_records(scored.pairs.filter(pl.col("probability") >= policy.lax))
    inside = (
        scored.pairs.select("left", "right")
        .join(groups, left_on="left", right_on=RECORD)
        .join(groups, left_on="right", right_on=RECORD, suffix="_other")
        .filter(pl.col("group") == pl.col("group_other"))
        .select("left", "right", inside=pl.lit(value=True))
    )
    return (
        scored.pairs.join(inside, on=["left", "right"], how="left", maintain_order="left")
        .filter((pl.col("probability") >= LEAST_STORED) | pl.col("inside").fill_null(value=False))
        .drop("inside")
    )


def _count_alarms(scored: Scored, clusters: Clusters, decided: Decided) -> Mapping[str, Any]:
    alarms = Counter([*scored.alarms["alarm"], *clusters.alarms["alarm"]])
    alarms["decision_conflict"] += decided.contradicted.height
    return {"alarms": alarms.total(), **{f"alarms_{alarm}": count for alarm, count in sorted(alarms.items())}}
