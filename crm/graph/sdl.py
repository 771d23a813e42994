"""The schema as text: sorted, so that a change shows as a change."""

import strawberry
from graphql import GraphQLEnumType, GraphQLInputObjectType, lexicographic_sort_schema, print_schema


def sdl(schema: strawberry.Schema) -> str:
    """The SDL."""
    found = lexicographic_sort_schema(schema._schema)  # noqa: SLF001
    for kind in found.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            # Strawberry checks and introspects @oneOf by itself and does not tell graphql-core, which prints it.
            kind.is_one_of = kind.extensions["strawberry-definition"].is_one_of
        if isinstance(kind, GraphQLEnumType):
            # The order of declaration means something: a pipeline's steps, low to urgent.
            declared = schema._schema.type_map[kind.name]  # noqa: SLF001
            kind.values = {name: kind.values[name] for name in declared.values}  # type: ignore[attr-defined]
    return print_schema(found) + "\n"
