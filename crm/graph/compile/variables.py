"""The values of variables, counted before they are coerced: how much work they are is told by their lengths."""

from collections.abc import Callable
from typing import Any, Final

from graphql import GraphQLInputObjectType, GraphQLList, GraphQLNonNull

from crm.core import errors
from crm.graph.compile.limits import refuse

MAX_VALUES: Final = 1000  # in one list
_JSON: Final = "JSON"
# How much longer than a plain value an object takes: each of its type's fields is looked for.
_OBJECT: Final = 20

Path = tuple[str, ...]
Steps = tuple[str | int, ...]


class Counter:
    """Counts objects, their nesting and the values in them; refuses what is too much as soon as that shows."""

    def __init__(self, max_objects: int, max_depth: int, max_values: int) -> None:
        self._max_objects = max_objects
        self._max_depth = max_depth
        self._max_values = max_values
        self._objects = 0
        self._values = 0

    @property
    def work(self) -> int:
        """About how much it is to coerce what was counted: one for each plain value."""
        return self._values + _OBJECT * self._objects

    def add(self, kind: Any, value: object, place: Callable[[], Path], max_records: int | None = None) -> None:
        """Count a value of this type. `place` says where it is used, for an error; a list may have `max_records`."""
        if max_records is not None and isinstance(value, list) and len(value) > max_records:
            raise too_long(".".join(place()), len(value), max_records)
        try:
            self._visit(kind, value, (), 0)
        except _TooLong as found:
            raise too_long(".".join((*place(), *map(str, found.path))), found.length) from None

    def _visit(self, kind: Any, value: Any, path: Steps, depth: int) -> None:
        kind = bare(kind)
        if isinstance(kind, GraphQLList):
            if isinstance(value, list):
                self._visit_list(bare(kind.of_type), value, path, depth)
            else:  # it stands for a list of one
                self._visit(kind.of_type, value, path, depth)
        elif isinstance(kind, GraphQLInputObjectType) and isinstance(value, dict):
            self._count_object(value, depth + 1)
            for name, one in value.items():
                if isinstance(one, dict | list) and name in kind.fields:
                    self._visit(kind.fields[name].type, one, (*path, name), depth + 1)
        elif getattr(kind, "name", None) == _JSON:
            self._visit_json(value, depth)

    def _visit_list(self, kind: Any, values: list[Any], path: Steps, depth: int) -> None:
        if len(values) > MAX_VALUES and not isinstance(kind, GraphQLInputObjectType):  # objects are counted as such
            raise _TooLong(path, len(values))
        self._count_values(len(values))
        for index, one in enumerate(values):
            if isinstance(one, dict | list):
                self._visit(kind, one, (*path, index), depth)

    def _visit_json(self, value: object, depth: int) -> None:
        """Whatever there is, lists as objects; level by level, since it may nest deeper than Python's calls."""
        level = [value]
        while level:
            below: list[object] = []
            depth += any(isinstance(one, dict) for one in level)
            for one in level:
                if isinstance(one, dict | list):
                    self._count_object(one, depth)
                    inner = one.values() if isinstance(one, dict) else one
                    below.extend([each for each in inner if isinstance(each, dict | list)])
            level = below

    def _count_object(self, value: dict[str, Any] | list[Any], depth: int) -> None:
        self._objects += 1
        if self._objects > self._max_objects:
            refuse("conditions and inputs", self._objects, self._max_objects)
        if depth > self._max_depth:
            refuse("levels of input", depth, self._max_depth)
        self._count_values(len(value))

    def _count_values(self, more: int) -> None:
        self._values += more
        if self._values > self._max_values:
            refuse("values in its variables", self._values, self._max_values)


def bare(kind: Any) -> Any:
    """The type, null or not."""
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


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
