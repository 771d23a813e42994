"""Workers that die with tasks under way. Each test has worker processes of its own."""

import asyncio
import os
import time

import pytest

from tests.support.servers import Server

pytestmark = pytest.mark.waits(25)

ROUNDS = int(os.environ.get("CRM_FAULT_ROUNDS", "3"))
STALE = "mutation { timeoutStaleAiTasks { count } }"


class TestDeadWorker:
    async def test_loses_nothing_and_does_nothing_twice(self, create, reaches, start_brief_worker, db, jobs_gone):
        """`kill -9` in the middle of tasks, again and again."""
        tasks = [await create(str(number), input={"seconds": 0.3}, maxRetries=10) for number in range(12)]
        for _ in range(ROUNDS):
            worker = start_brief_worker(CRM_WORKER_CONCURRENCY="4")
            while not db.execute("SELECT FROM ai_tasks WHERE status = 'running'").fetchall():
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            worker.kill()
        start_brief_worker()
        for number, task in enumerate(tasks):
            done = await reaches(task["id"], "COMPLETED", seconds=30)
            assert done["result"] == {"message": str(number)}
            assert [one["outcome"] for one in done["attempts"]].count("COMPLETED") == 1
        await jobs_gone()

    async def test_is_noticed_within_15_seconds_as_it_is_set_up(self, create, reaches, start_worker):
        """With the defaults: leases of 10 s."""
        worker = start_worker(CRM_AI_TASK_LEASE_SECONDS="10")
        task = await create(input={"seconds": 2})
        await reaches(task["id"], "RUNNING")
        worker.kill()
        killed = time.monotonic()
        start_worker(CRM_AI_TASK_LEASE_SECONDS="10")
        await reaches(task["id"], "RETRYING", "COMPLETED", seconds=45)
        assert time.monotonic() - killed < 15

    async def test_is_no_failure_of_its_tasks(self, create, reaches, start_brief_worker):
        worker = start_brief_worker()
        task = await create(input={"seconds": 1}, maxRetries=0)
        await reaches(task["id"], "RUNNING")
        worker.kill()
        start_brief_worker()
        done = await reaches(task["id"], "COMPLETED")
        assert [one["outcome"] for one in done["attempts"]] == ["LOST", "COMPLETED"]

    async def test_that_a_task_keeps_killing_is_spared_in_the_end(self, put, reaches, start_brief_worker, db):
        key = put("poison", max_retries=0)
        worker = start_brief_worker()
        await asyncio.to_thread(worker.process.wait, 20)
        db.execute("UPDATE ai_tasks SET losses = 4")  # the fifth is this one; it is given up with the sixth
        worker = start_brief_worker()
        assert (await reaches(key, "RETRYING", seconds=45))["attempts"][0]["outcome"] == "LOST"
        db.execute("UPDATE ai_tasks SET due_at = now()")
        db.execute("UPDATE procrastinate_jobs SET scheduled_at = now()")
        await asyncio.to_thread(worker.process.wait, 20)
        start_brief_worker()
        failed = await reaches(key, "FAILED", seconds=45)
        assert [one["outcome"] for one in failed["attempts"]] == ["LOST", "LOST"]
        assert failed["errorCode"] == "WORKER_LOST"

    async def test_and_a_job_that_got_lost_are_made_up_for(self, create, reaches, start_worker, db):
        task = await create()
        db.execute("DELETE FROM procrastinate_jobs")
        db.execute("UPDATE ai_tasks SET due_at = due_at - interval '20 seconds'")
        worker = start_worker()
        await reaches(task["id"], "COMPLETED")
        assert '"ai_task.requeued"' in worker.log()

    async def test_can_be_looked_for_by_hand(self, create, graphql, reaches, start_brief_worker):
        worker = start_brief_worker()
        task = await create(input={"seconds": 30})
        await reaches(task["id"], "RUNNING")
        worker.kill()
        assert (await graphql(STALE))["timeoutStaleAiTasks"] == {"count": 0}
        await asyncio.sleep(1.2)
        assert (await graphql(STALE))["timeoutStaleAiTasks"] == {"count": 1}
        await reaches(task["id"], "RETRYING")


class TestWithoutAnyWorker:
    async def test_what_the_last_one_ran_is_told_to_have_lost_it(self, server, create, reaches, start_worker, tmp_path):
        alone = Server(server.database_url, tmp_path / "log", CRM_AI_TASK_LEASE_SECONDS="2").start()
        try:
            worker = start_worker()
            task = await create(input={"seconds": 30})
            await reaches(task["id"], "RUNNING")
            worker.kill()
            waiting = await reaches(task["id"], "RETRYING")
            assert (waiting["errorCode"], waiting["attempts"][0]["outcome"]) == ("WORKER_LOST", "LOST")
        finally:
            alone.stop()
