"""What each part of an operation costs by itself, in points: the engine adds these up, and the SDL shows them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from graphql import GraphQLInputObjectType, GraphQLList, GraphQLNonNull

from crm.graph.compile.arguments import python_name
from crm.graph.compile.shape import FieldShape
from crm.graph.declare.filters import COUNT, Condition, CountInput, WhereInput, is_blank

# The points of a condition are multiplied by these: a list at the root searches a table, as does a user's share of a
# table; a list of a record searches its rows.
OF_A_TABLE: Final = 25
OF_A_RECORD: Final = 1
# The points of a condition, by its kind.
PLAIN: Final = 1
TEXT: Final = 10
RELATION: Final = 20
# Long operands: so many characters of a text to search for, or values of a list, cost as much as one more condition.
_CHARACTERS: Final = 100
_VALUES: Final = 100
LONG_TEXT: Final = 1
_SEARCHED: Final = frozenset({"contains", "starts_with", "ends_with"})
# The arguments with an element for each record that a mutation writes.
RECORDS: Final = ("inputs", "ids")
# The argument with a key that a mutation writes beside its record.
KEY: Final = "idempotency_key"
# The nouns of parts: records are those that a field reads or writes.
WRITTEN: Final = "records of"
WORK: Final = "work of"
WORKED_OUT: Final = "rows of"


def parts_of_field(shape: FieldShape, arguments: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """What using a field once costs, besides the records that it leads to: a noun and its points."""
    declaration = shape.declaration
    if declaration is None:
        if shape.is_long:
            yield "long text", LONG_TEXT
        return
    if declaration.extra_cost is not None:
        yield WORK, declaration.extra_cost(dict(arguments))
    elif declaration.writes:  # the price of a mutation that has one covers its records
        yield WRITTEN, records(shape, arguments) + isinstance(arguments.get(KEY), str)
    if shape.kind == "computed":
        yield WORKED_OUT, 1


def records(shape: FieldShape, arguments: Mapping[str, Any]) -> int:
    """The number of records that a mutation writes and returns: one for each id or input, if it takes many."""
    for name in RECORDS:
        many = arguments.get(name)
        if isinstance(many, list):
            return len(many)
    return shape.declaration.usual_rows if shape.declaration is not None and shape.many else 1


def points_of_condition(kind: GraphQLInputObjectType, label: str, operand: Any = None) -> int:
    """What using an input's field costs in a list of a record, besides what its operand consists of."""
    origin, name, inner = origin_of(kind), python_name(kind, label), input_of(kind.fields[label].type)
    if issubclass(origin, Condition):
        return _points_of_operator(name, operand)
    is_where = issubclass(origin, WhereInput)
    points: int = origin.computed[name].points if is_where and name in origin.computed else 0
    if inner is None:  # a plain value: what a number of rows is compared with, a text to search for
        return 0 if is_where and is_blank(operand) else points + PLAIN
    if issubclass(origin_of(inner), CountInput):
        return points + COUNT
    across = is_where and name in origin.relations and issubclass(origin_of(inner), WhereInput)
    # A relation to one record; or some of many, none, every.
    return points + (RELATION if across or not is_where else 0)


def _points_of_operator(name: str, operand: Any) -> int:
    if isinstance(operand, list):
        length = sum(len(element) // _CHARACTERS for element in operand if isinstance(element, str))
        return PLAIN + len(operand) // _VALUES + length
    length = len(operand) // _CHARACTERS if isinstance(operand, str) else 0
    return (TEXT if name in _SEARCHED else PLAIN) * (1 + length)


def input_of(kind: Any) -> GraphQLInputObjectType | None:
    """The input object that an argument takes, or many of which it takes; None for plain values."""
    while isinstance(kind, GraphQLNonNull | GraphQLList):
        kind = kind.of_type
    return kind if isinstance(kind, GraphQLInputObjectType) else None


def origin_of(kind: GraphQLInputObjectType) -> Any:
    """The class that an input object was declared as."""
    return kind.extensions["strawberry-definition"].origin
