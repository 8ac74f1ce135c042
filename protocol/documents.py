"""Reading the agreement's YAML, and gathering what is wrong with it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import ValidationError
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode

from protocol.digest import read_text
from protocol.errors import AgreementError
from protocol.model import Frozen

MOST_TOLD = 40
"""More faults than this are counted and not listed."""

Model = TypeVar("Model", bound=Frozen)


class Faults:
    """What is wrong with an agreement, gathered so that its author mends it in one go."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def add(self, file: str, entry: str, what: str) -> None:
        """Note one fault: the file below the agreement's folder, the entry in it, and what to do."""
        line = f"{file}: {entry}: {what}" if entry else f"{file}: {what}"
        if line not in self._told:
            self._told.append(line)

    def __bool__(self) -> bool:
        return bool(self._told)

    def stop(self) -> None:
        """Raise AgreementError where anything was noted."""
        if self._told:
            self._raise()

    def _raise(self) -> NoReturn:
        count = len(self._told)
        things = "one entry has" if count == 1 else f"{count} entries have"
        lines = [f"- {line}" for line in self._told[:MOST_TOLD]]
        if count > MOST_TOLD:
            lines.append(f"- and {count - MOST_TOLD} more")
        raise AgreementError("\n".join([f"The agreement cannot be used: {things} to be mended.", *lines]))


class _Loader(yaml.CSafeLoader):
    """YAML as an agreement's author means it: ``no`` and ``2026-03-31`` are text, and a key stands once.

    YAML 1.1 would read the code ``no`` as false and take the last of two equal keys without a word.
    """

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConstructorError(None, None, "a key is not text; put it in quotes", key_node.start_mark)
            if key in seen:
                raise ConstructorError(None, None, f"the key {key} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_PLAIN = {"tag:yaml.org,2002:null", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag in _PLAIN]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def read_yaml(path: Path, folder: Path, faults: Faults) -> dict[str, Any] | None:
    """The mapping that a YAML file of the agreement holds; None, and a fault, where it has none."""
    name = path.relative_to(folder).as_posix()
    try:
        content = yaml.load(read_text(path, folder), Loader=_Loader)  # noqa: S506 (derived from CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}" if mark else ""
        faults.add(name, place, f"is not good YAML ({error.problem}).")
        return None
    except yaml.YAMLError:
        faults.add(name, "", "is not good YAML. Look for control characters in it.")
        return None
    except AgreementError as error:
        faults.add(name, "", str(error).removeprefix(f"{name}: "))
        return None
    if not isinstance(content, dict):
        faults.add(name, "", "should hold entries of the form 'name: value', and nothing else at the top.")
        return None
    return content


def build(model: type[Model], content: object, file: str, entry: str, faults: Faults) -> Model | None:
    """``content`` as ``model``; None, and one fault for each entry that does not fit."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False, include_context=False):
            place = ".".join([entry, *map(str, fault["loc"])] if entry else map(str, fault["loc"]))
            faults.add(file, place, _plainly(fault["type"], fault["msg"]))
        return None


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
