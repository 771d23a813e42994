"""AI tasks when the API, PostgreSQL or its notifications fail: none is lost, and whoever follows one misses nothing."""

import asyncio
import json
import random
import signal
import time
from contextlib import contextmanager, suppress

import httpx2
import psycopg
import pytest

from tests.faults.follower import open_socket, subscribe
from tests.faults.journal import until
from tests.faults.processes import frozen
from tests.support.http_client import AsyncClient
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(40)

_CREATE = "mutation($input: CreateAiTaskInput!) { createAiTask(input: $input) { id } }"
_TASK = {"taskType": "echo", "input": {"message": json.dumps({"do": "sleep", "seconds": 0.05})}}
FOLLOW = "subscription { aiTaskUpdated { id status version } }"
CAUGHT_UP_SECONDS = 2


@contextmanager
def killed(postgres):
    postgres.kill()
    try:
        yield
    finally:
        postgres.start()


class Creators:
    """Clients that create tasks until they are told to stop, whatever happens to the server."""

    def __init__(self, server, ledger, count=4, pause=0.05):
        self.broken = self.refused = 0
        self._server, self._ledger, self._pause = server, ledger, pause
        self._headers = {"Authorization": f"Bearer {server.token()}"}
        self._count = count
        self._going = True

    async def __aenter__(self):
        self._tasks = [asyncio.create_task(self._create()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *_):
        self._going = False
        await asyncio.gather(*self._tasks)

    async def _create(self):
        async with AsyncClient(base_url=self._server.url, headers=self._headers, timeout=10) as client:
            while self._going:
                await asyncio.sleep(self._pause)
                try:
                    answer = await client.post("/graphql", json={"query": _CREATE, "variables": {"input": _TASK}})
                except httpx2.TransportError:
                    self.broken += 1
                    continue
                found = answer.json()
                if found.get("errors"):
                    assert {one["extensions"]["code"] for one in found["errors"]} <= {"UNAVAILABLE", "TIMEOUT"}, found
                    self.refused += 1
                else:
                    self._ledger.acknowledged.append(found["data"]["createAiTask"]["id"])

    async def has_created(self, count):
        """Until more than so many were acknowledged."""
        await eventually(lambda: len(self._ledger.acknowledged) > count)


@pytest.mark.timeout(900)
class TestKilledServer:
    async def test_what_was_answered_is_done(self, start_server, ledger, hire, rounds, report):
        server = start_server()
        await hire()
        async with Creators(server, ledger) as creators:
            for number in range(rounds):
                await creators.has_created(5 * (number + 1))
                await asyncio.sleep(random.uniform(0.1, 0.7))
                server.kill()
                await asyncio.to_thread(server.start)
            await asyncio.sleep(0.3)
        await ledger.all_final()
        figures = ledger.compare()
        assert creators.broken >= rounds
        report(
            "kill -9 of the API under creates",
            rounds=rounds,
            acknowledged=len(ledger.acknowledged),
            broken=creators.broken,
            **figures,
        )

    async def test_right_after_its_answer(self, start_server, ledger, hire, repeats, report):
        """Nobody is there to start what it created but the worker, which starts later."""
        server = start_server()
        for _ in range(repeats):
            await ledger.create(server, "sleep", count=3)
            server.kill()
            crew = await hire()
            await ledger.all_final()
            crew.signal(signal.SIGTERM)
            await crew.ended()
            server.start()
        figures = ledger.compare()
        assert figures["tasks"] == figures["attempts"] == 3 * repeats
        report("kill -9 of the API after an answer", rounds=repeats, **figures)


@pytest.mark.timeout(900)
class TestPostgres:
    @pytest.mark.parametrize("ending", ["crash", "restart"])
    async def test_loses_no_task(self, own_postgres, start_server, ledger, hire, rounds, report, ending):
        server = start_server(CRM_CONNECT_TIMEOUT_SECONDS="2")
        crew = await hire()
        slowest = 0.0
        async with Creators(server, ledger) as creators:
            for _ in range(rounds):
                await ledger.create(server, "sleep", count=5, seconds=0.6)
                await asyncio.to_thread(own_postgres.kill if ending == "crash" else own_postgres.stop)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(own_postgres.start)
                slowest = max(slowest, await until(lambda: ledger.create(server, "sleep"), 10))
                known = len(ledger.journal("ended"))
                back = time.monotonic()
                await ledger.until(lambda known=known: len(ledger.journal("ended")) > known)
                slowest = max(slowest, time.monotonic() - back)
        await ledger.all_final()
        figures = ledger.compare("lost", "released")
        assert crew.process.poll() is None
        report(
            f"PostgreSQL {ending} with tasks under way",
            rounds=rounds,
            **figures,
            refused=creators.refused,
            slowest_going_on_s=slowest,
        )

    @pytest.mark.parametrize("away", [killed, frozen])
    async def test_cuts_nothing_short(self, own_postgres, start_server, ledger, hire, away):
        """What runs has been paid for: it goes on, however long PostgreSQL is away, and others need not wait for it."""
        lease = {"CRM_AI_TASK_LEASE_SECONDS": "2"}
        server = start_server(CRM_CONNECT_TIMEOUT_SECONDS="2", **lease)
        await hire(CRM_WORKER_GRACE_SECONDS="1", **lease)
        long, unwanted = await ledger.create(server, "wait", count=2)
        (short,) = await ledger.create(server, "sleep", seconds=1.5)
        await ledger.until(lambda: len(ledger.journal("began")) == 3)
        with away(own_postgres):
            await asyncio.sleep(4)
            assert ledger.journal("ended") == [(short, 1)]  # while nobody could be told
        await until(lambda: ledger.create(server, "sleep"), 10)
        await ledger.until(lambda: len(ledger.journal("ended")) == 2, 6)
        await ledger.cancel(server, unwanted)
        await asyncio.sleep(2)
        ledger.let_go()
        await ledger.all_final()
        assert (long, 1) in ledger.journal("ended")
        assert (unwanted, 1) not in ledger.journal("ended")  # it was stopped, though its job is not the first any more
        outcomes = ledger.rows("SELECT outcome FROM ai_task_attempts ORDER BY outcome")
        assert [one["outcome"] for one in outcomes] == ["cancelled", *["completed"] * 3]

    async def test_away_for_good_does_not_keep_a_worker_that_is_to_stop(self, own_postgres, start_server, ledger, hire):
        server = start_server(CRM_CONNECT_TIMEOUT_SECONDS="2")
        crew = await hire(CRM_WORKER_GRACE_SECONDS="2")
        await ledger.create(server, "sleep", seconds=30)
        await ledger.until(lambda: ledger.journal("began"))
        crew.signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_postgres.kill)
        try:
            assert await crew.ended() == 0
        finally:
            await asyncio.to_thread(own_postgres.start)


