"""True people: who they are, whom they live with, and what changes in their lives. No partner has seen them yet.

Numbers and addresses can hit nobody: NHS numbers are from the range that is kept for tests (999), NI numbers begin
with letters that were never given out as a prefix, telephone numbers are those that Ofcom keeps for drama, and e-mail
addresses end in ``example.org`` or ``example.net``.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date

import numpy as np

from protocol.model import Agreement
from synthetic.draws import Draws, Flags, Floats, Integers, Texts, as_day
from synthetic.names import ORIGINS, NamePool, build_name_pools
from synthetic.profile import ErrorProfile

NEVER = as_day(date(9999, 12, 31))
"""The day of something that does not happen."""

YEAR = 365

MOST_PEOPLE = 900_000
"""As many as the NHS numbers kept for tests can tell apart."""

POSTCODE_AREAS = ("LU", "MK", "SG", "AL", "HP", "NN", "WD", "EN")
POSTCODE_LETTERS = "ABDEFGHJLNPQRSTUWXYZ"

DRAMA_NUMBERS = (
    *("07700900", "01134960", "01144960", "01154960", "01164960", "01174960", "01184960", "01214960", "01314960"),
    *("01414960", "01514960", "01614960", "02079460", "01914980", "02896496", "02920180", "01632960"),
)
"""Beginnings of the numbers that Ofcom keeps for drama; three digits follow each."""

NI_PREFIXES = ("XX", "XY", "XZ", "ZZ", "MW")
"""Never given to a person as the prefix of a NI number; the first that the agreement's pattern admits is used."""


@dataclass(frozen=True)
class People:
    """True people, one position each in arrays of equal length. Dates are days since 1970-01-01."""

    household: Integers
    origin: Integers
    """Position in :data:`synthetic.names.ORIGINS`."""
    female: Flags
    forename: Texts
    middle_names: Texts
    surname: Texts
    later_surname: Texts
    married_on: Integers
    birth: Integers
    ethnic_group: Texts
    postcode: Texts
    later_postcode: Texts
    moved_on: Integers
    nhs_number: Texts
    ni_number: Texts
    phone: Texts
    email: Texts
    died_on: Integers
    do_not_link: Flags

    def __len__(self) -> int:
        return len(self.household)


def make_people(
    agreement: Agreement, *, seed: int, people: int, profile: ErrorProfile, first_day: int, last_day: int
) -> People:
    """The true people of a partnership.

    :param first_day: the first day of the first period, in days since 1970-01-01; ages are counted from it.
    :param last_day: the last day of the last period; nobody's life changes after it.
    :raises ValueError: fewer people than 1, or more than there are numbers to tell them apart.
    """
    if not 1 <= people <= MOST_PEOPLE:
        raise ValueError(f"the number of people has to be from 1 to {MOST_PEOPLE}")
    household, place = _form_households(Draws(seed, "households"), people, profile)
    origin = _origins(Draws(seed, "origins"), household)
    draws = Draws(seed, "births")
    birth, twin = _births(draws, household, place, profile, first_day)
    female = _sexes(Draws(seed, "sexes"), place)
    pools = build_name_pools(seed)
    forename, middle_names, surname, later_surname = _names(
        Draws(seed, "given names"), pools, household, place, origin, female, twin, profile
    )
    married_on = _days_of_change(
        Draws(seed, "marriages"), female & (birth < first_day - 18 * YEAR), profile.marries_a_year, first_day, last_day
    )
    streets = _postcodes(Draws(seed, "streets"), max(20, people * profile.streets_per_thousand // 1000))
    postcode, later_postcode, moved_on = _addresses(
        Draws(seed, "addresses"), streets, household, origin, profile, first_day, last_day
    )
    died_on = _days_of_change(
        Draws(seed, "deaths"), np.ones(people, dtype=np.bool_), profile.dies_a_year, first_day, last_day
    )
    return People(
        household=household,
        origin=origin,
        female=female,
        forename=forename,
        middle_names=middle_names,
        surname=surname,
        later_surname=later_surname,
        married_on=married_on,
        birth=birth,
        ethnic_group=_ethnic_groups(agreement)[origin],
        postcode=postcode,
        later_postcode=later_postcode,
        moved_on=moved_on,
        nhs_number=_nhs_numbers(Draws(seed, "nhs numbers"), people),
        ni_number=_ni_numbers(Draws(seed, "ni numbers"), people, _ni_prefix(agreement)),
        phone=_phones(Draws(seed, "phones"), household, place),
        email=_emails(Draws(seed, "emails"), forename, surname),
        died_on=died_on,
        do_not_link=Draws(seed, "do not link").chance(profile.do_not_link, people),
    )


def check_nhs_number(number: str) -> bool:
    """True where ten digits carry the right check digit (modulus 11: weights 10 to 2, 11 less the remainder)."""
    if len(number) != 10 or not number.isdigit():
        return False
    remainder = sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1), strict=False)) % 11
    return (11 - remainder) % 11 == int(number[9])


