"""Scheme 1: how an identifier is written before it is hashed, so that two partners who type it differently agree.

Every function takes a column as text and gives it back in normal form, with **null for everything that is missing,
a placeholder or impossible**: what is null here is never hashed (``tests/unit/pseudonymise/test_tokens.py``). The
functions are total (any text has an answer) and idempotent (a normal form is its own normal form).

The scheme is frozen. A change to any answer is a new scheme, not a mend: tokens of two schemes never agree, because
the scheme's number is part of every key. The vectors in ``vectors/scheme1`` are what a partner who writes this in
another language has to reproduce; each states where it comes from.

Whole columns are handled at once where Polars can say it; names are handled once for each distinct spelling.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import cache
from pathlib import Path

import phonenumbers
import polars as pl
from anyascii import anyascii

from protocol.model import IdentifierRole

SCHEME = 1
"""The number of this scheme. Recorded beside all data made with it, and part of every derived key."""

_FAMILIES_FILE = Path(__file__).parent / "name_families.csv"

# --- names ------------------------------------------------------------------------------------------------------------

_WORDS_FILE = Path(__file__).parent / "name_words.csv"


@cache
def _words(kind: str) -> frozenset[str]:
    """The words of one kind in ``name_words.csv``.

    ``title``: left out in front of a name (Lord, Lady, Sheikh and Khan are not there: they are also names).
    ``postnominal``: left out behind a surname. ``placeholder``: a spelling, letters only, that stands for a missing
    name. ``placeholder_word``: one of these anywhere makes the whole name missing (``Unknown Male 3``). ``particle``:
    belongs to the part after it (``van der Berg`` is one part, ``Abdul Rahman`` is one forename).
    """
    rows = pl.read_csv(_WORDS_FILE, infer_schema=False)
    return frozenset(rows.filter(pl.col("kind") == kind)["word"])


_ASIDE = re.compile(r"\([^)]*\)|\[[^\]]*\]|\"[^\"]*\"")
_APOSTROPHE = re.compile(r"['`´‘’ʼʻ′]")
_NOT_LETTER = re.compile(r"[^a-z]+")
_NORMAL_NAME = re.compile(r"[a-z]+")


def _letters(value: str) -> list[str]:
    """The words of a name in lower-case ASCII letters; what stands in brackets or double quotes is an aside."""
    text = value
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = anyascii("".join(sign for sign in text if not unicodedata.combining(sign)))
    text = text.lower()
    text = _APOSTROPHE.sub("", _ASIDE.sub(" ", text))
    return [word for word in _NOT_LETTER.split(text) if word]


def _is_placeholder(words: list[str]) -> bool:
    joined = "".join(words)
    return (
        not joined
        or joined in _words("placeholder")
        or joined in _words("title")
        or joined == "x"
        or words[0] == "baby"
        or not _words("placeholder_word").isdisjoint(words)
    )


def _parts(words: list[str]) -> tuple[str, ...]:
    """Words with their particles attached; empty for a placeholder."""
    while len(words) > 1 and words[0] in _words("title"):
        words = words[1:]
    if _is_placeholder(words):
        return ()
    parts: list[str] = []
    prefix = ""
    for word in words:
        if word in _words("particle"):
            prefix += word
        else:
            parts.append(prefix + word)
            prefix = ""
    if prefix:
        parts.append(prefix)
    if any(_is_placeholder([part]) for part in parts):
        return ()
    return tuple(parts)


def forename_parts(value: str) -> tuple[str, ...]:
    """The parts of one forename in order; empty where it is missing.

    ``Mary-Jane`` gives ``("mary", "jane")``, ``Dr. ANNE`` gives ``("anne",)``, ``Baby of Jane`` gives ``()``.
    """
    return _parts(_letters(value))


def surname_parts(value: str) -> tuple[str, ...]:
    """The parts of one surname in order; empty where it is missing. A double-barrelled name has two or more.

    ``O’Brien`` gives ``("obrien",)``, ``Smith - Jones`` ``("smith", "jones")``, ``van der Berg`` ``("vanderberg",)``.
    """
    words = _letters(value)
    while len(words) > 1 and words[-1] in _words("postnominal"):
        words = words[:-1]
    return _parts(words)


def _look_up(values: pl.Series, answers: pl.DataFrame) -> pl.DataFrame:
    """The columns of ``answers`` besides ``value``, for each of ``values`` in order; null where it is not there."""
    cells = values.alias("value").to_frame()
    return cells.join(answers, on="value", how="left", maintain_order="left").drop("value")


def _distinct(values: pl.Series) -> pl.Series:
    return values.drop_nulls().unique(maintain_order=True).cast(pl.String).alias("value")


def _per_distinct(values: pl.Series, function: Callable[[str], str | None]) -> pl.Series:
    """``function`` applied once to each distinct value; nulls stay null."""
    distinct = _distinct(values)
    answers = pl.Series("answer", [function(value) for value in distinct], dtype=pl.String)
    return _look_up(values.cast(pl.String), pl.DataFrame([distinct, answers]))["answer"].alias(values.name)


def _texts(values: Iterable[str | None]) -> pl.Series:
    return pl.Series(list(values), dtype=pl.String)


def _first(parts: tuple[str, ...]) -> str | None:
    # A single letter is an initial, which is no name.
    return parts[0] if parts and len(parts[0]) > 1 else None


def _initial(parts: tuple[str, ...]) -> str | None:
    return parts[0][0] if parts else None


def _joined(parts: tuple[str, ...]) -> str | None:
    joined = "".join(parts)
    return None if not joined or _is_placeholder([joined]) else joined


def _barrel(parts: tuple[str, ...], place: int) -> str | None:
    return parts[place] if len(parts) > 1 and len(parts[place]) > _SHORTEST_BARREL - 1 else None


_SHORTEST_BARREL = 3


def normalise_forename(values: pl.Series) -> pl.Series:
    """The first forename in lower-case letters. Null for an initial alone."""
    return _per_distinct(values, lambda value: _first(forename_parts(value)))


def normalise_second_forename(values: pl.Series) -> pl.Series:
    """The second forename where the cell holds two (``Mary Jane``, ``Mohammed Imran``), else null."""
    return _per_distinct(values, lambda value: _first(forename_parts(value)[1:]))


def normalise_initial(values: pl.Series) -> pl.Series:
    """The first letter of the first forename."""
    return _per_distinct(values, lambda value: _initial(forename_parts(value)))


def normalise_surname(values: pl.Series) -> pl.Series:
    """All parts of the surname written together in lower-case letters: ``smithjones``, ``obrien``."""
    return _per_distinct(values, lambda value: _joined(surname_parts(value)))


def normalise_surname_part(values: pl.Series, place: int) -> pl.Series:
    """The first (0) or last (-1) part of a double-barrelled surname; null for a surname of one part, and for a part
    of fewer than three letters."""
    return _per_distinct(values, lambda value: _barrel(surname_parts(value), place))


@cache
def _families() -> dict[str, str]:
    rows = pl.read_csv(_FAMILIES_FILE, infer_schema=False)
    return dict(zip(rows["name"], rows["family"], strict=True))


def normalise_name_family(values: pl.Series) -> pl.Series:
    """The family that a *normal* forename belongs to: ``bill`` and ``will`` are ``william``; others stand alone.

    The families are in ``name_families.csv`` (short forms, and common spellings of one name from another script).
    """
    families = _families()
    return _per_distinct(values, lambda value: families.get(value, value) if _NORMAL_NAME.fullmatch(value) else None)


_SOUND_CODES = str.maketrans("bfpvcgjkqsxzdtlmnr", "111122222222334556")
_DOUBLED = re.compile(r"(.)\1+")


def sound_of(name: str) -> str:
    """American Soundex of a normal name: its first letter and three digits.

    Source: the rules of the United States National Archives (letters h and w do not part equal codes, vowels do).
    Used for surnames heard and not read; it holds about four tokens in five of a misspelt surname together.
    """
    coded = name.replace("h", "").replace("w", "") if len(name) > 1 else name
    coded = name[0] + coded[1:] if coded and coded[0] == name[0] else name[0] + coded
    digits = _DOUBLED.sub(r"\1", coded.translate(_SOUND_CODES))
    digits = digits[1:]
    return (name[0] + re.sub(r"[^1-6]", "", digits) + "000")[:4]


def normalise_sound(values: pl.Series) -> pl.Series:
    """:func:`sound_of` a column of *normal* names."""
    return _per_distinct(values, lambda value: sound_of(value) if _NORMAL_NAME.fullmatch(value) else None)


# --- dates of birth, sex ----------------------------------------------------------------------------------------------

_DATE_FORMS = ("%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%Y%m%d", "%Y/%m/%d")
"""Day before month, as the country writes it. A year of two digits is in none: the century would be a guess."""

_SENTINELS = (date(1899, 12, 30), date(1899, 12, 31), date(1900, 12, 31), date(1911, 11, 11), date(1970, 1, 1))
"""Zero dates of spreadsheets and computers, and all-elevens. The first of January is handled by itself."""

_OLDEST_YEARS = 120
_FIRST_CENTURY = date(1900, 1, 1)


def _as_date(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Date:
        return values
    text = values.cast(pl.String).str.normalize("NFKC").str.strip_chars().str.replace(r"[T ]00:00(:00(\.0+)?)?Z?$", "")
    return _per_distinct_date(text).alias(values.name)


def _per_distinct_date(text: pl.Series) -> pl.Series:
    distinct = _distinct(text)
    readings = [pl.col("value").str.to_date(form, strict=False, exact=True) for form in _DATE_FORMS]
    answers = distinct.to_frame().with_columns(day=pl.coalesce(readings))
    return _look_up(text, answers)["day"]


def _plausible_birth(as_of: date | None) -> Callable[[pl.Expr], pl.Expr]:
    latest = as_of or date.max
    oldest = date(as_of.year - _OLDEST_YEARS, 1, 1) if as_of else _FIRST_CENTURY

    def keep(column: pl.Expr) -> pl.Expr:
        possible = column.is_between(oldest, latest) & ~column.is_in(_SENTINELS)
        return pl.when(possible).then(column)

    return keep


def normalise_date_of_birth(values: pl.Series, as_of: date | None) -> pl.Series:
    """Dates of birth as ISO text. ``values`` is a date column or text, day before month.

    Null where it is impossible, after ``as_of``, more than 120 years before it (without ``as_of``: before 1900), a
    computer's zero date, or the first of January: that day is what people and forms write when only the year is
    known, and taking it for a birthday merges strangers. Its year is kept by :func:`normalise_birth_year`.
    """
    keep = _plausible_birth(as_of)
    column = pl.col("born")
    return (
        _as_date(values)
        .to_frame("born")
        .select(
            pl.when((column.dt.month() != 1) | (column.dt.day() != 1))
            .then(keep(column))
            .dt.strftime("%Y-%m-%d")
            .alias(values.name)
        )
        .to_series()
    )


def normalise_birth_year(values: pl.Series, as_of: date | None) -> pl.Series:
    """Year of birth as text of four digits; null on the terms of :func:`normalise_date_of_birth`, but the first of
    January counts, except of 1900 and 1901."""
    keep = _plausible_birth(as_of)
    column = pl.col("born")
    placeholder = column.is_in([date(1900, 1, 1), date(1901, 1, 1)])
    return (
        _as_date(values)
        .to_frame("born")
        .select(pl.when(~placeholder).then(keep(column)).dt.strftime("%Y").alias(values.name))
        .to_series()
    )


def _sorted_day_and_month(name: str) -> pl.Expr:
    born = pl.col(name)
    month, day = born.str.slice(5, 2), born.str.slice(8, 2)
    return pl.concat_str(
        born.str.slice(0, 4), pl.min_horizontal(month, day), pl.max_horizontal(month, day), separator="-"
    )


def sort_day_and_month(values: pl.Series) -> pl.Series:
    """A normal date of birth with the smaller of day and month first, ``1980-03-11``: the same for a date and for
    the one that a mix-up of day and month makes of it. Null where it is null."""
    return values.alias("born").to_frame().select(_sorted_day_and_month("born").alias(values.name)).to_series()


_SEXES = {"m": "m", "male": "m", "man": "m", "1": "m", "f": "f", "female": "f", "woman": "f", "2": "f"}


def normalise_sex(values: pl.Series) -> pl.Series:
    """``m`` or ``f``; null for everything else, which cannot help to find a person again."""
    lowered = values.str.normalize("NFKC").str.strip_chars().str.to_lowercase()
    return lowered.replace_strict(_SEXES, default=None, return_dtype=pl.String)


# --- places -----------------------------------------------------------------------------------------------------------

_OUTWARD = r"[A-Z]{1,2}[0-9][A-Z0-9]?"
_NON_GEOGRAPHIC = r"^(ZZ|XX|AA|QQ|BF|BX|GIR)"
"""ZZ99 and its kin (no fixed abode, not known, abroad), forces' post, non-geographic business post, placeholders."""


