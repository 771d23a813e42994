"""Values of requests compared with the schema's types, and messages about those that do not fit."""

from collections.abc import Mapping
from typing import Any

from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLList, GraphQLNonNull

from crm.core import errors


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
