"""Tasks."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, ForeignKey, Identity, Index, String, and_, func, not_, text
from sqlalchemy.orm import Mapped

from crm.core import validate
from crm.core.choice import Choice
from crm.core.columns import DerivedChoice, column
from crm.core.model import Model
from crm.core.policy import Policy
from crm.sales.leads.model import Lead


class TaskPriority(Choice):
    """How urgent a task is."""

    LOW = "low", "When there is time."
    NORMAL = "normal", "In its turn."
    HIGH = "high", "Before others."
    URGENT = "urgent", "Now."


class TaskSource(Choice):
    """Where a task came from, or that it was dismissed."""

    MANUAL = "manual", "A person wrote it, or accepted a suggestion."
    AI_SUGGESTED = "ai_suggested", "Suggested, not yet accepted or dismissed."
    DISMISSED = "dismissed", "Somebody decided against it; kept for analytics and undo."


class TaskStatus(Choice):
    """Where a task stands."""

    OPEN = "open", "To be done: a person wrote it, or accepted a suggestion."
    DONE = "done", "Done."
    SUGGESTED = "suggested", "A suggestion that waits for an answer."
    DISMISSED = "dismissed", "Somebody decided against it."


class TaskGenerator(Choice):
    """What wrote a suggested task."""

    LLM = "llm", "A language model."
    PLAYBOOK = "playbook", "The built-in rules."


def _undone(source: TaskSource) -> Any:
    def holds(task: Any) -> ColumnElement[bool]:
        return and_(not_(task.completed), task.source == source)

    return holds


class Task(Model):
    """Something to do about a lead."""

    __tablename__ = "tasks"
    policy = Policy(exists=lambda task: task.deleted_at.is_(None), belongs_to=Lead, by="lead_id")
    entity = "task"
    noun = ("task", "uppgift")
    timeline = "lead_id"
    large: ClassVar[Mapping[str, int]] = {"description": 80_000, "ai_reasoning": 8_000, "dismissed_reason": 4_000}

    id: Mapped[int] = column(
        "A whole number, as text.",
        Identity(),
        by="By id.",
        order="By id: the order of creation.",
        served=True,
        key=True,
    )
    title: Mapped[str] = column(
        "What is to be done, in a few words.",
        String(255),
        by="By title.",
        order="By title.",
        label=("Title", "Titel"),
        rule=validate.text(255, required=True),
        input_words="What is to be done: 1 to 255 characters.",
    )
    description: Mapped[str | None] = column(
        "More about it.",
        by="By description.",
        label=("Description", "Beskrivning"),
        rule=validate.text(20_000, lines=True),
    )
    status: ClassVar[DerivedChoice] = DerivedChoice(
        kind=TaskStatus,
        words="Where it stands: to be done, done, suggested or dismissed.",
        by="By where it stands.",
        order="By where it stands: OPEN first, DISMISSED last.",
        when={
            TaskStatus.OPEN: _undone(TaskSource.MANUAL),
            TaskStatus.DONE: lambda task: and_(task.completed, task.source != TaskSource.DISMISSED),
            TaskStatus.SUGGESTED: _undone(TaskSource.AI_SUGGESTED),
            TaskStatus.DISMISSED: lambda task: task.source == TaskSource.DISMISSED,
        },
    )
    due_date: Mapped[datetime | None] = column(
        "By when; of an all-day task the end of its day in UTC.",
        by="By due date.",
        order="By due date.",
        label=("Due date", "Förfallodag"),
        rule=validate.anything,
        input_words="By when: a moment. For a day without a time see `dueOn`.",
    )
    due_on: Mapped[date | None] = column(
        "The day by which, of an all-day task; null if a moment is meant.",
        by="By the day of all-day tasks.",
        label=("Due day", "Förfallodag"),
        rule=validate.anything,
        input_words="By which day, without a time. It takes the place of `dueDate`, which becomes its end in UTC.",
    )
    completed: Mapped[bool] = column(
        "Whether it is done.", by="By whether it is done.", order="By whether it is done.", default=False
    )
    completed_at: Mapped[datetime | None] = column(
        "When it was done.", by="By when it was done.", order="By when it was done."
    )
    priority: Mapped[TaskPriority] = column(
        "How urgent it is.",
        by="By priority.",
        order="By urgency: LOW first, URGENT last.",
        ranked=True,
        label=("Priority", "Prioritet"),
        rule=validate.given,
        default=TaskPriority.NORMAL,
    )
    source: Mapped[TaskSource] = column(
        "Where it came from, or that it was dismissed.", by="By source.", order="By source.", default=TaskSource.MANUAL
    )
    dismissed_reason: Mapped[str | None] = column(
        "Why it was dismissed.", by="By why it was dismissed.", label=("Reason", "Skäl")
    )
    ai_reasoning: Mapped[str | None] = column("Why it was suggested, and why now.", by="By why it was suggested.")
    generated_by: Mapped[TaskGenerator | None] = column(
        "What suggested it; null for a person's own.", by="By what suggested it."
    )
    # The origin of a suggestion and the decision on it; null for a task that a person wrote.
    model: Mapped[str | None] = column(
        "Which model suggested it; `playbook` for the built-in rules.", by="By the model that suggested it."
    )
    rule: Mapped[str | None] = column(
        "Which rule of the playbook suggested it.", by="By the playbook's rule that suggested it."
    )
    prompt_version: Mapped[str | None] = column(
        "Under which version of the prompt or of the playbook.", by="By the version of the prompt or of the playbook."
    )
    generation_id: Mapped[UUID | None] = column(
        "What was suggested at the same time has the same.",
        ForeignKey("generations.id", ondelete="SET NULL"),
        by="By what it was suggested together with.",
    )
    edited: Mapped[bool] = column(
        "Whether somebody changed the suggestion before deciding on it.",
        by="By whether the suggestion was changed.",
        default=False,
    )
    decided_at: Mapped[datetime | None] = column(
        "When the suggestion was accepted or dismissed.", by="By when the suggestion was decided on."
    )
    decided_by_id: Mapped[UUID | None] = column(
        "Who accepted or dismissed the suggestion.", ForeignKey("users.id", ondelete="SET NULL")
    )
    lead_id: Mapped[int] = column(
        "The lead it is about.",
        ForeignKey("leads.id", ondelete="CASCADE"),
        by="By the lead's id.",
        order="By lead.",
        served=True,
        label=("Lead", "Lead"),
        rule=validate.reference,
        fixed=True,
    )
    assignee_id: Mapped[UUID | None] = column(
        "Who is to do it.",
        ForeignKey("users.id", ondelete="SET NULL"),
        by="By the assignee's id.",
        label=("Assignee", "Ansvarig"),
        rule=validate.user_id,
    )
    # Without a foreign key, whose check would cost each new task: users are disabled, never deleted.
    created_by: Mapped[UUID | None] = column("Who wrote it; null for a suggestion.", by="By the id of who wrote it.")
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
        server_default=func.now(),
    )
    deleted_at: Mapped[datetime | None] = column("When it was deleted.", by="By when it was deleted.")

    __table_args__ = (
        Index("tasks_lead_id_id_idx", "lead_id", "id"),
        Index(
            "tasks_lead_id_completed_at_id_idx",
            "lead_id",
            "completed_at",
            "id",
            postgresql_where=text("completed_at IS NOT NULL"),
        ),
        Index(
            "tasks_lead_id_created_at_id_idx",
            "lead_id",
            "created_at",
            "id",
            postgresql_where=text("generated_by IS NOT NULL"),
        ),
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
            "tasks_assignee_id_id_open_idx",
            "assignee_id",
            "id",
            postgresql_include=["lead_id", "completed", "source", "deleted_at"],
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