def _squeeze(values: pl.Series) -> pl.Series:
    return values.str.normalize("NFKC").str.to_uppercase().str.replace_all(r"[^A-Z0-9]", "")


def normalise_postcode(values: pl.Series) -> pl.Series:
    """Unit postcodes without a space, ``LU12AB``.

    The letters O, I and L where only a digit can stand (first of the inward code) are read as 0 and 1, and digits
    0 and 1 at the very start as O and I. Null for part of a postcode and for codes that are no place.
    """
    frame = _squeeze(values).to_frame("code")
    code = pl.col("code")
    first = code.str.slice(0, 1).replace({"0": "O", "1": "I"})
    outward = pl.concat_str(first, code.str.slice(1, code.str.len_chars().clip(4) - 4))
    digit = code.str.slice(-3, 1).replace({"O": "0", "I": "1", "L": "1"})
    mended = pl.concat_str(outward, digit, code.str.slice(-2))
    good = (
        code.str.len_chars().is_between(5, 7)
        & mended.str.contains(f"^{_OUTWARD}[0-9][A-Z]{{2}}$")
        & ~mended.str.contains(_NON_GEOGRAPHIC)
    )
    return frame.select(pl.when(good).then(mended).alias(values.name)).to_series()


def postcode_sector(values: pl.Series) -> pl.Series:
    """The sector of *normal* postcodes: outward code and the digit after it, ``LU1 2`` without the space."""
    return values.str.head(-2)


