"""Reading the agreement's YAML, and gathering what is wrong with it, each fault with the line where it stands.

The YAML is the part of the language that reads the same in every tool and to every eye: entries, lists and plain
values. What hides or moves content (anchors, aliases, tags, tabs, a key that stands twice) is a fault.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from protocol.digest import read_text
from protocol.errors import AgreementError
from protocol.model import Frozen

MOST_TOLD = 40
"""More faults than this are counted and not listed where loading is refused; ``linkarms agreement lint`` lists all."""

Model = TypeVar("Model", bound=Frozen)


# --- where things stand ---------------------------------------------------------------------------------------------


@dataclass
class Place:
    """Where a value stands in a file, and where the values inside it stand."""

    line: int
    text: str | None = None
    """Of a plain value: what is written."""
    inside: dict[str, "Place"] = field(default_factory=dict)
    """Of entries by their key, of a list by position (``"0"``, ``"1"`` ...)."""
    is_list: bool = False

    def find(self, entry: str) -> "Place":
        """The place of ``entry`` (``clauses.3.title``, ``person.sex.treatment``), or the closest that is there.

        An item of a list goes by its position or by its name (table, column, custom property, code, period).
        """
        place, rest = self, entry.split(".") if entry else []
        while rest:
            # An own code or heading may hold points, so the longest name that is there counts.
            for length in range(len(rest), 0, -1):
                found = place._inner(".".join(rest[:length]))
                if found is None and length == 1:  # a rule over several columns stands at the first of them
                    found = place._inner(rest[0].partition("+")[0])
                if found is not None:
                    place, rest = found, rest[length:]
                    break
            else:
                break
        return place

    def _inner(self, name: str) -> "Place | None":
        if name in self.inside:
            return self.inside[name]
        if self.is_list:
            return next((item for item in self.inside.values() if name in item._names()), None)
        for container in _LISTS_OF_NAMED:
            if container in self.inside and (found := self.inside[container]._inner(name)) is not None:
                return found
        return None

    def _names(self) -> set[str | None]:
        return {self.inside[key].text for key in _NAMING if key in self.inside}


_NAMING = ("name", "id", "number", "code", "property", "table", "version")
"""Entries by which an item of a list is known."""
_LISTS_OF_NAMED = ("schema", "properties", "customProperties", "codes", "periods", "purposes")
"""Lists that faults leave out when they name an item: ``person.sex`` is in ``schema`` and there in ``properties``."""


def _texts_in(place: Place, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if place.text is not None:
        yield ".".join(above), place.text
    for key, inner in place.inside.items():
        yield from _texts_in(inner, (*above, key))


# --- faults -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an agreement."""

    file: str
    """Below the agreement's folder."""
    line: int | None
    """None where the file itself is missing or cannot be read."""
    entry: str
    """The entry in the file, ``person.sex.treatment``; empty where the whole file is meant."""
    what: str
    """What is wrong and what to do, going on from the entry's name."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.entry}: {self.what}" if self.entry else f"{place}: {self.what}"


class Faults:
    """What is wrong with an agreement, gathered so that its author mends it in one go."""

    def __init__(self) -> None:
        self._told: list[Fault] = []
        self._places: dict[str, Place] = {}
        self._unclear: set[tuple[str, str]] = set()

    def add(self, file: str, entry: str, what: str, line: int | None = None) -> None:
        """Note one fault: the file below the agreement's folder, the entry in it, and what to do.

        :param line: where it is not the entry's own line (in an SQL file).
        """
        if line is None and file in self._places:
            line = self._places[file].find(entry).line
        fault = Fault(file, line, entry, what)
        if fault not in self._told:
            self._told.append(fault)

    def place(self, file: str, top: Place) -> None:
        """From now on, faults in ``file`` have the lines of ``top``."""
        self._places[file] = top

    def texts(self) -> Iterator[tuple[str, str, str]]:
        """Every plain value that was read: its file, its entry and what is written."""
        for file, top in self._places.items():
            yield from ((file, entry, text) for entry, text in _texts_in(top, ()))

    def doubt(self, file: str, entry: str = "") -> None:
        """Note that ``entry`` is so faulty that nothing can be concluded from it."""
        self._unclear.add((file, entry))

    def doubts(self, file: str, entry: str = "") -> bool:
        """True where nothing can be concluded from ``entry``, so that its faults do not breed others elsewhere."""
        return (file, entry) in self._unclear or (file, "") in self._unclear

    def concern(self, *files: str) -> bool:
        """True where anything was noted in one of the files."""
        return any(fault.file in files for fault in self._told)

    @property
    def told(self) -> tuple[Fault, ...]:
        """All faults, by file and line."""
        return tuple(sorted(self._told, key=lambda fault: (_rank(fault.file), fault.file, fault.line or 0)))

    def __len__(self) -> int:
        return len(self._told)

    def beside(self) -> "Faults":
        """An empty collection for the same files, with their lines: for what is only a warning."""
        other = Faults()
        other._places = self._places
        return other

    def stop(self) -> None:
        """Raise AgreementError where anything was noted."""
        if self._told:
            raise AgreementError(describe_faults(self.told, most=MOST_TOLD))


def _rank(file: str) -> int:
    """agreement.yaml comes first: much that follows hangs on it."""
    return 0 if file == "agreement.yaml" else 1


def describe_faults(faults: tuple[Fault, ...], most: int | None = None) -> str:
    """All faults as one message, a line each; beyond ``most`` they are counted."""
    count = len(faults)
    things = "one entry has" if count == 1 else f"{count} entries have"
    lines = [f"- {fault}" for fault in faults[:most]]
    if most is not None and count > most:
        lines.append(f"- and {count - most} more; `linkarms agreement lint` lists all")
    return "\n".join([f"The agreement cannot be used: {things} to be mended.", *lines])


# --- YAML -------------------------------------------------------------------------------------------------------------

_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?[0-9]+\.[0-9]+")


def read_yaml(path: Path, folder: Path, faults: Faults) -> dict[str, Any] | None:
    """The mapping that a YAML file of the agreement holds; None, and a fault, where it has none.

    ``no`` and ``2026-03-31`` are text, as is ``007``: only ``true``, ``false``, ``null`` and plain numbers are not.
    Where a key stands twice, or something is used that is not read here, that is a fault and the rest is read on.
    """
    name = path.relative_to(folder).as_posix()
    try:
        content, top = _Reader(name, read_text(path, folder), faults).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem)
        if "\\t" in problem or "'\t'" in problem or "tab" in problem.split():
            problem = "a tab stands here; indent with blanks"
        faults.add(name, "", f"is not good YAML ({problem}).", mark.line + 1 if mark else None)
    except yaml.YAMLError:
        faults.add(name, "", "is not good YAML. Look for control characters in it.")
    except AgreementError as error:
        faults.add(name, "", str(error).removeprefix(f"{name}: "))
    else:
        faults.place(name, top)
        if isinstance(content, dict):
            return content
        faults.add(name, "", "should hold entries of the form 'name: value', and nothing else at the top.", 1)
    faults.doubt(name)
    return None


class _Reader:
    """One file's YAML, event by event, as values and as the places where they stand."""

    def __init__(self, name: str, text: str, faults: Faults) -> None:
        self._name = name
        self._events = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._faults = faults

    def read(self) -> tuple[Any, Place]:
        """The content of the only document, and its place."""
        value: Any = None
        place = Place(1)
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, "a second document begins here. Keep one in each file")
                    break
            elif isinstance(event, yaml.NodeEvent):
                value, place = self._node(event)
        return value, place

    def _refuse(self, event: yaml.Event, what: str) -> None:
        self._faults.add(self._name, "", f"is not good YAML for an agreement: {what}.", _line(event))

    def _node(self, event: yaml.Event) -> tuple[Any, Place]:
        place = Place(_line(event))
        if isinstance(event, yaml.AliasEvent):
            self._refuse(
                event, f"*{event.anchor} stands for something elsewhere. Write it out, so that a reader sees it"
            )
            return None, place
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.anchor is not None:
            self._refuse(event, f"&{event.anchor} is an anchor. Write out what stands here wherever it holds")
        if event.tag is not None:
            self._refuse(event, f"{event.tag.rpartition(':')[2]} is a tag. Remove it; put text in quotes")
        if isinstance(event, yaml.ScalarEvent):
            place.text = event.value
            return (_plain(event.value) if event.implicit[0] else event.value), place
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place), place
        return self._mapping(place), place

    def _sequence(self, place: Place) -> list[Any]:
        place.is_list = True
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            value, inner = self._node(event)
            place.inside[str(len(values))] = inner
            values.append(value)
        return values

    def _mapping(self, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, key_place = self._node(event)
            value, inner = self._node(next(self._events))
            if key == "<<":
                self._refuse(event, "<< takes in entries from elsewhere. Write them out")
            elif not isinstance(key, str):
                self._refuse(event, "a key is not text; put it in quotes")
            elif key in values:
                self._refuse(event, f"the key {key} stands twice. Keep one of both")
            else:
                inner.line = key_place.line
                place.inside[key] = inner
                values[key] = value
        return values


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _plain(text: str) -> Any:
    """What a value without quotes means."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


# --- entries ----------------------------------------------------------------------------------------------------------


def build(model: type[Model], content: object, file: str, entry: str, faults: Faults) -> Model | None:
    """``content`` as ``model``; None, and one fault for each entry that does not fit."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        _tell(error, file, entry, faults)
        return None


def build_entries(
    model: type[Frozen], names: Iterable[str], content: Mapping[str, Any], file: str, faults: Faults
) -> dict[str, Any]:
    """Those fields of ``model`` that ``content`` holds in good form; each other is told and doubted, unless it may
    be left out."""
    values: dict[str, Any] = {}
    for name in sorted(names):
        if name in content:
            try:
                values[name] = _field_adapter(model, name).validate_python(content[name])
                continue
            except ValidationError as error:
                _tell(error, file, name, faults)
        elif not model.model_fields[name].is_required():
            continue
        else:
            faults.add(file, name, "is missing. Add it.")
        faults.doubt(file, name)
    return values


@cache
def _field_adapter(model: type[Frozen], name: str) -> TypeAdapter[Any]:
    field_ = model.model_fields[name]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field_.annotation, field_])  # type: ignore[arg-type]
    return adapter


