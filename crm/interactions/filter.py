"""Filters of interactions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Optional

import strawberry

from crm.graph import filters
from crm.graph.declare import enum
from crm.graph.filters import UNSET, Relation, Where
from crm.interactions.model import InteractionType
from crm.leads.model import Lead

if TYPE_CHECKING:
    from crm.leads.filter import LeadFilter

enum(
    InteractionType,
    CALL="A phone or video call.",
    EMAIL="An e-mail.",
    MEETING="A meeting.",
    MESSAGE="A text or chat message.",
    NOTE="Something to remember; nobody was contacted.",
)


@strawberry.input(description="Which interactions.")
class InteractionFilter(Where):
    """Which interactions."""

    relations: ClassVar[Mapping[str, Relation]] = {
        "lead": Relation(lambda: Lead, lambda interaction, lead: lead.id == interaction.lead_id),
    }

    id: filters.IntFilter | None = strawberry.field(description="By id.", default=UNSET)
    lead_id: filters.IntFilter | None = strawberry.field(description="By the lead's id.", default=UNSET)
    type: filters.Filter[InteractionType] | None = strawberry.field(description="By type.", default=UNSET)
    subject: filters.StringFilter | None = strawberry.field(description="By subject.", default=UNSET)
    notes: filters.StringFilter | None = strawberry.field(description="By notes.", default=UNSET)
    occurred_at: filters.DateTimeFilter | None = strawberry.field(description="By when it took place.", default=UNSET)
    duration_minutes: filters.IntFilter | None = strawberry.field(description="By how long it took.", default=UNSET)
    created_by: filters.IDFilter | None = strawberry.field(description="By the id of who logged it.", default=UNSET)
    version: filters.IntFilter | None = strawberry.field(description="By version.", default=UNSET)
    created_at: filters.DateTimeFilter | None = strawberry.field(description="By when it was logged.", default=UNSET)
    updated_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when it was last changed.", default=UNSET
    )
    lead: Annotated["LeadFilter", strawberry.lazy("crm.leads.filter")] | None = strawberry.field(
        description="By the lead.", default=UNSET
    )
    and_: list["InteractionFilter"] | None = strawberry.field(name="and", description="All of these.", default=UNSET)
    or_: list["InteractionFilter"] | None = strawberry.field(
        name="or", description="At least one of these.", default=UNSET
    )
    not_: Optional["InteractionFilter"] = strawberry.field(name="not", description="Not this.", default=UNSET)


@strawberry.input(description="What holds among interactions.")
class InteractionListFilter:
    """What holds among interactions."""

    some: InteractionFilter | None = strawberry.field(description="At least one is like this.", default=UNSET)
    none: InteractionFilter | None = strawberry.field(description="None is like this.", default=UNSET)
    every: InteractionFilter | None = strawberry.field(
        description="All are like this; true of no rows at all.", default=UNSET
    )
