"""What workers do: attempts, retries, time limits, leases, deaths. Each test has worker processes of its own."""

import asyncio
import os
import signal
import time
from datetime import datetime
from itertools import pairwise

import psycopg
import pytest

from tests.support.http_client import AsyncClient
from tests.support.servers import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(100)

ROUNDS = int(os.environ.get("CRM_FAULT_ROUNDS", "3"))
CANCEL = "mutation($id: ID!) { cancelAiTask(id: $id) { status } }"
_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
STALE = "mutation { timeoutStaleAiTasks { count } }"


@pytest.fixture
def put(db):
    """Put a task of a type that only the tests' worker knows into the queue."""

    def into(task_type, *, priority="normal", max_retries=3, timeout=60, scheduled="0 s"):
        task = db.execute(
            "INSERT INTO ai_tasks (id, task_type, priority, max_retries, timeout_seconds, due_at, created_by) VALUES "
            "(gen_random_uuid(), %s, %s, %s, %s, now() + %s::interval, "
            "(SELECT id FROM users WHERE email = 'service-admin@crm.invalid')) RETURNING id, due_at",
            (task_type, priority, max_retries, timeout, scheduled),
        ).fetchone()
        level = {"low": 10, "normal": 20, "high": 30, "urgent": 40}[priority]
        job = db.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, scheduled_at) "
            "VALUES ('ai', 'ai_task', %s, jsonb_build_object('task', %s::text), %s) RETURNING id",
            (level, task["id"], task["due_at"]),
        ).fetchone()
        db.execute("UPDATE ai_tasks SET job_id = %s WHERE id = %s", (job["id"], task["id"]))
        return str(task["id"])

    return into


def moment(text):
    return datetime.fromisoformat(text)


def pauses(task):
    """Seconds between an attempt's end and the next one's start."""
    return [
        (moment(after["startedAt"]) - moment(before["finishedAt"])).total_seconds()
        for before, after in pairwise(task["attempts"])
    ]


class TestRetries:
    async def test_come_after_one_two_and_four_seconds(self, create, reaches, start_worker):
        start_worker()
        task = await create(input={"failures": 3})
        done = await reaches(task["id"], "COMPLETED", seconds=45)
        assert [one["outcome"] for one in done["attempts"]] == ["FAILED"] * 3 + ["COMPLETED"]
        for found, expected in zip(pauses(done), (1, 2, 4), strict=True):
            assert expected <= found < expected + 1
        assert "asked to fail" in done["attempts"][0]["error"]
        assert done["error"] is None

    async def test_end_with_the_last(self, create, reaches, start_worker, jobs_gone):
        start_worker()
        task = await create(input={"failures": 9}, maxRetries=1)
        failed = await reaches(task["id"], "FAILED")
        assert (failed["attempt"], len(failed["attempts"]), failed["canRetry"]) == (2, 2, True)
        await jobs_gone()

    async def test_are_not_tried_where_they_are_pointless(self, put, reaches, start_worker):
        start_worker()
        failed = await reaches(put("hopeless"), "FAILED")
        assert (failed["attempt"], failed["error"], failed["errorCode"]) == (1, "It never works.", "HOPELESS")

    @pytest.mark.parametrize("task_type", ["broken", "unfit"])
    async def test_show_nothing_of_an_error_of_ours(self, put, reaches, start_worker, task_type):
        worker = start_worker()
        failed = await reaches(put(task_type, max_retries=0), "FAILED")
        assert failed["errorCode"] == "INTERNAL"
        assert "KeyError" not in failed["error"]
        assert '"ai_task.broke"' in worker.log()

    async def test_a_type_that_the_worker_does_not_know_is_left_to_others(self, put, reaches, start_worker):
        """As while a new version is rolled out."""
        start_worker()
        waiting = await reaches(put("of the next version", max_retries=0), "RETRYING")
        assert (waiting["errorCode"], waiting["attempts"][0]["outcome"]) == ("UNKNOWN_TYPE", "POSTPONED")


