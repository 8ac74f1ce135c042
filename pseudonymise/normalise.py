"""Scheme 1: how an identifier is written before it is hashed, so that two partners who type it differently agree.

Every function takes a column as text and gives it back in normal form, with **null for everything that is missing,
a placeholder or impossible**: what is null here is never hashed (``tests/unit/pseudonymise/test_tokens.py``). The
functions are total (any text has an answer) and idempotent (a normal form is its own normal form); an answer depends on
its own cell alone, and not on how Unicode composes a letter (``tests/unit/pseudonymise/test_normalise.py``).

The scheme is frozen. A change to any answer is a new scheme, not a mend: tokens of two schemes never agree, because
the scheme's number is part of every key. The vectors in ``vectors/scheme1`` are what a partner who writes this in
another language has to reproduce; each states where it comes from. ``tests/spec/vectors/test_scheme1.py`` pins them,
the word lists and the transliteration of every letter.

Whole columns are handled at once where Polars can say it; names are handled once for each distinct spelling.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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

_WORDS_FILE = Path(__file__).parent / "name_words.csv"

# --- names: from a cell to words of ASCII letters -----------------------------------------------------------------

_ENTITY = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")


def _unescape(text: str) -> str:
    """Characters that a web form wrote as HTML (``O&#39;Brien``, ``&amp;eacute;`` for one that was written twice)."""
    for _ in range(2):
        text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
    return text


_BYTES = {chr(byte): byte for byte in range(0x80, 0x100)} | {
    sign: byte for byte in range(0x80, 0xA0) if len(sign := bytes([byte]).decode("cp1252", errors="ignore")) == 1
}
_RUN_OF_BYTES = re.compile("[" + "".join(_BYTES) + "]{2,}")
_LEADS_OF_LATIN = "ÂÃÄÅ"


def _read_as_utf8(run: re.Match[str]) -> str:
    signs = run.group()
    # Two signs are an accented Latin letter where the first is one of four that end no name in capitals; MATÚŠ would
    # else be read as UTF-8 as well. Longer runs have no other reading.
    if len(signs) == 2 and signs[0] not in _LEADS_OF_LATIN:
        return signs
    try:
        return bytes(_BYTES[sign] for sign in signs).decode("utf-8")
    except UnicodeDecodeError:
        return signs


_QUOTES = str.maketrans(
    {
        **dict.fromkeys("`´‘’‛ʹʻʼʽʾʿˈ′＇ꞌ׳", "'"),
        **dict.fromkeys("“”„‟«»″＂״", '"'),
        # Accents that a conversion left beside their letter.
        **dict.fromkeys("¨¯¸ˇ˘˙˚˛˜˝", ""),
    },
)

_OWN_LETTERS = {
    **{"ا": "a", "ع": "a", "ة": "a", "ء": "", "א": "a", "ע": "a"},
    **dict.fromkeys("\u0902\u0982\u0a02\u0a70\u0a82", "n"),
}
"""Letters that anyascii leaves out and names are written with, so that عبد is ``abd`` and not ``bd``; and the nasal of
Indian scripts, so that Singh is ``singh``."""

_GREEK = (("ου", "ou"), ("ευ", "ev"), ("αυ", "av"), ("γγ", "ng"))
"""Pairs of letters that ELOT 743 (the transliteration of Greek passports) writes as one sound."""

_ARABIC_SIGN = re.compile("[\u0600-\u06ff]")


def _is_mark_aside(sign: str) -> bool:
    """Accents and vowel points, which are left out. Not: the signs of Indian, Thai and Japanese writing that are parts
    of a letter (classes 7 to 9 and 84 to 132)."""
    combining = unicodedata.combining(sign)
    return combining == 1 or 10 <= combining <= 36 or combining >= 200


def _is_indic(sign: str) -> bool:
    return "\u0900" <= sign <= "\u0dff"


def _to_ascii(text: str) -> str:
    text = _RUN_OF_BYTES.sub(_read_as_utf8, unicodedata.normalize("NFC", text)).translate(_QUOTES)
    text = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not _is_mark_aside(sign))
    # Together again, since a Korean syllable and some Bengali and Tamil vowels are transliterated as one sign.
    text = unicodedata.normalize("NFC", text.lower())
    for pair, letters in _GREEK:
        text = text.replace(pair, letters)
    signs = []
    for place, sign in enumerate(text):
        if sign.isascii():
            signs.append(sign)
            continue
        category = unicodedata.category(sign)
        if category[0] in "LM":
            latin = _OWN_LETTERS.get(sign, anyascii(sign).lower())
            letters = "".join(letter for letter in latin if "a" <= letter <= "z")
            signs.append(letters)
            following = text[place + 1 : place + 2]
            if (
                category == "Lo"
                and _is_indic(sign)
                and letters[-1:] not in "aeiou"
                and _is_indic(following)
                and (unicodedata.category(following) == "Lo" or anyascii(following) in ("m", "n", "h"))
            ):
                # A consonant without a vowel sign has the vowel a, which a name does not speak at its end.
                signs.append("a")
        elif category == "Nd":
            signs.append(str(unicodedata.decimal(sign)))
        elif category[0] in "PSZ" and sign != _LOST:
            signs.append(" ")
    ascii_text = "".join(signs)
    return ascii_text.replace("aa", "a") if _ARABIC_SIGN.search(text) else ascii_text


