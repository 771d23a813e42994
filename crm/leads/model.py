"""Leads."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.model import CASE_COLLATION, EnumText, Model, one_of
from crm.core.policy import Policy


class LeadStatus(StrEnum):
    """Where a lead stands in the sales process."""

    NEW = "new"
    CONTACTED = "contacted"
    QUALIFIED = "qualified"
    PROPOSAL = "proposal"
    WON = "won"
    LOST = "lost"


class SummarySource(StrEnum):
    """What wrote a summary."""

    LLM = "llm"
    PLAYBOOK = "playbook"


class Lead(Model):
    """A person or company that may buy."""

    __tablename__ = "leads"
    policy = Policy(exists=lambda lead: lead.deleted_at.is_(None))
    entity = "lead"
    timeline = "id"
    derived = frozenset(
        {
            "summary",
            "summary_generated_at",
            "summary_source",
            "summary_model",
            "summary_prompt_version",
            "summary_hash",
            "summary_facts_at",
            "activity_score",
            "score_calculated_at",
            "score_factors",
        }
    )
    internal = frozenset({"summary_hash", "summary_facts_at"})

    large: ClassVar[Mapping[str, int]] = {"summary": 16_000, "tags": 20_000}

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    first_name: Mapped[str]
    last_name: Mapped[str]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    company: Mapped[str | None]
    job_title: Mapped[str | None]
    status: Mapped[LeadStatus] = mapped_column(EnumText(LeadStatus), server_default=LeadStatus.NEW.value)
    source: Mapped[str | None]
    budget: Mapped[Decimal | None]
    currency: Mapped[str | None] = mapped_column(String(3))
    location: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    summary: Mapped[str | None]
    summary_generated_at: Mapped[datetime | None]
    summary_source: Mapped[SummarySource | None] = mapped_column(EnumText(SummarySource))
    summary_model: Mapped[str | None]
    summary_prompt_version: Mapped[str | None]
    # Of what it was made: the same again makes no other. And of when: what happened later is not in it.
    summary_hash: Mapped[str | None]
    summary_facts_at: Mapped[datetime | None]
    activity_score: Mapped[int | None]
    score_calculated_at: Mapped[datetime | None]
    score_factors: Mapped[dict[str, Any] | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("status", LeadStatus),
        one_of("summary_source", SummarySource),
        CheckConstraint("budget >= 0", name="budget_positive"),
        CheckConstraint("activity_score BETWEEN 0 AND 100", name="activity_score_range"),
        # Partial: a deleted lead keeps its address and blocks nobody.
        Index(
            "leads_living_email_key",
            text(f"lower(email COLLATE {CASE_COLLATION})"),
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        # Each order that keyset paging promises to serve has its index (`id`: the primary key): docs/guides/paging.md.
        Index("leads_created_at_id_idx", "created_at", "id"),
        Index("leads_updated_at_id_idx", "updated_at", "id"),
        Index("leads_last_name_id_idx", "last_name", "id"),
        Index(
            "leads_activity_score_id_idx",
            text("activity_score DESC NULLS LAST"),
            text("id DESC"),
        ),
        # BRIN, so that (from PostgreSQL 16 on) a score that stays the same is updated in place: see decision 13.
        Index("leads_score_calculated_at_idx", "score_calculated_at", postgresql_using="brin"),
        Index("leads_status_id_idx", "status", "id"),
        Index("leads_owner_id_id_idx", "owner_id", "id"),
        Index("leads_tags_idx", "tags", postgresql_using="gin"),
        Index("leads_phone_idx", text("crm_phone(phone)"), "id", postgresql_where=text("phone IS NOT NULL")),
        Index(
            "leads_search_idx",
            text("crm_lead_document(first_name, last_name, company, email, phone, job_title)"),
            postgresql_using="gin",
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )
