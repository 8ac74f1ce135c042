"""What each partner knows: which people, under which number of its own, written down with which errors.

An error belongs to a partner's record and stays in it from one period to the next; what changes between periods is
what changes in life (a move, a marriage, a death), where the partner hears of it.
"""

import re
from dataclasses import dataclass

import numpy as np

from protocol.model import Agreement, Partner
from synthetic.draws import Draws, Flags, Integers, Texts, as_text, blank
from synthetic.names import NICKNAMES
from synthetic.people import NEVER, People
from synthetic.profile import ErrorProfile

NEIGHBOURS = {
    "q": "wa",
    "w": "qes",
    "e": "wrd",
    "r": "etf",
    "t": "ryg",
    "y": "tuh",
    "u": "yij",
    "i": "uok",
    "o": "ipl",
    "p": "ol",
    "a": "qsz",
    "s": "adwx",
    "d": "sfec",
    "f": "dgrv",
    "g": "fhtb",
    "h": "gjyn",
    "j": "hkum",
    "k": "jlim",
    "l": "kop",
    "z": "asx",
    "x": "zsc",
    "c": "xdv",
    "v": "cfb",
    "b": "vgn",
    "n": "bhm",
    "m": "njk",
}
"""Keys beside a key, British keyboard."""

PLAIN_LETTERS = str.maketrans("ąćęłńóśźżĄĆĘŁŃÓŚŹŻăâîșşțţĂÂÎȘŞȚŢ", "acelnoszzACELNOSZZaaissttAAISSTT")


@dataclass(frozen=True)
class Memberships:
    """One record of one person at one partner, one position each. Dates are days since 1970-01-01."""

    person: Integers
    partner: Integers
    """Position in the list of partners."""
    joined: Integers
    """The day the service began."""
    known_from: Integers
    """The day the partner first wrote the person down; before ``joined`` where a referral came first."""
    left: Integers
    """The last day the person is a client; :data:`synthetic.people.NEVER` where that goes on."""
    until: Integers
    """The last day on which anything is recorded of the person here."""
    referred_by: Integers
    """Position of the membership that referred the person here, or -1."""
    sent: Integers
    """The day of that referral."""
    declined: Flags
    """Referred here and not taken in."""
    died_on: Integers
    """The person's death, which comes after every beginning."""
    local_id: Texts

    def __len__(self) -> int:
        return len(self.person)


def make_memberships(
    agreement: Agreement,
    partners: tuple[Partner, ...],
    people: People,
    *,
    seed: int,
    profile: ErrorProfile,
    first_day: int,
    last_day: int,
) -> Memberships:
    """Who is known to whom, since when, and who sent them; every person is known to at least one partner."""
    draws = Draws(seed, "memberships")
    n = len(people)
    weights = np.tile([_size(partner) for partner in partners], (n, 1))
    young = people.birth > first_day - 25 * 365
    for column, partner in enumerate(partners):
        if "skills" in partner.id or "youth" in partner.id:
            weights[:, column] *= np.where(young, 1.8, 0.6)
    known = draws.pick_columns(weights, draws.positions(profile.partners_per_person, n) + 1)
    person, partner_of = (found.astype(np.int64) for found in np.nonzero(known))

    m = len(person)
    joined = np.where(
        draws.chance(profile.known_before, m),
        draws.integers(first_day - 900, first_day - 1, m),
        draws.integers(first_day, max(first_day, last_day - 12), m),
    )
    order = np.lexsort((partner_of, joined, person))
    person, partner_of, joined = person[order], partner_of[order], joined[order]

    referred_by = np.full(m, -1, dtype=np.int64)
    sent = np.full(m, NEVER, dtype=np.int64)
    first_of = np.concatenate([[True], person[1:] != person[:-1]])
    rank = np.arange(m) - np.maximum.accumulate(np.where(first_of, np.arange(m), 0))
    may_refer = draws.chance(profile.referred, m)
    bounces = draws.chance(profile.referral_bounced, m)
    delay, haste = draws.integers(2, 21, m), draws.integers(4, 20, m)
    for turn in range(1, int(np.max(rank, initial=0)) + 1):
        here = np.flatnonzero(rank == turn)
        before = here - 1
        hurried = bounces[here] & (referred_by[before] >= 0) & (joined[before] + haste[here] < last_day)
        joined[here] = np.where(hurried, joined[before] + haste[here], np.maximum(joined[here], joined[before]))
        day = np.maximum(joined[here] - delay[here], joined[before])
        referred = may_refer[here] & (day >= first_day) & (day < joined[here])
        referred_by[here] = np.where(referred, before, -1)
        sent[here] = np.where(referred, day, NEVER)
    known_from = np.where(referred_by >= 0, sent, joined)
    declined = (referred_by >= 0) & draws.chance(0.14, m)

    leaves = draws.chance(profile.leaves, m)
    sender = np.zeros(m, dtype=np.bool_)
    sender[referred_by[referred_by >= 0]] = True
    stays = ~leaves | sender | (known_from >= last_day - 95)
    left = np.where(stays, NEVER, draws.integers(np.maximum(known_from, first_day), last_day - 90, m))
    last_joined = np.zeros(n, dtype=np.int64)
    np.maximum.at(last_joined, person, joined)
    died_on = np.where(people.died_on > last_joined, people.died_on, NEVER)[person]
    until = np.minimum(np.minimum(left, died_on), last_day)

    twice = np.flatnonzero(
        draws.chance(profile.twice_in_one_file, m)
        & ~np.array([partner.duplicate_free for partner in partners])[partner_of]
        & (referred_by < 0)
    )
    second = np.concatenate([np.arange(m), twice])
    again = np.concatenate([np.zeros(m, dtype=np.bool_), np.ones(len(twice), dtype=np.bool_)])
    later = np.where(again, np.minimum(joined[second] + 3, until[second]), joined[second])
    return Memberships(
        person=person[second],
        partner=partner_of[second],
        joined=later,
        known_from=np.where(again, later, known_from[second]),
        left=left[second],
        until=until[second],
        referred_by=np.where(again, -1, referred_by[second]),
        sent=np.where(again, NEVER, sent[second]),
        declined=declined[second] & ~again,
        died_on=died_on[second],
        local_id=_local_ids(agreement, partners, partner_of[second], Draws(seed, "local numbers")),
    )


