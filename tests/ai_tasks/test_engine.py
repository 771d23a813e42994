"""What workers do: attempts, retries, time limits, order. A class, or each test, has worker processes of its own."""

import asyncio
import time
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import ClassVar

import pytest

from .conftest import WithOneWorker

pytestmark = pytest.mark.waits(28)

CANCEL = "mutation($id: ID!) { cancelAiTask(id: $id) { status } }"


def moment(text):
    return datetime.fromisoformat(text)


def pauses(task):
    """Seconds between an attempt's end and the next one's start."""
    return [
        (moment(after["startedAt"]) - moment(before["finishedAt"])).total_seconds()
        for before, after in pairwise(task["attempts"])
    ]


class TestRetries(WithOneWorker):
    async def test_come_after_one_two_and_four_seconds(self, create, reaches):
        task = await create(input={"failures": 3})
        done = await reaches(task["id"], "COMPLETED", seconds=45)
        assert [one["outcome"] for one in done["attempts"]] == ["FAILED"] * 3 + ["COMPLETED"]
        for found, expected in zip(pauses(done), (1, 2, 4), strict=True):
            assert expected <= found < expected + 1
        assert "asked to fail" in done["attempts"][0]["error"]
        assert done["error"] is None

    async def test_end_with_the_last(self, create, reaches, jobs_gone):
        task = await create(input={"failures": 9}, maxRetries=1)
        failed = await reaches(task["id"], "FAILED")
        assert (failed["attempt"], len(failed["attempts"]), failed["canRetry"]) == (2, 2, True)
        await jobs_gone()

    async def test_are_not_tried_where_they_are_pointless(self, put, reaches):
        failed = await reaches(put("hopeless"), "FAILED")
        assert (failed["attempt"], failed["error"], failed["errorCode"]) == (1, "It never works.", "HOPELESS")

    @pytest.mark.parametrize("task_type", ["broken", "unfit"])
    async def test_show_nothing_of_an_error_of_ours(self, put, reaches, worker, task_type):
        before = len(worker.log())
        failed = await reaches(put(task_type, max_retries=0), "FAILED")
        assert failed["errorCode"] == "INTERNAL"
        assert "KeyError" not in failed["error"]
        assert '"ai_task.broke"' in worker.log()[before:]

    async def test_say_that_the_database_was_away(self, put, reaches, worker):
        before = len(worker.log())
        failed = await reaches(put("cut", max_retries=0), "FAILED")
        assert failed["errorCode"] == "UNAVAILABLE"
        assert '"ai_task.broke"' not in worker.log()[before:]

    async def test_a_type_that_the_worker_does_not_know_is_left_to_others(self, put, graphql, reaches):
        """As while a new version is rolled out."""
        waiting = await reaches(put("of the next version", max_retries=0), "RETRYING")
        assert (waiting["errorCode"], waiting["attempts"][0]["outcome"]) == ("UNKNOWN_TYPE", "POSTPONED")
        await graphql(CANCEL, id=waiting["id"])  # no other test is to find its job


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


class TestCancel(WithOneWorker):
    settings: ClassVar = {"STUBBORN_SECONDS": "3.5"}

    async def test_stops_a_running_one_soon(self, put, graphql, reaches, show, jobs_gone):
        key = put("hang")
        await reaches(key, "RUNNING")
        began = time.monotonic()
        assert (await graphql(CANCEL, id=key))["cancelAiTask"]["status"] == "CANCELLED"
        await jobs_gone()
        assert time.monotonic() - began < 5  # usually half a second
        task = await show(key)
        assert (task["status"], [one["outcome"] for one in task["attempts"]]) == ("CANCELLED", ["CANCELLED"])

    async def test_counts_for_one_that_does_not_listen(self, put, graphql, reaches, show):
        key = put("stubborn")  # it is waited for for two seconds
        await reaches(key, "RUNNING")
        await graphql(CANCEL, id=key)
        await asyncio.sleep(4.5)  # it has come to its end by now
        task = await show(key)
        assert (task["status"], task["result"], task["attempt"]) == ("CANCELLED", None, 1)

    async def test_takes_back_a_retry(self, create, graphql, reaches, show):
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
        urgent = "SELECT count(*) AS n FROM ai_tasks WHERE priority = 'urgent' AND "

        def count(condition, *parameters):
            return db.execute(urgent + condition, parameters).fetchone()["n"]

        with _noting_when_tasks_age(db) as aged_at:
            low, began = None, time.monotonic()
            while low is None or (found := await show(low))["status"] != "COMPLETED":
                assert time.monotonic() - began < 20
                while count("status = 'queued'") < 3:
                    await create(priority="URGENT", input={"seconds": 0.2})
                low = low or put("echo", priority="low")
                await asyncio.sleep(0.05)
            ahead, waited = aged_at(low)
        assert found["waitMs"] > 2500
        assert waited < 8  # a second more than three on a machine that does nothing else
        # Once it has been put ahead, nothing begins but what its worker was about to take.
        assert count("started_at > %s AND started_at < %s", ahead, found["startedAt"]) <= 2
        assert count("status = 'completed'") > 5


@contextmanager
def _noting_when_tasks_age(db):
    """Have PostgreSQL note when tasks are put ahead of others: the moment, and the seconds since they were due."""
    db.execute(
        """
        CREATE TABLE tasks_aged AS
          SELECT id, clock_timestamp() AS moment, 0::float AS waited FROM ai_tasks WITH NO DATA;
        CREATE FUNCTION note_aged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO tasks_aged VALUES (NEW.id, clock_timestamp(), extract(epoch FROM clock_timestamp() - NEW.due_at));
          RETURN NEW; END $$;
        CREATE TRIGGER note_aged AFTER UPDATE ON ai_tasks FOR EACH ROW WHEN (NEW.aged AND NOT OLD.aged)
          EXECUTE FUNCTION note_aged()
        """
    )
    try:
        yield lambda key: db.execute("SELECT moment, waited FROM tasks_aged WHERE id = %s", [key]).fetchone().values()
    finally:
        db.execute("DROP TRIGGER note_aged ON ai_tasks; DROP FUNCTION note_aged; DROP TABLE tasks_aged")


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
