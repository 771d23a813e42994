"""Subscribers that were away, and streams that were hurt: every change arrives, in order, once."""

import asyncio
import contextlib
import json
import random
import time

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from tests.faults.follower import CHANGES, Follower, first_event, open_socket, stream, subscribe
from tests.faults.journal import Writers, quantile, until
from tests.faults.processes import memory_of
from tests.support.http_client import AsyncClient
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(40)

CREATE = 'mutation { createLead(input: {firstName: "Live", lastName: "Change"}) { id } }'
_INSERT = "INSERT INTO events (type, entity, entity_id) VALUES ('lead.noted', 'lead', '0')"


@contextlib.asynccontextmanager
async def _long_transactions(database_url, count=3):
    """Transactions that write events early and commit late, or never."""

    async def one(dice):
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            while True:
                await connection.execute(_INSERT)
                await asyncio.sleep(dice.uniform(0, 0.6))
                await connection.execute(_INSERT)
                await (connection.rollback() if dice.random() < 0.2 else connection.commit())

    tasks = [asyncio.create_task(one(random.Random(number))) for number in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _write(server, count=1):
    """Writes through the API; returns when each was sent."""
    headers = {"Authorization": f"Bearer {server.token()}"}
    sent = []
    async with AsyncClient(base_url=server.url, headers=headers, timeout=10) as client:
        for _ in range(count):
            sent.append(time.monotonic())
            answer = await client.post("/graphql", json={"query": CREATE})
            assert "errors" not in answer.json(), answer.text
            await asyncio.sleep(0.03)
    return sent


@pytest.mark.timeout(600)
class TestAway:
    async def test_dropped_sockets(self, start_server, own_database, repeats, report):
        server = start_server()
        start = first_event(own_database)
        async with Follower(server, start) as follower:
            writers = Writers(server.url, server.token(), own_database, count=6)
            async with writers, _long_transactions(own_database):
                for _ in range(4 * repeats):
                    await writers.go_on(random.uniform(0.1, 0.9))
                    follower.drop()
            wanted = stream(own_database, start)
            await follower.reach(wanted)
        assert follower.connections > repeats
        assert not follower.refusals
        report("dropped sockets", drops=4 * repeats, connections=follower.connections, changes=len(wanted))

    async def test_killed_servers(self, start_server, own_database, rounds, report):
        server = start_server()
        start = first_event(own_database)
        async with Follower(server, start) as follower:
            writers = Writers(server.url, server.token(), own_database, count=6)
            async with writers, _long_transactions(own_database):
                for _ in range(rounds):
                    await writers.go_on(random.uniform(0.3, 0.8))
                    server.kill()
                    server.start()
                await asyncio.sleep(0.3)
            wanted = stream(own_database, start)
            await follower.reach(wanted)
        report("subscriber and killed servers", rounds=rounds, connections=follower.connections, changes=len(wanted))

    async def test_crashed_postgres(self, own_postgres, own_database, start_server, rounds, report):
        server = start_server()
        start = first_event(own_database)
        async with Follower(server, start) as follower:
            async with Writers(server.url, server.token(), own_database, count=6) as writers:
                for number in range(rounds):
                    await writers.go_on(random.uniform(0.3, 0.8))
                    await asyncio.to_thread(own_postgres.stop if number % 2 else own_postgres.kill)
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(own_postgres.start)
                await asyncio.sleep(1)
            wanted = stream(own_database, start)
            await follower.reach(wanted)
        assert set(follower.refusals) <= {"UNAVAILABLE"}
        report(
            "subscriber and crashed PostgreSQL", rounds=rounds, connections=follower.connections, changes=len(wanted)
        )

    async def test_transaction_ids_used_again_after_a_crash(self, own_postgres, own_database, start_server, repeats):
        """Ids of transactions that left nothing behind are given out again after a crash: no reason to miss theirs."""
        server = start_server()
        start = first_event(own_database)
        with psycopg.connect(own_database, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
            connection.execute("SELECT pg_reload_conf()")
        async with Follower(server, start) as follower:
            for _ in range(repeats):
                await _write(server)
                with psycopg.connect(own_database) as connection:
                    for _ in range(60):
                        connection.execute("SELECT pg_current_xact_id()")
                        connection.rollback()
                await asyncio.sleep(1.3)  # the subscription has looked
                await asyncio.to_thread(own_postgres.kill)
                await asyncio.to_thread(own_postgres.start)
                await until(lambda: _write(server, 3), 10)
            await follower.reach(stream(own_database, start))
            assert follower.connections == 1


@pytest.mark.timeout(300)
class TestLostNotifications:
    async def test_subscribers_catch_up(self, start_server, own_database, rounds, report):
        """The listening connection is cut; another process writes before it is back."""
        server = start_server()
        start = first_event(own_database)
        delays = []
        async with Follower(server, start) as follower:
            await asyncio.sleep(0.5)
            with psycopg.connect(own_database, autocommit=True) as other:
                for _ in range(2 * rounds):
                    (listener,) = _listeners(other)
                    other.execute("SELECT pg_terminate_backend(%s)", (listener,))
                    other.execute(_INSERT)
                    written, known = time.monotonic(), len(follower.cursors)
                    while len(follower.cursors) == known:
                        await asyncio.sleep(0.005)
                        assert time.monotonic() - written < 2
                    delays.append(time.monotonic() - written)
                    await _another_listener(other, listener)
            await follower.reach(stream(own_database, start))
        assert follower.connections == 1
        report("listener cut", times=2 * rounds, slowest_s=max(delays))


async def _another_listener(connection, gone):
    await eventually(lambda: _listeners(connection) - {gone})


def _listeners(connection):
    rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%'").fetchall()
    return {pid for (pid,) in rows}


@pytest.mark.timeout(300)
class TestTwoServers:
    async def test_a_write_on_one_reaches_subscribers_of_the_other(self, start_server, own_database, rounds, report):
        here, there = start_server(), start_server()
        start = first_event(own_database)
        count = 20 * rounds
        async with Follower(here, start) as local, Follower(there, start) as remote:
            await asyncio.sleep(0.5)
            sent = await _write(here, count)
            wanted = stream(own_database, start)
            await local.reach(wanted)
            await remote.reach(wanted)
        figures = {}
        for name, follower in (("local", local), ("other_process", remote)):
            delays = [came - at for came, at in zip(follower.times, sent, strict=True)]
            figures |= {f"{name}_p50_ms": 1000 * quantile(delays, 0.5), f"{name}_p95_ms": 1000 * quantile(delays, 0.95)}
        report("latency from sending a write to its change", writes=count, **figures)
        assert figures["local_p50_ms"] < 500
        assert figures["other_process_p50_ms"] < 800

    async def test_both_see_the_same_order(self, start_server, own_database):
        here, there = start_server(), start_server()
        start = first_event(own_database)
        async with Follower(here, start) as one, Follower(there, start) as two:
            async with (
                Writers(here.url, here.token(), own_database, count=4),
                Writers(there.url, there.token(), own_database, count=4),
                _long_transactions(own_database),
            ):
                await asyncio.sleep(2)
            wanted = stream(own_database, start)
            await one.reach(wanted)
            await two.reach(wanted)


@pytest.mark.timeout(300)
class TestSlowReader:
    CHANGES = 2000
    SIZE = 20_000

    async def test_holds_up_nobody_and_misses_nothing(self, start_server, own_database, report):
        server = start_server()
        start = first_event(own_database)
        options = {"receive_buffer": 4096, "max_queue": 1, "ping_interval": None, "max_size": None}
        async with open_socket(server, server.token(), **options) as slow, Follower(server, start) as quick:
            await slow.send(subscribe(CHANGES, after=start))
            await asyncio.sleep(0.5)
            before = memory_of(server.pid)
            self._insert(own_database)
            wanted = stream(own_database, start)
            await quick.reach(wanted, 60)
            began = time.monotonic()
            await _write(server)
            answered = time.monotonic() - began
            grown = (memory_of(server.pid) - before) / 1024
            wanted = stream(own_database, start)
            got, code = await self._drained(slow, len(wanted))
            if code is not None:
                async with Follower(server, got[-1] if got else start) as again:
                    await again.reach(wanted[len(got) :], 60)
            else:
                assert got == wanted
        megabytes = self.CHANGES * self.SIZE / 2**20
        report(
            "slow reader",
            changes=len(wanted),
            sent_mb=megabytes,
            memory_mb=grown,
            write_meanwhile_s=answered,
            code=code,
        )
        assert answered < 2
        assert grown < 80

    def _insert(self, database_url):
        fields = json.dumps([{"name": "description", "before": None, "after": "x" * self.SIZE}])
        with psycopg.connect(database_url, autocommit=True) as connection:
            for _ in range(self.CHANGES // 50):
                connection.execute(
                    "INSERT INTO events (type, entity, entity_id, fields) "
                    "SELECT 'task.updated', 'task', n::text, %s::jsonb FROM generate_series(1, 50) n",
                    (fields,),
                )

    @staticmethod
    async def _drained(socket, count):
        got = []
        try:
            while len(got) < count:
                message = json.loads(await asyncio.wait_for(socket.recv(), 20))
                got.append(message["payload"]["data"]["changes"]["cursor"])
        except ConnectionClosed as closed:
            return got, closed.rcvd.code if closed.rcvd else 1006
        return got, None
