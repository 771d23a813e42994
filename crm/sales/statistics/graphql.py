"""Aggregates in the API."""

from decimal import Decimal
from typing import Annotated, Any

import strawberry

from crm import graph
from crm.access.users.graphql import User
from crm.access.users.service import UserService
from crm.sales.leads.graphql import Which
from crm.sales.leads.model import LeadStatus
from crm.sales.statistics.service import LeadGroup, LeadStatsService

# Every lead that the filter leaves is read.
_COST = 1000


graph.enum(LeadGroup, structural=True)


GroupBy = Annotated[
    list[LeadGroup] | None, strawberry.argument(description="By what to group; one row over all if omitted or empty.")
]
Row = Any


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


@strawberry.type
class StatsQuery:
    """Aggregates."""

    @graph.rows(usual_rows=20, extra_cost=lambda _: _COST)
    def lead_stats(group_by: GroupBy = None, filter: Which = None) -> list[LeadStats]:
        """Numbers about leads, group by group, the largest first."""
        return LeadStatsService.grouped(group_by or (), filter)
