"""Tasks in the API."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from crm import graph
from crm.graph.engine import Info
from crm.graph.filters import UNSET
from crm.graph.inputs import expected_version, values_of
from crm.leads.service import LeadService
from crm.people.graphql import User
from crm.people.service import UserService
from crm.tasks import model
from crm.tasks.filter import TaskFilter
from crm.tasks.model import TaskGenerator, TaskPriority, TaskSource
from crm.tasks.order import TaskOrder
from crm.tasks.service import TaskService

if TYPE_CHECKING:
    from crm.leads.graphql import Lead

TaskId = Annotated[int, strawberry.argument(description="The task's id.")]
Which = Annotated[TaskFilter | None, strawberry.argument(description="Which ones.")]
InOrder = Annotated[list[TaskOrder] | None, strawberry.argument(description="In which order; newest first if omitted.")]

Row = type[model.Task]


@graph.type(model.Task)
class Task:
    """Something to do about a lead."""

    id: strawberry.ID = strawberry.field(description="A whole number, as text.")
    title: str = strawberry.field(description="What is to be done, in a few words.")
    description: str | None = strawberry.field(description="More about it.")
    due_date: datetime | None = strawberry.field(description="By when.")
    completed: bool = strawberry.field(description="Whether it is done.")
    completed_at: datetime | None = strawberry.field(description="When it was done.")
    priority: TaskPriority = strawberry.field(description="How urgent it is.")
    source: TaskSource = strawberry.field(description="Where it came from, or that it was dismissed.")
    dismissed_reason: str | None = strawberry.field(description="Why it was dismissed.")
    ai_reasoning: str | None = strawberry.field(description="Why it was suggested, and why now.")
    generated_by: TaskGenerator | None = strawberry.field(description="What suggested it; null for a person's own.")
    model: str | None = strawberry.field(description="Which model suggested it; `playbook` for the built-in rules.")
    rule: str | None = strawberry.field(description="Which rule of the playbook suggested it.")
    prompt_version: str | None = strawberry.field(description="Under which version of the prompt or of the playbook.")
    generation_id: strawberry.ID | None = strawberry.field(
        description="What was suggested at the same time has the same."
    )
    edited: bool = strawberry.field(description="Whether somebody changed the suggestion before deciding on it.")
    decided_at: datetime | None = strawberry.field(description="When the suggestion was accepted or dismissed.")
    decided_by_id: strawberry.ID | None = strawberry.field(description="Who accepted or dismissed the suggestion.")
    lead_id: int = strawberry.field(description="The lead it is about.")
    assignee_id: strawberry.ID | None = strawberry.field(description="Who is to do it.")
    version: int = strawberry.field(description="Goes up by one with each change; see `expectedVersion`.")
    created_at: datetime = strawberry.field(description="When it was created.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")
    deleted_at: datetime | None = strawberry.field(description="When it was deleted.")

    @graph.edge
    def lead(task: Row) -> Annotated["Lead", strawberry.lazy("crm.leads.graphql")] | None:
        """The lead it is about; null when that is deleted."""
        return LeadService.with_id(task.lead_id)

    @graph.edge
    def assignee(task: Row) -> User | None:
        """Who is to do it."""
        return UserService.with_id(task.assignee_id)

    @graph.edge
    def decided_by(task: Row) -> User | None:
        """Who accepted or dismissed the suggestion."""
        return UserService.with_id(task.decided_by_id)


@strawberry.input(description="A new task.")
class CreateTaskInput:
    """A new task."""

    lead_id: int = strawberry.field(description="The lead it is about.")
    title: str = strawberry.field(description="What is to be done: 1 to 255 characters.")
    description: str | None = strawberry.field(description="More about it.", default=UNSET)
    due_date: datetime | None = strawberry.field(description="By when.", default=UNSET)
    priority: TaskPriority = strawberry.field(description="How urgent it is.", default=TaskPriority.NORMAL)
    assignee_id: strawberry.ID | None = strawberry.field(description="Who is to do it.", default=UNSET)


@strawberry.input(description="What to change about a task; what is left out stays, null clears.")
class UpdateTaskInput:
    """What to change about a task."""

    title: str | None = strawberry.field(description="What is to be done: 1 to 255 characters.", default=UNSET)
    description: str | None = strawberry.field(description="More about it.", default=UNSET)
    due_date: datetime | None = strawberry.field(description="By when.", default=UNSET)
    priority: TaskPriority | None = strawberry.field(description="How urgent it is.", default=UNSET)
    completed: bool | None = strawberry.field(
        description="Whether it is done; a suggestion that is done is accepted.", default=UNSET
    )
    assignee_id: strawberry.ID | None = strawberry.field(description="Who is to do it.", default=UNSET)
    expected_version: int | None = strawberry.field(
        description="The version you saw; CONFLICT if it is no longer the current one.", default=UNSET
    )


@strawberry.type
class TaskQuery:
    """Reads of tasks."""

    @graph.rows
    def task(
        id: TaskId,
        include_deleted: graph.IncludeDeleted = False,
    ) -> Task | None:
        """The task with this id; null if there is none."""
        return TaskService.with_id(id, include_deleted=include_deleted)

    @graph.rows(extra_cost=graph.order_cost("id", "lead_id", "created_at"))
    def tasks(
        filter: Which = None, order_by: InOrder = None, include_deleted: graph.IncludeDeleted = False
    ) -> list[Task]:
        """Tasks, dismissed ones too; newest first unless asked otherwise."""
        return TaskService.matching(filter, order_by, include_deleted=include_deleted)

    @graph.rows(extra_cost=graph.order_cost("id", "lead_id", "created_at"))
    def tasks_connection(
        filter: Which = None, order_by: InOrder = None, include_deleted: graph.IncludeDeleted = False
    ) -> graph.Connection[Task]:
        """Tasks, page by page."""
        return TaskService.matching(filter, order_by, include_deleted=include_deleted)

    @graph.rows(usual_rows=10)
    def tasks_by_lead_id(
        lead_id: Annotated[int, strawberry.argument(description="The lead's id.")],
        filter: Which = None,
        order_by: InOrder = None,
    ) -> list[Task]:
        """A lead's tasks; none if there is no such lead."""
        return TaskService.of_lead(lead_id, filter, order_by)


