"""Statistics of suggested tasks: how many were accepted, dismissed and completed."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Numeric,
    Select,
    Text,
    and_,
    cast,
    column,
    extract,
    func,
    literal_column,
    not_,
    null,
    select,
)

from crm.core.choice import Choice, EnumText
from crm.sales.tasks.model import Task, TaskGenerator, TaskSource

_ZERO: Final[Any] = literal_column("0")
_HALF: Final[Any] = literal_column("0.5")
_HOUR_DIGITS: Final[Any] = literal_column("1")
_RATIO_DIGITS: Final[Any] = literal_column("4")
_HOUR_SECONDS: Final[Any] = literal_column("3600")
_NONE: Final[Any] = literal_column("'{}'::jsonb")
_NO_REASON: Final[Any] = literal_column("''")


class TaskAnalyticsGroup(Choice):
    """By what suggestions are grouped; the value is the column."""

    GENERATED_BY = "generated_by", "By what suggested it: a language model or the playbook."
    MODEL = "model", "By model."
    RULE = "rule", "By the playbook's rule."
    PROMPT_VERSION = "prompt_version", "By the version of the prompt or of the playbook."


class TaskAnalyticsService:
    """Statistics of suggested tasks."""

    @staticmethod
    def grouped(group_by: Sequence[TaskAnalyticsGroup] = (), since: Any = None, until: Any = None) -> Select[Any]:
        """One row a group, the largest first; without groups one row over everything."""
        groups = [group for group in TaskAnalyticsGroup if group in group_by]
        by_reason = _by_reason(groups, since, until)
        total = _totals(groups, since, until)
        statement = select(
            *(total.c[group] if group in groups else _no_key(group) for group in TaskAnalyticsGroup),
            *(total.c[name] for name in _FIGURES),
            func.coalesce(_reasons(by_reason, total, groups), _NONE).label("dismissals"),
        ).select_from(total)
        return statement.order_by(total.c.suggested.desc(), *(total.c[group].asc().nulls_last() for group in groups))

    @staticmethod
    def dismissals(group: Any) -> Select[Any]:
        """A group's reasons, the most frequent first."""
        each = func.jsonb_each_text(group.dismissals).table_valued(
            column("key", Text), column("value", Text), name="dismissal"
        )
        count = cast(each.c["value"], Integer)
        return select(func.nullif(each.c["key"], _NO_REASON).label("reason"), count.label("count")).order_by(
            count.desc(), each.c["key"]
        )


_FIGURES: Final = (
    *("suggested", "pending", "accepted", "edited", "dismissed", "completed"),
    *("acceptance_rate", "median_hours_to_completion"),
)


def _totals(groups: Sequence[TaskAnalyticsGroup], since: Any, until: Any) -> Any:
    accepted, dismissed = _is(TaskSource.MANUAL), _is(TaskSource.DISMISSED)
    completed = and_(accepted, Task.completed)
    decided = func.count().filter(accepted) + func.count().filter(dismissed)
    hours = extract("epoch", Task.completed_at - Task.created_at) / _HOUR_SECONDS
    statement = select(
        *(Task.__table__.c[group] for group in groups),
        _count(None).label("suggested"),
        _count(and_(_is(TaskSource.AI_SUGGESTED), not_(Task.completed))).label("pending"),
        _count(accepted).label("accepted"),
        _count(and_(accepted, Task.edited)).label("edited"),
        _count(dismissed).label("dismissed"),
        _count(completed).label("completed"),
        _rounded(cast(func.count().filter(accepted), Numeric) / func.nullif(decided, _ZERO), _RATIO_DIGITS).label(
            "acceptance_rate"
        ),
        _rounded(func.percentile_cont(_HALF).within_group(hours).filter(completed), _HOUR_DIGITS).label(
            "median_hours_to_completion"
        ),
    )
    return _grouped(_suggestions(statement, since, until), groups).subquery("total")


def _by_reason(groups: Sequence[TaskAnalyticsGroup], since: Any, until: Any) -> Any:
    """Each group's dismissals, one row a reason."""
    reason = func.coalesce(Task.dismissed_reason, _NO_REASON)
    statement = select(
        *(Task.__table__.c[group] for group in groups), reason.label("reason"), func.count().label("count")
    ).where(_is(TaskSource.DISMISSED))
    return _grouped(_suggestions(statement, since, until), groups, reason).subquery("by_reason")


def _reasons(by_reason: Any, total: Any, groups: Sequence[TaskAnalyticsGroup]) -> Any:
    """A group's reasons as one JSON object, which the edge `dismissals` turns into rows again."""
    same = [by_reason.c[group].is_not_distinct_from(total.c[group]) for group in groups]
    reasons = select(func.jsonb_object_agg(by_reason.c["reason"], by_reason.c["count"])).where(*same)
    return reasons.correlate(total).scalar_subquery()


def _suggestions(statement: Select[Any], since: Any, until: Any) -> Select[Any]:
    statement = statement.where(Task.generated_by.is_not(None))
    if since is not None:
        statement = statement.where(Task.created_at >= since)
    return statement if until is None else statement.where(Task.created_at < until)


def _grouped(statement: Select[Any], groups: Sequence[TaskAnalyticsGroup], *more: Any) -> Select[Any]:
    keys = [*(Task.__table__.c[group] for group in groups), *more]
    return statement.group_by(*keys) if keys else statement


def _no_key(group: TaskAnalyticsGroup) -> Any:
    kind: Any = EnumText(TaskGenerator) if group is TaskAnalyticsGroup.GENERATED_BY else Text()
    return cast(null(), kind).label(group)


def _is(source: TaskSource) -> ColumnElement[bool]:
    return Task.source == literal_column(f"'{source.value}'")


def _count(condition: ColumnElement[bool] | None) -> Any:
    counted = func.count() if condition is None else func.count().filter(condition)
    return cast(counted, Integer)


def _rounded(number: Any, digits: Any) -> Any:
    return cast(func.round(cast(number, Numeric), digits), Float)
