"""The orders of interactions."""

from enum import StrEnum

import strawberry

from crm.graph.declare import enum
from crm.graph.filters import UNSET
from crm.graph.ordering import Direction, Nulls


class InteractionOrderField(StrEnum):
    """What interactions can be ordered by."""

    ID = "id"
    TYPE = "type"
    SUBJECT = "subject"
    OCCURRED_AT = "occurred_at"
    DURATION_MINUTES = "duration_minutes"
    LEAD_ID = "lead_id"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


enum(
    InteractionOrderField,
    structural=True,
    ID="By id: the order of logging. Served by an index.",
    TYPE="By type.",
    SUBJECT="By subject.",
    OCCURRED_AT="By when it took place. Served by an index.",
    DURATION_MINUTES="By how long it took.",
    LEAD_ID="By lead. Served by an index.",
    CREATED_AT="By when it was logged.",
    UPDATED_AT="By when it was last changed.",
)


@strawberry.input(description="One key of an order; `id` always breaks ties.")
class InteractionOrder:
    """One key of an order."""

    field: InteractionOrderField = strawberry.field(description="What to order by.")
    direction: Direction = strawberry.field(description="Which end comes first.", default=Direction.ASC)
    nulls: Nulls | None = strawberry.field(
        description="Where rows without a value stand; last unless said otherwise.", default=UNSET
    )
