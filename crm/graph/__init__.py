"""The engine: one operation, one SQL statement. `graph.type`, `graph.edge` and friends declare how types map to SQL."""

from crm.graph.declare import (
    Connection,
    IncludeDeleted,
    answered,
    at_most,
    checked,
    computed,
    document,
    edge,
    enum,
    mutation,
    order_cost,
    pulse,
    rows,
    stream,
    type,  # noqa: A004
)

__all__ = [
    "Connection",
    "IncludeDeleted",
    "answered",
    "at_most",
    "checked",
    "computed",
    "document",
    "edge",
    "enum",
    "mutation",
    "order_cost",
    "pulse",
    "rows",
    "stream",
    "type",
]
