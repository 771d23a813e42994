"""Leads."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core import validate
from crm.core.choice import Choice
from crm.core.columns import SortKey, column, crm_last_name_key
from crm.core.model import CASE_COLLATION, SORT_KEY, Model
from crm.core.policy import INTERNAL, Policy

_NAME: Final = 200
_LONG: Final = 300


class LeadStatus(Choice):
    """Where a lead stands in the sales process."""

    NEW = "new", "Nobody has been in touch yet."
    CONTACTED = "contacted", "Somebody has been in touch."
    QUALIFIED = "qualified", "There is a need, and money for it."
    PROPOSAL = "proposal", "A proposal has been sent."
    WON = "won", "They bought."
    LOST = "lost", "They did not."


class SummarySource(Choice):
    """What wrote a summary."""

    LLM = "llm", "A language model."
    PLAYBOOK = "playbook", "The built-in rules."


class Lead(Model):
    """A person or company that may buy."""

    __tablename__ = "leads"
    policy = Policy(exists=lambda lead: lead.deleted_at.is_(None))
    entity = "lead"
    noun = ("lead", "lead")
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
    internal = frozenset({"summary_hash", "summary_facts_at", "first_name_key", "last_name_key", "company_key"})

    large: ClassVar[Mapping[str, int]] = {"summary": 16_000, "tags": 20_000}

    id: Mapped[int] = column(
        "A whole number, as text.",
        Identity(),
        by="By id.",
        order="By id: the order of creation.",
        served=True,
        key=True,
    )
    first_name: Mapped[str] = column(
        "First name.",
        by="By first name.",
        order="By first name.",
        served=True,
        sort_key=SortKey("first_name_key"),
        label=("First name", "Förnamn"),
        rule=validate.text(_NAME, required=True),
        input_words="First name: 1 to 200 characters.",
    )
    last_name: Mapped[str] = column(
        "Last name.",
        by="By last name.",
        order="By last name, particles such as `von` aside.",
        served=True,
        sort_key=SortKey("last_name_key", crm_last_name_key),
        label=("Last name", "Efternamn"),
        rule=validate.text(_NAME, required=True),
        input_words="Last name: 1 to 200 characters.",
    )
    email: Mapped[str | None] = column(
        "E-mail address; unique among living leads, whatever the case.",
        by="By e-mail address.",
        order="By e-mail address.",
        label=("E-mail", "E-post"),
        rule=validate.email(),
        input_words="Unique among living leads, whatever the case.",
    )
    phone: Mapped[str | None] = column(
        "Phone number, as typed.",
        by="By phone number.",
        label=("Phone", "Telefon"),
        rule=validate.phone(50),
        input_words="Phone number.",
    )
    company: Mapped[str | None] = column(
        "Where they work.",
        by="By company.",
        order="By company.",
        served=True,
        sort_key=SortKey("company_key"),
        label=("Company", "Företag"),
        rule=validate.text(_LONG),
    )
    industry: Mapped[str | None] = column(
        "What they make or sell.",
        by="By industry.",
        order="By industry.",
        label=("Industry", "Bransch"),
        rule=validate.text(100),
    )
    job_title: Mapped[str | None] = column(
        "As what they work.",
        by="By job title.",
        order="By job title.",
        label=("Job title", "Befattning"),
        rule=validate.text(_NAME),
    )
    status: Mapped[LeadStatus] = column(
        "Where they stand in the sales process.",
        by="By status.",
        order="By how far it has come: NEW first, LOST last.",
        ranked=True,
        label=("Status", "Status"),
        rule=validate.given,
        input_words="Where they stand.",
        default=LeadStatus.NEW,
    )
    source: Mapped[str | None] = column(
        "Where they came from.",
        by="By where the lead came from.",
        order="By where it came from.",
        label=("Source", "Källa"),
        rule=validate.text(100),
    )
    budget: Mapped[Decimal | None] = column(
        "What they may spend.",
        by="By budget.",
        order="By budget, whatever the currency.",
        label=("Budget", "Budget"),
        rule=validate.amount,
        input_words="What they may spend; not negative.",
    )
    currency: Mapped[str | None] = column(
        "In which currency (ISO 4217).",
        String(3),
        by="By currency.",
        label=("Currency", "Valuta"),
        rule=validate.currency,
    )
    location: Mapped[str | None] = column(
        "Where they are.", by="By location.", order="By location.", label=("Location", "Ort"), rule=validate.text(_LONG)
    )
    tags: Mapped[list[str]] = column(
        "Labels.",
        by="By tags.",
        label=("Tags", "Taggar"),
        rule=validate.tags,
        input_words="Labels; at most 50.",
        server_default=text("'{}'"),
    )
    owner_id: Mapped[UUID | None] = column(
        "Whose lead it is.",
        ForeignKey("users.id", ondelete="SET NULL"),
        by="By the owner's id.",
        label=("Owner", "Ägare"),
        rule=validate.user_id,
    )
    summary: Mapped[str | None] = column(
        "What happened, where it stands, what is next.", by="By the text of the summary."
    )
    summary_generated_at: Mapped[datetime | None] = column(
        "When the summary was written.", by="By when the summary was written."
    )
    summary_source: Mapped[SummarySource | None] = column("What wrote the summary.")
    summary_model: Mapped[str | None] = column("Which model; `playbook` for the built-in rules.")
    summary_prompt_version: Mapped[str | None] = column("Under which version of the prompt or of the playbook.")
    # A hash of what the summary was made from, so that the same is not written again; and the time of those facts.
    summary_hash: Mapped[str | None]
    summary_facts_at: Mapped[datetime | None]
    activity_score: Mapped[int | None] = column(
        "How hot it is, 0 to 100; null until calculated.", by="By score.", order="By score.", served="when descending"
    )
    score_calculated_at: Mapped[datetime | None] = column(
        "When the score was calculated.",
        by="By when the score was calculated.",
        order="By when the score was calculated.",
    )
    score_factors: Mapped[dict[str, Any] | None]
    version: Mapped[int] = column(
        "Goes up by one with each change; see `expectedVersion`.", by="By version.", default=1
    )
    created_at: Mapped[datetime] = column(
        "When it was created.",
        by="By when it was created.",
        order="By when it was created.",
        served=True,
        server_default=func.now(),
    )
    updated_at: Mapped[datetime] = column(
        "When it was last changed.",
        by="By when it was last changed.",
        order="By when it was last changed.",
        served=True,
        server_default=func.now(),
    )
    deleted_at: Mapped[datetime | None] = column("When it was deleted.", by="By when it was deleted.")
    # Kept by the trigger `leads_sort_keys`.
    first_name_key: Mapped[str] = mapped_column(SORT_KEY, server_default=text("''"))
    last_name_key: Mapped[str] = mapped_column(SORT_KEY, server_default=text("''"))
    company_key: Mapped[str | None] = mapped_column(SORT_KEY)

    __table_args__ = (
        CheckConstraint("budget >= 0", name="budget_positive"),
        CheckConstraint("activity_score BETWEEN 0 AND 100", name="activity_score_range"),
        # Partial: a deleted lead keeps its address without blocking another lead.
        Index(
            "leads_living_email_key",
            text(f"lower(email COLLATE {CASE_COLLATION})"),
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        # Each order that keyset paging promises to serve has its index (`id`: the primary key): docs/guides/paging.md.
        Index("leads_created_at_id_idx", "created_at", "id"),
        Index("leads_updated_at_id_idx", "updated_at", "id"),
        Index("leads_first_name_key_id_idx", "first_name_key", "id"),
        Index("leads_last_name_key_id_idx", "last_name_key", "id"),
        Index("leads_company_key_id_idx", "company_key", "id"),
        Index(
            "leads_activity_score_id_idx",
            text("activity_score DESC NULLS LAST"),
            text("id DESC"),
        ),
        # BRIN, so that (from PostgreSQL 16 on) a score that stays the same is updated in place: see decision 13.
        Index("leads_score_calculated_at_idx", "score_calculated_at", postgresql_using="brin"),
        Index("leads_status_id_idx", "status", "id"),
        Index("leads_owner_id_id_idx", "owner_id", "id"),
        # What is counted of all leads, and whether a task's lead is there, without a look at the rows: they are long.
        Index(
            "leads_living_idx",
            "id",
            postgresql_include=["status", "currency", "budget", "activity_score"],
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("leads_tags_idx", "tags", postgresql_using="gin"),
        Index("leads_phone_idx", text("crm_phone(phone)"), "id", postgresql_where=text("phone IS NOT NULL")),
        Index(
            "leads_search_idx",
            text("crm_lead_document(first_name, last_name, company, email, phone, job_title)"),
            postgresql_using="gin",
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )


class LeadRollup(Model):
    """What a lead's tasks and interactions come to, for orders by it; kept by triggers (docs/decisions/0038)."""

    __tablename__ = "lead_rollups"
    policy = INTERNAL

    lead_id: Mapped[int] = mapped_column(ForeignKey("leads.id", ondelete="CASCADE"), primary_key=True)
    next_due_at: Mapped[datetime | None]
    last_interaction_at: Mapped[datetime | None]

    __table_args__ = (
        Index("lead_rollups_next_due_at_lead_id_idx", "next_due_at", "lead_id"),
        Index(
            "lead_rollups_last_interaction_at_lead_id_idx",
            text("last_interaction_at DESC NULLS LAST"),
            text("lead_id DESC"),
        ),
    )
