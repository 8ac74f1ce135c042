"""Similar pairs by clkhash and anonlink: ``clk.py RECORDS.csv BLOCKS.csv SCHEMA.json PAIRS.csv LEAST_SIMILARITY``.

RECORDS has the cells of the schema's fields, a record a row. BLOCKS has a ``block`` and a ``record`` a row, sorted by
block: records are compared inside their blocks by anonlink's Dice coefficient. PAIRS gets ``left,right,similarity``.
"""

import csv
import json
import sys
from itertools import groupby
from pathlib import Path

import anonlink
import clkhash.clk
import clkhash.schema


def main() -> None:
    """Hash all records, compare those that share a block."""
    records, blocks, schema, pairs, least = (*map(Path, sys.argv[1:5]), float(sys.argv[5]))
    with records.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    filters = clkhash.clk.generate_clks(
        rows, clkhash.schema.from_json_dict(json.loads(schema.read_text())), "a secret", validate=False
    )
    del rows
    found: dict[tuple[int, int], float] = {}
    with blocks.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        next(lines)
        for _, group in groupby(lines, key=lambda line: line[0]):
            members = [int(line[1]) for line in group]
            inside = [filters[member] for member in members]
            similar, (first, second) = anonlink.similarities.dice_coefficient((inside, inside), least)
            for similarity, a, b in zip(similar, first, second, strict=True):
                if members[a] < members[b]:
                    found[members[a], members[b]] = similarity
    with pairs.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["left", "right", "similarity"])
        out.writerows((a, b, round(similarity, 6)) for (a, b), similarity in found.items())


if __name__ == "__main__":
    main()
