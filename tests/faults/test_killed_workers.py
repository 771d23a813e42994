"""Workers of AI tasks die, freeze or are told to stop: every task has one result, and no task is lost."""

import asyncio
import signal
import time

import psycopg
import pytest

from tests.faults.ledger import LEASE_SECONDS

pytestmark = pytest.mark.waits(100)

# Found within 15 s, says the product; with a lease of 10 s. Here that is as much sooner as the lease is shorter.
FOUND_SECONDS = LEASE_SECONDS + 5


@pytest.mark.timeout(900)
class TestKill:
    @pytest.mark.parametrize("step", ["during", "after"])
    async def test_of_a_worker_in_and_after_the_call(self, start_server, ledger, hire, rounds, report, step):
        server = start_server()
        slowest = 0.0
        crew = await hire()
        for _ in range(rounds):
            (key,) = await ledger.create(server, f"die_{step}")
            await ledger.create(server, "sleep", count=3, seconds=0.3)
            assert await crew.ended() == -signal.SIGKILL
            died = time.monotonic()
            crew = await hire()
            await ledger.all_final()
            slowest = max(slowest, time.monotonic() - died)
            assert [at for task, at in ledger.journal("began") if task == key] == [1, 2]
            assert [at for task, at in ledger.journal("ended") if task == key] == ([1, 2] if step == "after" else [2])
        figures = ledger.compare("lost")
        assert figures["run_again"] >= rounds
        assert slowest < FOUND_SECONDS + 2  # a new worker has to start, and a lost attempt is repeated after a second
        report(f"kill -9 of a worker {step} the call", rounds=rounds, **figures, slowest_recovery_s=slowest)

    @pytest.mark.parametrize("backend", ["lives on", "dies too"])
    @pytest.mark.parametrize("step", ["before it begins", "while its end is written"])
    async def test_of_a_worker_that_waits_for_the_database(
        self, start_server, ledger, hire, rounds, report, step, backend
    ):
        """Its statement may come through after its death, or not: both leave one result."""
        server = start_server()
        crew = await hire()
        for _ in range(rounds):
            await self._killed_at(server, ledger, crew, early=step == "before it begins", cut=backend == "dies too")
            crew = await hire()
            await ledger.all_final()
        figures = ledger.compare("lost")
        report(f"kill -9 of a worker {step}, its connection {backend}", rounds=rounds, **figures)

    @staticmethod
    async def _killed_at(server, ledger, crew, *, early, cut):
        """Hold the task's row, so that the worker is killed while it waits for it."""
        if early:
            crew.signal(signal.SIGSTOP)
        (key,) = await ledger.create(server, "sleep", seconds=0.5)
        if not early:
            await ledger.until(lambda: (key, 1) in ledger.journal("began"))
        with psycopg.connect(ledger.url) as holder:
            holder.execute("SELECT 1 FROM ai_tasks WHERE id = %s FOR UPDATE", (key,))
            if early:
                crew.signal(signal.SIGCONT)
            waiting = await ledger.until(lambda: _waiting(ledger))
            crew.signal(signal.SIGKILL)
            await crew.ended()
            if cut:
                holder.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::integer[]) AS pid", (waiting,))


def _waiting(ledger):
    """The connections that wait for a row of `ai_tasks` with a claim or an end."""
    rows = ledger.rows(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%ai_task_attempts%%'"
    )
    return [row["pid"] for row in rows]


@pytest.mark.timeout(900)
class TestFrozen:
    async def test_writes_nothing_when_it_wakes(self, start_server, ledger, hire, rounds, report):
        server = start_server()
        refused = 0
        for _ in range(rounds):
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
        assert figures["run_again"] == 3 * rounds
        report("SIGSTOP past the lease", rounds=rounds, **figures, stale_writes_refused=refused)


_STATE = """SELECT task.*, attempt.* FROM ai_tasks AS task JOIN ai_task_attempts AS attempt ON task_id = task.id
ORDER BY task.id, number"""


@pytest.mark.timeout(600)
class TestTwoWorkers:
    async def test_one_task_runs_once_though_two_have_a_job_for_it(
        self, start_server, ledger, hire, rounds, report
    ):
        server = start_server()
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
    async def test_ten_that_run_are_finished(self, start_server, ledger, hire, rounds, report):
        server = start_server()
        seconds = []
        for _ in range(rounds):
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
        report("SIGTERM with 10 that end in time", rounds=rounds, **figures, slowest_exit_s=max(seconds))

    async def test_ten_that_run_too_long_go_back(self, start_server, ledger, hire, rounds, report):
        server = start_server()
        for _ in range(rounds):
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
        report("SIGTERM with 10 that do not", rounds=rounds, **figures)
