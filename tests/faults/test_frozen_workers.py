"""Workers of AI tasks freeze, share a queue or are told to stop: every task has one result, and no task is lost."""

import asyncio
import signal
import time

import pytest

pytestmark = pytest.mark.waits(15)


@pytest.fixture(scope="module")
def server(own_server):
    return own_server


@pytest.mark.timeout(900)
class TestFrozen:
    async def test_writes_nothing_when_it_wakes(self, server, ledger, hire, repeats, report):
        refused = 0
        for _ in range(repeats):
            frozen = await hire()
            keys = await ledger.create(server, "sleep", count=3, seconds=0.5)
            await ledger.until(lambda keys=keys: {(key, 1) for key in keys} <= set(ledger.journal("began")))
            frozen.signal(signal.SIGSTOP)
            other = await hire()
            await ledger.all_final()
            before = ledger.rows(_STATE)
            frozen.signal(signal.SIGCONT)
            await ledger.until(lambda crew=frozen: crew.log().count("ai_task.lease_lost") == 3)
            refused += 3
            assert ledger.rows(_STATE) == before  # not a row of it was changed
            for crew in (frozen, other):
                crew.end()
        figures = ledger.compare("lost")
        assert figures["run_again"] == 3 * repeats
        report("SIGSTOP past the lease", rounds=repeats, **figures, stale_writes_refused=refused)


_STATE = """SELECT task.*, attempt.* FROM ai_tasks AS task JOIN ai_task_attempts AS attempt ON task_id = task.id
ORDER BY task.id, number"""


@pytest.mark.timeout(600)
class TestTwoWorkers:
    async def test_one_task_runs_once_though_two_have_a_job_for_it(self, server, ledger, hire, rounds, report):
        crews = [await hire() for _ in range(2)]
        for _ in range(rounds):
            await ledger.create(server, "sleep", count=20, seconds=0.1)
            # The same tasks again, as after a rescue that came too early.
            ledger.rows(
                "SELECT procrastinate_defer_jobs_v1(array_agg(ROW('ai', 'ai_task', 20, NULL, NULL, "
                "jsonb_build_object('task', id), NULL)::procrastinate_job_to_defer_v1)) FROM ai_tasks, "
                "generate_series(1, 3) WHERE finished_at IS NULL"
            )
            await ledger.all_final()
        figures = ledger.compare()
        assert figures["attempts"] == figures["tasks"] == 20 * rounds
        processes = {row["worker"] for row in ledger.rows("SELECT DISTINCT worker FROM ai_task_attempts")}
        assert len(processes) == len(crews)
        report("two workers, four jobs for each task", rounds=rounds, **figures)


@pytest.mark.timeout(600)
class TestTerminate:
    async def test_ten_that_run_are_finished(self, server, ledger, hire, repeats, report):
        seconds = []
        for _ in range(repeats):
            crew = await hire()
            keys = await ledger.create(server, "sleep", count=10, seconds=1)
            await ledger.until(lambda keys=keys: {(key, 1) for key in keys} <= set(ledger.journal("began")))
            late = asyncio.create_task(ledger.create(server, "sleep", count=2))
            start = time.monotonic()
            crew.signal(signal.SIGTERM)
            assert await crew.ended() == 0
            seconds.append(time.monotonic() - start)
            await late
            assert {(key, 1) for key in keys} <= set(ledger.journal("ended"))
            crew = await hire()
            await ledger.all_final()
            crew.end()
        figures = ledger.compare()
        assert figures["attempts"] == figures["tasks"]
        report("SIGTERM with 10 that end in time", rounds=repeats, **figures, slowest_exit_s=max(seconds))

    async def test_ten_that_run_too_long_go_back(self, server, ledger, hire, repeats, report):
        for _ in range(repeats):
            crew = await hire(CRM_WORKER_GRACE_SECONDS="0.3")
            keys = await ledger.create(server, "sleep", count=10, seconds=2)
            await ledger.until(lambda keys=keys: {(key, 1) for key in keys} <= set(ledger.journal("began")))
            crew.signal(signal.SIGTERM)
            assert await crew.ended() == 0
            rows = ledger.rows("SELECT status, failures FROM ai_tasks WHERE finished_at IS NULL")
            assert [(row["status"], row["failures"]) for row in rows] == [("queued", 0)] * 10
            crew = await hire()
            await ledger.all_final()
            crew.end()
        figures = ledger.compare("released")
        assert figures["attempts"] == 2 * figures["tasks"]
        report("SIGTERM with 10 that do not", rounds=repeats, **figures)
