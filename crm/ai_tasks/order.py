"""The orders of AI tasks."""

from enum import StrEnum

import strawberry

from crm.graph.declare import enum
from crm.graph.filters import UNSET
from crm.graph.ordering import Direction, Nulls


class AiTaskOrderField(StrEnum):
    """What AI tasks can be ordered by."""

    ID = "id"
    TASK_TYPE = "task_type"
    PRIORITY = "priority"
    STATUS = "status"
    QUEUE = "queue"
    DUE_AT = "due_at"
    COST_USD = "cost_usd"
    CREATED_AT = "created_at"
    STARTED_AT = "started_at"
    FINISHED_AT = "finished_at"
    UPDATED_AT = "updated_at"


enum(
    AiTaskOrderField,
    structural=True,
    ID="By id: the order of creation. Served by an index.",
    TASK_TYPE="By type.",
    PRIORITY="By urgency: LOW first, URGENT last.",
    STATUS="By how far they have come: QUEUED first.",
    QUEUE="As workers take them: those that may run, the next to run first; then those for later, the earliest first.",
    DUE_AT="By when they may run, or might have.",
    COST_USD="By what they cost.",
    CREATED_AT="By when they were created.",
    STARTED_AT="By when their latest attempt began.",
    FINISHED_AT="By when they ended. Served by an index.",
    UPDATED_AT="By when they last changed.",
)


@strawberry.input(description="One key of an order; `id` always breaks ties.")
class AiTaskOrder:
    """One key of an order."""

    field: AiTaskOrderField = strawberry.field(description="What to order by.")
    direction: Direction = strawberry.field(description="Which end comes first.", default=Direction.ASC)
    nulls: Nulls | None = strawberry.field(
        description="Where rows without a value stand; last unless said otherwise.", default=UNSET
    )
