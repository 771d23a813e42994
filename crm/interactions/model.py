"""Interactions."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.model import EnumText, Model, one_of
from crm.core.policy import Policy
from crm.leads.model import Lead


class InteractionType(StrEnum):
    """How somebody was in touch with a lead."""

    CALL = "call"
    EMAIL = "email"
    MEETING = "meeting"
    MESSAGE = "message"
    NOTE = "note"


class Interaction(Model):
    """One contact with a lead, or a note about it."""

    __tablename__ = "interactions"
    policy = Policy(belongs_to=Lead, by="lead_id")
    entity = "interaction"
    timeline = "lead_id"
    large: ClassVar[Mapping[str, int]] = {"notes": 80_000}

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    lead_id: Mapped[int] = mapped_column(ForeignKey("leads.id", ondelete="CASCADE"))
    type: Mapped[InteractionType] = mapped_column(EnumText(InteractionType))
    subject: Mapped[str | None]
    notes: Mapped[str | None]
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    duration_minutes: Mapped[int | None]
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        one_of("type", InteractionType),
        CheckConstraint("duration_minutes >= 0", name="duration_minutes_positive"),
        Index("interactions_lead_id_id_idx", "lead_id", "id"),
        Index("interactions_lead_id_occurred_at_idx", "lead_id", "occurred_at"),
        Index("interactions_occurred_at_id_idx", "occurred_at", "id"),
        Index(
            "interactions_created_by_idx",
            "created_by",
            postgresql_where=text("created_by IS NOT NULL"),
        ),
        Index("interactions_search_idx", text("crm_text_document(subject, notes)"), postgresql_using="gin"),
    )
