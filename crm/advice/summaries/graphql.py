"""Summaries in the API."""

from typing import Annotated

import strawberry
from sqlalchemy import func

from crm import graph
from crm.advice.summaries.service import SummaryService
from crm.ai.gateway import AnswerSource
from crm.ai.graphql import QUESTION_COST
from crm.graph.declare.error_types import Warning  # noqa: A004  (its name in the API)
from crm.graph.declare.ids import IS_NUMBER, RecordId
from crm.graph.run.context import Info
from crm.sales.history.service import ChangeService
from crm.sales.leads import model
from crm.sales.leads.graphql import FixedLeadId, Lead

Row = type[model.Lead]


@graph.extend(Lead)
class LeadSummary:
    """How a lead's summary stands."""

    @graph.computed(never_null=True)
    def summary_is_stale(lead: Row) -> bool:
        """Whether something happened since the summary was written; false without a summary.

        What follows from other facts (the score, the summary itself) and unanswered suggestions do not count.
        """
        return ChangeService.happened_since(lead.id, func.coalesce(lead.summary_facts_at, lead.summary_generated_at))


@strawberry.input(description="A request for a summary.")
class WriteSummaryInput:
    """A request for a summary."""

    lead_id: RecordId = strawberry.field(description="The lead's id.", metadata=IS_NUMBER)
    force: bool = strawberry.field(description="Write it anew even if nothing happened since.", default=False)


@graph.type()
class WriteSummaryPayload:
    """A lead with its summary, and how that came about."""

    lead: Lead = strawberry.field(description="The lead.")
    warnings: list[Warning] = strawberry.field(description="What went wrong; the summary stayed as it was then.")
    answered_by: AnswerSource | None = strawberry.field(
        description="What wrote it; null if nothing could, or it stayed because nothing happened since."
    )


@strawberry.type
class SummaryMutation:
    """Summaries."""

    @graph.mutation(extra_cost=lambda _: QUESTION_COST)
    async def regenerate_summary(
        self,
        info: Info,
        lead_id: FixedLeadId,
        force: Annotated[
            bool, strawberry.argument(description="Write it anew even if nothing happened since.")
        ] = False,
    ) -> Lead:
        """Write a lead's summary, and calculate its score.

        When nothing happened since the last one, and the model is the same, it stays, at no cost. When the model cannot
        answer, it stays too, and `extensions.warnings` holds AI_UNAVAILABLE. The score is calculated either way.
        """
        return await info.context.run_workflow(SummaryService.regenerate, lead_id, force)

    @graph.mutation(extra_cost=lambda _: QUESTION_COST)
    async def write_summary(
        self, info: Info, input: Annotated[WriteSummaryInput, strawberry.argument(description="Of which lead.")]
    ) -> WriteSummaryPayload:
        """Write a lead's summary, and calculate its score: `regenerateSummary` with its warnings."""
        return await info.context.run_workflow(SummaryService.write_summary, input.lead_id, input.force)
