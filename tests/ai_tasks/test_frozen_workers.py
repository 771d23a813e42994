"""Workers that freeze with tasks under way, and wake. Each test has worker processes of its own."""

import asyncio
import os
import signal

import pytest

from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(18)


@pytest.fixture
def freeze(create, reaches, start_brief_worker):
    """Freeze a worker in the midst of a task; both."""

    async def run(*task_type, seconds):
        worker = start_brief_worker()
        task = await create(*task_type, input={"seconds": seconds})
        await reaches(task["id"], "RUNNING")
        os.kill(worker.pid, signal.SIGSTOP)
        return worker, task

    return run


class TestFrozenWorker:
    async def test_frozen_past_its_lease_cannot_write(self, freeze, reaches, start_brief_worker, show):
        first, task = await freeze("slow", seconds=1)
        second = start_brief_worker()
        done = await reaches(task["id"], "COMPLETED", seconds=45)
        assert [one["outcome"] for one in done["attempts"]] == ["LOST", "COMPLETED"]
        os.kill(first.pid, signal.SIGCONT)
        await eventually(lambda: '"ai_task.lease_lost"' in first.log(), 20)
        await asyncio.sleep(0.3)  # it has written what it was going to
        after = await show(task["id"])
        assert (after["version"], after["attempts"]) == (done["version"], done["attempts"])
        assert str(second.pid) in after["attempts"][1]["worker"]

    async def test_woken_while_another_runs_its_task_leaves_that_alone(self, freeze, reaches, start_brief_worker, show):
        first, task = await freeze("slow", seconds=4)
        second = start_brief_worker()
        while (await show(task["id"]))["attempt"] < 2:
            await asyncio.sleep(0.05)
        os.kill(first.pid, signal.SIGCONT)  # its time is over: it has a result, and a token of yesterday
        await eventually(lambda: '"ai_task.lease_lost"' in first.log(), 20)
        running = await show(task["id"])
        assert (running["status"], running["result"], running["attempts"][1]["outcome"]) == ("RUNNING", None, None)
        done = await reaches(task["id"], "COMPLETED")
        assert [one["outcome"] for one in done["attempts"]] == ["LOST", "COMPLETED"]
        assert str(second.pid) in done["attempts"][1]["worker"]

    async def test_the_only_one_and_frozen_for_a_while_keeps_its_tasks(self, freeze, reaches):
        """As on a laptop that was closed: nobody else has them, so they are its own."""
        worker, task = await freeze(seconds=1)
        await asyncio.sleep(1.5)
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
