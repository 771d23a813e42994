"""The orders of tasks."""

from enum import StrEnum

import strawberry

from crm.graph.declare import enum
from crm.graph.filters import UNSET
from crm.graph.ordering import Direction, Nulls


class TaskOrderField(StrEnum):
    """What tasks can be ordered by."""

    ID = "id"
    TITLE = "title"
    DUE_DATE = "due_date"
    COMPLETED = "completed"
    COMPLETED_AT = "completed_at"
    PRIORITY = "priority"
    SOURCE = "source"
    LEAD_ID = "lead_id"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


enum(
    TaskOrderField,
    structural=True,
    ID="By id: the order of creation. Served by an index.",
    TITLE="By title.",
    DUE_DATE="By due date.",
    COMPLETED="By whether it is done.",
    COMPLETED_AT="By when it was done.",
    PRIORITY="By urgency: LOW first, URGENT last.",
    SOURCE="By source.",
    LEAD_ID="By lead. Served by an index.",
    CREATED_AT="By when it was created. Served by an index.",
    UPDATED_AT="By when it was last changed.",
)


@strawberry.input(description="One key of an order; `id` always breaks ties.")
class TaskOrder:
    """One key of an order."""

    field: TaskOrderField = strawberry.field(description="What to order by.")
    direction: Direction = strawberry.field(description="Which end comes first.", default=Direction.ASC)
    nulls: Nulls | None = strawberry.field(
        description="Where rows without a value stand; last unless said otherwise.", default=UNSET
    )
