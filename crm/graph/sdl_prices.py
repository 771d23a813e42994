"""Prices in the SDL: the directives `@cost` and `@listSize`, which tools read that count before they send.

https://ibm.github.io/graphql-specs/cost-spec.html defines them. They cannot say all: an order that an index serves
costs nothing, a condition of a list within a record a twenty-fifth. What an operation costs, `X-Cost: 1` tells.
"""

from collections.abc import Iterator
from typing import Any, Final

from graphql import (
    DirectiveLocation,
    FieldDefinitionNode,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLDirective,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLString,
    InputValueDefinitionNode,
    parse,
)

from crm.graph.compile.price_rules import (
    KEY,
    OF_A_TABLE,
    RECORDS,
    WRITTEN,
    origin_of,
    parts_of_field,
    points_of_condition,
)
from crm.graph.compile.shape import FieldShape, SchemaShape
from crm.graph.declare.fields import DEFAULT_PAGE, TOTAL_COUNT, UNINDEXED_ORDER
from crm.graph.declare.filters import InputObject

_ORDER: Final = "orderBy"
_NAMES: Final = GraphQLList(GraphQLNonNull(GraphQLString))
DIRECTIVES: Final = (
    GraphQLDirective(
        "cost",
        [
            DirectiveLocation.FIELD_DEFINITION,
            DirectiveLocation.ARGUMENT_DEFINITION,
            DirectiveLocation.INPUT_FIELD_DEFINITION,
        ],
        {"weight": GraphQLArgument(GraphQLNonNull(GraphQLString), description="Points, a whole number as text.")},
        description="What using it costs, in points, besides the records that it leads to, which are 1 each.",
    ),
    GraphQLDirective(
        "listSize",
        [DirectiveLocation.FIELD_DEFINITION],
        {
            "assumedSize": GraphQLArgument(GraphQLInt, description="The rows that it counts as without a limit."),
            "slicingArguments": GraphQLArgument(_NAMES, description="The arguments that limit it."),
            "sizedFields": GraphQLArgument(_NAMES, description="The fields below it that have so many rows."),
            "requireOneSlicingArgument": GraphQLArgument(
                GraphQLBoolean, default_value=True, description="Whether one of these arguments must be given."
            ),
        },
        description="As how many rows a list counts.",
    ),
)

# A type and a field, and perhaps one of its arguments.
Place = tuple[str, ...]


def with_prices(sdl: str, schema: GraphQLSchema) -> str:
    """The SDL with the directives at each field, argument and input field that has a price."""
    directives = dict([*_of_fields(schema), *_of_filters(schema)])
    inserted = sorted((end, directives[place]) for place, end in _ends(sdl) if place in directives)
    parts, start = [], 0
    for end, directive in inserted:
        parts += [sdl[start:end], " ", directive]
        start = end
    return "".join([*parts, sdl[start:]])


def _of_fields(schema: GraphQLSchema) -> Iterator[tuple[Place, str]]:
    for kind in SchemaShape(schema).types.values():
        for field in kind.fields.values():
            directives = [directive for directive in (_list_size(field), _cost(_points(field))) if directive]
            if directives:
                yield (kind.name, field.name), " ".join(directives)
            if _ORDER in field.arguments and field.declaration is not None and field.declaration.extra_cost is not None:
                yield (kind.name, field.name, _ORDER), _cost(UNINDEXED_ORDER)
            for label, (name, _) in field.arguments.items():
                if name == KEY:
                    yield (kind.name, field.name, label), _cost(1)


def _points(field: FieldShape) -> int:
    """The points of a field itself, for arguments that are not given, and one record written."""
    if field.is_total:
        return TOTAL_COUNT
    given = {name: [None] if name in RECORDS else None for name, _ in field.arguments.values()}
    parts = parts_of_field(field, given)
    # A record that a mutation writes is the one that it leads to.
    return sum(points for noun, points in parts if noun != WRITTEN or field.target is None)


def _list_size(field: FieldShape) -> str:
    if field.kind not in ("many", "connection") or field.declaration is None:
        return ""
    is_page = field.kind == "connection"
    parts = [f"assumedSize: {DEFAULT_PAGE if is_page else field.declaration.usual_rows}"]
    limits = [f'"{name}"' for name in ("limit", "first", "last") if name in field.arguments]
    if limits:
        parts.append(f"slicingArguments: [{', '.join(limits)}]")
    if is_page:
        parts.append('sizedFields: ["edges", "nodes"]')
    if limits:
        parts.append("requireOneSlicingArgument: false")
    return f"@listSize({', '.join(parts)})"


def _cost(points: int) -> str:
    return f'@cost(weight: "{points}")' if points else ""


def _of_filters(schema: GraphQLSchema) -> Iterator[tuple[Place, str]]:
    """The prices of conditions in a list at the root, which searches a table."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            for name in kind.fields if issubclass(origin_of(kind), InputObject) else ():
                points = points_of_condition(kind, name)
                if points:
                    yield (kind.name, name), _cost(points * OF_A_TABLE)


def _ends(sdl: str) -> Iterator[tuple[Place, int]]:
    """The places in the SDL where directives belong: behind a field's type, behind an input's default."""
    for definition in parse(sdl).definitions:
        name: Any = getattr(definition, "name", None)
        for field in getattr(definition, "fields", None) or ():
            place = (name.value, field.name.value)
            yield place, _end(field)
            for argument in getattr(field, "arguments", None) or ():
                yield (*place, argument.name.value), _end(argument)


def _end(node: FieldDefinitionNode | InputValueDefinitionNode) -> int:
    last = getattr(node, "default_value", None) or node.type
    assert last.loc is not None
    return last.loc.end