@strawberry.type
class TaskMutation:
    """Changes of tasks."""

    @graph.mutation
    async def create_task(
        self, info: Info, input: Annotated[CreateTaskInput, strawberry.argument(description="The task.")]
    ) -> Task:
        """Add a task to a lead."""
        return await info.context.write(TaskService.create, values_of(input))

    @graph.mutation
    async def update_task(
        self,
        info: Info,
        id: TaskId,
        input: Annotated[UpdateTaskInput, strawberry.argument(description="What changes.")],
    ) -> Task:
        """Change a task."""
        return await info.context.write(
            TaskService.update, id, values_of(input, "expected_version"), expected_version(input)
        )

    @graph.mutation
    async def complete_task(
        self,
        info: Info,
        id: TaskId,
        completed: Annotated[bool, strawberry.argument(description="False takes it back.")] = True,
    ) -> Task:
        """Mark a task done. A suggestion that is done is accepted with it, and stays so when that is taken back."""
        return await info.context.write(TaskService.complete, id, completed=completed)

    @graph.mutation
    async def update_task_source(
        self,
        info: Info,
        task_id: TaskId,
        source: Annotated[
            TaskSource,
            strawberry.argument(description="MANUAL accepts, DISMISSED dismisses, AI_SUGGESTED undoes either."),
        ],
        reason: Annotated[
            str | None,
            strawberry.argument(description="Why it is dismissed. Left out it stays as it was; null clears it."),
        ] = UNSET,
    ) -> Task:
        """Accept a suggestion (MANUAL), dismiss it (DISMISSED), or undo (AI_SUGGESTED). The task is kept either way.

        A task made by AI or by the playbook may take any source; a person's own only MANUAL and DISMISSED.
        """
        given = {} if reason is UNSET else {"dismissed_reason": reason}
        return await info.context.write(TaskService.set_source, task_id, source, given)

    @graph.mutation
    async def delete_task(self, info: Info, id: TaskId) -> Task:
        """Delete a task. `restoreTask` brings it back."""
        return await info.context.write(TaskService.delete, id)

    @graph.mutation
    async def restore_task(self, info: Info, id: TaskId) -> Task:
        """Bring a deleted task back."""
        return await info.context.write(TaskService.restore, id)
