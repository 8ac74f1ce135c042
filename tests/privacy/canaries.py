"""Looking for planted values in everything that a run leaves behind."""

import base64
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tests.integration.pipeline.world import World

NOT_SEARCHED = ("inbox", "secrets")
"""The partner's own drops, and the files that hold keys and passwords on purpose."""


def forms(canary: str) -> dict[str, bytes]:
    """How a value could be written: as it is, with other spaces, quoted, or encoded. All in lower case."""
    spaceless = re.sub(r"[\s/-]+", "", canary)
    texts = {"plain": canary, "without spaces": spaceless, "quoted for an address": urllib.parse.quote(canary)}
    found = {name: text.lower().encode() for name, text in texts.items()}
    for name, text in (("", canary), (" in capitals", canary.upper()), (" in small letters", canary.lower())):
        raw = text.encode()
        found[f"hex{name}"] = raw.hex().encode()
        # Where a value starts within base64 is one of three places; these letters stand for it whole in each of them.
        for lead in range(3):
            encoded = base64.b64encode(b"\0" * lead + raw).decode().rstrip("=")
            found[f"base64{name}, {lead}"] = encoded[-(-lead * 8 // 6) : len(encoded) - 1].lower().encode()
    found["utf-16"] = canary.lower().encode("utf-16-le")
    return {name: form for name, form in found.items() if len(form) >= 5}


@dataclass
class Search:
    """Places and what stands in them; says where a canary is."""

    places: dict[str, bytes] = field(default_factory=dict)

    def add(self, place: str, content: bytes | str) -> None:
        """Add a place. A Parquet file is added by its cells as well, since it is compressed."""
        raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        self.places[place] = raw.lower()

    def add_home(self, home: Path) -> None:
        """Every file below a home, and every name."""
        for path in sorted(home.rglob("*")):
            relative = path.relative_to(home)
            if relative.parts[0] in NOT_SEARCHED:
                continue
            self.add(f"name of {len(self.places)}", str(relative))
            if path.is_file() and not path.is_symlink():
                self.add(str(relative), path.read_bytes())
                if path.suffix == ".parquet":
                    frame = pl.read_parquet(path)
                    self.add(f"cells of {relative}", "\n".join(map(str, [frame.columns, *frame.iter_rows()])))

    def add_database(self, world: World) -> None:
        """Every row of every table of every schema, with the names and comments of the tables."""
        for relation in world.relations():
            rows = world.query(f"select row_to_json(t)::text from {relation} t")
            self.add(relation, "\n".join(row for (row,) in rows))
        described = world.query(
            "select c.relname || ' ' || coalesce(obj_description(c.oid), '') from pg_class c"
            " union all select a.attname || ' ' || coalesce(col_description(a.attrelid, a.attnum), '')"
            " from pg_attribute a"
        )
        self.add("names and comments", "\n".join(text for (text,) in described if text))

    def holds(self, canary: str) -> bool:
        """Whether a canary stands anywhere as it is."""
        return any(canary.lower().encode() in content for content in self.places.values())

    def find(self, canaries: Mapping[str, str]) -> list[str]:
        """Where each canary is found: ``<what was planted> as <form> in <place>``."""
        return list(self._find(canaries))

    def _find(self, canaries: Mapping[str, str]) -> Iterator[str]:
        everything = b"\0\0".join(self.places.values())
        for planted, canary in canaries.items():
            for form, wanted in forms(canary).items():
                if wanted not in everything:
                    continue
                for place, content in self.places.items():
                    if wanted in content:
                        yield f"{planted} as {form} in {place}"

    def find_bytes(self, secrets: Iterable[bytes]) -> list[str]:
        """Where any of these bytes is found, plain, as hex or as base64."""
        found = []
        for secret in secrets:
            wanted = (secret.lower(), secret.hex().encode(), base64.b64encode(secret).lower()[:-4])
            found += [place for place, content in self.places.items() if any(form in content for form in wanted)]
        return found
