"""Tasks."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from sqlalchemy import ForeignKey, Identity, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.model import EnumText, Model, one_of
from crm.core.policy import Policy
from crm.leads.model import Lead


class TaskPriority(StrEnum):
    """How urgent a task is."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class TaskSource(StrEnum):
    """Where a task came from, or that it was dismissed."""

    MANUAL = "manual"
    AI_SUGGESTED = "ai_suggested"
    DISMISSED = "dismissed"


class TaskGenerator(StrEnum):
    """What wrote a suggested task."""

    LLM = "llm"
    PLAYBOOK = "playbook"


class Task(Model):
    """Something to do about a lead."""

    __tablename__ = "tasks"
    policy = Policy(exists=lambda task: task.deleted_at.is_(None), belongs_to=Lead, by="lead_id")
    entity = "task"
    timeline = "lead_id"
    large: ClassVar[Mapping[str, int]] = {"description": 80_000, "ai_reasoning": 8_000, "dismissed_reason": 4_000}

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None]
    due_date: Mapped[datetime | None]
    completed: Mapped[bool] = mapped_column(server_default=text("false"))
    completed_at: Mapped[datetime | None]
    priority: Mapped[TaskPriority] = mapped_column(EnumText(TaskPriority), server_default=TaskPriority.NORMAL.value)
    source: Mapped[TaskSource] = mapped_column(EnumText(TaskSource), server_default=TaskSource.MANUAL.value)
    dismissed_reason: Mapped[str | None]
    ai_reasoning: Mapped[str | None]
    generated_by: Mapped[TaskGenerator | None] = mapped_column(EnumText(TaskGenerator))
    # Where a suggestion came from, and what became of it; null for a person's own.
    model: Mapped[str | None]
    rule: Mapped[str | None]
    prompt_version: Mapped[str | None]
    generation_id: Mapped[UUID | None] = mapped_column(ForeignKey("generations.id", ondelete="SET NULL"))
    edited: Mapped[bool] = mapped_column(server_default=text("false"))
    decided_at: Mapped[datetime | None]
    decided_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    lead_id: Mapped[int] = mapped_column(ForeignKey("leads.id", ondelete="CASCADE"))
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("priority", TaskPriority),
        one_of("source", TaskSource),
        one_of("generated_by", TaskGenerator),
        Index("tasks_lead_id_id_idx", "lead_id", "id"),
        Index("tasks_source_id_idx", "source", "id"),
        Index("tasks_completed_id_idx", "completed", "id"),
        Index(
            "tasks_open_due_date_idx",
            "due_date",
            "id",
            postgresql_where=text("NOT completed AND deleted_at IS NULL"),
        ),
        Index("tasks_created_at_id_idx", "created_at", "id"),
        Index(
            "tasks_assignee_id_id_idx",
            "assignee_id",
            "id",
            postgresql_where=text("assignee_id IS NOT NULL"),
        ),
        Index(
            "tasks_generation_id_idx",
            "generation_id",
            postgresql_where=text("generation_id IS NOT NULL"),
        ),
        Index(
            "tasks_generated_created_at_idx",
            "created_at",
            postgresql_where=text("generated_by IS NOT NULL"),
        ),
        Index(
            "tasks_decided_by_id_idx",
            "decided_by_id",
            postgresql_where=text("decided_by_id IS NOT NULL"),
        ),
        Index(
            "tasks_search_idx",
            text("crm_text_document(title, description)"),
            postgresql_using="gin",
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )
