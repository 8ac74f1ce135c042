"""The ways of linking that are put side by side, by name.

A method is a function from a :class:`benchmarks.linkage.data.Data` to found clusters: a frame with ``partner_id``,
``person_ref`` and ``cluster``, where a record that is not there is alone. A peer whose threshold is chosen gives
:class:`Choices` instead, one way to cluster for each of its settings, and the report takes the setting that the truth
likes best: that is said in the table, since nobody has the truth outside a benchmark.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from benchmarks.linkage.data import Data


@dataclass(frozen=True)
class Choices:
    """What was scored once and can be clustered in several ways: (variant, setting) -> how to make the clusters.

    Each variant is a line of the report, at the best of its settings.
    """

    clusterings: Mapping[tuple[str, str], Callable[[], pl.DataFrame]]


Link = Callable[[Data], "pl.DataFrame | Choices"]


@dataclass(frozen=True)
class Method:
    """One way of linking."""

    name: str
    function: str
    """``module:function``. The module is imported in the process that runs it, and nowhere else."""
    about: str
    needs_peers: bool = False
    """Runs (in part) in the environment that ``make linkage-peers`` sets up."""

    def load(self) -> Link:
        """The function."""
        module, name = self.function.split(":")
        link: Link = getattr(importlib.import_module(module), name)
        return link


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "one-hmac",
            "benchmarks.linkage.keys:link_by_one_hash",
            "one keyed hash of forename, surname, date of birth and postcode",
        ),
        Method("6-keys", "benchmarks.linkage.keys:link_by_six_keys", "6 classical match keys, connected components"),
        Method(
            "15-keys", "benchmarks.linkage.keys:link_by_fifteen_keys", "15 classical match keys, connected components"
        ),
        Method("ours", "benchmarks.linkage.ours:link", "Linkarms: tokens, vetoes, constrained clusters; no truth used"),
        Method(
            "splink-clear",
            "benchmarks.linkage.splink_clear:link",
            "Splink 5 on clear text, tuned; connected components, and average linkage",
        ),
        Method("clk", "benchmarks.linkage.clk:link", "clkhash and anonlink: Bloom filters of whole records", True),
        Method("opprl", "benchmarks.linkage.opprl:link", "OPPRL 2 by spindle-token on Spark", True),
    )
}

BAR = "splink-clear, average"
"""The line that costs are told as a ratio to."""
