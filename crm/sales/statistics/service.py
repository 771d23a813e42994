"""Statistics of leads."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    Float,
    Integer,
    Numeric,
    Select,
    Text,
    Uuid,
    cast,
    column,
    func,
    literal_column,
    null,
    select,
    type_coerce,
)

from crm.core.choice import Choice, EnumText
from crm.db.query import Where, filtered
from crm.sales.leads.model import Lead, LeadStatus
from crm.sales.statistics.groups import count_of, matching

_ZERO: Final[Any] = literal_column("0")
_CENTS: Final[Any] = literal_column("2")
_RATIO_DIGITS: Final[Any] = literal_column("4")
_NO_BUDGETS: Final[Any] = literal_column("'[]'::jsonb")


class LeadGroup(Choice):
    """By what leads are grouped; the value is the key's column."""

    STATUS = "status", "By where they stand in the sales process."
    SOURCE = "source", "By where they came from."
    OWNER = "owner_id", "By whose they are."
    COMPANY = "company", "By where they work."
    LOCATION = "location", "By where they are."
    CREATED_MONTH = "created_month", "By the month in which they were created, in UTC."


class TagService:
    """The tags of leads."""

    @staticmethod
    def counts(where: Where | None = None) -> Select[Any]:
        """How many leads have which tag, the most frequent first."""
        each = filtered(select(func.unnest(Lead.tags).label("tag")), Lead, where).subquery("each")
        count = count_of()
        statement = select(each.c.tag, count.label("count")).group_by(each.c.tag)
        return statement.order_by(count.desc(), each.c.tag)


class LeadStatsService:
    """Statistics of leads, in groups."""

    @staticmethod
    def grouped(
        group_by: Sequence[LeadGroup] = (), where: Where | None = None, having: Any | None = None
    ) -> Select[Any]:
        """One row a group, the largest first; without groups one row over everything.

        By status alone they stand in the order of the sales process, those without a lead as well.
        """
        groups = [group for group in LeadGroup if group in group_by]
        parts = _by_currency(groups, where)
        count = func.sum(parts.c.count)
        keys = [parts.c[group] for group in groups]
        statement = select(
            *(_key(group, parts) if group in groups else _no_key(group) for group in LeadGroup),
            _whole(count).label("count"),
            _whole(func.sum(parts.c.won)).label("won"),
            _whole(func.sum(parts.c.lost)).label("lost"),
            _ratio(func.sum(parts.c.won), func.sum(parts.c.won + parts.c.lost), _RATIO_DIGITS).label("conversion"),
            _ratio(func.sum(parts.c.scores), func.sum(parts.c.scored), _CENTS).label("average_score"),
            func.coalesce(_budgets(parts), _NO_BUDGETS).label("budgets"),
        ).select_from(parts)
        numbers = (statement.group_by(*keys) if keys else statement).subquery("numbers")
        if groups == [LeadGroup.STATUS]:
            return _in_pipeline(numbers, having)
        chosen = (numbers.c[group].asc().nulls_last() for group in groups)
        return matching(select(numbers), numbers.c, having).order_by(numbers.c["count"].desc(), *chosen)

    @staticmethod
    def budgets(group: Any) -> Select[Any]:
        """A group's budgets, one row a currency; those without a currency last."""
        columns = (column("currency", Text), column("sum", Numeric), column("average", Numeric))
        each = (
            func.jsonb_to_recordset(group.budgets).table_valued(*columns, name="budget").render_derived(with_types=True)
        )
        return select(each).order_by(each.c.currency.asc().nulls_last())


def _in_pipeline(numbers: Any, having: Any) -> Select[Any]:
    """A row for each status, in the order of the sales process."""
    values = ", ".join(f"'{status}'" for status in LeadStatus)
    stages = func.unnest(literal_column(f"ARRAY[{values}]")).table_valued(
        column("status", Text), with_ordinality="place", name="stages"
    )
    stages = stages.render_derived()
    zeros = {"count": _ZERO, "won": _ZERO, "lost": _ZERO, "budgets": _NO_BUDGETS}
    shown = {
        name: func.coalesce(numbers.c[name], zeros[name]) if name in zeros else numbers.c[name]
        for name in numbers.c.keys()  # noqa: SIM118  (columns, not a mapping)
    }
    shown[LeadGroup.STATUS] = type_coerce(stages.c.status, EnumText(LeadStatus))
    statement = select(*(value.label(name) for name, value in shown.items()))
    joined = statement.select_from(stages.outerjoin(numbers, numbers.c.status == stages.c.status))
    return matching(joined, shown, having).order_by(stages.c.place)


def _by_currency(groups: Sequence[LeadGroup], where: Where | None) -> Any:
    """Each group's leads, one row per currency: amounts in different currencies are never added."""
    keys = [_value(group).label(group) for group in groups]
    statement = select(
        *keys,
        Lead.currency.label("currency"),
        func.count().label("count"),
        _count_of(LeadStatus.WON).label("won"),
        _count_of(LeadStatus.LOST).label("lost"),
        func.sum(Lead.activity_score).label("scores"),
        func.count(Lead.activity_score).label("scored"),
        func.sum(Lead.budget).label("budget"),
        func.count(Lead.budget).label("budgeted"),
    )
    by = [*(_value(group) for group in groups), Lead.currency]
    return filtered(statement, Lead, where).group_by(*by).subquery("parts")


def _budgets(parts: Any) -> Any:
    """A group's rows as one JSON array, which the edge `budgets` turns into rows again."""
    average = func.round(parts.c.budget / parts.c.budgeted, _CENTS)
    budget = func.jsonb_build_object(
        literal_column("'currency'"),
        parts.c.currency,
        literal_column("'sum'"),
        parts.c.budget,
        literal_column("'average'"),
        average,
    )
    return func.jsonb_agg(budget).filter(parts.c.budgeted > _ZERO)


def _value(group: LeadGroup) -> Any:
    if group is LeadGroup.CREATED_MONTH:
        local = func.timezone(literal_column("'UTC'"), Lead.created_at)
        return func.date_trunc(literal_column("'month'"), local)
    return Lead.__table__.c[group]


def _key(group: LeadGroup, parts: Any) -> Any:
    if group is LeadGroup.CREATED_MONTH:
        return func.to_char(parts.c[group], literal_column("'YYYY-MM'")).label(group)
    return parts.c[group]


def _no_key(group: LeadGroup) -> Any:
    kinds: dict[LeadGroup, Any] = {LeadGroup.STATUS: EnumText(LeadStatus), LeadGroup.OWNER: Uuid()}
    return cast(null(), kinds.get(group, Text())).label(group)


def _count_of(status: LeadStatus) -> Any:
    return func.count().filter(Lead.status == literal_column(f"'{status}'"))


def _whole(total: Any) -> Any:
    return cast(func.coalesce(total, _ZERO), Integer)


def _ratio(part: Any, whole: Any, digits: Any) -> Any:
    """A ratio; null if the divisor is 0."""
    return cast(func.round(cast(part, Numeric) / func.nullif(whole, _ZERO), digits), Float)
