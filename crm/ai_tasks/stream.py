"""Changed AI tasks, in the order of the event stream."""

from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, func, literal_column, select, type_coerce
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.types import Uuid

from crm.ai_tasks.model import AiTask
from crm.db.events import Event
from crm.db.stream_position import between


def updates(after_xid: Any, after_id: Any, until_xid: Any, key: Any = None, lead_id: Any = None) -> Select[Any]:
    """Each task with an event between two positions in the stream: once, at its latest event there, as it is now.

    Subscribers follow states, not their history: a task that changed five times since the last read is shown once.
    """
    where: list[ColumnElement[bool]] = [
        between(after_xid, after_id, until_xid),
        Event.entity == literal_column("'ai_task'"),
    ]
    if key is not None:
        where.append(Event.entity_id == func.lower(type_coerce(key, Text)))
    if lead_id is not None:
        where.append(Event.lead_id == lead_id)
    latest = (
        select(Event.entity_id.label("key"), Event.xid.label("stream_xid"), Event.id.label("stream_id"))
        .where(*where)
        .order_by(Event.entity_id, Event.xid.desc(), Event.id.desc())
        .ext(distinct_on(Event.entity_id))
        .subquery("latest")
    )
    return (
        select(AiTask, latest.c.stream_xid, latest.c.stream_id)
        .select_from(AiTask.__table__.join(latest, AiTask.id == cast(latest.c.key, Uuid())))
        .order_by(latest.c.stream_xid, latest.c.stream_id)
    )
