"""AI tasks in the API."""

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import strawberry
from sqlalchemy import ColumnElement

from crm import graph
from crm.access.users.graphql import User
from crm.access.users.service import UserService
from crm.ai_tasks import columns, model
from crm.ai_tasks.lease import end_lost, lost
from crm.ai_tasks.model import AiTaskPriority
from crm.ai_tasks.report import AiTaskReport
from crm.ai_tasks.retention import AiTaskMaintenance
from crm.ai_tasks.service import MOST_AT_ONCE, MOST_CANCELLED, AiTaskService
from crm.ai_tasks.stream import updates
from crm.core.identity import Role
from crm.core.validate import parse_uuid
from crm.graph.declare.filters import UNSET, WhereInput
from crm.graph.declare.ids import RecordId, record_id
from crm.graph.declare.inputs import values_of
from crm.graph.declare.scalars import JSON
from crm.graph.run.context import Info
from crm.jobs import WorkerContext
from crm.sales.leads import model as leads
from crm.sales.leads.graphql import Lead, LeadFilter, LeadId
from crm.sales.leads.service import LeadService
from crm.sales.tasks import graphql as tasks

# All AI tasks that wait are counted.
_QUEUE_COST = 500
# As `leadStats`: all finished AI tasks are counted and added up.
_STATISTICS_COST = 1000
# The whole queue is read for it, if only once a statement.
_PLACE_COST = 4
# A new task is work to be done.
_CREATE_COST = 20

Row = type[model.AiTask]
AiTaskId = Annotated[strawberry.ID, graph.checked(parse_uuid, "The AI task's id.")]


@graph.filter(model.AiTask)
class AiTaskFilter(WhereInput):
    """Which AI tasks."""

    lead: LeadFilter | None = graph.across("By the lead.", leads.Lead, lambda task, lead: lead.id == task.lead_id)


_QUEUE = "As workers take them: those that may run, the next to run first; then those for later, the earliest first."


@graph.order(model.AiTask, queue=(_QUEUE, "status"))
class AiTaskOrder:
    """What AI tasks can be ordered by."""


Which = Annotated[AiTaskFilter | None, strawberry.argument(description="Which ones.")]
InOrder = Annotated[
    list[AiTaskOrder] | None, strawberry.argument(description="In which order; newest first if omitted.")
]


@graph.type(model.AiTaskAttempt)
class AiTaskAttempt:
    """One run of an AI task."""


@graph.type(model.AiTask)
class AiTask:
    """Work in the background that can be seen, prioritised, cancelled, retried and priced."""

    @graph.computed(never_null=True)
    def is_final(task: Row) -> bool:
        """Whether nothing more happens by itself."""
        return columns.is_final(task.status)

    @graph.computed(never_null=True)
    def can_cancel(task: Row) -> bool:
        """Whether `cancelAiTask` would work."""
        return ~columns.is_final(task.status)

    @graph.computed(never_null=True)
    def can_retry(task: Row) -> bool:
        """Whether `retryAiTask` would work."""
        return columns.can_retry(task.status)

    @graph.computed
    def wait_ms(task: Row) -> int | None:
        """How long it waited for its latest attempt, or waits for its next; null before that is due."""
        return columns.wait_ms(task)

    @graph.computed
    def run_ms(task: Row) -> int | None:
        """How long the latest attempt took, or has taken; null if none has begun."""
        return columns.run_ms(task)

    @graph.computed(extra_cost=lambda _: _PLACE_COST)
    def position_in_queue(task: Row) -> int | None:
        """1 for the next to run; it may run sooner, as users share workers. Null if it does not wait, or not yet."""
        return columns.position(task)

    @graph.edge(usual_rows=2)
    def attempts(task: Row) -> list[AiTaskAttempt]:
        """Its attempts, the first first."""
        return AiTaskService.attempts_of(task.id)

    @graph.edge
    def lead(task: Row) -> Lead | None:
        """The lead it is about; null if that is deleted."""
        return LeadService.with_id(task.lead_id)

    @graph.edge
    def tasks(task: Row, filter: tasks.Which = None, order_by: tasks.InOrder = None) -> list[tasks.Task]:
        """The tasks that it suggested, whatever became of them; newest first."""
        return AiTaskService.suggested(task.id, filter, order_by)

    @graph.edge
    def creator(task: Row) -> User | None:
        """Whose it is."""
        return UserService.with_id(task.created_by)


