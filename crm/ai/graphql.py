"""The AI's costs and state in the API."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import strawberry

from crm import graph
from crm.ai.breaker import AiCircuit
from crm.ai.gateway import Ai, AnswerSource
from crm.ai.service import AiUsageGroup, AiUsageService
from crm.core.identity import Role
from crm.graph.run.context import Info

# Every call in the period is read.
_COST = 1000
# The cost of a mutation that asks a model: no more than ten fit into one operation.
QUESTION_COST = 1000


graph.enum(AiUsageGroup, structural=True)
graph.enum(AiCircuit)
graph.enum(AnswerSource)


@graph.type()
class AiUsage:
    """What calls to AI providers, or to the playbook, took and cost."""

    day: str | None = strawberry.field(description='The day, if grouped by it, like "2026-01-31".')
    model: str | None = strawberry.field(description="The model, if grouped by it.")
    purpose: str | None = strawberry.field(description="What for, if grouped by it.")
    calls: int = strawberry.field(description="How many calls; a question takes several when it is asked again.")
    answered: int = strawberry.field(description="How many gave a usable answer.")
    failed: int = strawberry.field(description="How many did not, or were given up by who asked.")
    tokens_in: float = strawberry.field(description="Tokens of the questions, as far as providers told; whole.")
    tokens_out: float = strawberry.field(description="Tokens of the replies, as far as providers told; whole.")
    cost_usd: Decimal | None = strawberry.field(description="What is known of the cost; null if nothing is.")
    estimated_usd: Decimal | None = strawberry.field(
        description="How much of it is estimated from a list of prices, rather than told by the provider."
    )
    unknown_cost_calls: int = strawberry.field(
        description="Calls whose cost nobody told, failed ones too; not in the sum."
    )
    average_duration_ms: int | None = strawberry.field(description="The mean time of a call.")


@strawberry.type(description="Who answers questions, and whether it can.")
class AiStatus:
    """Who answers questions, and whether it can."""

    provider: str = strawberry.field(description="`openrouter`, `openai` (or a compatible server) or `playbook`.")
    model: str = strawberry.field(description="The model's id.")
    source: AnswerSource = strawberry.field(description="What its answers are labelled as.")
    healthy: bool = strawberry.field(
        description="Whether the next question would be asked, as far as is known. A question that may cost more than "
        "`budgetLeftUsd` is not asked, however healthy this is."
    )
    circuit: AiCircuit = strawberry.field(description="What this process has made of the provider's failures.")
    falls_back_to_playbook: bool = strawberry.field(description="Whether the playbook answers when it cannot.")
    daily_budget_usd: Decimal | None = strawberry.field(description="What a day (UTC) may cost; null: no limit.")
    spent_today_usd: Decimal = strawberry.field(
        description="What today's calls have cost; one whose cost is unknown counts as the most it can have cost."
    )
    budget_left_usd: Decimal | None = strawberry.field(description="What is left of today's budget; null: no limit.")


GroupBy = Annotated[
    list[AiUsageGroup] | None,
    strawberry.argument(description="By what to group; one row over all if omitted or empty."),
]
From = Annotated[datetime | None, strawberry.argument(name="from", description="Calls from this moment on.")]
To = Annotated[datetime | None, strawberry.argument(description="Calls before this moment.")]


@strawberry.type
class AiQuery:
    """Reads about the AI."""

    @graph.rows(role=Role.ADMIN, usual_rows=100, extra_cost=lambda _: _COST)
    def ai_usage(group_by: GroupBy = None, from_: From = None, to: To = None) -> list[AiUsage]:
        """What AI has taken and cost, newest days first, then what cost most. Admins only."""
        return AiUsageService.grouped(group_by or (), from_, to)

    @graph.answered(role=Role.MEMBER)
    async def ai_status(self, info: Info) -> AiStatus:
        """Which model or rules answer, whether they can, and what is left of today's budget. Members and admins."""
        return await _status(info.context.ai)


async def _status(ai: Ai) -> AiStatus:
    spent, budget = await ai.calls.spent_today(), ai.calls.daily_budget
    left = None if budget is None else max(budget - spent, Decimal(0))
    return AiStatus(
        provider=ai.provider.name,
        model=ai.provider.model,
        source=ai.source,
        healthy=ai.breaker.state is not AiCircuit.OPEN and (left is None or left > 0),
        circuit=ai.breaker.state,
        falls_back_to_playbook=ai.falls_back,
        daily_budget_usd=budget,
        spent_today_usd=spent.normalize(),
        budget_left_usd=None if left is None else left.normalize(),
    )
