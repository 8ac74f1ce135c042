"""All attacks on one partnership, with fixed seeds."""

from dataclasses import asdict
from typing import Any

from benchmarks.attacks import dictionary, graph, insiders, patterns, rank, releases, sizes
from benchmarks.attacks.people import People, Stored, half_of, make_keys, make_people, store

RECORDS = 20_000
IN_A_GRAPH = 3_000
"""Records whose graphs are matched: the attack compares all with all."""
HELD, OTHERS, HALF, KEYS = 1, 2, 3, 4
"""Seeds: of the people, of others of the same kind, of which half is known, of the keys."""

Results = dict[str, Any]


def attack_dictionary(stored: Stored, *, whole: bool) -> Results:
    """Every construction on the NHS numbers that made-up people may have, and the usual ones on all if ``whole``."""
    targets = dictionary.Targets.of({}, stored)
    sample = dictionary.valid_numbers(dictionary.TEST_BLOCK)
    tried = dictionary.attack(targets, [sample], dictionary.CONSTRUCTIONS)
    control = dictionary.Targets.of({"plain": dictionary.CONSTRUCTIONS[0].digest(sample.head(1_000).to_frame())})
    found = dictionary.attack(control, [sample], dictionary.CONSTRUCTIONS[:1])
    made = {
        "numbers": tried.numbers,
        "constructions": tried.constructions,
        "found": tried.total,
        "under guessable keys": dictionary.attack_whole_scheme(targets, sample, dictionary.guessable_rings()),
        "control found": found.total / 1_000,
    }
    if whole:
        everything = (dictionary.valid_numbers(block) for block in dictionary.BLOCKS)
        all_of_them = dictionary.attack(targets, everything, dictionary.USUAL)
        made["whole"] = {
            "numbers": all_of_them.numbers,
            "constructions": all_of_them.constructions,
            "found": all_of_them.total,
            "minutes": round(all_of_them.seconds / 60, 1),
        }
    return made


def attack_ranks(held: People, stored: Stored, others: People, half: People) -> list[Results]:
    """A line for each match key and set of tokens: the worse of both attackers."""
    lines = []
    for other, known in zip(rank.attack_all(held, stored, others), rank.attack_all(held, stored, half), strict=True):
        worse = max(other, known, key=lambda leak: leak.beyond_guessing)
        lines.append(asdict(worse))
    return lines


def attack_patterns(held: People, stored: Stored, others: People) -> Results:
    """Of each set of filters, and of unsalted filters of surnames."""
    made = {}
    for name, column in patterns.FILTER_SETS:
        rows, bits = patterns.filter_bits(stored.encodings, name)
        made[name] = asdict(patterns.attack(bits, held.normal[column][rows.tolist()], others.normal[column]))
    surnames = held.normal["surname"].drop_nulls()
    plain = patterns.unsalted_filters(surnames, bits=1024, hashes=10, key="00")
    return {"filters": made, "control": asdict(patterns.attack(plain, surnames, others.normal["surname"]))}


def attack_graphs(held: People, stored: Stored) -> Results:
    """By filters, by shared tokens, by sizes, whoever knows all of the clear records; by shared tokens, whoever knows
    those of half of the persons; and the control."""
    known, half = held, half_of(held, HALF)
    return {
        "filters": asdict(graph.attack_filters(held, stored, known)),
        "tokens": asdict(graph.attack_tokens(held, stored, known)),
        "tokens, half known": asdict(graph.attack_tokens(held, stored, half)),
        "sizes": asdict(graph.attack_sizes(held, stored, known)),
        "control": asdict(graph.attack_control(held, known)),
    }


def attack_sizes(held: People, stored: Stored) -> Results:
    """Lengths, what is missing, and all counts."""
    return {
        "lengths": dict(sizes.attack_lengths(held, stored)),
        "control": sizes.control_lengths(held, "surname"),
        "missing": asdict(sizes.attack_missing(held, stored)),
        "counts": asdict(sizes.attack_counts(held, stored)),
    }


def attack_releases(persons: int) -> Results:
    """Two audiences under the same keys, and one audience under others."""
    ring, other = make_keys(KEYS), make_keys(KEYS + 1)
    return {
        "two audiences": asdict(releases.attack(persons, ("council", ring), ("trust", ring))),
        "other keys": asdict(releases.attack(persons, ("council", ring), ("council", other))),
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
        "patterns": attack_patterns(held, stored, others),
        "graphs": attack_graphs(few, store(few, ring)),
        "sizes": attack_sizes(held, stored),
        "with K1": asdict(insiders.attack(held, stored, ring)),
        "releases": attack_releases(records),
        "dictionary": attack_dictionary(stored, whole=whole),
    }