@graph.create_input(model.AiTask)
class CreateAiTaskInput:
    """A new AI task."""

    # A column that is never null, and an argument that may be left out or null.
    input: JSON | None = strawberry.field(description="What that takes: an object, at most 64 KiB.", default=UNSET)


Level = Any


@graph.type()
class AiTaskQueueLevel:
    """What waits at one priority."""

    priority: AiTaskPriority = strawberry.field(description="Which.")
    waiting: int = strawberry.field(description="How many wait, those for later included.")


@graph.type()
class AiTaskQueueStatus:
    """The queue as it is: all tasks, whosever they are."""

    queued: int = strawberry.field(description="How many wait for their first attempt, those for later included.")
    running: int = strawberry.field(description="How many are being worked on.")
    retrying: int = strawberry.field(description="How many wait for another attempt.")
    scheduled: int = strawberry.field(description="Of those that wait: how many are not to run yet.")
    oldest_waiting_ms: int | None = strawberry.field(
        description="How long the oldest one waits that might run; null if none does."
    )
    completed_last_hour: int = strawberry.field(description="How many were completed within the last hour.")
    failed_last_hour: int = strawberry.field(description="How many failed or timed out for good within the last hour.")
    cost_today_usd: Decimal = strawberry.field(
        description="What models have cost today (UTC) for AI tasks, as far as known."
    )
    workers: int = strawberry.field(description="How many workers were heard of within the last 15 seconds.")

    @graph.edge(usual_rows=4, takes=())
    def by_priority(status: Level) -> list[AiTaskQueueLevel]:
        """What waits, priority by priority, the most urgent first; those without any are left out."""
        return AiTaskReport.levels(status)


@graph.type()
class AiTaskTotal:
    """What the tasks of one kind came to."""

    key: str = strawberry.field(description="The task type, or the day (UTC) like `2026-01-31`.")
    tasks: int = strawberry.field(description="How many ended.")
    completed: int = strawberry.field(description="How many of them were completed.")
    tokens: float = strawberry.field(description="Read and written by models; whole.")
    cost_usd: Decimal = strawberry.field(description="What they cost, as far as known.")


@graph.type()
class AiTaskStatistics:
    """What tasks that have ended came to; for admins with those that are gone, of which only days' totals are kept.

    A day's totals are in a period when the day (UTC) begins in it.
    """

    total: int = strawberry.field(description="How many ended.")
    completed: int = strawberry.field(description="How many were completed.")
    failed: int = strawberry.field(description="How many failed.")
    cancelled: int = strawberry.field(description="How many were cancelled.")
    timed_out: int = strawberry.field(description="How many took too long.")
    success_rate: float | None = strawberry.field(
        description="Completed among those not cancelled, 0 to 1, to four decimals; null if there are none."
    )
    attempts: int = strawberry.field(description="How many attempts they took.")
    average_wait_ms: int | None = strawberry.field(
        description="What they waited for their latest attempt, from when that was due, on average."
    )
    average_run_ms: int | None = strawberry.field(description="What the latest attempt took, on average.")
    average_quality: float | None = strawberry.field(description="The mean of their quality scores.")
    tokens: float = strawberry.field(description="Read and written by models; whole.")
    cost_usd: Decimal = strawberry.field(description="What they cost, as far as known.")
    unpriced: int = strawberry.field(description="How many have a part of their cost that nobody knows.")

    @graph.edge(usual_rows=5, takes=())
    def by_type(row: Level) -> list[AiTaskTotal]:
        """The same, type by type."""
        return AiTaskReport.groups(row, "types")

    @graph.edge(usual_rows=30, takes=())
    def by_day(row: Level) -> list[AiTaskTotal]:
        """The same, day by day (UTC)."""
        return AiTaskReport.groups(row, "days")