class TestTime:
    async def test_ends_an_attempt_that_takes_too_long(self, put, reaches, start_worker):
        start_worker()
        task = await reaches(put("hang", timeout=1, max_retries=1), "TIMED_OUT", seconds=45)
        assert [one["outcome"] for one in task["attempts"]] == ["TIMED_OUT"] * 2
        assert task["errorCode"] == "TIMEOUT"
        assert 1 <= task["runMs"] / 1000 < 2

    async def test_leaves_code_that_does_not_listen_to_itself(self, put, create, reaches, start_worker):
        worker = start_worker(CRM_WORKER_CONCURRENCY="1")
        stubborn = put("stubborn", timeout=1, max_retries=0)
        task = await create()
        await reaches(stubborn, "TIMED_OUT")
        await reaches(task["id"], "COMPLETED")  # the slot is free again
        assert '"ai_task.ignores_cancellation"' in worker.log()


class TestCancel:
    async def test_stops_a_running_one_soon(self, put, graphql, reaches, show, start_worker, jobs_gone):
        start_worker()
        key = put("hang")
        await reaches(key, "RUNNING")
        began = time.monotonic()
        assert (await graphql(CANCEL, id=key))["cancelAiTask"]["status"] == "CANCELLED"
        await jobs_gone()
        assert time.monotonic() - began < 5  # usually half a second
        task = await show(key)
        assert (task["status"], [one["outcome"] for one in task["attempts"]]) == ("CANCELLED", ["CANCELLED"])

    async def test_counts_for_one_that_does_not_listen(self, put, graphql, reaches, show, start_worker):
        start_worker()
        key = put("stubborn")
        await reaches(key, "RUNNING")
        await graphql(CANCEL, id=key)
        await asyncio.sleep(9)  # it has come to its end by now
        task = await show(key)
        assert (task["status"], task["result"], task["attempt"]) == ("CANCELLED", None, 1)

    async def test_takes_back_a_retry(self, create, graphql, reaches, show, start_worker):
        start_worker()
        task = await create(input={"failures": 5})
        await reaches(task["id"], "RETRYING")
        await graphql(CANCEL, id=task["id"])
        await asyncio.sleep(1.5)
        assert (await show(task["id"]))["attempt"] == 1


class TestProgress:
    async def test_is_written_now_and_then(self, put, subscribe, start_worker):
        start_worker()
        async with subscribe("subscription { aiTaskUpdated { status progress } }") as following:
            put("steps")
            seen = []
            while not seen or seen[-1]["status"] != "COMPLETED":
                seen.append(await following())
        steps = [one["progress"] for one in seen if one["status"] == "RUNNING"]
        assert steps == sorted(steps)
        assert 3 <= len(steps) <= 8  # 20 steps in two seconds


class TestOrder:
    async def test_is_by_priority_and_then_by_age(self, put, reaches, start_worker, db):
        priorities = ["low", "normal", "urgent", "high", "normal", "low", "urgent", "high"] * 5
        keys = [put("echo", priority=priority) for priority in priorities]
        start_worker(CRM_WORKER_CONCURRENCY="1")
        for key in keys:
            await reaches(key, "COMPLETED")
        rows = db.execute("SELECT id::text FROM ai_tasks ORDER BY started_at").fetchall()
        rank = {"urgent": 0, "high": 1, "normal": 2, "low": 3}
        expected = sorted(range(len(keys)), key=lambda n: (rank[priorities[n]], n))
        assert [row["id"] for row in rows] == [keys[n] for n in expected]

    async def test_lets_nobody_wait_for_ever(self, put, create, show, start_worker, db):
        """A steady stream of urgent tasks, and a low one that waits behind them: for so long and no longer."""
        start_worker(CRM_WORKER_CONCURRENCY="1", CRM_AI_TASK_AGING_SECONDS="3")
        waiting = "SELECT count(*) AS n FROM ai_tasks WHERE status = 'queued' AND priority = 'urgent'"
        low, began = None, time.monotonic()
        while low is None or (found := await show(low))["status"] != "COMPLETED":
            assert time.monotonic() - began < 20
            while db.execute(waiting).fetchone()["n"] < 3:
                await create(priority="URGENT", input={"seconds": 0.2})
            low = low or put("echo", priority="low")
            await asyncio.sleep(0.05)
        assert 2.5 < found["waitMs"] / 1000 < 4
        behind = db.execute("SELECT count(*) AS n FROM ai_tasks WHERE status = 'completed' AND priority = 'urgent'")
        assert behind.fetchone()["n"] > 5


