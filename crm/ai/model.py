"""The table of AI calls."""

from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import Index, Numeric, func, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.ai.provider import CostSource, Outcome
from crm.core.model import Model
from crm.core.policy import INTERNAL

_USD: Final = Numeric(18, 10)


class AiCall(Model):
    """One call to a provider: written before it is made, completed when it has ended. Holds no text from the CRM.

    If the process is killed in between, the call stays UNDERWAY, at an unknown cost.
    """

    __tablename__ = "ai_calls"
    policy = INTERNAL

    # Made by the program and sorted by time: a call can be completed even if the answer to its insert was lost.
    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # All calls of one question have the same; `attempt` counts them.
    question_id: Mapped[UUID]
    attempt: Mapped[int]
    purpose: Mapped[str]
    prompt_version: Mapped[str]
    input_hash: Mapped[str]
    provider: Mapped[str]
    model: Mapped[str]
    # No foreign keys: a cost record outlives its lead and its user.
    lead_id: Mapped[int | None]
    requested_by: Mapped[UUID | None]
    # The attempt of an AI task that the cost counts for.
    ai_task_attempt_id: Mapped[UUID | None]
    outcome: Mapped[Outcome] = mapped_column(server_default=Outcome.UNDERWAY)
    detail: Mapped[str | None]
    duration_ms: Mapped[int | None]
    tokens_in: Mapped[int | None]
    tokens_out: Mapped[int | None]
    cost_usd: Mapped[Decimal | None] = mapped_column(_USD)
    cost_source: Mapped[CostSource] = mapped_column(server_default=CostSource.UNKNOWN)
    # The most that the call can cost, by the price list; counts as long as the cost is unknown.
    reserved_usd: Mapped[Decimal | None] = mapped_column(_USD)

    __table_args__ = (
        Index("ai_calls_created_at_idx", "created_at", postgresql_include=["cost_usd", "reserved_usd"]),
        Index(
            "ai_calls_ai_task_attempt_id_idx",
            "ai_task_attempt_id",
            postgresql_where=text("ai_task_attempt_id IS NOT NULL"),
        ),
        Index(
            "ai_calls_of_ai_tasks_idx",
            "created_at",
            postgresql_include=["cost_usd"],
            postgresql_where=text("ai_task_attempt_id IS NOT NULL"),
        ),
        Index("ai_calls_lead_id_idx", "lead_id", postgresql_where=text("lead_id IS NOT NULL")),
    )
