"""Statistics of AI calls."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Numeric,
    Select,
    Text,
    cast,
    func,
    literal_column,
    null,
    select,
)

from crm.ai.model import AiCall
from crm.ai.provider import CostSource, Outcome
from crm.core.choice import Choice

_DAY: Final[Any] = literal_column("'YYYY-MM-DD'")
_UTC: Final[Any] = literal_column("'UTC'")
_ZERO: Final[Any] = literal_column("0")


class AiUsageGroup(Choice):
    """By what calls are grouped; the value is the key's name."""

    DAY = "day", "By the day, in UTC."
    MODEL = "model", "By the model that was asked."
    PURPOSE = "purpose", "By what it was asked for."


class AiUsageService:
    """Statistics of AI calls."""

    @staticmethod
    def grouped(group_by: Sequence[AiUsageGroup] = (), since: Any = None, until: Any = None) -> Select[Any]:
        """One row a group: newest days first, then what cost most. Without groups one row over everything."""
        groups = [group for group in AiUsageGroup if group in group_by]
        cost = func.sum(AiCall.cost_usd)
        statement = select(
            *(
                _key(group).label(group) if group in groups else cast(null(), Text).label(group)
                for group in AiUsageGroup
            ),
            cast(func.count(), Integer).label("calls"),
            _count(AiCall.outcome == _is(Outcome.OK)).label("answered"),
            _count(AiCall.outcome.not_in([_is(Outcome.OK), _is(Outcome.UNDERWAY)])).label("failed"),
            _total(AiCall.tokens_in).label("tokens_in"),
            _total(AiCall.tokens_out).label("tokens_out"),
            _money(cost).label("cost_usd"),
            _money(cost.filter(AiCall.cost_source == _is(CostSource.ESTIMATED))).label("estimated_usd"),
            _count(AiCall.cost_usd.is_(None)).label("unknown_cost_calls"),
            cast(func.round(func.avg(AiCall.duration_ms)), Integer).label("average_duration_ms"),
        )
        if since is not None:
            statement = statement.where(AiCall.created_at >= since)
        if until is not None:
            statement = statement.where(AiCall.created_at < until)
        if not groups:
            return statement
        by = [_key(group) for group in groups]
        days = [_key(group).desc() for group in groups if group is AiUsageGroup.DAY]
        return statement.group_by(*by).order_by(*days, cost.desc().nulls_last(), func.count().desc(), *by)


def _key(group: AiUsageGroup) -> ColumnElement[Any]:
    if group is AiUsageGroup.DAY:
        return func.to_char(func.timezone(_UTC, AiCall.created_at), _DAY)
    return AiCall.__table__.c[group.value]


def _is(value: StrEnum) -> Any:
    return literal_column(f"'{value}'")


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return cast(func.count().filter(condition), Integer)


def _total(column: Any) -> ColumnElement[int]:
    return cast(func.coalesce(func.sum(column), _ZERO), BigInteger)


def _money(total: Any) -> ColumnElement[Any]:
    """A sum without trailing zeros; null if all costs are unknown."""
    return cast(func.trim_scale(total), Numeric)
