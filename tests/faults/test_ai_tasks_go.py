"""10,000 finished AI tasks go while the queue runs: in batches, and their daily totals add up to the cent."""

import asyncio
import time

import pytest

from tests.faults.journal import quantile
from tests.support.http_client import AsyncClient

pytestmark = pytest.mark.waits(15)

OLD = 10_000
BATCH = 500
_CLEAN = "mutation { cleanupOldAiTasks { count more } }"
_CREATE = 'mutation { createAiTask(input: {taskType: "echo", input: {message: "{\\"do\\": \\"sleep\\"}"}}) { id } }'
_STATISTICS = """{ aiTaskStatistics { total completed failed cancelled attempts tokens costUsd unpriced
  byType { key tasks completed tokens costUsd } byDay { key tasks completed tokens costUsd } } }"""
# Costs that no binary fraction holds, over five days of which four are old enough to go.
_FILL = """
WITH new AS (
  INSERT INTO ai_tasks (id, task_type, status, cost_usd, cost_source, tokens, attempt, created_by, created_at,
    started_at, finished_at)
  SELECT gen_random_uuid(), CASE WHEN n %% 3 = 0 THEN 'lead_summary' ELSE 'echo' END,
    (ARRAY['completed', 'completed', 'failed', 'cancelled'])[1 + n %% 4], n * 0.0000010007, 'provider', n, 2,
    (SELECT id FROM users WHERE email = 'service-admin@crm.invalid'),
    ended - interval '9.25 s', ended - interval '1.5 s', ended
  FROM generate_series(1, %s) AS n, LATERAL (SELECT now() - make_interval(days => 7 + n %% 4, secs => n)) AS at (ended)
  RETURNING id, started_at, finished_at
)
INSERT INTO ai_task_attempts (id, task_id, number, worker, outcome, started_at, finished_at)
SELECT gen_random_uuid(), id, number, 'gone', 'failed', started_at, finished_at FROM new, generate_series(1, 2) number
"""
_STILL_THERE = "SELECT 1 FROM ai_tasks WHERE finished_at < now() - interval '1 d' LIMIT 1"
_RUN_THE_JOB = "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'ai_tasks.clean', 0, NULL, NULL, '{}', NULL)\
::procrastinate_job_to_defer_v1])"


@pytest.mark.timeout(300)
async def test_ten_thousand_go_while_the_queue_runs(start_server, ledger, hire, report):
    server = start_server()
    await hire()
    ledger.rows(_FILL, OLD)
    ledger.rows("ANALYZE ai_tasks, ai_task_attempts")  # as has happened to all old rows: or the plans are those of none
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with AsyncClient(base_url=server.url, headers=headers, timeout=30) as client:

        async def ask(query):
            answer = (await client.post("/graphql", json={"query": query})).json()
            assert "errors" not in answer, answer
            return next(iter(answer["data"].values()))

        before = await ask(_STATISTICS)
        assert before["total"] == OLD
        creates, busy = [], True

        async def create():
            while busy:
                start = time.monotonic()
                ledger.acknowledged.append((await ask(_CREATE))["id"])
                creates.append(time.monotonic() - start)
                await asyncio.sleep(0.01)

        creating = asyncio.create_task(create())
        await asyncio.sleep(0.3)
        start = time.monotonic()
        ledger.rows(_RUN_THE_JOB)  # the hourly job of a worker, and an admin by hand, at the same time
        by_hand = (await ask(_CLEAN))["count"]
        await ledger.until(lambda: not ledger.rows(_STILL_THERE))
        took, busy = time.monotonic() - start, False
        await creating
        await ledger.all_final()
        after = await ask(_STATISTICS)

    new = len(ledger.acknowledged)
    assert after["total"] == OLD + new
    for name in ("costUsd", "tokens", "failed", "cancelled", "unpriced"):
        assert after[name] == before[name], name
    today = [day for day in after["byDay"] if day not in before["byDay"]]
    assert sum(day["tasks"] for day in today) == new
    assert [day for day in after["byDay"] if day in before["byDay"]] == before["byDay"]
    figures = ledger.compare()
    assert figures["tasks"] == new
    assert not ledger.rows("SELECT 1 FROM ai_task_attempts WHERE task_id NOT IN (SELECT id FROM ai_tasks)")
    batches = [
        change["before"]
        for row in ledger.rows("SELECT fields FROM events WHERE type = 'ai_tasks.cleaned'")
        for change in row["fields"]
    ]
    assert sum(batches) == OLD
    assert max(batches) <= BATCH
    report(
        "10,000 finished tasks cleaned under creates",
        seconds=took,
        batches=len(batches),
        by_hand=by_hand,
        created_meanwhile=new,
        create_p95_s=quantile(creates, 0.95),
        create_max_s=max(creates),
    )
