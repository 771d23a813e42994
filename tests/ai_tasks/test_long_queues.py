"""Workers get their answers within milliseconds while the queue grows faster than PostgreSQL gathers statistics."""

import asyncio
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from crm.ai_tasks.turns import _swap
from crm.db.database import Database

TASKS = 6000
PILE = """
WITH task AS (
  INSERT INTO ai_tasks (id, task_type, input, created_by, status, due_at)
  SELECT gen_random_uuid(), 'echo', '{}', (SELECT id FROM users WHERE email = %(who)s), 'queued', now()
  FROM generate_series(1, %(count)s) AS number RETURNING id
), job AS (
  INSERT INTO procrastinate_jobs (queue_name, task_name, status, args)
  SELECT 'ai', 'ai_task', 'todo', jsonb_build_object('task', id) FROM task RETURNING id, (args->>'task')::uuid AS task
)
SELECT id, task FROM job
"""
NAME_JOBS = """
UPDATE ai_tasks SET job_id = job.id FROM unnest(%s::bigint[], %s::uuid[]) AS job (id, task) WHERE ai_tasks.id = job.task
"""
MEMBER, ADMIN = "service-member@crm.invalid", "service-admin@crm.invalid"
FETCH = "SELECT id FROM procrastinate_fetch_job_v2('{ai}'::varchar[], %s)"


@pytest.fixture
def queue(db):
    """A queue of which PostgreSQL knows what it was when it was nearly empty, and a worker that has looked at it."""
    db.execute("TRUNCATE procrastinate_jobs, procrastinate_workers, ai_tasks CASCADE")
    worker = db.execute("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id").fetchone()["id"]
    pile(db, MEMBER, 40)
    db.execute("UPDATE procrastinate_jobs SET status = 'succeeded'")
    db.execute("ANALYZE procrastinate_jobs, ai_tasks")
    for _ in range(10):  # by then a statement of a function has its plan for good
        db.execute(FETCH, (worker,))
    yield db, worker
    db.execute("RESET statement_timeout")
    db.execute("TRUNCATE procrastinate_jobs, procrastinate_workers, ai_tasks CASCADE")


def pile(db, who, count):
    """Tasks of a user with their jobs, as they wait."""
    tasks = db.execute(PILE, {"who": who, "count": count}).fetchall()
    db.execute(NAME_JOBS, ([one["id"] for one in tasks], [one["task"] for one in tasks]))
    return tasks


def test_the_next_job_is_found_by_the_index(queue):
    """It took 5 s of 4,000, and 30 s of 12,000."""
    db, worker = queue
    pile(db, MEMBER, TASKS)
    db.execute("SET statement_timeout = '1s'")
    found = [db.execute(FETCH, (worker,)).fetchone()["id"] for _ in range(3)]
    assert found == sorted(found)
    assert None not in found


def _context(database: Database) -> Any:
    """As much of a worker's context as a step in the queue needs."""
    return SimpleNamespace(database=database)


@pytest.mark.parametrize("known", [True, False])
async def test_the_next_user_is_found_by_the_index(queue, database_url, known):
    db, _ = queue
    mine, *_ = pile(db, MEMBER, TASKS)
    theirs, *_ = pile(db, ADMIN, TASKS)
    if known:
        db.execute("ANALYZE procrastinate_jobs, ai_tasks")
    held = [str(row["id"]) for row in db.execute("SELECT id FROM users WHERE email = %s", (MEMBER,))]
    database = Database(database_url)
    try:
        async with asyncio.timeout(5):
            is_holders, first = await _swap(_context(database), mine["task"], held)
    finally:
        database.close()
    assert (is_holders, first) == (True, theirs["task"])
    jobs = {row["id"]: row["job_id"] for row in db.execute("SELECT id, job_id FROM ai_tasks WHERE status = 'queued'")}
    assert (jobs[mine["task"]], jobs[theirs["task"]]) == (theirs["id"], mine["id"])


async def test_a_task_that_somebody_locks_is_passed_over(queue, database_url):
    db, _ = queue
    mine, *_ = pile(db, MEMBER, 3)
    locked, free = pile(db, ADMIN, 2)
    held = [str(row["id"]) for row in db.execute("SELECT id FROM users WHERE email = %s", (MEMBER,))]
    database = Database(database_url)
    try:
        async with await psycopg.AsyncConnection.connect(database_url) as other, asyncio.timeout(3):
            await other.execute("SELECT FROM ai_tasks WHERE id = %s FOR UPDATE", (locked["task"],))
            assert await _swap(_context(database), mine["task"], held) == (True, free["task"])
    finally:
        database.close()
