"""The values of variables, counted before they are coerced: their lengths tell how much work coercion is."""

from collections.abc import Callable
from typing import Any, Final

from graphql import GraphQLInputObjectType, GraphQLList, GraphQLNonNull

from crm.core import errors
from crm.graph.compile.limits import refuse

MAX_VALUES: Final = 1000  # in one list
_JSON: Final = "JSON"
# An object takes so many times as long as a plain value: each of its type's fields is looked up.
_OBJECT: Final = 20
_CONTAINERS: Final = (dict, list)

Path = tuple[str, ...]
Steps = tuple[str | int, ...]


class Counter:
    """Counts objects, their nesting and their values; raises an error as soon as a limit is exceeded."""

    def __init__(self, max_objects: int, max_depth: int, max_values: int) -> None:
        self._max_objects = max_objects
        self._max_depth = max_depth
        self._max_values = max_values
        self._objects = 0
        self._values = 0

    @property
    def work(self) -> int:
        """The estimated work of coercing the counted values: 1 for each plain value."""
        return self._values + _OBJECT * self._objects

    def add(self, kind: Any, value: object, place: Callable[[], Path], max_records: int | None = None) -> None:
        """Count a value of this type. `place` tells for an error where it is used; a list has at most `max_records`."""
        if max_records is not None and isinstance(value, list) and len(value) > max_records:
            raise too_long(".".join(place()), len(value), max_records)
        try:
            self._visit(kind, value, (), 0)
        except _TooLong as error:
            raise too_long(".".join((*place(), *map(str, error.path))), error.length) from None

    def _visit(self, graphql_type: Any, value: Any, path: Steps, depth: int) -> None:
        graphql_type = bare(graphql_type)
        if isinstance(graphql_type, GraphQLList):
            if isinstance(value, list):
                self._visit_list(bare(graphql_type.of_type), value, path, depth)
            else:  # a single value stands for a list of one
                self._visit(graphql_type.of_type, value, path, depth)
        elif isinstance(graphql_type, GraphQLInputObjectType) and isinstance(value, dict):
            self._count_objects(1, len(value), depth + 1)
            for name, member in value.items():
                if isinstance(member, dict | list) and name in graphql_type.fields:
                    self._visit(graphql_type.fields[name].type, member, (*path, name), depth + 1)
        elif getattr(graphql_type, "name", None) == _JSON:
            self._visit_json(value, depth)

    def _visit_list(self, element_type: Any, values: list[Any], path: Steps, depth: int) -> None:
        if len(values) > MAX_VALUES and not isinstance(
            element_type, GraphQLInputObjectType
        ):  # objects are counted as such
            raise _TooLong(path, len(values))
        self._count_values(len(values))
        for index, element in enumerate(values):
            if isinstance(element, dict | list):
                self._visit(element_type, element, (*path, index), depth)

    def _visit_json(self, value: object, depth: int) -> None:
        """Count lists as objects; level by level, since JSON may nest deeper than Python's calls."""
        level: list[Any] = [value] if isinstance(value, _CONTAINERS) else []
        while level:
            below: list[Any] = []
            values, has_objects = 0, False
            for item in level:  # with few calls: there may be 20,000 levels, or 20,000 lists on one
                values += len(item)
                if isinstance(item, dict):
                    has_objects, item = True, item.values()  # noqa: PLW2901
                below.extend([child for child in item if isinstance(child, _CONTAINERS)])
            depth += has_objects
            self._count_objects(len(level), values, depth)
            level = below

    def _count_objects(self, number: int, values: int, depth: int) -> None:
        self._objects += number
        if self._objects > self._max_objects:
            refuse("conditions and inputs", self._objects, self._max_objects)
        if depth > self._max_depth:
            refuse("levels of input", depth, self._max_depth)
        self._count_values(values)

    def _count_values(self, more: int) -> None:
        self._values += more
        if self._values > self._max_values:
            refuse("values in its variables", self._values, self._max_values)


def bare(graphql_type: Any) -> Any:
    """The type without NonNull."""
    return graphql_type.of_type if isinstance(graphql_type, GraphQLNonNull) else graphql_type


class _TooLong(Exception):
    """A list has too many values."""

    def __init__(self, path: Steps, length: int) -> None:
        self.path = path
        self.length = length
        super().__init__()


def too_long(label: str, length: int, most: int = MAX_VALUES) -> errors.BadUserInput:
    """The error for a list that has too many values."""
    message = f"`{label}` has {length:,} values; at most {most:,} are allowed."
    return errors.BadUserInput(message, field=label, limit=most)
