"""The parts that comparing two versions is put together from: one handler for each field of each model.

A field without a handler is not passed over: it yields a change of the kind ``unclassified``, which counts as a break
for everyone, and a test fails that walks all fields of all models.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from typing import Any

from pydantic import BaseModel

from protocol.changes.kinds import KINDS
from protocol.changes.model import Change
from protocol.model import Agreement


@dataclass(frozen=True)
class Pair:
    """One field, or one thing of a list, as it was and as it becomes; each with the model that it belongs to."""

    place: str
    earlier: Any
    later: Any
    earlier_owner: Any
    later_owner: Any
    earlier_agreement: Agreement
    later_agreement: Agreement

    def change(
        self, kind: str, *, was: object = None, becomes: object = None, at: str | None = None, hint: str | None = None
    ) -> Change:
        """A change of ``kind`` here, or at a place below."""
        known = KINDS[kind]
        return Change(
            kind=kind,
            place=self.place if at is None else f"{self.place}.{at}",
            sentence=known.title,
            was=None if was is None else tell(was),
            becomes=None if becomes is None else tell(becomes),
            hint=hint,
            submitters=known.submitters,
            analysts=known.analysts,
            data_subjects=known.data_subjects,
        )

    def differ(self, kind: str) -> Change:
        """A change of ``kind`` here that shows both values."""
        return self.change(kind, was=tell(self.earlier), becomes=tell(self.later))

    def of(self, earlier: Any, later: Any) -> "Pair":
        """Two other things at the same place, of the same owners."""
        return replace(self, earlier=earlier, later=later)

    def at(self, place: str) -> "Pair":
        """The same two things under another place."""
        return replace(self, place=place)

    def below(self, at: str, earlier: Any, later: Any) -> "Pair":
        """The pair of two things that belong to this one."""
        place = f"{self.place}.{at}" if self.place else at
        return replace(
            self, place=place, earlier=earlier, later=later, earlier_owner=self.earlier, later_owner=self.later
        )


Handler = Callable[[Pair], Iterable[Change]]
Handlers = Mapping[str, Handler]


def tell(value: object) -> str:
    """A value of the agreement as a person would write it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, BaseModel):
        return ", ".join(f"{name} {tell(getattr(value, name))}" for name in type(value).model_fields)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {tell(entry)}" for name, entry in value.items()) or "nothing"
    if isinstance(value, (tuple, list, set, frozenset)):
        return ", ".join(tell(entry) for entry in value) or "nothing"
    return str(value)


def compare_fields(handlers: Handlers, pair: Pair) -> Iterator[Change]:
    """What differs between two models of one class, field by field."""
    for name in type(pair.later).model_fields:
        inner = pair.below(name, getattr(pair.earlier, name), getattr(pair.later, name))
        if inner.earlier != inner.later:
            yield from handlers.get(name, unclassified)(inner)


def fields(handlers: Handlers) -> Handler:
    """A handler for a thing that is one model on both sides."""
    return lambda pair: compare_fields(handlers, pair)


def unclassified(pair: Pair) -> Iterator[Change]:
    """Of what nobody has said what it means."""
    yield pair.differ("unclassified")


def passed_over(_: Pair) -> Iterator[Change]:
    """Of what is no part of the text that is signed, or is compared elsewhere."""
    yield from ()


def changed(kind: str) -> Handler:
    """Whatever differs is of one kind."""
    return lambda pair: [pair.differ(kind)]


def flag(true: str, false: str) -> Handler:
    """A truth value that becomes true, or false."""
    return lambda pair: [pair.differ(true if pair.later else false)]


def text(kind: str) -> Handler:
    """A text. Other white space and line ends are layout and no more; any other letter may matter."""

    def handle(pair: Pair) -> Iterator[Change]:
        yield pair.differ("text.layout" if words(pair.earlier) == words(pair.later) else kind)

    return handle


def words(value: str | None) -> str:
    """A text without its layout."""
    return " ".join((value or "").split())


def letters(value: str) -> str:
    """A text without layout, marks and case."""
    return " ".join(re.findall(r"\w+", value.casefold()))