class TestBacklog:
    async def test_of_old_ones_does_not_hold_up_what_is_urgent(self, put, reaches, start_worker, db):
        """They go ahead in their turn: one for three others."""
        old = [put("echo", priority="low", scheduled="-1 hour") for _ in range(30)]
        urgent = [put("echo", priority="urgent") for _ in range(9)]
        start_worker(CRM_WORKER_CONCURRENCY="1", CRM_AI_TASK_AGING_SECONDS="1")
        for key in [*old, *urgent]:
            await reaches(key, "COMPLETED", seconds=30)
        rows = db.execute("SELECT id::text, priority FROM ai_tasks ORDER BY started_at").fetchall()
        places = [place for place, row in enumerate(rows) if row["priority"] == "urgent"]
        assert places[-1] < 15, places


class TestDeadWorker:
    async def test_loses_nothing_and_does_nothing_twice(self, create, reaches, start_worker, db, jobs_gone):
        """`kill -9` in the middle of tasks, again and again."""
        tasks = [await create(str(number), input={"seconds": 0.3}, maxRetries=10) for number in range(12)]
        for _ in range(ROUNDS):
            worker = start_worker(CRM_WORKER_CONCURRENCY="4")
            while not db.execute("SELECT FROM ai_tasks WHERE status = 'running'").fetchall():
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            worker.kill()
        start_worker()
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

    async def test_is_no_failure_of_its_tasks(self, create, reaches, start_worker):
        worker = start_worker()
        task = await create(input={"seconds": 1}, maxRetries=0)
        await reaches(task["id"], "RUNNING")
        worker.kill()
        start_worker()
        done = await reaches(task["id"], "COMPLETED")
        assert [one["outcome"] for one in done["attempts"]] == ["LOST", "COMPLETED"]

    async def test_that_a_task_keeps_killing_is_spared_in_the_end(self, put, reaches, start_worker, db):
        key = put("poison", max_retries=0)
        worker = start_worker()
        await asyncio.to_thread(worker.process.wait, 20)
        db.execute("UPDATE ai_tasks SET losses = 4")  # the fifth is this one; it is given up with the sixth
        worker = start_worker()
        assert (await reaches(key, "RETRYING", seconds=45))["attempts"][0]["outcome"] == "LOST"
        db.execute("UPDATE ai_tasks SET due_at = now()")
        db.execute("UPDATE procrastinate_jobs SET scheduled_at = now()")
        await asyncio.to_thread(worker.process.wait, 20)
        start_worker()
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

    async def test_can_be_looked_for_by_hand(self, create, graphql, reaches, start_worker):
        worker = start_worker()
        task = await create(input={"seconds": 30})
        await reaches(task["id"], "RUNNING")
        worker.kill()
        assert (await graphql(STALE))["timeoutStaleAiTasks"] == {"count": 0}
        await asyncio.sleep(2.2)
        assert (await graphql(STALE))["timeoutStaleAiTasks"] == {"count": 1}
        await reaches(task["id"], "RETRYING")

    async def test_frozen_past_its_lease_cannot_write(self, create, reaches, start_worker, show):
        first = start_worker()
        task = await create("slow", input={"seconds": 1})
        await reaches(task["id"], "RUNNING")
        os.kill(first.pid, signal.SIGSTOP)
        second = start_worker()
        done = await reaches(task["id"], "COMPLETED", seconds=45)
        assert [one["outcome"] for one in done["attempts"]] == ["LOST", "COMPLETED"]
        os.kill(first.pid, signal.SIGCONT)
        await asyncio.sleep(2)
        after = await show(task["id"])
        assert (after["version"], after["attempts"]) == (done["version"], done["attempts"])
        assert str(second.pid) in after["attempts"][1]["worker"]

    async def test_woken_while_another_runs_its_task_leaves_that_alone(self, create, reaches, start_worker, show):
        first = start_worker()
        task = await create("slow", input={"seconds": 6})
        await reaches(task["id"], "RUNNING")
        os.kill(first.pid, signal.SIGSTOP)
        second = start_worker()
        while (await show(task["id"]))["attempt"] < 2:
            await asyncio.sleep(0.05)
        os.kill(first.pid, signal.SIGCONT)  # its time is over: it has a result, and a token of yesterday
        await eventually(lambda: '"ai_task.lease_lost"' in first.log(), 20)
        running = await show(task["id"])
        assert (running["status"], running["result"], running["attempts"][1]["outcome"]) == ("RUNNING", None, None)
        done = await reaches(task["id"], "COMPLETED")
        assert [one["outcome"] for one in done["attempts"]] == ["LOST", "COMPLETED"]
        assert str(second.pid) in done["attempts"][1]["worker"]

    async def test_the_only_one_and_frozen_for_a_while_keeps_its_tasks(self, create, reaches, start_worker):
        """As on a laptop that was closed: nobody else has them, so they are its own."""
        worker = start_worker()
        task = await create(input={"seconds": 1})
        await reaches(task["id"], "RUNNING")
        os.kill(worker.pid, signal.SIGSTOP)
        await asyncio.sleep(3)
        os.kill(worker.pid, signal.SIGCONT)
        done = await reaches(task["id"], "COMPLETED")
        assert [one["outcome"] for one in done["attempts"]] == ["COMPLETED"]

    async def test_blocked_by_its_own_code_loses_the_task_and_goes_on(self, put, create, reaches, start_worker, db):
        start_worker()
        key = put("freeze", max_retries=0)
        db.execute("UPDATE ai_tasks SET losses = 5")
        await reaches(key, "RUNNING")
        start_worker()
        failed = await reaches(key, "FAILED", "COMPLETED", seconds=45)
        assert (failed["status"], failed["result"]) == ("FAILED", None)
        task = await create()
        await reaches(task["id"], "COMPLETED")


