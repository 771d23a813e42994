"""The engine: one operation, one SQL statement. `graph.type`, `graph.edge` and the others map types to SQL."""

from crm.graph.declare.columns import (
    across,
    create_input,
    expression_filter,
    filter,  # noqa: A004
    list_filter,
    order,
    order_cost,
    text_filter,
    type,  # noqa: A004
    update_input,
)
from crm.graph.declare.extend import extend
from crm.graph.declare.fields import (
    TOTAL_COUNT,
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
from crm.graph.declare.pages import Connection

__all__ = [
    "TOTAL_COUNT",
    "Connection",
    "IncludeDeleted",
    "across",
    "answered",
    "at_most",
    "checked",
    "computed",
    "create_input",
    "document",
    "edge",
    "enum",
    "expression_filter",
    "extend",
    "filter",
    "list_filter",
    "mutation",
    "order",
    "order_cost",
    "pulse",
    "rows",
    "stream",
    "text_filter",
    "type",
    "update_input",
]
