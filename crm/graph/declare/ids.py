"""Ids that are whole numbers: the API takes and gives them as `ID`, so their text is as good as the number."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import strawberry
from graphql import GraphQLInt, GraphQLList, GraphQLNamedType, GraphQLNonNull, get_named_type

from crm.core import validate

_READ: Final = "crm_read"

if TYPE_CHECKING:
    RecordId = int  # what functions get
else:
    RecordId = strawberry.ID  # what the API takes; the engine reads it

# Reads a value; the label is for errors.
Reader = Callable[[Any, str], Any]


def reads(reader: Reader, leaf: GraphQLNamedType) -> dict[str, Any]:
    """The metadata of an argument or an input's field whose values are read, and of the type that they have then."""
    return {_READ: (reader, leaf)}


def record_id(description: str) -> Any:
    """Describe an argument of type `RecordId`: the id of a lead, a task or an interaction."""
    return strawberry.argument(description=description, metadata=IS_NUMBER)


def reader_of(definition: Any, kind: Any) -> tuple[Reader | None, Any]:
    """How the values of an argument or an input's field are read, if they are, and the type that they have then."""
    read = definition.metadata.get(_READ)
    if read is not None:
        return read[0], _with_leaf(kind, read[1])
    return (_as_text if get_named_type(kind).name == "ID" else None), kind


def _with_leaf(kind: Any, leaf: Any) -> Any:
    """The type with another type within its lists."""
    if isinstance(kind, GraphQLNonNull):
        return GraphQLNonNull(_with_leaf(kind.of_type, leaf))
    return GraphQLList(_with_leaf(kind.of_type, leaf)) if isinstance(kind, GraphQLList) else leaf


def _as_text(value: Any, label: str) -> Any:  # noqa: ARG001
    """The text that an id is; a variable of type `Int` may hold it."""
    if isinstance(value, list):
        return [str(element) if isinstance(element, int) else element for element in value]
    return str(value) if isinstance(value, int) else value


def _as_number(value: Any, label: str) -> Any:
    """The number that an id is, or the numbers of a list; an error that names the field if it is none."""
    if isinstance(value, list):
        return [_as_number(element, f"{label}.{index}") for index, element in enumerate(value)]
    if isinstance(value, str):
        # No record has a negative one, but it was, and is, a number to compare with.
        return -validate.record_id(label, value[1:]) if value[:1] == "-" else validate.record_id(label, value)
    return value


# The metadata of an argument or an input's field with such an id.
IS_NUMBER: Final = reads(_as_number, GraphQLInt)
