"""Writes the events of demo leads, as if they had been made over months: what a timeline and a feed are made of.

They are made of the rows that were loaded, in one statement, in the order in which they happened. `via` is `demo`: who
follows the stream is not told.
"""

# ruff: noqa: S608  (put together from constants)

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import psycopg

from crm.core.api_json import camel
from crm.core.identity import Via
from crm.core.model import Model
from crm.db.change_sql import logged_value
from crm.demo.cases import Case
from crm.demo.worktime import WorkTime
from crm.sales.interactions.model import Interaction
from crm.sales.leads.model import Lead, LeadStatus
from crm.sales.tasks.model import Task

# A larger load writes none: 10,000 leads have 130,000.
MOST_LEADS: Final = 10_000

_PATH: Final = (LeadStatus.CONTACTED, LeadStatus.QUALIFIED, LeadStatus.PROPOSAL)


class Step(NamedTuple):
    """A change of a lead's status."""

    lead_id: int
    version: int
    before: str
    after: str
    at: str
    by: str


def steps_of(case: Case, time: WorkTime) -> list[Step]:
    """The changes of a lead's status, each with one of its contacts, the last with the last."""
    status = case.stage.status
    if status is LeadStatus.NEW:
        return []
    way = _PATH[: _PATH.index(status)] if status in _PATH else _PATH
    contacts = [occasion.at for occasion in case.occasions] or [case.created]
    passed = [*way[: len(contacts) - 1], status]
    steps, before = [], LeadStatus.NEW
    for number, after in enumerate(passed, 1):
        at = time.stamp(contacts[-(-number * len(contacts) // len(passed)) - 1])
        steps.append(Step(case.id, number + 1, before.name, after.name, at, case.seller.id))
        before = after
    return steps


def write(connection: psycopg.Connection[Any], lead_ids: Sequence[int], steps: Sequence[Step]) -> int:
    """Write the events of these leads, their interactions and their tasks; returns how many there are."""
    columns = [list(column) for column in zip(*steps, strict=True)] or [[] for _ in Step._fields]
    return psycopg.RawCursor(connection).execute(_WRITE.encode(), (list(lead_ids), *columns)).rowcount


def _created(model: type[Model], names: Sequence[str], first: str = "") -> str:
    """SQL of the fields of a new record; `first` is SQL of fields whose first value is not the present one."""
    table = model.__table__
    values = (_changed(name, "NULL", logged_value(table, name, table.name)) for name in names)
    return f"jsonb_build_array({', '.join([first] * bool(first) + list(values))})"


def _changed(name: str, before: str, after: str) -> str:
    return f"jsonb_build_object('name', '{camel(name)}', 'before', {before}, 'after', {after})"


def _becomes(name: str, before: str = "NULL") -> str:
    """A field of a task that was changed once."""
    return _changed(name, before, logged_value(Task.__table__, name, "tasks"))


_LEAD: Final = ("first_name", "last_name", "email", "phone", "company", "job_title", "source", "budget", "currency")
_LEAD_MORE: Final = ("location", "tags", "owner_id")
_INTERACTION: Final = ("lead_id", "type", "subject", "notes", "occurred_at", "duration_minutes", "created_by")
_TASK: Final = ("lead_id", "title", "description", "due_date", "priority", "ai_reasoning", "generated_by", "rule")
_FIRST_SOURCE: Final = "CASE WHEN generated_by IS NULL THEN 'MANUAL' ELSE 'AI_SUGGESTED' END"

_WRITE: Final = f"""
WITH happened AS (
  SELECT created_at AS at, 1 AS place, 'lead.created' AS type, 'lead' AS entity, id::text AS entity_id, id AS lead_id,
    owner_id AS actor_id, 1 AS version,
    {_created(Lead, (*_LEAD, *_LEAD_MORE), _changed("status", "NULL", "'NEW'"))} AS fields
  FROM leads WHERE id = ANY($1::integer[])
  UNION ALL
  SELECT at, 3, 'lead.updated', 'lead', lead_id::text, lead_id, by, version,
    jsonb_build_array({_changed("status", "before", "after")})
  FROM unnest($2::integer[], $3::integer[], $4::text[], $5::text[], $6::timestamptz[], $7::uuid[])
    AS step (lead_id, version, before, after, at, by)
  UNION ALL
  SELECT deleted_at, 5, 'lead.deleted', 'lead', id::text, id, owner_id, version,
    jsonb_build_array({_changed("deleted_at", "NULL", logged_value(Lead.__table__, "deleted_at", "leads"))})
  FROM leads WHERE id = ANY($1::integer[]) AND deleted_at IS NOT NULL
  UNION ALL
  SELECT created_at, 2, 'interaction.created', 'interaction', id::text, lead_id, created_by, 1,
    {_created(Interaction, _INTERACTION)}
  FROM interactions WHERE lead_id = ANY($1::integer[])
  UNION ALL
  SELECT created_at, 2, 'task.created', 'task', id::text, lead_id,
    CASE WHEN generated_by IS NULL THEN assignee_id END, 1,
    {_created(Task, (*_TASK, "assignee_id"), _changed("source", "NULL", _FIRST_SOURCE))}
  FROM tasks WHERE lead_id = ANY($1::integer[])
  UNION ALL
  SELECT updated_at, 4, 'task.updated', 'task', id::text, lead_id, assignee_id, version,
    CASE WHEN decided_at IS NULL THEN '[]' ELSE jsonb_build_array({_becomes("source", "'AI_SUGGESTED'")},
      {_becomes("dismissed_reason")}, {_becomes("decided_at")}, {_becomes("decided_by_id")}) END
    || CASE WHEN completed THEN jsonb_build_array({_becomes("completed", "false")}, {_becomes("completed_at")})
      ELSE '[]' END
  FROM tasks WHERE lead_id = ANY($1::integer[]) AND version > 1
)
INSERT INTO events (occurred_at, type, entity, entity_id, lead_id, actor_id, version, via, fields)
SELECT at, type, entity, entity_id, lead_id, actor_id, version, '{Via.DEMO}', fields FROM happened
ORDER BY at, place, entity_id
"""
