"""No field of the agreement can be changed without being told, and none can be added and be forgotten.

The walk below goes through every model that an agreement is made of, spoils each field in turn, and asks for a change
with a kind of its own.
"""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from protocol.changes import Effect, classify_changes
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import (
    Agreement,
    ColumnUpgrade,
    Disclosure,
    EarlierVersion,
    Mapping,
    Signature,
    SqlMapping,
    TableMapping,
    TableUpgrade,
    Upgrade,
    VersionWindow,
)

NO_PART_OF_THE_TEXT = {("Agreement", "digest"), ("Partner", "signatures")}
Mutant = tuple[str, str, str, Agreement]


@pytest.fixture(scope="module")
def whole() -> Agreement:
    """The example, with whatever it leaves out, so that every model is in it at least once."""
    example = load_agreement(default_agreement_folder())
    mapping = Mapping(
        tables=(
            TableMapping(
                table="person", columns={"sex": "Gender"}, codes={"sex": {"F": "female"}}, constants={"x": "y"}
            ),
        ),
        sql=(SqlMapping(table="cost", select="SELECT 1"),),
        parameters={"site": "4"},
    )
    upgrade = Upgrade(tables=(TableUpgrade(table="person", columns=(ColumnUpgrade(column="sex", source="sex"),)),))
    contract = example.contract.model_copy(update={"version": "0.9"})
    first, *rest = example.partners
    return example.model_copy(
        update={
            "partners": (first.model_copy(update={"mapping": mapping}), *rest),
            "versions": (
                VersionWindow(version="1.0", first_period="2026-Q3"),
                VersionWindow(version="0.9", first_period="2026-Q1", sunset=date(2027, 3, 31)),
            ),
            "earlier": EarlierVersion(contract=contract, codelists=example.codelists, upgrade=upgrade),
        }
    )


def models_of(annotation: Any) -> set[type[BaseModel]]:
    """Every model that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inner = (models_of(field.annotation) for field in annotation.model_fields.values())
        return {annotation}.union(*inner)
    return set().union(*(models_of(part) for part in get_args(annotation))) if get_args(annotation) else set()


def spoil(value: Any, annotation: Any) -> Iterator[Any]:
    """Other values of the same type."""
    if value is None:
        yield sample(annotation)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, Enum):
        yield next(other for other in type(value) if other is not value)
    elif isinstance(value, int | float):
        yield value + 1
        yield value - 1
    elif isinstance(value, date):
        yield value + timedelta(days=1)
        yield value - timedelta(days=1)
    elif isinstance(value, str):
        yield "8.9" if value.replace(".", "").isdigit() else value + "_x"
    elif isinstance(value, dict):
        yield {**value, "other": sample(get_args(annotation)[1])}
        if value:
            yield {}
    elif isinstance(value, tuple):
        yield value[:-1] if value else (sample(get_args(annotation)[0]),)
        if value[::-1] != value:
            yield value[::-1]
    elif isinstance(value, BaseModel):
        if type(None) in get_args(annotation):
            yield None
    else:
        raise AssertionError(f"the walk cannot spoil {type(value)}")


def sample(annotation: Any) -> Any:
    """Some value of a type."""
    if get_origin(annotation) in (Union, UnionType):
        return sample(next(part for part in get_args(annotation) if part is not type(None)))
    if get_origin(annotation) is Annotated:
        return sample(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return (sample(get_args(annotation)[0]),)
    if get_origin(annotation) is dict:
        return {"other": sample(get_args(annotation)[1])}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_construct(
            **{name: sample(field.annotation) for name, field in annotation.model_fields.items() if field.is_required()}
        )
    return {str: "other", int: 3, float: 0.5, bool: True, date: date(2030, 1, 1)}[annotation]


def mutants(model: BaseModel, rebuild: Callable[[Any], Agreement], path: str, seen: set[Any]) -> Iterator[Mutant]:
    """Every way of spoiling a model: once for each part of the agreement, each field, and each kind of rule."""
    for name, field in type(model).model_fields.items():
        if (type(model).__name__, name) in NO_PART_OF_THE_TEXT:
            continue
        value = getattr(model, name)

        def replace(other: Any, name: str = name) -> Agreement:
            return rebuild(model.model_copy(update={name: other}))

        at = f"{path}.{name}" if path else name
        sort = (path.partition(".")[0], type(model), name, value is None, getattr(model, "kind", None))
        if sort not in seen:
            seen.add(sort)
            for other in spoil(value, field.annotation):
                yield type(model).__name__, name, at, replace(other)
        if isinstance(value, BaseModel):
            yield from mutants(value, replace, at, seen)
        if isinstance(value, tuple):
            for place, part in enumerate(value):
                if isinstance(part, BaseModel):

                    def swap(
                        other: Any, place: int = place, value: tuple[Any, ...] = value, replace: Any = replace
                    ) -> Agreement:
                        return replace((*value[:place], other, *value[place + 1 :]))

                    yield from mutants(part, swap, f"{at}.{place}", seen)


def test_whatever_is_changed_in_an_agreement_is_told_with_a_kind_of_its_own(whole: Agreement) -> None:
    untold, reached, count = [], set(), 0
    for model, name, place, mutant in mutants(whole, lambda agreement: agreement, "", set()):
        reached.add((model, name))
        count += 1
        kinds = {change.kind for change in classify_changes(whole, mutant).changes}
        if not kinds or "unclassified" in kinds:
            untold.append(f"{place}: {sorted(kinds)}")
    assert not untold
    every = {
        (model.__name__, name)
        for model in models_of(Agreement) - {Signature}
        for name, field in model.model_fields.items()
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))  # their fields count
    }
    assert reached == every - NO_PART_OF_THE_TEXT
    assert count > len(every)


class WiderDisclosure(Disclosure):
    """Disclosure control with a figure that nobody has said anything about."""

    largest_share: int = 80


def test_a_field_that_nobody_has_classified_counts_as_a_break_for_all(whole: Agreement) -> None:
    earlier = whole.model_copy(update={"disclosure": WiderDisclosure()})
    later = whole.model_copy(update={"disclosure": WiderDisclosure(largest_share=90)})
    (change,) = classify_changes(earlier, later).changes
    assert (change.kind, change.place) == ("unclassified", "disclosure.largest_share")
    assert {change.submitters, change.analysts, change.data_subjects} == {Effect.BREAK}
