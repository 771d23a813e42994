"""Arguments of fields, split into the shape that a statement depends on and the values that it binds."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, Final, NamedTuple

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    ListValueNode,
    ObjectValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    print_ast,
    value_from_ast,
)
from sqlalchemy import (
    ARRAY,
    Boolean,
    Date,
    DateTime,
    Float,
    Integer,
    Numeric,
    Text,
    bindparam,
)
from sqlalchemy.types import TypeEngine

from crm.core import errors
from crm.core.problems import FieldProblem, Problem
from crm.core.validate import unfit_character
from crm.graph.compile.variables import MAX_VALUES, too_long
from crm.graph.declare.fields import MAX_ROWS, is_structural
from crm.graph.declare.ids import Reader, reader_of
from crm.graph.declare.inputs import rules_of

# Flags and limits whose value is part of a statement's shape.
STRUCTURAL_NAMES: Final = frozenset({"is_null", "include_deleted"})
SQL_TYPES: Final[Mapping[str, TypeEngine[Any]]] = {
    "Int": Integer(),
    "Float": Float(),
    "String": Text(),
    "ID": Text(),
    "Boolean": Boolean(),
    "DateTime": DateTime(timezone=True),
    "Date": Date(),
    "Decimal": Numeric(),
}
MAX_OFFSET: Final = 1_000_000
_MOST_SHOWN: Final = 50
# Conditions of all filters of a statement, each use of a variable counted, with a fiftieth of the values in lists.
MAX_CONDITIONS: Final = 2000
_VALUES_PER_CONDITION: Final = 50

_NUL_OR_HALF: Final = re.compile(r"[\x00\ud800-\udfff]")

Leaf = Callable[[object, Any], Any]


class Values(list[object]):
    """The values that a statement binds, and the number of conditions that they belong to."""

    conditions = 0

    def add(self, more: "Values") -> None:
        """Add the values of another part of the statement."""
        self += more
        self.add_conditions(more.conditions)

    def add_conditions(self, conditions: int) -> None:
        """Count conditions of a filter, or values of a list. A variable counts as often as it is used."""
        self.conditions += conditions
        if self.conditions > MAX_CONDITIONS:
            message = (
                f"The filters and inputs add up to more than {MAX_CONDITIONS:,} conditions and values, "
                "each variable counted as often as it is used."
            )
            raise errors.TooComplex(message, limit=MAX_CONDITIONS, what="conditions")


class Binds:
    """Hands out numbered placeholders; the statement's parameters are the values in the same order."""

    def __init__(self) -> None:
        self.count = 0

    def leaf(self, _value: object, kind: Any) -> Any:
        """A placeholder for the next value."""
        name = f"v{self.count}"
        self.count += 1
        return bindparam(name, type_=kind, required=True)


@dataclass(frozen=True)
class Argument:
    """One argument of a field in a document."""

    name: str  # the function's parameter
    label: str  # the name in the API
    kind: Any  # the GraphQL input type
    value: Callable[[Mapping[str, Any]], Any]  # the value for the operation's variables; Undefined if absent
    names: frozenset[str] = frozenset()  # the variables in the value

    @classmethod
    def make(cls, name: str, label: str, argument: GraphQLArgument, node: ValueNode | None) -> "Argument":
        """An argument from the schema's definition and the document's value."""
        made = cls._made(name, label, argument, node)
        read, kind = reader_of(argument.extensions["strawberry-definition"], argument.type)
        if read is None:
            return made
        return replace(made, kind=kind, value=lambda variables: read(made.value(variables), label))

    @classmethod
    def _made(cls, name: str, label: str, argument: GraphQLArgument, node: ValueNode | None) -> "Argument":
        kind = argument.type
        default = argument.default_value
        if node is None:
            return cls(name, label, kind, lambda _: default)
        if isinstance(node, VariableNode):
            return cls(name, label, kind, _from_variable(node, kind, default, label), _variables(node))
        if _has_variables(node):
            return cls(name, label, kind, _evaluator(node, kind), _variables(node))
        return cls(name, label, kind, _constant(node, kind, label))


def _constant(node: ValueNode, kind: Any, label: str) -> Callable[[Mapping[str, Any]], Any]:
    value = value_from_ast(node, kind)
    if value is Undefined:  # what validation lets pass: a number beyond what its type holds
        message = f"`{label}`: {print_ast(node)[:_MOST_SHOWN]} is out of range."
        raise errors.BadUserInput(message, field=label)
    return lambda _: value


