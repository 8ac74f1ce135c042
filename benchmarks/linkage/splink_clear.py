"""Clear-text linkage by Splink 5, tuned as somebody would who knows it well: the bar for linkage by tokens.

Normalised clear values, a comparison for every identifier that the set has, term frequencies where values are uneven,
u by random sampling, m by expectation maximisation over blocking rules that leave out each comparison in turn, so that
every comparison is trained. Two clusterings of the same scores: connected components, and average linkage after
all pairs inside each component were scored. Pairs of one duplicate-free partner are never candidates.

The threshold is the one that the truth likes best, which nobody has outside a benchmark.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import splink.comparison_level_library as level
from splink import DuckDBAPI, Linker, SettingsCreator, block_on
from splink.blocking_rule_library import CustomRule
from splink.comparison_library import CustomComparison
from splink.internals.blocking_rule_creator import BlockingRuleCreator
from splink.internals.comparison_creator import ComparisonCreator
from splink.internals.comparison_level_creator import ComparisonLevelCreator

from benchmarks.linkage.components import Labels, connect
from benchmarks.linkage.data import RECORD, Data
from benchmarks.linkage.methods import Choices
from benchmarks.linkage.normal import normalise_records

Frame = pl.DataFrame

LOW_PROBABILITIES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4)
"""Thresholds that are tried besides on sets of up to :data:`SMALL` records, where a link is rarely wrong."""
SMALL = 12_000
FEW = 60_000
"""Records up to which equal names alone make a candidate. Beyond, they cost four times as much as all other rules
together at a million records, and win nothing on the partnership (on its rough profile .0009 of F1)."""

LARGE_PROBABILITIES = (0.9, 0.95, 0.98, 0.99, 0.999)
"""The thresholds of sets of more than :data:`LARGE` records, where trying one takes minutes."""
LARGE = 400_000

PROBABILITIES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999)
"""Thresholds that are tried."""

MOST_WEIGHT = 15.0
"""Match weights are cut at this, either way, before a mean is taken: one number in common must not outvote all else."""

MOST_IN_A_COMPONENT = 400
"""Records of a component whose pairs are all scored. A larger one is first taken apart at higher probabilities."""


# --- what is compared -------------------------------------------------------------------------------------------------


def _compare(name: str, *levels: ComparisonLevelCreator | tuple[str, str]) -> CustomComparison:
    """A comparison of levels from the most to the least alike; a pair is a condition in SQL and its name."""
    made: list[ComparisonLevelCreator | dict[str, Any]] = [
        level.CustomLevel(sql_condition=entry[0], label_for_charts=entry[1]) if isinstance(entry, tuple) else entry
        for entry in levels
    ]
    if not isinstance(made[-1], level.ElseLevel):
        made.append(level.ElseLevel())
    return CustomComparison(output_column_name=name, comparison_levels=made)


def _else(probability: float) -> ComparisonLevelCreator:
    """All others, with a known share of the matches."""
    return level.ElseLevel().configure(
        m_probability=probability, u_probability=1.0, fix_m_probability=True, fix_u_probability=True
    )


def _uneven(column: str, weight: float = 1.0) -> ComparisonLevelCreator:
    """Equal, and counting more where the value is rare."""
    return level.ExactMatchLevel(column).configure(tf_adjustment_column=column, tf_adjustment_weight=weight)


def _any_equal(*pairs: tuple[str, str]) -> str:
    return " OR ".join(f"({a}_l = {b}_r OR {b}_l = {a}_r)" for a, b in pairs)


def comparisons(columns: Sequence[str]) -> list[ComparisonCreator | dict[str, Any]]:
    """One for every identifier of which the set has a value."""
    digits = "replace({0}_l, '-', ''), replace({0}_r, '-', '')"
    made = {
        "forename": _compare(
            "forename",
            level.NullLevel("forename"),
            _uneven("forename"),
            ("forename_family_l = forename_family_r", "nickname"),
            ("forename_l = surname_r AND surname_l = forename_r", "forename and surname swapped"),
            level.JaroWinklerLevel("forename", 0.92),
            (_any_equal(("forename", "middle_name"), ("forename", "forename_second")), "another forename"),
            level.JaroWinklerLevel("forename", 0.8),
            ("left(forename_l, 1) = left(forename_r, 1)", "initial"),
        ),
        "surname": _compare(
            "surname",
            level.NullLevel("surname"),
            _uneven("surname"),
            ("forename_l = surname_r AND surname_l = forename_r", "forename and surname swapped"),
            level.JaroWinklerLevel("surname", 0.92),
            (_any_equal(("surname", "previous_surname")), "earlier surname"),
            (
                _any_equal(("surname", "surname_first_part"), ("surname", "surname_last_part")),
                "part of a double surname",
            ),
            level.JaroWinklerLevel("surname", 0.8),
        ),
        "middle_name": _compare(
            "middle_name",
            level.NullLevel("middle_name"),
            _uneven("middle_name"),
            level.JaroWinklerLevel("middle_name", 0.9),
        ),
        "born": _compare(
            "born",
            level.NullLevel("born"),
            _uneven("born"),
            (
                "left(born_l, 4) = left(born_r, 4) AND substr(born_l, 6, 2) = substr(born_r, 9, 2)"
                " AND substr(born_l, 9, 2) = substr(born_r, 6, 2)",
                "day and month swapped",
            ),
            (f"damerau_levenshtein({digits.format('born')}) <= 1", "one slip of the hand"),
            (
                "left(born_l, 4) = left(born_r, 4) AND (right(born_l, 5) = '01-01' OR right(born_r, 5) = '01-01')",
                "year, and 1 January on one side",
            ),
            (
                "right(born_l, 5) = right(born_r, 5) OR left(born_l, 7) = left(born_r, 7)"
                " OR left(born_l, 4) || right(born_l, 2) = left(born_r, 4) || right(born_r, 2)",
                "two parts of three",
            ),
            (f"damerau_levenshtein({digits.format('born')}) <= 2", "two slips"),
            ("left(born_l, 4) = left(born_r, 4)", "year"),
        ),
        "sex": _compare("sex", level.NullLevel("sex"), level.ExactMatchLevel("sex")),
        "postcode": _compare(
            "postcode",
            level.NullLevel("postcode"),
            _uneven("postcode"),
            level.DamerauLevenshteinLevel("postcode", 1),
            ("postcode_sector_l = postcode_sector_r", "sector"),
            ("left(postcode_l, length(postcode_l) - 3) = left(postcode_r, length(postcode_r) - 3)", "district"),
        ),
        **{
            number: _compare(
                number,
                level.NullLevel(number),
                level.ExactMatchLevel(number).configure(
                    m_probability=1 - slip - other, u_probability=1e-7, fix_m_probability=True, fix_u_probability=True
                ),
                level.DamerauLevenshteinLevel(number, 1).configure(
                    m_probability=slip, u_probability=1e-6, fix_m_probability=True, fix_u_probability=True
                ),
                _else(other),
            )
            # A person has one number, so chance agreement and chance slips are known without data. A slip in a NHS
            # number fails its check digit in ten cases of eleven, and is missing here.
            for number, slip, other in (("nhs_number", 0.001, 0.001), ("ni_number", 0.008, 0.002))
        },
        "phone": _compare("phone", level.NullLevel("phone"), _uneven("phone")),
        "email": _compare(
            "email", level.NullLevel("email"), _uneven("email"), level.DamerauLevenshteinLevel("email", 1)
        ),
        "street_number": _compare(
            "street_number",
            level.NullLevel("street_number"),
            level.ExactMatchLevel("street_number"),
            level.DamerauLevenshteinLevel("street_number", 1),
        ),
        **{
            part: _compare(
                part,
                level.NullLevel(part),
                _uneven(part),
                level.JaroWinklerLevel(part, 0.9),
                level.JaroWinklerLevel(part, 0.75),
            )
            for part in ("address_1", "address_2", "suburb")
        },
        "state": _compare("state", level.NullLevel("state"), level.ExactMatchLevel("state")),
    }
    return [comparison for name, comparison in made.items() if name in columns]


def blocking_rules(
    columns: Sequence[str], same_person_twice: str, *, few: bool
) -> list[BlockingRuleCreator | dict[str, Any]]:
    """Candidates: broad, each rule standing a damage to another part of the record."""
    wanted = (
        ("nhs_number",),
        ("ni_number",),
        ("email",),
        ("phone",),
        ("born", "forename_start"),
        ("born", "surname_start"),
        ("born", "postcode_district"),
        ("born_sorted", "forename_start"),
        # Names alone are candidates where they are few: their pairs grow with the square of the records.
        *((("forename_family", "surname"), ("name_low", "name_high")) if few else ()),
        ("name_low", "name_high", "birth_year"),
        ("name_low", "name_high", "postcode_district"),
        ("forename_family", "surname", "postcode_district"),
        ("surname", "postcode_sector", "birth_year"),
        ("forename_start", "surname_start", "postcode_sector"),
        ("forename_start", "postcode", "birth_year"),
        ("forename_family", "postcode"),
        ("surname", "postcode"),
        ("forename_start", "surname_start", "birth_year"),
        ("forename_start", "surname_start", "birth_month_day"),
        ("forename_sound", "surname_sound", "birth_year"),
        ("forename", "previous_surname", "birth_year"),
        ("forename", "birth_month_day", "postcode_district"),
        ("street_number", "address_1"),
        ("address_1", "birth_year"),
        ("address_1", "suburb"),
        ("suburb", "forename_start", "street_number"),
        ("suburb", "surname_start", "street_number"),
        ("born", "street_number"),
    )
    derived = {
        **dict.fromkeys(("forename_start", "forename_family", "forename_sound"), "forename"),
        **dict.fromkeys(("surname_start", "surname_sound", "previous_surname"), "surname"),
        **dict.fromkeys(("born_sorted", "birth_year", "birth_month_day"), "born"),
        **dict.fromkeys(("postcode_sector", "postcode_district"), "postcode"),
        **{"name_low": "forename", "name_high": "surname"},
    }
    rules: list[BlockingRuleCreator | dict[str, Any]] = []
    for parts in wanted:
        if all(derived.get(part, part) in columns for part in parts):
            equal = " AND ".join(f"l.{part} = r.{part}" for part in parts)
            rules.append(CustomRule(f"{equal} AND NOT ({same_person_twice})" if same_person_twice else equal))
    return rules


def training_rules(columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Rules of expectation maximisation; between them every comparison is left free.

    Pairs that agree on a thing that one person has are nearly all matches, and estimates from them are not spoilt by
    households and twins; where a set has no such thing, looser rules have to do.
    """
    telling = [(name,) for name in ("email", "nhs_number", "ni_number") if name in columns]
    if telling:
        return [*telling, ("name_low", "name_high", "born")]
    return [("forename", "surname"), ("born",), ("postcode", "forename_start")]


