"""Summaries in the API."""

from typing import Annotated

import strawberry

from crm import graph
from crm.advice.summaries.service import SummaryService
from crm.ai.graphql import QUESTION_COST
from crm.graph.run.engine import Info
from crm.sales.leads.graphql import Lead, LeadId


@strawberry.type
class SummaryMutation:
    """Summaries."""

    @graph.mutation(extra_cost=lambda _: QUESTION_COST)
    async def regenerate_summary(
        self,
        info: Info,
        lead_id: LeadId,
        force: Annotated[
            bool, strawberry.argument(description="Write it anew even if nothing happened since.")
        ] = False,
    ) -> Lead:
        """Write a lead's summary, and calculate its score.

        When nothing happened since the last one, and the model is the same, it stays, at no cost. When the model cannot
        answer, it stays too, and `extensions.warnings` holds AI_UNAVAILABLE. The score is calculated either way.
        """
        return await info.context.run_workflow(SummaryService.regenerate, lead_id, force)