def _form_households(draws: Draws, people: int, profile: ErrorProfile) -> tuple[Integers, Integers]:
    """Number of the household and place in it, for each person."""
    shared = profile.in_household
    sizes = 1 + draws.positions([1 - shared, shared * 0.45, shared * 0.27, shared * 0.2, shared * 0.08], people)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    household = np.repeat(np.arange(people), sizes)[:people]
    place = np.arange(people) - np.repeat(starts, sizes)[:people]
    return household.astype(np.int64), place.astype(np.int64)


def _origins(draws: Draws, household: Integers) -> Integers:
    """Origin of each person: the household's, now and then another."""
    n = len(household)
    weights = [origin.share for origin in ORIGINS]
    own = draws.positions(weights, n)
    other = draws.positions(weights, n)
    return np.where(draws.chance(0.06, n), other, own[household])


def _births(
    draws: Draws, household: Integers, place: Integers, profile: ErrorProfile, first_day: int
) -> tuple[Integers, Flags]:
    """Dates of birth, and who is the twin of the person before."""
    n = len(household)
    age_groups = draws.positions([0.34, 0.27, 0.18, 0.13, 0.08], n)
    low = np.array([16, 25, 35, 45, 55])[age_groups] * YEAR
    high = np.array([25, 35, 45, 55, 68])[age_groups] * YEAR - 1
    adult = first_day - draws.integers(low, high, n)
    head = np.maximum.accumulate(np.where(place == 0, np.arange(n), 0))
    near = adult[head] + draws.integers(-7 * YEAR, 7 * YEAR, n)
    child = adult[head] + draws.integers(18 * YEAR, 37 * YEAR, n)
    youngest = first_day - 11 * YEAR
    sibling = np.minimum(near, youngest)
    birth = np.select([place == 0, place == 1], [adult, sibling], np.where(child <= youngest, child, sibling))
    may_be = draws.chance(profile.twins, n) & (place >= 2)
    may_be[1:] &= place[:-1] >= 1
    twin = may_be.copy()
    twin[1:] &= ~may_be[:-1]
    birth[twin] = birth[np.flatnonzero(twin) - 1]
    return birth.astype(np.int64), twin


def _sexes(draws: Draws, place: Integers) -> Flags:
    """True for female. Couples are mostly of two sexes."""
    n = len(place)
    female = draws.chance(0.5, n)
    other = draws.chance(0.92, n) & (place == 1)
    female[other] = ~female[np.flatnonzero(other) - 1]
    return female