def prepare(data: Data) -> tuple[Frame, list[str]]:
    """The table for Splink, and the compared columns of which the set has a value.

    A date of birth keeps what the normal form drops: 1 January and days that are none, since the comparison is by
    characters and by frequency.
    """
    records, normal = data.records, normalise_records(data)
    typed = pl.col("date_of_birth").str.strip_chars()
    born = records.select(
        born=pl.when(typed.str.contains(r"^\d{8}$"))
        .then(pl.concat_str(typed.str.slice(0, 4), typed.str.slice(4, 2), typed.str.slice(6, 2), separator="-"))
        .otherwise(typed)
    )["born"]
    table = normal.with_columns(
        born=born,
        unique_id=pl.int_range(pl.len(), dtype=pl.Int64),
        partner_id=records["partner_id"],
        **{part: records[part] for part in data.address_parts},
    ).with_columns(
        born_sorted=pl.concat_str(
            pl.col("born").str.slice(0, 4),
            pl.min_horizontal(pl.col("born").str.slice(5, 2), pl.col("born").str.slice(8, 2)),
            pl.max_horizontal(pl.col("born").str.slice(5, 2), pl.col("born").str.slice(8, 2)),
        ),
        birth_year=pl.col("born").str.slice(0, 4),
        birth_month_day=pl.col("born").str.slice(5),
        postcode_district=pl.col("postcode").str.head(-3),
    )
    compared = (
        *("forename", "surname", "middle_name", "born", "sex", "postcode", "nhs_number", "ni_number", "phone", "email"),
        *data.address_parts,
    )
    return table, [name for name in compared if table[name].n_unique() > 2]


