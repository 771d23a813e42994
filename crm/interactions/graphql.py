"""Interactions in the API."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from crm import graph
from crm.graph.engine import Info
from crm.graph.filters import UNSET
from crm.graph.inputs import expected_version, values_of
from crm.interactions import model
from crm.interactions.filter import InteractionFilter
from crm.interactions.model import InteractionType
from crm.interactions.order import InteractionOrder
from crm.interactions.service import InteractionService
from crm.leads.service import LeadService
from crm.people.graphql import User
from crm.people.service import UserService

if TYPE_CHECKING:
    from crm.leads.graphql import Lead

InteractionId = Annotated[int, strawberry.argument(description="The interaction's id.")]
Which = Annotated[InteractionFilter | None, strawberry.argument(description="Which ones.")]
InOrder = Annotated[
    list[InteractionOrder] | None, strawberry.argument(description="In which order; newest first if omitted.")
]

Row = type[model.Interaction]


@graph.type(model.Interaction)
class Interaction:
    """One contact with a lead, or a note about it."""

    id: strawberry.ID = strawberry.field(description="A whole number, as text.")
    lead_id: int = strawberry.field(description="The lead.")
    type: InteractionType = strawberry.field(description="How.")
    subject: str | None = strawberry.field(description="What about.")
    notes: str | None = strawberry.field(description="What was said.")
    occurred_at: datetime = strawberry.field(description="When it took place.")
    duration_minutes: int | None = strawberry.field(description="How long it took.")
    created_by: strawberry.ID | None = strawberry.field(description="Who logged it.")
    version: int = strawberry.field(description="Goes up by one with each change; see `expectedVersion`.")
    created_at: datetime = strawberry.field(description="When it was logged.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")

    @graph.edge
    def lead(
        interaction: Row,
    ) -> Annotated["Lead", strawberry.lazy("crm.leads.graphql")] | None:
        """The lead; null when that is deleted."""
        return LeadService.with_id(interaction.lead_id)

    @graph.edge
    def creator(interaction: Row) -> User | None:
        """Who logged it."""
        return UserService.with_id(interaction.created_by)


@strawberry.input(description="Something that happened with a lead.")
class LogInteractionInput:
    """Something that happened with a lead."""

    lead_id: int = strawberry.field(description="The lead.")
    type: InteractionType = strawberry.field(description="How.")
    subject: str | None = strawberry.field(description="What about.", default=UNSET)
    notes: str | None = strawberry.field(description="What was said.", default=UNSET)
    occurred_at: datetime | None = strawberry.field(description="When; now if omitted.", default=UNSET)
    duration_minutes: int | None = strawberry.field(description="How long it took.", default=UNSET)


@strawberry.input(description="What to correct about an interaction; what is left out stays, null clears.")
class UpdateInteractionInput:
    """What to correct about an interaction."""

    type: InteractionType | None = strawberry.field(description="How.", default=UNSET)
    subject: str | None = strawberry.field(description="What about.", default=UNSET)
    notes: str | None = strawberry.field(description="What was said.", default=UNSET)
    occurred_at: datetime | None = strawberry.field(description="When.", default=UNSET)
    duration_minutes: int | None = strawberry.field(description="How long it took.", default=UNSET)
    expected_version: int | None = strawberry.field(
        description="The version you saw; CONFLICT if it is no longer the current one.", default=UNSET
    )


@strawberry.type
class InteractionQuery:
    """Reads of interactions."""

    @graph.rows
    def interaction(id: InteractionId) -> Interaction | None:
        """The interaction with this id; null if there is none."""
        return InteractionService.with_id(id)

    @graph.rows(extra_cost=graph.order_cost("id", "lead_id", "occurred_at"))
    def interactions(filter: Which = None, order_by: InOrder = None) -> list[Interaction]:
        """Interactions, newest first unless asked otherwise."""
        return InteractionService.matching(filter, order_by)

    @graph.rows(extra_cost=graph.order_cost("id", "lead_id", "occurred_at"))
    def interactions_connection(filter: Which = None, order_by: InOrder = None) -> graph.Connection[Interaction]:
        """Interactions, page by page."""
        return InteractionService.matching(filter, order_by)


@strawberry.type
class InteractionMutation:
    """Changes of interactions."""

    @graph.mutation
    async def log_interaction(
        self, info: Info, input: Annotated[LogInteractionInput, strawberry.argument(description="What happened.")]
    ) -> Interaction:
        """Record something that happened with a lead."""
        values = values_of(input)
        if values.get("occurred_at") is None:
            values.pop("occurred_at", None)
        return await info.context.write(InteractionService.log, values)

    @graph.mutation
    async def update_interaction(
        self,
        info: Info,
        id: InteractionId,
        input: Annotated[UpdateInteractionInput, strawberry.argument(description="What changes.")],
    ) -> Interaction:
        """Correct an interaction."""
        return await info.context.write(
            InteractionService.update, id, values_of(input, "expected_version"), expected_version(input)
        )

    @graph.mutation
    async def delete_interaction(self, info: Info, id: InteractionId) -> Interaction:
        """Remove an interaction for good; the timeline keeps that it was there, not what it said."""
        return await info.context.write(InteractionService.delete, id)