_LOST = "\ufffd"
"""Stands for a sign that a conversion lost. Like ``?`` inside a word it is left out and parts no word."""

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]|(?<=[a-z])\?(?=[a-z])")


def _plain(value: str) -> str:
    """A cell in lower-case ASCII, with its punctuation."""
    text = _unescape(value) if "&" in value else value
    ascii_text = (text if text.isascii() else _to_ascii(text)).lower()
    return " ".join(_CONTROL.sub("", ascii_text).split())


_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\"[^\"]*\"")
_APOSTROPHE = re.compile(r"(?:(?<=\b[dlmnot])['`]\s*|['`])")
_SEPARATOR = re.compile(r"[^a-z0-9]+")
_ORDINAL = re.compile(r"[0-9]+(?:st|nd|rd|th)?")
_DIGITS_AS_LETTERS = str.maketrans("01", "oi", "23456789")
_NORMAL_NAME = re.compile(r"[a-z]+")


def _word(typed: str) -> str:
    """A word without digits: those at its ends are left out, a 0 or 1 among its letters is read as o or i."""
    if typed.isalpha():
        return typed
    if _ORDINAL.fullmatch(typed):
        return ""
    core = typed if typed[0] == "0" and typed[1:2].isalpha() else typed.lstrip("0123456789")
    return core.rstrip("0123456789").translate(_DIGITS_AS_LETTERS)


def _split(text: str) -> list[str]:
    """The words of plain text; what stands in brackets or double quotes is an aside, unless it is all there is."""
    outside = _ASIDE.sub(" ", text)
    kept = outside if _HAS_LETTER.search(outside) else text
    return [word for typed in _SEPARATOR.split(_APOSTROPHE.sub("", kept)) if typed and (word := _word(typed))]


# --- names: what is said about a name and is no part of it --------------------------------------------------------

_HAS_LETTER = re.compile("[a-z]")
_REMARK = re.compile(
    r"\b(?:do not (?:use|delete|contact|merge)|don'?t use|use other record|see other record|deceased|duplicated?|"
    r"entered in error|record merged)\b"
)
_PAIR_OF_TITLES = re.compile(r"\b(?:mr|mrs|ms|miss|dr)\.?\s*(?:&|/|\+|\band\b)\s*(?:mr|mrs|ms|miss|dr)\b")
_AND_ANOTHER = re.compile(r"(?<=[a-z.])\s*(?:&|\s\+\s|\sand\s).*")
_FORMER_WORDS = (
    r"(?:nee|formerly(?: known as)?|previously(?: known as)?|(?:also )?known as|alias|maiden name|"
    r"aka|a\.k\.a\.?|a/k/a|fka|f\.k\.a\.?|f/k/a)"
)
_FORMER = re.compile(rf"(?<![a-z]){_FORMER_WORDS}[\s.:]+(?=[^)\]]*[a-z])")
_RELATED = re.compile(r"(?<=[a-z])\W+[sdwch]/o\b.*|^\W*[sdwch]/o\b")
_CHILD_OF = re.compile(r"\bb/o\b|^\W*baby\W+\w")
_LONGEST_DOUBLE = 2
"""One letter more often than this in a row is a placeholder; twice, it may be a name (Aa, Ee, Oo)."""


def _now_and_then(text: str) -> tuple[str, str]:
    """What a cell gives as the name, and what as a former or another one (``Smith née Jones``, ``Smith aka Jones``)."""
    found = _FORMER.search(text)
    return (text[: found.start()], text[found.end() :]) if found else (text, "")


def _name_alone(text: str) -> str:
    """Plain text without remarks, a second person, and fathers and husbands (``Khan s/o Ali``)."""
    text = _REMARK.sub(" ", _PAIR_OF_TITLES.sub(" ", text))
    return _RELATED.sub(" ", _AND_ANOTHER.sub("", text))


@cache
def _words(kind: str) -> frozenset[str]:
    """The words of one kind in ``name_words.csv``.

    - ``title``: left out in front of a name, and no name by itself. Lord, Lady, Dame, Hon, Major, Prince, Sheikh, Haji
      and Khan are not there: they are also names. ``title_or_surname``: by itself it is a surname (Master, Doctor).
    - ``postnominal``: left out behind a name.
    - ``placeholder``: a spelling, letters only, that stands for a missing name. ``placeholder_forename``: one that is
      no forename but is somebody's surname (Child, Person, Male, Baby). ``placeholder_word``: one of these anywhere
      makes the whole name missing (``Unknown Male 3``).
    - ``particle``, ``forename_particle``: belongs to the part after it (``van der Berg`` is one part, ``Abdul Rahman``
      is one forename). ``loose_particle``: one that the same person's surname often lacks (``Al Hassan``, ``Hassan``).
    - ``forename_link``: left out between two parts (``Mohammed bin Ali``).
    - ``companion``: behind a forename it tells a community and no person (Kaur, Begum): no second forename.
    """
    rows = pl.read_csv(_WORDS_FILE, infer_schema=False)
    return frozenset(rows.filter(pl.col("kind") == kind)["word"])


