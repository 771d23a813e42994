"""The job queue for services: enqueue, cancel and prioritise within the caller's own transaction.

procrastinate's SQL functions are its contract with other languages: calling them needs none of its Python, so a web
process does not import it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from crm.db.statement import Statement, encode
from crm.db.unit_of_work import UnitOfWork

DEFAULT_QUEUE: Final = "default"

_DEFER: Final = Statement(
    """
    SELECT unnest(procrastinate_defer_jobs_v1(ARRAY(
      SELECT ROW(
        job->>'queue', job->>'name', (job->>'priority')::integer, job->>'lock', NULL, job->'arguments',
        (job->>'at')::timestamptz
      )::procrastinate_job_to_defer_v1
      FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS given (job, place)
      ORDER BY place
    ))) AS id
    """
)
# Deletes a job that has not begun; asks a running one to stop, by NOTIFY.
_CANCEL: Final = Statement(
    "SELECT procrastinate_cancel_job_v1(id, abort => true, delete_job => true) FROM unnest($1::bigint[]) AS id"
)
_PRIORITISE: Final = Statement(
    "UPDATE procrastinate_jobs SET priority = $2::integer WHERE id = ANY($1::bigint[]) AND status = 'todo'"
)
_FORGET: Final = Statement("DELETE FROM procrastinate_jobs WHERE id = ANY($1::bigint[])")
_DEPTH: Final = Statement(
    "SELECT count(*)::integer AS depth FROM procrastinate_jobs WHERE queue_name = $1::text AND status = 'todo'"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job: the name of its handler, and the arguments for it."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    queue: str = DEFAULT_QUEUE
    priority: int = 0  # higher is sooner
    at: datetime | None = None  # not before
    lock: str | None = None  # of the jobs with one lock, one runs at a time


async def enqueue(unit: UnitOfWork, *jobs: Job) -> list[int]:
    """Put jobs into the queue if this transaction commits; returns their ids, in order."""
    payload = [
        {
            "name": job.name,
            "arguments": job.arguments,
            "queue": job.queue,
            "priority": job.priority,
            "at": job.at,
            "lock": job.lock,
        }
        for job in jobs
    ]
    rows = await unit.execute(_DEFER, [orjson.dumps(payload, default=str)])
    return [row["id"] for row in rows]


async def cancel(unit: UnitOfWork, ids: Sequence[int]) -> None:
    """Take jobs out of the queue, and ask running ones to stop, once this transaction commits."""
    await unit.execute(_CANCEL, [encode(list(ids))])


async def forget(unit: UnitOfWork, ids: Sequence[int]) -> None:
    """Remove jobs whose worker is dead; if it was only frozen, its later end of them has no effect."""
    await unit.execute(_FORGET, [encode(list(ids))])


async def prioritise(unit: UnitOfWork, ids: Sequence[int], priority: int) -> None:
    """Change the priority of jobs that have not begun."""
    await unit.execute(_PRIORITISE, [encode(list(ids)), encode(priority)])


async def depth(unit: UnitOfWork, queue: str = DEFAULT_QUEUE) -> int:
    """How many jobs wait, scheduled ones included."""
    rows = await unit.execute(_DEPTH, [encode(queue)])
    return int(rows[0]["depth"])