def _size(partner: Partner) -> float:
    return {"job_centre": 1.6, "council": 1.3, "health": 1.1}.get(partner.kind, 0.8)


def _local_ids(agreement: Agreement, partners: tuple[Partner, ...], partner_of: Integers, draws: Draws) -> Texts:
    """Each partner's own numbers, in its own style, in an order that says nothing about the person."""
    pattern = next(
        (c.pattern for t in agreement.contract.tables for c in t.columns if c.name == t.person_column and c.pattern),
        None,
    )
    out = np.empty(len(partner_of), dtype=object)
    for number, partner in enumerate(partners):
        who = np.flatnonzero(partner_of == number)
        initials = "".join(part[0] for part in partner.id.split("_")).upper()
        styles = (f"{initials}-{{:06d}}", f"{initials}{{:06d}}", "C{:06d}", "{:07d}")
        turned = styles[number % 3 :] + styles[: number % 3]
        style = next((s for s in turned if not pattern or re.fullmatch(pattern, s.format(123456))), styles[-1])
        out[who] = [style.format(100_000 + value) for value in draws.shuffle(len(who)) * 3 + number]
    return out


@dataclass(frozen=True)
class Records:
    """What stays in a partner's record: one position for each membership."""

    forename: Texts
    middle_names: Texts
    birth: Texts
    sex: Texts
    """``F``, ``M`` or None."""
    ethnic_group: Texts
    nhs_number: Texts
    ni_number: Texts
    phone: Texts
    email: Texts
    household_number: Texts
    old_surname: Flags
    knows_previous: Flags
    swapped: Flags
    surname_typo: Flags
    old_postcode: Flags
    postcode_missing: Flags
    postcode_typo: Flags
    fate: tuple[Integers, Integers, Integers]
    """Numbers below 1000 that decide kind, place and letter of a typo, the same in every period."""


