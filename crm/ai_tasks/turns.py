"""Fair turns: while other users wait, no user holds more than half of a worker's slots."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from crm.ai_tasks.lease import TaskLease
from crm.db.statement import Statement, encode
from crm.jobs import WorkerContext

ClaimTask = Callable[[UUID], Awaitable[TaskLease | None]]

# How long the queue is not searched again after no other user's task was found waiting: the search reads all of it.
_ALONE_SECONDS: Final = 0.5
_NOBODY: Final = ""  # the owner of tasks whose user was deleted

# The task of this job ($1) changes places with the first waiting task of a user who holds less: this job, which runs,
# becomes the other task's, and this task waits with the other's job. Rows are locked in the order that cancelling uses.
# The task of each job is looked up by its key (OFFSET 0), whatever PostgreSQL believes of their number: a join of all
# jobs with all other tasks took 30 s. Of the first twenty some may be locked.
_SWAP: Final = Statement(
    """
    WITH mine AS (
      SELECT task.id, task.job_id, job.priority FROM ai_tasks AS task
      JOIN procrastinate_jobs AS job ON job.id = task.job_id
      WHERE task.id = $1::uuid AND task.status IN ('queued', 'retrying')
        AND coalesce(task.created_by::text, '') = ANY($2::text[])
      FOR UPDATE OF task
    ), waiting AS (
      SELECT task.id FROM procrastinate_jobs AS job
      CROSS JOIN LATERAL (
        SELECT id FROM ai_tasks
        WHERE id = (job.args->>'task')::uuid AND job_id = job.id AND status IN ('queued', 'retrying')
          AND due_at <= clock_timestamp() AND coalesce(created_by::text, '') <> ALL($2::text[])
        OFFSET 0
      ) AS task
      WHERE EXISTS (SELECT FROM mine) AND job.queue_name = 'ai' AND job.status = 'todo'
        AND (job.scheduled_at IS NULL OR job.scheduled_at <= now())
      ORDER BY job.priority DESC, job.id LIMIT 20
    ), other AS (
      SELECT task.id, task.job_id, job.priority FROM ai_tasks AS task
      JOIN procrastinate_jobs AS job ON job.id = task.job_id
      WHERE task.id = ANY(ARRAY(SELECT id FROM waiting))
        AND task.status IN ('queued', 'retrying') AND job.status = 'todo'
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
    """Counts the slots that each user holds of one worker."""

    def __init__(self, slots: int) -> None:
        self._share = max(1, slots // 2)
        self._counts: Counter[str] = Counter()
        self._alone_until = 0.0
        # One claim at a time: each depends on whose task the last one was.
        self._claiming = asyncio.Lock()

    async def take(self, context: WorkerContext, task_id: UUID, claim: ClaimTask) -> TaskLease | None:
        """Claim this task, or another user's that goes first; None if it was cancelled or another worker has it."""
        async with self._claiming:
            lease = await claim(await self._first(context, task_id))
            if lease is not None:
                self._counts[_user(lease)] += 1
            return lease

    def free(self, lease: TaskLease) -> None:
        """Free the slot of a task that has ended."""
        self._counts[_user(lease)] -= 1

    async def _first(self, context: WorkerContext, task_id: UUID) -> UUID:
        clock = asyncio.get_running_loop().time
        holders = [user for user, count in self._counts.items() if count >= self._share]
        if not holders or clock() < self._alone_until:
            return task_id
        is_holders, other = await _swap(context, task_id, holders)
        if is_holders and other is None:
            self._alone_until = clock() + _ALONE_SECONDS
        return other or task_id


async def _swap(context: WorkerContext, task_id: UUID, holders: Sequence[str]) -> tuple[bool, UUID | None]:
    """Whether a task belongs to one of these users; and the id of another user's task that goes first."""
    result = await context.database.write(_SWAP, [encode(task_id), encode(list(holders))])
    if not result.ntuples:
        return False, None
    other = result.get_value(0, 0)
    return True, UUID(other.decode()) if other else None


def _user(lease: TaskLease) -> str:
    return str(lease.viewer.id) if lease.viewer.id else _NOBODY
