"""Recommendations in the API."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from crm import graph
from crm.advice.recommendations.analytics import TaskAnalyticsGroup, TaskAnalyticsService
from crm.advice.recommendations.service import RecommendationService
from crm.ai.gateway import AnswerSource
from crm.ai.graphql import QUESTION_COST
from crm.graph.declare.error_types import Warning  # noqa: A004  (its name in the API)
from crm.graph.declare.ids import IS_NUMBER, RecordId
from crm.graph.run.context import Info
from crm.sales.tasks.graphql import Task
from crm.sales.tasks.model import TaskGenerator

# Every suggestion of the period is read.
_COST = 1000


graph.enum(TaskAnalyticsGroup, structural=True)


GroupBy = Annotated[
    list[TaskAnalyticsGroup] | None,
    strawberry.argument(description="By what to group; one row over all if omitted or empty."),
]
Row = Any


@graph.type()
class DismissalReason:
    """How often a reason was given."""

    reason: str | None = strawberry.field(description="As it was written; null: dismissed without one.")
    count: int = strawberry.field(description="How often.")


@graph.type()
class TaskAnalytics:
    """What became of suggested tasks."""

    generated_by: TaskGenerator | None = strawberry.field(description="What suggested them, if grouped by it.")
    model: str | None = strawberry.field(description="Which model, if grouped by it.")
    rule: str | None = strawberry.field(description="Which rule, if grouped by it; null: a language model's.")
    prompt_version: str | None = strawberry.field(description="Which version of the prompt, if grouped by it.")
    suggested: int = strawberry.field(description="How many were suggested.")
    pending: int = strawberry.field(description="How many wait for an answer.")
    accepted: int = strawberry.field(description="How many were accepted.")
    edited: int = strawberry.field(description="How many of the accepted ones somebody changed before accepting.")
    dismissed: int = strawberry.field(description="How many were dismissed.")
    completed: int = strawberry.field(description="How many of the accepted ones are done.")
    acceptance_rate: float | None = strawberry.field(
        description="Accepted among accepted and dismissed, 0 to 1, to four decimals; null if none is decided."
    )
    median_hours_to_completion: float | None = strawberry.field(
        description="From suggestion to completion, half took less; null if none is done."
    )

    @graph.edge(usual_rows=5, takes=())
    def dismissals(group: Row) -> list[DismissalReason]:
        """Why they were dismissed, the most frequent reason first."""
        return TaskAnalyticsService.dismissals(group)


@strawberry.input(description="A request for suggested tasks.")
class RecommendTasksInput:
    """A request for suggested tasks."""

    lead_id: RecordId = strawberry.field(description="The lead's id.", metadata=IS_NUMBER)


@graph.type()
class RecommendTasksPayload:
    """Suggested tasks, and how they came about."""

    tasks: list[Task] = strawberry.field(description="Up to three; they wait for `setTaskSource`.")
    warnings: list[Warning] = strawberry.field(
        description="What went wrong; with no tasks and no warnings, there is nothing to suggest."
    )
    answered_by: AnswerSource | None = strawberry.field(
        description="What suggested them; null if nothing could, or another request's empty answer was shared."
    )


@strawberry.type
class RecommendationQuery:
    """Reads of recommendations."""

    @graph.rows(usual_rows=20, extra_cost=lambda _: _COST)
    def task_analytics(
        from_: Annotated[
            datetime | None, strawberry.argument(name="from", description="Suggested at or after this moment.")
        ] = None,
        to: Annotated[datetime | None, strawberry.argument(description="Suggested before this moment.")] = None,
        group_by: GroupBy = None,
    ) -> list[TaskAnalytics]:
        """What became of suggested tasks: what to improve prompts and rules by. The largest group first."""
        return TaskAnalyticsService.grouped(group_by or (), from_, to)


@strawberry.type
class RecommendationMutation:
    """Recommendations."""

    @graph.mutation(extra_cost=lambda _: QUESTION_COST)
    async def generate_task_recommendations(
        self,
        info: Info,
        lead_id: Annotated[int, strawberry.argument(description="The lead's id.")],
    ) -> list[Task]:
        """Suggest up to three tasks for a lead, with reasons. They wait for `setTaskSource`.

        Nothing is suggested that is open already or was dismissed in the last 30 days, so `[]` is an answer too. When
        the model cannot answer, the answer is `[]`, and `extensions.warnings` holds AI_UNAVAILABLE.
        """
        return await info.context.run_workflow(RecommendationService.generate, lead_id)

    @graph.mutation(extra_cost=lambda _: QUESTION_COST)
    async def recommend_tasks(
        self,
        info: Info,
        input: Annotated[RecommendTasksInput, strawberry.argument(description="About which lead.")],
    ) -> RecommendTasksPayload:
        """Suggest up to three tasks for a lead, with reasons: `generateTaskRecommendations` with its warnings."""
        return await info.context.run_workflow(RecommendationService.recommend, input.lead_id)
