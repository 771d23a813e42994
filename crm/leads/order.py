"""The orders of leads."""

from enum import StrEnum

import strawberry

from crm.graph.declare import enum
from crm.graph.filters import UNSET
from crm.graph.ordering import Direction, Nulls


class LeadOrderField(StrEnum):
    """What leads can be ordered by."""

    ID = "id"
    FIRST_NAME = "first_name"
    LAST_NAME = "last_name"
    EMAIL = "email"
    COMPANY = "company"
    STATUS = "status"
    SOURCE = "source"
    BUDGET = "budget"
    LOCATION = "location"
    ACTIVITY_SCORE = "activity_score"
    SCORE_CALCULATED_AT = "score_calculated_at"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


enum(
    LeadOrderField,
    structural=True,
    ID="By id: the order of creation. Served by an index.",
    FIRST_NAME="By first name.",
    LAST_NAME="By last name. Served by an index.",
    EMAIL="By e-mail address.",
    COMPANY="By company.",
    STATUS="By how far it has come: NEW first, LOST last.",
    SOURCE="By where it came from.",
    BUDGET="By budget, whatever the currency.",
    LOCATION="By location.",
    ACTIVITY_SCORE="By score. Served by an index when descending.",
    SCORE_CALCULATED_AT="By when the score was calculated.",
    CREATED_AT="By when it was created. Served by an index.",
    UPDATED_AT="By when it was last changed. Served by an index.",
)


@strawberry.input(description="One key of an order; `id` always breaks ties.")
class LeadOrder:
    """One key of an order."""

    field: LeadOrderField = strawberry.field(description="What to order by.")
    direction: Direction = strawberry.field(description="Which end comes first.", default=Direction.ASC)
    nulls: Nulls | None = strawberry.field(
        description="Where rows without a value stand; last unless said otherwise.", default=UNSET
    )
