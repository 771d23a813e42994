"""The types of a model's reply, and the drafts made from it: each suggestion is cleaned or dropped by itself."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Final

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field

from crm.advice.recommendations.plain import plain
from crm.advice.recommendations.similarity import gist_of
from crm.advice.recommendations.words import normalised
from crm.advice.recommendations.workdays import due_in, on_workday
from crm.ai.replies import keep_valid
from crm.sales.tasks.model import TaskPriority

AT_MOST: Final = 3
_TITLE: Final = 255
_REASON: Final = 1000
_DESCRIPTION: Final = 2000
_FURTHEST: Final = timedelta(days=366)
_AFTERNOON: Final = time(14, tzinfo=UTC)
_PRIORITIES: Final = {
    "lowest": TaskPriority.LOW,
    "low": TaskPriority.LOW,
    "high": TaskPriority.HIGH,
    "highest": TaskPriority.URGENT,
    "urgent": TaskPriority.URGENT,
    "critical": TaskPriority.URGENT,
}
_USUALLY_DUE_IN: Final = {
    TaskPriority.URGENT: 0,
    TaskPriority.HIGH: 1,
    TaskPriority.NORMAL: 3,
    TaskPriority.LOW: 5,
}


# An optional field of a suggestion: a value that is no text is dropped, and the suggestion kept.
Extra = Annotated[str | None, BeforeValidator(lambda value: value if isinstance(value, str) else None)]


class SuggestedTask(BaseModel):
    """One suggestion, as a model writes it."""

    title: str = Field(
        validation_alias=AliasChoices("title", "task", "name", "action"),
        description="What to do, at most 80 characters.",
    )
    reasoning: str = Field(
        validation_alias=AliasChoices("reasoning", "reason", "why", "rationale", "aiReasoning", "ai_reasoning"),
        description="Why this and why now, from the facts given.",
    )
    description: Extra = Field(default=None, description="How to go about it; may be left out.")
    priority: Extra = Field(default=None, description="low, normal, high or urgent.")
    due_date: Extra = Field(
        default=None,
        validation_alias=AliasChoices("due_date", "dueDate", "due", "deadline"),
        description="A working day after today, as YYYY-MM-DD.",
    )


class SuggestedTasks(BaseModel):
    """A model's reply; an empty list says that nothing needs doing."""

    tasks: Annotated[list[SuggestedTask], keep_valid(at_most=10)]


class PlaybookTask(SuggestedTask):
    """One suggestion, as the playbook makes it."""

    rule: str


class PlaybookTasks(SuggestedTasks):
    """The playbook's reply."""

    tasks: list[PlaybookTask]  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Draft:
    """A cleaned suggestion, ready to be saved."""

    title: str
    reasoning: str
    description: str | None
    priority: TaskPriority
    due: datetime
    rule: str | None = None


def drafts_of(reply: SuggestedTasks, now: datetime, holidays: Collection[str] = ()) -> list[Draft]:
    """The suggestions of a reply that can be saved."""
    return [draft for task in reply.tasks if (draft := _draft(task, now, holidays)) is not None]


def without_duplicates(drafts: Sequence[Draft], titles: Collection[str], names: Collection[str] = ()) -> list[Draft]:
    """The drafts that do not repeat another draft or one of these titles in other words; at most three.

    `names` are those of the lead and of its company: titles that share only these are not alike.
    """
    seen = [gist_of(title, names) for title in titles]
    kept: list[Draft] = []
    for draft in drafts:
        gist = gist_of(draft.title, names)
        if not any(gist.is_like(other) for other in seen):
            seen.append(gist)
            kept.append(draft)
    return kept[:AT_MOST]


def _draft(task: SuggestedTask, now: datetime, holidays: Collection[str]) -> Draft | None:
    title, reasoning = plain(task.title, _TITLE), plain(task.reasoning, _REASON)
    if not normalised(title) or not normalised(reasoning):
        return None
    priority = _PRIORITIES.get((task.priority or "").strip().casefold(), TaskPriority.NORMAL)
    return Draft(
        title,
        reasoning,
        plain(task.description or "", _DESCRIPTION) or None,
        priority,
        _due(task.due_date, now, holidays) or due_in(now, _USUALLY_DUE_IN[priority], holidays),
        getattr(task, "rule", None),
    )


def _due(text: str | None, now: datetime, holidays: Collection[str]) -> datetime | None:
    """The date in a text, moved to a working day; None unless it is after now and within a year."""
    try:
        day = datetime.fromisoformat((text or "").strip()[:10]).date()
    except ValueError:
        return None
    due = datetime.combine(day, _AFTERNOON)
    return on_workday(due, holidays) if now < due < now + _FURTHEST else None