# --- the linkage ------------------------------------------------------------------------------------------------------


class ClearTextSplink:
    """A trained model and its scores."""

    def __init__(self, data: Data, *, seed: int = 1, u_pairs: float = 2e6, threads: int = 2) -> None:
        self.data = data
        table, columns = prepare(data)
        connection = duckdb.connect(config={"threads": threads})
        self.database = DuckDBAPI(connection)
        self.count = table.height
        self.probabilities: tuple[float, ...] = PROBABILITIES
        if self.count <= SMALL:
            self.probabilities = (*LOW_PROBABILITIES, *PROBABILITIES)
        elif self.count > LARGE:
            self.probabilities = LARGE_PROBABILITIES
        vouching = ", ".join(f"'{partner}'" for partner in data.duplicate_free)
        twice = f"l.partner_id = r.partner_id AND l.partner_id IN ({vouching})" if vouching else ""
        self.vouching = np.isin(table["partner_id"].to_numpy(), data.duplicate_free)
        self.partner = table["partner_id"].rank("dense").to_numpy()
        settings = SettingsCreator(
            link_type="dedupe_only",
            comparisons=comparisons(columns),
            blocking_rules_to_generate_predictions=blocking_rules(columns, twice, few=self.count <= FEW),
            retain_matching_columns=False,
            max_iterations=25,
            em_convergence=0.001,
            # People have about two records: the prior is one expected partner for every record.
            probability_two_random_records_match=min(0.01, 1.0 / max(table.height, 2)),
        )
        logging.getLogger("splink").setLevel(logging.ERROR)
        self.table = table.to_arrow()
        self.linker = Linker(self.database.register(self.table), settings, log_level=None)
        training = self.linker.training
        training.estimate_u_using_random_sampling(max_pairs=u_pairs, seed=seed)
        for rule in training_rules(columns):
            training.estimate_parameters_using_expectation_maximisation(
                block_on(*rule), estimate_without_term_frequencies=True, max_pairs=2e6
            )
        predicted = self.linker.inference.predict(
            threshold_match_probability=self.probabilities[0], warning_mode="never"
        )
        self.pairs = self._collect(predicted)
        predicted.drop_table_from_database_and_remove_from_cache()

    def _collect(self, predicted: object) -> Frame:
        """``left``, ``right``, ``probability`` of a table of scores."""
        name = predicted.physical_name  # type: ignore[attr-defined]
        found = self.database.duckdb_con.sql(
            f'SELECT unique_id_l AS "left", unique_id_r AS "right", match_probability AS probability FROM {name}'
        )
        return found.pl()

    def choices(self) -> Choices:
        """Both clusterings at every threshold."""
        made: dict[tuple[str, str], Callable[[], Frame]] = {}
        for probability in self.probabilities:
            setting = f"p >= {probability}"
            made["components", setting] = partial(self._named, self.components, probability)
            made["average", f"weights, {setting}"] = partial(self._named, self.average, probability)
            made["average", f"probabilities, {setting}"] = partial(
                self._named, partial(self.average, of_weights=False), probability
            )
        return Choices(made)

    def _named(self, cluster: Callable[[float], Labels], probability: float) -> Frame:
        return self.data.rows.select(*RECORD, cluster=pl.Series(cluster(probability), dtype=pl.Int64))

    def components(self, probability: float) -> Labels:
        """A label for each record."""
        return connect(self.count, self.pairs.filter(pl.col("probability") >= probability))

    def average(self, probability: float, *, of_weights: bool = True) -> Labels:
        """Average linkage inside components, with every pair in them scored: the mean is that of match weights (better
        on partnerships) or of probabilities (better on FEBRL's single, badly typed file)."""
        label = connect(self.count, self.pairs.filter(pl.col("probability") >= probability))
        sizes = np.bincount(label, minlength=self.count)
        step = probability
        while sizes.max() > MOST_IN_A_COMPONENT and step < 1 - 1e-9:
            # Pairs of so large a component grow with the square; only its strongest links make it up.
            step = 1 - (1 - step) / 4
            large = sizes[label] > MOST_IN_A_COMPONENT
            inside = self.pairs.filter(
                pl.Series(large[self.pairs["left"].to_numpy()]) & (pl.col("probability") >= step)
                | pl.Series(~large[self.pairs["left"].to_numpy()]) & (pl.col("probability") >= probability)
            )
            label = connect(self.count, inside)
            sizes = np.bincount(label, minlength=self.count)
        open_records = np.flatnonzero(sizes[label] > 2)
        if not len(open_records):
            return label
        pairs = self._score_inside(label, open_records)
        if not of_weights:
            return average_linkage(label, open_records, pairs.rename({"probability": "score"}), probability, absent=0.0)
        weight = (pl.col("probability") / (1 - pl.col("probability"))).log(2).clip(-MOST_WEIGHT, MOST_WEIGHT)
        least = float(np.log2(probability / (1 - probability)))
        return average_linkage(label, open_records, pairs.with_columns(score=weight), least, absent=-MOST_WEIGHT)

    def _score_inside(self, label: Labels, records: Labels) -> Frame:
        part = self.table.take(records).append_column("component", [label[records]])
        inside = self.database.register(part)
        scored = self.linker.inference.predict_within(
            inside, blocking_rules_to_generate_predictions=[block_on("component")], warning_mode="never"
        )
        pairs = self._collect(scored)
        scored.drop_table_from_database_and_remove_from_cache()
        left, right = pairs["left"].to_numpy(), pairs["right"].to_numpy()
        forbidden = (self.partner[left] == self.partner[right]) & self.vouching[left]
        return pairs.with_columns(probability=pl.when(pl.Series(forbidden)).then(0.0).otherwise("probability"))


