"""Generations."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.model import Model
from crm.core.policy import INTERNAL


class AiClaimPurpose(StrEnum):
    """What is being written."""

    RECOMMENDATIONS = "recommendations"
    SUMMARY = "summary"


class AiClaimOutcome(StrEnum):
    """How it ended."""

    SAVED = "saved"
    FAILED = "failed"
    ABANDONED = "abandoned"


class AiClaim(Model):
    """One run of a model over one lead: a lease while it thinks, and afterwards where its tasks came from."""

    __tablename__ = "generations"
    policy = INTERNAL

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    lead_id: Mapped[int] = mapped_column(ForeignKey("leads.id", ondelete="CASCADE"))
    purpose: Mapped[AiClaimPurpose]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Whoever holds the lease must be done by then; a process that died does not hold it for longer.
    expires_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[AiClaimOutcome | None]
    # The AI task that it was for. No foreign key: the task goes after some days, and this stays.
    ai_task_id: Mapped[UUID | None]

    __table_args__ = (
        Index(
            "generations_underway_key",
            "lead_id",
            "purpose",
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index("generations_lead_id_started_at_idx", "lead_id", "started_at"),
        Index("generations_ai_task_id_idx", "ai_task_id", postgresql_where=text("ai_task_id IS NOT NULL")),
    )