def write_records(
    agreement: Agreement,
    partners: tuple[Partner, ...],
    people: People,
    members: Memberships,
    *,
    seed: int,
    profile: ErrorProfile,
) -> Records:
    """Each partner's lasting record of each of its people, errors included."""
    draws = Draws(seed, "records")
    m = len(members)
    who = members.person
    fate = (draws.integers(0, 999, m), draws.integers(0, 999, m), draws.integers(0, 999, m))
    kind = np.array([partner.kind for partner in partners], dtype=object)[members.partner]

    forename = people.forename[who].copy()
    middle = people.middle_names[who].copy()
    for spot in np.flatnonzero(draws.chance(profile.nickname, m)):
        short = NICKNAMES.get(forename[spot])
        if short:
            forename[spot] = short[fate[0][spot] % len(short)]
    for spot in np.flatnonzero(draws.chance(profile.middle_name_used, m)):
        if middle[spot] is not None:
            forename[spot], middle[spot] = middle[spot], forename[spot]
    for spot in np.flatnonzero(draws.chance(profile.forename_typo, m)):
        forename[spot] = misspell(forename[spot], *(int(numbers[spot]) for numbers in fate))
    forename[draws.chance(profile.name_placeholder, m)] = "Unknown"
    middle[draws.chance(profile.middle_names_missing, m)] = None

    female = np.where(people.female[who], "F", "M").astype(object)
    wrong = draws.chance(profile.sex_wrong, m)
    female[wrong] = np.where(people.female[who][wrong], "M", "F")
    health, job_centre, council = kind == "health", kind == "job_centre", kind == "council"
    nhs_missing = np.where(health, profile.nhs_number_missing_health, profile.nhs_number_missing)
    ni_missing = np.select(
        [job_centre, council],
        [profile.ni_number_missing_job_centre, profile.ni_number_missing_council],
        profile.ni_number_missing,
    )
    household = draws.shuffle(int(np.max(people.household)) + 1)[people.household[who]] + 1
    return Records(
        forename=forename,
        middle_names=middle,
        birth=_write_births(draws, people.birth[who], profile),
        sex=blank(female, draws.chance(profile.sex_missing, m)),
        ethnic_group=blank(people.ethnic_group[who], draws.chance(profile.ethnic_group_missing, m)),
        nhs_number=_write_numbers(draws, people.nhs_number[who], nhs_missing, fate, profile.number_typo),
        ni_number=_write_numbers(draws, people.ni_number[who], ni_missing, fate, profile.number_typo),
        phone=_write_phones(agreement, draws, blank(people.phone[who], draws.chance(profile.phone_missing, m))),
        email=blank(people.email[who], draws.chance(profile.email_missing, m)),
        household_number=blank(np.array([f"H{value:07d}" for value in household], dtype=object), draws.chance(0.5, m)),
        old_surname=draws.chance(profile.old_surname, m),
        knows_previous=draws.chance(profile.previous_surname_known, m),
        swapped=draws.chance(profile.names_swapped, m),
        surname_typo=draws.chance(profile.surname_typo, m),
        old_postcode=draws.chance(profile.postcode_stale, m),
        postcode_missing=draws.chance(profile.postcode_missing, m),
        postcode_typo=draws.chance(profile.postcode_typo, m),
        fate=fate,
    )


@dataclass(frozen=True)
class NamesAndPlace:
    """The part of a record that follows life: names and postcode as a partner has them on one day."""

    forename: Texts
    middle_names: Texts
    surname: Texts
    previous_surname: Texts
    postcode: Texts


def read_records(
    partners: tuple[Partner, ...], people: People, members: Memberships, records: Records, rows: Integers, day: int
) -> NamesAndPlace:
    """Names and postcode of some records as they stand on ``day``, in each partner's way of writing.

    :param rows: positions of memberships.
    """
    who = members.person[rows]
    married = people.married_on[who] <= day
    new = married & ~records.old_surname[rows]
    surname = np.where(new, people.later_surname[who], people.surname[who])
    previous = blank(people.surname[who], ~(new & records.knows_previous[rows]))
    moved = (people.moved_on[who] <= day) & ~records.old_postcode[rows]
    postcode = np.where(moved, people.later_postcode[who], people.postcode[who])
    forename = records.forename[rows].copy()
    middle = records.middle_names[rows].copy()
    fate = [numbers[rows] for numbers in records.fate]
    for spot in np.flatnonzero(records.surname_typo[rows]):
        surname[spot] = misspell(surname[spot], *(int(numbers[spot]) for numbers in (fate[1], fate[2], fate[0])))
    for spot in np.flatnonzero(records.postcode_typo[rows]):
        postcode[spot] = _mistype_postcode(postcode[spot], int(fate[0][spot]), int(fate[1][spot]))
    postcode[records.postcode_missing[rows]] = None
    swapped = records.swapped[rows]
    forename[swapped], surname[swapped] = surname[swapped], forename[swapped]
    for number, partner in enumerate(partners):
        mine = np.flatnonzero(members.partner[rows] == number)
        if partner.kind == "job_centre":
            for cells in (forename, middle, surname, previous):
                cells[mine] = [None if cell is None else cell.translate(PLAIN_LETTERS).upper() for cell in cells[mine]]
        elif partner.kind == "council":
            for cells in (forename, middle, surname, previous):
                cells[mine] = [None if cell is None else cell.translate(PLAIN_LETTERS) for cell in cells[mine]]
    return NamesAndPlace(forename, middle, surname, previous, postcode)