async def _ask(server, query):
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with AsyncClient(base_url=server.url, headers=headers, timeout=20) as client:
        return await client.post("/graphql", json={"query": query})


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


class TestStop:
    async def test_lets_ten_running_tasks_end(self, create, reaches, start_worker):
        worker = start_worker()
        tasks = [await create(input={"seconds": 2}) for _ in range(10)]
        for task in tasks:
            await reaches(task["id"], "RUNNING")
        assert await asyncio.to_thread(worker.stop) == 0
        for task in tasks:
            assert (await reaches(task["id"], "COMPLETED", seconds=1))["attempt"] == 1

    async def test_puts_back_those_that_do_not(self, create, reaches, show, start_worker, db):
        worker = start_worker(CRM_WORKER_GRACE_SECONDS="0.3")
        tasks = [await create(input={"seconds": 4}) for _ in range(10)]
        for task in tasks:
            await reaches(task["id"], "RUNNING")
        assert await asyncio.to_thread(worker.stop) == 0
        for task in tasks:
            found = await show(task["id"])
            assert (found["status"], [one["outcome"] for one in found["attempts"]]) == ("QUEUED", ["RELEASED"])
        jobs = db.execute("SELECT id FROM procrastinate_jobs ORDER BY id").fetchall()
        named = db.execute("SELECT job_id AS id FROM ai_tasks ORDER BY job_id").fetchall()
        assert jobs == named  # one each, which can be cancelled and moved
        start_worker()
        for task in tasks:
            await reaches(task["id"], "COMPLETED", seconds=45)

    async def test_says_meanwhile_that_it_lives(self, create, reaches, start_worker):
        """Whoever takes long to stop is not dead: nobody else takes its jobs."""
        first = start_worker(CRM_WORKER_GRACE_SECONDS="10", CRM_AI_TASK_LEASE_SECONDS="10")
        task = await create(input={"seconds": 5})
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
