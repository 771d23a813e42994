"""Filters of tasks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Optional

import strawberry

from crm.graph import filters
from crm.graph.declare import enum
from crm.graph.filters import UNSET, Relation, Where
from crm.leads.model import Lead
from crm.people.filter import UserFilter
from crm.people.model import User
from crm.tasks.model import TaskGenerator, TaskPriority, TaskSource

if TYPE_CHECKING:
    from crm.leads.filter import LeadFilter

enum(
    TaskPriority,
    LOW="When there is time.",
    NORMAL="In its turn.",
    HIGH="Before others.",
    URGENT="Now.",
)
enum(
    TaskSource,
    MANUAL="A person wrote it, or accepted a suggestion.",
    AI_SUGGESTED="Suggested, not yet accepted or dismissed.",
    DISMISSED="Somebody decided against it; kept for analytics and undo.",
)
enum(TaskGenerator, LLM="A language model.", PLAYBOOK="The built-in rules.")


@strawberry.input(description="Which tasks.")
class TaskFilter(Where):
    """Which tasks."""

    relations: ClassVar[Mapping[str, Relation]] = {
        "lead": Relation(lambda: Lead, lambda task, lead: lead.id == task.lead_id),
        "assignee": Relation(lambda: User, lambda task, user: user.id == task.assignee_id),
    }

    id: filters.IntFilter | None = strawberry.field(description="By id.", default=UNSET)
    title: filters.StringFilter | None = strawberry.field(description="By title.", default=UNSET)
    description: filters.StringFilter | None = strawberry.field(description="By description.", default=UNSET)
    due_date: filters.DateTimeFilter | None = strawberry.field(description="By due date.", default=UNSET)
    completed: filters.BooleanFilter | None = strawberry.field(description="By whether it is done.", default=UNSET)
    completed_at: filters.DateTimeFilter | None = strawberry.field(description="By when it was done.", default=UNSET)
    priority: filters.Filter[TaskPriority] | None = strawberry.field(description="By priority.", default=UNSET)
    source: filters.Filter[TaskSource] | None = strawberry.field(description="By source.", default=UNSET)
    dismissed_reason: filters.StringFilter | None = strawberry.field(
        description="By why it was dismissed.", default=UNSET
    )
    ai_reasoning: filters.StringFilter | None = strawberry.field(description="By why it was suggested.", default=UNSET)
    generated_by: filters.Filter[TaskGenerator] | None = strawberry.field(
        description="By what suggested it.", default=UNSET
    )
    model: filters.StringFilter | None = strawberry.field(description="By the model that suggested it.", default=UNSET)
    rule: filters.StringFilter | None = strawberry.field(
        description="By the playbook's rule that suggested it.", default=UNSET
    )
    prompt_version: filters.StringFilter | None = strawberry.field(
        description="By the version of the prompt or of the playbook.", default=UNSET
    )
    generation_id: filters.IDFilter | None = strawberry.field(
        description="By what it was suggested together with.", default=UNSET
    )
    edited: filters.BooleanFilter | None = strawberry.field(
        description="By whether the suggestion was changed.", default=UNSET
    )
    decided_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when the suggestion was decided on.", default=UNSET
    )
    lead_id: filters.IntFilter | None = strawberry.field(description="By the lead's id.", default=UNSET)
    assignee_id: filters.IDFilter | None = strawberry.field(description="By the assignee's id.", default=UNSET)
    version: filters.IntFilter | None = strawberry.field(description="By version.", default=UNSET)
    created_at: filters.DateTimeFilter | None = strawberry.field(description="By when it was created.", default=UNSET)
    updated_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when it was last changed.", default=UNSET
    )
    deleted_at: filters.DateTimeFilter | None = strawberry.field(description="By when it was deleted.", default=UNSET)
    lead: Annotated["LeadFilter", strawberry.lazy("crm.leads.filter")] | None = strawberry.field(
        description="By the lead.", default=UNSET
    )
    assignee: UserFilter | None = strawberry.field(description="By the assignee.", default=UNSET)
    and_: list["TaskFilter"] | None = strawberry.field(name="and", description="All of these.", default=UNSET)
    or_: list["TaskFilter"] | None = strawberry.field(name="or", description="At least one of these.", default=UNSET)
    not_: Optional["TaskFilter"] = strawberry.field(name="not", description="Not this.", default=UNSET)


@strawberry.input(description="What holds among tasks.")
class TaskListFilter:
    """What holds among tasks."""

    some: TaskFilter | None = strawberry.field(description="At least one is like this.", default=UNSET)
    none: TaskFilter | None = strawberry.field(description="None is like this.", default=UNSET)
    every: TaskFilter | None = strawberry.field(description="All are like this; true of no rows at all.", default=UNSET)
