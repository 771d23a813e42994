"""Removes finished AI tasks after some days, batch by batch; their daily totals stay."""

import asyncio
from dataclasses import dataclass
from typing import Final

from crm.core import validate
from crm.db.service import Service
from crm.db.statement import Statement, encode
from crm.db.workflow import WorkflowService, Write, write_of
from crm.jobs import WorkerContext

BATCH: Final = 500
_BREATH_SECONDS: Final = 0.05
_LEAST_SECONDS: Final = 1.0
_MOST_DAYS: Final = 3650

# The totals are added in the statement that removes the tasks: to the cent, and once.
_CLEAN: Final = Statement(
    """
    WITH old AS (
      SELECT id FROM ai_tasks WHERE finished_at < now() - make_interval(days => $1::integer)
      ORDER BY finished_at LIMIT $2::integer FOR UPDATE SKIP LOCKED
    ), gone AS (
      DELETE FROM ai_tasks USING old WHERE ai_tasks.id = old.id RETURNING ai_tasks.*
    ), rolled AS (
      INSERT INTO ai_task_days AS total (day, task_type, status, tasks, attempts, tokens, cost_usd, unpriced, waited,
        wait_ms, ran, run_ms, rated, quality)
      SELECT (finished_at AT TIME ZONE 'UTC')::date, task_type, status, count(*), sum(attempt), sum(tokens),
        sum(cost_usd), count(*) FILTER (WHERE cost_source = 'unknown'),
        count(begun), coalesce(sum(round(extract(epoch FROM begun - due_at) * 1000)), 0),
        count(started_at), coalesce(sum(round(extract(epoch FROM stopped_at - started_at) * 1000)), 0),
        count(quality_score), coalesce(sum(quality_score), 0)
      FROM gone, LATERAL (  -- as `columns.wait_ms` has it
        SELECT CASE WHEN started_at >= due_at THEN started_at WHEN finished_at >= due_at THEN finished_at END AS begun
      ) AS queue
      GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
      ON CONFLICT (day, task_type, status) DO UPDATE SET
        tasks = total.tasks + excluded.tasks, attempts = total.attempts + excluded.attempts,
        tokens = total.tokens + excluded.tokens, cost_usd = total.cost_usd + excluded.cost_usd,
        unpriced = total.unpriced + excluded.unpriced,
        waited = total.waited + excluded.waited, wait_ms = total.wait_ms + excluded.wait_ms,
        ran = total.ran + excluded.ran, run_ms = total.run_ms + excluded.run_ms, rated = total.rated + excluded.rated,
        quality = total.quality + excluded.quality
    ), logged AS (
      INSERT INTO events (type, entity, entity_id, actor_id, via, fields)
      SELECT 'ai_tasks.cleaned', 'ai_tasks', '', $3::uuid,
        CASE WHEN $3::uuid IS NULL THEN 'program' ELSE 'api' END, jsonb_build_array(
          jsonb_build_object('name', 'tasks', 'before', count(*), 'after', 0)
        ) FROM gone HAVING count(*) > 0
    )
    SELECT count(*)::integer AS tasks FROM gone
    """
)


@dataclass
class CleanupResult:
    """What a clean-up did."""

    count: int
    more: bool


class AiTaskCleaner(Service):
    """Removes finished tasks."""

    async def batch(self, days: int) -> int:
        """Remove a batch of tasks that ended so many days ago; returns how many."""
        user = encode(self.viewer.id)
        rows = await self.unit_of_work.execute(_CLEAN, [encode(days), encode(BATCH), user])
        return int(rows[0]["tasks"])

    async def told(self, result: CleanupResult) -> CleanupResult:
        """Return the result: the write that ends the workflow."""
        return result


class AiTaskMaintenance(WorkflowService):
    """Maintenance that an admin may start by hand."""

    async def clean(self, days: int) -> Write[CleanupResult]:
        """Remove tasks that ended so many days ago, batch by batch, as long as there is time."""
        validate.between(0, _MOST_DAYS, (" days", " dagar"))("olderThanDays", days)
        total, last = 0, BATCH
        while last == BATCH and self.workflow.seconds_left() > _LEAST_SECONDS:
            last = await self.workflow.write(AiTaskCleaner.batch, days)
            total += last
        return write_of(AiTaskCleaner.told, CleanupResult(total, last == BATCH))


async def clean(context: WorkerContext) -> None:
    """Remove old tasks: the hourly job."""
    while await context.write(AiTaskCleaner.batch, context.settings.ai_task_retention_days) == BATCH:
        await asyncio.sleep(_BREATH_SECONDS)
