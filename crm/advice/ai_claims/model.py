"""The table of AI claims."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.model import Model
from crm.core.policy import INTERNAL


class AiClaimPurpose(StrEnum):
    """What the model is asked for."""

    RECOMMENDATIONS = "recommendations"
    SUMMARY = "summary"


class AiClaimOutcome(StrEnum):
    """How a claim ended."""

    SAVED = "saved"
    FAILED = "failed"
    ABANDONED = "abandoned"


class AiClaim(Model):
    """A claim to ask a model about a lead: a lease while the model works, then the origin of the suggested tasks."""

    __tablename__ = "generations"
    policy = INTERNAL

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    lead_id: Mapped[int] = mapped_column(ForeignKey("leads.id", ondelete="CASCADE"))
    purpose: Mapped[AiClaimPurpose]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Another request may claim the lead then: so long at most it waits for a process that died.
    expires_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[AiClaimOutcome | None]
    # The AI task that the claim is for. No foreign key: tasks are removed after some days, claims stay.
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
