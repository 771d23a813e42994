"""Computed values of AI tasks for the API and reports, as SQL expressions."""

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
    is_among: ColumnElement[bool] = status.in_([literal_column(f"'{choice.value}'") for choice in statuses])
    return is_among


def is_final(status: Operand) -> ColumnElement[bool]:
    """Whether a task with this status has ended."""
    return among(status, FINAL)


def can_retry(status: Operand) -> ColumnElement[bool]:
    """Whether a user may retry a task with this status."""
    return among(status, RETRIABLE)


def wait_ms(task: Any) -> ColumnElement[int | None]:
    """How long a task waited for its latest attempt, or has waited for its next: counted from when that was due."""
    until = case(
        (among(task.status, WAITING), func.now()),
        (task.started_at >= task.due_at, task.started_at),
        else_=task.finished_at,  # cancelled while it waited
    )
    return case((until >= task.due_at, milliseconds(until - task.due_at)))


def run_ms(task: Any) -> ColumnElement[int | None]:
    """How long a task's latest attempt took, or has taken."""
    return milliseconds(func.coalesce(task.stopped_at, func.now()) - task.started_at)


def milliseconds(interval: Any) -> ColumnElement[int | None]:
    """An interval in milliseconds; 24 days at most, which is what GraphQL's Int holds."""
    whole = func.round(extract("epoch", interval) * literal_column("1000"))
    return case((interval.is_not(None), fitting(whole)))


def fitting(number: Any) -> ColumnElement[int]:
    """A number as GraphQL's Int: whole, not negative, cut at the largest."""
    kept = func.least(func.greatest(number, literal_column("0")), literal_column(str(_LARGEST_INT)))
    return cast(kept, Integer)


def in_line(task: Any) -> ColumnElement[Any]:
    """The sort key of the order in which tasks run: due tasks in the order of `position`, then the others."""
    due: ColumnElement[bool] = task.due_at <= func.now()
    keys = [
        case((due, -_urgency(task)), else_=extract("epoch", task.due_at) * literal_column("1000000")),
        case((due, task.job_id)),
    ]
    return array([cast(key, BigInteger) for key in keys])


def _urgency(task: Any) -> ColumnElement[int]:
    """The urgency by which workers choose: tasks that have waited long come first."""
    return case((task.aged, literal_column("9")), else_=rank(task.priority, AiTaskPriority))


def position(task: Any) -> ColumnElement[int | None]:
    """A task's place in the queue; null if it does not wait, or is not due."""
    places = with_deleted(_places()).cte().prefix_with("MATERIALIZED")
    place = places.c.places.op("->>")(cast(task.id, Text))
    return select(cast(place, Integer)).select_from(places).scalar_subquery()


def _places() -> Select[Any]:
    """The place of each due task in the queue, by id; all users' tasks are in one queue.

    It is one value for a whole statement: a count per row would read the queue for each row.
    """
    task = AiTask.__table__.c
    number = func.row_number().over(order_by=[_urgency(task).desc(), task.job_id])
    queue = with_deleted(
        select(task.id, number.label("number")).where(among(task.status, WAITING), task.due_at <= func.now())
    ).subquery()
    return select(func.jsonb_object_agg(queue.c.id, queue.c.number, type_=JSONB()).label("places"))