def misspell(name: str, kind: int, place: int, letter: int) -> str:
    """The name with one slip of the hand: a neighbouring key, two letters swapped, one missing or one doubled.

    The three numbers (any whole numbers) decide which; the same numbers give the same slip. A name of fewer than
    three letters stays as it is.
    """
    letters = [position for position, character in enumerate(name) if character.isalpha()]
    if len(letters) < 3:
        return name
    spot = letters[place % len(letters)] if place % 7 == 0 else letters[1 + place % (len(letters) - 1)]
    character = name[spot]
    if kind % 4 == 0:
        near = NEIGHBOURS.get(character.lower())
        if near:
            other = near[letter % len(near)]
            return name[:spot] + (other.upper() if character.isupper() else other) + name[spot + 1 :]
    if kind % 4 == 1 and spot + 1 < len(name) and name[spot + 1].isalpha() and name[spot + 1] != character:
        return name[:spot] + name[spot + 1] + character + name[spot + 2 :]
    if kind % 4 == 2:
        return name[: spot + 1] + character.lower() + name[spot + 1 :]
    return name[:spot] + name[spot + 1 :]


def _mistype_postcode(postcode: str, kind: int, letter: int) -> str:
    """Another letter or sector in the inward part; the form stays that of a postcode."""
    outward, inward = postcode.split(" ")
    letters = "ABDEFGHJLNPQRSTUWXYZ"
    if kind % 3 == 0:
        return f"{outward} {(int(inward[0]) + 1 + letter % 9) % 10}{inward[1:]}"
    spot = 1 + kind % 2
    other = letters[(letters.index(inward[spot]) + 1 + letter % 19) % 20]
    return f"{outward} {inward[:spot]}{other}{inward[spot + 1 :]}"


def _write_births(draws: Draws, birth: Integers, profile: ErrorProfile) -> Texts:
    """Dates of birth as written down: missing, day and month swapped, one part wrong, or 1 January."""
    m = len(birth)
    months = birth.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    year, month = 1970 + months // 12, months % 12 + 1
    day = birth - months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + 1
    swap = draws.chance(profile.birth_date_swapped, m) & (day <= 12)
    month, day = np.where(swap, day, month), np.where(swap, month, day)
    typo = draws.chance(profile.birth_date_typo, m) & ~swap
    part, step = draws.integers(0, 3, m), np.where(draws.chance(0.5, m), 1, -1)
    day = np.where(typo & (part == 0), np.clip(day + step, 1, 28), day)
    day = np.where(typo & (part == 1), np.where(day > 10, day - 10, day + 10), day)
    month = np.where(typo & (part == 2), (month - 1 + step) % 12 + 1, month)
    year = np.where(typo & (part == 3), year + np.where(draws.chance(0.5, m), step, -10), year)
    first = draws.chance(profile.birth_date_first_of_year, m)
    month, day = np.where(first, 1, month), np.where(first, 1, day)
    day = np.where(typo, np.minimum(day, 28), day)
    start = ((year - 1970) * 12 + month - 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return as_text(start + day - 1, ~draws.chance(profile.birth_date_missing, m))


def _write_numbers(draws: Draws, numbers: Texts, missing: np.ndarray, fate: tuple[Integers, ...], typo: float) -> Texts:
    m = len(numbers)
    out = blank(numbers, draws.chance(missing, m))
    for spot in np.flatnonzero(draws.chance(typo, m)):
        number = out[spot]
        if number is not None:
            place = 3 + int(fate[0][spot]) % 5
            digit = (int(number[place]) + 1 + int(fate[1][spot]) % 9) % 10
            out[spot] = f"{number[:place]}{digit}{number[place + 1 :]}"
    return out


def _write_phones(agreement: Agreement, draws: Draws, phones: Texts) -> Texts:
    """Telephone numbers in the ways people write them, as far as the agreement's pattern admits."""
    pattern = next((c.pattern for t in agreement.contract.tables for c in t.columns if c.name == "phone"), None)
    ways = (lambda p: p, lambda p: f"{p[:5]} {p[5:]}", lambda p: f"+44{p[1:]}", lambda p: f"{p[:5]} {p[5:8]} {p[8:]}")
    fitting = [way for way in ways if not pattern or re.fullmatch(pattern, way("01134960123"))] or [ways[0]]
    way = draws.integers(0, len(fitting) - 1, len(phones))
    return np.array(
        [None if phone is None else fitting[w](phone) for phone, w in zip(phones, way, strict=True)], dtype=object
    )