def _stands_for_nothing(words: list[str]) -> bool:
    joined = "".join(words)
    return (
        joined in _words("placeholder")
        or joined in ("", "x")
        or words == ["n", "a"]
        or (joined == joined[0] * len(joined) and len(joined) > _LONGEST_DOUBLE)
        or not _words("placeholder_word").isdisjoint(words)
    )


def _stripped(words: list[str]) -> list[str]:
    """Words without titles before and letters after the name."""
    while len(words) > 1 and words[-1] in _words("postnominal"):
        words = words[:-1]
    while len(words) > 1 and (words[0] in _words("title") or words[0] in _words("title_or_surname")):
        words = words[1:]
    return words


def _without_links(words: list[str]) -> list[str]:
    if len(words) < 3:
        return words
    inner = [word for word in words[1:-1] if word not in _words("forename_link")]
    return [words[0], *inner, words[-1]]


def _attached(words: list[str], particles: frozenset[str]) -> tuple[str, ...]:
    """Words with the particles before them attached."""
    parts: list[str] = []
    prefix = ""
    for word in words:
        if word in particles:
            prefix += word
        else:
            parts.append(prefix + word)
            prefix = ""
    if prefix:
        parts.append(prefix)
    return tuple(parts)


def _is_no_forename(words: list[str]) -> bool:
    joined = "".join(words)
    return (
        _stands_for_nothing(words)
        or joined in _words("placeholder_forename")
        or joined in _words("title")
        or joined in _words("title_or_surname")
    )


def _is_one_plain_word(value: str) -> bool:
    return value.isascii() and value.isalpha()


def forename_parts(value: str) -> tuple[str, ...]:
    """The parts of one forename in order; empty where it is missing.

    ``Mary-Jane`` gives ``("mary", "jane")``, ``Dr. ANNE`` gives ``("anne",)``, ``Baby of Jane`` gives ``()``.
    """
    if _is_one_plain_word(value):
        word = value.lower()
        return () if _REMARK.fullmatch(word) or _is_no_forename([word]) else (word,)
    text = _plain(value)
    if "@" in text or _CHILD_OF.search(text):
        return ()
    now, _ = _now_and_then(text)
    words = _stripped(_split(_name_alone(now)))
    if _is_no_forename(words):
        return ()
    parts = _attached(_without_links(words), _words("forename_particle"))
    return () if _is_no_forename([parts[0]]) else parts


@dataclass(frozen=True)
class Surname:
    """One surname taken apart. Empty parts mean that it is missing."""

    parts: tuple[str, ...] = ()
    """In order; a double-barrelled name has two or more."""
    bare: str | None = None
    """A name of one part without the particle that it is often written without (``hassan`` of ``Al-Hassan``)."""
    former: tuple[str, ...] = ()
    """The parts of the former or other name that the cell names besides."""


def _is_no_surname(words: list[str]) -> bool:
    joined = "".join(words)
    return len(joined) < 2 or _stands_for_nothing(words) or joined in _words("title")


def _surname_words(text: str) -> list[str]:
    # What follows a comma is a forename (``Smith, John``) or letters (``Smith, MBE``).
    before_comma = text.partition(",")[0]
    kept = before_comma if _HAS_LETTER.search(before_comma) else text
    words = _split(re.sub(r"\bd'", "d ", _name_alone(kept)))
    if words[:1] == ["saint"] and len(words) > 1:
        words[0] = "st"
    words = _stripped(words)
    if _is_no_surname(words):
        return []
    # A letter beside a name is an initial, or the "and" between two Spanish or Portuguese names.
    named = [word for word in words if len(word) > 1 or word in _words("particle")]
    return named or words


def read_surname(value: str) -> Surname:
    """A cell of surnames taken apart.

    ``O’Brien`` has the part ``obrien``, ``Smith - Jones`` ``smith`` and ``jones``, ``van der Berg`` ``vanderberg``
    and the bare name ``berg``; of ``Smith née Jones`` the former name is ``jones``. A letter by itself is no surname.
    """
    if _is_one_plain_word(value):
        word = value.lower()
        return Surname() if _REMARK.fullmatch(word) or _is_no_surname([word]) else Surname((word,))
    text = _plain(value)
    if "@" in text:
        return Surname()
    now, then = _now_and_then(text)
    former = _attached(_surname_words(re.split(r"[)\]]", then)[0]), _words("particle")) if then else ()
    words = [] if _CHILD_OF.search(now) else _surname_words(now)
    parts = _attached(words, _words("particle"))
    if not parts or any(_stands_for_nothing([part]) for part in parts):
        return Surname(former=former)
    one = len(parts) == 1 and len(words) > 1 and _words("loose_particle").issuperset(words[:-1])
    bare = words[-1] if one and len(words[-1]) >= _SHORTEST_BARREL else None
    return Surname(parts, None if bare in _words("particle") else bare, former)