def postcode_district(values: pl.Series) -> pl.Series:
    """The district (outward code) of postcodes as typed, ``LU1``. An outward code alone is enough; null for codes
    that are no place."""
    squeezed = _squeeze(values)
    frame = pl.DataFrame({"unit": normalise_postcode(values), "code": squeezed})
    outward = pl.when(
        pl.col("code").str.contains(f"^{_OUTWARD}$") & ~pl.col("code").str.contains(_NON_GEOGRAPHIC)
    ).then(pl.col("code"))
    return frame.select(pl.coalesce(pl.col("unit").str.head(-3), outward).alias(values.name)).to_series()


# --- numbers and addresses --------------------------------------------------------------------------------------------

_ONE_DIGIT = "|".join(f"{digit}{{10}}" for digit in "0123456789")
_RUNS = r"^(0123456789|1234567890|9876543210|0987654321|1234567899|1231231231|1212121212)$"


def normalise_nhs_number(values: pl.Series) -> pl.Series:
    """NHS numbers as ten digits with a right check digit (modulus 11, NHS Data Dictionary); null for a wrong one, a
    repeated digit and a run such as 1234567890. Numbers from 999 on, kept for tests, count as numbers."""
    frame = values.str.normalize("NFKC").str.replace_all(r"[\s\-.]", "").to_frame("number")
    number = pl.col("number")
    digits = [number.str.slice(place, 1).cast(pl.Int32, strict=False) for place in range(10)]
    # The weighted sum of all ten digits, the check digit with weight 1, is a multiple of 11. A check digit of 10
    # cannot be written, so it cannot pass.
    weighted = pl.sum_horizontal(digit * (10 - place) for place, digit in enumerate(digits))
    good = (
        number.str.contains("^[0-9]{10}$")
        & (weighted % 11 == 0)
        & ~number.str.contains(f"^({_ONE_DIGIT})$")
        & ~number.str.contains(_RUNS)
    )
    return frame.select(pl.when(good).then(number).alias(values.name)).to_series()