def _tell(error: ValidationError, file: str, entry: str, faults: Faults) -> None:
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join([entry, *map(str, fault["loc"])] if entry else map(str, fault["loc"]))
        faults.add(file, place, _plainly(fault["type"], fault["msg"]))


def _plainly(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing. Add it."
    if kind == "extra_forbidden":
        return "is not an entry that Linkarms knows. Correct its spelling or remove it."
    if kind == "string_type":
        return "should be text. Put the value in quotes."
    if kind == "string_pattern_mismatch":
        return "should be a name of small letters, digits and underscores that starts with a letter."
    if kind.startswith("date"):
        return "should be a date such as 2026-03-31."
    return f"{message[:1].lower()}{message[1:]}."


def take(content: Mapping[str, Any], key: str, kind: type, file: str, entry: str, faults: Faults) -> Any:
    """``content[key]`` where it is of ``kind``; None where it is missing, and a fault where it is something else."""
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = {list: "a list", dict: "entries of the form 'name: value'", str: "text", bool: "true or false"}
        faults.add(file, f"{entry}.{key}" if entry else key, f"should be {words.get(kind, kind.__name__)}.")
        return None
    return value


def refuse_unknown(content: Iterable[str], known: Iterable[str], file: str, entry: str, faults: Faults) -> None:
    """A fault for each entry that is not known."""
    for key in sorted(set(content) - set(known)):
        faults.add(
            file,
            f"{entry}.{key}" if entry else key,
            "is not an entry that Linkarms knows. Correct its spelling or remove it.",
        )
