"""The price of an operation, in points: about the records that it may touch. Known before anything runs.

A list costs its limit (or its usual rows, without a limit) times the fields selected of each row. To that are added the
own costs of fields (an order without an index), conditions, long texts and introspection. Lists without a limit may
turn out longer: the statement itself makes sure that an operation returns no more than its budget
(crm.graph.compile.allotment).
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from graphql import GraphQLInputObjectType

from crm.core import errors
from crm.graph.compile.arguments import MAX_OFFSET, Argument
from crm.graph.compile.price_rules import (
    KEY,
    OF_A_RECORD,
    OF_A_TABLE,
    RECORDS,
    WORK,
    input_of,
    origin_of,
    parts_of_field,
    points_of_condition,
    records,
)
from crm.graph.compile.selection import Selected
from crm.graph.declare.fields import DEFAULT_PAGE, TOTAL_COUNT
from crm.graph.declare.filters import WhereInput

# So many rows skipped by an offset cost a point: they are read all the same.
_OFFSET: Final = 200
INTROSPECTION: Final = 500
MAX_CONDITIONS: Final = 200
MAX_INPUTS: Final = 1000  # objects in filters, `and: [{}, {}]` for one, which have no price

_LISTS: Final = ("many", "connection")
_LIMITS: Final = ("limit", "first", "last")
_SHOWN_PARTS: Final = 3
_MAX_KEPT: Final = 64
_LONGEST_KEY: Final = 64


class Price:
    """The price of some root fields, cached by the values of the variables that it depends on."""

    def __init__(self, roots: Sequence[Selected]) -> None:
        self._roots = [root for root in roots if any(_costs(field) for field in root.walk())]
        self._names = sorted({name for root in self._roots for field in root.walk() for name in _priced_names(field)})
        self._kept: dict[Hashable, int] = {}

    def of(self, variables: Mapping[str, Any]) -> int:
        """The price in points."""
        key = tuple([variables.get(name) for name in self._names]) if self._names else ()
        try:
            points = self._kept.get(key)
        except TypeError:  # a filter, which cannot be a key
            return self._parts(variables).total
        if points is None:
            points = self._parts(variables).total
            if len(self._kept) < _MAX_KEPT and all(len(str(value)) <= _LONGEST_KEY for value in key):
                self._kept[key] = points
        return points

    def check(self, variables: Mapping[str, Any], most: int) -> None:
        """Refuse an operation that costs too much; the error names its most expensive parts."""
        total = self.of(variables)
        if total <= most:
            return
        parts = self._parts(variables)
        message = (
            f"The operation may cost {total:,} points; at most {most:,} are allowed. Most of it: {parts.largest()}. "
            f"{self._advice(variables, most)}"
        )
        raise errors.TooComplex(message, limit=most, what="cost", cost=total)

    def _advice(self, variables: Mapping[str, Any], most: int) -> str:
        """Advice for the error: the limit that would fit, if the most expensive root is a list with a limit."""
        root = max(self._roots, key=lambda candidate: self._parts(variables, [candidate]).total)
        limit = _limit({candidate.name: candidate.value(variables) for candidate in root.arguments})
        if limit and root.shape is not None and root.shape.kind in _LISTS:
            fixed = self._parts(variables, limits={id(root): 0}).total
            each = self._parts(variables, limits={id(root): 1}).total - fixed
            fitting = min((most - fixed) // each, limit - 1)
            if fitting > 0:
                inside = ", give the lists inside it smaller limits, or select fewer of them" if each > 1 else ""
                return f"Lists multiply: lower the limit of `{root.key}` from {limit:,} to {fitting:,}{inside}."
        return "Lists multiply: give smaller limits, or select less at once."

    def _parts(
        self,
        variables: Mapping[str, Any],
        roots: Sequence[Selected] | None = None,
        limits: Mapping[int, int] | None = None,
    ) -> "_Parts":
        parts = _Parts(variables, limits or {})
        for root in self._roots if roots is None else roots:
            parts.add_field(root, 1, (), OF_A_TABLE, 1)
        return parts


class _Parts:
    """The points of an operation, by its parts."""

    def __init__(self, variables: Mapping[str, Any], limits: Mapping[int, int]) -> None:
        self.total = 0
        self._variables = variables
        self._limits = limits  # of some fields, in place of their arguments
        self._found: dict[str, int] = {}
        self._conditions = 0
        self._inputs = 0

    def largest(self) -> str:
        """The most expensive parts, in words."""
        largest = sorted(self._found.items(), key=lambda item: -item[1])[:_SHOWN_PARTS]
        return ", ".join(f"{noun} {points:,}" for noun, points in largest)

    def add(self, points: int, noun: str, path: tuple[str, ...]) -> None:
        """Add the points of a part of the operation: `noun` and `path` name it."""
        if points:
            self.total += points
            name = f"{noun} `{'.'.join(path)}`"
            self._found[name] = self._found.get(name, 0) + points

    def add_field(self, field: Selected, times: int, above: tuple[str, ...], scanned: int, same: int) -> None:
        """Add a field and all fields below it, for each of `times` rows, of which `same` at most are the same row."""
        path, shape = (*above, field.key), field.shape
        if shape is None:
            if field.node.name.value != "__typename":
                self.add(times * INTROSPECTION, "introspection", path)
            return
        declaration = shape.declaration
        arguments = {argument.name: argument.value(self._variables) for argument in _priced(field)}
        for noun, points in parts_of_field(shape, arguments):
            shares = noun == WORK and declaration is not None and declaration.shares
            self.add((same if shares else times) * points, noun, path)
        self.add(times * _is_plain_object(field), "rows of", path)
        rows, inner = times, scanned
        if declaration is not None:
            inner = OF_A_RECORD
            if shape.kind == "python":
                rows = same = times * records(shape, arguments)
            elif shape.each:
                rows = same = times * len(arguments[shape.each])
                path = above  # the rows are counted below, under the same name
            elif shape.kind in _LISTS:
                rows = times * self._limits.get(id(field), _rows(arguments, shape.kind, declaration.usual_rows))
                self._add_list(field, arguments, times, path, OF_A_TABLE if declaration.scans_table else scanned)
                self.add(rows, "rows of", path)
                same = min(times, rows)  # the rows of a list differ
            elif shape.kind != "computed":
                self.add(times, "rows of", path)
                same = times
        for child in _below(field):
            self.add_field(child, rows, path, inner, same)

    def _add_list(
        self, field: Selected, arguments: Mapping[str, Any], times: int, path: tuple[str, ...], scanned: int
    ) -> None:
        passes = 1 + sum(_counts(child) for child in field.children)
        self.add(times * (TOTAL_COUNT * scanned // OF_A_TABLE) * (passes - 1), "totalCount of", path)
        offset = arguments.get("offset")
        if isinstance(offset, int) and offset > 0:
            self.add(times * (min(offset, MAX_OFFSET) // _OFFSET), "offset of", path)
        for argument in field.arguments:
            input_type = input_of(argument.kind)
            if input_type is not None and issubclass(origin_of(input_type), WhereInput):
                points = self._condition(input_type, arguments[argument.name], path)
                self.add(times * passes * scanned * points, "conditions of", path)

    def _condition(self, input_type: GraphQLInputObjectType, value: Any, path: tuple[str, ...]) -> int:
        """The points of a filter and of all filters nested in it."""
        if not isinstance(value, dict):
            return 0
        self._inputs += 1
        if self._inputs > MAX_INPUTS:
            self._refuse(path)
        points = 0
        for label, operand in value.items():
            own = points_of_condition(input_type, label, operand) if operand is not None else 0
            points += self._counted(own, path) if own else 0
            inner = input_of(input_type.fields[label].type)
            if inner is not None:
                for element in operand if isinstance(operand, list) else (operand,):
                    points += self._condition(inner, element, path)
        return points

    def _counted(self, points: int, path: tuple[str, ...]) -> int:
        """Count a condition, and end the walk at too many, however often a variable with many conditions is used."""
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            self._refuse(path)
        return points

    @staticmethod
    def _refuse(path: tuple[str, ...]) -> NoReturn:
        message = (
            f"The filters have more than {MAX_CONDITIONS} conditions (up to `{'.'.join(path)}`), each use of a "
            "variable counted. `in` compares with many values at once."
        )
        raise errors.TooComplex(message, limit=MAX_CONDITIONS, what="conditions")


def limit_of(field: Selected, variables: Mapping[str, Any]) -> int | None:
    """The limit passed to a list, or a connection's default; None for a list without one."""
    each = field.shape.each if field.shape is not None else ""
    names = (each,) if each else _LIMITS
    arguments = {argument.name: argument.value(variables) for argument in field.arguments if argument.name in names}
    if each:
        return len(arguments[each])
    limit = _limit(arguments)
    return DEFAULT_PAGE if limit is None and field.shape is not None and field.shape.kind == "connection" else limit


