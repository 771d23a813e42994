"""The server dies, or is told to stop, in the middle of writes: what it acknowledged is there, once and whole."""

import asyncio
import random
import time

import httpx2
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from tests.faults.follower import CHANGES, open_socket, subscribe
from tests.faults.journal import Writers, compare
from tests.support.http_client import AsyncClient
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(10)


@pytest.mark.timeout(600)
class TestKill:
    async def test_acknowledged_writes_survive(self, start_server, own_database, rounds, report):
        server = start_server()
        async with Writers(server.url, server.token(), own_database) as writers:
            for number in range(rounds):
                await _acknowledged(writers, 20 * (number + 1))
                await writers.go_on(random.uniform(0.2, 0.7))
                server.kill()
                server.start()
            await asyncio.sleep(0.3)
        figures = compare(writers.journal, own_database)
        broken = sum(one.status == 0 for one in writers.journal.answers)
        assert figures["acknowledged"] > 20 * rounds
        assert broken >= rounds
        assert {code for one in writers.journal.answers for code in one.codes} == set()
        report("kill -9 of the server", rounds=rounds, broken=broken, **figures)


@pytest.mark.timeout(600)
class TestTerminate:
    async def test_stops_without_losing_or_cutting_an_answer(self, start_server, own_database, repeats, report):
        seconds, acknowledged = [], 0
        for _ in range(repeats):
            server = start_server(CRM_LOG_FORMAT="json")
            async with Writers(server.url, server.token(), own_database) as writers:
                await writers.go_on(random.uniform(0.3, 0.8))
                start = time.monotonic()
                code = await asyncio.to_thread(server.stop)
                seconds.append(time.monotonic() - start)
            acknowledged += compare(writers.journal, own_database)["acknowledged"]
            assert code == 0
            assert seconds[-1] < 5
            _no_answer_was_cut(writers.journal)
            assert "Traceback" not in server.log()
        report("SIGTERM under load", rounds=repeats, acknowledged=acknowledged, slowest_exit_s=max(seconds))

    async def test_answers_what_runs(self, start_server, own_database):
        """A write that waits for a lock when SIGTERM comes is finished and answered."""
        server = start_server()
        async with AsyncClient(base_url=server.url, headers=_signed_in(server), timeout=20) as client:
            created = await client.post("/graphql", json={"query": _CREATE})
            key = created.json()["data"]["createLead"]["id"]
            with psycopg.connect(own_database) as connection:
                connection.execute("SELECT 1 FROM leads WHERE id = %s FOR UPDATE", (key,))
                query = f'mutation {{ updateLead(id: {key}, input: {{lastName: "Late"}}) {{ lastName }} }}'
                waiting = asyncio.create_task(client.post("/graphql", json={"query": query}))
                await asyncio.sleep(0.3)
                stopping = asyncio.create_task(asyncio.to_thread(server.stop))
                await asyncio.sleep(0.5)
                with pytest.raises(httpx2.ConnectError):
                    async with AsyncClient(base_url=server.url) as other:
                        await other.post("/graphql", json={"query": "{ __typename }"})
                connection.rollback()
            answer = await waiting
        assert answer.json() == {"data": {"updateLead": {"lastName": "Late"}}}
        assert await stopping == 0

    async def test_subscribers_are_told_to_come_back(self, start_server):
        server = start_server()
        async with open_socket(server, server.token()) as socket:
            await socket.send(subscribe(CHANGES))
            await asyncio.sleep(0.2)
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 10)
        assert closed.value.rcvd.code in (1001, 1012)
        assert await stopping == 0
        assert "Traceback" not in server.log()


async def _acknowledged(writers, count):
    """Wait until so many writes are acknowledged: on a busy machine they take their time."""
    await eventually(lambda: len(writers.journal.acknowledged) > count)


_CREATE = 'mutation { createLead(input: {firstName: "Per", lastName: "Early"}) { id } }'


def _signed_in(server):
    return {"Authorization": f"Bearer {server.token()}"}


def _no_answer_was_cut(journal):
    """Every request was answered whole, or refused a connection, or sent on a connection that had closed: never cut."""
    for one in journal.answers:
        if one.status == 0:
            assert "ConnectError" in one.text or "ReadError" in one.text or "RemoteProtocolError" in one.text, one
            assert "incomplete" not in one.text, one
        else:
            assert (one.status, one.codes) == (200, ()), one