def ordered(higher: str, lower: str, *, missing_is_highest: bool = True) -> Handler:
    """A number or a date that becomes higher, or lower. A missing one is beyond all others."""

    def handle(pair: Pair) -> Iterator[Change]:
        if pair.earlier is None or pair.later is None:
            rises = (pair.later is None) == missing_is_highest
        else:
            rises = pair.later > pair.earlier
        yield pair.differ(higher if rises else lower)

    return handle


def members(added: str, removed: str, reordered: str) -> Handler:
    """Names that are added, removed, or only stand in another order."""

    def handle(pair: Pair) -> Iterator[Change]:
        yield from (pair.change(removed, was=name) for name in pair.earlier if name not in pair.later)
        yield from (pair.change(added, becomes=name) for name in pair.later if name not in pair.earlier)
        if set(pair.earlier) == set(pair.later):
            yield pair.differ(reordered)

    return handle


def entries(added: str, removed: str, other: str) -> Handler:
    """A mapping of names, entry by entry."""

    def handle(pair: Pair) -> Iterator[Change]:
        for name in [*pair.earlier, *(name for name in pair.later if name not in pair.earlier)]:
            was, becomes = pair.earlier.get(name), pair.later.get(name)
            if was != becomes:
                kind = added if name not in pair.earlier else removed if name not in pair.later else other
                yield pair.change(kind, was=was, becomes=becomes, at=name)

    return handle


def listed(
    key: Callable[[Any], Any],
    compare_one: Handler,
    added: str | Handler,
    removed: str | Handler,
    reordered: str,
    alike: Callable[[Any, Any], bool] = lambda _earlier, _later: False,
    lifted: bool = False,
) -> Handler:
    """A list of things, each recognised by its key, wherever it stands.

    :param compare_one: for a thing that is in both.
    :param added: kind of one that is new, or a handler for it.
    :param removed: kind of one that is gone, or a handler for it.
    :param reordered: kind where those in both stand in another order.
    :param alike: whether one that is gone and one that is new may be the same thing renamed; both then say so.
    :param lifted: name a thing without the list: ``tables.person.sex`` and not ``tables.person.columns.sex``.
    """

    def handle(pair: Pair) -> Iterator[Change]:
        earlier = {key(thing): thing for thing in pair.earlier}
        later = {key(thing): thing for thing in pair.later}
        gone = [name for name in earlier if name not in later]
        new = [name for name in later if name not in earlier]
        renamed = _pair_up(gone, new, lambda before, after: alike(earlier[before], later[after]))
        backwards = {after: before for before, after in renamed.items()}
        things = pair.at(pair.place.rpartition(".")[0]) if lifted else pair
        for name in gone:
            hint = f"it looks as if it were {told_key(renamed[name])} now" if name in renamed else None
            yield from _one_sided(removed, things.below(told_key(name), earlier[name], None), hint)
        for name, thing in later.items():
            if name in earlier:
                if earlier[name] != thing:
                    yield from compare_one(things.below(told_key(name), earlier[name], thing))
                continue
            hint = f"it looks as if it had been {told_key(backwards[name])}" if name in backwards else None
            yield from _one_sided(added, things.below(told_key(name), None, thing), hint)
        if [name for name in earlier if name in later] != [name for name in later if name in earlier]:
            yield pair.change(reordered)

    return handle


def told_key(name: object) -> str:
    """A key as the end of a place."""
    return "+".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _one_sided(kind: str | Handler, pair: Pair, hint: str | None) -> Iterator[Change]:
    for change in [pair.change(kind)] if isinstance(kind, str) else kind(pair):
        yield change if hint is None else change.model_copy(update={"hint": hint})


def _pair_up(gone: Sequence[Any], new: Sequence[Any], alike: Callable[[Any, Any], bool]) -> dict[Any, Any]:
    """What is gone -> what it may have become; each at most once."""
    found: dict[Any, Any] = {}
    for before in gone:
        after = next((name for name in new if name not in found.values() and alike(before, name)), None)
        if after is not None:
            found[before] = after
    return found
