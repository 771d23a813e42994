"""Aggregates in the API."""

from decimal import Decimal
from typing import Annotated, Any

import strawberry

from crm import graph
from crm.access.users.graphql import User
from crm.access.users.service import UserService
from crm.graph.declare.filters import UNSET, InputObject, IntFilter
from crm.sales.interactions import graphql as interactions
from crm.sales.interactions.model import InteractionType
from crm.sales.leads.graphql import Which
from crm.sales.leads.model import LeadStatus
from crm.sales.statistics.interactions import InteractionGroup, InteractionStatsService
from crm.sales.statistics.service import LeadGroup, LeadStatsService, TagService
from crm.sales.statistics.tasks import TaskGroup, TaskStatsService
from crm.sales.tasks import graphql as tasks
from crm.sales.tasks.model import TaskPriority, TaskSource, TaskStatus

# Every row that the filter leaves is read.
_COST = 1000


for _group in (LeadGroup, TaskGroup, InteractionGroup):
    graph.enum(_group, structural=True)


_GROUPED: Any = strawberry.argument(description="By what to group; one row over all if omitted or empty.")
GroupBy = Annotated[list[LeadGroup] | None, _GROUPED]
TaskGroupBy = Annotated[list[TaskGroup] | None, _GROUPED]
InteractionGroupBy = Annotated[list[InteractionGroup] | None, _GROUPED]
Row = Any


def _by(description: str) -> Any:
    return strawberry.field(description=description, default=UNSET)


@strawberry.input(description="Which groups of leads, by their numbers.")
class LeadStatsHaving(InputObject):
    """Which groups of leads, by their numbers."""

    count: IntFilter | None = _by("By how many leads.")
    won: IntFilter | None = _by("By how many are won.")
    lost: IntFilter | None = _by("By how many are lost.")


@strawberry.input(description="Which groups of tasks, by their numbers.")
class TaskStatsHaving(InputObject):
    """Which groups of tasks, by their numbers."""

    count: IntFilter | None = _by("By how many tasks.")
    open_count: IntFilter | None = _by("By how many are to be done.")
    done_count: IntFilter | None = _by("By how many are done.")
    overdue_count: IntFilter | None = _by("By how many are to be done and were due before now.")


@strawberry.input(description="Which groups of interactions, by their numbers.")
class InteractionStatsHaving(InputObject):
    """Which groups of interactions, by their numbers."""

    count: IntFilter | None = _by("By how many interactions.")
    lead_count: IntFilter | None = _by("By with how many leads.")
    minutes: IntFilter | None = _by("By how many minutes together.")


_HAVING: Any = strawberry.argument(description="Which groups, by their numbers.")


@graph.type()
class MoneyTotal:
    """Amounts in one currency."""

    currency: str | None = strawberry.field(description="Which (ISO 4217); null: amounts without a currency.")
    sum: Decimal = strawberry.field(description="All of them together.")
    average: Decimal = strawberry.field(description="The mean of those that have an amount, to two decimals.")


@graph.type()
class LeadStats:
    """Numbers about a group of leads."""

    status: LeadStatus | None = strawberry.field(description="The group's status, if grouped by it.")
    source: str | None = strawberry.field(description="The group's source, if grouped by it; null: without one.")
    owner_id: strawberry.ID | None = strawberry.field(description="Whose, if grouped by owner; null: nobody's.")
    company: str | None = strawberry.field(description="The group's company, if grouped by it; null: without one.")
    location: str | None = strawberry.field(description="The group's location, if grouped by it; null: without one.")
    created_month: str | None = strawberry.field(description='The month, if grouped by it, like "2026-01".')
    count: int = strawberry.field(description="How many leads.")
    average_score: float | None = strawberry.field(description="The mean of their scores; null if none has one.")
    won: int = strawberry.field(description="How many are won.")
    lost: int = strawberry.field(description="How many are lost.")
    conversion: float | None = strawberry.field(
        description="Won among won and lost, 0 to 1, to four decimals; null if none is decided."
    )

    @graph.edge
    def owner(group: Row) -> User | None:
        """Whose they are, if grouped by owner."""
        return UserService.with_id(group.owner_id)

    @graph.edge(usual_rows=3, takes=())
    def budgets(group: Row) -> list[MoneyTotal]:
        """What they may spend, for each currency."""
        return LeadStatsService.budgets(group)


