"""Values of requests compared with the schema's types, and messages about those that do not fit."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLList, GraphQLNonNull

from crm.core import errors
from crm.graph.run.answers import dumped

_SHOWN: Final = 50
_INT_RANGE: Final = range(-(2**31), 2**31)
_NEEDED: Final = {
    "Int": "a whole number",
    "Float": "a number",
    "Boolean": "true or false",
    "String": "text",
    "ID": "text",
}


def bare(graphql_type: Any) -> Any:
    """The type without NonNull."""
    return graphql_type.of_type if isinstance(graphql_type, GraphQLNonNull) else graphql_type


def from_json(graphql_type: Any, value: Any, place: str) -> Any:
    """The value with its enums in the schema's spelling; an unknown member is an error.

    The engine finds all other errors.
    """
    graphql_type = bare(graphql_type)
    if isinstance(graphql_type, GraphQLList):
        if not isinstance(value, list):
            return from_json(graphql_type.of_type, value, place)
        return [from_json(graphql_type.of_type, element, f"{place}.{index}") for index, element in enumerate(value)]
    if isinstance(graphql_type, GraphQLInputObjectType) and isinstance(value, dict):
        return members(value, {name: field.type for name, field in graphql_type.fields.items()}, place)
    return enum_value(graphql_type, value) if isinstance(graphql_type, GraphQLEnumType) else value


def members(values: Mapping[str, Any], kinds: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """The members of an object, by their types."""
    refuse_unknown(values, kinds, "member", place)
    return {name: from_json(kinds[name], value, below(place, name)) for name, value in values.items()}


def enum_value(enum_type: GraphQLEnumType, value: Any) -> Any:
    """An enum's value in the schema's spelling, if there is such a value."""
    return value.upper() if isinstance(value, str) and value.upper() in enum_type.values else value


def below(place: str, name: str) -> str:
    """The path of a member."""
    return f"{place}.{name}" if place else name


def refuse_unknown(names_given: Mapping[str, object], known: Mapping[str, object], noun: str, place: str = "") -> None:
    """Refuse names that are not known."""
    for name in names_given:
        if name not in known:
            names, within = sorted(known), f" in `{place}`" if place else ""
            there_are = f"there are: {', '.join(names)}" if names else "none is taken here"
            message = f"There is no {noun} {name[:100]!r}{within}; {there_are}."
            raise errors.BadUserInput(message, field=below(place, name[:100]), known=names)


def at(graphql_type: Any, value: Any, path: Sequence[str]) -> tuple[Any, Any]:
    """The type and the value at a path within a value. A single value stands for a list of one."""
    for step in path:
        graphql_type = bare(graphql_type)
        while isinstance(graphql_type, GraphQLList) and not isinstance(value, list):
            graphql_type = bare(graphql_type.of_type)
        if isinstance(graphql_type, GraphQLList):
            graphql_type, value = graphql_type.of_type, value[int(step)]
        else:
            graphql_type, value = graphql_type.fields[step].type, value[step]
    return graphql_type, value


def unfit(graphql_type: Any, value: Any, field: str) -> errors.BadUserInput | None:
    """The error for a value that does not fit its type; None if the type's own error is used."""
    needed = "" if value is None else _needed(bare(graphql_type), value)
    if needed is None:
        return None
    complaint = f"must be {needed}, not {_quoted(value)}" if needed else "must not be null"
    known = {"known": list(bare(graphql_type).values)} if isinstance(bare(graphql_type), GraphQLEnumType) else {}
    return errors.BadUserInput(f"`{field}` {complaint}.", field=field, **known)


def _needed(graphql_type: Any, value: Any) -> str | None:
    if isinstance(graphql_type, GraphQLEnumType):
        return f"one of {', '.join(graphql_type.values)}"
    if isinstance(graphql_type, GraphQLList):
        return "a list"
    if isinstance(graphql_type, GraphQLInputObjectType):
        return "an object"
    if graphql_type.name == "Int" and type(value) is int:
        return f"{_INT_RANGE[0]:,} to {_INT_RANGE[-1]:,}"
    return _NEEDED.get(graphql_type.name)


def _quoted(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "a number too large to be read"
    return repr(value[:_SHOWN]) if isinstance(value, str) else dumped(value).decode()[:_SHOWN]
