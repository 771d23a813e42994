"""What happened with a lead: contacts, tasks done, changes of its status, suggestions and summaries.

They lie in three tables. Each part of the list is read from an index of its own, as far as a page needs it.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, Text, Uuid, and_, case, cast, func, null, or_, select
from sqlalchemy import literal_column as sql
from sqlalchemy.dialects.postgresql import JSONB

from crm.core.choice import Choice
from crm.core.model import Model
from crm.db.events import Event
from crm.db.merged import Merged, MergedPart
from crm.db.query import Operand
from crm.sales.interactions.model import Interaction, InteractionType
from crm.sales.leads.model import LeadStatus
from crm.sales.tasks.model import Task, TaskStatus


class ActivityKind(Choice):
    """What happened with a lead."""

    CALL = "call", "A phone or video call."
    EMAIL = "email", "An e-mail."
    MEETING = "meeting", "A meeting."
    MESSAGE = "message", "A text or chat message."
    NOTE = "note", "Something to remember; nobody was contacted."
    TASK_DONE = "task_done", "A task was done."
    STATUS_CHANGED = "status_changed", "The lead came further in the sales process, or was won or lost."
    SUGGESTION = "suggestion", "A task was suggested."
    SUMMARY = "summary", "The lead's summary was written anew."


_CONTACTS: Final = {ActivityKind(kind.value): kind for kind in InteractionType}
_NONE: Final[Any] = null()
_CHANGES_STATUS: Final[Any] = Event.fields.op("@>")(sql("""'[{"name": "status"}]'::jsonb"""))
_CHANGES_SUMMARY: Final[Any] = Event.fields.op("@>")(sql("""'[{"name": "summary"}]'::jsonb"""))


class ActivityService:
    """Reads of activities; nothing writes them."""

    @staticmethod
    def of_lead(lead_id: Operand, kinds: Sequence[ActivityKind] = ()) -> Merged:
        """What happened with a lead, the latest first."""
        wanted = dict.fromkeys(kinds or ActivityKind)
        contacts = [_CONTACTS[kind] for kind in wanted if kind in _CONTACTS]
        parts = []
        if contacts:
            parts.append(_interactions(lead_id, contacts))
        if ActivityKind.TASK_DONE in wanted:
            parts.append(_done(lead_id))
        if ActivityKind.SUGGESTION in wanted:
            parts.append(_suggestions(lead_id))
        if ActivityKind.STATUS_CHANGED in wanted or ActivityKind.SUMMARY in wanted:
            parts.append(_changes(lead_id, wanted))
        return Merged([MergedPart(part, rank) for rank, part in enumerate(parts)])


def _interactions(lead_id: Operand, kinds: Sequence[InteractionType]) -> Select[Any]:
    statement = _activities(
        Interaction,
        Interaction.occurred_at,
        kind=Interaction.type,
        title=Interaction.subject,
        text=Interaction.notes,
        user_id=Interaction.created_by,
        duration_minutes=Interaction.duration_minutes,
        interaction_id=Interaction.id,
    ).where(Interaction.lead_id == lead_id)
    return statement if len(kinds) == len(InteractionType) else statement.where(Interaction.type.in_(kinds))


def _done(lead_id: Operand) -> Select[Any]:
    statement = _activities(
        Task,
        Task.completed_at,
        kind=_text(ActivityKind.TASK_DONE),
        title=Task.title,
        text=Task.description,
        user_id=Task.assignee_id,
        task_id=Task.id,
    )
    done = Task.status.among(Task, [TaskStatus.DONE])
    return statement.where(Task.lead_id == lead_id, done, Task.completed_at.is_not(None))


def _suggestions(lead_id: Operand) -> Select[Any]:
    return _activities(
        Task,
        Task.created_at,
        kind=_text(ActivityKind.SUGGESTION),
        title=Task.title,
        text=Task.ai_reasoning,
        user_id=Task.decided_by_id,
        task_id=Task.id,
    ).where(Task.lead_id == lead_id, Task.generated_by.is_not(None))


def _changes(lead_id: Operand, kinds: Sequence[ActivityKind] | dict[ActivityKind, None]) -> Select[Any]:
    """Changes of the status and the summary, by the index that holds nothing else."""
    status, summary = _text(ActivityKind.STATUS_CHANGED), _text(ActivityKind.SUMMARY)
    statement = _activities(
        Event,
        Event.occurred_at,
        kind=case((_CHANGES_STATUS, status), else_=summary),
        text=case((_CHANGES_STATUS, _NONE), else_=_field("summary", "after")),
        user_id=Event.actor_id,
        status_before=_status("before"),
        status_after=_status("after"),
    ).where(Event.lead_id == lead_id, Event.type == sql("'lead.updated'"), or_(_CHANGES_STATUS, _CHANGES_SUMMARY))
    if ActivityKind.SUMMARY not in kinds:
        return statement.where(_CHANGES_STATUS)
    return statement if ActivityKind.STATUS_CHANGED in kinds else statement.where(~_CHANGES_STATUS)


_COLUMNS: Final[dict[str, Any]] = {
    "kind": Text(),
    "title": Text(),
    "text": Text(),
    "user_id": Uuid(),
    "duration_minutes": Integer(),
    "interaction_id": Integer(),
    "task_id": Integer(),
    "status_before": Text(),
    "status_after": Text(),
}


def _activities(model: type[Model], moment: Any, **columns: Any) -> Select[Any]:
    """Rows of a table as activities; columns that are not named have no value."""
    key = model.__table__.c.id
    values = [cast(columns.get(name, _NONE), kind).label(name) for name, kind in _COLUMNS.items()]
    return select(moment.label("occurred_at"), key.label("id"), *values)


def _status(side: str) -> ColumnElement[Any]:
    """The status before or after a change; null if another program wrote what is none."""
    value = func.upper(_field("status", side))
    known = and_(_CHANGES_STATUS, value.in_([sql(f"'{status.name}'") for status in LeadStatus]))
    return case((known, value))


def _field(name: str, side: str) -> ColumnElement[Any]:
    """One side of a field of a change."""
    path: ColumnElement[Any] = sql(f"""'$[*] ? (@.name == "{name}").{side}'::jsonpath""")
    return func.jsonb_path_query_first(Event.fields, path, type_=JSONB()).op("#>>")(sql("'{}'::text[]"))


def _text(kind: ActivityKind) -> ColumnElement[str]:
    return sql(f"'{kind.value}'", Text)