def limit_names(field: Selected) -> frozenset[str]:
    """The variables that decide a list's limit."""
    limits = (*_LIMITS, field.shape.each) if field.shape is not None else _LIMITS
    return frozenset(name for argument in field.arguments if argument.name in limits for name in argument.names)


def _limit(arguments: Mapping[str, Any]) -> int | None:
    for name in _LIMITS:
        value = arguments.get(name)
        if isinstance(value, int):
            return max(value, 0)
    return None


def _rows(arguments: Mapping[str, Any], kind: str, usual: int) -> int:
    limit = _limit(arguments)
    if limit is None:
        return DEFAULT_PAGE if kind == "connection" else usual
    return limit


def _is_plain_object(field: Selected) -> bool:
    """Whether Python makes an object for a field of a result: the error of one of many, for example."""
    if not field.children or field.kind is None or field.shape is None or field.shape.declaration is not None:
        return False
    return field.kind.model is None and field.kind.part is None


def _below(field: Selected) -> Iterable[Selected]:
    """The fields below a row; of a row of one of several types, those of all types."""
    if field.shape is not None and field.shape.kind == "any":
        return (child for alternative in field.children for child in alternative.children)
    return field.children


def _costs(field: Selected) -> bool:
    """Whether a field reads more than its parent's row, or has a cost of its own."""
    shape = field.shape
    if shape is None:
        return field.node.name.value != "__typename"
    if shape.declaration is None:
        return False
    return shape.kind != "python" or shape.declaration.writes or shape.declaration.extra_cost is not None


def _priced_names(field: Selected) -> frozenset[str]:
    """The variables that a field's price depends on."""
    declaration = field.shape.declaration if field.shape is not None else None
    if declaration is None:
        return frozenset()
    return frozenset(name for argument in _priced(field) for name in argument.names)


def _priced(field: Selected) -> Iterable[Argument]:
    """The arguments that a field's price depends on."""
    declaration = field.shape.declaration if field.shape is not None else None
    if declaration is None or declaration.extra_cost is not None or declaration.each:
        return field.arguments
    return [argument for argument in field.arguments if _is_priced(argument)]


def _is_priced(argument: Argument) -> bool:
    if argument.name in (*_LIMITS, "offset", *RECORDS, KEY):
        return True
    kind = input_of(argument.kind)
    return kind is not None and issubclass(origin_of(kind), WhereInput)


def _counts(field: Selected) -> int:
    """The number of times that a connection's field counts all rows: 0 or 1."""
    return int(field.shape is not None and field.shape.is_total)
