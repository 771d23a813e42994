"""Tasks."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, select

from crm.access.users.service import unknown_user
from crm.core import errors, validate
from crm.core.language import Phrase
from crm.core.problems import FieldProblem, Problem
from crm.db.idempotency import once
from crm.db.many import ManyResult, change_each, checked_ids
from crm.db.missing import missing
from crm.db.query import Operand, Where, filtered, ordered
from crm.db.service import Service
from crm.db.sqlstates import on_violation
from crm.db.visibility import with_deleted
from crm.sales.leads.model import Lead
from crm.sales.tasks.model import Task, TaskSource, TaskStatus

_END_OF_DAY: Final = time(23, 59, 59, tzinfo=UTC)
_REASON: Final = 1000
# A suggestion counts as edited once one of these columns was changed.
_WORDING: Final = ("title", "description", "due_date", "due_on", "priority")
_NO_REASON: Final = Phrase("A reason belongs to a dismissal.", "Ett skäl hör till ett avfärdande.")
_NO_SUGGESTION: Final = Phrase(
    "A person wrote this task; it cannot become a suggestion.",
    "En person har skrivit uppgiften; den kan inte bli ett förslag.",
)
_DONE: Final = Phrase(
    "This task is done; mark it as not done first.", "Uppgiften är klar; markera den som inte klar först."
)
_DAY_OR_MOMENT: Final = Phrase(
    "A task is due by a day or by a moment, not both.", "En uppgift förfaller en dag eller en tidpunkt, inte båda."
)

on_violation("tasks_assignee_id_fkey", lambda _: unknown_user("assigneeId"))


class ChangedTask(ManyResult):
    """What became of one of many tasks."""

    @property
    def task(self) -> Task | None:
        """The task as it is now."""
        task: Task | None = self.record
        return task


class TaskService(Service):
    """Tasks and their life cycle."""

    @staticmethod
    def matching(
        where: Where | None = None, order_by: Sequence[Any] | None = None, *, include_deleted: bool = False
    ) -> Select[Any]:
        """Tasks, newest first unless asked otherwise."""
        statement = ordered(filtered(select(Task), Task, where), Task, order_by)
        return with_deleted(statement) if include_deleted else statement

    @staticmethod
    def of_lead(lead_id: Operand, where: Where | None = None, order_by: Sequence[Any] | None = None) -> Select[Any]:
        """A lead's tasks."""
        return TaskService.matching(where, order_by).where(Task.lead_id == lead_id)

    @staticmethod
    def of_assignee(user_id: Operand, where: Where | None = None, order_by: Sequence[Any] | None = None) -> Select[Any]:
        """The tasks that a user is to do."""
        return TaskService.matching(where, order_by).where(Task.assignee_id == user_id)

    @staticmethod
    def open_count_of_assignee(user_id: Operand) -> ColumnElement[int]:
        """How many open tasks a user is to do."""
        is_open = Task.status.among(Task, [TaskStatus.OPEN])
        return select(func.count()).select_from(Task).where(Task.assignee_id == user_id, is_open).scalar_subquery()

    @staticmethod
    def with_id(key: Operand, *, include_deleted: bool = False) -> Select[Any]:
        """The task with this id."""
        statement = select(Task).where(Task.id == key)
        return with_deleted(statement) if include_deleted else statement

    @staticmethod
    def open_count(lead_id: Operand) -> ColumnElement[int]:
        """How many of a lead's tasks are open; suggestions count once they are accepted."""
        return _count(lead_id, Task.status.among(Task, [TaskStatus.OPEN]))

    @staticmethod
    def suggested_count(lead_id: Operand) -> ColumnElement[int]:
        """How many of a lead's suggestions are neither accepted nor dismissed."""
        return _count(lead_id, Task.status.among(Task, [TaskStatus.SUGGESTED]))

    async def create(self, values: Mapping[str, Any], key: str | None = None) -> Task:
        """Add a task to a living lead, once for each idempotency key."""
        return await once(self.unit_of_work, Task, key, values, self._make)

    async def _make(self, values: Mapping[str, Any], **columns: Any) -> Task:
        cleaned = _with_due(await self.cleaned(Task, values))
        return self.unit_of_work.add(Task(**cleaned, **columns, created_by=self.viewer.id), within=Lead)

    async def update(self, key: int, values: Mapping[str, Any], expected_version: int | None = None) -> Task:
        """Change a task."""
        task = await self.unit_of_work.get(Task, key, expected_version=expected_version)
        self._set(task, await self.cleaned(Task, values))
        return task

    async def update_many(
        self, ids: Sequence[int], values: Mapping[str, Any], versions: Sequence[int] | None = None
    ) -> list[ChangedTask]:
        """Change many tasks in the same way."""
        wanted, cleaned = checked_ids(ids, versions), await self.cleaned(Task, values)

        async def change(task: Task) -> None:
            self._set(task, dict(cleaned))

        return await change_each(self.unit_of_work, Task, wanted, change, ChangedTask)

    async def complete_many(
        self, ids: Sequence[int], *, completed: bool, versions: Sequence[int] | None = None
    ) -> list[ChangedTask]:
        """Mark many tasks done or not done."""

        async def change(task: Task) -> None:
            self._complete(task, completed=completed)

        return await change_each(self.unit_of_work, Task, checked_ids(ids, versions), change, ChangedTask)

    def _set(self, task: Task, values: dict[str, Any]) -> None:
        cleaned = _with_due(values, task.due_on)
        if task.source is TaskSource.AI_SUGGESTED:
            task.edited = task.edited or any(
                cleaned.get(name, getattr(task, name)) != getattr(task, name) for name in _WORDING
            )
        if "completed" in cleaned:
            self._complete(task, completed=bool(validate.given("completed", cleaned.pop("completed"))))
        for name, value in cleaned.items():
            setattr(task, name, value)

    async def complete(self, key: int, *, completed: bool, expected_version: int | None = None) -> Task:
        """Mark a task done or not done. Completing a suggestion accepts it, even if completion is taken back."""
        task = await self.unit_of_work.get(Task, key, expected_version=expected_version)
        self._complete(task, completed=completed)
        return task

    async def set_source(
        self, key: int, source: TaskSource, values: Mapping[str, Any], expected_version: int | None = None
    ) -> Task:
        """Accept a suggestion, dismiss it, or undo either. A task that a person wrote cannot become a suggestion."""
        task = await self.unit_of_work.get(Task, key, expected_version=expected_version)
        if source is TaskSource.AI_SUGGESTED:
            _check_may_wait(task)
        dismissed = source is TaskSource.DISMISSED
        reason = validate.text(_REASON, lines=True)("reason", values.get("dismissed_reason"))
        if reason is not None and not dismissed:
            raise _not_allowed(_NO_REASON, "reason")
        if not dismissed or "dismissed_reason" in values:
            task.dismissed_reason = reason
        self._decide(task, source)
        return task

    async def delete(self, key: int, expected_version: int | None = None) -> Task:
        """Delete a task; `restore` brings it back."""
        task = await self.unit_of_work.get(Task, key, expected_version=expected_version)
        task.deleted_at = self.unit_of_work.now()
        return task

    async def restore(self, key: int, expected_version: int | None = None) -> Task:
        """Bring a deleted task back."""
        task = await self.unit_of_work.get(Task, key, deleted=True, expected_version=expected_version)
        if not await self.unit_of_work.rows(select(Lead.id).where(Lead.id == task.lead_id)):
            raise missing(Task, key, deleted=True)
        task.deleted_at = None
        return task

    def _complete(self, task: Task, *, completed: bool) -> None:
        if completed and not task.completed:
            task.completed_at = self.unit_of_work.now()
        elif not completed:
            task.completed_at = None
        task.completed = completed
        if completed and task.source is TaskSource.AI_SUGGESTED:
            self._decide(task, TaskSource.MANUAL)

    def _decide(self, task: Task, source: TaskSource) -> None:
        if task.generated_by is not None and task.source is not source:
            decided = source is not TaskSource.AI_SUGGESTED
            task.decided_at = self.unit_of_work.now() if decided else None
            task.decided_by_id = self.viewer.id if decided else None
        task.source = source


def _with_due(values: dict[str, Any], due_on: date | None = None) -> dict[str, Any]:
    """The values with what follows for the other due column: a task is due by a day or by a moment."""
    day, moment = values.get("due_on"), values.get("due_date")
    if day is not None and moment is not None:
        raise _not_allowed(_DAY_OR_MOMENT, "dueOn")
    if day is not None:
        return {**values, "due_date": datetime.combine(day, _END_OF_DAY)}
    if due_on is not None and ("due_date" in values or "due_on" in values):
        return {**values, "due_date": moment, "due_on": None}
    return values


def _check_may_wait(task: Task) -> None:
    """Refuse to have a task wait for a decision that a person wrote, or that is done and thereby accepted."""
    if task.generated_by is None:
        raise _not_allowed(_NO_SUGGESTION, "source")
    if task.completed:
        raise _not_allowed(_DONE, "source")


def _not_allowed(phrase: Phrase, field: str) -> errors.BadUserInput:
    return errors.BadUserInput.of([Problem.of(field, FieldProblem.NOT_ALLOWED, phrase)])


def _count(lead_id: Operand, condition: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count()).select_from(Task).where(Task.lead_id == lead_id, condition).scalar_subquery()
