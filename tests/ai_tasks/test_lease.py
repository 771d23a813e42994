"""Ends of attempts that come twice, or late."""

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID, uuid4

import psycopg
import pytest

from crm.ai_tasks import lease as leases
from crm.ai_tasks.lease import AttemptEnd, TaskKey
from crm.ai_tasks.model import AiTaskOutcome
from crm.core.identity import PROGRAM
from crm.db.database import Database
from crm.db.workflow import Writer


@pytest.fixture
async def context(database_url, db):  # noqa: ARG001
    database = Database(database_url, size=6)
    feed = SimpleNamespace(announce=lambda: None)
    settings = SimpleNamespace(ai_task_lease_seconds=10)
    yield SimpleNamespace(
        database=database, feed=feed, settings=settings, writer=lambda: Writer(database, PROGRAM, feed.announce)
    )
    database.close()


@pytest.fixture
def task(db):
    return db.execute(
        "INSERT INTO ai_tasks (id, task_type, created_by) "
        "SELECT gen_random_uuid(), 'echo', id FROM users LIMIT 1 RETURNING id"
    ).fetchone()["id"]


@pytest.fixture
async def key(context, task):
    """A task that was taken, and its call to a model."""
    found = TaskKey(task, uuid4(), uuid4())
    assert await leases.claim(context, found, "worker", 10)
    return found


def pay(db, attempt: UUID, cost: str) -> None:
    db.execute(
        "INSERT INTO ai_calls (id, question_id, attempt, purpose, prompt_version, input_hash, provider, model, "
        "tokens_in, cost_usd, cost_source, ai_task_attempt_id) VALUES (gen_random_uuid(), gen_random_uuid(), 1, 'p', "
        "'v', 'h', 'o', 'm', 120, %s, 'provider', %s)",
        (cost, attempt),
    )


def bills(db):
    task = db.execute("SELECT cost_usd, tokens, cost_source, status FROM ai_tasks").fetchone()
    attempt = db.execute("SELECT cost_usd, tokens, cost_source, outcome, error_code FROM ai_task_attempts").fetchone()
    return task, attempt


DONE = AttemptEnd(AiTaskOutcome.COMPLETED, result={"is": "here"})
LOST = AttemptEnd(AiTaskOutcome.LOST, error="The worker died.", code="WORKER_LOST")


class TestTwoEnds:
    @pytest.mark.parametrize("ends", [(DONE, LOST), (LOST, DONE), (DONE, DONE)])
    async def test_at_once_are_billed_once(self, context, key, db, database_url, ends):
        """Both wait for the row, and each was begun before the other's end."""
        pay(db, key.attempt_id, "0.5")
        with psycopg.connect(database_url) as other:
            other.execute("SELECT FROM ai_tasks FOR UPDATE")
            both = [asyncio.create_task(leases.end(context, key, one)) for one in ends]
            await asyncio.sleep(0.3)
        assert sorted(await asyncio.gather(*both)) == [False, True]
        task, attempt = bills(db)
        assert (task["cost_usd"], task["tokens"]) == (attempt["cost_usd"], attempt["tokens"]) == (Decimal("0.5"), 120)

    async def test_one_after_the_other_keep_the_first(self, context, key, db):
        assert await leases.end(context, key, DONE)
        assert not await leases.end(context, key, LOST)
        task, attempt = bills(db)
        assert (task["status"], attempt["outcome"], attempt["error_code"]) == ("completed", "completed", None)

    async def test_count_what_was_paid_between(self, context, key, db):
        pay(db, key.attempt_id, "0.5")
        await leases.end(context, key, LOST)
        pay(db, key.attempt_id, "0.25")
        await leases.end(context, key, DONE)
        task, attempt = bills(db)
        assert (task["cost_usd"], attempt["cost_usd"], task["status"]) == (Decimal("0.75"), Decimal("0.75"), "retrying")


class TestProgress:
    async def test_is_in_the_stream_once(self, context, key, db):
        event = None
        for progress in (0.1, 0.5, 0.9):
            event = await leases.record_progress(context, key, progress, event)
        rows = db.execute("SELECT fields FROM events WHERE type = 'ai_task.progressed'").fetchall()
        assert [row["fields"][0]["after"] for row in rows] == [0.9]
        await leases.end(context, key, DONE, event)
        types = [row["type"] for row in db.execute("SELECT type FROM events ORDER BY id").fetchall()]
        assert types == ["ai_task.started", "ai_task.updated"]


class TestIndexes:
    def test_have_no_column_that_changes_while_a_task_runs(self, db):
        """So leases and progress are written in place: a hundred workers renew theirs every two seconds."""
        found = db.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'ai_tasks'").fetchall()
        assert len(found) > 5
        for name in ("lease_expires_at", "progress", "version", "updated_at"):
            assert not [one for one in found if name in one["indexdef"]]