class States:
    """What a subscriber saw of each task."""

    def __init__(self):
        self.seen: dict[str, list[tuple[int, str]]] = {}
        self.at: dict[str, float] = {}

    async def follow(self, socket):
        async for text in socket:
            message = json.loads(text)
            assert message["type"] == "next", message
            task = message["payload"]["data"]["aiTaskUpdated"]
            self.seen.setdefault(task["id"], []).append((task["version"], task["status"]))
            self.at[task["id"]] = time.monotonic()

    def check(self, ledger):
        """No gap: each task's last state arrived. No twin: no state came twice, or after a later one."""
        last = {str(row["id"]): row["version"] for row in ledger.rows("SELECT id, version FROM ai_tasks")}
        assert {key: states[-1][0] for key, states in self.seen.items()} == last
        for states in self.seen.values():
            versions = [version for version, _ in states]
            assert versions == sorted(set(versions)), states
            assert states[-1][1] == "COMPLETED"


@pytest.mark.timeout(600)
class TestLostNotifications:
    async def test_subscribers_catch_up(self, start_server, ledger, hire, rounds, report):
        """Both processes' listeners are cut at every task: the API's, the worker's, and procrastinate's own."""
        server = start_server()
        crew = await hire()
        states, delays, cut = States(), [], 0
        async with open_socket(server, server.token()) as socket:
            await socket.send(subscribe(FOLLOW))
            await asyncio.sleep(0.5)
            following = asyncio.create_task(states.follow(socket))
            for _ in range(rounds):
                cut += _cut_listeners(ledger)
                (key,) = await ledger.create(server, "sleep", seconds=0.2)
                await ledger.until(
                    lambda key=key: ledger.rows("SELECT 1 FROM ai_tasks WHERE id = %s AND finished_at IS NOT NULL", key)
                )
                _cut_listeners(ledger)
                finished = time.monotonic()
                while (states.seen.get(key) or [(0, "")])[-1][1] != "COMPLETED":
                    assert time.monotonic() - finished < CAUGHT_UP_SECONDS, states.seen.get(key)
                    await asyncio.sleep(0.005)
                delays.append(max(0.0, states.at[key] - finished))
                await asyncio.sleep(0.2)
            await asyncio.sleep(1.2)  # one too many would come now
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        states.check(ledger)
        figures = ledger.compare()
        assert crew.process.poll() is None
        assert cut >= rounds
        report("listeners cut", rounds=rounds, listeners=cut, **figures, slowest_s=max(delays))


def _cut_listeners(ledger):
    with psycopg.connect(ledger.url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        ).fetchone()
    return row[0]