_NI_ADMINISTRATIVE = r"^(BG|GB|KN|NK|NT|TN|ZZ|OO|CR|FY|MW|NC|PP|PY|PZ)"
_NI_PLACEHOLDER = r"^..(000000|111111|222222|333333|444444|555555|666666|777777|888888|999999|123456|654321)$"


def normalise_ni_number(values: pl.Series) -> pl.Series:
    """National Insurance numbers as two letters and six digits. The suffix letter is left out: partners often do not
    hold it. Null for prefixes that are never issued or are temporary (HMRC, NIM39110), and for placeholder digits."""
    frame = _squeeze(values).to_frame("number")
    number = pl.col("number").str.head(8)
    good = (
        pl.col("number").str.contains("^[A-Z]{2}[0-9]{6}[A-D]?$")
        & ~number.str.contains("^[DFIQUV]|^.[DFIOQUV]")
        & ~number.str.contains(_NI_ADMINISTRATIVE)
        & ~number.str.contains(_NI_PLACEHOLDER)
    )
    return frame.select(pl.when(good).then(number).alias(values.name)).to_series()


_PLAIN_GB = r"^(?:\+44|0044)?0?([1235789][0-9]{9})$"
_PHONE_PLACEHOLDER = "(" + "|".join(f"{digit}{{7}}" for digit in "0123456789") + "|12345678|98765432)"


