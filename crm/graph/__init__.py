"""The engine: one operation, one SQL statement. `graph.type`, `graph.edge` and the others map types to SQL."""

from crm.graph.declare.columns import (
    across,
    compares,
    create_input,
    filter,  # noqa: A004
    finds,
    list_filter,
    order,
    order_cost,
    type,  # noqa: A004
    update_input,
)
from crm.graph.declare.extend import extend
from crm.graph.declare.fields import (
    TOTAL_COUNT,
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
    pulse,
    rows,
    stream,
)

__all__ = [
    "TOTAL_COUNT",
    "Connection",
    "IncludeDeleted",
    "across",
    "answered",
    "at_most",
    "checked",
    "compares",
    "computed",
    "create_input",
    "document",
    "edge",
    "enum",
    "extend",
    "filter",
    "finds",
    "list_filter",
    "mutation",
    "order",
    "order_cost",
    "pulse",
    "rows",
    "stream",
    "type",
    "update_input",
]
