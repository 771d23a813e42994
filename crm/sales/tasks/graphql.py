"""Tasks in the API."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from crm import graph
from crm.access.users import model as people
from crm.access.users.graphql import User, UserFilter
from crm.access.users.service import UserService
from crm.db.many import refuse_common_version
from crm.graph.declare.error_types import ErrorExtensions
from crm.graph.declare.filters import UNSET, InputObject, WhereInput
from crm.graph.declare.ids import RecordId, record_id
from crm.graph.declare.inputs import (
    ExpectedVersion,
    ExpectedVersions,
    IdempotencyKey,
    expected_version,
    given,
    values_of,
)
from crm.graph.run.context import Info
from crm.sales.leads import model as leads
from crm.sales.leads.service import LeadService
from crm.sales.tasks import model
from crm.sales.tasks.model import TaskSource
from crm.sales.tasks.service import TaskService

if TYPE_CHECKING:
    from crm.sales.leads.graphql import Lead, LeadFilter

TaskId = Annotated[RecordId, record_id("The task's id.")]
FixedTaskId = Annotated[int, strawberry.argument(description="The task's id.")]
Source = Annotated[
    TaskSource,
    strawberry.argument(
        description="MANUAL accepts, DISMISSED dismisses, AI_SUGGESTED undoes either while it is not done."
    ),
]
Reason = Annotated[
    str | None, strawberry.argument(description="Why it is dismissed. Left out it stays as it was; null clears it.")
]
Row = type[model.Task]
_ORDER_COST = graph.order_cost(model.Task)


@graph.filter(model.Task)
class TaskFilter(WhereInput):
    """Which tasks."""

    lead: Annotated["LeadFilter", strawberry.lazy("crm.sales.leads.graphql")] | None = graph.across(
        "By the lead.", leads.Lead, lambda task, lead: lead.id == task.lead_id
    )
    assignee: UserFilter | None = graph.across(
        "By the assignee.", people.User, lambda task, user: user.id == task.assignee_id
    )


@graph.list_filter(TaskFilter)
class TaskListFilter(InputObject):
    """What holds among tasks."""


@graph.order(model.Task)
class TaskOrder:
    """What tasks can be ordered by."""


Which = Annotated[TaskFilter | None, strawberry.argument(description="Which ones.")]
InOrder = Annotated[list[TaskOrder] | None, strawberry.argument(description="In which order; newest first if omitted.")]


@graph.type(model.Task)
class Task:
    """Something to do about a lead."""

    @graph.edge
    def lead(task: Row) -> Annotated["Lead", strawberry.lazy("crm.sales.leads.graphql")] | None:
        """The lead it is about; null when that is deleted."""
        return LeadService.with_id(task.lead_id)

    @graph.edge
    def assignee(task: Row) -> User | None:
        """Who is to do it."""
        return UserService.with_id(task.assignee_id)

    @graph.edge
    def creator(task: Row) -> User | None:
        """Who wrote it; null for a suggestion."""
        return UserService.with_id(task.created_by)

    @graph.edge
    def decided_by(task: Row) -> User | None:
        """Who accepted or dismissed the suggestion."""
        return UserService.with_id(task.decided_by_id)


@graph.extend(User)
class UserTasks:
    """What a user is to do."""

    @graph.edge(extra_cost=_ORDER_COST, scans_table=True)
    def tasks(user: type[people.User], filter: Which = None, order_by: InOrder = None) -> list[Task]:
        """The tasks that they are to do, newest first; dismissed ones too."""
        return TaskService.of_assignee(user.id, filter, order_by)

    @graph.computed(never_null=True, extra_cost=lambda _: graph.TOTAL_COUNT, shares=True)
    def open_task_count(user: type[people.User]) -> int:
        """How many open tasks they are to do."""
        return TaskService.open_count_of_assignee(user.id)


@graph.create_input(model.Task)
class CreateTaskInput:
    """A new task."""


@graph.update_input(model.Task)
class UpdateTaskInput:
    """What to change about a task; what is left out stays, null clears."""

    # Declared here because completing a suggestion accepts it too, so no column rule handles it.
    completed: bool | None = strawberry.field(
        description="Whether it is done; a suggestion that is done is accepted.", default=UNSET
    )


@graph.type()
class ChangeTaskResult:
    """What became of one of many tasks."""

    id: strawberry.ID = strawberry.field(description="The task's id.")
    saved: bool = strawberry.field(description="Whether it is as asked for now.")
    task: Task | None = strawberry.field(description="The task as it is now; null if there is none.")
    message: str | None = strawberry.field(description="Why it was not saved, for people.")
    error: ErrorExtensions | None = strawberry.field(
        description="Why it was not saved, as the error of a mutation of this task alone would say it."
    )


TaskIds = Annotated[list[RecordId], record_id("At most 500 tasks; each once.")]


@strawberry.type
class TaskQuery:
    """Reads of tasks."""

    @graph.rows
    def task(
        id: FixedTaskId,
        include_deleted: graph.IncludeDeleted = False,
    ) -> Task | None:
        """The task with this id; null if there is none."""
        return TaskService.with_id(id, include_deleted=include_deleted)

    @graph.rows(extra_cost=_ORDER_COST)
    def tasks(
        filter: Which = None, order_by: InOrder = None, include_deleted: graph.IncludeDeleted = False
    ) -> list[Task]:
        """Tasks, dismissed ones too; newest first unless asked otherwise."""
        return TaskService.matching(filter, order_by, include_deleted=include_deleted)

    @graph.rows(extra_cost=_ORDER_COST)
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
        self,
        info: Info,
        input: Annotated[CreateTaskInput, strawberry.argument(description="The task.")],
        idempotency_key: IdempotencyKey = UNSET,
    ) -> Task:
        """Add a task to a lead."""
        return await info.context.write(TaskService.create, values_of(input), given(idempotency_key))

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
    async def update_tasks(
        self,
        info: Info,
        ids: TaskIds,
        input: Annotated[UpdateTaskInput, strawberry.argument(description="What changes, of all of them.")],
        expected_versions: ExpectedVersions = UNSET,
    ) -> list[ChangeTaskResult]:
        """Change many tasks in the same way: one result for each, in order; the valid ones are saved.

        An input that is not valid refuses the whole.
        """
        refuse_common_version(expected_version(input))
        return await info.context.write(
            TaskService.update_many, ids, values_of(input, "expected_version"), given(expected_versions)
        )

    @graph.mutation
    async def complete_tasks(
        self,
        info: Info,
        ids: TaskIds,
        completed: Annotated[bool, strawberry.argument(description="False takes it back.")] = True,
        expected_versions: ExpectedVersions = UNSET,
    ) -> list[ChangeTaskResult]:
        """Mark many tasks done: one result for each, in order. Suggestions are accepted with it."""
        return await info.context.write(
            TaskService.complete_many, ids, completed=completed, versions=given(expected_versions)
        )

    @graph.mutation
    async def complete_task(
        self,
        info: Info,
        id: TaskId,
        completed: Annotated[bool, strawberry.argument(description="False takes it back.")] = True,
        expected_version: ExpectedVersion = UNSET,
    ) -> Task:
        """Mark a task done. A suggestion that is done is accepted with it, and stays so when that is taken back."""
        return await info.context.write(
            TaskService.complete, id, completed=completed, expected_version=given(expected_version)
        )

    @graph.mutation
    async def update_task_source(
        self,
        info: Info,
        task_id: FixedTaskId,
        source: Source,
        reason: Reason = UNSET,
        expected_version: ExpectedVersion = UNSET,
    ) -> Task:
        """Accept a suggestion (MANUAL), dismiss it (DISMISSED), or undo (AI_SUGGESTED). The task is kept either way.

        A task made by AI or by the playbook may take any source; a person's own only MANUAL and DISMISSED.
        """
        values = {} if reason is UNSET else {"dismissed_reason": reason}
        return await info.context.write(TaskService.set_source, task_id, source, values, given(expected_version))

    @graph.mutation
    async def set_task_source(
        self,
        info: Info,
        id: TaskId,
        source: Source,
        reason: Reason = UNSET,
        expected_version: ExpectedVersion = UNSET,
    ) -> Task:
        """Accept a suggestion, dismiss it, or undo: `updateTaskSource`, by an id like every other."""
        values = {} if reason is UNSET else {"dismissed_reason": reason}
        return await info.context.write(TaskService.set_source, id, source, values, given(expected_version))

    @graph.mutation
    async def delete_task(self, info: Info, id: TaskId, expected_version: ExpectedVersion = UNSET) -> Task:
        """Delete a task. `restoreTask` brings it back."""
        return await info.context.write(TaskService.delete, id, given(expected_version))

    @graph.mutation
    async def restore_task(self, info: Info, id: TaskId, expected_version: ExpectedVersion = UNSET) -> Task:
        """Bring a deleted task back."""
        return await info.context.write(TaskService.restore, id, given(expected_version))