def _parse_phone(value: str) -> str | None:
    """Telephone number in E.164 by Google's library, for all that is not plainly a British number."""
    try:
        parsed = phonenumbers.parse(value, "GB")
    except phonenumbers.NumberParseException:
        return None
    # "Possible" and not "valid": which ranges are in use changes with every edition of the library's tables, and a
    # frozen scheme must not.
    reason = phonenumbers.is_possible_number_with_reason(parsed)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    parsed.extension = None
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


def normalise_phone(values: pl.Series) -> pl.Series:
    """Telephone numbers in E.164, ``+447700900123``; British where no country is given. Null for impossible ones and
    placeholders (seven equal digits or eight in a run)."""
    text = values.str.normalize("NFKC").str.strip_chars()
    plain = text.str.replace_all(r"[\s\-./()]", "").str.extract(_PLAIN_GB, 1)
    british = "+44" + plain
    other = _per_distinct(
        text.to_frame("t").select(pl.when(plain.is_null()).then(pl.col("t"))).to_series(), _parse_phone
    )
    number = pl.DataFrame({"a": british, "b": other}).select(n=pl.coalesce("a", "b"))
    return number.select(
        pl.when(~pl.col("n").str.contains(_PHONE_PLACEHOLDER)).then(pl.col("n")).alias(values.name)
    ).to_series()


_SHARED_MAILBOX = (
    r"^(no|none|non|noemail|no\.?email|nomail|na|nil|null|unknown|notknown|not\.?given|not\.?provided|test|xxx?|abc|"
    r"info|admin|enquiries|reception|office|contact|support|help|hello|mail|noreply|no-reply|donotreply)@"
)


def normalise_email(values: pl.Series) -> pl.Series:
    """E-mail addresses in lower case, without ``mailto:``, without a ``+tag``, and for Gmail without the dots that it
    ignores. Null for what is no address, for placeholders and for boxes that a whole office shares."""
    frame = (
        values.str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all(r"\s", "")
        .str.replace(r"^(mailto:)+", "")
        .str.replace_all(r"^[<'\"]+|[>'\";,.]+$", "")
        .to_frame("box")
    )
    local = pl.col("box").str.extract(r"^([^@]+)@", 1).str.replace(r"\+.*$", "")
    domain = pl.col("box").str.extract(r"^[^@]+@([^@]+)$", 1)
    gmail = domain.is_in(["gmail.com", "googlemail.com"])
    address = pl.concat_str(
        pl.when(gmail).then(local.str.replace_all(".", "", literal=True)).otherwise(local),
        pl.lit("@"),
        pl.when(gmail).then(pl.lit("gmail.com")).otherwise(domain),
    )
    good = address.str.contains(r"^[a-z0-9.!#$%&'*/=?^_`{|}~-]+@[a-z0-9-]+(\.[a-z0-9-]+)+$") & ~address.str.contains(
        _SHARED_MAILBOX
    )
    return frame.select(pl.when(good).then(address).alias(values.name)).to_series()


_NO_NUMBER = r"^(0+|-+|N/?A|NONE|NIL|NULL|NAN|UNKNOWN|UNK|NK|NOTKNOWN|NOTGIVEN|REFUSED|TEST|X+|TBC|TBA)$"


def normalise_shared_person_number(values: pl.Series) -> pl.Series:
    """A number that partners already share, in capitals without spaces. Short and repeated digits count (``11`` may
    be the eleventh person); null for words that say that there is none, for zeros and for anything but ASCII signs."""
    frame = values.str.normalize("NFKC").str.to_uppercase().str.replace_all(r"[\s\p{C}]", "").to_frame("number")
    number = pl.col("number")
    good = number.str.contains("^[!-~]+$") & ~number.str.contains(_NO_NUMBER)
    return frame.select(pl.when(good).then(number).alias(values.name)).to_series()


# --- the whole record -------------------------------------------------------------------------------------------------

NORMAL_FIELDS = (
    "forename",
    "forename_second",
    "forename_family",
    "forename_start",
    "forename_sound",
    "initial",
    "middle_name",
    "name_low",
    "name_high",
    "surname",
    "surname_first_part",
    "surname_last_part",
    "surname_start",
    "surname_sound",
    "previous_surname",
    "previous_surname_start",
    "date_of_birth",
    "date_of_birth_sorted",
    "birth_year",
    "birth_month_day",
    "sex",
    "postcode",
    "postcode_sector",
    "nhs_number",
    "ni_number",
    "phone",
    "email",
    "shared_person_number",
)
"""Columns of :func:`normalise`, all text. They hold clear identifiers: they exist in memory, between reading and
hashing, and are never written."""

