"""The schema as text: sorted, so that a change shows as a change."""

import strawberry
from graphql import lexicographic_sort_schema, print_schema


def sdl(schema: strawberry.Schema) -> str:
    """The SDL."""
    return print_schema(lexicographic_sort_schema(schema._schema)) + "\n"  # noqa: SLF001
