"""Statistics of tasks."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Float, Numeric, Select, Uuid, and_, cast, func, literal_column

from crm.core.choice import Choice, EnumText
from crm.db.query import Where
from crm.sales.statistics.groups import Key, column_of, count_of, grouped, in_order, week_of
from crm.sales.tasks.model import Task, TaskPriority, TaskSource, TaskStatus

_SECONDS: Final[Any] = literal_column("'epoch'")
_HOUR: Final[Any] = literal_column("3600")
_TENTHS: Final[Any] = literal_column("1")


class TaskGroup(Choice):
    """By what tasks are grouped."""

    STATUS = "status", "By where they stand."
    PRIORITY = "priority", "By how urgent they are."
    SOURCE = "source", "By where they came from."
    ASSIGNEE = "assignee_id", "By who is to do them."
    CREATOR = "created_by", "By who wrote them."
    CREATED_WEEK = "created_week", "By the week in which they were created (ISO 8601, UTC)."
    DUE_WEEK = "due_week", "By the week in which they are due (ISO 8601, UTC)."
    COMPLETED_WEEK = "completed_week", "By the week in which they were done (ISO 8601, UTC)."


KEYS: Final[Mapping[Choice, Key]] = {
    TaskGroup.STATUS: Key(Task.status.value, EnumText(TaskStatus)),
    TaskGroup.PRIORITY: column_of("priority", EnumText(TaskPriority)),
    TaskGroup.SOURCE: column_of("source", EnumText(TaskSource)),
    TaskGroup.ASSIGNEE: column_of("assignee_id", Uuid()),
    TaskGroup.CREATOR: column_of("created_by", Uuid()),
    TaskGroup.CREATED_WEEK: week_of("created_at"),
    TaskGroup.DUE_WEEK: week_of("due_date"),
    TaskGroup.COMPLETED_WEEK: week_of("completed_at"),
}


class TaskStatsService:
    """Statistics of tasks, in groups."""

    @staticmethod
    def grouped(group_by: Sequence[TaskGroup] = (), where: Where | None = None, having: Any = None) -> Select[Any]:
        """One row a group: weeks in their order, and the largest first; without groups one row over everything."""
        numbers = {
            "count": count_of(),
            **{f"{status.value}_count": count_of(Task.status.among(Task, [status])) for status in TaskStatus},
            "overdue_count": count_of(and_(Task.status.among(Task, [TaskStatus.OPEN]), Task.due_date < func.now())),
            "average_hours": _average_hours(),
        }
        return in_order(grouped(Task, KEYS, numbers, group_by, where), KEYS, group_by, having)


def _average_hours() -> Any:
    taken = func.extract(_SECONDS, Task.completed_at - Task.created_at)
    return cast(func.round(cast(func.avg(taken), Numeric) / _HOUR, _TENTHS), Float)