_START = 3


def normalise(frame: pl.DataFrame, columns: Mapping[IdentifierRole, str], as_of: date | None) -> pl.DataFrame:
    """Every identifier of a person table in normal form.

    ``columns`` says which column of ``frame`` holds which identifier; an identifier that the agreement does not
    have is null throughout. ``as_of`` is the day that dates of birth must not lie after. The answer has the columns
    :data:`NORMAL_FIELDS`, one row per row of ``frame``, in its order.
    """

    def cells(role: IdentifierRole) -> pl.Series:
        if role not in columns:
            return pl.Series(role.value, [None] * frame.height, dtype=pl.String)
        column = frame[columns[role]]
        return column if column.dtype == pl.Date else column.cast(pl.String)

    # A column of names is looked at once for each distinct spelling, and all forms of the name come of that one look.
    given = cells(IdentifierRole.FORENAME)
    spellings = _distinct(given)
    parts = [forename_parts(spelling) for spelling in spellings]
    forename = _texts(_first(part) for part in parts)
    given_forms = pl.DataFrame(
        {
            "value": spellings,
            "forename": forename,
            "forename_second": _texts(_first(part[1:]) for part in parts),
            "forename_family": normalise_name_family(forename),
            "forename_start": forename.str.head(_START),
            "forename_sound": normalise_sound(forename),
            "initial": _texts(_initial(part) for part in parts),
        }
    )
    last = cells(IdentifierRole.SURNAME)
    spellings = _distinct(last)
    parts = [surname_parts(spelling) for spelling in spellings]
    surname = _texts(_joined(part) for part in parts)
    last_forms = pl.DataFrame(
        {
            "value": spellings,
            "surname": surname,
            "surname_first_part": _texts(_barrel(part, 0) for part in parts),
            "surname_last_part": _texts(_barrel(part, -1) for part in parts),
            "surname_start": surname.str.head(_START),
            "surname_sound": normalise_sound(surname),
        }
    )
    born_cells = cells(IdentifierRole.DATE_OF_BIRTH)
    postcode = normalise_postcode(cells(IdentifierRole.POSTCODE))
    return pl.concat(
        [
            _look_up(given, given_forms),
            _look_up(last, last_forms),
            pl.DataFrame(
                {
                    "middle_name": normalise_forename(cells(IdentifierRole.MIDDLE_NAMES)),
                    "previous_surname": normalise_surname(cells(IdentifierRole.PREVIOUS_SURNAME)),
                    "date_of_birth": normalise_date_of_birth(born_cells, as_of),
                    "birth_year": normalise_birth_year(born_cells, as_of),
                    "sex": normalise_sex(cells(IdentifierRole.SEX)),
                    "postcode": postcode,
                    "postcode_sector": postcode_sector(postcode),
                    "nhs_number": normalise_nhs_number(cells(IdentifierRole.NHS_NUMBER)),
                    "ni_number": normalise_ni_number(cells(IdentifierRole.NI_NUMBER)),
                    "phone": normalise_phone(cells(IdentifierRole.PHONE)),
                    "email": normalise_email(cells(IdentifierRole.EMAIL)),
                    "shared_person_number": normalise_shared_person_number(cells(IdentifierRole.SHARED_PERSON_NUMBER)),
                }
            ),
        ],
        how="horizontal",
    ).select(*_DERIVED_AT_THE_END)


_BOTH_NAMES = pl.col("forename").is_not_null() & pl.col("surname").is_not_null()

_DERIVED = {
    # Null unless both names are there: the lesser of a name and a null would be the name.
    "name_low": pl.when(_BOTH_NAMES).then(pl.min_horizontal("forename", "surname")),
    "name_high": pl.when(_BOTH_NAMES).then(pl.max_horizontal("forename", "surname")),
    "previous_surname_start": pl.col("previous_surname").str.head(_START),
    "date_of_birth_sorted": _sorted_day_and_month("date_of_birth"),
    "birth_month_day": pl.col("date_of_birth").str.slice(5),
}

_DERIVED_AT_THE_END = [_DERIVED[name].alias(name) if name in _DERIVED else pl.col(name) for name in NORMAL_FIELDS]
