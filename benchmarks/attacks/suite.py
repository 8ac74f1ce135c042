"""All attacks on one partnership, with fixed seeds."""

from dataclasses import asdict
from typing import Any

import polars as pl

from benchmarks.attacks import dictionary, graph, insiders, patterns, rank, releases, sizes
from benchmarks.attacks.people import (
    People,
    Stored,
    half_among_others,
    half_of,
    make_keys,
    make_people,
    raw_keys,
    store,
)
from pseudonymise.keys import KeyRing
from pseudonymise.publish import publish_ids

RECORDS = 20_000
IN_A_GRAPH = 3_000
"""Records whose graphs are matched: the attack compares all with all."""
PARTNER = "harbour_trust"
"""The partner whose own client numbers are supposed to be NHS numbers."""
HELD, OTHERS, HALF, KEYS = 1, 2, 3, 4
"""Seeds: of the people, of others of the same kind, of which half is known, of the keys."""

Results = dict[str, Any]


def all_targets(held: People, stored: Stored, ring: KeyRing) -> dictionary.Targets:
    """All that the dictionary is held against: what is stored, pseudonyms of the pool, ids of two audiences."""
    numbers = held.normal["nhs_number"].drop_nulls().unique()
    persons = releases.make_person_ids(held.records["person"].n_unique())
    published = {f"ids for the {name}": publish_ids(persons, name, ring) for name in ("council", "trust")}
    return dictionary.Targets.of({**dictionary.pool_of(numbers, PARTNER, ring), **published}, stored)


def attack_dictionary(held: People, stored: Stored, ring: KeyRing, *, whole: bool) -> Results:
    """Every construction on the NHS numbers that made-up people may have, and the usual ones on all if ``whole``."""
    targets = all_targets(held, stored, ring)
    sample = dictionary.valid_numbers(dictionary.TEST_BLOCK)
    tried = dictionary.attack(targets, [sample], dictionary.CONSTRUCTIONS)
    control = dictionary.Targets.of({"plain": dictionary.CONSTRUCTIONS[0].digest(sample.head(1_000).to_frame())})
    found = dictionary.attack(control, [sample], dictionary.CONSTRUCTIONS[:1])
    made = {
        "values": len(targets),
        "numbers": tried.numbers,
        "constructions": tried.constructions,
        "found": tried.total,
        "under guessable keys": dictionary.attack_whole_scheme(targets, sample, PARTNER, dictionary.guessable_rings()),
        "control found": found.total / 1_000,
    }
    if whole:
        everything = (dictionary.valid_numbers(block) for block in dictionary.BLOCKS)
        # Careless hashes of the numbers on file are among them: found they must be, or nothing was tried.
        numbers = held.normal["nhs_number"].drop_nulls().unique().alias("number")
        careless = dictionary.Targets.of({"careless": dictionary.USUAL[0].digest(numbers.to_frame())})
        planted = dictionary.Targets(pl.concat([targets.heads, careless.heads]))
        all_of_them = dictionary.attack(planted, everything, dictionary.USUAL)
        found_careless = sum(count for name, count in all_of_them.hits.items() if name.startswith("careless"))
        made["whole"] = {
            "numbers": all_of_them.numbers,
            "constructions": all_of_them.constructions,
            "found": all_of_them.total - found_careless,
            "control found": found_careless / len(numbers),
            "minutes": round(all_of_them.seconds / 60, 1),
        }
    return made


def attack_ranks(held: People, stored: Stored, others: People, half: People) -> list[Results]:
    """A line for each match key and set of tokens: the worst of those who know others, half of the people, all."""
    got = {
        name: rank.attack_all(held, stored, known)
        for name, known in (("others", others), ("half", half), ("all", held))
    }
    lines = []
    for place in range(len(got["others"])):
        worst = max(got, key=lambda name: got[name][place].beyond_guessing)
        lines.append({**asdict(got[worst][place]), "known": worst})
    return lines


def attack_patterns(held: People, stored: Stored) -> Results:
    """Of each set of filters, and of unsalted filters of surnames, whoever knows how often every name occurs."""
    made = {}
    for name, column in patterns.FILTER_SETS:
        rows, bits = patterns.filter_bits(stored.encodings, name)
        made[name] = asdict(patterns.attack(bits, held.normal[column][rows.tolist()], held.normal[column]))
    surnames = held.normal["surname"].drop_nulls()
    plain = patterns.unsalted_filters(surnames, bits=1024, hashes=10, key="00")
    return {"filters": made, "control": asdict(patterns.attack(plain, surnames, surnames))}


def attack_graphs(held: People, stored: Stored, others: People) -> Results:
    """By filters, by sizes, by shared tokens, and the control: whoever has all of the clear records (``all``), and
    whoever has those of half of the persons among as many others (``half``)."""
    made = {}
    for name, known in (("all", held), ("half", half_among_others(held, others, HALF))):
        made[name] = {
            "filters": asdict(graph.attack_filters(held, stored, known)),
            "sizes": asdict(graph.attack_sizes(held, stored, known)),
            "tokens": asdict(graph.attack_tokens(held, stored, known)),
            "control": asdict(graph.attack_control(held, known)),
        }
    return made


def attack_sizes(held: People, stored: Stored) -> Results:
    """Lengths, what is missing, and all counts."""
    return {
        "lengths": dict(sizes.attack_lengths(held, stored)),
        "control": sizes.control_lengths(held, "surname"),
        "missing": asdict(sizes.attack_missing(held, stored)),
        "counts": asdict(sizes.attack_counts(held, stored)),
    }


def attack_releases(persons: int) -> Results:
    """Two audiences under the same keys, one audience under others, and one audience twice."""
    ring, other = make_keys(KEYS), make_keys(KEYS + 1)
    return {
        "two audiences": asdict(releases.attack(persons, ("council", ring), ("trust", ring))),
        "other keys": asdict(releases.attack(persons, ("council", ring), ("council", other))),
        "two releases": asdict(releases.attack(persons, ("council", ring), ("council", ring))),
    }


def run(*, whole: bool = False, records: int = RECORDS, in_a_graph: int = IN_A_GRAPH) -> Results:
    """Everything, in a few minutes; with ``whole`` the dictionary over the whole space besides."""
    held, others = make_people(records, HELD), make_people(records, OTHERS)
    ring = make_keys(KEYS)
    stored, half = store(held, ring), half_of(held, HALF)
    few = make_people(in_a_graph, HELD)
    return {
        "records": held.height,
        "ranks": attack_ranks(held, stored, others, half),
        "rank controls": [asdict(leak) for leak in rank.attack_controls(held, held, ring)],
        "patterns": attack_patterns(held, stored),
        "graphs": attack_graphs(few, store(few, ring), make_people(in_a_graph, OTHERS)),
        "sizes": attack_sizes(held, stored),
        "with K1": asdict(insiders.attack(held, stored, *raw_keys(KEYS))),
        "releases": attack_releases(records),
        "dictionary": attack_dictionary(held, stored, ring, whole=whole),
    }
