"""A second, independent simulation of a partnership's person records, for measuring linkage.

It shares nothing with the project's synthetic partnership, neither names nor error model, so a choice that was made on
the one can be reported on the other. Names are built from syllables with a skewed distribution; a tenth of the people
belong to a name-dense community. Numbers are valid in form only.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

_KEYS = "abcdefghijklmnopqrstuvwxyz"
PARTNERS = ("north", "south", "east", "west", "upper", "lower")

COLUMNS = (
    *("partner_id", "local_person_id", "nhs_number", "ni_number", "forename", "middle_names", "surname"),
    *("previous_surname", "date_of_birth", "postcode", "phone", "email", "truth_person"),
)


@dataclass(frozen=True)
class Rates:
    """Shares of records with each error."""

    typo: float = 0.04
    short_name: float = 0.04
    swapped_names: float = 0.005
    new_surname: float = 0.04
    previous_given: float = 0.4
    date_typo: float = 0.02
    date_swapped: float = 0.01
    date_missing: float = 0.02
    first_of_january: float = 0.008
    moved: float = 0.15
    postcode_typo: float = 0.02
    postcode_missing: float = 0.05
    nhs_given: float = 0.35
    ni_given: float = 0.3
    phone_given: float = 0.6
    phone_changed: float = 0.2
    email_given: float = 0.4
    email_changed: float = 0.15


def _pool(rng: np.random.Generator, size: int, syllables: int) -> np.ndarray:
    onset = ["b", "br", "c", "ch", "d", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "r", "s", "sh", "st", "t"]
    onset += ["th", "w", "v", "z", "cl", "fr"]
    middle = ["a", "e", "i", "o", "u", "ee", "ai", "ou", "ar", "er", "or", "y"]
    coda = ["", "n", "s", "r", "l", "m", "ck", "tt", "ns", "d", "rd", "son", "ley", "ton"]
    names: set[str] = set()
    while len(names) < size:
        parts = [rng.choice(onset) + rng.choice(middle) for _ in range(int(rng.integers(1, syllables + 1)))]
        names.add("".join(parts) + rng.choice(coda))
    out = np.array(sorted(names), dtype=object)
    rng.shuffle(out)
    return out


def _zipf(rng: np.random.Generator, pool: np.ndarray, n: int, power: float) -> np.ndarray:
    weight = 1.0 / np.arange(4, len(pool) + 4) ** power
    return pool[rng.choice(len(pool), size=n, p=weight / weight.sum())]


def _typo(rng: np.random.Generator, word: str) -> str:
    if len(word) < 3:
        return word
    at, kind = int(rng.integers(0, len(word))), int(rng.integers(0, 4))
    letter = _KEYS[int(rng.integers(0, 26))]
    if kind == 0:
        return word[:at] + letter + word[at + 1 :]
    if kind == 1:
        return word[:at] + letter + word[at:]
    if kind == 2:
        return word[:at] + word[at + 1 :]
    return word[:at] + word[at : at + 2][::-1] + word[at + 2 :]


def _nhs_number(serial: int) -> str | None:
    nine = f"{400_000_000 + serial:09d}"
    check = (11 - sum(int(digit) * (10 - place) for place, digit in enumerate(nine)) % 11) % 11
    return None if check == 10 else f"{nine}{check}"


def simulate(people: int, seed: int, rates: Rates | None = None, *, numbers: bool = True) -> pl.DataFrame:
    """Person rows of six partners with ``truth_person``: columns ``partner_id``, ``local_person_id`` and the
    identifiers by their agreed names, all text. With ``numbers=False`` NHS and NI numbers are blank."""
    rates = rates or Rates()
    rng = np.random.default_rng(seed)
    given, family = _pool(rng, 900, 2), _pool(rng, 6000, 3)
    dense_given, dense_family = _pool(rng, 25, 2), _pool(rng, 12, 2)

    household = np.sort(rng.integers(0, int(people / 2.1), people))
    dense_home = rng.random(household.max() + 1) < 0.1
    dense = dense_home[household]
    first = np.where(dense, _zipf(rng, dense_given, people, 0.6), _zipf(rng, given, people, 0.85))
    home_name = np.where(
        dense_home,
        _zipf(rng, dense_family, household.max() + 1, 0.5),
        _zipf(rng, family, household.max() + 1, 0.8),
    )
    last = np.where(rng.random(people) < 0.85, home_name[household], _zipf(rng, family, people, 0.8))
    second = np.where(rng.random(people) < 0.5, _zipf(rng, given, people, 0.85), None)
    born = rng.integers(0, 365 * 70, people)
    twin = np.flatnonzero((household[1:] == household[:-1]) & (rng.random(people - 1) < 0.03)) + 1
    born[twin] = born[twin - 1]
    last[twin] = last[twin - 1]
    units = [
        f"{area}{int(rng.integers(1, 20))} {int(rng.integers(1, 10))}{a}{b}"
        for area in ("LU", "MK", "PE")
        for a, b in rng.choice(list("ABDEFGHJLNPQRSTUWXYZ"), (max(40, people // 90), 2))
    ]
    home, new_home = rng.integers(0, len(units), household.max() + 1), rng.integers(0, len(units), people)
    home_phone = rng.integers(10**8, 10**9, household.max() + 1)
    own_phone = rng.random(people) < 0.8
    phone = [
        f"07{rng.integers(10**8, 10**9)}" if own_phone[p] else f"01{home_phone[household[p]]}" for p in range(people)
    ]
    nhs = [_nhs_number(int(serial)) for serial in rng.choice(90_000_000, people, replace=False)]
    ni = rng.choice(900_000, people, replace=False) + 100_000
    epoch = date(1942, 1, 1)

    counts = 1 + np.minimum(rng.geometric(0.55, people) - 1, 5)
    rows: list[tuple[str | None, ...]] = []
    for person in range(people):
        for partner in rng.choice(6, counts[person], replace=False):
            u = rng.random(20)
            forename, surname, previous = str(first[person]), str(last[person]), None
            if u[0] < rates.typo:
                forename = _typo(rng, forename)
            if u[1] < rates.typo:
                surname = _typo(rng, surname)
            if u[2] < rates.short_name and len(forename) > 4:
                forename = forename[:4]
            if u[3] < rates.new_surname:
                previous = surname if u[4] < rates.previous_given else None
                surname = str(family[(person * 7919) % len(family)])
            if u[5] < rates.swapped_names:
                forename, surname = surname, forename
            day = epoch + timedelta(days=int(born[person]))
            if u[6] < rates.date_typo:
                day += timedelta(days=int(rng.choice([-3650, -365, -30, -10, -1, 1, 10, 30, 365, 3650])))
            text: str | None = day.isoformat()
            if u[7] < rates.date_swapped and day.day <= 12:
                text = f"{day.year}-{day.day:02d}-{day.month:02d}"
            if u[8] < rates.first_of_january:
                text = f"{day.year}-01-01"
            if u[9] < rates.date_missing:
                text = None
            unit: str | None = units[new_home[person] if u[10] < rates.moved else home[household[person]]]
            if u[11] < rates.postcode_typo:
                unit = unit[:-1] + "ABDEFGHJLNPQRSTUWXYZ"[int(rng.integers(0, 20))]
            if u[12] < rates.postcode_missing:
                unit = None
            number = phone[person] if u[14] >= rates.phone_changed else f"07{rng.integers(10**8, 10**9)}"
            box = f"{first[person]}.{last[person]}{person}@example.org"
            if u[16] < rates.email_changed:
                box = f"new{person}.{partner}@example.org"
            rows.append(
                (
                    PARTNERS[partner],
                    f"{PARTNERS[partner][0]}{len(rows)}",
                    nhs[person] if numbers and u[17] < rates.nhs_given else None,
                    f"AB{ni[person]:06d}A" if numbers and u[18] < rates.ni_given else None,
                    forename,
                    second[person] if u[19] < 0.5 else None,
                    surname,
                    previous,
                    text,
                    unit,
                    number if u[13] < rates.phone_given else None,
                    box if u[15] < rates.email_given else None,
                    str(person),
                )
            )
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