def surname_parts(value: str) -> tuple[str, ...]:
    """The parts of :func:`read_surname`."""
    return read_surname(value).parts


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
    # A single letter is an initial, which is no name. What would not be its own normal form is no name either.
    return parts[0] if parts and len(parts[0]) > 1 and forename_parts(parts[0]) == parts[:1] else None


def _second(parts: tuple[str, ...]) -> str | None:
    second = _first(parts[1:])
    return None if second in _words("companion") else second


def _initial(parts: tuple[str, ...]) -> str | None:
    return parts[0][0] if parts else None


def _joined(parts: tuple[str, ...]) -> str | None:
    joined = "".join(parts)
    return joined if joined and surname_parts(joined) == (joined,) else None


def _barrel(surname: Surname, place: int) -> str | None:
    if len(surname.parts) > 1:
        part = surname.parts[place]
        return part if len(part) >= _SHORTEST_BARREL else None
    return surname.bare if place == -1 else None


_SHORTEST_BARREL = 3


def normalise_forename(values: pl.Series) -> pl.Series:
    """The first forename in lower-case letters. Null for an initial alone."""
    return _per_distinct(values, lambda value: _first(forename_parts(value)))


def normalise_second_forename(values: pl.Series) -> pl.Series:
    """The second forename where the cell holds two (``Mary Jane``, ``Mohammed Imran``), else null. Null for names such
    as Kaur, Singh, Begum and Bibi, which most people of a community have there: they would join strangers."""
    return _per_distinct(values, lambda value: _second(forename_parts(value)))


def normalise_middle_name(values: pl.Series) -> pl.Series:
    """The first of the middle names, null on the terms of :func:`normalise_second_forename`."""
    return _per_distinct(values, lambda value: _second(("", *forename_parts(value))))


def normalise_initial(values: pl.Series) -> pl.Series:
    """The first letter of the first forename."""
    return _per_distinct(values, lambda value: _initial(forename_parts(value)))


def normalise_surname(values: pl.Series) -> pl.Series:
    """All parts of the surname written together in lower-case letters: ``smithjones``, ``obrien``."""
    return _per_distinct(values, lambda value: _joined(surname_parts(value)))


def normalise_surname_part(values: pl.Series, place: int) -> pl.Series:
    """The first (0) or last (-1) part of a double-barrelled surname. For a surname of one part: no first part, and as
    last part the name without a particle that it is often written without (``hassan`` of ``Al-Hassan``). Null for a
    part of fewer than three letters."""
    return _per_distinct(values, lambda value: _barrel(read_surname(value), place))


def normalise_former_surname(values: pl.Series) -> pl.Series:
    """The former or other surname that a cell of surnames names besides (``jones`` of ``Smith née Jones``)."""
    return _per_distinct(values, lambda value: _joined(read_surname(value).former))


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


_INVISIBLE = r"[\p{Cf}\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]"
"""Marks of direction, zero-width signs, soft hyphens and control characters: copied along, never seen."""


