"""Pages of lists: Relay's cursor connections."""

from typing import Generic, TypeVar

import strawberry

T = TypeVar("T")


@strawberry.type(description="Where a page stands.")
class PageInfo:
    """Where a page stands."""

    has_next_page: bool = strawberry.field(description="Whether more follow.")
    has_previous_page: bool = strawberry.field(description="Whether some come before.")
    start_cursor: str | None = strawberry.field(description="The first row's cursor.")
    end_cursor: str | None = strawberry.field(description="The last row's cursor: `after` for the next page.")


@strawberry.type(description="One row of a page, and its cursor.")
class Edge(Generic[T]):
    """One row of a page, and its cursor."""

    cursor: str = strawberry.field(description="Points at this row, under this filter and order.")
    node: T = strawberry.field(description="The record.")


@strawberry.type(description="A page of a list (Relay's cursor connections).")
class Connection(Generic[T]):
    """A page of a list."""

    edges: list[Edge[T]] = strawberry.field(description="The rows with their cursors.")
    nodes: list[T] = strawberry.field(description="The rows alone.")
    page_info: PageInfo = strawberry.field(description="Where this page stands.")
    total_count: int = strawberry.field(description="How many there are in all; counted only when asked for.")
