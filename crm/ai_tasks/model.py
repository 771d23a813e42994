"""AI tasks, their attempts, and the daily totals that stay when tasks are removed."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, Numeric, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from crm.ai.provider import CostSource
from crm.core import validate
from crm.core.choice import Choice
from crm.core.columns import column
from crm.core.model import Model
from crm.core.policy import ADMINS, Policy, Scope, by_role

_USD: Final = Numeric(18, 10)


class AiTaskStatus(Choice):
    """How far an AI task has come."""

    QUEUED = "queued", "Waits for its first attempt, or goes on after its worker was stopped."
    RUNNING = "running", "A worker is at it."
    RETRYING = "retrying", "Waits for another attempt."
    COMPLETED = "completed", "Done; `result` is there."
    FAILED = "failed", "All attempts failed, or another would be pointless; `error` says why."
    CANCELLED = "cancelled", "Somebody cancelled it."
    TIMED_OUT = "timed_out", "The last attempt took too long."


WAITING: Final = (AiTaskStatus.QUEUED, AiTaskStatus.RETRYING)
OPEN: Final = (*WAITING, AiTaskStatus.RUNNING)
FINAL: Final = (AiTaskStatus.COMPLETED, AiTaskStatus.FAILED, AiTaskStatus.CANCELLED, AiTaskStatus.TIMED_OUT)
RETRIABLE: Final = (AiTaskStatus.FAILED, AiTaskStatus.CANCELLED, AiTaskStatus.TIMED_OUT)


class AiTaskPriority(Choice):
    """Which AI task goes first."""

    LOW = "low", "After all others; but nothing waits for ever."
    NORMAL = "normal", "In its turn."
    HIGH = "high", "Before others."
    URGENT = "urgent", "Before all others."


# What a task has where its request says nothing.
DEFAULTS: Final = {"max_retries": 3, "timeout_seconds": 60}


class AiTaskOutcome(Choice):
    """How an attempt ended."""

    COMPLETED = "completed", "It gave the result."
    FAILED = "failed", "It ended with an error."
    TIMED_OUT = "timed_out", "It took longer than `timeoutSeconds`."
    CANCELLED = "cancelled", "Somebody cancelled the task."
    POSTPONED = "postponed", "The provider asked to come back later; it does not count as a failure."
    RELEASED = "released", "Its worker was stopped and put the task back; it does not count as a failure."
    LOST = "lost", "Its worker died."


class AiTask(Model):
    """Work in the background, as its user sees it."""

    __tablename__ = "ai_tasks"
    policy = Policy(owner="created_by", scopes=by_role(admin=Scope.ALL, member=Scope.OWN, viewer=Scope.OWN))
    entity = "ai_task"
    noun = ("AI task", "AI-uppgift")
    timeline = "lead_id"
    # Large or personal: events say that these columns changed, without their values.
    unlogged = frozenset({"input", "fingerprint", "result", "lease_token", "lease_expires_at", "job_id"})
    large: ClassVar[Mapping[str, int]] = {"input": 64 * 1024, "result": 1024 * 1024, "error": 8_000}

    id: Mapped[UUID] = column(
        "A UUID; later ones sort after earlier ones.",
        by="By id.",
        order="By id: the order of creation.",
        served=True,
        key=True,
    )
    agent_id: Mapped[str | None] = column(
        "Which agent asked for it, in the caller's own words.",
        by="By agent.",
        label=("Agent", "Agent"),
        rule=validate.text(100),
        input_words="Which agent asks for it, in your own words.",
        fixed=True,
    )
    task_type: Mapped[str] = column(
        "What is to be done, like `task_recommendations`.",
        by="By type.",
        order="By type.",
        label=("Task type", "Typ av uppgift"),
        rule=validate.text(100, required=True),
        input_words="What is to be done: `task_recommendations`, `lead_summary`, `score_recalculation`, `echo`.",
        fixed=True,
    )
    priority: Mapped[AiTaskPriority] = column(
        "How urgent it is.",
        by="By priority.",
        order="By urgency: LOW first, URGENT last.",
        ranked=True,
        label=("Priority", "Prioritet"),
        rule=validate.given,
        fixed=True,
        default=AiTaskPriority.NORMAL,
    )
    status: Mapped[AiTaskStatus] = column(
        "How far it has come.",
        by="By status.",
        order="By how far they have come: QUEUED first.",
        ranked=True,
        default=AiTaskStatus.QUEUED,
    )
    input: Mapped[dict[str, Any]] = column(
        "What it was given.",
        JSONB,
        label=("Input", "Uppgifter"),
        rule=validate.anything,
        input_words="What that takes: an object, at most 64 KiB.",
        fixed=True,
        server_default=text("'{}'"),
    )
    result: Mapped[dict[str, Any] | None] = column("What came of it.", JSONB)
    error: Mapped[str | None] = column("What went wrong with the latest attempt.")
    error_code: Mapped[str | None] = column("The same, for programs.", by="By what went wrong.")
    attempt: Mapped[int] = column("How many attempts have begun.", by="By the number of attempts.", default=0)
    # Attempts that count against `max_retries`.
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    # Attempts whose worker died.
    losses: Mapped[int] = mapped_column(server_default=text("0"))
    max_retries: Mapped[int] = column(
        "How many failed attempts are followed by another.",
        label=("Retries", "Omförsök"),
        rule=validate.between(0, 10),
        input_words="How many failed attempts are followed by another: 0 to 10; default 3.",
        fixed=True,
        server_default=text(str(DEFAULTS["max_retries"])),
    )
    timeout_seconds: Mapped[int] = column(
        "What an attempt may take.",
        label=("Time limit", "Tidsgräns"),
        rule=validate.between(1, 3600, (" seconds", " sekunder")),
        input_words="What an attempt may take: 1 to 3,600; default 60.",
        fixed=True,
        server_default=text(str(DEFAULTS["timeout_seconds"])),
    )
    scheduled_for: Mapped[datetime | None] = column(
        "Not before; null: at once.",
        by="By when they were to run.",
        label=("Start time", "Starttid"),
        rule=validate.not_beyond(366),
        input_words="Not before; at most 366 days ahead. What is past is now.",
        fixed=True,
    )
    # No worker takes the task before; aging counts from here.
    due_at: Mapped[datetime] = column(
        "From when on its next attempt may run, or its latest one might: after its schedule, or a pause.",
        by="By when they may run: what is scheduled, or pauses before another attempt, is due later.",
        order="By when they may run, or might have.",
        server_default=func.now(),
    )
    aged: Mapped[bool] = mapped_column(server_default=text("false"))
    job_id: Mapped[int | None] = mapped_column(BigInteger)
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    progress: Mapped[float] = column("Of the latest attempt, 0 to 1.", Float, default=0)
    tokens: Mapped[int] = column("Read and written by models, in all attempts.", BigInteger, default=0)
    cost_usd: Mapped[Decimal] = column(
        "What all attempts cost, as far as known: see `costSource`.", _USD, order="By what they cost.", default=0
    )
    cost_source: Mapped[CostSource | None] = column(
        "Who says so; UNKNOWN if a part is not known, null if no model was asked (the playbook is none)."
    )
    model: Mapped[str | None] = column(
        "The model that was asked last; null if none was.", by="By the model that was asked."
    )
    quality_score: Mapped[float | None] = column(
        "How good the result is, 0 to 1: somebody's rating, or else an automatic check.", Float
    )
    lead_id: Mapped[int | None] = column(
        "The lead it is about.",
        ForeignKey("leads.id", ondelete="SET NULL"),
        by="By the lead's id.",
        label=("Lead", "Lead"),
        rule=validate.reference,
        fixed=True,
    )
    created_by: Mapped[UUID | None] = column(
        "Whose it is.", ForeignKey("users.id", ondelete="SET NULL"), by="By whose they are."
    )
    idempotency_key: Mapped[str | None] = column(
        "The key it was created with.",
        by="By the key they were created with.",
        label=("Idempotency key", "Idempotensnyckel"),
        rule=validate.key(200),
        input_words="Your own key: the same key again gives the same task, and no second one.",
        fixed=True,
    )
    # A hash of the whole request with that key, but for defaults: the same again returns the task, any other is a
    # conflict.
    fingerprint: Mapped[str | None]
    version: Mapped[int] = column("Goes up with every change.", default=1)
    created_at: Mapped[datetime] = column(
        "When it was created.",
        by="By when they were created.",
        order="By when they were created.",
        server_default=func.now(),
    )
    started_at: Mapped[datetime | None] = column(
        "When the latest attempt began.",
        by="By when their latest attempt began.",
        order="By when their latest attempt began.",
    )
    # When the latest attempt, which began at `started_at`, ended.
    stopped_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = column(
        "When it ended for good.", by="By when they ended.", order="By when they ended.", served=True
    )
    updated_at: Mapped[datetime] = column(
        "When it last changed.",
        by="By when they last changed.",
        order="By when they last changed.",
        server_default=func.now(),
    )

    __table_args__ = (
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
        # On no column that changes while a task runs, so that leases and progress are updated in place.
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

    id: Mapped[UUID] = column("A UUID.", key=True)
    task_id: Mapped[UUID] = mapped_column(ForeignKey("ai_tasks.id", ondelete="CASCADE"))
    number: Mapped[int] = column("1 for the first.")
    worker: Mapped[str] = column("The process that ran it.")
    outcome: Mapped[AiTaskOutcome | None] = column("How it ended; null while it runs.")
    error: Mapped[str | None] = column("What went wrong.")
    error_code: Mapped[str | None] = column("The same, for programs.")
    model: Mapped[str | None] = column("The model that was asked; null if none was.")
    tokens: Mapped[int] = column("Read and written by models.", BigInteger, default=0)
    cost_usd: Mapped[Decimal] = column("What it cost, as far as known: see `costSource`.", _USD, default=0)
    cost_source: Mapped[CostSource | None] = column(
        "Who says so; UNKNOWN if a part is not known, null if no model was asked (the playbook is none)."
    )
    started_at: Mapped[datetime] = column("When it began.", server_default=func.now())
    finished_at: Mapped[datetime | None] = column("When it ended.")

    __table_args__ = (Index("ai_task_attempts_task_id_number_idx", "task_id", "number", unique=True),)


class AiTaskDay(Model):
    """Totals of the removed tasks that finished on one day (UTC), by type and status."""

    __tablename__ = "ai_task_days"
    policy = ADMINS

    day: Mapped[date] = mapped_column(primary_key=True)
    task_type: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[AiTaskStatus] = mapped_column(primary_key=True)
    tasks: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    attempts: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    cost_usd: Mapped[Decimal] = mapped_column(Numeric(24, 10), server_default=text("0"))
    # How many of these tasks have a partly unknown cost.
    unpriced: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    # How many of these tasks waited and ran, and for how long in all.
    waited: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    wait_ms: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    ran: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    run_ms: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rated: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    quality: Mapped[float] = mapped_column(Float, server_default=text("0"))
