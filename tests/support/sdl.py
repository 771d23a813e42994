"""The API as its SDL says it: the text, and the schema that clients build of it, each made once in a process."""

from functools import cache

from graphql import GraphQLSchema, build_schema

from crm import schema as api
from crm.graph.sdl import sdl


@cache
def text() -> str:
    """The SDL, as `crm schema` prints it."""
    return sdl(api.schema)


@cache
def schema() -> GraphQLSchema:
    """The schema that a client builds of the SDL."""
    return build_schema(text())
