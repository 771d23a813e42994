"""Filters of AI tasks."""

from collections.abc import Mapping
from typing import ClassVar, Optional

import strawberry

from crm.ai.provider import CostSource
from crm.ai_tasks.model import AiTaskOutcome, AiTaskPriority, AiTaskStatus
from crm.graph import filters
from crm.graph.declare import enum
from crm.graph.filters import UNSET, Relation, Where
from crm.leads.filter import LeadFilter
from crm.leads.model import Lead

enum(
    CostSource,
    PROVIDER="The provider said it, or made nothing that could cost.",
    ESTIMATED="Worked out from the tokens, by the list of prices.",
    UNKNOWN="Nobody knows.",
)
enum(
    AiTaskStatus,
    QUEUED="Waits for its first attempt, or goes on after its worker was stopped.",
    RUNNING="A worker is at it.",
    RETRYING="Waits for another attempt.",
    COMPLETED="Done; `result` is there.",
    FAILED="All attempts failed, or another would be pointless; `error` says why.",
    CANCELLED="Somebody cancelled it.",
    TIMED_OUT="The last attempt took too long.",
)
enum(
    AiTaskPriority,
    LOW="After all others; but nothing waits for ever.",
    NORMAL="In its turn.",
    HIGH="Before others.",
    URGENT="Before all others.",
)
enum(
    AiTaskOutcome,
    COMPLETED="It gave the result.",
    FAILED="It ended with an error.",
    TIMED_OUT="It took longer than `timeoutSeconds`.",
    CANCELLED="Somebody cancelled the task.",
    POSTPONED="The provider asked to come back later; it does not count as a failure.",
    RELEASED="Its worker was stopped and put the task back; it does not count as a failure.",
    LOST="Its worker died.",
)


@strawberry.input(description="Which AI tasks.")
class AiTaskFilter(Where):
    """Which AI tasks."""

    relations: ClassVar[Mapping[str, Relation]] = {
        "lead": Relation(lambda: Lead, lambda task, lead: lead.id == task.lead_id),
    }

    id: filters.IDFilter | None = strawberry.field(description="By id.", default=UNSET)
    task_type: filters.StringFilter | None = strawberry.field(description="By type.", default=UNSET)
    agent_id: filters.StringFilter | None = strawberry.field(description="By agent.", default=UNSET)
    priority: filters.Filter[AiTaskPriority] | None = strawberry.field(description="By priority.", default=UNSET)
    status: filters.Filter[AiTaskStatus] | None = strawberry.field(description="By status.", default=UNSET)
    lead_id: filters.IntFilter | None = strawberry.field(description="By the lead's id.", default=UNSET)
    created_by: filters.IDFilter | None = strawberry.field(description="By whose they are.", default=UNSET)
    model: filters.StringFilter | None = strawberry.field(description="By the model that was asked.", default=UNSET)
    idempotency_key: filters.StringFilter | None = strawberry.field(
        description="By the key they were created with.", default=UNSET
    )
    error_code: filters.StringFilter | None = strawberry.field(description="By what went wrong.", default=UNSET)
    attempt: filters.IntFilter | None = strawberry.field(description="By the number of attempts.", default=UNSET)
    scheduled_for: filters.DateTimeFilter | None = strawberry.field(
        description="By when they were to run.", default=UNSET
    )
    due_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when they may run: what is scheduled, or pauses before another attempt, is due later.",
        default=UNSET,
    )
    created_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when they were created.", default=UNSET
    )
    started_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when their latest attempt began.", default=UNSET
    )
    finished_at: filters.DateTimeFilter | None = strawberry.field(description="By when they ended.", default=UNSET)
    updated_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when they last changed.", default=UNSET
    )
    lead: LeadFilter | None = strawberry.field(description="By the lead.", default=UNSET)
    and_: list["AiTaskFilter"] | None = strawberry.field(name="and", description="All of these.", default=UNSET)
    or_: list["AiTaskFilter"] | None = strawberry.field(name="or", description="At least one of these.", default=UNSET)
    not_: Optional["AiTaskFilter"] = strawberry.field(name="not", description="Not this.", default=UNSET)
