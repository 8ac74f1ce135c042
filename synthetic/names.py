"""Pools of made-up names by origin: Faker's lists for most, and short lists where a community shares few names.

A name-dense community is where linkage on names goes wrong: hundreds of people with one of a dozen surnames and one
of two dozen forenames, often in the same streets. Faker's lists are flat for these, so they are written out here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from faker import Faker

from synthetic.draws import Draws, Texts

POOL_SIZE = 3000
"""Names drawn from Faker for one pool. Frequent names come more than once, as in life."""


@dataclass(frozen=True)
class Origin:
    """Where names come from, and the ethnic groups of the people who bear them (words sought in the code list)."""

    name: str
    share: float
    """Share of households."""
    locale: str | None = None
    """Faker's locale, where the names are Faker's."""
    female: tuple[str, ...] = ()
    male: tuple[str, ...] = ()
    surnames: tuple[str, ...] = ()
    female_surnames: tuple[str, ...] = ()
    """Surnames of women, where they differ."""
    ethnic_words: tuple[str, ...] = ()
    """In order of preference; the first that is part of a code or label decides."""


ORIGINS = (
    Origin("british", 0.50, locale="en_GB", ethnic_words=("white_british", "white")),
    Origin("polish", 0.08, locale="pl_PL", ethnic_words=("other_white", "white_other", "white")),
    Origin("romanian", 0.05, locale="ro_RO", ethnic_words=("other_white", "white_other", "white")),
    Origin("irish", 0.02, locale="ga_IE", ethnic_words=("white_irish", "white")),
    Origin("portuguese", 0.02, locale="pt_PT", ethnic_words=("other_white", "white_other", "white")),
    Origin("indian", 0.03, locale="en_IN", ethnic_words=("indian", "asian")),
    Origin("yoruba", 0.03, locale="yo_NG", ethnic_words=("black_african", "black")),
    Origin("akan", 0.02, locale="tw_GH", ethnic_words=("black_african", "black")),
    Origin("turkish", 0.01, locale="tr_TR", ethnic_words=("other_ethnic", "other")),
    Origin("vietnamese", 0.01, locale="vi_VN", ethnic_words=("other_asian", "asian")),
    Origin(
        "pakistani",
        0.11,
        female=(
            *("Aisha", "Fatima", "Zainab", "Maryam", "Khadija", "Saima", "Nadia", "Shazia", "Rukhsana", "Nasreen"),
            *("Samina", "Iqra", "Hafsa", "Sana", "Bushra", "Parveen", "Farzana", "Amina", "Noreen", "Rabia"),
        ),
        male=(
            *("Mohammed", "Muhammad", "Mohammad", "Ahmed", "Ali", "Imran", "Usman", "Bilal", "Hamza", "Tariq"),
            *("Asif", "Yusuf", "Ibrahim", "Omar", "Kashif", "Waqar", "Zahid", "Nadeem", "Shahid", "Adeel"),
        ),
        surnames=("Khan", "Hussain", "Ahmed", "Ali", "Akhtar", "Mahmood", "Iqbal", "Malik", "Shah", "Mirza", "Butt"),
        ethnic_words=("pakistani", "asian"),
    ),
    Origin(
        "bangladeshi",
        0.07,
        female=(
            *("Fatema", "Rahima", "Shirin", "Nazma", "Halima", "Rina", "Taslima", "Sultana", "Ayesha", "Jasmin"),
            *("Rehana", "Salma", "Monira", "Shahana", "Lipi", "Afia"),
        ),
        male=(
            *("Mohammed", "Md", "Abdul", "Shah", "Kamal", "Rahim", "Karim", "Jamal", "Faruk", "Shafiq"),
            *("Rafiq", "Anwar", "Monir", "Harun", "Salim", "Tofayel"),
        ),
        surnames=("Miah", "Uddin", "Rahman", "Islam", "Hossain", "Ali", "Ahmed", "Chowdhury", "Khan", "Haque"),
        female_surnames=("Begum", "Khatun", "Bibi", "Akter", "Khanom", "Sultana"),
        ethnic_words=("bangladeshi", "asian"),
    ),
    Origin(
        "punjabi",
        0.03,
        female=("Harpreet", "Manpreet", "Jaspreet", "Gurpreet", "Amandeep", "Simran", "Navneet", "Kuldip", "Balwinder"),
        male=("Harpreet", "Manpreet", "Jaspreet", "Gurpreet", "Amandeep", "Sukhdev", "Rajinder", "Baldev", "Jagdish"),
        surnames=("Singh", "Singh", "Singh", "Gill", "Sandhu", "Dhillon", "Grewal"),
        female_surnames=("Kaur", "Kaur", "Kaur", "Gill", "Sandhu", "Dhillon", "Grewal"),
        ethnic_words=("indian", "asian"),
    ),
    Origin(
        "somali",
        0.02,
        female=("Hodan", "Asha", "Faduma", "Sahra", "Hibo", "Ifrah", "Amina", "Khadra", "Nimco", "Ayaan"),
        male=("Abdi", "Mohamed", "Ahmed", "Hassan", "Ali", "Abdirahman", "Yusuf", "Liban", "Mahad", "Osman"),
        surnames=("Mohamed", "Ali", "Hassan", "Abdi", "Ahmed", "Warsame", "Farah", "Omar", "Jama", "Nur"),
        ethnic_words=("black_african", "black"),
    ),
)

NICKNAMES: dict[str, tuple[str, ...]] = {
    "Abigail": ("Abbie", "Abby"),
    "Alexander": ("Alex", "Sandy"),
    "Andrew": ("Andy", "Drew"),
    "Anthony": ("Tony",),
    "Benjamin": ("Ben",),
    "Catherine": ("Cathy", "Kate", "Katie"),
    "Charles": ("Charlie", "Chas"),
    "Charlotte": ("Charlie", "Lottie"),
    "Christine": ("Chris", "Chrissie"),
    "Christopher": ("Chris",),
    "Daniel": ("Dan", "Danny"),
    "Deborah": ("Debbie", "Deb"),
    "Donald": ("Don",),
    "Edward": ("Ed", "Ted", "Eddie"),
    "Eleanor": ("Ellie", "Nell"),
    "Elizabeth": ("Liz", "Beth", "Lizzie", "Betty"),
    "Francesca": ("Fran", "Chess"),
    "Frederick": ("Fred", "Freddie"),
    "Geoffrey": ("Geoff",),
    "Gregory": ("Greg",),
    "Jacqueline": ("Jackie",),
    "James": ("Jim", "Jamie", "Jimmy"),
    "Janet": ("Jan",),
    "Jennifer": ("Jen", "Jenny"),
    "Jessica": ("Jess", "Jessie"),
    "John": ("Jack", "Johnny"),
    "Jonathan": ("Jon",),
    "Joseph": ("Joe",),
    "Joshua": ("Josh",),
    "Katherine": ("Kath", "Kate", "Kathy"),
    "Kathleen": ("Kath", "Kathy"),
    "Kenneth": ("Ken", "Kenny"),
    "Leonard": ("Len", "Lenny"),
    "Margaret": ("Maggie", "Peggy", "Meg"),
    "Matthew": ("Matt",),
    "Maureen": ("Mo",),
    "Michael": ("Mike", "Mick"),
    "Mohammed": ("Mo",),
    "Muhammad": ("Mo",),
    "Natalie": ("Nat",),
    "Nicholas": ("Nick", "Nicky"),
    "Nicola": ("Nicky", "Nic"),
    "Oliver": ("Ollie",),
    "Pamela": ("Pam",),
    "Patricia": ("Pat", "Trish"),
    "Patrick": ("Pat", "Paddy"),
    "Peter": ("Pete",),
    "Philip": ("Phil",),
    "Rachel": ("Rach",),
    "Raymond": ("Ray",),
    "Rebecca": ("Becky", "Becca"),
    "Richard": ("Rick", "Dick", "Richie"),
    "Robert": ("Bob", "Rob", "Bobby"),
    "Ronald": ("Ron", "Ronnie"),
    "Samantha": ("Sam",),
    "Samuel": ("Sam",),
    "Stephanie": ("Steph",),
    "Stephen": ("Steve",),
    "Steven": ("Steve",),
    "Susan": ("Sue", "Susie"),
    "Terence": ("Terry",),
    "Thomas": ("Tom", "Tommy"),
    "Timothy": ("Tim",),
    "Valerie": ("Val",),
    "Victoria": ("Vicky", "Tori"),
    "William": ("Will", "Bill", "Billy"),
    "Zachary": ("Zach", "Zac"),
}
"""Forenames and what their bearers are called at a front desk."""


@dataclass(frozen=True)
class NamePool:
    """The names of one origin, each array holding a frequent name more often."""

    female: Texts
    male: Texts
    surnames: Texts
    female_surnames: Texts


def build_name_pools(seed: int) -> tuple[NamePool, ...]:
    """One pool for each of :data:`ORIGINS`, in their order. The same seed gives the same pools."""
    return tuple(_build_pool(origin, seed) for origin in ORIGINS)


def _build_pool(origin: Origin, seed: int) -> NamePool:
    if origin.locale is None:
        return NamePool(
            _skew(origin.female),
            _skew(origin.male),
            _skew(origin.surnames),
            _skew(origin.female_surnames or origin.surnames),
        )
    faker: Any = Faker(origin.locale, providers=["faker.providers.person"])
    faker.seed_instance(int(Draws(seed, "names", origin.name).integers(0, 2**31, 1)[0]))
    surnames = _draw(faker.last_name_male if hasattr(faker, "last_name_male") else faker.last_name)
    return NamePool(
        female=_draw(faker.first_name_female),
        male=_draw(faker.first_name_male),
        surnames=surnames,
        female_surnames=np.array([_feminine(name) for name in surnames], dtype=object),
    )


def _feminine(surname: str) -> str:
    """The form a woman bears where surnames are adjectives (Polish -ski, -cki, -dzki), else the same."""
    return surname[:-1] + "a" if surname.endswith(("ski", "cki", "dzki")) else surname


def _draw(give: Any) -> Texts:
    return np.array([" ".join(give().split()) for _ in range(POOL_SIZE)], dtype=object)


def _skew(names: tuple[str, ...]) -> Texts:
    """The first names of a list more often than the last: twice as often as the middle, four times as the end."""
    out: list[str] = []
    for place, name in enumerate(names):
        out.extend([name] * (4 - 3 * place // max(len(names), 1)))
    return np.array(out, dtype=object)
