"""Fields that a higher wing adds to a type of a lower wing, without an import from there."""

from collections.abc import Callable
from typing import Any, TypeVar

import strawberry
from strawberry.types.base import StrawberryObjectDefinition, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from crm.graph.declare.fields import KEY, model_of

T = TypeVar("T")


def extend(extended: type[Any]) -> Callable[[type[T]], type[T]]:
    """Add a class's computed fields and edges to a type that was made of a model by `graph.type`.

    Each function gets the columns of the extended type's row, and the model's policy holds as for its other fields.
    `crm/schema.py` must import the module that extends: the schema has only fields that were declared when it is built.
    """
    if model_of(extended) is None:
        msg = f"{extended.__name__} is not made of a model by `graph.type`, so it cannot be extended"
        raise TypeError(msg)

    def decorate(cls: type[T]) -> type[T]:
        target, added = _definition(extended), _definition(strawberry.type(cls)).fields
        for field in added:
            _check(field, cls, target)
        target.fields.extend(added)
        return cls

    return decorate


def _definition(cls: type[Any]) -> StrawberryObjectDefinition:
    return get_object_definition(cls, strict=True)


def _check(field: StrawberryField, cls: type[Any], target: StrawberryObjectDefinition) -> None:
    if KEY not in (field.metadata or {}):
        msg = (
            f"{cls.__name__}.{field.python_name} is neither `graph.computed` nor `graph.edge`: "
            f"a column of {target.name} is said in its model"
        )
        raise TypeError(msg)
    name = _api_name(field)
    for other in target.fields:
        if _api_name(other) == name:
            place = f"{other.origin.__module__}.{other.origin.__qualname__}" if other.origin else target.name
            msg = f"{target.name} has a field `{name}` already (by {place}): {cls.__name__} cannot add another"
            raise TypeError(msg)


def _api_name(field: StrawberryField) -> str:
    """The name of a field in the API."""
    return field.graphql_name or to_camel_case(field.python_name)


__all__ = ["extend"]
