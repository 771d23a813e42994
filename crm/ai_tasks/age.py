"""Nobody waits for ever: whoever has waited for nine tenths of the limit goes before all others."""

from typing import Final

from crm.ai_tasks.service import AGED
from crm.core.unit import Unit
from crm.core.wire import Statement, encode
from crm.jobs import Shop, prioritise

_SHARE: Final = 0.9
_AGE: Final = Statement(
    """
    WITH old AS (
      SELECT id FROM ai_tasks
      WHERE status IN ('queued', 'retrying') AND NOT aged
        AND due_at < clock_timestamp() - make_interval(secs => $1::float)
      ORDER BY due_at LIMIT 500 FOR UPDATE SKIP LOCKED
    )
    UPDATE ai_tasks SET aged = true FROM old WHERE ai_tasks.id = old.id AND job_id IS NOT NULL RETURNING job_id
    """
)


async def promote(shop: Shop) -> None:
    """Move those who have waited long."""

    async def both(unit: Unit) -> None:
        rows = await unit.execute(_AGE, [encode(shop.settings.ai_task_aging_seconds * _SHARE)])
        if rows:
            await prioritise(unit, [row["job_id"] for row in rows], AGED)
        unit.wrote = False  # no event tells of it, so nobody need wake up

    await shop.writer().run(both)
