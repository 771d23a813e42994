"""Interactions."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped

from crm.core import validate
from crm.core.choice import Choice
from crm.core.columns import column
from crm.core.model import Model
from crm.core.policy import Policy
from crm.sales.leads.model import Lead

_DAY: Final = 24 * 60


class InteractionType(Choice):
    """How somebody was in touch with a lead."""

    CALL = "call", "A phone or video call."
    EMAIL = "email", "An e-mail."
    MEETING = "meeting", "A meeting."
    MESSAGE = "message", "A text or chat message."
    NOTE = "note", "Something to remember; nobody was contacted."


class Interaction(Model):
    """One contact with a lead, or a note about it."""

    __tablename__ = "interactions"
    policy = Policy(belongs_to=Lead, by="lead_id")
    entity = "interaction"
    noun = ("interaction", "kontakt")
    timeline = "lead_id"
    large: ClassVar[Mapping[str, int]] = {"notes": 80_000}

    id: Mapped[int] = column(
        "A whole number, as text.", Identity(), by="By id.", order="By id: the order of logging.", served=True, key=True
    )
    type: Mapped[InteractionType] = column(
        "How.", by="By type.", order="By type.", label=("Type", "Typ"), rule=validate.given
    )
    subject: Mapped[str | None] = column(
        "What about.", by="By subject.", order="By subject.", label=("Subject", "Ämne"), rule=validate.text(300)
    )
    notes: Mapped[str | None] = column(
        "What was said.", by="By notes.", label=("Notes", "Anteckningar"), rule=validate.text(20_000, lines=True)
    )
    occurred_at: Mapped[datetime] = column(
        "When it took place.",
        by="By when it took place.",
        order="By when it took place.",
        served=True,
        label=("Time", "Tidpunkt"),
        rule=validate.happened,
        input_words="When.",
        server_default=func.now(),
    )
    duration_minutes: Mapped[int | None] = column(
        "How long it took.",
        by="By how long it took.",
        order="By how long it took.",
        label=("Duration", "Längd"),
        rule=validate.between(0, _DAY, (" minutes", " minuter")),
    )
    lead_id: Mapped[int] = column(
        "The lead.",
        ForeignKey("leads.id", ondelete="CASCADE"),
        by="By the lead's id.",
        order="By lead.",
        served=True,
        label=("Lead", "Lead"),
        rule=validate.reference,
        fixed=True,
    )
    created_by: Mapped[UUID | None] = column(
        "Who logged it.", ForeignKey("users.id", ondelete="SET NULL"), by="By the id of who logged it."
    )
    version: Mapped[int] = column(
        "Goes up by one with each change; see `expectedVersion`.", by="By version.", default=1
    )
    created_at: Mapped[datetime] = column(
        "When it was logged.", by="By when it was logged.", order="By when it was logged.", server_default=func.now()
    )
    updated_at: Mapped[datetime] = column(
        "When it was last changed.",
        by="By when it was last changed.",
        order="By when it was last changed.",
        server_default=func.now(),
    )

    __table_args__ = (
        CheckConstraint("duration_minutes >= 0", name="duration_minutes_positive"),
        Index("interactions_lead_id_id_idx", "lead_id", "id"),
        Index("interactions_lead_id_occurred_at_id_idx", "lead_id", "occurred_at", "id"),
        Index("interactions_occurred_at_id_idx", "occurred_at", "id"),
        Index(
            "interactions_created_by_idx",
            "created_by",
            postgresql_where=text("created_by IS NOT NULL"),
        ),
        Index("interactions_search_idx", text("crm_text_document(subject, notes)"), postgresql_using="gin"),
    )