def _mend(values: pl.Series, odd: pl.Series, mended: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """``values`` with those that are ``odd`` replaced by what ``mended`` makes of them. Most columns hold few, so most
    rows are looked at once and left alone."""
    if not odd.any():
        return values
    distinct = _distinct(values.filter(odd))
    return values.replace(distinct, mended(distinct))


def _tidy(values: pl.Series) -> pl.Series:
    """Text without what nobody sees, in compatibility form (full-width digits are digits)."""
    return _mend(
        values,
        values.str.contains("[^ -~]"),
        lambda odd: odd.str.normalize("NFKC").str.replace_all(_INVISIBLE, ""),
    )


# --- dates of birth, sex ----------------------------------------------------------------------------------------------

_DATE_FORMS = (
    *("%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y%m%d", "%Y/%m/%d"),
    *("%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y"),
)
"""Day before month, as the country writes it, unless the month is a word. A year of two digits is in none, since the
century would be a guess, and neither is a bare number of days, which a spreadsheet counts from 1900 or from 1904."""

_SENTINELS = (
    *(date(1899, 12, 30), date(1899, 12, 31), date(1900, 12, 31), date(1901, 12, 13), date(1970, 1, 1)),
    *(date(1909, 9, 9), date(1910, 10, 10), date(1911, 11, 11), date(1912, 12, 12)),
)
"""Zero dates of spreadsheets and computers (the earliest of a 32-bit clock is in 1901), and the same two digits three
times. The first of January is handled by itself."""

_NO_YEAR = (date(1900, 1, 1), date(1901, 1, 1), date(1904, 1, 1))
"""First days of January that do not even tell the year: what forms and spreadsheets hold where nothing is known."""

_OLDEST_YEARS = 120
_FIRST_CENTURY = date(1900, 1, 1)
_FOUR_DIGITS = r"(^|[^0-9])[0-9]{4}([^0-9]|$)|^[0-9]{8}$"


def _as_date(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Date:
        return values
    distinct = _distinct(values)
    text = _tidy(distinct).str.strip_chars().str.replace(r"[T ]00:00(:00([.,]0+)?)?\s*(Z|[+-]00:?00)?$", "")
    frame = pl.DataFrame([distinct, text.alias("text")])
    spoken = (
        pl.col("text")
        .str.to_lowercase()
        .str.replace(r"\b([0-9]{1,2})(st|nd|rd|th)\b", "${1}")
        .str.replace_all(r"[\s,./-]+", " ")
        .str.replace(r"\bsept\b", "sep")
    )
    typed = (
        pl.when(pl.col("text").str.contains(r"(?i)[a-z]"))
        .then(spoken)
        .otherwise(pl.col("text").str.replace_all(r"[\s\p{Pd}]", "-").str.replace_all("-*([/.-])-*", "${1}"))
    )
    readings = [pl.col("text").str.to_date(form, strict=False, exact=True) for form in _DATE_FORMS]
    answers = frame.with_columns(text=typed).with_columns(
        day=pl.when(pl.col("text").str.contains(_FOUR_DIGITS)).then(pl.coalesce(readings))
    )
    return _look_up(values, answers.select("value", "day"))["day"].alias(values.name)


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
    January counts, except of 1900, 1901 and 1904."""
    keep = _plausible_birth(as_of)
    column = pl.col("born")
    placeholder = column.is_in(_NO_YEAR)
    return (
        _as_date(values)
        .to_frame("born")
        .select(pl.when(~placeholder).then(keep(column)).dt.strftime("%Y").alias(values.name))
        .to_series()
    )


_NORMAL_DATE = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def _sorted_day_and_month(name: str) -> pl.Expr:
    born = pl.col(name)
    month, day = born.str.slice(5, 2), born.str.slice(8, 2)
    ordered = pl.concat_str(
        born.str.slice(0, 4), pl.min_horizontal(month, day), pl.max_horizontal(month, day), separator="-"
    )
    return pl.when(born.str.contains(_NORMAL_DATE)).then(ordered)


def sort_day_and_month(values: pl.Series) -> pl.Series:
    """A normal date of birth with the smaller of day and month first, ``1980-03-11``: the same for a date and for
    the one that a mix-up of day and month makes of it. Null where it is no normal date."""
    return values.alias("born").to_frame().select(_sorted_day_and_month("born").alias(values.name)).to_series()


_SEXES = {
    **dict.fromkeys(("m", "male", "man", "boy", "1"), "m"),
    **dict.fromkeys(("f", "female", "woman", "girl", "2"), "f"),
}


def normalise_sex(values: pl.Series) -> pl.Series:
    """``m`` or ``f``; null for everything else, which cannot help to find a person again. What stands in brackets is
    left out (``Female (including trans woman)``)."""
    lowered = _tidy(values).str.replace(r"\(.*\)$", "").str.strip_chars().str.to_lowercase()
    return lowered.replace_strict(_SEXES, default=None, return_dtype=pl.String)


# --- places -----------------------------------------------------------------------------------------------------------

_OUTWARD = r"[A-Z]{1,2}[0-9][A-HJKMNP-Z0-9]?"
_NO_PLACE = r"^(ZZ|XX|AA|QQ|A[0-9]|BF|BX|GIR|GX)"
"""ZZ99 and its kin (no fixed abode, not known, abroad), placeholders, forces' post, business post that goes to no
place, and Gibraltar, which has one code for all."""


def _squeeze(values: pl.Series) -> pl.Series:
    return _tidy(values).str.to_uppercase().str.replace_all(r"[^A-Z0-9]+", "")


def _as_digit(sign: pl.Expr) -> pl.Expr:
    return sign.replace({"O": "0", "I": "1", "L": "1"})


def _as_letter(sign: pl.Expr) -> pl.Expr:
    return sign.replace({"0": "O", "1": "I"})


def _mend_outward(code: pl.Expr) -> pl.Expr:
    """An outward code with letters where only letters can stand, and digits where only digits can."""
    first, second, third, fourth = (code.str.slice(place, 1) for place in range(4))
    return pl.concat_str(
        _as_letter(first),
        pl.when(code.str.len_chars() == 4)
        .then(_as_letter(second))
        .when(code.str.len_chars() == 2)
        .then(_as_digit(second))
        .otherwise(second),
        _as_digit(third),
        _as_digit(fourth),
    )


_UNIT = f"^{_OUTWARD}[0-9][A-Z]{{2}}$"


def _mend_unit(codes: pl.Series) -> pl.Series:
    code = pl.col("code")
    mended = pl.concat_str(_mend_outward(code.str.head(-3)), _as_digit(code.str.slice(-3, 1)), code.str.slice(-2))
    possible = code.str.len_chars().is_between(5, 7)
    return codes.to_frame("code").select(pl.when(possible).then(mended)).to_series()


def normalise_postcode(values: pl.Series) -> pl.Series:
    """Unit postcodes without a space, ``LU12AB``.

    The letters O, I and L are read as 0 and 1 where they cannot stand (everywhere but in the first two places and the
    last two), and 0 and 1 as O and I where only a letter can. Null for part of a postcode and for codes that are no
    place.
    """
    squeezed = _squeeze(values)
    mended = _mend(squeezed, ~squeezed.str.contains(_UNIT), _mend_unit)
    good = mended.str.contains(_UNIT) & ~mended.str.contains(_NO_PLACE)
    return mended.to_frame("code").select(pl.when(good).then(pl.col("code")).alias(values.name)).to_series()


def postcode_sector(values: pl.Series) -> pl.Series:
    """The sector of *normal* postcodes: outward code and the digit after it, ``LU1 2`` without the space."""
    return values.str.head(-2)


def postcode_district(values: pl.Series) -> pl.Series:
    """The district (outward code) of postcodes as typed, ``LU1``. An outward code alone is enough, and so is a sector
    (``LU1 2``, which is not district LU12); null for codes that are no place."""
    typed = _tidy(values).str.to_uppercase().str.strip_chars()
    outward = _squeeze(typed.str.replace(r"^([A-Z0-9]+)\s+[0-9]$", "${1}"))
    frame = pl.DataFrame({"unit": normalise_postcode(values), "code": outward})
    mended = _mend_outward(pl.col("code"))
    known = (
        mended.str.contains(f"^{_OUTWARD}$") & ~mended.str.contains(_NO_PLACE) & (pl.col("code").str.len_chars() < 5)
    )
    return frame.select(
        pl.coalesce(pl.col("unit").str.head(-3), pl.when(known).then(mended)).alias(values.name)
    ).to_series()


# --- numbers and addresses --------------------------------------------------------------------------------------------

_ONE_DIGIT = "|".join(f"{digit}{{10}}" for digit in "0123456789")
_RUNS = r"^(0123456789|1234567890|9876543210|0987654321|1234567899|1231231231|1212121212)$"


def normalise_nhs_number(values: pl.Series) -> pl.Series:
    """NHS numbers as ten digits with a right check digit (modulus 11, NHS Data Dictionary); null for a wrong one, a
    repeated digit and a run such as 1234567890.

    Numbers from 999 on, kept for tests, count as numbers. So do Scotland's CHI and Northern Ireland's Health and Care
    numbers, which have the same form and check digit in ranges of their own: each belongs to one person, and no NHS
    number is equal to one. A person with two of them differs from himself on this field.
    """
    frame = (
        _tidy(values)
        # A column of numbers that went through software with decimals: 9434765919.0
        .str.replace(r"^\s*([0-9]{10})\.0\s*$", "${1}")
        .str.replace_all(r"^\s*'|[\s\p{Pd}./_]", "")
        .to_frame("number")
    )
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
    hold it. O, I and L among the digits are read as 0 and 1. Null for prefixes that are never issued, are temporary
    (TN) or administrative (HMRC, NIM39110), and for placeholder digits."""
    squeezed = _squeeze(values)
    digits = squeezed.str.slice(2, 6).str.replace_all("O", "0").str.replace_all("[IL]", "1")
    frame = pl.DataFrame({"a": squeezed.str.head(2), "b": digits, "c": squeezed.str.slice(8)}).select(
        number=pl.concat_str("a", "b", "c")
    )
    number = pl.col("number").str.head(8)
    good = (
        pl.col("number").str.contains("^[A-Z]{2}[0-9]{6}[A-D]?$")
        & ~number.str.contains("^[DFIQUV]|^.[DFIOQUV]")
        & ~number.str.contains(_NI_ADMINISTRATIVE)
        & ~number.str.contains(_NI_PLACEHOLDER)
    )
    return frame.select(pl.when(good).then(number).alias(values.name)).to_series()


_PLAIN_GB = r"^(?:\+44|0044|44)?0?([1235789][0-9]{9})$"
_PHONE_PLACEHOLDER = "(" + "|".join(f"{digit}{{7}}" for digit in "0123456789") + "|12345678|98765432)"
_BRITISH = "+44"
_OWN_BRITISH = r"^\+44(1[0-9]{8,9}|[257][0-9]{9})$"
"""British numbers that can be a person's own, by first digit and length. 03 and 08 belong to organisations and
services, 09 is premium rate."""
_EXTENSION = r"(?i)\s*(?:ext(?:ension|n)?|x|#)[\s.:]*[0-9]{1,6}\s*$"


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


def _first_number(text: pl.Series) -> pl.Series:
    """The first telephone number of a text that holds more than one number."""
    number = (
        text.str.replace(r"\.0\s*$", "")
        .str.replace(_EXTENSION, "")
        .str.replace(r"^[\p{L}\s:.'()]*([+(0-9])", "${1}")
        .str.replace(r"[\s(\[]*\p{L}[^0-9]*$", "")
        .str.replace(r"^(\+|00)([^(]*)\(0\)", "${1}${2}")
        .str.strip_chars()
    )
    first = number.str.extract(r"^((?:[^0-9/;,&|]*[0-9]){10,13}[^0-9/;,&|]*)(?:[/;,&|]|\s+or\s)", 1)
    return pl.DataFrame({"first": first, "all": number}).select(pl.coalesce("first", "all")).to_series()


def normalise_phone(values: pl.Series) -> pl.Series:
    """Telephone numbers in E.164, ``+447700900123``; British where no country is given.

    Words around the number and an extension are left out; of several numbers the first counts. Null for impossible
    ones, for placeholders (seven equal digits or eight in a run) and for British numbers that begin with 03, 08 or 09,
    which organisations have and no client. A landline that a household shares is a number like any other.
    """
    tidy = _tidy(values)
    text = _mend(tidy, ~tidy.str.contains("^[+]?[0-9 ]+$"), _first_number)
    plain = text.str.replace_all(r"[\s\p{Pd}./()]", "").str.extract(_PLAIN_GB, 1)
    british = "+44" + plain
    other = _per_distinct(
        text.to_frame("t").select(pl.when(plain.is_null()).then(pl.col("t"))).to_series(), _parse_phone
    )
    number = pl.DataFrame({"a": british, "b": other}).select(n=pl.coalesce("a", "b"))
    bad = pl.col("n").str.contains(_PHONE_PLACEHOLDER) | (
        pl.col("n").str.starts_with(_BRITISH) & ~pl.col("n").str.contains(_OWN_BRITISH)
    )
    return number.select(pl.when(~bad).then(pl.col("n")).alias(values.name)).to_series()


_NOBODYS_MAILBOX = (
    *("no", "none", "non", "nomail", "noemail", "noemailaddress", "na", "nil", "null", "nan", "unknown", "notknown"),
    *("notgiven", "notprovided", "notavailable", "notapplicable", "refused", "declined", "withheld", "anon"),
    *("anonymous", "test", "tester", "testing", "dummy", "example", "user", "email", "x", "xx", "xxx", "xxxx", "abc"),
    *("asdf", "client", "serviceuser", "someone", "nobody", "noone", "tbc"),
)
_SHARED_MAILBOX = (
    *("info", "admin", "administrator", "enquiries", "enquiry", "reception", "office", "contact", "contactus"),
    *("support", "help", "helpdesk", "hello", "mail", "noreply", "donotreply", "postmaster", "webmaster", "sales"),
    *("accounts", "hr", "jobs", "team", "manager", "staff", "secretary", "housing", "homelessness", "referrals"),
    *("referral", "safeguarding", "duty", "dutyteam", "advice", "advocacy", "outreach", "hostel", "frontdesk"),
    *("supportworker", "keyworker", "customerservices", "customerservice", "general", "generalenquiries"),
)
_NOBODYS_DOMAIN = (
    *("none.com", "no.com", "na.com", "nomail.com", "noemail.com", "noemail.co.uk", "test.com", "test.co.uk"),
    *("unknown.com", "none.co.uk", "nil.com", "null.com", "nothing.com", "example.com"),
)


_PLAIN_BOX = r"^[a-z0-9][a-z0-9._-]*@[a-z0-9.-]+[a-z]$"


def _first_box(text: pl.Series) -> pl.Series:
    """The first address of a text that is more than one address, without what belongs to no address."""
    column = pl.col("text")
    pointed = column.str.extract(r"<([^<>]*@[^<>]*)>", 1)
    several = column.str.count_matches("@", literal=True) > 1
    first = column.str.extract(r"^([^@]*@[^@;,|/\s]+)(?:\s*[;,|/]|\s)", 1)
    box = (
        pl.coalesce(pointed, pl.when(several).then(first), column)
        .str.replace_all(r"\s", "")
        .str.replace(r"^(e?-?mail:|mailto:)+", "")
        .str.replace_all(r"^[<'\"]+|[>'\";,.]+$", "")
    )
    return text.to_frame("text").select(box).to_series()


def normalise_email(values: pl.Series) -> pl.Series:
    """E-mail addresses in lower case, without ``mailto:`` and the name before ``<``, without a ``+tag``, and for Gmail
    without the dots that it ignores. Of several addresses the first counts.

    Null for what is no address, for placeholders and for boxes that a whole office shares. A quoted local part and
    letters outside ASCII make it null too: no two systems write such an address alike.
    """
    text = _tidy(values).str.to_lowercase()
    frame = _mend(text, ~text.str.contains(_PLAIN_BOX), _first_box).to_frame("box")
    local = pl.col("box").str.extract(r"^([^@]+)@", 1).str.replace(r"\+.*$", "")
    domain = pl.col("box").str.extract(r"^[^@]+@([^@]+)$", 1)
    gmail = domain.is_in(["gmail.com", "googlemail.com"])
    address = pl.concat_str(
        pl.when(gmail).then(local.str.replace_all(".", "", literal=True)).otherwise(local),
        pl.lit("@"),
        pl.when(gmail).then(pl.lit("gmail.com")).otherwise(domain),
    )
    nobodys = local.str.replace_all("[._-]", "").is_in([*_NOBODYS_MAILBOX, *_SHARED_MAILBOX])
    good = (
        address.str.contains(r"^[a-z0-9.!#$%&'*/=?^_`{|}~-]+@([a-z0-9-]+\.)+(xn--[a-z0-9-]+|[a-z]{2,})$")
        & ~nobodys
        & ~domain.is_in(_NOBODYS_DOMAIN)
    )
    return frame.select(pl.when(good).then(address).alias(values.name)).to_series()


_NO_NUMBER = (
    r"^(NA|NONE|NIL|NULL|NAN|NUMBER|UNKNOWN|UNK|NK|DNK|NOTKNOWN|NOTGIVEN|NOTAVAILABLE|NOTAPPLICABLE|NOTPROVIDED|"
    r"NOTRECORDED|NONEGIVEN|REFUSED|DECLINED|WITHHELD|REDACTED|PENDING|AWAITING|TEST|X+|TBC|TBA|TBD|SEENOTES|"
    r"0*|1{7,}|2{7,}|3{7,}|4{7,}|5{7,}|6{7,}|7{7,}|8{7,}|9{7,}|0?123456789?0?)$"
)


def normalise_shared_person_number(values: pl.Series) -> pl.Series:
    """A number that partners already share, in capitals without spaces.

    Short numbers of one digit count (``11`` may be the eleventh person); seven or more equal digits do not, since a
    placeholder would join everybody who has it. Null also for words that say that there is none, for zeros, for signs
    without a letter or digit, and for anything but ASCII.
    """
    number = pl.col("number")
    frame = (
        _tidy(values)
        .str.to_uppercase()
        .str.replace_all(r"[\s\p{C}]", "")
        .str.replace(r"^([0-9]+)\.0$", "${1}")
        .to_frame("number")
        .with_columns(core=number.str.replace_all("[^A-Z0-9]", ""))
    )
    good = number.str.contains("^[!-~]+$") & ~pl.col("core").str.contains(_NO_NUMBER)
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

    ``forename_second`` and ``middle_name`` are given as name families, since they are compared with
    ``forename_family``: Mohammad as a second forename meets Mohammed as a first. ``previous_surname`` is that of its
    own column, or else the former name that the surname's cell holds.
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
            "forename_second": normalise_name_family(_texts(_second(part) for part in parts)),
            "forename_family": normalise_name_family(forename),
            "forename_start": forename.str.head(_START),
            "forename_sound": normalise_sound(forename),
            "initial": _texts(_initial(part) for part in parts),
        }
    )
    last = cells(IdentifierRole.SURNAME)
    spellings = _distinct(last)
    surnames = [read_surname(spelling) for spelling in spellings]
    surname = _texts(_joined(each.parts) for each in surnames)
    last_forms = pl.DataFrame(
        {
            "value": spellings,
            "surname": surname,
            "surname_first_part": _texts(_barrel(each, 0) for each in surnames),
            "surname_last_part": _texts(_barrel(each, -1) for each in surnames),
            "surname_start": surname.str.head(_START),
            "surname_sound": normalise_sound(surname),
            "former_surname": _texts(_joined(each.former) for each in surnames),
        }
    )
    last_looked_up = _look_up(last, last_forms)
    born_cells = _as_date(cells(IdentifierRole.DATE_OF_BIRTH))
    postcode = normalise_postcode(cells(IdentifierRole.POSTCODE))
    return pl.concat(
        [
            _look_up(given, given_forms),
            last_looked_up.drop("former_surname"),
            pl.DataFrame(
                {
                    "middle_name": normalise_name_family(normalise_middle_name(cells(IdentifierRole.MIDDLE_NAMES))),
                    "previous_surname": _either(
                        normalise_surname(cells(IdentifierRole.PREVIOUS_SURNAME)), last_looked_up["former_surname"]
                    ),
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


def _either(first: pl.Series, second: pl.Series) -> pl.Series:
    return pl.DataFrame({"first": first, "second": second}).select(pl.coalesce("first", "second")).to_series()


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