@strawberry.type(description="What a clean-up did.")
class AiTaskCleanupResult:
    """What a clean-up did."""

    count: int = strawberry.field(description="How many tasks were removed.")
    more: bool = strawberry.field(description="Whether time ran out before all were; call again.")


@strawberry.type(description="What a search for lost tasks found.")
class AiTaskStaleResult:
    """What a search for lost tasks found."""

    count: int = strawberry.field(description="How many tasks had lost their worker.")


@strawberry.type
class AiTaskQuery:
    """Reads of AI tasks."""

    @graph.rows
    def ai_task(id: AiTaskId) -> AiTask | None:
        """The AI task with this id; null if there is none, or it is another user's."""
        return AiTaskService.with_id(id)

    @graph.rows(extra_cost=graph.order_cost(model.AiTask))
    def ai_tasks(filter: Which = None, order_by: InOrder = None) -> list[AiTask]:
        """Your AI tasks, an admin's view of all; newest first unless asked otherwise."""
        return AiTaskService.matching(filter, order_by)

    @graph.rows(extra_cost=lambda _: _QUEUE_COST)
    def ai_task_queue_status() -> AiTaskQueueStatus | None:
        """The queue as it is."""
        return AiTaskReport.queue()

    @graph.rows(extra_cost=lambda _: _STATISTICS_COST)
    def ai_task_statistics(
        from_: Annotated[
            datetime | None, strawberry.argument(name="from", description="Ended at or after this moment.")
        ] = None,
        to: Annotated[datetime | None, strawberry.argument(description="Ended before this moment.")] = None,
    ) -> AiTaskStatistics | None:
        """What your tasks that have ended came to; an admin's view is of all."""
        return AiTaskReport.done(from_, to)


