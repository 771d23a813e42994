"""Costs of attempts and tasks: the sums over the AI calls with the attempt's id.

The statement that ends an attempt adds them up. A call's record may be completed later (PostgreSQL was away, or the
caller had gone): then `settle` corrects the costs.
"""

# ruff: noqa: S608  (put together from constants)

from typing import Final

from crm.db.statement import Statement, encode
from crm.db.unit_of_work import UnitOfWork
from crm.jobs import WorkerContext

# How long after a call's deadline its record may still be completed: a minute, and as long as PostgreSQL is away.
_LATE_SECONDS: Final = 900.0
# If one part is unknown, so is the whole.
SOURCE: Final = """CASE WHEN bool_or(cost_source = 'unknown') THEN 'unknown'
          WHEN bool_or(cost_source = 'estimated') THEN 'estimated'
          WHEN count(cost_source) > 0 THEN 'provider' END AS source"""
# The calls of an attempt, added up; a condition on `ai_task_attempt_id` follows. The playbook has no price.
CALL_SUMS: Final = f"""
      SELECT coalesce(sum(cost_usd), 0) AS cost,
        coalesce(sum(coalesce(tokens_in, 0) + coalesce(tokens_out, 0)), 0) AS tokens,
        {SOURCE},
        (array_agg(model ORDER BY created_at DESC))[1] AS model
      FROM ai_calls AS call WHERE provider <> 'playbook' AND """
_DIFFERS: Final = """(bill.cost, bill.tokens, bill.source) IS DISTINCT FROM
        (attempt.cost_usd, attempt.tokens, attempt.cost_source)"""
# Attempts that have ended with unknown costs, and whose recent calls now add up to other sums.
_WRONG: Final = Statement(
    f"""
    SELECT attempt.task_id::text, attempt.id::text FROM ai_task_attempts AS attempt, LATERAL ({CALL_SUMS}
      ai_task_attempt_id = attempt.id
    ) AS bill
    WHERE attempt.finished_at IS NOT NULL AND coalesce(attempt.cost_source, 'unknown') = 'unknown'
      AND attempt.id IN (
        SELECT ai_task_attempt_id FROM ai_calls
        WHERE ai_task_attempt_id IS NOT NULL AND created_at > now() - make_interval(secs => $1::float)
          AND provider <> 'playbook'
      ) AND {_DIFFERS}
    LIMIT 100
    """
)
# A statement of its own, so that the next ones see what other transactions committed before the lock.
_LOCK: Final = Statement("SELECT 1 FROM ai_tasks WHERE id = $1::uuid FOR UPDATE")
_SETTLE_ATTEMPT: Final = Statement(
    f"""
    UPDATE ai_task_attempts AS attempt
    SET cost_usd = bill.cost, tokens = bill.tokens, cost_source = bill.source, model = bill.model
    FROM ({CALL_SUMS} ai_task_attempt_id = $1::uuid) AS bill WHERE attempt.id = $1::uuid AND {_DIFFERS}
    RETURNING attempt.id
    """
)
_SETTLE_TASK: Final = Statement(
    f"""
    WITH total AS (
      SELECT sum(cost_usd) AS cost, sum(tokens) AS tokens, {SOURCE} FROM ai_task_attempts WHERE task_id = $1::uuid
    ), old AS (
      SELECT cost_usd FROM ai_tasks WHERE id = $1::uuid
    ), written AS (
      UPDATE ai_tasks AS task SET cost_usd = total.cost, tokens = total.tokens, cost_source = total.source,
        version = version + 1, updated_at = clock_timestamp()
      FROM total WHERE task.id = $1::uuid RETURNING task.id, task.lead_id, task.cost_usd, task.version
    )
    INSERT INTO events (type, entity, entity_id, lead_id, via, version, fields)
    SELECT 'ai_task.updated', 'ai_task', written.id::text, written.lead_id, 'program', written.version,
      jsonb_build_array(
        jsonb_build_object('name', 'costUsd', 'before', trim_scale(old.cost_usd)::text,
          'after', trim_scale(written.cost_usd)::text)
      ) FROM written, old
    """
)


async def settle(context: WorkerContext) -> None:
    """Correct the costs of attempts that ended before all their calls were on record."""
    wrong = await context.database.read(_WRONG, [encode(context.settings.ai_timeout_seconds + _LATE_SECONDS)])
    for row in range(wrong.ntuples):
        await _settle(context, wrong.get_value(row, 0), wrong.get_value(row, 1))


async def _settle(context: WorkerContext, task: bytes | None, attempt: bytes | None) -> None:
    async def correct(unit: UnitOfWork) -> None:
        await unit.execute(_LOCK, [task])
        if await unit.execute(_SETTLE_ATTEMPT, [attempt]):  # no row if another worker was faster
            await unit.execute(_SETTLE_TASK, [task])

    await context.writer().run(correct)