def _names(
    draws: Draws,
    pools: tuple[NamePool, ...],
    household: Integers,
    place: Integers,
    origin: Integers,
    female: Flags,
    twin: Flags,
    profile: ErrorProfile,
) -> tuple[Texts, Texts, Texts, Texts]:
    """Forename, middle names, surname, and the surname after a marriage."""
    n = len(household)
    head = np.maximum.accumulate(np.where(place == 0, np.arange(n), 0))
    first, middle, own, later = draws.uniform(n), draws.uniform(n), draws.uniform(n), draws.uniform(n)
    has_middle = draws.chance(0.55, n)
    family = (place == 0) | ~draws.chance(0.2, n)
    family &= origin == origin[head]
    kin = np.where(family, own[head], own)
    double = draws.chance(0.15, n)
    like = draws.chance(profile.twin_with_like_name, n)

    forename = np.empty(n, dtype=object)
    middle_names = np.empty(n, dtype=object)
    surname = np.empty(n, dtype=object)
    later_surname = np.empty(n, dtype=object)
    for number, pool in enumerate(pools):
        for is_female in (True, False):
            who = np.flatnonzero((origin == number) & (female == is_female))
            given = pool.female if is_female else pool.male
            last = pool.female_surnames if is_female else pool.surnames
            forename[who] = _at(given, first[who])
            middle_names[who] = _at(given, middle[who])
            surname[who] = _at(last, kin[who])
            later_surname[who] = _at(last, later[who])
    middle_names[~has_middle] = None
    for second in np.flatnonzero(twin).tolist():
        before = forename[second - 1]
        pool = pools[int(origin[second])]
        given = pool.female if female[second] else pool.male
        others = [name for name in dict.fromkeys(given) if name != before]
        alike = [name for name in others if name[0] == before[0]]
        choice = alike if like[second] and alike else others
        forename[second] = choice[int(first[second] * len(choice))]
    for person in np.flatnonzero(double):
        if " " not in surname[person] and " " not in later_surname[person]:
            later_surname[person] = f"{surname[person]}-{later_surname[person]}"
    return forename, middle_names, surname, later_surname


def _at(pool: Texts, share: Floats) -> Texts:
    return pool[np.floor(share * len(pool)).astype(np.int64)]


def _days_of_change(draws: Draws, who: Flags, a_year: float, first_day: int, last_day: int) -> Integers:
    """The day of something that befalls ``a_year`` of them in a year, from a year before the first period."""
    n = len(who)
    begins = first_day - YEAR
    happens = draws.chance(min(1.0, a_year * (last_day - begins) / YEAR), n) & who
    return np.where(happens, draws.integers(begins, last_day, n), NEVER)


def _addresses(
    draws: Draws,
    streets: Texts,
    household: Integers,
    origin: Integers,
    profile: ErrorProfile,
    first_day: int,
    last_day: int,
) -> tuple[Texts, Texts, Integers]:
    """Postcode, postcode after a move, and day of the move; a household moves together.

    Each origin has streets where it lives close together: a third of all, more in the first of them.
    """
    n = len(household)
    before, after = draws.uniform(n), draws.uniform(n)
    home = (origin * len(streets)) // len(ORIGINS)
    reach = np.where(origin == 0, 1.0, 0.35)
    own = (home + np.floor(before * before * reach * len(streets)).astype(np.int64)) % len(streets)
    new = (home + np.floor(after * reach * len(streets)).astype(np.int64)) % len(streets)
    moved = _days_of_change(draws, np.ones(n, dtype=np.bool_), profile.moves_a_year, first_day, last_day)
    return streets[own[household]], streets[new[household]], moved[household]


