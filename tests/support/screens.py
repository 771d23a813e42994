"""The documents of docs/guides/screens.md: GraphiQL's examples, cut into what a client sends in one request."""

from functools import cache

from graphql import parse, print_ast
from graphql.utilities import separate_operations

from crm.web.graphiql.page import EXAMPLES

FILES = {
    name: next(EXAMPLES.glob(f"*-{name}.graphql")) for name in ("kanban", "lead-page", "my-day", "form", "two-browsers")
}


@cache
def operations() -> dict[str, str]:
    """Each operation by its name, with the fragments that it spreads."""
    cut = (separate_operations(parse(file.read_text("utf-8"))) for file in FILES.values())
    return {name: print_ast(document) for documents in cut for name, document in documents.items()}
