"""Interactions in the API."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from crm import graph
from crm.access.users.graphql import User
from crm.access.users.service import UserService
from crm.graph.declare.filters import UNSET, InputObject, WhereInput
from crm.graph.declare.ids import RecordId, record_id
from crm.graph.declare.inputs import ExpectedVersion, IdempotencyKey, expected_version, given, values_of
from crm.graph.run.context import Info
from crm.sales.interactions import model
from crm.sales.interactions.service import InteractionService
from crm.sales.leads import model as leads
from crm.sales.leads.service import LeadService

if TYPE_CHECKING:
    from crm.sales.leads.graphql import Lead, LeadFilter

InteractionId = Annotated[RecordId, record_id("The interaction's id.")]
Row = type[model.Interaction]
_ORDER_COST = graph.order_cost(model.Interaction)


@graph.filter(model.Interaction)
class InteractionFilter(WhereInput):
    """Which interactions."""

    lead: Annotated["LeadFilter", strawberry.lazy("crm.sales.leads.graphql")] | None = graph.across(
        "By the lead.", leads.Lead, lambda interaction, lead: lead.id == interaction.lead_id
    )


@graph.list_filter(InteractionFilter)
class InteractionListFilter(InputObject):
    """What holds among interactions."""


@graph.order(model.Interaction)
class InteractionOrder:
    """What interactions can be ordered by."""


Which = Annotated[InteractionFilter | None, strawberry.argument(description="Which ones.")]
InOrder = Annotated[
    list[InteractionOrder] | None, strawberry.argument(description="In which order; newest first if omitted.")
]


@graph.type(model.Interaction)
class Interaction:
    """One contact with a lead, or a note about it."""

    @graph.edge
    def lead(
        interaction: Row,
    ) -> Annotated["Lead", strawberry.lazy("crm.sales.leads.graphql")] | None:
        """The lead; null when that is deleted."""
        return LeadService.with_id(interaction.lead_id)

    @graph.edge
    def creator(interaction: Row) -> User | None:
        """Who logged it."""
        return UserService.with_id(interaction.created_by)


@graph.create_input(model.Interaction)
class LogInteractionInput:
    """Something that happened with a lead."""

    occurred_at: datetime | None = strawberry.field(description="When; now if omitted.", default=UNSET)


@graph.update_input(model.Interaction)
class UpdateInteractionInput:
    """What to correct about an interaction; what is left out stays, null clears."""


@strawberry.type
class InteractionQuery:
    """Reads of interactions."""

    @graph.rows
    def interaction(id: InteractionId) -> Interaction | None:
        """The interaction with this id; null if there is none."""
        return InteractionService.with_id(id)

    @graph.rows(extra_cost=_ORDER_COST)
    def interactions(filter: Which = None, order_by: InOrder = None) -> list[Interaction]:
        """Interactions, newest first unless asked otherwise."""
        return InteractionService.matching(filter, order_by)

    @graph.rows(extra_cost=_ORDER_COST)
    def interactions_connection(filter: Which = None, order_by: InOrder = None) -> graph.Connection[Interaction]:
        """Interactions, page by page."""
        return InteractionService.matching(filter, order_by)


@strawberry.type
class InteractionMutation:
    """Changes of interactions."""

    @graph.mutation
    async def log_interaction(
        self,
        info: Info,
        input: Annotated[LogInteractionInput, strawberry.argument(description="What happened.")],
        idempotency_key: IdempotencyKey = UNSET,
    ) -> Interaction:
        """Record something that happened with a lead."""
        values = values_of(input)
        if values.get("occurred_at") is None:
            values.pop("occurred_at", None)
        return await info.context.write(InteractionService.log, values, given(idempotency_key))

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
    async def delete_interaction(
        self, info: Info, id: InteractionId, expected_version: ExpectedVersion = UNSET
    ) -> Interaction:
        """Remove an interaction for good; the timeline keeps that it was there, not what it said."""
        return await info.context.write(InteractionService.delete, id, given(expected_version))
