"""What several checks need."""

import re
from collections import Counter
from collections.abc import Iterable

from protocol.documents import Faults

FRAME = "agreement.yaml"
SHORTEST_SENTENCE = 20
"""A text of fewer characters says nothing that a reader could hold anybody to."""

_EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;.]+")


def is_email(text: str) -> bool:
    """True where the text has the form of one e-mail address."""
    return _EMAIL.fullmatch(text) is not None


def once(names: Iterable[str], file: str, entry: str, faults: Faults) -> None:
    """Add a fault for each name that stands more than once; it has the line of the name where it can be found."""
    for name, count in Counter(names).items():
        if count > 1:
            faults.add(file, entry, f"have {name} more than once. Keep one.")
