"""The facts about a lead that texts are written from, gathered in one statement.

The same facts go to the playbook and, as data, to a language model. E-mail addresses and phone numbers are left out:
writers need to know that a lead can be called, not the number.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Select, and_, func, literal_column, select

from crm.access.users.model import User
from crm.db.events import Event
from crm.db.missing import missing
from crm.db.unit_of_work import UnitOfWork
from crm.sales.interactions.model import Interaction, InteractionType
from crm.sales.leads.language import Language, language_of
from crm.sales.leads.model import Lead, LeadStatus
from crm.sales.tasks.model import Task, TaskPriority, TaskSource, TaskStatus

DISMISSED_DAYS: Final = 30
_CONTACTS: Final = 12
_TASKS: Final = 30
_DONE: Final = 5
_NOTES: Final = 1500


class Contact(BaseModel):
    """One interaction."""

    model_config = ConfigDict(frozen=True)

    type: InteractionType
    subject: str | None
    notes: str | None
    at: datetime
    minutes: int | None


class ToDo(BaseModel):
    """One task: `at` is when it was created, dismissed or completed."""

    model_config = ConfigDict(frozen=True)

    title: str
    due: datetime | None = None
    priority: TaskPriority = TaskPriority.NORMAL
    suggested: bool = False
    reason: str | None = None
    at: datetime


class LeadFacts(BaseModel):
    """The facts about a lead at one moment."""

    model_config = ConfigDict(frozen=True)

    now: datetime
    first_name: str
    last_name: str
    company: str | None
    job_title: str | None
    status: LeadStatus
    status_since: datetime | None
    source: str | None
    budget: Decimal | None
    currency: str | None
    location: str | None
    tags: list[str]
    owner: str | None
    has_phone: bool
    has_email: bool
    created_at: datetime
    score: int | None
    contact_count: int
    meeting_count: int
    recent_contact_count: int
    contacts: list[Contact]
    open_tasks: list[ToDo]
    dismissed_tasks: list[ToDo]
    done_tasks: list[ToDo]
    language: Language

    @property
    def touches(self) -> list[Contact]:
        """Contacts with the lead itself, newest first; without notes and future interactions."""
        return [
            contact for contact in self.contacts if contact.type is not InteractionType.NOTE and contact.at <= self.now
        ]

    @property
    def last_touch(self) -> Contact | None:
        """The last contact with the lead itself."""
        return next(iter(self.touches), None)

    @property
    def planned(self) -> Contact | None:
        """The next future interaction."""
        future = (contact for contact in self.contacts if contact.at > self.now)
        return min(future, key=lambda contact: contact.at, default=None)

    @property
    def quiet_days(self) -> int:
        """Whole days since the last contact; if there is none, since the lead was created."""
        last = self.last_touch
        return max(0, (self.now - (last.at if last else self.created_at)) // timedelta(days=1))

    def as_data(self) -> dict[str, Any]:
        """As JSON data, for a model."""
        return self.model_dump(mode="json", exclude={"language"})

    def fingerprint(self) -> str:
        """A hash of the facts that stays the same until one changes; the time and open suggestions do not count."""
        facts = self.model_dump(mode="json", exclude={"now", "score", "recent_contact_count", "dismissed_tasks"})
        facts["open_tasks"] = [task for task in facts["open_tasks"] if not task["suggested"]]
        return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def facts_statement(lead_id: int) -> Select[Any]:
    """The statement for all facts about a living lead, as one row."""
    columns: list[ColumnElement[Any]] = [
        func.now().label("now"),
        *(Lead.__table__.c[name] for name in _COLUMNS),
        Lead.activity_score.label("score"),
        _owner().label("owner"),
        _status_since().label("status_since"),
        _count(_is_touch()).label("contact_count"),
        _count(and_(_is_touch(), Interaction.type == InteractionType.MEETING)).label("meeting_count"),
        _count(and_(_is_touch(), Interaction.occurred_at > func.now() - _interval("14 days"))).label(
            "recent_contact_count"
        ),
        _contacts().label("contacts"),
        _tasks(_is_open(), Task.created_at, _TASKS).label("open_tasks"),
        _tasks(dismissed_of_late(), _dismissed_at(), _TASKS).label("dismissed_tasks"),
        _tasks(Task.completed.is_(True), Task.completed_at, _DONE).label("done_tasks"),
    ]
    return select(*columns).where(Lead.id == lead_id)


async def known_facts(unit: UnitOfWork, lead_id: int) -> LeadFacts:
    """The facts about a living lead."""
    rows = await unit.rows(facts_statement(lead_id))
    if not rows:
        raise missing(Lead, lead_id)
    return facts_from(rows[0])


def facts_from(row: Mapping[str, Any]) -> LeadFacts:
    """The facts in a row."""
    texts = [text for contact in row["contacts"] for text in (contact["subject"], contact["notes"]) if text]
    return LeadFacts(
        **row,
        has_phone=row["phone"] is not None,
        has_email=row["email"] is not None,
        language=language_of(row, texts),
    )


_COLUMNS: Final = (
    "first_name",
    "last_name",
    "company",
    "job_title",
    "status",
    "source",
    "budget",
    "currency",
    "location",
    "tags",
    "phone",
    "email",
    "created_at",
)


def _interval(length: str) -> ColumnElement[timedelta]:
    return literal_column(f"interval '{length}'")


def _is_touch() -> ColumnElement[bool]:
    return and_(Interaction.type != InteractionType.NOTE, Interaction.occurred_at <= func.now())


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return (
        select(func.count())
        .select_from(Interaction)
        .where(Interaction.lead_id == Lead.id, condition)
        .correlate(Lead)
        .scalar_subquery()
    )


def _owner() -> ColumnElement[str]:
    return select(User.name).where(User.id == Lead.owner_id).correlate(Lead).scalar_subquery()


def _status_since() -> ColumnElement[datetime]:
    """When the status last changed, as far as the events tell."""
    changed = Event.fields.contains(literal_column("""'[{"name": "status"}]'::jsonb"""))
    return (
        select(func.max(Event.occurred_at))
        .where(Event.lead_id == Lead.id, Event.type == "lead.updated", changed)
        .correlate(Lead)
        .scalar_subquery()
    )


def _listed(rows: Select[Any], name: str) -> ColumnElement[Any]:
    """Rows as a JSON array."""
    subquery = rows.subquery(name)
    return (
        select(func.coalesce(func.json_agg(func.row_to_json(literal_column(name))), literal_column("'[]'::json")))
        .select_from(subquery)
        .scalar_subquery()
    )


def _contacts() -> ColumnElement[Any]:
    rows = (
        select(
            Interaction.type,
            Interaction.subject,
            func.left(Interaction.notes, literal_column(str(_NOTES))).label("notes"),
            Interaction.occurred_at.label("at"),
            Interaction.duration_minutes.label("minutes"),
        )
        .where(Interaction.lead_id == Lead.id)
        .order_by(Interaction.occurred_at.desc(), Interaction.id.desc())
        .limit(literal_column(str(_CONTACTS)))
        .correlate(Lead)
    )
    return _listed(rows, "contact")


def _is_open() -> ColumnElement[bool]:
    return Task.status.among(Task, [TaskStatus.OPEN, TaskStatus.SUGGESTED])


def dismissed_of_late() -> ColumnElement[bool]:
    """Whether a task was dismissed within the days in which it is not suggested again."""
    return and_(Task.source == TaskSource.DISMISSED, _dismissed_at() > func.now() - _interval(f"{DISMISSED_DAYS} days"))


def _dismissed_at() -> ColumnElement[datetime]:
    return func.coalesce(Task.decided_at, Task.updated_at)


def _tasks(condition: ColumnElement[bool], at: Any, most: int) -> ColumnElement[Any]:
    """A lead's tasks that meet a condition, latest first by the column `at`."""
    rows = (
        select(
            Task.title,
            Task.due_date.label("due"),
            Task.priority,
            (Task.source == TaskSource.AI_SUGGESTED).label("suggested"),
            Task.dismissed_reason.label("reason"),
            func.coalesce(at, Task.updated_at).label("at"),
        )
        .where(Task.lead_id == Lead.id, condition)
        .order_by(func.coalesce(at, Task.updated_at).desc(), Task.id.desc())
        .limit(literal_column(str(most)))
        .correlate(Lead)
    )
    return _listed(rows, "task")
