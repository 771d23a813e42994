"""The schema as text: sorted, so that a change shows as a change."""

import strawberry
from graphql import GraphQLInputObjectType, lexicographic_sort_schema, print_schema


def sdl(schema: strawberry.Schema) -> str:
    """The SDL."""
    found = lexicographic_sort_schema(schema._schema)  # noqa: SLF001
    for kind in found.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            # Strawberry checks and introspects @oneOf by itself and does not tell graphql-core, which prints it.
            kind.is_one_of = kind.extensions["strawberry-definition"].is_one_of
    return print_schema(found) + "\n"
