"""Aging: a task that has waited for nine tenths of the limit goes before all others, so that none waits for ever.

Of a backlog of old tasks, each worker puts one ahead for every three others, so that urgent tasks still come early.
"""

from typing import Final

from crm.ai_tasks.service import AGED
from crm.db.statement import Statement, encode
from crm.db.unit_of_work import UnitOfWork
from crm.jobs import WorkerContext, prioritise

_SHARE: Final = 0.9
_OTHERS: Final = 3
_AGE: Final = Statement(
    """
    WITH ahead AS (
      SELECT count(*) AS number FROM ai_tasks WHERE aged AND status IN ('queued', 'retrying')
    ), old AS (
      SELECT id FROM ai_tasks
      WHERE status IN ('queued', 'retrying') AND NOT aged AND due_at < now() - make_interval(secs => $1::float)
      ORDER BY due_at LIMIT greatest($2::integer - (SELECT number FROM ahead), 0) FOR UPDATE SKIP LOCKED
    )
    UPDATE ai_tasks SET aged = true WHERE id = ANY(ARRAY(SELECT id FROM old)) AND job_id IS NOT NULL RETURNING job_id
    """
)


class Fairness:
    """Counts how many old tasks one worker may put ahead."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._others = _OTHERS

    def started(self, *, aged: bool) -> None:
        """Count a task that has begun."""
        self._others = max(0, self._others - _OTHERS) if aged else min(self._others + 1, _OTHERS * self._most)

    async def promote(self, context: WorkerContext) -> None:
        """Move the tasks that have waited longest to the front, as many as the count allows."""
        turns = self._others // _OTHERS
        if not turns:
            return

        async def age(unit: UnitOfWork) -> None:
            params = [encode(context.settings.ai_task_aging_seconds * _SHARE), encode(turns)]
            rows = await unit.execute(_AGE, params)
            if rows:
                await prioritise(unit, [row["job_id"] for row in rows], AGED)
            unit.wrote = False  # it writes no event, so it need not wake readers of the stream

        await context.writer().run(age)