@strawberry.type
class AiTaskMutation:
    """Changes of AI tasks."""

    @graph.mutation(extra_cost=lambda _: _CREATE_COST)
    async def create_ai_task(
        self, info: Info, input: Annotated[CreateAiTaskInput, strawberry.argument(description="The task.")]
    ) -> AiTask:
        """Have something done in the background. Returns at once; follow it with `aiTaskUpdated`."""
        return await info.context.write(AiTaskService.create, values_of(input))

    @graph.mutation
    async def cancel_ai_task(self, info: Info, id: AiTaskId) -> AiTask:
        """Cancel a task that has not ended. One that runs is stopped; what it cost stays on its bill."""
        return await info.context.write(AiTaskService.cancel, id)

    @graph.mutation(usual_rows=MOST_AT_ONCE, extra_cost=lambda arguments: len(arguments["inputs"]) * _CREATE_COST)
    async def create_ai_tasks(
        self, info: Info, inputs: Annotated[list[CreateAiTaskInput], graph.at_most(MOST_AT_ONCE, "1 to 100 tasks.")]
    ) -> list[AiTask]:
        """Have several things done in the background: all are created, in order, or none."""
        return await info.context.write(AiTaskService.create_many, [values_of(task) for task in inputs])

    @graph.mutation(usual_rows=MOST_CANCELLED)
    async def cancel_ai_tasks(
        self, info: Info, filter: Annotated[AiTaskFilter, strawberry.argument(description="Which ones.")]
    ) -> list[AiTask]:
        """Cancel the tasks that a filter leaves and that have not ended: of yours, or an admin of everybody's.

        At most 1,000 at once, the oldest first: if as many come back, call it again.
        """
        return await info.context.write(AiTaskService.cancel_matching, filter)

    @graph.mutation
    async def retry_ai_task(self, info: Info, id: AiTaskId) -> AiTask:
        """Have a task tried again that failed, was cancelled or took too long. It has all its retries again.

        One that is scheduled for later still waits until then.
        """
        return await info.context.write(AiTaskService.retry, id)

    @graph.mutation
    async def update_ai_task_priority(
        self,
        info: Info,
        id: AiTaskId,
        priority: Annotated[AiTaskPriority, strawberry.argument(description="How urgent it is now.")],
    ) -> AiTask:
        """Move a task up or down the queue. One that runs goes on; it counts if there is another attempt."""
        return await info.context.write(AiTaskService.prioritise, id, priority)

    @graph.mutation
    async def rate_ai_task(
        self,
        info: Info,
        id: AiTaskId,
        score: Annotated[float, strawberry.argument(description="How good the result is: 0 to 1.")],
    ) -> AiTask:
        """Say how good a result is; it replaces the automatic check's opinion."""
        return await info.context.write(AiTaskService.rate, id, score)

    @graph.mutation(role=Role.ADMIN)
    async def cleanup_old_ai_tasks(
        self,
        info: Info,
        older_than_days: Annotated[
            int | None,
            strawberry.argument(description="Ended so many days ago; CRM_AI_TASK_RETENTION_DAYS if omitted."),
        ] = None,
    ) -> AiTaskCleanupResult:
        """Remove tasks that ended some time ago, in batches. Their totals stay. A worker does it every hour."""
        settings = info.context.engine.settings
        days = settings.ai_task_retention_days if older_than_days is None else older_than_days
        return await info.context.run_workflow(AiTaskMaintenance.clean, days)

    @graph.mutation(role=Role.ADMIN)
    async def timeout_stale_ai_tasks(self, info: Info) -> AiTaskStaleResult:
        """End attempts whose worker is dead, now. A worker does it every second; this is for when none runs."""
        engine = info.context.engine
        worker_context = WorkerContext(engine.database, engine.feed, engine.settings, info.context.ai)
        return AiTaskStaleResult(count=await end_lost(worker_context, await lost(worker_context)))

    @graph.mutation(extra_cost=lambda _: _CREATE_COST)
    async def request_task_recommendations(self, info: Info, lead_id: LeadId) -> AiTask:
        """Have tasks suggested for a lead in the background: `generateTaskRecommendations` that nobody waits for."""
        return await info.context.write(AiTaskService.create, {"task_type": "task_recommendations", "lead_id": lead_id})

    @graph.mutation(extra_cost=lambda _: _CREATE_COST)
    async def request_summary(self, info: Info, lead_id: LeadId) -> AiTask:
        """Have a lead's summary written in the background: `regenerateSummary` that nobody waits for."""
        return await info.context.write(AiTaskService.create, {"task_type": "lead_summary", "lead_id": lead_id})


@strawberry.type
class AiTaskSubscription:
    """AI tasks, live."""

    @graph.stream(entities=["ai_task"], resumes=False, first=AiTaskService.named)
    def ai_task_updated(
        after_xid: ColumnElement[Any],
        after_id: ColumnElement[Any],
        until_xid: ColumnElement[Any],
        id: Annotated[
            strawberry.ID | None, graph.checked(parse_uuid, "Only this task, shown at once; all of yours if omitted.")
        ] = None,
        lead_id: Annotated[RecordId | None, record_id("Only tasks about this lead.")] = None,
    ) -> AsyncIterator[AiTask]:
        """A task whenever it has changed, as it is then. Changes that follow closely come as one; see `version`.

        With an `id` it begins with how that task is now, for it may have ended before anybody asked.
        """
        return updates(after_xid, after_id, until_xid, id, lead_id)

    @graph.pulse(entities=["ai_task", "ai_tasks"])
    def ai_task_queue_updated() -> AsyncIterator[AiTaskQueueStatus]:
        """The queue as it is: at once, when it changes, and every five seconds."""
        return AiTaskReport.queue()
