"""The schema as text: sorted, so that a diff shows what a commit changes in the API."""

import strawberry
from graphql import GraphQLEnumType, GraphQLInputObjectType, lexicographic_sort_schema, print_schema

from crm.graph.sdl_prices import DIRECTIVES, with_prices


def sdl(schema: strawberry.Schema) -> str:
    """The schema in GraphQL's schema definition language."""
    printed = lexicographic_sort_schema(schema._schema)  # noqa: SLF001
    for graphql_type in printed.type_map.values():
        if isinstance(graphql_type, GraphQLInputObjectType):
            # Strawberry checks and introspects @oneOf by itself and does not tell graphql-core, which prints it.
            graphql_type.is_one_of = graphql_type.extensions["strawberry-definition"].is_one_of
        if isinstance(graphql_type, GraphQLEnumType):
            # The order of declaration means something: a pipeline's steps, low to urgent.
            declared = schema._schema.type_map[graphql_type.name]  # noqa: SLF001
            graphql_type.values = {name: graphql_type.values[name] for name in declared.values}  # type: ignore[attr-defined]
    printed.directives = (*printed.directives, *DIRECTIVES)
    return with_prices(print_schema(printed), schema._schema) + "\n"  # noqa: SLF001