def _has_variables(node: ValueNode) -> bool:
    if isinstance(node, VariableNode):
        return True
    if isinstance(node, ObjectValueNode):
        return any(_has_variables(field.value) for field in node.fields or ())
    return isinstance(node, ListValueNode) and any(_has_variables(element) for element in node.values or ())


def _variables(node: ValueNode) -> frozenset[str]:
    if isinstance(node, VariableNode):
        return frozenset({node.name.value})
    within: Sequence[ValueNode] = ()
    if isinstance(node, ObjectValueNode):
        within = [field.value for field in node.fields or ()]
    elif isinstance(node, ListValueNode):
        within = node.values or ()
    return frozenset().union(*map(_variables, within))


def _evaluator(node: ValueNode, kind: Any) -> Callable[[Mapping[str, Any]], Any]:
    """A function with the results of graphql-core's value_from_ast, computed as far as possible beforehand."""
    bare = _bare(kind)
    if not isinstance(bare, GraphQLInputObjectType) or not isinstance(node, ObjectValueNode) or bare.is_one_of:
        return _whole_evaluator(node, kind)
    nodes = {field.name.value: field.value for field in node.fields or ()}
    parts = [(name, _field_evaluator(name, nodes.get(name), field)) for name, field in bare.fields.items()]

    def evaluate(variables: Mapping[str, Any]) -> Any:
        return {name: value for name, part in parts if (value := part(variables)) is not Undefined}

    return evaluate


def _whole_evaluator(node: ValueNode, kind: Any) -> Callable[[Mapping[str, Any]], Any]:
    def evaluate(variables: Mapping[str, Any]) -> Any:
        value = value_from_ast(node, kind, dict(variables))
        if value is Undefined:
            message = f"A variable is null where `{kind}` needs a value."
            raise errors.BadUserInput(message)
        return value

    return evaluate


def _from_variable(node: VariableNode, kind: Any, default: Any, label: str) -> Callable[[Mapping[str, Any]], Any]:
    variable = node.name.value
    if not isinstance(kind, GraphQLNonNull):
        return lambda variables: variables.get(variable, default)

    def required(variables: Mapping[str, Any]) -> Any:
        # A nullable variable with a default is valid here, and may be null all the same.
        value = variables.get(variable, default)
        if value is None:
            message = f"`${variable}` is null where `{kind}` is needed."
            raise errors.BadUserInput(message, field=label)
        return value

    return required


def _field_evaluator(name: str, node: ValueNode | None, field: GraphQLInputField) -> Callable[[Mapping[str, Any]], Any]:
    default = field.default_value
    if node is None:
        return lambda _: default
    if isinstance(node, VariableNode):
        return _from_variable(node, field.type, default, name)
    if _has_variables(node):
        return _evaluator(node, field.type)
    return _constant(node, field.type, name)