def _postcodes(draws: Draws, count: int) -> Texts:
    """So many different postcodes of the same few areas."""
    letters = len(POSTCODE_LETTERS)
    in_area = 7 * 10 * letters * letters
    areas = max(1, -(-count // in_area)) if count > in_area else 1
    if areas > len(POSTCODE_AREAS):
        raise ValueError("there are not so many made-up postcodes")
    total = areas * in_area
    number = _scatter(draws, count, total)
    area, rest = np.divmod(number, in_area)
    district, rest = np.divmod(rest, 10 * letters * letters)
    sector, rest = np.divmod(rest, letters * letters)
    first, second = np.divmod(rest, letters)
    return np.array(
        [
            f"{POSTCODE_AREAS[a]}{d + 1} {s}{POSTCODE_LETTERS[x]}{POSTCODE_LETTERS[y]}"
            for a, d, s, x, y in zip(area, district, sector, first, second, strict=True)
        ],
        dtype=object,
    )


def _scatter(draws: Draws, count: int, total: int) -> Integers:
    """``count`` different numbers below ``total``, spread over it (a walk whose step has no factor in common)."""
    start, step = (int(value) for value in draws.integers(total // 5, total - 1, 2))
    while np.gcd(step, total) != 1:
        step += 1
    return (start + np.arange(count, dtype=np.int64) * (step % total)) % total


def _nhs_numbers(draws: Draws, people: int) -> Texts:
    """Valid numbers of the range 999 000 0000 to 999 999 9999, all different."""
    middle = _scatter(draws, min(1_000_000, people + people // 8 + 200), 1_000_000)
    total = np.full(len(middle), 9 * (10 + 9 + 8), dtype=np.int64)
    rest = middle.copy()
    for weight in range(2, 8):
        rest, digit = np.divmod(rest, 10)
        total += digit * weight
    check = (11 - total % 11) % 11
    usable = np.flatnonzero(check < 10)[:people]
    return np.array([f"999{middle[i]:06d}{check[i]}" for i in usable], dtype=object)


def _ni_numbers(draws: Draws, people: int, prefix: str) -> Texts:
    number = _scatter(draws, people, 1_000_000)
    return np.array([f"{prefix}{value:06d}{'ABCD'[value % 4]}" for value in number], dtype=object)


def _ni_prefix(agreement: Agreement) -> str:
    for table in agreement.contract.tables:
        for column in table.columns:
            if column.name == "ni_number" and column.pattern:
                fitting = (p for p in NI_PREFIXES if re.fullmatch(column.pattern, f"{p}123456A"))
                return next(fitting, NI_PREFIXES[0])
    return NI_PREFIXES[0]


def _phones(draws: Draws, household: Integers, place: Integers) -> Texts:
    """A number for as many as there are numbers kept for drama; some share the household's.

    Nobody shares a number with a stranger: in a large partnership most have none instead.
    """
    n = len(household)
    numbers = [f"{start}{end:03d}" for end in range(1000) for start in DRAMA_NUMBERS]
    phone = np.full(n, None, dtype=object)
    shared = (place > 0) & draws.chance(0.3, n)
    owners = draws.shuffle(n)
    owners = owners[~shared[owners]][: len(numbers)]
    phone[owners] = np.array(numbers, dtype=object)[draws.shuffle(len(numbers))[: len(owners)]]
    head = np.maximum.accumulate(np.where(place == 0, np.arange(n), 0))
    phone[shared] = phone[head[shared]]
    return phone


def _emails(draws: Draws, forename: Texts, surname: Texts) -> Texts:
    n = len(forename)
    number = _scatter(draws, n, 1_000_000)
    domain = draws.pick(("example.org", "example.net"), n)
    return np.array(
        [
            f"{_plain(first)}.{_plain(last)}{value}@{host}"
            for first, last, value, host in zip(forename, surname, number, domain, strict=True)
        ],
        dtype=object,
    )


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z]", "", letters) or "client"


def _ethnic_groups(agreement: Agreement) -> Texts:
    """For each origin, a code of the agreement's list that suits it; the first code where none does."""
    names = {
        column.codelist
        for table in agreement.contract.tables
        for column in table.columns
        if column.name == "ethnic_group" and column.codelist
    }
    if not names:
        return np.full(len(ORIGINS), None, dtype=object)
    codes = agreement.codelist(sorted(names)[0]).codes
    out = []
    for origin in ORIGINS:
        by_code = (code.code for word in origin.ethnic_words for code in codes if word in code.code)
        by_label = (code.code for word in origin.ethnic_words for code in codes if word in code.label.lower())
        out.append(next(by_code, next(by_label, codes[0].code)))
    return np.array(out, dtype=object)
