"""Text that matches a regular expression of the agreement.

Portable expressions only: what the agreement's check lets through (no look-around, no back-references). Characters are
ASCII that can stand in a cell, so that every engine that checks the text sees the same.
"""

import re
import string
from collections.abc import Callable, Sequence
from functools import lru_cache
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

MOST_REPEATS = 8
"""An open repetition is drawn at most so often beyond its minimum."""

_PRINTABLE = string.ascii_letters + string.digits + "-_./ ,'()&:;+#@!?%*=<>[]{}$^~|\\\""
_PLAIN = string.ascii_lowercase + string.digits
_CATEGORIES = {
    sre.CATEGORY_DIGIT: string.digits,
    sre.CATEGORY_WORD: string.ascii_letters + string.digits + "_",
    sre.CATEGORY_SPACE: " ",
    sre.CATEGORY_NOT_DIGIT: string.ascii_letters,
    sre.CATEGORY_NOT_WORD: "-./ ",
    sre.CATEGORY_NOT_SPACE: string.ascii_letters + string.digits,
}

Choose = Callable[[int], int]
"""Gives a whole number from 0 to one below its argument."""


def draw_text(pattern: str, choose: Choose) -> str | None:
    """One text that the whole ``pattern`` matches; None where the expression has something this cannot draw.

    The text is tried on the pattern before it is given back.
    """
    try:
        text = _draw(_parse(pattern), choose)
    except (re.error, KeyError, IndexError):
        return None
    return text if re.fullmatch(pattern, text) else None


@lru_cache
def _parse(pattern: str) -> Any:
    return _parser.parse(pattern)


def _draw(nodes: Any, choose: Choose) -> str:
    return "".join(_draw_one(kind, value, choose) for kind, value in nodes)


def _draw_one(kind: Any, value: Any, choose: Choose) -> str:
    if kind is sre.LITERAL:
        return chr(value)
    if kind is sre.NOT_LITERAL:
        return _pick([c for c in _PLAIN if c != chr(value)], choose)
    if kind is sre.ANY:
        return _pick(list(_PLAIN), choose)
    if kind is sre.IN:
        return _pick(_members(tuple(value)), choose)
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        least, most, inner = value
        times = least + choose(min(int(most), least + MOST_REPEATS) - least + 1)
        return "".join(_draw(inner, choose) for _ in range(times))
    if kind is sre.SUBPATTERN:
        return _draw(value[3], choose)
    if kind is sre.ATOMIC_GROUP:
        return _draw(value, choose)
    if kind is sre.BRANCH:
        return _draw(value[1][choose(len(value[1]))], choose)
    if kind is sre.AT:  # the whole cell is matched anyway
        return ""
    raise KeyError(kind)


@lru_cache
def _members(entries: tuple[tuple[Any, Any], ...]) -> Sequence[str]:
    """The characters of a class; of a wide one those that are usual in a cell."""
    negated = entries[0][0] is sre.NEGATE
    named: list[str] = []
    for kind, value in entries[1:] if negated else entries:
        if kind is sre.LITERAL:
            named.append(chr(value))
        elif kind is sre.RANGE:
            named.extend(chr(code) for code in range(value[0], min(value[1], value[0] + 127) + 1))
        else:
            named.extend(_CATEGORIES[value])
    if negated:
        return [c for c in _PLAIN if c not in named] or [c for c in _PRINTABLE if c not in named]
    usual = [c for c in named if c in _PRINTABLE]
    return usual or named


def _pick(members: Sequence[str], choose: Choose) -> str:
    return members[choose(len(members))]
