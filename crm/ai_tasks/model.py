"""AI tasks, their attempts, and the daily totals that stay when they go."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, Numeric, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from crm.ai.provider import CostSource
from crm.core.model import EnumText, Model, one_of
from crm.core.policy import ADMINS, Policy, Scope, by_role

_USD: Final = Numeric(18, 10)


class AiTaskStatus(StrEnum):
    """How far an AI task has come."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


WAITING: Final = (AiTaskStatus.QUEUED, AiTaskStatus.RETRYING)
OPEN: Final = (*WAITING, AiTaskStatus.RUNNING)
FINAL: Final = (AiTaskStatus.COMPLETED, AiTaskStatus.FAILED, AiTaskStatus.CANCELLED, AiTaskStatus.TIMED_OUT)
RETRIABLE: Final = (AiTaskStatus.FAILED, AiTaskStatus.CANCELLED, AiTaskStatus.TIMED_OUT)


class AiTaskPriority(StrEnum):
    """Which AI task goes first."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class AiTaskOutcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    POSTPONED = "postponed"
    RELEASED = "released"
    LOST = "lost"


class AiTask(Model):
    """Work in the background, as its user sees it."""

    __tablename__ = "ai_tasks"
    policy = Policy(owner="created_by", scopes=by_role(admin=Scope.ALL, member=Scope.OWN, viewer=Scope.OWN))
    entity = "ai_task"
    timeline = "lead_id"
    # Large, or about people: events say that they changed, not what they are.
    unlogged = frozenset({"input", "fingerprint", "result", "lease_token", "lease_expires_at", "job_id"})
    large: ClassVar[Mapping[str, int]] = {"input": 64 * 1024, "result": 1024 * 1024, "error": 8_000}

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[str | None]
    task_type: Mapped[str]
    priority: Mapped[AiTaskPriority] = mapped_column(
        EnumText(AiTaskPriority), server_default=AiTaskPriority.NORMAL.value
    )
    status: Mapped[AiTaskStatus] = mapped_column(EnumText(AiTaskStatus), server_default=AiTaskStatus.QUEUED.value)
    input: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error: Mapped[str | None]
    error_code: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    # Of the attempts, those that count against `max_retries`.
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    # And those whose worker died under them.
    losses: Mapped[int] = mapped_column(server_default=text("0"))
    max_retries: Mapped[int] = mapped_column(server_default=text("3"))
    timeout_seconds: Mapped[int] = mapped_column(server_default=text("60"))
    scheduled_for: Mapped[datetime | None]
    # Since when it may run: ageing counts from here, and no worker takes it before.
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    aged: Mapped[bool] = mapped_column(server_default=text("false"))
    job_id: Mapped[int | None] = mapped_column(BigInteger)
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    progress: Mapped[float] = mapped_column(Float, server_default=text("0"))
    tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    cost_usd: Mapped[Decimal] = mapped_column(_USD, server_default=text("0"))
    cost_source: Mapped[CostSource | None] = mapped_column(EnumText(CostSource))
    model: Mapped[str | None]
    quality_score: Mapped[float | None] = mapped_column(Float)
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("leads.id", ondelete="SET NULL"))
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    idempotency_key: Mapped[str | None]
    # Of all that was asked for with that key: the same again is the same task, anything else a mistake.
    fingerprint: Mapped[str | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    # When the latest attempt, which began at `started_at`, ended.
    stopped_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        one_of("priority", AiTaskPriority),
        one_of("status", AiTaskStatus),
        one_of("cost_source", CostSource),
        CheckConstraint("progress BETWEEN 0 AND 1", name="progress_range"),
        CheckConstraint("quality_score BETWEEN 0 AND 1", name="quality_score_range"),
        Index("ai_tasks_created_by_id_idx", "created_by", "id"),
        Index("ai_tasks_lead_id_id_idx", "lead_id", "id", postgresql_where=text("lead_id IS NOT NULL")),
        Index(
            "ai_tasks_idempotency_key",
            "created_by",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        # Of no column that changes while a task runs, so that leases and progress are written in place.
        Index(
            "ai_tasks_open_idx",
            "status",
            "due_at",
            postgresql_include=["priority"],
            postgresql_where=text("status IN ('queued', 'retrying', 'running')"),
        ),
        Index("ai_tasks_waiting_idx", "due_at", postgresql_where=text("status IN ('queued', 'retrying') AND NOT aged")),
        Index("ai_tasks_aged_idx", "id", postgresql_where=text("aged")),
        Index("ai_tasks_finished_at_idx", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )


class AiTaskAttempt(Model):
    """One run of an AI task."""

    __tablename__ = "ai_task_attempts"
    policy = Policy(belongs_to=AiTask, by="task_id")

    id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID] = mapped_column(ForeignKey("ai_tasks.id", ondelete="CASCADE"))
    number: Mapped[int]
    worker: Mapped[str]
    outcome: Mapped[AiTaskOutcome | None] = mapped_column(EnumText(AiTaskOutcome))
    error: Mapped[str | None]
    error_code: Mapped[str | None]
    model: Mapped[str | None]
    tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    cost_usd: Mapped[Decimal] = mapped_column(_USD, server_default=text("0"))
    cost_source: Mapped[CostSource | None] = mapped_column(EnumText(CostSource))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("outcome", AiTaskOutcome),
        one_of("cost_source", CostSource),
        Index("ai_task_attempts_task_id_number_idx", "task_id", "number", unique=True),
    )


class AiTaskDay(Model):
    """What the tasks that finished on a day (UTC) came to, once they are gone."""

    __tablename__ = "ai_task_days"
    policy = ADMINS

    day: Mapped[date] = mapped_column(primary_key=True)
    task_type: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[AiTaskStatus] = mapped_column(EnumText(AiTaskStatus), primary_key=True)
    tasks: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    attempts: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    cost_usd: Mapped[Decimal] = mapped_column(Numeric(24, 10), server_default=text("0"))
    # Of these tasks, how many have a part of their cost that nobody knows.
    unpriced: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    # Of these tasks, how many came to wait and to run, and how long they did in all.
    waited: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    wait_ms: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    ran: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    run_ms: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rated: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    quality: Mapped[float] = mapped_column(Float, server_default=text("0"))

    __table_args__ = (one_of("status", AiTaskStatus),)
