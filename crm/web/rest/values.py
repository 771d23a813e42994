"""Values from outside and the types that they are for: what fits, and words for what does not."""

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


def bare(kind: Any) -> Any:
    """The type, null or not."""
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


def from_json(kind: Any, value: Any, place: str) -> Any:
    """The value with its enums in the schema's spelling; a member that means nothing is a mistake.

    Whatever else may be wrong with it, the engine finds.
    """
    kind = bare(kind)
    if isinstance(kind, GraphQLList):
        if not isinstance(value, list):
            return from_json(kind.of_type, value, place)
        return [from_json(kind.of_type, one, f"{place}.{index}") for index, one in enumerate(value)]
    if isinstance(kind, GraphQLInputObjectType) and isinstance(value, dict):
        return members(value, {name: field.type for name, field in kind.fields.items()}, place)
    return enum_value(kind, value) if isinstance(kind, GraphQLEnumType) else value


def members(given: Mapping[str, Any], kinds: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """The members of an object, by their types."""
    refuse_unknown(given, kinds, "member", place)
    return {name: from_json(kinds[name], value, below(place, name)) for name, value in given.items()}


def enum_value(kind: GraphQLEnumType, value: Any) -> Any:
    """The schema's spelling of an enum's value, if it is one."""
    return value.upper() if isinstance(value, str) and value.upper() in kind.values else value


def below(place: str, name: str) -> str:
    """The path of a member."""
    return f"{place}.{name}" if place else name


def refuse_unknown(given: Mapping[str, object], known: Mapping[str, object], what: str, place: str = "") -> None:
    """A name that means nothing here is a mistake."""
    for name in given:
        if name not in known:
            names, within = sorted(known), f" in `{place}`" if place else ""
            there_are = f"there are: {', '.join(names)}" if names else "none is taken here"
            message = f"There is no {what} {name[:100]!r}{within}; {there_are}."
            raise errors.BadUserInput(message, field=below(place, name[:100]), known=names)


def at(kind: Any, value: Any, path: Sequence[str]) -> tuple[Any, Any]:
    """What is needed, and what was given, at a path within a value. One value stands for a list of one."""
    for step in path:
        kind = bare(kind)
        while isinstance(kind, GraphQLList) and not isinstance(value, list):
            kind = bare(kind.of_type)
        if isinstance(kind, GraphQLList):
            kind, value = kind.of_type, value[int(step)]
        else:
            kind, value = kind.fields[step].type, value[step]
    return kind, value


def unfit(kind: Any, value: Any, field: str) -> errors.BadUserInput | None:
    """Why a value does not fit its type; None if the type has words of its own for that."""
    needed = "" if value is None else _needed(bare(kind), value)
    if needed is None:
        return None
    said = f"must be {needed}, not {_shown(value)}" if needed else "must not be null"
    known = {"known": list(bare(kind).values)} if isinstance(bare(kind), GraphQLEnumType) else {}
    return errors.BadUserInput(f"`{field}` {said}.", field=field, **known)


def _needed(kind: Any, value: Any) -> str | None:
    if isinstance(kind, GraphQLEnumType):
        return f"one of {', '.join(kind.values)}"
    if isinstance(kind, GraphQLList):
        return "a list"
    if isinstance(kind, GraphQLInputObjectType):
        return "an object"
    if kind.name == "Int" and type(value) is int:
        return f"{_INT_RANGE[0]:,} to {_INT_RANGE[-1]:,}"
    return _NEEDED.get(kind.name)


def _shown(value: Any) -> str:
    return repr(value[:_SHOWN]) if isinstance(value, str) else dumped(value).decode()[:_SHOWN]
