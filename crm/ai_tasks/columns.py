"""What the API and reports show of AI tasks beyond their columns, as SQL."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Text,
    case,
    cast,
    extract,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, array

from crm.ai_tasks.model import FINAL, RETRIABLE, WAITING, AiTask, AiTaskPriority, AiTaskStatus
from crm.db.query import Operand, rank
from crm.db.visibility import with_deleted

_LARGEST_INT: Final = 2**31 - 1


def among(status: Operand, statuses: Sequence[AiTaskStatus]) -> ColumnElement[bool]:
    """Whether a status is one of these."""
    found: ColumnElement[bool] = status.in_([literal_column(f"'{one.value}'") for one in statuses])
    return found


def is_final(status: Operand) -> ColumnElement[bool]:
    """Whether nothing more happens by itself."""
    return among(status, FINAL)


def can_retry(status: Operand) -> ColumnElement[bool]:
    """Whether a person may have it tried again."""
    return among(status, RETRIABLE)


def wait_ms(task: Any) -> ColumnElement[int | None]:
    """How long a task has waited for its latest attempt, or waits for its next: from when that was due."""
    until = case(
        (among(task.status, WAITING), func.now()),
        (task.started_at >= task.due_at, task.started_at),
        else_=task.finished_at,  # it was cancelled while it waited
    )
    return case((until >= task.due_at, milliseconds(until - task.due_at)))


def run_ms(task: Any) -> ColumnElement[int | None]:
    """How long a task's latest attempt took, or has taken."""
    return milliseconds(func.coalesce(task.stopped_at, func.now()) - task.started_at)


def milliseconds(interval: Any) -> ColumnElement[int | None]:
    """An interval as the API has it: beyond 24 days it is 24 days, which is what its numbers hold."""
    whole = func.round(extract("epoch", interval) * literal_column("1000"))
    return case((interval.is_not(None), fitting(whole)))


def fitting(number: Any) -> ColumnElement[int]:
    """A number as GraphQL's Int, or the nearest one that is."""
    kept = func.least(func.greatest(number, literal_column("0")), literal_column(str(_LARGEST_INT)))
    return cast(kept, Integer)


def in_line(task: Any) -> ColumnElement[Any]:
    """What puts tasks in the order in which they run: those that are due as `position` has them, then the others."""
    due: ColumnElement[bool] = task.due_at <= func.now()
    keys = [
        case((due, -_urgency(task)), else_=extract("epoch", task.due_at) * literal_column("1000000")),
        case((due, task.job_id)),
    ]
    return array([cast(key, BigInteger) for key in keys])


def _urgency(task: Any) -> ColumnElement[int]:
    """As workers see it: what has waited long goes first."""
    return case((task.aged, literal_column("9")), else_=rank(task.priority, AiTaskPriority))


def position(task: Any) -> ColumnElement[int | None]:
    """Its place among those that wait; null for what does not wait, or not yet."""
    places = with_deleted(_places()).cte().prefix_with("MATERIALIZED")
    found = places.c.places.op("->>")(cast(task.id, Text))
    return select(cast(found, Integer)).select_from(places).scalar_subquery()


def _places() -> Select[Any]:
    """The queue: the place of each task that waits and may run, by id; whosever they are, it is one queue.

    One value for a whole statement: a count for each of its rows would read the queue as often.
    """
    task = AiTask.__table__.c
    number = func.row_number().over(order_by=[_urgency(task).desc(), task.job_id])
    queue = with_deleted(
        select(task.id, number.label("number")).where(among(task.status, WAITING), task.due_at <= func.now())
    ).subquery()
    return select(func.jsonb_object_agg(queue.c.id, queue.c.number, type_=JSONB()).label("places"))
