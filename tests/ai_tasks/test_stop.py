"""Workers that are told to stop. Each test has worker processes of its own."""

import asyncio
import os
import signal
import time

import psycopg
import pytest

from tests.support.http_client import AsyncClient
from tests.support.servers import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(22)

_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def _ask(server, query):
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with AsyncClient(base_url=server.url, headers=headers, timeout=20) as client:
        return await client.post("/graphql", json={"query": query})


class TestStop:
    async def test_lets_ten_running_tasks_end(self, create, reaches, start_worker):
        worker = start_worker()
        tasks = [await create(input={"seconds": 2}) for _ in range(10)]
        for task in tasks:
            await reaches(task["id"], "RUNNING")
        assert await asyncio.to_thread(worker.stop) == 0
        for task in tasks:
            assert (await reaches(task["id"], "COMPLETED", seconds=1))["attempt"] == 1

    async def test_puts_back_those_that_do_not(self, create, reaches, show, start_worker, jobs_gone, db):
        worker = start_worker(CRM_WORKER_GRACE_SECONDS="0.3")
        tasks = [await create(input={"seconds": 4}) for _ in range(10)]
        for task in tasks:
            await reaches(task["id"], "RUNNING")
        assert await asyncio.to_thread(worker.stop) == 0
        for task in tasks:
            found = await show(task["id"])
            assert (found["status"], [one["outcome"] for one in found["attempts"]]) == ("QUEUED", ["RELEASED"])
        # One each, which can be cancelled and moved. Other queues may have got a periodic job meanwhile.
        jobs = db.execute("SELECT id FROM procrastinate_jobs WHERE queue_name = 'ai' ORDER BY id").fetchall()
        named = db.execute("SELECT job_id AS id FROM ai_tasks ORDER BY job_id").fetchall()
        assert jobs == named
        start_worker()
        for task in tasks:
            done = await reaches(task["id"], "COMPLETED", seconds=45)
            assert [one["outcome"] for one in done["attempts"]] == ["RELEASED", "COMPLETED"]
        await jobs_gone(20)

    async def test_a_former_job_that_it_leaves_is_found_and_runs_nothing(
        self, create, reaches, start_worker, jobs_gone, db
    ):
        task = await create()
        db.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status)"
            " SELECT queue_name, task_name, args, 'doing' FROM procrastinate_jobs"
        )
        start_worker()
        done = await reaches(task["id"], "COMPLETED")
        await jobs_gone(20)
        assert [one["outcome"] for one in done["attempts"]] == ["COMPLETED"]

    async def test_says_meanwhile_that_it_lives(self, create, reaches, start_worker):
        """Whoever takes long to stop is not dead: nobody else takes its jobs."""
        first = start_worker(CRM_WORKER_GRACE_SECONDS="10", CRM_AI_TASK_LEASE_SECONDS="10")
        task = await create(input={"seconds": 3.5})
        await reaches(task["id"], "RUNNING")
        first.process.send_signal(signal.SIGTERM)
        second = start_worker()
        assert await asyncio.to_thread(first.process.wait, 20) == 0
        assert (await reaches(task["id"], "COMPLETED", seconds=1))["attempt"] == 1
        assert "rescued" not in second.log()
        assert "Traceback" not in first.log()

    async def test_of_a_server_with_a_worker_inside_takes_no_more_work(self, server, put, show, tmp_path):
        """Though a request goes on for a while yet."""
        inside = Server(server.database_url, tmp_path / "log", CRM_WORKER_INSIDE="true").start()
        try:
            with psycopg.connect(server.database_url) as other:
                other.execute("SET idle_in_transaction_session_timeout = 0")
                other.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
                pending = asyncio.create_task(_ask(inside, "{ tasks(limit: 1) { id } }"))
                await eventually(lambda: other.execute(_WAITING).fetchone()[0], 20)
                os.kill(inside.pid, signal.SIGTERM)
                await asyncio.sleep(1)
                key = put("echo")
                await asyncio.sleep(1.5)
            assert (await pending).json() == {"data": {"tasks": []}}
            assert (await show(key))["status"] == "QUEUED"
        finally:
            inside.stop()

    async def test_takes_code_along_that_does_not_listen(self, put, reaches, start_worker):
        worker = start_worker(CRM_WORKER_GRACE_SECONDS="0.3")
        await reaches(put("stubborn"), "RUNNING")
        began = time.monotonic()
        assert await asyncio.to_thread(worker.stop) == 0
        assert time.monotonic() - began < 6  # it would go on for eight

    async def test_asked_twice_happens_at_once(self, create, reaches, start_worker):
        worker = start_worker(CRM_WORKER_GRACE_SECONDS="30")
        task = await create(input={"seconds": 30})
        await reaches(task["id"], "RUNNING")
        worker.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        worker.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, 3) == 1
