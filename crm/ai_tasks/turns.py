"""Whose turn it is: while others wait, no user holds more than half of a worker's slots."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from crm.ai_tasks.lease import TaskLease
from crm.db.connection import Statement, encode
from crm.jobs import WorkerContext

Claim = Callable[[UUID], Awaitable[TaskLease | None]]

# So long nobody is looked for again after nobody else was found to wait: the look reads the queue.
_ALONE_SECONDS: Final = 0.5
_NOBODY: Final = ""  # whose the tasks of a user are who is gone

# The task in hand ($1) changes places with the first one in line of a user who holds less: its job, which is under way,
# becomes the other's, and it waits by the other's job. Locks in the order in which who cancels takes them.
_GIVE_WAY: Final = Statement(
    """
    WITH mine AS (
      SELECT task.id, task.job_id, job.priority FROM ai_tasks AS task
      JOIN procrastinate_jobs AS job ON job.id = task.job_id
      WHERE task.id = $1::uuid AND task.status IN ('queued', 'retrying')
        AND coalesce(task.created_by::text, '') = ANY($2::text[])
      FOR UPDATE OF task
    ), other AS (
      SELECT task.id, task.job_id, job.priority FROM ai_tasks AS task
      JOIN procrastinate_jobs AS job ON job.id = task.job_id
      WHERE EXISTS (SELECT FROM mine) AND task.status IN ('queued', 'retrying') AND task.due_at <= clock_timestamp()
        AND coalesce(task.created_by::text, '') <> ALL($2::text[])
        AND job.status = 'todo' AND (job.scheduled_at IS NULL OR job.scheduled_at <= now())
      ORDER BY job.priority DESC, job.id LIMIT 1 FOR UPDATE OF task, job SKIP LOCKED
    ), tasks AS (
      UPDATE ai_tasks AS task SET job_id = CASE task.id WHEN mine.id THEN other.job_id ELSE mine.job_id END
      FROM mine, other WHERE task.id IN (mine.id, other.id)
    ), jobs AS (
      UPDATE procrastinate_jobs AS job SET
        args = jsonb_build_object('task', CASE job.id WHEN mine.job_id THEN other.id ELSE mine.id END),
        priority = CASE job.id WHEN mine.job_id THEN other.priority ELSE mine.priority END
      FROM mine, other WHERE job.id IN (mine.job_id, other.job_id)
    )
    SELECT other.id::text FROM mine LEFT JOIN other ON true
    """
)


class FairTurns:
    """The slots of one worker, and who holds them."""

    def __init__(self, slots: int) -> None:
        self._share = max(1, slots // 2)
        self._held: Counter[str] = Counter()
        self._alone_until = 0.0
        # One claim at a time: before the next, it is known whose task the last one was.
        self._claiming = asyncio.Lock()

    async def take(self, context: WorkerContext, task_id: UUID, claim: Claim) -> TaskLease | None:
        """Claim this task, or another's that has to go first; None if somebody else took it, or it was cancelled."""
        async with self._claiming:
            lease = await claim(await self._first(context, task_id))
            if lease is not None:
                self._held[_user(lease)] += 1
            return lease

    def free(self, lease: TaskLease) -> None:
        """Its slot is free again."""
        self._held[_user(lease)] -= 1

    async def _first(self, context: WorkerContext, task_id: UUID) -> UUID:
        clock = asyncio.get_running_loop().time
        holders = [user for user, count in self._held.items() if count >= self._share]
        if not holders or clock() < self._alone_until:
            return task_id
        is_holders, other = await _give_way(context, task_id, holders)
        if is_holders and other is None:
            self._alone_until = clock() + _ALONE_SECONDS
        return other or task_id


async def _give_way(context: WorkerContext, task_id: UUID, holders: Sequence[str]) -> tuple[bool, UUID | None]:
    """Whether a task is one of these users', and the task of somebody else's that goes first."""
    result = await context.database.write(_GIVE_WAY, [encode(task_id), encode(list(holders))])
    if not result.ntuples:
        return False, None
    other = result.get_value(0, 0)
    return True, UUID(other.decode()) if other else None


def _user(lease: TaskLease) -> str:
    return str(lease.viewer.id) if lease.viewer.id else _NOBODY