@graph.type()
class TagCount:
    """How many leads have a tag."""

    tag: str = strawberry.field(description="The tag.")
    count: int = strawberry.field(description="How many leads have it.")


@graph.type()
class TaskStats:
    """Numbers about a group of tasks."""

    status: TaskStatus | None = strawberry.field(description="The group's status, if grouped by it.")
    priority: TaskPriority | None = strawberry.field(description="The group's priority, if grouped by it.")
    source: TaskSource | None = strawberry.field(description="The group's source, if grouped by it.")
    assignee_id: strawberry.ID | None = strawberry.field(
        description="Who is to do them, if grouped by assignee; null: nobody."
    )
    created_by: strawberry.ID | None = strawberry.field(
        description="Who wrote them, if grouped by creator; null: nobody known."
    )
    created_week: str | None = strawberry.field(description='The week, if grouped by it, like "2026-W01".')
    due_week: str | None = strawberry.field(description="The week, if grouped by it; null: without a due date.")
    completed_week: str | None = strawberry.field(description="The week, if grouped by it; null: not done.")
    count: int = strawberry.field(description="How many tasks.")
    open_count: int = strawberry.field(description="How many are to be done.")
    done_count: int = strawberry.field(description="How many are done.")
    suggested_count: int = strawberry.field(description="How many suggestions wait for an answer.")
    dismissed_count: int = strawberry.field(description="How many were dismissed.")
    overdue_count: int = strawberry.field(description="How many are to be done and were due before now.")
    average_hours: float | None = strawberry.field(
        description="The mean time from creation until done, in hours, to one decimal; null if none is done."
    )

    @graph.edge
    def assignee(group: Row) -> User | None:
        """Who is to do them, if grouped by assignee."""
        return UserService.with_id(group.assignee_id)

    @graph.edge
    def creator(group: Row) -> User | None:
        """Who wrote them, if grouped by creator."""
        return UserService.with_id(group.created_by)


@graph.type()
class InteractionStats:
    """Numbers about a group of interactions."""

    type: InteractionType | None = strawberry.field(description="The group's type, if grouped by it.")
    created_by: strawberry.ID | None = strawberry.field(
        description="Who logged them, if grouped by creator; null: nobody known."
    )
    week: str | None = strawberry.field(description='The week, if grouped by it, like "2026-W01".')
    count: int = strawberry.field(description="How many interactions.")
    lead_count: int = strawberry.field(description="With how many leads.")
    minutes: int = strawberry.field(description="How many minutes together, as far as known.")

    @graph.edge
    def creator(group: Row) -> User | None:
        """Who logged them, if grouped by creator."""
        return UserService.with_id(group.created_by)


@strawberry.type
class StatsQuery:
    """Aggregates."""

    @graph.rows(usual_rows=20, extra_cost=lambda _: _COST)
    def lead_stats(
        group_by: GroupBy = None, filter: Which = None, having: Annotated[LeadStatsHaving | None, _HAVING] = None
    ) -> list[LeadStats]:
        """Numbers about leads, group by group, the largest first.

        By status alone: in the order of the sales process, also those that no lead has.
        """
        return LeadStatsService.grouped(group_by or (), filter, having)

    @graph.rows(usual_rows=20, extra_cost=lambda _: _COST)
    def task_stats(
        group_by: TaskGroupBy = None,
        filter: tasks.Which = None,
        having: Annotated[TaskStatsHaving | None, _HAVING] = None,
    ) -> list[TaskStats]:
        """Numbers about tasks, group by group: weeks in their order, and the largest first."""
        return TaskStatsService.grouped(group_by or (), filter, having)

    @graph.rows(usual_rows=20, extra_cost=lambda _: _COST)
    def interaction_stats(
        group_by: InteractionGroupBy = None,
        filter: interactions.Which = None,
        having: Annotated[InteractionStatsHaving | None, _HAVING] = None,
    ) -> list[InteractionStats]:
        """Numbers about interactions, group by group: weeks in their order, and the largest first."""
        return InteractionStatsService.grouped(group_by or (), filter, having)

    @graph.rows(usual_rows=50, extra_cost=lambda _: _COST)
    def tag_counts(filter: Which = None) -> list[TagCount]:
        """How many leads have which tag, the most frequent first."""
        return TagService.counts(filter)
