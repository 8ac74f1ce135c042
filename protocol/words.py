"""Wording that several messages and pages share."""

from collections.abc import Sequence


def list_in_words(names: Sequence[str]) -> str:
    """``a, b and c``; nothing for none."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