def split(kind: Any, value: Any, name: str, label: str, out: Values) -> object:  # noqa: PLR0911
    """The shape of a value, which a statement depends on; bound values are added to `out`. Checks the value too."""
    if value is None or value is Undefined:
        return value
    if isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if isinstance(kind, GraphQLInputObjectType):
        return _input_shape(kind, value, label, out)
    if isinstance(kind, GraphQLList):
        inner = _bare(kind.of_type)
        values = value if isinstance(value, list) else [value]
        if isinstance(inner, GraphQLInputObjectType):
            return tuple(split(inner, element, name, f"{label}.{index}", out) for index, element in enumerate(values))
        _check_values(values, label)
        out.add_conditions(len(values) // _VALUES_PER_CONDITION)
        if _is_structural_enum(inner):
            return tuple(values)
        out.append(values)
        return list
    if name in STRUCTURAL_NAMES or _is_structural_enum(kind):
        return value
    check_text(value, label)
    check = _RANGES.get(name)
    if check is not None:
        _check_range(value, label, check)
    out.append(value)
    return True


def _input_shape(
    input_type: GraphQLInputObjectType,
    value: Mapping[str, Any],
    label: str,
    out: Values,
) -> object:
    out.add_conditions(1 + len(value))
    origin = input_type.extensions["strawberry-definition"].origin
    check = getattr(origin, "check", None)
    if check is not None:
        check(value, label)
    members = _members(input_type)[1]
    return tuple(
        [(name, _member_shape(members[name], f"{label}.{name}", member, out)) for name, member in value.items()]
    )


def _member_shape(member: "Member", label: str, value: Any, out: Values) -> object:
    return split(member.kind, member.read(value, label) if member.read else value, member.name, label, out)


def placed(kind: Any, value: Any, name: str, leaf: Leaf) -> Any:
    """The value as the field's function gets it: inputs as their classes, each bound value replaced by `leaf`."""
    if value is None or value is Undefined:
        return None
    if isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if isinstance(kind, GraphQLInputObjectType):
        origin, members = _members(kind)
        given = [(members[field], operand) for field, operand in value.items()]
        return origin(**{member.name: _member_placed(member, operand, leaf) for member, operand in given})
    if isinstance(kind, GraphQLList):
        inner = _bare(kind.of_type)
        values = value if isinstance(value, list) else [value]
        if isinstance(inner, GraphQLInputObjectType):
            return [placed(inner, member, name, leaf) for member in values]
        return values if _is_structural_enum(inner) else leaf(values, ARRAY(sql_type(inner)))
    if name in STRUCTURAL_NAMES or _is_structural_enum(kind):
        return value
    return leaf(value, sql_type(kind))


def _member_placed(member: "Member", value: Any, leaf: Leaf) -> Any:
    return placed(member.kind, member.read(value, member.name) if member.read else value, member.name, leaf)


def plain(kind: Any, value: Any, name: str = "", label: str = "", *, check: bool = True) -> Any:
    """The value as a mutation gets it: inputs as their classes, everything else unchanged; checked.

    Values whose columns have rules are left to these: a service applies all of them, and refuses one of many records.
    """
    if value is None or value is Undefined:
        return None
    if isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if isinstance(kind, GraphQLInputObjectType):
        origin, members = _members(kind)
        rules = rules_of(origin)
        keywords = {}
        for field, member in value.items():
            inner, inner_label = members[field], f"{label}.{field}"
            read = inner.read(member, inner_label) if inner.read else member
            checked = check and inner.name not in rules
            keywords[inner.name] = plain(inner.kind, read, inner.name, inner_label, check=checked)
        return origin(**keywords)
    if isinstance(kind, GraphQLList):
        values = value if isinstance(value, list) else [value]
        return [
            plain(kind.of_type, member, name, f"{label}.{index}", check=check) for index, member in enumerate(values)
        ]
    if check:
        check_text(value, label)
    return value


def check_text(value: object, label: str) -> None:
    """Refuse text that PostgreSQL cannot hold."""
    if not isinstance(value, str) or isinstance(value, Enum):
        return
    if "\x00" in value:
        raise _bad_character(value, label)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _bad_character(value, label) from None


def _bad_character(value: str, label: str) -> errors.BadUserInput:
    unfit = _NUL_OR_HALF.search(value)
    assert unfit is not None
    described = unfit_character(unfit[0])
    return errors.BadUserInput.of([Problem.of(label, FieldProblem.BAD_CHARACTER, described=described)])


def python_name(input_type: GraphQLInputObjectType, field: str) -> str:
    """The Python name of an input's field."""
    return _members(input_type)[1][field].name


class Member(NamedTuple):
    """A field of an input: its Python name, its type, and how its values are read if they are ids."""

    name: str
    kind: Any
    read: Reader | None


@cache
def _members(input_type: GraphQLInputObjectType) -> tuple[type[Any], Mapping[str, Member]]:
    """An input's class, and its fields."""
    members = {}
    for name, field in input_type.fields.items():
        definition = field.extensions["strawberry-definition"]
        read, kind = reader_of(definition, field.type)
        members[name] = Member(definition.python_name, kind, read)
    return input_type.extensions["strawberry-definition"].origin, members


def sql_type(kind: Any) -> Any:
    """The SQL type of a placeholder; the column that it is compared with may have another."""
    return SQL_TYPES.get(kind.name, Text()) if isinstance(kind, GraphQLScalarType) else Text()


def _bare(kind: Any) -> Any:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


def _is_structural_enum(kind: Any) -> bool:
    return isinstance(kind, GraphQLEnumType) and is_structural(kind.extensions["strawberry-definition"].wrapped_cls)


_RANGES: Final = {
    "limit": MAX_ROWS,
    "first": MAX_ROWS,
    "last": MAX_ROWS,
    "offset": MAX_OFFSET,
}


def _check_values(values: list[object], label: str) -> None:
    if len(values) > MAX_VALUES:
        raise too_long(label, len(values))
    for index, element in enumerate(values):
        check_text(element, f"{label}.{index}")


def _check_range(value: Any, label: str, most: int) -> None:
    if not 0 <= value <= most:
        message = f"`{label}` must be 0 to {most:,}, not {value}."
        if value > most and label == "limit":
            message += " For more, use `offset`, or a connection where there is one."
        raise errors.BadUserInput(message, field=label)
