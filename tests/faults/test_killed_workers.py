"""Workers of AI tasks die: every task has one result, and no task is lost."""

import signal
import time

import psycopg
import pytest

from tests.faults.ledger import LEASE_SECONDS

pytestmark = pytest.mark.waits(20)

# Found within 15 s, says the product; with a lease of 10 s. Here that is as much sooner as the lease is shorter.
FOUND_SECONDS = LEASE_SECONDS + 5


@pytest.fixture(scope="module")
def server(own_server):
    return own_server


@pytest.mark.timeout(900)
class TestKill:
    @pytest.mark.parametrize("step", ["during", "after"])
    async def test_of_a_worker_in_and_after_the_call(self, server, ledger, hire, repeats, report, step):
        slowest = 0.0
        crew = await hire()
        for _ in range(repeats):
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
        assert figures["run_again"] >= repeats
        assert slowest < FOUND_SECONDS + 2  # a new worker has to start, and a lost attempt is repeated after a second
        report(f"kill -9 of a worker {step} the call", rounds=repeats, **figures, slowest_recovery_s=slowest)

    @pytest.mark.parametrize("backend", ["lives on", "dies too"])
    @pytest.mark.parametrize("step", ["before it begins", "while its end is written"])
    async def test_of_a_worker_that_waits_for_the_database(self, server, ledger, hire, repeats, report, step, backend):
        """Its statement may come through after its death, or not: both leave one result."""
        crew = await hire()
        for _ in range(repeats):
            await self._killed_at(server, ledger, crew, early=step == "before it begins", cut=backend == "dies too")
            crew = await hire()
            await ledger.all_final()
        figures = ledger.compare("lost")
        report(f"kill -9 of a worker {step}, its connection {backend}", rounds=repeats, **figures)

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
