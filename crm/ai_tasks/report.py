"""Numbers about AI tasks: the queue as it is, and what has been done."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    Float,
    Integer,
    Numeric,
    Select,
    Text,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    table,
    union_all,
)

from crm.ai.model import AiCall
from crm.ai_tasks.columns import among, fitting, milliseconds, run_ms, wait_ms
from crm.ai_tasks.model import FINAL, OPEN, WAITING, AiTask, AiTaskDay, AiTaskPriority, AiTaskStatus
from crm.core.choice import EnumText
from crm.db.query import rank
from crm.db.visibility import with_deleted

_ZERO: Final[Any] = literal_column("0")
_WORKERS: Final = table("procrastinate_workers")
_SILENCE: Final[Any] = literal_column("interval '15 seconds'")
_HOUR: Final[Any] = literal_column("interval '1 hour'")
_UTC: Final[Any] = literal_column("'UTC'")
_RATIO_DIGITS: Final[Any] = literal_column("4")
# Sums over the tasks themselves, and columns of the daily totals.
_SUMS: Final = (
    *("tasks", "attempts", "tokens", "cost_usd", "unpriced"),
    *("waited", "wait_ms", "ran", "run_ms", "rated", "quality"),
)


class AiTaskReport:
    """Numbers about AI tasks."""

    @staticmethod
    def queue() -> Select[Any]:
        """The whole queue, whosever tasks they are: numbers only."""
        task = AiTask.__table__.c
        waiting, due = among(task.status, WAITING), task.due_at <= func.now()
        lately = task.finished_at > func.now() - _HOUR
        today = func.date_trunc(literal_column("'day'"), func.timezone(_UTC, func.now()))
        open_: Any = select(
            _count(among(task.status, [AiTaskStatus.QUEUED])).label("queued"),
            _count(among(task.status, [AiTaskStatus.RUNNING])).label("running"),
            _count(among(task.status, [AiTaskStatus.RETRYING])).label("retrying"),
            _count(waiting & ~due).label("scheduled"),
            milliseconds(func.now() - func.min(task.due_at).filter(waiting & due)).label("oldest_waiting_ms"),
        ).where(among(task.status, OPEN))
        ended: Any = select(
            _count(lately & among(task.status, [AiTaskStatus.COMPLETED])).label("completed_last_hour"),
            _count(lately & among(task.status, [AiTaskStatus.FAILED, AiTaskStatus.TIMED_OUT])).label(
                "failed_last_hour"
            ),
        ).where(lately)
        # Summed over the calls: running tasks cost as well, and removing a task does not change today's sum.
        cost: Any = select(func.coalesce(func.sum(AiCall.cost_usd), _ZERO)).where(
            AiCall.created_at >= func.timezone(_UTC, today), AiCall.ai_task_attempt_id.is_not(None)
        )
        levels: Any = select(func.jsonb_agg(func.jsonb_build_object(*_pairs()))).select_from(_by_priority())
        queue, recent = with_deleted(open_).subquery("open"), with_deleted(ended).subquery("ended")
        heard = column("last_heartbeat", DateTime(timezone=True))
        alive = select(func.count()).select_from(_WORKERS).where(heard > func.now() - _SILENCE).scalar_subquery()
        by_priority = with_deleted(levels).scalar_subquery()
        spent = cost.scalar_subquery().label("cost_today_usd")
        return select(*queue.c, *recent.c, spent, by_priority.label("levels"), alive.label("workers"))

    @staticmethod
    def levels(status: Any) -> Select[Any]:
        """What waits, priority by priority, the most urgent first."""
        columns = (column("priority", EnumText(AiTaskPriority)), column("waiting", Integer))
        each = func.jsonb_to_recordset(status.levels).table_valued(*columns, name="level")
        rows = each.render_derived(with_types=True)
        return select(rows).order_by(rank(rows.c.priority, AiTaskPriority).desc())

    @staticmethod
    def done(since: Any = None, until: Any = None) -> Select[Any]:
        """Totals of the tasks that ended in a period, removed ones included."""
        parts = _parts(since, until).cte().prefix_with("MATERIALIZED")  # read once for all three
        sums = [func.coalesce(func.sum(parts.c[name]), _ZERO).label(name) for name in _SUMS]
        by_type = _listed(parts, "task_type")
        by_day = _listed(parts, "day")
        totals = select(*sums, *_statuses(parts)).select_from(parts).subquery("totals")
        return select(
            *(totals.c[name] for name in ("attempts", "tokens", "cost_usd", "unpriced")),
            cast(totals.c.tasks, Integer).label("total"),
            *(totals.c[status.value] for status in FINAL),
            _ratio(totals.c.completed, totals.c.tasks - totals.c.cancelled).label("success_rate"),
            _mean(totals.c.wait_ms, totals.c.waited).label("average_wait_ms"),
            _mean(totals.c.run_ms, totals.c.ran).label("average_run_ms"),
            _ratio(totals.c.quality, totals.c.rated).label("average_quality"),
            by_type.label("types"),
            by_day.label("days"),
        )

    @staticmethod
    def groups(row: Any, name: str) -> Select[Any]:
        """One of the lists in a row of `done`, as rows."""
        key = "task_type" if name == "types" else "day"
        columns = (
            column("key", Text),
            column("tasks", Integer),
            column("completed", Integer),
            column("cost_usd", AiTaskDay.__table__.c.cost_usd.type),  # shown without trailing zeros
            column("tokens", BigInteger),
        )
        each = func.jsonb_to_recordset(getattr(row, name)).table_valued(*columns, name=key)
        rows = each.render_derived(with_types=True)
        return select(rows).order_by(rows.c.key)


def _parts(since: Any, until: Any) -> Any:
    """One row per day, type and status: of the tasks in the table, and of removed ones."""
    task, removed = AiTask.__table__.c, AiTaskDay.__table__.c
    ended_on = cast(func.timezone(_UTC, task.finished_at), Date)
    begins = func.timezone(_UTC, cast(removed.day, DateTime))
    of_tasks = [task.finished_at.is_not(None)]
    of_days: list[ColumnElement[bool]] = []
    if since is not None:
        of_tasks.append(task.finished_at >= since)
        of_days.append(begins >= since)
    if until is not None:
        of_tasks.append(task.finished_at < until)
        of_days.append(begins < until)
    present = (
        select(ended_on.label("day"), task.task_type, task.status, *totals_of(task))
        .where(*of_tasks)
        .group_by(ended_on, task.task_type, task.status)
    )
    return union_all(
        present,
        select(removed.day, removed.task_type, removed.status, *(removed[name] for name in _SUMS)).where(*of_days),
    )


def totals_of(task: Any) -> list[ColumnElement[Any]]:
    """The sums over a group of tasks that have ended, in the order of `AiTaskDay`."""
    unknown = task.cost_source == literal_column("'unknown'")
    sums: Sequence[Any] = (
        func.count(),
        func.sum(task.attempt),
        func.sum(task.tokens),
        func.sum(task.cost_usd),
        func.count().filter(unknown),
        func.count(wait_ms(task)),
        func.coalesce(func.sum(wait_ms(task)), _ZERO),
        func.count(run_ms(task)),
        func.coalesce(func.sum(run_ms(task)), _ZERO),
        func.count(task.quality_score),
        func.coalesce(func.sum(task.quality_score), _ZERO),
    )
    return [total.label(name) for name, total in zip(_SUMS, sums, strict=True)]


def _listed(parts: Any, name: str) -> Any:
    key = cast(parts.c[name], Text)
    each = (
        select(
            key.label("key"),
            func.sum(parts.c.tasks).label("tasks"),
            func.coalesce(func.sum(parts.c.tasks).filter(_is(parts.c.status, AiTaskStatus.COMPLETED)), _ZERO).label(
                "completed"
            ),
            func.sum(parts.c.cost_usd).label("cost_usd"),
            func.sum(parts.c.tokens).label("tokens"),
        )
        .select_from(parts)
        .group_by(key)
        .subquery(name)
    )
    rows = select(
        func.coalesce(func.jsonb_agg(func.to_jsonb(literal_column(f"{name}.*"))), literal_column("'[]'::jsonb"))
    )
    return rows.select_from(each).scalar_subquery()


def _by_priority() -> Any:
    task = AiTask.__table__.c
    levels = (
        select(task.priority, func.count().label("waiting")).where(among(task.status, WAITING)).group_by(task.priority)
    )
    return with_deleted(levels).subquery("level")


def _pairs() -> list[ColumnElement[Any]]:
    pairs: list[ColumnElement[Any]] = []
    for name in ("priority", "waiting"):
        pairs += (literal_column(f"'{name}'"), literal_column(f"level.{name}"))
    return pairs


def _statuses(parts: Any) -> list[ColumnElement[Any]]:
    return [
        cast(func.coalesce(func.sum(parts.c.tasks).filter(_is(parts.c.status, status)), _ZERO), Integer).label(
            status.value
        )
        for status in FINAL
    ]


def _is(column: Any, status: AiTaskStatus) -> ColumnElement[bool]:
    has_status: ColumnElement[bool] = column == literal_column(f"'{status.value}'")
    return has_status


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return cast(func.count().filter(condition), Integer)


def _mean(total: Any, count: Any) -> ColumnElement[Any]:
    return case((count > _ZERO, fitting(func.round(total / count))))


def _ratio(part: Any, whole: Any) -> ColumnElement[Any]:
    return cast(func.round(cast(part, Numeric) / func.nullif(whole, _ZERO), _RATIO_DIGITS), Float)