def average_linkage(label: Labels, records: Labels, pairs: Frame, least: float, *, absent: float) -> Labels:
    """Splits components: clusters join from the highest mean score across them down to ``least``.

    ``label`` is the component of every record, ``records`` are those of components of more than two, and ``pairs``
    (``left``, ``right``, ``score``) has every pair inside them; one that is not there counts as ``absent``.
    """
    out = label.copy()
    out[records] = records
    place = np.empty(len(label), dtype=np.int64)
    members: dict[int, Labels] = {}
    for (component,), group in pl.DataFrame({"component": label[records], "record": records}).group_by("component"):
        inside = np.sort(group["record"].to_numpy())
        place[inside] = np.arange(len(inside))
        members[int(component)] = inside
    pairs = pairs.with_columns(component=pl.Series(label[pairs["left"].to_numpy()])).sort("component")
    left, right, score = (pairs[name].to_numpy() for name in ("left", "right", "score"))
    components = pairs["component"].to_numpy()
    begin = 0
    for count in pairs["component"].rle().struct.field("len"):
        end = begin + count
        inside = members[int(components[begin])]
        if count == len(inside) * (len(inside) - 1) // 2 and score[begin:end].min() >= least:
            out[inside] = inside[0]
        else:
            mean = np.full((len(inside), len(inside)), absent)
            a, b = place[left[begin:end]], place[right[begin:end]]
            mean[a, b] = mean[b, a] = score[begin:end]
            out[inside] = inside[_merge(mean, least)]
        begin = end
    return out


def _merge(mean: npt.NDArray[np.float64], least: float) -> Labels:
    """Average linkage of one component, from the scores of its pairs: the first record of each one's cluster."""
    n = len(mean)
    size, owner = np.ones(n), np.arange(n)
    np.fill_diagonal(mean, -np.inf)
    while True:
        a, b = divmod(int(mean.argmax()), n)
        if mean[a, b] < least:
            return owner
        joined = (mean[a] * size[a] + mean[b] * size[b]) / (size[a] + size[b])
        size[a] += size[b]
        mean[a], mean[:, a] = joined, joined
        mean[b], mean[:, b] = -np.inf, -np.inf
        mean[a, a] = -np.inf
        owner[owner == b] = a


def link(data: Data) -> Choices:
    """The method of the benchmark."""
    return ClearTextSplink(data).choices()
